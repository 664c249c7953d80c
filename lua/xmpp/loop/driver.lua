-- driver: what the adapters to other loops have in common: whose loop it is, and one step at a time.

local core = require "xmpp.load"

local shared = core.shared -- driver: the one that there is, whichever load of this file has begun it
local MOST = 100 -- stanzas in a step, so that the host's own timers and sockets have their turn

local M = {}

---@class xmpp.LoopDriver
---@field stopped boolean
---@field name string of the loop
---@field pause fun(box: table, own: fun(box: table)) what a coroutine waits by
---@field private let_go fun()
local Driver = {}
Driver.__index = Driver

--- Ends it; the loop may be driven by another then, or by `xmpp.run`.
function Driver:stop()
  if self.stopped then return end
  self.stopped = true
  self.let_go()
  shared.driver = nil
  core.on_begun(nil)
  core.ask_again() -- the descriptor becomes readable: who waits for it sees that it is over
end

Driver.__close = Driver.stop -- of a variable to be closed

local function by_own(box, own) own(box) end

--- One driver at a time. One that these files have begun before they were loaded again, as editors do it with a changed
--- program, makes room: nobody may have it any more.
---@param name string of the loop
---@param pause? fun(box: table, own: fun(box: table)) what a coroutine of that loop waits by, until the box is done
--- (see wait.lua); own: what it would wait by otherwise
---@param let_go? fun() called when it ends
---@param begun? fun() called when something has been begun, outside of steps or in one
---@return xmpp.LoopDriver
function M.begin(name, pause, let_go, begun)
  local other = shared.driver
  if other and getmetatable(other) == Driver then
    error(("%s drives the library already: call :stop() on what its start gave"):format(other.name), 3)
  end
  if other then other:stop() end
  shared.driver = setmetatable({ name = name, pause = pause or by_own, stopped = false,
    let_go = let_go or function() end }, Driver)
  core.on_begun(begun)
  return shared.driver
end

--- A step for a host. What it raises, which is only for want of memory, is told like a callback's error, so that the
--- host goes on.
function M.step()
  local ok, why = pcall(core.step, 0, MOST)
  if not ok then core.spawn(function() error(why, 0) end) end
end

--- Has f() called when `box` is done, instead of the coroutine that waits going on: for hosts that resume theirs alone.
---@param box table see wait.lua
---@param f fun()
function M.when_done(box, f)
  box.co = coroutine.create(function()
    coroutine.yield()
    f()
  end)
  coroutine.resume(box.co)
end

--- Seconds until the host must make a step though the descriptor is silent; nil: none.
M.timeout = core.timeout
M.fd = core.fd

--- The descriptor becomes readable.
M.ask_again = core.ask_again

--- Is there a connection, a task or a timer left?
M.is_busy = core.is_busy

--- Is somebody called by a signal?
M.hears_signals = core.hears_signals

return M
