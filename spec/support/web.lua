-- A web server for specs, and the requests that it has got. web.py says what its paths do.
--
--   local w = web.start()
--   http.request { url = w:url "/hello", ca_file = w.ca, resolve = "127.0.0.1" } -- https://files.xmpp.test:PORT/hello
--   assert.same({ method = "PUT", path = "/x", bytes = 5, sha256 = "..." }, w:seen())
--   w:stop()
local child = require "spec.support.child"

local web = {}
local Web = {}
Web.__index = Web

function web.start()
  local pipe, v = child.serve("web.py", {})
  if not v then error("the web server did not start; it said why on stderr", 2) end
  local w = setmetatable({ pipe = pipe, ports = {}, port = tonumber(v.PORT), certs = v.CERTS, ca = v.CA, pin = v.PIN,
    pid = v.PID }, Web)
  for key, value in pairs(v) do
    if key:match "^PORT_" then w.ports[key:sub(6)] = tonumber(value) end
  end
  return w
end

-- The URL of a path with that certificate ("rsa"), at that host (files.xmpp.test).
function Web:url(path, certificate, host)
  certificate = certificate or "rsa"
  return ("%s://%s:%d%s"):format(certificate == "plain" and "http" or "https", host or "files.xmpp.test",
    self.ports[certificate], path)
end

-- The next request that has ended; waits for it.
function Web:seen()
  local method, path, bytes, sha256 = self.pipe:read "*l":match "^(%S+) (%S+) (%d+) (%S+)$"
  return { method = method, path = path, bytes = tonumber(bytes), sha256 = sha256 }
end

function Web:stop()
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

return web
