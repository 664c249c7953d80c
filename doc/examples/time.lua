-- Examples of the reference, page time: see spec/support/manual.lua for how they are run.

--- time.parse, time.format
print(time.parse "2002-09-10T23:08:25Z")                         --> 1031699305
print(time.format(1031699305.25))                                --> 2002-09-10T23:08:25.250Z

--- time.now
local since = time.now() - 86400                                 -- a day ago
-- check
assert(math.abs(since + 86400 - os.time()) < 100)

--- time.offset
print(time.offset "+01:00", time.offset "no")                    --> 3600 nil

--- time.zone
print(#time.zone() >= 1)                                         --> true
