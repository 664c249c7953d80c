-- A connection without a network: bytes are fed to it as if its peer had sent them, and what it sends can be read back.
-- Everything else is the real library, from the parser to the callbacks.
--
--   local f = fed.open { jid = "alice@xmpp.test/here" }       -- or { jid = "echo.xmpp.test", component = true }
--   f.conn:set_handler()
--   f:feed "<message from='bob@xmpp.test/x'><body>Hi</body></message>"    -- and turns the loop until all is dispatched
--   assert.equal("<presence/>", f:sent())
local core = require "xmpp.core"

local fed = {}
local Fed = {}
Fed.__index = Fed

-- fed.open(options): options are jid, component, log, and the limits that opts may have.
function fed.open(options)
  require "xmpp" -- gives connections their methods
  local o = { password = "", tls = "none", fed = true }
  for name, value in pairs(options) do o[name] = value end
  o.jid = assert(core.jid(o.jid))
  return setmetatable({ conn = assert(core.connect(o, {})) }, Fed)
end

-- Feeds 'bytes', in pieces of 'size' if that is given, and makes steps until nothing is left to dispatch.
function Fed:feed(bytes, size)
  size = size or #bytes
  for at = 1, #bytes, size do
    core.conn.feed(self.conn, size < #bytes and bytes:sub(at, at + size - 1) or bytes)
    fed.settle()
  end
end

-- Makes steps of the loop until none is due.
function fed.settle()
  repeat core.step(0) until core.timeout() ~= 0
end

-- What the connection has sent since the last time.
function Fed:sent()
  return core.conn.sent(self.conn)
end

return fed
