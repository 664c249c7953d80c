-- methods: what a program says by chat's handle. Called by chat alone.
--
-- Each gives the id of the message that was sent, or nil, err; what becomes of it is told to opts.on, as conn:send
-- does. `to` is a bare address, or a full one: then only that client gets it.

local bounded = require "xmpp.chat.bounded"
local core = require "xmpp.load"
local disco = require "xmpp.disco"
local guard = require "xmpp.guard"
local message = require "xmpp.chat.message"
local said = require "xmpp.chat.said"
local spelling = require "xmpp.spelling"
local write = require "xmpp.chat.write"

local M = {}

-- Handle -> connection. A handle doesn't keep its connection from being collected.
local conns = setmetatable({}, { __mode = "kv" })

function M.tie(st, conn) conns[st] = conn end

--- Its connection; nil, err: it is closed.
---@return xmpp.Conn?
---@return xmpp.Error?
function M.conn(st)
  local conn = conns[st]
  if conn and conn:state() ~= "closed" and not st.is_over then return conn end
  return nil, core.error { layer = "closed", condition = "closed", retry = false,
    text = st.is_over and conn and "chat is used no more" or "the connection is closed" }
end

local function quiet() end -- what is sent by itself and doesn't arrive is nobody's loss

-- Sends it. Raises where it can't be a stanza; then the fault is in what the program gave.
local function deliver(st, stanza, on, fname, level)
  local conn, closed = M.conn(st)
  if not conn then return nil, closed end
  local ok, why = core.check_stanza(stanza)
  if not ok then error(("bad message for '%s' (%s)"):format(fname, why), level + 1) end
  local sent, err = conn:send(stanza, on and { on = on } or nil)
  if not sent then return nil, err end
  return stanza[2].id
end

local function address(to, fname, level)
  if not core.is_jid(to) then guard.check_type(to, "string", 1, fname, level + 1) end
  local jid, err = core.jid(to)
  return jid, err
end

local function check_id(id, fname, level)
  guard.check_type(id, "string", 2, fname, level + 1)
  if id == "" then error(("bad argument #2 to '%s' (an id expected)"):format(fname), level + 1) end
end

local OPTIONS = { on = "function" }

-- What we have said, and to whom. A server of RFC 6122 writes some addresses otherwise than we have named them, so who
-- is "straße" to us answers as "strasse" (see spelling.lua).

--- We have said something, or another client of ours has: its ids, and the first id of what it corrects.
---@param peer string prepared
function M.note_said(st, peer, id, first)
  said.add(st.ours, peer, id, first)
  local as_servers_write = spelling.key(peer)
  if as_servers_write ~= peer then bounded.set(st.spelled, as_servers_write, peer) end
end

--- What we have said in another process.
function M.load_said(st, saved)
  said.load(st.ours, saved, function(peer, id, first) M.note_said(st, peer, id, first) end)
end

--- The first id of what we have said to that address, and the address as we have named it; nil: we haven't.
---@param peer string as it has come
---@return string? first
---@return string? named
function M.said_to(st, peer, id)
  local first = said.first(st.ours, peer, id)
  if first then return first, peer end
  local named = bounded.get(st.spelled, peer) -- one way: nobody else's spelling is that of a server of RFC 6122
  if named then return said.first(st.ours, named, id), named end
end

-- What is known of a peer's states: does it know them (XEP-0085 5.1)? From which of its addresses it has written last.
function M.note_peer(st, m, says)
  bounded.set(st.peers, m.peer, { from = m.from, states = says.state ~= nil })
end

-- Has the other side shown that it knows these: by a state of its own, or by the hash in its presence?
local function knows_states(st, conn, jid)
  local peer = bounded.get(st.peers, tostring(jid:bare()))
  if peer then return peer.states end
  local info = jid.resourcepart and disco.known(conn, jid)
  return info and info.features[message.STATES] == true or false
end

-- A message of a program's, with what belongs to each: a receipt that is asked for, a marker, our state.
local function add_requests(st, content, what, jid)
  local asks = st.receipts ~= false
  if type(what) == "table" and what.request ~= nil then asks = what.request end
  if asks then content[#content + 1] = { "request", { xmlns = message.RECEIPTS } } end
  if st.markers then content[#content + 1] = { "markable", { xmlns = message.MARKERS } } end
  local conn = st.states and M.conn(st)
  if conn and knows_states(st, conn, jid) then content[#content + 1] = { "active", { xmlns = message.STATES } } end
  return content
end

local function say(st, jid, content, on, fname, level, first)
  local id = core.id()
  local stanza = write.message(tostring(jid), "chat", id, content, st.origin_id)
  local sent, err = deliver(st, stanza, on, fname, level + 1)
  if not sent then return nil, err end
  M.note_said(st, tostring(jid:bare()), id, first)
  return id
end

--- Chat's handle, besides `on`: see chat.lua for its events.
---@class xmpp.Chat
local H = {}

--- Sends a message.
---@param to string|xmpp.Jid
---@param what string|table a text, or a table with `text`, `subject`, `url`, `thread`, `lang`, `reply_to` (a message),
--- `spoiler`, `hints`, and `request` = false to ask for no receipt
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: told what becomes of it, as by conn:send
---@return string? id
---@return xmpp.Error?
function H.send(st, to, what, opts)
  local jid, bad = address(to, "send", 2)
  opts = guard.check_opts(opts, OPTIONS, 3, "send", 2)
  local content = write.content(what, "send", 2)
  if not jid then return nil, bad end
  local id, err = say(st, jid, add_requests(st, content, what, jid), opts.on, "send", 2)
  return id, err
end

--- Sends a new text in place of an earlier message of ours (XEP-0308). A correction may be corrected: any id of the
--- message will do.
---@param to string|xmpp.Jid to whom the message was sent
---@param id string
---@param what string|table
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: told what becomes of it, as by conn:send
---@return string? id of the correction
---@return xmpp.Error?
function H.correct(st, to, id, what, opts)
  local jid, bad = address(to, "correct", 2)
  check_id(id, "correct", 2)
  opts = guard.check_opts(opts, OPTIONS, 4, "correct", 2)
  local content = write.content(what, "correct", 2)
  if not jid then return nil, bad end
  local first = M.said_to(st, tostring(jid:bare()), id) or id
  content[#content + 1] = { "replace", { xmlns = message.CORRECT, id = first } }
  local own, err = say(st, jid, add_requests(st, content, what, jid), opts.on, "correct", 2, first)
  return own, err
end

--- Takes back a message of ours (XEP-0424). Whoever has read it has read it.
---@param to string|xmpp.Jid
---@param id string
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: told what becomes of it, as by conn:send
---@return string? id of the retraction
---@return xmpp.Error?
function H.retract(st, to, id, opts)
  local jid, bad = address(to, "retract", 2)
  check_id(id, "retract", 2)
  opts = guard.check_opts(opts, OPTIONS, 3, "retract", 2)
  if not jid then return nil, bad end
  local first, named = M.said_to(st, tostring(jid:bare()), id)
  first = first or id
  local stanza = write.message(tostring(jid), "chat", core.id(), write.retraction(first), st.origin_id)
  local own, err = deliver(st, stanza, opts.on, "retract", 2)
  if own and named then said.remove(st.ours, named, first) end
  return own, err
end

--- Sends all reactions of ours to a message, in place of those that we have sent before (XEP-0444). An empty list takes
--- them back.
---@param to string|xmpp.Jid whose conversation it is
---@param id string m.origin_id or m.id of a message of either side
---@param list string[]
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: told what becomes of it, as by conn:send
---@return string? id
---@return xmpp.Error?
function H.react(st, to, id, list, opts)
  local jid, bad = address(to, "react", 2)
  check_id(id, "react", 2)
  guard.check_type(list, "table", 3, "react", 2)
  opts = guard.check_opts(opts, OPTIONS, 4, "react", 2)
  local peer = jid and tostring(jid:bare())
  local first = jid and (M.said_to(st, peer, id) or said.first(st.theirs, peer, id)) -- of a correction the original
  local content = write.reactions(first or id, list, 2)
  if not jid then return nil, bad end
  local stanza = write.message(tostring(jid), "chat", core.id(), content, st.origin_id)
  local own, err = deliver(st, stanza, opts.on, "react", 2)
  return own, err
end

local STATES = { active = true, composing = true, paused = true, inactive = true, gone = true }

--- Says what we are doing (XEP-0085), if the other side has sent a chat state itself, or has announced that it wants to
--- know. Otherwise nothing is sent.
---@param to string|xmpp.Jid
---@param state "active"|"composing"|"paused"|"inactive"|"gone"
---@return boolean? sent was it sent?
---@return xmpp.Error?
function H.state(st, to, state)
  local jid, bad = address(to, "state", 2)
  if not STATES[state] then
    error("bad argument #2 to 'state' (active, composing, paused, inactive or gone expected)", 2)
  end
  if not jid then return nil, bad end
  local conn, closed = M.conn(st)
  if not conn then return nil, closed end
  if not knows_states(st, conn, jid) then return false end
  local stanza = write.message(tostring(jid), "chat", core.id(), write.state(state))
  local sent, err = deliver(st, stanza, quiet, "state", 2)
  if not sent then return nil, err end
  return true
end

--- Says that a person has seen a message, and those before it (XEP-0333), if its sender has asked for that.
---@param m xmpp.Message a message, as it was told
---@return boolean? sent was it sent?
---@return xmpp.Error?
function H.displayed(st, m)
  guard.check_type(m, "table", 1, "displayed", 2)
  if type(m.from) ~= "string" then error("bad argument #1 to 'displayed' (a message expected)", 2) end
  if not m.markable or not m.id or m.direction ~= "in" then return false end
  local content = write.mark("displayed", message.MARKERS, m.id, m.thread)
  local sent, err = deliver(st, write.message(m.from, "chat", core.id(), content), quiet, "displayed", 2)
  if not sent then return nil, err end
  return true
end

M.of_handle = H

--- Tells the sender that we have the message (XEP-0184 5.4): to the address it came from, of its type.
function M.acknowledge(st, m)
  local content = write.mark("received", message.RECEIPTS, m.id)
  deliver(st, write.message(m.from, m.type, core.id(), content), quiet, "receipt", 1)
end

return M
