-- disco: what an address is and offers (XEP-0030), as a list or as a tree.

local escape = require "xmpp.cmd.escape"

local M = {}

local function sorted(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

local function identity(id)
  local text = escape.line(("%s/%s"):format(id.category, id.type))
  if id.name then text = text .. " " .. escape.line(id.name) end
  return id.lang and text .. " (" .. escape.line(id.lang) .. ")" or text
end

local function show_info(ctx, whom, info)
  ctx:say(ctx:name(whom), { { "type", "info" }, { "from", whom }, { "identities", info.identities },
    { "features", sorted(info.features) } })
  if ctx.json then return end
  for _, id in ipairs(info.identities) do ctx:say("  " .. ctx:ink("1", identity(id))) end
  for _, feature in ipairs(sorted(info.features)) do ctx:say("  " .. escape.line(feature)) end
end

local function item_text(ctx, item)
  local text = ctx:name(item.jid)
  if item.node then text = text .. " " .. escape.line(item.node) end
  if item.name then text = text .. "  " .. escape.line(item.name) end
  return text
end

local function show_items(ctx, items)
  for _, item in ipairs(items) do
    ctx:say(item_text(ctx, item), { { "type", "item" }, { "jid", item.jid }, { "node", item.node },
      { "name", item.name } })
  end
  if items.more then ctx:note "there are more items than are shown" end
end

local function show_tree(ctx, tree, indent)
  local ids = {}
  for i, id in ipairs(tree.identities or {}) do ids[i] = identity(id) end
  local text = indent .. item_text(ctx, tree)
  if ids[1] then text = text .. "  " .. ctx:ink("1", table.concat(ids, ", ")) end
  if tree.error then text = text .. "  " .. ctx:ink("31", escape.line(tostring(tree.error))) end
  ctx:say(text)
  for _, item in ipairs(tree.items or {}) do show_tree(ctx, item, indent .. "  ") end
end

local function walk(ctx, conn, whom, opts)
  local disco, xmpp = require "xmpp.disco", require "xmpp"
  local n, drawing = 0, nil
  if ctx.bars then
    conn:tap(function() n = n + 1 end, { name = "iq" })
    drawing = xmpp.every(0.1, function() ctx:progress(n, nil, "answers") end)
  end
  opts.depth = ctx.opts.depth
  local tree, err = disco.walk(conn, whom, opts)
  if drawing then drawing:cancel() end
  if not tree then return nil, err end
  if ctx.json then
    ctx:say("", { { "type", "tree" }, { "tree", disco.to_tree(tree) } })
  else
    show_tree(ctx, tree, "")
    if tree.more then ctx:note "there are more items than are shown" end
  end
  return 0
end

function M.run(ctx)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local disco = require "xmpp.disco"
  local whom, opts = ctx.args[1] or conn:jid().domainpart, { node = ctx.args[2] }
  if ctx.opts.tree then return walk(ctx, conn, whom, opts) end
  local found
  found, err = disco[ctx.opts.items and "items" or "info"](conn, whom, opts)
  if not found then return nil, err end
  if ctx.opts.items then show_items(ctx, found) else show_info(ctx, whom, found) end
  return 0
end

return M
