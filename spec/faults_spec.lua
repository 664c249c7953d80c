-- Faults in our own process: at every place of a login, a message, an awaited response and a stop, an allocation fails
-- (our own, expat's, OpenSSL's, libuv's, Lua's) or a system call. Each is a clean error or a success; nothing leaks,
-- and another connection isn't affected. By default a sample of the places; all with TORTURE=1 (make torture).
local faults = require "spec.support.faults"
local relay = require "spec.support.relay"
local server = require "spec.support.server"

local all = os.getenv "TORTURE" == "1"

teardown(relay.stop)

server.each(function(s)
  local function run(environment)
    local e = { XMPP_HOST = s.host, XMPP_PORT = s.port, XMPP_CA = s.ca }
    for name, value in pairs(environment) do e[name] = value end
    local text, status = faults.run("spec/support/faults_login.lua", e)
    assert.equal(0, status, text)
    local tried = tonumber(text:match "(%d+) of %d+ indices")
    assert.is_true(tried > 10, text)
    if all then io.stderr:write("# ", s.name, " ", text) end
  end

  it("survives any one allocation that fails", function()
    run { MODE = "allocation", MECHANISM = "PLAIN", TRIES = not all and 32 or nil }
  end)

  it("survives memory that has run out", function()
    run { MODE = "allocation", STAYS = "1", MECHANISM = "PLAIN", TRIES = not all and 29 or nil }
  end)

  it("survives an allocation that fails in SCRAM", function()
    run { MODE = "allocation", MECHANISM = "SCRAM-SHA-1", TRIES = not all and 15 or nil }
  end)

  it("survives an allocation, or a system call, that fails behind a proxy", function()
    for _, kind in ipairs { "microsocks+auth", "tinyproxy+auth" } do
      local e = { MECHANISM = "PLAIN", PROXY = relay.get(kind).url, TRIES = not all and 15 or nil }
      e.MODE = "allocation"
      run(e)
      e.MODE, e.ERRNO = "call", 104
      run(e)
    end
  end)

  -- Linux's numbers: EINTR, EAGAIN, EMFILE, EPIPE, ECONNRESET, ETIMEDOUT; 0: one byte at a time.
  for name, errno in pairs { EINTR = 4, EAGAIN = 11, EMFILE = 24, EPIPE = 32, ECONNRESET = 104, ETIMEDOUT = 110,
    ["one byte only"] = 0 } do
    it("survives a system call that fails with " .. name, function()
      run { MODE = "call", ERRNO = errno, MECHANISM = "PLAIN", TRIES = not all and 50 or nil }
    end)
  end
end)
