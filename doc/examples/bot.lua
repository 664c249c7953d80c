-- Examples of the reference, page bot: see spec/support/manual.lua for how they are run.

--- bot.use, b:command
local anna = t:contact("anna@example.net", { subscription = "both" })
-- example
local b = assert(bot.use(conn, { admins = { "anna@example.net" }, prefix = "!" }))
local off = b:command("add", { args = "<a:number> <b:number>", help = "adds two numbers" }, function(ctx, args)
  return tostring(args.a + args.b)
end)
-- check
anna:says "!add 1 2"
assert(xexpr.text(t:expect { "message", { to = "anna@example.net/home" } }, "body"):find "3")
assert(off())

--- b:is_admin
local b = assert(bot.use(conn, { admins = { "anna@example.net" } }))
-- example
print(b:is_admin "anna@example.net", b:is_admin "mallory@evil.example")    --> true false

--- b:room
local there = t:room("tea@rooms.example.net", { occupants = { "anna" } })
local b = assert(bot.use(conn))
b:command("ping", {}, function() return "pong" end)
-- example
local room = assert(require("xmpp.muc").join(conn, "tea@rooms.example.net", "kettle"))
b:room(room)                                                     -- the bot listens there, too
-- check
there:says("anna", "!ping")
assert(xexpr.text(t:expect { "message", { type = "groupchat" } }, "body"):find "pong")

--- ctx:reply
local anna = t:contact("anna@example.net", { subscription = "both" })
local b = assert(bot.use(conn))
-- example
b:command("count", { args = "<to:int=3>" }, function(ctx, args)
  for i = 1, args.to do
    ctx:reply(tostring(i))
    xmpp.sleep(1)
  end
end)
-- check
anna:says "!count 2"
t:expect { "message" }
t:advance(1)
t:expect { "message" }
t:advance(5)
