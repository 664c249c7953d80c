-- proxy: connections through real proxies (SOCKS5: microsocks, dante, tor; CONNECT: tinyproxy, squid): what a name
-- server is asked; what is remembered, and for which proxy; which way a session is resumed; and proxies that fail.
-- proxy_live_spec has each proxy with each server, and spec/support/hostile/rows/proxy.txt hostile ones.
local child = require "spec.support.child"
local exchange = require "spec.support.exchange"
local json = require("spec.support.luas").json "proxy"
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local link = require "spec.support.proxy"
local relay = require "spec.support.relay"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local upload = require "xmpp.upload"
local xmpp = require "xmpp"

if not json then return end

local turn_until, keep = managed.turn_until, exchange.keep

local SOON = { min = 0.01, max = 0.1 }
local NOBODY = 1 -- a port where nothing listens
local CLIENT, DIRECT = "_xmpp-client._tcp.xmpp.test", "_xmpps-client._tcp.xmpp.test"
local TICKETS = [[
c2s_ssl = { options = { no_ticket = false } }
c2s_direct_tls_ssl = { options = { no_ticket = false } }]]

local certs

setup(function() certs = peer.certs() end)
teardown(function()
  relay.stop()
  shell.remove(certs)
end)
before_each(function() xmpp.forget() end)
after_each(exchange.stop)

-- Starts a name server with this `zone`; see nameserver.py.
local function name_server(zone)
  local pipe = child.open("nameserver.py", { json.encode(zone) })
  local ns = assert(child.variables(pipe), "the name server did not start; it said why on stderr")
  function ns.stop() pipe:close() end
  ns.pipe = pipe
  return keep(ns)
end

-- The questions that it was asked, sorted. This ends it.
local function questions(ns)
  local asked = {}
  os.execute("kill -USR1 " .. ns.PID)
  for line in ns.pipe:lines() do asked[#asked + 1] = line ~= "" and line or nil end
  table.sort(asked)
  return asked
end

local function srv(priority, port, host) return { priority, 0, port, host or "localhost" } end

-- Logs alice in; the proxy finds the server by the name "localhost". Returns conn; or nil, err.
local function try(s, opts)
  local o = s.opts { host = "localhost", port = opts.tls == "direct" and s.tls_port or s.port }
  for name, value in pairs(opts) do
    if value == "none" and name ~= "tls" then o[name] = nil else o[name] = value end
  end
  local conn, err = xmpp.connect_client("alice@" .. s.domain, s.users.alice, o)
  if conn then keep(conn) end
  return conn, err
end

local function login(s, opts) return assert(try(s, opts)) end

local function is_told(wanted, conn, err)
  assert.is_nil(conn)
  assert.same(wanted, { layer = err.layer, condition = err.condition, retry = err.retry or false }, tostring(err))
  assert.is_nil(tostring(err):find("p:/w", 1, true))
  return err.text
end

server.each(function(s)
  describe("names", function()
    local SRV_ALONE = { "SRV " .. CLIENT, "SRV " .. DIRECT }

    for _, kind in ipairs { "microsocks", "squid" } do
      it("of SRV records are resolved here, but not their targets' addresses: " .. kind, function()
        local ns = name_server { [CLIENT] = { SRV = { srv(2, s.port) } } }
        local conn = login(s, { proxy = relay.get(kind).url, nameservers = ns.ADDRESS, host = "none", port = "none" })
        assert.equal("TLSv1.3", conn:info().tls_version)
        assert.same(SRV_ALONE, questions(ns))
      end)

      it("of several targets are tried in turn: " .. kind, function()
        local ns = name_server { [CLIENT] = { SRV = { srv(1, NOBODY), srv(2, s.component_port), srv(4, NOBODY) } },
          [DIRECT] = { SRV = { srv(3, s.tls_port) } } }
        local conn = login(s, { proxy = relay.get(kind).url, nameservers = ns.ADDRESS, host = "none", port = "none",
          timeout = 60 })
        assert(conn:ping(30))
        assert.same(SRV_ALONE, questions(ns))
      end)
    end

    it("whose targets all fail return the last target's error", function()
      local ns = name_server { [CLIENT] = { SRV = { srv(1, NOBODY), srv(2, NOBODY + 1) } } }
      local text = is_told({ layer = "proxy", condition = "connection-refused", retry = true },
        try(s, { proxy = relay.get "microsocks".url, nameservers = ns.ADDRESS, host = "none", port = "none" }))
      assert.matches("localhost port " .. NOBODY + 1, text, 1, true)
    end)

    it("are nobody's business here with socks5h, but for the proxy's own", function()
      local ns = name_server { ["proxy.example"] = { A = { "127.0.0.1" } }, ["*"] = { A = { "127.0.0.1" } } }
      local r = relay.get "microsocks"
      login(s, { proxy = "socks5h://127.0.0.1:" .. r.port, nameservers = ns.ADDRESS })
      login(s, { proxy = "socks5h://proxy.example:" .. r.port, nameservers = ns.ADDRESS })
      assert.same({ "A proxy.example", "AAAA proxy.example" }, questions(ns))
    end)
  end)

  describe("what is remembered of a server", function()
    -- Was an earlier login's TLS session resumed, and was something sent ahead?
    local function is_known(proxy)
      local conn = login(s, { proxy = proxy })
      local info = conn:info()
      assert.is_true(conn:stop(10))
      return { info.tls_resumed, info.pipelined ~= nil }
    end

    it("isn't used by another way to it", function()
      local r, other = relay.get "microsocks", relay.get "tinyproxy"
      for _, proxy in ipairs { false, r.url, other.url, "socks5://ann:x@127.0.0.1:" .. r.port,
        "socks5://bob:x@127.0.0.1:" .. r.port, "socks5://bob:y@127.0.0.1:" .. r.port } do
        assert.same({ false, false }, is_known(proxy))
        assert.same({ true, true }, is_known(proxy))
      end
    end)
  end)

  describe("a session that continues in another process", function()
    local function saved(proxy)
      local conn = login(s, { proxy = proxy, resume = true })
      turn_until(function() return conn:info().resumable end, "a session")
      return assert(conn:save())
    end

    it("uses the same proxy", function()
      local r = relay.get "squid"
      local session = saved(r.url)
      assert.equal(r.bare, session.proxy)
      local conn = keep(assert(xmpp.resume(session, s.users.alice, s.opts {})))
      assert.equal(1, conn:info().resumed)
      assert.equal(r.bare, conn:info().proxy)
    end)

    it("doesn't know the proxy's password, and fails without it", function()
      local r = relay.get "microsocks+auth"
      local session = saved(r.url)
      assert.is_nil(json.encode(session):find("p:", 1, true))
      is_told({ layer = "proxy", condition = "proxy-authentication-required", retry = false },
        xmpp.resume(session, s.users.alice, s.opts {}))
      local conn = keep(assert(xmpp.resume(session, s.users.alice, s.opts { proxy = r.url })))
      assert.equal(1, conn:info().resumed)
    end)

    it("connects directly with proxy = false", function()
      local conn = keep(assert(xmpp.resume(saved(relay.get "microsocks".url), s.users.alice, s.opts { proxy = false })))
      assert.is_nil(conn:info().proxy)
      assert.equal(1, conn:info().resumed)
    end)
  end)

  it("a file is uploaded through it, too", function()
    local r = relay.get "tinyproxy+auth"
    local conn = login(s, { proxy = r.url })
    assert.matches("^https://", assert(upload.file(conn, { name = "a.txt", data = "hello", size = 5 },
      { resolve = s.host, timeout = 30 })))
    assert.matches("127.0.0.1:" .. s.http_port, r:log(), 1, true)
  end)

  it("the command goes through it, and its check names it", function()
    local folder, r = shell.folder(), relay.get "squid+auth"
    local where = ("jid = alice@xmpp.test\nhost = localhost\nport = %d\nca-file = %s\npassword-command = echo %s\n")
      :format(s.port, s.ca, s.users.alice)
    shell.succeed(("mkdir %s/xmpp && cat >%s/xmpp/config.lua <<'END'\n[default]\n%sproxy = %s\n[other]\n%sproxy = %s\n"
      .. "[bare]\n%sEND\nchmod -R go= %s"):format(folder, folder, where, r.url, where, r.bare, where, folder))
    local function run(words, env)
      return shell.run(("%s XDG_CONFIG_HOME=%s %s %s bin/xmpp %s"):format(shell.HERE, folder, env or "",
        os.getenv "LUA" or "lua5.4", words))
    end
    local text, status = run "check --only tcp,login,ping"
    assert.equal(0, status, text)
    text, status = run "check"
    assert.equal(0, status, text)
    assert.matches(", tcp [%d.]+s, proxy [%d.]+s %(" .. r.bare .. "%), tls [%d.]+s, ", text)
    text, status = run "check -a other --json"
    assert.equal(2, status, text)
    assert.matches("proxy: proxy: proxy%-authentication%-required: the proxy " .. r.bare .. " wants a login", text)
    text, status = run "ping -a other"
    assert.equal(5, status, text)
    text, status = run(("check -a bare --proxy %s --json"):format(relay.get "squid".bare))
    assert.equal(0, status, text)
    assert.equal(relay.get "squid".bare, json.decode(text).proxy)
    text, status = run(("check xmpp.test --host localhost --port %d --ca-file %s --proxy %s"):format(s.port, s.ca,
      relay.get "microsocks".bare))
    assert.equal(0, status, text)
    assert.matches(", proxy [%d.]+s %(" .. relay.get "microsocks".bare .. "%), tls ", text)
    text, status = run("check -a bare --proxy environment --json", "ALL_PROXY=" .. r.url)
    assert.equal(0, status, text)
    assert.equal(r.bare, json.decode(text).proxy)
    text, status = run("check -a bare --proxy environment", "no_proxy=localhost ALL_PROXY=" .. r.url)
    assert.equal(0, status, text)
    assert.is_nil(text:find("proxy", 1, true))
    text, status = run("ping -a bare --proxy environment", "ALL_PROXY=socks4://u:secret@h")
    assert.equal(5, status)
    assert.matches("proxy: bad%-proxy: ALL_PROXY in the environment: a URL expected", text)
    assert.is_nil(text:find("secret", 1, true))
    shell.remove(folder)
  end)

  it("TLS is required, wherever the proxy is", function()
    local text = is_told({ layer = "tls", condition = "tls-required", retry = false },
      try(s, { proxy = relay.get "microsocks".url, tls = "none", host = "127.0.0.1" }))
    assert.matches("proxy", text)
  end)

  it("the certificate is still checked against the JID's domain", function()
    is_told({ layer = "tls", condition = "certificate-name-mismatch", retry = false },
      try(s, { proxy = relay.get "microsocks".url, tls_name = "other.example" }))
  end)

  describe("a proxy that", function()
    local REFUSED = { layer = "proxy", condition = "proxy-authentication-required", retry = false }

    for _, kind in ipairs { "microsocks+auth", "tinyproxy+auth", "squid+auth" } do
      it("wants a login: " .. kind, function()
        local r = relay.get(kind)
        assert.matches("user:password@", is_told(REFUSED, try(s, { proxy = r.bare })), 1, true)
        assert.matches("refuses the login", is_told(REFUSED, try(s, { proxy = r.bare:gsub("//", "//u:p%%3A%%2fx@") })))
      end)
    end

    for _, kind in ipairs(relay.all) do
      it("can't connect: " .. kind, function()
        local is_socks = kind:find "^microsocks" or kind == "dante"
        local text = is_told({ layer = "proxy", condition = is_socks and "connection-refused" or "general-failure",
          retry = true },
          try(s, { proxy = relay.get(kind).url, port = NOBODY }))
        assert.matches(relay.get(kind).bare .. " does not connect to localhost port 1", text, 1, true)
      end)
    end

    it("isn't there", function()
      local text = is_told({ layer = "tcp", condition = "ECONNREFUSED", retry = true },
        try(s, { proxy = "socks5://u:p%3A%2fw@127.0.0.1:1" }))
      assert.matches("the proxy socks5://127.0.0.1:1: could not connect to 127.0.0.1 port 1", text, 1, true)
    end)

    it("fails itself isn't asked for the next target", function()
      local ns = name_server { [CLIENT] = { SRV = { srv(1, NOBODY), srv(2, s.port) } } }
      local r = relay.get "microsocks+auth"
      local p = keep(link.start(r.host, r.port))
      is_told(REFUSED, try(s, { proxy = "socks5://u:x@127.0.0.1:" .. p.port, nameservers = ns.ADDRESS, host = "none",
        port = "none" }))
      assert.equal(1, p:stats().connections)
    end)

    it("has a name that can't be resolved", function()
      local ns = name_server {}
      local text = is_told({ layer = "dns", condition = "NXDOMAIN", retry = true },
        try(s, { proxy = "http://proxy.example:3128", nameservers = ns.ADDRESS }))
      assert.matches("the proxy http://proxy.example:3128: proxy.example: there is no such name", text, 1, true)
    end)

    it("is of another kind", function()
      is_told({ layer = "proxy", condition = "invalid-response", retry = false },
        try(s, { proxy = "http://127.0.0.1:" .. relay.get "microsocks".port }))
      local _, err = try(s, { proxy = "socks5://127.0.0.1:" .. relay.get "tinyproxy".port, timeout = 6 })
      assert.is_true(err.layer == "proxy" or err.layer == "timeout")
      assert.matches("proxy", err.text)
    end)
  end)
end, { upload = "yes", extra_conf = TICKETS }, { "prosody" })

describe("tor's SOCKS side", function()
  local function ask(host, opts)
    local o = { proxy = relay.get "tor".url, timeout = 60 }
    for name, value in pairs(opts or {}) do o[name] = value end
    return xmpp.connect_client("alice@xmpp.test", "secret", host, 5222, o)
  end

  it("accepts names only, no addresses", function()
    is_told({ layer = "proxy", condition = "not-allowed", retry = false }, ask "127.0.0.1") -- because of SafeSocks
    is_told({ layer = "proxy", condition = "general-failure", retry = true }, ask "localhost")
    assert.matches("xmpp.example port 5222",
      is_told({ layer = "proxy", condition = "ttl-expired", retry = true }, ask "xmpp.example"), 1, true)
  end)

  it("accepts any user and password", function()
    is_told({ layer = "proxy", condition = "ttl-expired", retry = true },
      ask("xmpp.example", { proxy = (relay.get "tor".url:gsub("//", "//alice:x@")) }))
  end)
end)

-- Scripted proxies.
describe("a play:", function()
  local function play(...)
    return keep(peer.play(table.concat({ ... }, "\n"), { certs = certs, timeout = 15, grace = 2 }))
  end

  local GREETING = [[
    match \x05\x01\x00
    raw \x05\x00
  ]]
  local GRANTED = "raw \\x05\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\n"

  local function asks_for(host, port)
    return ("match \\x05\\x01\\x00\\x03\\x%02x%s\\x%02x\\x%02x"):format(#host, host, math.floor(port / 256), port % 256)
  end

  local function dial(p, opts)
    local o = { proxy = "socks5h://127.0.0.1:" .. p.port, ca_file = p.ca, timeout = 30 }
    for name, value in pairs(opts or {}) do o[name] = value end
    return xmpp.connect_client("alice@xmpp.test", "alicepw", o)
  end

  for tls, port in pairs { starttls = 5222, direct = 5223 } do
    it("with socks5h the JID's domain is requested, at the usual port: " .. tls, function()
      local ns = name_server { ["*"] = { A = { "127.0.0.1" } } }
      local p = play(GREETING, asks_for("xmpp.test", port), "raw \\x05\\x04")
      is_told({ layer = "proxy", condition = "host-unreachable", retry = true },
        dial(p, { tls = tls, nameservers = ns.ADDRESS }))
      p:check()
      assert.same({}, questions(ns))
    end)
  end

  it("a domain beyond ASCII is requested in its ASCII form", function()
    local p = play(GREETING, asks_for("xn--bcher-kva.example", 5222), "raw \\x05\\x04")
    is_told({ layer = "proxy", condition = "host-unreachable", retry = true },
      xmpp.connect_client("alice@bücher.example", "x", { proxy = "socks5h://127.0.0.1:" .. p.port }))
    p:check()
  end)

  it("see-other-host is followed through the same proxy", function()
    local p = play(GREETING, asks_for("xmpp.test", 5222), GRANTED, "C: <stream:stream ...>",
      "S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>"
      .. "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>other.example:7777</see-other-host>"
      .. "</stream:error></stream:stream>", "C: </stream:stream>", "accept", GREETING,
      asks_for("other.example", 7777), "raw \\x05\\x05")
    is_told({ layer = "proxy", condition = "connection-refused", retry = true }, dial(p, { see_other_host = true }))
    p:check()
  end)

  it("the session's location (XEP-0198 5) is reached through the same proxy", function()
    local p = play(GREETING, asks_for("xmpp.test", 5222), GRANTED, managed.asked,
      managed.enabled("one", "location='node2.example:7777'"), managed.says_message "here", "cut", "accept", GREETING,
      asks_for("node2.example", 7777), GRANTED, managed.resume(1), managed.resumed(0), managed.says_message "there",
      managed.bye(2))
    local conn = assert(dial(p, { reconnect = SOON, pipelining = false }))
    for _, text in ipairs { "here", "there" } do
      assert.equal(text, xmpp.xexpr.text(assert(conn:receive_blocking(30)), "body"))
    end
    assert.is_true(conn:stop(30))
    p:check()
  end)

  it("after an objection to pipelining the same target is requested again", function()
    local cut = { GREETING, asks_for("xmpp.test", 5222), GRANTED, "C: <stream:stream ...>",
      "S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>",
      "S: <stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
      "S: </stream:stream>" }
    local lines = { table.concat(cut, "\n"), "match [^\\0]*</stream:stream>", "accept", table.concat(cut, "\n"),
      "C: </stream:stream>" }
    local p = play(table.concat(lines, "\n"))
    local conn, err = dial(p, { pipelining = "eager" })
    assert.is_nil(conn)
    assert.equal("policy-violation", err.condition)
    p:check()
  end)
end)

server.each(function(s)
  it("a token is used only by the way that it has come by", function()
    local agent, r = exchange.agent(), relay.get "microsocks"
    local function is_by_token(proxy)
      local conn = login(s, { proxy = proxy, tls = "direct", bind2 = true, user_agent = { id = agent } })
      local by_token = conn:info().fast
      assert.is_true(conn:stop(10))
      return by_token
    end
    for _, proxy in ipairs { false, r.url, "socks5://ann:x@127.0.0.1:" .. r.port } do
      assert.is_false(is_by_token(proxy))
      assert.is_true(is_by_token(proxy))
    end
  end)
end, nil, server.SASL2)
