-- options.url: the option `url`, by which a client connects over WebSocket (RFC 7395). Loaded when one does.

local core = require "xmpp.load"

local DISCOVER = "host-meta"

local M = {}

--- Checks the option's value. Returns true, or false and why.
function M.check(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  local host, why = core.url(v == DISCOVER and "wss://host-meta/" or v)
  if host then return true end
  if why:find "^this build" then return false, why end
  return false, ("wss://host/path or %q expected, got '%s': %s"):format(DISCOVER, core.shown(v), why)
end

--- Sets the options that follow from the URL. Raises an error at `level` for options that contradict it.
function M.settle(o, level)
  if o.host or o.port then
    error("bad option 'url' (the URL says where to connect: leave out host and port, or url)", level + 1)
  end
  if o.tls then
    error("bad option 'url' (with wss:// there is TLS from the first byte, with ws:// none: leave out tls)",
      level + 1)
  end
  local _, secure = core.url(o.url)
  o.tls = (secure or o.url == DISCOVER) and "direct" or "none"
end

-- Uses half of the time for connecting, which begins after this.
local function ask(o, hostmeta, proxy)
  return hostmeta.fetch(o.jid, { ca_file = o.ca_file, ca_dir = o.ca_dir, timeout = (o.timeout or 30) / 2,
    insecure = o.verify == false or nil, proxy = proxy })
end

--- Replaces "host-meta" by the URL that the domain's web server announces (XEP-0156); if there are several by the
--- first, since their order has no meaning.
---@param load_later fun(name: string): table
---@param proxy string|false|nil the proxy for that request: as for xmpp.http
---@return xmpp.Error? err
function M.find(o, load_later, proxy)
  if o.url ~= DISCOVER then return nil end
  local domain = core.shown(o.jid.domainpart)
  local found, err = ask(o, load_later "xmpp.hostmeta", proxy)
  if not found then
    return core.error { layer = err.layer, condition = err.condition, retry = err.retry,
      text = ("asking %s for its WebSocket (host-meta): %s"):format(domain, err.text) }
  end
  for _, url in ipairs(found.websocket) do
    if core.url(url) then
      o.url = url
      return nil
    end
  end
  return core.error { layer = "websocket", condition = "not-found", retry = false,
    text = ("the host-meta of %s names no WebSocket (wss://): give its URL, if you know it"):format(domain) }
end

return M
