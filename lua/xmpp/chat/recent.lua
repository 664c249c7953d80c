-- recent: was this message told of already? The same message may come several times: as a copy of what another client
-- got, from the archive, or once more in a new session of its sender's (XEP-0198), where the server gives it another
-- id than the first time.
--
--   local recent = require "xmpp.chat.recent".new(1000)
--   if not seen(recent, m) then tell(m) end
--
-- Two messages are one if the same entity gave them the same id (m.by, m.stanza_id; only ids that can be believed are
-- in m, see message.lua), or the same sender did (m.origin_id). The latter is the sender's word: he can hide messages
-- of his own by it, and nobody else's.
--
-- Those that the archive has told of (archived) are kept beside the others, so that catching up with thousands doesn't
-- make the few be forgotten that have come meanwhile.

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

-- into: the maps in which it is from now on.
local function seen(recent, into, m, sender)
  local service = key_of("", m.by, m.stanza_id)
  local own = key_of("", sender or m.from:match "^[^/]*", m.origin_id)
  local was = is_there(recent, service, own) or is_there(recent.archived, service, own)
  if service then bounded.set(into.by_service, service, true) end
  if own then bounded.set(into.by_sender, own, true) end
  return was == true
end

--- Was it there before? It is from now on.
---@param recent table
---@param m xmpp.Message
---@param sender? string whose origin-id it is, if not the sender's bare address (an occupant)
---@return boolean
function M.seen(recent, m, sender) return seen(recent, recent, m, sender) end

--- The same, of a message that an archive has told of.
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
