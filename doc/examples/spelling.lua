-- Examples of the reference, page spelling: see spec/support/manual.lua for how they are run.

--- spelling.key
local peers = {}
peers[spelling.key "straße@example.net"] = "a peer"
print(peers[spelling.key "strasse@example.net"])                 --> a peer

--- spelling.same, spelling.is
print(spelling.same("strasse@example.net", "straße@example.net"))    --> true
print(spelling.is("straße@example.net", "strasse@example.net"))  --> true
print(spelling.is("strasse@example.net", "straße@example.net"))  --> false
