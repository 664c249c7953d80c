-- measure: runs the programs that rows.lua lists, and keeps the figures that they print.
--
--   local m = measure.new { stanzas = 30000, build = "build", lua = "lua5.4", so_dir = "lua", only = "" }
--   m:round(list, n)      makes each measurement once, as round n
--   m.figures[name]       the figures, one a round; empty: not measured, and m.why[name] may say why
--   m:curves(list)        runs the growth programs: m.points[curve] = { { x, list of figures }, ... }
--   m:count(name)         counts instructions for a stanza, with callgrind
--   m:close()
--
--   m.notes[name]         a note about a figure
--
-- A program prints a line "FIGURE", with "NAME SECOND" on the same line or the next, or anywhere if there is `named`;
-- or "not measured: WHY"; and maybe "note: TEXT". A growth program prints lines "CURVE X FIGURE".
local M = {}
M.__index = M

local function exists(path)
  local f = io.open(path, "rb")
  return f ~= nil and f:close()
end

-- What the command prints, and whether it succeeded (which only newer Luas return from close).
local function run(command)
  local p = assert(io.popen("{ " .. command .. "; } 2>&1; echo \"; $?\""))
  local text = p:read "*a"
  p:close()
  local before, status = text:match "^(.*); (%d+)\n$"
  return before, status == "0"
end

local function output_of(command)
  local text, ok = run(command)
  if not ok then
    io.stderr:write("bench: this failed: ", command, "\n", text, "\n")
    os.exit(2)
  end
  return text
end

M.run, M.output_of = run, output_of

function M.new(o)
  local m = setmetatable(o, M)
  m.figures, m.why, m.notes, m.points = {}, {}, {}, {}
  m.file = m:corpus(m.stanzas)
  return m
end

function M:corpus(n)
  local path = os.tmpname()
  output_of(("%s spec/bench/corpus.lua %d >%s"):format(self.lua, n, path))
  return path
end

function M:close()
  os.remove(self.file)
end

-- The size of the file with all stanzas.
function M:bytes()
  local f = assert(io.open(self.file, "rb"))
  local n = f:seek "end"
  f:close()
  return n
end

local environment = "env -u LUA_INIT -u LUA_INIT_5_4 -u LUA_PATH_5_4 -u LUA_CPATH_5_4 "
  .. "LUA_PATH='lua/?.lua;lua/?/init.lua;?.lua;;' LUA_CPATH='%s/?.so;;' timeout %d "

-- Replaces $BUILD and the other names in `text`.
function M:fill(text, file, n)
  local words = { FILE = file, N = ("%d"):format(n or 0), LUA = self.lua, BUILD = self.build .. "/bench" }
  words.FEW = ("%d"):format(math.ceil((n or 0) / 3))
  words.PEER, words.RAW, words.COUNT = words.BUILD .. "/peer", words.BUILD .. "/raw", words.BUILD .. "/count.so"
  return (text:gsub("%$(%u+)", words))
end

function M:command(m, file, n, prefix)
  local limit = math.max(self.limit or 120, m.limit or 0)
  return environment:format(self.so_dir, limit) .. (prefix or "") .. self:fill(m[2], file, n)
end

-- The reason why a measurement isn't made; nil: it is.
function M:is_passed_over(m)
  if not m[1]:find(self.only) then return "not asked for" end
  if m.needs and not exists(self:fill(m.needs)) then return "not there: " .. self:fill(m.needs) end
end

-- One or two figures; or nil, and why there is none.
function M:measure(m)
  local command = self:command(m, self.file, self.stanzas)
  local text, ok = run(command)
  local why = text:match "not measured: ([^\n]*)"
  if why then return nil, why end
  self.notes[m[1]] = text:match "note: ([^\n]*)"
  local first, second = ("\n" .. text):match "\n([%d.]+)[%s%a]*([%d.]*)"
  if m.named then second = text:match("%f[%a]" .. m.named .. " ([%d.]+)") end
  if ok and first and (second or not m.named) then return tonumber(first), tonumber(second) end
  if not m.peer then output_of(command) end
  return nil, (m.peer or m[1]) .. " failed"
end

function M:keep(name, figure)
  self.figures[name] = self.figures[name] or {}
  table.insert(self.figures[name], figure)
end

function M:once(m)
  local first, second = self:measure(m)
  if not first then
    self.why[m[1]], self.why[m.also or m[1]] = second, second
    return
  end
  self:keep(m[1], first)
  if m.also then self:keep(m.also, second / (m.by or 1)) end
end

function M:round(list, n)
  for _, m in ipairs(list) do
    local why = self.why[m[1]] or self:is_passed_over(m)
    if why then
      self.why[m[1]], self.why[m.also or m[1]] = why, why
    elseif n == 1 or not m.heavy then
      self:once(m)
    end
  end
end

-- Growth

local function keep_point(points, x, figure)
  for _, p in ipairs(points) do
    if p[1] == x then return table.insert(p[2], figure) end
  end
  table.insert(points, { x, { figure } })
end

function M:curves(list)
  for _, m in ipairs(list) do
    local text = self:is_passed_over(m) and "" or output_of(self:command(m, self.file, self.stanzas))
    for name, x, figure in text:gmatch "([%a-]+) (%d+) ([%d.]+)\n" do
      self.points[name] = self.points[name] or {}
      keep_point(self.points[name], tonumber(x), tonumber(figure))
    end
  end
end

-- Instructions for a stanza: what a thousand more stanzas cost, divided by a thousand.

function M:collected(m, n)
  local file = self:corpus(n)
  local text = output_of(self:command(m, file, n, "valgrind --tool=callgrind --callgrind-out-file=/dev/null "))
  os.remove(file)
  return tonumber(text:match "Collected : (%d+)")
end

function M:count(m)
  local why = self:is_passed_over(m)
  if why then self.why[m[1] .. "#"] = why return end
  self:keep(m[1] .. "#", (self:collected(m, 3000) - self:collected(m, 1000)) / 2000)
end

return M
