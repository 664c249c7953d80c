-- conn:probe, and what uses it: a component's messages to itself, which prove that the route works. On fed connections,
-- with a clock of the test's.
local core = require "xmpp.core"
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

local DOMAIN = "echo.xmpp.test"

local f, conn

local function set(...) f, conn = ... end

-- What was sent, all of which must be probes.
local function probes()
  local all = stage.sent(f)
  for _, x in ipairs(all) do
    assert.equal("message", x[1])
    assert.equal(x[2].from, x[2].to)
    assert.equal("@" .. DOMAIN, x[2].to:match "@.*")
    assert.same({ "probe", { xmlns = "urn:x-lua-xmpp:probe", hops = "0" } }, x[3])
  end
  return all
end

local function comes_back(x, changes)
  local copy = { x[1], {}, x[3] }
  for key, value in pairs(x[2]) do copy[2][key] = value end
  for key, value in pairs(changes or {}) do copy[2][key] = value end
  f:feed(xmpp.xexpr.to_xml(copy))
end

-- Calls probe in a task.
local function probing(timeout)
  local got = {}
  xmpp.spawn(function()
    got[1], got[2] = conn:probe(timeout)
    got.done = true
  end)
  fed.settle()
  return got
end

local function pass(seconds)
  core.clock(core.clock() + seconds)
  fed.settle()
end

describe("a probe", function()
  stage.around(set, { jid = DOMAIN, component = true })

  before_each(function() core.clock(true) end)

  after_each(function() core.clock(false) end)

  it("returns the time that it took, and isn't seen by handlers", function()
    conn:tap(hears "tap")
    conn:set_handler(hears "handler")
    local got = probing()
    local x = probes()[1]
    pass(0.25)
    assert.is_nil(got.done)
    comes_back(x)
    assert.is_true(math.abs(got[1] - 0.25) < 1e-6)
    expect ""
    conn:stop_handler()
    comes_back(x) -- the same again, from a server that repeats itself
    assert.is_nil(conn:receive())
    expect ""
  end)

  it("is matched to its caller if several wait", function()
    local got = { probing(), probing(), probing() }
    local all = probes()
    comes_back(all[2])
    assert.is_true(got[2].done)
    assert.is_nil(got[1].done or got[3].done)
    comes_back(all[3])
    comes_back(all[1])
    assert.is_true(got[1].done and got[3].done)
  end)

  it("that doesn't come back in time is an error, and is ignored later", function()
    conn:set_handler(hears "handler")
    local got = probing(5)
    local x = probes()[1]
    pass(5)
    assert.is_true(got.done)
    assert.is_nil(got[1])
    assert.same({ "timeout", "timeout", true }, { got[2].layer, got[2].condition, got[2].retry })
    assert.matches("a message to ourselves to come back", got[2].text)
    comes_back(x)
    expect ""
  end)

  it("that comes back as an error doesn't count", function()
    conn:set_handler(hears "handler")
    local got = probing(5)
    comes_back(probes()[1], { type = "error" })
    assert.is_nil(got.done)
    pass(5)
    assert.equal("timeout", got[2].layer)
    expect ""
  end)

  it("can't be forged", function()
    conn:set_handler(hears "handler")
    local got = probing(5)
    local x = probes()[1]
    comes_back(x, { from = "eve@xmpp.test/x", n = 1 })
    comes_back(x, { from = "eve@evil.test", to = "eve@evil.test", n = 2 })
    comes_back(x, { from = "eve@xmpp.test/x", to = DOMAIN, n = 3 })
    assert.is_nil(got.done)
    expect "handler1 handler2 handler3"
    comes_back(x)
    assert.is_true(got.done)
  end)

  it("fails at the connection's end", function()
    local got = probing()
    f:feed "</stream:stream>"
    assert.equal("closed", got[2].layer)
    assert.equal("closed", select(2, conn:probe()).layer)
  end)

  it("works while drain takes no other stanzas", function()
    conn:set_handler(function()
      note(tostring(conn:probe()))
    end)
    stage.come(f, 1)
    local drained = xmpp.spawn(function() return conn:drain() end)
    fed.settle()
    stage.come(f, 2)
    comes_back(probes()[1])
    expect(tostring(core.now() - core.now())) -- no time has passed
    assert.equal("</stream:stream>", f:sent())
    f:feed "</stream:stream>"
    assert.equal(1, drained:wait().unread)
  end)

  it("is refused for a client", function()
    local client = stage.open().conn
    refuses("a component's connection expected: a client has conn:ping()", function() return (client:probe()) end)
    refuses("#1 to 'probe' (connection expected, got nil)", function() return (xmpp.probe()) end)
    refuses("#1 to 'probe' (seconds expected, got string)", function() return (conn:probe "x") end)
    assert.is_true(conn:info().lossy)
    assert.is_true(client:info().lossy) -- without stream management
  end)
end)

describe("keepalive_probe", function()
  local t

  local function begin(opts)
    t = testing.new { component = "echo.example.net", opts = opts }
  end

  after_each(function() t:finish() end)

  local function refuse_to_route()
    local n = 0
    t:on({ "message", {}, { "probe", { xmlns = "urn:x-lua-xmpp:probe" } } }, function()
      n = n + 1
      return false
    end)
    return function() return n end
  end

  it("ends a link on which nothing is routed, and reconnects at once", function()
    begin { reconnect = true, keepalive_probe = true }
    local states = {}
    t.conn:on("state", function(state, err) states[#states + 1] = state .. (err and "!" .. err.layer or "") end)
    t:advance(3600)
    assert.same({}, states)
    local asked = refuse_to_route()
    t:advance(60 + 3 * 20)
    assert.equal(3, asked())
    assert.equal("ready", t.conn:state())
    assert.equal("waiting!timeout", states[1])
    assert.equal("ready", states[#states])
  end)

  it("ends the connection without reconnect", function()
    begin { keepalive_probe = true, keepalive = 10, ack_timeout = 2 }
    refuse_to_route()
    t:advance(16.1)
    assert.equal("closed", t.conn:state())
    local _, err = t.conn:receive()
    assert.equal("timeout", err.condition)
    assert.is_true(err.retry)
    assert.matches("3 messages to ourselves have not come back, nor has anything else come, for 6 s", err.text)
  end)

  it("sends nothing as long as stanzas arrive", function()
    begin { keepalive_probe = true, keepalive = 10 }
    t.conn:set_handler(function() end)
    local asked = refuse_to_route()
    for _ = 1, 100 do
      t:advance(9)
      t:receive { "message", { from = "anna@example.net" } }
    end
    assert.equal(0, asked())
  end)

  it("is off by default", function()
    begin { reconnect = true }
    local asked = refuse_to_route()
    t:advance(3600)
    assert.equal(0, asked())
    assert.equal(true, t.conn:info().lossy)
  end)

  it("is answered by xmpp.testing, as probe is", function()
    begin {}
    local took
    xmpp.spawn(function() took = t.conn:probe() end)
    t:advance(0)
    assert.equal(0, took)
  end)
end)

describe("a component's lost link", function()
  it("is dialled again at once, then with pauses", function()
    local t = testing.new { component = "echo.example.net", opts = { reconnect = { min = 100, max = 100 } } }
    finally(function() t:finish() end)
    local states = {}
    local function break_it()
      t.server:cut(false)
      t:advance(0)
      return t.conn:state()
    end
    t:advance(40)
    t.conn:on("state", function(state) states[#states + 1] = state end)
    assert.equal("ready", break_it()) -- reconnects at once after a session that has lasted
    assert.equal("waiting", states[1])
    assert.equal("waiting", break_it())
    t:advance(100)
    assert.equal("ready", t.conn:state())
    t:advance(40)
    t:cut(false) -- while the server can't be reached
    t.server.up = true
    t:advance(0)
    assert.equal("waiting", t.conn:state())
  end)
end)
