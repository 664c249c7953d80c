-- blame: a server ends the stream because of one stanza of ours. That stanza fails, and isn't sent again; the others
-- aren't affected. What any server would refuse isn't sent.
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local turn_until = managed.turn_until
local SOON = { min = 0.02, max = 0.1 }

local opened

before_each(function() opened = {} end)
after_each(function() for _, conn in ipairs(opened) do conn:stop(2) end end)

local function keep(conn)
  opened[#opened + 1] = conn
  return conn
end

local function check_error(wanted, err)
  assert.is_table(err)
  for field, value in pairs(wanted) do assert.equal(value, err[field], tostring(err)) end
end

local function body(stanza) return xexpr.text(stanza, "body") end

server.each(function(s)
  local function login(name, opts)
    return keep(assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, s.opts(opts))))
  end

  local function component(opts)
    return keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret, opts)))
  end

  local function message(to, from, text)
    return { "message", { to = to and tostring(to), from = from, type = "chat" }, { "body", text } }
  end

  it("a client's stanza that is too long for the server fails, and the others arrive once", function()
    local bob, carol, note = login "bob", login("carol", { reconnect = SOON }), managed.notebook()
    turn_until(function() return carol:info().resumable end, "a session")
    local states = managed.states(carol)
    for i, text in ipairs { "before", ("x"):rep(600000), "after" } do
      assert(carol:send(message(bob:jid(), nil, text), note.of(i)))
      if i == 1 then assert(carol:flush(30)) end -- otherwise ejabberd, which doesn't acknowledge it, would get it twice
    end
    turn_until(function() return note[3] == "written acked" end, "the last one")
    assert.equal("written acked", note[1])
    assert.matches("failed$", note[2])
    assert.is_nil(note[2]:find "acked")
    check_error({ layer = "stream", condition = "policy-violation", retry = false }, note.why[2])
    assert.matches("for this stanza", note.why[2].text)
    assert.equal("message", note.why[2].stanza[1])
    check_error({ layer = "stream", condition = "policy-violation", retry = true }, states.why.waiting)
    assert.equal("before", body(assert(bob:receive_blocking(30))))
    assert.equal("after", body(assert(bob:receive_blocking(30))))
    assert(carol:ping(30))
    assert(bob:ping(30))
    assert.is_nil((bob:receive()))
    assert.equal("ready", carol:state())
    assert.equal(1, #(table.concat(states, " "):gsub("waiting", "\1"):gsub("[^\1]", "")))
  end)

  it("a client's stanza that is too long fails if the connection doesn't reconnect", function()
    local carol, note = login "carol", managed.notebook()
    assert(carol:send(message("bob@" .. s.domain, nil, ("x"):rep(600000)), note.of "long"))
    turn_until(function() return carol:state() == "closed" end, "the end")
    xmpp.step(0)
    assert.matches("failed$", note.long)
    check_error({ layer = "stream", condition = "policy-violation", retry = false }, note.why.long)
  end)

  it("a component's stanza from outside of its domain isn't sent", function()
    local bob, conn = login "bob", component()
    for _, from in ipairs { "alice@" .. s.domain, s.domain, "sub." .. s.component, "x@y/" .. s.component,
      s.component .. "@x", "not a jid@" .. s.component .. "x", "", "@", "/" } do
      local ok, err = conn:send(message(bob:jid(), from, "no"))
      assert.is_nil(ok)
      check_error({ layer = "stanza", condition = "invalid-from", retry = false }, err)
      assert.matches("foreign_from", err.text)
    end
    local id, err = conn:send_callback({ "iq", { type = "get", to = s.domain, from = s.domain },
      { "ping", { xmlns = "urn:xmpp:ping" } } }, function() end)
    assert.is_nil(id)
    check_error({ layer = "stanza", condition = "invalid-from" }, err)
    for _, from in ipairs { s.component, "somebody@" .. s.component, "somebody@" .. s.component .. "/x@y.example" } do
      assert(conn:send(message(bob:jid(), from, from)))
      assert.equal(from, body(assert(bob:receive_blocking(30))))
    end
    assert.equal("ready", conn:state())
  end)

  it("a component's stanza from outside of its domain, if it may be sent, fails, and the others arrive", function()
    local bob, note = login "bob", managed.notebook()
    local conn = component { foreign_from = true, reconnect = SOON }
    local states = managed.states(conn)
    assert(conn:send(message(bob:jid(), "alice@" .. s.domain, "foreign"), note.of "foreign"))
    turn_until(function() return states.why.waiting end, "the stream's end")
    check_error({ layer = "stream", condition = "invalid-from", retry = true }, states.why.waiting)
    assert.equal("written failed", note.foreign)
    check_error({ layer = "stream", condition = "invalid-from", retry = false }, note.why.foreign)
    turn_until(function() return conn:state() == "ready" end, "the next session")
    assert(conn:send(message(bob:jid(), s.component, "next"), note.of "next"))
    assert.equal("next", body(assert(bob:receive_blocking(30))))
    assert.equal("written", note.next)
    assert.equal(1, conn:info().rebound)
  end)

  it("a component's stanza without `to` fails where the server ends the stream for it", function()
    local bob, note = login "bob", managed.notebook()
    local conn = component { reconnect = SOON }
    local states = managed.states(conn)
    assert(conn:send(message(nil, s.component, "for whom?"), note.of "nobody"))
    assert(conn:flush(30))
    if s.name == "ejabberd" then
      turn_until(function() return states.why.waiting end, "the stream's end")
      check_error({ layer = "stream", condition = "improper-addressing", retry = true }, states.why.waiting)
      assert.equal("written failed", note.nobody)
      turn_until(function() return conn:state() == "ready" end, "the next session")
    end
    assert(conn:send(message(bob:jid(), s.component, "next"), note.of "next"))
    assert.equal("next", body(assert(bob:receive_blocking(30))))
    assert.equal("written", note.next)
    assert.equal("ready", conn:state())
  end)
end, { max_stanza = 262144 })

describe("an error that ends the stream after a stanza", function()
  local certs

  setup(function() certs = managed.certs() end)
  teardown(function() managed.remove(certs) end)

  -- A server that ends the stream with this condition after a message of `bytes` bytes.
  local function ends(condition, bytes, opts)
    local p = peer.play(managed.session() .. "match <message.*?</message>\n"
      .. ("S: <stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>\n")
      :format(condition), { certs = certs, timeout = 15 })
    local o = { ca_file = p.ca, resource = "r", reconnect = { min = 0, max = 0 } }
    for key, value in pairs(opts or {}) do o[key] = value end
    local conn = keep(assert(xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, o)))
    local note, states = managed.notebook(), managed.states(conn)
    assert(conn:send({ "message", { id = "1" }, { "body", ("x"):rep(bytes) } }, note.of "it"))
    turn_until(function() return conn:state() ~= "ready" end, "the end")
    xmpp.step(0)
    p:stop()
    return states, note
  end

  it("is final if no stanza was longer than what every server accepts (RFC 6120 13.12)", function()
    local states, note = ends("policy-violation", 5000)
    check_error({ condition = "policy-violation", retry = false }, states.why.closed)
    check_error({ layer = "closed", condition = "policy-violation" }, note.why.it)
  end)

  it("is the stanza's if one was", function()
    local states, note = ends("policy-violation", 15000)
    assert.is_nil(states.why.closed)
    check_error({ layer = "stream", condition = "policy-violation" }, note.why.it)
  end)

  it("is final when it is another condition", function()
    local states, note = ends("not-authorized", 15000)
    check_error({ condition = "not-authorized", retry = false }, states.why.closed)
    check_error({ layer = "closed", condition = "not-authorized" }, note.why.it)
  end)
end)
