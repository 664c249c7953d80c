-- shown: hashes of pictures in presences (XEP-0153): in ours, and in those of others for `watch`. For xmpp.avatar.

local core = require "xmpp.load"
local bounded = require "xmpp.chat.bounded"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local hash = require "xmpp.avatar.hash"
local xexpr = require "xmpp.xexpr"

local M = {}

local UPDATE, USER = "vcard-temp:x:update", "http://jabber.org/protocol/muc#user"
local MOST = 1000 -- addresses whose last hash is remembered

-- Our own hash. A presence without `<photo/>` differs from one that says that there is no picture (XEP-0153 3.1).
M.adds = { { { name = "presence" }, function(st, stanza)
  if not st.active or (stanza[2] or {}).to and not st.rooms then return nil end
  local x = { "x", { xmlns = UPDATE } }
  if st.known or st.hash then x[3] = { "photo", {}, st.hash } end
  return x
end } }

-- Hashes of others

-- The hash in a presence; false: it says that there is no picture; nil: it says nothing.
local function read(stanza)
  local photo = xexpr.child(xexpr.child(stanza, "x", UPDATE), "photo")
  if not photo then return nil end
  local text = xexpr.text(photo):gsub("%s", "")
  if text == "" then return false end
  return hash.read(text)
end

-- The owner of the picture, if we are interested: a contact, or an occupant of a room.
local function whose(st, stanza, conn)
  local jid = core.jid(xexpr.attr(stanza, "from") or "")
  if not jid then return nil end
  if xexpr.child(stanza, "x", USER) then return st.rooms and tostring(jid) or nil end
  local bare = jid:bare()
  if bare == conn:jid():bare() then return tostring(bare) end
  local roster = require "xmpp.roster"
  return roster.subscription(conn, jid) and tostring(bare) or nil
end

local Seen = { name = "avatar-presence", events = { "avatar" } }

Seen.taps = { { { name = "presence", has = UPDATE }, function(st, stanza, conn)
  if xexpr.attr(stanza, "type") then return end
  local now = read(stanza)
  local jid = now ~= nil and whose(st, stanza, conn)
  if not jid or bounded.get(st.last, jid) == now then return end
  bounded.set(st.last, jid, now)
  st:emit("avatar", jid, now and { id = now, vcard = true } or nil)
end } }

function Seen.start(st) st.last, st.rooms, st.n = bounded.new(MOST), false, 0 end

--- Calls f(jid, meta) for new hashes.
---@return fun() off
function M.watch(conn, f, rooms)
  local roster = require "xmpp.roster"
  ext.use(conn, roster)
  local st = ext.use(conn, Seen)
  if not st then return function() end end
  if rooms then st.rooms = true end
  return st:on("avatar", function(jid, meta)
    local is_occupant = jid:find("/", 1, true) ~= nil
    if not is_occupant or rooms then guard.go("avatar", f, jid, meta) end
  end)
end

return M
