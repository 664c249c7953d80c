-- What the specs of logins by SASL2 share: names of user agents, and logins with an ear for what was said.
--
--   local e = exchange.of(s)              -- s: of spec/support/server.lua, one of server.SASL2
--   local conn, log = e.login("alice", { tls = "direct", bind2 = true })   -- stopped after the test by exchange.stop()
--   log.text, log.out, log.into           -- what went over the wire: all of it, ours, the server's
--   e.try("alice", opts [, password])     -- the same, with what connect_client returns and the log behind that
local managed = require "spec.support.managed"
local xmpp = require "xmpp"

local exchange = {}

local opened = {}

-- Anything with stop(): ended by exchange.stop, in the reverse order.
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

-- A UUID that no test has had before.
function exchange.agent()
  made = made + 1
  return ("%08x-0000-4000-8000-%012x"):format(os.time() % 2 ^ 31, made)
end

-- A function for the option log, and what it has heard.
function exchange.ear()
  local log = { text = "", out = "", into = "" }
  return function(direction, text)
    local way = direction == "out" and "out" or "into"
    log.text, log[way] = log.text .. text, log[way] .. text
  end, log
end

-- How often `text` stands in `all`.
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

  -- A login that leaves a token, and is over.
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
