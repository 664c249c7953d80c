-- wait: the rule for everything that waits: in a coroutine it yields, on the main thread it turns the loop.

local core = require "xmpp.load"

local unpack = table.unpack or unpack -- luacheck: ignore 143
local running, yield, resume = coroutine.running, coroutine.yield, coroutine.resume

local can_yield = coroutine.isyieldable or core.can_yield -- Lua 5.1 has no isyieldable

local shared = core.shared

local M = {}

--- Can a function that is called here wait?
function M.can_wait() return not core.is_stepping() or can_yield() end

--- Raises an error if waiting is impossible: a step of the loop is on the stack, and between it and here is something
--- that can't yield.
---@param level integer as for error(); 2: the caller of the caller of this function
function M.check(level)
  if M.can_wait() then return end
  error("can't wait here: a step is being made already, and this can't yield (it was called by a C function, as "
    .. "table.sort and string.gsub are, and in Lua 5.1 pcall, or is no coroutine)", level + 1)
end

--- A box, which the core fills when the awaited event has occurred. All of its slots exist from the start, so that
--- filling it takes no memory: a waiting call continues even if there is none left.
function M.box() return { false, false, n = 0, done = false, co = false } end

-- Abandons a wait: nothing refers to the box any more.
local function give_up(box)
  core.abandon(box)
  if box.give_up then box:give_up() end
end

-- Generators. A coroutine that waits yields to whoever resumes it. A `for` loop over a coroutine of the program's own
-- would take the yielded value for an item. So that value raises an error for any operation, and a coroutine that is
-- resumed repeatedly without a chance of progress gets an error with advice.

local ADVICE = "a generator that waits (send_await, sleep and the like) is made by xmpp.wrap, not by coroutine.wrap"
local MOST_EARLY = 1000 -- resumptions within one turn of the loop, without progress

local waits, refuses = {}, { __metatable = false }
for _, event in ipairs { "index", "newindex", "call", "concat", "len", "unm", "add", "sub", "mul", "div", "mod", "pow",
  "idiv", "band", "bor", "bxor", "bnot", "shl", "shr", "lt", "le", "tostring", "pairs", "ipairs" } do
  refuses["__" .. event] = function() error("this is no item, its generator waits: " .. ADVICE, 2) end
end
setmetatable(waits, refuses)

-- coroutines made by M.wrap -> the box that each waits for, or false
local generators = shared.generators or setmetatable({}, { __mode = "k" })
shared.generators = generators

-- For a generator the caller that runs it waits, by the same rule.
local function wait_in_generator(co, box)
  generators[co] = box
  while not box.done do yield(waits) end
  generators[co] = false
end

local close = rawget(coroutine, "close")

-- resume returned the error e: if the coroutine threw it, closes its variables. Returns e, or the error of that.
local function closed(co, e)
  if not close or coroutine.status(co) ~= "dead" then return e end
  local ok, instead = close(co)
  if ok then return e end
  return instead
end

--- Like coroutine.wrap, for functions that wait between their items: then the caller waits.
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

-- Suspends the running coroutine until `box` is done, or sooner. A host that must resume its coroutines itself has a
-- driver with a function for that (see loop/driver.lua).
local function pause(box)
  local driver = shared.driver
  if driver then driver.pause(box, own_pause) else own_pause() end
end

-- Continues waiting if somebody else resumes the coroutine too early. That does no harm, but if the loop isn't turned
-- in the meantime nothing will ever happen, so it is an error after too many times.
local function pause_until_done(box)
  local turn, early = nil, 0
  pause(box)
  while not box.done do
    if core.turns() ~= turn then turn, early = core.turns(), 0 end
    early = early + 1
    if early > MOST_EARLY then
      box.co = false
      give_up(box)
      error("resumed again and again, though nothing can happen meanwhile: " .. ADVICE, 0)
    end
    pause(box)
  end
end

-- If coroutine.close ends a wait, nothing must be left behind that waits. That takes a to-be-closed variable, for
-- which Lua 5.1 has no syntax, hence `load`.
local load = rawget(_G, "load")
if close and load then
  local Box = { __close = function(box) if not box.done then give_up(box) end end, __metatable = "the library's own" }
  local new_box = M.box
  function M.box() return setmetatable(new_box(), Box) end
  pause_until_done = assert(load [[local wait = ...
    return function(box) local own <close> = box wait(box) end]])(pause_until_done) -- fails only if memory runs out
end

local function wait_in_coroutine(box)
  local co = running()
  if generators[co] ~= nil then return wait_in_generator(co, box) end
  box.co = co
  pause_until_done(box)
end

-- Turns the loop until the box is done. A wait for something that only the program can do is abandoned when none of
-- the program's code can run any more.
local function turn_until_done(box)
  local step = shared.turn or core.step -- a test turns the loop and a clock of its own
  while not box.done and not (box.give_up and not core.is_busy() and not core.hears_signals()) do step(-1) end
end

local function wait_on_main_thread(box)
  local ok, why = pcall(turn_until_done, box)
  if not box.done then give_up(box) end
  core.ask_again()
  if not ok then error(why, 0) end
end

--- Waits until the core has filled `box`, and returns what it has put there.
---@param box table
---@return any ...
function M.wait(box)
  if box.done then return unpack(box, 1, box.n) end
  if can_yield() then wait_in_coroutine(box) else wait_on_main_thread(box) end
  return unpack(box, 1, box.n)
end

-- Lists of boxes: the calls that wait for something that only the program can do, oldest first.

local function leave(box)
  local list, before, behind = box.list, box.before, box.behind
  if not list then return end
  if before then before.behind = behind else list.first = behind end
  if behind then behind.before = before else list.last = before end
  box.list, box.before, box.behind = nil, nil, nil
end

local function enter(list, box)
  local last = list.last
  box.list, box.before, box.give_up = list, last, box.give_up or leave
  if last then last.behind = box else list.first = box end
  list.last = box
end

M.leave = leave

--- The call that waits with `box` continues in the loop's next turn, in the order of these calls. Raises an error if
--- memory runs out, and nothing has changed then.
---@param box table
function M.wake(box)
  core.wake(box)
  leave(box)
  box.woken = true
end

local function failure(box, what)
  if box.done then
    return core.error { layer = "timeout", condition = "timeout", retry = true, text = "gave up waiting for " .. what }
  end
  return core.error { layer = "closed", condition = "nobody-left", retry = false,
    text = ("the main thread would wait for ever for %s: no connection, task or timer is left that could bring it")
      :format(what) }
end

--- Waits in `list` until `wake`.
---@param list { first: table?, last: table? }
---@param box table from M.box(); its method give_up, if it has one, is called instead of `leave`
---@param seconds number?
---@param what string what it waits for, for the error text
---@return boolean? woken
---@return xmpp.Error? err layer "timeout"; or "closed", if nothing could ever wake it
function M.wait_in(list, box, seconds, what)
  if seconds and seconds < math.huge then core.timer(seconds, box) end
  enter(list, box)
  M.wait(box)
  if box.woken then return true end
  leave(box)
  return nil, failure(box, what)
end

return M
