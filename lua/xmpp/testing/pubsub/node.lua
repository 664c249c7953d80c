-- node: the nodes of a test's pubsub service, their items, and notifications. For xmpp.testing.pubsub.
--
-- A node: { node =, config = { [var] = text }, items = { { id =, payload =, publisher = }... } oldest first,
-- subscribers = { [address] = state }, affiliations = { [address] = affiliation } }.

local core = require "xmpp.load"
local disco = require "xmpp.disco"

local M = {}

M.PUBSUB = "http://jabber.org/protocol/pubsub"
M.OWNER, M.EVENT, M.ERRORS = M.PUBSUB .. "#owner", M.PUBSUB .. "#event", M.PUBSUB .. "#errors"
M.DATA = "jabber:x:data"

-- Default configurations (XEP-0163 for accounts).
local ACCOUNT = { ["pubsub#access_model"] = "presence", ["pubsub#persist_items"] = "1", ["pubsub#max_items"] = "1",
  ["pubsub#send_last_published_item"] = "on_sub_and_presence", ["pubsub#deliver_payloads"] = "1" }
local SERVICE = { ["pubsub#access_model"] = "open", ["pubsub#persist_items"] = "1", ["pubsub#max_items"] = "10",
  ["pubsub#send_last_published_item"] = "never", ["pubsub#deliver_payloads"] = "1" }

local BOOLEAN = { ["true"] = "1", ["false"] = "0" }

--- A value in the form in which it is compared.
function M.plain(text) return BOOLEAN[text] or text end

local function copied(t)
  local out = {}
  for key, v in pairs(t) do out[key] = v end
  return out
end

--- Creates a node.
function M.make(service, node, config)
  local n = { node = node, config = copied(service.is_account and ACCOUNT or SERVICE), items = {}, subscribers = {},
    affiliations = {} }
  for var, v in pairs(config or {}) do n.config[var:find "#" and var or "pubsub#" .. var] = M.plain(tostring(v)) end
  service.nodes[node] = n
  return n
end

-- Notifications

-- Does the program announce interest, by its presence (XEP-0163 4.3.2)?
local function is_interested(service, node)
  return service.present and disco.own_info(service.test.conn).features[node .. "+notify"] == true
end

local function receivers(service, n)
  local test, out = service.test, {}
  if service.is_account and is_interested(service, n.node) then out[1] = tostring(test.conn:jid()) end
  for jid, state in pairs(n.subscribers) do
    if state == "subscribed" and core.jid(jid):bare() == test.conn:jid():bare() then out[1] = jid end
  end
  return out
end

--- Notifies the subscribers.
function M.tell(service, n, x)
  for _, to in ipairs(receivers(service, n)) do
    service.test.server:say_stanza { "message", { from = service.jid, to = to, type = "headline" },
      { "event", { xmlns = M.EVENT }, x } }
  end
end

function M.item_element(item, with_payload)
  return { "item", { id = item.id, publisher = item.publisher }, with_payload and item.payload or nil }
end

local function told_item(n, item)
  return { "items", { node = n.node }, M.item_element(item, n.config["pubsub#deliver_payloads"] ~= "0") }
end

-- Changing

local function take(n, id)
  for i, item in ipairs(n.items) do
    if item.id == id then return table.remove(n.items, i) end
  end
end

--- Adds an item to a node; removes items beyond the limit.
function M.put(service, n, item)
  take(n, item.id)
  if n.config["pubsub#persist_items"] ~= "0" then n.items[#n.items + 1] = item end
  local max = tonumber(n.config["pubsub#max_items"]) or math.huge
  while #n.items > max do table.remove(n.items, 1) end
  M.tell(service, n, told_item(n, item))
end

--- Removes an item; returns whether it was there.
function M.retract(service, n, id, silently)
  local item = take(n, id)
  if item and not silently then M.tell(service, n, { "items", { node = n.node }, { "retract", { id = id } } }) end
  return item ~= nil
end

function M.purge(service, n)
  n.items = {}
  M.tell(service, n, { "purge", { node = n.node } })
end

function M.delete(service, n)
  service.nodes[n.node] = nil
  M.tell(service, n, { "delete", { node = n.node } })
end

--- Sends the last items, as to a contact that becomes available (XEP-0163 4.3.4).
function M.tell_last(service)
  local names = {}
  for node in pairs(service.nodes) do names[#names + 1] = node end
  table.sort(names)
  for _, node in ipairs(names) do
    local n = service.nodes[node]
    local last = n.items[#n.items]
    if last and n.config["pubsub#send_last_published_item"] == "on_sub_and_presence" then
      M.tell(service, n, told_item(n, last))
    end
  end
end

return M
