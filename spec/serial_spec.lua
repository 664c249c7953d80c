-- serial: callbacks and taps that are called for one stanza of each sender at a time, in order. On fed bytes.
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

local FROM = { serial = "from" }

-- The kinds of functions that can be serial.
local KINDS = {
  callback = function(conn, f, filter)
    conn:set_callback(f, filter)
    return function() return conn:unset_callback(f) end
  end,
  tap = function(conn, f, filter) return conn:tap(f, filter) end,
}

for kind, install in pairs(KINDS) do
  describe("a serial " .. kind, function()
    local f, conn

    before_each(function()
      stage.begin()
      f = stage.open { jid = stage.ME, max_queue = 20000 }
      conn = f.conn
    end)
    after_each(stage.finish)

    -- Messages come, such as "a1 b2" from a and b.
    local function come(text)
      local bytes = {}
      for from, n in text:gmatch "(%S+)(%d)" do
        bytes[#bytes + 1] = ("<message from='%s@xmpp.test/x' n='%s'/>"):format(from, n)
      end
      f:feed(table.concat(bytes))
    end

    -- Notes when it is called and when it ends; between, it waits at a gate for each sender.
    local gates
    local function waits(name)
      return function(stanza)
        local from = stanza[2].from:match "^[^@]*"
        gates = gates or {}
        gates[from] = gates[from] or xmpp.channel()
        note(name .. from .. stanza[2].n)
        assert(gates[from]:get())
        note(name .. from .. stanza[2].n .. ".")
      end
    end
    local function go(from)
      assert(gates[from]:put(true))
      fed.settle()
    end
    after_each(function() gates = nil end)

    it("runs one call at a time for each sender, in order, and others meanwhile", function()
      install(conn, waits "", FROM)
      come "a1 a2 b1 a3 b2"
      expect "a1 b1"
      assert.equal(5, conn:info().waiting)
      go "a"
      expect "a1. a2"
      go "b"
      expect "b1. b2"
      go "a"
      come "a4"
      expect "a2. a3"
      go "a"
      expect "a3. a4"
      go "a"
      go "b"
      expect "a4. b2."
      assert.equal(0, conn:info().waiting)
      come "a5"
      expect "a5"
      go "a"
      expect "a5."
    end)

    it("is called at once if nothing waits", function()
      install(conn, hears "", FROM)
      come "a1 a2 a3"
      expect "1 2 3"
    end)

    it("compares senders by their prepared full JID, or the lack of one", function()
      install(conn, hears("", stage.wait), FROM)
      f:feed "<message from='a@xmpp.test/x' n='1'/><message from='A@XMPP.test/x' n='2'/>"
      f:feed "<message from='a@xmpp.test/y' n='3'/>"
      f:feed "<message n='4'/><message n='5'/>"
      expect "1 3 4"
      stage.go(3)
      expect "2 5"
      stage.go(2)
    end)

    it("continues after an error, and after a coroutine that nobody resumes", function()
      install(conn, hears("", function(stanza)
        if stanza[2].n == "1" then stage.wait() error "on purpose" end
        if stanza[2].n == "2" then coroutine.yield() end
      end), FROM)
      come "a1 a2 a3"
      expect "1"
      stage.go()
      expect "2"
      assert.equal(1, #stage.take_errors())
      for _ = 1, 3 do collectgarbage() end
      fed.settle()
      expect "3"
    end)

    it("isn't called by its own running call, but afterwards", function()
      install(conn, hears("", function(stanza, c)
        if stanza[2].n ~= "1" then return end
        xmpp.default_handler({ "message", { from = "a@xmpp.test/x", n = "2" } }, c)
        note "out"
      end), FROM)
      come "a1"
      expect(kind == "callback" and "1 out 2" or "1 out")
    end)

    it("that is removed discards what waits, and iqs are answered", function()
      local off = install(conn, hears("", stage.wait), FROM)
      if kind == "tap" then conn:set_handler() end
      f:feed "<iq type='get' id='1' from='a@xmpp.test/x' n='1'><q xmlns='urn:q'/></iq>"
      f:feed "<iq type='get' id='2' from='a@xmpp.test/x' n='2'><q xmlns='urn:q'/></iq>"
      expect "1"
      assert.equal("", f:sent())
      assert.is_true(off())
      fed.settle()
      local sent = stage.sent(f)
      assert.equal(1, #sent)
      assert.equal("2", sent[1][2].id)
      stage.go()
      fed.settle()
      assert.equal("1", stage.sent(f)[1][2].id)
      come "a3"
      expect ""
      assert.equal(0, conn:info().waiting)
    end)

    it("holds an iq until its own call has ended", function()
      install(conn, hears("", function(stanza, c)
        stage.wait()
        if stanza[2].id == "2" then c:send { "iq", { type = "result", id = "2", to = stanza[2].from } } end
      end), FROM)
      if kind == "tap" then conn:set_handler() end
      for i = 1, 3 do
        f:feed(("<iq type='get' id='%d' from='a@xmpp.test/x' n='%d'><q xmlns='urn:q'/></iq>"):format(i, i))
      end
      assert.equal("", f:sent())
      for i = 1, 3 do
        stage.go()
        local sent = stage.sent(f)
        assert.equal(1, #sent)
        assert.equal(tostring(i), sent[1][2].id)
        assert.equal(i == 2 and "result" or "error", sent[1][2].type)
      end
      expect "1 2 3"
    end)

    it("holds a flood back: stanzas that wait count like waiting calls", function()
      local body = ("x"):rep(4000)
      install(conn, waits "", FROM)
      if kind == "tap" then conn:set_handler() end
      for i = 1, 9 do f:feed(("<message from='a@xmpp.test/x' n='%d'><body>%s</body></message>"):format(i, body)) end
      expect "a1"
      assert.is_true(conn:info().waiting < 6) -- the rest hasn't been read
      for i = 1, 9 do
        go "a"
        expect(("a%d."):format(i) .. (i < 9 and (" a%d"):format(i + 1) or ""))
      end
      assert.equal(0, conn:info().waiting + conn:info().queued)
    end)

    it("handles ten thousand senders, each in order, and forgets them", function()
      local called, most = {}, 0
      conn:stop()
      f = stage.open { jid = stage.ME, max_queue = 1e9 }
      conn = f.conn
      install(conn, function(stanza)
        local from = stanza[2].from
        called[from] = (called[from] or 0) + 1
        most = math.max(most, called[from])
        xmpp.sleep(0)
        called[from] = called[from] - 1
      end, FROM)
      for round = 1, 2 do
        local bytes = {}
        for i = 1, 10000 do bytes[i] = ("<message from='u%d@xmpp.test/x' n='%d'/>"):format(i, round) end
        f:feed(table.concat(bytes))
      end
      stage.turn_until(function() return conn:info().waiting == 0 end, 60)
      assert.equal(1, most)
    end)

    it("ends when the connection is collected", function()
      local g = fed.open { jid = "you@xmpp.test/here" }
      install(g.conn, hears("", function() coroutine.yield() end), FROM)
      g:feed "<iq type='get' id='1' from='a@xmpp.test/x' n='1'/><iq type='get' id='2' from='a@xmpp.test/x' n='2'/>"
      g:feed "</stream:stream>"
      expect "1"
      g = nil -- luacheck: ignore 311
      for _ = 1, 4 do
        collectgarbage()
        fed.settle()
      end
      expect ""
    end)
  end)
end

describe("serial", function()
  local f, conn

  before_each(function()
    stage.begin()
    f = stage.open()
    conn = f.conn
  end)
  after_each(stage.finish)

  it("must be \"from\"", function()
    refuses("filter.serial: 'from' expected, got 'to'", function() conn:tap(print, { serial = "to" }) end)
    refuses("filter.serial: string expected, got boolean", function() conn:set_callback(print, { serial = true }) end)
    assert.same({}, conn:callbacks())
    assert.is_nil(conn:handler())
  end)

  it("works with a once-callback, too, which true removes with all that waits", function()
    conn:set_callback_once(hears("", function(stanza) stage.wait() return stanza[2].n == "2" end), FROM)
    stage.come(f, 1, 2, 3)
    expect "1"
    stage.go()
    expect "2"
    stage.go()
    expect ""
    assert.same({}, conn:callbacks())
    stage.come(f, 4)
    expect ""
  end)

  it("works with other fields of a filter, and concerns its own function only", function()
    conn:set_callback(hears("a", stage.wait), { name = "message", serial = "from" })
    conn:set_callback(hears "b")
    stage.come(f, 1, 2)
    expect "a1 b1 b2"
    stage.go()
    expect "a2"
    stage.go()
  end)

  it("lets a tap consume only what it is called for at once", function()
    conn:set_handler(hears "own")
    conn:tap(hears("tap", function(stanza)
      if stanza[2].n == "1" then return true end
      stage.wait()
      return true
    end), FROM)
    stage.come(f, 1, 2, 3)
    expect "tap1 tap2 own2 own3"
    stage.go()
    expect "tap3"
    stage.go()
  end)

  for _, m in ipairs(stage.manners()) do
    it("holds " .. m.name, function()
      stage.finish()
      stage.begin(m)
      f = stage.open()
      local off
      off = f.conn:tap(hears("", function(stanza)
        stage.wait()
        if stanza[2].n == "8" then off() end
      end), FROM)
      for n = 1, 9 do stage.come(f, n) end
      for n = 1, 8 do
        expect(tostring(n))
        stage.go()
      end
      expect ""
    end)
  end

  if luas.has("coroutine.close", "a serial call that is closed") then
    it("continues after a call whose coroutine was closed", function()
      local co
      conn:set_callback(hears("", function(stanza)
        if stanza[2].n ~= "1" then return end
        co = coroutine.running()
        coroutine.yield()
      end), FROM)
      stage.come(f, 1, 2)
      expect "1"
      rawget(coroutine, "close")(co)
      fed.settle()
      expect "2"
    end)
  end
end)
