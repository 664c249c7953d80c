-- starttls: negotiation with dishonest servers. Whatever they do, the client reports it in time, and sends no password
-- to a server that hasn't shown a valid certificate.
local peer = require "spec.support.peer"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local STREAM = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
local ERRORS = "xmlns='urn:ietf:params:xml:ns:xmpp-streams'"
local TLS = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
local SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
local STANZAS = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"
local BIND = "xmlns='urn:ietf:params:xml:ns:xmpp-bind'"
local OFFER_TLS = "<starttls " .. TLS .. "><required/></starttls>"

local BIND_OFFER = "<bind " .. BIND .. "/>"
local SENT_HEADER = "C: <stream:stream ...>\nS: " .. STREAM
local PLAIN_SENT = "C: <auth " .. SASL .. " mechanism='PLAIN'>...</auth>\n"
local SCRAM_SENT = "C: <auth " .. SASL .. " mechanism='SCRAM-SHA-1'>...</auth>\n"

local function offer(...)
  local names = {}
  for _, name in ipairs { ... } do names[#names + 1] = "<mechanism>" .. name .. "</mechanism>" end
  return "<mechanisms " .. SASL .. ">" .. table.concat(names) .. "</mechanisms>"
end

local SCRAM = peer.starttls .. peer.stream(offer "SCRAM-SHA-1") .. SCRAM_SENT

local certs -- a folder of certificates for all the plays

-- Plays `text` with alice@xmpp.test/desk. Returns the transcript, and the results of connect_client.
local function play(text, opts)
  local p = peer.play(text, { grace = 0.1, certs = certs })
  finally(function() p:stop() end)
  opts = opts or {}
  opts.ca_file = p.ca
  local conn, err = xmpp.connect_client("alice@xmpp.test/desk", "alicepw", p.host, p.port, opts)
  return p:check(), conn, err
end

-- The client gives up with an error that has the fields in `wanted`. Returns the error, the transcript.
local function fails(wanted, text, opts)
  local transcript, conn, err = play(text, opts)
  assert.is_nil(conn)
  for field, value in pairs(wanted) do assert.equal(value, err[field], tostring(err)) end
  assert.is_boolean(err.retry)
  assert.matches("%S", err.text)
  return err, transcript
end

-- The same, and it has sent nothing from which a password could be guessed.
local function fails_silently(wanted, text, opts)
  local err, transcript = fails(wanted, text, opts)
  for _, word in ipairs { "<auth", "<response", "alicepw", "AGFsaWNlAGFsaWNlcHc=" } do
    assert.is_nil(transcript:find(word, 1, true), transcript)
  end
  return err, transcript
end

setup(function() certs = peer.certs() end)
teardown(function() shell.remove(certs) end)

describe("a good server", function()
  it("is logged in to", function()
    local transcript, conn = play(peer.session)
    assert.equal("alice@xmpp.test/desk", tostring(conn:jid()))
    assert.matches("sni: xmpp.test", transcript)
    assert.matches("alpn=None", transcript)
  end)

  it("learns our address under TLS only", function()
    local transcript = play(peer.session)
    local before, after = transcript:match "^(.-)# tls:(.*)$"
    assert.is_nil(before:find("alice", 1, true))
    assert.matches("from='alice@xmpp.test'", after)
  end)

  it("may send in pieces, with white space between", function()
    local text = peer.session:gsub("S: (<proceed[^\n]*)", "S: %1\npieces 1 0.0001"):gsub("S: <success", "S: \n<success")
    local _, conn = play("pieces 3 0.0001\n" .. text)
    assert.is_true(xmpp.is_connection(conn))
  end)

  it("may offer STARTTLS again under TLS, and unknown features", function()
    local text = peer.session:gsub("<mechanisms", OFFER_TLS .. "<x xmlns='urn:example:x'>?</x>%0")
    local _, conn = play(text)
    assert.is_true(xmpp.is_connection(conn))
  end)

  it("may offer TLS without requiring it: it is used", function()
    local text = peer.session:gsub("<required/>", ""):gsub("<starttls [^>]*></starttls>", "%0" .. offer "PLAIN")
    local transcript, conn = play(text)
    assert.is_true(xmpp.is_connection(conn))
    assert.matches("# tls: TLS", transcript)
  end)

  it("may choose another resource", function()
    local text = peer.session:gsub("<jid>[^<]*", "<jid>alice@xmpp.test/another/one")
    local _, conn = play(text)
    assert.equal("alice@xmpp.test/another/one", tostring(conn:jid()))
  end)

  it("is offered xmpp-client by ALPN with direct TLS", function()
    local transcript, conn = play("tls alpn=xmpp-client\n" .. peer.plain .. peer.bind, { tls = "direct" })
    assert.is_true(xmpp.is_connection(conn))
    assert.matches("alpn=xmpp%-client", transcript)
    assert.matches("sni: xmpp.test", transcript)
  end)
end)

describe("STARTTLS", function()
  it("that is not offered is an error before any credential", function()
    for _, features in ipairs { "", offer "PLAIN", offer("SCRAM-SHA-256", "PLAIN"), "<starttls xmlns='urn:example:x'/>",
      "<x xmlns='urn:example:x'>" .. OFFER_TLS .. "</x>" } do
      local err = fails_silently({ layer = "tls", condition = "starttls-not-offered", retry = false },
        peer.stream(features) .. "match .*")
      assert.matches("direct", err.text) -- says what to do
    end
  end)

  it("that is refused is an error", function()
    fails_silently({ layer = "tls", condition = "failure" }, peer.stream(OFFER_TLS) .. [[
      C: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
      S: <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
      match .*]])
  end)

  it("with bytes after <proceed/> in the same segment is an attack", function()
    for _, bytes in ipairs { "<stream:features>" .. offer "PLAIN" .. "</stream:features>", "<", " ", STREAM } do
      fails_silently({ layer = "tls", condition = "plaintext-injection", retry = false }, peer.stream(OFFER_TLS) .. [[
        C: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
        raw <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>]] .. bytes:gsub(" ", "\\x20") .. "\nmatch .*")
    end
  end)

  it("with bytes before the handshake in a later segment fails, too", function()
    fails_silently({ layer = "tls" }, peer.stream(OFFER_TLS) .. [[
      C: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
      S: <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
      match \x16
      S: <stream:features>]] .. offer "PLAIN" .. [[</stream:features>
      match .*]])
  end)

  it("is not begun by an unrequested <proceed/>", function()
    local proceed = "S: <proceed " .. TLS .. "/>\nmatch .*"
    fails_silently({ layer = "stream", condition = "bad-format" }, SENT_HEADER .. "\n" .. proceed)
    fails_silently({ layer = "stream" }, "C: <stream:stream ...>\n" .. proceed)
    fails({ layer = "stream", condition = "bad-format" },
      peer.starttls .. peer.stream(offer "PLAIN") .. PLAIN_SENT .. proceed)
  end)

  it("is not begun by anything but <proceed/>", function()
    for _, answer in ipairs { "<proceed xmlns='urn:example:x'/>", "<proceed/>", "<success " .. TLS .. "/>",
      "<message/>", "<stream:features>" .. offer "PLAIN" .. "</stream:features>", "<x><proceed " .. TLS .. "/></x>" } do
      fails_silently({ layer = "stream" }, peer.stream(OFFER_TLS) .. [[
        C: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
        S: ]] .. answer .. "\nmatch .*")
    end
  end)

  it("stops at a bad certificate, before a credential", function()
    for name, condition in pairs { expired = "certificate-expired", wrongname = "certificate-name-mismatch",
      selfsigned = "certificate-self-signed", wrongca = "certificate-unknown-issuer" } do
      for version in ("1.2 1.3"):gmatch "%S+" do
        local text = peer.starttls:gsub("  tls\n", ("tls cert=%s min=%s max=%s refused"):format(name, version, version))
        fails_silently({ layer = "tls", condition = condition, retry = false }, text)
      end
    end
  end)

  it("fails if the handshake is broken off", function()
    fails_silently({}, peer.stream(OFFER_TLS) .. [[
      C: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
      S: <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
      match \x16.*
      reset]])
  end)
end)

-- At each of these points it is the server's turn.
local points = {
  { "before its stream header", "C: <stream:stream ...>\n", bare = true },
  { "instead of features", SENT_HEADER .. "\n" },
  { "instead of <proceed/>", peer.stream(OFFER_TLS) .. "C: <starttls " .. TLS .. "/>\n" },
  { "instead of features under TLS", peer.starttls .. SENT_HEADER .. "\n" },
  { "instead of <success/>", peer.starttls .. peer.stream(offer "PLAIN") .. PLAIN_SENT },
  { "instead of a challenge", SCRAM },
  { "instead of features after the login", peer.starttls .. peer.plain .. SENT_HEADER .. "\n", logged_in = true },
  { "instead of a bound resource", peer.starttls .. peer.plain .. peer.stream(BIND_OFFER) .. "C: <iq ...>...</iq>\n",
    logged_in = true },
}

for _, point in ipairs(points) do
  describe("a server that, " .. point[1] .. ",", function()
    local text = point[2]
    local header = point.bare and STREAM or ""

    it("reports a stream error is quoted", function()
      local err = fails({ layer = "stream", condition = "policy-violation", retry = false }, text .. "S: " .. header
        .. "<stream:error><policy-violation " .. ERRORS .. "/><text " .. ERRORS
        .. ">Go away</text></stream:error></stream:stream>\nmatch .*")
      assert.matches("Go away", err.text)
    end)

    it("reports a stream error in many lines is quoted in one", function()
      local err = fails({ layer = "stream", condition = "undefined-condition" }, text .. "raw " .. header
        .. "<stream:error><undefined-condition " .. ERRORS .. "/><text " .. ERRORS
        .. ">one\\ntwo\\x7fthree</text></stream:error>\nmatch .*")
      assert.is_nil(tostring(err):find "%c")
      assert.matches("one%?two%?three", err.text)
    end)

    it("closes the stream is reported as such", function()
      fails({ layer = "closed", condition = "closed-by-server", retry = true },
        text .. "S: " .. header .. "</stream:stream>\nmatch .*")
    end)

    it("cuts the connection is reported as such", function()
      fails({ layer = "tcp", condition = "EOF", retry = true }, text .. "cut\nmatch .*")
    end)

    it("resets the connection is reported as such", function()
      fails({ layer = "tcp", condition = "ECONNRESET", retry = true }, text .. "reset")
    end)

    it("sends malformed XML is an error", function()
      fails({ layer = "stream", condition = "not-well-formed", retry = false },
        text .. "S: " .. header .. "<a></b>\nmatch .*")
    end)

    it("sends XML that XMPP forbids is an error", function()
      fails({ layer = "stream", condition = "restricted-xml" },
        text .. "S: " .. header .. "<!-- a comment -->\nmatch .*")
    end)

    it("sends a message is an error", function()
      local wanted = not point.logged_in and { layer = "stream", condition = "bad-format", retry = false }
        or { layer = "closed", condition = "closed-by-server", retry = true } -- it is kept for a session (early_spec)
      fails(wanted, text .. "S: " .. header .. "<message><body>Hi</body></message></stream:stream>\nmatch .*")
    end)
  end)
end

describe("a server whose stream", function()
  local function answers(wanted, text)
    fails_silently(wanted, "C: <stream:stream ...>\nS: " .. text .. "\nmatch .*")
  end

  it("has another version, or none, is refused", function()
    answers({ layer = "stream", condition = "unsupported-version" }, (STREAM:gsub(" version='1.0'", "")))
    answers({ layer = "stream", condition = "unsupported-version" }, (STREAM:gsub("1.0", "0.9")))
  end)

  it("isn't XMPP is refused", function()
    answers({ layer = "stream", condition = "invalid-namespace" }, (STREAM:gsub("etherx", "example")))
    answers({ layer = "stream" }, "<html><body>Not XMPP</body></html>")
    answers({ layer = "stream", condition = "not-well-formed" }, "HTTP/1.1 400 Bad Request")
    answers({ layer = "stream", condition = "restricted-xml" }, "<!DOCTYPE x [<!ENTITY a 'b'>]>" .. STREAM)
  end)

  it("redirects us is not followed, but quoted", function()
    local err = fails_silently({ layer = "stream", condition = "see-other-host", retry = false },
      SENT_HEADER .. "<stream:error><see-other-host " .. ERRORS
      .. ">evil.example:5222</see-other-host></stream:error>\nmatch .*")
    assert.matches("evil%.example:5222", err.text)
  end)

  it("reports a shutdown is worth trying again", function()
    fails_silently({ layer = "stream", condition = "system-shutdown", retry = true },
      SENT_HEADER .. "<stream:error><system-shutdown " .. ERRORS .. "/></stream:error>\nmatch .*")
  end)

  it("has far too many features is ended", function()
    local err = fails_silently({ retry = false }, SENT_HEADER .. "<stream:features>\nrepeat 20000 <x/>\nmatch .*")
    assert.truthy(err.layer == "stream" or err.layer == "limit", tostring(err))
  end)
end)

describe("SASL", function()
  local function offered(...) return peer.starttls .. peer.stream(offer(...)) end

  it("fails without a mechanism that we support", function()
    local err = fails_silently({ layer = "sasl", condition = "invalid-mechanism", retry = false },
      offered("X-FOO", "DIGEST-MD5", "GSSAPI", "") .. "match .*")
    assert.matches("X%-FOO", err.text)
    assert.matches("DIGEST%-MD5", err.text)
    fails_silently({ layer = "sasl", retry = false }, offered() .. "match .*")
    fails_silently({ layer = "sasl", condition = "no-mechanisms", retry = false },
      peer.starttls .. peer.stream "" .. "match .*")
    fails_silently({ layer = "sasl", condition = "invalid-mechanism" }, offered "scram-sha-1" .. "match .*")
  end)

  it("does not fall back to PLAIN if that is forbidden", function()
    fails_silently({ layer = "sasl", condition = "invalid-mechanism" }, offered "PLAIN" .. "match .*",
      { plain = false })
    fails_silently({ layer = "sasl", condition = "invalid-mechanism" }, offered "PLAIN" .. "match .*",
      { mechanisms = { "SCRAM-SHA-1", "SCRAM-SHA-256" } })
  end)

  it("fails with the server's condition, and its text", function()
    for condition, retry in pairs { ["not-authorized"] = false, ["account-disabled"] = false,
      ["credentials-expired"] = false, ["temporary-auth-failure"] = true } do
      local err = fails({ layer = "sasl", condition = condition, retry = retry }, SCRAM .. "S: <failure " .. SASL
        .. "><" .. condition .. "/><text xml:lang='en'>Because I say so</text></failure>\nmatch .*")
      assert.matches("Because I say so", err.text)
    end
    fails({ layer = "sasl", retry = false }, SCRAM .. "S: <failure " .. SASL .. "/>\nmatch .*")
  end)

  it("does not try another mechanism with the same password after a failure", function()
    local transcript = select(2, fails({ layer = "sasl", condition = "not-authorized" },
      offered("SCRAM-SHA-1", "PLAIN") .. SCRAM_SENT .. "S: <failure " .. SASL
      .. "><not-authorized/></failure>\nmatch .*"))
    assert.equal(1, select(2, transcript:gsub("<auth", "")))
  end)

  it("accepts no success of SCRAM without the server's proof", function()
    for _, success in ipairs { "<success %s/>", "<success %s>=</success>", "<success %s>dj1BQUFB</success>",
      "<success %s>not base64!</success>", "<success %s><x/></success>" } do
      fails({ layer = "sasl", retry = false }, SCRAM .. "S: " .. success:format(SASL) .. "\nmatch .*")
    end
  end)

  it("doesn't answer an invalid challenge", function()
    for _, challenge in ipairs { "", "=", "%%%", "cj1hYmMscz1BQUFBLGk9NDA5Ng==", "ZT1vdGhlci1lcnJvcg==" } do
      local _, transcript = fails({ layer = "sasl", retry = false },
        SCRAM .. "S: <challenge " .. SASL .. ">" .. challenge .. "</challenge>\nmatch .*")
      assert.is_nil(transcript:find("<response", 1, true))
    end
  end)

  it("refuses a challenge in PLAIN", function()
    fails({ layer = "sasl", retry = false },
      offered "PLAIN" .. PLAIN_SENT .. "S: <challenge " .. SASL .. "/>\nmatch .*")
  end)

  it("refuses a success in another namespace", function()
    fails({ layer = "stream" }, offered "PLAIN" .. PLAIN_SENT .. "S: <success xmlns='urn:example:x'/>\nmatch .*")
  end)
end)

describe("binding", function()
  local BEFORE = peer.starttls .. peer.plain .. peer.stream(BIND_OFFER) .. [[
    C: <iq type='set' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>desk</resource></bind></iq>
    S: ]]

  local function answers(wanted, answer)
    return fails(wanted, BEFORE .. answer .. "\nmatch .*")
  end

  local function result(jid) return "<iq type='result' id='{bind}'><bind " .. BIND .. ">" .. jid .. "</bind></iq>" end

  it("another account's address is refused", function()
    for _, jid in ipairs { "mallory@xmpp.test/desk", "alice@evil.example/desk", "alice@xmpp.test.evil.example/desk",
      "xmpp.test/alice@xmpp.test" } do
      local err = answers({ layer = "bind", condition = "wrong-jid", retry = false },
        result("<jid>" .. jid .. "</jid>"))
      assert.truthy(err.text:find(jid, 1, true), err.text)
    end
  end)

  it("anything but a full JID is refused", function()
    for _, inside in ipairs { "", "<jid/>", "<jid>alice@xmpp.test</jid>", "<jid>alice@xmpp.test/</jid>",
      "<jid>@/x</jid>", "<jid xmlns='urn:example:x'>alice@xmpp.test/desk</jid>",
      "<jid>alice@xmpp.test/" .. ("x"):rep(1024) .. "</jid>" } do
      answers({ layer = "bind", condition = "invalid-jid", retry = false }, result(inside))
    end
    answers({ layer = "bind", condition = "invalid-jid" }, "<iq type='result' id='{bind}'/>")
  end)

  it("another spelling of our address is accepted", function()
    local _, conn = play(BEFORE .. result "<jid>Alice@XMPP.test/desk</jid>")
    assert.is_true(xmpp.is_connection(conn))
  end)

  it("that is refused returns the reason", function()
    for condition, retry in pairs { ["conflict"] = false, ["not-allowed"] = false, ["resource-constraint"] = true } do
      local err = answers({ layer = "bind", condition = condition, retry = retry }, "<iq type='error' id='{bind}'>"
        .. "<error type='cancel'><" .. condition .. " " .. STANZAS .. "/><text " .. STANZAS
        .. ">No room</text></error></iq>")
      assert.matches("No room", err.text)
    end
    answers({ layer = "bind" }, "<iq type='error' id='{bind}'/>")
  end)

  it("is not answered by another iq", function()
    local ours = result "<jid>alice@xmpp.test/desk</jid>"
    for _, other in ipairs { (ours:gsub("{bind}", "other")), (ours:gsub("result", "get")) } do
      answers({ layer = "bind", condition = "wrong-jid" }, other .. result "<jid>eve@xmpp.test/desk</jid>")
    end
    answers({ layer = "stream" }, (ours:gsub("result", "Result")))
    answers({ layer = "stream" }, (ours:gsub("<iq", "%0 xmlns='jabber:server'")))
  end)

  it("must be offered after the login", function()
    fails({ layer = "bind", condition = "not-offered", retry = false }, peer.starttls .. peer.plain .. peer.stream ""
      .. "match .*")
  end)
end)

describe("a component's server", function()
  local HEADER = STREAM:gsub("jabber:client", "jabber:component:accept"):gsub("version='1.0'", "id='%%s'")

  local function connect(text, id)
    local p = peer.play("C: <stream:stream xmlns='jabber:component:accept' to='echo.xmpp.test' ...>\nS: "
      .. HEADER:format(id or "i1") .. "\n" .. text, { grace = 0.1 })
    finally(function() p:stop() end)
    local conn, err = xmpp.connect_component(p.host, p.port, "echo.xmpp.test", "secret")
    p:check()
    return conn, err
  end

  it("gets the proof of XEP-0114, in lower case", function() -- SHA-1 of "i1secret"
    local conn = connect "C: <handshake>8d5fdc7475fb9a0819568fe78e6e07af09890a5c</handshake>\nS: <handshake/>"
    assert.equal("echo.xmpp.test", tostring(conn:jid()))
  end)

  it("that answers with something else makes the login fail", function()
    for _, answer in ipairs { "<handshake xmlns='urn:example:x'/>", "<success " .. SASL .. "/>", "<message/>" } do
      local conn, err = connect("C: <handshake>...</handshake>\nS: " .. answer .. "\nmatch .*")
      assert.is_nil(conn)
      assert.equal("stream", err.layer)
    end
  end)

  it("that has no id for its stream makes the login fail", function()
    local conn, err = connect("S: <handshake/>\nmatch .*", "")
    assert.is_nil(conn)
    assert.equal("stream", err.layer)
  end)
end)
