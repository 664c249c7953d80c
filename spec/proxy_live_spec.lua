-- proxy on real servers: each real proxy in front of each server, with STARTTLS and with direct TLS: a login, messages,
-- a room, and resuming the session after a cut.
local exchange = require "spec.support.exchange"
local link = require "spec.support.proxy"
local managed = require "spec.support.managed"
local muc = require "xmpp.muc"
local relay = require "spec.support.relay"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local turn_until, keep = managed.turn_until, exchange.keep

local SOON = { min = 0.01, max = 0.1 }

teardown(relay.stop)
after_each(exchange.stop)

-- Logs alice in; the proxy finds the server by the name "localhost".
local function login(s, opts)
  return keep(assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, "localhost",
    opts.tls == "direct" and s.tls_port or s.port, s.opts(opts))))
end

-- Sends a message to itself, and receives it.
local function echo(conn, text)
  assert(conn:send { "message", { to = tostring(conn:jid()), type = "chat" }, { "body", text } })
  local heard
  repeat heard = assert(conn:receive_blocking(30)) until heard[1] == "message"
  assert.equal(text, xmpp.xexpr.text(heard, "body"))
end

-- Enters a room. Returns say(text), which waits until the room has reflected it.
local function enter(conn, address)
  local room = assert(muc.join(conn, address, "alice", { create = "default", timeout = 30 }))
  local heard
  room:on("message", function(m) heard = m.text end)
  return function(text)
    assert(room:say(text))
    turn_until(function() return heard == text end, text)
  end
end

server.each(function(s)
  for _, kind in ipairs(relay.all) do
    for _, tls in ipairs { "starttls", "direct" } do
      it(("%s by %s: a login, what is sent, a room, and the session after a cut"):format(kind, tls), function()
        local r, said = relay.get(kind), ""
        local p = keep(link.start(r.host, r.port))
        local conn = login(s, { proxy = r:url_at(p.port), tls = tls, reconnect = SOON,
          log = function(_, text) said = said .. text end })
        turn_until(function() return conn:info().resumable end, "a session")
        echo(conn, "one")
        local say = enter(conn, ("%s-%s@conference.%s"):format((kind:gsub("%W", "-")), tls, s.domain))
        say "three"
        local info = conn:info()
        assert.equal((r.bare:gsub(":%d+$", ":" .. p.port)), info.proxy)
        assert.is_nil(info.address) -- only the proxy knows it
        assert.is_number(info.took.proxy)
        assert.matches("^TLSv1", info.tls_version)
        p:tell "cut rst"
        turn_until(function() return conn:info().resumed == 1 and conn:state() == "ready" end, "resumption")
        say "four"
        echo(conn, "two")
        assert.equal(2, p:stats().connections)
        assert.is_nil(said:find("p:/w", 1, true))
        assert.is_nil(said:find("dTpwO", 1, true)) -- "u:p:" in base64
      end)
    end
  end

  it("a component", function()
    local r = relay.get "tinyproxy"
    local conn = keep(assert(xmpp.connect_component("localhost", s.component_port, s.component, s.secret,
      { proxy = r.url })))
    assert.equal(r.bare, conn:info().proxy)
    assert.matches("localhost:" .. s.component_port, r:log(), 1, true)
  end)
end)
