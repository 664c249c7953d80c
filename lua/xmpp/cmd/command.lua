-- command: lists ad-hoc commands (XEP-0050) and runs them, with arguments VAR=VALUE or by asking at the terminal.

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"
local fields = require "xmpp.cmd.fields"

local M = {}

local LONGEST_LINE = 65536

local function list(ctx, conn, jid)
  local commands, err = require "xmpp.command".list(conn, jid, { timeout = ctx.timeout })
  if not commands then return nil, err end
  for _, c in ipairs(commands) do
    ctx:say(escape.line(c.node) .. (c.name and "  " .. escape.line(c.name) or ""),
      { { "type", "command" }, { "jid", jid }, { "node", c.node }, { "name", c.name } })
  end
  return 0
end

-- The node that an argument names.
local function node_of(word)
  local short = word:match "^admin:(.*)$"
  if not short then return word end
  local admin = require "xmpp.command".admin
  if admin[short] then return admin[short] end
  exit.raise("usage", "unknown", ("there is no command 'admin:%s'; did you mean 'admin:%s'?"):format(
    escape.line(short), require "xmpp.nearest"(short:sub(1, 30), admin)))
end

-- Reads what was given: arguments, and, if one of them is "-", the lines of standard input, which may contain secrets.
local function read_given(ctx)
  local given = { words = {}, lines = {}, asked = {} }
  for i = 3, #ctx.args do
    if ctx.args[i] == "-" then
      local line = ctx.world.input:line(LONGEST_LINE)
      while line do
        if line ~= "" then
          local var, text = fields.split(line)
          given.lines[var] = text
        end
        line = ctx.world.input:line(LONGEST_LINE)
      end
      given.has_read = true
    else
      local var, text = fields.split(ctx.args[i])
      given.words[var] = text
    end
  end
  return given
end

local function missing(field)
  exit.raise("input", "missing", ("the field %s is required: give %s=VALUE"):format(escape.line(field.var),
    escape.line(field.var)))
end

local function given_value(given, field)
  local var = field.var
  local text = given.lines[var]
  if text == nil and field.kind == "text-private" and (given.words[var] or "") ~= "" then
    exit.raise("usage", "secret", ("%s is a secret, and everybody on this machine can read the arguments of a "
      .. "command: write '%s=' to be asked for it, or - to have it read from standard input"):format(escape.line(var),
      escape.line(var)))
  end
  if text == nil and field.kind ~= "text-private" then text = given.words[var] end
  return text
end

local function prompt_of(field)
  local text = escape.line(field.label or field.var)
  local options = {}
  for i, option in ipairs(field.options or {}) do options[i] = escape.line(option.value) end
  if options[1] then text = text .. " (" .. table.concat(options, ", ") .. ")" end
  if field.kind == "boolean" then text = text .. " (yes, no)" end
  local now = fields.text(field.value)
  if field.kind ~= "text-private" and now ~= "" then text = text .. " [" .. escape.line(now) .. "]" end
  return text .. ": "
end

-- Asks at the terminal; nil: the present value stays.
local function ask(ctx, field)
  local prompt = prompt_of(field)
  local text
  if field.kind == "text-private" then
    text = ctx.world.secret(prompt)
  else
    ctx.world.err(prompt)
    text = ctx.world.input:line(LONGEST_LINE)
  end
  if not text then exit.raise("input", "given-up", "the input has ended before all fields were filled in") end
  if text == "" then return nil end
  return text
end

-- The answers to a form, from what was given and by asking at the terminal.
local function fill(ctx, given, form)
  local values, is_asked = {}, ctx.world.is_tty(0) and not given.has_read
  for _, field in ipairs(form.fields) do
    local var = field.var
    if var and field.kind ~= "fixed" then
      local text = given_value(given, field)
      given.asked[var] = true
      if text == nil and is_asked and fields.is_asked(field) then text = ask(ctx, field) end
      if text ~= nil then values[var] = fields.read(field, text)
      elseif field.required and (field.texts[1] or "") == "" then missing(field) end
    end
  end
  return values
end

local NOTES = { warn = "warning: ", error = "error: ", info = "" }

local function show_notes(ctx, notes, say)
  for _, note in ipairs(notes) do say(ctx, NOTES[note.kind] .. escape.line(note.text), note) end
end

local function show_form(ctx, form)
  if not form then return end
  if form.title then ctx:say(escape.line(form.title), { { "type", "title" }, { "text", form.title } }) end
  for _, field in ipairs(form.fields) do
    if fields.is_asked(field) then fields.show(ctx, field, field.value) end
  end
  for _, item in ipairs(form.items or {}) do
    local cells = {}
    for _, column in ipairs(form.reported or {}) do
      cells[#cells + 1] = ("%s=%s"):format(escape.line(column.var or "?"), escape.line(fields.text(item[column.var])))
    end
    ctx:say(table.concat(cells, "  "), { { "type", "item" }, { "values", item } })
  end
end

local function show_result(ctx, given, result)
  show_form(ctx, result.form)
  show_notes(ctx, result.notes, function(_, text, note)
    ctx:say(text, { { "type", "note" }, { "kind", note.kind }, { "text", note.text } })
  end)
  for _, vars in ipairs { given.words, given.lines } do
    for var in pairs(vars) do
      if not given.asked[var] then ctx:note(("the command has not asked for '%s'"):format(escape.line(var))) end
    end
  end
  if result.status == "canceled" then return 1 end
  for _, note in ipairs(result.notes) do
    if note.kind == "error" then return 1 end
  end
  return 0
end

-- An error about missing or invalid values is an error of the input.
local function explained(err)
  if err.layer ~= "stanza" or err.by or not (err.app == "missing" or err.app == "invalid") then return err end
  return exit.error("input", "bad-value", err.text)
end

local function run(ctx, conn, jid, node, given)
  local fault
  local result, err = require "xmpp.command".run(conn, jid, node, function(form, notes)
    show_notes(ctx, notes, function(_, text) ctx:note(text) end)
    if not form then return {} end
    if ctx.world.is_tty(0) and form.title then ctx:note(escape.line(form.title)) end
    local ok, values = pcall(fill, ctx, given, form)
    if ok then return values end
    fault = values -- raised after the command has been cancelled
    return nil
  end, { timeout = ctx.timeout })
  if fault then error(fault, 0) end
  if not result then return nil, explained(err) end
  return show_result(ctx, given, result)
end

function M.run(ctx)
  local jid = require "xmpp.cmd.input".address(ctx.args[1])
  local node = ctx.args[2] and node_of(ctx.args[2])
  local given = read_given(ctx)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  if not node then return list(ctx, conn, tostring(jid)) end
  return run(ctx, conn, tostring(jid), node, given)
end

return M
