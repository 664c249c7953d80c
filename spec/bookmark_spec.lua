-- bookmark: rooms that are kept, joined and left, with xmpp.testing; and attempts by others to make us join theirs.

local bookmark = require "xmpp.bookmark"
local ext = require "xmpp.ext"
local muc = require "xmpp.muc"
local presence = require "xmpp.presence"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME, NODE, STORAGE = "bot@example.net", "urn:xmpp:bookmarks:1", "storage:bookmarks"
local COMPAT = { more = { NODE .. "#compat" } }
local TEA, COFFEE = "tea@rooms.example.net", "coffee@rooms.example.net"
local EVENT = "http://jabber.org/protocol/pubsub#event"
local PRIVATE = { "iq", { type = "get" }, { "query", { xmlns = "jabber:iq:private" } } }
local PRIVATE_SET = { "iq", { type = "set" }, { "query", { xmlns = "jabber:iq:private" } } }

local function conference(autojoin, ...)
  return { "conference", { xmlns = NODE, name = "Tea", autojoin = autojoin }, ... }
end

local function legacy(...)
  return { "query", { xmlns = "jabber:iq:private" }, { "storage", { xmlns = STORAGE }, ... } }
end

-- The bookmarks as texts.
local function listed(b)
  local out = {}
  for jid, entry in pairs(b.list) do out[#out + 1] = jid .. (entry.autojoin and " *" or "") end
  table.sort(out)
  return out
end

local function joined(t)
  local m, out = ext.of(t.conn, muc), {}
  for jid, room in pairs(m and m.rooms or {}) do
    if room.joined then out[#out + 1] = jid end
  end
  table.sort(out)
  return out
end

local function ear(b)
  local heard = {}
  for _, event in ipairs { "added", "changed", "removed", "fetched", "error" } do
    b:on(event, function(x) heard[#heard + 1] = event .. " " .. tostring(x.jid or x.condition or "") end)
  end
  return heard
end

local function task(t, f)
  local results = {}
  xmpp.spawn(function() results[1], results[2] = f() end)
  t:advance(0)
  return results
end

-- Uses the extension, sends presence, which is expected, and waits for the bookmarks.
local function use(t, opts)
  local b = bookmark.use(t.conn, opts)
  presence.set(t.conn, {})
  assert(b:fetched(10))
  t:expect { "presence" }
  return b
end

describe("bookmarks", function()
  it("are fetched, and those with autojoin joined", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    t:room(TEA)
    t:room(COFFEE)
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    account:publish(NODE, conference("true", { "nick", {}, "kettle" }, { "password", {}, "secret" }), TEA)
    account:publish(NODE, conference("1"), "Coffee@rooms.example.net")
    account:publish(NODE, conference("false"), "milk@rooms.example.net")
    local rooms = {}
    local b = use(t, { nick = "cup", on_room = function(room, entry) rooms[entry.jid] = room.nick end })
    assert.same({ COFFEE .. " *", "milk@rooms.example.net", TEA .. " *" }, listed(b))
    assert.same({ jid = TEA, name = "Tea", nick = "kettle", password = "secret", autojoin = true }, b.list[TEA])
    t:advance(10)
    assert.same({ COFFEE, TEA }, joined(t))
    assert.same({ [TEA] = "kettle", [COFFEE] = "cup" }, rooms)
  end))

  it("are followed while others of our clients change them", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "whitelist", max_items = "max", send_last_published_item = "never" })
    t:room(TEA)
    local b = use(t)
    local heard = ear(b)
    account:publish(NODE, conference("true"), TEA)
    t:advance(10)
    assert.same({ TEA }, joined(t))
    account:publish(NODE, conference("true"), TEA) -- unchanged
    account:publish(NODE, conference(nil), TEA)
    t:advance(10)
    assert.same({}, joined(t))
    account:publish(NODE, conference("true"), TEA)
    t:advance(10)
    account:retract(NODE, TEA)
    t:advance(10)
    assert.same({}, joined(t))
    assert.same({}, listed(b))
    account:publish(NODE, conference("true"), TEA)
    t:advance(10)
    account:purge(NODE)
    t:advance(10)
    assert.same({}, joined(t))
    assert.same({ "added " .. TEA, "changed " .. TEA, "changed " .. TEA, "removed " .. TEA, "added " .. TEA,
      "removed " .. TEA }, heard)
  end))

  it("are only accepted from our account: a forged one joins nothing", testing.around(function(t)
    t:pubsub(nil, COMPAT)
    t:room(TEA)
    local b = use(t)
    for _, from in ipairs { "mallory@evil.example", "mallory@evil.example/x", ME .. "/other", "example.net", TEA,
      "pubsub.example.net" } do
      t:receive { "message", { from = from, to = ME .. "/test" }, { "event", { xmlns = EVENT },
        { "items", { node = NODE }, { "item", { id = TEA }, conference("true") } } } }
      t.forge.bookmark(from, TEA)
    end
    t:advance(10)
    assert.same({}, listed(b))
    assert.same({}, joined(t))
  end))

  it("that are no bookmarks are passed over", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    account:publish(NODE, conference("true"), "rooms.example.net")
    account:publish(NODE, conference("true"), TEA .. "/nick")
    account:publish(NODE, conference("true"), "@@")
    account:publish(NODE, { "conference", { xmlns = "urn:x", autojoin = "true" } }, TEA)
    account:publish(NODE, nil, COFFEE)
    local b = use(t)
    t:advance(10)
    assert.same({}, listed(b))
    account:publish(NODE, { "conference", { xmlns = "urn:x", autojoin = "true" } }, TEA)
    account:publish(NODE, nil, COFFEE)
    t:advance(10)
    assert.same({}, listed(b))
  end))

  it("are limited in number", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    for i = 1, 5 do account:publish(NODE, conference(), ("r%d@rooms.example.net"):format(i)) end
    local b = use(t, { max = 3 })
    account:publish(NODE, conference(), "r9@rooms.example.net")
    assert.equal(3, #listed(b))
    account:retract(NODE, "r1@rooms.example.net")
    account:publish(NODE, conference(), "r9@rooms.example.net")
    assert.same({ "r2@rooms.example.net", "r3@rooms.example.net", "r9@rooms.example.net" }, listed(b))
  end))

  it("are stored for our account only, all of them, with other clients' extensions", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    t:room(TEA)
    local b = use(t)
    assert.same({ true }, task(t, function() return b:set(TEA, { name = "Tea", nick = "pot", autojoin = true }) end))
    t:advance(10)
    assert.same({ TEA }, joined(t))
    local n = account.nodes[NODE]
    assert.same({ "whitelist", "1", "max", "never" }, { n.config["pubsub#access_model"],
      n.config["pubsub#persist_items"], n.config["pubsub#max_items"], n.config["pubsub#send_last_published_item"] })
    assert.equal(TEA, n.items[1].id)
    local kept = { "conference", { xmlns = NODE, name = "Tea", autojoin = "true" }, { "nick", {}, "pot" } }
    assert.is_true(xexpr.match(kept)(n.items[1].payload))

    account:publish(NODE, conference("true", { "nick", {}, "pot" },
      { "extensions", {}, { "x", { xmlns = "urn:example:colour" }, "red" } }), TEA)
    assert.same({ true }, task(t, function() return b:set(TEA, { nick = "", name = "Green" }) end))
    local x = n.items[1].payload
    assert.equal("red", xexpr.text(xexpr.find(x, "extensions", "x")))
    assert.same({ "Green", "true" }, { x[2].name, x[2].autojoin })
    assert.is_nil(xexpr.child(x, "nick"))
    assert.same({ jid = TEA, name = "Green", autojoin = true }, b.list[TEA])

    assert.same({ true }, task(t, function() return b:remove(TEA) end))
    t:advance(10)
    assert.same({}, joined(t))
    assert.same({}, n.items)
    assert.equal("item-not-found", task(t, function() return b:remove(TEA) end)[2].condition)
  end))

  it("are never published for others, and none is dropped", testing.around(function(t)
    t:pubsub(nil, COMPAT)
    local b, sent = use(t), nil
    t:on({ "iq", { type = "set" }, { "pubsub", {}, { "publish" } } }, function(stanza)
      sent = stanza
      return false
    end)
    task(t, function() return b:set(TEA) end)
    local options = {}
    for f in xexpr.children(xexpr.find(sent, "pubsub", "publish-options", "x"), "field") do
      options[f[2].var] = xexpr.text(f, "value")
    end
    assert.same({ FORM_TYPE = "http://jabber.org/protocol/pubsub#publish-options", ["pubsub#max_items"] = "max",
      ["pubsub#access_model"] = "whitelist", ["pubsub#persist_items"] = "1",
      ["pubsub#send_last_published_item"] = "never" }, options)
    t:advance(60)
  end))

  it("in a node that others may read have its configuration corrected first", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "open" })
    account:publish(NODE, conference(), TEA)
    use(t)
    assert.equal("whitelist", account.nodes[NODE].config["pubsub#access_model"])
  end))

  it("notify our other clients of what is removed", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    t:on({ "iq", { type = "set" }, { "pubsub", {}, { "publish" } } }, function()
      account:node(NODE, { access_model = "whitelist", max_items = "max", notify_retract = false })
      return { "pubsub", { xmlns = "http://jabber.org/protocol/pubsub" } }
    end)
    local b = use(t)
    assert.same({ true }, task(t, function() return b:set(TEA) end))
    assert.equal("1", account.nodes[NODE].config["pubsub#notify_retract"])
    account.nodes[NODE].config["pubsub#notify_retract"] = "0" -- in a new session the configuration is checked again
    t:ack()
    t:reconnect { new = true }
    t:advance(1)
    t:sent()
    assert.equal("1", account.nodes[NODE].config["pubsub#notify_retract"])
  end))

  it("are never put into a node that can't be corrected", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "open" })
    t:on({ "iq", { type = "set" }, { "pubsub", { xmlns = "http://jabber.org/protocol/pubsub#owner" } } }, function()
      return nil, "auth", "forbidden"
    end)
    local b = bookmark.use(t.conn, {})
    local heard = ear(b)
    assert(b:fetched(10))
    assert.same({ "error forbidden", "fetched " }, heard)
    assert.equal("forbidden", task(t, function() return b:set(TEA) end)[2].condition)
    assert.same({}, account.nodes[NODE].items)
    assert.same({}, listed(b))
  end))

  it("are kept as other clients know them, if the server doesn't convert them", testing.around(function(t)
    local account = t:pubsub()
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    account:publish(NODE, conference("false"), TEA)
    local url = { "url", { name = "x", url = "http://example.net/" } }
    local stored = legacy(url, { "conference", { jid = "Tea@rooms.example.net", autojoin = "true" } },
      { "conference", { jid = COFFEE }, { "nick", {}, "cup" }, { "x", { xmlns = "urn:x" } } })
    t:on(PRIVATE, function() return stored end)
    t:on(PRIVATE_SET, function(iq)
      stored = iq[3]
      return { "query", { xmlns = "jabber:iq:private" } }
    end)
    local b = use(t, { autojoin = false })
    assert.same({ COFFEE, TEA }, listed(b))
    assert.equal("cup", b.list[COFFEE].nick)
    assert.same({ true }, task(t, function() return b:set(COFFEE, { name = "Coffee" }) end))
    local coffee = { "conference", { jid = COFFEE, name = "Coffee" }, { "nick", {}, "cup" },
      { "x", { xmlns = "urn:x" } } }
    assert.is_true(xexpr.match(legacy(url, { "conference", { jid = "Tea@rooms.example.net" } }, coffee))(stored))
    assert.equal(2, #account.nodes[NODE].items)
    assert.same({ true }, task(t, function() return b:remove(COFFEE) end))
    assert.equal(4, #stored[3])
    assert.equal(1, #account.nodes[NODE].items)
    account.nodes[NODE].items, stored = {}, legacy() -- another client removes the rest; only what follows tells of it
    t:receive { "message", { from = "mallory@evil.example" }, { "event", { xmlns = EVENT },
      { "items", { node = STORAGE }, { "item", { id = "current" } } } } }
    assert.same({ TEA }, listed(b))
    t:receive { "message", { from = ME }, { "event", { xmlns = EVENT },
      { "items", { node = STORAGE }, { "item", { id = "current" } } } } }
    assert.same({}, listed(b))
  end))

  it("are in private storage only, if nothing can be published for our account only", testing.around(function(t)
    local account = t:pubsub(nil, { features = {}, more = COMPAT.more })
    local stored = legacy()
    t:on(PRIVATE, function() return stored end)
    t:on(PRIVATE_SET, function(iq)
      stored = iq[3]
      return { "query", { xmlns = "jabber:iq:private" } }
    end)
    local b = use(t)
    assert.same({ true }, task(t, function() return b:set(TEA, { name = "Tea" }) end))
    assert.is_nil(account.nodes[NODE])
    assert.is_true(xexpr.match(legacy { "conference", { jid = TEA, name = "Tea" } })(stored))
    assert.same({ TEA }, listed(b))
  end))

  it("are joined two at a time, and failures are reported", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    local waiting = {}
    for i = 1, 5 do
      account:publish(NODE, conference("true"), ("r%d@rooms.example.net"):format(i))
      t:on({ "presence", { to = ("r%d@rooms.example.net/bot"):format(i) } }, function() waiting[#waiting + 1] = i end)
    end
    local errors = {}
    local b = use(t)
    b:on("error", function(err, entry) errors[#errors + 1] = entry.jid .. " " .. err.layer end)
    t:advance(1)
    assert.equal(2, #waiting)
    t:advance(40)
    assert.same({ "r1@rooms.example.net timeout", "r2@rooms.example.net timeout" }, errors)
    t:advance(100)
    assert.equal(5, #errors)
    t:sent() -- drops the queries about rooms
  end))

  it("of a new session are compared with those of the old", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    t:room(TEA)
    t:room(COFFEE)
    account:publish(NODE, conference("true"), TEA)
    local b = use(t)
    t:advance(10)
    assert.same({ TEA }, joined(t))
    local heard = ear(b)
    t:ack()
    t:cut(false)
    account.nodes[NODE].items = {}
    account:publish(NODE, conference("true"), COFFEE)
    t:reconnect { new = true }
    t:advance(30)
    t:sent()
    assert.same({ COFFEE }, joined(t))
    assert.same({ "removed " .. TEA, "added " .. COFFEE, "fetched " }, heard)
    assert.same({ COFFEE .. " *" }, listed(b))
  end))

  it("aren't changed back by what was on its way while they were fetched", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    account:publish(NODE, conference(), COFFEE)
    local off = t:on({ "iq", { type = "get" }, { "pubsub", { xmlns = "http://jabber.org/protocol/pubsub#owner" } } },
      function() return false end) -- the node's configuration stays unknown for a while
    local b = bookmark.use(t.conn, { autojoin = false })
    presence.set(t.conn, {})
    t:expect { "presence" }
    account:publish(NODE, conference(), TEA)
    assert.same({}, listed(b))
    t:advance(60)
    off()
    assert(b:fetched(10))
    assert.same({ COFFEE, TEA }, listed(b))
  end))

  it("end with their use, and are for accounts", testing.around(function(t)
    local account = t:pubsub(nil, COMPAT)
    account:node(NODE, { access_model = "whitelist", max_items = "max" })
    local b = use(t, { autojoin = false })
    assert.is_true(ext.drop(t.conn, bookmark))
    account:publish(NODE, conference("true"), TEA)
    assert.same({}, listed(b))
    assert.equal("closed", task(t, function() return b:set(TEA) end)[2].layer)
    assert.error(function() bookmark.use(t.conn, { join = true }) end)
    assert.error(function() bookmark.use(t.conn, { max = "3" }) end)
    b = bookmark.use(t.conn, { autojoin = false })
    for _, bad in ipairs { "rooms.example.net", TEA .. "/x", "@" } do
      local ok, why = pcall(function() b:set(bad) end)
      assert.is_false(ok)
      assert.truthy(why:find "bookmark_spec", why)
    end
    assert.error(function() b:set(TEA, { name = "\0" }) end)
    assert.error(function() b:set(TEA, { color = "red" }) end)
  end))
end)
