-- leave: changes of our own occupancy: another nick (XEP-0045 7.6), another status (7.7), and leaving (7.14).

local core = require "xmpp.load"
local enter = require "xmpp.muc.enter"
local guard = require "xmpp.guard"
local rooms = require "xmpp.muc.room"
local said = require "xmpp.presence"
local xmpp = require "xmpp"

local M = { methods = {} }

local GOODBYE = 5 -- seconds to wait for the room to confirm that we have left

-- Sends a new presence of ours to the rooms, too, unless they have a separate one: the server doesn't forward it to
-- them (RFC 6121 4.6.3).
local function tell_rooms(st, stanza, conn)
  if (stanza[2] or {}).to or not next(st.rooms) then return end
  core.spawn(function() -- after the presence itself
    local last, rebound = said.last(conn), conn:info().rebound
    for _, room in ipairs(last and conn:state() == "ready" and rooms.all(st) or {}) do
      local own = rooms.own(room)
      if own.state == "in" and own.session == rebound and not own.opts.presence and not own.leaving then
        rooms.send(conn, enter.presence_to(room, conn, rooms.address(room, room.nick), core.id()))
      end
    end
  end)
end

M.adds = { { { name = "presence" }, tell_rooms } }

-- Requests a new nick, and waits for the result.
local function ask_nick(room, conn, address)
  local own = rooms.own(room)
  local renaming = { id = core.id(), done = xmpp.promise() }
  own.renaming = renaming
  local ok, err = rooms.send(conn, enter.presence_to(room, conn, address, renaming.id))
  local nick
  if ok then nick, err = renaming.done:wait(own.opts.timeout) end
  if own.renaming == renaming then own.renaming = nil end
  if nick then own.wanted = nick end
  return nick, err
end

--- Asks for another nick, and waits for it.
---@param nick string
---@return string? nick the one that we have then
---@return xmpp.Error? err condition "conflict" if somebody else has it
function M.methods.set_nick(room, nick)
  guard.check_type(nick, "string", 1, "set_nick", 2)
  local conn, err = rooms.conn(room)
  if not conn then return nil, err end
  local own = rooms.own(room)
  local address, bad = rooms.address(room, nick)
  if not address then return nil, bad end
  if own.state ~= "in" then return rooms.not_in(room) end
  if address.resourcepart == room.nick then return room.nick end
  while own.renaming do own.renaming.done:wait() end -- one at a time
  return ask_nick(room, conn, address)
end

--- Leaves the room for good. Waits until the room has confirmed it, for 5 seconds at most.
---@param status? string a text for the occupants
---@return true
function M.methods.leave(room, status)
  if status ~= nil then guard.check_type(status, "string", 1, "leave", 2) end
  local own, conn = rooms.own(room), rooms.conn(room)
  if own.state == "over" then return true end
  local address = rooms.address(room, own.entry and own.entry.nick or room.nick)
  if conn and (own.entry or own.state == "in") then
    own.leaving = xmpp.promise()
    rooms.send(conn, { "presence", { to = address, type = "unavailable" }, status and { "status", {}, status } or nil })
    if own.state == "in" and conn:state() == "ready" then own.leaving:wait(GOODBYE) end
  end
  enter.over(room)
  return true
end

--- The room has ended: ends the calls that wait for it.
function M.ended(room, err)
  local own = rooms.own(room)
  if own.renaming then own.renaming.done:reject(err or rooms.gone_error(room)) end
  if own.leaving then own.leaving:resolve(true) end
end

return M
