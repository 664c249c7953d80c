-- cmd_nodes: nodes, pictures, vCards and bookmarks with the command, against the services of xmpp.testing. See cmd_spec
-- for the rest.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local core = require "xmpp.core"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"

local SERVICE, META, DATA = "pubsub.example.net", "urn:xmpp:avatar:metadata", "urn:xmpp:avatar:data"
local ITEMS = "http://jabber.org/protocol/disco#items"
local BOOKMARKS, TEA = "urn:xmpp:bookmarks:1", "tea@rooms.example.net"
local PNG = "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\0\2\0\0\0\3\8\6\0\0\0"

local function around(f)
  return testing.around(f, { jid = "bot@example.net", intercept = true, now = 1700000000 })
end

local function object(text) return cjson.decode((text:match "[^\n]+")) end

local function run(t, argv, o)
  local w = cmd.world(o)
  cmd.start(w, argv)
  t:advance(40)
  return w
end

local function done(t, argv, o)
  local w = run(t, argv, o)
  assert.equal(0, w.status, w.stderr)
  return w.stdout
end

local function note(text) return { "note", { xmlns = "urn:x" }, text } end

describe("pubsub", function()
  local function with_service(t)
    t:on({ "iq", { type = "get", to = "example.net" }, { "query", { xmlns = ITEMS } } }, function()
      return { "query", { xmlns = ITEMS }, { "item", { jid = SERVICE } } }
    end)
    return t:pubsub(SERVICE)
  end

  it("publishes standard input, and shows a node's items", around(function(t)
    local service = with_service(t)
    assert.equal("i1\n", done(t, { "pubsub", "publish", "news", "i1" }, { input = "<note xmlns='urn:x'>one</note>\n" }))
    assert.is_true(xexpr.equal(note "one", service.nodes.news.items[1].payload))
    service:publish("news", note "two\194\155", "i2")
    assert.equal("i1  <note xmlns='urn:x'>one</note>\n", done(t, { "pubsub", "get", "news", "i1" }))
    assert.truthy(done(t, { "pubsub", "get", "news" }):find("two\\u{9b}", 1, true))
    local last = object(done(t, { "pubsub", "get", "news", "-n", "1", "--json" }))
    assert.same({ "item", "news", "i2" }, { last.type, last.node, last.id })
    local w = run(t, { "pubsub", "get", "news", "none" })
    assert.equal(9, w.status)
    assert.equal("news\n", done(t, { "pubsub", "nodes" }))
    done(t, { "pubsub", "retract", "news", "i1" })
    assert.equal(1, #service.nodes.news.items)
    done(t, { "pubsub", "delete", "news", "--service", SERVICE })
    assert.is_nil(service.nodes.news)
    w = run(t, { "pubsub", "get", "news" })
    assert.equal(1, w.status)
  end))

  it("refuses what isn't an element", around(function(t)
    with_service(t)
    for text, status in pairs { ["<a>"] = 9, ["hello"] = 9, [""] = 9, ["<a/><b/>"] = 9 } do
      assert.equal(status, run(t, { "pubsub", "publish", "news" }, { input = text }).status, text)
    end
    assert.equal(2, run(t, { "pubsub", "get" }).status)
    assert.equal(2, run(t, { "pubsub", "retract", "news" }).status)
    assert.equal(2, run(t, { "pubsub", "read", "news" }).status)
    assert.equal(2, run(t, { "pubsub", "get", "news", "--service", "@" }).status)
  end))

  it("publishes private items for our account only, or not at all", around(function(t)
    local account = t:pubsub()
    local private = { "pubsub", "publish", "urn:notes", "--pep", "--access", "whitelist" }
    local o = { input = "<?xml version='1.0'?><note xmlns='urn:x'/>" }
    done(t, private, o)
    assert.same({ "whitelist", "1" }, { account.nodes["urn:notes"].config["pubsub#access_model"],
      account.nodes["urn:notes"].config["pubsub#persist_items"] })
    account.nodes["urn:notes"].config["pubsub#access_model"] = "open"
    account.nodes["urn:notes"].items = {}
    local w = run(t, private, o)
    assert.equal(1, w.status)
    assert.same({}, account.nodes["urn:notes"].items)
    private[#private + 1] = "--fix"
    done(t, private, o)
    assert.equal("whitelist", account.nodes["urn:notes"].config["pubsub#access_model"])
    assert.equal(1, #account.nodes["urn:notes"].items)
  end))

  it("creates nodes, and configures them", around(function(t)
    local service = with_service(t)
    done(t, { "pubsub", "create", "news", "max_items=5" })
    assert.equal("5", service.nodes.news.config["pubsub#max_items"])
    assert.truthy(done(t, { "pubsub", "config", "news" }):find("\nmax_items=5\n", 1, true))
    done(t, { "pubsub", "config", "news", "max_items=7", "pubsub#persist_items=no" })
    assert.same({ "7", "0" }, { service.nodes.news.config["pubsub#max_items"],
      service.nodes.news.config["pubsub#persist_items"] })
    local w = run(t, { "pubsub", "config", "news", "max_item=7" })
    assert.equal(9, w.status)
    assert.truthy(w.stderr:find("did you mean 'pubsub#max_items'", 1, true), w.stderr)
    assert.equal(9, run(t, { "pubsub", "config", "news", "persist_items=maybe" }).status)
    assert.equal(2, run(t, { "pubsub", "config", "news", "max_items" }).status)
  end))

  it("shows events, up to the given number", around(function(t)
    local service = with_service(t)
    service:node "news"
    local w = cmd.world()
    cmd.start(w, { "pubsub", "subscribe", "news", "-n", "2" })
    t:advance(1)
    service:publish("news", note "one", "i1")
    t:receive { "message", { from = "evil.example" }, { "event", { xmlns = "http://jabber.org/protocol/pubsub#event" },
      { "items", { node = "news" }, { "item", { id = "forged" } } } } }
    service:retract("news", "i1")
    t:advance(20)
    assert.equal(0, w.status)
    assert.equal("i1  <note xmlns='urn:x'>one</note>\nretract i1\n", w.stdout)
    done(t, { "pubsub", "unsubscribe", "news" })
    w = run(t, { "pubsub", "subscribe", "news", "-W", "5" })
    assert.equal(8, w.status)
  end))

  it("shows events of the account's own nodes", around(function(t)
    local account = t:pubsub()
    local w = cmd.world()
    cmd.start(w, { "pubsub", "subscribe", "urn:notes", "--pep", "-n", "1" })
    t:advance(1)
    t:sent()
    account:publish("urn:notes", note "mine")
    t:advance(20)
    assert.equal("current  <note xmlns='urn:x'>mine</note>\n", w.stdout)
  end))
end)

describe("avatar", function()
  it("is set, got and cleared", around(function(t)
    local account = t:pubsub()
    local files = { ["me.png"] = { text = PNG, mode = 384 } }
    local id = done(t, { "avatar", "set", "me.png" }, { files = files }):sub(1, -2)
    assert.equal(id, account.nodes[META].items[1].id)
    assert.equal(PNG, done(t, { "avatar", "get" }))
    local o = object(done(t, { "avatar", "get", "--json" }))
    assert.same({ id, "image/png", 2, 3, core.base64(PNG) }, { o.id, o.media_type, o.width, o.height, o.data })
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    assert.equal(id .. "  image/png  2x3\n", done(t, { "avatar", "get", "-o", path }))
    local file = assert(io.open(path, "rb"))
    assert.equal(PNG, file:read "*a")
    file:close()
    done(t, { "avatar", "clear" })
    t:on({ "iq", { type = "get" }, { "vCard", { xmlns = "vcard-temp" } } }, function() return nil, "cancel",
      "item-not-found" end)
    assert.equal(1, run(t, { "avatar", "get" }).status)
    assert.equal(1, #account.nodes[DATA].items)
  end))

  it("isn't written to a terminal, nor anything else published", around(function(t)
    t:pubsub()
    assert.equal(2, run(t, { "avatar", "get" }, { tty = { [1] = true } }).status)
    local w = run(t, { "avatar", "set" }, { input = "no picture" })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("not a known picture format", 1, true), w.stderr)
    assert.equal(9, run(t, { "avatar", "set", "/nonexistent" }).status)
    assert.equal(2, run(t, { "avatar", "get", "@" }).status)
  end))
end)

describe("vcard", function()
  it("is shown and changed", around(function(t)
    local card = { "vCard", { xmlns = "vcard-temp" }, { "FN", {}, "An\194\155na" }, { "X-KEPT", {}, "y" },
      { "EMAIL", {}, { "HOME" }, { "USERID", {}, "a@example.net" } }, { "URL", {}, "http://x" } }
    t:on({ "iq", { type = "get" }, { "vCard", { xmlns = "vcard-temp" } } }, function() return card end)
    t:on({ "iq", { type = "set" }, { "vCard", { xmlns = "vcard-temp" } } }, function(stanza)
      card = stanza[3]
      return { "iq", { type = "result" } }
    end)
    assert.equal("fn=An\\u{9b}na\nurl=http://x\nemail=a@example.net  (home)\n",
      done(t, { "vcard", "get", "anna@example.net" }))
    done(t, { "vcard", "set", "fn=Bot", "n.given=B", "url=", "tel=1", "org=O", "photo=p.png" },
      { files = { ["p.png"] = { text = PNG, mode = 384 } } })
    assert.equal("y", xexpr.text(xexpr.child(card, "X-KEPT")))
    local o = object(done(t, { "vcard", "get", "--json" }))
    assert.same({ "Bot", "B", "1", "O", core.base64(PNG) }, { o.fn, o.n.given, o.tel[1].number, o.org.name,
      o.photo.data })
    assert.is_nil(o.url)
    assert.equal(2, run(t, { "vcard", "set" }).status)
    assert.equal(9, run(t, { "vcard", "set", "shoe=44" }).status)
    assert.equal(2, run(t, { "vcard", "set", "fn" }).status)
  end))
end)

describe("bookmark", function()
  it("lists, adds and removes rooms, and joins none", around(function(t)
    local account = t:pubsub(nil, { more = { BOOKMARKS .. "#compat" } })
    done(t, { "bookmark", "add", TEA, "--name", "Tea", "--autojoin", "--nick", "pot" })
    account:publish(BOOKMARKS, { "conference", { xmlns = BOOKMARKS }, { "password", {}, "secret" } },
      "milk@rooms.example.net")
    assert.equal("milk@rooms.example.net  (with a password)\ntea@rooms.example.net  *  Tea  as pot\n",
      done(t, { "bookmark" }))
    local o = object(done(t, { "bookmark", "list", "--json" }))
    assert.same({ "milk@rooms.example.net", true, false }, { o.room, o.has_password, o.autojoin })
    done(t, { "bookmark", "add", TEA, "--no-autojoin" })
    assert.equal("Tea", account.nodes[BOOKMARKS].items[2].payload[2].name)
    assert.is_nil(account.nodes[BOOKMARKS].items[2].payload[2].autojoin)
    done(t, { "bookmark", "remove", TEA })
    assert.equal(1, #account.nodes[BOOKMARKS].items)
    assert.equal(1, run(t, { "bookmark", "remove", TEA }).status)
    assert.equal(2, run(t, { "bookmark", "add" }).status)
    assert.equal(2, run(t, { "bookmark", "add", "rooms.example.net" }).status)
  end))
end)
