-- idle: connects so often, waits until nothing is left to do, and makes turns in which nothing happens, between two
-- calls of open that fail, so that a tracer can tell. Prints the kilobytes that Lua made meanwhile.
--
--   lua idle.lua CONNECTIONS TURNS USERS DOMAIN HOST TLS_PORT CA
--
-- USERS: so many accounts, idle1 with the password idlepw and so on: servers allow few connections to one.
local xmpp = require "xmpp"

local connections, turns, users = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
local domain, host, port, ca = arg[4], arg[5], tonumber(arg[6]), arg[7]
local AT_ONCE, PATIENCE = 20, 60
local kept, begun = {}, 0

local function connect_some()
  while begun < connections do
    begun = begun + 1
    local conn = assert(xmpp.connect_client("idle" .. begun % users + 1 .. "@" .. domain, "idlepw", host, port,
      { tls = "direct", ca_file = ca }))
    kept[#kept + 1] = conn
  end
end

for _ = 1, AT_ONCE do xmpp.spawn(connect_some) end
local since = os.time()
while #kept < connections or (xmpp.timeout() or math.huge) < 5 do
  assert(os.time() - since < PATIENCE, "it has not become quiet")
  xmpp.step(0.1)
end

if jit then -- its traces would be counted, too; one that is there grows branches even when it is off
  jit.off()
  jit.flush()
end
collectgarbage()
collectgarbage "stop"
local step, timeout, fd, count = xmpp.step, xmpp.timeout, xmpp.fd, collectgarbage
fd()
step()
local before = count "count"
io.open "/idle/begin"
local marked = count "count"
for _ = 1, turns do
  step(0)
  timeout()
  fd()
end
local made = count "count" - marked
io.open "/idle/end"
assert(marked >= before)
print(made)
os.exit(true)
