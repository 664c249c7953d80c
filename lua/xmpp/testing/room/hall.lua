-- hall: the occupants of a test's room, and what each of them sees of the others (XEP-0045 7). Required by
-- xmpp.testing.room and its parts alone.
--
-- An occupant is { nick =, jid =, role =, affiliation =, id =, show =, status =, here = }; here: it is the program's;
-- only such an occupant is sent anything.

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local M = {
  MUC = "http://jabber.org/protocol/muc", USER = "http://jabber.org/protocol/muc#user",
  ADMIN = "http://jabber.org/protocol/muc#admin", OWNER = "http://jabber.org/protocol/muc#owner",
  STANZA_ID = "urn:xmpp:sid:0", OCCUPANT_ID = "urn:xmpp:occupant-id:0", FORM = "jabber:x:data",
  RETRACT = "urn:xmpp:message-retract:1", MODERATE = "urn:xmpp:message-moderate:1",
}

local ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"

-- Addresses

function M.bare(jid) return tostring(assert(core.jid(jid)):bare()) end

--- The sender of a received stanza.
function M.sender(room, stanza) return stanza[2].from or tostring(room.test.conn:jid()) end

function M.at(room, nick) return tostring(assert(core.jid(room.jid)):with_resource(nick)) end

--- The nick in an address, nil: it is the room's own.
function M.nick_in(to) return core.jid(to).resourcepart end

--- The occupant with this full address.
function M.find(room, jid)
  for _, occupant in pairs(room.occupants) do
    if occupant.jid == jid then return occupant end
  end
end

--- The program's occupants, in a reproducible order.
function M.here(room)
  local out = {}
  for _, occupant in pairs(room.occupants) do
    if occupant.here then out[#out + 1] = occupant end
  end
  table.sort(out, function(a, b) return a.jid < b.jid end)
  return out
end

--- All occupants, sorted by nick.
function M.all(room)
  local out = {}
  for _, occupant in pairs(room.occupants) do out[#out + 1] = occupant end
  table.sort(out, function(a, b) return a.nick < b.nick end)
  return out
end

-- Roles and affiliations

function M.affiliation(room, jid) return room.affiliations[M.bare(jid)] or "none" end

--- The role of a new occupant with that affiliation (XEP-0045 5.1.2).
function M.first_role(room, affiliation)
  if affiliation == "owner" or affiliation == "admin" then return "moderator" end
  return affiliation == "none" and room.config.moderated and "visitor" or "participant"
end

-- The occupant-id, which is the same each time for the same account (XEP-0421).
local function occupant_id(room, jid)
  local key = M.bare(jid)
  if not room.ids[key] then
    room.known = room.known + 1
    room.ids[key] = ("occupant-%d"):format(room.known)
  end
  return room.ids[key]
end

--- Adds an occupant: a nick, or a table with more details.
function M.put(room, o)
  if type(o) == "string" then o = { nick = o } end
  room.strangers = room.strangers + (o.jid and 0 or 1)
  local jid = o.jid or ("person-%d@people.example/room"):format(room.strangers)
  if o.affiliation then room.affiliations[M.bare(jid)] = o.affiliation end
  local affiliation = M.affiliation(room, jid)
  local occupant = { nick = M.nick_in(M.at(room, o.nick)), jid = jid, affiliation = affiliation, here = o.here,
    role = o.role or M.first_role(room, affiliation), id = occupant_id(room, jid), show = o.show, status = o.status,
    more = o.more }
  room.occupants[occupant.nick] = occupant
  return occupant
end

-- Sending

--- Sends a stanza to one of the program's addresses.
function M.say(room, x, from, to)
  x[2].from, x[2].to = from, to
  room.test.server:say_stanza(x)
end

--- Answers a stanza with an error.
function M.refuse(room, stanza, type, condition, text)
  local out = { stanza[1], { type = "error", id = stanza[2].id } }
  for i = 3, #stanza do out[#out + 1] = stanza[i] end
  out[#out + 1] = { "error", { type = type, by = room.jid }, { condition, { xmlns = ERRORS } },
    text and { "text", { xmlns = ERRORS }, text } or nil }
  M.say(room, out, stanza[2].to, M.sender(room, stanza))
end

local function shows_jid(room, viewer) return room.config.whois == "anyone" or viewer.role == "moderator" end

-- The muc#user element of an occupant's presence. o: what happens to it, see `presence`.
local function user(room, occupant, viewer, o)
  local gone = o.type == "unavailable" and not o.nick
  local item = { "item", { affiliation = occupant.affiliation, role = gone and "none" or occupant.role, nick = o.nick,
    jid = shows_jid(room, viewer) and occupant.jid or nil } }
  if o.by then item[#item + 1] = { "actor", { nick = o.by } } end
  if o.reason then item[#item + 1] = { "reason", {}, o.reason } end
  local x = { "x", { xmlns = M.USER }, item }
  for _, code in ipairs(o.codes or {}) do x[#x + 1] = { "status", { code = code } } end
  if viewer == occupant then x[#x + 1] = { "status", { code = "110" } } end
  x[#x + 1] = o.destroy
  return x
end

--- Sends an occupant's presence to a viewer. o: type; nick, the new one (303); codes; by and reason; destroy, an
--- element; status, a text.
function M.presence(room, occupant, viewer, o)
  o = o or {}
  local out = { "presence", { type = o.type } }
  if occupant.show and not o.type then out[#out + 1] = { "show", {}, occupant.show } end
  local status = o.status or not o.type and occupant.status
  if status then out[#out + 1] = { "status", {}, status } end
  for _, x in ipairs(not o.type and occupant.more or {}) do out[#out + 1] = x end
  if room.occupant_ids then out[#out + 1] = { "occupant-id", { xmlns = M.OCCUPANT_ID, id = occupant.id } } end
  out[#out + 1] = user(room, occupant, viewer, o)
  M.say(room, out, M.at(room, o.old or occupant.nick), viewer.jid)
end

--- The same to all of the program's occupants.
function M.show(room, occupant, o)
  for _, viewer in ipairs(M.here(room)) do M.presence(room, occupant, viewer, o) end
end

--- Removes an occupant; all are told, including itself, unless it is `silent`.
function M.remove(room, occupant, o)
  o.type = "unavailable"
  if not o.silent then M.show(room, occupant, o) end
  room.occupants[occupant.nick] = nil
end

--- Changes a nick (XEP-0045 7.6).
function M.rename(room, occupant, nick)
  local old = occupant.nick
  nick = M.nick_in(M.at(room, nick))
  M.show(room, occupant, { type = "unavailable", nick = nick, codes = { "303" } })
  room.occupants[old], room.occupants[nick] = nil, occupant
  occupant.nick = nick
  M.show(room, occupant)
end

--- A message to all of the program's occupants, from an occupant, or the room if there is none, with these children.
function M.broadcast(room, occupant, id, ...)
  for _, viewer in ipairs(M.here(room)) do
    M.say(room, { "message", { type = "groupchat", id = id }, ... }, occupant and M.at(room, occupant.nick) or room.jid,
      viewer.jid)
  end
end

--- Sends status codes in a message from the room itself (XEP-0045 10.2.1).
function M.status(room, ...)
  local x = { "x", { xmlns = M.USER } }
  for _, code in ipairs { ... } do x[#x + 1] = { "status", { code = tostring(code) } } end
  M.broadcast(room, nil, core.id(), x)
end

--- The text of an element's child.
function M.text(x, ...) return xexpr.text(x, ...) end

return M
