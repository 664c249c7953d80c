-- manual: the guides in doc/, and types.lua for editors, name every function, method and option that there is, and no
-- other; and the Lua that the guides and the README show does what they say. (What they show as whole programs, and for
-- the shell, is run by manual_live_spec, the reference's examples by reference_spec.)
local fed = require "spec.support.fed"
local manual = require "spec.support.manual"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local unpack = table.unpack or unpack -- luacheck: ignore 113 143
local TYPES = shell.read "lua/xmpp/types.lua"
local pages = manual.pages()

-- The names that `pattern` finds in `text`, in order.
local function names(text, pattern)
  local found, list = {}, {}
  for name in text:gmatch(pattern) do found[name] = true end
  for name in pairs(found) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The keys of a table whose values are functions, or those whose values aren't.
local function keys(t, functions)
  local list = {}
  for name, value in pairs(t) do
    if (type(value) == "function") == functions then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function methods()
  local f, list = fed.open { jid = "me@xmpp.test/here" }, {}
  for _, name in ipairs(keys(xmpp, true)) do
    if f.conn[name] then list[#list + 1] = name end
  end
  f:feed "</stream:stream>"
  return list
end

-- Each name is in the text, in the form of the pattern `as`.
local function expect_all(text, list, as)
  assert.is_true(#list > 0)
  for _, name in ipairs(list) do assert.matches(as:format(name), text) end
end

local OPTIONS = names(shell.read "lua/xmpp/options.lua":match "local known = (%b{})", "([%w_]+) = ")

-- The text of all guides.
local function guides()
  local out = {}
  for _, path in ipairs(pages) do
    if path:find "^doc/" then out[#out + 1] = manual.read(path) end
  end
  return table.concat(out, "\n")
end

describe("the guides", function()
  it("have every function, and every method", function()
    local text = guides()
    expect_all(text, keys(xmpp, true), "%%f[%%w_]%s%%f[^%%w_]")
    expect_all(text, methods(), "conn:%s%%f[^%%w_]")
    expect_all(text, keys(xmpp.xexpr, true), "%%f[%%w_]%s%%f[^%%w_]")
  end)
end)

describe("types.lua", function()
  it("has every function and every value", function()
    expect_all(TYPES, keys(xmpp, true), "xmpp%%.%s%%f[^%%w_]")
    expect_all(TYPES, keys(xmpp, false), "%%-%%-%%-@field %s%%f[^%%w_]")
  end)

  it("has every method, and no other", function()
    assert.same(methods(), names(TYPES, "\nfunction Conn:([%w_]+)"))
  end)

  it("has every option, and no other", function()
    assert.same(OPTIONS, names(TYPES:match "@class xmpp.Opts\n(.-)\n\n", "%-%-%-@field ([%w_]+)"))
  end)
end)

-- The guides

describe("doc/options.md", function()
  it("has every option, and no other", function()
    local cells = {}
    for cell in manual.read "doc/options.md":gmatch "\n| (`[^|]*)|" do cells[#cells + 1] = cell end
    assert.same(OPTIONS, names(table.concat(cells), "`([%w_]+)`"))
  end)
end)

describe("doc/errors.md", function()
  it("has every layer, and no other", function()
    local layers = TYPES:match "@alias xmpp.Layer\n(.-)\n\n"
    local rows = manual.read "doc/errors.md":match "\n## Layers\n(.-)\n## "
    assert.same(names(layers, '"(%w+)"'), names(rows, '\n| "(%w+)" |'))
  end)
end)

describe("doc/racket.md", function()
  it("has names that there are", function()
    local seed = manual.read "doc/racket.md":match "\n| Racket | Lua |\n(.-)\n\n"
    local there = {}
    for _, name in ipairs(methods()) do there[name] = true end
    for name in seed:gmatch "`conn:([%w_]+)" do assert.is_true(there[name] or name == "jid", name) end
    for name in seed:gmatch "`xmpp%.([%w_]+)" do assert.truthy(xmpp[name], name) end
    assert.is_true(#names(seed, "`([%a>?/!-]+)`") >= 25) -- of Racket's
  end)
end)

-- Marks before code blocks: "not run: why", "program NAME", "module NAME".
local function is_known(mark)
  return mark:find "^not run: %S+ " or mark:find "^program [%w-]+$" or mark:find "^module %w+$"
end

for _, path in ipairs(pages) do
  describe(path, function()
    local chunks, blocks = manual.markdown(path)
    for _, chunk in ipairs(chunks) do
      it(("has a working example: %s"):format(chunk.title), function() manual.run(chunk) end)
    end
    it("marks every other block with the reason why it isn't run", function()
      for _, block in ipairs(blocks) do
        if block.mark then
          assert.truthy(is_known(block.mark), ("%s:%d: %s"):format(block.path, block.line, block.mark))
        end
        if block.kind == "lua" then manual.compile(block) end
        if block.kind == "c" then
          local file = shell.file(block.code)
          finally(function() os.remove(file) end)
          shell.succeed(("cc -std=c11 -Wall -Wextra -Werror -fsyntax-only -Ic/embed $(pkg-config --cflags lua5.4) "
            .. "-x c %s"):format(file))
        end
      end
    end)
    it("has no line that is too long to be read in an editor", function()
      local in_code, n = false, 0
      for line in manual.read(path):gmatch "([^\n]*)\n" do
        n = n + 1
        if line:find "^```" then in_code = not in_code end
        local is_long = #line > (in_code and 130 or 150)
        if is_long and not line:find "^|" and not line:find "^<!%-%-" then
          error(("%s:%d: %d bytes"):format(path, n, #line), 0)
        end
      end
    end)
  end)
end

describe("the runner of the manual's examples", function()
  -- What is wrong with a page that contains this text; nil: nothing.
  local function fault(text)
    local path = os.tmpname() .. ".md"
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    finally(function() os.remove(path) end)
    local ok, err = pcall(function()
      for _, chunk in ipairs((manual.markdown(path))) do manual.run(chunk) end
    end)
    return not ok and tostring(err):gsub("^.-%.md:", "") or nil
  end

  it("reports what is wrong, with the line", function()
    local function page(code) return "# A\n\n## B\n\n```lua\n" .. code .. "\n```\n" end
    assert.is_nil(fault(page "print(1 + 1)  --> 2"))
    assert.matches("^6: this line is to print\n  3\nand has printed\n  2", fault(page "print(1 + 1)  --> 3"))
    assert.matches("has printed\n  nothing", fault(page "local f = function() print(1) end  --> 1"))
    assert.matches("^6: oh no", fault(page 'error "oh no"'))
    assert.matches("sent and not expected", fault(page 'conn:send { "presence" }'))
    assert.matches("left over", fault(page "local c = conn xmpp.after(60, print)"))
    assert.matches("isn't closed", fault "# A\n\n```lua\nprint(1)\n")
  end)

  it("runs the blocks of a section together, including hidden ones", function()
    local text = "# A\n\n<!-- lua\nlocal a = 1\n-->\n\n## B\n\n```lua\nlocal b = a + 1\n```\n\n"
      .. "<!-- lua\nb = b + 1\n-->\n```lua\nprint(b)  --> 3\n```\n\n## C\n\n```lua\nprint(a, b)  --> 1 nil\n```\n"
    assert.is_nil(fault(text))
  end)
end)

-- Lines that are neither empty nor comments alone.
local function lines_of_code(block)
  local n = 0
  for line in (block.code .. "\n"):gmatch "(.-)\n" do
    if line:find "%S" and not line:find "^%s*%-%-" then n = n + 1 end
  end
  return n
end

describe("a program in the manual", function()
  local of = {}
  for _, path in ipairs(pages) do
    for _, block in ipairs(select(2, manual.markdown(path))) do
      local name = block.mark and block.mark:match "^program ([%w-]+)$"
      if name then of[name] = block end
    end
  end

  it("has at most 20 lines", function()
    for name, block in pairs(of) do
      local n = lines_of_code(block)
      assert.is_true(n <= 20, name .. ": " .. n)
    end
  end)

  it("is shown for what most people build", function()
    local function count(...)
      local sum = 0
      for _, name in ipairs { ... } do sum = sum + lines_of_code(assert(of[name], name .. " isn't shown")) end
      return sum
    end
    for _, job in ipairs { { "echo" }, { "room" }, { "roster" }, { "component" }, { "archive" },
      { "pep-publish", "pep-watch" } } do
      local n = count(unpack(job))
      assert.is_true(n <= 20, table.concat(job, " and ") .. ": " .. n)
    end
  end)
end)

describe("the figures in README.md and doc/performance.md", function()
  it("are those that were measured last", function()
    shell.in_folder(function(folder)
      shell.succeed(("mkdir -p %s/doc %s/spec/bench/results && cp README.md %s && cp doc/performance.md %s/doc "
        .. "&& cp spec/bench/results/table.md %s/spec/bench/results && here=$PWD && cd %s "
        .. "&& %s $here/spec/bench/readme.lua"):format(folder, folder, folder, folder, folder, folder,
        os.getenv "LUA" or "lua5.4"))
      for _, path in ipairs { "README.md", "doc/performance.md" } do
        local is_same = shell.read(folder .. "/" .. path) == shell.read(path)
        if not is_same then error(path .. ": run spec/bench/readme.lua", 0) end
      end
    end)
  end)
end)

describe("the unit in doc/deploying.md", function()
  it("is accepted by systemd", function()
    if shell.run "command -v systemd-analyze" == "" then return pending "the unit (there is no systemd-analyze)" end
    local unit = manual.read "doc/deploying.md":match "```ini\n(%[Unit%].-)```"
    shell.in_folder(function(folder)
      local file = assert(io.open(folder .. "/bot.service", "w"))
      file:write((unit:gsub("/usr/local/bin/xmpp", "/bin/true")))
      file:close()
      shell.succeed(("systemd-analyze verify %s/bot.service"):format(folder))
    end)
  end)
end)
