-- archive: what was said in a room, asked of its archive (XEP-0313). A part of a room, see room.lua.
--
--   local page = assert(room:history())                      -- the last 50
--   for _, m in ipairs(page) do print(m.stamp, m.nick, m.text) end
--   if not page.complete then page = assert(room:history { before = page.first }) end
--
-- Whom it trusts: the room, for what it answers to a question of ours, as long as that lasts. A result counts if it
-- comes from the room's bare address with the id of the question, which nobody else knows, and if what is in it was
-- said by an occupant of that room, to all.

local chat_message = require "xmpp.chat.message"
local core = require "xmpp.load"
local data_form = require "xmpp.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local rooms = require "xmpp.muc.room"
local rsm = require "xmpp.rsm"
local said = require "xmpp.muc.said"
local spelling = require "xmpp.spelling"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = { methods = {} }

local MAM, FORWARD, DELAY = "urn:xmpp:mam:2", "urn:xmpp:forward:0", "urn:xmpp:delay"
local PAGE, MOST = 50, 1000
local LONGEST_ID = 1024

local OPTIONS = { max = "number", before = "string", after = "string", since = "number", till = "number",
  timeout = "number" }

-- Reading

-- What is in a result: the message and when it was said; nil: it is none of this room's.
local function read_result(room, conn, x)
  local forwarded = xexpr.child(x, "forwarded", FORWARD)
  local inner = xexpr.child(forwarded, "message", "jabber:client")
  local id, from = xexpr.attr(x, "id"), inner and core.jid(xexpr.attr(inner, "from") or "")
  if not from or not from.resourcepart or not spelling.is(room.jid, from:bare()) then return nil end
  if xexpr.attr(inner, "type") ~= "groupchat" or not id or #id > LONGEST_ID then return nil end
  local m = chat_message.read(inner, { me = conn:jid(), room = tostring(from:bare()) })
  if not m or not m.text and not m.encrypted then return nil end -- a subject, a state
  local own, delay = rooms.own(room), xexpr.child(forwarded, "delay", DELAY)
  m.nick, m.history, m.archive_id, m.text = from.resourcepart, true, id, m.text or ""
  m.stamp = delay and time.parse(xexpr.attr(delay, "stamp"))
  m.occupant_id = select(2, said.author(room, m.nick, inner, true))
  m.own = m.occupant_id ~= nil and own.occupant ~= nil and own.occupant.id == m.occupant_id
  return m
end

local function read_fin(fin, stanza, page)
  if fin == true or fin[1] ~= "fin" or xexpr.attr(fin, "xmlns") ~= MAM then
    return iq.bad_format("fin: missing", stanza)
  end
  local set, why = rsm.read(fin)
  if why then return iq.bad_format("fin." .. why, stanza) end
  page.complete = xexpr.attr(fin, "complete") == "true" or xexpr.attr(fin, "complete") == "1"
  page.first, page.last, page.count = set and set.first, set and set.last, set and set.count
  return page
end

-- Asking

local function submit(opts)
  if not opts.since and not opts.till then return nil end
  return data_form.submit(MAM, { start = opts.since and time.format(opts.since),
    ["end"] = opts.till and time.format(opts.till) })
end

local function query_of(id, opts, max)
  local query = { "query", { xmlns = MAM, queryid = id } }
  query[3] = submit(opts)
  query[#query + 1] = rsm.request { max = ("%.0f"):format(max), after = opts.after,
    before = not opts.after and (opts.before or "") or nil } -- backwards from the end, if nothing else is said
  return query
end

--- A page of what was said, oldest first: the last ones; those in front of the id `before`, or behind `after` (ids as
--- page.first and page.last have them); `since` and `till` (seconds since 1970) bound it. The messages are as those of
--- event "message", with archive_id; who has said them was called that then, whoever is called so since. What corrects
--- another one, or takes it back, stands there as its text alone.
---@param opts? { max: integer?, before: string?, after: string?, since: number?, till: number?, timeout: number? } max:
--- (50) up to 1,000
---@return xmpp.RoomHistory? page first, last: ids to go on from; complete: there is no more in that direction; count:
--- how many there are, if the room says so
---@return xmpp.Error? err condition "item-not-found": the id is no longer in it
function M.methods.history(room, opts)
  opts = guard.check_opts(opts, OPTIONS, 1, "history", 2)
  local max = opts.max or PAGE
  if max < 1 or max > MOST then error("bad option 'max' of 'history' (1 to 1,000 expected)", 2) end
  if opts.before and opts.after then error("options 'before' and 'after' of 'history' exclude one another", 2) end
  local conn, err = rooms.conn(room)
  if not conn then return nil, err end
  local own, id, page = rooms.own(room), core.id(), {}
  own.queries = own.queries or {}
  own.queries[id] = { page = page, max = max }
  local fin, stanza = iq.set(conn, room.jid, query_of(id, opts, max), { timeout = opts.timeout })
  own.queries[id] = nil
  if fin == nil then return nil, stanza end
  return read_fin(fin, stanza, page)
end

--- A result is nothing that is said.
function M.message(room, stanza)
  local x = xexpr.child(stanza, "result", MAM)
  if not x then return end
  local from, conn = core.jid(stanza[2].from or ""), rooms.conn(room)
  local queries = rooms.own(room).queries
  local query = queries and queries[xexpr.attr(x, "queryid") or ""]
  if query and conn and from and not from.resourcepart and #query.page < query.max then
    query.page[#query.page + 1] = read_result(room, conn, x)
  end
  return true
end

return M
