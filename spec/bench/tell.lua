-- tell: compares the figures of measure.lua with the goals in rows.lua, as tables, and as pictures.
local plot = require "plot"
local rows = require "rows"

local M = {}

local function sorted(list)
  local copy = {}
  for i, x in ipairs(list) do copy[i] = x end
  table.sort(copy)
  return copy
end

local function median(list)
  local s = sorted(list)
  local half = math.floor(#s / 2)
  return #s % 2 == 1 and s[half + 1] or (s[half] + s[half + 1]) / 2
end

-- A row's ratio in each round; a figure that was measured once is compared with every figure of the other.
local function ratios(row, figures)
  local ours, theirs, list = figures[row[2]] or {}, row[3] and (figures[row[3]] or {}), {}
  for i = 1, math.max(#ours, theirs and #theirs or 0) do
    local x, y = ours[i] or ours[1], not theirs and 1 or theirs[i] or theirs[1]
    if x and y then
      local ratio = x / (y * (row.each or 1))
      list[#list + 1] = row.faster and 1 / ratio or ratio
    end
  end
  return list
end

local function figure(x)
  return x < 0.1 and ("%.3f"):format(x) or x < 100 and ("%.2f"):format(x) or ("%.0f"):format(x)
end

local function figure_of(list)
  return list and figure(median(list)) or "-"
end

local function goal_of(row)
  local bound = row.most or row.least
  if not bound then return "" end
  return (row.most and "<= " or ">= ") .. bound .. (row.stretch and " (" .. row.stretch .. ")" or "")
end

-- nil: there is no goal.
local function is_met(row, ratio)
  if row.most then return ratio <= row.most end
  if row.least then return ratio >= row.least end
end

local verdicts = { [true] = "met", [false] = "MISSED" }

local function why_not(row, m)
  local why = m.why[row[2]] or row[3] and m.why[row[3]]
  return "not measured" .. (why and ": " .. why or "")
end

local function goal_row(row, m)
  local list, figures = ratios(row, m.figures), m.figures
  if #list == 0 then return { row[1], "-", "-", "-", "", goal_of(row), why_not(row, m) } end
  local s, ratio = sorted(list), median(list)
  local met = is_met(row, ratio)
  return { row[1], row[3] and figure_of(figures[row[2]]) or "", row[3] and figure_of(figures[row[3]]) or "",
    figure(ratio), #s > 1 and figure(s[1]) .. " .. " .. figure(s[#s]) or "", goal_of(row), verdicts[met] or "" }, met
end

-- Writes the table of goals. Returns how many were missed.
function M.goals(sheet, m)
  local list, missed = {}, 0
  for _, row in ipairs(rows.rows) do
    local cells, met = goal_row(row, m)
    list[#list + 1] = cells
    if met == false then missed = missed + 1 end
  end
  sheet:table({ "", "ours", "yardstick", "ratio", "least .. most", "goal", "" }, list)
  return missed
end

function M.rates(sheet, m)
  local list, bytes = {}, m:bytes()
  for _, name in ipairs(rows.rates) do
    if m.figures[name] then
      local rate = 1e6 / median(m.figures[name])
      list[#list + 1] = { name, ("%.1f"):format(rate * bytes / m.stanzas / 1e6), ("%.0f"):format(rate) }
    end
  end
  sheet:table({ "a second of CPU", "MB", "stanzas" }, list)
end

-- Other libraries

local function others_row(who, m)
  local f = m.figures
  local flood, raw = f[who.flood], f["flood-raw"]
  local times = flood and raw and figure(median(ratios({ "", who.flood, "flood-raw" }, f))) or "-"
  return { who[1], figure_of(flood), times, figure_of(f[(who.flood or "") .. "-rss"]), figure_of(f[who.parse]),
    figure_of(f[who.text]), figure_of(f[who.send]), figure_of(f[who.ping]), figure_of(f[who.ping64]) }
end

function M.others(sheet, m)
  local list = {}
  for _, who in ipairs(rows.others) do list[#list + 1] = others_row(who, m) end
  sheet:table({ "us of CPU", "flood", "x raw expat", "MB", "parse", "to text", "send", "ping", "64 deep" }, list)
end

local function names_of(who)
  local list = {}
  for _, part in ipairs { "flood", "parse", "text", "send", "ping", "ping64" } do list[#list + 1] = who[part] end
  return list
end

-- The libraries that are missing, and why.
function M.absent(m)
  local list = {}
  for _, who in ipairs(rows.others) do
    for _, name in ipairs(names_of(who)) do
      if m.why[name] and m.why[name] ~= "not asked for" then
        list[#list + 1] = who[1]:match "^%s*(.*)" .. ": " .. m.why[name]
        break
      end
    end
  end
  return list
end

-- The programs' notes about their figures.
function M.notes(m)
  local list = {}
  for _, one in ipairs(rows.measurements) do
    if m.notes[one[1]] then list[#list + 1] = one[1] .. ": " .. m.notes[one[1]] end
  end
  return list
end

function M.bars(m)
  local list = { title = "Receiving a flood of stanzas, one handler counts them",
    unit = "CPU time, times what C on raw expat and sockets takes for the same bytes" }
  for _, who in ipairs(rows.others) do
    local flood, memory = m.figures[who.flood], m.figures[(who.flood or "") .. "-rss"]
    if who.draw and flood and m.figures["flood-raw"] then
      local times = median(ratios({ "", who.flood, "flood-raw" }, m.figures))
      list[#list + 1] = { who.draw, times, ours = who.ours,
        note = ("%.1f x, %.0f MB"):format(times, median(memory)) }
    end
  end
  table.sort(list, function(a, b) return a[2] < b[2] end)
  return #list > 0 and plot.bars(list)
end

-- Growth

local function points_of(m, curve)
  local list = {}
  for i, p in ipairs(m.points[curve[1]] or {}) do list[i] = { p[1], median(p[2]) } end
  return list
end

-- By what factor it has grown, and whether that is allowed.
local function growth_of(curve, points)
  local factor = points[#points][2] / points[1][2]
  return factor, factor <= curve.flat
end

local function with_commas(x)
  local s, n = ("%d"):format(x), 1
  while n > 0 do s, n = s:gsub("^(%d+)(%d%d%d)", "%1,%2") end
  return s
end

local function growth_row(curve, points)
  local factor, met = growth_of(curve, points)
  local cells = { "  " .. curve[2] }
  for _, p in ipairs(points) do cells[#cells + 1] = figure(p[2]) end
  cells[#cells + 1] = figure(factor)
  cells[#cells + 1] = "flat: <= " .. curve.flat
  cells[#cells + 1] = verdicts[met]
  return cells, met
end

local function group_head(group, points)
  local head = { group.unit .. ", by " .. group[1] }
  for _, p in ipairs(points) do head[#head + 1] = with_commas(p[1]) end
  head[#head + 1], head[#head + 2], head[#head + 3] = "growth", "goal", ""
  return head
end

local function tell_group(sheet, m, group)
  local list, missed, head = {}, 0, nil
  for _, curve in ipairs(group) do
    local points = type(curve) == "table" and points_of(m, curve) or {}
    if #points > 1 then
      local cells, met = growth_row(curve, points)
      head, missed = head or group_head(group, points), missed + (met and 0 or 1)
      list[#list + 1] = cells
    end
  end
  if head then sheet:table(head, list) end
  return missed
end

function M.growth(sheet, m)
  local missed = 0
  for _, group in ipairs(rows.growth) do missed = missed + tell_group(sheet, m, group) end
  return missed
end

function M.curves(m)
  local all = { title = "What one thing costs beside more and more of something else" }
  for _, group in ipairs(rows.growth) do
    local panel = { title = group.title, x = group[1], unit = group.unit:gsub("us", "\194\181s"), log = group.log }
    for i = 2, #group do
      local points = points_of(m, group[i])
      if #points > 1 then panel[#panel + 1] = { group[i][2], points } end
    end
    if #panel > 0 then all[#all + 1] = panel end
  end
  return #all > 0 and plot.curves(all)
end

return M
