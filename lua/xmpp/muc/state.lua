-- state: who is in a room. A crowd is { occupants = { [nick] = ... }, n = how many those are, rest = { [nick] = true }
-- (they are counted only), beyond = how many those are, ids, hats = nick -> occupant-id and hats as they came, which
-- are put into the occupants when the room has told that it announces them }. A room has one, and while it is entered
-- again another one is made.

local rooms = require "xmpp.muc.room"

local M = { events = { "join", "leave", "change", "nick", "status" }, methods = {} }

local OCCUPANT_ID, HATS = "urn:xmpp:occupant-id:0", "urn:xmpp:hats:0"
local RESTS = 10 -- times max_occupants: so many more are counted, and no more than that
local TOLD = { show = true, status = true, role = true, affiliation = true, jid = true }

--- Nobody.
function M.new_crowd() return { occupants = {}, n = 0, rest = {}, beyond = 0, ids = {}, hats = {} } end

-- What only a room that announces it can vouch for (XEP-0421 4, XEP-0317).
local function vouch(crowd, nick, features)
  local o = crowd.occupants[nick]
  if not o or not features then return end
  o.id = features[OCCUPANT_ID] and crowd.ids[nick] or nil
  o.hats = features[HATS] and crowd.hats[nick] or nil
end

--- The room has told what it announces.
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

-- What an occupant was, where that isn't what his presence says; nil: it is.
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

--- Somebody is there, or still is. `most`: so many have a place; nil: he has one in any case (we ourselves).
---@return table? occupant nil: he is counted only
---@return boolean new hasn't he been there before?
---@return table? was what of him was otherwise; false stands for nil
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

--- Somebody isn't there any more.
---@return table? occupant who had a place
function M.remove(crowd, nick)
  count_no_more(crowd, nick)
  local o = crowd.occupants[nick]
  if not o then return nil end
  crowd.occupants[nick], crowd.ids[nick], crowd.hats[nick] = nil, nil, nil
  crowd.n = crowd.n - 1
  return o
end

--- Somebody has another nick (XEP-0045 7.6). Where somebody else has it already, he is gone.
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

--- The room has this crowd.
function M.set(room, crowd)
  rooms.own(room).crowd = crowd
  room.occupants, room.beyond = crowd.occupants, crowd.beyond
end

--- The room's own entry for us says what we are.
function M.is_us(room, o)
  rooms.own(room).occupant = o
  room.nick, room.role, room.affiliation = o.nick, o.role, o.affiliation
end

--- Those that one crowd has and the other one hasn't.
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

--- { code =?, reason =?, by =?, destroyed =?, alternative =? } of a presence that ends something.
function M.why(p)
  local why = { reason = p.reason, by = p.by, destroyed = p.destroyed, alternative = p.alternative }
  for _, code in ipairs(CODES) do
    if p.codes[code] and not why.code then why.code = code end
  end
  return why
end

-- We have another nick, by our wish or the service's.
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
  if us and own.occupant and own.occupant.nick ~= p.nick then -- without a word of it before
    local old = own.occupant.nick
    local o = M.rename(own.crowd, old, p.nick)
    if o then renamed(room, o, old) end
  end
  local o, new, was = M.put(own.crowd, p, room.features, not us and own.opts.max_occupants or nil)
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

--- Whoever is there, comes and goes while we are in the room. (Our own end is for alive.lua, which is asked before.)
function M.presence(room, p)
  if rooms.own(room).state ~= "in" or not p.nick then return end
  if p.type == nil then here(room, p) end
  if p.type == "unavailable" then gone(room, p) end
end

--- The room's features have come.
function M.info(room)
  local crowd = rooms.own(room).crowd
  if crowd then M.vouch_all(crowd, room.features) end
end

return M
