-- form: data forms (XEP-0004) as tables: parsed, filled in and submitted; created, and read when they come back. Sends
-- nothing itself.
--
--   local f = assert(form.parse(xexpr.child(query, "x", form.DATA)))
--   print(f.title, f.type, f.values["muc#roomconfig_roomname"])
--   local x = form.answer(f, { ["muc#roomconfig_roomname"] = "Tea", ["muc#roomconfig_persistentroom"] = true })
--
--   local spec = { title = "Which one?", fields = { { var = "what", kind = "list-single", options = { "a", "b" } } } }
--   local question = form.new(spec)
--   local values, err = form.read(answer, spec)                       -- values.what is "a", "b" or nil
--
-- A value's type depends on its field's kind, not on what the text looks like: see form/value.lua.

local core = require "xmpp.load"
local fields_of = require "xmpp.form.field"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local specs = require "xmpp.form.spec"
local value = require "xmpp.form.value"
local xexpr = require "xmpp.xexpr"

local DATA = fields_of.DATA
local VALIDATE = "http://jabber.org/protocol/xdata-validate"
local FORM_KINDS = { cancel = true, form = true, result = true, submit = true }

local M = { DATA = DATA }

-- Reading

local function read_options(x)
  local options
  for option in fields_of.children(x, "option") do
    local text = fields_of.values(option)[1]
    if not text then return nil, "option: has no value" end
    options = options or {}
    options[#options + 1] = { value = text, label = xexpr.attr(option, "label") }
  end
  return options
end

-- The field's description, without its value.
local function describe(f, kinds)
  local x, validate = f.x, xexpr.child(f.x, "validate", VALIDATE)
  local field = { var = f.var, kind = value.kind(f.kind or kinds and kinds[f.var]), label = xexpr.attr(x, "label"),
    required = fields_of.children(x, "required")() ~= nil, datatype = validate and xexpr.attr(validate, "datatype"),
    open = validate and xexpr.child(validate, "open", VALIDATE) ~= nil or nil, texts = f.values }
  local description = fields_of.children(x, "desc")()
  field.description = description and xexpr.text(description)
  local why
  field.options, why = read_options(x)
  if why then return nil, why end
  return field
end

local function at_field(f, why)
  return nil, ("field%s: %s"):format(f.var and " '" .. core.shown(f.var) .. "'" or "", why)
end

-- Fills out.fields and out.values. If a field has no type of its own, several values of a single-value kind are
-- accepted: all are in `texts`, and the value is the first.
local function read_fields(list, out, kinds)
  for _, f in ipairs(list) do
    local field, why = describe(f, kinds)
    local texts = f.values
    if field and not f.kind and not value.MULTI[field.kind] and #texts > 1 then texts = { texts[1] } end
    if field then field.value, why = value.read(field, texts) end
    if why then return at_field(f, why) end
    out.fields[#out.fields + 1] = field
    if f.var and field.kind ~= "fixed" then out.values[f.var] = field.value end
  end
  return true
end

-- Removes FORM_TYPE from the list, and returns it.
local function take_form_type(list, form_kind)
  for i, f in ipairs(list) do
    if fields_of.is_form_type(f, form_kind) then
      if #f.values ~= 1 then return nil, "field 'FORM_TYPE': one value expected" end
      table.remove(list, i)
      return f.values[1]
    end
  end
end

-- The table of a result with several rows (XEP-0004 3.4): `reported` are the columns, `items` the rows' values by var.
local function read_items(x, out)
  local reported, kinds = xexpr.child(x, "reported", DATA), {}
  if reported then
    local list, why = fields_of.list(reported)
    if not list then return nil, "reported." .. why end
    out.reported = {}
    for i, f in ipairs(list) do
      kinds[f.var or ""] = value.kind(f.kind)
      out.reported[i] = { var = f.var, kind = value.kind(f.kind), label = xexpr.attr(f.x, "label") }
    end
  end
  for item in xexpr.children(x, "item", DATA) do
    local row = { fields = {}, values = {} }
    local list, why = fields_of.list(item)
    local ok = list
    if list then ok, why = read_fields(list, row, kinds) end
    if not ok then return nil, "item." .. why end
    out.items = out.items or {}
    out.items[#out.items + 1] = row.values
  end
  return true
end

local function joined(x, name)
  local lines = {}
  for child in xexpr.children(x, name, DATA) do lines[#lines + 1] = xexpr.text(child) end
  return lines[1] and table.concat(lines, "\n")
end

local function is_form(x) return x[1] == "x" and xexpr.attr(x, "xmlns") == DATA end

local function read_form(x, kinds)
  if x == nil or not is_form(x) then return nil, "x: missing" end
  local out = { kind = xexpr.attr(x, "type"), title = xexpr.text(x, "title", DATA),
    instructions = joined(x, "instructions"), fields = {}, values = {} }
  if not FORM_KINDS[out.kind] then return nil, "x.type: form, submit, cancel or result expected" end
  local list, why = fields_of.list(x)
  if not list then return nil, "x." .. why end
  out.type, why = take_form_type(list, out.kind)
  local ok = not why
  if ok then ok, why = read_fields(list, out, kinds) end
  if ok then ok, why = read_items(x, out) end
  if not ok then return nil, "x." .. why end
  return out
end

local function check_element(x, fname)
  if x == nil or type(x) == "table" and type(x[1]) == "string" then return end
  error(("bad argument #1 to '%s' (element expected, got %s)"):format(fname, type(x)), 3)
end

--- Parses a form. `type` is its FORM_TYPE, which must be a hidden field (XEP-0068 3.1) and is then in neither `fields`
--- nor `values`.
---@param x xmpp.Element? the x element; nil is condition "bad-format"
---@param kinds? table<string, xmpp.FieldKind> kinds of fields that have no type of their own
---@return xmpp.Form? form
---@return xmpp.Error? err layer "stanza", condition "bad-format"
function M.parse(x, kinds)
  check_element(x, "parse")
  if kinds ~= nil then guard.check_type(kinds, "table", 2, "parse", 2) end
  local out, why = read_form(x, kinds)
  if not out then return iq.bad_format(why) end
  return out
end

-- Writing

local function field_element(var, kind, texts)
  local x = { "field", { var = var, type = kind } }
  for _, text in ipairs(texts) do x[#x + 1] = { "value", {}, text } end
  return x
end

local function form_element(kind, form_type)
  local x = { "x", { xmlns = DATA, type = kind } }
  if form_type then x[3] = field_element("FORM_TYPE", "hidden", { form_type }) end
  return x
end

local function check_known(f, values, level)
  local known = {}
  for _, field in ipairs(f.fields) do
    if field.var and field.kind ~= "fixed" then known[field.var] = true end
  end
  for var in pairs(values) do
    if not known[var] then error(("the form has no field '%s'"):format(core.shown(tostring(var))), level + 1) end
  end
end

--- Fills in a form: with the given values, and all other fields with their present ones. Raises an error for a field
--- that the form does not have, for a value that is not among its options, and for one of the wrong type.
---@param f xmpp.Form of kind "form", from `parse`
---@param values table<string, any>
---@param level? integer where to report an error, as for error() (1: the caller of this function)
---@return xmpp.Element x
function M.answer(f, values, level)
  level = (level or 1) + 1
  guard.check_type(f, "table", 1, "answer", level)
  guard.check_type(values, "table", 2, "answer", level)
  check_known(f, values, level)
  local x = form_element("submit", f.type)
  for _, field in ipairs(f.fields) do
    local texts, why = field.texts, nil
    if values[field.var or ""] ~= nil then texts, why = value.write(field, values[field.var]) end
    if why then error(("bad value of field '%s' (%s)"):format(core.shown(field.var), why), level) end
    if field.var and field.kind ~= "fixed" and #texts > 0 then
      x[#x + 1] = field_element(field.var, nil, texts)
    elseif values[field.var or ""] ~= nil then
      x[#x + 1] = field_element(field.var, nil, {}) -- an empty list is sent, too
    end
  end
  return x
end

local function sorted_keys(t)
  local out = {}
  for key in pairs(t) do out[#out + 1] = key end
  table.sort(out)
  return out
end

--- Makes a submission without having seen the form, from texts, numbers, booleans, addresses, and lists of these.
---@param form_type string? its FORM_TYPE
---@param values table<string, any>
---@return xmpp.Element x
function M.submit(form_type, values)
  if form_type ~= nil then guard.check_type(form_type, "string", 1, "submit", 2) end
  guard.check_type(values, "table", 2, "submit", 2)
  for var in pairs(values) do
    if type(var) ~= "string" then error("bad argument #2 to 'submit' (names of fields are strings)", 2) end
  end
  local x = form_element("submit", form_type)
  for _, var in ipairs(sorted_keys(values)) do
    local texts, why = value.write_any(values[var])
    if not texts then error(("bad value of field '%s' (%s)"):format(core.shown(var), why), 2) end
    x[#x + 1] = field_element(var, nil, texts)
  end
  return x
end

-- Our own forms

local function put_text(x, name, text)
  if text then x[#x + 1] = { name, {}, text } end
end

local function spec_element(f)
  local x = { "field", { var = f.var, type = f.kind, label = f.label } }
  put_text(x, "desc", f.description)
  if f.required then x[#x + 1] = { "required" } end
  if f.datatype or f.open then
    x[#x + 1] = { "validate", { xmlns = VALIDATE, datatype = f.datatype }, f.open and { "open" } or nil }
  end
  for _, text in ipairs(f.texts) do x[#x + 1] = { "value", {}, text } end
  for _, option in ipairs(f.options or {}) do
    x[#x + 1] = { "option", { label = option.label }, { "value", {}, option.value } }
  end
  return x
end

--- Creates a form. A field is { var =, kind = ("text-single"), label =?, description =?, required =?, value =?,
--- options =? (texts, or { value =, label = }), datatype =?, open =? (XEP-0122) }. Raises an error for an invalid
--- description.
---@param spec { type: string?, kind: "form"|"result"|nil, title: string?, instructions: string?, fields: table[]? }
---@return xmpp.Element x
function M.new(spec)
  guard.check_type(spec, "table", 1, "new", 2)
  local fields = specs.fields(spec, 1, "new", 2)
  local x = { "x", { xmlns = DATA, type = spec.kind or "form" } }
  put_text(x, "title", spec.title)
  put_text(x, "instructions", spec.instructions)
  if spec.type then x[#x + 1] = field_element("FORM_TYPE", "hidden", { spec.type }) end
  for _, f in ipairs(fields) do x[#x + 1] = spec_element(f) end
  return x
end

-- The value of a submitted field, by the kind of the field in our form.
local function submitted(f, texts)
  if f.kind == "fixed" then return nil end
  local v, why = value.read(f, texts or {})
  if why then return nil, why end
  for _, text in ipairs(texts or {}) do
    if not value.is_option(f, text) then return nil, ("'%s' is no option"):format(core.shown(text)) end
  end
  local nothing = v == nil or v == "" or type(v) == "table" and #v == 0
  if f.required and nothing then return nil, "missing" end
  return v
end

--- Reads the submission of a form that was created by `new`. The kinds are those of `spec`, whatever the submission
--- says. Fields that are not in it are ignored; one that is missing in the submission is nil, or an empty list.
---@param x xmpp.Element? the x element that was submitted
---@param spec table as for `new`
---@return table<string, any>? values
---@return xmpp.Error? err condition "bad-format"
function M.read(x, spec)
  check_element(x, "read")
  guard.check_type(spec, "table", 2, "read", 2)
  local fields = specs.fields(spec, 2, "read", 2)
  if x == nil or not is_form(x) then return iq.bad_format "x: missing" end
  if xexpr.attr(x, "type") ~= "submit" then return iq.bad_format "x.type: submit expected" end
  local list, why = fields_of.list(x)
  if not list then return iq.bad_format("x." .. why) end
  local form_type
  form_type, why = take_form_type(list, "submit")
  if why then return iq.bad_format("x." .. why) end
  if form_type and form_type ~= spec.type then
    return iq.bad_format("x.field 'FORM_TYPE': this is another form")
  end
  local texts, values = {}, {}
  for _, f in ipairs(list) do
    if f.var then texts[f.var] = f.values end
  end
  for _, f in ipairs(fields) do
    local v
    v, why = submitted(f, f.var and texts[f.var])
    if why then return iq.bad_format(("x.field '%s': %s"):format(core.shown(f.var), why)) end
    if f.var then values[f.var] = v end
  end
  return values
end

return M
