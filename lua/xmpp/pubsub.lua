-- pubsub: nodes at a service, or of an account (XEP-0060): items are read, published and retracted, nodes are
-- subscribed to, and notifications received.
--
--   local pubsub = require "xmpp.pubsub"
--   local id = assert(pubsub.publish(conn, "pubsub.example.net", "news", { "entry", { xmlns = ATOM }, ... }))
--   for _, item in ipairs(assert(pubsub.items(conn, "pubsub.example.net", "news", { max = 10 }))) do print(item.id) end
--   pubsub.on(conn, { service = "pubsub.example.net", node = "news" }, function(event)
--     print(event.kind, event.id, event.payload)
--   end)
--   assert(pubsub.subscribe(conn, "pubsub.example.net", "news"))
--
-- A service of nil is our own account; what is specific to accounts is in xmpp.pep. Requests need no extension; `on`
-- uses it. Who is trusted: the service that was asked, for its answers; for notifications see `on`.

local core = require "xmpp.load"
local event = require "xmpp.pubsub.event"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local words = require "xmpp.pubsub.words"

local M = { name = "pubsub", taps = event.taps }

for _, part in ipairs { "publish", "items", "node", "subscribe" } do
  for name, f in pairs(require("xmpp.pubsub." .. part).functions) do M[name] = f end
end

local FILTER = { service = "jid", node = "string" }

--- Calls `f(event)` for notifications from services; see xmpp.PubsubEvent. If a notification has no payload,
--- event:fetch() requests it, and waits.
---
--- A notification counts only from a bare address: that of `service`, if it is given; otherwise our own account (own =
--- true), services for which `subscribe` or `subscriptions` has been called, and contacts, if the roster is in use.
--- `publisher` and `stamp` are what the service says.
---@param conn xmpp.Conn
---@param filter? { service: string|xmpp.Jid|nil, node: string? } service: only from there; node: only this one
---@param f fun(event: xmpp.PubsubEvent) called in a coroutine of its own
---@return fun(): boolean off ends it; returns true the first time
function M.on(conn, filter, f)
  guard.check_conn(conn, "on", 2)
  filter = guard.check_opts(filter, FILTER, 2, "on", 2)
  guard.check_type(f, "function", 3, "on", 2)
  local service, bad
  if filter.service then
    service, bad = core.jid(filter.service)
    if not service then error(("bad option 'service' of 'on' (%s)"):format(bad.text), 2) end
  end
  if not ext.use(conn, M, nil, 2) then return function() return false end end
  return event.listen(conn, { f = f, node = filter.node, service = service and tostring(service) })
end

--- Asks whether a service supports a feature ("publish-options", "retrieve-items": XEP-0060 10). Asked once in a
--- session.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param feature string what follows "http://jabber.org/protocol/pubsub#"
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return boolean?
---@return xmpp.Error?
function M.supports(conn, service, feature, opts)
  words.check(conn, service, nil, "supports")
  guard.check_type(feature, "string", 3, "supports", 2)
  opts = guard.check_opts(opts, { timeout = "number", from = "jid" }, 4, "supports", 2)
  local features, err = words.features(conn, service, opts)
  if not features then return nil, err end
  return features[words.PUBSUB .. "#" .. feature] == true
end

function M.stop(_, conn) event.stop(conn) end

return M
