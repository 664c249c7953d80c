-- history: the lines that were typed into the console, in a file that only its owner can read
-- ($XDG_STATE_HOME/xmpp/history), except those that begin with a space.

local config = require "xmpp.cmd.config"

local M = {}

local MOST = 500 -- lines that are kept

local function path_of(world)
  local folder = config.folder(world, "XDG_STATE_HOME", "/.local/state")
  return folder and folder .. "/history", folder
end

--- The lines of earlier runs, oldest first.
---@return string[]
function M.load(world)
  local path, lines = path_of(world), {}
  local file = path and io.open(path)
  for line in file and file:lines() or function() end do lines[#lines + 1] = line end
  if file then file:close() end
  return lines
end

--- Saves them for the next run, if possible.
---@param lines string[]
function M.save(world, lines)
  local path, folder = path_of(world)
  if not path then return end
  local file = require "xmpp.cmd.file"
  local text = table.concat(lines, "\n", math.max(1, #lines - MOST + 1))
  if file.make_folder(world, folder) then file.write(world, path, text ~= "" and text .. "\n" or "") end
end

--- Adds a line, unless it is not to be saved, or the same as the last one.
---@param lines string[]
---@param line string
---@return boolean added
function M.add(lines, line)
  if line:find "^%s" or line == "" or line == lines[#lines] then return false end
  lines[#lines + 1] = line
  return true
end

return M
