-- remember: what a login leaves for the next one: a TLS session, which Prosody gives if it is configured to, and
-- SCRAM's keys. c/test/t_tls_session.c tests when such a session may be used, and t_keyring.c the keys.
local offer = require "spec.support.offer"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local TICKETS = [[
c2s_ssl = { options = { no_ticket = false } }
c2s_direct_tls_ssl = { options = { no_ticket = false } }]]

local function login(s, opts, who, password)
  who = who or "alice"
  local port = opts and opts.port or s.port
  return xmpp.connect_client(who .. "@" .. s.domain, password or s.users[who], s.host, port, s.opts(opts))
end

-- Logs in and out. Returns whether the TLS session was resumed, and the info, with the mechanism.
local function is_resumed(s, opts, who)
  local conn, err = login(s, opts, who)
  if not conn then error(tostring(err), 2) end
  assert.is_true((conn:stop()))
  return conn:info().tls_resumed, conn:info()
end

server.each(function(s)
  before_each(function() xmpp.forget() end)

  it("the next login resumes the TLS session, bound to a channel of its own where the server has that", function()
    local expected = offer.expected(offer.of(s), "TLSv1.3")
    for i = 1, 3 do
      local resumed, info = is_resumed(s)
      assert.equal(i > 1, resumed)
      assert.equal("TLSv1.3", info.tls_version)
      assert.equal(expected.mechanism, info.mechanism)
      assert.equal(expected.channel_binding, info.channel_binding)
    end
  end)

  it("under direct TLS as well, and each by its own", function()
    local direct = { tls = "direct", port = s.tls_port }
    assert.is_false(is_resumed(s, direct))
    assert.is_true(is_resumed(s, direct))
    assert.is_false(is_resumed(s))
    assert.is_true(is_resumed(s, direct))
  end)

  it("for another account, too, but not with remember = false or other certificates", function()
    assert.is_false(is_resumed(s))
    assert.is_true(is_resumed(s, nil, "bob"))
    assert.is_false(is_resumed(s, { remember = false }))
    assert.is_false(is_resumed(s, { verify = false }))
    assert.is_false(is_resumed(s, { ca_dir = s.certs }))
    assert.is_false(is_resumed(s, { tls_name = "localhost" }))
    assert.is_true(is_resumed(s))
  end)

  it("not after a login that has failed", function()
    assert.is_false(is_resumed(s))
    local conn, err = login(s, nil, nil, "wrong")
    assert.is_nil(conn)
    assert.equal("not-authorized", err.condition)
    assert.is_false(is_resumed(s))
    assert.is_true(is_resumed(s))
  end)

  it("not after forget", function()
    assert.is_false(is_resumed(s))
    xmpp.forget()
    assert.is_false(is_resumed(s))
  end)

  it("what is known of the server is forgotten, too, and with remember = false unused", function()
    local function is_pipelined(opts) return select(2, is_resumed(s, opts)).pipelined ~= nil end
    assert.is_false(is_pipelined { remember = false })
    assert.is_false(is_pipelined()) -- the first login has left nothing
    assert.is_true(is_pipelined())
    assert.is_false(is_pipelined { remember = false }) -- and it uses nothing that is there
    assert.is_true(is_pipelined())
    xmpp.forget()
    assert.is_false(is_pipelined())
  end)

  it("a wrong password is refused, however often the right one has logged in", function()
    for _ = 1, 2 do
      assert.is_string(select(2, is_resumed(s)).mechanism)
      for _, wrong in ipairs { "alicep", "alicepw ", "bobpw" } do
        local conn, err = login(s, nil, nil, wrong)
        assert.is_nil(conn)
        assert.equal("not-authorized", err.condition)
      end
    end
  end)

  it("a reconnect resumes the last link's TLS session", function()
    local p = proxy.start(s.host, s.port)
    local conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, p.host, p.port,
      s.opts { reconnect = { min = 0 } }))
    finally(function() conn:stop() p:stop() end)
    assert.is_false(conn:info().tls_resumed)
    assert(conn:ping(30)) -- now the server has said how the session can be resumed
    p:tell "cut rst"
    assert(conn:ping(30))
    assert.equal(1, conn:info().resumed)
    assert.is_true(conn:info().tls_resumed)
  end)

  it("a server that has forgotten the session lets us log in", function()
    assert.is_false(is_resumed(s))
    s:restart()
    assert.is_false(is_resumed(s))
    assert.is_true(is_resumed(s))
  end)
end, { extra_conf = TICKETS, auth = "SHA-1" }, { "prosody", "prosody13" })

server.each(function(s)
  it("a server that gives no sessions, or refuses them, lets us log in", function()
    for _ = 1, 3 do assert.is_false(is_resumed(s)) end
  end)
end, nil, { "prosody", "ejabberd", "ejabberd24" })

-- This Prosody gives sessions, but fails when they are resumed (with OpenSSL's alert internal_error).
server.each(function(s)
  it("a server that fails on a session is dialled again, and offered none any more", function()
    local p = proxy.start(s.host, s.port)
    finally(function() p:stop() end)
    for connections = 1, 4 do
      assert.is_false(is_resumed(s, { port = p.port }))
      assert.equal(connections == 1 and 1 or connections + 1, p:stats().connections)
    end
    local direct = { tls = "direct", port = s.tls_port }
    for _ = 1, 3 do assert.is_false(is_resumed(s, direct)) end
  end)
end, { extra_conf = TICKETS:gsub("{ options", "{ verify = { 'peer' }, options") }, { "prosody", "prosody13" })

server.each(function(s)
  it("a session of TLS 1.2 is not resumed", function()
    for _ = 1, 2 do
      local resumed, info = is_resumed(s)
      assert.is_false(resumed)
      assert.equal("TLSv1.2", info.tls_version)
    end
  end)
end, { extra_conf = TICKETS, tls_protocol = "1.2" }, { "prosody" })

it("without TLS info has no tls_resumed", function()
  local fed = require "spec.support.fed"
  assert.is_nil(fed.open { jid = "alice@xmpp.test/desk" }.conn:info().tls_resumed)
end)
