-- Runs a Lua program in a process where the n-th allocation or system call fails (c/test/shim/faults.c, preloaded).
--
-- In the program: local faults = require "spec.support.faults"; faults.fail_allocation(n, stays);
-- faults.fail_call(n, errno); faults.off(); faults.read() -> { allocs=, live=, calls= }. Numbers count from there on.
local faults = {}

local FIELDS = { "alloc_in", "alloc_stays", "allocs", "live", "sys_in", "sys_errno", "calls" }
local path = os.getenv "FAULTS"
local file = path and assert(io.open(path, "r+b"))
if file then file:setvbuf "no" end

local function write(field, bytes)
  for i, name in ipairs(FIELDS) do
    if name == field then file:seek("set", 8 * (i - 1)) end
  end
  file:write(bytes)
end

function faults.fail_allocation(n, stays) write("alloc_in", string.pack("i8i8", n, stays and 1 or 0)) end

function faults.fail_call(n, errno) write("sys_in", string.pack("i8i8", n, errno or 0)) end

-- Where this is needed there may be no memory, not even to call deeper: so nothing is made, and little called.
local NONE = string.pack("i8i8", 0, 0)
local seek, put = io.stdout.seek, io.stdout.write

function faults.off()
  seek(file, "set", 0)
  put(file, NONE) -- alloc_in, alloc_stays
  seek(file, "set", 32)
  put(file, NONE) -- sys_in, sys_errno
end

function faults.read()
  file:seek "set"
  local values, board = { string.unpack(("i8"):rep(#FIELDS), file:read(8 * #FIELDS)) }, {}
  for i, name in ipairs(FIELDS) do board[name] = values[i] end
  return board
end

-- Builds the shim and runs 'program' (a path) with 'environment'. -> output, exit status
function faults.run(program, environment)
  local function shell(command)
    local pipe = assert(io.popen("unset LD_PRELOAD; { " .. command .. "\n} 2>&1; echo \"status $?\""))
    local text, status = pipe:read("*a"):match("^(.*)status (%d+)\n$")
    pipe:close()
    return text, tonumber(status)
  end
  local folder = shell("mktemp -d"):match("%S+")
  local text, status = shell(("cc -std=c11 -D_GNU_SOURCE -O1 -Wall -shared -fPIC -o %s/faults.so"
    .. " c/test/shim/faults.c -ldl && head -c 4096 /dev/zero > %s/board"):format(folder, folder))
  if status == 0 then
    local variables = {}
    for name, value in pairs(environment or {}) do variables[#variables + 1] = ("%s='%s'"):format(name, value) end
    text, status = shell(("%s FAULTS=%s/board LUA_PATH='lua/?.lua;lua/?/init.lua;?.lua;;' LUA_CPATH='lua/?.so;;'"
      .. " LD_PRELOAD=%s/faults.so timeout 500 lua5.4 %s"):format(table.concat(variables, " "), folder, folder,
      program))
  end
  shell("rm -rf " .. folder)
  return text, status
end

return faults
