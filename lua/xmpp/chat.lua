-- chat: one-to-one messages of a client, sent and received: receipts, chat states, markers, corrections, retractions,
-- reactions, replies, and copies of what our other clients receive and send (carbons).
--
--   local c = chat.use(conn)
--   c:on("message", function(m)
--     if m.direction == "in" and not m.delayed then c:send(m.from, "You said: " .. m.text) end
--   end)
--   c:on("receipt", function(peer, id) print(peer .. " has " .. id) end)
--   presence.set(conn, {})
--
-- Events: "message" (m, stanza): a message for a person; m is an xmpp.Message, and its text is never nil. "corrected"
-- (m, stanza): m replaces the message m.replaces. "retracted" (m, stanza): m.retracts is retracted. "reacted" (m,
-- stanza): m.reaction.list are all reactions that the sender now has to m.reaction.id. "receipt" and "displayed"
-- (peer, id, stanza): the other side has received, or displayed, a message of ours; each once. "state" (peer, state,
-- stanza): the other side's chat state. "error" (err, peer, id): a message of ours was returned as an error; without
-- peer and id: the server refuses to send us carbons.
--
-- Who is trusted: our own account for carbons, and nobody else. A peer, which is a bare address, for its own messages:
-- it may correct and retract those and no others, and acknowledge and mark those that we have sent to it. If it claims
-- more, that is an ordinary message with m.suspicious, or ignored.
--
-- Messages from rooms and their occupants are handled by xmpp.muc: see M.rooms.

local core = require "xmpp.load"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local hear = require "xmpp.chat.hear"
local iq = require "xmpp.iq"
local message = require "xmpp.chat.message"
local methods = require "xmpp.chat.methods"
local presence = require "xmpp.presence"
local recent = require "xmpp.chat.recent"
local said = require "xmpp.chat.said"
local bounded = require "xmpp.chat.bounded"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = { name = "chat", needs = { disco, presence }, methods = methods.of_handle,
  features = { message.CORRECT, message.RETRACT, message.REACTIONS, message.REPLY, message.SID, message.OOB,
    message.HINTS, message.FALLBACK, message.EME, message.SPOILER },
  events = { "message", "corrected", "retracted", "reacted", "receipt", "displayed", "state", "error" } }

local PATIENCE = 20 -- seconds for the server to answer the requests that precede our presence

-- Receiving

-- Is that message from a room, or from an occupant?
local function is_rooms(conn, bare, stanza)
  for _, f in ipairs(guard.of(conn, "chat").rooms or {}) do
    if f(bare, stanza) then return true end
  end
  return false
end

-- A message of type error that the other side, or a server on the way to it, sends for one of ours (RFC 6120 8.3.1).
local function on_error(st, stanza)
  local jid, id = core.jid(xexpr.attr(stanza, "from") or ""), xexpr.attr(stanza, "id")
  local peer = jid and tostring(jid:bare())
  if not peer or not id or not methods.said_to(st, peer, id) then return end
  st:emit("error", select(2, iq.failure(stanza)), peer, id)
end

-- What is known about the author of earlier messages in this conversation.
local function sender_of(st, m)
  local function we(id) return (methods.said_to(st, m.peer, id)) end
  local function they(id) return said.first(st.theirs, m.peer, id) end
  return { wrote = m.direction == "out" and we or they, known = function(id) return they(id) or we(id) end }
end

-- Receipts and markers for our messages, and the other side's chat state.
local function on_marks(st, m, says, stanza)
  if m.direction == "out" then return end
  for event, id in pairs { receipt = says.receipt, displayed = says.displayed } do
    local _, named = methods.said_to(st, m.peer, id)
    if named and said.mark(st.ours, named, id, event) then st:emit(event, m.peer, id, stanza) end
  end
  if m.delayed then return end
  if says.state or m.text then methods.note_peer(st, m, says) end
  if says.state then st:emit("state", m.peer, says.state, stanza) end
end

-- Remembers its ids; those of a correction stand for the message that it corrects.
local function remember(st, m, event)
  if event == "retracted" then
    local _, named = methods.said_to(st, m.peer, m.retracts)
    if m.direction == "in" then return said.remove(st.theirs, m.peer, m.retracts) end
    return said.remove(st.ours, named or m.peer, m.retracts)
  end
  if event ~= "message" and event ~= "corrected" then return end
  local function note(id, first)
    if m.direction == "in" then said.add(st.theirs, m.peer, id, first) else methods.note_said(st, m.peer, id, first) end
  end
  note(m.id, m.replaces)
  note(m.origin_id, m.replaces or m.id)
end

local function tell(st, m, says, stanza)
  if recent.seen(st.recent, m) then return end
  local event = hear.event(m, says, stanza, sender_of(st, m), st.lang)
  if event then remember(st, m, event) end
  if event == "message" or event == "corrected" then m.text = m.text or "" end
  on_marks(st, m, says, stanza)
  if event then st:emit(event, m, stanza) end
end

-- Sends a receipt, only after the event, so that it proves that the program has had the message (XEP-0184 3).
local function acknowledge(st, conn, m, says)
  if not hear.wants_receipt(m, says, tostring(conn:jid():bare())) then return end
  if hear.may_have_receipt(st.receipts, m.from, function() return disco.allows(conn, m.from) end) then
    methods.acknowledge(st, m)
  end
end

local function read(st, conn, stanza, direction, carbon)
  local m, says = message.read(stanza, { me = conn:jid(), by = st.by, direction = direction, carbon = carbon,
    lang = st.lang })
  if not m then return end
  tell(st, m, says, stanza)
  acknowledge(st, conn, m, says)
end

local NOT_OURS = { groupchat = true, error = true }

local function on_message(st, conn, stanza, direction, carbon)
  local other = xexpr.attr(stanza, direction == "out" and "to" or "from")
  local jid = core.jid(other or conn:jid():bare())
  if not jid or is_rooms(conn, tostring(jid:bare()), stanza) then return end
  local kind = xexpr.attr(stanza, "type")
  if kind == "error" and direction == "in" then return on_error(st, stanza) end
  if NOT_OURS[kind] then return end
  read(st, conn, stanza, direction, carbon)
end

local function has_copy(stanza)
  return xexpr.child(stanza, "received", message.CARBONS) or xexpr.child(stanza, "sent", message.CARBONS)
end

-- Is it between our account and somebody else, in that direction (XEP-0280 6, 7)? A carbon inside a carbon doesn't
-- come from our server.
local function holds_together(conn, inner, direction)
  local own = xexpr.attr(inner, direction == "sent" and "from" or "to")
  local jid = own and core.jid(own)
  if own and not (jid and jid:bare() == conn:jid():bare()) or direction == "sent" and not own then return false end
  return not has_copy(inner)
end

-- Returns true for a forged carbon, which nobody else gets then, so that the program's own callbacks aren't deceived
-- either (CVE-2017-5589 and similar).
local function on_stanza(st, stanza, conn)
  if not has_copy(stanza) then return on_message(st, conn, stanza, "in") end
  local inner, direction = xexpr.unwrap_carbon(stanza, conn)
  if not inner then return not xexpr.from_account(stanza, conn) end
  if not holds_together(conn, inner, direction) then return end
  on_message(st, conn, inner, direction == "sent" and "out" or "in", true)
end

M.taps = { { { name = "message" }, function(st, stanza, conn) return on_stanza(st, stanza, conn) or nil end } }

-- Sessions

-- Enables carbons (XEP-0280 4).
local function enable_carbons(st, conn)
  local ok, err = iq.set(conn, nil, { "enable", { xmlns = message.CARBONS } }, { timeout = PATIENCE })
  if ok or err.layer == "closed" then return end -- the session has ended: it is done in the next one
  st:emit("error", err)
end

-- Learns whether stanza-ids of our account can be trusted: it must announce that it removes forged ones (XEP-0359 6).
local function learn_ids(st, conn, rebound)
  local own = tostring(conn:jid():bare())
  local info = disco.info(conn, own, { timeout = PATIENCE })
  if st.prepared == rebound then st.by = info and info.features[message.SID] and own or nil end
end

-- What precedes the first presence of a session, since messages arrive after that; once.
local function prepare(st, conn)
  if not conn or conn:state() ~= "ready" then return end
  local rebound = conn:info().rebound
  if st.prepared ~= rebound then
    st.prepared, st.by = rebound, nil
    local ids = xmpp.spawn(function() learn_ids(st, conn, rebound) return true end)
    st.preparing = xmpp.spawn(function()
      if st.carbons then enable_carbons(st, conn) end
      return ids:wait()
    end)
  end
  st.preparing:wait()
end

M.session = prepare

--- Excludes messages from chat: those for which f(bare, stanza) is true, `bare` being the address of the other side
--- and `stanza` the message (for a carbon the inner one). It must not wait. For muc: what rooms and their occupants
--- send, and invitations.
---@param conn xmpp.Conn
---@param f fun(bare: string, stanza: xmpp.Stanza): any
---@return fun(): boolean off
function M.rooms(conn, f)
  guard.check_conn(conn, "rooms", 2)
  guard.check_type(f, "function", 2, "rooms", 2)
  local own = guard.of(conn, "chat")
  own.rooms = own.rooms or {}
  own.rooms[#own.rooms + 1] = f
  return function()
    for i, other in ipairs(own.rooms) do
      if other == f then table.remove(own.rooms, i) return true end
    end
    return false
  end
end

-- The extension

local OPTIONS = { carbons = "boolean", receipts = "boolean string function", states = "boolean", markers = "boolean",
  origin_id = "boolean", dedup = "number", window = "number", peers = "number", lang = "string" }

local function check_options(opts)
  for name, v in pairs(opts) do
    local kinds = OPTIONS[name]
    if not kinds then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
    local fits = kinds:find(type(v), 1, true) and (type(v) ~= "number" or v >= 0 and v % 1 == 0)
    if not fits or name == "receipts" and type(v) == "string" and v ~= "all" then
      error(("bad option '%s' (%s expected, got %s)"):format(name,
        name == "receipts" and 'boolean, "all" or function' or kinds == "number" and "whole number" or kinds,
        type(v) == "table" and "table" or core.shown(tostring(v))), 0)
    end
  end
end

local function option(opts, name, default)
  if opts[name] == nil then return default end
  return opts[name]
end

local function announce(st, conn)
  for name, feature in pairs { receipts = message.RECEIPTS, states = message.STATES, markers = message.MARKERS } do
    if st[name] then st.offs[#st.offs + 1] = disco.add(conn, feature) end
  end
end

-- A message from the archive (see archive/source.lua) counts as reported, too; our own messages are not reported at
-- all.
local function is_told(st, m)
  local known = recent.archived(st.recent, m)
  local id = m.origin_id or m.id
  return known or m.direction == "out" and id ~= nil and methods.said_to(st, m.peer, id) ~= nil
end

function M.start(st, conn, opts)
  check_options(opts)
  local window, peers = opts.window or 100, opts.peers or 1000
  for name, default in pairs { carbons = true, receipts = true, states = false, markers = false, origin_id = true } do
    st[name] = option(opts, name, default)
  end
  st.lang = opts.lang
  st.ours, st.theirs = said.new { places = peers, window = window }, said.new { places = peers, window = window }
  st.recent, st.peers, st.spelled, st.offs = recent.new(opts.dedup or 1000), bounded.new(peers), bounded.new(peers), {}
  methods.tie(st, conn)
  guard.of(conn, "chat").archived = function(m) return is_told(st, m) end
  announce(st, conn)
  st.offs[#st.offs + 1] = presence.before(conn, function() prepare(st, methods.conn(st)) end)
end

function M.stop(st, conn)
  st.is_over, guard.of(conn, "chat").archived = true, nil
  for _, off in ipairs(st.offs) do off() end
  st.offs, st.preparing = {}, nil
end

--- The ids that it remembers, as plain data.
function M.save(st)
  return { ours = said.save(st.ours), theirs = said.save(st.theirs), recent = recent.save(st.recent) }
end

function M.load(st, saved)
  if type(saved) ~= "table" then error("a table expected", 0) end
  methods.load_said(st, saved.ours)
  said.load(st.theirs, saved.theirs)
  recent.load(st.recent, saved.recent)
end

--- Begins to receive messages.
---@param conn xmpp.Conn a client's
---@param opts? table carbons (true): messages that our other clients send and receive are reported as well (XEP-0280);
--- receipts (true): request receipts, and send them to those who may know that we are available, such as contacts who
--- see our presence; "all": send them to everybody; a function of the address: send them to those for whom it returns
--- true; false: neither; states (false): announce support for chat states; markers (false): announce support for
--- markers, and request them; origin_id (true): add one to messages (XEP-0359); dedup (1,000): how many messages are
--- remembered, so that none is reported twice; window (100): for how many messages in each direction the authors are
--- remembered for each peer; peers (1,000): for how many peers; lang: the preferred language of a message in several
--- languages
---@return xmpp.Chat? c
---@return xmpp.Error? err layer "closed"
function M.use(conn, opts)
  local st, err = ext.use(conn, M, opts, 2)
  return st, err
end

return M
