-- The library on a cqueues controller:
--
--   local cq = cqueues.new()
--   require("xmpp.loop.cqueues").start(cq)
--   cq:wrap(function() local conn = assert(xmpp.connect_client(...)) ... end)
--   assert(cq:loop())

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local driver = require "xmpp.loop.driver"

local M = {}

-- A coroutine of cqueues' is resumed by cqueues alone: it waits for a condition, which is signalled by a coroutine that
-- the library resumes in its place.
local function pause(box, own)
  local _, is_its_own = cqueues.running()
  if not is_its_own then return own(box) end
  local done = condition.new()
  driver.when_done(box, function() done:signal() end)
  cqueues.poll(done)
end

--- Begins to drive the library by a coroutine of the controller, until `:stop()`. Until then `cq:loop()` goes on.
---@param cq table controller, cqueues.new()
---@return xmpp.LoopDriver
function M.start(cq)
  local self = driver.begin("cqueues", pause)
  local descriptor = { pollfd = driver.fd(), events = "r" }
  cq:wrap(function()
    while not self.stopped do
      cqueues.poll(descriptor, driver.timeout())
      if not self.stopped then driver.step() end
    end
  end)
  return self
end

return M
