-- source: whose archive is asked, and who reads what comes of it: our own account's, a room's that we are in (muc knows
-- its occupants), or that of a room that we aren't in.
--
-- A source: { at = prepared bare address (nil: our own account's), by = the archive's address, read = f(x, id), wait =
-- f() (called when a question is asked for in another session), told = f(m) (has the program been told of it, live or
-- from the archive? It is from now on) }.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local read = require "xmpp.archive.read"
local recent = require "xmpp.chat.recent"

local M = {}

local DEDUP = 1000 -- messages that are remembered where chat isn't there to do so

local function kept(conn) return guard.of(conn, "archive") end

--- Says which rooms are known, and by whom: f(bare) gives { read = f(x, id, o), wait = f(), told = f(m) }, or nil. For
--- muc.
function M.rooms(conn, f) kept(conn).room = f end

-- Messages are told of once, live or from the archive: chat knows of the former, where it is used.
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

--- The source of what is asked for: opts.of, all, lang.
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
