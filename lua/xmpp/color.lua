-- color: the colour in which all clients show a text such as a nickname or an address (XEP-0392 1.0): an angle from
-- its SHA-1, in HSLuv, whose colours of the same lightness look equally light.
--
--   local hue = require "xmpp.color".hue "juliet@capulet.lit"

local core = require "xmpp.load"
local guard = require "xmpp.guard"

local M = {}

local function angle(text)
  local low, high = core.hash("sha-1", text):byte(1, 2)
  return (low + 256 * high) / 65536 * 360
end

--- Returns the angle of the colour, from 0 to 360 (XEP-0392 5.1).
---@param text string
---@return number
function M.hue(text)
  guard.check_type(text, "string", 1, "hue", 2)
  return (angle(text))
end

-- CIE XYZ to linear sRGB, D65
local TO_RGB = {
  { 3.240969941904521, -1.537383177570093, -0.498610760293 },
  { -0.96924363628087, 1.87596750150772, 0.041555057407175 },
  { 0.055630079696993, -0.20397695888897, 1.056971514242878 },
}
local REF_U, REF_V = 0.19783000664283681, 0.468319994938791
local KAPPA, EPSILON = 903.2962962962963, 0.0088564516790356308

-- The largest chroma for that lightness and hue: the nearest of the lines where a channel is 0 or 1.
local function most_chroma(l, hue)
  local sub = (l + 16) ^ 3 / 1560896
  if sub <= EPSILON then sub = l / KAPPA end
  local least, rad = math.huge, math.rad(hue)
  for _, m in ipairs(TO_RGB) do
    for t = 0, 1 do
      local top1 = (284517 * m[1] - 94839 * m[3]) * sub
      local top2 = (838422 * m[3] + 769860 * m[2] + 731718 * m[1]) * l * sub - 769860 * t * l
      local bottom = (632260 * m[3] - 126452 * m[2]) * sub + 126452 * t
      local length = (top2 / bottom) / (math.sin(rad) - top1 / bottom * math.cos(rad))
      if length >= 0 then least = math.min(least, length) end
    end
  end
  return least
end

local function channel(m, x, y, z)
  local c = m[1] * x + m[2] * y + m[3] * z
  c = c <= 0.0031308 and 12.92 * c or 1.055 * c ^ (1 / 2.4) - 0.055
  return math.max(0, math.min(1, c))
end

--- Returns red, green and blue from 0 to 1 (XEP-0392 5.4: saturation 100, lightness 50).
---@param text string
---@param lightness? number 0..100 (50)
---@return number red
---@return number green
---@return number blue
function M.rgb(text, lightness)
  guard.check_type(text, "string", 1, "rgb", 2)
  if lightness ~= nil then guard.check_type(lightness, "number", 2, "rgb", 2) end
  local l, hue = lightness or 50, angle(text)
  local chroma = most_chroma(l, hue)
  local u = chroma * math.cos(math.rad(hue)) / (13 * l) + REF_U
  local v = chroma * math.sin(math.rad(hue)) / (13 * l) + REF_V
  local y = l <= 8 and l / KAPPA or ((l + 16) / 116) ^ 3
  local x = 9 * y * u / (4 * v)
  local z = (9 * y - 15 * v * y - v * x) / (3 * v)
  return channel(TO_RGB[1], x, y, z), channel(TO_RGB[2], x, y, z), channel(TO_RGB[3], x, y, z)
end

local LEVELS = { 0, 95, 135, 175, 215, 255 } -- of xterm's colour cube, 6 x 6 x 6

local function nearest_level(c)
  local best = 1
  for i, level in ipairs(LEVELS) do
    if math.abs(level - c * 255) < math.abs(LEVELS[best] - c * 255) then best = i end
  end
  return best - 1
end

--- Returns the nearest of a terminal's 256 colours that is readable on dark and on light backgrounds.
---@param text string
---@return integer 16..231
function M.terminal(text)
  guard.check_type(text, "string", 1, "terminal", 2)
  local r, g, b = M.rgb(text, 60)
  return 16 + 36 * nearest_level(r) + 6 * nearest_level(g) + nearest_level(b)
end

return M
