-- Examples of the reference, page stream: see spec/support/manual.lua for how they are run.

--- stream.worker
local farm = require "spec.support.farm_here".open()
-- example
local worker = assert(xmpp.stream.worker {
  name = "bots", redis = { host = "127.0.0.1" },
  handler = function(stanza, again)                              -- again: how often it was begun before
    if stanza[1] ~= "message" then return end
    return xexpr.reply(stanza, { "body", "You said: " .. xexpr.text(stanza, "body") })
  end,
})
-- check
farm.put { "message", { from = "anna@example.net/pc", to = "bot@bots.example.net" }, { "body", {}, "Hi" } }
assert(xexpr.text(farm.answer(), "body") == "You said: Hi")
assert(worker:stop())
farm.close()

--- stream.intake
local farm = require "spec.support.farm_here".open()
-- example
local intake = assert(xmpp.stream.intake {
  name = "bots", redis = { host = "127.0.0.1" },
  component = { host = "127.0.0.1", port = 5347, domain = "bots.example.net", secret = "secret" },
})
-- check
farm.feed "<message from='anna@example.net/pc' to='bot@bots.example.net'><body>Hi</body></message>"
assert(xexpr.text(farm.taken(), "body") == "Hi")
assert(intake:stop())
farm.close()

--- intake:conn, intake:info, intake:stop
local farm = require "spec.support.farm_here".open()
local intake = farm.intake()
farm.feed "<message from='anna@example.net/pc' to='bot@bots.example.net'><body>Hi</body></message>"
farm.taken()
-- example
print(intake:conn() ~= nil, intake:info().taken)                 --> true 1
local ok, err = intake:stop(10)                                  -- behind xmpp.run(), which SIGTERM has ended
if not ok then print(err) end                                    -- how many stanzas Redis hasn't taken
-- check
assert(ok, err)
farm.close()

--- worker:info, worker:stop
local farm = require "spec.support.farm_here".open()
local worker = farm.worker(function() end)
farm.put { "message", { from = "anna@example.net/pc", to = "bot@bots.example.net" }, { "body", {}, "Hi" } }
farm.wait(function() return worker:info().done == 1 end)
-- example
print(worker:info().done, worker:info().workers)                 --> 1 1
local ok, err = worker:stop(10)
if not ok then print(err) end                                    -- a handler has not returned in time
-- check
assert(ok, err)
farm.close()
