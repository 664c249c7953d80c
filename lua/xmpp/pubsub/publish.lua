-- publish: publishes items to a node, and retracts them (XEP-0060 7). A part of xmpp.pubsub.
--
-- An item with options is never published to a node with others: they are a precondition (XEP-0060 7.1.5), which a
-- service without support for it would silently ignore. So a service that doesn't announce support isn't given the
-- item: without `fix` that is an error; with it the node is created or configured first, and checked before anything
-- is published to it.

local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local node_of = require "xmpp.pubsub.node"
local words = require "xmpp.pubsub.words"
local xexpr = require "xmpp.xexpr"

local M = {}

local PUBSUB = words.PUBSUB
local ACCESS = "pubsub#access_model"
local LARGE = "255" -- largest number of items, if the service doesn't support "max"
-- How services refuse an unknown option (ejabberd before 24 doesn't know max_items here).
local UNKNOWN = { ["resource-constraint"] = true, ["bad-request"] = true, ["not-acceptable"] = true,
  ["feature-not-implemented"] = true }

-- The publication p: conn, service, node, item, id, values (full names, or nil), fix, o (timeout, from).

-- The id in the service's answer; true: it doesn't say.
local function read_id(p, answer, stanza)
  local publish = answer ~= true and xexpr.child(answer, "publish", PUBSUB)
  if not publish then return p.id or true end
  if xexpr.attr(publish, "node") and xexpr.attr(publish, "node") ~= p.node then
    return iq.bad_format("pubsub.publish.node: another one was published to", stanza)
  end
  local id = xexpr.attr(words.child(publish, "item", PUBSUB), "id")
  if p.id and id and id ~= p.id then return iq.bad_format("pubsub.publish.item.id: it was another one", stanza) end
  return p.id or id or true
end

-- Publishes the item, with these values as a precondition.
local function put(p, values)
  local children = { { "publish", { node = p.node }, p.item } }
  if values then
    children[2] = { "publish-options", {}, words.form(words.PUBLISH_OPTIONS, values, "bad option 'options'", 1) }
  end
  local answer, stanza = words.ask("set", p.conn, p.service, PUBSUB, children, p.o)
  if answer == nil then return nil, stanza end
  return read_id(p, answer, stanza)
end

local function texts(v)
  if type(v) == "boolean" then return v and "1" or "0" end
  if type(v) ~= "table" then return tostring(v) end
  local list = {}
  for i, one in ipairs(v) do list[i] = tostring(one) end
  table.sort(list)
  return table.concat(list, "\0")
end

-- Does the node have the requested values?
local function check_node(p)
  local form, err = node_of.form(p.conn, p.service, p.node, p.o)
  if not form then return nil, err end
  for var, v in pairs(p.values) do
    if form.values[var] == nil or texts(form.values[var]) ~= texts(v) then
      return words.fail("conflict", ("the node has another '%s' than requested"):format(var),
        "precondition-not-met")
    end
  end
  return true
end

-- Creates or configures the node, and checks the result.
local function prepare(p)
  local x = words.form(words.NODE_CONFIG, p.values, "bad option 'options'", 1)
  local made, err = node_of.make(p.conn, p.service, p.node, x, p.o)
  if not made and err.condition ~= "conflict" then return nil, err end
  if not made then
    made, err = node_of.set(p.conn, p.service, p.node, x, p.o)
    if not made then return nil, err end
  end
  return check_node(p)
end

-- For a service that doesn't support "max" replaces it by a large number.
local function adapt(p, features)
  if p.values["pubsub#max_items"] == "max" and not features[words.MAX] then p.values["pubsub#max_items"] = LARGE end
end

-- The node has other values: configures it, and publishes the item with the same precondition.
local function put_fixed(p)
  local x = words.form(words.NODE_CONFIG, p.values, "bad option 'options'", 1)
  local ok, err = node_of.set(p.conn, p.service, p.node, x, p.o)
  if not ok then return nil, err end
  return put(p, p.values)
end

-- The service doesn't support preconditions: prepares the node first.
local function put_prepared(p, values)
  local ok, err = prepare(p)
  if not ok then return nil, err end
  return put(p, values and next(values) and values or nil)
end

local function with_options(p)
  local features, err = words.features(p.conn, p.service, p.o)
  if not features then return nil, err end
  adapt(p, features)
  if not features[words.PUBLISH_OPTIONS] then
    if p.fix then return put_prepared(p, nil) end
    return words.fail("feature-not-implemented", "the service has no publish-options: nothing was published")
  end
  local id
  id, err = put(p, p.values)
  if id or not p.fix then return id, err end
  if err.app == "precondition-not-met" then return put_fixed(p) end
  if UNKNOWN[err.condition] then return put_prepared(p, { [ACCESS] = p.values[ACCESS] }) end
  return nil, err
end

local PUBLISH = { id = "string", options = "table", fix = "boolean", timeout = "number", from = "jid" }

--- For xmpp.pep, which has its own options. `level`: where to report an invalid item, 2: at the caller of this
--- function's caller.
function M.publish(conn, service, node, payload, opts, level)
  local p = { conn = conn, service = service, node = node, id = opts.id, fix = opts.fix, o = opts }
  p.item = { "item", { id = opts.id }, payload }
  words.sendable(p.item, "bad item of 'publish'", level + 1)
  if not opts.options then return put(p, nil) end
  words.form(words.PUBLISH_OPTIONS, opts.options, "bad option 'options' of 'publish'", level + 1)
  p.values = words.full(opts.options)
  return with_options(p)
end

M.functions = {}

--- Publishes an item (XEP-0060 7.1). With `options`, such as { access_model = "whitelist", persist_items = true }, it
--- is only published to a node that has these, or that is created with them. Otherwise the error has app
--- "precondition-not-met", or with `fix` the node is reconfigured and publishing is tried once more. A service that
--- does not support such options is not given the item: condition "feature-not-implemented", or with `fix` the node is
--- first created or reconfigured, and checked.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account (XEP-0163)
---@param node string
---@param payload? xmpp.Element nil: an item without one
---@param opts? { id: string?, options: table?, fix: boolean?, timeout: number?, from: string|xmpp.Jid|nil } id: the
--- item's id; an existing item with that id is replaced; without it the service chooses one; options: see above; fix:
--- see above; timeout: seconds; from: the address of a component that publishes
---@return string|true|nil id true if the service has chosen one and does not say which
---@return xmpp.Error? err
function M.functions.publish(conn, service, node, payload, opts)
  words.check(conn, service, node, "publish", true)
  if payload ~= nil then guard.check_type(payload, "table", 4, "publish", 2) end
  opts = guard.check_opts(opts, PUBLISH, 5, "publish", 2)
  local id, err = M.publish(conn, service, node, payload, opts, 2)
  return id, err
end

local RETRACT = { notify = "boolean", timeout = "number", from = "jid" }

--- Retracts an item from a node (XEP-0060 7.2).
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param id string
---@param opts? { notify: boolean?, timeout: number?, from: string|xmpp.Jid|nil } notify: notify the subscribers
--- (true); timeout: seconds; from: the address of a component that asks
---@return true?
---@return xmpp.Error?
function M.functions.retract(conn, service, node, id, opts)
  words.check(conn, service, node, "retract", true)
  guard.check_type(id, "string", 4, "retract", 2)
  opts = guard.check_opts(opts, RETRACT, 5, "retract", 2)
  local notify = opts.notify ~= false and "true" or nil
  words.sendable({ "id", {}, id }, "bad argument #4 to 'retract'", 2)
  return words.done(conn, service, PUBSUB,
    { { "retract", { node = node, notify = notify }, { "item", { id = id } } } }, opts)
end

return M
