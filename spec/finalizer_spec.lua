-- finalizer: what a finalizer may do in the middle of the library's functions, wherever the collector runs it; and
-- cases whose errors go unnoticed elsewhere: a log function that sends, a __close that throws, a coroutine that is
-- closed, a burst of timers.
local core = require "xmpp.core"
local luas = require "spec.support.luas"
local shell = require "spec.support.shell"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"
local SHARE = os.getenv "PRELOAD" and 5 or 1

describe("A finalizer's call in the middle of", function()
  local lines, status, stderr = {}, nil, nil

  setup(function()
    local text
    local path = os.tmpname()
    text, status = shell.run(("%s%s spec/support/finalizers.lua %d 2>%s"):format(shell.HERE, LUA, SHARE, path))
    stderr = shell.read(path)
    os.remove(path)
    for ok, outer, inner, said in text:gmatch "([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\t([^\n]*)" do
      lines[#lines + 1] = { ok = ok == "ok", outer = outer, inner = inner, said = said }
    end
  end)

  it("any function takes effect before it or after it", function()
    local runs, wrong = 0, {}
    for _, line in ipairs(lines) do
      runs = runs + (tonumber(line.said) or 0)
      if not line.ok then wrong[#wrong + 1] = ("%s, %s: %s"):format(line.outer, line.inner, line.said) end
    end
    assert.equal("", table.concat(wrong, "\n"))
    assert.equal("", stderr)
    assert.equal(0, status)
    assert.equal(SHARE == 1 and 42 * 22 or 462, #lines)
    assert.is_true(runs > (SHARE == 1 and 1000 or 200), runs)
  end)
end)

describe("A log function", function()
  it("that sends gets that in its next call, and its own send returns", function()
    stage.begin()
    local told, f = 0, nil
    f = stage.open { jid = stage.ME, log = function(direction)
      if direction == "in" then return end
      told = told + 1
      if told > 50 then error "it never ends" end
      f.conn:send { "message", { n = told } }
    end }
    assert.is_true(f.conn:send { "message", { n = "0" } })
    assert.equal(1, told)
    core.step(0)
    assert.is_true(told >= 2 and told < 10, told)
    f.conn:set_handler(function() end)
    assert.equal("<message n='0'/><message n='1'/>", f:sent():sub(1, 32))
    assert.same({}, stage.take_errors())
    stage.close(f)
    told = 1000
    pcall(core.step, 0)
    stage.take_errors()
    stage.finish()
  end)
end)

describe("An error", function()
  local f, conn
  stage.around(function(...) f, conn = ... end)

  local function texts()
    local all = {}
    for _, e in ipairs(stage.take_errors()) do all[#all + 1] = e.text:match "^[^\n]*" end
    return table.concat(all, ", ")
  end

  luas.it("variables to be closed", "that a __close throws while another unwinds is reported, too", function()
    local make = luas.load [[
      local what, of = ...
      return function()
        local a <close> = setmetatable({}, { __close = function(_, e)
          if what == "error" then error("closing", 0) end
          if what == "same" then error(e, 0) end
          if what == "wait" then of() end
        end })
        error("first", 0)
      end]]
    for _, row in ipairs { { "error", "first, closing" }, { "same", "first" }, { "none", "first" } } do
      conn:set_callback(make(row[1]))
      conn:set_handler()
      f:feed "<message/>"
      assert.equal(row[2], texts())
      for _, cb in ipairs(conn:callbacks()) do conn:unset_callback(cb) end
    end
    conn:set_callback(make("wait", function() xmpp.sleep(0) end))
    f:feed "<message/>"
    assert.truthy(texts():find("^first, .*can't wait here"))
  end)

  luas.it("coroutine.close", "or the closing of a waiting callback answers its iq at once", function()
    local co
    conn:set_callback(function()
      co = coroutine.running()
      xmpp.sleep(1000)
    end)
    conn:set_handler()
    f:feed "<iq type='get' id='q' from='bob@xmpp.test/pc'><x xmlns='urn:x'/></iq>"
    assert.equal("", f:sent())
    assert.is_true(rawget(coroutine, "close")(co))
    assert.truthy(f:sent():find("<service-unavailable", 1, true))
    assert.is_true(core.timeout() == nil or core.timeout() < 900)
  end)
end)

-- Counted in the table of waiters, which is in the registry under a light userdata.
describe("A burst of timers", function()
  it("that are due can be cancelled, the last first", function()
    local timers, done, others = {}, false, 0
    for i = 1, 50000 do
      timers[i] = xmpp.after(0, function()
        if done then others = others + 1 return end
        for k = #timers, 3, -1 do timers[k]:cancel() end
        done = true
        xmpp.spawn(function() others = others + 10 end) -- comes after the one that is left
      end)
    end
    for _ = 1, 100 do xmpp.step(0.001) end
    assert.equal(11, others)
  end)

  local function waiting()
    local most = 0
    for key, value in pairs(debug.getregistry()) do
      if type(key) == "userdata" and type(value) == "table" then
        local n = 0
        for _ in pairs(value) do n = n + 1 end
        most = math.max(most, n)
      end
    end
    return most
  end

  for title, others in pairs { ["of which nobody is left"] = 0, ["of which a few are left"] = 3 } do
    it(title .. " gives its memory back", function()
      stage.begin()
      local kept, timers = {}, {}
      for i = 1, others do kept[i] = xmpp.after(1000, print) end
      collectgarbage()
      collectgarbage()
      local before = collectgarbage "count"
      for i = 1, 40000 do timers[i] = xmpp.after(1000, print) end
      assert.is_true(waiting() >= 40000)
      for i = 1, 40000 do timers[i]:cancel() end
      timers = nil -- luacheck: ignore 311
      xmpp.after(1000, print):cancel()
      for _ = 1, 5 do collectgarbage() end
      assert.is_true(waiting() < 100, waiting())
      assert.is_true(collectgarbage "count" - before < 200, collectgarbage "count" - before)
      for i = 1, others do assert.is_true(kept[i]:cancel()) end
      stage.finish()
    end)
  end

  it("leaves earlier entries valid: what waits is still known, and Jids are the same", function()
    stage.begin()
    local p, jid, told, timers = xmpp.promise(), xmpp.jid "alice@xmpp.test/here", nil, {}
    local function throws()
      p:wait()
      error "here"
    end
    local before = core.on_error(function(_, _, whose) told = whose end)
    xmpp.after(0, throws)
    core.step(0)
    for i = 1, 40000 do timers[i] = xmpp.after(1000, print) end
    for i = 1, 40000 do timers[i]:cancel() end
    timers = nil -- luacheck: ignore 311
    for _ = 1, 3 do collectgarbage() end
    p:resolve()
    repeat core.step(0) until told
    core.on_error(before)
    assert.same({ "timer", throws }, { told.what, told.func })
    assert.is_true(rawequal(jid, xmpp.jid "alice@xmpp.test/here"))
    stage.finish()
  end)
end)
