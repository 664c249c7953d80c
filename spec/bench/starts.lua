-- starts: programs that start, connect and end, for `make bench`, which measures the whole run.
--
--   lua starts.lua component   to `peer sink`
--   lua starts.lua client      to `crowd`: by TLS, with a certificate among the system's CAs, and SCRAM; nothing is
--                              remembered from an earlier login
local xmpp = require "xmpp"

local port = tonumber(os.getenv "BENCH_PORT")

local starts = {
  component = function() return xmpp.connect_component("127.0.0.1", port, "bench.test", "secret") end,
  client = function() return xmpp.connect_client("a@bench.test", "secret", "127.0.0.1", port, { tls = "direct" }) end,
}
assert(starts[arg[1]]())
