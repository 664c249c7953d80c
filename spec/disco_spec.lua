-- disco: queries, with honest and with other answers, and what we answer ourselves. On fed bytes: `world` answers.

local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local fed = require "spec.support.fed"
local rsm = require "xmpp.rsm"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr

local INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
local RSM = "http://jabber.org/protocol/rsm"
local STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

local f, conn, world, asked

local function prepare(...)
  f, conn = ...
  world, asked = {}, {}
end

-- Answers what was sent: world[jid .. " info " .. node] is the answer's children, or a function that gets the query and
-- returns them, or an error's condition.
local function answer(question)
  local query = question[3]
  local key = ("%s %s %s"):format(question[2].to or "", query[2].xmlns:match "#(.*)", query[2].node or "")
  local says = world[key]
  asked[#asked + 1] = key
  if type(says) == "function" then says = says(query) end
  local reply = { "iq", { type = "result", id = question[2].id, from = question[2].to } }
  if type(says) == "table" then
    reply[3] = { "query", { xmlns = query[2].xmlns, node = query[2].node } }
    for i, child in ipairs(says) do reply[3][i + 2] = child end
    if says[1] == "raw" then reply[3] = says[2] end
  else
    reply[2].type = "error"
    reply[3] = { "error", { type = "cancel" }, { says or "item-not-found", { xmlns = STANZAS } } }
  end
  f:feed(xexpr.to_xml(reply))
end

local function turn()
  fed.settle()
  local sent
  repeat
    sent = stage.sent(f)
    for _, x in ipairs(sent) do answer(x) end
    fed.settle()
  until #sent == 0
end

-- The results of g, while the world answers.
local function run(g, ...)
  local got
  local n, arguments = select("#", ...), { ... }
  xmpp.spawn(function() got = { g(conn, (table.unpack or unpack)(arguments, 1, n)) } end) -- luacheck: ignore 143
  turn()
  return assert(got, "it still waits")[1], got[2]
end

local function identity(category, kind, name, lang)
  return { "identity", { category = category, type = kind, name = name, ["xml:lang"] = lang } }
end

local function feature(var) return { "feature", { var = var } } end
local function item(jid, node, name) return { "item", { jid = jid, node = node, name = name } } end

local function bad(g, ...)
  local got, err = run(g, ...)
  assert.is_nil(got)
  assert.equal("stanza", err.layer)
  assert.equal("bad-format", err.condition)
  return err.text
end

describe("disco.info", function()
  stage.around(prepare)

  it("returns identities, features and forms", function()
    world["xmpp.test info "] = { identity("server", "im", "X"), identity("pubsub", "pep"), feature(INFO),
      feature "urn:a", { "x", { xmlns = "jabber:x:data", type = "result" },
        { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, "urn:form" } },
        { "field", { var = "admins" }, { "value", {}, "b" }, { "value", {}, "a" } } },
      { "x", { xmlns = "jabber:x:data", type = "result" },
        { "field", { var = "FORM_TYPE" }, { "value", {}, "urn:open" } } } }
    local info = run(disco.info, "xmpp.test")
    assert.same({ identities = { { category = "pubsub", type = "pep" },
        { category = "server", type = "im", name = "X" } },
      features = { [INFO] = true, ["urn:a"] = true }, forms = { ["urn:form"] = { admins = { "b", "a" } } } }, info)
    assert.is_true(run(disco.supports, "xmpp.test", "urn:a"))
    assert.is_false(run(disco.supports, "xmpp.test", "urn:b"))
    assert.equal(1, #asked) -- each server is asked once
    run(disco.info, "xmpp.test", { fresh = true })
    assert.equal(2, #asked)
  end)

  it("asks others each time, with a node", function()
    world["bob@xmpp.test/pc info n"] = { feature "urn:n" }
    for _ = 1, 2 do
      assert.same({ ["urn:n"] = true }, run(disco.info, "bob@xmpp.test/pc", { node = "n" }).features)
    end
    assert.equal(2, #asked)
    local none, err = run(disco.info, "bob@xmpp.test/pc")
    assert.is_nil(none)
    assert.equal("item-not-found", err.condition)
    none, err = run(disco.supports, "bob@xmpp.test/pc", "urn:n")
    assert.is_nil(none)
    assert.equal("item-not-found", err.condition)
  end)

  it("returns nothing of a malformed answer", function()
    for says, path in pairs {
      ["query.feature.var: missing"] = { feature() }, ["query.identity.category: missing"] = { identity(nil, "im") },
      ["query.identity.type: missing"] = { feature "x", identity("server", nil) },
      ["query: missing"] = { "raw", { "query", { xmlns = ITEMS } } },
      ["query.node: another one was asked for"] = { "raw", { "query", { xmlns = INFO, node = "x" } } },
      ["query.x.field 'a': twice"] = { { "x", { xmlns = "jabber:x:data" }, { "field", { var = "a" } },
        { "field", { var = "a" } } } },
      ["query.x.field.var: missing"] = { { "x", { xmlns = "jabber:x:data" }, { "field", {} } } },
    } do
      world["xmpp.test info "] = path
      assert.equal("the answer of xmpp.test: " .. says, bad(disco.info, "xmpp.test"))
    end
    world["xmpp.test info "] = { "raw" }
    assert.equal("the answer of xmpp.test: query: missing", bad(disco.info, "xmpp.test"))
  end)
end)

describe("disco.items", function()
  stage.around(prepare)

  -- A service with n items, which it sends in pages of `page`.
  local function pages(n, page)
    return function(query)
      local request = xexpr.child(query, "set", RSM)
      local first, out = tonumber(xexpr.text(request, "after", RSM) or 0) + 1, {}
      local last = math.min(n, first + math.min(page, tonumber(xexpr.text(request, "max", RSM))) - 1)
      for i = first, last do out[#out + 1] = item(("room%d@rooms.xmpp.test"):format(i)) end
      out[#out + 1] = { "set", { xmlns = RSM }, { "count", {}, n } }
      if first <= last then
        table.insert(out[#out], { "first", { index = first - 1 }, first })
        table.insert(out[#out], { "last", {}, last })
      end
      return out
    end
  end

  it("gives all pages, each item once", function()
    world["rooms.xmpp.test items "] = pages(250, 100)
    local items = run(disco.items, "rooms.xmpp.test")
    assert.equal(250, #items)
    assert.same({ jid = "room250@rooms.xmpp.test" }, items[250])
    assert.is_nil(items.more)
    assert.equal(3, #asked)
    world["rooms.xmpp.test items "] = { item("A@xmpp.test", "n", "N"), item("a@xmpp.test", "n"), item "a@xmpp.test" }
    assert.same({ { jid = "a@xmpp.test", node = "n", name = "N" }, { jid = "a@xmpp.test" } },
      run(disco.items, "rooms.xmpp.test"))
    world["rooms.xmpp.test items "] = {}
    assert.same({}, run(disco.items, "rooms.xmpp.test"))
  end)

  it("stops at its bound, and says so", function()
    world["rooms.xmpp.test items "] = pages(5000, 100)
    local items = run(disco.items, "rooms.xmpp.test")
    assert.equal(1000, #items)
    assert.is_true(items.more)
    assert.equal(10, #asked)
    items = run(disco.items, "rooms.xmpp.test", { max = 7 })
    assert.equal(7, #items)
    assert.is_true(items.more)
    world["rooms.xmpp.test items "] = pages(7, 100)
    items = run(disco.items, "rooms.xmpp.test", { max = 7 })
    assert.equal(7, #items)
    assert.is_nil(items.more)
  end)

  it("keeps a thousand of a hundred thousand that come at once", function()
    local all = {}
    for i = 1, 100000 do all[i] = item(("r%d@rooms.xmpp.test"):format(i)) end
    world["rooms.xmpp.test items "] = all
    local items = run(disco.items, "rooms.xmpp.test")
    assert.equal(1000, #items)
    assert.is_true(items.more)
    assert.equal(1, #asked)
  end)

  it("is not misled by pages that don't move", function()
    local page = 0
    local function set_of(last) return { "set", { xmlns = RSM }, { "first", {}, last }, { "last", {}, last } } end
    world["rooms.xmpp.test items "] = function()
      page = page + 1
      return { item(("r%d@xmpp.test"):format(page)), set_of "x" }
    end
    assert.truthy(bad(disco.items, "rooms.xmpp.test"):find("set.last: does not move", 1, true))
    assert.equal(2, #asked)
    world["rooms.xmpp.test items "] = function()
      page = page + 1
      return { item(("r%d@xmpp.test"):format(page)), set_of(page % 3) }
    end
    assert.truthy(bad(disco.items, "rooms.xmpp.test"):find("does not move", 1, true))
    world["rooms.xmpp.test items "] = function() -- always another page with the same item
      page = page + 1
      return { item "r@xmpp.test", set_of(page) }
    end
    assert.truthy(bad(disco.items, "rooms.xmpp.test"):find("does not move", 1, true))
  end)

  it("returns nothing of a malformed answer", function()
    for says, answers in pairs {
      ["query.item[2].item.jid: missing"] = { item "a@xmpp.test", item() },
      ["query.item[1].item.jid: '@'"] = { item "@" },
      ["query.set.count: a whole number expected"] = { { "set", { xmlns = RSM }, { "count", {}, "many" } } },
      ["query.set: only one of 'first' and 'last'"] = { { "set", { xmlns = RSM }, { "last", {}, "1" } } },
      ["query.set: an id of more than 4096 bytes"] = { item "a@xmpp.test",
        { "set", { xmlns = RSM }, { "first", {}, "1" }, { "last", {}, ("'"):rep(4097) } } },
    } do
      world["rooms.xmpp.test items "] = answers
      assert.equal("the answer of rooms.xmpp.test: " .. says, bad(disco.items, "rooms.xmpp.test"))
    end
  end)
end)

describe("rsm", function()
  it("asks for a page and reads what comes", function()
    local function request(word, text) return { "set", { xmlns = RSM }, { "max", {}, 10 }, { word, {}, text } } end
    assert.same(request("after", "x"), rsm.request { max = 10, after = "x" })
    assert.same(request("before", ""), rsm.request { max = 10, before = "" })
    local set = { "set", { xmlns = RSM }, { "first", { index = "3" }, "a" }, { "last", {}, "b" }, { "count", {}, "9" } }
    assert.same({ first = "a", last = "b", index = 3, count = 9 }, rsm.read { "query", {}, set })
    assert.is_nil(rsm.read { "query", {} })
    for _, which in ipairs { 3, 4 } do
      set[which][3] = ("'"):rep(4096)
      assert.equal(4096, #rsm.read({ "query", {}, set })[which == 3 and "first" or "last"])
      set[which][3] = ("'"):rep(4097)
      local page, why = rsm.read { "query", {}, set }
      assert.same({ nil, "set: an id of more than 4096 bytes" }, { page, why })
      set[which][3] = "a"
    end
  end)
end)

describe("disco.find", function()
  stage.around(prepare)

  it("returns the server, else the first of its items that matches", function()
    world["xmpp.test info "] = { identity("server", "im"), feature "urn:server" }
    assert.equal("xmpp.test", run(disco.find, "urn:server").jid)
    world["xmpp.test items "] = { item "a.xmpp.test", item("b.xmpp.test", "node"), item "c.xmpp.test",
      item "d.xmpp.test" }
    world["a.xmpp.test info "] = "forbidden"
    world["c.xmpp.test info "] = { identity("conference", "text"), feature "urn:c" }
    world["d.xmpp.test info "] = world["c.xmpp.test info "]
    local found = run(disco.find, "urn:c")
    assert.equal("c.xmpp.test", found.jid)
    assert.is_true(found.info.features["urn:c"])
    assert.equal("c.xmpp.test", run(disco.find, { category = "conference" }).jid)
    assert.equal("xmpp.test", run(disco.find, { category = "server", type = "im" }).jid)
    local none, err = run(disco.find, { category = "conference", type = "irc" })
    assert.is_nil(none)
    assert.equal("item-not-found", err.condition)
  end)

  it("asks eight at a time", function()
    local items, most = {}, 0
    for i = 1, 30 do items[i] = item(("s%d.xmpp.test"):format(i)) end
    world["xmpp.test info "], world["xmpp.test items "] = {}, items
    local done
    xmpp.spawn(function() done = { disco.find(conn, "urn:x") } end)
    repeat
      fed.settle()
      local sent = stage.sent(f)
      most = math.max(most, #sent)
      for _, x in ipairs(sent) do answer(x) end
    until #sent == 0
    fed.settle()
    assert.equal("item-not-found", done[2].condition)
    assert.equal(8, most)
  end)
end)

describe("disco.walk", function()
  stage.around(prepare)

  it("gives a tree, each entity once", function()
    world["xmpp.test info "] = { identity("server", "im") }
    world["xmpp.test items "] = { item("a.xmpp.test", nil, "A"), item "b.xmpp.test" }
    world["a.xmpp.test info "] = { feature "urn:a" }
    world["a.xmpp.test items "] = { item "xmpp.test", item("a.xmpp.test", "n"), item "b.xmpp.test" } -- loops
    world["a.xmpp.test info n"] = { feature "urn:n" }
    world["a.xmpp.test items n"] = { item("a.xmpp.test", "n"), item("a.xmpp.test", "deeper") }
    local tree = run(disco.walk, "xmpp.test", { depth = 2 })
    assert.same({ jid = "xmpp.test", identities = { { category = "server", type = "im" } }, features = {}, forms = {},
      items = {
        { jid = "a.xmpp.test", name = "A", identities = {}, features = { ["urn:a"] = true }, forms = {}, items = {
          { jid = "xmpp.test" },
          { jid = "a.xmpp.test", node = "n", identities = {}, features = { ["urn:n"] = true }, forms = {} },
          { jid = "b.xmpp.test" } } },
        { jid = "b.xmpp.test", error = "item-not-found" } } }, tree)
  end)

  it("ends though the items never do", function()
    local n = 0
    setmetatable(world, { __index = function(_, key)
      if key:find " info " then return { feature "urn:x" } end
      n = n + 1
      return { item(("x%d.evil.test"):format(n)), item(("y%d.evil.test"):format(n)), item "xmpp.test" }
    end })
    local tree = run(disco.walk, "xmpp.test", { depth = 50 })
    assert.is_true(tree.more)
    local infos = 0
    for _, key in ipairs(asked) do infos = infos + (key:find " info " and 1 or 0) end
    assert.equal(200, infos)
    asked = {}
    run(disco.walk, "xmpp.test", { depth = 2, max = 5 })
    assert.is_true(#asked <= 10)
  end)

  it("asks for no node that a service could make too long for our server", function()
    local long, fits = ("'"):rep(4097), ("'"):rep(4096)
    world["xmpp.test info "], world["xmpp.test items "] = {}, { item("a.test", long), item("b.test", fits) }
    world["b.test info " .. fits] = { feature "urn:b" }
    local tree = run(disco.walk, "xmpp.test", { depth = 1 })
    assert.same({ { jid = "a.test", node = long, error = "bad-format" },
      { jid = "b.test", node = fits, identities = {}, features = { ["urn:b"] = true }, forms = {} } }, tree.items)
    for _, key in ipairs(asked) do assert.is_nil(key:find("a.test", 1, true)) end
  end)

  it("says why its root has no info", function()
    local none, err = run(disco.walk, "nobody.test")
    assert.is_nil(none)
    assert.equal("item-not-found", err.condition)
  end)
end)

describe("disco's trees", function()
  local TREE = { jid = "xmpp.test",
    identities = { { category = "a", type = "b", name = "\"<\\\n\195\164", lang = "de" } },
    features = { ["urn:b"] = true, ["urn:a"] = true }, forms = { ["urn:f"] = { forms = { "x", "y" }, none = {} } },
    items = { { jid = "a.xmpp.test", node = "n", name = "N" },
      { jid = "b.xmpp.test", identities = {}, features = {}, forms = {}, items = {}, more = true },
      { jid = "c.xmpp.test", error = "forbidden" } } }
  local TEXT = [[{"jid":"xmpp.test",]]
    .. [["identities":[{"name":"\u0022<\u005c\u000aä","category":"a","type":"b","lang":"de"}],]]
    .. [["features":["urn:a","urn:b"],"forms":{"urn:f":{"forms":["x","y"],"none":[]}},"items":[{"jid":"a.xmpp.test",]]
    .. [["node":"n","name":"N"},{"jid":"b.xmpp.test","identities":[],"features":[],"forms":{},"items":[],"more":true},]]
    .. [[{"jid":"c.xmpp.test","error":"forbidden"}]}]]

  it("are plain data, and equal trees have equal texts", function()
    assert.same({ "urn:a", "urn:b" }, disco.to_tree(TREE).features)
    assert.same(TREE, disco.from_tree(disco.to_tree(TREE)))
    assert.equal(TEXT, disco.to_json(TREE))
  end)

  if pcall(require, "cjson") then
    it("come back from JSON", function()
      assert.same(TREE, disco.from_json(TEXT))
      local none, err = disco.from_json "{"
      assert.is_nil(none)
      assert.equal("not-well-formed", err.condition)
      none, err = disco.from_json '{"jid":null}'
      assert.is_nil(none)
      assert.equal("bad-format", err.condition)
      none, err = disco.from_json(('{"jid":"a","items":['):rep(150) .. ("]}"):rep(150))
      assert.is_nil(none)
      assert.truthy(err.text:find("deeper than 100", 1, true))
    end)
  end

  it("that are malformed are refused with a path", function()
    for path, data in pairs {
      ["tree: object expected, got number"] = 5,
      ["tree.jid: string expected, got nil"] = {},
      ["tree.jid: '@' is no address"] = { jid = "@" },
      ["tree.items: list expected, got string"] = { jid = "a", items = "x" },
      ["tree.items[2].node: string expected, got number"] = { jid = "a",
        items = { { jid = "b" }, { jid = "c", node = 1 } } },
      ["tree.features[1]: string expected, got boolean"] = { jid = "a", features = { true } },
      ["tree.identities[1].type: string expected, got nil"] = { jid = "a", identities = { { category = "x" } } },
      ["tree.forms[\"urn:f\"][\"v\"]: list expected, got string"] = { jid = "a", features = {},
        forms = { ["urn:f"] = { v = "x" } } },
    } do
      local none, err = disco.from_tree(data)
      assert.is_nil(none)
      assert.equal("bad-format", err.condition)
      assert.equal(path, err.text)
    end
  end)

  it("with a loop in them are refused", function()
    local tree = { jid = "a", items = {} }
    tree.items[1] = tree
    assert.has_error(function() disco.to_json(tree) end, "a tree deeper than 100, or with a loop in it")
    assert.equal("bad-format", select(2, disco.from_tree(tree)).condition)
  end)
end)

-- Answering queries

local function ask(kind, from, node, to, child)
  local query = { "query", { xmlns = kind, node = node }, child }
  f:feed(xexpr.to_xml { "iq", { type = "get", id = "1", from = from, to = to }, query })
  local sent = stage.sent(f)
  assert.equal(1, #sent)
  return sent[1][3], sent[1]
end

local function refused(kind, ...)
  local e, stanza = ask(kind, ...)
  assert.equal("error", stanza[2].type)
  return e[3][1]
end

describe("disco, used by a client,", function()
  stage.around(prepare)

  it("answers our account and server, and nobody else", function()
    ext.use(conn, disco)
    local mine = { "query", { xmlns = INFO }, identity("client", "bot", "xmpp"), feature(INFO), feature(ITEMS) }
    assert.same(mine, (ask(INFO, "me@xmpp.test/there")))
    assert.same(mine, (ask(INFO, nil)))
    assert.same(mine, (ask(INFO, "xmpp.test")))
    assert.same({ "query", { xmlns = ITEMS } }, (ask(ITEMS, "me@xmpp.test")))
    for _, stranger in ipairs { "eve@xmpp.test/x", "me@evil.test/x", "evil.test" } do
      assert.equal("service-unavailable", refused(INFO, stranger))
      assert.equal("service-unavailable", refused(ITEMS, stranger))
      assert.equal("item-not-found", refused(INFO, stranger, "n"))
    end
    assert.equal("item-not-found", refused(INFO, "me@xmpp.test/there", "n"))
    local off = disco.allow(conn, function(from) return from == "bob@xmpp.test/pc" end)
    assert.same(mine, (ask(INFO, "bob@xmpp.test/pc")))
    off()
    assert.equal("service-unavailable", refused(INFO, "bob@xmpp.test/pc"))
  end)

  it("has what the program adds", function()
    ext.use(conn, disco, { identity = { category = "client", type = "pc", name = "Me" }, allow = "all" })
    local off = disco.add(conn, "urn:x")
    disco.add(conn, { category = "automation", type = "rpc" })
    disco.add(conn, { jid = "me@xmpp.test/here", node = "n", name = "N" })
    assert.same({ "query", { xmlns = INFO }, identity("client", "pc", "Me"), identity("automation", "rpc"),
      feature(INFO), feature(ITEMS), feature "urn:x" }, (ask(INFO, "bob@xmpp.test/pc")))
    assert.same({ "query", { xmlns = ITEMS }, item("me@xmpp.test/here", "n", "N") }, (ask(ITEMS, "bob@xmpp.test/pc")))
    assert.is_true(off())
    assert.is_false(off())
    assert.equal(6, #(ask(INFO, "bob@xmpp.test/pc")))
    stage.refuses("feature, identity or item expected", function() disco.add(conn, {}) end)
  end)

  it("serves nodes, each with its own items and permission", function()
    ext.use(conn, disco)
    local off = disco.serve(conn, { node = "n", identities = { { category = "a", type = "b" } }, features = { "urn:n" },
      items = function(from) return { { jid = from } } end,
      allow = function(from) return from == "bob@xmpp.test/pc" end,
      forms = { ["urn:f"] = { v = { "1" } } } })
    local x = ask(INFO, "bob@xmpp.test/pc", "n")
    assert.same({ xmlns = INFO, node = "n" }, x[2])
    assert.same({ identity("a", "b"), feature(INFO), feature "urn:n" }, { x[3], x[4], x[5] })
    assert.same({ "x", { xmlns = "jabber:x:data", type = "result" },
      { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, "urn:f" } },
      { "field", { var = "v" }, { "value", {}, "1" } } }, x[6])
    assert.same({ "query", { xmlns = ITEMS, node = "n" }, item "bob@xmpp.test/pc" },
      (ask(ITEMS, "bob@xmpp.test/pc", "n")))
    assert.equal("item-not-found", refused(INFO, "eve@xmpp.test/pc", "n"))
    stage.refuses("an entity at that address and node already", function() disco.serve(conn, { node = "n" }) end)
    local bad_one = { identities = { { category = "x" } } }
    stage.refuses("entity.identities[1].type: string expected", function() disco.serve(conn, bad_one) end)
    off()
    assert.equal("item-not-found", refused(INFO, "bob@xmpp.test/pc", "n"))
  end)

  it("has pages", function()
    ext.use(conn, disco, { allow = "all" })
    local items = {}
    for i = 1, 25 do items[i] = { jid = ("r%d@xmpp.test"):format(i) } end
    disco.serve(conn, { node = "n", items = items })
    local function page(request) return ask(ITEMS, "bob@xmpp.test/pc", "n", nil, rsm.request(request)) end
    local x = page { max = 10 }
    assert.equal(13, #x)
    assert.same({ first = "1", last = "10", index = 0, count = 25 }, rsm.read(x))
    x = page { max = 10, after = "20" }
    assert.same(item "r21@xmpp.test", x[3])
    assert.same({ first = "21", last = "25", index = 20, count = 25 }, rsm.read(x))
    x = page { max = 3, before = "" }
    assert.same({ first = "23", last = "25", index = 22, count = 25 }, rsm.read(x))
    x = page { max = 3, before = "3" }
    assert.same({ first = "1", last = "2", index = 0, count = 25 }, rsm.read(x))
    assert.same({ count = 25 }, rsm.read(page { max = 0 }))
    assert.equal(28, #page { max = "x" })
    for _, nonsense in ipairs { "-5", "1e9", "0x10", "nan", "1.5", "-0" } do
      assert.truthy(rsm.read(page { max = nonsense, after = nonsense }), nonsense)
      assert.truthy(rsm.read(page { max = nonsense, before = nonsense }), nonsense)
    end
  end)

  it("leaves nothing when it is dropped", function()
    ext.use(conn, disco, { allow = "all" })
    ext.drop(conn, disco)
    conn:set_handler()
    assert.equal("service-unavailable", refused(INFO, "me@xmpp.test/there"))
    ext.use(conn, disco)
    assert.equal("service-unavailable", refused(INFO, "bob@xmpp.test/pc"))
  end)
end)

describe("disco, used by a component,", function()
  stage.around(prepare, { jid = "rooms.xmpp.test", component = true })

  local function entity(at, node, name, items)
    return { at = at, node = node, identities = { { category = "hierarchy", type = "branch", name = name } },
      items = items }
  end

  it("answers everybody, each address with its own info", function()
    ext.use(conn, disco)
    assert.same(identity("component", "generic", "xmpp"), ask(INFO, "bob@xmpp.test/pc", nil, "rooms.xmpp.test")[3])
    disco.serve(conn, entity("tea@rooms.xmpp.test", nil, "tea"))
    disco.serve(conn, entity(nil, nil, "all"))
    assert.same(identity("hierarchy", "branch", "tea"), ask(INFO, "bob@xmpp.test/pc", nil, "tea@rooms.xmpp.test")[3])
    assert.same(identity("hierarchy", "branch", "all"), ask(INFO, "bob@xmpp.test/pc", nil, "milk@rooms.xmpp.test")[3])
    assert.same(identity("hierarchy", "branch", "all"), ask(INFO, "bob@xmpp.test/pc", nil, "rooms.xmpp.test")[3])
    local _, stanza = ask(INFO, "bob@xmpp.test/pc", nil, "tea@rooms.xmpp.test")
    assert.equal("tea@rooms.xmpp.test", stanza[2].from)
  end)

  it("returns what it serves as a tree, as disco.walk would, with loops", function()
    ext.use(conn, disco)
    local here = "rooms.xmpp.test"
    disco.serve(conn, entity(nil, nil, "root", { { jid = here, node = "node0" } }))
    disco.serve(conn, entity(here, "node0", "zero", { { jid = here, node = "node1", name = "One" }, { jid = here } }))
    disco.serve(conn, entity(nil, "node1", "one", { { jid = here, node = "node0" }, { jid = "else.test" } }))
    local tree = disco.tree(conn)
    assert.same({ jid = here, node = "node0" }, { jid = tree.items[1].jid, node = tree.items[1].node })
    assert.equal("zero", tree.items[1].identities[1].name)
    assert.same({ jid = here }, tree.items[1].items[2])
    assert.equal("one", tree.items[1].items[1].identities[1].name)
    assert.same({ { jid = here, node = "node0" }, { jid = "else.test" } }, tree.items[1].items[1].items)
    assert.same(tree, disco.from_tree(disco.to_tree(tree)))
  end)
end)
