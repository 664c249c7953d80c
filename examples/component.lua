-- A component (XEP-0114) that serves all addresses of its domain and answers who asks what it is. It reconnects when
-- its link is lost, or when nothing is routed to it any more; on SIGTERM it first answers what has come.
--
--   lua5.4 examples/component.lua 127.0.0.1 5347 echo.example.net SECRET

local xmpp = require "xmpp"
local disco, ext, info = require "xmpp.disco", require "xmpp.ext", require "xmpp.info"

if #arg < 4 then
  io.stderr:write("usage: ", arg[0], " HOST PORT DOMAIN SECRET\n")
  os.exit(2)
end

local conn = assert(xmpp.connect_component(arg[1], tonumber(arg[2]), arg[3], arg[4],
  { reconnect = true, keepalive_probe = true }))
ext.use(conn, disco, { identity = { category = "component", type = "generic", name = "component.lua" } })
info.use(conn, { version = { name = "component.lua", version = xmpp._VERSION } })
conn:set_handler() -- any other request is refused

local left, why -- set when it has been drained
xmpp.on_signal("SIGTERM", function() left, why = conn:drain(8) end)

io.stderr:write("component: ", tostring(conn:jid()), "\n")
if not xmpp.run() then conn:stop() return end -- stopped by Ctrl-C
if not left then return assert(conn:receive()) end -- the connection has ended: raises the reason
io.stderr:write(("component: %d handled, %d left unread, %s\n"):format(left.handled, left.unread,
  tostring(why or "in order")))
os.exit(why and 1 or 0)
