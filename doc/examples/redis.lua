-- Examples of the reference, page redis: see spec/support/manual.lua for how they are run.

--- redis.available
local ok, err = redis.available()
if not ok then print(err) end                                    -- built without hiredis
-- check
assert(ok, err)

--- redis.connect, r:call, r:close
local s = require "spec.support.redis".start { requirepass = "secret" }
local connect = redis.connect
function redis.connect(o)
  assert(o.host == "127.0.0.1")
  return connect { host = o.host, port = s.port, password = o.password }
end
-- example
local r, err = redis.connect { host = "127.0.0.1", password = "secret", timeout = 5 }
if not r then error(err) end
print(r:call("SET", "visits", 41))                               --> OK
print(r:call("INCR", "visits"))                                  --> 42
print(r:call("GET", "nothing"))                                  --> false
local _, refused = r:call("LPUSH", "visits", "x")
print(refused.condition)                                         --> WRONGTYPE
r:close()
-- check
redis.connect = connect
s:stop()

--- r:subscribe
local s = require "spec.support.redis".start()
local r, other = assert(redis.connect { port = s.port }), assert(redis.connect { port = s.port })
-- example
assert(r:subscribe("news", function(text) print(text) end))      --> hello
-- check
other:call("PUBLISH", "news", "hello")
while #printed == 0 do xmpp.step(1) end
r:close()
other:close()
s:stop()

--- r:why
local s = require "spec.support.redis".start()
local r = assert(redis.connect { port = s.port })
s:stop()
while not r:why() do xmpp.step(1) end
-- example
local err = r:why()
if err then print(err.condition) end                             --> cut
