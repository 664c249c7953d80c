-- chat: who may refer to whose messages and how, and what is reported once. Every attack is forged; time is virtual.
local chat = require "xmpp.chat"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local roster = require "xmpp.roster"
local talk = require "spec.support.talk"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME, BARE, ANNA, BOB = talk.ME, talk.BARE, talk.ANNA, talk.BOB
local EVE, RECEIPTS, MARKERS = talk.EVE, talk.RECEIPTS, talk.MARKERS
local SID, CARBONS, STATES, message = talk.SID, talk.CARBONS, talk.STATES, talk.message
local bare_message, with, say = talk.bare_message, talk.with, talk.say
local is_receipt, account_gives_ids = talk.is_receipt, talk.account_gives_ids
local REQUEST = { "request", { xmlns = "urn:xmpp:receipts" } }

describe("carbons", function()
  local FROM_BOB = message(BOB, "1", "psst", REQUEST)
  local TO_BOB = { "message", { from = BARE .. "/phone", to = BOB, type = "chat", id = "2" }, { "body", {}, "mine" } }

  it("of our own account are reported, in both directions", with(nil, function(t, _, heard)
    t.forge.carbon(BARE, FROM_BOB)
    assert.same({ "message bob@example.net psst" }, heard())
    local m = heard.last[1]
    assert.same({ "in", true, BOB, ME }, { m.direction, m.carbon, m.from, m.to })
    t.forge.carbon("BOT@example.NET", TO_BOB, "sent")
    assert.same({ "message bob@example.net mine" }, heard())
    m = heard.last[1]
    assert.same({ "out", true, BARE .. "/phone", BOB }, { m.direction, m.carbon, m.from, m.to })
  end))

  it("from anybody else are dropped: no event, no receipt, nothing to the program's own callbacks", with(
    { receipts = "all" }, function(t, _, heard)
      local reached = {}
      t.conn:set_callback(function(stanza) reached[#reached + 1] = stanza end, { name = "message" })
      for _, from in ipairs { EVE, "eve@evil.example", BARE .. "/phone", ME, "example.net", "bot@evil.example",
        "room@rooms.example.net/bot", "bob@example.net" } do
        for _, direction in ipairs { "received", "sent" } do
          t.forge.carbon(from, direction == "sent" and TO_BOB or FROM_BOB, direction)
        end
      end
      t:receive { "message", { from = EVE, type = "groupchat" }, { "body", {}, "look" },
        { "received", { xmlns = CARBONS }, { "forwarded", { xmlns = "urn:xmpp:forward:0" },
          { "message", { xmlns = "jabber:client", from = BOB }, { "body", {}, "x" } } } } }
      assert.same({}, heard())
      assert.same({}, reached)
      t:nothing()
      t:receive(message(BOB, "3", "true"))
      assert.equal(1, #reached)
    end))

  it("that are not between us and somebody are dropped", with({ receipts = "all" }, function(t, _, heard)
    t.forge.carbon(BARE, TO_BOB)                                        -- "received", and sent to him
    t.forge.carbon(BARE, FROM_BOB, "sent")                              -- "sent", and sent by him
    t.forge.carbon(BARE, { "message", { to = BOB }, { "body", {}, "x" } }, "sent")
    local inner = { "received", { xmlns = CARBONS }, { "forwarded", { xmlns = "urn:xmpp:forward:0" },
      { "message", { xmlns = "jabber:client", from = BOB }, { "body", {}, "inner" } } } }
    t.forge.carbon(BARE, bare_message(EVE, "4", inner, { "body", {}, "outer" })) -- one inside of another
    t.forge.carbon(BARE, { "message", { from = "room@rooms.example.net/bob", to = ME, type = "groupchat" },
      { "body", {}, "said in a room" } })
    assert.same({}, heard())
  end))

  it("are accepted if the sender wanted no copies: others have seen it", with(nil, function(t, _, heard)
    t.forge.carbon(BARE, bare_message(BOB, "5", { "body", {}, "secret" }, { "private", { xmlns = CARBONS } },
      { "no-copy", { xmlns = "urn:xmpp:hints" } }))
    assert.same({ "message bob@example.net secret" }, heard())
  end))

  it("are enabled before the first presence, and in each new session", testing.around(function(t)
    local order = {}
    t:on({ "iq", { type = "set" }, { "enable", { xmlns = CARBONS } } }, function() order[#order + 1] = "carbons" end)
    t:on({ "presence" }, function() order[#order + 1] = "presence" return false end)
    chat.use(t.conn)
    presence.set(t.conn, {})
    t:nothing()
    assert.same({ "carbons", "presence" }, order)
    t:cut()
    t:resume()
    t:nothing()
    assert.equal(2, #order)
    t:reconnect { new = true }
    t:nothing()
    assert.same({ "carbons", "presence", "carbons", "presence" }, order)
  end))

  it("delay the presence until the server has answered, and no longer than 20 seconds", testing.around(function(t)
    local said = false
    t:on({ "iq", { type = "set" }, { "enable", { xmlns = CARBONS } } }, function() return false end)
    t:on({ "presence" }, function() said = true return false end)
    local err
    chat.use(t.conn):on("error", function(e) err = e end)
    xmpp.spawn(function() presence.set(t.conn, {}) end)
    t:advance(19)
    assert.is_false(said)
    t:advance(2)
    assert.is_true(said)
    assert.equal("timeout", err.layer)
  end))

  it("that the server refuses are an error event; those of a session that ends are none", testing.around(function(t)
    local errors, answers = {}, true
    t:on({ "iq", { type = "set" }, { "enable", { xmlns = CARBONS } } }, function()
      if not answers then return false end
      return nil, "cancel", "not-allowed"
    end)
    local c = chat.use(t.conn)
    c:on("error", function(err, peer) errors[#errors + 1] = err.condition .. tostring(peer) end)
    t:nothing()
    assert.same({ "not-allowednil" }, errors)
    answers = false
    t:reconnect { new = true }
    t:nothing()
    t:reconnect { new = true }
    assert.equal(1, #errors)
    t:advance(30)
    assert.equal(2, #errors)
  end))

  it("are not asked for if the option says so", testing.around(function(t)
    local asked = false
    t:on({ "iq", { type = "set" }, { "enable", { xmlns = CARBONS } } }, function() asked = true end)
    chat.use(t.conn, { carbons = false })
    t:nothing()
    assert.is_false(asked)
  end))
end)

describe("receipts are sent", function()
  local function ask(from, kind, ...)
    return { "message", { from = from, to = ME, type = kind, id = "q1" }, { "body", {}, "hi" }, REQUEST, ... }
  end

  it("to all, if the option says so", with({ receipts = "all" }, function(t)
    t:receive(ask(EVE, "chat"))
    is_receipt(t, EVE, "q1")
    t:receive(ask(EVE, "normal"))
    is_receipt(t, EVE, "q1", "normal")
    t:receive(ask(EVE, nil))
    is_receipt(t, EVE, "q1", "normal")
  end))

  it("but not for an id that is too long to be repeated", with({ receipts = "all" }, function(t)
    local longest = ask(EVE, "chat")
    longest[2].id = ("x"):rep(256)
    t:receive(longest)
    is_receipt(t, EVE, longest[2].id)
    local longer = ask(EVE, "chat")
    longer[2].id = ("x"):rep(257)
    t:receive(longer)
    t:nothing()
  end))

  it("by default only to those who may see our presence", with(nil, function(t)
    t:receive(ask(ANNA, "chat"))
    t:nothing()
    local off = disco.allow(t.conn, function(from) return from == ANNA end)
    t:receive(ask(ANNA, "chat"))
    is_receipt(t, ANNA, "q1")
    t:receive(ask(BOB, "chat"))
    t:nothing()
    off()
    t:receive(ask(ANNA, "chat"))
    t:nothing()
  end))

  it("by default to those contacts that see our presence", with(nil, function(t)
    local subscriptions = { none = false, to = false, from = true, both = true }
    for subscription in pairs(subscriptions) do
      t:contact(subscription .. "@example.net", { subscription = subscription })
    end
    local r = roster.use(t.conn)
    assert(r:fetched())
    for subscription, may in pairs(subscriptions) do
      local from = subscription .. "@example.net/pc"
      t:receive(ask(from, "chat"))
      if may then is_receipt(t, from, "q1") else t:nothing() end
    end
    t:receive(ask("both.example.net", "chat")) -- a different full JID
    t:nothing()
  end))

  it("by a function of the program's; none if it throws or waits", with(
    { receipts = function(jid)
      if jid == BOB then error "no idea" end
      if jid == EVE then xmpp.sleep(1) end
      return jid == ANNA
    end }, function(t)
      t:receive(ask(ANNA, "chat"))
      is_receipt(t, ANNA, "q1")
      t:receive(ask("carol@example.net/pc", "chat"))
      t:receive(ask(BOB, "chat"))
      t:receive(ask(EVE, "chat"))
      t:advance(2)
      t:nothing()
      local errors = table.concat(t:take_errors(), "\n")
      assert.matches("no idea", errors)
      assert.matches("must not wait", errors)
    end))

  it("to nobody if the option says so, nor if no receipt is asked for", with({ receipts = false }, function(t, c)
    disco.allow(t.conn, function() return true end)
    t:receive(ask(ANNA, "chat"))
    t:receive(message(ANNA, "q2", "hi"))
    t:nothing()
    c:send("anna@example.net", "x")
    assert.is_nil(xexpr.child(t:expect { "message" }, "request"))
  end))

  it("only after the message was reported", with({ receipts = "all" }, function(t, c)
    c:on("message", function(m) c:send(m.from, "first") end)
    t:receive(ask(EVE, "chat"))
    t:expect { "message", {}, { "body", {}, "first" } }
    is_receipt(t, EVE, "q1")
  end))

  it("again for a message that comes again, since the first receipt may be lost", with({ receipts = "all" },
    function(t, _, heard)
      for _ = 1, 2 do
        t:receive(ask(EVE, "chat", { "origin-id", { xmlns = SID, id = "o" } }))
        is_receipt(t, EVE, "q1")
      end
      assert.equal(1, #heard())
    end))

  it("for one that was stored while we were offline", with({ receipts = "all" }, function(t, _, heard)
    t:receive(ask(EVE, "chat", { "delay", { xmlns = "urn:xmpp:delay", stamp = "2002-09-10T23:08:25Z" } }))
    is_receipt(t, EVE, "q1")
    assert.same({ true, 1031699305 }, { heard.last[1].delayed, heard.last[1].stamp })
  end))

  for what, stanza in pairs {
    ["in groupchat"] = ask(EVE, "groupchat"),
    ["for errors"] = { "message", { from = EVE, to = ME, type = "error", id = "q1" }, { "body", {}, "hi" }, REQUEST,
      { "error", { type = "cancel" }, { "gone", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } },
    ["for headlines"] = ask(EVE, "headline"),
    ["without an id"] = { "message", { from = EVE, to = ME, type = "chat" }, { "body", {}, "hi" }, REQUEST },
    ["for receipts"] = bare_message(EVE, "q1", { "received", { xmlns = RECEIPTS, id = "x" } }, REQUEST),
    ["for receipts with a text"] = ask(EVE, "chat", { "received", { xmlns = RECEIPTS, id = "x" } }),
    ["for markers"] = bare_message(EVE, "q1", { "displayed", { xmlns = MARKERS, id = "x" } }, REQUEST),
    ["for markers with a text"] = ask(EVE, "chat", { "displayed", { xmlns = MARKERS, id = "x" } }),
    ["for states"] = bare_message(EVE, "q1", { "composing", { xmlns = STATES } }, REQUEST),
    ["to our own account"] = ask(BARE .. "/phone", "chat"),
    ["to our own account, which has no resource"] = ask(BARE, "chat"),
    ["for what an occupant of a room says to us alone"] = ask("room@rooms.example.net/eve", "chat",
      { "x", { xmlns = "http://jabber.org/protocol/muc#user" } }),
    ["for a request in another namespace"] = bare_message(EVE, "q1", { "body", {}, "hi" },
      { "request", { xmlns = "urn:example:other" } }),
  } do
    it("never " .. what, with({ receipts = "all" }, function(t)
      t:receive(stanza)
      t:nothing()
    end))
  end

  it("never for copies, nor for what an archive gives", with({ receipts = "all" }, function(t, _, heard)
    t.forge.carbon(BARE, ask(BOB, "chat"))
    assert.same({ "message bob@example.net hi" }, heard())
    t.forge.mam(BARE, ask(BOB, "chat"), { queryid = "x" })
    t.forge.mam(EVE, ask(BOB, "chat"))
    assert.same({}, heard())
    t:nothing()
  end))

  it("not after the end of its use, or of the connection", with({ receipts = "all" }, function(t, c)
    c:on("message", function(m) if m.text == "drop" then ext.drop(t.conn, chat) end end)
    t:receive(message(EVE, "q1", "drop", REQUEST))
    t:nothing()
    assert.same({ nil, "closed" }, { c:send(EVE, "x"), select(2, c:send(EVE, "x")).layer })
    chat.use(t.conn, { receipts = "all" }):on("message", function() t.conn:stop() end)
    t:receive(message(EVE, "q2", "stop", REQUEST))
    t:nothing()
  end))
end)

describe("receipts are accepted", function()
  it("of what we have sent to that address, once", with(nil, function(t, c, heard)
    local id = say(t, c)
    t.forge.receipt("anna@example.net/phone", id)
    t.forge.receipt(ANNA, id)
    assert.same({ "receipt anna@example.net " .. id }, heard())
  end))

  it("of nothing else", with(nil, function(t, c, heard)
    local id = say(t, c)
    t.forge.receipt(EVE, id)
    t.forge.receipt(BOB, id)
    t.forge.receipt(ANNA, "another")
    t.forge.receipt(ANNA, "")
    t.forge.receipt(nil, id)
    t:receive(message(ANNA, "own", "hi"))
    heard()
    t.forge.receipt(ANNA, "own") -- she has sent it, not we
    t:receive { "message", { from = ANNA, type = "chat" }, { "received", { xmlns = "urn:example:x", id = id } } }
    t:receive { "message", { from = ANNA, type = "groupchat" }, { "received", { xmlns = RECEIPTS, id = id } } }
    assert.same({}, heard())
  end))

  it("from an address that our server spells otherwise, and from no look-alike", with(nil, function(t, c, heard)
    local function said(to)
      local id = assert(c:send(to, "hello"))
      t:expect { "message", { to = to } }
      return id
    end
    local id = said "straße@example.net"
    t.forge.receipt("strasse@evil.example/x", id)
    t.forge.receipt("strase@example.net/x", id)
    assert.same({}, heard())
    t.forge.receipt("strasse@example.net/x", id)
    t.forge.reaction("strasse@example.net/x", id, { "+1" })
    assert.same({ "receipt strasse@example.net " .. id, "reacted strasse@example.net " .. id .. " +1" }, heard())
    id = said "strasse@example.net"
    t.forge.receipt("straße@example.net/x", id) -- if both exist, this is another account
    assert.same({}, heard())
    c:correct("straße@example.net", id, "x")
    t:sent()
  end))

  it("of what another client of ours has sent, in a carbon copy, too; not those that it sends itself", with(nil,
    function(t, _, heard)
      t.forge.carbon(BARE, { "message", { from = BARE .. "/phone", to = ANNA, type = "chat", id = "7" },
        { "body", {}, "mine" } }, "sent")
      t:receive(message(ANNA, "8", "yours"))
      heard()
      t.forge.carbon(BARE, { "message", { from = BARE .. "/phone", to = ANNA, type = "chat" },
        { "received", { xmlns = RECEIPTS, id = "8" } } }, "sent")
      t.forge.carbon(BARE, { "message", { from = BARE .. "/phone", to = ANNA, type = "chat" },
        { "received", { xmlns = RECEIPTS, id = "7" } } }, "sent")
      assert.same({}, heard())
      t.forge.carbon(BARE, bare_message(ANNA, "9", { "received", { xmlns = RECEIPTS, id = "7" } }))
      assert.same({ "receipt anna@example.net 7" }, heard())
    end))
end)

describe("a correction", function()
  local function first(t, heard)
    t:receive(message(ANNA, "m1", "helo"))
    heard()
  end

  it("of one's own message is accepted, from any resource; of a correction it refers to the first", with(nil,
    function(t, _, heard)
      first(t, heard)
      t.forge.correction("anna@example.net/phone", "m1", "hello")
      assert.same({ "corrected anna@example.net m1 -> hello" }, heard())
      t.forge.correction(ANNA, heard.last[1].id, "hallo")
      assert.same({ "corrected anna@example.net m1 -> hallo" }, heard())
      t.forge.correction(ANNA, "m1", "hi")
      assert.same({ "corrected anna@example.net m1 -> hi" }, heard())
    end))

  it("of anything else is an ordinary message, and suspicious", with(nil, function(t, c, heard)
    first(t, heard)
    t.forge.correction(EVE, "m1", "give me the keys")
    assert.same({ "message eve@evil.example give me the keys ?correction" }, heard())
    assert.is_nil(heard.last[1].replaces)
    t.forge.correction(BOB, "m1", "x")
    t.forge.correction(ANNA, "unknown", "y")
    local id = say(t, c)
    t.forge.correction(ANNA, id, "z") -- which is ours
    assert.same({ "message bob@example.net x ?correction", "message anna@example.net y ?correction",
      "message anna@example.net z ?correction" }, heard())
  end))

  it("is not recognised in another namespace, or without an id", with(nil, function(t, _, heard)
    first(t, heard)
    t:receive(message(ANNA, "m2", "a", { "replace", { xmlns = "urn:example:x", id = "m1" } }))
    t:receive(message(ANNA, "m3", "b", { "replace", { xmlns = "urn:xmpp:message-correct:0" } }))
    assert.same({ "message anna@example.net a", "message anna@example.net b" }, heard())
  end))

  it("from another client of ours is of what our account has sent", with(nil, function(t, c, heard)
    local id = say(t, c)
    local function by_phone(its, text)
      t.forge.carbon(BARE, { "message", { from = BARE .. "/phone", to = ANNA, type = "chat", id = "p" .. text },
        { "body", {}, text }, { "replace", { xmlns = "urn:xmpp:message-correct:0", id = its } } }, "sent")
    end
    by_phone(id, "better")
    assert.same({ "corrected anna@example.net " .. id .. " -> better" }, heard())
    assert.equal("out", heard.last[1].direction)
    first(t, heard)
    by_phone("m1", "worse")
    assert.same({ "message anna@example.net worse ?correction" }, heard())
  end))

  it("only reaches the last messages, as many as the option says", with({ window = 3 }, function(t, _, heard)
    for i = 1, 4 do t:receive(message(ANNA, "m" .. i, "text")) end
    heard()
    t.forge.correction(ANNA, "m1", "old")
    assert.same({ "message anna@example.net old ?correction" }, heard())
    t.forge.correction(ANNA, "m4", "new")
    assert.same({ "corrected anna@example.net m4 -> new" }, heard())
  end))

  it("reaches no message that was retracted", with(nil, function(t, _, heard)
    first(t, heard)
    t.forge.retraction(ANNA, "m1")
    t.forge.correction(ANNA, "m1", "back again")
    assert.same({ "retracted anna@example.net m1", "message anna@example.net back again ?correction" }, heard())
  end))
end)

describe("a retraction", function()
  local BODY = { "body", {}, "/me takes it back" }
  local function retraction(id)
    return { "retract", { xmlns = "urn:xmpp:message-retract:1", id = id } },
      { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = "urn:xmpp:message-retract:1" } }
  end

  it("of one's own message is accepted, by either id, and by those of corrections", with(nil, function(t, _, heard)
    t:receive(message(ANNA, "m1", "oops", { "origin-id", { xmlns = SID, id = "o1" } }))
    t:receive(message(ANNA, "m2", "oops"))
    t.forge.correction(ANNA, "m2", "oops!")
    local correction = heard.last[1].id
    heard()
    t.forge.retraction(ANNA, "o1")
    t.forge.retraction(ANNA, correction)
    assert.same({ "retracted anna@example.net m1", "retracted anna@example.net m2" }, heard())
    t.forge.retraction(ANNA, "m1") -- it was retracted before
    assert.same({}, heard())
  end))

  it("of anything else is ignored, or reported as its text", with(nil, function(t, c, heard)
    t:receive(message(ANNA, "m1", "mine"))
    heard()
    local id = say(t, c)
    t.forge.retraction(EVE, "m1")
    t.forge.retraction(BOB, "m1")
    t.forge.retraction(ANNA, id)
    assert.same({}, heard())
    local x, fallback = retraction "m1"
    t:receive(bare_message(EVE, "m3", BODY, x, fallback))
    assert.same({ "message eve@evil.example /me takes it back ?retraction" }, heard())
    t.forge.retraction(ANNA, "m1") -- the attempts had no effect
    assert.same({ "retracted anna@example.net m1" }, heard())
  end))

  it("has no text except for its fallback", with(nil, function(t, _, heard)
    t:receive(message(ANNA, "m1", "mine"))
    local x, fallback = retraction "m1"
    t:receive(bare_message(ANNA, "m2", BODY, x, fallback))
    assert.equal("retracted anna@example.net m1", heard()[2])
    assert.is_nil(heard.last[1].text)
  end))
end)

describe("a reaction", function()
  it("is accepted to what either side has said in the conversation", with(nil, function(t, c, heard)
    local id = say(t, c)
    t:receive(message(ANNA, "m1", "hi"))
    heard()
    t.forge.reaction(ANNA, id, { "👍", "🎉", "👍" })
    t.forge.reaction(ANNA, "m1", {})
    assert.same({ "reacted anna@example.net " .. id .. " 👍,🎉", "reacted anna@example.net m1 " }, heard())
    t.forge.carbon(BARE, { "message", { from = BARE .. "/phone", to = ANNA, type = "chat" },
      { "reactions", { xmlns = "urn:xmpp:reactions:0", id = "m1" }, { "reaction", {}, "❤" } } }, "sent")
    assert.same({ "reacted anna@example.net m1 ❤" }, heard())
    assert.equal("out", heard.last[1].direction)
  end))

  it("to anything else is ignored, or reported as its text", with(nil, function(t, c, heard)
    local id = say(t, c)
    t.forge.reaction(EVE, id, { "👍" })
    t.forge.reaction(BOB, id, { "👍" })
    t.forge.reaction(ANNA, "unknown", { "👍" })
    assert.same({}, heard())
    local fallback = { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = "urn:xmpp:reactions:0" } }
    t:receive(bare_message(EVE, "m3", { "body", {}, "+1" }, { "reactions", { xmlns = "urn:xmpp:reactions:0", id = id },
      { "reaction", {}, "+1" } }, fallback))
    assert.same({ "message eve@evil.example +1 ?reaction" }, heard())
  end))

  it("with too many is cut", with(nil, function(t, c, heard)
    local id, list = say(t, c), { ("x"):rep(65), "" }
    for i = 1, 40 do list[#list + 1] = "r" .. i end
    t.forge.reaction(ANNA, id, list)
    assert.equal(32, #heard.last[1].reaction.list)
    assert.equal("r1", heard.last[1].reaction.list[1])
  end))
end)

describe("a stanza-id", function()
  local function by(address, id) return { "stanza-id", { xmlns = SID, by = address, id = id } } end

  it("is believed if our account announces that it gives them", testing.around(function(t)
    account_gives_ids(t)
    local got
    chat.use(t.conn):on("message", function(m) got = m end)
    t:receive(message(ANNA, "1", "hi", by("BOT@example.net", "s1"), by("example.net", "s2"), by(EVE, "s3"),
      by("anna@example.net", "s4")))
    assert.same({ "s1", BARE }, { got.stanza_id, got.by })
    t:receive(message(ANNA, "2", "hi", by("anna@example.net", "s4")))
    assert.same({}, { got.stanza_id, got.by })
    t:receive(message(ANNA, "3", "hi", by(BARE, "s5"), by(BARE, "s6"))) -- one of them is forged
    assert.is_nil(got.stanza_id)
    t:receive(message(ANNA, "4", "hi", { "stanza-id", { xmlns = "urn:example:x", by = BARE, id = "s7" } }))
    assert.is_nil(got.stanza_id)
  end))

  it("is not believed if the account doesn't, nor before it has", with(nil, function(t, _, heard)
    t:receive(message(ANNA, "1", "hi", by(BARE, "forged")))
    t:receive(message(BOB, "2", "ho", by(BARE, "forged")))
    assert.same({ "message anna@example.net hi", "message bob@example.net ho" }, heard())
    assert.is_nil(heard.last[1].stanza_id)
    account_gives_ids(t)
    t:receive(message(BOB, "3", "ho", by(BARE, "forged")))
    assert.is_nil(heard.last[1].stanza_id)
    t:reconnect { new = true } -- each session asks anew
    t:nothing()
    t:receive(message(BOB, "4", "ho", by(BARE, "true")))
    assert.equal("true", heard.last[1].stanza_id)
    t:on({ "iq", { type = "get", to = BARE } }, function() return false end)
    t:reconnect { new = true } -- what an earlier session was told doesn't count
    t:receive(message(BOB, "5", "ho", by(BARE, "forged")))
    assert.is_nil(heard.last[1].stanza_id)
    t:advance(30)
  end))
end)

describe("a message that comes twice is reported once:", function()
  local function with_ids(from, origin, service, text)
    return bare_message(from, "1", { "body", {}, text or "hi" },
      origin and { "origin-id", { xmlns = SID, id = origin } } or { "x", { xmlns = "urn:x" } },
      service and { "stanza-id", { xmlns = SID, by = BARE, id = service } } or { "x", { xmlns = "urn:x" } })
  end

  it("again in a new session of its sender's, even if the server gives it another id", testing.around(function(t)
    account_gives_ids(t)
    local n = 0
    chat.use(t.conn):on("message", function() n = n + 1 end)
    t:receive(with_ids(ANNA, "o1", "s1"))
    t:receive(with_ids("anna@example.net/another", "o1", "s2"))
    assert.equal(1, n)
    t.forge.carbon(BARE, with_ids(ANNA, nil, "s2")) -- it is recognised by the other id, too
    assert.equal(1, n)
    t.forge.carbon(BARE, with_ids(ANNA, nil, "s3"))
    assert.equal(2, n)
  end))

  it("in a session of ours that is new", with(nil, function(t, _, heard)
    t:receive(with_ids(ANNA, "o1"))
    t:reconnect { new = true }
    t:receive(with_ids(ANNA, "o1"))
    assert.equal(1, #heard())
  end))

  it("as a copy, and by itself", with(nil, function(t, _, heard)
    t.forge.carbon(BARE, with_ids(ANNA, "o1"))
    t:receive(with_ids(ANNA, "o1"))
    assert.equal(1, #heard())
  end))

  it("so are its correction, retraction, and receipt", with(nil, function(t, c, heard)
    local id = say(t, c)
    t:receive(message(ANNA, "m1", "hi"))
    for _ = 1, 2 do
      t:receive(bare_message(ANNA, "m2", { "body", {}, "ho" }, { "origin-id", { xmlns = SID, id = "o2" } },
        { "replace", { xmlns = "urn:xmpp:message-correct:0", id = "m1" } }))
      t:receive(bare_message(ANNA, "m3", { "reactions", { xmlns = "urn:xmpp:reactions:0", id = id } },
        { "origin-id", { xmlns = SID, id = "o3" } }))
    end
    assert.equal(3, #heard())
  end))

  it("but another sender's with the same id is another one", with(nil, function(t, _, heard)
    t:receive(with_ids(ANNA, "o1"))
    t:receive(with_ids(BOB, "o1"))
    t:receive(with_ids(EVE, "o1"))
    t:receive(with_ids(ANNA, nil))
    t:receive(with_ids(ANNA, nil))
    assert.equal(5, #heard())
  end))

  it("an error with its id hides nothing", with(nil, function(t, _, heard)
    local x = with_ids(ANNA, "o1")
    x[2].type = "error"
    t:receive(x)
    t:receive(with_ids(ANNA, "o1"))
    assert.equal(1, #heard())
  end))

  it("within the limit that the option sets, at least", with({ dedup = 4 }, function(t, _, heard)
    t:receive(with_ids(ANNA, "o0"))
    for i = 1, 3 do t:receive(with_ids(ANNA, "o" .. i)) end
    t:receive(with_ids(ANNA, "o0"))
    assert.equal(4, #heard())
    for i = 4, 12 do t:receive(with_ids(ANNA, "o" .. i)) end
    heard()
    t:receive(with_ids(ANNA, "o0"))
    assert.equal(1, #heard())
  end))
end)
