-- ext: extensions of a connection, well-behaved and not: what one of them does affects neither the others nor the
-- connection.

local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local expect, note, settle = stage.expect, stage.note, fed.settle

local f, conn

-- An extension that notes each of its functions that is called; `more`: its other fields.
local function make(name, more)
  local E = { name = name }
  function E.start() note(name .. ".start") end
  function E.session(_, _, first) note(name .. ".session" .. (first and "1" or "")) end
  function E.resumed() note(name .. ".resumed") end
  function E.lost(_, _, err) note(name .. ".lost" .. (err and "!" or "")) end
  function E.stop() note(name .. ".stop") end
  for key, v in pairs(more or {}) do E[key] = v or nil end
  return E
end

local function take_error(...)
  settle()
  local told = stage.take_errors()
  assert.equal(1, #told)
  for _, text in ipairs { ... } do assert.truthy(told[1].text:find(text, 1, true), told[1].text) end
end

local function message(xmlns) f:feed(("<message from='bob@xmpp.test/pc'><a xmlns='%s'/></message>"):format(xmlns)) end

describe("ext", function()
  stage.around(function(...) f, conn = ... end)

  it("first uses what an extension needs, once, in the order of `list`", function()
    local a = make "a"
    local b = make("b", { needs = { a } })
    local c = make("c", { needs = { a, b } })
    local st = ext.use(conn, c)
    expect "a.start b.start c.start"
    assert.same({ "a", "b", "c" }, ext.list(conn))
    settle()
    expect "a.session1 b.session1 c.session1"
    assert.equal(st, ext.use(conn, c))
    assert.equal(st, ext.of(conn, c))
    assert.is_nil(ext.of(conn, make "d"))
    expect ""
  end)

  it("takes options once", function()
    local got
    local a = make("a", { start = function(_, _, opts) got = opts end })
    local st = ext.use(conn, a, { n = 1, list = { "x" } })
    assert.same({ n = 1, list = { "x" } }, got)
    assert.equal(st, ext.use(conn, a))
    assert.equal(st, ext.use(conn, a, { n = 1, list = { "x" } }))
    stage.refuses("extension 'a' is used already, with other options", function() ext.use(conn, a, { n = 2 }) end)
  end)

  it("refuses what isn't an extension, and names it", function()
    stage.refuses("connection expected, got nil", function() ext.use(nil, make "a") end)
    stage.refuses("extension expected, got nil", function() ext.use(conn) end)
    stage.refuses("an extension has a name", function() ext.use(conn, {}) end)
    stage.refuses("an extension has a name", function() ext.use(conn, { name = "a\nb" }) end)
    local bad = { name = "a", session = 1 }
    stage.refuses("extension 'a': bad 'session' (function expected, got number)", function() ext.use(conn, bad) end)
    bad = { name = "a", taps = { { {} } } }
    stage.refuses("extension 'a': bad 'taps' (no filter and function at 1)", function() ext.use(conn, bad) end)
    bad = { name = "a", methods = 1 }
    stage.refuses("extension 'a': bad 'methods' (table expected, got number)", function() ext.use(conn, bad) end)
    bad = { name = "a", features = { 1 } }
    stage.refuses("extension 'a': bad 'features' (number at 1)", function() ext.use(conn, bad) end)
    local a, b = make "a", make "b"
    a.needs, b.needs = { b }, { a }
    stage.refuses("extension 'b' needs 'a', which needs it", function() ext.use(conn, a) end)
    assert.same({}, ext.list(conn))
  end)

  it("leaves nothing of one whose start throws or waits, nor of those that it needed", function()
    local a = make "a"
    local b = make("b", { needs = { a }, start = function() error("no such option", 0) end,
      taps = { { { name = "message" }, function() note "tapped" end } } })
    stage.refuses("extension 'b', start: no such option", function() ext.use(conn, b) end)
    assert.same({}, ext.list(conn))
    expect "a.start a.stop"
    message "urn:a"
    expect ""
    b.start = function() xmpp.sleep(0) end
    stage.refuses("extension 'b', start: it must not wait", function() ext.use(conn, b) end)
    settle()
    expect "a.start a.stop"
  end)

  it("has its taps called with its state, until it is dropped", function()
    local a = make("a", { taps = { { { name = "message", has = "urn:a" }, function(st, stanza, c)
      assert.equal(conn, c)
      st.n = (st.n or 0) + 1
      note(stanza[3][2].xmlns .. st.n)
      return true
    end } } })
    local st = ext.use(conn, a)
    settle()
    message "urn:a"
    message "urn:b"
    message "urn:a"
    expect "a.start a.session1 urn:a1 urn:a2"
    assert.equal(2, st.n)
    assert.is_true(ext.drop(conn, a))
    assert.is_false(ext.drop(conn, a))
    message "urn:a"
    expect "a.stop"
    assert.same({}, ext.list(conn))
  end)

  it("adds its children to what is sent, until it is dropped", function()
    local a = make("a", { adds = { { { name = "presence" }, function(st, stanza, c)
      assert.equal(conn, c)
      st.sent = stanza
      return { "x", { xmlns = "urn:x" } }
    end } } })
    local st, mine = ext.use(conn, a), { "presence", {} }
    conn:send(mine)
    conn:send { "message", { to = "bob@xmpp.test" } }
    ext.drop(conn, a)
    conn:send(mine)
    assert.same({ { "presence", {}, { "x", { xmlns = "urn:x" } } }, { "message", { to = "bob@xmpp.test" } },
      { "presence", {} } }, stage.sent(f))
    assert.same({ "presence", {} }, mine)
    assert.equal("presence", st.sent[1])
    stage.heard()
  end)

  it("is not dropped while another needs it; what only it needed goes with it", function()
    local a = make "a"
    local b = make("b", { needs = { a } })
    local c = make("c", { needs = { b } })
    ext.use(conn, c)
    stage.heard()
    stage.refuses("extension 'a' can't be dropped: 'b' needs it", function() ext.drop(conn, a) end)
    ext.drop(conn, c)
    expect "c.stop b.stop a.stop"
    assert.same({}, ext.list(conn))
    ext.use(conn, c)
    ext.use(conn, b) -- now it is also wanted on its own
    ext.drop(conn, c)
    assert.same({ "a", "b" }, ext.list(conn))
    settle()
    stage.heard()
  end)

  it("calls its listeners independently, in order", function()
    local st = ext.use(conn, make("a", { events = { "attention", "other" } }))
    settle()
    stage.heard()
    local off
    st:on("attention", function(who) note("one-" .. who) error "boom" end)
    off = st:on("attention", function(who) note("two-" .. who) off() xmpp.sleep(0) note "slept" end)
    st:on("attention", function(who) note("three-" .. who) end)
    st:emit("attention", "bob")
    expect "one-bob two-bob three-bob"
    take_error("extension 'a', event 'attention'", "boom")
    expect "slept"
    st:emit("attention", "eve")
    expect "one-eve three-eve"
    take_error "boom"
    assert.is_false(off())
    stage.refuses("did you mean 'attention'?", function() st:on("atention", print) end)
    stage.refuses("did you mean 'other'?", function() st:emit("othr") end)
    stage.refuses("function expected, got nil", function() st:on("other") end)
  end)

  it("has methods of its own, which aren't fields", function()
    local a = make("a", { methods = { twice = function(st, n) return st.n + 2 * n end } })
    local st = ext.use(conn, a)
    st.n = 1
    assert.equal(7, st:twice(3))
    for key in pairs(st) do assert.equal("n", key) end
  end)

  it("saves its data, and gets it back", function()
    local a = make("a", { save = function(st) return { n = st.n } end, load = function(st, saved) st.n = saved.n end,
      session = false })
    local b = make("b", { save = function() error "not now" end, session = false })
    local c = make("c", { save = function() xmpp.sleep(0) end, session = false })
    ext.use(conn, a).n = 7
    ext.use(conn, b)
    ext.use(conn, c)
    assert.same({ a = { n = 7 } }, ext.save(conn))
    settle()
    local told = stage.take_errors()
    assert.equal(2, #told)
    assert.truthy(told[1].text:find("extension 'b', save", 1, true))
    assert.truthy(told[2].text:find("extension 'c', save: it must not wait", 1, true))
    stage.refuses("to be called before ext.use", function() ext.load(conn, {}) end)
    local g = stage.open { jid = "you@xmpp.test/there" }
    ext.load(g.conn, { a = { n = 7 }, z = { 1 } })
    assert.equal(7, ext.use(g.conn, a).n)
    assert.same({ a = { n = 7 }, z = { 1 } }, ext.save(g.conn))
    local h = stage.open { jid = "she@xmpp.test/there" }
    ext.load(h.conn, { a = 5 })
    assert.is_nil(ext.use(h.conn, a).n)
    take_error("extension 'a', load")
    stage.heard()
  end)

  it("waits for the session hooks", function()
    assert.is_true(ext.ready(conn, 0))
    local a = make("a", { session = function() stage.wait() note "a" end })
    local b = make("b", { session = function() error "no luck" end })
    ext.use(conn, a)
    ext.use(conn, b)
    local ok, err
    xmpp.spawn(function() ok = ext.ready(conn) note "ready" end)
    xmpp.spawn(function() local _, e = ext.ready(conn, 0.02) err = e end)
    stage.turn_until(function() return err end)
    assert.equal("timeout", err.layer)
    stage.go()
    settle()
    expect "a.start b.start a ready"
    assert.is_true(ok)
    take_error("extension 'b', session", "no luck")
  end)

  it("is told of the connection's end, once, and all waits end", function()
    local a = make "a"
    local b = make("b", { needs = { a }, session = function() xmpp.promise():wait() end }) -- never ends
    local st, err = ext.use(conn, b), nil
    st:on("closed", function(why) note("closed" .. (why and "!" or "")) end)
    xmpp.spawn(function() err = select(2, ext.ready(conn)) end)
    settle()
    stage.heard()
    f:feed "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    settle()
    expect "a.lost! b.lost! closed! b.stop a.stop"
    assert.truthy(err)
    assert.same({}, ext.list(conn))
    local none, closed = ext.use(conn, a)
    assert.is_nil(none)
    assert.equal("closed", closed.layer)
    assert.equal("closed", select(2, ext.ready(conn)).layer)
  end)

  it("goes with its connection", function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local g = fed.open { jid = "you@xmpp.test/there" }
      local st = ext.use(g.conn, make("a", { taps = { { { name = "message" }, function() end } },
        start = function(st, c) st.conn = c end }))
      st:on("x", function() return st, g end)
      weak[g.conn], weak[st] = true, true
      settle()
      g:feed "</stream:stream>"
      settle()
    end
    stage.heard()
    collectgarbage()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)
end)

describe("an extension's failure doesn't affect others:", function()
  stage.around(function(...) f, conn = ... end)

  local good

  -- The connection, and another extension that gets each message, are not affected.
  local function expect_unharmed()
    stage.heard()
    message "urn:good"
    expect "good-tap"
    assert.equal("ready", conn:state())
    assert.is_true(conn:send { "presence" })
    assert.same({ { "presence", {} } }, stage.sent(f))
  end

  before_each(function()
    good = make("good", { taps = { { { name = "message", has = "urn:good" }, function() note "good-tap" end } } })
  end)

  -- Uses the bad extension, then a good one.
  local function use(name, more)
    local bad = make(name, more)
    ext.use(conn, bad)
    ext.use(conn, good)
    settle()
    return bad
  end

  it("a hook that throws", function()
    use("bad", { session = function() error "boom" end })
    take_error("extension 'bad', session", "boom", "ext_spec.lua")
    expect "bad.start good.start good.session1"
    expect_unharmed()
  end)

  it("a hook that throws after a wait", function()
    use("bad", { session = function() stage.wait() error "late" end })
    expect "bad.start good.start good.session1"
    stage.go()
    take_error("extension 'bad', session", "late")
    expect_unharmed()
  end)

  it("a hook that waits for ever", function()
    use("bad", { session = function() xmpp.promise():wait() end })
    expect "bad.start good.start good.session1"
    expect_unharmed()
  end)

  it("a hook that drops itself", function()
    local bad
    bad = make("bad", { session = function(_, c) ext.drop(c, bad) end })
    ext.use(conn, bad)
    ext.use(conn, good)
    settle()
    expect "bad.start good.start bad.stop good.session1"
    assert.same({ "good" }, ext.list(conn))
    expect_unharmed()
  end)

  it("a hook that uses another", function()
    local other = make "other"
    use("bad", { session = function(_, c) ext.use(c, other) end })
    settle()
    expect "bad.start good.start other.start good.session1 other.session1"
    assert.same({ "bad", "good", "other" }, ext.list(conn))
    expect_unharmed()
  end)

  it("a hook that closes the connection", function()
    use("bad", { session = function(_, c) c:stop(0) end })
    stage.turn_until(function() return conn:state() == "closed" end)
    settle()
    local heard = stage.heard()
    assert.truthy(heard:find("good.stop", 1, true), heard)
    assert.truthy(heard:find("bad.stop", 1, true), heard)
    assert.same({}, ext.list(conn))
  end)

  it("a tap that throws, at once or later", function()
    use("bad", { taps = { { { name = "message" }, function(_, stanza)
      if stanza[3][2].xmlns ~= "urn:good" then stage.wait() end
      error "tapped"
    end } } })
    stage.heard()
    message "urn:good"
    expect "good-tap"
    take_error("extension 'bad'", "tapped")
    message "urn:late"
    stage.go()
    take_error("extension 'bad'", "tapped")
  end)

  it("a stop that throws", function()
    local bad = use("bad", { stop = function() error "can't" end })
    assert.is_true(ext.drop(conn, bad))
    take_error("extension 'bad', stop", "can't")
    expect_unharmed()
  end)
end)

describe("ext and sessions:", function()
  before_each(function() stage.heard() end)

  it("a resumed one is reported, a new one begins anew, after the end of the old", testing.around(function(t)
    local a = make "a"
    local b = make("b", { needs = { a } })
    ext.use(t.conn, b)
    assert.is_true(ext.ready(t.conn))
    expect "a.start b.start a.session1 b.session1"
    t:cut()
    t:resume()
    expect "a.lost! b.lost! a.resumed b.resumed"
    t:reconnect { new = true }
    expect "a.lost! b.lost! a.session b.session"
    t:cut()
    t:reconnect()
    expect "a.lost! b.lost! a.resumed b.resumed"
    ext.drop(t.conn, b)
    expect "b.stop a.stop"
  end))

  it("what a session hook sends is sent before what had been queued", testing.around(function(t)
    ext.use(t.conn, { name = "a", session = function(_, c, first)
      if first then return end
      xmpp.sleep(1)
      c:send { "presence", { to = "room@example.net/me" } }
    end })
    t:cut()
    t.conn:send { "message", { to = "room@example.net", type = "groupchat" }, { "body", "hi" } }
    t:reconnect { new = true }
    t:advance(2)
    t:expect { "presence", { to = "room@example.net/me" } }
    t:expect { "message", { to = "room@example.net" } }
  end))

  it("what a hook has dropped isn't called any more", testing.around(function(t)
    local b = make "b"
    ext.use(t.conn, make("a", { lost = function(_, c) ext.drop(c, b) end }))
    ext.use(t.conn, b)
    assert.is_true(ext.ready(t.conn))
    stage.heard()
    t:cut()
    t:resume()
    expect "b.stop a.resumed"
  end))

  it("one that is used while there is no link begins when there is one, resumed or new", testing.around(function(t)
    local a, b = make "a", make "b"
    t:cut()
    ext.use(t.conn, a)
    t:resume()
    expect "a.start a.session1"
    t:cut()
    ext.use(t.conn, b)
    t:reconnect { new = true }
    expect "a.lost! b.start a.session b.session1"
    local ok
    t:cut()
    xmpp.spawn(function() ok = ext.ready(t.conn) end)
    t:reconnect { new = true }
    assert.is_true(ok)
    stage.heard()
  end))

  it("a hook that waits for ever delays the queue for a while, but not the next session", testing.around(function(t)
    ext.use(t.conn, { name = "a", session = function(_, _, first)
      if not first then xmpp.promise():wait() end
    end })
    local good = make "good"
    ext.use(t.conn, good)
    t:cut()
    t.conn:send { "message", { to = "bob@example.net" }, { "body", "hi" } }
    t:reconnect { new = true }
    assert.same({}, t:sent())
    t:advance(60)
    t:expect { "message", { to = "bob@example.net" } }
    stage.heard()
    t:reconnect { new = true }
    expect "good.lost! good.session"
    t:advance(60)
  end))
end)

-- The manual's example: an extension with everything that one may have.
local Attention = { name = "attention", needs = { disco }, features = { "urn:xmpp:attention:0" },
  events = { "attention" },
  taps = { { { name = "message", has = "urn:xmpp:attention:0" },
    function(st, stanza) st:emit("attention", stanza[2].from, stanza) end } } }

function Attention.start(st, _, opts)
  if opts.most ~= nil and type(opts.most) ~= "number" then error("bad option 'most' (number expected)", 0) end
  st.heard, st.sessions = 0, ""
  st:on("attention", function() st.heard = st.heard + 1 end)
end
function Attention.session(st, c, first)
  st.sessions = st.sessions .. (first and " first" or " new")
  if c:send_await({ "iq", { type = "get" }, { "ping", { xmlns = "urn:xmpp:ping" } } }) then
    st.sessions = st.sessions .. " asked"
  end
end
function Attention.resumed(st) st.sessions = st.sessions .. " resumed" end
function Attention.lost(st, _, err) st.sessions = st.sessions .. (err and " lost" or " stopped") end
function Attention.stop(st) st.sessions = st.sessions .. " gone" end
function Attention.save(st) return { heard = st.heard } end
function Attention.load(st, saved) st.heard = saved.heard end

local ATTENTION = "<message from='bob@example.net/pc'><body>!</body><attention xmlns='urn:xmpp:attention:0'/></message>"

describe("an extension of a program's", function()
  it("has its feature in disco while it is used, and its taps with any handler", testing.around(function(t)
    local heard, handled = {}, 0
    t.conn:set_handler(function(stanza) if stanza[1] == "message" then handled = handled + 1 end end)
    local attention = ext.use(t.conn, Attention, {})
    attention:on("attention", function(from) heard[#heard + 1] = from end)
    t:receive(ATTENTION)
    assert.same({ "bob@example.net/pc" }, heard)
    assert.equal(1, handled)
    assert.is_true(disco.own_info(t.conn).features["urn:xmpp:attention:0"])
    assert.same({ "disco", "attention" }, ext.list(t.conn))
    assert.same({ heard = 1 }, ext.save(t.conn).attention)
    ext.drop(t.conn, Attention)
    assert.is_nil(disco.own_info(t.conn).features["urn:xmpp:attention:0"])
    t:receive(ATTENTION)
    assert.same({ "bob@example.net/pc" }, heard)
  end))

  it("lives through sessions that are resumed, and lost", testing.around(function(t)
    local st = ext.use(t.conn, Attention)
    assert.equal(st, ext.of(t.conn, Attention))
    assert(ext.ready(t.conn, 5))
    assert.equal(" first asked", st.sessions)
    t:cut()
    t:resume()
    t:cut()
    t:reconnect { new = true }
    assert(ext.ready(t.conn, 5))
    assert.equal(" first asked lost resumed lost new asked", st.sessions)
    ext.drop(t.conn, Attention)
    assert.equal(" first asked lost resumed lost new asked gone", st.sessions)
  end))

  it("is loaded with what it has saved, refuses options, and names its events", testing.around(function(t)
    ext.load(t.conn, { attention = { heard = 7 } })
    local ok, why = pcall(ext.use, t.conn, Attention, { most = "many" })
    assert.is_false(ok)
    assert.matches("attention", why)
    local st = ext.use(t.conn, Attention, { most = 1 })
    assert.equal(7, st.heard)
    t:receive(ATTENTION)
    assert.equal(8, st.heard)
    ok, why = pcall(st.on, st, "atention", print)
    assert.is_false(ok)
    assert.matches("attention", why)
  end))
end)
