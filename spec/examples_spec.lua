-- examples: each runs as a program of its own, as its reader would run it, and does what it promises.
local muc = require "xmpp.muc"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local LUA = os.getenv "LUA" or "lua5.4"

local bots = {} -- accounts for crowd.lua
for i = 0, 29 do bots[#bots + 1] = ("bot%d:botpw"):format(i) end
local BOTS = table.concat(bots, " ")

local function quoted(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

-- The shell command for examples/NAME.lua with arguments, with `s` in its environment; `env` has more variables.
local function command(s, name, arguments, env)
  local all = { XMPP_HOST = s.host, XMPP_PORT = s.port, XMPP_CA = s.ca, XMPP_COMPONENT_PORT = s.component_port,
    XMPP_COMPONENT = s.component, XMPP_SECRET = s.secret }
  for key, value in pairs(env or {}) do all[key] = value or nil end
  local words = { "env" }
  for key, value in pairs(all) do words[#words + 1] = key .. "=" .. quoted(value) end
  words[#words + 1] = LUA .. " examples/" .. name .. ".lua"
  for _, word in ipairs(arguments) do words[#words + 1] = quoted(word) end
  return table.concat(words, " ")
end

-- Runs it to its end. Returns its output, with stderr, and its exit status.
local function run(...)
  return shell.run(shell.HERE .. command(...))
end

-- The same, for an example that loads modules of the system, too.
local function run_with_modules(...)
  return shell.run(("LD_PRELOAD='%s' "):format(os.getenv "PRELOAD" or "") .. command(...))
end

-- Starts it, and waits for its first line. Returns that line, the pipe, the process id.
local function start(...)
  local pipe = assert(io.popen("echo $$; exec " .. command(...) .. " 2>&1"))
  local pid, line = pipe:read "*l", pipe:read "*l"
  return line, pipe, pid
end

-- Presses Ctrl-C. In LuaJIT it may end a callback instead of the wait (doc/waiting.md), so the program must be idle.
local function interrupt(pid)
  if jit then xmpp.sleep(1) end
  os.execute("kill -INT " .. pid)
end

local function lines(name)
  local n = 0
  for _ in io.lines("examples/" .. name .. ".lua") do n = n + 1 end
  return n
end

server.each(function(s)
  local function login(name, resource)
    return assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
      s.opts { resource = resource }))
  end

  describe("upload.lua", function()
    it("uploads a file, prints its URL, and sends it", function()
      local bob = login "bob"
      local path = shell.file "hello"
      local output, status = run(s, "upload", { "alice@xmpp.test", "alicepw", path, bob:jid() },
        { XMPP_UPLOAD_HOST = s.host })
      os.remove(path)
      local url = output:match "https://upload%.xmpp%.test:%d+/%S+"
      assert.is_string(url, output)
      assert.equal(0, status)
      local message = assert(bob:receive_blocking(30))
      assert.equal(url, xexpr.text(message, "body"))
      assert.equal(url, xexpr.text(xexpr.child(message, "x", "jabber:x:oob"), "url"))
      bob:stop()
    end)
  end)

  describe("send.lua", function()
    it("sends a message, says nothing, and exits with 0", function()
      local bob = login "bob"
      local output, status = run(s, "send", { "alice@xmpp.test", "alicepw", bob:jid(), "Hi & 'bye'" })
      assert.equal("", output)
      assert.equal(0, status)
      local message = assert(bob:receive_blocking(30))
      assert.equal("Hi & 'bye'", xexpr.text(message, "body"))
      assert.matches("^alice@xmpp.test/lua%-", message[2].from)
      bob:stop()
    end)

    it("takes the password from the environment", function()
      local arguments = { "alice@xmpp.test", "-", "bob@xmpp.test", "Hi" }
      assert.same({ "", 0 }, { run(s, "send", arguments, { XMPP_PASSWORD = "alicepw" }) })
      assert.equal(1, select(2, run(s, "send", arguments, { XMPP_PASSWORD = "wrong" })))
    end)

    it("fails, and says why, with a wrong password, an unknown server, a server that is not to be trusted", function()
      local function fails(text, password, env)
        local output, status = run(s, "send", { "alice@xmpp.test", password, "bob@xmpp.test", "Hi" }, env)
        assert.equal(1, status)
        assert.truthy(output:find(text, 1, true), output)
        if not jit then assert.is_nil(output:find("traceback", 1, true), output) end -- LuaJIT prints one of its own
      end
      fails("sasl: not-authorized: ", "wrong")
      fails("tcp: ECONNREFUSED: ", "alicepw", { XMPP_PORT = 1 })
      fails("dns: ", "alicepw", { XMPP_HOST = "nobody.onion" })
      fails("tls: certificate-", "alicepw", { XMPP_CA = s.certs .. "/otherca.crt" })
    end)

    it("shows its usage", function()
      local output, status = run(s, "send", { "alice@xmpp.test", "alicepw", "bob@xmpp.test" })
      assert.equal("usage: examples/send.lua JID PASSWORD TO TEXT\n", output)
      assert.equal(2, status)
    end)

    it("exits with 1 if nothing confirms that it has arrived", function()
      local p = peer.play(peer.session .. "match <message .*</message>\nclose")
      local output, status = run(s, "send", { "alice@xmpp.test", "alicepw", "bob@xmpp.test", "Hi" },
        { XMPP_HOST = p.host, XMPP_PORT = p.port, XMPP_CA = p.ca })
      assert.equal(1, status)
      assert.matches("closed: ", output)
      p:check()
    end)

    it("has 5 to 7 lines", function() assert.is_true(lines "send" >= 5 and lines "send" <= 7) end)
  end)

  describe("echo.lua", function()
    it("echoes messages until it is stopped", function()
      local line, pipe, pid = start(s, "echo", { "alice@xmpp.test", "alicepw" })
      finally(function() pipe:close() end)
      finally(function() os.execute("kill " .. pid) end)
      local echo = line:match "^echo: (alice@xmpp.test/.+)$"
      assert.is_string(echo)
      local bob = login "bob"
      assert(bob:send { "message", { to = echo, type = "chat" }, { "composing", { xmlns = "urn:example:nothing" } } })
      for _, text in ipairs { "one", "ünï & <zwei>" } do
        assert(bob:send { "message", { to = echo, type = "chat", id = text }, { "body", text } })
        local message = assert(bob:receive_blocking(30))
        assert.equal(text, xexpr.text(message, "body"))
        assert.equal(echo, message[2].from)
      end
      bob:stop()
    end)

    it("stops its connection when Ctrl-C is pressed, and prints nothing", function()
      local alice = login "alice"
      alice:send { "presence" }
      local line, pipe, pid = start(s, "echo", { "alice@xmpp.test/echo", "alicepw" })
      assert.equal("echo: alice@xmpp.test/echo", line)
      -- The server would keep a session that is cut off, so that it can be resumed.
      local function comes(kind)
        local presence
        repeat
          presence = assert(alice:receive_blocking(30))
        until presence[2].from == "alice@xmpp.test/echo" and presence[2].type == kind
      end
      comes(nil)
      interrupt(pid)
      assert.equal("", pipe:read "*a")
      assert.truthy(pipe:close())
      comes "unavailable"
      alice:stop()
    end)

    it("ends with an error when the connection ends", function()
      local _, pipe = start(s, "echo", { "alice@xmpp.test/echo", "alicepw" })
      local other = login("alice", "echo")
      assert.matches("closed: conflict: ", pipe:read "*a")
      local ok, _, status = pipe:close()
      if status then assert.same({ nil, 1 }, { ok, status }) end -- Lua 5.1 doesn't return the status
      other:stop()
    end)

    it("has at most 12 lines", function() assert.is_true(lines "echo" <= 12) end)
  end)

  describe("bot.lua", function()
    local TEA = "examples@conference.xmpp.test"

    -- Bob is in the bot's room; the bot's messages are in `heard`.
    local function in_the_room()
      local bob, heard = login("bob", "guest"), {}
      local room = assert(muc.join(bob, TEA, "bob", { create = "default" }))
      room:on("message", function(m)
        if m.nick == "kettle" and not m.history then heard[#heard + 1] = m.text end
      end)
      local function hear(pattern)
        local limit = os.time() + 30
        while not (heard[1] and table.remove(heard, 1):find(pattern)) do
          assert(os.time() < limit, "not heard: " .. pattern)
          xmpp.step(0.05)
        end
      end
      return bob, room, hear
    end

    it("greets, obeys, and comes back after the server was restarted", function()
      local _, pipe, pid = start(s, "bot", { "alice@xmpp.test", "alicepw", TEA, "kettle" })
      finally(function() pipe:close() end)
      finally(function() os.execute("kill " .. pid) end)
      local bob, room, hear = in_the_room()
      hear "^Hello, bob$"
      room:say "!dice 1"
      hear "^1$"
      room:say "!time"
      hear "^%d%d:%d%d"
      room:say "!nothing"
      room:say "!help"
      hear "^Commands:\n!dice <sides:int=6>: throws a die\n!help .*\n!time: the time, by Greenwich$"
      bob:stop()
      s:restart()
      bob, room, hear = in_the_room()
      local limit = os.time() + 60
      while not room.occupants.kettle do
        assert(os.time() < limit, "the bot doesn't come back")
        xmpp.step(0.05)
      end
      room:say "!dice 1"
      hear "^1$"
      interrupt(pid)
      while room.occupants.kettle do
        assert(os.time() < limit, "the bot doesn't leave")
        xmpp.step(0.05)
      end
      bob:stop()
    end)

    it("has at most 20 lines", function() assert.is_true(lines "bot" <= 20) end)
  end)

  describe("upgrade.lua", function()
    it("is replaced in the middle of a conversation", function()
      local state = os.tmpname()
      os.remove(state)
      local line, pipe = start(s, "upgrade", { "alice@xmpp.test/bot", "alicepw", state })
      local bot = line:match "^upgrade: (alice@xmpp.test/.+)$"
      local bob = login "bob"
      local function say(text)
        assert(bob:send { "message", { to = bot, type = "chat" }, { "body", text } })
      end
      local function hear()
        local message = assert(bob:receive_blocking(30))
        assert.equal(bot, message[2].from)
        return xexpr.text(message, "body")
      end
      say "one"
      assert.equal("1: one", hear())
      say "upgrade"
      say "two"
      say "three"
      assert.equal("2: two", hear())
      assert.equal("3: three", hear())
      assert.equal("upgrade: " .. bot .. " goes on", pipe:read "*l")
      assert.is_nil(io.open(state), "the state is used up")
      local other = login("alice", "bot") -- ends the bot's session by a conflict
      assert.matches("conflict", pipe:read "*a")
      pipe:close()
      other:stop()
      bob:stop()
    end)
  end)

  describe("token.lua, of a server without tokens,", function()
    it("sends, and keeps nothing", function()
      local bob, state = login("bob", "desk"), os.tmpname()
      os.remove(state)
      local output, status = run_with_modules(s, "token", { "alice@xmpp.test", "alicepw", state, bob:jid(), "hello" })
      assert.equal(0, status, output)
      assert.matches("^token: logged in by SCRAM%-SHA", output)
      assert.equal("hello", xexpr.text(assert(bob:receive_blocking(30)), "body"))
      assert.is_nil(io.open(state))
      bob:stop()
    end)
  end)

  describe("iq.lua", function()
    it("asks the server", function()
      local output, status = run(s, "iq", { "alice@xmpp.test", "alicepw" })
      assert.matches("^ping: xmpp.test is there\nversion: (%S+) %d[^\n]*\n$", output)
      assert.equal(s.name, output:match "version: (%S+)":lower())
      assert.equal(0, status)
    end)

    it("reports an error", function()
      local output, status = run(s, "iq", { "alice@xmpp.test", "alicepw", "nobody@xmpp.test/nowhere" })
      assert.equal("ping: service-unavailable\nquery: service-unavailable\n", output)
      assert.equal(0, status)
    end)
  end)

  describe("roster.lua", function()
    it("shows contacts and presence, accepts colleagues and subscribes to them", function()
      local bob = login "bob"
      local r = require "xmpp.roster".use(bob)
      assert(r:fetched(30))
      local line, pipe, pid = start(s, "roster", { "alice@xmpp.test", "alicepw", "carol@xmpp.test" })
      finally(function() pipe:close() end)
      finally(function() os.execute("kill " .. pid) end)
      local heard = { [line] = true }
      local function hears(text)
        while not heard[text] do heard[assert(pipe:read "*l", text)] = true end
      end
      hears "roster of alice@xmpp.test"
      hears "added carol@xmpp.test: none"
      assert(require "xmpp.presence".set(bob, { show = "away" }))
      local asked
      r:on("request", function(jid)
        asked = jid
        r:approve(jid)
      end)
      assert(r:subscribe "alice@xmpp.test")
      local limit = os.time() + 30
      while not (asked and r.items["alice@xmpp.test"].subscription == "both") do
        assert(os.time() < limit)
        xmpp.step(0.05)
      end
      assert.equal("alice@xmpp.test", asked)
      hears "changed bob@xmpp.test: both"
      hears(tostring(bob:jid()) .. " is away")
      assert(bob:stop())
      hears(tostring(bob:jid()) .. " is unavailable")
    end)

    it("shows its usage", function()
      assert.same({ "usage: examples/roster.lua JID PASSWORD\n", 2 }, { run(s, "roster", { "alice@xmpp.test" }) })
    end)
  end)

  describe("pubsub.lua", function()
    it("creates a node, publishes, and shows what others publish", function()
      local pubsub = require "xmpp.pubsub"
      local alice = login "alice"
      local service = "pubsub." .. s.domain
      local line, pipe, pid = start(s, "pubsub", { "alice@xmpp.test", "alicepw", "-", "notes", "first" })
      finally(function() pipe:close() end)
      finally(function() os.execute("kill " .. pid) end)
      assert.equal("listening to notes", line)
      assert.matches("^item %S+: first$", pipe:read "*l")
      assert(pubsub.publish(alice, service, "notes", { "note", { xmlns = "urn:x" }, "second" }, { id = "2" }))
      assert.equal("item 2: second", pipe:read "*l")
      local other, other_pipe, other_pid = start(s, "pubsub", { "alice@xmpp.test", "alicepw", service, "notes" })
      os.execute("kill " .. other_pid)
      other_pipe:close()
      assert.matches("^%a+ %S+: %a+$", other) -- a service may send the last item, too
      assert(pubsub.unsubscribe(alice, service, "notes"))
      alice:send { "presence" } -- takes what is stored offline, so that no later test gets it
      assert(alice:ping(30))
      alice:stop()
    end)

    it("shows its usage", function()
      assert.same({ "usage: examples/pubsub.lua JID PASSWORD SERVICE NODE\n", 2 }, { run(s, "pubsub",
        { "alice@xmpp.test", "alicepw" }) })
    end)
  end)

  describe("component.lua", function()
    it("answers questions, and refuses what it does not know", function()
      local line, pipe, pid = start(s, "component", { s.host, s.component_port, s.component, s.secret })
      finally(function() pipe:close() end)
      finally(function() os.execute("kill " .. pid) end)
      assert.equal("component: " .. s.component, line)
      local anybody = "anybody@" .. s.component
      local output, status = run(s, "iq", { "alice@xmpp.test", "alicepw", anybody })
      assert.equal("ping: " .. anybody .. " is there\nversion: component.lua " .. xmpp._VERSION .. "\n", output)
      assert.equal(0, status)
      local bob = login "bob"
      local function ask(xmlns)
        return assert(bob:send_await({ "iq", { type = "get", to = s.component }, { "query", { xmlns = xmlns } } }, 30))
      end
      local disco = "http://jabber.org/protocol/disco#info"
      local told = xexpr.match { "iq", { type = "result" }, { "query", { "feature", { var = disco } } } }
      local refused = xexpr.match { "iq", { type = "error" }, { "error", { "service-unavailable" } } }
      assert.is_true(told(ask(disco)))
      assert.is_true(refused(ask "urn:example:x"))
      local entity = assert(require "xmpp.disco".info(bob, anybody))
      assert.same({ category = "component", type = "generic", name = "component.lua" }, entity.identities[1])
      for _, var in ipairs { "urn:xmpp:ping", "jabber:iq:version" } do assert.is_true(entity.features[var]) end
      bob:stop()
    end)

    it("ends in order by TERM, and reports what it has left", function()
      local line, pipe, pid = start(s, "component", { s.host, s.component_port, s.component, s.secret })
      finally(function() pipe:close() end)
      assert.equal("component: " .. s.component, line)
      os.execute("kill " .. pid)
      assert.equal("component: 0 handled, 0 left unread, in order", pipe:read "*l")
    end)

    it("fails with a wrong secret, and shows its usage", function()
      local output, status = run(s, "component", { s.host, s.component_port, s.component, "wrong" })
      assert.matches("stream: not%-authorized: ", output)
      assert.equal(1, status)
      output, status = run(s, "component", { s.host, s.component_port, s.component })
      assert.equal("usage: examples/component.lua HOST PORT DOMAIN SECRET\n", output)
      assert.equal(2, status)
    end)
  end)

  describe("crowd.lua", function()
    it("has many accounts in one process, tells what they take, and answers for each", function()
      local line, pipe, pid = start(s, "crowd", { s.domain, 30, "botpw", 1, 2 })
      finally(function() pipe:close() end)
      finally(function() os.execute("kill -KILL " .. pid .. " 2>/dev/null") end)
      assert.matches("^crowd: 15 connections, %-?[%d.]+ KB each, [%d.]+ ms of processor time for each login$", line)
      assert.matches("^crowd: at rest, [%d.]+ %% of a processor$", pipe:read "*l")
      local bob = login "bob"
      bob:send { "presence" }
      for number = 0, 28, 2 do
        bob:send { "message", { to = ("bot%d@%s"):format(number, s.domain), type = "chat" }, { "body", "hello" } }
      end
      local heard, n = {}, 0
      while n < 15 do
        local stanza = assert(bob:receive_blocking(30))
        if stanza[1] == "message" then
          heard[xmpp.jid(stanza[2].from).localpart], n = xexpr.text(stanza, "body"), n + 1
        end
      end
      for number = 0, 28, 2 do assert.equal("You said: hello", heard["bot" .. number]) end
      bob:stop()
      os.execute("kill -TERM " .. pid)
      assert.is_nil(pipe:read "*l")
    end)

    it("tells how it is used", function()
      local output, status = run(s, "crowd", { s.domain })
      assert.equal("usage: examples/crowd.lua DOMAIN COUNT PASSWORD [PART OF]\n", output)
      assert.equal(2, status)
    end)
  end)

  describe("archive.lua", function()
    it("shows what was said in the last day, in both directions, with one person", function()
      local alice, bob = login "alice", login("bob", "there")
      for _, conn in ipairs { alice, bob } do -- both are online, so that nothing is stored for later tests
        conn:send { "presence" }
        assert(conn:ping(30))
      end
      for i = 1, 60 do -- more than one page
        local from, to = alice, bob
        if i % 3 == 0 then from, to = bob, alice end
        from:send { "message", { to = to:jid():bare(), type = "chat" }, { "body", {}, "number " .. i } }
        assert(from:ping(30)) -- so that the messages come in this order
      end
      alice:send { "message", { to = "carol@" .. s.domain, type = "chat" }, { "body", {}, "else" } }
      assert(alice:flush(30))
      alice:stop()
      bob:stop()
      local output, status = run(s, "archive", { "alice@xmpp.test", "alicepw", "bob@xmpp.test" })
      assert.equal(0, status, output)
      local n = 0
      for line in output:gmatch "[^\n]+" do
        if line:find("  number ", 1, true) then
          n = n + 1
          assert.matches(n % 3 == 0 and "^%d+%-%d+%-%d+T[%d:]+Z  bob@xmpp%.test/there  number " .. n .. "$" or
            "^%d+%-%d+%-%d+T[%d:]+Z  %-> bob@xmpp%.test  number " .. n .. "$", line)
        end
      end
      assert.equal(60, n)
      assert.is_nil(output:find("else", 1, true))
      assert.matches("archive: %d+ messages\n$", output)
    end)
  end)

  describe("gateway.lua", function()
    local has_socket, socket = pcall(require, "socket")
    if not has_socket then return pending "gateway.lua (this Lua has no luasocket)" end
    local conns, server_end, irc, rest, heard

    -- An IRC server with one channel, as far as the test speaks for it.
    local function read_irc()
      if not irc then
        irc = server_end:accept()
        if irc then irc:settimeout(0) end
        return
      end
      local line, _, part = irc:receive("*l", rest)
      rest = part or ""
      if line then heard[#heard + 1] = (line:gsub("\r$", "")) end
      return line
    end

    local function turn_until(what, why)
      local limit = os.time() + 40
      while not what() do
        assert(os.time() < limit, why)
        repeat until not read_irc()
        xmpp.step(0.02)
      end
    end

    local function irc_hears(pattern)
      turn_until(function()
        for i, line in ipairs(heard) do
          if line:find(pattern) then table.remove(heard, i) return true end
        end
      end, "IRC doesn't hear " .. pattern)
    end

    local function irc_says(line) assert(irc:send(line .. "\r\n")) end

    before_each(function()
      server_end = assert(socket.bind("127.0.0.1", 0))
      server_end:settimeout(0)
      conns, irc, rest, heard = {}, nil, "", {}
    end)
    after_each(function()
      for _, conn in ipairs(conns) do conn:stop() end
      if irc then irc:close() end
      server_end:close()
    end)

    it("shows a channel's users in a room, and the room's in the channel", function()
      local alice = login "alice"
      conns[1] = alice
      local jid = "irc-channel@conference." .. s.domain
      local room = assert(muc.join(alice, jid, "alice", { create = "default" }))
      local said = {}
      room:on("message", function(m) said[#said + 1] = m.nick .. ": " .. m.text end)
      local function room_hears(text)
        turn_until(function()
          for i, line in ipairs(said) do
            if line == text then table.remove(said, i) return true end
          end
        end, "the room doesn't hear " .. text)
      end
      local function is_in(nick)
        turn_until(function() return room.occupants[nick] end, nick .. " doesn't come")
      end
      local line, pipe, pid = start(s, "gateway", { s.host, s.component_port, s.component, s.secret, "127.0.0.1",
        select(2, server_end:getsockname()), "#tea", jid })
      finally(function() pipe:close() end)
      finally(function() os.execute("kill " .. pid) end)
      assert.equal("gateway: #tea is " .. jid, line)
      irc_hears "^NICK xmpp%-bridge$"
      irc_says ":irc.test 433 * xmpp-bridge :taken"
      irc_hears "^NICK xmpp%-bridge_$"
      irc_says ":irc.test 001 xmpp-bridge_ :welcome"
      irc_hears "^JOIN #tea$"
      irc_says ":xmpp-bridge_!b@h JOIN #tea"
      irc_says ":irc.test 353 xmpp-bridge_ = #tea :xmpp-bridge_ @anna +alice"
      is_in "anna"
      is_in "alice[irc]" -- the nick "alice" is taken in the room
      is_in "xmpp-bridge"
      irc_says "PING :x"
      irc_hears "^PONG :x$"
      irc_says ":anna!a@h PRIVMSG #tea :hello \0034,1red\3 <b>&amp;</b>"
      room_hears "anna: hello red <b>&amp;</b>"
      irc_says ":alice!a@h PRIVMSG #tea :\1ACTION waves gr\252n\1"
      room_hears "alice[irc]: /me waves grün"
      irc_says ":stranger!a@h PRIVMSG #tea :nobody"
      irc_says ":anna!a@h PRIVMSG"
      irc_says ":!a@h JOIN"
      assert(room:say "hi\nQUIT :injected\r\nPRIVMSG x :y")
      irc_hears "^PRIVMSG #tea :<alice> hi$"
      irc_hears "^PRIVMSG #tea :QUIT :injected$"
      irc_hears "^PRIVMSG #tea :PRIVMSG x :y$"
      assert(room:say(("ä"):rep(250)))
      irc_hears("^PRIVMSG #tea :<alice> " .. ("ä"):rep(196) .. "$")
      irc_hears("^PRIVMSG #tea :" .. ("ä"):rep(54) .. "$")
      alice:send { "message", { to = "anna@" .. s.component, type = "chat" }, { "body", {}, "psst" } }
      irc_hears("^PRIVMSG anna :<alice@" .. s.domain .. "> psst$")
      assert(room:whisper("anna", "you there"))
      irc_hears "^PRIVMSG anna :<alice> you there$"
      irc_says ":anna!a@h NICK :Anna{}"
      is_in "Anna{}"
      turn_until(function() return not room.occupants.anna end, "anna doesn't go")
      irc_says ":alice!a@h QUIT :gone"
      turn_until(function() return not room.occupants["alice[irc]"] end, "alice doesn't go")
      assert(room:kick "Anna{}")
      irc_says ":Anna{}!a@h PRIVMSG #tea :still here"
      assert(room:say "end")
      irc_hears "^PRIVMSG #tea :<alice> end$"
      for _, left in ipairs(heard) do assert.is_nil(left:find("hello", 1, true), left) end -- no echo of its own
      assert.is_nil(require("xmpp.disco").info(alice, "stranger@" .. s.component))
    end)

    it("shows its usage", function()
      local output, status = run(s, "gateway", { "127.0.0.1" })
      assert.equal("usage: examples/gateway.lua HOST PORT DOMAIN SECRET IRC-HOST IRC-PORT CHANNEL ROOM\n", output)
      assert.equal(2, status)
    end)
  end)

  describe("seed.lua", function()
    -- The lines, each split into its two columns.
    local function forms(output)
      local found = {}
      for line in output:gmatch "[^\n]+" do found[#found + 1] = { line:sub(1, 24):match "^(.-) *$", line:sub(25) } end
      return found
    end

    it("goes through the Racket documentation", function()
      local output, status = run(s, "seed", { "alice@xmpp.test/seed", "alicepw" })
      assert.same({
        { "xmpp-connect-client", "true, alice@xmpp.test/seed" }, { "xmpp-send", "true" },
        { "xmpp-connect-component", s.component }, { "xmpp-stop!", "true" },
        { "xmpp-send", "true" }, { "  as it came", "Hello" },
        { "xmpp-receive", "presence, alice@xmpp.test/seed" }, { "xmpp-receive-blocking", "message, Are you there?" },
        { "xmpp-set-handler", "message by alice" }, { "  by default", "true" }, { "xmpp-stop-handler", "" },
        { "xmpp-handler", "nil" }, { "xmpp-set-callback", "Something" }, { "xmpp-set-callback/once", "2, 1" },
        { "xmpp-unset-callback", "true" }, { "xmpp-callbacks", "0" }, { "xmpp-send/callback", "result, true" },
        { "xmpp-send/await", "result, xmpp.test" }, { "  without a callback", "result" }, { "stanza/c", "true" },
        { "  broken", "false, stanza[2].to: string expected, got boolean" }, { "xmpp-handler/c", "true" },
        { "xmpp-callback/c", "true" }, { "xmpp-callback/once/c", "false, function expected, got string" },
        { "string->jid", "user@example.net/desk, user, example.net, desk" }, { "xmpp-id", "true" },
        { "XMPP-C2S-PORT", "5222" }, { "xmpp-stop!", "true" },
      }, forms(output), output)
      assert.equal(0, status)
    end)

    it("does without a component", function()
      local output, status = run(s, "seed", { "alice@xmpp.test", "alicepw" }, { XMPP_SECRET = false })
      assert.is_nil(output:find("component", 1, true))
      assert.equal(0, status)
    end)
  end)
end, { upload = "yes", more_users = BOTS })

-- For servers with tokens.
local function token_rows(s)
  describe("token.lua", function()
    it("logs in by the token that it has kept, until the server has deleted it", function()
      shell.in_folder(function(folder)
        local state = folder .. "/it's 100% mine"
        local bob = assert(xmpp.connect_client("bob@" .. s.domain .. "/desk", s.users.bob, s.host, s.port, s.opts()))
        local function send(password, text, to)
          return run_with_modules(s, "token", { "alice@" .. s.domain, password, state, to or bob:jid(), text })
        end
        local output, status = send(s.users.alice, "one")
        assert.equal(0, status, output)
        assert.matches("^token: logged in by SCRAM%-SHA%-[%d]+%-PLUS\n$", output)
        assert.equal("600", shell.succeed(("stat -c %%a '%s'"):format((state:gsub("'", "'\\''")))):match "%d+")
        for _, text in ipairs { "two", "three" } do
          output, status = send("-", text)
          assert.same({ "token: logged in by HT-SHA-256-EXPR\n", 0 }, { output, status })
        end
        for _, text in ipairs { "one", "two", "three" } do
          assert.equal(text, xexpr.text(assert(bob:receive_blocking(30)), "body"))
        end
        local kept = shell.read(state)
        output, status = send("-", "", "logout")
        assert.same({ "", 0 }, { output, status })
        assert.is_nil(io.open(state))
        local file = assert(io.open(state, "w"))
        file:write(kept)
        file:close()
        output, status = send("-", "four")
        assert.equal(1, status)
        assert.matches("not%-authorized", output)
        bob:stop()
      end)
    end)
  end)
end

server.each(token_rows, { extra_modules = "sasl2 sasl2_bind2 sasl2_sm sasl2_fast" }, { "prosody13" })
server.each(token_rows, { extra_modules = "auth_fast" }, { "ejabberd24" })
