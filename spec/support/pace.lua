-- Sets the collector's parameters, whatever this Lua calls them. Doesn't need busted.
local pace = {}

local NEW_NAMES = { setpause = "pause", setstepmul = "stepmul" } -- since Lua 5.5

local function set_one(name, value)
  local ok, was = pcall(collectgarbage, name, value)
  if ok then return was end
  return collectgarbage("param", NEW_NAMES[name], value)
end

-- pace.set(pause, multiplier), in percent -> the values before
function pace.set(pause, multiplier) return set_one("setpause", pause), set_one("setstepmul", multiplier) end

-- Makes the collector run a whole cycle whenever it checks whether there is something to do.
function pace.hurry()
  if _VERSION == "Lua 5.4" then
    collectgarbage("incremental", 1, 1000, 30)
  elseif _VERSION == "Lua 5.5" then
    collectgarbage "incremental" -- the command lua makes it generational
    pace.set(0, 0) -- a multiplier of 0: to the end of the cycle
  else
    pace.set(0, 1000000)
  end
  collectgarbage "restart" -- begins at once, and not only after the rest of the current pause
end

-- Restores what a program has that sets nothing.
function pace.calm()
  if _VERSION == "Lua 5.4" then collectgarbage("incremental", 200, 100, 13) else pace.set(200, 200) end
end

return pace
