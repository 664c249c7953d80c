-- newcomer_friend.lua HOST PORT CA PASSWORD SECONDS: anna, for spec/support/newcomer. She says "Hi" to the bot until it
-- answers with that word; if it doesn't within so many seconds the status is 1, with a sentence that says so.
local xmpp = require "xmpp"

local host, port, ca, password, seconds = arg[1], tonumber(arg[2]), arg[3], arg[4], tonumber(arg[5])

local conn = assert(xmpp.connect_client("anna@example.net", password, host, port, { ca_file = ca }))
conn:send { "presence" }
local answer
conn:set_callback(function(message)
  local text = xmpp.xexpr.text(message, "body")
  if text and text:find "Hi" and not xmpp.xexpr.is_error(message) then answer = text end
end, { name = "message" })

for _ = 1, seconds do
  conn:send { "message", { to = "bot@example.net", type = "chat" }, { "body", "Hi" } }
  for _ = 1, 10 do
    xmpp.sleep(0.1)
    if answer then
      assert(conn:stop())
      os.exit(0)
    end
  end
end
io.stderr:write("the bot hasn't answered for ", seconds, " seconds\n")
os.exit(1)
