-- cmd_live: the command `xmpp` as a process, from a shell, against real servers: what other users of the machine can
-- see of it, its exit statuses, what interrupts it, and what it shows on a terminal.
local cjson = require "cjson"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"
local LIMIT = 60 -- in seconds, for everything that is run

local folder -- for the command's configuration and other files of a test

local function write(name, text, mode)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  shell.succeed(("chmod %s '%s'"):format(mode or "600", path))
  return path
end

-- Defines the shell's function `xmpp`: the command without our own environment. It removes the last test's log, so that
-- until_there finds nothing in it before the process in the background has opened its own.
local function prelude(env)
  return ("rm -f %s/log\nexport HOME=%s XDG_CONFIG_HOME=%s XDG_STATE_HOME=%s/state LC_ALL=C.UTF-8 TERM=xterm\n"
    .. "unset NO_COLOR XMPP_PASSWORD XMPP_PASSWORD_FILE CREDENTIALS_DIRECTORY DBUS_SESSION_BUS_ADDRESS\n"
    .. "export %s %s\nxmpp() { timeout -k 5 %d %s bin/xmpp \"$@\"; }\n"
    .. "until_there() { for i in $(seq 150); do grep -qs -- \"$1\" %s/log && return; sleep 0.1; done; }\n"
    .. "ends() { for i in $(seq 150); do kill -0 $1 2>/dev/null || break; sleep 0.1; done; kill -KILL $1 2>/dev/null; "
    .. "wait $1; echo \"ended $?\"; }\n"):format(folder, folder,
    folder, folder, (shell.HERE:gsub("(?%.lua)'", "%1;;'"):gsub("(?%.so)'", "%1;;'")), env or "", LIMIT, LUA, folder)
end

local function run(script, env) return shell.run("bash -c " .. "'" .. (prelude(env) .. script):gsub("'", "'\\''")
  .. "'") end

local function configure(s)
  shell.succeed(("mkdir -p %s/xmpp && chmod 700 %s/xmpp"):format(folder, folder))
  write("alice.password", s.users.alice .. "\n")
  local where = ("host = %s\nport = %d\nca-file = %s\n"):format(s.host, s.port, s.ca)
  write("xmpp/config.lua", ("[default]\njid = alice@xmpp.test\npassword-file = %s/alice.password\n%s\n"
    .. "[bob]\njid = bob@xmpp.test/here\npassword-command = cat %s/bob.password\n%s\n"
    .. "[wrong]\njid = carol@xmpp.test\npassword-command = echo wrong\n%s"):format(folder, where, folder, where, where))
  write("bob.password", s.users.bob .. "\n")
end

local function login(s, name, resource)
  local conn = assert(xmpp.connect_client(name .. "@xmpp.test", s.users[name], s.host, s.port,
    s.opts { resource = resource }))
  return conn
end

-- Runs the command on a terminal: see spec/support/terminal.py; the command line is the shell's.
local function on_terminal(steps, command, env)
  local words = {}
  for i, step in ipairs(steps) do words[i] = "'" .. step:gsub("'", "'\\''") .. "'" end
  return run(("LD_PRELOAD= spec/support/terminal.py %d %s -- %s bin/xmpp %s"):format(LIMIT, table.concat(words, " "),
    LUA, command), env)
end

describe("the command", function()
  setup(function() folder = shell.folder() end)
  teardown(function() shell.remove(folder) end)

  server.each(function(s)
    before_each(function() configure(s) end)

    describe("send", function()
      it("ends with 0 when the message has arrived", function()
        local bob = login(s, "bob", "desk")
        local text, status = run "echo 'hello & <bob> ☕' | xmpp send bob@xmpp.test/desk"
        assert.same({ "", 0 }, { text, status })
        local got = assert(bob:receive_blocking(10))
        assert.equal("hello & <bob> ☕", xmpp.xexpr.text(got, "body"))
        assert.matches("^alice@xmpp%.test/xmpp%-", got[2].from)
        bob:stop()
      end)

      it("ends with 1 when it comes back, and says why", function()
        local text, status = run "xmpp send nobody@xmpp.test/x -- hello"
        assert.equal(1, status, text)
        assert.matches("^xmpp: nobody@xmpp%.test/x: stanza: service%-unavailable", text)
      end)

      it("lists those whom it has not reached, with 10", function()
        local bob = login(s, "bob", "desk")
        local text, status = run "xmpp send bob@xmpp.test/desk nobody@xmpp.test/x -- hello"
        assert.equal(10, status, text)
        assert.matches("xmpp: nobody@xmpp%.test/x: stanza: ", text)
        assert.matches("xmpp: 1 of 2 messages have not arrived\n$", text)
        assert.equal("hello", xmpp.xexpr.text(assert(bob:receive_blocking(10)), "body"))
        bob:stop()
      end)

      it("sends lines, and stanzas, from a file and from standard input", function()
        local bob = login(s, "bob", "desk")
        write("lines", "one\ntwo\n")
        assert.same({ "", 0 }, { run(("xmpp send --lines -f %s/lines bob@xmpp.test/desk"):format(folder)) })
        assert.same({ "", 0 },
          { run [[printf '<message to="bob@xmpp.test/desk"><body>three</body></message>' | xmpp send --raw]] })
        for _, text in ipairs { "one", "two", "three" } do
          assert.equal(text, xmpp.xexpr.text(assert(bob:receive_blocking(10)), "body"))
        end
        bob:stop()
      end)
    end)

    describe("listen", function()
      it("hears what is sent, as JSON that others read", function()
        local text, status = run [[
          xmpp listen -a bob -v --json -n 1 -W 30 2>$HOME/log & pid=$!
          until_there carbons
          xmpp send bob@xmpp.test/here -- 'say "hi"'
          wait $pid]]
        assert.equal(0, status, text)
        local last
        for line in text:gmatch "[^\n]+" do last = cjson.decode(line) end
        assert.same({ "message", 'say "hi"', "bob@xmpp.test/here", false },
          { last.type, last.body, last.to, last.own })
        assert.matches("^alice@xmpp%.test/xmpp%-", last.from)
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", last.time)
      end)

      it("ends with 141 when its reader has gone, and closes the stream", function()
        local text, status = run [[
          (sleep 2; xmpp send bob@xmpp.test/here -- one; xmpp send bob@xmpp.test/here -- two;
            xmpp send bob@xmpp.test/here -- three) 2>/dev/null &
          xmpp listen -a bob -v | head -n 1 >/dev/null
          exit ${PIPESTATUS[0]}]]
        assert.equal(141, status, text)
        assert.matches("\nxmpp: the reader of the output has closed it\n", text)
        assert.truthy(text:find("-> </stream:stream>", 1, true), text)
      end)
    end)

    it("answers questions about the server", function()
      local text, status = run "xmpp version"
      assert.equal(0, status, text)
      assert.equal(s.name:lower(), text:match "^xmpp%.test: (%S+)":lower())
      text = run "xmpp disco --json"
      local is = {}
      for _, identity in ipairs(cjson.decode(text).identities) do is[identity.category] = true end
      assert.is_true(is.server)
      text = run "xmpp disco --items --json"
      for line in text:gmatch "[^\n]+" do assert.equal("item", cjson.decode(line).type) end
      text, status = run "xmpp ping -n 2 -i 0"
      assert.equal(0, status, text)
      assert.matches("xmpp%.test: 2 sent, 2 answered; least %d", text)
      text, status = run "xmpp time xmpp.test && xmpp last xmpp.test"
      assert.equal(0, status, text)
      assert.matches("xmpp%.test: %d%d%d%d%-.* from here\nxmpp%.test: up for %d", text)
    end)

    it("checks the server, with an account and without", function()
      local text, status = run "xmpp check"
      assert.equal(0, status, text)
      assert.matches("^XMPP OK %- dns [%d.]+s, tcp [%d.]+s, tls [%d.]+s, login [%d.]+s, ping [%d.]+s, echo [%d.]+s, "
        .. "muc [%d.]+s, certificate %d+d | dns=[%d.]+s;1;5 .* cert=82%dd;14;7\n$", text)
      local where = ("--host %s --port %d --ca-file %s"):format(s.host, s.port, s.ca)
      text, status = run("xmpp check xmpp.test " .. where)
      assert.equal(0, status, text)
      assert.matches("^XMPP OK %- dns [%d.]+s, tcp [%d.]+s, tls [%d.]+s, certificate %d+d | ", text)
      text, status = run(("xmpp check xmpp.test --host %s --port 1"):format(s.host))
      assert.equal(2, status, text)
      assert.matches("^XMPP CRITICAL %- tcp: tcp: ECONNREFUSED", text)
    end)

    it("exports the archive, and continues where it was", function()
      local bob = login(s, "bob", "past")
      local state = folder .. "/export-" .. s.name
      local function say(first, last)
        for i = first, last do
          assert(bob:send { "message", { to = "alice@xmpp.test", type = "chat" }, { "body", {}, "line " .. i } })
          assert(bob:ping(30)) -- so that they come in this order
        end
      end
      local function export()
        local text, status = run("xmpp archive export --json --with bob@xmpp.test --since 1h --resume " .. state)
        assert.equal(0, status, text)
        local list = {}
        for line in text:gmatch "[^\n]+" do
          local body = cjson.decode(line).body
          if body:find "^line " then list[#list + 1] = body end
        end
        return list
      end
      say(1, 105)
      local list = export()
      assert.same({ 105, "line 1", "line 105" }, { #list, list[1], list[105] })
      assert.same({}, export())
      say(106, 107)
      assert.same({ "line 106", "line 107" }, export())
    end)

    it("talks in rooms, and knows who is there", function()
      local room_jid = "cmd@conference.xmpp.test"
      local text, status = run(("xmpp send -r %s -- hello"):format(room_jid))
      assert.equal(1, status, text)
      assert.matches("there is no room", text)
      local bob = login(s, "bob", "desk")
      local room = assert(require "xmpp.muc".join(bob, room_jid, "bobby", { create = "default" }))
      text, status = run(("echo 'hello all' | xmpp send -r --nick shell %s"):format(room_jid))
      assert.equal(0, status, text)
      text, status = run(("xmpp check --only muc --room %s"):format(room_jid))
      assert.equal(0, status, text)
      assert.matches("^XMPP OK %- muc [%d.]+s | muc=[%d.]+s;1;5\n$", text)
      text, status = run(("xmpp muc who --json %s"):format(room_jid))
      assert.equal(0, status, text)
      assert.equal("bobby", cjson.decode(text).nick)
      text, status = run(("xmpp muc history --json -n 5 %s"):format(room_jid))
      assert.equal(0, status, text)
      assert.equal("hello all", cjson.decode(text:match "[^\n]+").body)
      local closed = { ["muc#roomconfig_roomsecret"] = "0pen" }
      for _, field in ipairs(assert(room:config()).fields) do -- ejabberd's has another switch
        local switch = "muc#roomconfig_passwordprotectedroom"
        if field.var == switch then closed[switch] = true end
      end
      assert(room:config(closed))
      text, status = run(('export -f xmpp; setsid -w bash -c "xmpp send -r %s -- locked"'):format(room_jid))
      assert.equal(1, status, text)
      assert.matches("requires a password: set password%-command or password%-file in a section %[room cmd@", text)
      write("room.password", "0pen\n")
      text, status = run(("printf '\\n[room %%s]\\npassword-file = %%s/room.password\\n' %s %s >>%s/xmpp/config.lua; "
        .. "xmpp send -v -r %s -- opened"):format(room_jid, folder, folder, room_jid))
      assert.equal(0, status, text)
      assert.is_nil(text:find("0pen", 1, true), text)
      room:leave()
      bob:stop()
    end)

    it("changes the roster", function()
      local text, status = run [[
        xmpp roster add carol@xmpp.test --name Carol --group a --group b && xmpp roster --json && \
          xmpp roster remove carol@xmpp.test && xmpp roster list]]
      assert.equal(0, status, text)
      assert.same({ type = "contact", jid = "carol@xmpp.test", name = "Carol", subscription = "none",
        groups = { "a", "b" } }, cjson.decode(text))
      if s.name ~= "prosody" then return end -- ejabberd removes users that aren't there
      text, status = run "xmpp roster remove carol@xmpp.test"
      assert.equal(1, status, text)
      assert.matches("item%-not%-found", text)
    end)

    it("publishes items, and manages a picture and bookmarks", function()
      write("me.png", "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\0\2\0\0\0\3\8\6\0\0\0")
      local script = [[
        echo "<note xmlns='urn:x'>one</note>" | xmpp pubsub publish --pep --access whitelist urn:notes first || exit 1
        xmpp pubsub get --pep urn:notes
        xmpp pubsub subscribe --pep urn:notes -n 1 -W 30 >%s/log & pid=$!
        for i in $(seq 20); do
          sleep 0.5; echo "<note xmlns='urn:x'>two</note>" | xmpp pubsub publish --pep urn:notes second >/dev/null
          kill -0 $pid 2>/dev/null || break
        done
        wait $pid; echo "ended $?"; tail -n 1 %s/log
        xmpp avatar set %s/me.png && xmpp avatar get >%s/got.png && cmp %s/me.png %s/got.png && echo the same
        xmpp bookmark add tea@conference.xmpp.test --name Tea && xmpp bookmark
        xmpp bookmark remove tea@conference.xmpp.test && xmpp bookmark]]
      local text, status = run((script:gsub("%%s", folder)))
      assert.equal(0, status, text)
      local id = "%x+\n"
      assert.matches("^first\nfirst  <note xmlns='urn:x'>one</note>\nended 0\n%a+  <note xmlns='urn:x'>%a+</note>\n"
        .. id .. "the same\ntea@conference%.xmpp%.test  Tea\n$", text)
    end)

    describe("reveals no secret:", function()
      -- What every user of the machine can read of a process of the command, which listens.
      local function seen(more)
        return run(([[
          %s bin/xmpp listen %s -v -W 30 2>%s/log & pid=$!
          until_there carbons
          tr '\0' ' ' </proc/$pid/cmdline; echo
          tr '\0' '\n' </proc/$pid/environ
          kill $pid; ends $pid]]):format(LUA, more, folder))
      end

      it("neither its arguments nor its environment contain one", function()
        for _, account in ipairs { "-a default", "-a bob" } do
          local text = seen(account)
          assert.matches("bin/xmpp listen " .. account:gsub("%-", "%%-"), text)
          assert.matches("\nHOME=", text)
          assert.matches("ended 130", text)
          for _, name in ipairs { "alice", "bob" } do assert.is_nil(text:find(s.users[name], 1, true), text) end
        end
      end)

      it("its wire log contains none", function()
        local text, status = run "xmpp ping -v -n 1"
        assert.equal(0, status, text)
        assert.matches("%[masked%]", text)
        assert.is_nil(text:find(s.users.alice, 1, true))
        for word in text:gmatch "[%w+/=]+" do
          local plain = xmpp.unbase64(word)
          assert.is_nil(plain and plain:find(s.users.alice, 1, true))
        end
      end)
    end)

    describe("ends", function()
      local function ends(status, pattern, script)
        local text, got = run(script)
        assert.equal(status, got, text)
        assert.matches(pattern, text)
        local lines = select(2, text:gsub("\n", "\n"))
        assert.equal(1, lines, text)
      end

      it("with 3 for a broken configuration, with file and line", function()
        write("xmpp/config.lua", "[default]\njid = alice@xmpp.test\npassword file = x\n")
        ends(3, "^xmpp: /[^\n]+/xmpp/config%.lua:3: ", "xmpp ping")
      end)

      it("with 3 for a secret that others can read", function()
        write("alice.password", s.users.alice, "644")
        ends(3, "^xmpp: /[^\n]+/alice%.password contains a secret, and others may read or change it: chmod 600 '/",
          "xmpp ping")
      end)

      it("with 4 for a name that doesn't exist", function()
        ends(4, "^xmpp: dns: bad%-host", "xmpp ping --host a..b")
      end)

      it("with 5 for a server that can't be reached", function()
        ends(5, "^xmpp: tcp: ECONNREFUSED.*%-%-host and %-%-port", "xmpp ping --port 1")
      end)

      it("with 6 for an invalid certificate", function()
        ends(6, "^xmpp: tls: certificate%-[us][^\n]*%-%-ca%-file",
          ("xmpp ping --ca-file %s/otherca.crt"):format(s.certs))
      end)

      it("with 7 for a wrong password", function()
        ends(7, "^xmpp: sasl: not%-authorized.*`xmpp account password`", "xmpp ping -a wrong")
      end)

      it("with 11 for a full disk", function()
        ends(11, "^xmpp: the output can't be written %(No space left on device%): make room", "xmpp version >/dev/full")
      end)

      it("with 2 for an unknown argument", function()
        local text, status = run "xmpp pign x"
        assert.same({ 2, "xmpp: there is no subcommand 'pign'; did you mean 'ping'?\n"
          .. "      try `xmpp help` for a list of subcommands\n" }, { status, text })
      end)
    end)

    describe("by a signal ends with 130,", function()
      -- A shell's background job ignores SIGINT, unless job control is on (set -m).
      local function interrupted(signal, words, sign)
        local text = run(([[
          set -m
          mkfifo %s/fifo 2>/dev/null
          %s bin/xmpp %s <>%s/fifo >%s/log 2>&1 & pid=$!
          %s
          kill -%s $pid
          ends $pid; cat %s/log]]):format(folder, LUA, words, folder, folder,
          sign and ("until_there '%s'"):format(sign) or "sleep 1", signal, folder))
        assert.matches("\nended 130\n", "\n" .. text)
        return text
      end

      it("while it waits for input", function() interrupted("INT", "send bob@xmpp.test") end)

      it("while it waits for a silent server", function()
        local program = "import socket, time; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); s.listen(); "
          .. "print(s.getsockname()[1], flush=True); time.sleep(20)"
        local pipe = io.popen(("exec env -u LD_PRELOAD python3 -c '%s'"):format(program))
        local port = pipe:read "*l"
        local text = interrupted("INT", "ping --host 127.0.0.1 -v --port " .. port, "stream")
        assert.matches("\nxmpp: interrupted\n$", text)
        pipe:close()
      end)

      for _, signal in ipairs { "INT", "TERM" } do
        it("closing the stream, while it listens: " .. signal, function()
          local text = interrupted(signal, "listen -v", "^-> <iq.*carbons") -- servers offer carbons before
          assert.truthy(text:find("-> </stream:stream>", 1, true), text)
          assert.truthy(text:find("<- </stream:stream>", 1, true), text)
        end)
      end
    end)

    describe("run", function()
      it("gives a bot its connection, and ends with its status", function()
        write("bot.lua", [[
          conn:set_callback(function(m) log(xmpp.xexpr.text(m, "body")) xmpp.quit(7) end, { name = "message" })
          xmpp.every(1, function() end)
          conn:send { "message", { to = conn:jid() }, { "body", "to myself" } }]])
        local text, status = run(("xmpp run %s/bot.lua"):format(folder))
        assert.equal(7, status, text)
        assert.matches(" to myself\n$", text)
      end)

      it("ends in order by TERM", function()
        write("bot.lua", "log 'here'; xmpp.every(1, function() end)")
        local text = run(([[
          %s bin/xmpp run -v %s/bot.lua 2>%s/log & pid=$!
          until_there ' here$'
          kill -TERM $pid
          ends $pid; cat %s/log]]):format(LUA, folder, folder, folder))
        assert.matches("^ended 0\n", text)
        assert.truthy(text:find("-> </stream:stream>", 1, true), text)
      end)

      -- A bot that is busy for `seconds` when SIGTERM comes; `options` of run.
      local function at_work(seconds, options)
        write("bot.lua", ([[
          conn:set_handler(function(m)
            if xmpp.xexpr.text(m, "body") ~= "work" then return log "no more" end
            conn:send { "message", { to = conn:jid() }, { "body", "no more" } }
            log "at work"
            xmpp.sleep(%s)
            conn:send { "message", { to = "nobody@invalid.xmpp.test" }, { "body", "the answer" } }
          end)
          conn:send { "message", { to = conn:jid() }, { "body", "work" } }
          xmpp.every(1, function() end)]]):format(seconds))
        return run(([[
          %s bin/xmpp run -v %s %s/bot.lua 2>%s/log & pid=$!
          until_there ' at work$'
          sleep 0.5
          kill -TERM $pid
          ends $pid; cat %s/log]]):format(LUA, options or "", folder, folder, folder))
      end

      it("finishes running calls by TERM, and nothing else", function()
        local text = at_work(1.5)
        assert.matches("^ended 0\n", text)
        assert.truthy(text:find("the answer</body></message>.*%-> </stream:stream>"), text)
      end)

      it("reports by its status, and by what was left, that the time was over", function()
        local text = at_work(60, "--drain 0.5")
        assert.matches("^ended 8\n", text)
        assert.is_nil(text:find("the answer", 1, true), text)
        assert.truthy(text:find("-> </stream:stream>", 1, true), text)
        assert.truthy(text:find("xmpp: ended by SIGTERM before everything was done: 1 calls of handlers and callbacks "
          .. "were still waiting, 0 stanzas waited for them, 0 sent stanzas are not known to have arrived, ", 1, true),
          text)
      end)

      it("ends at once by a second TERM, though it is busy", function()
        write("bot.lua", [[
          conn:set_handler(function() log "at work" xmpp.sleep(60) end)
          conn:send { "message", { to = conn:jid() }, { "body", "work" } }
          xmpp.every(1, function() end)]])
        local text = run(([[
          %s bin/xmpp run --drain 60 %s/bot.lua 2>%s/log & pid=$!
          until_there ' at work$'
          kill -TERM $pid; sleep 0.5; kill -TERM $pid; SECONDS=0
          ends $pid; echo "$SECONDS s"]]):format(LUA, folder, folder))
        assert.matches("^ended 130\n", text)
        assert.is_true(tonumber(text:match "(%d+) s\n$") < 10, text)
      end)

      -- Bots that don't react to a signal: one with timers that go on, one with a loop of its own, one that handles the
      -- signal itself, one that lets nothing else run.
      local STUBBORN = { timers = "xmpp.every(0.1, function() end)", waits = "while true do xmpp.sleep(0.1) end",
        hears = "xmpp.on_signal('SIGTERM', function() log 'no' end) xmpp.every(1, function() end)",
        calculates = "while true do end" }

      for name, text in pairs(STUBBORN) do
        it("ends at once by a second TERM, and some time after the first one: " .. name, function()
          write("bot.lua", "log 'here'\n" .. text)
          local one = ([[
            %s bin/xmpp run %s/bot.lua 2>%s/log & pid=$!
            until_there ' here$'
            kill -TERM $pid
            %%s
            ends $pid; echo "$SECONDS s"]]):format(LUA, folder, folder)
          local twice = run(one:format "sleep 0.5; kill -TERM $pid 2>/dev/null; SECONDS=0")
          local once = run(one:format "SECONDS=0")
          assert.matches(name == "timers" and "^ended 0\n" or "^ended 130\n", twice)
          assert.is_true(tonumber(twice:match "(%d+) s\n$") < 4, twice)
          local status = (name == "timers" or name == "waits") and 0 or 130
          assert.matches(("^ended %d\n"):format(status), once)
          assert.is_true(tonumber(once:match "(%d+) s\n$") < 14, once)
        end)
      end

      it("is restarted in the same session when its file has changed, and by HUP, unless it has a mistake",
        function()
        local path = write("bot.lua", "log('one', conn:info().resumed)\nxmpp.every(1, function() end)\n")
        local text = run(([[
          %s bin/xmpp run --reload %s 2>%s/log & pid=$!
          until_there 'one 0'
          printf 'log(' >%s
          until_there 'was not loaded again'
          printf "log('two', conn:info().resumed) xmpp.every(1, function() end)" >%s
          until_there 'two 1'
          kill -HUP $pid
          for i in $(seq 150); do [ "$(grep -c 'two 1' %s/log)" -lt 2 ] || break; sleep 0.1; done
          printf "log('three', conn:info().resumed) xmpp.after(2, function() xmpp.quit(9) end)" >%s.new
          mv %s.new %s
          until_there 'three 1'
          ends $pid; cat %s/log]]):format(LUA, path, folder, path, path, folder, path,
          path, path, folder))
        assert.matches("^ended 9\n", text)
        assert.matches(" one 0\n", text)
        assert.matches("the program was not loaded again: ", text)
        assert.matches(" two 1\n.* two 1\n", text)
        assert.matches(" three 1\n$", text)
        for _, name in ipairs { "alice" } do assert.is_nil(text:find(s.users[name], 1, true)) end
      end)
    end)

    describe("account", function()
      it("add asks for the password without echo, tries it, and stores it privately", function()
        shell.succeed(("rm -r %s/xmpp"):format(folder))
        local text, status = on_terminal({ "wait Password of alice@xmpp.test: ", "noecho", "type " .. s.users.alice
          .. "\\r" },
          ("account add alice@xmpp.test --host %s --port %d --ca-file %s"):format(s.host, s.port, s.ca))
        assert.equal(0, status, text)
        assert.is_nil(text:find(s.users.alice, 1, true))
        assert.equal("700\n600\n600\n",
          shell.succeed(("cd %s/xmpp && stat -c %%a . config.lua default.password"):format(folder)))
        assert.is_nil(shell.read(folder .. "/xmpp/config.lua"):find(s.users.alice, 1, true))
        text, status = run "echo hello | xmpp send nobody@xmpp.test/x"
        assert.equal(1, status, text)
      end)

      it("leaves the terminal as it was when it is interrupted at the prompt", function()
        write("xmpp/config.lua", "[default]\njid = alice@xmpp.test\n")
        local text, status = on_terminal({ "wait Password of", "noecho", "type \\x03" }, "ping")
        assert.equal(130, status, text)
        text, status = run(("LD_PRELOAD= spec/support/terminal.py %d 'wait Password of' noecho 'type \\x03' "
          .. "'wait behind' echo "
          .. "'type \\r' -- bash -c 'trap : INT; %s bin/xmpp ping; echo behind $?; read'"):format(LIMIT, LUA))
        assert.equal(0, status, text)
        assert.matches("behind 130", text)
      end)
    end)

    describe("on a terminal", function()
      it("names have colours, and strangers' control characters are harmless", function()
        local text, status = on_terminal({}, "ping -n 1")
        assert.equal(0, status, text)
        assert.matches("^\27%[38;5;%d+mxmpp%.test\27%[0m: [%d.]+ ms\r\n$", text)
        text = on_terminal({}, "ping -n 1", "NO_COLOR=1")
        assert.matches("^xmpp%.test: [%d.]+ ms\r\n$", text)
      end)

      it("long operations show a progress line, which is removed at the end", function()
        write("lines", ("x\n"):rep(30))
        local text, status = on_terminal({}, ("send --lines --rate 100 -f %s/lines alice@xmpp.test"):format(folder))
        assert.equal(0, status, text)
        assert.matches("\r\27%[K1 lines sent.*\r\27%[K30 lines sent\r\27%[K$", text)
      end)

      it("the console edits lines, has a private history, and shows what comes in", function()
        local steps = { "wait > ", "type 1 + 41\\r", "wait 42", "wait > ", "type  'hid' .. 'den'\\r", "wait hidden",
          "wait > ", "type 20 + 1\\x1b[D2\\r", "wait 41", "wait > ", "type xmpp.xexp\\t\\r", "wait error_reply",
            "wait > ",
          "type <presence/>\\r", "wait presence", "wait > ", "type nonsense(\\x03'still' .. ' here'\\r",
          "wait still here", "wait > ", "type \\x03", "wait \\n> ", "type \\x03", "wait \\n> ", "type \\x04" }
        local text, status = on_terminal(steps, "console --color never")
        assert.equal(0, status, text)
        assert.equal("600\n", shell.succeed(("stat -c %%a %s/state/xmpp/history"):format(folder)))
        local history = shell.read(folder .. "/state/xmpp/history")
        assert.is_nil(history:find("hid", 1, true), history)
        assert.matches("^1 %+ 41\n20 %+ 21\n", history)
        text, status = on_terminal({ "wait > ", "type \\x1b[A\\x1b[A\\x1b[A\\x1b[A\\x1b[A\\r", "wait 42", "wait > ",
          "type \\x04" },
          "console --color never")
        assert.equal(0, status, text)
      end)

      it("the console drops a line by Ctrl-C, and reads what is typed right after it", function()
        local busy = "xmpp.after(0.5, function() print('bu' .. 'sy') "
          .. "local t = os.clock() while os.clock() - t < 0.5 do end end)"
        local text, status = on_terminal({ "wait > ", "type " .. busy .. "\\r", "wait > ", "type nonsense(",
          "wait nonsense(", "wait busy", "type \\x03'still' .. ' here'\\r", "wait \n> ", "wait still here", "wait > ",
          "type \\x04" }, "console --color never")
        assert.equal(0, status, text)
      end)
    end)
  end)
end)

describe("what is installed", function()
  local place
  setup(function()
    place = shell.folder()
    shell.succeed(("make -s LUA=%s PREFIX=%s/here install"):format(LUA, place))
  end)
  teardown(function() shell.remove(place) end)

  local function has(program) return select(2, shell.run("command -v " .. program)) == 0 end

  it("runs from any folder, and can be uninstalled", function()
    local text = shell.succeed(("cd / && env -i PATH=/usr/bin:/bin %s/here/bin/xmpp --version"):format(place))
    assert.equal(xmpp._VERSION .. "\n", text)
    text = shell.run(("cd / && env -i PATH=/usr/bin:/bin %s/here/bin/xmpp ping -a x@y.invalid"):format(place))
    assert.matches("^xmpp: there is no password for x@y%.invalid", text)
  end)

  it("has a manual that mandoc accepts without warnings", function()
    local path = place .. "/here/share/man/man1/xmpp.1"
    if not has "mandoc" then return pending "mandoc is not here" end
    assert.same({ "", 0 }, { shell.run("mandoc -T lint -W style " .. path) })
    assert.matches("XMPP%(1%)", shell.succeed("mandoc -T ascii " .. path))
  end)

  it("has completions that the shells can read, and bash completes by them", function()
    local share = place .. "/here/share/"
    local files = { bash = "bash-completion/completions/xmpp", zsh = "zsh/site-functions/_xmpp",
      fish = "fish/vendor_completions.d/xmpp.fish" }
    for name, file in pairs(files) do
      assert.truthy(shell.read(share .. file))
      if has(name) then assert.same({ "", 0 }, { shell.run(("%s -n %s%s"):format(name, share, file)) }) end
    end
    local function completed(...)
      local words = { ... }
      return shell.succeed(("bash -c '. %s%s; COMP_WORDS=(%s); COMP_CWORD=%d; _xmpp; echo "
        .. "\"${COMPREPLY[*]}\"'"):format(share,
        files.bash, table.concat(words, " "), #words - 1))
    end
    assert.equal("send\n", completed("xmpp", "se"))
    assert.equal("--reload\n", completed("xmpp", "run", "--rel"))
    assert.equal("always auto never\n", (completed("xmpp", "ping", "--color", "\"\""):gsub("(%S+) (%S+) (%S+)\n",
      function(a, b, c)
        local all = { a, b, c }
        table.sort(all)
        return table.concat(all, " ") .. "\n"
      end)))
    assert.equal("password\n", completed("xmpp", "account", "pas"))
    if has "fish" then
      local text = shell.succeed(("HOME=%s fish -c 'source %s%s; complete -C \"xmpp lis\"'"):format(place, share,
        files.fish))
      assert.matches("^listen\t", text)
    end
  end)

  it("can be uninstalled", function()
    shell.succeed(("make -s LUA=%s PREFIX=%s/here uninstall"):format(LUA, place))
    assert.equal("", shell.succeed(("find %s -type f"):format(place)))
    assert.equal("", shell.succeed(("find %s -path '*xmpp*' -name 'xmpp*'"):format(place)))
  end)
end)
