-- discovery: from the JID's domain to a server that answers: SRV records, addresses, and obstacles on the way. Each
-- test has a name server with names of its own, which lead to Prosody.
local child = require "spec.support.child"
local json = require("spec.support.luas").json "discovery"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local now = require "spec.support.uptime"
local xmpp = require "xmpp"

if not json then return end

local CLIENT, DIRECT = "_xmpp-client._tcp.xmpp.test", "_xmpps-client._tcp.xmpp.test"
local A_LABEL = "xn--bcher-kva.example"
local LOOPBACK = { A = { "127.0.0.1" } }
local NOBODY = 1 -- a port where nothing listens

-- Hosts with anonymous login; the server has only one certificate for all of them.
local EXTRA = [[
c2s_interfaces = { "127.0.0.1" }
VirtualHost "bücher.example"
  authentication = "anonymous"
VirtualHost "bank.example"
VirtualHost "127.0.0.1"
  authentication = "anonymous"
VirtualHost "localhost"
  authentication = "anonymous"
]]

local open -- what a test has opened
local certs

setup(function() certs = peer.certs() end)
teardown(function() shell.remove() end)

-- Starts a name server with this `zone` (see nameserver.py). Returns its address, for opts, and its process.
local function name_server(zone)
  local pipe = child.open("nameserver.py", { json.encode(zone) })
  local ns = assert(child.variables(pipe), "the name server did not start; it said why on stderr")
  ns.pipe = pipe
  open[#open + 1] = pipe
  return ns.ADDRESS, ns
end

-- The questions that it was asked, sorted. This ends it.
local function questions(ns)
  local asked = {}
  os.execute("kill -USR1 " .. ns.PID)
  for line in ns.pipe:lines() do asked[#asked + 1] = line ~= "" and line or nil end
  table.sort(asked)
  return asked
end

-- An SRV record for `port` on `host`.
local function srv(priority, port, host, weight) return { priority, weight or 0, port, host or "host.example" } end

local function with(opts, more)
  for name, value in pairs(more or {}) do opts[name] = value end
  return opts
end

-- How many seconds f() took, and its results.
local function timed(f)
  local start = now()
  local conn, err = f()
  return now() - start, conn, err
end

before_each(function() open = {} end)
after_each(function() for _, it_opened in ipairs(open) do it_opened:close() end end)

server.each(function(s)
  -- Logs alice in with this zone. Returns how ("starttls", "direct"), or nil, err.
  local function find(zone, more, jid)
    local sent = ""
    local opts = with(s.opts { nameservers = name_server(zone), timeout = 20,
      log = function(direction, text) if direction == "out" then sent = sent .. text end end }, more)
    local conn, err = xmpp.connect_client(jid or "alice@xmpp.test", s.users.alice, opts)
    if not conn then return nil, err end
    conn:stop()
    return sent:find("<starttls", 1, true) and "starttls" or "direct"
  end

  -- The same by ANONYMOUS, where the domain allows that. The certificate is xmpp.test's in any case.
  local function find_anonymously(zone, domain, more)
    return find(zone, with({ mechanisms = { "ANONYMOUS" }, tls_name = "xmpp.test" }, more), domain)
  end

  local function found(how, zone, ...)
    local got, err = find(zone, ...)
    assert.equal(how, got, tostring(err))
  end

  -- It fails with an error that has the fields in `wanted`; `says` are patterns of its text.
  local function fails(wanted, says, zone, ...)
    local got, err = find(zone, ...)
    assert.is_nil(got)
    for field, value in pairs(wanted) do assert.equal(value, err[field], tostring(err)) end
    for _, pattern in ipairs(says) do assert.matches(pattern, err.text) end
    return err
  end

  describe("SRV records", function()
    it("of _xmpp-client lead to STARTTLS", function()
      found("starttls", { [CLIENT] = { SRV = { srv(1, s.port) } }, ["host.example"] = LOOPBACK })
    end)

    it("of _xmpps-client lead to TLS from the first byte", function()
      found("direct", { [DIRECT] = { SRV = { srv(1, s.tls_port) } }, ["host.example"] = LOOPBACK })
    end)

    it("of both are one list, by priority", function()
      for how, priority in pairs { direct = 5, starttls = 15 } do
        found(how, { [CLIENT] = { SRV = { srv(10, s.port), srv(20, NOBODY) } },
          [DIRECT] = { SRV = { srv(priority, s.tls_port), srv(30, NOBODY) } }, ["host.example"] = LOOPBACK })
      end
    end)

    it("of both are one list, by weight where the priority is the same", function()
      for how, weight in pairs { direct = 65535, starttls = 0 } do -- the other order has a chance of one in 65,536
        found(how, { [CLIENT] = { SRV = { srv(1, s.port, nil, 65535 - weight) } },
          [DIRECT] = { SRV = { srv(1, s.tls_port, nil, weight) } }, ["host.example"] = LOOPBACK })
      end
    end)

    it("whose target refuses are skipped for the next", function()
      found("starttls", { [CLIENT] = { SRV = { srv(1, NOBODY, "dead.example"), srv(2, NOBODY), srv(3, s.port) } },
        ["host.example"] = LOOPBACK, ["dead.example"] = { A = { "127.0.0.3" } } })
    end)

    it("of a target that has no address are skipped for the next", function()
      found("starttls", { [CLIENT] = { SRV = { srv(1, s.port, "gone.example"), srv(2, s.port) } },
        ["host.example"] = LOOPBACK })
    end)

    it("of a target that does not answer are skipped for the next", function()
      local seconds = timed(function()
        found("starttls", { [CLIENT] = { SRV = { srv(1, s.port, "hole.example"), srv(2, s.port) } },
          ["host.example"] = LOOPBACK, ["hole.example"] = { A = { "127.0.0.2" } }, holes = { s.port } })
      end)
      assert.is_true(seconds < 5, seconds)
    end)

    describe("whose target takes the connection and then fails", function()
      -- With DIRECT and CLIENT in this order, the first fails as `text` says, and the second is used.
      local function passed_over(text, opts)
        local play = peer.play(text, { grace = 2 })
        open[#open + 1] = { close = function() play:stop() end }
        found("starttls", { [DIRECT] = { SRV = { srv(1, play.port) } }, [CLIENT] = { SRV = { srv(2, s.port) } },
          ["host.example"] = LOOPBACK }, opts)
      end

      it("are skipped for the next: one STARTTLS port for both services", function()
        found("starttls", { [DIRECT] = { SRV = { srv(1, s.port) } }, [CLIENT] = { SRV = { srv(2, s.port) } },
          ["host.example"] = LOOPBACK })
      end)

      it("are skipped for the next: one port for TLS from the first byte for both", function()
        found("direct", { [DIRECT] = { SRV = { srv(2, s.tls_port) } }, [CLIENT] = { SRV = { srv(1, s.tls_port) } },
          ["host.example"] = LOOPBACK })
      end)

      it("are skipped for the next: a close, a reset", function()
        passed_over "cut\n"
        passed_over "reset\n"
      end)

      it("are skipped for the next: HTTP", function()
        passed_over "raw HTTP/1.1 400 Bad Request\\r\\n\\r\\n\ncut\n"
      end)

      it("are skipped for the next: silence", function()
        passed_over("wait 20\n", { timeout = 8 })
      end)

      it("are skipped for the next: several of each kind", function()
        local zone = { [DIRECT] = { SRV = {} }, [CLIENT] = { SRV = { srv(9, s.port) } }, ["host.example"] = LOOPBACK }
        for i, text in ipairs { "cut\n", "wait 20\n", "reset\n", "raw HTTP/1.1 200 OK\\r\\n\\r\\n\ncut\n" } do
          local play = peer.play(text, { grace = 2 })
          open[#open + 1] = { close = function() play:stop() end }
          zone[DIRECT].SRV[i] = srv(i, play.port)
        end
        found("starttls", zone, { timeout = 15 })
      end)

      it("are not skipped for the next when its certificate is wrong", function()
        local text = peer.starttls:gsub("tls\n", "tls cert=expired refused\n")
        local play = peer.play(text, { grace = 2, certs = certs })
        open[#open + 1] = { close = function() play:stop() end }
        fails({ layer = "tls", condition = "certificate-expired", retry = false }, {},
          { [CLIENT] = { SRV = { srv(1, play.port), srv(2, s.port) } }, ["host.example"] = LOOPBACK },
          { ca_file = play.ca })
        play:check()
      end)

      it("are not skipped for the next when it refuses the password", function()
        local _, ns = name_server { [CLIENT] = { SRV = { srv(1, s.port), srv(2, NOBODY) } },
          ["host.example"] = LOOPBACK }
        local conn, err = xmpp.connect_client("alice@xmpp.test", "wrong", s.opts { nameservers = ns.ADDRESS })
        assert.is_nil(conn)
        assert.equal("not-authorized", err.condition)
      end)

      it("are not skipped for the next when it has logged us in", function()
        local play = peer.play(peer.starttls .. peer.plain .. "cut\n", { grace = 2, certs = certs })
        open[#open + 1] = { close = function() play:stop() end }
        fails({ layer = "tcp", condition = "EOF", retry = true }, {},
          { [CLIENT] = { SRV = { srv(1, play.port), srv(2, s.port) } }, ["host.example"] = LOOPBACK },
          { ca_file = play.ca }, "new@xmpp.test") -- one who hasn't logged in by anything better than PLAIN
        play:check()
      end)

      it("lead to the last one's error if all fail", function()
        fails({ layer = "tcp", condition = "ECONNREFUSED", retry = true }, {},
          { [DIRECT] = { SRV = { srv(1, s.port) } }, [CLIENT] = { SRV = { srv(2, NOBODY) } },
            ["host.example"] = LOOPBACK })
        fails({ layer = "tls", retry = true }, {},
          { [DIRECT] = { SRV = { srv(2, s.port) } }, [CLIENT] = { SRV = { srv(1, NOBODY) } },
            ["host.example"] = LOOPBACK })
      end)

      it("leave time for the next, however many are silent: here for the last of three", function()
        local silent = { [DIRECT] = "wait 20\n", [CLIENT] = "C: <stream:stream ...>\nwait 20\n" }
        for service, text in pairs(silent) do
          local zone = { [DIRECT] = { SRV = {} }, [CLIENT] = { SRV = {} }, ["host.example"] = LOOPBACK }
          for i = 1, 2 do
            local play = peer.play(text, { grace = 2 })
            open[#open + 1] = { close = function() play:stop() end }
            zone[service].SRV[i] = srv(i, play.port)
          end
          zone[CLIENT].SRV[#zone[CLIENT].SRV + 1] = srv(9, s.port)
          local seconds = timed(function() found("starttls", zone, { timeout = 9 }) end)
          assert.is_true(seconds > 5.5, seconds) -- 3 s for each of two, and then the third
        end
      end)

      it("leave time for the next, however slow they are in each phase: each target has one deadline", function()
        local slow = peer.starttls:gsub("S: ", "wait 5\n    S: ", 1):gsub("tls\n%s*$", "wait 20\n")
        local play = peer.play(slow, { grace = 2 })
        open[#open + 1] = { close = function() play:stop() end }
        local zone = { [CLIENT] = { SRV = { srv(1, play.port), srv(2, s.port) } }, ["host.example"] = LOOPBACK }
        local headers = {} -- when each was sent: one to each target comes before TLS
        local function log(direction, text)
          if direction == "out" and text:find("<stream:stream", 1, true) then headers[#headers + 1] = now() end
        end
        assert(find(zone, { timeout = 12, log = log }))
        local seconds = headers[2] - headers[1]
        assert.is_true(seconds > 5 and seconds < 7.5, seconds) -- 6 of 12 s; with a share for each phase it would be 8.5
      end)

      it("share the time that there is", function()
        local zone = { [DIRECT] = { SRV = {} }, ["host.example"] = LOOPBACK }
        for i = 1, 3 do
          local play = peer.play("wait 20\n", { grace = 2 })
          open[#open + 1] = { close = function() play:stop() end }
          zone[DIRECT].SRV[i] = srv(i, play.port)
        end
        local seconds = timed(function()
          fails({ layer = "timeout", condition = "timeout", retry = true }, {}, zone, { timeout = 2 })
        end)
        assert.is_true(seconds > 1.5 and seconds < 5, seconds)
      end)
    end)

    it("are tried for 16 targets at most", function()
      local list = {}
      for i = 1, 15 do list[i] = srv(i, NOBODY) end
      list[16] = srv(16, s.port)
      found("starttls", { [CLIENT] = { SRV = list }, ["host.example"] = LOOPBACK })
      list[16], list[17] = srv(16, NOBODY), srv(17, s.port)
      fails({ layer = "tcp", condition = "ECONNREFUSED", retry = true }, { "16 addresses" },
        { [CLIENT] = { SRV = list }, ["host.example"] = LOOPBACK })
    end)

    it("by the hundred do no harm", function()
      local list = {}
      for i = 1, 500 do list[i] = srv(i, NOBODY) end
      list[7] = srv(0, s.port)
      found("starttls", { [CLIENT] = { SRV = list }, ["host.example"] = LOOPBACK })
    end)

    it("with the target \".\" say that there is no service: no fallback", function()
      fails({ layer = "dns", condition = "no-service", retry = false }, { "xmpp%.test", "no service" },
        { [CLIENT] = { SRV = { srv(0, 0, ".") } }, [DIRECT] = { SRV = { srv(0, 0, ".") } }, ["xmpp.test"] = LOOPBACK },
        { port = s.port })
      fails({ layer = "dns", condition = "no-service" }, {},
        { [CLIENT] = { SRV = { srv(0, 0, ".") } }, ["xmpp.test"] = LOOPBACK }, { port = s.port })
    end)

    it("with the target \".\" for one service leave the other", function()
      found("starttls", { [CLIENT] = { SRV = { srv(1, s.port) } }, [DIRECT] = { SRV = { srv(0, 0, ".") } },
        ["host.example"] = LOOPBACK })
    end)

    it("that can't be dialled count as the target \".\"", function()
      fails({ layer = "dns", condition = "no-service" }, {},
        { [CLIENT] = { SRV = { srv(1, 0) } }, ["host.example"] = LOOPBACK, ["xmpp.test"] = LOOPBACK })
    end)

    it("are asked for _xmpps-client only with tls = \"direct\"", function()
      local address, ns = name_server { [CLIENT] = { SRV = { srv(1, s.port) } },
        [DIRECT] = { SRV = { srv(2, s.tls_port) } }, ["host.example"] = LOOPBACK }
      local conn = assert(xmpp.connect_client("alice@xmpp.test", s.users.alice,
        s.opts { nameservers = address, tls = "direct" }))
      conn:stop()
      assert.same({ "A host.example", "AAAA host.example", "SRV " .. DIRECT }, questions(ns))
    end)

    it("are asked for _xmpp-client only with tls = \"none\", since the other can't be used", function()
      local play = peer.play(peer.plain:gsub("PLAIN", "ANONYMOUS") .. peer.bind .. "C: </stream:stream>\n"
        .. "S: </stream:stream>\n")
      open[#open + 1] = { close = function() play:stop() end }
      local address, ns = name_server { [CLIENT] = { SRV = { srv(2, play.port) } },
        [DIRECT] = { SRV = { srv(1, s.tls_port) } }, ["host.example"] = LOOPBACK }
      local conn = assert(xmpp.connect_client("xmpp.test", nil,
        { nameservers = address, tls = "none", resource = "r", mechanisms = { "ANONYMOUS" } }))
      assert.equal("alice@xmpp.test/r", tostring(conn:jid()))
      assert(conn:stop())
      play:check()
      assert.same({ "A host.example", "AAAA host.example", "SRV " .. CLIENT }, questions(ns))
      fails({ layer = "tcp", condition = "ECONNREFUSED" }, { "port 1 " }, -- dials the domain itself
        { [DIRECT] = { SRV = { srv(1, s.tls_port) } }, ["host.example"] = LOOPBACK, ["xmpp.test"] = LOOPBACK },
        { tls = "none", port = NOBODY })
    end)

    it("are not asked for when a host is given", function()
      local address, ns = name_server { [CLIENT] = { SRV = { srv(1, NOBODY) } }, ["host.example"] = LOOPBACK }
      local conn = assert(xmpp.connect_client("alice@xmpp.test", s.users.alice, "host.example", s.port,
        s.opts { nameservers = address }))
      conn:stop()
      assert.same({ "A host.example", "AAAA host.example" }, questions(ns))
    end)

    it("aren't asked for a host that is given; its name may be Docker's or a content network's", function()
      local zone = {}
      for _, host in ipairs { "xmpp_prosody_1", "r3---sn-x", "_xmpp.example", "-a-.example" } do
        zone[host] = LOOPBACK
        found("starttls", zone, { host = host, port = s.port })
      end
      found("starttls", { [A_LABEL] = LOOPBACK }, { host = "Bücher.Example", port = s.port })
    end)

    it("decide where to connect, but the certificate must be the domain's", function()
      local err = fails({ layer = "tls", condition = "certificate-name-mismatch", retry = false },
        { "not for bank%.example but for xmpp%.test" },
        { ["_xmpp-client._tcp.bank.example"] = { SRV = { srv(1, s.port, "xmpp.test") } }, ["xmpp.test"] = LOOPBACK },
        {}, "alice@bank.example")
      assert.matches("tls_name", err.text)
      fails({ layer = "tls", condition = "certificate-name-mismatch" }, { "not for bank%.example but for xmpp%.test" },
        { ["_xmpps-client._tcp.bank.example"] = { SRV = { srv(1, s.tls_port, "xmpp.test") } },
          ["xmpp.test"] = LOOPBACK },
        {}, "alice@bank.example")
    end)
  end)

  describe("a domain without SRV records", function()
    it("is dialled itself", function()
      found("starttls", { ["xmpp.test"] = LOOPBACK }, { port = s.port })
      found("direct", { ["xmpp.test"] = LOOPBACK }, { port = s.tls_port, tls = "direct" })
    end)

    it("is dialled itself on port 5222", function()
      local err = fails({ layer = "tcp", condition = "ECONNREFUSED", retry = true },
        { "127%.0%.0%.9 port 5222", "refused" }, { ["xmpp.test"] = { A = { "127.0.0.9" } } })
      assert.equal("tcp: ECONNREFUSED: " .. err.text, tostring(err))
    end)

    it("is dialled itself if the name server can't answer for them", function()
      found("starttls", { [CLIENT] = { rcode = 2 }, [DIRECT] = { rcode = 4 }, ["xmpp.test"] = LOOPBACK },
        { port = s.port })
    end)

    it("may be an alias", function()
      found("starttls", { ["xmpp.test"] = { CNAME = "alias.example" }, ["alias.example"] = { CNAME = "host.example" },
        ["host.example"] = LOOPBACK }, { port = s.port })
    end)

    it("may have an IDN: it is looked up by its A-labels", function()
      local zone = { ["_xmpp-client._tcp." .. A_LABEL] = { SRV = { srv(1, s.port) } }, ["host.example"] = LOOPBACK }
      assert.equal("starttls", find_anonymously(zone, "bücher.example"))
      assert.equal("starttls", find_anonymously({ [A_LABEL] = LOOPBACK }, "Bücher.Example.", { port = s.port }))
      fails({ layer = "tls", condition = "certificate-name-mismatch" }, { "not for xn%-%-bcher%-kva%.example" }, zone,
        { mechanisms = { "ANONYMOUS" } }, "bücher.example")
    end)

    it("may be in the hosts file", function()
      local how, err = find_anonymously({}, "localhost", { port = s.port, tls_name = "localhost" })
      assert.equal("starttls", how, tostring(err))
    end)
  end)

  describe("an address", function()
    it("as the domain is dialled without a look-up", function()
      local address, ns = name_server {}
      local conn = assert(xmpp.connect_client("127.0.0.1", nil,
        s.opts { nameservers = address, mechanisms = { "ANONYMOUS" }, port = s.port }))
      assert.matches("@127%.0%.0%.1/", tostring(conn:jid()))
      conn:stop()
      assert.same({}, questions(ns))
    end)

    it("of IPv6 may be the domain, and the host", function()
      local address, ns = name_server {}
      local opts = s.opts { nameservers = address, tls = "direct", port = s.tls_port }
      local _, err = xmpp.connect_client("alice@[::1]", "alicepw", opts)
      local conn, refused = xmpp.connect_client("alice@xmpp.test", s.users.alice, "::1", s.tls_port, opts)
      if ns.IPV6 == "yes" then
        assert.equal("host-unknown", err.condition, tostring(err)) -- Prosody's error, so its certificate was accepted
        assert(conn, tostring(refused)):stop()
      else
        assert.equal("tcp", err.layer)
        assert.equal("tcp", refused.layer)
      end
      assert.same({}, questions(ns))
    end)

    it("that doesn't answer delays the others by about a second only", function()
      local seconds = timed(function()
        found("starttls", { ["xmpp.test"] = { AAAA = { "::1" }, A = { "127.0.0.2", "127.0.0.1" } },
          holes = { s.port } },
          { port = s.port })
      end)
      assert.is_true(seconds < 5, seconds) -- each of the two has a quarter of a second
    end)

    it("that doesn't answer is named in the error: the last of them", function()
      fails({ layer = "tcp", condition = "ECONNREFUSED", retry = true }, { "127%.0%.0%.%d port 1 ",
        "3 addresses tried" },
        { ["xmpp.test"] = { A = { "127.0.0.3", "127.0.0.4", "127.0.0.5" } } }, { port = NOBODY })
    end)

    it("may come by the hundred", function()
      local list = {}
      for i = 1, 500 do list[i] = ("127.0.%d.%d"):format(2 + math.floor(i / 250), i % 250 + 1) end
      fails({ layer = "tcp", condition = "ECONNREFUSED" }, { "32 addresses tried" }, { ["xmpp.test"] = { A = list } },
        { port = NOBODY })
    end)
  end)

  describe("a name", function()
    it("that does not exist is reported", function()
      local err = fails({ layer = "dns", condition = "NXDOMAIN" }, { "xmpp%.test", "no such name" }, {})
      assert.equal("dns: NXDOMAIN: " .. err.text, tostring(err))
      fails({ layer = "dns", condition = "NXDOMAIN" }, { "^gone%.example: " }, {}, { host = "gone.example" })
    end)

    it("that has no address is reported", function()
      fails({ layer = "dns", condition = "NODATA" }, { "xmpp%.test", "no address" }, { ["xmpp.test"] = {} })
    end)

    it("that the name server fails to resolve is reported, and may be tried again", function()
      fails({ layer = "dns", condition = "SERVFAIL", retry = true }, { "xmpp%.test", "failed" },
        { ["*"] = { rcode = 2 } })
      fails({ layer = "dns", condition = "REFUSED", retry = true }, { "refuses" }, { ["*"] = { rcode = 5 } })
    end)

    it("of an SRV target without an address is reported", function()
      fails({ layer = "dns", condition = "NXDOMAIN", retry = true },
        { "^xmpp%.test: no SRV target has an address", "a%.example: NXDOMAIN", "b%.example: NODATA" },
        { [CLIENT] = { SRV = { srv(1, s.port, "a.example"), srv(2, s.port, "b.example") } }, ["b.example"] = {} })
    end)

    it("that is an alias of itself leads nowhere", function()
      local err = fails({ layer = "dns" }, { "xmpp%.test" },
        { ["xmpp.test"] = { CNAME = "loop.example" }, ["loop.example"] = { CNAME = "xmpp.test" },
          [CLIENT] = { CNAME = CLIENT } })
      assert.is_true(err.condition == "NODATA" or err.condition == "EBADRESP", tostring(err))
    end)
  end)

  describe("a name server that", function()
    local function times_out(zone, more)
      local seconds = timed(function()
        fails({ layer = "timeout", condition = "timeout", retry = true }, { "xmpp%.test", "name servers" }, zone,
          with({ timeout = 0.6 }, more))
      end)
      assert.is_true(seconds < 5, seconds)
    end

    it("is silent is waited for no longer than the option timeout allows", function()
      times_out { ["*"] = { how = "silent" } }
    end)

    it("is silent about one service, or both, counts as saying that there is none", function()
      for _, silent in ipairs { { DIRECT }, { CLIENT }, { DIRECT, CLIENT } } do
        local zone = { ["xmpp.test"] = LOOPBACK }
        for _, name in ipairs(silent) do zone[name] = { how = "silent" } end
        found("starttls", zone, { port = s.port, timeout = 6 })
      end
    end)

    it("is silent about one service is not waited for when the other is known", function()
      found("starttls", { [DIRECT] = { how = "silent" }, [CLIENT] = { SRV = { srv(1, s.port) } },
        ["host.example"] = LOOPBACK }, { timeout = 6 })
    end)

    it("is silent is followed by the next one", function()
      local deaf, deafer = name_server { ["*"] = { how = "silent" } }, name_server { ["*"] = { how = "silent" } }
      local knows = name_server { [CLIENT] = { SRV = { srv(1, s.port) } }, ["host.example"] = LOOPBACK }
      found("starttls", {}, { nameservers = deaf .. "," .. deafer .. "," .. knows })
    end)

    it("answers other questions is not believed", function()
      times_out { ["*"] = { how = "wrong id", A = { "127.0.0.1" }, SRV = { srv(1, s.port) } } }
    end)

    it("answers for other names is not believed", function()
      local got, err = find({ ["*"] = { how = "wrong name", A = { "127.0.0.1" }, SRV = { srv(1, s.port) } } },
        { timeout = 0.6, port = s.port })
      assert.is_nil(got)
      assert.is_true(err.layer == "dns" or err.layer == "timeout", tostring(err))
    end)

    it("sends a malformed or incomplete answer is not believed", function()
      for _, how in ipairs { "garbage", "cut" } do
        local got, err = find({ ["*"] = { how = how, A = { "127.0.0.1" }, SRV = { srv(1, s.port) } } },
          { timeout = 0.6, port = s.port })
        assert.is_nil(got)
        assert.is_true(err.layer == "dns" or err.layer == "timeout", tostring(err))
      end
    end)

    it("is not there is reported", function()
      local conn, err = xmpp.connect_client("alice@xmpp.test", "alicepw", s.opts { nameservers = "127.0.0.1:1" })
      assert.is_nil(conn)
      assert.equal("dns", err.layer)
      assert.equal("ECONNREFUSED", err.condition)
      assert.matches("no name server could be reached", err.text)
    end)

    it("is late is waited for, while the rest goes on", function()
      found("starttls", { [CLIENT] = { after = 0.3, SRV = { srv(1, s.port) } },
        ["host.example"] = { after = 0.3, A = { "127.0.0.1" } } })
    end)
  end)

  describe("the option timeout", function()
    it("covers names and connections together", function()
      local err
      local seconds = timed(function()
        err = fails({ layer = "timeout", condition = "timeout", retry = true }, { "xmpp%.test", "TCP connection" },
          { [CLIENT] = { SRV = { srv(1, s.port, "hole.example"), srv(2, s.port, "hole.example") } },
            ["hole.example"] = { after = 0.2, AAAA = { "::1" }, A = { "127.0.0.2" } }, holes = { s.port } },
          { timeout = 1 })
      end)
      assert.is_true(seconds < 6, seconds)
      assert.matches("^timeout: timeout: ", tostring(err))
    end)
  end)
end, { extra_conf = EXTRA }, { "prosody" })
