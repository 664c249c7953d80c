-- archive: what was said in a test's room, by pages (XEP-0313, XEP-0059). Required by xmpp.testing.room's parts alone.

local form = require "xmpp.form"
local hall = require "xmpp.testing.room.hall"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local M = { MAM = "urn:xmpp:mam:2" }

local RSM = "http://jabber.org/protocol/rsm"

-- Those that are asked for, in their order.
local function matching(room, query)
  local f = form.parse(xexpr.child(query, "x", hall.FORM))
  local values = f and f.values or {}
  local from, to = time.parse(values.start), time.parse(values["end"])
  local out = {}
  for _, entry in ipairs(room.history) do
    if entry.stamp >= (from or 0) and entry.stamp <= (to or math.huge) then out[#out + 1] = entry end
  end
  return out
end

local function index_of(list, id)
  for i, entry in ipairs(list) do
    if entry.stanza_id == id then return i end
  end
end

-- The first and the last of a page; nil: there is no such id.
local function page_of(list, set)
  local max = tonumber(xexpr.text(set, "max")) or 50
  local before, after = xexpr.child(set, "before"), xexpr.child(set, "after")
  local id = xexpr.text(before or after)
  local at = id and id ~= "" and index_of(list, id)
  if id and id ~= "" and not at then return nil end
  if before then
    local last = at and at - 1 or #list
    return math.max(1, last - max + 1), last
  end
  local first = at and at + 1 or 1
  return first, math.min(#list, first + max - 1)
end

--- Answers a query, by `reply`.
function M.ask(room, stanza, reply)
  local query, list = stanza[3], matching(room, stanza[3])
  local set = xexpr.child(query, "set", RSM)
  local first, last = page_of(list, set)
  if not first then return hall.refuse(room, stanza, "cancel", "item-not-found") end
  for i = first, last do
    local entry = list[i]
    local x = { "message", { xmlns = "jabber:client", type = "groupchat", id = entry.id,
      from = hall.at(room, entry.nick) }, unpack(entry.children) }
    hall.say(room, { "message", {}, { "result", { xmlns = M.MAM, id = entry.stanza_id, queryid = query[2].queryid },
      { "forwarded", { xmlns = "urn:xmpp:forward:0" },
        { "delay", { xmlns = "urn:xmpp:delay", stamp = time.format(entry.stamp) } }, x } } },
      room.jid, hall.sender(room, stanza))
  end
  local page = { "set", { xmlns = RSM }, { "count", {}, tostring(#list) } }
  if last >= first then
    page[4], page[5] = { "first", {}, list[first].stanza_id }, { "last", {}, list[last].stanza_id }
  end
  local backwards = xexpr.child(set, "before")
  local complete = backwards and first == 1 or not backwards and last == #list
  reply(room, stanza, { "fin", { xmlns = M.MAM, complete = complete and "true" or nil }, page })
end

return M
