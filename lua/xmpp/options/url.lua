-- options.url: the option `url`, by which a client connects over WebSocket (RFC 7395). Loaded when one does.

local DISCOVER = "host-meta"

return function(core)
  local M = {}

  --- May the option be this? false, why.
  function M.check(v)
    if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
    local host, why = core.url(v == DISCOVER and "wss://host-meta/" or v)
    if host then return true end
    if why:find "^this build" then return false, why end
    return false, ("wss://host/path or %q expected, got '%s': %s"):format(DISCOVER, core.shown(v), why)
  end

  --- What the URL says besides. Raises at `level` for options that say otherwise.
  function M.settle(o, level)
    if o.host or o.port then
      error("bad option 'url' (it says where to connect: leave out host and port, or it)", level + 1)
    end
    if o.tls then
      error("bad option 'url' (with wss:// there is TLS from the first byte, with ws:// none: leave out tls)",
        level + 1)
    end
    local _, secure = core.url(o.url)
    o.tls = (secure or o.url == DISCOVER) and "direct" or "none"
  end

  -- Half of the time that a login has: it is asked for before that begins.
  local function ask(o, hostmeta, proxy)
    return hostmeta.fetch(o.jid, { ca_file = o.ca_file, ca_dir = o.ca_dir, timeout = (o.timeout or 30) / 2,
      insecure = o.verify == false or nil, proxy = proxy })
  end

  --- "host-meta" becomes the URL that the domain's web server names (XEP-0156); of several the first, as their order
  --- means nothing.
  ---@param load_later fun(name: string): table
  ---@param proxy string|false|nil through which to ask: as xmpp.http has it
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
      text = ("the host-meta of %s names no WebSocket (wss://): say its URL, if you know it"):format(domain) }
  end

  return M
end
