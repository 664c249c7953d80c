-- conn:drain: nothing more is taken, running calls finish, what was sent leaves, the stream ends, and what was left is
-- counted. On fed connections, with these events in every order, and with a clock of the test's.
local core = require "xmpp.core"
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

local BYE = "</stream:stream>"
local SIZE = #"<message from='bob@xmpp.test/pc' n='1'><body>hi</body></message>"
local NOTHING = { handled = 0, unfinished = 0, queued = 0, unread = 0, unread_bytes = 0, unsent = 0, late = false }

local f, conn
local held -- suspended coroutines: if one could be collected, it would be over

local function set(...)
  f, conn = ...
  held = {}
end

local function hang()
  held[#held + 1] = coroutine.running()
  coroutine.yield()
end

local function come(...) stage.come(f, ...) end

-- The result that drain should have: these fields, and 0 for all others.
local function left(fields)
  local all = {}
  for name, value in pairs(NOTHING) do all[name] = value end
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

-- Calls drain in a task; the table that is returned gets its results.
local function drains(timeout, c)
  local got = {}
  xmpp.spawn(function()
    got[1], got[2] = (c or conn):drain(timeout)
    got.done = true
  end)
  fed.settle()
  return got
end

local function check(want, got, layer)
  assert.is_true(got.done, "it has not come to an end")
  assert.same(left(want), got[1])
  assert.equal(layer, got[2] and got[2].layer)
end

local function pass(seconds)
  core.clock(core.clock() + seconds)
  fed.settle()
end

describe("drain", function()
  stage.around(set)

  it("ends the stream at once if nothing is to be done, with the same states as stop", function()
    local states = {}
    conn:on("state", function(state, err) states[#states + 1] = state .. (err and "!" or "") end)
    local got = drains()
    assert.equal(BYE, f:sent())
    assert.equal("closing", conn:state())
    assert.is_nil(got.done)
    f:feed(BYE)
    check(nil, got)
    assert.same({ "closing", "closed" }, states)
    check(nil, drains()) -- the second call gives the same
    local ok, err = conn:send { "presence" }
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
  end)

  it("waits on the main thread, too", function()
    xmpp.spawn(function()
      while conn:state() ~= "closing" do xmpp.sleep(0) end
      core.conn.feed(conn, BYE)
    end)
    local report, err = xmpp.drain(conn, 60)
    check(nil, { report, err, done = true })
  end)

  it("waits for handlers that wait, which may send until they are done; what comes meanwhile is left", function()
    local states = {}
    conn:set_handler(hears("h", function()
      stage.wait()
      assert(conn:send { "message", {}, "answer" })
      note "over"
    end))
    conn:on("state", function(state) states[#states + 1] = state end)
    come(1, 2)
    expect "h1 h2"
    local got = drains()
    come(3)
    assert.equal("ready", conn:state())
    assert(conn:send { "message", {}, "meanwhile" })
    assert.equal("<message>meanwhile</message>", f:sent())
    stage.go()
    expect "over"
    assert.equal("<message>answer</message>", f:sent())
    assert.same({}, states)
    stage.go()
    expect "over"
    assert.equal("<message>answer</message>" .. BYE, f:sent())
    assert.same({ "closing" }, states)
    come(4)
    f:feed(BYE)
    expect ""
    check({ handled = 2, unread = 2, unread_bytes = 2 * SIZE }, got)
  end)

  -- A call of each kind is waiting when drain is called; then it goes on.
  local kinds = {
    handler = function(call) conn:set_handler(call) come(1) end,
    callback = function(call) conn:set_callback(call) come(1) end,
    ["once-callback"] = function(call) conn:set_callback_once(call) come(1) end,
    tap = function(call) conn:tap(call) come(1) end,
    ["response's callback"] = function(call)
      conn:send_callback(stage.request("w"), call)
      f:feed "<iq type='result' id='w' n='1'/>"
    end,
    ["second callback"] = function(call)
      conn:set_callback(function() end)
      conn:set_callback(call)
      come(1)
    end,
  }

  for name, install in pairs(kinds) do
    for _, way in ipairs { "returns", "throws", "is closed", "is collected" } do
      if way ~= "is closed" or rawget(coroutine, "close") then
        it(("waits for a %s that waits, until it %s"):format(name, way), function()
          core.clock(true)
          finally(function() core.clock(false) end)
          local weak = setmetatable({}, { __mode = "v" })
          install(hears("x", function()
            weak.co = coroutine.running()
            if way == "is collected" then coroutine.yield() else stage.wait() end
            if way == "throws" then error("thrown", 0) end
          end))
          expect "x1"
          f:sent()
          local got = drains(60)
          assert.equal("", f:sent())
          fed.settle()
          if way == "is closed" then
            coroutine.close(weak.co) -- luacheck: ignore 143
          elseif way == "is collected" then
            conn:stop_handler()
            for _, cb in ipairs(conn:callbacks()) do conn:unset_callback(cb) end
            for _ = 1, 3 do collectgarbage() end
          else
            stage.go()
          end
          pass(0.1) -- if nothing wakes it
          assert.equal(BYE, f:sent())
          f:feed(BYE)
          if way == "throws" then assert.equal(1, #stage.take_errors()) end
          assert.is_true(got.done)
          assert.is_nil(got[2])
          assert.equal(1, got[1].handled)
        end)
      end
    end
  end

  it("waits for calls that were deferred, and for serial ones of one sender", function()
    conn:set_callback(hears("s", stage.wait), { serial = "from" })
    come(1, 2, 3)
    expect "s1"
    local got = drains()
    come(4)
    stage.go()
    expect "s2"
    stage.go()
    expect "s3"
    assert.equal("", f:sent())
    stage.go()
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    expect ""
    check({ handled = 3, unread = 1, unread_bytes = SIZE }, got)
  end)

  it("gives out what was received, also after the handler that calls it", function()
    conn:set_handler(hears("h", function(stanza)
      if stanza[2].n ~= "1" then return end
      local report, err = conn:drain()
      check({ handled = 2, unread = 1, unread_bytes = SIZE }, { report, err, done = true })
      note "drained"
    end))
    come(1, 2, 3)
    expect "h1 h2 h3"
    assert.equal(BYE, f:sent())
    come(4)
    f:feed(BYE)
    expect "drained"
  end)

  it("doesn't wait for calls that wait for it, but for all others", function()
    local reports = {}
    local function drain() table.insert(reports, (conn:drain())) end
    conn:set_callback(function(stanza)
      if stanza[2].n == "3" then return stage.wait() end
      drain()
      if stanza[2].n == "1" then hang() end
    end, { name = "message" })
    conn:send_callback(stage.request("w"), drain)
    f:sent()
    core.conn.feed(conn, "<iq type='result' id='w'/><message n='1'/><message n='2'/><message n='3'/>")
    fed.settle()
    assert.equal("", f:sent())
    local got = drains()
    stage.go()
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    assert.equal(3, #reports)
    for i = 1, 3 do assert.same(got[1], reports[i]) end
  end)

  it("waits for a handler that calls it in other coroutines", function()
    local got = {}
    conn:set_handler(function()
      coroutine.wrap(function()
        got[1], got[2] = conn:drain()
        got.done = true
      end)()
      stage.wait()
      assert(conn:send { "presence" })
    end)
    come(1)
    assert.equal("", f:sent())
    stage.go()
    assert.equal("<presence/>" .. BYE, f:sent())
    f:feed(BYE)
    assert.is_true(got.done)
    assert.equal(0, got[1].unfinished)
  end)

  it("doesn't wait for a handler whose generator calls it", function()
    local got = {}
    conn:set_handler(function()
      local generator = xmpp.wrap(function() coroutine.yield((conn:drain())) end)
      got[1], got.done = generator(), true
    end)
    come(1)
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    check(nil, got)
  end)

  it("doesn't wait longer than its time for a handler that waits for a drain in another coroutine", function()
    core.clock(true)
    finally(function() core.clock(false) end)
    local p
    conn:set_handler(function()
      p = xmpp.spawn(function() return conn:drain(10) end)
      p:wait()
      note "over"
    end)
    come(1)
    pass(8.9)
    assert.equal("", f:sent())
    pass(0.1)
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    expect "over"
    local report, err = p:wait()
    check({ unfinished = 1, late = true }, { report, err, done = true }, "timeout")
  end)

  it("is cut short by its time, with what is left, and the stream ends in order", function()
    core.clock(true)
    finally(function() core.clock(false) end)
    conn:set_handler(hears("h", hang))
    come(1, 2)
    local got = drains(5)
    come(3)
    pass(4.4)
    assert.equal("", f:sent())
    pass(0.1) -- the last tenth is for the stream's end
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    expect "h1 h2"
    check({ unfinished = 2, late = true, unread = 1, unread_bytes = SIZE }, got, "timeout")
    assert.matches("2 calls of handlers and callbacks had not ended, and 0 stanzas waited for theirs, after 5 seconds",
      got[2].text)
  end)

  it("is cut short where the server doesn't end its stream", function()
    core.clock(true)
    finally(function() core.clock(false) end)
    local got = drains(20)
    assert.equal(BYE, f:sent())
    come(1)
    core.conn.feed(conn, "<message><body>half")
    pass(20)
    check({ late = true, unread = 1, unread_bytes = SIZE + #"<message><body>half" }, got, "closed")
    assert.equal("timeout", got[2].condition)
  end)

  it("with no time ends at once, with the stream's end", function()
    conn:set_handler(hang)
    come(1)
    local report, err = conn:drain(0)
    assert.equal("closed", conn:state())
    assert.equal(BYE, f:sent())
    check({ unfinished = 1, late = true }, { report, err, done = true }, "closed")
  end)

  it("called again ends at the earlier of both times, with the same counts", function()
    core.clock(true)
    finally(function() core.clock(false) end)
    conn:set_handler(hang)
    come(1)
    local all = { drains(1000), drains(20), drains(500) }
    pass(19)
    assert.equal(BYE, f:sent())
    all[4] = drains(0.5) -- while the stream is being ended
    pass(0.5)
    for i = 1, 4 do check({ unfinished = 1, late = true }, all[i], "closed") end
  end)

  it("reads on for a response that a handler waits for, and takes nothing else", function()
    conn:set_handler(hears("h", function()
      local response = assert(conn:send_await(stage.request("w", "bob@xmpp.test/pc")))
      note("got" .. response[2].n)
    end))
    come(1)
    expect "h1"
    f:sent()
    local got = drains()
    come(2)
    f:feed "<iq type='result' id='w' from='eve@xmpp.test/pc' n='3'/><iq type='get' id='q' from='bob@xmpp.test/pc'/>"
    f:feed "<iq type='result' id='w' from='bob@xmpp.test/pc' n='4'/>"
    expect "got4"
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    assert.equal(3, got[1].unread)
    assert.equal(1, got[1].handled)
  end)

  it("reads nothing if nothing waits for a response", function()
    conn:set_handler(function() stage.wait() end)
    come(1)
    local got = drains()
    come(2)
    assert.is_nil(core.conn.drained(conn).unread_bytes > 0 or nil) -- it is still in the socket
    stage.go()
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    check({ handled = 1, unread = 1, unread_bytes = SIZE }, got)
  end)

  it("reports it to the waiter if a response was skipped", function()
    local o = stage.open { jid = "other@xmpp.test/here", max_attributes = 3 }
    o.conn:set_handler(function() note(select(2, o.conn:send_await(stage.request "w")).layer) end)
    o:feed "<message/>"
    local got = drains(nil, o.conn)
    o:feed "<message><a b='1' c='1' d='1' e='1'/></message><iq type='result' id='w'><a b='1' c='1' d='1' e='1'/></iq>"
    expect "limit"
    o:feed(BYE)
    check({ handled = 1, unread = 1, unread_bytes = #"<message><a b='1' c='1' d='1' e='1'/></message>" }, got)
  end)

  it("leaves the receive queue to receive()", function()
    come(1, 2)
    local got = drains()
    f:feed(BYE)
    check({ queued = 2 }, got)
    assert.equal("1", conn:receive()[2].n)
    assert.equal("2", conn:receive()[2].n)
    assert.equal("closed", select(2, conn:receive()).layer)
  end)

  it("gives the queue to a handler that is set meanwhile", function()
    conn:tap(function() stage.wait() end, { name = "presence" })
    come(1, 2)
    f:feed "<presence/>"
    local got = drains()
    conn:set_handler(hears "h")
    fed.settle()
    expect "h1 h2"
    stage.go()
    f:feed(BYE)
    check({ handled = 3 }, got)
  end)

  it("waits for no task, timer or stanza", function()
    local waits = xmpp.spawn(function() return conn:receive_blocking() end)
    fed.settle()
    local got = drains()
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    check(nil, got)
    assert.equal("closed", select(2, waits:wait()).layer)
  end)

  it("ends by stop, wherever that is called", function()
    conn:set_handler(function(stanza)
      if stanza[2].n == "1" then hang() end
      assert.is_true(conn:stop())
      note "stopped"
    end)
    come(1)
    local got = drains()
    assert.equal("", f:sent())
    xmpp.spawn(function() assert.is_true(conn:stop()) end)
    fed.settle()
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    check({ unfinished = 1 }, got)
  end)

  it("ends by stop in a handler, which it waits for", function()
    conn:set_handler(function()
      stage.wait()
      assert.is_true(conn:stop())
      note "stopped"
    end)
    come(1)
    local got = drains()
    stage.go()
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    expect "stopped"
    assert.equal(1, got[1].unfinished) -- its call ended only then
  end)

  it("during stop waits for the end of that, or its own shorter time", function()
    core.clock(true)
    finally(function() core.clock(false) end)
    local stopped = xmpp.spawn(function() return conn:stop(60) end)
    fed.settle()
    local got = drains(10)
    come(1)
    pass(10)
    assert.equal("closed", select(2, stopped:wait()).layer)
    check({ late = true, unread = 1, unread_bytes = SIZE }, got, "closed")
  end)

  it("ends with a connection that breaks, and returns why", function()
    conn:set_handler(hang)
    come(1)
    local got = drains()
    assert(conn:send({ "presence" }, { on = function() end }))
    core.conn.cut(conn)
    fed.settle()
    check({ unfinished = 1, unsent = 1 }, got, "closed")
    assert.equal("EOF", got[2].condition)
  end)

  it("waits for a call that the program resumes itself, though there are others", function()
    conn:set_handler(hang)
    conn:send_callback(stage.request "w", function() end) -- so that it goes on reading
    f:sent()
    come(1, 2)
    local got = drains()
    assert.equal("", f:sent())
    fed.settle()
    coroutine.resume(held[1])
    coroutine.resume(held[2]) -- the call that it waits for
    fed.settle()
    assert.equal(BYE, f:sent())
    f:feed(BYE)
    check({ handled = 2 }, got)
  end)

  it("doesn't wait for a listener that calls it, but for others that wait", function()
    local o, reports = stage.open { jid = "other@xmpp.test/here", max_attributes = 3 }, {}
    o.conn:on("skipped", function() table.insert(reports, (o.conn:drain())) end)
    o.conn:on("skipped", function() stage.wait() end)
    o:feed "<message><a b='1' c='1' d='1' e='1'/></message>"
    assert.equal("", o:sent())
    stage.go()
    assert.equal(BYE, o:sent())
    o:feed(BYE)
    assert.equal(0, reports[1].unfinished)
  end)

  it("isn't collected before it has begun to end the stream", function()
    local known, o = setmetatable({}, { __mode = "v" }), fed.open { jid = "other@xmpp.test/here" }
    known.conn = o.conn
    core.conn.drain(o.conn, 60)
    o = nil
    for _ = 1, 3 do collectgarbage() end
    assert.equal("xmpp.Conn (ready, other@xmpp.test/here)", tostring(known.conn), o)
    fed.settle()
    assert.equal(BYE, core.conn.sent(known.conn))
    core.conn.feed(known.conn, BYE)
    fed.settle()
  end)

  it("goes on if nothing waits for it any more", function()
    conn:set_handler(function() stage.wait() end)
    come(1)
    core.conn.drain(conn, 60)
    fed.settle()
    local known = setmetatable({ conn }, { __mode = "v" })
    stage.go()
    assert.equal(BYE, f:sent())
    assert.equal(conn, known[1])
    f:feed(BYE)
  end)

  it("is refused where it can't wait, and with an invalid time", function()
    refuses("#1 to 'drain' (seconds expected, got string)", function() return (conn:drain "x") end)
    refuses("#1 to 'drain' (seconds expected, got -1)", function() return (conn:drain(-1)) end)
    refuses("bad argument #1 to 'drain' (connection expected, got nil)", function() return (xmpp.drain()) end)
    conn:set_callback(function() table.sort({ 2, 1 }, function() conn:drain() end) end)
    come(1)
    assert.matches("can't wait here", stage.take_errors()[1].text)
    assert.equal("ready", conn:state())
  end)

  it("of a saved connection returns that nothing is left", function()
    local o = stage.open { jid = "other@xmpp.test/here", sm = true, resumable = true }
    o.conn:set_handler(hang)
    o:feed "<enabled xmlns='urn:xmpp:sm:3' id='s' resume='true'/><message/>"
    local got = drains(nil, o.conn)
    assert(core.conn.save(o.conn))
    fed.settle()
    check({ unfinished = 1 }, got)
  end)
end)

describe("drain with stream management", function()
  local t

  before_each(function() t = testing.new { jid = "bot@example.net/test" } end)

  after_each(function() t:finish() end)

  local function waits_for(p)
    return function(stanza)
      if stanza[2].id == "wait" then p:wait() end
      assert(t.conn:send { "message", { to = "anna@example.net", id = stanza[2].id }, { "body", "answer" } })
    end
  end

  local function say(id) t:receive { "message", { from = "anna@example.net/pc", id = id }, { "body", {}, "x" } } end

  -- Calls drain in a task; t:advance turns it.
  local function begin(timeout)
    local got = {}
    xmpp.spawn(function()
      got[1], got[2] = t.conn:drain(timeout)
      got.done = true
    end)
    t:advance(0)
    return got
  end

  it("acknowledges what was handled, and nothing after what wasn't", function()
    local p, bytes = xmpp.promise(), {}
    t.conn:set_handler(waits_for(p))
    say "one"
    t:expect { "message", { id = "one" } }
    say "wait"
    local read = t.server.read
    function t.server.read(server, text) bytes[#bytes + 1] = text return read(server, text) end
    local got = begin()
    say "left"
    p:resolve()
    t:advance(1)
    t:expect { "message", { id = "wait" } }
    t:advance(1)
    check({ handled = 1, unread = 1, unread_bytes = got[1] and got[1].unread_bytes }, got)
    assert.is_true(got[1].unread_bytes > 0)
    local all = table.concat(bytes)
    assert.equal("2", all:match "<a xmlns='urn:xmpp:sm:3' h='(%d+)'/></stream:stream>$", all)
  end)

  it("sends what isn't sent yet when it is connected again, and passes over again what it hadn't taken", function()
    local p = xmpp.promise()
    t.conn:set_handler(waits_for(p))
    say "wait"
    local got = begin(600)
    t.conn:send_callback({ "iq", { type = "get", id = "w" }, { "q", { xmlns = "urn:q" } } }, function() end)
    say "left"
    t:expect({ "iq", { id = "w" } }, false)
    local sessions = t.server.sessions
    t:cut()
    p:resolve()
    t:advance(0)
    t.server.up = true
    t:advance(60)
    t:expect { "message", { id = "wait" } }
    assert.is_true(got.done)
    assert.is_nil(got[2])
    assert.equal(1, got[1].handled)
    assert.equal(1, got[1].unread)
    assert.equal(sessions, t.server.sessions)
  end)

  it("counts anew in a new session", function()
    local p, bytes = xmpp.promise(), {}
    t.conn:set_handler(function()
      p:wait()
      assert(t.conn:send_await { "iq", { type = "get", id = "w" }, { "q", { xmlns = "urn:q" } } })
    end)
    say "wait"
    local got = begin(600)
    t.conn:send_callback({ "iq", { type = "get", id = "v" }, { "q", { xmlns = "urn:q" } } }, function() end)
    t:expect({ "iq", { id = "v" } }, false)
    say "left"
    t.server:cut(false)
    t:advance(5)
    local read = t.server.read
    function t.server.read(server, text) bytes[#bytes + 1] = text return read(server, text) end
    p:resolve()
    t:advance(0)
    t:expect { "iq", { id = "w" } }
    t:advance(1)
    check({ handled = 1 }, got)
    assert.matches("<a xmlns='urn:xmpp:sm:3' h='1'/></stream:stream>$", table.concat(bytes))
  end)
end)

describe("drain of a connection that isn't ready", function()
  it("ends it, and returns that it was stopped before it was ready", function()
    local got = {}
    local there, err = xmpp.connect_component("127.0.0.1", 1, "echo.xmpp.test", "x", { on_open = function(c)
      got[1], got[2] = c:drain()
      got.done = true
    end })
    assert.is_nil(there)
    assert.equal("table", type(err))
    stage.turn_until(function() return got.done end)
    assert.same(left(), got[1])
    assert.equal("closed", got[2].layer)
  end)

  -- Draining while there is no link.
  local function down(opts)
    local t = testing.new { component = "echo.example.net", opts = opts or { reconnect = { min = 300, max = 300 } } }
    finally(function() t:finish() end)
    t:advance(40)
    t:cut(false)
    t:advance(0)
    assert.equal("waiting", t.conn:state())
    return t
  end

  local function begin(t, timeout)
    local got = {}
    xmpp.spawn(function()
      got[1], got[2] = t.conn:drain(timeout)
      got.done = true
    end)
    t:advance(0)
    return got
  end

  it("while it waits to connect again is at once", function()
    check(nil, begin(down()))
  end)

  it("while it waits to connect again connects at once for what is unsent", function()
    local t = down()
    assert(t.conn:send { "message", { to = "anna@example.net" } })
    t.server.up = true
    local got = begin(t)
    t:expect { "message", { to = "anna@example.net" } }
    check(nil, got)
  end)

  it("while it waits to connect again is cut short, with what is unsent", function()
    local t = down()
    assert(t.conn:send({ "message", { to = "anna@example.net" } }, { on = function() end }))
    local got = begin(t, 20)
    t:advance(20)
    check({ unsent = 1, late = true }, got, "closed")
  end)

  it("waits for handlers while there is no link, and dials for their answers", function()
    local t = testing.new { component = "echo.example.net", opts = { reconnect = { min = 300, max = 300 } } }
    finally(function() t:finish() end)
    local p = xmpp.promise()
    t.conn:set_handler(function()
      p:wait()
      assert(t.conn:send { "message", { to = "anna@example.net" } })
    end)
    t:receive { "message", { from = "anna@example.net" } }
    local got = begin(t, 200)
    t:cut(false)
    t:advance(100)
    assert.equal("waiting", t.conn:state())
    p:resolve()
    t.server.up = true
    t:advance(0)
    t:expect { "message", { to = "anna@example.net" } }
    check({ handled = 1 }, got)
  end)
end)
