-- links: what may happen to a link, one thing at a time; each causes no more than a pause.
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }

server.each(function(s)
  local conn, link, states

  before_each(function()
    states = {}
    link = proxy.start(s.host, s.port)
    conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, link.host, link.port,
      s.opts { reconnect = { min = 0.01, max = 0.1 }, ack_timeout = 2, keepalive = 0.5 }))
    assert(conn:ping(30))
    assert(conn:flush(30))
    conn:on("state", function(state) states[#states + 1] = state end)
  end)

  after_each(function()
    conn:stop(2)
    link:stop()
  end)

  -- Sends a message to itself. Returns the list of its states.
  local function say(text)
    local told = {}
    assert(conn:send({ "message", { to = tostring(conn:jid()), type = "chat" }, { "body", text } },
      { on = function(state, err) told[#told + 1] = err and tostring(err) or state end }))
    return told
  end

  local function turn_until(is_so)
    local limit = os.time() + 30
    while not is_so() do
      assert(os.time() < limit, "30 seconds have passed")
      xmpp.step(0.05)
    end
  end

  local function is_acked(told)
    return function() return told[#told] == "acked" end
  end

  -- What was sent comes once, in its order.
  local function hears(...)
    for _, text in ipairs { ... } do
      assert.equal(text, xmpp.xexpr.text(assert(conn:receive_blocking(30)), "body"))
    end
    assert(conn:ping(30))
    assert.is_nil((conn:receive()))
  end

  -- On the same session; on a slow machine it may have been resumed more than once.
  local function check_resumed()
    assert.is_true(conn:info().resumed >= 1)
    assert.equal(0, conn:info().rebound)
  end

  for _, how in ipairs { "fin", "rst" } do
    it("a " .. how, function()
      link:tell("cut " .. how)
      local told = say "one"
      turn_until(is_acked(told))
      assert.same({ "written", "acked" }, told)
      hears "one"
      check_resumed()
    end)
  end

  -- Prosody's parser keeps the half stanza, and continues with it after <resumed/>: that session is given up.
  it("a cut in mid-stanza", function()
    link:tell "after 40000 up rst"
    local long = ("x"):rep(60000)
    local told, last = say(long), say "two"
    turn_until(is_acked(last))
    assert.same({ "written", "acked" }, told)
    hears(long, "two")
    assert.is_true(conn:info().resumed >= 1)
  end)

  it("a link that drops everything in both directions", function()
    link:tell "hole"
    local told = say "one"
    turn_until(is_acked(told))
    assert.same({ "written", "acked" }, told)
    hears "one"
    check_resumed()
  end)

  it("a link that drops everything while nothing is sent", function()
    link:tell "hole"
    turn_until(function() return conn:info().resumed >= 1 end)
    say "one"
    hears "one"
  end)

  it("an answer that is on its way when the link breaks", function()
    link:tell "stall down"
    local response, err
    xmpp.spawn(function()
      response, err = conn:send_await({ "iq", { type = "get", to = s.domain }, PING }, 30)
    end)
    local told = say "one"
    turn_until(function() return told[1] == "written" end)
    link:tell "cut rst"
    turn_until(function() return response or err end)
    assert.is_nil(err)
    assert.equal("result", response[2].type)
    hears "one"
    check_resumed()
  end)

  it("a server that can't be reached for a while", function()
    link:tell "refuse"
    link:tell "cut fin"
    turn_until(function() return conn:state() == "waiting" end)
    local one, two = say "one", say "two"
    turn_until(function() return #states >= 6 end) -- it has tried more than once
    assert.same({ {}, {} }, { one, two })
    local bytes, stanzas = conn:pending()
    assert.is_true(bytes > 0)
    assert.equal(2, stanzas)
    link:tell "accept"
    turn_until(is_acked(two))
    assert.same({ "written", "acked" }, one)
    hears("one", "two")
    check_resumed()
  end)

  it("a link that is slow, but works", function()
    link:tell "delay 0.2"
    local told = say "one"
    turn_until(is_acked(told))
    assert.same({ "written", "acked" }, told)
    hears "one"
    assert.equal(0, conn:info().rebound)
  end)
end)
