-- early: servers of earlier times, and hasty ones: a session that must be asked for (RFC 3921 3), a line end after
-- <success/>, and stanzas between the login and the session: they are kept, come first, and don't count in stream
-- management (XEP-0198). With a real server that was changed to do all that, and with scripts.
local managed = require "spec.support.managed"
local opened = require "spec.support.opened"
local peer = require "spec.support.peer"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local told, asks, says, bye = managed.says_message, managed.asks, managed.says, managed.bye

local BIND = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
local SESSION = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"
local EARLY = "S: <message from='bob@xmpp.test/x'><body>early</body></message><presence from='carol@xmpp.test/y'/>\n"
local ASKS = "C: <iq type='set' id='{bind}' ...><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
  .. "<resource>{resource}</resource></bind></iq>\n"
local RESULT = "S: <iq type='result' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
  .. "<jid>alice@xmpp.test/{resource}</jid></bind></iq>\n"
local ENABLE = "C: <enable xmlns='urn:xmpp:sm:3' .../>\n"
local ONCE = "C: </stream:stream>\nS: </stream:stream>\n"

local AGAIN = { reconnect = { min = 0, max = 0 } }

local certs, conn, p

setup(function() certs = managed.certs() end)
teardown(function() managed.remove(certs) end)
after_each(function()
  if conn then conn:stop(0) end
  if p then p:stop() end
  conn, p = nil, nil
end)

local function play(text, opts)
  p = peer.play(text, { certs = certs, grace = 2, timeout = 20 })
  local o = { ca_file = p.ca, resource = "r" }
  for key, value in pairs(opts or {}) do o[key] = value end
  local err
  conn, err = xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, o)
  return conn, err
end

local function hears(...)
  for _, wanted in ipairs { ... } do
    local stanza = assert(conn:receive_blocking(30))
    assert.equal(wanted, xexpr.text(stanza, "body") or stanza[1])
  end
end

local function stop()
  local ok, err = conn:stop(20)
  p:check()
  assert.is_true(ok, tostring(err))
end

describe("stanzas between the login and the session", function()
  it("are the session's first, in whichever step they come", function()
    assert(play(managed.login "" :gsub("<stream:features></stream:features>", told "first":sub(4, -2)
      .. "<stream:features>" .. BIND .. SESSION .. "</stream:features>")
      .. ASKS .. EARLY .. RESULT .. "C: <iq type='set' id='{session}'>" .. SESSION .. "</iq>\n" .. told "last but one"
      .. "S: <iq type='result' id='{session}'/><message><body>later</body></message>\n" .. ONCE))
    hears("first", "early", "presence", "last but one", "later")
    stop()
  end)

  it("come when it is ready, and are answered as any other", function()
    local states, id = {}
    assert(play(managed.login(BIND) .. ASKS .. [[
      S: <iq type='get' id='{bind}' from='bob@xmpp.test/x'><query xmlns='urn:example'/></iq>
      <iq type='get' id='2' from='bob@xmpp.test/x'><ping xmlns='urn:xmpp:ping'/></iq>
      ]] .. RESULT .. [[
      C: <iq type='result' id='{bind}' to='bob@xmpp.test/x'/>
      C: <iq type='error' id='2' to='bob@xmpp.test/x'>...</iq>
      ]] .. ONCE))
    conn:set_handler(function(stanza)
      states[#states + 1] = conn:state() .. " " .. tostring(conn:jid())
      if stanza[2].id ~= "2" then
        id = stanza[2].id
        conn:send { "iq", { type = "result", id = id, to = stanza[2].from } }
      end
    end)
    opened.turn_until(function() return #states == 2 end, "two requests")
    stop()
    assert.same({ "ready alice@xmpp.test/r", "ready alice@xmpp.test/r" }, states)
    assert.is_truthy(id)
  end)

  it("are dropped with a login that fails, and the next login has its own", function()
    assert(play(managed.login(BIND) .. ASKS .. told "one" .. RESULT .. "cut\naccept\n" .. managed.login(BIND) .. ASKS
      .. told "lost" .. "cut\naccept\n" .. managed.login(BIND) .. ASKS .. told "two" .. RESULT .. ONCE, AGAIN))
    hears("one", "two")
    stop()
  end)

  it("are refused before the login", function()
    local nobody, err = play(peer.starttls .. peer.stream(
      "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>")
      .. "C: <auth ...>...</auth>\n" .. EARLY .. "match .*bad-format.*\n", { reconnect = true })
    assert.is_nil(nobody)
    assert.same({ "stream", "bad-format", false }, { err.layer, err.condition, err.retry })
  end)

  it("end the link if they are too many, and the next link may work", function()
    assert(play(managed.login(BIND) .. ASKS .. told "one" .. RESULT .. "cut\naccept\n" .. managed.login(BIND) .. ASKS
      .. "repeat 101 <message><body>flood</body></message>\nmatch [\\s\\S]*policy-violation[\\s\\S]*\naccept\n"
      .. managed.login(BIND) .. ASKS .. told "two" .. RESULT .. ONCE, AGAIN))
    hears("one", "two")
    stop()
  end)

  it("wait until they are received", function()
    local text = ("x"):rep(2000)
    assert(play(managed.login(BIND) .. ASKS .. told(text) .. told(text) .. told "third" .. RESULT .. told "fourth"
      .. ONCE, { max_queue = 1024 }))
    hears(text, text, "third", "fourth")
    stop()
  end)
end)

-- Counting begins with <enabled/>, or continues after <resumed/>.
describe("stream management", function()
  it("doesn't count what came before its session", function()
    assert(play(managed.login() .. ASKS .. EARLY .. RESULT .. ENABLE .. told "uncounted"
      .. managed.enabled() .. told "counted" .. bye(1)))
    hears("early", "presence", "uncounted", "counted")
    stop()
  end)

  local function cut_and(text, h)
    assert(play(managed.session() .. told "one" .. asks .. says(1) .. "cut\naccept\n" .. managed.resume(1) .. text
      .. bye(h), AGAIN))
  end

  it("doesn't count what came before a resumption, and all after it", function()
    cut_and(EARLY .. managed.resumed(0) .. told "two", 2)
    hears("one", "early", "presence", "two")
    assert.equal(1, conn:info().resumed)
    stop()
  end)

  it("begins anew with a session that follows a lost one", function()
    cut_and(EARLY .. "S: <failed xmlns='urn:xmpp:sm:3'/>\n" .. ASKS .. told "next" .. RESULT .. ENABLE
      .. managed.enabled "two" .. told "two", 1)
    hears("one", "early", "presence", "next", "two")
    assert.equal(1, conn:info().rebound)
    stop()
  end)
end)

-- The server doesn't send them again.
describe("a saved session", function()
  local LONG = ("x"):rep(2000)
  local saved

  -- Three come before a resumption, and the first of them fills the queue.
  local function resume_and(text, h, log)
    saved = nil
    assert(play(managed.session() .. told "one" .. asks .. says(1) .. "cut\naccept\n" .. managed.resume(1)
      .. told(LONG) .. told "second" .. told "third" .. managed.resumed(0) .. told "counted" .. text .. "accept\n"
      .. managed.resume(1) .. managed.resumed(h) .. told "counted" .. bye(2),
      { reconnect = AGAIN.reconnect, max_queue = 1024, log = log }))
    hears "one"
    opened.turn_until(function() return conn:state() == "ready" and conn:info().resumed == 1 end, "the resumption")
  end

  local function goes_on(...)
    local first = conn
    local o = { ca_file = p.ca, max_queue = 1024 }
    conn = assert(xmpp.resume(saved, "alicepw", o))
    assert.equal("closed", first:state())
    hears(...)
    stop()
  end

  it("has those that wait until they are received", function()
    resume_and("eof\n", 0)
    saved = assert(conn:save())
    assert.same({ 1, 3 }, { saved.h, #saved.queue })
    goes_on(LONG, "second", "third", "counted")
  end)

  it("has those behind the one that is being handled, and not that one", function()
    local heard
    resume_and("eof\n", 0)
    conn:set_handler(function(stanza)
      if xexpr.text(stanza, "body") ~= "second" then return end
      heard, saved = true, assert(conn:save())
    end)
    opened.turn_until(function() return heard end, "the second one")
    goes_on("third", "counted")
  end)

  -- What the log function sends is logged when the next stanza has been read.
  it("has the one that has been read, and that nobody has got", function()
    resume_and("match [\\s\\S]*echo[\\s\\S]*\neof <a xmlns='urn:xmpp:sm:3' h='2'/>\n", 2, function(_, text)
      if text:find("id='mark'", 1, true) then conn:send { "message", { id = "echo" } } end
      if text:find("id='echo'", 1, true) then saved = assert(conn:save()) end
    end)
    assert.equal(LONG, xexpr.text(conn:receive(), "body"))
    assert(conn:send { "message", { id = "mark" } })
    assert.is_nil(saved)
    opened.turn_until(function() return saved end, "what is sent")
    goes_on("second", "third", "counted")
  end)

  it("has none of a login that had not resumed it yet", function()
    local came
    assert(play(managed.session() .. told "one" .. asks .. says(1) .. "cut\naccept\n" .. managed.resume(1)
      .. told "lost" .. "eof\n", { reconnect = AGAIN.reconnect, log = function(_, text)
        came = came or text:find("lost", 1, true)
      end }))
    hears "one"
    opened.turn_until(function() return came end, "the early one")
    assert.equal("resuming", conn:state())
    assert.same({}, assert(conn:save()).queue)
    p:check()
  end)
end)

-- White space after <success/>, and before the stream header that follows it.
describe("a line end", function()
  local AUTH = peer.starttls .. peer.stream(
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>")
    .. "C: <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>...</auth>\n"
  local SUCCESS = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
  local HEADER = "<?xml version='1.0'?>\\n<stream:stream xmlns='jabber:client' id='peer' version='1.0'"
    .. " xmlns:stream='http://etherx.jabber.org/streams'>\\n<stream:features>" .. BIND .. "</stream:features>\\n\n"
  local rows = {
    ["behind <success/>"] = "raw " .. SUCCESS .. "\\r\\n\nC: <stream:stream ...>\nraw " .. HEADER,
    ["before the next header"] = "raw " .. SUCCESS .. "\nC: <stream:stream ...>\nraw \\r\\n \\t" .. HEADER,
    ["between the two, in one breath"] = "raw " .. SUCCESS .. "\\n" .. HEADER .. "C: <stream:stream ...>\n",
    ["byte by byte"] = "pieces 1\nraw " .. SUCCESS .. "\\r\\n" .. HEADER .. "pieces 0\nC: <stream:stream ...>\n",
  }
  for name, text in pairs(rows) do
    it("is ignored " .. name, function()
      assert(play(AUTH .. text .. ASKS .. RESULT .. ONCE))
      stop()
    end)
  end
end)

-- A Prosody that requires a session, sends line ends, and greets a client that asks for a resource before it answers
-- the request.
describe("an old-fashioned prosody", function()
  local OLD = [[
    local st, filters = require "util.stanza", require "util.filters"
    local BIND, SESSION = "urn:ietf:params:xml:ns:xmpp-bind", "urn:ietf:params:xml:ns:xmpp-session"
    local begun = {}
    module:hook("stream-features", function(event)
      local session = event.features:get_child("session", SESSION)
      if session then session:maptags(function() end) end -- it isn't optional any more
    end, -1000)
    module:hook("stanza/iq/" .. BIND .. ":bind", function(event)
      event.origin.send(st.message({ from = module.host, type = "headline" }, "welcome"))
    end, 100)
    for _, kind in ipairs { "self", "host" } do
      module:hook("iq/" .. kind .. "/" .. SESSION .. ":session", function(event) begun[event.origin] = true end, 100)
    end
    for _, kind in ipairs { "presence", "message" } do
      module:hook("pre-" .. kind .. "/bare", function(event)
        if not begun[event.origin] then event.origin:close("not-authorized") return true end
      end, 1000)
    end
    filters.add_filter_hook(function(session)
      filters.add_filter(session, "bytes/out", function(bytes)
        return bytes:find "</success>$" and bytes .. "\r\n" or bytes
      end)
    end)
  ]]
  local folder, s

  setup(function()
    folder = shell.folder()
    shell.succeed("chmod 755 " .. folder)
    local file = assert(io.open(folder .. "/mod_old.lua", "w"))
    assert(file:write(OLD))
    file:close()
    s = server.start("prosody", { extra_modules = "old", extra_conf = 'plugin_paths = { "' .. folder .. '" }' })
  end)
  teardown(function()
    s:stop()
    shell.remove(folder)
  end)

  it("lets the client log in, and its first stanzas are received", function()
    local text = ""
    conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, s.host, s.port,
      s.opts { resource = "r", log = function(way, said) text = text .. way .. ": " .. said .. "\n" end }))
    assert(conn:send { "message", { to = "alice@xmpp.test/r" }, { "body", "myself" } })
    hears("welcome", "myself")
    assert.is_true(conn:flush(30))
    assert.is_true(conn:stop(30))
    assert.is_truthy(text:find(SESSION .. "</iq>", 1, true), text)
    assert.is_truthy(text:find("welcome.*<jid>alice@xmpp.test/r</jid>"), text)
  end)
end)
