-- bookmark/item: a bookmark as a table and as XML: an item of XEP-0402, and a conference element of XEP-0048.

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local M = {}

M.BOOKMARKS, M.STORAGE = "urn:xmpp:bookmarks:1", "storage:bookmarks"

local LONGEST = 4096 -- bytes of a name, a nick, a password

local TRUE = { ["true"] = true, ["1"] = true }

local function bounded(text) return text and #text <= LONGEST and text or nil end

--- A room's address, prepared: bare, with a localpart; nil if it isn't one.
---@return string?
function M.room(text)
  local jid = text and core.jid(text)
  if not jid or jid.resourcepart or not jid.localpart then return nil end
  return tostring(jid)
end

local function text_of(x, name)
  for child in xexpr.children(x, name) do
    if xexpr.attr(child, "xmlns") == nil then
      local text = xexpr.text(child)
      return text ~= "" and bounded(text) or nil
    end
  end
end

-- Children that we don't know, which are preserved.
local function rest_of(x)
  local rest = {}
  for child in xexpr.children(x) do
    local known = (child[1] == "nick" or child[1] == "password") and xexpr.attr(child, "xmlns") == nil
    if not known then rest[#rest + 1] = child end
  end
  return rest
end

--- A bookmark from a conference element, and the other children of that.
---@param jid string
---@param x xmpp.Element
---@return xmpp.Bookmark
---@return xmpp.Element[] rest
function M.read(jid, x)
  return { jid = jid, name = bounded(xexpr.attr(x, "name")), nick = text_of(x, "nick"),
    password = text_of(x, "password"), autojoin = TRUE[xexpr.attr(x, "autojoin")] == true }, rest_of(x)
end

-- The conference element; absent fields are not written.
local function write(entry, xmlns, jid, rest)
  local x = { "conference", { xmlns = xmlns, jid = jid, name = entry.name,
    autojoin = entry.autojoin and "true" or nil } }
  if entry.nick then x[#x + 1] = { "nick", {}, entry.nick } end
  if entry.password then x[#x + 1] = { "password", {}, entry.password } end
  for _, child in ipairs(rest or {}) do x[#x + 1] = child end
  return x
end

--- The payload of XEP-0402.
function M.payload(entry, rest) return write(entry, M.BOOKMARKS, nil, rest) end

--- The conference element of XEP-0048.
function M.conference(entry, rest) return write(entry, nil, entry.jid, rest) end

--- Are both bookmarks equal?
function M.same(a, b)
  for _, key in ipairs { "name", "nick", "password", "autojoin" } do
    if a[key] ~= b[key] then return false end
  end
  return true
end

return M
