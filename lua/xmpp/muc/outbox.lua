-- outbox: messages to a room, until they are known to have arrived. While we are out of the room, or the connection is
-- down, they wait, and are sent in order when we have rejoined. Messages that were on their way when a session was
-- lost are sent again, unless the room's history shows that they have arrived. Every message has one of two ends: it
-- comes back from the room, or it has failed.
--
-- own.outbox = { waiting = list, sent = { [id] = entry }, n = number of those, said = { [id] = the nick that we had }
-- for messages of ours, sweep = timer }. An entry: { id, x = stanza, n = its place in the order, at = core.now() when
-- it was given, sent_at, on, done = promise for a caller that waits, bounces, acked }.

local alive = require "xmpp.muc.alive"
local core = require "xmpp.load"
local guard = require "xmpp.guard"
local rooms = require "xmpp.muc.room"
local spelling = require "xmpp.spelling"
local xmpp = require "xmpp"

local M = { events = { "error" } }

local MOST_SENT = 1000 -- messages that haven't come back; then further ones wait
local MOST_SAID = 1000 -- ids of ours that are recognised in a history
local MOST_BOUNCES = 2 -- times that a message is sent again after a refusal
local NO_ECHO = 60 -- seconds that a message may take to come back
local TRY_AGAIN = 1 -- seconds, if the connection's queue is full

local function box_of(room)
  local box = rooms.own(room).outbox
  if not box.waiting then box.waiting, box.sent, box.n, box.said, box.last, box.turn = {}, {}, 0, {}, 0, 0 end
  return box
end

-- Ends of a message

local function tell(room, entry, ...)
  if entry.on then guard.go(("room '%s', option 'on'"):format(core.shown(room.jid)), entry.on, ...) end
end

local function failed(room, entry, err)
  err.stanza = err.stanza or entry.x
  tell(room, entry, "failed", err)
  if entry.done then entry.done:reject(err) end
  if not entry.on and not entry.done then rooms.tell(room, "error", err, entry.id) end
end

local function error_of(room, layer, condition, text, retry)
  return core.error { layer = layer, condition = condition, type = "wait", retry = retry ~= false,
    text = ("room %s: %s"):format(core.shown(room.jid), text) }
end

local function forget(box, entry)
  if box.sent[entry.id] ~= entry then return false end
  box.sent[entry.id], box.n = nil, box.n - 1
  return true
end

-- Sending

-- Inserts an entry in its place among the waiting ones.
local function put_back(box, entry)
  local at = #box.waiting + 1
  while at > 1 and box.waiting[at - 1].n > entry.n do at = at - 1 end
  table.insert(box.waiting, at, entry)
end

local flush

local function fate(room, entry, state, err)
  local own = rooms.own(room)
  if state == "acked" then entry.acked = true end
  if state ~= "failed" or not forget(own.outbox, entry) then return end
  if err.condition ~= "session-lost" or own.state == "over" then return failed(room, entry, err) end
  put_back(own.outbox, entry)
  flush(room)
end

local sweep

local function sweep_later(room)
  local box = box_of(room)
  if box.sweep then return end
  box.sweep = xmpp.after(NO_ECHO, function()
    box.sweep = nil
    sweep(room)
  end)
end

-- Fails the messages that have not come back in time.
function sweep(room)
  local box, late = box_of(room), {}
  for _, entry in pairs(box.sent) do
    if core.now() - entry.sent_at >= NO_ECHO then late[#late + 1] = entry end
  end
  table.sort(late, function(a, b) return a.n < b.n end)
  for _, entry in ipairs(late) do
    if forget(box, entry) then
      failed(room, entry, error_of(room, "timeout", "timeout", "the message has not come back from it"))
    end
  end
  if next(box.sent) then sweep_later(room) end
  if late[1] then flush(room) end
end

local function send(room, conn, entry)
  local box = box_of(room)
  box.sent[entry.id], box.n = entry, box.n + 1
  if box.said[entry.id] then box.said[entry.id] = room.nick end
  entry.sent_at, entry.acked = core.now(), nil
  local ok, err = rooms.send(conn, entry.x, function(state, why) fate(room, entry, state, why) end)
  if ok then
    tell(room, entry, "sent")
    sweep_later(room)
    return true
  end
  forget(box, entry)
  return nil, err
end

-- Not in a new session before we have rejoined: the loss of the old one may not have been noticed here yet.
local function can_send(own, conn)
  return own.state == "in" and not own.leaving and conn and conn:state() == "ready" and own.outbox.n < MOST_SENT
    and own.session == conn:info().rebound
end

--- Sends the waiting messages, as far as possible.
function flush(room)
  local own, box = rooms.own(room), box_of(room)
  local conn = rooms.conn(room)
  while box.waiting[1] and can_send(own, conn) do
    local entry = table.remove(box.waiting, 1)
    local ok, err = true, nil
    if core.now() - entry.at > own.opts.max_age then
      failed(room, entry, error_of(room, "timeout", "timeout", "the message has waited for too long"))
    else
      ok, err = send(room, conn, entry)
    end
    if not ok and err.retry then
      put_back(box, entry)
      box.again = box.again or xmpp.after(TRY_AGAIN, function()
        box.again = nil
        flush(room)
      end)
      return
    elseif not ok then
      failed(room, entry, err)
    end
  end
end

local function remember(box, id, nick)
  box.last = box.last % MOST_SAID + 1
  if box.said[box.last] then box.said[box.said[box.last]] = nil end
  box.said[box.last], box.said[id] = id, nick
end

--- Adds a message to the outbox. Returns its id; or nil, err.
function M.put(room, x, opts)
  local own, box = rooms.own(room), box_of(room)
  if own.state == "over" then return rooms.not_in(room) end
  if #box.waiting >= own.opts.max_waiting then
    return nil, error_of(room, "limit", "max_waiting", "too many messages to it are waiting to be sent")
  end
  box.turn = box.turn + 1
  local entry = { id = x[2].id, x = x, n = box.turn, at = core.now(), on = opts.on, bounces = 0,
    done = opts.reflect and xmpp.promise() or nil }
  remember(box, entry.id, room.nick)
  put_back(box, entry)
  flush(room)
  if not entry.done then return entry.id end
  local stanza_id, err = entry.done:wait(opts.timeout)
  if stanza_id == nil then return nil, err end
  return entry.id, stanza_id or nil
end

-- Reflections

local function find_waiting(box, id)
  for i, entry in ipairs(box.waiting) do
    if entry.id == id then return table.remove(box.waiting, i) end
  end
end

-- The entry of a message of ours that has come back; nil: unknown.
local function arrived(box, id)
  local entry = id and box.sent[id]
  if entry then forget(box, entry) end
  return entry or id and box.said[id] and find_waiting(box, id)
end

-- Have we sent a message with that id under that nick?
local function is_said(room, box, id, nick)
  local had = id and box.said[id]
  return had ~= nil and (had == nick or spelling.is(room.jid .. "/" .. had, room.jid .. "/" .. nick))
end

--- A groupchat message has been received, live or from the history. Is it our own? A live one is if it has our nick.
--- In a history our nick may have been somebody else's, so the message needs an id of ours as well, which nobody else
--- knows before the message is there; and as everybody knows it afterwards, also the nick that we had then.
---@param room xmpp.Room
---@param nick string the sender's nick, prepared
---@param id string? its id
---@param origin string? its origin-id (XEP-0359)
---@param stanza_id string? assigned by the room, if it announces that
---@return boolean own
function M.heard(room, nick, id, origin, stanza_id)
  local own, box = rooms.own(room), box_of(room)
  local live = own.entry == nil
  if live and nick ~= room.nick then return false end
  if not live and not is_said(room, box, id, nick) and not is_said(room, box, origin, nick) then return false end
  local entry = arrived(box, id) or arrived(box, origin)
  if entry then
    tell(room, entry, "reflected", stanza_id)
    if entry.done then entry.done:resolve(stanza_id or false) end
    flush(room)
  end
  return true
end

local OUT = { ["not-acceptable"] = true }

--- The room (or an entity on the way to it) has refused a message. true: it was one of ours, which will be sent again,
--- or whose failure is reported; false: unknown.
---@param room xmpp.Room
---@param id string?
---@param err xmpp.Error
---@return boolean
function M.bounced(room, id, err)
  local box = box_of(room)
  local entry = id and box.sent[id]
  if not entry then
    if OUT[err.condition] then alive.suspect(room) end
    return false
  end
  forget(box, entry)
  entry.bounces = entry.bounces + 1
  if not OUT[err.condition] or entry.bounces > MOST_BOUNCES then
    failed(room, entry, err)
    return true
  end
  put_back(box, entry) -- we aren't in the room (XEP-0045 7.4): it is sent again after we have rejoined
  alive.lost(room, err)
  return true
end

-- Hooks

-- Fails messages that had reached the server in a session that is lost, and that aren't in the history: what has
-- become of them is unknown.
local function give_up_old(room)
  local box, list = box_of(room), {}
  for _, entry in pairs(box.sent) do
    if entry.acked then list[#list + 1] = entry end
  end
  table.sort(list, function(a, b) return a.n < b.n end)
  for _, entry in ipairs(list) do
    if forget(box, entry) then
      failed(room, entry, error_of(room, "closed", "session-lost",
        "the session was lost before this came back from it: whether it is there isn't known", false))
    end
  end
end

function M.entered(room)
  local own = rooms.own(room)
  if own.new_session then give_up_old(room) end
  own.new_session = nil
  flush(room)
end

function M.resumed(st)
  for _, room in ipairs(rooms.all(st)) do flush(room) end
end

function M.ended(room, err)
  local box = box_of(room)
  local list = {}
  for _, timer in ipairs { "sweep", "again" } do
    if box[timer] then box[timer]:cancel() end
    box[timer] = nil
  end
  for _, entry in pairs(box.sent) do list[#list + 1] = entry end
  for _, entry in ipairs(box.waiting) do list[#list + 1] = entry end
  box.sent, box.waiting, box.n = {}, {}, 0
  table.sort(list, function(a, b) return a.n < b.n end)
  for _, entry in ipairs(list) do
    failed(room, entry, core.error { layer = err and err.layer or "stanza",
      condition = err and err.condition or "not-acceptable", retry = false,
      text = err and err.text or ("we have left the room %s"):format(core.shown(room.jid)) })
  end
end

return M
