-- command_live: ad-hoc commands on real servers: those of the servers for their administrators (XEP-0133), ours between
-- two of our clients and with another library's client (slixmpp) at either end, and a bot's.
local bot = require "xmpp.bot"
local chat = require "xmpp.chat"
local child = require "spec.support.child"
local command = require "xmpp.command"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local muc = require "xmpp.muc"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local EJABBERD = "host_config: { xmpp.test: { acl: { admin: { user: [alice@xmpp.test] }, local: { user_regexp: '' } }, "
  .. "access_rules: { configure: { allow: admin }, local: { allow: local } } } }"

local function everybody() return true end

local function body(s)
  local conns
  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function connect(name, resource, password)
    local conn, err = xmpp.connect_client(name .. "@" .. s.domain, password or s.users[name], s.host, s.port,
      s.opts { resource = resource })
    if not conn then return nil, err end
    conns[#conns + 1] = conn
    conn:set_handler()
    conn:send { "presence" }
    return conn, tostring(conn:jid())
  end

  local function names(list)
    local out = {}
    for _, c in ipairs(list) do out[c.node] = c.name or "" end
    return out
  end

  describe("a server's administrator", function()
    it("adds an account and removes it, by the commands of XEP-0133", function()
      local alice, bob = connect("alice", "a"), connect("bob", "b")
      local admin = names(assert(command.list(alice, s.domain)))
      assert.is_string(admin[command.admin["add-user"]])
      local user = command.list(bob, s.domain)
      assert.is_nil(names(user or {})[command.admin["add-user"]])
      local _, err = command.run(bob, s.domain, command.admin["add-user"])
      assert.equal("forbidden", err.condition)

      local zed = "zed@" .. s.domain
      _, err = command.run(alice, s.domain, command.admin["add-user"], { password = "zedpw" })
      assert.equal("missing", err.app)
      local result = assert(command.run(alice, s.domain, command.admin["add-user"], { accountjid = zed,
        password = "zedpw", ["password-verify"] = "zedpw" }))
      assert.same({ "completed", {} }, { result.status, result.unused })
      local conn = assert(connect("zed", "z", "zedpw"))
      conn:stop()
      result = assert(command.run(alice, s.domain, command.admin["delete-user"], function(f)
        local field = f.values.accountjids and "accountjids" or "accountjid"
        return { [field] = field == "accountjids" and { zed } or zed }
      end))
      assert.equal("completed", result.status)
      conn, err = connect("zed", "z", "zedpw")
      assert.is_nil(conn)
      assert.equal("sasl", err.layer)
    end)

    it("does so from a shell, too", function()
      local function xmpp_command(account, words)
        return shell.run(("env -u LD_PRELOAD %s HOME=/dev/null XMPP_PASSWORD=%s timeout -k 5 60 %s bin/xmpp command -a "
          .. "%s@%s --host %s --port %d --ca-file %s %s"):format(shell.HERE, s.users[account] or "yanpw",
          os.getenv "LUA" or "lua5.4", account, s.domain, s.host, s.port, s.ca, words))
      end
      local yan = "yan@" .. s.domain
      local text, status = xmpp_command("alice", s.domain)
      assert.equal(0, status, text)
      assert.truthy(text:find(command.admin["add-user"], 1, true), text)
      text, status = xmpp_command("alice", s.domain .. " admin:add-user </dev/null")
      assert.equal(9, status, text)
      text, status = xmpp_command("alice", ("%s admin:add-user accountjid=%s - <<'END'\n"
        .. "password=yanpw\npassword-verify=yanpw\nEND\n"):format(s.domain, yan))
      assert.equal(0, status, text)
      assert.is_nil(text:find("nothing has asked", 1, true), text)
      local conn = assert(connect("yan", "y", "yanpw"))
      conn:stop()
      text, status = xmpp_command("yan", s.domain .. " admin:add-user")
      assert.equal(1, status, text)
    end)

    it("cancels", function()
      local alice = connect("alice", "a")
      local result = assert(command.run(alice, s.domain, command.admin["delete-user"], function() end))
      assert.equal("canceled", result.status)
    end)
  end)

  it("is served to some people, and asks several questions", function()
    local alice, address = connect("alice", "serves")
    local bob, at_bob = connect("bob", "runs")
    local other = connect("bob", "other")
    local log = {}
    command.serve(alice, "add", { name = "Add", back = true, allow = function(from) return from == at_bob end },
      function(d)
        local one = d:ask { title = "One", fields = { { var = "a", datatype = "xs:integer", required = true } } }
        local two = one and d:ask({ fields = { { var = "b", datatype = "xs:integer", required = true } } },
          { note = "and what?" })
        if not two then log[#log + 1] = "left" return end
        return ("%d"):format(one.a + two.b)
      end)
    assert.same({ { node = "add", name = "Add" } }, assert(command.list(bob, address)))
    assert.equal("42", assert(command.run(bob, address, "add", { a = 40, b = 2 })).text)
    local step, notes = 0, nil
    local result = assert(command.run(bob, address, "add", function(f, said, actions)
      step = step + 1
      if step == 2 then notes = said[1].text return {}, "prev" end
      if step == 3 then assert.equal("1", f.fields[1].texts[1]) end
      assert.equal((f.fields[1].var == "b") and "prev,next" or "next", table.concat(actions, ","))
      return { [f.fields[1].var] = step }
    end))
    assert.same({ "7", "and what?", { "left" } }, { result.text, notes, log })
    local _, err = command.run(other, address, "add", { a = 1, b = 2 })
    assert.equal("service-unavailable", err.condition)
    _, err = command.list(other, address)
    assert.equal("item-not-found", err.condition)
    disco.allow(alice, everybody)
    _, err = command.run(other, address, "add", { a = 1, b = 2 })
    assert.equal("item-not-found", err.condition)
  end)

  it("can be a bot's", function()
    local alice, address = connect("alice", "bot")
    local bob = connect("bob", "b")
    chat.use(alice, { carbons = false })
    local b = bot.use(alice, { adhoc = true, admins = { "bob@" .. s.domain } })
    b:command("roll", { args = "<sides:int=6>", help = "throws a die", allow = "admin" }, function(ctx, args)
      return ("%s %s %d"):format(ctx.kind, ctx.who, args.sides)
    end)
    assert(ext.ready(alice, 30))
    assert.same({ roll = "throws a die" }, names(assert(command.list(bob, address))))
    assert.equal("adhoc bob@" .. s.domain .. " 20", assert(command.run(bob, address, "roll", { sides = 20 })).text)
    local c, heard = chat.use(bob, { receipts = false }), nil
    c:on("message", function(m) heard = m end)
    assert(c:send(address, "!roll 3"))
    local limit = os.time() + 30
    while not heard do
      assert(os.time() < limit, "the bot doesn't answer")
      xmpp.step(0.05)
    end
    assert.equal("chat bob@" .. s.domain .. " 3", heard.text)
    assert.is_string(heard.reply_to.id)
  end)

  it("is accepted by a bot in a room by the sender's address, whatever his nick", function()
    local tea = "tea@conference." .. s.domain
    local alice, bob, carol = connect("alice", "bot"), connect("bob", "b"), connect("carol", "c")
    local b, ready = bot.use(alice, { admins = { "bob@" .. s.domain },
      rooms = { [tea] = { nick = "kettle", create = "default" } } }), false
    b:on("room", function() ready = true end)
    b:on("error", function(err) error(tostring(err)) end)
    b:command("stop", { allow = "admin" }, function(ctx) return "stopped by " .. ctx.who end)
    local limit = os.time() + 30
    local function turn_until(what, why)
      while not what() do
        assert(os.time() < limit, why)
        xmpp.step(0.05)
      end
    end
    turn_until(function() return ready end, "the bot doesn't come in")
    local heard = {}
    local function enter(conn)
      local room = assert(muc.join(conn, tea, "boss"))
      room:on("message", function(m)
        if m.nick == "kettle" then heard[#heard + 1] = m.text end
      end)
      return room
    end
    local room = enter(bob)
    assert(room:say "!stop")
    turn_until(function() return heard[1] end, "no answer")
    room:leave()
    turn_until(function() return not ext.of(alice, muc).rooms[tea].occupants.boss end, "he doesn't leave")
    room = enter(carol)
    assert(room:say "!stop")
    turn_until(function() return heard[2] end, "no answer")
    assert.same({ "stopped by bob@" .. s.domain, "That is not for you." }, heard)
    assert(room:whisper("kettle", "!help stop"))
    local private
    room:on("private", function(m) private = m.text end)
    turn_until(function() return private end, "no answer")
    assert.equal("There is no such command.", private)
  end)

  describe("slixmpp", function()
    local path, pipe
    after_each(function()
      pipe:close()
      os.remove(path)
    end)

    -- Its next line with this key.
    local at
    local function told(key)
      local limit = os.time() + 60
      while true do
        local n = 0
        for line in io.lines(path) do
          n = n + 1
          local value = line:match("^" .. key .. "=(.*)$")
          if n > at and value then at = n return value end
        end
        assert(os.time() < limit, "no " .. key)
        xmpp.step(0.05)
      end
    end

    before_each(function()
      path, at = os.tmpname(), 0
      pipe = assert(io.popen(("exec env -u LD_PRELOAD '%s/slix_command.py' '%s' %d '%s' 'carol@%s/slix' '%s' >%s")
        :format(child.folder, s.host, s.port, s.ca, s.domain, s.users.carol, path), "w"))
    end)

    it("has a command of two steps, which we run", function()
      local alice, its = connect("alice", "a"), told "READY"
      assert.same({ brew = "Brew tea" }, names(assert(command.list(alice, its))))
      local result = assert(command.run(alice, its, "brew", { kind = "green", milk = true, minutes = "4" }))
      assert.equal("completed", result.status)
      assert.equal("green 1 4", told "SAID")
      local _, err = command.run(alice, its, "brew", { kind = "coffee" })
      assert.equal("invalid", err.app)
      local seen = {}
      result = assert(command.run(alice, its, "brew", function(f, notes, actions)
        seen[#seen + 1] = ("%s %s %s"):format(f.title, table.concat(actions, ","), notes[1] and notes[1].text or "")
        if f.title == "How?" then return nil end
        return { kind = "black" }
      end))
      assert.same({ "canceled", { "Which? next ", "How? complete black it is" } }, { result.status, seen })
      assert.equal("item-not-found", select(2, command.run(alice, its, "bake")).condition)
    end)

    it("runs ours, goes back in it, and cancels it", function()
      local alice = connect("alice", "a")
      local its, log = told "READY", {}
      command.serve(alice, "add", { allow = function(from) return from == its end, back = true }, function(d)
        local one, why = d:ask { fields = { { var = "a", value = "x" } } }
        if not one then log[#log + 1] = why return end
        local two
        two, why = d:ask({ fields = { { var = "b" } } }, { note = "next" })
        if not two then log[#log + 1] = why return end
        d:note("warn", "careful")
        return one.a .. two.b
      end)
      local function say(text)
        assert(alice:send { "message", { to = its, type = "chat" }, { "body", {}, text } })
      end
      say "add a=1 b=2"
      assert.equal("add", told "LIST")
      assert.equal("executing next a:x ", told "STEP")
      assert.equal("executing next,prev b:None info:next", told "STEP")
      assert.equal("completed   warn:careful|info:12", told "STEP")
      say "add a=1 prev a=2 b=3"
      for _ = 1, 2 do told "STEP" end
      assert.equal("executing next a:1 ", told "STEP")
      told "STEP"
      assert.equal("completed   warn:careful|info:23", told "STEP")
      say "add cancel b=1"
      told "STEP"
      assert.equal("canceled   ", told "STEP")
      assert.equal("item-not-found", told "ERROR") -- of its step in a session that is over
      say "add a=1 cancel"
      for _ = 1, 2 do told "STEP" end
      assert.equal("canceled   ", told "STEP")
      local limit = os.time() + 30
      while #log < 3 and os.time() < limit do xmpp.step(0.05) end -- it gets the answer before our function has ended
      assert.same({ "cancel", "cancel", "cancel" }, log) -- the first one is from the run that "prev" has left
    end)
  end)
end

server.each(body, { extra_modules = "mod_adhoc mod_admin_adhoc", extra_conf = 'admins = { "alice@xmpp.test" }' },
  { "prosody", "prosody13" })
server.each(body, { extra_modules = "mod_adhoc mod_configure", extra_conf = EJABBERD }, { "ejabberd", "ejabberd24" })
