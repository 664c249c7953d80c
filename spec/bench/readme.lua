-- readme: puts what `make bench-results` has measured where people read it, between two marks: in doc/performance.md
-- all of it but growth and rates, in README.md a short table of it.
--
--   lua5.4 spec/bench/readme.lua      in the repository's root, which has spec/bench/results/table.md

local FIRST, LAST = "<!-- measured -->\n", "<!-- /measured -->"
local WIDTH = 120

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function put(path, measured)
  local text = read(path)
  local _, from = text:find(FIRST, 1, true)
  local to = text:find(LAST, from, true)
  local f = assert(io.open(path, "wb"))
  f:write(text:sub(1, from), measured, text:sub(to))
  f:close()
end

-- A line of text, broken where it would be too long; the rows of a table stay as they are.
local function wrapped(line)
  if line:find "^|" then return line end
  local out, now = {}, nil
  for word in line:gmatch "%S+" do
    if now and #now + 1 + #word > WIDTH then out[#out + 1], now = now, nil end
    now = now and now .. " " .. word or word
  end
  out[#out + 1] = now
  return table.concat(out, "\n")
end

local function wrap(text)
  return (text:gsub("[^\n]+", wrapped))
end

local function cells_of(row)
  local list = {}
  for cell in row:gmatch "|([^|\n]*)" do list[#list + 1] = cell:match "^%s*(.-)%s*$" end
  return list
end

-- Of the table of libraries those that were measured in the flood, with what an application notices.
local function short(told)
  local rows = { "| receiving a flood of stanzas | CPU, \194\181s a stanza | times raw expat | memory, MB |",
    "| --- | ---: | ---: | ---: |" }
  local body = told:match "\n| us of CPU |[^\n]*\n|[^\n]*\n(.-\n)\n"
  for row in body:gmatch "[^\n]+" do
    local c = cells_of(row)
    if c[2] ~= "-" then rows[#rows + 1] = ("| %s | %s | %s | %s |"):format(c[1], c[2], c[3], c[4]) end
  end
  local where = told:match "^\n?([^\n]+)":match "^[^;]+; [^;]+; [^;]+":gsub(";", ","):gsub("%.$", "")
  return ("%s\n\n%s. [All that was measured](doc/performance.md#measured).\n"):format(table.concat(rows, "\n"), where)
end

local told = read "spec/bench/results/table.md":match "^(.-\n)\n## "
put("doc/performance.md", wrap(told))
put("README.md", short(told))
