-- Real servers for specs: Prosody and ejabberd, private to the spec, and stopped when it ends or crashes; prosody13 and
-- ejabberd24 are newer versions from this Debian release's backports; prosody13+sasl2 and ejabberd24+sasl2
-- (server.SASL2) also have SASL2, Bind 2 and tokens.
--
--   server.each(function(s)                        -- describe() once per server, started and stopped around it
--     it("connects", function()
--       local conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.host, s.port, s.opts()))
--     end)
--   end, { auth = "SHA-256" })                     -- knobs: those of spec/support/server, in small letters
--
-- XMPP_SERVERS="prosody" in the environment leaves the other one out. With XMPP_OVER="websocket" clients that connect
-- to the port of such a server use its WebSocket instead, so that a spec can be run over that as well.
local child = require "spec.support.child"
local xmpp = require "xmpp"

local server = {}
local Server = {}
Server.__index = Server

local function users(text)
  local found = {}
  for name, password in text:gmatch("([^%s:]+):(%S+)") do found[name] = password end
  return found
end

-- Reads the variables that the program prints into the fields of 's'; false: it has ended instead.
local function fill(s)
  local v = child.variables(s.pipe)
  if not v then return false end
  s.domain, s.host, s.secret, s.ca, s.certs, s.dir, s.log =
    v.XMPP_DOMAIN, v.XMPP_HOST, v.XMPP_SECRET, v.XMPP_CA, v.XMPP_CERTS, v.XMPP_DIR, v.XMPP_LOG
  s.port, s.tls_port = tonumber(v.XMPP_PORT), tonumber(v.XMPP_TLS_PORT)
  s.http_port, s.wss, s.ws = tonumber(v.XMPP_HTTP_PORT), v.XMPP_WSS, v.XMPP_WS
  s.component_port, s.component, s.component2 = tonumber(v.XMPP_COMPONENT_PORT), v.XMPP_COMPONENT, v.XMPP_COMPONENT2
  s.pid, s.supervisor, s.users = tonumber(v.XMPP_SERVER_PID), v.XMPP_SUPERVISOR_PID, users(v.XMPP_USERS)
  return true
end

local over_websocket = os.getenv "XMPP_OVER" == "websocket"
local urls, connect = {}, xmpp.connect_client -- port -> the URL to use instead

local function connect_by_url(jid, password, host, port, opts)
  if not urls[port] then return connect(jid, password, host, port, opts) end
  local all = { url = urls[port] }
  for name, value in pairs(opts or {}) do
    if name ~= "tls" then all[name] = value end
  end
  return connect(jid, password, all)
end

if over_websocket then xmpp.connect_client = connect_by_url end

local function launch(s, given)
  child.is_another()
  local arguments, knobs = { s.name }, {}
  for knob, value in pairs(given or {}) do knobs[knob] = value end
  if over_websocket then knobs.websocket = "yes" end
  for knob, value in pairs(knobs) do arguments[#arguments + 1] = knob:upper() .. "=" .. tostring(value) end
  s.pipe = child.open("server", arguments)
  if not fill(s) then
    s:stop()
    error("the server " .. s.name .. " did not start; it said why on stderr", 3)
  end
  if over_websocket then urls[s.port], urls[s.tls_port] = s.wss, s.wss end
  if child.are_new(s.port, s.tls_port, s.http_port) then return end
  s:stop()
  launch(s, given)
end

local function new(name)
  local s = setmetatable({ name = name }, Server)
  -- Options for connect_client: the private CA, and the options in 'extra'.
  function s.opts(extra)
    local opts = { ca_file = s.ca }
    for key, value in pairs(extra or {}) do opts[key] = value end
    return opts
  end
  return s
end

-- server.start(name [, knobs]) -> a running server; raises when it does not start.
function server.start(name, knobs)
  local s = new(name)
  launch(s, knobs)
  return s
end

-- Stops the server and removes its directory. May be called twice.
function Server:stop()
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

-- A new process on the same ports, with the same data and certificates; 'killed': the old one doesn't end its streams.
function Server:restart(killed)
  os.execute("kill -" .. (killed and "USR2 " or "USR1 ") .. self.supervisor)
  if not fill(self) then error("the server " .. self.name .. " did not start again; it said why on stderr", 2) end
end

local function wanted(name)
  local narrowed = os.getenv "XMPP_SERVERS"
  return not narrowed or (" " .. narrowed .. " "):find(" " .. name .. " ", 1, true)
end

local NEWER = { prosody13 = true, ejabberd24 = true }

-- Servers with which a login is a single exchange.
server.SASL2 = { "prosody13+sasl2", "ejabberd24+sasl2" }

-- server.is_there(name): false for servers from the backports that aren't available here; the reason is printed on
-- stderr.
function server.is_there(name)
  if not NEWER[name:match "^[^+]+"] then return true end
  local status = os.execute("unset LD_PRELOAD; " .. child.folder
    .. "/backports \"${BACKPORTS:-build/backports}\" >/dev/null")
  return status == true or status == 0
end

local function describe(name, body, knobs)
  local busted = require "busted"
  if not wanted(name) then return busted.pending("with " .. name) end
  if not server.is_there(name) then return busted.pending("with " .. name .. ", which can't be had here") end
  busted.describe("with " .. name, function()
    local s = new(name)
    busted.setup(function() launch(s, knobs) end)
    busted.teardown(function() s:stop() end)
    body(s)
  end)
end

-- server.each(body [, knobs] [, names]): busted's describe, for each server in 'names' (default: prosody and ejabberd).
-- 'body' is given an 's' whose fields are there once the tests run: name, domain, host, port, tls_port, component_port,
-- http_port, wss, ws, component, component2, secret, ca, certs, dir, log, pid, users (name = password), opts(extra).
function server.each(body, knobs, names)
  for _, name in ipairs(names or { "prosody", "ejabberd" }) do describe(name, body, knobs) end
end

return server
