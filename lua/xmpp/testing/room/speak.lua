-- speak: messages in a test's room: reflections, history, subject, private messages (XEP-0045 7.2.13 to 7.9, 8.1).
-- Required by xmpp.testing.room and its parts alone.

local core = require "xmpp.load"
local hall = require "xmpp.testing.room.hall"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local M = {}

local DELAY = "urn:xmpp:delay"
local MOST_KEPT = 1000

-- Messages

-- A message's children as they are sent to the room: those that only the room may add are removed.
local function cleaned(room, x)
  local out = {}
  for i = 3, #x do
    local child = x[i]
    local attrs = type(child) == "table" and (type(child[2]) == "table" and child[2][1] == nil and child[2] or {}) or {}
    local forged = attrs.xmlns == hall.STANZA_ID and child[1] == "stanza-id" and room.stanza_ids and
        attrs.by == room.jid
      or attrs.xmlns == hall.OCCUPANT_ID and room.occupant_ids or attrs.xmlns == hall.USER
    if not forged then out[#out + 1] = child end
  end
  return out
end

-- Adds the room's own children.
local function marked(room, occupant, children)
  local id = core.id()
  if room.stanza_ids then
    children[#children + 1] = { "stanza-id", { xmlns = hall.STANZA_ID, by = room.jid, id = id } }
  end
  if room.occupant_ids and occupant then
    children[#children + 1] = { "occupant-id", { xmlns = hall.OCCUPANT_ID, id = occupant.id } }
  end
  return children, id
end

-- Adds an entry to the history.
local function keep(room, entry)
  room.history[#room.history + 1] = entry
  if #room.history > MOST_KEPT then table.remove(room.history, 1) end
end

--- Sends an occupant's message, a stanza, to all. Returns its stanza-id.
function M.reflect(room, occupant, x)
  local children, stanza_id = marked(room, occupant, cleaned(room, x))
  local id = x[2].id
  hall.broadcast(room, occupant, id, unpack(children))
  if xexpr.child(x, "body") then
    keep(room, { nick = occupant.nick, text = xexpr.text(x, "body"), id = id, stamp = core.clock(), children = children,
      stanza_id = stanza_id })
  end
  return stanza_id
end

-- The subject

function M.set_subject(room, occupant, text)
  room.subject, room.subject_by = text ~= "" and text or nil, occupant and occupant.nick
  local children = marked(room, occupant, { { "subject", {}, text } })
  hall.broadcast(room, occupant, core.id(), unpack(children))
end

function M.tell_subject(room, viewer)
  if room.no_subject then return end
  hall.say(room, { "message", { type = "groupchat" }, { "subject", {}, room.subject or "" } },
    room.subject_by and hall.at(room, room.subject_by) or room.jid, viewer.jid)
end

-- History (XEP-0045 7.2.14)

-- An entry as the test gives it, with defaults for what is missing.
function M.old_message(room, entry, age)
  local o = type(entry) == "table" and entry or { text = entry }
  local children = marked(room, nil, { { "body", {}, o.text } })
  local stanza_id = room.stanza_ids and children[2][2].id or nil
  local occupant = room.occupants[o.nick or ""]
  if room.occupant_ids and occupant then
    children[#children + 1] = { "occupant-id", { xmlns = hall.OCCUPANT_ID, id = occupant.id } }
  end
  keep(room, { nick = o.nick or "somebody", text = o.text, id = o.id or core.id(), children = children,
    stanza_id = stanza_id, stamp = o.stamp or core.clock() - age })
end

local function told(room, entry)
  local x = { "message", { type = "groupchat", id = entry.id }, unpack(entry.children) }
  x[#x + 1] = { "delay", { xmlns = DELAY, from = room.jid, stamp = time.format(math.floor(entry.stamp)) } }
  return x
end

--- Sends the requested part of the history to a new occupant.
function M.tell_history(room, viewer, wanted)
  local attrs = wanted and wanted[2] or {}
  local since = attrs.since and time.parse(attrs.since) or attrs.seconds and core.clock() - tonumber(attrs.seconds) or 0
  local stanzas, chars = tonumber(attrs.maxstanzas) or math.huge, tonumber(attrs.maxchars) or math.huge
  local first = #room.history + 1
  for i = #room.history, 1, -1 do
    local entry = room.history[i]
    stanzas, chars = stanzas - 1, chars - #xexpr.to_xml(told(room, entry))
    if stanzas < 0 or chars < 0 or math.floor(entry.stamp) < math.floor(since) then break end
    first = i
  end
  for i = first, #room.history do
    hall.say(room, told(room, room.history[i]), hall.at(room, room.history[i].nick), viewer.jid)
  end
end

-- Messages of the program

local function to_all(room, stanza, occupant)
  if not occupant then return hall.refuse(room, stanza, "modify", "not-acceptable") end
  local subject = xexpr.child(stanza, "subject") and not xexpr.child(stanza, "body") and
    not xexpr.child(stanza, "thread")
  if subject then
    if occupant.role ~= "moderator" and not room.config.change_subject then
      return hall.refuse(room, stanza, "auth", "forbidden")
    end
    return M.set_subject(room, occupant, xexpr.text(stanza, "subject") or "")
  end
  if occupant.role == "visitor" then return hall.refuse(room, stanza, "auth", "forbidden") end
  M.reflect(room, occupant, stanza)
end

local function to_one(room, stanza, occupant, nick)
  local other = room.occupants[nick]
  if stanza[2].type == "groupchat" then return hall.refuse(room, stanza, "modify", "bad-request") end
  if not occupant then return hall.refuse(room, stanza, "modify", "not-acceptable") end
  if not other then return hall.refuse(room, stanza, "cancel", "item-not-found") end
  if other.here then M.whisper(room, occupant, other, stanza) end
end

-- A message to the room itself: invitations are recorded; anything else (requests for voice) is passed to the test.
local function to_room(room, stanza, occupant)
  local x = xexpr.child(stanza, "x", hall.USER)
  for invite in xexpr.children(x, "invite", hall.USER) do
    if not occupant then return hall.refuse(room, stanza, "cancel", "not-acceptable") end
    local bare = invite[2].to and hall.bare(invite[2].to)
    room.invited[bare or ""] = true
    if room.config.members_only and hall.affiliation(room, bare) == "none" then room.affiliations[bare] = "member" end
  end
end

--- A private message (XEP-0045 7.5).
function M.whisper(room, from, to, x)
  local children = cleaned(room, x)
  children[#children + 1] = { "x", { xmlns = hall.USER } }
  if room.occupant_ids then
    children[#children + 1] = { "occupant-id", { xmlns = hall.OCCUPANT_ID, id = from.id } }
  end
  hall.say(room, { "message", { type = "chat", id = x[2].id }, unpack(children) }, hall.at(room, from.nick), to.jid)
end

--- Handles a message to the room, from an address of the program.
function M.hear(room, stanza)
  local occupant, nick = hall.find(room, hall.sender(room, stanza)), hall.nick_in(stanza[2].to)
  if stanza[2].type == "error" then return end
  if nick then return to_one(room, stanza, occupant, nick) end
  if stanza[2].type == "groupchat" then return to_all(room, stanza, occupant) end
  to_room(room, stanza, occupant)
end

return M
