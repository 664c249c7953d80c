-- Runs the library on a cqueues controller:
--
--   local cq = cqueues.new()
--   require("xmpp.loop.cqueues").start(cq)
--   cq:wrap(function() local conn = assert(xmpp.connect_client(...)) ... end)
--   assert(cq:loop())

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local driver = require "xmpp.loop.driver"

local M = {}

-- A coroutine of cqueues may only be resumed by cqueues: it waits for a condition, which is signalled by a coroutine
-- that the library resumes in its place.
local function pause(box, own)
  local _, is_its_own = cqueues.running()
  if not is_its_own then return own(box) end
  local done = condition.new()
  driver.when_done(box, function() done:signal() end)
  cqueues.poll(done)
end

local IDLE = 0.25 -- seconds

--- Begins to drive the library by a coroutine of the controller, until `:stop()`. The coroutine exists only while
--- there is a connection, a task or a timer, so that `cq:loop()` returns when nothing of the library and of the
--- program is left. If the program listens to a signal, the coroutine stays as long as there are others, for which it
--- checks several times a second.
---@param cq table controller, cqueues.new()
---@return xmpp.LoopDriver
function M.start(cq)
  local self
  local descriptor, is_driven = { pollfd = driver.fd(), events = "r" }, false
  local function timeout()
    if driver.is_busy() then return driver.timeout() end
    return IDLE
  end
  local function drive()
    repeat
      cqueues.poll(descriptor, timeout())
      if not self.stopped then driver.step() end
    until self.stopped or not (driver.is_busy() or (driver.hears_signals() and cq:count() > 1))
    is_driven = false
  end
  local function begun()
    if is_driven then return end
    is_driven = true
    cq:wrap(drive)
  end
  self = driver.begin("cqueues", pause, nil, begun)
  if driver.is_busy() or driver.hears_signals() then begun() end
  return self
end

return M
