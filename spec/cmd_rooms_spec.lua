-- cmd_rooms: rooms and the roster with the command, against the rooms and contacts of xmpp.testing. See cmd_spec for
-- the rest.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local shell = require "spec.support.shell"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local TEA, COFFEE = "tea@rooms.example.net", "coffee@rooms.example.net"

local function around(f)
  return testing.around(f, { jid = "bot@example.net", intercept = true, now = 1700000000 })
end

local function said(to, text) return { "message", { to = to, type = "groupchat" }, { "body", {}, text } } end

local function objects(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = cjson.decode(line) end
  return list
end

-- Runs it to its end; what it sends is answered.
local function run(t, w, argv)
  cmd.start(w, argv)
  t:advance(40)
  return w
end

describe("send --room", function()
  it("sends it, ends with 0 when the room has reflected it, and leaves", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea" })
    local w = cmd.world { input = "hello\n" }
    cmd.start(w, { "send", "-r", "--nick", "kettle", TEA })
    t:advance(1)
    t:expect(said(TEA, "hello"))
    t:advance(20)
    assert.equal(0, w.status)
    assert.is_nil(room.occupants.kettle)
    assert.equal("", w.stdout .. w.stderr)
  end))

  it("doesn't end with 0 as long as it has not come back", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea" })
    t:on(said(TEA, "hello"), function() return false end)
    local w = cmd.world { input = "hello\n" }
    run(t, w, { "send", "-r", "-t", "5", TEA })
    t:advance(120)
    assert.is_true(w.status ~= nil and w.status ~= 0, tostring(w.status))
    assert.truthy(w.stderr:find("^xmpp: tea@rooms%.example%.net: "), w.stderr)
  end))

  it("lists the rooms that have not got it", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea" })
    t:room(COFFEE, { occupants = { "anna" }, password = "closed" })
    local w = cmd.world()
    cmd.start(w, { "send", "-r", "--json", TEA, COFFEE, "--", "hello" })
    t:advance(1)
    t:expect(said(TEA, "hello"))
    t:advance(40)
    assert.equal(10, w.status)
    assert.same({ "sent", TEA }, { objects(w.stdout)[1].type, objects(w.stdout)[1].to })
    local errors = objects(w.stderr)
    assert.same({ COFFEE, "not-authorized" }, { errors[1].to, errors[1].error.condition })
    assert.equal("partly-done", errors[2].error.condition)
  end))

  it("creates no room", around(function(t)
    t:room(TEA, { exists = false })
    local w = run(t, cmd.world(), { "send", "-r", TEA, "--", "hello" })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("there is no room", 1, true), w.stderr)
  end))

  it("requires a room", function()
    local w = cmd.world()
    assert.is_true(cmd.run(w, { "muc", "who" }) == 2)
    assert.truthy(w.stderr:find("usage: xmpp muc who ROOM", 1, true), w.stderr)
  end)

  it("refuses an address with a nick, which would be an occupant's", around(function(t)
    local w = run(t, cmd.world(), { "send", "-r", TEA .. "/anna", "--", "hello" })
    assert.equal(2, w.status)
    assert.truthy(w.stderr:find("contains a nickname", 1, true), w.stderr)
  end))
end)

describe("a room that is listened to", function()
  it("is shown, without its history, and what strangers say escaped", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea", history = { "old" } })
    local w = cmd.world()
    cmd.start(w, { "listen", "--room", TEA, "-n", "2" })
    t:advance(1)
    room:says("anna", "one\194\155")
    room:says("anna", "two")
    t:advance(20)
    assert.equal(0, w.status)
    assert.equal("22:13:21 tea@rooms.example.net anna: one\\u{9b}\n22:13:21 tea@rooms.example.net anna: two\n",
      w.stdout)
    assert.is_nil(room.occupants.bot)
  end))

  it("is written as JSON, and by muc join, too", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea" })
    local w = cmd.world()
    cmd.start(w, { "muc", "join", TEA, "--json", "-n", "1" })
    t:advance(1)
    room:says("anna", { text = "hello", id = "m7" })
    t:advance(20)
    local got = objects(w.stdout)[1]
    assert.same({ "message", TEA .. "/anna", "groupchat", "hello", "m7", false, false },
      { got.type, got.from, got.kind, got.body, got.id, got.delayed, got.own })
  end))

  it("is entered again when the link was lost", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea" })
    local w = cmd.world()
    cmd.start(w, { "listen", "--room", TEA, "-n", "1" })
    t:advance(1)
    t:reconnect { new = true }
    t:advance(60)
    room:says("anna", "back")
    t:advance(20)
    assert.equal(0, w.status, w.stderr)
  end))

  it("that removes us for good ends it, with 5", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea" })
    local w = cmd.world()
    cmd.start(w, { "listen", "--room", TEA })
    t:advance(1)
    room:bans("bot", "spam\194\155")
    t:advance(20)
    assert.equal(5, w.status)
    assert.equal("xmpp: the room tea@rooms.example.net has removed us: spam\\u{9b}\n", w.stderr)
  end))
end)

describe("a room with a password", function()
  local PATH, PRIVATE = "/c/xmpp/config.lua", tonumber("600", 8)

  -- A world whose configuration has a section for the room TEA with these lines.
  local function configured(lines, more)
    local o = { folder = "/c", files = { [PATH] = { text = "[room " .. TEA .. "]\n" .. lines, mode = PRIVATE },
      ["/p/tea"] = { text = "s3cret\nrest\n", mode = PRIVATE } } }
    for key, value in pairs(more or {}) do o[key] = value end
    return cmd.world(o)
  end

  local function sends(t, w)
    cmd.start(w, { "send", "-r", "--nick", "kettle", TEA, "--", "hello" })
    t:advance(1)
    t:expect(said(TEA, "hello"))
    t:advance(20)
    assert.equal(0, w.status, w.stderr)
    assert.is_nil((w.stdout .. w.stderr):find("s3cret", 1, true))
  end

  for source, line in pairs { command = "password-command = echo s3cret", file = "password-file = /p/tea",
    configuration = "password = s3cret" } do
    it("gets the configuration's: " .. source, around(function(t)
      t:room(TEA, { occupants = { "anna" }, subject = "Tea", password = "s3cret" })
      sends(t, configured(line .. "\n"))
    end))
  end

  it("gets it when it is listened to, and by muc, by the name that its section has", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea", password = "s3cret" })
    local w = configured "password-file = /p/tea\nnick = pot\n"
    cmd.start(w, { "listen", "--room", TEA, "-n", "1" })
    t:advance(1)
    assert.is_table(room.occupants.pot)
    room:says("anna", "one")
    t:advance(20)
    assert.equal(0, w.status, w.stderr)
    w = run(t, configured "password-file = /p/tea\n", { "muc", "who", TEA })
    assert.equal(0, w.status, w.stderr)
    w = run(t, configured "password-file = /p/tea\n", { "check", "--only", "muc", "--room", TEA })
    assert.equal(0, w.status, w.stdout)
  end))

  it("has it asked for at the terminal", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea", password = "s3cret" })
    local w = cmd.world { secret = "s3cret" }
    sends(t, w)
    assert.same({ "Password of " .. TEA .. ": " }, w.asked)
    w = run(t, cmd.world { secret = "wrong" }, { "send", "-r", TEA, "--", "hello" })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find(TEA .. " has refused that password\n", 1, true), w.stderr)
    assert.equal(1, #w.asked)
  end))

  it("says where to set it, or where the refused one comes from", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea", password = "s3cret" })
    local w = run(t, cmd.world { folder = "/nonexistent" }, { "send", "-r", TEA, "--", "hello" })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("tea@rooms.example.net requires a password: set password-command or password-file in a "
      .. "section [room tea@rooms.example.net] of /nonexistent/xmpp/config.lua\n", 1, true), w.stderr)
    w = run(t, configured("password = wr0ng\n", { secret = "s3cret" }), { "muc", "who", TEA })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("has refused the password of section [room tea@rooms.example.net] in "
      .. "/c/xmpp/config.lua", 1, true), w.stderr)
    assert.is_nil(w.stderr:find("wr0ng", 1, true))
    assert.same({}, w.asked)
  end))

  it("gets none from a file that others may read", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea", password = "s3cret" })
    local files = { [PATH] = { text = "[room " .. TEA .. "]\npassword-file = /p/tea\n", mode = PRIVATE },
      ["/p/tea"] = { text = "s3cret\n", mode = tonumber("644", 8) } }
    local w = run(t, cmd.world { folder = "/c", files = files }, { "send", "-r", TEA, "--", "hello" })
    assert.equal(3, w.status)
    assert.truthy(w.stderr:find("chmod 600 '/p/tea'", 1, true), w.stderr)
    files[PATH] = { text = "[room " .. TEA .. "]\npassword = s3cret\n", mode = tonumber("644", 8) }
    w = run(t, cmd.world { folder = "/c", files = files }, { "send", "-r", TEA, "--", "hello" })
    assert.equal(3, w.status)
    assert.truthy(w.stderr:find("chmod 600 '/c/xmpp/config.lua'", 1, true), w.stderr)
  end))
end)

describe("check's step muc", function()
  -- The server has a service for rooms, listed after another one that takes `seconds` to answer.
  local function service(t, seconds)
    local INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
    t:on({ "iq", { to = "example.net" }, { "query", { xmlns = ITEMS } } }, function()
      return { "query", { xmlns = ITEMS }, { "item", { jid = "files.example.net" } },
        { "item", { jid = "rooms.example.net" } } }
    end)
    t:on({ "iq", { to = "files.example.net" }, { "query", { xmlns = INFO } } }, function()
      return { "query", { xmlns = INFO }, { "identity", { category = "store", type = "file" } } }
    end)
    local query = { "query", { xmlns = INFO }, { "identity", { category = "conference", type = "text" } } }
    t:on({ "iq", { to = "rooms.example.net" }, { "query", { xmlns = INFO } } }, function(stanza)
      xmpp.after(seconds or 0, function()
        t:receive { "iq", { type = "result", id = stanza[2].id, from = "rooms.example.net" }, query }
      end)
      return false
    end)
  end

  it("finds the service, and measures the time", around(function(t)
    service(t, 2)
    local w = run(t, cmd.world(), { "check", "--only", "muc" })
    assert.same({ 1, "XMPP WARNING - muc took 2.00s | muc=2.000s;1;5\n" }, { w.status, w.stdout })
    w = run(t, cmd.world(), { "check", "--only", "muc", "--prometheus", "-w", "9" })
    assert.equal(0, w.status, w.stdout)
    assert.truthy(w.stdout:find('\nxmpp_step_ok{target="bot@example.net",step="muc"} 1\n', 1, true), w.stdout)
    assert.truthy(w.stdout:find('xmpp_step_seconds{target="bot@example.net",step="muc"} 2.000000\n', 1, true))
  end))

  it("is left out if the server has none, unless it was asked for", around(function(t)
    local w = run(t, cmd.world(), { "check", "--only", "muc" })
    assert.equal(2, w.status)
    assert.truthy(w.stdout:find("^XMPP CRITICAL %- muc: .*item%-not%-found"), w.stdout)
    t:on({ "message", {} }, function(stanza)
      return { { "message", { id = stanza[2].id, from = "bot@example.net/cron" }, { "body", {}, "xmpp check" } } }
    end)
    w = run(t, cmd.world(), { "check" })
    assert.equal(0, w.status, w.stdout)
    assert.is_nil(w.stdout:find("muc", 1, true))
  end))

  it("enters a room, and leaves it", around(function(t)
    local room, seen = t:room(TEA, { occupants = { "anna" }, subject = "Tea" }), {}
    local w = run(t, cmd.world(), { "check", "--only", "muc", "--room", TEA, "--json", "-v" })
    for tag in w.stderr:gsub("<%- [^\n]*", ""):gmatch "<presence[^>]*>" do
      if tag:find(TEA, 1, true) then seen[#seen + 1] = tag:match " type=.(%w+)" or "available" end
    end
    assert.equal(0, w.status, w.stdout)
    assert.same({ { name = "muc", seconds = 0, ok = true } }, cjson.decode(w.stdout).steps)
    assert.same({ "available", "unavailable" }, seen)
    assert.is_nil(room.occupants.bot)
  end))

  it("creates no room, and prints CRITICAL if it doesn't exist", around(function(t)
    local room = t:room(TEA, { exists = false })
    local w = run(t, cmd.world(), { "check", "--only", "muc", "--room", TEA })
    assert.equal(2, w.status)
    assert.truthy(w.stdout:find("^XMPP CRITICAL %- muc: .*there is no room tea@rooms"), w.stdout)
    assert.is_false(room.exists)
  end))

  it("is UNKNOWN for what isn't a room's address", around(function(t)
    local w = run(t, cmd.world(), { "check", "--room", TEA .. "/anna" })
    assert.equal(3, w.status)
    assert.truthy(w.stdout:find("^XMPP UNKNOWN %- .*contains a nickname"), w.stdout)
  end))
end)

describe("muc", function()
  it("who lists the occupants, without us", around(function(t)
    t:room(TEA, { occupants = { "anna", "bert" }, subject = "Tea" })
    local w = run(t, cmd.world(), { "muc", "who", TEA })
    assert.equal(0, w.status)
    local lines = {}
    for line in w.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line:match "^%S+" end
    assert.same({ "anna", "bert" }, lines)
    w = run(t, cmd.world(), { "muc", "who", TEA, "--json" })
    local first = objects(w.stdout)[1]
    assert.same({ "occupant", TEA, "anna", "participant" }, { first.type, first.room, first.nick, first.role })
  end))

  it("history shows what was said", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea", history = { { nick = "anna", text = "one" },
      { nick = "bert", text = "two" }, { nick = "anna", text = "three" } } })
    local w = run(t, cmd.world(), { "muc", "history", TEA, "-n", "2", "--json" })
    assert.equal(0, w.status, w.stderr)
    local list = objects(w.stdout)
    assert.same({ "two", "three", true }, { list[1].body, list[2].body, list[1].delayed })
    assert.is_nil(list[3])
  end))

  -- Texts "1" to "n", and the ids in the output of a run.
  local function lines(n)
    local out = {}
    for i = 1, n do out[i] = { nick = "anna", text = tostring(i) } end
    return out
  end

  local function bodies(text)
    local out = {}
    for i, m in ipairs(objects(text)) do out[i] = m.body end
    return out
  end

  it("history goes through the archive's pages, backwards, and shows the oldest first", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea", history = lines(130) })
    local w = run(t, cmd.world(), { "muc", "history", TEA, "-n", "120", "--json", "-v" })
    assert.equal(0, w.status, w.stderr)
    local list, _, asked = bodies(w.stdout), w.stderr:gsub("<query[^>]*urn:xmpp:mam:2", "")
    assert.same({ 120, "11", "12", "130", 2 }, { #list, list[1], list[2], list[120], asked })
    w = run(t, cmd.world(), { "muc", "history", TEA, "-n", "1000", "--json" })
    list = bodies(w.stdout)
    assert.same({ 130, "1", "130" }, { #list, list[1], list[130] })
    w = run(t, cmd.world(), { "muc", "history", TEA, "--json" })
    list = bodies(w.stdout)
    assert.same({ 20, "111", "130" }, { #list, list[1], list[20] })
  end))

  it("history takes no more than it has asked an archive for, and ends if the pages repeat",
    around(function(t)
      t:room(TEA, { occupants = { "anna" }, subject = "Tea" })
      local asked = 0
      t:on({ "iq", { to = TEA }, { "query", { xmlns = "urn:xmpp:mam:2" } } }, function(stanza)
        asked = asked + 1
        for i = 1, 2 do
          t:receive { "message", { from = TEA, to = "bot@example.net/cron" }, { "result", { xmlns = "urn:xmpp:mam:2",
            queryid = stanza[3][2].queryid, id = "a" .. i }, { "forwarded", { xmlns = "urn:xmpp:forward:0" },
            { "message", { xmlns = "jabber:client", type = "groupchat", from = TEA .. "/anna" },
              { "body", {}, "x" .. i } } } } }
        end
        return { "fin", { xmlns = "urn:xmpp:mam:2" }, { "set", { xmlns = "http://jabber.org/protocol/rsm" },
          { "first", {}, "a1" }, { "last", {}, "a2" } } }
      end)
      local w = run(t, cmd.world(), { "muc", "history", TEA, "-n", "50", "--json" })
      assert.equal(0, w.status, w.stderr)
      assert.same({ 2, { "x1", "x2", "x1", "x2" } }, { asked, bodies(w.stdout) })
    end))

  it("history is what the room sends if it has no archive", around(function(t)
    t:room(TEA, { occupants = { "anna" }, subject = "Tea", stanza_ids = false, history = lines(30) })
    local w = run(t, cmd.world(), { "muc", "history", TEA, "-n", "3", "--json" })
    assert.equal(0, w.status, w.stderr)
    assert.same({ "28", "29", "30" }, bodies(w.stdout))
  end))

  it("history that is refused ends with 1", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea", history = lines(3) })
    t:on({ "iq", { to = TEA }, { "query", { xmlns = "urn:xmpp:mam:2" } } }, function()
      return nil, "auth", "forbidden"
    end)
    local w = run(t, cmd.world(), { "muc", "history", TEA })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("forbidden", 1, true), w.stderr)
    assert.is_nil(room.occupants.bot)
    room.exists = false
    w = run(t, cmd.world(), { "muc", "history", TEA })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("there is no room", 1, true), w.stderr)
  end))

  it("list lists the rooms of a service", around(function(t)
    t:on({ "iq", { to = "rooms.example.net" }, { "query", { xmlns = "http://jabber.org/protocol/disco#items" } } },
      function()
      return { "query", { xmlns = "http://jabber.org/protocol/disco#items" }, { "item", { jid = TEA,
        name = "Te\194\155a" } } }
    end)
    local w = run(t, cmd.world(), { "muc", "list", "rooms.example.net" })
    assert.equal("tea@rooms.example.net  Te\\u{9b}a\n", w.stdout)
    assert.equal(0, w.status)
  end))

  it("invite invites, and waits until the server has acknowledged it", around(function(t)
    local w = cmd.world()
    cmd.start(w, { "muc", "invite", TEA, "anna@example.net", "Tea?" })
    t:expect { "message", { to = "anna@example.net" }, { "x", { xmlns = "jabber:x:conference", jid = TEA,
      reason = "Tea?" } } }
    t:advance(20)
    assert.equal(0, w.status)
  end))

  it("config shows the room's configuration, and changes it", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea",
      affiliations = { ["bot@example.net"] = "owner" } })
    local w = run(t, cmd.world(), { "muc", "config", TEA })
    assert.equal(0, w.status, w.stderr)
    assert.truthy(w.stdout:find("muc#roomconfig_roomname=", 1, true), w.stdout)
    w = run(t, cmd.world(), { "muc", "config", TEA, "muc#roomconfig_roomname=Tea room",
      "muc#roomconfig_membersonly=true" })
    assert.equal(0, w.status, w.stderr)
    assert.same({ "Tea room", true }, { room.config.name, room.config.members_only })
    w = run(t, cmd.world(), { "muc", "config", TEA, "muc#roomconfig_roomnam=x" })
    assert.equal(9, w.status)
    assert.truthy(w.stderr:find("did you mean 'muc#roomconfig_roomname'?", 1, true), w.stderr)
    w = run(t, cmd.world(), { "muc", "config", TEA, "muc#roomconfig_membersonly=maybe" })
    assert.equal(9, w.status)
  end))
end)

describe("muc config", function()
  local SECRET, NAME = "muc#roomconfig_roomsecret", "muc#roomconfig_roomname"

  local function owned(t, config)
    return t:room(TEA, { occupants = { "anna" }, subject = "Tea", config = config,
      affiliations = { ["bot@example.net"] = "owner" } })
  end

  it("writes one field a line, also as JSON", around(function(t)
    owned(t, { name = "T\194\155", members_only = true })
    local w = run(t, cmd.world(), { "muc", "config", TEA })
    assert.truthy(w.stdout:find(NAME .. "=T\\u{9b}\n", 1, true), w.stdout)
    assert.truthy(w.stdout:find("muc#roomconfig_membersonly=true\n", 1, true), w.stdout)
    w = run(t, cmd.world(), { "muc", "config", TEA, "--json" })
    local fields = {}
    for _, field in ipairs(objects(w.stdout)) do fields[field.var] = field end
    assert.same({ type = "field", var = "muc#roomconfig_membersonly", kind = "boolean", value = true },
      fields["muc#roomconfig_membersonly"])
    assert.equal("moderators", fields["muc#roomconfig_whois"].value)
  end))

  it("takes no secret from the command line, and shows none", around(function(t)
    local room = owned(t)
    local w = run(t, cmd.world { secret = "typed" }, { "muc", "config", TEA, SECRET .. "=s3cret" })
    assert.equal(2, w.status)
    assert.truthy(w.stderr:find("write 'muc#roomconfig_roomsecret=' to be asked for it", 1, true), w.stderr)
    assert.is_nil(w.stderr:find("s3cret", 1, true))
    assert.is_nil(room.config.password)
    w = run(t, cmd.world { secret = "typed" }, { "muc", "config", TEA, SECRET .. "=" })
    assert.same({ 0, "typed", { "Password of " .. TEA .. ": " } }, { w.status, room.config.password, w.asked })
    w = run(t, cmd.world { secret = "typed" }, { "muc", "config", TEA })
    assert.truthy(w.stdout:find(SECRET .. "=***\n", 1, true), w.stdout)
    w = run(t, cmd.world { secret = "typed" }, { "muc", "config", TEA, "--json" })
    assert.is_nil(w.stdout:find("typed", 1, true))
  end))

  it("takes a secret from the room's section", around(function(t)
    local room = owned(t)
    local files = { ["/c/xmpp/config.lua"] = { text = "[room " .. TEA .. "]\npassword-command = echo s3cret\n",
      mode = 0 } }
    local w = run(t, cmd.world { folder = "/c", files = files }, { "muc", "config", TEA, SECRET .. "=" })
    assert.same({ 0, "s3cret" }, { w.status, room.config.password })
    room.config.password = nil
    w = run(t, cmd.world(), { "muc", "config", TEA, SECRET .. "=" })
    assert.equal(3, w.status)
    assert.truthy(w.stderr:find("in a section [room tea@rooms.example.net]", 1, true), w.stderr)
  end))

  it("is refused with 1 to one who isn't an owner, and changes nothing in part", around(function(t)
    local room = t:room(TEA, { occupants = { "anna" }, subject = "Tea", config = { name = "Tea" } })
    local w = run(t, cmd.world(), { "muc", "config", TEA })
    assert.equal(1, w.status)
    assert.truthy(w.stderr:find("forbidden", 1, true), w.stderr)
    room.affiliations["bot@example.net"] = "owner"
    w = run(t, cmd.world(), { "muc", "config", TEA, NAME .. "=New", "muc#roomconfig_publicroom=perhaps" })
    assert.same({ 9, "Tea" }, { w.status, room.config.name })
    w = run(t, cmd.world(), { "muc", "config", TEA, NAME })
    assert.same({ 2, "Tea" }, { w.status, room.config.name })
    w = run(t, cmd.world(), { "muc", "config", TEA, "muc#roomconfig_whois=nobody" })
    assert.same({ false, "moderators" }, { w.status == 0, room.config.whois })
  end))
end)

describe("roster", function()
  it("lists the contacts, or those of a group, and nobody else", around(function(t)
    t:contact("anna@example.net", { subscription = "both", name = "An\194\155na", groups = { "Friends", "Work" } })
    t:contact("bert@example.org", { subscription = "to" })
    local w = run(t, cmd.world(), { "roster" })
    assert.equal("anna@example.net  both see each other  An\\u{9b}na  [Friends, Work]\nbert@example.org  we see it\n",
      w.stdout)
    w = run(t, cmd.world(), { "roster", "list", "--json", "--group", "Work" })
    assert.same({ type = "contact", jid = "anna@example.net", name = "An\194\155na", subscription = "both",
      groups = { "Friends", "Work" } }, cjson.decode(w.stdout))
  end))

  describe("is kept for the completions", function()
    local folder
    before_each(function() folder = shell.folder() end)
    after_each(function() shell.remove(folder) end)

    local function world(lines)
      return cmd.world { folder = "/c", env = { XDG_CACHE_HOME = folder .. "/cache" }, files = {
        ["/c/xmpp/config.lua"] = { text = "[default]\njid = bot@example.net/cron\n" .. lines, mode = 0 } } }
    end

    local function start(t, w, argv)
      xmpp.spawn(function() cmd.run(w, argv, true) end)
      t:advance(10)
      return w
    end

    local function contacts(lines)
      local w = world(lines)
      assert.equal(0, cmd.run(w, { "contacts" }, true))
      return w.stdout
    end

    it("if the account says so, readable by its owner only", around(function(t)
      t:contact("anna@example.net", { subscription = "both" })
      t:contact("bert@example.org", { subscription = "both" })
      assert.equal("", contacts "cache = true\n")
      local w = start(t, world "cache = true\n", { "roster" })
      assert.equal(0, w.status, w.stderr)
      assert.equal("anna@example.net\nbert@example.org\n", contacts "cache = true\n")
      assert.equal("600\n700\n700\n",
        shell.succeed(("cd %s/cache && stat -c %%a xmpp/default.contacts xmpp ."):format(folder)))
      assert.equal("", contacts "")
      assert.equal("", contacts "cache = false\n")
    end))

    it("by listen, too", around(function(t)
      t:contact("anna@example.net", { subscription = "both" })
      local w = start(t, world "cache = true\n", { "listen", "-W", "5" })
      assert.equal(8, w.status)
      assert.equal("anna@example.net\n", contacts "cache = true\n")
    end))

    it("and by nothing else, and not without that setting", around(function(t)
      t:contact("anna@example.net", { subscription = "both" })
      start(t, world "", { "roster" })
      local w = start(t, world "", { "listen", "-v", "-W", "5" })
      assert.is_nil(w.stderr:find("jabber:iq:roster", 1, true), w.stderr)
      start(t, world "cache = false\n", { "roster", "list" })
      start(t, world "cache = true\n", { "ping", "-n", "1" })
      assert.equal("", shell.succeed("find " .. folder .. " -mindepth 1"))
    end))

    it("without those that a shell would take for commands", around(function(t)
      t:contact("$(id)@evil.example", { subscription = "both" })
      t:contact("`id`@evil.example", { subscription = "both" })
      t:contact("-rf@evil.example", { subscription = "both" })
      t:contact("a;b@evil.example", { subscription = "both" })
      t:contact("jürgen@example.net", { subscription = "both" })
      start(t, world "cache = true\n", { "roster" })
      assert.truthy(shell.read(folder .. "/cache/xmpp/default.contacts"):find("$(id)@evil.example\n", 1, true))
      assert.equal("jürgen@example.net\n", contacts "cache = true\n")
    end))

    it("until the account is removed", around(function(t)
      t:contact("anna@example.net", { subscription = "both" })
      start(t, world "cache = true\n", { "roster" })
      local w = cmd.world { folder = folder, env = { XDG_CACHE_HOME = folder .. "/cache" } }
      shell.succeed(("mkdir %s/xmpp && printf '[default]\\njid = bot@example.net\\n' >%s/xmpp/config.lua")
        :format(folder, folder))
      start(t, w, { "account", "remove", "default" })
      assert.equal(0, w.status, w.stderr)
      assert.equal("", shell.succeed("ls " .. folder .. "/cache/xmpp"))
    end))
  end)

  it("adds and removes", around(function(t)
    local anna = t:contact "anna@example.net"
    local w = run(t, cmd.world(), { "roster", "add", "anna@example.net", "--name", "Anna", "--group", "a", "--group",
      "b" })
    assert.equal(0, w.status, w.stderr)
    assert.same({ "Anna", { "a", "b" } }, { anna.name, anna.groups })
    w = run(t, cmd.world(), { "roster", "remove", "anna@example.net" })
    assert.equal(0, w.status, w.stderr)
    assert.is_nil(anna.subscription)
  end))

  it("requests, accepts and denies subscriptions", around(function(t)
    local anna = t:contact "anna@example.net"
    local w = run(t, cmd.world(), { "roster", "subscribe", "anna@example.net", "It is me" })
    assert.same({ 0, true }, { w.status, anna.ask })
    anna:requests()
    w = run(t, cmd.world(), { "roster", "approve", "anna@example.net" })
    assert.same({ 0, "from" }, { w.status, anna.subscription })
    w = run(t, cmd.world(), { "roster", "deny", "anna@example.net" })
    assert.same({ 0, "none" }, { w.status, anna.subscription })
  end))

  it("refuses an unknown argument, a missing address, and an invalid one", function()
    local w = cmd.world()
    assert.equal(2, cmd.run(w, { "roster", "ad", "x@y" }))
    assert.truthy(w.stderr:find("did you mean 'add'?", 1, true), w.stderr)
    w = cmd.world()
    assert.equal(2, cmd.run(w, { "roster", "add" }))
    w = cmd.world()
    assert.equal(2, cmd.run(w, { "roster", "add", "a@b@c" }))
  end)
end)
