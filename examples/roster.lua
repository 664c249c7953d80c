-- Shows an account's contacts and which of them are online, until it is stopped. Subscription requests from the
-- account's own server are approved, and returned; an address after the password is sent one. See account.lua.

local xmpp, account = require "xmpp", require "examples.account"
local presence, roster = require "xmpp.presence", require "xmpp.roster"

local conn = assert(xmpp.connect_client(account "JID PASSWORD"))
io.stdout:setvbuf "line"

local function is_neighbour(jid)
  if xmpp.jid(jid).domainpart == conn:jid().domainpart then return true end
end

local r = roster.use(conn, { approve = is_neighbour, mutual = true })
r:on("presence", function(jid, p) print(jid .. " is " .. (p.type or p.show or "online")) end)
r:on("request", function(jid) print(jid .. " wants to see when you are there") end)
for _, event in ipairs { "added", "changed", "removed" } do
  r:on(event, function(item) print(("%s %s: %s"):format(event, item.jid, item.subscription)) end)
end

assert(r:fetched(30))
for jid, item in pairs(r.items) do print(("%s (%s): %s"):format(item.name or jid, jid, item.subscription)) end
print("roster of " .. tostring(conn:jid():bare()))
if arg[3] then assert(r:subscribe(arg[3])) end
assert(presence.set(conn, { status = "reading my roster" }))

if not xmpp.run() then conn:stop() return end -- stopped by Ctrl-C
assert(conn:receive()) -- the connection has ended: raises the reason
