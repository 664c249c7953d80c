-- image: the format of a picture, from its first bytes.

local M = {}

local PNG = "\137PNG\r\n\26\n"

local function number(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return d and ((a * 256 + b) * 256 + c) * 256 + d
end

-- Width and height are in the first chunk (PNG 11.2.2).
local function read_png(bytes)
  if bytes:sub(1, 8) ~= PNG or bytes:sub(13, 16) ~= "IHDR" then return nil end
  local width, height = number(bytes, 17), number(bytes, 21)
  if not height or width == 0 or height == 0 then return nil end
  return { type = "image/png", width = width, height = height }
end

--- The format: { type =, width =?, height =? }; nil: none that is known here.
---@param bytes string
---@return { type: string, width: integer?, height: integer? }?
function M.read(bytes)
  local png = read_png(bytes)
  if png then return png end
  if bytes:sub(1, 3) == "\255\216\255" then return { type = "image/jpeg" } end
  if bytes:find "^GIF8[79]a" then return { type = "image/gif" } end
  if bytes:sub(1, 4) == "RIFF" and bytes:sub(9, 12) == "WEBP" then return { type = "image/webp" } end
  return nil
end

return M
