-- cmd_account: the command's accounts, secrets, checks, console and bots, against xmpp.testing; and what is generated
-- from its table of subcommands. See cmd_spec for the rest.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local shell = require "spec.support.shell"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local config, secret = require "xmpp.cmd.config", require "xmpp.cmd.secret"
local exit, spec = require "xmpp.cmd.exit", require "xmpp.cmd.spec"

local ANNA = "anna@example.net"

local function around(f, more)
  local o = { jid = "bot@example.net", intercept = true, now = 1700000000 }
  for key, value in pairs(more or {}) do o[key] = value end
  return testing.around(f, o)
end

-- The error that f raises.
local function raised(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_table(err, tostring(err))
  return err
end

describe("the configuration", function()
  local function fault(text, expected)
    local err = raised(config.parse, text, "/x/config.lua")
    assert.same({ "config", expected }, { err.layer, err.text })
  end

  it("is sections of keys and values", function()
    local sections = config.parse("# a comment\n\n[default]\njid = bot@example.net/cron\r\n"
      .. "password-command = pass show a=b # c\nport=5223\n\n [ other ] \n\tjid=me@example.org\n", "x")
    assert.same({
      { name = "default", jid = "bot@example.net/cron", ["password-command"] = "pass show a=b # c", port = 5223,
        line = 3,
        path = "x" },
      { name = "other", jid = "me@example.org", line = 8, path = "x" },
    }, sections)
  end)

  it("that is broken is reported with file and line", function()
    fault("[default]\njid = a@b\nwhat?\n", "/x/config.lua:3: '[section]', 'key = value' or '# comment' expected")
    fault("jid = a@b\n", "/x/config.lua:1: 'jid' is not in a section: begin with [default]")
    fault("[a]\njid = a@b\npasword = x\n", "/x/config.lua:3: there is no key 'pasword'; did you mean 'password'?")
    fault("[a]\njid = a@b\njid = a@c\n", "/x/config.lua:3: 'jid' is set twice in [a]")
    fault("[a]\njid = a@b\n\n[a]\n", "/x/config.lua:4: section [a] exists already, in line 1")
    fault("[a]\njid = a@b\n[b]\n", "/x/config.lua:3: section [b] has no 'jid'")
    fault("[a]\njid =\n", "/x/config.lua:2: 'jid' has no value")
    fault("[a]\nport = 0\n", "/x/config.lua:2: a port from 1 to 65535 expected")
    fault("[a]\ncache = yes\n", "/x/config.lua:2: true or false expected")
    fault("[a]\nproxy = ftp://u:secret@x\n",
      "/x/config.lua:2: a URL expected that begins with socks5://, socks5h:// or http://")
    fault("[a]\nproxy = http://u:secret@x\n", "/x/config.lua:2: a port from 1 to 65535 expected after the host: an "
      .. "HTTP proxy has no default port")
    fault("[a]\ntls = yes\n", "/x/config.lua:2: starttls, direct or none expected")
    fault("[a]\nurl = https://x/\n", "/x/config.lua:2: wss://host/path or host-meta expected")
    fault("[a]\njid = a@b\nurl = wss://x/ws\nport = 1\n",
      "/x/config.lua:1: section [a] has a 'url' as well as a 'host', 'port' or 'tls': remove one or the other")
  end)

  it("has rooms, found by their addresses however they are written", function()
    local accounts, rooms = config.parse("[default]\njid = a@b\n[room Tea@Rooms.Example.net]\npassword = p\n"
      .. "nick = kettle\n[ room x#y@irc.example.net ]\npassword-file = ~/x\n", "x")
    assert.equal(1, #accounts)
    assert.same({ "p", "kettle", 3 }, { rooms["tea@rooms.example.net"].password, rooms["tea@rooms.example.net"].nick,
      rooms["tea@rooms.example.net"].line })
    assert.equal("~/x", rooms["x#y@irc.example.net"]["password-file"])
    fault("[room tea@x]\npassword = a\n\n[room TEA@x]\n", "/x/config.lua:4: section [room tea@x] exists already, "
      .. "in line 1")
    fault("[room tea@x]\nport = 1\n", "/x/config.lua:2: there is no key 'port' of a room; did you mean 'nick'?")
    fault("[room tea@x/y]\n", "/x/config.lua:1: 'tea@x/y' is not the address of a room, like tea@rooms.example.net")
    fault("[room x]\n", "/x/config.lua:1: 'x' is not the address of a room, like tea@rooms.example.net")
    assert.truthy(raised(config.parse, "[room @x]\n", "x").text:find "^x:1: '@x' is not the address of a room: ")
  end)

  it("is never executed", function()
    raised(config.parse, "os.exit(99)\n", "x")
    local sections = config.parse("[a]\njid = a@b\npassword = $(id) os.exit(1)\n", "x")
    assert.equal("$(id) os.exit(1)", sections[1].password)
  end)

  -- A world whose configuration is `text`, with this mode and owner.
  local function configured(text, mode, uid)
    return cmd.world { folder = "/c", env = { XDG_CONFIG_HOME = "/c" },
      files = { ["/c/xmpp/config.lua"] = { text = text, mode = mode or tonumber("600", 8), uid = uid } } }
  end

  it("has the account that is meant", function()
    local w = configured "[default]\njid = a@b\n[other]\njid = c@d/e\n"
    assert.equal("a@b", config.account(w).jid)
    assert.equal("c@d/e", config.account(w, "other").jid)
    assert.equal("other", config.account(w, "c@d").name)
    assert.same({ jid = "x@y" }, config.account(w, "x@y"))
    assert.truthy(raised(config.account, w, "othr").text:find("did you mean 'other'?", 1, true))
    w = configured "[one]\njid = a@b\n"
    assert.equal("one", config.account(w).name)
    w = configured "[one]\njid = a@b\n[two]\njid = c@d\n"
    assert.truthy(raised(config.account, w).text:find("choose a section with -a", 1, true))
    assert.truthy(raised(config.account, cmd.world()).text:find("xmpp account add", 1, true))
  end)

  it("that has a password and may be read by others is refused, with what to do", function()
    local text = "[default]\njid = a@b\npassword = x\n"
    for _, mode in ipairs { "640", "604", "660", "610", "602" } do
      local err = raised(config.account, configured(text, tonumber(mode, 8)))
      assert.equal("not-private", err.condition)
      assert.truthy(err.text:find("chmod 600 '/c/xmpp/config.lua'", 1, true), err.text)
    end
    assert.equal("x", config.account(configured(text, tonumber("600", 8))).password)
    assert.equal("x", config.account(configured(text, tonumber("400", 8))).password)
    assert.equal("a@b", config.account(configured("[default]\njid = a@b\n", tonumber("644", 8))).jid)
    local err = raised(config.account, configured("[default]\njid = a@b\n[room a@b]\npassword = x\n",
      tonumber("644", 8)))
    assert.equal("not-private", err.condition)
    err = raised(config.account, configured("[default]\njid = a@b\nproxy = socks5://u:x@h\n", tonumber("644", 8)))
    assert.equal("not-private", err.condition)
    assert.equal("http://h:1", config.account(configured("[default]\njid = a@b\nproxy = http://h:1\n",
      tonumber("644", 8))).proxy)
  end)

  it("that has a password and is another user's is refused", function()
    local err = raised(config.account, configured("[default]\njid = a@b\npassword = x\n", tonumber("600", 8), 4242))
    assert.truthy(err.text:find("belongs to another user: chown", 1, true), err.text)
  end)

  it("causes status 3", function()
    local w = configured "[default]\njid = a@b\nwhat?\n"
    assert.equal(3, cmd.run(w, { "ping" }, true))
    assert.equal("xmpp: /c/xmpp/config.lua:3: '[section]', 'key = value' or '# comment' expected\n", w.stderr)
  end)
end)

describe("the password", function()
  local PRIVATE = tonumber("600", 8)

  -- A world with a password from each source; the test removes them one by one.
  local function sources(o)
    local env = { XMPP_PASSWORD = false, XMPP_PASSWORD_FILE = "/p/env" }
    for key, value in pairs(o.env or {}) do env[key] = value end
    local files = { ["/p/env"] = { text = "from env file\nrest", mode = PRIVATE },
      ["/p/file"] = { text = "from file\r\n", mode = PRIVATE },
      ["/cred/xmpp"] = { text = "from systemd", mode = tonumber("440", 8) } }
    local w = cmd.world { env = env, files = files, secret = o.secret }
    w.read = function(fd) return fd == 7 and "from fd\n" or fd.text end
    return { world = w, opts = o.opts or {}, verbose = o.verbose }
  end

  local function find(o, account)
    local ctx = sources(o)
    local word, from = secret.find(ctx, account or { jid = "a@b" }, "a@b")
    return word, from, ctx.world
  end

  it("is the first one that exists", function()
    local account = { jid = "a@b", ["password-command"] = "echo from command; echo rest", ["password-file"] = "/p/file",
      password = "from config" }
    assert.equal("from fd", (find({ opts = { ["password-fd"] = 7 } }, account)))
    assert.equal("from env file", (find({}, account)))
    local no_file = { XMPP_PASSWORD_FILE = false }
    assert.equal("from env", (find({ env = { XMPP_PASSWORD_FILE = false, XMPP_PASSWORD = "from env" } }, account)))
    assert.equal("from command", (find({ env = no_file }, account)))
    account["password-command"] = nil
    assert.equal("from file", (find({ env = no_file }, account)))
    account["password-file"] = nil
    assert.equal("from config", (find({ env = no_file }, account)))
    account.password = nil
    assert.equal("from systemd",
      (find({ env = { XMPP_PASSWORD_FILE = false, CREDENTIALS_DIRECTORY = "/cred" } }, account)))
    local word, from, w = find({ env = no_file, secret = "typed" }, account)
    assert.same({ "typed", "terminal", { "Password of a@b: " } }, { word, from, w.asked })
  end)

  it("that is missing is reported, with what to do", function()
    local err = raised(find, { env = { XMPP_PASSWORD_FILE = false } })
    assert.truthy(err.text:find("`xmpp account password` stores one", 1, true), err.text)
    assert.equal("config", err.layer)
  end)

  it("in a file that others may read is refused", function()
    local ctx = sources { env = { XMPP_PASSWORD_FILE = "/p/open" } }
    local w = cmd.world { env = { XMPP_PASSWORD_FILE = "/p/open" },
      files = { ["/p/open"] = { text = "x", mode = tonumber("644", 8) } } }
    ctx.world = w
    local err = raised(secret.find, ctx, { jid = "a@b" }, "a@b")
    assert.truthy(err.text:find("chmod 600 '/p/open'", 1, true), err.text)
  end)

  it("isn't taken from a command that fails, or prints nothing", function()
    local env = { XMPP_PASSWORD_FILE = false }
    local err = raised(find, { env = env }, { jid = "a@b", ["password-command"] = "echo x; exit 3" })
    assert.truthy(err.text:find("password-command ended with status 3", 1, true), err.text)
    err = raised(find, { env = env }, { jid = "a@b", ["password-command"] = "true" })
    assert.truthy(err.text:find("empty first line", 1, true), err.text)
  end)

  it("in the environment is removed from it, and mentioned with -v", function()
    local _, _, w = find { env = { XMPP_PASSWORD_FILE = false, XMPP_PASSWORD = "x" }, verbose = true }
    assert.is_nil(w.env "XMPP_PASSWORD")
    assert.truthy(w.stderr:find("other programs of this user may read it", 1, true), w.stderr)
    _, _, w = find { env = { XMPP_PASSWORD_FILE = false, XMPP_PASSWORD = "x" } }
    assert.equal("", w.stderr)
  end)
end)

describe("account", function()
  local folder
  before_each(function() folder = shell.folder() end)
  after_each(function() shell.remove(folder) end)

  local function mode(path) return shell.succeed("stat -c %a " .. path):match "%d+" end

  it("add tries the password, keeps it where nobody else reads it, and others use it", around(function(t)
    local w = cmd.world { folder = folder, env = { XMPP_PASSWORD = false }, secret = "s3cret" }
    xmpp.spawn(function() cmd.run(w, { "account", "add", "bot@example.net" }, true) end)
    t:advance(6)
    assert.equal(0, w.status, w.stderr)
    assert.same({ "Password of bot@example.net: " }, w.asked)
    local path = folder .. "/xmpp/config.lua"
    assert.equal(("[default]\njid = bot@example.net\npassword-file = %s/xmpp/default.password\n"):format(folder),
      shell.read(path))
    assert.equal("s3cret\n", shell.read(folder .. "/xmpp/default.password"))
    assert.same({ "600", "600", "700" }, { mode(path), mode(folder .. "/xmpp/default.password"), mode(folder
      .. "/xmpp") })
    assert.is_nil((w.stdout .. w.stderr):find("s3cret", 1, true))
    w = cmd.world { folder = folder, env = { XMPP_PASSWORD = false } }
    xmpp.spawn(function() cmd.run(w, { "account", "list" }, true) end)
    t:advance(1)
    assert.equal("default  bot@example.net  (password: file)\n", w.stdout)
    w = cmd.world { folder = folder, env = { XMPP_PASSWORD = false } }
    xmpp.spawn(function() cmd.run(w, { "account", "check" }, true) end)
    t:advance(6)
    assert.truthy(w.stdout:find("^bot@example.net: logged in by "), w.stdout)
  end))

  it("add keeps nothing when the login is refused", around(function(t)
    t:refuse "not-authorized"
    local w = cmd.world { folder = folder, env = { XMPP_PASSWORD = false }, secret = "wrong" }
    xmpp.spawn(function() cmd.run(w, { "account", "add", "bot@example.net" }, true) end)
    t:advance(6)
    assert.equal(7, w.status)
    assert.equal("", shell.succeed("ls " .. folder))
  end))

  it("password replaces what was stored, and remove forgets it", around(function(t)
    shell.succeed(("mkdir %s/xmpp && printf '[default]\\njid = bot@example.net\\npassword = old\\n# "
      .. "kept\\n\\n[other]\\njid = "
      .. "c@d\\n' >%s/xmpp/config.lua"):format(folder, folder))
    local w = cmd.world { folder = folder, env = { XMPP_PASSWORD = false }, secret = "new" }
    shell.succeed(("chmod 600 %s/xmpp/config.lua"):format(folder))
    xmpp.spawn(function() cmd.run(w, { "account", "password" }, true) end)
    t:advance(6)
    assert.equal(0, w.status, w.stderr)
    assert.equal(("[default]\npassword-file = %s/xmpp/default.password\njid = bot@example.net\n# "
      .. "kept\n\n[other]\njid = c@d\n")
      :format(folder), shell.read(folder .. "/xmpp/config.lua"))
    w = cmd.world { folder = folder }
    xmpp.spawn(function() cmd.run(w, { "account", "remove", "default" }, true) end)
    t:advance(6)
    assert.equal(0, w.status, w.stderr)
    assert.equal("[other]\njid = c@d\n", shell.read(folder .. "/xmpp/config.lua"))
    assert.equal("config.lua\n", shell.succeed(("ls %s/xmpp"):format(folder)))
  end))

  it("remove leaves the room sections after it alone", around(function(t)
    local path = folder .. "/xmpp/config.lua"
    shell.succeed(("mkdir %s/xmpp && printf '[default]\\njid = a@b\\n[room tea@x.y]\\nnick = me\\n' >%s"):format(folder,
      path))
    local w = cmd.world { folder = folder }
    xmpp.spawn(function() cmd.run(w, { "account", "remove", "default" }, true) end)
    t:advance(6)
    assert.equal("[room tea@x.y]\nnick = me\n", shell.read(path))
  end))

  it("add refuses what isn't a user's address, and a name that is taken", function()
    local w = cmd.world { folder = folder, secret = "x" }
    assert.equal(2, cmd.run(w, { "account", "add", "example.net" }, true))
    w = cmd.world { folder = "/c", files = { ["/c/xmpp/config.lua"] = { text = "[a]\njid = a@b\n", mode = 0 } } }
    assert.equal(2, cmd.run(w, { "account", "add", "x@y", "a" }, true))
    assert.truthy(w.stderr:find("there is an account 'a' already", 1, true), w.stderr)
    assert.equal(2, cmd.run(w, { "account", "add", "x@y", "a b" }, true))
  end)
end)

describe("check", function()
  local function checked(t, argv, seconds)
    local w = cmd.world()
    table.insert(argv, 1, "check")
    cmd.start(w, argv)
    t:advance(seconds or 10)
    return w
  end

  -- The message that it sends to itself comes back.
  local function echo(t)
    t:on({ "message", { to = "bot@example.net/cron" } }, function(stanza)
      return { { "message", { id = stanza[2].id, from = "bot@example.net/cron" }, { "body", {}, "xmpp check" } } }
    end)
  end

  it("prints OK, with what it has measured", around(function(t)
    echo(t)
    local w = checked(t, {})
    assert.equal(0, w.status, w.stdout)
    assert.equal("XMPP OK - dns 0.00s, tcp 0.00s, tls 0.00s, login 0.00s, ping 0.00s, echo 0.00s | dns=0.000s;1;5 "
      .. "tcp=0.000s;1;5 tls=0.000s;1;5 login=0.000s;1;5 ping=0.000s;1;5 echo=0.000s;1;5\n", w.stdout)
  end))

  local function slow_ping(t, seconds)
    t:on({ "iq", {}, { "ping", { xmlns = "urn:xmpp:ping" } } }, function(stanza)
      xmpp.after(seconds, function()
        t:receive { "iq", { type = "result", id = stanza[2].id, from = "example.net" } }
      end)
      return false
    end)
  end

  it("warns of what takes long, and prints CRITICAL for what takes longer", around(function(t)
    slow_ping(t, 2)
    local w = checked(t, { "--only", "ping" })
    assert.same({ 1, "XMPP WARNING - ping took 2.00s | ping=2.000s;1;5\n" }, { w.status, w.stdout })
    w = checked(t, { "--only", "ping", "-w", "0.5", "-c", "2" })
    assert.same({ 2, "XMPP CRITICAL - ping took 2.00s | ping=2.000s;0.5;2\n" }, { w.status, w.stdout })
    w = checked(t, { "--only", "ping", "-w", "3" })
    assert.same({ 0, "XMPP OK - ping 2.00s | ping=2.000s;3;5\n" }, { w.status, w.stdout })
  end))

  it("prints CRITICAL if a step fails", around(function(t)
    t:on({ "message", {} }, function() return false end)
    local w = checked(t, { "--only", "echo", "-t", "3" }, 20)
    assert.equal(2, w.status)
    assert.truthy(w.stdout:find("^XMPP CRITICAL %- echo: timeout: .* | echo=3.000s;1;5\n$"), w.stdout)
  end))

  it("prints CRITICAL if the login is refused", around(function(t)
    t:refuse "not-authorized"
    local w = checked(t, {})
    assert.equal(2, w.status)
    assert.truthy(w.stdout:find("^XMPP CRITICAL %- login: sasl: not%-authorized: "), w.stdout)
  end))

  it("writes metrics", around(function(t)
    echo(t)
    local w = checked(t, { "--prometheus", "--only", "ping,echo" })
    local metrics = {}
    for line in w.stdout:gmatch "[^\n]+" do
      local name, value = line:match "^([%w_]+{[^}]*}) (%S+)$"
      assert.truthy(name or line:find "^# HELP xmpp_" or line:find "^# TYPE xmpp_[%w_]+ gauge$", line)
      if name then metrics[name] = tonumber(value) end
    end
    assert.same({ ['xmpp_up{target="bot@example.net"}'] = 1,
      ['xmpp_step_seconds{target="bot@example.net",step="ping"}'] = 0,
      ['xmpp_step_seconds{target="bot@example.net",step="echo"}'] = 0,
      ['xmpp_step_ok{target="bot@example.net",step="ping"}'] = 1,
      ['xmpp_step_ok{target="bot@example.net",step="echo"}'] = 1 }, metrics)
  end))

  it("writes JSON", around(function(t)
    local w = checked(t, { "--json", "--only", "ping" })
    assert.same({ type = "check", target = "bot@example.net", status = "OK", problems = {},
      steps = { { name = "ping", seconds = 0, ok = true } } }, cjson.decode(w.stdout))
  end))

  it("prints CRITICAL if what was asked for could not be tried", around(function(t)
    t:refuse "not-authorized"
    local w = checked(t, { "--only", "ping,muc" })
    assert.equal(2, w.status)
    assert.truthy(w.stdout:find("^XMPP CRITICAL %- login: sasl: not%-authorized: "), w.stdout)
  end))

  it("of a domain refuses a step that needs an account", function()
    for _, words in ipairs { { "--only", "dns,muc" }, { "--room", "tea@rooms.example.net" }, { "--only", "login" } } do
      local w = cmd.world()
      assert.equal(3, cmd.run(w, { "check", "example.net", words[1], words[2] }, true))
      assert.truthy(w.stdout:find("needs an account, and 'example.net' is a domain", 1, true), w.stdout)
    end
  end)

  it("prints UNKNOWN, on stdout too, if it can't check", function()
    local w = cmd.world()
    assert.equal(3, cmd.run(w, { "check", "-a", "nobody" }, true))
    assert.truthy(w.stdout:find("^XMPP UNKNOWN %- there is no account"), w.stdout)
  end)
end)

describe("console", function()
  -- The console's own loop polls the system for input: here there is some until it ends.
  local function console(t, text)
    local w = cmd.world { input = text }
    w.sys = setmetatable({ poll = function() t:next() return true end }, { __index = w.sys })
    local real = w.input.line
    function w.input.line(self, most) return real(self, most) end
    cmd.run(w, { "console" })
    return w
  end

  it("evaluates, and shows the result", around(function(t)
    local w = console(t, "1 + 1\nx = 5\nx\nfor i = 1, 2 do\nprint(i)\nend\n{ 'a', b = 'c\\27' }\nconn:jid()\n")
    assert.equal(0, w.status)
    assert.equal("2\n5\n1\n2\n{ \"a\", b = \"c\\x1b\" }\nbot@example.net/cron\n", w.stdout)
  end))

  it("reports mistakes, and goes on", around(function(t)
    local w = console(t, "1 +* 2\nerror('no', 0)\nnil + 1\n<a\n7\n")
    assert.equal(0, w.status)
    assert.truthy(w.stdout:find("unexpected symbol", 1, true), w.stdout)
    assert.truthy(w.stdout:find("\nno\n", 1, true), w.stdout)
  end))

  it("sends a line that begins with < as XML, and refuses what isn't a stanza", around(function(t)
    console(t, "<message to='anna@example.net'><body>hi</body></message>\n<message a='1' a='2'/>\n")
    t:expect { "message", { to = ANNA }, { "body", {}, "hi" } }
  end))

  it("keeps a history for its owner, except for lines that begin with a space", around(function(t)
    shell.in_folder(function(folder)
      local w = cmd.world { input = "1\n 2\n1\n1\n3\n", tty = { [0] = true }, folder = folder }
      w.sys = setmetatable({ poll = function() t:next() return true end }, { __index = w.sys })
      cmd.run(w, { "console" })
      assert.equal("1\n3\n", shell.read(folder .. "/xmpp/history"))
      assert.equal("600\n700\n", shell.succeed(("stat -c %%a %s/xmpp/history %s/xmpp"):format(folder, folder)))
    end)
  end))

  it("has the library's modules loaded, and waits for answers", around(function(t)
    t:on({ "iq", {}, { "query", { xmlns = "jabber:iq:version" } } }, function()
      return { "query", { xmlns = "jabber:iq:version" }, { "name", {}, "Server" }, { "version", {}, "7" } }
    end)
    local w = console(t, "info.version(conn, 'example.net').name\n")
    assert.truthy(w.stdout:find("\nServer\n$"), w.stdout)
  end))
end)

describe("run", function()
  local function bot(text, argv, o)
    local path = shell.file(text)
    local w, words = cmd.world(o), { "run" }
    for _, word in ipairs(o and o.options or {}) do words[#words + 1] = word end
    words[#words + 1] = path
    for _, word in ipairs(argv or {}) do words[#words + 1] = word end
    if o and o.begin then o.begin(w) end
    cmd.run(w, words)
    os.remove(path)
    return w
  end

  it("gives a bot its connection and arguments, and ends with its status", around(function(t)
    local w = bot([[
      log(arg[0] ~= nil, arg[2], ...)
      conn:set_callback(function() end)
      xmpp.after(10, function() xmpp.quit(7) end)
    ]], { "one", "--json" })
    assert.equal(7, w.status)
    assert.truthy(w.stderr:find("true %-%-json one %-%-json\n$"), w.stderr)
    t:advance(0)
  end))

  it("lets it run the loop itself", around(function()
    local w = bot [[
      xmpp.after(5, function() xmpp.quit() end)
      xmpp.run()
    ]]
    assert.equal(0, w.status)
  end))

  -- SIGTERM comes after `seconds`, as far as the command knows. `options` of run. Returns the world, and how many
  -- seconds it asked the system for.
  local function by_term(text, options, seconds)
    local hears, on_signal, insisted = {}, xmpp.on_signal, nil
    function xmpp.on_signal(name, f) hears[name] = f end
    xmpp.after(seconds or 2, function() hears.SIGTERM "SIGTERM" end)
    local ok, w = pcall(bot, text, nil, { options = options, begin = function(w)
      w.signals = true
      rawset(w.sys, "insist", function(n) insisted = n end)
    end })
    xmpp.on_signal = on_signal
    if not ok then error(w, 0) end
    return w, insisted
  end

  local AT_WORK = [[
    conn:set_handler(function(m)
      if m[1] ~= "message" then return end
      log "at work"
      xmpp.sleep(%d)
      conn:send(xmpp.xexpr.reply(m, { "body", "done" }))
    end)
    timer = xmpp.every(1, function() end)
    conn:on("state", function(s) if s == "closed" then timer:cancel() end end)]]

  local function gets_work(t)
    xmpp.after(1, function() t:receive { "message", { from = "anna@example.net" }, { "body", "work" } } end)
  end

  it("finishes running calls by TERM, without a message", around(function(t)
    gets_work(t)
    local w, insisted = by_term(AT_WORK:format(3))
    assert.same({ 0, 11 }, { w.status, insisted })
    t:expect { "message", { to = "anna@example.net" }, { "body", {}, "done" } }
    assert.is_nil(w.stderr:find "xmpp:")
  end))

  it("ends with 8 and reports what it hasn't finished in time", around(function(t)
    gets_work(t)
    local w, insisted = by_term(AT_WORK:format(30), { "--drain", "9" })
    assert.same({ 8, 15 }, { w.status, insisted })
    assert.truthy(w.stderr:find("xmpp: ended by SIGTERM before everything was done: 1 calls of handlers", 1, true),
      w.stderr)
    t:advance(30)
  end))

  it("ends with 5 by TERM if the connection is lost", around(function(t)
    gets_work(t)
    xmpp.after(3, function() t.server:close "conflict" end)
    local w = by_term(AT_WORK:format(30), { "--drain", "60" })
    assert.equal(5, w.status)
    assert.truthy(w.stderr:find("conflict", 1, true), w.stderr)
    t:advance(30)
  end))

  it("ends when the connection does, whatever timers are left", around(function(t)
    local w
    xmpp.after(2, function() t.server:close "conflict" end)
    w = bot [[ timer = xmpp.every(1, function() end); conn:on("state", function(s)
      if s == "closed" then timer:cancel() end end) ]]
    assert.equal(7, w.status)
    assert.truthy(w.stderr:find("conflict", 1, true), w.stderr)
  end))

  it("ends when the connection does, though its timers go on", around(function(t)
    local calls = 0
    xmpp.after(2, function() t.server:close "conflict" end)
    local timer = xmpp.every(1, function() calls = calls + 1 end)
    local w = bot [[ conn:set_callback(function() end) ]]
    assert.equal(7, w.status)
    assert.is_nil(w.exited)
    assert.is_true(calls <= 3, tostring(calls))
    timer:cancel()
  end))

  -- A program with a loop of its own, which never ends unless the test says so.
  local WAITS = "while not over do xmpp.sleep(1) end"

  it("ends a program that waits for ever, when the connection is closed for good", around(function(t)
    _G.over = false
    xmpp.after(2, function() t.server:close "conflict" end)
    xmpp.after(30, function() _G.over = true end)
    local w = bot(WAITS)
    _G.over = nil
    assert.equal(7, w.exited)
    local _, told = w.stderr:gsub("conflict", "")
    assert.is_true(told >= 1, w.stderr)
  end))

  it("ends it 5 seconds after xmpp.quit, closing the stream, unless it ends by itself", around(function()
    _G.over = false
    local at
    xmpp.after(30, function() _G.over = true end)
    local core = require "xmpp.load"
    local began = core.now()
    _G.note = function() at = core.now() - began end
    local w = bot("xmpp.after(2, function() xmpp.quit(9) end)\n"
      .. "conn:on('state', function(s) if s == 'closed' then note() end end)\n" .. WAITS)
    assert.equal(9, w.exited)
    assert.is_true(at >= 7 and at < 8, tostring(at))
    _G.over = false
    xmpp.after(4, function() _G.over = true end)
    w = bot("xmpp.after(2, function() xmpp.quit(9) end) " .. WAITS)
    _G.over, _G.note = nil, nil
    assert.same({ 9, nil }, { w.status, w.exited })
  end))

  it("reports where it has thrown, with 70", around(function()
    local w = bot "local t = nil\nt.x = 1\n"
    assert.equal(70, w.status)
    assert.truthy(w.stderr:find(":2: ", 1, true), w.stderr)
    assert.truthy(w.stderr:find("traceback", 1, true), w.stderr)
  end))

  it("refuses a file that isn't valid Lua, before it connects", function()
    local w = bot "x = = 1"
    assert.equal(9, w.status)
    w = cmd.world()
    assert.equal(9, cmd.run(w, { "run", "/nonexistent.lua" }))
  end)
end)

describe("an exit status", function()
  it("depends on the layer", function()
    local statuses = { dns = 4, tcp = 5, tls = 6, stream = 7, sasl = 7, bind = 7, stanza = 1, timeout = 8, closed = 5,
      limit = 9, usage = 2, config = 3, input = 9, partly = 10, output = 11, interrupted = 130 }
    for layer, status in pairs(statuses) do
      local got, text, fields = exit.explain { layer = layer, condition = "c", text = "t", command = true }
      assert.same({ layer, status, "t", layer, "c" }, { layer, got, text, fields.layer, fields.condition })
    end
    assert.equal(141, (exit.explain { layer = "output", condition = "EPIPE", text = "t", command = true }))
    assert.equal(70, (exit.explain "a text"))
    local listed = {}
    for _, row in ipairs(exit.LIST) do listed[row[1]] = true end
    for _, status in pairs(statuses) do assert.is_true(listed[status], tostring(status)) end
  end)

  it("comes with advice", function()
    local _, text = exit.explain { layer = "tcp", condition = "ECONNREFUSED", text = "t" }
    assert.truthy(text:find("--host and --port", 1, true))
  end)
end)

describe("names on a terminal", function()
  local color = require "xmpp.color"

  -- XEP-0392, section 13: angle, red, green, blue
  local VECTORS = { { "Romeo", 327.255249, 0.865, 0.000, 0.686 }, { "juliet@capulet.lit", 209.410400, 0.000, 0.515,
    0.573 },
    { "😺", 331.199341, 0.872, 0.000, 0.659 }, { "council", 359.994507, 0.918, 0.000, 0.394 } }

  it("have the colours of XEP-0392", function()
    for _, v in ipairs(VECTORS) do
      local r, g, b = color.rgb(v[1])
      assert.is_true(math.abs(color.hue(v[1]) - v[2]) < 1e-4, v[1])
      for i, c in ipairs { r, g, b } do assert.is_true(math.abs(c - v[i + 2]) < 0.001, ("%s %d: %f"):format(v[1], i,
        c)) end
    end
  end)

  local function listened(o, argv)
    return around(function(t)
      local w = cmd.world(o)
      cmd.start(w, { "ping", "-n", "1", "-i", "0", ANNA, (table.unpack or unpack)(argv or {}) })
      t:expect { "iq", { to = ANNA } }
      t:advance(6)
      assert.equal(o.colored == true, w.stdout:find("\27%[38;5;%d+m" .. ANNA .. "\27%[0m") ~= nil, w.stdout)
      assert.equal(o.colored == true, w.stdout:find("\27", 1, true) ~= nil)
    end)
  end

  it("are coloured", listened { tty = { true, true }, colored = true })
  it("aren't if it isn't a terminal", listened { tty = {} })
  it("aren't with NO_COLOR", listened { tty = { true, true }, env = { NO_COLOR = "1" } })
  it("aren't on a dumb terminal", listened { tty = { true, true }, env = { TERM = "dumb" } })
  it("are if that is asked for", listened({ tty = {}, colored = true }, { "--color=always" }))
  it("aren't if that is asked for", listened({ tty = { true, true } }, { "--color", "never" }))
  it("aren't in JSON", listened({ tty = { true, true } }, { "--json", "--color=always" }))
end)

describe("what is generated from the table", function()
  local complete = require "xmpp.cmd.complete"

  local function each_option(f)
    for _, command in ipairs(spec.commands) do
      for _, option in ipairs(spec.options(command)) do f(command, option) end
    end
  end

  it("is of this version", function() assert.equal(xmpp._VERSION, "xmpp " .. spec.version) end)

  it("has a file for each subcommand, and no other", function()
    for _, command in ipairs(spec.commands) do
      assert.is_function(require("xmpp.cmd." .. command.name).run, command.name)
    end
  end)

  it("has no option twice", function()
    for _, command in ipairs(spec.commands) do
      local seen = {}
      for _, option in ipairs(spec.options(command)) do
        assert.is_nil(seen[option[1]], command.name .. " --" .. option[1])
        assert.is_nil(option[2] and seen[option[2]] or nil, command.name .. " -" .. tostring(option[2]))
        seen[option[1]] = true
        if option[2] then seen[option[2]] = true end
      end
    end
  end)

  it("is complete in the manual", function()
    local page = require "xmpp.cmd.man".page()
    local at = {}
    for i, command in ipairs(spec.commands) do
      at[i] = page:find("\n.Ss " .. command.name .. "\n", 1, true)
      assert.truthy(at[i], command.name)
    end
    at[#at + 1] = page:find("\n.Ss Options of all subcommands\n", 1, true)
    for i, command in ipairs(spec.commands) do
      local section = page:sub(at[i], at[i + 1])
      for _, option in ipairs(command.options) do
        assert.truthy(section:find("Fl \\-" .. option[1]:gsub("%-", "\\-"), 1, true), command.name .. " " .. option[1])
      end
      for _, word in ipairs(command.words or {}) do
        assert.truthy(word[3] == "" or section:find(".It Cm " .. word[1], 1, true), word[1])
      end
    end
    for _, option in ipairs(spec.common) do
      assert.truthy(page:find("Fl \\-" .. option[1]:gsub("%-", "\\-"), at[#at], true), option[1])
    end
    for _, row in ipairs(exit.LIST) do assert.truthy(page:find(".It Li " .. row[1] .. "\n", 1, true)) end
  end)

  it("is complete in the completions", function()
    local bash, zsh, fish = complete.bash(spec), complete.zsh(spec), complete.fish(spec)
    local function section(text, from, to) return text:match(from .. "(.-)" .. to) end
    each_option(function(command, option)
      local where = command.name .. " " .. option[1]
      local long = ("--" .. option[1]):gsub("%-", "%%-")
      local b = section(bash, "\n    " .. command.name .. "%)\n", "fi ;;\n")
      assert.truthy(b:find(" " .. long .. "[ \"]") or b:find('"' .. long .. "[ \"]"), where)
      local z = section(zsh, "\n    " .. command.name .. "%) ", ";;\n")
      assert.truthy(z:find(long .. "['}%[]"), where)
      assert.truthy(fish:find(("'__fish_seen_subcommand_from %s' -l %s "):format(command.name, option[1]), 1, true),
        where)
    end)
    for _, command in ipairs(spec.commands) do
      for _, text in ipairs { bash, zsh, fish } do assert.truthy(text:find(command.name, 1, true)) end
    end
  end)

  it("completes contacts in bash, where @ splits words", function()
    shell.in_folder(function(folder)
      local path = folder .. "/completion"
      local file = assert(io.open(path, "w"))
      file:write(complete.bash(spec))
      file:close()
      -- As bash calls it: the line, and its words as split by COMP_WORDBREAKS.
      local function completed(line, ...)
        local script = [[. $0; xmpp() { printf "anna@example.net\\nannie@example.net\\nbert@example.org\\n"; }
          COMP_LINE=$1 COMP_POINT=${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
          _xmpp; echo "${COMPREPLY[*]}"]]
        local words = {}
        for i, word in ipairs { line, ... } do words[i] = "'" .. word .. "'" end
        return shell.succeed(("bash -c '%s' %s %s"):format(script, path, table.concat(words, " ")))
      end
      assert.equal("anna@example.net annie@example.net\n", completed("xmpp send ann", "xmpp", "send", "ann"))
      assert.equal("example.net\n", completed("xmpp send anna@ex", "xmpp", "send", "anna", "@", "ex"))
      assert.equal("example.net\n", completed("xmpp send anna@", "xmpp", "send", "anna", "@"))
      assert.equal("bert@example.org\n", completed("xmpp listen --from b", "xmpp", "listen", "--from", "b"))
      assert.equal("add anna@example.net annie@example.net\n", completed("xmpp roster a", "xmpp", "roster", "a")
        :gsub("approve ", ""))
      assert.equal("\n", completed("xmpp muc join ann", "xmpp", "muc", "join", "ann"))
    end)
  end)

  it("doesn't document what only the completions call", function()
    for _, command in ipairs(spec.hidden) do
      assert.is_function(require("xmpp.cmd." .. command.name).run)
      local w = cmd.world()
      cmd.run(w, { "help" }, true)
      assert.is_nil(w.stdout:find("\n  " .. command.name .. " ", 1, true))
      assert.is_nil(require "xmpp.cmd.man".page():find("\n.Ss " .. command.name, 1, true))
    end
  end)

  it("documents every key of the JSON output", function()
    local documented = {}
    for _, row in ipairs(require "xmpp.cmd.man".KEYS) do documented[row[1]] = row[2] end
    for _, command in ipairs(spec.commands) do
      local path = ("lua/xmpp/cmd/%s.lua"):format(command.name)
      for kind, rest in shell.read(path):gmatch '{ { "type", "(%w+)" }, (.-) }%)' do
        assert.truthy(documented[kind], kind)
        for key in (rest .. " }"):gmatch '{ "([%w_]+)", ' do
          assert.truthy(documented[kind]:find(key, 1, true), kind .. "." .. key)
        end
      end
    end
  end)
end)
