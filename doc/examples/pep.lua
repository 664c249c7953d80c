-- Examples of the reference, page pep: see spec/support/manual.lua for how they are run.

--- pep.publish, pep.get
t:pubsub()
-- example
local note = { "note", { xmlns = "urn:example:note" }, "buy tea" }
assert(pep.publish(conn, "urn:example:note", note, { access = "whitelist", persist = true }))
local kept, id = pep.get(conn, nil, "urn:example:note")
print(kept[3], id)                                               --> buy tea current

--- pep.items, pep.retract, pep.delete
t:pubsub()
assert(pep.publish(conn, "urn:example:note", { "note", { xmlns = "urn:example:note" } }, { persist = true }))
-- example
print(#assert(pep.items(conn, nil, "urn:example:note")))         --> 1
assert(pep.retract(conn, "urn:example:note"))
assert(pep.delete(conn, "urn:example:note"))

--- pep.watch
local account = t:pubsub()
-- example
local off = pep.watch(conn, "urn:example:note", function(jid, note, id, event)
  if note then print(jid, note[3]) end                           --> bot@example.net buy tea
end, { from = "self" })
-- check
presence.set(conn, {})
t:sent()
account:publish("urn:example:note", { "note", { xmlns = "urn:example:note" }, "buy tea" })
t:advance(1)
assert(off())
