-- message: messages in a room, as events (XEP-0045 7.4 to 7.9, 8, 15.6). A part of a room, see room.lua.
--
--   "message" (m, stanza): a message for a person; m is an xmpp.RoomMessage. "private" (m, stanza): to us alone, from
--   the occupant m.nick. "corrected" (m, stanza): m replaces m.replaces. "retracted" (m, stanza): its author has
--   retracted m.retracts. "reacted" (m, stanza): m.reaction.list are all reactions that the sender now has to
--   m.reaction.id. "moderated" (what): the room has retracted what.stanza_id. "subject" (text, nick): a new one (nil:
--   none), and who set it, if known. "status" (code, text): a status code of the room. "voice_request" ({ nick =,
--   jid =?, role = }): see room:set_role(nick, "participant"). "declined" ({ from =, reason = }): an invitation.
--   "error" (err, id, nick): a message of ours was returned; nick: the recipient of a private message.
--
-- Who is trusted: what comes from the room's bare address is from the service, and is never a "message": status codes,
-- moderation (XEP-0425), voice requests and declined invitations count only from there. What comes from a full address
-- is from the occupant with that nick; m.occupant says who that is (from the presence, to which the room has added the
-- real address, if we may see it), and nothing in the message itself does: a jid in it is ignored. Corrections and
-- retractions are valid if their author is known to have written the original (said.lua); else they are ordinary
-- messages, and m.suspicious says what they claim to be. stanza-ids are read if the room announces them.

local chat = require "xmpp.chat"
local chat_message = require "xmpp.chat.message"
local core = require "xmpp.load"
local data_form = require "xmpp.form"
local enter = require "xmpp.muc.enter"
local hear = require "xmpp.chat.hear"
local iq = require "xmpp.iq"
local outbox = require "xmpp.muc.outbox"
local presence = require "xmpp.muc.presence"
local rooms = require "xmpp.muc.room"
local said = require "xmpp.muc.said"
local spelling = require "xmpp.spelling"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = { events = { "message", "private", "subject", "corrected", "retracted", "reacted", "moderated",
  "voice_request", "declined" }, methods = {} }

local USER, DELAY, SID = "http://jabber.org/protocol/muc#user", "urn:xmpp:delay", "urn:xmpp:sid:0"
local RETRACT, MODERATE = "urn:xmpp:message-retract:1", "urn:xmpp:message-moderate:1"
local FASTEN, OLD_MODERATE = "urn:xmpp:fasten:0", "urn:xmpp:message-moderate:0"
local REQUEST = "http://jabber.org/protocol/muc#request"
local LONGEST_ID = 1024
local MOST_CODES = 20
local LATE = 30 -- seconds that a message may be delayed, or our clock may be ahead of the room's

-- Codes that say that the room's configuration has changed (XEP-0045 10.2.1).
local CONFIGURED = { [104] = true, [170] = true, [171] = true, [172] = true, [173] = true }

-- Times

-- The stamp that the room has added to a message of its history (XEP-0045 7.2.14): the author may have added one, too.
local function room_stamp(room, stanza)
  local last
  for delay in xexpr.children(stanza, "delay", DELAY) do
    local stamp = time.parse(xexpr.attr(delay, "stamp"))
    local by = core.jid(xexpr.attr(delay, "from") or "")
    if stamp and by and spelling.is(room.jid, by) then return stamp end
    last = stamp or last
  end
  return last
end

-- Records from when on the history is needed, if we have to rejoin.
local function note_seen(room, history, stamp)
  local own, now = rooms.own(room), time.now()
  local at = history and math.min(stamp or 0, now) or math.max(own.began or 0, now - LATE)
  if at > (own.seen or 0) then own.seen = at end
end

-- Messages of the service

local function tell_codes(room, stanza, text)
  local x, n = xexpr.child(stanza, "x", USER), 0
  local again = false
  for status in xexpr.children(x, "status", USER) do
    local code = xexpr.attr(status, "code")
    if code and code:find "^%d%d%d$" and n < MOST_CODES then
      n = n + 1
      again = again or CONFIGURED[tonumber(code)] == true
      rooms.tell(room, "status", tonumber(code), text)
    end
  end
  if again then enter.ask_again(room) end
  if n == 0 and text then rooms.tell(room, "status", nil, text) end
end

-- { stanza_id =, by =? (a nick), reason =? } of a message that the room retracts.
local function moderation(room, stanza)
  local x = xexpr.child(stanza, "retract", RETRACT) or xexpr.child(stanza, "apply-to", FASTEN)
  local moderated = xexpr.child(x, "moderated", MODERATE) or xexpr.child(x, "moderated", OLD_MODERATE)
  local id = moderated and xexpr.attr(x, "id")
  if not id or id == "" or #id > LONGEST_ID then return nil end
  local by = core.jid(xexpr.attr(moderated, "by") or "")
  by = by and spelling.is(room.jid, by:bare()) and by.resourcepart or nil
  local reason = xexpr.child(x, "reason", RETRACT) or xexpr.child(moderated, "reason", OLD_MODERATE)
  return { stanza_id = id, by = by, reason = presence.cut(xexpr.text(reason)) }
end

-- { nick =, jid =?, role = } of an occupant who requests voice (XEP-0045 8.6).
local function voice_request(stanza)
  local x = xexpr.child(stanza, "x", data_form.DATA)
  local form = x and data_form.parse(x)
  if not form or form.type ~= REQUEST then return nil end
  local nick, jid = form.values["muc#roomnick"], form.values["muc#jid"]
  jid = type(jid) == "string" and core.jid(jid)
  if type(nick) ~= "string" then return nil end
  return { nick = presence.cut(nick), jid = jid and tostring(jid) or nil, role = form.values["muc#role"] }
end

local function declined(stanza)
  local x, reason = presence.part(xexpr.child(stanza, "x", USER), "decline", "reason")
  if not x then return nil end
  local from = core.jid(xexpr.attr(x, "from") or "")
  return { from = from and tostring(from) or nil, reason = presence.cut(xexpr.text(reason)) }
end

local function is_subject(stanza)
  return xexpr.child(stanza, "subject") and not xexpr.child(stanza, "body") and not xexpr.child(stanza, "thread")
end

local function tell_subject(room, stanza, nick)
  local subject = presence.cut(xexpr.text(stanza, "subject"), 65536)
  room.subject = subject ~= "" and subject or nil
  rooms.tell(room, "subject", room.subject, nick)
end

local function from_service(room, stanza, kind)
  local moderated = moderation(room, stanza)
  if moderated then return rooms.tell(room, "moderated", moderated) end
  if kind == "groupchat" and is_subject(stanza) then return tell_subject(room, stanza) end
  local what = kind ~= "groupchat" and voice_request(stanza)
  if what then return rooms.tell(room, "voice_request", what) end
  what = declined(stanza)
  if what then return rooms.tell(room, "declined", what) end
  if xexpr.find(stanza, { "x", USER }, { "invite", USER }) then return end -- handled by ask.lua
  local text = xexpr.text(stanza, "body")
  tell_codes(room, stanza, text ~= "" and text or nil)
end

-- Messages of occupants

-- Emits the event for a message, by who its author is known to be. A reaction may be to a message from before we
-- joined.
local function tell(room, event, m, says, author, stanza)
  local what = hear.event(m, says, stanza, { known = function(id) return id end,
    wrote = function(id) return said.find(room, author, id) end })
  if not what then return end
  if what == "message" or what == "corrected" then
    m.text = m.text or ""
    said.remember(room, author, m, m.replaces)
  end
  rooms.tell(room, what == "message" and event or what, m, stanza)
end

-- The occupant's entry; for the history only if it is known to be the same person.
local function occupant_of(room, nick, id, history)
  local o = room.occupants[nick]
  if not o or id and o.id and o.id ~= id or history and not (id and o.id == id) then return nil end
  return o
end

-- jid: the room's address as received; has_ids: the room assigns stanza-ids.
local function read(room, stanza, nick, jid, has_ids, history)
  local conn = rooms.conn(room)
  local m, says
  if conn then m, says = chat_message.read(stanza, { me = conn:jid(), by = has_ids and jid or nil, room = jid }) end
  if not m then return nil end
  local author, id = said.author(room, nick, stanza, history)
  m.nick, m.occupant, m.occupant_id = nick, occupant_of(room, nick, id, history), id
  return m, says, author
end

-- Is the message ours? Nobody else has our occupant-id.
local function is_own(room, m, nick)
  local own = rooms.own(room)
  local us = own.entry and own.entry.self or own.occupant
  local ours = outbox.heard(room, nick, m.id, m.origin_id, m.stanza_id)
  if m.occupant_id and us and us.id then return m.occupant_id == us.id end
  return ours
end

-- A groupchat message.
local function to_all(room, stanza, nick, jid)
  local entry = rooms.own(room).entry
  local history = entry ~= nil and not entry.created -- a room that we have just created has none
  local m, says, author = read(room, stanza, nick, jid, room.features and room.features[SID], history)
  if not m then return end
  m.own = is_own(room, m, nick)
  m.direction, m.history = m.own and "out" or "in", history
  if history then m.stamp = room_stamp(room, stanza) end
  local told = said.is_told(room, nick, m, history, m.stamp and history and m.stamp or time.now())
  note_seen(room, history, m.stamp)
  if told then return end
  if not history and is_subject(stanza) then return tell_subject(room, stanza, nick) end
  tell(room, "message", m, says, author, stanza)
end

-- A private message (XEP-0045 7.5). Claims in it can only refer to other private messages.
local function to_us(room, stanza, nick, jid)
  local m, says, author = read(room, stanza, nick, jid, false, false)
  if not m then return end
  author = author and author .. said.PRIVATE
  m.own = false
  tell(room, "private", m, says, author, stanza)
end

-- Errors

-- A message of ours was returned as an error. For a groupchat message only the room, or an entity on the way to it,
-- does that: it comes from the bare address; an error from an occupant's address is about a private message.
local function failed(room, stanza, nick)
  local id, _, err = stanza[2].id, iq.failure(stanza)
  if not nick and outbox.bounced(room, id, err) then return end
  rooms.tell(room, "error", err, id, nick)
end

-- Hooks

--- Messages from rooms that we are in, and carbons of them, are excluded from chat (XEP-0045 7.5): recognised by the
--- list of our rooms, and not by their contents.
function M.start(st, conn)
  local known = { rooms = st.rooms, spelled = st.spelled }
  st.not_chats = chat.rooms(conn, function(bare) return rooms.find(known, core.jid(bare)) ~= nil end)
end

function M.stop(st) st.not_chats() end

function M.message(room, stanza)
  local from, kind = core.jid(stanza[2].from or ""), stanza[2].type
  if not from then return end
  local nick = from.resourcepart
  if kind == "error" then return failed(room, stanza, nick) end
  if not nick then return from_service(room, stanza, kind) end
  local jid = tostring(from:bare())
  if kind == "groupchat" then return to_all(room, stanza, nick, jid) end
  return to_us(room, stanza, nick, jid)
end

--- Whoever leaves, or changes the nick, makes the nick available to others.
function M.presence(room, p)
  if p.nick and p.type == "unavailable" then said.forget(room, p.nick) end
end

--- While we were out any occupant may have left.
function M.entered(room, again)
  local own = rooms.own(room)
  if again then return said.forget(room) end
  own.began = time.now()
  own.seen = own.seen or own.began
end

return M
