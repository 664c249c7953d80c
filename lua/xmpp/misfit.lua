-- misfit: the reason why xmpp.core can't be loaded: which Lua it was built for, if the file can be read; else `why`
-- itself.

local function built_for(path)
  local io = rawget(_G, "io")
  local file = path and io and io.open and io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text:match "xmpp%.core built for (L[%w%. ]+)"
end

return function(why)
  local jit = rawget(_G, "jit") -- with strict.lua an undefined global must not be read directly
  local path = tostring(why):match "from file '([^\n]+)':\n"
  local built, this = built_for(path), jit and jit.version:match "^%S+ %d+%.%d+" or _VERSION
  if not built or built:find(_VERSION, 1, true) then return why end
  return ("xmpp.core was built for %s, this is %s: build it with 'make LUA=%s' (found %s)"):format(built, this,
    jit and "luajit" or _VERSION:lower():gsub(" ", ""), path)
end
