-- register: accounts with servers and services (XEP-0077), with xmpp.testing.

local form = require "xmpp.form"
local register = require "xmpp.register"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"

local REGISTER, IRC = "jabber:iq:register", "irc.example.net"
local GET = { "iq", { type = "get", to = IRC }, { "query", { xmlns = REGISTER } } }
local PLAIN = { plain = true }

local unpack = table.unpack or unpack -- luacheck: ignore 143

local function task(f, ...)
  local out, n, arguments = {}, select("#", ...), { ... }
  coroutine.wrap(function()
    out.ok, out.err = f(unpack(arguments, 1, n))
    out.done = true
  end)()
  return out
end

local function query(...) return { "query", { xmlns = REGISTER }, ... } end

local function data(...)
  return form.new { type = REGISTER, title = "Register", fields = { ... } }
end

local function told(got) return { got.err.condition, got.err.app, got.err.text } end

describe("the form", function()
  it("is a data form, or elements that replace one", testing.around(function(t)
    local got = task(register.form, t.conn, IRC)
    t:expect(GET, query({ "instructions", {}, "old" }, { "username" }, { "password" },
      data({ var = "nick", required = true, label = "Nick" })))
    assert.same({ false, "old", "Register", "nick", true }, { got.ok.registered, got.ok.instructions, got.ok.title,
      got.ok.fields[1].var, got.ok.fields[1].required })
    assert.is_nil(got.ok.legacy)
    got = task(register.form, t.conn, IRC)
    t:expect(GET, query({ "registered" }, { "instructions", {}, "Fill it in" }, { "username", {}, "kettle" },
      { "password" }, { "odd" }, { "email", { xmlns = "urn:x" } },
      { "x", { xmlns = "jabber:x:oob" }, { "url", {}, "https://example.net/" } }))
    local f = got.ok
    assert.same({ true, "Fill it in", true, "https://example.net/" }, { f.registered, f.instructions, f.legacy, f.url })
    assert.same({ username = "kettle", password = "" }, f.values)
    assert.same({ "username", "text-single", "password", "text-private" }, { f.fields[1].var, f.fields[1].kind,
      f.fields[2].var, f.fields[2].kind })
  end))

  it("is our own server's by default", testing.around(function(t)
    local got = task(register.form, t.conn)
    t:expect({ "iq", { type = "get", to = "example.net" }, { "query", { xmlns = REGISTER } } }, query { "registered" })
    assert.is_true(got.ok.registered)
  end))

  it("must be well formed", testing.around(function(t)
    for why, answer in pairs {
      ["the answer of irc.example.net: query: missing"] = { "query", { xmlns = "urn:x" } },
      ["the answer of irc.example.net: query.x.type: form, submit, cancel or result expected"] =
        query { "x", { xmlns = form.DATA } },
    } do
      local got = task(register.form, t.conn, IRC)
      t:expect(GET, answer)
      assert.same({ "bad-format", why }, { got.err.condition, got.err.text })
    end
    local got = task(register.form, t.conn, IRC)
    t:expect(GET, function() return nil, "cancel", "service-unavailable" end)
    assert.equal("service-unavailable", got.err.condition)
  end))
end)

describe("submit", function()
  it("fills in a data form", testing.around(function(t)
    local got = task(register.submit, t.conn, IRC, { nick = "kettle", news = true })
    t:expect(GET, query(data({ var = "nick", required = true }, { var = "news", kind = "boolean" },
      { var = "token", kind = "hidden", value = "t" })))
    local x = t:expect({ "iq", { type = "set", to = IRC }, { "query", { xmlns = REGISTER },
      { "x", { xmlns = form.DATA, type = "submit" } } } })[3][3]
    local values = form.parse(x, { news = "boolean" }).values
    assert.same({ nick = "kettle", news = true, token = "t" }, values)
    assert.equal(REGISTER, form.parse(x).type)
    assert.is_true(got.ok)
  end))

  it("fills in the elements if there is no data form", testing.around(function(t)
    local got = task(register.submit, t.conn, IRC, { username = "kettle", password = "1234" }, PLAIN)
    t:expect(GET, query({ "username" }, { "key", {}, "k" }, { "password" }))
    local x = t:expect({ "iq", { type = "set", to = IRC } })[3]
    assert.same({ "username", "kettle", "key", "k", "password", "1234" }, { x[3][1], x[3][3], x[4][1], x[4][3], x[5][1],
      x[5][3] })
    assert.is_true(got.ok)
  end))

  it("sends nothing that doesn't match the form", testing.around(function(t)
    for _, case in ipairs {
      { {}, query(data({ var = "nick", required = true })), "missing", "'nick' is required, and there is no value" },
      { { a = "1" }, query { "username", {}, "x" }, "unknown", "the form has no field 'a'" },
      { { username = 5 }, query { "username" }, "invalid",
        "bad value of field 'username' (string expected, got number)" },
      { {}, query { "username" }, "missing", "'username' is required, and there is no value" },
      { { l = "z" }, query(data({ var = "l", kind = "list-single", options = { "x" } })), "invalid",
        "bad value of field 'l' ('z' is no option)" },
    } do
      local got = task(register.submit, t.conn, IRC, case[1])
      t:expect(GET, case[2])
      assert.same({ "not-acceptable", case[3], case[4] }, told(got))
    end
    t:nothing()
  end))

  it("sends no password over an unencrypted stream", testing.around(function(t)
    for _, answer in ipairs { query({ "username" }, { "password" }),
      query(data({ var = "username" }, { var = "password" })),
      query(data({ var = "username", kind = "text-private" }, { var = "password" })) } do
      local got = task(register.submit, t.conn, IRC, { username = "a", password = "1234" })
      t:expect(GET, answer)
      assert.equal("not-allowed", got.err.condition)
    end
    local got = task(register.submit, t.conn, IRC, { pin = "1234" })
    t:expect(GET, query(data({ var = "pin", kind = "text-private" })))
    assert.equal("not-allowed", got.err.condition)
    assert.equal("not-allowed", select(2, register.password(t.conn, "1234")).condition)
    t:nothing()
  end))

  it("can answer the form in a refusal", testing.around(function(t)
    local got = task(register.password, t.conn, "new", PLAIN)
    local asked = t:expect({ "iq", { type = "set", to = "example.net" } }, false)
    assert.same({ "username", "bot", "password", "new" }, { asked[3][3][1], asked[3][3][3], asked[3][4][1],
      asked[3][4][3] })
    local more = form.new { type = REGISTER .. ":changepassword", fields = {
      { var = "old_password", kind = "text-private", required = true } } }
    t:receive { "iq", { type = "error", id = asked[2].id, from = "example.net" }, query(more), { "error",
      { type = "modify" }, { "not-authorized", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
    assert.same({ "not-authorized", "old_password" }, { got.err.condition, got.err.form.fields[1].var })
    got = task(register.submit, t.conn, nil, { old_password = "old" }, { form = got.err.form, plain = true })
    local x = t:expect({ "iq", { type = "set", to = "example.net" } })[3][3]
    assert.same({ "old", REGISTER .. ":changepassword" }, { form.parse(x).values.old_password, form.parse(x).type })
    assert.is_true(got.ok)
  end))
end)

describe("password", function()
  it("is changed at our server, or at a service", testing.around(function(t)
    local got = task(register.password, t.conn, "new", { jid = IRC, username = "kettle", plain = true })
    local x = t:expect({ "iq", { type = "set", to = IRC } })[3]
    assert.same({ "kettle", "new" }, { xexpr.text(x, "username"), xexpr.text(x, "password") })
    assert.is_true(got.ok)
    got = task(register.password, t.conn, "new", PLAIN)
    t:expect({ "iq", { type = "set" } }, function() return nil, "cancel", "not-allowed" end)
    assert.equal("not-allowed", got.err.condition)
    assert.is_nil(got.err.form)
  end))
end)

describe("cancel", function()
  it("ends a registration", testing.around(function(t)
    local got = task(register.cancel, t.conn, IRC)
    local x = t:expect({ "iq", { type = "set", to = IRC }, { "query", { xmlns = REGISTER }, { "remove" } } })
    assert.equal(3, #x[3])
    assert.is_true(got.ok)
  end))

  it("doesn't end our own account without opts.account", testing.around(function(t)
    for _, jid in ipairs { "example.net", "EXAMPLE.net", "bot@example.net", "bot@example.net/x" } do
      local ok, err = pcall(register.cancel, t.conn, jid)
      assert.is_false(ok)
      assert.truthy(err:find "opts.account = true deletes it")
    end
    t:nothing()
    local got = task(register.cancel, t.conn, "example.net", { account = true })
    local x = t:expect({ "iq", { type = "set" }, { "query", { xmlns = REGISTER }, { "remove" } } })
    assert.is_nil(x[2].to)
    assert.is_true(got.ok)
  end))
end)

describe("mistakes", function()
  it("raise at the caller's line", testing.around(function(t)
    local conn = t.conn
    for why, mistake in pairs {
      ["bad argument #1 to 'form' (connection expected, got nil)"] = function() register.form() end,
      ["bad argument #2 to 'form' (string expected, got number)"] = function() register.form(conn, 5) end,
      ["bad argument #3 to 'submit' (table expected, got nil)"] = function() register.submit(conn, IRC) end,
      ["'submit' has no option 'odd'"] = function() register.submit(conn, IRC, {}, { odd = 1 }) end,
      ["bad argument #2 to 'password' (it is empty)"] = function() register.password(conn, "") end,
      ["bad argument #2 to 'cancel' (string expected, got nil)"] = function() register.cancel(conn) end,
    } do
      local ok, err = pcall(mistake)
      assert.is_false(ok)
      assert.equal(why, (err:gsub("^%S+register_spec.lua:%d+: ", "")))
    end
    assert.equal("jid-malformed", select(2, register.form(conn, "@")).condition)
  end))
end)
