-- listen: shows what is received, one line each. It is invisible to contacts unless an option says otherwise, and
-- never answers.

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"

local M = {}

local CARBONS = "urn:xmpp:carbons:2"

local function stamp(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds)) end

-- When a stanza was sent: now, or at the time of its delay (XEP-0203).
local function time_of(x)
  local xexpr = require "xmpp.xexpr"
  local delay = xexpr.child(x, "delay", "urn:xmpp:delay")
  local text = delay and delay[2].stamp
  if text and text:find "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[%d.]*Z$" then return text end
  return stamp(require "xmpp.cmd.clock"())
end

local function is_from(ctx, from)
  local wanted = ctx.from
  if not wanted then return true end
  local who = from and require "xmpp".jid(from)
  return who ~= nil and (who == wanted or not wanted.resourcepart and who:bare() == wanted)
end

local function show_message(ctx, x, is_own, is_delayed)
  local xexpr = require "xmpp.xexpr"
  local text, from = xexpr.text(x, "body"), x[2].from or ctx.bare
  if not text or xexpr.is_error(x) or not is_from(ctx, from) then return end
  local time = time_of(x)
  local who = ctx:name(from) .. (is_own and x[2].to and " to " .. ctx:name(x[2].to) or "")
  local line = ("%s %s"):format(ctx:ink("2", time:match "T(%d%d:%d%d:%d%d)"), ctx:says(who, text))
  ctx:say(line, { { "type", "message" }, { "from", from }, { "to", x[2].to }, { "id", x[2].id }, { "kind", x[2].type },
    { "time", time }, { "subject", xexpr.text(x, "subject") }, { "body", text }, { "delayed", is_delayed },
    { "own", is_own }, { "stanza", ctx.verbose and x or nil } })
  return true
end

local function show_presence(ctx, x)
  local xexpr = require "xmpp.xexpr"
  local from, kind = x[2].from or ctx.bare, x[2].type
  if kind and kind ~= "unavailable" or not is_from(ctx, from) then return end
  local show, status = kind or xexpr.text(x, "show") or "available", xexpr.text(x, "status")
  local text = ("%s %s is %s"):format(ctx:ink("2", time_of(x):match "T(%d%d:%d%d:%d%d)"), ctx:name(from),
    escape.line(show))
  if status and status ~= "" then text = text .. ": " .. escape.lines(status, (" "):rep(9)) end
  ctx:say(text, { { "type", "presence" }, { "from", from }, { "show", show }, { "status", status } })
end

local function heard(ctx, conn, x)
  local xexpr = require "xmpp.xexpr"
  if x[1] == "presence" then
    if ctx.opts.presence then show_presence(ctx, x) end
    return
  end
  local inner = xexpr.is_carbon(x, conn) and xexpr.unwrap_carbon(x, conn)
  local message = inner or x
  return show_message(ctx, message, xexpr.is_own(message, conn), (xexpr.is_delayed(x) or xexpr.is_delayed(message))
    and true or false)
end

-- Sends what belongs to a session, in each of them.
local function begin(ctx, conn)
  conn:send_callback({ "iq", { type = "set" }, { "enable", { xmlns = CARBONS } } }, function() end)
  local priority = ctx.opts.priority or ctx.opts.presence and -1
  if not priority then return end
  conn:send({ "presence", {}, { "priority", {}, tostring(priority) } }, { session = true })
end

local function tell_state(ctx, state, err)
  if state ~= "waiting" and state ~= "ready" then return end
  if ctx.json then
    ctx:say("", { { "type", "state" }, { "state", state }, { "error", err and { layer = err.layer,
      condition = err.condition, text = err.text, retry = err.retry } or nil } })
  elseif err then
    ctx:note(("connecting again: %s"):format(escape.line(tostring(err))))
  end
end

-- Wraps f: an error that it throws ends the command, for example if the output is closed or the disk is full.
local function guarded(ended, f)
  return function(...)
    local ok, why = pcall(f, ...)
    if not ok then ended:reject(why) end
    return ok and why
  end
end

-- Listens in a room, which is rejoined after a disconnection, until the room removes us for good.
local function listen_in_room(ctx, conn, ended, count)
  local rooms = require "xmpp.cmd.room"
  local room, err = rooms.join(ctx, conn, ctx.opts.room)
  if not room then return nil, err end
  local said = guarded(ended, rooms.show)
  room:on("message", function(m)
    local from = m.from and require "xmpp".jid(m.from)
    if not m.history and (not ctx.from or from == ctx.from) then count(said(ctx, room, m)) end
  end)
  room:on("removed", function(why)
    if why.returns then return end
    ended:reject(exit.error("lost", "removed", ("the room %s has removed us%s"):format(room.jid,
      why.reason and ": " .. why.reason or "")))
  end)
  conn:set_handler()
  return room
end

-- Caches the contacts for the completions, see contacts.lua.
local function keep_contacts(ctx, conn)
  if not ctx.account.cache then return end
  require "xmpp".spawn(function()
    local roster = require "xmpp.roster".use(conn)
    if roster and roster:fetched(ctx.timeout) then require "xmpp.cmd.contacts".keep(ctx, roster) end
  end)
end

local function read_from(ctx)
  local why
  if not ctx.opts.from then return end
  ctx.from, why = require "xmpp".jid(ctx.opts.from)
  if not ctx.from then exit.raise("usage", "jid-malformed", "--from: " .. why.text) end
end

-- Listens to what is sent to the account, in each session.
local function listen_to_account(ctx, conn, ended, count)
  local heard_by = guarded(ended, heard)
  conn:on("session", function() begin(ctx, conn) end)
  conn:set_handler(function(x)
    if x[1] ~= "iq" then count(heard_by(ctx, conn, x)) end
  end)
  begin(ctx, conn)
  return true
end

local function watch_state(ctx, conn, ended)
  local tell = guarded(ended, tell_state)
  conn:on("state", function(state, why)
    if state == "closed" then return ended:reject(why or exit.error("lost", "closed", "the connection has ended")) end
    tell(ctx, state, why)
  end)
end

function M.run(ctx)
  local xmpp = require "xmpp"
  read_from(ctx)
  local conn, err = ctx:connect { reconnect = true }
  if not conn then return nil, err end
  keep_contacts(ctx, conn)
  local ended, n = xmpp.promise(), 0
  watch_state(ctx, conn, ended)
  local function count(is_shown)
    n = n + (is_shown and 1 or 0)
    if n == ctx.opts.count then ended:resolve(0) end
  end
  local ok, why = (ctx.opts.room and listen_in_room or listen_to_account)(ctx, conn, ended, count)
  if not ok then return nil, why end
  if ctx.opts.within then
    xmpp.after(ctx.opts.within, function()
      ended:reject(exit.error("timeout", "timeout", ("%d messages came within %g seconds"):format(n, ctx.opts.within)))
    end)
  end
  return ended:wait()
end

return M
