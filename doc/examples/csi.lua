-- Examples of the reference, page csi: see spec/support/manual.lua for how they are run.

--- csi.set, csi.active
t = testing.new { features = { { "csi", { xmlns = "urn:xmpp:csi:0" } } } }
-- example
assert(csi.set(conn, false))                                     -- the window was closed
print(csi.active(conn))                                          --> false
-- check
assert(not t:active())
