-- muc: messages in rooms: whose claims are believed, and that nothing is reported twice, or lost.
local muc = require "xmpp.muc"
local testing = require "xmpp.testing"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local TEA, ME = "tea@rooms.example.net", "bot@example.net/test"
local USER, DELAY = "http://jabber.org/protocol/muc#user", "urn:xmpp:delay"
local SID, OCCUPANT_ID = "urn:xmpp:sid:0", "urn:xmpp:occupant-id:0"

-- Enters the test's room. Returns the service's room, ours, and the events from then on: event -> list of arguments.
local function enter(t, o, opts)
  local service = t:room(TEA, o or { occupants = { "anna", "bert" } })
  local room = assert(muc.join(t.conn, TEA, "kettle", opts))
  local seen = {}
  for _, event in ipairs { "message", "private", "subject", "corrected", "retracted", "reacted", "moderated", "status",
    "voice_request", "declined", "error", "removed", "rejoined" } do
    seen[event] = {}
    room:on(event, function(...) table.insert(seen[event], { ... }) end)
  end
  t:advance(0)
  return service, room, seen
end

local function only(seen, event)
  local list = seen[event]
  assert.equal(1, #list, event)
  return table.remove(list)
end

local function nothing(seen)
  for event, list in pairs(seen) do assert.equal(0, #list, event) end
end

local function texts(seen)
  local out = {}
  while seen.message[1] do out[#out + 1] = table.remove(seen.message, 1)[1].text end
  return table.concat(out, " ")
end

local function group(nick, text, ...)
  return { "message", { from = nick and TEA .. "/" .. nick or TEA, to = ME, type = "groupchat" },
    unpack(text and { { "body", {}, text }, ... } or { ... }) }
end

local function occupant_mark(id) return { "occupant-id", { xmlns = OCCUPANT_ID, id = id } } end
local function replace(id) return { "replace", { xmlns = "urn:xmpp:message-correct:0", id = id } } end
local function retract(id, ...) return { "retract", { xmlns = "urn:xmpp:message-retract:1", id = id }, ... } end

describe("a message in a room", function()
  it("has its author, and the room's id", testing.around(function(t)
    local service, room, seen = enter(t)
    local id, stanza_id = service:says("anna", "tea?")
    local m = only(seen, "message")[1]
    assert.same({ "tea?", "anna", TEA .. "/anna", TEA, id, stanza_id, TEA, "in" },
      { m.text, m.nick, m.from, m.peer, m.id, m.stanza_id, m.by, m.direction })
    assert.equal(room.occupants.anna, m.occupant)
    assert.equal(service.occupants.anna.id, m.occupant_id)
    assert.is_false(m.own)
    assert.is_false(m.history)
    assert.is_nil(m.private)
    room:say "yes"
    t:expect { "message", {}, { "body", {}, "yes" } }
    m = only(seen, "message")[1]
    assert.is_true(m.own)
    assert.equal("out", m.direction)
    nothing(seen)
  end))

  it("is history before the subject, with the room's stamp and without an occupant", testing.around(function(t)
    local room = { occupants = { "anna" }, occupant_ids = false, subject = "Tea",
      history = { { nick = "anna", text = "old", stamp = 1699990000 } } }
    local service, _, seen = enter(t, room, { history = { messages = 10 } })
    local m = only(seen, "message")[1]
    assert.is_true(m.history)
    assert.equal(1699990000, m.stamp)
    assert.is_nil(m.occupant)
    assert.is_false(m.own)
    service:says("anna", { text = "a stamp is no proof", { "delay", { xmlns = DELAY, from = TEA,
      stamp = "2001-01-01T00:00:00Z" } } })
    m = only(seen, "message")[1]
    assert.is_false(m.history)
  end))

  it("has the room's stamp in the history, not its author's", testing.around(function(t)
    local service = t:room(TEA, { occupants = { "anna" } })
    local forged = { "delay", { xmlns = DELAY, from = "anna@people.example", stamp = "2033-01-01T00:00:00Z" } }
    service:says("anna", { text = "the future", forged })
    local room = assert(muc.join(t.conn, TEA, "kettle", { history = { messages = 10 } }))
    local stamp
    room:on("message", function(m) stamp = m.stamp end)
    t:advance(0)
    assert.equal(1700000000, stamp)
    t:advance(100)
    t:reconnect { new = true } -- the history isn't asked for from that future time on
    service:says("anna", "the present")
    t:advance(1)
    assert.is_true(room.joined)
  end))

  it("from the room's bare address is an event 'status'", testing.around(function(t)
    local service, _, seen = enter(t)
    t:receive(group(nil, "This room is logged"))
    assert.same({ nil, "This room is logged" }, only(seen, "status"))
    service:tells(100)
    assert.equal(100, only(seen, "status")[1])
    t:receive(group("anna", "x", { "x", { xmlns = USER }, { "status", { code = "332" } } }))
    only(seen, "message")
    nothing(seen)
  end))

  it("about a new configuration makes us ask for the features again", testing.around(function(t)
    local service, room, seen = enter(t, { occupants = { "anna" }, stanza_ids = false })
    assert.is_nil(room.features[SID])
    service.stanza_ids = true
    service:tells(104)
    assert.is_true(room.features[SID])
    service:says("anna", "now")
    assert.is_string(only(seen, "message")[1].stanza_id)
  end))

  it("can't forge its author's address (item in a message)", testing.around(function(t)
    local _, _, seen = enter(t)
    t:receive(group("anna", "I am the boss", { "x", { xmlns = USER },
      { "item", { jid = "boss@example.net/pc", affiliation = "owner", role = "moderator" } } }))
    local m = only(seen, "message")[1]
    assert.is_nil(m.occupant.jid)
    assert.equal("none", m.occupant.affiliation)
    assert.equal("participant", m.occupant.role)
  end))

  it("has a stanza-id only if the room announces them, and only the room's own", testing.around(function(t)
    local function sid(by, id) return { "stanza-id", { xmlns = SID, by = by, id = id } } end
    local _, _, seen = enter(t)
    t:receive(group("anna", "1", sid("rooms.example.net", "x")))
    assert.is_nil(only(seen, "message")[1].stanza_id)
    t:receive(group("anna", "2", sid(TEA, "x"), sid(TEA, "y")))
    assert.is_nil(only(seen, "message")[1].stanza_id)
    t:receive(group("anna", "3", sid(TEA, "x")))
    assert.equal("x", only(seen, "message")[1].stanza_id)
    t:receive(group("anna", "again", sid(TEA, "x")))
    nothing(seen)
  end))

  it("has none otherwise, and a forged one doesn't make it a duplicate", testing.around(function(t)
    local service, _, seen = enter(t, { occupants = { "anna" }, stanza_ids = false })
    local forged = { "stanza-id", { xmlns = SID, by = TEA, id = "forged" } }
    service:says("anna", { text = "1", forged })
    assert.is_nil(only(seen, "message")[1].stanza_id)
    service:says("anna", { text = "2", forged })
    assert.equal("2", texts(seen))
  end))

  it("is read as any message: a reply without its fallback; chat states are no message", testing.around(function(t)
    local service, _, seen = enter(t)
    service:says("anna", { text = "> tea?\nyes", { "reply", { xmlns = "urn:xmpp:reply:0", id = "s1" } },
      { "fallback", { xmlns = "urn:xmpp:fallback:0", ["for"] = "urn:xmpp:reply:0" },
        { "body", { start = "0", ["end"] = "7" } } } })
    local m = only(seen, "message")[1]
    assert.equal("yes", m.text)
    assert.equal("s1", m.reply_to.id)
    service:says("anna", { { "composing", { xmlns = "http://jabber.org/protocol/chatstates" } } })
    service:says("anna", { { "received", { xmlns = "urn:xmpp:receipts", id = "x" } } })
    nothing(seen)
  end))

  it("may come from a room that the server spells differently", testing.around(function(t)
    local jid, spelled = "stra\195\159e@rooms.example.net", "strasse@rooms.example.net"
    t:room(jid, {})
    local room, seen = assert(muc.join(t.conn, jid, "kettle")), {}
    for _, event in ipairs { "message", "private", "moderated" } do
      room:on(event, function(m) seen[event] = m end)
    end
    t:receive { "message", { from = spelled .. "/anna", to = ME, type = "groupchat" }, { "body", {}, "1" },
      { "stanza-id", { xmlns = SID, by = spelled, id = "s1" } } }
    assert.same({ "1", "anna", "s1" }, { seen.message.text, seen.message.nick, seen.message.stanza_id })
    t:receive { "message", { from = spelled .. "/anna", to = ME, type = "chat" }, { "body", {}, "2" } }
    assert.same({ "2", spelled, spelled .. "/anna" }, { seen.private.text, seen.private.private, seen.private.peer })
    t:receive { "message", { from = spelled, to = ME, type = "groupchat" }, { "retract", { id = "s1",
      xmlns = "urn:xmpp:message-retract:1" }, { "moderated", { xmlns = "urn:xmpp:message-moderate:1",
        by = spelled .. "/bert" } } } }
    assert.same({ stanza_id = "s1", by = "bert" }, seen.moderated)
  end))

  it("isn't taken from a copy that another client has got (XEP-0280)", testing.around(function(t)
    local _, _, seen = enter(t)
    local heard = 0
    require "xmpp.chat".use(t.conn):on("message", function() heard = heard + 1 end)
    local inner = { "message", { from = TEA .. "/anna", to = "bot@example.net/phone", type = "chat" },
      { "body", {}, "psst" } } -- as older servers copy it: nothing says that it is from a room
    t.forge.carbon("bot@example.net", inner)
    inner[2].from, inner[2].to = "bot@example.net/phone", TEA .. "/anna"
    t.forge.carbon("bot@example.net", inner, "sent")
    inner[2].from, inner[2].to = "cleo@people.example/pc", "bot@example.net/phone"
    t.forge.carbon("bot@example.net", inner)
    assert.equal(1, heard)
    nothing(seen)
  end))

  it("may have a strange nick", testing.around(function(t)
    local nicks = { "n/i@c/k", " lead", "o'brien\"&<>", "\240\159\171\150", "\215\169\215\156" }
    local service, room, seen = enter(t, { occupants = nicks })
    for _, nick in ipairs(nicks) do
      service:says(nick, "I am")
      local m = only(seen, "message")[1]
      assert.equal(nick, m.nick)
      assert.equal(room.occupants[nick], m.occupant)
      service:whispers(nick, "psst")
      assert.equal(TEA .. "/" .. nick, only(seen, "private")[1].peer)
    end
  end))

  it("may meet listeners that throw, wait, leave, close", testing.around(function(t)
    local service, room, seen = enter(t)
    room:on("message", function() error "mine" end)
    room:on("message", function() require "xmpp".sleep(5) end)
    service:says("anna", "1")
    assert.is_truthy(t:take_errors()[1]:find "mine")
    t:advance(6)
    t:take_errors()
    local off = room:on("message", function() room:leave() end)
    service:says("anna", "2")
    off()
    t:take_errors()
    assert.equal("1 2", texts(seen))
    assert.is_nil(service.occupants.kettle)
    room, seen = assert(muc.join(t.conn, TEA, "kettle")), { message = {} }
    room:on("message", function(m)
      table.insert(seen.message, { m })
      t.conn:stop()
    end)
    service:says("anna", "3")
    t:advance(60)
    assert.equal("closed", t.conn:state())
    assert.equal("3", texts(seen))
  end))
end)

describe("the author of a message:", function()
  it("is ourselves by the occupant-id, whatever the nick", testing.around(function(t)
    local service = t:room(TEA, { occupants = { "kettle" } })
    service:says("kettle", "I was here before")
    service:leaves "kettle"
    local room, seen = assert(muc.join(t.conn, TEA, "kettle", { history = { messages = 10 } })), {}
    room:on("message", function(m) seen[#seen + 1] = m end)
    t:advance(0)
    assert.equal("I was here before", seen[1].text)
    assert.is_false(seen[1].own)
    t:receive(group("kettle", "who am I?", occupant_mark "somebody-else"))
    assert.is_false(seen[2].own)
    assert.is_nil(seen[2].occupant)
    t:receive(group("kettle", "me", occupant_mark(service.occupants.kettle.id)))
    assert.is_true(seen[3].own)
  end))

  it("is known by an occupant-id only if the room announces them, and if there is one", testing.around(function(t)
    local service, room, seen = enter(t, { occupants = { "anna" }, occupant_ids = false })
    service:says("anna", { text = "1", occupant_mark "x" })
    local m = only(seen, "message")[1]
    assert.is_nil(m.occupant_id)
    assert.equal(room.occupants.anna, m.occupant)
    service.occupant_ids = true
    service:tells(104)
    t:receive(group("anna", "2", occupant_mark "x", occupant_mark "y"))
    assert.is_nil(only(seen, "message")[1].occupant_id)
  end))
end)

describe("a private message", function()
  it("is from an occupant, never from a contact", testing.around(function(t)
    local service, room, seen = enter(t)
    local id = service:whispers("anna", "psst")
    local m = only(seen, "private")[1]
    assert.same({ id, "psst", "anna", TEA .. "/anna", TEA .. "/anna", TEA },
      { m.id, m.text, m.nick, m.peer, m.from, m.private })
    assert.equal(room.occupants.anna, m.occupant)
    assert.equal("chat", m.type)
    nothing(seen)
  end))

  it("has no occupant if nobody, or somebody else, has that nick", testing.around(function(t)
    local _, _, seen = enter(t)
    local function whisper(nick, ...)
      t:receive { "message", { from = TEA .. "/" .. nick, to = ME, type = "chat" }, { "body", {}, "psst" },
        { "x", { xmlns = USER }, { "item", { jid = "boss@example.net/pc" } } }, ... }
      return only(seen, "private")[1]
    end
    assert.is_nil(whisper("nobody").occupant)
    assert.is_nil(whisper("anna", occupant_mark "another").occupant)
    assert.is_table(whisper("anna").occupant)
    assert.is_nil(whisper("anna").occupant.jid)
    nothing(seen)
  end))

  it("can't do what only the room may: subject, status, moderation, requests, declining", testing.around(function(t)
    local _, room, seen = enter(t)
    for _, child in ipairs {
      { "subject", {}, "Mine" },
      { "x", { xmlns = USER }, { "status", { code = "332" } } },
      { "x", { xmlns = USER }, { "decline", { from = "x@y.example" } } },
      retract("s1", { "moderated", { xmlns = "urn:xmpp:message-moderate:1" } }),
      { "x", { xmlns = "jabber:x:data", type = "form" },
        { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, "http://jabber.org/protocol/muc#request" } },
        { "field", { var = "muc#roomnick" }, { "value", {}, "anna" } } },
    } do
      t:receive { "message", { from = TEA .. "/anna", to = ME, type = "normal" }, child }
      for _, event in ipairs { "subject", "status", "moderated", "voice_request", "declined" } do
        assert.equal(0, #seen[event])
      end
    end
    assert.is_nil(room.subject)
  end))
end)

describe("a subject", function()
  it("is reported with who has set it; with a body it is a message", testing.around(function(t)
    local service, room, seen = enter(t)
    service:sets_subject("anna", "Coffee")
    assert.same({ "Coffee", "anna" }, only(seen, "subject"))
    assert.equal("Coffee", room.subject)
    service:says("bert", { text = "look", { "subject", {}, "Mine" } })
    assert.equal("Mine", only(seen, "message")[1].subject)
    assert.equal("Coffee", room.subject)
    service:sets_subject(nil, "")
    assert.same({}, only(seen, "subject"))
    assert.is_nil(room.subject)
    nothing(seen)
  end))
end)

describe("moderation (XEP-0425)", function()
  local MODERATED = { "moderated", { xmlns = "urn:xmpp:message-moderate:1", by = TEA .. "/bert" } }

  it("by the room is reported: who, what, why", testing.around(function(t)
    local service, _, seen = enter(t)
    local _, stanza_id = service:says("anna", "spam")
    only(seen, "message")
    service:moderates(stanza_id, "bert", "no spam")
    assert.same({ { stanza_id = stanza_id, by = "bert", reason = "no spam" } }, only(seen, "moderated"))
    t:receive(group(nil, nil, { "apply-to", { xmlns = "urn:xmpp:fasten:0", id = "s2" },
      { "moderated", { xmlns = "urn:xmpp:message-moderate:0", by = "bert@people.example" },
        { "retract", { xmlns = "urn:xmpp:message-retract:0" } }, { "reason", {}, "old" } } }))
    assert.same({ { stanza_id = "s2", reason = "old" } }, only(seen, "moderated"))
    nothing(seen)
  end))

  it("by an occupant is ignored", testing.around(function(t)
    local service, _, seen = enter(t)
    local _, stanza_id = service:says("anna", "the truth")
    only(seen, "message")
    service:says("bert", { text = "This person has taken it back", retract(stanza_id, MODERATED) })
    assert.equal(0, #seen.moderated)
    assert.equal(0, #seen.retracted)
    assert.equal("retraction", only(seen, "message")[1].suspicious)
    nothing(seen)
  end))
end)

describe("a correction", function()
  it("is accepted from the author, by the occupant-id, and has the first id", testing.around(function(t)
    local service, _, seen = enter(t)
    local first = service:says("anna", "tee?")
    service:says("anna", "hello?")
    service:says("bert", "hm")
    texts(seen)
    local second = service:says("anna", { text = "tea?", replace(first) })
    local m = only(seen, "corrected")[1]
    assert.same({ "tea?", first, "anna" }, { m.text, m.replaces, m.nick })
    service:says("anna", { text = "tea!", replace(second) })
    assert.equal(first, only(seen, "corrected")[1].replaces)
    service:renames("anna", "Anna")
    service:says("Anna", { text = "TEA!", replace(first) })
    assert.equal(first, only(seen, "corrected")[1].replaces)
    nothing(seen)
  end))

  it("by anybody else is a suspicious message", testing.around(function(t)
    local service, _, seen = enter(t)
    local first = service:says("anna", "I pay 1")
    texts(seen)
    service:says("bert", { text = "I pay 100", replace(first) })
    local m = only(seen, "message")[1]
    assert.same({ "I pay 100", "correction" }, { m.text, m.suspicious })
    assert.is_nil(m.replaces)
    service:leaves "anna"
    service:joins { nick = "anna", jid = "mallory@people.example/x" }
    service:says("anna", { text = "I pay 1000", replace(first) })
    assert.equal("correction", only(seen, "message")[1].suspicious)
    service:says("bert", { text = "of what?", replace "never said" })
    assert.equal("correction", only(seen, "message")[1].suspicious)
    nothing(seen)
  end))

  it("by the nick is accepted for the last message only, if the author hasn't left", testing.around(function(t)
    local service, _, seen = enter(t, { occupants = { "anna" }, occupant_ids = false })
    local function correct(nick, id)
      service:says(nick, { text = "corrected", replace(id) })
      local held = #seen.corrected == 1
      seen.corrected[1], seen.message[1] = nil, nil
      return held
    end
    local first = service:says("anna", "1")
    service:says("anna", "2")
    texts(seen)
    assert.is_false(correct("anna", first))
    local second = service:says("anna", "3")
    texts(seen)
    assert.is_true(correct("anna", second))
    assert.is_true(correct("anna", second)) -- a second correction
    service:leaves "anna"
    service:joins "anna"
    assert.is_false(correct("anna", second))
    second = service:says("anna", "4")
    texts(seen)
    service:renames("anna", "Anna")
    service:joins "anna"
    assert.is_false(correct("anna", second))
    second = service:says("anna", "5")
    texts(seen)
    t:reconnect { new = true } -- it isn't known what happened meanwhile
    t:advance(60)
    assert.is_false(correct("anna", second))
  end))

  it("by the nick is never accepted for the history", testing.around(function(t)
    local service, _, seen = enter(t, { occupants = { "anna" }, occupant_ids = false,
      history = { { nick = "anna", text = "1", id = "h1" } } }, { history = { messages = 5 } })
    assert.equal("1", texts(seen))
    service:says("anna", { text = "2", replace "h1" })
    assert.equal("correction", only(seen, "message")[1].suspicious)
  end))

  it("in private is accepted for a private message only", testing.around(function(t)
    local service, _, seen = enter(t)
    local public, private = service:says("anna", "1"), service:whispers("anna", "2")
    texts(seen)
    only(seen, "private")
    service:whispers("anna", { text = "x", replace(public) })
    assert.equal("correction", only(seen, "private")[1].suspicious)
    service:whispers("anna", { text = "x", replace(private) })
    assert.equal(private, only(seen, "corrected")[1].replaces)
    service:whispers("bert", { text = "x", replace(private) })
    assert.equal("correction", only(seen, "private")[1].suspicious)
    service:says("anna", { text = "x", replace(private) })
    assert.equal("correction", only(seen, "message")[1].suspicious)
  end))

  it("is accepted only for the last 200 messages", testing.around(function(t)
    local service, _, seen = enter(t)
    local first = service:says("anna", "1")
    service:says("anna", "2")
    for i = 1, 199 do service:says("bert", tostring(i)) end
    texts(seen)
    service:says("anna", { text = "x", replace(first) })
    assert.equal("correction", only(seen, "message")[1].suspicious)
    assert.equal(0, #seen.corrected)
  end))
end)

describe("a retraction, a reaction", function()
  it("is accepted from the author, by the room's id or the author's", testing.around(function(t)
    local service, _, seen = enter(t)
    local id, stanza_id = service:says("anna", "oops")
    texts(seen)
    service:says("bert", { text = "This person has taken it back", retract(stanza_id) })
    assert.equal("retraction", only(seen, "message")[1].suspicious)
    service:says("anna", { retract(stanza_id) })
    assert.equal(id, only(seen, "retracted")[1].retracts)
    service:says("anna", { retract(id) })
    assert.equal(id, only(seen, "retracted")[1].retracts)
    nothing(seen)
  end))

  it("is reported with its author", testing.around(function(t)
    local service, _, seen = enter(t)
    local _, stanza_id = service:says("anna", "tea!")
    texts(seen)
    service:says("bert", { { "reactions", { xmlns = "urn:xmpp:reactions:0", id = stanza_id },
      { "reaction", {}, "+" } } })
    local m = only(seen, "reacted")[1]
    assert.same({ id = stanza_id, list = { "+" } }, m.reaction)
    assert.equal("bert", m.nick)
    nothing(seen)
  end))
end)

describe("requests and answers from the room:", function()
  it("a voice is asked for", testing.around(function(t)
    local service, room, seen = enter(t, { affiliations = { ["bot@example.net"] = "admin" },
      config = { moderated = true }, occupants = { { nick = "bert", jid = "bert@people.example/x" } } })
    service:asks_voice "bert"
    assert.same({ { nick = "bert", jid = "bert@people.example/x", role = "participant" } }, only(seen, "voice_request"))
    assert.is_true(room:set_role("bert", "participant"))
    assert.equal("participant", service.occupants.bert.role)
    nothing(seen)
  end))

  it("an invitation is declined", testing.around(function(t)
    local _, _, seen = enter(t)
    t:receive { "message", { from = TEA, to = ME }, { "x", { xmlns = USER },
      { "decline", { from = "cleo@people.example" }, { "reason", {}, "no time" } } } }
    assert.same({ { from = "cleo@people.example", reason = "no time" } }, only(seen, "declined"))
    nothing(seen)
  end))

  it("a refusal has our id; only the bare address is the room's", testing.around(function(t)
    local _, room, seen = enter(t)
    local function refuse(from, id, condition)
      t:receive { "message", { from = from, to = ME, type = "error", id = id }, { "error", { type = "auth" },
        { condition, { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
    end
    t:on({ "message", { type = "groupchat" } }, function() return false end)
    local id = room:say "may I?"
    refuse(TEA .. "/anna", id, "forbidden")
    local args = only(seen, "error")
    assert.same({ "forbidden", id, "anna" }, { args[1].condition, args[2], args[3] })
    refuse(TEA .. "/anna", id, "not-acceptable")
    assert.equal("anna", only(seen, "error")[3])
    assert.equal(0, #seen.removed)
    assert.is_true(room.joined)
    refuse(TEA, id, "forbidden") -- it still counts as unanswered
    args = only(seen, "error")
    assert.same({ "forbidden", id }, { args[1].condition, args[2] })
    nothing(seen)
  end))

  it("not-acceptable means we aren't there: we rejoin, and send again", testing.around(function(t)
    local service, room, seen = enter(t)
    service:forgets()
    local id = room:say "hello?"
    t:expect { "message", { id = id } }
    assert.is_false(room.joined)
    t:advance(60)
    t:expect { "message", { id = id }, { "body", {}, "hello?" } }
    assert.is_true(room.joined)
    assert.equal("hello?", texts(seen))
    assert.equal(0, #seen.error)
    assert.equal(1, #seen.rejoined)
  end))
end)

describe("a message sent while we were away", function()
  local function names(n, what)
    local out = {}
    for i = 1, n do out[i] = what .. i end
    return out
  end

  for _, kind in ipairs { { true, "stanza-ids" }, { false, "no ids of the room's" } } do
    it("is reported, and none twice: a room with " .. kind[2], testing.around(function(t)
      local service, room, seen = enter(t, { occupants = { "anna" }, stanza_ids = kind[1] })
      local said = {}
      local function say(text)
        said[#said + 1] = text
        service:says("anna", text)
      end
      for _, text in ipairs(names(5, "a")) do say(text) t:advance(10) end
      t:cut(false)
      for _, text in ipairs(names(5, "b")) do say(text) t:advance(7) end
      t:reconnect()
      t:advance(60)
      assert.is_true(room.joined)
      for _, text in ipairs(names(5, "c")) do say(text) end
      assert.equal(table.concat(said, " "), texts(seen))
      assert.equal(1, #seen.rejoined)
    end))
  end

  it("is reported right after our joining, too, but no earlier one", testing.around(function(t)
    local service, _, seen = enter(t, { occupants = { "anna" }, history = { "long ago" } })
    t:cut(false)
    service:says("anna", "1")
    t:reconnect()
    t:advance(60)
    assert.equal("1", texts(seen))
    service:says("anna", { text = "same", id = "s" })
    t:advance(400)
    t:cut(false)
    service:says("anna", { text = "same", id = "s" })
    t:reconnect()
    t:advance(60)
    assert.equal("same same", texts(seen))
  end))

  it("is reported even if our clock is ahead of the room's or behind", testing.around(function(t)
    local service, _, seen = enter(t, { occupants = { "anna" },
      history = { { nick = "anna", text = "from the future", stamp = 1700007200 } } }, { history = { messages = 5 } })
    t:advance(100)
    service:says("anna", "1")
    t:cut(false)
    service:says("anna", "2")
    service.history[#service.history].stamp = t:now() - 20
    t:reconnect()
    t:advance(60)
    assert.equal("from the future 1 2", texts(seen))
    t:cut(false)
    service:says("anna", "3")
    t:reconnect()
    t:advance(60)
    assert.equal("3", texts(seen))
  end))

  it("has no occupant if there are no occupant-ids", testing.around(function(t)
    local service, room, seen = enter(t, { occupants = { "anna" }, occupant_ids = false })
    t:cut(false)
    service:says("anna", "1")
    t:reconnect()
    t:advance(60)
    assert.is_table(room.occupants.anna)
    local m = only(seen, "message")[1]
    assert.is_true(m.history)
    assert.is_nil(m.occupant)
  end))

  it("is reported as often as it comes if it has no id", testing.around(function(t)
    local _, _, seen = enter(t)
    t:receive(group("anna", "yes"))
    t:receive(group("anna", "yes"))
    assert.equal("yes yes", texts(seen))
  end))

  it("is remembered: 2,000 keys, and 200 messages with their authors", testing.around(function(t)
    local service, room, seen = enter(t)
    service:says("bert", "0")
    for i = 1, 3000 do service:says("anna", tostring(i)) end
    assert.equal(3001, #seen.message)
    local own = require "xmpp.muc.room".own(room)
    local function count(set)
      local n = 0
      for _ in pairs(set) do n = n + 1 end
      return n
    end
    assert.equal(2000, count(own.known.by))
    assert.equal(2000, count(own.known.ring))
    assert.equal(400, count(own.said.by)) -- each by its own id and by the room's
    assert.equal(200, count(own.said.ring))
    assert.equal(1, count(own.said.last))
  end))

  it("is reported once if its author has sent it twice (origin-id)", testing.around(function(t)
    local service, _, seen = enter(t)
    local function say(nick, id)
      service:says(nick, { text = nick, { "origin-id", { xmlns = SID, id = id } } })
    end
    say("anna", "o1")
    say("anna", "o1")
    say("bert", "o1")
    say("anna", "o2")
    assert.equal("anna bert anna", texts(seen))
  end))
end)
