-- subscribe: subscriptions, which are stored by the service and outlast a session (XEP-0060 6). A part of xmpp.pubsub.
-- A service that we have subscribed to is trusted for its notifications: see pubsub/event.lua.

local core = require "xmpp.load"
local event = require "xmpp.pubsub.event"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local words = require "xmpp.pubsub.words"
local xexpr = require "xmpp.xexpr"

local M = { functions = {} }

local F = M.functions
local PUBSUB, OWNER = words.PUBSUB, words.OWNER
local STATES = { none = true, pending = true, subscribed = true, unconfigured = true }

local function read(x, node)
  local jid, state = words.address(xexpr.attr(x, "jid")), xexpr.attr(x, "subscription")
  if not jid or not STATES[state] then return nil end
  return { node = xexpr.attr(x, "node") or node, jid = jid, subscription = state, subid = xexpr.attr(x, "subid") }
end

-- The subscriber: by default the address that sends the request.
local function subscriber(conn, opts)
  local jid, err = core.jid(opts.jid or opts.from or conn:jid():bare())
  return jid and tostring(jid), err
end

local UNSUBSCRIBE = { jid = "jid", subid = "string", timeout = "number", from = "jid" }
local SUBSCRIBE = { jid = "jid", options = "table", timeout = "number", from = "jid" }

--- Subscribes to a node (XEP-0060 6.1). Check the result: `subscription` is "subscribed", "pending" (the owner has to
--- approve it) or "unconfigured".
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param opts? { jid: string|xmpp.Jid|nil, options: table<string, any>?, timeout: number?, from: string|xmpp.Jid|nil }
--- jid: who gets the notifications (our account); options: of the subscription, such as { digest = true } (6.3);
--- timeout: seconds; from: the address of a component that asks
---@return xmpp.Subscription?
---@return xmpp.Error?
function F.subscribe(conn, service, node, opts)
  words.check(conn, service, node, "subscribe", true)
  opts = guard.check_opts(opts, SUBSCRIBE, 4, "subscribe", 2)
  local jid, bad = subscriber(conn, opts)
  if not jid then return nil, bad end
  local children = { { "subscribe", { node = node, jid = jid } } }
  if opts.options then
    local x = words.form(words.SUBSCRIBE_OPTIONS, opts.options, "bad option 'options' of 'subscribe'", 2)
    children[2] = { "options", {}, x }
  end
  local forget = event.expect(conn, service) -- a notification may arrive before the answer
  local answer, stanza = words.ask("set", conn, service, PUBSUB, children, opts)
  if answer == nil then
    forget()
    return nil, stanza
  end
  local x = answer ~= true and xexpr.child(answer, "subscription", PUBSUB)
  local subscription = x and read(x, node)
  if not subscription then
    forget()
    return iq.bad_format("pubsub.subscription: address and subscription expected", stanza)
  end
  return subscription
end

--- Ends a subscription (XEP-0060 6.2).
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param opts? { jid: string|xmpp.Jid|nil, subid: string?, timeout: number?, from: string|xmpp.Jid|nil }
---@return true?
---@return xmpp.Error?
function F.unsubscribe(conn, service, node, opts)
  words.check(conn, service, node, "unsubscribe", true)
  opts = guard.check_opts(opts, UNSUBSCRIBE, 4, "unsubscribe", 2)
  local jid, bad = subscriber(conn, opts)
  if not jid then return nil, bad end
  local x = { "unsubscribe", { node = node, jid = jid, subid = opts.subid } }
  words.sendable(x, "bad option 'subid' of 'unsubscribe'", 2)
  return words.done(conn, service, PUBSUB, { x }, opts)
end

local function read_all(x, stanza, xmlns, node)
  local out = {}
  for child in words.children(x, "subscription", xmlns) do
    local one = read(child, node)
    if not one then
      return iq.bad_format("pubsub.subscriptions.subscription: address and subscription expected", stanza)
    end
    out[#out + 1] = one
  end
  return out
end

--- Lists our subscriptions at a service (XEP-0060 5.6). From then on its notifications are accepted.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node? string only to this one
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return xmpp.Subscription[]?
---@return xmpp.Error?
function F.subscriptions(conn, service, node, opts)
  words.check(conn, service, node, "subscriptions")
  opts = guard.check_opts(opts, { timeout = "number", from = "jid" }, 4, "subscriptions", 2)
  local x, stanza = words.get(conn, service, PUBSUB, { { "subscriptions", { node = node } } }, opts)
  if not x then return nil, stanza end
  local list, err = read_all(x, stanza, PUBSUB, node)
  if list and list[1] then event.expect(conn, service) end
  return list, err
end

--- Lists the subscribers of a node of ours (XEP-0060 8.8).
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return xmpp.Subscription[]?
---@return xmpp.Error?
function F.subscribers(conn, service, node, opts)
  words.check(conn, service, node, "subscribers", true)
  opts = guard.check_opts(opts, { timeout = "number", from = "jid" }, 4, "subscribers", 2)
  local x, stanza = words.get(conn, service, OWNER, { { "subscriptions", { node = node } } }, opts)
  if not x then return nil, stanza end
  return read_all(x, stanza, OWNER, node)
end

return M
