-- methods: the methods of chat's handle, which send messages. Called by chat alone.
--
-- Each returns the id of the message that was sent, or nil, err; its fate is reported to opts.on, as by conn:send.
-- `to` is a bare address, or a full one: then only that client gets it.

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

--- The handle's connection; nil, err: it is closed.
---@return xmpp.Conn?
---@return xmpp.Error?
function M.conn(st)
  local conn = conns[st]
  if conn and conn:state() ~= "closed" and not st.is_over then return conn end
  return nil, core.error { layer = "closed", condition = "closed", retry = false,
    text = st.is_over and conn and "chat is no longer in use" or "the connection is closed" }
end

local function quiet() end -- for automatic messages, whose loss doesn't matter

-- Sends a stanza. Raises an error if it isn't valid, which is a mistake in what the program gave.
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

-- What we have sent, and to whom. A server of RFC 6122 writes some addresses differently, so an answer from "straße"
-- comes from "strasse" (see spelling.lua).

--- Remembers a message that we, or another client of ours, have sent: its id, and the first id of the one it corrects.
---@param peer string prepared
function M.note_said(st, peer, id, first)
  said.add(st.ours, peer, id, first)
  local as_servers_write = spelling.key(peer)
  if as_servers_write ~= peer then bounded.set(st.spelled, as_servers_write, peer) end
end

--- Remembers what another process has sent.
function M.load_said(st, saved)
  said.load(st.ours, saved, function(peer, id, first) M.note_said(st, peer, id, first) end)
end

--- The first id of a message that we have sent to that address, and the address as we named it; nil: there is none.
---@param peer string as it was received
---@return string? first
---@return string? named
function M.said_to(st, peer, id)
  local first = said.first(st.ours, peer, id)
  if first then return first, peer end
  -- in one direction only: nobody else can use the spelling of a server of RFC 6122
  local named = bounded.get(st.spelled, peer)
  if named then return said.first(st.ours, named, id), named end
end

-- Remembers whether a peer supports chat states (XEP-0085 5.1), and from which of its addresses it has written last.
function M.note_peer(st, m, says)
  bounded.set(st.peers, m.peer, { from = m.from, states = says.state ~= nil })
end

-- Has the other side shown that it supports chat states: by sending one, or by the hash in its presence?
local function knows_states(st, conn, jid)
  local peer = bounded.get(st.peers, tostring(jid:bare()))
  if peer then return peer.states end
  local info = jid.resourcepart and disco.known(conn, jid)
  return info and info.features[message.STATES] == true or false
end

-- Adds the requests that go with a message of the program: for a receipt, for a marker, and our chat state.
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

--- The handle of chat, in addition to `on`: see chat.lua for its events.
---@class xmpp.Chat
local H = {}

--- Sends a message.
---@param to string|xmpp.Jid
---@param what string|table a text, or a table with `text`, `subject`, `url`, `thread`, `lang`, `reply_to` (a message),
--- `spoiler`, `hints`, and `request` = false to ask for no receipt
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: called with its fate, as by conn:send
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

--- Sends a new text that replaces an earlier message of ours (XEP-0308). A correction may be corrected again: any id
--- of the message is valid.
---@param to string|xmpp.Jid the recipient of the original message
---@param id string
---@param what string|table
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: called with its fate, as by conn:send
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

--- Retracts a message of ours (XEP-0424). People may have read it already.
---@param to string|xmpp.Jid
---@param id string
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: called with its fate, as by conn:send
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

--- Sends all our reactions to a message, which replace those that we have sent before (XEP-0444). An empty list
--- removes them.
---@param to string|xmpp.Jid the other side of the conversation
---@param id string m.origin_id or m.id of a message of either side
---@param list string[]
---@param opts? { on: fun(state: string, err: xmpp.Error?)? } on: called with its fate, as by conn:send
---@return string? id
---@return xmpp.Error?
function H.react(st, to, id, list, opts)
  local jid, bad = address(to, "react", 2)
  check_id(id, "react", 2)
  guard.check_type(list, "table", 3, "react", 2)
  opts = guard.check_opts(opts, OPTIONS, 4, "react", 2)
  local peer = jid and tostring(jid:bare())
  local first = jid and (M.said_to(st, peer, id) or said.first(st.theirs, peer, id)) -- for a correction the original's
  local content = write.reactions(first or id, list, 2)
  if not jid then return nil, bad end
  local stanza = write.message(tostring(jid), "chat", core.id(), content, st.origin_id)
  local own, err = deliver(st, stanza, opts.on, "react", 2)
  return own, err
end

local STATES = { active = true, composing = true, paused = true, inactive = true, gone = true }

--- Sends a chat state (XEP-0085), if the other side has sent one itself, or has announced that it supports them.
--- Otherwise nothing is sent.
---@param to string|xmpp.Jid
---@param state "active"|"composing"|"paused"|"inactive"|"gone"
---@return boolean? sent whether it was sent
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

--- Tells the sender that a person has seen a message and those before it (XEP-0333), if the sender has asked for that.
---@param m xmpp.Message a message, as it was reported
---@return boolean? sent whether it was sent
---@return xmpp.Error?
function H.displayed(st, m)
  guard.check_type(m, "table", 1, "displayed", 2)
  if type(m.from) ~= "string" then error("bad argument #1 to 'displayed' (a message expected)", 2) end
  if not m.markable or not m.id or m.direction ~= "in" then return false end
  local thread = m.thread and #m.thread <= message.LONGEST_THREAD and m.thread or nil
  local content = write.mark("displayed", message.MARKERS, m.id, thread)
  local sent, err = deliver(st, write.message(m.from, "chat", core.id(), content), quiet, "displayed", 2)
  if not sent then return nil, err end
  return true
end

M.of_handle = H

--- Sends a receipt (XEP-0184 5.4), to the address that the message came from, with the message's type.
function M.acknowledge(st, m)
  local content = write.mark("received", message.RECEIPTS, m.id)
  deliver(st, write.message(m.from, m.type, core.id(), content), quiet, "receipt", 1)
end

return M
