-- ascii: capital and small letters of ASCII, in whatever locale the program runs: in a Turkish one the string library
-- neither makes an "i" of an "I" nor the reverse.

local M = {}

local SMALL, CAPITAL = {}, {}

for byte = ("a"):byte(), ("z"):byte() do
  local small, capital = string.char(byte), string.char(byte - 32)
  SMALL[capital], CAPITAL[small] = small, capital
end

--- The text with small letters.
---@param text string
---@return string
function M.lower(text) return (text:gsub("[A-Z]", SMALL)) end

--- The text with capital letters.
---@param text string
---@return string
function M.upper(text) return (text:gsub("[a-z]", CAPITAL)) end

return M
