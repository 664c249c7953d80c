-- fields: the fields of data forms (XEP-0004) as arguments VAR=VALUE, for subcommands that show a form, or fill one
-- in.

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"

local M = {}

local HIDDEN = "***" -- shown in place of a secret

--- Splits an argument into VAR and VALUE; raises an error if it has no "=".
---@param word string
---@return string var
---@return string text
function M.split(word)
  local var, text = word:match "^([^=]+)=(.*)$"
  if not var then exit.raise("usage", "bad-value", ("VAR=VALUE expected, got '%s'"):format(escape.line(word))) end
  return var, text
end

--- Parses a value from the command line, for a field of that kind (XEP-0004 3.3). The caller has to ask for secrets.
---@param field table
---@param text string
---@return any
function M.read(field, text)
  if field.kind == "boolean" then
    if text == "true" or text == "1" or text == "yes" then return true end
    if text == "false" or text == "0" or text == "no" then return false end
    exit.raise("input", "bad-value", ("%s: true or false expected, got '%s'"):format(escape.line(field.var),
      escape.line(text)))
  end
  if not (field.kind or ""):find "multi$" then return text end
  local list = {}
  for part in (text .. ","):gmatch "([^,]*)," do list[#list + 1] = part ~= "" and part or nil end
  return list
end

--- A value as it is written on the command line.
function M.text(v)
  if type(v) == "table" then
    local list = {}
    for i, part in ipairs(v) do list[i] = tostring(part) end
    return table.concat(list, ",")
  end
  return v == nil and "" or tostring(v)
end

--- Shows a field as one line, or as an object. name: its name in the line (field.var).
function M.show(ctx, field, value, name)
  if field.kind == "text-private" and value ~= nil and value ~= "" then value = HIDDEN end
  local label = field.label and "  " .. ctx:ink("2", "# " .. escape.line(field.label)) or ""
  ctx:say(("%s=%s%s"):format(escape.line(name or field.var), escape.line(M.text(value)), label),
    { { "type", "field" }, { "var", field.var }, { "kind", field.kind }, { "value", value },
      { "label", field.label } })
end

--- Can people fill in this field?
function M.is_asked(field) return field.var ~= nil and field.kind ~= "hidden" and field.kind ~= "fixed" end

return M
