-- muc: what moderators, admins and owners do to a room, queries to rooms from outside, and invitations.
local muc = require "xmpp.muc"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"

local TEA, ME = "tea@rooms.example.net", "bot@example.net/test"
local USER, ADMIN, OWNER, DIRECT = "http://jabber.org/protocol/muc#user", "http://jabber.org/protocol/muc#admin",
  "http://jabber.org/protocol/muc#owner", "jabber:x:conference"

local function enter(t, affiliation, o)
  o = o or {}
  o.occupants = o.occupants or { { nick = "anna", jid = "anna@people.example/pc" },
    { nick = "bert", jid = "bert@people.example/pc", affiliation = "admin" } }
  o.affiliations = { ["bot@example.net"] = affiliation, ["eve@people.example"] = "outcast" }
  local service = t:room(TEA, o)
  return service, assert(muc.join(t.conn, TEA, "kettle"))
end

local function refused(condition, ok, err)
  assert.is_nil(ok)
  assert.equal("stanza", err.layer)
  assert.equal(condition, err.condition)
  return err
end

-- f raises an error with this text, and with the line where f begins.
local function raises(f, text)
  local ok, err = pcall(f)
  local info = debug.getinfo(f, "S")
  assert.is_false(ok)
  assert.equal(("%s:%d: %s"):format(info.short_src, info.linedefined, text), err)
end

describe("a moderator, an admin", function()
  it("kicks, bans, sets roles and affiliations", testing.around(function(t)
    local service, room = enter(t, "admin")
    local left = {}
    room:on("leave", function(o, why) left[#left + 1] = { o.nick, why.code, why.reason, why.by } end)
    assert.is_true(room:kick("anna", "no more tea"))
    assert.is_nil(service.occupants.anna)
    service:joins { nick = "anna", jid = "anna@people.example/pc" }
    assert.is_true(room:set_role("anna", "moderator"))
    assert.equal("moderator", service.occupants.anna.role)
    assert.is_true(room:set_affiliation("anna@people.example/pc", "member"))
    assert.equal("member", service.affiliations["anna@people.example"])
    assert.is_true(room:ban("anna@people.example", "really"))
    assert.equal("outcast", service.affiliations["anna@people.example"])
    assert.same({ { "anna", 307, "no more tea", "kettle" }, { "anna", 301, "really", "kettle" } }, left)
  end))

  it("gets an error for what it may not do", testing.around(function(t)
    local _, room = enter(t)
    refused("forbidden", room:kick "anna")
    refused("forbidden", room:ban "anna@people.example")
    refused("forbidden", room:list "outcast")
    refused("forbidden", room:config())
    refused("forbidden", room:destroy())
    refused("forbidden", room:moderate "x")
    refused("item-not-found", room:kick "nobody")
    local _, err = room:ban "@@"
    assert.equal("jid-malformed", err.condition)
  end))

  it("is refused by the room's rules", testing.around(function(t)
    local service, room = enter(t, "admin")
    service.affiliations["bert@people.example"] = "owner"
    refused("not-allowed", room:ban "bert@people.example")
    refused("not-allowed", room:set_affiliation("anna@people.example", "owner"))
  end))

  it("gets lists", testing.around(function(t)
    local _, room = enter(t, "admin")
    assert.same({ { jid = "eve@people.example", affiliation = "outcast" } }, room:list "outcast")
    assert.same({}, room:list "member")
    local moderators = room:list "moderator"
    assert.same({ "bert", "kettle" }, { moderators[1].nick, moderators[2].nick })
    assert.equal("bert@people.example/pc", moderators[1].jid)
    local answer
    t:on({ "iq", { to = TEA }, { "query", { xmlns = ADMIN } } }, function() return answer end)
    local function of(...)
      answer = { "query", { xmlns = ADMIN }, { "item", { jid = "A@People.Example", affiliation = "member" },
        { "reason", {}, "nice" } }, ... }
      return room:list "member"
    end
    assert.same({ { jid = "a@people.example", affiliation = "member", reason = "nice" } }, (of()))
    assert.equal("query.item[2].jid: an address expected",
      refused("bad-format", of { "item", { jid = "@", affiliation = "member" } }).text)
    assert.equal("query.item[2].jid: missing", refused("bad-format", of { "item", { affiliation = "member" } }).text)
    refused("bad-format", of { "item", { jid = "b@people.example", affiliation = "owner" } })
    answer = { "query", { xmlns = ADMIN }, { "item", { role = "visitor" } } }
    refused("bad-format", room:list "visitor")
    answer = { "query", { xmlns = ADMIN }, { "item", { nick = "x", role = "moderator" } } }
    refused("bad-format", room:list "visitor")
  end))

  it("retracts messages in the way that the room announces (XEP-0425)", testing.around(function(t)
    local service, room = enter(t, "admin")
    local moderated
    room:on("moderated", function(what) moderated = what end)
    local _, stanza_id = service:says("anna", "spam")
    assert.is_true(room:moderate(stanza_id, "no spam"))
    assert.same({ stanza_id = stanza_id, by = "kettle", reason = "no spam" }, moderated)
    service.moderation = false
    service:tells(104)
    refused("feature-not-implemented", room:moderate(stanza_id))
    service.more_features = { "urn:xmpp:message-moderate:0" }
    service:tells(104)
    local got
    t:on({ "iq", { to = TEA, type = "set" } }, function(x) got = x[3] return {} end)
    t:on({ "iq", { to = TEA, type = "set" } }, function(x) got = x[3] end)
    assert.is_true(room:moderate("s1", "no spam"))
    assert.same({ "apply-to", "s1" }, { got[1], got[2].id })
    assert.is_table(xexpr.find(got, { "moderate", "urn:xmpp:message-moderate:0" },
      { "retract", "urn:xmpp:message-retract:0" }))
    assert.equal("no spam", xexpr.text(xexpr.find(got, "moderate", "reason")))
  end))

  it("raises for wrong arguments", testing.around(function(t)
    local _, room = enter(t, "admin")
    raises(function() room:kick() end, "bad argument #1 to 'kick' (string expected, got nil)")
    raises(function() room:kick("anna", 5) end, "bad argument #2 to 'kick' (string expected, got number)")
    raises(function() room:ban {} end, "bad argument #1 to 'ban' (string expected, got table)")
    raises(function() room:set_role("anna", "owner") end,
      "bad argument #2 to 'set_role' (role expected, got 'owner')")
    raises(function() room:set_affiliation("a@b", "moderator") end,
      "bad argument #2 to 'set_affiliation' (affiliation expected, got 'moderator')")
    raises(function() room:list "none" end, "bad argument #1 to 'list' (affiliation or role expected, got 'none')")
    raises(function() room:list() end, "bad argument #1 to 'list' (affiliation or role expected, got nil)")
    raises(function() room:config(5) end, "bad argument #1 to 'config' (table expected, got number)")
    raises(function() room:destroy(5) end, "bad argument #1 to 'destroy' (string expected, got number)")
    raises(function() room:destroy(nil, 5) end, "bad argument #2 to 'destroy' (string expected, got number)")
    raises(function() room:moderate() end, "bad argument #1 to 'moderate' (string expected, got nil)")
    raises(function() room:invite() end, "bad argument #1 to 'invite' (string expected, got nil)")
    raises(function() room:kick("anna", "a\1") end, "bad argument #2 to 'kick' (it: U+0001, which XML 1.0 forbids)")
    raises(function() room:destroy "\255" end, "bad argument #1 to 'destroy' (it: bytes that are not UTF-8)")
    raises(function() muc.invite(t.conn, TEA, "a@b", "a\1") end,
      "bad argument #4 to 'invite' (it: U+0001, which XML 1.0 forbids)")
    raises(function() muc.invite(t.conn, TEA, "a@b", nil, { password = "\0" }) end,
      "bad option 'password' of 'invite' (it: U+0000, which XML 1.0 forbids)")
  end))
end)

describe("an owner", function()
  it("configures the room by its form", testing.around(function(t)
    local service, room = enter(t, "owner", { config = { description = "leaves" } })
    local form = assert(room:config())
    assert.equal("leaves", form.values["muc#roomconfig_roomdesc"])
    assert.is_false(form.values["muc#roomconfig_moderatedroom"])
    assert.is_true(room:config { ["muc#roomconfig_moderatedroom"] = true, ["muc#roomconfig_roomname"] = "Tea" })
    assert.same({ true, "Tea", "leaves", true }, { service.config.moderated, service.config.name,
      service.config.description, service.config.public })
    assert.is_true(room:config(function(f) return { ["muc#roomconfig_publicroom"] = not f.values.x and false } end))
    assert.is_false(service.config.public)
    assert.is_true(room:config(function() end)) -- the function has cancelled it
    assert.is_true(service.exists)
    raises(function() room:config { nonsense = true } end, "the form has no field 'nonsense'")
    raises(function() room:config { ["muc#roomconfig_whois"] = "nobody" } end,
      "bad value of field 'muc#roomconfig_whois' ('nobody' is no option)")
  end))

  it("gets an error if the answer has no form", testing.around(function(t)
    local _, room = enter(t, "owner")
    local answer
    t:on({ "iq", { to = TEA }, { "query", { xmlns = OWNER } } }, function() return answer end)
    refused("bad-format", room:config())
    answer = { "query", { xmlns = OWNER } }
    refused("bad-format", room:config { x = 1 })
  end))

  it("destroys the room, and gets the event as everybody", testing.around(function(t)
    local service, room = enter(t, "owner")
    local why
    room:on("removed", function(w) why = w end)
    assert.is_true(room:destroy("moved", "Coffee@rooms.example.net"))
    assert.is_false(service.exists)
    assert.same({ true, "moved", "coffee@rooms.example.net" }, { why.destroyed, why.reason, why.alternative })
    local _, err = room:destroy("x", "@@")
    assert.equal("jid-malformed", err.condition)
  end))
end)

describe("a room's archive", function()
  local function texts(page)
    local out = {}
    for i, m in ipairs(page) do out[i] = m.text end
    return table.concat(out, " ")
  end

  local function entered(t)
    local service, room = enter(t, nil, { occupants = { "anna" } })
    for i = 1, 7 do
      service:says("anna", tostring(i))
      t:advance(60)
    end
    return service, room
  end

  it("is read by pages, backwards and forwards", testing.around(function(t)
    local service, room = entered(t)
    local page = assert(room:history { max = 3 })
    assert.equal("5 6 7", texts(page))
    assert.same({ false, 7, service.history[5].stanza_id }, { page.complete, page.count, page.first })
    page = assert(room:history { max = 3, before = page.first })
    assert.equal("2 3 4", texts(page))
    page = assert(room:history { max = 3, before = page.first })
    assert.equal("1", texts(page))
    assert.is_true(page.complete)
    page = assert(room:history { max = 3, after = page.last })
    assert.equal("2 3 4", texts(page))
    assert.equal("3 4", texts(assert(room:history { since = 1700000120, till = 1700000180 })))
    local m = page[1]
    assert.same({ "anna", true, false, 1700000060, service.history[2].stanza_id, service.occupants.anna.id, TEA },
      { m.nick, m.history, m.own, m.stamp, m.archive_id, m.occupant_id, m.peer })
    room:say "8"
    t:expect { "message" }
    table.insert(service.history, { nick = "anna", stamp = t:now(), stanza_id = "s",
      children = { { "subject", {}, "Mine" } } })
    assert.same({}, { assert(room:history { since = t:now(), max = 1 })[1] })
    table.remove(service.history)
    assert.is_true(assert(room:history { max = 1 })[1].own)
    refused("item-not-found", room:history { before = "gone" })
  end))

  it("is accepted from the room only, for our query", testing.around(function(t)
    local _, room = entered(t)
    local heard = 0
    for _, event in ipairs { "message", "private", "status" } do room:on(event, function() heard = heard + 1 end) end
    local function result(text, from, queryid, inner_from, kind)
      local attrs = { xmlns = "urn:xmpp:mam:2", id = "x", queryid = queryid }
      return { "message", { from = from, to = ME }, { "result", attrs,
        { "forwarded", { xmlns = "urn:xmpp:forward:0" }, { "message", { xmlns = "jabber:client",
          type = kind or "groupchat", from = inner_from or TEA .. "/anna" }, { "body", {}, text } } } } }
    end
    local id
    t:on({ "iq", { type = "set" }, { "query", { xmlns = "urn:xmpp:mam:2" } } }, function(x)
      id = x[3][2].queryid
      t.server:say_stanza(result("forged", TEA .. "/anna", id))
      t.server:say_stanza(result("forged", "tea2@rooms.example.net", id))
      t.server:say_stanza(result("forged", TEA, "another"))
      t.server:say_stanza(result("forged", TEA, nil))
      t.server:say_stanza(result("forged", TEA, id, "boss@example.net/pc"))
      t.server:say_stanza(result("forged", TEA, id, TEA))
      t.server:say_stanza(result("forged", TEA, id, nil, "chat"))
      for _ = 1, 3 do t.server:say_stanza(result("said", TEA, id)) end
      return { "fin", { xmlns = "urn:xmpp:mam:2" } }
    end)
    local page = assert(room:history { max = 5 })
    assert.equal("said said said", texts(page))
    assert.is_false(page.complete)
    t:receive(result("forged", TEA, id)) -- the query is over
    assert.equal(3, #page)
    assert.equal("said said", texts(assert(room:history { max = 2 })))
    assert.equal(0, heard)
  end))

  it("returns an error for another answer", testing.around(function(t)
    local _, room = entered(t)
    local answer
    t:on({ "iq", { type = "set" }, { "query", { xmlns = "urn:xmpp:mam:2" } } }, function() return answer end)
    refused("bad-format", room:history())
    answer = { "fin", { xmlns = "urn:other" } }
    refused("bad-format", room:history())
    raises(function() room:history { max = 0 } end, "bad option 'max' of 'history' (1 to 1,000 expected)")
    raises(function() room:history { with = "x" } end, "'history' has no option 'with'")
    raises(function() room:history { before = "a", after = "b" } end,
      "options 'before' and 'after' of 'history' exclude one another")
  end))
end)

describe("inviting", function()
  it("goes through the room if we are in it", testing.around(function(t)
    local service, room = enter(t, "owner", { config = { members_only = true } })
    local id = assert(room:invite("cleo@people.example", "tea"))
    local got = t:expect { "message", { to = TEA, id = id }, { "x", { xmlns = USER },
      { "invite", { to = "cleo@people.example" }, { "reason", {}, "tea" } } } }
    assert.is_nil(got[2].type)
    assert.is_true(service.invited["cleo@people.example"])
    assert.equal("member", service.affiliations["cleo@people.example"])
    id = assert(muc.invite(t.conn, TEA, "dora@people.example"))
    t:expect { "message", { to = TEA, id = id } }
    t:cut(false)
    assert(room:invite "eve@people.example") -- useless in another session, in which we aren't in the room
    t:reconnect()
    t:advance(60)
    t:nothing()
    room:leave()
    refused("not-acceptable", room:invite "cleo@people.example")
    t.conn:stop()
    local id_of, err = muc.invite(t.conn, TEA, "cleo@people.example")
    assert.is_nil(id_of)
    assert.equal("closed", err.layer)
  end))

  it("is direct if we aren't (XEP-0249)", testing.around(function(t)
    assert(muc.invite(t.conn, "Coffee@rooms.example.net", "cleo@people.example", "coffee", { password = "beans" }))
    t:expect { "message", { to = "cleo@people.example" }, { "x", { xmlns = DIRECT, jid = "coffee@rooms.example.net",
      reason = "coffee", password = "beans" } } }
    local _, err = muc.invite(t.conn, "@@", "cleo@people.example")
    assert.equal("jid-malformed", err.condition)
    _, err = muc.invite(t.conn, TEA, "@@")
    assert.equal("jid-malformed", err.condition)
    raises(function() muc.invite(t.conn, TEA) end, "bad argument #3 to 'invite' (string expected, got nil)")
    raises(function() muc.invite(t.conn, TEA, "a@b", nil, { passwort = "x" }) end, "'invite' has no option 'passwort'")
  end))
end)

describe("information about rooms:", function()
  local INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"

  it("the list is requested from a service, or from our server's", testing.around(function(t)
    local function items(to, ...)
      local list = { ... }
      t:on({ "iq", { to = to, type = "get" }, { "query", { xmlns = ITEMS } } }, function()
        local query = { "query", { xmlns = ITEMS } }
        for _, item in ipairs(list) do query[#query + 1] = { "item", item } end
        return query
      end)
    end
    items("example.net", { jid = "rooms.example.net" })
    items("rooms.example.net", { jid = TEA, name = "Tea" }, { jid = "coffee@rooms.example.net" })
    t:on({ "iq", { to = "rooms.example.net" }, { "query", { xmlns = INFO } } }, function()
      return { "query", { xmlns = INFO }, { "identity", { category = "conference", type = "text" } } }
    end)
    assert.same({ { jid = TEA, name = "Tea" }, { jid = "coffee@rooms.example.net" } }, muc.rooms(t.conn))
    assert.equal(2, #muc.rooms(t.conn, "rooms.example.net"))
    assert.is_true(muc.rooms(t.conn, "rooms.example.net", { max = 1 }).more)
    raises(function() muc.rooms(t.conn, 5) end, "bad argument #2 to 'rooms' (string expected, got number)")
    raises(function() muc.rooms(t.conn, "x", { node = "y" }) end, "'rooms' has no option 'node'")
  end))

  it("the description is requested from a room", testing.around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Leaves", password = "secret",
      config = { name = "Tea", description = "and cake", members_only = true } })
    local info = assert(muc.info(t.conn, TEA .. "/anna"))
    info.features = nil
    assert.same({ jid = TEA, name = "Tea", description = "and cake", subject = "Leaves", occupants = 1, password = true,
      members_only = true, moderated = false, hidden = false, persistent = true, anonymous = true }, info)
    t:room("none@rooms.example.net", { exists = false })
    refused("item-not-found", muc.info(t.conn, "none@rooms.example.net"))
    local _, err = muc.info(t.conn, "@@")
    assert.equal("jid-malformed", err.condition)
  end))

  it("a nick is registered", testing.around(function(t)
    local service = t:room(TEA, {})
    local form = assert(muc.register(t.conn, TEA))
    assert.is_false(form.registered)
    assert.is_true(form.fields[1].required)
    assert.is_true(muc.register(t.conn, TEA, "kettle"))
    assert.same({ ["bot@example.net"] = "kettle" }, service.registered)
    assert.equal("member", service.affiliations["bot@example.net"])
    assert.is_true(muc.register(t.conn, TEA).registered)
    service.registered = { ["anna@people.example"] = "pot" }
    refused("conflict", muc.register(t.conn, TEA, { ["muc#register_roomnick"] = "pot" }))
    raises(function() muc.register(t.conn, TEA, { nick = "x" }) end, "the form has no field 'nick'")
  end))

  it("a form without a field for a nick is an error of the room's", testing.around(function(t)
    t:on({ "iq", { to = TEA, type = "get" }, { "query", { xmlns = "jabber:iq:register" } } }, function()
      return { "query", { xmlns = "jabber:iq:register" }, { "x", { xmlns = "jabber:x:data", type = "form" } } }
    end)
    local _, err = muc.register(t.conn, TEA, "kettle")
    assert.same({ "bad-format", "query.x: the form has no field 'muc#register_roomnick'" }, { err.condition, err.text })
  end))

  it("a number of occupants is a whole number, if there is one", testing.around(function(t)
    local said
    t:on({ "iq", { to = TEA, type = "get" } }, function()
      return { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
        { "identity", { category = "conference", type = "text" } },
        { "x", { xmlns = "jabber:x:data", type = "result" },
          { "field", { var = "FORM_TYPE", type = "hidden" },
            { "value", {}, "http://jabber.org/protocol/muc#roominfo" } },
          { "field", { var = "muc#roominfo_occupants" }, { "value", {}, said } } } }
    end)
    for text, number in pairs { ["12"] = 12, ["1e400"] = false, ["0x10"] = false, ["-1"] = false, nan = false,
      inf = false, ["1.5"] = false, [("9"):rep(400)] = false } do
      said = text
      assert.equal(number or nil, assert(muc.info(t.conn, TEA)).occupants, text)
    end
  end))
end)

describe("an invitation", function()
  local function listen(t, opts)
    local seen = {}
    local m = muc.use(t.conn, opts)
    m:on("invite", function(inv) seen[#seen + 1] = inv end)
    return seen, m
  end

  local function mediated(from, attrs, ...)
    return { "message", { from = from, to = ME }, { "x", { xmlns = USER }, { "invite", attrs or {},
      { "reason", {}, "tea" } }, ... } }
  end

  it("is passed on by the room", testing.around(function(t)
    local seen, service = listen(t), t:room(TEA, { password = "secret" })
    service:invites("Anna@People.Example/pc", "tea")
    local inv = { room = TEA, from = "anna@people.example/pc", reason = "tea", password = "secret", direct = false }
    assert.same({ inv }, seen)
  end))

  it("is ignored from an occupant, a client, a service, or in an error", testing.around(function(t)
    local seen = listen(t)
    t:receive(mediated(TEA .. "/anna", { from = "boss@example.net" }))
    t:receive(mediated("mallory@evil.example/pc", { from = "boss@example.net" }))
    t:receive(mediated("rooms.example.net"))
    local x = mediated(TEA)
    x[2].type = "error"
    t:receive(x)
    x[2].type = "groupchat"
    t:receive(x)
    x[2].type, x[3] = nil, { "x", { xmlns = USER }, { "invite", { xmlns = "urn:other" } } }
    t:receive(x)
    assert.same({}, seen)
  end))

  it("may be direct from anybody, who is named", testing.around(function(t)
    local seen = listen(t)
    t:receive { "message", { from = "anna@people.example/pc", to = ME }, { "body", {}, "come!" },
      { "x", { xmlns = DIRECT, jid = "Tea@rooms.example.net", reason = "tea", password = "secret" } } }
    assert.same({ { room = TEA, from = "anna@people.example/pc", reason = "tea", password = "secret", direct = true } },
      seen)
    for _, jid in ipairs { "@@", "rooms.example.net", TEA .. "/anna" } do
      t:receive { "message", { from = "anna@people.example/pc", to = ME }, { "x", { xmlns = DIRECT, jid = jid } } }
    end
    t:receive { "message", { from = "anna@people.example/pc", to = ME }, { "x", { xmlns = DIRECT } } }
    assert.equal(1, #seen)
  end))

  it("in both forms at once is one, with its time", testing.around(function(t)
    local seen = listen(t)
    local x = mediated(TEA, { from = "anna@people.example" })
    x[4] = { "x", { xmlns = DIRECT, jid = "other@rooms.example.net" } }
    x[5] = { "delay", { xmlns = "urn:xmpp:delay", stamp = "2023-11-14T00:00:00Z" } }
    t:receive(x)
    assert.same({ { room = TEA, from = "anna@people.example", reason = "tea", direct = false, stamp = 1699920000 } },
      seen)
  end))

  it("isn't a message for chat", testing.around(function(t)
    local seen, heard = listen(t), 0
    require "xmpp.chat".use(t.conn):on("message", function() heard = heard + 1 end)
    local service = t:room(TEA, { occupants = { "anna" } })
    service:invites("anna@people.example", "tea")
    t:receive { "message", { from = "anna@people.example/pc", to = ME, type = "chat" }, { "body", {}, "come!" },
      { "x", { xmlns = DIRECT, jid = TEA } } }
    assert.equal(2, #seen)
    assert(muc.join(t.conn, TEA, "kettle"))
    service:says("anna", "hi")
    service:whispers("anna", "psst")
    assert.equal(0, heard)
    t:receive { "message", { from = "anna@people.example/pc", to = ME, type = "chat" }, { "body", {}, "hello" } }
    assert.equal(1, heard)
  end))

  it("is accepted only with option accept", testing.around(function(t)
    local service = t:room(TEA, { password = "secret" })
    local seen, m = listen(t)
    service:invites("anna@people.example", "tea")
    assert.equal(1, #seen)
    assert.same({}, m.rooms)
    assert.is_nil(service.occupants.bot)
  end))

  for _, case in ipairs { { true, "bot" }, { "pot", "pot" } } do
    it("is accepted as " .. case[2], testing.around(function(t)
      local service = t:room(TEA, { password = "secret" })
      local _, m = listen(t, { accept = function(inv) return inv.from == "anna@people.example" and case[1] end })
      service:invites "mallory@people.example"
      assert.same({}, m.rooms)
      service:invites "anna@people.example"
      assert.is_table(service.occupants[case[2]])
      assert.is_true(m.rooms[TEA].joined)
      service:invites "anna@people.example" -- we are in the room already
      assert.is_table(service.occupants[case[2]])
    end))
  end

  it("that can't be followed is reported, without its password", testing.around(function(t)
    t:room(TEA, { password = "another" })
    local _, m = listen(t, { accept = function() return true end })
    local refusal
    m:on("refused", function(inv, err) refusal = { inv.room, err.condition, tostring(err) } end)
    t:receive(mediated(TEA, {}, { "password", {}, "s3cr3t" }))
    assert.same({ TEA, "not-authorized" }, { refusal[1], refusal[2] })
    assert.is_nil(refusal[3]:find("s3cr3t", 1, true))
  end))

  it("is reported if `accept` throws", testing.around(function(t)
    local seen = listen(t, { accept = function() error "mine" end })
    t:receive(mediated(TEA))
    assert.equal(1, #seen)
    assert.is_truthy(t:take_errors()[1]:find "mine")
  end))
end)

describe("muc.use", function()
  it("accepts option accept, a function, and no other", testing.around(function(t)
    assert.is_false((pcall(muc.use, t.conn, { acept = true })))
    assert.is_false((pcall(muc.use, t.conn, { accept = true })))
    assert.is_table(muc.use(t.conn))
  end))
end)
