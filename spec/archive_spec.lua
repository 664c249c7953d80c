-- archive: queries (XEP-0313, XEP-0059, XEP-0441): what counts as an answer, pages, catching up, links that are lost.
local archive = require "xmpp.archive"
local chat = require "xmpp.chat"
local ext = require "xmpp.ext"
local luas = require "spec.support.luas"
local muc = require "xmpp.muc"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local ME, OWN, TEA = "bot@example.net/test", "bot@example.net", "tea@rooms.example.net"
local MAM, RSM = "urn:xmpp:mam:2", "http://jabber.org/protocol/rsm"
local QUERY = { "iq", { type = "set" }, { "query", { xmlns = MAM } } }

local function refused(condition, ok, err, ...)
  assert.is_nil(ok)
  assert.equal("stanza", err.layer)
  assert.equal(condition, err.condition)
  return err, ...
end

-- f raises an error with this text, and with the line where f begins.
local function raises(f, text)
  local ok, err = pcall(f)
  local info = debug.getinfo(f, "S")
  assert.is_false(ok)
  assert.equal(("%s:%d: %s"):format(info.short_src, info.linedefined, text), err)
end

local function texts(list)
  local out = {}
  for i, m in ipairs(list) do out[i] = m.text end
  return table.concat(out, " ")
end

local function all(conn, opts)
  local out = {}
  for m in archive.each(conn, opts) do out[#out + 1] = m end
  return texts(out)
end

local function numbers(n)
  local out = {}
  for i = 1, n do out[i] = tostring(i) end
  return out
end

local function result(text, o)
  return { "message", { from = o.from, to = ME }, { "result", { xmlns = MAM, id = o.id or "x", queryid = o.queryid },
    { "forwarded", { xmlns = "urn:xmpp:forward:0" }, { "delay", { xmlns = "urn:xmpp:delay",
      stamp = "2023-11-14T22:00:00Z" } }, { "message", { xmlns = "jabber:client", type = o.type or "chat",
        from = o.inner or "anna@example.net/pc", to = ME }, { "body", {}, text } } } } }
end

local function fin(first, last, complete)
  return { "fin", { xmlns = MAM, complete = complete }, { "set", { xmlns = RSM }, { "first", {}, first },
    { "last", {}, last } } }
end

describe("an archive", function()
  it("is read by pages, both ways, oldest first in each", testing.around(function(t)
    local a = t:archive(numbers(7))
    local page = assert(archive.query(t.conn, { max = 3 }))
    assert.equal("1 2 3", texts(page))
    assert.same({ false, 7, 0, "archived-1", "archived-3" },
      { page.complete, page.count, page.index, page.first, page.last })
    page = assert(archive.query(t.conn, { max = 3, after = page.last }))
    assert.equal("4 5 6", texts(page))
    page = assert(archive.query(t.conn, { max = 3, after = page.last }))
    assert.equal("7", texts(page))
    assert.is_true(page.complete)
    page = assert(archive.query(t.conn, { max = 3, before = "" }))
    assert.equal("5 6 7", texts(page))
    page = assert(archive.query(t.conn, { max = 3, before = page.first }))
    assert.equal("2 3 4", texts(page))
    page = assert(archive.query(t.conn, { max = 3, before = page.first }))
    assert.equal("1", texts(page))
    assert.is_true(page.complete)
    assert.equal(7, #assert(archive.query(t.conn)))
    a:expires(7)
    page = assert(archive.query(t.conn))
    assert.same({ 0, true, 0 }, { #page, page.complete, page.count })
    assert.is_nil(page.last)
  end))

  it("has messages as chat reads them, with the archive's ids and stamps", testing.around(function(t)
    t:archive { { from = "anna@example.net/pc", id = "a1", text = "hello", stamp = 1699990000.25,
      { "stanza-id", { xmlns = "urn:xmpp:sid:0", by = OWN, id = "forged" } },
      { "origin-id", { xmlns = "urn:xmpp:sid:0", id = "o1" } },
      { "delay", { xmlns = "urn:xmpp:delay", stamp = "2001-01-01T00:00:00Z" } } },
      { from = ME, to = "anna@example.net", id = "a2", text = "you too",
        { "replace", { xmlns = "urn:xmpp:message-correct:0", id = "a0" } } } }
    local page = assert(archive.query(t.conn))
    assert.same({ archive_id = "archived-1", stanza_id = "archived-1", by = OWN, id = "a1", origin_id = "o1",
      type = "chat", from = "anna@example.net/pc", to = OWN, peer = "anna@example.net", direction = "in",
      text = "hello", stamp = 1699990000.25, delayed = true, lang = page[1].lang }, page[1])
    local m = page[2]
    assert.same({ "out", "anna@example.net", ME, "you too", { replaces = "a0" } },
      { m.direction, m.peer, m.from, m.text, m.claims })
  end))

  it("leaves out messages without content for a person, unless all are wanted", testing.around(function(t)
    local receipt = { "received", { xmlns = "urn:xmpp:receipts", id = "x" } }
    t:archive { "1", { id = "r", receipt }, { type = "error", text = "failed" }, "2" }
    assert.equal("1 2", texts(assert(archive.query(t.conn))))
    local page = assert(archive.query(t.conn, { all = true }))
    assert.same({ "1", "", "2" }, { page[1].text, page[2].text, page[3].text })
    assert.same(receipt, page[2].stanza[3])
    assert.is_nil(page[1].claims)
  end))

  it("is asked for what was said to somebody, in a time, and for single messages", testing.around(function(t)
    t:archive { { text = "1", stamp = 1000 }, { text = "2", from = "bert@example.net/a", stamp = 2000 },
      { text = "3", from = ME, to = "bert@example.net", stamp = 3000.5 }, { text = "4", stamp = 4000 } }
    assert.equal("2 3", texts(assert(archive.query(t.conn, { with = "Bert@example.net" }))))
    assert.equal("2", texts(assert(archive.query(t.conn, { with = xmpp.jid "bert@example.net/a" }))))
    assert.equal("3 4", texts(assert(archive.query(t.conn, { from = 3000.5 }))))
    assert.equal("2", texts(assert(archive.query(t.conn, { from = 1500, to = 3000 }))))
    local form
    t:on(QUERY, function(stanza) form = stanza[3][3] return fin("a", "b", "true") end)
    archive.query(t.conn, { ids = { "x", "y" }, form = { ["after-id"] = "z" }, with = "anna@example.net" })
    local fields = {}
    for i = 3, #form do
      local values = {}
      for j = 3, #form[i] do values[#values + 1] = form[i][j][3] end
      fields[form[i][2].var] = table.concat(values, " ")
    end
    assert.same({ FORM_TYPE = MAM, ids = "x y", ["after-id"] = "z", with = "anna@example.net" }, fields)
  end))

  it("returns its form, and its first and last message", testing.around(function(t)
    local a = t:archive { { text = "1", stamp = 1000 }, "2", { text = "3", stamp = 3000 } }
    local form = assert(archive.fields(t.conn))
    assert.same({ MAM, "with" }, { form.type, form.fields[1].var })
    assert.same({ first = { id = "archived-1", stamp = 1000 }, last = { id = "archived-3", stamp = 3000 } },
      archive.bounds(t.conn))
    a:expires(3)
    assert.same({}, archive.bounds(t.conn))
  end))

  it("has preferences that can be read and set (XEP-0441)", testing.around(function(t)
    local a = t:archive {}
    assert.same({ default = "always", always = {}, never = {} }, archive.prefs(t.conn))
    local new = { default = "roster", always = { "Anna@example.net" }, never = { "eve@example.net" } }
    assert.same({ default = "roster", always = { "anna@example.net" }, never = { "eve@example.net" } },
      archive.prefs(t.conn, new))
    assert.same({ "prefs", { xmlns = MAM, default = "roster" }, { "always", {}, { "jid", {}, "anna@example.net" } },
      { "never", {}, { "jid", {}, "eve@example.net" } } }, a.prefs)
    a.prefs = { "prefs", { xmlns = MAM, default = "sometimes" } }
    refused("bad-format", archive.prefs(t.conn))
    a.prefs = { "prefs", { xmlns = "urn:other", default = "always" } }
    refused("bad-format", archive.prefs(t.conn))
    raises(function() archive.prefs(t.conn, { default = "all" }) end,
      "bad field 'default' of 'prefs' (always, never or roster expected)")
    raises(function() archive.prefs(t.conn, { default = "always", often = {} }) end, "'prefs' knows no field 'often'")
    raises(function() archive.prefs(t.conn, { default = "always", never = { 1 } }) end,
      "bad field 'never' of 'prefs' (at 1: address expected)")
    raises(function() archive.prefs(t.conn, { default = "always", never = "x" }) end,
      "bad field 'never' of 'prefs' (list expected, got string)")
  end))

  it("may refuse a query, or not exist", testing.around(function(t)
    local a = t:archive { "1" }
    refused("item-not-found", archive.query(t.conn, { after = "gone" }))
    a.refusal = { "cancel", "feature-not-implemented" }
    refused("feature-not-implemented", archive.query(t.conn))
    local answer
    t:on(QUERY, function() return answer end)
    refused("bad-format", archive.query(t.conn))
    answer = { "fin", { xmlns = "urn:other" } }
    refused("bad-format", archive.query(t.conn))
    answer = { "fin", { xmlns = MAM }, { "set", { xmlns = RSM }, { "first", {}, "x" } } }
    refused("bad-format", archive.query(t.conn))
    answer = { "fin", { xmlns = MAM }, { "set", { xmlns = RSM }, { "count", {}, "many" } } }
    refused("bad-format", archive.query(t.conn))
    refused("jid-malformed", archive.query(t.conn, { of = "@@" }))
    refused("jid-malformed", archive.query(t.conn, { with = "@@" }))
  end))

  it("raises at the caller's line for wrong arguments", testing.around(function(t)
    raises(function() archive.query(t.conn, { max = 0 }) end, "bad option 'max' of 'query' (1 to 1,000 expected)")
    raises(function() archive.query(t.conn, { max = 1001 }) end, "bad option 'max' of 'query' (1 to 1,000 expected)")
    raises(function() archive.query(t.conn, { max = 1.5 }) end, "bad option 'max' of 'query' (1 to 1,000 expected)")
    raises(function() archive.query(t.conn, { after = "a", before = "b" }) end,
      "options 'before' and 'after' of 'query' exclude one another")
    raises(function() archive.query(t.conn, { since = 1 }) end, "'query' has no option 'since'")
    raises(function() archive.query(t.conn, { limit = 1 }) end, "'query' has no option 'limit'")
    raises(function() archive.each(t.conn, { limit = 0 }) end,
      "bad option 'limit' of 'each' (a whole number from 1 on expected)")
    raises(function() archive.query(t.conn, { form = { x = print } }) end,
      "bad option 'form' of 'query' (bad value of field 'x' (string expected, got function))")
    raises(function() archive.catch_up(t.conn, nil, print) end,
      "bad argument #2 to 'catch_up' (string expected, got nil)")
    raises(function() archive.catch_up(t.conn, "id") end,
      "bad argument #3 to 'catch_up' (function expected, got nil)")
    raises(function() archive.query({}) end, "bad argument #1 to 'query' (connection expected, got table)")
  end))

  it("a component has none of its own", testing.around(function(t)
    raises(function() archive.query(t.conn) end, "'query': a component has no archive, option 'of' expected")
    local asked
    t:on(QUERY, function(stanza)
      asked = stanza[2]
      t.server:say_stanza(result("said", { from = TEA, queryid = stanza[3][2].queryid, inner = TEA .. "/anna",
        type = "groupchat" }))
      return fin("x", "x", "true")
    end)
    assert.equal("said", texts(assert(archive.query(t.conn, { of = TEA, as = "anna@irc.example.net" }))))
    assert.same({ "anna@irc.example.net", TEA }, { asked.from, asked.to })
  end, { component = "irc.example.net" }))
end)

describe("a result", function()
  -- What the program and chat receive of messages.
  local function ears(t)
    local heard = {}
    chat.use(t.conn):on("message", function(m) heard[#heard + 1] = m.text end)
    t.conn:set_callback(function(stanza) heard[#heard + 1] = stanza[1] end, { name = "message" })
    return heard
  end

  it("counts only from the archive that was asked, with our id, while it is asked", testing.around(function(t)
    local heard = ears(t)
    local id
    t:on(QUERY, function(stanza)
      id = stanza[3][2].queryid
      for _, from in ipairs { "mallory@evil.example/x", "example.net", ME, "bot@example.net.evil.example", TEA,
        "bot@example.net/other" } do
        t.server:say_stanza(result("forged", { from = from, queryid = id }))
      end
      t.server:say_stanza(result("forged", { queryid = "another" }))
      t.server:say_stanza(result("forged", { from = OWN }))
      t.server:say_stanza(result("forged", { queryid = "" }))
      t.server:say_stanza(result("one", { queryid = id }))
      t.server:say_stanza(result("two", { queryid = id, from = "BOT@example.net" }))
      return fin("x", "y", "true")
    end)
    local page = assert(archive.query(t.conn))
    assert.equal("one two", texts(page))
    t:receive(result("late", { queryid = id, from = OWN }))
    assert.equal(2, #page)
    assert.same({}, heard)
  end))

  it("without a query is dropped", testing.around(function(t)
    local heard = ears(t)
    assert(archive.use(t.conn))
    t.forge.mam("mallory@evil.example/x", { "message", { from = "boss@example.net/pc" }, { "body", {}, "pay" } })
    t.forge.mam(nil, { "message", { from = "boss@example.net/pc" }, { "body", {}, "pay" } })
    assert.same({}, heard)
    assert.is_true(ext.drop(t.conn, archive))
    t.forge.mam("mallory@evil.example/x", { "message", { from = "boss@example.net/pc" }, { "body", {}, "pay" } })
    assert.same({ "message" }, heard) -- the program's own, as before
  end))

  it("that isn't received, as the extension was dropped, doesn't make an empty page", testing.around(function(t)
    local id, page, err
    t:on(QUERY, function(stanza) id = stanza[2].id return false end)
    xmpp.spawn(function() page, err = archive.query(t.conn) end)
    t:advance(0)
    assert.is_true(ext.drop(t.conn, archive))
    assert.is_true(ext.drop(t.conn, require "xmpp.archive.ask"))
    t:receive { "iq", { type = "result", id = id, to = ME }, fin("x", "y", "true") }
    assert.is_nil(page)
    assert.equal("closed", err.layer)
  end))

  it("has an id that can't be guessed from another one", testing.around(function(t)
    local ids = {}
    t:on(QUERY, function(stanza) ids[#ids + 1] = stanza[3][2].queryid return fin("x", "y", "true") end)
    for _ = 1, 3 do archive.query(t.conn) end
    assert.is_true(#ids[1] >= 20 and ids[1] ~= ids[2] and ids[2] ~= ids[3])
  end))

  it("of a room is from an occupant, to everybody", testing.around(function(t)
    t:on(QUERY, function(stanza)
      local id = stanza[3][2].queryid
      local function say(text, o)
        o.queryid, o.type = id, o.type or "groupchat"
        t.server:say_stanza(result(text, o))
      end
      say("forged", { from = TEA, inner = "boss@example.net/pc" })
      say("forged", { from = TEA, inner = TEA })
      say("forged", { from = TEA, inner = "tea2@rooms.example.net/anna" })
      say("forged", { from = TEA, inner = TEA .. "/anna", type = "chat" })
      say("forged", { from = TEA .. "/anna", inner = TEA .. "/anna" })
      say("forged", { from = OWN, inner = TEA .. "/anna" })
      say("forged", { inner = TEA .. "/anna" })
      say("said", { from = TEA, inner = TEA .. "/anna" })
      return fin("x", "y", "true")
    end)
    local page = assert(archive.query(t.conn, { of = TEA }))
    assert.equal("said", texts(page))
    assert.same({ "anna", TEA, TEA, "groupchat" }, { page[1].nick, page[1].peer, page[1].by, page[1].type })
  end))

  it("is one of at most as many as were asked for; the rest isn't lost", testing.around(function(t)
    t:on(QUERY, function(stanza)
      local set = stanza[3][3]
      local after = tonumber(set[4] and set[4][3] or "0")
      for i = after + 1, after + 5 do
        t.server:say_stanza(result(tostring(i), { id = tostring(i), queryid = stanza[3][2].queryid }))
      end
      return fin(tostring(after + 1), tostring(after + 5), after == 4 and "true" or nil)
    end)
    local page = assert(archive.query(t.conn, { max = 2 }))
    assert.same({ "1 2", "2", false }, { texts(page), page.last, page.complete })
    assert.equal("1 2 3 4 5 6", all(t.conn, { max = 2, limit = 6 }))
  end))

  it("without an id, or with one that is too long, is ignored", testing.around(function(t)
    t:on(QUERY, function(stanza)
      for _, id in ipairs { "", ("x"):rep(1025), "x" } do
        t.server:say_stanza(result("id " .. #id, { id = id, queryid = stanza[3][2].queryid }))
      end
      return fin("x", "x", "true")
    end)
    assert.equal("id 1", texts(assert(archive.query(t.conn))))
  end))
end)

describe("going through an archive", function()
  it("takes pages as they are needed, forwards and backwards", testing.around(function(t)
    local a = t:archive(numbers(7))
    assert.equal("1 2 3 4 5 6 7", all(t.conn, { max = 2 }))
    assert.equal(4, a.asked)
    assert.equal("7 6 5 4 3 2 1", all(t.conn, { max = 2, before = "" }))
    assert.equal("4 3 2 1", all(t.conn, { before = "archived-5" }))
    assert.equal("6 7", all(t.conn, { after = "archived-5" }))
    a.asked = 0
    assert.equal("1 2 3", all(t.conn, { max = 2, limit = 3 }))
    assert.equal(2, a.asked)
    assert.equal("7 6 5", all(t.conn, { before = "", limit = 3 }))
    assert.equal(3, a.asked)
    a.most = 1
    assert.equal("1 2 3 4 5 6 7", all(t.conn))
  end))

  it("follows the last id, and not the counts", testing.around(function(t)
    local a, out = t:archive(numbers(6)), {}
    for m in archive.each(t.conn, { max = 2 }) do
      out[#out + 1] = m.text
      if m.text == "2" then a:expires(1) a:keeps "7" end
    end
    assert.equal("1 2 3 4 5 6 7", table.concat(out, " "))
  end))

  it("isn't ended by a page without messages for a person", testing.around(function(t)
    local nothing = { { "active", { xmlns = "http://jabber.org/protocol/chatstates" } } }
    t:archive { "1", nothing, nothing, nothing, "2" }
    assert.equal("1 2", all(t.conn, { max = 1 }))
  end))

  it("ends at an empty page that isn't called the last", testing.around(function(t)
    local n = 0
    t:on(QUERY, function(stanza)
      n = n + 1
      if n == 2 then return { "fin", { xmlns = MAM }, { "set", { xmlns = RSM }, { "count", {}, "9" } } } end
      t.server:say_stanza(result("1", { id = "a", queryid = stanza[3][2].queryid }))
      return fin("a", "a")
    end)
    assert.equal("1", all(t.conn, { err = error }))
    assert.equal(2, n)
  end))

  it("ends if the archive's pages repeat in a cycle of any length", testing.around(function(t)
    for length = 1, 6 do
      local n, err = 0, nil
      local off = t:on(QUERY, function(stanza)
        n = n + 1
        local id = "id" .. n % length
        t.server:say_stanza(result("x", { id = id, queryid = stanza[3][2].queryid }))
        return fin(id, id)
      end)
      for _ in archive.each(t.conn, { err = function(why) err = why end }) do assert.is_true(n < 50) end
      assert.same({ "bad-format", true }, { err.condition, n <= 3 * length + 2 })
      n, err = 0, nil
      for _ in archive.each(t.conn, { before = "", err = function(why) err = why end }) do assert.is_true(n < 50) end
      assert.equal("bad-format", err.condition)
      off()
    end
  end))

  it("has the ids of the results where the archive names no first and last", testing.around(function(t)
    t:on(QUERY, function(stanza)
      local after = stanza[3][3][4]
      local id = after and after[3] == "a" and "b" or not after and "a" or nil
      if not id then return { "fin", { xmlns = MAM } } end
      t.server:say_stanza(result(id, { id = id, queryid = stanza[3][2].queryid }))
      return { "fin", { xmlns = MAM } }
    end)
    assert.equal("a b", all(t.conn))
  end))

  it("returns errors instead of raising them, and continues where it was", testing.around(function(t)
    local a, errors = t:archive(numbers(5)), {}
    local next_one = archive.each(t.conn, { max = 2, err = function(err) errors[#errors + 1] = err.condition end })
    assert.same({ "1", "2" }, { next_one().text, next_one().text })
    a.refusal = { "wait", "resource-constraint" }
    local err = refused("resource-constraint", next_one())
    assert.is_true(err.retry)
    a.refusal = nil
    assert.equal("3", next_one().text)
    a:expires(4)
    assert.equal("4", next_one().text) -- it was already on this page
    refused("item-not-found", next_one()) -- and it doesn't begin anew
    assert.same({ "resource-constraint", "item-not-found" }, errors)
    next_one = archive.each(t.conn, { of = "@@" })
    refused("jid-malformed", next_one())
  end))

  it("waits in a coroutine of its own, where a `for` can", testing.around(function(t)
    t:archive(numbers(5))
    local out
    xmpp.spawn(function()
      local texts_of = {}
      if luas.has("yields across iterators", "archive.each in a coroutine") then
        for m in archive.each(t.conn, { max = 2 }) do texts_of[#texts_of + 1] = m.text end
      else
        local next_one = archive.each(t.conn, { max = 2 })
        local m = next_one()
        while m do
          texts_of[#texts_of + 1] = m.text
          m = next_one()
        end
      end
      out = table.concat(texts_of, " ")
    end)
    t:advance(0)
    assert.equal("1 2 3 4 5", out)
  end))

  it("by pages continues after a message, and reports each time that this one is gone", testing.around(function(t)
    local a = t:archive(numbers(5))
    local next_page = archive.pages(t.conn, { max = 2 })
    assert.equal("1 2", texts((next_page())))
    assert.equal("3 4", texts((next_page())))
    assert.equal("5", texts((next_page())))
    assert.is_nil((next_page()))
    next_page = archive.pages(t.conn, { max = 2, since = "archived-4" })
    assert.equal("5", texts((next_page())))
    next_page = archive.pages(t.conn, { since = "archived-5" })
    a.most = 0 -- as Prosody 13: an empty page, whatever is asked for
    refused("item-not-found", next_page())
    refused("item-not-found", next_page())
    a.most = nil
    assert.same({}, { (next_page())[1] })
    assert.is_nil((next_page()))
    raises(function() archive.pages(t.conn, { since = "a", after = "b" }) end,
      "options 'since', 'after' and 'before' of 'pages' exclude one another")
  end))

  it("is over when the connection is", testing.around(function(t)
    t:archive(numbers(5))
    local next_one = archive.each(t.conn, { max = 2 })
    next_one()
    t:close "policy-violation"
    next_one()
    assert.equal("closed", t.conn:state())
    local m, err = next_one()
    assert.is_nil(m)
    assert.is_table(err)
  end, { opts = {} }))
end)

describe("a page under way", function()
  -- Pages through seven messages by threes; the link breaks after result n. Returns texts, and the number of queries.
  local function go(t, n, new, opts)
    local a, said = t:archive(numbers(7)), 0
    opts.max = 3
    a.step = function()
      said = said + 1
      if said == n then
        t.server.up = false
        t.server:cut(not new)
      end
    end
    local out, err
    xmpp.spawn(function()
      local next_one = archive.each(t.conn, opts)
      out = {}
      repeat
        local m, why = next_one()
        out[#out + 1], err = m and m.text, why
      until not m
    end)
    t:advance(0)
    assert.equal(0 < n and n <= 7, t.server.up == false)
    t.server.up = true
    t:advance(60)
    assert.is_nil(err)
    return table.concat(out, " "), a.asked
  end

  for _, way in ipairs { { "a resumed", false }, { "a new", true } } do
    it("continues in " .. way[1] .. " session, wherever the link was cut", function()
      for n = 0, 7 do
        testing.around(function(t)
          local out, asked = go(t, n, way[2], {})
          assert.equal("1 2 3 4 5 6 7", out)
          assert.equal(way[2] and n > 0 and 4 or 3, asked)
        end)()
        testing.around(function(t)
          assert.equal("7 6 5 4 3 2 1", (go(t, n, way[2], { before = "" })))
        end)()
      end
    end)
  end

  it("isn't asked for again and again if the session is lost each time", testing.around(function(t)
    local a = t:archive(numbers(3))
    a.step = function() t.server:cut(false) end
    local err
    xmpp.spawn(function() err = select(2, archive.query(t.conn)) end)
    t:advance(3600)
    assert.same({ "closed", "session-lost", 5 }, { err.layer, err.condition, a.asked })
  end))

  it("ends when its time is over", testing.around(function(t)
    local err
    t:on(QUERY, function() return false end)
    xmpp.spawn(function() err = select(2, archive.query(t.conn, { timeout = 7 })) end)
    t:advance(6)
    assert.is_nil(err)
    t:advance(1)
    assert.equal("timeout", err.layer)
  end))
end)

describe("catching up", function()
  local function caught(t, since, opts)
    local out = {}
    local last, err, reached = archive.catch_up(t.conn, since, function(m) out[#out + 1] = m end, opts)
    return texts(out), last, err, reached
  end

  it("gives what was said since, oldest first, and where to continue", testing.around(function(t)
    local a = t:archive(numbers(7))
    local out, last = caught(t, "archived-3", { max = 2 })
    assert.same({ "4 5 6 7", "archived-7" }, { out, last })
    out, last = caught(t, last)
    assert.same({ "", "archived-7" }, { out, last })
    a:keeps "8"
    assert.equal("8", (caught(t, last)))
    assert.equal("8", (caught(t, t:now())) .. "8") -- it is given out once more
    out, last = caught(t, t:now() + 60)
    assert.equal("", out)
    assert.is_nil(last)
  end))

  it("says so when the message is no longer there, and doesn't begin from the beginning", testing.around(function(t)
    local a = t:archive(numbers(7))
    a:expires(4)
    local out, last, err, reached = caught(t, "archived-3")
    assert.same({ "", nil, "item-not-found", "archived-3" }, { out, last, err.condition, reached })
    assert.equal(1, a.asked)
    a.step = function() if #a.messages == 3 then a:expires(2) end end
    out, last, err, reached = caught(t, "archived-5", { max = 1 })
    assert.same({ "6", nil, "item-not-found", "archived-6" }, { out, last, err and err.condition, reached })
  end))

  it("doesn't report that nothing was missed if the archive has deleted messages", testing.around(function(t)
    local a = t:archive(numbers(3))
    local meanwhile
    t:on(QUERY, function(stanza) -- as Prosody 13 does
      local x = stanza[3][3][4]
      if x and x[1] == "after" and x[3] == "gone" then return { "fin", { xmlns = MAM, complete = "true" } } end
      if x and x[1] == "before" and meanwhile then
        meanwhile = nil
        a:keeps "4"
      end
      local list, id = a.messages, x and x[1] == "after" and tonumber(x[3]:match "%d+") or 0
      local first, last = x and x[1] == "before" and #list or id + 1, #list
      for i = first, last do
        t.server:say_stanza(result(tostring(i), { id = "archived-" .. i, queryid = stanza[3][2].queryid }))
      end
      if first > last then return { "fin", { xmlns = MAM, complete = "true" } } end
      return fin("archived-" .. first, "archived-" .. last, "true")
    end)
    local out, last, err = caught(t, "gone")
    assert.same({ "", nil, "item-not-found" }, { out, last, err.condition })
    out, last = caught(t, "archived-3")
    assert.same({ "", "archived-3" }, { out, last })
    meanwhile = true
    out, last = caught(t, "archived-3")
    assert.same({ "4", "archived-4" }, { out, last })
  end))

  it("leaves out what chat has reported, and chat what it has reported", testing.around(function(t)
    local a, live = t:archive { "1" }, {}
    local c = chat.use(t.conn)
    assert(ext.ready(t.conn, 10))
    c:on("message", function(m) live[#live + 1] = m.text end)
    a:says "2"
    a:keeps "3"
    a:says { text = "4", from = ME:gsub("/.*", "/other"), to = "anna@example.net" }
    c:send("anna@example.net", "5")
    t:expect { "message", { to = "anna@example.net" } }
    a:keeps { text = "6", from = OWN .. "/other", to = "anna@example.net" }
    local out, last = caught(t, "archived-1")
    assert.equal("3 6", out)
    assert.equal("archived-6", last)
    t:receive { "message", { from = "anna@example.net/home", to = ME, type = "chat" }, { "body", {}, "3" },
      { "stanza-id", { xmlns = "urn:xmpp:sid:0", by = OWN, id = "archived-3" } },
      { "delay", { xmlns = "urn:xmpp:delay", stamp = "2023-11-14T22:13:20Z" } } } -- delayed by our server
    assert.equal("2 4", table.concat(live, " "))
  end))

  it("doesn't make chat forget what has come meanwhile", testing.around(function(t)
    local list = numbers(60)
    local a, live = t:archive(list), {}
    local c = chat.use(t.conn, { dedup = 10 })
    assert(ext.ready(t.conn, 10))
    c:on("message", function(m) live[#live + 1] = m.text end)
    a.step = function() if #live == 0 and #a.messages == 60 then a:says "live" end end
    a:says "before"
    assert.equal(table.concat(list, " "), (caught(t, 0, { max = 10 })))
    assert.same({ "before" }, live)
  end))

  it("remembers messages itself if chat isn't used", testing.around(function(t)
    t:archive(numbers(3))
    assert.equal("1 2 3", (caught(t, 0)))
    assert.equal("", (caught(t, 0)))
    assert.is_nil(ext.of(t.conn, chat))
  end))

  it("may wait, and goes on in a new session", testing.around(function(t)
    local a, out, last = t:archive(numbers(5)), {}, nil
    xmpp.spawn(function()
      last = archive.catch_up(t.conn, "archived-1", function(m)
        xmpp.sleep(10)
        out[#out + 1] = m.text
      end, { max = 2 })
    end)
    t:advance(15)
    t:reconnect { new = true }
    t:advance(100)
    assert.same({ "2 3 4 5", "archived-5", 2 }, { table.concat(out, " "), last, a.asked })
  end))

  it("in a room leaves out what the room has reported", testing.around(function(t)
    local service = t:room(TEA, { occupants = { "anna" }, subject = "Tea", history = numbers(3) })
    local room, live = assert(muc.join(t.conn, TEA, "kettle")), {}
    room:on("message", function(m) live[#live + 1] = m.text end)
    service:says("anna", "4")
    room:say "5"
    t:expect { "message", {}, { "body", {}, "5" } }
    local out = caught(t, service.history[1].stanza_id, { of = TEA, max = 2 })
    assert.equal("2 3", out)
    assert.equal("4 5", table.concat(live, " "))
    local page = assert(archive.query(t.conn, { of = TEA }))
    assert.equal("1 2 3 4 5", texts(page))
    assert.same({ true, false, "kettle", true }, { page[5].own, page[4].own, page[5].nick, page[4].history })
    assert.equal(service.occupants.anna.id, page[4].occupant_id)
  end))

  it("in a room waits in a new session until we are in it again", testing.around(function(t)
    local service = t:room(TEA, { occupants = { "anna" }, subject = "Tea", history = numbers(5) })
    local room = assert(muc.join(t.conn, TEA, "kettle"))
    local asked, joined, out = 0, nil, nil
    t:on({ "iq", { to = TEA }, { "query", { xmlns = MAM } } }, function()
      asked = asked + 1
      if asked == 1 then t.server:cut(false) return false end
      joined = room.joined
      return nil, "auth", "forbidden"
    end)
    xmpp.spawn(function() out = select(2, archive.query(t.conn, { of = TEA })) end)
    t:advance(60)
    assert.same({ 2, true, "forbidden" }, { asked, joined, out and out.condition })
    assert.is_table(service.occupants.kettle)
  end))
end)

describe("a test's archive", function()
  it("keeps what the program sends, and refuses what isn't possible", testing.around(function(t)
    local a, live = t:archive {}, {}
    local c = chat.use(t.conn)
    c:on("message", function(m) live[#live + 1] = { m.text, m.by, m.stanza_id } end)
    assert(ext.ready(t.conn, 10))
    local id = a:says { from = "bert@example.net/x", text = "hi" }
    assert.same({ { "hi", OWN, id } }, live)
    c:send("bert@example.net", "hi yourself")
    t:expect { "message", { to = "bert@example.net" } }
    assert.equal("hi hi yourself", texts(assert(archive.query(t.conn, { with = "bert@example.net" }))))
    local ok, why = pcall(function() a:says { txt = "x" } end)
    assert.is_false(ok)
    assert.matches("a message of the archive's has no 'txt'", why)
    ok, why = pcall(function() t:archive "x" end)
    assert.is_false(ok)
    assert.matches("archive%(messages%): list expected, got string", why)
  end))
end)
