-- hear: passes the stanzas that come from a room to its parts.

local core = require "xmpp.load"
local presence = require "xmpp.muc.presence"
local rooms = require "xmpp.muc.room"
local xexpr = require "xmpp.xexpr"

local M = {}

local function hear(room, stanza, kind)
  local own = rooms.own(room)
  if own.state == "over" then return end
  own.active = core.now()
  if kind == "message" then return rooms.run("message", room, stanza) end
  local p = presence.read(room, stanza)
  if p then rooms.run("presence", room, p, stanza) end
end

-- A service may forward our self-pings to us (XEP-0410 3.1). They are answered whether the program answers pings or
-- not; pings of others are left to the program.
local function pong(room, stanza, conn)
  local from = core.jid(stanza[2].from or "")
  if not from or from.resourcepart ~= room.nick or not stanza[2].id then return end
  conn:send(xexpr.reply(stanza))
  return true
end

--- Begins to receive the room's stanzas.
function M.listen(room, conn)
  local own = rooms.own(room)
  own.offs = { [3] = conn:tap(function(stanza, c) return pong(room, stanza, c) end,
    { name = "iq", type = "get", xmlns = "urn:xmpp:ping", from = room.jid }) }
  for i, kind in ipairs { "presence", "message" } do
    own.offs[i] = conn:tap(function(stanza) hear(room, stanza, kind) end, { name = kind, from = room.jid })
  end
end

return M
