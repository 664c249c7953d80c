-- Sends one message. Exits with 0 only if the server has acknowledged it (XEP-0198), or, if the server doesn't support
-- that, has closed the stream properly after it. See account.lua.
local xmpp, account = require "xmpp", require "examples.account"
local conn = assert(xmpp.connect_client(account "JID PASSWORD TO TEXT"))
assert(conn:send { "message", { to = arg[3], type = "chat" }, { "body", arg[4] } })
assert(conn:stop())
