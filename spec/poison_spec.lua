-- A stranger's stanza crosses a bound of ours, through an honest server: it ends nothing, is reported, and doesn't come
-- again at the next login. The stranger is a component on a plain socket, which can send anything.
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local socket = require "socket"
local xmpp = require "xmpp"

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }

local function many(n, text)
  local out = {}
  for i = 1, n do out[i] = text:gsub("#", i) end
  return table.concat(out)
end

-- What the message contains; the option that skips it, or false if it is delivered; the one server that relays it, if
-- not both do (Prosody limits the depth itself).
local DEEP = "<a xmlns='urn:a'>" .. ("<a>"):rep(199) .. ("</a>"):rep(200)
local POISON = {
  { "the streams namespace", "<x xmlns='http://etherx.jabber.org/streams'/>", false },
  { "257 attributes", "<a xmlns='urn:a'" .. many(257, " a#='x'") .. "/>", "max_attributes" },
  { "50,001 elements", "<a xmlns='urn:a'>" .. ("<a/>"):rep(50000) .. "</a>", false },
  { "200 levels", DEEP, "max_depth", "ejabberd" },
}

server.each(function(s)
  local stranger

  local function login(name, options)
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, s.opts(options)))
    assert(conn:send { "presence" })
    return conn
  end

  -- The handshake of XEP-0114.
  local function connect()
    local sock, text = assert(socket.connect(s.host, s.component_port)), ""
    sock:settimeout(60) -- fifty thousand elements keep a loaded server busy
    local function read_until(what)
      while not text:find(what) do text = text .. assert(sock:receive(1)) end
      return text:match(what)
    end
    assert(sock:send("<stream:stream xmlns='jabber:component:accept' "
      .. "xmlns:stream='http://etherx.jabber.org/streams' to='" .. s.component2 .. "'>"))
    local id = read_until "<stream:stream[^>]- id=['\"]([^'\"]+)['\"]"
    local hash = shell.succeed(("printf %%s '%s%s' | openssl dgst -sha1 -r"):format(id, s.secret)):match "^%x+"
    assert(sock:send("<handshake>" .. hash .. "</handshake>"))
    read_until "<handshake ?/>"
    return sock
  end

  local function send_raw(to, xml, kind)
    assert(stranger:send(("<message type='%s' from='x@%s' to='%s'><body>poison</body>%s</message>"):format(
      kind or "chat", s.component2, to, xml)))
  end

  local function listen(conn)
    local heard = { bodies = {}, skipped = {} }
    conn:on("skipped", function(what) heard.skipped[#heard.skipped + 1] = what end)
    conn:set_handler(function(x)
      local body = x[1] == "message" and xmpp.xexpr.text(x, "body")
      if body then heard.bodies[#heard.bodies + 1] = body end
    end)
    return heard
  end

  local function answers(conn)
    return assert(conn:send_await({ "iq", { type = "get", to = s.domain }, PING }, 30))[2].type
  end

  before_each(function() stranger = connect() end)
  after_each(function() stranger:close() end)

  for _, p in ipairs(POISON) do
    local name, inner, option, only = p[1], p[2], p[3], p[4]

    it("may send " .. name .. ", now and at a login", function()
      if only and s.name ~= only then return end
      local alice = login("alice", { reconnect = true })
      finally(function() alice:stop() end)
      local heard, me = listen(alice), tostring(alice:jid())
      assert.equal("result", answers(alice))
      send_raw(me, inner)
      assert(stranger:send(("<message from='x@%s' to='%s'><body>after</body></message>"):format(s.component2, me)))
      local until_then = os.time() + 30
      while heard.bodies[#heard.bodies] ~= "after" and os.time() < until_then do xmpp.step(0.1) end
      assert.same(option and { "after" } or { "poison", "after" }, heard.bodies)
      assert.equal(option and 1 or 0, #heard.skipped)
      if option then
        assert.equal(option, heard.skipped[1].option)
        assert.equal("x@" .. s.component2, heard.skipped[1].from)
      end
      assert.equal("ready", alice:state())
      assert.equal(0, alice:info().rebound + alice:info().resumed)
      assert.is_true((alice:stop(30)))

      send_raw("alice@" .. s.domain, inner) -- while she is offline
      xmpp.sleep(0.5)
      local all = 0 -- it may come at any login, but only once
      for _ = 1, 3 do
        alice = login("alice", { reconnect = true })
        heard = listen(alice)
        assert.equal("result", answers(alice))
        xmpp.sleep(0.3)
        assert.equal("result", answers(alice))
        all = all + #heard.bodies + #heard.skipped
        assert.is_true(all <= 1, all .. " came")
        assert.equal("ready", alice:state())
        assert.is_true((alice:stop(30)))
      end
    end)
  end

  it("may send it to a room, and nobody loses the connection", function()
    local inner, option = POISON[2][2], POISON[2][3]
    local room = "pit@conference." .. s.domain
    local alice, bob = login "alice", login "bob"
    finally(function() alice:stop(); bob:stop() end)
    local all = { [alice] = listen(alice), [bob] = listen(bob) }
    local function join(conn, nick)
      assert(conn:send { "presence", { to = room .. "/" .. nick },
        { "x", { xmlns = "http://jabber.org/protocol/muc" } } })
      assert.equal("result", answers(conn))
    end
    join(alice, "alice") -- a new room may be locked until its owner has configured it
    alice:send_await({ "iq", { type = "set", to = room }, { "query", { xmlns = "http://jabber.org/protocol/muc#owner" },
      { "x", { xmlns = "jabber:x:data", type = "submit" } } } }, 5)
    join(bob, "bob")
    assert(stranger:send(("<presence from='x@%s' to='%s/stranger'><x xmlns='http://jabber.org/protocol/muc'/>"
      .. "</presence>"):format(s.component2, room)))
    send_raw(room, inner, "groupchat")
    xmpp.sleep(1)
    assert(alice:send { "message", { to = room, type = "groupchat" }, { "body", "still here" } })
    local function heard_all()
      for _, heard in pairs { all[alice], all[bob] } do
        if heard.bodies[#heard.bodies] ~= "still here" then return false end
      end
      return true
    end
    local until_then = os.time() + 30
    while not heard_all() and os.time() < until_then do xmpp.step(0.1) end
    assert.is_true(heard_all())
    for _, conn in ipairs { alice, bob } do
      assert.equal("ready", conn:state())
      assert.equal(1, #all[conn].skipped)
      assert.equal(room .. "/stranger", all[conn].skipped[1].from)
      assert.equal(option, all[conn].skipped[1].option)
    end
  end)
end)
