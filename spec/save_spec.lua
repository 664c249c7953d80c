-- save: a session continues in another process, and nothing is lost or doubled.
local child = require "spec.support.child"
local json = require("spec.support.luas").json "save"
local managed = require "spec.support.managed"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

if not json then return end

local xexpr = xmpp.xexpr
local turn_until = managed.turn_until

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }

local opened

before_each(function() opened = {} end)
after_each(function() for _, o in ipairs(opened) do o:stop() end end)

local function keep(o)
  opened[#opened + 1] = o
  return o
end

local function login(s, name, extra, at)
  local opts = { resume = true }
  for key, value in pairs(extra or {}) do opts[key] = value end
  local conn = keep(assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], (at or s).host, (at or s).port,
    s.opts(opts))))
  turn_until(function() return conn:info().resumable or opts.resume == false end, "a session")
  return conn
end

local function say(from, to, text)
  assert(from:send { "message", { to = tostring(to), type = "chat" }, { "body", text } })
end

local function check_error(wanted, err)
  assert.is_table(err)
  for field, value in pairs(wanted) do assert.equal(value, err[field], tostring(err)) end
end

-- Continues it in another process. Returns what that reports; see resumer.lua. `read` reads its pipe.
local function carry_on(s, saved, count, to)
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write(type(saved) == "string" and saved or json.encode(saved))
  f:close()
  local pipe = io.popen(("exec ${LUA:-lua5.4} '%s/resumer.lua' '%s' %s '%s' %d '%s'"):format(child.folder, path,
    s.users.alice, s.ca, count, to))
  local report = pipe:read "*a"
  pipe:close()
  os.remove(path)
  local ok, told = pcall(json.decode, report)
  assert.is_true(ok, "the other process told nothing; it said why on stderr")
  assert.is_nil(told.failed, told.failed)
  return told
end

-- The bodies that come, up to "new".
local function bodies(conn)
  local list = {}
  repeat
    list[#list + 1] = xexpr.text(assert(conn:receive_blocking(30)), "body")
  until list[#list] == "new"
  return list
end

-- Stanzas that weren't read, acknowledged or answered; and one that comes while there is no process.
local function hand_over(alice, bob)
  local me, him = tostring(alice:jid()), tostring(bob:jid())
  local closed
  say(bob, me, "read")
  assert.equal("read", xexpr.text(assert(alice:receive_blocking(30)), "body"))
  say(bob, me, "queued")
  assert(bob:flush(30))
  assert(alice:ping(30))
  assert(alice:send_callback({ "iq", { type = "get", id = "asked", to = him }, PING },
    function(_, _, err) closed = err end, 30))
  local question = assert(bob:receive_blocking(30))
  say(alice, him, "unacknowledged")
  local saved
  xmpp.spawn(function()
    say(alice, him, "unwritten")
    saved = assert(alice:save())
  end)
  turn_until(function() return closed end, "the end of who waited")
  check_error({ layer = "closed", condition = "saved" }, closed)
  for i = 1, 5 do say(bob, me, "b" .. i) end
  assert(bob:send(xexpr.reply(question)))
  assert(bob:flush(30))
  return saved, me, him
end

server.each(function(s)
  describe("a saved session", function()
    it("continues in another process: nothing is lost or doubled", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local saved, me, him = hand_over(alice, bob)
      assert.equal(1, #saved.queue)
      assert.equal("queued", xexpr.text(saved.queue[1], "body"))
      assert.equal("asked", saved.pending[1].id)
      assert.equal(1, #saved.pending)
      assert.matches("unwritten", saved.stanzas[#saved.stanzas].xml)
      local told = carry_on(s, saved, 6, him)
      assert.equal(me, told.jid)
      assert.equal(1, told.info.resumed)
      assert.equal(0, told.info.rebound)
      assert.same({ "queued", "b1", "b2", "b3", "b4", "b5" }, told.bodies)
      assert.same({ asked = "result" }, told.responses)
      assert.same({}, told.dropped)
      assert.is_true(told.stopped)
      assert.same({ "unacknowledged", "unwritten", "new" }, bodies(bob))
      assert.is_nil((bob:receive()))
    end)

    it("has no password, and leaves the old connection closed", function()
      local alice = login(s, "alice")
      local text = json.encode((assert(alice:save())))
      for _, secret in ipairs { "alicepw", "YWxpY2Vwdw" } do assert.is_nil(text:find(secret, 1, true)) end
      assert.equal("closed", alice:state())
      check_error({ layer = "closed", condition = "saved" }, select(2, alice:save())) -- at once
      xmpp.step(0)
      for _, f in ipairs { alice.save, alice.receive, alice.receive_blocking, alice.flush, alice.ping } do
        local result, err = f(alice)
        assert.is_nil(result)
        check_error({ layer = "closed", condition = "saved", retry = false }, err)
      end
      assert.is_true(alice:stop()) -- there is no link to end, and nothing is lost
      local result, err = alice:send { "presence" }
      assert.is_nil(result)
      check_error({ layer = "closed", condition = "saved" }, err)
    end)

    it("leaves nothing in the old connection's queue", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      say(bob, alice:jid(), "queued")
      assert(bob:flush(30))
      assert(alice:ping(30))
      local saved, got = assert(alice:save()), 0
      alice:set_handler(function() got = got + 1 end)
      turn_until(function() return xmpp.step(0) == 0 end)
      assert.equal(1, #saved.queue)
      assert.equal(0, got)
    end)

    it("may be saved by a handler, whose stanza isn't delivered again", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local me, saved = alice:jid(), nil
      alice:set_handler(function(stanza, conn)
        if xexpr.text(stanza, "body") == "upgrade" then saved = assert(conn:save()) end
      end)
      for _, text in ipairs { "before", "upgrade", "after" } do say(bob, me, text) end
      assert(bob:flush(30))
      turn_until(function() return saved end, "upgrade")
      local told = carry_on(s, saved, 1, tostring(bob:jid()))
      assert.same({ "after" }, told.bodies)
      assert.equal(1, told.info.resumed)
      assert.same({ "new" }, bodies(bob))
    end)

    it("may be saved while the link is down", function()
      local p = keep(proxy.start(s.host, s.port))
      local alice, bob = login(s, "alice", { reconnect = { min = 100, max = 100 } }, p), login(s, "bob")
      local him = tostring(bob:jid())
      p:tell "cut rst"
      turn_until(function() return alice:state() == "waiting" end, "the cut")
      say(alice, him, "while it was down")
      local saved = assert(alice:save())
      saved.port = s.port
      say(bob, saved.jid, "b1")
      assert(bob:flush(30))
      local told = carry_on(s, saved, 1, him)
      assert.same({ "b1" }, told.bodies)
      assert.equal(1, told.info.resumed)
      assert.same({ "while it was down", "new" }, bodies(bob))
    end)

    it("may continue in the same process, and be saved again", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local saved = assert(alice:save())
      for i = 1, 3 do
        say(bob, saved.jid, "to number " .. i)
        local conn = keep(assert(xmpp.resume(json.decode(json.encode(saved)), s.users.alice, s.opts())))
        assert.equal(1, conn:info().resumed)
        assert.equal("to number " .. i, xexpr.text(assert(conn:receive_blocking(30)), "body"))
        saved = assert(conn:save())
      end
    end)

    it("that the server has forgotten becomes a new one; pending requests fail", function()
      local alice, bob = login(s, "alice"), login(s, "bob", { resume = false })
      local him = tostring(bob:jid())
      say(bob, alice:jid(), "queued")
      assert(bob:flush(30))
      assert(alice:ping(30))
      assert(alice:send_callback({ "iq", { type = "get", id = "asked", to = him }, PING }, function() end, 30))
      assert(bob:receive_blocking(30))
      local saved = assert(alice:save())
      s:restart(true)
      bob = login(s, "bob", { resource = bob:jid().resourcepart })
      saved.port = s.port
      local began = os.time()
      local told = carry_on(s, saved, 1, him)
      assert.is_true(os.time() - began < 30, "who has asked was told only after the timeout")
      assert.equal(saved.jid, told.jid)
      assert.equal(0, told.info.resumed)
      assert.equal(1, told.info.rebound)
      assert.same({ "queued" }, told.bodies)
      assert.same({ asked = "session-lost" }, told.responses)
      assert.is_true(told.stopped)
      assert.same({ "new" }, bodies(bob))
    end)

    it("that the server has forgotten gets the response to a request that had not left yet", function()
      local p = keep(proxy.start(s.host, s.port))
      local alice = login(s, "alice", { reconnect = { min = 100, max = 100 } }, p)
      p:tell "cut rst"
      turn_until(function() return alice:state() == "waiting" end, "the cut")
      assert(alice:send_callback({ "iq", { type = "get", id = "unsent", to = s.domain }, PING }, function() end, 30))
      local saved, told = json.decode(json.encode((assert(alice:save())))), nil
      s:restart(true)
      saved.port = s.port
      local conn = keep(assert(xmpp.resume(saved, s.users.alice, s.opts { on_response = function(stanza, _, err, id)
        told = id .. " " .. (stanza and stanza[2].type or err.condition)
      end })))
      turn_until(function() return told end, "the response")
      assert.equal("unsent result", told)
      assert.equal(1, conn:info().rebound)
    end)
  end)

  describe("save", function()
    local function refused(conn)
      local saved, err = conn:save()
      assert.is_nil(saved)
      check_error({ layer = "stream", condition = "not-resumable", retry = false }, err)
      assert(conn:stop(30))
    end

    it("is refused without a resumable session, and does no harm then", function()
      refused(login(s, "alice", { resume = false }))
      local conn = keep(assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.host, s.port, s.opts())))
      assert.matches("connect with resume = true, or with reconnect", select(2, conn:save()).text, 1, true)
      refused(conn)
      refused(keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret))))
    end)
  end)
end)

-- The system's clock may be set at any moment: between save and resume, and between send and save.
describe("the age of what was saved", function()
  local core, session = require "xmpp.core", require "xmpp.saved".session
  local MINUTE, YEAR = 60e3, 365 * 24 * 3600e3

  -- The age now, in minutes, of a stanza that was a minute old when it was saved.
  local function age(saved, stanza)
    local s = { xml = "<presence/>", at = 0, age = MINUTE, ours = true, stamped = true }
    for name, value in pairs(stanza or {}) do s[name] = value or nil end
    saved.stanzas, saved.pending = { s }, {}
    local result = session(saved).stanzas[1]
    assert.same({ xml = s.xml, age = result.age, ours = true, stamped = true }, result)
    assert.equal(0, result.age % 1)
    return math.floor(result.age / MINUTE)
  end

  it("is measured by the monotonic clock in a process after the same boot", function()
    local ticks, wall, boot = core.clocks()
    assert.equal(36, #boot)
    assert.equal(1, age { clock = ticks, saved_at = wall, boot = boot })
    assert.equal(1, age { clock = ticks, saved_at = 0, boot = boot }) -- the clock was at 1970 then, and was set since
    assert.equal(1, age { clock = ticks, saved_at = wall + YEAR, boot = boot })
    assert.equal(1, age { clock = ticks + MINUTE, saved_at = wall, boot = boot }) -- it can't be from the future
    local some = math.min(ticks, 3 * MINUTE)
    assert.equal(math.floor((MINUTE + some) / MINUTE), age { clock = ticks - some, saved_at = wall, boot = boot })
  end)

  it("is measured by the wall clock after another boot or on another machine", function()
    local ticks, wall = core.clocks()
    for _, boot in ipairs { "", "another" } do
      assert.equal(1, age { clock = ticks, saved_at = wall, boot = boot })
      assert.equal(4, age { clock = ticks, saved_at = wall - 3 * MINUTE, boot = boot })
      assert.equal(1, age { clock = 0, saved_at = wall + YEAR, boot = boot })
    end
    assert.equal(1, age {})
    assert.equal(3, age({}, { age = false, at = wall - 3 * MINUTE })) -- saved by an earlier version
    assert.equal(0, age({}, { age = false, at = wall + YEAR }))
  end)

  it("is in what save returns, with the time", function()
    local s = keep(server.start "prosody")
    local alice = login(s, "alice")
    local ticks, wall, boot = core.clocks()
    local saved
    xmpp.spawn(function()
      say(alice, alice:jid(), "late")
      saved = assert(alice:save())
    end)
    turn_until(function() return saved end, "the save")
    local stanza = saved.stanzas[#saved.stanzas]
    assert.matches("late", stanza.xml)
    assert.is_true(stanza.age >= 0 and stanza.age < 10e3)
    assert.is_true(math.abs(stanza.at - wall) < 10e3)
    assert.is_true(saved.clock >= ticks and saved.clock < ticks + 10e3)
    assert.is_true(math.abs(saved.saved_at - wall) < 10e3)
    assert.equal(boot, saved.boot)
    assert.is_nil(stanza.ours)
    assert.is_nil(stanza.stamped)
  end)
end)

-- A response goes to what waits for it, and answers to the library's own aren't given out; in the next process, too.
describe("the fate of saved stanzas", function()
  local core, fed = require "xmpp.core", require "spec.support.fed"
  local session = require "xmpp.saved".session
  local ME, PEER = "me@xmpp.test/here", "bob@xmpp.test/pc"
  local told

  local function open(old)
    local f = fed.open { jid = ME, sm = true, resumable = true, session = old }
    if not old then f:feed "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>" end
    return f
  end

  local function send_all(f)
    f.conn:set_handler(function() end)
    assert(f.conn:send { "message", { id = "m", to = PEER } })
    assert(f.conn:send_callback({ "iq", { type = "get", id = "q", to = PEER } }, function() end))
    f:feed("<iq type='get' id='a' from='" .. PEER .. "'><q xmlns='urn:q'/></iq>")
    assert(f.conn:send({ "message", { id = "w", to = PEER, from = "other@xmpp.test" } }, { on = function() end }))
    assert(f.conn:send({ "presence", { id = "p", to = PEER } }, { session = true }))
  end

  local function listen(f)
    told = {}
    f.conn:on("failed", function(stanza) told[#told + 1] = stanza[2].id end)
  end

  it("is reported as without saving, except to their `on`", function()
    local f = open()
    send_all(f)
    listen(f)
    f:feed "</stream:stream>"
    assert.same({ "m" }, told)
    f = open()
    send_all(f)
    local old = session(json.decode(json.encode((assert(core.conn.save(f.conn))))))
    fed.settle()
    old.jid = core.jid(ME)
    f = open(old)
    listen(f)
    f:feed "</stream:stream>"
    assert.same({ "m", "w" }, told)
  end)

  it("depends on their saved flags; a pending request is known by its number", function()
    local f = open()
    f.conn:send { "message", { id = "gone", to = PEER } }
    f:sent()
    f:feed "<a xmlns='urn:xmpp:sm:3' h='1'/>"
    send_all(f)
    local saved = json.decode(json.encode((assert(core.conn.save(f.conn)))))
    fed.settle()
    local flags = {}
    for i, s in ipairs(saved.stanzas) do
      flags[i] = ("%d%s%s%s%s%s"):format(s.number, s.request and " request" or "", s.answer and " answer" or "",
        s.foreign and " foreign" or "", s.ours and " ours" or "", s.session and " session" or "")
    end
    assert.same({ "2", "3 request", "4 answer", "5 foreign", "6 session" }, flags)
    assert.equal(1, #saved.pending)
    assert.equal(3, saved.pending[1].number)
    assert.equal(2, session(saved).pending[1].seq)
  end)
end)

describe("a stanza that has been read, but not delivered", function()
  local core, fed = require "xmpp.core", require "spec.support.fed"

  -- Saved by the log function, which gets the bytes first.
  it("when the session is saved is delivered in the next process, and not here", function()
    local f, saved, heard = nil, nil, 0
    f = fed.open { jid = "me@xmpp.test/here", sm = true, resumable = true, log = function(_, text)
      if text:find "second" then saved = assert(core.conn.save(f.conn)) end
    end }
    f.conn:set_handler(function() heard = heard + 1 end)
    f:feed "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>"
    f:feed "<message id='first'/>"
    f:feed "<message id='second'/>"
    assert.equal("closed", f.conn:state())
    assert.same({ 1, 1 }, { saved.h, heard })
    assert.same({}, saved.queue)
  end)
end)

describe("a malformed session", function()
  local function good()
    return { version = 1, account = "alice@xmpp.test", jid = "alice@xmpp.test/r", id = "x", max = 600, h = 0, acked = 0,
      written = 0, stanzas = { { xml = "<presence/>", at = 0 } }, pending = { { name = "iq", id = "1" } },
      queue = { { "message", {} } }, host = "127.0.0.1", port = 1, tls = "starttls" }
  end

  -- `spoil` makes it malformed; the error is raised at a line of this file, and has this text.
  local function check(text, spoil)
    local saved = good()
    spoil(saved)
    local ok, message = pcall(function() return (xmpp.resume(saved, "pw")) end)
    assert.is_false(ok, text)
    assert.truthy(message:find("save_spec.lua:", 1, true), message)
    assert.truthy(message:find("bad argument #1 to 'resume' (" .. text, 1, true), message)
  end

  it("isn't reported when nothing is wrong", function()
    local told
    xmpp.on_error(function(text) told = text end)
    local conn, err = xmpp.resume(good(), "pw")
    assert.is_nil(conn)
    check_error({ layer = "tcp", condition = "ECONNREFUSED" }, err)
    assert.is_nil(err.text:find("not known to have arrived", 1, true)) -- it still is saved
    xmpp.step(0)
    xmpp.on_error(nil)
    assert.is_nil(told)
  end)

  it("raises, with the field named", function()
    for _, name in ipairs { "account", "jid", "id", "max", "h", "acked", "written", "stanzas", "pending", "queue" } do
      check(name .. ": ", function(t) t[name] = nil end)
      check(name .. ": ", function(t) t[name] = true end)
    end
    for _, name in ipairs { "location", "host", "port", "tls" } do
      check(name .. ": ", function(t) t[name] = true end)
    end
    for _, name in ipairs { "max", "h", "acked", "written" } do
      for _, n in ipairs { -1, 0.5, 4294967296, 0 / 0, 1 / 0 } do check(name .. ": ", function(t) t[name] = n end) end
    end
    check("version: ", function(t) t.version = nil end)
    check("version: ", function(t) t.version = 2 end)
  end)

  it("raises, with the entry named", function()
    check("stanzas[1]: ", function(t) t.stanzas[1] = "<presence/>" end)
    check("stanzas[1].xml: ", function(t) t.stanzas[1].xml = nil end)
    for _, xml in ipairs { "", "<", "x", "presence", "<presence/", "<x/>" } do
      check("stanzas[1].xml: ", function(t) t.stanzas[1].xml = xml end)
    end
    check("stanzas[1].at: ", function(t) t.stanzas[1].at = "now" end)
    for _, flag in ipairs { "ours", "stamped", "request", "answer", "no_to", "foreign", "session" } do
      check("stanzas[1]." .. flag .. ": ", function(t) t.stanzas[1][flag] = json.null end)
    end
    check("stanzas[1].number: ", function(t) t.stanzas[1].number = 0.5 end)
    check("pending[1].number: ", function(t) t.pending[1].number = "1" end)
    check("pending[1]: ", function(t) t.pending[1] = 1 end)
    check("pending[1].id: ", function(t) t.pending[1].id = nil end)
    check("pending[1].name: ", function(t) t.pending[1].name = 1 end)
    check("pending[1].to: ", function(t) t.pending[1].to = false end)
    check("queue[1]: ", function(t) t.queue[1] = "message" end)
    check("queue[1][1]: ", function(t) t.queue[1][1] = nil end)
    check("queue[1][2]: ", function(t) t.queue[1][2] = nil end)
  end)

  it("raises for an invalid age or clock", function()
    for _, n in ipairs { -1, 0.5, 1 / 0, 0 / 0, "x", false } do
      check("stanzas[1].age: ", function(t) t.stanzas[1].age = n end)
      check("clock: ", function(t) t.clock = n end)
      check("saved_at: ", function(t) t.saved_at = n end)
    end
    check("boot: ", function(t) t.boot = 1 end)
  end)

  it("raises for a value that isn't a table", function()
    assert.has_error(function() xmpp.resume(nil, "pw") end)
    assert.has_error(function() xmpp.resume("x", "pw") end)
    assert.has_error(function() xmpp.resume({}, "pw") end)
  end)

  it("with an invalid address is an error", function()
    for _, name in ipairs { "account", "jid" } do
      local saved = good()
      saved[name] = "@"
      local conn, err = xmpp.resume(saved, "pw")
      assert.is_nil(conn)
      check_error({ layer = "stanza", condition = "jid-malformed" }, err)
    end
  end)
end)

server.each(function(s)
  describe("a saved session of a user agent", function()
    it("has its id and no token, and goes on by the token without a password", function()
      local agent = { id = "5c3b2a10-7f6e-4d5c-8b3a-29180706f5e4" }
      for _, bind2 in ipairs { false, true } do
        local conn = login(s, "alice", { user_agent = agent, bind2 = bind2, tls = "direct" },
          { host = s.host, port = s.tls_port })
        local me, token = conn:jid(), conn:token()
        local saved = assert(conn:save())
        assert.equal(agent.id, saved.user_agent)
        assert.is_nil(json.encode(saved):find(token.token, 1, true))
        xmpp.forget()
        conn = keep(assert(xmpp.resume(json.decode(json.encode(saved)), nil, s.opts { token = token, bind2 = bind2 })))
        local info = conn:info()
        assert.same({ 1, true, true }, { info.resumed, info.fast, info.bound_inline })
        assert.equal(me, conn:jid())
        assert.equal(agent.id, assert(conn:save()).user_agent)
      end
    end)
  end)
end, { extra_modules = "sasl2 sasl2_bind2 sasl2_sm sasl2_fast" }, { "prosody13" })
