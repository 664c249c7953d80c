-- A bot in a room: it greets everybody who enters, and has the commands !time, !dice and, by itself, !help, also in
-- private messages. When the link breaks or the server is restarted it reconnects by itself. See account.lua.
local xmpp, muc, bot, account = require "xmpp", require "xmpp.muc", require "xmpp.bot", require "examples.account"
local jid, password, opts = account "JID PASSWORD ROOM NICK"
opts.reconnect = true
local conn = assert(xmpp.connect_client(jid, password, opts))
local b = bot.use(conn)
b:command("time", { help = "the time, by Greenwich" }, function() return os.date "!%H:%M, by Greenwich" end)
b:command("dice", { args = "<sides:int=6>", help = "throws a die" }, function(_, args)
  return args.sides > 0 and tostring(math.random(args.sides)) or "a die has sides"
end)
local room = assert(muc.join(conn, arg[3], arg[4], { create = "default" }))
b:room(room)
room:on("join", function(o) room:say("Hello, " .. o.nick) end)
room:on("removed", function(why) if not why.returns then xmpp.quit() end end) -- it was removed from the room for good
io.stderr:write("bot: ", room.jid, "\n")
if not xmpp.run() then conn:stop() return end -- stopped by Ctrl-C
assert(conn:receive())
