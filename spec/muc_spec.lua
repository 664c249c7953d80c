-- muc: entering rooms, and who is in them. With a test's room, and by hand where that one is too well-behaved.

local ext = require "xmpp.ext"
local muc = require "xmpp.muc"
local presence = require "xmpp.presence"
local rooms = require "spec.support.rooms"
local stage = require "spec.support.stage"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local TEA, MUC, USER = rooms.TEA, "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user"
local INFO, OWNER, ERRORS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/muc#owner",
  "urn:ietf:params:xml:ns:xmpp-stanzas"

local announce, gone, inside, join, joined = rooms.announce, rooms.gone, rooms.inside, rooms.join, rooms.joined
local knock, leave, refused, says, subject = rooms.knock, rooms.leave, rooms.refused, rooms.says, rooms.subject

describe("muc.join", function()
  it("sends the presence that the options describe", testing.around(function(t)
    announce(t)
    presence.set(t.conn, { show = "away", status = "out", priority = 5 })
    t:sent()
    local got, p = knock(t, { password = "s3cret", history = { messages = 5, since = 1000, bytes = 99 } })
    assert.same({ "presence", { to = TEA .. "/kettle", id = p[2].id }, { "show", {}, "away" }, { "status", {}, "out" },
      { "priority", {}, "5" },
      { "x", { xmlns = MUC }, { "history", { since = "1970-01-01T00:16:40Z", maxstanzas = "5", maxchars = "99" } },
        { "password", {}, "s3cret" } } }, p)
    refused(t, "not-authorized")
    assert.equal("not-authorized", got.err.condition)
    got, p = knock(t, { presence = { status = "at the stove" } })
    assert.same({ "status", {}, "at the stove" }, p[3])
    assert.same({ "history", { maxstanzas = "0", maxchars = "0" } }, p[4][3]) -- no history, unless it is asked for
    refused(t, "forbidden")
    assert.equal("forbidden", got.err.condition)
    got, p = knock(t, { history = 7 })
    assert.same({ "history", { maxstanzas = "7" } }, p[6][3])
    refused(t, "forbidden")
    assert.is_true(got.done)
  end))

  it("waits for our own presence and for the subject", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "anna")
    subject(t, "not yet ours")
    assert.is_nil(got.done)
    says(t, "kettle", nil, "<item affiliation='none' role='visitor'/>", { 110 })
    assert.is_true(got.done)
    local room = got.room
    assert.same({ TEA, "kettle", true, "visitor", "none", "not yet ours" },
      { room.jid, room.nick, room.joined, room.role, room.affiliation, room.subject })
    assert.equal(room, muc.use(t.conn).rooms[TEA])
    assert.same({ nick = "anna", role = "participant", affiliation = "member" }, room.occupants.anna)
    leave(t, room)
    assert.same({}, muc.use(t.conn).rooms)
    assert.is_false(room.joined)
  end))

  it("waits 5 seconds for a subject that doesn't come", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "kettle", nil, nil, { 110 })
    t:advance(4.9)
    assert.is_nil(got.done)
    t:advance(0.2)
    assert.is_nil(got.room.subject)
    leave(t, got.room)
  end))

  it("takes a message with subject and body as a message, and continues to wait", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "kettle", nil, nil, { 110 })
    t:receive(("<message type='groupchat' from='%s/anna'><subject>a</subject><body>b</body></message>"):format(TEA))
    assert.is_nil(got.done)
    subject(t, "")
    assert.is_true(got.done)
    assert.is_nil(got.room.subject)
    leave(t, got.room)
  end))

  it("recognizes itself by its nick if the service sends no 110", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "kettle")
    says(t, "anna")
    assert.is_nil(got.done)
    subject(t, "Tea")
    assert.equal("kettle", got.room.nick)
    leave(t, got.room)
  end))

  it("doesn't take an occupant for itself who had its nick and has left", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "kettle") -- of an earlier session of ours, which the service ends now
    gone(t, "kettle")
    subject(t, "Tea")
    t:advance(5)
    assert.is_nil(got.done)
    says(t, "kettle", nil, "<item affiliation='none' role='visitor'/>", { 110 })
    assert.is_true(got.done)
    assert.equal("visitor", got.room.role)
    leave(t, got.room)
  end))

  it("is in the room even if the room forgets who it is", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "kettle", nil, nil, { 110 })
    gone(t, "anna", "<item nick='pot' affiliation='none' role='none'/>", { 110, 303 }) -- there is no anna
    subject(t, "Tea")
    assert.equal("pot", got.room.nick)
    leave(t, got.room)
  end))

  -- Another occupant has our nick, if the service has given us another one.
  it("takes the nick that has 110", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "kettle", nil, "<item affiliation='owner' role='moderator'/>")
    says(t, "kettle2", nil, nil, { 110, 210 })
    subject(t, "Tea")
    assert.same({ "kettle2", "member" }, { got.room.nick, got.room.affiliation })
    assert.equal("owner", got.room.occupants.kettle.affiliation)
    leave(t, got.room)
  end))

  it("gives up after the timeout, and leaves", testing.around(function(t)
    announce(t)
    local got = knock(t, { timeout = 3 })
    says(t, "anna")
    t:advance(3)
    assert.same({ "timeout", true }, { got.err.layer, got.err.retry })
    assert.matches("joining the room tea@rooms.example.net took too long", got.err.text)
    t:expect { "presence", { type = "unavailable", to = TEA .. "/kettle" } }
    says(t, "kettle", nil, nil, { 110 }) -- too late
    subject(t, "Tea")
    assert.same({}, muc.use(t.conn).rooms)
    t:advance(100)
    t:nothing()
  end))

  it("explains a refusal, with the option that could help", testing.around(function(t)
    announce(t)
    for condition, says_what in pairs { ["not-authorized"] = "'password'", ["forbidden"] = "banned",
      ["registration-required"] = "members", ["not-allowed"] = "may not create", ["item-not-found"] = "no such room",
      ["not-acceptable"] = "registered", ["service-unavailable"] = "full",
      ["jid-malformed"] = "doesn't take that nick" } do
      local got = knock(t)
      refused(t, condition, condition == "service-unavailable" and "wait" or "auth")
      assert.is_nil(got.room)
      assert.same({ "stanza", condition, condition == "service-unavailable" },
        { got.err.layer, got.err.condition, got.err.retry })
      assert.matches(says_what, got.err.text, 1, true)
    end
    local got = knock(t)
    refused(t, "not-authorized")
    assert.equal("password", got.err.option)
  end))

  it("ignores refusals of other presences", testing.around(function(t)
    announce(t)
    local got, p = knock(t)
    for _, attributes in ipairs { "id='another' from='tea@rooms.example.net/kettle'",
      "from='tea@rooms.example.net/anna'", ("id='%s' from='tea@rooms.example.net/anna'"):format(p[2].id) } do
      t:receive(("<presence %s type='error'><error type='auth'><forbidden xmlns='%s'/></error></presence>")
        :format(attributes, ERRORS))
      assert.is_nil(got.done)
    end
    t:receive(("<presence id='%s' from='%s' type='error'><error type='auth'><forbidden xmlns='%s'/></error></presence>")
      :format(p[2].id, TEA, ERRORS))
    assert.equal("forbidden", got.err.condition)
  end))

  it("tries other nicks", testing.around(function(t)
    t:room(TEA, { occupants = { "kettle", "kettle_" } })
    local got = join(t)
    assert.equal("kettle__", got.room.nick)
    t:room("two@rooms.example.net", { occupants = { "kettle", "kettle_", "kettle__" } })
    local none = join(t, nil, nil, "two@rooms.example.net")
    assert.same({ "conflict", "nicks" }, { none.err.condition, none.err.option })
    local asked = {}
    t:room("three@rooms.example.net", { occupants = { "kettle", "pot" } })
    local pot = join(t, nil, { nicks = function(nick, n)
      asked[n] = nick
      return ({ "pot", "urn" })[n]
    end }, "three@rooms.example.net")
    assert.same({ "kettle", "kettle" }, asked)
    assert.equal("urn", pot.room.nick)
    none = join(t, nil, { nicks = function() error "oh" end }, "two@rooms.example.net")
    assert.equal("conflict", none.err.condition)
    assert.matches("oh", t:take_errors()[1])
  end))

  it("holds events back until the program can listen", testing.around(function(t)
    announce(t)
    t:on({ "iq", { to = "x.test" } }, function() end)
    local texts, got = {}, {}
    xmpp.spawn(function()
      got.room = muc.join(t.conn, TEA, "kettle", { history = 2 })
      got.room:on("message", function(m) texts[#texts + 1] = m.text .. (m.history and " (old)" or "") end)
      got.room:on("join", function(o) texts[#texts + 1] = "join " .. o.nick end)
    end)
    t:expect({ "presence" }, false)
    local all = {}
    for i, x in ipairs {
      "<presence from='%s/kettle'><x xmlns='" .. USER .. "'><status code='110'/></x></presence>",
      "<message type='groupchat' from='%s/anna'><body>one</body></message>",
      "<message type='groupchat' from='%s'><subject>Tea</subject></message>",
      "<message type='groupchat' from='%s/anna'><body>two</body></message>",
      "<presence from='%s/bert'><x xmlns='" .. USER .. "'/></presence>" } do
      all[i] = x:format(TEA)
    end
    t:receive(table.concat(all))
    assert.same({ "one (old)", "two", "join bert" }, texts)
    leave(t, got.room)
  end))

  it("returns the room that we are in or are entering", testing.around(function(t)
    local room = joined(t)
    assert.equal(room, join(t).room)
    assert.equal(room, join(t, "pot").room)
    assert.equal("kettle", room.nick)
    t:room("two@rooms.example.net", { no_subject = true })
    local first, second = join(t, nil, nil, "two@rooms.example.net"), join(t, nil, nil, "Two@rooms.example.net")
    t:advance(5)
    assert.is_truthy(first.room)
    assert.equal(first.room, second.room)
  end))

  it("waits for a missing session, and continues in a new one", testing.around(function(t)
    local service = t:room(TEA, { no_subject = true })
    t:cut()
    local got = join(t)
    t:reconnect { new = true }
    t:advance(1)
    assert.is_nil(got.done)
    t:reconnect { new = true } -- while the room is being entered
    t:advance(5)
    assert.is_truthy(got.room)
    assert.is_truthy(service.occupants.kettle)
  end))

  it("ends with the connection", testing.around(function(t)
    announce(t)
    local got = knock(t)
    t:close "conflict"
    assert.same({ "closed" }, { got.err.layer })
    local late = join(t)
    assert.equal("closed", late.err.layer)
  end))

  it("raises for mistakes at the caller's line", testing.around(function(t)
    local conn = t.conn
    stage.refuses("bad argument #1 to 'join' (connection expected, got nil)", function() muc.join(nil, TEA, "x") end)
    stage.refuses("bad argument #2 to 'join' (string expected, got nil)", function() muc.join(conn, nil, "x") end)
    stage.refuses("bad argument #2 to 'join' (a room's address has no resource)",
      function() muc.join(conn, TEA .. "/x", "x") end)
    stage.refuses("bad argument #3 to 'join' (string expected, got nil)", function() muc.join(conn, TEA) end)
    stage.refuses("bad argument #4 to 'join' (table expected, got string)",
      function() muc.join(conn, TEA, "x", "y") end)
    for text, opts in pairs { ["'join' has no option 'histroy'"] = { histroy = 1 },
      ["bad option 'password' of 'join' (string expected, got number)"] = { password = 1 },
      ["bad option 'rejoin' of 'join' (true, false or \"kicked\" expected, got 'yes')"] = { rejoin = "yes" },
      ["bad option 'create' of 'join' (\"refuse\", \"default\" or a function expected, got 'ask')"]
        = { create = "ask" },
      ["bad option 'history' of 'join' (a number of messages, or a table, expected, got boolean)"] = { history = true },
      ["'history' has no option 'until'"] = { history = { ["until"] = 1 } } } do
      stage.refuses(text, function() muc.join(conn, TEA, "x", opts) end)
    end
    local c = testing.new { component = "echo.example.net" }
    stage.refuses("a component has no presence of its own", function() muc.join(c.conn, TEA, "x") end)
    c:finish()
    local none, err = muc.join(conn, "@", "x")
    assert.is_nil(none)
    assert.is_truthy(err.text)
    none, err = muc.join(conn, TEA, "")
    assert.is_nil(none)
    assert.equal("nick", err.option)
  end))
end)

describe("a room that we create by entering it", function()
  it("is destroyed again by default", testing.around(function(t)
    local service = t:room(TEA, { exists = false })
    local got = join(t)
    assert.same({ "stanza", "room-created", "create" }, { got.err.layer, got.err.condition, got.err.option })
    assert.is_false(service.exists)
    assert.same({}, muc.use(t.conn).rooms)
  end))

  -- A service that sends 201 although others are in the room.
  it("is not destroyed if somebody else is in it", testing.around(function(t)
    announce(t)
    local got = knock(t)
    says(t, "anna")
    says(t, "kettle", nil, "<item affiliation='owner' role='moderator'/>", { 110, 201 })
    t:expect { "presence", { type = "unavailable" } }
    assert.equal("room-created", got.err.condition)
    got = knock(t)
    says(t, "kettle", nil, "<item affiliation='member' role='participant'/>", { 110, 201 })
    t:expect { "presence", { type = "unavailable" } }
    assert.equal("room-created", got.err.condition)
  end))

  it("is opened with its defaults by create = default", testing.around(function(t)
    local service = t:room(TEA, { exists = false })
    local got = join(t, nil, { create = "default" })
    assert.is_true(got.room.joined)
    assert.is_false(service.locked)
    assert.is_truthy(next(got.room.features)) -- they couldn't be queried before
  end))

  -- Its creator hasn't configured it yet: for everybody else it doesn't exist (Prosody).
  it("is waited for while somebody else is creating it", testing.around(function(t)
    announce(t)
    local got = knock(t, { create = "default" })
    for _ = 1, 2 do
      refused(t, "item-not-found", "cancel")
      assert.is_nil(got.done)
      t:advance(1)
      t:expect({ "presence", {}, { "x", { xmlns = MUC } } }, false)
    end
    says(t, "kettle", nil, "<item affiliation='none' role='participant'/>", { 110 })
    subject(t, "")
    assert.is_true(got.room.joined)
    leave(t, got.room)
    got = knock(t, { create = "default" })
    for _ = 1, 5 do
      refused(t, "item-not-found", "cancel")
      t:advance(1)
      t:expect({ "presence", {}, { "x", { xmlns = MUC } } }, false)
    end
    refused(t, "item-not-found", "cancel")
    assert.equal("item-not-found", got.err.condition)
  end))

  it("is opened with the form that a function fills in", testing.around(function(t)
    local service = t:room(TEA, { exists = false })
    local kind
    local got = join(t, nil, { create = function(form)
      kind = form.type
      return { ["muc#roomconfig_membersonly"] = true }
    end })
    assert.equal("http://jabber.org/protocol/muc#roomconfig", kind)
    assert.is_true(got.room.joined)
    assert.is_true(service.config.members_only)
    assert.is_false(service.locked)
  end))

  it("isn't opened if that function fails", testing.around(function(t)
    local service = t:room(TEA, { exists = false })
    for text, f in pairs { oh = function() error "oh" end, none = function() end,
      nothing = function() return { nothing = 1 } end } do
      local got = join(t, nil, { create = f })
      assert.equal("room-created", got.err.condition)
      local told = table.concat(t:take_errors())
      if text ~= "none" then assert.matches(text, told) end
      service.exists, service.occupants, service.locked = false, {}, false
    end
  end))

  it("isn't opened if it sends no form, or refuses what is filled in", testing.around(function(t)
    for _, what in ipairs { "get", "set" } do
      announce(t)
      local got = knock(t, { create = function() return {} end })
      says(t, "kettle", nil, "<item affiliation='owner' role='moderator'/>", { 110, 201 })
      if what == "get" then
        t:expect({ "iq", { type = "get" } }, { "query", { xmlns = OWNER } })
      else
        t:expect({ "iq", { type = "get" } }, { "query", { xmlns = OWNER }, { "x", { xmlns = "jabber:x:data",
          type = "form" }, { "field", { var = "a", type = "boolean" } } } })
        t:expect({ "iq", { type = "set" }, { "query", {}, { "x", { type = "submit" } } } }, function()
          return nil, "auth", "forbidden"
        end)
      end
      t:expect { "iq", { type = "set" }, { "query", {}, { "x", { type = "cancel" } } } }
      t:expect { "presence", { type = "unavailable" } }
      assert.equal(what == "get" and "bad-format" or "forbidden", got.err.condition)
    end
  end))
end)

describe("an occupant", function()
  it("has the data that the room sends; changes are reported", testing.around(function(t)
    local room = inside(t)
    local heard = rooms.ear(room)
    says(t, "anna", nil, "<item affiliation='owner' role='moderator' jid='Anna@Example.net/pc'/>")
    assert.same({ nick = "anna", jid = "anna@example.net/pc", affiliation = "owner", role = "moderator" },
      room.occupants.anna)
    says(t, "anna", nil, "<item affiliation='owner' role='moderator' jid='anna@example.net/pc'/>")
    assert.equal("join anna", heard()) -- the same presence again is no change
    local what
    room:on("change", function(o, was) what = { o, was } end)
    t:receive(("<presence from='%s/anna'><show>dnd</show><status>busy</status><x xmlns='%s'><item affiliation='none' "
      .. "role='visitor'/></x></presence>"):format(TEA, USER))
    assert.equal("change anna", heard())
    assert.equal(room.occupants.anna, what[1])
    assert.same({ nick = "anna", show = "dnd", status = "busy", affiliation = "none", role = "visitor" }, what[1])
    assert.same({ show = false, status = false, affiliation = "owner", role = "moderator",
      jid = "anna@example.net/pc" }, what[2])
    t:receive(("<presence from='%s/anna'><show>asleep</show><x xmlns='%s'/></presence>"):format(TEA, USER))
    assert.is_nil(room.occupants.anna.show)
    assert.equal("change anna", heard())
    says(t, "kettle", nil, "<item affiliation='admin' role='moderator'/>", { 110 })
    assert.same({ "admin", "moderator", "change kettle" }, { room.affiliation, room.role, heard() })
    local why
    room:on("leave", function(_, w) why = w end)
    gone(t, "anna", "<item affiliation='none' role='none'><actor nick='bert'/><reason>rude</reason></item>", { 307 })
    assert.same({ code = 307, by = "bert", reason = "rude" }, why)
    assert.is_nil(room.occupants.anna)
    gone(t, "anna") -- she isn't there, so she can't leave
    assert.equal("leave anna", heard())
    leave(t, room)
  end))

  it("may change the nick, which is no leave and no join", testing.around(function(t)
    local room = inside(t)
    says(t, "anna")
    local anna = room.occupants.anna
    local heard = rooms.ear(room)
    gone(t, "anna", "<item affiliation='member' role='participant' nick='annette'/>", { 303 })
    assert.equal("nick annette anna", heard())
    says(t, "annette")
    assert.equal("", heard())
    assert.equal(anna, room.occupants.annette)
    assert.is_nil(room.occupants.anna)
    gone(t, "annette", nil, { 303 }) -- without the new nick
    assert.equal("leave annette", heard())
    says(t, "bert")
    gone(t, "bert", "<item nick='bert'/>", { 303 })
    assert.equal("join bert, leave bert", heard())
    leave(t, room)
  end))

  it("may be ourselves, with a nick that the service changes", testing.around(function(t)
    local room = inside(t)
    local heard = rooms.ear(room)
    gone(t, "kettle", "<item nick='pot'/>", { 303, 110 })
    says(t, "pot", nil, nil, { 110 })
    assert.same({ "pot", "nick pot kettle" }, { room.nick, heard() })
    assert.equal("pot", room.occupants.pot.nick)
    assert.is_nil(room.occupants.kettle)
    says(t, "urn", nil, nil, { 110 }) -- without any earlier presence
    assert.same({ "urn", "nick urn pot" }, { room.nick, heard() })
    assert.is_nil(room.occupants.pot)
    leave(t, room)
  end))

  it("can't be forged by what another occupant sends", testing.around(function(t)
    local room = inside(t)
    -- a service that passes on what an occupant has added: two elements that say who he is
    t:receive(("<presence from='%s/eve'><x xmlns='%s'><item affiliation='owner' role='moderator' "
      .. "jid='boss@example.net'/><status code='110'/></x><x xmlns='%s'><item affiliation='none' role='visitor'/></x>"
      .. "</presence>"):format(TEA, USER, USER))
    assert.same({ nick = "eve" }, room.occupants.eve)
    assert.equal("kettle", room.nick)
    -- in another namespace
    t:receive(("<presence from='%s/eve'><x xmlns='urn:x'><item affiliation='owner' role='moderator' "
      .. "jid='boss@example.net'/></x></presence>"):format(TEA))
    assert.same({ nick = "eve" }, room.occupants.eve)
    says(t, "eve", nil, "<item xmlns='urn:x' affiliation='owner' role='moderator'/><status xmlns='urn:x' code='110'/>")
    assert.same({ nick = "eve" }, room.occupants.eve)
    assert.equal("kettle", room.nick)
    says(t, "eve", nil, "<item affiliation='god' role='king' jid='@@'/>")
    assert.same({ nick = "eve", affiliation = "none", role = "none" }, room.occupants.eve)
    -- from another address
    t:receive(("<presence from='cake@rooms.example.net/eve'><x xmlns='%s'><item affiliation='owner'/></x></presence>")
      :format(USER))
    t:receive(("<presence from='rooms.example.net/eve'><x xmlns='%s'><item affiliation='owner'/></x></presence>")
      :format(USER))
    t:receive(("<message type='groupchat' from='%s/eve'><body>x</body><x xmlns='%s'><item affiliation='owner' "
      .. "jid='boss@example.net'/></x></message>"):format(TEA, USER))
    assert.equal("none", room.occupants.eve.affiliation)
    assert.is_nil(room.occupants.eve.jid)
    leave(t, room)
  end))

  it("has an occupant-id and hats only if the room announces them", testing.around(function(t)
    local announced = { "urn:xmpp:occupant-id:0", "urn:xmpp:hats:0" }
    for i, features in ipairs { {}, announced } do
      local room = inside(t, nil, features)
      t:receive(("<presence from='%s/anna'><x xmlns='%s'><item affiliation='none' role='visitor'/></x><occupant-id "
        .. "xmlns='urn:xmpp:occupant-id:0' id='o1'/><hats xmlns='urn:xmpp:hats:0'><hat uri='urn:h' title='Host'/>"
        .. "</hats></presence>"):format(TEA, USER))
      local anna = room.occupants.anna
      assert.equal(i == 2 and "o1" or nil, anna.id)
      assert.same(i == 2 and { { uri = "urn:h", title = "Host" } } or nil, anna.hats)
      leave(t, room)
    end
  end))

  it("gets them later if the room's features come later", testing.around(function(t)
    local got = join(t)
    t:expect({ "iq", { to = TEA } }, false)
    local question = t:sent()
    assert.equal("presence", question[1][1])
    t:receive(("<presence from='%s/anna'><x xmlns='%s'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='o1'/>"
      .. "</presence>"):format(TEA, USER))
    says(t, "kettle", nil, nil, { 110 })
    subject(t, "Tea")
    assert.is_nil(got.done) -- it waits for 5 seconds at most
    t:advance(5)
    local room = got.room
    assert.is_nil(room.occupants.anna.id)
    announce(t, "urn:xmpp:occupant-id:0")
    require("xmpp.muc.enter").ask_again(room)
    t:advance(0)
    assert.equal("o1", room.occupants.anna.id)
    leave(t, room)
  end))

  it("beyond the bound is only counted", testing.around(function(t)
    local room = inside(t, { max_occupants = 3 })
    local heard = rooms.ear(room)
    for i = 1, 5 do says(t, "n" .. i) end
    says(t, "n5") -- the same one again
    assert.same({ 3, "join n1, join n2" }, { room.beyond, heard() })
    assert.is_nil(room.occupants.n3)
    gone(t, "n5")
    gone(t, "unknown")
    assert.equal(2, room.beyond)
    gone(t, "n1")
    says(t, "n4") -- there is space now, but he was already there
    assert.same({ 1, "leave n1" }, { room.beyond, heard() })
    assert.is_truthy(room.occupants.n4)
    says(t, "pot", nil, nil, { 110 }) -- we are always listed
    assert.is_truthy(room.occupants.pot)
    leave(t, room)
  end))

  it("that is ourselves is kept even beyond the bound", testing.around(function(t)
    announce(t)
    local got = knock(t, { max_occupants = 2 })
    for i = 1, 4 do says(t, "n" .. i) end
    says(t, "kettle", nil, nil, { 110 })
    subject(t, "")
    assert.equal(2, got.room.beyond)
    assert.is_truthy(got.room.occupants.kettle)
    leave(t, got.room)
  end))

  it("has a status of bounded length, cut between characters", testing.around(function(t)
    local room = inside(t)
    t:receive(("<presence from='%s/anna'><status>%s</status><x xmlns='%s'/></presence>"):format(TEA,
      ("\195\164"):rep(999), USER))
    assert.equal(1024, #room.occupants.anna.status)
    t:receive(("<presence from='%s/anna'><status>x%s</status><x xmlns='%s'/></presence>"):format(TEA,
      ("\195\164"):rep(999), USER))
    assert.equal("x" .. ("\195\164"):rep(511), room.occupants.anna.status)
    leave(t, room)
  end))

  it("may have a strange nick", testing.around(function(t)
    local room = inside(t)
    for _, nick in ipairs { "n/i@c/k", " lead", "o'brien\"&<>", "\240\159\166\138",
      "\215\169\215\156\215\149\215\157" } do
      says(t, nick)
      assert.equal(nick, (room.occupants[nick] or {}).nick)
      assert.is_string(room:whisper(nick, "psst"))
      t:expect { "message", { to = TEA .. "/" .. nick, type = "chat" }, { "body", {}, "psst" } }
      gone(t, nick)
      assert.is_nil(room.occupants[nick])
    end
    leave(t, room)
    local got = knock(t, nil, "o'brien\"&<>")
    says(t, "o'brien\"&<>", nil, nil, { 110 })
    subject(t, "")
    assert.equal("o'brien\"&<>", got.room.nick)
    leave(t, got.room)
  end))

  -- A server by RFC 6122: for it "straße" is "strasse", and "ﬁsh" is "fish".
  it("may be spelled differently by the server, as may we", testing.around(function(t)
    local disco = require "xmpp.disco"
    local named, theirs, fish = "stra\195\159e@rooms.example.net", "strasse@rooms.example.net", "\239\172\129sh"
    t:on({ "iq", {}, { "query", { xmlns = INFO } } }, function() return { "query", { xmlns = INFO } } end)
    local function presence_of(nick, kind, children)
      t:receive(("<presence from='%s/%s'%s>%s</presence>"):format(theirs, nick, kind and " type='" .. kind .. "'" or "",
        children or ("<x xmlns='%s'/>"):format(USER)))
    end
    local got = join(t, fish, nil, named)
    t:expect { "presence", { to = named .. "/" .. fish } }
    presence_of("fish", "error", ("<error type='auth'><forbidden xmlns='%s'/></error>"):format(ERRORS))
    assert.equal("forbidden", got.err.condition)
    got = join(t, fish, nil, named)
    t:expect { "presence", { to = named .. "/" .. fish } }
    presence_of "fish" -- without 110
    t:receive(("<message type='groupchat' from='%s'><subject/></message>"):format(theirs))
    local room = assert(got.room)
    assert.same({ named, "fish" }, { room.jid, room.nick })
    presence_of "\239\172\130at"
    assert.is_truthy(room.occupants["\239\172\130at"])
    presence_of "flat"
    assert.is_true(disco.allows(t.conn, theirs .. "/flat"))
    assert.is_nil((room:whisper("\239\172\128", "x")))
    presence_of "ff"
    assert.is_string(room:whisper("\239\172\128", "x"))
    t:expect { "message", { to = named .. "/ff" } }
    xmpp.spawn(function() room:leave() end)
    t:expect { "presence", { type = "unavailable" } }
    presence_of("fish", "unavailable")
    assert.same({}, muc.use(t.conn).spelled)
  end))

  it("may query us by disco; others may not", testing.around(function(t)
    local disco = require "xmpp.disco"
    local room = inside(t)
    says(t, "anna")
    assert.is_true(disco.allows(t.conn, TEA .. "/anna"))
    assert.is_false(disco.allows(t.conn, TEA .. "/bert"))
    assert.is_false(disco.allows(t.conn, TEA))
    assert.is_false(disco.allows(t.conn, "cake@rooms.example.net/anna"))
    gone(t, "kettle", nil, { 110, 333 })
    assert.is_false(disco.allows(t.conn, TEA .. "/anna"))
    room:leave()
    assert.is_false(disco.allows(t.conn, TEA .. "/anna"))
  end))

  it("may meet listeners that throw, leave, or drop the extension", testing.around(function(t)
    local room = inside(t)
    local heard = {}
    room:on("join", function() error "oh" end)
    room:on("join", function() xmpp.spawn(function() room:leave() end) xmpp.sleep(1) end)
    room:on("join", function(o) heard[#heard + 1] = o.nick end)
    says(t, "anna")
    assert.matches("oh", t:take_errors()[1])
    t:expect { "presence", { type = "unavailable" } }
    gone(t, "kettle", nil, { 110 })
    says(t, "bert")
    t:advance(2)
    assert.same({ "anna" }, heard)
    room = inside(t)
    room:on("leave", function() ext.drop(t.conn, muc) end)
    says(t, "anna")
    gone(t, "anna")
    t:expect { "presence", { type = "unavailable", to = TEA .. "/kettle" } }
    assert.is_nil(ext.of(t.conn, muc))
    assert.is_false(room.joined)
    local none, err = room:say "x"
    assert.is_nil(none)
    assert.equal("not-acceptable", err.condition)
  end))
end)

describe("a nick", function()
  it("is changed when the room confirms it", testing.around(function(t)
    local room, service = joined(t, nil, { occupants = { "anna" } })
    assert.equal("pot", room:set_nick "pot")
    assert.equal("pot", room.nick)
    assert.is_truthy(service.occupants.pot)
    assert.equal("pot", room:set_nick "pot")
    local none, err = room:set_nick "anna"
    assert.is_nil(none)
    assert.same({ "conflict", "pot" }, { err.condition, room.nick })
    none, err = room:set_nick(("x"):rep(1100))
    assert.is_nil(none)
    assert.is_truthy(err.text)
    t:reconnect { new = true }
    assert.is_truthy(service.occupants.pot) -- we come back with this nick
  end))

  it("is requested one at a time, with a timeout", testing.around(function(t)
    local room = inside(t)
    local got = {}
    for i, nick in ipairs { "a", "b" } do
      xmpp.spawn(function() got[i] = { room:set_nick(nick) } end)
    end
    local p = t:expect { "presence", { to = TEA .. "/a" } }
    t:nothing()
    t:receive(("<presence id='%s' from='%s/a' type='error'><error type='cancel'><conflict xmlns='%s'/></error>"
      .. "</presence>"):format(p[2].id, TEA, ERRORS))
    assert.equal("conflict", got[1][2].condition)
    t:expect { "presence", { to = TEA .. "/b" } }
    t:advance(30)
    assert.equal("timeout", got[2][2].layer)
    leave(t, room)
    local none, err = room:set_nick "c"
    assert.is_nil(none)
    assert.equal("not-acceptable", err.condition)
  end))
end)

describe("our status", function()
  it("is sent to the rooms, too, once we are in", testing.around(function(t)
    local room, service = joined(t, nil, { occupants = { "anna" } })
    local other = t:room("two@rooms.example.net")
    local quiet = join(t, nil, { presence = { status = "mine" } }, "two@rooms.example.net").room
    t:advance(1)
    presence.set(t.conn, { show = "dnd", status = "busy" })
    t:expect { "presence", {}, { "show", {}, "dnd" } }
    assert.same({ "dnd", "busy" }, { service.occupants.kettle.show, service.occupants.kettle.status })
    assert.equal("mine", other.occupants.kettle.status)
    assert.same({ "dnd", "busy" }, { room.occupants.kettle.show, room.occupants.kettle.status })
    presence.send(t.conn, "anna@example.net", { show = "away" }) -- to one contact only
    t:expect { "presence", { to = "anna@example.net" } }
    assert.equal("dnd", service.occupants.kettle.show)
    t:reconnect { new = true }
    t:expect { "presence", {}, { "show", {}, "dnd" } }
    t:advance(1)
    assert.is_true(room.joined and quiet.joined)
    assert.equal("dnd", service.occupants.kettle.show) -- it is sent again when we come back
  end))
end)
