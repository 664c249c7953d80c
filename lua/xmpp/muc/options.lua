-- options: checks the options of muc.join, and raises errors at the caller's line.

local guard = require "xmpp.guard"

local M = {}

local PLAIN = { password = "text", nicks = "function", ping = "number", presence = "table", timeout = "number",
  max_occupants = "number", max_waiting = "number", max_age = "number" }
local DEFAULTS = { history = 0, rejoin = true, ping = 900, create = "refuse", timeout = 30, max_occupants = 10000,
  max_waiting = 100, max_age = 600 }
local HISTORY = { messages = "number", since = "number", bytes = "number" }

--- Tries nick, nick_, nick__, and no more.
local function underscored(nick, n)
  if n <= 2 then return nick .. ("_"):rep(n) end
end

local function bad(name, wanted, v, level)
  error(("bad option '%s' of 'join' (%s expected, got %s)"):format(name, wanted,
    type(v) == "string" and "'" .. v .. "'" or type(v)), level + 1)
end

local function read_history(v, level)
  if v == 0 then return { messages = 0, bytes = 0 } end
  if type(v) == "number" and v > 0 then return { messages = v } end
  if type(v) ~= "table" then bad("history", "a number of messages, or a table,", v, level + 1) end
  guard.check_opts(v, HISTORY, 1, "history", level + 1)
  return v
end

local function check_rest(o, level)
  if type(o.rejoin) ~= "boolean" and o.rejoin ~= "kicked" then
    bad("rejoin", "true, false or \"kicked\"", o.rejoin, level + 1)
  end
  if type(o.create) ~= "function" and o.create ~= "refuse" and o.create ~= "default" then
    bad("create", "\"refuse\", \"default\" or a function", o.create, level + 1)
  end
end

--- All options, with their defaults.
---@param opts table?
---@param level integer where to report an error, as error() counts
---@return table
function M.read(opts, level)
  if opts ~= nil then guard.check_type(opts, "table", 4, "join", level + 1) end
  local out, plain = {}, {}
  for name, default in pairs(DEFAULTS) do out[name] = default end
  for name, v in pairs(opts or {}) do
    out[name] = v
    if name ~= "history" and name ~= "rejoin" and name ~= "create" then plain[name] = v end
  end
  guard.check_opts(plain, PLAIN, 4, "join", level + 1)
  check_rest(out, level + 1)
  out.history, out.nicks = read_history(out.history, level + 1), out.nicks or underscored
  return out
end

return M
