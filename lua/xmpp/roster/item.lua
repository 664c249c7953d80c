-- roster/item: a contact, { jid, name =?, subscription, ask =?, groups, approved =? }: read as a server writes it
-- (RFC 6121 2.1.2), and as it was saved; and written. For xmpp.roster.
--
--   local item, why = item.read({ "item", { jid = "anna@example.net", subscription = "both" } }, {})

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local M = {}

local ROSTER = "jabber:iq:roster"

M.ROSTER = ROSTER

local SUBSCRIPTIONS = { none = true, to = true, from = true, both = true }

-- Lists of groups are shared by all who are in the same; `known` has those of one roster: their names -> the list.
local NO_GROUPS = {}

local function list_of(names, known)
  local sorted = {}
  for name in pairs(names) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  local key = table.concat(sorted, "\0") -- which no XML has
  known[key] = known[key] or sorted
  return known[key]
end

-- Each group once; one without a name is none (RFC 6121 2.3.3). x stands in a query, whose namespace it is in.
local function groups_of(x, known)
  if not x[3] then return NO_GROUPS end
  local names, some = {}, false
  for group in xexpr.children(x, "group") do
    local name = xexpr.text(group)
    if name ~= "" and (group[2].xmlns or ROSTER) == ROSTER then names[name], some = true, true end
  end
  return some and list_of(names, known) or NO_GROUPS
end

--- An element of a received roster as a contact; its subscription is "remove" where that is said. What the RFC does not
--- know is "none" (2.1.2.5). nil and a reason: it is none; true behind the reason: for its address alone, which our
--- preparation refuses, as a server with another one need not.
---@param x xmpp.Element
---@param known table of lists of groups that are there already
---@return xmpp.RosterItem? item
---@return string? reason
---@return boolean? foreign
function M.read(x, known)
  local attrs = x[2]
  if not attrs.jid then return nil, "jid: missing" end
  local jid, err = core.jid(attrs.jid)
  if not jid then return nil, "jid: " .. err.text, true end
  local subscription = attrs.subscription
  if subscription ~= "remove" and not SUBSCRIPTIONS[subscription] then subscription = "none" end
  local name, approved = attrs.name, attrs.approved
  return { jid = tostring(jid), name = name ~= "" and name or nil, subscription = subscription,
    ask = attrs.ask == "subscribe" and "subscribe" or nil, groups = groups_of(x, known),
    approved = (approved == "true" or approved == "1") or nil }
end

local function same_list(a, b)
  if a == b then return true end
  if #a ~= #b then return false end
  for i, v in ipairs(a) do
    if b[i] ~= v then return false end
  end
  return true
end

--- Do both say the same of a contact?
---@param a xmpp.RosterItem
---@param b xmpp.RosterItem
---@return boolean
function M.same(a, b)
  return a.name == b.name and a.subscription == b.subscription and a.ask == b.ask and a.approved == b.approved
    and same_list(a.groups, b.groups)
end

--- What asks the server to have a contact like that (RFC 6121 2.3), or to remove it (2.5).
---@param jid string
---@param name string?
---@param groups string[]?
---@return xmpp.Element
function M.query(jid, name, groups)
  local item = { "item", { jid = jid, name = name ~= "" and name or nil } }
  for _, group in ipairs(groups or NO_GROUPS) do item[#item + 1] = { "group", {}, group } end
  return { "query", { xmlns = ROSTER }, item }
end

---@param jid string
---@return xmpp.Element
function M.removal(jid)
  return { "query", { xmlns = ROSTER }, { "item", { jid = jid, subscription = "remove" } } }
end

-- Saved ones

local function is_text(v) return v == nil or type(v) == "string" end

local function saved_groups(list, known)
  if type(list) ~= "table" then return nil end
  local names = {}
  for _, name in ipairs(list) do
    if type(name) ~= "string" or name == "" then return nil end
    names[name] = true
  end
  return next(names) and list_of(names, known) or NO_GROUPS
end

--- A contact as plain data, which shares no table with it.
---@param item xmpp.RosterItem
---@return table
function M.to_save(item)
  local copy = {}
  for key, v in pairs(item) do copy[key] = v end
  copy.groups = {}
  for i, name in ipairs(item.groups) do copy.groups[i] = name end
  return copy
end

--- The contact that `to_save` gave; nil: it did not.
---@param saved any
---@param known table as of `read`
---@return xmpp.RosterItem?
function M.from_save(saved, known)
  if type(saved) ~= "table" or type(saved.jid) ~= "string" then return nil end
  local jid, groups = core.jid(saved.jid), saved_groups(saved.groups, known)
  local fits = jid and groups and is_text(saved.name) and SUBSCRIPTIONS[saved.subscription]
    and (saved.ask == nil or saved.ask == "subscribe") and (saved.approved == nil or saved.approved == true)
  if not fits then return nil end
  return { jid = tostring(jid), name = saved.name, subscription = saved.subscription, ask = saved.ask, groups = groups,
    approved = saved.approved }
end

return M
