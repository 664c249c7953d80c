-- Garbage collection at its worst: real connections with a full collection in each of their functions; and connections
-- that are dropped without conn:stop(): they are closed and freed, and reported once.
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"
local PING = { "iq", { type = "get", to = "xmpp.test" }, { "ping", { xmlns = "urn:xmpp:ping" } } }

-- Runs a Lua program whose `login(name)` connects to `s`. Returns its output, on stdout and stderr, and its status.
local function run(s, program)
  local path = shell.file(([[
    local xmpp = require "xmpp"
    local function login(name, resource)
      local jid = name .. "@%s/" .. (resource or "x")
      return assert(xmpp.connect_client(jid, name .. "pw", "%s", %d, { ca_file = "%s" }))
    end
  ]]):format(s.domain, s.host, s.port, s.ca), program)
  local text, status = shell.run(shell.HERE .. ("timeout 60 %s %s"):format(LUA, path))
  os.remove(path)
  return text, status
end

local function warning(name)
  return ("xmpp: the connection of %s@xmpp.test/x was dropped without conn:stop(), and is closed now "
    .. "(this is said once)\n"):format(name)
end

server.each(function(s)
  for _, manner in ipairs(stage.manners()) do
    it("goes through a conversation " .. manner.name, function()
      local was = manner.enter and manner.enter()
      finally(function() if manner.leave then manner.leave(was) end end)
      local said = {}
      local function full(f)
        return function(...)
          manner.tick()
          local ok = f(...)
          manner.tick()
          return ok
        end
      end
      local function login(name)
        return assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
          s.opts { log = full(function() end) }))
      end
      local alice, bob = login "alice", login "bob"
      bob:set_callback(full(function(message)
        bob:send_await(PING)
        bob:send(xmpp.xexpr.reply(message, { "body", "Re: " .. xmpp.xexpr.text(message, "body") }))
      end), { name = "message" })
      bob:set_handler()
      alice:on("state", full(function() end))
      alice:set_callback_once(full(function() return true end))
      alice:set_handler(full(function(stanza)
        said[#said + 1] = xmpp.xexpr.text(stanza, "body")
      end))
      for i = 1, 20 do
        local message = { "message", { to = tostring(bob:jid()), type = "chat" }, { "body", i } }
        alice:send(message, { on = full(function() end) })
        alice:send_callback(PING, full(function(response) assert(response) end))
      end
      for _ = 1, 600 do
        if #said < 20 then xmpp.step(0.1) end
      end
      table.sort(said, function(a, b) return tonumber(a:match "%d+") < tonumber(b:match "%d+") end)
      assert.equal(20, #said)
      for i = 1, 20 do assert.equal("Re: " .. i, said[i]) end
      assert(alice:stop())
      assert(bob:stop())
    end)
  end

  it("a connection that is dropped is collected, closed, and reported once", function()
    local text, status = run(s, [[
      local watch = login("bob", "watch")
      local function count()
        local pipe = io.popen "ls /proc/$PPID/fd | wc -l"
        local n = tonumber(pipe:read "*a")
        pipe:close()
        return n
      end
      local function descriptors() -- the pipe's other end may be open yet when they are counted
        local least = count()
        for _ = 1, 4 do least = math.min(least, count()) end
        return least
      end
      local before = descriptors()
      for _ = 1, 3 do
        login "alice"
        collectgarbage()
        collectgarbage()
      end
      print(descriptors() - before)
      print(watch:state())
      watch:stop()]])
    assert.equal(0, status, text)
    assert.equal(warning "alice" .. "0\nready\n", text)
  end)

  it("a connection that is open when the program ends is closed silently", function()
    assert.same({ "", 0 }, { run(s, "local kept = login 'alice' login 'bob':set_handler() xmpp.step()") })
    assert.same({ "", 0 }, { run(s, "kept = login 'alice' xmpp.step()") })
  end)

  it("a connection that was stopped, or has ended, is collected silently", function()
    assert.same({ "", 0 }, { run(s, [[
      login "alice":stop()
      login "bob"
      local other = login "bob"
      for _ = 1, 100 do xmpp.step(0.01) end
      collectgarbage() collectgarbage()
      other:stop()]]) })
  end)
end)
