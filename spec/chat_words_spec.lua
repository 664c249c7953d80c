-- chat: what is read and what is sent, and how the extension is used. Time is virtual.
local caps = require "xmpp.caps"
local chat = require "xmpp.chat"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local talk = require "spec.support.talk"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME, BARE, ANNA, BOB = talk.ME, talk.BARE, talk.ANNA, talk.BOB
local EVE, RECEIPTS, MARKERS = talk.EVE, talk.RECEIPTS, talk.MARKERS
local SID, CARBONS, STATES, EVENTS = talk.SID, talk.CARBONS, talk.STATES, talk.EVENTS
local WORDS, message, bare_message = talk.WORDS, talk.message, talk.bare_message
local with, say, is_receipt = talk.with, talk.say, talk.is_receipt
local REQUEST = { "request", { xmlns = "urn:xmpp:receipts" } }

describe("markers and states", function()
  it("are reported for what we have sent there, once; for nothing else", with(nil, function(t, c, heard)
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
      t:receive(message(ANNA, ("x"):rep(256), "hi", { "markable", { xmlns = MARKERS } },
        { "thread", {}, ("T"):rep(257) }))
      assert.is_true(c:displayed(heard.last[1]))
      local mark = t:expect { "message", { to = ANNA, type = "chat" },
        { "displayed", { xmlns = MARKERS, id = ("x"):rep(256) } }, { "store", { xmlns = "urn:xmpp:hints" } } }
      assert.is_nil(xexpr.child(mark, "thread"))
      t:receive(message(ANNA, ("x"):rep(257), "hi", { "markable", { xmlns = MARKERS } }))
      assert.is_false(c:displayed(heard.last[1]))
      t:nothing()
    end))

  it("are reported while they are true", with(nil, function(t, _, heard)
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

  it("of ours are sent to those who have sent theirs, and to nobody else", with({ states = true }, function(t, c)
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
    t:receive(message(ANNA, "m1", "without a state")) -- without a chat state: she wants no more (XEP-0085 5.1)
    assert.is_false(c:state("anna@example.net", "paused"))
    t:nothing()
  end))

  it("of ours are sent to those who announce that they know them", testing.around(function(t)
    ext.use(t.conn, caps)
    local c = chat.use(t.conn)
    local query = { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
      { "identity", { category = "client", type = "pc" } }, { "feature", { var = STATES } } }
    t.forge.caps(BOB, { ver = caps.ver(query) })
    assert.is_false(c:state(BOB, "composing")) -- the caps hash isn't known yet
    xmpp.spawn(function() caps.of(t.conn, BOB) end)
    t:expect({ "iq", { to = BOB } }, query)
    assert.is_true(c:state(BOB, "composing"))
    t:expect { "message", { to = BOB }, { "composing", { xmlns = STATES } } }
    assert.is_false(c:state(EVE, "composing"))
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

  it("has prepared addresses; without `from` it is our account's", with(nil, function(t, _, heard)
    t:receive(message("ANNA@Example.NET/PC", "1", "hi"))
    assert.same({ "anna@example.net/PC", "anna@example.net" }, { heard.last[1].from, heard.last[1].peer })
    t:receive { "message", {}, { "body", {}, "from the server" } }
    assert.same({ BARE, BARE, ME }, { heard.last[1].from, heard.last[1].peer, heard.last[1].to })
  end))

  it("from rooms is not reported: neither theirs, nor occupants', nor copies of these", with({ receipts = "all" },
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

  it("of type groupchat is not reported", with(nil, function(t, _, heard)
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

  it("from many is remembered up to a limit, and what we have sent stays", with(
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

  it("has the parts that a table gives", with(nil, function(t, c)
    c:send("anna@example.net", { text = "Grüße", subject = "S", thread = "T", lang = "de", spoiler = "the end",
      hints = { "no-store", "no-copy" } })
    local hints = "urn:xmpp:hints"
    t:expect { "message", {}, { "body", { ["xml:lang"] = "de" }, "Grüße" },
      { "subject", { ["xml:lang"] = "de" }, "S" }, { "thread", {}, "T" },
      { "spoiler", { xmlns = "urn:xmpp:spoiler:0", ["xml:lang"] = "de" }, "the end" },
      { "no-store", { xmlns = hints } }, { "no-copy", { xmlns = hints } }, { "private", { xmlns = CARBONS } } }
    c:send("anna@example.net", { url = "https://example.net/a" })
    t:expect { "message", {}, { "body", {}, "https://example.net/a" },
      { "x", { xmlns = "jabber:x:oob" }, { "url", {}, "https://example.net/a" } } }
    c:send("anna@example.net", { text = "x", spoiler = true })
    t:expect { "message", {}, { "spoiler", { xmlns = "urn:xmpp:spoiler:0" }, "" } }
  end))

  it("quotes what it replies to, and is read without the quote", with(nil, function(t, c, heard)
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
    t:receive(message(ANNA, nil, "without an id"))
    c:send(ANNA, { text = "Hm", reply_to = heard.last[1] })
    got = t:expect { "message", {}, { "body", {}, "Hm" } }
    assert.is_nil(xexpr.child(got, "reply"))
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

  it("retracts, after which nothing more is reported of it", with(nil, function(t, c, heard)
    local id = say(t, c)
    c:retract("anna@example.net", id)
    t:expect { "message", { to = "anna@example.net" }, { "retract", { xmlns = "urn:xmpp:message-retract:1", id = id } },
      { "body" }, { "store", { xmlns = "urn:xmpp:hints" } },
      { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = "urn:xmpp:message-retract:1" } } }
    t.forge.receipt(ANNA, id)
    assert.same({}, heard())
  end))

  it("reacts, to a correction as to what it corrects", with(nil, function(t, c)
    t:receive(message(ANNA, "m1", "helo"))
    t.forge.correction(ANNA, "m1", "hello")
    local id = say(t, c)
    local second = c:correct("anna@example.net", id, "hi")
    c:react("anna@example.net", "forged-1", {})
    c:react("anna@example.net", second, {})
    t:expect { "message", { id = second } }
    t:expect { "message", {}, { "reactions", { id = "m1" } } }
    t:expect { "message", {}, { "reactions", { id = id } } }
    c:react("anna@example.net", "m1", { "👍", "👍", "❤" })
    local got = t:expect { "message", { to = "anna@example.net" }, { "store", { xmlns = "urn:xmpp:hints" } },
      { "reactions", { xmlns = "urn:xmpp:reactions:0", id = "m1" }, { "reaction", {}, "👍" },
        { "reaction", {}, "❤" } } }
    assert.equal(2 + 2, #xexpr.child(got, "reactions"))
    c:react("anna@example.net", "m1", {})
    assert.equal(2, #xexpr.child(t:expect { "message" }, "reactions"))
  end))

  it("reports its states", with(nil, function(t, c)
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

  it("raises if it isn't possible", with(nil, function(_, c)
    local function refuses(text, f)
      local ok, err = pcall(f)
      local info = debug.getinfo(f, "S")
      assert.is_false(ok, text)
      assert.equal(("%s:%d: "):format(info.short_src, info.linedefined), err:match "^.-:%d+: ")
      assert.is_truthy(err:find(text, 1, true), err)
    end
    refuses("text or table expected, got nil", function() c:send(ANNA) end)
    refuses("bad argument #1 to 'send' (string expected, got number)", function() c:send(1, "x") end)
    refuses("there is no field 'txt'", function() c:send(ANNA, { txt = "x" }) end)
    refuses("text: string expected, got number", function() c:send(ANNA, { text = 1 }) end)
    refuses("text, url or subject expected", function() c:send(ANNA, {}) end)
    refuses("the text must be exactly the url", function() c:send(ANNA, { text = "see", url = "https://x.y" }) end)
    refuses("there is no hint 'hide'", function() c:send(ANNA, { text = "x", hints = { "hide" } }) end)
    refuses("reply_to: a message, or something", function() c:send(ANNA, { text = "x", reply_to = {} }) end)
    refuses("U+0001", function() c:send(ANNA, "\1") end)
    refuses("'send' has no option 'of'", function() c:send(ANNA, "x", { of = 1 }) end)
    refuses("bad argument #2 to 'correct'", function() c:correct(ANNA, nil, "x") end)
    refuses("bad argument #2 to 'correct' (an id expected)", function() c:correct(ANNA, "", "x") end)
    refuses("text or table expected", function() c:correct(ANNA, "1") end)
    refuses("bad argument #2 to 'retract'", function() c:retract(ANNA, 1) end)
    refuses("bad argument #3 to 'react'", function() c:react(ANNA, "1", "x") end)
    refuses("reaction 1: a text", function() c:react(ANNA, "1", { "" }) end)
    local many = {}
    for i = 1, 33 do many[i] = "r" .. i end
    refuses("at most 32", function() c:react(ANNA, "1", many) end)
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

  it("raises for an unknown option", testing.around(function(t)
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

  it("continues in another process with what it has saved", testing.around(function(t)
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

  it("isn't harmed by forged saved data", testing.around(function(t)
    ext.load(t.conn, { chat = { ours = { 1, {}, { 5 }, { "x", 1, 2 }, { "x", "a" } }, theirs = "x",
      recent = { by_service = { 1 }, by_sender = 2 } } })
    chat.use(t.conn)
    t:nothing()
    assert.same({}, t:take_errors())
  end))

  -- In a function of its own, so that nothing of it is left on the stack.
  local function open_and_end()
    local t = testing.new()
    local c, kept = chat.use(t.conn), setmetatable({ t.conn }, { __mode = "v" })
    t:nothing()
    t:finish()
    return c, kept
  end

  it("keeps no connection from being collected", function()
    local c, kept = open_and_end()
    local jit = rawget(_G, "jit")
    if jit then jit.flush() end -- compiled code refers to objects, and keeps them alive
    for _ = 1, 10 do collectgarbage() end
    assert.is_nil(kept[1])
    local _, err = c:send(ANNA, "x")
    assert.equal("closed", err.layer)
  end)
end)
