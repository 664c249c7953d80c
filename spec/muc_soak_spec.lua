-- A bot in rooms, with links that are cut and a server that is restarted: every question that is asked is answered
-- once. `make soak` does much more of it (spec/support/soak).
local server = require "spec.support.server"
local soak_rooms = require "spec.support.soak_rooms"

local SEED = tonumber(os.getenv "SOAK_SEED") or 1

local function passes(s, o)
  o.seed, o.rooms = SEED, 5
  local figures, wrong = soak_rooms.run(s, o)
  local told = figures and soak_rooms.HEAD .. "\n" .. soak_rooms.line(figures)
  assert.same({}, wrong, told)
  return figures
end

for _, name in ipairs { "prosody", "ejabberd" } do
  server.each(function(s)
    it("gets a bot back into its rooms in each new session", function()
      local f = passes(s, { seconds = 10, pause = 2, restarts = 0, resume = false })
      assert.is_true(f.rebound > 0 and f.rejoined >= f.rebound)
      assert.equal(0, f.excused)
    end)

    it("gets a bot back into its rooms after its restart", function()
      local f = passes(s, { seconds = 12, pause = 3, restarts = 2 })
      assert.is_true(f.rebound >= 1 and f.rejoined >= 5)
    end)
  end, { extra_conf = soak_rooms.CONF[name], limit = 600 }, { name })
end
