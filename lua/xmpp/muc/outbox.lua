-- outbox: what is said in a room, until it is known to be there.

local M = { events = { "error" }, methods = {} }

--- A groupchat message of an occupant's has come, live or of the history. Is it our own?
---@param room xmpp.Room
---@param nick string whose, prepared
---@param id string? its id
---@param origin string? its origin-id (XEP-0359)
---@return boolean own
function M.heard(room, nick, id, origin) -- luacheck: ignore 212
  return nick == room.nick
end

--- The room (or the way to it) has refused a message. true: it was one of ours, which will be said again, or whose
--- failure is told; false: we know of no such message.
---@param room xmpp.Room
---@param id string?
---@param err xmpp.Error
---@return boolean
function M.bounced(room, id, err) return false end -- luacheck: ignore 212

return M
