-- A gateway (XEP-0100): virtual users, their presence, registration (XEP-0077), and who can act for whom.
local ext = require "xmpp.ext"
local gateway = require "xmpp.gateway"
local iq = require "xmpp.iq"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local IRC, BOB, EVE = "irc.example.net", "bob@example.net", "eve@evil.example"
local REGISTER, INFO = "jabber:iq:register", "http://jabber.org/protocol/disco#info"
local FORM = { instructions = "Who are you there?", fields = { { var = "nick", required = true },
  { var = "password", kind = "text-private" } } }

local function around(f) return testing.around(f, { component = IRC }) end

-- Somebody sends this stanza to an address of the gateway's. Returns what is sent in answer.
local function says(t, x, from, to)
  x[2].from, x[2].to = from, to or IRC
  t:receive(x)
  return t:sent()
end

local asked = 0

local function asks(t, kind, payload, from, to)
  asked = asked + 1
  local answer = says(t, { "iq", { type = kind, id = "q" .. asked }, payload }, from, to)
  for i, x in ipairs(answer) do
    if x[1] == "iq" then
      table.remove(answer, i)
      assert.equal(1, i) -- before what follows from it (XEP-0100 4.1.1)
      assert.equal("q" .. asked, x[2].id)
      assert.equal(to or IRC, x[2].from)
      return x, answer
    end
  end
  error "no answer"
end

local function condition(x) return (xexpr.error(x) or {}).condition end

local function presences(list)
  local out = {}
  for i, x in ipairs(list) do
    assert.equal("presence", x[1])
    out[i] = ("%s %s > %s"):format(x[2].type or "available", x[2].from, x[2].to)
  end
  return out
end

local function submit(nick, password)
  return { "query", { xmlns = REGISTER }, { "x", { xmlns = "jabber:x:data", type = "submit" },
    { "field", { var = "nick" }, { "value", {}, nick } },
    { "field", { var = "password" }, { "value", {}, password } } } }
end

local function register(t, person) return asks(t, "set", submit("n", "p"), person or BOB .. "/pc") end

describe("a virtual user", function()
  it("sends messages, under a name that is escaped", around(function(t)
    local g = gateway.use(t.conn, { name = "IRC", type = "irc" })
    local user = assert(g:user "d'artagnan")
    assert.same({ "d'artagnan", [[d\27artagnan@irc.example.net]] }, { user.name, user.jid })
    assert.equal(user, g:user "D'Artagnan") -- an address has only lower case
    local id = assert(user:message(BOB, { text = "en garde", hints = { "no-store" } }))
    t:expect { "message", { from = user.jid, to = BOB, type = "chat", id = id }, { "body", {}, "en garde" },
      { "no-store", { xmlns = "urn:xmpp:hints" } } }
    assert.is_nil((g:user " x"))
    assert.is_nil((user:message("@@", "x")))
    assert.is_true(user:subscribe(BOB, "I'm new"))
    t:expect { "presence", { type = "subscribe", from = user.jid, to = BOB }, { "status", {}, "I'm new" } }
  end))

  it("gets what is written to it", around(function(t)
    local g, heard = gateway.use(t.conn), {}
    local anna = g:user "anna"
    g:on("message", function(person, user, m) heard[#heard + 1] = { person, user, m.text, m.from } end)
    assert.same({}, says(t, { "message", { type = "chat", id = "1" }, { "body", {}, "hi" } }, BOB .. "/pc",
      "Anna@irc.example.net/x"))
    assert.same({ { BOB, anna, "hi", BOB .. "/pc" } }, heard)
    says(t, { "message", { type = "chat" }, { "composing", { xmlns = "http://jabber.org/protocol/chatstates" } } },
      BOB .. "/pc", anna.jid)
    says(t, { "message", { type = "groupchat" }, { "body", {}, "to all" } }, "tea@rooms.example.net/x", anna.jid)
    assert.equal(1, #heard)
    local answer = says(t, { "message", { type = "chat", id = "2" }, { "body", {}, "hi" } }, BOB .. "/pc",
      "nobody@irc.example.net")
    assert.same({ "item-not-found", "2" }, { condition(answer[1]), answer[1][2].id })
  end))

  it("gets errors for what it has sent, and doesn't answer errors", around(function(t)
    local g, told = gateway.use(t.conn), nil
    local anna = g:user "anna"
    g:on("error", function(person, user, err, id) told = { person, user, err.condition, id } end)
    local x = xexpr.error_reply({ "message", { id = "1", from = "a@b" }, { "body", {}, "x" } }, "cancel",
      "service-unavailable")
    assert.same({}, says(t, x, BOB, anna.jid))
    assert.same({ BOB, anna, "service-unavailable", "1" }, told)
    assert.same({}, says(t, x, BOB, "nobody@irc.example.net"))
  end))

  it("never gets anything from its own domain", around(function(t)
    local g, heard = gateway.use(t.conn, { version = { name = "gw", version = "1" } }), 0
    local anna = g:user "anna"
    for _, event in ipairs { "message", "presence", "subscribe", "error" } do
      g:on(event, function() heard = heard + 1 end)
    end
    t.conn:set_callback(function() heard = heard + 1 end, { name = "message" })
    for _, from in ipairs { "bert@irc.example.net", "BERT@IRC.example.net/x", IRC } do
      assert.same({}, says(t, { "message", { type = "chat" }, { "body", {}, "loop" } }, from, anna.jid))
      assert.same({}, says(t, { "message", { type = "chat" }, { "body", {}, "loop" } }, from, "no@irc.example.net"))
      for _, kind in ipairs { "subscribe", "probe", "unsubscribe" } do
        assert.same({}, says(t, { "presence", { type = kind } }, from, anna.jid))
      end
      assert.same({}, says(t, { "presence", {} }, from, IRC))
      local answer = says(t, { "iq", { type = "get", id = "x" }, { "query", { xmlns = INFO } } }, from, anna.jid)
      assert.equal("service-unavailable", condition(answer[1])) -- an error is the final answer
    end
    assert.equal(0, heard)
  end))

  it("is found by disco and has a version; an unknown one isn't", around(function(t)
    local g = gateway.use(t.conn, { name = "The IRC", type = "irc", version = { name = "gw", version = "1" } })
    local anna = g:user "anna"
    local version = { "query", { xmlns = "jabber:iq:version" } }
    local x = asks(t, "get", { "query", { xmlns = INFO } }, BOB)
    assert.truthy(xexpr.match({ "iq", {}, { "query", {}, { "identity", { category = "gateway", type = "irc",
      name = "The IRC" } } } })(x))
    x = asks(t, "get", { "query", { xmlns = INFO } }, BOB, anna.jid)
    assert.truthy(xexpr.match({ "iq", {}, { "query", {}, { "identity", { category = "client", name = "anna" } } } })(x))
    assert.equal("gw", xexpr.text(xexpr.find(asks(t, "get", version, BOB, anna.jid), "query", "name")))
    iq.serve(t.conn, "get", "urn:x", function() return true end)
    for _, payload in ipairs { { "query", { xmlns = INFO } }, version, { "q", { xmlns = "urn:x" } },
      { "q", { xmlns = "urn:y" } }, { "ping", { xmlns = "urn:xmpp:ping" } } } do
      assert.equal("item-not-found", condition(asks(t, "get", payload, BOB, "no@irc.example.net")))
      assert.equal("item-not-found", condition(asks(t, "set", payload, BOB, "no@irc.example.net/x")))
    end
    t:receive("<iq type='get' from='" .. BOB .. "' to='no@irc.example.net'><q xmlns='urn:x'/></iq>") -- without an id
    t:expect { "iq", { type = "error", id = "", to = BOB } }
    assert.equal("result", asks(t, "get", { "q", { xmlns = "urn:x" } }, BOB, anna.jid)[2].type)
    anna:remove()
    assert.equal("item-not-found", condition(asks(t, "get", version, BOB, anna.jid)))
    assert.is_true(ext.drop(t.conn, gateway))
    assert.equal("result", asks(t, "get", { "q", { xmlns = "urn:x" } }, BOB, anna.jid)[2].type)
  end))

  it("may exist for a sender before the program makes it", around(function(t)
    local g, heard = gateway.use(t.conn, { register = FORM, max_users = 2,
      known = function(name) return name:find "^known" ~= nil end }), {}
    g:on("message", function(_, user, m) heard[#heard + 1] = user.name .. ": " .. m.text end)
    local function write(from, to)
      return condition(says(t, { "message", { type = "chat" }, { "body", {}, "hi" } }, from, to .. "@" .. IRC)[1])
    end
    assert.equal("registration-required", write(EVE, "known1"))
    assert.is_nil(g.users["known1"])
    register(t)
    assert.is_nil(write(BOB, [[known\20one]]))
    assert.equal("item-not-found", write(BOB, "other"))
    assert.is_nil(write(BOB, "known2"))
    assert.equal("item-not-found", write(BOB, "known3")) -- the limit is reached
    assert.same({ "known one: hi", "known2: hi" }, heard)
    g.users.known2:remove()
    says(t, { "presence", {} }, BOB, "known4@" .. IRC) -- only addresses somebody: it makes no user
    assert.is_nil(g.users.known4)
    says(t, { "presence", { type = "subscribe" } }, BOB, "known4@" .. IRC)
    assert.equal("known4", g.users.known4.name)
    local user, err = g:user "x"
    assert.same({ nil, "limit" }, { user, err.layer })
  end))

  it("has an avatar, as far as a component can", around(function(t)
    local g = gateway.use(t.conn)
    local anna, bytes = g:user "anna", "\137PNG and so on"
    anna:presence {}
    says(t, { "presence", { type = "subscribe" } }, BOB, anna.jid)
    anna:avatar(bytes)
    local sent = t:sent()
    local hash = anna.avatar_hash
    assert.equal(40, #hash)
    assert.equal(hash, xexpr.text(xexpr.find(sent[1], { "x", "vcard-temp:x:update" }, "photo")))
    local metadata = xexpr.find(sent[2], { "event", "http://jabber.org/protocol/pubsub#event" }, "items", "item",
      { "metadata", "urn:xmpp:avatar:metadata" }, "info")
    assert.same({ id = hash, type = "image/png", bytes = tostring(#bytes) }, metadata[2])
    local x = asks(t, "get", { "pubsub", { xmlns = "http://jabber.org/protocol/pubsub" },
      { "items", { node = "urn:xmpp:avatar:data" } } }, BOB, anna.jid)
    local base64 = xexpr.text(xexpr.find(x, "pubsub", "items", "item", "data"))
    assert.equal(base64, xexpr.text(xexpr.find(asks(t, "get", { "vCard", { xmlns = "vcard-temp" } }, BOB, anna.jid),
      "vCard", "PHOTO", "BINVAL")))
    anna:avatar(nil)
    sent = t:sent()
    assert.is_nil(xexpr.find(sent[1], { "x", "vcard-temp:x:update" }))
    assert.equal("item-not-found", condition(asks(t, "get", { "pubsub", { xmlns = "http://jabber.org/protocol/pubsub" },
      { "items", { node = "urn:xmpp:avatar:data" } } }, BOB, anna.jid)))
    assert.has_error(function() anna:avatar(("x"):rep(65537)) end)
    assert.has_error(function() anna:avatar("x", { kind = "image/png" }) end,
      "'avatar' has no option 'kind'")
  end))
end)

describe("presence", function()
  it("goes to all who have subscribed, and answers probes", around(function(t)
    local g, told = gateway.use(t.conn, { approve = function(person) return person ~= EVE end }), {}
    local anna = g:user "anna"
    for _, event in ipairs { "subscribe", "unsubscribe", "probe" } do
      g:on(event, function(person, user) told[#told + 1] = event .. " " .. person .. " " .. user.name end)
    end
    local function presence(kind, from, to) return presences(says(t, { "presence", { type = kind } }, from, to)) end
    assert.same({ "subscribed anna@irc.example.net > bob@example.net",
      "unavailable anna@irc.example.net > bob@example.net" }, presence("subscribe", BOB .. "/pc", anna.jid))
    presence("subscribe", "carol@example.net", anna.jid)
    local refused = { "unsubscribed anna@irc.example.net > eve@evil.example" }
    assert.same(refused, presence("subscribe", EVE .. "/x", anna.jid))
    assert.same({ "unsubscribed no@irc.example.net > bob@example.net" },
      presence("subscribe", BOB, "no@irc.example.net"))
    anna:presence { show = "away", status = "tea" }
    local sent = t:sent()
    assert.same({ "available anna@irc.example.net > bob@example.net",
      "available anna@irc.example.net > carol@example.net" }, presences(sent))
    assert.same({ "away", "tea" }, { xexpr.text(sent[1], "show"), xexpr.text(sent[1], "status") })
    assert.same({ "available anna@irc.example.net > bob@example.net/pc" }, presence("probe", BOB .. "/pc", anna.jid))
    assert.same(refused, presence("probe", EVE .. "/x", anna.jid))
    assert.same({ "unsubscribed anna@irc.example.net > bob@example.net" }, presence("unsubscribe", BOB, anna.jid))
    anna:presence { type = "unavailable", status = "gone" }
    assert.same({ "unavailable anna@irc.example.net > carol@example.net" }, presences(t:sent()))
    assert.same({ "unavailable anna@irc.example.net > carol@example.net/x" },
      presence("probe", "carol@example.net/x", anna.jid))
    assert.same({ "subscribe bob@example.net anna", "subscribe carol@example.net anna", "probe bob@example.net anna",
      "unsubscribe bob@example.net anna", "probe carol@example.net anna" }, told)
    assert.has_error(function() anna:presence { type = "subscribe" } end)
  end))

  it("of somebody who comes online is answered by that of all his virtual contacts", around(function(t)
    local g, told = gateway.use(t.conn), {}
    g:on("presence", function(jid, p, user)
      told[#told + 1] = jid .. " " .. (p.type or "here") .. (user and "!" or "")
    end)
    for _, name in ipairs { "anna", "bert", "carl" } do
      local user = g:user(name)
      if name ~= "bert" then user:presence {} end
      if name ~= "carl" then says(t, { "presence", { type = "subscribe" } }, BOB, user.jid) end
    end
    t:sent()
    assert.same({ "available irc.example.net > bob@example.net/pc",
      "available anna@irc.example.net > bob@example.net/pc" },
      presences(says(t, { "presence", {} }, BOB .. "/pc")))
    assert.same({}, says(t, { "presence", {}, { "show", {}, "away" } }, BOB .. "/pc"))
    assert.same({ "unavailable irc.example.net > bob@example.net/pc" },
      presences(says(t, { "presence", { type = "unavailable" } }, BOB .. "/pc")))
    says(t, { "presence", {} }, BOB .. "/pc", "anna@" .. IRC)
    assert.same({ "bob@example.net/pc here", "bob@example.net/pc here", "bob@example.net/pc unavailable",
      "bob@example.net/pc here!" }, told)
  end))

  it("is probed, and sent, again in a new session", around(function(t)
    local g = gateway.use(t.conn, { register = FORM })
    local anna = g:user "anna"
    anna:presence {}
    register(t)
    says(t, { "presence", { type = "subscribe" } }, BOB, anna.jid)
    says(t, { "presence", {} }, BOB .. "/pc")
    assert.is_table(g.online[BOB])
    t:reconnect { new = true }
    t:expect { "presence", { type = "probe", from = IRC, to = BOB } }
    assert.same({}, g.online)
    assert.same({ "available irc.example.net > bob@example.net/pc",
      "available anna@irc.example.net > bob@example.net/pc" }, presences(says(t, { "presence", {} }, BOB .. "/pc")))
  end))

  it("of strangers isn't stored", around(function(t)
    local g = gateway.use(t.conn, { max_people = 3 })
    for i = 1, 10 do
      says(t, { "presence", {} }, ("p%d@example.net/x"):format(i))
      for j = 1, 70 do says(t, { "presence", {} }, ("p1@example.net/%d"):format(j)) end
    end
    local n, resources = 0, 0
    for _ in pairs(g.online) do n = n + 1 end
    for _ in pairs(g.online["p1@example.net"]) do resources = resources + 1 end
    assert.same({ 3, 64 }, { n, resources })
    local anna = g:user "anna"
    for i = 1, 10 do says(t, { "presence", { type = "subscribe" } }, ("p%d@example.net"):format(i), anna.jid) end
    assert.equal(3, g.n_people)
  end))
end)

describe("registration", function()
  it("takes a form, or its elements, and never shows a password again", around(function(t)
    local g, told = gateway.use(t.conn, { register = FORM }), {}
    for _, event in ipairs { "register", "unregister" } do
      g:on(event, function(person, values) told[#told + 1] = { event, person, values.nick, values.password } end)
    end
    local x = asks(t, "get", { "query", { xmlns = REGISTER } }, BOB .. "/pc")
    local query = x[3]
    assert.is_nil(xexpr.child(query, "registered", REGISTER))
    assert.same({ "Who are you there?", "" }, { xexpr.text(query, "instructions", REGISTER), xexpr.text(query, "nick",
      REGISTER) })
    local rest
    x, rest = asks(t, "set", submit("bobby", "s3cret"), BOB .. "/pc")
    assert.equal("result", x[2].type)
    assert.same({ "subscribe irc.example.net > bob@example.net" }, presences(rest))
    query = asks(t, "get", { "query", { xmlns = REGISTER } }, BOB .. "/phone")[3]
    assert.is_table(xexpr.child(query, "registered", REGISTER))
    assert.equal("bobby", xexpr.text(query, "nick", REGISTER))
    assert.is_nil(xexpr.to_xml(query):find("s3cret", 1, true))
    asks(t, "set", { "query", { xmlns = REGISTER }, { "nick", {}, "carolina" }, { "password", {}, "pw" } },
      "carol@example.net/x")
    assert.equal("bad-request", condition(asks(t, "set", submit("", "x"), EVE)))
    assert.equal("bad-request", condition(asks(t, "set", { "query", { xmlns = REGISTER } }, EVE)))
    query = asks(t, "get", { "query", { xmlns = REGISTER } }, EVE)[3]
    assert.is_nil(xexpr.to_xml(query):find("bobby", 1, true))
    assert.same({ { "register", BOB, "bobby", "s3cret" }, { "register", "carol@example.net", "carolina", "pw" } }, told)
  end))

  it("is required before anything else", around(function(t)
    local g = gateway.use(t.conn, { register = FORM })
    local anna = g:user "anna"
    anna:presence {}
    local function subscribes(from, to)
      return presences(says(t, { "presence", { type = "subscribe" } }, from, to))[1]
    end
    assert.equal("unsubscribed anna@irc.example.net > eve@evil.example", subscribes(EVE, anna.jid))
    assert.equal("unsubscribed irc.example.net > eve@evil.example", subscribes(EVE, IRC))
    assert.same({}, says(t, { "presence", {} }, EVE .. "/x"))
    assert.is_nil(next(g.online))
    register(t)
    assert.equal("subscribed irc.example.net > bob@example.net", subscribes(BOB, IRC))
    assert.equal("subscribed anna@irc.example.net > bob@example.net", subscribes(BOB, anna.jid))
    assert.same({ "available irc.example.net > bob@example.net/x",
      "available anna@irc.example.net > bob@example.net/x" },
      presences(says(t, { "presence", {} }, BOB .. "/x")))
  end))

  it("can be cancelled, which ends all subscriptions", around(function(t)
    local g, told = gateway.use(t.conn, { register = FORM }), nil
    local anna = g:user "anna"
    g:on("unregister", function(person, values) told = { person, values.nick } end)
    local remove = { "query", { xmlns = REGISTER }, { "remove" } }
    assert.equal("registration-required", condition(asks(t, "set", remove, EVE)))
    register(t)
    says(t, { "presence", { type = "subscribe" } }, BOB, anna.jid)
    says(t, { "presence", {} }, BOB .. "/pc")
    local x, rest = asks(t, "set", remove, BOB .. "/phone")
    assert.equal("result", x[2].type)
    local out = {}
    for _, from in ipairs { anna.jid, IRC } do
      for _, kind in ipairs { "unavailable", "unsubscribe", "unsubscribed" } do
        out[#out + 1] = ("%s %s > %s"):format(kind, from, BOB)
      end
    end
    assert.same(out, presences(rest))
    assert.same({ BOB, "n" }, told)
    anna:presence { show = "away" }
    t:nothing()
    assert.same({ {}, 0 }, { g.online, g.n_people })
    assert.equal("registration-required", condition(says(t, { "message", { id = "1" }, { "body", {}, "x" } }, BOB,
      anna.jid)[1]))
  end))

  it("is for those whom the program accepts, and says why not", around(function(t)
    gateway.use(t.conn, { register = FORM, max_people = 1, allow = function(person) return person ~= EVE end,
      check = function(_, values)
        xmpp.sleep(0)
        if values.nick == "root" then return nil, "no root" end
        if values.nick == "bad" then error "s3cret" end
        return true
      end })
    local function try(nick, from) return condition(asks(t, "set", submit(nick, "x"), from)) end
    assert.equal("forbidden", try("eve", EVE))
    local x = asks(t, "set", submit("root", "x"), BOB)
    assert.same({ "not-acceptable", "no root" }, { condition(x), xexpr.error(x).text })
    assert.equal("internal-server-error", try("bad", BOB))
    assert.matches("s3cret", t:take_errors()[1])
    assert.is_nil(try("bob", BOB))
    assert.equal("resource-constraint", try("carol", "carol@example.net"))
    assert.is_nil(try("bobby", BOB))
  end))

  it("is stored by the program, and loaded at the beginning", around(function(t)
    local by = { [BOB] = { fields = { nick = "bob" }, contacts = { anna = true } } }
    local store = { get = function(person) xmpp.sleep(0) return by[person] end,
      set = function(person, data) xmpp.sleep(0) by[person] = data return true end,
      each = function(f) f(BOB) end }
    local g = gateway.use(t.conn, { register = FORM, store = store })
    t:expect { "presence", { type = "probe", from = IRC, to = BOB } }
    local anna = g:user "anna"
    anna:presence {}
    t:expect { "presence", { from = anna.jid, to = BOB } }
    for i = 1, 5 do
      t.server:say_stanza { "presence", { type = "subscribe", from = BOB, to = g:user("u" .. i).jid } }
    end
    t:advance(1)
    t:sent()
    assert.same({ anna = true, u1 = true, u2 = true, u3 = true, u4 = true, u5 = true }, by[BOB].contacts)
    t.server:say_stanza { "presence", { type = "unsubscribe", from = BOB, to = "u5@" .. IRC } }
    t.server:say_stanza { "iq", { type = "set", id = "again", from = BOB, to = IRC }, submit("bobby", "") }
    t:advance(1)
    t:sent()
    assert.same({ "bobby", nil }, { by[BOB].fields.nick, by[BOB].contacts.u5 }) -- neither has overwritten the other
    store.set = function() return nil, "disk full" end
    assert.equal("internal-server-error", condition(asks(t, "set", submit("x", "y"), BOB)))
    local answer = says(t, { "presence", { type = "subscribe" } }, BOB, g:user("u6").jid)
    assert.same({ "unsubscribed u6@irc.example.net > bob@example.net" }, presences(answer))
    store.get = function() return "nonsense" end
    assert.equal("registration-required", condition(says(t, { "message", { id = "1" }, { "body", {}, "x" } }, BOB,
      anna.jid)[1]))
  end))
end)

describe("a gateway", function()
  it("gives the address for a name (XEP-0100 6.3)", around(function(t)
    gateway.use(t.conn, { prompt = "Nick?" })
    local NS = "jabber:iq:gateway"
    assert.equal("Nick?", xexpr.text(asks(t, "get", { "query", { xmlns = NS } }, BOB)[3], "prompt", NS))
    local x = asks(t, "set", { "query", { xmlns = NS }, { "prompt", {}, "a b" } }, BOB)
    assert.equal([[a\20b@irc.example.net]], xexpr.text(x[3], "jid", NS))
    assert.equal("jid-malformed", condition(asks(t, "set", { "query", { xmlns = NS }, { "prompt", {}, "" } }, BOB)))
  end))

  it("needs a component, and known options", function()
    local function fails(text, opts, o)
      testing.around(function(t)
        local ok, why = pcall(gateway.use, t.conn, opts)
        assert.is_false(ok)
        assert.truthy(why:find(text, 1, true), why)
      end, o or { component = IRC })()
    end
    fails("a gateway is a component", {}, {})
    fails("there is no option 'nmae'", { nmae = "x" })
    fails("bad option 'max_users' (number expected, got string)", { max_users = "1" })
    fails("bad option 'store' (it has no function 'each')", { store = { get = print, set = print } })
    fails("bad field 1", { register = { fields = { {} } } })
  end)

  it("does nothing more when the connection is closed", around(function(t)
    local g = gateway.use(t.conn)
    local anna = g:user "anna"
    t.conn:stop()
    local _, err = anna:message(BOB, "x")
    assert.equal("closed", err.layer)
    _, err = anna:presence {}
    assert.equal("closed", err.layer)
    _, err = g:user "bert"
    assert.equal("closed", err.layer)
  end))
end)
