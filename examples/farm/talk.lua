-- Somebody who talks to the bot of the farm while you kill parts of it: sends numbered messages, and tells how many
-- were answered, whether in order, and how long an answer took at most. See doc/scaling.md, and account.lua.
--
--   lua5.4 examples/farm/talk.lua alice@example.net PASSWORD bot@bots.example.net 500
local xmpp, account = require "xmpp", require "examples.account"

local PATIENCE = 20 -- seconds without an answer, after which what is missing is lost

local jid, password, opts = account "JID PASSWORD TO COUNT"
local to, count = arg[3], tonumber(arg[4])
opts.reconnect = true
local conn = assert(xmpp.connect_client(jid, password, opts))

local sent_at, answered, last, disorder, longest, heard_at = {}, 0, 0, 0, 0, os.time()

conn:set_handler(function(stanza)
  local n = tonumber((xmpp.xexpr.text(stanza, "body") or ""):match "^You said: (%d+)$")
  if not n or not sent_at[n] then return end -- a second answer is none
  heard_at = os.time()
  longest = math.max(longest, heard_at - sent_at[n])
  if n < last then disorder = disorder + 1 end
  sent_at[n], answered, last = nil, answered + 1, math.max(last, n)
end)
conn:send { "presence" }

for n = 1, count do
  sent_at[n] = os.time()
  conn:send { "message", { to = to, type = "chat", id = xmpp.id() }, { "body", n } }
  xmpp.sleep(0.01)
end
while answered < count and os.time() - heard_at < PATIENCE do xmpp.sleep(0.1) end
print(("talk: %d sent, %d answered, %d out of order, at most %d s to an answer"):format(count, answered, disorder,
  longest))
conn:stop()
os.exit(answered == count and disorder == 0 and 0 or 1)
