-- The bot that examples/container/Containerfile puts into an image: it repeats what it is told. The connection
-- is made by `xmpp run`.
local chat, presence = require "xmpp.chat", require "xmpp.presence"

chat.use(conn):on("message", function(m)
  if m.direction == "in" and not m.delayed then chat.use(conn):send(m.from, "You said: " .. m.text) end
end)
presence.set(conn, { status = "I repeat what you say" })
