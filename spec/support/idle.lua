-- idle: makes CONNECTIONS connections, waits until there is nothing left to do, and then makes TURNS idle steps,
-- between two failing calls of open(2), which mark the place for a tracer. Prints the kilobytes that Lua allocated
-- meanwhile.
--
--   lua idle.lua CONNECTIONS TURNS USERS DOMAIN HOST TLS_PORT CA
--
-- USERS: the number of accounts, idle1 (password idlepw) and so on, since servers allow few connections to one account.
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

if jit then -- its traces would be counted, too; an existing trace gets side traces even when the compiler is off
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
