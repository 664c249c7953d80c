-- Examples of the reference, page ext: see spec/support/manual.lua for how they are run.

--- ext.use
local Counter = { name = "counter", events = { "ten" }, taps = { { { name = "message" }, function(st)
  st.n = st.n + 1
  if st.n % 10 == 0 then st:emit("ten", st.n) end
end } } }
function Counter.start(st, conn, opts) st.n = opts.from or 0 end

local counter = assert(ext.use(conn, Counter, { from = 9 }))
counter:on("ten", function(n) print(n) end)                      --> 10
-- check
t:receive { "message", { from = "a@b/c" } }

--- handle:on, handle:emit
local Clock = { name = "clock", events = { "tick" } }
-- example
local clock = assert(ext.use(conn, Clock))
local off = clock:on("tick", function(n) print("tick " .. n) end)    --> tick 1
clock:emit("tick", 1)
off()
-- check
t:advance(0)
assert(#printed == 1)

--- ext.of, ext.list, ext.drop
print(ext.of(conn, roster))                                      --> nil
roster.use(conn)
print(table.concat(ext.list(conn), ","))                         --> disco,presence,roster
print(ext.drop(conn, roster))                                    --> true

--- ext.features
ext.use(conn, { name = "attention", features = { "urn:xmpp:attention:0" } })
print(ext.features(conn)["urn:xmpp:attention:0"])                --> true

--- ext.watch, ext.changed
local off = ext.watch(conn, function() print "features may have changed" end)    --> features may have changed
ext.changed(conn)
off()
-- check
t:advance(0)

--- ext.ready
roster.use(conn)
-- example
assert(ext.ready(conn, 10))                                      -- the roster is here, and all the rest

--- ext.save, ext.load
t = testing.new { jid = "bot@example.net", intercept = true }
local conn = assert(xmpp.connect_client("bot@example.net", "s3cret", { reconnect = true }))
roster.use(conn)
t:advance(1)
-- example
local kept = ext.save(conn)                                      -- in the old process, in front of conn:save()
local saved = assert(conn:save())

local conn = assert(xmpp.resume(saved, "s3cret", { reconnect = true }))
ext.load(conn, kept)                                             -- in the new one, in front of the first use
local r = assert(roster.use(conn))
-- check
assert(r:fetched(10))
