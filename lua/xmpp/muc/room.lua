-- room: what a room is made of. A handle (see handle.lua) that programs read and call, and `own`, what only the files
-- of muc/ know of it. Each of those files is a part: a table with any of
--
--   events       names that room:on takes
--   methods      of the room: f(room, ...)
--   functions    of xmpp.muc: f(conn, ...)
--   extension_events, taps, adds   of the extension: see ext.lua
--   start(st, conn), session(st, conn, first), resumed(st, conn), stop(st, conn)   its hooks
--   presence(room, p, stanza)   each presence that comes from the room or an occupant, of type error too; p: what
--                            presence.read made of it; true: it is dealt with, and the parts behind don't get it
--   message(room, stanza)    each message that comes from the room or an occupant, of any type; true: the same
--                            (enter.lua takes the subject that ends a join)
--   entered(room, again)     we are in it (again: after having been out)
--   ended(room, err)         we are out of it for good, the handle is dead; err nil: we have left
--   info(room)               room.features is there, or there anew
--
-- `st` is the extension's state: st.rooms, by prepared bare address; st.spelled, by the key of all its spellings.
--
-- The room's public fields: jid (prepared bare address), nick (ours, as the room has it), joined (are we in it now?),
-- subject (text or nil), affiliation, role (ours), features ({ [feature] = true }, nil until the room has told them),
-- occupants = { [nick] = { nick, jid =?, role, affiliation, show =?, status =?, id =?, hats =? } } (ourselves among
-- them; nicks prepared; id and hats only where the room announces XEP-0421, XEP-0317: without that anybody can write
-- them), beyond (how many there are besides, who have no place in it).
--
-- own = M.own(room):
--   link         { conn = the connection }, weak: M.conn(room) gives it, or nil, err
--   st           the extension's state
--   state        "entering" (for the first time), "in", "out" (we come back), "over" (the handle is dead)
--   opts         those of muc.join, all with their defaults
--   wanted       the nick that we asked for first
--   entry        while we enter, at first or again, until the subject or what stands for it: see enter.lua; nil else.
--                Messages that come while there is one are history
--   joined_at    core.now() of the last entry
--   active       core.now() of the last stanza that has come from the room
--   seen         seconds since 1970 of the last message of the room that was told of: message.lua writes it (of a
--                live one time.now(), of one of the history its stamp), enter.lua asks for what came since. What comes
--                then may be known already: message.lua tells of it once
--   crowd        who is there: see state.lua
--   held         while nobody can have listeners yet: what will be told when they can. So events are told by
--                M.tell(room, event, ...), not by room:emit
--   entered_in   conn:info().rebound of the session in which that was
--   outbox       what was said and isn't known to be in the room: see outbox.lua
--
-- For messages: outbox.heard(room, nick, id, origin) is to be called for each groupchat message of an occupant's, live
-- or of the history, before it is told of: it says whether it is our own, and knows then that it has arrived.
-- outbox.bounced(room, id, err) is to be called for each error of type message from the room: true: it will be said
-- again, or its failure was told. alive.lost(room, why) is for whoever has found out that we aren't in the room.

local core = require "xmpp.load"
local handle = require "xmpp.handle"
local spelling = require "xmpp.spelling"

local M = {}

local MOST_HELD = 1000 -- events, until a program has its listeners

local PARTS = {}
local events, methods = {}, {}

--- What only muc's own files know of a room.
---@return table
function M.own(room) return getmetatable(room).own end

--- Why nothing can be sent.
---@return nil
---@return xmpp.Error
function M.closed()
  return nil, core.error { layer = "closed", condition = "closed", retry = false, text = "the connection is closed" }
end

--- Its connection.
---@return xmpp.Conn?
---@return xmpp.Error?
function M.conn(room)
  local conn = M.own(room).link.conn
  if conn and conn:state() ~= "closed" then return conn end
  return M.closed()
end

--- The address of an occupant; nil, err: that can't be a nick.
---@param room xmpp.Room
---@param nick string
---@return xmpp.Jid?
---@return xmpp.Error?
function M.address(room, nick)
  return core.jid(room.jid .. "/" .. nick)
end

--- Why there is nothing to be had of the room.
---@return xmpp.Error
function M.gone_error(room)
  return core.error { layer = "stanza", condition = "not-acceptable", type = "cancel", retry = false,
    text = ("we aren't in the room %s"):format(core.shown(room.jid)) }
end

--- The same, as what comes of a question.
---@return nil
---@return xmpp.Error
function M.not_in(room) return nil, M.gone_error(room) end

--- The room that an address is of which has arrived, as servers may write it (see spelling.lua).
---@param st table
---@param jid xmpp.Jid bare
---@return xmpp.Room?
function M.find(st, jid)
  local room = st.rooms[tostring(jid)] or st.spelled[spelling.key(jid)]
  return room and spelling.is(room.jid, jid) and room or nil
end

--- The extension knows the room, or doesn't any more.
function M.register(st, room, is_known)
  for _, place in ipairs { { st.rooms, room.jid }, { st.spelled, spelling.key(room.jid) } } do
    local by, key = place[1], place[2]
    if is_known or by[key] == room then by[key] = is_known and room or nil end
  end
end

--- The occupant of that nick, as programs name him.
---@param room xmpp.Room
---@param nick string
---@return table?
function M.occupant(room, nick)
  local jid = M.address(room, nick)
  if not jid then return nil end
  local folded = core.jid(spelling.key(jid))
  return room.occupants[jid.resourcepart] or folded and room.occupants[folded.resourcepart]
end

--- The rooms of now: while they are gone through, they may go.
---@return xmpp.Room[]
function M.all(st)
  local out = {}
  for _, room in pairs(st.rooms) do out[#out + 1] = room end
  table.sort(out, function(a, b) return a.jid < b.jid end)
  return out
end

--- Sends what means something in the present session only: in another one we aren't in the room.
function M.send(conn, stanza, on)
  return conn:send(stanza, { on = on, session = true })
end

--- Calls a hook of all the parts that have it, until one gives true.
function M.run(hook, ...)
  for _, part in ipairs(PARTS) do
    if part[hook] and part[hook](...) == true then return true end
  end
end

--- Tells the room's listeners; those that come right behind muc.join hear of what was before, too.
function M.tell(room, event, ...)
  local held = M.own(room).held
  if not held then return room:emit(event, ...) end
  if #held >= MOST_HELD then table.remove(held, 1) end
  held[#held + 1] = { event, n = select("#", ...), ... }
end

--- A room's handle, which nobody knows yet.
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

--- Has a part's functions be called. For muc.lua, which knows them all.
---@param muc table the extension, whose functions those of the part are to be
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
