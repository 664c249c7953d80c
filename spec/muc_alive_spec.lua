-- muc: how we are removed from a room, how that is noticed, and how we come back. With virtual time.

local ext = require "xmpp.ext"
local muc = require "xmpp.muc"
local rooms = require "spec.support.rooms"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local TEA, MUC, USER = rooms.TEA, "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user"

local gone, inside, join, joined, leave = rooms.gone, rooms.inside, rooms.join, rooms.joined, rooms.leave
local refused, says, subject = rooms.refused, rooms.says, rooms.subject

-- The arguments of the room's last "removed" event.
local function ends(room)
  local last = {}
  room:on("removed", function(why)
    for key in pairs(last) do last[key] = nil end
    for key, v in pairs(why) do last[key] = v end
    last.err = why.err and why.err.condition
  end)
  return last
end

local function knocks(t) return t:expect({ "presence", {}, { "x", { xmlns = MUC } } }, false) end

-- The room lets us in again.
local function let_in(t, nick)
  says(t, nick or "kettle", nil, nil, { 110 })
  subject(t, "Tea")
end

describe("the end of our being in a room", function()
  it("is final if somebody has removed us", testing.around(function(t)
    for _, case in ipairs {
      { { 301 }, "<item affiliation='outcast' role='none'><actor nick='anna'/><reason>spam</reason></item>",
        { code = 301, by = "anna", reason = "spam", returns = false } },
      { { 307 }, nil, { code = 307, returns = false } },
      { { 321 }, nil, { code = 321, returns = false } },
      { { 322 }, nil, { code = 322, returns = false } },
      { { 301, 333 }, nil, { code = 301, returns = false } },
      { { 321, 332 }, nil, { code = 321, returns = false } },
      { {}, "<item affiliation='none' role='none'/><destroy jid='New@rooms.example.net'><reason>old</reason>"
        .. "<password>s3cret</password></destroy>",
        { destroyed = true, reason = "old", alternative = "new@rooms.example.net", returns = false } } } do
      local room = inside(t)
      local why = ends(room)
      local codes = { 110 }
      for _, code in ipairs(case[1]) do codes[#codes + 1] = code end
      gone(t, "kettle", case[2], codes)
      assert.same(case[3], why)
      assert.is_false(room.joined)
      assert.same({}, muc.use(t.conn).rooms)
      local none, err = room:say "hello?"
      assert.is_nil(none)
      assert.equal("not-acceptable", err.condition)
      t:advance(7200)
      t:nothing()
    end
  end))

  it("isn't concluded from another occupant's presence, or from elsewhere", testing.around(function(t)
    local room = inside(t)
    local why = ends(room)
    says(t, "anna")
    gone(t, "anna", nil, { 301 })
    gone(t, "nobody", nil, { 301 })
    t:receive(("<presence type='unavailable' from='cake@rooms.example.net/kettle'><x xmlns='%s'><status code='301'/>"
      .. "<status code='110'/></x></presence>"):format(USER))
    t:receive(("<message type='groupchat' from='%s/anna'><x xmlns='%s'><status code='301'/><status code='110'/></x>"
      .. "</message>"):format(TEA, USER))
    t:receive(("<presence from='%s/anna' type='unavailable'><x xmlns='%s'><status code='110'/></x><x xmlns='%s'/>"
      .. "</presence>"):format(TEA, USER, USER)) -- an occupant's own element, passed on
    assert.same({}, why)
    assert.is_true(room.joined)
    leave(t, room)
  end))

  it("is recognized by our nick if 110 is missing", testing.around(function(t)
    local room = inside(t)
    local why = ends(room)
    gone(t, "kettle", nil, { 301 })
    assert.same({ code = 301, returns = false }, why)
  end))

  -- The service was restarted and has forgotten the room: we create it again, just before others come (ejabberd).
  it("is followed by creating the room anew; messages right after aren't history", testing.around(function(t)
    local room = inside(t, { create = "default" })
    local heard = {}
    room:on("message", function(m) heard[#heard + 1] = { m.text, m.history } end)
    gone(t, "kettle", nil, { 110, 332 })
    t:advance(1)
    knocks(t)
    says(t, "kettle", nil, "<item affiliation='owner' role='moderator'/>", { 110, 201 })
    says(t, "bob")
    t:receive(("<message from='%s/bob' type='groupchat' id='m1'><body>!dice</body></message>"):format(TEA))
    assert.is_false(room.joined)
    t:expect { "iq", { type = "set" }, { "query", { xmlns = MUC .. "#owner" } } }
    assert.is_true(room.joined)
    assert.same({ { "!dice", false } }, heard)
    leave(t, room)
  end))

  it("is followed by our return if the reason was technical", testing.around(function(t)
    for _, codes in ipairs { { 110, 332 }, { 110, 333 }, { 110, 307, 333 }, { 110 } } do
      local room = inside(t)
      local heard, why = rooms.ear(room), ends(room)
      says(t, "anna")
      says(t, "bert")
      heard()
      gone(t, "kettle", nil, codes)
      assert.is_true(why.returns)
      assert.is_false(room.joined)
      t:nothing()
      t:advance(1)
      knocks(t)
      says(t, "bert")
      says(t, "carl")
      let_in(t)
      assert.is_true(room.joined)
      assert.equal(room, muc.use(t.conn).rooms[TEA])
      assert.equal(("removed %s, rejoined"):format(codes[2] and tostring(codes[#codes]) or "nil"), heard())
      assert.is_nil(room.occupants.anna)
      assert.is_truthy(room.occupants.carl)
      leave(t, room)
    end
  end))

  it("is final even then with rejoin = false", testing.around(function(t)
    local room = inside(t, { rejoin = false })
    local why = ends(room)
    gone(t, "kettle", nil, { 110, 332 })
    assert.is_false(why.returns)
    t:advance(100)
    t:nothing()
    room = inside(t, { rejoin = false })
    why = ends(room)
    t:reconnect { new = true }
    assert.same({ err = "session-lost", returns = false }, why)
    t:advance(100)
    t:nothing()
    assert.same({}, muc.use(t.conn).rooms)
  end))

  it("by a kick may be followed by our return, at most twice, a minute apart", testing.around(function(t)
    local room = inside(t, { rejoin = "kicked" })
    local why = ends(room)
    gone(t, "kettle", nil, { 110, 307 })
    t:advance(1)
    knocks(t)
    let_in(t)
    gone(t, "kettle", nil, { 110, 307 })
    t:advance(58)
    t:nothing()
    t:advance(2)
    knocks(t)
    let_in(t)
    assert.is_true(why.returns)
    t:advance(600)
    gone(t, "kettle", nil, { 110, 307 })
    assert.is_false(why.returns)
    t:advance(600)
    t:nothing()
    room = inside(t, { rejoin = "kicked" })
    why = ends(room)
    gone(t, "kettle", nil, { 110, 301 })
    assert.is_false(why.returns)
  end))

  it("is followed by a report of who came and left meanwhile", testing.around(function(t)
    local room = inside(t)
    says(t, "anna")
    says(t, "bert")
    local what
    room:on("rejoined", function(w) what = w end)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    says(t, "bert")
    says(t, "carl")
    let_in(t)
    assert.equal("carl", what.joined[1].nick)
    assert.equal("anna", what.left[1].nick)
    assert.same({ 1, 1 }, { #what.joined, #what.left })
    leave(t, room)
  end))
end)

describe("rejoining", function()
  it("is tried without end, with pauses that grow to a minute", testing.around(function(t)
    local room = inside(t)
    gone(t, "kettle", nil, { 110, 333 })
    local pauses, last = {}, t:now()
    for i = 1, 9 do
      local from = t:now()
      for _ = 1, 400 do
        if t:next() then break end
        t:advance(0.25)
      end
      knocks(t)
      pauses[i], last = t:now() - from, t:now()
      refused(t, i % 2 == 0 and "service-unavailable" or "item-not-found", "cancel")
    end
    assert.is_true(last > 0)
    for i, pause in ipairs(pauses) do
      local most = math.min(60, 2 ^ (i - 1))
      assert.is_true(pause >= most / 2 and pause <= most + 0.5, ("%d: %f"):format(i, pause))
    end
    t:advance(60)
    knocks(t)
    let_in(t)
    assert.is_true(room.joined)
    t:advance(60) -- after that, the count of attempts begins anew
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    let_in(t)
    leave(t, room)
  end))

  it("ends if the room refuses us", testing.around(function(t)
    for _, condition in ipairs { "forbidden", "registration-required", "not-authorized" } do
      local room = inside(t)
      local why = ends(room)
      gone(t, "kettle", nil, { 110, 332 })
      t:advance(1)
      knocks(t)
      refused(t, condition)
      assert.same({ err = condition, returns = false }, why)
      t:advance(1000)
      t:nothing()
    end
  end))

  it("ends if the room removes us again", testing.around(function(t)
    local room = inside(t)
    local why = ends(room)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    says(t, "kettle", nil, nil, { 110 })
    gone(t, "kettle", nil, { 110, 301 })
    assert.same({ code = 301, err = "gone", returns = false }, why)
    t:advance(1000)
    t:nothing()
  end))

  it("continues if that was for a technical reason, too", testing.around(function(t)
    local room = inside(t)
    local why = ends(room)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    says(t, "kettle", nil, nil, { 110 })
    gone(t, "kettle", nil, { 110, 332 })
    t:advance(2)
    knocks(t)
    let_in(t)
    assert.is_true(room.joined and why.returns)
    leave(t, room)
  end))

  it("tries the nicks from the first one on", testing.around(function(t)
    local room = inside(t)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    assert.equal(TEA .. "/kettle", knocks(t)[2].to)
    refused(t, "conflict", "cancel")
    assert.equal(TEA .. "/kettle_", knocks(t)[2].to)
    let_in(t, "kettle_")
    assert.equal("kettle_", room.nick)
    gone(t, "kettle_", nil, { 110, 333 })
    t:advance(2)
    assert.equal(TEA .. "/kettle", knocks(t)[2].to)
    let_in(t)
    leave(t, room)
  end))

  it("ends when we leave, and when the connection does", testing.around(function(t)
    local room = inside(t)
    gone(t, "kettle", nil, { 110, 333 })
    assert.is_true(room:leave())
    t:advance(100)
    t:nothing()
    room = inside(t)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    local left
    xmpp.spawn(function() left = room:leave() end)
    t:expect { "presence", { type = "unavailable" } }
    assert.is_true(left)
    t:advance(100)
    t:nothing()
    room = inside(t)
    local heard = {}
    room:on("closed", function() heard[#heard + 1] = "closed" end)
    gone(t, "kettle", nil, { 110, 333 })
    t:close "conflict"
    t:advance(100)
    assert.same({ "closed" }, heard)
  end))

  it("asks for the history since we were last in", testing.around(function(t)
    local room = inside(t)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    assert.same({ "history", { since = "2023-11-14T22:13:20Z" } }, knocks(t)[3][3]) -- when we entered
    let_in(t)
    t:advance(99)
    t:receive(("<message type='groupchat' from='%s/anna'><body>x</body></message>"):format(TEA))
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(2)
    assert.same({ "history", { since = "2023-11-14T22:14:30Z" } }, knocks(t)[3][3]) -- half a minute: clocks differ
    let_in(t)
    leave(t, room)
  end, { now = 1700000000 }))

  it("a room that no longer exists creates it", testing.around(function(t)
    local room, service = joined(t)
    service:kicks("kettle", 332)
    service.exists, service.occupants = false, {}
    t:advance(1)
    assert.is_true(room.joined)
    assert.is_true(service.exists)
    assert.is_false(service.locked)
  end))
end)

describe("a listener", function()
  it("may leave when we have come back, or join again when we were put out", testing.around(function(t)
    local room = inside(t)
    room:on("rejoined", function() room:leave() end)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    let_in(t)
    t:expect { "presence", { type = "unavailable" } }
    gone(t, "kettle", nil, { 110 })
    t:advance(10)
    t:nothing()
    room = inside(t)
    local got = {}
    room:on("removed", function() got.room = muc.join(t.conn, TEA, "kettle") end)
    gone(t, "kettle", nil, { 110, 301 })
    t:advance(0)
    knocks(t)
    let_in(t)
    assert.is_true(got.room.joined and got.room ~= room)
    got.room:on("removed", function() t.conn:stop(0) end)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(100)
    assert.equal("closed", t.conn:state())
  end))

  it("may end the connection while the history arrives", testing.around(function(t)
    local room = inside(t)
    room:on("message", function() t.conn:stop(0) end)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    says(t, "kettle", nil, nil, { 110 })
    t:receive(("<message type='groupchat' from='%s/anna'><body>x</body></message>"):format(TEA))
    t:advance(100)
    assert.is_false(room.joined)
  end))
end)

describe("a new session", function()
  it("enters all rooms again, a few at a time", testing.around(function(t)
    local heard, all = {}, {}
    for i = 1, 7 do
      local jid = ("room%d@rooms.example.net"):format(i)
      t:room(jid, { subject = "old", occupants = { "anna" } })
      all[i] = join(t, nil, nil, jid).room
      for _, event in ipairs { "rejoined", "removed", "join", "leave", "subject" } do
        all[i]:on(event, function() heard[#heard + 1] = event end)
      end
    end
    local most, now = 0, 0
    t:on({ "presence", {}, { "x", { xmlns = MUC } } }, function()
      now = now + 1
      most = math.max(most, now)
    end)
    t:cut()
    t:reconnect { new = true }
    assert.equal(3, now) -- the others wait for their turn
    now = 0
    t:advance(30)
    assert.is_true(most <= 3)
    t:close "conflict"
    assert.same({}, heard)
  end, { strict = false }))

  it("is reported as 'rejoined', once, and by no other event", testing.around(function(t)
    local heard, services = {}, {}
    for i = 1, 7 do
      local jid = ("room%d@rooms.example.net"):format(i)
      services[i] = t:room(jid, { subject = "old", occupants = { "anna" } })
      local room = join(t, nil, nil, jid).room
      for _, event in ipairs { "rejoined", "removed", "join", "leave", "subject", "change" } do
        room:on(event, function() heard[#heard + 1] = event end)
      end
    end
    t:reconnect { new = true }
    t:advance(1)
    for i = 1, 7 do assert.is_truthy(services[i].occupants.kettle) end
    assert.equal(("rejoined "):rep(7), table.concat(heard, " ") .. " ")
    t:reconnect()
    t:advance(1)
    assert.equal(7, #heard) -- the session was resumed, so there is nothing to report
  end))

  it("reports a subject that has changed", testing.around(function(t)
    local room, service = joined(t, nil, { subject = "old" })
    local heard = {}
    room:on("subject", function(text) heard[#heard + 1] = text end)
    t:cut()
    service.subject = "new"
    t:reconnect { new = true }
    t:advance(1)
    assert.same({ "new" }, heard)
    assert.equal("new", room.subject)
  end))

  it("keeps trying if a room can't be reached yet", testing.around(function(t)
    local room, service = joined(t)
    local off = t:on({ "presence", { to = TEA .. "/kettle" } }, function()
      return { "presence", { type = "error" }, { "error", { type = "cancel" }, { "remote-server-not-found",
        { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
    end)
    t:reconnect { new = true }
    t:advance(100)
    assert.is_false(room.joined)
    off()
    t:advance(60)
    assert.is_true(room.joined)
    assert.is_truthy(service.occupants.kettle)
  end))

  it("may be lost while a room is entered again", testing.around(function(t)
    t:room(TEA, { no_subject = true })
    local got = join(t)
    t:advance(5)
    local room = got.room
    assert.is_true(room.joined)
    for _ = 1, 3 do
      t:reconnect { new = true }
      t:advance(1)
      assert.is_false(room.joined)
    end
    t:advance(5)
    assert.is_true(room.joined)
  end))
end)

describe("a self-ping", function()
  local function ping(t, answer)
    return t:expect({ "iq", { type = "get", to = TEA .. "/kettle" }, { "ping", { xmlns = "urn:xmpp:ping" } } }, answer)
  end

  local function refuses(condition, by)
    return function()
      return { "iq", { type = "error" }, { "error", { type = "cancel", by = by }, { condition,
        { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
    end
  end

  it("is sent when the room has been silent for the given time", testing.around(function(t)
    local room = inside(t, { ping = 100 })
    t:advance(60)
    says(t, "anna")
    t:advance(99)
    t:nothing()
    t:advance(1)
    ping(t)
    t:advance(99)
    t:nothing()
    t:advance(1)
    ping(t)
    leave(t, room)
    room = inside(t, { ping = 0 })
    t:advance(100000)
    t:nothing()
    leave(t, room)
    room = inside(t)
    t:advance(899)
    t:nothing()
    t:advance(1)
    ping(t)
    leave(t, room)
  end))

  it("may show that we are in", testing.around(function(t)
    local room = inside(t, { ping = 100 })
    local heard = rooms.ear(room)
    for _, answer in ipairs { false, "service-unavailable", "feature-not-implemented" } do
      t:advance(100)
      if answer then ping(t, refuses(answer)) else ping(t) end
      assert.is_true(room.joined)
    end
    t:advance(99)
    t:nothing()
    assert.equal("", heard())
    leave(t, room)
  end))

  it("may show that we are out", testing.around(function(t)
    local room = inside(t, { ping = 100 })
    for _, condition in ipairs { "not-acceptable", "forbidden", "not-allowed", "internal-server-error" } do
      local why = ends(room)
      t:advance(100)
      ping(t, refuses(condition, TEA))
      assert.same({ err = condition, returns = true }, why)
      assert.is_false(room.joined)
      t:advance(10)
      knocks(t)
      let_in(t)
      assert.is_true(room.joined)
    end
    leave(t, room)
  end))

  it("may be inconclusive: then it is sent again soon", testing.around(function(t)
    local room = inside(t, { ping = 900 })
    t:advance(900)
    for _, answer in ipairs { refuses "remote-server-not-found", refuses "remote-server-timeout",
      refuses("service-unavailable", "example.net"), refuses("not-acceptable", "example.net"), false } do
      ping(t, answer)
      assert.is_true(room.joined)
      t:advance(answer and 60 or 90)
    end
    ping(t)
    t:advance(899)
    t:nothing()
    leave(t, room)
  end))

  it("with item-not-found twice in a row shows that we are out", testing.around(function(t)
    local room = inside(t, { ping = 900 })
    t:advance(900)
    ping(t, refuses "item-not-found")
    assert.is_true(room.joined)
    t:advance(10)
    ping(t) -- the second ping of two
    t:advance(900)
    ping(t, refuses "item-not-found")
    t:advance(10)
    ping(t, refuses "item-not-found")
    assert.is_false(room.joined)
    t:advance(1)
    knocks(t)
    let_in(t)
    leave(t, room)
  end))

  it("is sent on request", testing.around(function(t)
    local room = inside(t)
    local got = {}
    local function ask() xmpp.spawn(function() got = { room:ping() } end) end
    ask()
    t:advance(2)
    ping(t)
    assert.equal(2, got[1])
    ask()
    ping(t, refuses "remote-server-timeout")
    assert.equal("remote-server-timeout", got[2].condition)
    ask()
    ping(t, refuses "not-acceptable")
    assert.equal("not-acceptable", got[2].condition)
    assert.is_false(room.joined)
    ask()
    t:advance(0)
    assert.equal("not-acceptable", got[2].condition)
    t:advance(1)
    knocks(t)
    let_in(t)
    leave(t, room)
  end))

  it("is sent when a presence of ours is refused", testing.around(function(t)
    local room, service = joined(t, { ping = 0 })
    service:forgets()
    local errors = "urn:ietf:params:xml:ns:xmpp-stanzas"
    t:receive(("<presence type='error' from='%s/kettle'><error type='cancel'><not-acceptable xmlns='%s'/></error>"
      .. "</presence>"):format(TEA, errors))
    t:advance(1)
    assert.is_true(room.joined)
    assert.is_truthy(service.occupants.kettle)
  end))

  it("is answered by us if the room passes it on; other occupants' are not", testing.around(function(t)
    local room = inside(t)
    for _, nick in ipairs { "anna", "kettle" } do
      t:receive(("<iq type='get' id='p-%s' from='%s/%s'><ping xmlns='urn:xmpp:ping'/></iq>"):format(nick, TEA, nick))
    end
    t:expect { "iq", { type = "error", id = "p-anna" } }
    t:expect { "iq", { type = "result", id = "p-kettle", to = TEA .. "/kettle" } }
    t:receive(("<iq type='get' from='%s/kettle'><ping xmlns='urn:xmpp:ping'/></iq>"):format(TEA)) -- without an id
    t:expect { "iq", { type = "error", id = "", to = TEA .. "/kettle" } }
    says(t, "anna")
    require("xmpp.info").use(t.conn)
    t:receive(("<iq type='get' id='p-anna' from='%s/anna'><ping xmlns='urn:xmpp:ping'/></iq>"):format(TEA))
    t:expect { "iq", { type = "result", id = "p-anna" } }
    leave(t, room)
  end))

  it("that is answered after we have left and returned is ignored", testing.around(function(t)
    local room = inside(t, { ping = 100 })
    t:advance(100)
    local question = ping(t, false)
    gone(t, "kettle", nil, { 110, 333 })
    t:advance(1)
    knocks(t)
    let_in(t)
    t:receive(("<iq type='error' id='%s' from='%s/kettle'><error type='cancel'><not-acceptable xmlns='%s'/></error>"
      .. "</iq>"):format(question[2].id, TEA, "urn:ietf:params:xml:ns:xmpp-stanzas"))
    assert.is_true(room.joined)
    leave(t, room)
  end))

  it("is sent every 15 minutes for 24 hours", testing.around(function(t)
    local n = 0
    local room = joined(t)
    t:on({ "iq", { to = TEA .. "/kettle" } }, function() n = n + 1 end)
    t:advance(86400)
    assert.equal(96, n)
    assert.is_true(room.joined)
  end))
end)

describe("leaving", function()
  it("sends the last message, waits for the room, and ends the handle", testing.around(function(t)
    local room, service = joined(t)
    local heard = rooms.ear(room)
    assert.is_true(room:leave "bye")
    assert.is_nil(service.occupants.kettle)
    assert.is_true(room:leave())
    assert.equal("", heard())
    local fresh = join(t).room
    assert.is_true(fresh ~= room)
    assert.is_true(fresh:leave())
  end))

  it("waits 5 seconds at most", testing.around(function(t)
    local room = inside(t)
    local done
    xmpp.spawn(function() done = room:leave() end)
    t:expect { "presence", { type = "unavailable", to = TEA .. "/kettle" } }
    t:advance(4.9)
    assert.is_nil(done)
    t:advance(0.2)
    assert.is_true(done)
  end))

  it("while the link is down takes effect after the reconnect", testing.around(function(t)
    local room, service = joined(t)
    t:cut()
    assert.is_true(room:leave())
    t:reconnect()
    assert.is_nil(service.occupants.kettle)
    room, service = join(t).room, service
    t:cut()
    assert.is_true(room:leave())
    t:reconnect { new = true }
    t:advance(10)
    assert.is_nil(service.occupants.kettle)
    assert.same({}, muc.use(t.conn).rooms)
  end))
end)

describe("saved rooms", function()
  it("are entered again in another process", function()
    local saved
    testing.around(function(t)
      local room = joined(t, { password = "s3cret", nicks = function() end, ping = 77 }, { password = "s3cret" })
      t.conn:on("failed", function() end)
      t:receive(("<message type='groupchat' from='%s/anna'><body>x</body></message>"):format(TEA))
      t:cut()
      room:say "later"
      saved = ext.save(t.conn)
      local text = xmpp.xexpr.to_json and pcall(require, "cjson") and require("cjson").encode(saved)
      if text then saved = require("cjson").decode(text) end
      t:reconnect()
      t:expect { "message" }
    end)()
    testing.around(function(t)
      rooms.announce(t)
      ext.load(t.conn, saved)
      local heard = rooms.ear(assert(muc.use(t.conn).rooms[TEA]))
      local p = knocks(t)
      assert.same({ { "history", { since = "2023-11-14T22:13:20Z" } }, { "password", {}, "s3cret" } },
        { p[3][3], p[3][4] })
      local same = join(t, nil, { create = "default" })
      assert.is_nil(same.done)
      t:nothing()
      let_in(t)
      assert.equal(muc.use(t.conn).rooms[TEA], same.room)
      t:expect { "message", { type = "groupchat" }, { "body", {}, "later" } }
      assert.equal("rejoined", heard())
      leave(t, same.room)
    end)()
    testing.around(function(t)
      ext.load(t.conn, { muc = { { jid = "@", nick = "x", opts = {} }, { jid = TEA, nick = "", opts = {} } } })
      assert.same({}, muc.use(t.conn).rooms)
      t:advance(10)
    end)()
  end)
end)
