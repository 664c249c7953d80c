-- Examples of the reference, page muc: see spec/support/manual.lua for how they are run.

--- muc.join
local there = t:room("tea@rooms.example.net", { occupants = { "anna" }, password = "milk" })
-- example
local room, err = muc.join(conn, "tea@rooms.example.net", "kettle", { password = "milk", rejoin = "kicked" })
if not room then error(err) end
room:on("message", function(m) print(m.nick, m.text) end)        --> anna Hi
-- check
there:says("anna", "Hi")

--- muc.use
local there = t:room "tea@rooms.example.net"
-- example
local m = assert(muc.use(conn, { accept = function(inv) return inv.reason == "tea time" and "kettle" end }))
m:on("invite", function(inv) print(inv.room, inv.reason) end)    --> tea@rooms.example.net tea time
-- check
there:invites("anna@example.net", "tea time")
t:advance(1)
assert(m.rooms["tea@rooms.example.net"].joined)

--- muc.rooms
local ITEMS = "http://jabber.org/protocol/disco#items"
t:on({ "iq", { to = "rooms.example.net" }, { "query", { xmlns = ITEMS } } }, function()
  return { "query", { xmlns = ITEMS }, { "item", { jid = "tea@rooms.example.net", name = "Tea" } } }
end)
-- example
for _, item in ipairs(assert(muc.rooms(conn, "rooms.example.net"))) do
  print(item.jid, item.name)                                     --> tea@rooms.example.net Tea
end

--- muc.info
t:room("tea@rooms.example.net", { config = { name = "Tea", description = "All about tea" } })
-- example
local info = assert(muc.info(conn, "tea@rooms.example.net"))
print(info.name, info.description, info.members_only)            --> Tea All about tea false

--- muc.register
t:room "tea@rooms.example.net"
-- example
print(muc.register(conn, "tea@rooms.example.net", "kettle"))     --> true

--- muc.invite
local id = assert(muc.invite(conn, "tea@rooms.example.net", "anna@example.net", "the tea is ready"))
-- check
t:expect { "message", { to = "anna@example.net" } }

--- room:say
local there = t:room("tea@rooms.example.net", { occupants = { "anna" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
room:say "Hello"
room:say({ text = "https://example.net/tea.png", url = "https://example.net/tea.png" }, {
  on = function(state) print(state) end,                         --> sent reflected
})
-- check
t:expect { "message", { type = "groupchat" }, { "body", "Hello" } }
t:expect { "message", { type = "groupchat" } }
assert(there)

--- room:set_subject
t:room("tea@rooms.example.net", { affiliations = { ["bot@example.net"] = "owner" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
room:set_subject "Tea at five"
-- check
t:expect { "message", { type = "groupchat" }, { "subject", "Tea at five" } }
assert(room.subject == "Tea at five")

--- room:whisper
t:room("tea@rooms.example.net", { occupants = { "anna" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
local id, err = room:whisper("anna", "psst")
print(select(2, room:whisper("nobody", "psst")).condition)       --> item-not-found
-- check
t:expect { "message", { to = "tea@rooms.example.net/anna", type = "chat" }, { "body", "psst" } }

--- room:set_nick, room:leave
t:room "tea@rooms.example.net"
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
print((room:set_nick "pot"))                                     --> pot
room:leave "Bye"

--- room:ping
t:room "tea@rooms.example.net"
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
local seconds, err = room:ping()
-- check
assert(seconds, err)

--- room:history
t:room("tea@rooms.example.net", { history = { "one", "two" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
local page = assert(room:history { max = 50 })
for _, m in ipairs(page) do print(m.text) end                    --> one two
if not page.complete then print(#assert(room:history { max = 50, before = page.first })) end

--- room:kick, room:ban
t:room("tea@rooms.example.net", { occupants = { "bert", { nick = "carl", jid = "carl@example.net/pc" } },
  affiliations = { ["bot@example.net"] = "admin" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
assert(room:kick("bert", "no more tea for you"))                 -- a nick
assert(room:ban("carl@example.net", "really"))                   -- an address
-- check
assert(not room.occupants.bert and not room.occupants.carl)

--- room:set_role, room:set_affiliation, room:list
t:room("tea@rooms.example.net", { occupants = { "bert" }, affiliations = { ["bot@example.net"] = "owner" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
assert(room:set_role("bert", "visitor"))
assert(room:set_affiliation("anna@example.net", "member"))
for _, item in ipairs(assert(room:list "member")) do print(item.jid) end    --> anna@example.net

--- room:config
t:room("tea@rooms.example.net", { affiliations = { ["bot@example.net"] = "owner" }, config = { name = "Tea" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
local form = assert(room:config())
print(form.values["muc#roomconfig_roomname"])                    --> Tea
assert(room:config { ["muc#roomconfig_roomname"] = "Green tea" })

--- room:moderate
local there = t:room("tea@rooms.example.net", { occupants = { "bert" },
  affiliations = { ["bot@example.net"] = "owner" }, stanza_ids = true, moderation = true })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
room:on("message", function(m)
  if m.text:find "buy now" then assert(room:moderate(m.stanza_id, "advertisement")) end
end)
-- check
local gone
room:on("moderated", function(what) gone = what.stanza_id end)
local _, id = there:says("bert", "buy now")
t:advance(1)
assert(gone == id)

--- room:invite
t:room("tea@rooms.example.net", { affiliations = { ["bot@example.net"] = "owner" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
room:invite("anna@example.net", "the tea is ready")              -- by the room, which makes a member of her if need be
-- check
t:sent()

--- room:destroy
t:room("tea@rooms.example.net", { affiliations = { ["bot@example.net"] = "owner" } })
local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
-- example
assert(room:destroy("we move", "coffee@rooms.example.net"))
