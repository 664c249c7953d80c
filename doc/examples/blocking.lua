-- Examples of the reference, page blocking: see spec/support/manual.lua for how they are run.

--- blocking.use
local BLOCKING = "urn:xmpp:blocking"
t:on({ "iq", { type = "get" }, { "blocklist", { xmlns = BLOCKING } } }, function()
  return { "blocklist", { xmlns = BLOCKING }, { "item", { jid = "spam@example.org" } } }
end)
-- example
local b = assert(blocking.use(conn))                             -- the list is fetched before our presence leaves
b:on("blocked", function(jid) print(jid) end)                    --> mallory@evil.example
-- check
t:advance(1)
assert(b.blocked["spam@example.org"])
t.forge.block("bot@example.net", "mallory@evil.example")
t:expect { "iq", { type = "result" } }

--- blocking.list, blocking.is_blocked
local BLOCKING = "urn:xmpp:blocking"
t:on({ "iq", { type = "get" }, { "blocklist", { xmlns = BLOCKING } } }, function()
  return { "blocklist", { xmlns = BLOCKING }, { "item", { jid = "spam@example.org" } } }
end)
-- example
for _, jid in ipairs(assert(blocking.list(conn))) do print(jid) end    --> spam@example.org
print(blocking.is_blocked(conn, "spam@example.org/pc"))          --> true

--- blocking.block, blocking.unblock, blocking.unblock_all, blocking.report
t:on({ "iq", { type = "get" }, { "blocklist", { xmlns = "urn:xmpp:blocking" } } }, function()
  return { "blocklist", { xmlns = "urn:xmpp:blocking" } }
end)
for _, name in ipairs { "block", "unblock" } do
  t:on({ "iq", { type = "set" }, { name, { xmlns = "urn:xmpp:blocking" } } }, function() end)
end
-- example
assert(blocking.block(conn, { "spam@example.org", "spam.example.com" }))
assert(blocking.unblock(conn, "spam@example.org"))
assert(blocking.report(conn, "mallory@evil.example", { reason = "abuse", text = "insults" }))
assert(blocking.unblock_all(conn))
