-- spelling: addresses as servers write them. We prepare by RFC 7622 (PRECIS), most servers by RFC 6122 (stringprep):
-- whom we have named "straße@example.net/Ⅳ" writes to us as "strasse@example.net/IV".
--
--   local spelling = require "xmpp.spelling"
--   local peers = {}                                       -- what a program keeps by address
--   peers[spelling.key "straße@example.net"] = peer
--   local found = peers[spelling.key(stanza[2].from)]      -- from "strasse@example.net": the same
--   if found and spelling.is(found.jid, stanza[2].from) then ... end
--
-- A server of RFC 7622 has two accounts where the other kind has one. So what is trusted is decided by `is`, which goes
-- one way, as the core does where it waits for an answer: who is named "straße" may come as "strasse", and never the
-- other way round. `key` and `same` fold both ways: they are for finding. What a server itself lists (the items of a
-- roster, the occupants of a room) is one thing for each of its own spellings: keys there are prepared addresses.

local core = require "xmpp.load"
local guard = require "xmpp.guard"

local M = {}

local function check(x, position, fname)
  if not core.is_jid(x) then guard.check_type(x, "string", position, fname, 3) end
end

--- Returns one key for all spellings of an address that a server of RFC 6122 takes for the same one. The localpart and
--- the resourcepart are folded; domains that look alike have different owners, and are only prepared. A text that is
--- not an address is its own key.
---@param jid string|xmpp.Jid
---@return string key the key of itself
function M.key(jid)
  check(jid, 1, "key")
  return core.folded(jid)
end

--- Tells whether a server may write one of these addresses for the other. As with `key`: this is for finding, and no
--- reason to trust the second.
---@param a string|xmpp.Jid
---@param b string|xmpp.Jid
---@return boolean
function M.same(a, b)
  check(a, 1, "same")
  check(b, 2, "same")
  return core.folded(a) == core.folded(b)
end

--- Tells whether an address that has arrived may be the one that we have named: equal after preparation, or as a server
--- of RFC 6122 writes it. This goes one way, and is what trust may rest on.
---@param named string|xmpp.Jid
---@param arrived string|xmpp.Jid
---@return boolean
function M.is(named, arrived)
  check(named, 1, "is")
  check(arrived, 2, "is")
  return core.spelled(named, arrived)
end

return M
