-- Shell commands, and temporary files and folders, for specs.
local shell = {}

-- Variables that `make check` has put into the environment must not reach another make, and a sanitizer that was
-- preloaded for the library must not check every program.
local CLEAN = "unset LD_PRELOAD MAKEFLAGS BUILD SO; "

-- Environment variables to put in front of a Lua command, so that it loads the module under test.
shell.HERE = ("LD_PRELOAD='%s' LUA_PATH='lua/?.lua;lua/?/init.lua;?.lua' LUA_CPATH='%s/?.so' "):format(
  os.getenv "PRELOAD" or "", os.getenv "SO_DIR" or "lua")

-- shell.run(command) -> what it printed, on stderr too, and its exit status
function shell.run(command)
  local pipe = assert(io.popen(CLEAN .. "{ " .. command .. "\n} 2>&1; echo \"status $?\""))
  local text, status = pipe:read("*a"):match "^(.*)status (%d+)\n$"
  pipe:close()
  return text, tonumber(status)
end

-- The same, but raises if the command fails -> what it printed
function shell.succeed(command)
  local text, status = shell.run(command)
  if status ~= 0 then error(("status %d of: %s\n%s"):format(status, command, text), 2) end
  return text
end

-- shell.folder() -> a new folder, to be removed by shell.remove()
function shell.folder()
  return shell.succeed "mktemp -d":match "%S+"
end

-- Calls f(a new folder), and removes the folder afterwards
function shell.in_folder(f)
  local folder = shell.folder()
  local ok, err = pcall(f, folder)
  shell.remove(folder)
  if not ok then error(err, 0) end
end

function shell.remove(path)
  shell.succeed(("rm -rf '%s'"):format(path))
end

-- shell.file(text...) -> the path of a new file with that text
function shell.file(...)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(...)
  file:close()
  return path
end

-- A file that holds the text.
function shell.write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- shell.read(path) -> the file's text
function shell.read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

return shell
