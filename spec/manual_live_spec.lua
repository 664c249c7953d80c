-- manual_live: the programs in the manual, each as a process of its own against a real server, and the shell commands
-- that it shows.
local manual = require "spec.support.manual"
local muc = require "xmpp.muc"
local presence = require "xmpp.presence"
local roster = require "xmpp.roster"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local LUA = os.getenv "LUA" or "lua5.4"
local LIMIT = 60

local programs, scripts = {}, {}
for _, path in ipairs(manual.pages()) do
  for _, block in ipairs(select(2, manual.markdown(path))) do
    local name = block.mark and block.mark:match "^program (%S+)$"
    if name then programs[name] = block end
    if block.kind == "sh" and not block.mark then scripts[#scripts + 1] = block end
  end
end

-- Replaces the manual's addresses by this server's.
local function at(s, text)
  return (text:gsub("rooms%.example%.net", "conference." .. s.domain):gsub("weather%.example%.net", s.component)
    :gsub("example%.net", s.domain))
end

server.each(function(s)
  local conns, folder, running, tested

  local function login(name, resource)
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
      s.opts { resource = resource or "test" }))
    conns[#conns + 1] = conn
    return conn
  end

  -- Starts a program; its output is read by lines.
  local function start(name, account)
    tested[name] = true
    local path = ("%s/%s.lua"):format(folder, name)
    local file = assert(io.open(path, "w"))
    file:write(at(s, programs[name].code))
    file:close()
    local where = ("MANUAL_HOST=%s MANUAL_PORT=%d MANUAL_CA=%s MANUAL_COMPONENT_PORT=%d XMPP_PASSWORD=%s "
      .. "XMPP_SECRET=%s")
      :format(s.host, s.port, s.ca, s.component_port, s.users[account or "bot"], s.secret)
    local pipe = assert(io.popen(("echo $$; exec env %s %s timeout --foreground -k 20 %d %s "
      .. "spec/support/manual_run.lua %s 2>&1"):format(shell.HERE, where, LIMIT * 3, LUA, path)))
    local p = { pipe = pipe, pid = pipe:read "*l", name = name }
    running[#running + 1] = p
    return p
  end

  -- Waits for its end, which has to be a success. Returns what it has printed since the last line that was read.
  local function ended(p)
    local text = p.pipe:read "*a"
    local ok, how, status = p.pipe:close()
    p.pipe = nil
    assert.truthy(ok, ("%s ended with %s %s: %s"):format(p.name, how, status, text))
    return text
  end

  -- Ends it as a service manager does: with one SIGTERM. (Without --foreground, timeout sends two, and the second may
  -- come when the program is about to leave, and has taken its handler away.)
  local function stop(p)
    os.execute("kill -TERM " .. p.pid)
    return ended(p)
  end

  local function to_the_end(name) return ended(start(name)) end

  local function wait_for(what, why)
    local till = os.time() + LIMIT
    while not what() do
      assert(os.time() < till, why)
      xmpp.step(0.05)
    end
  end

  -- Waits for the connection's next message with a text. Returns the sender and the text.
  local function heard(conn)
    while true do
      local stanza = assert(conn:receive_blocking(LIMIT))
      local text = stanza[1] == "message" and xexpr.text(stanza, "body")
      if text then return tostring(xmpp.jid(stanza[2].from):bare()), text end
    end
  end

  -- Makes the account and another one contacts; the other one is online.
  local function befriend(conn, name)
    local r = assert(roster.use(conn, { approve = "all", mutual = true }))
    presence.set(conn, {})
    assert(r:fetched(LIMIT))
    local other = login(name, "friend")
    local r2 = assert(roster.use(other, { approve = "all", mutual = true }))
    presence.set(other, {})
    assert(r2:fetched(LIMIT))
    local jid = name .. "@" .. s.domain
    if not (r.items[jid] and r.items[jid].subscription == "both") then assert(r:subscribe(jid)) end
    wait_for(function() return r.items[jid] and r.items[jid].subscription == "both" end, "no subscription with " .. jid)
    other:stop()
  end

  -- Waits until a client of that account is online.
  local function until_there(conn, name)
    local jid = name .. "@" .. s.domain
    wait_for(function() return next(presence.of(conn, jid) or {}) end, jid .. " doesn't come")
  end

  describe("the manual's program", function()
    setup(function() folder, tested = shell.folder(), {} end)
    teardown(function() shell.remove(folder) end)
    before_each(function() conns, running = {}, {} end)
    after_each(function()
      for _, p in ipairs(running) do
        if p.pipe then
          os.execute("kill -KILL " .. p.pid .. " 2>/dev/null")
          p.pipe:close()
        end
      end
      for _, conn in ipairs(conns) do conn:stop() end
    end)

    for name, answer in pairs { shortest = "Hi", echo = "You said: Hi" } do
      it(name .. " says what it hears", function()
        local anna = login "anna"
        local p = start(name)
        local jid = "bot@" .. s.domain
        local got
        for _ = 1, LIMIT do -- until it is there
          anna:send { "message", { to = jid, type = "chat" }, { "body", "Hi" } }
          local stanza = anna:receive_blocking(1)
          got = stanza and xexpr.text(stanza, "body")
          if got then break end
        end
        assert.equal(answer, got)
        stop(p)
      end)
    end

    it("room greets, and answers commands", function()
      local anna = login "anna"
      local room = assert(muc.join(anna, "tea@conference." .. s.domain, "anna", { create = "default" }))
      local p = start "room"
      wait_for(function() return room.occupants.kettle end, "kettle doesn't come")
      local said = {}
      room:on("message", function(m) said[#said + 1] = m.nick .. ": " .. m.text end)
      local carol = login "carol"
      assert(muc.join(carol, room.jid, "carol"))
      local function says(pattern)
        wait_for(function()
          for _, line in ipairs(said) do
            if line:find(pattern) then return true end
          end
        end, pattern .. " isn't said, but " .. table.concat(said, "\n"))
      end
      says "^kettle: Hello, carol$"
      assert(room:say "!dice 1")
      says "^kettle: 1$"
      assert(room:say "!time")
      says "^kettle: %d%d:%d%d UTC$"
      assert(room:say "!help")
      says "^kettle: .*throws a die"
      stop(p)
    end)

    it("roster approves colleagues, and prints who is there", function()
      local anna = login "anna"
      local r = assert(roster.use(anna, { approve = "all" }))
      presence.set(anna, { status = "hello" })
      assert(r:fetched(LIMIT))
      local p = start "roster"
      assert(r:subscribe("bot@" .. s.domain))
      wait_for(function()
        local item = r.items["bot@" .. s.domain]
        return item and item.subscription == "both"
      end, "no subscription")
      local line
      repeat line = assert(p.pipe:read "*l") until line:find("^anna@" .. s.domain .. "/test\tonline\thello")
      stop(p)
    end)

    it("component is found, has a version, answers pings, and has a command", function()
      local anna = login "anna"
      local info, disco, command = require "xmpp.info", require "xmpp.disco", require "xmpp.command"
      local p = start "component"
      local entity
      wait_for(function()
        entity = disco.info(anna, s.component, { fresh = true, timeout = LIMIT })
        return entity
      end, "the component doesn't come")
      assert.same({ category = "component", type = "generic", name = "Weather" }, entity.identities[1])
      assert.equal("weather", assert(info.version(anna, s.component)).name)
      assert.is_number(info.ping(anna, s.component))
      assert.equal("forecast", assert(command.list(anna, s.component))[1].node)
      assert.equal("Bern: sun and rain", assert(command.run(anna, s.component, "forecast", { town = "Bern" })).text)
      stop(p)
    end)

    it("archive prints what was said", function()
      local anna, bot = login "anna", login "bot"
      for _, conn in ipairs { anna, bot } do
        conn:send { "presence" }
        assert(conn:ping(LIMIT))
      end
      anna:send { "message", { to = bot:jid():bare(), type = "chat" }, { "body", "one" } }
      heard(bot)
      bot:send { "message", { to = anna:jid():bare(), type = "chat" }, { "body", "two" } }
      heard(anna)
      local text = to_the_end "archive"
      assert.matches("Z\tanna@xmpp%.test/test\tone\n.*Z\t%-> anna@xmpp%.test\ttwo\n", text)
    end)

    it("pep-watch receives what pep-publish publishes", function()
      local bot = login("bot", "desk")
      befriend(bot, "anna")
      local p = start("pep-watch", "anna")
      until_there(bot, "anna")
      assert.equal("", to_the_end "pep-publish")
      local line
      repeat line = assert(p.pipe:read "*l") until line == "bot@" .. s.domain .. "\tYes\tHeart of the Sunrise"
      stop(p)
    end)

    it("has a test here, each of them", function()
      for name in pairs(programs) do assert.is_true(tested[name] or false, name) end
    end)
  end)

  describe("a shell command in the manual", function()
    local home
    setup(function()
      home = shell.folder()
      shell.succeed(("mkdir -p %s/xmpp && chmod 700 %s/xmpp"):format(home, home))
      local file = assert(io.open(home .. "/xmpp/config.lua", "w"))
      file:write(("[default]\njid = bot@%s\npassword-file = %s/password\nhost = %s\nport = %d\nca-file = %s\n")
        :format(s.domain, home, s.host, s.port, s.ca))
      file:close()
      file = assert(io.open(home .. "/password", "w"))
      file:write(s.users.bot, "\n")
      file:close()
      shell.succeed(("chmod 600 %s/password %s/xmpp/config.lua"):format(home, home))
    end)
    teardown(function() shell.remove(home) end)

    for _, block in ipairs(scripts) do
      it(("works: %s, line %d"):format(block.path, block.line), function()
        conns = {}
        local bob = login("carol", "keeper") -- keeps the room existing, so that the command needn't create it
        local room = muc.join(bob, "tea@conference." .. s.domain, "keeper", { create = "default" })
        local modules = shell.HERE:gsub("(?%.lua)'", "%1;;'"):gsub("(?%.so)'", "%1;;'")
        local script = ("cd %s\nexport HOME=%s XDG_CONFIG_HOME=%s XDG_STATE_HOME=%s LC_ALL=C.UTF-8 TERM=dumb %s\n"
          .. "unset XMPP_PASSWORD XMPP_PASSWORD_FILE DBUS_SESSION_BUS_ADDRESS CREDENTIALS_DIRECTORY\n"
          .. "xmpp() { case $1 in check) set -- \"$@\" -w 30 -c 60 ;; esac # of a busy machine\n"
          .. "(cd %s && timeout -k 5 %d %s bin/xmpp \"$@\"); }\nset -e\n%s\n"):format(home, home, home, home,
          modules, shell.succeed "pwd":match "%S+", LIMIT, LUA, at(s, block.code))
        local name = shell.file(script)
        local text, status = shell.run("bash " .. name)
        os.remove(name)
        if room then room:leave() end
        for _, conn in ipairs(conns) do conn:stop() end
        assert.equal(0, status, text)
      end)
    end
  end)
end, { more_users = "bot:botpw anna:annapw", upload = "yes" }, { "prosody" })
