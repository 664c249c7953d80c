-- wait: the one rule for everything that waits: in a coroutine it yields, on the main thread it turns the loop.

local core = require "xmpp.load"

local unpack = table.unpack or unpack -- luacheck: ignore 143
local running, yield, resume = coroutine.running, coroutine.yield, coroutine.resume

local can_yield = coroutine.isyieldable or core.can_yield -- Lua 5.1 has none of its own

local shared = core.shared

local M = {}

--- Can what is called here wait?
function M.can_wait() return not core.is_stepping() or can_yield() end

--- Raises where waiting is impossible: a step is on the stack, and between it and here something that can't yield.
---@param level integer 2: at who called the caller of this
function M.check(level)
  if M.can_wait() then return end
  error("can't wait here: a step is being made already, and this can't yield (it was called by a C function, as "
    .. "table.sort and string.gsub are, and in Lua 5.1 pcall, or is no coroutine)", level + 1)
end

--- What the core fills when it has come true. All of its slots are there from the start, so that filling it takes no
--- memory: who waits is told even when there is none left.
function M.box() return { false, false, n = 0, done = false, co = false } end

-- Generators. What a coroutine yields while it waits is for who resumes it by the rules; a `for` that runs a coroutine
-- of its own takes it for an item. So it is something that nothing can be done with, and a coroutine that is resumed on
-- and on while nothing can happen says why.

local ADVICE = "a generator that waits (send_await, sleep and the like) is made by xmpp.wrap, not by coroutine.wrap"
local MOST_EARLY = 1000 -- resumptions in one turn of the loop, for nothing

local waits, refuses = {}, { __metatable = false }
for _, event in ipairs { "index", "newindex", "call", "concat", "len", "unm", "add", "sub", "mul", "div", "mod", "pow",
  "idiv", "band", "bor", "bxor", "bnot", "shl", "shr", "lt", "le", "tostring", "pairs", "ipairs" } do
  refuses["__" .. event] = function() error("this is no item, its generator waits: " .. ADVICE, 2) end
end
setmetatable(waits, refuses)

-- Those of M.wrap: coroutine -> the box that it waits for, or false.
local generators = shared.generators or setmetatable({}, { __mode = "k" })
shared.generators = generators

-- In the place of its generator waits who runs it, by the same rule.
local function wait_in_generator(co, box)
  generators[co] = box
  while not box.done do yield(waits) end
  generators[co] = false
end

local close = rawget(coroutine, "close")

-- resume gave the error e: if the coroutine has thrown it, its variables are closed -> e, or what that threw instead.
local function closed(co, e)
  if not close or coroutine.status(co) ~= "dead" then return e end
  local ok, instead = close(co)
  if ok then return e end
  return instead
end

--- As coroutine.wrap, for functions that wait between their items: then the caller waits.
---@param f function
---@return function
function M.wrap(f)
  local co = coroutine.create(f)
  local function pass(ok, ...)
    if not ok then error(closed(co, ...), 0) end
    if not generators[co] then return ... end
    M.check(3)
    M.wait(generators[co])
    return pass(resume(co))
  end
  generators[co] = false
  return function(...) return pass(resume(co, ...)) end
end

local function own_pause() yield(waits) end

-- Suspends the running coroutine until `box` is done, or sooner. A host whose coroutines are resumed by nobody but
-- itself has a driver with another (see loop/driver.lua).
local function pause(box)
  local driver = shared.driver
  if driver then driver.pause(box, own_pause) else own_pause() end
end

-- Resumed by somebody else while nothing has come: that does no harm, but where the loop can't turn meanwhile nothing
-- ever will come.
local function pause_until_done(box)
  local turn, early = nil, 0
  pause(box)
  while not box.done do
    if core.turns() ~= turn then turn, early = core.turns(), 0 end
    early = early + 1
    if early > MOST_EARLY then
      box.co = false
      error("resumed again and again, though nothing can happen meanwhile: " .. ADVICE, 0)
    end
    pause(box)
  end
end

-- Where coroutine.close can end a wait, nothing is to be left behind that waits. That takes a to-be-closed variable,
-- for which Lua 5.1 has no syntax.
local load = rawget(_G, "load")
if close and load then
  local Box = { __close = core.abandon, __metatable = "the library's own" }
  local new_box = M.box
  function M.box() return setmetatable(new_box(), Box) end
  pause_until_done = load [[local wait = ...
    return function(box) local own <close> = box wait(box) end]](pause_until_done)
end

local function wait_in_coroutine(box)
  local co = running()
  if generators[co] ~= nil then return wait_in_generator(co, box) end
  box.co = co
  pause_until_done(box)
end

--- Waits until the core has filled `box`, and gives what it put there.
---@param box table
---@return any ...
function M.wait(box)
  if box.done then return unpack(box, 1, box.n) end
  if can_yield() then
    wait_in_coroutine(box)
  else
    while not box.done do core.step(-1) end
    core.ask_again()
  end
  return unpack(box, 1, box.n)
end

return M
