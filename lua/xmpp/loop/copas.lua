-- Runs the library in Copas:
--
--   require("xmpp.loop.copas").start()
--   copas.addthread(function() local conn = assert(xmpp.connect_client(...)) ... end)
--   copas.loop()

local copas = require "copas"
local driver = require "xmpp.loop.driver"

local M = {}

-- For Copas 1, which puts a thread into the queue that it yields. This queue wakes the thread when the box is done;
-- for any other caller that has resumed the thread it means nothing.
local queue = {}
function queue.insert() end
function queue.push(_, box, co)
  -- not resumed by the library itself, which ignores its yields
  driver.when_done(box, function() copas.addthread(co) end)
end

local function pause_in_queue(box)
  coroutine.yield(box, queue)
end

-- Later versions know only their own queues, and identify the thread by the `running` of their pcall (coxpcall, in Lua
-- 5.1).
local function pause_until_woken(box)
  local pcalls = package.loaded.coxpcall
  local co = (pcalls and pcalls.running or coroutine.running)()
  driver.when_done(box, function() copas.wakeup(co) end)
  copas.sleep(-1) -- until wakeup is called
end

local pause = copas.wakeup and pause_until_woken or pause_in_queue

-- An object that Copas accepts as a socket.
local Descriptor = {}
Descriptor.__index = Descriptor
function Descriptor.getfd() return driver.fd() end
function Descriptor.dirty() return false end
function Descriptor.close() end -- called by Copas 1, when its thread ends
function Descriptor:receive()
  self.is_asked = not self.is_asked
  if self.is_asked then return nil, "timeout" end
  return ""
end

local function shorter(a, b)
  if not a or not b then return a or b end
  return math.min(a, b)
end

local IDLE = 0.25 -- seconds

--- Begins to drive the library by `copas.step`, and so by `copas.loop`, until `:stop()`. The descriptor is read only
--- while there is a connection, a task or a timer, so that `copas.loop()` (from Copas 2 on) returns when nothing of
--- the library and of the program is left. If the program listens to a signal, the library also checks for it several
--- times a second.
---@return xmpp.LoopDriver
function M.start()
  local self, step
  local is_watched, is_due = false, false
  local function watch()
    local descriptor = setmetatable({}, Descriptor)
    repeat
      copas.receive(descriptor)
      is_due = true
    until self.stopped or not driver.is_busy()
    is_watched = false
  end
  local function begun()
    if is_watched then return end
    is_watched = true
    copas.addthread(watch)
  end
  local function timeout()
    if is_watched or not driver.hears_signals() then return driver.timeout() end
    return IDLE
  end
  self = driver.begin("Copas", pause, function() copas.step = step end, begun)
  step = copas.step
  if driver.is_busy() then begun() end
  function copas.step(seconds)
    local handled = step(shorter(seconds, timeout()))
    if self.stopped then return handled end
    if is_due or not is_watched or driver.timeout() == 0 then
      is_due = false
      driver.step()
    end
    if is_watched and not driver.is_busy() then driver.ask_again() end -- it is no longer read
    return handled
  end
  return self
end

return M
