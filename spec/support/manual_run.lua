-- Runs a program of the manual with a test's server: manual_run.lua FILE. The environment says where it connects, and
-- which CA it trusts (MANUAL_HOST, MANUAL_PORT, MANUAL_CA, MANUAL_COMPONENT_PORT), and has the account's password
-- (XMPP_PASSWORD); everything else is as a reader would run it. Output is flushed after each line.
local xmpp = require "xmpp"

local host, port, ca = os.getenv "MANUAL_HOST", tonumber(os.getenv "MANUAL_PORT"), os.getenv "MANUAL_CA"
local connect_client, connect_component = xmpp.connect_client, xmpp.connect_component

function xmpp.connect_client(jid, _, opts)
  local all = { ca_file = ca }
  for name, value in pairs(opts or {}) do all[name] = value end
  return connect_client(jid, os.getenv "XMPP_PASSWORD", host, port, all)
end

function xmpp.connect_component(_, _, domain, secret, opts)
  return connect_component(host, tonumber(os.getenv "MANUAL_COMPONENT_PORT"), domain, secret, opts)
end

io.stdout:setvbuf "line"
dofile(arg[1])
