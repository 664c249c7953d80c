-- compliance: the README's table of XEP-0479 claims nothing that has no test of its own against real servers.

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

describe("what the README says to be covered", function()
  local table_of = read "README.md":match "\n## What it covers\n(.-)\n## "
  local claims = 0
  for what, by, test in table_of:gmatch "\n|[^|\n]*| ([^|\n]+) | ([^|\n]+) | yes | ([^|\n]*) |" do
    claims = claims + 1
    it(("is tried: %s (%s)"):format(what, by), function()
      local spec, title = test:match '^`([%w_]+)`: "(.+)"$'
      assert.is_string(spec, test)
      local text = read(("spec/%s_spec.lua"):format(spec))
      assert.truthy(text:find(('it("%s", function'):format(title), 1, true), title)
      assert.truthy(text:find("server.each", 1, true) or text:find("server.start", 1, true), spec)
    end)
  end

  it("is a table of some length", function() assert.is_true(claims >= 23, claims) end)
end)
