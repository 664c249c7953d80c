-- A gateway between an IRC channel and a room: everybody in the channel is in the room under his own name, as a virtual
-- user of a component; what is said in the room is said in the channel by the bridge. A message to NICK@DOMAIN goes to
-- that person. Needs LuaSocket.
--
--   lua5.4 examples/gateway.lua 127.0.0.1 5347 irc.example.net SECRET irc.libera.chat 6667 '#lua' tea@rooms.example.net

if #arg < 8 then
  io.stderr:write("usage: ", arg[0], " HOST PORT DOMAIN SECRET IRC-HOST IRC-PORT CHANNEL ROOM\n")
  os.exit(2)
end

local xmpp = require "xmpp"
local gateway, irc = require "xmpp.gateway", require "examples.irc"
local xexpr = xmpp.xexpr

local MUC, USER = "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user"
local BRIDGE = os.getenv "BRIDGE" or "xmpp-bridge"
local room = tostring(assert(xmpp.jid(arg[8])))

local conn = assert(xmpp.connect_component(arg[1], tonumber(arg[2]), arg[3], arg[4], { reconnect = true }))
local g = gateway.use(conn, { name = "IRC " .. arg[7], type = "irc",
  version = { name = "gateway.lua", version = xmpp._VERSION } })

-- Users of the channel in the room, by address: { user =, nick = the nick asked for, inside = the nick in the room }.
local guests = {}

local function address(user) return user.jid .. "/irc" end

local function ask_in(guest)
  conn:send({ "presence", { from = address(guest.user), to = room .. "/" .. guest.nick },
    { "x", { xmlns = MUC }, { "history", { maxchars = 0 } } } }, { session = true })
end

local function enter(nick)
  local user = g:user(nick)
  if not user or guests[address(user)] then return end
  guests[address(user)] = { user = user, nick = nick }
  user:presence {}
  ask_in(guests[address(user)])
end

local function leave(nick, why)
  local user = g:user(nick)
  local guest = user and guests[address(user)]
  if not guest then return end
  guests[address(user)] = nil
  conn:send { "presence", { type = "unavailable", from = address(user), to = room .. "/" .. guest.nick },
    why and { "status", {}, why } or nil }
  user:remove()
end

local channel = irc.join { host = arg[5], port = tonumber(arg[6]), channel = arg[7], nick = BRIDGE, on = {
  join = enter,
  part = leave,
  nick = function(old, new) leave(old) enter(new) end,
  lost = function(why) io.stderr:write("gateway: irc: ", tostring(why), "\n") end,
  message = function(nick, text, is_action)
    local user = g:user(nick)
    if not user or not guests[address(user)] then return end
    conn:send { "message", { from = address(user), to = room, type = "groupchat", id = xmpp.id() },
      { "body", {}, is_action and "/me " .. text or text } }
  end,
} }

enter(BRIDGE) -- the bridge reads the room for the channel
conn:on("session", function()
  for _, guest in pairs(guests) do ask_in(guest) end
end)

-- What the room tells a guest about himself (XEP-0045 7.2): he is in, his nick is taken, or he is out.
conn:tap(function(stanza)
  local guest, nick = guests[stanza[2].to], xmpp.jid(stanza[2].from).resourcepart
  if not guest then return end
  if stanza[2].type == "error" and (xexpr.error(stanza) or {}).condition == "conflict" and #guest.nick < 64 then
    guest.nick = guest.nick .. "[irc]"
    return ask_in(guest)
  end
  for status in xexpr.children(xexpr.child(stanza, "x", USER), "status") do
    if xexpr.attr(status, "code") == "110" then guest.inside = stanza[2].type == nil and nick or nil end
  end
end, { name = "presence", from = room })

local function is_guest(nick)
  for _, guest in pairs(guests) do
    if guest.inside == nick then return true end
  end
  return false
end

-- Messages in the room, as the bridge receives them. Those of the guests came from the channel.
conn:tap(function(stanza)
  local nick, text = xmpp.jid(stanza[2].from).resourcepart, xexpr.text(stanza, "body")
  if stanza[2].to ~= address(g:user(BRIDGE)) or not nick or not text or xexpr.is_delayed(stanza) then return end
  if not is_guest(nick) then channel:say(("<%s> %s"):format(nick, text)) end
end, { name = "message", type = "groupchat", from = room })

-- Messages to one person in the channel, from anybody, or from an occupant of the room.
g:on("message", function(person, user, m)
  channel:tell(user.name, ("<%s> %s"):format(m.private and xmpp.jid(m.from).resourcepart or person, m.text))
end)

io.stderr:write("gateway: ", arg[7], " is ", room, "\n")
if not xmpp.run() then conn:stop() return end -- stopped by Ctrl-C
assert(conn:receive())
