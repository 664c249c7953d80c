-- secret: finds the password. It never comes from the command line, which every user of the machine can read, and is
-- passed to nothing but the library.

local config = require "xmpp.cmd.config"
local exit = require "xmpp.cmd.exit"

local M = {}

local MOST = 65536

local function quoted(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

local function first_line(text, where)
  local line = text:match "^[^\r\n]*"
  if line == "" then exit.raise("config", "no-password", where .. " gave an empty first line, not a password") end
  return line
end

local function from_fd(world, fd)
  local text = world.read(fd, MOST)
  if not text then
    exit.raise("config", "no-password", ("the text from descriptor %d is too long for a password"):format(fd))
  end
  return first_line(text, "descriptor " .. fd)
end

local function from_file(world, path)
  path = config.expand(world, path)
  local text, attributes = config.read(world, path)
  if not text then exit.raise("config", "no-password", ("there is no password file %s"):format(path)) end
  config.check_private(world, path, attributes)
  return first_line(text, path)
end

-- The output of a command, and its status, which Lua 5.1 doesn't return for a pipe.
local function run(command)
  local pipe = io.popen("( " .. command .. "\n) </dev/null; printf '\\n%s' $?", "r")
  local text = pipe and pipe:read(MOST) or ""
  if pipe then pipe:close() end
  local output, status = text:match "^(.*)\n(%d+)$"
  return output or "", tonumber(status) or 1
end

local function from_command(command)
  local output, status = run(command)
  if status ~= 0 then
    exit.raise("config", "no-password", ("password-command ended with status %d: %s"):format(status, command))
  end
  return first_line(output, "password-command")
end

local function is_there(program)
  local _, status = run("command -v " .. program .. " >/dev/null 2>&1")
  return status == 0
end

-- The password from the desktop's keyring; nil: there is none, or it has no such entry.
local function from_keyring(world, jid)
  if not world.env "DBUS_SESSION_BUS_ADDRESS" or not is_there "secret-tool" then return nil end
  local output, status = run("secret-tool lookup service xmpp jid " .. quoted(jid) .. " 2>/dev/null")
  return status == 0 and output ~= "" and output:match "^[^\r\n]*" or nil
end

local function from_environment(world, ctx)
  local word = world.env "XMPP_PASSWORD"
  if not word then return nil end
  if ctx.verbose then world.err "xmpp: XMPP_PASSWORD is used: other programs of this user may read it\n" end
  world.sys.unsetenv "XMPP_PASSWORD"
  return word
end

local function from_terminal(world, jid)
  local word = world.secret(("Password of %s: "):format(require "xmpp.cmd.escape".line(jid)))
  if word == "" then exit.raise("config", "no-password", "no password was typed") end
  return word
end

--- Asks for the password at the terminal.
function M.ask(world, bare)
  local word = from_terminal(world, bare)
  if word then return word end
  exit.raise("config", "no-password", ("there is no password for %s: `xmpp account password` stores one, or set "
    .. "password-command, password-file or XMPP_PASSWORD_FILE"):format(bare))
end

-- The password from a section of the configuration, an account's or a room's; nil: none.
local function from_section(world, section)
  if section["password-command"] then return from_command(section["password-command"]), "command" end
  if section["password-file"] then return from_file(world, section["password-file"]), "file" end
  return section.password, "configuration"
end

--- The configured password of a room; nil: none.
---@param world table
---@param section table? see config.load
---@return string? password
function M.of_room(world, section) return section and (from_section(world, section)) end

--- Asks for a room's password at the terminal; nil: there is no terminal.
---@return string?
function M.ask_room(world, room) return from_terminal(world, room) end

--- The password of an account, and its source.
---@param ctx table
---@param account table see config.account
---@param bare string its bare address
---@param fresh? boolean ignore stored passwords
---@return string password
---@return string source
function M.find(ctx, account, bare, fresh)
  local world, env = ctx.world, ctx.world.env
  if ctx.opts["password-fd"] then return from_fd(world, ctx.opts["password-fd"]), "descriptor" end
  if env "XMPP_PASSWORD_FILE" then return from_file(world, env "XMPP_PASSWORD_FILE"), "file" end
  local word = from_environment(world, ctx)
  if word then return word, "environment" end
  if fresh then return M.ask(world, bare), "terminal" end
  local configured, source = from_section(world, account)
  if configured then return configured, source end
  word = from_keyring(world, bare)
  if word then return word, "keyring" end
  if env "CREDENTIALS_DIRECTORY" then
    local text = config.read(world, env "CREDENTIALS_DIRECTORY" .. "/xmpp")
    if text then return first_line(text, "the systemd credential 'xmpp'"), "credential" end
  end
  return M.ask(world, bare), "terminal"
end

M.run, M.quoted, M.is_there = run, quoted, is_there

return M
