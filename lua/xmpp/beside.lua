-- beside: modules of C that lie beside xmpp.core, for libraries that need not be there. One of them has the name of the
-- file that is its front (xmpp/http.so, lua/xmpp/http.lua), so `require` finds that one; here the searchers are asked
-- for the one that is a C function.

local package = rawget(_G, "package") or {}

local function is_c(f) return type(f) == "function" and not pcall(string.dump, f) end

local function find(name, library, help)
  for _, search in ipairs(package.searchers or package.loaders or {}) do -- luacheck: ignore 143
    local ok, loader = pcall(search, name)
    if ok and is_c(loader) then return loader end
    local file, why = tostring(loader):match(("'([^\n]*%s%%.so)':%%s*(.*)"):format(name:match "[^.]*$"))
    if not ok and file then return nil, ("%s can't be loaded (%s): is %s installed?"):format(file, why, library) end
  end
  return nil, help
end

--- A function that gives the module, or nil and why there is none.
---@param name string "xmpp.http"
---@param library string that it needs
---@param help string what is said where it isn't there
---@return fun(): table?, string?
return function(name, library, help)
  local module
  return function()
    if module then return module end
    local loader, why = find(name, library, help)
    if not loader then return nil, why end
    module = loader(name)
    return module
  end
end
