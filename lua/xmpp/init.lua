-- xmpp: the public face. What each function means is in types.lua and in the README; here they are put together from
-- the C core (connections, stanzas, Jids, timers) and what reads better in Lua: arguments, options, waiting.

local globals, require = _G, require -- what few programs need is loaded when they ask for it

local os = rawget(globals, "os") -- a sandbox may be without
local getenv = type(os) == "table" and os.getenv or nil

local core = require "xmpp.load"
local options = require "xmpp.options"
local waiting = require "xmpp.wait"

-- As require, for files that require others: a host may have taken it out of its globals by then.
local function load_later(name)
  local there = rawget(globals, "require")
  if there == require then return require(name) end
  rawset(globals, "require", require)
  local ok, module = pcall(require, name)
  rawset(globals, "require", there)
  return ok and module or error(module, 0)
end

local shared = core.shared -- what outlives these files, when a program loads them again
local wait, check_wait, new_box = waiting.wait, waiting.check, waiting.box
local bad_argument, check_type, check_seconds = options.bad_argument, options.check_type, options.check_seconds

---@class xmpp
---@field xexpr xmpp.xexpr
local M = {
  _VERSION = "xmpp 0.1.0",
  C2S_PORT = 5222,
  contract = require "xmpp.contract",
  jid = core.jid,
  is_jid = core.is_jid,
  is_connection = core.is_connection,
  default_handler = core.default_handler,
  id = core.id,
  hash = core.hash,
  base64 = core.base64,
  unbase64 = core.unbase64,
  on_error = core.on_error,
  step = core.step,
  fd = core.fd,
  timeout = core.timeout,
}

local AWAIT_TIMEOUT = 60
local DIRECT_PORT = 5223

local function check_conn(conn, name, level)
  if core.is_connection(conn) then return end
  bad_argument(1, name, "connection expected, got " .. type(conn), level + 1)
end

-- An error in the C core names the C function's line, which says nothing: it is raised again where the caller is.
-- It does not know its name either.
local function at_caller(level, name, f, ...)
  local ok, a, b = pcall(f, ...)
  if ok then return a, b end
  local position, why = tostring(a):match "^bad argument #(%d+) to '[^']*' %((.*)%)$"
  if position then bad_argument(tonumber(position), name, why, level + 1) end
  error(a, level + 1)
end

-- Connecting

-- Bare JID -> a mechanism by which it has logged in, that shows no password: no PLAIN after that. The same, of a
-- WebSocket with its URL, where TLS may end in front of the server -> the channel binding that it has logged in
-- with: no login without. Both unless that is forgotten.
shared.stronger, shared.bound = shared.stronger or {}, shared.bound or {}

local function endpoint(account, url) return url and account .. " " .. url or account end

local function note_login(conn, account, remember)
  local info = core.conn.info(conn)
  local mechanism = info.mechanism
  if info.fast then return end -- the token may have been got by PLAIN, and unbound
  if mechanism and mechanism ~= "PLAIN" and mechanism ~= "ANONYMOUS" then shared.stronger[account] = mechanism end
  if remember and info.channel_binding then shared.bound[endpoint(account, info.url)] = info.channel_binding end
end

--- What logins have left for the next ones, see the options `remember` and `plain`.
function M.forget()
  core.forget()
  shared.stronger, shared.bound = {}, {}
end

local function warn_once()
  if shared.warned then return end
  shared.warned = true
  core.warn "verify = false: whoever sits between here and the server can read and change everything"
end

-- What the core knows by other words: whether to connect again (reconnect), or only for as long as the old session can
-- be resumed (resume = true). A session that the server keeps is asked for only where somebody will go back to it: a
-- program without either that ends unasked would leave a ghost there, who is seen, and sent to, until it is forgotten.
local function set_sessions(o)
  local r = type(o.reconnect) == "table" and o.reconnect or {}
  o.sm, o.resumable = true, o.resume ~= false and (o.reconnect or o.resume or o.session ~= nil)
  o.reconnect_any, o.reconnect_resume = o.reconnect and true, o.resume
  o.reconnect_min, o.reconnect_max = r.min or (r.max and math.min(r.max, 1)), r.max or (r.min and math.max(r.min, 60))
  o.reconnect_attempts = r.attempts
end

-- The session of another process: what had come in is there before anything else comes, and whoever knows what was
-- asked hears the answers.
local function take_over(conn, o)
  for _, stanza in ipairs(o.session.queue) do core.conn.enqueue(conn, stanza) end
  local on_response = o.on_response -- by itself: `o` has the password
  for _, p in ipairs(on_response and o.session.pending or {}) do
    core.conn.expect(conn, p, function(stanza, c, err) return on_response(stanza, c, err, p.id) end,
      o.await_timeout or AWAIT_TIMEOUT)
  end
end

-- What of SASL2 and its company is wanted (XEP-0388, XEP-0386, XEP-0484), in the core's words. Whoever has said no id
-- of a user agent sends none, unless a token is wanted, which belongs to one.
local function set_login(o)
  local agent, token = o.user_agent or {}, o.token
  local bind2 = type(o.bind2) == "table" and o.bind2 or { tag = type(o.bind2) == "string" and o.bind2 or nil }
  o.sasl2 = o.sasl2 ~= false
  o.agent = agent.id or token and token.user_agent
  if o.fast == nil then o.fast = o.agent ~= nil end
  o.fast = o.fast and o.sasl2 and not o.component
  if o.fast and not o.agent then o.agent = require "xmpp.uuid"() end
  o.software, o.device = agent.software or o.agent and "xmpp for Lua", agent.device
  if o.bind2 then o.tag, o.carbons, o.inactive = bind2.tag or "lua", bind2.carbons, bind2.inactive end
end

-- What it is connected through, in the core's words; nil: nothing. Where the environment names what can't be that: nil
-- and an error. Without SRV, which no proxy asks for, direct TLS has a port of its own.
local function proxy_of(o)
  local proxies = options.proxies()
  local via, why
  local host = o.url and core.url(o.url) or o.host or o.jid.domainpart
  if o.proxy == "environment" then via, why = proxies.of_environment(host, getenv)
  else via = proxies.parse(o.proxy) end
  if why then return nil, core.error { layer = "proxy", condition = "bad-proxy", retry = false, text = why } end
  if via and via.resolves and o.tls == "direct" and not o.url then o.port = o.port or DIRECT_PORT end
  return via
end

-- The proxy of what is fetched beside it: the same; the environment's for each URL (nil); none (false).
local function proxy_beside(o)
  if o.proxy == "environment" then return nil end
  local proxies = options.proxies()
  return o.proxy and proxies.url(proxies.parse(o.proxy))
end

local function open(o)
  local err
  if o.proxy then o.via, err = proxy_of(o) end
  if err then return nil, err end
  local box, account = new_box(), tostring(o.jid:bare())
  local asked = type(o.password) == "function"
  if asked then o.password = o.password() end
  if asked and type(o.password) ~= "string" then
    return nil, core.error { layer = "sasl", condition = "malformed-request", retry = false,
      text = "the password function returned " .. type(o.password) .. ", not a string" }
  end
  o.insecure = o.verify == false
  if o.insecure then warn_once() end
  o.plain, o.remember = o.plain ~= false, o.remember ~= false
  if o.pipelining == false then o.pipelining = "none" elseif o.pipelining == true then o.pipelining = nil end
  o.log = o.log or nil
  o.mechanisms = o.mechanisms and table.concat(o.mechanisms, " ")
  o.pinned = shared.stronger[account] ~= nil
  o.bound = o.remember and shared.bound[endpoint(account, o.url)] ~= nil
  set_sessions(o)
  set_login(o)
  o.about = { await_timeout = o.await_timeout,
    trust = { ca_file = o.ca_file, ca_dir = o.ca_dir, insecure = o.insecure or nil, -- for what is fetched beside it
      proxy = proxy_beside(o) },
    origin = { account = tostring(o.jid), host = o.host, port = o.port, url = o.url, -- for a saved session
      tls = not o.url and o.tls or nil, user_agent = o.agent, proxy = o.via and o.via.name } }
  local conn
  conn, err = core.connect(o, box)
  if not conn then return nil, err end
  if o.session then take_over(conn, o) end
  if o.on_open then waiting.spawn(o.on_open, conn) end
  local connected
  connected, err = wait(box)
  note_login(conn, account, o.remember)
  return connected, err
end

-- A host to dial, as DNS has it. It is no JID's domain: "xmpp_prosody_1" and "r3---sn-x" are names, too.
local function dialable(host)
  local name = core.host(host)
  if name then return name end
  return nil, core.error { layer = "dns", condition = "bad-host", retry = false,
    text = ("'%s' can't be a host: give a name or an IP address"):format(core.shown(host)) }
end

-- Where to connect, of all that says it; the error, if there is none.
local function where(o, level)
  local err
  if o.url then
    options.url().settle(o, level + 1)
    return options.url().find(o, load_later, proxy_beside(o))
  end
  if o.host then o.host, err = dialable(o.host) end
  o.tls = o.tls or "starttls"
  return err
end

-- connect_client(jid, password, [host, [port,]] [opts])
local function split_arguments(host, port, opts)
  if type(host) == "table" then return nil, nil, host end
  if type(port) == "table" then return host, nil, port end
  return host, port, opts
end

local function check_where(host, port, first, name)
  if host ~= nil then check_type(host, "string", first, name, 3) end
  local ok, why = true, nil
  if port ~= nil then ok, why = options.is_port(port) end
  if not ok then error(("bad argument #%d to '%s' (%s)"):format(first + 1, name, why), 3) end
end

local function check_password(password, position, name)
  local kind = type(password)
  if kind == "string" or kind == "function" then return end
  error(("bad argument #%d to '%s' (string or function expected, got %s)"):format(position, name, kind), 3)
end

local function is_anonymous(mechanisms)
  for _, name in ipairs(type(mechanisms) == "table" and mechanisms or {}) do
    if name == "ANONYMOUS" then return true end
  end
  return false
end

-- EXTERNAL has a certificate instead, a token is itself one, ANONYMOUS has nothing.
local function needs_password(opts)
  return type(opts) ~= "table" or not (opts.cert or opts.token or is_anonymous(opts.mechanisms))
end

-- What fits each by itself and not together. `account` is who logs in.
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
---@param password (string|fun(): string)? nil: log in by the certificate (EXTERNAL), by opts.token, or without a name
--- (ANONYMOUS)
---@param host? string|xmpp.Opts dial this and nothing else; absent: SRV, then the JID's domain
---@param port? integer|xmpp.Opts
---@param opts? xmpp.Opts
---@return xmpp.Conn? conn
---@return xmpp.Error? err
function M.connect_client(jid, password, host, port, opts)
  host, port, opts = split_arguments(host, port, opts)
  if not core.is_jid(jid) then check_type(jid, "string", 1, "connect_client", 2) end
  if password ~= nil or needs_password(opts) then check_password(password, 2, "connect_client") end
  check_wait(2)
  check_where(host, port, 3, "connect_client")
  local o = options.check(opts, 2)
  local err
  o.host, o.port = host or o.host, port or o.port
  o.jid, err = client_jid(jid, o.resource, o.mechanisms, o.bind2)
  if not err then check_login(o, o.jid, 2) end
  if err then return nil, err end
  err = where(o, 2)
  if err then return nil, err end
  o.password = password
  return open(o)
end

--- Connects as a component (XEP-0114); waits until the handshake is done.
---@param host string
---@param port integer
---@param domain string|xmpp.Jid
---@param secret string|fun(): string
---@param opts? xmpp.Opts
---@return xmpp.Conn? conn
---@return xmpp.Error? err
function M.connect_component(host, port, domain, secret, opts)
  check_type(host, "string", 1, "connect_component", 2)
  if port == nil then check_type(port, "number", 2, "connect_component", 2) end
  check_where(host, port, 1, "connect_component")
  if not core.is_jid(domain) then check_type(domain, "string", 3, "connect_component", 2) end
  check_password(secret, 4, "connect_component")
  check_wait(2)
  local o = options.check(opts, 2, "component")
  local err
  o.host, o.port = host, port
  o.jid, err = core.jid(domain)
  if o.keepalive_probe and o.keepalive == 0 then
    error("bad option 'keepalive_probe' (keepalive says after how long, and 0 is never: give it, or leave it out)", 2)
  end
  if not err and (o.jid.localpart or o.jid.resourcepart) then
    err = core.error { layer = "stanza", condition = "jid-malformed", retry = false,
      text = ("'%s' is not a component's address: give its domain"):format(tostring(o.jid)) }
  end
  if not err then o.host, err = dialable(host) end
  if err then return nil, err end
  o.password, o.tls, o.component = secret, o.tls or "none", true
  return open(o)
end

-- Tokens

--- Has the server forget a token (XEP-0484), and those that it has given before to the same user agent; waits until
--- that is done. What was shown once takes the place of what was given before: so it is shown twice, the second time to
--- be forgotten, and so is what the server has given meanwhile.
---@param token xmpp.Token
---@param host? string|xmpp.Opts dial this and nothing else; absent: SRV, then the JID's domain
---@param port? integer|xmpp.Opts
---@param opts? xmpp.Opts
---@return boolean? ok
---@return xmpp.Error|"refused"|nil err with true, "refused": it was no good already
function M.logout(token, host, port, opts)
  host, port, opts = split_arguments(host, port, opts)
  options.check_token(token, 1, "logout", 2)
  check_wait(2)
  check_where(host, port, 2, "logout")
  local o = options.check(opts, 2)
  local jid, err = core.jid(token.jid)
  if not jid then return nil, err end
  o.sasl2, o.fast, o.token = nil, nil, token
  o.bind2, o.resource = nil, nil -- they could end a session that is there
  check_login(o, jid, 2)
  o.jid, o.host, o.port = jid, host or o.host, port or o.port
  err = where(o, 2)
  if err then return nil, err end
  return require "xmpp.logout"(core, open, o, jid)
end

-- Sessions of other processes

local function check_saved(saved)
  check_type(saved, "table", 1, "resume", 3)
  local fault = load_later "xmpp.saved".fault(saved)
  if fault then error(("bad argument #1 to 'resume' (%s)"):format(fault), 3) end
end

-- Where it was, but for what the options say. A session over WebSocket may go on over TCP, and the other way.
local function remember_where(o, saved)
  if o.url then return end
  if not saved.url then
    o.host, o.port, o.tls = o.host or saved.host, o.port or saved.port, o.tls or saved.tls
  elseif not (o.host or o.port or o.tls) then
    o.url = saved.url
  end
end

--- Goes on with a session that another process has saved with `conn:save()`; waits until that is done. If the server
--- has forgotten it there is a new one (`conn:info().resumed` is 0 then), as after a reconnect.
---@param saved table as conn:save() gave it, also after a journey through JSON
---@param password string|fun(): string
---@param opts? xmpp.Opts
---@return xmpp.Conn? conn
---@return xmpp.Error? err
function M.resume(saved, password, opts)
  check_saved(saved)
  if password ~= nil or needs_password(opts) then check_password(password, 2, "resume") end
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
  if o.proxy == nil then o.proxy = saved.proxy end -- without the password: better refused there than going another way
  bad = where(o, 2)
  if bad then return nil, bad end
  o.password, o.session = password, session
  return open(o)
end

-- Connections: methods, which are functions of the module, too

local conn = {}
for _, name in ipairs { "receive", "set_handler", "stop_handler", "handler", "set_callback", "set_callback_once",
  "unset_callback", "callbacks", "tap", "jid", "state", "info", "pending", "send", "on", "token" } do
  conn[name] = core.conn[name]
end

function conn.stop(self, timeout)
  check_conn(self, "stop", 2)
  if timeout ~= nil then check_seconds(timeout, 2, "stop", 2) end
  check_wait(2)
  local box = new_box()
  core.conn.close(self, timeout or 5)
  core.conn.await(self, "ended", box)
  return wait(box)
end

-- What came first, the time's end or something else, is told as well.
local function drained(self, timeout, ok, err)
  local left = core.conn.drained(self)
  if ok and left.late then
    err = core.error { layer = "timeout", condition = "timeout", retry = false,
      text = ("%d calls of handlers and callbacks had not ended, and %d stanzas waited for theirs, after %g seconds")
        :format(left.unfinished, left.queued, timeout) }
  end
  return left, err
end

function conn.drain(self, timeout)
  check_conn(self, "drain", 2)
  if timeout ~= nil then check_seconds(timeout, 2, "drain", 2) end
  check_wait(2)
  local box = new_box()
  core.conn.drain(self, timeout or 30)
  core.conn.await(self, "drained", box)
  return drained(self, timeout or 30, wait(box))
end

function conn.receive_blocking(self, timeout)
  check_conn(self, "receive_blocking", 2)
  if timeout ~= nil then check_seconds(timeout, 2, "receive_blocking", 2) end
  local stanza, err = core.conn.receive(self)
  if stanza or err then return stanza, err end
  check_wait(2)
  local box = new_box()
  core.conn.await(self, "stanza", box, timeout)
  return wait(box)
end

function conn.flush(self, timeout)
  check_conn(self, "flush", 2)
  if timeout ~= nil then check_seconds(timeout, 2, "flush", 2) end
  check_wait(2)
  local box = new_box()
  core.conn.await(self, "sent", box, timeout)
  return wait(box)
end

function conn.save(self)
  check_conn(self, "save", 2)
  local origin = core.conn.about(self).origin
  local saved, err = core.conn.save(self)
  if not saved then return nil, err end
  for name, value in pairs(origin) do saved[name] = value end
  return saved
end

local function bound(self, timeout)
  return timeout or core.conn.about(self).await_timeout or AWAIT_TIMEOUT
end

function conn.send_callback(self, stanza, cb, timeout)
  check_conn(self, "send_callback", 2)
  check_type(stanza, "table", 2, "send_callback", 2)
  check_type(cb, "function", 3, "send_callback", 2)
  if timeout ~= nil then check_seconds(timeout, 4, "send_callback", 2) end
  local id, err = at_caller(2, "send_callback", core.conn.request, self, stanza, cb, bound(self, timeout))
  return id, err
end

function conn.send_await(self, stanza, cb, timeout)
  if type(cb) == "number" and timeout == nil then cb, timeout = nil, cb end
  check_conn(self, "send_await", 2)
  check_type(stanza, "table", 2, "send_await", 2)
  if cb ~= nil then check_type(cb, "function", 3, "send_await", 2) end
  if timeout ~= nil then check_seconds(timeout, cb and 4 or 3, "send_await", 2) end
  check_wait(2)
  local box = new_box()
  local id, err = at_caller(2, "send_await", core.conn.request, self, stanza, box, bound(self, timeout))
  if not id then return nil, err end
  local response
  response, err = wait(box)
  if not response then return nil, err end
  if cb then return cb(response, self) end
  return response
end

-- Who is asked whether it is there: the server. To a component it has no name of its own; what is in front of the
-- component's domain answers as well, if only by an error.
local function server_of(jid)
  if jid.localpart then return jid.domainpart end
  return jid.domainpart:match("^[^.]+%.(.+)$") or jid.domainpart
end

function conn.ping(self, timeout)
  check_conn(self, "ping", 2)
  if timeout ~= nil then check_seconds(timeout, 2, "ping", 2) end
  local began = core.now()
  local response, err = conn.send_await(self, { "iq", { type = "get", to = server_of(core.conn.jid(self)) },
    { "ping", { xmlns = "urn:xmpp:ping" } } }, timeout)
  if not response then return nil, err end
  return core.now() - began
end

function conn.probe(self, timeout)
  check_conn(self, "probe", 2)
  if timeout ~= nil then check_seconds(timeout, 2, "probe", 2) end
  if not core.conn.is_component(self) then
    bad_argument(1, "probe", "a component's connection expected: a client has conn:ping()", 2)
  end
  check_wait(2)
  local box, began = new_box(), core.now()
  local ok, err = core.conn.probe(self, box, bound(self, timeout))
  if ok then ok, err = wait(box) end
  if not ok then return nil, err end
  return core.now() - began
end

for name, f in pairs(conn) do
  if name ~= "jid" then M[name] = f end -- xmpp.jid makes one; xmpp.connection_jid asks for one
end
M.connection_jid = conn.jid

-- A variable to be closed: as by stop, which goes on by itself where nothing can wait.
local function close(self)
  if waiting.can_wait() then conn.stop(self) else core.conn.close(self, 5) end
end

core.methods(conn, close)

-- The loop

-- shared.quit: until the run that it is meant for has returned
local function turn()
  local step = shared.turn or core.step -- a test turns the loop and its clock
  while not shared.quit and core.is_busy() do step(-1) end
end

--- Turns the loop until no connection, task or timer is left, or `xmpp.quit()`.
---@return boolean done false: the interpreter was interrupted (Ctrl-C, which `lua` and `luajit` raise as an error)
function M.run()
  if core.is_stepping() then
    error("a step is being made already: inside a handler or callback, wait by yielding (await, sleep)", 2)
  end
  if shared.driver then
    error(("the loop is %s's, which is to be run instead of this one (or call :stop() on what its start gave)")
      :format(shared.driver.name), 2)
  end
  local done, err = pcall(turn)
  shared.quit = false
  core.ask_again()
  if not done and not tostring(err):find "interrupted!$" then error(err, 0) end
  return done
end

--- Makes `xmpp.run()` return when the turn it makes is over; where none is being made, the next one, at once.
function M.quit()
  shared.quit = true
end

local signals = shared.signals or {} -- name -> the watch that is kept for it
shared.signals = signals

--- Has f(name) called when the process gets that signal, instead of what the signal does else. One function for each;
--- nil: none, and the signal is as it was. A program that only waits for a signal is not kept by `xmpp.run()`.
---@param name xmpp.Signal
---@param f fun(name: xmpp.Signal)?
---@return fun()? off takes it away again
function M.on_signal(name, f)
  check_type(name, "string", 1, "on_signal", 2)
  if f ~= nil then check_type(f, "function", 2, "on_signal", 2) end
  local watch = at_caller(2, "on_signal", core.signal, name, f)
  if signals[name] then signals[name]:cancel() end
  signals[name] = watch
  return watch and function() watch:cancel() end
end

--- Runs f(...) in a coroutine of its own, from the loop's next turn on.
---@param f function
---@return xmpp.Promise of what it returns
function M.spawn(f, ...)
  check_type(f, "function", 1, "spawn", 2)
  return waiting.spawn(f, ...)
end

--- What others can wait for, until it is settled.
M.promise = waiting.promise

--- A queue between who puts values in and who gets them.
---@param most integer? values that may lie in it (1,000); 0: each is put when somebody gets it
---@return xmpp.Channel
function M.channel(most)
  if most ~= nil then
    local ok, why = options.is_places(most)
    if not ok then bad_argument(1, "channel", why, 2) end
  end
  return require "xmpp.channel".new(most or 1000)
end

--- As coroutine.wrap, for a generator that waits between its items: who asks it for the next one waits.
---@param f function
---@return function
function M.wrap(f)
  check_type(f, "function", 1, "wrap", 2)
  return waiting.wrap(f)
end

--- Waits for so many seconds; others go on meanwhile.
---@param seconds number
function M.sleep(seconds)
  check_seconds(seconds, 1, "sleep", 2)
  check_wait(2)
  local box = new_box()
  core.timer(seconds, box)
  wait(box)
end

--- Calls f once, in a coroutine of its own, after so many seconds.
---@param seconds number
---@param f function
---@return xmpp.Timer timer with :cancel()
function M.after(seconds, f)
  check_seconds(seconds, 1, "after", 2)
  check_type(f, "function", 2, "after", 2)
  return core.timer(seconds, f)
end

--- Calls f every so many seconds, each time in a coroutine of its own; not while the last call still waits.
---@param seconds number
---@param f function
---@return xmpp.Timer timer with :cancel()
function M.every(seconds, f)
  check_seconds(seconds, 1, "every", 2)
  check_type(f, "function", 2, "every", 2)
  local last
  return core.timer(seconds, function()
    if last and coroutine.status(last) ~= "dead" then return end
    last = coroutine.running()
    return f()
  end, true)
end

-- xmpp.xexpr, a third of all that there is to be loaded, and xmpp.stream are loaded when somebody asks for them, be it
-- by going through the module: at once where pairs asks nobody (Lua 5.1, LuaJIT).

local LATER = { xexpr = "xmpp.xexpr", stream = "xmpp.stream" }

local later = { __metatable = "the module's metatable is its own" }

function later.__index(_, key)
  local name = LATER[key]
  if not name then return nil end
  local module = load_later(name)
  M[key] = module
  return module
end

local function load_all()
  for key in next, LATER do
    if rawget(M, key) == nil then later.__index(M, key) end
  end
end

function later.__pairs(module)
  load_all()
  return next, module
end

if pairs(setmetatable({}, { __pairs = function() return false end })) then load_all() end

return setmetatable(M, later)
