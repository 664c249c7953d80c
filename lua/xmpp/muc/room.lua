-- room: how a room is put together. A handle (see handle.lua) that programs read and call, and `own`, the private state
-- for the files of muc/. Each of those files is a part: a table with any of
--
--   events       names that room:on takes
--   methods      of the room: f(room, ...)
--   functions    of xmpp.muc: f(conn, ...)
--   extension_events, taps, adds   of the extension: see ext.lua
--   start(st, conn), session(st, conn, first), resumed(st, conn), stop(st, conn)   its hooks
--   presence(room, p, stanza)   each presence from the room or an occupant, including type error; p: what presence.read
--                            returned; if it returns true, the presence isn't passed to the following parts
--   message(room, stanza)    each message from the room or an occupant, of any type; true: the same (enter.lua takes
--                            the subject that ends a join)
--   entered(room, again)     we have joined (again: rejoined)
--   ended(room, err)         we are out of it for good, the handle is invalid; err nil: we have left
--   info(room)               room.features has been set, or set again
--
-- `st` is the extension's state: st.rooms, by prepared bare address; st.spelled, by the key of all its spellings.
--
-- The room's public fields: jid (prepared bare address), nick (ours, as the room writes it), joined (are we in it
-- now?), subject (text or nil), affiliation, role (ours), features ({ [feature] = true }, nil until the room has
-- announced them), occupants = { [nick] = { nick, jid =?, role, affiliation, show =?, status =?, id =?, hats =? } }
-- (including ourselves; nicks are prepared; id and hats only if the room announces XEP-0421, XEP-0317: otherwise
-- anybody can forge them), beyond (number of further occupants, for which there was no space).
--
-- own = M.own(room):
--   link         { conn = the connection }, weak: M.conn(room) returns it, or nil, err
--   st           the extension's state
--   state        "entering" (for the first time), "in", "out" (we will rejoin), "over" (the handle is invalid)
--   opts         those of muc.join, all with their defaults
--   wanted       the nick that we asked for first
--   entry        while we join or rejoin, until the subject or what stands for it: see enter.lua; else nil. Messages
--                received during that time are history
--   joined_at    core.now() of the last join
--   active       core.now() of the last stanza received from the room
--   seen         seconds since 1970 of the last message of the room that was reported: set by message.lua (for a live
--                one time.now(), for one of the history its stamp); enter.lua requests the history since then. What is
--                sent then may be known already: message.lua reports it once
--   crowd        the occupants: see state.lua
--   held         while the program can't have added listeners yet: the events to be emitted later. So events are
--                emitted by M.tell(room, event, ...), not by room:emit
--   entered_in   conn:info().rebound of the session in which we joined
--   outbox       messages that aren't known to have arrived in the room: see outbox.lua
--
-- For messages: outbox.heard(room, nick, id, origin) must be called for each groupchat message of an occupant, live or
-- from the history, before it is reported: it returns whether it is our own, and records that it has arrived.
-- outbox.bounced(room, id, err) must be called for each message of type error from the room: true: the message will be
-- sent again, or its failure was reported. alive.lost(room, why) must be called when it is noticed that we aren't in
-- the room.

local core = require "xmpp.load"
local handle = require "xmpp.handle"
local spelling = require "xmpp.spelling"

local M = {}

local MOST_HELD = 1000 -- events, until the program has added its listeners

local PARTS = {}
local events, methods = {}, {}

--- The private state of a room, for muc's own files.
---@return table
function M.own(room) return getmetatable(room).own end

--- The error for a closed connection.
---@return nil
---@return xmpp.Error
function M.closed()
  return nil, core.error { layer = "closed", condition = "closed", retry = false, text = "the connection is closed" }
end

--- The room's connection.
---@return xmpp.Conn?
---@return xmpp.Error?
function M.conn(room)
  local conn = M.own(room).link.conn
  if conn and conn:state() ~= "closed" then return conn end
  return M.closed()
end

--- The address of an occupant; nil, err: not a valid nick.
---@param room xmpp.Room
---@param nick string
---@return xmpp.Jid?
---@return xmpp.Error?
function M.address(room, nick)
  return core.jid(room.jid .. "/" .. nick)
end

--- The error for a room that we aren't in.
---@return xmpp.Error
function M.gone_error(room)
  return core.error { layer = "stanza", condition = "not-acceptable", type = "cancel", retry = false,
    text = ("we aren't in the room %s"):format(core.shown(room.jid)) }
end

--- The same, as a function's results.
---@return nil
---@return xmpp.Error
function M.not_in(room) return nil, M.gone_error(room) end

--- The room with an address as received, which a server may write differently (see spelling.lua).
---@param st table
---@param jid xmpp.Jid bare
---@return xmpp.Room?
function M.find(st, jid)
  local room = st.rooms[tostring(jid)] or st.spelled[spelling.key(jid)]
  return room and spelling.is(room.jid, jid) and room or nil
end

--- Adds the room to the extension's tables, or removes it.
function M.register(st, room, is_known)
  for _, place in ipairs { { st.rooms, room.jid }, { st.spelled, spelling.key(room.jid) } } do
    local by, key = place[1], place[2]
    if is_known or by[key] == room then by[key] = is_known and room or nil end
  end
end

--- The occupant with a nick that a program has given.
---@param room xmpp.Room
---@param nick string
---@return table?
function M.occupant(room, nick)
  local jid = M.address(room, nick)
  if not jid then return nil end
  local folded = core.jid(spelling.key(jid))
  return room.occupants[jid.resourcepart] or folded and room.occupants[folded.resourcepart]
end

--- A copy of the list of rooms, since rooms may be removed during iteration.
---@return xmpp.Room[]
function M.all(st)
  local out = {}
  for _, room in pairs(st.rooms) do out[#out + 1] = room end
  table.sort(out, function(a, b) return a.jid < b.jid end)
  return out
end

--- Sends a stanza that only makes sense in the present session: in another one we aren't in the room.
function M.send(conn, stanza, on)
  return conn:send(stanza, { on = on, session = true })
end

--- Calls a hook of all the parts that have it, until one returns true.
function M.run(hook, ...)
  for _, part in ipairs(PARTS) do
    if part[hook] and part[hook](...) == true then return true end
  end
end

--- Emits an event; before the caller of muc.join can have added listeners, the event is held back.
function M.tell(room, event, ...)
  local held = M.own(room).held
  if not held then return room:emit(event, ...) end
  if #held >= MOST_HELD then table.remove(held, 1) end
  held[#held + 1] = { event, n = select("#", ...), ... }
end

--- Creates a room's handle.
---@param st table
---@param conn xmpp.Conn
---@param jid string prepared
---@param nick string prepared
---@param opts table
---@return xmpp.Room
function M.new(st, conn, jid, nick, opts)
  local room, deafen = handle.new(("room '%s'"):format(core.shown(jid)), events, methods)
  room.jid, room.nick, room.joined, room.occupants, room.beyond = jid, nick, false, {}, 0
  getmetatable(room).own = { link = setmetatable({ conn = conn }, { __mode = "v" }), st = st, state = "entering",
    opts = opts, wanted = nick, held = {}, deafen = deafen, outbox = {} }
  return room
end

local function add_all(to, from)
  for _, v in ipairs(from or {}) do to[#to + 1] = v end
end

--- Adds a part, whose functions will be called. For muc.lua, which knows them all.
---@param muc table the extension, to which the part's functions are added
function M.add(muc, part)
  M.muc = muc
  PARTS[#PARTS + 1] = part
  add_all(events, part.events)
  add_all(muc.events, part.extension_events)
  add_all(muc.taps, part.taps)
  add_all(muc.adds, part.adds)
  for name, f in pairs(part.methods or {}) do methods[name] = f end
  for name, f in pairs(part.functions or {}) do muc[name] = f end
end

return M
