-- farm: what intake and worker have in common: the names of what is in Redis, who we are there, the link and the seats,
-- and what is told of them.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local links = require "xmpp.stream.link"
local seats = require "xmpp.stream.seats"
local readers = require "xmpp.stream.reader"

local M = {}

-- A new name for each process: what an earlier one held is not taken for its own.
local function consumer_of(o)
  return ("%s.%s"):format(o.consumer or "p", core.id():gsub("[^%w]", ""))
end

local function numbered(prefix, n)
  local list = {}
  for i = 0, n - 1 do list[i + 1] = ("%s:%d"):format(prefix, i) end
  return list
end

-- Seconds without an obstacle after which "ready" is told. Whatever is tried again is tried within less.
local CALM = 3

local function tell_state(self, state, err)
  if self.o.on_state then return guard.go(self.who .. ", on_state", self.o.on_state, state, err) end
  if err then guard.report(self.who, err) end
end

local function is_calm(self)
  return self.link:is_open() and self:is_connected() and core.now() - self.trouble_at >= CALM
end

local function stop_watching(self)
  if self.watching then self.watching:cancel() end
  self.watching = false
end

local function look(self)
  if self.link.closed then return stop_watching(self) end
  if not is_calm(self) then return end
  stop_watching(self)
  self.trouble = false
  tell_state(self, "ready")
end

--- Reports what holds us up, once, until it is something else or over.
function M.tell(self, err)
  self.trouble_at = core.now()
  if err.condition == self.trouble or self.link.closed then return end
  self.trouble = err.condition
  tell_state(self, "waiting", err)
  self.watching = self.watching or core.timer(CALM / 6, function() look(self) end, true)
end

--- Reports an error each time.
function M.complain(self, err) guard.report(self.who, err) end

--- Reports that an entry has gone to the stream of the dead.
function M.tell_dead(self, entry, why)
  self.counts.dead = self.counts.dead + 1
  local err = core.error { layer = "redis", condition = "dead", retry = false,
    text = ("%s: the entry %s of %s can't be done, and is in %s now: %s"):format(self.who, entry.id, entry.stream,
      self.keys.dead, core.shown(why)) }
  if self.o.on_dead then return guard.go(self.who .. ", on_dead", self.o.on_dead, entry, err) end
  guard.report(self.who, err)
end

-- What is published: the numbers of streams that have new entries; or "share", when members have come or gone.
local function on_bell(self, text)
  if text == "share" then return self.seats:tick() end
  for word in text:gmatch "%d+" do
    local reader = self.seats.readers[tonumber(word)]
    if reader then reader:ring() end
  end
end

local function on_back(self)
  for _, reader in pairs(self.seats.readers) do reader:ring() end
  self.seats:tick()
end

local function new_link(self, o, channel)
  return links.new { redis = o.redis, channel = channel,
    state = function(state, err)
      if state == "waiting" then M.tell(self, err) end
    end,
    bell = function(text) on_bell(self, text) end,
    back = function() on_back(self) end }
end

local function new_reader(self, i)
  local o = self.o
  local reader = readers.new { i = i, seats = self.seats, link = self.link, me = self.me, group = self.group,
    leases = self.leases, stream = self.reads[i + 1], sent = self.sent_prefix, batch = o.batch,
    most = o.max_deliveries, pause = o.pause,
    do_one = function(...) return self:do_one(...) end,
    finish = function(batch) return self:finish(i, batch) end,
    bury = function(entry, why) return self:bury(i, entry, why) end,
    told = function(err) M.tell(self, err) end }
  reader:start()
  return reader
end

--- Closes the connections to Redis. Nothing is reported after that.
function M.close(self)
  self.link:close()
  stop_watching(self)
end

--- The part of `self` that both have: side "in" for a worker, which reads what came in; "out" for an intake.
---@param self table with do_one, finish, bury (see reader), active, is_connected, counts
function M.set_up(self, o, who, side)
  local prefix = o.name .. ":"
  self.o, self.who, self.me = o, ("%s '%s'"):format(who, o.name), consumer_of(o)
  self.trouble, self.trouble_at, self.watching, self.group = false, 0, false, side == "in" and "workers" or "intakes"
  self.keys = { set = prefix .. "set", dead = prefix .. "dead", had = prefix .. "had:", sent = prefix .. "sent:",
    last = prefix .. "last:" .. self.me, bell_in = prefix .. "bell:in", bell_out = prefix .. "bell:out" }
  self.ins, self.outs = numbered(prefix .. "in", o.streams), numbered(prefix .. "out", o.streams)
  self.reads = side == "in" and self.ins or self.outs
  self.leases = prefix .. self.group .. ":leases"
  local channel = self.keys["bell_" .. side]
  self.link = new_link(self, o, channel)
  self.seats = seats.new { link = self.link, me = self.me, members = prefix .. self.group, leases = self.leases,
    streams = self.reads, group = self.group, channel = channel, seconds = o.lease,
    begin = function(i) return new_reader(self, i) end,
    active = function() return self:active() end,
    told = function(err) M.tell(self, err) end }
end

-- Is this a Redis that keeps what it is given?

local function failure(condition, text)
  return core.error { layer = "redis", condition = condition, text = text, retry = false }
end

local function check_keeping(self)
  local info, err = self.link:call "INFO"
  if not info then return nil, err end
  local version = tonumber(info:match "redis_version:(%d+)") or 0
  if version < 7 then return nil, failure("version", self.link.place .. ": Redis 7 is needed, at least") end
  if self.o.volatile then return true end
  if info:find "aof_enabled:0" then
    return nil, failure("volatile", self.link.place .. ": it keeps no append-only file, so all is lost when it ends: "
      .. "set appendonly yes and appendfsync always in its configuration (or the option volatile = true)")
  end
  if info:find "maxmemory_policy:allkeys" then
    return nil, failure("evicts", self.link.place .. ": when its memory is full it throws away what it has: set "
      .. "maxmemory-policy noeviction in its configuration (or the option volatile = true)")
  end
  return true
end

-- All processes of a farm must have the same number of streams.
local function check_streams(self)
  local n = ("%d"):format(self.o.streams)
  local _, err = self.link:call("HSETNX", self.keys.set, "streams", n)
  local is
  if not err then is, err = self.link:call("HGET", self.keys.set, "streams") end
  if err then return nil, err end
  if is == n then return true end
  return nil, failure("streams", ("%s: '%s' has %s streams, and not %s: say streams = %s, or begin a new name"):format(
    self.link.place, self.o.name, is, n, is))
end

--- Connects to Redis, and checks its version and configuration.
---@return true?
---@return xmpp.Error?
function M.open(self)
  local ok, err = self.link:open()
  if ok then ok, err = check_keeping(self) end
  if ok then ok, err = check_streams(self) end
  if not ok then M.close(self) end
  return ok, err
end

return M
