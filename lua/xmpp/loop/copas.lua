-- The library in Copas:
--
--   require("xmpp.loop.copas").start()
--   copas.addthread(function() local conn = assert(xmpp.connect_client(...)) ... end)
--   copas.loop()

local copas = require "copas"
local driver = require "xmpp.loop.driver"

local M = {}

-- What Copas takes for the place where a thread waits. To whoever else has resumed it, it means nothing.
local queue = {}
function queue.insert() end
function queue.push(_, box, co)
  driver.when_done(box, function() copas.addthread(co) end) -- not resumed by the library, which ignores its yields
end

local function pause(box)
  coroutine.yield(box, queue)
end

-- What Copas takes for a socket.
local Descriptor = {}
Descriptor.__index = Descriptor
function Descriptor.getfd() return driver.fd() end
function Descriptor.dirty() return false end
function Descriptor:receive()
  self.is_asked = not self.is_asked
  if self.is_asked then return nil, "timeout" end
  return ""
end

local function shorter(a, b)
  if not a or not b then return a or b end
  return math.min(a, b)
end

--- Begins to drive the library by `copas.step`, and so by `copas.loop`, until `:stop()`.
---@return xmpp.LoopDriver
function M.start()
  local step, is_due
  local self = driver.begin("Copas", pause, function() copas.step = step end)
  step, is_due = copas.step, false
  copas.addthread(function()
    local descriptor = setmetatable({}, Descriptor)
    while not self.stopped do
      copas.receive(descriptor)
      is_due = true
    end
  end)
  function copas.step(timeout)
    local handled = step(shorter(timeout, driver.timeout()))
    if not self.stopped and (is_due or driver.timeout() == 0) then
      is_due = false
      driver.step()
    end
    return handled
  end
  return self
end

return M
