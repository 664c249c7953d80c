-- plot: pictures as SVG, on a ground of their own, so that they can be read on a dark page, too.
--
--   plot.bars { title =, unit =, { label, value, note =, ours = true }, ... }
--   plot.curves { title =, { title =, x =, unit =, { label, { { x, y }, ... } }, ... }, ... }
--
-- Both return text. A curve's x goes by powers of ten (0 has a place of its own), its y from 0.
local M = {}

local colours = { "#1d4ed8", "#d97706", "#059669" }
local ink, faint, rule = "#1f2937", "#6b7280", "#e5e7eb"

local function escaped(s)
  return (s:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

-- An element with its attributes in the order of the alphabet.
local function element(name, attributes, content)
  local list = {}
  for key, value in pairs(attributes) do
    list[#list + 1] = (' %s="%s"'):format(key, type(value) == "number" and ("%.6g"):format(value) or value)
  end
  table.sort(list)
  return "<" .. name .. table.concat(list) .. (content and ">" .. content .. "</" .. name .. ">" or "/>")
end

local Canvas = {}
Canvas.__index = Canvas

local function canvas(width, height)
  local c = setmetatable({ width = width, height = height }, Canvas)
  c:add("rect", { width = width, height = height, rx = 8, fill = "#ffffff" })
  return c
end

function Canvas:add(name, attributes, content)
  self[#self + 1] = element(name, attributes, content)
end

function Canvas:text(x, y, s, o)
  o = o or {}
  self:add("text", { x = x, y = y, fill = o.fill or ink, ["font-size"] = o.size or 12, ["font-weight"] = o.weight,
    ["text-anchor"] = o.anchor, transform = o.transform }, escaped(s))
end

function Canvas:line(x1, y1, x2, y2, colour)
  self:add("line", { x1 = x1, y1 = y1, x2 = x2, y2 = y2, stroke = colour })
end

function Canvas:svg()
  return element("svg", { xmlns = "http://www.w3.org/2000/svg", width = self.width, height = self.height,
    viewBox = ("0 0 %d %d"):format(self.width, self.height), ["font-family"] = "Helvetica, Arial, sans-serif" },
    "\n" .. table.concat(self, "\n") .. "\n") .. "\n"
end

-- 1, 2 or 5 times a power of ten, from x up.
local function round_up(x)
  local power = 10 ^ math.floor(math.log(x) / math.log(10))
  for _, m in ipairs { 1, 2, 5 } do
    if x <= m * power * 1.0000001 then return m * power end
  end
  return 10 * power
end

-- A step of which about `n` reach from 0 to `most`.
local function step_for(most, n)
  return round_up(most / n)
end

-- Bars

local bar = { left = 230, right = 150, top = 62, height = 20, gap = 12 }

local function draw_bar(c, i, item, scale)
  local y = bar.top + (i - 1) * (bar.height + bar.gap)
  local width, middle = item[2] * scale, y + bar.height / 2 + 4
  c:text(bar.left - 10, middle, item[1], { anchor = "end", weight = item.ours and "bold" })
  c:add("rect", { x = bar.left, y = y, width = width, height = bar.height, rx = 2,
    fill = item.ours and colours[1] or "#9ca3af" })
  c:text(bar.left + width + 8, middle, item.note, { fill = faint })
end

function M.bars(o)
  local c = canvas(760, bar.top + #o * (bar.height + bar.gap) + 14)
  local most = 0
  for _, item in ipairs(o) do most = math.max(most, item[2]) end
  c:text(20, 28, o.title, { size = 16, weight = "bold" })
  c:text(20, 47, o.unit, { fill = faint })
  for i, item in ipairs(o) do draw_bar(c, i, item, (c.width - bar.left - bar.right) / most) end
  return c:svg()
end

-- Curves

local panel = { width = 330, height = 260, left = 58, right = 22, top = 66, bottom = 52 }

local function power_of(x)
  return math.floor(math.log(x) / math.log(10) + 0.5)
end

-- Where x stands, in powers of ten; 0 one place before the first other.
local function place(x, first)
  return x == 0 and first - 1 or math.log(x) / math.log(10)
end

local short = { [3] = "K", [6] = "M" }

local function power_label(p)
  local thousands = p >= 6 and 6 or p >= 3 and 3
  return ("%d%s"):format(10 ^ (p - (thousands or 0)), short[thousands] or "")
end

local function bounds_of(p)
  local b = { first = math.huge, last = 0, most = 0 }
  for _, curve in ipairs(p) do
    for _, point in ipairs(curve[2]) do
      if point[1] > 0 then b.first = math.min(b.first, power_of(point[1])) end
      b.last, b.most = math.max(b.last, power_of(math.max(point[1], 1))), math.max(b.most, point[2])
      b.zero = b.zero or point[1] == 0
    end
  end
  b.begin = b.zero and b.first - 1 or b.first
  b.step = step_for(b.most * 1.05, 4)
  b.top = math.ceil(b.most * 1.05 / b.step) * b.step
  return b
end

-- Functions from figures to places on the canvas.
local function scales(x, y, b)
  local width = panel.width - panel.left - panel.right
  local height = panel.height - panel.top - panel.bottom
  local function sx(v) return x + panel.left + (place(v, b.first) - b.begin) / (b.last - b.begin) * width end
  local function sy(v) return y + panel.height - panel.bottom - v / b.top * height end
  return sx, sy
end

local function draw_axes(c, b, sx, sy)
  local left, right, floor = sx(b.zero and 0 or 10 ^ b.first), sx(10 ^ b.last), sy(0)
  for i = 0, math.floor(b.top / b.step + 0.5) do
    local v = i * b.step
    c:line(left, sy(v), right, sy(v), v == 0 and faint or rule)
    c:text(left - 8, sy(v) + 4, ("%g"):format(v), { anchor = "end", size = 11, fill = faint })
  end
  if b.zero then c:text(left, floor + 17, "0", { anchor = "middle", size = 11, fill = faint }) end
  for p = b.first, b.last do
    c:text(sx(10 ^ p), floor + 17, power_label(p), { anchor = "middle", size = 11, fill = faint })
  end
end

local function draw_curve(c, points, colour, sx, sy)
  local path = {}
  for _, point in ipairs(points) do path[#path + 1] = ("%.1f,%.1f"):format(sx(point[1]), sy(point[2])) end
  c:add("polyline", { points = table.concat(path, " "), fill = "none", stroke = colour, ["stroke-width"] = 2 })
  for _, point in ipairs(points) do c:add("circle", { cx = sx(point[1]), cy = sy(point[2]), r = 3, fill = colour }) end
end

-- The names of the curves, one beside the other.
local function draw_names(c, x, y, p)
  for i, curve in ipairs(p) do
    c:add("rect", { x = x, y = y - 8, width = 8, height = 8, fill = colours[i] })
    c:text(x + 12, y, curve[1], { size = 11 })
    x = x + 26 + 5.5 * #curve[1]
  end
end

local function draw_panel(c, x, y, p)
  local b = bounds_of(p)
  local sx, sy = scales(x, y, b)
  c:text(x + 20, y + 22, p.unit .. ", by " .. p.x, { size = 13, weight = "bold" })
  draw_names(c, x + 20, y + 43, p)
  draw_axes(c, b, sx, sy)
  for i, curve in ipairs(p) do draw_curve(c, curve[2], colours[i], sx, sy) end
  c:text(x + (panel.left + panel.width - panel.right) / 2, y + panel.height - 14, p.x, { anchor = "middle", size = 11 })
end

function M.curves(o)
  local columns = 3
  local c = canvas(columns * panel.width + 10, math.ceil(#o / columns) * panel.height + 40)
  c:text(20, 28, o.title, { size = 16, weight = "bold" })
  for i, p in ipairs(o) do
    draw_panel(c, (i - 1) % columns * panel.width, 36 + math.floor((i - 1) / columns) * panel.height, p)
  end
  return c:svg()
end

return M
