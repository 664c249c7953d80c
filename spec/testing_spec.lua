-- xmpp.testing: a bot's tests without a network. What holds in a test, and that every kind of failure is noticed.
local core = require "xmpp.core"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local function message(from, text)
  return { "message", { from = from, type = "chat" }, { "body", {}, text } }
end

local function query(xmlns, to) return { "iq", { type = "get", to = to }, { "query", { xmlns = xmlns } } } end

-- A bot that greets everybody who writes to it.
local function bot(conn)
  conn:set_handler()
  conn:set_callback(function(stanza)
    conn:send(xexpr.reply(stanza, { "body", {}, "hello, " .. stanza[2].from:match "^[^@]*" }))
  end, { name = "message" })
end

-- f raises an error at the line where f begins, with each of these texts.
local function fails(f, ...)
  local ok, err = pcall(f)
  local info = debug.getinfo(f, "S")
  assert.is_false(ok)
  assert.is_string(err)
  local place = ("%s:%d: "):format(info.short_src, info.linedefined)
  assert.equal(place, err:sub(1, #place))
  for _, text in ipairs { ... } do
    assert.is_truthy(err:find(text, 1, true), ("expected %q in %s"):format(text, err))
  end
end

-- A test as the subject of a test: f(t), which is then finished or given up.
local function within(f, o)
  local t = testing.new(o)
  local ok, err = pcall(f, t)
  t.strict = false
  t:take_errors()
  t:finish()
  if not ok then error(err, 0) end
end

describe("a test without a network:", function()
  after_each(function()
    assert.is_nil(core.clock()) -- each has restored the clock
    assert.is_false(core.is_busy())
  end)

  it("is not loaded with the library", function()
    local out = io.popen(("LUA_PATH='%s' LUA_CPATH='%s' ${LUA:-lua5.4} -e '%s'"):format(package.path, package.cpath,
      [[require "xmpp"; for n in pairs(package.loaded) do if n:find "testing" then print(n) end end]]))
    assert.equal("", out:read "*a")
    out:close()
  end)

  it("loads forge on first use", testing.around(function(t)
    package.loaded["xmpp.testing.forge"] = nil
    local all = testing.new()
    assert.is_nil(package.loaded["xmpp.testing.forge"])
    assert.is_function(all.forge.carbon)
    assert.is_table(package.loaded["xmpp.testing.forge"] and all.forge)
    assert.equal(all.forge, all.forge)
    assert.are_not.equal(all.forge, t.forge)
    all:finish()
  end))

  it("forges stanzas that look like honest ones", testing.around(function(t)
    local got, iqs = {}, {}
    t.conn:set_handler(function(stanza)
      if stanza[1] == "iq" then iqs[#iqs + 1] = stanza else got[#got + 1] = stanza end
    end)
    local me, eve, f = "bot@example.net/test", "eve@evil.example/x", t.forge
    local function last(...) return xexpr.find(got[#got], ...) end
    local inner = message("anna@example.net/pc", "hi")
    f.carbon("bot@example.net", inner)
    assert.same(inner, (xexpr.unwrap_carbon(got[1], me)))
    f.carbon("bot@example.net", inner, "sent")
    assert.equal("sent", xexpr.is_carbon(got[2], me))
    f.carbon(eve, inner)
    assert.same({ eve, me }, { got[3][2].from, got[3][2].to })
    assert.is_nil(xexpr.is_carbon(got[3], me))
    f.mam(nil, inner, { queryid = "q", id = "a" })
    assert.is_nil(got[4][2].from)
    assert.same({ "q", "a" }, { last { "result", "urn:xmpp:mam:2" }[2].queryid, last "result"[2].id })
    assert.equal("hi", xexpr.text(last("result", { "forwarded", "urn:xmpp:forward:0" },
      { "message", "jabber:client" }), "body", "jabber:client"))
    assert.is_truthy(last("result", "forwarded", { "delay", "urn:xmpp:delay" }))
    for name, x in pairs { receipt = { "received", "urn:xmpp:receipts" },
      displayed = { "displayed", "urn:xmpp:chat-markers:0" }, retraction = { "retract", "urn:xmpp:message-retract:1" },
      correction = { "replace", "urn:xmpp:message-correct:0" }, reaction = { "reactions", "urn:xmpp:reactions:0" } } do
      f[name](eve, "m1", name == "correction" and "text" or name == "reaction" and { "+1" } or nil)
      assert.same({ "m1", eve, "chat" }, { last(x)[2].id, got[#got][2].from, got[#got][2].type })
    end
    f.private("room@muc.example.net/eve", "psst")
    assert.is_truthy(last { "x", "http://jabber.org/protocol/muc#user" })
    f.invitation("room@muc.example.net", { by = eve, reason = "come", password = "cauldronburn" })
    local x = last { "x", "http://jabber.org/protocol/muc#user" }
    assert.same({ eve, "come", "cauldronburn" }, { xexpr.child(x, "invite")[2].from,
      xexpr.text(xexpr.child(x, "invite"), "reason"), xexpr.text(x, "password") })
    f.invitation(eve, { room = "room@muc.example.net" })
    assert.equal("room@muc.example.net", last { "x", "jabber:x:conference" }[2].jid)
    f.caps(eve, { ver = "v" })
    assert.same({ "presence", "v" }, { got[#got][1], last { "c", "http://jabber.org/protocol/caps" }[2].ver })
    f.bookmark("bot@example.net", "room@muc.example.net", { nick = "bot" })
    local item = last({ "event", "http://jabber.org/protocol/pubsub#event" }, "items", "item")
    assert.equal("room@muc.example.net", item[2].id)
    assert.equal("true", xexpr.child(item, "conference", "urn:xmpp:bookmarks:1")[2].autojoin)
    f.push(nil, { jid = "eve@evil.example", subscription = "both", "Friends" })
    x = xexpr.find(iqs[1], { "query", "jabber:iq:roster" }, "item")
    assert.same({ "eve@evil.example", "both", "Friends" }, { x[2].jid, x[2].subscription, xexpr.text(x, "group") })
    local ids = {}
    for _, stanza in ipairs(got) do ids[stanza[2].id or ""] = true end
    assert.is_true(ids["forged-1"] and ids["forged-2"])
    t:sent()
  end))

  it("has a ready connection, which receives and sends", testing.around(function(t)
    assert.equal("ready", t.conn:state())
    assert.equal("bot@example.net/test", tostring(t.conn:jid()))
    assert.is_true(t.conn:info().stream_management and t.conn:info().resumable)
    bot(t.conn)
    t:receive(message("anna@example.net/pc", "hi"))
    local got = t:expect { "message", { to = "anna@example.net/pc" }, { "body", {}, "hello, anna" } }
    assert.equal("hello, anna", xexpr.text(got, "body"))
    t:receive "<message from='bert@x.y'><body>1</body></message><message from='cleo@x.y'><body>2</body></message>"
    t:expect { "message", { to = "bert@x.y" } }
    t:expect { "message", { to = "cleo@x.y" } }
    t:nothing()
  end))

  it("returns what was sent, in order, and removes it", testing.around(function(t)
    t.conn:send { "presence" }
    t.conn:send(message(nil, "x"))
    assert.equal("presence", t:next()[1])
    local sent = t:sent()
    assert.equal(2, #sent)
    assert.equal("message", sent[2][1])
    assert.same({}, t:sent())
  end))

  it("answers an expected iq: an element, a function, an empty result, nothing, an error", testing.around(function(t)
    local answers = {}
    local function ask(name)
      xmpp.spawn(function() answers[name] = { t.conn:send_await(query("urn:" .. name, "svc.example.net"), 60) } end)
    end
    ask "element"
    t:expect({ "iq", { to = "svc.example.net" } }, { "query", { xmlns = "urn:element" }, "yes" })
    assert.equal("yes", xexpr.text(answers.element[1], "query", "urn:element"))
    assert.equal("svc.example.net", answers.element[1][2].from)
    ask "function"
    t:expect({ "iq" }, function(got) return { "query", { xmlns = got[3][2].xmlns } }, { "more" } end)
    assert.equal("more", answers["function"][1][4][1])
    ask "empty"
    t:expect { "iq" }
    assert.equal("result", answers.empty[1][2].type)
    assert.is_nil(answers.empty[1][3])
    ask "error"
    t:expect({ "iq" }, function() return nil, "auth", "forbidden", "not you" end)
    assert.equal("error", answers.error[1][2].type)
    assert.equal("forbidden", answers.error[1][3][3][1])
    assert.equal("auth", answers.error[1][3][2].type)
    ask "silence"
    t:expect({ "iq" }, false)
    assert.is_nil(answers.silence)
    t:advance(61)
    assert.equal("timeout", answers.silence[2].layer)
  end))

  it("answers a stanza with stanzas, whose addresses are filled in", testing.around(function(t)
    bot(t.conn)
    t.conn:send(xexpr.reply(message("anna@example.net/pc", ""), { "body", {}, "who are you?" }))
    t:expect({ "message" }, { { "message", { type = "chat" }, { "body", {}, "anna" } }, { "presence" } })
    t:expect { "message", { to = "anna@example.net/pc" }, { "body", {}, "hello, anna" } }
  end))

  it("has standing answers; the last one comes first, until it is removed", testing.around(function(t)
    t:on({ "iq", {}, { "query", { xmlns = "urn:a" } } }, function() return { "query", { xmlns = "urn:a", n = 1 } } end)
    local off = t:on({ "iq", { type = "get" } }, function(stanza)
      if stanza[2].to == "no" then return nil, "cancel", "item-not-found" end
      return { "query", { xmlns = "urn:a", n = 2 } }
    end)
    assert.equal("2", (t.conn:send_await(query "urn:a"))[3][2].n)
    assert.equal("item-not-found", (t.conn:send_await(query("urn:a", "no")))[3][3][1])
    off()
    assert.equal("1", (t.conn:send_await(query "urn:a"))[3][2].n)
  end))

  it("answers as a server does: roster, disco, ping, carbons", testing.around(function(t)
    assert.equal("jabber:iq:roster", (t.conn:send_await(query "jabber:iq:roster"))[3][2].xmlns)
    local info = t.conn:send_await(query("http://jabber.org/protocol/disco#info", "example.net"))
    assert.equal("server", xexpr.child(info[3], "identity")[2].category)
    info = t.conn:send_await(query("http://jabber.org/protocol/disco#info", "bot@example.net"))
    assert.equal("account", xexpr.child(info[3], "identity")[2].category)
    assert.equal(0, #t.conn:send_await(query("http://jabber.org/protocol/disco#items", "example.net"))[3] - 2)
    assert.is_number(t.conn:ping())
    local enable = { "iq", { type = "set" }, { "enable", { xmlns = "urn:xmpp:carbons:2" } } }
    assert.equal("result", (t.conn:send_await(enable))[2].type)
  end))

  it("leaves that to the test with answers = false", testing.around(function(t)
    xmpp.spawn(function() t.conn:send_await(query "jabber:iq:roster") end)
    t:expect({ "iq", { type = "get" }, { "query", { xmlns = "jabber:iq:roster" } } })
  end, { answers = false }))

  it("refuses unanswered iqs with strict = false", testing.around(function(t)
    local response
    xmpp.spawn(function() response = t.conn:send_await(query("urn:x", "anybody")) end)
    t:advance(1)
    assert.equal("service-unavailable", response[3][3][1])
    t.conn:send { "presence" } -- it needn't be expected
    assert.equal("service-unavailable", (t.conn:send_await(query("urn:x", "anybody")))[3][3][1])
  end, { strict = false }))

  it("is a component's server, too", testing.around(function(t)
    t.conn:set_handler()
    assert.equal("echo.example.net", tostring(t.conn:jid()))
    local function echo(stanza) t.conn:send(xexpr.reply(stanza, { "body", {}, "!" })) end
    t.conn:set_callback(echo, { name = "message" })
    t:receive { "message", { from = "anna@example.net", to = "x@echo.example.net" }, { "body", {}, "?" } }
    t:expect { "message", { from = "x@echo.example.net", to = "anna@example.net" } }
    assert.is_number(t.conn:ping())
  end, { component = "echo.example.net" }))

  it("two at once share a clock, and each sees its own stanzas", function()
    local a, b = testing.new { jid = "a@example.net/1" }, testing.new { jid = "b@example.net/2" }
    a.conn:send(message(nil, "a"))
    b.conn:send { "presence" }
    b:expect { "presence" }
    a:expect { "message" }
    a:advance(5)
    assert.equal(a:now(), b:now())
    a:finish()
    b:finish()
  end)
end)

describe("time in a test:", function()
  it("passes by advance, in order and at once", testing.around(function(t)
    local began, seen = os.time(), {}
    assert.equal(1700000000, t:now())
    xmpp.after(3600, function() seen[#seen + 1] = "hour" end)
    xmpp.spawn(function()
      xmpp.sleep(60)
      seen[#seen + 1] = "minute " .. t:now()
    end)
    local every = xmpp.every(1200, function() seen[#seen + 1] = "every" end)
    t:advance(59)
    assert.same({}, seen)
    t:advance(3541)
    every:cancel()
    assert.same({ "minute 1700000060", "every", "every", "hour", "every" }, seen)
    assert.equal(1700003600, t:now())
    assert.is_true(os.time() - began < 20)
  end, { now = 1700000000 }))

  it("is that of timers, for a day of pings", testing.around(function(t)
    local pings = 0
    t:on({ "iq", { type = "get" }, { "ping", { xmlns = "urn:xmpp:ping" } } }, function() pings = pings + 1 end)
    local every = xmpp.every(300, function() assert(t.conn:ping()) end)
    t:advance(86400)
    every:cancel()
    assert.equal(288, pings)
    assert.equal("ready", t.conn:state())
  end))

  it("passes for waits on the main thread, and for run", testing.around(function(t)
    xmpp.sleep(10)
    assert.equal(1700000010, t:now())
    local response, err = t.conn:send_await(query("urn:slow", "slow"), 30)
    assert.is_nil(response)
    assert.equal("timeout", err.layer)
    assert.equal(1700000040, t:now())
    t:expect({ "iq" }, false)
    xmpp.after(7, xmpp.quit)
    assert.is_true(xmpp.run())
    assert.equal(1700000047, t:now())
  end))

  it("stamps what is sent late", testing.around(function(t)
    t:cut()
    t.conn:send(message(nil, "late"))
    t:advance(30)
    t:reconnect { new = true }
    local got = t:expect { "message" }
    assert.is_truthy(xexpr.child(got, "delay", "urn:xmpp:delay")[2].stamp:find "^2023%-11%-14T22:13:2")
  end, { opts = { reconnect = { min = 60, max = 60 } } }))

  it("makes ids reproducible by the seed", function()
    local function ids(seed)
      local t = testing.new { seed = seed }
      local id, n = xmpp.id(), math.random(1e6)
      t:finish()
      return id .. " " .. n
    end
    assert.equal(ids(5), ids(5))
    assert.not_equal(ids(5), ids(6))
  end)
end)

describe("a play:", function()
  it("is a conversation whose variables are bound and compared", testing.around(function(t)
    t.conn:set_handler()
    local version
    xmpp.spawn(function()
      version = t.conn:send_await(query("jabber:iq:version", "anna@example.net/pc"))
      xmpp.sleep(5)
      t.conn:send { "message", { to = "anna@example.net/pc", id = "m1" }, { "body", {}, "you have 1.2" } }
      t.conn:send { "message", { to = "anna@example.net/pc", id = "m1" }, { "body", {}, "really 1.2" } }
      t.conn:send { "message", { to = "anna@example.net/pc", id = "m1" }, { "body", {}, "1.2-and-more" } }
    end)
    local names = t:play {
      "C: <iq type='get' id='${id}' to='${who}/pc'><query xmlns='jabber:iq:version'/></iq>",
      "S: <iq type='result' id='${id}' from='${who}/pc'><query xmlns='jabber:iq:version'/></iq>",
      function() assert.is_table(version) end,
      { wait = 5 },
      "C: <message id='${m}'><body>you have ${v}</body></message>",
      "C: <message id='${m}'><body>really ${v}</body></message>",
      "C: <message id='${m}'><body>${v}-${rest}</body></message>",
    }
    assert.equal("anna@example.net", names.who)
    assert.equal("m1", names.m)
    assert.equal("1.2", names.v)
    assert.equal("and-more", names.rest) -- a variable that has a value matches only that
  end))

  it("fails if a variable differs or is unknown, or a line is malformed", function()
    within(function(t)
      t.conn:send { "message", { id = "1", to = "x" } }
      t.conn:send { "message", { id = "2", to = "x" } }
      fails(function() t:play { "C: <message id='${a}'/>", "C: <message id='${a}'/>" } end,
        "message: id='1' expected, got '2'")
      fails(function() t:play { "S: <message id='${b}'/>" } end, "nothing that was sent so far has a value for ${b}")
      fails(function() t:play { "X: <message/>" } end, "line 1 of the play begins with neither 'C: ' nor 'S: '")
      fails(function() t:play { "C: <message>" } end, "line 1 of the play isn't XML: ")
    end)
  end)
end)

describe("a link in a test:", function()
  local function states_of(t)
    local states = {}
    t.conn:on("state", function(state) states[#states + 1] = state end)
    return states
  end

  it("is cut and resumed; what was sent meanwhile arrives on either side, once", testing.around(function(t)
    local states = states_of(t)
    bot(t.conn)
    t.conn:send(message(nil, "before"))
    t:cut()
    assert.equal("waiting", t.conn:state())
    t.conn:send(message(nil, "meanwhile"))
    t:receive(message("anna@x.y", "are you there?"))
    assert.equal(1, #t:sent())
    t:resume()
    assert.same({ "waiting", "authenticating", "resuming", "ready" }, states)
    assert.equal(1, t.conn:info().resumed)
    t:expect { "message", {}, { "body", {}, "meanwhile" } }
    t:expect { "message", {}, { "body", {}, "hello, anna" } }
    t:nothing()
    t:advance(1)
    assert.equal(0, (t.conn:pending()))
  end))

  it("is noticed to be cut even if nobody receives; nothing is delivered twice", testing.around(function(t)
    for i = 1, 20 do t:receive(message("anna@x.y", i .. ("x"):rep(200))) end
    t:cut()
    assert.equal("waiting", t.conn:state())
    assert.is_truthy(t:take_errors()[1]:find("max_queue", 1, true))
    t:resume()
    local last
    for stanza in function() return t.conn:receive() end do last = stanza end
    assert.equal("20", xexpr.text(last, "body"):match "^%d+")
    t:receive(message("anna@x.y", "21"))
    t:reconnect()
    assert.equal("21", xexpr.text(t.conn:receive(), "body"))
    assert.is_nil(t.conn:receive())
  end, { opts = { max_queue = 2048, reconnect = true } }))

  it("comes back with a new session if the server has forgotten the old one", testing.around(function(t)
    local states = states_of(t)
    t:reconnect { new = true }
    assert.same({ "waiting", "authenticating", "resuming", "binding", "ready" }, states)
    assert.equal(1, t.conn:info().rebound)
    t:reconnect()
    assert.equal(1, t.conn:info().resumed)
    t:cut(false)
    t:reconnect()
    assert.equal(2, t.conn:info().rebound)
  end))

  it("fails again and again while nobody answers, with the longest pauses", testing.around(function(t)
    local waits = 0
    t.conn:on("state", function(state) waits = waits + (state == "waiting" and 1 or 0) end)
    t:cut()
    t:advance(16)
    assert.equal("waiting", t.conn:state())
    assert.equal(5, waits) -- at 0, 1, 3, 7, 15 seconds
    t:resume()
    assert.equal(1700000031, t:now())
  end))

  it("has the features that the test chooses, at each login", testing.around(function(t)
    local BIND, SM, VER = "urn:ietf:params:xml:ns:xmpp-bind", "urn:xmpp:sm:3", "urn:xmpp:features:rosterver"
    assert.same({ [BIND] = true, [SM] = true, [VER] = true }, t.conn:info().offers)
    t.server.o.features = {}
    t:reconnect()
    assert.equal(1, t.conn:info().resumed)
    assert.same({ [BIND] = true, [SM] = true }, t.conn:info().offers)
    t:close "conflict"
    assert.same({ [BIND] = true, [SM] = true }, t.conn:info().offers)
  end, { opts = { resume = true }, features = { { "ver", { xmlns = "urn:xmpp:features:rosterver" } } } }))

  it("without stream management gets a new session", testing.around(function(t)
    assert.is_false(t.conn:info().stream_management)
    t:reconnect()
    assert.equal(1, t.conn:info().rebound)
    assert.equal(0, t.conn:info().resumed)
  end, { sm = false }))

  it("acknowledges when the test calls ack", testing.around(function(t)
    t.conn:send(message(nil, "1"))
    t.conn:send(message(nil, "2"))
    assert.equal(2, #t:sent())
    t:advance(1)
    assert.equal(2, select(2, t.conn:pending()))
    t:ack(1)
    assert.equal(1, select(2, t.conn:pending()))
    t:ack()
    assert.equal(0, select(2, t.conn:pending()))
  end, { acks = false }))

  it("is dead when the server answers nothing for too long", testing.around(function(t)
    t.conn:send(message(nil, "1"))
    t:sent()
    t:advance(19)
    assert.equal("ready", t.conn:state())
    t:advance(2)
    assert.not_equal("ready", t.conn:state())
    t:advance(2)
    assert.equal("ready", t.conn:state())
    assert.equal(1, t.conn:info().resumed)
  end, { acks = false }))

  it("is ended by the server, with a reason or without", testing.around(function(t)
    local why
    t.conn:on("state", function(state, err) if state == "waiting" then why = err end end)
    t:close "system-shutdown"
    assert.equal("system-shutdown", why.condition)
    t:advance(1)
    assert.equal("ready", t.conn:state())
    t:close()
    assert.equal("closed-by-server", why.condition)
    t:advance(2)
    assert.equal("ready", t.conn:state())
  end))

  it("ends a connection without reconnect", testing.around(function(t)
    t:cut()
    assert.equal("closed", t.conn:state())
  end, { opts = { reconnect = false } }))
end)

describe("a program that connects by itself:", function()
  it("has the test as its server", testing.around(function(t)
    assert.is_nil(t.conn)
    local conn = assert(xmpp.connect_client("bot@example.net/home", function() return "secret" end, "no.such.host",
      { resume = true, tls = "direct", mechanisms = { "SCRAM-SHA-256" } }))
    assert.equal(conn, t.conn)
    assert.equal("bot@example.net/home", tostring(conn:jid()))
    conn:send { "presence" }
    t:expect { "presence" }
    assert(conn:stop())
    assert.equal("closed", conn:state())
    assert(xmpp.connect_client("bot@example.net", "secret")) -- a second time, to the same server
    assert.not_equal(conn, t.conn)
  end, { intercept = true }))

  it("may use Bind 2, a token or a certificate", testing.around(function(t)
    local token = { version = 1, jid = "bot@example.net", user_agent = "5c3b2a10-7f6e-4d5c-8b3a-29180706f5e4",
      mechanism = "HT-SHA-256-EXPR", token = "secret" }
    for _, opts in ipairs { { token = token }, { token = token, bind2 = "tag" }, { cert = "/x", key = "/x" } } do
      local conn
      xmpp.spawn(function() conn = assert(xmpp.connect_client("bot@example.net", nil, opts)) end)
      t:advance(1)
      assert.equal("ready", conn:state())
      assert.equal(conn:jid(), t.jid)
      assert.matches(opts.bind2 and "^bot@example%.net/tag~" or "^bot@example%.net/lua%-", tostring(conn:jid()))
      assert.is_nil(conn:token())
      xmpp.spawn(function() conn:stop() end)
      t:advance(6)
    end
    local result
    xmpp.spawn(function() result = { xmpp.logout(token) } end)
    t:advance(6)
    assert.same({ true }, result)
  end, { jid = "bot@example.net", intercept = true }))

  it("may do so in a coroutine, anonymously, or as a component", function()
    local t, conn = testing.new { jid = "example.net", intercept = true }, nil
    xmpp.spawn(function() conn = xmpp.connect_client("example.net", nil, { mechanisms = { "ANONYMOUS" } }) end)
    t:advance(0)
    assert.equal("ready", conn:state())
    t:finish()
    t = testing.new { component = "echo.example.net", intercept = true }
    assert(xmpp.connect_component("10.0.0.1", 5347, "echo.example.net", "secret"))
    assert.equal("ready", t.conn:state())
    t:finish()
  end)

  it("can be refused", testing.around(function(t)
    t:refuse "not-authorized"
    local conn, err = xmpp.connect_client("bot@example.net", "wrong")
    assert.is_nil(conn)
    assert.equal("sasl", err.layer)
    assert.equal("not-authorized", err.condition)
    t:refuse()
    assert(xmpp.connect_client("bot@example.net", "right"))
  end, { intercept = true }))

  it("has no network for other accounts", function()
    within(function()
      fails(function() xmpp.connect_client("other@example.net/x", "secret") end,
        'no network in tests: no testing.new { jid = "other@example.net/x", intercept = true } answers for it')
      fails(function() xmpp.connect_component("localhost", 5347, "c.example.net", "secret") end,
        'no testing.new { component = "c.example.net", intercept = true }')
    end)
  end)
end)

local MUC, USER = "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user"
local TEA = "tea@rooms.example.net"

-- What comes from now on, in words: "anna 110 201", "anna: hello", "-anna 307", ...
local function listener(t)
  local seen = {}
  t.conn:set_handler(function(stanza)
    if stanza[1] == "iq" then return end
    local nick = stanza[2].from:match "^[^/]*/(.*)$" or "(room)"
    local x, words = xexpr.child(stanza, "x", USER), {}
    for status in xexpr.children(x, "status") do words[#words + 1] = " " .. status[2].code end
    if stanza[1] == "message" then
      local subject, text = xexpr.text(stanza, "subject"), xexpr.text(stanza, "body")
      words[#words + 1] = subject and " = " .. subject or text and ": " .. text or nil
      if xexpr.child(stanza, "delay") then words[#words + 1] = " (old)" end
    end
    if stanza[2].type == "error" then words[#words + 1] = " " .. xexpr.error(stanza).condition end
    seen[#seen + 1] = (stanza[2].type == "unavailable" and "-" or "") .. nick .. table.concat(words)
  end)
  return function()
    t:advance(0)
    local out = seen
    seen = {}
    return out
  end, seen
end

local function enter(t, nick, x, room)
  t.conn:send { "presence", { to = (room or TEA) .. "/" .. (nick or "kettle") }, x or { "x", { xmlns = MUC } } }
end

local function ask(t, to, payload, kind)
  local stanza = t.conn:send_await { "iq", { type = kind or "get", to = to }, payload }
  return stanza[3] or true, stanza[2].type == "error" and xexpr.error(stanza).condition or nil
end

describe("a room in a test:", function()
  it("sends in order: the others, oneself, history, subject", testing.around(function(t)
    local room, heard = t:room(TEA, { occupants = { "bert", "anna" }, subject = "Tea",
      history = { "hi", { nick = "anna", text = "ho" } } }), listener(t)
    enter(t)
    assert.same({ "anna", "bert", "kettle 110", "somebody: hi (old)", "anna: ho (old)", "(room) = Tea" }, heard())
    assert.equal(tostring(t.conn:jid()), room.occupants.kettle.jid)
    assert.equal("participant", room.occupants.kettle.role)
    room:joins "cleo"
    local _, stanza_id = room:says("cleo", "hello")
    assert.equal(stanza_id, room.history[3].stanza_id)
    room:leaves "bert"
    room:renames("anna", "Anna")
    room:sets_subject("Anna", "Coffee")
    room:tells(104)
    assert.same({ "cleo", "cleo: hello", "-bert", "-anna 303", "Anna", "Anna = Coffee", "(room) 104" }, heard())
    t.conn:send { "presence", { to = TEA .. "/kettle", type = "unavailable" } }
    assert.same({ "-kettle 110" }, heard())
    room:says("cleo", "are you there?")
    assert.same({}, heard())
  end))

  it("sends as much history as requested", testing.around(function(t)
    t:room(TEA, { history = { "1", "2", "3" } }) -- one minute apart
    local heard = listener(t)
    local function wanted(history)
      enter(t, "kettle", { "x", { xmlns = MUC }, { "history", history } })
      t.conn:send { "presence", { to = TEA .. "/kettle", type = "unavailable" } }
      local texts = table.concat(heard(), " ")
      return (texts:gsub("[^%d]*([%d])%d*[^%d]*", "%1"):gsub("1$", ""):gsub("^1", ""))
    end
    assert.equal("", wanted { maxstanzas = "0" })
    assert.equal("", wanted { maxchars = "0" })
    assert.equal("23", wanted { maxstanzas = "2" })
    assert.equal("3", wanted { seconds = "90" })
    assert.equal("23", wanted { since = "2023-11-14T22:11:20Z" })
  end))

  it("reflects messages, with its own marks only", testing.around(function(t)
    local got
    local room = t:room(TEA)
    t.conn:set_handler(function(stanza) got = stanza end)
    enter(t)
    local forged = { "stanza-id", { xmlns = "urn:xmpp:sid:0", by = TEA, id = "forged" } }
    t.conn:send { "message", { to = TEA, type = "groupchat", id = "m1" }, { "body", {}, "tea?" }, forged,
      { "occupant-id", { xmlns = "urn:xmpp:occupant-id:0", id = "forged" } } }
    t:expect { "message", { to = TEA }, { "body", {}, "tea?" } }
    assert.equal(TEA .. "/kettle", got[2].from)
    assert.equal("m1", got[2].id)
    assert.equal(room.history[1].stanza_id, xexpr.child(got, "stanza-id", "urn:xmpp:sid:0")[2].id)
    assert.equal(room.occupants.kettle.id, xexpr.child(got, "occupant-id", "urn:xmpp:occupant-id:0")[2].id)
    assert.equal(3, #{ xexpr.child(got, "body"), xexpr.child(got, "stanza-id"), xexpr.child(got, "occupant-id") })
    assert.equal(5, #got)
  end))

  it("leaves marks alone if it doesn't announce them", testing.around(function(t)
    local got
    t:room(TEA, { stanza_ids = false, occupant_ids = false })
    t.conn:set_handler(function(stanza) got = stanza end)
    enter(t)
    local forged = { "stanza-id", { xmlns = "urn:xmpp:sid:0", by = TEA, id = "forged" } }
    t.conn:send { "message", { to = TEA, type = "groupchat" }, { "body", {}, "tea?" }, forged }
    t:expect { "message" }
    assert.equal("forged", xexpr.child(got, "stanza-id", "urn:xmpp:sid:0")[2].id)
    assert.equal(4, #got)
  end))

  it("refuses: a nick that is taken, no password, a banned account, one too many, no nick", testing.around(function(t)
    local heard = listener(t)
    local room = t:room(TEA, { occupants = { "kettle" }, config = { max = 2 } })
    local function refused(nick)
      enter(t, nick)
      return heard()[1]
    end
    assert.equal("kettle conflict", refused())
    assert.equal("(room) jid-malformed", (function()
      t.conn:send { "presence", { to = TEA }, { "x", { xmlns = MUC } } }
      return heard()[1]
    end)())
    room.config.password = "secret"
    assert.equal("pot not-authorized", refused "pot")
    enter(t, "pot", { "x", { xmlns = MUC }, { "password", {}, "secret" } })
    assert.same({ "kettle", "pot 110", "(room) = " }, heard())
    enter(t, "kettle")
    assert.same({ "kettle conflict" }, heard())
    enter(t, "jug")
    assert.same({ "-pot 303 110", "jug 110" }, heard())
    room:kicks("jug", 333)
    assert.same({ "-jug 333 110" }, heard())
    room.config.password = nil
    room:joins "pot"
    assert.equal("jug service-unavailable", refused "jug")
    room.config.members_only = true
    assert.equal("jug registration-required", refused "jug")
    room:bans "bot@example.net"
    assert.equal("jug forbidden", refused "jug")
  end))

  it("is created by the first occupant, locked until it is configured", testing.around(function(t)
    local heard, room = listener(t), t:room(TEA, { exists = false })
    local info = { "query", { xmlns = "http://jabber.org/protocol/disco#info" } }
    assert.equal("item-not-found", select(2, ask(t, TEA, info)))
    enter(t)
    assert.same({ "kettle 201 110", "(room) = " }, heard())
    assert.is_true(room.locked)
    assert.equal("owner", room.occupants.kettle.affiliation)
    local OWNER = "http://jabber.org/protocol/muc#owner"
    local x = { "x", { xmlns = "jabber:x:data", type = "submit" } }
    assert.is_true(ask(t, TEA, { "query", { xmlns = OWNER }, x }, "set"))
    assert.is_false(room.locked)
    x = { "destroy", { jid = "other@rooms.example.net" } }
    assert.is_true(ask(t, TEA, { "query", { xmlns = OWNER }, x }, "set"))
    assert.same({ "-kettle 110" }, heard())
    assert.is_false(room.exists)
  end))

  it("does what owners and moderators ask, and nobody else", testing.around(function(t)
    local ADMIN = "http://jabber.org/protocol/muc#admin"
    local function do_to(attrs) return ask(t, TEA, { "query", { xmlns = ADMIN }, { "item", attrs } }, "set") end
    local heard, room = listener(t), t:room(TEA, { occupants = { { nick = "anna", affiliation = "owner" }, "bert",
      { nick = "cleo", jid = "cleo@people.example/x" } } })
    enter(t)
    heard()
    assert.equal("forbidden", select(2, do_to { nick = "bert", role = "none" }))
    room:changes("kettle", { affiliation = "admin" })
    assert.same({ "kettle 110" }, heard())
    assert.equal("moderator", room.occupants.kettle.role)
    assert.equal("item-not-found", select(2, do_to { nick = "nobody", role = "none" }))
    assert.equal("not-allowed", select(2, do_to { nick = "anna", role = "none" }))
    assert.is_true(do_to { nick = "bert", role = "none" })
    assert.same({ "-bert 307" }, heard())
    assert.is_true(do_to { jid = "cleo@people.example", affiliation = "outcast" })
    assert.same({ "-cleo 301" }, heard())
    local list = ask(t, TEA, { "query", { xmlns = ADMIN }, { "item", { affiliation = "outcast" } } })
    assert.equal("cleo@people.example", list[3][2].jid)
    local id = select(2, room:says("anna", "oh"))
    heard()
    local moderate = { "moderate", { xmlns = "urn:xmpp:message-moderate:1", id = id } }
    assert.is_true(ask(t, TEA, moderate, "set"))
    assert.same({ "(room)" }, heard())
    assert.equal(0, #room.history)
  end))

  it("answers self-pings (XEP-0410), and can forget us", testing.around(function(t)
    local room, heard = t:room(TEA, { occupants = { "anna" } }), listener(t)
    local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
    assert.equal("not-acceptable", select(2, ask(t, TEA .. "/kettle", PING)))
    enter(t)
    assert.is_true(ask(t, TEA .. "/kettle", PING))
    assert.equal("item-not-found", select(2, ask(t, TEA .. "/nobody", PING)))
    room:forgets()
    assert.equal("not-acceptable", select(2, ask(t, TEA .. "/kettle", PING)))
    heard()
    t.conn:send { "message", { to = TEA, type = "groupchat", id = "m" }, { "body", {}, "hello?" } }
    t:expect { "message" }
    assert.same({ "(room): hello? not-acceptable" }, heard())
    t.conn:send { "presence", { to = TEA .. "/kettle" } } -- without the MUC element
    assert.same({ "-kettle 110 333" }, heard())
  end))

  it("whispers, invites, and asks for a voice", testing.around(function(t)
    local room, got = t:room(TEA, { occupants = { "anna" }, affiliations = { ["bot@example.net"] = "admin" } }), nil
    enter(t)
    t.conn:set_handler(function(stanza) got = stanza end)
    room:whispers("anna", "psst")
    assert.equal(TEA .. "/anna chat psst", ("%s %s %s"):format(got[2].from, got[2].type, xexpr.text(got, "body")))
    assert.is_table(xexpr.child(got, "x", USER))
    room:invites("anna@people.example", "tea")
    assert.equal(TEA, got[2].from)
    assert.equal("anna@people.example", xexpr.find(got, { "x", USER }, "invite")[2].from)
    room:asks_voice "anna"
    assert.equal("http://jabber.org/protocol/muc#request", xexpr.text(xexpr.find(got, "x", "field"), "value"))
    t.conn:send { "message", { to = TEA .. "/anna", type = "chat" }, { "body", {}, "what?" } }
    t:expect { "message", { to = TEA .. "/anna" } }
    t.conn:send { "message", { to = TEA .. "/nobody", type = "chat", id = "x" }, { "body", {}, "what?" } }
    t:expect { "message" }
    assert.equal("item-not-found", xexpr.error(got).condition)
  end))

  it("is left by a session that is lost, not by one that is resumed", testing.around(function(t)
    local room, heard = t:room(TEA, { occupants = { "anna" } }), listener(t)
    enter(t)
    t:cut()
    room:says("anna", "are you there?")
    t:resume()
    assert.is_table(room.occupants.kettle)
    assert.equal("anna: are you there?", heard()[4])
    t:cut(false)
    assert.is_nil(room.occupants.kettle)
    room:says("anna", "and now?")
    t:reconnect()
    assert.same({}, heard())
    enter(t)
    t.conn:send { "presence", { type = "unavailable" } }
    t:expect { "presence" }
    assert.is_nil(room.occupants.kettle)
  end))

  it("accepts strange nicks", testing.around(function(t)
    local room, heard = t:room(TEA), listener(t)
    for _, nick in ipairs { "n/i@c/k", " lead", "o'brien\"&<>", "\240\159\171\150", "\215\169\215\156" } do
      room:joins(nick)
      enter(t, nick .. "2")
      heard()
      assert.is_table(room.occupants[nick])
      assert.is_table(room.occupants[nick .. "2"])
      room:says(nick, "I am here")
      assert.same({ nick .. ": I am here" }, heard())
      t.conn:send { "presence", { to = TEA .. "/" .. nick .. "2", type = "unavailable" } }
      t:advance(0)
    end
  end))

  it("raises for wrong calls", function()
    within(function(t)
      local room = t:room(TEA, { occupants = { "anna" } })
      fails(function() room:says("bert", "x") end, "there is no 'bert' in tea@rooms.example.net")
      fails(function() room:joins "anna" end, "'anna' is in tea@rooms.example.net already")
      fails(function() room:whispers("anna", "x") end, "no occupant of tea@rooms.example.net is the program's")
      fails(function() t:room(TEA, { ocupants = {} }) end, "room has no option 'ocupants'")
      fails(function() t:room "a@@" end, "room(jid): ")
    end)
  end)
end)

describe("a contact in a test:", function()
  local function presences(t)
    local seen = {}
    t.conn:set_handler(function(stanza)
      local item = xexpr.find(stanza, { "query", "jabber:iq:roster" }, "item")
      if item and stanza[2].type == "set" then
        seen[#seen + 1] = ("push %s %s%s"):format(item[2].jid, item[2].subscription, item[2].ask and " asked" or "")
        t.conn:send { "iq", { type = "result", id = stanza[2].id } }
      elseif stanza[1] == "presence" then
        seen[#seen + 1] = stanza[2].from .. " " .. (stanza[2].type or xexpr.text(stanza, "show") or "online")
      end
    end)
    return function()
      t:advance(0)
      local out = seen
      seen = {}
      return out
    end
  end

  it("is in the roster, has presences, and talks", testing.around(function(t)
    local anna = t:contact("anna@example.net/pc", { subscription = "both", name = "Anna", groups = { "Tea" } })
    local heard, got = presences(t), nil
    local item = ask(t, nil, { "query", { xmlns = "jabber:iq:roster" } })[3]
    assert.same({ "anna@example.net", "Anna", "both", "Tea" },
      { item[2].jid, item[2].name, item[2].subscription, xexpr.text(item, "group") })
    anna:online { show = "away" }
    t.conn:send { "presence" }
    t:expect { "presence" }
    anna:online { resource = "phone" }
    anna:offline { resource = "phone" }
    assert.same({ "anna@example.net/pc away", "anna@example.net/pc away", "anna@example.net/phone online",
      "anna@example.net/phone unavailable" }, heard())
    t.conn:set_handler(function(stanza) got = stanza end)
    local id = anna:says "hello"
    assert.same({ "anna@example.net/pc", id, "chat", "hello" }, { got[2].from, got[2].id, got[2].type,
      xexpr.text(got, "body") })
  end))

  it("sends an iq and gets the answer", testing.around(function(t)
    local anna = t:contact "anna@example.net"
    require "xmpp.iq".serve(t.conn, "get", "urn:x", function(x)
      if x[3] == "no" then return nil, "cancel", "not-allowed" end
      return { "query", { xmlns = "urn:x" }, "yes" }
    end)
    assert.equal("yes", xexpr.text((anna:asks { "query", { xmlns = "urn:x" } })))
    local answer, err = anna:asks { "query", { xmlns = "urn:x" }, "no" }
    assert.is_nil(answer)
    assert.equal("not-allowed", err.condition)
  end))

  it("is subscribed to and subscribes, as the server reports it", testing.around(function(t)
    local anna, heard = t:contact "anna@example.net", presences(t)
    ask(t, nil, { "query", { xmlns = "jabber:iq:roster" } })
    anna:online()
    t.conn:send { "presence", { to = "anna@example.net", type = "subscribe" } }
    assert.same({ "push anna@example.net none asked" }, heard())
    anna:approves()
    assert.same({ "push anna@example.net to", "anna@example.net subscribed", "anna@example.net/home online" }, heard())
    anna:requests()
    assert.same({ "anna@example.net subscribe" }, heard())
    t.conn:send { "presence", { to = "anna@example.net", type = "subscribed" } }
    assert.same({ "push anna@example.net both" }, heard())
    anna:unsubscribes()
    assert.same({ "push anna@example.net to", "anna@example.net unsubscribe" }, heard())
    anna:denies()
    assert.same({ "push anna@example.net none", "anna@example.net unsubscribed" }, heard())
    local function set(attrs)
      return ask(t, nil, { "query", { xmlns = "jabber:iq:roster" }, { "item", attrs } }, "set")
    end
    assert.is_true(set { jid = "anna@example.net", name = "Annie" })
    assert.equal("Annie", anna.name)
    assert.is_true(set { jid = "anna@example.net", subscription = "remove" })
    assert.same({ "push anna@example.net none", "push anna@example.net remove" }, heard())
  end))
end)

describe("a pubsub service in a test:", function()
  local pubsub, pep = require "xmpp.pubsub", require "xmpp.pep"
  local NOTE = { "note", { xmlns = "urn:x" }, "one" }

  -- The results of f, which sends a query.
  local function come(t, f)
    local results = {}
    xmpp.spawn(function() results[1], results[2] = f() end)
    t:advance(0)
    return results[1], results[2]
  end

  it("keeps what is published, within the node's bounds, and notifies subscribers", testing.around(function(t)
    local service, heard = t:pubsub "pubsub.example.net", {}
    service:node("news", { max_items = 2, notify_retract = true })
    pubsub.on(t.conn, { service = service.jid }, function(e) heard[#heard + 1] = e.kind .. " " .. tostring(e.id) end)
    service:publish("news", NOTE, "before")
    local subscription = come(t, function() return pubsub.subscribe(t.conn, service.jid, "news") end)
    assert.equal("subscribed", subscription.subscription)
    for i = 1, 3 do
      come(t, function() return pubsub.publish(t.conn, service.jid, "news", NOTE, { id = "i" .. i }) end)
    end
    assert.same({ "i2", "i3" }, { service.nodes.news.items[1].id, service.nodes.news.items[2].id })
    assert.equal(tostring(t.conn:jid()), service.nodes.news.items[2].publisher)
    service:retract("news", "i2")
    service:purge "news"
    service:delete "news"
    assert.same({ "item i1", "item i2", "item i3", "retract i2", "purge nil", "delete nil" }, heard)
    assert.is_nil(service.nodes.news)
  end))

  it("treats publish-options as a precondition, and ignores them without the feature", testing.around(function(t)
    local service = t:pubsub "pubsub.example.net"
    local plain = t:pubsub("old.example.net", { features = {} })
    local question = { "pubsub", { xmlns = "http://jabber.org/protocol/pubsub" }, { "publish", { node = "n" },
      { "item", { id = "a" }, NOTE } }, { "publish-options", {}, require "xmpp.form".submit(
        "http://jabber.org/protocol/pubsub#publish-options", { ["pubsub#access_model"] = "whitelist" }) } }
    for _, s in ipairs { service, plain } do
      s:node "n"
      local _, err = come(t, function() return require "xmpp.iq".set(t.conn, s.jid, question) end)
      assert.equal(s == service and "precondition-not-met" or nil, err.app)
    end
    assert.same({ 0, 1 }, { #service.nodes.n.items, #plain.nodes.n.items })
    assert.is_false(come(t, function() return pubsub.supports(t.conn, plain.jid, "publish-options") end))
  end))

  it("is an account's, too, which notifies by +notify in presences", testing.around(function(t)
    local account, heard = t:pubsub(), {}
    t:pubsub("anna@example.net"):node("secret", { access_model = "whitelist" })
    account:publish("urn:x", NOTE, "a")
    pep.watch(t.conn, "urn:x", function(_, _, id) heard[#heard + 1] = id end, { from = "self" })
    account:publish("urn:x", NOTE, "b")
    assert.same({}, heard) -- no presence was sent
    require "xmpp.presence".set(t.conn, {})
    t:expect { "presence" }
    account:publish("urn:x", NOTE, "c")
    account:publish("urn:y", NOTE, "d")
    assert.same({ "b", "c" }, heard)
    local _, err = come(t, function() return pep.get(t.conn, "anna@example.net", "secret") end)
    assert.equal("forbidden", err.condition)
  end))

  it("has no unknown nodes or options", testing.around(function(t)
    local service = t:pubsub("pubsub.example.net", { auto_create = false })
    fails(function() service:retract("none", "a") end, "there is no node 'none' at pubsub.example.net")
    fails(function() t:pubsub("x.example", { nodes = {} }) end, "pubsub has no option 'nodes'")
    fails(function() t:pubsub "@" end, "pubsub(jid)")
    local _, err = come(t, function() return pubsub.publish(t.conn, service.jid, "none", NOTE) end)
    assert.equal("item-not-found", err.condition)
  end))
end)

describe("a test fails", function()
  it("for a stanza that isn't sent, or that differs, with the difference", function()
    within(function(t)
      fails(function() t:expect { "message", { to = "x" } } end, "nothing was sent, but expected:", "<message to='x'/>")
      t.conn:send { "message", { to = "a@x.y", type = "chat" }, { "body", {}, "no" } }
      local pattern = { "message", { to = "b@x.y" }, { "body", {}, "yes" }, { "x", { xmlns = "urn:x" } } }
      fails(function() t:expect(pattern) end,
        "expected:\n    <message to='b@x.y'>", "got:\n    <message to='a@x.y' type='chat'>",
        "message: to='b@x.y' expected, got 'a@x.y'", "message/body: the text 'yes' expected, got 'no'",
        "message: <x/> expected in it, there is none")
      t.conn:send { "presence" }
      fails(function() t:expect { "message" } end, "<message/> expected, got <presence/>")
      t.conn:send { "message", { to = "a@x.y" }, { "x", { xmlns = "urn:x" } } }
      fails(function() t:expect { "message", {}, { "x", { xmlns = "urn:y" } } } end,
        "message/x: the namespace 'urn:y' expected, got 'urn:x'")
      t.conn:send { "message", { to = "a@x.y" }, { "x", { a = 1 } } }
      fails(function() t:expect { "message", {}, { "x" }, { "x", { a = 1 } } } end,
        "each child of the pattern must match a separate child")
    end)
  end)

  it("for a stanza that is sent, but not expected: at once, or at its end", function()
    within(function(t)
      t.conn:send { "presence" }
      fails(function() t:nothing() end, "nothing was to be sent, but:", "<presence/>")
    end)
    local t = testing.new()
    t.conn:send(query("urn:x", "svc"))
    fails(function() t:finish() end, "this was sent and not expected:", "<query xmlns='urn:x'/>")
    t:finish() -- after the end
  end)

  it("for errors in handlers, unless they are taken", function()
    local t, other = testing.new(), testing.new { jid = "other@example.net/x" }
    t.conn:set_handler(function() error("oh no", 0) end)
    t:receive(message("a@x.y", "1"))
    fails(function() t:expect { "message" } end, "nothing was sent", "errors in handlers:", "oh no")
    other:finish()
    fails(function() t:finish() end, "there were errors", "oh no")
    t = testing.new()
    t.conn:set_handler(function() error("taken", 0) end)
    t:receive(message("a@x.y", "1"))
    assert.is_truthy(t:take_errors()[1]:find "taken")
    t:finish()
  end)

  it("for timers that are left over", function()
    local t = testing.new()
    local timer = xmpp.after(10, function() end)
    fails(function() t:finish() end, "timers, tasks or connections of the program's are left over")
    timer:cancel()
  end)

  it("for a program that waits or turns forever", function()
    within(function(t)
      fails(function() t.conn:receive_blocking() end, "a day has passed by the test's clock")
      local on = true
      local function again() if on then xmpp.after(0, again) end end
      again()
      fails(function() t:advance(1) end, "the program never becomes idle")
      on = false
    end)
    within(function(t)
      fails(function() t.conn:receive_blocking() end, "this would wait forever")
    end, { opts = { keepalive = 0 } })
  end)

  it("for its own wrong calls", function()
    within(function(t)
      fails(function() t:receive "<message>" end, "what is to be received is no XML")
      fails(function() t:receive(5) end, "what is received: string expected, got number")
      fails(function() t:on({ "iq" }) end, "on(pattern, f): function expected, got nil")
      fails(function() t:advance() end, "advance(seconds): number expected, got nil")
      fails(function() t:advance(-1) end, "advance(seconds): a number from 0 expected, got -1")
      fails(function() t:resume() end, "resume is for a link that is cut")
      t.conn:send { "presence" }
      fails(function() t:expect({ "presence" }, { "query" }) end,
        "the reply to a <presence/> must be a stanza, not a <query/>")
      t:cut(false)
      fails(function() t:receive(message("a@x.y", "1")) end, "there is no stream to send it on")
      fails(function() t:ack() end, "there is no stream management on it now")
      t:reconnect()
      t:cut(false)
      fails(function() t:resume() end, "the session wasn't resumed, there is a new one")
    end)
    within(function(t)
      fails(function() t:ack() end, "there is no stream management")
      fails(function() testing.new { jdi = "x" } end, "testing.new has no option 'jdi'")
      fails(function() testing.new { jid = "a@@" } end, "jid-malformed")
    end, { sm = false })
    within(function(t)
      fails(function() t:cut() end, "the program hasn't connected yet")
    end, { intercept = true })
    within(function(t)
      fails(function() t:reconnect() end, "the connection doesn't come back, it is closed")
    end, { opts = { reconnect = false } })
  end)

  it("with its seed, in around, which restores everything", function()
    local ok, err = pcall(testing.around(function() error "mine" end, { seed = 77 }))
    assert.is_false(ok)
    assert.is_truthy(err:find("mine\n(seed = 77)", 1, true))
    assert.is_nil(core.clock())
    local object = {}
    ok, err = pcall(testing.around(function() error(object) end))
    assert.is_false(ok)
    assert.equal(object, err)
    ok, err = pcall(testing.around(function(t) t.conn:send { "presence" } end, { seed = 1 }))
    assert.is_false(ok)
    assert.is_truthy(err:find("testing_spec.lua:", 1, true) and err:find("sent and not expected", 1, true))
    assert.is_false(core.is_busy())
  end)
end)
