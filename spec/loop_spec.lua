-- loop: run, step, tasks, timers, errors, and use with another loop. Without a server, on fed bytes and on sockets of
-- this process.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local shell = require "spec.support.shell"
local socket = require "socket"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

-- Runs a program of its own. Returns what it prints, and its exit status.
local function run(source)
  local path = shell.file(source)
  local output, status = shell.run(shell.HERE .. (os.getenv "LUA" or "lua5.4") .. " " .. path)
  os.remove(path)
  return ("%sstatus %d\n"):format(output, status)
end

local function program(source) return run('local xmpp = require "xmpp"\n' .. source) end

describe("run", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("returns at once when there is nothing to do", function()
    assert.is_true(xmpp.run())
  end)

  it("turns until the last task and the last timer are over", function()
    xmpp.spawn(function()
      xmpp.sleep(0.01)
      note "slept"
      xmpp.spawn(function()
        xmpp.after(0.01, function() note "last" end)
        note "second"
      end)
    end)
    xmpp.run()
    expect "slept second last"
  end)

  it("turns until the last connection has ended", function()
    local f = stage.open()
    f.conn:set_handler(hears "cb")
    xmpp.after(0.01, function() core.conn.feed(f.conn, "<message n='1'/></stream:stream>") end)
    xmpp.run()
    expect "cb1"
    assert.equal("closed", f.conn:state())
  end)

  it("turns while a connection stands, though no task or timer is there", function()
    local conn = stage.open().conn
    coroutine.wrap(function()
      local _, err = conn:send_await({ "iq", { type = "get" } }, 0.02)
      note(err.layer)
      conn:stop(0)
      note(conn:state())
    end)()
    xmpp.run()
    expect "timeout closed"
  end)

  it("does not wait for a coroutine that nobody will resume", function()
    xmpp.spawn(function() coroutine.yield() end)
    xmpp.spawn(function() note "other" end)
    xmpp.run()
    expect "other"
  end)

  it("returns after the turn in which quit was called, and continues when called again", function()
    for i = 1, 3 do
      xmpp.spawn(function()
        note("task" .. i)
        if i == 1 then xmpp.quit() end
      end)
    end
    xmpp.after(0.02, function() note "timer" end)
    xmpp.run()
    expect "task1 task2 task3"
    xmpp.run()
    expect "timer"
  end)

  it("can be left from a callback, and from what it waits for", function()
    local f = stage.open()
    f.conn:set_callback(hears("cb", xmpp.quit))
    f.conn:set_handler()
    core.conn.feed(f.conn, "<message n='1'/>")
    xmpp.run()
    expect "cb1"
    xmpp.spawn(function()
      xmpp.sleep(0)
      xmpp.quit()
    end)
    xmpp.run()
    assert.equal("ready", f.conn:state())
  end)

  it("returns at once after a quit that came while the main thread waited for something else", function()
    xmpp.spawn(xmpp.quit)
    xmpp.sleep(0.01)
    local timer = xmpp.after(1000, error)
    assert.is_true(xmpp.run())
    xmpp.after(0.01, xmpp.quit) -- the earlier quit has no effect any more
    xmpp.after(0.005, function() note "turned" end)
    assert.is_true(xmpp.run())
    expect "turned"
    timer:cancel()
    xmpp.spawn(xmpp.quit) -- during connect's own turns
    assert.is_nil((xmpp.connect_client("a@x.test", "x", "127.0.0.1", 1, { timeout = 5 })))
    timer = xmpp.after(1000, error)
    assert.is_true(xmpp.run())
    timer:cancel()
  end)

  it("returns when the server has closed the stream; stop then returns the reason", function()
    local f = stage.open { jid = stage.ME }
    f.conn:set_handler(function() end)
    xmpp.spawn(function() core.conn.feed(f.conn, "</stream:stream>") end)
    assert.is_true(xmpp.run())
    for _ = 1, 2 do
      local ok, err = f.conn:stop()
      assert.is_nil(ok)
      assert.same({ "closed", "closed-by-server" }, { err.layer, err.condition })
    end
  end)

  it("is refused in tasks, timers and coroutines inside them, without losing anything", function()
    local function attempt()
      refuses("a step is being made already", function() xmpp.run() end)
      refuses("a step is being made already", function() xmpp.step() end)
      note "refused"
    end
    xmpp.spawn(attempt)
    xmpp.after(0, attempt)
    xmpp.spawn(function() coroutine.wrap(attempt)() end)
    xmpp.after(0.01, function() note "after" end)
    xmpp.run()
    expect "refused refused refused after"
  end)
end)

describe("step", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("returns how many stanzas were dispatched", function()
    local f = stage.open()
    f.conn:set_handler(hears "cb")
    assert.equal(0, xmpp.step())
    core.conn.feed(f.conn, "<message n='1'/><message n='2'/><message n='3'/>")
    assert.equal(3, xmpp.step())
    assert.equal(0, xmpp.step(0))
    f.conn:stop_handler()
    core.conn.feed(f.conn, "<message n='4'/>")
    assert.equal(1, xmpp.step())
    expect "cb1 cb2 cb3"
  end)

  it("dispatches no more stanzas than asked for", function()
    local f, g = stage.open(), stage.open()
    f.conn:set_handler(hears "f")
    g.conn:set_handler(hears "g")
    core.conn.feed(f.conn, "<message n='1'/><message n='2'/><message n='3'/>")
    core.conn.feed(g.conn, "<message n='1'/><message n='2'/>")
    local counts = {}
    for i = 1, 5 do
      counts[i] = xmpp.step(0, 1)
      assert.equal(i < 5 and 0 or xmpp.timeout(), xmpp.timeout())
    end
    assert.same({ 1, 1, 1, 1, 1 }, counts)
    local text = stage.heard()
    assert.truthy(text:find("f1.*f2.*f3"), text)
    assert.truthy(text:find("g1.*g2"), text)
    assert.truthy(text:find("g1.*f3"), "one connection has kept the other waiting: " .. text)
    assert.equal(0, xmpp.step(0, 1))
  end)

  it("serves each connection, even if one has very many stanzas", function()
    local f, g = stage.open(), stage.open()
    local n = 0
    f.conn:set_handler(function() n = n + 1 end)
    g.conn:set_handler(function() note("after" .. (n < 1000 and "some" or "all")) end)
    core.conn.feed(f.conn, ("<message/>"):rep(1000))
    core.conn.feed(g.conn, "<message/>")
    fed.settle()
    expect "aftersome"
    assert.equal(1000, n)
  end)

  it("waits for a timer, at most for the given time", function()
    xmpp.after(0.02, function() note "timer" end)
    while core.is_busy() do xmpp.step(20) end
    expect "timer"
    xmpp.after(1000, function() end):cancel()
    local timer = xmpp.after(1000, function() end)
    assert.equal(0, xmpp.step(0.001))
    assert.equal(0, xmpp.step(0))
    timer:cancel()
  end)

  it("with a negative time waits until something happens", function()
    xmpp.after(0.02, function() note "timer" end)
    while core.is_busy() do xmpp.step(-1) end
    expect "timer"
  end)

  it("refuses invalid times and counts", function()
    refuses("number expected, got string", function() xmpp.step("x") end)
    refuses("seconds expected, got nan", function() xmpp.step(0 / 0) end)
    refuses("at least 1 expected", function() xmpp.step(0, 0) end)
    refuses("number expected, got table", function() xmpp.step(0, {}) end)
  end)

  it("ends even if tasks start tasks forever and cancel due timers", function()
    local n, timer = 0, nil
    local function again()
      n = n + 1
      if timer then timer:cancel() end
      timer = nil
      if n < 1000 then xmpp.spawn(again) end
    end
    xmpp.spawn(again)
    timer = xmpp.after(0, function() note "never" end)
    core.step(0) -- both are due
    assert.truthy(n < 5, n)
    stage.turn_until(function() return n == 1000 end)
    expect ""
  end)
end)

describe("spawn", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("calls in the next turn, in order, in a coroutine, with the arguments", function()
    local main = coroutine.running()
    local got
    xmpp.spawn(function(...)
      got = { n = select("#", ...), ... }
      assert.are_not.equal(main, coroutine.running())
      note "first"
    end, nil, 1, nil, "x", nil)
    xmpp.spawn(function(...) note("second" .. select("#", ...)) end)
    xmpp.spawn(note, "third")
    expect ""
    xmpp.run()
    expect "first second0 third"
    assert.same({ n = 5, nil, 1, nil, "x", nil }, got)
  end)

  it("inside a task begins in the next step", function()
    xmpp.spawn(function()
      xmpp.spawn(function() note "inner" end)
      note "outer"
    end)
    core.step(0)
    expect "outer"
    core.step(0)
    expect "inner"
  end)

  it("reports errors to on_error, at once or later", function()
    xmpp.spawn(function() error "at once" end)
    xmpp.spawn(function()
      xmpp.sleep(0)
      error "later"
    end)
    xmpp.run()
    local got = stage.take_errors()
    assert.equal(2, #got)
    assert.truthy(got[1].text:find("^spec/loop_spec.lua:%d+: at once\nstack traceback:"), got[1].text)
    assert.truthy(got[2].text:find("^spec/loop_spec.lua:%d+: later\nstack traceback:"), got[2].text)
  end)

  it("accepts only a function", function()
    refuses("bad argument #1 to 'spawn' (function expected, got nil)", function() xmpp.spawn() end)
    refuses("bad argument #1 to 'spawn' (function expected, got thread)",
      function() xmpp.spawn(coroutine.create(function() end)) end)
  end)
end)

describe("sleep", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("lets other tasks run, and wakes in the order of time", function()
    for _, n in ipairs { 3, 1, 2 } do
      xmpp.spawn(function()
        xmpp.sleep(n / 50)
        note("slept" .. n)
      end)
    end
    xmpp.run()
    expect "slept1 slept2 slept3"
  end)

  it("of 0 seconds gives other tasks a turn", function()
    for _, name in ipairs { "a", "b" } do
      xmpp.spawn(function()
        for i = 1, 3 do
          note(name .. i)
          xmpp.sleep(0)
        end
      end)
    end
    xmpp.run()
    assert.truthy(stage.heard():find("a1.*b1.*a2.*b2.*a3.*b3"))
  end)

  it("on the main thread turns the loop, and returns nothing", function()
    xmpp.after(0.01, function() note "timer" end)
    assert.equal(0, select("#", xmpp.sleep(0.03)))
    expect "timer"
  end)

  it("works in the program's own coroutine, which the loop resumes", function()
    local co = coroutine.create(function()
      xmpp.sleep(0)
      note "slept"
      return "unheard"
    end)
    assert.is_true(coroutine.resume(co))
    assert.equal("suspended", coroutine.status(co))
    xmpp.run()
    expect "slept"
    assert.equal("dead", coroutine.status(co))
  end)

  it("accepts only seconds", function()
    refuses("bad argument #1 to 'sleep' (seconds expected, got nil)", function() xmpp.sleep() end)
    refuses("bad argument #1 to 'sleep' (seconds expected, got -1)", function() xmpp.sleep(-1) end)
    refuses("bad argument #1 to 'sleep' (seconds expected, got ", function() xmpp.sleep(0 / 0) end)
    refuses("bad argument #1 to 'sleep' (seconds expected, got string)", function() xmpp.sleep("1") end)
  end)
end)

describe("after", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("calls once, without arguments, in a coroutine, in the order of time, then of creation", function()
    for _, n in ipairs { 0.02, 0, 0.01 } do
      for _, name in ipairs { "a", "b" } do
        xmpp.after(n, function(...) note(name .. n .. "." .. select("#", ...)) end)
      end
    end
    xmpp.after(0, function()
      xmpp.sleep(0.04)
      note "slept"
    end)
    xmpp.run()
    expect "a0.0 b0.0 a0.01.0 b0.01.0 a0.02.0 b0.02.0 slept"
  end)

  it("is cancelled once, before it is called", function()
    local timer = xmpp.after(0.01, function() note "never" end)
    assert.is_true(timer:cancel())
    assert.is_false(timer:cancel())
    local over = xmpp.after(0, function() note "called" end)
    xmpp.run()
    expect "called"
    assert.is_false(over:cancel())
  end)

  it("that has fired or was cancelled never cancels a later one in its memory", function()
    local old, new = {}, {}
    for i = 1, 1000 do old[i] = xmpp.after(1000, error) end
    for i = 1, 1000 do assert.is_true(old[i]:cancel()) end
    for i = 1, 1000 do new[i] = xmpp.after(1000, error) end
    for i = 1, 1000 do assert.is_false(old[i]:cancel()) end
    for i = 1, 1000 do assert.is_true(new[i]:cancel()) end
  end)

  it("can't cancel itself any more, but another that is due in the same turn", function()
    local first, second
    first = xmpp.after(0, function()
      assert.is_false(first:cancel())
      assert.is_true(second:cancel())
      note "first"
    end)
    second = xmpp.after(0, function() note "never" end)
    xmpp.after(0, function() note "third" end)
    xmpp.run()
    expect "first third"
  end)

  it("fires even if nothing refers to it; a cancelled one frees its function", function()
    xmpp.after(0.01, function() note "called" end)
    collectgarbage()
    collectgarbage()
    local weak = setmetatable({ xmpp.after }, { __mode = "v" })
    local timer
    do
      local f = function() return timer, weak end
      weak[2] = f
      timer = xmpp.after(1000, f)
    end
    timer:cancel()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[2])
    xmpp.run()
    expect "called"
  end)

  it("never fires with an infinite time", function()
    local timer = xmpp.after(math.huge, function() note "never" end)
    core.step(0)
    assert.is_nil(xmpp.timeout())
    assert.is_true(timer:cancel())
  end)

  it("reports errors to on_error", function()
    xmpp.after(0, function() error({}) end)
    xmpp.after(0, function() note "next" end)
    xmpp.run()
    assert.is_table(stage.take_errors()[1].object)
    expect "next"
  end)

  it("accepts only seconds and a function", function()
    refuses("bad argument #1 to 'after' (seconds expected, got nil)", function() xmpp.after(nil, print) end)
    refuses("bad argument #1 to 'after' (seconds expected, got -1)", function() xmpp.after(-1, print) end)
    refuses("bad argument #2 to 'after' (function expected, got nil)", function() xmpp.after(1) end)
    local timer = xmpp.after(0, print)
    refuses("bad argument #1 to 'cancel'", function() timer.cancel({}) end)
    timer:cancel()
  end)
end)

describe("every", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("calls again and again, until it is cancelled by itself", function()
    local timer
    local n = 0
    timer = xmpp.every(0.001, function(...)
      n = n + 1
      note(n .. "." .. select("#", ...))
      if n == 4 then assert.is_true(timer:cancel()) end
    end)
    xmpp.run()
    expect "1.0 2.0 3.0 4.0"
    assert.is_false(timer:cancel())
  end)

  it("continues after an error, and never runs twice at once", function()
    local timer
    local n, at_once, most = 0, 0, 0
    timer = xmpp.every(0, function()
      n = n + 1
      if n == 1 then error "boom" end
      at_once = at_once + 1
      most = math.max(most, at_once)
      xmpp.sleep(0.02)
      at_once = at_once - 1
      if n >= 4 then timer:cancel() end
    end)
    xmpp.run()
    assert.same({ 4, 1 }, { n, most })
    assert.equal(1, #stage.take_errors())
  end)

  luas.it("coroutine.close", "continues when the coroutine of a call is closed", function()
    local timer, first
    local n = 0
    timer = xmpp.every(0.001, function()
      n = n + 1
      if n == 3 then timer:cancel() end
      first = first or coroutine.running()
      coroutine.yield()
    end)
    stage.turn_until(function() return n == 1 end)
    xmpp.sleep(0.01)
    assert.equal(1, n)
    rawget(coroutine, "close")(first)
    stage.turn_until(function() return n == 2 end)
    timer:cancel()
  end)

  it("can be cancelled while a call is due", function()
    local timer
    xmpp.after(0, function() timer:cancel() end)
    timer = xmpp.every(0, function() note "never" end)
    xmpp.sleep(0.005) -- in the main thread: both are due, the first is called first
    expect ""
  end)

  it("accepts only seconds and a function", function()
    refuses("bad argument #1 to 'every' (seconds expected, got string)", function() xmpp.every("1", print) end)
    refuses("bad argument #2 to 'every' (function expected, got table)", function() xmpp.every(1, {}) end)
  end)
end)

describe("wrap", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  local function count_slowly(n)
    for i = 1, n do
      xmpp.sleep(0.001)
      coroutine.yield(i, "of " .. n)
    end
    return nil
  end

  local function sum(generator, ...)
    local total, i, text = 0, generator(...)
    while i do
      assert.equal("of 3", text)
      total = total + i
      i, text = generator()
    end
    return total
  end

  it("makes a generator that waits between its items: on the main thread, in tasks, in one of its own kind", function()
    assert.equal(6, sum(xmpp.wrap(count_slowly), 3))
    xmpp.spawn(function() note("task" .. sum(xmpp.wrap(count_slowly), 3)) end)
    xmpp.spawn(function()
      local outer = xmpp.wrap(function()
        local inner = xmpp.wrap(count_slowly)
        for _ = 1, 3 do
          coroutine.yield((inner(3)))
          xmpp.sleep(0.001)
        end
      end)
      local one, two, three = outer(), outer(), outer()
      local last = outer()
      note("nested" .. one .. two .. three .. tostring(last))
    end)
    xmpp.run()
    expect "task6 nested123nil"
  end)

  if luas.has("yields across pcall", "a for that asks a generator waits in a task") then
    it("works in a for loop in a task", function()
      xmpp.spawn(function()
        for i in xmpp.wrap(function() count_slowly(3) end) do note("item" .. i) end
      end)
      xmpp.run()
      expect "item1 item2 item3"
    end)
  end

  it("passes arguments and errors as coroutine.wrap does", function()
    local g = xmpp.wrap(function(a, b)
      local c = coroutine.yield(a + b)
      xmpp.sleep(0)
      error { c }
    end)
    assert.equal(3, g(1, 2))
    local ok, why = pcall(g, "arg")
    assert.is_false(ok)
    assert.same({ "arg" }, why)
    ok, why = pcall(g)
    assert.is_false(ok)
    assert.matches("dead coroutine", why)
    refuses("bad argument #1 to 'wrap' (function expected, got nil)", function() xmpp.wrap() end)
    g = xmpp.wrap(function() g() end)
    ok, why = pcall(g)
    assert.is_false(ok)
    assert.matches("cannot resume", why)
  end)

  luas.it("variables to be closed", "closes its variables when it throws, as coroutine.wrap does", function()
    local make = luas.load [[local thrown, closing, sleep = ...
      return function()
        local v <close> = setmetatable({}, { __close = closing })
        sleep(0)
        error(thrown, 0)
      end]]
    for _, wrap in ipairs { xmpp.wrap, coroutine.wrap } do
      local sleep = wrap == xmpp.wrap and xmpp.sleep or function() end
      assert.same({ false, "first" }, { pcall(wrap(make("first", function(_, e) note(e) end, sleep))) })
      assert.same({ false, "second" }, { pcall(wrap(make("first", function() error("second", 0) end, sleep))) })
      expect "first"
    end
  end)

  it("is named in the error when a coroutine.wrap generator has waited and its item is used", function()
    for _, use in ipairs { function(x) return x + 1 end, function(x) return x.field end, function(x) return x .. "" end,
      tostring, function(x) x.field = 1 end, function(x) return x() end, function(x) return x < x end } do
      local item
      local g = coroutine.wrap(function()
        xmpp.sleep(0)
        coroutine.yield(1)
      end)
      item = g()
      local ok, why = pcall(use, item)
      assert.is_false(ok)
      assert.matches("this is no item, its generator waits: .*xmpp%.wrap", why)
    end
    xmpp.run()
  end)

  it("is named in the error when a coroutine.wrap generator is called too often", function()
    local function ask()
      local n = 0
      for _ in coroutine.wrap(function() count_slowly(3) end) do n = n + 1 end
      return n
    end
    local ok, why = pcall(ask)
    assert.is_false(ok)
    assert.matches("made by xmpp.wrap, not by coroutine.wrap", why, 1, true)
    xmpp.spawn(ask)
    xmpp.run()
    assert.matches("made by xmpp.wrap, not by coroutine.wrap", stage.take_errors()[1].text, 1, true)
  end)

  it("isn't needed by a program that resumes the waiting coroutine in each turn", function()
    local co = coroutine.create(function()
      xmpp.sleep(0.02)
      note "slept"
    end)
    while coroutine.status(co) ~= "dead" do
      coroutine.resume(co)
      core.step(0)
    end
    expect "slept"
  end)
end)

describe("a variable to be closed", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  local function load_and_run(source, ...)
    return assert(luas.load(source))(...)
  end

  luas.it("variables to be closed", "stops a connection, in a task and on the main thread", function()
    local f = stage.open()
    xmpp.spawn(function()
      load_and_run("local conn <close> = ...", f.conn)
      note("then " .. f.conn:state())
    end)
    core.step(0)
    assert.equal("closing", f.conn:state())
    f:feed "</stream:stream>"
    expect "then closed"
    local g = stage.open()
    xmpp.after(0.01, function() core.conn.feed(g.conn, "</stream:stream>") end)
    load_and_run("local conn <close> = ...", g.conn)
    assert.equal("closed", g.conn:state())
  end)

  luas.it("variables to be closed", "stops a connection when an error is thrown in code that can't wait", function()
    local f = stage.open()
    xmpp.spawn(function()
      table.sort({ 1, 2 }, function()
        load_and_run("local conn <close> = ...; error 'thrown'", f.conn)
      end)
    end)
    core.step(0)
    assert.equal(1, #stage.take_errors())
    assert.equal("closing", f.conn:state())
    f:feed "</stream:stream>"
    assert.equal("closed", f.conn:state())
  end)

  luas.it("variables to be closed", "cancels a timer", function()
    load_and_run("local timer <close> = ...", xmpp.after(0, function() note "never" end))
    load_and_run("local timer <close> = ...", xmpp.every(0, function() note "never" end))
    xmpp.run()
    expect ""
  end)
end)

describe("every", function()
  it("continues when its function returns values", function()
    local n, co, timer = 0, nil, nil
    timer = xmpp.every(0.001, function()
      co = coroutine.running()
      n = n + 1
      if n == 3 then timer:cancel() end
      return "something", n
    end)
    local limit = xmpp.after(10, function() timer:cancel() end)
    stage.turn_until(function() return n == 3 end)
    limit:cancel()
    assert.equal("dead", coroutine.status(co))
  end)
end)

describe("on_error", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("gets the text with its traceback, and the object", function()
    local got
    xmpp.on_error(function(...) got = { n = select("#", ...), ... } end)
    local object = setmetatable({}, { __tostring = function() return "the text" end })
    xmpp.spawn(function() error(object) end)
    xmpp.run()
    assert.equal(3, got.n)
    assert.truthy(got[1]:find("^the text\nstack traceback:\n"), got[1])
    assert.equal(object, got[2])
    assert.equal("task", got[3].what)
  end)

  it("returns the previous handler", function()
    local one, other = function() end, function() end
    local before = xmpp.on_error(one)
    assert.equal("function", type(before))
    assert.equal(one, xmpp.on_error(other))
    assert.equal(other, xmpp.on_error(nil))
    assert.is_nil(xmpp.on_error(before))
  end)

  -- `whose` of the one error that on_error was called with.
  local function whose()
    fed.settle()
    local got = stage.take_errors()
    assert.equal(1, #got)
    return got[1].whose
  end

  local function boom() error "boom" end

  local function boom_later(...)
    stage.wait()
    error("boom " .. select("#", ...))
  end

  it("gets what failed (task, timer) and its function, at once and after a wait", function()
    for _, f in ipairs { boom, boom_later } do
      xmpp.after(0, f)
      fed.settle()
      if f == boom_later then stage.go() end
      assert.same({ what = "timer", func = f }, stage.take_errors()[1].whose)
    end
    xmpp.spawn(boom)
    assert.equal("task", whose().what)
  end)

  local function to_each(f, n)
    f:feed("<message from='bob@xmpp.test/pc' id='" .. n .. "'><body>hi</body></message>")
  end

  for name, set in pairs {
    handler = function(conn, f) conn:set_handler(f) end,
    callback = function(conn, f)
      conn:set_handler()
      conn:set_callback(f)
    end,
  } do
    it(("gets the connection, the stanza and the function of a failing %s"):format(name), function()
      local f = stage.open()
      -- The first call that waits, later ones, and one whose arguments are gone when it raises.
      for n, act in ipairs { boom, boom_later, boom_later, function() boom_later() end, boom } do
        local function call(stanza, ...) return act(stanza, ...) end
        if n == 4 then call = act end
        set(f.conn, call)
        to_each(f, n)
        if n > 1 and n < 5 then
          collectgarbage()
          stage.go()
        end
        local got = stage.take_errors()
        assert.equal(1, #got, n)
        assert.equal(name, got[1].whose.what)
        assert.equal(f.conn, got[1].whose.conn)
        assert.equal(tostring(n), got[1].whose.stanza[2].id)
        assert.equal(call, got[1].whose.func)
        if name == "callback" then f.conn:unset_callback(call) end
      end
    end)
  end

  it("gets the same for response callbacks, listeners and send's on", function()
    local f = stage.open()
    f.conn:send_callback({ "iq", { type = "get", id = "a", to = "x.test" } }, boom)
    f:feed "<iq type='result' id='a' from='x.test'/>"
    local got = stage.take_errors()[1].whose
    assert.equal("response a", got.what .. " " .. got.stanza[2].id)
    assert.equal(f.conn, got.conn)
    assert.equal(boom, got.func)
    f.conn:send_callback({ "iq", { type = "get", id = "b", to = "x.test" } }, boom, 0)
    stage.turn_until(function()
      got = stage.take_errors()[1]
      return got
    end)
    assert.same({ "response", f.conn, boom }, { got.whose.what, got.whose.conn, got.whose.func })
    assert.is_nil(got.whose.stanza)
    f.conn:on("state", boom)
    f.conn:send({ "message", { id = "m" } }, { on = boom })
    f:feed "</stream:stream>"
    local whats = {}
    for _, e in ipairs(stage.take_errors()) do
      whats[#whats + 1] = e.whose.what
      assert.equal(f.conn, e.whose.conn)
      assert.equal(boom, e.whose.func)
    end
    table.sort(whats)
    assert.equal("receipt", whats[1])
    assert.equal("state", whats[#whats])
  end)

  it("gets events that have no listener", function()
    local f = stage.open { jid = stage.ME, max_attributes = 1 }
    f:feed "<message id='s'><body a='1' b='2'/></message>"
    local got = stage.take_errors()[1]
    assert.equal("skipped", got.whose.what)
    assert.equal(f.conn, got.whose.conn)
    assert.is_nil(got.whose.func)
  end)

  it("keeps no reference to a call whose coroutine is gone", function()
    local f = stage.open()
    local kept = setmetatable({}, { __mode = "v" })
    f.conn:set_handler(function(stanza)
      kept[1], kept[2] = stanza, coroutine.running()
      coroutine.yield()
    end)
    to_each(f, 1)
    collectgarbage()
    collectgarbage()
    assert.is_nil(kept[1])
    assert.is_nil(kept[2])
  end)

  it("accepts only a function or nil", function()
    refuses("function expected, got string", function() xmpp.on_error("x") end)
    refuses("function expected, got table", function() xmpp.on_error({}) end)
  end)

  it("is stderr by default, and again after nil", function()
    assert.equal(([[
xmpp: error in a callback: boom
stack traceback:
x
xmpp: error in a callback: %s
stack traceback:
ended
status 0
]]):format(tostring(luas.thrown(nil))), (program([[
      local heard
      xmpp.spawn(function() error("boom", 0) end)
      xmpp.run()
      xmpp.on_error(function() io.stderr:write "x\n" end)
      xmpp.spawn(error)
      xmpp.run()
      xmpp.on_error()
      xmpp.spawn(error)
      xmpp.run()
      io.stderr:write "ended\n"]]):gsub("\t[^\n]*\n", "")))
  end)

  it("that throws or waits is reported on stderr, and ends nothing", function()
    local output = program([[
      xmpp.on_error(function() error("again", 0) end)
      xmpp.spawn(function() error("boom", 0) end)
      xmpp.run()
      xmpp.on_error(function() error(setmetatable({}, { __tostring = error })) end)
      xmpp.spawn(function() error("boom", 0) end)
      xmpp.run()
      xmpp.on_error(function() xmpp.sleep(0) end)
      xmpp.spawn(function() error("boom", 0) end)
      xmpp.run()
      print "ended"]])
    local lines = {}
    for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(5, #lines, output)
    local text = "xmpp: xmpp.on_error could not be told (%s) of an error in a callback: boom"
    assert.equal(text:format "again", lines[1])
    assert.equal(text:format "(error object is a table value)", lines[2])
    assert.truthy(lines[3]:find("a step is being made already", 1, true), output)
    assert.truthy(output:find("ended\nstatus 0\n$"), output)
  end)

  it("gets the error when nested callbacks exhaust the C stack", function()
    local output = program([[
      local fed = require "spec.support.fed"
      local f = fed.open { jid = "me@xmpp.test/here" }
      f.conn:set_callback(function(...) xmpp.default_handler(...) end)
      f.conn:set_handler()
      f:feed "<message/>"
      print(f.conn:state(), #f.conn:callbacks())]])
    assert.truthy(output:find("C stack overflow", 1, true), output)
    assert.truthy(output:find("ready\t1\nstatus 0\n$"), output)
  end)
end)

describe("the end of the program", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  -- Objects that were made before the library was loaded are finalized after it.
  it("makes functions called in finalizers raise that the library is closed", function()
    local said = run [[
      local calls = {}
      local function finalizer()
        for _, call in ipairs(calls) do
          local ok, why = pcall(call[2])
          print(call[1], ok and "ok" or (why:gsub("^[^ ]*:%d+: ", "")))
        end
      end
      local newproxy = rawget(_G, "newproxy")
      older = newproxy and newproxy(true) or setmetatable({}, { __gc = finalizer })
      if newproxy then getmetatable(older).__gc = finalizer end
      local xmpp = require "xmpp"
      local conn = require("spec.support.fed").open { jid = "me@xmpp.test/here" }.conn
      local timer = xmpp.after(1000, print)
      local function call(name, f) calls[#calls + 1] = { name, f } end
      call("after", function() xmpp.after(1, print) end)
      call("every", function() xmpp.every(1, print) end)
      call("spawn", function() xmpp.spawn(print) end)
      call("sleep", function() xmpp.sleep(0) end)
      call("step", xmpp.step)
      call("run", xmpp.run)
      call("fd", xmpp.fd)
      call("timeout", xmpp.timeout)
      call("id", xmpp.id)
      call("forget", xmpp.forget)
      call("connect_client", function() xmpp.connect_client("a@b.test", "x", "127.0.0.1") end)
      call("connect_component", function() xmpp.connect_component("127.0.0.1", 1, "a.b.test", "x") end)
      call("default_handler", function() xmpp.default_handler({ "iq", { type = "get", id = "1" } }, conn) end)
      call("on_signal", function() xmpp.on_signal("SIGTERM", print) end)
      call("wrap", function() xmpp.wrap(function() xmpp.sleep(0) end)() end)
      call("to_xml", function() xmpp.xexpr.to_xml { "a" } end)
      call("contract", function() xmpp.contract.stanza { "message" } end)
      for _, name in ipairs { "send", "send_callback", "send_await", "receive", "receive_blocking", "set_handler",
        "stop_handler", "handler", "set_callback", "set_callback_once", "unset_callback", "callbacks", "state",
        "info", "pending", "flush", "stop", "drain", "probe", "on", "save", "ping", "jid" } do
        local arguments = { send = { { "message" } }, send_callback = { { "iq", { type = "get" } }, print },
          send_await = { { "iq", { type = "get" } } }, set_callback = { print }, set_callback_once = { print },
          unset_callback = { print }, on = { "state", print } }
        call("conn:" .. name, function() conn[name](conn, (table.unpack or unpack)(arguments[name] or {})) end)
      end
      call("jid", function() assert(xmpp.jid "a@b.test" == xmpp.jid "a@b.test") end)
      call("from_xml", function() assert(xmpp.xexpr.from_xml "<a/>") end)
      call("on_error", function() xmpp.on_error(nil) end)
      call("is_connection", function() assert(xmpp.is_connection(conn)) end)
      call("tostring", function() assert(tostring(conn) == "xmpp.Conn (collected)") end)
      call("cancel", function() assert(timer:cancel() == false) end)
      call("is_jid", function() assert(xmpp.is_jid(xmpp.jid "a@b.test")) end)
      call("quit", xmpp.quit)
      call("require", function()
        package.loaded["xmpp.core"] = nil
        require("xmpp.core").fd()
      end)]]
    local CLOSED = "the Lua state is being closed, and xmpp is closed already"
    local fine, refused = {}, 0
    for name, why in said:gmatch "([%w:_]+)\t([^\n]*)\n" do
      if why == "ok" then fine[#fine + 1] = name
      elseif why == CLOSED or why == "this connection has been collected" then refused = refused + 1
      else error(name .. ": " .. why) end
    end
    assert.equal("default_handler jid from_xml on_error is_connection tostring cancel is_jid quit",
      table.concat(fine, " "), said)
    assert.equal(40, refused, said)
    assert.truthy(said:find("status 0\n$"), said)
  end)

  it("discards everything that still waits, without a message", function()
    local quick = "os.exit(_VERSION == 'Lua 5.1' and 0 or true, true)"
    for _, exit in ipairs { "", quick, "f = nil collectgarbage() collectgarbage()" } do
      assert.equal("waits\nstatus 0\n", program([[
        local fed = require "spec.support.fed"
        local f = fed.open { jid = "me@xmpp.test/here" }
        local g = fed.open { jid = "me@xmpp.test/there" }
        f.conn:set_callback(function() coroutine.yield() end)
        f.conn:set_callback_once(function(_, c) c:send_await { "iq", { type = "get" } } end)
        f.conn:set_callback(function() xmpp.sleep(5) end)
        f.conn:set_callback(function(stanza) xmpp.set_handler(g.conn, function() return f, stanza end) end)
        f.conn:set_handler()
        f:feed "<iq type='get' id='q1' from='bob@xmpp.test'/>"
        f:feed "<iq type='set' id='q2' from='bob@xmpp.test'/>"
        coroutine.wrap(function() g.conn:receive_blocking() end)()
        coroutine.wrap(function() g.conn:stop() end)()
        local function nothing() end
        g.conn:send_callback({ "iq", { type = "get" } }, nothing)
        xmpp.every(0, nothing)
        xmpp.spawn(nothing)
        late = setmetatable({}, { __gc = function()
          pcall(xmpp.step)
          pcall(xmpp.send, g.conn, { "message" })
          pcall(xmpp.spawn, nothing)
        end })
        print "waits"
      ]] .. exit))
    end
  end)
end)

-- A component's server on a socket of this process: it answers what it knows, as soon as those bytes have come.
local Server = {}
Server.__index = Server

local function serve()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  return setmetatable({ listener = listener, port = tonumber(port), got = "" }, Server)
end

local ANSWERS = {
  { "<stream:stream[^>]*>", "<stream:stream xmlns='jabber:component:accept' id='s1' from='echo.xmpp.test' "
    .. "xmlns:stream='http://etherx.jabber.org/streams'>" },
  { "<handshake>%x+</handshake>", "<handshake/>" },
  { "<iq [^>]*id='a1'.-</iq>", "<iq type='result' id='a1' from='bob@xmpp.test' to='echo.xmpp.test'/>" },
  { "</stream:stream>", "</stream:stream>" },
}

function Server:answer()
  if not self.peer then
    self.peer = assert(self.listener:accept())
    self.peer:settimeout(0)
  end
  local bytes, _, part = self.peer:receive(65536)
  self.got = self.got .. (bytes or part or "")
  for _, answer in ipairs(ANSWERS) do
    local _, to = self.got:find(answer[1])
    if to then
      self.got = self.got:sub(to + 1)
      assert(self.peer:send(answer[2]))
    end
  end
end

function Server:close()
  if self.peer then self.peer:close() end
  self.listener:close()
end

describe("a foreign event loop", function()
  local server

  before_each(function()
    stage.begin()
    server = serve()
  end)

  after_each(function()
    server:close()
    stage.finish()
  end)

  -- Waits for the library's descriptor, its timeout and the server's socket; steps only when the library wants it.
  local function drive(done)
    local library = { getfd = xmpp.fd, dirty = function() return false end }
    local steps, limit = 0, os.time() + 20
    while not done() do
      assert.truthy(os.time() < limit, "20 seconds have passed")
      local other = server.peer or server.listener
      local readable = socket.select({ library, other }, nil, math.min(xmpp.timeout() or 1, 1))
      if readable[other] then server:answer() end
      if readable[library] or xmpp.timeout() == 0 then
        xmpp.step(0)
        steps = steps + 1
      end
    end
    return steps
  end

  it("drives a connection from login to the end", function()
    local conn, over
    xmpp.spawn(function()
      conn = assert(xmpp.connect_component("127.0.0.1", server.port, "echo.xmpp.test", "secret"))
      local response = assert(conn:send_await { "iq", { type = "get", id = "a1", to = "bob@xmpp.test" }, { "q" } })
      note(response[2].id)
      xmpp.sleep(0.01)
      note "slept"
      note(tostring(conn:stop()))
      over = true
    end)
    local steps = drive(function() return over end)
    expect "a1 slept true"
    assert.equal("closed", conn:state())
    assert.truthy(steps < 500, steps) -- no busy waiting
  end)

  it("learns from fd and timeout what to wait for", function()
    assert.equal("number", type(xmpp.fd()))
    assert.equal(xmpp.fd(), xmpp.fd())
    assert.is_nil(xmpp.timeout())
    xmpp.spawn(function() end)
    assert.equal(0, xmpp.timeout())
    xmpp.step()
    assert.is_nil(xmpp.timeout())
    local timer = xmpp.after(100, function() end)
    assert.truthy(xmpp.timeout() > 50 and xmpp.timeout() <= 100)
    local sooner = xmpp.after(10, function() end)
    assert.truthy(xmpp.timeout() > 5 and xmpp.timeout() <= 10)
    sooner:cancel()
    assert.truthy(xmpp.timeout() > 50)
    timer:cancel()
    assert.is_nil(xmpp.timeout())
    local f = stage.open()
    assert.truthy(xmpp.timeout() == nil or xmpp.timeout() > 0)
    core.conn.feed(f.conn, "<message/>")
    assert.equal(0, xmpp.timeout())
    fed.settle()
    assert.truthy(xmpp.timeout() == nil or xmpp.timeout() > 0)
  end)

  it("may send from outside of steps: the answer wakes it", function()
    local conn
    xmpp.spawn(function()
      conn = assert(xmpp.connect_component("127.0.0.1", server.port, "echo.xmpp.test", "secret"))
    end)
    drive(function() return conn end)
    local answered
    conn:send_callback({ "iq", { type = "get", id = "a1", to = "bob@xmpp.test" }, { "q", {} } },
      function(response) answered = response end)
    drive(function() return answered end)
    local ended
    coroutine.wrap(function() ended = conn:stop() end)()
    drive(function() return ended end)
    assert.is_true(ended)
  end)
end)
