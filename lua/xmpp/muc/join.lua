-- join: muc.join, which waits for a session, for the room, and for the room's features.

local core = require "xmpp.load"
local disco = require "xmpp.disco"
local enter = require "xmpp.muc.enter"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local hear = require "xmpp.muc.hear"
local options = require "xmpp.muc.options"
local rooms = require "xmpp.muc.room"
local xmpp = require "xmpp"

local M = { functions = {} }

local unpack = table.unpack or unpack -- luacheck: ignore 143
local GRACE = 5 -- seconds to wait for the features after we have joined

-- Waits for a session; alive.lua handles its start.
local function wait_ready(st, conn, deadline)
  while conn:state() ~= "ready" do
    if conn:state() == "closed" then return rooms.closed() end
    st.ready = st.ready or xmpp.promise()
    local ok, err = st.ready:wait(math.max(0, deadline - core.now()))
    if not ok then return nil, err end
  end
  return true
end

local function enter_first(room, conn)
  local own = rooms.own(room)
  local deadline = core.now() + own.opts.timeout
  while true do
    local ok, err = wait_ready(own.st, conn, deadline)
    if ok then ok, err = enter.try(room, conn, false, deadline) end
    if ok then return true end
    if err.condition ~= "session-lost" or core.now() >= deadline then return nil, err end
  end
end

-- Lets the caller of muc.join add listeners first, and then emits the events that have been held back.
local function let_listen(room)
  local own = rooms.own(room)
  core.spawn(function()
    local held = own.held
    own.held = nil
    for _, event in ipairs(held or {}) do room:emit(event[1], unpack(event, 2, event.n + 1)) end
  end)
end

local function join_new(st, conn, jid, nick, opts)
  local room = rooms.new(st, conn, tostring(jid), nick, opts)
  local own = rooms.own(room)
  own.settled = xmpp.promise()
  rooms.register(st, room, true)
  hear.listen(room, conn)
  local ok, err = enter_first(room, conn)
  if not ok then
    enter.over(room, err)
    return nil, err
  end
  if own.features_asked then own.features_asked:wait(GRACE) end
  let_listen(room)
  return room
end

-- The room is joined already, or will be again.
local function join_known(room, opts, given)
  local own = rooms.own(room)
  if given then own.opts = opts end
  if own.state == "in" then return room end
  own.settled = own.settled or xmpp.promise()
  local ok, err = own.settled:wait(opts.timeout)
  if ok then return room end
  return nil, err or rooms.gone_error(room)
end

--- Joins a room, and waits until we are in: until our own presence has come back and, after it, the subject, for which
--- it waits 5 seconds. If we are in the room already, that room is returned. If it fails, err.option names the option
--- that could help.
---@param conn xmpp.Conn
---@param room string|xmpp.Jid
---@param nick string
---@param opts? xmpp.JoinOpts
---@return xmpp.Room? room
---@return xmpp.Error? err
function M.functions.join(conn, room, nick, opts)
  guard.check_conn(conn, "join", 2)
  if not core.is_jid(room) then guard.check_type(room, "string", 2, "join", 2) end
  guard.check_type(nick, "string", 3, "join", 2)
  local o = options.read(opts, 2)
  local jid, bad = core.jid(room)
  if not jid then return nil, bad end
  if jid.resourcepart then error("bad argument #2 to 'join' (a room's address has no resource)", 2) end
  local address
  address, bad = core.jid(("%s/%s"):format(tostring(jid), nick))
  if not address then
    bad.option = "nick"
    return nil, bad
  end
  local st, closed = ext.use(conn, rooms.muc, nil, 2)
  if not st then return nil, closed end
  local known = st.rooms[tostring(jid)]
  if known then return join_known(known, o, opts ~= nil) end
  return join_new(st, conn, jid, address.resourcepart, o)
end

--- We have joined: continues those who wait for that.
function M.entered(room)
  local own = rooms.own(room)
  if own.settled then own.settled:resolve(true) end
  own.settled = nil
end

-- Occupants of a room that we are in may know that we are available (disco.allows).
function M.start(st, conn)
  st.allowed = disco.allow(conn, function(from)
    local jid = core.jid(from)
    local room = jid and jid.resourcepart and rooms.find(st, jid:bare())
    return room ~= nil and room and room.joined and room.occupants[jid.resourcepart] ~= nil
  end)
end

function M.session(st)
  local ready = st.ready
  st.ready = nil
  if ready then ready:resolve(true) end
end

function M.stop(st, conn)
  st.allowed()
  if st.ready then st.ready:resolve(true) end
  for _, room in ipairs(rooms.all(st)) do
    enter.leave_on_drop(room, conn)
    enter.over(room, select(2, rooms.closed()))
    room:emit "closed"
  end
end

return M
