-- A process of a farm, for specs (farm.lua): an intake or a worker, by what is in the environment. Prints its pid and
-- "ready" on a line; ends by TERM, with what it knows on another line.
--
--   ROLE=worker   FARM_NAME, REDIS_PORT, STREAMS, LEASE, MOST. Each call of its handler is noted in the list
--                 NAME:log in Redis: "pid|from|body|again". What the handler does is said by the body:
--                 "sleep N", "throw", "die", "mute" (no answer); anything else is answered by "re: " and the body
--   ROLE=intake   besides, COMPONENT_PORT, DOMAIN, SECRET, MAX_LENGTH
local redis = require "xmpp.redis"
local xmpp = require "xmpp"

local E = os.getenv
local NAME = E "FARM_NAME"
local WHERE = { port = tonumber(E "REDIS_PORT") }
local log, thing

io.stdout:setvbuf "line"

local function pid()
  local f = assert(io.open "/proc/self/stat")
  local number = f:read "*a":match "^%d+"
  f:close()
  return number
end

local function note(entry)
  while true do
    if not log or log:why() then log = redis.connect(WHERE) end
    if log and log:call("RPUSH", NAME .. ":log", entry) then return end
    xmpp.sleep(0.2)
  end
end

local function handle(stanza, again)
  local body = xmpp.xexpr.text(stanza, "body") or "?"
  note(table.concat({ pid(), stanza[2].from, body, again or "" }, "|"))
  local seconds = body:match "^sleep ([%d.]+)"
  if seconds then xmpp.sleep(tonumber(seconds)) end
  if body:find "^throw" then error "thrown" end
  if body:find "^die" then os.execute("kill -KILL " .. pid()) xmpp.sleep(10) end
  if body:find "^mute" then return end
  return xmpp.xexpr.reply(stanza, { id = "re-" .. (stanza[2].id or "") }, { "body", "re: " .. body })
end

local common = { redis = WHERE, name = NAME, streams = tonumber(E "STREAMS" or 16), lease = tonumber(E "LEASE" or 5),
  max_length = tonumber(E "MAX_LENGTH" or 10000),
  on_state = function(state, err) io.stderr:write(E "ROLE", " ", state, " ", tostring(err or ""), "\n") end }

if E "ROLE" == "worker" then
  common.handler, common.pause, common.max_deliveries = handle, 0.05, tonumber(E "MOST" or 5)
  common.on_dead = function(_, err) io.stderr:write(tostring(err), "\n") end
  thing = assert(xmpp.stream.worker(common))
else
  common.component = { host = "127.0.0.1", port = tonumber(E "COMPONENT_PORT"), domain = E "DOMAIN",
    secret = E "SECRET", opts = { reconnect = { min = 0.2, max = 2 } } }
  thing = assert(xmpp.stream.intake(common))
end

xmpp.on_signal("SIGTERM", xmpp.quit)
print(pid() .. " ready")
xmpp.run()
local ok, err = thing:stop(60)
local told = {}
for name, n in pairs(thing:info()) do told[#told + 1] = name .. "=" .. n end
table.sort(told)
print(table.concat(told, " "), ok or tostring(err))
if log then log:close() end
os.exit(ok and 0 or 1)
