-- escape: names from other networks as localparts of addresses (XEP-0106), for gateways: "d'artagnan" is
-- "d\27artagnan". Sends nothing.
--
--   local escape = require "xmpp.escape"
--   escape.escape "space cadet"         --> "space\20cadet"
--   escape.unescape "space\\20cadet"    --> "space cadet"
--   escape.jid("#lua", "irc.example.net")   --> a Jid
--
-- A localpart has no upper case (RFC 7622 3.3), so names that differ only in case become the same address: if a
-- network distinguishes them, the gateway needs a table of its own.

local core = require "xmpp.load"
local guard = require "xmpp.guard"

local M = {}

local CODE = { [" "] = "20", ['"'] = "22", ["&"] = "26", ["'"] = "27", ["/"] = "2f", [":"] = "3a", ["<"] = "3c",
  [">"] = "3e", ["@"] = "40", ["\\"] = "5c" }
local CHARACTER = {}
for character, code in pairs(CODE) do CHARACTER[code] = character end

--- Writes a name as a localpart. A backslash is escaped only where the following characters would make it an escape
--- (XEP-0106 4.2), in upper case as well, since addresses are lower-cased. nil and an error for a name that begins or
--- ends with a space.
---@param name string
---@return string?
---@return xmpp.Error?
function M.escape(name)
  guard.check_type(name, "string", 1, "escape", 2)
  if name:find "^ " or name:find " $" then
    return nil, core.error { layer = "stanza", condition = "jid-malformed", type = "modify", retry = false,
      text = ("%s begins or ends with a space (XEP-0106 4.1)"):format(core.shown(name)) }
  end
  local text = name:gsub("\\(%x%x)", function(code) return CHARACTER[code:lower()] and "\\5c" .. code or nil end)
  return (text:gsub("[ \"&'/:<>@]", function(character) return "\\" .. CODE[character] end))
end

--- Returns the name that a localpart stands for. What is not an escape stays, and so does an escaped space at either
--- end, which no name has.
---@param localpart string
---@return string
function M.unescape(localpart)
  guard.check_type(localpart, "string", 1, "unescape", 2)
  local last = #localpart - 2
  return (localpart:gsub("()\\(%x%x)", function(at, code)
    if code == "20" and (at == 1 or at == last) then return nil end
    return CHARACTER[code]
  end))
end

--- Returns the address of a name at a domain; nil and an error if it is not a valid address.
---@param name string
---@param domain string
---@return xmpp.Jid?
---@return xmpp.Error?
function M.jid(name, domain)
  guard.check_type(name, "string", 1, "jid", 2)
  guard.check_type(domain, "string", 2, "jid", 2)
  local localpart, err = M.escape(name)
  if not localpart then return nil, err end
  return core.jid(localpart .. "@" .. domain)
end

return M
