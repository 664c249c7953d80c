-- spelling: addresses as servers write them. We prepare by RFC 7622 (PRECIS), most servers by RFC 6122 (stringprep): a
-- stanza from the address that we call "straße@example.net/Ⅳ" arrives from "strasse@example.net/IV".
--
--   local spelling = require "xmpp.spelling"
--   local peers = {}                                       -- what a program keeps by address
--   peers[spelling.key "straße@example.net"] = peer
--   local found = peers[spelling.key(stanza[2].from)]      -- from "strasse@example.net": the same
--   if found and spelling.is(found.jid, stanza[2].from) then ... end
--
-- A server of RFC 7622 may have two accounts where one of RFC 6122 has one. So decisions about trust use `is`, which
-- works in one direction only, like the core when it waits for an answer: what we call "straße" may arrive as
-- "strasse", but never the reverse. `key` and `same` work in both directions: they are for finding. What a server
-- itself lists (the items of a roster, the occupants of a room) is separate for each spelling, so the keys there are
-- prepared addresses.

local core = require "xmpp.load"
local guard = require "xmpp.guard"

local M = {}

local function check(x, position, fname)
  if not core.is_jid(x) then guard.check_type(x, "string", position, fname, 3) end
end

--- Returns the same key for all spellings of an address that a server of RFC 6122 considers the same. The localpart
--- and the resourcepart are folded; domains that look alike have different owners, and are only prepared. A text that
--- is not an address is its own key.
---@param jid string|xmpp.Jid
---@return string key which is its own key
function M.key(jid)
  check(jid, 1, "key")
  return core.folded(jid)
end

--- Tells whether a server may write one of these addresses as the other. As with `key`: this is for finding, and no
--- reason to trust the second.
---@param a string|xmpp.Jid
---@param b string|xmpp.Jid
---@return boolean
function M.same(a, b)
  check(a, 1, "same")
  check(b, 2, "same")
  return core.folded(a) == core.folded(b)
end

--- Tells whether an address that was received may be the one that we have named: equal after preparation, or written
--- by a server of RFC 6122. This works in one direction only, so decisions about trust may rely on it.
---@param named string|xmpp.Jid
---@param arrived string|xmpp.Jid
---@return boolean
function M.is(named, arrived)
  check(named, 1, "is")
  check(arrived, 2, "is")
  return core.spelled(named, arrived)
end

return M
