-- cmd_dialog: ad-hoc commands and the block list with the command, against
-- xmpp.testing. See cmd_spec for the rest.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local form = require "xmpp.form"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"

local COMMANDS, BLOCKING, DATA = "http://jabber.org/protocol/commands", "urn:xmpp:blocking", "jabber:x:data"
local ADMIN = "http://jabber.org/protocol/admin#"

local function around(f)
  return testing.around(f, { jid = "bot@example.net", intercept = true, now = 1700000000 })
end

local function objects(text)
  local out = {}
  for line in text:gmatch "[^\n]+" do out[#out + 1] = cjson.decode(line) end
  return out
end

local function run(t, w, argv)
  cmd.start(w, argv)
  t:advance(40)
  return w
end

-- The server's ad-hoc command at this node: each step's answer is given; the table gets what was submitted.
local function serve(t, node, ...)
  local steps, got = { ... }, { steps = 0 }
  t:on({ "iq", { type = "set", to = "example.net" }, { "command", { xmlns = COMMANDS, node = node } } }, function(iq)
    local x = xexpr.child(iq, "command", COMMANDS)
    got.action = x[2].action
    if x[2].action == "cancel" then got.canceled = true end
    for field in xexpr.children(xexpr.child(x, "x", DATA), "field", DATA) do
      got[field[2].var] = xexpr.text(field, "value")
    end
    if x[2].action == "cancel" then
      return { "command", { xmlns = COMMANDS, node = node, sessionid = "s", status = "canceled" } }
    end
    got.steps = got.steps + 1
    local answer = { "command", { xmlns = COMMANDS, node = node, sessionid = "s",
      status = got.steps < #steps and "executing" or "completed" } }
    for _, child in ipairs(steps[got.steps]) do answer[#answer + 1] = child end
    return answer
  end)
  return got
end

local function note(kind, text) return { "note", { type = kind }, text } end

local USER = form.new { title = "Add a user", fields = { { var = "accountjid", kind = "jid-single", label = "Address",
  required = true }, { var = "password", kind = "text-private", required = true },
  { var = "admin", kind = "boolean", value = false }, { var = "token", kind = "hidden", value = "t" } } }

describe("command", function()
  it("lists the commands", around(function(t)
    t:on({ "iq", { type = "get", to = "example.net" }, { "query", { node = COMMANDS } } }, function()
      return { "query", { xmlns = "http://jabber.org/protocol/disco#items", node = COMMANDS },
        { "item", { jid = "example.net", node = "up\194\155", name = "Uptime" } },
        { "item", { jid = "evil.example", node = "other" } } }
    end)
    local w = run(t, cmd.world(), { "command", "example.net" })
    assert.same({ 0, "up\\u{9b}  Uptime\n", "" }, { w.status, w.stdout, w.stderr })
    w = run(t, cmd.world(), { "command", "--json", "example.net" })
    assert.same({ { type = "command", jid = "example.net", node = "up\194\155", name = "Uptime" } }, objects(w.stdout))
  end))

  it("fills in what is given, and shows the result", around(function(t)
    local got = serve(t, "go", { note("info", "first\194\155"), form.new { fields = { { var = "a", required = true },
      { var = "list", kind = "list-multi", options = { "x", "y" } } } } },
      { form.new { fields = { { var = "b", kind = "boolean" } } } },
      { note("warn", "careful"), note("info", "done"), form.new { kind = "result", title = "Result",
        fields = { { var = "r", label = "The r", value = "5" } } } })
    local w = run(t, cmd.world(), { "command", "example.net", "go", "a=1", "b=yes", "list=x,y", "typo=1" })
    assert.same({ 0, "Result\nr=5  # The r\nwarning: careful\ndone\n",
      "xmpp: first\\u{9b}\nxmpp: the command has not asked for 'typo'\n" }, { w.status, w.stdout, w.stderr })
    assert.same({ "1", "1", "x" }, { got.a, got.b, got.list })
  end))

  it("writes objects, and rows", around(function(t)
    local x = { "x", { xmlns = DATA, type = "result" },
      { "reported", { "field", { var = "n" } }, { "field", { var = "m" } } },
      { "item", { "field", { var = "n" }, { "value", {}, "1" } }, { "field", { var = "m" }, { "value", {}, "2" } } } }
    local got = serve(t, "go", { note("error", "it failed"), x })
    local w = run(t, cmd.world(), { "command", "example.net", "go" })
    assert.same({ 1, "n=1  m=2\nerror: it failed\n" }, { w.status, w.stdout })
    got.steps = 0
    w = run(t, cmd.world(), { "command", "--json", "example.net", "go" })
    assert.same({ { type = "item", values = { n = "1", m = "2" } },
      { type = "note", kind = "error", text = "it failed" } }, objects(w.stdout))
  end))

  it("ends with 9 if something is missing, and cancels the session", around(function(t)
    local got = serve(t, ADMIN .. "add-user", { USER }, {})
    local w = run(t, cmd.world(), { "command", "example.net", "admin:add-user", "password=" })
    assert.same({ 9, "xmpp: the field accountjid is required: give accountjid=VALUE\n", true }, { w.status, w.stderr,
      got.canceled })
    for word, text in pairs { ["accountjid=@"] = "no address", ["admin=maybe"] = "true or false expected" } do
      got.steps = 0
      w = run(t, cmd.world { input = "password=1234\naccountjid=a@example.net\n" }, { "command", "example.net",
        "admin:add-user", word:find "^acc" and word or "-", word:find "^acc" and "-" or word })
      if word:find "^admin" then
        assert.equal(9, w.status)
        assert.truthy(w.stderr:find(text, 1, true), w.stderr)
      end
    end
  end))

  it("takes secrets not from its arguments, but from a terminal or standard input", around(function(t)
    local got = serve(t, ADMIN .. "add-user", { USER }, { note("info", "done") })
    local w = run(t, cmd.world(), { "command", "example.net", "admin:add-user", "accountjid=a@example.net",
      "password=1234" })
    assert.equal(2, w.status)
    assert.truthy(w.stderr:find("password is a secret", 1, true))
    assert.is_nil(got.password)
    got.steps = 0
    w = run(t, cmd.world { input = "password=12=34\n\n" }, { "command", "example.net", "admin:add-user",
      "accountjid=a@example.net", "-" })
    assert.same({ 0, "done\n", "12=34", "a@example.net", "t" }, { w.status, w.stdout, got.password, got.accountjid,
      got.token })
    got.steps, got.password = 0, nil
    w = run(t, cmd.world { tty = { [0] = true }, secret = "typed", input = "b@example.net\n\n" }, { "command",
      "example.net", "admin:add-user", "password=" })
    assert.same({ 0, "typed", "b@example.net", "0" }, { w.status, got.password, got.accountjid, got.admin })
    assert.equal("xmpp: Add a user\nAddress: admin (yes, no) [false]: ", w.stderr)
    assert.same({ "password: " }, w.asked)
  end))

  it("gives up when nobody answers any more", around(function(t)
    local got = serve(t, "go", { form.new { fields = { { var = "a" } } } }, {})
    local w = run(t, cmd.world { tty = { [0] = true }, input = "" }, { "command", "example.net", "go" })
    assert.same({ 9, true, 1 }, { w.status, got.canceled, got.steps })
  end))

  it("asks on a terminal by label and options, escaped", around(function(t)
    local got = serve(t, "go", { form.new { fields = { { var = "a", label = "A\194\1552J", kind = "list-single",
      options = { "x", "y" }, value = "y" } } } }, {})
    local w = run(t, cmd.world { tty = { [0] = true }, input = "x\n" }, { "command", "example.net", "go" })
    assert.same({ 0, "A\\u{9b}2J (x, y) [y]: ", "x" }, { w.status, w.stderr, got.a })
  end))

  it("reports what the other side refuses, and what isn't an option", around(function(t)
    t:on({ "iq", { type = "set" }, { "command", { xmlns = COMMANDS, node = "no" } } }, function()
      return nil, "auth", "forbidden"
    end)
    assert.equal(1, run(t, cmd.world(), { "command", "example.net", "no" }).status)
    local got = serve(t, "go", { form.new { fields = { { var = "a", kind = "list-single", options = { "x" } } } } }, {})
    local w = run(t, cmd.world(), { "command", "example.net", "go", "a=z" })
    assert.same({ 9, "xmpp: bad value of field 'a' ('z' is no option)\n", true }, { w.status, w.stderr, got.canceled })
  end))

  it("refuses malformed arguments", function()
    for _, argv in ipairs { { "command" }, { "command", "@" }, { "command", "example.net", "admin:add-usr" },
      { "command", "example.net", "go", "word" } } do
      local w = cmd.world()
      assert.equal(2, cmd.run(w, argv))
      if argv[3] == "admin:add-usr" then assert.truthy(w.stderr:find("'admin:add-user'", 1, true)) end
    end
  end)
end)

describe("blocking", function()
  local function items(name, ...)
    local x = { name, { xmlns = BLOCKING } }
    for _, jid in ipairs { ... } do x[#x + 1] = { "item", { jid = jid } } end
    return x
  end

  local function server(t, ...)
    local list = { ... }
    t:on({ "iq", { type = "get" }, { "blocklist", { xmlns = BLOCKING } } }, function()
      return items("blocklist", (table.unpack or unpack)(list)) -- luacheck: ignore 143
    end)
  end

  local function begin(t, argv)
    local w = cmd.world()
    cmd.start(w, argv)
    t:advance(1)
    return w
  end

  it("lists them", around(function(t)
    server(t, "spam@example.org", "bad.example")
    local w = run(t, cmd.world(), { "blocking" })
    assert.same({ 0, "bad.example\nspam@example.org\n" }, { w.status, w.stdout })
    w = run(t, cmd.world(), { "blocking", "list", "--json" })
    assert.same({ type = "blocked", jid = "bad.example" }, objects(w.stdout)[1])
  end))

  it("adds, removes and reports", around(function(t)
    server(t)
    local cases = {
      { { "add", "A@example.org", "bad.example" }, items("block", "a@example.org", "bad.example") },
      { { "remove", "a@example.org" }, items("unblock", "a@example.org") },
      { { "remove", "--all" }, items "unblock" },
      { { "report", "a@example.org", "every hour", "--abuse" }, { "block", { xmlns = BLOCKING },
        { "item", { jid = "a@example.org" }, { "report", { xmlns = "urn:xmpp:reporting:1",
          reason = "urn:xmpp:reporting:abuse" }, { "text", {}, "every hour" } } } } },
    }
    for _, case in ipairs(cases) do
      local w = begin(t, { "blocking", (table.unpack or unpack)(case[1]) }) -- luacheck: ignore 143
      local got = t:expect { "iq", { type = "set" }, case[2] }
      assert.equal(#case[2], #got[3])
      t:advance(20)
      assert.same({ 0, "", "" }, { w.status, w.stdout, w.stderr })
    end
  end))

  it("doesn't block the account itself", around(function(t)
    server(t)
    local w = run(t, cmd.world(), { "blocking", "add", "example.net" })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("would block ourselves", 1, true))
  end))

  it("requires addresses", function()
    for _, argv in ipairs { { "blocking", "add" }, { "blocking", "remove" }, { "blocking", "add", "@" },
      { "blocking", "list", "a@b" }, { "blocking", "odd" } } do
      assert.equal(2, cmd.run(cmd.world(), argv))
    end
  end)
end)
