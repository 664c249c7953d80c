-- info: ping, version, time and last activity, queried and answered. On fed bytes.

local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local fed = require "spec.support.fed"
local info = require "xmpp.info"
local iq = require "xmpp.iq"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr

local STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

local f, conn

local function prepare(...)
  f, conn = ...
end

-- The results of g(conn, jid) with this answer, an element or a condition; and the query that was sent.
local function run(g, reply, jid, by)
  local got
  xmpp.spawn(function() got = { g(conn, jid or "bob@xmpp.test/pc") } end)
  fed.settle()
  local question = stage.sent(f)[1]
  local x = { "iq", { type = "result", id = question[2].id, from = question[2].to }, reply }
  if type(reply) == "string" then
    x[2].type, x[3] = "error", { "error", { type = "cancel", by = by }, { reply, { xmlns = STANZAS } } }
  end
  f:feed(xexpr.to_xml(x))
  return got[1], got[2], question[3]
end

local function version(name, number, os)
  return { "query", { xmlns = "jabber:iq:version" }, name and { "name", {}, name },
    number and { "version", {}, number }, os }
end

local function time(tzo, utc) return { "time", { xmlns = "urn:xmpp:time" }, { "tzo", {}, tzo }, { "utc", {}, utc } } end

local function last(seconds, text) return { "query", { xmlns = "jabber:iq:last", seconds = seconds }, text } end

local function expect_bad(text, g, reply)
  local none, err = run(g, reply)
  assert.is_nil(none)
  assert.equal("bad-format", err.condition)
  assert.equal("the answer of bob@xmpp.test/pc: " .. text, err.text)
end

describe("info queries", function()
  stage.around(prepare)

  it("whether an entity responds", function()
    local seconds, err, question = run(info.ping)
    assert.is_number(seconds)
    assert.is_nil(err)
    assert.same({ "ping", { xmlns = "urn:xmpp:ping" } }, question)
    seconds, err = run(info.ping, "feature-not-implemented")
    assert.is_number(seconds)
    assert.equal("feature-not-implemented", err.condition)
    seconds = run(info.ping, "service-unavailable", "xmpp.test", "XMPP.test")
    assert.is_number(seconds)
    seconds, err = run(info.ping, "service-unavailable", "bob@xmpp.test/pc", "xmpp.test") -- another address's error
    assert.is_nil(seconds)
    assert.equal("service-unavailable", err.condition)
    seconds, err = run(info.ping, "remote-server-not-found")
    assert.is_nil(seconds)
    assert.equal("remote-server-not-found", err.condition)
    xmpp.spawn(function() err = select(2, info.ping(conn, "bob@xmpp.test/pc", 0.01)) end)
    stage.turn_until(function() return err.layer == "timeout" end)
    f:sent()
  end)

  it("its software", function()
    assert.same({ name = "Exodus", version = "0.7" }, (run(info.version, version("Exodus", "0.7"))))
    assert.same({ name = "Exodus", version = "", os = "Windows" },
      (run(info.version, version("Exodus", "", { "os", {}, "Windows" }))))
    expect_bad("query.name: missing", info.version, { "query", { xmlns = "jabber:iq:version" } })
    expect_bad("query.version: missing", info.version, version "Exodus")
    expect_bad("query: missing", info.version, last "5")
    expect_bad("query: missing", info.version, nil)
    local none, err = run(info.version, "service-unavailable")
    assert.is_nil(none)
    assert.equal("service-unavailable", err.condition)
  end)

  it("its time", function()
    assert.same({ utc = 1166551115, offset = -21600 }, (run(info.time, time("-06:00", "2006-12-19T17:58:35Z"))))
    assert.same({ utc = 0.5, offset = 19800 }, (run(info.time, time("+05:30", "1970-01-01T00:00:00.5Z"))))
    assert.same({ utc = 951782400, offset = 0 }, (run(info.time, time("Z", "2000-02-29T01:00:00+01:00"))))
    for _, utc in ipairs { "", "now", "2006-12-19", "2006-13-19T17:58:35Z", "2006-12-19T17:58:35",
      "2006-12-19T17:60:35Z" } do
      expect_bad("time.utc: a time expected", info.time, time("Z", utc))
    end
    for _, tzo in ipairs { "", "6", "-06:60", "+24:00", "06:00" } do
      expect_bad("time.tzo: an offset expected", info.time, time(tzo, "2006-12-19T17:58:35Z"))
    end
  end)

  it("its last activity", function()
    assert.same({ seconds = 903 }, (run(info.last, last "903")))
    assert.same({ seconds = 903, text = "Heading Home" }, (run(info.last, last("903", "Heading Home"))))
    for _, seconds in ipairs { "", "-1", "1.5", "0x1", "1e3", ("9"):rep(40) } do
      expect_bad("query.seconds: a whole number expected", info.last, last(seconds))
    end
  end)
end)

describe("info answers", function()
  stage.around(prepare)

  local function ask(name, xmlns, from)
    f:feed(xexpr.to_xml { "iq", { type = "get", id = "1", from = from or "me@xmpp.test/there" },
      { name, { xmlns = xmlns } } })
    local sent = stage.sent(f)
    assert.equal(1, #sent)
    return sent[1][3], sent[1][2].type
  end

  it("what it is configured to, and announces it", function()
    info.use(conn, { version = { name = "mybot", version = "1.2" }, time = true, last = function() return 12.9 end })
    assert.same({ nil, "result" }, { ask("ping", "urn:xmpp:ping") })
    assert.same({ "query", { xmlns = "jabber:iq:version" }, { "name", {}, "mybot" }, { "version", {}, "1.2" } },
      (ask("query", "jabber:iq:version")))
    assert.equal("12", ask("query", "jabber:iq:last")[2].seconds)
    local x = ask("time", "urn:xmpp:time")
    local seconds = (run(info.time, x)).utc
    assert.is_true(math.abs(seconds - os.time()) < 5)
    local features = disco.own_info(conn).features
    for _, var in ipairs { "urn:xmpp:ping", "jabber:iq:version", "urn:xmpp:time", "jabber:iq:last" } do
      assert.is_true(features[var], var)
    end
    assert.same({ "disco", "info" }, ext.list(conn))
  end)

  it("no strangers", function()
    info.use(conn, { version = { name = "mybot", version = "1.2", os = "Linux" }, time = true, last = true })
    for name, xmlns in pairs { ping = "urn:xmpp:ping", time = "urn:xmpp:time" } do
      assert.equal("service-unavailable", ask(name, xmlns, "eve@xmpp.test/x")[3][1])
    end
    for _, xmlns in ipairs { "jabber:iq:version", "jabber:iq:last" } do
      assert.equal("service-unavailable", ask("query", xmlns, "eve@xmpp.test/x")[3][1])
    end
    assert.same({ "os", {}, "Linux" }, ask("query", "jabber:iq:version")[5])
    assert.equal("0", ask("query", "jabber:iq:last")[2].seconds)
  end)

  it("nothing that it isn't configured to, nor after its end", function()
    info.use(conn)
    local features = disco.own_info(conn).features
    assert.is_true(features["urn:xmpp:ping"])
    assert.is_nil(features["jabber:iq:version"])
    ext.drop(conn, info)
    assert.same({}, ext.list(conn))
    assert.is_nil(disco.own_info(conn).features["urn:xmpp:ping"])
    iq.serve(conn, "get", "jabber:iq:version", function() return true end)
    stage.refuses("is served already", function() info.use(conn, { version = { name = "a", version = "b" } }) end)
    iq.serve(conn, "get", "urn:xmpp:ping", function() return true end) -- can be served again
    assert.is_nil(disco.own_info(conn).features["urn:xmpp:ping"])
    stage.refuses("there is no option 'pong'", function() info.use(conn, { pong = true }) end)
    stage.refuses("version.version: string expected", function() info.use(conn, { version = { name = "a" } }) end)
    stage.refuses("bad option 'ping' (boolean expected", function() info.use(conn, { ping = "yes" }) end)
  end)
end)
