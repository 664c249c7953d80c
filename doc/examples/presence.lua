-- Examples of the reference, page presence: see spec/support/manual.lua for how they are run.

--- presence.set, presence.last
presence.set(conn, { show = "away", status = "drinking tea", priority = 5 })
print(presence.last(conn).show)                                  --> away
-- check
t:expect { "presence", { "show", "away" }, { "status", "drinking tea" }, { "priority", "5" } }

--- presence.clear
presence.set(conn, {})
presence.clear(conn)
-- check
t:expect { "presence" }
t:expect { "presence", { type = "unavailable" } }

--- presence.stanza
local x = presence.stanza({ show = "dnd" }, "anna@example.net")
print(xmpp.xexpr.to_xml(x))                --> <presence to='anna@example.net'><show>dnd</show></presence>

--- presence.send
presence.send(conn, "anna@example.net", { show = "chat" })       -- to somebody who isn't in the roster
-- check
t:expect { "presence", { to = "anna@example.net" }, { "show", "chat" } }

--- presence.before
local function load_state() end
-- example
local off = presence.before(conn, function() load_state() end)   -- our first presence waits for it, in each session
-- check
presence.set(conn, {})
t:expect { "presence" }
assert(off())

--- presence.keep
local off = presence.keep(conn, "anna@example.net")              -- from now on presences from there are kept
-- check
t:receive { "presence", { from = "anna@example.net/pc" } }
assert(presence.of(conn, "anna@example.net").pc and off())

--- presence.of
presence.keep(conn, "anna@example.net")
t:receive { "presence", { from = "anna@example.net/pc" }, { "show", {}, "away" } }
-- example
for resource, p in pairs(presence.of(conn, "anna@example.net")) do
  print(resource, p.show)                                        --> pc away
end
print(presence.of(conn, "anna@example.net/pc").show)             --> away

--- presence.forget
local wanted = { ["anna@example.net"] = true }
presence.keep(conn, function(bare) return wanted[bare] end)
t:receive { "presence", { from = "anna@example.net/pc" } }
assert(presence.of(conn, "anna@example.net/pc"))
-- example
wanted["anna@example.net"] = nil                                 -- `keep` was given a function that looks there
presence.forget(conn, "anna@example.net")
-- check
assert(presence.of(conn, "anna@example.net/pc") == nil)
