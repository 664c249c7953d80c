-- For games: a step does no more than it is asked for, whatever comes, and allocates nothing when nothing comes; and
-- the example game is played.
local fed = require "spec.support.fed"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local LUA = os.getenv "LUA" or "lua5.4"
local STANZAS = 50 -- the most for one frame

describe("a step in which nothing happens", function()
  -- How many kilobytes `n` steps have allocated.
  local function made(n)
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    for _ = 1, n do
      xmpp.step(0, STANZAS)
      xmpp.timeout()
      xmpp.fd()
    end
    local after = collectgarbage "count"
    collectgarbage "restart"
    return after - before
  end

  it("allocates nothing, with a connection, a waiter and a timer", function()
    if jit then -- JIT traces would count, and existing ones grow even when it is off
      jit.off()
      jit.flush()
      finally(function() jit.on() end)
    end
    local f = fed.open { jid = "me@xmpp.test/here" }
    f.conn:set_handler(function() end)
    f.conn:send_callback({ "iq", { type = "get", id = "a" } }, function() end)
    local timer = xmpp.after(1000, function() end)
    f:sent()
    made(10)
    assert.equal(0, made(10000))
    timer:cancel()
    f:feed "</stream:stream>"
  end)
end)

describe("a step with a limit", function()
  -- Steps until `n` stanzas have come; each step dispatches as many as it returns, and at most STANZAS.
  local function take(n, counted)
    local all, steps, full, till = 0, 0, 0, os.time() + 200
    while all < n do
      if os.time() > till then error(("only %d have come"):format(all)) end
      local before = counted()
      local dispatched = xmpp.step(0, STANZAS)
      assert.is_true(dispatched <= STANZAS)
      assert.equal(dispatched, counted() - before)
      all, steps = all + dispatched, steps + 1
      if dispatched == STANZAS then full = full + 1 end
    end
    assert.equal(n, all)
    return steps, full
  end

  it("shares it among connections that are flooded", function()
    local list, seen = {}, {}
    for i = 1, 4 do
      list[i], seen[i] = fed.open { jid = "me@xmpp.test/" .. i }, 0
      list[i].conn:set_handler(function() seen[i] = seen[i] + 1 end)
    end
    local core = require "xmpp.core"
    for i = 1, 4 do core.conn.feed(list[i].conn, ("<message id='a'><body>Hi</body></message>"):rep(5000)) end
    local steps, full = take(20000, function() return seen[1] + seen[2] + seen[3] + seen[4] end)
    assert.same({ 400, 400 }, { steps, full })
    for i = 1, 4 do
      assert.equal(5000, seen[i])
      list[i]:feed "</stream:stream>"
    end
  end)

  local core = require "xmpp.core"
  local MANY = 1000

  -- Steps until `n` calls have come: at most STANZAS in one step, and none of them counts as a stanza.
  local function call_all(n, counted)
    local till = os.time() + 200
    while counted() < n do
      if os.time() > till then error(("only %d have come"):format(counted())) end
      local before = counted()
      assert.equal(0, xmpp.step(0, STANZAS))
      assert.is_true(counted() - before <= STANZAS, counted() - before)
    end
  end

  describe("limits as well", function()
    local n, order

    local function call(i)
      return function()
        n = n + 1
        order[#order + 1] = i
      end
    end

    before_each(function() n, order = 0, {} end)
    after_each(function()
      call_all(MANY, function() return n end)
      for i = 1, MANY do assert.equal(i, order[i]) end
      fed.settle()
      assert.equal(MANY, n)
      assert.is_false(core.is_busy())
    end)

    it("timers that are due", function()
      for i = 1, MANY do xmpp.after(0, call(i)) end
    end)

    it("tasks", function()
      for i = 1, MANY do xmpp.spawn(call(i)) end
    end)

    it("coroutines whose sleep is over", function()
      for i = 1, MANY do
        coroutine.wrap(function()
          xmpp.sleep(0)
          call(i)()
        end)()
      end
    end)

    it("waiters for responses when the connection ends", function()
      local f = fed.open { jid = "me@xmpp.test/x" }
      for i = 1, MANY do f.conn:send_callback({ "iq", { type = "get", id = "a" .. i } }, call(i)) end
      core.conn.feed(f.conn, "</stream:stream>")
    end)

    it("waiters whose time is over", function()
      local f = fed.open { jid = "me@xmpp.test/x" }
      for i = 1, MANY do f.conn:send_callback({ "iq", { type = "get", id = "a" .. i } }, call(i), 0) end
      f.conn:stop()
      f:feed "</stream:stream>"
    end)

    it("flushes that end", function()
      local f = fed.open { jid = "me@xmpp.test/x" }
      f.conn:send { "presence" }
      for i = 1, MANY do
        coroutine.wrap(function()
          assert(f.conn:flush())
          call(i)()
        end)()
      end
      f:sent()
      xmpp.spawn(function() f.conn:stop() end)
      finally(function() f:feed "</stream:stream>" end)
      call_all(MANY, function() return n end)
      f:feed "</stream:stream>"
    end)

    it("listeners to states", function()
      for i = 1, MANY do
        local f = fed.open { jid = "me@xmpp.test/x" .. i }
        f.conn:on("state", function(state) if state == "closed" then call(i)() end end)
        core.conn.feed(f.conn, "</stream:stream>")
      end
    end)

    it("receipts of stanzas", function()
      local f = fed.open { jid = "me@xmpp.test/x", sm = true }
      f:feed "<enabled xmlns='urn:xmpp:sm:3'/>"
      for i = 1, MANY do
        f.conn:send({ "presence" }, { on = function(state) if state == "failed" then call(i)() end end })
      end
      core.conn.feed(f.conn, "</stream:stream>")
    end)
  end)

  it("is shared by timers and stanzas, and neither waits until the other is done", function()
    for _, most in ipairs { 1, 2, 3, 50 } do
      local f = fed.open { jid = "me@xmpp.test/x" }
      local timers, stanzas, dispatched = 0, 0, 0
      f.conn:set_handler(function() stanzas = stanzas + 1 end)
      for _ = 1, MANY do xmpp.after(0, function() timers = timers + 1 end) end
      local due = core.clocks() + 2
      repeat until core.clocks() > due -- without a step, which would fire some of them
      core.conn.feed(f.conn, ("<message/>"):rep(MANY))
      for _ = 1, 20 do
        local before = timers + stanzas
        dispatched = dispatched + xmpp.step(0, most)
        assert.is_true(timers + stanzas - before <= most, most)
      end
      assert.equal(dispatched, stanzas)
      assert.is_true(timers >= 5 and stanzas >= 5, timers .. " " .. stanzas)
      fed.settle()
      assert.same({ MANY, MANY }, { timers, stanzas })
      f:feed "</stream:stream>"
    end
  end)

  it("keeps the order, though it takes many steps", function()
    local f = fed.open { jid = "me@xmpp.test/x", sm = true }
    f:feed "<enabled xmlns='urn:xmpp:sm:3'/>"
    local told = {}
    local function tell(what) told[#told + 1] = what end
    f.conn:on("state", function(state) tell(state) end)
    for i = 1, 5 do f.conn:send({ "presence" }, { on = function(state) tell(state .. i) end }) end
    f.conn:send_callback({ "iq", { type = "get" } }, function() tell "response" end)
    core.conn.feed(f.conn, "</stream:stream>")
    for _ = 1, 20 do xmpp.step(0, 1) end
    assert.equal("failed1 failed2 failed3 failed4 failed5 closed response", table.concat(told, " "))
  end)

  server.each(function(s)
    local N = 20000

    local function flood(to)
      local pipe = assert(io.popen(("unset LD_PRELOAD; LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='%s/?.so' %s %s "
        .. "bob@%s %s %s %d %s '%s' %d 2>&1"):format(os.getenv "PRELOAD" and "lua" or os.getenv "SO_DIR" or "lua", LUA,
        "spec/support/sender.lua", s.domain, s.users.bob, s.host, s.port, s.ca, tostring(to), N)))
      return pipe
    end

    it("keeps the limit in a flood of 20,000 messages, with callbacks that filter", function()
      local conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.host, s.port, s.opts()))
      local seen, last, others = 0, 0, 0
      conn:set_callback(function(message)
        seen, last = seen + 1, last + 1
        assert(message[2].id == tostring(last))
      end, { name = "message" })
      conn:set_callback(function() seen, others = seen + 1, others + 1 end, { name = "presence" })
      conn:set_handler()
      local pipe = flood(conn:jid())
      take(N, function() return seen end)
      assert.equal("", pipe:read "*a")
      pipe:close()
      assert.equal(N, last)
      assert(conn:stop())
    end)
  end, nil, { "prosody" }) -- ejabberd allows at most 5,000 unacknowledged stanzas
end)

describe("game.lua", function()
  server.each(function(s)
    it("chats while it draws, and ends with its input", function()
      local path = os.tmpname()
      finally(function() os.remove(path) end)
      local function screen()
        local file = assert(io.open(path))
        local text = file:read "*a"
        file:close()
        return text
      end
      local function shows(text)
        for _ = 1, 3000 do
          xmpp.step(0.01)
          if screen():find(text, 1, true) then return end
        end
        error("this was not shown: " .. text .. "\n" .. screen():sub(-2000))
      end
      local bob = assert(xmpp.connect_client("bob@" .. s.domain, s.users.bob, s.host, s.port, s.opts()))
      local game = assert(io.popen(("XMPP_HOST=%s XMPP_PORT=%d XMPP_CA=%s %s examples/game.lua alice@%s %s %s >%s 2>&1")
        :format(s.host, s.port, s.ca, LUA, s.domain, s.users.alice, tostring(bob:jid()), path), "w"))
      shows "<game> connected as alice@"
      game:write "Hi, Bob\n"
      game:flush()
      local message = assert(bob:receive_blocking(30))
      assert.equal("Hi, Bob", xexpr.text(message, "body"))
      assert(bob:send(xexpr.reply(message, { "body", "Hi, Alice" })))
      shows("<bob@" .. s.domain .. "> Hi, Alice")
      game:close()
      local frames, stanzas = screen():match "(%d+) frames, (%d+) stanzas; the longest step took [%d.]+ ms\n$"
      assert.is_true(tonumber(frames) > 1 and tonumber(stanzas) >= 1, screen():sub(-200))
      assert(bob:stop())
    end)
  end, nil, { "prosody" })
end)
