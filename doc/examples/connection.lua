-- Examples of the reference, page connection: see spec/support/manual.lua for how they are run.

--- conn:send
local ok, err = conn:send { "message", { to = "anna@example.net", type = "chat" }, { "body", "Hi" } }
conn:send({ "message", { to = "anna@example.net" }, { "body", "Again" } }, {
  on = function(state, err) print(state) end,                    --> written acked
})
-- check
t:expect { "message", { type = "chat" } }
t:expect { "message" }
t:advance(1)
assert(ok)

--- conn:stop
assert(conn:stop(10))                                            -- waits until what was sent is acknowledged
print(conn:state())                                              --> closed

--- conn:flush, conn:pending
conn:send { "message", { to = "anna@example.net" }, { "body", "Hi" } }
local bytes, stanzas = conn:pending()
print(stanzas)                                                   --> 1
assert(conn:flush(10))
print(conn:pending())                                            --> 0 0
-- check
t:expect { "message" }
assert(bytes > 0)

--- conn:ping
local seconds = assert(conn:ping(10))
-- check
assert(type(seconds) == "number")

--- conn:drain
local left = assert(conn:drain(10))                               -- what has come is finished, nothing more is taken
print(left.handled, left.unread, left.unsent)                    --> 0 0 0
print(conn:state())                                              --> closed

--- conn:probe
t = testing.new { component = "weather.example.net" }
local conn = t.conn
local seconds = assert(conn:probe(10))                           -- to oneself, through the server, and back
-- check
assert(type(seconds) == "number")

--- conn:state
print(conn:state())                                              --> ready

--- conn:on
local off = conn:on("state", function(state, err) print(state) end)    --> closing closed
conn:stop()
off()

--- conn:token
local function keep() end
-- example
conn:on("token", keep)                                           -- each one that the server gives
local token = conn:token()                                       -- the present one; nil: there is none
-- check
assert(token == nil)

--- conn:save
local saved, err = conn:save()                                   -- see xmpp.resume
print(conn:state())                                              --> closed
-- check
assert(saved, err)

--- conn:receive
t:receive { "message", { from = "anna@example.net/pc" }, { "body", {}, "Hi" } }
-- example
local stanza = conn:receive()                                    -- nil: there is none now
if stanza then print(stanza[1]) end                              --> message

--- conn:receive_blocking
t:receive { "message", { from = "anna@example.net/pc" }, { "body", {}, "Hi" } }
-- example
local stanza, err = conn:receive_blocking(10)
print(stanza and stanza[2].from or err)                          --> anna@example.net/pc

--- conn:set_handler, conn:handler, conn:stop_handler
local function show(stanza, conn) print(stanza[1]) end           --> presence
conn:set_handler(show)
print(conn:handler() == show)                                    --> true
-- check
t:receive { "presence", { from = "anna@example.net/pc" } }
conn:stop_handler()
assert(conn:handler() == nil)

--- conn:set_callback
conn:set_callback(function(message, conn)
  print(message[2].from)                                         --> anna@example.net/pc
end, { name = "message", type = "chat" })
-- check
t:receive { "message", { from = "anna@example.net/pc", type = "chat" }, { "body", {}, "Hi" } }
t:receive { "message", { from = "anna@example.net/pc", type = "headline" }, { "body", {}, "Hi" } }

--- conn:callbacks, conn:unset_callback
local function greet() end
conn:set_callback(greet)
print(#conn:callbacks())                                         --> 1
print(conn:unset_callback(greet), conn:unset_callback(greet))    --> true false

--- conn:set_callback_once
conn:set_callback_once(function(message)
  local text = xmpp.xexpr.text(message, "body")
  print(text)                                                    --> no yes
  return text == "yes"                                           -- true: it isn't called again
end, { name = "message" })
-- check
for _, word in ipairs { "no", "yes", "again" } do t:receive { "message", { from = "a@b/c" }, { "body", {}, word } } end

--- conn:tap
local off = conn:tap(function(stanza)
  print(stanza[2].from)                                          --> noise@example.net/x
  return true                                                    -- nobody else gets it
end, { name = "message", has = "urn:example:noise" })
-- check
t:receive { "message", { from = "noise@example.net/x" }, { "noise", { xmlns = "urn:example:noise" } } }
assert(conn:receive() == nil and off())

--- conn:send_callback
conn:send_callback({ "iq", { type = "get", to = "example.net" }, { "ping", { xmlns = "urn:xmpp:ping" } } },
  function(stanza, conn, err) print(stanza and stanza[2].type or err) end)     --> result
-- check
t:advance(1)

--- conn:send_await
local response = assert(conn:send_await({ "iq", { type = "get", to = "example.net" },
  { "ping", { xmlns = "urn:xmpp:ping" } } }, 10))
print(response[2].type)                                          --> result

--- conn:jid
print(conn:jid():bare())                                         --> bot@example.net

--- conn:info
local info = conn:info()
print(info.mechanism, info.stream_management, info.resumed)      --> PLAIN true 0
