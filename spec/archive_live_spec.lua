-- Archives of real servers: pages in both directions, preferences, links that are cut at each page, a room's archive.
-- ARCHIVED=2000 in the environment: how many messages are paged through (default 120).
local archive = require "xmpp.archive"
local chat = require "xmpp.chat"
local ext = require "xmpp.ext"
local muc = require "xmpp.muc"
local presence = require "xmpp.presence"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }
local MANY = tonumber(os.getenv "ARCHIVED") or 120
local PAGE = MANY > 1000 and 50 or 10

server.each(function(s)
  local conns, links

  before_each(function() conns, links = {}, {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
    for _, link in ipairs(links) do link:stop() end
  end)

  local function turn_until(what, why)
    local limit = os.time() + 30
    while not what() do
      assert(os.time() < limit, why or "it does not come")
      xmpp.step(0.05)
    end
  end

  local function login(name, opts, link)
    opts = opts or {}
    opts.reconnect = { min = 0.05, max = 0.1 }
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], link and link.host or s.host,
      link and link.port or s.port, s.opts(opts)))
    conns[#conns + 1] = conn
    return conn
  end

  local function present(name, opts, link)
    local conn = login(name, opts, link)
    local c = chat.use(conn)
    assert(ext.ready(conn, 30))
    assert(presence.set(conn, {}))
    assert(conn:ping(30))
    return conn, c
  end

  local function texts(list)
    local out = {}
    for i, m in ipairs(list) do out[i] = m.text end
    return table.concat(out, " ")
  end

  local function numbers(first, last, step)
    local out = {}
    for i = first, last, step or 1 do out[#out + 1] = tostring(i) end
    return table.concat(out, " ")
  end

  -- `from` sends 1..n to `to`, who needn't be online.
  local function fill(from, to, n)
    local conn, c = present(from)
    for i = 1, n do
      assert(c:send(to .. "@" .. s.domain, tostring(i)))
      if i % 100 == 0 then assert(conn:flush(60)) end
    end
    assert(conn:flush(60))
    assert(conn:ping(60))
  end

  it("are read by pages, both ways, with flat memory", function()
    fill("bob", "alice", MANY)
    local alice = login "alice"
    local page = assert(archive.query(alice, { max = 3 }))
    assert.equal("1 2 3", texts(page))
    assert.is_false(page.complete)
    local m = page[2]
    assert.same({ "in", "bob@" .. s.domain, "alice@" .. s.domain, "alice@" .. s.domain },
      { m.direction, m.peer, m.to, m.by })
    assert.is_true(math.abs(m.stamp - os.time()) < 3600 and m.archive_id == m.stanza_id)
    assert.equal(numbers(MANY - 2, MANY), texts(assert(archive.query(alice, { max = 3, before = "" }))))
    page = assert(archive.query(alice, { max = 3, after = page.last }))
    assert.equal("4 5 6", texts(page))
    assert.equal("1 2 3", texts(assert(archive.query(alice, { max = 3, before = page.first }))))
    assert.equal(3, #assert(archive.query(alice, { max = 3, with = "bob@" .. s.domain })))
    assert.equal(0, #assert(archive.query(alice, { with = "carol@" .. s.domain })))
    assert.equal(0, #assert(archive.query(alice, { to = os.time() - 3600 })))
    local n, early, at_last = 0, nil, nil
    for one in archive.each(alice, { max = PAGE, err = error }) do
      n = n + 1
      assert.equal(tostring(n), one.text)
      if n == math.floor(MANY / 4) or n == MANY then
        collectgarbage()
        collectgarbage()
        early, at_last = early or collectgarbage "count", collectgarbage "count"
      end
    end
    assert.equal(MANY, n)
    assert.is_true(at_last < early * 1.05, ("%.0f KiB, then %.0f"):format(early, at_last))
    local back = {}
    for one in archive.each(alice, { before = "", max = PAGE, limit = 25 }) do back[#back + 1] = one end
    assert.equal(numbers(MANY, MANY - 24, -1), texts(back))
  end)

  it("report that an id isn't there, and return no other page instead", function()
    local alice = login "alice"
    local id = s.name:find "^ejabberd" and "9999999999999999" or "no-such-id" -- ejabberd's are times: here one to come
    local last, err, reached = archive.catch_up(alice, id, error)
    assert.same({ nil, "item-not-found", id }, { last, err.condition, reached })
    local page = archive.query(alice, { after = id })
    assert.equal(0, page and #page or 0)
  end)

  it("store and return preferences (XEP-0441)", function()
    local carol = login "carol"
    local new = { default = "roster", always = { "bob@" .. s.domain }, never = { "alice@" .. s.domain } }
    assert.same(new, archive.prefs(carol, new))
    assert.same(new, archive.prefs(carol))
    assert(archive.prefs(carol, { default = "always" }))
    local form = assert(archive.fields(carol))
    assert.equal("urn:xmpp:mam:2", form.type)
  end)

  it("don't mix with what others send who pretend to be one", function()
    local alice, c = present "alice"
    local bob = present "bob"
    local heard, forged = 0, 0
    c:on("message", function() heard = heard + 1 end)
    alice:set_callback(function() forged = forged + 1 end, { name = "message", has = "urn:xmpp:mam:2" })
    assert(archive.use(alice))
    local to = tostring(alice:jid())
    bob:send { "message", { to = to }, { "result", { xmlns = "urn:xmpp:mam:2", queryid = "1", id = "x" },
      { "forwarded", { xmlns = "urn:xmpp:forward:0" }, { "message", { xmlns = "jabber:client", type = "chat",
        from = "carol@" .. s.domain .. "/c", to = to }, { "body", {}, "forged" } } } } }
    bob:send { "message", { to = to, type = "chat" }, { "body", {}, "true" } }
    turn_until(function() return heard == 1 end)
    assert.equal(0, forged)
  end)

  for _, resume in ipairs { true, false } do
    it(("go on at each page over a link that is cut, in a %s session"):format(resume and "resumed" or "new"), function()
      local link = proxy.start(s.host, s.port)
      links[1] = link
      local alice = login("alice", { resume = resume }, link)
      local n, page, cuts = 0, 0, 0
      for one in archive.each(alice, { max = 10, limit = 60, err = error }) do
        n = n + 1
        assert.equal(tostring(n), one.text)
        if n % 10 == 0 and n < 60 then -- the answer for the next page is cut off, later each time
          page = page + 1
          link:tell(("after %d down rst"):format(400 * page))
          cuts = cuts + 1
        end
      end
      assert.equal(60, n)
      assert.is_true(link:cuts() > 0 and cuts > 0)
    end)
  end

  it("give what was missed, once", function()
    local alice, c = present "alice"
    local live, out = {}, {}
    c:on("message", function(m) live[#live + 1] = m.text end)
    local last = assert(archive.query(alice, { max = 1, before = "" })).last
    alice:stop()
    local bob, his = present "bob"
    his:send("alice@" .. s.domain, "missed 1")
    his:send("alice@" .. s.domain, "missed 2")
    assert(bob:flush(30))
    assert(bob:ping(30))
    alice = login "alice"
    c = chat.use(alice)
    c:on("message", function(m) live[#live + 1] = m.text end)
    assert(ext.ready(alice, 30))
    his:send(tostring(alice:jid()), "live")
    turn_until(function() return live[1] == "live" end)
    c:send("bob@" .. s.domain, "mine")
    assert(alice:flush(30))
    last = assert(archive.catch_up(alice, last, function(m) out[#out + 1] = m.text end))
    local has_ids = c.by ~= nil -- otherwise the live message can't be recognised
    assert.equal(has_ids and "missed 1, missed 2" or "missed 1, missed 2, live", table.concat(out, ", "))
    assert(presence.set(alice, {})) -- the messages that the server has held back come now
    assert(alice:ping(30))
    his:send(tostring(alice:jid()), "more")
    turn_until(function() return live[#live] == "more" end)
    assert.equal("live, more", table.concat(live, ", "))
    out = {}
    assert(archive.catch_up(alice, last, function(m) out[#out + 1] = m.text end))
    assert.same({}, out)
  end)

  it("of a room are its own", function()
    local alice, bob = present "alice", present "bob"
    local jid = "history@conference." .. s.domain
    local room = assert(muc.join(alice, jid, "kettle", { create = "default" }))
    local his, live = assert(muc.join(bob, jid, "pot")), {}
    his:on("message", function(m) live[#live + 1] = m.text end)
    for i = 1, 25 do assert(room:say(tostring(i), { reflect = true, timeout = 20 })) end
    turn_until(function() return live[25] == "25" end)
    local out = {}
    for m in archive.each(bob, { of = jid, max = 10, err = error }) do
      out[#out + 1] = m
      assert.same({ "kettle", false, jid }, { m.nick, m.own, m.peer })
    end
    assert.equal(numbers(1, 25), texts(out))
    for m in archive.each(alice, { of = jid, max = 10, limit = 1 }) do
      assert.equal(room.features["urn:xmpp:occupant-id:0"] == true, m.own)
    end
    assert.equal(numbers(24, 25), texts(assert(archive.query(bob, { of = jid, max = 2, before = "" }))))
    local missed = {}
    local last = assert(archive.catch_up(bob, out[20].archive_id, function(m) missed[#missed + 1] = m.text end,
      { of = jid }))
    assert.same({ {}, out[25].archive_id }, { missed, last }) -- all of them had been received live
  end)
end, { limit = 3000 }, SERVERS)
