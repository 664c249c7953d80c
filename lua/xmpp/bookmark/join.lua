-- bookmark/join: joins and leaves rooms according to the bookmarks, two joins at a time. For xmpp.bookmark.

local ext = require "xmpp.ext"
local muc = require "xmpp.muc"
local guard = require "xmpp.guard"
local spelling = require "xmpp.spelling"
local xmpp = require "xmpp"

local M = {}

local AT_ONCE = 2

-- The room's handle, if we are in it or rejoining it.
local function find(conn, jid)
  local m = ext.of(conn, muc)
  if not m then return nil end
  return m.rooms[jid] or m.spelled[spelling.key(jid)]
end

--- Prepares for joining rooms: our features have to be complete before presence is sent.
function M.use(conn) ext.use(conn, muc) end

-- own.wanted: address -> the bookmark with which it is to be joined, until that is done; own.queue: these, in order.

local function join(st, conn, own, entry)
  local room, err = find(conn, entry.jid), nil
  if not room then
    room, err = muc.join(conn, entry.jid, entry.nick or own.nick or conn:jid().localpart, { password = entry.password })
  end
  local still = own.wanted[entry.jid] == entry
  if still then own.wanted[entry.jid] = nil end
  if not room then
    st:emit("error", err, entry)
  elseif not still and not own.autojoins(entry.jid) then
    room:leave() -- the bookmark has changed in the meantime
  elseif own.on_room then
    guard.go("bookmark, on_room", own.on_room, room, entry)
  end
end

local function work(st, conn, own)
  while own.queue[1] and not own.gone and conn:state() ~= "closed" do
    local entry = table.remove(own.queue, 1)
    if own.wanted[entry.jid] == entry then join(st, conn, own, entry) end
  end
  own.workers = own.workers - 1
end

--- Joins the room, unless we are in it.
function M.join(st, conn, own, entry)
  if own.wanted[entry.jid] then return end
  own.wanted[entry.jid] = entry
  own.queue[#own.queue + 1] = entry
  if own.workers >= AT_ONCE then return end
  own.workers = own.workers + 1
  xmpp.spawn(function() work(st, conn, own) return true end)
end

--- Leaves the room, if we are in it.
function M.leave(conn, own, jid)
  own.wanted[jid] = nil
  local room = find(conn, jid)
  if room then xmpp.spawn(function() return room:leave() end) end
end

return M
