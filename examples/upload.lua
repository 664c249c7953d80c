-- Uploads a file to the account's server (XEP-0363) and prints its URL; with an address after it, also sends the URL
-- there as a file (XEP-0066). See account.lua.
local xmpp, account = require "xmpp", require "examples.account"
local chat, upload = require "xmpp.chat", require "xmpp.upload"
local conn = assert(xmpp.connect_client(account "JID PASSWORD FILE"))
local function bar(sent, size) io.stderr:write(("\r%3.0f %%"):format(size > 0 and 100 * sent / size or 100)) end
local url, err = upload.file(conn, arg[3], { progress = bar, resolve = os.getenv "XMPP_UPLOAD_HOST" })
print(url or "\n" .. tostring(err))
if url and arg[4] then assert(chat.use(conn):send(arg[4], { text = url, url = url })) end
assert(conn:stop())
os.exit(url and 0 or 1)
