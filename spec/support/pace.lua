-- The collector's pace, whatever this Lua calls its parameters. It needs nothing of busted's.
local pace = {}

local NEW_NAMES = { setpause = "pause", setstepmul = "stepmul" } -- since Lua 5.5

local function set_one(name, value)
  local ok, was = pcall(collectgarbage, name, value)
  if ok then return was end
  return collectgarbage("param", NEW_NAMES[name], value)
end

-- pace.set(pause, multiplier): in percent -> those that were
function pace.set(pause, multiplier) return set_one("setpause", pause), set_one("setstepmul", multiplier) end

-- A whole cycle wherever the collector looks whether it has something to do.
function pace.hurry()
  if _VERSION == "Lua 5.4" then
    collectgarbage("incremental", 1, 1000, 30)
  elseif _VERSION == "Lua 5.5" then
    collectgarbage "incremental" -- lua makes it generational
    pace.set(0, 0) -- a multiplier of 0: to the end of the cycle
  else
    pace.set(0, 1000000)
  end
  collectgarbage "restart" -- now, and not when so much has been allocated as was left over
end

-- As it is in a program that has set nothing.
function pace.calm()
  if _VERSION == "Lua 5.4" then collectgarbage("incremental", 200, 100, 13) else pace.set(200, 200) end
end

return pace
