-- source: which archive is queried, and how its results are parsed: our own account's, that of a room that we are in
-- (muc knows its occupants), or that of another room.
--
-- A source: { at = prepared bare address (nil: our own account's), by = the archive's address, read = f(x, id), wait =
-- f() (called before a query is repeated in another session), told = f(m) (was this message reported to the program
-- already, live or from the archive? From now on it counts as reported) }.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local read = require "xmpp.archive.read"
local recent = require "xmpp.chat.recent"

local M = {}

local DEDUP = 1000 -- messages that are remembered if chat doesn't do it

local function kept(conn) return guard.of(conn, "archive") end

--- Sets the function that knows rooms: f(bare) returns { read = f(x, id, o), wait = f(), told = f(m) }, or nil. For
--- muc.
function M.rooms(conn, f) kept(conn).room = f end

-- Each message is reported once, live or from the archive: chat knows which came live, if it is in use.
local function is_told(conn, m)
  local of_chat = guard.of(conn, "chat").archived
  if of_chat then return of_chat(m) end
  local own = kept(conn)
  own.recent = own.recent or recent.new(DEDUP)
  return recent.archived(own.recent, m)
end

local function account(conn, o)
  o.by = tostring(conn:jid():bare())
  return { by = o.by, read = function(x, id) return read.personal(x, id, o) end,
    told = function(m) return is_told(conn, m) end }
end

local function of_room(conn, at, o)
  local known = kept(conn).room
  known = known and known(at)
  o.by = at
  return { at = at, by = at, wait = known and known.wait,
    read = function(x, id)
      if known then return known.read(x, id, o) end
      return read.room(x, id, o)
    end,
    told = function(m)
      if known then return known.told(m) end
      return is_told(conn, m)
    end }
end

--- The source for a query: opts.of, all, lang.
---@return table? source
---@return xmpp.Error?
function M.of(conn, opts, fname, level)
  local jid, bad = core.jid(opts.of or conn:jid())
  if not jid then return nil, bad end
  local at, o = tostring(jid:bare()), { me = conn:jid(), all = opts.all, lang = opts.lang }
  if at ~= tostring(conn:jid():bare()) then return of_room(conn, at, o) end
  if not conn:jid().localpart then
    error(("'%s': a component has no archive, option 'of' expected"):format(fname), level + 1)
  end
  return account(conn, o)
end

return M
