-- form: what an entity says about itself (XEP-0030, XEP-0128), as an element, as tables, and as JSON. Sends nothing; a
-- fault in the input is returned as nil and its path.
--
--   info: { identities = { { category =, type =, name =?, lang =? } }, features = { [var] = true },
--           forms = { [FORM_TYPE] = { [var] = { value... } } } }
--   item: { jid =, node =?, name =? }
--   tree: info and item in one, whose `items` are such trees, or items; absent: unknown. After a recursive walk `error`
--         says why an entity could not be asked, and `more` that something was left out.

local core = require "xmpp.load"
local field = require "xmpp.form.field"
local unpack = table.unpack or unpack -- luacheck: ignore 143
local xexpr = require "xmpp.xexpr"

local M = { INFO = "http://jabber.org/protocol/disco#info", ITEMS = "http://jabber.org/protocol/disco#items" }

local DATA = field.DATA
local MAX_DEPTH = 100 -- of a tree

--- Does this text come before the other one, compared by bytes? The operator < compares by the program's locale.
---@param a string
---@param b string
---@return boolean
function M.is_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function order(identity)
  return table.concat({ identity.category, identity.type, identity.lang or "", identity.name or "" }, "\0")
end

--- Sorts by category, type, language and name, bytewise.
function M.sort_identities(list)
  table.sort(list, function(a, b) return M.is_before(order(a), order(b)) end)
  return list
end

local function sorted_keys(t)
  local out = {}
  for key in pairs(t) do out[#out + 1] = key end
  table.sort(out, M.is_before)
  return out
end

-- Elements to tables

--- The values of a data form's field, unparsed.
---@return string[]
M.values = field.values

--- A data form's fields: var -> list of values, and FORM_TYPE separately, if it is a hidden field (XEP-0068).
---@return table? fields
---@return string? form_type or, after nil, the reason
function M.read_form(x)
  local fields, form_type = {}, nil
  local list, why = field.list(x)
  if not list then return nil, why end
  for _, f in ipairs(list) do
    if not f.var then return nil, "field.var: missing" end
    if field.is_form_type(f) then form_type = f.values[1] end
    fields[f.var] = f.values
  end
  if form_type then fields.FORM_TYPE = nil end
  return fields, form_type
end

local function read_identity(x)
  local identity = { category = xexpr.attr(x, "category"), type = xexpr.attr(x, "type"), name = xexpr.attr(x, "name"),
    lang = xexpr.attr(x, "xml:lang") }
  if not identity.category or identity.category == "" then return nil, "identity.category: missing" end
  if not identity.type or identity.type == "" then return nil, "identity.type: missing" end
  return identity
end

-- A form without a FORM_TYPE has no defined meaning, and is ignored.
local function read_forms(query, forms)
  for x in xexpr.children(query, "x", DATA) do
    local fields, form_type = M.read_form(x)
    if not fields then return nil, "x." .. form_type end
    if form_type then forms[form_type] = forms[form_type] or fields end
  end
  return forms
end

--- Parses a query element of disco#info.
---@param query any
---@return table? info
---@return string? reason
function M.read_info(query)
  if type(query) ~= "table" or query[1] ~= "query" or xexpr.attr(query, "xmlns") ~= M.INFO then
    return nil, "query: missing"
  end
  local info, why = { identities = {}, features = {}, forms = {} }
  for x in xexpr.children(query, "identity", M.INFO) do
    info.identities[#info.identities + 1], why = read_identity(x)
    if why then return nil, "query." .. why end
  end
  for x in xexpr.children(query, "feature", M.INFO) do
    local var = xexpr.attr(x, "var")
    if not var or var == "" then return nil, "query.feature.var: missing" end
    info.features[var] = true
  end
  local _, fault = read_forms(query, info.forms)
  if fault then return nil, "query." .. fault end
  M.sort_identities(info.identities)
  return info
end

--- Parses an item of disco#items; its address is prepared.
---@return table? item
---@return string? reason
function M.read_item(x)
  local address = xexpr.attr(x, "jid")
  local jid = address and core.jid(address)
  if not jid then return nil, ("item.jid: %s"):format(address and "'" .. core.shown(address) .. "'" or "missing") end
  return { jid = tostring(jid), node = xexpr.attr(x, "node"), name = xexpr.attr(x, "name") }
end

-- Tables to elements

local function form_element(form_type, fields)
  local x = { "x", { xmlns = DATA, type = "result" },
    { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, form_type } } }
  for _, var in ipairs(sorted_keys(fields)) do
    local f = { "field", { var = var } }
    for _, value in ipairs(fields[var]) do f[#f + 1] = { "value", {}, value } end
    x[#x + 1] = f
  end
  return x
end

--- The query element for an info.
---@param info table
---@param node? string
---@return xmpp.Element
function M.info_element(info, node)
  local query = { "query", { xmlns = M.INFO, node = node } }
  for _, i in ipairs(info.identities) do
    query[#query + 1] = { "identity", { category = i.category, type = i.type, name = i.name, ["xml:lang"] = i.lang } }
  end
  for _, var in ipairs(sorted_keys(info.features)) do query[#query + 1] = { "feature", { var = var } } end
  for _, form_type in ipairs(sorted_keys(info.forms or {})) do
    query[#query + 1] = form_element(form_type, info.forms[form_type])
  end
  return query
end

--- The element for one item.
function M.item_element(item)
  return { "item", { jid = item.jid, node = item.node, name = item.name } }
end

-- Trees as plain data: features are a sorted list, identities are sorted, so that equal trees give equal texts.

local function plain_identities(list)
  local out = {}
  for i, identity in ipairs(list) do
    out[i] = { category = identity.category, type = identity.type, name = identity.name, lang = identity.lang }
  end
  return M.sort_identities(out)
end

local function plain_forms(forms)
  local out = {}
  for form_type, fields in pairs(forms) do
    out[form_type] = {}
    for var, values in pairs(fields) do out[form_type][var] = { unpack(values) } end
  end
  return out
end

--- The tree as plain data; raises an error if it contains a loop.
---@param tree table
---@return table
function M.to_tree(tree, depth)
  depth = depth or 1
  if depth > MAX_DEPTH then error(("a tree deeper than %d, or with a loop in it"):format(MAX_DEPTH), 0) end
  local out = { jid = tree.jid, node = tree.node, name = tree.name, error = tree.error, more = tree.more }
  if tree.identities then
    out.identities, out.features = plain_identities(tree.identities), sorted_keys(tree.features or {})
    out.forms = plain_forms(tree.forms or {})
  end
  if not tree.items then return out end
  out.items = {}
  for i, item in ipairs(tree.items) do out.items[i] = M.to_tree(item, depth + 1) end
  return out
end

-- Reading; errors contain the path

local function fault(path, wanted, v) return nil, ("%s: %s expected, got %s"):format(path, wanted, type(v)) end

local function is_list(v)
  if type(v) ~= "table" then return false end
  for key in pairs(v) do
    if type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > #v then return false end
  end
  return true
end

local function read_texts(v, path)
  if not is_list(v) then return fault(path, "list", v) end
  for i, text in ipairs(v) do
    if type(text) ~= "string" then return fault(("%s[%d]"):format(path, i), "string", text) end
  end
  return v
end

local IDENTITY = { { "category", true }, { "type", true }, { "name" }, { "lang" } }
local ITEM = { { "jid", true }, { "node" }, { "name" }, { "error" } }

local function read_words(v, keys, path)
  if type(v) ~= "table" then return fault(path, "object", v) end
  local out = {}
  for _, key in ipairs(keys) do
    local word = v[key[1]]
    if type(word) ~= "string" and (word ~= nil or key[2]) then return fault(path .. "." .. key[1], "string", word) end
    out[key[1]] = word
  end
  return out
end

local function read_identities(list, path)
  if not is_list(list) then return fault(path, "list", list) end
  local out, why = {}
  for i, v in ipairs(list) do
    out[i], why = read_words(v, IDENTITY, ("%s[%d]"):format(path, i))
    if why then return nil, why end
  end
  return M.sort_identities(out)
end

local function read_features(list, path)
  local out, texts, why = {}, read_texts(list, path)
  if not texts then return nil, why end
  for _, var in ipairs(texts) do out[var] = true end
  return out
end

local function read_plain_forms(v, path)
  if type(v) ~= "table" then return fault(path, "object", v) end
  local out = {}
  for form_type, fields in pairs(v) do
    if type(form_type) ~= "string" or type(fields) ~= "table" then return fault(path, "object", fields) end
    out[form_type] = {}
    for var, values in pairs(fields) do
      local at = ('%s["%s"]["%s"]'):format(path, core.shown(form_type), core.shown(tostring(var)))
      local texts, why = read_texts(values, at)
      if not texts then return nil, why end
      if type(var) ~= "string" then return fault(path, "object", fields) end
      out[form_type][var] = texts
    end
  end
  return out
end

local read_tree

local function read_items(list, path, depth)
  if not is_list(list) then return fault(path, "list", list) end
  local out, why = {}
  for i, v in ipairs(list) do
    out[i], why = read_tree(v, ("%s[%d]"):format(path, i), depth + 1)
    if why then return nil, why end
  end
  return out
end

function read_tree(v, path, depth)
  if depth > MAX_DEPTH then return nil, ("%s: deeper than %d"):format(path, MAX_DEPTH) end
  local out, why = read_words(v, ITEM, path)
  if not out then return nil, why end
  local jid = core.jid(out.jid)
  if not jid then return nil, ("%s.jid: '%s' is no address"):format(path, core.shown(out.jid)) end
  out.jid, out.more = tostring(jid), v.more == true or nil
  if v.identities ~= nil or v.features ~= nil then
    out.identities, why = read_identities(v.identities or {}, path .. ".identities")
    if not why then out.features, why = read_features(v.features or {}, path .. ".features") end
    if not why then out.forms, why = read_plain_forms(v.forms or {}, path .. ".forms") end
  end
  if not why and v.items ~= nil then out.items, why = read_items(v.items, path .. ".items", depth) end
  if why then return nil, why end
  return out
end

--- The tree from plain data; nil and a reason with its path.
---@param v any
---@return table? tree
---@return string? reason
function M.from_tree(v) return read_tree(v, "tree", 1) end

-- JSON. The order of keys is fixed, so equal trees give equal texts.

local function json_text(s)
  return '"' .. s:gsub('[%z\1-\31"\\\127]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

local KEYS = { "jid", "node", "name", "category", "type", "lang", "identities", "features", "forms", "items",
  "error", "more" }
local write

local function write_list(list)
  local out = {}
  for i, v in ipairs(list) do out[i] = write(v) end
  return "[" .. table.concat(out, ",") .. "]"
end

-- Objects whose keys come from the other entity: forms, their fields.
local function write_map(map, write_value)
  local out = {}
  for i, key in ipairs(sorted_keys(map)) do out[i] = json_text(key) .. ":" .. write_value(map[key]) end
  return "{" .. table.concat(out, ",") .. "}"
end

local function write_fields(fields) return write_map(fields, write_list) end

local function write_object(v)
  local out = {}
  for _, key in ipairs(KEYS) do
    local text = v[key] and (key == "forms" and write_map(v.forms, write_fields) or write(v[key]))
    if text then out[#out + 1] = json_text(key) .. ":" .. text end
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function write(v)
  if type(v) == "string" then return json_text(v) end
  if v == true then return "true" end
  return (v.jid or v.category) and write_object(v) or write_list(v)
end

--- The tree as JSON.
---@param tree table
---@return string
function M.to_json(tree) return write(M.to_tree(tree)) end

return M
