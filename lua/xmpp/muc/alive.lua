-- alive: are we still in the room, and the way back into it.

local M = { events = { "removed", "rejoined" }, methods = {} }

--- We aren't in the room any more, as somebody has found out: the way back begins.
---@param room xmpp.Room
---@param why xmpp.Error
function M.lost(room, why) end -- luacheck: ignore 212

return M
