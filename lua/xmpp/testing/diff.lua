-- diff: explains why an element doesn't match a pattern (see xexpr.match). Required by xmpp.testing alone.

local xexpr = require "xmpp.xexpr"

local M = {}

local function indented(text) return "    " .. text:gsub("\n", "\n    ") end

--- Elements as they are shown below a failure's first line.
function M.shown(elements)
  local out = {}
  for i, x in ipairs(elements) do out[i] = indented(xexpr.pretty(x)) end
  return table.concat(out, "\n")
end

local function quoted(v) return v == nil and "none" or "'" .. v .. "'" end

local function own_text(x)
  local out = {}
  for i = 3, #x do
    if type(x[i]) == "string" then out[#out + 1] = x[i] end
  end
  return table.concat(out)
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function compare(pattern, x, path, out)
  for _, key in ipairs(sorted_keys(pattern[2])) do
    if key ~= "xmlns" and x[2][key] ~= pattern[2][key] then
      out[#out + 1] = ("%s: %s=%s expected, got %s"):format(path, key, quoted(pattern[2][key]), quoted(x[2][key]))
    end
  end
  local wanted, text = own_text(pattern), own_text(x)
  if wanted ~= "" and wanted ~= text then
    out[#out + 1] = ("%s: the text %s expected, got %s"):format(path, quoted(wanted), quoted(text))
  end
end

local walk

-- The child of x that is most similar to a pattern's child: with the same name and the fewest differences.
local function nearest(pattern, x, path)
  local least
  for i = 3, #x do
    if type(x[i]) == "table" and x[i][1] == pattern[1] then
      local out = {}
      walk(pattern, x[i], path .. "/" .. x[i][1], out)
      if not least or #out < #least then least = out end
    end
  end
  return least
end

local function walk_children(pattern, x, path, out)
  for i = 3, #pattern do
    local p = pattern[i]
    local least = type(p) == "table" and nearest(p, x, path)
    if type(p) == "table" and not least then
      out[#out + 1] = ("%s: <%s/> expected in it, there is none"):format(path, p[1])
    end
    for _, line in ipairs(least or {}) do out[#out + 1] = line end
  end
end

function walk(pattern, x, path, out)
  if pattern[1] ~= x[1] then
    out[#out + 1] = ("<%s/> expected, got <%s/>"):format(pattern[1], x[1])
    return
  end
  if pattern[2].xmlns and pattern[2].xmlns ~= x[2].xmlns then
    out[#out + 1] = ("%s: the namespace %s expected, got %s"):format(path, quoted(pattern[2].xmlns),
      quoted(x[2].xmlns))
  end
  compare(pattern, x, path, out)
  walk_children(pattern, x, path, out)
end

--- The differences, as text; nil: it matches.
---@param pattern xmpp.Element
---@param x xmpp.Element
---@return string? text
function M.between(pattern, x)
  if xexpr.match(pattern)(x) then return nil end
  pattern, x = xexpr.canonical(pattern), xexpr.canonical(x)
  local out = {}
  walk(pattern, x, x[1], out)
  if #out == 0 then out[1] = "each child of the pattern must match a separate child" end
  return ("expected:\n%s\ngot:\n%s\nthe difference:\n%s"):format(M.shown { pattern }, M.shown { x },
    indented(table.concat(out, "\n")))
end

return M
