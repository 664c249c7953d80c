-- reference: writes doc/reference/*.md from the annotations of the library's files (annotations.lua), by the list of
-- pages in modules.lua, with the examples of doc/examples.
--
--   lua5.4 doc/make/reference.lua          in the repository's root; `make reference` does that
--
-- spec/manual_spec.lua fails when the files that are committed aren't what this would write.
local M = {}

local folder = arg and arg[0] and arg[0]:match "^(.*/)reference%.lua$" or "doc/make/"
if not package.path:find(folder, 1, true) then package.path = folder .. "?.lua;./?.lua;" .. package.path end
local annotations = require "annotations"
local manual = require "spec.support.manual"
local pages = require "modules"
local unpack = table.unpack or unpack -- luacheck: ignore 143

local GENERATED = "<!-- Made by `make reference` from the comments in lua/xmpp and from doc/examples. Edit those. -->"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- Annotations

local cache = {}

local function blocks_of(file)
  cache[file] = cache[file] or annotations.read("lua/xmpp/" .. file, read("lua/xmpp/" .. file))
  return cache[file]
end

-- What a line of code defines: the table, the name, the parameters (nil: none are known), is it written with a colon?
local function defined(code)
  local owner, separator, name, parameters = code:match "^%s*function ([%w_%.]-)([%.:])([%w_]+)%((.-)%)"
  if owner then return owner, name, parameters, separator == ":" end
  owner, name = code:match "^([%w_%.]-)%.([%w_]+) = "
  return owner, name, nil, false
end

-- Parameters of a function by its `---@type fun(...)`.
local function of_type(block)
  local inside, result = (block.type or ""):match "^fun%((.-)%):?%s*(.*)$"
  if not inside then return nil end
  local names = {}
  for name, optional, kind in inside:gmatch "([%w_]+)(%??): ([^,]+)" do
    names[#names + 1] = name
    block.params[#block.params + 1] = { name = name, optional = optional == "?", type = kind, text = "" }
  end
  for kind in result:gmatch "[^,%s][^,]*" do block.returns[#block.returns + 1] = { type = kind, text = "" } end
  block.type = nil
  return table.concat(names, ", ")
end

local function has(list, name)
  for _, entry in ipairs(list or {}) do
    if entry == name then return true end
  end
  return false
end

-- The functions of a section, in the order in which they are written.
local function functions_of(section)
  local found, seen = {}, {}
  for _, source in ipairs(section.sources) do
    for _, block in ipairs(blocks_of(source[1])) do
      local owner, name, parameters = defined(block.code)
      local is_function = block.code:find "function" or (block.type or ""):find "^fun" or block.said_parameters
      if owner == source[2] and is_function and not has(section.internal, name)
        and (not section.only or has(section.only, name)) and not seen[name] then
        local is_hook = M.HOOKS[name] and #block.params == 0 and #block.returns == 0 and section.prefix:find "%.$"
          and section.prefix ~= "ext."
        if not is_hook then
          seen[name] = true
          if parameters == nil then parameters = of_type(block) or block.said_parameters end
          block.said_parameters = parameters
          found[#found + 1] = { name = name, full = section.prefix .. name, block = block,
            parameters = parameters or "" }
        end
      end
    end
  end
  return found
end
M.functions_of = functions_of

-- What an extension's table has that isn't for programs (see xmpp/ext.lua).
M.HOOKS = { start = true, session = true, resumed = true, lost = true, stop = true, save = true, load = true,
  name = true, needs = true, features = true, events = true, methods = true, taps = true, adds = true }

-- Text

-- Words that are code, and not marked so in a comment: conn:send, opts.on, muc/ask.lua, { name =?, jid = }, nil.
local NO_CODE = { ["e.g"] = true, ["i.e"] = true }

local function is_domain(word)
  return word:find "%.net$" or word:find "%.org$" or word:find "%.example$" or word:find "%.com$" or word:find "%.test$"
end

-- Calls f with each piece of a text, and whether it stands in backticks; f gives what to put in its place.
local function pieces(text, f)
  local out, at = {}, 1
  while true do
    local from, to = text:find("`[^`]*`", at)
    if at <= (from or #text + 1) - 1 then out[#out + 1] = f(text:sub(at, from and from - 1 or -1), false) end
    if not from then break end
    out[#out + 1] = f(text:sub(from, to), true)
    at = to + 1
  end
  return table.concat(out)
end

local function outside(text, pattern, replace)
  return pieces(text, function(piece, is_code)
    return is_code and piece or (piece:gsub(pattern, replace))
  end)
end

local function mark_code(text)
  text = outside(text, "{ [^{}]*= ?[^{}]*}", "`%0`")
  text = outside(text, "%f[%w_][%w_]+/[%w_/]+%.lua%f[%W]", "`%0`")
  text = outside(text, "%f[%w_]%a[%w_]*[%.:]%l[%w_%.:]*", function(word)
    local name, rest = word:match "^(.-)([%.:]*)$"
    if NO_CODE[name] or is_domain(name) or name:find "^%u" then return nil end
    return "`" .. name .. "`" .. rest
  end)
  text = outside(text, "%f[%w_](%l[%l%d]*_[%l_%d]+)%f[^%w_]", "`%1`")
  return outside(text, "%f[%w_\"](%l+)%f[^%w_\"]", function(word)
    return (word == "nil" or word == "true" or word == "false") and "`" .. word .. "`" or nil
  end)
end

local function escaped(text)
  return (text:gsub("[<>%*_%[%]#|\\]", function(c)
    if c == "<" then return "&lt;" end
    if c == ">" then return "&gt;" end
    return "\\" .. c
  end))
end

-- Text of a comment as Markdown.
local function prose(text)
  return pieces(mark_code(text), function(piece, is_code) return is_code and piece or escaped(piece) end)
end
M.prose = prose

local function capital(text) return (text:gsub("^%l", string.upper)) end -- code begins with a backtick, and stays

local function slug(title)
  return (title:lower():gsub("[^%w%s%-_]", ""):gsub("%s", "-"))
end

-- A type, with links to the types that it names.
local function type_text(kind, known)
  local out, at = {}, 1
  local function code(s) if s ~= "" then out[#out + 1] = "`" .. s .. "`" end end
  while true do
    local from, to = kind:find("xmpp%.%u%w*", at)
    if not from then break end
    local name = kind:sub(from, to)
    if known[name] then
      code(kind:sub(at, from - 1))
      out[#out + 1] = ("[`%s`](types.md#%s)"):format(name, slug(name))
      at = to + 1
    else
      code(kind:sub(at, to))
      at = to + 1
    end
  end
  code(kind:sub(at))
  return table.concat(out)
end

-- Parameters

-- "{ timeout: number?, from: string|xmpp.Jid|nil }?" -> the fields; nil: it is no such table, or more than that.
local function fields_of(kind)
  local inside = kind:match "^{ (.*) }%??$"
  if not inside or kind:find "^{ %[" then return nil end
  local fields, depth, from = {}, 0, 1
  local function add(text)
    local name, optional, what = text:match "^%s*([%w_]+)(%??):%s*(.-)%s*$"
    if not name then return false end
    fields[#fields + 1] = { name = name, type = what, optional = optional == "?" }
    return true
  end
  for i = 1, #inside do
    local c = inside:sub(i, i)
    if c:find "[%({%[<]" then depth = depth + 1 elseif c:find "[%)}%]>]" then depth = depth - 1 end
    if depth < 0 then return nil end
    if c == "," and depth == 0 then
      if not add(inside:sub(from, i - 1)) then return nil end
      from = i + 1
    end
  end
  return add(inside:sub(from)) and fields or nil
end

-- "timeout: of each; max (1,000): so many" -> what is said of each field, and what is said besides.
local function texts_of(text, fields)
  local by, rest, now = {}, {}, nil
  local known = {}
  for _, f in ipairs(fields) do known[f.name] = true end
  for part in (text .. "; "):gmatch "(.-); " do
    local name, behind = part:match "^([%w_]+)(.*)$"
    if name and known[name] and behind:find "^[:%s%(]" and (behind:find "^:" or behind:find "^ ?%(") then
      now = name
      by[name] = (behind:gsub("^:%s*", ""):gsub("^%s+", ""))
    elseif now then
      by[now] = by[now] .. "; " .. part
    else
      rest[#rest + 1] = part
    end
  end
  return by, table.concat(rest, "; ")
end

local function add_fields(out, fields, by, known, indent)
  for _, f in ipairs(fields) do
    local text = by[f.name] and by[f.name] ~= "" and ": " .. prose(by[f.name]) or ""
    local kind = f.type:gsub("%?$", ""):gsub("|nil$", "")
    out[#out + 1] = ("%s- `%s` %s%s"):format(indent, f.name, type_text(kind, known), text)
  end
end

-- Fields that are said by words alone, of a parameter of type table: "name (default): text; name: text".
local function worded_fields(text)
  local list, now = {}, nil
  for part in (text .. "; "):gmatch "(.-); " do
    local name, behind = part:match "^([%w_]+)(.*)$"
    local is_new = name and (behind:find "^: " or behind:find "^ %b():" or behind:find "^%b(): ")
    if is_new then
      local arguments = behind:match "^%b()%f[:]" or ""
      now = { name = name .. arguments, text = (behind:sub(#arguments + 1):gsub("^:%s*", ""):gsub("^%s+", "")) }
      list[#list + 1] = now
    elseif now then
      now.text = now.text .. "; " .. part
    else
      return nil
    end
  end
  return #list > 1 and list or nil
end

local function add_parameter(out, p, known)
  local optional = p.optional or p.type:find "|nil$" ~= nil
  local kind = p.optional and p.type or p.type:gsub("|nil$", "")
  local fields = fields_of(kind)
  local suffix = optional and ", optional" or ""
  if fields then
    local by, rest = texts_of(p.text, fields)
    out[#out + 1] = ("- `%s`: table%s%s"):format(p.name, suffix, rest ~= "" and ". " .. capital(prose(rest)) or "")
    return add_fields(out, fields, by, known, "  ")
  end
  local worded = kind == "table" and worded_fields(p.text)
  if worded then
    out[#out + 1] = ("- `%s`: table%s"):format(p.name, suffix)
    for _, f in ipairs(worded) do out[#out + 1] = ("  - `%s`: %s"):format(f.name, prose(f.text)) end
    return
  end
  out[#out + 1] = ("- `%s`: %s%s%s"):format(p.name, type_text(kind, known), suffix,
    p.text ~= "" and ". " .. capital(prose(p.text)) or "")
end

local NAMED = { ok = true, err = true, off = true, conn = true, stanza = true, id = true, handler = true, room = true,
  list = true, page = true, info = true, items = true, r = true, c = true, b = true, g = true, m = true, st = true,
  last = true, reached = true, stamp = true, response = true, saved = true, token = false, found = true, card = true,
  answer = true, values = true, why = true, form = true, url = true, service = true, steps = true, well = true,
  result = true, payload = true, bytes = true, got = true, prefs = true, tree = true, rooms = true, key = true,
  nick = true, handle = true, sent = true, before = true, direction = true, promise = true, dispatched = true,
  done = true, says = true, stopped = true, settled = true, offset = true, names = true, archive_id = true,
  stanza_id = true, hue = true, red = true, green = true, blue = true, integer = true, text = false, value = true,
  localpart = true, message = true, node = true, timeout = true, data = true, condition = false }

local function return_text(r, known)
  local name, rest = r.text:match "^([%l_]+)%f[^%w_]%s*(.*)$"
  local kind = type_text(r.type, known)
  if (name == "ok" or name == "true") and r.type:find "^boolean" or r.type:find "^true" then
    local more = r.text:gsub("^ok%f[%W]%s*", ""):gsub("^true%f[%W]%s*", ""):gsub("^[;:,]%s*", "")
    return more ~= "" and "`true`: " .. prose(more) or "`true`"
  end
  if name and NAMED[name] then
    if rest ~= "" then return ("%s `%s`: %s"):format(kind, name, prose(rest)) end
    local is_plain = r.type:find "^number" or r.type:find "^integer" or r.type:find "^string"
    return is_plain and ("%s `%s`"):format(kind, name) or kind
  end
  return r.text ~= "" and ("%s: %s"):format(kind, prose(r.text)) or kind
end

-- The usual two: what there is, or nil and an error.
local function add_result(out, first, err, known)
  local kind = first.type:gsub("%?$", ""):gsub("|nil$", "")
  local said = return_text({ type = kind, text = first.text }, known)
  local why = err.text:gsub("^err%f[%W]%s*", "")
  out[#out + 1] = ("Returns %s; or `nil` and an [`xmpp.Error`](types.md#xmpperror)%s."):format(said,
    why ~= "" and ": " .. prose(why) or "")
end

local function add_returns(out, returns, known)
  if #returns == 0 then return end
  out[#out + 1] = ""
  local second = returns[2]
  if #returns == 2 and second.type == "xmpp.Error?" and returns[1].type:find "%?$" then
    add_result(out, returns[1], second, known)
  elseif #returns == 1 then
    out[#out + 1] = "Returns " .. return_text(returns[1], known) .. "."
  else
    out[#out + 1] = "Returns"
    out[#out + 1] = ""
    for i, r in ipairs(returns) do out[#out + 1] = ("%d. %s"):format(i, return_text(r, known)) end
  end
  out[#out] = out[#out]:gsub("([%.%?!])%.$", "%1")
end

-- Functions

local function signature(f, section)
  local optional = {}
  for _, p in ipairs(f.block.params) do optional[p.name] = p.optional end
  local out, open = {}, 0
  local first = true
  local skip = section.self
  for name in f.parameters:gmatch "[^,%s]+" do
    if skip then
      skip = false
    else
      local separator = first and "" or ", "
      if optional[name] then
        out[#out + 1] = (first and "[" or " [") .. separator .. name
        open = open + 1
      else
        out[#out + 1] = separator .. name
      end
      first = false
    end
  end
  return f.full .. "(" .. table.concat(out) .. ("]"):rep(open) .. ")"
end

local function anchors(list)
  local by = {}
  for _, f in ipairs(list) do by[f.full] = slug(f.full) end
  return by
end

local function add_example(out, f, examples, shown, where)
  local e = examples[f.full]
  if not e then return end
  out[#out + 1] = ""
  if shown[e] then
    out[#out + 1] = ("Example: see [`%s`](#%s)."):format(shown[e], where[shown[e]])
    return
  end
  shown[e] = f.full
  out[#out + 1] = "```lua"
  out[#out + 1] = e.shown
  out[#out + 1] = "```"
end

local function add_function(out, f, section, known, examples, shown, where)
  out[#out + 1] = ""
  out[#out + 1] = "### " .. f.full
  out[#out + 1] = ""
  out[#out + 1] = "    " .. signature(f, section)
  if f.block.text ~= "" then
    out[#out + 1] = ""
    out[#out + 1] = prose(f.block.text)
  end
  local params = {}
  for i, p in ipairs(f.block.params) do
    local is_plain_conn = p.name == "conn" and p.text == ""
    local is_self = section.self and i == 1 and f.parameters:match "^[%w_]+" == p.name
    if not is_plain_conn and not is_self then add_parameter(params, p, known) end
  end
  if #params > 0 then
    out[#out + 1] = ""
    for _, line in ipairs(params) do out[#out + 1] = line end
  end
  add_returns(out, f.block.returns, known)
  add_example(out, f, examples, shown, where)
end

-- Events

local function add_events(out, of, list)
  out[#out + 1] = ""
  out[#out + 1] = ("## Events of %s"):format(of:find "%(" and "`" .. of .. "`" or "`" .. of .. "`")
  out[#out + 1] = ""
  out[#out + 1] = ("`%s:on(event, f)` has `f` called with:"):format(of)
  out[#out + 1] = ""
  for _, e in ipairs(list) do
    local arguments = e[2] ~= "" and "`" .. e[2] .. "`" or "nothing"
    out[#out + 1] = ('- **%s** (%s): %s.'):format((e[1]:gsub("_", "\\_")), arguments, e[3])
  end
  out[#out + 1] = '- **closed** (`err`): the connection has ended.'
end

-- Pages

--- The examples of a page by the functions' full names.
function M.examples_of(page)
  local path = "doc/examples/" .. page.file .. ".lua"
  local by, list = {}, {}
  if not exists(path) then return by, list end
  list = manual.examples(path)
  for _, e in ipairs(list) do
    for _, name in ipairs(e.names) do
      if by[name] then error(("%s:%d: %s has an example already"):format(path, e.line, name), 0) end
      by[name] = e
    end
  end
  return by, list
end

local function page_text(page, known)
  local out = { "# " .. page.title, "", GENERATED, "", page.intro }
  if page.module and page.module ~= "xmpp" then
    out[#out + 1] = ""
    out[#out + 1] = ("    local %s = require \"%s\""):format(page.module:match "[%w_]+$", page.module)
  end
  local links = {}
  for i, g in ipairs(page.guide) do links[i] = ("[%s](../%s.md)"):format(g[2], g[1]) end
  out[#out + 1] = ""
  out[#out + 1] = "Guide: " .. table.concat(links, ", ") .. "."
  local examples, shown, where = M.examples_of(page), {}, {}
  for _, section in ipairs(page.sections) do
    for name, anchor in pairs(anchors(functions_of(section))) do where[name] = anchor end
  end
  for i, section in ipairs(page.sections) do
    if #page.sections > 1 or i > 1 then
      out[#out + 1] = ""
      out[#out + 1] = "## " .. section.title
    end
    if section.intro then
      out[#out + 1] = ""
      out[#out + 1] = section.intro
    end
    for _, f in ipairs(functions_of(section)) do add_function(out, f, section, known, examples, shown, where) end
  end
  if page.module == "xmpp" then
    out[#out + 1] = "\n## Values"
    M.add_class(out, { fields = M.module_fields() }, known)
  end
  if page.events then add_events(out, page.events_of, page.events) end
  if page.more_events then add_events(out, page.more_events.of, page.more_events.list) end
  return table.concat(out, "\n") .. "\n"
end

-- Types

local TYPE_FILES = { "types.lua", "chat/methods.lua", "bot.lua", "bot/context.lua", "command/dialog.lua",
  "testing/upload.lua", "loop/driver.lua" }

-- All classes and aliases, each once: the block that has the most to say.
local function all_types()
  local list, by = {}, {}
  for _, file in ipairs(TYPE_FILES) do
    for _, block in ipairs(blocks_of(file)) do
      local it = block.class or block.alias
      if it and it.name and it.name:find "^xmpp%." then
        if not by[it.name] then
          by[it.name] = block
          list[#list + 1] = it.name
        elseif block.class and #block.class.fields > #by[it.name].class.fields then
          by[it.name] = block
        end
      end
    end
  end
  table.sort(list, function(a, b) return a:lower() < b:lower() end)
  return list, by
end
M.all_types = all_types

-- The values of the module xmpp itself.
function M.module_fields()
  for _, block in ipairs(blocks_of "types.lua") do
    if block.class and block.class.name == "xmpp" then return block.class.fields end
  end
end

local function add_class(out, class, known)
  if class.parent then
    out[#out + 1] = ""
    out[#out + 1] = "Also has the fields of " .. type_text(class.parent, known) .. "."
  end
  local lines = {}
  for _, f in ipairs(class.fields) do
    if f.name ~= "private" then
      local kind = f.type
      local optional = f.optional and ", optional" or ""
      lines[#lines + 1] = ("- `%s`: %s%s%s"):format(f.name, type_text(kind, known), optional,
        f.text ~= "" and ". " .. capital(prose(f.text)) or "")
    end
  end
  if #lines > 0 then out[#out + 1] = "" end
  for _, line in ipairs(lines) do out[#out + 1] = line end
end

M.add_class = add_class

local function add_alias(out, alias, known)
  if alias.type ~= "" then
    out[#out + 1] = ""
    out[#out + 1] = type_text(alias.type, known)
  end
  if #alias.values == 0 then return end
  out[#out + 1] = ""
  local is_list = false
  for _, v in ipairs(alias.values) do is_list = is_list or v.text ~= nil end
  if is_list or alias.values[1].value:find "^fun" then
    for _, v in ipairs(alias.values) do
      out[#out + 1] = "- " .. type_text(v.value, known) .. (v.text and ": " .. prose(v.text) or "")
    end
    return
  end
  local list = {}
  for i, v in ipairs(alias.values) do list[i] = type_text(v.value, known) end
  out[#out + 1] = "One of " .. table.concat(list, ", ") .. "."
end

local function types_text(list, by, known)
  local out = { "# Types", "", GENERATED, "",
    "The tables that functions take and return, and the words that stand for several values. A type that ends in "
      .. "`?` may be `nil`; a field that is optional may be left out. Times are seconds, fractions allowed; sizes are "
      .. "bytes; strings are UTF-8." }
  for _, name in ipairs(list) do
    local block = by[name]
    out[#out + 1] = ""
    out[#out + 1] = "## " .. name
    if block.text ~= "" then
      out[#out + 1] = ""
      out[#out + 1] = prose(block.text)
    end
    if block.class then add_class(out, block.class, known) else add_alias(out, block.alias, known) end
  end
  return table.concat(out, "\n") .. "\n"
end

-- The contents

local function index_text(list)
  local out = { "# Reference", "", GENERATED, "",
    "Every public function, method and type. The pages are made from the comments in the source; each example is run "
      .. "by the tests.", "" }
  for _, page in ipairs(pages) do
    local summary = page.intro:match "^(.-%.)%s" or page.intro
    out[#out + 1] = ("- [%s](%s.md): %s"):format(page.title, page.file, summary)
  end
  out[#out + 1] = ("- [Types](types.md): %d types."):format(#list)
  return table.concat(out, "\n") .. "\n"
end

--- All pages: path -> text.
function M.pages()
  local list, by = all_types()
  local known = {}
  for name in pairs(by) do known[name] = true end
  local out = {}
  for _, page in ipairs(pages) do out["doc/reference/" .. page.file .. ".md"] = page_text(page, known) end
  out["doc/reference/types.md"] = types_text(list, by, known)
  out["doc/reference/README.md"] = index_text(list)
  return out
end

M.list = pages

if arg and arg[0] and arg[0]:find "reference%.lua$" and not ... then
  os.execute "mkdir -p doc/reference"
  for path, text in pairs(M.pages()) do
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
  end
end

M.unpack = unpack
return M
