-- Examples of the reference, page pubsub: see spec/support/manual.lua for how they are run.

--- pubsub.on, pubsub.subscribe
local service = t:pubsub "pubsub.example.net"
service:node "news"
-- example
local off = pubsub.on(conn, { service = "pubsub.example.net", node = "news" }, function(event)
  print(event.kind, event.id)                                    --> item 1
end)
local s = assert(pubsub.subscribe(conn, "pubsub.example.net", "news"))
print(s.subscription)                                            --> subscribed
-- check
service:publish("news", { "entry", { xmlns = "urn:x" } }, "1")
assert(off())

--- pubsub.supports
t:pubsub("pubsub.example.net", { features = { "publish", "publish-options" } })
-- example
print(pubsub.supports(conn, "pubsub.example.net", "publish-options"))    --> true

--- pubsub.publish, pubsub.items, pubsub.retract
t:pubsub "pubsub.example.net":node "news"
-- example
local entry = { "entry", { xmlns = "urn:x" }, "Tea" }
local id = assert(pubsub.publish(conn, "pubsub.example.net", "news", entry, { id = "1" }))
for _, item in ipairs(assert(pubsub.items(conn, "pubsub.example.net", "news", { max = 10 }))) do
  print(item.id, item.payload[3])                                --> 1 Tea
end
assert(pubsub.retract(conn, "pubsub.example.net", "news", id))

--- pubsub.create, pubsub.configure
t:pubsub "pubsub.example.net"
-- example
assert(pubsub.create(conn, "pubsub.example.net", "news", { access_model = "open" }))
assert(pubsub.configure(conn, "pubsub.example.net", "news", { access_model = "whitelist" }))
local form = assert(pubsub.configure(conn, "pubsub.example.net", "news"))
print(form.values["pubsub#access_model"])                        --> whitelist

--- pubsub.purge, pubsub.delete
t:pubsub "pubsub.example.net"
assert(pubsub.create(conn, "pubsub.example.net", "news"))
-- example
assert(pubsub.purge(conn, "pubsub.example.net", "news"))         -- all items
assert(pubsub.delete(conn, "pubsub.example.net", "news"))        -- the node

--- pubsub.nodes
t:pubsub "pubsub.example.net":node "news"
-- example
for _, node in ipairs(assert(pubsub.nodes(conn, "pubsub.example.net"))) do print(node.node) end    --> news

--- pubsub.affiliations
t:pubsub "pubsub.example.net":node "news".affiliations["bot@example.net"] = "owner"
-- example
print(assert(pubsub.affiliations(conn, "pubsub.example.net")).news)    --> owner

--- pubsub.affiliate, pubsub.members
t:pubsub "pubsub.example.net"
assert(pubsub.create(conn, "pubsub.example.net", "news"))
-- example
assert(pubsub.affiliate(conn, "pubsub.example.net", "news", "anna@example.net", "publisher"))
print(assert(pubsub.members(conn, "pubsub.example.net", "news"))["anna@example.net"])    --> publisher

--- pubsub.subscriptions, pubsub.unsubscribe, pubsub.subscribers
t:pubsub "pubsub.example.net"
assert(pubsub.create(conn, "pubsub.example.net", "news"))
assert(pubsub.subscribe(conn, "pubsub.example.net", "news"))
-- example
for _, s in ipairs(assert(pubsub.subscriptions(conn, "pubsub.example.net"))) do print(s.node) end    --> news
print(#assert(pubsub.subscribers(conn, "pubsub.example.net", "news")))    --> 1
assert(pubsub.unsubscribe(conn, "pubsub.example.net", "news"))

--- event:fetch
local service = t:pubsub "pubsub.example.net"
service:node("news", { ["pubsub#deliver_payloads"] = false })
assert(pubsub.subscribe(conn, "pubsub.example.net", "news"))
-- example
pubsub.on(conn, { service = "pubsub.example.net" }, function(event)
  if event.kind == "item" then print(event:fetch()[3]) end       --> Tea
end)
-- check
service:publish("news", { "entry", { xmlns = "urn:x" }, "Tea" }, "1")
t:advance(1)
