-- core.watch: other libraries' descriptors on the library's loop (for xmpp.http; it isn't part of the
-- public API).
local core = require "xmpp.core"
local socket = require "socket"
local xmpp = require "xmpp"

describe("core.watch", function()
  local left, right, watches

  before_each(function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local host, port = server:getsockname()
    left = assert(socket.connect(host, port))
    right = assert(server:accept())
    server:close()
    left:settimeout(0)
    watches = {}
  end)

  after_each(function()
    for _, watch in ipairs(watches) do watch:cancel() end
    left:close()
    right:close()
    assert.is_false(core.is_busy())
  end)

  local function watch(events, f)
    local w = core.watch(left:getfd(), events, f)
    watches[#watches + 1] = w
    return w
  end

  it("reports readiness as long as it lasts", function()
    local seen = {}
    watch("r", function(events) seen[#seen + 1] = events end)
    xmpp.step(0)
    assert.same({}, seen)
    right:send "x"
    xmpp.step(1)
    xmpp.step(1)
    assert.same({ "r", "r" }, seen)
    left:receive(1)
    xmpp.step(0)
    assert.same({ "r", "r" }, seen)
  end)

  it("reports reading and writing at once", function()
    local seen
    watch("rw", function(events) seen = events end)
    right:send "x"
    socket.sleep(0.01)
    xmpp.step(1)
    assert.equal("rw", seen)
  end)

  it("ends when it is cancelled, from inside as well", function()
    local calls, w = 0, nil
    w = watch("w", function()
      calls = calls + 1
      assert.is_true(w:cancel())
    end)
    xmpp.step(1)
    xmpp.step(0)
    assert.equal(1, calls)
    assert.is_false(w:cancel())
    assert.is_userdata(watch("w", function() end)) -- there is space for another
  end)

  it("continues when its function throws or waits", function()
    local calls, errors = 0, {}
    local old = xmpp.on_error(function(text) errors[#errors + 1] = text end)
    watch("w", function()
      calls = calls + 1
      if calls == 1 then error "no" end
      xmpp.sleep(0.001)
    end)
    for _ = 1, 3 do xmpp.step(1) end
    xmpp.on_error(old)
    assert.is_true(calls >= 3)
    assert.equal(1, #errors)
    watches[1]:cancel()
    xmpp.sleep(0.01)
  end)

  it("keeps xmpp.run turning", function()
    local w
    w = watch("r", function() w:cancel() end)
    xmpp.after(0.01, function() right:send "x" end)
    assert.is_true(xmpp.run())
  end)

  it("allows one watch for a descriptor, and refuses invalid ones", function()
    watch("r", function() end)
    assert.is_nil(core.watch(left:getfd(), "w", function() end))
    assert.is_nil(core.watch(-1, "r", function() end))
    assert.has_error(function() core.watch(left:getfd(), "x", function() end) end)
    assert.has_error(function() core.watch(left:getfd(), "r") end)
  end)

  it("ends with the Lua state", function()
    local shell = require "spec.support.shell"
    local path = shell.file [[
      local core = require "xmpp.core"
      core.watch(0, "r", print)
      core.watch(1, "w", function() core.watch(1, "w", print) end)
      core.step(0)
      os.exit(0, true)
    ]]
    local text, status = shell.run(shell.HERE .. (os.getenv "LUA" or "lua5.4") .. " " .. path .. " </dev/null | cat")
    os.remove(path)
    assert.same({ "", 0 }, { text, status })
  end)
end)
