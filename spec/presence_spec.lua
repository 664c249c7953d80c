-- presence: what is sent, also in new sessions, and what is kept of others' presences; with a server that does what it
-- is told, and peers that don't.

local caps = require "xmpp.caps"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local stage = require "spec.support.stage"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ANNA, EVE = "anna@example.net", "eve@evil.example"

local function heard(t, ...)
  local told = {}
  ext.use(t.conn, presence):on("presence", function(jid, p)
    told[#told + 1] = table.concat({ jid, p.type or p.show or "online", p.error }, " ")
  end)
  ext.use(t.conn, presence):on("reset", function() told[#told + 1] = "reset" end)
  for _, bare in ipairs { ... } do presence.keep(t.conn, bare) end
  return function()
    local list = told
    told = {}
    return list
  end
end

local function come(t, from, kind, children)
  t:receive(("<presence from='%s'%s>%s</presence>"):format(from, kind and (" type='%s'"):format(kind) or "",
    children or ""))
end

-- The resources of an address, sorted.
local function resources(t, bare)
  local out = {}
  for resource in pairs(presence.of(t.conn, bare)) do out[#out + 1] = resource end
  table.sort(out)
  return table.concat(out, " ")
end

describe("presence.set", function()
  it("sends what it is given", testing.around(function(t)
    assert.is_nil(presence.last(t.conn))
    assert.is_true(presence.set(t.conn))
    assert.same({ "presence", {} }, t:expect { "presence" })
    assert.same({}, presence.last(t.conn))
    local p = { show = "away", status = "tea & <biscuits>", priority = -5, idle_since = 1700000000.5 }
    assert.is_true(presence.set(t.conn, p))
    assert.same({ "presence", {}, { "show", {}, "away" }, { "status", {}, "tea & <biscuits>" },
      { "priority", {}, "-5" },
      { "idle", { xmlns = "urn:xmpp:idle:1", since = "2023-11-14T22:13:20.500Z" } } }, t:expect { "presence" })
    assert.same(p, presence.last(t.conn))
    p.show = "xa" -- the caller's own table
    assert.equal("away", presence.last(t.conn).show)
  end))

  it("refuses invalid fields", testing.around(function(t)
    local conn = t.conn
    for text, p in pairs {
      ["bad option 'show' of 'set' (away, chat, dnd or xa expected, got online)"] = { show = "online" },
      ["'set' has no option 'stauts'"] = { stauts = "x" },
      ["bad option 'status' of 'set' (string expected, got number)"] = { status = 5 },
      ["'set' has no option 'type'"] = { type = "unavailable" },
      ["bad option 'idle_since' of 'set' (seconds since 1970 expected, got"] = { idle_since = math.huge },
      ["bad argument #2 to 'set' (stanza[3][3]: "] = { status = "a\0b" },
    } do
      stage.refuses(text, function() presence.set(conn, p) end)
    end
    for _, priority in ipairs { -129, 128, 0.5, math.huge, 0 / 0 } do
      stage.refuses("bad option 'priority' of 'set' (whole number from -128 to 127 expected, got",
        function() presence.set(conn, { priority = priority }) end)
    end
    stage.refuses("bad argument #1 to 'set' (connection expected, got nil)", function() presence.set(nil, {}) end)
    assert.is_true(presence.set(conn, { priority = 127 }))
    t:expect { "presence", {}, { "priority", {}, "127" } }
    assert.is_true(presence.set(conn, { priority = -128 }))
    t:expect { "presence", {}, { "priority", {}, "-128" } }
  end))

  it("is sent again in a new session, once, but not in a resumed one", testing.around(function(t)
    presence.set(t.conn, { status = "one" })
    t:expect { "presence", {}, { "status", {}, "one" } }
    t:cut()
    t:resume()
    t:nothing()
    t:reconnect { new = true }
    assert.same({ "presence", {}, { "status", {}, "one" } }, t:expect { "presence" })
    t:nothing()
  end))

  it("sends only the last of several when the link is back", testing.around(function(t)
    presence.set(t.conn, { status = "one" })
    t:expect { "presence", {}, { "status", {}, "one" } }
    presence.set(t.conn, { status = "two" })
    t:cut()
    presence.set(t.conn, { status = "three" })
    presence.set(t.conn, { status = "four" })
    t:reconnect { new = true }
    t:expect { "presence", {}, { "status", {}, "two" } } -- it was on its way when the link broke
    assert.same({ "presence", {}, { "status", {}, "four" } }, t:expect { "presence" })
    t:nothing()
    t:cut()
    presence.set(t.conn, { status = "five" })
    t:resume()
    assert.same({ "presence", {}, { "status", {}, "five" } }, t:expect { "presence" })
    t:nothing()
  end))

  it("includes caps, which are announced again when they change", testing.around(function(t)
    local C = { "c", { xmlns = "urn:xmpp:caps" } }
    ext.use(t.conn, presence)
    ext.use(t.conn, caps)
    presence.set(t.conn, { status = "one" })
    local before = t:expect { "presence", {}, { "status", {}, "one" }, C }
    t:reconnect { new = true }
    assert.same(before, t:expect { "presence", {}, { "status", {}, "one" }, C })
    disco.add(t.conn, "urn:example:tea")
    t:advance(1)
    local after = t:expect { "presence", {}, { "status", {}, "one" }, C }
    assert.is_false(xexpr.equal(before, after))
    t:nothing()
  end))

  it("is undone by clear", testing.around(function(t)
    assert.is_true(presence.clear(t.conn))
    t:nothing() -- nobody knows that we are online
    presence.set(t.conn, {})
    t:expect { "presence" }
    assert.is_true(presence.clear(t.conn))
    assert.same({ "presence", { type = "unavailable" } }, t:expect { "presence" })
    assert.is_nil(presence.last(t.conn))
    presence.clear(t.conn)
    t:reconnect { new = true }
    t:nothing()
    presence.set(t.conn, { show = "dnd" })
    t:expect { "presence", {}, { "show", {}, "dnd" } }
    t:cut()
    presence.clear(t.conn)
    t:reconnect { new = true }
    t:nothing()
  end))

  it("ends with the connection", testing.around(function(t)
    presence.set(t.conn, {})
    t:expect { "presence" }
    t:close "conflict"
    local ok, err = presence.set(t.conn, {})
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.is_nil((presence.clear(t.conn)))
    assert.is_nil((presence.send(t.conn, ANNA)))
    assert.is_false(presence.keep(t.conn, ANNA)())
  end))

  it("is refused for a component", testing.around(function(t)
    local conn = t.conn
    stage.refuses("a component has no presence of its own", function() presence.set(conn, {}) end)
  end, { component = "echo.example.net" }))
end)

describe("presence.before", function()
  it("runs before the first presence of each session, all functions at once", testing.around(function(t)
    local order = {}
    local function slow(name, seconds)
      return function()
        order[#order + 1] = name .. " begins"
        xmpp.sleep(seconds)
        order[#order + 1] = name
      end
    end
    presence.before(t.conn, slow("roster", 2))
    local off = presence.before(t.conn, slow("carbons", 1))
    t:nothing()
    assert.same({}, order)
    local began = t:now()
    assert.is_true(presence.set(t.conn, { status = "one" })) -- it waits
    assert.equal(2, t:now() - began)
    t:expect { "presence" }
    assert.same({ "roster begins", "carbons begins", "carbons", "roster" }, order)
    presence.set(t.conn, { status = "two" })
    assert.equal(2, t:now() - began)
    t:expect { "presence", {}, { "status", {}, "two" } }
    assert.is_true(off())
    assert.is_false(off())
    t:reconnect { new = true }
    t:nothing()
    t:advance(1)
    t:nothing()
    t:advance(1)
    t:expect { "presence", {}, { "status", {}, "two" } }
    assert.same({ "roster begins", "roster" }, { order[5], order[6] })
    assert.is_nil(order[7])
  end))

  it("runs once for several calls of set, and the last presence is sent", testing.around(function(t)
    local n, said = 0, {}
    presence.before(t.conn, function() n = n + 1 xmpp.sleep(1) end)
    for _, status in ipairs { "one", "two", "three" } do
      xmpp.spawn(function()
        local ok = presence.set(t.conn, { status = status })
        said[#said + 1] = ok
      end)
    end
    t:nothing()
    t:advance(1)
    assert.same({ "presence", {}, { "status", {}, "three" } }, t:expect { "presence" })
    t:nothing()
    assert.same({ true, true, true }, said)
    assert.equal(1, n)
  end))

  it("delays a presence by a minute at most, and an error doesn't", testing.around(function(t)
    presence.before(t.conn, function() xmpp.sleep(1000) end)
    presence.before(t.conn, function() error "no roster" end)
    xmpp.spawn(presence.set, t.conn, {})
    t:advance(59)
    t:nothing()
    t:advance(1)
    t:expect { "presence" }
    local errors = table.concat(t:take_errors())
    assert.truthy(errors:find("no roster", 1, true))
    t:advance(1000)
  end))

  it("sends nothing for a session that has ended meanwhile", testing.around(function(t)
    local n = 0
    presence.before(t.conn, function() n = n + 1 xmpp.sleep(5) end)
    xmpp.spawn(presence.set, t.conn, {})
    t:advance(1)
    t:reconnect { new = true }
    t:advance(5)
    t:expect { "presence" }
    t:nothing()
    assert.equal(2, n)
  end))

  it("leads to no presence if it is cleared meanwhile", testing.around(function(t)
    presence.before(t.conn, function() xmpp.sleep(1) end)
    xmpp.spawn(presence.set, t.conn, {})
    t:nothing()
    assert.is_true(presence.clear(t.conn))
    t:advance(2)
    t:nothing()
    presence.set(t.conn, { show = "chat" })
    t:expect { "presence", {}, { "show", {}, "chat" } }
  end))

  it("doesn't hang if the first caller's coroutine is closed", function()
    if not coroutine.close then return end -- luacheck: ignore
    testing.around(function(t)
      presence.before(t.conn, function() xmpp.sleep(1) end)
      local first = coroutine.create(function() presence.set(t.conn, { status = "one" }) end)
      coroutine.resume(first)
      coroutine.close(first) -- luacheck: ignore
      xmpp.spawn(presence.set, t.conn, { status = "two" })
      t:advance(1)
      t:expect { "presence", {}, { "status", {}, "two" } }
    end)()
  end)
end)

describe("presence.send", function()
  it("sends to one address, in this session", testing.around(function(t)
    assert.is_true(presence.send(t.conn, "Anna@example.net/pc", { show = "away", status = "hi" }))
    assert.same({ "presence", { to = "anna@example.net/pc" }, { "show", {}, "away" }, { "status", {}, "hi" } },
      t:expect { "presence" })
    assert.is_nil(presence.last(t.conn))
    presence.send(t.conn, ANNA, { type = "unavailable", status = "bye" })
    assert.same({ "presence", { to = ANNA, type = "unavailable" }, { "status", {}, "bye" } }, t:expect { "presence" })
    presence.send(t.conn, ANNA)
    t:expect { "presence", { to = ANNA } }
    t:cut(false)
    presence.send(t.conn, ANNA, { status = "in the old session" })
    presence.send(t.conn, ANNA, { type = "subscribe", status = "may I?" })
    t:reconnect { new = true }
    assert.same({ to = ANNA, type = "subscribe" }, t:expect({ "presence" })[2])
    t:nothing()
  end))

  it("refuses invalid arguments", testing.around(function(t)
    local conn = t.conn
    for text, p in pairs {
      ["bad option 'type' of 'send' (subscribe, subscribed, unavailable, unsubscribe or unsubscribed expected, got p"] =
        { type = "probe" },
      ["bad option 'type' of 'send' (such a presence has a status at most)"] = { type = "unavailable", show = "away" },
    } do
      stage.refuses(text, function() presence.send(conn, ANNA, p) end)
    end
    stage.refuses("bad argument #2 to 'send' (string expected, got nil)", function() presence.send(conn) end)
    local ok, err = presence.send(conn, "@")
    assert.is_nil(ok)
    assert.truthy(err.text)
  end))

  it("keeps presences from there until it is revoked, or the session ends", testing.around(function(t)
    local told = heard(t)
    presence.send(t.conn, ANNA .. "/pc")
    come(t, ANNA .. "/pc")
    assert.equal("pc", resources(t, ANNA))
    presence.send(t.conn, ANNA, { type = "unavailable" })
    assert.equal("", resources(t, ANNA))
    come(t, ANNA .. "/pc")
    assert.equal("", resources(t, ANNA))
    presence.send(t.conn, ANNA)
    come(t, ANNA .. "/pc")
    assert.same({ ANNA .. "/pc online", ANNA .. "/pc online" }, told())
    t:sent()
    t:reconnect { new = true }
    assert.same({ "reset" }, told())
    come(t, ANNA .. "/pc")
    assert.same({}, told())
  end))

  it("lets the addressee query us by disco", testing.around(function(t)
    ext.use(t.conn, disco)
    local function ask(from)
      t:receive { "iq", { type = "get", id = "1", from = from },
        { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } }
      return t:expect({ "iq" })[2].type
    end
    assert.equal("error", ask(ANNA .. "/pc"))
    presence.send(t.conn, ANNA .. "/pc")
    assert.is_true(t:expect({ "presence" })[2].to == ANNA .. "/pc")
    assert.same({ "result", "error" }, { ask(ANNA .. "/pc"), ask(EVE .. "/pc") })
    presence.send(t.conn, ANNA, { type = "unavailable" })
    t:expect { "presence" }
    assert.equal("error", ask(ANNA .. "/pc"))
    presence.send(t.conn, ANNA)
    t:expect { "presence" }
    ext.drop(t.conn, presence)
    assert.equal("error", ask(ANNA .. "/pc"))
  end))

  it("keeps at most max_directed addresses", testing.around(function(t)
    ext.use(t.conn, presence, { max_directed = 2 })
    for i = 1, 3 do
      presence.send(t.conn, ("a%d@example.net"):format(i))
      come(t, ("a%d@example.net/x"):format(i))
    end
    assert.same({ "x", "x", "" }, { resources(t, "a1@example.net"), resources(t, "a2@example.net"),
      resources(t, "a3@example.net") })
    presence.send(t.conn, "a1@example.net", { type = "unavailable" })
    presence.send(t.conn, "a3@example.net")
    come(t, "a3@example.net/x")
    assert.equal("x", resources(t, "a3@example.net"))
    t:sent()
  end))
end)

describe("presence keeps", function()
  it("those of wanted addresses", testing.around(function(t)
    local told = heard(t, "Anna@Example.net")
    come(t, ANNA .. "/pc", nil, [[<show>dnd</show><status>busy</status><priority>7</priority>
      <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://psi-im.org' ver='abc='/>
      <idle xmlns='urn:xmpp:idle:1' since='2023-11-14T22:03:20Z'/>
      <delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:12:20Z'/>]])
    come(t, "ANNA@example.net/Phone")
    assert.same({ ANNA .. "/pc dnd", ANNA .. "/Phone online" }, told())
    assert.same({ pc = { show = "dnd", status = "busy", priority = 7, since = 1699999940,
      idle_since = 1699999400, caps = "abc=" },
      Phone = { priority = 0, since = t:now() } }, presence.of(t.conn, ANNA))
    assert.equal("busy", presence.of(t.conn, "anna@EXAMPLE.net/pc").status)
    assert.is_nil(presence.of(t.conn, ANNA .. "/phone"))
    come(t, ANNA .. "/pc", "unavailable", "<status>gone</status>")
    assert.same({ ANNA .. "/pc unavailable" }, told())
    assert.equal("Phone", resources(t, ANNA))
    come(t, ANNA .. "/pc", "unavailable") -- that resource wasn't online
    assert.same({}, told())
    assert.is_nil((presence.of(t.conn, "@")))
  end))

  it("none of strangers", testing.around(function(t)
    local told = heard(t, ANNA)
    for _, from in ipairs { EVE, EVE .. "/x", "anna@example.net.evil.example/pc", "example.net",
      "room@rooms.example.net/anna", "anna%40example.net@evil.example/x" } do
      for _, kind in ipairs { false, "unavailable", "error" } do come(t, from, kind or nil) end
    end
    t:receive "<presence><status>from nobody</status></presence>"
    come(t, ANNA .. "/pc")
    told()
    t:receive(("<presence from='@'/><presence from='%s/pc' type='invisible'/>"):format(ANNA))
    for _, kind in ipairs { "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe" } do
      come(t, ANNA, kind)
      come(t, ANNA .. "/pc", kind)
    end
    assert.same({}, told())
    assert.equal("pc", resources(t, ANNA))
    assert.equal("", resources(t, EVE))
  end))

  it("those of our account's other resources, not our own", testing.around(function(t)
    local told = heard(t)
    come(t, "bot@example.net/other", nil, "<show>away</show>")
    come(t, "bot@example.net/test")
    assert.same({ "bot@example.net/other away" }, told())
    assert.equal("other", resources(t, "bot@example.net"))
    come(t, "bot@example.net/test", "unavailable")
    assert.same({}, told())
  end))

  it("those of at most 64 resources of an address", testing.around(function(t)
    local told = heard(t, ANNA)
    for i = 1, 70 do come(t, ("%s/%d"):format(ANNA, i)) end
    assert.equal(64, #told())
    local n = 0
    for _ in pairs(presence.of(t.conn, ANNA)) do n = n + 1 end
    assert.equal(64, n)
    assert.is_nil(presence.of(t.conn, ANNA .. "/65"))
    come(t, ANNA .. "/65", "unavailable")
    assert.same({}, told())
    come(t, ANNA .. "/1", nil, "<show>xa</show>") -- a resource that is known already
    come(t, ANNA .. "/2", "unavailable")
    come(t, ANNA .. "/66")
    assert.same({ ANNA .. "/1 xa", ANNA .. "/2 unavailable", ANNA .. "/66 online" }, told())
  end))

  it("their fields within bounds", testing.around(function(t)
    heard(t, ANNA)
    local function of(children)
      come(t, ANNA .. "/pc", nil, children)
      return presence.of(t.conn, ANNA .. "/pc")
    end
    for text, priority in pairs { ["127"] = 127, ["128"] = 127, ["-128"] = -128, ["-129"] = -128, ["+5"] = 5,
      [" 3 "] = 3, ["999999999999"] = 0, ["1e2"] = 0, ["0x10"] = 0, ["1.5"] = 0, [""] = 0, ["high"] = 0 } do
      assert.equal(priority, of(("<priority>%s</priority>"):format(text)).priority, text)
    end
    for _, show in ipairs { "online", "AWAY", "", "away " } do
      assert.is_nil(of(("<show>%s</show>"):format(show)).show)
    end
    assert.is_nil(of("<show xmlns='urn:x'>away</show>").show)
    assert.is_nil(of("<status xmlns='urn:x'>away</status>").status)
    assert.equal("b", of("<status xml:lang='de'>a</status><status>b</status>").status)
    assert.equal(4096, #of("<status>" .. ("a"):rep(5000) .. "</status>").status)
    local status = of("<status>a" .. ("\226\130\172"):rep(2000) .. "</status>").status
    assert.equal("a" .. ("\226\130\172"):rep(1365), status) -- no character is cut in two
    assert.is_nil(of(("<c xmlns='http://jabber.org/protocol/caps' node='x' ver='%s'/>"):format(("n"):rep(129))).caps)
    assert.is_nil(of("<c xmlns='urn:x' node='x' ver='x'/>").caps)
    assert.equal(t:now(), of("<delay xmlns='urn:xmpp:delay' stamp='2099-01-01T00:00:00Z'/>").since)
    assert.equal(t:now(), of("<delay xmlns='urn:xmpp:delay' stamp='yesterday'/>").since)
    assert.is_nil(of("<idle xmlns='urn:xmpp:idle:1' since='x'/>").idle_since)
  end))

  it("none of an address whose presence is an error, which is reported", testing.around(function(t)
    local told = heard(t, ANNA)
    local gone = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    come(t, ANNA .. "/pc")
    come(t, ANNA .. "/phone")
    told()
    come(t, ANNA .. "/pc", "error", gone .. "<status>not its own</status>")
    assert.same({ ANNA .. "/pc error gone" }, told())
    assert.equal("phone", resources(t, ANNA))
    come(t, ANNA, "error", gone)
    assert.same({ ANNA .. " error gone" }, told())
    assert.equal("", resources(t, ANNA))
  end))

  it("none of an address that is unavailable as a whole", testing.around(function(t)
    local told = heard(t, ANNA)
    come(t, ANNA .. "/pc")
    come(t, ANNA .. "/phone")
    told()
    come(t, ANNA, "unavailable")
    assert.same({ ANNA .. " unavailable" }, told())
    assert.equal("", resources(t, ANNA))
  end))

  it("that of a gateway, which has no resource", testing.around(function(t)
    local told = heard(t, "icq.example.net")
    come(t, "icq.example.net", nil, "<show>away</show>")
    assert.equal("away", presence.of(t.conn, "icq.example.net")[""].show)
    come(t, "icq.example.net", "unavailable")
    assert.same({}, presence.of(t.conn, "icq.example.net"))
    assert.equal(2, #told())
  end))

  it("those of addresses that the server folds, never the other way round", testing.around(function(t)
    local told = heard(t)
    local off = presence.keep(t.conn, "straße@example.net")
    come(t, "strasse@example.net/x", nil, "<show>away</show>")
    assert.same({ "strasse@example.net/x away" }, told())
    assert.equal("away", presence.of(t.conn, "straße@example.net").x.show)
    assert.is_true(off())
    assert.equal("", resources(t, "strasse@example.net"))
    presence.keep(t.conn, "strasse@example.net")
    come(t, "straße@example.net/x")
    assert.same({}, told())
    presence.send(t.conn, "maß@example.net")
    presence.send(t.conn, "maß@example.net", { status = "again" })
    come(t, "mass@example.net/x")
    assert.same({ "mass@example.net/x online" }, told())
    presence.send(t.conn, "maß@example.net", { type = "unavailable" })
    come(t, "mass@example.net/x")
    assert.same({}, told())
    assert.equal("", resources(t, "mass@example.net"))
    t:sent()
  end))

  it("them as long as somebody wants them", testing.around(function(t)
    local one, two = presence.keep(t.conn, ANNA), presence.keep(t.conn, ANNA .. "/pc")
    come(t, ANNA .. "/pc")
    assert.is_true(one())
    assert.is_false(one())
    assert.equal("pc", resources(t, ANNA))
    assert.is_true(two())
    assert.equal("", resources(t, ANNA))
    come(t, ANNA .. "/pc")
    assert.equal("", resources(t, ANNA))
    stage.refuses("bad argument #2 to 'keep' (string expected, got nil)", function() presence.keep(t.conn) end)
    stage.refuses("bad argument #2 to 'keep' (", function() presence.keep(t.conn, "@") end)
  end))

  it("those that a function wants", testing.around(function(t)
    local contacts = { [ANNA] = true, ["bert@example.net"] = true }
    local off = presence.keep(t.conn, function(bare) return contacts[bare] end)
    come(t, ANNA .. "/pc")
    come(t, "bert@example.net/pc")
    come(t, EVE .. "/pc")
    assert.same({ "pc", "pc", "" }, { resources(t, ANNA), resources(t, "bert@example.net"), resources(t, EVE) })
    presence.forget(t.conn, ANNA) -- the other filter still keeps her
    assert.equal("pc", resources(t, ANNA))
    contacts[ANNA] = nil
    presence.forget(t.conn, ANNA)
    assert.equal("", resources(t, ANNA))
    come(t, "bot@example.net/other")
    assert.is_true(off())
    assert.is_false(off())
    assert.same({ "", "other" }, { resources(t, "bert@example.net"), resources(t, "bot@example.net") })
  end))

  it("none of an old session, and reports the reset", testing.around(function(t)
    local told = heard(t, ANNA)
    presence.set(t.conn, {})
    come(t, ANNA .. "/pc")
    told()
    t:cut()
    assert.equal("pc", resources(t, ANNA))
    t:resume()
    assert.equal("pc", resources(t, ANNA))
    t:reconnect { new = true }
    assert.same({ "reset" }, told())
    assert.equal("", resources(t, ANNA))
    come(t, ANNA .. "/pc")
    presence.clear(t.conn)
    assert.same({ ANNA .. "/pc online", "reset" }, told())
    assert.equal("", resources(t, ANNA))
    t:sent()
  end))

  it("working, whatever its listeners do", testing.around(function(t)
    local st, n = ext.use(t.conn, presence), 0
    presence.keep(t.conn, ANNA)
    st:on("presence", function() error "mine" end)
    st:on("presence", function() xmpp.sleep(5) end)
    st:on("presence", function() presence.set(t.conn, { show = "away" }) end)
    st:on("presence", function() n = n + 1 end)
    come(t, ANNA .. "/pc")
    assert.truthy(table.concat(t:take_errors()):find("extension 'presence', event 'presence'.*mine"))
    st:on("presence", function() ext.drop(t.conn, presence) end)
    come(t, ANNA .. "/phone")
    come(t, ANNA .. "/phone")
    assert.equal(2, n)
    t:take_errors()
    t:sent()
    t:advance(5)
    assert.same({}, presence.of(t.conn, ANNA))
    assert.is_nil(presence.last(t.conn))
  end))
end)

describe("presence's options and saved data", function()
  it("are checked", testing.around(function(t)
    local conn = t.conn
    stage.refuses("there is no option 'most'", function() ext.use(conn, presence, { most = 1 }) end)
    stage.refuses("bad option 'max_resources' (whole number expected, got x)",
      function() ext.use(conn, presence, { max_resources = "x" }) end)
    ext.use(conn, presence, { max_resources = 1 })
    presence.keep(conn, ANNA)
    come(t, ANNA .. "/a")
    come(t, ANNA .. "/b")
    assert.equal("a", resources(t, ANNA))
  end))

  it("are loaded in a new session, and the presence is sent", function()
    local saved
    testing.around(function(t)
      presence.set(t.conn, { status = "one" })
      t:expect { "presence" }
      presence.keep(t.conn, ANNA)
      come(t, ANNA .. "/pc")
      saved = ext.save(t.conn)
    end)()
    assert.same({ presence = { last = { status = "one" }, by = { [ANNA] = { pc = { priority = 0,
      since = 1700000000 } } } } }, saved)
    testing.around(function(t)
      ext.load(t.conn, saved)
      ext.use(t.conn, presence)
      t:expect { "presence", {}, { "status", {}, "one" } }
      t:nothing()
      presence.keep(t.conn, ANNA)
      assert.equal("", resources(t, ANNA)) -- this is another session
    end)()
    testing.around(function(t)
      ext.load(t.conn, { presence = { last = { show = "here" } } })
      ext.use(t.conn, presence)
      assert.truthy(table.concat(t:take_errors()):find("what was set last", 1, true))
      t:nothing()
    end)()
  end)
end)

describe("presence in another process", function()
  it("isn't sent again if the session is resumed", testing.around(function(t)
    presence.set(t.conn, { status = "one" })
    t:expect { "presence" }
    presence.keep(t.conn, ANNA)
    come(t, ANNA .. "/pc", nil, "<show>away</show>")
    local kept, saved = ext.save(t.conn), assert(t.conn:save())
    t.intercept = true -- the session continues in another connection of this test
    local conn = assert(xmpp.resume(saved, "secret", { reconnect = true }))
    assert.equal(1, conn:info().resumed)
    ext.load(conn, kept)
    ext.use(conn, presence)
    t:nothing()
    assert.same({ status = "one" }, presence.last(conn))
    assert.equal("away", presence.of(conn, ANNA).pc.show)
    presence.set(conn, { status = "two" })
    t:expect { "presence", {}, { "status", {}, "two" } }
    t:reconnect { new = true }
    t:expect { "presence", {}, { "status", {}, "two" } }
    assert.same({}, presence.of(conn, ANNA))
  end))
end)

describe("presence.stanza", function()
  it("makes a stanza to add to", function()
    local x = presence.stanza({ show = "away" }, "tea@rooms.example.net/kettle")
    assert.same({ "presence", { to = "tea@rooms.example.net/kettle" }, { "show", {}, "away" } }, x)
    assert.equal("<presence/>", xexpr.to_xml(presence.stanza()))
    stage.refuses("bad option 'show' of 'stanza'", function() presence.stanza { show = "x" } end)
  end)
end)
