-- roster/kept: the roster as it is stored here, fetched by version, changed by pushes, saved. For xmpp.roster.
--
-- Who is trusted: our own account, and nobody else (RFC 6121 2.1.6): a push from the server's domain, from a full
-- address of ours or from a stranger changes nothing. The version is stored only after the changes it stands for: the
-- connection may break in between, and changes that were not applied would never be requested again. So it doesn't
-- change before the roster of this session has arrived, whatever is pushed in the meantime.

local core = require "xmpp.load"
local iq = require "xmpp.iq"
local items = require "xmpp.roster.item"
local presence = require "xmpp.presence"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = {}

local ROSTER = items.ROSTER
local VERSIONING = "urn:xmpp:features:rosterver" -- RFC 6121 2.6.1

--- The private state of a handle. conn: a weak reference to the connection; account: our bare address; version; known:
--- was there ever a roster; synced: has this session's arrived; session: its number; asking: the request in progress;
--- ready: a promise for those who wait for the roster; told: those who wait for a push; offs: functions to call at the
--- end; gone: the error that ended it; full: bare address -> true if a full address is a contact, as those of old
--- gateways are.
---@param st table
---@param conn xmpp.Conn?
---@return table
function M.of(st, conn)
  local meta = getmetatable(st)
  meta.own = meta.own or { conn = setmetatable({ conn }, { __mode = "v" }), told = {}, offs = {}, full = {} }
  return meta.own
end

--- Has the server announced that stream feature (RFC 6120 4.3.2)?
---@param conn xmpp.Conn
---@param xmlns string
---@return boolean
function M.offers(conn, xmlns)
  local offers = conn:info().offers
  return offers ~= nil and offers[xmlns] ~= nil
end

--- The contact with an address, or with its bare one.
---@param st table
---@param jid xmpp.Jid
---@return xmpp.RosterItem?
function M.find(st, jid)
  return st.items[tostring(jid)] or st.items[tostring(jid:bare())]
end

-- Changes

local SEES = { to = true, both = true }

-- Adds or removes a contact.
local function set(st, jid, item)
  local p = M.of(st)
  local bare = jid:match "^([^/]+)/"
  if bare then p.full[bare] = item and true or nil end
  st.items[jid] = item
  if not item and p.conn[1] then presence.forget(p.conn[1], bare or jid) end
end

--- Are presences from a bare address those of a contact?
---@param st table
---@param bare string
---@return boolean
function M.wants(st, bare) return st.items[bare] ~= nil or M.of(st).full[bare] ~= nil end

local function note(events, ...)
  if events then events[#events + 1] = { ... } end
end

-- Applies one item. The events that this causes are added to `events`, if given. Only the server says whether we see a
-- contact's presence: a presence of type "subscribed" alone proves nothing.
local function put(st, item, events)
  local old = st.items[item.jid]
  if item.subscription == "remove" then
    if not old then return end
    set(st, item.jid, nil)
    note(events, "removed", old)
  elseif not old then
    set(st, item.jid, item)
    note(events, "added", item)
  elseif not items.same(old, item) then
    st.items[item.jid] = item
    note(events, "changed", item, old)
    if SEES[item.subscription] and not SEES[old.subscription] then note(events, "approved", item.jid, item) end
  end
end

local function tell(st, events)
  for _, e in ipairs(events) do st:emit(e[1], e[2], e[3]) end
end

-- Replaces the whole roster: removes what is no longer in it.
local function replace(st, now, events)
  local gone = {}
  for jid, old in pairs(st.items) do
    if not now[jid] then gone[#gone + 1] = { jid = old.jid, subscription = "remove" } end
  end
  for _, item in ipairs(gone) do put(st, item, events) end
  for _, item in pairs(now) do put(st, item, events) end
end

-- Fetching

local function bad(reason, stanza)
  return iq.bad_format("the answer of our server: " .. reason, stanza)
end

-- All contacts of a result. Those with an address that is invalid by RFC 7622 are left out, and counted.
local function read_all(query)
  local now, known, skipped, n = {}, {}, 0, 0
  for x in xexpr.children(query, "item", ROSTER) do
    n = n + 1
    local item, why, foreign = items.read(x, known)
    if item and item.subscription ~= "remove" then
      if now[item.jid] then return nil, ("query.item[%d].jid: it occurs twice"):format(n) end
      now[item.jid] = item
    elseif foreign then
      skipped = skipped + 1
    elseif not item then
      return nil, ("query.item[%d].%s"):format(n, why)
    end
  end
  return now, skipped
end

-- Handles the answer to our request: the roster, or the statement that our version is current.
local function take(st, answer, stanza, versioned)
  local p = M.of(st)
  local events = p.known and {} or nil -- the first roster causes no events
  if answer == true then -- RFC 6121 2.6.3; an empty query would be an empty roster
    if not versioned then return bad("query: missing", stanza) end
  elseif answer[1] ~= "query" or xexpr.attr(answer, "xmlns") ~= ROSTER then
    return bad("query: missing", stanza)
  else
    local now, skipped = read_all(answer)
    if not now then return bad(skipped, stanza) end
    replace(st, now, events)
    p.version, st.skipped = xexpr.attr(answer, "ver"), skipped
  end
  p.known, p.synced = true, true
  return events or {}
end

-- Ends the calls that wait for the roster.
local function settle(p, ok, err)
  local ready = p.ready
  p.ready = nil
  if not ready then return end
  if ok then ready:resolve(true) else ready:reject(err) end
end

local function ask(st, conn, session)
  local p = M.of(st)
  local versioned = M.offers(conn, VERSIONING)
  local version = versioned and (p.version or "") or nil
  local answer, stanza = iq.get(conn, nil, { "query", { xmlns = ROSTER, ver = version } })
  if p.gone or conn:info().rebound ~= session then return end -- another request belongs to this session
  p.asking = nil
  local events, err
  if answer then events, err = take(st, answer, stanza, versioned) else err = stanza end
  if not events then
    if conn:state() == "ready" then settle(p, false, err) end
    return
  end
  tell(st, events)
  settle(p, true)
  st:emit("fetched", st.items)
end

--- Fetches the roster of this session, unless it has arrived. Returns a promise for the end.
---@param st table
---@param conn xmpp.Conn
---@return xmpp.Promise
function M.fetch(st, conn)
  local p, session = M.of(st), conn:info().rebound
  if p.session ~= session then p.session, p.synced, p.asking = session, false, nil end
  if p.synced then
    local done = xmpp.promise()
    done:resolve(true)
    return done
  end
  p.asking = p.asking or xmpp.spawn(ask, st, conn, session)
  return p.asking
end

--- Waits until the roster of this session has arrived; if an earlier request has failed it is sent again.
---@param st table
---@param timeout number?
---@return boolean? true
---@return xmpp.Error?
function M.wait(st, timeout)
  local p, conn = M.of(st), M.of(st).conn[1]
  if p.gone or not conn or conn:state() == "closed" then return nil, p.gone or M.closed() end
  if p.synced and p.session == conn:info().rebound then return true end
  p.ready = p.ready or xmpp.promise()
  local ready = p.ready
  if conn:state() == "ready" then M.fetch(st, conn) end
  return ready:wait(timeout)
end

function M.closed()
  return core.error { layer = "closed", condition = "closed", retry = false, text = "the roster isn't used any more" }
end

--- Ends everything that waits.
---@param st table
function M.stop(st)
  local p = M.of(st)
  p.gone, p.synced = M.closed(), false
  settle(p, false, p.gone)
  for _, told in pairs(p.told) do told.promise:resolve(false) end
  p.told = {}
end

-- Pushes

-- The item in a push (RFC 6121 2.1.6), which must be the only one.
local function pushed(query)
  if query[1] ~= "query" then return nil end
  local next_item = xexpr.children(query, "item", ROSTER)
  local x = next_item()
  if not x or next_item() then return nil end
  return (items.read(x, {}))
end

--- Answers a push.
---@return boolean? true: it has been applied
function M.push(st, query, stanza, conn)
  if not xexpr.from_account(stanza, conn) then return nil, "cancel", "service-unavailable" end
  local p, item, events = M.of(st), pushed(query), {}
  if not item then return nil, "modify", "bad-request" end
  put(st, item, events)
  if p.synced and p.session == conn:info().rebound then p.version = xexpr.attr(query, "ver") or p.version end
  for told in pairs(p.told) do
    if told.fits(item.jid) then told.promise:resolve(true) end
  end
  tell(st, events)
  return true
end

--- Waits for a push of that contact: told.promise; it must be given to `forget` in the end.
---@param st table
---@param fits fun(jid: string): boolean
---@return table told
function M.expect(st, fits)
  local told = { fits = fits, promise = xmpp.promise() }
  M.of(st).told[told] = told
  return told
end

function M.forget(st, told) M.of(st).told[told] = nil end

-- Saving

--- Everything that is to be saved, as plain data.
---@param st table
---@return table?
function M.save(st)
  local p, list = M.of(st), {}
  if not p.known then return nil end
  for _, item in pairs(st.items) do list[#list + 1] = items.to_save(item) end
  table.sort(list, function(a, b) return a.jid < b.jid end)
  return { account = p.account, version = p.version, items = list }
end

--- Loads what `save` returned; raises an error if it isn't that, or another account's.
---@param st table
---@param saved any
function M.load(st, saved)
  local p, known, now = M.of(st), {}, {}
  if type(saved) ~= "table" or type(saved.items) ~= "table" or
    saved.version ~= nil and type(saved.version) ~= "string" then
    error("a saved roster expected", 0)
  end
  if saved.account ~= p.account then
    error("it is another account's roster: " .. core.shown(tostring(saved.account)), 0)
  end
  for i, entry in ipairs(saved.items) do
    local item = items.from_save(entry, known)
    if not item or now[item.jid] then error(("bad contact at %d"):format(i), 0) end
    now[item.jid] = item
  end
  for _, item in pairs(now) do put(st, item) end
  p.version, p.known = saved.version, true
end

return M
