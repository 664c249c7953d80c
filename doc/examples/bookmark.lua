-- Examples of the reference, page bookmark: see spec/support/manual.lua for how they are run.

--- bookmark.use, b:fetched
t:pubsub(nil, { more = { "urn:xmpp:bookmarks:1#compat" } })
-- example
local b = assert(bookmark.use(conn, {
  autojoin = true,
  nick = "kettle",                                               -- where a bookmark has none
  on_room = function(room, entry) print(room.jid) end,
}))
assert(b:fetched(10))
for jid, entry in pairs(b.list) do print(jid, entry.autojoin) end

--- b:set, b:remove
t:pubsub(nil, { more = { "urn:xmpp:bookmarks:1#compat" } })
local b = assert(bookmark.use(conn, { autojoin = false }))
-- example
assert(b:set("tea@rooms.example.net", { name = "Tea", nick = "kettle", autojoin = true }))
print(b.list["tea@rooms.example.net"].name)                      --> Tea
assert(b:remove "tea@rooms.example.net")
print(b.list["tea@rooms.example.net"])                           --> nil
