-- Examples of the reference, page caps: see spec/support/manual.lua for how they are run.

--- caps.of
presence.set(conn, {})
local query = { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
  { "identity", { category = "client", type = "pc" } }, { "feature", { var = "urn:xmpp:ping" } } }
local ver = caps.ver(query)
ext.use(conn, caps)
t:sent()
t:receive { "presence", { from = "anna@example.net/pc" }, { "c", { xmlns = "http://jabber.org/protocol/caps",
  hash = "sha-1", node = "urn:x", ver = ver } } }
t:on({ "iq", { to = "anna@example.net/pc" } }, function()
  return { "query", { xmlns = "http://jabber.org/protocol/disco#info", node = "urn:x#" .. ver }, query[3], query[4] }
end)
-- example
local entity, err = caps.of(conn, "anna@example.net/pc")
print(entity and entity.features["urn:xmpp:ping"] or err)        --> true

--- caps.ver, caps.legacy_string
local query = { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
  { "identity", { category = "client", type = "pc", name = "Exodus 0.9.1" } },
  { "feature", { var = "http://jabber.org/protocol/muc" } } }
print((caps.legacy_string(query)))       --> client/pc//Exodus 0.9.1<http://jabber.org/protocol/muc<
print((caps.ver(query)))                                          --> tu0wU2EqpZ08h4ZamsNxp6FJBks=

--- caps.hash_string
local query = { "query", { xmlns = "http://jabber.org/protocol/disco#info" }, { "feature", { var = "urn:xmpp:ping" } } }
print(#caps.hash_string(query))                                  --> 17
