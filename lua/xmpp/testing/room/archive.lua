-- archive: the history of a test's room, in pages (XEP-0313, XEP-0059). Required by xmpp.testing.room's parts alone.

local hall = require "xmpp.testing.room.hall"
local pages = require "xmpp.testing.pages"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local M = { MAM = pages.MAM }

local function listed(room)
  local out = {}
  for i, entry in ipairs(room.history) do
    out[i] = { archive_id = entry.stanza_id, stamp = entry.stamp,
      message = { "message", { xmlns = "jabber:client", type = "groupchat", id = entry.id,
        from = hall.at(room, entry.nick) }, unpack(entry.children) } }
  end
  return out
end

--- Answers a query, by `reply`.
function M.ask(room, stanza, reply)
  pages.answer(listed(room), stanza, { reply = function(fin) reply(room, stanza, fin) end,
    refuse = function(...) hall.refuse(room, stanza, ...) end,
    say = function(message) hall.say(room, message, room.jid, hall.sender(room, stanza)) end })
end

return M
