-- proxy: parses proxy URLs, and finds out which proxy the environment names: for connections, and for xmpp.http, which
-- passes the URL to libcurl. No text made here contains a user name or a password.

local ascii = require "xmpp.ascii"
local core = require "xmpp.load"

local DIRECT_PORT = 5223 -- of direct TLS (XEP-0368), without SRV

local M = {}

-- Is `host` in the list: "*", a name or a parent domain of it, or the same address?
local function is_spared(host, list)
  host = ascii.lower(host):gsub("%.$", "")
  for name in ascii.lower(list):gmatch "[^%s,]+" do
    if name == "*" then return true end
    name = name:gsub("^%.", ""):gsub("%.$", ""):gsub("^%[(.*)%]$", "%1")
    if name ~= "" and (host == name or host:sub(-#name - 1) == "." .. name) then return true end
  end
  return false
end

-- For HTTP requests these are libcurl's rules: we choose the proxy and tell libcurl, because it determines which
-- addresses are checked. HTTP_PROXY is not read: in a CGI program it comes from a header of the request. Connections
-- that aren't HTTP look at all_proxy first.
local VARIABLES = {
  http = { "http_proxy", "all_proxy", "ALL_PROXY" },
  https = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" },
  xmpp = { "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY" },
}

--- The proxy that the environment names; nil: none.
---@param scheme "http"|"https"|"xmpp"
---@param host string
---@param getenv (fun(name: string): string?)?
---@return string? url
---@return string? variable that contains it
function M.find(scheme, host, getenv)
  if not getenv then return nil end
  local function first(names)
    for _, name in ipairs(names) do
      local value = getenv(name)
      if value and value ~= "" then return value, name end
    end
  end
  local spared = first { "no_proxy", "NO_PROXY" }
  if spared and is_spared(host, spared) then return nil end
  return first(VARIABLES[scheme] or VARIABLES.https)
end

local KINDS = { socks5 = "socks5", socks5h = "socks5", http = "http" }

local function decode(text)
  if text:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- Parses "user:password", with %XX for characters that a URL can't contain. SOCKS5 sends both with a length of one
-- byte (RFC 1929 2), Basic authentication joins them by a colon (RFC 7617 2).
local function read_login(out, text)
  local user, password = text:match "^([^:]*):?(.*)$"
  local has_password = text:find(":", 1, true) ~= nil
  user, password = decode(user), decode(password)
  if not user or not password then return "in user and password a % itself is written as %25" end
  if (user .. password):find "[%z\1-\31\127]" then return "user and password can't have control characters" end
  if user == "" then return "the user before the @ is missing" end
  if out.kind == "http" and user:find(":", 1, true) then return "for an HTTP proxy the user can't contain a colon" end
  if out.kind == "socks5" and not (has_password and #password > 0 and #password < 256 and #user < 256) then
    return "SOCKS5 needs a password with the user, both of 1 to 255 bytes: user:password@"
  end
  out.user, out.password = user, password
end

local function read_place(out, text)
  local host, port = text:match "^%[([^%[%]]*)%](.*)$"
  if not host then host, port = text:match "^([^:%[%]]*)(.*)$" end
  if host and host ~= "" then out.host = core.host((decode(host) or "")) end
  if not out.host then return "a host expected: a name, or an IP address (an IPv6 address in brackets)" end
  if port == "" and out.kind == "socks5" then port = ":1080" end -- RFC 1928 3
  port = port:match "^:(%d%d?%d?%d?%d?)$"
  out.port = tonumber(port)
  if not out.port or out.port < 1 or out.port > 65535 then
    return "a port from 1 to 65535 expected after the host: an HTTP proxy has no default port"
  end
end

--- Parses a URL: "socks5://user:password@host:port", "socks5h://...", "http://...".
---@param url string
---@return { kind: "socks5"|"http", resolves: boolean, host: string, port: integer, user: string?, password: string?,
---  name: string }? via name: the URL without user and password
---@return string? why not
function M.parse(url)
  local scheme, rest = url:match "^(%a[%w+.-]*)://(.*)$"
  scheme = scheme and ascii.lower(scheme)
  if not KINDS[scheme] then
    return nil, "a URL expected that begins with socks5://, socks5h:// or http://"
  end
  local out = { kind = KINDS[scheme], resolves = scheme == "socks5h" }
  local login, place = rest:match "^(.*)@([^@]*)$"
  place = (place or rest):gsub("/$", "")
  local why = login and read_login(out, login) or read_place(out, place)
  if why then return nil, why end
  local host = out.host:find(":", 1, true) and "[" .. out.host .. "]" or out.host
  out.name = ("%s://%s:%d"):format(scheme, host, out.port)
  return out
end

--- The URL with which libcurl uses the same proxy as the connection; all names are looked up by the proxy.
function M.url(via)
  local function encode(text)
    return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
  end
  local scheme, place = via.name:match "^(%w+://)(.*)$"
  if via.kind == "socks5" then scheme = "socks5h://" end
  if not via.user then return scheme .. place end
  return ("%s%s:%s@%s"):format(scheme, encode(via.user), encode(via.password), place)
end

--- The proxy in the environment for a connection to `host`: as M.parse; nil alone: none. The URL may omit http://
--- there.
---@param host string
---@param getenv (fun(name: string): string?)?
function M.of_environment(host, getenv)
  local url, variable = M.find("xmpp", host, getenv)
  if not url then return nil end
  if not url:find("://", 1, true) then url = "http://" .. url end
  local via, why = M.parse(url)
  return via, why and ("%s in the environment: %s"):format(variable, why)
end

--- The proxy to connect through, as the core wants it; nil: none. nil and an error if the environment names an
--- invalid one. A proxy looks up no SRV records, so direct TLS needs a default port.
function M.choose(o, getenv)
  local via, why
  local host = o.url and core.url(o.url) or o.host or o.jid.domainpart
  if o.proxy == "environment" then via, why = M.of_environment(host, getenv)
  else via = M.parse(o.proxy) end
  if why then return nil, core.error { layer = "proxy", condition = "bad-proxy", retry = false, text = why } end
  if via and via.resolves and o.tls == "direct" and not o.url then o.port = o.port or DIRECT_PORT end
  return via
end

--- The proxy for HTTP requests in addition to the connection: the same one; nil: the environment's for each URL;
--- false: none.
function M.beside(o)
  if o.proxy == "environment" then return nil end
  return M.url(M.parse(o.proxy))
end

return M
