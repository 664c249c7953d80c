-- sasl2_play: logins by SASL2 (XEP-0388) at scripted servers, for what no real server does on request: links that end
-- in the middle of a login, sessions that are resumed or lost within it, features that come late or not at all, offers
-- that change.
local exchange = require "spec.support.exchange"
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local xmpp = require "xmpp"

local turn_until, a, r, message, bye = managed.turn_until, managed.a, managed.r, managed.message, managed.bye
local told, count, keep = managed.says_message, exchange.count, exchange.keep

local AT_ONCE = { min = 0, max = 0 }
local AGENT = "bd08c85e-0cab-4b1f-b309-89f35c9841e5"
local ACCOUNT = "alice@xmpp.test"
local NS2, FAST = "xmlns='urn:xmpp:sasl:2'", "xmlns='urn:xmpp:fast:0'"

local certs

setup(function() certs = managed.certs() end)
teardown(function() managed.remove(certs) end)
after_each(exchange.stop)

-- Parts of plays.

local HEADER = "C: <stream:stream ...>\n"
local STREAM = "S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='peer' "
  .. "version='1.0'>"
local BIND2 = "<bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:sm:3'/>"
  .. "<feature var='urn:xmpp:carbons:2'/><feature var='urn:xmpp:csi:0'/></inline></bind>"
local TOKENS = "<fast " .. FAST .. "><mechanism>HT-SHA-256-EXPR</mechanism></fast>"
local INLINE = "<inline><sm xmlns='urn:xmpp:sm:3'/>" .. BIND2 .. TOKENS .. "</inline>"

-- Features with SASL2 (and RFC 6120's SASL), with these mechanisms.
local function offer(...)
  local names = ""
  for _, name in ipairs { ... } do names = names .. "<mechanism>" .. name .. "</mechanism>" end
  return STREAM .. "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" .. names .. "</mechanisms>"
    .. "<authentication " .. NS2 .. ">" .. names .. INLINE .. "</authentication></stream:features>\n"
end

local SCRAM = offer "SCRAM-SHA-1"
local FEATURES = "S: <stream:features><ver xmlns='urn:xmpp:features:rosterver'/></stream:features>\n"

-- A link up to <response/>; `ahead`: <authenticate/> comes together with the header.
local function login(ahead, features)
  if not ahead then return "tls\n" .. HEADER .. (features or SCRAM) .. "scram2 alicepw\n" end
  return "tls\n" .. HEADER .. "C: <authenticate " .. NS2 .. " mechanism='SCRAM-SHA-1'><initial-response>{first}"
    .. "</initial-response>{inside}</authenticate>\n" .. (features or SCRAM) .. "scram2 alicepw {first}\n"
end

-- <success/>, with `inside` in it; `more` is sent in one piece with it.
local function success(inside, identifier, more)
  return ("S: <success %s><additional-data>{proof}</additional-data><authorization-identifier>%s"
    .. "</authorization-identifier>%s</success>%s\n"):format(NS2, identifier or ACCOUNT .. "/lua.1", inside or "",
    more or "")
end

local function bound(id)
  return "<bound xmlns='urn:xmpp:bind:0'>"
    .. (id and "<enabled xmlns='urn:xmpp:sm:3' id='" .. id .. "' resume='true'/>" or "") .. "</bound>"
end

local function lost(h)
  return ("<failed xmlns='urn:xmpp:sm:3'%s><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
    :format(h and " h='" .. h .. "'" or "")
end

-- Binding with RFC 6120's iq, to a resource that the server chooses.
local BINDS = "C: <iq type='set' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>\n"
  .. "S: <iq type='result' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
  .. "<jid>alice@xmpp.test/any</jid></bind></iq>\n"

-- The end of a link with stream management, on which `h` stanzas were received.
local function ends(h) return bye(h) end
local ONCE = "C: </stream:stream>\nS: </stream:stream>\n" -- without stream management

local AGAIN = "accept\n"

local p

local function play(text, opts)
  p = keep(peer.play(text, { certs = certs, grace = 2, timeout = 20 }))
  local o = { ca_file = p.ca, tls = "direct", bind2 = true }
  for key, value in pairs(opts or {}) do o[key] = value end
  return o
end

-- Connects. Returns conn, or nil and an error; and the log.
local function try(o, password)
  local log
  o.log, log = exchange.ear()
  if password == nil then password = "alicepw" end
  local conn, err = xmpp.connect_client(ACCOUNT, password or nil, p.host, p.port, o)
  return conn and keep(conn), err, log
end

local function connect(o, password)
  local conn, err, log = try(o, password)
  if not conn then error(("%s\n%s"):format(tostring(err), (p:finish())), 2) end
  return conn, log
end

local function finish(conn)
  assert.is_true(conn:stop(30))
  p:check()
end

local function hears(conn, text)
  assert.equal(text, xmpp.xexpr.text(assert(conn:receive_blocking(30)), "body"))
end

describe("what is sent inside of a login", function()
  it("is what the options want and the server offers", function()
    local o = play(login() .. success(bound "one") .. FEATURES .. ends(), { resume = true,
      user_agent = { id = AGENT, software = "spec & co", device = "a desk" },
      bind2 = { tag = "desk", carbons = true, inactive = true } })
    finish(connect(o))
    local said = p.transcript:match "<initial%-response>[^<]*</initial%-response>(.-)</authenticate>"
    assert.equal("<user-agent id='" .. AGENT .. "'><software>spec &amp; co</software><device>a desk</device>"
      .. "</user-agent><bind xmlns='urn:xmpp:bind:0'><tag>desk</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/>"
      .. "<enable xmlns='urn:xmpp:carbons:2'/><inactive xmlns='urn:xmpp:csi:0'/></bind>"
      .. "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>", said)
  end)

  it("is nothing if the server offers nothing", function()
    local bare = SCRAM:gsub("<inline>.*</inline>", "")
    local bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    local o = play(login(false, bare) .. success("", ACCOUNT)
      .. "S: <stream:features>" .. bind .. "</stream:features>\n"
      .. managed.binding .. ONCE, { bind2 = false })
    local conn = connect(o)
    assert.is_false(conn:info().bound_inline)
    finish(conn)
    assert.is_truthy(p.transcript:find("</initial-response></authenticate>", 1, true), p.transcript)
  end)
end)

describe("a token", function()
  local TOKEN = { version = 1, jid = ACCOUNT, user_agent = AGENT, mechanism = "HT-SHA-256-EXPR",
    token = "a-secret-token" }
  local SHOWN = "tls\n" .. HEADER .. SCRAM
    .. "C: <authenticate " .. NS2 .. " mechanism='HT-SHA-256-EXPR'>...</authenticate>\n"
  local ends_without_answer = {
    { "a FIN", "cut\n", "tcp" }, { "a RST", "reset\n", "tcp" },
    { "the end of the stream", "S: </stream:stream>\n", "closed" },
    { "a stream error", "S: <stream:error><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
      .. "</stream:error></stream:stream>\n", "stream" },
  }

  for _, how in ipairs(ends_without_answer) do
    it("without an answer is kept, and the next try goes without it, once: " .. how[1], function()
      local o = play(SHOWN .. how[2] .. AGAIN .. login() .. success(bound "one") .. FEATURES .. ends()
        .. AGAIN .. SHOWN:gsub("C: <auth.*", "") .. "match .*mechanism='HT%-SHA%-256%-EXPR'.*\n" .. "cut\n",
        { token = TOKEN, fast = true })
      o.mechanisms = nil
      local conn, log = connect(o)
      assert.is_false(conn:info().fast)
      assert.equal(2, count(log.out, "<authenticate"))
      local kept = conn:token()
      assert.same({ TOKEN.token, TOKEN.mechanism }, { kept.token, kept.mechanism })
      assert.is_true(conn:stop(30))
    end)
  end

  for _, how in ipairs(ends_without_answer) do
    it("without an answer isn't sent a third time if there is no password: " .. how[1], function()
      local once = SHOWN .. how[2]
      local conn, err, log = try(play(table.concat({ once, once, once }, AGAIN), { token = TOKEN }), false)
      assert.is_nil(conn)
      assert.equal(how[3], err.layer, err.text)
      assert.equal(2, count(log.out, "<authenticate"))
    end)
  end
end)

describe("a server that never completes a login by SASL2", function()
  local SASL1 = "tls\n" .. HEADER .. SCRAM .. "scram alicepw\n" .. HEADER .. STREAM .. "<stream:features>"
    .. "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>\n" .. BINDS .. ONCE

  for _, how in ipairs { { "a FIN", "cut\n" }, { "silence", "eof\n", 1 } } do
    it("gets a login by SASL1 the third time: " .. how[1], function()
      local o = play(login() .. how[2] .. AGAIN .. login() .. how[2] .. AGAIN .. SASL1, { timeout = how[3] })
      for _ = 1, 2 do
        local conn, err = try(o)
        assert.is_nil(conn)
        assert.is_true(err.retry)
      end
      o.timeout = nil
      local conn = connect(o)
      assert.equal("sasl", conn:info().profile)
      finish(conn)
    end)
  end

  it("gets SASL2 again if one login between was completed", function()
    local well = success(bound "one") .. FEATURES .. ends() .. AGAIN
    local o = play(login() .. "cut\n" .. AGAIN .. login() .. well .. login(true) .. "cut\n" .. AGAIN .. login(true)
      .. success(bound "one") .. FEATURES .. ends())
    assert.is_nil((try(o)))
    assert.is_true(connect(o):stop(30))
    assert.is_nil((try(o)))
    local conn = connect(o)
    assert.equal("sasl2", conn:info().profile)
    finish(conn)
  end)
  it("that has completed one before is tried again after one by SASL1", function()
    local well = success(bound "one") .. FEATURES .. ends() .. AGAIN
    local o = play(login() .. well .. login(true) .. "cut\n" .. AGAIN .. login(true) .. "cut\n" .. AGAIN
      .. SASL1 .. AGAIN .. login() .. success(bound "one") .. FEATURES .. ends())
    local profiles = {}
    for i = 1, 5 do
      local conn = try(o)
      profiles[i] = conn and conn:info().profile or "none"
      if conn then assert.is_true(conn:stop(30)) end
    end
    p:check()
    assert.same({ "sasl2", "none", "none", "sasl", "sasl2" }, profiles)
  end)
end)

describe("a session that is bound inside", function()
  it("is ready a second later even without features", function()
    local o = play(login() .. success(bound "one") .. message "1" .. r .. a(1) .. told "late" .. FEATURES .. ends(1))
    local conn = connect(o)
    local info = conn:info()
    assert.same({ true, true, {} }, { info.bound_inline, info.stream_management, info.offers })
    assert(conn:send { "message", { id = "1" }, { "body", "1" } })
    hears(conn, "late")
    finish(conn)
  end)

  it("gets the stanzas between it and its features, which are counted", function()
    local early = "<message><body>early</body></message>"
    local o = play(login() .. success(bound "one", nil, early) .. FEATURES .. told "later" .. ends(2))
    local conn = connect(o)
    hears(conn, "early")
    hears(conn, "later")
    assert.is_true(conn:info().offers["urn:xmpp:features:rosterver"])
    finish(conn)
  end)

  it("that is bound afterwards gets the stanzas in between, which aren't counted", function()
    local early = "<message><body>early</body></message>"
    local bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"
    local o = play(login(false, (SCRAM:gsub("<inline>.*</inline>", ""))) .. success("", ACCOUNT, early)
      .. "S: <stream:features>" .. bind .. "</stream:features>\n" .. BINDS .. "C: <enable xmlns='urn:xmpp:sm:3'/>\n"
      .. managed.enabled() .. told "later" .. ends(1))
    local conn = connect(o)
    hears(conn, "early")
    hears(conn, "later")
    finish(conn)
  end)

  it("counts sent stanzas from <success/> on", function()
    local note = managed.notebook()
    local o = play(login() .. success(bound "one") .. FEATURES .. message "1" .. r .. a(1) .. ends())
    local conn, log = connect(o)
    assert(conn:send({ "message", { id = "1" }, { "body", "1" } }, note.of "1"))
    assert(conn:flush(30))
    assert.equal("written acked", note["1"])
    assert.equal(0, count(log.out, "<enable"))
    finish(conn)
  end)

  it("without stream management enables it afterwards", function()
    local sm = "S: <stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>\n"
    local o = play(login() .. success(bound()) .. sm .. "C: <enable xmlns='urn:xmpp:sm:3' .../>\n"
      .. managed.enabled "one" .. ends(), { resume = true })
    local conn = connect(o)
    turn_until(function() return conn:info().resumable end, "a session")
    finish(conn)
  end)
end)

describe("a session that is to be resumed inside", function()
  local GONE = login() .. success(bound "one") .. FEATURES .. message "1" .. told "now" .. "cut\n" .. AGAIN
  local note

  -- "1" was on its way when the link broke, "2" was sent while there was no link.
  local function begin(text, opts)
    note = managed.notebook()
    local o = play(GONE .. text, { reconnect = AT_ONCE })
    for key, value in pairs(opts or {}) do o[key] = value end
    local conn, log = connect(o)
    local states = managed.states(conn)
    conn:on("state", function(state)
      if state ~= "waiting" or note["2"] then return end
      assert(conn:send({ "message", { id = "2" }, { "body", "2" } }, note.of "2"))
    end)
    assert(conn:send({ "message", { id = "1" }, { "body", "1" } }, note.of "1"))
    hears(conn, "now")
    return conn, states, log
  end

  local function is_acked()
    local function is_so() return note["1"] == "written acked" and note["2"] == "written acked" end
    if not pcall(turn_until, is_so) then error(("1: %s, 2: %s\n%s"):format(note["1"], note["2"], (p:finish())), 2) end
  end

  local function resumed(h) return "<resumed xmlns='urn:xmpp:sm:3' h='" .. h .. "' previd='one'/>" end

  it("is resumed, and the features after it are skipped", function()
    local conn = begin(login(true) .. success(resumed(1), nil, "<r xmlns='urn:xmpp:sm:3'/>") .. FEATURES
      .. r .. managed.says(1) .. a(1) .. "match .*<message id='2'><body>2</body>.*</message>.*\n" .. a(2)
      .. told "on" .. ends(2))
    is_acked()
    hears(conn, "on")
    local info = conn:info()
    assert.same({ 1, 0, true }, { info.resumed, info.rebound, info.bound_inline })
    assert.is_true(info.offers["urn:xmpp:features:rosterver"])
    finish(conn)
    assert.is_truthy(p.transcript:find("<resume xmlns='urn:xmpp:sm:3' h='1' previd='one'/>", 1, true)
      or p.transcript:find("<resume [^>]*h='1'[^>]*previd='one'"), p.transcript)
  end)

  it("may be replaced by a new one: what the old one had isn't sent again", function()
    local conn = begin(login(true) .. success(lost(1) .. bound "two", ACCOUNT .. "/lua.2") .. FEATURES
      .. managed.late("2", true) .. r .. a(1) .. ends())
    is_acked()
    local info = conn:info()
    assert.same({ 0, 1, 0 }, { info.resumed, info.rebound, info.failed_without_h })
    assert.equal(ACCOUNT .. "/lua.2", tostring(conn:jid()))
    finish(conn)
  end)

  it("may be replaced by a new one: all is sent again if it isn't known what the old one had", function()
    for _, inside in ipairs { lost(), "" } do -- <bound/> alone means the same
      local conn = begin(login(true) .. success(inside .. bound "two", ACCOUNT .. "/lua.2") .. FEATURES
        .. managed.late("1", true) .. managed.late("2", true) .. r .. a(2) .. ends())
      is_acked()
      local info = conn:info()
      assert.same({ 0, 1, 1 }, { info.resumed, info.rebound, info.failed_without_h })
      finish(conn)
    end
  end)

  it("ends the stream if the server claims to have had more than was sent", function()
    local conn, states = begin(login(true) .. success(lost(7) .. bound "two", ACCOUNT .. "/lua.2")
      .. "match .*<handled-count-too-high xmlns='urn:xmpp:sm:3' h='7' send-count='1'/>.*\n" .. "cut\n",
      { reconnect = { min = 0, max = 0, attempts = 1 } })
    turn_until(function() return conn:state() == "closed" end, "the end")
    xmpp.step(0)
    assert.is_truthy(states.why.closed.text:find("7", 1, true), tostring(states.why.closed))
    assert.equal(0, conn:info().rebound)
  end)
end)

describe("an offer", function()
  it("that has changed since the last login is chosen from again, and the next login is one exchange", function()
    local OTHER = offer("SCRAM-SHA-1", "PLAIN")
    local well = success(bound "one") .. FEATURES .. ends() .. AGAIN
    local o = play(login() .. well .. login(true, OTHER):gsub("scram2.*", "")
      .. "match <stream:error><undefined-condition.*\n" .. AGAIN .. login(false, OTHER) .. well
      .. login(true, OTHER) .. success(bound "one") .. FEATURES .. ends())
    local pipelined = {}
    for i = 1, 3 do
      local conn = connect(o)
      pipelined[i] = table.concat(conn:info().pipelined or {}, " ")
      assert.is_true(conn:stop(30))
    end
    p:check()
    assert.same({ "", "", "auth" }, pipelined)
  end)
end)
