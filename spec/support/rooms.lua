-- Shared by the specs of chat rooms (XEP-0045): rooms of xmpp.testing, and rooms whose stanzas the test writes itself,
-- for what an honest service wouldn't send.
--
--   local room, service = rooms.joined(t)               -- in the room TEA as kettle; service is what t:room returned
--   local room = rooms.inside(t)                        -- the same, but only the test answers for the room
--   local heard = rooms.ear(room)
--   rooms.says(t, "anna")                               -- a presence
--   assert.equal("join anna", heard())

local muc = require "xmpp.muc"
local xmpp = require "xmpp"

local rooms = {}

local unpack = table.unpack or unpack -- luacheck: ignore 143

local TEA, MUC, USER = "tea@rooms.example.net", "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user"
local INFO, ERRORS = "http://jabber.org/protocol/disco#info", "urn:ietf:params:xml:ns:xmpp-stanzas"

rooms.TEA = TEA

-- Calls muc.join in a task of its own: returns a table that is filled with the results when it returns.
function rooms.join(t, nick, opts, jid)
  local got = {}
  xmpp.spawn(function() got.room, got.err = muc.join(t.conn, jid or TEA, nick or "kettle", opts) got.done = true end)
  t:advance(0)
  return got
end

-- Joins a room of xmpp.testing.
function rooms.joined(t, opts, o)
  local service = t:room(TEA, o)
  local got = rooms.join(t, "kettle", opts)
  return assert(got.room, tostring(got.err)), service
end

-- Records the room's events from here on, as texts like "join anna".
function rooms.ear(room)
  local heard = {}
  for _, event in ipairs { "join", "leave", "change", "nick", "status", "removed", "rejoined" } do
    room:on(event, function(what, more)
      local text = event == "rejoined" and "" or what
      if type(text) == "table" then text = what.nick or what.code or what.err and what.err.condition end
      text = ("%s %s %s"):format(event, tostring(text), type(more) == "string" and more or "")
      heard[#heard + 1] = (text:gsub(" +$", ""):gsub(" +", " "))
    end)
  end
  return function()
    local text = table.concat(heard, ", ")
    for i = #heard, 1, -1 do heard[i] = nil end
    return text
  end
end

-- A room whose stanzas the test writes.

-- Only the test answers for the room, which has these features.
function rooms.announce(t, ...)
  local query = { "query", { xmlns = INFO }, { "identity", { category = "conference", type = "text" } } }
  for i, var in ipairs { ... } do query[i + 3] = { "feature", { var = var } } end
  t:on({ "iq", { to = TEA, type = "get" }, { "query", { xmlns = INFO } } }, function() return query end)
end

local function escape(text) return (text:gsub("[&<>'\"]", function(c) return ("&#%d;"):format(c:byte()) end)) end

function rooms.says(t, nick, attributes, inside, codes)
  local statuses = {}
  for i, code in ipairs(codes or {}) do statuses[i] = ("<status code='%d'/>"):format(code) end
  t:receive(("<presence from='%s/%s'%s><x xmlns='%s'>%s%s</x></presence>"):format(TEA, escape(nick), attributes or "",
    USER, inside or "<item affiliation='member' role='participant'/>", table.concat(statuses)))
end

function rooms.gone(t, nick, inside, codes) rooms.says(t, nick, " type='unavailable'", inside, codes) end
function rooms.subject(t, text)
  t:receive(("<message type='groupchat' from='%s'><subject>%s</subject></message>"):format(TEA, text))
end

function rooms.knock(t, opts, nick)
  local got = rooms.join(t, nick, opts)
  return got, t:expect({ "presence", {}, { "x", { xmlns = MUC } } }, false)
end

-- Joins such a room.
function rooms.inside(t, opts, features)
  rooms.announce(t, unpack(features or {}))
  local got = rooms.knock(t, opts)
  rooms.says(t, "kettle", nil, nil, { 110 })
  rooms.subject(t, "Tea")
  return assert(got.room, tostring(got.err))
end

function rooms.leave(t, room)
  xmpp.spawn(function() room:leave() end)
  t:sent()
  rooms.gone(t, room.nick, nil, { 110 })
end

function rooms.refused(t, condition, kind)
  t:receive(("<presence from='%s/kettle' type='error'><error type='%s'><%s xmlns='%s'/></error></presence>"):format(TEA,
    kind or "auth", condition, ERRORS))
end

return rooms
