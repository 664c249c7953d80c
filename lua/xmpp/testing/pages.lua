-- pages: how an archive in a test answers a query: the fields that restrict it, and its pages (XEP-0313 4, XEP-0059).
-- Required by the archives of xmpp.testing alone, an account's and a room's.

local core = require "xmpp.load"
local form = require "xmpp.form"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = { MAM = "urn:xmpp:mam:2" }

local RSM = "http://jabber.org/protocol/rsm"

-- The entries that match, in order. An entry: { archive_id =, stamp =, from =?, to =? }.
local function matching(list, query)
  local f = form.parse(xexpr.child(query, "x", form.DATA))
  local values = f and f.values or {}
  local from, to, with = time.parse(values.start), time.parse(values["end"]), values.with
  local function is_with(address)
    local jid = core.jid(address or "")
    return jid ~= nil and (tostring(jid) == with or tostring(jid:bare()) == with)
  end
  local ids
  for _, id in ipairs(type(values.ids) == "table" and values.ids or {}) do ids = ids or {} ids[id] = true end
  local out = {}
  for _, entry in ipairs(list) do
    local fits = entry.stamp >= (from or 0) and entry.stamp <= (to or math.huge) and (not ids or ids[entry.archive_id])
    if fits and (not with or is_with(entry.from) or is_with(entry.to)) then out[#out + 1] = entry end
  end
  return out
end

local function index_of(list, id)
  for i, entry in ipairs(list) do
    if entry.archive_id == id then return i end
  end
end

-- The first and the last entry of a page; nil: there is no such id.
local function page_of(list, set, most)
  local max = math.min(tonumber(xexpr.text(set, "max")) or 50, most or math.huge)
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

local function result_of(entry, query)
  return { "message", {}, { "result", { xmlns = M.MAM, id = entry.archive_id, queryid = query[2].queryid },
    { "forwarded", { xmlns = "urn:xmpp:forward:0" },
      { "delay", { xmlns = "urn:xmpp:delay", stamp = time.format(entry.stamp) } }, entry.message } } }
end

--- Answers a query about `list`, oldest first. o: `say(message)` and `reply(fin)` send; `refuse(type, condition)`;
--- `most`: largest number per page; `step(i)`: called after each result.
function M.answer(list, stanza, o)
  local query = stanza[3]
  local set = xexpr.child(query, "set", RSM)
  list = matching(list, query)
  local first, last = page_of(list, set, o.most)
  if not first then return o.refuse("cancel", "item-not-found") end
  for i = first, last do
    o.say(result_of(list[i], query))
    if o.step then o.step(i - first + 1) end
  end
  local page = { "set", { xmlns = RSM }, { "count", {}, tostring(#list) } }
  if last >= first then
    page[4] = { "first", { index = tostring(first - 1) }, list[first].archive_id }
    page[5] = { "last", {}, list[last].archive_id }
  end
  local backwards = xexpr.child(set, "before")
  local complete = backwards and first == 1 or not backwards and last == #list
  o.reply { "fin", { xmlns = M.MAM, complete = complete and "true" or nil }, page }
end

return M
