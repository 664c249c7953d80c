-- vcard/form: a vCard as a table and as XML (XEP-0054). Unknown elements are preserved.

local ascii = require "xmpp.ascii"
local core = require "xmpp.load"
local hash = require "xmpp.avatar.hash"
local xexpr = require "xmpp.xexpr"

local M = {}

M.VCARD = "vcard-temp"

local TEXTS = { fn = "FN", nickname = "NICKNAME", bday = "BDAY", url = "URL", title = "TITLE", role = "ROLE",
  desc = "DESC", jabberid = "JABBERID", note = "NOTE", tz = "TZ", mailer = "MAILER", uid = "UID", rev = "REV" }
local NAME = { family = "FAMILY", given = "GIVEN", middle = "MIDDLE", prefix = "PREFIX", suffix = "SUFFIX" }
local ADDRESS = { pobox = "POBOX", extra = "EXTADD", street = "STREET", locality = "LOCALITY", region = "REGION",
  postcode = "PCODE", country = "CTRY" }
-- The order in XEP-0054's DTD.
local ORDER = { NAME = { "family", "given", "middle", "prefix", "suffix" },
  ADDRESS = { "pobox", "extra", "street", "locality", "region", "postcode", "country" } }
local WORDS = "home work pref internet x400 voice fax pager msg cell video bbs modem isdn pcs postal parcel dom intl"
local TYPES = {}
for word in WORDS:gmatch "%S+" do TYPES[word] = ascii.upper(word) end

-- Parsing. Only children in the vCard's own namespace count.

local function children(x, name)
  local following = xexpr.children(x, name)
  return function()
    local child
    repeat child = following() until not child or (xexpr.attr(child, "xmlns") or M.VCARD) == M.VCARD
    return child
  end
end

local function text(x, name)
  local child = children(x, name)()
  local found = child and xexpr.text(child)
  return found ~= "" and found or nil
end

local function read_words(x, words)
  local out = {}
  for key, name in pairs(words) do out[key] = text(x, name) end
  return next(out) and out or nil
end

local function read_types(x, out)
  out.types = {}
  for word, name in pairs(TYPES) do
    if children(x, name)() then out.types[#out.types + 1] = word end
  end
  table.sort(out.types)
  return out
end

local function read_photo(x)
  local url, binary = text(x, "EXTVAL"), text(x, "BINVAL")
  if not binary then return url and { url = url } or nil end
  local data, why = hash.decode(binary)
  return { type = text(x, "TYPE"), data = data, error = why }
end

local function read_org(x)
  local units = {}
  for unit in children(x, "ORGUNIT") do units[#units + 1] = xexpr.text(unit) end
  return { name = text(x, "ORGNAME"), units = units }
end

local function each(x, name, read)
  local out = {}
  for child in children(x, name) do out[#out + 1] = read(child) end
  return out[1] and out or nil
end

--- A vCard as a table: see xmpp.Vcard.
---@param x xmpp.Element
---@return xmpp.Vcard
function M.read(x)
  local out = {}
  for key, name in pairs(TEXTS) do out[key] = text(x, name) end
  local n, org, photo = children(x, "N")(), children(x, "ORG")(), children(x, "PHOTO")()
  out.n, out.org, out.photo = n and read_words(n, NAME), org and read_org(org), photo and read_photo(photo)
  out.email = each(x, "EMAIL", function(e)
    local address = text(e, "USERID")
    return address and read_types(e, { address = address })
  end)
  out.tel = each(x, "TEL", function(e)
    local number = text(e, "NUMBER")
    return number and read_types(e, { number = number })
  end)
  out.adr = each(x, "ADR", function(e) return read_types(e, read_words(e, ADDRESS) or {}) end)
  return out
end

-- Writing: each function returns the elements for a value, or nil and a reason.

local function string_of(v, what)
  if type(v) ~= "string" then return nil, ("%s: string expected, got %s"):format(what, type(v)) end
  return v
end

local function write_words(x, v, words, order, what)
  for key in pairs(v) do
    if not words[key] and key ~= "types" then return nil, ("%s has no '%s'"):format(what, core.shown(tostring(key))) end
  end
  for _, key in ipairs(order) do
    local s, why = v[key], nil
    if s ~= nil then s, why = string_of(s, what .. "." .. key) end
    if why then return nil, why end
    if s then x[#x + 1] = { words[key], {}, s } end
  end
  return x
end

local function write_types(x, v, what)
  for _, word in ipairs(v.types or {}) do
    if not TYPES[word] then return nil, ("%s.types: there is no type '%s'"):format(what, core.shown(tostring(word))) end
    x[#x + 1] = { TYPES[word] }
  end
  return x
end

local writers = {}

function writers.n(v)
  local x, why = write_words({ "N", {} }, v, NAME, ORDER.NAME, "n")
  if not x then return nil, why end
  return { x }
end

function writers.org(v)
  local x = { "ORG", {} }
  local name, why = string_of(v.name, "org.name")
  if not name then return nil, why end
  x[3] = { "ORGNAME", {}, name }
  for i, unit in ipairs(v.units or {}) do
    unit, why = string_of(unit, ("org.units[%d]"):format(i))
    if not unit then return nil, why end
    x[#x + 1] = { "ORGUNIT", {}, unit }
  end
  return { x }
end

function writers.photo(v)
  local data, why = string_of(v.data, "photo.data")
  if not data then return nil, why end
  local kind
  kind, why = string_of(v.type or "image/png", "photo.type")
  if not kind then return nil, why end
  return { { "PHOTO", {}, { "TYPE", {}, kind }, { "BINVAL", {}, core.base64(data) } } }
end

-- A list of values with types.
local function several(what, name, key, child)
  return function(v)
    local out = {}
    for i, one in ipairs(v) do
      local at = ("%s[%d]"):format(what, i)
      if type(one) ~= "table" then return nil, ("%s: table expected, got %s"):format(at, type(one)) end
      local x, why = write_types({ name, {} }, one, at)
      if x and child then
        local s
        s, why = string_of(one[key], at .. "." .. key)
        if s then x[#x + 1] = { child, {}, s } end
      elseif x then
        x, why = write_words(x, one, ADDRESS, ORDER.ADDRESS, at)
      end
      if why then return nil, why end
      out[i] = x
    end
    return out
  end
end

writers.email = several("email", "EMAIL", "address", "USERID")
writers.tel = several("tel", "TEL", "number", "NUMBER")
writers.adr = several("adr", "ADR")

local ELEMENT = { n = "N", org = "ORG", photo = "PHOTO", email = "EMAIL", tel = "TEL", adr = "ADR" }

--- The changes, as elements by name: { FN = { x }, PHOTO = {} }; an empty list removes them.
---@param values table
---@return table<string, xmpp.Element[]>?
---@return string? reason
function M.changes(values)
  local out = {}
  for key, v in pairs(values) do
    local name, writer = TEXTS[key] or ELEMENT[key], writers[key]
    local list, why
    if not name then return nil, ("a vCard has no '%s'"):format(core.shown(tostring(key))) end
    if v == false or v == "" then
      list = {}
    elseif writer then
      if type(v) ~= "table" then return nil, ("%s: table or false expected, got %s"):format(key, type(v)) end
      list, why = writer(v)
    else
      v, why = string_of(v, key)
      list = { { name, {}, v } }
    end
    if why then return nil, why end
    out[name] = list
  end
  return out
end

--- The vCard with these changes; everything else in it is preserved.
---@param old xmpp.Element? nil: there is none
---@param changes table<string, xmpp.Element[]>
---@return xmpp.Element
function M.merge(old, changes)
  local out, done = { "vCard", { xmlns = M.VCARD } }, {}
  local function add(name)
    if done[name] then return end
    done[name] = true
    for _, x in ipairs(changes[name]) do out[#out + 1] = x end
  end
  for child in xexpr.children(old) do
    local ours = (xexpr.attr(child, "xmlns") or M.VCARD) == M.VCARD
    if ours and changes[child[1]] then add(child[1]) else out[#out + 1] = child end
  end
  local names = {}
  for name in pairs(changes) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do add(name) end
  return out
end

return M
