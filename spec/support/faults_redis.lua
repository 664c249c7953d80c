-- The program of redis_faults_spec.lua: a connection to Redis, commands and what is published, again and again, with a
-- failure in another place each time. Prints how it went; its exit status is 1 when something was wrong. See
-- faults_login.lua for the variables.
local core = require "xmpp.core"
local faults = require "spec.support.faults"
local redis = require "xmpp.redis"
local xmpp = require "xmpp"

local E = os.getenv
local errno = tonumber(E "ERRNO" or 0)
local outcomes, wrong, opened = {}, {}, false -- the last one: there is a place for it, which takes no memory
xmpp.on_error(function() end)

local WHERE = { host = "localhost", port = tonumber(E "PORT"), timeout = 2, password = "s3cret" }
if E "CA" then WHERE.tls, WHERE.ca_file = true, E "CA" end

local function connect()
  local r, err = redis.connect(WHERE)
  opened = r
  return r, err
end

local function talk()
  local r, err = connect()
  if not r then return err.condition, err end
  local text = ("x"):rep(30000)
  local ok, why = r:call("SET", "text", text)
  if not ok then return why.condition, why end
  local got = {}
  local first = xmpp.spawn(function() got[1] = r:call("GET", "text") end)
  got[2], err = r:call("EVAL", "return { 1, { 'a', { err = 'B' } }, false }", 0)
  first:wait()
  if not got[2] then return err.condition, err end
  return got[1] == text and got[2][2][1] == "a" and "fine" or got[1] == nil and "half" or "odd"
end

local function close_all()
  if opened then opened:close() end
  opened = false
end

local function one(index)
  collectgarbage()
  if E "MODE" == "call" then faults.fail_call(index, errno) else faults.fail_allocation(index, E "STAYS" == "1") end
  local ok, outcome, err = pcall(talk)
  faults.off()
  local key = ok and outcome or "raised"
  outcomes[key] = (outcomes[key] or 0) + 1
  if not ok and not tostring(outcome):find "memory" then
    wrong[#wrong + 1] = ("%d raised %s"):format(index, tostring(outcome))
  end
  if key == "odd" then wrong[#wrong + 1] = index .. " is odd" end
  if err and (type(err.text) ~= "string" or err.condition == "") then wrong[#wrong + 1] = index .. " told nothing" end
  close_all()
  for _ = 1, 3 do xmpp.step(0) end
end

local function count()
  local before = faults.read()
  local outcome = talk()
  if outcome ~= "fine" then print(outcome) os.exit(1) end
  local after = faults.read()
  close_all()
  return E "MODE" == "call" and after.calls - before.calls or after.allocs - before.allocs
end

-- libuv ends the process when it has no memory to know of a descriptor with a higher number: so it knows of some.
local held = {}
for i = 1, 100 do held[i] = assert(io.open "/dev/null") end
count()
for _, file in ipairs(held) do file:close() end
for _ = 1, 3 do count() end
local last = count()
collectgarbage()
collectgarbage()
local live = faults.read().live
local step = E "TRIES" and math.max(1, math.floor(last / tonumber(E "TRIES"))) or 1
local tried = 0
for index = 1, last, step do
  one(index)
  tried = tried + 1
end
-- What raised before it could be closed is closed by the collector; a wait that an error has cut off ends with its
-- time.
collectgarbage()
local patience = core.now() + 15
while core.is_busy() and core.now() < patience do
  xmpp.step(0.1)
  collectgarbage()
end
if core.is_busy() then wrong[#wrong + 1] = "something is left on the loop" end
if count() <= 0 then wrong[#wrong + 1] = "it doesn't work any more" end
collectgarbage()
collectgarbage()
local grown = faults.read().live - live
if grown > 65536 then wrong[#wrong + 1] = grown .. " bytes leaked" end
local told = {}
for key, n in pairs(outcomes) do told[#told + 1] = n .. " " .. key end
table.sort(told)
print(("%d of %d indices; %s; %d bytes more"):format(tried, last, table.concat(told, ", "), grown))
for i = 1, math.min(#wrong, 10) do print("wrong: " .. wrong[i]) end
os.exit(#wrong == 0 and 0 or 1)
