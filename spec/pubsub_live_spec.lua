-- pubsub_live: nodes, avatars, vCards and bookmarks on real servers: between two of our clients, and with another
-- library's client (slixmpp).
local avatar = require "xmpp.avatar"
local bookmark = require "xmpp.bookmark"
local child = require "spec.support.child"
local core = require "xmpp.core"
local iq = require "xmpp.iq"
local pep = require "xmpp.pep"
local presence = require "xmpp.presence"
local pubsub = require "xmpp.pubsub"
local roster = require "xmpp.roster"
local server = require "spec.support.server"
local vcard = require "xmpp.vcard"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local USERS = "dave:davepw erin:erinpw frank:frankpw grace:gracepw heidi:heidipw ivan:ivanpw judy:judypw"
local PNG = "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\0\2\0\0\0\3\8\6\0\0\0"
local OTHER_PNG = "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\0\4\0\0\0\5\8\6\0\0\0"

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
local function note(text) return { "text", { xmlns = "urn:example:note" }, text } end
local function shown(x) return x and xexpr.text(x) end

local function body(s)
  local conns

  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function login(name, resource)
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
      s.opts { resource = resource }))
    conns[#conns + 1] = conn
    return conn, name .. "@" .. s.domain
  end

  local function turn_until(what)
    local limit = os.time() + 60
    while not what() do
      assert(os.time() < limit, "it does not come")
      xmpp.step(0.05)
    end
  end

  -- Logs two accounts in, and subscribes them to each other's presence.
  local function befriend(a, b, more)
    local first, at_first = login(a, "a")
    local second, at_second = login(b, "b")
    local ra, rb = roster.use(first, { approve = "all", mutual = true }), roster.use(second, { approve = "all" })
    if more then more(first, second) end
    for _, conn in ipairs { first, second } do assert(presence.set(conn, {})) end
    assert(ra:fetched(30) and rb:fetched(30))
    assert(rb:subscribe(at_first))
    turn_until(function()
      local x, y = ra.items[at_second], rb.items[at_first]
      return x and y and x.subscription == "both" and y.subscription == "both"
    end)
    return first, second, at_first, at_second
  end

  it("XEP-0060: nodes are made, published to, read, emptied and deleted, and subscribers told", function()
    local alice, at_alice = login("alice", "a")
    local bob, at_bob = login("bob", "b")
    local service, heard = "pubsub." .. s.domain, {}
    assert(presence.set(bob, {}))
    pubsub.on(bob, { service = service, node = "news" }, function(e)
      heard[#heard + 1] = ("%s %s %s"):format(e.kind, e.id or "-", shown(e.payload) or "-")
    end)
    assert.equal("news", assert(pubsub.create(alice, service, "news", { access_model = "open", max_items = 20,
      persist_items = true, notify_retract = true, notify_delete = true })))
    local id, err = pubsub.create(alice, service, "news")
    assert.is_nil(id)
    assert.equal("conflict", err.condition)
    assert.equal("subscribed", assert(pubsub.subscribe(bob, service, "news")).subscription)
    assert.equal(at_bob, assert(pubsub.subscriptions(bob, service))[1].jid)
    assert.equal("subscribed", assert(pubsub.subscribers(alice, service, "news"))[1].subscription)
    for i = 1, 3 do
      assert.equal("i" .. i, assert(pubsub.publish(alice, service, "news", note(i), { id = "i" .. i })))
    end
    local made = assert(pubsub.publish(alice, service, "news", note(4)))
    assert.is_string(made)
    local items = assert(pubsub.items(bob, service, "news"))
    assert.equal(4, #items)
    assert.equal("2", shown(assert(pubsub.items(bob, service, "news", { ids = { "i2" } }))[1].payload))
    assert.equal(1, #assert(pubsub.items(bob, service, "news", { max = 1 })))
    local seen, after = {}, ""
    repeat
      local page = assert(pubsub.items(bob, service, "news", { max = 3, after = after }))
      for _, item in ipairs(page) do seen[item.id] = true end
      after = page.next
    until not after
    assert.same({ i1 = true, i2 = true, i3 = true, [made] = true }, seen)

    id, err = pubsub.publish(bob, service, "news", note "x")
    assert.is_nil(id)
    assert.equal("forbidden", err.condition)
    assert(pubsub.affiliate(alice, service, "news", at_bob, "publisher"))
    assert.equal("publisher", assert(pubsub.members(alice, service, "news"))[at_bob])
    assert.equal("owner", pubsub.members(alice, service, "news")[at_alice])
    assert.equal("b", assert(pubsub.publish(bob, service, "news", note "bob", { id = "b" })))

    id, err = pubsub.publish(alice, service, "news", note "x", { options = { access_model = "whitelist" } })
    assert.is_nil(id)
    assert.same({ "conflict", "precondition-not-met" }, { err.condition, err.app })
    assert(pubsub.retract(alice, service, "news", "i1"))
    assert(pubsub.purge(alice, service, "news"))
    assert.equal(0, #assert(pubsub.items(alice, service, "news")))
    assert.equal("news", assert(pubsub.nodes(alice, service))[1].node)
    assert(pubsub.unsubscribe(alice, service, "news", { jid = at_bob }) or pubsub.unsubscribe(bob, service, "news"))
    assert(pubsub.subscribe(bob, service, "news"))
    assert(pubsub.delete(alice, service, "news"))
    turn_until(function() return heard[#heard] == "delete - -" end)
    local texts = table.concat(heard, "\n")
    for _, line in ipairs { "item i1 1", "item i2 2", "item i3 3", "item " .. made .. " 4", "item b bob",
      "retract i1 -" } do
      assert.truthy(texts:find(line, 1, true), line)
    end
    assert.is_string(assert(pubsub.create(alice, service, nil)))
  end)

  it("XEP-0163: what an account publishes reaches its contacts, and itself, at once and when they come", function()
    local heard, own = {}, {}
    local alice, _, at_alice = befriend("carol", "dave", function(carol, dave)
      pep.watch(dave, "urn:example:mood", function(jid, x, id, e)
        heard[#heard + 1] = ("%s %s %s %s"):format(jid:match "^[^@]*", e.kind, id or "-", shown(x) or "-")
      end)
      pep.watch(carol, "urn:example:mood", function(jid, x, _, e)
        own[#own + 1] = ("%s %s %s"):format(jid:match "^[^@]*", shown(x) or "-", tostring(e.own))
      end)
    end)
    assert.equal("current", assert(pep.publish(alice, "urn:example:mood", note "glad")))
    turn_until(function() return heard[1] and own[1] end)
    assert.equal("carol item current glad", heard[1])
    assert.equal("carol glad true", own[1])
    assert(pep.publish(alice, "urn:example:mood", note "sad"))
    turn_until(function() return heard[2] end)
    local again = login("dave", "again")
    local last
    pep.watch(again, "urn:example:mood", function(jid, x) last = jid .. " " .. shown(x) end)
    assert(presence.set(again, {}))
    turn_until(function() return last end)
    assert.equal(at_alice .. " sad", last)
    local x, id = pep.get(again, at_alice, "urn:example:mood")
    assert.same({ "sad", "current" }, { shown(x), id })

    local stranger = login("erin", "e")
    local nothing, err = pep.get(stranger, at_alice, "urn:example:mood")
    assert.is_nil(nothing)
    assert.equal("stanza", err.layer)
  end)

  it("XEP-0222 and XEP-0223: what is for all is, and what is private stays so", function()
    local frank, at_frank = login("frank", "f")
    local grace = login("grace", "g")
    assert(pep.publish(frank, "urn:example:public", note "all", { access = "open", persist = true }))
    assert.equal("all", shown((assert(pep.get(grace, at_frank, "urn:example:public")))))
    local options = { access = "whitelist", persist = true, max = "max", send_last = "never", fix = true }
    for i = 1, 3 do
      options.id = "s" .. i
      assert.equal("s" .. i, assert(pep.publish(frank, "urn:example:private", note(i), options)))
    end
    assert.equal(3, #assert(pep.items(frank, nil, "urn:example:private")))
    local form = assert(pubsub.configure(frank, nil, "urn:example:private"))
    assert.equal("whitelist", form.values["pubsub#access_model"])
    local nothing, err = pep.get(grace, at_frank, "urn:example:private")
    assert.is_nil(nothing)
    assert.equal("stanza", err.layer)

    assert(pep.publish(frank, "urn:example:was-open", note "1", { access = "open", persist = true }))
    nothing, err = pep.publish(frank, "urn:example:was-open", note "2", { access = "whitelist", persist = true })
    assert.is_nil(nothing)
    assert.equal("precondition-not-met", err.app)
    assert.equal("1", shown((assert(pep.get(grace, at_frank, "urn:example:was-open")))))
    assert(pep.publish(frank, "urn:example:was-open", note "2", { access = "whitelist", persist = true, fix = true }))
    assert.is_nil((pep.get(grace, at_frank, "urn:example:was-open")))
    assert.equal("2", shown((assert(pep.get(frank, nil, "urn:example:was-open")))))
    assert(pep.delete(frank, "urn:example:was-open"))
    nothing, err = pep.get(frank, nil, "urn:example:was-open")
    assert.is_nil(nothing)
    assert.equal("item-not-found", err.condition)
  end)

  it("XEP-0084, XEP-0153, XEP-0398: a picture is set, seen, and cleared, in presences as well", function()
    local told, hashes = {}, {}
    local heidi, ivan, at_heidi = befriend("heidi", "ivan", function(heidi, ivan)
      avatar.use(heidi)
      avatar.watch(ivan, function(jid, meta)
        if meta and meta.vcard then hashes[#hashes + 1] = meta.id else told[#told + 1] = { jid, meta and meta.id } end
      end, { presence = true })
    end)
    local id = assert(avatar.set(heidi, PNG, { access = "open" }))
    turn_until(function() return told[#told] and told[#told][2] == id end)
    assert.equal(at_heidi, told[#told][1])
    local bytes, meta = avatar.get(ivan, at_heidi)
    assert.equal(PNG, bytes)
    assert.same({ id = id, type = "image/png", bytes = #PNG, width = 2, height = 3 }, meta)
    turn_until(function() return hashes[#hashes] == id end)
    assert.equal(PNG, (assert(avatar.get(ivan, at_heidi, { meta = { id = id, vcard = true } }))))
    assert(avatar.clear(heidi))
    turn_until(function() return told[#told][2] == nil end)
    local nothing, err = avatar.get(ivan, at_heidi)
    assert.is_nil(nothing)
    assert.equal("item-not-found", err.condition)
  end)

  it("XEP-0054: a vCard is written in parts, and read by others", function()
    local alice, at_alice = login("alice", "v")
    local bob = login("bob", "v")
    assert(vcard.set(alice, { fn = "Alice", n = { given = "Alice" }, email = { { address = "a@example.net",
      types = { "home" } } }, url = "http://example.net/" }))
    assert(vcard.set(alice, { nickname = "al", url = false }))
    local card = assert(vcard.get(bob, at_alice))
    assert.same({ "Alice", "al", "a@example.net", "Alice" }, { card.fn, card.nickname, card.email[1].address,
      card.n.given })
    assert.is_nil(card.url)
  end)

  it("XEP-0402, XEP-0048, XEP-0049: rooms are kept, and joined and left by all clients", function()
    local one = login("judy", "one")
    local two = login("judy", "two")
    local other = login("alice", "room")
    local tea = "tea@conference." .. s.domain
    local room = assert(require "xmpp.muc".join(other, tea, "alice", { create = "default" }))
    local b1 = bookmark.use(one, { autojoin = false })
    local joined
    local b2 = bookmark.use(two, { nick = "judy", on_room = function(r) joined = r end })
    for _, conn in ipairs { one, two } do assert(presence.set(conn, {})) end
    assert(b1:fetched(30) and b2:fetched(30))
    assert(b1:set(tea, { name = "Tea", autojoin = true }))
    assert(b1:set("coffee@conference." .. s.domain, { name = "Coffee" }))
    turn_until(function() return joined and b2.list["coffee@conference." .. s.domain] end)
    assert.same({ tea, "judy" }, { joined.jid, joined.nick })
    turn_until(function() return room.occupants.judy end)
    local form = assert(pubsub.configure(one, nil, "urn:xmpp:bookmarks:1"))
    assert.equal("whitelist", form.values["pubsub#access_model"])
    assert.is_nil((pep.items(other, "judy@" .. s.domain, "urn:xmpp:bookmarks:1")))
    local old = assert(iq.get(one, nil, { "query", { xmlns = "jabber:iq:private" },
      { "storage", { xmlns = "storage:bookmarks" } } }))
    local names = {}
    for x in xexpr.children(xexpr.child(old, "storage"), "conference") do names[xexpr.attr(x, "jid")] = x[2].name end
    assert.same({ [tea] = "Tea", ["coffee@conference." .. s.domain] = "Coffee" }, names)
    local third = login("judy", "three")
    local b3 = bookmark.use(third, { autojoin = false })
    assert(presence.set(third, {}))
    assert(b3:fetched(30))
    assert.same({ jid = tea, name = "Tea", autojoin = true }, b3.list[tea])
    assert(b1:set(tea, { autojoin = false }))
    turn_until(function() return not room.occupants.judy end)
    assert(b1:remove(tea))
    turn_until(function() return not b2.list[tea] and not b3.list[tea] end)
    assert.equal("Coffee", b3.list["coffee@conference." .. s.domain].name)
  end)

  describe("slixmpp", function()
    local function start(name)
      local path, jid = os.tmpname(), name .. "@" .. s.domain
      local command = "exec env -u LD_PRELOAD '%s/slix_node.py' '%s' %d '%s' '%s/slix' '%s' >%s"
      local pipe = assert(io.popen(command:format(child.folder, s.host, s.port, s.ca, jid, s.users[name], path), "w"))
      finally(function()
        pipe:close()
        os.remove(path)
      end)
      local function told(text)
        turn_until(function()
          for line in io.lines(path) do
            if line:find(text, 1, true) == 1 then return true end
          end
        end)
      end
      told("READY=" .. jid)
      return function(line)
        pipe:write(line, "\n")
        pipe:flush()
        told("DONE=" .. line:match "^%S+")
      end, told, jid
    end

    it("publishes to us, and is told of what we publish", function()
      local ask, told, at_slix = start "carol"
      local alice = login("alice", "s")
      local service, heard = "pubsub." .. s.domain, {}
      assert(presence.set(alice, {}))
      assert(pubsub.create(alice, service, "slix", { access_model = "open", max_items = 10, persist_items = true,
        notify_retract = true }))
      assert(pubsub.affiliate(alice, service, "slix", at_slix, "publisher"))
      pubsub.on(alice, nil, function(e)
        if e.kind == "item" then heard[#heard + 1] = e.id .. " " .. shown(e.payload) end
      end)
      assert(pubsub.subscribe(alice, service, "slix"))
      ask("subscribe " .. service .. " slix")
      assert(pubsub.publish(alice, service, "slix", note "ours", { id = "1" }))
      told "ITEM=slix 1 ours"
      ask("publish " .. service .. " slix 2 theirs")
      turn_until(function() return heard[2] end)
      assert.same({ "1 ours", "2 theirs" }, heard)
      ask("items " .. service .. " slix")
      told "GOT=1 ours"
      told "GOT=2 theirs"
      assert(pubsub.retract(alice, service, "slix", "1"))
      told "RETRACT=slix 1"
      assert(pubsub.delete(alice, service, "slix"))
    end)

    it("sees our picture, and we see its", function()
      local ask, told, at_slix = start "erin"
      local bob, at_bob = login("bob", "s")
      local r, seen = roster.use(bob, { approve = "all" }), {}
      avatar.watch(bob, function(jid, meta) seen[#seen + 1] = jid .. " " .. (meta and meta.id or "none") end)
      assert(presence.set(bob, {}))
      assert(r:fetched(30))
      assert(r:subscribe(at_slix))
      turn_until(function() return r.items[at_slix] and r.items[at_slix].subscription == "both" end)
      -- ejabberd learns which events somebody wants when his presence reaches somebody who may see it.
      local heard = 0
      r:on("presence", function(jid) heard = heard + (jid:sub(1, #at_slix) == at_slix and 1 or 0) end)
      assert(presence.set(bob, { status = "here" }))
      assert(bob:ping(30))
      ask "presence"
      turn_until(function() return heard > 0 end)
      local id = assert(avatar.set(bob, PNG))
      told(("AVATAR=%s %s image/png %s"):format(at_bob, id, hex(core.hash("sha-1", PNG))))
      ask("avatar " .. hex(OTHER_PNG))
      local theirs = at_slix .. " " .. hex(core.hash("sha-1", OTHER_PNG))
      turn_until(function() return seen[#seen] == theirs end)
      assert.equal(OTHER_PNG, (assert(avatar.get(bob, at_slix))))
      assert(avatar.clear(bob))
      told("NONE=" .. at_bob)
      ask "clear"
      turn_until(function() return seen[#seen] == at_slix .. " none" end)
    end)
  end)
end

server.each(body, { more_users = USERS, extra_modules = "bookmarks vcard_legacy" }, { "prosody", "prosody13" })
server.each(body, { more_users = USERS }, { "ejabberd", "ejabberd24" })
