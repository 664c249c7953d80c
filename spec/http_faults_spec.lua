-- Faults during an upload by HTTP: an allocation (ours, libcurl's, OpenSSL's, Lua's) or a system call fails, at every
-- place: a clean error or a success, nothing leaks, nothing is left on the loop, and the next upload works. And
-- programs that end, or drop what they hold, during one. By default a sample of the places; all with TORTURE=1.
local faults = require "spec.support.faults"
local shell = require "spec.support.shell"
local web = require "spec.support.web"

local all = os.getenv "TORTURE" == "1"

describe("http.request, where something fails,", function()
  local w

  setup(function() w = web.start() end)
  teardown(function() w:stop() end)

  local function run(environment)
    local e = { URL = w:url "/put", CA = w.ca, SPARE_SSL_NEW = 1 }
    for name, value in pairs(environment) do e[name] = value end
    local text, status = faults.run("spec/support/faults_http.lua", e)
    assert.equal(0, status, text)
    assert.is_true(tonumber(text:match "(%d+) of %d+ indices") > 10, text)
  end

  it("survives any one allocation that fails", function()
    run { MODE = "allocation", TRIES = not all and 40 or nil }
  end)

  it("survives memory that has run out", function()
    run { MODE = "allocation", STAYS = "1", TRIES = not all and 30 or nil }
  end)

  for name, errno in pairs { EINTR = 4, EMFILE = 24, EPIPE = 32, ECONNRESET = 104 } do
    it("survives a system call that fails with " .. name, function()
      run { MODE = "call", ERRNO = errno, TRIES = not all and 20 or nil }
    end)
  end

  -- Runs a program of its own. Returns what it prints, and its exit status.
  local function program(source)
    local path = shell.file(([[
      local http, xmpp = require "xmpp.http", require "xmpp"
      local function ask(path, o)
        o = o or {}
        o.url, o.ca_file, o.resolve = ("https://files.xmpp.test:%d") .. path, %q, "127.0.0.1"
        return http.request(o)
      end
    ]]):format(w.port, w.ca) .. source)
    local output, status = shell.run(shell.HERE .. "timeout 60 " .. (os.getenv "LUA" or "lua5.4") .. " " .. path)
    os.remove(path)
    return ("%sstatus %d\n"):format(output, status)
  end

  it("ends with its Lua state, at any stage", function()
    for _, ms in ipairs { 0, 1, 5, 20, 100 } do
      assert.equal("status 0\n", program(([[
        xmpp.spawn(ask, "/silent")
        xmpp.spawn(ask, "/slow?1000", { method = "PUT", body = ("x"):rep(1000000) })
        xmpp.spawn(ask, "/put", { method = "PUT", size = 1000000, body = function() xmpp.sleep(60) end })
        xmpp.sleep(%d / 1000)
      ]]):format(ms)))
    end
  end)

  it("ends with its Lua state in the middle of a callback, and doesn't use it any more in a finalizer", function()
    assert.equal("status 0\n", program [[
      local last = newproxy and newproxy(true) or setmetatable({}, { __gc = function() end })
      getmetatable(last).__gc = function() pcall(ask, "/hello") end
      xmpp.spawn(ask, "/put", { method = "PUT", body = ("x"):rep(1000000), progress = function()
        if os.exit and not jit and _VERSION ~= "Lua 5.1" then os.exit(0, true) end
        os.exit(0)
      end })
      xmpp.sleep(10)
    ]])
  end)

  it("keeps xmpp.run turning until it is over, and no longer", function()
    assert.equal("hello\nstatus 0\n", program [[
      xmpp.spawn(function() print(ask "/hello".body) end)
      xmpp.run()
    ]])
  end)

  it("learns that a peer is gone by an error, not by SIGPIPE", function()
    assert.equal("cut\nstatus 0\n", program [[
      print(select(2, ask("/cut?1000", { method = "PUT", body = ("x"):rep(3000000) })).condition)
    ]])
  end)

  for name, source in pairs {
    luv = [[
      local uv = require "luv"
      require "xmpp.loop.uv".start()
      coroutine.wrap(function() print(ask "/hello".body) end)()
      uv.run()]],
    cqueues = [[
      local cq = require "cqueues".new()
      require "xmpp.loop.cqueues".start(cq)
      cq:wrap(function() print(ask "/hello".body) end)
      assert(cq:loop())]],
    ["a game's steps"] = [[
      local done
      xmpp.spawn(function() print(ask "/hello".body) done = true end)
      while not done do xmpp.step(0, 10) end]],
    ["poll and step"] = [[
      local socket, done = require "socket", false
      local fd = { getfd = xmpp.fd, dirty = function() return false end }
      xmpp.spawn(function() print(ask "/hello".body) done = true end)
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
