-- testing: a server inside the test, without a network, for testing bots and other programs. The tested program has a
-- real connection, from the parser to the callbacks; the test is the other end of it, and controls the time.
--
--   local testing = require "xmpp.testing"
--   it("greets", testing.around(function(t)
--     require "mybot"(t.conn)
--     t:receive { "message", { from = "anna@example.net/pc", type = "chat" }, { "body", {}, "hello" } }
--     t:expect { "message", { to = "anna@example.net/pc" }, { "body", {}, "hello, anna" } }
--   end))
--
-- A failure is a Lua error at the test's line, which works with busted, luaunit and plain assert.

local answer_by_default = require "xmpp.testing.answers"
local core = require "xmpp.load"
local diff = require "xmpp.testing.diff"
local guard = require "xmpp.guard"
local servers = require "xmpp.testing.server"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local shared = core.shared
local unpack = table.unpack or unpack -- luacheck: ignore 143
local getinfo = rawget(_G, "debug") and rawget(_G, "debug").getinfo

local NOW = 1700000000 -- when a test begins, by default
local A_DAY = 86400 -- the longest time that a program's wait may take
local MOST_STEPS = 100000
local ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
local PROBE = "urn:x-lua-xmpp:probe" -- what a component sends to itself by conn:probe()
local STANZAS = { message = true, presence = true, iq = true }

local M = {}

---@class xmpp.Test
local Test = {}

-- Forged stanzas, see testing/forge.lua: loaded on first use.
local function bind_forge(self)
  local forge = require "xmpp.testing.forge"(self)
  rawset(self, "forge", forge)
  return forge
end

function Test.__index(self, key)
  if key == "forge" then return bind_forge(self) end
  return Test[key]
end

local active = {} -- unfinished tests, the newest last

-- Failures

local home = getinfo and getinfo(1, "S").source:match "^(@.*)testing%.lua$"

-- The test's position: the first one on the stack that isn't in the library.
local function place()
  local level = 2
  local info = getinfo and getinfo(level, "Sl")
  while info and (info.currentline < 0 or home and info.source:sub(1, #home) == home) do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  return info and ("%s:%d: "):format(info.short_src, info.currentline) or ""
end

local function raise(text) error(place() .. text, 0) end

local function with_errors(self, text)
  if #self.errors == 0 then return text end
  return text .. "\nerrors in handlers:\n    " .. table.concat(self.errors, "\n"):gsub("\n", "\n    ")
end

local function fail(self, text, ...) raise(with_errors(self, text:format(...))) end

local function check(self, value, kind, what)
  if type(value) ~= kind then fail(self, "%s: %s expected, got %s", what, kind, type(value)) end
end

-- Turning the loop

-- seconds, by the test's clock, that a wait on the main thread has taken since the test last did something
local waited = 0

local function settle()
  for _ = 1, MOST_STEPS do
    core.step(0)
    if core.timeout() ~= 0 then return end
  end
  raise "the program never becomes idle: something in it is due repeatedly"
end

-- Reads what was sent. Returns whether there was anything.
local function serve()
  local some = false
  for _, t in ipairs { unpack(active) } do
    local bytes = t.conn and core.conn.sent(t.conn) or ""
    if bytes ~= "" then t.server:read(bytes) end
    some = some or bytes ~= ""
  end
  return some
end

-- Turns the loop until neither side has anything left to do at this moment. Returns whether there was anything. In a
-- handler the present step of the loop does the rest.
local function turn()
  local some = core.timeout() == 0
  waited = 0
  if core.is_stepping() then return true end
  repeat
    settle()
    local more = serve()
    some = some or more
  until not more
  settle()
  return some
end

-- Sets the clock to the first timer, not after `latest`. Returns whether there was one.
local function jump(latest)
  local due = core.timeout()
  local at = due and core.clock() + due
  if not at or at > latest then return false end
  core.clock(at)
  return true
end

-- Refuses unanswered requests, if that is wanted (strict = false).
local refuse_rest

-- One turn for a wait on the main thread: when everything is done, time passes, since nothing else can happen.
local function pass()
  local so_far, before = waited, core.clock()
  if turn() then
    waited = so_far
    return
  end
  for _, t in ipairs(active) do refuse_rest(t) end
  if turn() then return end
  if not jump(before + A_DAY) then
    raise "this would wait forever: nothing is due, and the test can't send anything meanwhile"
  end
  waited = so_far + core.clock() - before
  if waited <= A_DAY then return end
  waited = 0
  raise "a day has passed by the test's clock, and the wait hasn't ended"
end

-- Stanzas from the server

local function addressed(x, stanza, address)
  local attrs = { to = stanza[2].from or address, from = stanza[2].to }
  if x[1] == "iq" and stanza[1] == "iq" then attrs.id, attrs.type = stanza[2].id, "result" end
  local first = type(x[2]) == "table" and x[2][1] == nil and 3 or 2
  for key, value in pairs(first == 3 and x[2] or {}) do attrs[key] = value end
  return { x[1], attrs, unpack(x, first) }
end

local function asks(stanza)
  return stanza[1] == "iq" and (stanza[2].type == "get" or stanza[2].type == "set")
end

local function say(self, stanza, x) self.server:say_stanza(addressed(x, stanza, tostring(self.jid))) end

local function refusal(type, condition, text)
  return { "iq", { type = "error" }, { "error", { type = type }, { condition, { xmlns = ERRORS } },
    text and { "text", { xmlns = ERRORS }, text } or nil } }
end

-- Sends what a reply function returned: nothing; false (no reply); elements, which are stanzas or the content of a
-- result; nil, type, condition [, text].
local function answer(self, stanza, first, ...)
  if first == false then return end
  if first == nil and ... then return say(self, stanza, refusal(...)) end
  local list = type(first) == "table" and type(first[1]) == "table" and first or { first, ... }
  if list[1] and STANZAS[list[1][1]] then
    for _, x in ipairs(list) do say(self, stanza, x) end
  elseif asks(stanza) then
    say(self, stanza, { "iq", {}, unpack(list) })
  elseif #list > 0 then
    fail(self, "the reply to a <%s/> must be a stanza, not a <%s/>", stanza[1], tostring(list[1][1]))
  end
end

-- Handles a stanza from the program: passes it to a standing answer, to the server's own answers, or to the test.
local function hears(self, stanza)
  for i = #self.standing, 1, -1 do
    local s = self.standing[i]
    if s.fits(stanza) then return answer(self, stanza, s.f(stanza)) end
  end
  for _, f in ipairs(self.services) do
    if f(stanza) then return end
  end
  if self.component and xexpr.child(stanza, "probe", PROBE) then return self.server:say_stanza(stanza) end
  if self.answers and asks(stanza) then
    local known, child = answer_by_default(stanza, self.jid, self.component)
    if known then return answer(self, stanza, child) end
  end
  self.inbox[#self.inbox + 1] = stanza
end

function refuse_rest(self)
  local rest = {}
  if self.strict then return end
  for _, stanza in ipairs(self.inbox) do
    if asks(stanza) then answer(self, stanza, nil, "cancel", "service-unavailable") else rest[#rest + 1] = stanza end
  end
  self.inbox = rest
end

-- Connecting

local real_connect

-- The simulated server supports neither SASL2 nor tokens: a program that would log in with a token gets a password.
local function attach(self, o, box)
  local anonymous = not self.component and not o.jid.localpart
  o.fed, o.log_in, o.tls, o.plain, o.pinned, o.bound, o.remember = true, true, "none", true, false, false, false
  o.pipelining, o.host, o.port, o.cert, o.key, o.see_other_host = "none", nil, nil, nil, nil, false
  o.mechanisms, o.password = anonymous and "ANONYMOUS" or nil, o.password or not anonymous and "secret" or nil
  o.token, o.fast = nil, nil
  if o.bind2 and o.jid.localpart then o.jid = o.jid:with_resource(("%s~%s"):format(o.tag, core.id())) end
  self.server.anonymous, self.server.state, self.server.o.jid = anonymous, "closed", o.jid
  self.jid = o.jid
  local conn, err = real_connect(o, box)
  self.conn, self.server.conn = conn, conn
  return conn, err
end

local function is_for(self, o)
  if not self.intercept or (self.component ~= nil) ~= (o.component == true) then return false end
  if self.conn and self.conn:state() ~= "closed" then return false end
  return tostring(o.jid:bare()) == tostring(self.jid:bare())
end

local function connect(o, box)
  for i = #active, 1, -1 do
    if is_for(active[i], o) then return attach(active[i], o, box) end
  end
  raise(("no network in tests: no testing.new { %s = \"%s\", intercept = true } answers for it")
    :format(o.component and "component" or "jid", tostring(o.jid)))
end

-- Records an error with the test whose connection it belongs to.
local function note_error(text, _, whose)
  local owner = active[#active]
  for _, t in ipairs(active) do
    if whose and whose.conn and whose.conn == t.conn then owner = t end
  end
  owner.errors[#owner.errors + 1] = text
end

local old_on_error, was_busy

local function begin_world(seed, now)
  was_busy = core.is_busy()
  real_connect, core.connect = core.connect, connect
  old_on_error = xmpp.on_error(note_error)
  shared.turn = pass
  core.clock(true, now or NOW)
  core.seed(seed)
  math.randomseed(seed)
end

local function end_world()
  core.connect, shared.turn = real_connect, nil
  xmpp.on_error(old_on_error)
  core.clock(false)
  core.seed(nil)
end

local function new_seed() return tonumber((core.id():gsub("%D", "") .. "1"):sub(1, 6)) end

local known_options = { jid = true, component = true, now = true, seed = true, strict = true, intercept = true,
  answers = true, acks = true, sm = true, opts = true, features = true }

local function open(self, opts)
  opts = opts or { reconnect = true }
  if self.component then return xmpp.connect_component("localhost", 1, self.jid, "secret", opts) end
  return xmpp.connect_client(self.jid, "secret", opts)
end

-- Closes the connection at the end of the test.
local function hang_up(self)
  local conn = self.conn
  if not conn or conn:state() == "closed" then return end
  core.conn.close(conn, 5)
  repeat turn() until conn:state() == "closed" or not jump(core.clock() + 60)
end

local function leave(self)
  local ok, err = pcall(hang_up, self)
  for i, t in ipairs(active) do
    if t == self then table.remove(active, i) end
  end
  if #active == 0 then end_world() end
  self.is_over = true
  if not ok then error(err, 0) end
end

--- The other end of a connection, which is ready.
---@param o? xmpp.TestOptions
---@return xmpp.Test
function M.new(o)
  if o == nil then o = {} end
  guard.check_type(o, "table", 1, "new", 2)
  local self = setmetatable({ errors = {}, inbox = {}, standing = {}, services = {}, endings = {}, conn = nil }, Test)
  for name in pairs(o) do
    if not known_options[name] then fail(self, "testing.new has no option '%s'", tostring(name)) end
  end
  if core.is_stepping() then fail(self, "testing.new can't be called in a handler or callback") end
  local jid, err = core.jid(o.component or o.jid or "bot@example.net/test")
  if not jid then fail(self, "%s", tostring(err)) end
  self.jid, self.component, self.strict, self.answers = jid, o.component, o.strict ~= false, o.answers ~= false
  self.intercept, self.seed = o.intercept, o.seed or new_seed()
  self.server = servers.new { jid = jid, component = o.component ~= nil, sm = o.sm ~= false, acks = o.acks,
    features = o.features,
    hears = function(stanza) hears(self, stanza) end,
    gone = function() for _, f in ipairs(self.endings) do f() end end }
  active[#active + 1] = self
  if #active == 1 then begin_world(self.seed, o.now) end
  if o.intercept then return self end
  self.intercept = true
  local ok, conn, why = pcall(open, self, o.opts)
  self.intercept = false
  if ok and conn then
    turn() -- stream management is on
    return self
  end
  leave(self)
  raise("the connection could not be made: " .. tostring(ok and why or conn))
end

-- What the test does

local function parse(self, x)
  if type(x) == "table" then return { x } end
  check(self, x, "string", "what is received")
  local all, err = xexpr.from_xml("<all>" .. x .. "</all>")
  if not all then fail(self, "what is to be received is no XML: %s", tostring(err)) end
  local out = {}
  for i = 3, #all do
    if type(all[i]) == "table" then out[#out + 1] = all[i] end
  end
  return out
end

--- The server sends a stanza, or several as XML; everything that follows from it at once is done when this returns.
---@param x xmpp.Element|string
function Test:receive(x)
  local list = parse(self, x)
  turn()
  if self.server.state ~= "open" and not self.server.sm then fail(self, "there is no stream to send it on") end
  for _, stanza in ipairs(list) do self.server:say_stanza(stanza) end
  turn()
end

--- The next stanza that the program has sent must match the pattern (see xexpr.match).
---@param pattern xmpp.Element
---@param reply? xmpp.TestReply the reply; nil: an empty result, if the stanza is a request; false: none
---@return xmpp.Element got
function Test:expect(pattern, reply)
  turn()
  local got = table.remove(self.inbox, 1)
  if not got then fail(self, "nothing was sent, but expected:\n%s", diff.shown { pattern }) end
  local difference = diff.between(pattern, got)
  if difference then fail(self, "%s", difference) end
  if type(reply) == "function" then
    answer(self, got, reply(got))
  elseif reply ~= nil or asks(got) then
    answer(self, got, reply)
  end
  turn()
  return got
end

--- The stanza that `expect` would take; nil: nothing was sent.
---@return xmpp.Element?
function Test:next()
  turn()
  return self.inbox[1]
end

--- Returns, and removes, the stanzas that were sent and not expected so far, oldest first.
---@return xmpp.Element[]
function Test:sent()
  turn()
  local list = self.inbox
  self.inbox = {}
  return list
end

--- Fails if anything was sent that wasn't expected.
function Test:nothing()
  turn()
  refuse_rest(self)
  if #self.inbox == 0 then return end
  local list = self.inbox
  self.inbox = {}
  fail(self, "nothing was to be sent, but:\n%s", diff.shown(list))
end

--- Adds a standing answer for stanzas that match the pattern: f(stanza) returns the content of the result, or nil,
--- type, condition; the one that was added last is tried first, before the server's own answers. Stanzas that it
--- answers need not be expected.
---@param pattern xmpp.Element
---@param f fun(stanza: xmpp.Element): ...
---@return fun() off
function Test:on(pattern, f)
  check(self, f, "function", "on(pattern, f)")
  local s = { fits = xexpr.match(pattern), f = f }
  self.standing[#self.standing + 1] = s
  return function()
    for i, other in ipairs(self.standing) do
      if other == s then table.remove(self.standing, i) end
    end
  end
end

--- Lets that much time pass at once: timers, timeouts and keepalives run in order.
---@param seconds number
function Test:advance(seconds)
  check(self, seconds, "number", "advance(seconds)")
  if seconds ~= seconds or seconds < 0 then
    fail(self, "advance(seconds): a number from 0 expected, got %s", tostring(seconds))
  end
  local target = core.clock() + seconds
  repeat
    turn()
    refuse_rest(self)
    turn()
  until not jump(target)
  core.clock(target)
  turn()
end

--- Seconds since 1970, by the test's clock.
---@return number
function Test.now(_) return core.clock() end

--- Returns, and removes, the errors of handlers, callbacks and tasks so far, as texts, so that `finish` doesn't fail
--- because of them.
---@return string[]
function Test:take_errors()
  turn()
  local list = self.errors
  self.errors = {}
  return list
end

--- A conversation: "C: <xml/>" is what the program must send next, "S: <xml/>" what it receives, { wait = seconds }
--- lets time pass, a function is called. A ${name} in what is sent stands for a text, which is the same wherever the
--- name occurs.
---@param lines (string|table|function)[]
---@return table<string, string> names
function Test:play(lines)
  return require "xmpp.testing.play"(self, lines, fail)
end

--- Whether the program has declared itself active, or nothing at all (XEP-0352).
---@return boolean
function Test:active()
  turn()
  return self.server.active
end

-- Services and contacts

-- The test's functions for them: hears(f): f(stanza) is called after the test's own answers, and returns true if
-- nobody else is to get the stanza; gone(f): called when a session ends.
local function functions_of(self)
  return { fail = fail, turn = turn, hears = function(f) self.services[#self.services + 1] = f end,
    gone = function(f) self.endings[#self.endings + 1] = f end }
end

--- A room, which programs can join, which reflects messages and answers requests; see xmpp.TestRoom for its methods.
--- Presences and iqs to it need not be expected, messages do.
---@param jid string|xmpp.Jid
---@param o? xmpp.TestRoomOptions
---@return xmpp.TestRoom
function Test:room(jid, o) return (require "xmpp.testing.room"(self, functions_of(self), jid, o or {})) end

--- A contact, who may be in the roster; see xmpp.TestContact for its methods. Presences to it and the roster's
--- requests need not be expected.
---@param jid string|xmpp.Jid a resource is the one that its stanzas come from
---@param o? xmpp.TestContactOptions
---@return xmpp.TestContact
function Test:contact(jid, o) return (require "xmpp.testing.contact"(self, functions_of(self), jid, o or {})) end

--- An upload service, and the web server behind it, in the test (XEP-0363); see testing/upload.lua. The server
--- announces it: call this before the program asks for the server's features.
---@param o? { max?: integer, host?: string, headers?: table<string, string> }
---@return xmpp.TestUpload
function Test:upload(o) return (require "xmpp.testing.upload"(self, functions_of(self), o or {})) end

--- The account's archive, with earlier messages; see xmpp.TestArchive for its methods. Queries need not be expected.
---@param messages (string|table)[] oldest first; without stamps they are a minute apart
---@return xmpp.TestArchive
function Test:archive(messages) return (require "xmpp.testing.archive"(self, functions_of(self), messages)) end

--- A pubsub service (XEP-0060), or an account's nodes (XEP-0163); see xmpp.TestPubsub for its methods. Iqs to it need
--- not be expected.
---@param jid? string|xmpp.Jid (our own account)
---@param o? { features: string[]?, more: string[]?, auto_create: boolean? } features: of XEP-0060 10, without the part
--- up to the # ("publish-options" and "config-node-max" among them); more: features from elsewhere; auto_create
--- (true): publishing creates a node
---@return xmpp.TestPubsub
function Test:pubsub(jid, o) return (require "xmpp.testing.pubsub"(self, functions_of(self), jid, o or {})) end

-- Broken connections

local function check_conn(self)
  if not self.conn then fail(self, "the program hasn't connected yet") end
end

--- Breaks the connection; there is no answer until `resume` or `reconnect`. What was sent so far has arrived.
---@param resumable? boolean false: the server also discards the session (true)
function Test:cut(resumable)
  check_conn(self)
  turn()
  self.server.up = false
  self.server:cut(resumable ~= false)
  turn()
end

local function come_back(self)
  local conn, latest = self.conn, core.clock() + A_DAY
  self.server.up = true
  repeat turn() until conn:state() == "ready" or conn:state() == "closed" or not jump(latest)
  if conn:state() == "ready" then return end
  local ended = select(2, conn:receive())
  fail(self, "the connection doesn't come back, it is %s%s", conn:state(), ended and ": " .. tostring(ended) or "")
end

--- After a cut: lets time pass until the program has reconnected, which must resume its session.
function Test:resume()
  check_conn(self)
  local sessions = self.server.sessions
  if self.server.up then fail(self, "resume is for a link that is cut: call t:cut() first") end
  come_back(self)
  if self.server.sessions ~= sessions then fail(self, "the session wasn't resumed, there is a new one") end
end

--- Breaks the connection, if it isn't broken, and lets time pass until the program has reconnected.
---@param o? { new?: boolean } new: the server has discarded the session
function Test:reconnect(o)
  check_conn(self)
  local new = o and o.new
  if self.server.state ~= "closed" then self:cut(not new) end
  if new then self.server:forget() end
  come_back(self)
end

--- The server acknowledges everything (XEP-0198), or `n` stanzas, without being asked.
---@param n? integer since the session began
function Test:ack(n)
  check_conn(self)
  turn()
  if not self.server:ack(n) then fail(self, "there is no stream management on it now") end
  turn()
end

--- The server ends the stream, and with it the session.
---@param condition? string by a stream error (RFC 6120 4.9.3); nil: without one
function Test:close(condition)
  check_conn(self)
  turn()
  self.server:close(condition)
  turn()
end

--- The server refuses logins from now on.
---@param condition? string "not-authorized" and the like; nil: it accepts them again
function Test:refuse(condition)
  self.server.refusal = condition
end

-- The end

-- What is wrong at the end; nil: nothing.
local function complaint(self)
  turn()
  refuse_rest(self)
  if self.strict and #self.inbox > 0 then return "this was sent and not expected:\n" .. diff.shown(self.inbox) end
  if #self.errors > 0 then return "there were errors" end
end

local function finish(self)
  if self.is_over then return nil end
  local wrong = complaint(self)
  leave(self)
  if not wrong and self.strict and #active == 0 and not was_busy and core.is_busy() then
    wrong = "timers, tasks or connections of the program's are left over"
  end
  return wrong and with_errors(self, wrong)
end

--- Ends the test. Fails if stanzas were sent and not expected, if handlers threw errors, or if timers and tasks are
--- left.
function Test:finish()
  local wrong = finish(self)
  if wrong then raise(wrong) end
end

--- A test for busted's `it`: a function that calls f(t) and finishes t.
---@param f fun(t: xmpp.Test)
---@param o? xmpp.TestOptions
---@return fun()
function M.around(f, o)
  local info = getinfo and getinfo(f, "S")
  local where = info and ("%s:%d: "):format(info.short_src, info.linedefined) or ""
  return function()
    local self = M.new(o)
    local ok, err = pcall(f, self)
    if ok then
      err = finish(self)
      err = err and where .. err
    elseif not self.is_over then
      pcall(leave, self)
    end
    if ok and not err then return end
    if type(err) == "string" then err = ("%s\n(seed = %d)"):format(err, self.seed) end
    error(err, 0)
  end
end

return M
