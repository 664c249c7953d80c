-- jid: a Jid as a value: equal ones are identical, also as a table's key; it can be used wherever an address is sent.

local fed = require "spec.support.fed"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr

local function jid(s) return assert(xmpp.jid(s)) end

describe("a Jid", function()
  it("is the same value as every equal one, however it was made", function()
    local a = jid "alice@xmpp.test/here"
    for _, b in ipairs { jid "ALICE@Xmpp.Test/here", jid "alice@xmpp.test/there":with_resource "here", jid(a) } do
      assert.is_true(rawequal(a, b))
    end
    assert.is_true(rawequal(jid "alice@xmpp.test", a:bare()))
    assert.is_true(rawequal(jid "straße@example.net", jid "STRAßE@example.net"))
    local f = fed.open { jid = "alice@xmpp.test/here" }
    assert.is_true(rawequal(a, f.conn:jid()))
    f:feed "</stream:stream>"
    assert.is_false(a == a:bare())
    assert.is_false(a == jid "alice@xmpp.test/Here")
    assert.is_false(a == "alice@xmpp.test/here")
  end)

  it("is a table's key", function()
    local seen = { [jid "bob@xmpp.test"] = "bare", [jid "bob@xmpp.test/x"] = "full" }
    assert.equal("bare", seen[jid "BOB@xmpp.test"])
    assert.equal("bare", seen[jid "bob@xmpp.test/y":bare()])
    assert.equal("full", seen[jid "bob@xmpp.test/x"])
    assert.is_nil(seen[jid "bob@xmpp.test/X"])
  end)

  it("is kept alive by references, and by nothing else", function()
    local kept = jid "kept@xmpp.test"
    local weak = setmetatable({}, { __mode = "v" })
    for i = 1, 100 do weak[i] = jid("n" .. i .. "@xmpp.test") end
    weak.kept = kept
    collectgarbage()
    collectgarbage()
    assert.same({ kept = kept }, weak)
    assert.is_true(rawequal(kept, jid "kept@xmpp.test"))
    assert.equal("n1@xmpp.test", tostring(jid "n1@xmpp.test"))
  end)

  it("stays the same value while others are made and collected", function()
    local kept = jid "kept@xmpp.test/x"
    local before = collectgarbage "count"
    for i = 1, 50000 do
      jid("n" .. i .. "@xmpp.test")
      if i % 5000 == 0 then assert.is_true(rawequal(kept, jid "kept@xmpp.test/x")) end
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage "count" < before + 4000)
  end)

  it("is the same one in a finalizer that makes it at the same time", function()
    if not newproxy then return end -- luacheck: ignore
    local wrong, theirs = 0, nil
    local function arm()
      getmetatable(newproxy(true)).__gc = function() -- luacheck: ignore
        theirs = xmpp.jid "same@xmpp.test"
        arm()
      end
    end
    arm()
    for _ = 1, 20000 do
      local ours = jid "same@xmpp.test"
      if theirs and not rawequal(ours, theirs) then wrong = wrong + 1 end
      theirs = nil
    end
    assert.equal(0, wrong)
  end)

  it("has an error that shows the text if it is invalid", function()
    local _, err = xmpp.jid "a@@b"
    assert.equal("jid-malformed", err.condition)
    assert.truthy(err.text:find("'a@@b' is not a JID", 1, true), err.text)
    _, err = jid "a@b":with_resource "x\1y"
    assert.truthy(err.text:find("'x?y' is not a JID", 1, true) or err.text:find "is not a JID", err.text)
    assert.is_nil(err.text:find "%c")
    _, err = jid "a@b":with_resource ""
    assert.equal("'a@b' is not a JID: the resourcepart is empty", err.text)
  end)

  it("can be used in each attribute and as text, in sending, answering and querying", function()
    local f = fed.open { jid = "alice@xmpp.test/here" }
    local bob = jid "bob@xmpp.test/x"
    f.conn:send { "message", { to = bob, id = bob }, { "item", { jid = bob }, bob } }
    assert.equal("<message to='bob@xmpp.test/x' id='bob@xmpp.test/x'><item jid='bob@xmpp.test/x'>bob@xmpp.test/x</item>"
      .. "</message>", (f:sent():gsub("<message (id='[^']*') (to='[^']*')>", "<message %2 %1>")))
    local got
    f.conn:send_callback({ "iq", { type = "get", to = bob, id = "q" } }, function(response) got = response end)
    f:feed "<iq type='result' from='bob@xmpp.test/x' id='q'/>"
    assert.equal("iq", got[1])
    f:sent()
    f.conn:send(xexpr.reply({ "message", { from = bob } }, { to = bob:bare() }, "x"))
    assert.equal("<message to='bob@xmpp.test'>x</message>", f:sent())
    f.conn:send(xexpr.error_reply({ "iq", { from = bob, type = "get", id = "1" } }, "cancel", "conflict"))
    assert.truthy(f:sent():find("to='bob@xmpp.test/x'", 1, true))
    assert.is_true(xmpp.contract.stanza { "presence", { to = bob, from = bob } })
    f:feed "</stream:stream>"
  end)

  it("can be in a stanza that the program gives to its own callbacks", function()
    local f = fed.open { jid = "alice@xmpp.test/here" }
    local got = 0
    f.conn:set_callback(function() got = got + 1 end, { from = jid "bob@xmpp.test" })
    f.conn:set_callback(function() got = got + 10 end, { id = "5" })
    xmpp.default_handler({ "message", { from = jid "bob@xmpp.test/x", id = 5 } }, f.conn)
    assert.equal(11, got)
    f:feed "</stream:stream>"
  end)

  it("may be a component's domain, or a user's of it", function()
    local f = fed.open { jid = "echo.xmpp.test", component = true }
    f.conn:send { "message", { from = jid "bot@echo.xmpp.test", to = jid "bob@xmpp.test" } }
    local sent = f:sent()
    assert.truthy(sent:find("from='bot@echo.xmpp.test'", 1, true), sent)
    assert.has_error(function() assert(f.conn:send { "message", { from = jid "bot@evil.test", to = "b@x.test" } }) end)
    f:feed "</stream:stream>"
  end)
end)
