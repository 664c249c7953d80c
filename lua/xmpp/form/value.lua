-- value: converts between the values of a data form's field and Lua values, by the field's kind (XEP-0004 3.3).
--
--   boolean                                   a boolean
--   jid-single                                an address, prepared
--   jid-multi, list-multi, text-multi         a list, even if it has one element
--   all others                                a text; a number where the field's datatype is one (XEP-0122)
--
-- Errors are returned as nil and a reason.

local core = require "xmpp.load"

local M = {}

local function set(words)
  local out = {}
  for word in words:gmatch "%S+" do out[word] = true end
  return out
end

M.KINDS = set [[boolean fixed hidden jid-multi jid-single list-multi list-single text-multi text-private text-single]]
M.MULTI = set "jid-multi list-multi text-multi"

local NUMBER = set [[xs:byte xs:decimal xs:double xs:float xs:int xs:integer xs:long xs:negativeInteger
  xs:nonNegativeInteger xs:nonPositiveInteger xs:positiveInteger xs:short xs:unsignedByte xs:unsignedInt
  xs:unsignedLong xs:unsignedShort]]
local LONGEST_NUMBER = 40

local function is_list(kind) return kind == "list-single" or kind == "list-multi" end

--- The kind of a field of type `kind`; an unknown type counts as a line of text (XEP-0004 3.2).
function M.kind(kind) return M.KINDS[kind] and kind or "text-single" end

-- Reading

local BOOLEAN = { ["1"] = true, ["true"] = true, ["0"] = false, ["false"] = false }

-- The number that a text with a decimal point says; tonumber reads that of the program's locale, in Lua 5.1 no other.
local function number_of(text)
  return tonumber(text) or tonumber((text:gsub("%.", (("%.1f"):format(0.5):match "^0(.-)5$"))))
end

--- Reads a decimal number, in whatever locale the program runs.
---@param text string
---@return number?
---@return string? reason
function M.number(text)
  local n = #text <= LONGEST_NUMBER and text:find "^%s*[+-]?%d*%.?%d*[eE]?[+-]?%d*%s*$" and number_of(text)
  if not n or n == math.huge or n == -math.huge then return nil, "a number expected" end
  return n
end

local read_number = M.number

local function read_jid(text)
  local jid = core.jid(text)
  if not jid then return nil, ("'%s' is no address"):format(core.shown(text)) end
  return tostring(jid)
end

-- An empty address or number counts as absent: services leave fields empty that aren't set.
local function read_one(kind, text, datatype)
  if kind == "boolean" then
    if BOOLEAN[text] == nil then return nil, ("'%s' is no boolean"):format(core.shown(text)) end
    return BOOLEAN[text]
  end
  if kind == "jid-single" or kind == "jid-multi" then
    if text == "" then return nil end
    return read_jid(text)
  end
  if NUMBER[datatype] and kind ~= "text-multi" then
    if text == "" then return nil end
    return read_number(text)
  end
  return text
end

--- The Lua value of a field; nil: it has none.
---@param field { kind: string, datatype: string? }
---@param texts string[]
---@return any value
---@return string? reason
function M.read(field, texts)
  local kind, out = field.kind, {}
  if kind == "fixed" then return #texts > 0 and table.concat(texts, "\n") or nil end
  if #texts > 1 and not M.MULTI[kind] then return nil, "one value expected" end
  for _, text in ipairs(texts) do
    local v, why = read_one(kind, text, field.datatype)
    if why then return nil, why end
    out[#out + 1] = v
  end
  if M.MULTI[kind] then return out end
  return out[1]
end

-- Writing

local function number_text(n)
  if n ~= n or n == math.huge or n == -math.huge then return nil, "a finite number expected" end
  return core.number_text(n)
end

local function write_text(v, datatype)
  if type(v) == "number" then return number_text(v) end
  if type(v) ~= "string" then return nil, "string expected, got " .. type(v) end
  if NUMBER[datatype] and not read_number(v) then return nil, "a number expected" end
  return v
end

local function write_one(field, v)
  local kind = field.kind
  if kind == "boolean" then
    if type(v) ~= "boolean" then return nil, "boolean expected, got " .. type(v) end
    return v and "1" or "0"
  end
  if kind == "jid-single" or kind == "jid-multi" then
    if not core.is_jid(v) and type(v) ~= "string" then return nil, "address expected, got " .. type(v) end
    return read_jid(v)
  end
  return write_text(v, field.datatype)
end

--- Is that text among the field's options? A field that is open accepts any (XEP-0122 3.2.3).
function M.is_option(field, text)
  if not is_list(field.kind) or not field.options or field.open then return true end
  for _, option in ipairs(field.options) do
    if option.value == text then return true end
  end
  return false
end

-- Each line of a text is a value of its own (XEP-0004 3.3).
local function add_lines(out, text)
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do out[#out + 1] = line end
end

local function add(out, field, v, where)
  local text, why = write_one(field, v)
  if not text then return where .. why end
  if not M.is_option(field, text) then return ("%s'%s' is no option"):format(where, core.shown(text)) end
  if field.kind == "text-multi" then add_lines(out, text) else out[#out + 1] = text end
end

--- The texts for a Lua value.
---@param field { kind: string, options: table[]?, open: boolean?, datatype: string? }
---@param v any
---@return string[]? texts
---@return string? reason
function M.write(field, v)
  local out, why = {}
  if not M.MULTI[field.kind] then
    why = add(out, field, v, "")
    return not why and out or nil, why
  end
  if type(v) ~= "table" or core.is_jid(v) then return nil, "list expected, got " .. type(v) end
  for i, one in ipairs(v) do
    why = add(out, field, one, ("[%d]: "):format(i))
    if why then return nil, why end
  end
  return out
end

--- The texts for a value of a field whose kind is unknown.
---@return string[]? texts
---@return string? reason
function M.write_any(v)
  if type(v) == "boolean" then return { v and "1" or "0" } end
  if core.is_jid(v) then return { tostring(v) } end
  if type(v) ~= "table" then
    local text, why = write_text(v)
    return text and { text }, why
  end
  local out = {}
  for i, one in ipairs(v) do
    if type(one) == "table" and not core.is_jid(one) then return nil, ("[%d]: string expected, got table"):format(i) end
    local texts, why = M.write_any(one)
    if not texts then return nil, ("[%d]: %s"):format(i, why) end
    out[i] = texts[1]
  end
  return out
end

return M
