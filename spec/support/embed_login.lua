-- A script for embed.c: a login, a message to ourselves, and an awaited response. The state is closed while the
-- connection is open.
local xmpp = xmpp -- luacheck: ignore 113
local host, port, ca = ...

local conn, err = xmpp.connect_client("alice@xmpp.test", "alicepw", host, tonumber(port),
  { ca_file = ca, timeout = 60, await_timeout = 30, mechanisms = { "PLAIN" } })
if not conn then return tostring(err) end
local ok, got
ok, err = conn:send { "message", { to = tostring(conn:jid()), type = "chat" }, { "body", "Hi" } }
if not ok then return tostring(err) end
got, err = conn:receive_blocking(5)
if not got then return tostring(err) end
got, err = conn:send_await { "iq", { type = "get", to = "xmpp.test" }, { "ping", { xmlns = "urn:xmpp:ping" } } }
if not got then return tostring(err) end
return "fine"
