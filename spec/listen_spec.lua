-- Listeners: any number of functions for each of a connection's events, and how they are removed.
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local f, conn

local function collect()
  for _ = 1, 4 do collectgarbage() end
end

local function set(fed_one, its_conn)
  f, conn = fed_one, its_conn
end

local SKIPPED = "<message from='bob@xmpp.test/x'>" .. ("<a>"):rep(200) .. ("</a>"):rep(200) .. "</message>"

-- Causes an event.
local function happen()
  f:feed(SKIPPED)
end

local function hears(name, act)
  return function(what, ...)
    stage.note(name)
    assert.equal("message", what.name)
    if act then return act(what, ...) end
  end
end

describe("listeners", function()
  stage.around(set)

  it("are called in the order of adding, each with the same values", function()
    local values = {}
    for i = 1, 3 do
      conn:on("skipped", function(...)
        stage.note(tostring(i))
        values[i] = { n = select("#", ...), ... }
      end)
    end
    happen()
    stage.expect "1 2 3"
    assert.equal(2, values[1].n)
    assert.equal("max-depth", values[1][2].condition)
    assert.same(values[1], values[3])
    assert.equal(values[1][2], values[3][2])
    happen()
    stage.expect "1 2 3"
  end)

  it("may be the same function, which is called as often", function()
    local g = hears "g"
    local off = conn:on("skipped", g)
    conn:on("skipped", g)
    happen()
    stage.expect "g g"
    assert.is_true(off())
    happen()
    stage.expect "g"
  end)

  it("are removed by the function that on returned, which reports whether it was there", function()
    local offs = {}
    for _, name in ipairs { "a", "b", "c" } do offs[name] = conn:on("skipped", hears(name)) end
    assert.is_true(offs.b())
    happen()
    stage.expect "a c"
    assert.is_false(offs.b())
    assert.is_true(offs.a())
    assert.is_true(offs.c())
    assert.is_false(offs.a())
    happen()
    stage.expect ""
    assert.equal("max-depth", stage.take_errors()[1].object.condition) -- without a listener, on_error gets it
    conn:on("skipped", hears "d")
    happen()
    stage.expect "d"
  end)

  it("that are removed before their turn are not called; new ones hear the next event", function()
    local off
    conn:on("skipped", hears("a", function()
      if off then off() end
      conn:on("skipped", hears "late")
    end))
    off = conn:on("skipped", hears "b")
    conn:on("skipped", hears "c")
    happen()
    stage.expect "a c"
    off = nil
    happen()
    stage.expect "a c late"
  end)

  it("may remove themselves while they are called", function()
    local off
    off = conn:on("skipped", hears("once", function() assert.is_true(off()) end))
    conn:on("skipped", hears "b")
    happen()
    stage.expect "once b"
    happen()
    stage.expect "b"
  end)

  it("that throw or wait don't delay the others", function()
    conn:on("skipped", hears("throws", function() error "thrown" end))
    conn:on("skipped", hears("waits", function()
      xmpp.sleep(0.01)
      stage.note "slept"
    end))
    conn:on("skipped", hears "b")
    happen()
    stage.expect "throws waits b"
    local errors = stage.take_errors()
    assert.equal(1, #errors)
    assert.matches("thrown", errors[1].text, 1, true)
    assert.same({ "skipped", conn }, { errors[1].whose.what, errors[1].whose.conn })
    stage.turn_until(function() return stage.heard() == "slept" end)
  end)

  it("must be functions: anything else, and nil, raises at the caller's line", function()
    for _, bad in ipairs { false, 1, "f", setmetatable({}, { __call = function() end }) } do
      assert.has_error(function() conn:on("skipped", bad) end)
    end
    local ok, why = pcall(function() conn:on("skipped", nil) end)
    assert.is_false(ok)
    assert.matches("bad argument #2 to 'on' (function expected, got nil)", why, 1, true)
    happen()
    assert.equal(1, #stage.take_errors())
  end)

  for _, event in ipairs { "state", "failed", "skipped", "full" } do
    it("of " .. event .. " are separate from other events'", function()
      local off = conn:on(event, function() stage.note(event) end)
      assert.is_function(off)
      if event ~= "skipped" then
        happen()
        assert.equal(1, #stage.take_errors())
      end
      assert.is_true(off())
    end)
  end

  it("of state and failed all hear of the connection's end", function()
    for i = 1, 2 do
      conn:on("state", function(state) stage.note(state .. i) end)
      conn:on("failed", function(stanza) stage.note(stanza[2].id .. i) end)
    end
    conn:send { "message", { id = "m" } }
    f:feed "</stream:stream>"
    assert.matches("closed1 closed2", stage.heard(), 1, true)
  end)
end)

describe("a connection", function()
  before_each(function() stage.begin() end)
  after_each(stage.finish)

  it("isn't collected as long as its state has a listener", function()
    local weak = setmetatable({ fed.open { jid = stage.ME }.conn }, { __mode = "v" })
    local offs = { weak[1]:on("state", function() end), weak[1]:on("state", function() end) }
    collect()
    assert.is_truthy(weak[1])
    assert.is_true(offs[1]())
    collect()
    assert.is_truthy(weak[1])
    assert.is_true(offs[2]())
    collect()
    assert.is_nil(weak[1])
    assert.is_false(offs[2]())
  end)

  it("is not kept alive by an off function, which is harmless after the collection", function()
    local offs = {}
    local weak = setmetatable({}, { __mode = "v" })
    for i = 1, 20 do
      weak[i] = fed.open { jid = stage.ME }.conn
      offs[i] = weak[i]:on("skipped", function() end)
    end
    collect()
    assert.is_nil(next(weak))
    local one = stage.open()
    one.conn:on("skipped", function() stage.note "heard" end)
    for i = 1, 20 do assert.is_true(offs[i]()) end
    one:feed(SKIPPED)
    stage.expect "heard"
  end)
end)
