-- The script that host.c runs in each of its states: sends every message back to its sender. The host gives it an
-- account, and the function `quit`, after which its state is closed, with all its connections.
local xmpp = xmpp -- luacheck: ignore 113

local jid, password, opts = ...
local conn = assert(xmpp.connect_client(jid, password, opts))
conn:set_callback(function(message)
  local text = xmpp.xexpr.text(message, "body")
  if text then conn:send(xmpp.xexpr.reply(message, { "body", text })) end
  if text == "quit" then quit() end -- luacheck: ignore 113
end, { name = "message", type = "chat" })
conn:set_handler()
assert(conn:send { "presence" })
print("bot: " .. tostring(conn:jid()))
