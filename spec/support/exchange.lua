-- Shared by the specs of logins by SASL2: user agents' ids, and logins that record what goes over the wire.
--
--   local e = exchange.of(s)              -- s: of spec/support/server.lua, one of server.SASL2
--   local conn, log = e.login("alice", { tls = "direct", bind2 = true })   -- stopped after the test by exchange.stop()
--   log.text, log.out, log.into           -- what went over the wire: everything, what we sent, what the server sent
--   e.try("alice", opts [, password])     -- the same, but returns what connect_client returns, and then the log
local managed = require "spec.support.managed"
local xmpp = require "xmpp"

local exchange = {}

local opened = {}

-- Remembers anything with stop(), to be ended by exchange.stop, in reverse order.
function exchange.keep(o)
  opened[#opened + 1] = o
  return o
end

function exchange.stop()
  for i = #opened, 1, -1 do
    local o = opened[i]
    if xmpp.is_connection(o) then xmpp.spawn(o.stop, o, 10) else o:stop() end
    if xmpp.is_connection(o) then managed.turn_until(function() return o:state() == "closed" end, "a goodbye") end
  end
  opened = {}
end

local made = 0

-- A UUID that no other test has used.
function exchange.agent()
  made = made + 1
  return ("%08x-0000-4000-8000-%012x"):format(os.time() % 2 ^ 31, made)
end

-- A function for the option log, and a table of what it has recorded.
function exchange.ear()
  local log = { text = "", out = "", into = "" }
  return function(direction, text)
    local way = direction == "out" and "out" or "into"
    log.text, log[way] = log.text .. text, log[way] .. text
  end, log
end

-- How often `text` occurs in `all`.
function exchange.count(all, text)
  local n = 0
  for _ in all:gmatch((text:gsub("%p", "%%%0"))) do n = n + 1 end
  return n
end

function exchange.turn_until(what, name)
  managed.turn_until(what, name)
end

local function with_port(s, opts, at)
  local o = s.opts(opts)
  o.host = (at or s).host
  o.port = at and at.port or (o.tls == "direct" and s.tls_port or s.port)
  return o
end

function exchange.of(s)
  local e = {}

  -- false: no password. `at`: a proxy in front of the server.
  function e.try(name, opts, password, at)
    local o = with_port(s, opts, at)
    local log
    o.log, log = exchange.ear()
    if password == nil then password = s.users[name] end
    local conn, err = xmpp.connect_client(name .. "@" .. s.domain, password or nil, o)
    if conn then exchange.keep(conn) end
    return conn, err, log
  end

  function e.login(name, opts, password, at)
    local conn, err, log = e.try(name, opts, password, at)
    if not conn then error(tostring(err) .. "\n" .. log.text, 2) end
    return conn, log
  end

  -- Logs in to get a token, and ends the connection.
  function e.token(name, agent, opts)
    local o = { tls = "direct", bind2 = true, user_agent = { id = agent or exchange.agent() } }
    for key, value in pairs(opts or {}) do o[key] = value end
    local conn = e.login(name, o)
    local token = assert(conn:token(), "no token has come")
    assert(conn:stop(30))
    return token
  end

  return e
end

return exchange
