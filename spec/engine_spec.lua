-- engine: the handler and the callbacks: which gets which stanza, in which order, whatever is changed meanwhile. On fed
-- bytes; every test runs with several settings of the garbage collector.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

local f, conn

local function set(...) f, conn = ... end

local function come(...)
  stage.come(f, ...)
end

local function the_handler()
  it("is asked with the stanza and the connection, and its results are ignored", function()
    local got = {}
    conn:set_handler(hears("own", function(...)
      got[#got + 1] = { n = select("#", ...), ... }
      return true, false, "x"
    end))
    come(1, 2)
    expect "own1 own2"
    assert.equal(2, #got)
    for i = 1, 2 do
      assert.equal(2, got[i].n)
      assert.same({ "message", { from = "bob@xmpp.test/pc", n = tostring(i) }, { "body", {}, "hi" } }, got[i][1])
      assert.equal(conn, got[i][2])
    end
  end)

  it("is the default one when none is given, and nil when it was taken away", function()
    assert.is_nil(conn:handler())
    conn:set_handler()
    assert.equal(xmpp.default_handler, conn:handler())
    conn:set_handler(nil)
    assert.equal(xmpp.default_handler, conn:handler())
    local mine = function() end
    conn:set_handler(mine)
    assert.equal(mine, conn:handler())
    assert.equal(mine, xmpp.handler(conn))
    conn:stop_handler()
    assert.is_nil(conn:handler())
    conn:stop_handler()
    assert.is_nil(conn:handler())
  end)

  it("must be a function", function()
    refuses("function expected, got string", function() conn:set_handler("x") end)
    refuses("function expected, got boolean", function() conn:set_handler(false) end)
    refuses("function expected, got table", function() conn:set_handler(setmetatable({}, { __call = print })) end)
    assert.is_nil(conn:handler())
  end)

  it("is only one: a new one replaces it, and callbacks don't change", function()
    conn:set_callback(hears "callback")
    conn:set_handler(hears "a")
    come(1)
    conn:set_handler(hears "b")
    come(2)
    conn:set_handler(xmpp.default_handler)
    come(3)
    expect "a1 b2 callback3"
  end)

  it("can be replaced by itself, in effect from the next stanza on", function()
    local b = hears "b"
    conn:set_handler(hears("a", function() conn:set_handler(b) end))
    come(1, 2)
    expect "a1 b2"
  end)

  it("can take itself away: what follows is queued", function()
    conn:set_handler(hears("a", function() conn:stop_handler() end))
    come(1, 2, 3)
    expect "a1"
    assert.equal("2", conn:receive()[2].n)
    assert.equal("3", conn:receive()[2].n)
    assert.is_nil(conn:receive())
  end)

  it("can be replaced by a callback: the others still get the stanza", function()
    conn:set_callback(hears("a", function() conn:set_handler(hears "own") end))
    conn:set_callback(hears "b")
    conn:set_handler()
    come(1, 2)
    expect "a1 b1 own2"
  end)

  it("can be taken away by a callback: the others still get the stanza, the queue what follows", function()
    conn:set_callback(hears("a", function() conn:stop_handler() end))
    conn:set_callback(hears "b")
    conn:set_handler()
    come(1, 2)
    expect "a1 b1"
    assert.equal("2", conn:receive()[2].n)
  end)

  it("keeps a connection alive that nothing else refers to, and its callbacks with it", function()
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = fed.open({ jid = stage.ME }).conn
    weak[1]:set_callback(hears "b")
    weak[1]:set_handler()
    collectgarbage()
    collectgarbage()
    core.conn.feed(weak[1], "<message n='1'/>")
    fed.settle()
    expect "b1"
    core.conn.feed(weak[1], "</stream:stream>")
    fed.settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("keeps none alive when it was removed", function()
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = fed.open({ jid = stage.ME }).conn
    weak[1]:set_handler(hears("a", function() return weak end))
    weak[1]:stop_handler()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)
end

local function the_default_handler()
  it("can be called by the program's own", function()
    conn:set_callback(hears "a")
    conn:set_callback_once(hears("b", function() return true end))
    conn:set_handler(hears("own", function(stanza, c)
      if stanza[2].n == "2" then return end
      assert.is_nil(xmpp.default_handler(stanza, c))
      note "back"
    end))
    come(1, 2, 3)
    expect "own1 a1 b1 back own2 own3 a3 back"
  end)

  it("can be called with a stanza that never came", function()
    conn:set_callback(hears "a", { name = "presence", from = "eve@xmpp.test" })
    conn:set_callback(hears "b")
    xmpp.default_handler({ "presence", { from = "eve@xmpp.test/x", n = "7" } }, conn)
    xmpp.default_handler({ "presence", { from = "bob@xmpp.test/x", n = "8" } }, conn)
    expect "a7 b7 b8"
  end)

  it("refuses what is no stanza and no connection", function()
    refuses("bad argument #1", function() xmpp.default_handler(nil, conn) end)
    refuses("bad argument #1", function() xmpp.default_handler("<message/>", conn) end)
    refuses("bad argument #2", function() xmpp.default_handler({ "message", {} }) end)
    refuses("bad argument #2", function() xmpp.default_handler({ "message", {} }, {}) end)
  end)
end

local function the_order()
  it("is that of installation", function()
    local a, b, c = hears "a", hears "b", hears "c"
    conn:set_callback(a)
    conn:set_callback_once(b)
    conn:set_callback(c, { name = "message" })
    conn:set_handler()
    come(1, 2)
    expect "a1 b1 c1 a2 b2 c2"
    local list = conn:callbacks()
    assert.same({ a, b, c }, list)
    assert.are_not.equal(list, conn:callbacks())
    list[1] = nil
    assert.same({ a, b, c }, conn:callbacks())
  end)

  it("gives every callback the same table and the connection", function()
    local got = {}
    local function take(...) got[#got + 1] = { n = select("#", ...), ... } end
    conn:set_callback(take)
    conn:set_callback(function(...) take(...) end)
    conn:set_handler()
    come(1)
    assert.equal(2, got[1].n)
    assert.equal(2, got[2].n)
    assert.equal(got[1][1], got[2][1])
    assert.equal(conn, got[1][2])
    assert.equal(conn, got[2][2])
  end)

  it("has a function twice that was installed twice, and loses both", function()
    local a, b = hears "a", hears "b"
    conn:set_callback(a)
    conn:set_callback(b)
    conn:set_callback(a)
    conn:set_handler()
    come(1)
    expect "a1 b1 a1"
    assert.same({ a, b, a }, conn:callbacks())
    assert.is_true(conn:unset_callback(a))
    assert.same({ b }, conn:callbacks())
    assert.is_false(conn:unset_callback(a))
    come(2)
    expect "b2"
  end)

  it("holds whatever is added and removed", function()
    local model, all, state = {}, {}, 7
    local function random(n)
      state = (state * 1103 + 12345) % 65536
      return state % n + 1
    end
    for i = 1, 40 do all[i] = hears(i .. ":") end
    conn:set_handler()
    for i = 1, 400 do
      local cb = all[random(40)]
      if random(2) == 1 then
        conn:set_callback(cb)
        model[#model + 1] = cb
      else
        local was = false
        for at = #model, 1, -1 do
          if model[at] == cb then was = table.remove(model, at) ~= nil end
        end
        assert.equal(was, conn:unset_callback(cb))
      end
      if i % 50 == 0 then
        assert.same(model, conn:callbacks())
        local expected = {}
        come(i)
        for at, other in ipairs(model) do
          for number, known in ipairs(all) do
            if known == other then expected[at] = number .. ":" .. i end
          end
        end
        expect(table.concat(expected, " "))
      end
    end
    for _, cb in ipairs(all) do conn:unset_callback(cb) end
    assert.same({}, conn:callbacks())
    come(1)
    expect ""
  end)

  it("takes functions only", function()
    refuses("function expected, got no value", function() conn:set_callback() end)
    refuses("function expected, got table", function() conn:set_callback({}) end)
    refuses("function expected, got string", function() conn:set_callback_once("x") end)
    refuses("function expected, got no value", function() conn:unset_callback() end)
    assert.same({}, conn:callbacks())
  end)

  it("can be checked before with a contract", function()
    for _, name in ipairs { "handler", "callback", "callback_once" } do
      local contract = xmpp.contract[name]
      assert.is_true(contract(function() end))
      assert.is_true(contract(print))
      local thread = coroutine.create(function() end)
      for _, wrong in ipairs { 1, "x", true, { {} }, setmetatable({}, { __call = print }), thread } do
        local ok, reason = contract(wrong)
        assert.is_false(ok)
        assert.equal("function expected, got " .. type(wrong), reason)
      end
      assert.is_false((contract(nil)))
    end
  end)
end

local function changes_in_between()
  before_each(function() conn:set_handler() end)

  it("adds from the next stanza on", function()
    local b = hears "b"
    conn:set_callback(hears("a", function(stanza)
      if stanza[2].n == "1" then conn:set_callback(b) end
    end))
    conn:set_callback(hears "c")
    come(1, 2)
    expect "a1 c1 a2 c2 b2"
  end)

  it("ends though one adds itself", function()
    local a
    a = hears("a", function() conn:set_callback(a) end)
    conn:set_callback(a)
    come(1)
    expect "a1"
    come(2)
    expect "a2 a2"
    assert.equal(4, #conn:callbacks())
  end)

  it("never calls one that was added and removed before its turn", function()
    local b = hears "b"
    conn:set_callback(hears("a", function()
      conn:set_callback(b)
      assert.is_true(conn:unset_callback(b))
    end))
    come(1, 2)
    expect "a1 a2"
  end)

  -- a, b, c, d are installed; b calls act for the first stanza.
  local function with_b(act)
    local cbs = { a = hears "a", c = hears "c", d = hears "d" }
    cbs.b = hears("b", function(stanza)
      if stanza[2].n == "1" then act(cbs) end
    end)
    for _, name in ipairs { "a", "b", "c", "d" } do conn:set_callback(cbs[name]) end
    come(1, 2)
  end

  it("removes itself", function()
    with_b(function(cbs) assert.is_true(conn:unset_callback(cbs.b)) end)
    expect "a1 b1 c1 d1 a2 c2 d2"
  end)

  it("removes the next", function()
    with_b(function(cbs) assert.is_true(conn:unset_callback(cbs.c)) end)
    expect "a1 b1 d1 a2 b2 d2"
  end)

  it("removes the last", function()
    with_b(function(cbs) assert.is_true(conn:unset_callback(cbs.d)) end)
    expect "a1 b1 c1 a2 b2 c2"
  end)

  it("removes the previous", function()
    with_b(function(cbs) assert.is_true(conn:unset_callback(cbs.a)) end)
    expect "a1 b1 c1 d1 b2 c2 d2"
  end)

  it("removes the previous, the next and itself", function()
    with_b(function(cbs)
      for _, name in ipairs { "a", "c", "b" } do assert.is_true(conn:unset_callback(cbs[name])) end
    end)
    expect "a1 b1 d1 d2"
  end)

  it("removes all", function()
    with_b(function(cbs)
      for _, cb in pairs(cbs) do assert.is_true(conn:unset_callback(cb)) end
      assert.same({}, conn:callbacks())
    end)
    expect "a1 b1"
  end)

  it("counts one that is removed and added again as new", function()
    with_b(function(cbs)
      conn:unset_callback(cbs.c)
      conn:set_callback(cbs.c)
    end)
    expect "a1 b1 d1 a2 b2 d2 c2"
  end)

  it("removes all and installs others", function()
    local e = hears "e"
    with_b(function(cbs)
      for _, cb in pairs(cbs) do conn:unset_callback(cb) end
      for _ = 1, 20 do conn:set_callback(e) end
      conn:unset_callback(e)
      conn:set_callback(e)
    end)
    expect "a1 b1 e2"
  end)

  it("takes effect in a dispatch by the program's own handler, too", function()
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    local e = hears "e"
    with_b(function(cbs)
      conn:unset_callback(cbs.c)
      conn:set_callback(e)
    end)
    expect "a1 b1 d1 a2 b2 d2 e2"
  end)

  it("takes effect when a callback continues later", function()
    local b = hears "b"
    conn:set_callback(hears("a", function()
      stage.wait()
      conn:unset_callback(b)
      note "removed"
    end))
    conn:set_callback(b)
    come(1)
    expect "a1 b1"
    stage.go()
    come(2)
    expect "removed a2"
    stage.go()
    expect "removed"
  end)

  it("does not let a callback's changes to the table decide who gets the stanza", function()
    local function spoil(stanza)
      stanza[1], stanza[2], stanza[3] = "spoilt", { n = stanza[2].n }, nil
      collectgarbage()
      collectgarbage()
      local taken = {} -- reuses the memory that was freed
      for i = 1, 500 do taken[i] = ("%05d"):format(i):rep(20) end
      return taken
    end
    conn:set_callback(hears("a", spoil))
    -- Long ones, since short strings are shared with this file's constants, and so aren't freed.
    local from, id, kind, ns = ("f"):rep(78) .. "@xmpp.test/resource.9", ("i"):rep(100), ("t"):rep(100), ("n"):rep(100)
    conn:set_callback(hears "b", { name = "message", type = kind, id = id, xmlns = ns, from = from })
    local bytes = "<message type='%s' id='%s' from='%s' n='%%d'><x xmlns='%s'/></message>"
    bytes = bytes:format(kind, id, from, ns)
    f:feed(bytes:format(1))
    expect "a1 b1"
    conn:set_handler(function(...) xmpp.default_handler(...) end)
    f:feed(bytes:format(2))
    expect "a2 b2"
    conn:stop_handler()
    f:feed(bytes:format(3))
    conn:set_handler()
    fed.settle()
    expect "a3 b3"
  end)
end

local function a_once_callback()
  before_each(function() conn:set_handler() end)

  -- A once-callback that returns act's results gets these of three stanzas.
  local function sees(expected, act)
    local once = hears("once", act)
    conn:set_callback_once(once)
    come(1, 2, 3)
    expect(expected)
    conn:unset_callback(once)
  end

  it("goes when it returns exactly true", function()
    sees("once1", function() return true end)
    assert.same({}, conn:callbacks())
    sees("once1", function() return true, "and more" end)
    sees("once1 once2", function(stanza) return stanza[2].n == "2" end)
  end)

  it("stays when it returns something else, or nothing", function()
    for _, other in ipairs { 1, 0, "true", {}, print, false } do
      sees("once1 once2 once3", function() return other end)
    end
    sees("once1 once2 once3")
    sees("once1 once2 once3", function() return nil, true end)
    sees("once1 once2 once3", function() return false, true end)
  end)

  it("differs from a plain one, which stays whatever it returns", function()
    conn:set_callback(hears("a", function() return true end))
    come(1, 2)
    expect "a1 a2"
  end)

  it("stays when it throws", function()
    sees("once1 once2 once3", function() error("thrown, not returned") end)
    assert.equal(3, #stage.take_errors())
  end)

  it("goes when it returns true after it has waited", function()
    conn:set_callback_once(hears("once", function()
      stage.wait()
      note "over"
      return true
    end))
    come(1)
    assert.equal(1, #conn:callbacks())
    stage.go()
    assert.same({}, conn:callbacks())
    come(2)
    expect "once1 over"
  end)

  it("stays when it returns something else after it has waited", function()
    conn:set_callback_once(hears("once", function()
      stage.wait()
      note "over"
      return 1
    end))
    come(1)
    stage.go()
    assert.equal(1, #conn:callbacks())
    expect "once1 over"
  end)

  it("sees what comes while it waits, and may return true more than once", function()
    conn:set_callback_once(hears("once", function()
      stage.wait()
      note "over"
      return true
    end))
    come(1, 2)
    stage.go(2)
    expect "once1 once2 over over"
    come(3)
    expect ""
  end)

  it("goes once, though the same function is installed several times", function()
    local calls = 0
    local once = hears("once", function()
      calls = calls + 1
      return calls == 1
    end)
    conn:set_callback_once(once)
    conn:set_callback_once(once)
    conn:set_callback(once)
    come(1)
    expect "once1 once1 once1"
    assert.same({ once, once }, conn:callbacks())
  end)

  it("may also remove itself", function()
    local once
    once = hears("once", function()
      assert.is_true(conn:unset_callback(once))
      conn:set_callback_once(once)
      return true
    end)
    conn:set_callback_once(once)
    come(1)
    expect "once1"
    assert.same({ once }, conn:callbacks()) -- the new one, since only the earlier one returned true
  end)

  it("goes after its own yield, which something else has resumed", function()
    local co
    conn:set_callback_once(hears("once", function()
      co = coroutine.running()
      note(coroutine.yield("to whom?"))
      return true
    end))
    come(1)
    assert.equal(1, #conn:callbacks())
    assert.is_true(coroutine.resume(co, "resumed"))
    expect "once1 resumed"
    assert.same({}, conn:callbacks())
  end)
end

local STANZAS = table.concat {
  "<message n='1' id='m1' type='chat' from='bob@xmpp.test/pc'><x xmlns='urn:a'/><y xmlns='urn:b'/></message>",
  "<message n='2' id='m2' from='bob@xmpp.test'>\n <body>hi</body><x xmlns='urn:a'/></message>",
  "<presence n='3' id='m1' type='chat' from='eve@xmpp.test/pc'/>",
  "<iq n='4' id='i1' type='result' from='xmpp.test'><q xmlns='urn:a'/></iq>",
  "<message n='5'><y xmlns='urn:b'/></message>",
  "<message n='6' id='M1' type='Chat' from='BOB@Xmpp.Test/pc'>text only</message>",
  "<message n='7' from='bob@xmpp.test/PC'/>",
  "<message n='8' from='xmpp.test/bob@xmpp.test'/>",
  "<message n='9' from='Bob\195\132@B\195\156CHER.test/\195\132'/>",
  "<message n='10' from='bob\195\164@xn--bcher-kva.test/x'/>",
  "<message n='11' from='bob@xmpp.test./pc'/>",
  "<message n='12' from='@@/'/>",
}

local FILTERS = {
  { {}, "1 2 3 4 5 6 7 8 9 10 11 12" },
  { { name = "message" }, "1 2 5 6 7 8 9 10 11 12" },
  { { name = "iq" }, "4" },
  { { type = "chat" }, "1 3" },
  { { type = "normal" }, "" },
  { { type = "" }, "" },
  { { xmlns = "urn:a" }, "1 4" },
  { { xmlns = "urn:b" }, "5" },
  { { xmlns = "jabber:client" }, "2" },
  { { has = "urn:a" }, "1 2 4" },
  { { has = "urn:b" }, "1 5" },
  { { has = "jabber:client" }, "2" },
  { { has = "urn" }, "" },
  { { has = "urn:b", xmlns = "urn:a" }, "1" },
  { { has = "urn:b", xmlns = "urn:b" }, "5" },
  { { has = "urn:a", from = "bob@xmpp.test", id = "m2" }, "2" },
  { { has = "urn:b", from = "bob@xmpp.test", id = "m2" }, "" },
  { { id = "m1" }, "1 3" },
  { { id = "m" }, "" },
  { { from = "bob@xmpp.test" }, "1 2 6 7 11" },
  { { from = "bob@xmpp.test/pc" }, "1 6 11" },
  { { from = "BOB@XMPP.test/pc" }, "1 6 11" },
  { { from = "Bob@xmpp.test." }, "1 2 6 7 11" },
  { { from = xmpp.jid "bob@xmpp.test" }, "1 2 6 7 11" },
  { { from = xmpp.jid "bob@xmpp.test/PC" }, "7" },
  { { from = "xmpp.test" }, "4 8" },
  { { from = "xmpp.test/bob@xmpp.test" }, "8" },
  { { from = "bob\195\164@b\195\188cher.test" }, "9 10" },
  { { from = "Bob\195\132@xn--bcher-kva.test" }, "9 10" },
  { { from = "bob\195\164@b\195\188cher.test/\195\132" }, "9" },
  { { from = "@@/" }, "12" },
  { { from = "" }, "" },
  { { name = "message", type = "chat" }, "1" },
  { { name = "message", xmlns = "urn:b" }, "5" },
  { { type = "chat", id = "m1", from = "eve@xmpp.test" }, "3" },
  { { name = "message", type = "chat", xmlns = "urn:a", from = "bob@xmpp.test", id = "m1" }, "1" },
  { { name = "message", type = "chat", xmlns = "urn:a", from = "bob@xmpp.test", id = "m2" }, "" },
  { { name = "message", type = "chat", xmlns = "urn:a", from = "bob@xmpp.test/x", id = "m1" }, "" },
  { { name = "message", type = "chat", xmlns = "urn:b", from = "bob@xmpp.test", id = "m1" }, "" },
  { { name = "message", type = "error", xmlns = "urn:a", from = "bob@xmpp.test", id = "m1" }, "" },
  { { name = "presence", type = "chat", xmlns = "urn:a", from = "bob@xmpp.test", id = "m1" }, "" },
}

-- The stanzas that each filter's callback got, as a list for each.
local function seen_by_filters()
  local seen = {}
  for i, case in ipairs(FILTERS) do
    seen[i] = {}
    conn:set_callback(function(stanza) table.insert(seen[i], stanza[2].n) end, case[1])
  end
  return seen
end

local function check_filters(seen)
  for i, case in ipairs(FILTERS) do
    assert.equal(case[2], table.concat(seen[i], " "), "filter " .. xexpr.pretty { "filter", { number = i } })
  end
end

local function a_filter()
  it("decides which stanzas a callback sees", function()
    local seen = seen_by_filters()
    conn:set_handler()
    f:feed(STANZAS)
    check_filters(seen)
  end)

  it("decides the same when the program's own handler calls the default one", function()
    local seen = seen_by_filters()
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    f:feed(STANZAS)
    check_filters(seen)
  end)

  it("decides the same for what was queued before", function()
    local seen = seen_by_filters()
    f:feed(STANZAS)
    conn:set_handler()
    fed.settle()
    check_filters(seen)
  end)

  it("knows the component's own namespace, on every path", function()
    f = stage.open { jid = "echo.xmpp.test", component = true }
    conn = f.conn
    local bytes = "<message n='%d'><body/></message>"
    conn:set_callback(hears "a", { xmlns = "jabber:component:accept" })
    conn:set_callback(hears "b", { xmlns = "jabber:client" })
    f:feed(bytes:format(1))
    conn:set_handler()
    fed.settle()
    f:feed(bytes:format(2))
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    f:feed(bytes:format(3))
    expect "a1 a2 a3"
  end)

  it("is looked for in hundreds of children, and by hundreds of callbacks", function()
    local most, children, first = 300, {}, 0
    for i = 1, most do
      children[i] = ("<x xmlns='urn:%d'/>"):format(i)
      conn:set_callback(function() first = first + 1 end, { has = "urn:" .. i })
      conn:set_callback(function() error "one that isn't there was met" end, { has = "urn:y" .. i })
    end
    conn:set_callback(hears "last", { xmlns = "urn:1", has = "urn:" .. most })
    local text = ("<message n='%%s'>%s</message>"):format(table.concat(children))
    f:feed(text:format(1)) -- it goes to the queue, and is matched later
    conn:set_handler()
    fed.settle()
    f:feed(text:format(2))
    expect "last1 last2"
    assert.equal(2 * most, first)
  end)

  it("does for once-callbacks, too: they are called with matches only", function()
    conn:set_callback_once(hears("once", function() return true end), { type = "chat" })
    conn:set_handler()
    come(0)
    f:feed(STANZAS)
    expect "once1"
  end)

  it("is copied: changing the table later changes nothing", function()
    local filter = { name = "presence" }
    conn:set_callback(hears "a", filter)
    filter.name = "message"
    conn:set_handler()
    come(1)
    expect ""
  end)

  it("is refused when something is wrong with it", function()
    local cb = function() end
    local known = "it has name, type, xmlns, has, from, id"
    refuses("a filter has no 'form'; " .. known, function() conn:set_callback(cb, { form = "x" }) end)
    refuses("a filter has no", function() conn:set_callback(cb, { "message" }) end)
    refuses("filter.name: string expected, got number", function() conn:set_callback(cb, { name = 1 }) end)
    refuses("filter.from: string expected, got table", function() conn:set_callback(cb, { from = {} }) end)
    refuses("filter.id: string expected, got boolean", function() conn:set_callback_once(cb, { id = false }) end)
    refuses("filter.has: string expected, got table", function() conn:set_callback(cb, { has = { "urn:a" } }) end)
    refuses("filter.id: a zero byte, which no stanza has", function() conn:set_callback(cb, { id = "a\0b" }) end)
    refuses("bad argument #2 to 'set_callback' (filter.type", function() conn:set_callback(cb, { type = 1 }) end)
    refuses("bad argument #3 to 'set_callback' (filter.type", function() xmpp.set_callback(conn, cb, { type = 1 }) end)
    refuses("table expected, got string", function() conn:set_callback(cb, "message") end)
    assert.same({}, conn:callbacks())
  end)
end

local GROUPS = {
  { "the handler", the_handler }, { "the default handler", the_default_handler },
  { "the order of callbacks", the_order },
  { "what changes during a dispatch", changes_in_between }, { "a once-callback", a_once_callback },
  { "a filter", a_filter },
}

stage.under_manners("engine", set, GROUPS)
