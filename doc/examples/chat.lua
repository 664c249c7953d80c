-- Examples of the reference, page chat: see spec/support/manual.lua for how they are run.

--- chat.use
local c = assert(chat.use(conn, { receipts = "all" }))
c:on("message", function(m) print(m.from, m.text) end)           --> anna@example.net/pc Hi
-- check
t:receive { "message", { from = "anna@example.net/pc", type = "chat", id = "1" }, { "body", {}, "Hi" } }

--- c:send
local c = chat.use(conn)
-- example
local id = assert(c:send("anna@example.net", "Hi"))
c:send("anna@example.net", { text = "https://example.net/tea.png", url = "https://example.net/tea.png" })
-- check
t:expect { "message", { to = "anna@example.net", id = id }, { "body", "Hi" } }
t:expect { "message", { "x", { xmlns = "jabber:x:oob" } } }

--- c:correct, c:retract
local c = chat.use(conn)
-- example
local id = assert(c:send("anna@example.net", "The tee is ready"))
c:correct("anna@example.net", id, "The tea is ready")
c:retract("anna@example.net", id)
-- check
t:expect { "message" }
t:expect { "message", { "replace", { id = id } }, { "body", "The tea is ready" } }
t:expect { "message", { "retract", { id = id } } }

--- c:react
local c = chat.use(conn)
-- example
c:on("message", function(m) c:react(m.from, m.id, { "👍" }) end)
-- check
t:receive { "message", { from = "anna@example.net/pc", type = "chat", id = "1" }, { "body", {}, "Hi" } }
t:expect { "message", { "reactions", { id = "1" } } }

--- c:state
local c = chat.use(conn, { states = true })
t:receive { "message", { from = "anna@example.net/pc", type = "chat", id = "1" }, { "body", {}, "Hi" },
  { "active", { xmlns = "http://jabber.org/protocol/chatstates" } } }
-- example
print(c:state("anna@example.net/pc", "composing"))               --> true
print(c:state("bert@example.net", "composing"))                  --> false
-- check
t:expect { "message", { "composing" } }

--- c:displayed
local c = chat.use(conn, { markers = true })
-- example
c:on("message", function(m) c:displayed(m) end)                  -- when a person has seen it
-- check
t:receive { "message", { from = "anna@example.net/pc", type = "chat", id = "1" }, { "body", {}, "Hi" },
  { "markable", { xmlns = "urn:xmpp:chat-markers:0" } } }
t:expect { "message", { "displayed", { id = "1" } } }

--- message.read, message.has_content, message.make_plain
local message = require "xmpp.chat.message"
local stanza = { "message", { from = "anna@example.net/pc", to = "bot@example.net", type = "chat" },
  { "body", {}, "Hi" }, { "replace", { xmlns = "urn:xmpp:message-correct:0", id = "1" } } }
local m, says = message.read(stanza, { me = "bot@example.net" })
print(m.text, says.replaces, message.has_content(m))             --> Hi 1 true
message.make_plain(m, stanza, "correction")                      -- the author of "1" is somebody else
print(m.suspicious)                                              --> correction
