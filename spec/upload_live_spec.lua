-- upload on real servers, old and new, with their own web servers: what is uploaded can be downloaded by others, byte
-- for byte; what is cut, closed or too large is a failure with a reason.
local chat = require "xmpp.chat"
local core = require "xmpp.core"
local hostmeta = require "xmpp.hostmeta"
local http = require "xmpp.http"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local upload = require "xmpp.upload"
local web = require "spec.support.web"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }
local LARGE = tonumber(os.getenv "HTTP_SIZE" or 8 * 1024 * 1024)

server.each(function(s)
  local conns

  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
    assert.is_nil(core.shared.http)
  end)

  local function login(name, extra)
    local opts = { resource = "r", reconnect = { min = 0.05, max = 0.2 } }
    for key, value in pairs(extra or {}) do opts[key] = value end
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, s.opts(opts)))
    conns[#conns + 1] = conn
    return conn
  end

  local function put(conn, what, opts)
    local o = { resolve = s.host }
    for key, value in pairs(opts or {}) do o[key] = value end
    return upload.file(conn, what, o)
  end

  local function get(url, opts)
    local o = { url = url, ca_file = s.ca, resolve = s.host, max = 2 * LARGE }
    for key, value in pairs(opts or {}) do o[key] = value end
    return http.request(o)
  end

  it("knows its server's address", function()
    assert.equal("127.0.0.1", login "alice":info().address)
  end)

  it("finds the service and its bound", function()
    local service = assert(upload.service(login "alice"))
    assert.same({ jid = "upload." .. s.domain, max = 1000000000 }, service)
  end)

  it("puts a file, and another fetches it by the link in a message", function()
    local alice, bob = login "alice", login "bob"
    local bytes = {}
    for i = 1, 100000 do bytes[i] = string.char((i * 7 + i % 251) % 256) end
    bytes = table.concat(bytes)
    local said = {}
    local url = assert(put(alice, { name = "bytes.png", data = bytes }, { progress = function(sent)
      said[#said + 1] = sent
    end }))
    assert.matches("^https://upload%.xmpp%.test:" .. s.http_port .. "/.*%.png$", url)
    assert.is_nil(url:find "bytes%.png")
    assert.equal(#bytes, said[#said])
    local came = xmpp.promise()
    chat.use(bob):on("message", function(m) came:resolve(m) end)
    assert(require "xmpp.presence".set(bob, {}))
    assert(chat.use(alice):send("bob@" .. s.domain, { text = url, url = url }))
    local m = assert(came:wait(10))
    assert.equal(url, m.url)
    local answer = assert(get(m.url))
    assert.equal(200, answer.status)
    assert.is_true(answer.body == bytes)
    assert.equal("image/png", answer.headers["content-type"]:match "^[^;]*")
  end)

  it("keeps the name with random_name = false", function()
    local url = assert(put(login "alice", { name = "the report (final).txt", data = "x" }, { random_name = false }))
    assert.matches("/the[^/]+report[^/]+final[^/]*%.txt$", url) -- a service may change the name
    assert.equal("x", get(url).body)
  end)

  it("puts an empty file, or gets the service's refusal", function()
    local url, err = put(login "alice", { name = "empty.txt", data = "" })
    if url then return assert.equal("", get(url).body) end
    assert.same({ "stanza", "bad-request" }, { err.layer, err.condition })
  end)

  it("doesn't request a slot for a file that is too large, or gets the refusal", function()
    local conn = login "alice"
    local function read() error "it isn't read" end
    local _, err = put(conn, { name = "x.bin", size = 1000000001, read = read })
    assert.same({ "stanza", "file-too-large", 1000000000 }, { err.layer, err.app, err.max })
    _, err = put(conn, { name = "x.bin", size = 1000000001, read = read }, { service = "upload." .. s.domain })
    assert.same({ "stanza", "file-too-large" }, { err.layer, err.app })
    assert.equal(1000000000, err.max)
  end)

  it("refuses a private address that isn't the XMPP server's", function()
    local conn = login "alice"
    local asked
    local function elsewhere(request) -- as if the XMPP server were at another address
      asked, request.but = request.but, "192.0.2.1"
      return http.request(request)
    end
    local url, err = put(conn, { name = "x.txt", data = "secret" }, { http = elsewhere })
    assert.same({ nil, "http", "forbidden-address" }, { url, err.layer, err.condition })
    assert.equal("127.0.0.1", asked)
  end)

  it("checks the web server by the connection's CA", function()
    local conn = login "alice"
    core.conn.about(conn).trust.ca_file = s.certs .. "/otherca.crt"
    local url, err = put(conn, { name = "x.txt", data = "secret" })
    assert.same({ nil, "http", "certificate" }, { url, err.layer, err.condition })
  end)

  it("fails for a file that is shorter than its size", function()
    local n = 0
    local url, err = put(login "alice", { name = "x.txt", size = 200000, read = function()
      n = n + 1
      return n == 1 and ("x"):rep(100000) or nil
    end })
    assert.same({ nil, "http", "short-body" }, { url, err.layer, err.condition })
  end)

  it("continues with the file while the stream reconnects", function()
    local conn, cut = login "alice", false
    local url = assert(put(conn, { name = "x.bin", size = 1000000, read = function()
      if not cut then
        cut = true
        core.conn.cut(conn)
      end
      xmpp.sleep(0.05)
      return ("x"):rep(100000)
    end }))
    assert.equal(1000000, #get(url).body)
  end)

  it("fails if the connection is closed, at each step", function()
    local closed_at = {}
    for step = 0, 3 do
      local conn = login "alice"
      if step == 0 then conn:stop() end
      if step == 1 then xmpp.after(0, function() conn:stop() end) end
      local url, err = put(conn, { name = "x.bin", size = 2000000, read = function()
        if step == 2 then xmpp.spawn(conn.stop, conn) end
        xmpp.sleep(0.02)
        return ("x"):rep(100000)
      end }, { progress = function(sent)
        if step == 3 and sent > 500000 then xmpp.spawn(conn.stop, conn) end
      end })
      assert.is_nil(url)
      closed_at[#closed_at + 1] = err.layer
    end
    assert.same({ "closed", "closed", "closed", "closed" }, closed_at)
  end)

  it("can be cancelled by progress, and by a promise", function()
    local conn = login "alice"
    local url, err = put(conn, { name = "x.bin", data = ("x"):rep(5000000) }, { progress = function()
      return false
    end })
    assert.same({ nil, "cancelled" }, { url, err.condition })
    local cancel = xmpp.promise()
    url, err = put(conn, { name = "x.bin", size = 2000000, read = function()
      cancel:resolve(true)
      xmpp.sleep(0.05)
      return ("x"):rep(100000)
    end }, { cancel = cancel })
    assert.same({ nil, "cancelled" }, { url, err.condition })
    assert.is_string((put(conn, { name = "x.txt", data = "x" })))
  end)

  it(("puts %d MiB from the disk with flat memory"):format(LARGE / 1048576), function()
    if os.getenv "PRELOAD" then return end
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "wb"))
    for _ = 1, LARGE / 65536 do file:write(("0123456789abcdef"):rep(4096)) end
    file:close()
    local function resident()
      local status = io.open "/proc/self/status"
      if not status then return 0 end
      local text = status:read "*a"
      status:close()
      return tonumber(text:match "VmRSS:%s+(%d+)")
    end
    local before, most = nil, 0
    local conn = login "alice"
    local url = assert(put(conn, path, { progress = function(sent)
      if sent < LARGE / 4 then return end
      before = before or resident()
      most = math.max(most, resident())
    end }))
    assert.is_true(most - before < 4096, ("%d KiB more"):format(most - before))
    assert.equal("" .. LARGE, get(url, { method = "HEAD" }).headers["content-length"])
  end)

  it("fails with a reason wherever the web server cuts it, and the next one succeeds", function()
    local conn, w = login "alice", web.start()
    finally(function() w:stop() end)
    local function put_to(path, certificate)
      return put(conn, { name = "x.bin", data = ("x"):rep(3000000) }, { stall = 1, http = function(request)
        request.url, request.ca_file = w:url(path, certificate), w.ca
        return http.request(request)
      end })
    end
    for _, row in ipairs { { "/cut?0", "cut" }, { "/cut?1", "cut" }, { "/cut?1500000", "cut" },
      { "/cut?2999999", "cut" }, { "/cut-answer?0", "cut" }, { "/cut-answer?20", "cut" }, { "/cut-answer?37", "cut" },
      { "/silent", "timeout" }, { "/early?413", "refused" }, { "/status?500", "refused" }, { "/status?200", "refused" },
      { "/redirect?" .. w:url "/put", "refused" }, { "/put", "certificate", "expired" } } do
      local url, err = put_to(row[1], row[3])
      assert.same({ nil, "http", row[2] }, { url, err.layer, err.condition }, row[1])
    end
    assert.is_string((put_to "/put"))
    assert.is_string((put(conn, { name = "x.txt", data = "x" })))
  end)

  it("works by the command", function()
    local bob, path = login "bob", shell.file "by the command"
    assert(require "xmpp.presence".set(bob, {}))
    local text, status = shell.run(shell.HERE .. ("XMPP_PASSWORD=%s HOME=/dev/null %s bin/xmpp upload -a alice@%s "
      .. "--host %s --port %d --ca-file %s --resolve %s --to bob@%s %s"):format(s.users.alice,
      os.getenv "LUA" or "lua5.4", s.domain, s.host, s.port, s.ca, s.host, s.domain, path))
    os.remove(path)
    assert.equal(0, status, text)
    local url = text:match "^(https://%S+)\n$"
    assert.is_string(url, text)
    assert.equal("by the command", get(url).body)
    local m
    repeat m = assert(bob:receive_blocking(10)) until m[1] == "message"
    assert.equal(url, xmpp.xexpr.text(m, "body"))
  end)

  it("gets an error for a host-meta that isn't there", function()
    local found, err = hostmeta.fetch(s.domain, { resolve = s.host, port = s.http_port, ca_file = s.ca,
      format = "xml" })
    assert.same({ nil, "http", "refused" }, { found, err.layer, err.condition })
  end)
end, { upload = "yes" }, SERVERS)
