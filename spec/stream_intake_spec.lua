-- stream: an intake between a server (Prosody, ejabberd) and Redis: what becomes of what comes in, and of what is to
-- go out, when Redis is slow, full or gone, when the link is, and when there are two intakes.
local core = require "xmpp.core"
local farm = require "spec.support.farm"
local redis = require "spec.support.redis"
local server = require "spec.support.server"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

if not redis.is_there() then
  describe("xmpp.stream.intake", function() pending "no redis-server, or no hiredis, here" end)
  return
end

local turn_until = farm.turn_until

server.each(function(s)
  local r, f, number, intakes, clients, errors, was

  setup(function() r, number = redis.start { appendfsync = "everysec" }, 0 end)
  teardown(function() r:stop() end)

  before_each(function()
    number, intakes, clients, errors = number + 1, {}, {}, {}
    f = farm.new(r, "t" .. number, { streams = 4 })
    was = xmpp.on_error(function(text) errors[#errors + 1] = text:match "^[^\n]*" end)
  end)

  after_each(function()
    for _, intake in ipairs(intakes) do intake:stop(5) end
    for _, conn in ipairs(clients) do conn:stop() end
    f:close()
    xmpp.on_error(was)
    for _ = 1, 3 do xmpp.step(0) end
    assert.is_false(core.is_busy())
  end)

  local function component(opts)
    return { host = s.host, port = s.component_port, domain = s.component, secret = s.secret, opts = opts }
  end

  local function begin(more)
    local o = { redis = { port = r.port }, name = f.name, streams = f.streams, component = component() }
    for name, value in pairs(more or {}) do o[name] = value or nil end
    local intake, err = xmpp.stream.intake(o)
    intakes[#intakes + 1] = intake
    return intake, err
  end

  local function client(name)
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, name .. "pw", s.host, s.port, s.opts()))
    clients[#clients + 1] = conn
    return conn
  end

  local function say(conn, body, id, to)
    conn:send { "message", { to = to or "bot@" .. s.component, id = id or body, type = "chat" }, { "body", body } }
  end

  -- What waits in the streams, by sender.
  local function waiting()
    local out, n = {}, 0
    for i = 0, f.streams - 1 do
      for _, entry in ipairs(f:entries("in:" .. i)) do
        local who = entry.stanza[2].from:match "^[^@]*"
        out[who] = out[who] or {}
        table.insert(out[who], xexpr.text(entry.stanza, "body") or entry.stanza[1])
        n = n + 1
      end
    end
    return out, n
  end

  local function has(n)
    turn_until(function() return select(2, waiting()) == n end)
    return (waiting())
  end

  -- An answer, as a worker puts it out.
  local function answer(i, to, body, more)
    local stanza = { "message", { to = to, from = "bot@" .. s.component, id = "a-" .. body }, { "body", {}, body } }
    for name, value in pairs(more or {}) do stanza[2][name] = value end
    f:call("XADD", f:key("out:" .. i), "*", "v", "1", "id", body, "stanza", xexpr.to_json(stanza))
    f:call("PUBLISH", f:key "bell:out", i)
  end

  local function hear(conn)
    local heard = {}
    conn:set_handler(function(stanza)
      if stanza[1] == "message" then heard[#heard + 1] = xexpr.text(stanza, "body") or stanza[2].type end
    end)
    conn:send { "presence" }
    assert(conn:ping())
    return heard
  end

  it("puts what comes into streams: one sender's into one, in order, as it came", function()
    local intake = begin()
    local alice, bob = client "alice", client "bob"
    for i = 1, 30 do
      say(alice, "a" .. i)
      say(bob, "b" .. i)
    end
    local got = has(60)
    for who, letter in pairs { alice = "a", bob = "b" } do
      for i = 1, 30 do assert.equal(letter .. i, got[who][i]) end
    end
    local places = {}
    for i = 0, 3 do
      for _, entry in ipairs(f:entries("in:" .. i)) do places[entry.key] = (places[entry.key] or "") .. i end
    end
    for _, list in pairs(places) do assert.equal(list:sub(1, 1):rep(30), list) end
    alice:send { "message", { to = s.component, id = "x<&\"é" },
      { "x", { xmlns = "urn:é", a = "1 2" }, "é\n<", { "y" } } }
    turn_until(function() return intake:info().taken == 61 end)
    local _, n = waiting()
    assert.equal(61, n)
    for i = 0, 3 do
      for _, entry in ipairs(f:entries("in:" .. i)) do
        if entry.stanza[2].id == "x<&\"é" then
          local x = xexpr.child(entry.stanza, "x", "urn:é")
          assert.same({ "x", { xmlns = "urn:é", a = "1 2" }, "é\n<", { "y", {} } }, x)
        end
      end
    end
  end)

  it("chooses the stream by what it is told to", function()
    begin { key = "bot" }
    local alice, bob = client "alice", client "bob"
    for i = 1, 5 do
      say(alice, "a" .. i, nil, "one@" .. s.component .. "/r" .. i)
      say(bob, "b" .. i, nil, "one@" .. s.component)
    end
    has(10)
    local full = 0
    for i = 0, 3 do
      if #f:entries("in:" .. i) > 0 then
        full = full + 1
        assert.equal("one@" .. s.component, f:entries("in:" .. i)[1].key)
      end
    end
    assert.equal(1, full)
    intakes[1]:stop()
    f:call("FLUSHALL")
    begin { key = function(stanza) return xexpr.text(stanza, "body"):sub(1, 1) end }
    say(alice, "xx", "1")
    say(bob, "xy", "2")
    has(2)
    for i = 0, 3 do assert.is_true(#f:entries("in:" .. i) ~= 1) end
  end)

  it("doesn't answer questions that are a worker's to answer, and does answer those that it leaves", function()
    begin { accept = function(stanza) return xexpr.child(stanza, "query", "urn:mine") ~= nil end }
    local alice = client "alice"
    local function ask(xmlns, id)
      return alice:send_await({ "iq", { type = "get", to = "bot@" .. s.component, id = id },
        { "query", { xmlns = xmlns } } }, 60)
    end
    local mine = xmpp.spawn(ask, "urn:mine", "q1")
    local other = assert(ask "urn:other")
    assert.equal("service-unavailable", xexpr.error(other).condition)
    has(1)
    f:call("XADD", f:key "out:2", "*", "v", "1", "id", "q", "stanza", xexpr.to_json { "iq",
      { type = "result", id = "q1", to = tostring(alice:jid()), from = "bot@" .. s.component },
      { "query", { xmlns = "urn:mine" }, "yes" } })
    local answered = assert(mine:wait())
    assert.equal("yes", xexpr.text(answered, "query", "urn:mine"))
  end)

  it("takes a message once that comes again, as it does when its sender connects anew", function()
    local intake = begin()
    local alice = client "alice"
    say(alice, "one", "id1")
    say(alice, "one", "id1")
    say(alice, "two", "id1")
    say(alice, "one", "id2")
    alice:send { "message", { to = "bot@" .. s.component, id = "id1", type = "chat" }, { "body", "one" },
      { "delay", { xmlns = "urn:xmpp:delay", stamp = "2026-01-01T00:00:00Z" } } }
    alice:send { "message", { to = "bot@" .. s.component }, { "body", "one" } }
    alice:send { "message", { to = "bot@" .. s.component }, { "body", "one" } }
    turn_until(function() return intake:info().taken + intake:info().repeated == 7 end)
    assert.equal(2, intake:info().repeated)
    assert.same({ "one", "two", "one", "one", "one" }, (waiting()).alice)
    assert.is_true(f:call("TTL", f:call("KEYS", f:key "had:*")[1]) > 86000)
    intake:stop()
    f:call "FLUSHALL"
    begin { remember = 0 }
    say(alice, "one", "id1")
    say(alice, "one", "id1")
    has(2)
    assert.same({}, f:call("KEYS", f:key "had:*"))
    intakes[#intakes]:stop()
    f:call "FLUSHALL"
    begin { remember = 0.5 } -- whole seconds are all that Redis takes
    say(alice, "two", "id2")
    has(1)
  end)

  it("puts it there once when Redis's reply is lost, and it has to say it again", function()
    local lost = farm.without_reply("append", function() begin { remember = 0 } end)
    local alice = client "alice"
    for i = 1, 20 do say(alice, "a" .. i) end
    turn_until(function() return intakes[1]:info().taken == 20 end)
    assert.equal(1, lost())
    local got, n = waiting()
    assert.equal(20, n)
    for i = 1, n do assert.equal("a" .. i, got.alice[i]) end
  end)

  it("sends what is put out, in order, once", function()
    local intake = begin()
    local alice, bob = client "alice", client "bob"
    local a, b = hear(alice), hear(bob)
    for i = 1, 100 do
      answer(1, tostring(alice:jid()), "a" .. i)
      answer(3, tostring(bob:jid()), "b" .. i)
    end
    turn_until(function() return #a >= 100 and #b >= 100 end)
    for i = 1, 100 do
      assert.equal("a" .. i, a[i])
      assert.equal("b" .. i, b[i])
    end
    answer(1, tostring(alice:jid()), "a7")
    answer(1, tostring(alice:jid()), "a101")
    turn_until(function() return #a >= 101 end)
    assert.equal("a101", a[101])
    turn_until(function() return intake:info().sent == 202 end)
    assert.same({ 0, 0 }, { f:call("XLEN", f:key "out:1"), f:call("XLEN", f:key "out:3") })
  end)

  it("puts with the dead what can't be sent, and goes on", function()
    local dead = {}
    begin { on_dead = function(entry, err) dead[#dead + 1] = { entry.id ~= nil, err.text } end }
    local alice = client "alice"
    local heard = hear(alice)
    local to = tostring(alice:jid())
    answer(1, to, "foreign", { from = "eve@elsewhere.example" })
    f:call("XADD", f:key "out:1", "*", "v", "1", "id", "x", "stanza", "no json")
    f:call("XADD", f:key "out:1", "*", "something", "else")
    f:call("XADD", f:key "out:1", "*", "v", "1", "id", "y", "stanza", '["message",{"to":"a@b"},["a:b",{}]]')
    answer(1, to, "fine")
    turn_until(function() return heard[1] ~= nil end)
    assert.same({ "fine" }, heard)
    turn_until(function() return #dead == 4 end)
    assert.equal(4, f:call("XLEN", f:key "dead"))
    assert.matches("invalid%-from", dead[1][2])
  end)

  it("reads no more when a stream is full, and loses nothing", function()
    local states = {}
    local intake = begin { max_length = 50, in_flight = 10, component = component { max_queue = 4000 },
      on_state = function(state, err) states[#states + 1] = err and err.condition or state end }
    local load = assert(xmpp.connect_component(s.host, s.component_port, s.component2, s.secret))
    clients[1] = load
    local N = 3000
    for i = 1, N do
      load:send { "message", { from = "u@" .. s.component2, to = "bot@" .. s.component, id = tostring(i) },
        { "body", tostring(i) } }
      if i % 100 == 0 then xmpp.sleep(0) end
    end
    turn_until(function() return states[1] == "full" end)
    xmpp.sleep(0.5)
    assert.equal(50, select(2, waiting()))
    -- What it has read is bounded, whatever the server has for it.
    assert.is_true(intake:info().waiting <= 200, tostring(intake:info().waiting))
    local seen = 0
    local function take()
      for i = 0, 3 do
        for _, entry in ipairs(f:entries("in:" .. i)) do
          seen = seen + 1
          assert.equal(tostring(seen), xexpr.text(entry.stanza, "body"))
          f:call("XDEL", f:key("in:" .. i), entry.entry_id)
        end
      end
      return seen == N
    end
    turn_until(take, 240)
    assert.equal(N, intake:info().taken)
  end)

  it("holds what it has while Redis is full, or gone", function()
    local states = {}
    local intake = begin { on_state = function(state, err) states[#states + 1] = err and err.condition or state end }
    local alice = client "alice"
    f:call("SET", "filler", ("x"):rep(3000000))
    f:call("CONFIG", "SET", "maxmemory", "1mb")
    say(alice, "a1")
    turn_until(function() return states[1] == "OOM" end)
    f:call("CONFIG", "SET", "maxmemory", "0")
    has(1)
    turn_until(function() return states[2] == "ready" end)
    f:fsync_always()
    r:signal "STOP"
    for i = 2, 20 do say(alice, "a" .. i) end
    assert(alice:flush())
    xmpp.sleep(0.3)
    local back = xmpp.spawn(function() xmpp.sleep(0.2) r:restart "KILL" end)
    back:wait()
    f.r:close()
    f.r = assert(require "xmpp.redis".connect { port = r.port, timeout = 30 })
    local got = has(20).alice
    for i = 1, 20 do assert.equal("a" .. i, got[i]) end
    assert.equal(20, intake:info().taken)
    turn_until(function() return states[#states] == "ready" end)
  end)

  it("comes back when the server has gone", function()
    local intake = begin { component = component { reconnect = { min = 0.1, max = 0.5 } } }
    local alice = client "alice"
    say(alice, "before")
    has(1)
    local old = intake:conn()
    s:restart(true)
    answer(2, "alice@" .. s.domain, "late")
    alice = client "alice"
    local heard = hear(alice)
    turn_until(function() return intake:conn() and intake:conn():state() == "ready" and intake:info().streams == 4 end)
    assert.is_truthy(old)
    say(alice, "after")
    has(2)
    -- ejabberd may store the message for Alice just after her presence has asked for what is stored. Then she gets it
    -- when she comes again.
    local function has_come() return heard[1] == "late" end
    if not pcall(turn_until, has_come, 10) then
      assert(alice:stop())
      heard = hear(client "alice")
      turn_until(has_come)
    end
  end)

  it("that is stopped has put all that it has read into Redis", function()
    local intake = begin()
    local alice = client "alice"
    for i = 1, 50 do say(alice, "a" .. i) end
    assert(alice:flush())
    turn_until(function() return intake:info().taken > 0 end)
    assert(intake:stop())
    local got, n = waiting()
    assert.equal(intake:info().taken, n)
    for i = 1, n do assert.equal("a" .. i, got.alice[i]) end
    assert.is_nil(intake:conn())
    assert.equal(0, f:call("HLEN", f:key "intakes:leases"))
    assert.equal(0, f:call("ZCARD", f:key "intakes"))
  end)

  it("there may be two of: they share what goes out, and one takes the other's place", function()
    local states = {}
    begin()
    local two = begin { on_state = function(state, err) states[#states + 1] = err and err.condition or state end }
    if s.name == "prosody" then
      turn_until(function() return states[1] == "conflict" end)
      assert.is_nil(two:conn())
    else
      turn_until(function() return two:info().streams == 2 end)
    end
    intakes[1]:stop()
    turn_until(function() return two:conn() and two:info().streams == 4 end)
    local alice = client "alice"
    local heard = hear(alice)
    say(alice, "hello")
    has(1)
    answer(0, tostring(alice:jid()), "hello yourself")
    turn_until(function() return heard[1] == "hello yourself" end)
  end)

  it("says at once what can't come right by itself", function()
    local wrong = component()
    wrong.secret = "wrong"
    local intake, err = begin { component = wrong }
    assert.is_nil(intake)
    assert.equal("not-authorized", err.condition)
    intake, err = begin { redis = { port = 1 } }
    assert.is_nil(intake)
    assert.equal("no-connection", err.condition)
  end)

  it("may be an account's as well", function()
    local bob = client "bob"
    bob:send { "presence" }
    assert(bob:ping())
    begin { component = false, conn = bob }
    local alice = client "alice"
    local heard = hear(alice)
    say(alice, "hello", nil, tostring(bob:jid()))
    has(1)
    answer(0, tostring(alice:jid()), "hello yourself", { from = "bob@" .. s.domain .. "/elsewhere" })
    turn_until(function() return heard[1] == "hello yourself" end)
  end)
end)

describe("xmpp.stream.intake", function()
  it("takes no options but its own", function()
    local function why(o)
      local whole = { redis = {}, name = "x", component = { host = "h", port = 1, domain = "d", secret = "s" } }
      for name, value in pairs(o) do whole[name] = value or nil end
      return select(2, pcall(function() assert(xmpp.stream.intake(whole)) end))
    end
    assert.matches("'conn'.*or instead of it component", why { component = false })
    assert.matches("'conn' of 'intake' %(connection expected", why { conn = {} })
    assert.matches("'component'.*secret is missing", why { component = { host = "h", port = 1, domain = "d" } })
    assert.matches("'component'.*it has host", why { component = { hots = "h" } })
    assert.matches("'component'.*port: number", why { component = { port = "1" } })
    assert.matches("'key'.*sender", why { key = "room" })
    assert.matches("'remember'", why { remember = -1 })
    assert.matches("^spec/stream_intake_spec.lua:%d+: bad option 'max_length'", why { max_length = 0 })
    assert.matches("did you mean 'accept'", why { acept = print })
    assert.matches("'handler'", why { handler = print })
  end)
end)
