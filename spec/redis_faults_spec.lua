-- Faults while Redis is asked: an allocation that fails (ours, hiredis's, OpenSSL's, Lua's), a system call that fails,
-- at every place: a clean error or a success, nothing leaks, nothing is left on the loop, and the next time it works.
-- Here a sample of the places; all with TORTURE=1. And the loops that it works on.
local faults = require "spec.support.faults"
local server = require "spec.support.redis"
local shell = require "spec.support.shell"

local all = os.getenv "TORTURE" == "1"

if not server.is_there() then
  describe("redis, where something fails,", function() pending "no redis-server, or no hiredis, here" end)
  return
end

describe("redis, where something fails,", function()
  local s

  setup(function() s = server.start { TLS = "yes", requirepass = "s3cret" } end)
  teardown(function() s:stop() end)

  for kind, environment in pairs { TCP = function() return { PORT = s.port } end,
    TLS = function() return { PORT = s.tls_port, CA = s.ca } end } do
    local function run(more)
      local e = environment()
      for name, value in pairs(more) do e[name] = value end
      local text, status = faults.run("spec/support/faults_redis.lua", e)
      assert.equal(0, status, text)
      assert.is_true(tonumber(text:match "(%d+) of %d+ indices") > 10, text)
    end

    it("survives any one allocation that fails, by " .. kind, function()
      run { MODE = "allocation", TRIES = not all and 60 or nil }
    end)

    it("survives memory that has run out, by " .. kind, function()
      run { MODE = "allocation", STAYS = "1", TRIES = not all and 40 or nil }
    end)

    for name, errno in pairs { EINTR = 4, EMFILE = 24, EPIPE = 32, ECONNRESET = 104 } do
      it(("survives a system call that fails with %s, by %s"):format(name, kind), function()
        run { MODE = "call", ERRNO = errno, TRIES = not all and 20 or nil }
      end)
    end
  end

  -- A program of its own; what it prints, and its exit status.
  local function program(source)
    local path = shell.file(([[
      local redis, xmpp, PORT = require "xmpp.redis", require "xmpp", %d
      local function ask(...)
        local r = assert(redis.connect { host = "localhost", port = PORT, password = "s3cret" })
        local value = assert(r:call(...))
        r:close()
        return value
      end
    ]]):format(s.port) .. source)
    local output, status = shell.run(shell.HERE .. "timeout 60 " .. (os.getenv "LUA" or "lua5.4") .. " " .. path)
    os.remove(path)
    return ("%sstatus %d\n"):format(output, status)
  end

  it("ends with its Lua state, wherever it is", function()
    for _, ms in ipairs { 0, 1, 5, 20 } do
      assert.equal("status 0\n", program(([[
        xmpp.spawn(ask, "BLPOP", "never", 0)
        xmpp.spawn(ask, "SET", "x", ("x"):rep(10000000))
        xmpp.sleep(%d / 1000)
      ]]):format(ms)))
    end
  end)

  it("is told that a server is gone by an error, not by SIGPIPE", function()
    assert.equal("cut\nstatus 0\n", program [[
      local r = assert(redis.connect { host = "localhost", port = PORT, password = "s3cret" })
      xmpp.spawn(function() r:call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no") end)
      for i = 1, 10 do xmpp.spawn(function() r:call("SET", "x", ("x"):rep(1000000)) end) end
      while not r:why() do xmpp.sleep(0.01) end
      print(r:why().condition)
    ]])
  end)

  for name, source in pairs {
    luv = [[
      local uv = require "luv"
      require "xmpp.loop.uv".start()
      coroutine.wrap(function() print(ask("ECHO", "hello")) end)()
      uv.run()]],
    cqueues = [[
      local cq = require "cqueues".new()
      require "xmpp.loop.cqueues".start(cq)
      cq:wrap(function() print(ask("ECHO", "hello")) end)
      assert(cq:loop())]],
    ["a game's steps"] = [[
      local done
      xmpp.spawn(function() print(ask("ECHO", "hello")) done = true end)
      while not done do xmpp.step(0, 10) end]],
    ["poll and step"] = [[
      local socket, done = require "socket", false
      local fd = { getfd = xmpp.fd, dirty = function() return false end }
      xmpp.spawn(function() print(ask("ECHO", "hello")) done = true end)
      while not done do
        socket.select({ fd }, nil, xmpp.timeout())
        xmpp.step(0)
      end]],
  } do
    it("works on the loop of " .. name, function()
      local library = source:match 'require "(%w+)"'
      if library and library ~= "xmpp" and not pcall(require, library) then
        return pending("no " .. library .. " here")
      end
      assert.equal("hello\nstatus 0\n", program(
        ("package.path, package.cpath = %q, %q "):format(package.path, package.cpath) .. source))
    end)
  end
end)
