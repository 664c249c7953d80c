-- await: requests, their responses, and that every waiter ends exactly once. On fed bytes. Who may answer: see
-- response_spec.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local stage = require "spec.support.stage"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local expect, note, refuses, request, stanza = stage.expect, stage.note, stage.refuses, stage.request, stage.stanza

local f, conn

-- A coroutine, started from the main thread, that awaits; its result is noted as "name=id" or "name!layer".
local function awaits(name, stanza_, ...)
  local more, n = { ... }, select("#", ...)
  coroutine.wrap(function()
    local response, err = conn:send_await(stanza_, (unpack or table.unpack)(more, 1, n))
    note(response and name .. "=" .. tostring(response[2].n or response[2].id) or name .. "!" .. err.layer)
  end)()
end

local function notes(name) return stage.notes(conn, name) end
local function set(...) f, conn = ... end

describe("send_callback", function()
  stage.around(set)

  it("sends the stanza, returns its id, and calls back once with the response and the connection", function()
    local got = {}
    local function take(...) got[#got + 1] = { n = select("#", ...), ... } end
    assert.equal("a1", conn:send_callback(request("a1", "bob@xmpp.test/pc"), take))
    assert.same({ request("a1", "bob@xmpp.test/pc") }, stage.sent(f))
    assert.same({}, got)
    f:feed "<iq type='result' id='a1' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    assert.equal(1, #got)
    local expected = { "iq", { type = "result", id = "a1", from = "bob@xmpp.test/pc" }, { "q", { xmlns = "urn:q" } } }
    assert.same(expected, got[1][1])
    assert.equal(conn, got[1][2])
    assert.is_nil(got[1][3])
    f:feed "<iq type='result' id='a1' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    assert.equal(1, #got)
  end)

  it("fills in a missing id on the wire only", function()
    local mine = request(nil, "xmpp.test")
    local seen = {}
    for _ = 1, 3 do
      local id = conn:send_callback(mine, notes "a")
      assert.is_string(id)
      assert.truthy(#id >= 22)
      assert.is_nil(seen[id])
      seen[id] = true
      assert.same({ request(id, "xmpp.test") }, stage.sent(f))
      assert.same(request(nil, "xmpp.test"), mine)
      f:feed(stanza("iq", { type = "result", id = id, n = 1 }))
      expect "a=1"
    end
    local bare = { "message" }
    local id = conn:send_callback(bare, notes "a")
    assert.same({ "message" }, bare)
    assert.same({ { "message", { id = id } } }, stage.sent(f))
  end)

  it("takes an empty id for an id, and a number for its text", function()
    assert.equal("", conn:send_callback(request "", notes "a"))
    assert.equal("7", conn:send_callback(request(7), notes "b"))
    f:feed "<iq type='result' id='7' n='1'/><iq type='result' n='2'/><iq type='result' id='' n='3'/>"
    expect "b=1 a=3"
  end)

  it("refuses an id that waits already, and sends nothing", function()
    conn:send_callback(request("a1", "bob@xmpp.test"), notes "a")
    f:sent()
    refuses("a request with this id waits already", function() conn:send_callback(request("a1"), notes "b") end)
    refuses("a request with this id waits already", function() conn:send_await(request("a1", "eve@xmpp.test")) end)
    refuses("'send_callback' (stanza.id: ", function() conn:send_callback({ "message", { id = "a1" } }, notes "b") end)
    assert.equal("", f:sent())
    f:feed "<iq type='result' id='a1' from='bob@xmpp.test'/>"
    expect "a=a1"
    assert.equal("a1", conn:send_callback(request "a1", notes "c")) -- the id is free again
  end)

  it("refuses what is no stanza, no function, no time, at the caller's line, and sends nothing", function()
    local cb = notes "a"
    local at = "bad argument #%d to 'send_callback' (%s"
    refuses(at:format(1, "table expected, got string"), function() conn:send_callback("<iq/>", cb) end)
    refuses(at:format(1, "stanza[3][1]: string expected"), function() conn:send_callback({ "iq", {}, {} }, cb) end)
    refuses("a stanza is a message, a presence or an iq", function() conn:send_callback({ "a", {} }, cb) end)
    refuses(at:format(2, "function expected, got nil"), function() conn:send_callback(request()) end)
    refuses(at:format(2, "function expected, got number"), function() conn:send_callback(request(), 5) end)
    refuses(at:format(3, "seconds expected, got -1"), function() conn:send_callback(request(), cb, -1) end)
    refuses("seconds expected, got string", function() conn:send_callback(request(), cb, "1") end)
    refuses("seconds expected, got ", function() conn:send_callback(request(), cb, 0 / 0) end)
    refuses(at:format(1, "connection expected, got table"), function() xmpp.send_callback({}, request(), cb) end)
    refuses(at:format(3, "function expected, got nil"), function() xmpp.send_callback(conn, request()) end)
    refuses("calling 'send_callback' on bad self (connection expected, got table)",
      function() ({ send_callback = conn.send_callback }):send_callback(request(), cb) end)
    assert.equal("", f:sent())
  end)

  it("may be used again in the callback, with the same id", function()
    local n = 0
    local function again(response, c)
      n = n + 1
      note("again" .. response[2].n)
      if n < 3 then c:send_callback(request "a1", again) end
    end
    conn:send_callback(request "a1", again)
    for i = 1, 4 do f:feed(stanza("iq", { type = "result", id = "a1", n = tostring(i) })) end
    expect "again1 again2 again3"
  end)

  it("goes to on_error when the callback throws, and may wait in it", function()
    conn:send_callback(request "a1", function() error "boom" end)
    conn:send_callback(request "a2", function(response)
      note("got" .. response[2].id)
      stage.wait()
      note "over"
    end)
    f:feed "<iq type='result' id='a1'/><iq type='result' id='a2'/>"
    assert.truthy(stage.take_errors()[1].text:find("await_spec.lua:%d+: boom"))
    expect "gota2"
    stage.go()
    expect "over"
  end)

  it("keeps the connection alive while it waits", function()
    local weak = setmetatable({}, { __mode = "v" })
    local got
    weak[1] = fed.open({ jid = stage.ME }).conn
    weak[1]:send_callback(request "a1", function(_, c) got = tostring(c) end)
    collectgarbage()
    collectgarbage()
    core.conn.feed(weak[1], "<iq type='result' id='a1'/>")
    fed.settle()
    assert.truthy(got)
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)
end)

describe("send_await", function()
  stage.around(set)

  it("comes to the response, in a coroutine", function()
    awaits("a", request "a1")
    awaits("b", request "a2")
    f:feed "<iq type='result' id='a2'/>"
    f:feed "<iq type='error' id='a1'/>"
    expect "b=a2 a=a1"
  end)

  it("comes to the response, on the main thread", function()
    xmpp.after(0, function() core.conn.feed(conn, "<iq type='result' id='a1' n='5'/>") end)
    local response, err = conn:send_await(request "a1")
    assert.same({ "iq", { type = "result", id = "a1", n = "5" } }, response)
    assert.is_nil(err)
  end)

  it("comes to what the callback returns, called in the same coroutine", function()
    local results
    local co = coroutine.create(function()
      results = { n = 0 }
      local function count(...) return { n = select("#", ...), ... } end
      results = count(conn:send_await(request "a1", function(response, c)
        assert.equal(conn, c)
        note(tostring(coroutine.running()))
        return response[2].id, nil, false, nil
      end))
    end)
    assert.is_true(coroutine.resume(co))
    f:feed "<iq type='result' id='a1'/>"
    assert.same({ n = 4, "a1", nil, false, nil }, results)
    expect(tostring(co))
  end)

  it("does not call the callback when there is no response", function()
    local result, err = conn:send_await(request "a1", function() note "never" end, 0)
    assert.is_nil(result)
    assert.equal("timeout", err.layer)
    expect ""
  end)

  luas.it("yields across pcall", "throws what the callback throws", function()
    coroutine.wrap(function()
      local ok, why = pcall(conn.send_await, conn, request "a2", function() error("boom", 0) end)
      note(tostring(ok) .. why)
    end)()
    f:feed "<iq type='result' id='a2'/>"
    expect "falseboom"
  end)

  it("takes a time in the callback's place", function()
    awaits("a", request "a1", 0)
    awaits("b", request "a2", nil, 0)
    awaits("c", request "a3", print, 0)
    fed.settle()
    expect "a!timeout b!timeout c!timeout"
  end)

  it("refuses what is no function and no time", function()
    local at = "bad argument #%d to 'send_await' (%s"
    refuses(at:format(2, "function expected, got string"), function() conn:send_await(request(), "5") end)
    refuses(at:format(2, "seconds expected, got -1"), function() conn:send_await(request(), -1) end)
    refuses(at:format(3, "seconds expected, got -1"), function() conn:send_await(request(), print, -1) end)
    refuses(at:format(1, "table expected, got nil"), function() conn:send_await() end)
    refuses(at:format(1, "stanza[2].to: "), function() conn:send_await { "iq", { to = false } } end)
    assert.equal("", f:sent())
  end)

  it("works with messages and presences, too", function()
    awaits("a", { "message", { id = "m1", to = "bob@xmpp.test/pc" } })
    awaits("b", { "presence", { id = "p1", to = "room@xmpp.test/me" } })
    f:feed "<presence id='m1' from='bob@xmpp.test/pc'/><message id='p1' from='room@xmpp.test/me'/>"
    f:feed "<presence id='p1' from='room@xmpp.test/me' type='unavailable' n='3'/>"
    f:feed "<message id='m1' from='bob@xmpp.test/pc' n='4'/>"
    expect "b=3 a=4"
  end)

  it("answers ten thousand, each its own, in whatever order", function()
    local N, got, wrong = 10000, 0, 0
    for i = 1, N do
      conn:send_callback({ "iq", { type = "get", id = "x" .. i } }, function(response)
        got = got + 1
        if response[2].n ~= tostring(i) then wrong = wrong + 1 end
      end, i % 2 == 0 and math.huge or 600)
      if i % 1000 == 0 then f:sent() end
    end
    local at = 1
    for _ = 1, N do
      at = (at + 7919) % N -- a prime, so that all come, in another order
      core.conn.feed(conn, stanza("iq", { type = "result", id = "x" .. at + 1, n = tostring(at + 1) }))
    end
    stage.turn_until(function() return got == N end)
    fed.settle()
    assert.equal(0, wrong)
    assert.equal(N, got)
    conn:send_callback(request "x1", notes "again")
    f:feed "<iq type='result' id='x1' n='7'/>"
    expect "again=7"
  end)
end)

-- Starts waits of every kind; each notes its end under the name that is given.
local function all_waits(seconds)
  conn:send_callback(request "w1", notes "callback", seconds)
  awaits("await", request "w2", seconds)
  local function in_coroutine(name, wait)
    coroutine.wrap(function()
      local result, err = wait()
      note(result == true and name .. "=true" or name .. "!" .. err.layer)
    end)()
  end
  in_coroutine("receive", function() return conn:receive_blocking(seconds) end)
  in_coroutine("flush", function() return conn:flush(seconds) end)
end

local function sorted(text)
  local words = {}
  for word in text:gmatch "%S+" do words[#words + 1] = word end
  table.sort(words)
  return table.concat(words, " ")
end

describe("the end of a wait", function()
  stage.around(set)

  it("is a timeout when the time is over", function()
    all_waits(0.001)
    local text = ""
    stage.turn_until(function()
      text = text .. " " .. stage.heard()
      return select(2, text:gsub("!", "")) >= 4
    end)
    assert.equal("await!timeout callback!timeout flush!timeout receive!timeout", sorted(text))
    f:feed "<iq type='result' id='w1'/><iq type='result' id='w2'/>" -- too late, so they are ordinary stanzas
    expect ""
    assert.equal("w1", conn:receive()[2].id)
    assert.equal("w2", conn:receive()[2].id)
    local _, err = conn:send_await(request "w3", 0)
    assert.equal("timeout", err.layer)
    assert.equal("timeout", err.condition)
    assert.is_true(err.retry)
    assert.is_string(err.text)
    assert.equal("timeout: timeout: " .. err.text, tostring(err))
  end)

  it("comes after no default time if the time is infinite", function()
    conn:send_callback(request "a1", notes "a", math.huge)
    awaits("b", request "a2", math.huge)
    awaits("c", request "a3", 1e300)
    for _ = 1, 3 do core.step(0) end
    expect ""
    assert.truthy(xmpp.timeout() > 0)
    f:feed "<iq type='result' id='a1'/><iq type='result' id='a2'/><iq type='result' id='a3'/>"
    expect "a=a1 b=a2 c=a3"
  end)

  it("is the connection's end, for each waiter once", function()
    all_waits()
    f:feed "</stream:stream>"
    assert.equal("await!closed callback!closed flush!closed receive!closed", sorted(stage.heard()))
    f:feed "<iq type='result' id='w1'/>"
    for _ = 1, 3 do core.step(0) end
    expect ""
  end)

  it("is the connection's end with nil, the connection and the error", function()
    local got
    conn:send_callback(request "a1", function(...) got = { n = select("#", ...), ... } end)
    f:feed "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    assert.equal(3, got.n)
    assert.is_nil(got[1])
    assert.equal(conn, got[2])
    assert.equal("closed", got[3].layer)
    assert.equal("conflict", got[3].condition)
    assert.truthy(got[3].text:find("conflict", 1, true), got[3].text)
  end)

  it("comes for ten thousand", function()
    local ends = 0
    for i = 1, 10000 do
      conn:send_callback({ "iq", { type = "get", id = "x" .. i } }, function(response, _, err)
        if response == nil and err.layer == "closed" then ends = ends + 1 end
      end)
      if i % 1000 == 0 then f:sent() end
    end
    f:feed "</stream:stream>"
    assert.equal(10000, ends)
  end)

  it("may begin another wait, which ends at once", function()
    conn:send_callback(request "a1", function(_, c)
      local id, err = c:send_callback(request "a2", notes "never")
      assert.is_nil(id)
      assert.equal("closed", err.layer)
      local stanza_, why = c:receive_blocking()
      assert.is_nil(stanza_)
      note("again!" .. why.layer)
    end)
    f:feed "</stream:stream>"
    expect "again!closed"
  end)

  it("is a stop by the program, too", function()
    all_waits()
    coroutine.wrap(function() note("stop=" .. tostring(conn:stop())) end)()
    coroutine.wrap(function() note("drain=" .. tostring(select(2, conn:drain()))) end)()
    f:feed "</stream:stream>"
    assert.equal("await!closed callback!closed drain=nil flush!closed receive!closed stop=true", sorted(stage.heard()))
  end)

  it("by a stop comes after the shortest of the times that it was given", function()
    core.clock(true)
    finally(function() core.clock(false) end)
    local ends = 0
    for _, seconds in ipairs { 60, 10, 3600 } do
      coroutine.wrap(function()
        local ok, err = conn:stop(seconds)
        assert.is_nil(ok)
        assert.equal("timeout", err.condition)
        ends = ends + 1
      end)()
    end
    core.clock(core.clock() + 9.999)
    fed.settle()
    assert.equal(0, ends)
    core.clock(core.clock() + 0.001)
    fed.settle()
    assert.equal(3, ends)
  end)

  it("may be a response that comes while stop waits", function()
    awaits("a", request "a1")
    coroutine.wrap(function() note("stop=" .. tostring(conn:stop())) end)()
    f:feed "<iq type='result' id='a1'/>"
    expect "a=a1"
    f:feed "</stream:stream>"
    expect "stop=true"
  end)

  it("is a stop's own timeout if the server does not close", function()
    local ok, err = conn:stop(0)
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.equal("closed", conn:state())
    ok, err = conn:stop()
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
  end)

  it("is at once on a connection that is closed, and nothing is sent", function()
    f:feed "</stream:stream>"
    f:sent()
    local calls = {
      send = function() return conn:send(request "a1") end,
      send_callback = function() return conn:send_callback(request "a1", notes "never") end,
      send_await = function() return conn:send_await(request "a1") end,
      receive = function() return conn:receive() end,
      receive_blocking = function() return conn:receive_blocking() end,
      flush = function() return conn:flush() end,
    }
    for name, call in pairs(calls) do
      for _ = 1, 2 do
        local result, err = call()
        assert.is_nil(result, name)
        assert.equal("closed", err.layer, name)
        assert.equal("closed-by-server", err.condition, name)
        assert.truthy(err.text:find("the server closed the stream", 1, true), name)
        assert.is_boolean(err.retry)
      end
    end
    assert.equal("", f:sent())
    expect ""
  end)

  it("of sending is at once while the connection closes", function()
    coroutine.wrap(function() conn:stop() end)()
    f:sent()
    local ok, err = conn:send { "message" }
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    local id
    id, err = conn:send_callback(request "a1", notes "never")
    assert.is_nil(id)
    assert.equal("closed", err.layer)
    assert.equal("", f:sent())
  end)

  luas.it("coroutine.close", "doesn't come to a coroutine that is closed", function()
    local co = coroutine.create(function()
      conn:send_await(request "a1")
      note "never"
    end)
    coroutine.resume(co)
    coroutine.close(co) -- luacheck: ignore 143
    f:feed "<iq type='result' id='a1'/>"
    expect ""
    assert.equal("a1", conn:receive()[2].id) -- as after a timeout: nothing waits for it
  end)

  luas.it("coroutine.close", "leaves nothing behind when the coroutine is closed: no timer, no id, no pin", function()
    local close = rawget(coroutine, "close")
    local waits = {
      function() xmpp.sleep(1000) end,
      function() conn:send_await(request "a1") end,
      function() conn:receive_blocking(1000) end,
      function() conn:send { "message" } conn:flush(1000) end,
      function() conn:stop(1000) end,
    }
    for _, wait in ipairs(waits) do
      local co = coroutine.create(function() wait() note "never" end)
      coroutine.resume(co)
      assert.equal("suspended", coroutine.status(co))
      assert.is_true(close(co))
    end
    assert.equal(#waits, 5)
    f:feed "<iq type='result' id='none'/>"
    expect ""
  end)

  luas.it("coroutine.close", "frees the id at once, and the loop", function()
    local close = rawget(coroutine, "close")
    for _ = 1, 3 do
      local co = coroutine.create(function() conn:send_await(request "a1") end)
      coroutine.resume(co)
      assert.is_true(close(co))
    end
    f:feed "</stream:stream>"
    local co = coroutine.create(function() xmpp.sleep(1000) end)
    coroutine.resume(co)
    assert.is_true(core.is_busy())
    close(co)
    assert.is_false(core.is_busy())
    assert.is_true(xmpp.run())
  end)

  luas.it("coroutine.close", "comes once, whichever coroutine closes which, before a response and after it", function()
    local close, cos = rawget(coroutine, "close"), {}
    for i = 1, 4 do
      cos[i] = coroutine.create(function()
        note("w" .. i .. conn:send_await(request("w" .. i))[2].id)
        for k = 1, 4 do if coroutine.status(cos[k]) == "suspended" then close(cos[k]) end end
      end)
      coroutine.resume(cos[i])
    end
    f:feed "<iq type='result' id='w2'/><iq type='result' id='w1'/><iq type='result' id='w3'/>"
    expect "w2w2"
  end)

  -- coroutine.wrap may give a program the waiter's internal table; what it changes there has no effect on others.
  for _, others in ipairs { 0, 200 } do
    luas.it("coroutine.close",
      "of who waits by what was tampered with ends nobody else's wait, beside " .. others, function()
      local waiting = require "xmpp.wait"
      local function box_of(seconds)
        local box = waiting.box()
        core.timer(seconds, box)
        return box
      end
      local timers = {}
      for i = 1, others do timers[i] = xmpp.after(1000, function() end) end
      local first = box_of(0)
      local stale = first[1]
      stage.turn_until(function() return first.done end)
      local box, other = box_of(0.02), box_of(0.02)
      assert.equal("string", type(getmetatable(box)))
      local own = box[1]
      for _, wrong in ipairs { stale, other[1], 7, 1e9, -1, 0, 1.5, "1", print } do
        box[1] = wrong
        core.abandon(box)
        core.abandon { wrong }
      end
      box[1] = own
      core.abandon(box)
      stage.turn_until(function() return other.done end)
      assert.is_false(box.done)
      for i = 1, others do assert.is_true(timers[i]:cancel()) end
    end)
  end
end)

describe("a full write queue", function()
  stage.around(set, { jid = stage.ME, max_queue = 2000 })

  local function fill()
    local body = { "body", {}, ("x"):rep(400) }
    local n = 0
    while conn:send { "message", {}, body } do n = n + 1 end
    return n
  end

  it("refuses what is more, with nothing half-written, until it is emptied", function()
    assert.equal(4, fill())
    local ok, err = conn:send { "message", {}, { "body", {}, ("x"):rep(400) } }
    assert.is_nil(ok)
    assert.equal("limit", err.layer)
    assert.equal("max-queue", err.condition)
    assert.is_true(err.retry)
    local id
    id, err = conn:send_callback({ "iq", { type = "get", id = "a1" }, ("y"):rep(400) }, notes "never")
    assert.is_nil(id)
    assert.equal("limit", err.layer)
    local response
    response, err = conn:send_await { "iq", { type = "get", id = "a1" }, ("y"):rep(400) }
    assert.is_nil(response)
    assert.equal("limit", err.layer)
    local bytes = f:sent()
    assert.equal(4, select(2, bytes:gsub("</message>", "")))
    assert.is_nil(bytes:find("<iq", 1, true))
    assert.equal(4, fill())
    f:sent()
    assert.equal("a1", conn:send_callback(request "a1", notes "a"))
    f:feed "<iq type='result' id='a1'/>"
    expect "a=a1"
  end)

  it("takes what fits to the byte", function()
    local frame = #xexpr.to_xml { "message", {}, { "body", {}, "x" } } - 1
    assert.is_true(conn:send { "message", {}, { "body", {}, ("x"):rep(2000 - frame) } })
    assert.equal(2000, conn:pending())
    assert.is_nil((conn:send { "message" }))
    assert.equal(2000, #f:sent())
    assert.is_nil((conn:send { "message", {}, { "body", {}, ("x"):rep(2001 - frame) } }))
    assert.equal(0, conn:pending())
  end)

  it("has no space for an answer that is due: it isn't sent, and the connection goes on", function()
    fill()
    conn:set_handler()
    f:feed(("<iq type='get' id='%s' from='bob@xmpp.test'/>"):format(("q"):rep(500)))
    assert.is_nil(f:sent():find("<iq", 1, true))
    assert.equal("ready", conn:state())
  end)
end)

describe("awaiting in the program's own coroutines", function()
  stage.around(set)

  it("goes on by xmpp.run, and ends it", function()
    awaits("a", request "a1")
    xmpp.after(0, function() core.conn.feed(conn, "<iq type='result' id='a1'/></stream:stream>") end)
    xmpp.run()
    expect "a=a1"
    assert.equal("closed", conn:state())
  end)

  it("allows others to resume them", function()
    local co = coroutine.create(function()
      local response = conn:send_await(request "a1")
      note(response[2].id)
    end)
    for _ = 1, 5 do assert.is_true(coroutine.resume(co)) end
    f:feed "<iq type='result' id='a1'/>"
    expect "a1"
    assert.equal("dead", coroutine.status(co))
  end)

  it("works if they are running when the response comes", function()
    local co
    co = coroutine.create(function()
      conn:set_handler(function() note "handled" end)
      core.conn.feed(conn, "<iq type='result' id='a1'/>")
      note(conn:send_await(request "a1")[2].id)
    end)
    coroutine.resume(co)
    fed.settle()
    expect "a1 handled"
  end)

  it("throws to on_error what is thrown after the wait", function()
    coroutine.wrap(function()
      conn:send_await(request "a1")
      error { "an object" }
    end)()
    f:feed "<iq type='result' id='a1'/>"
    assert.same({ "an object" }, stage.take_errors()[1].object)
  end)

  it("may wait for two in two coroutines, and for both in a third", function()
    local done = 0
    awaits("a", request "a1")
    awaits("b", request "a2")
    coroutine.wrap(function()
      for _, id in ipairs { "c1", "c2" } do
        conn:send_await(request(id))
        done = done + 1
        note("c" .. done)
      end
    end)()
    for _, id in ipairs { "c1", "a2", "c2", "a1" } do f:feed(stanza("iq", { type = "result", id = id })) end
    expect "c1 b=a2 c2 a=a1"
  end)
end)
