-- sasl2: logins in one exchange (XEP-0388, XEP-0386) at real servers: which profile is used, what goes inside, sessions
-- that are resumed or lost within it, and what is the same as with RFC 6120's SASL. fast_spec tests tokens.
local child = require "spec.support.child"
local exchange = require "spec.support.exchange"
local json = require("spec.support.luas").json "sasl2"
local managed = require "spec.support.managed"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

if not json then return end

local xexpr = xmpp.xexpr
local turn_until, keep, count = managed.turn_until, exchange.keep, exchange.count

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
local SOON = { min = 0, max = 0.05 }
local WAYS = { "direct", "starttls" }

before_each(function() xmpp.forget() end)
after_each(exchange.stop)

local function resource(conn) return conn:jid().resourcepart end

local function say(from, to, text, opts)
  return assert(from:send({ "message", { to = tostring(to), type = "chat" }, { "body", text } }, opts))
end

local function hears(conn, text)
  assert.equal(text, xexpr.text(assert(conn:receive_blocking(30)), "body"))
end

-- What holds for every login by SASL2, however it was bound.
local function check(conn, expected)
  local info = conn:info()
  for field, value in pairs(expected) do assert.equal(value, info[field], field) end
  assert.equal("result", assert(conn:send_await({ "iq", { type = "get" }, PING }, 30))[2].type)
  return info
end

-- The channel bindings that may be used with this version of TLS.
local function bound_to(version)
  return version == "TLSv1.2" and { ["tls-exporter"] = true, ["tls-unique"] = true } or { ["tls-exporter"] = true }
end

local function ways(version)
  return function(s)
    local e = exchange.of(s)
    for _, tls in ipairs(WAYS) do
      describe(("by %s, %s"):format(tls, version), function()
        it("a login uses SASL2, and a resource is bound after it", function()
          local conn, log = e.login("alice", { tls = tls })
          local info = check(conn, { profile = "sasl2", bound_inline = false, fast = false, tls_version = version })
          assert.matches("^SCRAM%-SHA%-%d+%-PLUS$", info.mechanism)
          assert.is_true(bound_to(version)[info.channel_binding])
          assert.equal(tls == "direct" and 1 or 2, count(log.out, "<stream:stream"))
          assert.equal(1, count(log.out, "<authenticate"))
          assert.equal(1, count(log.out, "urn:ietf:params:xml:ns:xmpp-bind"))
          assert.equal(0, count(log.out, "<auth "))
        end)

        it("has the requested resource, on the same stream", function()
          local conn, log = e.login("alice", { tls = tls, resource = "mine" })
          check(conn, { profile = "sasl2", bound_inline = false })
          assert.equal("mine", resource(conn))
          assert.equal(tls == "direct" and 1 or 2, count(log.out, "<stream:stream"))
        end)

        it("binds inside, with the tag and everything sent along", function()
          local bind2, agent = { tag = "phone", carbons = true, inactive = true }, { id = exchange.agent() }
          local conn, log = e.login("alice", { tls = tls, bind2 = bind2, resume = true, user_agent = agent,
            fast = false })
          local info = check(conn, { profile = "sasl2", bound_inline = true, stream_management = true,
            resumable = true })
          assert.is_true(bound_to(version)[info.channel_binding])
          assert.matches("^phone", resource(conn))
          assert.equal(0, count(log.out, "<iq") - 1) -- one is the ping in check()
          assert.equal(0, count(log.out, "<enable"))
          assert.is_nil(conn:token())
        end)

        it("knows what the session's features offer", function()
          for _, opts in ipairs { { tls = tls }, { tls = tls, bind2 = true } } do
            local conn = e.login("alice", opts)
            assert.is_true(conn:info().offers["urn:xmpp:features:rosterver"])
            assert.is_nil(conn:info().offers["urn:xmpp:sasl:2"])
          end
        end)

        it("is sent together with the header from the second time on", function()
          for i = 1, 3 do
            local conn, log = e.login("alice", { tls = tls, bind2 = true, pipelining = true })
            local told = {}
            for _, what in ipairs(conn:info().pipelined or {}) do told[what] = true end
            assert.equal(i > 1, told.auth or false)
            if i > 1 then assert.matches("<authenticate [^>]*>%[masked%]</authenticate><stream ", log.text) end
          end
        end)

        it("uses SASL1 with sasl2 = false", function()
          local conn, log = e.login("alice", { tls = tls, sasl2 = false })
          check(conn, { profile = "sasl", bound_inline = false, fast = false })
          assert.equal(0, count(log.out, "<authenticate"))
          local other = e.login("alice", { tls = tls, sasl2 = false, bind2 = true })
          check(other, { profile = "sasl", bound_inline = false })
        end)
      end)
    end
  end
end

server.each(ways "TLSv1.3", nil, server.SASL2)
server.each(ways "TLSv1.2", { tls_protocol = "1.2" }, server.SASL2)

server.each(function(s)
  local e = exchange.of(s)

  describe("a login, counted by a capture,", function()
    for kind, expected in pairs { sasl2 = "5 4\n", fast = "4 3\n" } do
      it("takes the expected round trips by STARTTLS and direct TLS: " .. kind, function()
        local pipe = assert(io.popen(("XMPP_SERVER=%s %s spec/bench/trips figures %s 2>&1"):format(s.name,
          os.getenv "LUA" or "lua5.4", kind)))
        local told = pipe:read "*a"
        pipe:close()
        local why = told:match "not measured: ([^\n]*)"
        if why then return pending(why) end
        assert.equal(expected, told)
      end)
    end
  end)

  describe("what is sent inside", function()
    it("enables carbons", function()
      local carol = e.login("carol", { resource = "other" })
      local alice, log = e.login("alice", { tls = "direct", bind2 = { carbons = true } })
      assert.equal(0, count(log.out, "<iq"))
      local second = e.login("alice", { resource = "second" })
      for _, conn in ipairs { alice, second } do assert(conn:send { "presence" }) end
      for _, conn in ipairs { alice, second } do assert(conn:ping(30)) end
      say(carol, second:jid(), "a copy of it")
      local copy
      alice:set_handler(function(stanza) copy = copy or xexpr.find(stanza, { "received", "urn:xmpp:carbons:2" }) end)
      turn_until(function() return copy end, "a carbon copy")
      local original = xexpr.find(copy, { "forwarded", "urn:xmpp:forward:0" }, "message")
      assert.equal("a copy of it", xexpr.text(original, "body"))
    end)

    it("enables stream management at once", function()
      local note = managed.notebook()
      local bob = e.login("bob", { resource = "r" })
      local alice, log = e.login("alice", { tls = "direct", bind2 = true, resume = true })
      assert.is_true(alice:info().stream_management)
      assert.is_true(alice:info().resumable)
      for i = 1, 5 do say(alice, bob:jid(), tostring(i), note.of(tostring(i))) end
      assert.equal(0, count(log.out, "<enable"))
      for i = 1, 5 do hears(bob, tostring(i)) end
      assert(alice:flush(30))
      for i = 1, 5 do assert.equal("written acked", note[tostring(i)]) end
      assert.same({ 0, 0 }, { alice:pending() })
    end)
  end)

  describe("an account", function()
    it("is refused with a wrong password, after one try", function()
      for _, bind2 in ipairs { false, true } do
        local conn, err, log = e.try("alice", { tls = "direct", bind2 = bind2, reconnect = SOON }, "wrong")
        assert.is_nil(conn)
        assert.same({ "sasl", "not-authorized", false }, { err.layer, err.condition, err.retry or false })
        assert.equal(1, count(log.out, "<authenticate"))
        assert.equal(0, count(log.out, "<auth "))
      end
    end)

    it("is the same in another case, with the server's spelling", function()
      for _, opts in ipairs { { tls = "direct" }, { tls = "direct", bind2 = true } } do
        opts.user_agent = { id = exchange.agent() }
        local o = s.opts(opts)
        o.host, o.port = s.host, s.tls_port
        local conn = keep(assert(xmpp.connect_client("ALICE@" .. s.domain:upper(), s.users.alice, o)))
        assert.equal("alice@" .. s.domain, tostring(conn:jid():bare()))
        check(conn, { profile = "sasl2" })
      end
    end)
  end)

  describe("a link that breaks", function()
    local function begin(opts, at)
      local o = { tls = "direct", bind2 = true, reconnect = SOON }
      for key, value in pairs(opts or {}) do o[key] = value end
      local p = keep(proxy.start(s.host, at or s.tls_port))
      local conn, log = e.login("alice", o, nil, p)
      return p, conn, log
    end

    it("is resumed inside of the login, in one exchange, and nothing is lost", function()
      local p, alice, log = begin()
      local bob = e.login("bob", { resource = "r" })
      local note, jid = managed.notebook(), tostring(alice:jid())
      for round = 1, 5 do
        p:tell "refuse"
        p:tell "cut rst"
        turn_until(function() return alice:state() == "waiting" end, "the end of the link")
        local name = tostring(round)
        say(alice, bob:jid(), name, note.of(name))
        say(bob, jid, "to alice " .. name)
        assert(bob:ping(30))
        log.out = ""
        p:tell "accept"
        turn_until(function() return alice:info().resumed == round and alice:state() == "ready" end, "resumption")
        hears(bob, name)
        hears(alice, "to alice " .. name)
        assert(alice:flush(30))
        assert.equal("written acked", note[name])
        assert.equal(jid, tostring(alice:jid()))
        assert.equal(1, count(log.out, "<authenticate"))
        assert.equal(0, count(log.out, "<resume")) -- only inside of <authenticate/>
      end
      local info = check(alice, { profile = "sasl2", bound_inline = true, rebound = 0, resumed = 5 })
      assert.is_true(info.offers["urn:xmpp:features:rosterver"])
    end)

    it("is resumed inside with STARTTLS and a chosen resource, too", function()
      local p, alice = begin({ tls = "starttls", bind2 = false, resource = "mine" }, s.port)
      turn_until(function() return alice:info().resumable end, "a session")
      p:tell "cut fin"
      turn_until(function() return alice:info().resumed == 1 and alice:state() == "ready" end, "resumption")
      check(alice, { profile = "sasl2", bound_inline = true, rebound = 0 })
      assert.equal("mine", resource(alice))
    end)

    it("is replaced with a new session in the same exchange if the server has forgotten it", function()
      local p, alice, log = begin { user_agent = { id = exchange.agent() }, fast = false }
      local bob, note = e.login("bob", { resource = "r", reconnect = SOON }), managed.notebook()
      local before = tostring(alice:jid())
      p:tell "refuse"
      s:restart(true)
      turn_until(function() return alice:state() == "waiting" end, "the end of the link")
      turn_until(function() return bob:state() == "ready" and bob:info().rebound == 1 end, "bob")
      say(alice, bob:jid(), "kept", note.of "kept")
      log.out, log.into = "", ""
      p:tell "accept"
      turn_until(function() return alice:info().rebound == 1 and alice:state() == "ready" end, "a new session")
      hears(bob, "kept")
      assert(alice:flush(30))
      assert.equal("written acked", note.kept)
      check(alice, { profile = "sasl2", bound_inline = true, resumed = 0, stream_management = true, resumable = true })
      assert.equal(before, tostring(alice:jid())) -- the same installation has the same resource
      assert.equal(0, count(log.out, "<resume"))
      assert.equal(1, count(log.into, "<success"))
      assert.equal(0, count(log.out, "urn:ietf:params:xml:ns:xmpp-bind"))
    end)

    it("is resumed or lost, never bound again, with resume = true only", function()
      local p, alice = begin { reconnect = false, resume = true }
      p:tell "cut rst"
      turn_until(function() return alice:info().resumed == 1 and alice:state() == "ready" end, "resumption")
      local states = managed.states(alice)
      s:restart(true)
      turn_until(function() return alice:state() == "closed" end, "the end")
      xmpp.step(0)
      assert.equal("session-lost", states.why.closed.condition)
      assert.equal(0, alice:info().rebound)
    end)
  end)

  describe("a saved session", function()
    local function carry_on(saved, to)
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write(json.encode(saved))
      f:close()
      local pipe = io.popen(("exec ${LUA:-lua5.4} '%s/resumer.lua' '%s' %s '%s' %d '%s'"):format(child.folder, path,
        s.users.alice, s.ca, 0, to))
      local report = pipe:read "*a"
      pipe:close()
      os.remove(path)
      local told = json.decode(report)
      assert.is_nil(told.failed, told.failed)
      return told
    end

    local function save(agent)
      local alice = e.login("alice", { tls = "direct", bind2 = true, resume = true, user_agent = { id = agent } })
      local jid = tostring(alice:jid())
      return assert(alice:save()), jid
    end

    it("is resumed inside of the login by another connection, under the same user agent", function()
      local agent = exchange.agent()
      local saved, jid = save(agent)
      assert.equal(agent, saved.user_agent)
      assert.is_nil(json.encode(saved):find("secret", 1, true))
      local conn = keep(assert(xmpp.resume(saved, s.users.alice, s.opts { bind2 = true, resume = true })))
      turn_until(function() return conn:state() == "ready" end, "the session")
      assert.equal(jid, tostring(conn:jid()))
      check(conn, { profile = "sasl2", bound_inline = true, resumed = 1, rebound = 0 })
      local newer = e.login("alice", { tls = "direct", bind2 = true, user_agent = { id = agent } })
      assert.equal(jid, tostring(newer:jid())) -- it follows from the user agent
    end)

    it("is resumed by another process", function()
      local bob = e.login("bob", { resource = "r" })
      local saved, jid = save(exchange.agent())
      say(bob, jid, "meanwhile")
      assert(bob:ping(30))
      local told = carry_on(saved, tostring(bob:jid()))
      assert.equal(jid, told.jid)
    end)
  end)

  describe("two connections with the same user-agent id", function()
    it("end the older one, which doesn't reconnect, and reports why", function()
      local agent = exchange.agent()
      local opts = { tls = "direct", bind2 = true, user_agent = { id = agent }, reconnect = SOON }
      local older = e.login("alice", opts)
      local states = managed.states(older)
      local newer = e.login("alice", opts)
      turn_until(function() return older:state() == "closed" end, "the end of the older one")
      xmpp.step(0)
      local err = states.why.closed
      assert.same({ "stream", "conflict", false }, { err.layer, err.condition, err.retry or false })
      assert.matches("user%-agent id", err.text)
      assert.same({ "closed" }, { states[1], states[2] })
      check(newer, { profile = "sasl2", bound_inline = true })
      assert.equal(tostring(older:jid()), tostring(newer:jid()))
    end)
  end)
end, nil, server.SASL2)
