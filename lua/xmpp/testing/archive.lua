-- archive: an account's archive in a test (XEP-0313, XEP-0441), a small real service: it has earlier messages, stores
-- what is said in the meantime, and answers in pages. Required by xmpp.testing alone.
--
--   local a = t:archive { "first", "second", { from = "bert@example.net/pc", text = "third", stamp = 1699990000 } }
--   a:says { from = "anna@example.net/pc", text = "live" }   -- is received, and stored
--   a.most = 10                                              -- largest number of results per page
--   a.step = function(i) if i == 3 then t:cut() end end      -- called after each result that it has sent
--   a:expires(2)                                             -- removes the two oldest
--
-- Queries need not be expected; messages that the program sends have to be, like any others.

local core = require "xmpp.load"
local pages = require "xmpp.testing.pages"
local time = require "xmpp.time"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local INFO, SID, CARBONS = "http://jabber.org/protocol/disco#info", "urn:xmpp:sid:0", "urn:xmpp:carbons:2"
local KNOWN = { from = true, to = true, text = true, id = true, type = true, stamp = true, archive_id = true }

---@class xmpp.TestArchive
local Archive = {}
Archive.__index = Archive

local inner = setmetatable({}, { __mode = "k" }) -- archive -> its test and the test's functions

local function test_of(archive) return inner[archive].test end
local function own(archive) return tostring(test_of(archive).jid:bare()) end

-- Stores a message as tests write it: a text, or a table.
local function put(archive, what, stamp)
  local o = type(what) == "table" and what or { text = what }
  for name in pairs(o) do
    if type(name) == "string" and not KNOWN[name] then
      inner[archive].fail(test_of(archive), "a message of the archive's has no '%s'", name)
    end
  end
  archive.given = archive.given + 1
  local x = { "message", { xmlns = "jabber:client", from = o.from or "anna@example.net/home", to = o.to or own(archive),
    id = o.id or core.id(), type = o.type or "chat" }, o.text and { "body", {}, o.text } or nil }
  for _, child in ipairs(o) do x[#x + 1] = child end
  local entry = { archive_id = o.archive_id or ("archived-%d"):format(archive.given), stamp = o.stamp or stamp,
    from = x[2].from, to = x[2].to, message = x }
  archive.messages[#archive.messages + 1] = entry
  return entry
end

--- Sends a message to the program, and stores it.
---@param what string|table
---@return string archive_id which is its stanza-id
function Archive:says(what)
  local f = inner[self]
  f.turn()
  local entry = put(self, what, core.clock())
  local x, attrs = entry.message, {}
  for name, v in pairs(x[2]) do attrs[name] = name ~= "xmlns" and v or nil end
  f.test.server:say_stanza { "message", attrs, { "stanza-id", { xmlns = SID, by = own(self), id = entry.archive_id } },
    unpack(x, 3) }
  f.turn()
  return entry.archive_id
end

--- Stores a message without sending it: somebody said it while the program was away.
---@param what string|table
---@return string archive_id
function Archive:keeps(what) return put(self, what, core.clock()).archive_id end

--- Removes the oldest messages.
---@param n integer
function Archive:expires(n)
  for _ = 1, n do table.remove(self.messages, 1) end
end

-- Receiving

local function say(archive, x)
  local test = test_of(archive)
  x[2].to = x[2].to or tostring(test.conn:jid())
  x[2].from = archive.from
  test.server:say_stanza(x)
end

local function reply(archive, stanza, kind, ...)
  local test = test_of(archive)
  test.server:say_stanza { "iq", { type = kind, id = stanza[2].id, from = stanza[2].to,
    to = tostring(test.conn:jid()) }, ... }
end

local function refuse(archive, stanza, kind, condition)
  reply(archive, stanza, "error", { "error", { type = kind },
    { condition, { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } })
end

local function ask(archive, stanza)
  archive.asked = archive.asked + 1
  if archive.refusal then return refuse(archive, stanza, unpack(archive.refusal)) end
  pages.answer(archive.messages, stanza, { most = archive.most, step = archive.step,
    say = function(x) say(archive, x) end, reply = function(fin) reply(archive, stanza, "result", fin) end,
    refuse = function(...) refuse(archive, stanza, ...) end })
end

local function fields(archive, stanza)
  local x = { "x", { xmlns = "jabber:x:data", type = "form" },
    { "field", { type = "hidden", var = "FORM_TYPE" }, { "value", {}, pages.MAM } } }
  for _, field in ipairs { { "with", "jid-single" }, { "start", "text-single" }, { "end", "text-single" } } do
    x[#x + 1] = { "field", { var = field[1], type = field[2] } }
  end
  reply(archive, stanza, "result", { "query", { xmlns = pages.MAM }, x })
end

local function metadata(archive, stanza)
  local x, list = { "metadata", { xmlns = pages.MAM } }, archive.messages
  for name, entry in pairs { start = list[1], ["end"] = list[#list] } do
    x[#x + 1] = { name, { id = entry.archive_id, timestamp = time.format(entry.stamp) } }
  end
  reply(archive, stanza, "result", x)
end

-- The preferences that were set last (XEP-0441).
local function preferences(archive, stanza)
  if stanza[2].type == "set" then archive.prefs = stanza[3] end
  reply(archive, stanza, "result", archive.prefs)
end

local function info(archive, stanza)
  local query = { "query", { xmlns = INFO }, { "identity", { category = "account", type = "registered" } } }
  for _, var in ipairs { INFO, pages.MAM, pages.MAM .. "#extended", SID, CARBONS } do
    query[#query + 1] = { "feature", { var = var } }
  end
  reply(archive, stanza, "result", query)
end

local known = { ["set query"] = ask, ["get query"] = fields, ["get metadata"] = metadata, ["get prefs"] = preferences,
  ["set prefs"] = preferences }

-- A message of the program, which the server forwards and stores.
local function keep(archive, stanza)
  local attrs, to = {}, stanza[2].to
  if not to or stanza[2].type == "groupchat" or stanza[2].type == "error" then return end
  for name, v in pairs(stanza[2]) do attrs[name] = v end
  attrs.xmlns, attrs.from = "jabber:client", tostring(test_of(archive).conn:jid())
  archive.given = archive.given + 1
  archive.messages[#archive.messages + 1] = { archive_id = ("archived-%d"):format(archive.given), stamp = core.clock(),
    from = attrs.from, to = to, message = { "message", attrs, unpack(stanza, 3) } }
end

-- Handles a stanza of the program; true: nobody else gets it.
local function hear(archive, stanza)
  if stanza[1] == "message" then return keep(archive, stanza) end
  local payload, to = stanza[3], stanza[2].to
  if stanza[1] ~= "iq" or type(payload) ~= "table" or to and to ~= own(archive) then return false end
  local kind, f = tostring(stanza[2].type), nil
  if payload[2].xmlns == pages.MAM then f = known[kind .. " " .. payload[1]] end
  if to and payload[2].xmlns == INFO and kind == "get" and not payload[2].node then f = info end
  if not f then return false end
  f(archive, stanza)
  return true
end

--- Creates an archive. functions: fail, turn, hears.
return function(test, functions, list)
  if type(list) ~= "table" then functions.fail(test, "archive(messages): list expected, got %s", type(list)) end
  local archive = setmetatable({ messages = {}, given = 0, asked = 0,
    prefs = { "prefs", { xmlns = pages.MAM, default = "always" }, { "always" }, { "never" } } }, Archive)
  inner[archive] = { test = test, fail = functions.fail, turn = functions.turn }
  for i, what in ipairs(list) do put(archive, what, core.clock() - 60 * (#list + 1 - i)) end
  functions.hears(function(stanza) return hear(archive, stanza) end)
  return archive
end
