-- A caller's mistakes raise at the caller's line, with a sentence that says what was given and what is expected; and
-- texts from peers and strangers are shown in errors without control characters or invisible ones.
local fed = require "spec.support.fed"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"
local PIN = ("A"):rep(43) .. "="

-- f raises at a line of this file, with `words` in its text. Returns the text.
local function refuses(words, f)
  local ok, err = pcall(f)
  assert.is_false(ok, "taken: " .. words)
  assert.truthy(tostring(err):find(words, 1, true), tostring(err))
  assert.truthy(tostring(err):find("mistakes_spec.lua:", 1, true), tostring(err))
  return err
end

local function connecting(opts)
  return function() return (xmpp.connect_client("alice@xmpp.test", "secret", "127.0.0.1", 1, opts)) end
end

-- Connecting fails as it should, so the option itself was accepted.
local function accepts(opts)
  opts.tls, opts.timeout = opts.tls or "none", 5
  local conn, err = xmpp.connect_client("alice@xmpp.test", "secret", "127.0.0.1", 1, opts)
  assert.is_nil(conn)
  assert.equal("tcp", err.layer, tostring(err))
end

describe("an option", function()
  it("with a zero byte is refused instead of being truncated", function()
    for _, name in ipairs { "ca_file", "ca_dir", "tls_name", "cert", "key", "lang", "nameservers" } do
      refuses(("bad option '%s' (a string without zero bytes expected)"):format(name), connecting { [name] = "a\0b" })
    end
    refuses("bad option 'pin'", connecting { pin = PIN .. "\0" })
    refuses("one of", connecting { tls = "none\0" })
    refuses("bad option 'mechanisms'", connecting { mechanisms = { "PLAIN\0" } })
  end)

  it("that names something must not be empty", function()
    for _, name in ipairs { "ca_file", "ca_dir", "tls_name", "cert", "key", "nameservers" } do
      refuses(("bad option '%s' (a string that isn't empty expected)"):format(name), connecting { [name] = "" })
    end
  end)

  it("tls_name must be a domain", function()
    for _, name in ipairs { "a b", "a@b", "a/b", ".", "a..b", "\255" } do
      refuses("bad option 'tls_name' (a domain name expected", connecting { tls_name = name })
    end
    accepts { tls_name = "xmpp.test" }
  end)

  it("pin must be a hash in base64; the error explains how to get one", function()
    for _, pin in ipairs { "x", "", PIN:sub(2), PIN .. "=", ("A"):rep(44), ("A"):rep(42) .. "B=",
      ("*"):rep(43) .. "=" } do
      assert.truthy(refuses("bad option 'pin' (a SHA-256 hash in base64 expected, 44", connecting { pin = pin })
        :find "openssl dgst %-sha256")
    end
    accepts { pin = PIN }
  end)

  it("that counts must be a whole number", function()
    for _, name in ipairs { "max_depth", "max_attributes", "max_nodes", "max_stanza", "max_queue" } do
      refuses(("bad option '%s' (whole number from"):format(name), connecting { [name] = 2048.5 })
      refuses(("bad option '%s' (whole number from"):format(name), connecting { [name] = 0 / 0 })
      refuses(("bad option '%s' (whole number from"):format(name), connecting { [name] = -math.huge })
    end
    refuses("attempts: whole number from 1 expected, got 1.5", connecting { reconnect = { attempts = 1.5 } })
    accepts { max_depth = 7, max_nodes = math.huge, max_queue = 2 ^ 20 }
  end)

  it("reconnect must not have min above max", function()
    refuses("bad option 'reconnect' (min: 3 is more than max, 2)", connecting { reconnect = { min = 3, max = 2 } })
    accepts { reconnect = { min = 2, max = 2 } }
    accepts { reconnect = { max = 0.5 } }
    accepts { reconnect = { min = 90 } }
  end)

  it("must have a known name", function()
    refuses("options are named, as in { timeout = 10 }: there is no place for a key of type number", connecting { "x" })
    refuses("there is no place for a key of type boolean", connecting { [true] = 1 })
    refuses("there is no option 'tsl'; did you mean 'tls'?", connecting { tsl = "none" })
    refuses("there is no option 't?ls'; did you mean 'tls'?", connecting { ["t\27ls"] = "none" })
  end)

  it("on_response is accepted by resume alone", function()
    refuses("'on_response' is an option of xmpp.resume alone", connecting { on_response = print })
    refuses("'on_response' is an option of xmpp.resume alone", function()
      return (xmpp.connect_component("127.0.0.1", 1, "c.test", "secret", { on_response = print }))
    end)
  end)
end)

describe("the option proxy", function()
  local function is_refused(why, url)
    assert.is_nil(refuses(("bad option 'proxy' (%s"):format(why), connecting { proxy = url }):find("secret", 1, true))
  end

  it("must be a URL that can be dialled", function()
    is_refused('URL, "environment" or false expected, got boolean', true)
    is_refused('URL, "environment" or false expected, got table', {})
    for _, url in ipairs { "", "x", "127.0.0.1:1080", "secret:secret@h:1", "socks5:h:1", "socks4://h:1", "https://h:1",
      "socks5\0://h:1", "ftp://u:secret@h:1", "//h:1" } do
      is_refused("a URL expected that begins with socks5://, socks5h:// or http://", url)
    end
    for _, url in ipairs { "http://", "http://:3128", "http://a b:1", "http://[::g]:1", "http://::1", "http://[::1:1",
      "http://u:secret@/:1", "http://h/path:1", "http://h?x:1", "http://h\0:1", "http://%00:1", "http://[]:1" } do
      is_refused("a host expected", url)
    end
    for _, url in ipairs { "http://h", "http://h:", "http://h:0", "http://h:65536", "http://h:x", "http://h:1:2",
      "socks5://h:", "http://h:1/x", "http://h:1?", "http://h:1#x", "http://[::1]x", "http://h:-1", "http://h:1e3" } do
      is_refused("a port from 1 to 65535 expected", url)
    end
  end)

  it("has a user and a password within the limits of the proxy's kind", function()
    is_refused("SOCKS5 needs a password with the user, both of 1 to 255 bytes", "socks5://secret@h")
    is_refused("SOCKS5 needs a password with the user", "socks5://secret:@h")
    is_refused("SOCKS5 needs a password with the user", "socks5h://u:" .. ("secret"):rep(43) .. "@h")
    is_refused("SOCKS5 needs a password with the user", "socks5h://" .. ("secret"):rep(43) .. ":x@h")
    is_refused("the user before the @ is missing", "socks5://:secret@h")
    is_refused("the user before the @ is missing", "http://@h:1")
    is_refused("for an HTTP proxy the user can't contain a colon", "http://u%3Asecret:x@h:1")
    for _, text in ipairs { "%", "%4", "%zz", "secret%", "%%41" } do
      is_refused("in user and password a % itself is written as %25", ("http://u:%s@h:1"):format(text))
      is_refused("in user and password a % itself is written as %25", ("http://%s:x@h:1"):format(text))
    end
    for _, text in ipairs { "%00", "%0d%0a", "%7F", "a\nb" } do
      is_refused("user and password can't have control characters", ("http://u:secret%s@h:1"):format(text))
    end
  end)

  it("is accepted if it is correct", function()
    for _, url in ipairs { "socks5://127.0.0.1:1", "SOCKS5H://127.0.0.1:1/", "http://u@127.0.0.1:1", "http://[::1]:1",
      "http://u:%40%3a%25@127.0.0.1:1", "socks5://a@b:c@d@127.0.0.1:1" } do
      accepts { proxy = url, tls = "starttls" }
    end
    accepts { proxy = false }
    local conn, err = xmpp.connect_component("127.0.0.1", 1, "c.test", "x", { proxy = "socks5://127.0.0.1:1" })
    assert.is_nil(conn)
    assert.matches("the proxy socks5://127.0.0.1:1", err.text, 1, true)
  end)
end)

describe("the option url", function()
  local function at(url, more)
    local opts = more or {}
    opts.url = url
    return function() return (xmpp.connect_client("alice@xmpp.test", "secret", opts)) end
  end

  it("must be a WebSocket's URL; the error says what is wrong", function()
    for url, why in pairs { ["https://xmpp.test/ws"] = "neither wss:// nor ws://", ["xmpp.test"] = "neither wss://",
      ["wss://xmpp.test/a b"] = "%20", ["wss://alice:pw@xmpp.test/"] = "a user name", ["wss:///ws"] = "no host",
      ["wss://xmpp.test:0/"] = "1 to 65535", ["wss://xmpp.test?a"] = "/?", ["wss://xmpp.test/a\0b"] = "zero byte",
      ["wss://xmpp.test/" .. ("a"):rep(3000)] = "2,048", ["wss://xmpp.test/#a"] = "fragment",
      ["wss://m\195\188nchen.test/"] = "%20" } do
      local text = refuses("bad option 'url' (wss://host/path or \"host-meta\" expected, got '", at(url))
      assert.truthy(text:find(why, 1, true), url)
    end
    refuses("bad option 'url' (string expected, got boolean)", at(true))
  end)

  it("excludes other ways to say where to connect", function()
    local words = "bad option 'url' (the URL says where to connect: leave out host and port, or url)"
    refuses(words, at("wss://xmpp.test/ws", { host = "xmpp.test" }))
    refuses(words, at("wss://xmpp.test/ws", { port = 443 }))
    refuses(words, function() return (xmpp.connect_client("a@b.test", "c", "h", { url = "wss://xmpp.test/ws" })) end)
    refuses(words, at("host-meta", { port = 443 }))
    for _, tls in ipairs { "starttls", "direct", "none" } do
      refuses("leave out tls)", at("wss://xmpp.test/ws", { tls = tls }))
    end
  end)

  it("is refused for components", function()
    refuses("'url' is an option of clients: a component connects by TCP alone", function()
      return (xmpp.connect_component("127.0.0.1", 1, "c.test", "secret", { url = "wss://xmpp.test/ws" }))
    end)
  end)

  it("is accepted if it is correct", function()
    for _, url in ipairs { "wss://127.0.0.1:1/ws", "ws://127.0.0.1:1", "WSS://[::1]:1/" } do
      local conn, err = xmpp.connect_client("alice@xmpp.test", "secret", { url = url, timeout = 5 })
      assert.is_nil(conn)
      assert.equal("tcp", err.layer, tostring(err))
    end
  end)
end)

describe("an option of SASL2, Bind 2 or tokens", function()
  local ID, OTHER = "5c3b2a10-7f6e-4d5c-8b3a-29180706f5e4", "5c3b2a10-7f6e-4d5c-8b3a-29180706f5e5"

  local function token(changes)
    local t = { version = 1, jid = "alice@xmpp.test", user_agent = ID, mechanism = "HT-SHA-256-EXPR", token = "secret",
      expiry = 2000000000 }
    for name, value in pairs(changes or {}) do t[name] = value end
    return t
  end

  local function without(name)
    local t = token()
    t[name] = nil
    return t
  end

  it("must have the right type", function()
    refuses("bad option 'sasl2' (boolean expected, got string)", connecting { sasl2 = "yes" })
    refuses("bad option 'fast' (boolean expected, got table)", connecting { fast = token() })
    refuses("bad option 'bind2' (table expected, got number)", connecting { bind2 = 1 })
    refuses("bad option 'user_agent' (table expected, got string)", connecting { user_agent = ID })
    refuses("bad option 'token' (table expected, got string)", connecting { token = "secret" })
    refuses('bad option \'mechanisms\' (one of "EXTERNAL"', connecting { mechanisms = { "HT2-SHA-256-EXPR" } })
    refuses('bad option \'mechanisms\' (one of "EXTERNAL"', connecting { mechanisms = { "HT-SHA-256" } })
    accepts { sasl2 = false, fast = false, bind2 = false, mechanisms = { "HT-SHA-256-NONE", "SCRAM-SHA-1" } }
  end)

  it("user_agent must have a UUID and short texts", function()
    for _, id in ipairs { "", "x", ID .. "0", ID:sub(2), ID:gsub("-", ""), ID:gsub("5c3b", "5c3g"), "{" .. ID .. "}",
      ID .. "\n" } do
      refuses("bad option 'user_agent' (id: a UUID expected, made once for this installation and account (uuidgen), "
        .. "got", connecting { user_agent = { id = id } })
    end
    refuses("bad option 'user_agent' (id: string expected, got number)", connecting { user_agent = { id = 1 } })
    for _, name in ipairs { "software", "device" } do
      refuses(("bad option 'user_agent' (%s: at most 64 bytes expected, got 65)"):format(name),
        connecting { user_agent = { id = ID, [name] = ("x"):rep(65) } })
      refuses(("bad option 'user_agent' (%s: a string that isn't empty expected)"):format(name),
        connecting { user_agent = { [name] = "" } })
      refuses(("bad option 'user_agent' (%s: a string without zero bytes expected)"):format(name),
        connecting { user_agent = { [name] = "a\0" } })
    end
    refuses("bad option 'user_agent' (there is no field uuid)", connecting { user_agent = { uuid = ID } })
    refuses("bad option 'user_agent' (there is no field i?d)", connecting { user_agent = { ["i\27d"] = ID } })
    accepts { user_agent = { id = ID:upper(), software = ("x"):rep(64), device = "desk" } }
    accepts { user_agent = {} }
  end)

  it("bind2 must be a tag of at most 64 bytes, or a table with one", function()
    refuses("bad option 'bind2' (at most 64 bytes expected, got 65)", connecting { bind2 = ("x"):rep(65) })
    refuses("bad option 'bind2' (tag: at most 64 bytes expected, got 65)",
      connecting { bind2 = { tag = ("x"):rep(65) } })
    refuses("bad option 'bind2' (a string that isn't empty expected)", connecting { bind2 = "" })
    refuses("bad option 'bind2' (tag: a string without zero bytes expected)", connecting { bind2 = { tag = "\0" } })
    refuses("bad option 'bind2' (carbons: boolean expected, got number)", connecting { bind2 = { carbons = 1 } })
    refuses("bad option 'bind2' (inactive: boolean expected, got string)", connecting { bind2 = { inactive = "no" } })
    refuses("bad option 'bind2' (there is no field carbon)", connecting { bind2 = { carbon = true } })
    accepts { bind2 = ("x"):rep(64) }
    accepts { bind2 = { tag = "cron", carbons = true, inactive = false } }
    accepts { bind2 = true }
  end)

  it("bind2 excludes a resource of the program's", function()
    local words = "bad option 'bind2' (with Bind 2 the server chooses the resource"
    refuses(words, connecting { bind2 = true, resource = "here" })
    refuses(words, function()
      return (xmpp.connect_client("alice@xmpp.test/here", "secret", "127.0.0.1", 1, { bind2 = "lua" }))
    end)
    refuses(words, function()
      return (xmpp.resume({ version = 1, account = "alice@xmpp.test/here", jid = "alice@xmpp.test/here", id = "s1",
        max = 300, h = 0, acked = 0, written = 0, stanzas = {}, pending = {}, queue = {} }, "secret",
        { bind2 = true, resource = "x" }))
    end)
    accepts { bind2 = false, resource = "here" }
  end)

  it("token must be complete and of this version", function()
    for _, name in ipairs { "version", "jid", "user_agent", "mechanism", "token" } do
      refuses(("bad option 'token' (%s is missing)"):format(name), connecting { token = without(name) })
    end
    refuses("bad option 'token' (version: written by another version of this library, as version 2)",
      connecting { token = token { version = 2 } })
    refuses("bad option 'token' (user_agent: a UUID expected", connecting { token = token { user_agent = "x" } })
    refuses("bad option 'token' (mechanism: one of", connecting { token = token { mechanism = "PLAIN" } })
    refuses("bad option 'token' (token: at most 1,024 bytes expected, got 1025)",
      connecting { token = token { token = ("x"):rep(1025) } })
    refuses("bad option 'token' (token: a string that isn't empty expected)",
      connecting { token = token { token = "" } })
    refuses("bad option 'token' (token: a string without zero bytes expected)",
      connecting { token = token { token = "a\0" } })
    refuses("bad option 'token' (expiry: number from 0 expected, got -1)", connecting { token = token { expiry = -1 } })
    refuses("bad option 'token' (there is no field secret)", connecting { token = token { secret = "x" } })
    accepts { token = token { token = ("x"):rep(1024) } }
    accepts { token = without "expiry" }
  end)

  it("token must belong to this account and user agent", function()
    refuses("bad option 'token' (it is bob@xmpp.test's, and alice@xmpp.test is to be logged in)",
      connecting { token = token { jid = "bob@xmpp.test" } })
    refuses("bad option 'token' (it is alice@xmpp.test/here's, and alice@xmpp.test is",
      connecting { token = token { jid = "alice@xmpp.test/here" } })
    refuses(("bad option 'token' (it belongs to another user_agent.id, %s: leave that out)"):format(ID),
      connecting { token = token(), user_agent = { id = OTHER } })
    accepts { token = token(), user_agent = { id = ID, device = "desk" } }
  end)

  it("token needs sasl2 and fast", function()
    refuses("bad option 'token' (tokens are SASL2's", connecting { token = token(), sasl2 = false })
    refuses("bad option 'fast' (tokens are SASL2's", connecting { fast = true, sasl2 = false })
    refuses("bad option 'token' (with fast = false none is used", connecting { token = token(), fast = false })
    accepts { user_agent = { id = ID }, sasl2 = false }
  end)

  it("token isn't shown in the errors about it", function()
    for _, changes in ipairs { { version = 2 }, { jid = "bob@xmpp.test" }, { token = "s3cret\0" } } do
      changes.token = changes.token or "s3cret"
      local ok, err = pcall(connecting { token = token(changes) })
      assert.is_false(ok)
      assert.is_nil(tostring(err):find("s3cret", 1, true))
    end
  end)

  it("token is the only one that replaces a password", function()
    refuses("bad argument #2 to 'connect_client' (string or function expected, got nil)", function()
      return (xmpp.connect_client("alice@xmpp.test", nil, "127.0.0.1", 1, { user_agent = { id = ID }, fast = true }))
    end)
    local conn, err = xmpp.connect_client("alice@xmpp.test", nil, "127.0.0.1", 1, { token = token(), tls = "none" })
    assert.same({ nil, "tcp" }, { conn, err.layer })
  end)

  it("is refused for components", function()
    for name, value in pairs { sasl2 = true, bind2 = true, user_agent = { id = ID }, fast = true, token = token() } do
      refuses(("'%s' is an option of clients: a component logs in by its secret alone"):format(name), function()
        return (xmpp.connect_component("127.0.0.1", 1, "c.test", "secret", { [name] = value }))
      end)
    end
  end)

  it("keepalive_probe is refused for clients", function()
    local function component(opts)
      return function() return (xmpp.connect_component("127.0.0.1", 1, "c.test", "secret", opts)) end
    end
    refuses("'keepalive_probe' is an option of components: a client pings its server", connecting {
      keepalive_probe = true })
    refuses("bad option 'keepalive_probe' (boolean expected, got number)", component { keepalive_probe = 60 })
    refuses("bad option 'keepalive_probe' (keepalive says after how long, and 0 is never",
      component { keepalive_probe = true, keepalive = 0 })
    refuses("did you mean 'keepalive_probe'?", component { keepaliveprobe = true })
  end)

  it("is checked by logout, too, as is its token", function()
    refuses("bad argument #1 to 'logout' (table expected, got nil)", function() return (xmpp.logout()) end)
    refuses("bad argument #1 to 'logout' (mechanism is missing)",
      function() return (xmpp.logout(without "mechanism", "127.0.0.1")) end)
    refuses("bad argument #2 to 'logout' (string expected, got number)",
      function() return (xmpp.logout(token(), 1)) end)
    refuses("bad argument #3 to 'logout' (port from 1 to 65535 expected, got 0)",
      function() return (xmpp.logout(token(), "127.0.0.1", 0)) end)
    refuses("bad option 'token' (it belongs to another user_agent.id",
      function() return (xmpp.logout(token(), { user_agent = { id = OTHER } })) end)
    refuses("bad option 'token' (it is alice@xmpp.test/here's",
      function() return (xmpp.logout(token { jid = "alice@xmpp.test/here" })) end)
    refuses("there is no option 'tsl'", function() return (xmpp.logout(token(), { tsl = "none" })) end)
    local ok, err = xmpp.logout(token { jid = "a b@xmpp.test" })
    assert.same({ nil, "jid-malformed" }, { ok, err.condition })
    ok, err = xmpp.logout(token(), "127.0.0.1", 1, { tls = "none" })
    assert.same({ nil, "tcp" }, { ok, err.layer })
  end)
end)

describe("an argument", function()
  local conn
  before_each(function() conn = fed.open { jid = "alice@xmpp.test/here" }.conn end)

  it("that is a host or an address must not have a zero byte", function()
    for _, host in ipairs { "127.0.0.1\0.evil", "::1\0", "xmpp.test\0evil" } do
      local c, err = xmpp.connect_client("alice@xmpp.test", "secret", host)
      assert.is_nil(c)
      assert.equal("bad-host", err.condition)
      c, err = xmpp.connect_client("alice@xmpp.test", "secret", { host = host })
      assert.is_nil(c)
      assert.equal("bad-host", err.condition)
    end
    local _, malformed = xmpp.connect_client("alice@xmpp.test", "secret", "127.0.0.1", 1, { resource = "a\0b" })
    assert.equal("jid-malformed", malformed.condition)
    for _, jid in ipairs { "alice@xmpp.test\0.evil", "al\0ice@xmpp.test", "alice@xmpp.test/a\0b" } do
      local j, err = xmpp.jid(jid)
      assert.is_nil(j)
      assert.equal("jid-malformed", err.condition)
      assert.truthy(err.text:find("'" .. jid:gsub("%z", "?"), 1, true), err.text)
    end
  end)

  it("of a filter neither; a filter's name must be a stanza's", function()
    for _, name in ipairs { "name", "type", "xmlns", "from", "id" } do
      refuses(("filter.%s: a zero byte"):format(name), function() conn:set_callback(print, { [name] = "iq\0" }) end)
    end
    for _, name in ipairs { "mesage", "Message", "", "a" } do
      refuses(("filter.name: message, presence or iq expected, got '%s'"):format(name),
        function() conn:set_callback(print, { name = name }) end)
    end
    for _, name in ipairs { "message", "presence", "iq" } do conn:set_callback(print, { name = name }) end
    assert.equal(3, #conn:callbacks())
  end)

  it("of on must be a known event", function()
    local err = refuses("there is no event 'disconnect'; there are 'state', 'failed', 'skipped'",
      function() conn:on("disconnect", print) end)
    assert.truthy(err:find "bad argument #1 to 'on'")
    refuses("string expected", function() conn:on(nil, print) end)
  end)

  it("that is a name isn't taken for another one because of a zero byte", function()
    local function off() end
    refuses("there is no event 'state?x'", function() return (conn:on("state\0x", off)) end)
    refuses("there is no hash 'sha-1?x'", function() return (xmpp.hash("sha-1\0x", "")) end)
    refuses("a filter has no 'type?x'", function() conn:set_callback(off, { ["type\0x"] = "chat" }) end)
    refuses("send has no option 'on?x'", function() conn:send({ "presence" }, { ["on\0x"] = off }) end)
    refuses("expected, got SIGTERM?x)", function() return (xmpp.on_signal("SIGTERM\0x", off)) end)
    refuses("expected, got SIG?[2J)", function() return (xmpp.on_signal("SIG\27[2J", off)) end)
  end)

  it("of send is quoted in the error", function()
    refuses("stanza: a stanza is a message, a presence or an iq, not 'mesage'", function() conn:send { "mesage" } end)
    refuses("not 'a?[2J'", function() conn:send { "a\27[2J" } end)
    refuses("stanza[2].to: string expected, got userdata", function() conn:send { "message", { to = io.stdout } } end)
  end)
end)

describe("a saved session", function()
  local function saved()
    return { version = 1, account = "alice@xmpp.test", jid = "alice@xmpp.test/here", id = "s1", max = 300, h = 0,
      acked = 0, written = 0, stanzas = {}, pending = {}, queue = {} }
  end

  local function refuses_saved(words, change)
    local s = saved()
    change(s)
    refuses("bad argument #1 to 'resume' (" .. words, function() return (xmpp.resume(s, "secret")) end)
  end

  it("must not have texts with invalid characters", function()
    for _, name in ipairs { "account", "jid", "id", "location", "host" } do
      for _, v in ipairs { "a\0b", "\1", "\255" } do refuses_saved(name .. ": ", function(s) s[name] = v end) end
    end
    refuses_saved("pending[1].id: ", function(s) s.pending = { { name = "iq", id = "a\0" } } end)
    refuses_saved("pending[1].to: ", function(s) s.pending = { { name = "iq", id = "a", to = "\27" } } end)
    refuses_saved("pending[1].name: one of message, presence, iq expected",
      function(s) s.pending = { { name = "q", id = "a" } } end)
    refuses_saved("tls: one of starttls, direct, none expected, got no?", function(s) s.tls = "no\27" end)
    refuses_saved("url: wss://host/path", function(s) s.url = "https://x/" end)
    refuses_saved("port: port from 1 to 65535 expected, got 0", function(s) s.port = 0 end)
    refuses_saved("user_agent: a UUID expected", function(s) s.user_agent = "me" end)
  end)

  it("must not have two pending responses with the same id", function()
    refuses_saved("pending[3].id: the same as that of pending[1]", function(s)
      s.pending = { { name = "iq", id = "a" }, { name = "iq", id = "b" }, { name = "iq", id = "a", to = "x" } }
    end)
  end)
end)

describe("an argument of a module's function", function()
  it("is refused at the caller's line, with the function's name", function()
    local caps, color = require "xmpp.caps", require "xmpp.color"
    local disco, time = require "xmpp.disco", require "xmpp.time"
    local conn = fed.open { jid = "alice@xmpp.test/here" }.conn
    for _, name in ipairs { "hue", "rgb", "terminal" } do
      refuses(("bad argument #1 to '%s' (string expected, got nil)"):format(name),
        function() return (color[name]()) end)
    end
    refuses("bad argument #2 to 'rgb' (number expected, got string)", function() return (color.rgb("a", "x")) end)
    for _, name in ipairs { "legacy_string", "hash_string", "ver" } do
      refuses(("bad argument #1 to '%s' (element expected, got number)"):format(name),
        function() return (caps[name](5)) end)
    end
    refuses("bad argument #2 to 'ver' (there is no hash 'md5'", function() return (caps.ver({ "query" }, "md5")) end)
    refuses("bad argument #1 to 'allows' (connection expected, got nil)", function() return (disco.allows()) end)
    refuses("bad argument #2 to 'allows' (string expected, got number)", function() return (disco.allows(conn, 5)) end)
    refuses("bad option 'node' of 'info' (it: U+0001, which XML 1.0 forbids)",
      function() return (disco.info(conn, "xmpp.test", { node = "\1" })) end)
    refuses("bad option 'password' of 'join' (it: bytes that are not UTF-8)",
      function() return (require "xmpp.muc".join(conn, "tea@rooms.test", "me", { password = "\255" })) end)
    refuses("bad argument #3 to 'run' (it: U+0001, which XML 1.0 forbids)",
      function() return (require "xmpp.command".run(conn, "xmpp.test", "\1")) end)
    local ext = require "xmpp.ext"
    refuses("bad argument #1 to 'watch' (connection expected, got number)", function() return (ext.watch(5)) end)
    refuses("bad argument #2 to 'watch' (function expected, got number)", function() return (ext.watch(conn, 5)) end)
    refuses("bad argument #1 to 'changed' (connection expected, got nil)", function() ext.changed() end)
    refuses("bad argument #1 to 'failure' (table expected, got nil)",
      function() return (require "xmpp.iq".failure()) end)
    refuses("bad argument #1 to 'new' (table expected, got number)",
      function() return (require "xmpp.testing".new(5)) end)
    for _, v in ipairs { 0 / 0, 1 / 0, -2 ^ 63, 1e300 } do
      refuses("bad argument #1 to 'zone' (a time in the years 0000 to 9999", function() return (time.zone(v)) end)
    end
  end)
end)

describe("a Jid", function()
  it("is sent as its text", function()
    local f = fed.open { jid = "alice@xmpp.test/here" }
    local jid = assert(xmpp.jid "Bob@xmpp.test/r")
    assert.is_true(f.conn:send { "message", { to = jid }, { "item", { jid = jid:bare() }, jid } })
    assert.equal("<message to='bob@xmpp.test/r'><item jid='bob@xmpp.test'>bob@xmpp.test/r</item></message>", f:sent())
    local x = { "iq", { to = f.conn:jid(), type = "get" } }
    assert.is_true(xmpp.contract.stanza(x))
    assert.same({ "iq", { to = "alice@xmpp.test/here", type = "get" } }, xmpp.xexpr.canonical(x))
    local back = xmpp.xexpr.from_xml(xmpp.xexpr.to_xml { "a", { to = x[2].to } })
    assert.same({ "a", { to = "alice@xmpp.test/here" } }, back)
    assert.equal("alice@xmpp.test/here", xmpp.xexpr.attr(x, "to"))
  end)

  it("is recognized as the sender of the answer", function()
    local f = fed.open { jid = "alice@xmpp.test/here" }
    local got
    f.conn:send_callback({ "iq", { to = xmpp.jid "bob@xmpp.test/r", type = "get", id = "1" } }, function(s) got = s end)
    f:feed "<iq type='result' id='1' from='eve@xmpp.test/r'/>"
    assert.is_nil(got)
    f:feed "<iq type='result' id='1' from='bob@xmpp.test/r'/>"
    assert.equal("iq", got[1])
  end)

  it("can be concatenated with text, and with nothing else", function()
    local jid = assert(xmpp.jid "a@b/c")
    assert.equal("a@b/c!", jid .. "!")
    assert.equal("1a@b/c", 1 .. jid)
    assert.equal("a@b/ca@b/c", jid .. jid)
    refuses("attempt to concatenate a Jid and a nil value", function() return jid .. nil end)
    refuses("attempt to concatenate a Jid and a nil value", function() return nil .. jid end)
    refuses("attempt to concatenate a Jid and a table value", function() return jid .. {} end)
    refuses("attempt to concatenate a Jid and a boolean value", function() return jid .. true end)
  end)

  it("'s errors can be concatenated with text, too", function()
    local jid, _, err = assert(xmpp.jid "a@b/c"), xmpp.jid ""
    local text = "stanza: jid-malformed: '' is not a JID: the domainpart is empty"
    assert.equal("why: " .. text .. "!", "why: " .. err .. "!")
    assert.equal(text .. "1", err .. 1)
    assert.equal(text .. text, err .. err)
    assert.equal(text .. "a@b/c", err .. jid)
    assert.equal("a@b/c" .. text, jid .. err)
    assert.equal("{: " .. tostring(select(2, xmpp.xexpr.from_json "{")), "{: " .. select(2, xmpp.xexpr.from_json "{"))
    refuses("attempt to concatenate an error and a nil value", function() return err .. nil end)
    refuses("attempt to concatenate an error and a nil value", function() return nil .. err end)
    refuses("attempt to concatenate an error and a table value", function() return err .. {} end)
    refuses("attempt to concatenate an error and a function value", function() return print .. err end)
  end)

  it("requires a string as its new resourcepart", function()
    local jid = assert(xmpp.jid "a@b/c")
    refuses("string expected", function() return (jid:with_resource()) end)
    refuses("string expected", function() return (jid:with_resource(nil)) end)
    refuses("string expected", function() return (jid:with_resource(1)) end)
    assert.equal("a@b/d", tostring(jid:with_resource "d"))
    assert.is_nil((jid:with_resource "a\0b"))
  end)
end)

-- What must not reach a terminal, in UTF-8.
local UNSEEN = { "\194\155", "\194\133", "\226\128\142", "\226\128\143", "\226\128\170", "\226\128\171", "\226\128\172",
  "\226\128\173", "\226\128\174", "\226\129\166", "\226\129\167", "\226\129\168", "\226\129\169", "\127", "\n", "\r" }

local function is_clean(text)
  for _, c in ipairs(UNSEEN) do
    if text:find(c, 1, true) then return false end
  end
  return not text:find "[%z\1-\31]"
end

describe("text from a peer", function()
  local nasty = table.concat(UNSEEN, "x"):gsub("[\n\r]", { ["\n"] = "&#10;", ["\r"] = "&#13;" })

  it("is cleaned of control characters in an error", function()
    local f = fed.open { jid = "alice@xmpp.test/here" }
    local told
    f.conn:on("state", function(_, err) told = err or told end)
    f:feed("<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
      .. "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>go" .. nasty .. "away</text></stream:error>")
    assert.truthy(told.text:find "go")
    assert.truthy(told.text:find "away")
    assert.is_true(is_clean(told.text), ("%q"):format(told.text))
    assert.is_true(is_clean(tostring(told)))
    local _, err = f.conn:send { "presence" }
    assert.truthy(err.text:find "away")
    assert.is_true(is_clean(err.text))
  end)

  it("is cleaned when a stanza is refused", function()
    for _, c in ipairs(UNSEEN) do
      for _, x in ipairs { { "message" .. c }, { "message", { ["a" .. c] = true } },
        { "message", { to = "x" }, [c] = 1 } } do
        local ok, why = xmpp.contract.stanza(x)
        assert.is_false(ok)
        assert.is_true(is_clean(why), ("%q"):format(why))
        local raised, text = pcall(xmpp.xexpr.canonical, { "a", x })
        assert.is_true(raised or is_clean(text), ("%q"):format(tostring(text)))
      end
      local _, err = xmpp.jid("a" .. c .. "@@")
      assert.is_true(is_clean(err.text))
      _, err = xmpp.connect_client("a@b", "c", "host " .. c)
      assert.is_true(is_clean(err.text))
      _, err = xmpp.xexpr.from_xml("<a" .. c .. "b")
      assert.is_true(is_clean(err.text), ("%q"):format(err.text))
      local _, raised = pcall(connecting { ["tls" .. c] = 1 })
      assert.is_true(is_clean(raised), ("%q"):format(raised))
      _, raised = pcall(connecting { tls = c })
      assert.is_true(is_clean(raised), ("%q"):format(raised))
    end
  end)

  it("is cleaned when errors are printed, line by line", function()
    local script = shell.file([[
      local fed, xmpp = require "spec.support.fed", require "xmpp"
      local f = fed.open { jid = "alice@xmpp.test/here" }
      f.conn:set_handler(function(stanza) error("bad command: " .. xmpp.xexpr.text(stanza, "body") .. "\27[2J.") end)
      f:feed "<message><body>]] .. nasty .. [[</body></message>"
      xmpp.on_error(function() error "\27[2Jno" end)
      f:feed "<message><body>]] .. nasty .. [[</body></message>" ]])
    local text = shell.succeed(shell.HERE .. LUA .. " " .. script)
    os.remove(script)
    assert.truthy(text:find("error in a callback: ", 1, true), text)
    assert.truthy(text:find("?[2J.\nstack traceback:\n\t", 1, true), text)
    assert.truthy(text:find("on_error could not be told", 1, true), text)
    assert.is_true(is_clean((text:gsub("[\n\t]", " "))), ("%q"):format(text))
  end)
end)

describe("a connection", function()
  it("has a text form with state and address", function()
    local conn = fed.open { jid = "alice@xmpp.test/here" }.conn
    assert.equal("xmpp.Conn (ready, alice@xmpp.test/here)", tostring(conn))
  end)

  it("that was collected says so in its text form", function()
    if _VERSION == "Lua 5.1" then return end -- tables have no finalizers there
    local said
    local witness = setmetatable({}, { __gc = function(self) said = tostring(self.conn) end })
    witness.conn = fed.open { jid = "alice@xmpp.test/here" }.conn
    witness = nil -- luacheck: ignore 311
    for _ = 1, 4 do collectgarbage() end
    assert.equal("xmpp.Conn (collected)", said)
  end)
end)

describe("the globals of a program", function()
  -- Loads the library where it is an error to use a global that isn't declared. Returns what it prints.
  local function strict(body)
    local script = shell.file([[
      setmetatable(_G, { __index = function(_, name) error("variable '" .. name .. "' is not declared", 2) end,
        __newindex = function(_, name) error("assignment to undeclared variable '" .. name .. "'", 2) end })
      ]] .. body)
    local text = shell.run(shell.HERE .. LUA .. " " .. script)
    os.remove(script)
    return text
  end

  it("may be strict", function()
    assert.equal("xmpp " .. require "xmpp.version".number .. "\n", strict [[print(require "xmpp"._VERSION)]])
    assert.truthy(strict [[package.preload["xmpp.core"] = function() error "error loading: from file 'x':\nno" end
      require "xmpp"]]:find("error loading", 1, true))
  end)

  it("may be without debug, io, os and load", function()
    assert.truthy(strict [[rawset(_G, "debug", nil) rawset(_G, "io", nil)
      for _, name in ipairs { "debug", "io" } do package.loaded[name] = nil end
      local xmpp = require "xmpp"
      print(select(2, pcall(xmpp.sleep, "x")))]]:find("seconds expected, got string", 1, true))
    for _, what in ipairs { "{}", "true" } do -- the program has a global variable of this name
      local text = strict(([[rawset(_G, "debug", %s) rawset(_G, "load", nil)
        print(select(2, pcall(require "xmpp".sleep, "x")))]]):format(what))
      assert.truthy(text:find("seconds expected, got string", 1, true), text)
    end
  end)
end)
