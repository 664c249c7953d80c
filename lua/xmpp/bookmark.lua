-- bookmark: the account's bookmarked rooms (XEP-0402; if the server doesn't convert them, XEP-0048 in private storage
-- as well), which are joined and left when any client of the account changes them. An extension:
--
--   local b = bookmark.use(conn, { nick = "kettle", on_room = function(room) room:on("message", log) end })
--   presence.set(conn, {})
--   assert(b:set("tea@rooms.example.net", { name = "Tea", autojoin = true }))
--   for jid, entry in pairs(b.list) do print(jid, entry.name, entry.autojoin) end
--
-- Who is trusted: our own account, by its bare address, and nobody else: a forged bookmark would make us join a room.
-- Bookmarks show where somebody is, and contain passwords: they are published to a node that only we can read, and one
-- with another access model is reconfigured in each session before anything else is done with it.
--
-- A program with options for xmpp.muc has to use that first, because autojoin uses it as well.

local core = require "xmpp.load"
local events = require "xmpp.pubsub.event"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local items = require "xmpp.bookmark.item"
local joining = require "xmpp.bookmark.join"
local kept = require "xmpp.bookmark.kept"
local pep = require "xmpp.pep"
local words = require "xmpp.pubsub.words"
local xmpp = require "xmpp"

local M = { name = "bookmark", needs = { pep }, events = { "added", "changed", "removed", "fetched", "error" },
  methods = {} }

local NODE, MOST = items.BOOKMARKS, 1000

local b = M.methods

local function connection(st)
  local own = kept.of(st)
  local conn = own.link[1]
  if conn and not own.gone then return conn end
  return nil, own.gone or core.error { layer = "closed", condition = "closed", retry = false,
    text = "the connection is closed" }
end

-- Methods

local SET = { name = "string", nick = "string", password = "string", autojoin = "boolean" }

local function check_room(jid, fname)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 1, fname, 3) end
  local room = items.room(tostring(jid))
  if not room then error(("bad argument #1 to '%s' (a room's address expected)"):format(fname), 3) end
  return room
end

local function merged(old, jid, opts)
  local entry = { jid = jid, autojoin = false }
  for key, v in pairs(old or {}) do entry[key] = v end
  for key, v in pairs(opts) do entry[key] = v ~= "" and v or nil end
  if opts.autojoin ~= nil then entry.autojoin = opts.autojoin end
  return entry
end

--- Adds a bookmark, or changes an existing one; what is not given stays unchanged. With autojoin the room is joined,
--- without it left.
---@param room string|xmpp.Jid
---@param opts? { name: string?, nick: string?, password: string?, autojoin: boolean? } name: a text for people ("":
--- none); nick: the nick in it ("": none); password: the room's ("": none); autojoin: join it in each session
---@return true?
---@return xmpp.Error?
function b.set(st, room, opts)
  local jid = check_room(room, "set")
  opts = guard.check_opts(opts, SET, 2, "set", 2)
  words.sendable(items.payload(merged(nil, jid, opts)), "bad argument #2 to 'set'", 2)
  local conn, err = connection(st)
  local ok = conn
  if ok then ok, err = st:fetched() end -- existing fields stay
  if not ok then return nil, err end
  local own = kept.of(st)
  local entry = merged(st.list[jid], jid, opts)
  ok, err = kept.store(conn, own, jid, entry)
  if not ok then return nil, err end
  kept.put(st, conn, entry, own.ids[jid] or jid, own.rest[jid])
  return true
end

--- Removes a bookmark. If the room was to be joined, it is left.
---@param room string|xmpp.Jid
---@return true?
---@return xmpp.Error? err condition "item-not-found" if there was none
function b.remove(st, room)
  local jid = check_room(room, "remove")
  local conn, err = connection(st)
  local ok = conn
  if ok then ok, err = st:fetched() end
  if ok then ok, err = kept.store(conn, kept.of(st), jid, nil) end
  if not ok then return nil, err end
  kept.remove(st, conn, jid)
  return true
end

--- Waits until the bookmarks of this session have arrived.
---@param timeout? number seconds
---@return true?
---@return xmpp.Error?
function b.fetched(st, timeout)
  local conn, err = connection(st)
  if not conn then return nil, err end
  local own = kept.of(st)
  if own.synced then return true end
  if own.failed then return nil, own.failed end
  own.ready = own.ready or xmpp.promise()
  return own.ready:wait(timeout)
end

-- The extension

local OPTIONS = { autojoin = "boolean", on_room = "function", nick = "string", max = "number" }

local function nobody() return false end

local function listen(st, conn, own)
  local function f(hears)
    return function(event)
      local c = own.link[1]
      if c and not own.gone then hears(st, c, event) end
    end
  end
  local hears = f(kept.hear)
  own.offs = { pep.watch(conn, NODE, function(_, _, _, event) hears(event) end, { from = "self" }),
    events.listen(conn, { node = items.STORAGE, trusts = nobody, f = f(kept.hear_legacy) }) }
end

function M.start(st, conn, opts)
  for name, v in pairs(opts) do
    if not OPTIONS[name] then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
    if type(v) ~= OPTIONS[name] then
      error(("bad option '%s' (%s expected, got %s)"):format(name, OPTIONS[name], type(v)), 0)
    end
  end
  if not conn:jid().localpart then error("a component has no bookmarks", 0) end
  local own = { link = setmetatable({ conn }, { __mode = "v" }), ids = {}, rest = {}, n = 0, max = opts.max or MOST,
    autojoin = opts.autojoin ~= false, on_room = opts.on_room, nick = opts.nick, wanted = {}, queue = {}, workers = 0 }
  function own.autojoins(jid) return st.list[jid] ~= nil and st.list[jid].autojoin end
  getmetatable(st).own, st.list = own, {}
  if own.autojoin then joining.use(conn) end
  listen(st, conn, own)
end

local function settle(own, ok, err)
  local ready = own.ready
  own.ready, own.synced, own.failed = nil, ok, not ok and err or nil
  if ready and ok then ready:resolve(true) elseif ready then ready:reject(err) end
end

function M.session(st, conn)
  local own = kept.of(st)
  own.synced, own.failed = nil, nil
  local ok, err = kept.fetch(st, conn, own)
  if not ok and not err then return end
  settle(own, ok, err)
  if ok then st:emit("fetched", st.list) else st:emit("error", err) end
end

function M.stop(st)
  local own = kept.of(st)
  own.gone = core.error { layer = "closed", condition = "closed", retry = false,
    text = "bookmarks aren't used any more" }
  for _, off in ipairs(own.offs) do off() end
  own.queue, own.wanted = {}, {}
  settle(own, nil, own.gone)
end

--- Begins to use the account's bookmarks: b.list[room] = { jid =, name =?, nick =?, password =?, autojoin = }, by
--- prepared addresses. Rooms with autojoin are joined and those without it are left, two at a time: at the beginning
--- of each session, and whenever a client of the account changes the list.
---@param conn xmpp.Conn
---@param opts? { autojoin: boolean?, on_room: function?, nick: string?, max: integer? } autojoin: join and leave rooms
--- (true); on_room(room, entry): called with each room that was joined by this; nick: for bookmarks that have none
--- (our account's localpart); max: number of bookmarks that are kept (1,000)
---@return xmpp.Bookmarks? b
---@return xmpp.Error?
function M.use(conn, opts)
  local st, err = ext.use(conn, M, opts, 2)
  return st, err
end

return M
