-- chat: who may say what of whose messages, and what is told of once. Each trap is forged; time is virtual.
local caps = require "xmpp.caps"
local chat = require "xmpp.chat"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local ME, BARE = "bot@example.net/test", "bot@example.net"
local ANNA, BOB, EVE = "anna@example.net/pc", "bob@example.net/pc", "eve@evil.example/x"
local RECEIPTS, MARKERS, SID, CARBONS = "urn:xmpp:receipts", "urn:xmpp:chat-markers:0", "urn:xmpp:sid:0",
  "urn:xmpp:carbons:2"
local STATES = "http://jabber.org/protocol/chatstates"
local REQUEST = { "request", { xmlns = RECEIPTS } }
local EVENTS = { "message", "corrected", "retracted", "reacted", "receipt", "displayed", "state", "error" }

-- A message to us.
local function message(from, id, text, ...)
  return { "message", { from = from, to = ME, type = "chat", id = id }, text and { "body", {}, text } or nil, ... }
end

local function bare_message(from, id, ...)
  return { "message", { from = from, to = ME, type = "chat", id = id }, ... }
end

-- What is told of, as lines.
local WORDS = {
  message = function(m) return ("%s %s%s"):format(m.peer, m.text, m.suspicious and " ?" .. m.suspicious or "") end,
  corrected = function(m) return ("%s %s -> %s"):format(m.peer, m.replaces, m.text) end,
  retracted = function(m) return ("%s %s"):format(m.peer, m.retracts) end,
  reacted = function(m) return ("%s %s %s"):format(m.peer, m.reaction.id, table.concat(m.reaction.list, ",")) end,
  receipt = function(peer, id) return peer .. " " .. id end,
  displayed = function(peer, id) return peer .. " " .. id end,
  state = function(peer, state) return peer .. " " .. state end,
  error = function(err, peer, id) return ("%s %s %s"):format(err.condition, tostring(peer), tostring(id)) end,
}

-- A test with chat in use: f(t, c, heard); heard() gives the lines since the last time, heard.last the last event.
local function with(opts, f, of_test)
  return testing.around(function(t)
    local lines, ear = {}, {}
    local c = chat.use(t.conn, opts)
    for _, event in ipairs(EVENTS) do
      c:on(event, function(...)
        lines[#lines + 1] = event .. " " .. WORDS[event](...)
        ear.last = { ... }
      end)
    end
    t:nothing() -- the session hook has run
    f(t, c, setmetatable(ear, { __call = function()
      local out = lines
      lines = {}
      return out
    end }))
  end, of_test)
end

-- The account announces that it gives ids.
local function account_gives_ids(t)
  t:on({ "iq", { type = "get", to = BARE }, { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } },
    function()
      return { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
        { "identity", { category = "account", type = "registered" } }, { "feature", { var = SID } } }
    end)
end

-- We say it to Anna; its id.
local function say(t, c, text)
  local id = assert(c:send("anna@example.net", text or "hello"))
  t:expect { "message", { id = id } }
  return id
end

local function is_receipt(t, to, id, kind)
  local got = t:expect { "message", { to = to, type = kind or "chat" }, { "received", { xmlns = RECEIPTS, id = id } },
    { "store", { xmlns = "urn:xmpp:hints" } } }
  assert.is_nil(xexpr.child(got, "body"))
  assert.is_nil(xexpr.child(got, "request"))
  t:nothing()
end

describe("carbons", function()
  local FROM_BOB = message(BOB, "1", "psst", REQUEST)
  local TO_BOB = { "message", { from = BARE .. "/phone", to = BOB, type = "chat", id = "2" }, { "body", {}, "mine" } }

  it("of our own account are told of, in both directions", with(nil, function(t, _, heard)
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
    t.forge.carbon(BARE, TO_BOB)                                        -- received, and to him
    t.forge.carbon(BARE, FROM_BOB, "sent")                              -- sent, and by him
    t.forge.carbon(BARE, { "message", { to = BOB }, { "body", {}, "x" } }, "sent")
    local inner = { "received", { xmlns = CARBONS }, { "forwarded", { xmlns = "urn:xmpp:forward:0" },
      { "message", { xmlns = "jabber:client", from = BOB }, { "body", {}, "inner" } } } }
    t.forge.carbon(BARE, bare_message(EVE, "4", inner, { "body", {}, "outer" })) -- one inside of another
    t.forge.carbon(BARE, { "message", { from = "room@rooms.example.net/bob", to = ME, type = "groupchat" },
      { "body", {}, "said in a room" } })
    assert.same({}, heard())
  end))

  it("are passed on where the sender wanted no copies: others have seen it", with(nil, function(t, _, heard)
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

  it("hold up the presence until the server has answered, and no longer than 20 seconds", testing.around(function(t)
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

  it("are not asked for where the option says so", testing.around(function(t)
    local asked = false
    t:on({ "iq", { type = "set" }, { "enable", { xmlns = CARBONS } } }, function() asked = true end)
    chat.use(t.conn, { carbons = false })
    t:nothing()
    assert.is_false(asked)
  end))
end)

describe("receipts are given", function()
  local function ask(from, kind, ...)
    return { "message", { from = from, to = ME, type = kind, id = "q1" }, { "body", {}, "hi" }, REQUEST, ... }
  end

  it("to all, where the option says so", with({ receipts = "all" }, function(t)
    t:receive(ask(EVE, "chat"))
    is_receipt(t, EVE, "q1")
    t:receive(ask(EVE, "normal"))
    is_receipt(t, EVE, "q1", "normal")
    t:receive(ask(EVE, nil))
    is_receipt(t, EVE, "q1", "normal")
  end))

  it("by default to those alone who may know that we are there", with(nil, function(t)
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

  it("by a function of the program's; one that throws or waits lets nobody", with(
    { receipts = function(jid)
      if jid == BOB then error "no idea" end
      if jid == EVE then xmpp.sleep(1) end
      return jid == ANNA
    end }, function(t)
      t:receive(ask(ANNA, "chat"))
      is_receipt(t, ANNA, "q1")
      t:receive(ask(BOB, "chat"))
      t:receive(ask(EVE, "chat"))
      t:advance(2)
      t:nothing()
      local errors = table.concat(t:take_errors(), "\n")
      assert.matches("no idea", errors)
      assert.matches("must not wait", errors)
    end))

  it("to nobody where the option says so, nor where no receipt is asked for", with({ receipts = false }, function(t, c)
    disco.allow(t.conn, function() return true end)
    t:receive(ask(ANNA, "chat"))
    t:receive(message(ANNA, "q2", "hi"))
    t:nothing()
    c:send("anna@example.net", "x")
    assert.is_nil(xexpr.child(t:expect { "message" }, "request"))
  end))

  it("only behind the message's being told of", with({ receipts = "all" }, function(t, c)
    c:on("message", function(m) c:send(m.from, "first") end)
    t:receive(ask(EVE, "chat"))
    t:expect { "message", {}, { "body", {}, "first" } }
    is_receipt(t, EVE, "q1")
  end))

  it("for a message again that is told of once: the first receipt may be lost", with({ receipts = "all" },
    function(t, _, heard)
      for _ = 1, 2 do
        t:receive(ask(EVE, "chat", { "origin-id", { xmlns = SID, id = "o" } }))
        is_receipt(t, EVE, "q1")
      end
      assert.equal(1, #heard())
    end))

  it("for one that was kept for us while we were away", with({ receipts = "all" }, function(t, _, heard)
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

  it("not behind the end of its use, nor of the connection's", with({ receipts = "all" }, function(t, c)
    c:on("message", function(m) if m.text == "drop" then ext.drop(t.conn, chat) end end)
    t:receive(message(EVE, "q1", "drop", REQUEST))
    t:nothing()
    assert.same({ nil, "closed" }, { c:send(EVE, "x"), select(2, c:send(EVE, "x")).layer })
    chat.use(t.conn, { receipts = "all" }):on("message", function() t.conn:stop() end)
    t:receive(message(EVE, "q2", "stop", REQUEST))
    t:nothing()
  end))
end)

describe("receipts are heard", function()
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
    t.forge.receipt(ANNA, "own") -- which she has sent, and not we
    t:receive { "message", { from = ANNA, type = "chat" }, { "received", { xmlns = "urn:example:x", id = id } } }
    t:receive { "message", { from = ANNA, type = "groupchat" }, { "received", { xmlns = RECEIPTS, id = id } } }
    assert.same({}, heard())
  end))

  it("of what another client of ours has sent, in a copy too; not what that one says itself", with(nil,
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

  it("of its own message is one, from any resource; of a correction it is of the first", with(nil,
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

  it("is not told of in another namespace, and without an id", with(nil, function(t, _, heard)
    first(t, heard)
    t:receive(message(ANNA, "m2", "a", { "replace", { xmlns = "urn:example:x", id = "m1" } }))
    t:receive(message(ANNA, "m3", "b", { "replace", { xmlns = "urn:xmpp:message-correct:0" } }))
    assert.same({ "message anna@example.net a", "message anna@example.net b" }, heard())
  end))

  it("of another client's of ours is of what our account has sent", with(nil, function(t, c, heard)
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

  it("reaches the last messages alone, as many as the option says", with({ window = 3 }, function(t, _, heard)
    for i = 1, 4 do t:receive(message(ANNA, "m" .. i, "text")) end
    heard()
    t.forge.correction(ANNA, "m1", "old")
    assert.same({ "message anna@example.net old ?correction" }, heard())
    t.forge.correction(ANNA, "m4", "new")
    assert.same({ "corrected anna@example.net m4 -> new" }, heard())
  end))

  it("reaches no message that was taken back", with(nil, function(t, _, heard)
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

  it("of its own message is one, by either id, and by those of corrections", with(nil, function(t, _, heard)
    t:receive(message(ANNA, "m1", "oops", { "origin-id", { xmlns = SID, id = "o1" } }))
    t:receive(message(ANNA, "m2", "oops"))
    t.forge.correction(ANNA, "m2", "oops!")
    local correction = heard.last[1].id
    heard()
    t.forge.retraction(ANNA, "o1")
    t.forge.retraction(ANNA, correction)
    assert.same({ "retracted anna@example.net m1", "retracted anna@example.net m2" }, heard())
    t.forge.retraction(ANNA, "m1") -- it is gone
    assert.same({}, heard())
  end))

  it("of anything else is nothing, or its text", with(nil, function(t, c, heard)
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
    t.forge.retraction(ANNA, "m1") -- it is still there
    assert.same({ "retracted anna@example.net m1" }, heard())
  end))

  it("has no text but what is there for others", with(nil, function(t, _, heard)
    t:receive(message(ANNA, "m1", "mine"))
    local x, fallback = retraction "m1"
    t:receive(bare_message(ANNA, "m2", BODY, x, fallback))
    assert.equal("retracted anna@example.net m1", heard()[2])
    assert.is_nil(heard.last[1].text)
  end))
end)

describe("a reaction", function()
  it("is one to what either side has said in that conversation", with(nil, function(t, c, heard)
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

  it("to anything else is nothing, or its text", with(nil, function(t, c, heard)
    local id = say(t, c)
    t.forge.reaction(EVE, id, { "👍" })
    t.forge.reaction(BOB, id, { "👍" })
    t.forge.reaction(ANNA, "unknown", { "👍" })
    assert.same({}, heard())
    t:receive(bare_message(EVE, "m3", { "body", {}, "👍" }, { "reactions", { xmlns = "urn:xmpp:reactions:0", id = id },
      { "reaction", {}, "👍" } }, { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = "urn:xmpp:reactions:0" } }))
    assert.same({ "message eve@evil.example 👍 ?reaction" }, heard())
  end))

  it("of many is cut", with(nil, function(t, c, heard)
    local id, list = say(t, c), { ("x"):rep(65), "" }
    for i = 1, 40 do list[#list + 1] = "r" .. i end
    t.forge.reaction(ANNA, id, list)
    assert.equal(32, #heard.last[1].reaction.list)
    assert.equal("r1", heard.last[1].reaction.list[1])
  end))
end)

describe("markers and states", function()
  it("are heard of what we have sent there, once; of nothing else", with(nil, function(t, c, heard)
    local id = say(t, c)
    t.forge.displayed(EVE, id)
    t.forge.displayed(ANNA, "unknown")
    assert.same({}, heard())
    t.forge.displayed(ANNA, id)
    t.forge.displayed(ANNA, id)
    t.forge.receipt(ANNA, id)
    assert.same({ "displayed anna@example.net " .. id, "receipt anna@example.net " .. id }, heard())
  end))

  it("say that a message was displayed when the program says so, if that was asked for", with(nil,
    function(t, c, heard)
      t:receive(message(ANNA, "m1", "hi", { "markable", { xmlns = MARKERS } }, { "thread", {}, "T" }))
      t:nothing()
      assert.is_true(c:displayed(heard.last[1]))
      t:expect { "message", { to = ANNA, type = "chat" }, { "displayed", { xmlns = MARKERS, id = "m1" } },
        { "thread", {}, "T" }, { "store", { xmlns = "urn:xmpp:hints" } } }
      t:receive(message(ANNA, "m2", "hi"))
      assert.is_false(c:displayed(heard.last[1]))
      t.forge.carbon(BARE, { "message", { from = BARE .. "/phone", to = ANNA, type = "chat", id = "m3" },
        { "body", {}, "mine" }, { "markable", { xmlns = MARKERS } } }, "sent")
      assert.is_false(c:displayed(heard.last[1]))
      t:nothing()
    end))

  it("are heard while they are true", with(nil, function(t, _, heard)
    t:receive(bare_message(ANNA, nil, { "composing", { xmlns = STATES } }))
    t:receive(message(ANNA, "m1", "hi", { "active", { xmlns = STATES } }))
    t:receive(bare_message(ANNA, nil, { "paused", { xmlns = STATES } },
      { "delay", { xmlns = "urn:xmpp:delay", stamp = "2002-09-10T23:08:25Z" } }))
    t:receive(bare_message(ANNA, nil, { "dancing", { xmlns = STATES } }))
    t:receive(bare_message(ANNA, nil, { "gone", { xmlns = "urn:example:x" } }))
    t.forge.carbon(BARE, { "message", { from = BARE .. "/phone", to = ANNA, type = "chat" },
      { "composing", { xmlns = STATES } } }, "sent")
    assert.same({ "state anna@example.net composing", "state anna@example.net active", "message anna@example.net hi" },
      heard())
  end))

  it("of ours are said to those who have said theirs, and to nobody else", with({ states = true }, function(t, c)
    assert.is_false(c:state("anna@example.net", "composing"))
    c:send("anna@example.net", "hi")
    assert.is_nil(xexpr.child(t:expect { "message" }, "active", STATES))
    t:receive(bare_message(ANNA, nil, { "composing", { xmlns = STATES } }))
    assert.is_true(c:state("anna@example.net", "composing"))
    local got = t:expect { "message", { to = "anna@example.net", type = "chat" }, { "composing", { xmlns = STATES } },
      { "no-store", { xmlns = "urn:xmpp:hints" } } }
    assert.is_nil(xexpr.child(got, "body"))
    c:send("anna@example.net", "hi")
    t:expect { "message", {}, { "active", { xmlns = STATES } } }
    t:receive(message(ANNA, "m1", "without a state")) -- she wants no more (XEP-0085 5.1)
    assert.is_false(c:state("anna@example.net", "paused"))
    t:nothing()
  end))

  it("of ours are said to those who announce that they know them", testing.around(function(t)
    ext.use(t.conn, caps)
    local c = chat.use(t.conn)
    local query = { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
      { "identity", { category = "client", type = "pc" } }, { "feature", { var = STATES } } }
    t.forge.caps(BOB, { ver = caps.ver(query) })
    assert.is_false(c:state(BOB, "composing")) -- nobody knows yet what the hash says
    xmpp.spawn(function() caps.of(t.conn, BOB) end)
    t:expect({ "iq", { to = BOB } }, query)
    assert.is_true(c:state(BOB, "composing"))
    t:expect { "message", { to = BOB }, { "composing", { xmlns = STATES } } }
    assert.is_false(c:state(EVE, "composing"))
  end))
end)

describe("a stanza-id", function()
  local function by(address, id) return { "stanza-id", { xmlns = SID, by = address, id = id } } end

  it("is believed of our account where it announces that it gives them", testing.around(function(t)
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

  it("is not believed where the account doesn't, nor before it has", with(nil, function(t, _, heard)
    t:receive(message(ANNA, "1", "hi", by(BARE, "forged")))
    t:receive(message(BOB, "2", "ho", by(BARE, "forged")))
    assert.same({ "message anna@example.net hi", "message bob@example.net ho" }, heard())
    assert.is_nil(heard.last[1].stanza_id)
    account_gives_ids(t)
    t:receive(message(BOB, "3", "ho", by(BARE, "forged")))
    assert.is_nil(heard.last[1].stanza_id)
    t:reconnect { new = true } -- each session asks
    t:nothing()
    t:receive(message(BOB, "4", "ho", by(BARE, "true")))
    assert.equal("true", heard.last[1].stanza_id)
  end))
end)

describe("a message that comes twice is told of once:", function()
  local function with_ids(from, origin, service, text)
    return bare_message(from, "1", { "body", {}, text or "hi" },
      origin and { "origin-id", { xmlns = SID, id = origin } } or { "x", { xmlns = "urn:x" } },
      service and { "stanza-id", { xmlns = SID, by = BARE, id = service } } or { "x", { xmlns = "urn:x" } })
  end

  it("again in a new session of its sender's, where the server gives it another id", testing.around(function(t)
    account_gives_ids(t)
    local n = 0
    chat.use(t.conn):on("message", function() n = n + 1 end)
    t:receive(with_ids(ANNA, "o1", "s1"))
    t:receive(with_ids("anna@example.net/another", "o1", "s2"))
    assert.equal(1, n)
    t.forge.carbon(BARE, with_ids(ANNA, nil, "s2")) -- it is known by the other id, too
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

  it("so are what it corrects, takes back, and acknowledges", with(nil, function(t, c, heard)
    local id = say(t, c)
    t:receive(message(ANNA, "m1", "hi"))
    for _ = 1, 2 do
      t:receive(bare_message(ANNA, "m2", { "body", {}, "ho" },
        { "replace", { xmlns = "urn:xmpp:message-correct:0", id = "m1" } }, { "origin-id", { xmlns = SID, id = "o2" } }))
      t:receive(bare_message(ANNA, "m3", { "reactions", { xmlns = "urn:xmpp:reactions:0", id = id } },
        { "origin-id", { xmlns = SID, id = "o3" } }))
    end
    assert.equal(3, #heard())
  end))

  it("but another's with the same id is another", with(nil, function(t, _, heard)
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

  it("within the bound that the option says, at least", with({ dedup = 4 }, function(t, _, heard)
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

describe("what has come", function()
  it("is read: a text, a subject, a reply, what is encrypted; no text is none", with(nil, function(t, _, heard)
    t:receive(bare_message(ANNA, "1", { "subject", {}, "Tea" }))
    assert.same({ "message anna@example.net " }, heard())
    assert.equal("Tea", heard.last[1].subject)
    t:receive(bare_message(ANNA, "2", { "encrypted", { xmlns = "eu.siacs.conversations.axolotl" } }))
    assert.equal("omemo", heard.last[1].encrypted)
    heard()
    t:receive(bare_message(ANNA, "3", { "event", { xmlns = "http://jabber.org/protocol/pubsub#event" } }))
    t:receive(bare_message(ANNA, "4", { "body", { xmlns = "urn:example:x" }, "not a body" }))
    assert.same({}, heard())
  end))

  it("is in the language that is wanted", with({ lang = "de" }, function(t, _, heard)
    t:receive(bare_message(ANNA, "1", { "body", {}, "hello" }, { "body", { ["xml:lang"] = "fr" }, "salut" },
      { "body", { ["xml:lang"] = "de-AT" }, "servus" }))
    assert.same({ "message anna@example.net servus" }, heard())
    assert.equal("de-AT", heard.last[1].lang)
  end))

  it("has prepared addresses; from nobody it is our account's", with(nil, function(t, _, heard)
    t:receive(message("ANNA@Example.NET/PC", "1", "hi"))
    assert.same({ "anna@example.net/PC", "anna@example.net" }, { heard.last[1].from, heard.last[1].peer })
    t:receive { "message", {}, { "body", {}, "from the server" } }
    assert.same({ BARE, BARE, ME }, { heard.last[1].from, heard.last[1].peer, heard.last[1].to })
  end))

  it("from rooms is none of chat's: neither theirs, nor occupants', nor copies of these", with({ receipts = "all" },
    function(t, _, heard)
      local asked = {}
      local off = chat.rooms(t.conn, function(bare, stanza)
        asked[#asked + 1] = bare .. " " .. tostring(xexpr.text(stanza, "body"))
        return bare == "room@rooms.example.net"
      end)
      t:receive(message("room@rooms.example.net/eve", "1", "psst", REQUEST))
      t.forge.private("room@rooms.example.net/eve", "psst")
      t.forge.carbon(BARE, message("room@rooms.example.net/eve", "2", "psst"))
      t.forge.carbon(BARE, { "message", { from = ME, to = "room@rooms.example.net/eve", type = "chat" },
        { "body", {}, "mine" } }, "sent")
      assert.same({}, heard())
      assert.same("room@rooms.example.net mine", asked[4])
      t:nothing()
      assert.is_true(off())
      assert.is_false(off())
    end))

  it("from an occupant of a room that we don't know is at his full address", with(nil, function(t, c, heard)
    t.forge.private("room@rooms.example.net/anna", "psst")
    local m = heard.last[1]
    assert.same({ "room@rooms.example.net/anna", "room@rooms.example.net" }, { m.peer, m.private })
    t.forge.correction("room@rooms.example.net/eve", m.id, "another says so")
    assert.equal("correction", heard.last[1].suspicious)
    c:send("room@rooms.example.net", "x")
    t:sent()
  end))

  it("in groupchat is nobody's here", with(nil, function(t, _, heard)
    t:receive { "message", { from = "room@rooms.example.net/anna", type = "groupchat" }, { "body", {}, "hi" } }
    assert.same({}, heard())
  end))

  it("as an error is one of ours that came back", with(nil, function(t, c, heard)
    local id = say(t, c)
    local function bounce(from, its)
      t:receive { "message", { from = from, type = "error", id = its }, { "body", {}, "hello" },
        { "error", { type = "cancel" }, { "gone", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
    end
    bounce(EVE, id)
    bounce(BOB, id)
    bounce("anna@example.net", "another")
    assert.same({}, heard())
    bounce("anna@example.net", id)
    assert.same({ "error gone anna@example.net " .. id }, heard())
    assert.equal("cancel", heard.last[1].type)
  end))

  it("breaks nothing, whatever a listener does", with({ receipts = "all" }, function(t, c, heard)
    c:on("message", function() error "listener" end)
    c:on("message", function() xmpp.sleep(5) end)
    t:receive(message(ANNA, "1", "hi", REQUEST))
    is_receipt(t, ANNA, "1")
    assert.equal(1, #heard())
    t:advance(6)
    assert.equal(1, #t:take_errors())
  end))

  it("from many is forgotten of the first: the memory has an end, and what we have said stays", with(
    { peers = 10, window = 2 }, function(t, c, heard)
      local id = say(t, c)
      t:receive(message(ANNA, "m1", "hi"))
      for i = 1, 30 do t:receive(message("x" .. i .. "@evil.example/x", "m1", "hi")) end
      heard()
      t.forge.correction(ANNA, "m1", "ho")
      t.forge.receipt(ANNA, id)
      assert.same({ "message anna@example.net ho ?correction", "receipt anna@example.net " .. id }, heard())
    end))
end)

describe("what is sent", function()
  it("has an id, an origin-id, and asks for a receipt", with({ markers = true }, function(t, c)
    local id = c:send("anna@example.net", "hi")
    local got = t:expect { "message", { to = "anna@example.net", type = "chat", id = id }, { "body", {}, "hi" },
      { "origin-id", { xmlns = SID, id = id } }, REQUEST, { "markable", { xmlns = MARKERS } } }
    assert.is_nil(xexpr.child(got, "x"))
    c:send("anna@example.net", { text = "hi", request = false })
    assert.is_nil(xexpr.child(t:expect { "message" }, "request"))
  end))

  it("has no origin-id where the option says so", with({ origin_id = false }, function(t, c)
    c:send("anna@example.net", "hi")
    assert.is_nil(xexpr.child(t:expect { "message" }, "origin-id"))
  end))

  it("has what a table says", with(nil, function(t, c)
    c:send("anna@example.net", { text = "Grüße", subject = "S", thread = "T", lang = "de", spoiler = "the end",
      hints = { "no-store", "no-copy" } })
    local hints = "urn:xmpp:hints"
    t:expect { "message", {}, { "body", { ["xml:lang"] = "de" }, "Grüße" }, { "subject", { ["xml:lang"] = "de" }, "S" },
      { "thread", {}, "T" }, { "spoiler", { xmlns = "urn:xmpp:spoiler:0", ["xml:lang"] = "de" }, "the end" },
      { "no-store", { xmlns = hints } }, { "no-copy", { xmlns = hints } }, { "private", { xmlns = CARBONS } } }
    c:send("anna@example.net", { url = "https://example.net/a" })
    t:expect { "message", {}, { "body", {}, "https://example.net/a" },
      { "x", { xmlns = "jabber:x:oob" }, { "url", {}, "https://example.net/a" } } }
    c:send("anna@example.net", { text = "x", spoiler = true })
    t:expect { "message", {}, { "spoiler", { xmlns = "urn:xmpp:spoiler:0" }, "" } }
  end))

  it("quotes for others what it replies to, and we read it without the quote", with(nil, function(t, c, heard)
    t:receive(message(ANNA, "m1", "Käse?\nOder Brot?", { "origin-id", { xmlns = SID, id = "o1" } }))
    c:send(ANNA, { text = "Both", reply_to = heard.last[1] })
    local got = t:expect { "message", {}, { "body", {}, "> Käse?\n> Oder Brot?\nBoth" },
      { "reply", { xmlns = "urn:xmpp:reply:0", id = "o1", to = ANNA } },
      { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = "urn:xmpp:reply:0" },
        { "body", { start = "0", ["end"] = "21" } } } }
    got[2].from, got[2].to = ANNA, ME
    t:receive(got)
    assert.equal("Both", heard.last[1].text)
    assert.same({ id = "o1", jid = ANNA }, heard.last[1].reply_to)
    c:send(ANNA, { text = "Yes", reply_to = { id = "m1" } })
    got = t:expect { "message", {}, { "body", {}, "Yes" }, { "reply", { id = "m1" } } }
    assert.is_nil(xexpr.child(got, "fallback"))
  end))

  it("quotes a long text in part, and counts code points", with(nil, function(t, c, heard)
    c:send(ANNA, { text = "end", reply_to = { id = "1", text = ("ä\n"):rep(9) } })
    local got = t:expect { "message", {}, { "body", {}, ("> ä\n"):rep(6) .. "end" } }
    got[2].from = ANNA
    t:receive(got)
    assert.equal("end", heard.last[1].text)
    c:send(ANNA, { text = "end", reply_to = { id = "1", text = ("€"):rep(400) } })
    got = t:expect { "message", {}, { "body", {}, "> " .. ("€"):rep(300) .. "…\nend" } }
    got[2].from = ANNA
    got[2].id = "another"
    t:receive(got)
    assert.equal("end", heard.last[1].text)
  end))

  it("corrects, by the first id of what it corrects", with(nil, function(t, c)
    local id = say(t, c)
    local second = c:correct("anna@example.net", id, "hello!")
    local got = t:expect { "message", { id = second }, { "body", {}, "hello!" },
      { "replace", { xmlns = "urn:xmpp:message-correct:0", id = id } } }
    assert.is_nil(xexpr.child(got, "fallback"))
    c:correct(ANNA, second, { text = "hello?" })
    t:expect { "message", { to = ANNA }, { "replace", { id = id } } }
    c:correct("anna@example.net", "of another process", "x")
    t:expect { "message", {}, { "replace", { id = "of another process" } } }
  end))

  it("takes back, and is told no more of it", with(nil, function(t, c, heard)
    local id = say(t, c)
    c:retract("anna@example.net", id)
    t:expect { "message", { to = "anna@example.net" }, { "retract", { xmlns = "urn:xmpp:message-retract:1", id = id } },
      { "body" }, { "store", { xmlns = "urn:xmpp:hints" } },
      { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = "urn:xmpp:message-retract:1" } } }
    t.forge.receipt(ANNA, id)
    assert.same({}, heard())
  end))

  it("reacts", with(nil, function(t, c)
    c:react("anna@example.net", "m1", { "👍", "👍", "❤" })
    local got = t:expect { "message", { to = "anna@example.net" }, { "store", { xmlns = "urn:xmpp:hints" } },
      { "reactions", { xmlns = "urn:xmpp:reactions:0", id = "m1" }, { "reaction", {}, "👍" }, { "reaction", {}, "❤" } } }
    assert.equal(2 + 2, #xexpr.child(got, "reactions"))
    c:react("anna@example.net", "m1", {})
    assert.equal(2, #xexpr.child(t:expect { "message" }, "reactions"))
  end))

  it("says what becomes of it", with(nil, function(t, c)
    local states = {}
    c:send("anna@example.net", "hi", { on = function(state) states[#states + 1] = state end })
    t:expect { "message" }
    t:ack()
    assert.same({ "written", "acked" }, states)
    assert.same({ nil, "jid-malformed" }, { c:send("@", "x"), select(2, c:send("@", "x")).condition })
    assert.is_nil((c:correct("@", "1", "x")))
    assert.is_nil((c:retract("@", "1")))
    assert.is_nil((c:react("@", "1", {})))
    assert.is_nil((c:state("@", "active")))
  end))

  it("is the caller's fault where it can't be", with(nil, function(_, c)
    local function refuses(text, f)
      local ok, err = pcall(f)
      local info = debug.getinfo(f, "S")
      assert.is_false(ok)
      assert.equal(("%s:%d: "):format(info.short_src, info.linedefined), err:match "^.-:%d+: ")
      assert.is_truthy(err:find(text, 1, true), err)
    end
    refuses("text or table expected, got nil", function() c:send(ANNA) end)
    refuses("bad argument #1 to 'send' (string expected, got number)", function() c:send(1, "x") end)
    refuses("there is no field 'txt'", function() c:send(ANNA, { txt = "x" }) end)
    refuses("text: string expected, got number", function() c:send(ANNA, { text = 1 }) end)
    refuses("text, url or subject expected", function() c:send(ANNA, {}) end)
    refuses("a url is the whole text", function() c:send(ANNA, { text = "see", url = "https://x.y" }) end)
    refuses("there is no hint 'hide'", function() c:send(ANNA, { text = "x", hints = { "hide" } }) end)
    refuses("reply_to: a message that has an id", function() c:send(ANNA, { text = "x", reply_to = {} }) end)
    refuses("U+0001", function() c:send(ANNA, "\1") end)
    refuses("'send' has no option 'of'", function() c:send(ANNA, "x", { of = 1 }) end)
    refuses("bad argument #2 to 'correct'", function() c:correct(ANNA, nil, "x") end)
    refuses("bad argument #2 to 'correct' (an id expected)", function() c:correct(ANNA, "", "x") end)
    refuses("text or table expected", function() c:correct(ANNA, "1") end)
    refuses("bad argument #2 to 'retract'", function() c:retract(ANNA, 1) end)
    refuses("bad argument #3 to 'react'", function() c:react(ANNA, "1", "x") end)
    refuses("reaction 1: a text", function() c:react(ANNA, "1", { "" }) end)
    refuses("at most 32", function() c:react(ANNA, "1", { unpack(("x"):rep(33), 1, 33) }) end)
    refuses("bad argument #2 to 'state'", function() c:state(ANNA, "dancing") end)
    refuses("bad argument #1 to 'displayed'", function() c:displayed "m1" end)
    refuses("a message expected", function() c:displayed {} end)
  end))
end)

describe("its use", function()
  local function refuses(t, opts, text)
    local ok, err = pcall(chat.use, t.conn, opts)
    assert.is_false(ok)
    assert.is_truthy(err:find(text, 1, true), err)
    assert.is_nil(ext.of(t.conn, chat))
  end

  it("raises for what is no option", testing.around(function(t)
    refuses(t, { carbon = true }, "there is no option 'carbon'")
    refuses(t, { carbons = 1 }, "bad option 'carbons' (boolean expected, got 1)")
    refuses(t, { receipts = "some" }, "bad option 'receipts' (boolean, \"all\" or function expected, got some)")
    refuses(t, { dedup = -1 }, "bad option 'dedup' (whole number expected, got -1)")
    refuses(t, { window = 1.5 }, "bad option 'window'")
    refuses(t, { lang = {} }, "bad option 'lang' (string expected, got table)")
  end))

  it("needs a client", testing.around(function(t)
    local ok, err = pcall(chat.use, t.conn)
    assert.is_false(ok)
    assert.matches("a component has no presence", err)
  end, { component = "echo.example.net" }))

  it("announces what it does, and only that", testing.around(function(t)
    local c = chat.use(t.conn, { receipts = false, markers = true })
    local features = disco.own_info(t.conn).features
    assert.is_true(features["urn:xmpp:message-correct:0"] and features["urn:xmpp:message-retract:1"]
      and features["urn:xmpp:reactions:0"] and features["urn:xmpp:reply:0"] and features[MARKERS])
    assert.same({}, { features[RECEIPTS], features[STATES] })
    assert.equal(c, chat.use(t.conn))
    ext.drop(t.conn, chat)
    assert.is_nil(disco.own_info(t.conn).features[MARKERS])
    chat.use(t.conn, { states = true })
    features = disco.own_info(t.conn).features
    assert.is_true(features[RECEIPTS] and features[STATES])
    assert.is_nil(features[MARKERS])
  end))

  it("goes on in another process by what it has saved", testing.around(function(t)
    local c = chat.use(t.conn)
    local id = say(t, c)
    t:receive(message(ANNA, "m1", "hi", { "origin-id", { xmlns = SID, id = "o1" } }))
    t.forge.correction(ANNA, "m1", "ho")
    local saved = ext.save(t.conn)
    if pcall(require, "cjson") then
      local cjson = require "cjson"
      saved = cjson.decode(cjson.encode(saved))
    end
    ext.drop(t.conn, chat)
    ext.drop(t.conn, presence)
    assert.same({}, ext.list(t.conn))
    ext.load(t.conn, saved)
    local lines = {}
    c = chat.use(t.conn)
    for _, event in ipairs(EVENTS) do
      c:on(event, function(...) lines[#lines + 1] = event .. " " .. WORDS[event](...) end)
    end
    t:receive(message(ANNA, "m1", "hi", { "origin-id", { xmlns = SID, id = "o1" } }))
    t.forge.receipt(ANNA, id)
    t.forge.correction(ANNA, "forged-1", "hallo")
    assert.same({ "receipt anna@example.net " .. id, "corrected anna@example.net m1 -> hallo" }, lines)
  end))

  it("takes no harm from what was saved by somebody else", testing.around(function(t)
    ext.load(t.conn, { chat = { ours = { 1, {}, { 5 }, { "x", 1, 2 }, { "x", "a" } }, theirs = "x",
      recent = { by_service = { 1 }, by_sender = 2 } } })
    chat.use(t.conn)
    t:nothing()
    assert.same({}, t:take_errors())
  end))

  it("keeps no connection from being collected", function()
    local t = testing.new()
    local c = chat.use(t.conn)
    t:nothing()
    t:finish()
    t = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    local _, err = c:send(ANNA, "x")
    assert.equal("closed", err.layer)
  end)
end)
