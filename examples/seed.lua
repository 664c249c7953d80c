-- The examples from the documentation of Racket's xmpp/transport, in its order, in Lua. They run against a server and
-- end by themselves, leaving nothing behind:
--
--   lua5.4 examples/seed.lua JID PASSWORD
--
-- See account.lua. The component needs XMPP_HOST, XMPP_COMPONENT_PORT, XMPP_COMPONENT (its domain) and XMPP_SECRET.

local xmpp, account = require "xmpp", require "examples.account"
local xexpr, env = xmpp.xexpr, os.getenv

local function show(form, ...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  print(("%-24s%s"):format(form, table.concat(words, ", ")))
end

-- Creating and managing connections

-- (define conn (xmpp-connect-client jid pass))
-- (xmpp-send conn '(presence ()))
local conn = assert(xmpp.connect_client(account "JID PASSWORD"))
show("xmpp-connect-client", xmpp.is_connection(conn), conn:jid())
show("xmpp-send", conn:send { "presence" })

-- (xmpp-connect-component host port domain secret)
-- (xmpp-stop! component)
if env "XMPP_SECRET" then
  local component = assert(xmpp.connect_component(env "XMPP_HOST", tonumber(env "XMPP_COMPONENT_PORT"),
    env "XMPP_COMPONENT", env "XMPP_SECRET"))
  show("xmpp-connect-component", component:jid())
  show("xmpp-stop!", component:stop())
end

-- Someone to talk to: the same account once more.
local jid, pass, opts = account "JID PASSWORD"
opts.resource = "friend-" .. xmpp.id()
local friend = assert(xmpp.connect_client(jid, pass, opts))
local me, them = tostring(conn:jid()), tostring(friend:jid())

local function hear(text) assert(friend:send { "message", { to = me, type = "chat" }, { "body", text } }) end

-- Sending data

-- (xmpp-send conn `(message ((to ,them) (type "chat")) (body "Hello")))
show("xmpp-send", conn:send { "message", { to = them, type = "chat" }, { "body", "Hello" } })
show("  as it came", xexpr.text(assert(friend:receive_blocking(10)), "body"))

-- Receiving data

-- (xmpp-receive conn)
local stanza, err = conn:receive()
while not stanza do
  assert(not err, err)
  xmpp.step(0.1) -- or do something else meanwhile
  stanza, err = conn:receive()
end
show("xmpp-receive", stanza[1], stanza[2].from)

-- (xmpp-receive-blocking conn)
hear "Are you there?"
repeat stanza = assert(conn:receive_blocking(10)) until stanza[1] == "message"
show("xmpp-receive-blocking", stanza[1], xexpr.text(stanza, "body"))

-- Asynchronous operation

local heard

-- Runs the loop until a handler or callback below has received something.
local function heard_something()
  heard = nil
  hear "Something"
  while not heard do xmpp.step(0.1) end
  return heard
end

-- (xmpp-set-handler conn (lambda (stanza conn) ...))
conn:set_handler(function(message, from) heard = ("%s by %s"):format(message[1], tostring(from:jid().localpart)) end)
show("xmpp-set-handler", heard_something())

-- (xmpp-set-handler conn)
conn:set_handler()
show("  by default", conn:handler() == xmpp.default_handler)

-- (xmpp-stop-handler conn)
-- (xmpp-handler conn)
conn:stop_handler()
show("xmpp-stop-handler")
show("xmpp-handler", conn:handler())
conn:set_handler()

-- Callbacks

-- (xmpp-set-callback conn (lambda (stanza conn) ...))
local function listen(message) heard = xexpr.text(message, "body") end
conn:set_callback(listen)
show("xmpp-set-callback", heard_something())

-- (xmpp-set-callback/once conn (lambda (stanza conn) ... #t))
conn:set_callback_once(function(message) return message[1] == "message" end)
local before = #conn:callbacks()
heard_something()
show("xmpp-set-callback/once", before, #conn:callbacks())

-- (xmpp-unset-callback conn listen)
-- (xmpp-callbacks conn)
show("xmpp-unset-callback", conn:unset_callback(listen))
show("xmpp-callbacks", #conn:callbacks())

-- Responding to remote interactions

local PING = { "iq", { type = "get", to = conn:jid().domainpart }, { "ping", { xmlns = "urn:xmpp:ping" } } }

-- (xmpp-send/callback conn ping (lambda (response conn) ...))
local answer
local id = conn:send_callback(PING, function(response) answer = assert(response) end)
while not answer do xmpp.step(0.1) end
show("xmpp-send/callback", answer[2].type, answer[2].id == id)

-- (xmpp-send/await conn ping (lambda (response conn) ...))
show("xmpp-send/await", conn:send_await(PING, function(response) return response[2].type, response[2].from end))
show("  without a callback", assert(conn:send_await(PING))[2].type)

-- Contracts

-- stanza/c, xmpp-handler/c, xmpp-callback/c, xmpp-callback/once/c
show("stanza/c", xmpp.contract.stanza { "presence" })
show("  broken", xmpp.contract.stanza { "presence", { to = false } })
show("xmpp-handler/c", xmpp.contract.handler(print))
show("xmpp-callback/c", xmpp.contract.callback(print))
show("xmpp-callback/once/c", xmpp.contract.callback_once "print")

-- Addresses, ids, the port

-- (string->jid "user@example.net/desk"), (jid-localpart jid), (jid-domainpart jid), (jid-resourcepart jid)
local user = assert(xmpp.jid "user@example.net/desk")
show("string->jid", user, user.localpart, user.domainpart, user.resourcepart)
show("xmpp-id", #xmpp.id() >= 22)
show("XMPP-C2S-PORT", xmpp.C2S_PORT)

assert(friend:stop())
show("xmpp-stop!", conn:stop())
