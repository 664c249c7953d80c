-- redis: a client for Redis on the library's loop: what it says and hears, how a connection ends, whom it believes by
-- TLS, and servers that answer with nonsense (spec/support/redis_peer.py).
local child = require "spec.support.child"
local core = require "xmpp.core"
local redis = require "xmpp.redis"
local server = require "spec.support.redis"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local BAD = { "?garbage\r\n", "$3\r\nabcXX", "$abc\r\n", "$-2\r\n", "*-2\r\n", ":12x\r\n", ":\r\n",
  "*99999999999999999999\r\n", ("*1\r\n"):rep(12), "%1\r\n+a\r\n+b\r\n", ",1.5\r\n", "#t\r\n", "~1\r\n:1\r\n",
  "(12\r\n", "=5\r\ntxt:a\r\n", "!3\r\nERR\r\n",
  "\0\0\0\0", "HTTP/1.1 400 Bad Request\r\n\r\n", "*2\r\n+a\r\n?\r\n" }

local function hex(text) return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

local ENDLESS = { hex "+" .. ",61*70000", hex "$" .. ",31*70000", hex "*1\r\n:" .. ",31*70000" }
local LARGE = { hex "*2147483647\r\n", hex "*2\r\n*2147483646\r\n", hex "$2000000\r\n" .. ",61*2000000",
  hex "*100000\r\n" .. "," .. hex "*0\r\n" .. "*100000" }

if not server.is_there() then
  describe("redis", function() pending "no redis-server, or no hiredis, here" end)
  return
end

-- What is begun in a test is closed at its end, and nothing is left on the loop.
local opened

local function remember(r)
  opened[#opened + 1] = r
  return r
end

local function finish()
  for _, thing in ipairs(opened) do thing:close() end
  for _ = 1, 3 do xmpp.step(0) end
  assert.is_false(core.is_busy())
end

-- A peer that plays these steps, behind "+PONG".
local function peer(...)
  local pipe, v = child.serve("redis_peer.py", { hex "+PONG\r\n", ... })
  remember { close = function() pipe:close() end }
  return tonumber(v.PORT)
end

local function connect(o)
  local r, err = redis.connect(o)
  return r and remember(r), err
end

before_each(function() opened = {} end)
after_each(finish)

describe("redis, with a server,", function()
  local s

  setup(function() s = server.start { TLS = "yes" } end)
  teardown(function() s:stop() end)

  local function there() return assert(connect { port = s.port }) end

  it("says what Redis has said", function()
    local r = there()
    assert.equal("OK", r:call("SET", "a", "1"))
    assert.equal(3, r:call("INCRBY", "a", 2))
    assert.equal("3", r:call("GET", "a"))
    assert.is_false(r:call("GET", "nothing"))
    assert.same({ "3", false }, r:call("MGET", "a", "nothing"))
    assert.same({ 1, { "x", {} }, false, { err = "BAD luck" } },
      r:call("EVAL", "return { 1, { 'x', {} }, false, { err = 'BAD luck' } }", 0))
    local long = ("\0\r\n$"):rep(100000)
    assert.equal("OK", r:call("SET", "long", long))
    assert.equal(long, r:call("GET", "long"))
    assert.equal("2.5", r:call("SET", "n", 2.5) and r:call("GET", "n"))
  end)

  it("gives Redis's own errors, and goes on", function()
    local r = there()
    r:call("SET", "text", "x")
    local v, err = r:call("LPUSH", "text", "y")
    assert.is_nil(v)
    assert.same({ "redis", "WRONGTYPE", false }, { err.layer, err.condition, err.retry })
    assert.equal("ERR", select(2, r:call "NONSENSE").condition)
    assert.equal("PONG", r:call "PING")
  end)

  it("is asked by many at the same time, in order", function()
    local r, got = there(), {}
    r:call("SET", "n", 0)
    local ends = {}
    for i = 1, 200 do
      ends[i] = xmpp.spawn(function() got[i] = r:call("INCR", "n") end)
    end
    for i = 1, 200 do ends[i]:wait() end
    for i = 1, 200 do assert.equal(i, got[i]) end
  end)

  it("hears what is published", function()
    local r, b, heard = there(), there(), {}
    assert.is_true(b:subscribe("bell", function(text) heard[#heard + 1] = text end))
    assert.equal(1, r:call("PUBLISH", "bell", "one"))
    assert.equal(1, r:call("PUBLISH", "bell", "two"))
    while #heard < 2 do xmpp.step(1) end
    assert.same({ "one", "two" }, heard)
    assert.equal("pong", b:call("PING")[1])
  end)

  it("goes by a socket of this machine, and by a name", function()
    assert.equal("PONG", assert(connect { path = s.path }):call "PING")
    assert.equal("PONG", assert(connect { host = "localhost", port = s.port }):call "PING")
    assert.equal("OK", assert(connect { port = s.port, db = 3 }):call("SET", "there", 1))
    assert.is_false(there():call("GET", "there"))
  end)

  it("is over when it is closed, or the server goes", function()
    local r = there()
    assert.is_true(r:close())
    assert.is_false(r:close())
    local _, err = r:call "PING"
    assert.same({ "redis", "closed" }, { err.layer, err.condition })
    local other = there()
    local waiting = xmpp.spawn(function() return other:call("BLPOP", "never", 0) end)
    xmpp.sleep(0)
    there():call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    _, err = waiting:wait()
    assert.same({ "cut", true }, { err.condition, err.retry })
    assert.equal(err, other:why())
  end)

  it("waits no longer than it is told to", function()
    local r = assert(connect { port = s.port, timeout = 0.3 })
    local _, err = r:call("BLPOP", "never", 0)
    assert.same({ "timeout", true }, { err.condition, err.retry })
    assert.equal("timeout", r:why().condition)
    s:signal "STOP"
    _, err = connect { port = s.port, timeout = 0.3 }
    s:signal "CONT"
    assert.equal("timeout", err.condition)
  end)

  it("isn't kept waiting by a coroutine that is closed", function()
    local close = rawget(coroutine, "close")
    if not close then return end
    local r, done = there(), nil
    local co = coroutine.create(function() r:call("BLPOP", "never", "0.1") end)
    coroutine.resume(co)
    close(co)
    xmpp.spawn(function() done = r:call("ECHO", "mine") end)
    while not done do xmpp.step(1) end
    assert.equal("mine", done)
  end)

  describe("by TLS,", function()
    local function fault(o)
      o.port, o.tls = s.tls_port, true
      local r, err = connect(o)
      assert.is_nil(r)
      return err.condition
    end

    it("believes whom the certificate is for", function()
      local r = assert(connect { port = s.tls_port, tls = true, ca_file = s.ca })
      local long = ("x"):rep(3000000)
      assert.equal("OK", r:call("SET", "long", long))
      assert.equal(long, r:call("GET", "long"))
      for _, more in ipairs { { host = "localhost" }, { tls_name = "xmpp.test" } } do
        more.port, more.tls, more.ca_file = s.tls_port, true, s.ca
        assert.equal("PONG", assert(connect(more)):call "PING")
      end
    end)

    it("believes nobody else", function()
      assert.equal("certificate", fault {})
      assert.equal("certificate", fault { ca_file = s.ca, tls_name = "other.example" })
      assert.equal("certificate", fault { ca_file = s.ca, tls_name = "127.0.0.2" })
      assert.equal("tls", fault { ca_file = "/nonexistent" })
      assert.equal("tls", fault { ca_file = s.ca, cert = "/nonexistent" })
    end)

    it("hears from a server without TLS that it has none", function()
      local _, err = connect { port = s.port, tls = true, ca_file = s.ca, timeout = 5 }
      assert.is_truthy(err.condition == "tls" or err.condition == "cut" or err.condition == "timeout", tostring(err))
    end)
  end)

  it("logs in", function()
    local guarded = server.start { requirepass = "s3cret" }
    local port = guarded.port
    assert.equal("PONG", assert(connect { port = port, password = "s3cret" }):call "PING")
    local function secret() return "s3cret" end
    assert.equal("PONG", assert(connect { port = port, user = "default", password = secret }):call "PING")
    local _, err = connect { port = port, password = "wr0ng-word" }
    assert.equal("WRONGPASS", err.condition)
    assert.is_nil(tostring(err):find "wr0ng")
    _, err = connect { port = port }
    assert.equal("NOAUTH", err.condition)
    assert.has_error(function() connect { port = port, password = function() return 7 end } end)
    guarded:stop()
  end)
end)

describe("redis, where none is,", function()
  it("says so", function()
    local free = shell.free_port and shell.free_port() or 1
    local _, err = connect { port = free }
    assert.same({ "redis", "no-connection", true }, { err.layer, err.condition, err.retry })
    assert.equal("no-connection", select(2, connect { path = "/nonexistent/socket" }).condition)
    assert.equal("no-connection", select(2, connect { path = "/" .. ("x"):rep(200) }).condition)
    assert.equal("host-unknown", select(2, connect { host = "nosuch.invalid", timeout = 20 }).condition)
  end)

  it("takes no options but its own", function()
    local function why(o) return select(2, pcall(redis.connect, o)) end
    assert.matches("did you mean 'host'", why { hots = "x" })
    assert.matches("'port'.*1 to 65535", why { port = 0 })
    assert.matches("'path'.*leave one out", why { path = "/x", host = "y" })
    assert.matches("'tls'.*socket of this machine", why { path = "/x", tls = true })
    assert.matches("'ca_file'.*tls = true", why { ca_file = "/x" })
    assert.matches("'user'.*password", why { user = "x" })
    assert.matches("'password'.*string or function", why { password = 7 })
    assert.matches("'timeout'.*more than 0", why { timeout = 0 })
    assert.matches("'db'.*whole number", why { db = 1.5 })
    assert.matches("'max'", why { max = 10 })
    assert.matches("table expected", why(7))
  end)
end)

describe("redis, with a server that isn't one,", function()
  local function ask(port, o)
    local options = { port = port, timeout = 20 }
    for name, value in pairs(o or {}) do options[name] = value end
    local r = assert(connect(options))
    local value, err = r:call("GET", "x")
    return value, err, r
  end

  it("takes no nonsense", function()
    for _, bytes in ipairs(BAD) do
      local value, err, r = ask(peer(hex(bytes)))
      assert.is_nil(value)
      assert.equal("bad-reply", err.condition, ("%q"):format(bytes:sub(1, 40)))
      assert.equal("bad-reply", r:why().condition)
    end
  end)

  it("takes eight arrays inside each other", function()
    local value = ask(peer(hex(("*1\r\n"):rep(8) .. "+deep\r\n")))
    for _ = 1, 8 do value = value[1] end
    assert.equal("deep", value)
  end)

  it("takes no line that has no end", function()
    for _, bytes in ipairs(ENDLESS) do
      assert.equal("bad-reply", select(2, ask(peer(bytes, "+silent"))).condition)
    end
  end)

  it("takes no nonsense byte by byte", function()
    for _, bytes in ipairs(BAD) do
      assert.equal("bad-reply", select(2, ask(peer("drip:" .. hex(bytes)))).condition)
    end
  end)

  it("takes no more than is allowed", function()
    for _, bytes in ipairs(LARGE) do
      assert.equal("too-large", select(2, ask(peer(bytes, "+silent"), { max = 1000000 })).condition)
    end
    assert.equal(("a"):rep(1000), ask(peer(hex("$1000\r\n" .. ("a"):rep(1000) .. "\r\n")), { max = 1024 }))
    assert.equal("too-large", select(2, ask(peer("flood:" .. hex "$1000000\r\n"), { max = 4096 })).condition)
  end)

  it("takes nothing that nobody has asked for", function()
    local value, _, r = ask(peer(hex "+OK\r\n+MORE\r\n"))
    assert.equal("OK", value)
    while not r:why() do xmpp.step(1) end
    assert.equal("bad-reply", r:why().condition)
    value, _, r = ask(peer("flood:" .. hex "+OK\r\n"))
    assert.equal("OK", value)
    while not r:why() do xmpp.step(1) end
    assert.equal("bad-reply", r:why().condition)
  end)

  local WHOLE = "*4\r\n$5\r\n\0\r\nab\r\n:-12\r\n*2\r\n$-1\r\n*-1\r\n-ERR no\r\n"

  it("reads a reply in any cutting", function()
    assert.same({ "\0\r\nab", -12, { false, false }, { err = "ERR no" } }, ask(peer("drip:" .. hex(WHOLE))))
  end)

  it("notices an end anywhere", function()
    for n = 0, #WHOLE - 1 do
      local value, err = ask(peer(hex(WHOLE:sub(1, n)), n % 2 == 0 and "+close" or "+reset"))
      assert.is_nil(value)
      assert.equal("cut", err.condition, tostring(n))
    end
  end)

  it("is told what it says before it goes", function()
    local pipe, v = child.serve("redis_peer.py", { hex "-ERR max number of clients reached\r\n", "+close" })
    local _, err = connect { port = tonumber(v.PORT) }
    assert.matches("max number of clients", err.text)
    pipe:close()
  end)

  it("waits for it no longer than it is told to", function()
    assert.equal("timeout", select(2, ask(peer "silent", { timeout = 0.3 })).condition)
    local endless = peer(hex "$9223372036854775807\r\nabc", "+silent")
    assert.equal("timeout", select(2, ask(endless, { timeout = 0.5 })).condition)
  end)
end)
