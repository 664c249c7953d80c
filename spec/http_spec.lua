-- http: requests by libcurl on the library's loop, to a web server whose paths say what it does (spec/support/web.py):
-- which servers are trusted, what is sent, what is accepted, and how requests end.
local core = require "xmpp.core"
local http = require "xmpp.http"
local web = require "spec.support.web"
local xmpp = require "xmpp"

local SIZE = tonumber(os.getenv "HTTP_SIZE" or 20 * 1024 * 1024)

describe("http.request", function()
  local w

  setup(function() w = web.start() end)
  teardown(function() w:stop() end)

  -- Nothing of a request is left on the loop.
  after_each(function()
    collectgarbage()
    for _ = 1, 3 do xmpp.step(0) end
    assert.is_false(core.is_busy())
    assert.is_nil(core.shared.http)
  end)

  local function ask(path, o, certificate)
    local request = { url = w:url(path, certificate), ca_file = w.ca, resolve = "127.0.0.1" }
    for name, value in pairs(o or {}) do request[name] = value end
    return http.request(request)
  end

  -- The condition of the error, whose layer must be http.
  local function fault(path, o, certificate)
    local answer, err = ask(path, o, certificate)
    assert.is_nil(answer)
    assert.equal("http", err.layer)
    return err.condition, err
  end

  local function errors_in(f)
    local seen = {}
    local old = xmpp.on_error(function(text) seen[#seen + 1] = text end)
    f()
    for _ = 1, 5 do xmpp.step(0) end
    xmpp.on_error(old)
    return seen
  end

  describe("an answer", function()
    it("has status, headers and body", function()
      local answer = assert(ask "/hello")
      assert.same({ 200, "hello", "5", "one, two" },
        { answer.status, answer.body, answer.headers["content-length"], answer.headers["x-twice"] })
      assert.equal(404, ask "/nonexistent".status)
      w:seen() w:seen()
    end)

    it("to HEAD has no body", function()
      local answer = assert(ask("/hello", { method = "HEAD" }))
      assert.same({ 200, "" }, { answer.status, answer.body })
      w:seen()
    end)

    it("that redirects is returned, and not followed", function()
      local answer = assert(ask("/redirect?" .. w:url "/hello"))
      assert.same({ 302, w:url "/hello" }, { answer.status, answer.headers.location })
      answer = assert(ask("/redirect?" .. w:url "/there", { method = "PUT", body = "x" }))
      assert.equal(302, answer.status)
      assert.same({ "/redirect", "/redirect" }, { w:seen().path, w:seen().path })
    end)

    it("has a maximum size, 1 MiB or another", function()
      assert.equal("too-large", fault "/bytes?1048577")
      assert.equal(1048576, #ask "/bytes?1048576".body)
      assert.equal("too-large", fault("/bytes?11", { max = 10 }))
      assert.equal(10, #ask("/bytes?10", { max = 10 }).body)
      assert.equal("too-large", fault "/heads?100000")
      for _ = 1, 5 do w:seen() end
    end)

    it("that is incomplete is an error, wherever it breaks", function()
      for _, n in ipairs { 0, 1, 20, 38, 41, 60, 1000 } do
        local condition, err = fault("/cut-answer?" .. n)
        assert.equal("cut", condition)
        assert.is_true(err.retry)
        w:seen()
      end
    end)

    it("that doesn't come is waited for up to a limit", function()
      assert.equal("timeout", fault("/silent", { timeout = 0.3 }))
      assert.equal("timeout", fault("/silent", { timeout = 0 }))
      assert.equal("timeout", fault("/drip", { timeout = 1.5 }))
    end)
  end)

  describe("a request", function()
    it("has what it is given, and little else", function()
      local answer = assert(ask("/head", { headers = { Cookie = "a=b", ["X-Empty"] = "", ["X-Number"] = 7 } }))
      local lines = {}
      for line in answer.body:gmatch "[^\r\n]+" do lines[#lines + 1] = line end
      table.sort(lines)
      assert.same({ "Accept: */*", "Cookie: a=b", "GET /head HTTP/1.1", ("Host: files.xmpp.test:%d"):format(w.port),
        "X-Empty:", "X-Number: 7" }, lines)
      answer = assert(ask("/head", { method = "PUT", body = ("x"):rep(2000000) }))
      assert.matches("^PUT /head HTTP/1.1\r\n", answer.body)
      assert.matches("\r\nContent%-Length: 2000000\r?\n?", answer.body)
      assert.is_nil(answer.body:find "Expect")
      assert.is_nil(answer.body:find "Transfer%-Encoding")
      w:seen() w:seen()
    end)

    it("has a body that is a text", function()
      for _, body in ipairs { "", "x", ("abc"):rep(100000) } do
        assert.equal(201, ask("/put", { method = "PUT", body = body }).status)
        local seen = w:seen()
        assert.same({ "PUT", #body }, { seen.method, seen.bytes })
        local hex = core.hash("sha-256", body):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
        assert.equal(hex, seen.sha256)
      end
      assert.equal(200, ask("/hello", { body = "posted" }).status)
      local seen = w:seen()
      assert.same({ "POST", 6 }, { seen.method, seen.bytes })
    end)

    it("has a body that a function gives, which may wait", function()
      local n, said = 0, {}
      local answer = assert(ask("/put", { method = "PUT", size = 300000, body = function(most)
        assert.is_true(most >= 1)
        n = n + 1
        xmpp.sleep(0.01)
        return n <= 3 and ("%d"):format(n):rep(100000) or nil
      end, progress = function(sent, size) said[#said + 1] = { sent, size } end }))
      assert.equal(201, answer.status)
      assert.equal(300000, w:seen().bytes)
      assert.same({ 300000, 300000 }, said[#said])
      for i = 2, #said do assert.is_true(said[i][1] > said[i - 1][1]) end
      n = 0
      assert(ask("/put", { method = "PUT", body = function() -- of unknown size
        n = n + 1
        return n <= 3 and ("x"):rep(1000) or nil
      end }))
      assert.equal(3000, w:seen().bytes)
    end)

    it("has a body whose function may have nothing for a while", function()
      local n = 0
      assert.equal(201, ask("/put", { method = "PUT", size = 20, body = function()
        n = n + 1
        return n % 2 == 0 and ("x"):rep(5) or ""
      end }).status)
      assert.same({ 20, 8 }, { w:seen().bytes, n })
    end)

    it("sends no more than its size, and fails where there is less", function()
      local given
      assert.equal(201, ask("/put", { method = "PUT", size = 10, body = function()
        if given then return nil end
        given = true
        return ("x"):rep(20)
      end }).status)
      assert.equal(10, w:seen().bytes)
      local n = 0
      assert.equal("short-body", (fault("/put", { method = "PUT", size = 10, body = function()
        n = n + 1
        return n == 1 and "12345" or nil
      end })))
      assert.is_true(w:seen().bytes < 10)
    end)

    it("ends where the body's function throws, fails or gives something else", function()
      local seen = errors_in(function()
        assert.equal("bad-body", (fault("/put", { method = "PUT", size = 10, body = function() error "no body" end })))
      end)
      assert.equal(1, #seen)
      assert.matches("no body", seen[1])
      local condition, err = fault("/put", { method = "PUT", size = 10, body = function() return nil, "disk gone" end })
      assert.equal("bad-body", condition)
      assert.matches("disk gone", tostring(err))
      assert.equal("bad-body", (fault("/put", { method = "PUT", size = 10, body = function() return 7 end })))
      for _ = 1, 3 do w:seen() end
    end)

    it("is cut wherever it breaks", function()
      for _, n in ipairs { 0, 1, 1000, 100000, 1000000 } do
        assert.equal("cut", (fault("/cut?" .. n, { method = "PUT", body = ("x"):rep(4000000) })))
        assert.equal(n, w:seen().bytes)
      end
    end)

    it("may be answered before all of it is sent", function()
      assert.equal(413, ask("/early?413", { method = "PUT", body = ("x"):rep(10000000) }).status)
      w:seen()
    end)

    it("runs in parallel with others", function()
      local promises = {}
      for i = 1, 20 do
        promises[i] = xmpp.spawn(ask, "/put" .. i, { method = "PUT", body = ("x"):rep(i * 10000) })
      end
      for i = 1, 20 do assert.equal(201, promises[i]:wait().status) end
      local bytes = 0
      for _ = 1, 20 do bytes = bytes + w:seen().bytes end
      assert.equal(2100000, bytes)
    end)
  end)

  describe("progress", function()
    it("that throws is reported once, and the request goes on", function()
      local calls = 0
      local seen = errors_in(function()
        assert.equal(201, ask("/put", { method = "PUT", body = ("x"):rep(3000000), progress = function()
          calls = calls + 1
          error "no bar"
        end }).status)
      end)
      assert.same({ 1, 1 }, { calls, #seen })
      assert.matches("progress.*no bar", seen[1])
      w:seen()
    end)

    it("that waits is called again when it is done", function()
      local at, most = 0, 0
      assert.equal(201, ask("/put", { method = "PUT", body = ("x"):rep(3000000), progress = function()
        at = at + 1
        most = math.max(most, at)
        xmpp.sleep(0.001)
        at = at - 1
      end }).status)
      assert.equal(1, most)
      xmpp.sleep(0.02)
      w:seen()
    end)

    it("that returns false cancels", function()
      local condition = fault("/put", { method = "PUT", body = ("x"):rep(30000000), progress = function(sent)
        return sent < 100000
      end })
      assert.equal("cancelled", condition)
      assert.is_true(w:seen().bytes < 30000000)
    end)

    it("may make a request itself", function()
      local inner
      assert.equal(201, ask("/put", { method = "PUT", body = ("x"):rep(300000), progress = function()
        if not inner then inner = xmpp.spawn(ask, "/hello") end
      end }).status)
      assert.equal("hello", inner:wait().body)
      w:seen() w:seen()
    end)
  end)

  describe("an end from outside", function()
    it("may be by a promise of the program", function()
      local cancel = xmpp.promise()
      xmpp.after(0.05, function() cancel:resolve(true) end)
      assert.equal("cancelled", (fault("/silent", { cancel = cancel })))
    end)

    it("may be the end of the coroutine that waits", function()
      local close = rawget(coroutine, "close")
      if not close then return end
      local co = coroutine.create(function() ask "/silent" end)
      coroutine.resume(co)
      xmpp.sleep(0.05)
      assert.is_table(core.shared.http)
      assert.is_true(close(co))
    end)

    it("doesn't affect other requests", function()
      local cancel = xmpp.promise()
      local one = xmpp.spawn(ask, "/silent", { cancel = cancel })
      local other = xmpp.spawn(ask, "/slow?100000", { method = "PUT", body = ("x"):rep(20000) })
      xmpp.sleep(0.1)
      cancel:resolve(true)
      assert.equal("cancelled", select(2, one:wait()).condition)
      assert.equal(201, other:wait().status)
      assert.equal(20000, w:seen().bytes)
    end)
  end)

  describe("the server", function()
    for _, name in ipairs { "wrongname", "expired", "selfsigned", "wrongca", "nosan" } do
      it("whose certificate is " .. name .. " is not believed", function()
        local condition, err = fault("/put", { method = "PUT", body = "secret" }, name)
        assert.same({ "certificate", false }, { condition, err.retry })
      end)
    end

    it("that has a wrong certificate gets nothing of the request", function()
      fault("/put", { method = "PUT", body = "secret" }, "nosan")
      assert.equal(200, ask "/hello".status)
      assert.equal("/hello", w:seen().path) -- the first one that arrived
    end)

    it("is not checked if that is switched off", function()
      for _, name in ipairs { "wrongname", "expired", "selfsigned", "wrongca", "nosan" } do
        assert.equal(200, ask("/hello", { insecure = true }, name).status)
        w:seen()
      end
    end)

    it("must have the pinned key", function()
      assert.equal(200, ask("/hello", { pin = w.pin }).status)
      w:seen()
      assert.equal("certificate", (fault("/hello", { pin = ("A"):rep(43) .. "=" })))
    end)

    it("must be of the CA that is named", function()
      assert.equal("certificate", (fault("/hello", { ca_file = w.certs .. "/otherca.crt" })))
      assert.equal("ca-file", (fault("/hello", { ca_file = "/nonexistent/ca.pem" })))
      local condition = fault("/hello", { ca_file = w.certs .. "/otherca.crt", ca_dir = nil })
      assert.equal("certificate", condition)
    end)

    it("is used by https, by http only if that is asked for", function()
      assert.equal("bad-url", (fault("/hello", {}, "plain")))
      assert.equal(200, ask("/hello", { http = true }, "plain").status)
      w:seen()
    end)

    it("must have a public address if that is asked for, checked when it is dialled", function()
      assert.equal("forbidden-address", (fault("/hello", { public = true })))
      for _, host in ipairs { "localhost", "127.0.0.1", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1" } do
        local answer, err = http.request { url = w:url("/hello", "rsa", host), public = true, ca_file = w.ca }
        assert.same({ nil, "forbidden-address" }, { answer, err.condition }, host)
      end
      assert.equal(200, ask("/hello", { public = true, but = "127.0.0.1" }).status)
      assert.equal(200, ask("/hello", { public = true, but = "::1" }).status) -- loopback counts as one machine
      w:seen() w:seen()
      assert.equal("forbidden-address", (fault("/hello", { public = true, but = "192.0.2.1" })))
    end)

    -- None of these is dialled. On a machine without IPv6, libcurl doesn't resolve such addresses.
    for _, host in ipairs { "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.255.255.255",
      "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.168.0.1", "198.18.0.1", "198.19.255.255",
      "224.0.0.1", "255.255.255.255", "[::]", "[fe80::1]", "[fd00::1]", "[fec0::1]", "[ff02::1]", "[::ffff:127.0.0.1]",
      "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::1]", "[2001:0:1::1]",
      "[2001:db8::1]" } do
      it("is not dialled at " .. host .. " if a public address is required", function()
        local answer, err = http.request { url = "https://" .. host .. ":1/", public = true, timeout = 5 }
        local none = host:find "^%[" and err.condition == "host-unknown"
        assert.same({ nil, none and "host-unknown" or "forbidden-address" }, { answer, err.condition })
      end)
    end

    it("is reached by a proxy, which only learns its name", function()
      local proxy = "http://127.0.0.1:" .. w.ports.proxy
      local function ask_by(url, o)
        local request = { url = url, ca_file = w.ca, proxy = proxy }
        for name, value in pairs(o or {}) do request[name] = value end
        return http.request(request)
      end
      local answer = assert(ask_by(w:url "/head"))
      assert.equal(200, answer.status)
      local seen = w:seen()
      assert.same({ "CONNECT", "files.xmpp.test:" .. w.port }, { seen.method, seen.path })
      assert.equal("/head", w:seen().path)
      local _, err = ask_by(w:url("/hello", "wrongname"))
      assert.equal("certificate", err.condition)
      w:seen()
      assert.equal(200, ask_by(w:url "/hello", { public = true }).status) -- the proxy's address may be private
      w:seen() w:seen()
      for _, host in ipairs { "127.0.0.1", "localhost", "10.0.0.1", "[::1]", "2130706433" } do
        answer, err = ask_by(("https://%s:%d/hello"):format(host, w.port), { public = true })
        assert.same({ nil, "forbidden-address" }, { answer, err.condition }, host)
      end
      assert.equal(200, ask_by(w:url("/hello", "rsa", "127.0.0.1"), { public = true, but = "127.0.0.1" }).status)
      w:seen() w:seen()
    end)

    it("that isn't there is reported", function()
      local function condition(url) return select(2, http.request { url = url }).condition end
      assert.equal("host-unknown", condition "https://nonexistent.invalid/")
      assert.equal("no-connection", condition "https://127.0.0.1:1/")
    end)
  end)

  describe("a URL", function()
    for _, url in ipairs { "", "/x", "files.xmpp.test", "ftp://127.0.0.1/x", "file:///etc/passwd", "https://",
      "https://a:b@127.0.0.1/", "https://a@127.0.0.1/", "gopher://127.0.0.1/", "https://127.0.0.1:99999/" } do
      it(("like '%s' is refused"):format(url), function()
        local answer, err = http.request { url = url, http = true }
        assert.same({ nil, "http", "bad-url" }, { answer, err.layer, err.condition })
      end)
    end
  end)

  it("raises a caller's mistake at the caller's line", function()
    local function said(o)
      local ok, why = pcall(function() return (http.request(o)) end)
      assert.is_false(ok)
      assert.matches("http_spec.lua", why)
      return why
    end
    assert.matches("no option 'urls'", said { urls = "x" })
    assert.matches("'url' of 'request' %(string expected, got nil", said {})
    assert.matches("ASCII", said { url = "https://x/a b" })
    assert.matches("ASCII", said { url = "https://x/\r\nHost: y" })
    assert.matches("'method'", said { url = "https://x/", method = "GET / HTTP/1.1\r\nX: y" })
    assert.matches("'headers'.*names", said { url = "https://x/", headers = { ["A\nB"] = "x" } })
    assert.matches("'headers'.*a line", said { url = "https://x/", headers = { A = "x\r\nHost: y" } })
    assert.matches("'headers'.*content%-length", said { url = "https://x/", headers = { ["Content-Length"] = 7 } })
    assert.matches("'body'", said { url = "https://x/", body = 7 })
    assert.matches("'timeout'", said { url = "https://x/", timeout = -1 })
    assert.matches("'cancel'", said { url = "https://x/", cancel = {} })
    assert.matches("'proxy'", said { url = "https://x/", proxy = 7 })
  end)

  it("can't wait in what can't yield in a step, and says so", function()
    local why
    xmpp.spawn(function()
      table.sort({ 1, 2 }, function(a, b)
        why = why or select(2, pcall(ask, "/hello"))
        return a < b
      end)
    end):wait()
    assert.matches("can't wait here", why)
  end)

  -- The process's resident memory, in KiB.
  local function resident()
    local file = io.open "/proc/self/status"
    if not file then return 0 end
    local text = file:read "*a"
    file:close()
    return tonumber(text:match "VmRSS:%s+(%d+)")
  end

  it(("sends %d MiB with flat memory"):format(SIZE / 1048576), function()
    if os.getenv "PRELOAD" or (os.getenv "WRAP" or ""):find "valgrind" then return end
    local piece, left = ("x"):rep(65536), SIZE
    local before, most = nil, 0
    local answer = assert(ask("/put", { method = "PUT", size = SIZE, timeout = 600, body = function()
      if left == 0 then return nil end
      left = left - #piece
      if left < SIZE / 2 and left % (SIZE / 8) == 0 then
        collectgarbage()
        before = before or resident()
        most = math.max(most, resident())
      end
      return piece
    end }))
    assert.equal(201, answer.status)
    assert.equal(SIZE, w:seen().bytes)
    assert.is_true(most - before < 4096, ("%d KiB more"):format(most - before))
  end)
end)

describe("the proxy of the environment", function()
  local proxies = require "xmpp.proxy"

  local function find(scheme, host, environment)
    return proxies.find(scheme, host, function(name) return environment[name] end)
  end

  it("is as in libcurl", function()
    assert.equal("http://p:1", find("https", "a.example", { https_proxy = "http://p:1" }))
    assert.equal("http://p:1", find("https", "a.example", { HTTPS_PROXY = "http://p:1" }))
    assert.equal("http://p:2", find("https", "a.example", { ALL_PROXY = "http://p:2", http_proxy = "http://p:1" }))
    assert.equal("http://p:1", find("http", "a.example", { http_proxy = "http://p:1" }))
    assert.is_nil(find("http", "a.example", { HTTP_PROXY = "http://p:1" })) -- in CGI this is a request's header
    assert.is_nil(find("https", "a.example", { https_proxy = "" }))
    assert.is_nil(find("https", "a.example", {}))
  end)

  it("excludes what no_proxy names", function()
    local function spared(host, list) return find("https", host, { https_proxy = "p", no_proxy = list }) == nil end
    assert.is_true(spared("a.example", "*"))
    assert.is_true(spared("A.example.", "b, a.example"))
    assert.is_true(spared("x.a.example", ".a.example"))
    assert.is_true(spared("x.a.example", "a.example"))
    assert.is_false(spared("xa.example", "a.example"))
    assert.is_true(spared("::1", "[::1]"))
    assert.is_false(spared("a.example", "b.example"))
  end)
end)

describe("a proxy's URL", function()
  local proxies = require "xmpp.proxy"

  it("has its kind, its address, and user and password", function()
    assert.same({ kind = "socks5", resolves = false, host = "127.0.0.1", port = 1080,
      name = "socks5://127.0.0.1:1080" }, proxies.parse "socks5://127.0.0.1")
    assert.same({ kind = "socks5", resolves = true, host = "p.example", port = 9050, user = "a:b", password = "c@%d:",
      name = "socks5h://p.example:9050" }, proxies.parse "Socks5h://a%3Ab:c%40%25d:@p.example:9050/")
    assert.same({ kind = "http", resolves = false, host = "::1", port = 3128, user = "J\195\188rg", password = "",
      name = "http://[::1]:3128" }, proxies.parse "http://J%C3%BCrg@[::1]:3128")
    assert.equal("xn--bcher-kva.example", proxies.parse "http://b\195\188cher.example:1".host)
    assert.equal("fe80::1%eth0", proxies.parse "http://[fe80::1%25eth0]:1".host)
  end)

  it("is used by libcurl for HTTP as well, which leaves names to the proxy", function()
    for url, theirs in pairs {
      ["socks5://h"] = "socks5h://h:1080", ["socks5h://h:1"] = "socks5h://h:1", ["http://h:1/"] = "http://h:1",
      ["socks5://a%3Ab:c%40%20d@[::1]"] = "socks5h://a%3Ab:c%40%20d@[::1]:1080", ["http://u@h:1"] = "http://u:@h:1",
    } do
      assert.equal(theirs, proxies.url(assert(proxies.parse(url))))
    end
  end)

  it("is the environment's for a connection, if that is asked for", function()
    local function of(environment, host)
      local via, why = proxies.of_environment(host or "xmpp.test", function(name) return environment[name] end)
      return via and via.name, why
    end
    assert.same({}, { of {} })
    assert.equal("socks5://a:1080", of { all_proxy = "socks5://a", ALL_PROXY = "socks5://b", https_proxy = "c:1" })
    assert.equal("socks5://b:1080", of { ALL_PROXY = "socks5://b", https_proxy = "http://c:1" })
    assert.equal("http://c:1", of { https_proxy = "http://c:1", HTTPS_PROXY = "http://d:1" })
    assert.equal("http://d:1", of { HTTPS_PROXY = "http://d:1/" })
    assert.equal("http://d:1", of { HTTPS_PROXY = "d:1" })
    assert.is_nil(of { http_proxy = "http://c:1", HTTP_PROXY = "http://c:1" })
    assert.is_nil(of({ ALL_PROXY = "http://c:1", no_proxy = "localhost, .test" }))
    assert.equal("http://c:1", of({ ALL_PROXY = "http://c:1", NO_PROXY = "xmpp.test" }, "other.test"))
    assert.same({ nil, "ALL_PROXY in the environment: a URL expected that begins with socks5://, socks5h:// or "
      .. "http://" }, { of { ALL_PROXY = "socks4://u:secret@a" } })
    assert.is_nil(proxies.of_environment("xmpp.test", nil))
  end)
end)

describe("without http.so", function()
  it("the error says what to install", function()
    local shell = require "spec.support.shell"
    local text = shell.run(([[LD_PRELOAD='%s' LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='/nonexistent/?.so' %s -e '
      package.preload["xmpp.core"] = package.loadlib("%s/xmpp/core.so", "luaopen_xmpp_core")
      local http = require "xmpp.http"
      print(http.available())
      print(http.request { url = "https://127.0.0.1/" })']]):format(os.getenv "PRELOAD" or "",
      os.getenv "LUA" or "lua5.4", os.getenv "SO_DIR" or "lua"))
    local lines = {}
    for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
    for i = 1, 2 do
      assert.matches("^nil%s+http: no%-http: no xmpp/http.so: it is built where libcurl is %(apt%-get install "
        .. "libcurl4%-openssl%-dev, dnf install libcurl%-devel, brew install curl", lines[i])
    end
  end)
end)
