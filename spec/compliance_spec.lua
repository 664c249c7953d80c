-- compliance: everything that the manual's table for XEP-0479 (doc/compliance.md) claims has a test of its own against
-- real servers.

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- The claims in a page's tables: "what (by)", with the test.
local function claims_of(text)
  local claims = {}
  for what, by, test in text:gmatch "\n|[^|\n]*| ([^|\n]+) | ([^|\n]+) | yes | ([^|\n]*) |" do
    claims[#claims + 1] = { name = ("%s (%s)"):format(what, by), test = test }
  end
  return claims
end

describe("what the manual says to be covered", function()
  local claims = claims_of(read "doc/compliance.md")

  for _, claim in ipairs(claims) do
    it(("has a test: %s"):format(claim.name), function()
      local spec, title = claim.test:match '^`([%w_]+)`: "(.+)"$'
      assert.is_string(spec, claim.test)
      local text = read(("spec/%s_spec.lua"):format(spec))
      assert.truthy(text:find(('it("%s", function'):format(title), 1, true), title)
      assert.truthy(text:find("server.each", 1, true) or text:find("server.start", 1, true), spec)
    end)
  end

  it("is a table of some length", function() assert.is_true(#claims >= 23, #claims) end)
end)
