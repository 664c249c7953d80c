-- cmd_archive: exporting an archive with the command, against that of xmpp.testing. See cmd_spec for the rest.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local shell = require "spec.support.shell"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"

local TEA = "tea@rooms.example.net"

local function around(f)
  return testing.around(f, { jid = "bot@example.net", intercept = true, now = 1700000000 })
end

local function run(t, argv, o)
  local w = cmd.world(o)
  table.insert(argv, 1, "archive")
  cmd.start(w, argv)
  t:advance(40)
  return w
end

local function numbers(n)
  local out = {}
  for i = 1, n do out[i] = { text = tostring(i), stamp = 1699000000 + i } end
  return out
end

local function bodies(text)
  local out = {}
  for line in text:gmatch "[^\n]+" do out[#out + 1] = cjson.decode(line).body end
  return table.concat(out, " ")
end

describe("archive export", function()
  it("writes what was said, oldest first, and what strangers say escaped", around(function(t)
    t:archive { { text = "one\226\128\174\ntwo", stamp = 1699000000 }, { from = "bot@example.net/pc",
      to = "anna@example.net", text = "three", stamp = 1699000061 } }
    local w = run(t, { "export" })
    assert.equal(0, w.status, w.stderr)
    assert.equal("2023-11-03T08:26:40Z anna@example.net/home: one\\u{202e}\n         two\n"
      .. "2023-11-03T08:27:41Z bot@example.net/pc to anna@example.net: three\n", w.stdout)
  end))

  it("writes objects, and elements", around(function(t)
    t:archive { { text = "<&>", stamp = 1699000000.5, id = "a", { "x", { xmlns = "urn:x" } } },
      { id = "b", { "active", { xmlns = "http://jabber.org/protocol/chatstates" } } } }
    local w = run(t, { "export", "--json" })
    assert.same({ type = "archived", archive = "bot@example.net", archive_id = "archived-1", body = "<&>", id = "a",
      from = "anna@example.net/home", to = "bot@example.net", kind = "chat", own = false,
      time = "2023-11-03T08:26:40Z" }, cjson.decode(w.stdout))
    w = run(t, { "export", "--format", "xml" })
    local all = xexpr.from_xml("<all>" .. w.stdout .. "</all>")
    local messages = {}
    for x in xexpr.children(all, "forwarded") do
      messages[#messages + 1] = xexpr.child(x, "message", "jabber:client")
    end
    assert.same({ "a", "b", "urn:x" }, { messages[1][2].id, messages[2][2].id, messages[1][4][2].xmlns })
    assert.equal("2023-11-03T08:26:40.500Z", xexpr.find(all, "forwarded", { "delay", "urn:xmpp:delay" })[2].stamp)
  end))

  it("is limited by address and time", around(function(t)
    local list = numbers(5)
    list[3].from = "bert@example.net/x"
    list[5].stamp = 1699999990
    t:archive(list)
    assert.equal("3", bodies(run(t, { "export", "--format", "jsonl", "--with", "bert@example.net" }).stdout))
    assert.equal("5", bodies(run(t, { "export", "--json", "--since", "1h" }).stdout))
    assert.equal("1 2 3 4 5", bodies(run(t, { "export", "--json", "--since", "2023-11-03" }).stdout))
    assert.equal("2 3", bodies(run(t, { "export", "--json", "--since", "2023-11-03T08:26:42Z", "--until",
      "2023-11-03T08:26:43Z" }).stdout))
    local w = run(t, { "export", "--since", "yesterday" })
    assert.equal(2, w.status)
    assert.matches("%-%-since: 'yesterday' is not a time", w.stderr)
    assert.equal(2, run(t, { "export", "--with", "@@" }).status)
    assert.equal(2, run(t, { "import" }).status)
  end))

  it("goes through a room's archive", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea",
      history = { { nick = "anna", text = "old", stamp = 1699000000 } } })
    local w = run(t, { "export", "--room", TEA })
    assert.equal("2023-11-03T08:26:40Z anna: old\n", w.stdout)
  end))

  it("continues where it was, with its file alone", around(function(t)
    local a, folder = t:archive(numbers(250)), shell.succeed "mktemp -d":gsub("\n", "")
    finally(function() os.execute("rm -r " .. folder) end)
    local path = folder .. "/state"
    local function export(...) return run(t, { "export", "--json", "--resume", path, ... }) end
    local w = export()
    assert.equal(0, w.status, w.stderr)
    assert.matches("^1 2 3 .* 249 250$", bodies(w.stdout))
    assert.equal("600\n", shell.succeed(("stat -c %%a %s"):format(path)))
    assert.equal("bot@example.net \narchived-250\n", shell.read(path))
    assert.equal("", export().stdout)
    a:keeps "251"
    a:keeps "252"
    assert.equal("251 252", bodies(export().stdout))
    -- The reader of the output goes away during the second of three pages: the next run begins with that page.
    os.remove(path)
    local n = 0
    w = run(t, { "export", "--json", "--resume", path }, { out = function()
      n = n + 1
      if n == 150 then error(require "xmpp.cmd.exit".error("output", "EPIPE", "gone"), 0) end
    end })
    assert.equal(141, w.status)
    assert.matches("^101 102 .* 252$", bodies(export().stdout))
    -- A state file of another query can't be used.
    w = export("--with", "bert@example.net")
    assert.same({ 9, "" }, { w.status, w.stdout })
    assert.matches("belongs to another export", w.stderr)
    -- The archive has deleted the message.
    a:expires(252)
    a:keeps "253"
    w = export()
    assert.same({ 10, "" }, { w.status, w.stdout })
    assert.matches("no longer has the message", w.stderr)
    assert.equal("bot@example.net \narchived-252\n", shell.read(path))
    shell.succeed(("echo nonsense >%s"):format(path))
    assert.equal(9, export().status)
  end))

  it("continues when the link was lost", around(function(t)
    local a = t:archive(numbers(250))
    local w, said = cmd.world(), 0
    a.step = function()
      said = said + 1
      if said == 130 then t.server:cut(false) end
    end
    cmd.start(w, { "archive", "export", "--json" })
    t:advance(120)
    assert.equal(0, w.status, w.stderr)
    local n = 0
    for text in bodies(w.stdout):gmatch "%S+" do
      n = n + 1
      assert.equal(tostring(n), text)
    end
    assert.equal(250, n)
  end))

  it("says why it can't", around(function(t)
    local a = t:archive {}
    a.refusal = { "cancel", "service-unavailable" }
    local w = run(t, { "export" })
    assert.equal(1, w.status)
    assert.matches("service%-unavailable", w.stderr)
  end))
end)
