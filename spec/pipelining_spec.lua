-- pipelining: what is sent with the stream header, before the server has asked for it (XEP-0305): the flights with real
-- servers, and that for some time nothing is sent ahead to a server that objects.
local managed = require "spec.support.managed"
local offers = require "spec.support.offer"
local peer = require "spec.support.peer"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local unpack = table.unpack or unpack -- luacheck: ignore 143
local turn_until = managed.turn_until

local certs

setup(function() certs = managed.certs() end)
teardown(function() managed.remove(certs) end)

-- The names of elements and headers in these tests.
local NAMES = { ["?xml"] = "header", ["/stream:stream"] = "end" }

-- A function for `log`, and the flights that it has seen: what was sent without waiting for an answer.
local function listener()
  local flights, last = {}, nil
  return function(direction, text)
    if direction == "out" then
      if last ~= "out" then flights[#flights + 1] = {} end
      local name = text:match "^<([^%s>/]+/?[^%s>/]*)"
      table.insert(flights[#flights], NAMES[name] or name)
    end
    last = direction
    flights.text = (flights.text or "") .. text
  end, flights
end

-- The flights as text, such as "header starttls, header, auth, response, header iq".
local function show(flights)
  local texts = {}
  for i, flight in ipairs(flights) do texts[i] = table.concat(flight, " ") end
  return (table.concat(texts, ", "):gsub(", enable.*", ""))
end

-- What each login sends until the session, and where it waits for answers: step by step; to an unknown server, to which
-- only what is safe is sent ahead; to a known server.
local STARTTLS_STEPS = "header, starttls, header, auth, response, header, iq"
local STARTTLS_EAGER = "header starttls, header, auth, response, header iq"
local STARTTLS = "header starttls, header auth, response, header iq"
-- If no list of bindings is offered, the best one is tried once; on TLS 1.3, servers without a list refuse it.
local function of(s, steps)
  local o = offers.of(s)
  return not o.types and o.mechanisms[o.best .. "-PLUS"] and steps:gsub("auth", "auth, auth") or steps
end
local DIRECT_STEPS, DIRECT = "header, auth, response, header, iq", "header auth, response, header iq"

server.each(function(s)
  -- A login by `tls`. Returns its flights, and what info says was pipelined. (sasl2_spec has that of SASL2.)
  local function login(tls, name, opts)
    local log, flights = listener()
    opts = s.opts(opts)
    opts.tls, opts.log, opts.sasl2 = tls, log, false
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host,
      tls == "direct" and s.tls_port or s.port, opts))
    local shown, info = show(flights), conn:info()
    assert.is_true(conn:stop(30))
    return shown, info.pipelined, flights
  end

  it("saves a round trip for each, from the second login on", function()
    for _, login_by in ipairs { { "starttls", STARTTLS_STEPS, STARTTLS, "starttls" },
      { "direct", DIRECT_STEPS, DIRECT } } do
      local tls, first, later, also = unpack(login_by)
      local shown, pipelined = login(tls, "alice")
      assert.equal(of(s, first), shown)
      assert.is_nil(pipelined)
      for _, name in ipairs { "alice", "bob" } do
        shown, pipelined = login(tls, name)
        assert.equal(later, shown)
        assert.same(also and { also, "auth", "session" } or { "auth", "session" }, pipelined)
      end
    end
  end)

  it("makes it 6 round trips, and 5 by direct TLS, counted by a capture", function()
    local pipe = assert(io.popen(("XMPP_SERVER=%s %s spec/bench/trips figures 2>&1"):format(s.name,
      os.getenv "LUA" or "lua5.4")))
    local told = pipe:read "*a"
    pipe:close()
    local why = told:match "not measured: ([^\n]*)"
    if why then return pending(why) end
    assert.equal("6 5\n", told)
  end)

  it("keeps secrets masked", function()
    login("starttls", "alice")
    local shown, _, flights = login("starttls", "alice")
    assert.equal(STARTTLS, shown)
    assert.matches("<auth [^>]*>%[masked%]</auth>", flights.text)
    assert.matches("<response [^>]*>%[masked%]</response>", flights.text)
  end)

  it("is off with pipelining = false", function()
    local shown, pipelined = login("starttls", "alice", { pipelining = false })
    assert.equal(STARTTLS_STEPS, shown) -- what is known of the server is still used, but nothing is sent ahead
    assert.is_nil(pipelined)
    assert.equal(DIRECT_STEPS, (login("direct", "alice", { pipelining = false })))
  end)

  it("is done at a first contact, too, with pipelining = 'eager'", function()
    local p = proxy.start(s.host, s.port) -- at another address it is another server
    finally(function() p:stop() end)
    local log, flights = listener()
    local conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, p.host, p.port,
      s.opts { pipelining = "eager", sasl2 = false, log = log }))
    assert.equal(of(s, STARTTLS_EAGER), show(flights))
    assert.same({ "starttls", "session" }, conn:info().pipelined)
    assert.is_true(conn:stop(30))
  end)

  it("is done only for what would be sent anyway", function()
    login("starttls", "alice")
    assert.equal("header starttls, header, auth, header iq", (login("starttls", "carol", { mechanisms = { "PLAIN" } })))
    assert.equal(STARTTLS, (login("starttls", "alice", { mechanisms = { "SCRAM-SHA-1" } })))
  end)

  it("reports a wrong password as before", function()
    login("direct", "alice")
    local log, flights = listener()
    local conn, err = xmpp.connect_client("alice@" .. s.domain, "wrong", s.host, s.tls_port,
      s.opts { tls = "direct", sasl2 = false, log = log })
    assert.is_nil(conn)
    assert.equal("sasl", err.layer)
    assert.equal("not-authorized", err.condition)
    assert.matches("^header auth, response", show(flights))
  end)

  it("resumes a session in the same way", function()
    local p = proxy.start(s.host, s.port)
    finally(function() p:stop() end)
    local log, flights = listener()
    local conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, p.host, p.port,
      s.opts { reconnect = { min = 0, max = 0 }, sasl2 = false, log = log }))
    turn_until(function() return conn:info().resumable end, "a session")
    for n = #flights, 1, -1 do flights[n] = nil end
    p:tell "cut rst"
    turn_until(function() return conn:info().resumed == 1 end, "resumption")
    assert.matches("^header starttls, header auth, response, header resume", show(flights))
    assert.same({ "starttls", "auth", "session" }, conn:info().pipelined)
    assert(conn:ping(30))
    assert.is_true(conn:stop(30))
  end)
end, nil, { "prosody", "ejabberd", "prosody13", "ejabberd24" })

-- Scripted servers. After each objection the same client connects again, and sends nothing ahead.

local HEADER = "C: <stream:stream ...>\n"
local STREAM = "S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='peer' "
  .. "version='1.0'>\n"
local TLS, SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'", "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
local TLS_OFFER = "<starttls " .. TLS .. "/>"
local SASL_OFFER = "<mechanisms " .. SASL .. "><mechanism>SCRAM-SHA-1</mechanism></mechanisms>"
local BIND_OFFER = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
local BINDS = "C: <iq type='set' id='{bind}' ...><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
  .. "<resource>{resource}</resource></bind></iq>\n"
local BOUND = "S: <iq type='result' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
  .. "<jid>alice@xmpp.test/{resource}</jid></bind></iq>\n"
local BYE = "C: </stream:stream>\nS: </stream:stream>\naccept\n"

local function features(offer) return STREAM .. "S: <stream:features>" .. offer .. "</stream:features>\n" end

-- The flights of a login; `ahead`: together with the header; else when asked for, after a silence.
local function starttls(ahead)
  local says = "C: <starttls " .. TLS .. "/>\n"
  return HEADER .. (ahead and says .. features(TLS_OFFER) or "silence 0.05\n" .. features(TLS_OFFER) .. says)
    .. "S: <proceed " .. TLS .. "/>\ntls\n"
end

local function auth(ahead, offer)
  if not ahead then return HEADER .. "silence 0.05\n" .. features(offer or SASL_OFFER) .. "scram alicepw\n" end
  return HEADER .. "C: <auth " .. SASL .. " mechanism='SCRAM-SHA-1'>{first}</auth>\n" .. features(SASL_OFFER)
    .. "scram alicepw {first}\n"
end

local function session(ahead)
  return HEADER .. (ahead and BINDS .. features(BIND_OFFER) or "silence 0.05\n" .. features(BIND_OFFER) .. BINDS)
    .. BOUND
end

local function whole(one, two, three) return starttls(one) .. auth(two) .. session(three) .. BYE end

-- Plays it with `logins` logins, one after the other. Returns what info says was pipelined in the last one.
local function play(logins, text, opts)
  local p = peer.play(text, { certs = certs, grace = 1 })
  finally(function() p:stop() end)
  opts = opts or { pipelining = "eager" }
  opts.ca_file = p.ca
  local pipelined
  for i = 1, logins do
    local conn, err = xmpp.connect_client("alice@xmpp.test/r", "alicepw", p.host, p.port, opts)
    if not conn then error(("login %d: %s\n%s"):format(i, tostring(err), (p:finish()))) end
    pipelined = conn:info().pipelined
    assert.is_true(conn:stop(30))
  end
  p:check()
  return pipelined
end

-- After a play's last login, there is no further connection.
local function last(text) return (text:gsub("accept\n$", "")) end

local function stream_error(condition)
  return "S: <stream:error><" .. condition .. " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    .. "</stream:stream>\n"
end

local objections = {
  { "a stream error", stream_error "not-authorized" .. "accept\n" },
  { "another", stream_error "unsupported-stanza-type" .. "accept\n" },
  { "the end of its stream", "S: </stream:stream>\naccept\n" },
  { "a FIN", "cut\naccept\n", twice = true }, -- the network might be the reason
  { "a RST", "reset\naccept\n", twice = true },
}

describe("a server that objects to", function()
  local ahead = {
    { "<starttls/>", HEADER .. "C: <starttls " .. TLS .. "/>\n", TLS_OFFER, "", "auth session", { false, true, true } },
    { "<auth/>", starttls(true) .. HEADER .. "C: <auth ...>...</auth>\n", SASL_OFFER, whole(true, false, true),
      "starttls session", { true, false, true } },
    { "the request for a resource", starttls(true) .. auth(false) .. HEADER .. BINDS, BIND_OFFER, "", "starttls auth",
      { true, true, false }, starttls(true) .. auth(true) .. HEADER .. BINDS },
  }
  for _, a in ipairs(ahead) do
    local what, to_it, offer, before, pipelined, later, to_it_again = unpack(a)
    for _, objection in ipairs(objections) do
      for _, answered in ipairs { true, false } do
        it(("%s by %s, %s"):format(what, objection[1], answered and "after its features" or "at once"), function()
          local answer = answered and features(offer) or objection[2]:find "^S" and STREAM or ""
          local logins, objects = before == "" and 2 or 3, answer .. objection[2] .. whole()
          local text = before .. to_it .. objects
          if objection.twice then logins, text = logins + 1, text .. (to_it_again or to_it) .. objects end
          assert.same(pipelined, table.concat(play(logins, text .. last(whole(unpack(later)))), " "))
        end)
      end
    end

    it(what .. " by silence", function()
      local text = before .. to_it .. features(offer) .. "eof\naccept\n" .. whole() .. last(whole(unpack(later)))
      local opts = { pipelining = "eager", timeout = 4 }
      assert.same(pipelined, table.concat(play(before == "" and 2 or 3, text, opts), " "))
    end)
  end
end)

describe("a failure that may be the network's fault", function()
  it("is forgotten if it doesn't happen again", function()
    local cut = HEADER .. "C: <starttls " .. TLS .. "/>\ncut\naccept\n" .. whole()
    play(5, cut .. whole(true, true, true) .. cut .. last(whole(true, true, true) .. whole(true, true, true)))
  end)
end)

describe("after an objection", function()
  local objects = HEADER .. "C: <starttls " .. TLS .. "/>\n" .. STREAM .. stream_error "not-authorized" .. "accept\n"

  it("the password is still there, given as a function or kept for reconnecting", function()
    for _, reconnect in ipairs { true, false } do
      local p = peer.play(objects .. last(whole()), { certs = certs, grace = 1 })
      finally(function() p:stop() end)
      local asked = 0
      local conn = assert(xmpp.connect_client("alice@xmpp.test/r", function()
        asked = asked + 1
        return "alicepw"
      end, p.host, p.port, { ca_file = p.ca, reconnect = reconnect, pipelining = "eager" }))
      assert.equal(1, asked)
      assert.is_true(conn:stop(30))
      p:check()
    end
  end)

  it("only the log shows it", function()
    local p = peer.play(objects .. last(whole()), { certs = certs, grace = 1 })
    finally(function() p:stop() end)
    local headers = 0
    local conn = assert(xmpp.connect_client("alice@xmpp.test/r", "alicepw", p.host, p.port,
      { ca_file = p.ca, pipelining = "eager", log = function(direction, text)
        if direction == "out" and text:find("<stream:stream", 1, true) then headers = headers + 1 end
      end }))
    assert.equal(4, headers)
    assert.same({ nil, 0 }, { conn:info().pipelined, conn:info().rebound })
    assert.is_true(conn:stop(30))
    p:check()
  end)
end)

describe("a server", function()
  it("that is met for the first time is sent nothing ahead", function()
    assert.same({ "starttls", "auth", "session" },
      play(2, whole(false, false, false) .. last(whole(true, true, true)), {}))
  end)

  it("at which a login has failed still counts as unknown", function()
    local text = HEADER .. STREAM .. "cut\naccept\n" .. last(whole(false, false, false))
    local p = peer.play(text, { certs = certs, grace = 1 })
    finally(function() p:stop() end)
    local function login()
    return xmpp.connect_client("alice@xmpp.test/r", "alicepw", p.host, p.port, { ca_file = p.ca })
  end
    assert.is_nil((login()))
    local conn = assert(login())
    assert.is_nil(conn:info().pipelined)
    assert.is_true(conn:stop(30))
    p:check()
  end)

  it("that offers other mechanisms than before is asked again", function()
    local OTHER = SASL_OFFER:gsub("</mechanisms>", "<mechanism>PLAIN</mechanism></mechanisms>")
    local changed = HEADER .. "C: <auth ...>...</auth>\n" .. features(OTHER)
      .. "match <stream:error><undefined-condition.*\naccept\n"
    play(2, whole(true, false, true) .. starttls(true) .. changed .. starttls(false) .. auth(false, OTHER)
      .. last(session(false) .. BYE))
  end)

  it("that refuses twice ends the attempt with its error", function()
    local refuses = features(TLS_OFFER) .. stream_error "policy-violation"
    local p = peer.play(HEADER .. "C: <starttls " .. TLS .. "/>\n" .. refuses .. "accept\n" .. HEADER .. refuses
      .. "match .*", { certs = certs, grace = 0.1 })
    finally(function() p:stop() end)
    local conn, err = xmpp.connect_client("alice@xmpp.test/r", "alicepw", p.host, p.port,
      { ca_file = p.ca, pipelining = "eager" })
    assert.is_nil(conn)
    assert.equal("policy-violation", err.condition)
    p:check()
  end)

  it("that objects and then disappears has its error reported", function()
    local p = peer.play(HEADER .. "C: <starttls " .. TLS .. "/>\n" .. STREAM .. stream_error "policy-violation",
      { certs = certs, grace = 0.1 })
    finally(function() p:stop() end)
    local conn, err = xmpp.connect_client("alice@xmpp.test/r", "alicepw", p.host, p.port,
      { ca_file = p.ca, pipelining = "eager" })
    assert.is_nil(conn)
    assert.equal("policy-violation", err.condition)
  end)

  it("that refuses for other reasons isn't tried again", function()
    for _, condition in ipairs { "host-unknown", "system-shutdown", "conflict", "resource-constraint" } do
      local p = peer.play(HEADER .. "C: <starttls " .. TLS .. "/>\n" .. STREAM .. stream_error(condition)
        .. "C: </stream:stream>\neof\naccept\n", { certs = certs, grace = 0.1, timeout = 0.5 })
      finally(function() p:stop() end)
      local conn, err = xmpp.connect_client("alice@xmpp.test/r", "alicepw", p.host, p.port,
        { ca_file = p.ca, pipelining = "eager" })
      assert.is_nil(conn)
      assert.equal(condition, err.condition)
      local _, ok, reason = p:finish()
      assert.is_false(ok)
      assert.matches("nobody connected", reason .. "")
    end
  end)

  it("that was sent nothing ahead isn't tried again", function()
    local p = peer.play(HEADER .. STREAM .. "cut\naccept\n", { certs = certs, grace = 0.1, timeout = 0.5 })
    finally(function() p:stop() end)
    local conn, err = xmpp.connect_client("alice@xmpp.test/r", "alicepw", p.host, p.port,
      { ca_file = p.ca, pipelining = false })
    assert.is_nil(conn)
    assert.equal("EOF", err.condition)
    local _, ok = p:finish()
    assert.is_false(ok)
  end)
end)
