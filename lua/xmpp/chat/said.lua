-- said: which messages there were in a conversation, and who wrote them: only ids, the last ones of each conversation,
-- no texts. With this it is known whether somebody may acknowledge, correct or retract the message that a stanza
-- refers to.
--
--   local ours = said.new { places = 1000, window = 100 }
--   said.add(ours, "bob@example.net", id)                   -- we have written that to Bob
--   if said.first(ours, "bob@example.net", id) then ... end -- Bob refers to something that we have written to him
--
-- A place is a conversation: the other side's bare address, or a room's occupant. A correction has an id of its own,
-- but is the same message: the first id stands for both (XEP-0308 3: "the id of the original").

local bounded = require "xmpp.chat.bounded"
local core = require "xmpp.load"

local M = {}

local LONGEST = 64 -- longest id that is stored itself; of a longer one the hash is stored

local function short(id)
  if #id <= LONGEST then return id end
  return "#" .. core.base64(core.hash("sha-256", id))
end

---@param o { places: integer, window: integer } number of conversations, and of ids in each
---@return table said
function M.new(o)
  return { places = bounded.new(o.places), window = o.window }
end

local function open(said, name)
  local place = bounded.get(said.places, name)
  if place then return place end
  place = { first = {}, ring = {}, next = 1, got = {} }
  bounded.set(said.places, name, place)
  return place
end

local function forget(place, key)
  place.first[key], place.got[key] = nil, nil
end

--- Adds a message with that id; `first`: the id of the message that it replaces.
---@param said table
---@param name string the place
---@param id string?
---@param first string?
function M.add(said, name, id, first)
  if not id or said.window == 0 then return end
  local place, key = open(said, name), short(id)
  if place.first[key] then return end
  local oldest = place.ring[place.next]
  if oldest then forget(place, oldest) end
  place.ring[place.next], place.next = key, place.next % said.window + 1
  place.first[key] = first or id
end

--- The first id of the message with this id; nil: there was none here, or it was too long ago.
---@param said table
---@param name string
---@param id string
---@return string? first
function M.first(said, name, id)
  local place = bounded.get(said.places, name)
  return place and place.first[short(id)]
end

--- Records `what` for that message; returns whether that is new. Also false if there was no such message.
---@param said table
---@param name string
---@param id string
---@param what string
---@return boolean
function M.mark(said, name, id, what)
  local place, key = bounded.get(said.places, name), short(id)
  if not place or not place.first[key] then return false end
  local got = place.got[key] or ""
  if got:find(what, 1, true) then return false end
  place.got[key] = got .. what .. " "
  return true
end

--- Removes a retracted message: none of its ids is known any more.
---@param said table
---@param name string
---@param first string
function M.remove(said, name, first)
  local place = bounded.get(said.places, name)
  local gone = {}
  for key, its in pairs(place and place.first or {}) do
    if its == first then gone[#gone + 1] = key end
  end
  for _, key in ipairs(gone) do forget(place, key) end
end

--- Plain data for `load`: for each place its name, then ids and first ids alternately, oldest first.
---@param said table
---@return table
function M.save(said)
  local out = {}
  bounded.each(said.places, function(name, place)
    local row = { name }
    for i = 0, said.window - 1 do
      local key = place.ring[(place.next - 1 + i) % said.window + 1]
      local first = key and place.first[key]
      if first then row[#row + 1], row[#row + 2] = key, first end
    end
    out[#out + 1] = row
  end)
  return out
end

--- Ignores invalid data.
---@param said table
---@param saved any
---@param add? fun(name: string, id: string, first: string) called for each, instead of M.add
function M.load(said, saved, add)
  add = add or function(...) M.add(said, ...) end
  for _, row in ipairs(type(saved) == "table" and saved or {}) do
    for i = 2, type(row) == "table" and type(row[1]) == "string" and #row - 1 or 0, 2 do
      local id, first = row[i], row[i + 1]
      if type(id) == "string" and type(first) == "string" then add(row[1], id, first) end
    end
  end
end

return M
