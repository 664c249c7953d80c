-- enter: joins a room (XEP-0045 7.2), the first time and again. The room sends the occupants' presences, our own
-- (110), the history, and the subject; what follows is live.
--
-- own.entry, while that takes place: { nick = the one that we ask for, as_written = the same as a server of RFC 6122
-- writes it, id = of our presence, crowd = the occupants, self = our own presence as parsed, or maybe = the one with
-- our nick (for services without 110), subject = text, "" for none, again = were we in before?, created = did we
-- create the room?, grace = timer, failed = is it over?, why = why we were removed in the meantime, done = a promise
-- of true, or "created", or nil, err }.

local core = require "xmpp.load"
local create = require "xmpp.muc.create"
local disco = require "xmpp.disco"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local presence = require "xmpp.muc.presence"
local said = require "xmpp.presence"
local rooms = require "xmpp.muc.room"
local spelling = require "xmpp.spelling"
local state = require "xmpp.muc.state"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = {}

local MUC = "http://jabber.org/protocol/muc"
local GRACE = 5 -- seconds to wait for the subject after our own presence

-- What can be done about a refusal (XEP-0045 7.2): a text, and the option of muc.join.
local MENDS = {
  ["not-authorized"] = { "the room requires a password: see the option 'password'", "password" },
  ["forbidden"] = { "we are banned from it" },
  ["registration-required"] = { "only members may enter it: see muc.register" },
  ["conflict"] = { "somebody else has the nick: see the option 'nicks'", "nicks" },
  ["not-allowed"] = { "there is no such room, and we may not create it" },
  ["item-not-found"] = { "there is no such room, or its creator hasn't configured it yet" },
  ["not-acceptable"] = { "the service requires the nick that is registered for us", "nicks" },
  ["service-unavailable"] = { "the room is full, or there is no such service" },
  ["jid-malformed"] = { "the service doesn't take that nick", "nicks" },
}

-- Our presence

local function history_element(own, again)
  local h = own.opts.history
  local since = again and own.seen or h.since
  if since then
    return { "history", { since = time.format(math.floor(since)), maxstanzas = not again and h.messages or nil,
      maxchars = not again and h.bytes or nil } }
  end
  if again then return { "history", { maxchars = 0, maxstanzas = 0 } } end -- no message has been reported before
  return { "history", { maxstanzas = h.messages, maxchars = h.bytes } }
end

local function presence_to(room, conn, address, id, more)
  local own = rooms.own(room)
  local x = said.stanza(own.opts.presence or said.last(conn), address)
  x[2].id = id
  x[#x + 1] = more
  return x
end

M.presence_to = presence_to

local function join_element(own, again)
  return { "x", { xmlns = MUC }, history_element(own, again),
    own.opts.password and { "password", {}, own.opts.password } or nil }
end

--- Sends unavailable presence, in case the room thinks that we are there.
local function say_goodbye(room, conn, nick)
  local address = rooms.address(room, nick)
  if address and conn:state() == "ready" then
    rooms.send(conn, { "presence", { to = address, type = "unavailable" } })
  end
end

--- Leaves the room when the extension is dropped.
function M.leave_on_drop(room, conn)
  local own = rooms.own(room)
  if own.entry or own.state == "in" then say_goodbye(room, conn, own.entry and own.entry.nick or room.nick) end
end

-- Features

local function ask_features(room, conn)
  local own = rooms.own(room)
  local asked = xmpp.promise()
  own.features_asked, own.no_features = asked, false
  guard.go("muc", function() -- at once, so that the answer arrives before the presences
    local info = disco.info(conn, room.jid, { fresh = true, timeout = own.opts.timeout })
    if own.features_asked ~= asked then return asked:resolve(true) end
    own.no_features = info == nil
    if own.state ~= "over" then
      room.features = info and info.features or room.features or {}
      rooms.run("info", room)
    end
    asked:resolve(true)
  end)
end

--- The room has announced a change (104): requests its features again.
function M.ask_again(room)
  local conn = rooms.conn(room)
  if conn and rooms.own(room).state ~= "over" then ask_features(room, conn) end
end

-- What is received while joining

local function finish(room)
  local own, conn = rooms.own(room), rooms.conn(room)
  local entry, before = own.entry, own.crowd or own.entry.crowd
  if entry.grace then entry.grace:cancel() end
  own.entry, own.state, own.joined_at, own.active = nil, "in", core.now(), core.now()
  own.session = conn and conn:info().rebound
  if room.features then state.vouch_all(entry.crowd, room.features) end
  state.set(room, entry.crowd)
  state.is_us(room, entry.crowd.occupants[entry.self.nick] or state.put(entry.crowd, entry.self, room.features))
  room.joined = true
  local subject = entry.subject ~= "" and entry.subject or nil
  local changed = entry.again and entry.subject and subject ~= room.subject
  if entry.subject then room.subject = subject end
  if entry.again then
    rooms.tell(room, "rejoined", { joined = state.without(own.crowd, before), left = state.without(before, own.crowd) })
  end
  if changed then rooms.tell(room, "subject", subject) end
  for _, code in ipairs { 100, 170, 210 } do
    if entry.self.codes[code] then rooms.tell(room, "status", code) end
  end
  rooms.run("entered", room, entry.again)
  entry.done:resolve(true)
end

-- Finishes if everything has been received, as far as we can tell.
local function may_finish(room)
  local entry = rooms.own(room).entry
  entry.self = entry.self or entry.maybe
  if entry.self and not entry.created then finish(room) end
end

local function wait_for_subject(room)
  local own = rooms.own(room)
  local entry = own.entry
  if entry.created then return end
  if entry.self and entry.subject then return finish(room) end
  entry.grace = entry.grace or xmpp.after(GRACE, function()
    entry.grace = nil
    if own.entry == entry then may_finish(room) end
  end)
end

local function fail(entry, err)
  if entry.grace then entry.grace:cancel() end
  entry.failed = true
  entry.done:reject(err)
end

--- The session is lost, or the room is left, during joining.
function M.give_up(room, err)
  local entry = rooms.own(room).entry
  if entry then fail(entry, err) end
end

local function refusal(stanza)
  local _, err = iq.failure(stanza)
  local mend = MENDS[err.condition]
  if mend then err.text, err.option = ("%s: %s"):format(err.text, mend[1]), mend[2] end
  return err
end

-- Is that the nick that we asked for, as a server may write it?
local function is_wanted(entry, p) return p.nick == entry.nick or p.nick == entry.as_written end

local function here(room, entry, p)
  local own = rooms.own(room)
  local us = p.codes[110]
  local wanted = not us and is_wanted(entry, p)
  local most = not us and not wanted and own.opts.max_occupants or nil
  state.put(entry.crowd, p, room.features, most)
  if not us then
    if wanted and not entry.self then entry.maybe = p end
  elseif not entry.self then
    entry.self, entry.created = p, p.codes[201]
    if entry.created then entry.done:resolve "created" end
  end
  if entry.self or entry.maybe then wait_for_subject(room) end
end

local function gone(room, entry, p)
  local us = entry.self and (p.codes[110] or p.nick == entry.self.nick)
  if p.codes[303] and p.renamed then
    state.rename(entry.crowd, p.nick, p.renamed)
    if us then entry.self.nick = p.renamed end
  elseif us then
    local why = state.why(p)
    fail(entry, core.error { layer = "stanza", condition = "gone", type = "cancel", retry = false,
      text = ("the room %s has removed us while we were joining it (%s)"):format(core.shown(room.jid),
        why.code or why.destroyed and "it is destroyed" or "no reason given") })
    entry.why = why
  else
    state.remove(entry.crowd, p.nick)
    if entry.maybe and entry.maybe.nick == p.nick then entry.maybe = nil end -- it was somebody else
  end
end

--- Handles presences from the room during joining.
function M.presence(room, p, stanza)
  local entry = rooms.own(room).entry
  if not entry or entry.failed then return end
  if p.type == "error" then
    local id = stanza[2].id
    local ours = p.nick == nil or is_wanted(entry, p)
    if ours and (id == nil or id == entry.id) then fail(entry, refusal(stanza)) end
  elseif p.nick and p.type == nil then
    here(room, entry, p)
  elseif p.nick and p.type == "unavailable" then
    gone(room, entry, p)
  end
  return true
end

--- The subject ends the history (XEP-0045 7.2.15): only a message with a subject and without a body is one.
function M.message(room, stanza)
  local entry = rooms.own(room).entry
  if not entry or stanza[2].type ~= "groupchat" then return end
  local subject = xexpr.child(stanza, "subject")
  if not subject or xexpr.child(stanza, "body") or xexpr.child(stanza, "thread") then return end
  entry.subject = presence.cut(xexpr.text(stanza, "subject"), 65536)
  if entry.self or entry.maybe then may_finish(room) end
  return true
end

-- Joining

local function timed_out(room)
  return core.error { layer = "timeout", condition = "timeout", retry = true,
    text = ("joining the room %s took too long"):format(core.shown(room.jid)) }
end

-- One attempt: sends a presence, and waits for the result.
local function attempt(room, conn, nick, again, seconds)
  local own = rooms.own(room)
  local address, bad = rooms.address(room, nick)
  if not address then return nil, bad end
  local folded = core.jid(spelling.key(address))
  local entry = { nick = address.resourcepart, as_written = folded and folded.resourcepart, id = core.id(),
    crowd = state.new_crowd(), done = xmpp.promise(), again = again }
  own.entry = entry
  ask_features(room, conn)
  local ok, err = rooms.send(conn, presence_to(room, conn, address, entry.id, join_element(own, again)))
  if ok then ok, err = entry.done:wait(seconds) end
  if ok == "created" then
    ok, err = create.answer(room, conn, entry)
    if ok and own.entry == entry then finish(room) end
  end
  if ok and own.state == "in" then return true end
  if own.entry == entry then own.entry = nil end
  if entry.grace then entry.grace:cancel() end
  if not entry.failed and own.state ~= "over" then say_goodbye(room, conn, entry.nick) end
  if err and err.layer == "timeout" then err = timed_out(room) end
  return nil, err or rooms.gone_error(room), entry.why
end

local function next_nick(own, n)
  local ok, nick = guard.call(own.opts.nicks, own.wanted, n)
  if not ok then guard.report("muc, option 'nicks'", nick) end
  if ok and type(nick) == "string" then return nick end
end

-- If we wanted to create the room, "item-not-found" means that somebody else has created it and not configured it yet
-- (XEP-0045 10.1.1).
local LOCKED, PAUSE = 5, 1 -- number of further attempts; seconds between them

local function is_locked(own, err) return own.opts.create ~= "refuse" and err.condition == "item-not-found" end

--- Joins the room, with one nick after another; waits.
---@param again boolean have we been in before?
---@return true?
---@return xmpp.Error?
---@return table? why the room has removed us again
function M.try(room, conn, again, deadline)
  local own, n, locked = rooms.own(room), 0, 0
  local nick = own.wanted
  while true do
    local ok, err, why = attempt(room, conn, nick, again, math.max(0, deadline - core.now()))
    if ok then return true end
    if own.state == "over" then return nil, err, why end
    if is_locked(own, err) and locked < LOCKED and core.now() + PAUSE < deadline then
      locked = locked + 1
      xmpp.sleep(PAUSE)
      if own.state == "over" or not rooms.conn(room) then return nil, err, why end
    elseif err.condition == "conflict" then
      n = n + 1
      nick = next_nick(own, n)
      if not nick then return nil, err end
    else
      return nil, err, why
    end
  end
end

--- The handle becomes invalid; err nil: we have left.
function M.over(room, err)
  local own = rooms.own(room)
  if own.state == "over" then return end
  own.state, room.joined = "over", false
  for _, off in ipairs(own.offs or {}) do off() end
  rooms.register(own.st, room, false)
  M.give_up(room, err or rooms.gone_error(room))
  rooms.run("ended", room, err)
  if own.settled then own.settled:resolve(nil, err) end
end

--- We have joined: if the features could not be requested before, they can now.
function M.entered(room)
  if rooms.own(room).no_features then M.ask_again(room) end
end

return M
