-- Reads the Lua code in the manual, as chunks that can be run. Each chunk has the line numbers of the file it comes
-- from.
--
--   for _, c in ipairs(manual.markdown "doc/rooms.md") do manual.run(c) end
--   for _, c in ipairs(manual.examples "doc/examples/muc.lua") do manual.run(c) end
--
-- Markdown: the blocks ```lua of a section (from one "## " to the next), in their order, make one chunk. HTML comments
-- are instructions for the test:
--   <!-- lua ... -->           Lua code that is run at this place as well; before the first section: for each section
--   <!-- not run: reason -->   the next block is only compiled
--   <!-- program NAME -->      the next block is a whole program, which spec/manual_live_spec.lua runs
--   <!-- module NAME -->       the next block is the module that require "NAME" returns
--   <!-- newcomer: ... -->     ignored here: an instruction for spec/support/newcomer about the next block
-- The same instructions may precede blocks ```sh.
--
-- Examples: doc/examples/PAGE.lua has a part for each function of the reference, which begins with a line
-- "--- name, name". If it has a line "-- example", the lines before that are only run by the test, and so are those
-- behind a line "-- check".
--
-- In both, what a line prints is compared with the text behind "-->" on it. Global names that aren't set are modules of
-- the library by their last name (such as `testing`), `t`, a new test, and `conn`, that test's connection.
local manual = {}

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end
manual.read = read

local function lines_of(text)
  local list = {}
  for line in (text:gsub("\r", "") .. "\n"):gmatch "(.-)\n" do list[#list + 1] = line end
  return list
end
manual.lines = lines_of

--- The pages that are written by hand: those in doc/, the README, and the Markdown files beside it.
function manual.pages()
  local list = {}
  local pipe = assert(io.popen "ls README.md doc/*.md CONTRIBUTING.md SECURITY.md 2>/dev/null")
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

-- Blocks of a page

-- Goes through a page: on.heading(n, text), on.code(language, first, last, mark), on.hidden(first, last).
local function walk(lines, on)
  local n, mark = 1, nil
  while n <= #lines do
    local line = lines[n]
    local language, hidden = line:match "^%s*```(%w*)", line:match "^<!%-%-%s*(.*)$"
    if language then
      local first = n
      repeat
        n = n + 1
        if not lines[n] then error("line " .. first .. ": a block that isn't closed", 0) end
      until lines[n]:find "^%s*```%s*$"
      on.code(language, first + 1, n - 1, mark)
      mark = nil
    elseif hidden then
      local first = n
      while not lines[n]:find "%-%->%s*$" do
        n = n + 1
        if not lines[n] then error("line " .. first .. ": a comment that isn't closed", 0) end
      end
      if hidden:find "^lua%s*$" then
        on.hidden(first + 1, n - 1)
      elseif first == n and not hidden:find "^newcomer: " then
        mark = hidden:match "^(.-)%s*%-%->%s*$"
      end
    elseif line:find "^##? " then
      on.heading(n, line:match "^#+ +(.-) *$")
      mark = nil
    end
    n = n + 1
  end
end

local function new_chunk(path, title, line)
  return { path = path, title = title, line = line, parts = {}, modules = {} }
end

--- The chunks of a page that have any Lua; and the blocks that are marked, or are for the shell:
--- { kind = "lua" or "sh", mark, line, code }.
function manual.markdown(path)
  local lines, chunks, blocks = lines_of(read(path)), {}, {}
  local before = {} -- code before the first section
  local now = new_chunk(path, "the beginning", 1)
  local has_code = false
  local function add(first, last) now.parts[#now.parts + 1] = { first, last } end
  local function close()
    if has_code then chunks[#chunks + 1] = now end
    if now.title == "the beginning" and not has_code then before = now.parts end
  end
  local function text(first, last) return table.concat(lines, "\n", first, last) end
  walk(lines, {
    heading = function(n, title)
      if lines[n]:find "^# " then return end
      close()
      now, has_code = new_chunk(path, title, n), false
      for _, part in ipairs(before) do now.parts[#now.parts + 1] = part end
    end,
    hidden = add,
    code = function(language, first, last, mark)
      if language == "lua" and not mark then
        has_code = true
        return add(first, last)
      end
      local name = mark and mark:match "^module (%S+)$"
      if name then now.modules[name] = { path = path, first = first, code = text(first, last) } end
      blocks[#blocks + 1] = { kind = language, mark = mark, line = first, code = text(first, last), path = path,
        section = now.title }
    end,
  })
  close()
  for _, c in ipairs(chunks) do c.lines = lines end
  return chunks, blocks
end

--- The parts of a file of examples: chunks with `names`, and `shown`, the text that the reference shows.
function manual.examples(path)
  local lines, chunks = lines_of(read(path)), {}
  local now
  local function close(last)
    if not now then return end
    while last >= now.line and lines[last]:find "^%s*$" do last = last - 1 end
    now.parts = { { now.line + 1, last } }
    local first, final = now.line + 1, last
    for n = now.line + 1, last do
      if lines[n] == "-- example" then first = n + 1 end
      if lines[n] == "-- check" then final = math.min(final, n - 1) end
    end
    now.shown = table.concat(lines, "\n", first, final):gsub("%s+$", "")
  end
  for n, line in ipairs(lines) do
    local names = line:match "^%-%-%- (.+)$"
    if names then
      close(n - 1)
      now = new_chunk(path, names, n)
      now.lines, now.names = lines, {}
      for name in names:gmatch "[^,%s]+" do now.names[#now.names + 1] = name end
      chunks[#chunks + 1] = now
    end
  end
  close(#lines)
  return chunks
end

-- Running

local function source(chunk)
  local out = {}
  for _, part in ipairs(chunk.parts) do
    for n = part[1], part[2] do out[n] = chunk.lines[n] end
  end
  local last = 0
  for n in pairs(out) do last = math.max(last, n) end
  for n = 1, last do out[n] = out[n] or "" end
  return table.concat(out, "\n")
end

local function compile(text, name, env)
  if not setfenv then return load(text, name, "t", env) end -- luacheck: ignore 113 143
  local f, err = loadstring(text, name) -- luacheck: ignore 113
  return f and setfenv(f, env), err -- luacheck: ignore 113 143
end

--- Compiles a block that isn't run.
function manual.compile(block)
  local f, err = compile(("\n"):rep(block.line - 1) .. block.code, "@" .. block.path, {})
  if not f then error(err, 0) end
end

-- What each line must print, by line number: the text behind "-->".
local function expected(chunk)
  local wanted = {}
  for _, part in ipairs(chunk.parts) do
    for n = part[1], part[2] do
      local text = chunk.lines[n]:match "%-%->%s*(.-)%s*$"
      if text and text ~= "" then wanted[n] = text end
    end
  end
  return wanted
end

local MODULES = { uv = "loop.uv", cqueues = "loop.cqueues", copas = "loop.copas" }

local function environment(printed)
  local env = {}
  local function find(name)
    if name == "xmpp" then return require "xmpp" end
    if name == "xexpr" then return require "xmpp".xexpr end
    if name == "t" then return env.testing.new() end
    if name == "conn" then return env.t.conn end
    if not name:find "^%l+$" then return nil end
    local ok, module = pcall(require, "xmpp." .. (MODULES[name] or name))
    return ok and module or nil
  end
  setmetatable(env, { __index = function(_, name)
    local value = rawget(_G, name)
    if value == nil and type(name) == "string" then value = find(name) end
    if value ~= nil then rawset(env, name, value) end
    return value
  end })
  function env.print(...)
    local list = {}
    for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
    local info = debug.getinfo(2, "Sl")
    printed[#printed + 1] = { line = info and info.currentline, text = table.concat(list, "\t") }
  end
  env.printed = printed
  env._G = env
  return env
end

local function check_prints(chunk, printed)
  local wanted, got = expected(chunk), {}
  for _, p in ipairs(printed) do
    if p.line and wanted[p.line] then
      got[p.line] = (got[p.line] and got[p.line] .. " " or "") .. p.text:gsub("\t", " ")
    end
  end
  for line, text in pairs(wanted) do
    if got[line] ~= text then
      error(("%s:%d: this line is to print\n  %s\nand has printed\n  %s"):format(chunk.path, line, text,
        got[line] or "nothing"), 0)
    end
  end
end

-- Makes the chunk's own modules (<!-- module -->) available to require while it runs.
local function with_modules(chunk, env, f)
  for name, m in pairs(chunk.modules) do
    package.preload[name] = assert(compile(("\n"):rep(m.first - 1) .. m.code, "@" .. m.path, env))
  end
  local ok, err = pcall(f)
  for name in pairs(chunk.modules) do package.preload[name], package.loaded[name] = nil, nil end
  if not ok then error(err, 0) end
end

--- Runs a chunk; raises if it fails, prints something else than its comments say, or leaves something open.
function manual.run(chunk)
  local printed = {}
  local env = environment(printed)
  local f = assert(compile(source(chunk), "@" .. chunk.path, env))
  local ok, err = pcall(with_modules, chunk, env, f)
  local t = rawget(env, "t")
  local finished, why = true, nil
  if t then finished, why = pcall(t.finish, t) end
  require "xmpp.core".shared.quit = false -- set by a chunk that has called xmpp.quit, but not xmpp.run
  if not ok then error(err, 0) end
  if not finished then error(("%s:%d: %s"):format(chunk.path, chunk.line, tostring(why)), 0) end
  check_prints(chunk, printed)
end

return manual
