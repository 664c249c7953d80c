-- A worker of the farm: does the bot's work, for as many stanzas as are its share. Start as many as you like.
local xmpp = require "xmpp"
local worker = assert(xmpp.stream.worker {
  name = "bots", redis = { host = os.getenv "REDIS_HOST", port = tonumber(os.getenv "REDIS_PORT") },
  handler = function(stanza)
    local text = xmpp.xexpr.text(stanza, "body")
    if stanza[1] ~= "message" or not text or xmpp.xexpr.is_error(stanza) then return end
    return xmpp.xexpr.reply(stanza, { "body", "You said: " .. text })
  end,
})
xmpp.on_signal("SIGTERM", xmpp.quit)
io.stderr:write "worker: ready\n"
xmpp.run()
assert(worker:stop())
