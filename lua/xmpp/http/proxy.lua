-- proxy: which proxy the environment names for a URL, by libcurl's rules (https_proxy, HTTPS_PROXY, http_proxy,
-- all_proxy, ALL_PROXY, no_proxy, NO_PROXY). We decide and libcurl is told, as whose address is checked depends on it.

local M = {}

-- Is `host` one of `list`'s: "*", a name, or what ends in ".name"; an address stands for itself.
local function is_spared(host, list)
  host = host:lower():gsub("%.$", "")
  for name in list:lower():gmatch "[^%s,]+" do
    if name == "*" then return true end
    name = name:gsub("^%.", ""):gsub("%.$", ""):gsub("^%[(.*)%]$", "%1")
    if name ~= "" and (host == name or host:sub(-#name - 1) == "." .. name) then return true end
  end
  return false
end

--- nil: none.
---@param scheme "http"|"https"
---@param host string
---@param getenv (fun(name: string): string?)?
---@return string?
function M.find(scheme, host, getenv)
  if not getenv then return nil end
  local function first(...)
    for _, name in ipairs { ... } do
      local value = getenv(name)
      if value and value ~= "" then return value end
    end
  end
  local spared = first("no_proxy", "NO_PROXY")
  if spared and is_spared(host, spared) then return nil end
  -- Not HTTP_PROXY: in a CGI program a stranger's header says what that is.
  if scheme == "http" then return first("http_proxy", "all_proxy", "ALL_PROXY") end
  return first("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
end

return M
