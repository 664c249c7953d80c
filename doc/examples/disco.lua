-- Examples of the reference, page disco: see spec/support/manual.lua for how they are run.

--- disco.info, disco.known
local entity, err = disco.info(conn, "example.net")
print(entity.identities[1].category, entity.features["urn:xmpp:ping"])       --> server true
print(disco.known(conn, "example.net") == entity)                --> true

--- disco.items
t:on({ "iq", { to = "example.net" }, { "query", { xmlns = "http://jabber.org/protocol/disco#items" } } }, function()
  return { "query", { xmlns = "http://jabber.org/protocol/disco#items" }, { "item", { jid = "rooms.example.net" } } }
end)
-- example
for _, item in ipairs(assert(disco.items(conn, "example.net"))) do print(item.jid) end    --> rooms.example.net

--- disco.supports
print(disco.supports(conn, "example.net", "urn:xmpp:ping"))      --> true

--- disco.find
t:on({ "iq", { to = "example.net" }, { "query", { xmlns = "http://jabber.org/protocol/disco#items" } } }, function()
  return { "query", { xmlns = "http://jabber.org/protocol/disco#items" }, { "item", { jid = "rooms.example.net" } } }
end)
local INFO = "http://jabber.org/protocol/disco#info"
t:on({ "iq", { to = "rooms.example.net" }, { "query", { xmlns = INFO } } }, function()
  return { "query", { xmlns = INFO }, { "identity", { category = "conference", type = "text" } } }
end)
-- example
local found, err = disco.find(conn, { category = "conference", type = "text" })
print(found and found.jid or err)                                --> rooms.example.net

--- disco.walk
local tree = assert(disco.walk(conn, "example.net", { depth = 2, max = 50 }))
local function show(node, indent)
  print(indent .. node.jid)                                      --> example.net
  for _, item in ipairs(node.items or {}) do show(item, indent .. "  ") end
end
show(tree, "")

--- disco.to_json, disco.from_json
local tree = assert(disco.walk(conn, "example.net"))
local text = disco.to_json(tree)
print(assert(disco.from_json(text)).jid)                         --> example.net

--- disco.to_tree, disco.from_tree
local tree = assert(disco.walk(conn, "example.net"))
local data = disco.to_tree(tree)                                 -- plain data, for an encoder of your own
print(assert(disco.from_tree(data)).jid)                         --> example.net

--- disco.allows, disco.allow
local off = disco.allow(conn, function(from) return from:find("@friends.example.net", 1, true) ~= nil end)
print(disco.allows(conn, "anna@friends.example.net/pc"))         --> true
print(disco.allows(conn, "mallory@evil.example/x"))              --> false
off()

--- disco.serve
t = testing.new { component = "weather.example.net" }
-- example
require("xmpp.ext").use(conn, disco)                             -- answers questions
disco.serve(conn, {
  at = "bern@weather.example.net",
  identities = { { category = "client", type = "bot", name = "Bern" } },
  features = { "urn:example:weather" },
})
-- check
t:receive { "iq", { type = "get", id = "1", from = "anna@example.net/x", to = "bern@weather.example.net" },
  { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } }
t:expect { "iq", { type = "result" }, { "query", { "identity", { name = "Bern" } } } }

--- disco.add
disco.add(conn, "urn:example:weather")                           -- a feature
disco.add(conn, { category = "client", type = "bot", name = "weather" })    -- an identity
-- check
assert(disco.tree(conn).features["urn:example:weather"])

--- disco.tree
local tree = disco.tree(conn)
print(tree.jid == tostring(conn:jid()))                          --> true
