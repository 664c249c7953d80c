-- on_open: the option that gives a program its connection before it is ready: to listen to its events, or to end it.
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local JID = "bot@example.net/x"

local function around(f)
  return testing.around(f, { jid = "bot@example.net", intercept = true })
end

describe("on_open", function()
  it("is called with the connection, which isn't ready yet", around(function()
    local given, state
    local conn = assert(xmpp.connect_client(JID, "secret", { on_open = function(c) given, state = c, c:state() end }))
    assert.equal(conn, given)
    assert.not_equal("ready", state)
    assert.equal("ready", conn:state())
  end))

  it("may watch its states", around(function()
    local states = {}
    assert(xmpp.connect_client(JID, "secret", { on_open = function(c)
      c:on("state", function(state) states[#states + 1] = state end)
    end }))
    assert.equal("ready", states[#states])
    assert.is_true(#states > 1)
  end))

  it("may stop the connection, which then isn't returned", around(function()
    local conn, err = xmpp.connect_client(JID, "secret", { on_open = function(c) c:stop() end })
    assert.is_nil(conn)
    assert.equal("closed", err.layer)
  end))

  it("that throws is reported to on_error, and ends nothing", around(function(t)
    local conn = assert(xmpp.connect_client(JID, "secret", { on_open = function() error "oops" end }))
    assert.equal("ready", conn:state())
    local errors = t:take_errors()
    assert.equal(1, #errors)
    assert.truthy(errors[1]:find("oops", 1, true))
  end))

  it("must be a function", function()
    local ok, why = pcall(xmpp.connect_client, JID, "secret", { on_open = true })
    assert.is_false(ok)
    assert.truthy(why:find("bad option 'on_open' (function expected, got boolean)", 1, true), why)
  end)
end)

describe("info", function()
  it("has how long each phase took: nothing by the test's clock", around(function()
    local conn = assert(xmpp.connect_client(JID, "secret"))
    assert.same({ dns = 0, tcp = 0, tls = 0, login = 0 }, conn:info().took)
    assert.is_nil(conn:info().certificate_seconds)
  end))
end)
