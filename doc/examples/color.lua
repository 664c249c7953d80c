-- Examples of the reference, page color: see spec/support/manual.lua for how they are run.

--- color.hue
print(("%.3f"):format(color.hue "Romeo"))                        --> 327.255

--- color.rgb
print(("%.3f %.3f %.3f"):format(color.rgb "Romeo"))              --> 0.865 0.000 0.686

--- color.terminal
local n = color.terminal "Romeo"
local text = ("\27[38;5;%dm%s\27[0m"):format(n, "Romeo")
-- check
assert(n >= 16 and n <= 231 and text)
