-- avatar/hash: an avatar's name: the SHA-1 of its bytes in hexadecimal (XEP-0084 3, XEP-0153 3). And Base64 as others
-- write it.

local core = require "xmpp.load"

local M = {}

M.MOST = 262144 -- bytes of Base64 that are read

--- The name of these bytes.
---@param bytes string
---@return string
function M.of(bytes)
  return (core.hash("sha-1", bytes):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- An avatar's name, in small letters; nil: it is none.
---@param text string?
---@return string?
function M.read(text)
  if not text or #text ~= 40 or text:find "%X" then return nil end
  return text:lower()
end

--- The bytes that a text holds, in which lines may have been broken; nil and a reason: it holds none, or too many.
---@param text string
---@return string?
---@return string? reason
function M.decode(text)
  if #text > M.MOST then return nil, ("more than %d bytes"):format(M.MOST) end
  local bytes = core.unbase64((text:gsub("%s", "")))
  if not bytes or bytes == "" then return nil, "no Base64" end
  return bytes
end

return M
