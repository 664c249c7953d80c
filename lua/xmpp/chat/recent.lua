-- recent: was this message reported already? The same message may arrive several times: as a carbon, from the archive,
-- or again in a new session of its sender (XEP-0198), where the server assigns another id than the first time.
--
--   local recent = require "xmpp.chat.recent".new(1000)
--   if not seen(recent, m) then tell(m) end
--
-- Two messages are the same if the same entity has assigned the same id to them (m.by, m.stanza_id; m contains only
-- trusted ids, see message.lua), or the same sender has (m.origin_id). The latter is up to the sender, who can hide
-- only their own messages by it.
--
-- Messages from the archive (archived) are stored separately, so that catching up on thousands doesn't displace the
-- few that have arrived live in the meantime.

local bounded = require "xmpp.chat.bounded"
local core = require "xmpp.load"

local M = {}

local function key_of(kind, who, id)
  if not who or not id then return nil end
  local key = kind .. who .. " " .. id
  if #key <= 200 then return key end
  return "#" .. core.base64(core.hash("sha-256", key))
end

---@param most integer how many messages are remembered
---@return table recent
function M.new(most)
  return { by_service = bounded.new(2 * most), by_sender = bounded.new(2 * most),
    archived = { by_service = bounded.new(2 * most), by_sender = bounded.new(2 * most) } }
end

local function is_there(maps, service, own)
  return service and bounded.get(maps.by_service, service) or own and bounded.get(maps.by_sender, own)
end

-- into: the maps in which it is stored.
local function seen(recent, into, m, sender)
  local service = key_of("", m.by, m.stanza_id)
  local own = key_of("", sender or m.from:match "^[^/]*", m.origin_id)
  local was = is_there(recent, service, own) or is_there(recent.archived, service, own)
  if service then bounded.set(into.by_service, service, true) end
  if own then bounded.set(into.by_sender, own, true) end
  return was == true
end

--- Was the message there before? Adds it.
---@param recent table
---@param m xmpp.Message
---@param sender? string the owner of the origin-id, if not the sender's bare address (an occupant)
---@return boolean
function M.seen(recent, m, sender) return seen(recent, recent, m, sender) end

--- The same for a message from an archive.
---@param recent table
---@param m xmpp.Message
---@return boolean
function M.archived(recent, m) return seen(recent, recent.archived, m) end

local function keys(map)
  local out = {}
  bounded.each(map, function(key) out[#out + 1] = key end)
  return out
end

--- Plain data for `load`.
---@param recent table
---@return table
function M.save(recent)
  return { by_service = keys(recent.by_service), by_sender = keys(recent.by_sender) }
end

---@param recent table
---@param saved any
function M.load(recent, saved)
  for _, name in ipairs { "by_service", "by_sender" } do
    local list = type(saved) == "table" and saved[name]
    for _, key in ipairs(type(list) == "table" and list or {}) do
      if type(key) == "string" then bounded.set(recent[name], key, true) end
    end
  end
end

return M
