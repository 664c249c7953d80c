-- uuid: a random UUID (version 4, RFC 9562 5.4), as the id of a user agent (XEP-0388 2.3.1).

local core = require "xmpp.load"

--- Made from the random bits of an id.
---@return string
return function()
  local hex = core.hash("sha-256", core.id()):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  local variant = ("89ab"):sub(tonumber(hex:sub(17, 17), 16) % 4 + 1):sub(1, 1)
  return ("%s-%s-4%s-%s%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(14, 16), variant, hex:sub(18, 20),
    hex:sub(21, 32))
end
