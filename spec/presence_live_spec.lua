-- presence_live: presences between two accounts on real servers: seen by subscribers, sent again after a session is
-- lost, and not sent again when a session continues in another process.
local ext = require "xmpp.ext"
local iq = require "xmpp.iq"
local presence = require "xmpp.presence"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }

server.each(function(s)
  local conns

  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function options()
    return s.opts { resource = "r", resume = true, reconnect = { min = 0.05, max = 0.1 } }
  end

  local function keep_conn(conn)
    conns[#conns + 1] = conn
    conn:set_handler()
    conn:on("failed", function() end)
    return conn
  end

  local function login(name)
    local conn = keep_conn(assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
      options())))
    presence.before(conn, function() -- otherwise no subscription requests come (RFC 6121 3.1.6)
      assert(iq.get(conn, nil, { "query", { xmlns = "jabber:iq:roster" } }))
    end)
    return conn
  end

  local function turn_until(what, seconds)
    local limit = os.time() + (seconds or 60)
    while not what() do
      assert(os.time() < limit, "it does not come")
      xmpp.step(0.05)
    end
  end

  local function bare(conn) return tostring(conn:jid():bare()) end

  -- Subscribes each to the other's presence.
  local function make_friends(a, b)
    local subscribed = 0
    for conn, other in pairs { [a] = b, [b] = a } do
      conn:tap(function(x)
        if x[2].from == bare(other) then presence.send(conn, x[2].from, { type = "subscribed" }) end
      end, { name = "presence", type = "subscribe" })
      conn:tap(function() subscribed = subscribed + 1 end, { name = "presence", type = "subscribed" })
    end
    presence.set(a)
    presence.set(b)
    assert(a:flush())
    assert(b:flush())
    presence.send(a, b:jid():bare(), { type = "subscribe" })
    presence.send(b, a:jid():bare(), { type = "subscribe" })
    turn_until(function() return subscribed == 2 end)
  end

  -- The presence of `other` that conn has, as a text.
  local function seen(conn, other)
    local p = presence.of(conn, other:jid())
    return p and ("%s|%s|%s"):format(p.show or "", p.status or "", p.priority) or "gone"
  end

  local function turn_until_seen(conn, other, text)
    local ok, err = pcall(turn_until, function() return seen(conn, other) == text end)
    assert(ok, ("%s; seen is %s, not %s"):format(tostring(err), seen(conn, other), text))
  end

  it("is seen by subscribers, also after a lost session and at its end", function()
    local alice, bob = login "alice", login "bob"
    local resets = 0
    presence.keep(alice, bare(bob))
    presence.keep(bob, bare(alice))
    ext.use(alice, presence):on("reset", function() resets = resets + 1 end)
    make_friends(alice, bob)
    turn_until_seen(alice, bob, "||0")
    presence.set(bob, { show = "dnd", status = "caf\195\169 & <tea>", priority = 7, idle_since = 1700000000 })
    turn_until_seen(alice, bob, "dnd|caf\195\169 & <tea>|7")
    assert.equal(1700000000, presence.of(alice, bob:jid()).idle_since)
    presence.set(bob, { status = "back", priority = 1 })
    turn_until_seen(alice, bob, "|back|1")

    s:restart(s.name:find "^prosody" ~= nil) -- the sessions are lost; ejabberd forgets rosters when it is killed
    turn_until(function() return resets == 1 end)
    turn_until_seen(alice, bob, "|back|1")
    turn_until_seen(bob, alice, "||0")
    assert.is_true(alice:info().rebound >= 1 and bob:info().rebound >= 1)

    presence.clear(bob)
    turn_until_seen(alice, bob, "gone")
    assert.equal("ready", bob:state())
    presence.set(bob, { show = "away" })
    turn_until_seen(alice, bob, "away||0")
    bob:stop()
    turn_until_seen(alice, bob, "gone")
  end)

  it("can be sent to a stranger, for this session only", function()
    local carol, dave = login "carol", login "alice"
    presence.set(carol)
    presence.set(dave)
    assert(dave:flush())
    presence.keep(dave, bare(carol))
    presence.send(carol, dave:jid(), { show = "xa", status = "only you" })
    turn_until_seen(dave, carol, "xa|only you|0")
    presence.send(carol, dave:jid(), { type = "unavailable" })
    turn_until_seen(dave, carol, "gone")
  end)

  it("isn't sent again if the session continues in another process", function()
    local carol, dave = login "carol", login "alice"
    presence.keep(dave, bare(carol))
    presence.set(dave)
    presence.set(carol, { status = "here" })
    presence.send(carol, dave:jid(), { status = "directed" })
    turn_until_seen(dave, carol, "|directed|0")
    local told = 0
    ext.use(dave, presence):on("presence", function() told = told + 1 end)
    assert(carol:ping()) -- by now her own presences have come back to her
    local kept = ext.save(carol)
    local saved = assert(carol:save())
    local again = keep_conn(assert(xmpp.resume(saved, s.users.carol, options())))
    assert.equal(1, again:info().resumed)
    local reflected = 0 -- a presence that is sent comes back (RFC 6121 4.2.2)
    again:tap(function() reflected = reflected + 1 end, { name = "presence", from = bare(again) })
    ext.load(again, kept)
    ext.use(again, presence)
    assert(ext.ready(again, 30))
    assert(again:ping())
    assert.same({ status = "here" }, presence.last(again))
    assert.same({ 0, 0 }, { told, reflected })
    presence.set(again, { status = "still here" })
    turn_until(function() return reflected == 1 end)
    presence.send(again, dave:jid(), { status = "still here" })
    turn_until_seen(dave, again, "|still here|0")
  end)
end, nil, SERVERS)
