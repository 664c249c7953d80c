-- message: how a message is read, and what chat remembers of messages. Without a connection.
local bounded = require "xmpp.chat.bounded"
local message = require "xmpp.chat.message"
local recent = require "xmpp.chat.recent"
local said = require "xmpp.chat.said"
local xexpr = require "xmpp.xexpr"

local ME = "me@example.net/here"
local REPLY, REACTIONS, RETRACT = "urn:xmpp:reply:0", "urn:xmpp:reactions:0", "urn:xmpp:message-retract:1"

-- Reads a message with these children.
local function read(ctx, ...)
  ctx.me = ctx.me or ME
  local stanza = xexpr.canonical { "message", { from = ctx.from or "anna@example.net/pc", to = ctx.to or ME,
    type = ctx.type or "chat", id = ctx.id, ["xml:lang"] = ctx.of_all }, ... }
  local m, says = message.read(stanza, ctx)
  return m, says, stanza
end

local function body(text, lang) return { "body", { ["xml:lang"] = lang }, text } end

local function fallback(for_what, ...)
  return { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = for_what }, ... }
end

local function range(first, last, name) return { name or "body", { start = first, ["end"] = last } } end

local REPLIES = { "reply", { xmlns = REPLY, id = "r1", to = "BOB@example.net/pc" } }

describe("a message's text", function()
  local function text(...) return (read({}, REPLIES, ...)).text end

  it("is without the fallback ranges of what is understood, in code points", function()
    assert.equal("Great!", text(body "> Käse €𝄞\nGreat!", fallback(REPLY, range(0, 10))))
    assert.equal("ad", text(body "abcd", fallback(REPLY, range(1, 3))))
    assert.equal("", text(body "abcd", fallback(REPLY, range(0, 4))))
    assert.equal("ac", text(body "abcd", fallback(REPLY, range(1, 2), range(3, 4))))
    assert.equal("ad", text(body "abcd", fallback(REPLY, range(1, 3), range(2, 3))))
    assert.equal("d", text(body "abcd", fallback(REPLY, range(0, 3), range(1, 2))))
    assert.equal("a", text(body "abcd", fallback(REPLY, range(3, 4)), fallback(REPLY, range(1, 3))))
    assert.equal("ab", text(body "abcd", fallback(REPLY, range(2))))
    assert.equal("cd", text(body "abcd", fallback(REPLY, range(nil, 2))))
    assert.equal("abcd", text(body "abcd", fallback(REPLY, range(2, 2))))
  end)

  it("is complete if a range is invalid or outside", function()
    for _, r in ipairs { range(0, 5), range(5, 6), range(3, 1), range(-1, 2), range("1.5", 2), range("0x1", 2),
      range(" 0", 2), range("9999999999", "99999999999"), range(0, "") } do
      assert.equal("abcd", text(body "abcd", fallback(REPLY, r)))
    end
    assert.equal("bcd", text(body "abcd", fallback(REPLY, range(0, 9), range(0, 1))))
  end)

  it("is nil if all of it is fallback", function()
    assert.is_nil(text(body "abcd", fallback(REPLY)))
    assert.is_nil(text(body "abcd", fallback(REPLY, range())))
    local m = read({}, REPLIES, body "abcd", { "subject", {}, "S" }, fallback(REPLY))
    assert.is_nil(m.subject)
    m = read({}, REPLIES, body "abcd", { "subject", {}, "S" }, fallback(REPLY, range(0, 1, "subject")))
    assert.same({ "abcd", "" }, { m.text, m.subject })
  end)

  it("is complete if the fallback is for an unsupported or absent element", function()
    assert.equal("abcd", text(body "abcd", fallback("urn:example:x", range(0, 2))))
    assert.equal("abcd", text(body "abcd", fallback(nil, range(0, 2))))
    assert.equal("abcd", text(body "abcd", fallback(REACTIONS)))
    assert.equal("abcd", text(body "abcd", fallback(RETRACT)))
    assert.equal("abcd", text(body "abcd", { "fallback", { xmlns = "urn:example:x", ["for"] = REPLY } }))
    assert.equal("abcd", (read({}, body "abcd", fallback(REPLY, range(0, 2)))).text)
    assert.is_nil((read({}, body "abcd", fallback(REACTIONS), { "reactions", { xmlns = REACTIONS, id = "1" } })).text)
    assert.is_nil((read({}, body "abcd", fallback(RETRACT), { "retract", { xmlns = RETRACT, id = "1" } })).text)
  end)

  it("uses at most 32 fallback ranges", function()
    local ranges = {}
    for i = 1, 500 do ranges[i] = range(i - 1, i) end
    assert.equal(500 - 32, #text(body(("x"):rep(500)), fallback(REPLY, (table.unpack or unpack)(ranges))))
  end)

  it("is in the wanted language", function()
    local both = { body("hello", "en"), body("hallo", "de") }
    local m = read({ lang = "de" }, both[1], both[2])
    assert.same({ "hallo", "de" }, { m.text, m.lang })
    m = read({ of_all = "en" }, body "hello", both[2])
    assert.same({ "hello", "en" }, { m.text, m.lang })
    assert.is_nil((read({}, { "body", { xmlns = "urn:example:x" }, "x" })).text)
  end)
end)

describe("a message", function()
  it("has reply_to, and prepared addresses", function()
    assert.same({ id = "r1", jid = "bob@example.net/pc" }, (read({}, REPLIES)).reply_to)
    assert.same({ id = "r1" }, (read({}, { "reply", { xmlns = REPLY, id = "r1", to = "@" } })).reply_to)
    assert.is_nil((read({}, { "reply", { xmlns = REPLY } })).reply_to)
    assert.is_nil((read({}, { "reply", { xmlns = "urn:example:x", id = "r1" } })).reply_to)
    assert.is_nil((read({ from = "@" }, body "x")))
    assert.is_nil((read({ to = "a@@b" }, body "x")))
  end)

  it("has url only if its text is the same link", function()
    local function url(text, link, xmlns)
      return (read({}, body(text), { "x", { xmlns = xmlns or "jabber:x:oob" }, { "url", {}, link } })).url
    end
    assert.equal("https://example.net/a", url("https://example.net/a", "https://example.net/a"))
    assert.is_nil(url("look at this", "https://evil.example/"))
    assert.is_nil(url("https://example.net/a", "https://evil.example/"))
    assert.is_nil(url("https://example.net/a ", "https://example.net/a"))
    assert.is_nil(url("https://example.net/a", "https://example.net/a", "urn:example:x"))
    assert.is_nil(url("", ""))
    assert.is_nil((read({}, { "x", { xmlns = "jabber:x:oob" }, { "url", {}, "https://evil.example/" } })).url)
    -- The text without the fallback is what a person would see.
    local link = "https://example.net/a"
    local m = read({}, REPLIES, body("> hi\n" .. link), fallback(REPLY, range(0, 5)),
      { "x", { xmlns = "jabber:x:oob" }, { "url", {}, link } })
    assert.equal(link, m.url)
  end)

  it("has the action of /me (XEP-0245)", function()
    local function action(text) return (read({}, body(text))).action end
    assert.equal("waves\nand goes", action "/me waves\nand goes")
    assert.equal("", action "/me ")
    for _, text in ipairs { "/me", "/menu", " /me waves", "/ME waves", "/me's", "he said /me waves" } do
      assert.is_nil(action(text))
    end
    assert.equal("/me waves", (read({}, body "/me waves")).text)
  end)

  it("has the kind of encryption", function()
    local function by(attrs) attrs.xmlns = "urn:xmpp:eme:0" return (read({}, { "encryption", attrs })).encrypted end
    assert.equal("omemo", by { namespace = "eu.siacs.conversations.axolotl", name = "Something" })
    assert.equal("Mine", by { namespace = "urn:example:mine", name = "Mine" })
    assert.equal("urn:example:mine", by { namespace = "urn:example:mine" })
    assert.equal("unknown", by {})
    assert.equal(100, #by { name = ("x"):rep(1000) })
    assert.equal("openpgp", (read({}, { "openpgp", { xmlns = "urn:xmpp:openpgp:0" } })).encrypted)
    assert.is_nil((read({}, body "x")).encrypted)
  end)

  it("has only the stanza-id of the trusted address", function()
    local function by(who, address, id)
      local m = read({ by = who }, { "stanza-id", { xmlns = "urn:xmpp:sid:0", by = address, id = id } })
      return m.stanza_id, m.by
    end
    assert.same({ "s", "me@example.net" }, { by("me@example.net", "ME@example.net", "s") })
    assert.same({}, { by(nil, "me@example.net", "s") })
    assert.same({}, { by("me@example.net", ME, "s") })
    assert.same({}, { by("me@example.net", "example.net", "s") })
    assert.same({}, { by("me@example.net", nil, "s") })
    assert.same({}, { by("me@example.net", "me@example.net", "") })
    assert.same({}, { by("me@example.net", "me@example.net", nil) })
  end)

  it("has the delay's stamp", function()
    local m = read({}, { "delay", { xmlns = "urn:xmpp:delay", stamp = "2002-09-10T23:08:25Z" } })
    assert.same({ true, 1031699305 }, { m.delayed, m.stamp })
    m = read({}, { "x", { xmlns = "jabber:x:delay", stamp = "20020910T23:08:25" } })
    assert.same({ true, 1031699305 }, { m.delayed, m.stamp })
    m = read({}, { "delay", { xmlns = "urn:xmpp:delay", stamp = "yesterday" } })
    assert.same({ true }, { m.delayed, m.stamp })
    m = read({}, { "delay", { xmlns = "urn:example:x", stamp = "2002-09-10T23:08:25Z" } })
    assert.same({}, { m.delayed, m.stamp })
  end)

  it("has the peer: a contact, an occupant or a room", function()
    local m = read({ direction = "out", from = ME, to = "Bob@example.net/pc" }, body "x")
    assert.same({ "bob@example.net", ME, "bob@example.net/pc" }, { m.peer, m.from, m.to })
    local user = { "x", { xmlns = "http://jabber.org/protocol/muc#user" } }
    m = read({ from = "room@muc.example.net/anna" }, body "x", user)
    assert.same({ "room@muc.example.net/anna", "room@muc.example.net" }, { m.peer, m.private })
    m = read({ from = "room@muc.example.net/anna", room = "room@muc.example.net" }, body "x")
    assert.same({ "room@muc.example.net/anna", "room@muc.example.net" }, { m.peer, m.private })
    m = read({ from = "room@muc.example.net/anna", room = "room@muc.example.net", type = "groupchat" }, user)
    assert.same({ "room@muc.example.net" }, { m.peer, m.private })
    m = read({ from = "room@muc.example.net" }, body "x", user)
    assert.same({ "room@muc.example.net" }, { m.peer, m.private })
    user[3] = { "invite" }
    m = read({ from = "room@muc.example.net/anna" }, body "x", user)
    assert.same({ "room@muc.example.net" }, { m.peer, m.private })
  end)

  it("has type 'normal' if the type is unknown", function()
    assert.same({ "normal", "normal", "headline" }, { (read { type = "strange" }).type, (read { type = "normal" }).type,
      (read { type = "headline" }).type })
  end)

  it("has claims only in the right namespace, with an id of 1 to 256 bytes", function()
    local function says(...) return (select(2, read({}, ...))) end
    local all = says({ "request", { xmlns = "urn:xmpp:receipts" } },
      { "markable", { xmlns = "urn:xmpp:chat-markers:0" } },
      { "received", { xmlns = "urn:xmpp:receipts", id = "1" } },
      { "displayed", { xmlns = "urn:xmpp:chat-markers:0", id = "2" } },
      { "replace", { xmlns = "urn:xmpp:message-correct:0", id = "3" } }, { "retract", { xmlns = RETRACT, id = "4" } },
      { "reactions", { xmlns = REACTIONS, id = "5" }, { "reaction", {}, "👍" } },
      { "gone", { xmlns = "http://jabber.org/protocol/chatstates" } })
    assert.same({ request = true, markable = true, receipt = "1", displayed = "2", replaces = "3", retracts = "4",
      reaction = { id = "5", list = { "👍" } }, state = "gone" }, all)
    local long = ("x"):rep(257)
    for name, xmlns in pairs { received = "urn:xmpp:receipts", displayed = "urn:xmpp:chat-markers:0",
      replace = "urn:xmpp:message-correct:0", retract = RETRACT, reactions = REACTIONS } do
      assert.same({}, says { name, { xmlns = xmlns } })
      assert.same({}, says { name, { xmlns = xmlns, id = "" } })
      assert.same({}, says { name, { xmlns = xmlns, id = long } })
      assert.same({}, says { name, { xmlns = "urn:example:x", id = "1" } })
    end
    assert.is_nil((read { id = long }).id)
    assert.equal(256, #(read { id = long:sub(2) }).id)
  end)

  it("with a rejected claim becomes an ordinary one with its whole text", function()
    local m, _, stanza = read({}, body "> x\n/me takes it back", REPLIES, fallback(REPLY, range(0, 4)),
      fallback(RETRACT), { "retract", { xmlns = RETRACT, id = "1" } })
    assert.is_nil(m.text)
    assert.is_false(message.has_content(m))
    message.make_plain(m, stanza, "retraction")
    assert.same({ "/me takes it back", "retraction" }, { m.text, m.suspicious })
    assert.is_true(message.has_content(m))
  end)
end)

describe("the record of messages", function()
  it("is bounded; the most recently used entries stay", function()
    local map = bounded.new(10)
    for i = 1, 100 do
      bounded.set(map, "k" .. i, i)
      bounded.get(map, "k1")
    end
    local n, sum = 0, 0
    bounded.each(map, function(_, v) n, sum = n + 1, sum + v end)
    assert.is_true(n <= 10 and n >= 5, n)
    assert.equal(1, bounded.get(map, "k1"))
    for i = 97, 100 do assert.equal(i, bounded.get(map, "k" .. i)) end
    assert.is_nil(bounded.get(map, "k50"))
    local none = bounded.new(0)
    bounded.set(none, "k", 1)
    assert.is_nil(bounded.get(none, "k"))
  end)

  it("has the last ids of each conversation, and which message each corrects", function()
    local s = said.new { places = 4, window = 3 }
    said.add(s, "anna", "1")
    said.add(s, "anna", "2", "1")
    said.add(s, "anna", "1")
    said.add(s, "anna", nil)
    assert.same({ "1", "1" }, { said.first(s, "anna", "1"), said.first(s, "anna", "2") })
    assert.is_nil(said.first(s, "bob", "1"))
    said.add(s, "anna", "3")
    said.add(s, "anna", "4")
    assert.is_nil(said.first(s, "anna", "1"))
    assert.equal("1", said.first(s, "anna", "2"))
    said.remove(s, "anna", "1")
    said.remove(s, "bob", "1")
    assert.is_nil(said.first(s, "anna", "2"))
    assert.equal("4", said.first(s, "anna", "4"))
    local nothing = said.new { places = 4, window = 0 }
    said.add(nothing, "anna", "1")
    assert.is_nil(said.first(nothing, "anna", "1"))
  end)

  it("accepts each mark of a message once", function()
    local s = said.new { places = 4, window = 3 }
    said.add(s, "anna", "1")
    assert.is_true(said.mark(s, "anna", "1", "receipt"))
    assert.is_false(said.mark(s, "anna", "1", "receipt"))
    assert.is_true(said.mark(s, "anna", "1", "displayed"))
    assert.is_false(said.mark(s, "anna", "2", "receipt"))
    assert.is_false(said.mark(s, "bob", "1", "receipt"))
  end)

  it("keeps only the hash of a long id", function()
    local s, long = said.new { places = 4, window = 3 }, ("x"):rep(1024)
    said.add(s, "anna", long, "first")
    assert.equal("first", said.first(s, "anna", long))
    assert.is_nil(said.first(s, "anna", long:sub(2)))
    for _, row in ipairs(said.save(s)) do assert.is_true(#row[2] < 64) end
    local r = recent.new(3)
    recent.seen(r, { from = "a@b/c", origin_id = long })
    assert.is_true(recent.seen(r, { from = "a@b/d", origin_id = long }))
    for _, key in ipairs(recent.save(r).by_sender) do assert.is_true(#key < 64) end
  end)

  it("can be saved and loaded", function()
    local s = said.new { places = 4, window = 3 }
    for i = 1, 4 do said.add(s, "anna", "m" .. i) end
    said.add(s, "anna", "c", "m4")
    local other = said.new { places = 4, window = 3 }
    said.load(other, said.save(s))
    assert.same({ "m4", "m4" }, { said.first(other, "anna", "m4"), said.first(other, "anna", "c") })
    assert.is_nil(said.first(other, "anna", "m2"))
    said.add(other, "anna", "m5")
    assert.is_nil(said.first(other, "anna", "m3")) -- the oldest was dropped
    assert.equal("m4", said.first(other, "anna", "m4"))
  end)

  it("recognizes messages by their ids and who assigned these", function()
    local r = recent.new(10)
    local function seen(from, origin, by, id)
      return recent.seen(r, { from = from, origin_id = origin, by = by, stanza_id = id })
    end
    assert.is_false(seen("a@b/c", "o", "me", "s"))
    assert.is_true(seen("a@b/d", "o"))
    assert.is_true(seen("x@y", nil, "me", "s"))
    assert.is_false(seen("x@y", "o"))
    assert.is_false(seen("a@b", "s"))
    assert.is_false(seen("a@b", nil, "room", "s"))
    assert.is_false(seen("a@b", nil, nil, "s"))
    assert.is_false(seen("a@b"))
    assert.is_false(seen("a@b"))
    assert.is_false(recent.seen(r, { from = "room@x/anna", origin_id = "o" }, "occupant 1"))
    assert.is_false(recent.seen(r, { from = "room@x/anna", origin_id = "o" }, "occupant 2"))
    assert.is_true(recent.seen(r, { from = "room@x/other", origin_id = "o" }, "occupant 2"))
  end)
end)
