-- roster: the account's contacts (RFC 6121 2 and 3).

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"

local M = {}

local SHOWN = { none = "-", to = "we see it", from = "it sees us", both = "both see each other" }

local function show(ctx, item)
  local text = ctx:name(item.jid) .. "  " .. (SHOWN[item.subscription] or "-")
  if item.ask then text = text .. ", asked" end
  if item.name then text = text .. "  " .. escape.line(item.name) end
  if item.groups[1] then text = text .. "  [" .. escape.line(table.concat(item.groups, ", ")) .. "]" end
  ctx:say(text, { { "type", "contact" }, { "jid", item.jid }, { "name", item.name },
    { "subscription", item.subscription }, { "ask", item.ask and true or nil }, { "groups", item.groups },
    { "approved", item.approved and true or nil } })
end

local words = {}

function words.list(ctx, r)
  local jids = {}
  for jid in pairs(r.items) do jids[#jids + 1] = jid end
  table.sort(jids)
  for _, jid in ipairs(jids) do
    local item = r.items[jid]
    local wanted = not ctx.opts.group
    for _, group in ipairs(item.groups) do
      for _, name in ipairs(ctx.opts.group or {}) do wanted = wanted or name == group end
    end
    if wanted then show(ctx, item) end
  end
  return true
end

function words.add(ctx, r, jid)
  return r:add(jid, { name = ctx.opts.name, groups = ctx.opts.group })
end

function words.remove(_, r, jid) return r:remove(jid) end
function words.subscribe(ctx, r, jid) return r:subscribe(jid, ctx.args[3]) end
function words.unsubscribe(_, r, jid) return r:unsubscribe(jid) end
function words.approve(_, r, jid) return r:approve(jid) end
function words.deny(_, r, jid) return r:deny(jid) end

function M.run(ctx)
  local word, jid = ctx.args[1] or "list", ctx.args[2]
  if word ~= "list" and not jid then
    exit.raise("usage", "missing", ("usage: xmpp roster %s JID"):format(word))
  end
  if jid then require "xmpp.cmd.input".address(jid) end
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local r = require "xmpp.roster".use(conn)
  local ok, why = r:fetched(ctx.timeout)
  if ok then ok, why = words[word](ctx, r, jid) end
  if ok and word == "list" then require "xmpp.cmd.contacts".keep(ctx, r) end
  if ok and word ~= "list" then ok, why = conn:flush(ctx.timeout) end
  if not ok then return nil, why end
  return 0
end

return M
