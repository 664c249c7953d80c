-- Checks that memory doesn't grow: runs very many repetitions of something in a process (memory_deeds.lua), and
-- measures what is left there.
local child = require "spec.support.child"

local memory = {
  DEEDS = { "stanzas", "bots", "cycles", "resumptions", "archived" },
  -- The numbers for which `make test` has time.
  SHORT = { stanzas = 100000, bots = 20000, cycles = 1000, resumptions = 100, archived = 20000 },
}

local RESIDENT = 64 -- KiB that may have been added after the warm-up

-- memory.run(deed, n) -> what the process has printed, KEY = number; nil, why.
function memory.run(deed, n)
  local path = os.tmpname()
  local ok = os.execute(("exec ${LUA:-lua5.4} '%s/memory_deeds.lua' %s %d >%s"):format(child.folder, deed, n, path))
  local told = {}
  for line in io.lines(path) do
    local key, value = line:match "^(%u+)=(.*)$"
    if key then told[key] = tonumber(value) or value end
  end
  os.remove(path)
  if ok ~= true and ok ~= 0 then return nil, "it failed; it said why on stderr" end
  return told
end

-- memory.burst(deed, n) -> { what was resident before it, after one cycle of the collector, after two }: see burst.lua
function memory.burst(deed, n)
  local path, told = os.tmpname(), {}
  local ok = os.execute(("exec ${LUA:-lua5.4} '%s/burst.lua' %s %d >%s"):format(child.folder, deed, n, path))
  for line in io.lines(path) do told[#told + 1] = tonumber(line) end
  os.remove(path)
  assert((ok == true or ok == 0) and #told == 3, "it failed; it said why on stderr")
  return told
end

-- memory.wrong(told) -> a list of texts that say what is too much.
function memory.wrong(told, why)
  if not told then return { why } end
  local wrong = {}
  local function demand(key, most, unit)
    if type(told[key]) == "number" and told[key] <= most then return end
    wrong[#wrong + 1] = ("%s: %s%s more"):format(key:lower(), tostring(told[key]), unit)
  end
  demand("RESIDENT", RESIDENT, " KiB")
  demand("LUA", RESIDENT, " KiB")
  demand("DESCRIPTORS", 0, "")
  demand("REFERENCES", 0, "")
  demand("OBJECTS", 0, "")
  if told.BUSY ~= "no" then wrong[#wrong + 1] = "a connection, a timer or a coroutine is still there at the end" end
  return wrong
end

return memory
