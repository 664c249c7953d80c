-- Examples of the reference, page gateway: see spec/support/manual.lua for how they are run.

--- gateway.use
t = testing.new { component = "irc.example.net" }
-- example
local g = assert(gateway.use(conn, { name = "IRC", type = "irc", register = { fields = { { var = "nick" } } } }))
g:on("register", function(person, values) print(person, values.nick) end)    --> bob@example.net bobby
-- check
t:receive { "iq", { type = "set", id = "1", from = "bob@example.net/pc", to = "irc.example.net" },
  { "query", { xmlns = "jabber:iq:register" }, form.submit("jabber:iq:register", { nick = "bobby" }) } }
t:sent()

--- g:user, user:message, user:presence, user:subscribe
t = testing.new { component = "irc.example.net" }
local g = assert(gateway.use(conn, { name = "IRC", type = "irc" }))
-- example
local anna = assert(g:user "Anna B.")                            -- the same one each time
print(anna.jid)                                                  --> anna\20b.@irc.example.net
anna:presence { show = "away" }                                  -- to all who have subscribed
anna:message("bob@example.net", "hello")
anna:subscribe("bob@example.net", "may I?")
-- check
t:expect { "message", { from = anna.jid, to = "bob@example.net" }, { "body", "hello" } }
t:expect { "presence", { type = "subscribe" } }

--- user:avatar, user:remove
t = testing.new { component = "irc.example.net" }
local g = assert(gateway.use(conn, { name = "IRC", type = "irc" }))
local anna = assert(g:user "anna")
local png = "\137PNG\r\n\26\n"
-- example
anna:avatar(png)
print(#anna.avatar_hash)                                         --> 40
anna:remove()
