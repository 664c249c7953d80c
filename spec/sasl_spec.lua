-- sasl: logging in to Prosody and ejabberd by everything that they offer: with channel binding and without, by
-- certificate, anonymously; and that an attacker in between gains nothing. By RFC 6120's SASL, even if the server has
-- SASL2 (for that see sasl2_spec). c/test/t_sasl_matrix.c tests what no real server sends.
local child = require "spec.support.child"
local offer = require "spec.support.offer"
local opened = require "spec.support.opened"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local PLUS = { "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS" }

after_each(opened.stop_all)

-- server.each, but s.opts() turns SASL2 off.
local function each(body, knobs, names)
  server.each(function(s)
    local options = s.opts
    function s.opts(extra)
      local opts = options(extra)
      opts.sasl2 = false
      return opts
    end
    body(s)
  end, knobs, names)
end

-- A log for opts, and what was sent.
local function listener()
  local heard = { out = "" }
  return function(direction, text)
    if direction == "out" then heard.out = heard.out .. text end
  end, heard
end

-- Connects as `who`; `heard` is the log.
local function dial(s, who, opts)
  local log, heard = listener()
  opts = s.opts(opts)
  opts.log = log
  local conn, err = xmpp.connect_client(who .. "@" .. s.domain, s.users[who], s.host, opts.port or s.port, opts)
  opened.keep(conn)
  return conn, err, heard
end

-- What a connection's info says of the login.
local function told(conn)
  local info = conn:info()
  return { tls_version = info.tls_version, mechanism = info.mechanism, channel_binding = info.channel_binding }
end

-- Logs in. Returns told(conn). The mechanism must also be the only one that was sent; with `after_plus`, the same with
-- -PLUS was refused before it.
local function login(s, who, opts, after_plus)
  local conn, err, heard = dial(s, who, opts)
  if not conn then error(tostring(err), 2) end
  local response = assert(conn:send_await({ "iq", { type = "get", to = s.domain },
    { "ping", { xmlns = "urn:xmpp:ping" } } }, 30))
  assert.equal("result", response[2].type)
  local info, said = told(conn), {}
  for name in heard.out:gmatch "<auth [^>]*mechanism='([^']*)'" do said[#said + 1] = name end
  assert.same(after_plus and { info.mechanism .. "-PLUS", info.mechanism } or { info.mechanism }, said)
  return info, conn
end

-- The login was refused; only the mechanisms in `said` were tried. Returns the error.
local function refused(condition, said, conn, err, heard)
  assert.is_nil(conn)
  assert.equal("sasl", err.layer, tostring(err))
  assert.equal(condition, err.condition, tostring(err))
  assert.is_false(err.retry)
  local tried = {}
  for name in heard.out:gmatch "<auth [^>]*mechanism='([^']*)'" do tried[#tried + 1] = name end
  assert.same(said, tried)
  return err
end

-- A login without -PLUS when the server's offer was changed on its way, or is less than the server could offer: either
-- the server (which gets "y") or we (by XEP-0474) notice that. Returns the error's condition; nil: it wasn't noticed.
-- Which it is depends on the server.
local function found_out(s, who, opts)
  local conn, err, heard = dial(s, who, opts)
  local tried = heard.out:match "<auth [^>]*mechanism='([^']*)'"
  assert.matches("^SCRAM%-SHA%-%d+$", tried)
  if conn then return nil end
  assert.equal("sasl", err.layer, tostring(err))
  assert.is_false(err.retry)
  assert.matches("somebody in between", err.text)
  return err.condition
end

-- RFC 5802 6: a server must refuse a "y" that isn't true. Every Prosody does; some ejabberds don't.
local function check_minded(s, condition)
  if s.name == "prosody" then assert.equal("malformed-request", condition) end
  assert.not_equal("no-channel-binding", condition) -- our own error, after which nothing more is tried
end

-- An attacker in between, who removes `words` from the server's offer, or adds them ("+NAME"). Returns the port, and a
-- function that ends it.
local function middle(s, ...)
  local pipe, v = child.serve("middle.py", { s.certs .. "/rsa.pem", s.ca, s.domain, s.tls_port, ... })
  return tonumber(v.PORT), function() pipe:close() end
end

each(function(s)
  describe("TLS 1.2", function()
    local o
    setup(function() o = offer.of(s) end)

    it("binds the login to the channel, by the server's list or the usual type", function()
      assert.is_string(offer.bound_by(o, "TLSv1.2"))
      assert.same(offer.expected(o, "TLSv1.2"), login(s, "alice"))
      assert.same(offer.expected(o, "TLSv1.2"), login(s, "alice", { tls = "direct", port = s.tls_port }))
    end)

    it("does so with each hash function", function()
      for _, family in ipairs(o.families) do
        assert.same(offer.expected(o, "TLSv1.2", family),
          login(s, "alice", { mechanisms = { "SCRAM-SHA-" .. family .. "-PLUS" } }))
      end
    end)

    it("doesn't bind if -PLUS is not allowed", function()
      for _, family in ipairs(o.families) do
        local name = "SCRAM-SHA-" .. family
        assert.same({ tls_version = "TLSv1.2", mechanism = name }, login(s, "alice", { mechanisms = { name } }))
      end
    end)

    it("reports a wrong password as usual", function()
      local log, heard = listener()
      local conn, err = xmpp.connect_client("alice@xmpp.test", "wrong", s.host, s.port, s.opts { log = log })
      refused("not-authorized", { o.best .. "-PLUS" }, conn, err, heard)
    end)

    it("reveals an attacker in between who has the server's certificate and key", function()
      local port, stop = middle(s)
      local opts = { tls = "direct", port = port }
      local conn, err, heard = dial(s, "alice", opts)
      assert.is_nil(conn)
      assert.equal("sasl", err.layer)
      assert.matches("mechanism='" .. o.best:gsub("%-", "%%-") .. "%-PLUS'", heard.out)
      opts.mechanisms = { o.best } -- without -PLUS, nobody notices
      assert.equal(o.best, login(s, "alice", opts).mechanism)
      stop()
    end)

    it("with binding requires it for that account from then on, until forget", function()
      local port, stop = middle(s, unpack(PLUS))
      local through = { tls = "direct", port = port }
      login(s, "alice")
      local err = refused("no-channel-binding", {}, dial(s, "alice", through))
      assert.matches("xmpp%.forget%(%)", err.text)
      refused("no-channel-binding", {}, dial(s, "alice", { tls = "direct", port = port, reconnect = true }))
      local proved = found_out(s, "alice", { tls = "direct", port = port, mechanisms = { o.best } })
      assert.truthy(proved == nil or proved == "downgrade-detected", proved)
      local minded = found_out(s, "frank", through) -- other accounts aren't affected
      check_minded(s, minded)
      assert.equal(minded, found_out(s, "alice", { tls = "direct", port = port, remember = false }))
      refused("no-channel-binding", {}, dial(s, "alice", through)) -- the refused login has left nothing
      xmpp.forget()
      assert.equal(minded, found_out(s, "alice", through))
      xmpp.forget()
      login(s, "alice", { remember = false })
      assert.equal(minded, found_out(s, "alice", through))
      stop()
    end)

    it("with binding requires it when the connection reconnects", function()
      local port, stop = middle(s, unpack(PLUS))
      local p = proxy.start(s.host, s.tls_port)
      finally(function() p:stop() stop() end)
      xmpp.forget()
      local conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, p.host, p.port,
        s.opts { tls = "direct", reconnect = { min = 0 } }))
      opened.keep(conn)
      assert.is_string(conn:info().channel_binding)
      p:tell("to " .. port)
      p:tell "cut rst"
      local got, err = conn:ping(30)
      assert.is_nil(got)
      assert.matches("no%-channel%-binding", tostring(err) .. tostring(select(2, conn:receive())))
    end)

    for what, words in pairs { ["takes -PLUS out of the offer"] = PLUS,
      ["puts one that nobody has in its place"] = { "+X-PLUS", unpack(PLUS) },
      ["puts another in its place that isn't allowed"] = { "+SCRAM-SHA-512-PLUS", unpack(PLUS) } } do
      it("reveals an attacker who " .. what .. ", if the server checks", function()
        xmpp.forget()
        local port, stop = middle(s, unpack(words))
        local allowed = what:find "allowed" and { "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS" } or nil
        local minded = found_out(s, "alice", { tls = "direct", port = port, mechanisms = allowed })
        stop()
        check_minded(s, minded)
        local plain, end_it = middle(s, unpack(PLUS))
        assert.equal(found_out(s, "frank", { tls = "direct", port = plain }), minded)
        end_it()
      end)
    end
  end)
end, { tls_protocol = "1.2", more_users = "frank:frankpw" })

each(function(s)
  describe("TLS 1.3", function()
    local o
    setup(function() o = offer.of(s) end)

    it("is bound by the server's list; otherwise one attempt at binding doesn't do harm", function()
      local guess = not o.types and o.mechanisms[o.best .. "-PLUS"]
      assert.same(offer.expected(o, "TLSv1.3"), login(s, "alice", nil, guess))
      assert.same(offer.expected(o, "TLSv1.3"), login(s, "alice"))
      assert.same(offer.expected(o, "TLSv1.3"), login(s, "frank"))
      assert.same(offer.expected(o, "TLSv1.3"), login(s, "alice", { remember = false }, guess)) -- to an unknown server
      assert.equal(o.types and "tls-exporter" or nil, login(s, "alice").channel_binding)
    end)

    it("works with each allowed mechanism", function()
      for _, family in ipairs(o.families) do
        local name = "SCRAM-SHA-" .. family
        assert.same({ tls_version = "TLSv1.3", mechanism = name }, login(s, "alice", { mechanisms = { name } }))
      end
      assert.same({ tls_version = "TLSv1.3", mechanism = "PLAIN" }, login(s, "bob", { mechanisms = { "PLAIN" } }))
    end)

    it("works with a password that has to be prepared", function()
      local users = { dave = "pa\204\136ss" } -- "a" and a combining diaeresis: one character on the server
      local info = login({ domain = s.domain, host = s.host, port = s.port, opts = s.opts, users = users }, "dave")
      assert.equal(offer.expected(o, "TLSv1.3").mechanism, info.mechanism)
    end)

    it("keeps its info when the connection is closed", function()
      local info, conn = login(s, "alice")
      assert(conn:stop())
      assert.same(info, told(conn))
      assert.equal(conn.info, xmpp.info)
    end)
  end)

  describe("PLAIN", function()
    local o
    setup(function() o = offer.of(s) end)

    it("is never used again for an account that has used something better", function()
      local name = s.name == "prosody" and "carol" or "erin"
      login(s, name, { mechanisms = { "PLAIN" } })
      login(s, name, { mechanisms = { "PLAIN" } })
      login(s, name)
      local err = refused("invalid-mechanism", {}, dial(s, name, { mechanisms = { "PLAIN" } }))
      assert.matches("something better", err.text)
      assert.matches("xmpp%.forget%(%)", err.text)
      refused("invalid-mechanism", {}, dial(s, name, { mechanisms = { "PLAIN" }, tls = "direct", port = s.tls_port }))
      login(s, name, { mechanisms = { "PLAIN", "SCRAM-SHA-1" } })
      login(s, "bob", { mechanisms = { "PLAIN" } }) -- other accounts aren't affected
    end)

    it("is not tried when something better was refused", function()
      local log, heard = listener()
      local conn, err = xmpp.connect_client("bob@xmpp.test", "wrong", s.host, s.port, s.opts { log = log })
      refused("not-authorized", { offer.expected(o, "TLSv1.3").mechanism }, conn, err, heard)
      login(s, "bob", { mechanisms = { "PLAIN" } }) -- and it is still possible
    end)

    it("is not used if an attacker in between removes everything else from the offer", function()
      login(s, "alice")
      local port, stop = middle(s, "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512",
        unpack(PLUS))
      refused("invalid-mechanism", {}, dial(s, "alice", { tls = "direct", port = port }))
      stop()
    end)

    it("is used again after forget, but not with remember = false", function()
      xmpp.forget()
      local best, plain = { mechanisms = { o.best } }, { mechanisms = { "PLAIN" } }
      login(s, "bob", plain)
      best.remember = false
      login(s, "bob", best)
      plain.remember = false
      refused("invalid-mechanism", {}, dial(s, "bob", plain))
      xmpp.forget()
      login(s, "bob", plain)
    end)
  end)

  it("info has nothing about SASL for a component", function()
    local conn = assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret))
    opened.keep(conn)
    assert.same({}, told(conn))
  end)
end, { tls_protocol = "1.3", more_users = "dave:p\195\164ss erin:erinpw frank:frankpw" })

-- Passwords that SASLprep and OpaqueString prepare differently: with a superscript two, a soft hyphen, full-width
-- letters. Both servers store and compare the form of SASLprep; but ejabberd with plain passwords compares PLAIN's byte
-- for byte, and the accounts that spec/support/server writes for Prosody with a hash are hashed as they are.
local odd = { dave = "a\194\178b", erin = "p\194\173w", gina = "\239\188\161\239\188\162\239\188\163" }

-- How many tries a login by SCRAM takes; by PLAIN (nil: it isn't possible there).
local tries = { prosody = { plain = { 1, 1 }, ["SHA-256"] = { 2 } },
  ejabberd = { plain = { 1, 2 }, ["SHA-256"] = { 1, 1 } } }

for _, auth in ipairs { "plain", "SHA-256" } do
  local more = {}
  for name, password in pairs(odd) do more[#more + 1] = ("%s:%s %s-plain:%s"):format(name, password, name, password) end
  each(function(s)
    local function tried(who, password, mechanisms)
      local log, heard = listener()
      local conn, err = xmpp.connect_client(who .. "@" .. s.domain, password, s.host, s.port,
        s.opts { mechanisms = mechanisms, log = log })
      opened.keep(conn)
      local _, count = heard.out:gsub(mechanisms[1] == "PLAIN" and "<auth " or "<response ", "")
      return count, conn, err
    end

    it("accepts a password that has two prepared forms, stored as " .. auth, function()
      for name, password in pairs(odd) do
        xmpp.forget() -- forgets which form it was
        local count, conn, err = tried(name, password, { "SCRAM-SHA-256" })
        if not conn then error(name .. ": " .. tostring(err)) end
        assert.equal(tries[s.name][auth][1], count)
        assert.equal(1, (tried(name, password, { "SCRAM-SHA-256" }))) -- the form is remembered
        if tries[s.name][auth][2] then
          count, conn, err = tried(name .. "-plain", password, { "PLAIN" })
          if not conn then error(name .. ": " .. tostring(err)) end
          assert.equal(tries[s.name][auth][2], count)
        end
      end
    end)

    it("refuses a wrong one after two tries if it has two forms, else at once, stored as " .. auth, function()
      for password, expected in pairs { ["wrong\194\178"] = 2, wrong = 1 } do
        local count, conn, err = tried("alice", password, { "SCRAM-SHA-256" })
        assert.is_nil(conn)
        assert.equal("not-authorized", err.condition)
        assert.matches("^wrong password, or no such account: ", err.text)
        assert.equal(expected, count)
      end
      local _, _, err = tried("nobody", "whatever", { "SCRAM-SHA-256" })
      assert.matches("^wrong password, or no such account: ", err.text)
    end)
  end, { auth = auth, more_users = table.concat(more, " ") })
end

-- RFC 5802: the client says that no -PLUS was offered. A server that knows that it could have offered one takes this
-- for an attack.
each(function(s)
  it("a server that has -PLUS switched off", function()
    local o = offer.of(s)
    check_minded(s, found_out(s, "alice"))
    local only = { mechanisms = { o.best, "SCRAM-SHA-1" } }
    assert.same({ tls_version = "TLSv1.2", mechanism = o.best }, login(s, "alice", only))
  end)
end, { tls_protocol = "1.2", without = table.concat(PLUS, " ") })

each(function(s)
  describe("EXTERNAL", function()
    local function by_certificate(who, password, opts)
      opts = s.opts(opts)
      opts.cert = s.certs .. "/client.pem"
      local log, heard = listener()
      opts.log = log
      local conn, err = xmpp.connect_client(who, password, s.host, s.port, opts)
      opened.keep(conn)
      return conn, err, heard
    end

    it("logs in by the certificate, without a password", function()
      local conn = assert(by_certificate "alice@xmpp.test")
      assert.matches("^alice@xmpp%.test/lua%-", tostring(conn:jid()))
      assert.same({ tls_version = "TLSv1.3", mechanism = "EXTERNAL" }, told(conn))
      conn = assert(by_certificate("alice@xmpp.test", s.users.alice, { key = s.certs .. "/client.key" }))
      assert.equal("EXTERNAL", conn:info().mechanism)
    end)

    it("is refused for another account, and nothing else is tried", function()
      refused("not-authorized", { "EXTERNAL" }, by_certificate("bob@xmpp.test", s.users.bob))
    end)

    it("is only used if it is allowed", function()
      local conn = assert(by_certificate("alice@xmpp.test", s.users.alice, { mechanisms = { "SCRAM-SHA-256" } }))
      assert.equal("SCRAM-SHA-256", conn:info().mechanism)
      refused("invalid-mechanism", {}, by_certificate("alice@xmpp.test", nil, { mechanisms = { "SCRAM-SHA-256" } }))
    end)

    it("needs a certificate", function()
      local o = offer.of(s)
      assert.same(offer.expected(o, "TLSv1.3"), login(s, "bob", nil, not o.types and o.mechanisms[o.best .. "-PLUS"]))
      refused("invalid-mechanism", {}, dial(s, "bob", { mechanisms = { "EXTERNAL" } }))
    end)

    it("is better than PLAIN, which isn't used afterwards", function()
      assert(by_certificate "alice@xmpp.test")
      refused("invalid-mechanism", {}, dial(s, "alice", { mechanisms = { "PLAIN" } }))
    end)
  end)
end, { tls_protocol = "1.3", client_cert = "yes" }, { "ejabberd" })

local function anonymous(s)
  describe("ANONYMOUS", function()
    it("gives a name to a client without one", function()
      local opts = s.opts { mechanisms = { "ANONYMOUS" } }
      local conn = assert(xmpp.connect_client(s.domain, nil, s.host, s.port, opts))
      opened.keep(conn)
      assert.equal("ANONYMOUS", conn:info().mechanism)
      assert.equal(s.domain, conn:jid().domainpart)
      assert.is_string(conn:jid().localpart)
    end)

    it("gives another name to a client with one, if nothing else is allowed", function()
      local opts = s.opts { mechanisms = { "ANONYMOUS" } }
      local conn = assert(xmpp.connect_client("alice@" .. s.domain, "whatever", s.host, s.port, opts))
      opened.keep(conn)
      assert.equal("ANONYMOUS", conn:info().mechanism)
      assert.not_equal("alice", conn:jid().localpart)
    end)

    it("is never a fallback", function()
      refused("invalid-mechanism", {}, dial(s, "alice", { mechanisms = { "ANONYMOUS", "EXTERNAL" } }))
    end)
  end)
end
server.each(anonymous, { extra_conf = 'authentication = "anonymous"' }, { "prosody" })
server.each(anonymous, { extra_conf = "host_config: { xmpp.test: { auth_method: [anonymous],"
  .. " anonymous_protocol: sasl_anon } }" }, { "ejabberd" })

describe("arguments", function()
  local function raises(text, f)
    local ok, message = pcall(f)
    assert.is_false(ok)
    assert.truthy(tostring(message):find(text, 1, true), tostring(message))
  end

  it("a password may be left out only if something else suffices", function()
    raises("bad argument #2 to 'connect_client' (string or function expected, got nil)",
      function() xmpp.connect_client("alice@xmpp.test", nil, "127.0.0.1", 1, {}) end)
    raises("bad argument #2 to 'connect_client' (string or function expected, got nil)",
      function() xmpp.connect_client("alice@xmpp.test", nil, { mechanisms = { "PLAIN", "EXTERNAL" } }) end)
    raises("bad argument #2 to 'connect_client' (string or function expected, got number)",
      function() xmpp.connect_client("alice@xmpp.test", 1, { cert = "/nowhere.pem" }) end)
    local conn, err = xmpp.connect_client("alice@xmpp.test", nil, "127.0.0.1", 1, { cert = "/nowhere.pem" })
    assert.is_nil(conn)
    assert.equal("certificate-file", err.condition)
  end)

  it("a localpart may be left out only for ANONYMOUS", function()
    for _, mechanisms in ipairs { { "EXTERNAL" }, { "PLAIN", "SCRAM-SHA-1" } } do
      local conn, err = xmpp.connect_client("xmpp.test", "x", "127.0.0.1", 1, { mechanisms = mechanisms })
      assert.is_nil(conn)
      assert.equal("jid-malformed", err.condition)
    end
    local _, err = xmpp.connect_client("xmpp.test", nil, "127.0.0.1", 1, { mechanisms = { "ANONYMOUS" } })
    assert.equal("tcp", err.layer)
  end)

  it("an unknown mechanism is refused", function()
    raises("SCRAM-SHA-1-PLUS", function()
      xmpp.connect_client("alice@xmpp.test", "x", "127.0.0.1", 1, { mechanisms = { "SCRAM-SHA3-512" } })
    end)
    for _, name in ipairs { "EXTERNAL", "ANONYMOUS", unpack(PLUS) } do
      local _, err = xmpp.connect_client("alice@xmpp.test", "x", "127.0.0.1", 1, { mechanisms = { name } })
      assert.equal("tcp", err.layer)
    end
  end)
end)
