-- A script for embed.c: when it ends, everything is open that can be open: connections, one that is being opened,
-- waiters on them, timers, a stanza in the receive queue, an error that has just been raised.
local xmpp = xmpp -- luacheck: ignore 113
local host, port, ca = ...

local function connect(name, opts)
  opts.ca_file = ca
  return assert(xmpp.connect_client(name .. "@xmpp.test", name .. "pw", host, tonumber(port), opts))
end

local PING = { "iq", { type = "get", to = "xmpp.test" }, { "ping", { xmlns = "urn:xmpp:ping" } } }
local alice = connect("alice", { reconnect = true, log = function() end })
local bob = connect("bob", {})
local thrown = 0

xmpp.on_error(function() thrown = thrown + 1 end)
alice:set_callback(function() error "thrown" end, { name = "message" })
alice:set_callback_once(function() xmpp.sleep(1000) end)
alice:set_handler()
alice:on("state", function() end)
alice:send_callback(PING, function() end)
bob:send { "message", { to = tostring(alice:jid()) }, { "body", "Hi" } }
bob:send { "message", { to = tostring(bob:jid()) }, { "body", "Hi" } }
while thrown == 0 do xmpp.step(1) end
xmpp.every(1000, function() end)
xmpp.after(1000, function() end)
for _ = 1, 3 do
  xmpp.spawn(function() bob:send_await(PING) end)
  xmpp.spawn(function() connect("carol", {}) end)
end
xmpp.spawn(function() alice:flush() end)
for _ = 1, tonumber(host:match "%d+$") do xmpp.step(0) end
for _ = 1, 100 do bob:send { "message", { to = tostring(alice:jid()) }, { "body", ("x"):rep(1000) } } end
return "fine"
