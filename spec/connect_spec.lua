-- connect: logging in, staying connected and being disconnected, with Prosody and with ejabberd.
local opened = require "spec.support.opened"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local keep, turn_until, refuses = opened.keep, opened.turn_until, stage.refuses

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
local STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

-- Alice logs in by SCRAM. After that the library doesn't send PLAIN for her, so Carol's login is used for that.
local carol_session = peer.session:gsub("alice", "carol")

local function dial(s, name, opts)
  return xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, s.opts(opts))
end

local function login(s, name, opts) return keep(assert(dial(s, name, opts))) end

local function ping(s, conn)
  local response = assert(conn:send_await({ "iq", { type = "get", to = s.domain }, PING }, 30))
  assert.equal("result", response[2].type)
end

-- `err` must have the values in `wanted`, and what every error has.
local function check_error(wanted, conn, err)
  assert.is_nil(conn)
  assert.is_table(err)
  assert.is_string(err.text)
  assert.is_boolean(err.retry)
  for field, value in pairs(wanted) do assert.equal(value, err[field], tostring(err)) end
  assert.equal(("%s: %s: %s"):format(err.layer, err.condition, err.text), tostring(err))
  return err
end

-- A log function for opts, and what it was called with: all that was sent, all that was received.
local function listener()
  local heard = { out = "", ["in"] = "" }
  return function(direction, text) heard[direction] = heard[direction] .. text end, heard
end

-- The SASL mechanism that was used; with or without channel binding it is the same family.
local function mechanism(heard) return (heard.out:match "mechanism='([^']*)'":gsub("%-PLUS$", "")) end

-- The pin of the certificate that `s` uses, computed with openssl.
local function pin_of(s, name)
  local command = ("openssl x509 -in '%s/%s.crt' -noout -pubkey | openssl pkey -pubin -outform DER"
    .. " | openssl dgst -sha256 -binary | openssl base64"):format(s.certs, name)
  return shell.succeed(command):match "%S+"
end

after_each(opened.stop_all)

server.each(function(s)
  describe("TLS", function()
    it("begins with STARTTLS", function()
      local log, heard = listener()
      ping(s, login(s, "alice", { log = log }))
      assert.matches("<starttls xmlns='urn:ietf:params:xml:ns:xmpp%-tls'/>", heard.out)
      assert.matches("<proceed", heard["in"])
    end)

    it("begins with the first byte with tls = \"direct\"", function()
      local log, heard = listener()
      local conn = keep(assert(xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.tls_port,
        s.opts { tls = "direct", log = log })))
      ping(s, conn)
      assert.is_nil(heard.out:find("starttls", 1, true))
    end)

    it("is checked against the JID's domain, whatever host was dialled", function()
      ping(s, keep(assert(xmpp.connect_client("alice@xmpp.test", s.users.alice, "localhost", s.port, s.opts()))))
      check_error({ layer = "tls", condition = "certificate-name-mismatch", retry = false },
        dial(s, "alice", { tls_name = "other.example" }))
    end)

    it("takes another name that tls_name says", function()
      ping(s, login(s, "alice", { tls_name = "localhost" }))
      ping(s, login(s, "alice", { tls_name = "127.0.0.1" }))
      ping(s, login(s, "alice", { tls_name = "wild.xmpp.test" }))
    end)

    it("needs the CA", function()
      local err = check_error({ layer = "tls", retry = false },
        xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.port))
      assert.matches("^certificate%-", err.condition)
      check_error({ layer = "tls", condition = "ca-file" }, dial(s, "alice", { ca_file = s.dir .. "/nothing.crt" }))
      check_error({ layer = "tls", condition = "ca-file" }, dial(s, "alice", { ca_file = s.certs .. "/rsa.key" }))
      check_error({ layer = "tls", condition = "ca-dir" },
        xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.port, { ca_dir = s.dir .. "/nothing" }))
    end)

    it("says why the CA's file can't be used", function()
      local _, err = dial(s, "alice", { ca_file = s.dir .. "/nothing.crt" })
      assert.matches("nothing%.crt", err.text)
      assert.matches("No such file", err.text)
    end)

    it("takes a pin, and refuses another key", function()
      ping(s, login(s, "alice", { pin = pin_of(s, "rsa") }))
      check_error({ layer = "tls", condition = "certificate-pin-mismatch", retry = false },
        dial(s, "alice", { pin = pin_of(s, "ec") }))
    end)

    it("is needed: tls = \"none\" fails if the server requires TLS", function()
      check_error({ layer = "sasl", condition = "no-mechanisms", retry = false },
        xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.port, { tls = "none" }))
    end)

    it("fails if the other side uses another protocol", function()
      check_error({ layer = "tls" }, dial(s, "alice", { tls = "direct" }))
      local err = check_error({}, xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.tls_port, s.opts()))
      assert.matches("^[st][tc][rp]", err.layer) -- the stream's or TCP's, depending on the server
    end)
  end)

  describe("SASL", function()
    it("takes the strongest mechanism that is offered", function()
      local log, heard = listener()
      ping(s, login(s, "alice", { log = log }))
      assert.equal(s.name == "prosody" and "SCRAM-SHA-256" or "SCRAM-SHA-512", mechanism(heard))
    end)

    it("takes only mechanisms that are allowed", function()
      local offered = { "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN" }
      if s.name == "ejabberd" then offered[#offered + 1] = "SCRAM-SHA-512" end
      for _, name in ipairs(offered) do
        local log, heard = listener()
        ping(s, login(s, name == "PLAIN" and "carol" or "alice", { mechanisms = { name }, log = log }))
        assert.equal(name, mechanism(heard))
      end
    end)

    it("sends no PLAIN with plain = false", function()
      local log, heard = listener()
      check_error({ layer = "sasl", condition = "invalid-mechanism", retry = false },
        dial(s, "carol", { plain = false, mechanisms = { "PLAIN" }, log = log }))
      assert.is_nil(heard.out:find("<auth", 1, true))
    end)

    it("sends no PLAIN to a server without a valid certificate", function()
      check_error({ layer = "sasl", condition = "invalid-mechanism", retry = false },
        dial(s, "carol", { verify = false, mechanisms = { "PLAIN" } }))
    end)

    it("reports a wrong password and an unknown user, by any mechanism", function()
      for _, name in ipairs { "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN" } do
        for _, who in ipairs { "carol@xmpp.test", "nobody@xmpp.test" } do
          check_error({ layer = "sasl", condition = "not-authorized", retry = false },
            xmpp.connect_client(who, "wrong", s.host, s.port, s.opts { mechanisms = { name } }))
        end
      end
    end)

    it("takes the password from a function, at the moment it is needed", function()
      local asked = 0
      keep(assert(xmpp.connect_client("alice@xmpp.test", function()
        asked = asked + 1
        return s.users.alice
      end, s.host, s.port, s.opts())))
      assert.equal(1, asked)
      check_error({ layer = "sasl", condition = "malformed-request" },
        xmpp.connect_client("alice@xmpp.test", function() end, s.host, s.port, s.opts()))
    end)

    it("refuses a password that can't be one", function()
      for _, password in ipairs { "", "a\0b", "\255" } do
        check_error({ layer = "sasl", condition = "malformed-request", retry = false },
          xmpp.connect_client("alice@xmpp.test", password, s.host, s.port, s.opts()))
      end
    end)

    it("leaves no secret in the log", function()
      for who, name in pairs { alice = "SCRAM-SHA-256", carol = "PLAIN" } do
        for _, sasl2 in ipairs { false, true } do -- older releases of a server don't have it
          local log, heard = listener()
          local conn = login(s, who, { mechanisms = { name }, log = log, sasl2 = sasl2 })
          local element = conn:info().profile == "sasl2" and "<authenticate%s" or "<auth%s"
          local all = heard.out .. heard["in"]
          assert.matches(element, all)
          for _, secret in ipairs { "alicepw", "carolpw", "AGNhcm9sAGNhcm9scHc", "Y2Fyb2xwdw" } do
            assert.is_nil(all:find(secret, 1, true))
          end
          for text in all:gmatch(element .. "[^>]*>([^<]*)<") do assert.equal("[masked]", text) end
          for text in all:gmatch "<challenge[^>]*>([^<]*)<" do assert.equal("[masked]", text) end
        end
      end
    end)
  end)

  describe("the resource", function()
    it("is the one asked for, in the JID or in opts", function()
      local conn = keep(assert(xmpp.connect_client("alice@xmpp.test/Desk", s.users.alice, s.host, s.port, s.opts())))
      assert.equal("alice@xmpp.test/Desk", tostring(conn:jid()))
      assert.equal("alice@xmpp.test/Büro/2 ☃", tostring(login(s, "alice", { resource = "Büro/2 ☃" }):jid()))
    end)

    it("is lua- and random characters by default", function()
      local one, other = login(s, "alice"):jid(), login(s, "alice"):jid()
      for _, jid in ipairs { one, other } do assert.matches("^lua%-[%w_-]+$", jid.resourcepart) end
      assert.not_equal(one.resourcepart, other.resourcepart)
    end)

    it("that somebody takes over ends the first connection with conflict", function()
      local first = login(s, "alice", { resource = "desk" })
      login(s, "alice", { resource = "desk" })
      local err = check_error({ layer = "closed", condition = "conflict", retry = false }, first:receive_blocking(30))
      assert.matches("conflict", err.text)
    end)
  end)

  describe("a host", function()
    it("that does not serve the domain says so", function()
      check_error({ layer = "stream", condition = "host-unknown", retry = false },
        xmpp.connect_client("alice@other.example", "alicepw", s.host, s.port, s.opts()))
    end)

    it("may be given by name and by address", function()
      for _, host in ipairs { "localhost", "127.0.0.1" } do
        ping(s, keep(assert(xmpp.connect_client("alice@xmpp.test", s.users.alice, host, s.port, s.opts()))))
      end
    end)
  end)

  describe("a component", function()
    local function connect(domain, secret)
      return xmpp.connect_component(s.host, s.component_port, domain, secret)
    end

    it("is let in, sends and receives as anybody in its domain", function()
      local conn, alice = keep(assert(connect(s.component, s.secret))), login(s, "alice")
      assert.equal(s.component, tostring(conn:jid()))
      assert(alice:send { "message", { to = "x@" .. s.component .. "/y" }, { "body", "Hi" } })
      local stanza = assert(conn:receive_blocking(30))
      assert.equal("x@" .. s.component .. "/y", stanza[2].to)
      assert.equal(tostring(alice:jid()), stanza[2].from)
      assert(conn:send(xexpr.reply(stanza, { "body", "Hello" })))
      local answer = assert(alice:receive_blocking(30))
      assert.equal("Hello", xexpr.text(answer, "body"))
      assert.equal("x@" .. s.component .. "/y", answer[2].from)
    end)

    it("asks and is answered", function()
      local conn, alice = keep(assert(connect(s.component, s.secret))), login(s, "alice")
      alice:set_callback(function(stanza) alice:send(xexpr.reply(stanza)) end, { name = "iq", type = "get" })
      alice:set_handler()
      local response = assert(conn:send_await({ "iq", { type = "get", to = tostring(alice:jid()),
        from = "x@" .. s.component }, PING }, 30))
      assert.equal("result", response[2].type)
      assert.equal("x@" .. s.component, response[2].to)
    end)

    it("answers an iq that its handler ignores", function()
      local conn, alice = keep(assert(connect(s.component, s.secret))), login(s, "alice")
      conn:set_handler(function() end)
      local response = assert(alice:send_await({ "iq", { type = "get", to = "x@" .. s.component }, PING }, 30))
      assert.equal("error", response[2].type)
      assert.truthy(xexpr.child(xexpr.child(response, "error"), "service-unavailable", STANZAS))
    end)

    it("with a wrong secret, or of an unknown host, is refused", function()
      check_error({ layer = "stream", condition = "not-authorized", retry = false }, connect(s.component, "wrong"))
      check_error({ layer = "stream", retry = false,
        condition = s.name == "prosody" and "host-unknown" or "not-authorized" }, connect("other.xmpp.test", s.secret))
    end)

    it("is no client: a JID with a localpart can't be one", function()
      check_error({ layer = "stanza", condition = "jid-malformed", retry = false }, connect("a@b.example", s.secret))
      check_error({ layer = "stanza", condition = "jid-malformed", retry = false }, connect("b.example/c", s.secret))
    end)
  end)

  describe("alice and bob", function()
    local function body(stanza) return xexpr.text(stanza, "body") end

    -- U+0800 and above.
    local function utf8(c)
      local tail = string.char(0x80 + math.floor(c / 64) % 64, 0x80 + c % 64)
      if c < 0x10000 then return string.char(0xE0 + math.floor(c / 4096)) .. tail end
      return string.char(0xF0 + math.floor(c / 262144), 0x80 + math.floor(c / 4096) % 64) .. tail
    end

    local function say(from, to, text)
      assert(from:send { "message", { to = tostring(to:jid()), type = "chat" }, { "body", text } })
    end

    it("talk", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      say(alice, bob, "Hi, Bob")
      local stanza = assert(bob:receive_blocking(30))
      assert.equal("message", stanza[1])
      assert.equal(tostring(alice:jid()), stanza[2].from)
      assert.equal("Hi, Bob", body(stanza))
      say(bob, alice, "Hi, Alice")
      assert.equal("Hi, Alice", body(assert(alice:receive_blocking(30))))
    end)

    it("see each other's presence", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      assert(alice:send { "presence", { to = tostring(bob:jid()) }, { "show", "away" }, { "status", "At lunch" } })
      local stanza = assert(bob:receive_blocking(30))
      assert.equal("presence", stanza[1])
      assert.equal("away", xexpr.text(stanza, "show"))
      assert.equal("At lunch", xexpr.text(stanza, "status"))
      alice:stop()
      stanza = assert(bob:receive_blocking(30))
      assert.equal("unavailable", stanza[2].type)
    end)

    it("write in characters of every plane", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local text = "naïve שלום 漢字 👩‍🚀 e\204\129 & < > ]]> ' \" \n\t."
      for plane = 0, 16 do text = text .. utf8(plane * 0x10000 + 0x3042) .. utf8(plane * 0x10000 + 0xFFFD) end
      say(alice, bob, text)
      assert.equal(text, body(assert(bob:receive_blocking(30))))
    end)

    it("send a body of 200 KB", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local text = ("0123456789 äöü &"):rep(11000):sub(1, 200000)
      say(alice, bob, text)
      assert.is_true(text == body(assert(bob:receive_blocking(30))), "another text")
    end)

    it("send 1,000 messages, which come in order", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local seen = {}
      bob:set_handler(function(stanza) seen[#seen + 1] = tonumber(body(stanza)) end)
      for i = 1, 1000 do say(alice, bob, tostring(i)) end
      for n = 50, 1000, 50 do -- ejabberd on a machine that has no time for it takes some 20 a second
        turn_until(function() return #seen >= n end, ("message %d of 1,000"):format(n))
      end
      for i = 1, 1000 do assert.equal(i, seen[i]) end
    end)

    it("ask the server what it is", function()
      local conn = login(s, "alice")
      local response = assert(conn:send_await({ "iq", { type = "get", to = s.domain },
        { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } }, 30))
      local is_server = xexpr.match { "iq", { type = "result" }, { "query",
        { "identity", { category = "server", type = "im" } }, { "feature", { var = "urn:xmpp:ping" } } } }
      assert.is_true(is_server(response))
    end)

    it("connect at once, in two coroutines", function()
      local story, conns = {}, {}
      for _, name in ipairs { "alice", "bob" } do
        xmpp.spawn(function()
          story[#story + 1] = "begin"
          conns[name] = login(s, name)
          story[#story + 1] = "end"
        end)
      end
      turn_until(function() return conns.alice and conns.bob end, "both")
      assert.same({ "begin", "begin", "end", "end" }, story)
      xmpp.spawn(say, conns.alice, conns.bob, "from a coroutine")
      assert.equal("from a coroutine", body(assert(conns.bob:receive_blocking(30))))
    end)
  end)

  describe("stop", function()
    it("in a coroutine, while another one waits, ends both", function()
      local conn = login(s, "alice")
      local got, stopped
      xmpp.spawn(function() got = { conn:receive_blocking() } end)
      xmpp.spawn(function() stopped = conn:stop() end)
      turn_until(function() return got and stopped end, "both")
      assert.equal("closed", got[2].layer)
      assert.equal("closed", conn:state())
    end)

    it("in a handler only marks, and then ends the connection", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      local calls, stopped = 0, nil
      bob:set_handler(function(_, conn)
        calls = calls + 1
        stopped = conn:stop()
      end)
      for _ = 1, 3 do assert(alice:send { "message", { to = tostring(bob:jid()) }, { "body", "stop" } }) end
      turn_until(function() return stopped ~= nil end, "the end")
      assert.is_true(stopped)
      assert.is_true(calls >= 1)
    end)

    it("tells the others that one is gone", function()
      local alice, bob = login(s, "alice"), login(s, "bob")
      bob:stop()
      assert(alice:send { "iq", { type = "get", id = "gone", to = tostring(bob:jid()) }, PING })
      assert.equal("error", assert(alice:receive_blocking(30))[2].type)
    end)
  end)

  describe("a server", function()
    -- Waits for something in every possible way; `ended()`: all of it is over, with the results in `got`.
    local function wait_in_every_way(conn, bob)
      local got, left = {}, 3
      local function finish(name, ...)
        got[name] = { ... }
        left = left - 1
      end
      local question = { "iq", { type = "get", to = tostring(bob:jid()) }, PING }
      xmpp.spawn(function() finish("receive_blocking", conn:receive_blocking()) end)
      xmpp.spawn(function() finish("send_await", conn:send_await(question, math.huge)) end)
      assert(conn:send_callback(question, function(stanza, _, err) finish("send_callback", stanza, err) end, math.huge))
      assert(bob:send_await({ "iq", { type = "get", to = s.domain }, PING }, 30))
      return got, function() return left == 0 end
    end

    local function check_ends(killed)
      local opts = { resume = false } -- to a client that could resume Prosody says nothing
      local alice, bob = login(s, "alice", opts), login(s, "bob", opts)
      local got, ended = wait_in_every_way(alice, bob)
      turn_until(function() return bob:info().queued >= 2 end, "both requests to reach Bob")
      s:restart(killed)
      turn_until(ended, "the end of all waits")
      for _, results in pairs(got) do check_error({ layer = "closed", retry = true }, results[1], results[2]) end
      check_error({ layer = "closed" }, alice:send { "presence" })
      check_error({ layer = "closed" }, alice:receive())
      assert.equal("iq", assert(bob:receive_blocking())[1]) -- what had been received before
      assert.equal("iq", assert(bob:receive_blocking())[1])
      check_error({ layer = "closed" }, bob:receive_blocking())
      ping(s, login(s, "alice"))
      return got.send_await[2]
    end

    it("that dies ends everything that waits", function()
      local err = check_ends(true)
      local by = { EOF = true, ECONNRESET = true, EPIPE = true } -- depending on whether reading or writing fails first
      assert.truthy(by[err.condition], tostring(err))
    end)

    if s.name == "prosody" then -- ejabberd just closes the connection
      it("that is shut down says so", function() assert.equal("system-shutdown", check_ends(false).condition) end)
    end
  end)
end)

server.each(function(s)
  it("TLS 1.2, SCRAM-SHA-256 and nothing else, a certificate with nothing but SRVName and xmppAddr", function()
    for _, opts in ipairs { { tls = "starttls", port = s.port }, { tls = "direct", port = s.tls_port } } do
      local log, heard = listener()
      opts.log = log
      ping(s, keep(assert(xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.opts(opts)))))
      assert.equal("SCRAM-SHA-256", mechanism(heard))
    end
    check_error({ layer = "sasl", condition = "invalid-mechanism", retry = false },
      dial(s, "alice", { mechanisms = { "PLAIN", "SCRAM-SHA-1" } }))
    check_error({ layer = "sasl", condition = "not-authorized", retry = false },
      xmpp.connect_client("alice@xmpp.test", "wrong", s.host, s.port, s.opts()))
    check_error({ layer = "tls", condition = "certificate-name-mismatch" },
      dial(s, "alice", { tls_name = "localhost" }))
  end)
end, { tls_protocol = "1.2", auth = "SHA-256", without = "PLAIN", cert = "srvname" })

server.each(function(s)
  it("TLS 1.3, a key on an elliptic curve, PLAIN where nothing better is offered, unless it is forbidden", function()
    local log, heard = listener()
    ping(s, login(s, "carol", { log = log, pin = pin_of(s, "ec") }))
    assert.equal("PLAIN", mechanism(heard))
    local err = check_error({ layer = "sasl", condition = "invalid-mechanism", retry = false },
      dial(s, "carol", { plain = false }))
    assert.matches("PLAIN", err.text)
    check_error({ layer = "sasl", condition = "invalid-mechanism" }, dial(s, "carol", { verify = false }))
    check_error({ layer = "sasl", condition = "not-authorized", retry = false },
      xmpp.connect_client("carol@xmpp.test", "wrong", s.host, s.port, s.opts()))
  end)
end, { tls_protocol = "1.3", auth = "SHA-1", offer = "PLAIN", cert = "ec" })

-- Refused with STARTTLS and with direct TLS, before the login begins; verify = false accepts it.
local function check_refused(s, name, condition, text)
  local log, heard = listener()
  for _, opts in ipairs { { tls = "starttls", port = s.port }, { tls = "direct", port = s.tls_port } } do
    opts.log = log
    local err = check_error({ layer = "tls", condition = condition, retry = false },
      xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.opts(opts)))
    assert.truthy(err.text:find(text, 1, true), err.text)
  end
  assert.is_nil(heard.out:find("<auth", 1, true))
  ping(s, login(s, "alice", { verify = false }))
  ping(s, login(s, "alice", { verify = false, pin = pin_of(s, name) }))
  check_error({ layer = "tls", condition = "certificate-pin-mismatch" },
    dial(s, "alice", { verify = false, pin = pin_of(s, "client") }))
end

server.each(function(s)
  it("a certificate that has expired", function()
    check_refused(s, "expired", "certificate-expired", "until 2020-02-01 00:00:00 UTC")
  end)

  it("a certificate that isn't looked at, of which it tells how long it is good all the same", function()
    local conn = login(s, "alice", { verify = false })
    local info = conn:info()
    assert.is_true(info.certificate_seconds < -6 * 365 * 86400)
    local took = info.took
    for _, phase in ipairs { "dns", "tcp", "tls", "login" } do assert.is_true(took[phase] >= 0 and took[phase] < 30) end
    assert.is_true(took.tls + took.login > 0)
  end)

  it("no TLS at a loopback address, if PLAIN isn't used", function()
    local log, heard = listener()
    local function connect(opts)
      return xmpp.connect_client("alice@xmpp.test", s.users.alice, s.host, s.port, opts)
    end
    ping(s, keep(assert(connect { tls = "none", log = log })))
    assert.matches("^SCRAM%-", mechanism(heard))
    assert.is_nil(heard.out:find("starttls", 1, true))
    check_error({ layer = "sasl", condition = "invalid-mechanism" }, connect { tls = "none", mechanisms = { "PLAIN" } })
  end)
end, { cert = "expired", require_tls = "no" })

for name, wanted in pairs {
  wrongname = { "certificate-name-mismatch", "other.example" },
  selfsigned = { "certificate-self-signed", "CN=selfsigned" },
  wrongca = { "certificate-unknown-issuer", "ca_file" },
} do
  server.each(function(s)
    it("a certificate that is " .. name, function() check_refused(s, name, wanted[1], wanted[2]) end)
  end, { cert = name }, { "prosody" })
end

describe("a host that can't be reached", function()
  it("refuses the connection", function()
    local err = check_error({ layer = "tcp", condition = "ECONNREFUSED", retry = true },
      xmpp.connect_client("alice@xmpp.test", "alicepw", "127.0.0.1", 1))
    assert.matches("127%.0%.0%.1", err.text)
    check_error({ layer = "tcp", condition = "ECONNREFUSED" },
      xmpp.connect_component("127.0.0.1", 1, "echo.xmpp.test", "secret"))
  end)

  it("has a name that doesn't exist", function() -- .onion: by RFC 7686 every resolver must say so at once
    check_error({ layer = "dns" }, xmpp.connect_client("alice@nobody.onion", "alicepw"))
    check_error({ layer = "dns" }, xmpp.connect_client("alice@xmpp.test", "alicepw", "nobody.onion", 5222))
    local err = check_error({ layer = "dns" }, xmpp.connect_client("alice@xmpp.test", "alicepw", "nobody.onion"))
    assert.matches("nobody%.onion", err.text)
  end)

  it("is looked up at a name server that is not there", function()
    check_error({ layer = "dns" }, xmpp.connect_client("alice@nobody.invalid", "alicepw",
      { nameservers = "127.0.0.1:1" }))
  end)

  -- Names as Docker and content networks use them. (spec/discovery_spec tests that they can be resolved.)
  it("isn't bad-host only because no JID's domain has such a name", function()
    for _, host in ipairs { "xmpp_prosody_1.invalid", "r3---sn-x.invalid", "_a.invalid", "-a-.invalid" } do
      local _, err = xmpp.connect_client("alice@xmpp.test", "alicepw", host,
        { nameservers = "127.0.0.1:1", timeout = 5 })
      assert.are_not.equal("bad-host", err.condition)
    end
    for _, host in ipairs { "fe80::1%no-such-one", "[fe80::1%no-such-one]" } do
      check_error({ layer = "dns", condition = "ENODEV", retry = true },
        xmpp.connect_client("alice@xmpp.test", "alicepw", host))
    end
  end)

  it("is bad-host if it is malformed, and a JID is refused as well", function()
    for _, host in ipairs { "", "a b", "user@example.net", "example.net/x", "a..b", ".a", "\255", "a\0b", "a:1", "x%lo",
      "fe80::1::2%lo", "fe80::1%", "fe80::1%a b", "fe80::1%a/b", "fe80::1%" .. ("x"):rep(16), "192.0.2.1%lo", "[x]",
      "[fe80::1%]", "[fe80::1%lo", "[fe80::1%lo\0]", "[192.0.2.1%lo]" } do
      check_error({ layer = "dns", condition = "bad-host", retry = false },
        xmpp.connect_client("alice@xmpp.test", "alicepw", host))
      check_error({ layer = "dns", condition = "bad-host", retry = false },
        xmpp.connect_component(host, 5347, "echo.xmpp.test", "secret"))
    end
    for _, jid in ipairs { "", "@xmpp.test", "alice@", "alice@xmpp.test/", "a b@xmpp.test", "alice@a@b", "xmpp.test",
      "\255@xmpp.test", ("x"):rep(1024) .. "@xmpp.test" } do
      local err = check_error({ layer = "stanza", condition = "jid-malformed", retry = false },
        xmpp.connect_client(jid, "alicepw", "127.0.0.1", 1))
      assert.is_nil(err.text:find(": $"), "no reason: " .. err.text)
    end
    for _, resource in ipairs { "", "\0", ("x"):rep(1024) } do
      check_error({ layer = "stanza", condition = "jid-malformed", retry = false },
        xmpp.connect_client("alice@xmpp.test", "alicepw", "127.0.0.1", 1, { resource = resource }))
    end
  end)
end)

describe("a peer that says nothing", function()
  -- Connects to a server that doesn't answer in time. Returns how long it took, in seconds.
  local function connect_within(play, opts)
    local p = peer.play(play)
    finally(function() p:stop() end)
    opts.ca_file = p.ca
    local began = os.time()
    local err = check_error({ layer = "timeout", condition = "timeout", retry = true },
      xmpp.connect_client("carol@xmpp.test", "carolpw", p.host, p.port, opts))
    assert.is_true(os.time() - began < 10, "too late")
    p:check()
    return err.text
  end

  it("is given up after the timeout, and the error tells what was waited for", function()
    assert.matches("stream header", connect_within("C: <stream:stream ...>\neof", { timeout = 0.2 }))
    assert.matches("TLS handshake", connect_within("match \\x16.*\neof", { timeout = 0.2, tls = "direct" }))
    assert.matches("stream features", connect_within([[
      C: <stream:stream ...>
      S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='peer' version='1.0'>
      eof]], { timeout = 0.2 }))
    assert.matches("resource", connect_within(peer.starttls .. peer.plain
      .. peer.stream "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>" .. "C: <iq ...>...</iq>\neof", { timeout = 3 }))
  end)

  it("nothing relevant is given up, too, however much it sends", function()
    local p = peer.play([[
      C: <stream:stream ...>
      S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='peer' version='1.0'>
      pieces 1 0.05
      S: <stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>]])
    finally(function() p:stop() end)
    check_error({ layer = "timeout", condition = "timeout" },
      xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, { timeout = 0.3 }))
  end)

  it("doesn't delay others", function()
    local p = peer.play "C: <stream:stream ...>\neof"
    local ticks, err = 0, nil
    local timer = xmpp.every(0.01, function() ticks = ticks + 1 end)
    xmpp.spawn(function()
      err = select(2, xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, { timeout = 0.3 }))
    end)
    turn_until(function() return err end, "the timeout")
    timer:cancel()
    assert.is_true(ticks > 1)
    p:check()
  end)

  it("never ends its stream: stop returns after its timeout", function()
    local p = peer.play(carol_session .. "C: </stream:stream>\neof")
    local conn = assert(xmpp.connect_client("carol@xmpp.test", "carolpw", p.host, p.port, { ca_file = p.ca }))
    local ok, err = conn:stop(0.1)
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.equal("timeout", err.condition)
    assert.equal("closed", conn:state())
    p:check()
  end)
end)

describe("keepalive", function()
  it("is a space now and then where nothing else is sent", function()
    local p = peer.play(carol_session .. [[
      match [ ]
      match [ ]
      S: <message><body>still there</body></message>
      C: </stream:stream>
      S: </stream:stream>]])
    local conn = keep(assert(xmpp.connect_client("carol@xmpp.test", "carolpw", p.host, p.port,
      { ca_file = p.ca, keepalive = 0.05 })))
    assert.equal("still there", xexpr.text(assert(conn:receive_blocking(30)), "body"))
    conn:stop()
    p:check()
  end)

  it("is off with 0", function()
    local p = peer.play(carol_session .. [[
      silence 0.3
      S: <message><body>quiet</body></message>
      C: </stream:stream>
      S: </stream:stream>]])
    local conn = keep(assert(xmpp.connect_client("carol@xmpp.test", "carolpw", p.host, p.port,
      { ca_file = p.ca, keepalive = 0 })))
    assert.equal("quiet", xexpr.text(assert(conn:receive_blocking(30)), "body"))
    conn:stop()
    p:check()
  end)
end)

describe("a mistake of the caller's", function()
  local client, component = xmpp.connect_client, xmpp.connect_component
  local J, P, H = "alice@xmpp.test", "alicepw", "127.0.0.1"

  it("in the arguments of connect_client raises at the caller's line", function()
    refuses("#1 to 'connect_client' (string expected, got nil)", function() return (client()) end)
    refuses("#1 to 'connect_client' (string expected, got table)", function() return (client({}, P)) end)
    refuses("#2 to 'connect_client' (string or function expected, got nil)", function() return (client(J)) end)
    refuses("#2 to 'connect_client' (string or function expected, got number)", function() return (client(J, 1)) end)
    refuses("#3 to 'connect_client' (string expected, got number)", function() return (client(J, P, 5222)) end)
    refuses("#4 to 'connect_client' (port number expected", function() return (client(J, P, H, "5222")) end)
    refuses("port from 1 to 65535 expected, got 0", function() return (client(J, P, H, 0)) end)
    refuses("port from 1 to 65535 expected, got 65536", function() return (client(J, P, H, 65536)) end)
    refuses("port from 1 to 65535 expected, got 1.5", function() return (client(J, P, H, 1.5)) end)
    refuses("table expected, got string", function() return (client(J, P, H, 5222, "starttls")) end)
  end)

  it("in the arguments of connect_component, too", function()
    refuses("#1 to 'connect_component' (string expected, got nil)", function() return (component()) end)
    refuses("#2 to 'connect_component' (number expected, got nil)", function() return (component(H)) end)
    refuses("#2 to 'connect_component' (port number expected", function() return (component(H, "5347", "a", P)) end)
    refuses("#2 to 'connect_component' (port from 1", function() return (component(H, -1, "a", P)) end)
    refuses("#3 to 'connect_component' (string expected, got nil)", function() return (component(H, 5347)) end)
    refuses("#4 to 'connect_component' (string or function", function() return (component(H, 5347, "a")) end)
  end)

  it("in an option names it, and suggests the nearest for an unknown one", function()
    refuses("no option 'cafile'; did you mean 'ca_file'?", function() return (client(J, P, { cafile = "x" })) end)
    refuses("no option 'timout'; did you mean 'timeout'?", function() return (client(J, P, H, { timout = 1 })) end)
    refuses("no option 'mechanism'", function() return (component(H, 1, "a", P, { mechanism = "PLAIN" })) end)
    refuses("options are named, as in { timeout = 10 }: there is no place for a key of type number",
      function() return (client(J, P, { "x" })) end)
    for name, value in pairs { tls = "no", ca_file = 1, ca_dir = true, tls_name = 1, pin = 1, cert = 1, key = 1,
      verify = "no", mechanisms = "PLAIN", plain = 0, resource = 1, lang = 1, timeout = 0, await_timeout = -1,
      keepalive = -1, max_stanza = 0, max_depth = 0, max_attributes = "1", max_nodes = 0, max_start_tag = 10,
      max_namespace = 10, max_queue = 0, log = "yes",
      host = 1, port = 0 } do
      refuses("bad option '" .. name .. "'", function() return (client(J, P, { [name] = value })) end)
    end
    refuses("FOO", function() return (client(J, P, { mechanisms = { "PLAIN", "FOO" } })) end)
  end)

  it("in a method raises, too", function()
    local fed = require "spec.support.fed"
    local conn = fed.open({ jid = "alice@xmpp.test/here" }).conn
    refuses("connection expected, got nil", function() xmpp.stop() end)
    refuses("xmpp.Conn expected, got table", function() xmpp.send({}, { "presence" }) end)
    refuses("xmpp.Conn expected, got string", function() xmpp.receive("conn") end)
    refuses("seconds expected, got string", function() conn:stop("now") end)
    refuses("seconds expected, got -1", function() conn:receive_blocking(-1) end)
    refuses("stanza[2].to: string expected, got boolean", function() conn:send { "presence", { to = true } } end)
    refuses("bad argument #2 to 'send' (send has no option 'of'; it has 'on' and 'session')",
      function() conn:send({ "presence" }, { of = print }) end)
    refuses("bad argument #3 to 'send' (on: function expected, got string)",
      function() xmpp.send(conn, { "presence" }, { on = "print" }) end)
    refuses("bad argument #2 to 'send' (session: boolean expected, got number)",
      function() conn:send({ "presence" }, { session = 1, on = print }) end)
    refuses("bad argument #2 to 'send' (table expected, got function)",
      function() conn:send({ "presence" }, print) end)
    refuses("stanza[2].to: string", function() conn:send_await({ "presence", { to = true } }, 5) end)
    refuses("stanza[2].to: string", function() conn:send_callback({ "presence", { to = true } }, print, 5) end)
    refuses("table expected, got nil", function() conn:send_await() end)
    refuses("function expected, got nil", function() conn:send_callback { "presence" } end)
    refuses("function expected, got string", function() conn:set_callback "print" end)
    refuses("function expected, got nil", function() xmpp.set_callback_once(conn, nil) end)
    refuses("function expected, got no value", function() conn:unset_callback() end)
  end)
end)
