-- help: `xmpp help`, `xmpp help SUBCOMMAND` and `xmpp --version`, from spec.lua.

local spec = require "xmpp.cmd.spec"

local M = {}

local function left_of(option)
  local short, long = option[2] and "-" .. option[2] .. ", " or "    ", "--" .. option[1]
  return short .. long .. (option[3] and " " .. option[3] or "")
end

-- Wraps words in lines of at most `width` characters; all but the first begin with `indent`.
local function fold(text, indent, width)
  local lines, line = {}, nil
  for word in text:gmatch "%S+" do
    if line and #line + 1 + #word > width - #indent then
      lines[#lines + 1] = line
      line = word
    else
      line = line and line .. " " .. word or word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. indent)
end

local function rows(list, width)
  local out = {}
  for _, row in ipairs(list) do
    out[#out + 1] = ("  %-26s %s\n"):format(row[1], fold(row[2], (" "):rep(29), width))
  end
  return table.concat(out)
end

local function width_of(world) return math.max(60, math.min(100, world.columns())) end

--- The help text of a subcommand.
---@return string
function M.of(command, world)
  local width, out = width_of(world), {}
  out[#out + 1] = ("usage: xmpp %s [OPTION...] %s\n\n"):format(command.name, command.usage):gsub(" +\n", "\n")
  out[#out + 1] = ("%s%s.\n"):format(command.summary:sub(1, 1):upper(), command.summary:sub(2))
  for _, paragraph in ipairs(command.text or {}) do out[#out + 1] = "\n" .. fold(paragraph, "", width) .. "\n" end
  local list = {}
  for i, word in ipairs(command.words or {}) do
    list[i] = { ("%s %s"):format(word[1], word[2]), word[3] }
  end
  if list[1] then out[#out + 1] = "\n" .. rows(list, width) end
  list = {}
  for i, option in ipairs(spec.options(command)) do list[i] = { left_of(option), option[4] } end
  out[#out + 1] = "\n" .. rows(list, width)
  return table.concat(out)
end

local function overview(world)
  local list = {}
  for i, command in ipairs(spec.commands) do list[i] = { command.name, command.summary } end
  return "usage: xmpp SUBCOMMAND [OPTION...] [ARGUMENT...]\n\n" .. rows(list, width_of(world))
    .. "\n`xmpp help SUBCOMMAND` shows the help of a subcommand; the manual page is xmpp(1).\n"
end

function M.run(ctx)
  local name = ctx.args[1]
  if ctx.version then
    ctx.world.out(("xmpp %s\n"):format(spec.version))
    return 0
  end
  if not name then
    ctx.world.out(overview(ctx.world))
    return 0
  end
  local command = spec.find(name)
  if not command then
    local known = {}
    for _, c in ipairs(spec.commands) do known[c.name] = true end
    return nil, require "xmpp.cmd.exit".error("usage", "unknown-subcommand", ("there is no subcommand '%s'; did you "
      .. "mean '%s'?"):format(name, require "xmpp.nearest"(name:sub(1, 30), known)))
  end
  ctx.world.out(M.of(command, ctx.world))
  return 0
end

return M
