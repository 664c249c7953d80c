-- tap: functions that get stanzas before the handler, the callbacks and the queue. On fed bytes, and on real servers.
local core = require "xmpp.core"
local fed = require "spec.support.fed"
local opened = require "spec.support.opened"
local server = require "spec.support.server"
local stage = require "spec.support.stage"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

describe("a tap", function()
  local f, conn

  before_each(function()
    stage.begin()
    f = stage.open { jid = stage.ME, max_queue = 20000 }
    conn = f.conn
  end)
  after_each(stage.finish)

  local function come(...) stage.come(f, ...) end

  -- Feeds an iq get, and returns what is sent in answer.
  local function ask(id)
    f:sent()
    f:feed(("<iq type='get' id='%s' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"):format(id))
    return f:sent()
  end

  local UNAVAILABLE = "service%-unavailable"

  local function received()
    local got = {}
    while true do
      local stanza = conn:receive()
      if not stanza then return table.concat(got, " ") end
      got[#got + 1] = stanza[2].n
    end
  end

  it("is called before the handler, in order of installation", function()
    conn:set_handler(hears "own")
    conn:tap(hears "a")
    conn:tap(hears("b", function(_, c) assert.equal(conn, c) end), { name = "message" })
    conn:tap(hears "never", { name = "iq" })
    come(1, 2)
    expect "a1 b1 own1 a2 b2 own2"
  end)

  it("is called before callbacks, and not again by default_handler", function()
    conn:set_callback(hears "cb")
    conn:tap(hears "tap")
    conn:set_handler(function(...) xmpp.default_handler(...) end)
    come(1)
    conn:set_handler()
    come(2)
    expect "tap1 cb1 tap2 cb2"
  end)

  it("consumes a stanza by returning exactly true, for later taps, too", function()
    conn:set_handler(hears "own")
    conn:tap(hears("a", function(stanza) return stanza[2].n == "1" or stanza[2].n end))
    conn:tap(hears "b")
    come(1, 2)
    expect "a1 a2 b2 own2"
  end)

  it("consumes only before it first waits", function()
    conn:set_handler(hears "own")
    conn:tap(hears("a", function() stage.wait() return true end))
    come(1)
    expect "a1 own1"
    stage.go()
    come(2)
    expect "a2 own2"
    stage.go()
  end)

  it("that throws has consumed nothing", function()
    conn:set_handler(hears "own")
    conn:tap(hears("a", function() error "thrown on purpose" end))
    conn:tap(hears "b")
    come(1)
    local taken = stage.take_errors()
    assert.equal(1, #taken)
    assert.truthy(taken[1].text:find("thrown on purpose", 1, true))
    assert.equal("tap", taken[1].whose.what)
    assert.equal(conn, taken[1].whose.conn)
    expect "a1 b1 own1"
  end)

  it("is removed by the function that tap returned, which reports whether it was there", function()
    local off, off_b
    conn:set_handler(hears "own")
    off = conn:tap(hears("a", function() off() off_b() end))
    off_b = conn:tap(hears "b")
    conn:tap(hears "c")
    come(1, 2)
    expect "a1 c1 own1 c2 own2"
    assert.is_false(off())
    local off_d = conn:tap(print)
    assert.is_true(off_d())
    assert.is_false(off_d())
  end)

  it("that is added by another waits for the next stanza", function()
    conn:set_handler(hears "own")
    conn:tap(hears("a", function(stanza) if stanza[2].n == "1" then conn:tap(hears "b") end end))
    come(1, 2)
    expect "a1 own1 a2 b2 own2"
  end)

  it("is refused with wrong arguments", function()
    refuses("function expected, got table", function() conn:tap {} end)
    refuses("table expected, got string", function() conn:tap(print, "message") end)
    refuses("a filter has no 'form'", function() conn:tap(print, { form = "a" }) end)
    refuses("filter.has: string expected, got boolean", function() conn:tap(print, { has = true }) end)
    assert.equal(conn.tap, xmpp.tap)
  end)

  it("gets a response after its waiter, which nobody else gets without a handler", function()
    conn:tap(hears "tap")
    conn:send_callback({ "iq", { type = "get", id = "i", to = "xmpp.test" } }, hears "response")
    f:feed "<iq type='result' id='i' from='xmpp.test' n='1'/>"
    expect "response1 tap1"
    assert.is_nil(conn:receive())
  end)

  describe("with no handler", function()
    it("keeps the stanzas that it gets out of the queue", function()
      conn:tap(hears "a", { has = "urn:a" })
      f:feed "<message n='1'><body/><x xmlns='urn:a'/></message><message n='2'><body/></message>"
      f:feed "<message n='3'><x xmlns='urn:a'/></message><message n='4'/>"
      expect "a1 a3"
      assert.equal("2 4", received())
    end)

    it("doesn't fill the queue, however much comes", function()
      local seen = 0
      conn:tap(function() seen = seen + 1 end, { name = "presence" })
      for _ = 1, 1000 do f:feed(("<presence from='room@xmpp.test/a'><status>x</status></presence>"):rep(10)) end
      assert.equal(10000, seen)
      assert.equal(0, conn:info().queued)
      assert.equal(0, conn:info().dropped)
    end)

    it("is called before receive_blocking gets a stanza", function()
      local got
      conn:tap(hears "tap", { name = "presence" })
      xmpp.spawn(function() got = conn:receive_blocking() end)
      fed.settle()
      f:feed "<presence n='1'/>"
      assert.is_nil(got)
      come(2)
      assert.equal("2", got[2].n)
      expect "tap1"
    end)

    it("may call receive", function()
      come(1)
      conn:tap(hears("tap", function() note(conn:receive()[2].n) end), { name = "presence" })
      fed.settle()
      f:feed "<presence n='2'/>"
      expect "tap2 1"
    end)

    it("gets what was queued before, as a handler would; the rest stays in order", function()
      f:feed "<message n='1'/><presence n='2'/><message n='3'/><presence n='4'/>"
      conn:tap(hears "a", { name = "presence" })
      conn:tap(hears "b", { name = "presence" })
      fed.settle()
      expect "a2 b2 a4 b4"
      assert.equal(2, conn:info().queued)
      assert.equal("1 3", received())
    end)

    it("gets a stanza once; a handler that is set later gets what no tap got", function()
      conn:tap(hears "tap", { name = "presence" })
      come(1)
      f:feed "<presence n='2'/>"
      come(3)
      conn:set_handler(hears "own")
      fed.settle()
      expect "tap2 own1 own3"
    end)

    it("never gets a stanza that other taps were already called for", function()
      conn:tap(print, { name = "presence" })
      come(1)
      conn:tap(hears "late", { name = "message" })
      come(2)
      conn:set_handler(hears "own")
      fed.settle()
      expect "late2 own1"
    end)

    it("gets parked stanzas in order, while responses are still read", function()
      local big, all = ("x"):rep(8000), {}
      conn:tap(hears("tap", function(stanza, c)
        assert(c:send_await(stage.request("r" .. stanza[2].n, "xmpp.test")))
        note("had" .. stanza[2].n)
      end), { name = "presence" })
      for i = 1, 6 do all[i] = ("<presence n='%d'><status>%s</status></presence>"):format(i, big) end
      f:feed(table.concat(all) .. "<message n='7'/>")
      expect "tap1 tap2 tap3"
      assert.equal(4, conn:info().queued)
      assert.is_nil(conn:receive()) -- before the tap has had it, it isn't in the queue
      local function answer(...)
        for _, n in ipairs { ... } do f:feed(("<iq type='result' id='r%d' from='xmpp.test'/>"):format(n)) end
      end
      answer(1, 2, 3)
      expect "had1 had2 tap4 had3 tap5"
      answer(5, 4)
      expect "had5 tap6 had4"
      assert.equal("7", received())
      answer(6)
      expect "had6"
    end)

    it("makes later stanzas wait, in order, when too many calls wait", function()
      local big = ("x"):rep(8000)
      conn:tap(hears("tap", stage.wait), { name = "presence" })
      for i = 1, 8 do f:feed(("<presence n='%d'><status>%s</status></presence>"):format(i, big)) end
      f:feed "<message n='9'/>"
      expect "tap1 tap2 tap3"
      assert.is_nil(conn:receive()) -- before the tap has had it, it isn't in the queue
      stage.go(3)
      expect "tap4 tap5"
      stage.go(2)
      expect "tap6 tap7"
      stage.go(2)
      expect "tap8"
      stage.go()
      assert.equal("9", received())
    end)
  end)

  it("makes later stanzas wait with a handler, too", function()
    local big = ("x"):rep(8000)
    conn:set_handler(hears "own")
    conn:tap(hears("tap", stage.wait))
    for i = 1, 4 do f:feed(("<presence n='%d'><status>%s</status></presence>"):format(i, big)) end
    expect "tap1 own1 tap2 own2 tap3 own3"
    stage.go(3)
    expect "tap4 own4"
    stage.go()
  end)

  describe("that gets an iq", function()
    it("may answer it, now or later", function()
      conn:tap(function(stanza, c)
        if stanza[2].id == "later" then stage.wait() end
        c:send(xexpr.reply(stanza))
      end, { name = "iq", type = "get", has = "urn:q" })
      assert.truthy(ask("now"):find "result")
      assert.equal("", ask "later")
      stage.go()
      local sent = f:sent()
      assert.truthy(sent:find "later")
      assert.is_nil(sent:find(UNAVAILABLE))
    end)

    it("and doesn't answer leaves that to the library, after all calls have ended", function()
      conn:tap(function() stage.wait() return true end, { xmlns = "urn:q" })
      assert.equal("", ask "1")
      stage.go()
      assert.truthy(f:sent():find(UNAVAILABLE))
      conn:tap(function() return true end, { xmlns = "urn:q" })
      assert.equal("", ask "2") -- both taps have taken it
      stage.go()
      assert.truthy(f:sent():find(UNAVAILABLE))
    end)

    it("leaves it in the queue, unanswered, if no tap matches", function()
      conn:tap(print, { xmlns = "urn:else" })
      assert.equal("", ask "1")
      assert.equal("1", conn:receive()[2].id)
    end)

    it("shares it with the handler: it is answered once", function()
      conn:tap(function() stage.wait() end, { xmlns = "urn:q" })
      conn:set_handler(function(stanza, c) c:send(xexpr.reply(stanza)) end)
      local sent = ask "1"
      assert.truthy(sent:find "result")
      stage.go()
      assert.equal("", f:sent())
    end)
  end)

  it("that stops the connection doesn't keep the handler from the stanza", function()
    conn:set_handler(hears "own")
    conn:tap(hears("tap", function() core.conn.close(conn, 0) end))
    come(1)
    expect "tap1 own1"
  end)

  it("keeps its connection from being collected, as a handler does", function()
    local weak = setmetatable({}, { __mode = "v" })
    local g = fed.open { jid = "other@xmpp.test/x" }
    weak[1] = g.conn
    g.conn:tap(print)
    local off = g.conn:tap(print)
    off()
    g, off = nil, nil -- luacheck: ignore 311
    collectgarbage() collectgarbage()
    assert.is_not_nil(weak[1])
    core.conn.close(weak[1], 0)
    fed.settle()
    collectgarbage() collectgarbage()
    assert.is_nil(weak[1])
  end)
end)

server.each(function(s)
  describe("a tap", function()
    after_each(opened.stop_all)

    it("gets what matches, while a program reads the rest", function()
      local function login(name)
        local jid = name .. "@" .. s.domain
        return opened.keep(assert(xmpp.connect_client(jid, s.users[name], s.host, s.port, s.opts())))
      end
      local alice, bob = login "alice", login "bob"
      local taken = {}
      bob:tap(function(stanza) taken[#taken + 1] = xexpr.text(stanza, "body") return true end, { has = "urn:test:a" })
      for i = 1, 20 do
        assert(alice:send { "message", { to = tostring(bob:jid()), type = "chat" }, { "body", tostring(i) },
          i % 2 == 0 and { "x", { xmlns = "urn:test:a" } } or { "y", { xmlns = "urn:test:b" } } })
      end
      for i = 1, 19, 2 do assert.equal(tostring(i), xexpr.text(assert(bob:receive_blocking(20)), "body")) end
      opened.turn_until(function() return #taken == 10 end)
      assert.equal("2 4 6 8 10 12 14 16 18 20", table.concat(taken, " "))
    end)
  end)
end)
