-- hostmeta: alternative connection methods of a domain: the URLs for WebSocket (RFC 7395) and BOSH (XEP-0206) that its
-- web server announces in /.well-known/host-meta (XEP-0156 3, RFC 6415).
--
--   local found = assert(hostmeta.fetch "example.net")
--   print(found.websocket[1], found.bosh[1])               -- "wss://example.net/ws", nil
--
-- Who is trusted: the web server of that domain, by its certificate, and nobody else; if it redirects to another one,
-- that one in its place (RFC 6415 2), up to three times, and not to a private address. Anything but wss: and https: is
-- left out (XEP-0156 4). By XEP-0156 3.2 this should be used only if the methods of RFC 6120 have failed.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local http = require "xmpp.http"
local xexpr = require "xmpp.xexpr"

local M = {}

local XRD = "http://docs.oasis-open.org/ns/xri/xrd-1.0"
local MAX, MOST_LINKS, LONGEST, MOST_REDIRECTS = 64 * 1024, 20, 2048, 3
-- rel -> the name used here, and the only scheme that is allowed
local RELS = {
  ["urn:xmpp:alt-connections:websocket"] = { "websocket", "wss" },
  ["urn:xmpp:alt-connections:xbosh"] = { "bosh", "https" },
}

local OPTIONS = { timeout = "number", format = "string", ca_file = "string", ca_dir = "string", resolve = "string",
  http = "function", insecure = "boolean", port = "number", proxy = "any" }

local function failure(condition, text, retry)
  return nil, core.error { layer = "http", condition = condition, retry = retry or false, text = text }
end

-- Reading

-- Is it a URL of that scheme, with a plain host?
local function is_of(url, scheme)
  return #url <= LONGEST and not url:find "[%z\1-\32\"<>\\^`{|}\127-\255]"
    and (url .. "/"):find("^" .. scheme .. "://[%w.:%[%]_-]+[/?#]") ~= nil
end

local function add(found, rel, href)
  local kind = type(rel) == "string" and RELS[rel]
  if not kind or type(href) ~= "string" or not is_of(href, kind[2]) then return end
  local list = found[kind[1]]
  if #list < MOST_LINKS then list[#list + 1] = href end
end

local function new() return { websocket = {}, bosh = {} } end

local function read_xml(text)
  text = text:gsub("^\239\187\191", ""):gsub("^%s*<%?xml.-%?>", "")
  local xrd = xexpr.from_xml(text)
  if not xrd or xrd[1] ~= "XRD" or xexpr.attr(xrd, "xmlns") ~= XRD then return nil end
  local found = new()
  for link in xexpr.children(xrd, "Link", XRD) do add(found, xexpr.attr(link, "rel"), xexpr.attr(link, "href")) end
  return found
end

local function read_json(text)
  local there, json = pcall(require, "cjson.safe")
  if not there then return nil, "JSON needs lua-cjson, which isn't installed" end
  local data = json.decode(text)
  local links = type(data) == "table" and data.links
  if type(links) ~= "table" then return nil end
  local found = new()
  for _, link in ipairs(links) do
    if type(link) == "table" then add(found, link.rel, link.href) end
  end
  return found
end

local FORMATS = {
  xml = { path = "/.well-known/host-meta", accept = "application/xrd+xml", read = read_xml },
  json = { path = "/.well-known/host-meta.json", accept = "application/json", read = read_json },
}

-- Fetching

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

-- The target of a redirect: a URL, or a path on the same host. nil: not allowed.
local function target(url, location)
  if not location then return nil end
  if location:find "^/" and not location:find "^//" then location = url:match "^https://[^/]+" .. location end
  return is_of(location, "https") and location or nil
end

local function get(url, format, opts)
  local request = { url = url, headers = { Accept = format.accept }, max = MAX, timeout = opts.timeout,
    ca_file = opts.ca_file, ca_dir = opts.ca_dir, resolve = opts.resolve, insecure = opts.insecure,
    proxy = opts.proxy }
  for hop = 0, MOST_REDIRECTS do
    local answer, err = opts.http(request)
    if not answer then return nil, err end
    if not REDIRECTS[answer.status] then return answer end
    local there = target(request.url, answer.headers.location)
    if not there or hop == MOST_REDIRECTS then
      return failure("refused", "the web server redirects elsewhere: " .. core.shown(answer.headers.location or ""))
    end
    if there:match "^https://[^/?#]+" ~= request.url:match "^https://[^/?#]+" then
      request.public, request.resolve = true, nil
    end
    request.url = there
  end
end

local function fetch(domain, format, opts)
  local url = ("https://%s%s%s"):format(domain, opts.port and (":%d"):format(opts.port) or "", format.path)
  local answer, err = get(url, format, opts)
  if not answer then return nil, err end
  if answer.status ~= 200 then
    return failure("refused", ("%s answered %d"):format(core.shown(domain), answer.status), answer.status >= 500)
  end
  local found, why = format.read(answer.body)
  if found then return found end
  return failure("bad-response", why or ("%s has no valid host-meta there"):format(core.shown(domain)))
end

--- Fetches a domain's host-meta: as XML, which is mandatory if there is any, then as JSON. See xmpp.hostmeta for what
--- is trusted.
---@param domain string|xmpp.Jid for a JID its domain is used
---@param opts? { timeout: number?, format: "xml"|"json"|nil, ca_file: string?, ca_dir: string?, resolve: string?,
--- insecure: boolean?, port: integer?, proxy: string|false|nil, http: function? } timeout: seconds; format: only this
--- one; ca_file: CAs to trust; ca_dir: CAs to trust; resolve: an address instead of DNS; insecure: don't verify the
--- certificate; port: instead of 443; proxy: as for http.request; http: a function instead of http.request
---@return { websocket: string[], bosh: string[] }? found URLs; an empty list if there are none of a kind
---@return xmpp.Error? err
function M.fetch(domain, opts)
  if not core.is_jid(domain) then guard.check_type(domain, "string", 1, "fetch", 2) end
  local o = { http = http.request }
  for name, value in pairs(guard.check_opts(opts, OPTIONS, 2, "fetch", 2)) do o[name] = value end
  if o.format and not FORMATS[o.format] then error("bad option 'format' of 'fetch' (xml or json expected)", 2) end
  local jid, err = core.jid(domain)
  if not jid then return nil, err end
  local host = core.host(jid.domainpart)
  if not host then return failure("bad-url", "no host: " .. core.shown(jid.domainpart)) end
  if host:find ":" and not host:find "^%[" then host = "[" .. host .. "]" end
  local found
  found, err = fetch(host, FORMATS[o.format or "xml"], o)
  if found or o.format or err.layer ~= "http" or err.condition ~= "refused" and err.condition ~= "bad-response" then
    return found, err
  end
  return fetch(host, FORMATS.json, o)
end

return M
