-- state: the occupants of a room. A crowd is { occupants = { [nick] = ... }, n = number of those, rest = { [nick] =
-- true } (only counted), beyond = number of those, ids, hats = nick -> occupant-id and hats as received, which are
-- copied to the occupants when the room has announced these features }. A room has one crowd, and another one is made
-- while rejoining.

local rooms = require "xmpp.muc.room"

local M = { events = { "join", "leave", "change", "nick", "status" }, methods = {} }

local OCCUPANT_ID, HATS = "urn:xmpp:occupant-id:0", "urn:xmpp:hats:0"
local RESTS = 10 -- times max_occupants: limit of the counted ones
local TOLD = { show = true, status = true, role = true, affiliation = true, jid = true }

--- A crowd without occupants.
function M.new_crowd() return { occupants = {}, n = 0, rest = {}, beyond = 0, ids = {}, hats = {} } end

-- Copies what is trustworthy only if the room announces it (XEP-0421 4, XEP-0317).
local function vouch(crowd, nick, features)
  local o = crowd.occupants[nick]
  if not o or not features then return end
  o.id = features[OCCUPANT_ID] and crowd.ids[nick] or nil
  o.hats = features[HATS] and crowd.hats[nick] or nil
end

--- Called when the room's features are known.
function M.vouch_all(crowd, features)
  for nick in pairs(crowd.occupants) do vouch(crowd, nick, features) end
end

local function count_only(crowd, nick, most)
  if crowd.rest[nick] or crowd.beyond >= most * RESTS then return end
  crowd.rest[nick], crowd.beyond = true, crowd.beyond + 1
end

local function count_no_more(crowd, nick)
  if not crowd.rest[nick] then return false end
  crowd.rest[nick], crowd.beyond = nil, crowd.beyond - 1
  return true
end

-- The old values of what has changed in an occupant; nil: nothing.
local function difference(o, p)
  local was
  for key in pairs(TOLD) do
    if o[key] ~= p[key] then
      was = was or {}
      was[key] = o[key] or false
    end
  end
  return was
end

--- Adds or updates an occupant. `most`: the number of occupants that are stored; nil: stored in any case (ourselves).
---@return table? occupant nil: only counted
---@return boolean whether the occupant is new
---@return table? what has changed, with the old values; false stands for nil
function M.put(crowd, p, features, most)
  local nick = p.nick
  local o = crowd.occupants[nick]
  if not o and most and crowd.n >= most then
    count_only(crowd, nick, most)
    return nil, false
  end
  local new, was = not o, nil
  if new then
    new = not count_no_more(crowd, nick)
    o = { nick = nick }
    crowd.occupants[nick], crowd.n = o, crowd.n + 1
  else
    was = difference(o, p)
  end
  o.show, o.status, o.jid = p.show, p.status, p.jid
  o.role, o.affiliation = p.role, p.affiliation
  crowd.ids[nick], crowd.hats[nick] = p.id, p.hats
  vouch(crowd, nick, features)
  return o, new, was
end

--- Removes an occupant.
---@return table? occupant if it was stored
function M.remove(crowd, nick)
  count_no_more(crowd, nick)
  local o = crowd.occupants[nick]
  if not o then return nil end
  crowd.occupants[nick], crowd.ids[nick], crowd.hats[nick] = nil, nil, nil
  crowd.n = crowd.n - 1
  return o
end

--- Changes an occupant's nick (XEP-0045 7.6). If somebody else is stored under the new one, that entry is removed.
---@return table? occupant
function M.rename(crowd, old, new)
  local o = crowd.occupants[old]
  if not o or old == new then return nil end
  M.remove(crowd, new)
  crowd.occupants[new], crowd.ids[new], crowd.hats[new] = o, crowd.ids[old], crowd.hats[old]
  crowd.occupants[old], crowd.ids[old], crowd.hats[old] = nil, nil, nil
  o.nick = new
  return o
end

--- Sets the room's crowd.
function M.set(room, crowd)
  rooms.own(room).crowd = crowd
  room.occupants, room.beyond = crowd.occupants, crowd.beyond
end

--- Copies our own entry to the room's fields.
function M.is_us(room, o)
  rooms.own(room).occupant = o
  room.nick, room.role, room.affiliation = o.nick, o.role, o.affiliation
end

--- The occupants of one crowd that aren't in the other.
---@return table[] occupants
function M.without(crowd, other)
  local out = {}
  for nick, o in pairs(crowd.occupants) do
    if not other.occupants[nick] then out[#out + 1] = o end
  end
  table.sort(out, function(a, b) return a.nick < b.nick end)
  return out
end

-- Why somebody has left, as far as the room says it (XEP-0045 9 and 15.6).
local CODES = { 301, 321, 322, 332, 333, 307 }

--- { code =?, reason =?, by =?, destroyed =?, alternative =? } of a presence of type unavailable.
function M.why(p)
  local why = { reason = p.reason, by = p.by, destroyed = p.destroyed, alternative = p.alternative }
  for _, code in ipairs(CODES) do
    if p.codes[code] and not why.code then why.code = code end
  end
  return why
end

-- An occupant has a new nick; if it is ours, we asked for it or the service has changed it.
local function renamed(room, o, old)
  local own = rooms.own(room)
  if o == own.occupant then
    M.is_us(room, o)
    if own.renaming then own.renaming.done:resolve(o.nick) end
  end
  rooms.tell(room, "nick", o, old)
end

local function here(room, p)
  local own = rooms.own(room)
  local us = p.codes[110] or own.occupant ~= nil and own.occupant.nick == p.nick
  if us and own.occupant and own.occupant.nick ~= p.nick then -- without an announcement
    local old = own.occupant.nick
    local o = M.rename(own.crowd, old, p.nick)
    if o then renamed(room, o, old) end
  end
  local o, new, was = M.put(own.crowd, p, room.features, own.opts.max_occupants)
  room.beyond = own.crowd.beyond
  if us and o then M.is_us(room, o) end
  if new and not us then return rooms.tell(room, "join", o) end
  if was then rooms.tell(room, "change", o, was) end
end

local function gone(room, p)
  local own = rooms.own(room)
  if p.codes[303] and p.renamed then
    local o = M.rename(own.crowd, p.nick, p.renamed)
    if o then return renamed(room, o, p.nick) end
  end
  local o = M.remove(own.crowd, p.nick)
  room.beyond = own.crowd.beyond
  if o then rooms.tell(room, "leave", o, M.why(p)) end
end

--- Handles presences of occupants while we are in the room. (The end of our own is handled by alive.lua before.)
function M.presence(room, p)
  if rooms.own(room).state ~= "in" or not p.nick then return end
  if p.type == nil then here(room, p) end
  if p.type == "unavailable" then gone(room, p) end
end

--- The room's features have arrived.
function M.info(room)
  local crowd = rooms.own(room).crowd
  if crowd then M.vouch_all(crowd, room.features) end
end

return M
