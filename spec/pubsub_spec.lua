-- pubsub: nodes are queried, published to, subscribed to, and send events, with xmpp.testing; an account's own (pep);
-- and attempts to send events for others' nodes, or to have private items published for everybody.

local caps = require "xmpp.caps"
local ext = require "xmpp.ext"
local pep = require "xmpp.pep"
local presence = require "xmpp.presence"
local pubsub = require "xmpp.pubsub"
local roster = require "xmpp.roster"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME, SERVICE, NODE = "bot@example.net", "pubsub.example.net", "news"
local PUBSUB = "http://jabber.org/protocol/pubsub"
local OWNER, EVENT, ERRORS = PUBSUB .. "#owner", PUBSUB .. "#event", PUBSUB .. "#errors"
local INFO, DATA, RSM = "http://jabber.org/protocol/disco#info", "jabber:x:data", "http://jabber.org/protocol/rsm"
local STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
local TUNE = { "tune", { xmlns = "urn:example:tune" }, { "title", {}, "Heroes" } }

local function service(xmlns, ...) return { "pubsub", { xmlns = xmlns or PUBSUB }, ... } end
local function field(var, ...)
  local x = { "field", { var = var } }
  for _, v in ipairs { ... } do x[#x + 1] = { "value", {}, v } end
  return x
end
local function form(kind, ...) return { "x", { xmlns = DATA, type = kind }, ... } end

-- The pattern of such an iq.
local function asks(kind, ...) return { "iq", { type = kind }, service(...) } end

-- Runs f in a task. The list that is returned gets its results.
local function task(f)
  local results = {}
  xmpp.spawn(function() results[1], results[2], results[3] = f() end)
  return results
end

-- The features that a service, or our account (nil), has in disco#info.
local function offer(t, to, ...)
  local identity = { "identity", { category = "pubsub", type = to and "service" or "pep" } }
  local query = { "query", { xmlns = INFO }, identity }
  for _, feature in ipairs { ... } do query[#query + 1] = { "feature", { var = PUBSUB .. "#" .. feature } } end
  local asked = { 0 }
  t:on({ "iq", { type = "get", to = to or ME }, { "query", { xmlns = INFO } } }, function()
    asked[1] = asked[1] + 1
    return query
  end)
  return asked
end

local function refusal(condition, app)
  return function()
    return { "iq", { type = "error" }, { "error", { type = "cancel" }, { condition, { xmlns = STANZAS } },
      app and { app, { xmlns = ERRORS } } or nil } }
  end
end

local NOT_MET = refusal("conflict", "precondition-not-met")

local function values_of(x)
  local out = {}
  for f in xexpr.children(x, "field", DATA) do out[xexpr.attr(f, "var")] = xexpr.text(f, "value") end
  return out
end

local function options_of(iq) return values_of(xexpr.find(iq, "pubsub", "publish-options", "x")) end

local function event(from, ...)
  return { "message", { from = from, to = ME .. "/test", type = "headline" }, { "event", { xmlns = EVENT }, ... } }
end

local function items(node, ...) return { "items", { node = node }, ... } end
local function item(id, ...) return { "item", { id = id }, ... } end

-- A listener, and the events that it got, as texts.
local function ear()
  local heard = {}
  return heard, function(e)
    local text = e.payload and xexpr.text(e.payload)
    heard[#heard + 1] = table.concat({ e.from, e.kind, e.node, e.id or "-", text or "-" }, " ")
  end
end

describe("a request to a service", function()
  it("publishes an item, and returns the id that the service has made", testing.around(function(t)
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE) end)
    t:expect({ "iq", { type = "set", to = SERVICE }, service(PUBSUB, { "publish", { node = NODE }, { "item", TUNE } })
      }, service(PUBSUB, { "publish", { node = NODE }, item "made" }))
    assert.same({ "made" }, got)
  end))

  it("returns the requested id, or true if there is no id", testing.around(function(t)
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, { id = "a" }) end)
    t:expect(asks("set", PUBSUB, { "publish", { node = NODE }, item("a", TUNE) }))
    assert.same({ "a" }, got)
    got = task(function() return pubsub.publish(t.conn, SERVICE, NODE) end)
    local sent = t:expect(asks("set", PUBSUB, { "publish", { node = NODE }, { "item" } }))
    assert.same({ "item", {} }, xexpr.find(sent, "pubsub", "publish", "item"))
    assert.same({ true }, got)
  end))

  it("refuses an answer about another node or item", testing.around(function(t)
    for _, answer in ipairs { { "publish", { node = "other" }, item "a" }, { "publish", { node = NODE }, item "b" } } do
      local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, { id = "a" }) end)
      t:expect(asks("set", PUBSUB), service(PUBSUB, answer))
      assert.equal("bad-format", got[2].condition)
    end
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE) end)
    t:expect(asks("set", PUBSUB), service(OWNER, { "publish", { node = NODE }, item "a" }))
    assert.equal("bad-format", got[2].condition)
  end))

  it("reads items, their payloads and publishers", testing.around(function(t)
    local got = task(function() return pubsub.items(t.conn, SERVICE, NODE) end)
    local sent = t:expect(asks("get", PUBSUB, { "items", { node = NODE } }), service(PUBSUB, items(NODE,
      item("a", TUNE), { "item", { id = "b", publisher = "Anna@example.net/x" } },
      { "item", { id = "c", xmlns = "urn:x" } })))
    assert.is_nil(xexpr.find(sent, "pubsub", "items")[2].max_items)
    local list = got[1]
    assert.same({ "a", "b" }, { list[1].id, list[2].id })
    assert.equal(2, #list)
    assert.equal("Heroes", xexpr.text(list[1].payload, "title"))
    assert.same({ id = "b", publisher = "anna@example.net/x" }, list[2])
    assert.is_nil(list.next)
  end))

  it("reads the last items, or some by their ids", testing.around(function(t)
    local got = task(function() return pubsub.items(t.conn, SERVICE, NODE, { max = 2 }) end)
    t:expect(asks("get", PUBSUB, { "items", { node = NODE, max_items = "2" } }), service(PUBSUB, items(NODE)))
    assert.same({ {} }, got)
    got = task(function() return pubsub.items(t.conn, SERVICE, NODE, { ids = { "a", "b" } }) end)
    t:expect(asks("get", PUBSUB, items(NODE, item "a", item "b")), service(PUBSUB, items(NODE, item "b")))
    assert.same({ { { id = "b" } } }, got)
  end))

  it("refuses items that weren't requested, have no id, or are of another node", testing.around(function(t)
    local answers = { items(NODE, item "c"), items(NODE, { "item", {} }), items("other", item "a"),
      items(NODE, item(("x"):rep(5000))) }
    for i, answer in ipairs(answers) do
      local got = task(function() return pubsub.items(t.conn, SERVICE, NODE, i == 1 and { ids = { "a" } } or nil) end)
      t:expect(asks("get", PUBSUB), service(PUBSUB, answer))
      assert.equal("bad-format", got[2].condition)
    end
    local got = task(function() return pubsub.items(t.conn, SERVICE, NODE) end)
    t:expect(asks("get", PUBSUB), service(OWNER, items(NODE)))
    assert.equal("bad-format", got[2].condition)
  end))

  it("pages by the last id, until there is no more", testing.around(function(t)
    local function page(first, last, index)
      return { "set", { xmlns = RSM }, { "first", { index = index }, first }, { "last", {}, last },
        { "count", {}, "3" } }
    end
    local got = task(function()
      local a = assert(pubsub.items(t.conn, SERVICE, NODE, { max = 2, after = "" }))
      return a, assert(pubsub.items(t.conn, SERVICE, NODE, { max = 2, after = a.next }))
    end)
    local sent = t:expect(asks("get", PUBSUB, { "set", { xmlns = RSM }, { "max", {}, "2" } }),
      service(PUBSUB, items(NODE, item "a", item "b"), page("a", "b", "0")))
    assert.is_nil(xexpr.find(sent, "pubsub", "set", "after"))
    t:expect(asks("get", PUBSUB, { "set", { xmlns = RSM }, { "after", {}, "b" } }),
      service(PUBSUB, items(NODE, item "c"), page("c", "c", "2")))
    assert.equal("b", got[1].next)
    assert.is_nil(got[2].next)
  end))

  it("fails if a page doesn't advance", testing.around(function(t)
    local got = task(function() return pubsub.items(t.conn, SERVICE, NODE, { after = "b" }) end)
    t:expect(asks("get", PUBSUB), service(PUBSUB, items(NODE, item "a"),
      { "set", { xmlns = RSM }, { "first", {}, "a" }, { "last", {}, "b" } }))
    assert.equal("bad-format", got[2].condition)
  end))

  it("creates, configures, purges and deletes nodes, and retracts items", testing.around(function(t)
    local values = { access_model = "open", max_items = 3 }
    local got = task(function() return pubsub.create(t.conn, SERVICE, nil, values) end)
    local sent = t:expect(asks("set", PUBSUB, { "create" }, { "configure", form "submit" }),
      service(PUBSUB, { "create", { node = "named" } }))
    assert.same({ FORM_TYPE = PUBSUB .. "#node_config", ["pubsub#access_model"] = "open", ["pubsub#max_items"] = "3" },
      values_of(xexpr.find(sent, "pubsub", "configure", "x")))
    assert.same({ "named" }, got)
    got = task(function() return pubsub.create(t.conn, SERVICE, NODE) end)
    t:expect(asks("set", PUBSUB, { "create", { node = NODE } }), refusal "conflict")
    assert.equal("conflict", got[2].condition)

    got = task(function() return pubsub.configure(t.conn, SERVICE, NODE) end)
    t:expect(asks("get", OWNER, { "configure", { node = NODE } }), service(OWNER, { "configure", { node = NODE },
      form("form", field("pubsub#title", "News")) }))
    assert.equal("News", got[1].values["pubsub#title"])
    got = task(function() return pubsub.configure(t.conn, SERVICE, NODE, { title = "Old" }) end)
    t:expect(asks("set", OWNER, { "configure", { node = NODE }, form("submit", field("pubsub#title", "Old")) }))
    assert.same({ true }, got)

    got = task(function() return pubsub.purge(t.conn, SERVICE, NODE) end)
    t:expect(asks("set", OWNER, { "purge", { node = NODE } }))
    assert.same({ true }, got)
    got = task(function() return pubsub.delete(t.conn, SERVICE, NODE, { redirect = "xmpp:x?;node=y" }) end)
    t:expect(asks("set", OWNER, { "delete", { node = NODE }, { "redirect", { uri = "xmpp:x?;node=y" } } }))
    assert.same({ true }, got)
    got = task(function() return pubsub.retract(t.conn, SERVICE, NODE, "a") end)
    t:expect(asks("set", PUBSUB, { "retract", { node = NODE, notify = "true" }, item "a" }))
    assert.same({ true }, got)
  end))

  it("subscribes and unsubscribes, and lists subscriptions", testing.around(function(t)
    local got = task(function() return pubsub.subscribe(t.conn, SERVICE, NODE, { options = { digest = true } }) end)
    t:expect(asks("set", PUBSUB, { "subscribe", { node = NODE, jid = ME } },
      { "options", {}, form("submit", field("pubsub#digest", "1")) }),
      service(PUBSUB, { "subscription", { node = NODE, jid = ME, subid = "s", subscription = "pending" } }))
    assert.same({ { node = NODE, jid = ME, subid = "s", subscription = "pending" } }, got)
    got = task(function() return pubsub.subscribe(t.conn, SERVICE, NODE) end)
    t:expect(asks("set", PUBSUB), service(PUBSUB, { "subscription", { node = NODE, jid = ME, subscription = "yes" } }))
    assert.equal("bad-format", got[2].condition)
    got = task(function() return pubsub.unsubscribe(t.conn, SERVICE, NODE, { subid = "s" }) end)
    t:expect(asks("set", PUBSUB, { "unsubscribe", { node = NODE, jid = ME, subid = "s" } }))
    assert.same({ true }, got)
    got = task(function() return pubsub.subscriptions(t.conn, SERVICE) end)
    t:expect(asks("get", PUBSUB, { "subscriptions" }), service(PUBSUB, { "subscriptions", {},
      { "subscription", { node = "a", jid = ME, subscription = "subscribed" } } }))
    assert.same({ { { node = "a", jid = ME, subscription = "subscribed" } } }, got)
    got = task(function() return pubsub.subscribers(t.conn, SERVICE, NODE) end)
    t:expect(asks("get", OWNER, { "subscriptions", { node = NODE } }), service(OWNER, { "subscriptions", {},
      { "subscription", { jid = "Anna@example.net", subscription = "subscribed" } } }))
    assert.same({ { { node = NODE, jid = "anna@example.net", subscription = "subscribed" } } }, got)
  end))

  it("lists and sets affiliations, and lists nodes", testing.around(function(t)
    local got = task(function() return pubsub.affiliations(t.conn, SERVICE) end)
    t:expect(asks("get", PUBSUB, { "affiliations" }), service(PUBSUB, { "affiliations", {},
      { "affiliation", { node = NODE, affiliation = "owner" } } }))
    assert.same({ { [NODE] = "owner" } }, got)
    got = task(function() return pubsub.members(t.conn, SERVICE, NODE) end)
    t:expect(asks("get", OWNER, { "affiliations", { node = NODE } }), service(OWNER, { "affiliations", { node = NODE },
      { "affiliation", { jid = ME, affiliation = "owner" } } }))
    assert.same({ { [ME] = "owner" } }, got)
    got = task(function() return pubsub.members(t.conn, SERVICE, NODE) end)
    t:expect(asks("get", OWNER), service(OWNER, { "affiliations", {},
      { "affiliation", { jid = ME, affiliation = "king" } } }))
    assert.equal("bad-format", got[2].condition)
    got = task(function() return pubsub.affiliate(t.conn, SERVICE, NODE, "anna@example.net", "publisher") end)
    t:expect(asks("set", OWNER, { "affiliations", { node = NODE },
      { "affiliation", { jid = "anna@example.net", affiliation = "publisher" } } }))
    assert.same({ true }, got)
    got = task(function() return pubsub.nodes(t.conn, SERVICE) end)
    t:expect({ "iq", { to = SERVICE }, { "query", { xmlns = "http://jabber.org/protocol/disco#items" } } },
      { "query", { xmlns = "http://jabber.org/protocol/disco#items" }, { "item", { jid = SERVICE, node = NODE } },
        { "item", { jid = "other.example.net" } } })
    assert.same({ { { jid = SERVICE, node = NODE } } }, got)
  end))

  it("raises for wrong arguments at the caller's line", testing.around(function(t)
    local conn = t.conn
    local function blames(text, f)
      local ok, why = pcall(f)
      assert.is_false(ok)
      assert.truthy(why:find(text, 1, true), why)
      assert.truthy(why:find("pubsub_spec", 1, true), why)
    end
    blames("#3", function() pubsub.publish(conn, SERVICE, nil, TUNE) end)
    blames("#3", function() pubsub.publish(conn, SERVICE, "a\0b", TUNE) end)
    blames("#4", function() pubsub.publish(conn, SERVICE, NODE, "text") end)
    blames("bad item", function() local _ = pubsub.publish(conn, SERVICE, NODE, { "x", { a = true } }) end)
    blames("no option 'it'", function() pubsub.publish(conn, SERVICE, NODE, TUNE, { it = 1 }) end)
    blames("options", function() local _ = pubsub.publish(conn, SERVICE, NODE, TUNE, { options = { a = print } }) end)
    blames("#4", function() local _ = pubsub.retract(conn, SERVICE, NODE, "\1") end)
    blames("'ids'", function() local _ = pubsub.items(conn, SERVICE, NODE, { ids = { 1 } }) end)
    blames("'ids'", function() local _ = pubsub.items(conn, SERVICE, NODE, { ids = { "a" }, max = 1 }) end)
    blames("'max'", function() local _ = pubsub.items(conn, SERVICE, NODE, { max = 0 }) end)
    blames("#4", function() local _ = pubsub.configure(conn, SERVICE, NODE, { a = print }) end)
    blames("#5", function() pubsub.affiliate(conn, SERVICE, NODE, ME, "king") end)
    blames("'service'", function() pubsub.on(conn, { service = "@" }, print) end)
    blames("'access'", function() pep.publish(conn, NODE, TUNE, { access = "nobody" }) end)
    blames("'max'", function() pep.publish(conn, NODE, TUNE, { max = 1.5 }) end)
    blames("'from'", function() pep.watch(conn, NODE, print, { from = "strangers" }) end)
    blames("#2", function() pep.publish(conn, "\0", TUNE) end)
    blames("'max'", function() local _ = pep.items(conn, nil, NODE, { max = 0 }) end)
    t:nothing()
  end))
end)

describe("publishing with options", function()
  local PRIVATE = { options = { access_model = "whitelist" } }
  local FIXED = { options = { access_model = "whitelist" }, fix = true }

  it("sends them as a precondition", testing.around(function(t)
    local asked = offer(t, SERVICE, "publish-options")
    local got = task(function()
      pubsub.publish(t.conn, SERVICE, NODE, TUNE, PRIVATE)
      return pubsub.publish(t.conn, SERVICE, NODE, TUNE, PRIVATE)
    end)
    for _ = 1, 2 do
      local sent = t:expect(asks("set", PUBSUB, { "publish", { node = NODE } }, { "publish-options" }),
        service(PUBSUB, { "publish", { node = NODE }, item "i" }))
      assert.same({ FORM_TYPE = PUBSUB .. "#publish-options", ["pubsub#access_model"] = "whitelist" }, options_of(sent))
    end
    assert.same({ "i" }, got)
    assert.equal(1, asked[1])
  end))

  it("publishes nothing if the service would ignore them", testing.around(function(t)
    offer(t, SERVICE, "access-whitelist")
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, PRIVATE) end)
    t:nothing()
    assert.equal("feature-not-implemented", got[2].condition)
  end))

  it("publishes nothing if the service's features are unknown", testing.around(function(t)
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, PRIVATE) end)
    t:expect({ "iq", { to = SERVICE }, { "query", { xmlns = INFO } } }, refusal "service-unavailable")
    t:nothing()
    assert.equal("service-unavailable", got[2].condition)
  end))

  it("fails if the node's configuration differs, and leaves it so", testing.around(function(t)
    offer(t, SERVICE, "publish-options")
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, PRIVATE) end)
    t:expect(asks("set", PUBSUB, { "publish-options" }), NOT_MET)
    t:nothing()
    assert.same({ "conflict", "precondition-not-met" }, { got[2].condition, got[2].app })
  end))

  it("with fix configures the node, and publishes again with the same precondition", testing.around(function(t)
    offer(t, SERVICE, "publish-options")
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, FIXED) end)
    t:expect(asks("set", PUBSUB, { "publish-options" }), NOT_MET)
    local sent = t:expect(asks("set", OWNER, { "configure", { node = NODE } }))
    assert.same({ FORM_TYPE = PUBSUB .. "#node_config", ["pubsub#access_model"] = "whitelist" },
      values_of(xexpr.find(sent, "pubsub", "configure", "x")))
    sent = t:expect(asks("set", PUBSUB, { "publish" }), NOT_MET)
    assert.equal("whitelist", options_of(sent)["pubsub#access_model"])
    t:nothing()
    assert.equal("precondition-not-met", got[2].app)
  end))

  it("with fix doesn't configure after another error, nor publish if it may not configure", testing.around(function(t)
    offer(t, SERVICE, "publish-options")
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, FIXED) end)
    t:expect(asks("set", PUBSUB, { "publish-options" }), refusal "forbidden")
    t:nothing()
    assert.equal("forbidden", got[2].condition)
    got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, FIXED) end)
    t:expect(asks("set", PUBSUB, { "publish-options" }), NOT_MET)
    t:expect(asks("set", OWNER, { "configure" }), refusal "forbidden")
    t:nothing()
    assert.equal("forbidden", got[2].condition)
  end))

  it("with fix creates and checks the node if there are no such options", testing.around(function(t)
    offer(t, SERVICE)
    local function run(conflict, access)
      local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, FIXED) end)
      t:expect(asks("set", PUBSUB, { "create", { node = NODE } }, { "configure" }),
        conflict and refusal "conflict" or nil)
      if conflict then t:expect(asks("set", OWNER, { "configure", { node = NODE }, form "submit" })) end
      t:expect(asks("get", OWNER, { "configure", { node = NODE } }), service(OWNER, { "configure", { node = NODE },
        form("form", field("pubsub#access_model", access)) }))
      return got
    end
    local got = run(false, "whitelist")
    local sent = t:expect(asks("set", PUBSUB, { "publish" }), service(PUBSUB, { "publish", { node = NODE }, item "i" }))
    assert.is_nil(xexpr.find(sent, "pubsub", "publish-options"))
    assert.same({ "i" }, got)
    got = run(true, "whitelist")
    t:expect(asks("set", PUBSUB, { "publish" }))
    assert.same({ true }, got)
    got = run(true, "open") -- the node is known to be configured otherwise
    t:nothing()
    assert.equal("precondition-not-met", got[2].app)
    got = run(true, nil) -- its configuration isn't known
    t:nothing()
    assert.equal("precondition-not-met", got[2].app)
  end))

  it("with fix creates the node if one of them is unknown; access stays a precondition", testing.around(function(t)
    offer(t, SERVICE, "publish-options")
    local values = { access_model = "whitelist", max_items = 5 }
    local fixed = { options = values, fix = true }
    local got = task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, fixed) end)
    t:expect(asks("set", PUBSUB, { "publish-options" }), refusal "resource-constraint")
    t:expect(asks("set", PUBSUB, { "create", { node = NODE } }, { "configure" }))
    t:expect(asks("get", OWNER, { "configure" }), service(OWNER, { "configure", { node = NODE },
      form("form", field("pubsub#access_model", "whitelist"), field("pubsub#max_items", "5")) }))
    assert.same({ FORM_TYPE = PUBSUB .. "#publish-options", ["pubsub#access_model"] = "whitelist" },
      options_of(t:expect(asks("set", PUBSUB, { "publish" }), service(PUBSUB, { "publish", {}, item "i" }))))
    assert.same({ "i" }, got)
  end))

  it("sends a large number if 'max' is unknown", testing.around(function(t)
    local node_max = PUBSUB .. "#config-node-max"
    assert.equal(node_max, require "xmpp.pubsub.words".MAX)
    offer(t, SERVICE, "publish-options")
    task(function() return pubsub.publish(t.conn, SERVICE, NODE, TUNE, { options = { max_items = "max" } }) end)
    assert.equal("255", options_of(t:expect(asks("set", PUBSUB)))["pubsub#max_items"])
    offer(t, "other.example.net", "publish-options", "config-node-max")
    task(function()
      return pubsub.publish(t.conn, "other.example.net", NODE, TUNE, { options = { max_items = "max" } })
    end)
    assert.equal("max", options_of(t:expect(asks("set", PUBSUB)))["pubsub#max_items"])
  end))
end)

describe("events", function()
  it("are reported by kind, in order", testing.around(function(t)
    local heard, listen = ear()
    local all = {}
    pubsub.on(t.conn, { service = SERVICE }, function(e) listen(e) all[#all + 1] = e end)
    t:receive(event(SERVICE, items(NODE, item("a", { "x", { xmlns = "urn:x" }, "one" }), item "b",
      { "retract", { id = "c" } })))
    t:receive(event(SERVICE, { "purge", { node = NODE } }))
    t:receive(event(SERVICE, { "delete", { node = NODE }, { "redirect", { uri = "xmpp:y" } } }))
    t:receive(event(SERVICE, { "configuration", { node = NODE }, form("result", field("pubsub#title", "News")) }))
    t:receive(event(SERVICE, { "subscription", { node = NODE, jid = ME, subscription = "subscribed" } }))
    assert.same({ "item news a one", "item news b -", "retract news c -", "purge news - -", "delete news - -",
      "config news - -", "subscription news - -" }, (function()
        for i, text in ipairs(heard) do heard[i] = text:gsub("^" .. SERVICE .. " ", "") end
        return heard
      end)())
    assert.equal("xmpp:y", all[5].redirect)
    assert.equal("News", all[6].form.values["pubsub#title"])
    assert.same({ ME, "subscribed" }, { all[7].jid, all[7].subscription })
    assert.same({ false, false, ME .. "/test" }, { all[1].own, all[1].delayed, all[1].to })
  end))

  it("have their delay's stamp", testing.around(function(t)
    local got
    pubsub.on(t.conn, { service = SERVICE }, function(e) got = e end)
    local x = event(SERVICE, items(NODE, item "a"))
    x[4] = { "delay", { xmlns = "urn:xmpp:delay", stamp = "2023-11-14T22:13:20Z" } }
    t:receive(x)
    assert.same({ true, 1700000000 }, { got.delayed, got.stamp })
  end))

  it("are accepted from the named service's bare address only", testing.around(function(t)
    local heard, listen = ear()
    pubsub.on(t.conn, { service = SERVICE, node = NODE }, listen)
    for _, from in ipairs { "evil.example", SERVICE .. "/x", "mallory@evil.example", "mallory@evil.example/x", ME,
      ME .. "/other", "pubsub.example.net.evil.example" } do
      t:receive(event(from, items(NODE, item "forged")))
    end
    t:receive(event(SERVICE, items("other", item "elsewhere")))
    t:receive(event(SERVICE, items(NODE, item "true")))
    assert.same({ SERVICE .. " item news true -" }, heard)
  end))

  it("are ignored as errors, from rooms, and in another namespace", testing.around(function(t)
    local heard, listen = ear()
    pubsub.on(t.conn, { service = SERVICE }, listen)
    for _, kind in ipairs { "error", "groupchat" } do
      local x = event(SERVICE, items(NODE, item "a"))
      x[2].type = kind
      t:receive(x)
    end
    t:receive(event(SERVICE, { "items", { node = NODE, xmlns = "urn:x" }, item "a" }))
    t:receive(event(SERVICE, { "items", { node = NODE }, { "item", { id = "a", xmlns = "urn:x" } } }))
    t:receive(event(SERVICE, { "items", {}, item "a" }))
    t:receive(event(SERVICE, items(NODE, item(("x"):rep(5000)), { "retract", { id = ("x"):rep(5000) } })))
    assert.same({}, heard)
  end))

  it("without a named service are accepted from subscribed ones, contacts and ourselves", testing.around(function(t)
    local heard, listen = ear()
    t:contact("anna@example.net", { subscription = "both" })
    pubsub.on(t.conn, nil, listen)
    local r = roster.use(t.conn)
    assert(r:fetched())
    t:receive(event(SERVICE, items(NODE, item "1")))
    t:receive(event("mallory@evil.example", items(NODE, item "2")))
    task(function() return pubsub.subscribe(t.conn, "PubSub.example.net", NODE) end)
    t:receive(event(SERVICE, items(NODE, item "3"))) -- the event may come before the response
    t:expect(asks("set", PUBSUB), service(PUBSUB, { "subscription", { node = NODE, jid = ME,
      subscription = "subscribed" } }))
    t:receive(event(SERVICE, items(NODE, item "4")))
    t:receive(event(SERVICE .. "/x", items(NODE, item "5")))
    t:receive(event("anna@example.net", items(NODE, item "6")))
    t:receive(event("anna@example.net/pc", items(NODE, item "7")))
    t:receive(event(ME, items(NODE, item "8")))
    t:receive(event(nil, items(NODE, item "9")))
    t:receive(event(ME .. "/other", items(NODE, item "10")))
    local ids = {}
    for i, text in ipairs(heard) do ids[i] = text:match "news (%S+)" end
    assert.same({ "3", "4", "6", "8", "9" }, ids)
  end))

  it("are ignored from a service that has refused us", testing.around(function(t)
    local heard, listen = ear()
    pubsub.on(t.conn, nil, listen)
    local got = task(function() return pubsub.subscribe(t.conn, SERVICE, NODE) end)
    t:expect(asks("set", PUBSUB), refusal "forbidden")
    assert.equal("forbidden", got[2].condition)
    t:receive(event(SERVICE, items(NODE, item "a")))
    assert.same({}, heard)
  end))

  it("without a payload can be completed by fetch", testing.around(function(t)
    local got
    pubsub.on(t.conn, { service = SERVICE }, function(e) got = { e:fetch() } end)
    t:receive(event(SERVICE, items(NODE, item "a")))
    t:expect({ "iq", { type = "get", to = SERVICE }, service(PUBSUB, items(NODE, item "a")) },
      service(PUBSUB, items(NODE, item("a", TUNE))))
    assert.equal("Heroes", xexpr.text(got[1], "title"))
    t:receive(event(SERVICE, items(NODE, item "a")))
    t:expect(asks("get", PUBSUB), service(PUBSUB, items(NODE)))
    assert.equal("item-not-found", got[2].condition)
    t:receive(event(SERVICE, items(NODE, item("a", TUNE))))
    assert.equal("tune", got[1][1])
    t:nothing()
  end))

  it("reach no removed listener, and all others whatever one does", testing.around(function(t)
    local heard, listen = ear()
    local off, last
    off = pubsub.on(t.conn, { service = SERVICE }, function()
      off()
      last()
      error "mine"
    end)
    pubsub.on(t.conn, { service = SERVICE }, listen)
    last = pubsub.on(t.conn, { service = SERVICE }, function() error "it has gone" end)
    t:receive(event(SERVICE, items(NODE, item "a")))
    t:receive(event(SERVICE, items(NODE, item "b")))
    assert.same({ SERVICE .. " item news a -", SERVICE .. " item news b -" }, heard)
    assert.is_false(off())
    local errors = t:take_errors()
    assert.equal(1, #errors)
    assert.truthy(errors[1]:find "mine")
    assert.is_true(ext.drop(t.conn, pubsub))
    t:receive(event(SERVICE, items(NODE, item "c")))
    assert.equal(2, #heard)
  end))

  it("come to a component as well", testing.around(function(t)
    local got
    pubsub.on(t.conn, { service = SERVICE }, function(e) got = e.to end)
    t:receive { "message", { from = SERVICE, to = "user@echo.example.net" }, { "event", { xmlns = EVENT },
      items(NODE, item "a") } }
    assert.equal("user@echo.example.net", got)
    task(function() return pubsub.subscribe(t.conn, SERVICE, NODE, { from = "user@echo.example.net" }) end)
    t:expect({ "iq", { from = "user@echo.example.net", to = SERVICE },
      service(PUBSUB, { "subscribe", { node = NODE, jid = "user@echo.example.net" } }) }, false)
    assert.error(function() pep.watch(t.conn, NODE, print) end)
    assert.error(function() pep.publish(t.conn, NODE, TUNE) end)
    t:advance(60)
  end, { component = "echo.example.net" }))
end)

describe("an account's own nodes", function()
  local WATCH = "urn:example:tune"

  it("are always published to with the requested access", testing.around(function(t)
    local asked = offer(t, nil, "publish-options")
    local got = task(function() return pep.publish(t.conn, WATCH, TUNE) end)
    local sent = t:expect(asks("set", PUBSUB, { "publish", { node = WATCH }, item("current", TUNE) }))
    assert.same({ FORM_TYPE = PUBSUB .. "#publish-options", ["pubsub#access_model"] = "presence" }, options_of(sent))
    assert.is_nil(sent[2].to)
    assert.same({ "current" }, got)
    got = task(function() return pep.publish(t.conn, WATCH, TUNE, { access = "whitelist", persist = true, max = 10,
      send_last = "never" }) end)
    sent = t:expect(asks("set", PUBSUB), service(PUBSUB, { "publish", { node = WATCH }, item "made" }))
    assert.same({ FORM_TYPE = PUBSUB .. "#publish-options", ["pubsub#access_model"] = "whitelist",
      ["pubsub#persist_items"] = "1", ["pubsub#max_items"] = "10", ["pubsub#send_last_published_item"] = "never" },
      options_of(sent))
    assert.is_nil(xexpr.find(sent, "pubsub", "publish", "item")[2].id)
    assert.same({ "made" }, got)
    assert.equal(1, asked[1]) -- the account's features are asked for once a session
  end))

  it("that are to be private are never published otherwise", testing.around(function(t)
    local got = task(function() return pep.publish(t.conn, WATCH, TUNE, { access = "whitelist" }) end)
    t:nothing() -- the test's server doesn't have publish-options
    assert.equal("feature-not-implemented", got[2].condition)
    got = task(function() return pep.publish(t.conn, WATCH, TUNE) end) -- nor for everybody if it is for contacts
    t:nothing()
    assert.equal("feature-not-implemented", got[2].condition)
  end))

  it("can be read, as can others'", testing.around(function(t)
    local got = task(function() return pep.get(t.conn, "Anna@example.net/pc", WATCH) end)
    t:expect({ "iq", { to = "anna@example.net" }, service(PUBSUB, { "items", { node = WATCH, max_items = "1" } }) },
      service(PUBSUB, items(WATCH, item("a", TUNE))))
    assert.same({ "tune", "a" }, { got[1][1], got[2] })
    got = task(function() return pep.get(t.conn, nil, WATCH, { id = "x" }) end)
    assert.is_nil(t:expect(asks("get", PUBSUB, items(WATCH, item "x")), service(PUBSUB, items(WATCH)))[2].to)
    assert.equal("item-not-found", got[2].condition)
    got = task(function() return pep.items(t.conn, ME, WATCH) end)
    assert.is_nil(t:expect(asks("get", PUBSUB), service(PUBSUB, items(WATCH, item "x")))[2].to)
    assert.same({ { { id = "x" } } }, got)
    got = task(function() return pep.retract(t.conn, WATCH) end)
    t:expect(asks("set", PUBSUB, { "retract", { node = WATCH }, item "current" }))
    assert.same({ true }, got)
    got = task(function() return pep.delete(t.conn, WATCH) end)
    t:expect(asks("set", OWNER, { "delete", { node = WATCH } }))
    assert.same({ true }, got)
  end))

  -- Do our caps announce that we want this node's events?
  local function wants(t, node)
    local info = require "xmpp.disco".own_info(t.conn)
    return info.features[node .. "+notify"] == true
  end

  it("are watched by +notify in caps, which is announced once", testing.around(function(t)
    local off1 = pep.watch(t.conn, WATCH, print, { from = "self" })
    presence.set(t.conn, {})
    local before = xexpr.child(t:expect { "presence" }, "c", "http://jabber.org/protocol/caps")[2].ver
    assert.is_true(wants(t, WATCH))
    local off2 = pep.watch(t.conn, WATCH, print, { from = "self" })
    t:advance(5)
    t:nothing()
    local off3 = pep.watch(t.conn, "urn:other", print, { from = "self" })
    local off4 = pep.watch(t.conn, "urn:third", print, { from = "self" })
    t:advance(5)
    local after = xexpr.child(t:expect { "presence" }, "c", "http://jabber.org/protocol/caps")[2].ver
    assert.are_not.equal(before, after)
    t:nothing()
    assert.is_true(off1())
    assert.is_true(wants(t, WATCH))
    assert.is_true(off2())
    assert.is_false(off2())
    assert.is_false(wants(t, WATCH))
    off3()
    off4()
    t:advance(5)
    t:expect { "presence" }
    assert.is_truthy(ext.of(t.conn, caps))
  end))

  it("report contacts and ourselves, never a stranger or a client", testing.around(function(t)
    t:contact("anna@example.net", { subscription = "both" })
    local heard = {}
    pep.watch(t.conn, WATCH, function(jid, payload, id, e)
      heard[#heard + 1] = { jid, payload and xexpr.text(payload, "title"), id, e.kind, e.own }
    end)
    for _, from in ipairs { "mallory@evil.example", "anna@example.net/pc", ME .. "/other", "example.net" } do
      t:receive(event(from, items(WATCH, item("forged", TUNE))))
    end
    t:receive(event("anna@example.net", items(WATCH, item("a", TUNE))))
    t:receive(event(ME, items(WATCH, item("b", TUNE))))
    t:receive(event("anna@example.net", items(WATCH, { "retract", { id = "a" } })))
    t:receive(event("anna@example.net", { "delete", { node = WATCH } }))
    assert.same({ { "anna@example.net", "Heroes", "a", "item", false }, { ME, "Heroes", "b", "item", true },
      { "anna@example.net", nil, "a", "retract", false }, { "anna@example.net", nil, nil, "delete", false } }, heard)
  end))

  it("have events that wait for the roster, in order", testing.around(function(t)
    local heard = {}
    pep.watch(t.conn, WATCH, function(jid, _, id) heard[#heard + 1] = jid .. " " .. id end)
    t:receive(event("anna@example.net", items(WATCH, item("a", TUNE))))
    t:receive(event("mallory@evil.example", items(WATCH, item("b", TUNE))))
    t:receive(event("anna@example.net", items(WATCH, item("c", TUNE))))
    assert.same({}, heard)
    t:expect({ "iq", { type = "get" }, { "query", { xmlns = "jabber:iq:roster" } } }, { "query",
      { xmlns = "jabber:iq:roster" }, { "item", { jid = "anna@example.net", subscription = "both" } } })
    assert.same({ "anna@example.net a", "anna@example.net c" }, heard)
  end, { answers = false }))

  it("have at most 1,000 waiting events", testing.around(function(t)
    local n = 0
    pep.watch(t.conn, WATCH, function() n = n + 1 end)
    for i = 1, 1010 do t:receive(event("anna@example.net", items(WATCH, item("i" .. i, TUNE)))) end
    t:expect({ "iq", { type = "get" }, { "query", { xmlns = "jabber:iq:roster" } } }, { "query",
      { xmlns = "jabber:iq:roster" }, { "item", { jid = "anna@example.net", subscription = "both" } } })
    assert.equal(1000, n)
    t:receive(event("anna@example.net", items(WATCH, item("last", TUNE))))
    assert.equal(1001, n)
  end, { answers = false }))

  it("are reported from the senders that the program chooses", testing.around(function(t)
    local own, all, chosen = {}, {}, {}
    pep.watch(t.conn, WATCH, function(jid) own[#own + 1] = jid end, { from = "self" })
    pep.watch(t.conn, WATCH, function(jid) all[#all + 1] = jid end, { from = "all" })
    pep.watch(t.conn, WATCH, function(jid) chosen[#chosen + 1] = jid end, { from = function(jid)
      return jid == "bert@example.net"
    end })
    for _, from in ipairs { "anna@example.net", "bert@example.net", "cora@example.net/x", ME } do
      t:receive(event(from, items(WATCH, item("a", TUNE))))
    end
    assert.same({ ME }, own)
    assert.same({ "anna@example.net", "bert@example.net", ME }, all)
    assert.same({ "bert@example.net", ME }, chosen)
    assert.is_nil(ext.of(t.conn, roster))
    assert.is_true(ext.drop(t.conn, pep))
    t:receive(event(ME, items(WATCH, item("a", TUNE))))
    assert.same({ ME }, own)
    assert.is_false(wants(t, WATCH))
  end))
end)
