-- account_live: what a server does for an account, on real servers: blocking contacts (XEP-0191), client state
-- indication (XEP-0352), changing the password and cancelling the account (XEP-0077).
local blocking = require "xmpp.blocking"
local csi = require "xmpp.csi"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local register = require "xmpp.register"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local function body(s)
  local conns
  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function connect(name, resource, o, password)
    local opts = s.opts { resource = resource, reconnect = { min = 0.05, max = 0.1 } }
    for key, v in pairs(o or {}) do opts[key] = v end
    local conn, err = xmpp.connect_client(name .. "@" .. s.domain, password or s.users[name], s.host, s.port, opts)
    if not conn then return nil, err end
    conns[#conns + 1] = conn
    conn:set_handler()
    conn:on("failed", function() end)
    return conn
  end

  local function turn_until(what, why)
    local limit = os.time() + 30
    while not what() do
      assert(os.time() < limit, why or "it does not come")
      xmpp.step(0.05)
    end
  end

  local function texts(conn)
    local heard = {}
    conn:tap(function(x) heard[#heard + 1] = xmpp.xexpr.text(x, "body") end, { name = "message", type = "chat" })
    return heard
  end

  local function say(conn, to, text)
    return conn:send { "message", { to = to, type = "chat" }, { "body", {}, text } }
  end

  describe("blocking", function()
    local function begin(name, resource)
      local conn = connect(name, resource)
      local st, heard = blocking.use(conn), {}
      for _, event in ipairs { "blocked", "unblocked", "fetched" } do
        st:on(event, function(jid) heard[#heard + 1] = event .. (jid and " " .. jid or "") end)
      end
      assert(ext.ready(conn, 30))
      assert(presence.set(conn, {}))
      assert(conn:ping(30))
      return conn, st, heard
    end

    it("keeps somebody away, and all of the account's clients know", function()
      local one, st, _ = begin("alice", "one")
      local two, _, heard = begin("alice", "two")
      local bob = connect("bob", "b")
      bob:send { "presence" }
      local at_bob, said = "bob@" .. s.domain, texts(one)
      say(bob, one:jid(), "before")
      turn_until(function() return said[1] end)
      assert(blocking.block(one, at_bob))
      assert.same({ [at_bob] = true }, st.blocked)
      turn_until(function() return heard[2] end)
      assert.same({ "fetched", "blocked " .. at_bob }, heard)
      assert.same({ at_bob }, blocking.list(two))
      assert.is_true(blocking.is_blocked(two, bob:jid()))
      say(bob, one:jid(), "while")
      assert(bob:ping(30))
      assert(one:ping(30))
      local failed
      one:tap(function(x) failed = xmpp.xexpr.error(x) end, { name = "message", type = "error" })
      say(one, at_bob, "to the blocked")
      turn_until(function() return failed end)
      assert.equal("not-acceptable", failed.condition)
      assert(blocking.unblock(two, at_bob))
      turn_until(function() return not st.blocked[at_bob] end)
      say(bob, one:jid(), "after")
      turn_until(function() return said[2] end)
      assert.same({ "before", "after" }, said)
    end)

    it("takes several, reports, and all away at once", function()
      local one, st = begin("carol", "one")
      assert(blocking.block(one, { "a@spam.example", "b.spam.example" }))
      assert(blocking.report(one, "c@spam.example", { reason = "spam", text = "every hour" }))
      local again = connect("carol", "again")
      assert.same({ "a@spam.example", "b.spam.example", "c@spam.example" }, assert(blocking.list(again)))
      assert(blocking.unblock_all(again))
      turn_until(function() return next(st.blocked) == nil end)
      assert.same({}, assert(blocking.list(connect("carol", "last"))))
    end)

    it("ignores what others claim", function()
      local one, st = begin("alice", "one")
      local bob, refused = connect("bob", "b"), nil
      xmpp.spawn(function()
        local answer = bob:send_await { "iq", { type = "set", to = one:jid() },
          { "block", { xmlns = "urn:xmpp:blocking" }, { "item", { jid = "boss@" .. s.domain } } } }
        refused = xmpp.xexpr.error(answer)
      end)
      turn_until(function() return refused end)
      assert.equal("service-unavailable", refused.condition)
      assert.is_nil(next(st.blocked))
    end)

    it("is known again after the server was restarted", function()
      local one, st, heard = begin("alice", "one")
      assert(blocking.block(one, "spam@example.org"))
      s:restart()
      turn_until(function() return #heard >= 3 end)
      assert.same({ "fetched", "blocked spam@example.org", "fetched" }, heard)
      assert.same({ ["spam@example.org"] = true }, st.blocked)
      assert(blocking.unblock(one, "spam@example.org"))
    end)
  end)

  describe("csi", function()
    it("is said between stanzas, and counts with none of them", function()
      local said = {}
      local alice = connect("alice", "a", { resume = true, log = function(direction, text)
        local word = direction == "out" and text:match "<(%a+) xmlns='urn:xmpp:csi:0'/>"
        if word then said[#said + 1] = word end
      end })
      presence.set(alice, {})
      local heard, long = texts(alice), ("long "):rep(30000)
      for i = 1, 5 do
        say(alice, alice:jid(), long .. i)
        assert(csi.set(alice, i % 2 == 0))
      end
      turn_until(function() return #heard == 5 end)
      assert.equal(long .. 5, heard[5])
      assert(alice:flush(30))
      assert(alice:ping(30))
      assert.same({ 0, 0 }, { alice:info().rebound, alice:info().resumed })
      assert.equal("inactive", said[#said])
      assert.is_true(#said >= 1 and #said <= 5)
    end)

    it("is sent again when the server has lost the session", function()
      local said = {}
      local alice = connect("alice", "a", { resume = true, log = function(direction, text)
        if direction == "out" and text:find("<inactive xmlns='urn:xmpp:csi:0'/>", 1, true) then said[#said + 1] = 1 end
      end })
      assert(csi.set(alice, false))
      turn_until(function() return #said == 1 end)
      s:restart()
      turn_until(function() return #said == 2 end)
      assert(alice:ping(30))
    end)
  end)

  describe("register", function()
    it("changes the password, and ends the account", function()
      local dave = connect("dave", "d")
      local f = assert(register.form(dave))
      assert.is_true(f.registered)
      assert(register.password(dave, "new password"))
      dave:stop()
      local conn, err = connect("dave", "d")
      assert.is_nil(conn)
      assert.equal("sasl", err.layer)
      conn = assert(connect("dave", "d", { reconnect = false }, "new password"))
      local ok, why = register.cancel(conn, s.domain, { account = true })
      if not ok then assert.is_not.equal("stanza", why.layer) end -- the stream may end before the response comes
      turn_until(function() return conn:state() == "closed" end)
      conn, err = connect("dave", "d", nil, "new password")
      assert.is_nil(conn)
      assert.equal("sasl", err.layer)
    end)
  end)
end

server.each(body, { extra_modules = "mod_register", extra_conf = "allow_registration = true",
  more_users = "dave:davepw" }, { "prosody", "prosody13" })
server.each(body, { extra_modules = "mod_register", more_users = "dave:davepw" }, { "ejabberd", "ejabberd24" })
