-- loops: the library on other loops, by the adapters in lua/xmpp/loop, with the distribution's libraries.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr

-- For each: start() -> driver; go(f): runs f in a coroutine as its programs do; step(): waits, and does what is to do;
-- every(f) calls f each 5 ms; turns(f) calls f in each turn of the host; both until f returns false.
local hosts = {}

function hosts.luv(uv)
  local guard = uv.new_timer() -- one turn ends
  return {
    start = require "xmpp.loop.uv".start,
    go = function(f) coroutine.wrap(f)() end,
    step = function()
      guard:start(50, 50, function() end)
      uv.run "once"
      guard:stop()
    end,
    every = function(f)
      local timer = uv.new_timer()
      timer:start(5, 5, function()
        if f() == false then timer:stop() end
      end)
    end,
    turns = function(f)
      local check = uv.new_check()
      check:start(function()
        if f() == false then check:stop() end
      end)
    end,
    owner = "libuv",
  }
end

function hosts.cqueues(cqueues)
  local cq = cqueues.new()
  local function again(seconds)
    return function(f)
      cq:wrap(function()
        repeat cqueues.sleep(seconds) until f() == false
      end)
    end
  end
  return {
    start = function() return require "xmpp.loop.cqueues".start(cq) end,
    go = function(f) cq:wrap(f) end,
    step = function() assert(cq:step(0.05)) end,
    every = again(0.005),
    turns = again(0),
    owner = "cqueues",
  }
end

-- Copas has no timers: functions are called with each step instead.
function hosts.copas(copas)
  local watchers = {}
  local function watch(f) watchers[#watchers + 1] = f end
  return {
    start = require "xmpp.loop.copas".start,
    go = copas.addthread,
    step = function()
      copas.step(0.005)
      for i = #watchers, 1, -1 do
        if watchers[i]() == false then table.remove(watchers, i) end
      end
    end,
    every = watch,
    turns = watch,
    owner = "Copas",
  }
end

local function each_host(body)
  for _, name in ipairs { "luv", "cqueues", "copas" } do
    local found, library = pcall(require, name)
    if found then
      describe("on " .. name, function() body(hosts[name](library), name, library) end)
    else
      pending(("on %s, which is not there for %s"):format(name, luas.name))
    end
  end
end

each_host(function(host, name, library)
  local driver, failed

  before_each(function()
    failed = nil
    driver = host.start()
  end)
  after_each(function() driver:stop() end)

  local function go(f)
    host.go(function()
      local ok, why = xpcall(f, debug.traceback)
      if not ok then failed = why end
    end)
  end

  -- In LuaJIT and 5.4 one can yield across xpcall; in 5.1 the host's coroutine runs f directly.
  if not coroutine.wrap(function() return pcall(coroutine.yield, true) end)() then
    function go(f) host.go(f) end
  end

  local function turn_until(what)
    local limit = os.time() + 60
    while not what() do
      if failed then error(failed, 0) end
      if os.time() > limit then error("60 seconds have passed", 2) end
      host.step()
    end
  end

  -- The host calls f, outside of the library's coroutines and steps.
  local function call_from_host(f)
    local called
    host.every(function()
      if not called then
        called = true
        f()
      end
      return false
    end)
  end

  it("wakes it for timers and tasks that are started while it sleeps", function()
    local heard = {}
    local function note(what) return function() heard[#heard + 1] = what end end
    host.step() -- now it sleeps without a timeout
    call_from_host(function()
      xmpp.after(0.04, note "later")
      xmpp.after(0.02, note "sooner")
    end)
    turn_until(function() return #heard == 2 end)
    host.step()
    call_from_host(function() xmpp.spawn(note "at once") end)
    turn_until(function() return #heard == 3 end)
    assert.same({ "sooner", "later", "at once" }, heard)
  end)

  it("wakes it for queued stanzas when a handler is set", function()
    local f = fed.open { jid = "me@xmpp.test/here" }
    finally(function() f:feed "</stream:stream>" end)
    f:feed "<message/>"
    for _ = 1, 3 do host.step() end
    local handled
    call_from_host(function() f.conn:set_handler(function() handled = true end) end)
    turn_until(function() return handled end)
  end)

  it("wakes it even if something else has turned the library meanwhile", function()
    local heard
    host.step()
    call_from_host(function()
      xmpp.after(0.05, function() heard = true end)
      if not core.is_stepping() then xmpp.sleep(0.01) end
    end)
    turn_until(function() return heard end)
  end)

  it("lets its own coroutines wait for the library", function()
    local slept, ticks = 0, 0
    host.every(function()
      ticks = ticks + 1
      return slept < 2
    end)
    for _ = 1, 2 do
      go(function()
        for _ = 1, 5 do xmpp.sleep(0.01) end
        slept = slept + 1
      end)
    end
    turn_until(function() return slept == 2 end)
    assert.is_true(ticks > 1, ticks)
  end)

  it("lets its own coroutines wait for promises and channels", function()
    local p, c, got = xmpp.promise(), xmpp.channel(1), {}
    for i = 1, 2 do go(function() got[i] = p:wait(60) end) end
    go(function()
      for i = 3, 6 do got[i] = c:get() end
      got.late = select(2, xmpp.promise():wait(0.01))
    end)
    host.step()
    call_from_host(function() p:resolve "settled" end)
    xmpp.spawn(function()
      for i = 3, 5 do c:put(i) end
      go(function() c:put(6) end)
    end)
    turn_until(function() return got[1] and got[2] and got[6] and got.late end) -- on a busy machine the order varies
    assert.equal("timeout", got.late.layer)
    got.late = nil
    assert.same({ "settled", "settled", 3, 4, 5, 6 }, got)
  end)

  it("gets a turn after every 100 stanzas, as does each connection", function()
    local a, b = fed.open { jid = "me@xmpp.test/a" }, fed.open { jid = "me@xmpp.test/b" }
    finally(function()
      for _, f in ipairs { a, b } do f:feed "</stream:stream>" end
    end)
    local seen, turns, most, since = { a = 0, b = 0 }, 0, 0, 0
    local b_began
    local function count(who)
      return function()
        seen[who] = seen[who] + 1
        b_began = b_began or (who == "b" and seen.a)
        since = since + 1
        most = math.max(most, since)
      end
    end
    a.conn:set_handler(count "a")
    b.conn:set_handler(count "b")
    host.turns(function()
      turns, since = turns + 1, 0
      return seen.a + seen.b < 2000
    end)
    call_from_host(function()
      for _, f in ipairs { a, b } do core.conn.feed(f.conn, ("<message/>"):rep(1000)) end
    end)
    turn_until(function() return seen.a + seen.b == 2000 end)
    assert.is_true(turns >= 19, turns)
    assert.is_true(most <= 200, most)
    assert.is_true(b_began <= 200, b_began)
  end)

  it("excludes xmpp.run and another adapter, which name it in their errors", function()
    local ok, why = pcall(xmpp.run)
    assert.is_false(ok)
    assert.matches("the loop is " .. host.owner .. "'s, which is to be run instead", why, 1, true)
    ok, why = pcall(host.start)
    assert.is_false(ok)
    assert.matches(host.owner .. " drives the library already", why, 1, true)
    driver:stop()
    driver:stop()
    local ran
    xmpp.spawn(function() ran = true end)
    xmpp.run()
    assert.is_true(ran)
    driver = host.start()
    local again
    xmpp.spawn(function() again = true end)
    turn_until(function() return again end)
  end)

  it("is woken by a signal", function()
    local heard
    local off = xmpp.on_signal("SIGUSR1", function(signal) heard = signal end)
    finally(off)
    host.step()
    call_from_host(function() assert(io.popen "kill -USR1 $PPID"):close() end)
    turn_until(function() return heard end)
    assert.equal("SIGUSR1", heard)
  end)

  it("continues after an error in a callback", function()
    local text
    xmpp.on_error(function(said) text = said end)
    finally(function() xmpp.on_error(nil) end)
    local after
    xmpp.spawn(function() error "boom" end)
    xmpp.after(0.01, function() after = true end)
    turn_until(function() return after end)
    assert.matches("boom", text)
  end)

  if name == "luv" then
    -- luv itself leaks the handle that it couldn't create.
    if not os.getenv "PRELOAD" then
      it("fails to start if the program itself watches the descriptor", function()
        driver:stop()
        local own = assert(library.new_poll(xmpp.fd()))
        own:start("r", function() end)
        local ok, why = pcall(host.start)
        own:stop()
        if ok then driver = why end
        assert.is_false(ok)
        assert.matches("libuv can't watch xmpp.fd() (EEXIST", why, 1, true)
        xmpp.run() -- and not that libuv drives it
        driver = host.start()
      end)
    end

    it("ends when nothing is left", function()
      local slept
      xmpp.spawn(function()
        xmpp.sleep(0.02)
        slept = true
      end)
      library.run()
      assert.is_true(slept)
    end)

    it("ends when what it waited for is cancelled", function()
      local timer = xmpp.after(math.huge, error)
      fed.open { jid = "me@xmpp.test/here" } -- collected at once
      turn_until(function() return xmpp.timeout() ~= 0 end)
      call_from_host(function() timer:cancel() end)
      call_from_host(function()
        collectgarbage()
        collectgarbage()
      end)
      library.run()
      assert.is_false(core.is_busy())
    end)
  elseif name == "cqueues" then
    it("ends when nothing is left, and continues when something is started", function()
      local cq, ended = library.new(), 0
      driver:stop()
      driver = require "xmpp.loop.cqueues".start(cq)
      assert(cq:loop()) -- returns at once
      for _, begin in ipairs { xmpp.spawn, cq.wrap } do
        local function task()
          local f = fed.open { jid = "me@xmpp.test/here" }
          xmpp.after(0.01, function() core.conn.feed(f.conn, "</stream:stream>") end)
          local _, err = f.conn:receive_blocking()
          assert(err.condition == "closed-by-server")
          ended = ended + 1
        end
        if begin == xmpp.spawn then xmpp.spawn(task) else cq:wrap(task) end
        assert(cq:loop())
      end
      assert.equal(2, ended)
      local called
      cq:wrap(function()
        library.sleep(0.02) -- by then the library's coroutine has ended
        xmpp.after(0.01, function() called = true end)
      end)
      assert(cq:loop())
      assert.is_true(called)
    end)

    it("ends when it is stopped", function()
      local cq = library.new()
      driver:stop()
      driver = require "xmpp.loop.cqueues".start(cq)
      cq:wrap(function()
        xmpp.sleep(0.02)
        library.sleep(0.01) -- its own waits work after the library's
        driver:stop()
      end)
      assert(cq:loop())
    end)
  elseif name == "copas" then
    if library.finished then -- the loop of Copas 1 never ends
      it("ends when nothing is left, and continues when something is started", function()
        local slept, called
        library.loop() -- returns at once
        go(function()
          xmpp.sleep(0.02)
          slept = true
        end)
        library.loop()
        assert.is_true(slept)
        library.addthread(function()
          library.sleep(0.05) -- by then the descriptor isn't watched any more
          xmpp.after(0.01, function() called = true end)
        end)
        library.loop()
        assert.is_true(called)
      end)
    end

    it("reads a socket of its own after a wait", function()
      local socket = require "socket"
      local listener = assert(socket.bind("127.0.0.1", 0))
      finally(function() listener:close() end)
      local got
      library.addserver(listener, function(peer)
        peer = library.wrap(peer)
        xmpp.sleep(0.02)
        local line = peer:receive "*l"
        xmpp.sleep(0.02)
        got = line .. peer:receive "*l"
      end)
      local host_name, port = listener:getsockname()
      local client = assert(socket.connect(host_name, port))
      assert(client:send "one,\n")
      xmpp.after(0.06, function() client:send "two\n" end)
      turn_until(function() return got end)
      client:close()
      assert.equal("one,two", got)
    end)
  end

  server.each(function(s)
    local ROUNDS = 50

    it("lets two connections talk while its own timers run", function()
      local function login(user)
        return assert(xmpp.connect_client(user .. "@" .. s.domain, s.users[user], s.host, s.port, s.opts()))
      end
      local alice, bob, got, over
      local ticks, ticks_then = 0
      host.every(function()
        ticks = ticks + 1
        return not over
      end)
      go(function() bob = login "bob" end)
      go(function() alice = login "alice" end)
      turn_until(function() return alice and bob end)
      bob:set_handler(function(message, conn)
        if message[1] == "message" then conn:send(xexpr.reply(message, { "body", xexpr.text(message, "body") })) end
      end)
      ticks_then = ticks
      go(function()
        for i = 1, ROUNDS do
          assert(alice:send { "message", { to = tostring(bob:jid()), type = "chat" }, { "body", i } })
          got = xexpr.text(assert(alice:receive_blocking(60)), "body")
          if got ~= tostring(i) then error("got " .. got) end
        end
        if not alice:ping(60) then error "no answer to a ping" end
        xmpp.sleep(0.05)
        assert(alice:stop(60))
        over = true
      end)
      turn_until(function() return over end)
      assert.equal(tostring(ROUNDS), got)
      assert.is_true(ticks > ticks_then + 1, ticks - ticks_then)

      local answered
      call_from_host(function() -- what is sent leaves at once, and the answer wakes it
        assert(bob:send_callback({ "iq", { type = "get", to = s.domain }, { "ping", { xmlns = "urn:xmpp:ping" } } },
          function(response) answered = response end))
      end)
      turn_until(function() return answered end)
      assert.equal("result", answered[2].type)
      local stopped
      go(function() stopped = bob:stop(60) end)
      turn_until(function() return stopped ~= nil end)
      assert.is_true(stopped)
    end)
  end)
end)
