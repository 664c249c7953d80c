-- reference: doc/reference says what the comments in the source say, and these name every public function, method,
-- event and field that exists, and no other; each has an example, which does what it says.
package.path = "doc/make/?.lua;" .. package.path
local reference = require "reference"
local handles = require "spec.support.handles"
local manual = require "spec.support.manual"
local xmpp = require "xmpp"

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The names of the functions in a table, except those in `except` and `hooks`, which are for the library's own files.
local function functions_in(t, except, hooks)
  local found = {}
  for name, value in pairs(t) do
    if type(value) == "function" and not except[name] and not hooks[name] then found[name] = true end
  end
  return found
end

local function set(list)
  local found = {}
  for _, name in ipairs(list or {}) do found[name] = true end
  return found
end

-- A module of the library; nil if what it needs isn't installed.
local function module_of(page, section)
  local name = section.module or page.module
  if not name then return nil end
  local ok, module = pcall(require, name)
  return ok and module or nil
end

-- The names that the sections with this prefix document.
local function documented(page, prefix)
  local found = {}
  for _, section in ipairs(page.sections) do
    if section.prefix == prefix then
      for _, f in ipairs(reference.functions_of(section)) do found[f.name] = true end
    end
  end
  return found
end

local function is_of_module(page, section)
  return section.prefix:find "%.$" and section.prefix ~= "t.forge." and (section.module or page.module)
end

describe("doc/reference", function()
  it("is what `make reference` writes", function()
    for path, text in pairs(reference.pages()) do
      if manual.read(path) ~= text then error(path .. " isn't what the comments say: run `make reference`", 0) end
    end
    local pipe = assert(io.popen "ls doc/reference")
    for name in pipe:lines() do assert.is_string(reference.pages()["doc/reference/" .. name], name) end
    pipe:close()
  end)

  it("is about every module that programs load", function()
    local own = set { "ascii", "beside", "channel", "client", "contract", "guard", "handle", "load", "logout", "misfit",
      "nearest", "options", "promise", "proxy", "rsm", "saved", "types", "uuid", "version", "wait",
      "init" } -- the library's own
    local there = {}
    for _, page in ipairs(reference.list) do there[page.file] = true end
    local pipe = assert(io.popen "ls lua/xmpp/*.lua")
    for path in pipe:lines() do
      local name = path:match "([%w_]+)%.lua$"
      assert.is_true(own[name] or there[name] or false, name .. " has no page in doc/make/modules.lua")
    end
    pipe:close()
  end)

  it("describes every function", function()
    for _, page in ipairs(reference.list) do
      for _, section in ipairs(page.sections) do
        for _, f in ipairs(reference.functions_of(section)) do
          assert.is_true(f.block.text ~= "", ("%s:%d: %s"):format(f.block.file, f.block.line, f.full))
        end
      end
    end
  end)

  for _, page in ipairs(reference.list) do
    for _, section in ipairs(page.sections) do
      local module = is_of_module(page, section) and module_of(page, section)
      if module then
        it(("has every function of %s*, and no other"):format(section.prefix), function()
          local hooks = section.prefix == "ext." and {} or reference.HOOKS
          if section.prefix == "xmpp." then hooks = {} end
          local except = set(section.internal)
          local there = functions_in(module, except, hooks)
          local said = documented(page, section.prefix)
          for name in pairs(said) do -- a hook that programs may use, too
            if type(module[name]) == "function" then there[name] = true end
          end
          if section.prefix == "xmpp." then
            for _, name in ipairs(handles.conn_methods()) do there[name] = name == "jid" or nil end
            there.connection_jid = nil -- it is conn:jid
          end
          assert.same(sorted(there), sorted(said))
          for name in pairs(except) do assert.is_function(module[name], name) end
        end)
      end
    end
  end
end)

describe("doc/reference, of handles and events,", function()
  local living
  setup(function() living = handles.open() end)
  teardown(function() living.close() end)

  for _, page in ipairs(reference.list) do
    for _, section in ipairs(page.sections) do
      if section.handle then
        it(("has every method of %s*, and no other"):format(section.prefix), function()
          local value = assert(living[section.handle], section.handle)
          local said = sorted(documented(page, section.prefix))
          assert.is_true(#said > 0)
          for _, name in ipairs(said) do assert.is_function(value[name], name) end
          local there = living.methods(section.handle)
          if there then assert.same(there, said) end
        end)
      end
    end
  end

  it("has every event", function()
    for _, page in ipairs(reference.list) do
      local module = page.module and page.module ~= "xmpp" and require(page.module)
      local known = page.events and {} or nil
      for _, e in ipairs(page.events or {}) do known[e[1]] = true end
      local there = module and set(module.events)
      if page.file == "muc" then
        local more = {}
        for _, e in ipairs(page.more_events.list) do more[e[1]] = true end
        assert.same(sorted(there), sorted(more))
        there = living.room_events()
      end
      if known then assert.same(sorted(there), sorted(known)) end
      if not known and module then assert.same({}, sorted(there)) end
    end
  end)

  it("has every field of each type", function()
    local _, by = reference.all_types()
    local unknown = {}
    for class, value in pairs(living.values()) do
      local known = {}
      local block = assert(by[class], class)
      while block do
        for _, f in ipairs(block.class.fields) do known[f.name] = true end
        local parent = block.class.parent
        if parent and parent:find("[integer]", 1, true) then known["[integer]"] = true end
        block = parent and by[parent]
      end
      for name in pairs(value) do
        local is_known = type(name) == "number" and known["[integer]"] or known[name]
        if not is_known then unknown[#unknown + 1] = class .. "." .. tostring(name) end
      end
    end
    table.sort(unknown)
    assert.same({}, unknown) -- fields that aren't annotated
  end)

  it("marks every field that may be missing", function()
    local _, by = reference.all_types()
    local missing = {}
    for class, value in pairs(living.values()) do
      for _, f in ipairs(by[class].class.fields) do
        local may_miss = f.optional or f.type:find "%?$" or f.type:find "nil" or f.name:find "^%[" or f.type == "any"
        if not may_miss and value[f.name] == nil then missing[#missing + 1] = class .. "." .. f.name end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("has every value of the module", function()
    local known, there = {}, {}
    for _, f in ipairs(reference.module_fields()) do known[f.name] = true end
    for name, value in pairs(xmpp) do
      if type(value) ~= "function" then there[name] = true end
    end
    assert.same(sorted(there), sorted(known))
  end)
end)

describe("an example", function()
  local RUN = not jit -- to run them once is enough
  for _, page in ipairs(reference.list) do
    local by, list = reference.examples_of(page)
    it(("exists for each function of the page %s, and for no other"):format(page.file), function()
      local there = {}
      for _, section in ipairs(page.sections) do
        for _, f in ipairs(reference.functions_of(section)) do
          there[f.full] = true
          assert.is_table(by[f.full], f.full .. " has no example in doc/examples/" .. page.file .. ".lua")
        end
      end
      for name in pairs(by) do assert.is_true(there[name] or false, name) end
    end)
    for _, chunk in ipairs(RUN and list or {}) do
      it(("works: %s"):format(chunk.title), function() manual.run(chunk) end)
    end
  end
end)
