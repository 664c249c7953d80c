-- muc: a message to a room has one final state, whatever happens to the link and to our being in the room.

local muc = require "xmpp.muc"
local rooms = require "spec.support.rooms"
local stage = require "spec.support.stage"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local TEA, MUC, USER = rooms.TEA, "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user"
local ERRORS, SID = "urn:ietf:params:xml:ns:xmpp-stanzas", "urn:xmpp:sid:0"

local gone, inside, joined, leave, says, subject = rooms.gone, rooms.inside, rooms.joined, rooms.leave, rooms.says,
  rooms.subject

-- The states of messages, as texts; opts(name) gives options for room:say.
local function fates()
  local heard = {}
  return function(name)
    return { on = function(state, what)
      heard[#heard + 1] = ("%s %s%s"):format(name, state, state == "failed" and " " .. what.condition or "")
    end }
  end, function()
    local text = table.concat(heard, ", ")
    for i = #heard, 1, -1 do heard[i] = nil end
    return text
  end
end

local function body(t, text) return t:expect { "message", { type = "groupchat", to = TEA }, { "body", {}, text } } end

local function reflect(t, x, nick, more)
  t:receive(("<message type='groupchat' from='%s/%s' id='%s'><body>%s</body>%s</message>"):format(TEA, nick or "kettle",
    x[2].id, x[3][3], more or ""))
end

local function bounce(t, id, condition, from)
  t:receive(("<message type='error' from='%s' id='%s'><error type='cancel'><%s xmlns='%s'/></error></message>")
    :format(from or TEA, id, condition, ERRORS))
end

local function knocks(t) return t:expect({ "presence", {}, { "x", { xmlns = MUC } } }, false) end

local function let_in(t)
  says(t, "kettle", nil, nil, { 110 })
  subject(t, "Tea")
end

describe("room:say", function()
  it("sends at once, and reports the reflection", testing.around(function(t)
    local room = inside(t, nil, { SID })
    local opts, heard = fates()
    local id = room:say("hello", opts "a")
    local x = body(t, "hello")
    assert.same({ "message", { type = "groupchat", to = TEA, id = id }, { "body", {}, "hello" },
      { "origin-id", { xmlns = SID, id = id } } }, x)
    assert.equal("a sent", heard())
    reflect(t, x, "anna") -- from somebody else, with our id
    assert.equal("", heard())
    local own
    room:on("message", function(m) own = m.own end)
    reflect(t, x)
    assert.same({ "a reflected", true }, { heard(), own })
    reflect(t, x)
    assert.equal("", heard())
    leave(t, room)
  end))

  it("finds the reflection by the origin-id if the room changes ids", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    local id = room:say("hello", opts "a")
    body(t, "hello")
    t:receive(("<message type='groupchat' from='%s/kettle' id='other'><body>hello</body><origin-id xmlns='%s' id='%s'/>"
      .. "</message>"):format(TEA, SID, id))
    assert.equal("a sent, a reflected", heard())
    leave(t, room)
  end))

  it("waits for the reflection with reflect = true", testing.around(function(t)
    local room = joined(t)
    local id, stanza_id = room:say("hello", { reflect = true })
    body(t, "hello")
    assert.is_string(id)
    assert.is_string(stanza_id)
  end))

  it("accepts tables", testing.around(function(t)
    local room = inside(t, nil, { SID })
    room:say { text = "https://x.test/a", url = "https://x.test/a", lang = "en", subject = "s", children = {
      { "y", { xmlns = "urn:y" } } } }
    t:expect { "message", {}, { "body", { ["xml:lang"] = "en" }, "https://x.test/a" }, { "subject", {}, "s" },
      { "x", { xmlns = "jabber:x:oob" }, { "url", {}, "https://x.test/a" } }, { "y", { xmlns = "urn:y" } } }
    local m
    room:on("message", function(its) m = its end)
    t:receive(("<message type='groupchat' from='%s/anna' id='x'><body>what?</body><stanza-id xmlns='%s' by='%s' "
      .. "id='s1'/></message>"):format(TEA, SID, TEA))
    room:say { text = "that", reply_to = m }
    t:expect { "message", {}, { "reply", { xmlns = "urn:xmpp:reply:0", id = "s1", to = TEA .. "/anna" } },
      { "body", {}, "> what?\nthat" } }
    room:set_subject "new"
    t:expect { "message", { type = "groupchat", to = TEA }, { "subject", {}, "new" } }
    leave(t, room)
  end))

  it("waits, in order, while we are out of the room", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    gone(t, "kettle", nil, { 110, 333 })
    for i = 1, 3 do assert.is_string(room:say("m" .. i, opts("m" .. i))) end
    t:nothing()
    t:advance(1)
    knocks(t)
    says(t, "kettle", nil, nil, { 110 })
    t:nothing() -- not yet: the subject is missing
    subject(t, "Tea")
    for i = 1, 3 do body(t, "m" .. i) end
    t:nothing()
    assert.equal("m1 sent, m2 sent, m3 sent", heard())
    leave(t, room)
    assert.equal("m1 failed not-acceptable, m2 failed not-acceptable, m3 failed not-acceptable", heard())
  end))

  it("waits while the link is down", testing.around(function(t)
    local room, service = joined(t)
    t:cut()
    room:say "one"
    room:say "two"
    t:resume()
    body(t, "one")
    body(t, "two")
    t:cut()
    room:say "three"
    t:advance(1)
    local at
    room:on("rejoined", function() at = #service.history end)
    t:reconnect { new = true }
    t:advance(1)
    body(t, "three")
    assert.equal(2, at)
    assert.equal(3, #service.history)
  end))

  it("isn't sent by the connection into a room that we aren't in", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    room:say("lost", opts "a") -- never acknowledged
    body(t, "lost")
    t:reconnect { new = true }
    knocks(t)
    t:nothing()
    let_in(t)
    local x = body(t, "lost") -- the room hadn't got it
    t:nothing()
    reflect(t, x)
    assert.equal("a sent, a sent, a reflected", heard())
    leave(t, room)
  end, { acks = false }))

  it("isn't sent twice if the history shows that it has arrived", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    room:say("arrived", opts "a")
    local x = body(t, "arrived")
    local told = {}
    room:on("message", function(m)
      told[#told + 1] = ("%s %s %s"):format(m.text, tostring(m.own), tostring(m.history))
    end)
    t:reconnect { new = true }
    knocks(t)
    says(t, "kettle", nil, nil, { 110 })
    reflect(t, x, nil, "<delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:13:20Z'/>")
    subject(t, "Tea")
    t:nothing()
    assert.equal("a sent, a reflected", heard())
    assert.same({ "arrived true true" }, told)
    leave(t, room)
  end, { acks = false }))

  it("is ours in the history only if it has our id and the nick that we had", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    local told = {}
    room:on("message", function(m) told[#told + 1] = ("%s %s"):format(m.nick, tostring(m.own)) end)
    room:say("seen by all", opts "a")
    room:say("on its way", opts "b")
    local seen, unseen = body(t, "seen by all"), body(t, "on its way")
    reflect(t, seen)
    t:reconnect { new = true }
    knocks(t)
    says(t, "pot", nil, nil, { 110, 210 }) -- another nick than before
    local delay = "<delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:13:20Z'/>"
    reflect(t, seen, "anna", delay) -- our id is known to all in the room
    reflect(t, unseen, "kettle", delay)
    t:receive(("<message type='groupchat' from='%s/kettle' id='another'><body>before us</body>%s</message>")
      :format(TEA, delay))
    subject(t, "Tea")
    assert.same({ "kettle true", "anna false", "kettle true", "kettle false" }, told)
    assert.equal("a sent, b sent, a reflected, b reflected", heard())
    leave(t, room)
  end, { acks = false }))

  -- The server has acknowledged it; whether the room got it isn't known.
  it("fails if the server had it, but the room's history doesn't show it", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    room:say("where", opts "a")
    body(t, "where")
    t:ack()
    t:reconnect { new = true }
    knocks(t)
    let_in(t)
    t:nothing()
    assert.equal("a sent, a failed session-lost", heard())
    leave(t, room)
  end))

  it("sends again what the room refused because we weren't in it", testing.around(function(t)
    local room, service = joined(t)
    local opts, heard = fates()
    room:say("one", opts "1")
    body(t, "one")
    service:forgets()
    room:say("two", opts "2")
    room:say("three", opts "3")
    body(t, "two")
    body(t, "three")
    t:advance(1)
    assert.is_truthy(service.occupants.kettle)
    body(t, "two")
    body(t, "three")
    assert.equal("1 sent, 1 reflected, 2 sent, 3 sent, 2 sent, 3 sent, 2 reflected, 3 reflected",
      (heard():gsub("2 sent, 2 reflected, 3 sent, 3 reflected$", "2 sent, 3 sent, 2 reflected, 3 reflected")))
  end))

  it("gives up after three attempts", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    room:say("x", opts "a")
    for i = 1, 3 do
      local x = body(t, "x")
      bounce(t, x[2].id, "not-acceptable")
      if i < 3 then
        t:advance(2 ^ i)
        knocks(t)
        let_in(t)
      end
    end
    assert.equal("a sent, a sent, a sent, a failed not-acceptable", heard())
    t:advance(1)
    t:nothing()
    leave(t, room)
  end))

  it("fails when the room returns an error", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    local id = room:say("x", opts "a")
    body(t, "x")
    bounce(t, id, "forbidden", TEA .. "/anna") -- from an occupant, so it doesn't count
    bounce(t, "unknown", "forbidden")
    assert.equal("a sent", heard())
    bounce(t, id, "forbidden")
    assert.equal("a failed forbidden", heard())
    local told = {}
    room:on("error", function(err, its) told[#told + 1] = { err.condition, its, err.stanza ~= nil } end)
    id = room:say "y" -- without a function for its states
    body(t, "y")
    bounce(t, id, "forbidden")
    assert.same({ { "forbidden", id, true } }, told)
    local got = {}
    xmpp.spawn(function() got = { room:say("z", { reflect = true }) } end)
    local x = body(t, "z")
    bounce(t, x[2].id, "policy-violation")
    assert.equal("policy-violation", got[2].condition)
    assert.equal(1, #told)
    leave(t, room)
  end))

  it("fails if there is no reflection within a minute", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    room:say("x", opts "a")
    local x = body(t, "x")
    t:advance(30)
    room:say("y", opts "b")
    body(t, "y")
    t:advance(29)
    assert.equal("a sent, b sent", heard())
    t:advance(1)
    assert.equal("a failed timeout", heard())
    reflect(t, x) -- too late
    assert.equal("", heard())
    t:advance(60)
    assert.equal("b failed timeout", heard())
    leave(t, room)
  end))

  it("fails when it has waited for too long", testing.around(function(t)
    local room = inside(t, { max_age = 20, timeout = 100 })
    local opts, heard = fates()
    gone(t, "kettle", nil, { 110, 333 })
    room:say("old", opts "a")
    t:advance(15)
    knocks(t)
    room:say("young", opts "b")
    t:advance(10)
    let_in(t)
    body(t, "young")
    assert.equal("a failed timeout, b sent", heard())
    leave(t, room)
  end))

  it("fails at the end of the room or of the connection", testing.around(function(t)
    local room = inside(t)
    local opts, heard = fates()
    room:say("x", opts "a")
    body(t, "x")
    gone(t, "kettle", nil, { 110, 301 })
    assert.equal("a sent, a failed not-acceptable", heard())
    room = inside(t)
    gone(t, "kettle", nil, { 110, 333 })
    room:say("y", opts "b")
    local got
    xmpp.spawn(function() got = { room:say("z", { reflect = true }) } end)
    t:advance(0)
    t:close "conflict"
    assert.equal("b failed closed", heard())
    assert.equal("closed", got[2].layer)
  end))

  it("is refused when max_waiting messages wait", testing.around(function(t)
    local room = inside(t, { max_waiting = 2 })
    gone(t, "kettle", nil, { 110, 333 })
    assert.is_string(room:say "1")
    assert.is_string(room:say "2")
    local none, err = room:say "3"
    assert.is_nil(none)
    assert.same({ "limit", "max_waiting", true }, { err.layer, err.condition, err.retry })
    t:advance(1)
    knocks(t)
    let_in(t)
    body(t, "1")
    body(t, "2")
    leave(t, room)
  end))

  it("has at most 1,000 unreflected messages", testing.around(function(t)
    local room = inside(t, { max_waiting = 2000 })
    local sent = {}
    for i = 1, 1100 do room:say("m" .. i) end
    for i, x in ipairs(t:sent()) do sent[i] = x end
    assert.equal(1000, #sent)
    reflect(t, sent[1])
    body(t, "m1001")
    t:nothing()
    leave(t, room)
  end))

  it("raises for wrong arguments", testing.around(function(t)
    local room = inside(t)
    stage.refuses("bad argument #1 to 'say' (string or table expected, got nil)", function() room:say() end)
    stage.refuses("'say' has no option 'onn'", function() room:say("x", { onn = print }) end)
    stage.refuses("bad argument #1 to 'say'", function() room:say "\1" end)
    stage.refuses("bad message for 'say' (there is no field 'txt')", function() room:say { txt = "x" } end)
    stage.refuses("bad message for 'whisper' (", function() room:whisper("anna", {}) end)
    stage.refuses("bad argument #1 to 'set_subject' (string expected, got nil)", function() room:set_subject() end)
    stage.refuses("bad argument #2 to 'whisper' (string or table expected, got nil)", function() room:whisper "x" end)
    stage.refuses("bad argument #1 to 'whisper' (string expected, got nil)", function() room:whisper() end)
    leave(t, room)
  end))

  it("continues when its listener throws", testing.around(function(t)
    local room = inside(t)
    room:say("x", { on = function() error "oh" end })
    room:say "y"
    body(t, "x")
    body(t, "y")
    leave(t, room)
    assert.equal(2, #t:take_errors())
  end))
end)

describe("room:whisper", function()
  it("reaches one occupant, never a later one of the same nick", testing.around(function(t)
    local room, service = joined(t, nil, { occupants = { "anna" } })
    local id = room:whisper("anna", "psst")
    local x = t:expect { "message", { to = TEA .. "/anna", type = "chat" }, { "body", {}, "psst" } }
    assert.equal(id, x[2].id)
    assert.equal(USER, xmpp.xexpr.attr(xmpp.xexpr.child(x, "x"), "xmlns")) -- XEP-0045 7.5
    local none, err = room:whisper("bert", "psst")
    assert.is_nil(none)
    assert.equal("item-not-found", err.condition)
    t:cut()
    assert.is_string(room:whisper("anna", "lost"))
    t:reconnect { new = true }
    t:advance(1)
    t:nothing() -- in the new session "anna" may be somebody else
    service:kicks("kettle", 333)
    none, err = room:whisper("anna", "psst")
    assert.is_nil(none)
    assert.equal("not-acceptable", err.condition)
    t:advance(1)
    assert.is_string(room:whisper("anna", "psst"))
    t:expect { "message", { type = "chat" } }
    none, err = room:whisper("", "psst")
    assert.is_nil(none)
    assert.is_truthy(err.text)
  end))
end)

describe("an answer to each message", function()
  it("is sent once, even if the link is cut all the time", testing.around(function(t)
    local room, service = joined(t, nil, { occupants = { "anna" } })
    room:on("message", function(m)
      if not m.own and m.text:find "^question" then room:say((m.text:gsub("question", "answer"))) end
    end)
    for i = 1, 60 do
      service:says("anna", "question " .. i)
      if i % 3 == 0 then t:cut(i % 2 == 0) end
      service:says("anna", "question " .. i .. "b")
      if i % 3 == 0 then t:reconnect { new = i % 4 == 1 } end
      if i % 7 == 0 then service:kicks("kettle", 333) end
      t:advance(2)
      t:sent()
    end
    t:advance(60)
    t:sent()
    local answers, n = {}, 0
    for _, x in ipairs(service.history) do
      local text = x.text
      if text:find "^answer" then
        assert.is_nil(answers[text], text)
        answers[text], n = true, n + 1
      end
    end
    assert.equal(120, n)
    assert.is_true(muc.use(t.conn).rooms[TEA].joined)
  end))
end)
