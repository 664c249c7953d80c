-- sheet: tables for a person at a terminal, and the same in Markdown.
--
--   local s = sheet.new(path)            everything goes to stdout, and as Markdown to the file
--   s:text "a line"
--   s:table({ "", "ours" }, rows)        rows of strings; the first column is flush left, the others right
--   s:close()
local M = {}
M.__index = M

function M.new(path)
  return setmetatable({ file = path and assert(io.open(path, "w")) }, M)
end

function M:write(text)
  if self.file then self.file:write(text) end
end

function M:text(text)
  print("\n" .. text)
  self:write("\n" .. text .. "\n")
end

-- How many characters of UTF-8 it has.
local function width_of(s)
  return select(2, s:gsub("[^\128-\191]", ""))
end

local function widths_of(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, width_of(cell)) end
  end
  return widths
end

local function aligned(row, widths)
  local cells = {}
  for i, cell in ipairs(row) do
    local space = (" "):rep(widths[i] - width_of(cell))
    cells[i] = i == 1 and cell .. space or space .. cell
  end
  return (table.concat(cells, "  "):gsub("%s+$", ""))
end

local function marked(row)
  local cells = {}
  for i, cell in ipairs(row) do cells[i] = cell:gsub("^%s+", "&nbsp; "):gsub("|", "\\|") end
  return "| " .. table.concat(cells, " | ") .. " |\n"
end

function M:table(head, rows)
  local all = { head }
  for _, row in ipairs(rows) do all[#all + 1] = row end
  local widths = widths_of(all)
  print()
  for _, row in ipairs(all) do print(aligned(row, widths)) end
  self:write("\n" .. marked(head) .. "| ---" .. (" | ---:"):rep(#head - 1) .. " |\n")
  for _, row in ipairs(rows) do self:write(marked(row)) end
end

function M:close()
  if self.file then self.file:close() end
end

return M
