-- crowd: many clients in one process, with the server `crowd`, for `make bench`.
--
--   crowd lua crowd.lua idle N [BYTES]   KiB of resident memory that each of N connections uses when it has become
--                                        idle. Each has logged in, sent presence and a query; with BYTES: and has
--                                        received an answer of that size.
--   crowd lua crowd.lua active N PINGS   microseconds of CPU for a ping on one of N, the others are idle
--
-- The first connection's memory isn't counted: it is the library's.

local xmpp = require "xmpp"

local clock = os.clock
local kept = {}

-- So long that no keepalive is sent before all are connected and idle, even on a busy machine.
local DAY = 86400

local function connect(i)
  local conn = assert(xmpp.connect_client(("user%d@bench.test"):format(i), "secret", "127.0.0.1",
    tonumber(os.getenv "BENCH_PORT"), { tls = "direct", ca_file = os.getenv "BENCH_CA", keepalive = DAY }))
  kept[#kept + 1] = conn
  return conn
end

local function resident()
  collectgarbage()
  collectgarbage()
  local f = assert(io.open("/proc/self/smaps_rollup"))
  local text = f:read "*a"
  f:close()
  return tonumber(text:match "Rss:%s+(%d+) kB")
end

-- Runs until nothing is left to do except for keepalives.
local function settle()
  while (xmpp.timeout() or math.huge) < 10 do xmpp.step(0.1) end
end

local function use(conn, bytes)
  conn:send { "presence" }
  assert(conn:ping())
  if not bytes then return end
  local roster = { "query", { xmlns = "jabber:iq:roster" } }
  assert(conn:send_await { "iq", { type = "get", id = "large-" .. bytes }, roster })
end

-- How many connections are possible: each has a descriptor, and there are a few others.
local function allowed(n)
  local f = assert(io.open "/proc/self/limits")
  local most = tonumber(f:read("*a"):match "Max open files%s+(%d+)") or math.huge
  f:close()
  if n <= most - 50 then return n end
  print(("note: %d connections, not %d, as no more than %d descriptors are allowed (ulimit -Hn)"):format(most - 50, n,
    most))
  return most - 50
end

local function idle(n, bytes)
  n = allowed(n)
  use(connect(0), bytes)
  settle()
  local before = resident()
  for i = 1, n do use(connect(i), bytes) end
  settle()
  print(("%.2f"):format((resident() - before) / n))
end

local function active(n, pings)
  for i = 1, n do connect(i) end
  local conn = kept[#kept]
  for _ = 1, 100 do assert(conn:ping()) end
  settle()
  local since = clock()
  for _ = 1, pings do assert(conn:ping()) end
  print(("%.2f"):format((clock() - since) * 1e6 / pings))
end

local modes = { idle = idle, active = active }
modes[arg[1]](tonumber(arg[2]), tonumber(arg[3]))
os.exit(0)
