-- hosts: a host that is dialled may have a name that no JID's domain can have ("xmpp_prosody_1", as Docker makes them;
-- odd hyphens), or be an IPv6 address with its zone (RFC 4007 11), wherever it comes from: an argument, an option, an
-- SRV record, a redirection, the location of a session to resume, a saved session, the command's accounts. connect_spec
-- and reconnect_spec have more of what can't be a host.
local child = require "spec.support.child"
local cmd = require "spec.support.cmd"
local json = require("spec.support.luas").json "hosts"
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

if not json then return end

local NAMES = { "xmpp_prosody_1", "-r3---sn_x-.example" }
local ZONES = { "::1%lo", "[::1%lo]", "::1%1" }
local SERVICE = "_xmpp-client._tcp.xmpp.test"
local ONCE = "C: </stream:stream>\nS: </stream:stream>\n"

local certs, open, has_ipv6

setup(function()
  certs = managed.certs()
  local ok, p = pcall(peer.play, "accept\n", { certs = certs, host = "::1" })
  has_ipv6 = ok
  if ok then p:stop() else io.stderr:write("# there is no ::1 here\n") end
end)
teardown(function() managed.remove(certs) end)
before_each(function() open = {} end)
after_each(function() for i = #open, 1, -1 do open[i]:stop() end end)

local function keep(it_opened)
  open[#open + 1] = it_opened
  return it_opened
end

-- Starts a name server with all NAMES, and with `zone`. Returns its address.
local function name_server(zone)
  zone = zone or {}
  for _, name in ipairs(NAMES) do zone[name] = { A = { "127.0.0.1" } } end
  local pipe = child.open("nameserver.py", { json.encode(zone) })
  keep { stop = function() pipe:close() end }
  return assert(child.variables(pipe), "the name server did not start; it said why on stderr").ADDRESS
end

local function play(text, host)
  return keep(peer.play(text, { certs = certs, grace = 2, timeout = 20, host = host }))
end

-- Connects to the server that `at` describes; without host and port, `opts` lead there.
local function connect(at, opts, host, port)
  opts.ca_file, opts.resource = at.ca, "r"
  if not host then return keep(assert(xmpp.connect_client("alice@xmpp.test", "alicepw", opts))) end
  return keep(assert(xmpp.connect_client("alice@xmpp.test", "alicepw", host, port, opts)))
end

-- f(host, address to listen at, options) for one name and one address, or for `all`. (Many containers have no ::1.)
local function each_host(f, all)
  for i = all and 1 or #NAMES, #NAMES do f(NAMES[i], "127.0.0.1", { nameservers = name_server() }) end
  for i = 1, has_ipv6 and (all and #ZONES or 1) or 0 do f(ZONES[i], "::1", {}) end
end

-- As "host:port".
local function with_port(host, port)
  return (host:find ":" and "[" .. host:gsub("[%[%]]", "") .. "]" or host) .. ":" .. port
end

describe("a host", function()
  it("is an argument, or an option", function()
    each_host(function(host, at, opts)
      local p = play(peer.session .. ONCE .. "accept\n" .. peer.session .. ONCE, at)
      assert.is_true(connect(p, opts, host, p.port):stop(30))
      opts.host, opts.port = host, p.port
      assert.is_true(connect(p, opts):stop(30))
      p:check()
    end, "all")
  end)

  it("may be that of a component's server", function()
    each_host(function(host, at, opts)
      local p = play("C: <stream:stream ...>\nS: <stream:stream xmlns='jabber:component:accept' id='i1'"
        .. " xmlns:stream='http://etherx.jabber.org/streams'>\nC: <handshake>...</handshake>\nS: <handshake/>\n"
        .. ONCE, at)
      local conn = keep(assert(xmpp.connect_component(host, p.port, "echo.xmpp.test", "secret", opts)))
      assert.is_true(conn:stop(30))
      p:check()
    end)
  end)

  it("is an SRV record's target", function()
    for _, name in ipairs(NAMES) do
      local p = play(peer.session .. ONCE)
      local opts = { nameservers = name_server { [SERVICE] = { SRV = { { 1, 0, p.port, name } } } } }
      assert.is_true(connect(p, opts):stop(30))
      p:check()
    end
  end)

  local function sends_to(target)
    return "C: <stream:stream ...>\nS: <stream:stream xmlns='jabber:client' id='1' version='1.0'"
      .. " xmlns:stream='http://etherx.jabber.org/streams'><stream:error><see-other-host"
      .. " xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" .. target
      .. "</see-other-host></stream:error></stream:stream>\nC: </stream:stream>\n"
  end

  it("may be in a redirection (see-other-host)", function()
    each_host(function(host, at, opts)
      local there = play(peer.session .. ONCE, at)
      local p = play(sends_to(with_port(host, there.port)))
      opts.see_other_host = true
      assert.is_true(connect(p, opts, p.host, p.port):stop(30))
      p:check()
      there:check()
    end)
  end)

  it("that is invalid is refused; if a server sends it, it isn't used", function()
    for _, host in ipairs { "fe80::1%", "fe80::1%a b", "[fe80::1%a/b]", "[fe80::1%lo", "[fe80::1%lo\0]", "[x_y]" } do
      local nobody, err = xmpp.connect_client("alice@xmpp.test", "alicepw", host)
      assert.is_nil(nobody)
      assert.same({ "dns", "bad-host", false }, { err.layer, err.condition, err.retry })
    end
    for _, target in ipairs { "[a b]:5222", "[::1%]:5222", "[127.0.0.1%lo]" } do
      local p = play(sends_to(target))
      local nobody, err = xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port,
        { ca_file = p.ca, see_other_host = true })
      assert.is_nil(nobody)
      assert.same({ "stream", "see-other-host" }, { err.layer, err.condition })
      assert.matches("goes to hosts", err.text)
      p:check()
    end
  end)

  it("that is invalid is ignored as a session's location", function()
    for _, location in ipairs { "[a b]:5222", "[::1%]:5222", "a b" } do
      local p = play(managed.session("one", "location='" .. location .. "'") .. "cut\naccept\n" .. managed.resume(0)
        .. managed.resumed(0) .. managed.bye())
      local conn = connect(p, { see_other_host = true, reconnect = { min = 0, max = 0 } }, p.host, p.port)
      managed.turn_until(function() return conn:info().resumed == 1 end, "a resumption")
      assert.is_true(conn:stop(30))
      p:check()
    end
  end)

  it("may be a session's location (location=)", function()
    each_host(function(host, at, opts)
      local there = play(managed.resume(0) .. managed.resumed(0) .. managed.bye(), at)
      local p = play(managed.session("one", "location='" .. with_port(host, there.port) .. "'") .. "cut\n")
      opts.see_other_host, opts.reconnect = true, { min = 0, max = 0 }
      local conn = connect(p, opts, p.host, p.port)
      managed.turn_until(function() return conn:info().resumed == 1 end, "a resumption")
      assert.is_true(conn:stop(30))
      there:check()
    end)
  end)

  it("is part of a saved session", function()
    each_host(function(host, at, opts)
      local p = play(managed.session() .. "eof\naccept\n" .. managed.resume(0) .. managed.resumed(0)
        .. managed.bye(), at)
      opts.resume = true
      local conn = connect(p, opts, host, p.port)
      managed.turn_until(function() return conn:info().resumable end, "a session")
      local saved = json.decode(json.encode((assert(conn:save()))))
      conn = keep(assert(xmpp.resume(saved, "alicepw", { ca_file = p.ca, nameservers = opts.nameservers })))
      assert.equal(1, conn:info().resumed)
      assert.is_true(conn:stop(30))
      p:check()
    end)
  end)

  it("may be where a token is deleted", function()
    local token = { version = 1, jid = "alice@xmpp.test", user_agent = "bd08c85e-0cab-4b1f-b309-89f35c9841e5",
      mechanism = "HT-SHA-256-NONE", token = "secret" }
    each_host(function(host, at, opts)
      local p = play("match .*<stream:stream.*\n" .. "cut\n", at)
      opts.timeout = 20
      local ok, err = xmpp.logout(token, host, p.port, opts)
      assert.is_nil(ok)
      assert.equal("tcp", err.layer, tostring(err))
      p:check()
    end)
  end)
end)

describe("the command's host", function()
  local folder
  setup(function() folder = shell.folder() end)
  teardown(function() shell.remove(folder) end)

  it("may be any, on the command line and in an account", function()
    testing.around(function()
      for _, host in ipairs { NAMES[1], NAMES[2], ZONES[1], ZONES[2] } do
        local w = cmd.world {}
        assert.equal(0, cmd.run(w, { "send", "anna@example.net", "Hi", "--host", host }), w.stderr)
        shell.succeed(("mkdir -p %s/xmpp && chmod 700 %s/xmpp"):format(folder, folder))
        local file = assert(io.open(folder .. "/xmpp/config.lua", "w"))
        file:write("[default]\njid = bot@example.net\npassword = secret\nhost = ", host, "\n")
        file:close()
        shell.succeed(("chmod 600 %s/xmpp/config.lua"):format(folder))
        w = cmd.world { folder = folder }
        assert.equal(0, cmd.run(w, { "send", "anna@example.net", "Hi" }, true), w.stderr)
      end
      local w = cmd.world {}
      assert.are_not.equal(0, cmd.run(w, { "send", "anna@example.net", "Hi", "--host", "fe80::1%" }))
      assert.matches("bad%-host", w.stderr)
    end, { jid = "bot@example.net", intercept = true })
  end)

  it("is dialled with its zone", function()
    if not has_ipv6 then return pending "there is no ::1 here" end
    local s = keep(server.start "prosody")
    local text, status = shell.run(("%s HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent timeout 60 %s bin/xmpp check"
      .. " xmpp.test --host '::1%%lo' --port %d --ca-file %s"):format(shell.HERE, os.getenv "LUA" or "lua5.4", s.port,
      s.ca))
    assert.equal(0, status, text)
  end)
end)
