-- options: how a Redis server is named and asked. Called by xmpp.redis and xmpp.stream.

local core = require "xmpp.load"
local options = require "xmpp.options"

local M = {}

local MAX, TIMEOUT = 64 * 1024 * 1024, 10

local function text(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  return v ~= "" and not v:find "%z", "a string that isn't empty, without zero bytes, expected"
end

local function flag(v) return type(v) == "boolean", "boolean expected, got " .. type(v) end

local function secret(v)
  if type(v) == "string" then return v ~= "", "a string that isn't empty, or a function that gives one, expected" end
  return type(v) == "function", "string or function expected, got " .. type(v)
end

local function whole(least, most)
  return function(v)
    if type(v) ~= "number" then return false, "whole number expected, got " .. type(v) end
    return v % 1 == 0 and v >= least and v <= most,
      ("whole number from %d to %d expected, got %s"):format(least, most, tostring(v))
  end
end

local function seconds(v)
  if type(v) ~= "number" then return false, "seconds expected, got " .. type(v) end
  return v > 0 and v < 1e9, "seconds (more than 0) expected, got " .. tostring(v)
end

local CHECKS = { host = text, port = options.is_port, path = text, user = text, password = secret, db = whole(0, 1e6),
  tls = flag, tls_name = text, ca_file = text, ca_dir = text, cert = text, key = text, timeout = seconds,
  max = whole(1024, 2 ^ 31) }

-- Options that contradict each other: the name of one, and why.
local function quarrel(o)
  if o.path and (o.host or o.port) then return "path", "a socket's path is instead of host and port: leave one out" end
  if o.path and o.tls then return "tls", "a socket of this machine has no TLS: leave out tls, or path" end
  if o.user and not o.password then return "user", "it has a password: give that, too" end
  if not o.tls then
    for _, name in ipairs { "tls_name", "ca_file", "ca_dir", "cert", "key" } do
      if o[name] then return name, "it is for TLS: set tls = true" end
    end
  end
end

--- What is wrong with `o`: an option's name and why; nil: nothing.
---@param o table
---@return string? name
---@return string? why
function M.fault(o)
  for name, value in pairs(o) do
    local check = CHECKS[name]
    if not check then
      return core.shown(tostring(name)), ("there is no such option; did you mean '%s'?"):format(
        require "xmpp.nearest"(tostring(name):sub(1, 30), CHECKS))
    end
    local ok, why = check(value)
    if not ok then return name, why end
  end
  return quarrel(o)
end

--- A copy with the defaults filled in.
---@param o xmpp.RedisOpts
---@return xmpp.RedisOpts
function M.complete(o)
  local out = { max = MAX, timeout = TIMEOUT }
  for name, value in pairs(o) do out[name] = value end
  if not out.path then out.host, out.port = out.host or "127.0.0.1", out.port or 6379 end
  return out
end

--- Where it is, for people.
---@param o xmpp.RedisOpts
---@return string
function M.place(o)
  if o.path then return "Redis at " .. core.shown(o.path) end
  return ("Redis at %s, port %d"):format(core.shown(o.host), o.port)
end

return M
