-- plot: pictures as SVG, with a background of their own, so that they can be read on a dark page, too.
--
--   plot.bars { title =, unit =, { label, value, note =, ours = true }, ... }
--   plot.curves { title =, { title =, x =, unit =, log = true, { label, { { x, y }, ... } }, ... }, ... }
--
-- Both return text. A curve's x axis is logarithmic (0 has a place of its own), its y axis begins at 0 or, with `log`,
-- is logarithmic, too, so that linear growth is a straight line.
local M = {}

local colours = { "#1d4ed8", "#d97706", "#059669" }
local ink, faint, rule = "#1f2937", "#6b7280", "#e5e7eb"

local function escaped(s)
  return (s:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

-- An element with its attributes in alphabetical order.
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

-- The least number from x up that is 1, 2 or 5 times a power of ten.
local function round_up(x)
  local power = 10 ^ math.floor(math.log(x) / math.log(10))
  for _, m in ipairs { 1, 2, 5 } do
    if x <= m * power * 1.0000001 then return m * power end
  end
  return 10 * power
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

local panel = { width = 330, height = 270, left = 58, right = 22, top = 84, bottom = 48 }

local function log10(x)
  return math.log(x) / math.log(10)
end

local short = { [3] = "K", [6] = "M" }

local function power_label(p)
  local thousands = p >= 6 and 6 or p >= 3 and 3
  return ("%g%s"):format(10 ^ (p - (thousands or 0)), short[thousands] or "")
end

-- The range of the points: `first` and `last` power of ten of x, `zero` if x may be 0, `least` and `most` of y.
local function reach(p)
  local r = { first = math.huge, last = 0, least = math.huge, most = 0 }
  for _, curve in ipairs(p) do
    for _, point in ipairs(curve[2]) do
      if point[1] > 0 then r.first = math.min(r.first, math.floor(log10(point[1]) + 0.5)) end
      r.last = math.max(r.last, math.floor(log10(math.max(point[1], 1)) + 0.5))
      r.least, r.most = math.min(r.least, point[2]), math.max(r.most, point[2])
      r.zero = r.zero or point[1] == 0
    end
  end
  return r
end

-- An axis: from `from` to `to`, with ticks { where, label }; `place` gives the position of a figure.
local function x_axis(r)
  local axis = { from = r.zero and r.first - 1 or r.first, to = r.last }
  if r.zero then axis[1] = { axis.from, "0" } end
  for p = r.first, r.last do axis[#axis + 1] = { p, power_label(p) } end
  function axis.place(v) return v == 0 and axis.from or log10(v) end
  return axis
end

local function linear_axis(r)
  local step = round_up(r.most * 1.05 / 4)
  local axis = { from = 0, to = math.ceil(r.most * 1.05 / step) * step, place = function(v) return v end }
  for i = 0, math.floor(axis.to / step + 0.5) do axis[#axis + 1] = { i * step, ("%g"):format(i * step) } end
  return axis
end

local function log_axis(r)
  local axis = { from = math.floor(log10(r.least)), to = math.ceil(log10(r.most)), place = log10 }
  for p = axis.from, axis.to do axis[#axis + 1] = { p, power_label(p) } end
  return axis
end

-- A function that converts a position on the axis to one on the canvas.
local function scale(axis, from, to)
  return function(v) return from + (v - axis.from) / (axis.to - axis.from) * (to - from) end
end

local function draw_axes(c, xs, ys, sx, sy)
  local left, right, floor = sx(xs.from), sx(xs.to), sy(ys.from)
  for i, tick in ipairs(ys) do
    c:line(left, sy(tick[1]), right, sy(tick[1]), i == 1 and faint or rule)
    c:text(left - 8, sy(tick[1]) + 4, tick[2], { anchor = "end", size = 11, fill = faint })
  end
  for _, tick in ipairs(xs) do
    c:text(sx(tick[1]), floor + 17, tick[2], { anchor = "middle", size = 11, fill = faint })
  end
end

local function draw_curve(c, points, colour, sx, sy)
  local path = {}
  for _, point in ipairs(points) do
    local x, y = sx(point[1]), sy(point[2])
    path[#path + 1] = ("%.1f,%.1f"):format(x, y)
    c:add("circle", { cx = x, cy = y, r = 3, fill = colour })
  end
  c:add("polyline", { points = table.concat(path, " "), fill = "none", stroke = colour, ["stroke-width"] = 2 })
end

-- The names of the curves, next to each other.
local function draw_names(c, x, y, p)
  for i, curve in ipairs(p) do
    c:add("rect", { x = x, y = y - 8, width = 8, height = 8, fill = colours[i] })
    c:text(x + 12, y, curve[1], { size = 11 })
    x = x + 26 + 6.2 * #curve[1]
  end
end

local function draw_panel(c, x, y, p)
  local r = reach(p)
  local xs, ys = x_axis(r), p.log and log_axis(r) or linear_axis(r)
  local sx = scale(xs, x + panel.left, x + panel.width - panel.right)
  local sy = scale(ys, y + panel.height - panel.bottom, y + panel.top)
  c:text(x + 20, y + 24, p.title, { size = 13, weight = "bold" })
  draw_names(c, x + 20, y + 44, p)
  c:text(x + 20, y + panel.top - 14, p.unit, { size = 11, fill = faint })
  c:text(x + (panel.left + panel.width - panel.right) / 2, y + panel.height - 12, p.x,
    { anchor = "middle", size = 11, fill = faint })
  draw_axes(c, xs, ys, sx, sy)
  for i, curve in ipairs(p) do
    draw_curve(c, curve[2], colours[i], function(v) return sx(xs.place(v)) end, function(v) return sy(ys.place(v)) end)
  end
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
