-- cmd: the command `xmpp` in this process: its options, what each subcommand sends and prints, and its statuses,
-- against xmpp.testing and with its clock. cmd_live_spec runs it as a process.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local BOT = { jid = "bot@example.net", intercept = true, now = 1700000000 }
local ANNA, BERT = "anna@example.net", "bert@example.org"
local BODY = "body"

local function around(f, more)
  local o = {}
  for key, value in pairs(BOT) do o[key] = value end
  for key, value in pairs(more or {}) do o[key] = value end
  return testing.around(f, o)
end

-- A message from the command with this body.
local function said(to, text) return { "message", { to = to }, { BODY, {}, text } } end

local CARBONS = { "iq", { type = "set" }, { "enable", { xmlns = "urn:xmpp:carbons:2" } } }

local function bounce(stanza, condition, from)
  return { "message", { type = "error", id = stanza[2].id, from = from or stanza[2].to },
    { "error", { type = "cancel" }, { condition, { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
end

local function objects(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = cjson.decode(line) end
  return list
end

describe("the arguments of a command line", function()
  local function refused(argv, text, status)
    local w = cmd.world()
    assert.equal(status or 2, cmd.run(w, argv, true))
    assert.equal("", w.stdout)
    assert.truthy(w.stderr:find(text, 1, true), w.stderr)
  end

  it("are refused where they are unknown, and the nearest is named", function()
    refused({ "sned" }, "there is no subcommand 'sned'; did you mean 'send'?")
    refused({ "send", "--rom", "x" }, "there is no option '--rom'; did you mean '--room'?")
    refused({ "ping", "--color=alwas", "x" }, "did you mean 'always'?")
    refused({ "account", "lst" }, "there is no 'account lst'; did you mean 'list'?")
    refused({ "completion", "bsh" }, "did you mean 'bash'?")
    refused({ "help", "lisen" }, "did you mean 'listen'?")
    refused({ "listen", "-Z" }, "there is no option '-Z'")
  end)

  it("are refused where a value is missing or wrong", function()
    refused({ "ping", "-n" }, "option '-n': N is missing")
    refused({ "ping", "-n", "0" }, "a whole number from 1 expected, got '0'")
    refused({ "ping", "--port", "65536" }, "a port from 1 to 65535 expected")
    refused({ "ping", "--json=yes" }, "option '--json' takes no value")
    refused({ "ping", "a", "b" }, "'b' is one argument too many")
    refused({ "time" }, "usage: xmpp time JID")
    refused({}, "a subcommand is missing")
    refused({ "send", "\27[31m" , "--x\27" }, "'--x\\x1b'")
  end)

  it("never contain a password", function()
    local spec = require "xmpp.cmd.spec"
    for _, command in ipairs(spec.commands) do
      for _, option in ipairs(spec.options(command)) do
        assert.is_true(option[1] == "password-fd" or not option[1]:find "pass", option[1])
      end
    end
    refused({ "send", "--password=secret", "x" }, "there is no option '--password'")
    refused({ "ping", "--proxy=socks5://u:secret@h" }, "option '--proxy': a proxy's user and password belong in the "
      .. "configuration, as the account's proxy, got '...'\n")
    refused({ "ping", "--proxy", "h:1" }, "option '--proxy': a URL expected that begins with socks5://")
  end)

  it("may stand in any order, short ones together", function()
    local parse, spec = require "xmpp.cmd.parse", require "xmpp.cmd.spec"
    local parsed = assert(parse.words({ "-q", "ping", "-vn4", "x@y", "--timeout=2.5" }, spec))
    assert.same({ quiet = true, verbose = true, count = 4, timeout = 2.5 }, parsed.opts)
    assert.same({ "x@y" }, parsed.args)
    parsed = assert(parse.words({ "send", "a@b", "--", "-r", "x" }, spec))
    assert.same({ { "a@b" }, { "-r", "x" } }, { parsed.args, parsed.rest })
    parsed = assert(parse.words({ "run", "--reload", "bot.lua", "--json", "-x" }, spec))
    assert.same({ { "bot.lua", "--json", "-x" }, { reload = true } }, { parsed.args, parsed.opts })
  end)

  it("of check that are wrong cause UNKNOWN", function()
    refused({ "check", "--warn", "1" }, "did you mean '--warning'?", 3)
    refused({ "check", "--only", "dns,tlss" }, "did you mean 'tls'?", 3)
  end)

  it("ask for help, and for the version", function()
    local w = cmd.world()
    assert.equal(0, cmd.run(w, { "--version" }, true))
    assert.equal(xmpp._VERSION .. "\n", w.stdout)
    w = cmd.world()
    assert.equal(0, cmd.run(w, { "help", "ping" }, true))
    assert.truthy(w.stdout:find("usage: xmpp ping [OPTION...] [JID]\n", 1, true), w.stdout)
    local other = cmd.world()
    assert.equal(0, cmd.run(other, { "ping", "--help" }, true))
    assert.equal(w.stdout, other.stdout)
    w = cmd.world()
    assert.equal(0, cmd.run(w, { "help" }, true))
    for _, command in ipairs(require "xmpp.cmd.spec".commands) do
      assert.truthy(w.stdout:find("\n  " .. command.name .. " +%S"), command.name)
    end
  end)
end)

describe("send", function()
  it("ends with 0 when the server has acknowledged the message", around(function(t)
    local w = cmd.world { input = "hello\nworld\n\n" }
    cmd.start(w, { "send", ANNA })
    local got = t:expect { "message", { to = ANNA, type = "chat" }, { BODY, {}, "hello\nworld" } }
    assert.is_string(got[2].id)
    t:advance(5)
    assert.equal(0, w.status)
    assert.equal("", w.stdout .. w.stderr)
  end))

  it("doesn't end before that", around(function(t)
    local w = cmd.world()
    local off = t:on({ "iq", {}, { "ping", { xmlns = "urn:xmpp:ping" } } }, function() return false end)
    cmd.start(w, { "send", "-t", "20", ANNA, "--", "hello" })
    t:expect(said(ANNA, "hello"))
    t:advance(19)
    assert.is_nil(w.status)
    t:advance(30)
    off()
    assert.equal(8, w.status)
    assert.truthy(w.stderr:find("xmpp: anna@example.net: timeout", 1, true), w.stderr)
  end, { acks = false }))

  it("ends with 1 when it comes back", around(function(t)
    local w = cmd.world()
    t:on({ "message", {} }, function(stanza) return bounce(stanza, "service-unavailable") end)
    cmd.start(w, { "send", ANNA, "--", "hello" })
    t:advance(5)
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("xmpp: anna@example.net: stanza: service-unavailable", 1, true), w.stderr)
  end))

  it("ignores a stranger's error with the same id", around(function(t)
    local w = cmd.world()
    t:on({ "message", {} }, function(stanza) return bounce(stanza, "gone", "mallory@evil.example") end)
    cmd.start(w, { "send", ANNA, "--", "hello" })
    t:advance(5)
    assert.equal(0, w.status)
  end))

  it("lists which of several have not arrived, with 10", around(function(t)
    local w = cmd.world()
    t:on({ "message", { to = BERT } }, function(stanza) return bounce(stanza, "item-not-found") end)
    t:on({ "message", { to = ANNA } }, function() return false end)
    cmd.start(w, { "send", "--json", ANNA, BERT, "--", "hello" })
    t:advance(5)
    assert.equal(10, w.status)
    local ok, errors = objects(w.stdout), objects(w.stderr)
    assert.same({ "sent", ANNA }, { ok[1].type, ok[1].to })
    assert.is_nil(ok[2])
    assert.same({ BERT, "item-not-found", "stanza" }, { errors[1].to, errors[1].error.condition,
      errors[1].error.layer })
    assert.equal("partly-done", errors[2].error.condition)
  end))

  it("sends what is asked for: type, subject, lines, XML", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "send", "--headline", "--subject", "News", ANNA, "--", "a", "b" })
    t:expect { "message", { to = ANNA, type = "headline" }, { "subject", {}, "News" }, { BODY, {}, "a b" } }
    t:advance(5)
    assert.equal(0, w.status)
  end))

  it("sends stanzas as they are by --raw", around(function(t)
    local w = cmd.world { input = "<?xml version='1.0'?><message to='anna@example.net'><x xmlns='urn:x'/></message>"
      .. "<presence id='p'/>" }
    cmd.start(w, { "send", "--raw" })
    t:expect { "message", { to = ANNA }, { "x", { xmlns = "urn:x" } } }
    t:expect { "presence", { id = "p" } }
    t:advance(5)
    assert.equal(0, w.status)
  end))

  it("sends a line at a time, ten in a second", around(function(t)
    local w = cmd.world { input = "1\n\n2\r\n3" }
    cmd.start(w, { "send", "--lines", ANNA })
    t:expect(said(ANNA, "1"))
    t:nothing()
    t:advance(0.09)
    t:nothing()
    t:advance(0.02)
    t:expect(said(ANNA, "2"))
    t:nothing()
    t:advance(0.1)
    t:expect(said(ANNA, "3"))
    t:advance(5)
    assert.equal(0, w.status)
  end))

  it("sends them faster when that is asked for", around(function(t)
    local w = cmd.world { input = "1\n2\n" }
    cmd.start(w, { "send", "--lines", "--rate", "1000", ANNA })
    t:expect(said(ANNA, "1"))
    t:advance(0.002)
    t:expect(said(ANNA, "2"))
    t:advance(5)
    assert.equal(0, w.status)
  end))

  local function receipt(from, id)
    return { "message", { from = from }, { "received", { xmlns = "urn:xmpp:receipts", id = id } } }
  end

  it("waits for a receipt from the recipient", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "send", "--wait", "receipt", ANNA, "--", "hello" })
    local got = t:expect { "message", { to = ANNA }, { "request", { xmlns = "urn:xmpp:receipts" } } }
    t:receive(receipt("mallory@evil.example/x", got[2].id))
    t:receive(receipt("anna@example.net/x", "another"))
    t:advance(5)
    assert.is_nil(w.status)
    t:receive(receipt("anna@example.net/x", got[2].id))
    t:advance(5)
    assert.equal(0, w.status)
  end))

  it("ends with 8 if none comes", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "send", "--wait", "receipt", "-t", "5", ANNA, "--", "hello" })
    t:expect { "message", { to = ANNA } }
    t:advance(30)
    assert.equal(8, w.status)
    assert.truthy(w.stderr:find("no client of anna@example.net has confirmed it within 5 seconds", 1, true), w.stderr)
  end))

  local function input_refused(text, argv, o)
    local w = cmd.world(o)
    assert.equal(9, cmd.run(w, argv))
    assert.truthy(w.stderr:find(text, 1, true), w.stderr)
  end

  it("refuses invalid text, before it connects, with 9", function()
    input_refused("the text is larger than 64 KiB", { "send", ANNA }, { input = ("x"):rep(65537) })
    input_refused("the text is larger than 64 KiB", { "send", ANNA, "--", ("x"):rep(65537) })
    input_refused("upload", { "send", ANNA }, { input = ("x"):rep(65537) })
    input_refused("the input is empty", { "send", ANNA }, { input = "\n" })
    input_refused("XMPP can't carry this text", { "send", ANNA, "--", "a\7" })
    input_refused("XMPP can't carry this text", { "send", ANNA, "--", "a\255" })
    input_refused("/nonexistent can't be read", { "send", "-f", "/nonexistent", ANNA })
    input_refused("the input is not XML", { "send", "--raw" }, { input = "<message>" })
    input_refused("message, presence or iq expected, got <query/>", { "send", "--raw" }, { input = "<query/>" })
    input_refused("has no stanza", { "send", "--raw" }, { input = " " })
  end)

  it("refuses an invalid address, and a missing one, with 2", function()
    local w = cmd.world()
    assert.equal(2, cmd.run(w, { "send", "a@b@c", "--", "x" }))
    assert.truthy(w.stderr:find("'a@b@c' is not a valid address", 1, true), w.stderr)
    w = cmd.world()
    assert.equal(2, cmd.run(w, { "send", "--", "x" }))
    assert.truthy(w.stderr:find("the recipient is missing", 1, true), w.stderr)
  end)
end)

describe("listen", function()
  local function message(text, more)
    local attrs = { from = "anna@example.net/pc", to = "bot@example.net/cron", id = "m1", type = "chat" }
    for key, value in pairs(more or {}) do attrs[key] = value end
    return { "message", attrs, { BODY, {}, text } }
  end

  it("shows messages, and ends after as many as are wanted", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "-n", "2" })
    t:receive(message "hello")
    t:receive { "message", { from = ANNA }, { "composing", { xmlns = "http://jabber.org/protocol/chatstates" } } }
    t:receive(message("oops", { type = "error" }))
    t:receive { "presence", { from = "anna@example.net/pc" } }
    assert.equal("22:13:20 anna@example.net/pc: hello\n", w.stdout)
    assert.is_nil(w.status)
    t:receive(message "world")
    t:advance(6)
    assert.equal(0, w.status)
    assert.truthy(w.stdout:find("anna@example.net/pc: world\n$"), w.stdout)
    assert.equal("", w.stderr)
  end))

  it("shows what somebody does (XEP-0245)", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "-n", "1" })
    t:receive(message "/me waves\ntwice")
    t:advance(6)
    assert.equal("22:13:20 * anna@example.net/pc waves\n         twice\n", w.stdout)
  end))

  it("sends nothing to anybody", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "-n", "1" })
    t:receive { "message", { from = "anna@example.net/pc", id = "m" }, { BODY, {}, "hi" },
      { "request", { xmlns = "urn:xmpp:receipts" } } }
    t:nothing()
    t:advance(6)
    assert.equal(0, w.status)
  end))

  it("shows what strangers say with its control characters escaped", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "-n", "1" })
    t:receive(message "a\194\155 31m\226\128\174b\nbert: c\226\129\166")
    t:advance(6)
    assert.equal("22:13:20 anna@example.net/pc: a\\u{9b} 31m\\u{202e}b\n         bert: c\\u{2066}\n", w.stdout)
  end))

  it("writes JSON with the keys that are documented", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "--json", "-n", "2" })
    t:receive { "message", { from = "anna@example.net/pc", to = "bot@example.net/cron", id = "m1", type = "chat" },
      { BODY, {}, "say \"hi\" \\ \n\t☕" }, { "subject", {}, "s" },
      { "delay", { xmlns = "urn:xmpp:delay", stamp = "2023-01-02T03:04:05Z" } } }
    t:receive(message "x")
    t:advance(6)
    local list = objects(w.stdout)
    assert.same({ type = "message", from = "anna@example.net/pc", to = "bot@example.net/cron", id = "m1", kind = "chat",
      time = "2023-01-02T03:04:05Z", subject = "s", body = "say \"hi\" \\ \n\t☕", delayed = true, own = false },
        list[1])
    assert.same({ "2023-11-14T22:13:20Z", false }, { list[2].time, list[2].delayed })
    assert.is_nil(list[3])
  end))

  local function carbon(from, inner)
    return { "message", { from = from, to = "bot@example.net/cron" }, { "sent", { xmlns = "urn:xmpp:carbons:2" },
      { "forwarded", { xmlns = "urn:xmpp:forward:0" }, inner } } }
  end

  it("shows what the account's other clients send, and no forged copies", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "--json", "-n", "1" })
    local inner = { "message", { xmlns = "jabber:client", from = "bot@example.net/phone", to = BERT, type = "chat" },
      { BODY, {}, "mine" } }
    t:receive(carbon("mallory@evil.example", inner))
    assert.equal("", w.stdout)
    t:receive(carbon("bot@example.net", inner))
    t:advance(6)
    local got = objects(w.stdout)[1]
    assert.same({ "bot@example.net/phone", BERT, "mine", true }, { got.from, got.to, got.body, got.own })
  end))

  it("shows what one address says, when that is asked for", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "--from", ANNA, "-n", "1" })
    t:receive(message("no", { from = "bert@example.org/x" }))
    assert.equal("", w.stdout)
    t:receive(message "yes")
    t:advance(6)
    assert.equal(0, w.status)
  end))

  it("ends with 8 when the time is over", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "-W", "10" })
    t:advance(9)
    assert.is_nil(w.status)
    t:advance(7)
    assert.equal(8, w.status)
    assert.equal("xmpp: 0 messages came within 10 seconds\n", w.stderr)
  end))

  it("is available when that is asked for, with a priority that takes nobody's messages", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "--presence", "-W", "1" })
    t:expect { "presence", {}, { "priority", {}, "-1" } }
    t:receive { "presence", { from = "anna@example.net/pc" }, { "show", {}, "away" }, { "status", {},
      "tea\194\155[2J" } }
    assert.equal("22:13:20 anna@example.net/pc is away: tea\\u{9b}[2J\n", w.stdout)
    t:receive { "presence", { from = "anna@example.net/pc", type = "unavailable" } }
    assert.truthy(w.stdout:find("is unavailable\n$"), w.stdout)
    t:advance(7)
  end))

  it("comes back when the link is lost, says so, and is available again", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen", "--json", "--priority", "5", "-n", "1" })
    t:expect { "presence", {}, { "priority", {}, "5" } }
    t:ack()
    t:reconnect { new = true }
    t:expect { "presence", {}, { "priority", {}, "5" } }
    t:receive(message "still there")
    t:advance(6)
    local list = objects(w.stdout)
    assert.same({ "state", "waiting" }, { list[1].type, list[1].state })
    assert.is_string(list[1].error.condition)
    assert.same({ "state", "ready" }, { list[2].type, list[2].state })
    assert.equal("still there", list[3].body)
  end))

  local function output_fails(err, status)
    return around(function(t)
      local w = cmd.world { out = function() error(err, 0) end }
      cmd.start(w, { "listen" })
      t:receive(message "hello")
      t:advance(6)
      assert.equal(status, w.status)
      assert.truthy(w.stderr:find(err.text, 1, true), w.stderr)
    end)
  end

  it("ends when its reader has gone", output_fails({ layer = "output", condition = "EPIPE", text = "has closed it",
    command = true }, 141))
  it("ends when the disk is full", output_fails({ layer = "output", condition = "ENOSPC", text = "make room",
    command = true }, 11))

  it("ends with 5 when the connection does for good", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "listen" })
    t:advance(1)
    t:close "conflict"
    t:advance(1)
    assert.equal(7, w.status)
    assert.truthy(w.stderr:find("conflict", 1, true), w.stderr)
  end))

  it("asks for copies", around(function(t)
    local asked = 0
    t:on(CARBONS, function() asked = asked + 1 end)
    local w = cmd.world()
    cmd.start(w, { "listen", "-W", "1" })
    t:advance(8)
    assert.equal(1, asked)
  end))
end)

describe("a query", function()
  it("by ping prints how long it took, and a summary", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "ping", "-n", "3", "-i", "10", ANNA })
    for _ = 1, 3 do
      t:expect { "iq", { type = "get", to = ANNA }, { "ping", { xmlns = "urn:xmpp:ping" } } }
      t:advance(10)
    end
    t:advance(10)
    assert.equal(0, w.status)
    local lines = {}
    for line in w.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line:gsub("%d+%.%d", "N") end
    assert.same({ "anna@example.net: N ms", "anna@example.net: N ms", "anna@example.net: N ms",
      "anna@example.net: 3 sent, 3 answered; least N ms, mean N ms, most N ms" }, lines)
  end))

  it("prints nothing with -q", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "ping", "-q", "-n", "1", ANNA })
    t:expect { "iq", { to = ANNA } }
    t:advance(6)
    assert.same({ 0, "", "" }, { w.status, w.stdout, w.stderr })
  end))

  it("by ping ends with 1 for an error, and with 8 for none", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "ping", "-n", "1", ANNA })
    t:expect({ "iq", { to = ANNA } }, function() return nil, "cancel", "remote-server-not-found" end)
    t:advance(6)
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("remote-server-not-found", 1, true), w.stderr)
  end))

  it("by ping ends with 8 if nothing comes", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "ping", "-n", "1", "-t", "5", ANNA })
    t:expect({ "iq", { to = ANNA } }, false)
    t:advance(20)
    assert.equal(8, w.status)
  end))

  local function asks(name, pattern, reply, text, object, argument)
    it("by " .. name .. " shows the answer", around(function(t)
      local w = cmd.world()
      cmd.start(w, { name, argument or ANNA })
      t:expect({ "iq", { type = "get", to = argument or ANNA }, pattern }, reply)
      t:advance(6)
      assert.equal(text, w.stdout)
      assert.equal(0, w.status)
    end))
    it("by " .. name .. " writes it as JSON", around(function(t)
      local w = cmd.world()
      cmd.start(w, { name, "--json", argument or ANNA })
      t:expect({ "iq", {}, pattern }, reply)
      t:advance(6)
      assert.same(object, cjson.decode(w.stdout))
    end))
  end

  asks("version", { "query", { xmlns = "jabber:iq:version" } },
    { "query", { xmlns = "jabber:iq:version" }, { "name", {}, "Ex\194\155odus" }, { "version", {}, "1.0" }, { "os", {},
      "BSD" } },
    "anna@example.net: Ex\\u{9b}odus 1.0 on BSD\n",
    { type = "version", from = ANNA, name = "Ex\194\155odus", version = "1.0", os = "BSD" })

  asks("time", { "time", { xmlns = "urn:xmpp:time" } },
    { "time", { xmlns = "urn:xmpp:time" }, { "tzo", {}, "-03:30" }, { "utc", {}, "2023-11-14T22:13:25Z" } },
    "anna@example.net: 2023-11-14T22:13:25Z (-03:30 there), +5.0 s from here\n",
    { type = "time", from = ANNA, utc = "2023-11-14T22:13:25Z", offset = -12600, apart = 5 })

  asks("last", { "query", { xmlns = "jabber:iq:last" } },
    { "query", { xmlns = "jabber:iq:last", seconds = "90061" }, "gone" },
    "anna@example.net: away for 1d 1h, gone\n", { type = "last", from = ANNA, seconds = 90061, status = "gone" })

  local INFO = { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
    { "identity", { category = "client", type = "pc", name = "X" } }, { "feature", { var = "urn:b" } },
    { "feature", { var = "urn:a" } } }
  asks("disco", { "query", { xmlns = "http://jabber.org/protocol/disco#info" } }, INFO,
    "anna@example.net/pc\n  client/pc X\n  urn:a\n  urn:b\n",
    { type = "info", from = "anna@example.net/pc", identities = { { category = "client", type = "pc", name = "X" } },
      features = { "urn:a", "urn:b" } }, "anna@example.net/pc")

  it("by disco --items lists the items", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "disco", "--items", BERT })
    t:expect({ "iq", { to = BERT } }, { "query", { xmlns = "http://jabber.org/protocol/disco#items" },
      { "item", { jid = "a.example.org", name = "A" } }, { "item", { jid = "b.example.org", node = "n" } } })
    t:advance(6)
    assert.equal("a.example.org  A\nb.example.org n\n", w.stdout)
  end))

  it("by disco --tree lists the items' items as well", around(function(t)
    local w = cmd.world()
    t:on({ "iq", {}, { "query", { xmlns = "http://jabber.org/protocol/disco#items" } } }, function(stanza)
      local q = { "query", { xmlns = "http://jabber.org/protocol/disco#items" } }
      if stanza[2].to == BERT then q[3] = { "item", { jid = "a.example.org", name = "A" } } end
      return q
    end)
    t:on({ "iq", {}, { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } }, function(stanza)
      if stanza[2].to ~= BERT then return nil, "cancel", "item-not-found" end
      return INFO
    end)
    cmd.start(w, { "disco", "--tree", BERT })
    t:advance(6)
    assert.equal("bert@example.org  client/pc X\n  a.example.org  A  item-not-found\n", w.stdout)
    assert.equal(0, w.status)
  end))

  it("that is refused ends with 1, and as JSON on stderr", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "version", "--json", ANNA })
    t:expect({ "iq", { to = ANNA } }, function() return nil, "cancel", "service-unavailable", "no\194\155" end)
    t:advance(6)
    assert.equal(1, w.status)
    assert.equal("", w.stdout)
    local err = cjson.decode(w.stderr).error
    assert.same({ "stanza", "service-unavailable", false }, { err.layer, err.condition, err.retry })
  end))
end)
