-- load: loads the C module for libcurl, xmpp/http.so. lua/xmpp/http.lua has the same module name and is what `require`
-- finds; here the searchers are asked for the one that is a C function.

local package = rawget(_G, "package") or {}

local HELP = "no xmpp/http.so: it is built where libcurl is (apt-get install libcurl4-openssl-dev, dnf install "
  .. "libcurl-devel, brew install curl), then `make` or `luarocks install xmpp` again"

local function is_c(f) return type(f) == "function" and not pcall(string.dump, f) end

local function find()
  for _, search in ipairs(package.searchers or package.loaders or {}) do -- luacheck: ignore 143
    local ok, loader = pcall(search, "xmpp.http")
    if ok and is_c(loader) then return loader end
    local file, why = tostring(loader):match "'([^\n']*http%.so)':%s*(.*)"
    if not ok and file then return nil, ("%s can't be loaded (%s): is libcurl installed?"):format(file, why) end
  end
  return nil, HELP
end

local module, reason

--- Returns the module; nil and the reason if it can't be loaded.
---@return table?
---@return string?
return function()
  if module then return module end
  local loader
  loader, reason = find()
  if not loader then return nil, reason end
  module = loader "xmpp.http"
  return module
end
