-- driver: what the adapters to other loops have in common: one step at a time, and whose loop it is.

local core = require "xmpp.load"
local waiting = require "xmpp.wait"

local MOST = 100 -- stanzas in a step, so that the host's own timers and sockets have their turn

local M = {}

--- One driver at a time.
---@param name string of the loop
function M.begin(name)
  if waiting.host then
    error(("%s drives the library already: call :stop() on what its start gave"):format(waiting.host), 3)
  end
  waiting.host = name
end

function M.finish()
  waiting.host = nil
  core.ask_again() -- the descriptor becomes readable: who waits for it sees that it is over
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

return M
