-- roster: the account's contacts, with xmpp.testing: fetched by version, pushed, changed; and attempts by others to
-- change them, or to be accepted.

local core = require "xmpp.core"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local roster = require "xmpp.roster"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local ME, ROSTER = "bot@example.net", "jabber:iq:roster"
local VER = { "ver", { xmlns = "urn:xmpp:features:rosterver" } }
local SUB = { "sub", { xmlns = "urn:xmpp:features:pre-approval" } }
local ANNA, BERT = "anna@example.net", "bert@example.org"

local function query(ver, ...) return { "query", { xmlns = ROSTER, ver = ver }, ... } end

local function item(jid, subscription, name, ...)
  local x = { "item", { jid = jid, subscription = subscription, name = name } }
  for _, group in ipairs { ... } do x[#x + 1] = { "group", {}, group } end
  return x
end

local GET = { "iq", { type = "get" }, { "query", { xmlns = ROSTER } } }
local SET = { "iq", { type = "set" }, { "query", { xmlns = ROSTER } } }

-- A test that answers for the roster itself; the server offers versions and pre-approval.
local function around(f, o)
  local all = { answers = false, features = { VER, SUB } }
  for key, v in pairs(o or {}) do all[key] = v end
  return testing.around(f, all)
end

-- Uses the roster, and answers the request for it.
local function use(t, opts, answer)
  local r = roster.use(t.conn, opts)
  t:expect(GET, answer or query("1", item(ANNA, "both", "Anna", "friends"), item(BERT, "none")))
  return r
end

-- The events, as a list: { event, argument... }, with items as their addresses.
local function ear(r, ...)
  local heard = {}
  for _, event in ipairs { ... } do
    r:on(event, function(...)
      local entry = { event }
      for i = 1, select("#", ...) do
        local v = select(i, ...)
        if type(v) == "table" then v = v.jid end
        entry[i + 1] = v
      end
      heard[#heard + 1] = entry
    end)
  end
  return heard
end

local function push(t, from, ver, ...)
  t:receive { "iq", { type = "set", id = "push", from = from, to = ME .. "/test" }, query(ver, ...) }
end

local ACCEPTED = { "iq", { type = "result", id = "push" } }

local function refused(condition)
  return { "iq", { type = "error", id = "push" }, { "error", { condition, {
    xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
end

-- What was sent until now has arrived, and the session is lost.
local function lose_session(t)
  t:ack()
  t:reconnect { new = true }
end

-- A new session; the roster must be asked for with this version.
local function new_session(t, ver, answer)
  lose_session(t)
  local got = t:expect(GET, answer)
  assert.equal(ver, got[3][2].ver)
end

local function keys(t)
  local list = {}
  for key in pairs(t) do list[#list + 1] = key end
  table.sort(list)
  return list
end

local function says(t, from, kind, ...)
  t:receive { "presence", { from = from, to = ME, type = kind }, ... }
end

-- Starts f in a task. The table gets its results when it has ended.
local function task(f, ...)
  local out, arguments = {}, { ... }
  coroutine.wrap(function() out.ok, out.err = f(unpack(arguments)) out.done = true end)()
  return out
end

describe("roster fetches", function()
  it("what the account has", around(function(t)
    local r = roster.use(t.conn)
    local heard = ear(r, "added", "changed", "removed", "approved", "fetched")
    t:expect(GET, query(nil,
      { "item", { jid = "Anna@EXAMPLE.net", subscription = "both", name = "Anna" }, { "group", {}, "b" },
        { "group", {}, "a" }, { "group", {}, "b" }, { "group", {} }, { "group", { xmlns = "urn:x" }, "c" } },
      { "item", { jid = BERT, ask = "subscribe", approved = "true", name = "" } },
      { "item", { jid = "odd@example.net", subscription = "odd", ask = "odd", approved = "no" } },
      { "item", { jid = "gateway.example.net", subscription = "from", approved = "1" } },
      item("gone@example.net", "remove"), { "item", { jid = "other@example.net", xmlns = "urn:x" } }))
    assert.same({
      [ANNA] = { jid = ANNA, name = "Anna", subscription = "both", groups = { "a", "b" } },
      [BERT] = { jid = BERT, subscription = "none", ask = "subscribe", approved = true, groups = {} },
      ["odd@example.net"] = { jid = "odd@example.net", subscription = "none", groups = {} },
      ["gateway.example.net"] = { jid = "gateway.example.net", subscription = "from", approved = true, groups = {} },
    }, r.items)
    assert.same({ { "fetched" } }, heard)
    assert.is_true(r:fetched())
    assert.same({ "items", "requests", "skipped" }, keys(r))
  end))

  it("a roster with an address that we don't accept, without that contact", around(function(t)
    local r = use(t, nil, query(nil, item("\226\153\165@example.net", "both"), item(ANNA, "to"), item("a b@x", "both")))
    assert.same({ ANNA }, keys(r.items))
    assert.equal(2, r.skipped)
  end))

  it("nothing if it is larger than a stanza may be", around(function(t)
    local r = roster.use(t.conn)
    local got, x = task(r.fetched, r), query "1"
    for i = 1, 60 do x[#x + 1] = item(("u%d@x"):format(i), "both") end
    t:expect(GET, x)
    assert.same({ "limit", {} }, { got.err.layer, r.items })
  end, { opts = { max_nodes = 100 } }))

  it("nothing if it is malformed", around(function(t)
    local r = roster.use(t.conn)
    for why, answer in pairs {
      ["query.item[2].jid: missing"] = query("1", item(ANNA, "both"), item(nil, "both")),
      ["query.item[2].jid: it occurs twice"] = query("1", item(ANNA, "both"), item("ANNA@example.net", "to")),
      ["query: missing"] = { "query", { xmlns = "urn:x" } },
    } do
      local got = task(r.fetched, r, 5)
      t:expect(GET, answer)
      assert.is_nil(got.ok)
      assert.same({ "bad-format", "the answer of our server: " .. why }, { got.err.condition, got.err.text })
      assert.same({}, r.items)
    end
    local got = task(r.fetched, r, 5)
    local asked = t:expect(GET, query())
    assert.equal("", asked[3][2].ver) -- no version was kept of malformed ones
    assert.is_true(got.ok)
  end))

  it("again on request after a failure", around(function(t)
    local r = roster.use(t.conn)
    local first = task(r.fetched, r)
    t:expect(GET, function() return nil, "wait", "internal-server-error" end)
    assert.equal("internal-server-error", first.err.condition)
    t:nothing()
    local second, third = task(r.fetched, r), task(r.fetched, r)
    t:expect(GET, query(nil, item(ANNA, "both")))
    assert.same({ true, true }, { second.ok, third.ok })
    assert.same({ ANNA }, keys(r.items))
    t:nothing()
    assert.is_true(r:fetched(1))
  end))

  it("until the caller's timeout or the connection's end", around(function(t)
    local r = roster.use(t.conn)
    local short, long = task(r.fetched, r, 1), task(r.fetched, r)
    t:expect(GET, false)
    t:advance(2)
    assert.equal("timeout", short.err.layer)
    assert.is_nil(long.done)
    t.conn:stop()
    assert.equal("closed", long.err.layer)
    local _, err = r:fetched()
    assert.equal("closed", err.layer)
    for _, method in ipairs { "add", "set", "remove", "subscribe", "unsubscribe", "approve", "deny", "preapprove" } do
      local none, why = r[method](r, ANNA)
      assert.is_nil(none)
      assert.equal("closed", why.layer)
    end
  end))

  it("again in a resumed session only if the roster hadn't come", around(function(t)
    local r = use(t)
    t:cut()
    t:resume()
    t:nothing()
    assert.is_true(r:fetched())
    ext.drop(t.conn, roster)
    r = roster.use(t.conn)
    t:expect(GET, false)
    local waits = task(r.fetched, r)
    t:cut()
    t:advance(61) -- longer than any answer is waited for
    assert.is_nil(waits.done)
    t:resume()
    t:expect(GET, query(nil, item(ANNA, "both")))
    assert.is_true(waits.ok)
  end))
end)

describe("roster's version", function()
  it("is not sent if the server doesn't support it", around(function(t)
    use(t)
    new_session(t, nil, query("2"))
    new_session(t, nil, query("3"))
  end, { features = {} }))

  it("is sent in each session; only changes are reported", around(function(t)
    local r = roster.use(t.conn)
    assert.equal("", t:expect(GET, query("1", item(ANNA, "both"), item(BERT, "none"), item("c@d", "to")))[3][2].ver)
    local heard = ear(r, "added", "changed", "removed", "approved", "fetched")
    local anna = r.items[ANNA]
    new_session(t, "1", query("2", item(ANNA, "both"), item(BERT, "to"), item("e@f", "both")))
    table.sort(heard, function(a, b) return a[1] < b[1] end)
    assert.same({ { "added", "e@f" }, { "approved", BERT, BERT }, { "changed", BERT, BERT }, { "fetched" },
      { "removed", "c@d" } }, heard)
    assert.equal(anna, r.items[ANNA])
    new_session(t, "2", query "3")
    assert.same({}, r.items)
  end))

  it("is current if the result is empty; an empty query is an empty roster", around(function(t)
    local r = use(t)
    local heard = ear(r, "added", "changed", "removed", "fetched")
    new_session(t, "1") -- the empty result
    assert.same({ ANNA, BERT }, keys(r.items))
    assert.same({ { "fetched" } }, heard)
    new_session(t, "1", query "7")
    assert.same({}, r.items)
    assert.same({ "fetched", "removed", "removed", "fetched" }, { heard[1][1], heard[2][1], heard[3][1], heard[4][1] })
    new_session(t, "7")
    assert.same({}, r.items)
  end))

  it("isn't current by an empty result if none was sent", around(function(t)
    local r = use(t)
    lose_session(t)
    local got = task(r.fetched, r)
    t:expect(GET)
    assert.equal("bad-format", got.err.condition)
    assert.same({ ANNA, BERT }, keys(r.items))
    assert.is_nil(roster.subscription(t.conn, ANNA))
  end, { features = {} }))

  it("is updated by pushes", around(function(t)
    local r = use(t)
    push(t, nil, "2", item(BERT, "to"))
    t:expect(ACCEPTED)
    assert.equal("to", r.items[BERT].subscription)
    new_session(t, "2")
    push(t, nil, nil, item(BERT, "both")) -- without a version
    t:expect(ACCEPTED)
    new_session(t, "2")
  end))

  it("isn't updated by pushes before the roster has come, so that nothing is missed", around(function(t)
    local r = use(t)
    lose_session(t)
    t:expect(GET, false)
    push(t, nil, "9", item("new@example.net", "none"))
    t:expect(ACCEPTED)
    assert.same({ ANNA, BERT, "new@example.net" }, keys(r.items))
    new_session(t, "1", query("10", item(ANNA, "both"), item("new@example.net", "none")))
    assert.same({ ANNA, "new@example.net" }, keys(r.items))
    new_session(t, "10")
  end))

  it("is that of the last one if pushes come right before and after the roster", around(function(t)
    local r = roster.use(t.conn)
    local id = t:next()[2].id
    t:sent()
    t:receive(xexpr.to_xml { "iq", { type = "set", id = "p1", to = ME .. "/test" }, query("1", item(ANNA, "none")) } ..
      xexpr.to_xml { "iq", { type = "result", id = id, to = ME .. "/test" },
        query("2", item(ANNA, "to"), item(BERT, "to")) } ..
      xexpr.to_xml { "iq", { type = "set", id = "p3", to = ME .. "/test" }, query("3", item(ANNA, "both")) } ..
      xexpr.to_xml { "iq", { type = "set", id = "p4", to = ME .. "/test" }, query("4", item(BERT, "remove")) })
    assert.same({ "p1", "p3", "p4" }, (function(list)
      for i, x in ipairs(list) do list[i] = x[2].type == "result" and x[2].id end
      return list
    end)(t:sent()))
    assert.same({ ANNA }, keys(r.items))
    assert.equal("both", r.items[ANNA].subscription)
    new_session(t, "4")
  end))
end)

describe("roster's pushes", function()
  it("from our account change, add and remove", around(function(t)
    local r = use(t)
    local heard = ear(r, "added", "changed", "removed", "approved")
    for i, from in ipairs { false, ME, "BOT@Example.NET" } do
      push(t, from or nil, nil, item(("new%d@x"):format(i), "none", "New", "g"))
      t:expect(ACCEPTED)
      assert.equal("New", r.items[("new%d@x"):format(i)].name)
    end
    push(t, nil, nil, item(BERT, "none")) -- unchanged
    t:expect(ACCEPTED)
    push(t, nil, nil, item(BERT, "none", "Bert"))
    t:expect(ACCEPTED)
    push(t, nil, nil, item("new1@x", "none", "New", "h"))
    t:expect(ACCEPTED)
    push(t, nil, nil, item(BERT, "remove"))
    t:expect(ACCEPTED)
    push(t, nil, nil, item("nobody@x", "remove"))
    t:expect(ACCEPTED)
    assert.same({ { "added", "new1@x" }, { "added", "new2@x" }, { "added", "new3@x" }, { "changed", BERT, BERT },
      { "changed", "new1@x", "new1@x" }, { "removed", BERT } }, heard)
    assert.same({ ANNA, "new1@x", "new2@x", "new3@x" }, keys(r.items))
  end))

  it("from anybody else are refused, and change nothing", around(function(t)
    local r = use(t)
    local heard = ear(r, "added", "changed", "removed", "approved")
    for _, from in ipairs { "example.net", "example.net/x", ME .. "/other", ME .. "/test", "mallory@evil.example/x",
      ANNA, "bot@example.net.evil.example", "bot@example.com", "b\195\182t@example.net",
      "bot\\40example.net@evil.example", "not an address@" } do
      push(t, from, "66", item("mallory@evil.example", "both"))
      local refusal = t:sent()
      if from ~= ME .. "/test" then
        assert.is_true(xexpr.match(refused "service-unavailable")(refusal[1]), from)
      end
      push(t, from, "66", item(ANNA, "remove"))
      t:sent()
    end
    local without_to = { type = "set", id = "push", from = "example.net" }
    t:receive { "iq", without_to, query("66", item(ANNA, "remove")) }
    t:expect(refused "service-unavailable")
    assert.same({ ANNA, BERT }, keys(r.items))
    assert.same({}, heard)
    new_session(t, "1")
  end))

  it("are answered in their session only", around(function(t)
    local failed = 0
    t.conn:on("failed", function() failed = failed + 1 end)
    use(t)
    push(t, nil, "2", item(BERT, "to"))
    push(t, "mallory@evil.example", "3", item(BERT, "both"))
    t:sent()
    t:reconnect { new = true } -- the answers weren't acknowledged
    assert.equal("2", t:expect(GET)[3][2].ver)
    t:nothing()
    assert.equal(0, failed)
  end))

  it("must have exactly one contact", around(function(t)
    local r = use(t)
    for _, wrong in ipairs {
      query("2", item(ANNA, "remove"), item(BERT, "remove")),
      query("2"),
      query("2", item(nil, "both")),
      query("2", item("@", "both")),
      query("2", { "item", { jid = "x@y", subscription = "both", xmlns = "urn:x" } }),
      { "other", { xmlns = ROSTER }, item("x@y", "both") },
    } do
      t:receive { "iq", { type = "set", id = "push", to = ME .. "/test" }, wrong }
      t:expect(refused "bad-request")
    end
    assert.same({ ANNA, BERT }, keys(r.items))
    new_session(t, "1")
  end))

  it("aren't confused with roster item exchange (XEP-0144)", around(function(t)
    local r = use(t, { approve = "all", mutual = true })
    local x = { "x", { xmlns = "http://jabber.org/protocol/rosterx" }, { "item", { action = "add",
      jid = "mallory@evil.example", name = "The boss" }, { "group", {}, "Admins" } } }
    t:receive { "message", { from = ANNA }, x }
    t:receive { "message", { from = "example.net" }, x }
    t:nothing()
    says(t, "mallory@evil.example", "subscribe", x, { "nick", { xmlns = "http://jabber.org/protocol/nick" }, "Boss" })
    t:expect { "presence", { type = "subscribed", to = "mallory@evil.example" } }
    t:expect { "presence", { type = "subscribe", to = "mallory@evil.example" } }
    t:nothing()
    assert.same({ ANNA, BERT }, keys(r.items))
  end))
end)

describe("roster's requests", function()
  it("are reported once for each bare address", around(function(t)
    local r = use(t)
    local heard = ear(r, "request")
    says(t, "carl@example.org/pc", "subscribe")
    says(t, "Carl@example.org", "subscribe", { "status", {}, "please" })
    says(t, "dora@example.org", "subscribe")
    assert.same({ "request", "carl@example.org" }, { heard[1][1], heard[1][2] })
    assert.same({ "request", "dora@example.org" }, { heard[2][1], heard[2][2] })
    assert.equal(2, #heard)
    assert.same({ ["carl@example.org"] = true, ["dora@example.org"] = true }, r.requests)
    new_session(t, "1")
    says(t, "carl@example.org", "subscribe") -- servers send unanswered requests again
    assert.equal(2, #heard)
    t:nothing()
  end))

  it("are reported with their stanza", around(function(t)
    local r = use(t)
    local got
    r:on("request", function(_, stanza) got = xexpr.text(stanza, "status") end)
    says(t, "carl@example.org", "subscribe", { "status", {}, "please" })
    assert.equal("please", got)
  end))

  it("are reported again after they were answered or withdrawn", around(function(t)
    local r = use(t)
    local heard = ear(r, "request")
    local function ask()
      says(t, "carl@example.org", "subscribe")
      says(t, "carl@example.org", "subscribe")
    end
    ask()
    assert.is_true(r:approve "Carl@example.org/pc")
    t:expect { "presence", { type = "subscribed", to = "carl@example.org" } }
    assert.same({}, r.requests)
    ask()
    assert.is_true(r:deny "carl@example.org")
    t:expect { "presence", { type = "unsubscribed", to = "carl@example.org" } }
    ask()
    says(t, "dora@example.org", "unsubscribe") -- dora's request was denied already
    assert.same({ ["carl@example.org"] = true }, r.requests)
    says(t, "carl@example.org/pc", "unsubscribe")
    assert.same({}, r.requests)
    ask()
    assert.equal(4, #heard)
  end))

  it("from ourselves or without a valid address are ignored", around(function(t)
    local r = use(t, { approve = "all" })
    says(t, ME, "subscribe")
    says(t, ME .. "/other", "subscribe")
    says(t, nil, "subscribe")
    says(t, "no address@", "subscribe")
    t:nothing()
    assert.same({}, r.requests)
  end))

  it("are bounded; those of an earlier session make room", around(function(t)
    local r = use(t, { max_requests = 3 })
    local heard = ear(r, "request")
    for i = 1, 5 do says(t, ("u%d@evil.example"):format(i), "subscribe") end
    assert.equal(3, #heard)
    assert.same({ "u1@evil.example", "u2@evil.example", "u3@evil.example" }, keys(r.requests))
    r:deny "u2@evil.example"
    t:expect { "presence", { type = "unsubscribed" } }
    says(t, "u6@evil.example", "subscribe")
    assert.equal(4, #heard)
    says(t, "u7@evil.example", "subscribe")
    assert.equal(4, #heard)
    new_session(t, "1")
    says(t, "u1@evil.example", "subscribe")
    says(t, "u8@evil.example", "subscribe")
    says(t, "u9@evil.example", "subscribe")
    says(t, "u10@evil.example", "subscribe")
    assert.same({ "u1@evil.example", "u8@evil.example", "u9@evil.example" }, keys(r.requests))
    assert.equal(6, #heard)
  end))

  it("are at most 100 by default", around(function(t)
    local r = use(t)
    local heard = ear(r, "request")
    for i = 1, 102 do says(t, ("u%d@evil.example"):format(i), "subscribe") end
    assert.equal(100, #heard)
  end))

  it("are approved with approve = 'all'", around(function(t)
    local r = use(t, { approve = "all" })
    local heard = ear(r, "request")
    for _ = 1, 2 do
      says(t, "carl@example.org/pc", "subscribe")
      t:expect { "presence", { type = "subscribed", to = "carl@example.org" } }
      t:nothing()
    end
    assert.same({}, heard)
    assert.same({}, r.requests)
  end))

  it("are approved, and with mutual = true answered by a request of ours", around(function(t)
    local r = use(t, { approve = "all", mutual = true }, query("1", item(ANNA, "to"), item(BERT, "both"),
      { "item", { jid = "e@f", subscription = "none", ask = "subscribe" } }, item("g@h", "from")))
    for _, jid in ipairs { ANNA, BERT, "e@f" } do
      says(t, jid, "subscribe")
      t:expect { "presence", { type = "subscribed", to = jid } }
      t:nothing()
    end
    for _, jid in ipairs { "carl@example.org", "g@h" } do
      says(t, jid, "subscribe")
      t:expect { "presence", { type = "subscribed", to = jid } }
      t:expect { "presence", { type = "subscribe", to = jid } }
      t:nothing()
    end
    assert.is_truthy(r)
  end))

  it("are denied with approve = 'none'", around(function(t)
    local r = use(t, { approve = "none", mutual = true })
    local heard = ear(r, "request")
    says(t, "carl@example.org", "subscribe")
    t:expect { "presence", { type = "unsubscribed", to = "carl@example.org" } }
    t:nothing()
    assert.same({ {}, {} }, { heard, r.requests })
  end))

  it("may be decided by a function, which may wait, abstain, or throw", around(function(t)
    local calls = 0
    local r = use(t, { approve = function(jid, stanza)
      calls = calls + 1
      assert(stanza[1] == "presence")
      if jid:match "@example%.org$" then return true end
      if jid:match "^no@" then return false end
      if jid:match "^later@" then xmpp.sleep(5) return true end
      if jid:match "^odd@" then return "yes" end
      if jid:match "^bad@" then error "no idea" end
    end })
    local heard = ear(r, "request")
    says(t, "carl@example.org", "subscribe")
    t:expect { "presence", { type = "subscribed", to = "carl@example.org" } }
    says(t, "no@evil.example", "subscribe")
    t:expect { "presence", { type = "unsubscribed", to = "no@evil.example" } }
    says(t, "later@x", "subscribe")
    says(t, "later@x", "subscribe")
    t:nothing()
    t:advance(5)
    t:expect { "presence", { type = "subscribed", to = "later@x" } }
    for _, jid in ipairs { "ask@x", "odd@x", "bad@x" } do says(t, jid, "subscribe") end
    t:nothing()
    local errors = t:take_errors()
    assert.equal(1, #errors)
    assert.matches("extension 'roster', approve: .*no idea", errors[1])
    assert.same({ "ask@x", "odd@x", "bad@x" }, { heard[1][2], heard[2][2], heard[3][2] })
    assert.equal(6, calls)
  end))

  it("aren't answered twice if the program answers while the function waits", around(function(t)
    local r = use(t, { approve = function() xmpp.sleep(5) return true end })
    says(t, "carl@example.org", "subscribe")
    r:deny "carl@example.org"
    t:expect { "presence", { type = "unsubscribed", to = "carl@example.org" } }
    t:advance(6)
    t:nothing()
    says(t, "dora@example.org", "subscribe")
    ext.drop(t.conn, roster)
    t:advance(6)
    t:nothing()
  end))
end)

describe("roster reports", function()
  it("an approval when the server's push says so, not the contact's presence", around(function(t)
    local r = use(t, nil, query("1", item(ANNA, "none"), item(BERT, "from")))
    local heard = ear(r, "approved")
    says(t, ANNA, "subscribed")
    says(t, "mallory@evil.example", "subscribed")
    assert.same({}, heard)
    push(t, nil, "2", { "item", { jid = ANNA, subscription = "none", ask = "subscribe" } })
    t:expect(ACCEPTED)
    assert.same({}, heard)
    push(t, nil, "3", item(ANNA, "to"))
    t:expect(ACCEPTED)
    push(t, nil, "4", item(ANNA, "both"))
    t:expect(ACCEPTED)
    push(t, nil, "5", item(BERT, "both"))
    t:expect(ACCEPTED)
    assert.same({ { "approved", ANNA, ANNA }, { "approved", BERT, BERT } }, heard)
    t:nothing()
  end))

  it("a denial by a contact", around(function(t)
    local r = use(t)
    local heard = ear(r, "denied")
    says(t, "mallory@evil.example", "unsubscribed")
    says(t, ME, "unsubscribed")
    says(t, BERT, "unsubscribed")
    says(t, ANNA .. "/pc", "unsubscribed")
    assert.same({ { "denied", BERT, BERT }, { "denied", ANNA, ANNA } }, heard)
    t:nothing()
  end))

  it("presences of contacts, and keeps no others", around(function(t)
    local r = use(t)
    local heard = {}
    r:on("presence", function(jid, p, stanza) heard[#heard + 1] = { jid, p.show or p.type or "online", stanza[1] } end)
    says(t, ANNA .. "/pc", nil, { "show", {}, "away" })
    for i = 1, 50 do says(t, ("u%d@evil.example/x"):format(i), nil) end
    says(t, ME .. "/other", nil) -- one of our own, which is no contact
    presence.send(t.conn, "friend@example.net", {})
    t:expect { "presence", { to = "friend@example.net" } }
    says(t, "friend@example.net/pc", nil)
    assert.is_truthy(presence.of(t.conn, "friend@example.net").pc)
    says(t, ANNA .. "/pc", "unavailable")
    assert.same({ { ANNA .. "/pc", "away", "presence" }, { ANNA .. "/pc", "unavailable", "presence" } }, heard)
    assert.is_nil(next(presence.of(t.conn, "u1@evil.example") or {}))
    says(t, ANNA .. "/pc", nil)
    assert.is_truthy(presence.of(t.conn, ANNA).pc)
    push(t, nil, nil, item(ANNA, "remove"))
    t:expect(ACCEPTED)
    says(t, ANNA .. "/pc", nil)
    says(t, ANNA .. "/other", nil)
    assert.equal(3, #heard)
    assert.is_nil(next(presence.of(t.conn, ANNA) or {}))
    push(t, nil, nil, item("icq.example.net/registered", "both")) -- an old gateway
    t:expect(ACCEPTED)
    says(t, "icq.example.net/registered", nil)
    says(t, "icq.example.net/other", nil)
    assert.same({ "icq.example.net/registered", "online", "presence" }, heard[4])
    push(t, nil, nil, item("icq.example.net/registered", "remove"))
    t:expect(ACCEPTED)
    says(t, "icq.example.net/registered", nil)
    assert.equal(4, #heard)
    assert.is_nil(next(presence.of(t.conn, "icq.example.net") or {}))
  end))
end)

describe("our presence", function()
  it("is sent when the roster has come", around(function(t)
    roster.use(t.conn)
    local sent = task(presence.set, t.conn, { status = "here" })
    local got = t:sent()
    assert.same({ 1, "iq" }, { #got, got[1][1] })
    t:receive { "iq", { type = "result", id = got[1][2].id, to = ME .. "/test" }, query("1", item(ANNA, "both")) }
    t:expect { "presence", {}, { "status", {}, "here" } }
    assert.is_true(sent.done)
    lose_session(t)
    t:expect(GET)
    t:expect { "presence", {}, { "status", {}, "here" } }
  end))

  it("is also sent when there is no roster", around(function(t)
    roster.use(t.conn)
    task(presence.set, t.conn, {})
    t:expect(GET, function() return nil, "cancel", "service-unavailable" end)
    t:expect { "presence" }
    lose_session(t)
    t:expect(GET, false)
    t:nothing()
    t:advance(21)
    t:expect { "presence" }
  end))
end)

describe("a roster request", function()
  -- A server that returns what a set contains as a push, before or after the response.
  local function server_of(t, behind)
    local n = 1
    return t:on(SET, function(stanza)
      n = n + 1
      local x = stanza[3][3]
      local attrs = { jid = x[2].jid, name = x[2].name, subscription = x[2].subscription or "none" }
      local pushed = { "iq", { type = "set", id = "push", to = ME .. "/test" }, query(tostring(n),
        { "item", attrs, unpack(x, 3) }) }
      local result = { "iq", { type = "result", id = stanza[2].id, to = ME .. "/test" } }
      t:receive(behind and result or pushed)
      t:receive(behind and pushed or result)
      return false
    end)
  end

  for _, behind in ipairs { false, true } do
    it("adds, changes and removes, and returns after the push, which comes " .. (behind and "after" or "before"),
      around(function(t)
        local r = use(t)
        server_of(t, behind)
        local function now(jid)
          for _, x in ipairs(t:sent()) do assert.equal("push", x[2].id) end
          local i = r.items[jid]
          return i and { i.name, table.concat(i.groups, ",") }
        end
        assert(r:add("New@example.net/pc", { name = "New", groups = { "b", "a" } }))
        assert.same({ "New", "a,b" }, now "new@example.net")
        assert(r:set("new@example.net", { name = "Newer" }))
        assert.same({ "Newer", "a,b" }, now "new@example.net")
        assert(r:set("new@example.net", { groups = {} }))
        assert.same({ "Newer", "" }, now "new@example.net")
        assert(r:add("new@example.net", { groups = { "x" } }))
        assert.same({ "Newer", "x" }, now "new@example.net")
        assert(r:set("new@example.net", { name = "" }))
        assert.same({ nil, "x" }, now "new@example.net")
        assert(r:remove("new@example.net"))
        assert.is_nil(now "new@example.net")
        assert.equal("2023-11-14T22:13:20", os.date("!%Y-%m-%dT%H:%M:%S", t:now())) -- no time has passed
      end))
  end

  it("finds the contact by our spelling and the server's", around(function(t)
    local theirs = "strasse@example.net"
    local r = use(t, nil, query("1", item(theirs, "none", "S", "g"), item(BERT, "none")))
    local off = t:on(SET, function(stanza)
      local x = stanza[3][3]
      assert.equal("stra\195\159e@example.net", x[2].jid)
      push(t, nil, nil, { "item", { jid = theirs, name = x[2].name, subscription = x[2].subscription or "none" },
        unpack(x, 3) })
    end)
    local began = t:now()
    assert(r:set("Stra\195\159e@example.net/pc", { name = "Stra\195\159e" }))
    t:expect(ACCEPTED)
    assert.same({ jid = theirs, name = "Stra\195\159e", groups = { "g" }, subscription = "none" }, r.items[theirs])
    assert(r:remove "stra\195\159e@example.net")
    t:expect(ACCEPTED)
    assert.same({ BERT }, keys(r.items))
    assert.equal(began, t:now()) -- no time has passed, so the push was recognised
    off()
    says(t, theirs, "subscribe")
    says(t, "stra\195\159e@example.net", "unsubscribe") -- on another server it may be somebody else
    assert.same({ [theirs] = true }, r.requests)
    assert(r:deny "stra\195\159e@example.net")
    t:expect { "presence", { type = "unsubscribed", to = "stra\195\159e@example.net" } }
    assert.same({}, r.requests)
    push(t, nil, nil, item(theirs, "both"))
    t:expect(ACCEPTED)
    assert.is_nil(roster.subscription(t.conn, "stra\195\159e@example.net")) -- for the same reason
    assert.equal("both", roster.subscription(t.conn, theirs))
  end))

  it("waits at most two seconds for the push", around(function(t)
    local r = use(t)
    local began = t:now()
    local got = task(r.add, r, "new@example.net")
    t:expect(SET)
    t:advance(1)
    assert.is_nil(got.done)
    push(t, nil, nil, item(BERT, "to")) -- another contact's
    t:expect(ACCEPTED)
    assert.is_nil(got.done)
    t:advance(1)
    assert.is_true(got.ok)
    assert.equal(2, t:now() - began)
  end))

  it("sends exactly the given fields", around(function(t)
    local r = use(t)
    task(r.add, r, "x@y", { name = "a<b", groups = { "g" } })
    assert.same({ "query", { xmlns = ROSTER }, { "item", { jid = "x@y", name = "a<b" }, { "group", {}, "g" } } },
      t:expect(SET, function() return nil, "cancel", "not-allowed" end)[3])
    task(r.set, r, ANNA, {})
    assert.same({ "query", { xmlns = ROSTER }, { "item", { jid = ANNA, name = "Anna" }, { "group", {}, "friends" } } },
      t:expect(SET, function() return nil, "cancel", "not-allowed" end)[3])
    task(r.remove, r, xmpp.jid(BERT .. "/pc"))
    assert.same({ "query", { xmlns = ROSTER }, { "item", { jid = BERT, subscription = "remove" } } },
      t:expect(SET, function() return nil, "cancel", "not-allowed" end)[3])
  end))

  it("returns the server's error", around(function(t)
    local r = use(t)
    for method, condition in pairs { add = "not-allowed", set = "not-acceptable", remove = "item-not-found" } do
      local got = task(r[method], r, ANNA)
      t:expect(SET, function() return nil, "cancel", condition end)
      assert.same({ "stanza", condition }, { got.err.layer, got.err.condition })
    end
    local none, err = r:set("new@example.net", { name = "New" })
    assert.is_nil(none)
    assert.equal("item-not-found", err.condition)
    for _, method in ipairs { "add", "set", "remove", "subscribe", "unsubscribe", "approve", "deny", "preapprove" } do
      none, err = r[method](r, "@")
      assert.is_nil(none)
      assert.is_truthy(err.condition)
    end
    assert.same({ ANNA, BERT }, keys(r.items))
    t:nothing()
  end))

  it("waits for the roster, and keeps the fields that aren't given", around(function(t)
    local r = roster.use(t.conn)
    local got = task(r.set, r, ANNA, { name = "A" })
    t:expect(GET, query("1", item(ANNA, "both", "Anna", "friends")))
    assert.same({ "item", { jid = ANNA, name = "A" }, { "group", {}, "friends" } }, t:expect(SET)[3][3])
    t:advance(2)
    assert.is_true(got.ok)
    lose_session(t)
    got = task(r.add, r, BERT)
    t:expect(GET, function() return nil, "wait", "internal-server-error" end)
    assert.equal("internal-server-error", got.err.condition)
    t:nothing()
  end))

  it("uses a full address only if the roster has it", around(function(t)
    local r = use(t, nil, query("1", item("icq.example.net/registered", "both"), item(ANNA, "none")))
    task(r.remove, r, "icq.example.net/registered")
    assert.equal("icq.example.net/registered", t:expect(SET)[3][3][2].jid)
    task(r.remove, r, ANNA .. "/pc")
    assert.equal(ANNA, t:expect(SET)[3][3][2].jid)
    t:advance(3)
  end))

  it("for a subscription uses the bare address", around(function(t)
    local r = use(t)
    assert.is_true(r:subscribe("Carl@example.org/pc", "it's me"))
    local got = t:expect { "presence", { type = "subscribe", to = "carl@example.org" } }
    assert.equal("it's me", xexpr.text(got, "status"))
    assert.is_true(r:unsubscribe(xmpp.jid "carl@example.org/pc"))
    assert.is_nil(t:expect({ "presence", { type = "unsubscribe", to = "carl@example.org" } })[3])
    assert.is_true(r:preapprove "carl@example.org/pc")
    t:expect { "presence", { type = "subscribed", to = "carl@example.org" } }
    t:nothing()
  end))

  it("for pre-approval needs the server's support", around(function(t)
    local r = use(t)
    local none, err = r:preapprove "carl@example.org"
    assert.is_nil(none)
    assert.equal("feature-not-implemented", err.condition)
    t:nothing()
  end, { features = { VER } }))
end)

describe("roster.subscription", function()
  it("is the contact's, by any of its addresses, once the roster has come", around(function(t)
    assert.is_nil(roster.subscription(t.conn, ANNA))
    local r = roster.use(t.conn)
    assert.is_nil(roster.subscription(t.conn, ANNA))
    t:expect(GET, query("1", item(ANNA, "both"), item(BERT, "none")))
    assert.equal("both", roster.subscription(t.conn, "Anna@example.net/pc"))
    assert.equal("none", roster.subscription(t.conn, xmpp.jid(BERT)))
    assert.is_nil(roster.subscription(t.conn, "carl@example.org"))
    assert.is_nil(roster.subscription(t.conn, "@"))
    lose_session(t)
    assert.same({ ANNA, BERT }, keys(r.items))
    assert.is_nil(roster.subscription(t.conn, ANNA)) -- it may have ended meanwhile
    t:expect(GET)
    assert.equal("both", roster.subscription(t.conn, ANNA))
    push(t, nil, "2", item(ANNA, "to"))
    t:expect(ACCEPTED)
    assert.equal("to", roster.subscription(t.conn, ANNA))
  end))

  it("lets those who see our presence query us by disco", around(function(t)
    use(t, nil, query("1", item(ANNA, "both"), item(BERT, "to"), item("c@d", "from"), item("e@f", "none")))
    local function allowed()
      local list = {}
      for _, jid in ipairs { ANNA .. "/pc", BERT, "c@d", "e@f", "x@y" } do
        list[#list + 1] = disco.allows(t.conn, jid) and jid or nil
      end
      return list
    end
    assert.same({ ANNA .. "/pc", "c@d" }, allowed())
    t:receive { "iq", { type = "get", id = "q", from = ANNA .. "/pc", to = ME .. "/test" },
      { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } }
    t:expect { "iq", { type = "result", id = "q" } }
    t:receive { "iq", { type = "get", id = "q", from = "x@y/pc", to = ME .. "/test" },
      { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } }
    t:expect { "iq", { type = "error", id = "q" }, { "error", { "service-unavailable" } } }
    push(t, nil, "2", item("c@d", "remove"))
    t:expect(ACCEPTED)
    assert.same({ ANNA .. "/pc" }, allowed())
    lose_session(t)
    assert.same({}, allowed())
    t:expect(GET)
    assert.same({ ANNA .. "/pc" }, allowed())
    ext.drop(t.conn, roster)
    assert.same({}, allowed())
  end))
end)

describe("roster is saved", function()
  local saved

  local function json_safe(v)
    assert.is_nil(getmetatable(v))
    for _, inner in pairs(v) do
      if type(inner) == "table" then json_safe(inner) end
      assert.is_true(type(inner) ~= "function" and type(inner) ~= "userdata")
    end
  end

  it("with its version, and only later changes are reported", function()
    around(function(t)
      local r = use(t)
      push(t, nil, "2", { "item", { jid = "c@d", subscription = "none", ask = "subscribe", approved = "true" } })
      t:expect(ACCEPTED)
      saved = ext.save(t.conn)
      json_safe(saved)
      assert.is_truthy(r)
      saved.roster.items[1].groups[1] = "changed" -- only changes the copy
      assert.same({ "friends" }, r.items[ANNA].groups)
      saved.roster.items[1].groups[1] = "friends"
    end)()
    around(function(t)
      ext.load(t.conn, saved)
      local r = roster.use(t.conn)
      local heard = ear(r, "added", "changed", "removed", "fetched")
      assert.same({ jid = "c@d", subscription = "none", ask = "subscribe", approved = true, groups = {} },
        r.items["c@d"])
      assert.is_nil(roster.subscription(t.conn, ANNA)) -- it may have changed since
      assert.same(saved.roster, ext.save(t.conn).roster)
      local got = t:expect(GET, query("5", item(ANNA, "both", "Anna", "friends"), item(BERT, "none"),
        item("e@f", "to")))
      assert.equal("2", got[3][2].ver)
      table.sort(heard, function(a, b) return a[1] < b[1] end)
      assert.same({ { "added", "e@f" }, { "fetched" }, { "removed", "c@d" } }, heard)
      assert.equal("5", ext.save(t.conn).roster.version)
    end)()
    around(function(t) -- an empty result: what was loaded is up to date
      ext.load(t.conn, saved)
      local r = roster.use(t.conn)
      t:expect(GET)
      assert.same({ ANNA, BERT, "c@d" }, keys(r.items))
      assert.equal("both", roster.subscription(t.conn, ANNA))
      says(t, ANNA .. "/pc", nil)
      assert.is_truthy(presence.of(t.conn, ANNA).pc)
    end)()
  end)

  it("for its account, and malformed data is ignored", function()
    local good = { account = ME, version = "2", items = { { jid = ANNA, subscription = "both", groups = {} } } }
    local function with(change)
      local copy = { account = good.account, version = good.version,
        items = { { jid = ANNA, subscription = "both", groups = {} } } }
      change(copy)
      return copy
    end
    for _, bad in ipairs {
      "text", {}, { account = ME },
      with(function(s) s.account = "other@example.net" end),
      with(function(s) s.version = 2 end),
      with(function(s) s.items[1].jid = "@" end),
      with(function(s) s.items[1].jid = nil end),
      with(function(s) s.items[1].subscription = "all" end),
      with(function(s) s.items[1].groups = "x" end),
      with(function(s) s.items[1].groups = { 1 } end),
      with(function(s) s.items[1].name = {} end),
      with(function(s) s.items[1].ask = true end),
      with(function(s) s.items[1].approved = "yes" end),
      with(function(s) s.items[2] = s.items[1] end),
      with(function(s) s.items[2] = 7 end),
    } do
      around(function(t)
        ext.load(t.conn, { roster = bad })
        local r = roster.use(t.conn)
        assert.equal("", t:expect(GET, query())[3][2].ver)
        assert.same({}, r.items)
        assert.equal(1, #t:take_errors())
      end)()
    end
  end)

  it("only after it was fetched", around(function(t)
    roster.use(t.conn)
    assert.is_nil(ext.save(t.conn).roster)
    t:expect(GET, false)
  end))
end)

describe("roster handles", function()
  it("listeners that throw, wait, drop it, or end the connection", around(function(t)
    local r = use(t)
    local heard = {}
    r:on("added", function() error "thrown" end)
    r:on("added", function() xmpp.sleep(1) heard[#heard + 1] = "waited" end)
    r:on("added", function(i) heard[#heard + 1] = i.jid end)
    push(t, nil, "2", item("c@d", "none"))
    t:expect(ACCEPTED)
    assert.same({ "c@d" }, heard)
    t:advance(1)
    assert.same({ "c@d", "waited" }, heard)
    assert.matches("extension 'roster', event 'added': .*thrown", t:take_errors()[1])
    r:on("changed", function() ext.drop(t.conn, roster) end)
    r:on("approved", function() heard[#heard + 1] = "approved" end)
    push(t, nil, "3", item("c@d", "to"))
    t:expect(ACCEPTED)
    assert.equal(2, #heard)
    push(t, nil, "4", item("g@h", "to"))
    t.conn:set_handler()
    t:expect { "iq", { type = "error", id = "push" } } -- the program doesn't use the roster any more
    assert.is_nil(roster.subscription(t.conn, ANNA))
    r = roster.use(t.conn)
    r:on("fetched", function() t.conn:stop() end)
    local waits = task(r.fetched, r)
    t:expect(GET, query("1"))
    assert.equal("closed", t.conn:state())
    assert.is_true(waits.done)
  end))

  it("being dropped while it is fetched, and used again", around(function(t)
    local r = roster.use(t.conn)
    local waits, waits_for_push = task(r.fetched, r), task(r.add, r, "x@y")
    local id = t:next()[2].id
    t:sent()
    ext.drop(t.conn, roster)
    t:nothing()
    assert.same({ "closed", "closed" }, { waits.err.layer, waits_for_push.err.layer })
    t:receive { "iq", { type = "result", id = id, to = ME .. "/test" }, query("1", item(ANNA, "both")) }
    assert.same({}, r.items)
    assert.is_nil((r:subscribe(ANNA)))
    local again = use(t)
    assert.same({ ANNA, BERT }, keys(again.items))
    assert.same({}, r.items)
  end))

  it("the end of the session while it is fetched", around(function(t)
    local r = roster.use(t.conn)
    t:expect(GET, false)
    local waits = task(r.fetched, r)
    new_session(t, "", query("1", item(ANNA, "both")))
    assert.is_true(waits.ok)
    assert.same({ ANNA }, keys(r.items))
    t:nothing()
  end))

  it("wrong arguments by raising at the caller's line", around(function(t)
    local r = use(t)
    local function raises(text, f)
      local ok, err = pcall(f)
      local info = debug.getinfo(f, "S")
      assert.is_false(ok)
      assert.equal(("%s:%d: %s"):format(info.short_src, info.linedefined, text), err)
    end
    raises("bad argument #1 to 'add' (string expected, got nil)", function() r:add() end)
    raises("bad argument #1 to 'remove' (string expected, got number)", function() r:remove(1) end)
    raises("bad argument #1 to 'approve' (string expected, got nil)", function() r:approve() end)
    raises("bad argument #1 to 'preapprove' (string expected, got nil)", function() r:preapprove() end)
    raises("bad argument #2 to 'subscribe' (string expected, got table)", function() r:subscribe(ANNA, {}) end)
    raises("bad argument #1 to 'fetched' (number expected, got string)", function() r:fetched "1" end)
    raises("'set' has no option 'nick'", function() r:set(ANNA, { nick = "A" }) end)
    raises("bad option 'groups' of 'add' (table expected, got string)", function() r:add(ANNA, { groups = "x" }) end)
    local groups, NAMES = { "a", "" }, "bad option 'groups' of '%s' (names expected, %s)"
    raises(NAMES:format("add", "at 2 is an empty one"), function() r:add(ANNA, { groups = groups }) end)
    groups = { 1 }
    raises(NAMES:format("set", "at 1 is number"), function() r:set(ANNA, { groups = groups }) end)
    raises("bad argument #2 to 'subscription' (string expected, got nil)", function() roster.subscription(t.conn) end)
    raises("bad argument #1 to 'subscription' (connection expected, got nil)", function() roster.subscription() end)
    raises("extension 'roster' has no event 'add'; did you mean 'added'?", function() r:on("add", print) end)
    local opts = { approve = "all" }
    raises("extension 'roster' is used already, with other options", function() roster.use(t.conn, opts) end)
    assert.equal(r, roster.use(t.conn))
    ext.drop(t.conn, roster)
    for text, bad in pairs {
      ["there is no option 'aprove'"] = { aprove = "all" },
      ["bad option 'approve' (\"ask\", \"all\", \"none\" or function expected)"] = { approve = true },
      ["bad option 'mutual' (boolean expected)"] = { mutual = 1 },
      ["bad option 'max_requests' (number from 0 on expected)"] = { max_requests = -1 },
    } do
      raises("extension 'roster', start: " .. text, function() roster.use(t.conn, bad) end)
    end
    assert.is_nil(ext.of(t.conn, roster))
  end))

  it("a component by raising", testing.around(function(t)
    local ok, err = pcall(roster.use, t.conn)
    assert.is_false(ok)
    assert.matches("a component has no presence of its own", err)
    assert.is_nil(ext.of(t.conn, roster))
  end, { component = "echo.example.net" }))

  it("ten thousand contacts", around(function(t)
    local x = query "1"
    for i = 1, 10000 do x[#x + 1] = item(("user%d@example.net"):format(i), "both", "User " .. i, "g" .. i % 10) end
    local r = use(t, nil, x)
    assert.equal(10000, #keys(r.items))
    assert.equal(r.items["user1@example.net"].groups, r.items["user11@example.net"].groups) -- equal lists are shared
    local heard = ear(r, "changed")
    x[2].ver, x[7][2].name = "2", "Renamed"
    new_session(t, "1", x)
    assert.same({ { "changed", "user5@example.net", "user5@example.net" } }, heard)
  end))
end)

describe("a connection", function()
  -- In a function of its own, so that nothing of it is left on the stack.
  local function open_and_end()
    local weak = setmetatable({}, { __mode = "v" })
    local t = testing.new { answers = false }
    weak[1], weak[2] = t.conn, use(t)
    t:finish()
    return weak
  end

  it("is collected with its roster after its end", function()
    local weak = open_and_end()
    local jit = rawget(_G, "jit")
    if jit then jit.flush() end -- compiled code refers to objects, and keeps them alive
    for _ = 1, 10 do collectgarbage() end
    assert.same({}, weak)
    assert.is_false(core.is_busy())
  end)
end)
