-- wait: the one rule for everything that waits: in a coroutine it yields, on the main thread it turns the loop.

local core = require "xmpp.load"

local unpack = table.unpack or unpack -- luacheck: ignore 143
local running, yield = coroutine.running, coroutine.yield

local can_yield = coroutine.isyieldable or core.can_yield -- Lua 5.1 has none of its own

local shared = core.shared

local M = {}

--- Raises where waiting is impossible: a step is on the stack, and between it and here something that can't yield.
---@param level integer 2: at who called the caller of this
function M.check(level)
  if not core.is_stepping() or can_yield() then return end
  error("can't wait here: a step is being made already, and this can't yield (it was called by a C function, as "
    .. "table.sort and string.gsub are, and in Lua 5.1 pcall, or is no coroutine)", level + 1)
end

--- What the core fills when it has come true. All of its slots are there from the start, so that filling it takes no
--- memory: who waits is told even when there is none left.
function M.box() return { false, false, n = 0, done = false, co = false } end

-- Suspends the running coroutine until `box` is done, or sooner. A host whose coroutines are resumed by nobody but
-- itself has a driver with another (see loop/driver.lua).
local function pause(box)
  local driver = shared.driver
  if driver then driver.pause(box, yield) else yield(box) end
end

--- Waits until the core has filled `box`, and gives what it put there. Who else resumes the coroutine meanwhile does no
--- harm: it yields again.
---@param box table
---@return any ...
function M.wait(box)
  if can_yield() then
    box.co = running()
    while not box.done do pause(box) end
  else
    while not box.done do core.step(-1) end
    core.ask_again()
  end
  return unpack(box, 1, box.n)
end

return M
