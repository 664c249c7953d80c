-- reconnect: links that break, stall and come back, with Prosody and ejabberd behind a proxy; and redirections, by
-- scripted servers, as no real one here sends them. Those are Alice's (after a SCRAM login her PLAIN wouldn't be sent).
local child = require "spec.support.child"
local json = require("spec.support.luas").json "reconnect"
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local uptime = require "spec.support.uptime"
local xmpp = require "xmpp"

if not json then return end

local unpack = table.unpack or unpack -- luacheck: ignore 143
local xexpr = xmpp.xexpr
local turn_until, message, told, a, r, bye = managed.turn_until, managed.message, managed.says_message, managed.a,
  managed.r, managed.bye

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
local SOON, AT_ONCE = { min = 0.02, max = 0.1 }, { min = 0, max = 0 }

local opened, certs

setup(function() certs = managed.certs() end)
teardown(function() managed.remove(certs) end)
before_each(function() opened = {} end)
after_each(function()
  local stopping = 0
  for _, o in ipairs(opened) do
    if xmpp.is_connection(o) then
      stopping = stopping + 1
      xmpp.spawn(function()
        o:stop(2)
        stopping = stopping - 1
      end)
    end
  end
  turn_until(function() return stopping == 0 end, "goodbyes")
  for _, o in ipairs(opened) do
    if not xmpp.is_connection(o) then o:stop() end
  end
end)

local function keep(o)
  opened[#opened + 1] = o
  return o
end

local function check_error(wanted, err)
  assert.is_table(err)
  for field, value in pairs(wanted) do assert.equal(value, err[field], tostring(err)) end
  return err
end

local function body(stanza) return xexpr.text(stanza, "body") end

local function say(from, to, text, opts)
  return from:send({ "message", { to = tostring(to), type = "chat" }, { "body", text } }, opts)
end

-- A proxy in front of `s`, which can break the link; `where`: the name of another port of it.
local function bad_link(s, where) return keep(proxy.start(s.host, s[where or "port"])) end

local function login(s, name, opts, at)
  local conn = keep(assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], (at or s).host, (at or s).port,
    s.opts(opts))))
  turn_until(function() return conn:info().resumable or not (opts and (opts.reconnect or opts.resume)) end, "a session")
  return conn, managed.states(conn)
end

-- The states after a link has broken, when the session is resumed: after a login by RFC 6120's SASL, but within a login
-- by SASL2.
local function way_back(conn)
  local states = { "waiting", "connecting", "securing", "authenticating" }
  if conn:info().profile == "sasl" then states[#states + 1] = "resuming" end
  states[#states + 1] = "ready"
  return states
end

local function is_in(conn, state)
  turn_until(function() return conn:state() == state end, state)
end

local function goes_on(conn, n)
  turn_until(function() return conn:info().resumed == (n or 1) and conn:state() == "ready" end, "resumption")
end

server.each(function(s)
  describe("a link that breaks", function()
    for _, how in ipairs { "fin", "rst" } do
      it("is replaced, and the states are reported: " .. how, function()
        local p = bad_link(s)
        local carol, states = login(s, "carol", { reconnect = SOON }, p)
        local jid = tostring(carol:jid())
        p:tell("cut " .. how)
        goes_on(carol)
        assert.same(way_back(carol), { unpack(states) })
        check_error({ layer = "tcp", retry = true }, states.why.waiting)
        for _, state in ipairs { "connecting", "securing", "authenticating", "resuming", "ready" } do
          assert.is_nil(states.why[state])
        end
        assert.equal(jid, tostring(carol:jid()))
        assert(carol:ping(30))
      end)
    end

    it("keeps waits for responses, which come on the next one", function()
      local p = bad_link(s)
      local carol, bob = login(s, "carol", { reconnect = SOON }, p), login(s, "bob")
      local response
      xmpp.spawn(function()
        response = assert(carol:send_await({ "iq", { type = "get", to = tostring(bob:jid()) }, PING }, 30))
      end)
      local question = assert(bob:receive_blocking(30))
      p:tell "cut rst"
      assert(bob:send(xexpr.reply(question)))
      turn_until(function() return response end, "the response")
      assert.equal("result", response[2].type)
      assert.equal(1, carol:info().resumed)
    end)

    it("keeps stanzas sent meanwhile, up to max_queue", function()
      local p, note = bad_link(s), managed.notebook()
      local carol, bob = login(s, "carol", { reconnect = SOON, max_queue = 4096 }, p), login(s, "bob")
      p:tell "refuse"
      p:tell "cut rst"
      is_in(carol, "waiting")
      local sent, ok, err = -1
      repeat
        sent = sent + 1
        ok, err = say(carol, bob:jid(), tostring(sent + 1), note.of(sent + 1))
      until not ok
      check_error({ layer = "limit", condition = "max-queue", retry = true }, err)
      assert.is_true(sent > 5)
      local bytes, stanzas = carol:pending()
      assert.equal(sent, stanzas)
      assert.is_true(bytes > 3000 and bytes <= 4096, bytes)
      assert.equal("", note[1])
      p:tell "accept"
      for i = 1, sent do assert.equal(tostring(i), body(assert(bob:receive_blocking(30)))) end
      assert(carol:flush(30))
      for i = 1, sent do assert.equal("written acked", note[i]) end
      assert.same({ 0, 0 }, { carol:pending() })
    end)

    it("ends the connection without reconnect and resume", function()
      local p = bad_link(s)
      local carol, states = login(s, "carol", nil, p)
      p:tell "cut fin"
      is_in(carol, "closed")
      xmpp.step(0)
      assert.same({ "closed" }, { unpack(states) })
      check_error({ layer = "tcp", condition = "EOF", retry = true }, states.why.closed)
      check_error({ layer = "closed", condition = "EOF" }, select(2, carol:receive_blocking(30)))
      assert.equal(1, p:stats().connections)
    end)

    it("is replaced with resume = true only as long as the session exists", function()
      local p = bad_link(s)
      local carol, states = login(s, "carol", { resume = true }, p)
      p:tell "cut rst"
      goes_on(carol)
      assert(carol:ping(30))
      s:restart(true)
      is_in(carol, "closed")
      xmpp.step(0)
      check_error({ layer = "closed", condition = "session-lost" }, states.why.closed)
      assert.equal(0, carol:info().rebound)
    end)

    it("is replaced at most `attempts` times", function()
      local p = bad_link(s)
      local carol, states = login(s, "carol", { reconnect = { min = 0, max = 0.01, attempts = 4 } }, p)
      p:tell "refuse"
      p:tell "cut fin"
      is_in(carol, "closed")
      xmpp.step(0)
      local made = 0
      for _, state in ipairs(states) do made = made + (state == "connecting" and 1 or 0) end
      assert.equal(4, made)
      check_error({ layer = "tcp", condition = "ECONNREFUSED", retry = true }, states.why.closed)
    end)

    it("counts attempts from zero again after a session that has lasted", function()
      local p = bad_link(s)
      local carol = login(s, "carol", { reconnect = { min = 0, max = 0.01, attempts = 2 } }, p)
      for i = 1, 3 do
        xmpp.sleep(2.2)
        p:tell "cut rst"
        goes_on(carol, i)
        assert(carol:ping(30)) -- if it has half a stanza, Prosody may need a second new link
      end
    end)

    it("continues the count of attempts if each session is soon cut", function()
      local p = bad_link(s)
      local carol, states = login(s, "carol", { reconnect = { min = 0, max = 0.01, attempts = 3 } }, p)
      for _ = 1, 4 do
        turn_until(function() return carol:state() == "ready" end, "a session")
        p:tell "cut rst"
        turn_until(function() return carol:state() ~= "ready" end, "its end")
      end
      is_in(carol, "closed")
      xmpp.step(0)
      local made = 0
      for _, state in ipairs(states) do made = made + (state == "connecting" and 1 or 0) end
      assert.equal(3, made)
      check_error({ layer = "tcp", retry = true }, states.why.closed)
    end)
  end)

  describe("a permanent error", function()
    it("ends the connection: another client has taken the resource", function()
      local p = bad_link(s)
      local carol, states = login(s, "carol", { reconnect = SOON, resource = "desk" }, p)
      login(s, "carol", { resource = "desk" })
      is_in(carol, "closed")
      xmpp.step(0)
      assert.same({ "closed" }, { unpack(states) })
      check_error({ layer = "stream", condition = "conflict", retry = false }, states.why.closed)
    end)

    it("ends the connection: the password was changed", function()
      local p = bad_link(s)
      local dave, states = login(s, "dave", { reconnect = SOON }, p)
      local other = login(s, "dave")
      local response = assert(other:send_await({ "iq", { type = "set", to = s.domain }, { "query",
        { xmlns = "jabber:iq:register" }, { "username", "dave" }, { "password", "another" } } }, 30))
      assert.equal("result", response[2].type)
      s.users.dave = "another"
      p:tell "cut fin"
      is_in(dave, "closed")
      xmpp.step(0)
      check_error({ layer = "sasl", condition = "not-authorized", retry = false }, states.why.closed)
      local _, made = table.concat(states, " "):gsub("authenticating", "")
      assert.equal(1, made)
    end)
  end)

  describe("a server that is killed", function()
    it("and restarted gets a new session: the rest is sent in it, or fails", function()
      local note = managed.notebook()
      local carol, states = login(s, "carol", { reconnect = SOON })
      local failed
      assert(carol:ping(30))
      s:restart(true)
      xmpp.spawn(function()
        say(carol, carol:jid(), "again", note.of "again")
        failed = select(2, carol:send_await({ "iq", { type = "get", to = s.domain }, PING }, 30))
      end)
      turn_until(function() return note.again == "written acked" end, "the message")
      assert.equal("again", body(assert(carol:receive_blocking(30))))
      assert.equal(1, carol:info().rebound)
      assert.equal("ready", states[#states])
      if failed then check_error({ layer = "closed", condition = "session-lost" }, failed) end
    end)
  end)

  describe("a listener to a new session", function()
    it("can send and receive before queued stanzas are sent", function()
      local carol = login(s, "carol", { reconnect = SOON })
      local answered
      carol:on("session", function()
        assert(say(carol, carol:jid(), "first"))
        answered = assert(carol:ping(30))
        assert(say(carol, carol:jid(), "second"))
      end)
      assert(carol:ping(30))
      s:restart(true)
      assert(say(carol, carol:jid(), "queued"))
      local texts = {}
      while #texts < 3 do
        local stanza = assert(carol:receive_blocking(30))
        texts[#texts + 1] = body(stanza)
      end
      assert.is_number(answered)
      assert.same({ "first", "second", "queued" }, texts)
      assert.equal(1, carol:info().rebound)
    end)
  end)

  describe("stop", function()
    local function down(opts)
      local p = bad_link(s)
      local carol = login(s, "carol", opts or { reconnect = { min = 300, max = 300 } }, p)
      p:tell "refuse"
      p:tell "cut rst"
      is_in(carol, "waiting")
      return carol, p
    end

    it("while waiting, with nothing to send, returns at once", function()
      local carol = down()
      assert.is_true(carol:stop())
      assert.equal("closed", carol:state())
      assert.is_true(carol:stop())
    end)

    it("while waiting reports how much is not known to have arrived", function()
      local carol, note = down(), managed.notebook()
      for i = 1, 2 do assert(say(carol, "bob@" .. s.domain, "lost", note.of(i))) end
      local ok, err = carol:stop(0.2)
      assert.is_nil(ok)
      assert.matches("2 stanzas are not known to have arrived", check_error({ layer = "closed" }, err).text)
      assert.same({ "failed", "failed" }, { note[1], note[2] })
      local again, same = carol:stop()
      assert.is_nil(again)
      assert.equal(err.text, same.text)
    end)

    it("while dialling a silent host is bounded, and reports what isn't known to have arrived", function()
      local p, note = bad_link(s), managed.notebook()
      local pipe = child.open("nameserver.py", { json.encode {
        ["_xmpp-client._tcp." .. s.domain] = { SRV = { { 1, 0, p.port, "one.example" },
          { 2, 0, s.port, "hole.example" } } },
        ["one.example"] = { A = { "127.0.0.1" } }, ["hole.example"] = { A = { "127.0.0.2" } }, holes = { s.port },
      } })
      finally(function() pipe:close() end)
      local carol = keep(assert(xmpp.connect_client("carol@" .. s.domain, s.users.carol, s.opts {
        nameservers = assert(child.variables(pipe)).ADDRESS, reconnect = { min = 300, max = 300 } })))
      turn_until(function() return carol:info().resumable end, "a session")
      p:tell "refuse"
      p:tell "cut rst"
      is_in(carol, "waiting")
      assert(say(carol, "bob@" .. s.domain, "lost", note.of "lost"))
      local ok, err = carol:stop(0.7)
      assert.is_nil(ok)
      check_error({ layer = "closed", condition = "timeout" }, err)
      assert.matches("acknowledge everything in time %(1 stanza is not known to have arrived%)", err.text)
      assert.equal("failed", note.lost)
      assert.equal("closed", carol:state())
    end)

    it("while waiting delivers what it can", function()
      local carol, p = down()
      local bob, note = login(s, "bob"), managed.notebook()
      assert(say(carol, bob:jid(), "last words", note.of "last"))
      p:tell "accept"
      assert.is_true(carol:stop(30))
      assert.equal("written acked", note.last)
      assert.equal("last words", body(assert(bob:receive_blocking(30))))
    end)

    it("called twice at once, and again, has one result", function()
      local carol = login(s, "carol")
      local results = {}
      for i = 1, 2 do xmpp.spawn(function() results[i] = { carol:stop(30) } end) end
      turn_until(function() return results[1] and results[2] end, "both")
      assert.same({ { true }, { true } }, results)
      assert.is_true(carol:stop())
    end)

    it("is bounded if nothing arrives any more", function()
      local p = bad_link(s)
      local carol = login(s, "carol", nil, p)
      p:tell "stall both"
      assert(say(carol, "bob@" .. s.domain, "lost"))
      local ok, err = carol:stop(0.2)
      assert.is_nil(ok)
      assert.matches("1 stanza is not known to have arrived", check_error({ condition = "timeout" }, err).text)
      assert.equal("closed", carol:state())
    end)
  end)

  describe("on a slow link", function()
    it("flush waits until all is acknowledged", function()
      local p = bad_link(s)
      local carol = login(s, "carol", nil, p)
      assert(carol:flush(30))
      p:tell "stall down"
      for i = 1, 3 do assert(say(carol, "bob@" .. s.domain, tostring(i))) end
      local ok, err = carol:flush(0.2)
      assert.is_nil(ok)
      check_error({ layer = "timeout", condition = "timeout" }, err)
      local bytes, stanzas = carol:pending()
      assert.equal(3, stanzas)
      assert.is_true(bytes > 100)
      p:tell "flow"
      assert.is_true(carol:flush(30))
      assert.same({ 0, 0 }, { carol:pending() })
    end)

    it("ping returns how long it took, or times out", function()
      local p = bad_link(s)
      local carol = login(s, "carol", nil, p)
      local seconds = assert(carol:ping(30))
      assert.is_true(seconds >= 0 and seconds < 30, seconds)
      p:tell "stall down"
      check_error({ layer = "timeout" }, select(2, carol:ping(0.1)))
      p:tell "flow"
      assert(carol:ping(30))
      carol:stop(30)
      check_error({ layer = "closed" }, select(2, carol:ping(30)))
    end)

    for _, how in ipairs { "hole", "stall both", "stall down" } do
      it("a dead one is noticed and replaced: " .. how, function()
        local p = bad_link(s)
        local carol, states = login(s, "carol", { reconnect = SOON, ack_timeout = 0.5, keepalive = 0.1 }, p)
        p:tell(how)
        turn_until(function() return states.why.waiting end, "suspicion")
        check_error({ layer = "timeout", condition = "timeout", retry = true }, states.why.waiting)
        turn_until(function() return carol:info().resumed >= 1 and carol:state() == "ready" end, "resumption")
        assert(carol:ping(30))
      end)
    end
  end)

  describe("a full receive queue", function()
    it("stops reading, which doesn't make the link count as dead", function()
      local heard = 0
      local carol, states = login(s, "carol", { max_queue = 4096, ack_timeout = 5, keepalive = 0, reconnect = SOON,
        log = function(direction, text) heard = heard + (direction == "in" and #text or 0) end })
      local bob = login(s, "bob")
      for i = 1, 200 do assert(say(bob, carol:jid(), i .. " " .. ("."):rep(1000))) end
      assert(bob:flush(30)) -- so that what comes for Carol from now on follows these
      local taken = 1 -- she does take them, only slowly
      assert.equal(1, tonumber(body(assert(carol:receive_blocking(30))):match "^%d+"))
      assert(say(carol, bob:jid(), "to be acknowledged"))
      for i = 2, 12 do
        xmpp.sleep(0.5)
        taken = i
        assert.equal(i, tonumber(body(assert(carol:receive())):match "^%d+"))
      end
      assert.is_true(heard < 100000, heard .. " bytes were read")
      assert.equal(1, select(2, carol:pending()))
      assert.same({}, { unpack(states) })
      for i = taken + 1, 200 do assert.equal(i, tonumber(body(assert(carol:receive_blocking(30))):match "^%d+")) end
      assert(carol:flush(30))
      assert.same({}, { unpack(states) })
    end)
  end)

  describe("a full receive queue and a link that breaks", function()
    -- Carol has more in her queue than fits, and doesn't take it.
    local function full(opts)
      local p = bad_link(s)
      opts.max_queue = 4096
      local carol, states = login(s, "carol", opts, p)
      carol:receive() -- one that does take stanzas, though not now
      local bob = login(s, "bob")
      for i = 1, 30 do assert(say(bob, carol:jid(), i .. " " .. ("."):rep(1000))) end
      assert(bob:flush(30))
      assert(bob:ping(30))
      xmpp.step(0.3)
      return p, carol, states
    end

    local function all_come(carol)
      for i = 1, 30 do assert.equal(i, tonumber(body(assert(carol:receive_blocking(30))):match "^%d+")) end
      assert(carol:ping(30))
      assert.is_nil((carol:receive()))
    end

    for _, how in ipairs { "fin", "rst" } do
      it("resume the session before anything is taken from the queue: " .. how, function()
        local p, carol, states = full { reconnect = SOON, keepalive = 0 }
        p:tell("cut " .. how)
        goes_on(carol)
        assert.same(way_back(carol), { unpack(states) })
        all_come(carol)
        assert.equal(0, carol:info().rebound)
      end)
    end

    it("end the connection without reconnect", function()
      local p, carol, states = full {}
      p:tell "cut fin"
      is_in(carol, "closed")
      xmpp.step(0)
      check_error({ layer = "tcp", condition = "EOF" }, states.why.closed)
    end)
  end)

  describe("a component", function()
    it("reconnects, and queued stanzas are sent", function()
      local p, note = bad_link(s, "component_port"), managed.notebook()
      local bob = login(s, "bob")
      local conn = keep(assert(xmpp.connect_component(p.host, p.port, s.component, s.secret, { reconnect = SOON })))
      local states = managed.states(conn)
      p:tell "refuse"
      p:tell "cut fin"
      is_in(conn, "waiting")
      for i = 1, 20 do
        assert(conn:send({ "message", { to = tostring(bob:jid()), from = s.component }, { "body", tostring(i) } },
          note.of(i)))
      end
      p:tell "accept"
      for i = 1, 20 do assert.equal(tostring(i), body(assert(bob:receive_blocking(30)))) end
      assert(conn:flush(30))
      for i = 1, 20 do assert.equal("written", note[i]) end
      assert.equal("ready", states[#states])
      assert.equal(1, conn:info().rebound)
      assert(say(bob, s.component, "and back"))
      assert.equal("and back", body(assert(conn:receive_blocking(30))))
    end)

    -- The server still has the old link, so for it the name is taken.
    it("comes back even if the server still considers its old link alive", function()
      local p = bad_link(s, "component_port")
      local bob = login(s, "bob")
      local conn = keep(assert(xmpp.connect_component(p.host, p.port, s.component, s.secret, { reconnect = SOON })))
      local states, refused = managed.states(conn), 0
      conn:on("state", function(state, err)
        states[#states + 1] = state
        if state == "waiting" and err.condition == "conflict" then refused = refused + 1 end
      end)
      p:tell "refuse"
      p:tell "cut rst"
      is_in(conn, "waiting")
      local old, why
      repeat -- until it has noticed that the first link is gone
        old, why = xmpp.connect_component(s.host, s.component_port, s.component, s.secret)
      until old or why.condition ~= "conflict"
      assert(old, why)
      p:tell "accept"
      turn_until(function() return refused > 1 or states[#states] == "ready" end, "the server's word")
      old:stop()
      is_in(conn, "ready")
      assert(say(bob, s.component, "back"))
      assert.equal("back", body(assert(conn:receive_blocking(30))))
      assert.equal(s.name == "prosody", refused > 0) -- ejabberd lets several have the same name
    end)

    it("has its answers recognized in the server's spelling of its address", function()
      local conn = keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret)))
      local bob, asked = login(s, "bob"), {}
      conn:set_handler(function(x)
        asked[#asked + 1] = x[2].to
        conn:send { "iq", { type = "result", id = x[2].id, to = x[2].from, from = x[2].to } }
      end)
      for _, user in ipairs { "stra\195\159e", "\207\131\206\175\207\131\207\133\207\134\206\191\207\130" } do
        local at = user .. "@" .. s.component
        local response = assert(bob:send_await({ "iq", { type = "get", to = at }, PING }, 10))
        assert.equal("result", response[2].type)
        assert.equal(asked[#asked], response[2].from)
      end
      assert.equal(2, #asked)
    end)
  end)
end, { more_users = "dave:davepw", extra_modules = "mod_register" })

-- Scripted servers

local function play(...)
  return keep(peer.play(table.concat { ... }, { certs = certs, grace = 2, timeout = 15 }))
end

local function dial(p, opts)
  local o = { ca_file = p.ca, resource = "r", timeout = 10 }
  for key, value in pairs(opts or {}) do o[key] = value end
  local conn, err = xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, o)
  return conn and keep(conn), err
end

local function dialled(p, opts)
  local conn = assert(dial(p, opts))
  return conn, managed.states(conn)
end

-- What a server sends right after a login may be read together with it, and be over before the program listens. With
-- LISTENS in its play, the server waits for a message, which `listening` sends.
local LISTENS = message "1" .. r .. a(1)

local function listening(p, opts)
  local conn, states = dialled(p, opts)
  assert(conn:send { "message", { id = "1" }, { "body", "1" } })
  return conn, states
end

describe("a first connection", function()
  it("that fails is not tried again", function()
    local p = keep(proxy.start("127.0.0.1", 1))
    local conn, err = xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, { reconnect = AT_ONCE })
    assert.is_nil(conn)
    assert.is_true(err.retry)
    xmpp.step(0.05)
    assert.equal(1, p:stats().connections)
  end)
end)

describe("a permanent error", function()
  local ERROR = "S: <stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>\n"

  local function check_end(wanted, ...)
    local p = play(managed.session(), LISTENS, told "now", ...)
    local conn, states = listening(p, { reconnect = AT_ONCE })
    assert.equal("now", body(assert(conn:receive_blocking(30))))
    is_in(conn, "closed")
    xmpp.step(0)
    check_error(wanted, states.why.closed)
    p:check()
  end

  for _, condition in ipairs { "policy-violation", "conflict", "not-authorized" } do
    it("in a session ends the connection: " .. condition, function()
      check_end({ layer = "stream", condition = condition, retry = false }, ERROR:format(condition))
    end)
  end

  it("at the next login ends the connection", function()
    check_end({ layer = "sasl", condition = "not-authorized", retry = false }, "cut\naccept\n", peer.starttls,
      (peer.plain:gsub("S: <success xmlns='urn:ietf:params:xml:ns:xmpp%-sasl'/>",
        "S: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")))
  end)

  it("isn't a server's shutdown", function()
    local p = play(managed.session(), LISTENS, told "now", ERROR:format "system-shutdown", "accept\n",
      managed.resume(1), managed.resumed(1), bye(1))
    local conn, states = listening(p, { reconnect = AT_ONCE })
    goes_on(conn)
    check_error({ layer = "stream", condition = "system-shutdown", retry = true }, states.why.waiting)
    assert.is_true(conn:stop(30))
    p:check()
  end)
end)

describe("the host that answers a reconnect", function()
  local HTTP = "raw HTTP/1.1 302 Found\\r\\nLocation: http://portal.example/\\r\\n\\r\\n<html></html>\n"

  -- The program is told why, and it is tried again until the server accepts it.
  local function passes(wanted, ...)
    local p = play(managed.session(), LISTENS, told "now", "cut\naccept\n", table.concat { ... }, "accept\n",
      managed.resume(1), managed.resumed(1), bye(1))
    local conn = listening(p, { reconnect = AT_ONCE, pipelining = false })
    local why
    conn:on("state", function(state, err) if state == "waiting" and err.layer ~= "tcp" then why = err end end)
    goes_on(conn)
    check_error(wanted, why)
    assert.is_true(conn:stop(30))
    p:check()
  end

  local function is_final(wanted, opts, ...)
    local p = play(...)
    local conn, err = dial(p, opts or { reconnect = AT_ONCE })
    assert.is_nil(conn)
    check_error(wanted, err)
    p:check()
  end

  it("may be a captive portal", function()
    passes({ layer = "stream", retry = true }, "C: <stream:stream ...>\n", HTTP, "cut\n")
    is_final({ layer = "stream", retry = false }, nil, "C: <stream:stream ...>\n", HTTP, "cut\n")
  end)

  for _, cert in ipairs { "expired", "wrongname" } do
    it("may have another certificate: " .. cert, function()
      local wrong = peer.starttls:gsub("tls\n", "tls cert=" .. cert .. " refused\n")
      local condition = cert == "expired" and "certificate-expired" or "certificate-name-mismatch"
      passes({ layer = "tls", condition = condition, retry = true }, wrong)
      is_final({ layer = "tls", condition = condition, retry = false }, nil, wrong)
    end)
  end

  it("may have no TLS", function()
    local bare = peer.stream "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>" .. "eof\n"
    passes({ layer = "tls", condition = "starttls-not-offered", retry = true }, bare)
    is_final({ layer = "tls", condition = "starttls-not-offered", retry = false }, nil, bare)
  end)

  it("is believed about the password, since its certificate was checked", function()
    local p = play(managed.session(), told "now", "cut\naccept\n", peer.starttls, (peer.plain:gsub(
      "S: <success xmlns='urn:ietf:params:xml:ns:xmpp%-sasl'/>",
      "S: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")))
    local conn, states = dialled(p, { reconnect = AT_ONCE })
    is_in(conn, "closed")
    xmpp.step(0)
    check_error({ layer = "sasl", condition = "not-authorized", retry = false }, states.why.closed)
  end)
end)

describe("a conflict", function()
  local CONFLICT = "S: <stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    .. "</stream:stream>\n"

  it("with our own last link, which the server considers alive, is temporary", function()
    local p = play(managed.session(), told "now", "cut\naccept\n", managed.resume(1), CONFLICT, "accept\n",
      managed.resume(1), CONFLICT, "accept\n", managed.resume(1), managed.resumed(0), bye(1))
    local conn, states = dialled(p, { reconnect = AT_ONCE })
    goes_on(conn)
    check_error({ layer = "stream", condition = "conflict", retry = true }, states.why.waiting)
    assert.is_true(conn:stop(30))
    p:check()
  end)

  it("with another client, later, is final", function()
    local p = play(managed.session(), told "now", "cut\naccept\n", managed.resume(1), CONFLICT, "accept\n",
      managed.resume(1), managed.resumed(0), told "then", CONFLICT)
    local conn, states = dialled(p, { reconnect = AT_ONCE })
    is_in(conn, "closed")
    xmpp.step(0)
    check_error({ layer = "stream", condition = "conflict", retry = false }, states.why.closed)
    p:check()
  end)

  it("at the first connect is final, and so is one after a goodbye", function()
    local p = play(managed.resume(1):gsub("C: <resume.*", ""), CONFLICT)
    local conn, err = dial(p, { reconnect = AT_ONCE })
    assert.is_nil(conn)
    check_error({ layer = "stream", condition = "conflict", retry = false }, err)
    p = play(managed.session(), told "now", "S: </stream:stream>\n", "accept\n", managed.resume(1), CONFLICT)
    local states
    conn, states = dialled(p, { reconnect = AT_ONCE })
    is_in(conn, "closed")
    xmpp.step(0)
    check_error({ layer = "stream", condition = "conflict", retry = false }, states.why.closed)
  end)
end)

describe("a server that ends each session soon", function()
  it("is dialled `attempts` times, though each login succeeds", function()
    local p = play(managed.session(), told "now", "cut\n",
      ("accept\n" .. managed.resume(1) .. managed.resumed(0) .. "cut\n"):rep(4), "accept\n")
    local conn, states = dialled(p, { reconnect = { min = 0, max = 0.02, attempts = 4 } })
    is_in(conn, "closed")
    xmpp.step(0)
    local made = 0
    for _, state in ipairs(states) do made = made + (state == "connecting" and 1 or 0) end
    assert.equal(4, made)
    assert.equal(4, conn:info().resumed)
  end)

  it("by malformed XML is dialled again, and after the third time with a long pause", function()
    local poison = "raw <message><body>\\x01</body></message>\n"
      .. "C: <stream:error>...</stream:error></stream:stream>\ncut\n"
    local fresh = managed.login() .. "match <resume[^>]*>\nS: <failed xmlns='urn:xmpp:sm:3'/>\n" .. managed.binding
      .. "C: <enable xmlns='urn:xmpp:sm:3' resume='true'/>\n" .. managed.enabled "one"
    local p = play(managed.session(), poison, "accept\n", fresh, poison, "accept\n", fresh, poison, "accept\n", fresh,
      told "at last", bye(1))
    local conn = dialled(p, { reconnect = { min = 0, max = 3 } })
    local why, since, pauses = {}, nil, {}
    conn:on("state", function(state, err)
      if state == "waiting" then why[#why + 1], since = err, uptime() end
      if state == "connecting" then pauses[#pauses + 1] = uptime() - since end
    end)
    assert.equal("at last", body(assert(conn:receive_blocking(30))))
    assert.equal(3, #why)
    for i = 1, 3 do check_error({ layer = "stream", condition = "not-well-formed", retry = true }, why[i]) end
    assert.not_matches("reconnect.max", why[2].text, 1, true)
    assert.matches("reconnect.max", why[3].text, 1, true)
    -- With a margin of half a pause on both sides, since a busy machine reports a state late.
    assert.is_true(pauses[3] > 1.5, pauses[3])
    assert.is_true(pauses[1] < 1.5 and pauses[2] < 1.5)
    assert.is_true(conn:stop(30))
    p:check()
  end)
end)

describe("stop", function()
  -- The first link breaks with a message unacknowledged; on the next one nothing comes after `until_then`.
  local function check_stop(state, until_then)
    local p = play(managed.session(), message "1", told "now", "cut\naccept\n", until_then, "eof\n")
    local conn = dialled(p, { reconnect = AT_ONCE })
    local note = managed.notebook()
    assert(conn:send({ "message", { id = "1" }, { "body", "1" } }, note.of "1"))
    is_in(conn, state)
    local ok, err = conn:stop(0.2)
    assert.is_nil(ok)
    assert.matches("1 stanza is not known to have arrived", check_error({ layer = "closed" }, err).text)
    assert.equal("closed", conn:state())
    assert.equal("written failed", note["1"])
    assert.same({ nil, err }, { conn:stop() })
    p:check()
  end

  it("while connecting", function() -- to a server that is known
    check_stop("securing", "C: <stream:stream ...>\nC: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n")
  end)

  it("while resuming", function() check_stop("resuming", managed.resume(1)) end)

  it("while binding", function()
    check_stop("binding", managed.resume(1) .. "S: <failed xmlns='urn:xmpp:sm:3'/>\nC: <iq ...>...</iq>\n")
  end)
end)

describe("see-other-host", function()
  local HEADER = "S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' "
    .. "version='1.0'>\n"

  local function elsewhere(target)
    return ("S: <stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>%s</see-other-host>"
      .. "</stream:error></stream:stream>\n"):format(target)
  end

  -- The beginning of a play that redirects its client.
  local function sends_to(target)
    return "C: <stream:stream ...>\n" .. HEADER .. elsewhere(target) .. "C: </stream:stream>\n"
  end

  local function reaches(p, other)
    local conn = dialled(p, { see_other_host = true })
    assert.equal("here", body(assert(conn:receive_blocking(30))))
    assert.is_true(conn:stop(30))
    p:check()
    if other then other:check() end
  end

  local function is_reported(p, opts)
    local conn, err = dial(p, opts)
    assert.is_nil(conn)
    check_error({ layer = "stream", condition = "see-other-host", retry = false }, err)
    p:check()
    return err
  end

  local SESSION = managed.session() .. told "here" .. bye(1)

  it("is reported, and not followed, by default", function()
    local err = is_reported(play(sends_to "localhost:5"))
    assert.matches("localhost:5", err.text)
    assert.matches("see_other_host = true", err.text, 1, true)
    is_reported(play(sends_to "localhost:5"), { see_other_host = false, reconnect = AT_ONCE })
  end)

  it("host:port is followed", function()
    local other = play(SESSION)
    reaches(play(sends_to("localhost:" .. other.port)), other)
  end)

  it("host alone is followed to the same port", function() reaches(play(sends_to "localhost", "accept\n", SESSION)) end)

  it("[address]:port is followed", function()
    local other = play(SESSION)
    reaches(play(sends_to("[127.0.0.1]:" .. other.port)), other)
    local ok, six = pcall(peer.play, SESSION, { certs = certs, grace = 2, timeout = 15, host = "::1" })
    if not ok then return pending "there is no ::1 here" end
    reaches(play(sends_to("[::1]:" .. keep(six).port)), six)
  end)

  it("is followed at most three times", function()
    local hop = sends_to "localhost" .. "accept\n"
    reaches(play(hop:rep(3), SESSION))
    is_reported(play(hop:rep(3), sends_to "localhost", "eof\n"), { see_other_host = true })
  end)

  it("requires the domain's certificate at the other host", function()
    local other = play((peer.starttls:gsub("tls\n", "tls cert=wrongname refused\n")))
    local p = play(sends_to("localhost:" .. other.port))
    local conn, err = dial(p, { see_other_host = true })
    assert.is_nil(conn)
    check_error({ layer = "tls", condition = "certificate-name-mismatch", retry = false }, err)
    other:check()
  end)

  it("with an invalid host is reported", function()
    for _, target in ipairs { "", "localhost:0", "localhost:65536", "localhost:", "localhost:5222x", "localhost:-1",
      ":5222", ("x"):rep(300), ("x"):rep(300) .. ":5222", ("x"):rep(9000) .. ":5222", "[::1",
      "[]:5222", "[::1]5222", "a b", "a@b", "a/b", "[a b]:5222", "[a/b]", "[a%lo]:5222", "[127.0.0.1%lo]:5222",
      "[::1%]:5222", "[::1%a b]:5222", "::1%lo", "fe80::1%lo:5222" } do
      is_reported(play(sends_to(target), "eof\n"), { see_other_host = true })
    end
  end)

  it("in a session is followed, too, to a new session", function()
    local other = play(managed.login(), managed.binding, "C: <enable xmlns='urn:xmpp:sm:3'/>\n",
      managed.enabled "two", told "there", message "2", r, a(1), bye(1))
    local p = play(sends_to "localhost", "accept\n", managed.asked,
      "S: <failed xmlns='urn:xmpp:sm:3'/>\n", told "now", elsewhere("localhost:" .. other.port))
    local conn, states = dialled(p, { see_other_host = true })
    assert.equal("now", body(assert(conn:receive_blocking(30))))
    assert.equal("there", body(assert(conn:receive_blocking(30))))
    assert.equal("ready", states[#states])
    assert.equal(1, conn:info().rebound)
    assert(conn:send { "message", { id = "2" }, { "body", "2" } })
    assert.is_true(conn:stop(30))
    other:check()
  end)

  it("after each login is followed at most three times", function()
    local hop = managed.session() .. elsewhere "localhost" .. "accept\n"
    local again = managed.asked:gsub("C: <iq", "C: <resume .../>\nS: <failed xmlns='urn:xmpp:sm:3'/>\nC: <iq", 1)
      .. managed.enabled "one" .. elsewhere "localhost"
    local p = play(hop, again, "accept\n", again, "accept\n", again)
    local conn, states = dialled(p, { see_other_host = true, reconnect = AT_ONCE })
    is_in(conn, "closed")
    xmpp.step(0)
    check_error({ layer = "stream", condition = "see-other-host", retry = false }, states.why.closed)
    assert.matches("3 times", states.why.closed.text)
    p:check()
  end)

  it("in a session ends the connection by default", function()
    local p = play(managed.session(), LISTENS, told "now", elsewhere "localhost:5")
    local conn, states = listening(p, { reconnect = AT_ONCE })
    is_in(conn, "closed")
    turn_until(function() return states.why.closed end, "its reason")
    check_error({ layer = "stream", condition = "see-other-host", retry = false }, states.why.closed)
    p:check()
  end)
end)

describe("one of two servers", function()
  it("that accepts connections and drops them is skipped", function()
    local first = play(managed.session(), message "1", r, a(1), "cut\naccept\ncut\n")
    local second = play(managed.resume(0), managed.resumed(1), message "2", r, a(2), bye())
    local pipe = child.open("nameserver.py", { json.encode {
      ["_xmpp-client._tcp.xmpp.test"] = { SRV = { { 1, 0, first.port, "one.example" },
        { 2, 0, second.port, "two.example" } } },
      ["one.example"] = { A = { "127.0.0.1" } }, ["two.example"] = { A = { "127.0.0.1" } },
    } })
    finally(function() pipe:close() end)
    local names = assert(child.variables(pipe))
    local note = managed.notebook()
    local conn = keep(assert(xmpp.connect_client("alice@xmpp.test", "alicepw",
      { ca_file = first.ca, resource = "r", nameservers = names.ADDRESS, reconnect = AT_ONCE })))
    assert(conn:send({ "message", { id = "1" }, { "body", "1" } }, note.of "1"))
    goes_on(conn)
    assert.equal("written acked", note["1"])
    assert(conn:send({ "message", { id = "2" }, { "body", "2" } }, note.of "2"))
    turn_until(function() return note["2"] == "written acked" end, "2")
    assert.is_true(conn:stop(30))
    second:check()
  end)
end)
