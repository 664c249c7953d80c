-- who: xexpr's functions for a stanza's sender, also with forged stanzas.
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"
local fed = require "spec.support.fed"

local ME = "alice@xmpp.test/here"
local OWN = "alice@xmpp.test"

local function from(address)
  return { "iq", { type = "set", from = address, id = "1" }, { "query", { xmlns = "jabber:iq:roster" } } }
end

local function carbon(address, direction)
  local message = { "message", { xmlns = "jabber:client", from = "bob@xmpp.test/x", to = OWN .. "/other" },
    { "body", {}, "Hi" } }
  return { "message", { from = address, to = ME, type = "chat" }, { direction or "received",
    { xmlns = "urn:xmpp:carbons:2" }, { "forwarded", { xmlns = "urn:xmpp:forward:0" }, message } } }
end

describe("from_account", function()
  for address, expected in pairs { [OWN] = true, ["ALICE@XMPP.test"] = true, [ME] = false, ["xmpp.test"] = false,
    ["mallory@xmpp.test"] = false, ["alice@evil.test"] = false, ["alice@xmpp.test/"] = false, ["@"] = false } do
    it(("says %s of a stanza from %s"):format(tostring(expected), address), function()
      assert.equal(expected, xexpr.from_account(from(address), ME))
    end)
  end

  it("reads a Jid in a program's own stanza", function()
    assert.is_false(xexpr.from_account(from(xmpp.jid "mallory@xmpp.test"), ME))
    assert.is_true(xexpr.from_account(from(xmpp.jid(OWN)), ME))
  end)

  it("says true of one without from, for each form of our address", function()
    local f = fed.open { jid = ME }
    for _, me in ipairs { ME, OWN, xmpp.jid(ME), f.conn } do
      assert.is_true(xexpr.from_account(from(nil), me))
      assert.is_true(xexpr.from_account(from(OWN), me))
    end
  end)

  it("raises at the caller's line for what is neither connection nor address", function()
    local function refused(expected, f, ...)
      local arguments = { ... }
      local ok, err = pcall(function() return (f(arguments[1], arguments[2])) end)
      assert.is_false(ok)
      assert.matches("who_spec.lua:%d+: bad argument " .. expected, err)
    end
    for _, me in ipairs { 5, true, {}, "@@", function() end } do
      refused("#2 to 'from_account' %(connection or JID expected, got " .. type(me), xexpr.from_account, from(OWN), me)
    end
    for _, name in ipairs { "from_account", "is_own", "is_carbon", "unwrap_carbon", "is_delayed" } do
      refused("#1 to '" .. name .. "' %(element expected, got string", xexpr[name], "x", ME)
    end
    for _, name in ipairs { "is_own", "is_carbon", "unwrap_carbon" } do
      refused("#2 to '" .. name .. "' %(connection or JID expected, got number", xexpr[name], { "message" }, 1)
    end
  end)
end)

describe("is_own", function()
  it("is true for every resource of ours and for no one else's", function()
    for address, expected in pairs { [OWN] = true, [ME] = true, [OWN .. "/other"] = true, ["Alice@xmpp.test/x"] = true,
      ["bob@xmpp.test/x"] = false, ["xmpp.test"] = false } do
      assert.equal(expected, xexpr.is_own(from(address), ME), address)
    end
    assert.is_false(xexpr.is_own(from(nil), ME))
  end)
end)

describe("is_delayed", function()
  it("returns the stamp of XEP-0203", function()
    local x = { "message", { from = OWN }, { "delay", { xmlns = "urn:xmpp:delay", stamp = "2002-09-10T23:08:25Z" } } }
    assert.equal("2002-09-10T23:08:25Z", xexpr.is_delayed(x))
    x[3][2].xmlns = "urn:else"
    assert.is_nil(xexpr.is_delayed(x))
    assert.is_nil(xexpr.is_delayed { "message" })
  end)
end)

describe("carbons", function()
  it("are recognized from our own account, received and sent", function()
    assert.equal("received", xexpr.is_carbon(carbon(OWN), ME))
    assert.equal("sent", xexpr.is_carbon(carbon("Alice@xmpp.test", "sent"), ME))
  end)

  it("are unwrapped into what would have come by itself", function()
    local x = carbon(OWN)
    local message, direction = xexpr.unwrap_carbon(x, ME)
    assert.same({ "message", { from = "bob@xmpp.test/x", to = OWN .. "/other" }, { "body", {}, "Hi" } }, message)
    assert.equal("received", direction)
    assert.equal("jabber:client", x[3][3][3][2].xmlns)
  end)

  it("are ignored from anybody else (CVE-2017-5589)", function()
    for _, address in ipairs { "mallory@xmpp.test", "mallory@evil.test/x", ME, "xmpp.test", "alice@evil.test" } do
      assert.is_nil(xexpr.is_carbon(carbon(address), ME), address)
      assert.is_nil(xexpr.unwrap_carbon(carbon(address), ME), address)
    end
    local x = carbon(nil)
    assert.is_nil(xexpr.is_carbon(x, ME))
  end)

  it("are ignored with a wrong wrapper, a wrong namespace or nothing inside", function()
    local wrong = {
      function(x) x[1] = "iq" end, function(x) x[3][1] = "private" end,
      function(x) x[3][2].xmlns = "urn:xmpp:carbons:1" end, function(x) x[3][3][2].xmlns = "urn:x" end,
      function(x) x[3][3][3] = nil end, function(x) x[3] = nil end, function(x) x[3][3][3][2].xmlns = "urn:x" end,
    }
    for i, spoil in ipairs(wrong) do
      local x = carbon(OWN)
      spoil(x)
      assert.is_nil(xexpr.unwrap_carbon(x, ME), "row " .. i)
    end
  end)

  it("are unwrapped from what came over a stream", function()
    local f = fed.open { jid = ME }
    f:feed(xexpr.to_xml(carbon(OWN)))
    local message = xexpr.unwrap_carbon(f.conn:receive(), f.conn)
    assert.equal("Hi", xexpr.text(message, "body"))
  end)
end)
