-- Ctrl-C: a signal to a program that waits, or is busy, ends xmpp.run() or the wait, and nothing else.
local shell = require "spec.support.shell"

local LUA = os.getenv "LUA" or "lua5.4"

-- the process is timeout, and the program its child
local WHEN_ASLEEP = "unset LD_PRELOAD; sleep 0.2; p=$(pgrep -P %s); for i in 1 2 3 4 5 6 7 8 9; do "
  .. "grep -q 'State:.S' /proc/$p/status && break; sleep 0.2; done; kill -INT $p"

-- Runs a Lua program, which prints "now" when it is to be interrupted while it waits. Returns its output, status.
local function run(program)
  local path = shell.file([[
    io.stdout:setvbuf "no"
    local xmpp = require "xmpp"
    local fed = require "spec.support.fed"
    local function interrupt() assert(io.popen "kill -INT $PPID"):close() end -- os.execute would have it ignored
  ]], program)
  local pipe = assert(io.popen(shell.HERE .. ("sh -c 'echo $$; exec timeout --foreground 60 %s %s' 2>&1; "
    .. "echo status $?"):format(LUA, path)))
  local pid, said = pipe:read "*l", {}
  for line in pipe:lines() do
    if line == "now" then
      os.execute((WHEN_ASLEEP):format(pid))
    else
      said[#said + 1] = line
    end
  end
  pipe:close()
  os.remove(path)
  return table.concat(said, "\n", 1, #said - 1), said[#said]
end

describe("Ctrl-C", function()
  it("ends a waiting xmpp.run, and changes nothing else", function()
    assert.same({ "false\ntrue", "status 0" }, { run [[
      local timer = xmpp.after(50, function() end)
      print "now"
      print(xmpp.run())
      timer:cancel()
      xmpp.after(0.01, function() end)
      print(xmpp.run())]] })
  end)

  it("ends any other wait with an error", function()
    local text = run [[
      print "now"
      print(pcall(xmpp.sleep, 50))]]
    assert.matches("^false\t.*interrupted!$", text)
  end)

  local DISPATCHES = [[
    local f = fed.open { jid = "me@xmpp.test/here" }
    local seen, lost = 0, 0
    f.conn:set_handler(function(stanza)
      seen = seen + 1
      if stanza[2].id ~= tostring(seen) then lost = lost + 1 end
      if seen == %d then interrupt() end
    end)
    for i = 1, 150 do require "xmpp.core".conn.feed(f.conn, ("<message id='%%d'/>"):format(i)) end
    print(tostring(xmpp.run()) .. " " .. lost)
    fed.settle()
    print(tostring(f.conn:state() == "ready" and lost == 0) .. " " .. seen)]]

  if jit then -- where a hook is every coroutine's
    it("may end a callback instead, with an error that goes to on_error", function()
      assert.same({ "true 0\ntrue 150", "status 0" }, { run([[
        xmpp.on_error(function(_, err) if err:find "interrupted!$" then xmpp.quit() end end)
      ]] .. DISPATCHES:format(70)) })
    end)
  else
    it("ends xmpp.run while it dispatches, without losing stanzas or connections", function()
      for _, at in ipairs { 1, 50, 64, 65, 150 } do
        assert.same({ "false 0\ntrue 150", "status 0" }, { run(DISPATCHES:format(at)) }, at)
      end
    end)
  end
end)

describe("on_signal", function()
  local KILL = [[
    local function kill(name) assert(io.popen("kill -" .. name .. " $PPID")):close() end
  ]]

  it("calls a function, which may wait, instead of ending the process", function()
    assert.same({ "SIGTERM\nstopped\ntrue", "status 0" }, { run(KILL .. [[
      local f = fed.open { jid = "me@xmpp.test/here" }
      f.conn:set_handler(function() end)
      xmpp.on_signal("SIGTERM", function(name)
        print(name)
        xmpp.sleep(0.01)
        require "xmpp.core".conn.feed(f.conn, "</stream:stream>")
        f.conn:stop()
        print "stopped"
      end)
      xmpp.after(0.01, function() kill "TERM" end)
      print(xmpp.run())]]) })
  end)

  it("wakes a sleeping program, for each of the usual names", function()
    local text, status = run(KILL .. [[
      for _, name in ipairs { "HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "WINCH" } do
        local off = xmpp.on_signal("SIG" .. name, function(s) print(s) xmpp.quit() end)
        local timer = xmpp.after(50, function() end)
        xmpp.spawn(function() kill(name) end)
        xmpp.run()
        timer:cancel()
        off()
      end]])
    assert.equal("SIGHUP\nSIGINT\nSIGQUIT\nSIGTERM\nSIGUSR1\nSIGUSR2\nSIGALRM\nSIGWINCH", text)
    assert.equal("status 0", status)
  end)

  it("has one function for each signal, until it is removed: then the signal has its old effect", function()
    assert.same({ "second\nafter nil", "status 0" }, { run(KILL .. [[
      xmpp.on_signal("SIGUSR1", function() print "first" end)
      local off = xmpp.on_signal("SIGUSR1", function() print "second" end)
      xmpp.spawn(function() kill "USR1" xmpp.sleep(0.05) end)
      xmpp.sleep(0.1)
      off()
      off()
      xmpp.on_signal("SIGUSR2", print)
      print("after " .. tostring(xmpp.on_signal("SIGUSR2", nil)))]]) })
    local text, status = run(KILL .. [[
      xmpp.on_signal("SIGTERM", print)()
      kill "TERM"
      xmpp.sleep(10)
      print "still here"]])
    assert.is_nil(text:find("here", 1, true))
    assert.equal("status 143", status)
    text = run [[
      xmpp.on_signal("SIGINT", print)()
      print "now"
      print(pcall(xmpp.sleep, 50))]]
    assert.matches("^false\t.*interrupted!$", text) -- Lua's own, again
  end)

  it("doesn't keep a program from ending", function()
    assert.same({ "true", "status 0" }, { run [[
      xmpp.on_signal("SIGTERM", print)
      print(xmpp.run())]] })
  end)

  it("reports errors to on_error, and is called once for several between two turns", function()
    assert.same({ "1 boom", "status 0" }, { run(KILL .. [[
      local n = 0
      xmpp.on_error(function(text) print(n .. " " .. text:match "boom") end)
      xmpp.on_signal("SIGUSR1", function() n = n + 1 error "boom" end)
      for _ = 1, 3 do kill "USR1" end
      xmpp.sleep(0.05)]]) })
  end)

  it("raises for wrong arguments", function()
    local xmpp = require "xmpp"
    for name, why in pairs { SIGKILL = "one of SIGHUP, SIGINT,", TERM = "expected, got TERM" } do
      local ok, message = pcall(xmpp.on_signal, name, print)
      assert.is_false(ok)
      assert.matches(why, message, 1, true)
    end
    assert.is_false(pcall(xmpp.on_signal, 15, print))
    local ok, message = pcall(function() xmpp.on_signal("SIGTERM", 1) end)
    assert.is_false(ok)
    assert.matches("signals_spec.lua:%d+: bad argument #2 to 'on_signal' %(function expected, got number%)", message)
    ok, message = pcall(function() xmpp.on_signal("SIGSTOP", print) end)
    assert.is_false(ok)
    assert.matches("signals_spec.lua:%d+: bad argument #1 to 'on_signal' %(one of", message)
  end)
end)
