-- promise: a program's own waiting, by promises and channels: on the main thread, in coroutines, and on other loops
-- (see loops_spec as well).

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local shell = require "spec.support.shell"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local close = rawget(coroutine, "close")
local expect, note, refuses = stage.expect, stage.note, stage.refuses

-- The results of a wait, on one line.
local function show(...)
  local out = {}
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    out[i] = type(v) == "table" and v.layer and v.layer .. "/" .. v.condition or tostring(v)
  end
  return table.concat(out, ",")
end

local function program(source)
  local path = shell.file('local xmpp = require "xmpp"\n' .. source)
  local output = shell.run(shell.HERE .. (os.getenv "LUA" or "lua5.4") .. " " .. path)
  os.remove(path)
  return output
end

local function noting(name, f, ...)
  local n, arguments = select("#", ...), { ... }
  return function() note(name .. "=" .. show(f((table.unpack or unpack)(arguments, 1, n)))) end -- luacheck: ignore
end

-- Is this table with weak values empty after a collection?
local function is_collected(weak)
  collectgarbage()
  collectgarbage()
  return next(weak) == nil
end

describe("a promise", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("can be waited for on the main thread, which turns the loop", function()
    local p = xmpp.promise()
    xmpp.after(0.01, function() p:resolve(1, nil, "three", nil) end)
    assert.equal("1,nil,three,nil", show(p:wait()))
    assert.equal("1,nil,three,nil", show(p:wait()))
    assert.equal("1,nil,three,nil", show(p:wait(0)))
  end)

  it("can be waited for in any number of coroutines, which are resumed in order", function()
    local p = xmpp.promise()
    for i = 1, 5 do xmpp.spawn(noting(i, p.wait, p, i % 2 == 0 and 60 or nil)) end
    fed.settle()
    expect ""
    assert.is_true(p:resolve "x")
    expect "" -- the loop resumes them, not resolve()
    fed.settle()
    expect "1=x 2=x 3=x 4=x 5=x"
    xmpp.spawn(noting("late", p.wait, p))
    fed.settle()
    expect "late=x"
  end)

  it("may resolve to no value, or fail with any reason", function()
    local none, bad, object = xmpp.promise(), xmpp.promise(), {}
    xmpp.spawn(function()
      assert.equal(0, select("#", none:wait()))
      local ok, err = bad:wait()
      assert.is_nil(ok)
      assert.equal(object, err)
      note "told"
    end)
    fed.settle()
    none:resolve()
    bad:reject(object)
    fed.settle()
    expect "told"
    bad = xmpp.promise()
    bad:reject(false)
    assert.equal("nil,false", show(bad:wait()))
  end)

  it("is settled once: later calls are ignored, and return false", function()
    local p = xmpp.promise()
    assert.is_true(p:resolve "first")
    assert.is_false(p:resolve "second")
    assert.is_false(p:reject "third")
    assert.equal("first", show(p:wait()))
    p = xmpp.promise()
    assert.is_true(p:reject "first")
    assert.is_false(p:resolve "second")
    assert.equal("nil,first", show(p:wait()))
  end)

  it("can be waited for with a timeout, and stays pending", function()
    local p = xmpp.promise()
    local ok, err = p:wait(0.01)
    assert.is_nil(ok)
    assert.equal("timeout", err.layer)
    assert.is_true(err.retry)
    assert.truthy(tostring(err):find("gave up waiting for a promise", 1, true))
    xmpp.spawn(noting("short", p.wait, p, 0.01))
    xmpp.spawn(noting("long", p.wait, p, 60))
    xmpp.spawn(noting("none", p.wait, p, math.huge))
    xmpp.sleep(0.05)
    expect "short=nil,timeout/timeout"
    p:resolve(7)
    fed.settle()
    expect "long=7 none=7"
    assert.is_false(core.is_busy())
  end)

  it("may be settled and time out in the same turn", function()
    local p = xmpp.promise()
    xmpp.after(0.01, function() p:resolve "in time" end)
    xmpp.spawn(noting("w", p.wait, p, 0.01))
    local limit = core.now() + 0.05
    while core.now() < limit do end -- luacheck: ignore 542
    fed.settle()
    local heard = stage.heard()
    assert.truthy(heard == "w=in time" or heard == "w=nil,timeout/timeout", heard)
  end)

  it("stays settled even if a timeout passes before the loop turns", function()
    local p = xmpp.promise()
    for i = 1, 3 do xmpp.spawn(noting(i, p.wait, p, i == 1 and 0.01 or nil)) end
    fed.settle()
    p:resolve "x"
    local limit = core.now() + 0.03
    while core.now() < limit do end -- luacheck: ignore 542
    fed.settle()
    expect "1=x 2=x 3=x"
    assert.is_false(core.is_busy())
  end)

  it("that nobody can settle is an error on the main thread, instead of hanging", function()
    local p = xmpp.promise()
    local ok, err = p:wait()
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.equal("nobody-left", err.condition)
    xmpp.spawn(function() xmpp.promise():wait() end)
    xmpp.after(0.01, function() note "timer" end)
    assert.equal("nil,closed/nobody-left", show(p:wait()))
    expect "timer"
    xmpp.spawn(function() p:resolve "after all" end)
    assert.equal("after all", show(p:wait()))
  end)

  it("may be settled by a signal, for which the main thread waits", function()
    local output = program [[
      local p = xmpp.promise()
      xmpp.on_signal("SIGCONT", function(name) p:resolve(name) end)
      os.execute("(sleep 0.2; kill -CONT $PPID) >&- 2>&- &")
      print(p:wait())]]
    assert.equal("SIGCONT\n", output)
  end)

  it("may be settled in a callback that throws, waits or closes the connection, and by a finalizer", function()
    local f = stage.open()
    local p, q, r = xmpp.promise(), xmpp.promise(), xmpp.promise()
    f.conn:set_handler(function()
      p:resolve "p"
      xmpp.sleep(0)
      q:resolve "q"
      core.conn.close(f.conn, 0)
      r:reject "r"
      error "boom"
    end)
    for i, one in ipairs { p, q, r } do xmpp.spawn(noting(i, one.wait, one)) end
    fed.settle()
    stage.come(f, 1)
    expect "1=p 2=q 3=nil,r"
    assert.truthy(stage.take_errors()[1].text:find "boom")
    local last = xmpp.promise()
    local o = newproxy and newproxy(true) or setmetatable({}, { __gc = function() last:resolve "gone" end }) -- luacheck: ignore
    if newproxy then getmetatable(o).__gc = function() last:resolve "gone" end end -- luacheck: ignore
    xmpp.spawn(noting("last", last.wait, last))
    fed.settle()
    o = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    fed.settle()
    expect "last=gone"
  end)

  it("uses no stack in a chain of a thousand that settle each other", function()
    local all = {}
    for i = 1, 1000 do all[i] = xmpp.promise() end
    for i = 1, 999 do
      xmpp.spawn(function() all[i + 1]:resolve(all[i]:wait() + 1) end)
    end
    fed.settle()
    all[1]:resolve(1)
    assert.equal(1000, all[1000]:wait())
  end)

  it("resumes only as many as a step's bound allows", function()
    local p, n = xmpp.promise(), 0
    for _ = 1, 100 do
      xmpp.spawn(function()
        p:wait()
        n = n + 1
      end)
    end
    fed.settle()
    p:resolve()
    core.step(0, 10)
    assert.equal(10, n)
    fed.settle()
    assert.equal(100, n)
  end)

  it("is collected, with its waiting coroutines, when nobody can settle it", function()
    local weak = setmetatable({}, { __mode = "v" })
    local p = xmpp.promise()
    weak[1] = p
    xmpp.spawn(function(q)
      weak[2] = coroutine.running()
      q:wait()
    end, p)
    fed.settle()
    p = nil -- luacheck: ignore
    assert.is_true(is_collected(weak))
    assert.is_false(core.is_busy())
  end)

  it("can't be waited for in code that can't wait", function()
    local f = stage.open()
    local p, said = xmpp.promise(), nil
    f.conn:set_handler(function()
      table.sort({ 1, 2 }, function(a, b)
        said = said or select(2, pcall(p.wait, p))
        return a < b
      end)
    end)
    stage.come(f, 1)
    assert.truthy(said:find("can't wait here", 1, true), said)
    p:resolve "there"
    f.conn:set_handler(function()
      table.sort({ 1, 2 }, function(a, b)
        note(p:wait())
        return a < b
      end)
    end)
    stage.come(f, 1)
    assert.truthy(stage.heard():find "^there")
  end)

  it("can be waited for in a generator", function()
    local p = xmpp.promise()
    xmpp.spawn(function()
      local items = xmpp.wrap(function()
        coroutine.yield "one"
        coroutine.yield(p:wait())
      end)
      note(items())
      note(items())
    end)
    fed.settle()
    expect "one"
    p:resolve "two"
    fed.settle()
    expect "two"
  end)

  luas.it("coroutine.close", "keeps nothing of a wait whose coroutine was closed", function()
    local p, cos, weak = xmpp.promise(), {}, setmetatable({}, { __mode = "v" })
    for i = 1, 3 do
      xmpp.spawn(function()
        cos[i] = coroutine.running()
        weak[i] = cos[i]
        note(i .. "=" .. p:wait(i == 2 and 60 or nil))
      end)
    end
    fed.settle()
    close(cos[2])
    cos[2] = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[2])
    p:resolve "x"
    close(cos[1]) -- it was woken, but hasn't run yet
    fed.settle()
    expect "3=x"
    assert.is_false(core.is_busy())
  end)

  it("has its state in its text form, and hides the rest", function()
    local p = xmpp.promise()
    assert.equal("xmpp.Promise (pending)", tostring(p))
    p:resolve(nil)
    assert.equal("xmpp.Promise (resolved)", tostring(p))
    p = xmpp.promise()
    p:reject "x"
    assert.equal("xmpp.Promise (rejected)", tostring(p))
    assert.equal("string", type(getmetatable(p)))
    assert.is_nil(p.__index)
  end)

  it("raises for wrong arguments", function()
    local p = xmpp.promise()
    refuses("seconds expected, got string", function() p:wait "1" end)
    refuses("bad argument #1 to 'wait' (seconds expected, got -1", function() p:wait(-1) end)
    refuses("seconds expected, got", function() p:wait(0 / 0) end)
    refuses("bad argument #1 to 'reject' (a reason expected, got nil)", function() p:reject() end)
    refuses("promise expected, got nil", function() p.wait() end)
    refuses("promise expected, got table", function() p.resolve({}, 1) end)
    refuses("promise expected, got table", function() p.reject(xmpp.channel(), 1) end)
    assert.equal("xmpp.Promise (pending)", tostring(p))
  end)
end)

describe("spawn", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("returns a promise of what its function returns", function()
    assert.equal("1,nil,3,nil", show(xmpp.spawn(function(...)
      xmpp.sleep(0)
      return ...
    end, 1, nil, 3, nil):wait()))
    assert.equal("", show(xmpp.spawn(function() end):wait()))
    local p = xmpp.spawn(function() return "at once" end)
    fed.settle()
    assert.equal("at once", p:wait())
  end)

  it("passes an error to those that wait, and to nobody else", function()
    local object = {}
    local function throws(wait)
      return function()
        if wait then xmpp.sleep(0) end
        error(object)
      end
    end
    for _, waits in ipairs { false, true } do
      local ok, err = xmpp.spawn(throws(waits)):wait()
      assert.is_nil(ok)
      assert.equal(object, err)
      local p = xmpp.spawn(throws(waits))
      xmpp.spawn(noting("a", p.wait, p))
      if waits then fed.settle() end
    end
    fed.settle()
    stage.heard()
    local told = stage.take_errors() -- reports the one that threw before anything waited for it
    assert.equal(1, #told)
    assert.equal(object, told[1].object)
  end)

  it("passes an error to on_error if nobody waits, and to later waits", function()
    local p = xmpp.spawn(function() error("boom", 0) end)
    xmpp.run()
    local got = stage.take_errors()
    assert.equal(1, #got)
    assert.equal("boom", got[1].object)
    assert.truthy(got[1].text:find("stack traceback", 1, true))
    assert.equal("nil,boom", show(p:wait()))
    local q = xmpp.spawn(error)
    xmpp.run()
    assert.equal(1, #stage.take_errors())
    assert.is_nil((q:wait()))
    assert.truthy(select(2, q:wait()))
  end)

  it("keeps no reference to a task that is gone", function()
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = xmpp.spawn(function()
      weak[2] = coroutine.running()
      coroutine.yield()
    end)
    fed.settle()
    assert.is_true(is_collected(weak))
    weak[1] = xmpp.spawn(function() weak[2] = coroutine.running() end)
    fed.settle()
    assert.is_true(is_collected(weak))
  end)

  luas.it("coroutine.close", "tells waiting tasks that its coroutine was closed by other code", function()
    local co
    local p = xmpp.spawn(function()
      co = coroutine.running()
      coroutine.yield()
    end)
    xmpp.spawn(noting("p", p.wait, p))
    fed.settle()
    close(co)
    fed.settle()
    expect "p=nil,closed/closed"
    p = xmpp.spawn(function()
      co = coroutine.running()
      coroutine.yield()
      error("by a stranger", 0)
    end)
    xmpp.spawn(noting("p", p.wait, p))
    fed.settle()
    coroutine.resume(co)
    close(co)
    fed.settle()
    expect "p=nil,by a stranger"
  end)
end)

describe("a channel", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("passes values in order, to the main thread and to a task", function()
    local c = xmpp.channel(2)
    xmpp.spawn(function()
      for i = 1, 5 do note("put " .. show(c:put(i))) end
      note(tostring(c:close()))
    end)
    for i = 1, 5 do assert.equal(i, c:get()) end
    assert.equal("nil,closed/closed", show(c:get()))
    assert.equal("nil,closed/closed", show(c:get(0)))
    assert.equal("nil,closed/closed", show(c:put(1)))
    assert.is_false(c:close())
    assert.equal(5, select(2, stage.heard():gsub("put true", "")))
  end)

  it("accepts false, and values from the main thread", function()
    local c, got = xmpp.channel(1), {}
    xmpp.spawn(function()
      for i = 1, 4 do got[i] = c:get() end
    end)
    for _, v in ipairs { false, "a", 7, true } do assert.is_true(c:put(v)) end
    fed.settle()
    assert.same({ false, "a", 7, true }, got)
  end)

  it("makes put wait while it is full, and serves the waiting in order", function()
    local c = xmpp.channel(2)
    for i = 1, 5 do xmpp.spawn(function() note(i .. show(c:put(i))) end) end
    fed.settle()
    expect "1true 2true"
    assert.equal(1, c:get())
    xmpp.spawn(function() note(6 .. show(c:put(6))) end) -- after those that already wait
    fed.settle()
    expect "3true"
    for i = 2, 6 do assert.equal(i, c:get()) end
    fed.settle()
    expect "4true 5true 6true"
  end)

  it("serves waiting gets in order", function()
    local c = xmpp.channel()
    for i = 1, 3 do xmpp.spawn(noting(i, c.get, c)) end
    fed.settle()
    c:put "a"
    c:put "b"
    xmpp.spawn(noting(4, c.get, c)) -- doesn't overtake those before it
    c:put "c"
    c:put "d"
    fed.settle()
    expect "1=a 2=b 4=d 3=c"
  end)

  it("of size 0 hands values over directly", function()
    local c = xmpp.channel(0)
    xmpp.spawn(function()
      c:put "a"
      note "put"
      c:put "b"
    end)
    fed.settle()
    expect ""
    assert.equal("a", c:get())
    assert.equal("b", c:get())
    expect "put"
    xmpp.spawn(noting("got", c.get, c))
    fed.settle()
    assert.is_true(c:put "c")
    fed.settle()
    expect "got=c"
    assert.equal("nil,timeout/timeout", show(c:put("d", 0.01)))
    assert.equal("nil,timeout/timeout", show(c:get(0.01)))
  end)

  it("has timeouts; a put that timed out has put nothing", function()
    local c = xmpp.channel(1)
    local _, err = c:get(0.01)
    assert.equal("gave up waiting for a value of a channel", err.text)
    c:put "in"
    _, err = c:put("out", 0.01)
    assert.equal("gave up waiting for room in a channel", err.text)
    xmpp.spawn(noting("short", c.put, c, "short", 0.01))
    xmpp.spawn(noting("long", c.put, c, "long", 60))
    xmpp.sleep(0.05)
    expect "short=nil,timeout/timeout"
    assert.equal("in", c:get())
    assert.equal("long", c:get())
    fed.settle()
    expect "long=true"
    assert.equal("nil,timeout/timeout", show(c:get(0)))
    assert.is_false(core.is_busy())
  end)

  it("that is closed wakes everybody, returns what is left, and refuses puts", function()
    local c, d = xmpp.channel(1), xmpp.channel(1)
    for i = 1, 2 do xmpp.spawn(noting(i, c.get, c)) end
    d:put "in"
    for i = 3, 4 do xmpp.spawn(noting(i, d.put, d, "out")) end
    fed.settle()
    assert.is_true(c:close())
    assert.is_true(d:close())
    fed.settle()
    expect "1=nil,closed/closed 2=nil,closed/closed 3=nil,closed/closed 4=nil,closed/closed"
    assert.equal("in", d:get())
    assert.equal("nil,closed/closed", show(d:get()))
  end)

  it("that nobody else uses is an error on the main thread, instead of hanging", function()
    local c = xmpp.channel(1)
    assert.equal("nil,closed/nobody-left", show(c:get()))
    c:put(1)
    assert.equal("nil,closed/nobody-left", show(c:put(2)))
    assert.equal(1, c:get())
    assert.equal("nil,closed/nobody-left", show(c:get()))
  end)

  it("loses nothing when a wait is interrupted on the main thread", function()
    local c = xmpp.channel(1)
    local step = core.step
    finally(function() core.step = step end)
    core.step = function() error("interrupted!", 0) end -- as Ctrl-C does
    assert.equal("interrupted!", select(2, pcall(c.get, c, 60)))
    core.step = step
    assert.is_false(core.is_busy())
    c:put "kept"
    assert.equal("kept", c:get(0.01))
  end)

  luas.it("coroutine.close", "loses no value if the receiving coroutine is closed", function()
    local c, cos = xmpp.channel(2), {}
    for i = 1, 3 do
      xmpp.spawn(function()
        cos[i] = coroutine.running()
        note(i .. "=" .. show(c:get()))
      end)
    end
    fed.settle()
    close(cos[1])
    c:put "a" -- goes to 2, which is closed before it runs
    close(cos[2])
    fed.settle()
    expect "3=a"
    xmpp.spawn(function()
      cos[1] = coroutine.running()
      c:get()
    end)
    fed.settle()
    c:put "b"
    close(cos[1])
    c:put "c"
    assert.equal("b", c:get())
    c:put "d"
    xmpp.spawn(function()
      cos[1] = coroutine.running()
      c:put "never"
    end)
    fed.settle()
    close(cos[1])
    assert.equal("c", c:get())
    assert.equal("d", c:get())
    assert.equal("nil,timeout/timeout", show(c:get(0)))
    assert.is_false(core.is_busy())
  end)

  it("passes 20,000 values through 100 places", function()
    local c, sum = xmpp.channel(100), 0
    local n = 20000
    xmpp.spawn(function()
      for i = 1, n do c:put(i) end
      c:close()
    end)
    for value in function() return (c:get()) end do sum = sum + value end
    assert.equal(n * (n + 1) / 2, sum)
    local held = 0
    for _ in pairs(c) do held = held + 1 end
    assert.is_true(held < 20)
  end)

  it("raises for wrong arguments", function()
    local c = xmpp.channel(1)
    for _, most in ipairs { -1, 1.5, 0 / 0 } do
      refuses("bad argument #1 to 'channel' (whole number from 0 expected", function() xmpp.channel(most) end)
    end
    refuses("bad argument #1 to 'channel' (whole number expected, got string)", function() xmpp.channel "2" end)
    refuses("bad argument #1 to 'put' (a value expected, got nil)", function() c:put(nil) end)
    refuses("bad argument #2 to 'put' (seconds expected, got -1", function() c:put(1, -1) end)
    refuses("bad argument #1 to 'get' (seconds expected, got table)", function() c:get {} end)
    refuses("channel expected, got nil", function() c.get() end)
    refuses("channel expected, got table", function() c.close(xmpp.promise()) end)
    assert.equal("string", type(getmetatable(c)))
  end)

  it("is loaded on first use", function()
    local output = program [[
      print(package.loaded["xmpp.channel"])
      xmpp.channel()
      print(type(package.loaded["xmpp.channel"]))]]
    assert.equal("nil\ntable\n", output)
  end)
end)
