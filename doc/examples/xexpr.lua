-- Examples of the reference, page xexpr: see spec/support/manual.lua for how they are run.

--- xexpr.name, xexpr.attr
local m = { "message", { from = "anna@example.net/pc" }, { "body", {}, "Hi" } }
print(xexpr.name(m), xexpr.attr(m, "from"), xexpr.attr(m, "to")) --> message anna@example.net/pc nil

--- xexpr.child, xexpr.children
local m = { "message", {}, { "body", {}, "Hi" }, { "active", { xmlns = "http://jabber.org/protocol/chatstates" } } }
print(xexpr.child(m, "active")[2].xmlns)                         --> http://jabber.org/protocol/chatstates
for child in xexpr.children(m) do print(child[1]) end            --> body active

--- xexpr.find
local EVENT = "http://jabber.org/protocol/pubsub#event"
local m = { "message", {}, { "event", { xmlns = EVENT }, { "items", { node = "news" }, { "item", { id = "7" } } } } }
local item = xexpr.find(m, { "event", EVENT }, "items", "item")
print(item[2].id)                                                --> 7

--- xexpr.text, xexpr.pick
local m = { "message", {}, { "body", {}, "hello" }, { "body", { ["xml:lang"] = "de" }, "hallo" } }
print(xexpr.text(m, "body"), xexpr.text(m, "body", nil, "de"))   --> hello hallo
print(xexpr.pick(m, "body", nil, "de")[2]["xml:lang"])           --> de

--- xexpr.is_error, xexpr.error
local x = { "iq", { type = "error", id = "1" }, { "error", { type = "cancel" },
  { "item-not-found", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
print(xexpr.is_error(x), xexpr.error(x).condition, xexpr.error(x).type)      --> true item-not-found cancel

--- xexpr.reply
local m = { "message", { from = "anna@example.net/pc" }, { "body", {}, "Hi" } }
local answer = xexpr.reply(m, { "body", "Hi, too" })
print(xexpr.to_xml(answer))                     --> <message to='anna@example.net/pc'><body>Hi, too</body></message>

--- xexpr.error_reply
local question = { "iq", { type = "get", id = "1", from = "anna@example.net/pc" }, { "query", { xmlns = "urn:x" } } }
local answer = xexpr.error_reply(question, "cancel", "feature-not-implemented", "not here")
print(answer[2].to, xexpr.error(answer).text)                    --> anna@example.net/pc not here

--- xexpr.match
local is_ping = xexpr.match { "iq", { type = "get" }, { "ping", { xmlns = "urn:xmpp:ping" } } }
print(is_ping { "iq", { type = "get", id = "1" }, { "ping", { xmlns = "urn:xmpp:ping" } } })      --> true
print(is_ping { "presence" })                                    --> false

--- xexpr.canonical, xexpr.equal
local x = xexpr.canonical { "body", "a", 1 }
print(type(x[2]), x[3])                                          --> table a1
print(xexpr.equal({ "body", "a", 1 }, { "body", {}, "a1" }))     --> true

--- xexpr.pretty
print(xexpr.pretty { "presence", { "show", "away" } })
-- check
assert(printed[1].text == "<presence>\n  <show>away</show>\n</presence>", printed[1].text)

--- xexpr.to_xml, xexpr.from_xml
print(xexpr.to_xml { "body", "a < b" })                          --> <body>a &lt; b</body>
print(xexpr.from_xml "<body>a &lt; b</body>" [3])                --> a < b

--- xexpr.to_json, xexpr.from_json
print(xexpr.to_json { "body", "Hi" })                            --> ["body",{},"Hi"]
print(assert(xexpr.from_json '["body",{},"Hi"]')[3])             --> Hi

--- xexpr.from_account, xexpr.is_own
local push = { "iq", { type = "set", id = "1", from = "bot@example.net" } }
print(xexpr.from_account(push, conn), xexpr.is_own(push, conn))  --> true true
print(xexpr.from_account({ "iq", { from = "mallory@example.net" } }, conn))    --> false

--- xexpr.is_delayed
local m = { "message", {}, { "delay", { xmlns = "urn:xmpp:delay", stamp = "2026-11-30T10:00:00Z" } } }
print(xexpr.is_delayed(m))                                       --> 2026-11-30T10:00:00Z

--- xexpr.is_carbon, xexpr.unwrap_carbon
local inner = { "message", { xmlns = "jabber:client", from = "anna@example.net/pc" }, { "body", {}, "Hi" } }
local copy = { "message", { from = "bot@example.net" }, { "received", { xmlns = "urn:xmpp:carbons:2" },
  { "forwarded", { xmlns = "urn:xmpp:forward:0" }, inner } } }
-- example
print(xexpr.is_carbon(copy, conn))                               --> received
local m, direction = xexpr.unwrap_carbon(copy, conn)
print(m[2].from, direction)                                      --> anna@example.net/pc received
