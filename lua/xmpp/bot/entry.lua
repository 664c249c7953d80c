-- entry: the commands of a bot: definition, list, permissions. For xmpp.bot.
--
-- An entry: name, f, allow, help, args (as parsed by bot/args.lua, nil: any words), declared (their text), rooms,
-- private, off (of the ad-hoc command), made (by the bot itself). st.commands has them by name, st.names is sorted.

local args = require "xmpp.bot.args"
local guard = require "xmpp.guard"

local M = {}

--- May this person use the command?
function M.may(st, entry, ctx)
  local allow = entry.allow
  if allow == "all" then return true end
  if allow == "admin" then return st:is_admin(ctx.who) end
  local ok, answer = guard.call(allow, ctx)
  if not ok then guard.report(("command '%s', allow"):format(entry.name), answer) end
  return ok and answer == true
end

-- Help

--- How the command is written.
function M.usage(st, entry)
  local declared = entry.declared
  return st.prefix .. entry.name .. (declared and declared ~= "" and " " .. declared or "")
end

local function line(st, entry) return M.usage(st, entry) .. (entry.help and ": " .. entry.help or "") end

--- Is the command available there?
function M.is_heard(entry, kind)
  if kind == "room" then return entry.rooms end
  return kind == "adhoc" or entry.private
end

local function without_prefix(st, name)
  return name:sub(1, #st.prefix) == st.prefix and name:sub(#st.prefix + 1) or name
end

--- The commands available to this person; only one, if it is named.
function M.help(st, ctx, name_wanted)
  local wanted, lines = name_wanted and without_prefix(st, name_wanted), {}
  for _, name in ipairs(st.names) do
    local entry = st.commands[name]
    if (not wanted or wanted == name) and M.is_heard(entry, ctx.kind) and M.may(st, entry, ctx) then
      lines[#lines + 1] = line(st, entry)
    end
  end
  if wanted then return lines[1] or "There is no such command." end
  return "Commands:\n" .. table.concat(lines, "\n")
end

-- Defining commands

local COMMAND = { args = "string", help = "string", rooms = "boolean", private = "boolean", adhoc = "boolean" }

--- Checks the arguments of b:command, raising errors at its caller. Returns allow, and the other options.
function M.check(st, name, opts, f)
  guard.check_type(name, "string", 1, "command", 3)
  if not name:find "^[%w_-]+$" then
    error("bad argument #1 to 'command' (a name of letters, digits, _ and - expected)", 4)
  end
  if st.commands[name] and not st.commands[name].made then
    error(("there is a command '%s' already"):format(name), 4)
  end
  local allow, rest = "all", {}
  if opts ~= nil then guard.check_type(opts, "table", 2, "command", 3) end
  for key, v in pairs(opts or {}) do
    if key == "allow" then allow = v else rest[key] = v end
  end
  if allow ~= "all" and allow ~= "admin" and type(allow) ~= "function" then
    error("bad option 'allow' of 'command' (\"all\", \"admin\" or function expected)", 4)
  end
  rest = guard.check_opts(rest, COMMAND, 2, "command", 3)
  guard.check_type(f, "function", 3, "command", 3)
  return allow, rest
end

local function order(st)
  st.names = {}
  for name in pairs(st.commands) do st.names[#st.names + 1] = name end
  table.sort(st.names)
end

--- Adds a command.
function M.put(st, name, allow, opts, f)
  local entry = { name = name, f = f, allow = allow, help = opts.help, declared = opts.args,
    rooms = opts.rooms ~= false, private = opts.private ~= false }
  if opts.args then
    local why
    entry.args, why = args.parse(opts.args)
    if why then error(("bad option 'args' of 'command' (%s)"):format(why), 4) end
  end
  st.commands[name] = entry
  order(st)
  return entry
end

--- Removes a command.
---@return boolean whether it was there
function M.take_away(st, entry)
  if st.commands[entry.name] ~= entry then return false end
  st.commands[entry.name] = nil
  order(st)
  if entry.off then entry.off() end
  return true
end

return M
