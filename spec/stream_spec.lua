-- stream: workers that share the streams of a Redis: what becomes of an entry, in which order, when workers come, go,
-- die, and are held up, and when Redis is full or gone. (stream_intake_spec has the other side, farm_spec both, with
-- servers.)
local core = require "xmpp.core"
local farm = require "spec.support.farm"
local redis = require "spec.support.redis"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

if not redis.is_there() then
  describe("xmpp.stream", function() pending "no redis-server, or no hiredis, here" end)
  return
end

local turn_until = farm.turn_until

describe("xmpp.stream.worker", function()
  local s, f, number, workers, errors, was

  setup(function() s, number = redis.start { appendfsync = "everysec" }, 0 end)
  teardown(function() s:stop() end)

  before_each(function()
    number, workers, errors = number + 1, {}, {}
    f = farm.new(s, "t" .. number, { streams = 4 })
    was = xmpp.on_error(function(text) errors[#errors + 1] = text:match "^[^\n]*" end)
  end)

  after_each(function()
    for _, w in ipairs(workers) do w:stop(5) end
    f:close()
    xmpp.on_error(was)
    for _ = 1, 3 do xmpp.step(0) end
    assert.is_false(core.is_busy())
  end)

  -- One in this process.
  local function work(handler, more)
    local o = { redis = { port = s.port }, name = f.name, streams = f.streams, handler = handler, pause = 0.01 }
    for name, value in pairs(more or {}) do o[name] = value end
    local w = assert(xmpp.stream.worker(o))
    workers[#workers + 1] = w
    return w
  end

  local function echo(stanza) return xexpr.reply(stanza, { "body", "re: " .. xexpr.text(stanza, "body") }) end

  local function bodies(list)
    local out = {}
    for i, stanza in ipairs(list) do out[i] = xexpr.text(stanza, "body") end
    return out
  end

  describe("has each stanza handled", function()
    it("in order, and puts the answers out in order", function()
      local seen = {}
      work(function(stanza, again, entry)
        seen[#seen + 1] = xexpr.text(stanza, "body")
        assert.is_nil(again)
        assert.same({ f:key "in:2", "anna@x", 1 }, { entry.stream, entry.key, entry.deliveries })
        xmpp.sleep(#seen % 3 / 1000)
        return echo(stanza)
      end)
      local sent, answers = {}, {}
      for i = 1, 100 do
        f:put(2, "anna@x/y", "n" .. i)
        sent[i], answers[i] = "n" .. i, "re: n" .. i
      end
      turn_until(function() return f:left() == 0 end)
      assert.same(sent, seen)
      assert.same(answers, bodies(f:answers()))
      assert.same({ 100, 100, 0, 0, 4, 1 }, { workers[1]:info().begun, workers[1]:info().done, workers[1]:info().failed,
        workers[1]:info().dead, workers[1]:info().streams, workers[1]:info().workers })
    end)

    it("and gives answers an address, and an id that is the same each time", function()
      work(function(stanza)
        return { xexpr.reply(stanza, { "body", "one" }), { "message", { to = "x@y", id = "mine" }, { "body", "two" } },
          { "presence", { to = "x@y" } } }
      end)
      f:put(0, "anna@x/y", "a")
      turn_until(function() return f:left() == 0 end)
      local list, entries = f:answers(), f:entries "out:0"
      assert.same({ "anna@x/y", "bot@bots.example", "chat" }, { list[1][2].to, list[1][2].from, list[1][2].type })
      assert.matches("^%x+$", list[1][2].id)
      assert.same({ "mine", nil }, { list[2][2].id, list[3][2].id })
      assert.equal(entries[1].id, list[1][2].id)
      assert.is_true(entries[1].id ~= entries[2].id and entries[2].id ~= entries[3].id)
    end)

    it("and leaves what the handler returns as it is, and makes it canonical", function()
      local ANSWER = { "message", { to = "x@y" }, { "body", {}, "same" } }
      work(function(stanza)
        if xexpr.text(stanza, "body") == "same" then return ANSWER end
        return { "message", { to = xmpp.jid "x@y/z", n = 1.5 }, { "body", "a", 7, "", "b" }, { "x", { xmlns = "urn:x" },
          { "y", { xmlns = "urn:x" } }, { "z", { xmlns = "jabber:client" } } }, "" }
      end)
      f:put(0, "a@x/y", "same")
      f:put(0, "a@x/y", "same", "2")
      f:put(0, "a@x/y", "other")
      turn_until(function() return f:left() == 0 end)
      local list = f:answers()
      assert.same({ "message", { to = "x@y" }, { "body", {}, "same" } }, ANSWER)
      assert.is_true(list[1][2].id ~= list[2][2].id)
      list[3][2].id = nil
      assert.same({ "message", { to = "x@y/z", n = "1.5", from = "bot@bots.example" }, { "body", {}, "a7b" },
        { "x", { xmlns = "urn:x" }, { "y", {} }, { "z", { xmlns = "jabber:client" } } } }, list[3])
    end)

    it("and answers questions that the handler leaves unanswered", function()
      local iq = function(id, type)
        f:add(1, "v", "1", "key", "a", "stanza", xexpr.to_json { "iq",
          { from = "a@x/y", to = "b@z", id = id, type = type }, { "q", { xmlns = "urn:q" } } })
      end
      work(function(stanza)
        if stanza[2].id == "1" then return end
        if stanza[2].id == "2" then return xexpr.reply(stanza, { "q", { xmlns = "urn:q" }, "yes" }) end
        if stanza[2].id == "3" then return { "message", { to = "c@x" }, { "body", "note" } } end
        if stanza[2].id == "5" then error "no" end
      end, { max_deliveries = 2 })
      iq("1", "get") iq("2", "set") iq("3", "get") iq("4", "result") iq("5", "get")
      turn_until(function() return f:left() == 0 end)
      local told = {}
      for i, answer in ipairs(f:answers()) do
        local err = xexpr.error(answer)
        told[i] = ("%s %s %s"):format(answer[1], answer[2].id, err and err.condition or answer[2].type or "")
      end
      told[3] = told[3]:gsub("message %x+", "message")
      assert.same({ "iq 1 service-unavailable", "iq 2 result", "message ", "iq 3 service-unavailable",
        "iq 5 internal-server-error" }, told)
    end)

    it("by whoever has the least: streams are shared evenly by those who come and go", function()
      local function counts()
        local out = {}
        for i, w in ipairs(workers) do out[i] = w:info().streams end
        return out
      end
      local function becomes(...)
        local want = { ... }
        turn_until(function()
          for i, n in ipairs(counts()) do
            if n ~= want[i] then return false end
          end
          return true
        end)
        assert.same(want, counts())
      end
      work(echo)
      becomes(4)
      work(echo)
      becomes(2, 2)
      work(echo)
      turn_until(function() return workers[3]:info().streams > 0 end)
      local n = counts()
      table.sort(n)
      turn_until(function()
        n = counts()
        table.sort(n)
        return n[1] == 1 and n[2] == 1 and n[3] == 2
      end)
      assert(workers[2]:stop())
      table.remove(workers, 2)
      becomes(2, 2)
    end)

    it("once, and in order, while the streams change hands", function()
      local N, seen = 400, {}
      local function handler(stanza, again)
        local from = stanza[2].from
        seen[from] = seen[from] or {}
        table.insert(seen[from], tonumber(xexpr.text(stanza, "body")))
        assert.is_nil(again)
        xmpp.sleep(0.001)
        return echo(stanza)
      end
      work(handler, { batch = 5 })
      for i = 1, N do f:put(i % 4, ("u%d@x/y"):format(i % 4), tostring(i)) end
      work(handler, { batch = 5 })
      turn_until(function() return f:left() < N * 3 / 4 end)
      work(handler, { batch = 5 })
      turn_until(function() return f:left() < N / 2 end)
      assert(workers[1]:stop())
      table.remove(workers, 1)
      turn_until(function() return f:left() == 0 end)
      for from, list in pairs(seen) do
        assert.equal(N / 4, #list, from)
        for i = 2, #list do assert.is_true(list[i] > list[i - 1]) end
      end
      assert.equal(N, #f:answers())
      assert.same({}, errors)
    end)
  end)

  describe("a stanza that can't be done", function()
    it("is tried again, and then goes to the dead, and the next has its turn", function()
      local tries, dead = {}, {}
      work(function(stanza, again)
        if xexpr.text(stanza, "body") ~= "bad" then return echo(stanza) end
        tries[#tries + 1] = again or 0
        error "can't"
      end, { max_deliveries = 3, on_dead = function(entry, err)
        dead[#dead + 1] = { entry.id, err.condition, entry.stanza[1] }
      end })
      f:put(1, "anna@x/y", "first")
      local id = f:put(1, "anna@x/y", "bad")
      f:put(1, "anna@x/y", "next")
      turn_until(function() return f:left() == 0 end)
      assert.same({ 0, 1, 2 }, tries)
      assert.same({ { id, "dead", "message" } }, dead)
      assert.same({ "re: first", "re: next" }, bodies(f:answers()))
      local entry = f:entries "dead"[1]
      assert.same({ f:key "in:1", id, "3", "bad" },
        { entry.stream, entry.entry, entry.deliveries, xexpr.text(entry.stanza, "body") })
      assert.matches("can't", entry.why)
      assert.equal(3, #errors)
      assert.matches("handler.*can't", errors[1])
      assert.same({ 2, 3, 1 }, { workers[1]:info().done, workers[1]:info().failed, workers[1]:info().dead })
    end)

    it("may be so only at first", function()
      work(function(stanza, again)
        if not again or again < 2 then error "not yet" end
        return echo(stanza)
      end)
      f:put(1, "anna@x/y", "a")
      turn_until(function() return f:left() == 0 end)
      assert.same({ "re: a" }, bodies(f:answers()))
      assert.equal(0, f:call("XLEN", f:key "dead"))
    end)

    it("is one whose answer is none", function()
      local answers = { { "nonsense" }, "text", { "message", { "body", {}, 7, true } }, { { "message" }, 5 },
        function() end }
      local n = 0
      work(function()
        n = n + 1
        return answers[n]
      end, { max_deliveries = 1, on_dead = function() end })
      for i = 1, #answers do f:put(0, "a@x/y", tostring(i)) end
      turn_until(function() return f:left() == 0 end)
      assert.equal(#answers, f:call("XLEN", f:key "dead"))
      assert.same({}, f:answers())
    end)

    it("and what is no entry at all is skipped, told and kept", function()
      local told = {}
      local whole = xexpr.to_json { "message", { from = "a@x" }, { "body", "x" } }
      f:add(0, "something", "else")
      f:add(0, "v", "2", "stanza", whole)
      f:add(0, "v", "1", "stanza", whole:sub(1, 20))
      f:add(0, "v", "1", "stanza", '["message",{"from":7},null]')
      f:add(0, "v", "1", "stanza", '["nonsense",{}]')
      f:add(0, "v", "1", "stanza", '{"message":1}')
      f:add(0, "v", "1", "stanza", ("[" ):rep(5000))
      f:add(0, "v", "1", "stanza", "\255\254\0")
      f:add(0, "v", "1", "stanza", ("x"):rep(33 * 1024 * 1024))
      f:put(0, "a@x/y", "whole")
      work(echo, { on_dead = function(_, err) told[#told + 1] = err.text end })
      turn_until(function() return f:left() == 0 end)
      assert.equal(9, #told)
      assert.equal(1, workers[1]:info().begun) -- the handler was called for none of these
      assert.equal(9, f:call("XLEN", f:key "dead"))
      assert.same({ "re: whole" }, bodies(f:answers()))
      assert.matches("too much", told[9])
      for _, text in ipairs(told) do assert.is_true(#text < 1000) end
    end)

    it("and one that somebody has deleted is told of", function()
      local gone
      local w = work(function()
        f:call("XDEL", f:key "in:0", gone)
        error "again"
      end, { max_deliveries = 2 })
      gone = f:put(0, "a@x/y", "a")
      f:put(1, "a@x/y", "b")
      turn_until(function() return f:left() == 0 end)
      assert.equal(1, w:info().dead)
      turn_until(function() return table.concat(errors):find("somebody has deleted the entry " .. gone, 1, true) end)
      f:call("DEL", f:key "in:3")
      f:call("SET", f:key "in:3", "no stream")
      turn_until(function() return table.concat(errors):find "WRONGTYPE" end)
    end)
  end)

  describe("that dies", function()
    it("leaves what it was at to another, who is told", function()
      local w = f:start("worker", { LEASE = 2 })
      f:put(1, "anna@x/y", "before")
      f:put(1, "anna@x/y", "sleep 60")
      f:put(1, "anna@x/y", "behind")
      turn_until(function() return #f:log() == 2 end)
      w:kill()
      local seen = {}
      work(function(stanza, again)
        seen[#seen + 1] = { xexpr.text(stanza, "body"), again or 0 }
        return echo(stanza)
      end)
      turn_until(function() return f:left() == 0 end)
      -- What was taken in one go with it can't be told from what was begun.
      assert.same({ "sleep 60", 1 }, seen[1])
      assert.equal("behind", seen[2][1])
      assert.same({ "re: before", "re: sleep 60", "re: behind" }, bodies(f:answers()))
      turn_until(function() return #f:call("XINFO", "CONSUMERS", f:key "in:1", "workers") == 1 end)
    end)

    it("of one stanza again and again doesn't take the others along", function()
      f:put(1, "anna@x/y", "die")
      for i = 1, 5 do f:put(1, "anna@x/y", "mute " .. i) end
      for _ = 1, 3 do
        local w = f:start("worker", { LEASE = 1, MOST = 3 })
        w:rest()
      end
      local w = f:start("worker", { LEASE = 1, MOST = 3 })
      turn_until(function() return f:left() == 0 end)
      w:stop()
      local dead = f:entries "dead"
      assert.equal(1, #dead)
      assert.equal("die", xexpr.text(dead[1].stanza, "body"))
      local mute = 0
      for _, entry in ipairs(f:log()) do
        if entry.body:find "mute" then mute = mute + 1 end
      end
      assert.equal(5, mute)
    end)

    it("only seems to, when it is held up: what it then does counts for nothing", function()
      local w = f:start("worker", { LEASE = 1 })
      f:put(1, "anna@x/y", "sleep 0.5")
      turn_until(function() return #f:log() == 1 end)
      w:signal "STOP"
      local seen = {}
      work(function(stanza, again)
        seen[#seen + 1] = again or 0
        return echo(stanza)
      end)
      turn_until(function() return f:left() == 0 end)
      w:signal "CONT"
      f:put(1, "anna@x/y", "next")
      turn_until(function() return f:left() == 0 end)
      xmpp.sleep(1)
      assert.matches("done=%d", w:stop())
      local answers = bodies(f:answers())
      assert.same({ "re: sleep 0.5", "re: next" }, answers)
      assert.equal(1, seen[1])
    end)
  end)

  describe("when Redis", function()
    it("is killed and comes back: all is done, in order", function()
      f:fsync_always()
      local seen = {}
      work(function(stanza, again)
        local n = tonumber(xexpr.text(stanza, "body"))
        seen[#seen + 1] = { n, again }
        return echo(stanza)
      end)
      for i = 1, 300 do f:put(i % 4, ("u%d@x/y"):format(i % 4), tostring(i)) end
      turn_until(function() return #seen > 20 end)
      s:restart "KILL"
      f.r:close()
      f.r = assert(require "xmpp.redis".connect { port = s.port, timeout = 30 })
      turn_until(function() return f:left() == 0 end)
      assert.equal(300, #f:answers())
      local last, twice = {}, 0
      for _, is in ipairs(seen) do
        local n, stream = is[1], is[1] % 4
        if last[stream] and n <= last[stream] then
          twice = twice + 1
          assert.is_number(is[2])
        end
        last[stream] = math.max(n, last[stream] or 0)
      end
      assert.is_true(twice < 200)
    end)

    it("has done what it was asked for, and its reply is lost: it is done once", function()
      local lost = farm.without_reply("finish", function() work(echo) end)
      for i = 1, 20 do f:put(1, "a@x/y", tostring(i)) end
      turn_until(function() return f:left() == 0 and lost() == 1 end)
      local sent = {}
      for i = 1, 20 do sent[i] = "re: " .. i end
      assert.same(sent, bodies(f:answers()))
    end)

    it("is slow, that is told, and all is done when it answers again", function()
      local states = {}
      work(echo, { redis = { port = s.port, timeout = 0.5 }, on_state = function(state, err)
        states[#states + 1] = err and err.condition or state
      end })
      turn_until(function() return workers[1]:info().streams == 4 end)
      s:signal "STOP"
      turn_until(function() return states[1] ~= nil end)
      s:signal "CONT"
      for i = 1, 10 do f:put(1, "a@x/y", tostring(i)) end
      turn_until(function() return f:left() == 0 and states[#states] == "ready" end)
      assert.equal("timeout", states[1])
      assert.equal(10, #f:answers())
    end)

    it("is full: what is there is done all the same, and makes room", function()
      local gate = xmpp.promise()
      work(function(stanza)
        gate:wait()
        return echo(stanza)
      end)
      for i = 1, 50 do f:put(i % 4, "a@x/y", tostring(i)) end
      turn_until(function() return workers[1]:info().begun == 4 end)
      f:call("SET", "filler", ("x"):rep(3000000))
      f:call("CONFIG", "SET", "maxmemory", "1mb")
      local _, err = f.r:call("SET", "x", ("x"):rep(1000))
      gate:resolve()
      turn_until(function() return f:left() == 0 end)
      f:call("CONFIG", "SET", "maxmemory", "0")
      assert.equal("OOM", err.condition)
      assert.equal(50, #f:answers())
    end)

    it("has no room for answers, nothing more is done until there is", function()
      local states = {}
      work(echo, { max_length = 3, batch = 2, on_state = function(state, err)
        states[#states + 1] = err and err.condition or state
      end })
      for i = 1, 20 do f:put(1, "a@x/y", tostring(i)) end
      turn_until(function() return states[1] == "full" end)
      xmpp.sleep(0.3)
      assert.is_true(workers[1]:info().done <= 6 and f:left() >= 14)
      local n = 0
      local function empty()
        return f:call("EVAL", "local n = redis.call('XLEN', KEYS[1]) redis.call('XTRIM', KEYS[1], 'MAXLEN', 0) "
          .. "return n", 1, f:key "out:1")
      end
      turn_until(function()
        n = n + empty()
        return f:left() == 0
      end)
      n = n + f:call("XLEN", f:key "out:1")
      assert.equal(20, n)
    end)

    it("is gone when it begins, it says so; and when Redis won't do", function()
      local o = { redis = { port = 1 }, name = "x", handler = echo }
      local w, err = xmpp.stream.worker(o)
      assert.is_nil(w)
      assert.same({ "redis", "no-connection" }, { err.layer, err.condition })
      o.redis.port, o.name = s.port, f.name
      work(echo)
      assert.equal("streams", select(2, xmpp.stream.worker(o)).condition)
      o.name = f.name .. "-other"
      f:call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
      assert.equal("evicts", select(2, xmpp.stream.worker(o)).condition)
      f:call("CONFIG", "SET", "maxmemory-policy", "noeviction")
      f:call("CONFIG", "SET", "appendonly", "no")
      err = select(2, xmpp.stream.worker(o))
      assert.equal("volatile", err.condition)
      assert.matches("appendonly yes", err.text)
      o.volatile = true
      workers[#workers + 1] = assert(xmpp.stream.worker(o))
      f:call("CONFIG", "SET", "appendonly", "yes")
    end)
  end)

  describe("that is stopped", function()
    it("finishes what it is at, and nothing more", function()
      local seen = {}
      local w = work(function(stanza)
        seen[#seen + 1] = xexpr.text(stanza, "body")
        xmpp.sleep(0.3)
        return echo(stanza)
      end)
      for i = 1, 5 do f:put(1, "a@x/y", tostring(i)) end
      turn_until(function() return #seen == 1 end)
      assert.is_true(w:stop())
      assert.same({ "1" }, seen)
      assert.same({ "re: 1" }, bodies(f:answers()))
      assert.is_true(w:stop())
      local again
      work(function(stanza, n)
        again = again or n
        return echo(stanza)
      end)
      turn_until(function() return f:left() == 0 end)
      assert.is_nil(again)
      assert.equal(5, #f:answers())
    end)

    it("says when it can't wait any longer", function()
      local gate = xmpp.promise()
      local w = work(function() gate:wait() end)
      f:put(1, "a@x/y", "a")
      turn_until(function() return w:info().begun == 1 end)
      local ok, err = w:stop(0.1)
      gate:resolve()
      assert.is_nil(ok)
      assert.equal("timeout", err.layer)
      assert.equal(1, f:left())
    end)
  end)

  it("takes no options but its own", function()
    local function why(o)
      local whole = { redis = {}, name = "x", handler = echo }
      for name, value in pairs(o) do whole[name] = value or nil end
      return select(2, pcall(function() assert(xmpp.stream.worker(whole)) end))
    end
    assert.matches("'redis' of 'worker'.*missing", why { redis = false })
    assert.matches("'name'.*missing", why { name = false })
    assert.matches("'handler'.*missing", why { handler = false })
    assert.matches("'name'.*letters", why { name = "a b" })
    assert.matches("did you mean 'handler'", why { handlr = echo })
    assert.matches("'redis'.*port", why { redis = { port = 0 } })
    assert.matches("'redis'.*did you mean", why { redis = { pord = 1 } })
    assert.matches("'streams'.*whole number from 1", why { streams = 0 })
    assert.matches("'lease'.*seconds from 0.5", why { lease = 0.1 })
    assert.matches("'max_deliveries'", why { max_deliveries = 0 })
    assert.matches("'on_dead'.*function", why { on_dead = 1 })
    assert.matches("'key'", why { key = "sender" })
    assert.matches("table expected", select(2, pcall(xmpp.stream.worker)))
    assert.matches("^spec/stream_spec.lua:%d+: bad option 'name'", why { name = false })
  end)
end)
