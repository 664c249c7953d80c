-- roster_live: rosters on real servers: between two of our clients, and with another library's client (slixmpp).
local child = require "spec.support.child"
local ext = require "xmpp.ext"
local iq = require "xmpp.iq"
local presence = require "xmpp.presence"
local roster = require "xmpp.roster"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }
local USERS = "dave:davepw erin:erinpw frank:frankpw grace:gracepw heidi:heidipw ivan:ivanpw judy:judypw kate:katepw "
  .. "leo:leopw"
local VERSIONING, PRE_APPROVAL = "urn:xmpp:features:rosterver", "urn:xmpp:features:pre-approval"

-- A contact in Prosody's format.
local LINE = '["contact%d@example.org"] = { subscription = "both", name = "Contact %d", groups = { g%d = true } };\n'

-- The events, as texts: name and address.
local function ear(r, ...)
  local heard = {}
  for _, event in ipairs { ... } do
    r:on(event, function(v)
      local jid = type(v) == "table" and v.jid or v
      heard[#heard + 1] = type(jid) == "string" and event .. " " .. jid:match "^[^@]*" or event
    end)
  end
  return heard
end

local function sorted(list)
  table.sort(list)
  return list
end

server.each(function(s)
  local conns

  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function login(name, resource, more)
    local opts = s.opts { resource = resource, reconnect = { min = 0.05, max = 0.1 } }
    for key, v in pairs(more or {}) do opts[key] = v end
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, opts))
    conns[#conns + 1] = conn
    return conn
  end

  local function turn_until(what)
    local limit = os.time() + 30
    while not what() do
      assert(os.time() < limit, "it does not come")
      xmpp.step(0.05)
    end
  end

  local function begin(name, resource, opts)
    local conn = login(name, resource)
    local r = roster.use(conn, opts)
    assert(r:fetched(30))
    assert(presence.set(conn, {}))
    return r, conn, name .. "@" .. s.domain
  end

  local function subscription_of(r, jid) return r.items[jid] and r.items[jid].subscription end

  local function are(r, jid, subscription) return subscription_of(r, jid) == subscription end

  it("has two see each other's presence, and not any more", function()
    local alice, alices, at_alice = begin("alice", "a")
    local bob, bobs, at_bob = begin("bob", "b")
    local to_alice, to_bob = ear(alice, "request", "approved", "denied"), ear(bob, "request", "approved", "denied")
    local seen = {}
    alice:on("presence", function(jid, p) seen[#seen + 1] = ("%s %s"):format(jid, p.type or p.status or "online") end)
    assert(alice:subscribe(at_bob, "it's me"))
    turn_until(function() return to_bob[1] and alice.items[at_bob] end)
    assert.same({ "none", "subscribe" }, { alice.items[at_bob].subscription, alice.items[at_bob].ask })
    assert.is_true(bob.requests[at_alice])
    assert.is_nil(roster.subscription(bobs, at_alice))
    assert(bob:approve(at_alice))
    turn_until(function() return to_alice[1] and seen[1] end)
    turn_until(function() return subscription_of(bob, at_alice) == "from" end)
    assert.equal("to", subscription_of(alice, at_bob))
    assert.equal(at_bob .. "/b online", seen[1])
    assert(presence.set(bobs, { status = "away for tea" }))
    turn_until(function() return seen[2] end)
    assert.equal(at_bob .. "/b away for tea", seen[2])
    assert.equal("away for tea", presence.of(alices, at_bob).b.status)

    assert(bob:subscribe(at_alice))
    turn_until(function() return to_alice[2] end)
    assert(alice:deny(at_bob))
    turn_until(function() return to_bob[2] end)
    assert(bob:subscribe(at_alice))
    turn_until(function() return to_alice[3] end)
    assert(alice:approve(at_bob))
    turn_until(function() return to_bob[3] end)
    turn_until(function() return are(alice, at_bob, "both") and are(bob, at_alice, "both") end)
    assert.equal("both", roster.subscription(alices, bobs:jid()))

    assert(bob:deny(at_alice))
    turn_until(function() return to_alice[4] and subscription_of(alice, at_bob) == "from" end)
    assert(bob:unsubscribe(at_alice))
    turn_until(function() return are(alice, at_bob, "none") and are(bob, at_alice, "none") end)
    assert.same({ "request alice", "denied alice", "approved alice" }, to_bob)
    assert.same({ "approved bob", "request bob", "request bob", "denied bob" }, to_alice)
    assert.same({ {}, {} }, { alice.requests, bob.requests })
  end)

  it("approves all, none or some requests by rule, and requests back", function()
    local carol, _, at_carol = begin("carol", "c", { approve = function(jid) return jid:match "^dave@" ~= nil end,
      mutual = true })
    local dave, _, at_dave = begin("dave", "d", { approve = "all" })
    local erin, _, at_erin = begin("erin", "e")
    local to_erin = ear(erin, "denied")
    assert(dave:subscribe(at_carol))
    assert(erin:subscribe(at_carol))
    turn_until(function() return are(dave, at_carol, "both") and are(carol, at_dave, "both") end)
    turn_until(function() return to_erin[1] end)
    assert.is_nil(carol.items[at_erin])
    assert.equal("none", subscription_of(erin, at_carol))
    assert(carol:remove(at_dave))
    assert.is_nil(carol.items[at_dave])
    turn_until(function() return subscription_of(dave, at_carol) == "none" end)
  end)

  it("is changed by each of the account's clients, and all get the push", function()
    local one, _, _ = begin("frank", "one")
    local two = begin("frank", "two")
    local heard = ear(two, "added", "changed", "removed")
    local jid = "someone@example.org"
    assert(one:add(jid, { name = "Söme <One> & \"more\"", groups = { "b", "a", "日本" } }))
    assert.same({ jid = jid, name = "Söme <One> & \"more\"", groups = { "a", "b", "日本" }, subscription = "none" },
      one.items[jid])
    assert(one:set(jid, { name = "Two" }))
    assert.same({ "a", "b", "日本" }, one.items[jid].groups)
    assert(one:set(jid, { groups = {} }))
    assert.same({ jid = jid, name = "Two", groups = {}, subscription = "none" }, one.items[jid])
    turn_until(function() return #heard == 3 end)
    assert.same(one.items, two.items)
    assert(two:set(jid, { name = "" }))
    turn_until(function() return one.items[jid].name == nil end)
    assert(one:remove(jid))
    assert.same({}, one.items)
    turn_until(function() return #heard == 5 end)
    assert.same({ "added someone", "changed someone", "changed someone", "changed someone", "removed someone" }, heard)
    local ok, err = one:remove(jid)
    assert.equal(s.name:match "^ejabberd" and "true" or "item-not-found", ok and "true" or err.condition)
  end)

  it("is fetched by its version: only changes come", function()
    local first, conn = begin("grace", "first")
    assert.is_true(conn:info().offers[VERSIONING])
    for _, name in ipairs { "a", "b", "c" } do assert(first:add(name .. "@example.org", { name = name })) end
    local saved = ext.save(conn)
    assert.is_string(saved.roster.version)
    local read = {}
    local function resume(resource)
      local again = login("grace", resource, { log = function(direction, text)
        if direction == "in" then read[#read + 1] = text end
      end })
      ext.load(again, saved)
      local r = roster.use(again)
      local heard = ear(r, "added", "changed", "removed", "fetched")
      assert(r:fetched(30))
      return r, sorted(heard), again
    end
    local second, heard = resume "second"
    assert.same(first.items, second.items)
    assert.same({ "fetched" }, heard)
    assert.is_nil(table.concat(read):find "<item")
    assert(first:remove "a@example.org")
    assert(first:set("b@example.org", { name = "B" }))
    assert(first:add "d@example.org")
    local third, again
    third, heard, again = resume "third"
    assert.same({ "added d", "changed b", "fetched", "removed a" }, heard)
    assert.same(first.items, third.items)
    assert.same(ext.save(conn).roster, ext.save(again).roster)
  end)

  it("is fetched again after the server's restart, and changes are reported", function()
    local r, conn = begin("heidi", "a")
    assert(r:add("a@example.org", { name = "A" }))
    local heard = ear(r, "added", "changed", "removed", "fetched")
    s:restart()
    turn_until(function() return heard[1] end)
    assert.same({ "fetched" }, heard)
    assert.equal(1, conn:info().rebound)
    assert.equal("A", r.items["a@example.org"].name)
    assert(r:remove "a@example.org")
  end)

  it("can't be changed by anybody else", function()
    local carol, conn = begin("carol", "c", { approve = "all" })
    local mallory = login("dave", "m")
    local forged = { "query", { xmlns = "jabber:iq:roster", ver = "66" },
      { "item", { jid = "dave@" .. s.domain, subscription = "both", name = "The boss" } } }
    local before = ext.save(conn).roster
    local none, err = iq.set(mallory, conn:jid(), forged)
    assert.same({ nil, "service-unavailable" }, { none, err.condition })
    assert.same(before, ext.save(conn).roster)
    assert.is_nil(carol.items["dave@" .. s.domain])
  end)

  it("pre-approves if the server supports it", function()
    local ivan, conn, at_ivan = begin("ivan", "a")
    local judy = begin("judy", "b")
    if not conn:info().offers[PRE_APPROVAL] then
      local none, err = ivan:preapprove("judy@" .. s.domain)
      assert.same({ nil, "feature-not-implemented" }, { none, err.condition })
      return
    end
    local asked, approved = ear(ivan, "request"), ear(judy, "approved")
    assert(ivan:preapprove("judy@" .. s.domain))
    turn_until(function() return ivan.items["judy@" .. s.domain] end)
    if not s.name:match "^prosody" then assert.is_true(ivan.items["judy@" .. s.domain].approved) end -- not told there
    assert(judy:subscribe(at_ivan))
    turn_until(function() return approved[1] end)
    assert.same({}, asked)
    turn_until(function() return subscription_of(ivan, "judy@" .. s.domain) == "from" end)
  end)

  it("finds a contact by our spelling and by the server's", function()
    local r = begin("leo", "a")
    for _, localpart in ipairs { "straße", "οδυσσεύς", "Fuß", "ÀÉ", "plain" } do
      local jid = assert(xmpp.jid(localpart .. "@" .. s.domain))
      assert(r:add(jid, { name = "one" }))
      local theirs, item = next(r.items)
      assert.same({ theirs, "one" }, { item.jid, item.name })
      assert(r:set(jid, { name = "two" }))
      assert.equal("two", r.items[theirs].name)
      assert(r:set(theirs, { groups = { "g" } }))
      assert.same({ jid = theirs, name = "two", groups = { "g" }, subscription = "none" }, r.items[theirs])
      assert.is_nil(next(r.items, theirs))
      assert(r:remove(jid))
      assert.same({}, r.items)
    end
  end)

  it("has ten thousand contacts", function()
    if not s.name:match "^prosody" then return end -- in others they would have to be added one by one
    local folder = s.dir .. "/data/" .. s.domain:gsub("%.", "%%2e") .. "/roster"
    os.execute(("mkdir -p '%s' && chmod 777 '%s'"):format(folder, folder))
    local file = assert(io.open(folder .. "/kate.dat", "w"))
    file:write "return { [false] = { version = 7 };\n"
    for i = 1, 10000 do
      file:write(LINE:format(i, i, i % 20))
    end
    file:write "}\n"
    file:close()
    os.execute(("chmod 666 '%s/kate.dat'"):format(folder))
    local conn = login("kate", "a")
    local r = roster.use(conn)
    assert(r:fetched(30))
    local n = 0
    for _ in pairs(r.items) do n = n + 1 end
    assert.equal(10000, n)
    assert.same({ jid = "contact77@example.org", name = "Contact 77", groups = { "g17" }, subscription = "both" },
      r.items["contact77@example.org"])
    assert.equal("both", roster.subscription(conn, "contact9999@example.org/pc"))
    local saved = ext.save(conn)
    assert(r:set("contact77@example.org", { name = "Changed" }))
    local again = login("kate", "b")
    ext.load(again, saved)
    local second = roster.use(again)
    local heard = ear(second, "added", "changed", "removed")
    assert(second:fetched(30))
    assert.same({ "changed contact77" }, heard)
    assert.same(r.items, second.items)
  end)

  describe("slixmpp", function()
    it("approves us and requests back, is renamed, and renames us", function()
      local alice, conn, at_alice = begin("alice", "ours", { approve = "all" })
      local path, at_carol = os.tmpname(), "carol@" .. s.domain
      local command = "exec env -u LD_PRELOAD '%s/slix_roster.py' '%s' %d '%s' '%s/slix' '%s' >%s"
      local pipe = assert(io.popen(command:format(child.folder, s.host, s.port, s.ca, at_carol, s.users.carol, path),
        "w"))
      finally(function() os.remove(path) end)
      finally(function() pipe:close() end)
      local function told(key, value)
        turn_until(function()
          for line in io.lines(path) do
            if line:find("^" .. key:gsub("[%.%-]", "%%%0") .. "=" .. value) then return true end
          end
        end)
      end
      told("READY", at_carol .. "/slix")
      local seen = ear(alice, "presence")
      assert(alice:subscribe(at_carol))
      turn_until(function() return subscription_of(alice, at_carol) == "both" and seen[1] end)
      told(at_alice, "both")
      assert(alice:set(at_carol, { name = "Slix", groups = { "bots" } }))
      assert.equal("Slix", alice.items[at_carol].name)
      assert(conn:send { "message", { to = at_carol .. "/slix", type = "chat" }, { "body", {}, "Alice" } })
      told(at_alice, "both Alice slix")
      assert(alice:remove(at_carol))
      told(at_alice, "none Alice slix")
    end)
  end)
end, { more_users = USERS }, SERVERS)
