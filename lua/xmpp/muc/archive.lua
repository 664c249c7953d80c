-- archive: the history of a room, from its archive (XEP-0313). A part of a room, see room.lua; the query itself is in
-- archive/ask.lua.
--
--   local page = assert(room:history())                      -- the last 50
--   for _, m in ipairs(page) do print(m.stamp, m.nick, m.text) end
--   if not page.complete then page = assert(room:history { before = page.first }) end
--
-- Who is trusted: the room, for its answers while a query is in progress. A result counts if it comes from the room's
-- bare address with the id of the query, which nobody else knows, and if it contains a groupchat message of an
-- occupant of that room.

local ask = require "xmpp.archive.ask"
local core = require "xmpp.load"
local guard = require "xmpp.guard"
local read = require "xmpp.archive.read"
local rooms = require "xmpp.muc.room"
local said = require "xmpp.muc.said"
local source = require "xmpp.archive.source"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = { methods = {} }

local PAGE, MOST = 50, 1000
local PATIENCE = 60 -- seconds until we have rejoined the room, in a new session

local OPTIONS = { max = "number", before = "string", after = "string", since = "number", till = "number",
  timeout = "number" }

-- Parses a result, with the room's occupants; nil: it isn't a message of this room.
local function read_result(room, x, id, o)
  local m = read.room(x, id, o)
  if not m then return nil end
  local own = rooms.own(room)
  m.history = true
  m.occupant_id = select(2, said.author(room, m.nick, read.inner(x), true))
  m.own = m.occupant_id ~= nil and own.occupant ~= nil and own.occupant.id == m.occupant_id
  return m
end

-- In a new session waits until we have rejoined the room, which may show its archive only to occupants.
local function wait_for(room)
  local own, conn = rooms.own(room), rooms.conn(room)
  if not conn or own.state == "over" or room.joined and own.entered_in == conn:info().rebound then return end
  local came, offs = xmpp.promise(), {}
  for i, event in ipairs { "rejoined", "removed", "closed" } do
    offs[i] = room:on(event, function() came:resolve(true) end)
  end
  came:wait(PATIENCE)
  for _, off in ipairs(offs) do off() end
end

local function fields_of(opts)
  return { start = opts.since and time.format(opts.since), ["end"] = opts.till and time.format(opts.till) }
end

--- Reads a page of the room's archive, oldest message first: the last ones, or those before or after an id (page.first
--- and page.last are such ids), between two times. Messages are as those of the event "message", with archive_id.
--- `nick` is the nick that the author had then, whoever has it now. Corrections and retractions appear only as their
--- text.
---@param opts? { max: integer?, before: string?, after: string?, since: number?, till: number?, timeout: number? }
--- max: messages of a page, up to 1,000 (50); before: an id; after: an id; since: seconds since 1970; till: seconds
--- since 1970; timeout: seconds
---@return xmpp.RoomHistory? page first, last: ids to continue from; complete: there are no more in that direction;
--- count: how many there are, if the room says so
---@return xmpp.Error? err condition "item-not-found" if the id is no longer in the archive
function M.methods.history(room, opts)
  opts = guard.check_opts(opts, OPTIONS, 1, "history", 2)
  local max = opts.max or PAGE
  if max < 1 or max > MOST then error("bad option 'max' of 'history' (1 to 1,000 expected)", 2) end
  if opts.before and opts.after then error("options 'before' and 'after' of 'history' exclude one another", 2) end
  local conn, err = rooms.conn(room)
  if not conn then return nil, err end
  local o = { me = conn:jid(), by = room.jid }
  local page, why = ask.page(conn, { at = room.jid, fields = fields_of(opts), timeout = opts.timeout,
    set = { max = max, after = opts.after, before = not opts.after and (opts.before or "") or nil },
    wait = function() wait_for(room) end,
    read = function(x, id)
      local m = read_result(room, x, id, o)
      return m and (m.text ~= "" or m.encrypted) and m or nil -- not a subject or a chat state
    end })
  if not page then return nil, why end
  return page
end

--- A result is not a message of the room itself.
function M.message(_, stanza)
  return xexpr.child(stanza, "result", ask.MAM) ~= nil or nil
end

--- Records that we have joined the room in this session.
function M.entered(room)
  local conn = rooms.conn(room)
  rooms.own(room).entered_in = conn and conn:info().rebound
end

--- xmpp.archive parses a room's archive by these rules, too, if we are in the room.
function M.start(st, conn)
  source.rooms(conn, function(bare)
    local room = rooms.find(st, core.jid(bare))
    return room and { read = function(x, id, o) return read_result(room, x, id, o) end,
      wait = function() wait_for(room) end,
      told = function(m) return said.is_told(room, m.nick, m, true, m.stamp or time.now(), true) end }
  end)
end

function M.stop(_, conn) source.rooms(conn, nil) end

return M
