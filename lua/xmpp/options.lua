-- options: what `opts` may hold (api: section 5), checked at the caller's line before anything happens.

local M = {}

local function is(kind)
  return function(v) return type(v) == kind, kind .. " expected, got " .. type(v) end
end

local function number_from(least)
  return function(v)
    if type(v) ~= "number" then return false, "number expected, got " .. type(v) end
    return v >= least and v == v, "number from " .. least .. " expected, got " .. tostring(v)
  end
end

local function number_within(least, most)
  local from = number_from(least)
  return function(v)
    local ok, why = from(v)
    if not ok then return false, why end
    return v <= most, ("number from %d to %d expected, got %s"):format(least, most, tostring(v))
  end
end

local function one_of(...)
  local names, list = {}, '"' .. table.concat({ ... }, '", "') .. '"'
  for _, name in ipairs { ... } do names[name] = true end
  return function(v) return names[v] == true, "one of " .. list .. " expected, got " .. tostring(v) end
end

function M.is_port(v)
  if type(v) ~= "number" then return false, "port number expected, got " .. type(v) end
  return v >= 1 and v <= 65535 and v % 1 == 0, "port from 1 to 65535 expected, got " .. tostring(v)
end

local is_mechanism = one_of("EXTERNAL", "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
  "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "ANONYMOUS")

local function is_mechanisms(v)
  if type(v) ~= "table" or #v == 0 then return false, "list of mechanism names expected, got " .. type(v) end
  for _, name in ipairs(v) do
    local ok, why = is_mechanism(name)
    if not ok then return false, why end
  end
  return true
end

local reconnect_fields = { min = number_from(0), max = number_from(0), attempts = number_from(1) }

local function is_reconnect(v)
  if type(v) == "boolean" then return true end
  if type(v) ~= "table" then return false, "boolean or table expected, got " .. type(v) end
  for name, value in pairs(v) do
    local check = reconnect_fields[name]
    if not check then return false, "it has min, max and attempts, not " .. tostring(name) end
    local ok, why = check(value)
    if not ok then return false, name .. ": " .. why end
  end
  return true
end

local function is_pipelining(v)
  return type(v) == "boolean" or v == "eager", 'boolean or "eager" expected, got ' .. tostring(v)
end

local SHORTEST = 1 / 1000 -- where the locale's decimal point has two bytes Lua can't read one

local string, boolean, count = is "string", is "boolean", number_from(1)

local known = {
  host = string, port = M.is_port, tls = one_of("starttls", "direct", "none"), ca_file = string, ca_dir = string,
  tls_name = string, pin = string, cert = string, key = string, verify = boolean, mechanisms = is_mechanisms,
  plain = boolean, resource = string, lang = string, timeout = number_from(SHORTEST), await_timeout = number_from(0),
  keepalive = number_from(0), max_stanza = number_from(1024), max_start_tag = number_from(1024),
  max_depth = number_within(1, 1000), max_attributes = count, max_nodes = count, max_namespace = number_from(256),
  max_queue = number_from(1024), log = is "function", nameservers = string, resume = boolean,
  reconnect = is_reconnect, max_age = number_from(0), ack_timeout = number_from(SHORTEST), see_other_host = boolean,
  on_response = is "function", pipelining = is_pipelining, remember = boolean,
}

-- Levenshtein's distance, with two rows.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

local function nearest(name)
  local best, least
  for option in pairs(known) do
    local d = distance(name, option)
    if not least or d < least or (d == least and option < best) then best, least = option, d end
  end
  return best
end

--- Raises at `level` for an option that is unknown or has a wrong value.
---@param opts table?
---@param level integer
---@return table opts a copy
function M.check(opts, level)
  local copy = {}
  if opts == nil then return copy end
  if type(opts) ~= "table" then error("bad options (table expected, got " .. type(opts) .. ")", level + 1) end
  for name, value in pairs(opts) do
    local check = known[name]
    if not check then
      error(("there is no option '%s'; did you mean '%s'?"):format(tostring(name), nearest(tostring(name))), level + 1)
    end
    local ok, why = check(value)
    if not ok then error(("bad option '%s' (%s)"):format(name, why), level + 1) end
    copy[name] = value
  end
  return copy
end

return M
