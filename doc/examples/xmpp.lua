-- Examples of the reference, page xmpp: see spec/support/manual.lua for how they are run.

--- xmpp.connect_client
t = testing.new { jid = "bot@example.net", intercept = true }
-- example
local conn, err = xmpp.connect_client("bot@example.net", "s3cret", { reconnect = true })
if not conn then error(err) end
-- check
assert(conn:state() == "ready")

--- xmpp.connect_component
t = testing.new { component = "weather.example.net", intercept = true }
-- example
local conn = assert(xmpp.connect_component("127.0.0.1", 5347, "weather.example.net", "secret"))
print(conn:jid())                                      --> weather.example.net

--- xmpp.resume
t = testing.new { jid = "bot@example.net", intercept = true }
local old = assert(xmpp.connect_client("bot@example.net", "s3cret", { reconnect = true }))
t:advance(1)
-- example
local saved = assert(old:save())                       -- in the old process
local conn = assert(xmpp.resume(saved, "s3cret"))      -- in the new one
print(conn:info().resumed)                             --> 1

--- xmpp.logout
local kept = { version = 1, jid = "bot@example.net", user_agent = "8b1c4d2e-0000-4000-8000-000000000000",
  mechanism = "HT-SHA-256-EXPR", token = "x" }
local real = xmpp.logout
function xmpp.logout(token, opts) assert(token == kept and opts.ca_file) return true end
-- example
local ok, why = xmpp.logout(kept, { ca_file = "ca.pem" })
if ok and why == "refused" then print "it was no good already" end
-- check
xmpp.logout = real -- servers with tokens are in spec/logout_spec.lua
assert(ok and not pcall(xmpp.logout, {}))

--- xmpp.default_handler
local log = {}
-- example
conn:set_handler(function(stanza, conn)
  log[#log + 1] = stanza                               -- and then what would have been done without this handler
  xmpp.default_handler(stanza, conn)
end)
-- check
conn:set_callback(function(m) print(m[1]) end)
t:receive { "message", { from = "a@b/c" } }
assert(#log == 1 and printed[1].text == "message")

--- xmpp.is_connection, xmpp.is_jid
print(xmpp.is_connection(conn), xmpp.is_connection "no")         --> true false
print(xmpp.is_jid(conn:jid()), xmpp.is_jid "a@example.net")      --> true false

--- xmpp.jid, jid:bare, jid:with_resource
local jid = assert(xmpp.jid "Anna@example.net/pc")
print(jid.localpart, jid.domainpart, jid.resourcepart)           --> anna example.net pc
print(jid:bare(), jid:with_resource "phone")                     --> anna@example.net anna@example.net/phone
print(xmpp.jid "anna@example.net" == jid:bare())                 --> true

--- xmpp.id
local id = xmpp.id()
print(#id >= 22, id ~= xmpp.id())                                --> true true

--- xmpp.hash, xmpp.base64, xmpp.unbase64
print(xmpp.base64(xmpp.hash("sha-1", "hello")))                  --> qvTGHdzF6KLavt4PO0gs2a6pQ00=
print(xmpp.unbase64 "aGVsbG8=", xmpp.unbase64 "???")             --> hello nil

--- xmpp.run, xmpp.after, xmpp.sleep
xmpp.after(0.01, function() print "ten milliseconds later" end)  --> ten milliseconds later
xmpp.run()                                                       -- until no connection, task or timer is left
xmpp.sleep(0.01)

--- xmpp.every, xmpp.quit, timer:cancel
local timer
timer = xmpp.every(0.01, function()
  timer:cancel()
  xmpp.quit()                                                    -- makes run return
end)
print(xmpp.run())                                                --> true

--- xmpp.on_signal
local off = xmpp.on_signal("SIGTERM", function(name) xmpp.quit() end)
off()                                                            -- SIGTERM does again what it did before

--- xmpp.wrap
local pages = xmpp.wrap(function()
  for page = 1, 2 do
    xmpp.sleep(0.01)                                             -- as if it were fetched
    coroutine.yield(page)
  end
end)
for page in pages do print(page) end                             --> 1 2

--- xmpp.step
local playing = 3
local function draw() playing = playing > 1 and playing - 1 or nil end
-- example
while playing do
  xmpp.step(0, 50)                                               -- once in a frame; never waits
  draw()
end

--- xmpp.forget
xmpp.forget()                                                    -- the server has changed

--- xmpp.fd, xmpp.timeout
local function poll() end
xmpp.after(60, print):cancel()
-- example
poll(xmpp.fd(), xmpp.timeout())                                  -- sleeps until the descriptor can be read, or so long
xmpp.step()

--- xmpp.spawn
local task = xmpp.spawn(function(a, b)
  xmpp.sleep(0.01)
  return a + b
end, 1, 2)
print(task:wait())                                               --> 3

--- xmpp.promise, promise:resolve, promise:wait
local p = xmpp.promise()
xmpp.after(0.01, function() p:resolve("ready", 1) end)
print(p:wait(10))                                                --> ready 1
print(p:resolve "again")                                         --> false

--- promise:reject
local p = xmpp.promise()
p:reject "out of tea"
print(p:wait())                                                  --> nil out of tea

--- xmpp.channel, channel:put, channel:get, channel:close
local c = xmpp.channel(10)
xmpp.spawn(function()
  c:put "one"
  c:put "two"
  c:close()
end)
print(c:get(10))                                                 --> one
print(c:get(10))                                                 --> two
print(select(2, c:get(10)).layer)                                --> closed

--- xmpp.on_error
local before
before = xmpp.on_error(function(text, object, whose) print(whose.what, object) end)    --> task oh no
xmpp.spawn(function() error("oh no", 0) end)
xmpp.sleep(0.01)
xmpp.on_error(before)
