-- service: xmpp.iq: queries and their results, and services that answer others. On fed bytes.

local fed = require "spec.support.fed"
local iq = require "xmpp.iq"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

local f, conn

describe("iq.get and iq.set", function()
  stage.around(function(...) f, conn = ... end)

  -- Queries. Returns { result, stanza or error }. `reply` is what the peer sends, with %s for the id.
  local function ask(kind, reply, to, opts)
    local got = {}
    xmpp.spawn(function()
      got[1], got[2] = iq[kind](conn, to, { "q", { xmlns = "urn:q" } }, opts)
      got.done = true
    end)
    fed.settle()
    local asked = stage.sent(f)
    assert.equal(1, #asked)
    if reply then f:feed((reply:gsub("%%s", asked[1][2].id))) end
    return got, asked[1]
  end

  it("return the result's child, and the result", function()
    local got, asked = ask("get", "<iq type='result' id='%s' from='bob@xmpp.test/pc'><a xmlns='urn:q' n='1'/></iq>",
      "bob@xmpp.test/pc")
    assert.same({ type = "get", to = "bob@xmpp.test/pc", id = asked[2].id }, asked[2])
    assert.same({ "q", { xmlns = "urn:q" } }, asked[3])
    assert.same({ "a", { xmlns = "urn:q", n = "1" } }, got[1])
    assert.equal("result", got[2][2].type)
    got, asked = ask("set", "<iq type='result' id='%s'/>")
    assert.equal("set", asked[2].type)
    assert.is_nil(asked[2].to)
    assert.is_true(got[1])
  end)

  it("accept an answer only from the address that was asked", function()
    local got = ask("get", "<iq type='result' id='%s' from='eve@xmpp.test/x'><a xmlns='urn:q'/></iq>",
      "bob@xmpp.test/pc")
    assert.is_nil(got.done)
  end)

  it("return what an error says", function()
    local got = ask("get", "<iq type='error' id='%s' from='bob@xmpp.test'><error type='wait' by='xmpp.test'>"
      .. "<resource-constraint xmlns='" .. STANZAS .. "'/><text xmlns='" .. STANZAS .. "'>too busy</text>"
      .. "<too-many xmlns='urn:app'/></error></iq>", "bob@xmpp.test")
    local err = got[2]
    assert.is_nil(got[1])
    assert.same({ "stanza", "resource-constraint", "wait", "too busy", "too-many", "xmpp.test", true },
      { err.layer, err.condition, err.type, err.text, err.app, err.by, err.retry })
    assert.equal("error", err.stanza[2].type)
    assert.equal("stanza: resource-constraint: too busy", tostring(err))
  end)

  it("return an error for an unknown error condition, too", function()
    local got = ask("get", "<iq type='error' id='%s' from='bob@xmpp.test'><error type='sometimes'>"
      .. "<no-such xmlns='" .. STANZAS .. "'/></error></iq>", "bob@xmpp.test")
    assert.same({ "undefined-condition", "cancel", false }, { got[2].condition, got[2].type, got[2].retry })
    got = ask("get", "<iq type='error' id='%s' from='bob@xmpp.test'/>", "bob@xmpp.test")
    assert.equal("bad-format", got[2].condition)
  end)

  it("return an error for a malformed answer", function()
    local got = ask("get", "<iq type='result' id='%s' from='bob@xmpp.test'><a xmlns='urn:q'/><b xmlns='urn:q'/></iq>",
      "bob@xmpp.test")
    assert.is_nil(got[1])
    assert.equal("bad-format", got[2].condition)
    assert.equal("iq: a result has one child at most", got[2].text)
  end)

  it("end with the connection, and by the timeout", function()
    local got = ask("get", nil, "bob@xmpp.test", { timeout = 0.05 })
    stage.turn_until(function() return got.done end)
    assert.equal("timeout", got[2].layer)
    got = ask("get", nil, "bob@xmpp.test")
    stage.close(f)
    assert.is_true(got.done)
    assert.equal("closed", got[2].layer)
  end)

  it("return an error for an invalid address, and raise for wrong arguments", function()
    local answer, err = iq.get(conn, "@xmpp.test", { "q", { xmlns = "urn:q" } })
    assert.is_nil(answer)
    assert.equal("jid-malformed", err.condition)
    stage.refuses("connection expected, got nil", function() iq.get(nil, "xmpp.test", { "q" }) end)
    stage.refuses("string expected, got boolean", function() iq.get(conn, true, { "q" }) end)
    stage.refuses("table expected, got nil", function() iq.set(conn, "xmpp.test") end)
    stage.refuses("stanza[3][2].n: string expected", function() iq.get(conn, nil, { "q", { n = true } }) end)
    stage.refuses("'get' has no option 'timout'", function() iq.get(conn, nil, { "q" }, { timout = 1 }) end)
    local wrong = { timeout = "1" }
    stage.refuses("bad option 'timeout' of 'set' (number expected", function() iq.set(conn, nil, { "q" }, wrong) end)
    assert.equal("", f:sent())
  end)
end)

describe("iq.serve", function()
  before_each(function()
    stage.begin()
    f = stage.open()
    conn = f.conn
    conn:set_handler() -- it answers iqs that nothing serves with an error
  end)
  after_each(function()
    f, conn = nil, nil
    stage.finish()
  end)

  local function question(id, kind, more)
    f:feed(("<iq type='%s' id='%s' from='bob@xmpp.test/pc' %s><q xmlns='urn:q' n='%s'/></iq>"):format(kind or "get", id,
      more or "", id))
  end

  local function refusal(condition, kind, text)
    return { "error", { type = kind }, { condition, { xmlns = STANZAS } },
      text and { "text", { xmlns = STANZAS }, text } or nil }
  end

  local function expect_answer(id, kind, child)
    assert.same({ { "iq", { type = kind, id = id, to = "bob@xmpp.test/pc" }, child } }, stage.sent(f))
  end

  it("answers with an element, an empty result or an error", function()
    local results = { { { "a", { xmlns = "urn:q" } } }, { true }, { nil, "modify", "bad-request", "town?" },
      { nil, "cancel", "forbidden" } }
    local at = 0
    iq.serve(conn, "get", "urn:q", function(payload, stanza, c)
      at = at + 1
      assert.same({ "q", { xmlns = "urn:q", n = "1" } }, payload)
      assert.equal("bob@xmpp.test/pc", stanza[2].from)
      assert.equal(conn, c)
      return results[at][1], results[at][2], results[at][3], results[at][4]
    end)
    question "1"
    expect_answer("1", "result", { "a", { xmlns = "urn:q" } })
    question "1"
    expect_answer("1", "result")
    question "1"
    expect_answer("1", "error", refusal("bad-request", "modify", "town?"))
    question "1"
    expect_answer("1", "error", refusal("forbidden", "cancel"))
  end)

  it("may wait, and no callback gets the iq meanwhile", function()
    local others = 0
    iq.serve(conn, "set", "urn:q", function()
      stage.wait()
      return true
    end)
    conn:set_callback(function() others = others + 1 end)
    question("1", "set")
    assert.same({}, stage.sent(f))
    stage.go()
    expect_answer("1", "result")
    assert.equal(0, others)
    question("2", "get")
    expect_answer("2", "error", refusal("service-unavailable", "cancel"))
  end)

  it("has its errors reported here, not to the peer", function()
    local make
    iq.serve(conn, "get", "urn:q", function() return make() end)
    for text, thrower in pairs {
      ["a secret of ours"] = function() error "a secret of ours" end,
      ["after a while"] = function()
        stage.wait()
        error "after a while"
      end,
      ["a service returns an element"] = function() return nil end,
      ["can't be sent: stanza[3][2].n"] = function() return { "a", { n = true } } end,
      ["true, or nil, type, condition"] = function() return nil, "cancel", "no-such-condition" end,
    } do
      make = thrower
      question "1"
      if text == "after a while" then stage.go() end
      expect_answer("1", "error", refusal("internal-server-error", "wait"))
      fed.settle()
      local told = stage.take_errors()
      assert.equal(1, #told)
      assert.truthy(told[1].text:find(text, 1, true), told[1].text)
      assert.truthy(told[1].text:find("service of iq get urn:q", 1, true), told[1].text)
    end
  end)

  it("isn't called for a request without an id, which can't be answered", function()
    local called = 0
    iq.serve(conn, "set", "urn:q", function() called = called + 1 return true end)
    f:feed "<iq type='set' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    assert.same({ { "iq", { type = "error", id = "", to = "bob@xmpp.test/pc" },
      refusal("service-unavailable", "cancel") } }, stage.sent(f))
    assert.equal(0, called)
    f:feed "<iq type='set' id='' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    expect_answer("", "result")
    assert.equal(1, called)
  end)

  it("isn't called if a gate refuses, until the gate is removed", function()
    local off = iq.gate(conn, function(x) return x[2].n == "1" end)
    iq.serve(conn, "get", "urn:q", function() return true end)
    conn:set_handler() -- it refuses what nothing takes
    local function ask(n)
      f:feed(("<iq type='get' id='g%s' n='%s' from='bob@xmpp.test/x'><q xmlns='urn:q'/></iq>"):format(n, n))
      return stage.sent(f)[1][2].type
    end
    assert.same({ "error", "result" }, { ask "1", ask "2" })
    assert.is_true(off())
    assert.is_false(off())
    assert.equal("result", ask "1")
  end)

  it("can be removed, once", function()
    local off = iq.serve(conn, "get", "urn:q", function() return true end)
    assert.is_true(off())
    assert.is_false(off())
    question "1"
    expect_answer("1", "error", refusal("service-unavailable", "cancel"))
    iq.serve(conn, "get", "urn:q", function() return true end)
    assert.is_false(off())
    question "2"
    expect_answer("2", "result")
  end)

  it("can be set once for each type and namespace", function()
    iq.serve(conn, "get", "urn:q", function() return true end)
    iq.serve(conn, "set", "urn:q", function() return true end)
    iq.serve(conn, "get", "urn:r", function() return true end)
    stage.refuses("iq get urn:q is served already", function() iq.serve(conn, "get", "urn:q", function() end) end)
    stage.refuses("get or set expected", function() iq.serve(conn, "result", "urn:q", function() end) end)
    stage.refuses("function expected, got nil", function() iq.serve(conn, "get", "urn:x") end)
    stage.refuses("bad option 'at'", function() iq.serve(conn, "get", "urn:x", function() end, { at = "@" }) end)
  end)

  it("of a component may be for one address or for all", function()
    stage.close(f)
    f = stage.open { jid = "rooms.xmpp.test", component = true }
    conn = f.conn
    conn:set_handler()
    local function by(name) return function() return { name, { xmlns = "urn:q" } } end end
    local function asked(to)
      f:feed(("<iq type='get' id='1' from='bob@xmpp.test/pc' to='%s'><q xmlns='urn:q'/></iq>"):format(to))
      local sent = stage.sent(f)[1]
      assert.equal(to, sent[2].from)
      return sent[3][1]
    end
    iq.serve(conn, "get", "urn:q", by "tea", { at = "Tea@rooms.xmpp.test" })
    assert.equal("tea", asked "tea@rooms.xmpp.test")
    assert.equal("error", asked "milk@rooms.xmpp.test")
    local at = { at = "tea@rooms.xmpp.test" }
    stage.refuses("served already at tea@rooms.xmpp.test", function() iq.serve(conn, "get", "urn:q", by "x", at) end)
    local off = iq.serve(conn, "get", "urn:q", by "all")
    assert.equal("all", asked "milk@rooms.xmpp.test")
    assert.equal("tea", asked "tea@rooms.xmpp.test")
    off()
    assert.equal("tea", asked "tea@rooms.xmpp.test")
  end)
end)

