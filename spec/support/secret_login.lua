-- secret_login JID HOST PORT CA MECHANISM [reconnect] [forgetful] [web] [asked|shown] [socks5|http]: logs in with the
-- password that it reads from stdin, and pauses three times so that its memory can be examined: while the connection is
-- open; when it is closed and collected; and after xmpp.forget. MECHANISM "component": logs in as a component. web:
-- over WebSocket. asked: by SASL2, also requesting a token; shown: the password is a token. socks5, http: HOST and PORT
-- are a proxy's, whose password is the second line.
local jid, host, port, ca, mechanism = ...
local asked = {}
for i = 6, select("#", ...) do asked[select(i, ...)] = true end

-- The password must be read directly into Lua's own memory: otherwise stdio's buffers would keep it, which isn't what
-- is tested.
io.stdin:setvbuf "no"
local password, proxy_password = io.read(4096):match "^([^\n]*)\n([^\n]*)"

local xmpp = require "xmpp"

local function get_password()
  local once = password
  password = nil
  return once
end

local AGENT = "5a3f9c52-7d0e-4d0e-9a52-0c8b1c4e7a01"

-- Further options for a login by SASL2. A function of its own, so that no variable refers to the secret afterwards.
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
