-- logins: what it costs the library to connect, do the TLS handshake, log in and bind, with `tlspeer`, for `make
-- bench`. Prints microseconds of CPU (user and system) for a login.
--
--   lua logins.lua full N     by PLAIN, alternating with SCRAM with remembered keys; also prints by how many
--                             milliseconds SCRAM takes longer
--   lua logins.lua resumed N  by PLAIN, each resuming the TLS session of the login before

local xmpp = require "xmpp"

local clock = os.clock
local mode, n = arg[1], tonumber(arg[2])
local WARM_UP = 20

local function login(mechanism)
  local user = mechanism:lower() -- one for each, since after SCRAM an account doesn't use PLAIN any more
  collectgarbage()
  local since = clock()
  local port = tonumber(os.getenv "BENCH_PORT")
  local conn = assert(xmpp.connect_client(user .. "@bench.test/r", "secret", "127.0.0.1", port,
    { tls = "direct", ca_file = os.getenv "BENCH_CA", mechanisms = { mechanism } }))
  local spent = clock() - since
  conn:stop()
  return spent, conn:info().tls_resumed
end

local spent = { PLAIN = 0, ["SCRAM-SHA-1"] = 0 }
for i = 1 - WARM_UP, n do
  for _, mechanism in ipairs(mode == "full" and { "PLAIN", "SCRAM-SHA-1" } or { "PLAIN" }) do
    local seconds, resumed = login(mechanism)
    if i > 0 then
      spent[mechanism] = spent[mechanism] + seconds
      assert(resumed == (mode == "resumed"), "the TLS session")
    end
  end
end
local more = math.max(0, spent["SCRAM-SHA-1"] - spent.PLAIN) * 1e3 / n
print(("%.6f%s"):format(spent.PLAIN * 1e6 / n, mode == "full" and (" scram %.4f"):format(more) or ""))
os.exit(0)
