-- blocking: the server's block list (XEP-0191, XEP-0377), with xmpp.testing; and attempts by others to change it.

local blocking = require "xmpp.blocking"
local ext = require "xmpp.ext"
local iq = require "xmpp.iq"
local presence = require "xmpp.presence"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"

local ME, BLOCKING, REPORTING = "bot@example.net", "urn:xmpp:blocking", "urn:xmpp:reporting:1"
local SPAM, EVE = "spam@example.org", "eve@example.org"

local GET = { "iq", { type = "get" }, { "blocklist", { xmlns = BLOCKING } } }

local function items(name, ...)
  local x = { name, { xmlns = BLOCKING } }
  for _, jid in ipairs { ... } do x[#x + 1] = { "item", { jid = jid } } end
  return x
end

local function list(...) return items("blocklist", ...) end

local function ear(st)
  local heard = {}
  for _, event in ipairs { "blocked", "unblocked", "fetched" } do
    st:on(event, function(jid) heard[#heard + 1] = event .. (jid and " " .. jid or "") end)
  end
  return heard
end

-- Uses the extension, and answers the request for the list.
local function use(t, ...)
  local st = blocking.use(t.conn)
  t:expect(GET, list(...))
  return st, ear(st)
end

local function push(t, from, x)
  t:receive { "iq", { type = "set", id = "push", from = from, to = ME .. "/test" }, x }
  local got = t:expect({ "iq", { id = "push" } }, false)
  return got[2].type == "error" and xexpr.error(got).condition or got[2].type
end

local function task(f, ...)
  local out, arguments = {}, { ... }
  coroutine.wrap(function()
    out.ok, out.err = f((table.unpack or unpack)(arguments)) -- luacheck: ignore 143
    out.done = true
  end)()
  return out
end

local function keys(set)
  local out = {}
  for key in pairs(set) do out[#out + 1] = key end
  table.sort(out)
  return table.concat(out, " ")
end

describe("the list", function()
  it("is fetched before our presence is sent, and reported", testing.around(function(t)
    blocking.use(t.conn)
    task(presence.set, t.conn, {})
    local got = t:expect(GET, false)
    t:nothing()
    t:receive { "iq", { type = "result", id = got[2].id }, list("Spam@EXAMPLE.org", "bad.example") }
    t:expect { "presence", {} }
    assert.same({ "bad.example", SPAM }, blocking.list(t.conn))
    t:nothing()
  end))

  it("doesn't delay our presence if it can't be fetched", testing.around(function(t)
    t:on({ "iq", { type = "get" }, { "blocklist", { xmlns = BLOCKING } } }, function()
      return nil, "cancel", "service-unavailable"
    end)
    blocking.use(t.conn)
    task(presence.set, t.conn, {})
    t:expect { "presence", {} }
    assert.equal("service-unavailable", select(2, blocking.list(t.conn)).condition)
  end))

  it("is fetched again in a new session, and what changed is reported", testing.around(function(t)
    local st, heard = use(t, SPAM, EVE)
    t:ack()
    t:reconnect { new = true }
    t:expect(GET, list(EVE, "new@example.org"))
    assert.same({ "unblocked " .. SPAM, "blocked new@example.org", "fetched" }, heard)
    assert.equal("eve@example.org new@example.org", keys(st.blocked))
    t:cut()
    t:resume()
    t:nothing()
  end))

  it("doesn't lose what changes while it is on its way", testing.around(function(t)
    local st = blocking.use(t.conn)
    local got = t:expect(GET, false)
    assert.equal("result", push(t, nil, items("block", "late@example.org")))
    assert.equal("result", push(t, nil, items("unblock", SPAM)))
    t:receive { "iq", { type = "result", id = got[2].id }, list(SPAM, EVE) }
    assert.equal("eve@example.org late@example.org", keys(st.blocked))
    t:ack()
    t:reconnect { new = true }
    got = t:expect(GET, false)
    push(t, ME, items "unblock")
    push(t, ME, items("block", "last@example.org"))
    t:receive { "iq", { type = "result", id = got[2].id }, list(SPAM, EVE) }
    assert.equal("last@example.org", keys(st.blocked))
  end))

  it("leaves out invalid addresses, and refuses a malformed answer", testing.around(function(t)
    local st = use(t, "\226\153\165@example.net", SPAM)
    assert.same({ SPAM, 1 }, { keys(st.blocked), st.skipped })
    for why, answer in pairs {
      ["the answer of our server: blocklist: missing"] = { "blocklist", { xmlns = "urn:x" } },
      ["the answer of our server: blocklist.item[2].jid: missing"] = { "blocklist", { xmlns = BLOCKING },
        { "item", { jid = EVE } }, { "item" } },
    } do
      t:ack()
      t:reconnect { new = true }
      t:expect(GET, answer)
      local got = task(blocking.list, t.conn)
      t:expect(GET, answer)
      assert.same({ "bad-format", why }, { got.err.condition, got.err.text })
      assert.equal(SPAM, keys(st.blocked))
    end
  end))

  it("has a maximum size", testing.around(function(t)
    local many = {}
    for i = 1, 10003 do many[i] = ("u%d@x"):format(i) end
    local st = blocking.use(t.conn)
    t:expect(GET, list((table.unpack or unpack)(many, 1, 7000))) -- luacheck: ignore 143
    push(t, nil, items("block", (table.unpack or unpack)(many, 7001, 10003))) -- luacheck: ignore 143
    assert.same({ 10000, 3 }, { st.n, st.beyond })
    push(t, nil, items "unblock")
    assert.same({ 0, 0 }, { st.n, st.beyond })
  end, { opts = { max_nodes = 30000, max_stanza = 2 ^ 24 } }))
end)

describe("a push", function()
  it("changes the list", testing.around(function(t)
    local st, heard = use(t, EVE)
    assert.equal("result", push(t, nil, items("block", SPAM, "bad.example")))
    assert.equal("result", push(t, ME, items("block", SPAM)))
    assert.equal("result", push(t, ME, items("unblock", EVE, "unknown@example.org")))
    assert.same({ "blocked " .. SPAM, "blocked bad.example", "unblocked " .. EVE }, heard)
    assert.equal("bad.example spam@example.org", keys(st.blocked))
    assert.equal("result", push(t, ME, items "unblock"))
    assert.same({ "unblocked bad.example", "unblocked " .. SPAM }, { heard[4], heard[5] })
    assert.is_nil(next(st.blocked))
  end))

  it("is only accepted from our own account", testing.around(function(t)
    local st, heard = use(t, EVE)
    for _, from in ipairs { EVE, EVE .. "/x", "example.net", ME .. "/other", ME .. "/test", "bot@example.net.evil" } do
      assert.equal("service-unavailable", push(t, from, items("block", SPAM)))
      assert.equal("service-unavailable", push(t, from, items "unblock"))
    end
    t.forge.block("example.net", EVE, true)
    t:expect({ "iq", { type = "error" } }, false)
    assert.same({}, heard)
    assert.equal(EVE, keys(st.blocked))
    t.forge.block(nil, EVE, true)
    t:expect({ "iq", { type = "result" } }, false)
    assert.same({ "unblocked " .. EVE }, heard)
  end))

  it("is refused if it is malformed", testing.around(function(t)
    local st = use(t, EVE)
    for _, x in ipairs { items "block", items("odd", SPAM), { "block", { xmlns = BLOCKING }, { "item" } },
      { "block", { xmlns = BLOCKING }, { "item", { jid = SPAM, xmlns = "urn:x" } } } } do
      assert.equal("bad-request", push(t, nil, x))
    end
    assert.equal(EVE, keys(st.blocked))
  end))
end)

describe("a listener", function()
  it("may throw, wait, and drop what it listens to", testing.around(function(t)
    local st = use(t)
    local heard = {}
    st:on("blocked", function() error "mine" end)
    st:on("blocked", function(jid)
      heard[#heard + 1] = jid
      if ext.of(t.conn, blocking) then ext.drop(t.conn, blocking) end
    end)
    assert.equal("result", push(t, nil, items("block", SPAM, EVE)))
    assert.same({ SPAM }, heard)
    assert.equal(1, #t:take_errors())
    assert.is_false(blocking.is_blocked(t.conn, SPAM))
  end))
end)

describe("block and unblock", function()
  it("have the server do it", testing.around(function(t)
    local st, heard = use(t)
    local got = task(blocking.block, t.conn, { "Spam@example.org", "bad.example" })
    local x = t:expect({ "iq", { type = "set" }, { "block", { xmlns = BLOCKING } } })
    assert.is_nil(x[2].to)
    assert.same({ SPAM, "bad.example" }, { x[3][3][2].jid, x[3][4][2].jid })
    assert.is_true(got.ok)
    assert.equal("bad.example spam@example.org", keys(st.blocked))
    push(t, nil, items("block", SPAM, "bad.example")) -- the server's own push follows
    assert.same({ "blocked " .. SPAM, "blocked bad.example" }, heard)
    got = task(blocking.unblock, t.conn, SPAM)
    t:expect({ "iq", { type = "set" }, { "unblock", { xmlns = BLOCKING }, { "item", { jid = SPAM } } } })
    assert.is_true(got.ok)
    got = task(blocking.unblock_all, t.conn)
    x = t:expect({ "iq", { type = "set" }, { "unblock", { xmlns = BLOCKING } } })
    assert.equal(2, #x[3])
    assert.same({ true, "" }, { got.ok, keys(st.blocked) })
  end))

  it("return a refusal, and nothing has changed", testing.around(function(t)
    local st = use(t, EVE)
    for _, f in ipairs { blocking.block, blocking.unblock, blocking.unblock_all } do
      local got = task(f, t.conn, f == blocking.block and SPAM or EVE)
      t:expect({ "iq", { type = "set" } }, function() return nil, "cancel", "not-allowed" end)
      assert.equal("not-allowed", got.err.condition)
    end
    assert.equal(EVE, keys(st.blocked))
  end))

  it("don't block our own account, unless that is asked for", testing.around(function(t)
    use(t)
    for _, jid in ipairs { ME, ME .. "/other", "example.net", "net", "EXAMPLE.net" } do
      assert.equal("not-allowed", select(2, blocking.block(t.conn, { SPAM, jid })).condition)
      assert.equal("not-allowed", select(2, blocking.report(t.conn, jid)).condition)
    end
    t:nothing()
    for _, jid in ipairs { "example.net/x", "anna@example.net", "ple.net", "a.example.net" } do
      local got = task(blocking.block, t.conn, jid)
      t:expect { "iq", { type = "set" } }
      assert.is_true(got.ok)
    end
    local got = task(blocking.block, t.conn, ME .. "/other", { own = true })
    t:expect { "iq", { type = "set" } }
    assert.is_true(got.ok)
  end))
end)

describe("report", function()
  it("blocks, and says why", testing.around(function(t)
    local st = use(t)
    local got = task(blocking.report, t.conn, SPAM, { reason = "abuse", text = "every hour", lang = "en",
      ids = { { id = "1", by = ME }, { stanza_id = "2", id = "x", by = ME, text = "buy" } } })
    local x = t:expect { "iq", { type = "set" }, { "block", { xmlns = BLOCKING }, { "item", { jid = SPAM },
      { "report", { xmlns = REPORTING, reason = "urn:xmpp:reporting:abuse" },
        { "stanza-id", { xmlns = "urn:xmpp:sid:0", id = "1", by = ME } },
        { "stanza-id", { xmlns = "urn:xmpp:sid:0", id = "2", by = ME } },
        { "text", { ["xml:lang"] = "en" }, "every hour" } } } } }
    assert.equal(3, #x[3])
    assert.same({ true, SPAM }, { got.ok, keys(st.blocked) })
    task(blocking.report, t.conn, EVE)
    x = t:expect { "iq", { type = "set" } }
    assert.equal("urn:xmpp:reporting:spam", x[3][3][3][2].reason)
  end))
end)

describe("is_blocked", function()
  it("knows the addresses that an entry means", testing.around(function(t)
    use(t, "spam@example.org", "full@example.org/x", "bad.example", "res.example/r", "strasse@example.org")
    local function is(jid) return blocking.is_blocked(t.conn, jid) end
    for _, jid in ipairs { SPAM, "Spam@example.org/any", "full@example.org/x", "bad.example", "a@bad.example",
      "bad.example/x", "a@sub.bad.example/r", "res.example/r", "u@res.example/r",
      "stra\195\159e@example.org/x" } do
      assert.is_true(is(jid), jid)
    end
    for _, jid in ipairs { "other@example.org", "full@example.org", "full@example.org/X", "verybad.example", "example",
      "res.example", "@" } do
      assert.is_false(is(jid), jid)
    end
  end))

  it("returns nothing if the extension isn't used", testing.around(function(t)
    assert.is_false(blocking.is_blocked(t.conn, SPAM))
  end))
end)

describe("mistakes", function()
  it("raise at the caller's line", testing.around(function(t)
    use(t)
    local conn = t.conn
    for why, mistake in pairs {
      ["bad argument #1 to 'block' (connection expected, got nil)"] = function() blocking.block(nil, SPAM) end,
      ["bad argument #2 to 'block' (address expected, got number)"] = function() blocking.block(conn, 5) end,
      ["bad argument #2 to 'unblock' (an address or a list of them expected)"] = function()
        blocking.unblock(conn, {})
      end,
      ["'block' has no option 'odd'"] = function() blocking.block(conn, SPAM, { odd = true }) end,
      ["bad option 'reason' of 'report' (spam or abuse expected)"] = function()
        blocking.report(conn, SPAM, { reason = "odd" })
      end,
      ["bad argument #2 to 'report' (one address expected)"] = function() blocking.report(conn, { SPAM }) end,
      ["bad option 'ids' of 'report' (ids[1]: { id =, by = } or such a message expected)"] = function()
        blocking.report(conn, SPAM, { ids = { "1" } })
      end,
      ["extension 'blocking' is used already, with other options"] = function() ext.use(conn, blocking, { a = 1 }) end,
    } do
      local ok, err = pcall(mistake)
      assert.is_false(ok)
      assert.equal(why, (err:gsub("^%S+blocking_spec.lua:%d+: ", "")))
    end
    assert.equal("jid-malformed", select(2, blocking.block(conn, "@")).condition)
    t:nothing()
  end))

  it("leave nothing behind when it is dropped", testing.around(function(t)
    use(t)
    t.conn:set_handler()
    assert.is_true(ext.drop(t.conn, blocking))
    t:receive { "iq", { type = "set", id = "push" }, items("block", SPAM) }
    t:expect({ "iq", { type = "error", id = "push" } }, false)
    local off = iq.serve(t.conn, "set", BLOCKING, function() return true end)
    off()
  end))
end)
