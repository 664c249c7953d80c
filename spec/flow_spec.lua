-- flow: stanzas come faster than they are taken: programs that only send, handlers and callbacks that all wait. Memory
-- is bounded, the order is kept, and awaited responses get through.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local server = require "spec.support.server"
local stage = require "spec.support.stage"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME = stage.ME
local LIMIT = 64 * 1024
local CALL = 2048 -- bytes that a suspended call counts for, besides its stanza
local SM = "xmlns='urn:xmpp:sm:3'"

local f, conn

local function set(...) f, conn = ... end

local function body(n)
  return ("<message from='bob@xmpp.test/pc' n='%d'><body>%s</body></message>"):format(n, ("x"):rep(300))
end

-- Messages from..to arrive in separate pieces, as from a network.
local function flood(from, to)
  for i = from, to do core.conn.feed(conn, body(i)) end
  fed.settle()
end

local function numbers(from, to)
  local all = {}
  for i = from, to do all[#all + 1] = tostring(i) end
  return table.concat(all, " ")
end

local function drain()
  local all = {}
  for stanza in function() return (conn:receive()) end do all[#all + 1] = stanza[2].n or stanza[2].id end
  return all
end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

-- Reads what hasn't been read yet, so that the connection can end.
local function rest()
  conn:set_handler(function() end)
  fed.settle()
end

describe("a program that only sends", function()
  stage.around(set, { jid = ME, sm = true, max_queue = LIMIT, ack_timeout = 0.3 })

  local told, at_server, off

  before_each(function()
    told, at_server = {}, 0
    off = conn:on("full", function(...) told[#told + 1] = { n = select("#", ...), ... } end)
    f:feed("<enabled " .. SM .. "/>")
    f:sent()
  end)

  -- Sends `n` alerts, while others send as many to us; the server acknowledges after what it sends. Returns how many
  -- were refused, and how many have arrived there.
  local function alert(n)
    local refused = 0
    for i = 1, n do
      local ok = conn:send { "message", { to = "ops@xmpp.test", n = i }, { "body", ("a"):rep(200) } }
      if not ok then refused = refused + 1 end
      at_server = at_server + count(f:sent(), "</message>")
      core.conn.feed(conn, body(i) .. ("<a %s h='%d'/>"):format(SM, at_server))
      fed.settle()
    end
    return refused, at_server
  end

  it("goes on though nothing takes what comes: the oldest is dropped, which is counted and reported once", function()
    assert.same({ 0, 1000 }, { alert(1000) })
    assert.is_true(conn:info().dropped > 500)
    stage.turn_until(function() return conn:pending() == 0 end)
    assert.equal("ready", conn:state())
    local info = conn:info()
    assert.equal(1000, info.dropped + info.queued)
    assert.equal(1, #told)
    assert.equal(1, told[1].n)
    local err = told[1][1]
    assert.same({ "limit", "max-queue", false }, { err.layer, err.condition, err.retry })
    assert.matches("more than max_queue (65536 bytes) of them wait", err.text, 1, true)
    assert.matches("conn:set_handler(f) or conn:receive()", err.text, 1, true)
    local left = drain()
    assert.equal(info.queued, #left)
    assert.equal(numbers(info.dropped + 1, 1000), table.concat(left, " "))
  end)

  it("calls xmpp.on_error if there is no listener", function()
    assert.is_true(off())
    alert(500)
    local errors = stage.take_errors()
    assert.equal(1, #errors)
    assert.equal("max-queue", errors[1].object.condition)
    rest()
  end)

  it("that has received before is warned again when it no longer does", function()
    alert(300)
    assert.equal(1, #told)
    drain()
    xmpp.sleep(0.35)
    alert(300)
    assert.equal(2, #told)
    rest()
  end)

  it("loses nothing as long as nothing that it waits for follows what comes", function()
    flood(1, 1000)
    assert.equal(0, conn:info().dropped)
    local all, before = {}, -1
    while #all > before do
      before = #all
      for _, i in ipairs(drain()) do all[#all + 1] = i end
      fed.settle()
    end
    assert.equal(numbers(1, 1000), table.concat(all, " "))
    assert.same({}, told)
  end)

  it("that waits for a single acknowledgement gets it when it has waited for long, though it never receives", function()
    conn:send { "message", { to = "ops@xmpp.test" } }
    f:sent()
    flood(1, 1000)
    core.conn.feed(conn, ("<a %s h='1'/>"):format(SM))
    xmpp.sleep(0.35)
    assert.equal(0, conn:info().dropped)
    assert.equal(1, select(2, conn:pending()))
    stage.turn_until(function() return conn:pending() == 0 end)
    assert.equal("ready", conn:state())
    rest()
  end)

  it("that has received makes reading stop, which goes on when it hasn't received for ack_timeout", function()
    conn:receive()
    conn:send { "message", { to = "ops@xmpp.test" } }
    f:sent()
    flood(1, 1000)
    core.conn.feed(conn, ("<a %s h='1'/>"):format(SM))
    fed.settle()
    assert.equal(0, conn:info().dropped)
    assert.equal(1, select(2, conn:pending()))
    stage.turn_until(function() return select(2, conn:pending()) == 0 end)
    assert.is_true(conn:info().dropped > 0)
    assert.equal("ready", conn:state())
    assert.equal(1, #told)
    local left = drain()
    assert.equal("1000", left[#left])
  end)

  it("loses nothing while it receives, though it is slow, and its sends are acknowledged", function()
    local got, expected = {}, 0
    conn:receive()
    for i = 1, 300 do
      core.conn.feed(conn, body(i))
      if i % 10 == 0 then
        conn:send { "message", { to = "ops@xmpp.test" } }
        f:sent()
        expected = expected + 1
        core.conn.feed(conn, ("<a %s h='%d'/>"):format(SM, expected))
      end
      fed.settle()
    end
    repeat
      local stanza = conn:receive()
      if stanza then got[#got + 1] = stanza[2].n end
      fed.settle()
    until not stanza
    assert.equal(numbers(1, 300), table.concat(got, " "))
    assert.same({ 0, 0 }, { conn:pending() })
    assert.equal(0, conn:info().dropped)
  end)

  it("that awaits responses all the time is bounded, too, and gets each", function()
    for i = 1, 200 do
      local response
      coroutine.wrap(function() response = conn:send_await({ "iq", { type = "get", id = "q" .. i } }, 60) end)()
      f:sent()
      for n = 1, 40 do core.conn.feed(conn, body(n)) end
      core.conn.feed(conn, ("<iq type='result' id='q%d'/><a %s h='%d'/>"):format(i, SM, i))
      fed.settle()
      assert.equal("q" .. i, response[2].id)
    end
    local info = conn:info()
    assert.equal(8000, info.queued + info.dropped)
    assert.is_true(info.queued < 4000, info.queued)
    rest()
  end)

  it("answers the iqs that it throws away", function()
    f:feed "<iq type='get' id='old' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    for _ = 1, 150 do conn:send { "message", { to = "ops@xmpp.test" } } end
    f:sent()
    for i = 1, 1000 do core.conn.feed(conn, body(i)) end
    core.conn.feed(conn, ("<a %s h='150'/>"):format(SM))
    fed.settle()
    local answers = {}
    for _, x in ipairs(stage.sent(f)) do answers[#answers + 1] = x[1] == "iq" and x or nil end
    assert.equal(1, #answers)
    assert.equal(1, count(xexpr.to_xml(answers[1]), "<service%-unavailable"))
    assert.same({ type = "error", id = "old", to = "bob@xmpp.test/pc" }, answers[1][2])
  end)

  it("doesn't make the link seem dead while answers may follow what it hasn't taken", function()
    conn:receive()
    for i = 1, 20 do conn:send { "message", { n = i } } end -- an <r/> is sent at once
    f:sent()
    flood(1, 400)
    xmpp.sleep(0.2)
    repeat
      local stanza = conn:receive()
      fed.settle()
    until not stanza
    xmpp.sleep(0.2) -- what was held back is read now
    assert.equal("ready", conn:state())
    core.conn.feed(conn, ("<a %s h='20'/>"):format(SM))
    fed.settle()
    assert.same({ 0, 0 }, { conn:pending() })
    assert.equal(0, conn:info().dropped)
  end)
end)

describe("a program that only taps", function()
  stage.around(set, { jid = ME, max_queue = LIMIT, ack_timeout = 0.3 })

  local heard, told

  before_each(function()
    heard, told = 0, 0
    conn:tap(function() heard = heard + 1 end, { name = "presence" })
    conn:on("full", function() told = told + 1 end)
  end)

  local function presences(n)
    local presence = ("<presence from='room@xmpp.test/x'><status>%s</status></presence>"):format(("x"):rep(300))
    for _ = 1, n do core.conn.feed(conn, presence) end
    fed.settle()
  end

  it("has nothing in its queue of what they want", function()
    presences(2000)
    assert.equal(2000, heard)
    assert.same({ 0, 0, 0 }, { conn:info().queued, conn:info().dropped, told })
  end)

  it("never stalls by what they don't want: the oldest is dropped, which is counted and reported once", function()
    for _ = 1, 20 do
      flood(1, 100)
      presences(10)
    end
    assert.equal(200, heard)
    local info = conn:info()
    assert.equal(2000, info.queued + info.dropped)
    assert.is_true(info.dropped > 1000)
    assert.equal(1, told)
    assert.equal("100", drain()[info.queued])
  end)

  it("and receives is held back while it does so, and loses nothing", function()
    local got = {}
    conn:receive()
    flood(1, 1000)
    presences(1)
    assert.equal(0, heard)
    for _ = 1, 1000 do
      got[#got + 1] = assert(conn:receive())[2].n
      fed.settle()
    end
    assert.equal(numbers(1, 1000), table.concat(got, " "))
    assert.same({ 1, 0, 0 }, { heard, told, conn:info().dropped })
  end)

  it("goes on when all its taps wait, as soon as one has ended, in order", function()
    local order = {}
    conn:tap(function(stanza)
      order[#order + 1] = stanza[2].n
      stage.wait()
    end, { name = "message", serial = "from" })
    flood(1, 500)
    assert.same({ "1" }, order)
    assert.is_true(conn:info().waiting < 100)
    for _ = 1, 500 do stage.go() end
    assert.equal(numbers(1, 500), table.concat(order, " "))
    assert.equal(0, conn:info().waiting)
  end)
end)

describe("a component that only sends", function()
  stage.around(set, { jid = "echo.xmpp.test", component = true, max_queue = LIMIT })

  it("goes on, too, when the kernel takes no more until it reads", function()
    local told = 0
    conn:on("full", function() told = told + 1 end)
    flood(1, 100)
    for _ = 1, 150 do conn:send { "message", { to = "ops@xmpp.test", from = "echo.xmpp.test" } } end
    flood(101, 1000)
    assert.is_true(conn:info().dropped > 500)
    assert.equal(1, told)
    assert.equal(150, count(f:sent(), "<message"))
    assert.same({ 0, 0 }, { conn:pending() })
    rest()
  end)
end)

describe("handlers and callbacks that wait", function()
  stage.around(set, { jid = ME, sm = true, max_queue = LIMIT })

  local N = 1000

  before_each(function()
    f:feed("<enabled " .. SM .. "/>")
    f:sent()
  end)

  local function bounded(most)
    assert.is_true(most > 5, most)
    assert.is_true(most <= LIMIT / CALL + 2, most)
  end

  -- `waits` is called in a callback, and waits; runs until all N calls have ended.
  local function run_all(waits, turn)
    local began, over, now, most = {}, {}, 0, 0
    local function callback(stanza)
      began[#began + 1] = stanza[2].n
      now = now + 1
      most = math.max(most, now)
      waits(stanza)
      now = now - 1
      over[#over + 1] = stanza[2].n
    end
    conn:set_callback(callback, { name = "message" })
    conn:set_handler()
    for i = 1, N do core.conn.feed(conn, body(i)) end
    stage.turn_until(function()
      if turn then turn() end
      assert.is_true(now <= conn:info().waiting + 1)
      return #over == N
    end)
    bounded(most)
    assert.equal(numbers(1, N), table.concat(began, " "))
    assert.equal(0, conn:info().waiting)
    assert.equal(0, conn:info().queued)
  end

  it("are as many as max_queue allows; the rest comes when they are over, in order", function()
    run_all(function() xmpp.sleep(0.002) end)
  end)

  it("that wait for responses on the same connection get them, after all that comes meanwhile", function()
    local handled = 0
    run_all(function(stanza)
      local question = { "iq", { type = "get", to = "db@xmpp.test", id = "q" .. stanza[2].n } }
      local response = assert(conn:send_await(question, 60))
      assert.equal("q" .. stanza[2].n, response[2].id)
    end, function() -- the server answers after what it has sent
      for iq in f:sent():gmatch "<iq [^>]*>" do
        handled = handled + 1
        core.conn.feed(conn, ("<iq type='result' id='%s' from='db@xmpp.test'/>"):format(iq:match "q%d+"))
        core.conn.feed(conn, ("<a %s h='%d'/>"):format(SM, handled))
      end
    end)
    assert.equal(N, handled)
  end)

  it("count as over when something else has resumed them, or nothing can any more", function()
    local kept = {}
    conn:set_handler(function()
      kept[#kept + 1] = coroutine.running()
      coroutine.yield()
    end)
    for i = 1, 100 do core.conn.feed(conn, body(i)) end
    fed.settle()
    local first = #kept
    bounded(first)
    for i = 1, first do
      coroutine.resume(kept[i])
      assert.equal("dead", coroutine.status(kept[i]))
    end
    fed.settle()
    local second = #kept
    assert.is_true(second > first)
    for _ = 1, 20 do -- all of these are collected, and the next ones come
      kept = {}
      collectgarbage()
      collectgarbage()
      fed.settle()
    end
    assert.equal(0, conn:info().waiting)
  end)

  it("that throw after they have waited are over, too", function()
    conn:set_handler(function(stanza)
      xmpp.sleep(0)
      error("thrown " .. stanza[2].n)
    end)
    for i = 1, 200 do core.conn.feed(conn, body(i)) end
    stage.turn_until(function() return conn:info().waiting == 0 and xmpp.timeout() ~= 0 end)
    assert.equal(200, #stage.take_errors())
  end)

  it("don't delay others that don't wait themselves", function()
    local other = stage.open { jid = "other@xmpp.test/x", max_queue = LIMIT }
    local n = 0
    other.conn:set_handler(function() n = n + 1 end)
    conn:set_handler(stage.wait)
    for i = 1, 200 do core.conn.feed(conn, body(i)) end
    other:feed(("<message/>"):rep(500))
    assert.equal(500, n)
    conn:set_handler(function() end)
    while conn:info().waiting > 0 do stage.go(conn:info().waiting) end
  end)

  it("get a response that something else waits for in its order, and the receive queue never does", function()
    local seen = {}
    conn:set_handler(function(stanza)
      seen[#seen + 1] = stanza[2].n or stanza[2].id
      stage.wait()
    end)
    for i = 1, 60 do core.conn.feed(conn, body(i)) end
    fed.settle()
    local response
    conn:send_callback({ "iq", { type = "get", id = "q1" } }, function(r) response = r end)
    fed.settle()
    for i = 61, 70 do core.conn.feed(conn, body(i)) end
    core.conn.feed(conn, "<iq type='result' id='q1'/>" .. body(71))
    fed.settle()
    assert.equal("q1", response[2].id)
    assert.is_true(#seen < 60)
    local began = #seen
    conn:stop_handler()
    assert.equal(numbers(began + 1, 71), table.concat(drain(), " "))
    while conn:info().waiting > 0 do stage.go(conn:info().waiting) end
  end)

  it("get what is queued for them though the connection has ended", function()
    local n = 0
    conn:set_handler(function()
      stage.wait()
      n = n + 1
    end)
    for i = 1, 60 do core.conn.feed(conn, body(i)) end
    fed.settle()
    conn:send_callback({ "iq", { type = "get", id = "q1" } }, function() end) -- so that the rest is read
    core.conn.feed(conn, "</stream:stream>")
    fed.settle()
    assert.equal("closed", conn:state())
    for _ = 1, 60 do
      stage.go()
      fed.settle()
    end
    assert.equal(60, n)
  end)

  it("end by stop, which reads past them", function()
    conn:set_handler(stage.wait)
    for i = 1, 300 do core.conn.feed(conn, body(i)) end
    fed.settle()
    core.conn.feed(conn, "</stream:stream>")
    assert.equal("ready", conn:state())
    assert.is_true(conn:stop(20))
    conn:stop_handler()
    while conn:info().waiting > 0 do stage.go(conn:info().waiting) end
  end)

  it("share the limit with listeners for what was skipped, all of whose calls come", function()
    local began, now, most = {}, 0, 0
    local deep = "<message id='%d'>" .. ("<a>"):rep(130) .. ("</a>"):rep(130) .. "</message>"
    conn:on("skipped", function(what)
      began[#began + 1] = what.id
      now = now + 1
      most = math.max(most, now)
      xmpp.sleep(0.002)
      now = now - 1
    end)
    conn:set_handler(function() end)
    for i = 1, N do core.conn.feed(conn, deep:format(i)) end
    stage.turn_until(function() return #began == N and now == 0 end)
    bounded(most)
    assert.equal(numbers(1, N), table.concat(began, " "))
    assert.equal(0, conn:info().waiting)
    local calls = 0
    conn:on("skipped", function()
      calls = calls + 1
      stage.wait()
    end)
    conn:send_callback({ "iq", { type = "get", id = "q1" } }, print) -- so that reading goes on, up to the limit
    for i = 1, 2000 do core.conn.feed(conn, deep:format(i)) end
    fed.settle()
    assert.is_true(calls < (2 * LIMIT + 1024 * 1024) / CALL + 2, calls)
    while calls > 0 do
      stage.go(calls)
      calls = conn:info().waiting
    end
    core.conn.feed(conn, "<iq type='result' id='q1'/>")
    fed.settle()
  end)

  it("share the limit with a log function that waits", function()
    local began, now, most = 0, 0, 0
    local other = stage.open { jid = "other@xmpp.test/x", max_queue = LIMIT, log = function(direction)
      if direction == "out" then return end
      began, now = began + 1, now + 1
      most = math.max(most, now)
      xmpp.sleep(0.002)
      now = now - 1
    end }
    other.conn:set_handler(function() end)
    for i = 1, N do
      core.conn.feed(other.conn, body(i))
      fed.settle()
    end
    stage.turn_until(function() return began >= N end)
    stage.close(other)
    stage.turn_until(function() return now == 0 end)
    bounded(most)
  end)

  it("cost nothing when they have never waited", function()
    local n = 0
    conn:set_handler(function() n = n + 1 end)
    flood(1, N)
    assert.equal(N, n)
    assert.equal(0, conn:info().waiting)
  end)
end)

server.each(function(s)
  it("alerts reach everybody from a program that never receives, in a flood", function()
    local function login(user, opts)
      return assert(xmpp.connect_client(user .. "@" .. s.domain, s.users[user], s.host, s.port, s.opts(opts)))
    end
    local told, alerts = 0, 0
    local alice = login("alice", { max_queue = LIMIT, ack_timeout = 3 })
    local bob = login "bob"
    alice:on("full", function() told = told + 1 end)
    bob:set_handler(function() alerts = alerts + 1 end)
    local to_alice, to_bob = tostring(alice:jid()), tostring(bob:jid())
    for i = 1, 400 do
      assert(bob:send { "message", { to = to_alice }, { "body", ("x"):rep(500) } })
      assert(alice:send { "message", { to = to_bob }, { "body", "alert " .. i } })
      if i % 50 == 0 then stage.turn_until(function() return alice:pending() < LIMIT / 4 end, 100) end
    end
    stage.turn_until(function() return alerts == 400 end, 100)
    stage.turn_until(function() -- the flood may be slow
      if alice:pending() == 0 then alice:send { "message", { to = to_bob }, { "body", "one more" } } end
      return told > 0
    end, 100)
    assert(alice:flush(60))
    assert.equal(1, told)
    assert.is_true(alice:info().dropped > 0)
    assert.is_true(alice:stop(20))
    bob:stop(60) -- ejabberd takes long for a flood
  end)
end)
