-- read: parses a result of an archive like xmpp.chat parses messages (XEP-0313 5). Sends nothing; the sender of the
-- result has been checked before (ask.lua).
--
-- The archive's id of a message is the one that it assigned when the message arrived (XEP-0313 5.1.1), so that becomes
-- m.stanza_id, with m.by. A stanza-id inside the forwarded message was set by its author, and is ignored.

local core = require "xmpp.load"
local message = require "xmpp.chat.message"
local spelling = require "xmpp.spelling"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = {}

local FORWARD, DELAY = "urn:xmpp:forward:0", "urn:xmpp:delay"

--- The message in a result, and when the archive received it.
---@param x xmpp.Element
---@return xmpp.Stanza? inner
---@return number? stamp
function M.inner(x)
  local forwarded = xexpr.child(x, "forwarded", FORWARD)
  local delay = xexpr.child(forwarded, "delay", DELAY)
  return xexpr.child(forwarded, "message", "jabber:client"), delay and time.parse(xexpr.attr(delay, "stamp"))
end

-- What it says about other messages, if anything.
local function claims_of(says)
  if not (says.replaces or says.retracts or says.reaction) then return nil end
  return { replaces = says.replaces, retracts = says.retracts, reaction = says.reaction }
end

local function is_wanted(m, o) return o.all or m.text ~= nil or m.subject ~= nil or m.encrypted ~= nil end

local function finish(m, says, id, stamp, inner, o)
  if not is_wanted(m, o) then return nil end
  m.archive_id, m.stanza_id, m.by = id, id, o.by
  m.stamp, m.delayed, m.claims, m.text = stamp, true, claims_of(says), m.text or ""
  if o.all then m.stanza = inner end
  return m
end

--- A message of an account's archive. o: `me`, our address; `by`, the archive's address; `lang`; `all`, see
--- archive.query.
---@return xmpp.ArchivedMessage? m nil: it has nothing for a person to read
function M.personal(x, id, o)
  local inner, stamp = M.inner(x)
  if not inner or xexpr.attr(inner, "type") == "error" then return nil end
  local from = core.jid(xexpr.attr(inner, "from") or o.by)
  local out = from ~= nil and xexpr.attr(inner, "type") ~= "groupchat" and tostring(from:bare()) == o.by
  local m, says = message.read(inner, { me = o.me, direction = out and "out" or "in", lang = o.lang })
  return m and finish(m, says, id, stamp, inner, o)
end

--- A message of a room's archive: only groupchat messages of occupants; anything else was not said in the room.
---@return xmpp.ArchivedMessage?
function M.room(x, id, o)
  local inner, stamp = M.inner(x)
  local from = inner and core.jid(xexpr.attr(inner, "from") or "")
  if not from or not from.resourcepart or not spelling.is(o.by, from:bare()) then return nil end
  if xexpr.attr(inner, "type") ~= "groupchat" then return nil end
  local m, says = message.read(inner, { me = o.me, room = tostring(from:bare()), lang = o.lang })
  if not m then return nil end
  m.nick = from.resourcepart
  return finish(m, says, id, stamp, inner, o)
end

return M
