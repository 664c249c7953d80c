-- What a server offers for logging in, as read from its features, since releases of a server differ.
--
--   local o = offer.of(s)                      -- s: of spec/support/server.lua
--   o.mechanisms["PLAIN"], o.families          -- a set; the hashes of SCRAM, { "1", "256" }
--   o.types                                    -- a set of channel binding types (XEP-0440); nil: it lists none
--   offer.bound_by(o, "TLSv1.3")               -- the type that a login uses, nil: the login isn't bound
--   offer.expected(o, "TLSv1.3" [, family])    -- what info() says after a login by the best mechanism, or the family's
local xmpp = require "xmpp"

local offer = {}

local BEST_FIRST = { "512", "256", "1" }

-- Reads the features: the login ends behind them, as none of the mechanisms that are allowed here is offered.
local function features_of(s)
  local heard = ""
  local conn, err = xmpp.connect_client("alice@" .. s.domain, "x", s.host, s.port, s.opts { mechanisms = { "EXTERNAL" },
    remember = false, log = function(direction, text) if direction == "in" then heard = heard .. text end end })
  assert(not conn and err.condition == "invalid-mechanism", tostring(err))
  return heard
end

local function names(text, pattern)
  local set = {}
  for name in text:gmatch(pattern) do set[name] = true end
  return set
end

function offer.of(s)
  local text = features_of(s)
  local list = assert(text:match "<mechanisms.->(.-)</mechanisms>", text)
  local bindings = text:match "<sasl%-channel%-binding.->(.-)</sasl%-channel%-binding>"
  local o = { mechanisms = names(list, "<mechanism>([^<]+)"), families = {},
    types = bindings and names(bindings, "type=['\"]([^'\"]+)") }
  for _, family in ipairs(BEST_FIRST) do
    if o.mechanisms["SCRAM-SHA-" .. family] then table.insert(o.families, 1, family) end
  end
  o.best = "SCRAM-SHA-" .. o.families[#o.families]
  return o
end

function offer.bound_by(o, version)
  local types = o.types or (version == "TLSv1.2" and { ["tls-unique"] = true } or {})
  if types["tls-exporter"] then return "tls-exporter" end
  if types["tls-unique"] and version == "TLSv1.2" then return "tls-unique" end
  return types["tls-server-end-point"] and "tls-server-end-point" or nil
end

function offer.expected(o, version, family)
  local name, by = family and "SCRAM-SHA-" .. family or o.best, offer.bound_by(o, version)
  if not o.mechanisms[name .. "-PLUS"] then by = nil end
  return { tls_version = version, mechanism = by and name .. "-PLUS" or name, channel_binding = by }
end

return offer
