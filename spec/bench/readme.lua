-- readme: puts the results of `make bench-results`, except for growth and rates, into README.md between its two marks.

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local first, last = "<!-- measured -->\n", "<!-- /measured -->"
local told = read "spec/bench/results/table.md":match "^(.-\n)\n## "
local text = read "README.md"
local _, from = text:find(first, 1, true)
local to = text:find(last, from, true)
local f = assert(io.open("README.md", "wb"))
f:write(text:sub(1, from), told, text:sub(to))
f:close()
