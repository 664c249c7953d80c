-- secret_login JID HOST PORT CA MECHANISM [reconnect] [forgetful] [web] [asked|shown] [socks5|http]: logs in with the
-- password that comes on stdin, and stops three times for somebody to look at its memory: open; closed with nothing
-- left of the connection; and when the library was told to forget. MECHANISM "component": as one. web: over WebSocket.
-- asked: by SASL2, for a token besides; shown: what comes is one. socks5, http: HOST and PORT are a proxy's, whose
-- password is the second line.
local jid, host, port, ca, mechanism = ...
local asked = {}
for i = 6, select("#", ...) do asked[select(i, ...)] = true end

-- Read in one piece by the kernel into Lua's own memory: else C's buffers would hold it, and that is not what is
-- looked for.
io.stdin:setvbuf "no"
local password, proxy_password = io.read(4096):match "^([^\n]*)\n([^\n]*)"

local xmpp = require "xmpp"

local function get_password()
  local once = password
  password = nil
  return once
end

local AGENT = "5a3f9c52-7d0e-4d0e-9a52-0c8b1c4e7a01"

-- What else is said of a login by SASL2: nothing of it leads to the secret when this is over.
local function one_exchange(opts)
  opts.bind2, opts.mechanisms = true, { "SCRAM-SHA-256", "HT-SHA-256-NONE" }
  if asked.asked then
    opts.user_agent = { id = AGENT }
  else
    opts.token = { version = 1, jid = jid, user_agent = AGENT, mechanism = mechanism, token = get_password() }
  end
  return opts
end

local function connect()
  if mechanism == "component" then
    return xmpp.connect_component(host, tonumber(port), jid, get_password, { log = function() end })
  end
  local opts = { ca_file = ca, mechanisms = { mechanism }, log = function() end, reconnect = asked.reconnect == true,
    remember = not asked.forgetful }
  if asked.asked or asked.shown then opts = one_exchange(opts) end
  local kind = asked.socks5 and "socks5" or asked.http and "http"
  if kind then
    opts.proxy, proxy_password = ("%s://u:%s@%s:%d"):format(kind, proxy_password, host, port), nil
    host, port = "xmpp.example", 5222
  end
  if asked.web then opts.url = ("wss://%s:%s/ws"):format(host, port)
  else opts.host, opts.port = host, tonumber(port) end
  return xmpp.connect_client(jid, not asked.shown and get_password or nil, opts)
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
