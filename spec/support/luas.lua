-- The Lua that runs this, and which features it has. A test of a missing feature is reported as skipped:
--
--   luas.it("coroutine.close", "ends a wait", function() ... end)
local busted = require "busted"

local luas = {
  name = jit and jit.version:match "^%S+ %d+%.%d+" or _VERSION,
  load = rawget(_G, "loadstring") or load,
}

local has = {
  ["a generational collector"] = pcall(collectgarbage, "generational"),
  ["lua-cjson"] = pcall(require, "cjson"),
  ["coroutine.close"] = rawget(coroutine, "close") ~= nil,
  ["variables to be closed"] = luas.load "local x <close> = nil" ~= nil,
  ["yields across iterators"] = coroutine.wrap(function()
    return pcall(function() for x in coroutine.yield do print(x) end end)
  end)() ~= false,
  ["yields across pcall"] = coroutine.wrap(function() return pcall(coroutine.yield, "yes") end)() == "yes",
}
if has["a generational collector"] then collectgarbage "incremental" end

-- luas.thrown(object): what pcall returns for error(object). In Lua 5.5 an error object can't be nil.
local _, of_nil = pcall(error)
function luas.thrown(object)
  if object == nil then return of_nil end
  return object
end

-- false: this Lua doesn't have it, and a test named `title` is reported as skipped.
function luas.has(feature, title)
  if has[feature] == nil then error("nobody knows whether a Lua has " .. feature, 2) end
  if not has[feature] then busted.pending(("%s (%s lacks %s)"):format(title, luas.name, feature)) end
  return has[feature]
end

function luas.it(feature, title, body)
  if luas.has(feature, title) then busted.it(title, body) end
end

-- lua-cjson for a whole file of tests; nil: this Lua doesn't have it, and the file is reported as skipped.
function luas.json(file) return luas.has("lua-cjson", file) and require "cjson" or nil end

return luas
