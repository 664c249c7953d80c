-- bot: commands that people give it, with xmpp.testing: in rooms, in private, as forms; and attempts to misuse it.

local args = require "xmpp.bot.args"
local bot = require "xmpp.bot"
local caps = require "xmpp.caps"
local chat = require "xmpp.chat"
local command = require "xmpp.command"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local muc = require "xmpp.muc"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local TEA, ANNA, EVE = "tea@rooms.example.net", "anna@example.net", "eve@example.org"
local COMMANDS, DATA = "http://jabber.org/protocol/commands", "jabber:x:data"

-- The message's text, without the quote above a reply.
local function said(x)
  return (xexpr.text(x, "body"):gsub("^[^\n]*\n", function(line) return line:sub(1, 1) == ">" and "" or nil end))
end

-- The next message that is sent, which must be the only one.
local function hear(t, pattern)
  local x = t:expect(pattern or { "message", {} })
  assert(x[1] == "message")
  return said(x), x
end

-- A bot that sends no receipts, so that none are to be expected.
local function use(t, opts)
  chat.use(t.conn, { receipts = false, origin_id = false })
  return bot.use(t.conn, opts)
end

local function roll(b, log)
  return b:command("roll", { args = "<sides:int=6> [why:text]", help = "throws a die" }, function(ctx, a)
    if log then log[#log + 1] = { ctx.kind, ctx.who, ctx.nick, a.sides, a.why } end
    return "a " .. a.sides
  end)
end

local function room_of(t, occupants, o)
  local opts = { occupants = occupants, config = { whois = "anyone" } }
  for key, v in pairs(o or {}) do opts[key] = v end
  return t:room(TEA, opts)
end

local PEOPLE = { { nick = "anna", jid = ANNA .. "/a" }, { nick = "eve", jid = EVE .. "/e" } }

describe("a bot", function()
  it("answers where it was asked, as a reply", testing.around(function(t)
    local room, log = room_of(t, PEOPLE), {}
    local b = use(t, { rooms = { [TEA] = "kettle" } })
    roll(b, log)
    local _, stanza_id = room:says("anna", "!roll 20")
    local text, x = hear(t, { "message", { type = "groupchat", to = TEA } })
    assert.equal("a 20", text)
    local reply = xexpr.child(x, "reply", "urn:xmpp:reply:0")
    assert.same({ stanza_id, TEA .. "/anna" }, { reply[2].id, reply[2].to })
    assert.equal("> !roll 20\na 20", xexpr.text(x, "body"))
    room:whispers("eve", "!roll 3 for fun")
    text, x = hear(t, { "message", { type = "chat", to = TEA .. "/eve" } })
    assert.equal("a 3", text)
    assert.truthy(xexpr.child(x, "x", "http://jabber.org/protocol/muc#user"))
    local id = t:contact(ANNA .. "/phone", { subscription = "both" }):says "!roll"
    text, x = hear(t, { "message", { type = "chat", to = ANNA .. "/phone" } })
    assert.same({ "a 6", id }, { text, xexpr.child(x, "reply", "urn:xmpp:reply:0")[2].id })
    assert.same({ { "room", ANNA, "anna", 20 }, { "private", EVE, "eve", 3, "for fun" }, { "chat", ANNA, nil, 6 } },
      log)
  end))

  it("answers neither what is old nor what it, or another bot, has said", testing.around(function(t)
    local room = room_of(t, PEOPLE, { history = { { nick = "anna", text = "!roll" } } })
    local b = use(t, { rooms = { [TEA] = { nick = "kettle", history = 10 } } })
    roll(b)
    b.on(b, "command", function() error "obeyed" end)
    t:nothing()
    local delay = { "delay", { xmlns = "urn:xmpp:delay", stamp = "2023-01-01T00:00:00Z" } }
    local anna = t:contact(ANNA .. "/a", { subscription = "both" })
    anna:says { text = "!roll", delay }
    t.forge.carbon("bot@example.net", { "message", { from = ANNA .. "/a", to = "bot@example.net/other", type = "chat" },
      { "body", {}, "!roll" } })
    t.forge.carbon("bot@example.net", { "message", { to = ANNA .. "/a", from = "bot@example.net/other", type = "chat" },
      { "body", {}, "!roll" } }, "sent")
    t.forge.carbon(EVE .. "/e", { "message", { from = ANNA .. "/a", to = "bot@example.net/x" },
      { "body", {}, "!roll" } })
    anna:says { text = "!roll", { "encryption", { xmlns = "urn:xmpp:eme:0", namespace = "urn:x" } } }
    anna:says { text = "!roll", type = "error" }
    anna:says { text = "!roll", type = "headline", delay }
    t:nothing()
    ext.of(t.conn, muc).rooms[TEA]:say "!roll"
    hear(t) -- the bot's own
    t:nothing()
    room:says("anna", { text = "roll" })
    t:nothing()
  end))

  it("answers nothing that was said before it entered", testing.around(function(t)
    local room = room_of(t, PEOPLE, { no_subject = true })
    roll(use(t, { rooms = { [TEA] = "kettle" } }))
    t:nothing()
    room:says("anna", "!roll")
    t:advance(6)
    t:nothing()
    room:says("anna", "!roll")
    assert.equal("a 6", (hear(t)))
  end))

  it("doesn't talk to bots, whatever they say", testing.around(function(t)
    local b = use(t)
    roll(b)
    local other = t:contact("robot@example.net/r", { subscription = "both" })
    local info = { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
      { "identity", { category = "client", type = "bot", name = "other" } } }
    require "xmpp.presence".keep(t.conn, "robot@example.net")
    other:online { more = { { "c", { xmlns = "http://jabber.org/protocol/caps", hash = "sha-1", node = "urn:n",
      ver = caps.ver(info) } } } }
    other:says "!roll"
    local asked = t:expect({ "iq", { type = "get", to = "robot@example.net/r" } }, false)
    t:nothing()
    info[2].node = asked[3][2].node
    t:receive { "iq", { type = "result", id = asked[2].id, from = "robot@example.net/r" }, info }
    t:nothing()
    for _ = 1, 20 do other:says "!nonsense" end
    t:nothing()
    t:contact(ANNA .. "/a"):says "!roll"
    assert.equal("a 6", (hear(t)))
  end))

  it("after a while answers somebody whose client doesn't say what it is", testing.around(function(t)
    roll(use(t))
    local anna = t:contact(ANNA .. "/a", { subscription = "both" })
    require "xmpp.presence".keep(t.conn, ANNA)
    anna:online { more = { { "c", { xmlns = "http://jabber.org/protocol/caps", hash = "sha-1", node = "urn:n",
      ver = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" } } } }
    anna:says "!roll"
    t:expect({ "iq", { type = "get", to = ANNA .. "/a" } }, false)
    t:advance(4)
    t:nothing()
    t:advance(1)
    assert.equal("a 6", (hear(t)))
  end))

  it("only takes commands with their prefix", testing.around(function(t)
    local b = use(t, { prefix = "kettle, " })
    roll(b)
    local anna = t:contact(ANNA .. "/a")
    for _, text in ipairs { "!roll", "roll", "kettle roll", " kettle, roll", "Kettle, roll", "kettle, ",
      "kettle, " .. ("x"):rep(5000) } do anna:says(text) end
    t:nothing()
    anna:says "kettle, roll\t12"
    assert.equal("a 12", (hear(t)))
  end))

  it("says that it doesn't know a command, but not in a room", testing.around(function(t)
    local room = room_of(t, PEOPLE)
    local b = use(t, { rooms = { [TEA] = "kettle" } })
    b:command("here", { private = false }, function() return "yes" end)
    b:command("alone", { rooms = false }, function() return "yes" end)
    room:says("anna", "!nothing")
    room:says("anna", "!alone")
    room:says("anna", "!here")
    assert.equal("yes", (hear(t)))
    t:nothing()
    for text, answer in pairs { ["!nothing"] = "There is no such command; !help lists them all.",
      ["!here"] = "There is no such command; !help lists them all.", ["!alone"] = "yes" } do
      room:whispers("anna", text)
      assert.equal(answer, (hear(t)))
    end
  end))

  it("shows a command's syntax", testing.around(function(t)
    roll(use(t))
    local anna = t:contact(ANNA .. "/a")
    anna:says "!roll six"
    assert.equal("sides: a whole number expected. It is: !roll <sides:int=6> [why:text]", (hear(t)))
  end))

  it("has help, which lists what the sender may do", testing.around(function(t)
    local b = use(t, { admins = { ANNA } })
    roll(b)
    b:command("stop", { allow = "admin", help = "ends it" }, function() end)
    b:command("odd", { allow = function(ctx) return ctx.who == EVE and "yes" end }, function() end)
    local anna, eve = t:contact(ANNA .. "/a"), t:contact(EVE .. "/e")
    anna:says "!help"
    local common = "Commands:\n!help [command]: lists the commands\n"
      .. "!roll <sides:int=6> [why:text]: throws a die"
    assert.equal(common .. "\n!stop: ends it", (hear(t)))
    eve:says "!help"
    assert.equal(common, (hear(t)))
    for text, answer in pairs { ["!help stop"] = "There is no such command.",
      ["!help odd"] = "There is no such command.", ["!help !roll"] = "!roll <sides:int=6> [why:text]: throws a die" } do
      eve:says(text)
      assert.equal(answer, (hear(t)))
    end
    local off = b:command("help", {}, function() return "mine" end)
    anna:says "!help"
    assert.equal("mine", (hear(t)))
    assert.is_true(off())
    assert.is_false(off())
  end))

  it("doesn't reveal what went wrong in it", testing.around(function(t)
    local b = use(t)
    b:command("fall", {}, function() error "the secret" end)
    t:contact(ANNA .. "/a"):says "!fall"
    assert.equal("Something went wrong.", (hear(t)))
    local errors = t:take_errors()
    assert.same({ 1, true }, { #errors, errors[1]:find("command 'fall'.*the secret") ~= nil })
  end))

  it("may wait, and answer several times", testing.around(function(t)
    local b = use(t)
    b:command("slow", {}, function(ctx)
      ctx:reply "wait"
      xmpp.sleep(10)
      ctx:reply { text = "done" }
    end)
    local anna = t:contact(ANNA .. "/a")
    anna:says "!slow"
    assert.equal("wait", (hear(t)))
    t:advance(10)
    assert.equal("done", (hear(t)))
  end))
end)

describe("whatever a command does", function()
  it("breaks nothing", testing.around(function(t)
    local room, out = room_of(t, PEOPLE), {}
    local b = use(t, { rooms = { [TEA] = "kettle" } })
    local off
    off = b:command("once", {}, function() off() return "gone" end)
    b:command("drop", {}, function(ctx)
      ext.drop(t.conn, bot)
      out[1] = ctx:reply "one" ~= nil
      return "two"
    end)
    room:says("anna", "!once")
    assert.equal("gone", (hear(t)))
    room:says("anna", "!once")
    t:nothing()
    b:on("command", function() error "mine" end)
    room:says("anna", "!drop")
    t:sent() -- drops what it sends: with the bot, its rooms are gone
    room:says("eve", "!drop")
    t:nothing()
    assert.equal(1, #t:take_errors())
    assert.is_boolean(out[1])
    assert.is_nil(ext.of(t.conn, bot))
  end))
end)

describe("permission", function()
  it("is by address, never by nick", testing.around(function(t)
    local room, log = room_of(t, PEOPLE), {}
    local b = use(t, { admins = { [ANNA] = true, ["Other@EXAMPLE.net"] = true, ["no@example.net"] = false },
      rooms = { [TEA] = "kettle" } })
    b:command("stop", { allow = "admin" }, function(ctx)
      log[#log + 1] = ctx.nick or ctx.who
      return ctx.admin and "stopped"
    end)
    room:says("anna", "!stop")
    assert.equal("stopped", (hear(t)))
    room:leaves "anna"
    room:joins { nick = "anna", jid = EVE .. "/2" }
    room:says("anna", "!stop")
    assert.equal("That is not for you.", (hear(t)))
    room:says("eve", { text = "!stop", { "x", { xmlns = "http://jabber.org/protocol/muc#user" },
      { "item", { jid = ANNA .. "/a", affiliation = "owner" } } } })
    assert.equal("That is not for you.", (hear(t)))
    room:whispers("anna", "!stop")
    assert.equal("That is not for you.", (hear(t)))
    for _, from in ipairs { EVE .. "/e", "anna@example.net.evil.example/a", TEA .. "x/" .. ANNA } do
      t:receive { "message", { from = from, type = "chat", id = "m" .. from }, { "body", {}, "!stop" } }
      assert.equal("That is not for you.", (hear(t)))
    end
    t:contact("other@example.net/x"):says "!stop"
    assert.equal("stopped", (hear(t)))
    assert.same({ "anna", "other@example.net" }, log)
    assert.same({ true, false, false }, { b:is_admin(ANNA .. "/x"), b:is_admin "no@example.net", b:is_admin(nil) })
  end))

  it("is nobody's in a room that shows no addresses", testing.around(function(t)
    local room = room_of(t, PEOPLE, { config = { whois = "moderators" } })
    local b = use(t, { admins = { ANNA }, rooms = { TEA } })
    b:command("stop", { allow = "admin" }, function() error "obeyed" end)
    b:command("who", {}, function(ctx) return tostring(ctx.who) .. " " .. ctx.nick end)
    room:says("anna", "!stop")
    assert.equal("That is not for you.", (hear(t)))
    room:says("anna", "!who")
    assert.equal("nil anna", (hear(t)))
    assert.equal("bot", ext.of(t.conn, muc).rooms[TEA].nick)
  end))

  it("is decided by a function, and refused if it throws", testing.around(function(t)
    local b = use(t)
    b:command("mine", { allow = function(ctx) return ctx.kind == "chat" and ctx.who == ANNA end },
      function() return "yes" end)
    b:command("odd", { allow = function() error "odd" end }, function() return "yes" end)
    local anna, eve = t:contact(ANNA .. "/a"), t:contact(EVE .. "/e")
    anna:says "!mine"
    assert.equal("yes", (hear(t)))
    eve:says "!mine"
    assert.equal("That is not for you.", (hear(t)))
    anna:says "!odd"
    assert.equal("That is not for you.", (hear(t)))
    assert.equal(1, #t:take_errors())
  end))

  it("of one who has left isn't another's with the same nick", testing.around(function(t)
    local room = room_of(t, PEOPLE)
    local b, out = use(t, { rooms = { [TEA] = "kettle" } }), {}
    b:command("slow", {}, function(ctx)
      xmpp.sleep(10)
      local id, err = ctx:reply "the secret"
      out[#out + 1] = id and "said" or err.condition
    end)
    room:whispers("anna", "!slow")
    room:leaves "anna"
    room:joins { nick = "anna", jid = EVE .. "/2" }
    t:advance(10)
    t:nothing()
    room:whispers("eve", "!slow")
    room:renames("eve", "eva")
    t:advance(10)
    assert.equal("the secret", (hear(t, { "message", { to = TEA .. "/eva" } })))
    assert.same({ "item-not-found", "said" }, out)
  end))
end)

describe("the rate", function()
  it("is ten commands a minute for each person", testing.around(function(t)
    local b = use(t)
    roll(b)
    local anna, eve = t:contact(ANNA .. "/a"), t:contact(EVE .. "/e")
    for i = 1, 10 do
      anna:says { text = "!roll", resource = "r" .. i }
      assert.equal("a 6", (hear(t)))
    end
    anna:says "!roll"
    assert.equal("That is too much at once. Try again in a minute.", (hear(t)))
    for _ = 1, 20 do anna:says "!roll" end
    t:nothing()
    eve:says "!roll"
    assert.equal("a 6", (hear(t)))
    t:advance(60)
    anna:says "!roll"
    assert.equal("a 6", (hear(t)))
  end))

  it("is counted by address where that is known, else by room", testing.around(function(t)
    local room = room_of(t, { { nick = "anna", jid = ANNA .. "/a", id = "A" },
      { nick = "eve", jid = EVE .. "/e", id = "E" } }, { config = { whois = "moderators" } })
    local b = use(t, { rooms = { [TEA] = "kettle" }, rate = 1 })
    roll(b)
    room:says("anna", "!roll")
    assert.equal("a 6", (hear(t)))
    room:renames("anna", "hanna")
    room:says("hanna", "!roll")
    assert.equal("That is too much at once. Try again in a minute.", (hear(t)))
    room:says("eve", "!roll")
    assert.equal("a 6", (hear(t)))
  end))

  it("is counted by room if nothing else is known of its occupants", testing.around(function(t)
    local room = room_of(t, PEOPLE, { config = { whois = "moderators" }, occupant_ids = false })
    local b = use(t, { rooms = { [TEA] = "kettle" }, rate = 1 })
    roll(b)
    room:says("anna", "!roll")
    assert.equal("a 6", (hear(t)))
    room:says("eve", "!roll")
    assert.equal("That is too much at once. Try again in a minute.", (hear(t)))
  end))
end)

describe("as ad-hoc commands", function()
  local function execute(t, from, node, session, values)
    local x = values and { "x", { xmlns = DATA, type = "submit" } }
    for var, v in pairs(values or {}) do x[#x + 1] = { "field", { var = var }, { "value", {}, v } } end
    t:receive { "iq", { type = "set", id = "c", from = from, to = "bot@example.net/test" },
      { "command", { xmlns = COMMANDS, node = node, sessionid = session }, x } }
    local got = t:expect({ "iq", { id = "c" } }, false)
    if got[2].type == "error" then return nil, xexpr.error(got) end
    return got[3]
  end

  it("they ask for what they want to know", testing.around(function(t)
    local b, log = use(t, { adhoc = true, admins = { ANNA } }), {}
    roll(b, log)
    b:command("say", { args = "<loud:bool> <text:text>", allow = "admin" }, function(ctx, a)
      ctx:reply(a.text)
      ctx:reply { text = tostring(a.loud) }
      return "done"
    end)
    b:command("plain", { args = "" }, function() end)
    b:command("chatty", { adhoc = false }, function() end)
    disco.allow(t.conn, function() return true end)
    local x = execute(t, EVE .. "/e", "roll")
    local f = require "xmpp.form".parse(xexpr.child(x, "x", DATA))
    assert.same({ "throws a die", "sides", 6, "why" }, { f.title, f.fields[1].var, f.values.sides, f.fields[2].var })
    local last = execute(t, EVE .. "/e", "roll", x[2].sessionid, { sides = "12" })
    assert.same({ "completed", "a 12" }, { last[2].status, xexpr.text(last, "note", COMMANDS) })
    assert.same({ { "adhoc", EVE, nil, 12 } }, log)
    x = execute(t, ANNA .. "/a", "say")
    last = execute(t, ANNA .. "/a", "say", x[2].sessionid, { text = "hello", loud = "1" })
    assert.equal("hello\ntrue\ndone", xexpr.text(last, "note", COMMANDS))
    assert.equal("completed", execute(t, EVE .. "/e", "plain")[2].status)
    x = execute(t, ANNA .. "/a", "roll")
    local _, err = execute(t, ANNA .. "/a", "roll", x[2].sessionid, { sides = "1.5" })
    assert.same({ "bad-request", "sides: a whole number expected" }, { err.condition, err.text })
    assert.equal("item-not-found", select(2, execute(t, EVE .. "/e", "say")).condition)
    assert.equal("item-not-found", select(2, execute(t, EVE .. "/e", "chatty")).condition)
  end))

  it("they are for those who may see our presence, and are counted as others", testing.around(function(t)
    local b = use(t, { adhoc = true, admins = { ANNA }, rate = 2 })
    b:command("plain", { args = "" }, function() return "yes" end)
    assert.equal("service-unavailable", select(2, execute(t, EVE .. "/e", "plain")).condition)
    for _ = 1, 2 do assert.equal("completed", execute(t, ANNA .. "/a", "plain")[2].status) end
    local _, err = execute(t, ANNA .. "/a", "plain")
    assert.same({ "wait", "policy-violation" }, { err.type, err.condition })
    ext.drop(t.conn, bot)
    assert.equal("service-unavailable", select(2, execute(t, ANNA .. "/a", "plain")).condition)
    command.serve(t.conn, "plain", {}, function() end)
  end))
end)

describe("rooms", function()
  it("are entered in each session until that has succeeded, and reported", testing.around(function(t)
    local tea, heard = room_of(t, PEOPLE, { password = "sesame" }), {}
    chat.use(t.conn, { receipts = false })
    local b = bot.use(t.conn, { rooms = { [TEA] = "kettle" } })
    b:on("error", function(err, room) heard[#heard + 1] = err.condition .. " " .. room end)
    b:on("room", function(room) heard[#heard + 1] = room.jid end)
    t:nothing()
    assert.same({ "not-authorized " .. TEA }, heard)
    tea.config.password = nil
    t:ack()
    t:reconnect { new = true }
    t:nothing()
    assert.same({ "not-authorized " .. TEA, TEA }, heard)
    tea:kicks("kettle", 301) -- a ban, after which it doesn't come back
    t:ack()
    t:reconnect { new = true }
    t:nothing()
    assert.is_nil(tea.occupants.kettle)
    assert.equal(2, #heard)
  end))

  it("may be the program's own", testing.around(function(t)
    local room = room_of(t, PEOPLE)
    local b = use(t)
    roll(b)
    local handle
    coroutine.wrap(function() handle = assert(muc.join(t.conn, TEA, "kettle")) end)()
    t:nothing()
    room:says("anna", "!roll")
    t:nothing()
    local off = b:room(handle)
    b:room(handle)
    room:says("anna", "!roll")
    assert.equal("a 6", (hear(t)))
    t:nothing()
    assert.same({ true, false }, { off(), off() })
    room:says("anna", "!roll")
    t:nothing()
  end))
end)

describe("a bot that is over", function()
  local function open_and_end()
    local weak, t = setmetatable({}, { __mode = "v" }), testing.new()
    local b = use(t, { adhoc = true })
    b:command("slow", { args = "<a>" }, function(ctx) return xmpp.promise():wait() and ctx end)
    t:receive { "message", { from = ANNA .. "/a", type = "chat" }, { "body", {}, "!slow x" } }
    t:receive { "iq", { type = "set", id = "c", from = "bot@example.net/o", to = "bot@example.net/test" },
      { "command", { xmlns = COMMANDS, node = "slow" } } }
    t:expect({ "iq", { id = "c", type = "result" } }, false)
    weak[1], weak[2], weak[3] = b, t.conn, ext.of(t.conn, command)
    t:finish()
    return weak
  end

  it("is collected, with its commands, also those that are running", function()
    local weak = open_and_end()
    local jit = rawget(_G, "jit")
    if jit then jit.flush() end -- compiled code refers to objects, and keeps them alive
    for _ = 1, 10 do collectgarbage() end
    assert.same({}, weak)
  end)
end)

describe("arguments", function()
  local function read(declared, text)
    local list = declared and assert(args.parse(declared))
    local values, why = args.read(list, text)
    return values or why
  end

  it("are what they are declared to be", function()
    for _, case in ipairs {
      { "<a:int>", " 12 ", { a = 12 } }, { "<a:int>", "12.5", "a: a whole number expected" },
      { "<a:int>", "0x10", "a: a whole number expected" }, { "<a:int>", ("9"):rep(20), "a: a whole number expected" },
      { "<a:int>", "", "a: missing" }, { "<a:number>", "-1.5e1", { a = -15 } },
      { "<a:number>", "1e999", "a: a number expected" }, { "<a:number>", "nan", "a: a number expected" },
      { "<a:bool> [b:bool]", "YES off", { a = true, b = false } }, { "<a:bool>", "maybe", "a: yes or no expected" },
      { "<a:jid>", "Anna@EXAMPLE.net", { a = ANNA } }, { "<a:jid>", "@", "a: an address expected" },
      { "<a> <b=x> [c]", "1", { a = "1", b = "x" } },
      { "<a> <b=x> [c]", '"one two" 3 4', { a = "one two", b = "3", c = "4" } },
      { "<a>", "1 2", "there are too many arguments" }, { "<a>", '"one" two', "there are too many arguments" },
      { "<a>", 'it"s', { a = 'it"s' } }, { "<a>", '"open', { a = '"open' } },
      { "<a> <b:text>", "1  two\nthree ", { a = "1", b = "two\nthree" } },
      { "<b:text>", '"quoted text"', { b = "quoted text" } }, { "[b:text]", "  ", {} }, { "", "", {} },
      { "", "x", "there are too many arguments" }, { nil, ' a "b c" d ', { "a", "b c", "d", text = 'a "b c" d' } },
      { nil, "", { text = "" } },
    } do
      assert.same(case[3], read(case[1], case[2]))
    end
  end)

  it("are declared rightly or not at all", testing.around(function(t)
    local b = use(t)
    for declared, why in pairs {
      ["a"] = "a: <name:kind=default> or [name:kind] expected",
      ["<a"] = "<a: <name:kind=default> or [name:kind] expected",
      ["<a]"] = "<a]: <name:kind=default> or [name:kind] expected", ["<1>"] = "<1>: a name expected",
      ["<a:odd>"] = "<a:odd>: there is no kind 'odd'", ["<a:int=x>"] = "<a:int=x>: default: a whole number expected",
      ["[a=1]"] = "[a=1]: <name:kind=default> expected", ["<a> <a>"] = "<a>: the name is used twice",
      ["<a:text> <b>"] = "<b>: nothing can follow a text",
      ["[a] <b>"] = "<b>: a required argument can't follow an optional one",
    } do
      local ok, err = pcall(function() b:command("x", { args = declared }, function() end) end)
      assert.is_false(ok)
      assert.equal(("bad option 'args' of 'command' (%s)"):format(why), (err:gsub("^%S+bot_spec.lua:%d+: ", "")))
    end
  end))
end)

describe("mistakes", function()
  it("raise at the caller's line", testing.around(function(t)
    local b, f = use(t), function() end
    roll(b)
    for why, mistake in pairs {
      ["bad argument #1 to 'command' (string expected, got nil)"] = function() b:command() end,
      ["bad argument #1 to 'command' (a name of letters, digits, _ and - expected)"] = function()
        b:command("a b", {}, f)
      end,
      ["there is a command 'roll' already"] = function() b:command("roll", {}, f) end,
      ["'command' has no option 'odd'"] = function() b:command("x", { odd = 1 }, f) end,
      ["bad option 'allow' of 'command' (\"all\", \"admin\" or function expected)"] = function()
        b:command("x", { allow = "me" }, f)
      end,
      ["bad argument #3 to 'command' (function expected, got nil)"] = function() b:command("x", {}) end,
      ["bad argument #1 to 'room' (table expected, got string)"] = function() b:room(TEA) end,
      ["extension 'bot' is used already, with other options"] = function() bot.use(t.conn, { rate = 3 }) end,
    } do
      local ok, err = pcall(mistake)
      assert.is_false(ok)
      assert.equal(why, (err:gsub("^%S+bot_spec.lua:%d+: ", "")))
    end
    ext.drop(t.conn, bot)
    for why, opts in pairs {
      ["there is no option 'odd'"] = { odd = 1 }, ["bad option 'prefix' (string expected, got )"] = { prefix = "" },
      ["bad option 'admins' (a bare address expected)"] = { admins = { ANNA .. "/x" } },
      ["bad option 'rate' (number expected, got 0)"] = { rate = 0 },
    } do
      local ok, err = pcall(bot.use, t.conn, opts)
      assert.is_false(ok)
      assert.truthy(err:find(why, 1, true), err)
    end
  end))
end)
