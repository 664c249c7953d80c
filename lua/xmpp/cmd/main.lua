-- main: the command `xmpp`, from its arguments to its exit status. Each subcommand is a file of its own,
-- xmpp/cmd/NAME.lua, which is loaded when it is used and returns `run(ctx) -> status, or nil and an error`. Names,
-- options and help texts are in spec.lua.
--
--   local status = require "xmpp.cmd.main".run({ "ping", "example.net" }, require "xmpp.cmd.world".real())

local spec = require "xmpp.cmd.spec"
local exit = require "xmpp.cmd.exit"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore 143

--- Reports an error as one line on stderr, and returns the exit status for it.
---@param world table
---@param json boolean?
---@param err any
---@return integer status
function M.tell(world, json, err)
  local status, text, fields = exit.explain(err)
  if text and json then
    require "xmpp.cmd.output".write_error(world, fields)
  elseif text then
    world.err("xmpp: " .. require "xmpp.cmd.escape".line(text) .. "\n")
  end
  return status
end

local function usage(world, command, err)
  world.err(("xmpp: %s\n"):format(err))
  world.err(command and ("      try `xmpp help %s` for more information\n"):format(command.name)
    or "      try `xmpp help` for a list of subcommands\n")
  return command and command.usage_status or exit.USAGE
end

local function context(world, command, parsed)
  return require "xmpp.cmd.context".new(world, command, parsed)
end

--- Runs the command with the arguments `argv`.
---@param argv string[]
---@param world table see world.lua
---@return integer status
function M.run(argv, world)
  local parsed, err, command = require "xmpp.cmd.parse".words(argv, spec)
  if not parsed then return usage(world, command, err) end
  command = parsed.command
  if parsed.opts.help then
    world.out(require "xmpp.cmd.help".of(command, world))
    return 0
  end
  local body = require("xmpp.cmd." .. command.name)
  local ctx = context(world, command, parsed)
  local results
  if command.offline or body.own_loop then
    results = { pcall(body.run, ctx) }
  else
    results = { require "xmpp.cmd.session".guarded(ctx, body.run) }
  end
  local ok, status, why = unpack(results, 1, 3)
  if not ok then status, why = nil, status end
  if status == nil then
    status = M.tell(world, ctx.json, why)
    if body.failed then status = body.failed(ctx, why) end
  end
  ctx:close()
  return status
end

--- The same for a process, with its own arguments and world.
---@param argv string[]
---@return integer status
function M.program(argv)
  local world = require "xmpp.cmd.world".real(argv)
  -- Lua 5.1's xpcall passes no arguments
  local ok, status = xpcall(function() return M.run(argv, world) end, function(object)
    return type(object) == "table" and object or (rawget(_G, "debug") and debug.traceback(object) or object)
  end)
  if ok then return status end
  return M.tell(world, false, status)
end

return M
