-- Examples of the reference, page roster: see spec/support/manual.lua for how they are run.

--- roster.use, r:fetched
t:contact("anna@example.net", { subscription = "both", name = "Anna" })
-- example
local r = assert(roster.use(conn, { approve = "ask" }))
assert(r:fetched(10))
for jid, item in pairs(r.items) do print(jid, item.name, item.subscription) end    --> anna@example.net Anna both

--- roster.subscription
t:contact("anna@example.net", { subscription = "from" })
assert(roster.use(conn):fetched(10))
-- example
print(roster.subscription(conn, "anna@example.net/pc"))          --> from
print(roster.subscription(conn, "mallory@evil.example"))         --> nil

--- r:add, r:set, r:remove
local r = roster.use(conn)
t:contact "anna@example.net"
-- example
assert(r:add("anna@example.net", { name = "Anna", groups = { "tea" } }))
assert(r:set("anna@example.net", { name = "Anna B." }))
print(r.items["anna@example.net"].name)                          --> Anna B.
assert(r:remove "anna@example.net")
print(r.items["anna@example.net"])                               --> nil

--- r:subscribe, r:unsubscribe
local r = roster.use(conn)
local anna = t:contact "anna@example.net"
-- example
r:on("approved", function(jid) print(jid) end)                   --> anna@example.net
r:subscribe("anna@example.net", "it's me, the weather bot")
-- check
anna:approves()
r:unsubscribe "anna@example.net"
t:advance(1)
t:sent()

--- r:approve
local r = roster.use(conn)
local anna = t:contact "anna@example.net"
-- example
r:on("request", function(jid, stanza) r:approve(jid) end)
-- check
assert(r:fetched(10))
anna:requests "let me in"
assert(not anna.pending)
t:sent()

--- r:deny
local r = roster.use(conn)
local anna = t:contact "anna@example.net"
-- example
r:on("request", function(jid, stanza) r:deny(jid) end)
-- check
assert(r:fetched(10))
anna:requests "let me in"
assert(not anna.pending)
t:sent()

--- r:preapprove
local r = roster.use(conn)
-- example
local ok, err = r:preapprove "anna@example.net"                  -- needs a server that can
print(ok or err.condition)                                       --> feature-not-implemented
