-- sender.lua JID PASSWORD HOST PORT CA TO N: sends N messages from a process of its own, and ends when the server has
-- acknowledged them. They are headlines, which servers don't archive: archiving would take most of the time.
local xmpp = require "xmpp"

local jid, password, host, port, ca, to, n = (table.unpack or unpack)(arg) -- luacheck: ignore 143
local conn = assert(xmpp.connect_client(jid, password, host, tonumber(port), { ca_file = ca, max_queue = 2 ^ 30 }))
for i = 1, tonumber(n) do
  assert(conn:send { "message", { to = to, type = "headline", id = i }, { "body", "one of very many" } })
end
assert(conn:flush(300))
assert(conn:stop(60))
