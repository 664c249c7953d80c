-- newer: the basics on newer servers, too: those in the backports of this Debian release, next to its own.
local server = require "spec.support.server"
local xmpp = require "xmpp"

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }

server.each(function(s)
  it("logs in, asks, and sends a message to itself", function()
    local conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.host, s.port, s.opts()))
    finally(function() conn:stop() end)
    assert.equal("result", assert(conn:send_await { "iq", { type = "get", to = s.domain }, PING })[2].type)
    assert(conn:send { "message", { to = tostring(conn:jid()), type = "chat" }, { "body", "to myself" } })
    local message = assert(conn:receive_blocking(30))
    assert.equal("to myself", xmpp.xexpr.text(message, "body"))
    assert.equal(tostring(conn:jid()), message[2].from)
    assert.is_true((conn:stop()))
  end)
end, nil, { "prosody", "ejabberd", "prosody13", "ejabberd24" })
