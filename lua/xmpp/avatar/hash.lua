-- avatar/hash: the id of an avatar, which is the SHA-1 of its data in hexadecimal (XEP-0084 3, XEP-0153 3). And Base64
-- as other clients write it.

local core = require "xmpp.load"

local M = {}

M.MOST = 262144 -- bytes of Base64 that are accepted

--- The id of these data.
---@param bytes string
---@return string
function M.of(bytes)
  return (core.hash("sha-1", bytes):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- An avatar's id, in lower case; nil if it isn't valid.
---@param text string?
---@return string?
function M.read(text)
  if not text or #text ~= 40 or text:find "%X" then return nil end
  return text:lower()
end

--- The data in a Base64 text, which may contain line breaks; nil and a reason if it isn't valid or too long.
---@param text string
---@return string?
---@return string? reason
function M.decode(text)
  if #text > M.MOST then return nil, ("more than %d bytes"):format(M.MOST) end
  local bytes = core.unbase64((text:gsub("%s", "")))
  if not bytes or bytes == "" then return nil, "invalid Base64" end
  return bytes
end

return M
