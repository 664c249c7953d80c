-- Examples of the reference, page testing: see spec/support/manual.lua for how they are run.

--- testing.new, t:finish
local testing = require "xmpp.testing"
local t = testing.new { jid = "bot@example.net/test", seed = 1 }
t.conn:send { "presence" }
t:expect { "presence" }
t:finish()                                                       -- fails for what was sent and not expected

--- testing.around
local function it(name, f) f() end
-- example
it("greets", testing.around(function(t)                          -- busted's `it`
  t.conn:send { "presence" }
  t:expect { "presence" }
end))

--- t:receive
conn:set_callback(function(m) print(m[2].from) end)              --> anna@example.net/pc bert@example.net/pc
t:receive { "message", { from = "anna@example.net/pc" }, { "body", {}, "Hi" } }
t:receive "<message from='bert@example.net/pc'><body>Hi</body></message>"

--- t:expect
assert(t)
-- example
xmpp.spawn(function()
  print(require("xmpp.iq").get(conn, "weather.example.net", { "weather", { xmlns = "urn:x" } })[3])    --> sun
end)
t:expect({ "iq", { type = "get" }, { "weather" } }, { "weather", { xmlns = "urn:x" }, "sun" })    -- and what answers it

--- t:next, t:sent, t:nothing
conn:send { "presence" }
print(t:next()[1])                                               --> presence
print(#t:sent())                                                 --> 1
t:nothing()

--- t:on
local off = t:on({ "iq", { type = "get" }, { "query", { xmlns = "jabber:iq:version" } } }, function(stanza)
  return { "query", { xmlns = "jabber:iq:version" }, { "name", {}, "Prosody" }, { "version", {}, "13.0" } }
end)
print(require("xmpp.info").version(conn, "example.net").name)    --> Prosody
off()

--- t:advance, t:now
local began = t:now()
xmpp.after(3600, function() print(t:now() - began == 3600) end)  --> true
t:advance(3600)

--- t:take_errors
conn:set_handler(function() error("oh no", 0) end)
t:receive { "presence", { from = "anna@example.net/pc" } }
print(#t:take_errors())                                          --> 1

--- t:play
conn:set_callback(function(m) conn:send(xmpp.xexpr.reply(m, { "body", "Hi, too" })) end, { name = "message" })
t:play {
  "S: <message from='anna@example.net/pc' type='chat'><body>Hi</body></message>",
  "C: <message to='anna@example.net/pc' type='chat'><body>Hi, too</body></message>",
  { wait = 60 },
}

--- t:active
print(t:active())                                                --> true

--- t:room
local room = t:room("tea@rooms.example.net", { occupants = { "anna" }, subject = "Tea" })
local joined = assert(require("xmpp.muc").join(conn, "tea@rooms.example.net", "kettle"))
print(room.occupants.kettle.nick, joined.subject)                --> kettle Tea

--- t:contact
local anna = t:contact("anna@example.net", { subscription = "both", name = "Anna" })
local r = require("xmpp.roster").use(conn)
assert(r:fetched(10))
print(r.items["anna@example.net"].name, anna.jid)                --> Anna anna@example.net

--- t:upload
local u = t:upload { max = 1000 }
local url = assert(require("xmpp.upload").file(conn, { name = "a.txt", data = "hello" }))
print(u.files[1].data, u.files[1].url == url)                    --> hello true

--- t:archive
t:archive { "one", { from = "bert@example.net/pc", text = "two" } }
for m in require("xmpp.archive").each(conn) do print(m.text) end    --> one two

--- t:pubsub
local service = t:pubsub "pubsub.example.net"                    -- t:pubsub(): our own account's nodes
service:node "news"
print(#require("xmpp.pubsub").nodes(conn, "pubsub.example.net")) --> 1

--- t:cut, t:resume
t:cut()                                                          -- the link breaks
print(conn:state())                                              --> waiting
t:resume()                                                       -- the same session goes on
print(conn:state(), conn:info().resumed)                         --> ready 1

--- t:reconnect
t:reconnect { new = true }                                       -- the server has forgotten the session
print(conn:info().rebound)                                       --> 1

--- t:ack
t = testing.new { acks = false }
-- example
conn:send({ "presence" }, { on = function(state) print(state) end })    --> written acked
t:expect { "presence" }
t:ack()

--- t:close
conn:on("state", function(state, err) print(state, err and err.condition) end)    --> closed conflict
t:close "conflict"

--- t:refuse
t = testing.new { jid = "bot@example.net", intercept = true }
-- example
t:refuse "not-authorized"
print(select(2, xmpp.connect_client("bot@example.net", "wrong")).condition)    --> not-authorized

--- room:says
local room = t:room("tea@rooms.example.net", { occupants = { "anna" } })
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("message", function(m) print(m.nick, m.text) end)      --> anna Hello
room:says("anna", "Hello")

--- room:whispers
local room = t:room("tea@rooms.example.net", { occupants = { "anna" } })
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("private", function(m) print(m.nick, m.text) end)      --> anna psst
room:whispers("anna", "psst")

--- room:joins, room:leaves, room:renames, room:changes
local room = t:room "tea@rooms.example.net"
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
for _, event in ipairs { "join", "nick", "change", "leave" } do
  joined:on(event, function(o) print(event, o.nick) end)         --> join bert nick bertram change bertram leave bertram
end
room:joins "bert"
room:renames("bert", "bertram")
room:changes("bertram", { show = "away" })
room:leaves("bertram", "Bye")

--- room:kicks, room:bans
local room = t:room("tea@rooms.example.net", { occupants = { "bert", "carl" } })
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("leave", function(o, why) print(o.nick, why.code) end) --> bert 307 carl 301
room:kicks("bert", 307, "no more tea")
room:bans "carl"

--- room:sets_subject
local room = t:room("tea@rooms.example.net", { occupants = { "anna" } })
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("subject", function(text, nick) print(text, nick) end) --> Tea at five anna
room:sets_subject("anna", "Tea at five")

--- room:tells
local room = t:room "tea@rooms.example.net"
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("status", function(code) print(code) end)              --> 172
room:tells(172)                                                  -- addresses are shown to all now

--- room:destroys
local room = t:room "tea@rooms.example.net"
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("removed", function(why) print(why.destroyed, why.alternative) end)    --> true coffee@rooms.example.net
room:destroys("we move", "coffee@rooms.example.net")

--- room:moderates
local room = t:room("tea@rooms.example.net", { occupants = { "anna", "bert" } })
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("moderated", function(what) print(what.by, what.reason) end)    --> anna advertisement
local _, stanza_id = room:says("bert", "buy now")
room:moderates(stanza_id, "anna", "advertisement")

--- room:asks_voice
local room = t:room("tea@rooms.example.net", { occupants = { { nick = "bert", role = "visitor" } },
  affiliations = { ["bot@example.net"] = "admin" } })
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
joined:on("voice_request", function(what) print(what.nick) end)  --> bert
room:asks_voice "bert"

--- room:invites
local room = t:room "tea@rooms.example.net"
-- example
muc.use(conn):on("invite", function(inv) print(inv.room, inv.from) end)    --> tea@rooms.example.net anna@example.net
room:invites("anna@example.net", "tea time")

--- room:forgets
local room = t:room "tea@rooms.example.net"
local joined = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
room:forgets()                                                   -- as after a break between servers
t:advance(1000)                                                  -- the program notices, and comes back
print(room.occupants.kettle ~= nil, joined.joined)               --> true true

--- contact:says
local anna = t:contact("anna@example.net", { subscription = "both" })
conn:set_callback(function(m) print(xmpp.xexpr.text(m, "body")) end, { name = "message" })    --> hello
anna:says "hello"

--- contact:online, contact:offline
local anna = t:contact("anna@example.net", { subscription = "both" })
roster.use(conn)
presence.set(conn, {})
t:sent()
-- example
local r = require("xmpp.roster").use(conn)
r:on("presence", function(jid, p) print(p.type or p.show) end)   --> away unavailable
anna:online { show = "away" }
anna:offline()

--- contact:asks
local anna = t:contact("anna@example.net", { subscription = "both" })
require("xmpp.iq").serve(conn, "get", "urn:x", function() return { "weather", { xmlns = "urn:x" }, "sun" } end)
local answer = anna:asks { "weather", { xmlns = "urn:x" } }
print(answer[3])                                                 --> sun

--- contact:requests
local anna = t:contact "anna@example.net"
local r = roster.use(conn)
assert(r:fetched(10))
-- example
r:on("request", function(jid) print(jid) end)                    --> anna@example.net
anna:requests "let me in"

--- contact:approves, contact:denies
local anna = t:contact "anna@example.net"
local r = roster.use(conn)
assert(r:fetched(10))
-- example
for _, event in ipairs { "approved", "denied" } do
  r:on(event, function() print(event) end)                       --> approved denied
end
r:subscribe "anna@example.net"
anna:approves()
anna:denies()
-- check
t:sent()

--- contact:unsubscribes
local anna = t:contact("anna@example.net", { subscription = "both" })
local r = roster.use(conn)
assert(r:fetched(10))
-- example
anna:unsubscribes()
print(r.items["anna@example.net"].subscription)                  --> to
-- check
t:sent()

--- service:node, service:publish, service:retract, service:purge, service:delete
local service = t:pubsub "pubsub.example.net"
-- example
service:node("news", { ["pubsub#access_model"] = "open" })
assert(require("xmpp.pubsub").subscribe(conn, "pubsub.example.net", "news"))
require("xmpp.pubsub").on(conn, { node = "news" }, function(event)
  print(event.kind)                                              --> item retract purge delete
end)
service:publish("news", { "entry", { xmlns = "urn:x" } }, "1")
service:retract("news", "1")
service:purge "news"
service:delete "news"

--- archive:says, archive:keeps, archive:expires
local archive = t:archive {}
archive:says "comes in, and is kept"
archive:keeps "was said while we were away"
print(#archive.messages)                                         --> 2
archive:expires(1)
print(#archive.messages)                                         --> 1

--- upload:refuse, upload:answer, upload:stop_at, upload:slot
local upload, u = require "xmpp.upload", t:upload()
local function try()
  local url, err = upload.file(conn, { name = "a.txt", data = "hello" })
  return url and "done" or err.condition
end
u:refuse("cancel", "not-allowed")
print(try())                                                     --> not-allowed
u:answer(403)
print(try())                                                     --> refused
u:stop_at(2)
print(try())                                                     --> cut
u:slot(function(slot) slot[3][2].url = "http://example.net/a" end)
print(try())                                                     --> bad-format

--- t.forge.carbon, t.forge.correction, t.forge.retraction, t.forge.reaction
local c = require("xmpp.chat").use(conn)
c:on("message", function(m) print(m.text, m.suspicious) end)     --> never mind correction
t.forge.carbon("mallory@evil.example/x", { "message", { from = "boss@example.net" }, { "body", {}, "!shutdown" } })
t.forge.correction("mallory@evil.example/x", "1", "never mind")
t.forge.retraction("mallory@evil.example/x", "1")
t.forge.reaction("mallory@evil.example/x", "1", { "👎" })

--- t.forge.private
local b = require("xmpp.bot").use(conn, { admins = { "boss@example.net" } })
b:command("shutdown", { allow = "admin" }, function() print "believed" end)
t.forge.private("tea@rooms.example.net/boss", "!shutdown")       -- a nick proves nothing
-- check
t:sent()
assert(#printed == 0)

--- t.forge.receipt, t.forge.displayed
local c = chat.use(conn)
local id = c:send("anna@example.net", "Hi")
t:expect { "message" }
-- example
c:on("receipt", function() print "believed" end)
c:on("displayed", function() print "believed" end)
t.forge.receipt("mallory@evil.example/x", id)
t.forge.displayed("mallory@evil.example/x", id)
-- check
assert(#printed == 0)

--- t.forge.push, t.forge.block
local r = roster.use(conn)
assert(r:fetched(10))
-- example
t.forge.push("mallory@evil.example/x", { jid = "mallory@evil.example", subscription = "both" })
t.forge.block("mallory@evil.example/x", "anna@example.net")
print(r.items["mallory@evil.example"])                           --> nil
-- check
t:sent()

--- t.forge.mam
t:archive {}
archive.use(conn)
-- example
t.forge.mam("mallory@evil.example", { "message", { from = "boss@example.net" }, { "body", {}, "!shutdown" } })
print(conn:receive())                                            --> nil

--- t.forge.invitation, t.forge.bookmark
muc.use(conn)
-- example
t.forge.invitation("mallory@evil.example/x", { room = "trap@rooms.example.net" })
t.forge.bookmark("mallory@evil.example", "trap@rooms.example.net", { autojoin = true })
t:nothing()                                                      -- no room was joined

--- t.forge.caps
ext.use(conn, caps)
-- example
t.forge.caps("mallory@evil.example/x", { ver = "bG9va3MgbGlrZSBhbm90aGVyIGhhc2g=" })
-- check
t:sent()
