-- For fast_spec: logs in as alice in another process with the same user agent id: first with the password, which yields
-- a token, then with that token, after which the server doesn't accept older ones.
-- lua other_login.lua HOST PORT CA DOMAIN PASSWORD AGENT
local xmpp = require "xmpp"

local host, port, ca, domain, password, agent = (unpack or table.unpack)(arg) -- luacheck: ignore 143 113

for _, by_token in ipairs { false, true } do
  local conn = assert(xmpp.connect_client("alice@" .. domain, password, host, tonumber(port), { tls = "direct",
    ca_file = ca, bind2 = true, user_agent = { id = agent } }))
  assert(conn:token() and conn:info().fast == by_token, "no login by a token")
  assert(conn:stop(30))
end
print "done"
