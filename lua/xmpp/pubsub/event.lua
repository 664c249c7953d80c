-- event: notifications from services (XEP-0060 7.1.2, 8; XEP-0163 4.3). A part of xmpp.pubsub.
--
-- Who is trusted: the service that a listener names, by its address; without one our own account, the services to
-- which we have subscribed over this connection, and the contacts, if a roster is in use. A full address belongs to a
-- client, and clients have no nodes: what comes from one is dropped, and so are errors, which return to us what
-- somebody has sent in our name.

local core = require "xmpp.load"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local items = require "xmpp.pubsub.items"
local spelling = require "xmpp.spelling"
local time = require "xmpp.time"
local words = require "xmpp.pubsub.words"
local xexpr = require "xmpp.xexpr"

local M = {}

local EVENT = words.EVENT
local DROPPED = { error = true, groupchat = true }
local MOST_SERVICES = 1000 -- services that are remembered as subscribed to

-- The state: own.listeners, in order; own.services: spelling's key -> address, n_services of them.
local function kept(conn)
  local own = guard.of(conn, "pubsub")
  if not own.listeners then own.listeners, own.services, own.n_services = {}, {}, 0 end
  return own
end

--- Begins to accept notifications from that service; nil: our own account, which is always accepted.
---@return fun() undoes that, if it was new
function M.expect(conn, service)
  local own, jid = kept(conn), service and core.jid(service)
  local key = jid and spelling.key(jid)
  if not key or own.services[key] or own.n_services >= MOST_SERVICES then return function() end end
  own.services[key], own.n_services = tostring(jid), own.n_services + 1
  return function()
    if own.services[key] then own.services[key], own.n_services = nil, own.n_services - 1 end
  end
end

-- Parsing

local Event = {}
local of_event = setmetatable({}, { __mode = "k" }) -- event -> its connection
local meta = { __index = Event }

--- Returns the payload of the notification's item, and requests it if the service has not sent it.
---@return xmpp.Element? payload
---@return xmpp.Error?
function Event.fetch(event)
  if event.payload or event.kind ~= "item" or not event.id then return event.payload end
  local conn = of_event[event]
  local list, err = items.functions.items(conn, event.from, event.node, { ids = { event.id } })
  if not list then return nil, err end
  if not list[1] then return words.fail("item-not-found", "the item no longer exists") end
  return list[1].payload
end

local readers = {}

function readers.items(x, add)
  for child in words.children(x, nil, EVENT) do
    local name, item = child[1], items.read(child)
    local is_bounded = not item.id or #item.id <= words.LONGEST_ID
    if name == "item" and is_bounded then
      add { kind = "item", id = item.id, payload = item.payload, publisher = item.publisher }
    elseif name == "retract" and item.id and is_bounded then
      add { kind = "retract", id = item.id }
    end
  end
end

function readers.purge(_, add) add { kind = "purge" } end

function readers.delete(x, add)
  add { kind = "delete", redirect = xexpr.attr(words.child(x, "redirect", EVENT), "uri") }
end

function readers.configuration(x, add)
  local form = require "xmpp.form"
  add { kind = "config", form = (form.parse(xexpr.child(x, "x", form.DATA))) }
end

function readers.subscription(x, add)
  local jid = words.address(xexpr.attr(x, "jid"))
  if jid then add { kind = "subscription", jid = jid, subscription = xexpr.attr(x, "subscription") } end
end

-- The events of a message, in order.
local function read(stanza, conn, from, own)
  local list, stamp = {}, xexpr.is_delayed(stanza)
  local to = words.address(xexpr.attr(stanza, "to"))
  for x in xexpr.children(xexpr.child(stanza, "event", EVENT), nil, EVENT) do
    local node, reader = xexpr.attr(x, "node"), readers[x[1]]
    if node and reader then
      reader(x, function(event)
        event.from, event.node, event.own, event.to = from, node, own, to
        event.delayed, event.stamp = stamp ~= nil, stamp and time.parse(stamp)
        of_event[event] = conn
        list[#list + 1] = setmetatable(event, meta)
      end)
    end
  end
  return list
end

-- Receiving

-- Is this a contact? Only a roster that is in use knows: it isn't loaded for this.
local function is_contact(conn, jid)
  for _, name in ipairs(ext.list(conn)) do
    if name == "roster" then return require "xmpp.roster".subscription(conn, jid) ~= nil end
  end
  return false
end

local function is_subscribed(own, jid)
  local named = own.services[spelling.key(jid)]
  return named ~= nil and spelling.is(named, jid)
end

-- Does the listener trust the sender? May wait, if its function `trusts` does.
local function believes(listener, conn, jid, own)
  if listener.trusts then return own or listener.trusts(conn, jid) == true end
  if listener.service then return spelling.is(listener.service, jid) end
  return own or is_subscribed(kept(conn), jid) or is_contact(conn, jid)
end

local function tell(listener, conn, jid, own, list)
  if not believes(listener, conn, jid, own) then return end
  for _, event in ipairs(list) do
    local wanted = listener.node == nil or listener.node == event.node
    if wanted and not listener.off then guard.go("listener of pubsub", listener.f, event) end
  end
end

-- Handles a notification: for each listener in a coroutine of its own, since trust may have to wait for the roster.
local function hear(_, stanza, conn)
  if DROPPED[xexpr.attr(stanza, "type") or ""] then return end
  local own, jid = xexpr.from_account(stanza, conn), xexpr.attr(stanza, "from")
  jid = jid and core.jid(jid)
  if own then jid = conn:jid():bare() end
  if not jid or jid.resourcepart then return end
  local list = read(stanza, conn, tostring(jid), own)
  if not list[1] then return end
  for _, listener in ipairs(kept(conn).listeners) do
    guard.go("listener of pubsub", tell, listener, conn, jid, own, list)
  end
end

M.taps = { { { name = "message", has = EVENT }, hear } }

--- Calls f(event) for notifications. listener: { f =, node =?, service =?, trusts =? f(conn, jid), which may wait; our
--- own account is trusted as well }.
---@return fun(): boolean off
function M.listen(conn, listener)
  local own, list = kept(conn), { listener }
  for i, other in ipairs(own.listeners) do list[i], list[i + 1] = other, listener end
  own.listeners = list -- a copy: `hear` may be iterating over the old list
  return function()
    if listener.off then return false end
    listener.off = true
    local rest = {}
    for _, other in ipairs(own.listeners) do
      if other ~= listener then rest[#rest + 1] = other end
    end
    own.listeners = rest
    return true
  end
end

--- Removes all listeners.
function M.stop(conn)
  local own = kept(conn)
  for _, listener in ipairs(own.listeners) do listener.off = true end
  own.listeners, own.services, own.n_services = {}, {}, 0
end

return M
