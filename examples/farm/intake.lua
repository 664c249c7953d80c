-- An intake of the farm: holds the component's connection to the server, and passes stanzas to the workers and their
-- answers back by way of Redis. See worker.lua, and doc/scaling.md.
--
--   XMPP_COMPONENT=bots.example.net XMPP_SECRET=secret lua5.4 examples/farm/intake.lua
--
-- Also in the environment: XMPP_HOST and XMPP_COMPONENT_PORT (127.0.0.1, 5347), REDIS_HOST and REDIS_PORT (127.0.0.1,
-- 6379), and instead of XMPP_SECRET the name of a file that has it, XMPP_SECRET_FILE.
local xmpp = require "xmpp"

local function secret()
  local file = os.getenv "XMPP_SECRET_FILE"
  return file and assert(io.open(file)):read "*l" or os.getenv "XMPP_SECRET"
end

local intake = assert(xmpp.stream.intake {
  name = "bots", redis = { host = os.getenv "REDIS_HOST", port = tonumber(os.getenv "REDIS_PORT") },
  component = { host = os.getenv "XMPP_HOST" or "127.0.0.1", port = tonumber(os.getenv "XMPP_COMPONENT_PORT" or 5347),
    domain = os.getenv "XMPP_COMPONENT" or "bots.example.net", secret = secret, opts = { keepalive_probe = true } },
  on_state = function(state, err) io.stderr:write("intake: ", state, err and ": " .. err or "", "\n") end,
})
xmpp.on_signal("SIGTERM", xmpp.quit)
io.stderr:write "intake: ready\n"
xmpp.run()
assert(intake:stop()) -- what was read is in Redis then
