-- The processes of a farm, and what is in its Redis.
--
--   local f = farm.new(redis, "name", { streams = 4 })
--   local w = f:start("worker", { LEASE = 2 })     -- w.pid; w:kill(); w:signal "STOP"; w:stop() -> what it knew
--   f:put(3, "anna@x/y", "hello")                   -- an entry in the stream in:3
--   f:log(), f:answers()                            -- what handlers were called for; stanzas in the outgoing streams
--   f:close()
local core = require "xmpp.core"
local redis = require "xmpp.redis"
local xmpp = require "xmpp"

local farm = {}
local Farm, Process = {}, {}
Farm.__index, Process.__index = Farm, Process

farm.folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "spec/support"

local function lines_of(environment)
  local words = {}
  for name, value in pairs(environment) do words[#words + 1] = ("%s='%s'"):format(name, tostring(value)) end
  return table.concat(words, " ")
end

-- server: see redis.lua here. o: streams
function farm.new(server, name, o)
  local f = setmetatable({ server = server, name = name, streams = o and o.streams or 16, processes = {} }, Farm)
  f.r = assert(redis.connect { port = server.port, timeout = 30 })
  f.environment = { FARM_NAME = name, REDIS_PORT = server.port, STREAMS = f.streams,
    LUA_PATH = "lua/?.lua;lua/?/init.lua;?.lua;;", LUA_CPATH = (os.getenv "SO_DIR" or "lua") .. "/?.so;;",
    LD_PRELOAD = os.getenv "PRELOAD" or "" }
  return f
end

-- Starts one, and waits until it is ready; `later`: doesn't.
function Farm:start(role, more, later)
  local environment = { ROLE = role }
  for key, value in pairs(self.environment) do environment[key] = value end
  for key, value in pairs(more or {}) do environment[key] = value end
  local command = ("exec env %s setpriv --pdeathsig KILL -- %s %s/farm_process.lua 2>>%s"):format(lines_of(environment),
    os.getenv "LUA" or "lua5.4", farm.folder, self.server.dir .. "/farm.log")
  local p = setmetatable({ pipe = assert(io.popen(command, "r")), role = role, more = more, farm = self }, Process)
  self.processes[#self.processes + 1] = p
  if not later then p:ready() end
  return p
end

function Process:ready()
  if self.pid then return self end
  local line = self.pipe:read "*l"
  self.pid = line and line:match "^(%d+) ready$"
  if not self.pid then error(self.role .. " did not start; farm.log has why:\n" .. self.farm:told(), 2) end
  return self
end

function Process:signal(name) os.execute("kill -" .. name .. " " .. self.pid) end

-- What it says at its end.
function Process:rest()
  local text = self.pipe:read "*a"
  self.pipe:close()
  self.gone = true
  return text
end

function Process:kill()
  self:signal "KILL"
  return self:rest()
end

function Process:stop()
  self:signal "TERM"
  return self:rest()
end

-- What they have said on stderr.
function Farm:told()
  local file = io.open(self.server.dir .. "/farm.log")
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

function Farm:call(...)
  local value, err = self.r:call(...)
  if err then error(tostring(err), 2) end
  return value
end

-- Redis writes each change before it confirms it from now on, until it starts again: what it confirmed survives "KILL".
-- By "everysec" a slow disk may delay a write for two seconds.
function Farm:fsync_always() self:call("CONFIG", "SET", "appendfsync", "always") end

function Farm:key(what) return self.name .. ":" .. what end

-- -> the entry's id
function Farm:put(i, from, body, id)
  local stanza = { "message", { from = from, to = "bot@bots.example", id = id or body, type = "chat" },
    { "body", {}, body } }
  return self:add(i, "v", "1", "key", from:match "^[^/]*", "stanza", xmpp.xexpr.to_json(stanza))
end

function Farm:add(i, ...)
  local id = self:call("XADD", self:key("in:" .. i), "*", ...)
  self:call("PUBLISH", self:key "bell:in", i)
  return id
end

-- { { who =, from =, body =, again = }... }, in order
function Farm:log()
  local out = {}
  for i, line in ipairs(self:call("LRANGE", self:key "log", 0, -1)) do
    local who, from, body, again = line:match "^([^|]*)|([^|]*)|([^|]*)|(.*)$"
    out[i] = { who = who, from = from, body = body, again = tonumber(again) }
  end
  return out
end

local function fields_of(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- All entries of a stream: { { id =, stanza =, ... }... }
function Farm:entries(stream)
  local out = {}
  for i, entry in ipairs(self:call("XRANGE", self:key(stream), "-", "+")) do
    out[i] = fields_of(entry[2])
    out[i].entry_id = entry[1]
    out[i].stanza = out[i].stanza and xmpp.xexpr.from_json(out[i].stanza) or out[i].stanza
  end
  return out
end

-- The stanzas in all the outgoing streams; those of one stream are in order.
function Farm:answers()
  local out = {}
  for i = 0, self.streams - 1 do
    for _, entry in ipairs(self:entries("out:" .. i)) do out[#out + 1] = entry.stanza end
  end
  return out
end

-- Entries that nobody has finished.
function Farm:left()
  local n = 0
  for i = 0, self.streams - 1 do n = n + self:call("XLEN", self:key("in:" .. i)) end
  return n
end

-- Turns the loop until that many workers have the same number of streams each.
function Farm:until_shared(n)
  farm.turn_until(function()
    local held, members = {}, 0
    local flat = self:call("HGETALL", self:key "workers:leases")
    for i = 2, #flat, 2 do
      local owner = flat[i]:match "^%S+"
      if not held[owner] then members = members + 1 end
      held[owner] = (held[owner] or 0) + 1
    end
    for _, count in pairs(held) do
      if count * n ~= self.streams then return false end
    end
    return members == n
  end)
end

-- What is begun by f has a link to Redis that loses the reply of the first call of this script: the call is done, and
-- ends with an error.
function farm.without_reply(script, f)
  local links = require "xmpp.stream.link"
  local new, lost = links.new, 0
  function links.new(o)
    local link = new(o)
    local run = link.run
    function link.run(self, name, ...)
      local value, err = run(self, name, ...)
      if name ~= script or lost > 0 or err then return value, err end
      lost = lost + 1
      return nil, core.error { layer = "redis", condition = "cut", retry = true, text = "the reply is lost" }
    end
    return link
  end
  local ok, err = pcall(f)
  links.new = new
  if not ok then error(err, 0) end
  return function() return lost end
end

-- Turns the loop until f() is true.
function farm.turn_until(f, seconds)
  local till = os.time() + (seconds or 120)
  while not f() do
    if os.time() > till then error("it hasn't come true", 2) end
    xmpp.sleep(0.02)
  end
end

function Farm:close()
  for _, p in ipairs(self.processes) do
    if not p.gone and p.pid then
      p:signal "CONT"
      p:kill()
    end
  end
  self.r:close()
end

return farm
