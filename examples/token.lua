-- Sends one message, as send.lua does. The first time it logs in by the password and gets a token (XEP-0484), which it
-- keeps in the file STATE; from then on it logs in by the token, and PASSWORD may be "-" without XMPP_PASSWORD being
-- set. A token is as secret as the password. With "logout" as TO, and any TEXT, the server revokes it. See account.lua.
local xmpp, account, private = require "xmpp", require "examples.account", require "examples.private"
local jid, password, opts = account "JID PASSWORD STATE TO TEXT"
local path = arg[3]

local kept = private.read(path)
if arg[4] == "logout" then
  assert(xmpp.logout(assert(kept, "there is no token"), opts))
  return os.remove(path)
end

-- The id of the user agent, by which the server recognises this program, is made the first time and kept in the token.
opts.token, opts.fast = kept, true
local conn = assert(xmpp.connect_client(jid, password, opts))
local token = conn:token()
if token and not (kept and kept.token == token.token) then private.write(path, token) end
io.stderr:write("token: logged in by ", conn:info().mechanism, "\n")
assert(conn:send { "message", { to = arg[4], type = "chat" }, { "body", arg[5] } })
assert(conn:stop())
