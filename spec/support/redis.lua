-- A Redis server for specs, in a directory of its own on a free port of loopback, gone when the spec ends or crashes.
--
--   local r = redis.start { appendfsync = "always" }     -- or any other line of redis.conf
--   xmpp.redis.connect { port = r.port }                 -- or { path = r.path }; r.password, with requirepass
--   r:restart "KILL"                                     -- the same data, another process
--   r:stop()
local child = require "spec.support.child"

local redis = {}
local Redis = {}
Redis.__index = Redis

local function fill(r)
  local v = child.variables(r.pipe)
  if not v then return false end
  r.port, r.tls_port, r.path, r.dir, r.pid, r.supervisor = tonumber(v.PORT), tonumber(v.TLS_PORT), v.SOCKET, v.DIR,
    tonumber(v.PID), v.SUPERVISOR_PID
  r.ca = v.CA
  return true
end

-- redis.is_there(): is there a redis-server on this machine, and the module of ours?
function redis.is_there()
  local found = os.execute "command -v redis-server >/dev/null"
  return (found == true or found == 0) and require "xmpp.redis".available() == true
end

function redis.start(lines)
  local arguments = {}
  for name, value in pairs(lines or {}) do arguments[#arguments + 1] = name .. "=" .. tostring(value) end
  local r = setmetatable({ pipe = child.open("redis_server.py", arguments) }, Redis)
  if not fill(r) then error("redis-server did not start; it said why on stderr", 2) end
  return r
end

-- The same port and data, a new process; by "KILL" the old one can't say goodbye. It is back when this returns.
function Redis:restart(signal)
  os.execute("kill -" .. (signal == "KILL" and "USR2 " or "USR1 ") .. self.supervisor)
  if not fill(self) then error("redis-server did not start again", 2) end
end

-- "STOP", "CONT", ... to the server.
function Redis:signal(name) os.execute("kill -" .. name .. " " .. self.pid) end

function Redis:stop()
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

return redis
