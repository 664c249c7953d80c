-- live: the modules above the transport on real servers, between our own clients and with another library's (slixmpp).
local caps = require "xmpp.caps"
local child = require "spec.support.child"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local info = require "xmpp.info"
local iq = require "xmpp.iq"
local server = require "spec.support.server"
local spelling = require "xmpp.spelling"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }
local INFO, ITEMS, PING = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
  "urn:xmpp:ping"

server.each(function(s)
  local conns

  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function login(name, resource)
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
      s.opts { resource = resource, reconnect = { min = 0.05, max = 0.1 } }))
    conns[#conns + 1] = conn
    return conn
  end

  local function join(name)
    local conn = assert(xmpp.connect_component(s.host, s.component_port, name, s.secret))
    conns[#conns + 1] = conn
    return conn
  end

  local function turn_until(what, seconds)
    local limit = os.time() + (seconds or 30)
    while not what() do
      assert(os.time() < limit, "it does not come")
      xmpp.step(0.05)
    end
  end

  describe("a login", function()
    it("has the features that the server offers; a component's has none", function()
      local offers = login("alice", "a"):info().offers
      for _, ns in ipairs { "urn:ietf:params:xml:ns:xmpp-bind", "urn:xmpp:sm:3", "urn:xmpp:features:rosterver" } do
        assert.is_true(offers[ns], ns)
      end
      assert.is_nil(offers["urn:ietf:params:xml:ns:xmpp-sasl"])
      assert.same({}, join(s.component):info().offers)
    end)
  end)

  -- What `spelling` says of an address is what the other side gets. Prosody writes an address as it has folded it. So
  -- does ejabberd, but an account or a room of another server it writes as it was named.
  describe("an address", function()
    local NAMED = { "straße@%s", "Ὀδυσσεύς@%s/ς", "ǰ@%s", "anna@%s/oﬃce", "anna@%s/ＡＢＣ１", "anna@%s/ｶﾞ",
      "anna@%s/Ⅳ ①", "anna@%s/☺", "anna@%s/☺\239\184\143", "anna@%s/♥\239\184\142!",
      "anna@%s/a\194\160b", "straße@%s/ﬁ" }

    it("of another host arrives as its key, or as it was written", function()
      local echo, alice = join(s.component), login("alice", "a")
      local got
      echo:set_handler(function(stanza) got = stanza[2].to end)
      for _, named in ipairs(NAMED) do
        local to = named:format(s.component)
        got = nil
        alice:send { "message", { to = to }, { "body", "x" } }
        turn_until(function() return got end)
        assert.equal(s.name:find "^ejabberd" and to or spelling.key(to), got)
        assert.is_true(spelling.is(to, got))
      end
    end)

    -- They refuse code points that are newer than Unicode 3.2, such as an emoji.
    it("of an occupant is its key", function()
      local alice = login("alice", "a")
      for i, named in ipairs { "straße", "ς", "oﬃce", "ＡＢＣ１", "ｶﾞ", "Ⅳ ①", "☺\239\184\143", "♥\239\184\142!", "😀" } do
        local room = ("tea%d@conference.%s"):format(i, s.domain)
        local to, got = room .. "/" .. named, nil
        local off = alice:tap(function(presence)
          if presence[2].from ~= room then got = got or presence end -- ejabberd's room has a presence of its own
        end, { name = "presence", from = room })
        alice:send { "presence", { to = to }, { "x", { xmlns = "http://jabber.org/protocol/muc" } } }
        turn_until(function() return got end)
        off()
        assert.equal(spelling.key(to), got[2].from)
        assert.is_true(spelling.is(to, got[2].from))
        local e = xmpp.xexpr.error(got)
        assert.equal(named == "😀", e ~= nil and (e.condition == "jid-malformed" or e.condition == "bad-request"))
      end
    end)

    it("in a roster is its key", function()
      local alice = login("alice", "a")
      local got
      alice:set_handler(function(stanza)
        local item = xmpp.xexpr.find(stanza, { "query", "jabber:iq:roster" }, "item")
        if item and item[2].subscription ~= "remove" then got = item[2].jid end
      end)
      assert(iq.get(alice, nil, { "query", { xmlns = "jabber:iq:roster" } }))
      for _, named in ipairs(NAMED) do
        local jid = named:format "x.test":match "^[^/]+"
        for _, subscription in ipairs { "none", "remove" } do
          assert(iq.set(alice, nil, { "query", { xmlns = "jabber:iq:roster" },
            { "item", { jid = jid, subscription = subscription == "remove" and subscription or nil } } }))
        end
        turn_until(function() return got end)
        assert.equal(spelling.key(jid), got)
        assert.is_true(spelling.is(jid, got))
        got = nil
      end
    end)
  end)

  describe("iq", function()
    it("asks and serves across the server, and errors come as errors", function()
      local alice, bob = login("alice", "a"), login("bob", "b")
      bob:set_handler() -- without a handler, the other queries go to the queue, and are answered there
      iq.serve(bob, "get", "urn:example:weather", function(query)
        local town = query[2].town
        if not town then return nil, "modify", "bad-request", "town?" end
        return { "weather", { xmlns = "urn:example:weather", town = town }, "fine" }
      end)
      local answer = assert(iq.get(alice, bob:jid(), { "weather", { xmlns = "urn:example:weather", town = "Ulm" } }))
      assert.equal("fine", answer[3])
      local _, err = iq.get(alice, bob:jid(), { "weather", { xmlns = "urn:example:weather" } })
      assert.same({ "stanza", "bad-request", "modify", "town?" }, { err.layer, err.condition, err.type, err.text })
      _, err = iq.get(alice, bob:jid(), { "x", { xmlns = "urn:example:nothing" } })
      assert.same({ "service-unavailable", "cancel" }, { err.condition, err.type })
      _, err = iq.get(alice, "nobody@" .. s.domain .. "/x", { "x", { xmlns = "urn:example:nothing" } })
      assert.equal("stanza", err.layer)
    end)
  end)

  describe("disco and info", function()
    it("read the server and what it has", function()
      local alice = login "alice"
      local of_server = assert(disco.info(alice, s.domain))
      assert.is_true(of_server.features[INFO])
      local is_server = false
      for _, identity in ipairs(of_server.identities) do is_server = is_server or identity.category == "server" end
      assert.is_true(is_server)
      assert.is_true(assert(disco.supports(alice, s.domain, ITEMS)))
      assert.is_false((disco.supports(alice, s.domain, "urn:example:nothing")))
      assert(disco.items(alice, s.domain))
      local tree = assert(disco.walk(alice, s.domain, { depth = 2 }))
      assert.equal(s.domain, tree.jid)
      assert.is_true(info.ping(alice, s.domain) >= 0)
      local version = assert(info.version(alice, s.domain))
      assert.matches(s.name:match "^%a+", version.name:lower())
    end)

    it("serve a component's tree, which a client walks and which survives JSON", function()
      local echo, alice = join(s.component), login "alice"
      ext.use(echo, disco, { identity = { category = "conference", type = "irc", name = "IRC" } })
      info.use(echo, { version = { name = "live", version = "1" }, time = true })
      local items = {}
      for i = 1, 120 do items[i] = { jid = "room" .. i .. "@" .. s.component, name = "Room " .. i } end
      disco.serve(echo, { node = "rooms", identities = { { category = "hierarchy", type = "branch" } }, items = items })
      disco.add(echo, { jid = s.component, node = "rooms", name = "Rooms" })
      disco.serve(echo, { at = "room7@" .. s.component, identities = { { category = "conference", type = "text" } },
        features = { "urn:example:seven" } })
      local got = assert(disco.info(alice, s.component))
      assert.equal("irc", got.identities[1].type)
      assert.equal(120, #assert(disco.items(alice, s.component, { node = "rooms" })))
      assert.is_true(assert(disco.supports(alice, "room7@" .. s.component, "urn:example:seven")))
      local found = assert(disco.find(alice, { category = "conference", type = "irc" }))
      assert.equal(s.component, found.jid)
      local tree = assert(disco.walk(alice, s.component, { depth = 2, max = 200 }))
      assert.equal("rooms", tree.items[1].node)
      assert.equal(120, #tree.items[1].items)
      if pcall(require, "cjson") then
        assert.same(tree, assert(disco.from_json(disco.to_json(tree))))
      end
      local version = assert(info.version(alice, s.component))
      assert.same({ "live", "1" }, { version.name, version.version })
      assert.is_true(math.abs(assert(info.time(alice, s.component)).utc - os.time()) < 60)
    end)

    it("tell strangers nothing about a client, but its own account", function()
      local alice, other, bob = login("alice", "a"), login("alice", "other"), login("bob", "b")
      info.use(alice, { version = { name = "live", version = "1" } })
      local _, err = disco.info(bob, alice:jid())
      assert.equal("service-unavailable", err.condition)
      _, err = info.version(bob, alice:jid())
      assert.equal("service-unavailable", err.condition)
      assert.is_true(assert(disco.info(other, alice:jid())).features[PING])
      assert.equal("live", assert(info.version(other, alice:jid())).name)
    end)
  end)

  describe("health", function()
    it("finds no fault with this server, including a room", function()
      local alice, bob, room = login("alice", "a"), login("bob", "b"), "health@conference." .. s.domain
      assert(require("xmpp.muc").join(bob, room, "bob", { create = "default" }))
      require("xmpp.presence").set(alice, {})
      local steps, well = require("xmpp.health").check(alice, { room = room, days = 1 })
      local names = {}
      for i, step in ipairs(steps) do names[i] = step.name .. (step.err and ": " .. tostring(step.err) or "") end
      assert.same({ "dns tcp tls login certificate ping echo muc", true }, { table.concat(names, " "), well })
      steps, well = require("xmpp.health").check(alice, { days = 1000000, steps = { "certificate" } })
      assert.same({ "certificate-expires", false }, { steps[1].err.condition, well })
      assert.is_true(select(2, require("xmpp.health").check(alice, { days = 1000000, steps = { "ping" } })))
    end)
  end)

  describe("an extension", function()
    it("gets a new session after the server has lost the old one, and continues", function()
      local alice, bob = login("alice", "a"), login("bob", "b")
      local heard = {}
      local E = { name = "presence", session = function(_, conn, first)
        heard[#heard + 1] = first and "first" or "again"
        conn:send { "presence" }
        assert(info.ping(conn, s.domain))
        heard[#heard + 1] = "asked"
      end, lost = function() heard[#heard + 1] = "lost" end }
      ext.use(alice, E)
      assert(ext.ready(alice, 30))
      assert.same({ "first", "asked" }, heard)
      s:restart(true)
      turn_until(function() return #heard == 5 end, 60)
      assert.same({ "first", "asked", "lost", "again", "asked" }, heard)
      assert(ext.ready(alice, 30))
      turn_until(function() return bob:state() == "ready" end, 60)
    end)
  end)

  describe("slixmpp", function()
    local pipe

    after_each(function()
      if pipe then pipe:close() end
      pipe = nil
    end)

    -- Waits for its line with this key. Returns all its lines so far; they go to a file, as it is queried meanwhile.
    local function told(path, key)
      local all = {}
      turn_until(function()
        all = {}
        for line in io.lines(path) do
          local k, v = line:match "^([^=]+)=(.*)$"
          if k then all[k] = v end
        end
        return all[key]
      end, 60)
      return all
    end

    it("asks what we are, and verifies our hash; we verify its, which changes", function()
      local alice = login("alice", "ours")
      local said = {}
      ext.use(alice, disco, { allow = "all" })
      info.use(alice, { version = { name = "live", version = "1" } })
      local known = ext.use(alice, caps)
      alice:set_callback(function(presence) said[#said + 1] = presence end, { name = "presence",
        from = "bob@" .. s.domain .. "/slix" })
      local path = os.tmpname()
      pipe = assert(io.popen(("exec env -u LD_PRELOAD '%s/slix.py' '%s' %d '%s' 'bob@%s/slix' '%s' >%s"):format(
        child.folder, s.host, s.port, s.ca, s.domain, s.users.bob, path), "w"))
      finally(function() os.remove(path) end)
      local its = told(path, "READY").READY
      assert.equal("bob@" .. s.domain .. "/slix", its)
      alice:send { "presence", { to = its } }
      local all = told(path, "DONE")
      local own = disco.own_info(alice)
      local features = {}
      for var in pairs(own.features) do features[#features + 1] = var end
      table.sort(features)
      features = table.concat(features, " ")
      assert.equal(caps.ver(require "xmpp.disco.form".info_element(own)), all.VERIFIED)
      assert.same({ features, features, "client bot None xmpp", "live 1", "yes", "item-not-found" },
        { all.KNOWN, all.FEATURES, all.IDENTITY, all.VERSION, all.PING, all.NODE })
      turn_until(function() return said[1] end)
      local of_it = assert(caps.of(alice, its))
      assert.is_true(of_it.features[INFO])
      assert.equal(1, #ext.save(alice).caps) -- it was kept, so it had the hash that was announced
      alice:send { "message", { to = its, type = "chat" }, { "body", "urn:example:new" } }
      turn_until(function() return said[2] end)
      assert.is_true(assert(caps.of(alice, its)).features["urn:example:new"])
      assert.equal(2, #ext.save(alice).caps)
      assert.equal("slix.py", assert(info.version(alice, its)).name)
      assert.is_true(info.ping(alice, its) >= 0)
      assert.truthy(known)
    end)
  end)
end, nil, SERVERS)
