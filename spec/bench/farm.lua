-- farm: what it costs to spread a component's work by streams of Redis, for `make bench`. Prints microseconds of CPU a
-- stanza, of this process; and those of Redis: "redis 12.3".
--
--   peer flood FILE lua farm.lua direct FILE N   one process: takes N stanzas, and answers the messages
--   peer flood FILE lua farm.lua intake FILE N   an intake: takes N stanzas, and puts them into Redis
--   peer sink lua farm.lua send FILE N           an intake: sends N answers that are in Redis
--   lua farm.lua worker FILE N                   a worker: takes N stanzas out of Redis, and puts answers to the
--                                                messages there

local core = require "xmpp.core"
local redis = require "spec.support.redis"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local NAME, STREAMS = "bench", 16
local clock = os.clock

if not redis.is_there() then
  print "not measured: no redis-server, or no hiredis"
  os.exit(0)
end

local function turn_until(f)
  while not f() do xmpp.step(1) end
end

-- Seconds that Redis has had of the processors; what it does beside its one thread is little.
local function redis_seconds(server)
  local f = assert(io.open(("/proc/%d/schedstat"):format(server.pid)))
  local nanoseconds = f:read "*a":match "^%d+"
  f:close()
  return tonumber(nanoseconds) / 1e9
end

local function measure(server, n, f)
  local since, redis_since = clock(), server and redis_seconds(server) or 0
  f()
  local spent = clock() - since
  local redis_spent = server and redis_seconds(server) - redis_since or 0
  print(("%.6f redis %.6f"):format(spent * 1e6 / n, redis_spent * 1e6 / n))
end

local function answer(stanza)
  if stanza[1] ~= "message" then return nil end
  return xexpr.reply(stanza, { "body", "You said: " .. (xexpr.text(stanza, "body") or "") })
end

local COMPONENT = { host = "127.0.0.1", port = tonumber(os.getenv "BENCH_PORT"), domain = "bench.test",
  secret = "secret" }

-- Without an append-only file: that is the disk's time, not a processor's.
local function start_redis() return redis.start { appendonly = "no" } end

local function options(server, more)
  local o = { redis = { port = server.port }, name = NAME, streams = STREAMS, volatile = true, max_length = 1e7 }
  for name, value in pairs(more) do o[name] = value end
  return o
end

local function direct(_, n)
  local c, seen = COMPONENT, 0
  local conn = assert(xmpp.connect_component(c.host, c.port, c.domain, c.secret))
  conn:set_handler(function(stanza)
    seen = seen + 1
    local out = answer(stanza)
    if out then conn:send(out) end
  end)
  conn:send { "presence" }
  measure(nil, n, function() turn_until(function() return seen >= n end) end)
end

local function intake(_, n)
  local server = start_redis()
  local it = assert(xmpp.stream.intake(options(server, { component = COMPONENT, remember = 0 })))
  xmpp.sleep(0.2)
  it:conn():send { "presence" }
  measure(server, n, function() turn_until(function() return it:info().taken >= n end) end)
  server:stop()
end

local function each_stanza(file, n, f)
  local bytes = assert(io.open(file, "rb"))
  local text = "<all xmlns='jabber:component:accept'>" .. bytes:read "*a" .. "</all>"
  local list = assert(core.from_xml and xexpr.from_xml(text))
  bytes:close()
  for i = 1, n do f(i, list[2 + (i - 1) % (#list - 2) + 1]) end
end

-- Entries of the file's stanzas, as many in each stream.
local function fill(server, side, file, n, form)
  local r, waiting = assert(require "xmpp.redis".connect { port = server.port, timeout = 60 }), 0
  each_stanza(file, n, function(i, stanza)
    local json = xexpr.to_json(form and form(stanza, i) or stanza)
    waiting = waiting + 1
    xmpp.spawn(function()
      r:call("XADD", ("%s:%s:%d"):format(NAME, side, i % STREAMS), "*", "v", "1", "key", "x", "stanza", json)
      waiting = waiting - 1
    end)
    if waiting > 500 then turn_until(function() return waiting < 100 end) end
  end)
  turn_until(function() return waiting == 0 end)
  r:close()
  collectgarbage()
  collectgarbage()
end

local function worker(file, n)
  local server = start_redis()
  fill(server, "in", file, n)
  local it = assert(xmpp.stream.worker(options(server, { handler = answer })))
  measure(server, n, function() turn_until(function() return it:info().done >= n end) end)
  server:stop()
end

local function send(file, n)
  local server = start_redis()
  fill(server, "out", file, n, function(_, i)
    return { "message", { to = "romeo@example.net", from = "bench.test", type = "chat", id = "x" .. i },
      { "body", {}, "Hi there, how are you?" } }
  end)
  local it = assert(xmpp.stream.intake(options(server, { component = COMPONENT, remember = 0 })))
  measure(server, n, function() turn_until(function() return it:info().sent >= n end) end)
  server:stop()
end

local modes = { direct = direct, intake = intake, worker = worker, send = send }
modes[arg[1]](arg[2], tonumber(arg[3]))
os.exit(0)
