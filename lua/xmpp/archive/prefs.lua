-- prefs: archiving preferences of an account (XEP-0441), as an element and as a table: { default =
-- "always"|"never"|"roster", always = { addresses }, never = { addresses } }.

local core = require "xmpp.load"
local iq = require "xmpp.iq"
local xexpr = require "xmpp.xexpr"

local M = {}

local MAM = "urn:xmpp:mam:2"
local DEFAULTS = { always = true, never = true, roster = true }
local MOST = 10000 -- addresses that are read from a list

local function list_element(name, list, fname, level)
  local x = { name }
  if type(list) ~= "table" then
    error(("bad field '%s' of '%s' (list expected, got %s)"):format(name, fname, type(list)), level + 1)
  end
  for i, address in ipairs(list) do
    local jid, bad
    if type(address) == "string" or core.is_jid(address) then jid, bad = core.jid(address) end
    if not jid then
      error(("bad field '%s' of '%s' (at %d: %s)"):format(name, fname, i, bad and bad.text or "address expected"),
        level + 1)
    end
    x[#x + 1] = { "jid", {}, tostring(jid) }
  end
  return x
end

--- The request for the preferences; with `prefs`, the request that sets them.
function M.element(prefs, fname, level)
  local x = { "prefs", { xmlns = MAM } }
  if not prefs then return x end
  if not DEFAULTS[prefs.default] then
    error(("bad field 'default' of '%s' (always, never or roster expected)"):format(fname), level + 1)
  end
  for name in pairs(prefs) do
    if name ~= "default" and name ~= "always" and name ~= "never" then
      error(("'%s' knows no field '%s'"):format(fname, core.shown(tostring(name))), level + 1)
    end
  end
  x[2].default = prefs.default
  x[3] = list_element("always", prefs.always or {}, fname, level + 1)
  x[4] = list_element("never", prefs.never or {}, fname, level + 1)
  return x
end

local function read_list(x, name)
  local out = {}
  for child in xexpr.children(xexpr.child(x, name, MAM), "jid") do
    local its = xexpr.attr(child, "xmlns") -- absent: the parent's
    local jid = (its == nil or its == MAM) and core.jid(xexpr.text(child))
    if jid and #out < MOST then out[#out + 1] = tostring(jid) end
  end
  return out
end

--- Reads the preferences in an answer.
function M.read(x, stanza)
  local default = type(x) == "table" and x[1] == "prefs" and xexpr.attr(x, "xmlns") == MAM and xexpr.attr(x, "default")
  if not DEFAULTS[default] then return iq.bad_format("prefs.default: always, never or roster expected", stanza) end
  return { default = default, always = read_list(x, "always"), never = read_list(x, "never") }
end

return M
