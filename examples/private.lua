-- Tables that a program keeps from one run to the next, as JSON in a file that only its owner can read (mode 0600).
local cjson = require "cjson"

local M = {}

-- Writes all or nothing: a new file beside the old one, which it replaces when it is on the disk.
function M.write(path, value)
  local quoted = path:gsub("'", "'\\''")
  local file = assert(io.popen(("umask 077 && rm -f '%s.new' && cat > '%s.new' && sync '%s.new' && mv '%s.new' '%s'")
    :gsub("%%s", (quoted:gsub("%%", "%%%%"))), "w"))
  assert(file:write(cjson.encode(value)))
  assert(file:close())
end

-- Returns nil if there is no file.
function M.read(path)
  local file = io.open(path)
  local text = file and file:read "*a"
  if file then file:close() end
  return text and cjson.decode(text)
end

return M
