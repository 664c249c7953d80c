-- drain with Prosody and ejabberd: answers are sent, what wasn't taken is counted, and with stream management the
-- server still has it.
local opened = require "spec.support.opened"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local turn_until, keep = opened.turn_until, opened.keep

local function body(stanza) return xexpr.text(stanza, "body") end

local function login(s, name)
  local conn = keep(assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, s.opts())))
  turn_until(function() return conn:info().stream_management end, "stream management")
  return conn
end

-- Waits until the server has processed all that it was sent.
local function settled(conn) assert(conn:ping(30)) end

local function say(conn, to, ...)
  for _, text in ipairs { ... } do assert(conn:send { "message", { to = to, type = "chat" }, { "body", text } }) end
  settled(conn)
end

-- A handler that answers each message when `go` is resolved; the list has the texts that it got.
local function answers(conn, go)
  local had = {}
  conn:set_handler(function(stanza)
    if stanza[1] ~= "message" or not body(stanza) then return end
    had[#had + 1] = body(stanza)
    go:wait()
    assert(conn:send(xexpr.reply(stanza, { "body", "re " .. body(stanza) })))
  end)
  return had
end

local function drains(conn, seconds)
  local got = {}
  xmpp.spawn(function()
    got[1], got[2] = conn:drain(seconds or 30)
    got.done = true
  end)
  xmpp.step(0)
  return got
end

server.each(function(s)
  after_each(opened.stop_all)

  -- What was not handled comes in the next session, and nothing else.
  it("leaves to the server what wasn't taken, and acknowledges the rest", function()
    local alice, bob, go = login(s, "alice"), login(s, "bob"), xmpp.promise()
    local had = answers(bob, go)
    assert(bob:send { "presence" })
    settled(bob)
    local address = tostring(bob:jid():bare())
    say(alice, address, "one", "two")
    turn_until(function() return #had == 2 end, "two messages")
    local got = drains(bob)
    say(alice, address, "three", "four")
    assert.same({ "one", "two" }, had)
    assert.equal("ready", bob:state())
    go:resolve()
    for _, text in ipairs { "re one", "re two" } do
      local stanza
      repeat stanza = assert(alice:receive_blocking(30)) until body(stanza)
      assert.equal(text, body(stanza))
    end
    turn_until(function() return got.done end, "the drain")
    assert.is_nil(got[2])
    local report = got[1]
    assert.is_true(report.unread_bytes > 2 * #"<message><body>three</body></message>")
    assert.is_true(report.unread >= 2) -- presences may count, too
    assert.same({ 2, 0, 0, false }, { report.handled, report.unfinished, report.unsent, report.late })
    local again, texts = login(s, "bob"), {}
    again:set_handler(function(stanza) texts[#texts + 1] = stanza[1] == "message" and body(stanza) or nil end)
    assert(again:send { "presence" })
    turn_until(function() return #texts == 2 end, "what was left")
    settled(again)
    assert.same({ "three", "four" }, texts)
  end)

  it("counts what a component leaves, however much it is", function()
    local alice, go, many = login(s, "alice"), xmpp.promise(), 100 -- ejabberd is slow
    local c = keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret)))
    local had = answers(c, go)
    say(alice, "x@" .. s.component, "one")
    turn_until(function() return #had == 1 end, "a message")
    local got, text = drains(c), ("text"):rep(100)
    for _ = 1, many do
      assert(alice:send { "message", { to = "x@" .. s.component, type = "chat" }, { "body", text } })
    end
    assert(alice:flush(60))
    settled(alice)
    go:resolve()
    turn_until(function() return got.done end, "the drain")
    assert.is_nil(got[2])
    assert.same({ 1, 0, 0, false }, { got[1].handled, got[1].unfinished, got[1].unsent, got[1].late })
    assert.equal(many, got[1].unread)
    assert.is_true(got[1].unread_bytes > many * #text)
    local stanza
    repeat stanza = assert(alice:receive_blocking(30)) until body(stanza)
    assert.equal("re one", body(stanza))
  end)

  it("reads on for what a component's handler awaits, and takes nothing else", function()
    local alice = login(s, "alice")
    local c = keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret)))
    local begin, answer, others = xmpp.promise(), nil, 0
    c:set_handler(function(stanza)
      if not body(stanza) then return end
      others = others + 1
      begin:wait()
      answer = assert(c:send_await({ "iq", { type = "get", to = tostring(alice:jid()), from = "x@" .. s.component },
        { "ping", { xmlns = "urn:xmpp:ping" } } }, 30))
    end)
    alice:set_handler() -- no handler: it is refused
    say(alice, "x@" .. s.component, "one")
    turn_until(function() return others == 1 end, "a message")
    local got = drains(c)
    say(alice, "x@" .. s.component, "two")
    begin:resolve()
    turn_until(function() return got.done end, "the drain")
    assert.equal("error", answer[2].type)
    assert.equal(1, others)
    assert.same({ 1, 1 }, { got[1].handled, got[1].unread })
  end)
end)
