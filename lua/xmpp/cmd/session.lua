-- session: connects a subcommand to the chosen account, and ends it in order: INT and TERM stop it within 5 seconds, a
-- second one at once.

local config = require "xmpp.cmd.config"
local exit = require "xmpp.cmd.exit"

local M = {}

local STOP = 5 -- seconds for closing the stream

-- Shows all XML on stderr, one line for each direction.
local function log(ctx)
  local escape = require "xmpp.cmd.escape"
  return function(direction, text)
    ctx.world.err(("%s %s\n"):format(direction == "out" and "->" or "<-", escape.line(text)))
  end
end

-- Options that say where to connect take precedence over the account's settings.
local function take_place(ctx, account, take)
  local said = ctx.opts.host or ctx.opts.port or ctx.opts.tls
  if said and ctx.opts.url then
    exit.raise("usage", "conflict", "--url can't be combined with --host, --port or --tls")
  end
  local url = not said and (ctx.opts.url or account.url)
  local ok, why = true, nil
  if url then ok, why = require "xmpp.options".url().check(url) end
  if not ok then exit.raise(ctx.opts.url and "usage" or "config", "bad-url", "url: " .. why) end
  if url then return take("url", "url") end
  for _, name in ipairs { "host", "port", "tls" } do take(name, name) end
end

local function options(ctx, account, more)
  local o = {}
  local function take(key, option)
    local value = ctx.opts[option] or account[option]
    if value ~= nil then o[key] = value end
  end
  take_place(ctx, account, take)
  take("proxy", "proxy")
  for key, option in pairs { ca_file = "ca-file", cert = "cert", key = "key" } do
    take(key, option)
    if o[key] then o[key] = config.expand(ctx.world, o[key]) end
  end
  take("pin", "pin")
  o.timeout, o.await_timeout = ctx.timeout, ctx.timeout
  if ctx.verbose then o.log = log(ctx) end
  for key, value in pairs(more or {}) do o[key] = value end
  return o
end

local function read_address(account)
  local xmpp = require "xmpp"
  local jid, err = xmpp.jid(account.jid)
  if not jid then
    exit.raise("config", "jid-malformed", ("%s: '%s' is not an address: %s"):format(
      account.path and ("%s:%d"):format(account.path, account.line) or "-a",
      require "xmpp.cmd.escape".line(account.jid), err.text))
  end
  if account.bind2 and jid.resourcepart then
    exit.raise("config", "conflict", ("%s:%d: with bind2 the server chooses the resource: leave it out of the jid")
      :format(account.path, account.line))
  end
  return jid
end

local function address(account, bind2)
  local jid = read_address(account)
  return (jid.resourcepart or bind2) and jid or jid:with_resource("xmpp-" .. require "xmpp".id())
end

-- Servers end a session that was bound by Bind 2 when the same user agent binds another one in that way (seen with
-- Prosody and ejabberd). So only one run of an account uses it at a time, and none that reconnects.
local function bind2(ctx, account, o, kept)
  if not account.bind2 or o.reconnect then return nil end
  return (not kept or require "xmpp.cmd.token".lock(ctx, account)) and "xmpp" or nil
end

--- The account's bare address.
function M.bare(account) return tostring(read_address(account):bare()) end

M.options = options

-- Errors that are the token's fault, which makes it useless.
local REFUSED = { ["not-authorized"] = true, ["credentials-expired"] = true, ["account-disabled"] = true }

-- Logs in with a stored token, without looking for the password. nil without an error: the password is needed.
local function by_token(ctx, account, jid, o, token)
  if ctx.watch then ctx.watch() end
  o.token = token
  local conn, err = require "xmpp".connect_client(jid, nil, o)
  o.token = nil
  if conn or err.layer ~= "sasl" then return conn, err end
  if REFUSED[err.condition] then
    require "xmpp.cmd.token".drop(ctx, account)
    ctx:note(("the token of %s was refused; the password is used instead"):format(ctx.bare))
  end
  return nil
end

-- `saved`: the session of an earlier process.
local function by_password(ctx, account, jid, o, password, saved)
  local xmpp = require "xmpp"
  if not password and not account.cert then
    password, ctx.source = require "xmpp.cmd.secret".find(ctx, account, ctx.bare)
  end
  if ctx.watch then ctx.watch() end
  ctx.password = ctx.opts.reload and password or nil -- the next process needs it, too
  if saved then return xmpp.resume(saved, password, o) end
  return xmpp.connect_client(jid, password, o)
end

--- Connects to the account that -a names. ctx.conn is the connection, from the beginning of the attempt. A connection
--- that is to reconnect (more.reconnect) gets the password in addition to a token, which may be rejected by then.
---@param ctx table
---@param more? table options of connect_client
---@param password? string if it is known already
---@return xmpp.Conn? conn
---@return xmpp.Error? err
function M.connect(ctx, more, password)
  local account = ctx.account or config.account(ctx.world, ctx.opts.account)
  local tokens = require "xmpp.cmd.token"
  ctx.account, ctx.bare = account, M.bare(account)
  local o = options(ctx, account, more)
  local saved, conn, err = o.session, nil, nil
  o.session = nil
  local kept = (saved or not password) and tokens.load(ctx, account, ctx.bare) or nil
  o.user_agent, o.bind2 = kept and { id = kept.agent, software = "xmpp" }, bind2(ctx, account, o, kept)
  local jid = address(account, o.bind2)
  function o.on_open(opened)
    ctx.conn = opened
    if kept then tokens.follow(ctx, account, opened) end
  end
  if kept and kept.token and not o.reconnect then conn, err = by_token(ctx, account, jid, o, kept.token)
  elseif kept then o.token = kept.token end
  if not conn and not err then conn, err = by_password(ctx, account, jid, o, password, saved) end
  if not conn then return nil, err end
  ctx.conn, ctx.ready = conn, true
  return conn
end

local function interrupted(name)
  return { layer = "interrupted", condition = name, text = name == "SIGTERM" and "terminated" or "interrupted",
    retry = false, command = true }
end

-- Lets the signals end what is running. Returns a function that undoes that.
local function watch(ctx, done)
  local xmpp, offs, times = require "xmpp", {}, 0
  if not ctx.world.signals then return function() end end
  for _, name in ipairs { "SIGINT", "SIGTERM" } do
    offs[#offs + 1] = xmpp.on_signal(name, function()
      times = times + 1
      if times > 1 then os.exit(exit.INTERRUPTED) end
      if ctx.on_interrupt and ctx.on_interrupt(name) then return end
      done:reject(interrupted(name))
    end)
  end
  return function()
    for _, off in ipairs(offs) do off() end
  end
end

local function stop(ctx)
  local conn = ctx.conn
  ctx.conn = nil
  if conn and conn:state() ~= "closed" then conn:stop(STOP) end
end

--- Runs f(ctx) in a coroutine, so that a signal can end it wherever it waits, and closes what it has opened.
---@return boolean ok as for pcall
---@return any status or nil
---@return any err
function M.guarded(ctx, f)
  local xmpp = require "xmpp"
  local done, task, off = xmpp.promise(), nil, nil
  -- Until there is something to end in order, a signal ends the process as usual.
  function ctx.watch() off = off or watch(ctx, done) end
  xmpp.spawn(function() -- started first, so that an error of the task is reported here
    local results, err = task:wait()
    if results then done:resolve(results) else done:reject(err) end
  end)
  task = xmpp.spawn(function() return { f(ctx) } end)
  local results, err = done:wait()
  stop(ctx)
  if off then off() end
  if not results then return true, nil, err end
  return true, results[1], results[2]
end

return M
