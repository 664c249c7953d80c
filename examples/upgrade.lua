-- Sends every message back with a number. At the message "upgrade" it is replaced by a new process, which goes on with
-- the same session and the next number: its peer notices nothing, and what is sent meanwhile waits at the server. STATE
-- is the file in which a process leaves the session for the next one. See account.lua.
local xmpp, account, private = require "xmpp", require "examples.account", require "examples.private"
local jid, password, opts = account "JID PASSWORD STATE"
local path, count = arg[3], 0
opts.resume = true -- ask the server to keep the session

-- Whoever has the session's id and the password can take over the session: so nobody else may read the file.
local function replace(conn)
  private.write(path, { session = assert(conn:save()), count = count })
  local words = { arg[-1] or "lua5.4", arg[0] }
  for _, word in ipairs(arg) do words[#words + 1] = word end
  for i, word in ipairs(words) do words[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
  assert(os.execute(table.concat(words, " ") .. " &"))
end

local function answer(message, conn)
  local text = xmpp.xexpr.text(message, "body")
  if not text then return end
  if text == "upgrade" then return replace(conn) end
  count = count + 1
  conn:send(xmpp.xexpr.reply(message, { "body", ("%d: %s"):format(count, text) }))
end

local state = private.read(path)
local conn = assert((state and xmpp.resume or xmpp.connect_client)(state and state.session or jid, password, opts))
if state then
  count = state.count
  os.remove(path)
else
  assert(conn:send { "presence" })
end
conn:set_callback(answer, { name = "message", type = "chat" })
conn:set_handler()
io.stderr:write("upgrade: ", tostring(conn:jid()), state and " goes on\n" or "\n")
xmpp.run()
assert(conn:stop()) -- ends the stream, unless the next process has the session; raises why it has ended
