-- xmpp: the public module. What each function means is described in types.lua and in the manual; here they are put
-- together from the C core (connections, stanzas, Jids, timers) and from what is simpler in Lua: checking of arguments
-- and options, waiting.

local require = require -- what only few programs need is loaded on first use

local os = rawget(_G, "os") -- a sandbox may not have it
local getenv = type(os) == "table" and os.getenv or nil

local core = require "xmpp.load"
local options = require "xmpp.options"
local version = require "xmpp.version"
local waiting = require "xmpp.wait"

local shared = core.shared -- the state that survives when a program reloads these files
local load_later, wait, check_wait, new_box = options.load_later, waiting.wait, waiting.check, waiting.box
local bad_argument, check_type, check_seconds = options.bad_argument, options.check_type, options.check_seconds

---@class xmpp
---@field xexpr xmpp.xexpr
local M = {
  _VERSION = "xmpp " .. version.number,
  C2S_PORT = 5222,
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

local function check_conn(conn, name, level)
  if core.is_connection(conn) then return end
  bad_argument(1, name, "connection expected, got " .. type(conn), level + 1)
end

-- An error raised in the C core names a position in C, which doesn't help, and doesn't know the function's name. It is
-- raised again at the caller's line.
local function at_caller(level, name, f, ...)
  local ok, a, b = pcall(f, ...)
  if ok then return a, b end
  local position, why = tostring(a):match "^bad argument #(%d+) to '[^']*' %((.*)%)$"
  if position then bad_argument(tonumber(position), name, why, level + 1) end
  error(a, level + 1)
end

-- Connecting

-- stronger: bare JID -> a mechanism that it has logged in with and that doesn't send the password; PLAIN is never used
-- after that. bound: the same key (for a WebSocket with its URL, because TLS may end in front of the server) -> the
-- channel binding of its login; no login without binding after that. Both hold until they are forgotten.
shared.stronger, shared.bound = shared.stronger or {}, shared.bound or {}

local function endpoint(account, url) return url and account .. " " .. url or account end

local function note_login(conn, account, remember)
  local info = core.conn.info(conn)
  local mechanism = info.mechanism
  if info.fast then return end -- the token itself may have been obtained by PLAIN, and without binding
  if mechanism and mechanism ~= "PLAIN" and mechanism ~= "ANONYMOUS" then shared.stronger[account] = mechanism end
  if remember and info.channel_binding then shared.bound[endpoint(account, info.url)] = info.channel_binding end
end

--- Forgets what logins have left for later ones, see the options `remember` and `plain`.
function M.forget()
  core.forget()
  shared.stronger, shared.bound = {}, {}
end

local function warn_once()
  if shared.warned then return end
  shared.warned = true
  core.warn "verify = false: whoever sits between here and the server can read and change everything"
end

-- Translates to the core's options: connect again after any loss (reconnect), or only as long as the old session can
-- be resumed (resume = true). The server is asked to keep a session only if one of these is set: otherwise a program
-- that ends unexpectedly would leave a session behind that still appears online, and gets messages, until it times
-- out.
local function set_sessions(o)
  local r = type(o.reconnect) == "table" and o.reconnect or {}
  o.sm, o.resumable = true, o.resume ~= false and (o.reconnect or o.resume or o.session ~= nil)
  o.reconnect_any, o.reconnect_resume = o.reconnect and true, o.resume
  o.reconnect_min, o.reconnect_max = r.min or (r.max and math.min(r.max, 1)), r.max or (r.min and math.max(r.min, 60))
  o.reconnect_attempts = r.attempts
end

-- Opens a connection with options that have been checked. `begin`, if given, is called with the connection and the
-- options before anything is received.
local function open(o, begin)
  local err
  if o.proxy then o.via, err = options.proxies().choose(o, getenv) end
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
  o.about = { await_timeout = o.await_timeout,
    trust = { ca_file = o.ca_file, ca_dir = o.ca_dir, insecure = o.insecure or nil, -- for HTTP requests
      proxy = o.proxy and options.proxies().beside(o) },
    origin = { account = tostring(o.jid), host = o.host, port = o.port, url = o.url, -- for a saved session
      tls = not o.url and o.tls or nil, user_agent = o.agent, proxy = o.via and o.via.name } }
  local conn
  conn, err = core.connect(o, box)
  if not conn then return nil, err end
  if begin then begin(conn, o) end
  if o.on_open then load_later "xmpp.promise".spawn(o.on_open, conn) end
  local connected
  connected, err = wait(box)
  note_login(conn, account, o.remember)
  return connected, err
end

-- The name of a host to connect to, as DNS allows it. Not a JID's domain: "xmpp_prosody_1" and "r3---sn-x" are valid,
-- too.
local function dialable(host)
  local name = core.host(host)
  if name then return name end
  return nil, core.error { layer = "dns", condition = "bad-host", retry = false,
    text = ("'%s' can't be a host: give a name or an IP address"):format(core.shown(host)) }
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
  o.password, o.tls, o.component, o.sasl2, o.fast = secret, o.tls or "none", true, false, false
  return open(o)
end

-- Connections: their methods, which are also functions of the module

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

-- The result of drain. If the timeout came first, it returns an error as well.
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

-- The address to ping: the server. For a component the server has no name of its own, so it is the parent domain of
-- the component's, which answers too, if only with an error.
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
  if name ~= "jid" then M[name] = f end -- xmpp.jid makes a Jid; xmpp.connection_jid returns a connection's
end
M.connection_jid = conn.jid

-- For a to-be-closed variable: like stop. Where it can't wait, stopping continues in the background.
local function close(self)
  if waiting.can_wait() then conn.stop(self) else core.conn.close(self, 5) end
end

core.methods(conn, close)

-- The loop

-- shared.quit: set until the `run` that it is meant for has returned
local function turn()
  local step = shared.turn or core.step -- a test turns the loop and a clock of its own
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

--- Makes `xmpp.run()` return after the current turn of the loop. If it isn't running, the next call returns at once.
function M.quit()
  shared.quit = true
end

local signals = shared.signals or {} -- name -> the watch of that signal
shared.signals = signals

--- Calls f(name) when the process gets that signal, instead of the signal's default action. Each signal has one
--- function; nil removes it, and the signal does what it did before. Waiting for a signal alone does not keep
--- `xmpp.run()` going.
---@param name xmpp.Signal
---@param f fun(name: xmpp.Signal)?
---@return fun()? off removes the function again
function M.on_signal(name, f)
  check_type(name, "string", 1, "on_signal", 2)
  if f ~= nil then check_type(f, "function", 2, "on_signal", 2) end
  local watch = at_caller(2, "on_signal", core.signal, name, f)
  if signals[name] then signals[name]:cancel() end
  signals[name] = watch
  return watch and function() watch:cancel() end
end

--- Runs f(...) in a coroutine of its own, beginning in the loop's next turn.
---@param f function
---@return xmpp.Promise for what it returns
function M.spawn(f, ...)
  check_type(f, "function", 1, "spawn", 2)
  return load_later "xmpp.promise".spawn(f, ...)
end

--- A new promise: something that callers can wait for until it is settled.
function M.promise() return load_later "xmpp.promise".new() end

--- A queue between those who put values in and those who take them out.
---@param most integer? how many values it holds (1,000); 0: `put` waits until a `get` takes the value
---@return xmpp.Channel
function M.channel(most)
  if most ~= nil then
    local ok, why = options.is_places(most)
    if not ok then bad_argument(1, "channel", why, 2) end
  end
  return require "xmpp.channel".new(most or 1000)
end

--- Like coroutine.wrap, for a generator that waits between its items: the caller that asks for the next item waits.
---@param f function
---@return function
function M.wrap(f)
  check_type(f, "function", 1, "wrap", 2)
  return waiting.wrap(f)
end

--- Waits for so many seconds, while everything else continues.
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

--- Calls f every so many seconds, each time in a coroutine of its own; skips a call while the previous one still
--- waits.
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

-- What not every program needs is loaded on first use: xmpp.xexpr, xmpp.contract, xmpp.stream, and what only clients
-- call (client.lua). It also appears if the module is iterated over; where that can't be noticed (Lua 5.1, LuaJIT) it
-- is loaded at once. What a program has put there itself stays.

local client

local function load_client(name)
  client = client or load_later "xmpp.client" { open = open, dialable = dialable, check_where = check_where,
    check_password = check_password, await_timeout = AWAIT_TIMEOUT }
  return client[name]
end

local function load_module(name) return load_later("xmpp." .. name) end

local LATER = { xexpr = load_module, contract = load_module, stream = load_module, connect_client = load_client,
  resume = load_client, logout = load_client }

local later = { __metatable = "the module's metatable is its own" }

function later.__index(module, name)
  local value = LATER[name] and LATER[name](name)
  if value then rawset(module, name, value) end
  return value
end

local function load_all()
  for name in next, LATER do
    if rawget(M, name) == nil then later.__index(M, name) end
  end
end

function later.__pairs(module)
  load_all()
  return next, module
end

if pairs(setmetatable({}, { __pairs = function() return false end })) then load_all() end

return setmetatable(M, later)
