-- sandbox: a program that only has Lua's base library can't change what it shares with others, nor can it break the
-- library, even if it has the debug library.
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local pace = require "spec.support.pace"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

-- Runs a program with the base library and with the values that it is given.
local BASE = { "assert", "collectgarbage", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal",
  "rawget", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall" }

local function sandboxed(given, text)
  local env = {}
  for _, name in ipairs(BASE) do env[name] = _G[name] end
  for name, value in pairs(given) do env[name] = value end
  local f = assert(luas.load(text))
  local setfenv = rawget(_G, "setfenv")
  if setfenv then setfenv(f, env) else debug.setupvalue(f, 1, env) end
  return f()
end

local f, conn

local function heard(text)
  f:feed "<message from='bob@xmpp.test/pc' n='1'/>"
  stage.expect(text)
end

describe("A sandboxed program", function()
  stage.around(function(...) f, conn = ... end)

  it("can't get or replace the library's metatables", function()
    local _, err = xmpp.jid "@"
    local timer = xmpp.after(1000, print)
    local things = { ["a connection"] = conn, ["a timer"] = timer, ["a Jid"] = xmpp.jid "a@b.test/c",
      ["an error"] = err }
    for what, thing in pairs(things) do
      local got, changed = sandboxed({ thing = thing },
        "return getmetatable(thing), pcall(setmetatable, thing, {})")
      assert.equal(what .. "'s metatable is its own", got)
      assert.is_false(changed, what)
    end
    timer:cancel()
  end)

  it("can't finalize a connection in use", function()
    conn:set_callback(sandboxed({ note = stage.note }, [[
      return function(_, conn)
        note "tries"
        getmetatable(conn).__gc(conn)
      end]]))
    conn:set_callback(function(_, c) stage.note(c:state()) end)
    conn:set_handler()
    heard "tries ready"
    assert.truthy(stage.take_errors()[1].text:find("__gc", 1, true))
    heard "tries ready"
    stage.take_errors()
    assert.is_true(conn:send { "message" })
    assert.equal("<message/>", f:sent())
  end)

  it("can't change the methods of connections, or the text of errors", function()
    local other = stage.open { jid = "other@xmpp.test/here" }
    local _, err = xmpp.jid "@"
    local was = tostring(err)
    sandboxed({ conn = conn, err = err }, [[
      pcall(function() getmetatable(conn).__index.send = nil end)
      pcall(function() conn.send = print end)
      pcall(function() rawset(conn, "send", print) end)
      pcall(function() getmetatable(err).__tostring = function() return "boo" end end)]])
    assert.is_true(other.conn:send { "presence" })
    assert.equal("<presence/>", other:sent())
    assert.equal(was, tostring(err))
  end)
end)

describe("A program with the debug library", function()
  stage.around(function(...) f, conn = ... end)

  local REFUSED = "a connection's __gc is the collector's to call; conn:stop() ends one"

  local function collect(c) return pcall(debug.getmetatable(c).__gc, c) end

  it("can't finalize a connection in use, in its callbacks or outside", function()
    conn:set_callback(function(_, c)
      local ok, why = collect(c)
      stage.note(tostring(ok) .. (why == REFUSED and "" or why))
    end)
    conn:set_callback(function(_, c) stage.note(c:state()) end)
    conn:set_handler()
    heard "false ready"
    assert.same({ false, REFUSED }, { collect(conn) })
    heard "false ready"
  end)

  it("can't finalize one by a finalizer while it is in use", function()
    local collected = 0
    local function finalizer()
      if conn then collect(conn) end
      collected = collected + 1
    end
    local newproxy = rawget(_G, "newproxy")
    local pause, mul = pace.set(0, 1000)
    conn:set_callback(function() end)
    conn:set_handler()
    for _ = 1, 2000 do
      if newproxy then getmetatable(newproxy(true)).__gc = finalizer else setmetatable({}, { __gc = finalizer }) end
      f:feed "<message from='bob@xmpp.test/pc'><body>hi</body></message>"
      assert(conn:send { "message", {}, { "body", {}, "hi" } })
    end
    pace.set(pause, mul)
    assert.is_true(collected > 50)
    assert.equal("ready", conn:state())
  end)

  it("finds no finalizer of a timer, which fires even if nothing refers to it", function()
    assert.is_nil(debug.getmetatable(xmpp.after(0.001, function() stage.note "fired" end)).__gc)
    collectgarbage()
    collectgarbage()
    xmpp.sleep(0.01)
    stage.expect "fired"
  end)
end)

it("A connection that was dropped is collected", function()
  local weak = setmetatable({ fed.open { jid = "me@xmpp.test/here" }.conn }, { __mode = "v" })
  collectgarbage()
  collectgarbage()
  assert.is_nil(weak[1])
  assert.is_false(require("xmpp.core").is_busy())
end)

it("A connection that has a listener isn't collected until its end", function()
  for _, event in ipairs { "state", "session" } do
    local core = require "xmpp.core"
    local one = fed.open { jid = "me@xmpp.test/here" }.conn
    local weak = setmetatable({ one }, { __mode = "v" })
    local off = one:on(event, function() end)
    one = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.truthy(weak[1], event)
    off()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    assert.is_false(core.is_busy())
  end
end)
