-- options: checks arguments and options, and raises errors at the caller's line before anything happens.

local globals, require = _G, require -- what few programs need is loaded when it is needed

local core = require "xmpp.load"

local M = {}

--- Like require, for files that require others: the host may have removed `require` from its globals by then.
---@param name string
function M.load_later(name)
  local there = rawget(globals, "require")
  if there == require then return require(name) end
  rawset(globals, "require", require)
  local ok, module = pcall(require, name)
  rawset(globals, "require", there)
  return ok and module or error(module, 0)
end

local load_later = M.load_later

local debug = rawget(globals, "debug")
local getinfo = type(debug) == "table" and debug.getinfo -- a sandbox may have neither

--- Raises an error like C's luaL_argerror: in a method call the object before the colon is not counted. `level` is
--- that of the function with the bad argument, seen from the caller of this function.
---@param position integer
---@param name string the function's name
---@param why string
---@param level integer
function M.bad_argument(position, name, why, level)
  local called = getinfo and getinfo(level, "n") or {}
  if called.namewhat ~= "method" then
    error(("bad argument #%d to '%s' (%s)"):format(position, name, why), level + 1)
  elseif position == 1 then
    error(("calling '%s' on bad self (%s)"):format(name, why), level + 1)
  end
  error(("bad argument #%d to '%s' (%s)"):format(position - 1, name, why), level + 1)
end

function M.check_type(value, kind, position, name, level)
  if type(value) == kind then return end
  M.bad_argument(position, name, kind .. " expected, got " .. type(value), level + 1)
end

function M.check_seconds(value, position, name, level)
  if type(value) == "number" and value >= 0 then return end
  local got = type(value) == "number" and tostring(value) or type(value)
  M.bad_argument(position, name, "seconds expected, got " .. got, level + 1)
end

-- An object is recognised by its __metatable field, so this also works if its file has been loaded again.
function M.check_self(value, shown, kind, name, level)
  if type(value) == "table" and getmetatable(value) == shown then return end
  M.bad_argument(1, name, kind .. " expected, got " .. type(value), level + 1)
end

local function is(kind)
  return function(v) return type(v) == kind, kind .. " expected, got " .. type(v) end
end

local function show(v) return core.shown(tostring(v)) end

local function number_from(least)
  return function(v)
    if type(v) ~= "number" then return false, "number expected, got " .. type(v) end
    return v >= least and v == v, "number from " .. least .. " expected, got " .. tostring(v)
  end
end

-- math.huge: no limit
local function whole_from(least)
  return function(v)
    if type(v) ~= "number" then return false, "whole number expected, got " .. type(v) end
    return v >= least and (v == math.huge or v % 1 == 0),
      "whole number from " .. least .. " expected, got " .. tostring(v)
  end
end

local function whole_within(least, most)
  local from = whole_from(least)
  return function(v)
    local ok, why = from(v)
    if not ok then return false, why end
    return v <= most, ("whole number from %d to %d expected, got %s"):format(least, most, tostring(v))
  end
end

-- The text is passed to C, where it would end at a zero byte. (Hosts and resources are checked there, with their
-- length.)
local function text(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  return not v:find("%z"), "a string without zero bytes expected"
end

local function name(v)
  local ok, why = text(v)
  if ok and v == "" then return false, "a string that isn't empty expected" end
  return ok, why
end

local function is_domain(v)
  local ok, why = name(v)
  local jid = ok and core.jid(v)
  if ok and not (jid and not jid.localpart and not jid.resourcepart) then
    return false, ("a domain name expected, got '%s'"):format(show(v))
  end
  return ok, why
end

local function one_of(...)
  local names, list = {}, '"' .. table.concat({ ... }, '", "') .. '"'
  for _, word in ipairs { ... } do names[word] = true end
  return function(v) return names[v] == true, "one of " .. list .. " expected, got " .. show(v) end
end

function M.is_port(v)
  if type(v) ~= "number" then return false, "port number expected, got " .. type(v) end
  return v >= 1 and v <= 65535 and v % 1 == 0, "port from 1 to 65535 expected, got " .. tostring(v)
end

-- Checks of options that few programs set (options/login.lua), loaded on first use.
local login

local function of_login(check)
  return function(v)
    login = login or load_later "xmpp.options.login"
    return login[check](v)
  end
end

local is_token = of_login "is_token"

--- Checks a token, as conn:token() returns it, as an argument.
function M.check_token(value, position, called, level)
  local ok, why = is_token(value)
  if not ok then M.bad_argument(position, called, why, level + 1) end
end

-- loaded when a proxy is used
local proxies

function M.proxies()
  proxies = proxies or load_later "xmpp.proxy"
  return proxies
end

local function is_proxy(v)
  if v == false or v == "environment" then return true end
  if type(v) ~= "string" then return false, 'URL, "environment" or false expected, got ' .. type(v) end
  local via, why = M.proxies().parse(v)
  return via ~= nil, why
end

local url

--- options/url.lua, loaded when a client has that option.
function M.url()
  url = url or load_later "xmpp.options.url"
  return url
end

local function is_url(v) return M.url().check(v) end

local SHORTEST = 1 / 1000 -- where the locale's decimal point has two bytes Lua can't read such a number

local boolean, count = is "boolean", whole_from(1)

M.is_places = whole_from(0)
M.is_uuid, M.is_token, M.is_proxy = of_login "is_uuid", is_token, is_proxy
-- for options/login.lua
M.is, M.show, M.number_from, M.whole_from, M.name, M.one_of = is, show, number_from, whole_from, name, one_of

local known = {
  host = is "string", port = M.is_port, url = is_url, tls = one_of("starttls", "direct", "none"),
  ca_file = name, ca_dir = name, tls_name = is_domain, pin = of_login "is_pin",
  cert = name, key = name, verify = boolean, mechanisms = of_login "is_mechanisms",
  plain = boolean, resource = is "string", lang = text, timeout = number_from(SHORTEST), await_timeout = number_from(0),
  keepalive = number_from(0), keepalive_probe = boolean,
  max_stanza = whole_from(1024), max_start_tag = whole_from(1024),
  max_depth = whole_within(1, 1000), max_attributes = count, max_nodes = count, max_namespace = whole_from(256),
  max_queue = whole_from(1024), log = is "function", nameservers = name, resume = boolean,
  reconnect = of_login "is_reconnect", max_age = number_from(0), ack_timeout = number_from(SHORTEST),
  see_other_host = boolean, foreign_from = boolean,
  on_response = is "function", on_open = is "function", pipelining = of_login "is_pipelining", remember = boolean,
  proxy = is_proxy, sasl2 = boolean, bind2 = of_login "is_bind2", user_agent = of_login "is_user_agent",
  fast = boolean, token = is_token,
}

local COMPONENT_ONLY = { keepalive_probe = true }
local RESUME_ONLY = { on_response = true }
local CLIENT_ONLY = { sasl2 = true, bind2 = true, user_agent = true, fast = true, token = true,
  url = true }

local function unknown(option)
  if type(option) ~= "string" then
    return ("options are named, as in { timeout = 10 }: there is no place for a key of type %s"):format(type(option))
  end
  return ("there is no option '%s'; did you mean '%s'?"):format(core.shown(option),
    require "xmpp.nearest"(option:sub(1, 30), known))
end

--- Raises an error at `level` for an option that is unknown or has a wrong value.
---@param opts table?
---@param level integer
---@param for_what? "resume"|"component" nil: for a client's login
---@return table opts a copy
function M.check(opts, level, for_what)
  local copy = {}
  if opts == nil then return copy end
  if type(opts) ~= "table" then error("bad options (table expected, got " .. type(opts) .. ")", level + 1) end
  for option, value in pairs(opts) do
    local check = known[option]
    if not check then error(unknown(option), level + 1) end
    if RESUME_ONLY[option] and for_what ~= "resume" then
      error(("'%s' is an option of xmpp.resume alone"):format(option), level + 1)
    end
    if CLIENT_ONLY[option] and for_what == "component" then
      error(("'%s' is an option of clients: a component %s alone"):format(option,
        option == "url" and "connects by TCP" or "logs in by its secret"), level + 1)
    end
    if COMPONENT_ONLY[option] and for_what ~= "component" then
      error(("'%s' is an option of components: a client pings its server (keepalive)"):format(option),
        level + 1)
    end
    local ok, why = check(value)
    if not ok then error(("bad option '%s' (%s)"):format(option, why), level + 1) end
    copy[option] = value
  end
  return copy
end

return M
