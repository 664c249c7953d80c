-- Shows the items of a node, and new ones as they come, until it is stopped. A text after the node's name is published
-- first, into a node that is created if it doesn't exist. SERVICE "-" stands for the server's own pubsub service, PEP
-- for the account itself. See account.lua.

local xmpp, account = require "xmpp", require "examples.account"
local disco, presence, pubsub = require "xmpp.disco", require "xmpp.presence", require "xmpp.pubsub"
local xexpr = xmpp.xexpr

local NOTE = "urn:example:note"

local conn = assert(xmpp.connect_client(account "JID PASSWORD SERVICE NODE"))
io.stdout:setvbuf "line"

local service, node, text = arg[3], arg[4], arg[5]
if service == "-" then service = assert(disco.find(conn, { category = "pubsub", type = "service" })).jid end
if service == "PEP" then service = nil end

local function show(kind, item)
  print(("%s %s: %s"):format(kind, item.id or "-", item.payload and xexpr.text(item.payload) or "-"))
end

pubsub.on(conn, { service = service or conn:jid():bare(), node = node }, function(event) show(event.kind, event) end)

if text then
  local made, err = pubsub.create(conn, service, node)
  if not made and err.condition ~= "conflict" then error(err, 0) end
end
if service or not text then assert(pubsub.subscribe(conn, service, node)) end
assert(presence.set(conn, {}))
for _, item in ipairs(assert(pubsub.items(conn, service, node, { max = 10 }))) do show("has", item) end
print("listening to " .. node)
if text then assert(pubsub.publish(conn, service, node, { "note", { xmlns = NOTE }, text })) end

if not xmpp.run() then conn:stop() return end -- stopped by Ctrl-C
assert(conn:receive()) -- the connection has ended: raises the reason
