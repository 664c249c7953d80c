-- Real proxies for specs, started by relay.py: microsocks, dante and tor (SOCKS5), tinyproxy and squid (CONNECT), some
-- of them also with "+auth" (user and password). Each is started when it is first used. dante isn't in every Debian
-- release.
--
--   local relay = require "spec.support.relay"
--   teardown(relay.stop)                 -- all of them
--   local r = relay.get "squid+auth"     -- r.url, r.bare (the same without user and password), r.host, r.port, r.pid
--   r:log()                              -- the text of its log
--   relay.all                            -- the kinds that are there, without tor
local child = require "spec.support.child"
local shell = require "spec.support.shell"

local relay = { all = { "microsocks", "microsocks+auth", "tinyproxy", "tinyproxy+auth", "squid", "squid+auth" } }
if shell.run "PATH=$PATH:/usr/sbin; command -v danted" ~= "" then table.insert(relay.all, 3, "dante") end

local Relay = {}
Relay.__index = Relay

local running = {}

function relay.get(kind)
  if running[kind] then return running[kind] end
  local pipe, v = child.serve("relay.py", { kind })
  assert(v, kind .. " did not start; it said why on stderr")
  running[kind] = setmetatable({ pipe = pipe, host = "127.0.0.1", port = tonumber(v.PORT), pid = v.PID, url = v.URL,
    bare = v.BARE, file = v.LOG }, Relay)
  return running[kind]
end

-- Its URL with another port, that of another proxy in front of it.
function Relay:url_at(port)
  return (self.url:gsub(":%d+$", ":" .. port))
end

function Relay:log()
  local file = assert(io.open(self.file))
  local text = file:read "*a"
  file:close()
  return text
end

function Relay:stop()
  self.pipe:close()
  for kind, r in pairs(running) do
    if r == self then running[kind] = nil end
  end
end

function relay.stop()
  for _, r in pairs(running) do r.pipe:close() end
  running = {}
end

return relay
