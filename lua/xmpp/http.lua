-- http: HTTPS requests for programs on the library's event loop, by libcurl (c/http, xmpp/http.so, which is built if
-- libcurl is installed). They wait by the library's rule: a coroutine yields, the main thread turns the loop.
--
--   local http = require "xmpp.http"
--   local answer = assert(http.request { url = "https://api.example.net/weather?q=Bern" })
--   print(answer.status, answer.headers["content-type"], #answer.body)
--
-- Only the host in the URL is trusted: certificates are verified as a stream's are, redirects aren't followed, each
-- request has a connection of its own, and nothing is kept between requests, neither cookies nor sessions.

local ascii = require "xmpp.ascii"
local core = require "xmpp.load"
local guard = require "xmpp.guard"
local load = require "xmpp.http.load"
local multi = require "xmpp.http.multi"
local places = require "xmpp.http.place"
local proxies = require "xmpp.proxy"
local waiting = require "xmpp.wait"

local os = rawget(_G, "os") -- a sandbox may not have it
local getenv = type(os) == "table" and os.getenv or nil

local M = {}

local MAX, TIMEOUT, STALL = 1024 * 1024, 60, 60
local MOST_HEADERS = 50
local CHUNK = 256 * 1024 -- bytes that a body function is asked for; it may return fewer, or more
local PAUSE = 0.02 -- seconds until a body function that had nothing to return is called again
local SPARE = 10 -- seconds after the timeout; then nobody waits any more, whatever libcurl does
local MOST_SECONDS = 1000000

local OPTIONS = { url = "string", method = "string", headers = "table", body = "any", size = "number",
  timeout = "number", stall = "number", progress = "function", max = "number", resolve = "string",
  ca_file = "string", ca_dir = "string", pin = "string", insecure = "boolean", http = "boolean", proxy = "any",
  public = "boolean", but = "string", cancel = "table" }

-- Errors

local function failure(condition, text, retry)
  return core.error { layer = "http", condition = condition, retry = retry or false, text = text }
end

-- An error about a host; the URL and the text are not trusted.
local function failure_at(url, condition, text, retry)
  local host = url:match "^%a[%w+.-]*://[^/?#]*" or ""
  host = host:match "[^@/]*$"
  return failure(condition, ("%s: %s"):format(core.shown(host), core.shown(text)), retry)
end

--- Tells whether libcurl is available; otherwise the error says what to install.
---@return true?
---@return xmpp.Error?
function M.available()
  local module, why = load()
  if module then return true end
  return nil, failure("no-http", why)
end

-- The request

local function bad(level, option, why)
  error(("bad option '%s' of 'request' (%s)"):format(option, why), level + 1)
end

local function check_header(name, value, level)
  if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
    bad(level + 1, "headers", "valid header names expected")
  end
  local lower = ascii.lower(name)
  if lower == "content-length" or lower == "transfer-encoding" then
    bad(level + 1, "headers", lower .. " is set from the body")
  end
  if type(value) ~= "string" and type(value) ~= "number" or tostring(value):find "[%z\1-\8\10-\31\127]" then
    bad(level + 1, "headers", name .. ": a line of text expected")
  end
end

-- The header lines as libcurl takes them; an empty value has a notation of its own.
local function lines_of(headers, level)
  local lines = {}
  for name, value in pairs(headers or {}) do
    check_header(name, value, level + 1)
    value = tostring(value)
    lines[#lines + 1] = value:find "%S" and ("%s: %s"):format(name, value) or name .. ";"
  end
  if #lines > MOST_HEADERS then bad(level + 1, "headers", "50 at most") end
  table.sort(lines)
  return lines
end

local function check_number(o, name, least, level)
  local n = o[name]
  if n ~= nil and not (n >= least and n == n) then
    bad(level + 1, name, ("number from %d expected, got %s"):format(least, tostring(n)))
  end
end

local function check(o, level)
  guard.check_type(o, "table", 1, "request", level + 1)
  for option, value in pairs(o) do
    local kind = OPTIONS[option]
    if not kind then error(("'request' has no option '%s'"):format(core.shown(tostring(option))), level + 1) end
    if kind ~= "any" and type(value) ~= kind then
      bad(level + 1, option, ("%s expected, got %s"):format(kind, type(value)))
    end
  end
  if not o.url then bad(level + 1, "url", "string expected, got nil") end
  if o.url:find "[%z\1-\32\127-\255]" then bad(level + 1, "url", "what isn't ASCII, and spaces, are written as %20") end
  if o.method and not o.method:find "^%u+$" then bad(level + 1, "method", "GET, PUT and the like expected") end
  local kind = type(o.body)
  if o.body ~= nil and kind ~= "string" and kind ~= "function" then
    bad(level + 1, "body", "string or function expected, got " .. kind)
  end
  if o.proxy ~= nil and o.proxy ~= false and type(o.proxy) ~= "string" then
    bad(level + 1, "proxy", "string or false expected, got " .. type(o.proxy))
  end
  if o.cancel and type(o.cancel.wait) ~= "function" then bad(level + 1, "cancel", "a promise expected") end
  check_number(o, "timeout", 0, level + 1)
  check_number(o, "stall", 1, level + 1)
  check_number(o, "max", 0, level + 1)
  check_number(o, "size", 0, level + 1)
end

-- Scheme and host, as far as they are needed here; libcurl parses the URL itself.
local function place_of(url)
  local scheme, authority = url:match "^(%a[%w+.-]*)://([^/?#]*)"
  authority = authority and authority:match "[^@]*$" or ""
  local host = authority:match "^%[([^%]]*)%]" or authority:match "^[^:]*"
  return scheme and ascii.lower(scheme), host
end

local function proxy_of(o)
  if o.proxy == false then return nil end
  local scheme, host = place_of(o.url)
  return o.proxy or proxies.find(scheme, host, getenv)
end

local function size_of(o)
  if o.body == nil then return nil end
  if type(o.body) == "string" then return #o.body end
  return o.size or -1
end

-- to libcurl 0 means no limit
local function bounded(seconds) return math.max(math.min(seconds, MOST_SECONDS), 0.001) end

-- The request as c/http/http.c takes it. Without a CA from the program it is the one that a stream would use.
local function request_of(o, lines)
  local ca_file, ca_dir = o.ca_file, o.ca_dir
  if not ca_file and not ca_dir and getenv then ca_file, ca_dir = getenv "SSL_CERT_FILE", getenv "SSL_CERT_DIR" end
  return { url = o.url, method = o.method or (o.body and "POST" or "GET"), headers = lines, size = size_of(o),
    max = o.max or MAX, timeout = bounded(o.timeout or TIMEOUT), stall = bounded(o.stall or STALL), ca_file = ca_file,
    ca_dir = ca_dir, pin = o.pin and "sha256//" .. o.pin, insecure = o.insecure, http = o.http, proxy = proxy_of(o),
    dial = o.resolve, public = o.public, but = o.but }
end

-- The response

-- Header names are in lower case; repeated headers are joined by ", " (RFC 9110 5.2).
local function headers_of(lines)
  local out, last = {}, nil
  for line in lines:gmatch "[^\r\n]+" do
    local name, value = line:match "^([^:%s]+)%s*:%s*(.-)%s*$"
    if name then
      last = ascii.lower(name)
      out[last] = out[last] and out[last] .. ", " .. value or value
    elseif last and line:find "^[ \t]" then
      out[last] = out[last] .. " " .. line:match "^%s*(.-)%s*$"
    end
  end
  return out
end

local function outcome(self, transfer)
  if self.t and self.t.fault then
    return nil, failure_at(self.o.url, "no-memory", tostring(self.t.fault), true)
  end
  local status, lines, body, retry = transfer:result()
  if not status then return nil, failure_at(self.o.url, lines, body, retry) end
  return { status = status, headers = headers_of(lines), body = body }
end

-- Continues the waiting call. Raises an error if memory runs out; then the fallback timer tries again.
local function wake(self)
  if self.box.list then waiting.wake(self.box) end
  if self.fallback then self.fallback:cancel() end
end

-- Ends the transfer; nothing is sent or received after this.
local function stop(self)
  if self.over then return false end
  self.over = true
  if self.t then multi.cancel(self.t) end
  return true
end

-- The only end of a request.
local function finish(self, answer, err)
  if not stop(self) then return end
  self.answer, self.err = answer, err
  wake(self)
end

local function cancel(self, text)
  if not stop(self) then return end
  self.err = failure_at(self.o.url, "cancelled", text)
  wake(self)
end

local function end_late(self)
  if stop(self) then self.err = failure_at(self.o.url, "timeout", "gave up waiting for it") end
  wake(self)
end

-- Ends the request if nothing else has, because memory ran out: repeats until the caller has been told.
local function fall_back(self)
  if not pcall(end_late, self) then core.timer(1, function() fall_back(self) end) end
end

-- The program's functions

local traceback = rawget(_G, "debug") and rawget(_G, "debug").traceback

-- Calls the program's `progress`. If that throws, the error is reported, and it isn't called again; `false` cancels.
-- One call at a time.
local function tell_progress(self, moved)
  local f = self.o.progress
  if not f or self.telling or self.over then return end
  self.telling = true
  local ok, waits, answer = guard.begin(function()
    local go_on = f(moved, self.size and self.size >= 0 and self.size or nil)
    self.telling = false
    return go_on
  end)
  if not ok then
    self.telling = true
    guard.report("http.request, progress", traceback and traceback(answer, waits) or waits)
  elseif not waits and answer == false then
    cancel(self, "progress said so")
  end
end

-- The next bytes of the body, nil at its end.
local function next_bytes(self)
  if type(self.o.body) == "string" then
    local bytes = not self.given and self.o.body or nil
    self.given = true
    return bytes
  end
  local ok, bytes, why = guard.call(self.o.body, CHUNK)
  if self.over then return nil end
  if not ok then
    guard.report("http.request, body", bytes)
    return nil, failure("bad-body", "the function that gives the body threw an error")
  end
  if bytes == nil and why ~= nil then
    return nil, type(why) == "table" and why or failure("bad-body", core.shown(tostring(why)))
  end
  if bytes ~= nil and type(bytes) ~= "string" then
    return nil, failure("bad-body", "the function that gives the body returned a " .. type(bytes))
  end
  return bytes
end

-- For libcurl "" is the end; for a body function it means that there is nothing at the moment.
local function go_on_with_body(self)
  local bytes, err
  repeat
    if bytes == "" then require "xmpp".sleep(PAUSE) end
    bytes, err = next_bytes(self)
  until bytes ~= "" or type(self.o.body) == "string" or self.over
  if err then return finish(self, nil, err) end
  if not self.over and self.t then multi.feed(self.t, bytes or "") end
end

-- Not called from within libcurl, since the program's function may wait.
local function on_hungry(self)
  core.spawn(function() go_on_with_body(self) end)
end

local function heed(self, promise)
  core.spawn(function()
    promise:wait()
    cancel(self, "the program cancelled it")
  end)
end

-- A proxy looks up names itself, so the address that it connects to isn't known here: then the URL itself must not
-- name a private address.
local function is_forbidden(request)
  if not (request.public and request.proxy) then return false end
  local place = places.read(request.url)
  return not place or place.is_private and not places.is_at(place, request.but)
end

local function begin(self, request)
  if is_forbidden(request) then
    return nil, failure_at(self.o.url, "forbidden-address", "it isn't a public address, and a proxy would look it up")
  end
  local t, why = multi.begin(request, {
    done = function(transfer) finish(self, outcome(self, transfer)) end,
    hungry = function() on_hungry(self) end,
    moved = function(sent, received) tell_progress(self, self.size and sent or received) end,
  })
  if t then
    self.t = t
    return true
  end
  if not load() then return nil, failure("no-http", why) end
  if why == "not enough memory" then return nil, failure_at(self.o.url, "no-memory", why, true) end
  return nil, failure_at(self.o.url, "bad-url", why)
end

-- All fields exist from the start, so that setting them later takes no memory.
local function new(o)
  return { o = o, size = o.body ~= nil and size_of(o) or nil, box = false, waiters = false, fallback = false, t = false,
    over = false, answer = false, err = false, telling = false, given = false }
end

-- Prepares what is needed to wait, before anything begins.
local function prepare(self, seconds)
  self.box = waiting.box()
  self.waiters = {}
  function self.box.give_up(box)
    waiting.leave(box)
    stop(self)
    if self.fallback then self.fallback:cancel() end
  end
  self.fallback = core.timer(seconds, function() fall_back(self) end)
end

-- Waits for the end. If the coroutine is closed in the meantime, the request is cancelled.
local function await(self)
  if not self.over then
    local woken, err = waiting.wait_in(self.waiters, self.box, nil, "an HTTP response")
    if not woken then finish(self, nil, err) end
  end
  if self.fallback then self.fallback:cancel() end
  if self.answer then return self.answer end
  return nil, self.err
end

--- Makes a request and waits for the response, whatever its status. Redirects are not followed: they are responses.
--- The server must be the one that the URL names, by its certificate. Raises an error for bad options.
---@param o xmpp.HttpRequest
---@return { status: integer, headers: table<string, string>, body: string }?
---@return xmpp.Error? err layer "http"; condition "host-unknown", "no-connection", "certificate", "tls", "timeout",
--- "cut", "too-large", "forbidden-address" (`public`), "bad-url", "bad-body", "cancelled", "no-http" (no libcurl), ...
function M.request(o)
  check(o, 2)
  local lines = lines_of(o.headers, 2)
  waiting.check(2)
  local self = new(o)
  local request = request_of(o, lines)
  prepare(self, request.timeout + SPARE)
  local ok, err = begin(self, request)
  if not ok then
    self.fallback:cancel()
    return nil, err
  end
  if o.cancel then heed(self, o.cancel) end
  return await(self)
end

return M
