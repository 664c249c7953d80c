-- Prints the last day's messages, or those with one contact, from the account's archive: one page in memory at a time.
--
--   lua5.4 examples/archive.lua alice@example.net PASSWORD [bob@example.net]

local xmpp = require "xmpp"
local archive, time, account = require "xmpp.archive", require "xmpp.time", require "examples.account"

local jid, password, opts = account "JID PASSWORD"
opts.reconnect = true -- after a lost link it goes on where it was
local conn = assert(xmpp.connect_client(jid, password, opts))
local n = 0
for m in archive.each(conn, { with = arg[3], from = time.now() - 86400, err = error }) do
  n = n + 1
  print(("%s  %s  %s"):format(time.format(math.floor(m.stamp or 0)), m.direction == "in" and m.from or "-> " .. m.to,
    m.text))
end
io.stdout:flush() -- so that the next line comes after it in a terminal
io.stderr:write("archive: ", n, " messages\n")
conn:stop()
