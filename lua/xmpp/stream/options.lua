-- options: of an intake and of a worker, checked at the caller's line before anything happens.

local core = require "xmpp.load"
local redis = require "xmpp.redis.options"

local M = {}

local function is(kind)
  return function(v) return type(v) == kind, kind .. " expected, got " .. type(v) end
end

local function whole(least, most)
  return function(v)
    if type(v) ~= "number" then return false, "whole number expected, got " .. type(v) end
    return v % 1 == 0 and v >= least and v <= most,
      ("whole number from %d to %d expected, got %s"):format(least, most, tostring(v))
  end
end

local function seconds(least, most)
  return function(v)
    if type(v) ~= "number" then return false, "seconds expected, got " .. type(v) end
    return v >= least and v <= most, ("seconds from %g to %g expected, got %s"):format(least, most, tostring(v))
  end
end

-- All keys in Redis begin with it, and it is part of lists that are separated by spaces.
local function is_name(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  return #v <= 100 and v:find "^[%w._-]+$" ~= nil, "up to 100 letters, digits, '.', '_' and '-' expected"
end

local function is_redis(v)
  if type(v) ~= "table" then return false, "table expected, as xmpp.redis.connect has it, got " .. type(v) end
  local name, why = redis.fault(v)
  return not name, name and ("%s: %s"):format(name, why)
end

local function is_connection(v)
  return core.is_connection(v), "connection expected, got " .. type(v)
end

local COMPONENT = { host = "string", port = "number", domain = "string", secret = "string", opts = "table" }

local function is_component(v)
  if type(v) ~= "table" then return false, "table with host, port, domain and secret expected, got " .. type(v) end
  for field, value in pairs(v) do
    local kind = COMPONENT[field]
    if not kind then return false, "it has host, port, domain, secret and opts, not " .. core.shown(tostring(field)) end
    local fits = type(value) == kind or field == "secret" and type(value) == "function"
    if not fits then return false, ("%s: %s expected, got %s"):format(field, kind, type(value)) end
  end
  for field in pairs(COMPONENT) do
    if v[field] == nil and field ~= "opts" then return false, field .. " is missing" end
  end
  return true
end

local function is_key(v)
  if v == "sender" or v == "bot" or type(v) == "function" then return true end
  return false, '"sender", "bot" or a function of the stanza expected, got ' .. core.shown(tostring(v))
end

local COMMON = { redis = is_redis, name = is_name, consumer = is_name, streams = whole(1, 1024),
  max_length = whole(1, 1e8), lease = seconds(0.5, 3600), batch = whole(1, 1000), max_deliveries = whole(1, 1000),
  max_dead = whole(1, 1e8), volatile = is "boolean", on_dead = is "function", on_state = is "function" }

local OF = {
  intake = { conn = is_connection, component = is_component, key = is_key, remember = seconds(0, 30 * 86400),
    accept = is "function", in_flight = whole(1, 1e6) },
  worker = { handler = is "function", pause = seconds(0, 3600) },
}

local DEFAULTS = { streams = 16, max_length = 10000, lease = 5, batch = 32, max_deliveries = 5, max_dead = 10000,
  remember = 86400, in_flight = 500, pause = 1, key = "sender" }

local function bad(who, name, why, level)
  error(("bad option '%s' of '%s' (%s)"):format(name, who, why), level + 1)
end

local function need(o, who, name, level)
  if o[name] == nil then bad(who, name, "it is missing", level + 1) end
end

local function quarrel(o, who, level)
  need(o, who, "redis", level + 1)
  need(o, who, "name", level + 1)
  if who == "worker" then return need(o, who, "handler", level + 1) end
  if (o.conn == nil) == (o.component == nil) then
    bad(who, "conn", "a connection, or instead of it component = { host, port, domain, secret }, expected", level + 1)
  end
end

local function known(own)
  local all = {}
  for name in pairs(COMMON) do all[name] = true end
  for name in pairs(own) do all[name] = true end
  return all
end

--- A copy with the defaults filled in. Raises for what is wrong.
---@param o table
---@param who "intake"|"worker"
---@param level integer
---@return table
function M.check(o, who, level)
  if type(o) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(who, type(o)), level + 1)
  end
  local out, own = {}, OF[who]
  for name, default in pairs(DEFAULTS) do out[name] = default end
  for name, value in pairs(o) do
    local check = COMMON[name] or own[name]
    if not check then
      bad(who, core.shown(tostring(name)), ("there is no such option; did you mean '%s'?"):format(
        require "xmpp.nearest"(tostring(name):sub(1, 30), known(own))), level + 1)
    end
    local ok, why = check(value)
    if not ok then bad(who, name, why, level + 1) end
    out[name] = value
  end
  quarrel(o, who, level + 1)
  return out
end

return M
