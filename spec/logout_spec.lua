-- logout: real servers delete a token, and with it the user agent's older ones (XEP-0484 3.4).
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local AGENTS = 0

-- A user agent that no server knows yet.
local function new_agent()
  AGENTS = AGENTS + 1
  return { id = ("5c3b2a10-0000-4000-8000-%012d"):format(AGENTS) }
end

local function rows(s)
  local function jid() return "alice@" .. s.domain end

  local function log_in(extra)
    extra.tls = "direct"
    return xmpp.connect_client(jid(), not extra.token and s.users.alice or nil, s.host, s.tls_port, s.opts(extra))
  end

  local function log_out(token, extra)
    extra = extra or {}
    extra.tls = "direct"
    return xmpp.logout(token, s.host, s.tls_port, s.opts(extra))
  end

  -- As in another process: this one's keyring is emptied.
  local function log_in_by(token)
    xmpp.forget()
    local conn, err = log_in { token = token }
    if conn then assert.is_true(conn:info().fast) end
    return conn, err
  end

  local function token_of(agent)
    xmpp.forget()
    local conn = assert(log_in { user_agent = agent })
    local token = conn:token()
    assert.is_table(token)
    assert.is_true(conn:stop())
    return token
  end

  local function expect_refused(token)
    local conn, err = log_in_by(token)
    assert.is_nil(conn)
    assert.same({ "sasl", "not-authorized", false }, { err.layer, err.condition, err.retry })
  end

  it("has the server forget the token", function()
    local token = token_of(new_agent())
    local conn = assert(log_in_by(token)) -- until then it is valid
    assert.is_true(conn:stop())
    local logins = 0
    local function count(direction, text)
      if direction == "out" and text:find "^<authenticate " then logins = logins + 1 end
    end
    assert.same({ true }, { log_out(token, { log = count }) })
    assert.equal(2, logins)
    expect_refused(token)
  end)

  it("has the server forget earlier tokens as well", function()
    local agent = new_agent()
    local older = token_of(agent)
    assert.is_true(assert(log_in_by(older)):stop()) -- it was used, so it stays valid until a newer one is
    local newer = token_of(agent)
    assert.not_equal(older.token, newer.token)
    xmpp.forget()
    assert.same({ true }, { log_out(newer) })
    expect_refused(older)
    expect_refused(newer)
  end)

  it("forgets the token in this process as well", function()
    local agent = new_agent()
    local token = token_of(agent)
    assert.same({ true }, { log_out(token) })
    local conn = assert(log_in { user_agent = agent })
    assert.is_false(conn:info().fast)
    conn:stop()
  end)

  it("isn't needed for a login without fast", function()
    local agent = new_agent()
    token_of(agent)
    local conn = assert(log_in { user_agent = agent, fast = false })
    assert.same({ false }, { conn:info().fast, conn:token() })
    conn:stop()
    conn = assert(log_in { user_agent = agent })
    assert.is_true(conn:info().fast)
    conn:stop()
  end)

  it("accepts the token of a connection with a generated user agent", function()
    local ids = {}
    for i = 1, 2 do
      local conn = assert(log_in { fast = true })
      assert.is_false(conn:info().fast)
      ids[i] = conn:token().user_agent
      conn:stop()
      assert.matches("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$", ids[i])
      assert.same({ true }, { log_out(conn:token()) })
    end
    assert.not_equal(ids[1], ids[2])
  end)

  it("leaves the account's remembered mechanism as it is", function()
    local opts = { user_agent = new_agent(), mechanisms = { "PLAIN", "HT-SHA-256-EXPR" } }
    xmpp.forget()
    for _, mechanism in ipairs(opts.mechanisms) do
      local conn = assert(log_in(opts))
      assert.equal(mechanism, conn:info().mechanism)
      conn:stop()
      if conn:info().fast then assert.same({ true }, { log_out(conn:token()) }) end
    end
    local conn = assert(log_in(opts)) -- the token says nothing about the server's other mechanisms
    assert.equal("PLAIN", conn:info().mechanism)
    conn:stop()
  end)

  it("leaves it for a connection that reconnects as well", function()
    xmpp.forget()
    local link = proxy.start(s.host, s.tls_port)
    finally(function() link:stop() end)
    local conn = assert(xmpp.connect_client(jid(), s.users.alice, link.host, link.port, s.opts { tls = "direct",
      user_agent = new_agent(), mechanisms = { "PLAIN", "HT-SHA-256-EXPR" }, reconnect = { min = 0, max = 0.1 } }))
    local function come_back()
      local ready = xmpp.promise()
      local off = conn:on("state", function(state, err)
        if state == "ready" then ready:resolve(true) end
        if state == "closed" then ready:reject(err) end
      end)
      link:tell "cut rst"
      assert(ready:wait(30))
      off()
      return conn:info().mechanism
    end
    assert.equal("HT-SHA-256-EXPR", come_back())
    assert.same({ true }, { log_out(conn:token()) })
    assert.equal("PLAIN", come_back())
    conn:stop()
  end)

  it("succeeds with 'refused' if the token is refused", function()
    local token = token_of(new_agent())
    assert.same({ true }, { log_out(token) })
    xmpp.forget()
    assert.same({ true, "refused" }, { log_out(token) })
  end)

  it("doesn't disturb the user agent's session", function()
    local conn = assert(log_in { user_agent = new_agent(), bind2 = true, reconnect = true })
    assert.is_true(conn:info().bound_inline)
    local states = {}
    conn:on("state", function(state) states[#states + 1] = state end)
    local opts = { bind2 = true, reconnect = true, resource = "x", mechanisms = { "PLAIN" } }
    assert.same({ true }, { log_out(conn:token(), opts) })
    assert.is_number(conn:ping())
    assert.same({}, states)
    assert.is_nil(conn:token())
    conn:stop()
  end)

  it("leaves the tokens of other user agents valid", function()
    local mine, other = token_of(new_agent()), token_of(new_agent())
    assert.same({ true }, { log_out(mine) })
    assert.is_true(assert(log_in_by(other)):stop())
  end)
end

describe("xmpp.logout", function()
  server.each(rows, { extra_modules = "sasl2 sasl2_bind2 sasl2_sm sasl2_fast" }, { "prosody13" })
  server.each(rows, { extra_modules = "auth_fast" }, { "ejabberd24" })

  it("returns the error if the server can't be reached", function()
    local token = { version = 1, jid = "alice@xmpp.test", user_agent = new_agent().id, mechanism = "HT-SHA-256-EXPR",
      token = "secret" }
    local ok, err = xmpp.logout(token, "127.0.0.1", 1, { timeout = 5 })
    assert.same({ nil, "tcp" }, { ok, err.layer })
  end)

  describe("at a server without tokens", function()
    server.each(function(s)
      it("fails with invalid-mechanism", function()
        local token = { version = 1, jid = "alice@" .. s.domain, user_agent = new_agent().id, token = "secret",
          mechanism = "HT-SHA-256-EXPR" }
        local ok, err = xmpp.logout(token, s.host, s.port, s.opts())
        assert.same({ nil, "sasl", "invalid-mechanism" }, { ok, err.layer, err.condition })
        assert.matches("^the token can't be used: the server doesn't offer HT%-SHA%-256%-EXPR here", err.text)
      end)
    end)
  end)
end)
