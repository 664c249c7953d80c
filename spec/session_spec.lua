-- session: stream management (XEP-0198) with servers that do what a real one seldom does, or never should; what happens
-- to every stanza (receipts), and to sessions that are resumed or lost.
local fed = require "spec.support.fed"
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local turn_until, says, a, r, asks, message, late, bye = managed.turn_until, managed.says, managed.a, managed.r,
  managed.asks, managed.message, managed.late, managed.bye
local session, resume, resumed, told = managed.session, managed.resume, managed.resumed, managed.says_message

local AT_ONCE = { min = 0, max = 0 }
local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
local UNDEFINED = "<undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
local REFUSED = "C: <stream:error>" .. UNDEFINED
  .. "<handled-count-too-high xmlns='urn:xmpp:sm:3'/></stream:error></stream:stream>\n"

local certs, p, conn, note, errors

setup(function() certs = managed.certs() end)
teardown(function() managed.remove(certs) end)
before_each(function()
  note, errors = managed.notebook(), {}
  xmpp.on_error(function(text, object) errors[#errors + 1] = object or text end)
end)
after_each(function()
  xmpp.on_error(nil)
  if conn then conn:stop(0) end
  if p then p:stop() end
  conn, p = nil, nil
  assert.same({}, errors)
end)

local function play(...)
  p = peer.play(table.concat { ... }, { certs = certs, grace = 2, timeout = 15 })
  return p
end

-- Alice logs in; `opts` are more options.
local function login(opts, at)
  local o = { ca_file = p.ca, resource = "r" }
  for key, value in pairs(opts or {}) do o[key] = value end
  conn = assert(xmpp.connect_client("alice@xmpp.test", "alicepw", (at or p).host, (at or p).port, o))
  return conn, managed.states(conn)
end

local function send(body)
  assert(conn:send({ "message", { id = body }, { "body", body } }, note.of(body)))
end

-- Sends an iq with this id; its response isn't used.
local function ask(id)
  assert(conn:send({ "iq", { type = "get", id = id, to = "xmpp.test" }, PING }, note.of(id)))
end

local IQ = "C: <iq type='get' id='%s' to='xmpp.test'><ping xmlns='urn:xmpp:ping'/></iq>\n"
local RESULT = "S: <iq type='result' id='%s' from='xmpp.test' to='alice@xmpp.test/r'/>\n"

local function is_told(name, states)
  turn_until(function() return note[name] == states end,
    ("%s: %s, it is: %s"):format(name, states, tostring(note[name])))
end

local function stop()
  local ok, err = conn:stop(10)
  p:check()
  return ok, err
end

local function check_error(wanted, err)
  assert.is_table(err)
  for field, value in pairs(wanted) do assert.equal(value, err[field], tostring(err)) end
end

-- Waits for the peer's message with this text, after which the test goes on.
local function receive(text)
  assert.equal(text, xexpr.text(assert(conn:receive_blocking(30)), "body"))
end

describe("<enable/>", function()
  -- `said` is the rest of its start tag.
  local function check(said, opts)
    play(managed.login(), managed.binding, "C: <enable xmlns='urn:xmpp:sm:3'" .. said .. "/>\n", managed.enabled(),
      bye())
    login(opts)
    turn_until(function() return conn:info().stream_management end, "<enabled/>")
    assert.is_true(stop())
  end

  it("requests a resumable session only with resume or reconnect", function()
    check ""
    check("", { resume = false })
    check("", { resume = false, reconnect = true })
    check(" resume='true'", { resume = true })
    check(" resume='true'", { reconnect = true })
    check(" resume='true'", { reconnect = { min = 1 } })
  end)
end)

describe("<enabled/>", function()
  it("may come late: stanzas sent meanwhile count", function()
    play(managed.asked, message "one", managed.enabled(), r, a(1), message "two", r, a(2), bye())
    login()
    assert.is_false(conn:info().resumable)
    send "one"
    turn_until(function() return conn:info().stream_management end, "<enabled/>")
    assert.is_true(conn:info().resumable)
    is_told("one", "written acked")
    send "two"
    is_told("two", "written acked")
    assert.is_true(stop())
  end)

  it("may come after it was given up: only later stanzas count", function()
    play(managed.asked, message "one", told "now", message "two",
      managed.enabled(), r, a(2), told "asked", message "three", r, a(3), bye(1))
    login { ack_timeout = 0.1 }
    send "one"
    receive "now"
    assert.is_true(conn:flush(30)) -- stream management was given up
    send "two"
    receive "asked"
    assert.is_true(conn:info().stream_management)
    send "three"
    is_told("three", "written acked")
    assert.equal("written", note.one)
    assert.equal("written", note.two)
    assert.is_true(stop())
  end)

  it("that comes twice is accepted once", function()
    play(session "one", session "two":match "S: <enabled.*", message "one", r, a(1), "cut\naccept\n",
      resume(0, "one"), resumed(1, "one"), message "two", r, a(2), bye())
    login { reconnect = AT_ONCE }
    send "one"
    is_told("one", "written acked")
    turn_until(function() return conn:info().resumed == 1 end, "resumption")
    send "two"
    is_told("two", "written acked")
    assert.is_true(stop())
  end)

  it("may never come: stanzas are sent without it, and the session can't be resumed", function()
    play(managed.asked, message "one", told "enough", "cut\naccept\n", managed.login(),
      managed.binding, "C: <enable xmlns='urn:xmpp:sm:3' resume='true'/>\n", managed.enabled "two",
      late "one", message "two", r, a(2), bye())
    local _, states = login { reconnect = AT_ONCE, ack_timeout = 20 }
    send "one"
    receive "enough"
    is_told("one", "written")
    turn_until(function() return conn:info().rebound == 1 and conn:state() == "ready" end, "a new session")
    assert.equal(0, conn:info().resumed)
    assert.is_nil(table.concat(states, " "):find "resuming")
    send "two"
    is_told("two", "written acked")
    is_told("one", "written acked") -- it was sent again, since it wasn't known to have arrived
    assert.is_true(stop())
  end)

  it("is not waited for by flush forever", function()
    play(managed.asked, message "one", "C: </stream:stream>\nS: </stream:stream>\n")
    login { ack_timeout = 0.2 }
    send "one"
    assert.is_true(conn:flush(30))
    assert.equal("written", note.one)
    assert.is_true(stop())
  end)

  it("may be <failed/>: then there is no stream management, and no <r/> is sent", function()
    local all = {}
    for i = 1, 30 do all[i] = message("m" .. i) end
    play(managed.asked, "S: <failed xmlns='urn:xmpp:sm:3'>",
      "<unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>\n", table.concat(all),
      "C: </stream:stream>\nS: </stream:stream>\n")
    login()
    for i = 1, 30 do send("m" .. i) end
    assert.is_true(conn:flush(30))
    for i = 1, 30 do assert.equal("written", note["m" .. i]) end
    local info = conn:info()
    assert.is_false(info.stream_management)
    assert.is_false(info.resumable)
    assert.is_true(stop())
  end)
end)

describe("an h", function()
  -- After 3 messages, of which 2 were acknowledged, the server sends an h that is impossible.
  local function check_refused(h, more, opts)
    play(session(), message "1", message "2", message "3", r, a(2), "S: <a xmlns='urn:xmpp:sm:3'", h, "/>\n", REFUSED,
      more or "S: </stream:stream>\neof\n")
    local _, states = login(opts)
    xmpp.spawn(function() for i = 1, 3 do send(tostring(i)) end end)
    if not more then
      turn_until(function() return conn:state() == "closed" end, "the end")
      check_error({ layer = "stream", condition = "undefined-condition", retry = true }, states.why.closed)
      assert.equal("written acked", note["2"])
      assert.equal("written failed", note["3"])
      p:check()
    end
    p:stop()
    return states
  end

  for name, h in pairs { ["too high"] = " h='4'", ["much too high"] = " h='4294967295'", ["going back"] = " h='1'",
    ["that is missing"] = "", ["that is no number"] = " h='2x'", ["with a sign"] = " h='-1'",
    ["above 32 bits"] = " h='4294967298'", ["that is empty"] = " h=''" } do
    it(name .. " ends the stream with an error that says so", function() check_refused(h) end)
  end

  it("too high ends the session, too, which isn't resumed", function()
    play(session(), message "1", r, a(7), REFUSED, "accept\n", session "two", late "1", r, a(1), bye())
    local _, states = login { reconnect = AT_ONCE }
    local sessions = {}
    conn:on("session", function(...) sessions[#sessions + 1] = conn:state() .. select("#", ...) end)
    send "1"
    is_told("1", "written acked")
    assert.same({ "ready1" }, sessions)
    check_error({ layer = "stream", condition = "undefined-condition" }, states.why.waiting)
    assert.equal(0, conn:info().resumed)
    assert.equal(1, conn:info().rebound)
    assert.is_true(stop())
  end)

  it("too high in <resumed/> ends the session, too", function()
    play(session(), message "1", told "now", "cut\naccept\n", resume(1), resumed(2), REFUSED,
      "accept\n", session "two", late "1", r, a(1), bye())
    login { reconnect = AT_ONCE }
    send "1"
    is_told("1", "written acked")
    assert.is_true(stop())
  end)
end)

-- A server that answers but never raises h has lost what it got: it is sent once more, and then in another session.
describe("a session in which the server no longer counts", function()
  it("is given up, however often it answers", function()
    local nothing = message "1" .. a(0):gsub("^S:", "eof") .. "accept\n"
    play(session(), nothing, resume(0), resumed(0), r, a(0), nothing, session "two", late "1", r, a(1), bye())
    local _, states = login { reconnect = AT_ONCE, ack_timeout = 1 }
    send "1"
    is_told("1", "written acked")
    check_error({ layer = "timeout", condition = "timeout", retry = true }, states.why.waiting)
    assert.same({ 1, 1 }, { conn:info().resumed, conn:info().rebound })
    assert.is_true(stop())
  end)
end)

describe("counters near 2^32", function()
  it("wrap, both of them", function()
    play(resume("4294967295", "old"), resumed("4294967294", "old"), r, a("4294967294"), message "second", r,
      a("4294967295"), told "in", message "third", r, a(0), asks, says(0), told "more", asks, says(1), told "end",
      bye(2))
    local at = os.time() * 1000
    local saved = { version = 1, account = "alice@xmpp.test", jid = "alice@xmpp.test/r", id = "old", max = 600,
      h = 4294967295, acked = 4294967293, written = 2, pending = {}, queue = {}, host = p.host, port = p.port,
      stanzas = { { xml = "<message id='first'><body>first</body></message>", at = at },
        { xml = "<message id='second'><body>second</body></message>", at = at } } }
    conn = assert(xmpp.resume(saved, "alicepw", { ca_file = p.ca }))
    assert.equal(1, conn:info().resumed)
    assert.equal("alice@xmpp.test/r", tostring(conn:jid()))
    receive "in"
    send "third"
    receive "more"
    receive "end"
    is_told("third", "written acked")
    assert.is_true(stop())
  end)
end)

describe("<resumed/>", function()
  it("of another session is refused, and the session is given up", function()
    play(session(), message "1", told "now", "cut\n",
      ("accept\n" .. resume(1) .. resumed(1, "another") .. "C: <stream:error>" .. UNDEFINED
      .. "</stream:error></stream:stream>\n"):rep(2),
      "accept\n", session "two", late "1", r, a(1), bye())
    local _, states = login { reconnect = AT_ONCE }
    send "1"
    is_told("1", "written acked")
    check_error({ layer = "stream", condition = "undefined-condition" }, states.why.waiting)
    assert.equal(0, conn:info().resumed)
    assert.is_true(stop())
  end)

  it("keeps the connection, its address and pending requests", function()
    play(session(), IQ:format "q", "cut\naccept\n", resume(0), resumed(0), r, a(0), IQ:format "q",
      RESULT:format "q", r, a(1), bye(1))
    login { reconnect = AT_ONCE }
    local sessions = 0
    conn:on("session", function() sessions = sessions + 1 end)
    local response = assert(conn:send_await({ "iq", { type = "get", id = "q", to = "xmpp.test" }, PING }, 30))
    assert.equal("result", response[2].type)
    assert.same({ 1, 0 }, { conn:info().resumed, sessions })
    assert.equal("alice@xmpp.test/r", tostring(conn:jid()))
    assert.is_true(stop())
  end)

  it("says what had arrived: only the rest is sent again, in order, without a stamp", function()
    play(session(), message "1", message "2", message "3", r, "cut\naccept\n", resume(0), resumed(1), r, a(1),
      message "2", message "3", message "4", r, a(4), bye())
    login { reconnect = AT_ONCE }
    conn:on("state", function(state) if state == "waiting" then send "4" end end)
    xmpp.spawn(function() for i = 1, 3 do send(tostring(i)) end end)
    turn_until(function() return note["4"] == "written acked" end, "4")
    for i = 1, 4 do assert.equal("written acked", note[tostring(i)]) end
    assert.is_true(stop())
  end)
end)

describe("<failed/> instead of <resumed/>", function()
  local LOST = "S: <failed xmlns='urn:xmpp:sm:3'%s>"
    .. "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>\n"

  -- On the old link: two messages and an iq that the server has read; while it is down: a message and an iq.
  local function begin(opts)
    local o = { reconnect = AT_ONCE }
    for key, value in pairs(opts or {}) do o[key] = value end
    login(o)
    conn:on("state", function(state)
      if state == "waiting" and not note["3"] then
        send "3"
        ask "new"
      end
    end)
    xmpp.spawn(function()
      send "1"
      send "2"
      ask "old"
    end)
  end
  local GONE = session() .. message "1" .. message "2" .. IQ:format "old" .. told "now" .. "cut\naccept\n"
  local CUT = GONE .. resume(1)
  local NEW = managed.binding .. "C: <enable xmlns='urn:xmpp:sm:3' resume='true'/>\n" .. managed.enabled "two"

  it("with h: only the rest is sent again, including iqs", function()
    play(CUT, LOST:format " h='1'", NEW, late "2", IQ:format "old", late "3", IQ:format "new", r, a(4), bye())
    begin()
    turn_until(function() return note.new == "written acked" end, "the last one")
    for _, name in ipairs { "1", "2", "3", "old" } do assert.equal("written acked", note[name]) end
    local info = conn:info()
    assert.same({ 0, 1, 0 }, { info.resumed, info.rebound, info.failed_without_h })
    assert.is_true(stop())
  end)

  it("without h: messages are sent again, an iq that may have arrived fails", function()
    play(CUT, LOST:format "", NEW, late "1", late "2", late "3", IQ:format "new", r, a(4), bye())
    begin()
    turn_until(function() return note.new == "written acked" end, "the last one")
    for _, name in ipairs { "1", "2", "3" } do assert.equal("written acked", note[name]) end
    assert.equal("written failed", note.old)
    check_error({ layer = "closed", condition = "session-lost", retry = true }, note.why.old)
    assert.same({ "iq", { type = "get", id = "old", to = "xmpp.test" }, PING }, note.why.old.stanza)
    assert.same({ 0, 1, 1 }, { conn:info().resumed, conn:info().rebound, conn:info().failed_without_h })
    assert.is_true(stop())
  end)

  it("a stanza that has waited for longer than max_age fails", function()
    play(CUT, LOST:format "", "wait 0.05\n", NEW, told "later", bye(1))
    begin { max_age = 0 }
    for _, name in ipairs { "1", "2", "old" } do is_told(name, "written failed") end
    for _, name in ipairs { "3", "new" } do is_told(name, "failed") end
    for _, name in ipairs { "1", "2", "3", "old", "new" } do
      check_error({ layer = "timeout", condition = "max-age", retry = false }, note.why[name])
    end
    receive "now"
    receive "later"
    assert.is_true(stop())
  end)

  it("pending requests of the old session fail, those made meanwhile continue", function()
    play(CUT, LOST:format "", NEW, late "1", late "2",
      IQ:format "new", RESULT:format "new", r, a(3), bye(1))
    login { reconnect = AT_ONCE }
    local got = {}
    local function request(id)
      got[id] = {}
      assert(conn:send_callback({ "iq", { type = "get", id = id, to = "xmpp.test" }, PING },
        function(stanza, c, err) got[id] = { stanza = stanza, conn = c, err = err } end, 30))
    end
    conn:on("state", function(state) if state == "waiting" then request "new" end end)
    xmpp.spawn(function()
      send "1"
      send "2"
      request "old"
    end)
    turn_until(function() return got.new and got.new.stanza end, "a response")
    check_error({ layer = "closed", condition = "session-lost", retry = true }, got.old.err)
    assert.is_nil(got.old.stanza)
    assert.equal(conn, got.old.conn)
    assert.is_true(stop())
  end)

  it("with h: a pending request that certainly did not arrive continues, too", function()
    play(session(), IQ:format "old", told "now", "cut\naccept\n", resume(1),
      LOST:format " h='0'", NEW, IQ:format "old", RESULT:format "old", r, a(1), bye(1))
    login { reconnect = AT_ONCE }
    local response = assert(conn:send_await({ "iq", { type = "get", id = "old", to = "xmpp.test" }, PING }, 30))
    assert.equal("result", response[2].type)
    assert.is_true(stop())
  end)

  -- Two messages and an iq; the server no longer knows the session, and only that session was wanted.
  local function lose_the_only_one(how)
    play(CUT, how, "C: </stream:stream>\neof\n")
    local _, states = login { resume = true }
    xmpp.spawn(function()
      send "1"
      send "2"
      ask "old"
    end)
    turn_until(function() return states[#states] == "closed" end, "the end")
    check_error({ layer = "closed", condition = "session-lost", retry = false }, states.why.closed)
    p:check()
  end

  it("ends the connection if no other session is wanted, and binds none; what the server had is acked, the rest "
    .. "failed", function()
    lose_the_only_one(LOST:format " h='1'")
    assert.equal("written acked", note["1"])
    for _, name in ipairs { "2", "old" } do
      assert.equal("written failed", note[name])
      check_error({ layer = "closed", condition = "session-lost" }, note.why[name])
    end
    assert.same({ "message", { id = "2" }, { "body", {}, "2" } }, note.why["2"].stanza)
  end)

  for name, how in pairs {
    ["without h"] = LOST:format "",
    ["with all in its h"] = LOST:format " h='3'",
    ["with an h that can't be"] = LOST:format " h='4'",
  } do
    it("ends the connection if no other session is wanted: " .. name, function()
      lose_the_only_one(how)
      for _, id in ipairs { "1", "2", "old" } do
        assert.equal(name == "with all in its h" and "written acked" or "written failed", note[id])
      end
    end)
  end

  it("a session is lost, too, if the new stream has no stream management", function()
    local WITHOUT = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    play(session(), message "1", told "now", "cut\naccept\n", resume(1, nil, WITHOUT),
      "match <stream:error><undefined-condition.*\naccept\n", managed.login(WITHOUT), managed.binding, late "1",
      "C: </stream:stream>\nS: </stream:stream>\n")
    login { reconnect = AT_ONCE }
    send "1"
    turn_until(function() return conn:info().rebound == 1 end, "a new session")
    assert.is_true(conn:flush(30))
    assert.equal("written", note["1"])
    assert.is_true(stop())
  end)

  it("the same if no other session is wanted, and none is bound", function()
    local WITHOUT = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    play(session(), message "1", told "now", "cut\naccept\n", resume(1, nil, WITHOUT),
      "match <stream:error><undefined-condition.*\naccept\n", managed.login(WITHOUT), "C: </stream:stream>\neof\n")
    local _, states = login { resume = true }
    send "1"
    turn_until(function() return states[#states] == "closed" end, "the end")
    check_error({ layer = "closed", condition = "session-lost", retry = false }, states.why.closed)
    assert.equal("written failed", note["1"])
    p:check()
  end)

  it("on(\"failed\") reports stanzas without an `on` of their own, and on_error without a listener", function()
    for _, listens in ipairs { true, false } do
      play(session(), IQ:format "q", told "now", "cut\naccept\n", resume(1),
        LOST:format "", NEW, told "later", bye(1))
      login { reconnect = AT_ONCE }
      local heard = {}
      if listens then
        conn:on("failed", function(stanza, err) heard[#heard + 1] = { stanza, err } end)
      end
      local stanza = { "iq", { type = "get", id = "q", to = "xmpp.test" }, PING }
      assert(conn:send(stanza))
      receive "now"
      receive "later"
      if listens then
        assert.equal(1, #heard)
        assert.same(stanza, heard[1][1])
        check_error({ layer = "closed", condition = "session-lost" }, heard[1][2])
      else
        assert.equal(1, #errors)
        check_error({ layer = "closed", condition = "session-lost" }, errors[1])
        assert.same(stanza, errors[1].stanza)
        errors = {}
      end
      assert.is_true(stop())
    end
  end)
end)

describe("location=", function()
  -- A host is given, and normally only that host is used; see_other_host allows others.
  local ELSEWHERE = { reconnect = AT_ONCE, see_other_host = true }
  local other
  after_each(function() other:stop() end)

  -- The session is at p, its location at `other`.
  local function begin(first, second, opts)
    other = peer.play(second, { certs = certs, grace = 2, timeout = 15 })
    play(session("one", "location='127.0.0.1:" .. other.port .. "'"), message "1", r, a(1), first)
    local _, states = login(opts or ELSEWHERE)
    send "1"
    is_told("1", "written acked")
    return states
  end

  it("is where the session is resumed", function()
    begin("cut\n", resume(0) .. resumed(1) .. message "2" .. r .. a(2) .. bye())
    turn_until(function() return conn:info().resumed == 1 end, "resumption")
    send "2"
    is_told("2", "written acked")
    assert.is_true(stop())
    other:check()
  end)

  it("requires the domain's certificate there", function()
    local states = begin("cut\naccept\n" .. resume(0) .. resumed(1) .. bye(),
      (peer.starttls:gsub("tls\n", "tls cert=wrongname refused\n")))
    turn_until(function() return conn:info().resumed == 1 end, "resumption, where it was")
    check_error({ layer = "tls", condition = "certificate-name-mismatch" }, states.why.waiting)
    assert.is_true(stop())
    other:check()
  end)

  it("is ignored if a host was given and see_other_host was not", function()
    begin("cut\naccept\n" .. resume(0) .. resumed(1) .. bye(), "accept\n", { reconnect = AT_ONCE })
    turn_until(function() return conn:info().resumed == 1 end, "resumption")
    assert.is_true(stop())
    assert.same("", (other:finish():gsub("^#.-\n", "")))
  end)

  for _, location in ipairs { ("a"):rep(299), ("a"):rep(5000), ("a."):rep(130) .. "example", "127.0.0.1:0",
      "127.0.0.1:65536", "127.0.0.1:1x", "[::1", ":1", "no host" } do
    it("that is no host is ignored: " .. location:sub(1, 20), function()
      other = peer.play("accept\n", { certs = certs })
      play(session("one", "location='" .. location .. "'"), message "1", r, a(1), "cut\naccept\n", resume(0),
        resumed(1), bye())
      local _, states = login(ELSEWHERE)
      send "1"
      turn_until(function() return conn:info().resumed == 1 end, "resumption")
      check_error({ layer = "tcp", condition = "EOF" }, states.why.waiting)
      assert.is_true(stop())
    end)
  end

  it("that can't be reached: the session is resumed at the old host", function()
    other = peer.play("accept\n", { certs = certs })
    local port = other.port
    other:stop() -- nothing listens there any more
    play(session("one", "location='127.0.0.1:" .. port .. "'"), message "1", r, a(1), "cut\naccept\n", resume(0),
      resumed(1), bye())
    local _, states = login(ELSEWHERE)
    turn_until(function() return conn:info().resumable end, "a session")
    send "1"
    turn_until(function() return conn:info().resumed == 1 end, "resumption")
    check_error({ layer = "tcp", retry = true }, states.why.waiting)
    assert.is_true(stop())
  end)
end)

describe("<r/>", function()
  it("is answered at once, with the count until then", function()
    play(session(), asks, says(0), told "one", asks, says(1),
      "S: <presence/><iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>\n", says(3),
      told "end", bye(4))
    login()
    receive "one"
    assert.equal("presence", assert(conn:receive_blocking(30))[1])
    assert.equal("iq", assert(conn:receive_blocking(30))[1])
    receive "end"
    assert.is_true(stop())
  end)

  it("doesn't count nonzas, and nothing of another namespace", function()
    play(session(), "S: <x xmlns='urn:x'/><a xmlns='urn:xmpp:sm:3' h='0'/><message><body>one</body></message>\n", asks,
      says(1), told "end", bye(2))
    login()
    receive "one"
    receive "end"
    assert.is_true(stop())
  end)

  it("is not sent for each stanza", function()
    play(session(), "match (?:\\s*<message id='m\\d+'/>(?:<r xmlns='urn:xmpp:sm:3'/>)?){100}", "\n", a(100),
      "match (?:<r xmlns='urn:xmpp:sm:3'/>)*<a xmlns='urn:xmpp:sm:3' h='0'/></stream:stream>\n",
      "S: </stream:stream>\n")
    local out = {}
    login { log = function(direction, text) if direction == "out" then out[#out + 1] = text end end }
    local acked = 0
    for i = 1, 100 do
      assert(conn:send({ "message", { id = "m" .. i } },
        { on = function(state) acked = acked + (state == "acked" and 1 or 0) end }))
    end
    turn_until(function() return acked == 100 end, "acks")
    assert.is_true(stop())
    local _, asked = table.concat(out):gsub("<r ", "")
    assert.is_true(asked >= 10 and asked <= 21, asked .. " requests for 100 stanzas")
  end)

  it("comes after a while for a single stanza", function()
    play(session(), message "1", r, a(1), bye())
    login()
    send "1"
    is_told("1", "written acked")
    assert.is_true(stop())
  end)
end)

describe("the listener to a stanza", function()
  it("is released when there is no more to report", function()
    local f = fed.open { jid = "me@xmpp.test/here", sm = true }
    local listeners, heard = setmetatable({}, { __mode = "k" }), {}
    local function give(name)
      local function on(state) heard[#heard + 1] = name .. " " .. state end
      listeners[on] = name
      f.conn:send({ "presence" }, { on = on })
    end
    f:feed "<enabled xmlns='urn:xmpp:sm:3'/>"
    coroutine.wrap(function() give "first" give "second" end)() -- so that no stack refers to the functions after this
    f:sent()
    f:feed "<a xmlns='urn:xmpp:sm:3' h='1'/>"
    collectgarbage()
    collectgarbage()
    assert.same({ "first written", "second written", "first acked" }, heard)
    assert.equal("second", select(2, next(listeners)))
    assert.is_nil(next(listeners, (next(listeners))))
    f:feed "<a xmlns='urn:xmpp:sm:3' h='2'/></stream:stream>"
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(listeners))
  end)
end)

describe("the end", function()
  it("is sent after the last acknowledgement, which says what was handled", function()
    play(session(), "S: <message><body>1</body></message><message><body>2</body></message>\n", bye(2))
    login()
    receive "1"
    receive "2"
    assert.is_true(stop())
  end)

  it("comes when all has arrived", function()
    play(session(), told "now", message "1", r, "silence 0.2\n", a(1), bye(1))
    login()
    receive "now"
    send "1"
    assert.is_true(stop())
    assert.equal("written acked", note["1"])
  end)

  it("that comes before reports how many stanzas are not known to have arrived", function()
    play(session(), told "now", message "1", message "2", r, says(1), "C: </stream:stream>\n")
    login()
    receive "now"
    xmpp.spawn(function()
      send "1"
      send "2"
    end)
    turn_until(function() return note["2"] == "written" end, "2")
    local ok, err = conn:stop(0.3)
    assert.is_nil(ok)
    check_error({ layer = "closed" }, err)
    assert.matches("2 stanzas are not known to have arrived", err.text)
    for _, name in ipairs { "1", "2" } do
      assert.equal("written failed", note[name])
      check_error({ layer = "closed" }, note.why[name])
    end
    p:check()
  end)

  it("of a broken link fails what was on it, without reconnect", function()
    play(session(), message "1", "reset\n")
    login()
    send "1"
    is_told("1", "written failed")
    check_error({ layer = "closed", retry = true }, note.why["1"])
    local ok, err = conn:stop()
    assert.is_nil(ok)
    assert.matches("1 stanza is not known to have arrived", err.text)
  end)
end)

server.each(function(s)
  it("A program that is killed is offline at once, unless its session can be resumed", function()
    conn = assert(xmpp.connect_client("bob@" .. s.domain, s.users.bob, s.host, s.port, s.opts()))
    for option, left in pairs { ["resume = nil"] = "available unavailable", ["resume = true"] = "available" } do
      local name = left:gsub(" ", "-")
      local me, resource = tostring(conn:jid()), "alice@" .. s.domain .. "/" .. name
      local path = shell.file(([[
        local xmpp = require "xmpp"
        local conn = assert(xmpp.connect_client("alice@%s/%s", "%s", "%s", %d, { ca_file = "%s", %s }))
        assert(conn:send { "presence", { to = "%s" } })
        assert(conn:flush(30))
        assert(io.popen "kill -KILL $PPID"):close()]]):format(s.domain, name, s.users.alice,
        s.host, s.port, s.ca, option, me))
      local seen = {}
      conn:set_handler(function(stanza)
        if stanza[2].from == resource then seen[#seen + 1] = stanza[2].type or "available" end
      end)
      shell.run(shell.HERE .. (os.getenv "LUA" or "lua5.4") .. " " .. path)
      os.remove(path)
      if left:find " " then
        turn_until(function() return #seen == 2 end, "both presences")
      else
        xmpp.sleep(0.5)
      end
      assert.equal(left, table.concat(seen, " "))
    end
  end)

  describe("receipts", function()
    it("are written, then acked, with a client", function()
      conn = assert(xmpp.connect_client("bob@" .. s.domain, s.users.bob, s.host, s.port, s.opts()))
      for i = 1, 25 do
        assert(conn:send({ "message", { to = tostring(conn:jid()) }, { "body", tostring(i) } }, note.of("m" .. i)))
      end
      for i = 1, 25 do is_told("m" .. i, "written acked") end
      assert.same({ 0, 0 }, { conn:pending() })
    end)

    it("are written, and no more, with a component", function()
      conn = assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret))
      for i = 1, 25 do
        assert(conn:send({ "message", { to = "bob@" .. s.domain, from = s.component }, { "body", tostring(i) } },
          note.of("m" .. i)))
      end
      assert.is_true(conn:flush(30))
      for i = 1, 25 do is_told("m" .. i, "written") end
      assert.same({ 0, 0 }, { conn:pending() })
      assert.is_false(conn:info().stream_management)
      assert.is_true(conn:stop(10))
      for i = 1, 25 do assert.equal("written", note["m" .. i]) end
    end)

    it("are never written on a closed connection, whose send fails", function()
      conn = assert(xmpp.connect_client("bob@" .. s.domain, s.users.bob, s.host, s.port, s.opts()))
      assert(conn:stop(10))
      local ok, err = conn:send({ "presence" }, note.of "late")
      assert.is_nil(ok)
      check_error({ layer = "closed" }, err)
      assert.equal("", note.late)
    end)
  end)
end)
