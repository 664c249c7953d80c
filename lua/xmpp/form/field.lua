-- field: the fields of a data form (XEP-0004), unparsed: for xmpp.form, which knows their kinds, and for xmpp.disco,
-- where kinds are unknown.

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local M = { DATA = "jabber:x:data" }

local DATA = M.DATA

--- Iterates over the children of a field or an option that belong to the form: those without a namespace of their own.
---@param x xmpp.Element
---@param name string
---@return fun(): xmpp.Element?
function M.children(x, name)
  local following = xexpr.children(x, name)
  return function()
    local child = following()
    while child and (xexpr.attr(child, "xmlns") or DATA) ~= DATA do child = following() end
    return child
  end
end

--- The values of a field, unparsed.
---@param field xmpp.Element
---@return string[]
function M.values(field)
  local values = {}
  for value in M.children(field, "value") do values[#values + 1] = xexpr.text(value) end
  return values
end

--- The fields of a form, an item, or a <reported/>, in order: { var =, kind =, values =, x = }. Only a fixed field may
--- lack a var; no var may occur twice, because implementations differ in which of both counts.
---@param x xmpp.Element
---@return table[]? fields
---@return string? reason
function M.list(x)
  local fields, seen = {}, {}
  for child in xexpr.children(x, "field") do
    if (xexpr.attr(child, "xmlns") or DATA) == DATA then
      local var, kind = xexpr.attr(child, "var"), xexpr.attr(child, "type")
      if not var and kind ~= "fixed" then return nil, "field.var: missing" end
      if var and seen[var] then return nil, ("field '%s': twice"):format(core.shown(var)) end
      if var then seen[var] = true end
      fields[#fields + 1] = { var = var, kind = kind, values = M.values(child), x = child }
    end
  end
  return fields
end

--- Is that the field that names the form's type (XEP-0068 3.1)? It is hidden; in a submission, where kinds may be left
--- out (XEP-0004 3.2), it may have none.
---@param field table
---@param form_kind string?
---@return boolean
function M.is_form_type(field, form_kind)
  if field.var ~= "FORM_TYPE" then return false end
  return field.kind == "hidden" or field.kind == nil and form_kind == "submit"
end

return M
