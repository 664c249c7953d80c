-- A component (XEP-0114): it is there for all addresses of its domain, and tells who asks what it is.
--
--   lua5.4 examples/component.lua 127.0.0.1 5347 echo.example.net SECRET

local xmpp = require "xmpp"
local xexpr = xmpp.xexpr

if #arg < 4 then
  io.stderr:write("usage: ", arg[0], " HOST PORT DOMAIN SECRET\n")
  os.exit(2)
end

local DISCO = "http://jabber.org/protocol/disco#info"

local conn = assert(xmpp.connect_component(arg[1], tonumber(arg[2]), arg[3], arg[4]))

-- Questions whose first child is in this namespace get the reply that `make` makes. All others the library answers
-- itself, by an error that says so.
local function answer(xmlns, make)
  conn:set_callback(function(question) conn:send(make(question)) end, { name = "iq", type = "get", xmlns = xmlns })
end

answer("urn:xmpp:ping", function(question) return xexpr.reply(question) end)

answer("jabber:iq:version", function(question)
  return xexpr.reply(question, { "query", { xmlns = "jabber:iq:version" },
    { "name", "component.lua" },
    { "version", xmpp._VERSION } })
end)

answer(DISCO, function(question)
  return xexpr.reply(question, { "query", { xmlns = DISCO },
    { "identity", { category = "component", type = "generic", name = "component.lua" } },
    { "feature", { var = DISCO } },
    { "feature", { var = "jabber:iq:version" } },
    { "feature", { var = "urn:xmpp:ping" } } })
end)

conn:set_handler()
io.stderr:write("component: ", tostring(conn:jid()), "\n")
if not xmpp.run() then conn:stop() return end -- by Ctrl-C
assert(conn:receive()) -- there is nothing but the reason why it has ended
