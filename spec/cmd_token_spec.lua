-- cmd_token: the command logs in by a token that it has kept (XEP-0484): who may own its file, when it is used, and
-- when it is deleted. Against real servers as a process, and the rules for its files without a server.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local tokens = require "xmpp.cmd.token"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"
local LIMIT = 60 -- in seconds, for everything that is run
local AGENT = "5c3b2a10-7f6e-4d5c-8b3a-29180706f5e4"

local folder

local function write(name, text, mode)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  shell.succeed(("chmod %s '%s'"):format(mode or "600", path))
end

local function read(name)
  local file = io.open(folder .. "/" .. name)
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

local function mode(name) return shell.succeed(("stat -c %%a '%s/%s'"):format(folder, name)):match "%d+" end

local function prelude()
  return ("export HOME=%s XDG_CONFIG_HOME=%s LC_ALL=C.UTF-8 TERM=xterm\n"
    .. "unset NO_COLOR XMPP_PASSWORD XMPP_PASSWORD_FILE CREDENTIALS_DIRECTORY DBUS_SESSION_BUS_ADDRESS\n"
    .. "export %s\nxmpp() { timeout -k 5 %d %s bin/xmpp \"$@\"; }\n"
    .. "until_there() { for i in $(seq 300); do grep -qs -- \"$1\" $HOME/$2 && return; sleep 0.1; done; }\n")
    :format(folder, folder, (shell.HERE:gsub("(?%.lua)'", "%1;;'"):gsub("(?%.so)'", "%1;;'")), LIMIT, LUA)
end

local function run(script)
  return shell.run("bash -c '" .. (prelude() .. script):gsub("'", "'\\''") .. "'")
end

-- The account [default] is alice's, with these lines added; each time the password is read, the file "asked" grows.
local function configure(s, more, jid)
  shell.succeed(("mkdir -p %s/xmpp && chmod 700 %s/xmpp"):format(folder, folder))
  write("asked", "")
  write("alice.password", s.users.alice .. "\n")
  write("xmpp/config.lua", ("[default]\njid = %s\npassword-command = echo x >>%s/asked; cat %s/alice.password\n"
    .. "host = %s\nport = %d\ntls = direct\nca-file = %s\n%s"):format(jid or "alice@" .. s.domain, folder, folder,
    s.host, s.tls_port, s.ca, more or ""))
end

local function times_asked() return select(2, read "asked":gsub("x", "")) end

-- What `xmpp account check` reports, and its messages.
local function check()
  local text, status = run(("xmpp account check --json 2>%s/err"):format(folder))
  assert.equal(0, status, text .. read "err")
  return cjson.decode(text), read "err"
end

local function rows(s)
  before_each(function() folder = shell.folder() end)
  after_each(function() shell.remove(folder) end)

  it("keeps none by default", function()
    configure(s)
    for _ = 1, 2 do
      local told, err = check()
      assert.same({ "sasl2", false, "" }, { told.profile, told.fast, err })
    end
    assert.equal("config.lua\n", shell.succeed(("ls %s/xmpp"):format(folder)))
    assert.equal(2, times_asked())
  end)

  it("uses it for the second login, and doesn't read the password", function()
    configure(s, "keep-token = true\n")
    local told, err = check()
    assert.same({ false, "", 1 }, { told.fast, err, times_asked() })
    assert.same({ "600", "600" }, { mode "xmpp/default.token", mode "xmpp/default.agent" })
    local agent = read "xmpp/default.agent"
    told, err = check()
    assert.same({ true, "sasl2", "HT-SHA-256-EXPR", "" }, { told.fast, told.profile, told.mechanism, err })
    assert.equal(1, times_asked())
    assert.equal(agent, read "xmpp/default.agent")
    assert.equal("config.lua\ndefault.agent\ndefault.token\n", shell.succeed(("ls %s/xmpp"):format(folder)))
  end)

  it("sends within one exchange with bind2, and shows no token to who looks on", function()
    configure(s, "keep-token = true\nbind2 = true\n")
    local bob = assert(xmpp.connect_client("bob@" .. s.domain .. "/desk", s.users.bob, s.host, s.port, s.opts()))
    for i, way in ipairs { "SCRAM%-SHA%-", "HT%-SHA%-256%-EXPR" } do
      local text, status = run(("xmpp send -v bob@%s/desk -- hello %d"):format(s.domain, i))
      assert.equal(0, status, text)
      assert.equal("hello " .. i, xmpp.xexpr.text(assert(bob:receive_blocking(10)), "body"))
      assert.matches("<authenticate [^\n]*mechanism='" .. way, text)
      local before = text:match "^(.-)\n%-> <message" -- all that was sent before
      local _, said = before:gsub("%f[^\n%z]%-> ", "")
      assert.equal(i == 1 and 3 or 2, said, before) -- the header, <authenticate/>, and with SCRAM the proof
      local secret = xmpp.unbase64(read "xmpp/default.token":match "\ntoken = (%S+)")
      assert.is_nil(text:find(secret, 1, true))
    end
    assert.equal(1, times_asked())
    local told = check()
    assert.same({ true, true }, { told.fast, told.bound_inline })
    bob:stop()
  end)

  it("doesn't end another process of the same account", function()
    configure(s, "keep-token = true\nbind2 = true\n")
    check()
    local text, status = run([[
      xmpp listen -v --json --priority 0 -n 1 -W 40 2>$HOME/listens >$HOME/heard & goes_on=$!
      until_there '<presence' listens
      mkfifo $HOME/lines
      xmpp send -v --lines --rate 100 alice@]] .. s.domain .. [[/nobody <$HOME/lines 2>$HOME/sends & sends=$!
      exec 9>$HOME/lines
      until_there '<success' sends
      xmpp account check --json || exit 90
      xmpp send alice@]] .. s.domain .. [[ -- 'to itself' || exit 91
      exec 9>&-
      wait $sends || exit 92
      wait $goes_on || exit 93]])
    assert.equal(0, status, text .. (read "listens" or "") .. (read "sends" or ""))
    assert.equal("to itself", cjson.decode((read "heard":match "[^\n]+"))["body"])
    local told = cjson.decode((text:match "[^\n]+"))
    assert.same({ true, false }, { told.fast, told.bound_inline }) -- not bound inline while the first one is online
    assert.matches("urn:ietf:params:xml:ns:xmpp%-bind", read "listens")
    assert.is_nil(read "sends":find("urn:ietf:params:xml:ns:xmpp-bind", 1, true))
    assert.equal(2, times_asked()) -- one that reconnects needs the password, too
  end)

  it("ignores one that others may read, says so, and keeps another", function()
    configure(s, "keep-token = true\n")
    check()
    local old = read "xmpp/default.token"
    shell.succeed(("chmod 640 %s/xmpp/default.token"):format(folder))
    local told, err = check()
    assert.same({ false, 2 }, { told.fast, times_asked() })
    assert.equal(("xmpp: %s/xmpp/default.token is ignored: others may read or change it\n"):format(folder), err)
    assert.equal("600", mode "xmpp/default.token")
    assert.not_equal(old, read "xmpp/default.token")
    assert.is_true(check().fast)
  end)

  it("has the server forget it, once", function()
    configure(s, "keep-token = true\n")
    check()
    local kept = read "xmpp/default.token"
    local text, status = run "xmpp logout --json"
    assert.equal(0, status, text)
    assert.same({ type = "account", name = "default", jid = "alice@" .. s.domain, token = "forgotten" },
      cjson.decode(text))
    assert.is_nil(read "xmpp/default.token")
    assert.equal("600", mode "xmpp/default.agent")
    text, status = run "xmpp logout default"
    assert.same({ ("alice@%s: there is no token\n"):format(s.domain), 0 }, { text, status })
    write("xmpp/default.token", kept)
    text, status = run "xmpp logout"
    assert.same({ ("alice@%s: the server had forgotten the token already\n"):format(s.domain), 0 }, { text, status })
    assert.is_nil(read "xmpp/default.token")
    assert.equal(1, times_asked())
  end)

  it("uses the password where the server refuses it, says so, and keeps another", function()
    configure(s, "keep-token = true\n")
    check()
    local kept, agent = read "xmpp/default.token", read "xmpp/default.agent"
    assert.equal(0, select(2, run "xmpp logout -q"))
    write("xmpp/default.token", kept)
    write("alice.password", "wrong\n")
    local text, status = run "xmpp account check"
    assert.equal(7, status, text)
    assert.is_nil(read "xmpp/default.token") -- deleted, although the next attempt failed as well
    configure(s, "keep-token = true\n")
    write("xmpp/default.token", kept)
    local told, err = check()
    assert.same({ false, 1 }, { told.fast, times_asked() })
    assert.equal(("xmpp: the token of alice@%s was refused; the password is used instead\n"):format(s.domain), err)
    assert.not_equal(kept, read "xmpp/default.token")
    assert.equal(agent, read "xmpp/default.agent")
    assert.is_true(check().fast)
  end)

  it("keeps it if the server can't be asked to delete it", function()
    configure(s, "keep-token = true\n")
    check()
    local kept = read "xmpp/default.token"
    local text, status = run "xmpp logout --port 1"
    assert.equal(5, status, text)
    assert.equal(kept, read "xmpp/default.token")
  end)

  it("is deleted with its account", function()
    configure(s, "keep-token = true\n")
    check()
    assert.equal(0, select(2, run "xmpp account remove default"))
    assert.equal("config.lua\n", shell.succeed(("ls %s/xmpp"):format(folder)))
  end)

  it("is not used when a new password is tried", function()
    configure(s, "keep-token = true\n")
    check()
    shell.succeed(("sed -i /^password-command/d %s/xmpp/config.lua"):format(folder))
    write("wrong", "wrong\n")
    local text, status = run(("XMPP_PASSWORD_FILE=%s/wrong xmpp account password"):format(folder))
    assert.equal(7, status, text)
    assert.is_nil(read "xmpp/default.password")
  end)
end

describe("the command's token", function()
  server.each(rows, { extra_modules = "sasl2 sasl2_bind2 sasl2_sm sasl2_fast" }, { "prosody13" })
  server.each(rows, { extra_modules = "auth_fast" }, { "ejabberd24" })

  describe("of a server without any", function()
    server.each(function(s)
      before_each(function() folder = shell.folder() end)
      after_each(function() shell.remove(folder) end)

      it("doesn't exist, and nothing changes", function()
        configure(s, "keep-token = true\nbind2 = true\n")
        for i = 1, 2 do
          local told, err = check()
          assert.same({ "sasl", false, false, "", i },
            { told.profile, told.fast, told.bound_inline, err, times_asked() })
        end
        assert.is_nil(read "xmpp/default.token")
      end)
    end, nil, { "prosody" })
  end)
end)

describe("a token's file", function()
  local account, w, ctx, notes

  before_each(function()
    folder = shell.folder()
    shell.succeed(("mkdir %s/xmpp"):format(folder))
    w = cmd.world { folder = folder }
    notes = {}
    ctx = { world = w, note = function(_, text) notes[#notes + 1] = text end }
    account = { name = "default", jid = "alice@xmpp.test", ["keep-token"] = true }
  end)
  after_each(function() shell.remove(folder) end)

  local function text(changes)
    local fields = { version = "1", jid = "alice@xmpp.test", user_agent = AGENT, mechanism = "HT-SHA-256-EXPR",
      token = xmpp.base64 "s3cret", expiry = "4000000000" }
    for name, value in pairs(changes or {}) do fields[name] = value or nil end
    local out = {}
    for name, value in pairs(fields) do out[#out + 1] = ("%s = %s\n"):format(name, value) end
    return table.concat(out)
  end

  local function found(changes)
    write("xmpp/default.token", type(changes) == "string" and changes or text(changes))
    notes = {}
    return tokens.find(ctx, account, "alice@xmpp.test", AGENT)
  end

  -- The file is ignored, which is reported in a sentence that ends with `why`, and without the secret.
  local function ignored(why, changes)
    assert.is_nil(found(changes))
    assert.equal(1, #notes)
    local said = ("%s/xmpp/default.token is ignored: "):format(folder)
    assert.equal(said, notes[1]:sub(1, #said))
    assert.truthy(notes[1]:find(why, 1, true), notes[1])
    assert.is_nil(notes[1]:find("s3cret", 1, true))
  end

  it("stores it completely, whatever characters the secret has", function()
    assert.same({ version = 1, jid = "alice@xmpp.test", user_agent = AGENT, mechanism = "HT-SHA-256-EXPR",
      token = "s3cret", expiry = 4000000000 }, found())
    local told
    tokens.follow(ctx, account, { on = function(_, event, f)
      assert.equal("token", event)
      told = f
    end })
    local token = { version = 1, jid = "alice@xmpp.test", user_agent = AGENT, mechanism = "HT-SHA-256-EXPR",
      token = "a b\n= \1\255☕" }
    told(token)
    assert.equal("600", mode "xmpp/default.token")
    assert.same(token, tokens.find(ctx, account, "alice@xmpp.test", AGENT))
    token.expiry = 4000000001
    told(token)
    assert.same(token, tokens.find(ctx, account, "alice@xmpp.test", AGENT))
    assert.equal("default.token\n", shell.succeed(("ls %s/xmpp"):format(folder)))
  end)

  it("is ignored if it isn't complete", function()
    for _, name in ipairs { "version", "jid", "user_agent", "mechanism", "token" } do
      ignored(name .. " is missing", { [name] = false })
    end
    ignored("version is missing", "")
    ignored("token is missing", { token = "no base64" })
    ignored("version: written by another version", { version = "2" })
    ignored("there is no field more", { more = "x" })
    ignored("mechanism: one of", { mechanism = "PLAIN" })
    ignored("larger than", ("x"):rep(70000))
  end)

  it("is ignored if it is somebody else's", function()
    ignored("it is another account's", { jid = "bob@xmpp.test" })
    ignored("it is another user agent's", { user_agent = AGENT:gsub("5c", "5d") })
    local stat = { text = text(), mode = tonumber("600", 8), uid = w.sys.uid() + 1 }
    ctx.world = cmd.world { folder = folder, files = { [folder .. "/xmpp/default.token"] = stat } }
    ignored("it belongs to another user")
    stat.uid = w.sys.uid()
    assert.is_table(found())
    for _, bits in ipairs { "640", "604", "620", "602", "610", "601" } do
      stat.mode = tonumber(bits, 8)
      ignored("others may read or change it")
    end
  end)

  it("that has expired is not used, without a message", function()
    assert.is_nil(found { expiry = "1000000000" })
    assert.same({}, notes)
    assert.is_table(found { expiry = false })
  end)

  it("of a user agent is made once", function()
    local kept = tokens.load(ctx, account, "alice@xmpp.test")
    assert.is_nil(kept.token)
    assert.is_true(require "xmpp.options".is_uuid(kept.agent))
    assert.equal("4", kept.agent:sub(15, 15))
    assert.equal("600", mode "xmpp/default.agent")
    assert.equal(kept.agent, tokens.load(ctx, account, "alice@xmpp.test").agent)
    account.name = "other"
    assert.not_equal(kept.agent, tokens.load(ctx, account, "alice@xmpp.test").agent)
    account["keep-token"] = nil
    assert.is_nil(tokens.load(ctx, account, "alice@xmpp.test"))
    assert.same({}, notes)
  end)
end)

describe("bind2", function()
  it("of an account whose jid has a resource is an error in the configuration", function()
    local w = cmd.world { folder = "/c", files = { ["/c/xmpp/config.lua"] = { mode = 0,
      text = "[default]\njid = a@b/c\nbind2 = true\n" } } }
    assert.equal(3, cmd.run(w, { "ping" }, true))
    assert.equal("xmpp: /c/xmpp/config.lua:1: with bind2 the server chooses the resource: leave it out of the jid\n",
      w.stderr)
  end)

  it("and keep-token are true or false", function()
    for _, key in ipairs { "bind2", "keep-token" } do
      local ok, err = pcall(require "xmpp.cmd.config".parse, ("[a]\njid = a@b\n%s = yes\n"):format(key), "x")
      assert.same({ false, "x:3: true or false expected" }, { ok, err.text })
    end
  end)
end)
