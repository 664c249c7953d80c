-- escape: makes untrusted text safe for a terminal. Control characters could move the cursor, or change the title or
-- the keyboard; bidirectional overrides make a line look like another one (both are shown by their codes: \x1b,
-- \u{202e}).

local M = {}

-- U+0080..9F; U+061C, U+200E/F, U+202A..E, U+2066..9 (bidi); U+2028/9 (line ends); U+FEFF
local HIDDEN = { "\194[\128-\159]", "\216\156", "\226\128[\142\143\168-\174]", "\226\129[\166-\169]", "\239\187\191" }

local function code(c)
  local n = c:byte()
  local first = n >= 0xF0 and n - 0xF0 or n >= 0xE0 and n - 0xE0 or n - 0xC0
  for i = 2, #c do first = first * 64 + c:byte(i) - 128 end
  return ("\\u{%x}"):format(first)
end

local function hidden(text)
  if not text:find "[\194\216\226\239]" then return text end
  for _, pattern in ipairs(HIDDEN) do text = text:gsub(pattern, code) end
  return text
end

--- For one line: line breaks are escaped as well.
---@param text string
---@return string
function M.line(text)
  text = text:gsub("[%z\1-\31\127]", function(c)
    return c == "\n" and "\\n" or c == "\t" and "\\t" or ("\\x%02x"):format(c:byte())
  end)
  return hidden(text)
end

--- For several lines: those after the first are indented, so that none looks like a line of the command's own.
---@param text string
---@param indent string
---@return string
function M.lines(text, indent)
  text = text:gsub("\r\n", "\n"):gsub("[%z\1-\8\11-\31\127]", function(c) return ("\\x%02x"):format(c:byte()) end)
  return (hidden(text):gsub("\n", "\n" .. indent))
end

return M
