-- burst: how much memory a process keeps after very many objects have existed at once. Only burst_spec runs it:
--
--   lua burst.lua cancelled N    N timers that are cancelled
--   lua burst.lua fired N        N timers that fire
--   lua burst.lua slept N        N coroutines that sleep
--   lua burst.lua asked N        N iqs that are answered
--   lua burst.lua lost N         N iqs that nobody answers in time
--   lua burst.lua jids N         N JIDs
--
-- Prints the KiB that are resident before it, after it (and a few steps and a cycle of the collector), and after
-- another cycle.
local fed = require "spec.support.fed"
local xmpp = require "xmpp"

local N = tonumber(arg[2])

local function resident()
  for line in io.lines "/proc/self/smaps_rollup" do
    local kib = line:match "^Rss:%s+(%d+) kB"
    if kib then return kib end
  end
end

local function turn_until(done)
  while not done() do xmpp.step(-1) end
end

local f = fed.open { jid = "alice@xmpp.test/here" }

local function ask(n, seconds)
  local over = 0
  for i = 1, n do
    local ping = { "iq", { type = "get", id = "i" .. i, to = "bob@xmpp.test" }, { "ping", { xmlns = "urn:x" } } }
    assert(f.conn:send_callback(ping, function() over = over + 1 end, seconds))
  end
  f:sent()
  return function() return over == n end
end

local deeds = {}

function deeds.cancelled(n)
  local timers = {}
  for i = 1, n do timers[i] = xmpp.after(1000 + i % 100, print) end
  for i = 1, n do timers[i]:cancel() end
end

function deeds.fired(n)
  local fired = 0
  for i = 1, n do xmpp.after(0.001 * (i % 10), function() fired = fired + 1 end) end
  turn_until(function() return fired == n end)
end

function deeds.slept(n)
  local slept = 0
  for i = 1, n do
    xmpp.spawn(function()
      xmpp.sleep(0.001 * (i % 10))
      slept = slept + 1
    end)
  end
  turn_until(function() return slept == n end)
end

function deeds.asked(n)
  local done = ask(n, 1000)
  for i = 1, n do f:feed("<iq type='result' from='bob@xmpp.test' id='i" .. i .. "'/>") end
  assert(done())
end

function deeds.lost(n)
  turn_until(ask(n, 0.01))
end

function deeds.jids(n)
  local jids = {}
  for i = 1, n do jids[i] = assert(xmpp.jid("user" .. i .. "@xmpp.test")) end
  assert(#jids == n)
end

-- Some memory is allocated by the first objects and kept for good.
local function warm_up()
  deeds[arg[1]](100)
  for _ = 1, 3 do
    xmpp.step(0)
    collectgarbage()
  end
end

local function settle()
  for _ = 1, 3 do xmpp.step(0) end
  collectgarbage()
end

warm_up()
print(resident())
deeds[arg[1]](N)
for _ = 1, 2 do
  settle()
  print(resident())
end
