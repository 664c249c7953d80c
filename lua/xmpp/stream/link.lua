-- link: two connections to Redis, made again whenever they are lost: one for commands, one that has subscribed to a
-- channel (the bell), on which it is published that streams have new entries. Commands are not repeated here: the
-- caller does that, with scripts that may be run twice.

local core = require "xmpp.load"
local options = require "xmpp.redis.options"
local redis = require "xmpp.redis"
local scripts = require "xmpp.stream.scripts"
local xmpp = require "xmpp"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local LEAST, MOST = 0.1, 5 -- seconds between two attempts

local L = {}
L.__index = L

local M = {}

--- state(state, err) is called with "ready", or with "waiting" and the reason; bell(text) with what is published;
--- back() when there is a new connection.
---@param o { redis: xmpp.RedisOpts, channel: string, state: function, bell: function, back: function }
function M.new(o)
  return setmetatable({ o = o, place = options.place(options.complete(o.redis)), asks = false, hears = false,
    closed = false, up = xmpp.promise(), is_up = false, coming = false }, L)
end

local function drop(self)
  local asks, hears = self.asks, self.hears
  self.asks, self.hears = false, false
  if asks then asks:close() end
  if hears then hears:close() end
end

local come_back

-- One of the two connections has ended: the other one is closed as well.
local function on_over(self, err)
  if self.closed or not self.asks then return end
  drop(self)
  if self.is_up then self.up = xmpp.promise() end
  self.is_up = false
  self.o.state("waiting", err)
  if not self.coming then core.spawn(function() come_back(self) end) end
end

local function connect(self)
  local asks, hears, ok, err
  asks, err = redis.connect(self.o.redis)
  if not asks then return nil, err end
  hears, err = redis.connect(self.o.redis)
  if hears then ok, err = hears:subscribe(self.o.channel, self.o.bell) end
  if ok and not self.closed then
    self.asks, self.hears = asks, hears
    asks.on_over = function(why) on_over(self, why) end
    hears.on_over = asks.on_over
    return true
  end
  asks:close()
  if hears then hears:close() end
  return nil, err or self:is_closed()
end

-- A connection may have ended since its first reply.
local function open(self)
  local ok, err = connect(self)
  if not ok then return nil, err end
  self.is_up = true
  self.up:resolve(true)
  err = self.asks:why() or self.hears:why()
  if err then on_over(self, err) end
  return not err, err
end

local function try_again(self)
  local pause = LEAST
  while not self.closed do
    xmpp.sleep(pause * (0.5 + math.random() / 2))
    if self.closed then return false end
    local ok, err = open(self)
    if ok then return true end
    self.o.state("waiting", err)
    pause = math.min(pause * 2, MOST)
  end
end

function come_back(self)
  self.coming = true
  local ok = try_again(self)
  self.coming = false
  if not ok then return end
  self.o.state "ready"
  self.o.back()
end

function L:is_closed()
  return core.error { layer = "closed", condition = "closed", retry = false,
    text = self.place .. ": the connection was closed by stop" }
end

--- Connects for the first time, without trying again.
---@return true?
---@return xmpp.Error?
function L:open()
  return open(self)
end

function L:is_open() return self.is_up end

--- As r:call; nil and an error at once while there is no connection.
function L:call(...)
  if not self.asks then return nil, self.closed and self:is_closed() or redis.gone(self.place) end
  return self.asks:call(...)
end

--- Runs one of the scripts.
---@param name string
---@param keys string[]
---@param arguments (string|number)[]
function L:run(name, keys, arguments)
  local script, words = scripts[name], { #keys }
  for _, key in ipairs(keys) do words[#words + 1] = key end
  for _, argument in ipairs(arguments) do words[#words + 1] = argument end
  local value, err = self:call("EVALSHA", script.sha, unpack(words))
  if err and err.condition == "NOSCRIPT" then value, err = self:call("EVAL", script.text, unpack(words)) end
  return value, err
end

--- Waits until there is a connection; false: there will be none.
---@return boolean
function L:wait()
  local there = self.is_up
  while not there and not self.closed do
    local err
    there, err = self.up:wait()
    if err then return false end
    there = there and self.is_up
  end
  return not self.closed
end

function L:close()
  if self.closed then return end
  self.closed = true
  self.up:resolve(false)
  drop(self)
end

return M
