-- memory_deeds: repeats something very often, and measures what is left in the process. Only memory.lua runs it:
--
--   lua memory_deeds.lua stanzas N        N stanzas each way on one connection
--   lua memory_deeds.lua bots N           N stanzas to a serial tap that waits; in each, taps and listeners come and go
--   lua memory_deeds.lua cycles N         N times connected and stopped
--   lua memory_deeds.lua resumptions N    N times cut and resumed
--   lua memory_deeds.lua archived N       N messages of an archive, by pages
--
-- A tenth of the repetitions comes first (the warm-up). Prints what the rest has added to that, as KEY=VALUE lines:
-- RESIDENT (KiB), DESCRIPTORS, REFERENCES (entries in the registry), OBJECTS (connections, timers and coroutines that
-- the registry leads to), LUA (KiB). BUSY=yes: something is still open at the end.
local child = require "spec.support.child"
local core = require "xmpp.core"
local xmpp = require "xmpp"

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }

local port

local function connect(opts)
  local o = { tls = "none", mechanisms = { "ANONYMOUS" } }
  for key, value in pairs(opts or {}) do o[key] = value end
  return assert(xmpp.connect_client("flood.test", nil, "127.0.0.1", port, o))
end

local function ping(conn)
  return assert(conn:send_await { "iq", { type = "get", to = "flood.test" }, PING })
end

local function command(conn, text)
  assert(conn:send { "message", { to = text .. "@flood.test" } })
end

-- What is repeated

local deeds = {}

local conn -- kept open as long as the process lives, except in `cycles`

local received = 0

-- Sends as fast as possible: a ping now and then waits until everything has been received.
local function send_many(n)
  for i = 1, n do
    assert(conn:send { "message", { to = "peer@flood.test", type = "chat" }, { "body", "one of very many" } })
    if i % 100 == 0 then ping(conn) end
  end
end

function deeds.stanzas(n)
  if not conn then
    conn = connect()
    conn:set_handler(function(stanza) if stanza[1] == "message" then received = received + 1 end end)
  end
  local goal = received + n
  command(conn, "flood-" .. n)
  send_many(n)
  while received < goal do ping(conn) end
end

-- What a bot does when it is called for a stanza: it waits, while taps and listeners are added and removed.
local function act()
  local p, c = xmpp.promise(), xmpp.channel(1)
  xmpp.spawn(function() c:put(p:wait()) end)
  local offs = { conn:tap(print, { id = "never" }), conn:on("full", print),
    core.conn.add(conn, "presence", nil, print) }
  p:resolve(true)
  assert(c:get())
  for _, off in ipairs(offs) do assert(off()) end
  received = received + 1
end

function deeds.bots(n)
  if not conn then
    conn = connect()
    conn:tap(act, { name = "message", serial = "from" })
  end
  for _ = 1, math.ceil(n / 500) do -- so that the most that waits at a time is always the same
    local goal = received + 500
    command(conn, "flood-500")
    while received < goal do assert(core.step(1)) end
    collectgarbage() -- otherwise the result would depend on how much is still to be collected
  end
end

local function cycle()
  local c = connect()
  ping(c)
  assert(c:stop())
end

function deeds.cycles(n)
  for _ = 1, n do
    cycle()
    collectgarbage()
  end
end

function deeds.resumptions(n)
  conn = conn or connect { reconnect = { min = 0.001, max = 0.01 } }
  local goal = conn:info().resumed + n
  while conn:info().resumed < goal do
    local before = conn:info().resumed
    command(conn, "cut")
    while conn:info().resumed == before do assert(core.step(1)) end
    ping(conn)
    collectgarbage()
  end
end

function deeds.archived(n)
  local archive = require "xmpp.archive"
  conn = conn or connect()
  n = math.max(n, 5000) -- enough for the amount of garbage to reach its maximum
  local seen = 0
  for m in archive.each(conn, { of = ("archive-%d@flood.test"):format(n), err = error }) do
    seen = seen + 1
    assert(m.text == ("message %d of very many"):format(seen))
  end
  assert(seen == n)
end

-- What is left

local function read(path, format)
  local f = assert(io.open(path))
  local text = f:read(format)
  f:close()
  return text
end

local function descriptors()
  local count = 0
  for n = 0, 1023 do
    local f = io.open("/proc/self/fdinfo/" .. n)
    if f then count = count + 1 f:close() end
  end
  return count
end

local function references()
  local count = 0
  for key, value in pairs(debug.getregistry()) do
    count = count + 1
    if type(key) == "userdata" and type(value) == "table" then -- one of the library's tables, such as that of waiters
      for _ in pairs(value) do count = count + 1 end
    end
  end
  return count
end

-- Counts userdata and coroutines that can be reached through tables and metatables; upvalues are not followed.
local function objects()
  local seen, list, count = {}, { debug.getregistry() }, 0
  local function push(value)
    local kind = type(value)
    if seen[value] or not (kind == "table" or kind == "userdata" or kind == "thread") then return end
    seen[value] = true
    list[#list + 1] = value
  end
  for _, value in ipairs(list) do -- the list grows meanwhile
    if type(value) ~= "table" then count = count + 1 end
    push(debug.getmetatable(value))
    for k, v in next, type(value) == "table" and value or {} do
      push(k)
      push(v)
    end
  end
  return count
end

local function measure()
  for _ = 1, 3 do collectgarbage() end
  return { RESIDENT = tonumber(read("/proc/self/statm", "*l"):match "^%d+ (%d+)") * 4, DESCRIPTORS = descriptors(),
    REFERENCES = references(), OBJECTS = objects(), LUA = collectgarbage "count" }
end

local function main(deed, n)
  local pipe = child.open("flood.py", {})
  port = tonumber(child.variables(pipe).PORT)
  for _ = 1, 2 do
    deeds[deed](math.ceil(n / 20))
    measure() -- measuring takes memory itself, which later measurements use again
  end
  local before = measure()
  deeds[deed](n - math.ceil(n / 10))
  local after = measure()
  for key, value in pairs(after) do print(("%s=%.0f"):format(key, value - before[key])) end
  if conn then assert(conn:stop()) end
  conn = nil
  core.step(0)
  print("BUSY=" .. (core.is_busy() and "yes" or "no"))
  pipe:close()
end

main(arg[1], tonumber(arg[2]))
