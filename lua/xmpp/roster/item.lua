-- roster/item: a contact, { jid, name =?, subscription, ask =?, groups, approved =? }: parsed from a server's element
-- (RFC 6121 2.1.2) or from saved data; and written. For xmpp.roster.
--
--   local item, why = item.read({ "item", { jid = "anna@example.net", subscription = "both" } }, {})

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local M = {}

local ROSTER = "jabber:iq:roster"

M.ROSTER = ROSTER

local SUBSCRIPTIONS = { none = true, to = true, from = true, both = true }

-- Equal lists of groups are the same table; `known` has those of one roster: their names -> the list.
local NO_GROUPS = {}

local function list_of(names, known)
  local sorted = {}
  for name in pairs(names) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  local key = table.concat(sorted, "\0") -- a character that XML doesn't allow
  known[key] = known[key] or sorted
  return known[key]
end

-- A group's name; nil: the name is empty (RFC 6121 2.3.3), or the element belongs to another namespace. The namespace
-- is inherited from the query.
local function name_of(group)
  if group[1] ~= "group" or (group[2].xmlns or ROSTER) ~= ROSTER then return nil end
  local name = group[4] == nil and type(group[3]) == "string" and group[3] or xexpr.text(group)
  return name ~= "" and name or nil
end

-- The groups of an item, each once.
local function groups_of(x, known)
  local names, first, n = nil, nil, 0
  for i = 3, #x do
    local name = type(x[i]) == "table" and name_of(x[i])
    if name then
      if n == 1 then names = { [first] = true } end
      if n > 0 then names[name] = true else first = name end
      n = n + 1
    end
  end
  if n == 0 then return NO_GROUPS end
  if n > 1 then return list_of(names, known) end
  known[first] = known[first] or { first } -- most contacts are in one group
  return known[first]
end

--- Parses an element of a received roster; its subscription may be "remove". An unknown one counts as "none"
--- (2.1.2.5). nil and a reason if it is invalid; followed by true if only the address is, because the server prepares
--- addresses differently.
---@param x xmpp.Element
---@param known table of lists of groups that exist already
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

--- Are both contacts equal?
---@param a xmpp.RosterItem
---@param b xmpp.RosterItem
---@return boolean
function M.same(a, b)
  return a.name == b.name and a.subscription == b.subscription and a.ask == b.ask and a.approved == b.approved
    and same_list(a.groups, b.groups)
end

--- The query that asks the server to add or change a contact (RFC 6121 2.3).
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

-- Saved contacts

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

--- The contact that `to_save` returned; nil if the data are invalid.
---@param saved any
---@param known table as for `read`
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
