-- driver: what the adapters to other event loops have in common: which loop is driving, and single steps.

local core = require "xmpp.load"

local shared = core.shared -- driver: the present one, even if an earlier copy of this file has started it
local MOST = 100 -- stanzas in one step, so that the host's own timers and sockets get their turn

local M = {}

---@class xmpp.LoopDriver
---@field stopped boolean
---@field name string of the loop
---@field pause fun(box: table, own: fun(box: table)) how a coroutine waits
---@field private let_go fun()
local Driver = {}
Driver.__index = Driver

--- Ends it; after that another loop, or `xmpp.run`, may drive the library.
function Driver:stop()
  if self.stopped then return end
  self.stopped = true
  self.let_go()
  shared.driver = nil
  core.on_begun(nil)
  core.ask_again() -- makes the descriptor readable: whoever waits for it notices the end
end

Driver.__close = Driver.stop -- for a to-be-closed variable

local function by_own(box, own) own(box) end

--- Starts the driver; there is one at a time. If an earlier copy of these files has started one (editors reload a
--- changed program), that is stopped, since nothing can refer to it any more.
---@param name string of the loop
---@param pause? fun(box: table, own: fun(box: table)) how a coroutine of that loop waits until the box is done (see
--- wait.lua); own: how it would wait otherwise
---@param let_go? fun() called when it ends
---@param begun? fun() called when something was started, in a step or outside of one
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

--- One step for a host. An error that it raises, which only happens if memory runs out, is reported like a callback's,
--- so that the host continues.
function M.step()
  local ok, why = pcall(core.step, 0, MOST)
  if not ok then core.spawn(function() error(why, 0) end) end
end

--- Calls f() when `box` is done, instead of resuming the waiting coroutine: for hosts that resume their coroutines
--- themselves.
---@param box table see wait.lua
---@param f fun()
function M.when_done(box, f)
  box.co = coroutine.create(function()
    coroutine.yield()
    f()
  end)
  coroutine.resume(box.co)
end

--- Seconds until the host must make a step even if the descriptor isn't readable; nil: none is needed.
M.timeout = core.timeout
M.fd = core.fd

--- Makes the descriptor readable.
M.ask_again = core.ask_again

--- Is there a connection, a task or a timer left?
M.is_busy = core.is_busy

--- Does the program listen to a signal?
M.hears_signals = core.hears_signals

return M
