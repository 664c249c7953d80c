-- burst: memory that very many things at once have taken is given back when they are over.
local memory = require "spec.support.memory"

-- How many cycles of the collector it takes: coroutines and JIDs are in Lua tables, which are replaced at the end of
-- the first cycle.
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
