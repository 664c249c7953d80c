-- pubsub: a pubsub service in a test (XEP-0060), or an account's own (XEP-0163), a small real service: publishing
-- creates nodes, publish-options are a precondition, subscribers and interested contacts are notified. Required by
-- xmpp.testing alone.
--
--   local service = t:pubsub "pubsub.example.net"
--   service:publish("news", { "entry", { xmlns = "urn:x" } }, "id")     -- by somebody else: subscribers are notified
--   assert.equal("whitelist", service.nodes["urn:secret"].config["pubsub#access_model"])
--   local account = t:pubsub()                                          -- our own; t:pubsub "anna@example.net": hers
--
-- An account's notifications reach a program that has sent presence and whose caps have node+notify. Wrong behaviour
-- of a service can be tested by t:on, which is tried first. Iqs to it need not be expected.

local ask = require "xmpp.testing.pubsub.ask"
local core = require "xmpp.load"
local nodes = require "xmpp.testing.pubsub.node"
local xexpr = require "xmpp.xexpr"

local INFO, ITEMS, STANZAS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
  "urn:ietf:params:xml:ns:xmpp-stanzas"
local KNOWN = { features = true, more = true, auto_create = true }
local FEATURES = { "publish-options", "config-node-max", "auto-create", "access-whitelist" }

---@class xmpp.TestPubsub
local Service = {}
Service.__index = Service

local inner = setmetatable({}, { __mode = "k" })

local function act(service, f, ...)
  inner[service].turn()
  local a = f(service, ...)
  inner[service].turn()
  return a
end

local function at(service, node)
  local n = service.nodes[node]
  if not n then inner[service].fail(service.test, "there is no node '%s' at %s", tostring(node), service.jid) end
  return n
end

--- Creates a node with that configuration.
---@param node string
---@param config? table<string, any>
---@return table node
function Service:node(node, config)
  return act(self, nodes.make, node, config)
end

--- Somebody else publishes an item; the node is created if necessary.
---@param node string
---@param payload? xmpp.Element
---@param id? string ("current")
---@param publisher? string
function Service:publish(node, payload, id, publisher)
  act(self, function()
    local n = self.nodes[node] or nodes.make(self, node)
    nodes.put(self, n, { id = id or "current", payload = payload and xexpr.canonical(payload), publisher = publisher })
  end)
end

--- Somebody else retracts an item.
function Service:retract(node, id) act(self, nodes.retract, at(self, node), id) end

--- Somebody else purges the node.
function Service:purge(node) act(self, nodes.purge, at(self, node)) end

--- Somebody else deletes the node.
function Service:delete(node) act(self, nodes.delete, at(self, node)) end

-- Receiving

local function say(service, stanza, kind, ...)
  local answer = { "iq", { type = kind, id = stanza[2].id, from = stanza[2].to,
    to = stanza[2].from or tostring(service.test.conn:jid()) }, ... }
  service.test.server:say_stanza(answer)
end

local function answer(service, stanza, payload, kind, condition, app)
  if not kind then return say(service, stanza, "result", payload) end
  say(service, stanza, "error", { "error", { type = kind }, { condition, { xmlns = STANZAS } },
    app and { app, { xmlns = nodes.ERRORS } } or nil })
end

local function info(service)
  local category = service.is_account and "account" or "pubsub"
  local query = { "query", { xmlns = INFO },
    { "identity", { category = category, type = service.is_account and "registered" or "service" } } }
  if service.is_account then query[4] = { "identity", { category = "pubsub", type = "pep" } } end
  local vars = { INFO, ITEMS, nodes.PUBSUB }
  for feature in pairs(service.features) do vars[#vars + 1] = nodes.PUBSUB .. "#" .. feature end
  for _, feature in ipairs(service.more) do vars[#vars + 1] = feature end
  for _, var in ipairs(vars) do query[#query + 1] = { "feature", { var = var } } end
  return query
end

local function items(service)
  local query = { "query", { xmlns = ITEMS } }
  for node in pairs(service.nodes) do query[#query + 1] = { "item", { jid = service.jid, node = node } } end
  return query
end

local function asks_disco(service, stanza, payload, xmlns)
  if stanza[2].type ~= "get" or payload[2].node then return false end
  if xmlns ~= INFO and xmlns ~= ITEMS then return false end
  answer(service, stanza, xmlns == INFO and info(service) or items(service))
  return true
end

local function asks(service, stanza)
  local payload = stanza[3]
  local xmlns = type(payload) == "table" and payload[2].xmlns
  if not xmlns then return false end
  if asks_disco(service, stanza, payload, xmlns) then return true end
  local first = payload[1] == "pubsub" and xexpr.children(payload)()
  local f = first and ask.asked[("%s %s %s"):format(stanza[2].type, xmlns, first[1])]
  if not f then return false end
  answer(service, stanza, f(service, first, payload, tostring(service.test.conn:jid())))
  return true
end

-- Is it addressed to the service?
local function is_for(service, to)
  if to == nil then return service.is_own end
  local jid = core.jid(to)
  return jid ~= nil and tostring(jid) == service.jid
end

local function hear(service, stanza)
  if stanza[1] == "presence" and not stanza[2].to then
    local was = service.present
    if stanza[2].type == nil then service.present = true end
    if stanza[2].type == "unavailable" then service.present = false end
    if service.present and not was and service.is_account then nodes.tell_last(service) end
    return false
  end
  local kind = stanza[2].type
  return stanza[1] == "iq" and (kind == "get" or kind == "set") and is_for(service, stanza[2].to) and
    asks(service, stanza)
end

--- Creates a service. functions: fail, turn, and those of the test's other parts; see xmpp.testing.
return function(test, functions, jid, o)
  local own = tostring(test.jid:bare())
  local address, err = core.jid(jid or own)
  if not address then functions.fail(test, "pubsub(jid): %s", tostring(err)) end
  for name in pairs(o) do
    if not KNOWN[name] then functions.fail(test, "pubsub has no option '%s'", tostring(name)) end
  end
  local service = setmetatable({ jid = tostring(address:bare()), test = test, nodes = {}, features = {},
    present = false, more = o.more or {}, auto_create = o.auto_create ~= false,
    is_account = address.localpart ~= nil }, Service)
  service.is_own = service.jid == own
  for _, feature in ipairs(o.features or FEATURES) do service.features[feature] = true end
  inner[service] = functions
  functions.hears(function(stanza) return hear(service, stanza) end)
  functions.gone(function() service.present = false end)
  return service
end
