-- Examples of the reference, page loop: see spec/support/manual.lua for how they are run.

--- uv.start, driver:stop
local driver = require("xmpp.loop.uv").start()
-- require("luv").run() instead of xmpp.run()
driver:stop()

--- cqueues.start
local cq = require("cqueues").new()
local driver = require("xmpp.loop.cqueues").start(cq)
cq:wrap(function() xmpp.sleep(0.01) end)
assert(cq:loop())
-- check
driver:stop()

--- copas.start
local ok = pcall(require, "copas")
if not ok then return end -- there is none for this Lua; spec/loops_spec.lua has it where it is
-- example
local driver = require("xmpp.loop.copas").start()
require("copas").addthread(function() xmpp.sleep(0.01) end)
require("copas").loop()
-- check
driver:stop()
