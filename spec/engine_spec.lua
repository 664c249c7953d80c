-- engine: the handler and the callbacks: who gets which stanza and in which order, whatever they do meanwhile, and the
-- answer that an iq is owed. On fed bytes; every test runs under several manners of garbage collection.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME = "me@xmpp.test/here"

local f, conn          -- the fed connection
local heard, errors    -- what callbacks noted; what on_error was given
local tick             -- called at the beginning and at the end of every callback

local function ticked(...)
  tick()
  return ...
end

-- A callback that notes its name with the stanza's attribute n, and then does what `act` does.
local function hears(name, act)
  return function(stanza, c)
    tick()
    heard[#heard + 1] = name .. tostring(stanza[2].n)
    if act then return ticked(act(stanza, c)) end
  end
end

local function note(text)
  heard[#heard + 1] = text
end

-- What was noted since the last time.
local function expect(text)
  assert.equal(text, table.concat(heard, " "))
  heard = {}
end

-- Messages with these n arrive, in one piece.
local function come(...)
  local bytes = {}
  for i, n in ipairs { ... } do bytes[i] = ("<message from='bob@xmpp.test/pc' n='%s'><body>hi</body></message>"):format(n) end
  f:feed(table.concat(bytes))
end

-- What was sent since the last time, as elements.
local function sent()
  local all = assert(xexpr.from_xml("<all>" .. f:sent() .. "</all>"))
  return { unpack(all, 3) }
end

-- The errors since the last time, each {text, object}.
local function take_errors()
  local taken = errors
  errors = {}
  return taken
end

local function refuses(text, g)
  local ok, message = pcall(g)
  assert.is_false(ok, "no error, but expected: " .. text)
  local line = debug.getinfo(g, "S").linedefined
  assert.truthy(message:find(("engine_spec.lua:%d:"):format(line), 1, true), "not at the caller's line: " .. message)
  assert.truthy(message:find(text, 1, true), ("expected %q, got %q"):format(text, message))
end

-- Until `what` is true: who sleeps is waited for.
local function turn_until(what)
  local limit = os.time() + 20
  while not what() and os.time() < limit do core.step(0.05) end
  assert.is_true(what(), "20 seconds have passed")
end

local function open(options)
  f = fed.open(options)
  conn = f.conn
end

local function close()
  if conn:state() ~= "closed" then f:feed "</stream:stream>" end
  f, conn = nil, nil
end

local function the_handler()
  it("is asked with the stanza and the connection, and its results are ignored", function()
    local got = {}
    conn:set_handler(function(...)
      tick()
      got[#got + 1] = { n = select("#", ...), ... }
      return true, false, "x"
    end)
    come(1, 2)
    assert.equal(2, #got)
    for i = 1, 2 do
      assert.equal(2, got[i].n)
      assert.same({ "message", { from = "bob@xmpp.test/pc", n = tostring(i) }, { "body", {}, "hi" } }, got[i][1])
      assert.equal(conn, got[i][2])
    end
    got = nil
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

  it("is one: a new one takes the old one's place, callbacks stay out of it", function()
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
    conn:set_callback(hears "a")
    conn:set_handler()
    weak[1], f, conn = f.conn, nil, nil
    collectgarbage()
    collectgarbage()
    core.conn.feed(weak[1], "<message n='1'/>")
    fed.settle()
    expect "a1"
    core.conn.feed(weak[1], "</stream:stream>")
    fed.settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    open { jid = ME }
  end)
end

local function the_default_handler()
  it("can be called by one's own", function()
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

  it("holds for whatever is added and removed", function()
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
        heard = {}
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
    refuses("function expected, got nil", function() conn:set_callback() end)
    refuses("function expected, got table", function() conn:set_callback({}) end)
    refuses("function expected, got string", function() conn:set_callback_once("x") end)
    refuses("function expected, got nil", function() conn:unset_callback() end)
    assert.same({}, conn:callbacks())
  end)

  it("has a contract to ask before", function()
    for _, name in ipairs { "handler", "callback", "callback_once" } do
      local contract = xmpp.contract[name]
      assert.is_true(contract(function() end))
      assert.is_true(contract(print))
      for _, wrong in ipairs { 1, "x", true, { {} }, setmetatable({}, { __call = print }), coroutine.create(print) } do
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

  it("does not go on for ever with one that adds itself", function()
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

  -- a, b, c, d are installed; b does something at the first stanza.
  local function with_b(act)
    local cbs = { a = hears "a", c = hears "c", d = hears "d" }
    cbs.b = hears("b", function(stanza)
      if stanza[2].n == "1" then act(cbs) end
    end)
    for _, name in ipairs { "a", "b", "c", "d" } do conn:set_callback(cbs[name]) end
    come(1, 2)
  end

  it("removes oneself", function()
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

  it("removes the previous, the next and oneself", function()
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

  it("takes effect in a dispatch of one's own handler, too", function()
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    local e = hears "e"
    with_b(function(cbs)
      conn:unset_callback(cbs.c)
      conn:set_callback(e)
    end)
    expect "a1 b1 d1 a2 b2 d2 e2"
  end)

  it("takes effect when a callback goes on later", function()
    local b = hears "b"
    conn:set_callback(hears("a", function()
      xmpp.sleep(0)
      conn:unset_callback(b)
      note "removed"
    end))
    conn:set_callback(b)
    come(1)
    turn_until(function() return #heard == 3 end)
    come(2)
    expect "a1 b1 removed a2"
    turn_until(function() return #heard == 1 end)
    expect "removed"
  end)

  it("does not let a callback's changes to the table decide who gets the stanza", function()
    local function spoil(stanza)
      stanza[1], stanza[2], stanza[3] = "spoilt", { n = stanza[2].n }, nil
      for i = 1, 50 do heard[0] = ("%s and some more to take the memory that was freed"):format(i) end
      collectgarbage()
      collectgarbage()
    end
    conn:set_callback(hears("a", spoil))
    local from = "somebody.with.a.rather.long.name.that.is.no.short.string@xmpp.test/resource"
    conn:set_callback(hears "b", { name = "message", type = "chat", id = "an-id", xmlns = "urn:a", from = from })
    local bytes = ("<message type='chat' id='an-id' from='%s' n='%%d'><x xmlns='urn:a'/></message>"):format(from)
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

  -- Which stanzas of three a once-callback sees that returns act's results.
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

  it("is no plain one: that stays whatever it returns", function()
    conn:set_callback(hears("a", function() return true end))
    come(1, 2)
    expect "a1 a2"
  end)

  it("stays when it throws", function()
    sees("once1 once2 once3", function() error("thrown, not returned") end)
    assert.equal(3, #take_errors())
  end)

  it("goes when it returns true after it has waited", function()
    conn:set_callback_once(hears("once", function()
      xmpp.sleep(0)
      note "over"
      return true
    end))
    come(1)
    assert.equal(1, #conn:callbacks())
    turn_until(function() return #heard == 2 end)
    assert.same({}, conn:callbacks())
    come(2)
    expect "once1 over"
  end)

  it("stays when it returns something else after it has waited", function()
    conn:set_callback_once(hears("once", function()
      xmpp.sleep(0)
      note "over"
      return 1
    end))
    come(1)
    turn_until(function() return #heard == 2 end)
    assert.equal(1, #conn:callbacks())
    expect "once1 over"
  end)

  it("sees what comes while it waits, and may return true more than once", function()
    conn:set_callback_once(hears("once", function()
      xmpp.sleep(0)
      note "over"
      return true
    end))
    come(1, 2)
    turn_until(function() return #heard == 4 end)
    expect "once1 once2 over over"
    come(3)
    expect ""
  end)

  it("goes alone, though the same function is installed more than once", function()
    local once = hears("once", function(stanza) return stanza[2].n == "1" and #heard == 1 end)
    conn:set_callback_once(once)
    conn:set_callback_once(once)
    conn:set_callback(once)
    come(1)
    expect "once1 once1 once1"
    assert.same({ once, once }, conn:callbacks())
  end)

  it("may remove itself besides", function()
    local once
    once = hears("once", function()
      assert.is_true(conn:unset_callback(once))
      conn:set_callback_once(once)
      return true
    end)
    conn:set_callback_once(once)
    come(1)
    expect "once1"
    assert.same({ once }, conn:callbacks()) -- the new one: only the old one has returned true
  end)

  it("goes after a yield of its own that somebody else has resumed", function()
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
  { { name = "Message" }, "" },
  { { type = "chat" }, "1 3" },
  { { type = "normal" }, "" },
  { { type = "" }, "" },
  { { xmlns = "urn:a" }, "1 4" },
  { { xmlns = "urn:b" }, "5" },
  { { xmlns = "jabber:client" }, "2" },
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

-- What the callbacks saw, each in its own list.
local function seen_by_filters()
  local seen = {}
  for i, case in ipairs(FILTERS) do
    seen[i] = {}
    conn:set_callback(function(stanza)
      tick()
      table.insert(seen[i], stanza[2].n)
    end, case[1])
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

  it("decides the same when one's own handler calls the default one", function()
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

  it("knows the component's own namespace, on every way", function()
    close()
    open { jid = "echo.xmpp.test", component = true }
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
    refuses("a filter has no 'form'; it has name, type, xmlns, from, id", function() conn:set_callback(cb, { form = "x" }) end)
    refuses("a filter has no", function() conn:set_callback(cb, { "message" }) end)
    refuses("filter.name: string expected, got number", function() conn:set_callback(cb, { name = 1 }) end)
    refuses("filter.from: string expected, got table", function() conn:set_callback(cb, { from = {} }) end)
    refuses("filter.id: string expected, got boolean", function() conn:set_callback_once(cb, { id = false }) end)
    refuses("table expected, got string", function() conn:set_callback(cb, "message") end)
    assert.same({}, conn:callbacks())
  end)
end

-- Error objects, and how each is told. `where`: it was thrown with this file's line.
local function objects()
  return {
    { object = nil, text = "nil" },
    { object = false, text = "false" },
    { object = 42, text = "42" },
    { object = "boom", text = "boom" },
    { object = "", text = "" },
    { object = {}, text = "table: " },
    { object = setmetatable({}, { __tostring = function() return "spelled out" end }), text = "spelled out" },
    { object = setmetatable({}, { __tostring = function() error("no") end }), text = "(error object is a table value)" },
    { object = setmetatable({}, { __tostring = function() return {} end }), text = "(error object is a table value)" },
    { object = setmetatable({}, { __name = "Named" }), text = "Named: " },
    { object = print, text = "function: " },
    { object = coroutine.create(print), text = "thread: " },
  }
end

local function a_thrown_error()
  local function throw(object) error(object, 0) end

  -- Everything went to on_error, and the next in line and the next stanza came to their right.
  local function check(case, got)
    assert.equal(case.text, got.text:sub(1, #case.text))
    assert.truthy(got.text:find("\nstack traceback:\n", 1, true), got.text)
    assert.truthy(got.text:find("in upvalue 'throw'", 1, true) or got.text:find("in local 'throw'", 1, true), got.text)
    assert.is_true(rawequal(case.object, got.object))
  end

  it("goes to on_error with its traceback, whatever was thrown, and the others are still called", function()
    conn:set_handler()
    for _, case in ipairs(objects()) do
      local bad = hears("bad", function() throw(case.object) end)
      local good = hears "good"
      conn:set_callback(bad)
      conn:set_callback(good)
      come(1, 2)
      expect "bad1 good1 bad2 good2"
      local got = take_errors()
      assert.equal(2, #got)
      check(case, got[1])
      check(case, got[2])
      conn:unset_callback(bad)
      conn:unset_callback(good)
    end
    assert.equal("ready", conn:state())
  end)

  it("goes to on_error when it is thrown after a wait", function()
    conn:set_handler()
    for _, case in ipairs(objects()) do
      local bad = hears("bad", function()
        xmpp.sleep(0)
        throw(case.object)
      end)
      conn:set_callback(bad)
      come(1)
      assert.equal(0, #errors)
      turn_until(function() return #errors == 1 end)
      check(case, take_errors()[1])
      conn:unset_callback(bad)
    end
    assert.equal("ready", conn:state())
  end)

  it("goes to on_error from one's own handler", function()
    local case = objects()[4]
    conn:set_handler(hears("own", function() throw(case.object) end))
    come(1, 2)
    expect "own1 own2"
    local got = take_errors()
    assert.equal(2, #got)
    check(case, got[1])
  end)

  it("goes to on_error from a callback that one's own handler has called, which goes on", function()
    conn:set_callback(hears("bad", function() throw("boom") end))
    conn:set_callback(hears "good")
    conn:set_handler(hears("own", function(stanza, c)
      xmpp.default_handler(stanza, c)
      note "back"
    end))
    come(1)
    expect "own1 bad1 good1 back"
    assert.equal(1, #take_errors())
  end)

  it("may be an overflow of the stack", function()
    local function deeper() return 1 + deeper() end
    conn:set_handler()
    conn:set_callback(hears("bad", deeper))
    conn:set_callback(hears "good")
    come(1)
    expect "bad1 good1"
    assert.truthy(take_errors()[1].text:find("stack overflow", 1, true))
    local function inner(stanza, c) xmpp.default_handler(stanza, c) end
    conn:set_callback(inner) -- a callback inside itself, until C's stack is at its bound
    come(2)
    conn:unset_callback(inner)
    local got = take_errors()
    assert.truthy(#got > 0)
    heard = {}
    come(3)
    expect "bad3 good3"
    take_errors()
  end)

  it("closes what was to be closed", function()
    if _VERSION == "Lua 5.1" then return end
    local source = "local note = ... ; local x <close> = setmetatable({}, {__close = function() note 'closed' end}) error 'x'"
    conn:set_callback(assert(load("return function(note) return function() " .. source:gsub("%.%.%.", "note") .. " end end"))()(note))
    conn:set_handler()
    come(1)
    expect "closed"
    assert.equal(1, #take_errors())
  end)
end

local function a_yield()
  before_each(function() conn:set_handler() end)

  it("in a callback holds up neither the others nor the next stanza", function()
    conn:set_callback(hears("a", function(stanza)
      xmpp.sleep(0)
      note("over" .. stanza[2].n)
    end))
    conn:set_callback(hears "b")
    come(1, 2)
    assert.equal("a1 b1 a2 b2", table.concat(heard, " ", 1, 4))
    turn_until(function() return #heard == 6 end)
    expect "a1 b1 a2 b2 over1 over2"
  end)

  it("in a handler lets the next stanza come", function()
    conn:set_handler(hears("own", function(stanza)
      xmpp.sleep(0.02)
      note("over" .. stanza[2].n)
    end))
    come(1, 2)
    expect "own1 own2"
    turn_until(function() return #heard == 2 end)
    expect "over1 over2"
  end)

  it("may wait for a response", function()
    conn:set_callback(hears("a", function(stanza, c)
      local response, err = c:send_await({ "iq", { type = "get", id = "q" .. stanza[2].n }, { "q", { xmlns = "urn:q" } } }, 60)
      assert.is_nil(err)
      note("got" .. response[2].id)
    end), { name = "message" })
    come(1, 2)
    expect "a1 a2"
    f:feed "<iq type='result' id='q2'/>"
    expect "gotq2"
    f:feed "<iq type='result' id='q1'/>"
    expect "gotq1"
  end)

  it("may be inside a pcall, which catches what is thrown later", function()
    conn:set_callback(hears("a", function()
      local ok, why = pcall(function()
        xmpp.sleep(0)
        error("late", 0)
      end)
      note(tostring(ok) .. why)
    end))
    come(1)
    turn_until(function() return #heard == 2 end)
    expect "a1 falselate"
  end)

  it("of one's own may be resumed by another callback", function()
    local co
    conn:set_callback(hears("a", function(stanza)
      if co then return end
      co = coroutine.running()
      note("a-got-" .. coroutine.yield(stanza[2].n))
    end))
    conn:set_callback(hears("b", function(stanza)
      if stanza[2].n == "2" then assert.is_true(coroutine.resume(co, "word")) end
    end))
    come(1, 2, 3)
    expect "a1 b1 a2 b2 a-got-word a3 b3"
  end)

  it("of one's own may go on waiting, and throws to whom resumes it", function()
    local co
    conn:set_callback(hears("a", function()
      co = coroutine.running()
      coroutine.yield()
      xmpp.sleep(0)
      note "slept"
      coroutine.yield()
      error("to the resumer", 0)
    end))
    come(1)
    assert.is_true(coroutine.resume(co))
    turn_until(function() return #heard == 2 end)
    local ok, why = coroutine.resume(co)
    assert.is_false(ok)
    assert.equal("to the resumer", why)
    expect "a1 slept"
  end)

  it("does no harm when who waits is resumed by somebody else", function()
    local co
    conn:set_callback(hears("a", function()
      co = coroutine.running()
      xmpp.sleep(0.02)
      note "slept"
    end))
    come(1)
    for _ = 1, 5 do assert.is_true(coroutine.resume(co)) end
    expect "a1"
    turn_until(function() return #heard == 1 end)
    expect "slept"
    assert.is_false((coroutine.resume(co)))
  end)

  it("that is never resumed is collected without a word", function()
    local weak = setmetatable({}, { __mode = "k" })
    conn:set_callback_once(hears("a", function()
      weak[coroutine.running()] = true
      coroutine.yield()
      note "never"
      return true
    end))
    come(1)
    assert.is_truthy(next(weak))
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
    expect "a1"
    assert.equal(1, #conn:callbacks())
  end)

  it("may be a generator's, inside the callback", function()
    conn:set_callback(hears("a", function()
      for word in coroutine.wrap(function()
        for i = 1, 3 do coroutine.yield("word" .. i) end
      end) do note(word) end
    end))
    come(1)
    expect "a1 word1 word2 word3"
  end)

  it("may be in a coroutine that the callback has made", function()
    conn:set_callback(hears("a", function()
      coroutine.wrap(function()
        xmpp.sleep(0)
        note "inner"
        error "inner error"
      end)()
      note "outer"
    end))
    come(1)
    turn_until(function() return #errors == 1 end)
    expect "a1 outer inner"
    assert.truthy(take_errors()[1].text:find("inner error", 1, true))
  end)

  it("needs a coroutine that can yield: else it says so, and nothing was sent or is waited for", function()
    local function attempt(what, wait)
      conn:set_callback_once(hears(what, function()
        local line = debug.getinfo(1, "l").currentline + 1
        local ok, why = pcall(string.gsub, "x", "x", function() return wait() end)
        assert.is_false(ok)
        assert.truthy(tostring(why):find("a step is being made already", 1, true), tostring(why))
        assert.truthy(why:find("engine_spec.lua:%d+:"), why)
        assert.is_number(line)
        return true
      end))
    end
    attempt("sleep", function() xmpp.sleep(0) end)
    attempt("receive", function() conn:receive_blocking() end)
    attempt("await", function() conn:send_await { "iq", { type = "get", id = "1" }, { "q", { xmlns = "urn:q" } } } end)
    attempt("flush", function() conn:flush() end)
    attempt("stop", function() conn:stop() end)
    attempt("step", function() xmpp.step() end)
    attempt("run", function() xmpp.run() end)
    come(1)
    expect "sleep1 receive1 await1 flush1 stop1 step1 run1"
    assert.equal("", f:sent())
    assert.equal("ready", conn:state())
    conn:stop_handler()
    come(2)
    assert.equal("2", conn:receive()[2].n)
  end)

  it("is what a callback has instead of steps: these are refused", function()
    conn:set_callback(hears("a", function()
      refuses("a step is being made already", function() xmpp.step(0) end)
      refuses("a step is being made already", function() xmpp.run() end)
      xmpp.sleep(0)
      refuses("a step is being made already", function() xmpp.step(0) end)
      note "over"
    end))
    come(1)
    turn_until(function() return #heard == 2 or #errors > 0 end)
    expect "a1 over"
  end)
end

local function closing_in_a_callback()
  it("lets the others have the stanza, and what comes until the server closes, too", function()
    local ok, err
    conn:set_callback(hears("a", function(stanza, c)
      if stanza[2].n ~= "1" then return end
      ok, err = c:stop()
      note("stopped-" .. c:state())
    end))
    conn:set_callback(hears "b")
    conn:set_handler()
    come(1, 2)
    expect "a1 b1 a2 b2"
    assert.equal("</stream:stream>", f:sent())
    assert.equal("closing", conn:state())
    f:feed "<message n='3'/></stream:stream><message n='4'/>"
    expect "a3 b3 stopped-closed"
    assert.is_true(ok)
    assert.is_nil(err)
  end)

  it("may be in one's own handler, and with a time of zero", function()
    local ok, err
    conn:set_handler(hears("own", function(_, c)
      ok, err = c:stop(0)
      note "stopped"
    end))
    come(1)
    turn_until(function() return #heard == 2 end)
    expect "own1 stopped"
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.equal("closed", conn:state())
  end)

  it("makes sending fail in the same callback", function()
    conn:set_callback(hears("a", function(_, c)
      xmpp.spawn(function() c:stop() end)
      xmpp.sleep(0)
      local ok, err = c:send { "message", { to = "bob@xmpp.test" } }
      assert.is_nil(ok)
      assert.equal("closed", err.layer)
      note "failed"
    end))
    conn:set_handler()
    come(1)
    turn_until(function() return #heard == 2 end)
    expect "a1 failed"
    assert.equal("</stream:stream>", f:sent())
  end)

  it("that the server begins ends dispatching there", function()
    conn:set_callback(hears "a")
    conn:set_handler()
    f:feed "<message n='1'/></stream:stream><message n='2'/>"
    expect "a1"
    assert.equal("closed", conn:state())
  end)
end

local UNAVAILABLE = { "error", { type = "cancel" },
  { "service-unavailable", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } }

-- The one thing that was sent is the answer of somebody who has none.
local function expect_unavailable(attributes)
  attributes.type = "error"
  assert.same({ { "iq", attributes, UNAVAILABLE } }, sent())
end

local function expect_nothing_sent()
  assert.same({}, sent())
end

local function ask(id, from, kind)
  f:feed(("<iq type='%s' id='%s' from='%s'><q xmlns='urn:q'/></iq>"):format(kind or "get", id, from or "bob@xmpp.test/pc"))
end

local function answer(stanza, c)
  assert.is_true(c:send { "iq", { type = "result", id = stanza[2].id, to = stanza[2].from } })
end

local function an_iq()
  local ANSWER = { "iq", { type = "result", id = "q1", to = "bob@xmpp.test/pc" } }

  it("that nobody answers gets service-unavailable", function()
    conn:set_handler()
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    ask("q2", "eve@xmpp.test", "set")
    expect_unavailable { id = "q2", to = "eve@xmpp.test" }
    conn:set_callback(hears "a")
    ask "q3"
    expect_unavailable { id = "q3", to = "bob@xmpp.test/pc" }
    conn:set_callback(hears "b", { xmlns = "urn:else" })
    ask "q4"
    expect_unavailable { id = "q4", to = "bob@xmpp.test/pc" }
    ask("q&apos;&lt;&amp;&#x20AC;")
    expect_unavailable { id = "q'<&\226\130\172", to = "bob@xmpp.test/pc" }
    f:feed "<iq type='get' id='q6'/>"
    expect_unavailable { id = "q6" }
  end)

  it("gets it in one's own handler, too", function()
    conn:set_handler(hears "own")
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    conn:set_callback(hears "a")
    ask "q2"
    expect_unavailable { id = "q2", to = "bob@xmpp.test/pc" }
  end)

  it("gets it only when it is a question", function()
    conn:set_handler()
    conn:set_callback(function() end)
    ask("q1", nil, "result")
    ask("q1", nil, "error")
    ask("q1", nil, "Get")
    ask("q1", nil, "")
    f:feed "<iq id='q1' from='bob@xmpp.test/pc'/><message type='get' id='q1'/><presence type='set' id='q1'/>"
    expect_nothing_sent()
  end)

  it("that is answered gets nothing else", function()
    conn:set_callback(answer, { name = "iq" })
    conn:set_callback(hears "b")
    conn:set_handler()
    ask "q1"
    assert.same({ ANSWER }, sent())
    conn:set_handler(answer)
    ask "q1"
    assert.same({ ANSWER }, sent())
    conn:set_handler(function(stanza, c)
      c:send { "iq", { type = "error", id = stanza[2].id, to = stanza[2].from }, UNAVAILABLE }
    end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("is answered by every way to send", function()
    local reply = { "iq", { type = "error", id = "q1", to = "bob@xmpp.test/pc" }, UNAVAILABLE }
    conn:set_handler(function(_, c) c:send_callback(reply, function() end, 0) end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    turn_until(function() return not core.is_busy() or core.timeout() == nil end)
  end)

  it("is answered by an answer spelled otherwise", function()
    conn:set_handler(function(_, c) c:send { "iq", { type = "result", id = "q1", to = "BOB@xmpp.TEST/pc" } } end)
    ask "q1"
    assert.equal(1, #sent())
    ask("q1", "BOB@XMPP.TEST/pc")
    assert.equal(1, #sent())
  end)

  it("is not answered by something else", function()
    for _, other in ipairs {
      { "iq", { type = "result", id = "q2", to = "bob@xmpp.test/pc" } },
      { "iq", { type = "result", id = "q1", to = "eve@xmpp.test/pc" } },
      { "iq", { type = "result", id = "q1", to = "bob@xmpp.test" } },
      { "iq", { type = "result", id = "q1", to = "bob@xmpp.test/PC" } },
      { "iq", { type = "result", id = "q1" } },
      { "iq", { type = "get", id = "q1", to = "bob@xmpp.test/pc" } },
      { "message", { type = "result", id = "q1", to = "bob@xmpp.test/pc" } },
    } do
      conn:set_handler(function(_, c) c:send(other) end)
      ask "q1"
      local all = sent()
      assert.equal(2, #all)
      assert.same({ "iq", { type = "error", id = "q1", to = "bob@xmpp.test/pc" }, UNAVAILABLE }, all[2])
    end
  end)

  it("is answered when the last callback has finished, and not before", function()
    conn:set_handler()
    conn:set_callback(hears("a", function() xmpp.sleep(0.02) end))
    conn:set_callback(hears("b", function()
      xmpp.sleep(0.04)
      note "over"
    end))
    ask "q1"
    expect_nothing_sent()
    turn_until(function() return #heard == 3 end)
    fed.settle()
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("may be answered later, by a callback that waits meanwhile", function()
    conn:set_handler()
    conn:set_callback(hears("a", function(stanza, c)
      xmpp.sleep(0)
      answer(stanza, c)
      xmpp.sleep(0)
      note "over"
    end))
    conn:set_callback(hears "b")
    ask "q1"
    expect_nothing_sent()
    turn_until(function() return #heard == 3 end)
    fed.settle()
    assert.same({ ANSWER }, sent())
  end)

  it("may be answered later in one's own handler, and by a callback which that has called", function()
    conn:set_handler(hears("own", function(stanza, c)
      xmpp.sleep(0)
      answer(stanza, c)
    end))
    ask "q1"
    expect_nothing_sent()
    turn_until(function() return conn:pending() > 0 end)
    fed.settle()
    assert.same({ ANSWER }, sent())
    conn:set_callback(function(stanza, c)
      xmpp.sleep(0)
      answer(stanza, c)
    end)
    conn:set_handler(function(stanza, c) xmpp.default_handler(stanza, c) end)
    ask "q1"
    expect_nothing_sent()
    turn_until(function() return conn:pending() > 0 end)
    fed.settle()
    assert.same({ ANSWER }, sent())
  end)

  it("gets its answer though a callback throws, at once or later", function()
    conn:set_handler()
    conn:set_callback(function() error "at once" end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    conn:set_callback(function()
      xmpp.sleep(0)
      error "later"
    end)
    ask "q2"
    expect_nothing_sent()
    turn_until(function() return #errors == 3 end)
    fed.settle()
    expect_unavailable { id = "q2", to = "bob@xmpp.test/pc" }
    take_errors()
  end)

  it("gets its answer from a once-callback's end, too", function()
    conn:set_handler()
    conn:set_callback_once(function()
      xmpp.sleep(0)
      return true
    end)
    ask "q1"
    expect_nothing_sent()
    turn_until(function() return #conn:callbacks() == 0 end)
    fed.settle()
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("gets its answer when the callback is finished by who has resumed it", function()
    local co
    conn:set_handler()
    conn:set_callback(function()
      co = coroutine.running()
      coroutine.yield()
    end)
    ask "q1"
    expect_nothing_sent()
    assert.is_true(coroutine.resume(co))
    fed.settle()
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("gets its answer when a callback that nobody can resume is collected", function()
    conn:set_handler()
    conn:set_callback(function() coroutine.yield() end)
    ask "q1"
    collectgarbage()
    collectgarbage()
    fed.settle()
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
  end)

  it("gets its answer when the handler is taken away or replaced meanwhile", function()
    conn:set_handler(function(_, c) c:stop_handler() end)
    ask "q1"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc" }
    conn:set_handler(function(_, c)
      xmpp.sleep(0)
      c:set_handler(function() end)
    end)
    ask "q2"
    turn_until(function() return conn:pending() > 0 end)
    expect_unavailable { id = "q2", to = "bob@xmpp.test/pc" }
  end)

  it("is no matter any more when the connection has ended", function()
    conn:set_handler()
    conn:set_callback(function()
      xmpp.sleep(0.01)
      note "over"
    end)
    ask "q1"
    f:feed "</stream:stream>"
    f:sent()
    turn_until(function() return #heard == 1 end)
    fed.settle()
    assert.equal("", f:sent())
    expect "over"
  end)

  it("is told apart from another's with the same id", function()
    local later = {}
    conn:set_handler(function(stanza)
      later[stanza[2].from] = coroutine.running()
      if coroutine.yield() then answer(stanza, conn) end
    end)
    ask("q1", "bob@xmpp.test/pc")
    ask("q1", "eve@xmpp.test/pc")
    assert.is_true(coroutine.resume(later["bob@xmpp.test/pc"], true))
    assert.is_true(coroutine.resume(later["eve@xmpp.test/pc"], false))
    fed.settle()
    assert.same({ ANSWER, { "iq", { type = "error", id = "q1", to = "eve@xmpp.test/pc" }, UNAVAILABLE } }, sent())
  end)

  it("that came to a component is answered from where it was sent to", function()
    close()
    open { jid = "echo.xmpp.test", component = true }
    conn:set_handler()
    f:feed "<iq type='get' id='q1' from='bob@xmpp.test/pc' to='Room@echo.xmpp.test/x'><q xmlns='urn:q'/></iq>"
    expect_unavailable { id = "q1", to = "bob@xmpp.test/pc", from = "Room@echo.xmpp.test/x" }
    f:feed "<iq type='set' id='q2' from='xmpp.test' to='echo.xmpp.test'><q xmlns='urn:q'/></iq>"
    expect_unavailable { id = "q2", to = "xmpp.test", from = "echo.xmpp.test" }
    conn:set_handler(function(stanza, c)
      c:send { "iq", { type = "result", id = stanza[2].id, to = stanza[2].from, from = stanza[2].to } }
    end)
    f:feed "<iq type='get' id='q3' from='bob@xmpp.test/pc' to='room@echo.xmpp.test'><q xmlns='urn:q'/></iq>"
    assert.same({ { "iq", { type = "result", id = "q3", to = "bob@xmpp.test/pc", from = "room@echo.xmpp.test" } } }, sent())
  end)
end

local GROUPS = {
  { "the handler", the_handler }, { "the default handler", the_default_handler }, { "the order of callbacks", the_order },
  { "what changes during a dispatch", changes_in_between }, { "a once-callback", a_once_callback },
  { "a filter", a_filter }, { "an error", a_thrown_error }, { "a yield", a_yield },
  { "closing in a callback", closing_in_a_callback }, { "an iq", an_iq },
}

local function pause_of_zero() return { collectgarbage("setpause", 0), collectgarbage("setstepmul", 1000) } end

local MANNERS = {
  { name = "with an idle collector", tick = function() end },
  { name = "with a full collection in every callback", tick = function() collectgarbage() end },
  { name = "with a collector that never pauses", tick = function() end, enter = pause_of_zero,
    leave = function(was)
      collectgarbage("setpause", was[1])
      collectgarbage("setstepmul", was[2])
    end },
  { name = "with a generational collector", tick = function() collectgarbage "step" end,
    enter = function() pcall(collectgarbage, "generational") end,
    leave = function() pcall(collectgarbage, "incremental") end },
}

for _, manner in ipairs(MANNERS) do
  describe("engine, " .. manner.name .. ":", function()
    local was

    before_each(function()
      heard, errors, tick = {}, {}, manner.tick
      xmpp.on_error(function(text, object) errors[#errors + 1] = { text = text, object = object } end)
      open { jid = ME }
      was = manner.enter and manner.enter()
    end)

    after_each(function()
      if manner.leave then manner.leave(was) end
      close()
      xmpp.on_error(nil)
      for _, e in ipairs(errors) do error(e.text, 0) end
      assert.is_false(core.is_busy(), "something is left over")
    end)

    for _, group in ipairs(GROUPS) do describe(group[1], group[2]) end
  end)
end
