-- health: checks the connection and the server's services. For monitoring: each step once, and how long it took.
--
--   local health = require "xmpp.health"
--   local steps, well = health.check(conn, { room = "ops@rooms.example.net" })
--   for _, s in ipairs(steps) do print(s.name, s.ok, s.seconds, s.err) end
--
-- The steps: "dns", "tcp", "proxy" (if there is one), "tls" and "login", from when the present connection was made;
-- "certificate", how long the server's is still valid; "ping", the server's answer; "echo", a message to ourselves;
-- "upload", an upload slot, which is requested and not used; "muc", the room service, or a room that is joined and
-- left.

local core = require "xmpp.load"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local xexpr = require "xmpp.xexpr"

local M = {}

local DAY = 86400
local DAYS, TIMEOUT = 14, 20
local SETUP = { "dns", "tcp", "proxy", "tls", "login" }

-- Calls f and returns the seconds it took, err, and err again if the server doesn't have the service.
local function timed(f, ...)
  local began = core.now()
  local ok, err = f(...)
  err = not ok and err or nil
  return core.now() - began, err, err and err.condition == "item-not-found" and err or nil
end

-- An error stanza is an answer, too.
local function ping(conn, o)
  local ok, err = conn:ping(o.timeout)
  return ok ~= nil or err.layer == "stanza", err
end

local function echo(conn, o)
  local xmpp, id = require "xmpp", core.id()
  local came = xmpp.promise()
  local off = conn:tap(function(stanza)
    if xexpr.is_error(stanza) then came:reject(select(2, require "xmpp.iq".failure(stanza))) end
    came:resolve(true)
    return true
  end, { name = "message", id = id })
  local me = conn:jid()
  local ok, err = conn:send { "message", { from = not me.localpart and me or nil, to = me, id = id, type = "chat" },
    { "body", {}, "health check" }, { "no-store", { xmlns = "urn:xmpp:hints" } } }
  if ok then ok, err = came:wait(o.timeout) end
  off()
  return ok, err
end

local function upload(conn, o)
  return require "xmpp.upload".slot(conn, "health-check.txt", 1, "text/plain", { timeout = o.timeout })
end

-- If the program is in the room already, it is asked whether we still are (XEP-0410), and not left.
local function muc(conn, o)
  if not o.room then
    return require "xmpp.disco".find(conn, { category = "conference", type = "text" }, { timeout = o.timeout })
  end
  local rooms = require "xmpp.muc"
  local address, bad = core.jid(o.room)
  if not address then return nil, bad end
  local st = ext.of(conn, rooms)
  local had = st and st.rooms[tostring(address)]
  if had then return had:ping(o.timeout) end
  local room, err = (o.join or function()
    return rooms.join(conn, address, o.nick or conn:jid().localpart, { password = o.password, timeout = o.timeout })
  end)()
  if room then room:leave() end
  return room, err
end

--- The steps, each a function of conn and options that returns seconds, err; and err once more if the server doesn't
--- have the service. They wait.
M.steps = {}
for name, f in pairs { ping = ping, echo = echo, upload = upload, muc = muc } do
  M.steps[name] = function(conn, o) return timed(f, conn, o) end
end

local function certificate(info, days)
  local seconds = info.certificate_seconds
  if not seconds then return nil end
  local left, err = math.floor(seconds / DAY), nil
  if seconds < days * DAY then
    err = core.error { layer = "tls", condition = "certificate-expires", retry = false,
      text = ("the server's certificate ends in %d days"):format(left) }
  end
  return { name = "certificate", ok = err == nil, seconds = 0, days = left, err = err }
end

local OPTIONS = { steps = "table", timeout = "number", days = "number", room = "jid", nick = "string",
  password = "string" }

local function wanted(steps)
  if not steps then return nil end
  local out = {}
  for i, name in ipairs(steps) do
    local is_known = name == "certificate" or M.steps[name] ~= nil
    for _, other in ipairs(SETUP) do is_known = is_known or other == name end
    if not is_known then error(("bad option 'steps' of 'check' (at %d)"):format(i), 3) end
    out[name] = true
  end
  return out
end

local function not_ready(conn)
  local state = conn:state()
  if state == "ready" then return nil end
  return core.error { layer = "closed", condition = "not-ready", retry = state ~= "closed",
    text = ("the connection is %s"):format(state) }
end

-- A run: `only` the wanted steps (nil: all), the `list` so far, `well`. A failed connection counts even if it isn't
-- wanted, because the other steps need it.
local function add(run, step)
  if not step or run.only and not run.only[step.name] and step.ok then return end
  run.list[#run.list + 1], run.well = step, run.well and step.ok
end

local function add_link(run, info, err)
  for _, name in ipairs(SETUP) do
    local its = name == "login" and err or nil
    local seconds = info.took[name]
    if seconds and (its or not err) then add(run, { name = name, ok = its == nil, seconds = seconds, err = its }) end
  end
end

local function try(run, conn, name, opts)
  if run.only and not run.only[name] then return end
  local seconds, err, missing = M.steps[name](conn, { timeout = opts.timeout or TIMEOUT, room = opts.room,
    nick = opts.nick, password = opts.password })
  if missing and not run.only and not (opts.room and name == "muc") then return end
  add(run, { name = name, ok = err == nil, seconds = seconds, err = err })
end

--- Tries the steps, and waits for them. What the server does not have (an upload service, a room service) is left out
--- unless it is among `steps`. If there is no connection, the step "login" says so, and nothing is tried.
---@param conn xmpp.Conn
---@param opts? { steps: string[]?, timeout: number?, days: number?, room: string|xmpp.Jid|nil, nick: string?,
--- password: string? } steps: only these, by name (all that are possible); timeout: seconds for each (20); days: a
--- certificate that is valid for fewer is a failure (14); room: "muc" joins this room and leaves it; if the program is
--- in it already, it is pinged; nick: the nick to use there (our account's localpart; a component must give one);
--- password: the room's
---@return { name: string, ok: boolean, seconds: number, days: integer?, err: xmpp.Error? }[] steps in the order dns,
--- tcp, tls, login, certificate, ping, echo, upload, muc
---@return boolean well whether all have succeeded
function M.check(conn, opts)
  guard.check_conn(conn, "check", 2)
  opts = guard.check_opts(opts, OPTIONS, 2, "check", 2)
  if opts.room and not opts.nick and not conn:jid().localpart then
    error("option 'room' of 'check' needs a 'nick' for a component", 2)
  end
  local run = { only = wanted(opts.steps), list = {}, well = true }
  local info, err = conn:info(), not_ready(conn)
  add_link(run, info, err)
  if not err then
    if not run.only or run.only.certificate then add(run, certificate(info, opts.days or DAYS)) end
    for _, name in ipairs { "ping", "echo", "upload", "muc" } do try(run, conn, name, opts) end
  end
  return run.list, run.well
end

return M
