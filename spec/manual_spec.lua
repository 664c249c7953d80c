-- manual: README.md, and types.lua for editors, name every function, method and option that there is, and no other.
local fed = require "spec.support.fed"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local README, TYPES = shell.read "README.md", shell.read "lua/xmpp/types.lua"

-- The names that `pattern` finds in `text`, in order.
local function names(text, pattern)
  local found, list = {}, {}
  for name in text:gmatch(pattern) do found[name] = true end
  for name in pairs(found) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- Those of a table's keys that are for functions, or for what else there is.
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

-- Each as it stands in that text: a format of a pattern.
local function expect_all(text, list, as)
  assert.is_true(#list > 0)
  for _, name in ipairs(list) do assert.matches(as:format(name), text) end
end

local OPTIONS = names(shell.read "lua/xmpp/options.lua":match "local known = (%b{})", "([%w_]+) = ")

describe("the manual", function()
  it("has every function, and every method", function()
    expect_all(README, keys(xmpp, true), "%%f[%%w_]%s%%f[^%%w_]")
    expect_all(README, methods(), "conn:%s%%(")
    expect_all(README, keys(xmpp.xexpr, true), "`%s%%(")
  end)

  it("has every option, and no other", function()
    local rows = README:match "## Options\n(.-)\n## "
    local first = ""
    for cell in rows:gmatch "\n| (`[^|]*)|" do first = first .. cell end
    local documented = names(first .. "`on_response`", "`([%w_]+)`") -- which only xmpp.resume has
    assert.same(OPTIONS, documented)
    assert.truthy(README:find("`opts.on_response(", 1, true))
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
