-- The program of faults_spec.lua: a login, a message to ourselves, an awaited response and a stop, again and again,
-- with a failure in another place each time. Prints how it went; exit status 1: something was wrong. Environment:
--   MODE    "allocation" or "call": what fails
--   TRIES   try at least so many places, evenly spread (default: all)
--   STAYS   1: after the first failure, all allocations fail
local faults = require "spec.support.faults"
local xmpp = require "xmpp"

local E = os.getenv
local errno = tonumber(E "ERRNO" or 0)
local outcomes, wrong = {}, {}
xmpp.on_error(function() end)

local function connect(keepalive)
  return xmpp.connect_client("alice@xmpp.test/f" .. xmpp.id(), "alicepw", E "XMPP_HOST", tonumber(E "XMPP_PORT"),
    { ca_file = E "XMPP_CA", timeout = 5, await_timeout = 3, mechanisms = { E "MECHANISM" }, keepalive = keepalive,
      proxy = E "PROXY" })
end

-- The session under test. -> "fine", or the layer of the error that was returned as nil, err, or "raised"
local PING = { "iq", { type = "get", to = "xmpp.test" }, { "ping", { xmlns = "urn:xmpp:ping" } } }

local function session()
  local conn, err = connect()
  if not conn then return err.layer, err end
  local sent
  sent, err = conn:send { "message", { to = tostring(conn:jid()), type = "chat" }, { "body", "Hi" } }
  local got, stopped
  if sent then got, err = conn:receive_blocking(3) end
  if got then got, err = conn:send_await(PING) end
  if got then stopped, err = conn:stop(2) else conn:stop(0.5) end
  if stopped then return "fine" end
  return err and err.layer or "nothing", err
end

local other -- a connection that stays open all the time, and must not be harmed
local function other_is_well()
  local pong, err = other:send_await(PING, 5)
  return pong ~= nil, err
end

local function one(index)
  collectgarbage()
  if E "MODE" == "call" then faults.fail_call(index, errno) else faults.fail_allocation(index, E "STAYS" == "1") end
  local ok, outcome, err = pcall(session)
  faults.off()
  local key = ok and outcome or "raised"
  outcomes[key] = (outcomes[key] or 0) + 1
  if not ok and not tostring(outcome):find "memory" then
    wrong[#wrong + 1] = ("%d raised %s"):format(index, tostring(outcome))
  end
  if key == "nothing" then wrong[#wrong + 1] = index .. " came to nothing" end
  if err and (type(err.text) ~= "string" or err.condition == "") then wrong[#wrong + 1] = index .. " told nothing" end
end

local function count_of_a_session()
  local before = faults.read()
  assert(session() == "fine", "a session without failures is not fine")
  local after = faults.read()
  return E "MODE" == "call" and after.calls - before.calls or after.allocs - before.allocs
end

other = assert(connect(0)) -- it does nothing meanwhile, so that no failure hits it
for _ = 1, 3 do count_of_a_session() end
local last = count_of_a_session()
collectgarbage()
collectgarbage()
local live = faults.read().live
local step = E "TRIES" and math.max(1, math.floor(last / tonumber(E "TRIES"))) or 1
local tried = 0
for index = 1, last, step do
  one(index)
  tried = tried + 1
end
local well, why = other_is_well()
if not well then wrong[#wrong + 1] = "the other connection was harmed: " .. tostring(why) end

local function growth()
  collectgarbage()
  collectgarbage()
  return faults.read().live - live
end

local grown = growth()
if grown > 32768 then -- a connection whose wait was interrupted by an error stays alive until the wait's timeout
  xmpp.sleep(3.5)
  grown = growth()
end
if grown > 32768 then wrong[#wrong + 1] = grown .. " bytes leaked" end
local told = {}
for key, n in pairs(outcomes) do told[#told + 1] = n .. " " .. key end
table.sort(told)
print(("%d of %d indices; %s; %d bytes more"):format(tried, last, table.concat(told, ", "), grown))
for i = 1, math.min(#wrong, 10) do print("wrong: " .. wrong[i]) end
os.exit(#wrong == 0 and 0 or 1)
