-- secrets: credentials stay where they are needed: they aren't in logs, in errors, or in the process's memory once they
-- have been used.
--
-- One thing is beyond the library: a Lua string can't be wiped. Where the caller makes a password, and where Lua copies
-- it, it stays until the memory is used again, collected or not. What is promised, and tested here, is that the
-- library's own memory has none of it as soon as the server has received its proof, and that nothing in Lua refers to
-- it any more: if a function returned it, it is garbage at once. Of what is derived from it, nothing is left anywhere,
-- except for the two keys of SCRAM that the next login needs: after a successful login they are in locked memory, until
-- they are forgotten.
local child = require "spec.support.child"
local fed = require "spec.support.fed"
local json = require("spec.support.luas").json "secrets"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

if not json then return end

local ELEMENTS = { "auth", "response", "challenge", "success", "handshake" }
local SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
local AUTH = "C: <auth " .. SASL .. " mechanism='PLAIN'>...</auth>\n"
local MECHANISMS = { "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256",
  "SCRAM-SHA-1", "PLAIN" }

-- As it is sent in base64, from the first character that depends on the password.
local function in_base64(user, password)
  local text = shell.succeed(("printf '\\0%s\\0%s' | openssl base64 -A"):format(user, password))
  return text:sub(math.ceil((#user + 2) / 3) * 4 + 1)
end

local function lacks(text, secret, what)
  assert.is_nil(text:find(secret, 1, true), what .. " tells a secret: " .. text)
end

-- A log for opts that keeps everything, in order.
local function listener()
  local lines = {}
  return function(direction, text) lines[#lines + 1] = direction .. ": " .. text end, lines
end

-- The log contains the login's elements, with their content masked.
local function check_log(lines, ...)
  local all = table.concat(lines, "\n")
  for _, name in ipairs(ELEMENTS) do
    for content in all:gmatch("<" .. name .. "[%s>][^\n]-</" .. name .. ">") do
      assert.matches("^<[^<>]*>%[masked%]</", content)
    end
  end
  for _, secret in ipairs { ... } do lacks(all, secret, "the log") end
  return all
end

-- Checks everything that a program can read of an error.
local function check_error(err, ...)
  assert.is_table(err)
  local all = tostring(err)
  for key, value in pairs(err) do
    all = all .. "\n" .. tostring(key) .. "=" .. (type(value) == "table" and json.encode(value) or tostring(value))
  end
  for _, secret in ipairs { ... } do lacks(all, secret, "the error") end
end

local uservalue = debug.getuservalue or debug.getfenv -- luacheck: ignore 143

-- How a string that contains the reverse of `backwards` can be reached in Lua from the registry; nil: not at all. This
-- function's own callers are left out.
local function way_to(backwards)
  local seen, queue = {}, { { "registry", debug.getregistry() } }
  local function push(name, value)
    if value == nil or seen[value] then return end
    seen[value] = true
    if type(value) ~= "number" and type(value) ~= "boolean" then queue[#queue + 1] = { name, value } end
  end
  local function push_parts(name, value)
    local kind = type(value)
    push(name .. ".metatable", debug.getmetatable(value))
    if kind == "table" then
      for k, v in next, value do
        push(name .. ".key", k)
        push(name .. "." .. tostring(k):sub(1, 40), v)
      end
    elseif kind == "userdata" then
      for i = 1, 8 do push(name .. ".uservalue", (uservalue(value, i))) end
    elseif kind == "function" then
      for i = 1, 255 do
        local upvalue, v = debug.getupvalue(value, i)
        if not upvalue then break end
        push(name .. ".upvalue " .. upvalue, v)
      end
    elseif kind == "thread" and value ~= coroutine.running() then
      for level = 0, 20 do
        if not debug.getinfo(value, level, "l") then break end
        for i = 1, 250 do
          local variable, v = debug.getlocal(value, level, i)
          if not variable then break end
          push(name .. ".local " .. variable, v)
        end
      end
    end
  end
  for _, item in ipairs(queue) do -- which grows meanwhile
    local name, value = item[1], item[2]
    if type(value) == "string" then
      if value ~= backwards and value:reverse():find(backwards, 1, true) then return name end
    else
      push_parts(name, value)
    end
  end
end

server.each(function(s)
  local function login(name, password, opts)
    local log, lines = listener()
    local o = s.opts { log = log }
    for option, value in pairs(opts or {}) do o[option] = value end
    local conn, err = xmpp.connect_client(name .. "@" .. s.domain, password, s.host, s.port, o)
    return conn, err, lines
  end

  describe("the log", function()
    local function check_login(mechanism, sasl2)
      -- After a login by SCRAM the library doesn't send PLAIN for the account.
      local name = mechanism == "PLAIN" and "carol" or "bob"
      local conn, err, lines = login(name, s.users[name], { mechanisms = { mechanism }, sasl2 = sasl2 })
      if not conn then -- the server doesn't have it, or no channel binding that we have
        assert.equal("sasl", err.layer, tostring(err))
        check_error(err, s.users[name])
        return check_log(lines, s.users[name])
      end
      assert.equal(mechanism, conn:info().mechanism)
      assert(conn:send_await { "iq", { type = "get", to = s.domain }, { "ping", { xmlns = "urn:xmpp:ping" } } })
      lacks(tostring(conn), s.users[name], "the connection")
      local element = conn:info().profile == "sasl2" and "authenticate" or "auth"
      conn:stop()
      local all = check_log(lines, s.users[name], in_base64(name, s.users[name]))
      local said = "out: <%s [^>]*mechanism='%s'[^>]*>%%[masked%%]</%s>"
      assert.matches(said:format(element, mechanism:gsub("%-", "%%-"), element), all)
      assert.matches("in: <success[ /]", all)
    end

    for _, mechanism in ipairs(MECHANISMS) do
      it("doesn't contain a proof of " .. mechanism, function()
        check_login(mechanism, false)
        check_login(mechanism, true) -- older releases of a server don't have it
      end)
    end

    it("and the error don't contain a wrong password", function()
      for _, mechanism in ipairs { "SCRAM-SHA-1", "PLAIN" } do
        local name = mechanism == "PLAIN" and "carol" or "bob"
        local conn, err, lines = login(name, "wr0ng-s3cret", { mechanisms = { mechanism } })
        assert.is_nil(conn)
        assert.equal("not-authorized", err.condition)
        check_error(err, "wr0ng", in_base64(name, "wr0ng-s3cret"))
        assert.matches("out: <auth[^>]* mechanism=", check_log(lines, "wr0ng", in_base64(name, "wr0ng-s3cret")))
      end
    end)

    it("doesn't contain a proof of a component's secret", function()
      for _, secret in ipairs { s.secret, "wr0ng-s3cret" } do
        local log, lines = listener()
        local conn, err = xmpp.connect_component(s.host, s.component_port, s.component, secret, { log = log })
        if conn then conn:stop() end
        if err then check_error(err, secret) end
        assert.matches("out: <handshake>%[masked%]</handshake>", check_log(lines, secret))
      end
    end)
  end)
end)

describe("the log of what a program sends", function()
  local REGISTER, FORM = "jabber:iq:register", "jabber:x:data"
  local stanzas = {
    { "iq", { type = "set", id = "1" }, { "query", { xmlns = REGISTER }, { "username", "bob" },
      { "password", "n3w-s3cret" } } },
    { "presence", { to = "room@muc.xmpp.test/bob" }, { "x", { xmlns = "http://jabber.org/protocol/muc" },
      { "password", "n3w-s3cret" } } },
    { "message", { to = "carol@xmpp.test" }, { "x", { xmlns = "jabber:x:conference", jid = "room@muc.xmpp.test",
      password = "n3w-s3cret" } } },
    { "iq", { type = "set", id = "2" }, { "query", { xmlns = REGISTER }, { "x", { xmlns = FORM, type = "submit" },
      { "field", { var = "username" }, { "value", "bob" } },
      { "field", { var = "password" }, { "value", "n3w-s3cret" } } } } },
  }

  it("and receives contains no password, and all the rest", function()
    local log, lines = listener()
    local f = fed.open { jid = "bob@xmpp.test/x", log = log }
    for _, stanza in ipairs(stanzas) do assert(f.conn:send(stanza)) end
    assert.matches("n3w%-s3cret", f:sent())
    f:feed("<message from='room@muc.xmpp.test'><x xmlns='http://jabber.org/protocol/muc#user'>"
      .. "<password>n3w-s3cret</password></x></message>")
    local all = check_log(lines, "n3w-s3cret")
    local _, masks = all:gsub("%[masked%]", "")
    assert.equal(#stanzas + 1, masks)
    assert.matches("<username>bob</username><password>%[masked%]</password>", all)
    assert.matches("<value>bob</value>", all)
    f.conn:stop(0)
  end)
end)

describe("a malicious server", function()
  local certs

  setup(function() certs = peer.certs() end)
  teardown(function() shell.remove(certs) end)

  local function play(text, password)
    local p = peer.play(text, { grace = 0.1, certs = certs })
    finally(function() p:stop() end)
    local log, lines = listener()
    local conn, err = xmpp.connect_client("carol@xmpp.test/desk", password, p.host, p.port,
      { ca_file = p.ca, log = log, mechanisms = { "PLAIN" } })
    return conn, err, lines, p
  end

  local offered = peer.starttls .. peer.stream("<mechanisms " .. SASL .. "><mechanism>PLAIN</mechanism></mechanisms>")

  for name, answer in pairs {
    ["breaks off"] = "cut",
    ["refuses"] = "S: <failure " .. SASL .. "><not-authorized/></failure>",
    ["challenges where there is no challenge"] = "S: <challenge " .. SASL .. ">YWJj</challenge>",
    ["sends data with success"] = "S: <success " .. SASL .. ">YWJj</success>",
    ["ends the stream"] = "S: <stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    ["sends something else"] = "S: <x xmlns='urn:example:x'/>",
    ["sends no XML"] = "S: &&&",
  } do
    it("that " .. name .. " doesn't get the password into the error or the log", function()
      local conn, err, lines = play(offered .. AUTH .. answer, "s3cret-passw0rd")
      assert.is_nil(conn)
      check_error(err, "s3cret", in_base64("carol", "s3cret-passw0rd"))
      check_log(lines, "s3cret", in_base64("carol", "s3cret-passw0rd"))
    end)
  end

  it("that repeats the password does not get it into the log", function()
    local text = in_base64("carol", "s3cret-passw0rd")
    local _, _, lines = play(offered .. AUTH .. "S: <failure " .. SASL .. "><not-authorized/><text>" .. text
      .. "</text></failure>", "s3cret-passw0rd")
    check_log(lines, "s3cret", text)
  end)
end)

describe("a mistake of the caller's", function()
  it("with a password is reported without it", function()
    for _, password in ipairs { "s3cret\0", "s3cret\n\1", "\255s3cret", ("s3cret"):rep(200000) } do
      local p = peer.play(peer.session)
      local conn, err = xmpp.connect_client("carol@xmpp.test", password, p.host, p.port, { ca_file = p.ca })
      p:stop()
      assert.is_nil(conn)
      assert.equal("sasl", err.layer, tostring(err))
      check_error(err, "s3cret")
    end
  end)

  it("in the arguments is reported without their values", function()
    for _, call in ipairs {
      function() xmpp.connect_client("carol@xmpp.test", { "s3cret" }) end,
      function() xmpp.connect_client("carol@xmpp.test", "s3cret", 5) end,
      function() xmpp.connect_client("carol@xmpp.test", "s3cret", { password = "s3cret" }) end,
      function() xmpp.connect_client("carol@xmpp.test", "s3cret", { pin = { "s3cret" } }) end,
      function() xmpp.connect_component("localhost", 5347, "echo.xmpp.test", { "s3cret" }) end,
      function() xmpp.connect_component("localhost", 0, "echo.xmpp.test", "s3cret") end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      lacks(message, "s3cret", "the message")
    end
  end)
end)

describe("of a password that is given as a function's result,", function()
  local backwards = "drowssap" .. "-terces"

  it("no Lua object refers to it after the login", function()
    local p = peer.play((peer.session:gsub("alice@", "dave@")))
    finally(function() p:stop() end)
    package.loaded.for_a_test = { backwards:reverse() }
    assert.matches("for_a_test", way_to(backwards)) -- proves that it would be found
    package.loaded.for_a_test = nil
    local conn = assert(xmpp.connect_client("dave@xmpp.test/desk", function() return backwards:reverse() end,
      p.host, p.port, { ca_file = p.ca, log = function() end }))
    assert.is_nil(way_to(backwards))
    assert.is_true(xmpp.is_connection(conn))
  end)
end)

describe("the memory of a process that", function()
  local logins = {
    { mechanism = "SCRAM-SHA-1" },
    { mechanism = "SCRAM-SHA-256" },
    { mechanism = "SCRAM-SHA-512" },
    { mechanism = "SCRAM-SHA-256", prefix = "pa\204\136ss\194\160" }, -- its preparation needs other buffers
    { mechanism = "PLAIN" },
    { mechanism = "PLAIN", prefix = "pa\204\136ss\194\160" },
    { mechanism = "component" },
    { mechanism = "SCRAM-SHA-256", ending = "refused" },
    { mechanism = "PLAIN", ending = "refused" },
    { mechanism = "component", ending = "refused" },
    { mechanism = "PLAIN", ending = "alone" },
    { mechanism = "component", ending = "alone" },
    { mechanism = "SCRAM-SHA-256", forgetful = true },
    { mechanism = "SCRAM-SHA-256", forgetful = true, ending = "refused" },
    { mechanism = "SCRAM-SHA-256", reconnect = true },
    { mechanism = "SCRAM-SHA-256", reconnect = true, ending = "refused" },
    { mechanism = "SCRAM-SHA-256", proxy = "socks5" },
    { mechanism = "SCRAM-SHA-256", proxy = "http" },
    { mechanism = "PLAIN", proxy = "socks5", ending = "refused" },
    { mechanism = "PLAIN", proxy = "http", ending = "alone" },
    { mechanism = "SCRAM-SHA-256", token = "asked" },
    { mechanism = "SCRAM-SHA-256", token = "asked", ending = "refused" },
    { mechanism = "HT-SHA-256-NONE", token = "shown" },
    { mechanism = "HT-SHA-256-NONE", token = "shown", ending = "refused" },
    { mechanism = "HT-SHA-256-NONE", token = "shown", ending = "alone" },
    { mechanism = "SCRAM-SHA-256", web = true },
    { mechanism = "PLAIN", web = true },
    { mechanism = "PLAIN", web = true, ending = "refused" },
    { mechanism = "SCRAM-SHA-256", web = true, token = "asked" },
    { mechanism = "SCRAM-SHA-256", web = true, token = "asked", ending = "refused" },
    { mechanism = "HT-SHA-256-NONE", web = true, token = "shown" },
  }
  local pipe

  setup(function() pipe = child.open("secrets_scan.py", { json.encode(logins) }) end)
  teardown(function() pipe:close() end)

  local stories = { refused = "was refused", alone = "was left alone" }

  local TOKEN = { "password in locked", "password_prepared in locked" }

  -- A login by SASL2: the token is where the keys are, until it is refused or forgotten. It is in use until the server
  -- has answered, and a new one may be in the receive buffers until the connection has ended; nowhere longer.
  local function check_token(login, found)
    local keys = { "client_key in locked", "server_key in locked" }
    assert.same({}, found.forgotten)
    for _, name in ipairs(found.waiting or {}) do assert.is_nil(name:find("initiator", 1, true), name) end
    if login.token == "shown" then
      assert.same(login.ending == "refused" and {} or TOKEN, found.closed)
      if not login.ending then assert.same(TOKEN, found.open) end
    else
      assert.same(keys, found.waiting)
      table.insert(keys, 2, "password_token in locked")
      assert.same(login.ending and {} or keys, found.closed)
    end
    if not login.ending then assert.same({ login.mechanism, true }, { found.outcome, found.control }) end
    if login.ending == "refused" then assert.matches("not%-authorized", found.outcome) end
  end

  -- What may be found after a login by this mechanism; nothing, if it failed.
  local function kept(login)
    local is_kept = login.mechanism:find "^SCRAM" and not login.forgetful
    return is_kept and { "client_key in locked", "server_key in locked" } or {}
  end

  -- The proxy's password is kept for the next link, in one form, until the connection is gone.
  local function check_proxy(found)
    for _, state in ipairs { "waiting", "open" } do
      local rest, count = {}, 0
      for _, name in ipairs(found[state] or {}) do
        if name:find "^password_proxy in " then count = count + 1 else rest[#rest + 1] = name end
      end
      assert.equal(found[state] and 1 or 0, count)
      found[state] = found[state] and rest
    end
  end

  for _, login in ipairs(logins) do
    it(("%s by %s%s%s has no secret"):format(stories[login.ending] or "was let in", login.mechanism,
      login.token == "asked" and ", for a token," or "", (login.prefix and " with more than ASCII" or "")
      .. (login.proxy and " behind a proxy (" .. login.proxy .. ")" or "") .. (login.web and " over WebSocket" or "")
      .. (login.forgetful and " and keeps nothing" or "") .. (login.reconnect and ", and would connect again," or "")),
      function()
      local found = json.decode((assert(pipe:read "*l", "the scan ended; it said why on stderr")))
      if login.token then return check_token(login, found) end
      if login.proxy then check_proxy(found) end
      assert.same({}, found.forgotten)
      assert.same(login.ending and {} or kept(login), found.closed)
      if login.reconnect then
        -- the password is needed for the next login
        if not login.ending then assert.is_true(#found.open > #kept(login)) end
        return
      end
      if not login.ending then
        assert.equal(login.mechanism ~= "component" and login.mechanism or "nil", found.outcome)
        assert.equal(login.mechanism ~= "component", found.control) -- the check finds what should be there
        assert.same(kept(login), found.open)
      end
      if login.ending ~= "alone" then assert.same(kept(login), found.waiting) end
      if login.ending == "refused" then assert.matches("not%-authorized", found.outcome) end
    end)
  end
end)
