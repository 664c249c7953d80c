-- dialog: the argument of a command's function. It asks the person questions, and waits for the answers:
--
--   command.serve(conn, "restart", { name = "Restart", allow = is_admin }, function(dialog)
--     local v = dialog:ask { fields = { { var = "what", kind = "list-single", options = services } } }
--     if not v then return end                     -- they have cancelled, or never answered
--     local sure = dialog:ask { title = "Restart " .. v.what .. "?", fields = { { var = "yes", kind = "boolean" } } }
--     if not (sure and sure.yes) then return "nothing done" end
--     restart(v.what)
--     return v.what .. " restarted"
--   end)
--
-- For xmpp.command. Its fields are read-only: from (the full address of the person, prepared), node, lang (the
-- language they prefer, or nil). See command/session.lua for the implementation.

local form = require "xmpp.form"
local guard = require "xmpp.guard"
local specs = require "xmpp.form.spec"
local words = require "xmpp.command.words"

local M = {}

---@class xmpp.Dialog
---@field from string full address, prepared
---@field node string
---@field lang string?
local D = {}

-- The dialog's run, see session.lua.
local function run_of(dialog) return getmetatable(dialog).run end

-- The description of a form that form.new has created, for form.read.
local function spec_of(x, level)
  local parsed, err = form.parse(x)
  if not parsed then error(("bad argument #1 to 'ask' (%s)"):format(err.text), level + 1) end
  local spec = { type = parsed.type, title = parsed.title, instructions = parsed.instructions, fields = {} }
  for i, f in ipairs(parsed.fields) do
    local is_list = f.kind == "list-single" or f.kind == "list-multi"
    spec.fields[i] = { var = f.var, kind = f.kind, label = f.label, required = f.required, datatype = f.datatype,
      description = f.description, open = f.open, options = f.options or is_list and {} or nil, value = f.value }
  end
  return spec
end

-- A question that is asked again contains the earlier answer.
local function with_values(spec, values)
  local out = { fields = {} }
  for key, v in pairs(spec) do
    if key ~= "fields" then out[key] = v end
  end
  for i, field in ipairs(spec.fields or {}) do
    local copy = {}
    for key, v in pairs(field) do copy[key] = v end
    if field.var and values[field.var] ~= nil then copy.value = values[field.var] end
    out.fields[i] = copy
  end
  return out
end

-- The form; with the earlier answer, if that is still valid.
local function written(spec, values)
  if values then
    local ok, x = pcall(form.new, with_values(spec, values))
    if ok then return x end
  end
  return form.new(spec)
end

--- Asks a question, and waits for the answer. An answer that does not fit the form is refused, and the question stays
--- open.
---@param what table a form, as form.new creates it or takes it
---@param opts? { note: string? } note: a text that is shown with the question
---@return table<string, any>? values by field name
---@return "cancel"|"timeout"|"closed"|nil why there are none: cancelled, no answer for too long, or the command or the
--- connection has ended. Every later `ask` returns the same at once
function D.ask(dialog, what, opts)
  guard.check_type(what, "table", 1, "ask", 2)
  opts = guard.check_opts(opts, { note = "string" }, 2, "ask", 2)
  local run = run_of(dialog)
  local spec = what[1] == "x" and spec_of(what, 2) or what
  specs.fields(spec, 1, "ask", 2)
  if run.asked then error("the dialog has a question that isn't answered yet", 2) end
  if opts.note then dialog:note("info", opts.note) end
  return run.ask(spec, function(values) return written(spec, values) end)
end

--- Adds a note to the next question, or to the result. A note of kind "error" in the result means that the command has
--- failed (XEP-0050 3.6).
---@param kind "info"|"warn"|"error"
---@param text string
function D.note(dialog, kind, text)
  if not words.NOTES[kind] then error("bad argument #1 to 'note' (info, warn or error expected)", 2) end
  guard.check_type(text, "string", 2, "note", 2)
  local notes = run_of(dialog).notes
  notes[#notes + 1] = { kind = kind, text = text }
end

--- Creates a dialog.
---@param run { ask: function, notes: table }
---@param fields { from: string, node: string, lang: string? }
---@return xmpp.Dialog
function M.new(run, fields)
  return setmetatable({ from = fields.from, node = fields.node, lang = fields.lang }, { __index = D, run = run })
end

return M
