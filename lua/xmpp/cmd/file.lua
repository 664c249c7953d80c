-- file: writes files of the user's: completely or not at all, and unreadable for others.
--
--   local ok, why = file.write(world, folder .. "/history", "one\ntwo\n")

local M = {}

--- Creates a folder, and the missing ones above it, each for its owner alone.
---@return boolean? ok
---@return string? why
function M.make_folder(world, folder)
  local sys, at = world.sys, ""
  for part in folder:gmatch "/[^/]+" do
    at = at .. part
    if not sys.stat(at) then
      local ok, why = sys.mkdir(at)
      if not ok and not sys.stat(at) then return nil, why end
    end
  end
  return true
end

--- Writes a file of mode 0600; the old contents stay until that has succeeded.
---@param path string
---@param text string
---@return boolean? ok
---@return string? why
function M.write(world, path, text)
  local aside = path .. ".new"
  os.remove(aside)
  local ok, why = world.sys.create(aside, text)
  if ok then ok, why = os.rename(aside, path) end
  if not ok then
    os.remove(aside)
    return nil, why
  end
  return true
end

return M
