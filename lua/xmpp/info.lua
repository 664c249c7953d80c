-- info: small requests about an entity: ping (XEP-0199), its software version (XEP-0092), its time (XEP-0202), its
-- idle time (XEP-0012). Requests need no extension; answering them is one:
--
--   info.use(conn, { version = { name = "mybot", version = "1.2" }, time = true })    -- ping is on
--
-- They are answered for those whom disco lets know that we are available (disco.allows), and for nobody else.

local core = require "xmpp.load"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = { name = "info", needs = { disco } }

local PING, VERSION, TIME, LAST = "urn:xmpp:ping", "jabber:iq:version", "urn:xmpp:time", "jabber:iq:last"

-- Asking

local OPTIONS = { timeout = "number", from = "jid" }

local function check(conn, jid, opts, fname)
  guard.check_conn(conn, fname, 3)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, fname, 3) end
  return (guard.check_opts(opts, OPTIONS, 3, fname, 3))
end

local function bad(stanza, reason)
  local who = core.shown(xexpr.attr(stanza, "from") or "our server")
  return iq.bad_format(("the answer of %s: %s"):format(who, reason), stanza)
end

-- The payload of the answer, if it is that element.
local function ask(conn, jid, name, xmlns, opts)
  local answer, stanza = iq.get(conn, jid, { name, { xmlns = xmlns } }, { timeout = opts.timeout, from = opts.from })
  if not answer then return nil, stanza end
  if answer == true or answer[1] ~= name or xexpr.attr(answer, "xmlns") ~= xmlns then
    return bad(stanza, name .. ": missing")
  end
  return answer, stanza
end

local PONG = { ["service-unavailable"] = true, ["feature-not-implemented"] = true }

local function same(a, b)
  local left, right = core.jid(a), core.jid(b)
  return left ~= nil and left == right
end

--- Pings an entity (XEP-0199). An entity that answers that it does not support pings is reachable, too; but for the
--- full address of a client, the client's server gives the same answer if the client is offline, so look at `err`.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? number|{ timeout: number?, from: string|xmpp.Jid|nil } a number is the timeout; from: the address of a
--- component that asks
---@return number? seconds until the answer came
---@return xmpp.Error? err with nil: no answer came, or the request was refused; with seconds: the error that came
--- instead of a pong
function M.ping(conn, jid, opts)
  if type(opts) == "number" then opts = { timeout = opts } end
  opts = check(conn, jid, opts, "ping")
  local began = core.now()
  local answer, err = iq.get(conn, jid, { "ping", { xmlns = PING } }, { timeout = opts.timeout, from = opts.from })
  if answer then return core.now() - began end
  if err.layer == "stanza" and PONG[err.condition] and (err.by == nil or same(err.by, jid)) then
    return core.now() - began, err
  end
  return nil, err
end

--- Asks which software an entity runs (XEP-0092).
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return { name: string, version: string, os: string? }?
---@return xmpp.Error?
function M.version(conn, jid, opts)
  opts = check(conn, jid, opts, "version")
  local query, stanza = ask(conn, jid, "query", VERSION, opts)
  if not query then return nil, stanza end
  local out = { name = xexpr.text(query, "name", VERSION), version = xexpr.text(query, "version", VERSION),
    os = xexpr.text(query, "os", VERSION) }
  if not out.name then return bad(stanza, "query.name: missing") end
  if not out.version then return bad(stanza, "query.version: missing") end
  return out
end

--- Asks an entity for its time (XEP-0202): `utc` in seconds since 1970, `offset` of its local time from UTC in seconds.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return { utc: number, offset: integer }?
---@return xmpp.Error?
function M.time(conn, jid, opts)
  opts = check(conn, jid, opts, "time")
  local answer, stanza = ask(conn, jid, "time", TIME, opts)
  if not answer then return nil, stanza end
  local utc, offset = time.parse(xexpr.text(answer, "utc", TIME)), time.offset(xexpr.text(answer, "tzo", TIME))
  if not utc then return bad(stanza, "time.utc: a time expected") end
  if not offset then return bad(stanza, "time.tzo: an offset expected") end
  return { utc = utc, offset = offset }
end

--- Asks for how many seconds somebody has been idle (a full address) or offline (a bare address; `text` is the last
--- status), or for how long a server has been running (a domain) (XEP-0012).
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return { seconds: integer, text: string? }?
---@return xmpp.Error?
function M.last(conn, jid, opts)
  opts = check(conn, jid, opts, "last")
  local query, stanza = ask(conn, jid, "query", LAST, opts)
  if not query then return nil, stanza end
  local seconds, text = xexpr.attr(query, "seconds"), xexpr.text(query)
  if not (seconds and seconds:find "^%d+$" and #seconds < 16) then
    return bad(stanza, "query.seconds: a whole number expected")
  end
  return { seconds = tonumber(seconds), text = text ~= "" and text or nil }
end

-- Answering

local function version_answer(version)
  local query = { "query", { xmlns = VERSION }, { "name", {}, version.name }, { "version", {}, version.version } }
  if version.os then query[5] = { "os", {}, version.os } end
  return function() return query end
end

local function time_answer()
  local now = time.now()
  return { "time", { xmlns = TIME }, { "tzo", {}, time.zone(now) }, { "utc", {}, time.format(math.floor(now)) } }
end

-- Seconds since the last activity: what the program's function returns, else since `use`.
local function last_answer(last)
  local began = core.now()
  return function()
    local idle = type(last) == "function" and last() or core.now() - began
    return { "query", { xmlns = LAST, seconds = ("%.0f"):format(math.max(0, math.floor(idle))) } }
  end
end

local KINDS = { version = "table", ping = "boolean", time = "boolean", last = "boolean function" }

local function check_options(opts)
  for name, value in pairs(opts) do
    local kinds = KINDS[name]
    if not kinds then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
    if value and not kinds:find(type(value), 1, true) then
      error(("bad option '%s' (%s expected, got %s)"):format(name, kinds:gsub(" ", " or "), type(value)), 0)
    end
  end
  local v = opts.version or {}
  for _, key in ipairs { "name", "version", "os" } do
    if opts.version and type(v[key]) ~= "string" and (key ~= "os" or v[key] ~= nil) then
      error(("bad option 'version' (version.%s: string expected, got %s)"):format(key, type(v[key])), 0)
    end
  end
end

-- Serves one kind of request for those who may ask, and announces it in disco.
local function serve(st, conn, xmlns, f)
  st.offs[#st.offs + 1] = iq.serve(conn, "get", xmlns, function(_, stanza, c)
    if not disco.allows(c, stanza[2].from) then return nil, "cancel", "service-unavailable" end
    return f()
  end)
  st.offs[#st.offs + 1] = disco.add(conn, xmlns)
end

local function serve_all(st, conn, opts)
  if opts.ping ~= false then serve(st, conn, PING, function() return true end) end
  if opts.version then serve(st, conn, VERSION, version_answer(opts.version)) end
  if opts.time then serve(st, conn, TIME, time_answer) end
  if opts.last then serve(st, conn, LAST, last_answer(opts.last)) end
end

function M.stop(st)
  for _, off in ipairs(st.offs) do off() end
end

function M.start(st, conn, opts)
  check_options(opts)
  st.offs = {}
  local ok, why = pcall(serve_all, st, conn, opts) -- the program may serve one of them itself
  if ok then return end
  M.stop(st)
  error(why, 0)
end

--- Answers such requests from others: from those who may know that we are available (disco.allows), and from nobody
--- else. The operating system is told only if it is given.
---@param conn xmpp.Conn
---@param opts? table version: { name =, version =, os =? }; ping: answer pings (true); time: tell the time (false);
--- last: a function that returns the seconds since the last activity, or true: since `use` (false)
---@return table? handle
---@return xmpp.Error?
function M.use(conn, opts)
  local st, err = ext.use(conn, M, opts, 2)
  return st, err
end

return M
