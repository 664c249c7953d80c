-- secret_login JID HOST PORT CA MECHANISM [reconnect] [forgetful]: logs in with the password that comes on stdin, and
-- stops three times for somebody to look at its memory: open; closed with nothing left of the connection; and when the
-- library was told to forget. MECHANISM "component": as one.
local jid, host, port, ca, mechanism = ...
local asked = {}
for i = 6, select("#", ...) do asked[select(i, ...)] = true end

-- Read in one piece by the kernel into Lua's own memory: else C's buffers would hold it, and that is not what is
-- looked for.
io.stdin:setvbuf "no"
local password = io.read(4096):match "^[^\n]*"

local xmpp = require "xmpp"

local function get_password()
  local once = password
  password = nil
  return once
end

local function connect()
  if mechanism == "component" then
    return xmpp.connect_component(host, tonumber(port), jid, get_password, { log = function() end })
  end
  return xmpp.connect_client(jid, get_password, host, tonumber(port),
    { ca_file = ca, mechanisms = { mechanism }, log = function() end, reconnect = asked.reconnect == true,
      remember = not asked.forgetful })
end

local function show(state)
  collectgarbage()
  collectgarbage()
  io.write(state, "\n")
  io.flush()
  io.read(1)
end

local conn, err = connect()
local outcome = conn and conn:info().mechanism or tostring(err)
if conn then
  show("open " .. outcome)
  conn:stop()
end
conn = nil -- luacheck: ignore 311
show("closed " .. outcome)
xmpp.forget()
show("forgotten " .. outcome)
