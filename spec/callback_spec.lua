-- callback: what a handler or callback may do while it runs: throw, yield, wait, close; and what it may not. On fed
-- bytes; every test runs with several settings of the garbage collector.

local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

local f, conn

local function set(...) f, conn = ... end

local function come(...)
  stage.come(f, ...)
end

-- Error objects, and the text that is reported for each.
local function objects()
  return {
    { object = nil, text = "nil" },
    { object = false, text = "false" },
    { object = 42, text = "42" },
    { object = "boom", text = "boom" },
    { object = "", text = "" },
    { object = {}, text = "table: " },
    { object = setmetatable({}, { __tostring = function() return "spelled out" end }), text = "spelled out" },
    { object = setmetatable({}, { __tostring = function() error "no" end }), text = "(error object is a table value)" },
    { object = setmetatable({}, { __tostring = function() return {} end }), text = "(error object is a table value)" },
    { object = setmetatable({}, { __name = "Named" }), text = "Named: " },
    { object = print, text = "function: " },
    { object = coroutine.create(function() end), text = "thread: " },
  }
end

local function a_thrown_error()
  local function throw(object) error(object, 0) end

  -- The error went to on_error.
  local function check(case, got)
    local text = case.object == nil and tostring(luas.thrown(nil)) or case.text
    assert.equal(text, got.text:sub(1, #text))
    assert.truthy(got.text:find("\nstack traceback:\n", 1, true), got.text)
    assert.truthy(got.text:find("in upvalue 'throw'", 1, true) or got.text:find("in local 'throw'", 1, true), got.text)
    assert.is_true(rawequal(luas.thrown(case.object), got.object))
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
      local got = stage.take_errors()
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
        stage.wait()
        throw(case.object)
      end)
      conn:set_callback(bad)
      come(1)
      assert.equal(0, #stage.take_errors())
      stage.go()
      check(case, stage.take_errors()[1])
      expect "bad1"
      conn:unset_callback(bad)
    end
    assert.equal("ready", conn:state())
  end)

  it("goes to on_error from one's own handler", function()
    local case = objects()[4]
    conn:set_handler(hears("own", function() throw(case.object) end))
    come(1, 2)
    expect "own1 own2"
    local got = stage.take_errors()
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
    assert.equal(1, #stage.take_errors())
  end)

  luas.it("variables to be closed", "closes what was to be closed", function()
    local source = "local note = ... "
      .. "return function() local x <close> = setmetatable({}, { __close = function() note 'closed' end }) error '' end"
    conn:set_callback(assert(luas.load(source))(note))
    conn:set_handler()
    come(1)
    expect "closed"
    assert.equal(1, #stage.take_errors())
  end)
end

local function a_yield()
  before_each(function() conn:set_handler() end)

  it("is possible: each call has a coroutine of its own, which no other has had", function()
    local cos, main = {}, coroutine.running()
    local function keep(stanza)
      cos[#cos + 1] = coroutine.running()
      if stanza[2].n == "2" then stage.wait() end
    end
    conn:set_callback(keep)
    conn:set_callback(function(...) keep(...) end)
    come(1, 2)
    stage.go(2)
    assert.equal(4, #cos)
    for i = 1, 4 do
      assert.are_not.equal(main, cos[i])
      for k = 1, i - 1 do assert.are_not.equal(cos[k], cos[i]) end
    end
  end)

  it("is woken by no coroutine of a call that is over", function()
    local kept, woken
    conn:set_callback(function(stanza)
      if stanza[2].n == "1" then kept = coroutine.running() return end
      woken = coroutine.yield()
    end)
    come(1, 2)
    assert.is_false((coroutine.resume(kept, "stale")))
    assert.equal("dead", coroutine.status(kept))
    assert.is_nil(woken)
  end)

  it("with the hook that the host has now, such as a limit of instructions", function()
    local counts = {}
    local function look() counts[#counts + 1] = select(3, debug.gethook()) or 0 end
    conn:set_callback(look)
    f:feed "<message/><iq type='get' id='1' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    debug.sethook(function() end, "", 12345)
    f:feed "<message/><iq type='get' id='2' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    debug.sethook()
    f:feed "<message/><iq type='get' id='3' from='bob@xmpp.test/pc'><q xmlns='urn:q'/></iq>"
    assert.same({ 0, 0, 12345, 12345, 0, 0 }, counts)
  end)

  it("ends with the call: a coroutine that is kept can't disturb the next", function()
    local close = rawget(coroutine, "close") or function() end
    local co
    conn:set_callback(hears("a", function()
      if co then assert.is_false((coroutine.resume(co))) end
      co = coroutine.running()
    end))
    come(1)
    assert.is_false((coroutine.resume(co)))
    come(2)
    close(co)
    come(3)
    expect "a1 a2 a3"
  end)

  it("in a callback delays neither the others nor the next stanza", function()
    conn:set_callback(hears("a", function(stanza)
      stage.wait()
      note("over" .. stanza[2].n)
    end))
    conn:set_callback(hears "b")
    come(1, 2)
    expect "a1 b1 a2 b2"
    stage.go(2)
    expect "over1 over2"
  end)

  it("in a handler lets the next stanza come", function()
    conn:set_handler(hears("own", function(stanza)
      stage.wait()
      note("over" .. stanza[2].n)
    end))
    come(1, 2)
    expect "own1 own2"
    stage.go(2)
    expect "over1 over2"
  end)

  it("may wait for a response", function()
    conn:set_callback(hears("a", function(stanza, c)
      local id = "q" .. stanza[2].n
      local response, err = c:send_await { "iq", { type = "get", id = id }, { "q", { xmlns = "urn:q" } } }
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

  luas.it("yields across pcall", "may be inside a pcall, which catches what is thrown later", function()
    conn:set_callback(hears("a", function()
      local ok, why = pcall(function()
        stage.wait()
        error("late", 0)
      end)
      note(tostring(ok) .. why)
    end))
    come(1)
    expect "a1"
    stage.go()
    expect "falselate"
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
      stage.wait()
      note "slept"
      coroutine.yield()
      error("to the resumer", 0)
    end))
    come(1)
    assert.is_true(coroutine.resume(co))
    stage.go()
    local ok, why = coroutine.resume(co)
    assert.is_false(ok)
    assert.equal("to the resumer", why)
    expect "a1 slept"
  end)

  it("does no harm if something else resumes what waits", function()
    local co
    conn:set_callback(hears("a", function()
      co = coroutine.running()
      stage.wait()
      note "slept"
    end))
    come(1)
    for _ = 1, 5 do assert.is_true(coroutine.resume(co)) end
    expect "a1"
    stage.go()
    expect "slept"
    assert.is_false((coroutine.resume(co)))
  end)

  it("that is never resumed is collected without a word", function()
    local weak, suspended = setmetatable({}, { __mode = "k" }), false
    conn:set_callback_once(hears("a", function()
      weak[coroutine.running()] = true
      suspended = true
      coroutine.yield()
      note "never"
      return true
    end))
    come(1)
    assert.is_true(suspended)
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
        stage.wait()
        note "inner"
        error "inner error"
      end)()
      note "outer"
    end))
    come(1)
    expect "a1 outer"
    stage.go()
    expect "inner"
    assert.truthy(stage.take_errors()[1].text:find("inner error", 1, true))
  end)

  it("needs a coroutine that can yield: else it says so, and nothing was sent or is waited for", function()
    local function attempt(what, wait)
      conn:set_callback_once(hears(what, function()
        local ok, why = pcall(string.gsub, "x", "x", wait)
        assert.is_false(ok)
        assert.truthy(why:find("callback_spec.lua:%d+: .*a step is being made already"), why)
        return true
      end))
    end
    attempt("sleep", function() xmpp.sleep(0) end)
    attempt("receive", function() conn:receive_blocking() end)
    attempt("await", function() conn:send_await { "iq", { type = "get", id = "1" }, { "q", { xmlns = "urn:q" } } } end)
    attempt("flush", function() conn:flush() end)
    attempt("stop", function() conn:stop() end)
    attempt("drain", function() conn:drain() end)
    attempt("step", function() xmpp.step() end)
    attempt("run", function() xmpp.run() end)
    come(1)
    expect "sleep1 receive1 await1 flush1 stop1 drain1 step1 run1"
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
      stage.wait()
      refuses("a step is being made already", function() xmpp.step(0) end)
      note "over"
    end))
    come(1)
    stage.go()
    expect "a1 over"
  end)
end

local function closing_in_a_callback()
  it("lets the others have the stanza, and later ones until the server closes", function()
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
    stage.turn_until(function() return conn:state() == "closed" end)
    expect "own1 stopped"
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.equal("closed", conn:state())
  end)

  it("makes sending fail in the same callback", function()
    conn:set_callback(hears("a", function(_, c)
      xmpp.spawn(function() c:stop() end)
      stage.wait()
      local ok, err = c:send { "message", { to = "bob@xmpp.test" } }
      assert.is_nil(ok)
      assert.equal("closed", err.layer)
      note "failed"
    end))
    conn:set_handler()
    come(1)
    stage.go()
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

local GROUPS = {
  { "an error", a_thrown_error }, { "a yield", a_yield }, { "closing in a callback", closing_in_a_callback },
}

stage.under_manners("callback", set, GROUPS)

describe("callback, once:", function()
  it("an error may be an overflow of the stack", function()
    local function deeper() return 1 + deeper() end
    stage.begin()
    f = stage.open()
    conn = f.conn
    conn:set_handler()
    conn:set_callback(hears("bad", deeper))
    conn:set_callback(hears "good")
    come(1)
    expect "bad1 good1"
    assert.truthy(stage.take_errors()[1].text:find("stack overflow", 1, true))
    f, conn = nil, nil
    stage.finish()
  end)
end)

describe("the first callback", function()
  stage.around(set)

  it("installs the default handler, and gets what was queued before", function()
    come(1)
    assert.is_nil(conn:handler())
    conn:set_callback_once(hears("cb", function() return true end))
    assert.equal(xmpp.default_handler, conn:handler())
    fed.settle()
    come(2)
    expect "cb1"
  end)

  it("is any that is set before the program has chosen a handler", function()
    conn:set_callback(hears "a")
    conn:unset_callback(conn:callbacks()[1])
    conn:set_callback(hears "b")
    come(1)
    expect "b1"
  end)

  it("changes neither a handler that was set, nor the choice of none", function()
    local own = hears "own"
    conn:set_handler(own)
    conn:set_callback(hears "cb")
    assert.equal(own, conn:handler())
    conn:stop_handler()
    conn:set_callback(hears "cb")
    assert.is_nil(conn:handler())
    come(1)
    expect ""
    assert.equal("1", conn:receive()[2].n)
  end)

  it("that is refused installs nothing", function()
    assert.is_false(pcall(conn.set_callback, conn, print, { form = "x" }))
    assert.is_nil(conn:handler())
  end)
end)
