-- ask: requests of the program to a test's pubsub service (XEP-0060), answered as a service does. For
-- xmpp.testing.pubsub. Each function returns the content of the result, or nil, type, condition [, the application's].

local core = require "xmpp.load"
local nodes = require "xmpp.testing.pubsub.node"
local xexpr = require "xmpp.xexpr"

local M = {}

local PUBSUB, OWNER, DATA, RSM = nodes.PUBSUB, nodes.OWNER, nodes.DATA, "http://jabber.org/protocol/rsm"
local KINDS = { ["pubsub#persist_items"] = "boolean", ["pubsub#deliver_payloads"] = "boolean",
  ["pubsub#notify_retract"] = "boolean" }

local function pubsub(xmlns, ...) return { "pubsub", { xmlns = xmlns }, ... } end

-- The values of a form, by full names; {}: there is none.
local function values_of(parent)
  local out, x = {}, parent and xexpr.child(parent, "x", DATA)
  for field in xexpr.children(x, "field") do
    local var = xexpr.attr(field, "var")
    if var ~= "FORM_TYPE" then out[var] = nodes.plain(xexpr.text(field, "value") or "") end
  end
  return out
end

local function form_of(n)
  local x, vars = { "x", { xmlns = DATA, type = "form" },
    { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, PUBSUB .. "#node_config" } } }, {}
  for var in pairs(n.config) do vars[#vars + 1] = var end
  table.sort(vars)
  for _, var in ipairs(vars) do
    x[#x + 1] = { "field", { var = var, type = KINDS[var] or "text-single" }, { "value", {}, n.config[var] } }
  end
  return x
end

-- May the requester read it?
local function readable(service, n)
  if service.is_own or n.config["pubsub#access_model"] ~= "whitelist" then return true end
  return n.affiliations[tostring(service.test.conn:jid():bare())] ~= nil
end

local asked = {}
M.asked = asked

asked["set " .. PUBSUB .. " publish"] = function(service, x, all, from)
  local node = xexpr.attr(x, "node")
  local n, wanted = service.nodes[node], {}
  if service.features["publish-options"] then wanted = values_of(xexpr.child(all, "publish-options")) end
  if not n and not service.auto_create then return nil, "cancel", "item-not-found" end
  for var, v in pairs(n and wanted or {}) do
    if n.config[var] ~= v then return nil, "cancel", "conflict", "precondition-not-met" end
  end
  n = n or nodes.make(service, node, wanted)
  local item = xexpr.child(x, "item")
  local id = item and xexpr.attr(item, "id") or core.id()
  nodes.put(service, n, { id = id, payload = xexpr.children(item)(),
    publisher = not service.is_account and from or nil })
  return pubsub(PUBSUB, { "publish", { node = node }, { "item", { id = id } } })
end

asked["set " .. PUBSUB .. " retract"] = function(service, x)
  local n, item = service.nodes[xexpr.attr(x, "node")], xexpr.child(x, "item")
  if not n or not item then return nil, "cancel", "item-not-found" end
  if not nodes.retract(service, n, xexpr.attr(item, "id"), not xexpr.attr(x, "notify")) then
    return nil, "cancel", "item-not-found"
  end
end

asked["set " .. PUBSUB .. " create"] = function(service, x, all)
  local node = xexpr.attr(x, "node") or core.id()
  if service.nodes[node] then return nil, "cancel", "conflict" end
  nodes.make(service, node, values_of(xexpr.child(all, "configure")))
  return pubsub(PUBSUB, { "create", { node = node } })
end

-- The requested page of the node's items, and its result set.
local function page(n, set)
  local max, after = tonumber(xexpr.text(set, "max")) or 100, xexpr.text(set, "after")
  local first, list = 1, {}
  for i, item in ipairs(n.items) do
    if item.id == after then first = i + 1 end
  end
  for i = first, math.min(#n.items, first + max - 1) do list[#list + 1] = n.items[i] end
  local out = { "set", { xmlns = RSM } }
  if list[1] then
    out[3], out[4] = { "first", { index = first - 1 }, list[1].id }, { "last", {}, list[#list].id }
  end
  out[#out + 1] = { "count", {}, #n.items }
  return list, out
end

local function by_id(n, x)
  local wanted, list = {}, {}
  for item in xexpr.children(x, "item") do wanted[xexpr.attr(item, "id") or ""] = true end
  for _, item in ipairs(n.items) do
    if wanted[item.id] then list[#list + 1] = item end
  end
  return list
end

local function last(n, max)
  local list = {}
  for i = math.max(1, #n.items - max + 1), #n.items do list[#list + 1] = n.items[i] end
  return list
end

asked["get " .. PUBSUB .. " items"] = function(service, x, all)
  local n = service.nodes[xexpr.attr(x, "node")]
  if not n then return nil, "cancel", "item-not-found" end
  if not readable(service, n) then return nil, "auth", "forbidden" end
  local set = xexpr.child(all, "set", RSM)
  local list, about
  if xexpr.child(x, "item") then
    list = by_id(n, x)
  elseif set then
    list, about = page(n, set)
  else
    list = last(n, tonumber(xexpr.attr(x, "max_items")) or #n.items)
  end
  local out = { "items", { node = n.node } }
  for _, item in ipairs(list) do out[#out + 1] = nodes.item_element(item, true) end
  return pubsub(PUBSUB, out, about)
end

asked["set " .. PUBSUB .. " subscribe"] = function(service, x)
  local n, jid = service.nodes[xexpr.attr(x, "node")], xexpr.attr(x, "jid")
  if not n then return nil, "cancel", "item-not-found" end
  n.subscribers[jid] = "subscribed"
  return pubsub(PUBSUB, { "subscription", { node = n.node, jid = jid, subscription = "subscribed" } })
end

asked["set " .. PUBSUB .. " unsubscribe"] = function(service, x)
  local n, jid = service.nodes[xexpr.attr(x, "node")], xexpr.attr(x, "jid")
  if not n then return nil, "cancel", "item-not-found" end
  if not n.subscribers[jid] then return nil, "cancel", "unexpected-request" end
  n.subscribers[jid] = nil
end

local function own(service) return tostring(service.test.conn:jid():bare()) end

local function listed(service, name, f)
  local out = { name, {} }
  for node, n in pairs(service.nodes) do
    local x = f(n)
    if x then
      x[2].node = node
      out[#out + 1] = x
    end
  end
  return pubsub(PUBSUB, out)
end

asked["get " .. PUBSUB .. " subscriptions"] = function(service)
  return listed(service, "subscriptions", function(n)
    local state, jid = n.subscribers[own(service)], own(service)
    return state and { "subscription", { jid = jid, subscription = state } }
  end)
end

asked["get " .. PUBSUB .. " affiliations"] = function(service)
  return listed(service, "affiliations", function(n)
    local what = n.affiliations[own(service)]
    return what and { "affiliation", { affiliation = what } }
  end)
end

-- For requests that only an owner may send: f(service, node, x).
local function owners(f)
  return function(service, x)
    local n = service.nodes[xexpr.attr(x, "node")]
    if not n then return nil, "cancel", "item-not-found" end
    return f(service, n, x)
  end
end

asked["get " .. OWNER .. " configure"] = owners(function(_, n)
  return pubsub(OWNER, { "configure", { node = n.node }, form_of(n) })
end)

asked["set " .. OWNER .. " configure"] = owners(function(_, n, x)
  for var, v in pairs(values_of(x)) do n.config[var] = v end
end)

asked["set " .. OWNER .. " purge"] = owners(function(service, n) nodes.purge(service, n) end)
asked["set " .. OWNER .. " delete"] = owners(function(service, n) nodes.delete(service, n) end)

local function pairs_of(name, child, list, key)
  return function(_, n)
    local out = { name, { node = n.node } }
    for jid, v in pairs(n[list]) do out[#out + 1] = { child, { jid = jid, [key] = v } } end
    return pubsub(OWNER, out)
  end
end

asked["get " .. OWNER .. " affiliations"] = owners(pairs_of("affiliations", "affiliation", "affiliations",
  "affiliation"))
asked["get " .. OWNER .. " subscriptions"] = owners(pairs_of("subscriptions", "subscription", "subscribers",
  "subscription"))

asked["set " .. OWNER .. " affiliations"] = owners(function(_, n, x)
  for a in xexpr.children(x, "affiliation") do
    local what = xexpr.attr(a, "affiliation")
    n.affiliations[xexpr.attr(a, "jid")] = what ~= "none" and what or nil
  end
end)

return M
