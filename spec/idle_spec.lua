-- A turn of the loop in which nothing happens: with many connections it makes the same system calls as with one, and
-- allocates nothing in Lua.
local server = require "spec.support.server"

local LUA = os.getenv "LUA" or "lua5.4"
local TURNS, MANY, USERS = 50, 100, 13

local accounts = {}
for i = 1, USERS do accounts[i] = ("idle%d:idlepw"):format(i) end

-- A sanitizer that is preloaded sometimes allocates memory of its own.
local MEMORY = { mmap = true, munmap = true, madvise = true }
local function counts(name) return name and not (os.getenv "PRELOAD" and MEMORY[name]) end

-- Runs the program under strace. Returns the kilobytes that Lua allocated, and how often each system call was made.
local function turns_of(s, connections)
  local trace = os.tmpname()
  local pipe = assert(io.popen(("unset LD_PRELOAD; timeout 100 strace -f -o %s -E LD_PRELOAD='%s' "
    .. "-E ASAN_OPTIONS=detect_leaks=0 -E LUA_PATH='lua/?.lua;lua/?/init.lua' -E LUA_CPATH='%s/?.so' "
    .. "%s spec/support/idle.lua %d %d %d %s %s %d %s 2>&1")
    :format(trace, os.getenv "PRELOAD" or "", os.getenv "SO_DIR" or "lua", LUA, connections, TURNS, USERS, s.domain,
      s.host, s.tls_port, s.ca)))
  local said = pipe:read "*a"
  pipe:close()
  local calls, within = {}, false
  for line in io.lines(trace) do
    local name = line:match "^%d+ +([%w_]+)%("
    if line:find("/idle/end", 1, true) then within = false end
    if within and counts(name) then calls[name] = (calls[name] or 0) + 1 end
    if line:find("/idle/begin", 1, true) then within = true end
  end
  os.remove(trace)
  return tonumber(said) or said, calls
end

server.each(function(s)
  it("makes no system call and nothing in Lua for a connection that nothing happens on", function()
    local made, few = turns_of(s, 1)
    assert.equal(0, made)
    assert.equal(TURNS, few.epoll_wait or few.epoll_pwait)
    local made_by_many, many = turns_of(s, MANY)
    assert.equal(0, made_by_many)
    assert.same(few, many)
  end)
end, { more_users = table.concat(accounts, " ") })
