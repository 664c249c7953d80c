-- csi: client state indication (XEP-0352), with xmpp.testing, and as it is sent.

local csi = require "xmpp.csi"
local ext = require "xmpp.ext"
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local OFFER = { features = { { "csi", { xmlns = "urn:xmpp:csi:0" } } } }

local function with(o)
  for key, v in pairs(OFFER) do o[key] = v end
  return o
end

describe("csi", function()
  it("says whether the user is active", testing.around(function(t)
    assert.is_true(t:active())
    assert.is_nil(csi.active(t.conn))
    assert.is_true(csi.set(t.conn, false))
    assert.same({ false, false }, { t:active(), csi.active(t.conn) })
    assert.is_true(csi.set(t.conn, true))
    assert.same({ true, true }, { t:active(), csi.active(t.conn) })
  end, with {}))

  it("says it again in a new session, and when the old one is resumed", testing.around(function(t)
    csi.set(t.conn, false)
    t:cut()
    t:resume()
    assert.is_false(t:active())
    t:reconnect { new = true }
    assert.is_false(t:active())
    t:cut()
    assert.is_true(csi.set(t.conn, true))
    t:resume()
    assert.is_true(t:active())
    t:cut()
    csi.set(t.conn, false)
    t:resume()
    assert.is_false(t:active())
  end, with {}))

  it("is no stanza, so it isn't counted", testing.around(function(t)
    t.conn:send { "message", { to = "a@example.net" } }
    csi.set(t.conn, false)
    csi.set(t.conn, true)
    t.conn:send { "message", { to = "b@example.net" } }
    t:expect { "message", { to = "a@example.net" } }
    t:expect { "message", { to = "b@example.net" } }
    assert.equal(2, t.server.sm.h)
    t:ack()
    t:cut() -- a wrong count would end the session
    t:resume()
    t:nothing()
  end, with {}))

  it("isn't sent to a server that doesn't offer it", testing.around(function(t)
    local ok, err = csi.set(t.conn, false)
    assert.is_nil(ok)
    assert.same({ "stanza", "feature-not-implemented" }, { err.layer, err.condition })
    assert.is_true(t:active())
  end))

  it("is sent after what delays stanzas", testing.around(function(t)
    local at, n = {}, 0
    local function log(_, text)
      n = n + 1
      for _, word in ipairs { "<enable ", "<enabled ", "<inactive " } do
        if text:find(word, 1, true) then at[word] = at[word] or n end
      end
    end
    assert(xmpp.connect_client("bot@example.net", "secret", { log = log, on_open = function(conn)
      conn:on("state", function(state)
        if state == "ready" then csi.set(conn, false) end
      end)
    end }))
    assert.is_false(t:active())
    assert.is_true(at["<enable "] < at["<enabled "] and at["<enabled "] < at["<inactive "])
  end, with { intercept = true }))

  it("is sent once", testing.around(function(t)
    local n = 0
    local conn = assert(xmpp.connect_client("bot@example.net", "secret", { log = function(direction, text)
      if direction == "out" and text:find("<inactive ", 1, true) then n = n + 1 end
    end }))
    assert.is_true(csi.set(conn, false))
    t:advance(5)
    assert.equal(1, n)
    assert.is_true(csi.set(conn, false))
    t:advance(5)
    assert.equal(2, n)
  end, with { intercept = true }))

  it("continues in another process", testing.around(function(t)
    csi.set(t.conn, false)
    local saved = ext.save(t.conn)
    assert.same({ active = false }, saved.csi)
    local other = testing.new(with { jid = "other@example.net/x", strict = false })
    ext.load(other.conn, saved)
    ext.use(other.conn, csi)
    assert.is_false(other:active())
    other:finish()
  end, with {}))

  it("isn't for components, and takes a boolean", testing.around(function(t)
    for why, f in pairs {
      ["extension 'csi', start: a component is always active"] = function() csi.set(t.conn, true) end,
      ["bad argument #2 to 'set' (boolean expected, got nil)"] = function() csi.set(t.conn) end,
    } do
      local ok, err = pcall(f)
      assert.is_false(ok)
      assert.equal(why, (err:gsub("^%S+csi_spec.lua:%d+: ", "")))
    end
  end, { component = "echo.example.net" }))
end)

describe("csi on the wire", function()
  local conn
  stage.around(function(_, c) conn = c end)

  it("comes between stanzas, never within one", function()
    local core = require "xmpp.core"
    conn:send { "message", {}, { "body", {}, "one" } }
    core.conn.say_active(conn, false)
    conn:send { "message", {}, { "body", {}, "two" } }
    core.conn.say_active(conn, true)
    fed.settle()
    local bytes = core.conn.sent(conn)
    local order = {}
    for word in bytes:gmatch "<(%l+)[ >]" do
      if word ~= "body" and word ~= "r" then order[#order + 1] = word end
    end
    table.sort(order)
    assert.same({ "active", "inactive", "message", "message" }, order)
    local plain = bytes:gsub("<active xmlns='urn:xmpp:csi:0'/>", ""):gsub("<inactive xmlns='urn:xmpp:csi:0'/>", "")
    assert.truthy(xmpp.xexpr.from_xml("<all>" .. plain .. "</all>"))
  end)
end)
