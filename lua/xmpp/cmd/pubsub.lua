-- pubsub: nodes of a service, or of an account (XEP-0060, XEP-0163).

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"
local fields = require "xmpp.cmd.fields"
local input = require "xmpp.cmd.input"

local M = {}

-- The chosen service; false: our own account. nil, err: the server has none.
local function service_of(ctx, conn)
  if ctx.opts.pep then return false end
  if ctx.opts.service then
    local jid, why = require "xmpp".jid(ctx.opts.service)
    if not jid then exit.raise("usage", "jid-malformed", "--service: " .. why.text) end
    return tostring(jid)
  end
  local found, err = require "xmpp.disco".find(conn, { category = "pubsub", type = "service" },
    { timeout = ctx.timeout })
  if not found then return nil, err end
  return found.jid
end

local function xml_of(payload) return payload and require "xmpp.xexpr".to_xml(payload) or nil end

local function show(ctx, kind, node, item)
  local xml = xml_of(item.payload)
  local text = kind == "item" and "" or kind .. " "
  text = text .. escape.line(item.id or "-")
  if xml then text = text .. "  " .. escape.line(xml) end
  ctx:say(text, { { "type", kind }, { "node", node }, { "id", item.id }, { "publisher", item.publisher },
    { "xml", xml }, { "own", item.own } })
  return true
end

local words = {}

function words.get(ctx, pubsub, conn, service)
  local node, id = input.need(ctx, 2, "NODE [ITEM]"), ctx.args[3]
  local items, err = pubsub.items(conn, service, node, { ids = id and { id } or nil,
    max = not id and ctx.opts.count or nil, timeout = ctx.timeout })
  if not items then return nil, err end
  for _, item in ipairs(items) do show(ctx, "item", node, item) end
  if items[1] or not id then return 0 end
  exit.raise("input", "item-not-found", ("there is no item '%s' in %s"):format(escape.line(id), escape.line(node)))
end

function words.publish(ctx, pubsub, conn, service)
  local node, id = input.need(ctx, 2, "NODE [ITEM]"), ctx.args[3]
  local options = ctx.opts.access and { access_model = ctx.opts.access } or nil
  if options and not service then options.persist_items = true end
  local made, err = pubsub.publish(conn, service, node, ctx.payload, { id = id, options = options,
    fix = ctx.opts.fix, timeout = ctx.timeout })
  if not made then return nil, err end
  ctx:say(made == true and "published" or escape.line(made), { { "type", "published" }, { "node", node },
    { "id", made ~= true and made or nil } })
  return 0
end

function words.retract(ctx, pubsub, conn, service)
  local node, id = input.need(ctx, 2, "NODE ITEM"), input.need(ctx, 3, "NODE ITEM")
  return pubsub.retract(conn, service, node, id, { timeout = ctx.timeout })
end

function words.nodes(ctx, pubsub, conn, service)
  local nodes, err = pubsub.nodes(conn, service, ctx.args[2], { timeout = ctx.timeout })
  if not nodes then return nil, err end
  for _, node in ipairs(nodes) do
    local name = node.name and "  " .. escape.line(node.name) or ""
    ctx:say(escape.line(node.node) .. name, { { "type", "node" }, { "node", node.node }, { "name", node.name } })
  end
  return 0
end

function words.delete(ctx, pubsub, conn, service)
  return pubsub.delete(conn, service, input.need(ctx, 2, "NODE"), { timeout = ctx.timeout })
end

local function values_of(form, given)
  local known, out = {}, {}
  for _, field in ipairs(form.fields) do
    if field.var then known[field.var] = field end
  end
  for _, pair in ipairs(given) do
    local var = pair[1]:find("#", 1, true) and pair[1] or "pubsub#" .. pair[1]
    if not known[var] then
      exit.raise("input", "bad-value", ("the node has no field '%s'; did you mean '%s'?"):format(escape.line(var),
        tostring(require "xmpp.nearest"(var:sub(1, 60), known))))
    end
    out[var] = fields.read(known[var], pair[2])
  end
  return out
end

function words.config(ctx, pubsub, conn, service)
  local node, given = input.need(ctx, 2, "NODE [VAR=VALUE...]"), input.pairs(ctx, 3)
  local form, err = pubsub.configure(conn, service, node, nil, { timeout = ctx.timeout })
  if not form then return nil, err end
  if given[1] then
    return pubsub.configure(conn, service, node, values_of(form, given), { timeout = ctx.timeout })
  end
  for _, field in ipairs(form.fields) do
    if fields.is_asked(field) then
      fields.show(ctx, field, form.values[field.var], (field.var:gsub("^pubsub#", "")))
    end
  end
  return 0
end

function words.create(ctx, pubsub, conn, service)
  local node, values = input.need(ctx, 2, "NODE [VAR=VALUE...]"), {}
  for _, pair in ipairs(input.pairs(ctx, 3)) do values[pair[1]] = pair[2] end
  local made, err = pubsub.create(conn, service, node, next(values) and values or nil, { timeout = ctx.timeout })
  if not made then return nil, err end
  return 0
end

-- Shows notifications of a node, until the wanted number has arrived. For an account's node its presence subscribes.
function words.subscribe(ctx, pubsub, conn, service)
  local xmpp, node = require "xmpp", input.need(ctx, 2, "NODE")
  local ended, n = xmpp.promise(), 0
  conn:on("state", function(state, why)
    if state == "closed" then ended:reject(why or exit.error("lost", "closed", "the connection has ended")) end
  end)
  local function tell(event)
    if event.kind == "subscription" then return end
    local ok, why = pcall(show, ctx, event.kind, node, event)
    if not ok then return ended:reject(why) end
    n = n + 1
    if n == ctx.opts.count then ended:resolve(0) end
  end
  if service then
    pubsub.on(conn, { service = service, node = node }, tell)
    local subscription, err = pubsub.subscribe(conn, service, node, { timeout = ctx.timeout })
    if not subscription then return nil, err end
    if subscription.subscription ~= "subscribed" then ctx:note("the subscription is " .. subscription.subscription) end
  else
    require "xmpp.pep".watch(conn, node, function(_, _, _, event) tell(event) end, { from = "self" })
    require "xmpp.presence".set(conn, { priority = -1 }) -- the negative priority keeps messages for other clients
  end
  if ctx.opts.within then
    xmpp.after(ctx.opts.within, function()
      ended:reject(exit.error("timeout", "timeout", ("%d notifications came within %g seconds"):format(n,
        ctx.opts.within)))
    end)
  end
  return ended:wait()
end

function words.unsubscribe(ctx, pubsub, conn, service)
  return pubsub.unsubscribe(conn, service, input.need(ctx, 2, "NODE"), { timeout = ctx.timeout })
end

function M.run(ctx)
  local word = ctx.args[1]
  if word ~= "nodes" then input.need(ctx, 2, "NODE") end
  if word == "publish" then ctx.payload = input.element(ctx, ctx.opts.file) end -- before connecting
  if word == "config" or word == "create" then input.pairs(ctx, 3) end
  local conn, err = ctx:connect { reconnect = word == "subscribe" }
  if not conn then return nil, err end
  local service, why = service_of(ctx, conn)
  if service == nil then return nil, why end
  local status
  status, why = words[word](ctx, require "xmpp.pubsub", conn, service or nil)
  if status == true then return 0 end
  return status, why
end

return M
