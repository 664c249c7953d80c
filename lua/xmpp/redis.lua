-- redis: a connection to a Redis server on the library's loop. The replies are read by hiredis (c/redis, xmpp/redis.so,
-- which is built where hiredis is installed). A call waits as everything here does: a coroutine yields, the main thread
-- turns the loop. Any number of coroutines may call at the same time: commands leave in the order of the calls.
--
--   local redis = require "xmpp.redis"
--   local r = assert(redis.connect { host = "127.0.0.1", password = "secret" })
--   print(r:call("INCR", "visits"))
--   r:close()
--
-- Values are as in Redis's own scripts: texts are strings, numbers are integers, nil is false, arrays are tables, and
-- an error inside an array is { err = text }. A connection doesn't connect again by itself, and sends nothing twice:
-- only the program knows which commands may be done twice.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local load = require "xmpp.redis.load"
local options = require "xmpp.redis.options"
local waiting = require "xmpp.wait"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local M = {}

-- Seconds after the timeout: then a connection is closed that connect has not returned, because an error was raised.
local SPARE = 10

---@class xmpp.Redis
local R = {}
local Redis = { __index = R, __metatable = "a connection to Redis has a metatable of its own" }

-- Errors

-- Redis's own errors that are about its state and will pass: another try may succeed.
local PASSES = { LOADING = true, BUSY = true, MASTERDOWN = true, READONLY = true, OOM = true, TRYAGAIN = true,
  CLUSTERDOWN = true, MISCONF = true, NOREPLICAS = true, UNBLOCKED = true }

local function failure(place, condition, text, retry)
  return core.error { layer = "redis", condition = condition, retry = retry or false,
    text = ("%s: %s"):format(place, core.shown(text)) }
end

-- "WRONGTYPE Operation against a key ..."
local function refusal(self, text)
  local word = text:match "^%-?(%u[%u%d_]+)%f[%s%z]" or "ERR"
  return failure(self.place, word, text, PASSES[word])
end

--- The error of a command while there is no connection.
---@param place string
---@return xmpp.Error
function M.gone(place) return failure(place, "no-connection", "there is no connection to it now", true) end

--- Tells whether xmpp.redis can be used here.
---@return true?
---@return xmpp.Error? err condition "no-redis": the library was built without hiredis; the text names the package
function M.available()
  local module, why = load()
  if module then return true end
  return nil, core.error { layer = "redis", condition = "no-redis", retry = false, text = why }
end

-- Calls that wait for their replies, in the order of the replies: self.calls[first .. last].

local function push(self, call)
  self.last = self.last + 1
  self.calls[self.last] = call
end

local function shift(self)
  local call = self.calls[self.first]
  if not call then return nil end
  self.calls[self.first] = nil
  self.first = self.first + 1
  return call
end

-- The caller goes on. Without memory for that it raises; the caller is then woken by its timeout.
local function settle(call, value, err)
  call.value, call.err, call.done = value, err, true
  if call.box.list then waiting.wake(call.box) end
end

-- The wire

local function unwatch(self)
  if self.watch then self.watch:cancel() end
  self.watch = false
end

-- The connection ends, in this function alone. Whoever waits is given the reason.
local function finish(self, err)
  if self.over then return end
  self.over = err
  unwatch(self)
  self.c:close()
  for call in shift, self do settle(call, nil, err) end
  if self.opening.list then waiting.wake(self.opening) end
  local told = self.on_over
  if told then core.spawn(function() told(err) end) end
end

local look

local function rewatch(self)
  local fd, events, serial = self.c:want()
  if fd == self.fd and events == self.events and serial == self.serial then return end
  unwatch(self)
  self.fd, self.events, self.serial = fd, events, serial
  if events == "" then return end
  self.watch = core.watch(fd, events, function() look(self) end)
  if not self.watch then error("its descriptor can't be watched", 0) end
end

-- A reply; or, on a connection that has subscribed, a text that was published.
local function take(self, value, err)
  if self.listener and type(value) == "table" and value[1] == "message" then
    return guard.go("what is published on Redis", self.listener, value[3])
  end
  local call = shift(self)
  if call then return settle(call, value, err and refusal(self, err)) end
  if err then return finish(self, refusal(self, err)) end
  finish(self, failure(self.place, "bad-reply", "it has said something that nobody has asked for", true))
end

local function take_all(self)
  while not self.over do
    local there, value, err, retry = self.c:next()
    if there == false then return end
    if there == nil then return finish(self, failure(self.place, value, err, retry)) end
    take(self, value, err)
  end
end

local function act(self, sends)
  local state, condition, text, retry = self.c:act(sends)
  while state == "opening" and select(2, self.c:want()) == "" do -- another address is to be tried
    unwatch(self)
    state, condition, text, retry = self.c:act(sends)
  end
  return state, condition, text, retry
end

local function go_on(self, sends)
  local state, condition, text, retry = act(self, sends)
  if not sends or not state then take_all(self) end
  if self.over then return end
  if not state then return finish(self, failure(self.place, condition, text, retry)) end
  if state == "open" and self.opening.list then waiting.wake(self.opening) end
  self.open = state == "open"
  rewatch(self)
end

-- Errors raised in here come from a lack of memory or of descriptors. They end the connection.
function look(self, sends)
  if self.over then return end
  local ok, why = pcall(go_on, self, sends)
  if not ok and not self.over then
    pcall(finish, self, failure(self.place, "no-memory", tostring(why), true))
  end
end

-- Calling

local function words_of(...)
  local words = { ... }
  for i = 1, select("#", ...) do
    local word = words[i]
    if type(word) == "number" then words[i] = core.number_text(word)
    elseif type(word) ~= "string" then
      error(("bad argument #%d to 'call' (string or number expected, got %s)"):format(i, type(word)), 3)
    end
  end
  if not words[1] then error("bad argument #1 to 'call' (a command expected, got no value)", 3) end
  return words
end

local function check_self(self, name)
  if type(self) ~= "table" or getmetatable(self) ~= Redis.__metatable then
    error(("calling '%s' on bad self (connection to Redis expected, got %s)"):format(name, type(self)), 3)
  end
end

local function send(self, call, words)
  push(self, call)
  if not self.c:send(unpack(words)) then
    return finish(self, failure(self.place, "no-memory", "not enough memory", true))
  end
  look(self, true)
end

-- Sends the words as a command and waits for the reply.
local function ask(self, words)
  if self.over then return nil, self.over end
  local call = { box = waiting.box(), value = false, err = false, done = false }
  send(self, call, words)
  if not call.done then waiting.wait_in(self.waiters, call.box, self.timeout, "Redis") end
  if not call.done then
    finish(self, failure(self.place, "timeout", ("no reply within %g seconds"):format(self.timeout), true))
    return nil, self.over
  end
  if call.err then return nil, call.err end
  return call.value
end

--- Sends a command and waits for its reply. Texts in the reply are strings, numbers are integers, nil is `false`,
--- arrays are tables, and an error inside an array is { err = text }.
---@param ... string|number the words of the command
---@return any value nil: there was an error
---@return xmpp.Error? err layer "redis". If Redis refused the command, condition is the first word of its error:
--- "WRONGTYPE", "OOM", "NOAUTH", "ERR". Otherwise it is "timeout", "cut", "bad-reply", "too-large", "tls", "closed" or
--- "no-memory"; then the connection has ended, and the command may have been done or not
function R:call(...)
  check_self(self, "call")
  local words = words_of(...)
  waiting.check(2)
  return ask(self, words)
end

--- Has f(text) called for each text that is published on the channel. After this no other command than PING may be
--- called.
---@param channel string
---@param f fun(text: string)
---@return true?
---@return xmpp.Error?
function R:subscribe(channel, f)
  check_self(self, "subscribe")
  guard.check_type(channel, "string", 1, "subscribe", 2)
  guard.check_type(f, "function", 2, "subscribe", 2)
  waiting.check(2)
  self.listener = f
  local answer, err = ask(self, { "SUBSCRIBE", channel })
  return answer and true, err
end

--- Closes the connection. Whoever waits for a reply gets an error of condition "closed".
---@return boolean was_open
function R:close()
  check_self(self, "close")
  local was_open = not self.over
  self.on_over = nil
  finish(self, core.error { layer = "redis", condition = "closed", text = self.place .. ": the connection was closed",
    retry = false })
  return was_open
end

--- Tells why the connection has ended.
---@return xmpp.Error? err nil: it is open
function R:why()
  check_self(self, "why")
  return self.over or nil
end

function Redis.__tostring(self) return ("xmpp.Redis (%s)"):format(self.over and "closed" or self.place) end

-- Connecting

local function check(o, level)
  guard.check_type(o, "table", 1, "connect", level + 1)
  local name, why = options.fault(o)
  if name then error(("bad option '%s' of 'connect' (%s)"):format(name, why), level + 1) end
end

local function open(module, o)
  return module.open { host = o.host, port = o.port, path = o.path, tls = o.tls, name = o.tls_name, ca_file = o.ca_file,
    ca_dir = o.ca_dir, cert = o.cert, key = o.key, max = o.max }
end

local function new(o, c)
  return setmetatable({ c = c, place = options.place(o), timeout = o.timeout, calls = {}, first = 1, last = 0,
    fd = false, events = false, serial = false, watch = false, over = false, open = false, listener = nil,
    on_over = nil, waiters = {}, opening = waiting.box() }, Redis)
end

local function password_of(o)
  local word = o.password
  if type(word) == "function" then word = word() end
  if word == nil or type(word) == "string" then return word end
  error("the password function returned " .. type(word) .. ", not a string", 0)
end

-- Authenticates, chooses the database, and asks for a sign of life.
local function log_in(self, o, password)
  local ok, err = true, nil
  if password then ok, err = ask(self, { "AUTH", o.user or password, o.user and password or nil }) end
  if ok and o.db and o.db ~= 0 then ok, err = ask(self, { "SELECT", core.number_text(o.db) }) end
  if ok then ok, err = ask(self, { "PING" }) end
  return ok, err
end

-- If connect raises for lack of memory, its caller has no connection that could be closed: this timer closes it then.
local function begin(self)
  local fallback
  fallback = core.timer(self.timeout + SPARE, function()
    self:close() -- or it raises, and is done once more
    fallback:cancel()
  end, true)
  look(self)
  return fallback
end

local function become_open(self)
  if not self.open and not self.over then
    waiting.wait_in(self.waiters, self.opening, self.timeout, "a connection to Redis")
  end
  if not self.open then
    finish(self, failure(self.place, "timeout", ("no connection within %g seconds"):format(self.timeout), true))
  end
  return not self.over, self.over or nil
end

--- Connects to a Redis server, logs in, and waits until it answers. Raises for bad options.
---@param o xmpp.RedisOpts
---@return xmpp.Redis? r
---@return xmpp.Error? err layer "redis"; condition "no-connection", "host-unknown", "certificate", "tls", "timeout",
--- "cut", "no-redis" (the library was built without hiredis), or a word of Redis's own: "NOAUTH", "WRONGPASS",
--- "LOADING"
function M.connect(o)
  check(o, 2)
  waiting.check(2)
  local module, why = load()
  if not module then return nil, core.error { layer = "redis", condition = "no-redis", retry = false, text = why } end
  o = options.complete(o)
  local password = password_of(o)
  local c = open(module, o)
  if not c then return nil, failure(options.place(o), "no-memory", "not enough memory", true) end
  local self = new(o, c)
  local fallback = begin(self)
  local ok, err = become_open(self)
  if ok then ok, err = log_in(self, o, password) end
  fallback:cancel()
  if ok then return self end
  self:close()
  return nil, err
end

return M
