-- alive: finds out whether we are still in the room, and rejoins it. We may be out because of a new session, a
-- presence from the room (XEP-0045 9, 15.6), its answer to a self-ping (XEP-0410), or its refusal of a message. We
-- rejoin automatically unless we were removed on purpose: never after a ban (301), the loss of membership (321, 322),
-- or the room's destruction.
--
-- own.returning: { wake = promise } while rejoining; own.tries: number of attempts since we were last in for a minute.

local core = require "xmpp.load"
local enter = require "xmpp.muc.enter"
local iq = require "xmpp.iq"
local rooms = require "xmpp.muc.room"
local state = require "xmpp.muc.state"
local xmpp = require "xmpp"

local M = { events = { "removed", "rejoined" }, methods = {} }

local AT_ONCE = 3 -- rooms that are joined concurrently in a new session
local LONGEST_PAUSE = 60
local MOST_KICKS = 2 -- after which the room is rejoined (option rejoin = "kicked"), a minute apart
local ASK_SOON, ASK_AGAIN = 10, 60 -- seconds until the next self-ping if an answer was inconclusive
local TICK = 0.001 -- seconds of tolerance for the rounding of clock differences

-- Errors of a join after which another attempt is useless.
local FINAL = { ["forbidden"] = true, ["registration-required"] = true, ["not-authorized"] = true, ["gone"] = true,
  ["jid-malformed"] = true, ["room-created"] = true }

local function session_lost(room)
  return core.error { layer = "closed", condition = "session-lost", retry = true,
    text = ("the session in which we had joined the room %s is lost"):format(core.shown(room.jid)) }
end

local function stop_timers(own)
  if own.pinger then own.pinger:cancel() end
  own.pinger = nil
  local returning = own.returning
  own.returning = nil
  if returning then returning.wake:resolve(true) end
end

-- Out for good

local function removed_error(room, why)
  if why.err then return why.err end
  return core.error { layer = "stanza", condition = "not-acceptable", type = "cancel", retry = false,
    text = ("we aren't in the room %s any more (%s%s)"):format(core.shown(room.jid),
      why.destroyed and "it is destroyed" or tostring(why.code or "no code"),
      why.reason and ": " .. core.shown(why.reason) or "") }
end

local function out_for_good(room, why)
  why.returns = false
  local err = removed_error(room, why)
  enter.over(room, err)
  rooms.tell(room, "removed", why)
end

-- Rejoining

local function pause(own)
  own.tries = (own.tries or 0) + 1
  local most = math.min(LONGEST_PAUSE, 2 ^ math.min(10, own.tries - 1))
  return most * (0.5 + math.random() / 2)
end

-- May we rejoin automatically?
local function may_return(own, why)
  if not own.opts.rejoin or why.destroyed or why.code == 301 or why.code == 321 or why.code == 322 then return false end
  if why.code ~= 307 then return true end
  return own.opts.rejoin == "kicked" and (own.kicks or 0) < MOST_KICKS
end

-- One attempt. true: the caller has nothing more to do.
local function try(room, conn)
  local own = rooms.own(room)
  local ok, err, why = enter.try(room, conn, true, core.now() + own.opts.timeout)
  if ok or own.state ~= "out" then return true end
  if err.layer == "closed" then return true end -- there will be another session, or none
  local final = FINAL[err.condition]
  if why then final = not may_return(own, why) end
  if final then
    why = why or {}
    why.err = err
    out_for_good(room, why)
    return true
  end
  return false
end

local function return_by_and_by(room, token, at_least)
  local own = rooms.own(room)
  while own.returning == token do
    token.wake:wait(math.max(pause(own), at_least))
    at_least = 0
    local conn = rooms.conn(room)
    if own.returning ~= token or own.state ~= "out" or not conn then return end
    if conn:state() ~= "ready" or try(room, conn) then break end
  end
  if own.returning == token then own.returning = nil end
end

local function come_back(room, at_least)
  local own = rooms.own(room)
  local token = { wake = xmpp.promise() }
  stop_timers(own)
  own.returning = token
  core.spawn(function() return_by_and_by(room, token, at_least or 0) end)
end

local function is_out(room)
  local own = rooms.own(room)
  stop_timers(own)
  if own.state == "in" and core.now() - own.joined_at >= LONGEST_PAUSE then own.tries = 0 end
  own.state, room.joined = "out", false
end

-- Seconds until we rejoin after a kick: two rejoins are at least a minute apart.
local function kick_pause(own)
  local last = own.kicked_at
  own.kicks, own.kicked_at = (own.kicks or 0) + 1, core.now()
  return last and math.max(0, last + 60 - core.now()) or 0
end

local function ended(room, why)
  local own = rooms.own(room)
  if not may_return(own, why) then return out_for_good(room, why) end
  local at_least = why.code == 307 and kick_pause(own) or 0
  is_out(room)
  why.returns = true
  rooms.tell(room, "removed", why)
  if own.state == "out" then come_back(room, at_least) end
end

--- Another part has found out that we aren't in the room any more: begins to rejoin.
---@param room xmpp.Room
---@param err xmpp.Error how that was found out
function M.lost(room, err)
  if rooms.own(room).state == "in" then ended(room, { err = err }) end
end

-- Is it the end of our own presence in the room, and not a change of nick?
local function is_our_end(own, p)
  if p.type ~= "unavailable" or not p.nick or p.codes[303] and p.renamed then return false end
  return p.codes[110] or own.occupant ~= nil and p.nick == own.occupant.nick
end

--- Handles the end of our presence, and errors for presences that we have sent.
function M.presence(room, p, stanza)
  local own = rooms.own(room)
  if own.state ~= "in" then return end
  if is_our_end(own, p) then
    if own.leaving then own.leaving:resolve(true) else ended(room, state.why(p)) end
    return true
  end
  if p.type ~= "error" then return end
  local renaming = own.renaming
  if renaming and (stanza[2].id == renaming.id or stanza[2].id == nil) then
    renaming.done:reject(select(2, iq.failure(stanza)))
  else
    M.suspect(room)
  end
  return true
end

-- Self-pings (XEP-0410)

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
local IN = { ["service-unavailable"] = true, ["feature-not-implemented"] = true }
local UNKNOWN = { ["remote-server-not-found"] = true, ["remote-server-timeout"] = true }

-- Does the error come from the room's service, or from an entity on the way to it?
local function is_rooms(room, err)
  local by = err.by and core.jid(err.by)
  return by == nil or by.domainpart == core.jid(room.jid).domainpart
end

-- What an answer means (XEP-0410 3.3): "in", "out", "renamed" (we are in by another nick), "unknown".
local function verdict(room, err)
  if err.layer ~= "stanza" or UNKNOWN[err.condition] or err.condition == "bad-format" then return "unknown" end
  if not is_rooms(room, err) then return "unknown" end
  if IN[err.condition] then return "in" end
  return err.condition == "item-not-found" and "renamed" or "out"
end

-- Sends a self-ping, and acts on the answer. Returns the seconds that it took; or nil, err.
local function ask(room, conn)
  local own = rooms.own(room)
  local address, since, began = rooms.address(room, room.nick), own.joined_at, core.now()
  local answer, err = iq.get(conn, address, PING, { timeout = own.opts.timeout })
  local says = answer and "in" or verdict(room, err)
  if own.state ~= "in" or own.joined_at ~= since then return nil, err or rooms.gone_error(room) end
  own.verdict, own.before = says, own.verdict
  if says == "in" then
    own.active = core.now()
    return core.now() - began
  end
  if says == "out" or says == "renamed" and own.before == "renamed" then M.lost(room, err) end
  return nil, err
end

local check

local function watch(room, seconds)
  local own = rooms.own(room)
  if own.pinger then own.pinger:cancel() end
  own.pinger = nil
  if own.opts.ping <= 0 or own.state ~= "in" then return end
  own.pinger = xmpp.after(seconds, function() check(room) end)
end

-- Checks after a time of silence whether we are still in the room.
function check(room)
  local own = rooms.own(room)
  own.pinger = nil
  local conn = own.state == "in" and rooms.conn(room)
  if not conn then return end
  local silent = core.now() - own.active
  local unsure = own.verdict and own.verdict ~= "in"
  if not unsure and silent < own.opts.ping - TICK then return watch(room, own.opts.ping - silent) end
  if conn:state() ~= "ready" then return watch(room, ASK_AGAIN) end
  ask(room, conn)
  if own.state ~= "in" or own.pinger then return end
  local soon = own.verdict == "renamed" and ASK_SOON or own.verdict == "unknown" and ASK_AGAIN
  watch(room, soon and math.min(soon, own.opts.ping) or own.opts.ping)
end

--- There are signs that we may not be in the room: sends a self-ping.
function M.suspect(room)
  local own = rooms.own(room)
  local conn = rooms.conn(room)
  if own.suspecting or own.state ~= "in" or not conn or conn:state() ~= "ready" then return end
  own.suspecting = true
  core.spawn(function()
    ask(room, conn)
    own.suspecting = nil
  end)
end

--- Asks the room whether we are still in it, by a self-ping (XEP-0410). If we are not, begins to rejoin.
---@return number? seconds until the answer came
---@return xmpp.Error?
function M.methods.ping(room)
  local conn, err = rooms.conn(room)
  if not conn then return nil, err end
  if rooms.own(room).state ~= "in" then return rooms.not_in(room) end
  return ask(room, conn)
end

-- Hooks

function M.entered(room)
  local own = rooms.own(room)
  stop_timers(own)
  own.verdict = nil
  watch(room, own.opts.ping)
end

function M.ended(room) stop_timers(rooms.own(room)) end

-- Rejoins the rooms, a few at a time, so as not to overload a service; waits for the first attempt of each.
local function return_all(list, conn)
  local at, workers = 0, {}
  local function work()
    while at < #list do
      at = at + 1
      local room = list[at]
      if rooms.own(room).state == "out" and not try(room, conn) and conn:state() == "ready" then come_back(room) end
    end
  end
  for i = 1, math.min(AT_ONCE, #list) do workers[i] = xmpp.spawn(work) end
  for _, worker in ipairs(workers) do worker:wait() end
end

--- In a new session we are in no room any more.
function M.session(st, conn, first)
  if first then return end
  local list = {}
  for _, room in ipairs(rooms.all(st)) do
    local own = rooms.own(room)
    local err = session_lost(room)
    if own.state ~= "entering" then
      is_out(room)
      own.new_session = true
    end
    enter.give_up(room, err)
    if own.state == "out" and own.opts.rejoin then list[#list + 1] = room end
    if own.state == "out" and not own.opts.rejoin then out_for_good(room, { err = err }) end
  end
  return_all(list, conn)
end

M.is_out, M.return_all, M.ask = is_out, return_all, ask -- for saved.lua

return M
