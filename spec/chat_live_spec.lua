-- chat on real servers: two bots, one of them with two clients, and a client of another library (slixmpp).
local chat = require "xmpp.chat"
local child = require "spec.support.child"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local talk = require "spec.support.talk"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }
local SID = "urn:xmpp:sid:0"

server.each(function(s)
  local conns, links

  before_each(function() conns, links = {}, {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
    for _, link in ipairs(links) do link:stop() end
  end)

  local function turn_until(what, why)
    local limit = os.time() + 30
    while not what() do
      assert(os.time() < limit, why or "it does not come")
      xmpp.step(0.05)
    end
  end

  -- A bot that is online: its handle, its connection, and its events by name.
  local function login(name, resource, opts, link)
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], link and link.host or s.host,
      link and link.port or s.port, s.opts { resource = resource, resume = false,
        reconnect = { min = 0.05, max = 0.1 } }))
    conns[#conns + 1] = conn
    local heard, c = {}, chat.use(conn, opts or { receipts = "all" })
    for _, event in ipairs(talk.EVENTS) do
      heard[event] = {}
      c:on(event, function(...) table.insert(heard[event], { ... }) end)
    end
    assert(ext.ready(conn, 30))
    assert(presence.set(conn, {}))
    assert(conn:ping(30))
    return { c = c, conn = conn, heard = heard, jid = tostring(conn:jid()), bare = tostring(conn:jid():bare()) }
  end

  -- Waits for the next event of this kind.
  local function hear(who, event)
    turn_until(function() return who.heard[event][1] end, "no " .. event)
    return (table.unpack or unpack)(table.remove(who.heard[event], 1)) -- luacheck: ignore 143
  end

  -- Waits until everything that was on its way has arrived.
  local function settle(who)
    assert(who.conn:ping(30))
    xmpp.step(0)
  end

  it("has each client of an account hear what the others get and send", function()
    local one, two, bob = login("alice", "one"), login("alice", "two"), login("bob", "b")
    assert(one.c:send(bob.jid, "from one"))
    local m = hear(two, "message")
    assert.same({ "from one", "out", true, one.jid, bob.bare }, { m.text, m.direction, m.carbon, m.from, m.peer })
    m = hear(bob, "message")
    assert.same({ "from one", "in", one.jid }, { m.text, m.direction, m.from })
    assert.equal(bob.bare, (hear(one, "receipt")))
    assert.equal(bob.bare, (hear(two, "receipt"))) -- by a carbon copy of what the other client has sent
    bob.c:send(one.jid, "to one")
    m = hear(two, "message")
    assert.same({ "to one", "in", true, bob.jid, one.jid }, { m.text, m.direction, m.carbon, m.from, m.to })
    assert.is_nil(hear(one, "message").carbon)
    assert.equal(one.bare, (hear(bob, "receipt")))
    settle(two)
    assert.same({ 0, 0, 0 }, { #bob.heard.receipt, #two.heard.message, #one.heard.message })
  end)

  it("takes no forged copy, and no forged id", function()
    local alice, bob = login("alice", "a"), login("bob", "b")
    bob.conn:send { "message", { to = alice.jid, type = "chat" }, { "received", { xmlns = "urn:xmpp:carbons:2" },
      { "forwarded", { xmlns = "urn:xmpp:forward:0" }, { "message", { xmlns = "jabber:client", type = "chat",
        from = "carol@" .. s.domain .. "/c", to = alice.jid }, { "body", {}, "forged" } } } } }
    bob.conn:send { "message", { to = alice.jid, type = "chat", id = "1" }, { "body", {}, "true" },
      { "stanza-id", { xmlns = SID, by = alice.bare, id = "forged" } },
      { "stanza-id", { xmlns = SID, by = bob.bare, id = "forged" } } }
    local m = hear(alice, "message") -- where the server leaves the forged one beside its own (Prosody), neither counts
    assert.equal("true", m.text)
    assert.are_not.equal("forged", m.stanza_id)
    bob.c:send(alice.jid, "without")
    m = hear(alice, "message")
    local announces = disco.supports(alice.conn, alice.bare, SID)
    assert.equal(announces and alice.bare or nil, m.by)
    assert.equal(announces, m.stanza_id ~= nil)
    assert.same({}, alice.heard.message)
  end)

  it("says and hears what becomes of messages", function()
    local alice, bob = login("alice", "a", { receipts = "all", markers = true, states = true }), login("bob", "b")
    local id = assert(alice.c:send(bob.bare, "helo"))
    local first = hear(bob, "message")
    assert.same({ id, id, "helo" }, { first.id, first.origin_id, first.text })
    local peer, its = hear(alice, "receipt")
    assert.same({ bob.bare, id }, { peer, its })
    assert.is_true(bob.c:displayed(first))
    peer, its = hear(alice, "displayed")
    assert.same({ bob.bare, id }, { peer, its })
    local second = assert(alice.c:correct(bob.bare, id, "hello"))
    local m = hear(bob, "corrected")
    assert.same({ "hello", id, second }, { m.text, m.replaces, m.id })
    alice.c:correct(bob.bare, second, "hello!")
    assert.equal(id, hear(bob, "corrected").replaces)
    bob.c:react(alice.bare, id, { "👍", "🎉" })
    m = hear(alice, "reacted")
    assert.same({ id = id, list = { "👍", "🎉" } }, m.reaction)
    bob.c:send(alice.jid, { text = "Wörld", reply_to = first })
    m = hear(alice, "message")
    assert.same({ "Wörld", id }, { m.text, m.reply_to.id })
    assert.is_false(alice.c:state(bob.jid, "composing"))
    bob.conn:send { "message", { to = alice.jid, type = "chat" },
      { "active", { xmlns = "http://jabber.org/protocol/chatstates" } } }
    assert.equal("active", select(2, hear(alice, "state")))
    assert.is_true(alice.c:state(bob.jid, "composing"))
    assert.equal("composing", select(2, hear(bob, "state")))
    alice.c:retract(bob.bare, id)
    assert.equal(id, hear(bob, "retracted").retracts)
    settle(bob)
    assert.same({}, bob.heard.message)
    alice.c:send(bob.bare, "/me waves")
    assert.equal("waves", hear(bob, "message").action)
  end)

  it("reports that what was sent came back", function()
    local alice = login("alice", "a")
    local id = assert(alice.c:send("nobody@" .. s.domain, "hello"))
    local err, peer, its = hear(alice, "error")
    assert.same({ "service-unavailable", "nobody@" .. s.domain, id }, { err.condition, peer, its })
  end)

  it("reports once what is sent again in a new session", function()
    local link = proxy.start(s.host, s.port)
    links[1] = link
    local alice, bob = login("alice", "a"), login("bob", "b", nil, link)
    assert(bob.conn:flush(30))
    link:tell "stall down" -- nothing from the server arrives, so bob can't know whether it was delivered
    local states = {}
    assert(bob.c:send(alice.jid, "once", { on = function(state) states[#states + 1] = state end }))
    assert.equal("once", hear(alice, "message").text)
    link:tell "cut rst"
    turn_until(function() return states[2] == "acked" end)
    assert.equal(1, bob.conn:info().rebound)
    bob.c:send(alice.jid, "twice")
    assert.equal("twice", hear(alice, "message").text)
    settle(alice)
    assert.same({}, alice.heard.message)
  end)

  describe("slixmpp", function()
    local pipe

    after_each(function()
      if pipe then pipe:close() end
      pipe = nil
    end)

    local function say(...) pipe:write(table.concat({ ... }, " "), "\n") pipe:flush() end

    it("and we understand each other", function()
      local alice = login("alice", "a", { receipts = "all", markers = true })
      local path = os.tmpname()
      pipe = assert(io.popen(("exec env -u LD_PRELOAD '%s/slix_chat.py' '%s' %d '%s' 'bob@%s/slix' '%s' '%s' >%s")
        :format(child.folder, s.host, s.port, s.ca, s.domain, s.users.bob, alice.jid, path), "w"))
      finally(function() os.remove(path) end)
      -- Waits until it has written that line. (It also gets what an earlier test's bob didn't.)
      local function tells(key, value)
        turn_until(function()
          for line in io.lines(path) do
            if line == key .. "=" .. value then return true end
          end
        end, "no " .. key .. "=" .. value)
      end
      local bob = "bob@" .. s.domain .. "/slix"
      tells("READY", bob)

      local id = assert(alice.c:send(bob, "hello"))
      tells("HEARD", id .. " hello")
      assert.equal(id, select(2, hear(alice, "receipt")))
      say("displayed", id)
      assert.equal(id, select(2, hear(alice, "displayed")))
      local second = alice.c:correct(bob, id, "hello!")
      tells("CORRECTED", id .. " hello!")
      tells("HEARD", second .. " hello!")
      say("react", id, "👍")
      assert.same({ id = id, list = { "👍" } }, hear(alice, "reacted").reaction)

      say("say", "hi there")
      local m = hear(alice, "message")
      assert.same({ "hi there", "bob@" .. s.domain }, { m.text, m.peer })
      tells("SENT", "say " .. m.id)
      tells("RECEIPT", m.id)
      say("correct", m.id, "hi")
      assert.same({ "hi", m.id }, { (function(x) return x.text, x.replaces end)(hear(alice, "corrected")) })
      alice.c:react(bob, m.id, { "🎉" })
      tells("REACTED", m.id .. " 🎉")
      alice.c:send(bob, { text = "Größe", reply_to = m })
      tells("REPLY", (m.origin_id or m.id) .. " > hi there|Größe") -- its fallback has another namespace
      say("reply", id, "me too")
      local reply = hear(alice, "message")
      assert.same({ "me too", id }, { reply.text, reply.reply_to.id })
      say("state", "composing")
      assert.equal("composing", select(2, hear(alice, "state")))
      assert.is_true(alice.c:state(bob, "paused"))
      tells("STATE", "paused")
      say("retract", m.id)
      assert.equal(m.id, hear(alice, "retracted").retracts)
      alice.c:retract(bob, id)
      tells("RETRACTED", id)
      settle(alice)
      assert.same({ 0, 0 }, { #alice.heard.message, #alice.heard.error })
    end)
  end)
end, nil, SERVERS)
