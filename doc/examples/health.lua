-- Examples of the reference, page health: see spec/support/manual.lua for how they are run.

--- health.check
local steps, well = health.check(conn, { steps = { "login", "ping" }, timeout = 10 })
for _, s in ipairs(steps) do print(s.name, s.ok) end             --> login true ping true
print(well)                                                      --> true
