-- annotations: reads the LuaCATS comments of a Lua file, for the reference of the manual (reference.lua).
--
--   local blocks = annotations.read("lua/xmpp/muc/join.lua", text)
--   for _, b in ipairs(blocks) do print(b.line, b.code, b.text, #b.params, #b.returns) end
--
-- A block is a run of lines that begin with `---`, and the line of code behind it:
--   line      where the block begins
--   code      the line behind it, "" for none
--   text      what stands before the first tag, as one paragraph for each run of lines
--   params    { name, optional, type, text }
--   returns   { type, text }
--   overloads types
--   class     { name, parent, fields = { { name, optional, type, text } } }
--   alias     { name, type, values = { { value, text } } }
--   type      what `---@type` says
local M = {}
local unpack = table.unpack or unpack -- luacheck: ignore 143

local WIDTH = 120 -- of a line in this repository

local OPENING, CLOSING = { ["("] = true, ["{"] = true, ["<"] = true, ["["] = true },
  { [")"] = true, ["}"] = true, [">"] = true, ["]"] = true }

-- The end of a type that begins at `from`: the last byte before a space outside of all brackets and strings. nil: a
-- bracket isn't closed.
local function type_end(s, from)
  local depth, i, quoted = 0, from, false
  while i <= #s do
    local c = s:sub(i, i)
    if c == '"' then
      quoted = not quoted
    elseif not quoted then
      if OPENING[c] then depth = depth + 1 end
      if CLOSING[c] then depth = depth - 1 end
      if c == " " and depth == 0 then
        local before = s:sub(i - 1, i - 1)
        local is_open = before == ":" or before == "," and s:sub(from, from + 3) == "fun("
          or before == "|" or s:find("^ |", i)
        if not is_open then return i - 1 end
      end
    end
    i = i + 1
  end
  return depth == 0 and not quoted and #s or nil
end

-- The type at the beginning of s, and the rest of it.
local function split_type(s)
  local last = type_end(s, 1)
  if not last then return nil end
  return s:sub(1, last), (s:sub(last + 1):gsub("^%s+", ""))
end
M.split_type = split_type

local function is_open(s) return s ~= "" and type_end(s, 1) == nil end

-- Was the line broken before `next_line` since its first word had no place any more?
local function was_wrapped(line, next_line)
  local word = next_line:match "^%S+" or ""
  return #line + 1 + #word > WIDTH - 1
end

-- Tags

local tags = {}

local function named(rest)
  local name, optional, after = rest:match "^([%w_%.]+)(%??)%s*(.*)$"
  if not name then name, optional, after = rest:match "^(%[[^%]]+%])(%??)%s*(.*)$" end
  return name, optional == "?", after
end

function tags.param(block, rest)
  local name, optional, after = named(rest)
  local entry = { name = name, optional = optional, rest = after }
  block.params[#block.params + 1] = entry
  return entry
end

tags["return"] = function(block, rest)
  local entry = { rest = rest }
  block.returns[#block.returns + 1] = entry
  return entry
end

function tags.field(block, rest)
  local name, optional, after = named(rest)
  local entry = { name = name, optional = optional, rest = after }
  block.class = block.class or { fields = {} }
  block.class.fields[#block.class.fields + 1] = entry
  return entry
end

function tags.class(block, rest)
  local name, parent = rest:match "^([%w_%.]+)%s*:?%s*(.*)$"
  block.class = { name = name, parent = parent ~= "" and parent or nil, fields = {} }
end

function tags.alias(block, rest)
  local name, kind = rest:match "^([%w_%.]+)%s*(.*)$"
  block.alias = { name = name, type = kind, values = {} }
end

function tags.overload(block, rest) block.overloads[#block.overloads + 1] = rest end

tags["type"] = function(block, rest) block.type = rest end

function tags.meta() end

-- "| "wait" # try again later", or several values in one line.
local function alias_values(block, rest)
  local values = block.alias.values
  local text = rest:match "#%s*(.*)$"
  for value in rest:gsub("%s*#.*$", ""):gmatch "[^|]+" do
    value = value:match "^%s*(.-)%s*$"
    if value ~= "" then values[#values + 1] = { value = value, text = text } end
  end
end

-- Lines

local function begin(block, tag, rest)
  local handle = tags[tag]
  if not handle then error(("line %d: unknown tag @%s"):format(block.line, tag), 0) end
  return handle(block, rest)
end

-- The lines between two tags: those that continue the first, and those that belong to the second, which says nothing
-- of itself on its own line.
local function divide(entry, entry_line, lines, next_entry)
  local said = entry and select(2, split_type(entry.rest))
  local own = next_entry and next_entry.rest and (said == "" or (select(2, split_type(next_entry.rest)) or "x") == "")
  local kept, line = {}, entry_line
  for i, text in ipairs(lines) do
    local open = entry and is_open(entry.rest .. " " .. table.concat(kept, " "))
    if own and not open and not (entry and was_wrapped(line, text)) then
      return kept, { unpack(lines, i) }
    end
    kept[#kept + 1], line = text, "--- " .. text
  end
  return kept, {}
end



local function add(entry, lines)
  if #lines > 0 then entry.rest = (entry.rest .. " " .. table.concat(lines, " ")):match "^%s*(.-)$" end
end

local function finish(entry)
  local kind, text = split_type(entry.rest)
  if not kind then error("a type isn't closed: " .. entry.rest, 0) end
  entry.type, entry.text, entry.rest = kind, text, nil
  if entry.before then entry.text = entry.before .. (text ~= "" and " " .. text or "") end
  entry.before = nil
end

local function paragraphs(lines)
  local out, now = {}, {}
  for _, line in ipairs(lines) do
    if line == "" then
      if #now > 0 then out[#out + 1] = table.concat(now, " ") end
      now = {}
    else
      now[#now + 1] = line
    end
  end
  if #now > 0 then out[#out + 1] = table.concat(now, " ") end
  return table.concat(out, "\n\n")
end

local function read_block(lines, first)
  local block = { line = first, params = {}, returns = {}, overloads = {} }
  local entry, entry_line, plain, intro = nil, "", {}, {}
  local seen_tag = false
  local function close(next_entry)
    if not seen_tag then
      intro = plain
    elseif entry or next_entry then
      local kept, before = divide(entry, entry_line, plain, next_entry)
      if entry then add(entry, kept) else before = plain end
      if next_entry and #before > 0 then next_entry.before = table.concat(before, " ") end
    end
    plain = {}
  end
  for _, line in ipairs(lines) do
    local tag, rest = line:match "^%-%-%-@(%w+)%s*(.*)$"
    local value = line:match "^%-%-%-%s*|%s*(.*)$"
    if tag then
      local new = begin(block, tag, rest)
      if seen_tag then
        close(new)
      elseif tag == "field" and not block.class.name then -- a class that goes on
        close(new)
      else
        close()
      end
      seen_tag, entry, entry_line = true, new, line
    elseif value and block.alias then
      alias_values(block, value)
    else
      plain[#plain + 1] = line:match "^%-%-%-%s?(.*)$"
    end
  end
  close()
  block.text = paragraphs(intro)
  for _, list in ipairs { block.params, block.returns, block.class and block.class.fields or {} } do
    for _, e in ipairs(list) do finish(e) end
  end
  return block
end

--- The blocks of a file's text, in order.
function M.read(name, text)
  local blocks, now, first, n = {}, {}, nil, 0
  local function done(code)
    if #now == 0 then return end
    local ok, block = pcall(read_block, now, first)
    if not ok then error(("%s:%d: %s"):format(name, first, tostring(block)), 0) end
    block.code, block.file = code, name
    blocks[#blocks + 1] = block
    now = {}
  end
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    n = n + 1
    if line:find "^%s*%-%-%-" and not line:find "^%s*%-%-%-%-" then
      if #now == 0 then first = n end
      now[#now + 1] = line:match "^%s*(.-)$"
    else
      done(line)
    end
  end
  done ""
  return blocks
end

return M
