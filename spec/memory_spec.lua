-- memory: very much of everything leaves nothing behind: a tenth of what `make soak` does.
local memory = require "spec.support.memory"

-- What the largest burst has left is another's each time, as malloc gives no page back that is in part taken; what
-- leaks does so every time.
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

-- How many cycles of the collector that takes: coroutines and JIDs are found in tables of Lua's, which are replaced at
-- the end of the first.
local BURSTS = {
  { "cancelled", 200000, 1 }, { "fired", 200000, 1 }, { "asked", 50000, 1 }, { "lost", 50000, 1 },
  { "slept", 50000, 2 }, { "jids", 100000, 2 },
}

describe("memory is given back by", function()
  for _, burst in ipairs(BURSTS) do
    local deed, n, cycles = burst[1], burst[2], burst[3]
    it(n .. " " .. deed, function()
      local told = memory.burst(deed, n)
      assert.is_true(told[1 + cycles] <= 1.3 * told[1], told[1 + cycles] / told[1])
    end)
  end
end)

describe("memory that is not flat", function()
  local function wrong(changes)
    local told = { RESIDENT = 0, LUA = 0, DESCRIPTORS = 0, REFERENCES = 0, OBJECTS = 0, BUSY = "no" }
    for key, value in pairs(changes) do told[key] = value end
    return memory.wrong(told)
  end

  it("is seen", function()
    assert.same({}, wrong { RESIDENT = 64, LUA = -3 })
    assert.same({ "resident: 65 KiB more" }, wrong { RESIDENT = 65 })
    assert.same({ "descriptors: 1 more" }, wrong { DESCRIPTORS = 1 })
    assert.same({ "references: 2 more", "objects: 3 more" }, wrong { REFERENCES = 2, OBJECTS = 3 })
    assert.same(1, #wrong { BUSY = "yes" })
    assert.same({ "no" }, memory.wrong(nil, "no"))
  end)
end)
