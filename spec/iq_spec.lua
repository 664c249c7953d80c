-- iq: an iq of type get or set must be answered (RFC 6120 8.2.3): by the program, else with service-unavailable, once
-- all functions have finished with it. On fed bytes; every test runs with several settings of the garbage collector.

local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local expect, hears, note = stage.expect, stage.hears, stage.note

local f, conn

local function set(...) f, conn = ... end

local function sent()
  return stage.sent(f)
end

local UNAVAILABLE = { "error", { type = "cancel" },
  { "service-unavailable", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } }

-- Only a service-unavailable was sent.
local function expect_unavailable(attributes)
  attributes.type = "error"
  assert.same({ { "iq", attributes, UNAVAILABLE } }, sent())
end

local function expect_nothing_sent()
  assert.same({}, sent())
end

local function ask(id, from, kind)
  local bytes = "<iq type='%s' id='%s' from='%s'><q xmlns='urn:q'/></iq>"
  f:feed(bytes:format(kind or "get", id, from or "bob@xmpp.test/pc"))
end

local function answer(stanza, c)
  assert.is_true(c:send { "iq", { type = "result", id = stanza[2].id, to = stanza[2].from } })
end

local function an_iq()
  local ANSWER = { "iq", { type = "result", id = "q1", to = "bob@xmpp.test/pc" } }

  it("that nobody answers gets service-unavailable", function()
    conn:set_handler()
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    ask("q2", "eve@xmpp.test", "set")
    expect_unavailable { id = "q2", to = "eve@xmpp.test" }
    conn:set_callback(hears "a")
    ask "q3"
    expect_unavailable { id = "q3", to = "bob@xmpp.test/pc" }
    conn:set_callback(hears "b", { xmlns = "urn:else" })
    ask "q4"
    expect_unavailable { id = "q4", to = "bob@xmpp.test/pc" }
    ask("q&apos;&lt;&amp;&#x20AC;")
    expect_unavailable { id = "q'<&\226\130\172", to = "bob@xmpp.test/pc" }
    f:feed "<iq type='get' id='q6'/>"
    expect_unavailable { id = "q6" }
  end)

  it("gets it with the program's own handler, too", function()
    conn:set_handler(hears "own")
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    conn:set_callback(hears "a")
    ask "q2"
    expect_unavailable { id = "q2", to = "bob@xmpp.test/pc" }
  end)

  it("gets it only if it is a get or set", function()
    conn:set_handler()
    conn:set_callback(function() end)
    ask("q1", nil, "result")
    ask("q1", nil, "error")
    ask("q1", nil, "Get")
    ask("q1", nil, "")
    f:feed "<iq id='q1' from='bob@xmpp.test/pc'/><message type='get' id='q1'/><presence type='set' id='q1'/>"
    expect_nothing_sent()
  end)

  it("that is answered gets nothing else", function()
    conn:set_callback(answer, { name = "iq" })
    conn:set_callback(hears "b")
    conn:set_handler()
    ask "q1"
    assert.same({ ANSWER }, sent())
    conn:set_handler(answer)
    ask "q1"
    assert.same({ ANSWER }, sent())
    conn:set_handler(function(stanza, c)
      c:send { "iq", { type = "error", id = stanza[2].id, to = stanza[2].from }, UNAVAILABLE }
    end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("is answered by every way to send", function()
    local reply = { "iq", { type = "error", id = "q1", to = "bob@xmpp.test/pc" }, UNAVAILABLE }
    local over
    conn:set_handler(function(_, c) c:send_callback(reply, function() over = true end, 0) end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    stage.turn_until(function() return over end)
  end)

  it("is answered by an answer spelled otherwise", function()
    conn:set_handler(function(_, c) c:send { "iq", { type = "result", id = "q1", to = "BOB@xmpp.TEST/pc" } } end)
    ask "q1"
    assert.equal(1, #sent())
    ask("q1", "BOB@XMPP.TEST/pc")
    assert.equal(1, #sent())
  end)

  it("is not answered by something else", function()
    for _, other in ipairs {
      { "iq", { type = "result", id = "q2", to = "bob@xmpp.test/pc" } },
      { "iq", { type = "result", id = "q1", to = "eve@xmpp.test/pc" } },
      { "iq", { type = "result", id = "q1", to = "bob@xmpp.test" } },
      { "iq", { type = "result", id = "q1", to = "bob@xmpp.test/PC" } },
      { "iq", { type = "result", id = "q1" } },
      { "iq", { type = "get", id = "q1", to = "bob@xmpp.test/pc" } },
      { "message", { type = "result", id = "q1", to = "bob@xmpp.test/pc" } },
    } do
      conn:set_handler(function(_, c) c:send(other) end)
      ask "q1"
      local all = sent()
      assert.equal(2, #all)
      assert.same({ "iq", { type = "error", id = "q1", to = "bob@xmpp.test/pc" }, UNAVAILABLE }, all[2])
    end
  end)

  it("is answered when the last callback has finished, and not before", function()
    conn:set_handler()
    for _, name in ipairs { "a", "b", "c" } do
      conn:set_callback(hears(name, function()
        stage.wait()
        if name == "b" then stage.wait() end
        note(name .. " is over")
      end))
    end
    ask "q1"
    expect "anil bnil cnil"
    expect_nothing_sent()
    stage.go(3)
    expect "a is over c is over"
    expect_nothing_sent()
    stage.go()
    expect "b is over"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("may be answered later, by a callback that waits meanwhile", function()
    conn:set_handler()
    conn:set_callback(hears("a", function(stanza, c)
      stage.wait()
      answer(stanza, c)
      stage.wait()
      note "over"
    end))
    conn:set_callback(hears "b")
    ask "q1"
    expect_nothing_sent()
    stage.go()
    assert.same({ ANSWER }, sent())
    stage.go()
    expect "anil bnil over"
    expect_nothing_sent()
  end)

  it("may be answered later in the program's own handler, and by a callback that it has called", function()
    conn:set_handler(hears("own", function(stanza, c)
      stage.wait()
      answer(stanza, c)
    end))
    ask "q1"
    expect_nothing_sent()
    stage.go()
    assert.same({ ANSWER }, sent())
    conn:set_callback(function(stanza, c)
      stage.wait()
      answer(stanza, c)
    end)
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    ask "q1"
    expect_nothing_sent()
    stage.go()
    assert.same({ ANSWER }, sent())
  end)

  it("gets its answer though a callback throws, at once or later", function()
    conn:set_handler()
    conn:set_callback(function() error "at once" end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    conn:set_callback(function()
      stage.wait()
      error "later"
    end)
    ask "q2"
    expect_nothing_sent()
    stage.go()
    expect_unavailable { id = "q2", to = "bob@xmpp.test/pc" }
    assert.equal(3, #stage.take_errors())
  end)

  it("gets its answer from a once-callback's end, too", function()
    conn:set_handler()
    conn:set_callback_once(function()
      stage.wait()
      return true
    end)
    ask "q1"
    expect_nothing_sent()
    stage.go()
    assert.same({}, conn:callbacks())
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("gets its answer when something else has resumed the callback to its end", function()
    local co
    conn:set_handler()
    conn:set_callback(function()
      co = coroutine.running()
      coroutine.yield()
    end)
    ask "q1"
    expect_nothing_sent()
    assert.is_true(coroutine.resume(co))
    fed.settle()
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("gets its answer when a callback that can't be resumed is collected", function()
    conn:set_handler()
    conn:set_callback(function() coroutine.yield() end)
    ask "q1"
    collectgarbage()
    collectgarbage()
    fed.settle()
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("gets its answer when the handler is removed or replaced meanwhile", function()
    conn:set_handler(function(_, c) c:stop_handler() end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    conn:set_handler(function(_, c)
      stage.wait()
      c:set_handler(function() end)
    end)
    ask "q2"
    stage.go()
    expect_unavailable { id = "q2", to = "bob@xmpp.test/pc" }
  end)

  it("isn't answered any more when the connection has ended", function()
    conn:set_handler()
    conn:set_callback(function()
      stage.wait()
      note "over"
    end)
    ask "q1"
    f:feed "</stream:stream>"
    f:sent()
    stage.go()
    assert.equal("", f:sent())
    expect "over"
  end)

  it("is distinguished from another sender's with the same id", function()
    local later = {}
    conn:set_handler(function(stanza)
      later[stanza[2].from] = coroutine.running()
      if coroutine.yield() then answer(stanza, conn) end
    end)
    ask("q1", "bob@xmpp.test/pc")
    ask("q1", "eve@xmpp.test/pc")
    assert.is_true(coroutine.resume(later["bob@xmpp.test/pc"], true))
    assert.is_true(coroutine.resume(later["eve@xmpp.test/pc"], false))
    fed.settle()
    assert.same({ ANSWER, { "iq", { type = "error", id = "q1", to = "eve@xmpp.test/pc" }, UNAVAILABLE } }, sent())
  end)

  it("that came to a component is answered from the address that it was sent to", function()
    f = stage.open { jid = "echo.xmpp.test", component = true }
    conn = f.conn
    conn:set_handler()
    f:feed "<iq type='get' id='q1' from='bob@xmpp.test/pc' to='Room@echo.xmpp.test/x'><q xmlns='urn:q'/></iq>"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc", from = "Room@echo.xmpp.test/x" }
    f:feed "<iq type='set' id='q2' from='xmpp.test' to='echo.xmpp.test'><q xmlns='urn:q'/></iq>"
    expect_unavailable { id = "q2", to = "xmpp.test", from = "echo.xmpp.test" }
    conn:set_handler(function(stanza, c)
      c:send { "iq", { type = "result", id = stanza[2].id, to = stanza[2].from, from = stanza[2].to } }
    end)
    f:feed "<iq type='get' id='q3' from='bob@xmpp.test/pc' to='room@echo.xmpp.test'><q xmlns='urn:q'/></iq>"
    local expected = { "iq", { type = "result", id = "q3", to = "bob@xmpp.test/pc", from = "room@echo.xmpp.test" } }
    assert.same({ expected }, sent())
  end)
end

local GROUPS = {
  { "an iq", an_iq },
}

stage.under_manners("iq", set, GROUPS)

-- A component has many addresses; somebody may send the same id to several of them, and so may users of a gateway.
describe("a component", function()
  before_each(function() f = fed.open { jid = "echo.xmpp.test", component = true } end)

  local function ask_at(to)
    f:feed(("<iq type='get' id='1' from='bob@x/r' to='%s'><q xmlns='urn:x'/></iq>"):format(to))
  end

  local function result(from, to)
    return ("<iq type='result' id='1' to='%s' from='%s'/>"):format(to or "bob@x/r", from)
  end

  -- The answers that were sent, by patterns, since the order of attributes isn't defined.
  local function answers()
    local list = {}
    for tag in f:sent():gmatch "<iq[^>]*>" do
      list[#list + 1] = ("%s to %s from %s"):format(tag:match "type='(%w+)'", tag:match " to='([^']*)'",
        tag:match " from='([^']*)'" or "nobody")
    end
    return list
  end

  it("answers each address's iqs from that address", function()
    f.conn:set_callback(function(x)
      if x[2].to == "slow@echo.xmpp.test" then
        xmpp.sleep(0.01)
        f.conn:send(xmpp.xexpr.reply(x))
      end
    end)
    f.conn:set_handler()
    ask_at "slow@echo.xmpp.test"
    ask_at "mute@echo.xmpp.test"
    assert.same({ "error to bob@x/r from mute@echo.xmpp.test" }, answers())
    xmpp.sleep(0.02)
    assert.same({ "result to bob@x/r from slow@echo.xmpp.test" }, answers())
  end)

  it("chooses by `from` which of its addresses answers; by default it is its domain", function()
    local held = {}
    f.conn:set_handler(function(x)
      held[#held + 1] = x
      xmpp.sleep(0.01)
    end)
    ask_at "a@echo.xmpp.test"
    ask_at "echo.xmpp.test"
    f.conn:send { "iq", { type = "result", id = "1", to = "bob@x/r" } }
    f.conn:send { "iq", { type = "result", id = "1", to = "bob@x/r", from = "b@echo.xmpp.test" } }
    assert.equal(2, #answers())
    xmpp.sleep(0.02)
    assert.same({ "error to bob@x/r from a@echo.xmpp.test" }, answers())
  end)

  it("lets two of its users send the same id", function()
    local got = {}
    for _, user in ipairs { "a", "b" } do
      local x = { "iq", { type = "get", id = "1", to = "bob@x/r", from = user .. "@echo.xmpp.test" } }
      assert.equal("1", f.conn:send_callback(x, function(r) got[#got + 1] = user .. ":" .. r[2].to end))
      local ok, why = pcall(f.conn.send_callback, f.conn, x, function() end)
      assert.is_false(ok)
      assert.truthy(tostring(why):find "a request with this id waits already")
    end
    f:feed(result("eve@x/r", "b@echo.xmpp.test") .. result("bob@x/r", "c@echo.xmpp.test")
      .. "<iq type='result' id='1' from='bob@x/r'/>")
    assert.same({}, got)
    f:feed(result("bob@x/r", "b@echo.xmpp.test") .. result("bob@x/r", "a@echo.xmpp.test"))
    assert.same({ "b:b@echo.xmpp.test", "a:a@echo.xmpp.test" }, got)
  end)

  it("is answered as a server of RFC 6122 spells it, and who it asked", function()
    local got
    local x = { "iq", { type = "get", id = "1", to = "stra\195\159e@x", from = "\239\172\129sh@echo.xmpp.test" } }
    f.conn:send_callback(x, function(r) got = r end)
    f:feed(result("strase@x", "fish@echo.xmpp.test"))
    assert.is_nil(got)
    f:feed(result("strasse@x", "fish@echo.xmpp.test"))
    assert.equal("strasse@x", got[2].from)
  end)
end)

describe("the same iq several times", function()
  -- A client's: if the same iq comes several times, each is answered by the call that got it.
  it("is answered by the call that it went to", function()
    f = fed.open { jid = "alice@xmpp.test/here" }
    local n = 0
    f.conn:set_callback(function(x)
      n = n + 1
      local me = n
      xmpp.sleep(me == 1 and 0.03 or 0.01)
      if me ~= 3 then f.conn:send { "iq", { type = "result", id = x[2].id, to = x[2].from }, { "n" .. me } } end
    end)
    f.conn:set_handler(function(x, c) -- by the program's own handler, too, which waits first
      if n == 1 then xmpp.sleep(0.001) end
      xmpp.default_handler(x, c)
    end)
    for _ = 1, 3 do f:feed "<iq type='get' id='1' from='bob@x/r'><q xmlns='urn:x'/></iq>" end
    xmpp.sleep(0.1)
    local got = {}
    for kind, what in f:sent():gmatch "<iq[^>]*type='(%w+)'[^>]*><(%w+)" do got[#got + 1] = kind .. " " .. what end
    table.sort(got)
    assert.same({ "error error", "result n1", "result n2" }, got)
  end)
end)
