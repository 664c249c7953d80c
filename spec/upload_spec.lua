-- upload: files by HTTP (XEP-0363), with a service in the test: what is asked for, what is believed, what is sent, and
-- each way in which a service could mislead us. http_spec tests HTTP itself.
local core = require "xmpp.core"
local testing = require "xmpp.testing"
local upload = require "xmpp.upload"
local xmpp = require "xmpp"

local NS = "urn:xmpp:http:upload:0"
local INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"

describe("upload", function()
  local path

  local function file_of(bytes, ending)
    path = os.tmpname() .. (ending or "")
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
    return path
  end

  after_each(function()
    if path then os.remove(path) end
    path = nil
  end)

  local function header(name, value) return { "header", { xmlns = NS, name = name }, value } end

  -- The results of upload.file when f changes the slot.
  local function with_slot(t, u, f, opts)
    u:slot(f)
    return upload.file(t.conn, { name = "a.txt", data = "hello" }, opts)
  end

  describe("the service", function()
    it("is looked for once a session, with its maximum size", testing.around(function(t)
      t:upload { max = 5242880 }
      local service = assert(upload.service(t.conn))
      assert.same({ jid = "example.net", max = 5242880 }, service)
      assert.equal(service, upload.service(t.conn))
      t:reconnect { new = true }
      assert.same(service, upload.service(t.conn))
      assert.are_not.equal(service, upload.service(t.conn))
    end))

    it("is found among the server's items, by its feature", testing.around(function(t)
      t:on({ "iq", { to = "example.net" }, { "query", { xmlns = ITEMS } } }, function()
        return { "query", { xmlns = ITEMS }, { "item", { jid = "files.example.net" } } }
      end)
      t:on({ "iq", { to = "files.example.net" }, { "query", { xmlns = INFO } } }, function()
        return { "query", { xmlns = INFO }, { "identity", { category = "store", type = "file" } },
          { "feature", { var = NS } } }
      end)
      assert.same({ jid = "files.example.net" }, (upload.service(t.conn)))
    end))

    it("that doesn't exist is an error", testing.around(function(t)
      local service, err = upload.service(t.conn)
      assert.same({ nil, "item-not-found" }, { service, err.condition })
      assert.equal("item-not-found", select(2, upload.file(t.conn, { name = "a", data = "x" })).condition)
    end))

    for _, size in ipairs { "", "-1", "1e9", "many", "99999999999999999999" } do
      it(("with a maximum size of '%s' has none"):format(size), testing.around(function(t)
        local u = t:upload { max = 1 }
        u.max = nil
        t:on({ "iq", { to = "example.net" }, { "query", { xmlns = INFO } } }, function()
          return { "query", { xmlns = INFO }, { "identity", { category = "server", type = "im" } },
            { "feature", { var = NS } }, { "x", { xmlns = "jabber:x:data", type = "result" },
              { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, NS } },
              { "field", { var = "max-file-size" }, { "value", {}, size } } } }
        end)
        assert.same({ jid = "example.net" }, (upload.service(t.conn)))
      end))
    end
  end)

  describe("a file", function()
    it("is put, and its GET URL is returned", testing.around(function(t)
      local u = t:upload { max = 1000 }
      local said = {}
      u:slot(function(slot) slot[4][2].url = "https://other.example/got/it" end)
      local url = assert(upload.file(t.conn, file_of(("x"):rep(999), ".png"), { progress = function(sent, size)
        said[#said + 1] = ("%.0f/%.0f"):format(sent, size)
      end }))
      assert.equal("https://other.example/got/it", url)
      assert.equal(("x"):rep(999), u.files[1].data)
      assert.same({ 999, "image/png" }, { u.files[1].size, u.files[1].type })
      assert.same({ ["Content-Type"] = "image/png" }, u.files[1].headers)
      assert.same({ "999/999" }, said)
    end))

    it("has a random name with its ending, or its own with random_name = false", testing.around(function(t)
      local u = t:upload()
      local function name_of(name, opts)
        assert(upload.file(t.conn, { name = name, data = "x" }, opts))
        return u.files[#u.files].name
      end
      assert.matches("^[%w_-]+%.JPG$", name_of "my holidays.JPG")
      assert.matches("^[%w_-]+%.tar%.gz$", name_of "backup.tar.gz")
      assert.matches("^[%w_-]+$", name_of "secret")
      assert.matches("^[%w_-]+$", name_of ".profile")
      assert.matches("^[%w_-]+$", name_of "what.is this thing")
      assert.is_nil(name_of "my holidays.JPG":find "holidays")
      assert.equal("my holidays.JPG", name_of("my holidays.JPG", { random_name = false }))
    end))

    it("has the type by its name, or a given one", testing.around(function(t)
      local u = t:upload()
      local function type_of(file, opts)
        assert(upload.file(t.conn, file, opts))
        return u.files[#u.files].headers["Content-Type"]
      end
      assert.equal("application/pdf", type_of { name = "a.PDF", data = "x" })
      assert.equal("application/octet-stream", type_of { name = "a.unheard", data = "x" })
      assert.equal("application/octet-stream", type_of { name = "pdf", data = "x" })
      assert.equal("text/x-lua", type_of { name = "a.pdf", data = "x", type = "text/x-lua" })
      assert.equal("image/x", type_of({ name = "a.pdf", data = "x", type = "text/x-lua" }, { type = "image/x" }))
    end))

    it("may be read by a function, which may wait; at most its size is sent", testing.around(function(t)
      local u, n = t:upload(), 0
      assert(upload.file(t.conn, { name = "a", size = 25, read = function(most)
        assert.is_true(most > 0)
        xmpp.sleep(1)
        n = n + 1
        return ("%d"):format(n):rep(10)
      end }))
      assert.equal("1111111111222222222233333", u.files[1].data)
      assert.equal(3, n)
    end))

    it("that is shorter than its size is a failure", testing.around(function(t)
      t:upload()
      local n = 0
      local url, err = upload.file(t.conn, { name = "a", size = 25, read = function()
        n = n + 1
        return n < 3 and ("x"):rep(10) or nil
      end })
      assert.same({ nil, "http", "short-body" }, { url, err.layer, err.condition })
    end))

    it("that can't be read is a failure with the reason", testing.around(function(t)
      t:upload()
      local function read() return nil, "the disk is gone" end
      local _, err = upload.file(t.conn, { name = "a", size = 25, read = read })
      assert.matches("the disk is gone", tostring(err))
    end))

    it("that is empty can be put", testing.around(function(t)
      local u = t:upload()
      assert(upload.file(t.conn, file_of ""))
      assert.same({ "", 0 }, { u.files[1].data, u.files[1].size })
    end))

    it("that doesn't exist, or is a folder, fails before anything is sent", testing.around(function(t)
      t:upload()
      for _, name in ipairs { "/nonexistent/file", "/tmp" } do
        local url, err = upload.file(t.conn, name)
        assert.same({ nil, "http", "bad-file" }, { url, err.layer, err.condition })
      end
      t:nothing()
    end))

    it("that is too large for the service fails before a slot is requested", testing.around(function(t)
      t:upload { max = 10 }
      local asked = 0
      local off = t:on({ "iq", {}, { "request", { xmlns = NS } } }, function()
        asked = asked + 1
        return nil, "cancel", "not-allowed"
      end)
      local url, err = upload.file(t.conn, { name = "a", data = ("x"):rep(11) })
      assert.same({ nil, "stanza", "file-too-large", 10, false }, { url, err.layer, err.app, err.max, err.retry })
      assert.equal(0, asked)
      off()
      assert(upload.file(t.conn, { name = "a", data = ("x"):rep(10) }))
    end))
  end)

  describe("a refusal", function()
    it("of a size has the maximum (XEP-0363 6)", testing.around(function(t)
      local u = t:upload()
      u:refuse("modify", "not-acceptable", { "file-too-large", { xmlns = NS }, { "max-file-size", {}, "20000" } })
      local _, err = upload.file(t.conn, { name = "a", data = "x" })
      assert.same({ "stanza", "not-acceptable", "file-too-large", 20000 },
        { err.layer, err.condition, err.app, err.max })
    end))

    it("for now has the time to try again (XEP-0363 6)", testing.around(function(t)
      local u = t:upload()
      u:refuse("wait", "resource-constraint", { "retry", { xmlns = NS, stamp = "2017-12-03T23:42:05Z" } })
      local _, err = upload.file(t.conn, { name = "a", data = "x" })
      assert.same({ "resource-constraint", "retry", 1512344525, true },
        { err.condition, err.app, err.after, err.retry })
    end))

    it("forever has no retry", testing.around(function(t)
      local u = t:upload()
      u:refuse("cancel", "not-allowed")
      local _, err = upload.file(t.conn, { name = "a", data = "x" })
      assert.same({ "stanza", "not-allowed", false }, { err.layer, err.condition, err.retry })
    end))

    it("isn't read from an element of another namespace", testing.around(function(t)
      local u = t:upload()
      u:refuse("cancel", "not-allowed", { "file-too-large", { xmlns = "urn:x" }, { "max-file-size", {}, "7" } })
      local _, err = upload.file(t.conn, { name = "a", data = "x" })
      assert.is_nil(err.max)
    end))

    it("by HTTP is any status but 201", testing.around(function(t)
      local u = t:upload()
      for _, status in ipairs { 200, 204, 301, 302, 307, 403, 413 } do
        u:answer(status)
        local url, err = upload.file(t.conn, { name = "a", data = "x" })
        assert.same({ nil, "http", "refused", status, false }, { url, err.layer, err.condition, err.status, err.retry })
      end
      u:answer(503)
      assert.is_true(select(2, upload.file(t.conn, { name = "a", data = "x" })).retry)
    end))
  end)

  describe("a slot", function()
    -- Each of these URLs would mislead us.
    local URLS = {
      ["by http"] = "http://files.example.net/x",
      ["of another scheme"] = "ftp://files.example.net/x",
      ["that is a file"] = "file:///etc/passwd",
      ["with a user in it"] = "https://user:secret@files.example.net/x",
      ["with an @ behind the host"] = "https://files.example.net@127.0.0.1/x",
      ["with a backslash"] = "https://files.example.net\\@evil.example/x",
      ["with a space"] = "https://files.example.net/a b",
      ["with a newline"] = "https://files.example.net/a\nb",
      ["that isn't ASCII"] = "https://files.example.net/\195\164",
      ["with an escaped host"] = "https://%31%32%37.0.0.1/x",
      ["without a host"] = "https:///x",
      ["with a port that is none"] = "https://files.example.net:x/",
      ["of two ports"] = "https://files.example.net:1:2/",
      ["that is relative"] = "/x",
      ["that is empty"] = "",
      ["longer than 4096 bytes"] = "https://files.example.net/" .. ("x"):rep(4096),
      ["of an address in short"] = "https://127.1/x",
      ["of an address in one number"] = "https://2130706433/x",
      ["of an address in hexadecimal"] = "https://0x7f000001/x",
      ["of an address in octal"] = "https://0177.0.0.1/x",
      ["of an address in brackets that is none"] = "https://[::1::]/x",
      ["of an IPv6 address that holds another"] = "https://[::ffff:127.0.0.1]/x",
    }
    for what, url in pairs(URLS) do
      it("with a PUT URL " .. what .. " is refused", testing.around(function(t)
        local u = t:upload()
        local got, err = with_slot(t, u, function(slot) slot[3][2].url = url end)
        assert.same({ nil, "bad-format" }, { got, err.condition })
        assert.same({}, u.files)
      end))
    end

    for _, host in ipairs { "127.0.0.1", "127.3.2.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
      "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "[::1]", "[::]",
      "[fe80::1]", "[fc00::1]", "[fd12::1]", "[ff02::1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
      "[2001:0:7f00:1::]", "localhost", "x.localhost", "localhost.", "printer.local" } do
      it("at " .. host .. " is refused", testing.around(function(t)
        local u = t:upload()
        local got, err = with_slot(t, u, function(slot) slot[3][2].url = "https://" .. host .. ":5281/x" end)
        assert.same({ nil, "http", "forbidden-address" }, { got, err.layer, err.condition })
        assert.same({}, u.files)
        got = with_slot(t, u, function(slot) slot[3][2].url = "https://" .. host .. ":5281/x" end, { private = true })
        assert.is_string(got)
      end))
    end

    for _, host in ipairs { "192.0.3.1", "172.32.0.1", "172.15.0.1", "100.63.0.1", "100.128.0.1", "11.0.0.1", "8.8.8.8",
      "[2606:4700::1111]", "files.example.net", "xn--bcher-kva.example", "1and1.example" } do
      it("at " .. host .. " is accepted", testing.around(function(t)
        assert.is_string((with_slot(t, t:upload(), function(slot) slot[3][2].url = "https://" .. host .. "/x" end)))
      end))
    end

    it("at the XMPP server's own address is accepted", testing.around(function(t)
      local place = require "xmpp.http.place"
      local function at(host, address) return place.is_at(place.read("https://" .. host .. "/"), address) end
      assert.is_true(at("192.168.1.5", "192.168.1.5"))
      assert.is_false(at("192.168.1.6", "192.168.1.5"))
      assert.is_true(at("localhost", "127.0.0.1"))
      assert.is_true(at("127.0.0.1", "::1"))
      assert.is_false(at("127.0.0.1", "192.168.1.5"))
      assert.is_true(at("[fd12::1]", "fd12:0:0::1"))
      assert.is_false(at("[fd12::2]", "fd12::1"))
      assert.is_false(at("192.168.1.5", nil))
      t:nothing()
    end))

    for what, url in pairs { ["by http"] = "http://files.example.net/x", ["that is a script"] = "javascript:alert(1)",
      ["that is missing"] = "", ["with a newline"] = "https://files.example.net/\nx" } do
      it("with a GET URL " .. what .. " is refused", testing.around(function(t)
        local u = t:upload()
        local got, err = with_slot(t, u, function(slot) slot[4][2].url = url end)
        assert.same({ nil, "bad-format" }, { got, err.condition })
        assert.same({}, u.files)
      end))
    end

    for what, change in pairs {
      ["without put"] = function(slot) table.remove(slot, 3) end,
      ["without get"] = function(slot) slot[4] = nil end,
      ["whose put is of another namespace"] = function(slot) slot[3][2].xmlns = "urn:x" end,
      ["of another name"] = function(slot) slot[1] = "slots" end,
      ["of another namespace"] = function(slot) slot[2].xmlns = "urn:xmpp:http:upload" end,
    } do
      it(what .. " is refused", testing.around(function(t)
        local got, err = with_slot(t, t:upload(), change)
        assert.same({ nil, "bad-format" }, { got, err.condition })
      end))
    end

    it("is requested with name, size and type (XEP-0363 5)", testing.around(function(t)
      local u = t:upload()
      assert(upload.service(t.conn))
      local asked
      t:on({ "iq", { type = "get" }, { "request", { xmlns = NS } } }, function(stanza)
        asked = stanza[3]
        return { "slot", { xmlns = NS }, { "put", { url = "https://x.example/p" } },
          { "get", { url = "https://x.example/g" } } }
      end)
      assert.same({ put = "https://x.example/p", get = "https://x.example/g", headers = {} },
        (upload.slot(t.conn, "my-juliet.jpg", 23456, "image/jpeg")))
      assert.same({ "request",
        { xmlns = NS, filename = "my-juliet.jpg", size = "23456", ["content-type"] = "image/jpeg" } }, asked)
      assert.is_table(upload.slot(t.conn, "large", 2 ^ 40))
      assert.same({ "1099511627776", nil }, { asked[2].size, asked[2]["content-type"] })
      assert.same({}, u.files)
    end))
  end)

  describe("headers of a slot", function()
    local function sent(t, u, ...)
      local list = { ... }
      local url, err = with_slot(t, u, function(slot)
        for _, x in ipairs(list) do slot[3][#slot[3] + 1] = x end
      end)
      return url and u.files[#u.files].headers, err
    end

    it("are Authorization, Cookie and Expires, in any case, and no others", testing.around(function(t)
      assert.same({ ["Content-Type"] = "text/plain", Authorization = "Basic x==", Cookie = "a=b", Expires = "0" },
        sent(t, t:upload(), header("Authorization", "Basic x=="), header("cookie", " a=b "), header("EXPIRES", "0"),
          header("Host", "evil.example"), header("Content-Length", "7"), header("X-Y", "z"), header("", "z"),
          header("Transfer-Encoding", "chunked"), { "header", { xmlns = NS }, "nameless" },
          { "header", { xmlns = "urn:x", name = "Cookie" }, "foreign" }))
    end))

    it("lose their newlines (XEP-0363 12)", testing.around(function(t)
      local headers = sent(t, t:upload(), header("Author\r\nization", "Basic x\r\nHost: evil.example\n\n"))
      assert.same({ ["Content-Type"] = "text/plain", Authorization = "Basic xHost: evil.example" }, headers)
    end))

    it("with control characters are refused", testing.around(function(t)
      t:upload()
      local slots = require "xmpp.upload.slot"
      local function read(value)
        return slots.read({ "slot", { xmlns = NS }, { "put", { url = "https://x.example/" }, header("Cookie", value) },
          { "get", { url = "https://x.example/" } } }, nil, {})
      end
      for _, byte in ipairs { "\0", "\1", "\8", "\11", "\127" } do
        assert.equal("bad-format", select(2, read("a" .. byte .. "b")).condition)
      end
      assert.same({ Cookie = "a\tb" }, read("a\tb").headers)
    end))

    it("that come twice are joined for Cookie, else refused", testing.around(function(t)
      local u = t:upload()
      assert.equal("a=b; c=d", sent(t, u, header("Cookie", "a=b"), header("Cookie", "c=d")).Cookie)
      local headers, err = sent(t, u, header("Authorization", "a"), header("authorization", "b"))
      assert.same({ nil, "bad-format" }, { headers, err.condition })
    end))

    it("have at most 4 KiB together", testing.around(function(t)
      local u = t:upload()
      assert.is_table(sent(t, u, header("Cookie", ("x"):rep(4000))))
      assert.equal("bad-format", select(2, sent(t, u, header("Cookie", ("x"):rep(4097)))).condition)
      local _, err = sent(t, u, header("Cookie", ("x"):rep(3000)), header("Expires", ("x"):rep(1200)))
      assert.equal("bad-format", err.condition)
    end))
  end)

  it("uses http only to this machine, and only with insecure = true", testing.around(function(t)
    local u = t:upload()
    local function both(url)
      return function(slot) slot[3][2].url, slot[4][2].url = url, url end
    end
    for _, host in ipairs { "localhost", "127.0.0.1", "[::1]" } do
      local url = "http://" .. host .. ":5280/x"
      assert.equal(url, (with_slot(t, u, both(url), { insecure = true })))
      assert.is_nil((with_slot(t, u, both(url))))
    end
    assert.is_nil((with_slot(t, u, both "http://files.example.net/x", { insecure = true })))
    assert.is_nil((with_slot(t, u, both "http://10.0.0.1/x", { insecure = true })))
    assert.is_nil((with_slot(t, u, both "https://10.0.0.1/x", { insecure = true })))
  end))

  it("makes a PUT to public addresses only, with the connection's CA", testing.around(function(t)
    t:upload()
    core.conn.about(t.conn).trust = { ca_file = "/ca.pem" }
    local request
    local function own(r)
      request = r
      return { status = 201 }
    end
    assert(upload.file(t.conn, { name = "a.txt", data = "hello" }, { http = own, pin = "abc" }))
    assert.same({ "PUT", 5, true, "/ca.pem", "abc", nil, nil },
      { request.method, request.size, request.public, request.ca_file, request.pin, request.insecure, request.http })
    assert.equal("hello", request.body(100))
    assert.is_nil(request.body(100))
  end))

  it("may use a program's own HTTP, whose errors are returned", testing.around(function(t)
    t:upload()
    local function put(f) return upload.file(t.conn, { name = "a", data = "x" }, { http = f }) end
    local url, err = put(function() return nil, "no web today" end)
    assert.same({ nil, "no web today" }, { url, err })
    url, err = put(function() return "what?" end)
    assert.same({ nil, "refused" }, { url, err.condition })
  end))

  describe("a cut", function()
    it("of the link during the request for a slot is waited out", testing.around(function(t)
      local u = t:upload()
      assert(upload.service(t.conn))
      local promise = xmpp.spawn(upload.file, t.conn, { name = "a", data = "x" })
      t:cut()
      t:resume()
      assert.is_string((promise:wait(10)))
      assert.equal(1, #u.files)
    end))

    it("of the session during the request for a slot is a failure", testing.around(function(t)
      t:upload()
      assert(upload.service(t.conn))
      t:on({ "iq", {}, { "request", { xmlns = NS } } }, function() return false end)
      local promise = xmpp.spawn(upload.file, t.conn, { name = "a", data = "x" })
      t:reconnect { new = true }
      local url, err = promise:wait(100)
      assert.is_nil(url)
      assert.is_table(err)
    end))

    it("of the file's connection is a failure, and another slot can be requested", testing.around(function(t)
      local u = t:upload()
      u:stop_at(3)
      local url, err = upload.file(t.conn, { name = "a", data = "hello" })
      assert.same({ nil, "cut", true }, { url, err.condition, err.retry })
      assert.is_string((upload.file(t.conn, { name = "a", data = "hello" })))
    end))

    it("of the connection after the slot has come ends it before anything is put", testing.around(function(t)
      local u, iq = t:upload(), require "xmpp.iq"
      assert(upload.service(t.conn))
      local get = iq.get
      function iq.get(conn, ...)
        local answer, stanza = get(conn, ...)
        conn:stop()
        return answer, stanza
      end
      local ok, url, err = pcall(upload.file, t.conn, { name = "a", data = "hello" })
      iq.get = get
      assert.is_true(ok)
      assert.same({ nil, "closed" }, { url, err.layer })
      assert.same({}, u.files)
    end))

    it("that came earlier, of the connection, is a failure", testing.around(function(t)
      local u = t:upload()
      assert(upload.service(t.conn))
      t:on({ "iq", {}, { "request", { xmlns = NS } } }, function()
        return { "slot", { xmlns = NS }, { "put", { url = "https://x.example/p" } },
          { "get", { url = "https://x.example/g" } } }
      end)
      t.conn:stop()
      local url, err = upload.file(t.conn, { name = "a", data = "hello" })
      assert.same({ nil, "closed" }, { url, err.layer })
      assert.same({}, u.files)
    end))
  end)

  it("raises for wrong arguments at the caller's line", testing.around(function(t)
    t:upload()
    local function said(f, ...)
      local ok, why = pcall(f, ...)
      assert.is_false(ok)
      return why
    end
    local c = t.conn
    assert.matches("upload_spec.lua.*path or table expected, got number", said(function() upload.file(c, 7) end))
    assert.matches("upload_spec.lua.*no option 'proggress'", said(function()
      upload.file(c, "x", { proggress = print })
    end))
    assert.matches("upload_spec.lua.*field 'size'", said(function() upload.file(c, { name = "x", read = print }) end))
    assert.matches("upload_spec.lua.*field 'name'", said(function() upload.file(c, { data = "x" }) end))
    assert.matches("upload_spec.lua.*no field 'path'", said(function() upload.file(c, { path = "x" }) end))
    assert.matches("upload_spec.lua.*no name for a service", said(function()
      upload.file(c, { name = "../x", data = "x" }, { random_name = false })
    end))
    assert.matches("upload_spec.lua.*a file's name expected", said(function() upload.slot(c, "a\nb", 1) end))
    assert.matches("upload_spec.lua.*whole number expected", said(function() upload.slot(c, "a", -1) end))
    assert.matches("upload_spec.lua.*connection expected", said(function() upload.service(7) end))
    assert.matches("upload_spec.lua.*promise expected", said(function() upload.file(c, "x", { cancel = {} }) end))
  end))
end)
