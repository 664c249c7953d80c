-- message: a part of a room, see room.lua.

local iq = require "xmpp.iq"
local core = require "xmpp.load"
local outbox = require "xmpp.muc.outbox"
local rooms = require "xmpp.muc.room"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = { events = { "message", "private", "subject", "status", "error" } }

function M.message(room, stanza)
  local own = rooms.own(room)
  local nick = core.jid(stanza[2].from).resourcepart
  if stanza[2].type == "error" then
    local _, err = iq.failure(stanza)
    if not outbox.bounced(room, stanza[2].id, err) then rooms.tell(room, "error", err, stanza[2].id) end
    return
  end
  if stanza[2].type ~= "groupchat" or not nick then return end
  local origin = xexpr.attr(xexpr.child(stanza, "origin-id", "urn:xmpp:sid:0"), "id")
  local m = { nick = nick, text = xexpr.text(stanza, "body"), history = own.entry ~= nil }
  local stamp = time.parse(xexpr.is_delayed(stanza))
  own.seen = m.history and stamp or time.now()
  m.own = outbox.heard(room, nick, stanza[2].id, origin,
    room.features and room.features["urn:xmpp:sid:0"] and xexpr.attr(xexpr.child(stanza, "stanza-id"), "id"))
  if m.text then rooms.tell(room, "message", m, stanza) end
end

return M
