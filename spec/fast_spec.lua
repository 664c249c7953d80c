-- fast: logins by a token (XEP-0484) at real servers: tokens are asked for, kept, used, rotated, refused; how the
-- program gets them; and that a proof that was sent on one channel is worthless on another.
local child = require "spec.support.child"
local exchange = require "spec.support.exchange"
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local turn_until, keep, count = managed.turn_until, exchange.keep, exchange.count

local SOON = { min = 0, max = 0.05 }
local EXPR, NONE = "HT-SHA-256-EXPR", "HT-SHA-256-NONE"
local SCRAM = { "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1" }

before_each(function() xmpp.forget() end)
after_each(exchange.stop)

local function by(agent, opts)
  local o = { tls = "direct", bind2 = true, user_agent = { id = agent } }
  for key, value in pairs(opts or {}) do o[key] = value end
  return o
end

-- The same token with other fields.
local function altered(token, fields)
  local t = {}
  for key, value in pairs(token) do t[key] = value end
  for key, value in pairs(fields) do t[key] = value or nil end
  return t
end

-- Options for a login by a token that the program has kept.
local function with(token, opts)
  local o = by(nil, opts)
  o.user_agent, o.token = nil, token
  return o
end

-- A login without a password has ended because its token was refused.
local function is_final(conn, err, condition)
  assert.is_nil(conn)
  assert.same({ "sasl", condition or "not-authorized", false }, { err.layer, err.condition, err.retry or false })
  assert.matches("password", err.text)
end

local function is_ready_again(conn, resumed, fast)
  turn_until(function() return conn:info().resumed == resumed and conn:state() == "ready" end, "resumption")
  assert.equal(fast ~= false, conn:info().fast)
end

server.each(function(s)
  local e = exchange.of(s)

  describe("a token", function()
    it("comes with a login by password if there is a user agent's id, and is reported", function()
      local agent, before = exchange.agent(), os.time()
      local told
      local conn, log = e.login("alice", by(agent, { on_open = function(c)
        c:on("token", function(token) told = token end)
      end }))
      turn_until(function() return told end, "the event")
      assert.is_false(conn:info().fast)
      assert.same(told, conn:token())
      assert.same({ 1, "alice@" .. s.domain, agent, EXPR }, { told.version, told.jid, told.user_agent, told.mechanism })
      assert.is_true(#told.token > 16)
      assert.is_true(told.expiry > before + 3600 and told.expiry < before + 367 * 24 * 3600)
      local fields = 0
      for _ in pairs(told) do fields = fields + 1 end
      assert.equal(6, fields)
      assert.is_nil(log.text:find(told.token, 1, true))
    end)

    it("isn't given without such an id, if it is switched off, or without verification", function()
      for _, opts in ipairs { { user_agent = { software = "spec" } }, { fast = false }, { verify = false },
        { mechanisms = SCRAM }, { sasl2 = false } } do
        local conn = e.login("alice", by(exchange.agent(), opts))
        assert.is_nil(conn:token())
        assert.is_false(conn:info().fast)
      end
    end)

    it("has a user agent made for the connection if only fast = true is given", function()
      local conn = e.login("alice", { tls = "direct", bind2 = true, fast = true })
      local token = assert(conn:token())
      assert.matches("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$", token.user_agent)
    end)

    it("logs in without a password, with Bind 2 and without, by direct TLS and STARTTLS", function()
      local token = e.token("alice")
      for _, tls in ipairs { "direct", "starttls" } do
        for _, bind2 in ipairs { true, false } do
          xmpp.forget() -- as if it were another process
          local conn, log = e.login("alice", with(token, { tls = tls, bind2 = bind2 }), false)
          local info = conn:info()
          assert.same({ "sasl2", EXPR, "tls-exporter", true, bind2 },
            { info.profile, info.mechanism, info.channel_binding, info.fast, info.bound_inline })
          assert.equal(1, count(log.out, "<authenticate"))
          assert.equal(0, count(log.out, "<response"))
          assert(conn:ping(30))
          token = assert(conn:token())
          assert.is_nil(log.text:find(token.token, 1, true))
          assert(conn:stop(30))
        end
      end
    end)

    it("is used by the next login of the same user agent in this process, together with the header", function()
      local agent = exchange.agent()
      e.token("alice", agent)
      local conn, log = e.login("alice", by(agent))
      assert.is_true(conn:info().fast)
      assert.same({ "auth" }, conn:info().pipelined)
      assert.matches("mechanism='" .. EXPR:gsub("%-", "%%-") .. "'>%[masked%]</authenticate><stream ", log.text)
      assert.is_false(e.login("alice", by(exchange.agent())):info().fast)
      assert.is_false(e.login("bob", by(agent)):info().fast)
    end)

    it("is forgotten by xmpp.forget()", function()
      local agent = exchange.agent()
      local conn = e.login("alice", by(agent))
      assert.is_table(conn:token())
      xmpp.forget()
      assert.is_nil(conn:token())
      assert.is_false(e.login("alice", by(agent)):info().fast)
    end)

    it("isn't used if no mechanism for it is allowed, and is kept", function()
      local agent = exchange.agent()
      local token = e.token("alice", agent)
      local conn = e.login("alice", by(agent, { mechanisms = SCRAM }))
      assert.is_false(conn:info().fast)
      assert.same(token, conn:token())
      assert(conn:stop(30))
      assert.is_true(e.login("alice", by(agent)):info().fast)
    end)

    it("that is another account's, or another user agent's, is the program's mistake", function()
      local token = e.token("alice")
      for _, opts in ipairs { with(token), by(exchange.agent(), { token = token }) } do
        local ok, why = pcall(e.try, opts.user_agent and "alice" or "bob", opts, false)
        assert.is_false(ok)
        assert.matches("bad option 'token'", why)
      end
    end)

    it("that has expired isn't used", function()
      local token = altered(e.token("alice"), { expiry = os.time() - 10 })
      xmpp.forget()
      local conn, log = e.login("alice", with(token))
      assert.is_false(conn:info().fast)
      assert.equal(1, count(log.out, "<authenticate"))
      assert.equal(0, count(log.out, "mechanism='HT"))
      assert(conn:stop(30))
      xmpp.forget()
      local none, err, said = e.try("alice", with(token), false)
      assert.is_nil(none)
      assert.is_nil(said.out:find("<authenticate", 1, true))
      assert.same({ "sasl", false }, { err.layer, err.retry or false })
    end)
  end)

  describe("a token that is refused", function()
    -- A token that the server has never given, of the right form.
    local function bad(token) return altered(token, { token = token.token:reverse() }) end

    it("is followed by the password, on the same stream, and then by a new token", function()
      local token = bad(e.token("alice"))
      xmpp.forget()
      local p = keep(proxy.start(s.host, s.tls_port))
      local conn, log = e.login("alice", with(token), nil, p)
      assert.is_false(conn:info().fast)
      assert.matches("^SCRAM", conn:info().mechanism)
      assert.equal(2, count(log.out, "<authenticate"))
      assert.equal(1, count(log.out, "<stream:stream"))
      assert.equal(1, p:stats().connections)
      assert.not_equal(token.token, assert(conn:token()).token)
      assert(conn:stop(30))
      assert.is_true(e.login("alice", by(token.user_agent)):info().fast)
    end)

    it("ends the login if there is no password, and the error says so", function()
      local token = bad(e.token("alice"))
      xmpp.forget()
      local p = keep(proxy.start(s.host, s.tls_port))
      local conn, err = e.try("alice", with(token, { reconnect = SOON }), false, p)
      is_final(conn, err)
      assert.equal(1, p:stats().connections)
    end)

    it("is followed by the one that has worked before, on another connection", function()
      local agent = exchange.agent()
      e.token("alice", agent)
      local proven = e.login("alice", by(agent))
      assert.is_true(proven:info().fast)
      local token = proven:token()
      assert(proven:stop(30))
      local p = keep(proxy.start(s.host, s.tls_port))
      local conn, log = e.login("alice", with(bad(token)), false, p)
      assert.is_true(conn:info().fast)
      assert.equal(2, count(log.out, "<authenticate"))
      assert.equal(2, p:stats().connections)
    end)

    it("and an older one that is refused, too, end the login, after two connections", function()
      local agent = exchange.agent()
      e.token("alice", agent)
      local proven = e.login("alice", by(agent))
      local token = proven:token()
      assert(proven:stop(30))
      local command = "exec ${LUA:-lua5.4} '%s/other_login.lua' '%s' %d '%s' '%s' '%s' '%s'"
      local pipe = io.popen(command:format(child.folder, s.host, s.tls_port, s.ca, s.domain, s.users.alice, agent))
      assert.equal("done\n", pipe:read "*a")
      pipe:close()
      local p = keep(proxy.start(s.host, s.tls_port))
      local conn, err, log = e.try("alice", with(bad(token), { reconnect = SOON }), false, p)
      is_final(conn, err)
      assert.equal(2, count(log.out, "<authenticate"))
      assert.equal(2, p:stats().connections)
      conn, err = e.try("alice", with(altered(token, { token = "x" })), false, p)
      is_final(conn, err) -- neither token is kept any longer
      assert.equal(3, p:stats().connections)
    end)

    it("was used by another mechanism than it was given for", function()
      local token = altered(e.token("alice"), { mechanism = NONE })
      xmpp.forget()
      local mechanisms = { NONE, "SCRAM-SHA-256-PLUS" }
      local conn, log = e.login("alice", with(token, { mechanisms = mechanisms }))
      local is_bound = s.name:find "^prosody" ~= nil -- ejabberd accepts a token by any mechanism
      assert.equal(not is_bound, conn:info().fast)
      assert.equal(is_bound and 2 or 1, count(log.out, "<authenticate"))
      assert(conn:stop(30))
      xmpp.forget()
      conn = e.login("alice", with(token)) -- a token for NONE is only used if the program names NONE
      assert.is_false(conn:info().fast)
    end)
  end)

  describe("a link that breaks", function()
    it("comes back by a token, a new one or the one that is valid", function()
      local p = keep(proxy.start(s.host, s.tls_port))
      local events = 0
      local conn, log = e.login("alice", by(exchange.agent(), { reconnect = SOON, on_open = function(c)
        c:on("token", function() events = events + 1 end)
      end }), nil, p)
      for i = 1, 20 do
        log.out = ""
        p:tell "cut rst"
        is_ready_again(conn, i)
        assert(conn:ping(30))
        assert.equal(1, count(log.out, "<authenticate"))
      end
      assert.equal(21, p:stats().connections)
      assert.equal(0, conn:info().rebound)
      assert.equal(s.name:find "^prosody" and 21 or 1, events) -- Prosody sends one with each resumption
      assert.equal(EXPR, conn:token().mechanism)
    end)
  end)

  describe("a token's proof", function()
    -- What a client sends to an impostor with a valid certificate for the server's name, byte for byte.
    local function record(token, mechanisms)
      local offers = ""
      for _, m in ipairs { EXPR, NONE } do offers = offers .. "<mechanism>" .. m .. "</mechanism>" end
      local p = keep(peer.play("tls\nC: <stream:stream ...>\n"
        .. "S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        .. "<stream:features><authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-256</mechanism><inline>"
        .. "<fast xmlns='urn:xmpp:fast:0'>" .. offers .. "</fast><bind xmlns='urn:xmpp:bind:0'/></inline>"
        .. "</authentication></stream:features>\nC: <authenticate ...>...</authenticate>\nS: </stream:stream>\n",
        { certs = s.certs, grace = 2 }))
      local o = with(token, { ca_file = s.ca, mechanisms = mechanisms })
      local conn = xmpp.connect_client("alice@" .. s.domain, nil, p.host, p.port, o)
      assert.is_nil(conn)
      local said = assert(p:finish():match "(<authenticate.-</authenticate>)", p.transcript)
      assert.is_truthy(said:find("mechanism='" .. token.mechanism .. "'", 1, true))
      return said
    end

    -- The real server's answer when these bytes are sent to it on another channel.
    local function replay(said)
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write(said)
      f:close()
      local command = "env -u LD_PRELOAD '%s/replay.py' %s %d %s '%s' 'alice@%s' <'%s'"
      local pipe = io.popen(command:format(child.folder, s.host, s.tls_port, s.domain, s.ca, s.domain, path))
      local answer = pipe:read "*a"
      pipe:close()
      os.remove(path)
      return answer
    end

    it("is refused on another channel if it is bound to one, and the token stays valid", function()
      local token = e.token("alice")
      xmpp.forget()
      local answer = replay(record(token))
      assert.is_nil(answer:find("<success", 1, true))
      assert.is_truthy(answer:find("<failure", 1, true), answer)
      xmpp.forget()
      assert.is_true(e.login("alice", with(token), false):info().fast)
    end)

    it("is accepted from anybody if it is not bound, so that such a token is only asked for by name", function()
      local token = e.token("alice", nil, { mechanisms = { NONE, "SCRAM-SHA-256-PLUS" } })
      assert.equal(NONE, token.mechanism)
      xmpp.forget()
      assert.is_truthy(replay(record(token, { NONE, "SCRAM-SHA-256-PLUS" })):find("<success", 1, true))
    end)
  end)
end, nil, server.SASL2)

-- With a server that replaces tokens all the time. (ejabberd 24.12 multiplies each second of the age that is configured
-- by a thousand.)
server.each(function(s)
  it("each new token is used, however often there is another one", function()
    local e = exchange.of(s)
    local p = keep(proxy.start(s.host, s.tls_port))
    local known, different, resumed = {}, 0, 0
    local conn = e.login("alice", by(exchange.agent(), { reconnect = SOON, on_open = function(c)
      c:on("token", function(token)
        if not known[token.token] then different = different + 1 end
        known[token.token] = true
      end)
    end }), nil, p)
    turn_until(function() return different == 1 end, "the first token")
    local deadline = os.time() + 60
    while different < 21 do
      assert.is_true(os.time() < deadline, "there are no other tokens")
      resumed = resumed + 1
      p:tell "cut fin"
      is_ready_again(conn, resumed)
      assert(conn:ping(30))
    end
    assert.equal(resumed + 1, p:stats().connections)
    assert.is_true(known[conn:token().token])
  end)
end, { token_age = 0 }, { "prosody13+sasl2" })

-- With a server whose clock or limit differs, so that the client's token is no longer valid.
server.each(function(s)
  it("a token that has expired by the server's clock is followed by the password", function()
    local e = exchange.of(s)
    local agent = exchange.agent()
    local conn = e.login("alice", by(agent))
    local given = assert(conn:token())
    local token = altered(given, { expiry = false })
    assert(conn:stop(30))
    while os.time() <= given.expiry + 1 do xmpp.sleep(0.1) end
    xmpp.forget()
    local none, err = e.try("alice", with(token), false)
    is_final(none, err, "credentials-expired")
    xmpp.forget()
    conn = e.login("alice", with(token))
    assert.is_false(conn:info().fast)
    assert.not_equal(token.token, conn:token().token)
  end)
end, { token_life = 3 }, { "prosody13+sasl2" })

describe("two servers with the same name", function()
  local both

  setup(function()
    both = {}
    for i, name in ipairs(server.SASL2) do
      if server.is_there(name) then both[i] = server.start(name) end
    end
  end)
  teardown(function() for _, s in pairs(both) do s:stop() end end)

  for from, to in ipairs { 2, 1 } do
    it(("don't take each other's tokens: %s's at %s"):format(server.SASL2[from], server.SASL2[to]), function()
      if not (both[1] and both[2]) then return pending "one of them can't be had here" end
      local token = exchange.of(both[from]).token "alice"
      local there = exchange.of(both[to])
      xmpp.forget()
      local none, err = there.try("alice", with(token), false)
      is_final(none, err)
      xmpp.forget()
      local conn, log = there.login("alice", with(token))
      assert.is_false(conn:info().fast)
      assert.equal(2, count(log.out, "<authenticate"))
      assert.equal(1, count(log.out, "<stream:stream"))
    end)
  end
end)
