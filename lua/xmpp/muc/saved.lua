-- saved: the rooms that we are in, as plain data for ext.save, and back: the process that takes over rejoins them and
-- gets what was said since, whether the session is resumed or not (a room takes a second join as a request for all the
-- presences). Options that are functions aren't saved: a call of muc.join for the same room sets them.

local alive = require "xmpp.muc.alive"
local core = require "xmpp.load"
local hear = require "xmpp.muc.hear"
local options = require "xmpp.muc.options"
local outbox = require "xmpp.muc.outbox"
local rooms = require "xmpp.muc.room"
local xexpr = require "xmpp.xexpr"

local M = {}

local function plain_options(opts)
  local out = {}
  for name, v in pairs(opts) do
    if type(v) ~= "function" then out[name] = v end
  end
  return out
end

--- The data contain the rooms' passwords.
function M.save(st)
  local out = {}
  for i, room in ipairs(rooms.all(st)) do
    local own, waiting = rooms.own(room), {}
    for j, entry in ipairs(own.outbox.waiting or {}) do waiting[j] = xexpr.canonical(entry.x) end
    out[i] = { jid = room.jid, nick = own.wanted, opts = plain_options(own.opts), seen = own.seen,
      subject = room.subject, waiting = waiting }
  end
  return out
end

local function load_room(st, conn, saved)
  local jid = core.jid(saved.jid)
  local address = jid and core.jid(("%s/%s"):format(saved.jid, saved.nick))
  if not address or st.rooms[tostring(jid)] then return end
  local room = rooms.new(st, conn, tostring(jid), address.resourcepart, options.read(saved.opts, 1))
  local own = rooms.own(room)
  own.state, own.held, own.loaded = "out", nil, true
  own.seen, room.subject = tonumber(saved.seen), saved.subject
  rooms.register(st, room, true)
  hear.listen(room, conn)
  for _, x in ipairs(saved.waiting or {}) do outbox.put(room, x, {}) end
end

function M.load(st, saved)
  local conn = st.link.conn
  for _, one in ipairs(saved) do load_room(st, conn, one) end
end

function M.start(st, conn) st.link = setmetatable({ conn = conn }, { __mode = "v" }) end

--- Rejoins the rooms in the first session of this process.
function M.session(st, conn, first)
  local list = {}
  for _, room in ipairs(first and rooms.all(st) or {}) do
    local own = rooms.own(room)
    if own.loaded then list[#list + 1] = room end
    own.loaded = nil
  end
  alive.return_all(list, conn)
end

return M
