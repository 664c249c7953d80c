-- enter: handles a program's presence to a test's room: joining, history, nicks, leaving (XEP-0045 7.1 to 7.14).
-- Required by xmpp.testing.room alone.

local hall = require "xmpp.testing.room.hall"
local speak = require "xmpp.testing.room.speak"
local xexpr = require "xmpp.xexpr"

-- Why a join is refused: an error's type and condition; nil: it isn't.
local function objection(room, stanza, jid, nick)
  local affiliation, config = hall.affiliation(room, jid), room.config
  local other = room.occupants[nick]
  local password = hall.text(xexpr.child(stanza, "x", hall.MUC), "password", hall.MUC)
  local is_owner = affiliation == "owner"
  if room.locked and not is_owner then return "cancel", "item-not-found" end
  if affiliation == "outcast" then return "auth", "forbidden" end
  if config.members_only and affiliation == "none" then return "auth", "registration-required" end
  if config.password and password ~= config.password then return "auth", "not-authorized" end
  if other and other.jid ~= jid then return "cancel", "conflict" end
  if config.max and #hall.all(room) >= config.max and not is_owner then return "wait", "service-unavailable" end
end

-- The program's own children of its presence, which are shown to the others.
local function own_parts(stanza)
  local out = {}
  for i = 3, #stanza do
    local x = stanza[i]
    if type(x) == "table" and x[1] ~= "show" and x[1] ~= "status" and (x[2] or {}).xmlns ~= hall.MUC then
      out[#out + 1] = x
    end
  end
  return out
end

local function take_presence(occupant, stanza)
  occupant.show, occupant.status, occupant.more = xexpr.text(stanza, "show"), xexpr.text(stanza, "status"),
    own_parts(stanza)
end

-- Everything that a new occupant is sent, in order: the others, itself, history, subject.
local function welcome(room, occupant, stanza, codes)
  for _, other in ipairs(hall.all(room)) do
    if other ~= occupant then hall.presence(room, other, occupant) end
  end
  hall.show(room, occupant, { codes = codes })
  speak.tell_history(room, occupant, xexpr.find(stanza, { "x", hall.MUC }, { "history", hall.MUC }))
  speak.tell_subject(room, occupant)
end

local function come_in(room, stanza, jid, nick)
  local created = not room.exists
  if created then
    room.exists, room.locked, room.affiliations[hall.bare(jid)] = true, true, "owner"
  end
  local type, condition = objection(room, stanza, jid, nick)
  if type then return hall.refuse(room, stanza, type, condition) end
  local codes = {}
  local taken = room.assigns and room.assigns(nick)
  if taken and taken ~= nick then codes[#codes + 1], nick = "210", taken end
  if room.config.whois == "anyone" then codes[#codes + 1] = "100" end
  if created then codes[#codes + 1] = "201" end
  local occupant = hall.put(room, { nick = nick, jid = jid, here = true })
  take_presence(occupant, stanza)
  welcome(room, occupant, stanza, codes)
end

-- A presence that isn't a join, from somebody who isn't in the room: answers that they are not in it (333).
local function out_of_step(room, stanza, jid)
  hall.say(room, { "presence", { type = "unavailable" }, { "x", { xmlns = hall.USER },
    { "item", { affiliation = hall.affiliation(room, jid), role = "none" } }, { "status", { code = "110" } },
    { "status", { code = "333" } } } }, stanza[2].to, jid)
end

local function move(room, stanza, occupant, nick)
  if room.occupants[nick] then return hall.refuse(room, stanza, "cancel", "conflict") end
  if occupant.role == "visitor" and room.config.moderated then
    return hall.refuse(room, stanza, "cancel", "not-allowed")
  end
  hall.rename(room, occupant, nick)
end

--- Handles a presence to the room, from an address of the program.
local function enter(room, stanza)
  local jid, nick = hall.sender(room, stanza), hall.nick_in(stanza[2].to)
  local occupant, kind = hall.find(room, jid), stanza[2].type
  if kind == "unavailable" then
    if occupant then hall.remove(room, occupant, { status = xexpr.text(stanza, "status") }) end
    return
  end
  if kind then return end
  if not nick then return hall.refuse(room, stanza, "modify", "jid-malformed") end
  local knocks = xexpr.child(stanza, "x", hall.MUC)
  if not occupant and not knocks then return out_of_step(room, stanza, jid) end
  if not occupant then return come_in(room, stanza, jid, nick) end
  if occupant.nick ~= nick then return move(room, stanza, occupant, nick) end
  take_presence(occupant, stanza)
  if knocks then return welcome(room, occupant, stanza, {}) end
  hall.show(room, occupant)
end

--- Removes the program's occupants without telling anybody: those of that address, or all.
local function forget(room, jid)
  for _, occupant in ipairs(hall.here(room)) do
    if not jid or occupant.jid == jid then room.occupants[occupant.nick] = nil end
  end
end

return { enter = enter, forget = forget }
