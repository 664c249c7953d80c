-- draw: a canonical element as indented XML for people. Called by xexpr.pretty alone.

local XML = "http://www.w3.org/XML/1998/namespace"

local NO_INK = { name = "", key = "", value = "", off = "" }
local ANSI = { name = "\27[36m", key = "\27[33m", value = "\27[32m", off = "\27[0m" }

local ENTITY = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&apos;", ['"'] = "&quot;" }

local function char_ref(c) return ("&#%d;"):format(c:byte()) end

-- DEL and U+0080 to U+009F are legal in XML, but some terminals interpret them.
local function escape(s, what)
  s = s:gsub(what, function(c) return ENTITY[c] or char_ref(c) end)
  return (s:gsub("\194([\128-\159])", char_ref))
end

-- An attribute's name in XML, and the declaration that it needs: the prefix for a Clark name is generated from `n`.
local function spell(key, n)
  local uri, name = key:match "^{(.+)}([^}]*)$" -- a namespace may contain braces
  if not uri then return key end
  if uri == XML then return "xml:" .. name end
  return ("ns%d:%s"):format(n, name), { ("xmlns:ns%d"):format(n), uri }
end

local function render_attributes(out, attrs, ink)
  local keys = {}
  for key in pairs(attrs) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return a == "xmlns" and b ~= "xmlns" or b ~= "xmlns" and a < b end)
  local function put(key, v)
    local value = escape(v, "[&<>'\"\t\n\r\127]")
    out[#out + 1] = (" %s%s%s='%s%s%s'"):format(ink.key, key, ink.off, ink.value, value, ink.off)
  end
  for n, key in ipairs(keys) do
    local name, declaration = spell(key, n)
    if declaration then put(declaration[1], declaration[2]) end
    put(name, attrs[key])
  end
end

local function has_text(x)
  for i = 3, #x do
    if type(x[i]) == "string" then return true end
  end
  return false
end

-- `pad` is the line break and indentation before x; false inside an element with text, where white space would be
-- significant.
local function render(out, x, ink, pad)
  local name = ink.name .. x[1] .. ink.off
  out[#out + 1] = "<" .. name
  render_attributes(out, x[2], ink)
  if #x == 2 then out[#out + 1] = "/>" return end
  out[#out + 1] = ">"
  local inner = pad and not has_text(x) and pad .. "  "
  for i = 3, #x do
    out[#out + 1] = inner or ""
    if type(x[i]) == "table" then render(out, x[i], ink, inner) else out[#out + 1] = escape(x[i], "[&<>\r\127]") end
  end
  out[#out + 1] = (inner and pad or "") .. "</" .. name .. ">"
end

-- `x` must be canonical; `color`: with ANSI colours.
return function(x, color)
  local out = {}
  render(out, x, color and ANSI or NO_INK, "\n")
  return table.concat(out)
end
