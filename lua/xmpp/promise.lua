-- promise: what programs can wait for themselves, and the results of tasks. Loaded when a program uses one.

local core = require "xmpp.load"
local options = require "xmpp.options"
local waiting = require "xmpp.wait"

local unpack = table.unpack or unpack -- luacheck: ignore 143
local close, load = rawget(coroutine, "close"), rawget(_G, "load")

local M = {}

---@class xmpp.Promise
local methods = {}
local Promise = { __index = methods, __metatable = "a promise's metatable is its own" }

local function check_promise(self, name)
  options.check_self(self, Promise.__metatable, "promise", name, 3)
end

-- Settles a promise once; all who wait get values.n of values.
local function settle(self, values)
  if self.values then return false end
  self.values = values
  while self.first do waiting.wake(self.first) end
  return true
end

function methods:resolve(...)
  check_promise(self, "resolve")
  return settle(self, { n = select("#", ...), ... })
end

local function reject(self, err)
  return settle(self, { n = 2, nil, err })
end

function methods:reject(err)
  check_promise(self, "reject")
  if err == nil then options.bad_argument(2, "reject", "a reason expected, got nil", 2) end
  return reject(self, err)
end

function methods:wait(seconds)
  check_promise(self, "wait")
  if seconds ~= nil then options.check_seconds(seconds, 2, "wait", 2) end
  if not self.values then
    waiting.check(2)
    local ok, err = waiting.wait_in(self, waiting.box(), seconds, "a promise")
    if not ok then return nil, err end
  end
  return unpack(self.values, 1, self.values.n)
end

function Promise.__tostring(self)
  local state = "pending"
  if self.values then state = self.values.n == 2 and self.values[1] == nil and "rejected" or "resolved" end
  return "xmpp.Promise (" .. state .. ")"
end

--- A new promise: something that the program itself can wait for; calls of `wait` return when it has been settled.
---@return xmpp.Promise
function M.new() return setmetatable({}, Promise) end

-- The function of a promise's task threw an error: it is passed to those who wait, or to on_error if nobody does.
function Promise.__thrown(self, err)
  local is_awaited = self.first ~= nil
  reject(self, err == nil and "nil" or err)
  return is_awaited
end

-- The promise `p` stays on the stack as long as the call runs.
local function run(p, f, ...)
  core.owned(p)
  return p:resolve(f(...))
end

-- Rejects the promise if the coroutine is closed, or discarded by whoever resumed it.
if close and load then
  local Task = { __close = function(task, err)
    if task.promise.values then return end
    reject(task.promise, err or core.error { layer = "closed", condition = "closed", retry = false,
      text = "the coroutine of this promise's task was closed" })
  end }
  run = assert(load [[local run, Task = ...
    return function(p, ...)
      local task <close> = setmetatable({ promise = p }, Task)
      return run(p, ...)
    end]])(run, Task)
end

--- Runs f(...) in a coroutine of its own.
---@param f function
---@return xmpp.Promise for what it returns
function M.spawn(f, ...)
  local p, n, arguments = M.new(), select("#", ...), { ... }
  core.spawn(function() return run(p, f, unpack(arguments, 1, n)) end)
  return p
end

return M
