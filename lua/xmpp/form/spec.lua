-- spec: checks a program's description of a form. For xmpp.form.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local value = require "xmpp.form.value"

local M = {}

local function options_of(field)
  if field.options == nil then return nil end
  if type(field.options) ~= "table" then return nil, "options: list expected, got " .. type(field.options) end
  local out = {}
  for i, option in ipairs(field.options) do
    local text = type(option) == "table" and option.value or option
    if type(text) ~= "string" then
      return nil, ("options[%d]: string or { value =, label = } expected, got %s"):format(i, type(text))
    end
    out[i] = { value = text, label = type(option) == "table" and option.label or nil }
  end
  return out
end

local FIELD = { var = "string", kind = "string", label = "string", description = "string", required = "boolean",
  datatype = "string", open = "boolean", options = "table", value = false }

-- What is wrong with a single field of a description.
local function field_fault(field)
  for name, v in pairs(field) do
    if FIELD[name] == nil then return ("there is no '%s' in a field"):format(core.shown(tostring(name))) end
    if FIELD[name] and type(v) ~= FIELD[name] then
      return ("%s: %s expected, got %s"):format(name, FIELD[name], type(v))
    end
  end
  if field.kind and not value.KINDS[field.kind] then return ("there is no kind '%s'"):format(core.shown(field.kind)) end
  if not field.var and field.kind ~= "fixed" then return "var: missing" end
  if field.var == "FORM_TYPE" then return "the form's FORM_TYPE is its 'type'" end
  if (field.kind == "list-single" or field.kind == "list-multi") and not field.options then
    return "options: missing"
  end
end

-- A field of a description, with its options as a list of tables, and its value as texts.
local function field_of(field)
  if type(field) ~= "table" then return nil, "table expected, got " .. type(field) end
  local why = field_fault(field)
  if why then return nil, why end
  local out = { var = field.var, kind = field.kind or "text-single", label = field.label, required = field.required,
    description = field.description, datatype = field.datatype, open = field.open, texts = {} }
  out.options, why = options_of(field)
  if not why and field.value ~= nil then out.texts, why = value.write(out, field.value) end
  if why then return nil, why end
  return out
end

local SPEC = { type = "string", kind = "string", title = "string", instructions = "string", fields = "table" }

--- The fields of a description: { var =, kind =, label =, required =, description =, datatype =, open =, options = { {
--- value =, label = } }, texts = its values }. Raises an error at `level` for an invalid one.
function M.fields(spec, position, fname, level)
  spec = guard.check_opts(spec, SPEC, position, fname, level + 1)
  if spec.kind and spec.kind ~= "form" and spec.kind ~= "result" then
    error(("bad option 'kind' of '%s' (form or result expected)"):format(fname), level + 1)
  end
  local out, seen = {}, {}
  for i, field in ipairs(spec.fields or {}) do
    local f, why = field_of(field)
    if f and f.var and seen[f.var] then why = ("'%s' is used twice"):format(core.shown(f.var)) end
    if why then error(("bad field %d of '%s' (%s)"):format(i, fname, why), level + 1) end
    out[i], seen[f.var or i] = f, true
  end
  return out
end

return M
