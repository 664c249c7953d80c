-- rsm: result set management, the pages of long answers (XEP-0059). Builds and parses the elements; sends nothing
-- itself.

local xexpr = require "xmpp.xexpr"

local M = {}

local RSM = "http://jabber.org/protocol/rsm"
local LONGEST_ID = 4096 -- bytes of an item's id in an answer, since the request for the next page repeats it

--- The element for a request: at most so many items, those after or before one (XEP-0059 2.1 to 2.3).
---@param page { max: integer?, after: string?, before: string? } before "": the last page
---@return xmpp.Element
function M.request(page)
  local set = { "set", { xmlns = RSM } }
  for _, key in ipairs { "max", "after", "before" } do
    if page[key] then set[#set + 1] = { key, {}, page[key] } end
  end
  return set
end

-- A non-negative whole number, as XML Schema writes it; nil for anything else.
local function whole(text)
  local n = text and text:find "^%s*%d+%s*$" and tonumber(text)
  return n and n < 2 ^ 53 and n or nil
end

--- What an answer says about its page; nil alone: it has no pages (it is complete, or the service doesn't support
--- them); nil and a reason: it is malformed.
---@param x xmpp.Element the answer's payload
---@return { first: string?, last: string?, count: integer?, index: integer? }?
---@return string? reason
function M.read(x)
  local set = xexpr.child(x, "set", RSM)
  if not set then return nil end
  local first, count = xexpr.child(set, "first", RSM), xexpr.text(set, "count", RSM)
  local page = { first = first and xexpr.text(first), last = xexpr.text(set, "last", RSM), count = whole(count),
    index = first and whole(xexpr.attr(first, "index")) }
  if count and not page.count then return nil, "set.count: a whole number expected" end
  if (page.first == nil) ~= (page.last == nil) then return nil, "set: only one of 'first' and 'last'" end
  if page.first and (#page.first > LONGEST_ID or #page.last > LONGEST_ID) then
    return nil, ("set: an id of more than %d bytes"):format(LONGEST_ID)
  end
  return page
end

return M
