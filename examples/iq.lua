-- Asks the server, or the address after the password, for a sign of life (XEP-0199) and its version (XEP-0092). See
-- account.lua.

local xmpp, account = require "xmpp", require "examples.account"
local xexpr = xmpp.xexpr

local conn = assert(xmpp.connect_client(account "JID PASSWORD"))
local to = arg[3] or conn:jid().domainpart

-- Returns the response to a question, nil if it is an error. No response at all ends the program.
local function ask(question)
  local response = assert(conn:send_await({ "iq", { type = "get", to = to }, question }, 10))
  if not xexpr.is_error(response) then return response end
  print(("%s: %s"):format(question[1], xexpr.name(response[#response][3])))
end

if ask { "ping", { xmlns = "urn:xmpp:ping" } } then print("ping: " .. to .. " is there") end

local version = ask { "query", { xmlns = "jabber:iq:version" } }
if version then
  local query = xexpr.child(version, "query")
  print(("version: %s %s"):format(xexpr.text(query, "name"), xexpr.text(query, "version")))
end

assert(conn:stop())
