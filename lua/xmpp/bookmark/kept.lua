-- bookmark/kept: the bookmarks as they are stored here and at the server: fetched, changed by events, published. For
-- xmpp.bookmark.
--
-- Who is trusted: our own account; the sender of events has been checked before.

local items = require "xmpp.bookmark.item"
local joining = require "xmpp.bookmark.join"
local legacy = require "xmpp.bookmark.legacy"
local pep = require "xmpp.pep"
local pubsub = require "xmpp.pubsub"
local words = require "xmpp.pubsub.words"

local M = {}

local NODE = items.BOOKMARKS
local COMPAT = { NODE .. "#compat", NODE .. "#compat-pep" }
local ACCESS, RETRACTS = "pubsub#access_model", "pubsub#notify_retract"

--- The private state of a handle. link: a weak reference to the connection; ids: address -> the item's id at the
--- server; rest: address -> unknown children of a bookmark; n: number of bookmarks, at most max; modern: the server
--- supports XEP-0402; mirror: XEP-0048 has to be updated as well; is_right: the node's configuration has been checked
--- in this session; waiting: events that arrived during fetching; synced: this session's bookmarks have arrived; gone:
--- the error that ended it; for join.lua: autojoin, on_room, nick, wanted, queue, workers.
---@return table
function M.of(st) return getmetatable(st).own end

local own_of = M.of

-- Changes

local function follow(st, conn, entry, old)
  local own = own_of(st)
  if not own.autojoin or own.gone then return end
  if entry and entry.autojoin then
    joining.join(st, conn, own, entry)
  elseif old and old.autojoin then
    joining.leave(conn, own, old.jid)
  end
end

--- Stores a bookmark under this id, with its unknown children.
function M.put(st, conn, entry, id, rest)
  local own, old = own_of(st), st.list[entry.jid]
  if not old and own.n >= own.max then return end
  if not old then own.n = own.n + 1 end
  st.list[entry.jid], own.ids[entry.jid], own.rest[entry.jid] = entry, id, rest
  if old and items.same(old, entry) then return end
  if old then st:emit("changed", entry, old) else st:emit("added", entry) end
  if st.list[entry.jid] == entry then follow(st, conn, entry, old) end
end

--- Removes a bookmark.
function M.remove(st, conn, jid)
  local own, old = own_of(st), st.list[jid]
  if not old then return end
  st.list[jid], own.ids[jid], own.rest[jid], own.n = nil, nil, nil, own.n - 1
  st:emit("removed", old)
  if not st.list[jid] then follow(st, conn, nil, old) end
end

-- Replaces the whole list: removes what is no longer in it, and joins all that have autojoin, new or not.
local function replace(st, conn, found)
  local gone = {}
  for jid in pairs(st.list) do
    if not found[jid] then gone[#gone + 1] = jid end
  end
  for _, jid in ipairs(gone) do M.remove(st, conn, jid) end
  local order = {}
  for jid in pairs(found) do order[#order + 1] = jid end
  table.sort(order)
  for _, jid in ipairs(order) do
    local f, old = found[jid], st.list[jid]
    M.put(st, conn, f.entry, f.id, f.rest)
    if old and st.list[jid] and f.entry.autojoin then follow(st, conn, f.entry, old) end
  end
end

--- Handles an event of our account's own node. During fetching it waits, since the answer on its way may be older.
function M.hear(st, conn, event)
  local waiting = own_of(st).waiting
  if waiting then
    if #waiting >= own_of(st).max then table.remove(waiting, 1) end
    waiting[#waiting + 1] = event
    return
  end
  if event.kind == "retract" then
    local jid = items.room(event.id)
    if jid then M.remove(st, conn, jid) end
  elseif event.kind == "purge" or event.kind == "delete" then
    replace(st, conn, {})
  elseif event.kind == "item" then
    local payload = event.payload or event:fetch()
    local jid = items.room(event.id)
    if not jid or not payload or payload[1] ~= "conference" or payload[2].xmlns ~= NODE then return end
    local entry, rest = items.read(jid, payload)
    M.put(st, conn, entry, event.id, rest)
  end
end

-- Fetching

local function is_missing(err) return err.layer == "stanza" and err.condition == "item-not-found" end

-- Makes sure that only we can read the node, and that our other clients are notified of retracted items, which
-- ejabberd doesn't do by default.
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
  local n, after = 0, nil
  repeat
    local list, err = pep.items(conn, nil, NODE, { after = after })
    if not list then return n == 0 and is_missing(err) or nil, err end
    for _, item in ipairs(list) do add_found(found, item) end
    n, after = n + #list, list.next
  until not after or n >= own.max
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

-- Finds out what the server supports.
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

--- Fetches all bookmarks; nil without an error: another call has replaced this one.
---@return true?
---@return xmpp.Error?
function M.fetch(st, conn, own)
  local found, waiting = {}, {}
  own.waiting = waiting
  local ok, err = look(conn, own)
  if ok and own.modern then ok, err = fetch_modern(st, conn, own, found) end
  if ok and own.mirror then ok, err = fetch_legacy(conn, found, not own.modern) end
  if own.waiting ~= waiting or own.gone then return nil end -- the session is over
  own.waiting = nil
  if ok then replace(st, conn, found) end
  for _, event in ipairs(waiting) do M.hear(st, conn, event) end
  return ok, err
end

--- The legacy bookmarks have changed, according to an event of our account's own node. (ejabberd before 24 reports
--- removed bookmarks in no other way.)
function M.hear_legacy(st, conn)
  local own = own_of(st)
  if not own.mirror or not own.synced then return end
  if own.fetching then
    own.fetching = "again"
    return
  end
  repeat
    own.fetching = true
    M.fetch(st, conn, own)
  until own.fetching ~= "again"
  own.fetching = nil
end

--- Stores a bookmark at the server; entry nil: removes it.
function M.store(conn, own, jid, entry)
  local ok, err = true, nil
  if own.modern and entry then
    ok, err = pep.publish(conn, NODE, items.payload(entry, own.rest[jid]), { id = own.ids[jid] or jid,
      access = "whitelist", persist = true, max = "max", send_last = "never", fix = true })
    if ok and not own.is_right then set_right(conn, own) end -- publishing has created the node
  elseif own.modern then
    ok, err = pep.retract(conn, NODE, own.ids[jid] or jid)
    if not ok and own.mirror and is_missing(err) then ok = true end
  end
  if not ok then return nil, err end
  if own.mirror then return legacy.set(conn, jid, entry) end
  return true
end

return M
