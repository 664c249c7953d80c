-- Runs a Lua program in a process in which the n-th allocation or system call fails (by preloading
-- c/test/shim/faults.c).
--
-- In the program: local faults = require "spec.support.faults"; faults.fail_allocation(n, stays);
-- faults.fail_call(n, errno); faults.off(); faults.read() -> { allocs=, live=, calls= }. n counts from the call on.
local shell = require "spec.support.shell"

local faults = {}

local FIELDS = { "alloc_in", "alloc_stays", "allocs", "live", "sys_in", "sys_errno", "calls" }
local path = os.getenv "FAULTS"
local file = path and assert(io.open(path, "r+b"))
if file then file:setvbuf "no" end

-- A number as C has it: eight bytes, the least significant first.
local function int64(n)
  local bytes = {}
  for i = 1, 8 do bytes[i], n = string.char(n % 256), math.floor(n / 256) end
  return table.concat(bytes)
end

local function from_int64(bytes)
  local n, negative = 0, bytes:byte(8) > 127
  for i = 8, 1, -1 do n = n * 256 + (negative and 255 - bytes:byte(i) or bytes:byte(i)) end
  return negative and -n - 1 or n
end

local function write(field, bytes)
  for i, name in ipairs(FIELDS) do
    if name == field then file:seek("set", 8 * (i - 1)) end
  end
  file:write(bytes)
end

function faults.fail_allocation(n, stays) write("alloc_in", int64(n) .. int64(stays and 1 or 0)) end

function faults.fail_call(n, errno) write("sys_in", int64(n) .. int64(errno or 0)) end

-- When this is called there may be no memory left, not even for deeper calls: so it allocates nothing, and calls
-- little.
local NONE = int64(0) .. int64(0)
local seek, put = io.stdout.seek, io.stdout.write

function faults.off()
  seek(file, "set", 0)
  put(file, NONE) -- alloc_in, alloc_stays
  seek(file, "set", 32)
  put(file, NONE) -- sys_in, sys_errno
end

function faults.read()
  file:seek "set"
  local board = {}
  for _, name in ipairs(FIELDS) do board[name] = from_int64(file:read(8)) end
  return board
end

-- A sanitizer allocates memory itself: if one is preloaded, the module without it is tested instead.
local SO_DIR = not os.getenv "PRELOAD" and os.getenv "SO_DIR" or "lua"

-- Builds the shim and runs 'program' (a path) with 'environment'. -> output, exit status
function faults.run(program, environment)
  local folder = shell.folder()
  local text, status = shell.run(("cc -std=c11 -D_GNU_SOURCE -O1 -Wall -shared -fPIC -o %s/faults.so"
    .. " c/test/shim/faults.c -ldl && head -c 4096 /dev/zero > %s/board"):format(folder, folder))
  if status == 0 then
    local variables = {}
    for name, value in pairs(environment or {}) do variables[#variables + 1] = ("%s='%s'"):format(name, value) end
    text, status = shell.run(("%s FAULTS=%s/board LUA_PATH='lua/?.lua;lua/?/init.lua;?.lua;;' LUA_CPATH='%s/?.so;;'"
      .. " LD_PRELOAD=%s/faults.so timeout ${LIMIT:-500} %s %s"):format(table.concat(variables, " "), folder, SO_DIR,
      folder, os.getenv "LUA" or "lua5.4", program))
  end
  shell.remove(folder)
  return text, status
end

return faults
