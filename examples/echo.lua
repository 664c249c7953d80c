-- Sends every message back to its sender, until it is stopped, or the connection ends. See account.lua.
local xmpp, account = require "xmpp", require "examples.account"
local conn = assert(xmpp.connect_client(account "JID PASSWORD"))
conn:set_callback(function(message)
  local text = xmpp.xexpr.text(message, "body")
  if text then conn:send(xmpp.xexpr.reply(message, { "body", text })) end
end, { name = "message", type = "chat" })
conn:set_handler()
assert(conn:send { "presence" })
io.stderr:write("echo: ", tostring(conn:jid()), "\n")
if not xmpp.run() then conn:stop() return end -- stopped by Ctrl-C
assert(conn:receive()) -- the connection has ended: raises the reason
