-- bookmark: the rooms that an account keeps (XEP-0402; where the server doesn't carry them over, XEP-0048 in private
-- storage as well), which are joined and left as any of its clients says. An extension:
--
--   local b = bookmark.use(conn, { nick = "kettle", on_room = function(room) room:on("message", log) end })
--   presence.set(conn, {})
--   assert(b:set("tea@rooms.example.net", { name = "Tea", autojoin = true }))
--   for jid, entry in pairs(b.list) do print(jid, entry.name, entry.autojoin) end
--
-- Who is trusted: our own account, by its bare address, and nobody else: a forged bookmark would have us join a room.
-- Bookmarks tell where somebody is, and hold passwords: they are published into a node that is for ourselves alone, and
-- one that isn't is set so in each session before anything else is done with it.
--
-- A program that has options for xmpp.muc uses that first: with autojoin this does.

local core = require "xmpp.load"
local events = require "xmpp.pubsub.event"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local items = require "xmpp.bookmark.item"
local joining = require "xmpp.bookmark.join"
local legacy = require "xmpp.bookmark.legacy"
local pep = require "xmpp.pep"
local pubsub = require "xmpp.pubsub"
local words = require "xmpp.pubsub.words"
local xmpp = require "xmpp"

local M = { name = "bookmark", needs = { pep }, events = { "added", "changed", "removed", "fetched", "error" },
  methods = {} }

local NODE = items.BOOKMARKS
local COMPAT = { NODE .. "#compat", NODE .. "#compat-pep" }
local MOST = 1000
local ACCESS, RETRACTS = "pubsub#access_model", "pubsub#notify_retract"

local b = M.methods

-- What goes with a handle and isn't for its readers. ids: address -> the item's id, as it is at the server; rest:
-- address -> what a bookmark has besides; modern: XEP-0402 can be had; mirror: XEP-0048 is to be kept as well;
-- is_right: how the node is set has been looked at in this session; n: how many there are.
local function own_of(st) return getmetatable(st).own end

local function connection(st)
  local own = own_of(st)
  local conn = own.link[1]
  if conn and not own.gone then return conn end
  return nil, own.gone or core.error { layer = "closed", condition = "closed", retry = false,
    text = "the connection is closed" }
end

-- Changes

local function follow(st, conn, entry, old)
  local own = own_of(st)
  if not own.autojoin then return end
  if entry and entry.autojoin then
    joining.join(st, conn, own, entry)
  elseif old and old.autojoin then
    joining.leave(conn, own, old.jid)
  end
end

local function put(st, conn, entry, id, rest)
  local own, old = own_of(st), st.list[entry.jid]
  if not old and own.n >= own.max then return end
  if not old then own.n = own.n + 1 end
  st.list[entry.jid], own.ids[entry.jid], own.rest[entry.jid] = entry, id, rest
  if old and items.same(old, entry) then return end
  if old then st:emit("changed", entry, old) else st:emit("added", entry) end
  if st.list[entry.jid] == entry then follow(st, conn, entry, old) end
end

local function remove(st, conn, jid)
  local own, old = own_of(st), st.list[jid]
  if not old then return end
  st.list[jid], own.ids[jid], own.rest[jid], own.n = nil, nil, nil, own.n - 1
  st:emit("removed", old)
  if not st.list[jid] then follow(st, conn, nil, old) end
end

-- All is this: what isn't in it any more is removed; and what is to be joined is, if it was there before or not.
local function replace(st, conn, found)
  local gone = {}
  for jid in pairs(st.list) do
    if not found[jid] then gone[#gone + 1] = jid end
  end
  for _, jid in ipairs(gone) do remove(st, conn, jid) end
  local order = {}
  for jid in pairs(found) do order[#order + 1] = jid end
  table.sort(order)
  for _, jid in ipairs(order) do
    local f, old = found[jid], st.list[jid]
    put(st, conn, f.entry, f.id, f.rest)
    if old and st.list[jid] and f.entry.autojoin then follow(st, conn, f.entry, old) end
  end
end

-- An event of our account's own node. While all is being fetched it waits: what is on its way may be older.
local function hear(st, conn, event)
  local waiting = own_of(st).waiting
  if waiting then
    if #waiting >= own_of(st).max then table.remove(waiting, 1) end
    waiting[#waiting + 1] = event
    return
  end
  if event.kind == "retract" then
    local jid = items.room(event.id)
    if jid then remove(st, conn, jid) end
  elseif event.kind == "purge" or event.kind == "delete" then
    replace(st, conn, {})
  elseif event.kind == "item" then
    local payload = event.payload or event:fetch()
    local jid = items.room(event.id)
    if not jid or not payload or payload[1] ~= "conference" or payload[2].xmlns ~= NODE then return end
    local entry, rest = items.read(jid, payload)
    put(st, conn, entry, event.id, rest)
  end
end

-- Fetching

local function is_missing(err) return err.layer == "stanza" and err.condition == "item-not-found" end

-- Sees to it that the node is for ourselves alone, and that our other clients are told of what is taken out of it,
-- which ejabberd doesn't do by itself.
local function set_right(conn, own)
  local form, err = pubsub.configure(conn, nil, NODE)
  if not form then return nil, err end
  own.is_right = true
  local wanted = { [ACCESS] = form.values[ACCESS] ~= "whitelist" and "whitelist" or nil }
  if form.values[RETRACTS] == false then wanted[RETRACTS] = true end
  if not next(wanted) then return true end
  return pubsub.configure(conn, nil, NODE, wanted)
end

local function add_found(found, item)
  local jid, x = items.room(item.id), item.payload
  if not jid or not x or x[1] ~= "conference" or x[2].xmlns ~= NODE then return end
  local entry, rest = items.read(jid, x)
  found[jid] = { entry = entry, id = item.id, rest = rest }
end

local function fetch_modern(st, conn, own, found)
  own.is_right = nil
  local list, err = pep.items(conn, nil, NODE)
  if not list then return is_missing(err) or nil, err end
  for _, item in ipairs(list) do add_found(found, item) end
  local ok, why = set_right(conn, own)
  if not ok then st:emit("error", why) end
  return true
end

local function fetch_legacy(conn, found, alone)
  local old, err = legacy.get(conn)
  if not old then return not alone or nil, err end
  for jid, entry in pairs(old) do
    if not found[jid] then found[jid] = { entry = entry } end
  end
  return true
end

-- What can be had of this server.
local function look(conn, own)
  local can, err = pubsub.supports(conn, nil, "publish-options")
  if can == nil and err.layer ~= "stanza" then return nil, err end
  own.modern, own.mirror = can == true, true
  local features = words.features(conn, nil, {}) or {}
  for _, feature in ipairs(COMPAT) do
    if own.modern and features[feature] then own.mirror = false end
  end
  return true
end

local function fetch(st, conn, own)
  local found, waiting = {}, {}
  own.waiting = waiting
  local ok, err = look(conn, own)
  if ok and own.modern then ok, err = fetch_modern(st, conn, own, found) end
  if ok and own.mirror then ok, err = fetch_legacy(conn, found, not own.modern) end
  if own.waiting ~= waiting or own.gone then return nil end -- of a session that is over
  own.waiting = nil
  if ok then replace(st, conn, found) end
  for _, event in ipairs(waiting) do hear(st, conn, event) end
  return ok, err
end

-- What is kept in the old way has changed, by an event of our account's own node. (ejabberd before 24 tells of what is
-- taken out in no other way.)
local function hear_legacy(st, conn)
  local own = own_of(st)
  if not own.mirror or not own.synced then return end
  if own.fetching then
    own.fetching = "again"
    return
  end
  repeat
    own.fetching = true
    fetch(st, conn, own)
  until own.fetching ~= "again"
  own.fetching = nil
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

-- Has it kept at the server, entry nil: no longer.
local function store(conn, own, jid, entry)
  local ok, err = true, nil
  if own.modern and entry then
    ok, err = pep.publish(conn, NODE, items.payload(entry, own.rest[jid]), { id = own.ids[jid] or jid,
      access = "whitelist", persist = true, max = "max", send_last = "never", fix = true })
    if ok and not own.is_right then set_right(conn, own) end -- it has been made by that
  elseif own.modern then
    ok, err = pep.retract(conn, NODE, own.ids[jid] or jid)
    if not ok and own.mirror and is_missing(err) then ok = true end
  end
  if not ok then return nil, err end
  if own.mirror then return legacy.set(conn, jid, entry) end
  return true
end

--- Keeps a room, or changes what is kept of it: what isn't given stays. With autojoin it is joined, without it left.
---@param room string|xmpp.Jid
---@param opts? { name: string?, nick: string?, password: string?, autojoin: boolean? } "": none
---@return true?
---@return xmpp.Error?
function b.set(st, room, opts)
  local jid = check_room(room, "set")
  opts = guard.check_opts(opts, SET, 2, "set", 2)
  words.sendable(items.payload(merged(nil, jid, opts)), "bad argument #2 to 'set'", 2)
  local conn, err = connection(st)
  local ok = conn
  if ok then ok, err = st:fetched() end -- what is there already stays
  if not ok then return nil, err end
  local own = own_of(st)
  local entry = merged(st.list[jid], jid, opts)
  ok, err = store(conn, own, jid, entry)
  if not ok then return nil, err end
  put(st, conn, entry, own.ids[jid] or jid, own.rest[jid])
  return true
end

--- Keeps it no longer; it is left, if it was to be joined.
---@param room string|xmpp.Jid
---@return true?
---@return xmpp.Error? err condition "item-not-found": it isn't kept
function b.remove(st, room)
  local jid = check_room(room, "remove")
  local conn, err = connection(st)
  local ok = conn
  if ok then ok, err = st:fetched() end
  if ok then ok, err = store(conn, own_of(st), jid, nil) end
  if not ok then return nil, err end
  remove(st, conn, jid)
  return true
end

--- Waits until the bookmarks of this session are here.
---@param timeout? number seconds
---@return true?
---@return xmpp.Error?
function b.fetched(st, timeout)
  local conn, err = connection(st)
  if not conn then return nil, err end
  local own = own_of(st)
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
  local hears = f(hear)
  own.offs = { pep.watch(conn, NODE, function(_, _, _, event) hears(event) end, { from = "self" }),
    events.listen(conn, { node = items.STORAGE, trusts = nobody, f = f(hear_legacy) }) }
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
  local own = own_of(st)
  own.synced, own.failed = nil, nil
  local ok, err = fetch(st, conn, own)
  if not ok and not err then return end
  settle(own, ok, err)
  if ok then st:emit("fetched", st.list) else st:emit("error", err) end
end

function M.stop(st)
  local own = own_of(st)
  own.gone = core.error { layer = "closed", condition = "closed", retry = false,
    text = "bookmarks aren't used any more" }
  for _, off in ipairs(own.offs) do off() end
  own.queue, own.wanted = {}, {}
  settle(own, nil, own.gone)
end

--- Uses the account's bookmarks: b.list[room] = { jid =, name =?, nick =?, password =?, autojoin = }, by prepared
--- addresses. Rooms with autojoin are joined, those without it left, two joins at a time: what any client of the
--- account says, and what is there in each new session. Events: "added" (entry), "changed" (entry, old), "removed"
--- (entry), "fetched" (b.list), "error" (err, entry or nil: a room couldn't be joined, or bookmarks not be had).
---@param conn xmpp.Conn
---@param opts? { autojoin: boolean?, on_room: function?, nick: string?, max: integer? } autojoin (true); on_room(room,
--- entry): called with each room that was joined by it; nick: where a bookmark has none (our account's name); max
--- (1,000): bookmarks that are kept
---@return xmpp.Bookmarks? b
---@return xmpp.Error?
function M.use(conn, opts)
  local st, err = ext.use(conn, M, opts, 2)
  return st, err
end

return M
