-- The program of http_faults_spec.lua: uploads by http.request again and again, with a failure in another place each
-- time. Prints how it went; exit status 1: something was wrong. See faults_login.lua for the environment variables.
local core = require "xmpp.core"
local faults = require "spec.support.faults"
local http = require "xmpp.http"
local xmpp = require "xmpp"

local E = os.getenv
local errno = tonumber(E "ERRNO" or 0)
local outcomes, wrong = {}, {}
xmpp.on_error(function() end)

-- The upload under test; the same with and without failures.
local function upload()
  local left, moved = 4, 0
  local answer, err = http.request { url = E "URL", ca_file = E "CA", resolve = "127.0.0.1", method = "PUT",
    size = 200000, timeout = 2, headers = { Cookie = "a=b" }, progress = function(sent) moved = sent end,
    body = function()
      left = left - 1
      return left >= 0 and ("x"):rep(50000) or nil
    end }
  if not answer then return err.condition, err end
  return answer.status == 201 and moved == 200000 and "fine" or "odd"
end

local function one(index)
  collectgarbage()
  if E "MODE" == "call" then faults.fail_call(index, errno) else faults.fail_allocation(index, E "STAYS" == "1") end
  local ok, outcome, err = pcall(upload)
  faults.off()
  local key = ok and outcome or "raised"
  outcomes[key] = (outcomes[key] or 0) + 1
  if not ok and not tostring(outcome):find "memory" then
    wrong[#wrong + 1] = ("%d raised %s"):format(index, tostring(outcome))
  end
  if key == "odd" then wrong[#wrong + 1] = index .. " is odd" end
  if err and (type(err.text) ~= "string" or err.condition == "") then wrong[#wrong + 1] = index .. " told nothing" end
  for _ = 1, 3 do xmpp.step(0) end
end

local function count()
  local before = faults.read()
  local outcome = upload()
  if outcome ~= "fine" then print(outcome) os.exit(1) end
  local after = faults.read()
  return E "MODE" == "call" and after.calls - before.calls or after.allocs - before.allocs
end

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
-- A wait that was interrupted by an error ends only with its timeout.
local function is_busy() return core.is_busy() or core.shared.http ~= nil end
local patience = core.now() + 15
while is_busy() and core.now() < patience do xmpp.step(0.1) end
if is_busy() then wrong[#wrong + 1] = "something is left on the loop" end
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
