-- options.login: checks of options that few programs set: what belongs to SASL2 (user agents, Bind 2, tokens), and
-- mechanisms, pin, reconnect, pipelining. Each returns whether the value is valid, and if not why.

local options = require "xmpp.options"

local is, show, number_from, whole_from = options.is, options.show, options.number_from, options.whole_from
local name, one_of = options.name, options.one_of

local M = {}

local UUID = "^" .. ("%x"):rep(8) .. ("%-" .. ("%x"):rep(4)):rep(3) .. "%-" .. ("%x"):rep(12) .. "$"

function M.is_uuid(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  return v:find(UUID) ~= nil,
    ("a UUID expected, made once for this installation and account (uuidgen), got '%s'"):format(show(v))
end

local function short(v)
  local ok, why = name(v)
  if ok and #v > 64 then return false, "at most 64 bytes expected, got " .. #v end
  return ok, why
end

-- Checks a table that may have these fields and no others.
local function fields_of(checks, needed)
  return function(v)
    if type(v) ~= "table" then return false, "table expected, got " .. type(v) end
    for field, value in pairs(v) do
      local check = checks[field]
      if not check then return false, "there is no field " .. show(field) end
      local ok, why = check(value)
      if not ok then return false, field .. ": " .. why end
    end
    for _, field in ipairs(needed or {}) do
      if v[field] == nil then return false, field .. " is missing" end
    end
    return true
  end
end

M.is_user_agent = fields_of { id = M.is_uuid, software = short, device = short }

local is_bind2_table = fields_of { tag = short, carbons = is "boolean", inactive = is "boolean" }

function M.is_bind2(v)
  if type(v) == "boolean" then return true end
  if type(v) == "string" then return short(v) end
  return is_bind2_table(v)
end

local function is_token_text(v)
  local ok, why = name(v)
  if ok and #v > 1024 then return false, "at most 1,024 bytes expected, got " .. #v end
  return ok, why
end

M.is_token = fields_of({
  version = function(v) return v == 1, "written by another version of this library, as version " .. show(v) end,
  jid = name, user_agent = M.is_uuid, token = is_token_text, expiry = number_from(0),
  mechanism = one_of("HT-SHA-256-EXPR", "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP", "HT-SHA-256-NONE"),
}, { "version", "jid", "user_agent", "mechanism", "token" })

-- 32 bytes in base64: 43 characters, of which the last has two unused bits, and one for padding.
function M.is_pin(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  return #v == 44 and v:find "^[%w+/]+[AEIMQUYcgkosw048]=$" ~= nil,
    "a SHA-256 hash in base64 expected, 44 characters long: openssl x509 -in cert.pem -noout -pubkey | "
    .. "openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"
end

local is_mechanism = one_of("EXTERNAL", "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
  "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "ANONYMOUS",
  "HT-SHA-256-EXPR", "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP", "HT-SHA-256-NONE")

function M.is_mechanisms(v)
  if type(v) ~= "table" or #v == 0 then return false, "list of mechanism names expected, got " .. type(v) end
  for _, mechanism in ipairs(v) do
    local ok, why = is_mechanism(mechanism)
    if not ok then return false, why end
  end
  return true
end

local reconnect_fields = { min = number_from(0), max = number_from(0), attempts = whole_from(1) }

function M.is_reconnect(v)
  if type(v) == "boolean" then return true end
  if type(v) ~= "table" then return false, "boolean or table expected, got " .. type(v) end
  for field, value in pairs(v) do
    local check = reconnect_fields[field]
    if not check then return false, "it has min, max and attempts, not " .. show(field) end
    local ok, why = check(value)
    if not ok then return false, field .. ": " .. why end
  end
  return not (v.min and v.max and v.min > v.max),
    ("min: %s is more than max, %s"):format(tostring(v.min), tostring(v.max))
end

function M.is_pipelining(v)
  return type(v) == "boolean" or v == "eager", 'boolean or "eager" expected, got ' .. show(v)
end

return M
