-- Examples of the reference, page avatar: see spec/support/manual.lua for how they are run.

--- avatar.set, avatar.get, avatar.clear
t:pubsub()
local png = "\137PNG\r\n\26\n" .. "\0\0\0\13IHDR\0\0\0\1\0\0\0\1\8\0\0\0\0" .. ("\0"):rep(8)
-- example
local id = assert(avatar.set(conn, png))
local bytes, meta = avatar.get(conn)                             -- our own; or of any address
print(bytes == png, meta.type, meta.id == id)                    --> true image/png true
assert(avatar.clear(conn))

--- avatar.watch
local HASH = ("0f"):rep(20)
local anna = t:contact("anna@example.net", { subscription = "both" })
local nodes = t:pubsub "anna@example.net"
assert(roster.use(conn):fetched(10))
-- example
local off = avatar.watch(conn, function(jid, meta) print(jid, meta and meta.id or "none") end)
-- check
presence.set(conn, {})
t:sent()
nodes:publish("urn:xmpp:avatar:metadata", { "metadata", { xmlns = "urn:xmpp:avatar:metadata" },
  { "info", { id = HASH, type = "image/png", bytes = "1" } } }, HASH)
t:advance(1)
t:sent()
assert(printed[#printed].text == "anna@example.net\t" .. HASH, printed[#printed].text)
assert(off() and anna)

--- avatar.use
t:on({ "iq", { type = "get" }, { "vCard", { xmlns = "vcard-temp" } } }, function()
  return { "vCard", { xmlns = "vcard-temp" } }
end)
-- example
avatar.use(conn)                                                 -- in front of presence.set
presence.set(conn, {})
-- check
t:advance(1)
t:expect { "presence", { "x", { xmlns = "vcard-temp:x:update" } } }
