-- channel: a bounded queue between parts of a program: `put` waits while it is full, `get` while it is empty; waiting
-- calls are served in order. Loaded on first use.

local core = require "xmpp.load"
local options = require "xmpp.options"
local waiting = require "xmpp.wait"

local M = {}

---@class xmpp.Channel
local methods = {}
local Channel = { __index = methods, __metatable = "a channel's metatable is its own" }

-- most: how many values it holds; the values are values[first..last]; getters is not empty only while there are no
-- values, putters (each box with its value) only while there is no room.

function M.new(most)
  return setmetatable({ most = most, values = {}, first = 1, last = 0, getters = {}, putters = {}, closed = false },
    Channel)
end

local function check_self(self, name)
  options.check_self(self, Channel.__metatable, "channel", name, 3)
end

local function is_closed()
  return core.error { layer = "closed", condition = "closed", text = "the channel is closed", retry = false }
end

local function add(self, value)
  self.last = self.last + 1
  self.values[self.last] = value
end

-- Passes a value to the getter that has waited longest; false: none waits.
local function hand_over(self, value)
  local getter = self.getters.first
  if not getter then return false end
  waiting.wake(getter)
  getter.value = value
  return true
end

-- The next value, nil if there is none. The value of the putter that has waited longest takes its place.
local function take(self)
  local putter = self.putters.first
  if putter then
    waiting.wake(putter)
    add(self, putter.value)
  end
  if self.first > self.last then return nil end
  local value = self.values[self.first]
  self.values[self.first] = nil
  self.first = self.first + 1
  if self.first > self.last then self.first, self.last = 1, 0 end
  return value
end

-- A getter was abandoned. If it had already been given a value, that goes to the next one.
local function give_back(box)
  local self = box.channel
  waiting.leave(box)
  if box.value == nil or hand_over(self, box.value) then return end
  self.first = self.first - 1
  self.values[self.first] = box.value
end

--- Puts a value in; waits while the queue is full. Not nil, which means that there is no value.
---@param value any
---@param seconds number?
---@return boolean? ok true
---@return xmpp.Error? err layer "timeout" or "closed"; the value is not in the queue
function methods:put(value, seconds)
  check_self(self, "put")
  if value == nil then options.bad_argument(2, "put", "a value expected, got nil", 2) end
  if seconds ~= nil then options.check_seconds(seconds, 3, "put", 2) end
  if self.closed then return nil, is_closed() end
  if hand_over(self, value) then return true end
  if self.last - self.first + 1 < self.most then return add(self, value) or true end
  waiting.check(2)
  local box = waiting.box()
  box.value = value
  local ok, err = waiting.wait_in(self.putters, box, seconds, "room in a channel")
  if not ok then return nil, err end
  if box.refused then return nil, is_closed() end
  return true
end

--- Takes out the oldest value; waits while there is none. Values that are in the queue when it is closed can still be
--- taken.
---@param seconds number?
---@return any value
---@return xmpp.Error? err layer "timeout" or "closed"
function methods:get(seconds)
  check_self(self, "get")
  if seconds ~= nil then options.check_seconds(seconds, 2, "get", 2) end
  local value = take(self)
  if value ~= nil then return value end
  if self.closed then return nil, is_closed() end
  waiting.check(2)
  local box = waiting.box()
  box.channel, box.give_up = self, give_back
  local ok, err = waiting.wait_in(self.getters, box, seconds, "a value of a channel")
  if not ok then return nil, err end
  if box.value == nil then return nil, is_closed() end
  return box.value
end

--- Closes the queue: nothing more can be put in, and all waiting calls return.
---@return boolean whether it was open
function methods:close()
  check_self(self, "close")
  local was_open = not self.closed
  self.closed = true
  while self.getters.first do waiting.wake(self.getters.first) end
  while self.putters.first do
    local putter = self.putters.first
    waiting.wake(putter)
    putter.refused = true
  end
  return was_open
end

return M
