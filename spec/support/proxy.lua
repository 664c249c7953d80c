-- Simulates a bad network: starts proxy.py between a spec's connections and a server.
--
--   local p = proxy.start(host, port [, seed])  -- p.host, p.port: connect there
--   p:tell "cut rst"                            -- see proxy.py for the commands
--   p:stats()                                   -- fin, rst, early, connections, open, unreached, up, down
--   p:stop()
local child = require "spec.support.child"

local proxy = {}
local Proxy = {}
Proxy.__index = Proxy

function proxy.start(host, port, seed)
  local p = setmetatable({ host = "127.0.0.1" }, Proxy)
  local v
  p.pipe, v = child.serve("proxy.py", { host, port, seed or 0 })
  assert(v, "the proxy did not start; it said why on stderr")
  p.port, p.pid = tonumber(v.PORT), tonumber(v.PID)
  p.control = assert(io.open(v.CONTROL, "w"))
  p.control:setvbuf "line"
  return p
end

-- Sends a command; when this returns, it has been carried out.
function Proxy:tell(line)
  assert(self.control:write(line, "\n"))
  return assert(child.variables(self.pipe), "the proxy has ended; it said why on stderr")
end

function Proxy:stats()
  local found = {}
  for key, value in pairs(self:tell "stats") do
    found[key:lower()] = tonumber(value)
  end
  return found
end

-- The number of cuts so far.
function Proxy:cuts()
  local s = self:stats()
  return s.fin + s.rst
end

function Proxy:stop()
  if not self.pipe then return end
  self.control:close()
  self.pipe:close()
  self.pipe = nil
end

return proxy
