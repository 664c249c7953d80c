-- bookmark/legacy: bookmarks as they were stored before XEP-0402: all in one element (XEP-0048), in private XML
-- storage (XEP-0049), for the account's other clients if the server doesn't convert them itself.

local iq = require "xmpp.iq"
local items = require "xmpp.bookmark.item"
local xexpr = require "xmpp.xexpr"

local M = {}

local PRIVATE, STORAGE = "jabber:iq:private", items.STORAGE

local function ask(conn, timeout)
  local answer, stanza = iq.get(conn, nil, { "query", { xmlns = PRIVATE }, { "storage", { xmlns = STORAGE } } },
    { timeout = timeout })
  if answer == nil then return nil, stanza end
  local storage = answer ~= true and xexpr.child(answer, "storage", STORAGE)
  if not storage then return iq.bad_format("query.storage: missing", stanza) end
  return storage
end

--- All bookmarks: address -> bookmark.
---@return table<string, xmpp.Bookmark>?
---@return xmpp.Error?
function M.get(conn, timeout)
  local storage, err = ask(conn, timeout)
  if not storage then return nil, err end
  local out = {}
  for x in xexpr.children(storage, "conference") do
    local jid = items.room(xexpr.attr(x, "jid"))
    if jid and (xexpr.attr(x, "xmlns") or STORAGE) == STORAGE then out[jid] = items.read(jid, x) end
  end
  return out
end

--- Stores a bookmark; entry nil: removes it. Everything else is preserved.
---@return true?
---@return xmpp.Error?
function M.set(conn, jid, entry, timeout)
  local storage, err = ask(conn, timeout)
  if not storage then return nil, err end
  local out = { "storage", { xmlns = STORAGE } }
  for child in xexpr.children(storage) do
    if child[1] == "conference" and items.room(xexpr.attr(child, "jid")) == jid then
      local _, rest = items.read(jid, child)
      if entry then out[#out + 1] = items.conference(entry, rest) end
      entry = nil
    else
      out[#out + 1] = child
    end
  end
  if entry then out[#out + 1] = items.conference(entry) end
  local answer
  answer, err = iq.set(conn, nil, { "query", { xmlns = PRIVATE }, out }, { timeout = timeout })
  if answer == nil then return nil, err end
  return true
end

return M
