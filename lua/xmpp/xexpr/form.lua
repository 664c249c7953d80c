-- form: checks what an element may contain, and makes its canonical form. Called by xexpr alone. Raises no errors.

local core = require "xmpp.load"

local XML, XMLNS = "http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/"
local MAX_DEPTH = 128

local function show(v) return type(v) == "string" and ("'%s'"):format(core.shown(v)) or type(v) end

local function is_element(v) return type(v) == "table" and type(v[1]) == "string" end

-- The shortest text that reads back as the same number; nil for nan and the infinities. It is the core's, since not
-- every Lua writes the same digits.
local number_text = core.number_text

-- The text that `v` is written as, nil unless it is a text, number or Jid.
local function text_of(v)
  local kind = type(v)
  if kind == "string" then return v end
  return kind == "number" and number_text(v) or kind == "userdata" and core.is_jid(v) and tostring(v) or nil
end

-- The well-formed sequences of UTF-8 beyond ASCII (RFC 3629 4), except U+FFFE and U+FFFF, which XML forbids. No
-- sequence can begin inside another, so their order doesn't matter.
local SEQUENCES = {
  "[\194-\223][\128-\191]", "\224[\160-\191][\128-\191]", "[\225-\236\238][\128-\191][\128-\191]",
  "\237[\128-\159][\128-\191]", "\239[\128-\190][\128-\191]", "\239\191[\128-\189]",
  "\240[\144-\191][\128-\191][\128-\191]", "[\241-\243][\128-\191][\128-\191][\128-\191]",
  "\244[\128-\143][\128-\191][\128-\191]",
}

-- Why XML cannot contain `s`; nil if it can.
local function forbidden(s)
  if s:find "[%z\1-\8\11\12\14-\31]" then return "a control character that XML forbids" end
  if not s:find "[\128-\255]" then return nil end
  for _, sequence in ipairs(SEQUENCES) do s = s:gsub(sequence, " ") end
  if s:find "[\128-\255]" then return "invalid UTF-8, or a character that XML forbids" end
end

-- An XML NCName: exact in ASCII; beyond it every character is accepted here, and the core's writer checks them.
local function is_name(s)
  return type(s) == "string" and s:find "^[%a_\128-\255][%w_.%-\128-\255]*$" ~= nil and not forbidden(s)
end

-- An NCName, "xml:lang", or "{uri}local" in a namespace that attributes can have.
local function is_attribute_name(s)
  if s == "xml:lang" or is_name(s) then return true end
  if type(s) ~= "string" then return false end
  local uri, name = s:match "^{(.+)}([^}]*)$" -- a namespace may contain braces
  return uri ~= nil and uri ~= XMLNS and not (uri == XML and name == "lang") and is_name(name) and not forbidden(uri)
end

-- The attributes' table (nil if slot 2 is a child already) and the slot of the first child.
local function parts(x)
  local second = x[2]
  if type(second) == "table" and second[1] == nil then return second, 3 end
  return nil, 2
end

-- shape() makes the canonical form. If it refuses something, it and its helpers return nil and the rest of a path:
-- "[3][2].to: string expected, got nil".
local shape

local function as_text(v)
  local s = text_of(v)
  if not s then return nil, (": string expected, got %s"):format(type(v) == "number" and tostring(v) or type(v)) end
  local reason = forbidden(s)
  if reason then return nil, ": " .. reason end
  return s
end

local function shape_attributes(attrs)
  local out = {}
  for key, v in pairs(attrs) do
    if not is_attribute_name(key) then return nil, ": attribute name expected, got " .. show(key) end
    local s, reason = as_text(v)
    if not s then return nil, (key:find "^[%a_][%w_]*$" and ".%s%s" or "[%q]%s"):format(core.shown(key), reason) end
    out[key] = s
  end
  if out.xmlns == XML or out.xmlns == XMLNS then return nil, ".xmlns: a namespace that no element can have" end
  return out
end

-- Appends adjacent texts as one; returns an empty list for the next ones.
local function flush(out, run)
  if #run == 0 then return run end
  local s = table.concat(run)
  if s ~= "" then out[#out + 1] = s end
  return {}
end

local function shape_children(out, x, first, inherited, depth)
  local run = {}
  for i = first, #x do
    local v, reason = x[i]
    if type(v) == "table" then
      run = flush(out, run)
      out[#out + 1], reason = shape(v, inherited, depth + 1)
    else
      run[#run + 1], reason = as_text(v)
    end
    if reason then return nil, ("[%d]%s"):format(i, reason) end
  end
  flush(out, run)
  return out
end

-- A key that isn't an index of the list x: one after a hole, or a named field.
local function stray_key(x)
  local n = #x
  for key in pairs(x) do
    if type(key) ~= "number" or key % 1 ~= 0 or key < 1 or key > n then return key end
  end
end

-- A new table in the canonical form of x, at `depth` (1), in a parent (or stream) of namespace `inherited`.
function shape(x, inherited, depth)
  depth = depth or 1
  if depth > MAX_DEPTH then return nil, (": deeper than %d elements"):format(MAX_DEPTH) end
  if not is_name(x[1]) then return nil, "[1]: element name expected, got " .. show(x[1]) end
  local stray = stray_key(x)
  if stray ~= nil then
    return nil, ("[%s]: a key that a list without holes doesn't have"):format(core.shown(tostring(stray)))
  end
  local given, first = parts(x)
  local attrs, reason = shape_attributes(given or {})
  if not attrs then return nil, "[2]" .. reason end
  local own = attrs.xmlns or inherited
  if own == inherited then attrs.xmlns = nil end
  return shape_children({ x[1], attrs }, x, first, own, depth)
end

return { is_element = is_element, parts = parts, text_of = text_of, show = show, shape = shape }
