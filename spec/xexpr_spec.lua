-- xexpr: every function and every refusal in lua/xmpp/xexpr.lua.

local luas = require "spec.support.luas"
local stage = require "spec.support.stage"
local xexpr = require "xmpp.xexpr"

local refuses = stage.refuses

local STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
local XML, XMLNS = "{http://www.w3.org/XML/1998/namespace}", "http://www.w3.org/2000/xmlns/"
local EURO, SNOWMAN = "\226\130\172", "\226\152\131"

-- A new one for each test, in case a test changes it.
local function roster()
  return { "iq", { type = "result", id = "r1", to = "a@example.net/x" },
    "\n",
    { "query", { xmlns = "jabber:iq:roster", ver = "7" },
      { "item", { jid = "b@example.net" }, { "group", {}, "Friends" } },
      " and ",
      { "item", { jid = "c@example.net" } },
      { "note", { xmlns = "urn:example:note" }, "one", { "b", {}, "two" }, "three" } } }
end

local function copy(v)
  if type(v) ~= "table" then return v end
  local out = {}
  for key, inner in pairs(v) do out[key] = copy(inner) end
  return out
end

local function nested(depth)
  local x = { "a", {} }
  for _ = 2, depth do x = { "a", {}, x } end
  return x
end

describe("find", function()
  local EVENT = "urn:example:event"

  local function message()
    return { "message", {}, { "event", { xmlns = "urn:example:other" }, { "items", {}, "not these" } }, "text",
      { "event", { xmlns = EVENT }, { "delay" } },
      { "event", { xmlns = EVENT }, { "items", { node = "a" }, { "item", { id = "1" } },
        { "item", { id = "2" }, { "entry", { xmlns = "urn:example:entry" }, "Hi" } } } } }
  end

  it("follows names, and namespaces if they are given", function()
    local m = message()
    assert.equal("1", xexpr.find(m, { "event", EVENT }, "items", "item")[2].id)
    assert.equal(m[6][3], xexpr.find(m, { "event", EVENT }, { "items", EVENT }))
    assert.equal(m[3], xexpr.find(m, "event"))
    assert.equal(m[3][3], xexpr.find(m, "event", "items"))
    assert.equal("Hi", xexpr.text(xexpr.find(m, { "event" }, "items", "item", { "entry", "urn:example:entry" })))
    assert.equal(m, xexpr.find(m))
    assert.equal(m[6][3], xexpr.find(m[6], "items"))
  end)

  it("returns nil if nothing matches the path", function()
    local m = message()
    assert.is_nil(xexpr.find(m, "nothing"))
    assert.is_nil(xexpr.find(m, "event", "items", "item", "item"))
    assert.is_nil(xexpr.find(m, { "event", "jabber:client" }))
    assert.is_nil(xexpr.find(m, { "event", EVENT }, { "items", "jabber:client" }))
    assert.is_nil(xexpr.find({ "a" }, "a"))
    assert.is_nil(xexpr.find(nil, "a"))
    assert.is_nil(xexpr.find(nil))
  end)

  it("goes back and tries the next sibling, and each only once", function()
    local function tree(depth)
      if depth == 0 then return { "a" } end
      return { "a", {}, tree(depth - 1), tree(depth - 1) }
    end
    local path = {}
    for i = 1, 13 do path[i] = "a" end
    local begun = os.clock()
    assert.is_nil(xexpr.find(tree(12), (table.unpack or unpack)(path))) -- luacheck: ignore
    assert.is_true(os.clock() - begun < 5)
  end)

  it("refuses invalid steps", function()
    refuses("bad argument #1 to 'find' (element expected, got string)", function() xexpr.find("a", "b") end)
    refuses("bad argument #2 to 'find' (name or { name, xmlns } expected, got number)",
      function() xexpr.find({ "a" }, 5) end)
    refuses("bad argument #3 to 'find' (name or { name, xmlns } expected, got table)",
      function() xexpr.find({ "a" }, "b", { "c", 5 }) end)
    refuses("bad argument #3 to 'find' (name or { name, xmlns } expected, got nil)",
      function() xexpr.find(nil, "b", nil) end)
    refuses("bad argument #2 to 'find' (name or { name, xmlns } expected, got table)",
      function() xexpr.find({ "a" }, {}) end)
  end)
end)

describe("error", function()
  local function stanza(...) return { "iq", { type = "error", id = "1" }, { "query", { xmlns = "urn:q" } }, ... } end

  it("returns what an error stanza says", function()
    assert.same({ condition = "conflict", type = "modify", text = "taken", app = "too-late", by = "room@x.test" },
      xexpr.error(stanza { "error", { type = "modify", by = "room@x.test" }, { "conflict", { xmlns = STANZAS } },
        { "text", { xmlns = STANZAS, ["xml:lang"] = "en" }, "taken" }, { "too-late", { xmlns = "urn:app" } } }))
    assert.same({ condition = "gone", type = "cancel" },
      xexpr.error(stanza { "error", { type = "cancel" }, { "gone", { xmlns = STANZAS }, "xmpp:new@x.test" } }))
    assert.same({ condition = "conflict", type = "wait", app = "a" },
      xexpr.error({ "presence", { type = "error" }, { "error", { type = "wait" }, { "a", { xmlns = "urn:app" } },
        { "conflict", { xmlns = STANZAS } }, { "forbidden", { xmlns = STANZAS } } } }))
  end)

  it("returns nothing for other stanzas", function()
    assert.is_nil(xexpr.error(nil))
    assert.is_nil(xexpr.error(roster()))
    assert.is_nil(xexpr.error { "message", { type = "chat" }, { "error", { type = "wait" } } })
    assert.is_nil(xexpr.error { "error", { type = "error" } })
    local forged = { "error", { xmlns = "urn:evil", type = "auth" }, { "forbidden", { xmlns = STANZAS } } }
    assert.same({ condition = "undefined-condition", type = "cancel" }, xexpr.error(stanza(forged)))
    assert.same("not-allowed", xexpr.error(stanza(forged, { "error", { type = "cancel" },
      { "not-allowed", { xmlns = STANZAS } } })).condition)
  end)

  it("returns defaults for an empty one", function()
    local nothing = { condition = "undefined-condition", type = "cancel" }
    assert.same(nothing, xexpr.error { "message", { type = "error" } })
    assert.same(nothing, xexpr.error(stanza { "error" }))
    assert.same(nothing, xexpr.error(stanza { "error", { type = "worse" }, { "conflict" } }))
    assert.same({ condition = "undefined-condition", type = "wait" },
      xexpr.error(stanza { "error", { type = "wait" }, { "text", { xmlns = STANZAS } } }))
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'error' (element expected, got table)", function() xexpr.error {} end)
  end)
end)

describe("nothing", function()
  it("is nil for all reading functions, which still check their other arguments", function()
    local me = "alice@xmpp.test"
    for name, arguments in pairs { name = {}, attr = { "to" }, child = { "a" }, text = { "body" }, find = { "a" },
      is_error = {}, error = {}, is_delayed = {}, is_own = { me }, from_account = { me }, is_carbon = { me },
      unwrap_carbon = { me } } do
      assert.is_nil((xexpr[name](nil, arguments[1])), name)
    end
    for _ in xexpr.children(nil, "a") do error "a child of nothing" end
    refuses("bad argument #2 to 'attr' (string expected, got number)", function() xexpr.attr(nil, 5) end)
    refuses("bad argument #2 to 'child' (string expected, got nil)", function() xexpr.child(nil) end)
    refuses("bad argument #3 to 'children' (string expected, got number)", function() xexpr.children(nil, "a", 5) end)
    refuses("bad argument #2 to 'text' (string expected, got boolean)", function() xexpr.text(nil, false) end)
    refuses("connection or JID expected", function() xexpr.is_own(nil, 5) end)
  end)
end)

describe("name, attr", function()
  it("reads name and attributes", function()
    assert.equal("iq", xexpr.name(roster()))
    assert.equal("r1", xexpr.attr(roster(), "id"))
    assert.is_nil(xexpr.attr(roster(), "from"))
    assert.equal("de", xexpr.attr({ "message", { ["xml:lang"] = "de" } }, "xml:lang"))
    assert.equal("5", xexpr.attr({ "a", { ["{urn:x}n"] = 5 } }, "{urn:x}n"))
  end)

  it("finds no attributes if slot 2 is not the attributes' table", function()
    assert.is_nil(xexpr.attr({ "presence" }, "to"))
    assert.is_nil(xexpr.attr({ "body", "Hi" }, "to"))
    assert.is_nil(xexpr.attr({ "iq", { "query", { to = "x" } } }, "to"))
    assert.is_nil(xexpr.attr({ "body", "Hi" }, "len"))
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'name' (element expected, got boolean)", function() xexpr.name(false) end)
    refuses("bad argument #1 to 'name' (element expected, got table)", function() xexpr.name({ {} }) end)
    refuses("bad argument #1 to 'attr' (element expected, got string)", function() xexpr.attr("iq", "id") end)
    refuses("bad argument #2 to 'attr' (string expected, got nil)", function() xexpr.attr({ "iq" }) end)
  end)
end)

describe("child", function()
  it("finds the first element of a name", function()
    local x = roster()
    assert.equal(x[4], xexpr.child(x, "query"))
    assert.equal("b@example.net", xexpr.attr(xexpr.child(x[4], "item"), "jid"))
    assert.is_nil(xexpr.child(x, "item"))
    assert.same({ "b", "Hi" }, xexpr.child({ "a", { "b", "Hi" } }, "b"))
    assert.is_nil(xexpr.child({ "a", {}, "b" }, "b"))
  end)

  it("compares the namespace, own or inherited", function()
    local x = roster()
    assert.equal(x[4], xexpr.child(x, "query", "jabber:iq:roster"))
    assert.is_nil(xexpr.child(x, "query", "jabber:client"))
    assert.equal(x[4][3], xexpr.child(x[4], "item", "jabber:iq:roster"))
    assert.is_nil(xexpr.child(x[4], "note", "jabber:iq:roster"))
    assert.equal("Hi", xexpr.text(xexpr.child({ "message", { "body", "Hi" } }, "body", "jabber:client")))
    assert.equal("Hi", xexpr.text(xexpr.child({ "message", { xmlns = "urn:x" }, { "body", "Hi" } }, "body", "urn:x")))
    assert.is_nil(xexpr.child({ "message", { xmlns = "urn:x" }, { "body" } }, "body", "jabber:client"))
    assert.is_nil(xexpr.child({ "query", {}, { "item" } }, "item", "jabber:client"))
  end)

  it("skips children of that name in other namespaces", function()
    local x = { "iq", {}, { "q", { xmlns = "urn:1" } }, { "q", { xmlns = "urn:2" } }, 5, { "q", { xmlns = "urn:4" } } }
    assert.equal(x[4], xexpr.child(x, "q", "urn:2"))
    assert.equal(x[6], xexpr.child(x, "q", "urn:4"))
    assert.is_nil(xexpr.child(x, "q", "urn:3"))
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'child' (element expected, got string)", function() xexpr.child("a", "a") end)
    refuses("bad argument #2 to 'child' (string expected, got nil)", function() xexpr.child({ "iq" }) end)
    refuses("bad argument #3 to 'child' (string expected, got table)", function() xexpr.child({ "iq" }, "a", {}) end)
  end)
end)

describe("children", function()
  local function names(...)
    local out = {}
    for c in xexpr.children(...) do out[#out + 1] = xexpr.attr(c, "jid") or xexpr.name(c) end
    return out
  end

  it("iterates over elements in order, without text", function()
    assert.same({ "b@example.net", "c@example.net", "note" }, names(roster()[4]))
    assert.same({ "b@example.net", "c@example.net" }, names(roster()[4], "item"))
    assert.same({ "b", "c" }, names({ "a", { "b" }, 5, { "c" } }))
    assert.same({}, names({ "a", {}, "text" }))
    assert.same({}, names({ "a" }))
  end)

  it("stays at its end", function()
    local step = xexpr.children({ "a", {}, { "b" } })
    assert.same({ "b" }, step())
    assert.is_nil(step())
    assert.is_nil(step())
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'children' (element expected, got number)", function() xexpr.children(5) end)
    refuses("bad argument #2 to 'children' (string expected, got number)", function() xexpr.children({ "a" }, 5) end)
    refuses("bad argument #3 to 'children' (string expected, got number)",
      function() xexpr.children({ "a" }, "b", 5) end)
  end)

  it("may be restricted to one namespace", function()
    local x = { "message", {}, { "a", "1" }, "t", { "a", { xmlns = "urn:x" }, "2" }, { "b", { xmlns = "urn:x" }, "3" } }
    local function all(...)
      local out = {}
      for c in xexpr.children(...) do out[#out + 1] = c[#c] end
      return table.concat(out)
    end
    assert.equal("123", all(x))
    assert.equal("12", all(x, "a"))
    assert.equal("2", all(x, "a", "urn:x"))
    assert.equal("1", all(x, "a", "jabber:client"))
    assert.equal("23", all(x, nil, "urn:x"))
    assert.equal("", all(x, "a", "urn:y"))
  end)
end)

describe("text", function()
  it("joins the own text", function()
    assert.equal("onethree", xexpr.text(roster()[4][6]))
    assert.equal("12.5", xexpr.text({ "a", 1, { "b", "no" }, "", 2.5 }))
    assert.equal("", xexpr.text({ "a" }))
    assert.equal("", xexpr.text({ "a", {}, { "b", "no" } }))
  end)

  it("reads the first child of a name", function()
    assert.equal("Hi", xexpr.text({ "message", { "body", "Hi" }, { "body", "Ho" } }, "body"))
    assert.equal("", xexpr.text({ "message", { "body" } }, "body"))
    assert.is_nil(xexpr.text({ "message", "body" }, "body"))
  end)

  it("ignores a body in another namespace", function()
    local forged = { "message", {}, { "body", { xmlns = "urn:evil" }, "forged" }, { "body", "said" } }
    assert.equal("said", xexpr.text(forged, "body"))
    assert.is_nil(xexpr.text({ "message", {}, forged[3] }, "body"))
    assert.equal("forged", xexpr.text(forged, "body", "urn:evil"))
    assert.equal("said", xexpr.text(forged, "body", "jabber:client"))
    assert.is_nil(xexpr.text(forged, "body", "urn:other"))
    assert.equal("", xexpr.text({ "message", {}, { "body", { xmlns = "jabber:client" } } }, "body"))
    local q = { "query", { xmlns = "urn:q" }, { "name", { xmlns = "urn:other" }, "no" }, { "name", "yes" } }
    assert.equal("yes", xexpr.text(q, "name"))
    assert.equal("yes", xexpr.text(q, "name", "urn:q"))
    assert.equal("yes", xexpr.text({ "item", { "name", "yes" } }, "name")) -- the parent's namespace isn't known
    assert.is_nil(xexpr.text({ "item", { "name", { xmlns = "urn:x" }, "no" } }, "name"))
  end)

  it("reads the wanted language (RFC 6121 5.2.3)", function()
    local function message(own, ...)
      local x = { "message", { ["xml:lang"] = own } }
      for _, lang in ipairs { ... } do x[#x + 1] = { "body", { ["xml:lang"] = lang ~= "-" and lang or nil }, lang } end
      return x
    end
    local rows = {
      -- wanted, the message's own, its bodies, which one is chosen
      { nil, nil, { "cs", "-", "en" }, "-" }, { nil, nil, { "cs", "en" }, "cs" }, { nil, "en", { "cs", "en" }, "en" },
      { nil, "en", { "cs", "en", "-" }, "-" }, { nil, "en", { "cs", "en-GB" }, "en-GB" },
      { nil, "en", { "cs", "en-GB", "EN" }, "EN" }, { nil, "de", { "cs", "en" }, "cs" },
      { "en", nil, { "-", "cs", "en" }, "en" }, { "EN", nil, { "-", "cs", "en" }, "en" },
      { "de", nil, { "-", "de-AT" }, "de-AT" }, { "de-AT", nil, { "-", "de" }, "de" },
      { "de-AT", nil, { "de", "de-AT", "-" }, "de-AT" }, { "de", nil, { "den", "cs" }, "den" },
      { "de", nil, { "cs", "-" }, "-" }, { "de", "de", { "cs", "-", "en" }, "-" }, { "de", "en", { "-", "cs" }, "-" },
      { "fr", "en", { "cs", "en" }, "en" }, { "en", nil, { "en", "en" }, "en" }, { "", nil, { "cs", "-" }, "-" },
      { "zh", nil, { "-", "zh-Hant-TW" }, "zh-Hant-TW" },
    }
    for i, row in ipairs(rows) do
      local got = xexpr.text(message(row[2], (table.unpack or unpack)(row[3])), "body", nil, row[1])
      assert.equal(row[4], got, "row " .. i)
    end
    assert.equal("first", xexpr.text({ "message", {}, { "body", "first" }, { "body", "second" } }, "body"))
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'text' (element expected, got boolean)", function() xexpr.text(true) end)
    refuses("bad argument #2 to 'text' (string expected, got boolean)", function() xexpr.text({ "a" }, true) end)
    refuses("bad argument #3 to 'text' (string expected, got number)", function() xexpr.text({ "a" }, "b", 1) end)
    refuses("bad argument #4 to 'text' (string expected, got number)", function() xexpr.text({ "a" }, "b", nil, 1) end)
  end)
end)

describe("pick", function()
  it("returns the child that text reads", function()
    local x = { "message", {}, { "body", { xmlns = "urn:evil" }, "forged" },
      { "body", { ["xml:lang"] = "en" }, "hello" },
      { "body", { ["xml:lang"] = "de" }, "hallo" } }
    assert.equal(x[4], xexpr.pick(x, "body"))
    assert.equal(x[5], xexpr.pick(x, "body", nil, "de-AT"))
    assert.equal(x[3], xexpr.pick(x, "body", "urn:evil"))
    assert.is_nil(xexpr.pick(x, "subject"))
    assert.is_nil(xexpr.pick(nil, "body"))
    refuses("bad argument #2 to 'pick' (string expected, got nil)", function() xexpr.pick(x) end)
    refuses("bad argument #1 to 'pick' (element expected, got boolean)", function() xexpr.pick(true, "body") end)
  end)
end)

describe("is_error", function()
  it("recognizes error stanzas", function()
    assert.is_true(xexpr.is_error { "iq", { type = "error" } })
    assert.is_true(xexpr.is_error { "message", { type = "error", xmlns = "jabber:client" } })
    assert.is_true(xexpr.is_error { "presence", { type = "error", xmlns = "jabber:component:accept" } })
    assert.is_false(xexpr.is_error { "iq", { type = "result" } })
    assert.is_false(xexpr.is_error { "presence" })
  end)

  it("recognizes nothing else", function()
    assert.is_false(xexpr.is_error { "message", { type = "error", xmlns = "urn:x" } })
    assert.is_false(xexpr.is_error { "query", { type = "error" } })
    refuses("bad argument #1 to 'is_error' (element expected, got number)", function() xexpr.is_error(5) end)
  end)
end)

describe("reply", function()
  it("answers an iq by a result", function()
    local x = { "iq", { type = "get", id = "1", from = "a@x", to = "b@y/z", ["xml:lang"] = "de" }, { "ping" } }
    local before = copy(x)
    local q = { "q", { xmlns = "urn:q" } }
    assert.same({ "iq", { type = "result", id = "1", to = "a@x" }, q, "t", 5 },
      xexpr.reply(x, q, "t", 5))
    assert.same(before, x)
    assert.same({ "iq", { type = "result", id = "2" } }, xexpr.reply { "iq", { type = "set", id = "2" } })
  end)

  it("leaves out what the original lacks", function()
    assert.same({ "iq", { type = "result", id = "1", to = "a@x" } },
      xexpr.reply { "iq", { type = "get", id = "1", from = "a@x" } })
    assert.same({ "message", {}, { "body", "Hi" } }, xexpr.reply({ "message", "x" }, { "body", "Hi" }))
  end)

  it("keeps the type of a message and its thread, not its id", function()
    local thread = { "thread", { parent = "p" }, "t" }
    local x = { "message", { type = "chat", id = "m", from = "a@x/r", to = "b@y" }, { "body", "Hi" },
      { "thread", { xmlns = "urn:evil" }, "no" }, thread }
    assert.same({ "message", { type = "chat", to = "a@x/r" } }, xexpr.reply { x[1], x[2] })
    local answer = xexpr.reply(x, { "body", "Ho" })
    assert.same({ "message", { type = "chat", to = "a@x/r" }, { "body", "Ho" }, thread }, answer)
    assert.not_equal(thread, answer[4])
    assert.same({ "message", { type = "chat", to = "a@x/r" }, { "thread", "mine" } },
      xexpr.reply(x, { "thread", "mine" }))
    assert.same({ "iq", { type = "result", id = "1" } }, xexpr.reply { "iq", { type = "get", id = "1" }, thread })
  end)

  it("keeps no thread that would make it too long for a server", function()
    local function kept(thread) return xexpr.child(xexpr.reply { "message", { from = "a@x" }, thread }, "thread") end
    local most = { "thread", { parent = ("p"):rep(500) }, ("t"):rep(518) }
    assert.same(most, kept(most))
    assert.is_nil(kept { "thread", most[2], ("t"):rep(519) })
    assert.is_nil(kept { "thread", { parent = ("p"):rep(1025) } })
    assert.is_nil(kept { "thread", {}, { "a", {}, ("t"):rep(1025) } })
    assert.same({ "thread", "t" }, kept { "thread", "t" })
    assert.is_nil(kept { "thread", ("t"):rep(1025) })
  end)

  it("accepts attributes from the caller", function()
    local x = { "message", { type = "chat", id = "m", from = "a@x/r", to = "b@y" } }
    assert.same({ "message", { type = "chat", id = "n", to = "a@x/r", from = "b@y" }, { "body", "Ho" } },
      xexpr.reply(x, { id = "n", from = x[2].to }, { "body", "Ho" }))
    assert.same({ "message", { type = "normal", to = "a@x/r" } }, xexpr.reply(x, { type = "normal" }))
    assert.same({ "message", { type = "chat", to = "a@x/r" }, "t" }, xexpr.reply(x, {}, "t"))
  end)

  it("answers for a component from the address that was asked, for a client without from", function()
    local fed = require "spec.support.fed"
    local x = { "iq", { type = "get", id = "1", from = "a@x/r", to = "user@Echo.xmpp.test/r" } }
    local echo = fed.open { jid = "echo.xmpp.test", component = true }
    local other = fed.open { jid = "other.xmpp.test", component = true }
    assert.equal("user@Echo.xmpp.test/r", xexpr.reply(x)[2].from)
    assert.equal("user@Echo.xmpp.test/r", xexpr.error_reply(x, "cancel", "conflict")[2].from)
    x[2].to = "other.xmpp.test"
    assert.equal("other.xmpp.test", xexpr.reply(x)[2].from)
    for _, to in ipairs { "bob@xmpp.test", "echo.xmpp.test.evil", "x@@", "sub.echo.xmpp.test", "echo.xmpp.test@x" } do
      x[2].to = to
      assert.is_nil(xexpr.reply(x)[2].from)
    end
    echo:feed "<iq type='get' id='1' from='a@x/r' to='user@echo.xmpp.test'/>"
    echo.conn:send(xexpr.reply(echo.conn:receive()))
    assert.truthy(echo:sent():find("from='user@echo.xmpp.test'", 1, true))
    other.conn = nil
    local alice = fed.open { jid = "alice@xmpp.test/here" }
    alice:feed "<message id='1' from='alice@xmpp.test' to='bob@xmpp.test'/>"
    alice.conn:send(xexpr.reply(alice.conn:receive(), "t"))
    assert.equal("<message to='alice@xmpp.test'>t</message>", alice:sent())
  end)

  it("answers a groupchat message to the room", function()
    assert.same({ "message", { type = "groupchat", to = "room@muc.x" } },
      xexpr.reply { "message", { type = "groupchat", id = "m", from = "room@muc.x/nick/name", to = "b@y/z" } })
    assert.same({ type = "groupchat" }, xexpr.reply({ "message", { type = "groupchat" } })[2])
  end)

  it("gives a presence no type", function()
    assert.same({ "presence", { to = "a@x" } },
      xexpr.reply { "presence", { type = "subscribe", id = "p", from = "a@x", to = "b@y" } })
  end)

  it("refuses stanzas that are never answered", function()
    refuses("bad argument #1 to 'reply' (iq of type 'get' or 'set' expected, got 'result')",
      function() xexpr.reply { "iq", { type = "result" } } end)
    refuses("iq of type 'get' or 'set' expected, got nil", function() xexpr.reply { "iq" } end)
    refuses("an error is never answered", function() xexpr.reply { "iq", { type = "error" } } end)
    refuses("an error is never answered", function() xexpr.reply { "message", { type = "error" } } end)
    refuses("an error is never answered", function() xexpr.reply { "presence", { type = "error" } } end)
    refuses("#1 to 'reply' (message, presence or iq expected, got 'query')", function() xexpr.reply { "query" } end)
    refuses("message, presence or iq expected", function() xexpr.reply { "message", { xmlns = "urn:x" } } end)
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'reply' (element expected, got nil)", function() xexpr.reply() end)
    refuses("bad argument #2 to 'reply' (element or text expected, got nil)",
      function() xexpr.reply({ "message" }, nil) end)
    refuses("bad argument #3 to 'reply' (element or text expected, got boolean)",
      function() xexpr.reply({ "message" }, "a", false) end)
    refuses("bad argument #3 to 'reply' (element or text expected, got table)",
      function() xexpr.reply({ "message" }, "a", {}) end)
    refuses("bad argument #2 to 'reply' (element or text expected, got table)",
      function() xexpr.reply({ "message" }, { 5 }) end)
  end)
end)

describe("error_reply", function()
  local request = { "iq", { type = "set", id = "1", from = "a@x", to = "b@y" }, { "q" } }

  it("answers with RFC 6120's error", function()
    local before = copy(request)
    assert.same({ "iq", { type = "error", id = "1", to = "a@x" },
      { "error", { type = "cancel" }, { "item-not-found", { xmlns = STANZAS } } } },
      xexpr.error_reply(request, "cancel", "item-not-found"))
    assert.same(before, request)
  end)

  it("adds a text", function()
    assert.same({ "error", { type = "wait" }, { "resource-constraint", { xmlns = STANZAS } },
      { "text", { xmlns = STANZAS }, "Later." } },
      xexpr.error_reply(request, "wait", "resource-constraint", "Later.")[3])
    assert.same({ "text", { xmlns = STANZAS, ["xml:lang"] = "de" }, "Sp\195\164ter." },
      xexpr.error_reply(request, "wait", "resource-constraint", "Sp\195\164ter.", "de")[3][4])
    assert.equal("m", xexpr.error_reply({ "message", { id = "m" } }, "wait", "conflict")[2].id)
    refuses("bad argument #5 to 'error_reply' (string expected, got number)",
      function() xexpr.error_reply(request, "wait", "conflict", "t", 5) end)
  end)

  it("answers messages and presences, an occupant by the full JID", function()
    assert.equal("room@muc/n", xexpr.error_reply({ "message", { type = "groupchat", from = "room@muc/n" } },
      "modify", "bad-request")[2].to)
    assert.equal("error", xexpr.error_reply({ "presence" }, "auth", "forbidden")[2].type)
  end)

  it("accepts the types and conditions of RFC 6120 only", function()
    for _, kind in ipairs { "auth", "cancel", "continue", "modify", "wait" } do
      assert.equal(kind, xexpr.error_reply(request, kind, "conflict")[3][2].type)
    end
    for _, condition in ipairs { "bad-request", "conflict", "feature-not-implemented", "forbidden", "gone",
      "internal-server-error", "item-not-found", "jid-malformed", "not-acceptable", "not-allowed", "not-authorized",
      "policy-violation", "recipient-unavailable", "redirect", "registration-required", "remote-server-not-found",
      "remote-server-timeout", "resource-constraint", "service-unavailable", "subscription-required",
      "undefined-condition", "unexpected-request" } do
      assert.equal(condition, xexpr.error_reply(request, "cancel", condition)[3][3][1])
    end
    refuses("bad argument #2 to 'error_reply' (auth, cancel, continue, modify or wait expected, got 'fatal')",
      function() xexpr.error_reply(request, "fatal", "conflict") end)
    refuses("bad argument #3 to 'error_reply' (condition of RFC 6120 8.3.3 expected, got 'payment-required')",
      function() xexpr.error_reply(request, "auth", "payment-required") end)
  end)

  it("refuses stanzas that are never answered", function()
    refuses("bad argument #1 to 'error_reply' (an error is never answered",
      function() xexpr.error_reply({ "message", { type = "error" } }, "cancel", "conflict") end)
    refuses("bad argument #1 to 'error_reply' (iq of type 'get' or 'set' expected, got 'result')",
      function() xexpr.error_reply({ "iq", { type = "result" } }, "cancel", "conflict") end)
    refuses("message, presence or iq expected, got 'a'",
      function() xexpr.error_reply({ "a" }, "cancel", "conflict") end)
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'error_reply' (element expected, got nil)", function() xexpr.error_reply() end)
    refuses("bad argument #2 to 'error_reply' (string expected, got nil)",
      function() xexpr.error_reply(request) end)
    refuses("bad argument #3 to 'error_reply' (string expected, got nil)",
      function() xexpr.error_reply(request, "cancel") end)
    refuses("bad argument #4 to 'error_reply' (string expected, got table)",
      function() xexpr.error_reply(request, "cancel", "conflict", {}) end)
  end)
end)

describe("match", function()
  local function matches(pattern, x) return xexpr.match(pattern)(x) end

  it("compares names and the pattern's attributes", function()
    assert.is_true(matches({ "iq" }, roster()))
    assert.is_true(matches({ "iq", { type = "result" } }, roster()))
    assert.is_true(matches({ "a", { n = 5 } }, { "a", { n = "5", m = "6" } }))
    assert.is_false(matches({ "message" }, roster()))
    assert.is_false(matches({ "iq", { type = "set" } }, roster()))
    assert.is_false(matches({ "iq", { from = "a@x" } }, roster()))
    assert.is_false(matches({ "a", { n = 5 } }, { "a" }))
  end)

  it("compares namespaces, own or inherited", function()
    assert.is_true(matches({ "iq", {}, { "query", { xmlns = "jabber:iq:roster" } } }, roster()))
    assert.is_true(matches({ "iq", { "query", { "item", { xmlns = "jabber:iq:roster" } } } }, roster()))
    assert.is_false(matches({ "iq", { "query", { "note", { xmlns = "jabber:iq:roster" } } } }, roster()))
    assert.is_true(matches({ "iq", { xmlns = "jabber:client" } }, roster()))
    assert.is_false(matches({ "iq", { xmlns = "jabber:client" } }, { "iq", { xmlns = "urn:x" } }))
    assert.is_true(matches({ "message", { "body", { xmlns = "jabber:client" } } }, { "message", { "body" } }))
    assert.is_false(matches({ "query", { xmlns = "jabber:client" } }, { "query" }))
    assert.is_false(matches({ "q", { xmlns = "u:1" }, { "i", { xmlns = "u:1" } } },
      { "q", { xmlns = "u:1" }, { "i", { xmlns = "u:2" } } }))
  end)

  it("compares text if the pattern has some", function()
    assert.is_true(matches({ "message", { "body", "Hi" } }, { "message", {}, { "body", {}, "Hi" } }))
    assert.is_true(matches({ "body", "one", "three" }, { "body", "on", { "b", "two" }, "ethree" }))
    assert.is_false(matches({ "body", "Hi" }, { "body", "Hi!" }))
    assert.is_false(matches({ "body", "Hi" }, { "body" }))
    assert.is_true(matches({ "body" }, { "body", "Hi" }))
    assert.is_true(matches({ "body", "" }, { "body" }))
    assert.is_false(matches({ "body", "" }, { "body", "Hi" }))
  end)

  it("finds children in any order", function()
    assert.is_true(matches({ "a", { "c" }, { "b", "1" } }, { "a", { "b", "1" }, "text", { "x" }, { "c" } }))
    assert.is_false(matches({ "a", { "c" }, { "d" } }, { "a", { "b" }, { "c" } }))
    assert.is_false(matches({ "iq", { "item" } }, roster()))
  end)

  it("requires a separate child for each child of the pattern", function()
    assert.is_false(matches({ "a", { "b" }, { "b" } }, { "a", { "b" } }))
    assert.is_true(matches({ "a", { "b" }, { "b" } }, { "a", { "b" }, { "b" } }))
  end)

  it("reassigns children if the first choice was wrong", function()
    local pattern = { "a", {}, { "b" }, { "b", { n = 1 } }, { "b", { n = 1, m = 2 } } }
    assert.is_true(matches(pattern, { "a", {}, { "b", { n = 1, m = 2 } }, { "b", { n = 1 } }, { "b" } }))
    assert.is_true(matches(pattern, { "a", {}, { "b" }, { "b", { n = 1, m = 2 } }, { "b", { n = 1 } } }))
    assert.is_false(matches(pattern, { "a", {}, { "b", { n = 1, m = 2 } }, { "b" }, { "b" } }))
    assert.is_true(matches({ "a", { "b", { "c" } }, { "b", { "d" } } },
      { "a", { "b", { "d" }, { "c" } }, { "b", { "c" } } }))
  end)

  it("returns the same as trying every assignment", function()
    local function permuted(pattern, x, used, i)
      if i > #pattern then return true end
      for k = 3, #x do
        if not used[k] and matches(pattern[i], x[k]) then
          used[k] = true
          if permuted(pattern, x, used, i + 1) then return true end
          used[k] = nil
        end
      end
      return false
    end
    local seed, met = 1, 0
    local function random(n)
      seed = seed * 16807 % 2147483647
      return seed % n
    end
    local function row(n, keys)
      local x = { "a", {} }
      for i = 1, n do
        x[i + 2] = { "b", {} }
        for key in keys:gmatch "." do
          if random(2) == 0 then x[i + 2][2][key] = random(2) end
        end
      end
      return x
    end
    for _ = 1, 300 do
      local pattern, x = row(1 + random(4), "mn"), row(random(6), "mn")
      local want = permuted(pattern, x, {}, 3)
      assert.equal(want, matches(pattern, x))
      met = met + (want and 1 or 0)
    end
    assert.is_true(met > 50 and met < 250)
  end)

  it("is false for a value that isn't an element", function()
    local is_iq = xexpr.match { "iq" }
    assert.is_false(is_iq(nil))
    assert.is_false(is_iq("iq"))
    assert.is_false(is_iq({}))
  end)

  it("keeps its own copy of the pattern", function()
    local pattern = { "iq", { type = "get" }, { "a" } }
    local before = copy(pattern)
    local predicate = xexpr.match(pattern)
    assert.same(before, pattern)
    pattern[2].type, pattern[3][1] = "set", "b"
    assert.is_true(predicate { "iq", { type = "get" }, { "a" } })
  end)

  it("refuses invalid patterns", function()
    refuses("bad argument #1 to 'match' (element expected, got nil)", function() xexpr.match() end)
    refuses("bad argument #1 to 'match' (element[2].type: string expected, got boolean)",
      function() xexpr.match { "iq", { type = true } } end)
  end)
end)

describe("canonical", function()
  local function same(want, x)
    local before = copy(x)
    assert.same(want, xexpr.canonical(x))
    assert.same(before, x)
  end

  it("gives every element attributes", function()
    same({ "presence", {} }, { "presence" })
    same({ "body", {}, "Hi" }, { "body", "Hi" })
    same({ "a", {}, { "b", {}, { "c", {} } } }, { "a", { "b", { "c" } } })
  end)

  it("joins texts and drops empty ones", function()
    same({ "a", {}, "one two", { "b", {} }, "three" }, { "a", "one", " ", "", "two", { "b", "" }, "", "three" })
    same({ "a", {} }, { "a", "", "" })
  end)

  it("writes numbers so that they read back the same", function()
    local function text(v) return xexpr.canonical({ "a", v })[3] end
    assert.equal("0", text(0))
    assert.equal("-42", text(-42))
    assert.equal("9007199254740991", text(tonumber "9007199254740991"))
    assert.equal("0.1", text(0.1))
    assert.equal("1.5", text(1.5))
    assert.equal("0.30000000000000004", text(0.1 + 0.2))
    assert.equal("1e+300", text(1e300))
    for _, v in ipairs { 1 / 3, 2 ^ 53, 2 ^ 63, 1e15, -2.5e-8, 123456.789, 5e-324, 1.7976931348623157e308 } do
      assert.equal(v, tonumber(text(v)))
    end
    assert.same({ n = "5" }, xexpr.canonical({ "a", { n = 5 } })[2])
  end)

  it("distinguishes floats from integers if Lua does", function()
    local point = tostring(6 / 2) == "3.0" and ".0" or ""
    assert.equal("3" .. point, xexpr.canonical({ "a", 6 / 2 })[3])
    assert.equal("-7" .. point, xexpr.canonical({ "a", -14 / 2 })[3])
    assert.equal("9007199254740992.0", xexpr.canonical({ "a", 2 ^ 53 })[3])
  end)

  it("drops an xmlns that is inherited", function()
    same({ "iq", {}, { "q", { xmlns = "urn:q" }, { "i", {} },
      { "o", { xmlns = "urn:o" }, { "p", { xmlns = "urn:q" } } } } },
      { "iq", { xmlns = "jabber:client" }, { "q", { xmlns = "urn:q" }, { "i", { xmlns = "urn:q" } },
        { "o", { xmlns = "urn:o" }, { "p", { xmlns = "urn:q" } } } } })
    same({ "message", {}, { "body", {} } }, { "message", { "body", { xmlns = "jabber:client" } } })
    same({ "q", { xmlns = "urn:q" } }, { "q", { xmlns = "urn:q" } })
  end)

  it("keeps the names of attributes", function()
    local attrs = { k = "1", ["xml:lang"] = "de", ["{urn:x}lang"] = "x", ["{urn:{}k"] = "y", [XML .. "space"] = "z" }
    same({ "a", attrs }, { "a", attrs })
  end)

  it("shares nothing with what it was given and is its own canonical form", function()
    local x = roster()
    local once = xexpr.canonical(x)
    assert.same(x, once)
    assert.not_equal(x[4], once[4])
    assert.not_equal(x[2], once[2])
    assert.same(once, xexpr.canonical(once))
  end)

  it("keeps text of every script", function()
    same({ "a" .. "\195\169", { k = EURO }, SNOWMAN .. "\240\159\152\128\t\r\n" },
      { "a" .. "\195\169", { k = EURO }, SNOWMAN .. "\240\159\152\128\t\r\n" })
    assert.equal(2e5 * 3, #xexpr.canonical({ "a", EURO:rep(2e5) })[3])
  end)

  it("is limited to a depth of 128 elements", function()
    assert.same(nested(128), xexpr.canonical(nested(128)))
    refuses("deeper than 128 elements", function() xexpr.canonical(nested(129)) end)
    local cycle = { "a", {} }
    cycle[3] = cycle
    refuses("deeper than 128 elements", function() xexpr.canonical(cycle) end)
  end)

  it("names the path to what it refuses", function()
    local function at(path, x)
      refuses("bad argument #1 to 'canonical' (element" .. path, function() xexpr.canonical(x) end)
    end
    at("[2].to: string expected, got boolean)", { "iq", { to = false } })
    at("[2][\"xml:lang\"]: string expected, got table)", { "iq", { ["xml:lang"] = {} } })
    at("[3][2].to: string expected, got function)", { "iq", {}, { "a", { to = print } } })
    at("[2]: attribute name expected, got number)", { "iq", { nil, "x" } })
    at("[2]: attribute name expected, got 'a b')", { "iq", { ["a b"] = "x" } })
    at("[2]: attribute name expected, got 'xmlns:a')", { "iq", { ["xmlns:a"] = "x" } })
    at("[2]: attribute name expected, got '{}a')", { "iq", { ["{}a"] = "x" } })
    at("[2]: attribute name expected, got '{urn:a}')", { "iq", { ["{urn:a}"] = "x" } })
    at("[2]: attribute name expected, got '{urn:a}b c')", { "iq", { ["{urn:a}b c"] = "x" } })
    at("[2]: attribute name expected, got '{?}a')", { "iq", { ["{\1}a"] = "x" } })
    at("[2]: attribute name expected, got 'xml:space')", { "iq", { ["xml:space"] = "x" } })
    at("[2]: attribute name expected, got '" .. XML .. "lang')", { "iq", { [XML .. "lang"] = "x" } })
    at("[2]: attribute name expected, got '{" .. XMLNS .. "}a')", { "iq", { ["{" .. XMLNS .. "}a"] = "x" } })
    at("[2].xmlns: a namespace that no element can have)", { "iq", { xmlns = XMLNS } })
    at("[2].xmlns: a namespace that no element can have)", { "iq", { xmlns = XML:sub(2, -2) } })
    at("[4]: string expected, got boolean)", { "iq", {}, "a", true })
    at("[3][1]: element name expected, got nil)", { "iq", {}, {} })
    at("[2][1]: element name expected, got number)", { "iq", { 5 } })
    at("[", { "iq", nil, "x" }) -- Luas differ in which of the two slots they blame
    at("[x]: a key that a list without holes doesn't have)", { "iq", {}, x = 1 })
    at("[9]: a key that a list without holes doesn't have)", { "iq", {}, [9] = "x" })
    at("[1.5]: a key that a list without holes doesn't have)", { "iq", {}, [1.5] = "x" })
    at("[2]: string expected, got ", { "iq", 0 / 0 })
    at("[2]: string expected, got inf)", { "iq", math.huge })
    at("[2].n: string expected, got -inf)", { "iq", { n = -math.huge } })
  end)

  it("refuses names that XML does not have", function()
    for _, name in ipairs { "", "a b", "a>", "a:b", "5a", "-a", ".a", "a\0", "a\255", "\195", "<!--", "a/" } do
      refuses("element[1]: element name expected", function() xexpr.canonical { name } end)
    end
    for _, name in ipairs { "a", "_a", "a-b.c_5", "\195\169" } do
      assert.same({ name, {} }, xexpr.canonical { name })
    end
  end)

  it("refuses text that XML does not have", function()
    for _, s in ipairs { "\0", "a\1", "\8", "\11", "\12", "\26", "\27[0m", "\31" } do
      refuses("element[2]: a control character that XML forbids", function() xexpr.canonical { "a", s } end)
      refuses("element[2].k: a control character that XML forbids", function() xexpr.canonical { "a", { k = s } } end)
    end
    for _, s in ipairs { "\128", "\195", "\192\128", "\193\191", "\224\128\175", "\237\160\128", "\239\191\190",
      "\239\191\191", "\240\128\128\128", "\244\144\128\128", "\245\128\128\128", "\255", "\195\169\169",
      "\226\130", "\226\195\169\172", "\240\195\169\159\152\128" } do
      refuses("element[3]: invalid UTF-8", function() xexpr.canonical { "a", {}, "x" .. s .. "y" } end)
    end
  end)

  it("accepts every character of XML, and no malformed UTF-8", function()
    local char, floor = string.char, math.floor
    local function utf8(c)
      local tail = char(128 + c % 64)
      if c < 0x800 then return char(192 + floor(c / 64)) .. tail end
      tail = char(128 + floor(c / 64) % 64) .. tail
      if c < 0x10000 then return char(224 + floor(c / 4096)) .. tail end
      return char(240 + floor(c / 262144), 128 + floor(c / 4096) % 64) .. tail
    end
    for c = 0x80, 0x10FFFF do -- both ends of each run of 64 that shares its leading bytes
      local forbidden = c >= 0xD800 and c <= 0xDFFF or c == 0xFFFE or c == 0xFFFF
      if c % 64 == 0 or c % 64 == 63 or c >= 0xFFF0 and c <= 0xFFFF then
        local s = utf8(c)
        if pcall(xexpr.canonical, { "a", s }) == forbidden then error(("U+%04X"):format(c)) end
        for i = 2, (c < 0x1000 or c % 4096 == 0) and #s or 0 do
          for _, bent in ipairs { s:sub(1, i - 1), s:sub(1, i - 1) .. "\127" .. s:sub(i + 1),
            s:sub(1, i - 1) .. "\192" .. s:sub(i + 1) } do
            if pcall(xexpr.canonical, { "a", bent }) then error(("U+%04X, byte %d"):format(c, i)) end
          end
        end
      end
    end
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'canonical' (element expected, got nil)", function() xexpr.canonical() end)
    refuses("bad argument #1 to 'canonical' (element expected, got table)", function() xexpr.canonical {} end)
  end)
end)

describe("equal", function()
  it("compares canonical forms", function()
    assert.is_true(xexpr.equal(roster(), roster()))
    assert.is_true(xexpr.equal({ "presence" }, { "presence", { xmlns = "jabber:client" } }))
    assert.is_true(xexpr.equal({ "a", "1", "2", { "b", { n = 5 } } }, { "a", {}, 12, "", { "b", { n = "5" } } }))
    assert.is_false(xexpr.equal({ "a" }, { "b" }))
    assert.is_false(xexpr.equal({ "a", { k = "1" } }, { "a" }))
    assert.is_false(xexpr.equal({ "a" }, { "a", { k = "1" } }))
    assert.is_false(xexpr.equal({ "a", { k = "1" } }, { "a", { k = "2" } }))
    assert.is_false(xexpr.equal({ "a", "x" }, { "a", { "x" } }))
    assert.is_false(xexpr.equal({ "a", { "b" }, { "c" } }, { "a", { "c" }, { "b" } }))
    assert.is_false(xexpr.equal({ "a", "x" }, { "a", "x", { "b" } }))
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'equal' (element expected, got nil)", function() xexpr.equal(nil, { "a" }) end)
    refuses("bad argument #2 to 'equal' (element expected, got nil)", function() xexpr.equal({ "a" }) end)
    refuses("bad argument #2 to 'equal' (element[2].k: string",
      function() xexpr.equal({ "a" }, { "a", { k = {} } }) end)
  end)
end)

describe("pretty", function()
  it("is well formed even if a namespace has braces", function()
    for _, key in ipairs { "{a}b}c", "{a{b}c", "{{}}}x", "{urn:x}y", "{}}z" } do
      local x = { "a", { [key] = "v", ["{urn:second}k"] = "w" } }
      assert.same(x, xexpr.from_xml(xexpr.pretty(x)), key)
      assert.same(x, xexpr.from_xml(xexpr.to_xml(x)), key)
    end
  end)

  it("indents elements and orders attributes", function()
    assert.equal([[
<iq id='r1' to='a@example.net/x' type='result'>
  <query xmlns='jabber:iq:roster' ver='7'>
    <item jid='b@example.net'>
      <group>Friends</group>
    </item>
    <item jid='c@example.net'/>
  </query>
</iq>]], xexpr.pretty { "iq", { type = "result", id = "r1", to = "a@example.net/x" },
      { "query", { xmlns = "jabber:iq:roster", ver = 7 },
        { "item", { jid = "b@example.net" }, { "group", "Friends" } }, { "item", { jid = "c@example.net" } } } })
    assert.equal("<presence/>", xexpr.pretty { "presence" })
  end)

  it("adds no white space where there is text", function()
    assert.equal("<p>one<b><i/><u/></b>two</p>", xexpr.pretty { "p", "one", { "b", { "i" }, { "u" } }, "two" })
    assert.equal("<p>\n  <q> </q>\n</p>", xexpr.pretty { "p", { "q", " " } })
  end)

  it("escapes", function()
    assert.equal("<a k='&amp;&lt;&gt;&apos;&quot;&#9;&#10;&#13;'>&amp;&lt;]]&gt;'\"\t\n&#13;</a>",
      xexpr.pretty { "a", { k = "&<>'\"\t\n\r" }, "&<]]>'\"\t\n\r" })
    assert.equal("<a k='&#127;&#155;'>&#127;&#128;&#159;\194\160" .. EURO .. "</a>",
      xexpr.pretty { "a", { k = "\127\194\155" }, "\127\194\128\194\159\194\160" .. EURO })
  end)

  it("makes up prefixes", function()
    assert.equal("<a xml:lang='de' xmlns:ns2='urn:&apos;b' ns2:k='2' xmlns:ns3='urn:a' ns3:k='1'/>",
      xexpr.pretty { "a", { ["{urn:a}k"] = "1", ["{urn:'b}k"] = "2", ["xml:lang"] = "de" } })
    assert.equal("<a xml:space='preserve'/>", xexpr.pretty { "a", { [XML .. "space"] = "preserve" } })
  end)

  it("shortens nothing", function()
    local long = ("word "):rep(20000)
    assert.equal("<a>" .. long .. "</a>", xexpr.pretty { "a", long })
  end)

  it("colours on demand, and only then", function()
    local x = { "a", { k = "v" }, "t" }
    assert.equal("<a k='v'>t</a>", xexpr.pretty(x, {}))
    assert.equal("<a k='v'>t</a>", xexpr.pretty(x, { color = false }))
    local coloured = xexpr.pretty(x, { color = true })
    assert.truthy(coloured:find("\27[", 1, true))
    assert.equal("<a k='v'>t</a>", (coloured:gsub("\27%[%d*m", "")))
  end)

  -- Removes what `pretty` adds: white space in elements that have no other text.
  local function strip(x)
    local blank = #x > 3 and not xexpr.text(x):find "%S"
    for i = #x, 3, -1 do
      if type(x[i]) == "table" then strip(x[i]) elseif blank then table.remove(x, i) end
    end
    return x
  end

  it("can be read back", function()
    for _, x in ipairs {
      roster(),
      { "message", { ["{urn:a}k"] = "1", ["xml:lang"] = "de" }, { "body", "a\r\n<&>'\"" }, { "body", " " } },
      { "iq", { id = "\t\n\r '" }, { "q", { xmlns = "urn:q&'" }, { "i" }, { "e", EURO, "\194\133" } } },
    } do
      assert.same(strip(xexpr.canonical(x)), strip(xexpr.from_xml(xexpr.pretty(x))))
    end
  end)

  it("changes nothing", function()
    local x = { "a", { k = 1 }, "b", "c" }
    xexpr.pretty(x)
    assert.same({ "a", { k = 1 }, "b", "c" }, x)
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'pretty' (element expected, got nil)", function() xexpr.pretty() end)
    refuses("bad argument #1 to 'pretty' (element[1]: element name expected, got 'a><b')",
      function() xexpr.pretty { "a><b" } end)
    refuses("bad argument #2 to 'pretty' (table expected, got boolean)", function() xexpr.pretty({ "a" }, true) end)
    refuses("bad argument #2 to 'pretty' (option 'color' expected, got 'colour')",
      function() xexpr.pretty({ "a" }, { colour = true }) end)
  end)
end)

describe("to_json, from_json", function()
  luas.it("lua-cjson", "writes the table as an array, with {} for no attributes", function()
    assert.equal('["iq",{"type":"get"},["ping",{"xmlns":"urn:xmpp:ping"}]]',
      xexpr.to_json { "iq", { type = "get" }, { "ping", { xmlns = "urn:xmpp:ping" } } })
    assert.equal('["presence",{}]', xexpr.to_json { "presence" })
    assert.equal('["a",{},"5",["b",{},"0.30000000000000004"]]', xexpr.to_json { "a", 5, { "b", 0.1 + 0.2 } })
  end)

  luas.it("lua-cjson", "reads back what it wrote", function()
    for _, x in ipairs { roster(), { "a" }, { "a", "\"\\/\r\n\t" .. EURO .. "\240\159\152\128" }, nested(128) } do
      assert.same(xexpr.canonical(x), xexpr.from_json(xexpr.to_json(x)))
    end
  end)

  luas.it("lua-cjson", "reads what others write", function()
    assert.same({ "a", {}, "x", { "b", {} } }, xexpr.from_json ' [ "a", "x", ["b"] ] ')
    assert.same({ "a", { n = "5", f = "0.5" }, "17" }, xexpr.from_json '["a",{"n":5,"f":0.5},17.0]')
    assert.same({ "a", {}, SNOWMAN }, xexpr.from_json '["a",[],"\\u2603"]')
  end)

  local function wrong(condition, text, s)
    local x, err = xexpr.from_json(s)
    assert.is_nil(x)
    assert.equal("stanza", err.layer)
    assert.equal(condition, err.condition)
    assert.is_false(err.retry)
    assert.truthy(err.text:find(text, 1, true), err.text)
    assert.equal(("stanza: %s: %s"):format(condition, err.text), tostring(err))
  end

  luas.it("lua-cjson", "answers what is no JSON with nil and an error", function()
    for _, s in ipairs { "", "[", '["a"', '["a",nope]', '["a",NaN]', '["a",0x10]', "['a']", '["a"] x' } do
      wrong("not-well-formed", "no JSON: ", s)
    end
  end)

  luas.it("lua-cjson", "answers what is no element with nil and an error that names the path", function()
    wrong("bad-format", "a JSON array expected, got number", "5")
    wrong("bad-format", "a JSON array expected, got string", '"iq"')
    wrong("bad-format", "a JSON array expected, got userdata", "null")
    wrong("bad-format", "element[1]: element name expected, got nil", "[]")
    wrong("bad-format", "element[1]: element name expected, got nil", '{"iq":{}}')
    wrong("bad-format", "element[1]: element name expected, got '5'", "[5]")
    wrong("bad-format", "element[2].to: string expected, got null", '["iq",{"to":null}]')
    wrong("bad-format", "element[3]: string expected, got boolean", '["iq",{},true]')
    wrong("bad-format", "element[3][2].k: string expected, got table", '["iq",{},["a",{"k":[]}]]')
    wrong("bad-format", "element[3][1]: element name expected, got nil", '["iq",{},{"a":"b"}]')
    wrong("bad-format", "element[2]: a control character", '["iq","\\u0000"]')
    wrong("bad-format", "deeper than 128 elements", ('["a",{},'):rep(128) .. '["a"]' .. ("]"):rep(128))
  end)

  luas.it("lua-cjson", "changes nothing, neither its argument nor cjson's settings", function()
    local x = { "a", { k = 1 }, 2, "c" }
    xexpr.to_json(x)
    assert.same({ "a", { k = 1 }, 2, "c" }, x)
    xexpr.from_json "[]"
    assert.is_true(require "cjson".decode_invalid_numbers())
  end)

  it("says what to install where lua-cjson is missing", function()
    local loaded, preload = package.loaded, package.preload
    local cjson, ours = loaded.cjson, loaded["xmpp.xexpr"]
    loaded.cjson, loaded["xmpp.xexpr"] = nil, nil
    preload.cjson = function() error "module 'cjson' not found" end
    local fresh = require "xmpp.xexpr"
    local checked, reason = pcall(function()
      refuses("JSON needs lua-cjson", function() fresh.to_json { "a" } end)
      refuses("apt-get install lua-cjson", function() fresh.from_json "[]" end)
    end)
    loaded.cjson, loaded["xmpp.xexpr"], preload.cjson = cjson, ours, nil
    assert.is_true(checked, reason)
  end)

  it("refuses other types", function()
    refuses("bad argument #1 to 'to_json' (element expected, got nil)", function() xexpr.to_json() end)
    refuses("bad argument #1 to 'to_json' (element[2].k: string", function() xexpr.to_json { "a", { k = print } } end)
    refuses("bad argument #1 to 'from_json' (string expected, got nil)", function() xexpr.from_json() end)
    refuses("bad argument #1 to 'from_json' (string expected, got table)", function() xexpr.from_json {} end)
  end)
end)

describe("to_xml, from_xml", function()
  it("take no other types", function()
    for _, v in ipairs { 5, true, {}, print } do
      refuses("bad argument #1 to 'from_xml' (string expected, got " .. type(v),
        function() xexpr.from_xml(v) end)
    end
    refuses("string expected", function() xexpr.from_xml() end)
  end)

  it("are the core's", function()
    local core = require "xmpp.core"
    assert.is_function(xexpr.to_xml)
    assert.equal(core.to_xml, xexpr.to_xml)
    assert.equal(core.from_xml, xexpr.from_xml)
  end)

  it("make the round trip to the canonical form", function()
    for _, x in ipairs {
      roster(),
      { "presence" },
      { "message", { to = "a@x", ["{urn:a}k"] = 5 }, { "body", "a", 1.5, "<&>" } },
      { "iq", { xmlns = "jabber:client", id = "\t\n'\"" }, { "q", { xmlns = "urn:q" }, { "i", { xmlns = "urn:q" } } } },
    } do
      assert.same(xexpr.canonical(x), xexpr.from_xml(xexpr.to_xml(x)))
    end
  end)

  it("answers bad XML with nil and an error", function()
    for xml, said in pairs {
      ["<a><b></a>"] = "not-well-formed: mismatched tag (byte 8)",
      ["<a"] = "not-well-formed: the element is not complete",
      [""] = "not-well-formed: the element is not complete",
      ["<a/><b/>"] = "not-well-formed: more than one element",
      ["text"] = "bad-format: text between stanzas",
      ["<x:a/>"] = "bad-namespace-prefix: unbound prefix (byte 0)",
      ["<a><!-- --></a>"] = "restricted-xml: a comment (RFC 6120 11.1)",
      [("<a>"):rep(129)] = "policy-violation: depth of elements over the limit of 128",
    } do
      local x, err = xexpr.from_xml(xml)
      assert.is_nil(x)
      assert.same({ "stanza", false }, { err.layer, err.retry })
      assert.equal("stanza: " .. said, tostring(err))
    end
  end)
end)

describe("contract", function()
  local contract = require "xmpp.contract"

  it("takes functions as handlers and callbacks", function()
    for _, is in ipairs { contract.handler, contract.callback, contract.callback_once } do
      assert.same({ true }, { is(print) })
      assert.same({ true }, { is(function() end) })
      assert.same({ false, "function expected, got nil" }, { is(nil) })
      assert.same({ false, "function expected, got table" }, { is(setmetatable({}, { __call = print })) })
    end
  end)

  it("asks the core about stanzas", function()
    assert.equal(require "xmpp.core".check_stanza, contract.stanza)
    assert.is_true(contract.stanza { "presence" })
    assert.same({ false, "stanza: table expected, got number" }, { contract.stanza(5) })
    assert.same({ false, "stanza: table expected, got nil" }, { contract.stanza() })
  end)
end)
