-- config: the accounts, and the rooms that require a password, from $XDG_CONFIG_HOME/xmpp/config.lua. In spite of its
-- name the file isn't code and is never loaded as such: it has sections in brackets, and `key = value` in them.
--
--   [default]
--   jid = bot@example.net/cron
--   password-command = pass show xmpp/bot
--
--   [room tea@rooms.example.net]
--   password-file = ~/.secret/tea

local exit = require "xmpp.cmd.exit"

local M = {}

local MOST = 65536 -- bytes

local KEYS = { jid = true, password = true, ["password-command"] = true, ["password-file"] = true, host = true,
  port = true, url = true, proxy = true, tls = true, ["ca-file"] = true, cert = true, key = true, pin = true,
  nick = true, cache = true, ["keep-token"] = true, bind2 = true }
local ROOM_KEYS = { password = true, ["password-command"] = true, ["password-file"] = true, nick = true }
local FLAGS = { cache = true, ["keep-token"] = true, bind2 = true }
local TLS = { starttls = true, direct = true, none = true }

--- A folder of the user's: "$XDG_CONFIG_HOME/xmpp", or "~/.config/xmpp".
function M.folder(world, variable, otherwise)
  local base, home = world.env(variable), world.env "HOME"
  if base and base:sub(1, 1) == "/" then return base .. "/xmpp" end
  return home and home .. otherwise .. "/xmpp"
end

--- The path of the configuration.
function M.path(world)
  local folder = M.folder(world, "XDG_CONFIG_HOME", "/.config")
  return folder and folder .. "/config.lua"
end

--- Expands "~/x" to a path in the user's home.
function M.expand(world, path)
  local rest = path:match "^~(/.*)$"
  return rest and (world.env "HOME" or "") .. rest or path
end

local function fault(path, number, text)
  exit.raise("config", "bad-format", ("%s:%d: %s"):format(path, number, text))
end

local function check(path, number, section, key, value)
  local known = section.room and ROOM_KEYS or KEYS
  if not known[key] then
    fault(path, number, ("there is no key '%s'%s; did you mean '%s'?"):format(require "xmpp.cmd.escape".line(key),
      section.room and " of a room" or "", require "xmpp.nearest"(key:sub(1, 30), known)))
  end
  if section[key] ~= nil then fault(path, number, ("'%s' is set twice in [%s]"):format(key, section.name)) end
  if value == "" then fault(path, number, ("'%s' has no value"):format(key)) end
  if key == "port" then
    local port = value:find "^%d+$" and tonumber(value)
    if not port or port < 1 or port > 65535 then fault(path, number, "a port from 1 to 65535 expected") end
    return port
  end
  if FLAGS[key] then
    if value ~= "true" and value ~= "false" then fault(path, number, "true or false expected") end
    return value == "true"
  end
  if key == "proxy" then
    local ok, why = require "xmpp.options".is_proxy(value)
    if not ok then fault(path, number, why) end
  end
  if key == "url" and value ~= "host-meta" and not value:find "^wss?://" then
    fault(path, number, "wss://host/path or host-meta expected")
  end
  if key == "tls" and not TLS[value] then fault(path, number, "starttls, direct or none expected") end
  return value
end

--- Parses the brackets of a line that begins a section: an account's name, or "room ADDRESS"; nil for any other line.
---@param line string
---@return string? name
---@return string? room
function M.head(line)
  local name = line:match "^%s*%[%s*([%w_.@+-]+)%s*%]%s*$"
  local room = not name and line:match "^%s*%[%s*room%s+(%S+)%s*%]%s*$"
  return name or room and "room " .. room, room or nil
end

-- A room's address, prepared.
local function read_room(path, number, text)
  local jid, err = require "xmpp".jid(text)
  if not jid or not jid.localpart or jid.resourcepart then
    fault(path, number, ("'%s' is not the address of a room%s"):format(require "xmpp.cmd.escape".line(text),
      err and ": " .. err.text or ", like tea@rooms.example.net"))
  end
  return tostring(jid)
end

local function begin_section(parsed, path, number, name, room)
  room = room and read_room(path, number, room)
  name = room and "room " .. room or name
  local line = parsed.lines[name]
  if line then fault(path, number, ("section [%s] exists already, in line %d"):format(name, line)) end
  parsed.lines[name] = number
  local section = { name = name, line = number, path = path, room = room }
  if room then parsed.rooms[room] = section else parsed.accounts[#parsed.accounts + 1] = section end
  return section
end

--- Parses the accounts of a text, in order: { name =, jid =, ..., line =, path = }, and its rooms, by address. Raises
--- errors with file and line.
---@param text string
---@param path string for error texts
---@return table[] accounts
---@return table<string, table> rooms
function M.parse(text, path)
  local parsed, section, number = { accounts = {}, rooms = {}, lines = {} }, nil, 0
  for line in (text:gsub("\r\n", "\n") .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    if not line:find "^%s*$" and not line:find "^%s*#" then
      local name, room = M.head(line)
      local key, value = line:match "^%s*([%w_-]+)%s*=%s*(.-)%s*$"
      if name then section = begin_section(parsed, path, number, name, room)
      elseif not key then fault(path, number, "'[section]', 'key = value' or '# comment' expected")
      elseif not section then
        fault(path, number, ("'%s' is not in a section: begin with [default]"):format(key))
      else section[key] = check(path, number, section, key, value) end
    end
  end
  for _, s in ipairs(parsed.accounts) do
    if not s.jid then fault(path, s.line, ("section [%s] has no 'jid'"):format(s.name)) end
    if s.url and (s.host or s.port or s.tls) then
      fault(path, s.line, ("section [%s] has a 'url' as well as a 'host', 'port' or 'tls': remove one or the other")
        :format(s.name))
    end
  end
  return parsed.accounts, parsed.rooms
end

local function has_password(accounts, rooms)
  for _, s in ipairs(accounts) do
    if s.password or s.proxy and s.proxy:find("@", 1, true) then return true end
  end
  for _, s in pairs(rooms) do
    if s.password then return true end
  end
end

--- Reads a file; returns its text and its attributes, see sys.open.
---@return string? text nil: there is no such file
---@return table? attributes
function M.read(world, path, most)
  local fd, attributes, name = world.open(path)
  if not fd then
    if name == "ENOENT" or name == "ENOTDIR" then return nil end -- a daemon's home may be /dev/null
    exit.raise("config", "unreadable", ("%s can't be read: %s"):format(path, tostring(attributes)))
  end
  if attributes.kind == "folder" then
    world.sys.close(fd)
    exit.raise("config", "unreadable", path .. " is a folder")
  end
  local text = world.read(fd, most or MOST)
  world.sys.close(fd)
  if not text then exit.raise("config", "too-large", ("%s is larger than %d bytes"):format(path, most or MOST)) end
  return text, attributes
end

--- Refuses a file with a secret that others may read, or that belongs to another user (except root).
function M.check_private(world, path, attributes)
  local own = attributes.uid == world.sys.uid() or attributes.uid == 0
  if not own then
    exit.raise("config", "not-private", ("%s contains a secret and belongs to another user: chown %s '%s'")
      :format(path, tostring(world.sys.uid()), path))
  end
  if attributes.mode % 64 ~= 0 then
    exit.raise("config", "not-private", ("%s contains a secret, and others may read or change it: chmod 600 '%s'")
      :format(path, path))
  end
end

--- Loads all configured accounts and rooms.
---@return table[] accounts
---@return string? path
---@return table<string, table> rooms
function M.load(world)
  local path = M.path(world)
  local text, attributes = nil, nil
  if path then text, attributes = M.read(world, path) end
  if not text then return {}, path, {} end
  local accounts, rooms = M.parse(text, path)
  if has_password(accounts, rooms) then M.check_private(world, path, attributes) end
  return accounts, path, rooms
end

local function names(sections)
  local set = {}
  for _, s in ipairs(sections) do set[s.name] = true end
  return set
end

--- The chosen account: by a section's name, or by an address; nil: [default], or the only one.
---@param world table
---@param name string?
---@return table account
function M.account(world, name)
  local sections, path = M.load(world)
  for _, s in ipairs(sections) do
    if s.name == (name or "default") then return s end
  end
  if not name and #sections == 1 then return sections[1] end
  if name and name:find("@", 1, true) then
    for _, s in ipairs(sections) do
      if s.jid:match "^[^/]*" == name then return s end
    end
    return { jid = name }
  end
  if #sections == 0 then
    exit.raise("config", "no-account",
      "there is no account yet: add one with `xmpp account add you@example.net`, or give an address with -a")
  end
  if not name then exit.raise("config", "no-account",
    ("%s has no section [default]: choose a section with -a"):format(path)) end
  exit.raise("config", "no-account", ("there is no account '%s' in %s; did you mean '%s'?"):format(
    require "xmpp.cmd.escape".line(name), path, require "xmpp.nearest"(name:sub(1, 30), names(sections))))
end

return M
