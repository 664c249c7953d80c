-- seed: every function that the Racket library has, in Lua, each the same on Prosody and on ejabberd.
local opened = require "spec.support.opened"
local server = require "spec.support.server"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local keep, turn_until, refuses = opened.keep, opened.turn_until, stage.refuses

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }

local function login(s, name, extra)
  return keep(assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, s.opts(extra))))
end

local function component(s)
  return keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret)))
end

-- Waits until everything that the server had for `conn` before this call has been dispatched.
local function settle(s, conn)
  assert(xmpp.send_await(conn, { "iq", { type = "get", to = s.domain }, PING }, 30))
end

local function say(from, to, text)
  assert(from:send { "message", { to = tostring(to:jid()), type = "chat" }, { "body", text } })
end

local function body(stanza) return xexpr.text(stanza, "body") end

-- The texts of all messages in the receive queue.
local function queued(conn)
  local texts = {}
  for stanza in function() return (conn:receive()) end do texts[#texts + 1] = body(stanza) end
  return texts
end

server.each(function(s)
  after_each(opened.stop_all)

  describe("every function of a connection", function()
    it("is the same value in the module and in the connection", function()
      local conn = login(s, "alice")
      for _, name in ipairs { "stop", "send", "receive", "receive_blocking", "set_handler", "stop_handler", "handler",
        "set_callback", "set_callback_once", "unset_callback", "callbacks", "send_callback", "send_await", "drain",
        "probe" } do
        assert.is_function(conn[name], name)
        assert.equal(conn[name], xmpp[name], name)
      end
    end)

    it("except jid, which makes a Jid in the module", function()
      local conn = login(s, "alice")
      assert.is_function(conn.jid)
      assert.not_equal(conn.jid, xmpp.jid)
      assert.equal(conn:jid(), xmpp.jid(tostring(conn:jid())))
    end)
  end)

  describe("connect_client", function()
    it("accepts a JID as text, host and port, and binds a generated resource", function()
      local conn = login(s, "alice")
      assert.is_true(xmpp.is_connection(conn))
      assert.matches("^alice@xmpp%.test/lua%-[%w_-]+$", tostring(conn:jid()))
    end)

    it("makes another resource each time", function()
      assert.not_equal(login(s, "alice"):jid(), login(s, "alice"):jid())
    end)

    it("accepts a Jid, and host and port among the options", function()
      local jid = assert(xmpp.jid("alice@xmpp.test/desk"))
      local conn = assert(xmpp.connect_client(jid, s.users.alice, s.opts { host = s.host, port = s.port }))
      keep(conn)
      assert.equal("alice@xmpp.test/desk", tostring(conn:jid()))
    end)

    it("accepts a host, and the port among the options", function()
      local conn = assert(xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.opts { port = s.port }))
      keep(conn)
      assert.is_true(xmpp.is_connection(conn))
    end)

    it("returns nil and an error when the server refuses", function()
      local conn, err = xmpp.connect_client("alice@xmpp.test", "wrong", s.host, s.port, s.opts())
      assert.is_nil(conn)
      assert.equal("sasl", err.layer)
      assert.equal("not-authorized", err.condition)
      assert.is_false(err.retry)
      assert.matches("^sasl: not%-authorized: ", tostring(err))
    end)
  end)

  describe("connect_component", function()
    it("stands for a whole domain", function()
      local conn, alice = component(s), login(s, "alice")
      assert.equal(s.component, tostring(conn:jid()))
      assert(alice:send { "message", { to = "anybody@" .. s.component }, { "body", "Is anybody there?" } })
      local stanza = assert(conn:receive_blocking(30))
      assert.equal("anybody@" .. s.component, stanza[2].to)
      assert.equal(tostring(alice:jid()), stanza[2].from)
      assert(conn:send { "message", { from = stanza[2].to, to = stanza[2].from }, { "body", "I am." } })
      assert.equal("I am.", body(assert(alice:receive_blocking(30))))
    end)

    it("adds the sender if the stanza has none", function()
      local conn, alice = component(s), login(s, "alice")
      assert(conn:send { "message", { to = tostring(alice:jid()) }, { "body", "It is me." } })
      assert.equal(s.component, assert(alice:receive_blocking(30))[2].from)
    end)
  end)

  describe("stop", function()
    it("ends the stream in order, and may be called again", function()
      local conn = login(s, "alice")
      assert.is_true(xmpp.stop(conn))
      assert.is_true(conn:stop())
      assert.is_true(conn:stop(0))
    end)

    it("lets earlier stanzas arrive", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      say(alice, bob, "my last words")
      assert.is_true(alice:stop())
      assert.equal("my last words", body(assert(bob:receive_blocking(30))))
    end)

    it("makes every later use of the connection return an error", function()
      local conn = login(s, "alice")
      conn:stop()
      for _, name in ipairs { "send", "send_await" } do
        local ok, err = conn[name](conn, { "iq", { type = "get", to = s.domain }, PING })
        assert.is_nil(ok)
        assert.equal("closed", err.layer)
      end
      local id, refusal = conn:send_callback({ "iq", { type = "get" }, PING }, function() end)
      assert.is_nil(id)
      assert.equal("closed", refusal.layer)
      assert.equal("closed", select(2, conn:receive()).layer)
      assert.equal("closed", select(2, conn:receive_blocking()).layer)
    end)
  end)

  describe("send", function()
    it("returns true, and the stanza arrives unchanged", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local sent = { "iq", { type = "result", id = "x&'\"<1>", to = tostring(bob:jid()) },
        { "note", { xmlns = "urn:example:note", n = 1 }, "one & ", "two", { "b" }, "\ttab <and>\nline" } }
      assert.is_true(xmpp.send(alice, sent))
      assert.same({ "iq", { type = "result", id = "x&'\"<1>", to = tostring(bob:jid()), from = tostring(alice:jid()) },
        { "note", { xmlns = "urn:example:note", n = "1" }, "one & two", { "b", {} }, "\ttab <and>\nline" } },
        (function(stanza)
          stanza[2]["xml:lang"] = nil -- a server may add it
          return stanza
        end)(assert(bob:receive_blocking(30))))
    end)

    it("doesn't change the caller's table", function()
      local conn = login(s, "alice")
      local stanza = { "presence" }
      assert.is_true(conn:send(stanza))
      assert.same({ "presence" }, stanza)
    end)

    it("refuses a table that isn't a stanza, and writes nothing of it", function()
      local conn = login(s, "alice")
      refuses("stanza expected, got string", function() conn:send("<presence/>") end)
      refuses("stanza expected, got nil", function() xmpp.send(conn, nil) end)
      refuses("stanza[3][2].to: string expected, got boolean",
        function() conn:send { "message", {}, { "x", { to = false } } } end)
      refuses("message", function() conn:send { "starttls", {} } end)
      settle(s, conn)
    end)
  end)

  describe("receive", function()
    it("returns the stanzas in order, and nil alone when there is none", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      assert.equal(1, select("#", bob:receive()))
      assert.is_nil(xmpp.receive(bob))
      say(alice, bob, "one")
      say(alice, bob, "two")
      settle(s, alice)
      settle(s, bob)
      assert.same({ "one", "two" }, queued(bob))
      assert.equal(1, select("#", bob:receive()))
    end)

    it("returns what had arrived before the end, then an error", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      say(alice, bob, "before the end")
      settle(s, alice)
      settle(s, bob)
      bob:stop()
      assert.equal("before the end", body(bob:receive()))
      local stanza, err = bob:receive()
      assert.is_nil(stanza)
      assert.equal("closed", err.layer)
    end)
  end)

  describe("receive_blocking", function()
    it("waits for the next stanza", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      xmpp.after(0.05, function() say(alice, bob, "here it is") end)
      assert.equal("here it is", body(assert(xmpp.receive_blocking(bob))))
    end)

    it("takes from the queue first", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      say(alice, bob, "one")
      say(alice, bob, "two")
      settle(s, alice)
      settle(s, bob)
      assert.equal("one", body(bob:receive_blocking(0)))
      assert.equal("two", body(bob:receive_blocking()))
    end)

    it("gives up after the timeout, and the connection continues", function()
      local conn = login(s, "alice")
      local stanza, err = conn:receive_blocking(0.05)
      assert.is_nil(stanza)
      assert.equal("timeout", err.layer)
      settle(s, conn)
    end)

    it("ends when the connection does", function()
      local conn = login(s, "alice")
      xmpp.after(0.05, function() conn:stop() end)
      local stanza, err = conn:receive_blocking()
      assert.is_nil(stanza)
      assert.equal("closed", err.layer)
    end)
  end)

  describe("set_handler", function()
    it("passes every stanza to the handler, with the connection, and none to the queue", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      assert.equal(0, select("#", bob:set_handler(function(stanza, conn, ...)
        seen[#seen + 1] = { body(stanza), conn == bob, select("#", ...) }
        return false, "ignored"
      end)))
      say(alice, bob, "one")
      say(alice, bob, "two")
      turn_until(function() return #seen == 2 end, "two messages")
      assert.same({ { "one", true, 0 }, { "two", true, 0 } }, seen)
      assert.is_nil(bob:receive())
    end)

    it("first passes it what was queued before, in order", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      say(alice, bob, "one")
      say(alice, bob, "two")
      settle(s, alice)
      settle(s, bob)
      xmpp.set_handler(bob, function(stanza) seen[#seen + 1] = body(stanza) end)
      say(alice, bob, "three")
      turn_until(function() return #seen == 3 end, "three messages")
      assert.same({ "one", "two", "three" }, seen)
    end)

    it("keeps one handler: the last", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      bob:set_handler(function() seen[#seen + 1] = "first" end)
      bob:set_handler(function() seen[#seen + 1] = "second" end)
      say(alice, bob, "whose?")
      turn_until(function() return #seen > 0 end, "a message")
      assert.same({ "second" }, seen)
    end)

    it("without one installs the default handler, which calls every callback in order", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      bob:set_callback(function(stanza, conn) seen[#seen + 1] = { "first", body(stanza), conn == bob } end)
      bob:set_callback(function(stanza, conn) seen[#seen + 1] = { "second", body(stanza), conn == bob } end)
      bob:set_handler()
      say(alice, bob, "Hi")
      turn_until(function() return #seen == 2 end, "two callbacks")
      assert.same({ { "first", "Hi", true }, { "second", "Hi", true } }, seen)
      assert.is_nil(bob:receive())
    end)

    it("refuses a value that isn't a function", function()
      local conn = login(s, "alice")
      refuses("function expected, got string", function() conn:set_handler("print") end)
      assert.is_nil(conn:handler())
    end)
  end)

  describe("default_handler", function()
    it("can be called by the program's own handler", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      bob:set_callback(function(stanza) seen[#seen + 1] = "callback: " .. body(stanza) end)
      bob:set_handler(function(stanza, conn)
        seen[#seen + 1] = "handler: " .. body(stanza)
        xmpp.default_handler(stanza, conn)
      end)
      say(alice, bob, "Hi")
      turn_until(function() return #seen == 2 end, "both")
      assert.same({ "handler: Hi", "callback: Hi" }, seen)
    end)
  end)

  describe("stop_handler, handler", function()
    it("remove the handler and return it", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = 0
      local function own() seen = seen + 1 end
      assert.is_nil(bob:handler())
      bob:set_handler(own)
      assert.equal(own, xmpp.handler(bob))
      bob:set_handler()
      assert.equal(xmpp.default_handler, bob:handler())
      xmpp.stop_handler(bob)
      assert.is_nil(bob:handler())
      say(alice, bob, "to the queue")
      assert.equal("to the queue", body(assert(bob:receive_blocking(30))))
      assert.equal(0, seen)
    end)
  end)

  describe("set_callback", function()
    it("installs the default handler if none was chosen", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen
      bob:set_callback(function(stanza) seen = body(stanza) end)
      assert.equal(xmpp.default_handler, bob:handler())
      say(alice, bob, "Hi")
      turn_until(function() return seen end, "the message")
      assert.equal("Hi", seen)
    end)

    it("doesn't call the callback after stop_handler", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local called = false
      bob:stop_handler()
      bob:set_callback(function() called = true end)
      say(alice, bob, "Hi")
      assert.equal("Hi", body(assert(bob:receive_blocking(30))))
      assert.is_false(called)
    end)

    it("keeps a callback whatever it returns", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      xmpp.set_callback(bob, function(stanza)
        seen[#seen + 1] = body(stanza)
        return true
      end)
      bob:set_handler()
      say(alice, bob, "one")
      say(alice, bob, "two")
      turn_until(function() return #seen == 2 end, "both messages")
      assert.same({ "one", "two" }, seen)
    end)

    it("accepts a filter by name, type, sender, id and the first child's namespace", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen, all = {}, 0
      local from = tostring(alice:jid())
      for what, filter in pairs {
        name = { name = "message" }, type = { type = "result" }, from = { from = from }, id = { id = "i1" },
        xmlns = { xmlns = "urn:example:x" }, none = { name = "iq", id = "i2" },
        all = { name = "iq", type = "result", from = alice:jid(), id = "i1", xmlns = "urn:example:x" },
      } do
        bob:set_callback(function() seen[what] = (seen[what] or 0) + 1 end, filter)
      end
      bob:set_callback(function() all = all + 1 end)
      bob:set_handler()
      say(alice, bob, "Hi")
      assert(alice:send { "iq", { type = "result", id = "i1", to = tostring(bob:jid()) },
        { "x", { xmlns = "urn:example:x" } } })
      turn_until(function() return all == 2 end, "both stanzas")
      assert.same({ name = 1, type = 1, from = 2, id = 1, xmlns = 1, all = 1 }, seen)
    end)

    it("continues with the others when one throws, and reports to on_error", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen, told = {}, nil
      xmpp.on_error(function(text) told = text end)
      finally(function() xmpp.on_error(nil) end)
      bob:set_callback(function() error("thrown on purpose") end)
      bob:set_callback(function(stanza) seen[#seen + 1] = body(stanza) end)
      bob:set_handler()
      say(alice, bob, "one")
      say(alice, bob, "two")
      turn_until(function() return #seen == 2 end, "both messages")
      assert.matches("thrown on purpose", told)
      assert.matches("seed_spec.lua:%d+", told)
    end)
  end)

  describe("set_callback_once", function()
    it("removes the callback when it returns exactly true", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local answers, seen, all = { false, 1, "true", true }, {}, 0
      xmpp.set_callback_once(bob, function(stanza)
        seen[#seen + 1] = body(stanza)
        return answers[#seen]
      end)
      bob:set_callback(function() all = all + 1 end)
      bob:set_handler()
      for i = 1, 6 do say(alice, bob, tostring(i)) end
      turn_until(function() return all == 6 end, "six messages")
      assert.same({ "1", "2", "3", "4" }, seen)
      assert.equal(1, #bob:callbacks())
    end)
  end)

  describe("unset_callback, callbacks", function()
    it("remove one, and list them in order of installation", function()
      local conn = login(s, "alice")
      local function a() end
      local function b() end
      local function c() end
      assert.same({}, conn:callbacks())
      conn:set_callback(a)
      conn:set_callback_once(b)
      conn:set_callback(c)
      assert.same({ a, b, c }, xmpp.callbacks(conn))
      assert.is_true(xmpp.unset_callback(conn, b))
      assert.is_false(conn:unset_callback(b))
      assert.same({ a, c }, conn:callbacks())
      conn:set_callback(b)
      assert.same({ a, c, b }, conn:callbacks())
    end)

    it("return a copy of the list", function()
      local conn = login(s, "alice")
      local function a() end
      conn:set_callback(a)
      conn:callbacks()[1] = nil
      assert.same({ a }, conn:callbacks())
    end)

    it("don't call one that is removed before its turn", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      local function second() seen[#seen + 1] = "second" end
      bob:set_callback(function(_, conn) conn:unset_callback(second) end)
      bob:set_callback(second)
      bob:set_callback(function() seen[#seen + 1] = "third" end)
      bob:set_handler()
      say(alice, bob, "Hi")
      turn_until(function() return #seen > 0 end, "the third callback")
      assert.same({ "third" }, seen)
    end)
  end)

  describe("send_callback", function()
    it("returns the id and calls back once, with the response and the connection", function()
      local conn = login(s, "alice")
      local calls, stanza = {}, { "iq", { type = "get", to = s.domain }, PING }
      local id = assert(xmpp.send_callback(conn, stanza, function(...) calls[#calls + 1] = { ... } end))
      assert.is_string(id)
      assert.same({ "iq", { type = "get", to = s.domain }, PING }, stanza)
      turn_until(function() return #calls == 1 end, "the response")
      settle(s, conn)
      assert.equal(1, #calls)
      assert.equal("iq", calls[1][1][1])
      assert.equal(id, calls[1][1][2].id)
      assert.equal("result", calls[1][1][2].type)
      assert.equal(conn, calls[1][2])
      assert.is_nil(calls[1][3])
    end)

    it("keeps the stanza's own id, and refuses one that is pending already", function()
      local conn = login(s, "alice")
      local calls = 0
      local function count() calls = calls + 1 end
      assert.equal("own", conn:send_callback({ "iq", { type = "get", id = "own", to = s.domain }, PING }, count))
      local again = { "iq", { type = "get", id = "own", to = s.domain }, PING }
      refuses("waits already", function() conn:send_callback(again, count) end)
      turn_until(function() return calls == 1 end, "the response")
    end)

    it("calls back with nil, the connection and an error after the timeout", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local got
      alice:send_callback({ "iq", { type = "get", to = tostring(bob:jid()) }, PING },
        function(...) got = { ... } end, 0.05)
      turn_until(function() return got end, "the timeout")
      assert.is_nil(got[1])
      assert.equal(alice, got[2])
      assert.equal("timeout", got[3].layer)
    end)

    it("calls back with nil and an error at the connection's end", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local got
      alice:send_callback({ "iq", { type = "get", to = tostring(bob:jid()) }, PING },
        function(...) got = { ... } end)
      alice:stop()
      turn_until(function() return got end, "the end")
      assert.is_nil(got[1])
      assert.equal("closed", got[3].layer)
    end)
  end)

  describe("send_await", function()
    it("returns the response", function()
      local conn = login(s, "alice")
      local response = assert(conn:send_await { "iq", { type = "get", to = s.domain }, PING })
      assert.equal("iq", response[1])
      assert.equal("result", response[2].type)
      assert.equal(s.domain, response[2].from)
    end)

    it("returns what the callback returns, which gets response and connection", function()
      local conn = login(s, "alice")
      local a, b, c = xmpp.send_await(conn, { "iq", { type = "get", to = s.domain }, PING }, function(response, which)
        return response[2].type, which == conn, nil
      end)
      assert.equal("result", a)
      assert.is_true(b)
      assert.is_nil(c)
    end)

    it("returns an error response as a response", function()
      local conn = login(s, "alice")
      local nobody = "nobody@" .. s.domain .. "/nowhere"
      local response = assert(conn:send_await { "iq", { type = "get", to = nobody }, PING })
      assert.equal("error", response[2].type)
      assert.is_true(xexpr.is_error(response))
      assert.truthy(xexpr.child(response, "error"))
    end)

    it("gives up after the timeout, which may replace the callback argument", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local function forbidden() error("must not be called") end
      local question = { "iq", { type = "get", to = tostring(bob:jid()) }, PING }
      for _, arguments in ipairs { { 0.05 }, { nil, 0.05 }, { forbidden, 0.05 } } do
        local response, err = alice:send_await(question, arguments[1], arguments[2])
        assert.is_nil(response)
        assert.equal("timeout", err.layer)
        assert.is_true(err.retry)
      end
    end)

    it("uses await_timeout as its default timeout", function()
      local alice, bob = login(s, "alice", { await_timeout = 0.05 }), login(s, "bob")
      local response, err = alice:send_await { "iq", { type = "get", to = tostring(bob:jid()) }, PING }
      assert.is_nil(response)
      assert.equal("timeout", err.layer)
    end)

    it("waits in a callback without delaying the others", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      bob:set_callback(function(stanza, conn)
        local text = body(stanza)
        if not text then return end
        if text == "one" then assert(conn:send_await { "iq", { type = "get", to = s.domain }, PING }) end
        seen[#seen + 1] = text
      end)
      bob:set_handler()
      say(alice, bob, "one")
      say(alice, bob, "two")
      turn_until(function() return #seen == 2 end, "both messages")
      table.sort(seen)
      assert.same({ "one", "two" }, seen)
    end)

    it("passes the response to the callbacks, too, but not to the queue", function()
      local conn = login(s, "alice")
      assert(conn:send_await { "iq", { type = "get", to = s.domain }, PING })
      assert.is_nil(conn:receive())
      local seen = 0
      conn:set_callback(function() seen = seen + 1 end, { name = "iq", type = "result" })
      conn:set_handler()
      assert(conn:send_await { "iq", { type = "get", to = s.domain }, PING })
      turn_until(function() return seen == 1 end, "the callback")
    end)

    it("gets an answer from another client's callback", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      bob:set_callback(function(stanza, conn)
        conn:send(xexpr.reply(stanza, { "sum", { xmlns = "urn:example:sum" }, 5 }))
      end, { name = "iq", type = "get", xmlns = "urn:example:sum" })
      bob:set_handler()
      local response = assert(alice:send_await { "iq", { type = "get", to = tostring(bob:jid()) },
        { "sum", { xmlns = "urn:example:sum" }, "2+3" } })
      assert.equal("5", xexpr.text(response, "sum", "urn:example:sum"))
    end)

    it("gets service-unavailable for an iq that the peer's callbacks leave unanswered", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      bob:set_handler()
      local response = assert(alice:send_await({ "iq", { type = "get", to = tostring(bob:jid()) },
        { "riddle", { xmlns = "urn:example:riddle" } } }, 30))
      assert.equal("error", response[2].type)
      assert.truthy(xexpr.child(xexpr.child(response, "error"), "service-unavailable"))
    end)
  end)

  describe("is_connection, jid", function()
    it("recognize a connection, and return the bound JID", function()
      local conn = login(s, "alice", { resource = "Büro 2/Fenster" })
      assert.is_true(xmpp.is_connection(conn))
      for _, other in ipairs { 1, "conn", {}, io.stdout, assert(xmpp.jid("a@b")), false } do
        assert.is_false(xmpp.is_connection(other))
      end
      local jid = conn:jid()
      assert.is_true(xmpp.is_jid(jid))
      assert.equal("alice", jid.localpart)
      assert.equal("xmpp.test", jid.domainpart)
      assert.equal("Büro 2/Fenster", jid.resourcepart)
      conn:stop()
      assert.is_true(xmpp.is_connection(conn))
      assert.equal(jid, conn:jid())
    end)
  end)
end)

describe("contract", function()
  local contract = xmpp.contract

  it("recognizes a stanza", function()
    assert.is_true(contract.stanza { "presence" })
    assert.is_true(contract.stanza { "message", { to = "a@b" }, { "body", "Hi", 5, 1.5 } })
    for text, v in pairs {
      ["got string"] = "<presence/>", ["got number"] = 5,
      ["stanza[1]: string expected, got nil"] = {}, ["message"] = { "features", {} },
      ["stanza[2].to: string expected, got boolean"] = { "message", { to = false } },
      ["stanza[3][2].n: string expected, got table"] = { "message", {}, { "x", { n = {} } } },
      ["stanza[3][4][1]: not an XML name"] = { "message", {}, { "x", {}, "a", { "a b" } } },
    } do
      local ok, reason = contract.stanza(v)
      assert.is_false(ok, text)
      assert.truthy(reason:find(text, 1, true), ("expected %q in %q"):format(text, reason))
    end
    assert.is_false((contract.stanza(nil)))
  end)

  it("recognizes a handler, a callback and a once-callback", function()
    for _, name in ipairs { "handler", "callback", "callback_once" } do
      assert.is_true(contract[name](print))
      assert.same({ false, "function expected, got table" }, { contract[name]({}) })
      assert.same({ false, "function expected, got nil" }, { contract[name]() })
    end
  end)
end)

describe("jid", function()
  it("splits and prepares an address", function()
    local j = assert(xmpp.jid("Alice@Example.NET/Desk"))
    assert.equal("alice@example.net/Desk", tostring(j))
    assert.same({ "alice", "example.net", "Desk" }, { j.localpart, j.domainpart, j.resourcepart })
    local domain = assert(xmpp.jid("example.net"))
    assert.is_nil(domain.localpart)
    assert.is_nil(domain.resourcepart)
  end)

  it("can be compared, and its resourcepart dropped and set", function()
    local j = assert(xmpp.jid("alice@example.net/desk"))
    assert.equal("alice@example.net", tostring(j:bare()))
    assert.equal(xmpp.jid("ALICE@example.net"), j:bare())
    assert.not_equal(j, j:bare())
    assert.equal(j, j:bare():with_resource("desk"))
    assert.equal(j, xmpp.jid(j))
  end)

  it("is distinguished from anything else", function()
    assert.is_true(xmpp.is_jid(xmpp.jid("a@b")))
    for _, other in ipairs { "a@b", 1, {}, print, io.stdout, false } do assert.is_false(xmpp.is_jid(other)) end
  end)

  it("returns nil and an error for an invalid one, and raises for another type", function()
    for _, s in ipairs { "", "@example.net", "a@", "a@b/", "a b@example.net", ("x"):rep(1024) .. "@b" } do
      local j, err = xmpp.jid(s)
      assert.is_nil(j, s)
      assert.equal("jid-malformed", err.condition, s)
      assert.is_false(err.retry)
    end
    assert.is_nil((assert(xmpp.jid("a@b")):with_resource("")))
    -- Whatever the address, the error is a printable line.
    for _, s in ipairs { "a\255@b", "\192\128@b", "\237\160\128@b", "\244\144\128\128@b", "a\r\n\27[2Jb@c",
      ("x"):rep(99) .. "äöü@b c" } do
      local _, err = xmpp.jid(s)
      assert.is_nil(tostring(err):find "[%c\192\237\244\255]", s)
      assert.matches("is not a JID: the %a+part %a+ .", err.text)
    end
    refuses("got number", function() xmpp.jid(5) end)
    refuses("got nil", function() xmpp.jid(nil) end)
  end)
end)

describe("id, C2S_PORT", function()
  it("make ids of at least 128 bits, URL-safe and never the same", function()
    local seen = {}
    for _ = 1, 1000 do
      local id = xmpp.id()
      assert.matches("^[%w_-]+$", id)
      assert.is_true(#id * 6 >= 128)
      assert.is_nil(seen[id])
      seen[id] = true
    end
    assert.equal(5222, xmpp.C2S_PORT)
  end)
end)
