-- A farm with servers, under load, while its parts are killed one after the other: what Redis has is handled, in order, and
-- answered. `make soak` does very much more of it (spec/support/soak).
local redis = require "spec.support.redis"
local run = require "spec.support.farm_run"

local wanted = os.getenv "XMPP_SERVERS"

for _, kind in ipairs { "ejabberd", "prosody" } do
  describe("a farm with " .. (kind == "ejabberd" and "two nodes of ejabberd" or "Prosody"), function()
    if not redis.is_there() then return pending "no redis-server, or no hiredis, here" end
    if wanted and not (" " .. wanted .. " "):find(" " .. kind .. " ", 1, true) then return pending "not wanted" end

    it("loses nothing that Redis has, whatever dies, and keeps each user's order", function()
      local list, wrong, farm = run.farm { kind = kind, users = 12, messages = 6, workers = 4 }
      local lines = { run.HEAD }
      for _, f in ipairs(list) do lines[#lines + 1] = run.line(f) end
      local told = table.concat(lines, "\n")
      assert.same({}, wrong, told .. "\n" .. farm.log)
      assert.equal(#run.EVENTS, #list)
      -- Twelve users are few; `make soak` has a thousand.
      assert.is_true(list[1].spread <= 2.5, told)
    end)
  end)
end
