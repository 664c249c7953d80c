-- A bot in a room: it greets who comes in, and knows the commands !time, !dice and !help. When the link breaks or the
-- server is restarted it comes back by itself. See account.lua.
local xmpp, muc, account = require "xmpp", require "xmpp.muc", require "examples.account"
local jid, password, opts = account "JID PASSWORD ROOM NICK"
opts.reconnect = true
local conn = assert(xmpp.connect_client(jid, password, opts))
local room = assert(muc.join(conn, arg[3], arg[4], { create = "default" }))
local commands = {}
function commands.time() return os.date "!%H:%M, by Greenwich" end
function commands.dice(sides) return tostring(math.random(tonumber(sides) or 6)) end
function commands.help() return "!time, !dice SIDES" end
room:on("join", function(o) room:say("Hello, " .. o.nick) end)
room:on("message", function(m)
  local name, rest = (m.text or ""):match "^!(%w+) ?(.*)$"
  if commands[name] and not (m.own or m.history) then room:say(commands[name](rest)) end
end)
room:on("removed", function(why) if not why.returns then xmpp.quit() end end) -- somebody has sent it away
if not xmpp.run() then conn:stop() return end -- by Ctrl-C
assert(conn:receive())
