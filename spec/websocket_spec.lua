-- websocket: XMPP over WebSocket (RFC 7395): logins by either profile, large stanzas, rooms, links that are cut and
-- sessions that are resumed, at real servers; and what no real server does, by plays. spec/support/hostile has hostile
-- servers; the Makefile lists other specs that run over WebSocket, too.
local exchange = require "spec.support.exchange"
local managed = require "spec.support.managed"
local muc = require "xmpp.muc"
local peer = require "spec.support.peer"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local turn_until, keep, ear, count = managed.turn_until, exchange.keep, exchange.ear, exchange.count

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
local SOON = { min = 0, max = 0.05 }
local FRAMING = peer.FRAMING

if not xmpp.jid or not pcall(function() return assert(require("xmpp.core").url "wss://x/") end) then
  return pending("there is no wslay here", function() end)
end

before_each(function() xmpp.forget() end)
after_each(exchange.stop)

local function with(opts, more)
  for name, value in pairs(more or {}) do opts[name] = value end
  return opts
end

local SERVERS = { "prosody", "ejabberd", "prosody13+sasl2", "ejabberd24+sasl2" }

server.each(function(s)
  local has_sasl2 = s.name:find("+sasl2", 1, true) ~= nil

  local function login(name, more, url)
    return keep(assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name],
      s.opts(with({ url = url or s.wss }, more)))))
  end

  -- A proxy in front of the server, and the URL of the proxy.
  local function behind_proxy()
    local p = keep(proxy.start(s.host, s.http_port))
    return p, (s.wss:gsub(":%d+/", (":%d/"):format(p.port)))
  end

  local function say(from, to, text, opts)
    return assert(from:send({ "message", { to = tostring(to), type = "chat" }, { "body", text } }, opts))
  end

  local function hears(conn, text)
    local stanza = assert(conn:receive_blocking(30))
    assert.equal(text, xexpr.text(stanza, "body"))
  end

  it("a login is one, by TLS from the first byte, and says so", function()
    local log, heard = ear()
    local told = {}
    local conn = login("alice", { log = log, resource = "desk", on_open = function(c)
      c:on("state", function(state) told[#told + 1] = state end)
    end })
    local info = conn:info()
    assert.equal(s.wss, info.url)
    assert.equal("TLSv1.3", info.tls_version)
    assert.equal(has_sasl2 and "sasl2" or "sasl", info.profile)
    local offers = heard.into:find "%-PLUS</mechanism>" and heard.into:find("tls-exporter", 1, true)
    if s.name:find "^prosody13" then assert.truthy(offers) end
    assert.equal(offers and "tls-exporter" or nil, info.channel_binding)
    assert.is_true(info.took.login > 0 and info.took.tls > 0)
    assert.equal("desk", conn:jid().resourcepart)
    assert.matches("securing upgrading authenticating", table.concat(told, " "))
    assert.equal(has_sasl2 and 1 or 2, count(heard.into, "<open "))
    assert.equal(0, count(heard.out, "<starttls"))
    assert.equal("result", assert(conn:send_await({ "iq", { type = "get" }, PING }, 30))[2].type)
    assert(conn:stop())
    assert.equal(1, count(heard.into, "<close xmlns='" .. FRAMING .. "'"))
  end)

  it("without TLS a login works on this machine", function()
    local conn = login("alice", nil, s.ws)
    assert.is_nil(conn:info().tls_version)
    assert.equal(s.ws, conn:info().url)
    assert(conn:ping(30))
  end)

  it("large stanzas, and many of them, arrive complete, both ways", function()
    local alice, bob = login("alice", { resource = "a" }), login("bob", { resource = "b" })
    for _, size in ipairs { 1, 125, 126, 16000, 16384, 65535, 65536, 200000 } do
      local text = ("x"):rep(size - 1) .. "é"
      say(alice, bob:jid(), text)
      hears(bob, text)
    end
    local body = ("y"):rep(700)
    for i = 1, 500 do say(i % 2 == 0 and alice or bob, i % 2 == 0 and bob:jid() or alice:jid(), i .. body) end
    for i = 1, 500 do hears(i % 2 == 0 and bob or alice, i .. body) end
  end)

  it("a room works", function()
    local alice, bob = login("alice", { resource = "a" }), login("bob", { resource = "b" })
    local name = ("tea%d@conference.%s"):format(os.time() % 1000, s.domain)
    local one = assert(muc.join(alice, name, "Alice", { create = "default" }))
    local two = assert(muc.join(bob, name, "Bob"))
    local got
    two:on("message", function(m) if m.nick == "Alice" then got = m.text end end)
    assert(one:say "hello & <welcome>")
    turn_until(function() return got == "hello & <welcome>" end, "what was said")
  end)

  it("a slow reader delays the other side, and gets everything in the end", function()
    local bob = login("bob", { resource = "b" })
    local alice = login("alice", { resource = "a" })
    local body, n = ("z"):rep(20000), 60
    for i = 1, n do say(alice, bob:jid(), i .. body) end
    for i = 1, n do
      hears(bob, i .. body)
      if i % 20 == 0 then xmpp.sleep(0.1) end
    end
  end)

  describe("when the link is cut", function()
    for _, how in ipairs { "fin", "rst" } do
      it("by " .. how .. ", the session is resumed and nothing is lost", function()
        local p, url = behind_proxy()
        local bob = login("bob", { resource = "b" })
        local alice = login("alice", { resource = "a", reconnect = SOON }, url)
        local n = managed.notebook()
        say(alice, bob:jid(), "before", n.of "before")
        hears(bob, "before")
        turn_until(function() return n.before == "written acked" end, "an acknowledgement")
        for i = 1, 3 do
          p:tell("cut " .. how)
          say(alice, bob:jid(), "then " .. i, n.of "then")
          hears(bob, "then " .. i)
          turn_until(function() return alice:state() == "ready" and alice:info().resumed == i end, "a resumption")
          say(bob, alice:jid(), "back " .. i)
          hears(alice, "back " .. i)
        end
        assert.equal(0, alice:info().rebound)
      end)
    end

    it("in the middle of a large stanza, that arrives complete, once", function()
      local p, url = behind_proxy()
      local bob = login("bob", { resource = "b" })
      local alice = login("alice", { resource = "a", reconnect = SOON }, url)
      assert(alice:ping(30))
      p:tell "after 60000 up rst"
      local body = ("m"):rep(150000)
      say(alice, bob:jid(), body)
      hears(bob, body)
      say(alice, bob:jid(), "done")
      hears(bob, "done")
      -- Prosody's frame parser still has half a frame when it resumes, so a new session has to follow.
      local info = alice:info()
      assert.is_true(info.resumed + info.rebound >= 1 and info.resumed <= 1 and info.rebound <= 1)
    end)
  end)

  it("a saved session continues in another process, at the same URL", function()
    local alice = login("alice", { resource = "a", resume = true })
    assert(alice:ping(30))
    assert(alice:flush(30))
    local saved = assert(alice:save())
    assert.equal(s.wss, saved.url)
    assert.is_nil(saved.tls)
    alice = keep(assert(xmpp.resume(saved, s.users.alice, s.opts())))
    assert.same({ 1, s.wss }, { alice:info().resumed, alice:info().url })
    assert(alice:ping(30))
  end)

  -- Prosody resumes it, but continues to parse what the old link sent.
  if s.name:find "^ejabberd" then
    it("a session can move from WebSocket to TCP, and back", function()
      local alice = login("alice", { resource = "a", resume = true })
      assert(alice:ping(30))
      assert(alice:flush(30))
      local tcp = keep(assert(xmpp.resume(assert(alice:save()), s.users.alice,
        s.opts { host = s.host, port = s.port })))
      assert.same({ 1 }, { tcp:info().resumed })
      assert.is_nil(tcp:info().url)
      assert(tcp:ping(30))
      assert(tcp:flush(30))
      local web = keep(assert(xmpp.resume(assert(tcp:save()), s.users.alice, s.opts { url = s.wss })))
      assert.same({ 1, s.wss }, { web:info().resumed, web:info().url })
      assert(web:ping(30))
    end)
  end

  it("there is nothing at another path, and no XMPP at another port", function()
    local nothing = ("wss://127.0.0.1:%d/nothing"):format(s.http_port)
    local conn, err = xmpp.connect_client("alice@" .. s.domain, "x", s.opts { url = nothing })
    assert.is_nil(conn)
    assert.equal("websocket", err.layer)
    assert.matches("^http%-%d%d%d$", err.condition)
    assert.is_false(err.retry)
    conn, err = xmpp.connect_client("alice@" .. s.domain, "x",
      s.opts { url = ("ws://127.0.0.1:%d/"):format(s.port), timeout = 5 })
    assert.is_nil(conn)
    assert.is_true(err.layer == "websocket" or err.layer == "timeout" or err.layer == "tcp", tostring(err))
  end)

  it("the certificate must be the URL's host's or the account's domain's, by a trusted CA", function()
    local conn, err = xmpp.connect_client("alice@" .. s.domain, s.users.alice, { url = s.wss })
    assert.is_nil(conn)
    assert.same({ "tls", "certificate-unknown-issuer" }, { err.layer, err.condition })
    local named = login("alice", { tls_name = s.domain })
    assert(named:ping(30))
  end)

  it("the command can use it", function()
    local words = "env HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent XMPP_PASSWORD=%s %s %s bin/xmpp ping -a alice@%s "
      .. "--ca-file %s --url %s%%s 2>&1"
    words = words:format(s.users.alice, shell.HERE, os.getenv "LUA" or "lua5.4", s.domain, s.ca, s.wss)
    local said, status = shell.run(words:format "")
    assert.equal(0, status, said)
    said, status = shell.run(words:format " --port 5222")
    assert.equal(2, status)
    assert.matches("%-%-url can't be combined with %-%-host", said)
    said, status = shell.run(words:format ":nonsense")
    assert.is_true(status == 2 or status == 5, said)
  end)

  if has_sasl2 then
    it("with SASL2 a login is one exchange, and the next one uses a token", function()
      local agent = { id = exchange.agent() }
      local log, heard = ear()
      local conn = login("alice", { bind2 = "web", user_agent = agent, resume = true, log = log })
      local info = conn:info()
      assert.same({ "sasl2", true, false }, { info.profile, info.bound_inline, info.fast })
      assert.equal(1, count(heard.into, "<open "))
      assert(conn:ping(30))
      -- Here, too, ejabberd 24 offers tokens that are bound to the channel (HT-SHA-256-EXPR), though it can't check
      -- them. So none is asked for, except for an unbound one, if that is allowed.
      local is_bound = s.name:find "ejabberd" == nil
      if not is_bound then
        assert.is_nil(conn:token())
        assert(conn:stop())
        conn = login("alice", { bind2 = "web", user_agent = agent,
          mechanisms = { "SCRAM-SHA-256", "HT-SHA-256-NONE" } })
      end
      turn_until(function() return conn:token() end, "a token")
      assert(conn:stop())
      conn = login("alice", { bind2 = "web", user_agent = agent,
        mechanisms = not is_bound and { "SCRAM-SHA-256", "HT-SHA-256-NONE" } or nil })
      assert.is_true(conn:info().fast)
      assert(conn:stop())
      -- A token that was given over WebSocket isn't used over TCP.
      conn = keep(assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.host, s.port,
        s.opts { user_agent = agent })))
      assert.is_false(conn:info().fast)
    end)

    it("a session is resumed inside of the login", function()
      local p, url = behind_proxy()
      local conn = login("alice", { bind2 = true, reconnect = SOON }, url)
      assert(conn:ping(30))
      p:tell "cut rst"
      turn_until(function() return conn:state() == "ready" and conn:info().resumed == 1 end, "a resumption")
      assert.is_true(conn:info().bound_inline)
      assert(conn:ping(30))
    end)
  end

  if s.name:find "^ejabberd" then
    describe("by the domain's host-meta", function()
      local hostmeta = require "xmpp.hostmeta"
      local fetch, opts_were = hostmeta.fetch, nil

      -- Here the domain's web server has another port; all else is as usual.
      before_each(function()
        hostmeta.fetch = function(domain, opts)
          opts_were = opts
          opts.port, opts.resolve = s.http_port, "127.0.0.1"
          return fetch(domain, opts)
        end
      end)
      after_each(function() hostmeta.fetch = fetch end)

      it("the URL is found, and connected to", function()
        local conn = login("alice", nil, "host-meta")
        assert.equal(s.wss, conn:info().url)
        assert(conn:ping(30))
        assert.same({ s.ca, 15 }, { opts_were.ca_file, opts_were.timeout })
      end)

      it("the web server's certificate has to be right", function()
        local conn, err = xmpp.connect_client("alice@" .. s.domain, s.users.alice, { url = "host-meta", timeout = 8 })
        assert.is_nil(conn)
        assert.equal("http", err.layer)
        assert.matches("^asking xmpp%.test for its WebSocket %(host%-meta%): ", err.text)
        assert.equal(4, opts_were.timeout)
      end)

      it("no usable URL is an error", function()
        hostmeta.fetch = function() return { websocket = {}, bosh = { "https://xmpp.test/bosh" } } end
        local conn, err = xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.opts { url = "host-meta" })
        assert.is_nil(conn)
        assert.same({ "websocket", "not-found", false }, { err.layer, err.condition, err.retry })
        hostmeta.fetch = function() return { websocket = { "wss://xmpp.test/a b", "wss://" }, bosh = {} } end
        conn, err = xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.opts { url = "host-meta" })
        assert.is_nil(conn)
        assert.equal("not-found", err.condition)
      end)
    end)
  end
end, { websocket = "yes" }, SERVERS)

describe("a play over WebSocket", function()
  local certs

  setup(function() certs = peer.certs() end)
  teardown(managed.remove)

  local function play(text) return keep(peer.play(text, { certs = certs, timeout = 60, limit = 120 })) end

  local function url_of(p) return ("wss://127.0.0.1:%d/ws"):format(p.port) end

  local function connect(p, opts)
    return xmpp.connect_client("alice@xmpp.test", "alicepw",
      with({ url = url_of(p), ca_file = p.ca, pipelining = false, resource = "desk" }, opts))
  end

  it("redirects to another URL, which is followed if allowed", function()
    local there = play(peer.web_session())
    local uri = url_of(there)
    local text = ([[
      tls
      websocket
      C: <open xmlns='%s' .../>
      S: <close xmlns='%s' see-other-uri='%s'/>
    ]]):format(FRAMING, FRAMING, uri)
    local conn, err = connect(play(text))
    assert.is_nil(conn)
    assert.same({ "stream", "see-other-host" }, { err.layer, err.condition })
    assert.matches("to go there, set see_other_host = true", err.text)
    conn = keep(assert(connect(play(text), { see_other_host = true })))
    assert.equal("desk", conn:jid().resourcepart)
    there:check()
  end)

  it("redirects to wss:// only", function()
    for _, uri in ipairs { "ws://127.0.0.1:1/", "https://127.0.0.1:1/", "xmpp.test", "127.0.0.1:5222", "",
      "wss://127.0.0.1/" .. ("a"):rep(400) } do
      local conn, err = connect(play(([[
        tls
        websocket
        C: <open xmlns='%s' .../>
        S: <close xmlns='%s' see-other-uri='%s'/>
      ]]):format(FRAMING, FRAMING, uri)), { see_other_host = true })
      assert.is_nil(conn)
      assert.equal("see-other-host", err.condition)
      assert.matches("wss:// URLs", err.text)
    end
  end)

  it("with TCP's see-other-host isn't followed", function()
    local conn, err = connect(play(([[
      tls
      websocket
      C: <open xmlns='%s' .../>
      S: <open xmlns='%s' id='1' version='1.0'/>
      S: <stream:error xmlns:stream='http://etherx.jabber.org/streams'>
        <see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>127.0.0.1:1</see-other-host></stream:error>
    ]]):format(FRAMING, FRAMING)), { see_other_host = true })
    assert.is_nil(conn)
    assert.equal("see-other-host", err.condition)
  end)

  it("requires a certificate for the URL's host, the domain or tls_name", function()
    local p = play "tls cert=wrongname refused"
    local conn, err = connect(p)
    assert.is_nil(conn)
    assert.same({ "tls", "certificate-name-mismatch" }, { err.layer, err.condition })
    assert.matches("not for 127%.0%.0%.1 or xmpp%.test but for other%.example", err.text)
    p:check()
    p = play "tls cert=rsa refused"
    conn, err = connect(p, { tls_name = "other.example" })
    assert.is_nil(conn)
    assert.same({ "tls", "certificate-name-mismatch" }, { err.layer, err.condition })
    p:check()
    p = play("tls cert=srvname\n" .. peer.web_session():gsub("^tls\n", ""))
    assert.equal("desk", keep(assert(connect(p))):jid().resourcepart)
    p:check()
    p = play("tls cert=wrongname\n" .. peer.web_session():gsub("^tls\n", ""))
    assert.equal("desk", keep(assert(connect(p, { tls_name = "other.example" }))):jid().resourcepart)
    p:check()
  end)

  it("ends in order: <close/> both ways, then the WebSocket", function()
    local p = play(peer.web_session() .. ([[
      C: <close xmlns='%s'/>
      S: <close xmlns='%s'/>
      match \[close 1000\]
      eof
    ]]):format(FRAMING, FRAMING))
    local conn = assert(connect(p))
    assert(conn:stop())
    p:check()
  end)

  it("reconnects after the server's close frame", function()
    local again = ("\nreset\naccept\n") .. peer.web_session()
    local p = play(peer.web_session() .. "raw \\x88\\x02\\x03\\xe9\nmatch \\[close 1001\\]" .. again)
    local states
    local conn = keep(assert(connect(p, { reconnect = SOON, on_open = function(c) states = managed.states(c) end })))
    turn_until(function() return conn:info().rebound == 1 end, "another session")
    assert.same({ "websocket", "close-1001" }, { states.why.waiting.layer, states.why.waiting.condition })
    p:check()
  end)

  it("waits out a web server's later refusals, since it may be a captive portal", function()
    local p = play(peer.web_session() .. "cut\naccept\ntls\nraw HTTP/1.1 403 Forbidden\\r\\n\\r\\n\naccept\n"
      .. peer.web_session())
    local states
    local conn = keep(assert(connect(p, { reconnect = SOON, on_open = function(c) states = managed.states(c) end })))
    turn_until(function() return conn:info().rebound == 1 end, "another session")
    assert.same({ "websocket", "http-403" }, { states.why.waiting.layer, states.why.waiting.condition })
    p:check()
  end)

  it("keeps an idle connection open by pings", function()
    local p = play(peer.web_session() .. "match (?:<iq.*?</iq>|\\[ping \\])*\\[ping \\]\n"
      .. "S: <message><body>heard</body></message>\n")
    local conn = keep(assert(connect(p, { keepalive = 0.1 })))
    assert.equal("heard", xexpr.text(assert(conn:receive_blocking(60)), "body"))
    p:check()
  end)

  it("doesn't resend a stanza for which the server closed it", function()
    local body = ("x"):rep(20000)
    local p = play(peer.web_session()
      .. "match <message .*</message>\nraw \\x88\\x02\\x03\\xf1\nmatch \\[close 1009\\]\nreset\n"
      .. "accept\n" .. peer.web_session() .. "match <message [^>]*><body>small</body></message>\n")
    local conn = keep(assert(connect(p, { reconnect = SOON })))
    local n = managed.notebook()
    assert(conn:send({ "message", {}, { "body", body } }, n.of "large"))
    turn_until(function() return conn:info().rebound == 1 end, "another session")
    assert.matches("failed$", n.large)
    assert(conn:send { "message", {}, { "body", "small" } })
    assert(conn:flush(10))
    p:check()
  end)

  it("masks passwords in the log", function()
    local log, heard = ear()
    local p = play(peer.web_session())
    keep(assert(connect(p, { log = log })))
    assert.matches("<auth [^>]*>%[masked%]</auth>", heard.out)
    p:check()
  end)
end)

describe("an unreachable URL", function()
  it("is an error of its layer", function()
    local conn, err = xmpp.connect_client("alice@xmpp.test", "x", { url = "wss://127.0.0.1:1/ws" })
    assert.is_nil(conn)
    assert.equal("tcp", err.layer)
    conn, err = xmpp.connect_client("alice@xmpp.test", "x", { url = "wss://nowhere.invalid/ws", timeout = 5 })
    assert.is_nil(conn)
    assert.equal("dns", err.layer)
  end)
end)
