-- Very many accounts in one process: each is a bot of its own that repeats what it hears. Tells what they take of
-- memory and processor time, and what rest costs. See doc/scaling.md.
--
--   lua5.4 examples/crowd.lua DOMAIN COUNT PASSWORD [PART OF]
--
-- The accounts are bot0@DOMAIN to botN@DOMAIN, with one password ("-": that in XMPP_PASSWORD). With PART and OF several
-- processes share them: process 2 of 4 has those whose number, divided by 4, leaves 1. XMPP_HOST, XMPP_PORT and
-- XMPP_CA are as in account.lua. Each connection is an open file: `ulimit -n` must be above their number, and so must
-- the server's.
local xmpp = require "xmpp"

local AT_ONCE = 50 -- logins at the same time: more would only wait for each other's hashing
local REST = 2     -- seconds for which it is watched when all are there

if #arg < 3 then
  io.stderr:write("usage: ", arg[0], " DOMAIN COUNT PASSWORD [PART OF]\n")
  os.exit(2)
end

local domain, count = arg[1], tonumber(arg[2])
local password = arg[3] == "-" and os.getenv "XMPP_PASSWORD" or arg[3]
local part, of = tonumber(arg[4] or 1), tonumber(arg[5] or 1)
local opts = { host = os.getenv "XMPP_HOST", port = tonumber(os.getenv "XMPP_PORT"), ca_file = os.getenv "XMPP_CA",
  reconnect = true, timeout = 120 }

-- Kilobytes of memory that are this process's (Linux).
local function memory()
  local file = assert(io.open "/proc/self/status")
  local text = file:read "*a"
  file:close()
  return tonumber(text:match "VmRSS:%s*(%d+)")
end

local function answer(stanza, conn)
  local text = xmpp.xexpr.text(stanza, "body")
  if stanza[1] ~= "message" or not text or xmpp.xexpr.is_error(stanza) then return end
  conn:send(xmpp.xexpr.reply(stanza, { "body", "You said: " .. text }))
end

local conns, next_number = {}, part - 1

local function log_in_one()
  local number = next_number
  next_number = number + of
  local conn = assert(xmpp.connect_client(("bot%d@%s"):format(number, domain), password, opts))
  conn:set_handler(answer)
  conn:send { "presence" }
  conns[#conns + 1] = conn
end

local function log_in()
  while next_number < count do log_in_one() end
  return true
end

local function tell(...)
  io.stderr:write("crowd: ", string.format(...), "\n")
end

log_in_one() -- not counted: most of what the first one takes is the library's own
collectgarbage()
local before, since, logins = memory(), os.clock(), {}
for i = 1, AT_ONCE do logins[i] = xmpp.spawn(log_in) end
for _, login in ipairs(logins) do assert(login:wait()) end
collectgarbage()
local more = math.max(#conns - 1, 1)
tell("%d connections, %.1f KB each, %.2f ms of processor time for each login", #conns, (memory() - before) / more,
  (os.clock() - since) * 1000 / more)
since = os.clock()
xmpp.sleep(REST)
tell("at rest, %.2f %% of a processor", (os.clock() - since) / REST * 100)

xmpp.on_signal("SIGTERM", xmpp.quit)
xmpp.run()
local ends = {}
for i, conn in ipairs(conns) do ends[i] = xmpp.spawn(function() return conn:stop() or true end) end
for _, ended in ipairs(ends) do ended:wait() end
