-- health: every step, tried and timed, with xmpp.testing.

local health = require "xmpp.health"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local around = testing.around
local TEA = "tea@rooms.example.net"

-- The results of check, as "name" or "name!condition", joined, and whether all is well; the test's time passes.
local function check(t, opts)
  local result
  xmpp.spawn(function() result = { health.check(t.conn, opts) } end)
  t:advance(60)
  local words = {}
  for i, step in ipairs(result[1]) do
    assert.equal(step.ok, step.err == nil)
    words[i] = step.name .. (step.err and "!" .. step.err.condition or "")
  end
  return table.concat(words, " "), result[2], result[1]
end

local function said(words, well) return { words, well } end

local function echo(t, seconds, error_of)
  t:on({ "message", {}, { "body", {}, "health check" } }, function(stanza)
    local x = { "message", { id = stanza[2].id, from = stanza[2].to, type = error_of and "error" },
      error_of and { "error", { type = "cancel" }, { error_of, { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
    xmpp.after(seconds or 0, function() t:receive(x) end)
    return false
  end)
end

describe("health", function()
  it("tries what can be done", around(function(t)
    echo(t, 3)
    local words, well, steps = check(t)
    assert.same({ "dns tcp tls login ping echo", true }, { words, well })
    assert.equal(3, steps[6].seconds)
  end))

  it("tries what is asked for, and fails if that doesn't exist", around(function(t)
    assert.same({ "ping", true }, said(check(t, { steps = { "ping" } })))
    local words, well = check(t, { steps = { "login", "upload", "muc" } })
    assert.same({ "login upload!item-not-found muc!item-not-found", false }, { words, well })
  end))

  it("asks for an upload slot, and doesn't use it", around(function(t)
    local service = t:upload {}
    assert.same({ "upload", true }, said(check(t, { steps = { "upload" } })))
    assert.same({}, service.files)
  end))

  it("enters a room and leaves it", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" } })
    assert.same({ "muc", true }, said(check(t, { steps = { "muc" }, room = TEA, nick = "watch" })))
    assert.is_nil(room.occupants.watch)
  end))

  it("pings a room that the program is in, and stays in it", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" } })
    local joined = assert(require "xmpp.muc".join(t.conn, TEA, "kettle"))
    assert.same({ "muc", true }, said(check(t, { steps = { "muc" }, room = TEA })))
    assert.is_true(joined.joined)
    assert.is_not_nil(room.occupants.kettle)
  end))

  it("reports what failed, and the time", around(function(t)
    t:on({ "iq", {}, { "ping", { xmlns = "urn:xmpp:ping" } } }, function() return false end)
    echo(t, 0, "not-allowed")
    local words, well, steps = check(t, { steps = { "ping", "echo" }, timeout = 7 })
    assert.same({ "ping!timeout echo!not-allowed", false }, { words, well })
    assert.equal(7, steps[1].seconds)
  end))

  it("takes an error for an answer to a ping", around(function(t)
    t:on({ "iq", {}, { "ping", { xmlns = "urn:xmpp:ping" } } }, function(stanza)
      return { { "iq", { type = "error", id = stanza[2].id, from = stanza[2].to }, { "error", { type = "cancel" },
        { "service-unavailable", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } } }
    end)
    assert.same({ "ping", true }, said(check(t, { steps = { "ping" } })))
  end))

  it("tries nothing without a link, and says so", around(function(t)
    t:cut()
    assert.same({ "login!not-ready", false }, said(check(t)))
    t:reconnect()
    t:close()
    assert.same({ "login!not-ready", false }, said(check(t, { steps = { "ping" } })))
  end))

  it("raises for unknown steps", around(function(t)
    local ok, err = pcall(health.check, t.conn, { steps = { "ping", "pong" } })
    assert.is_false(ok)
    assert.matches("bad option 'steps' of 'check' %(at 2", err)
    assert.is_false((pcall(health.check, t.conn, { step = {} })))
    assert.is_false((pcall(health.check, {})))
  end))
end)
