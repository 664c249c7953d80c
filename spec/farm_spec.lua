-- A farm with real servers, under load, while its parts are killed one after the other: what Redis has is handled, in
-- order, and answered; what is lost before and behind it is counted. `make soak` does the same with a thousand users
-- (spec/support/soak); what is done by an intake and a worker is tried one thing at a time by stream_spec and
-- stream_intake_spec.
local run = require "spec.support.farm_run"

local STREAMS, WORKERS = 8, 4

-- What happens behind Redis alone is tried with one of the two.
local EVENTS = {
  ejabberd = { none = true, ["intake killed"] = true, ["server killed"] = true, ["rolling restart"] = true },
}

for _, kind in ipairs { "ejabberd", "prosody" } do
  describe("a farm with " .. (kind == "ejabberd" and "two nodes of ejabberd" or "Prosody"), function()
    it("loses nothing that Redis has, whatever dies, and keeps each user's order", function()
      local list, wrong, farm = run.farm { kind = kind, users = run.even(3, STREAMS), streams = STREAMS,
        workers = WORKERS, messages = 5, lease = 2, rate = 100, events = EVENTS[kind] }
      local lines = { run.HEAD }
      for _, f in ipairs(list) do lines[#lines + 1] = run.line(f) end
      local told = table.concat(lines, "\n")
      assert.same({}, wrong, told .. "\n" .. farm.log)
      assert.equal(kind == "ejabberd" and 4 or #run.EVENTS, #list)
      assert.is_true(list[1].spread <= 1.5, told)
      if os.getenv "FARM_TOLD" then print(told) end
    end)
  end)
end
