-- pace(pause, multiplier): sets the collector's, in percent, whatever this Lua calls them -> those that were
local NEW_NAMES = { setpause = "pause", setstepmul = "stepmul" } -- since Lua 5.5

local function set(name, value)
  local ok, was = pcall(collectgarbage, name, value)
  if ok then return was end
  return collectgarbage("param", NEW_NAMES[name], value)
end

return function(pause, multiplier) return set("setpause", pause), set("setstepmul", multiplier) end
