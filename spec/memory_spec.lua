-- memory: very many operations of every kind leave no memory in use: a tenth of what `make soak` does.
local memory = require "spec.support.memory"

-- Memory that the largest burst leaves resident varies, since malloc gives no page back that is partly used; a leak
-- shows every time.
local function best_of_three(deed, n)
  local wrong
  for _ = 1, 3 do
    wrong = memory.wrong(memory.run(deed, n))
    if not (#wrong == 1 and wrong[1]:find "^resident") then break end
  end
  return wrong
end

describe("a process is left as it was by", function()
  for _, deed in ipairs(memory.DEEDS) do
    local n = memory.SHORT[deed]
    it(n .. " " .. deed, function() assert.same({}, best_of_three(deed, n)) end)
  end
end)

describe("memory that grows", function()
  local function wrong(changes)
    local told = { RESIDENT = 0, LUA = 0, DESCRIPTORS = 0, REFERENCES = 0, OBJECTS = 0, BUSY = "no" }
    for key, value in pairs(changes) do told[key] = value end
    return memory.wrong(told)
  end

  it("is reported", function()
    assert.same({}, wrong { RESIDENT = 64, LUA = -3 })
    assert.same({ "resident: 65 KiB more" }, wrong { RESIDENT = 65 })
    assert.same({ "descriptors: 1 more" }, wrong { DESCRIPTORS = 1 })
    assert.same({ "references: 2 more", "objects: 3 more" }, wrong { REFERENCES = 2, OBJECTS = 3 })
    assert.same(1, #wrong { BUSY = "yes" })
    assert.same({ "no" }, memory.wrong(nil, "no"))
  end)
end)
