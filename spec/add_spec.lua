-- Add: children that functions append to what is sent (core.conn.add).
local core = require "xmpp.core"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local add = core.conn.add
local C = { "c", { xmlns = "http://jabber.org/protocol/caps" } }
local C_XML = "<c xmlns='http://jabber.org/protocol/caps'/>"

local f, conn

local function set(fed_one, its_conn)
  f, conn = fed_one, its_conn
end

local function sent(stanza)
  assert.is_true(conn:send(stanza))
  return f:sent()
end

describe("what is added", function()
  stage.around(set)

  it("is appended to each stanza of that name without type, after its own children", function()
    add(conn, "presence", false, function() return C end)
    assert.equal("<presence>" .. C_XML .. "</presence>", sent { "presence" })
    assert.equal("<presence>" .. C_XML .. "</presence>", sent { "presence", {} })
    assert.equal("<presence to='bob@xmpp.test'><show>away</show>" .. C_XML .. "</presence>",
      sent { "presence", { to = "bob@xmpp.test" }, { "show", "away" } })
    assert.equal("<presence><show>away</show>" .. C_XML .. "</presence>", sent { "presence", { "show", "away" } })
    assert.equal("<presence type='unavailable'/>", sent { "presence", { type = "unavailable" } })
    assert.equal("<message/>", sent { "message" })
  end)

  it("may be for one type, or for any", function()
    add(conn, "message", "chat", function() return { "chat" } end)
    add(conn, "message", nil, function() return { "any" } end)
    assert.equal("<message type='chat'><chat/><any/></message>", sent { "message", { type = "chat" } })
    assert.equal("<message type='normal'><any/></message>", sent { "message", { type = "normal" } })
    assert.equal("<message>text<any/></message>", sent { "message", "text" })
    assert.equal("<presence/>", sent { "presence" })
  end)

  it("is in requests, too", function()
    add(conn, "iq", "get", function() return { "more", { xmlns = "urn:m" } } end)
    assert(conn:send_callback({ "iq", { type = "get", id = "i" } }, function() end))
    assert.matches("><more xmlns='urn:m'/></iq>$", f:sent())
  end)

  it("changes no table of the caller's, and f is given that", function()
    local stanza, given = { "presence", { id = "p" }, { "show", "away" } }, {}
    for i = 1, 2 do
      add(conn, "presence", false, function(...)
        given[i] = { n = select("#", ...), ... }
        return C
      end)
    end
    sent(stanza)
    assert.same({ "presence", { id = "p" }, { "show", "away" } }, stanza)
    for i = 1, 2 do
      assert.equal(2, given[i].n)
      assert.equal(stanza, given[i][1])
      assert.equal(conn, given[i][2])
    end
  end)

  it("is removed by off(), which returns whether it was there", function()
    local off = add(conn, "presence", false, function() return C end)
    local other = add(conn, "presence", false, function() return { "other" } end)
    assert.is_true(off())
    assert.is_false(off())
    assert.equal("<presence><other/></presence>", sent { "presence" })
    assert.is_true(other())
    assert.equal("<presence/>", sent { "presence" })
  end)

  it("may be nothing", function()
    add(conn, "presence", false, function() return nil end)
    add(conn, "presence", false, function() end)
    assert.equal("<presence/>", sent { "presence" })
  end)

  for name, row in pairs {
    ["throws"] = { function() error "thrown" end, "thrown" },
    ["waits"] = { function() xmpp.sleep(1) end, "" },
    ["yields"] = { function() coroutine.yield() end, "yield" },
    ["gives a string"] = { function() return "<c/>" end, "element" },
    ["gives what can't be written"] = { function() return { "c", { a = {} } } end, "[2].a" },
    ["gives no name"] = { function() return {} end, "[1]" },
  } do
    it("is left out if f " .. name .. ": the stanza is sent without it, and on_error is called", function()
      add(conn, "presence", false, row[1])
      add(conn, "presence", false, function() return { "other" } end)
      xmpp.spawn(function() assert.is_true(conn:send { "presence" }) end)
      core.step(0)
      assert.equal("<presence><other/></presence>", f:sent())
      local errors = stage.take_errors()
      assert.equal(1, #errors)
      assert.matches(row[2], errors[1].text, 1, true)
      local whose = errors[1].whose
      assert.same({ "add", conn, { "presence" }, row[1] }, { whose.what, whose.conn, whose.stanza, whose.func })
    end)
  end

  it("isn't in what f itself sends", function()
    add(conn, "presence", false, function()
      conn:send { "presence", { id = "inner" } }
      return C
    end)
    assert.equal("<presence id='inner'/><presence>" .. C_XML .. "</presence>", sent { "presence" })
  end)

  it("doesn't hide what is wrong with a stanza", function()
    local bad = { { "presence", { to = {} } }, { "presence", nil, { "show" } }, { "presence", {}, key = "x" },
      { "presence", {}, {} }, { "presence", {}, "a\0" },
      { [1] = "presence", [4] = { "show" } } }
    local before = {}
    for i, stanza in ipairs(bad) do before[i] = { pcall(conn.send, conn, stanza) } end
    add(conn, "presence", false, function() return C end)
    for i, stanza in ipairs(bad) do
      assert.same(before[i], { pcall(conn.send, conn, stanza) })
      assert.is_false(before[i][1])
    end
  end)

  it("isn't asked for again when f stops the connection", function()
    add(conn, "presence", false, function()
      core.conn.close(conn, 0)
      return C
    end)
    local ok, err = conn:send { "presence" }
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
  end)

  it("is checked when it is given", function()
    for _, bad in ipairs { { "stream", false, print }, { nil, false, print }, { "presence", 1, print },
      { "presence", {}, print }, { "presence", false, nil }, { "presence", false, {} } } do
      assert.has_error(function() add(conn, bad[1], bad[2], bad[3]) end)
    end
    assert.equal("<presence/>", sent { "presence" })
  end)
end)
