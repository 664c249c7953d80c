-- client: how clients connect: logging in as a user, going on with a saved session, revoking a token. Loaded by
-- init.lua when one of these functions is used for the first time; a component needs none of them.

local core = require "xmpp.load"
local options = require "xmpp.options"
local waiting = require "xmpp.wait"

local load_later, check_type, check_wait = options.load_later, options.check_type, waiting.check

local its -- functions of init.lua that are used here, too

local M = {}

-- Takes over the session of another process: the stanzas in its queue are received first, and responses to its
-- requests are passed to `on_response`.
local function take_over(conn, o)
  for _, stanza in ipairs(o.session.queue) do core.conn.enqueue(conn, stanza) end
  local on_response = o.on_response -- in a local variable, because `o` contains the password
  for _, p in ipairs(on_response and o.session.pending or {}) do
    core.conn.expect(conn, p, function(stanza, c, err) return on_response(stanza, c, err, p.id) end,
      o.await_timeout or its.await_timeout)
  end
end

-- Translates the options for SASL2, Bind 2 and tokens (XEP-0388, XEP-0386, XEP-0484) to the core's. A user agent
-- without an id is not sent, unless a token is wanted, which has to belong to one.
local function set_login(o)
  local agent, token = o.user_agent or {}, o.token
  local bind2 = type(o.bind2) == "table" and o.bind2 or { tag = type(o.bind2) == "string" and o.bind2 or nil }
  o.sasl2 = o.sasl2 ~= false
  o.agent = agent.id or token and token.user_agent
  if o.fast == nil then o.fast = o.agent ~= nil end
  o.fast = o.fast and o.sasl2
  if o.fast and not o.agent then o.agent = load_later "xmpp.uuid"() end
  o.software, o.device = agent.software or o.agent and "xmpp for Lua", agent.device
  if o.bind2 then o.tag, o.carbons, o.inactive = bind2.tag or "lua", bind2.carbons, bind2.inactive end
end

local function log_in(o, begin)
  set_login(o)
  return its.open(o, begin)
end

-- Decides where to connect. Returns the error, if there is one.
local function where(o, level)
  local err
  if o.url then
    options.url().settle(o, level + 1)
    return options.url().find(o, load_later, o.proxy and options.proxies().beside(o))
  end
  if o.host then o.host, err = its.dialable(o.host) end
  o.tls = o.tls or "starttls"
  return err
end

-- connect_client(jid, password, [host, [port,]] [opts])
local function split_arguments(host, port, opts)
  if type(host) == "table" then return nil, nil, host end
  if type(port) == "table" then return host, nil, port end
  return host, port, opts
end

local function is_anonymous(mechanisms)
  for _, name in ipairs(type(mechanisms) == "table" and mechanisms or {}) do
    if name == "ANONYMOUS" then return true end
  end
  return false
end

-- EXTERNAL has a certificate instead of a password, and a token replaces it; ANONYMOUS needs nothing.
local function needs_password(opts)
  return type(opts) ~= "table" or not (opts.cert or opts.token or is_anonymous(opts.mechanisms))
end

-- Refuses options that are valid alone but contradict each other. `account` is the JID to log in as.
local function check_login(o, account, level)
  local agent, token = o.user_agent, o.token
  if o.bind2 and (o.resource or account.resourcepart) then
    error("bad option 'bind2' (with Bind 2 the server chooses the resource: leave out the option resource and the "
      .. "JID's resourcepart, or bind2)", level + 1)
  end
  if o.sasl2 == false and (token or o.fast) then
    error(("bad option '%s' (tokens are SASL2's: leave out sasl2 = false, or this)"):format(
      token and "token" or "fast"), level + 1)
  end
  if not token then return end
  if o.fast == false then
    error("bad option 'token' (with fast = false none is used: leave out one of them)", level + 1)
  end
  if agent and agent.id and agent.id ~= token.user_agent then
    error(("bad option 'token' (it belongs to another user_agent.id, %s: leave that out)"):format(token.user_agent),
      level + 1)
  end
  if token.jid ~= tostring(account:bare()) then
    error(("bad option 'token' (it is %s's, and %s is to be logged in)"):format(core.shown(token.jid),
      tostring(account:bare())), level + 1)
  end
end

local function client_jid(jid, resource, mechanisms, bind2)
  local j, err = core.jid(jid)
  if not j then return nil, err end
  if not j.localpart and not is_anonymous(mechanisms) then
    return nil, core.error { layer = "stanza", condition = "jid-malformed", retry = false,
      text = ("'%s' has no localpart: to log in, give an address like user@example.net"):format(tostring(j)) }
  end
  if resource then return j:with_resource(resource) end
  return (j.resourcepart or bind2) and j or j:with_resource("lua-" .. core.id())
end

--- Connects, secures, logs in and binds a resource; waits until that is done.
---@param jid string|xmpp.Jid
---@param password (string|fun(): string)? nil: log in with the certificate (EXTERNAL), with opts.token, or
--- anonymously (ANONYMOUS)
---@param host? string|xmpp.Opts connect to this host and no other; absent: SRV, then the JID's domain
---@param port? integer|xmpp.Opts
---@param opts? xmpp.Opts
---@return xmpp.Conn? conn
---@return xmpp.Error? err
function M.connect_client(jid, password, host, port, opts)
  host, port, opts = split_arguments(host, port, opts)
  if not core.is_jid(jid) then check_type(jid, "string", 1, "connect_client", 2) end
  if password ~= nil or needs_password(opts) then its.check_password(password, 2, "connect_client") end
  check_wait(2)
  its.check_where(host, port, 3, "connect_client")
  local o = options.check(opts, 2)
  local err
  o.host, o.port = host or o.host, port or o.port
  o.jid, err = client_jid(jid, o.resource, o.mechanisms, o.bind2)
  if not err then check_login(o, o.jid, 2) end
  if err then return nil, err end
  err = where(o, 2)
  if err then return nil, err end
  o.password = password
  return log_in(o)
end

--- Revokes a token (XEP-0484), and the earlier ones that the server has given to the same user agent; waits until
--- that is done. The server keeps the earlier token until a newer one has been used. So it logs in with the token
--- twice, the second time with the request to revoke it, and does the same with a token that the server has given in
--- the meantime.
---@param token xmpp.Token
---@param host? string|xmpp.Opts connect to this host and no other; absent: SRV, then the JID's domain
---@param port? integer|xmpp.Opts
---@param opts? xmpp.Opts
---@return boolean? ok
---@return xmpp.Error|"refused"|nil err "refused" together with true: the token was already invalid
function M.logout(token, host, port, opts)
  host, port, opts = split_arguments(host, port, opts)
  options.check_token(token, 1, "logout", 2)
  check_wait(2)
  its.check_where(host, port, 2, "logout")
  local o = options.check(opts, 2)
  local jid, err = core.jid(token.jid)
  if not jid then return nil, err end
  o.sasl2, o.fast, o.token = nil, nil, token
  o.bind2, o.resource = nil, nil -- either could end an existing session
  check_login(o, jid, 2)
  o.jid, o.host, o.port = jid, host or o.host, port or o.port
  err = where(o, 2)
  if err then return nil, err end
  return load_later "xmpp.logout"(core, log_in, o, jid)
end

local function check_saved(saved)
  check_type(saved, "table", 1, "resume", 3)
  local fault = load_later "xmpp.saved".fault(saved)
  if fault then error(("bad argument #1 to 'resume' (%s)"):format(fault), 3) end
end

-- Connects to the same place as before, unless the options say otherwise. A session may change between WebSocket and
-- TCP.
local function remember_where(o, saved)
  if o.url then return end
  if not saved.url then
    o.host, o.port, o.tls = o.host or saved.host, o.port or saved.port, o.tls or saved.tls
  elseif not (o.host or o.port or o.tls) then
    o.url = saved.url
  end
end

--- Continues a session that another process has saved with `conn:save()`; waits until that is done. If the server no
--- longer has it, a new one is started (`conn:info().resumed` is 0 then), as after a reconnect.
---@param saved table as conn:save() returned it; it may have been stored as JSON
---@param password string|fun(): string
---@param opts? xmpp.Opts
---@return xmpp.Conn? conn
---@return xmpp.Error? err
function M.resume(saved, password, opts)
  check_saved(saved)
  if password ~= nil or needs_password(opts) then its.check_password(password, 2, "resume") end
  check_wait(2)
  local o = options.check(opts, 2, "resume")
  local session = load_later "xmpp.saved".session(saved)
  local account, bad = core.jid(saved.account)
  if not account then return nil, bad end
  session.jid, bad = core.jid(saved.jid)
  if not session.jid then return nil, bad end
  o.user_agent = o.user_agent or saved.user_agent and { id = saved.user_agent }
  o.jid = o.bind2 and account:bare() or account
  check_login(o, o.jid, 2)
  remember_where(o, saved)
  if o.proxy == nil then o.proxy = saved.proxy end -- without the password: being refused is better than bypassing it
  bad = where(o, 2)
  if bad then return nil, bad end
  o.password, o.session = password, session
  return log_in(o, take_over)
end

--- The functions of this file.
---@param shared table what they use of init.lua
---@return table
return function(shared)
  its = shared
  return M
end
