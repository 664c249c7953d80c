-- A farm under load while its parts are killed: users who send numbered messages to a bot, which answers each, behind
-- two clustered nodes of ejabberd (an intake at each) or Prosody (an intake, and one that stands by), with workers in
-- processes of their own.
--
--   local figures, wrong = run.farm { kind = "ejabberd", users = 50, messages = 10, workers = 4 }
--
-- Each user sends on while what happens happens, and at least so many messages, but never has more than a few open; all
-- of them together send no more than so many a second.
--
-- Of each message is known: whether its server has it (acknowledged), whether Redis has it, how often it was handled,
-- and how often it was answered. What Redis has must be handled, and answered in order; what an answer's id tells for
-- a repetition counts once.
local child = require "spec.support.child"
local core = require "xmpp.core"
local farm = require "spec.support.farm"
local redis = require "spec.support.redis"
local server = require "spec.support.server"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local run = {}

local NAME = "farm"
local WINDOW, RATE = 3, 200 -- messages of a user that are open; of all users, a second
local QUIET = 12 -- seconds without an answer, after which what is missing is lost

-- Servers

local function cluster(users)
  local pipe = child.open("cluster.py", { "USERS=" .. users })
  local v = child.variables(pipe)
  if not v then error("the cluster did not start; it said why on stderr", 0) end
  local s = { pipe = pipe, domain = v.DOMAIN, component = v.COMPONENT, secret = v.SECRET, ca = v.CA,
    ports = { tonumber(v.A_PORT), tonumber(v.B_PORT) },
    component_ports = { tonumber(v.A_COMPONENT_PORT), tonumber(v.B_COMPONENT_PORT) } }
  function s.tell(line)
    local fifo = assert(io.open(v.FIFO, "w"))
    fifo:write(line, "\n")
    fifo:close()
  end
  -- Waits for as many answers, while the loop isn't turned.
  function s.done() return pipe:read "*l" end
  function s.stop() pipe:close() end
  return s
end

local function prosody(users)
  local more = {}
  for i = 0, users - 1 do more[#more + 1] = ("user%d:pw%d"):format(i, i) end
  local p = server.start("prosody", { more_users = table.concat(more, " "), limit = 36000,
    extra_conf = "c2s_stanza_size_limit = 1000000" })
  return { domain = p.domain, component = p.component, secret = p.secret, ca = p.ca, ports = { p.port, p.port },
    component_ports = { p.component_port, p.component_port }, server = p, stop = function() p:stop() end }
end

-- Users

local function connect(self, i)
  local s = self.servers
  local u = { i = i, name = "user" .. i, sent = 0, acked = {}, bounced = {}, answers = {}, answered = 0, last = 0,
    at = {}, again = 0, disorder = {} }
  u.conn = assert(xmpp.connect_client(("user%d@%s/bot"):format(i, s.domain), "pw" .. i, "127.0.0.1", s.ports[i % 2 + 1],
    { ca_file = s.ca, reconnect = { min = 0.2, max = 2 }, timeout = 120, max_age = 3600 }))
  u.conn:set_handler(function(stanza) self:hear(u, stanza) end)
  u.conn:on("session", function(conn) conn:send({ "presence" }, { session = true }) end) -- what came meanwhile is kept for it
  u.conn:send { "presence" }
  return u
end

local Run = {}
Run.__index = Run

function Run:answer(u, n)
  self.last_answer = os.time()
  if u.answers[n] then
    u.again = u.again + 1
    return
  end
  local now = core.now()
  u.answers[n], u.answered = true, u.answered + 1
  self.pause = math.max(self.pause, now - (u.at[n] or now))
  if n < u.last then u.disorder[#u.disorder + 1] = ("%s: %d behind %d"):format(u.name, n, u.last) end
  u.last = math.max(u.last, n)
end

function Run:hear(u, stanza)
  if stanza[1] ~= "message" then return end
  local n = tonumber(stanza[2].id and stanza[2].id:match "(%d+)$")
  if not n then return end
  if xexpr.is_error(stanza) then
    u.bounced[n] = true
    self.last_answer = os.time()
  else
    self:answer(u, n)
  end
end

-- The next one, if no more than WINDOW of those behind the last that was answered are open.
function Run:go_on(u)
  if not self.sends and u.sent >= u.quota or u.sent - u.last - self.given_up(u) >= WINDOW then return end
  local n = u.sent + 1
  u.sent, u.at[n] = n, core.now()
  u.conn:send({ "message", { to = "bot@" .. self.servers.component, type = "chat", id = ("%s-%d"):format(u.name, n) },
    { "body", ("n %d"):format(n) } }, { on = function(state)
      if state == "acked" then u.acked[n] = true end
    end })
end

-- How many of those behind the last answer will have none.
function Run.given_up(u)
  local n = 0
  for k = u.last + 1, u.sent do
    if u.bounced[k] or u.lost and u.lost[k] then n = n + 1 end
  end
  return n
end

local function count(set)
  local n = 0
  for _ in pairs(set) do n = n + 1 end
  return n
end

function Run:is_done()
  for _, u in ipairs(self.users) do
    if u.sent < u.quota or count(u.acked) < u.sent or u.answered + count(u.bounced) < u.sent then return false end
  end
  return true
end

-- Nothing has come for a while, and nothing is under way: what is open is lost.
function Run:is_quiet()
  if os.time() - self.last_answer < QUIET then return false end
  local r = require "xmpp.redis".connect { port = self.redis.port, timeout = 5 }
  if not r then return false end
  local open = 0
  for i = 0, self.farm.streams - 1 do
    open = open + (r:call("XLEN", NAME .. ":in:" .. i) or 1) + (r:call("XLEN", NAME .. ":out:" .. i) or 1)
  end
  r:close()
  self.last_answer = os.time()
  return open == 0
end

-- Those that are lost don't hold up what comes; true: there is nothing more to be sent.
function Run:give_up()
  local done = true
  for _, u in ipairs(self.users) do
    u.lost = u.lost or {}
    for n = 1, u.sent do
      if not u.answers[n] and not u.bounced[n] then u.lost[n] = true end
    end
    if u.sent < u.quota then done = false end
  end
  return done
end

local function happen(self, event)
  local before = 0
  for _, u in ipairs(self.users) do before = before + u.answered end
  xmpp.spawn(function()
    local n
    repeat
      xmpp.sleep(0.05)
      n = -before
      for _, u in ipairs(self.users) do n = n + u.answered end
    until n >= #self.users
    if event then event(self) end
    xmpp.sleep(1)
    self.sends = false
  end)
end

-- Until all that is sent is answered, or lost.
function Run:load(event)
  self.sends, self.pause, self.last_answer = true, 0, os.time()
  local timers, till = {}, os.time() + 1500
  for i, u in ipairs(self.users) do
    u.quota = u.sent + self.messages
    timers[i] = xmpp.every(#self.users / RATE, function() self:go_on(u) end)
  end
  happen(self, event)
  repeat
    xmpp.sleep(0.1)
    local ended = not self.sends and (self:is_done() or self:is_quiet() and self:give_up())
  until ended or os.time() > till
  if os.time() > till then self.wrong[#self.wrong + 1] = "it doesn't come to an end" end
  for _, timer in ipairs(timers) do timer:cancel() end
end

-- What has become of everything so far.
function Run:figures(name)
  local r = assert(require "xmpp.redis".connect { port = self.redis.port, timeout = 60 })
  local handled, times, pids = 0, 0, {}
  local seen = {}
  for _, line in ipairs(assert(r:call("LRANGE", NAME .. ":log", 0, -1))) do
    local pid, key = line:match "^(%d+)|([^|]*|[^|]*)|"
    times = times + 1
    if not seen[key] then
      seen[key], handled = true, handled + 1
      pids[pid] = (pids[pid] or 0) + 1
    end
  end
  local marks = #assert(r:call("KEYS", NAME .. ":had:*"))
  local dead = assert(r:call("XLEN", NAME .. ":dead"))
  r:close()
  local f = { name = name, sent = 0, acked = 0, bounced = 0, taken = marks, handled = handled, twice = times - handled,
    answered = 0, again = 0, disorder = 0, dead = dead, pause = self.pause, pids = pids }
  for _, u in ipairs(self.users) do
    f.sent, f.acked, f.bounced = f.sent + u.sent, f.acked + count(u.acked), f.bounced + count(u.bounced)
    f.answered, f.again, f.disorder = f.answered + u.answered, f.again + u.again, f.disorder + #u.disorder
  end
  return f
end

-- What is more in b than in a.
local function between(a, b)
  local out = {}
  for name, value in pairs(b) do out[name] = type(value) == "number" and name ~= "pause" and value - (a[name] or 0) or value end
  out.before, out.behind, out.back = out.acked - out.bounced - out.taken, out.taken - out.handled, out.handled - out.answered
  return out
end

run.HEAD = ("%-9s %-16s %6s %6s %7s %6s %7s %6s %6s %6s %6s %6s"):format("server", "event", "sent", "taken", "bounced", "lost",
  "handled", "twice", "lost", "answer", "again", "pause")
  .. "\n" .. ("%-9s %-16s %6s %6s %7s %6s %7s %6s %6s %6s %6s %6s"):format("", "", "", "", "", "before", "", "", "behind", "lost",
    "", "s")

function run.line(f)
  return ("%-9s %-16s %6d %6d %7d %6d %7d %6d %6d %6d %6d %6.1f"):format(f.kind, f.name, f.sent, f.taken, f.bounced, f.before,
    f.handled, f.twice, f.behind, f.back, f.again, f.pause)
end

-- Events

local function restart_process(self, list, i, how)
  local role, more = list[i].role, list[i].more
  if how == "KILL" then list[i]:kill() else self.told[#self.told + 1] = list[i]:stop() end
  if how == "KILL" then xmpp.sleep(1) end
  list[i] = self.farm:start(role, more, true)
  list[i]:ready()
end

-- While the loop turns: a blocking wait would let the users' links die.
local function in_background(command)
  local done = os.tmpname()
  os.remove(done)
  os.execute(("(%s; touch %s) >/dev/null 2>&1 &"):format(command, done))
  while true do
    local f = io.open(done)
    if f then
      f:close()
      os.remove(done)
      return
    end
    xmpp.sleep(0.1)
  end
end

-- It has gone, and is there again.
local function in_background_until_open(command, port)
  in_background(("%s; bash -c 'sleep 1; until (exec 3<>/dev/tcp/127.0.0.1/%d); do sleep 0.2; done; sleep 0.5'"):format(command,
    port))
end

local function server_restart(self, killed)
  local s = self.servers.server
  in_background_until_open(("kill -%s %s"):format(killed and "USR2" or "USR1", s.supervisor), s.component_port)
  child.variables(s.pipe)
end

local function redis_restart(self, killed)
  in_background_until_open(("kill -%s %s"):format(killed and "USR2" or "USR1", self.redis.supervisor), self.redis.port)
  child.variables(self.redis.pipe)
end

local function node(self, line)
  self.servers.tell(line)
  if line:find "start" then in_background_until_open("true", self.servers.component_ports[line:find "a$" and 1 or 2])
  else in_background "sleep 4" end
  self.servers.done()
end

run.EVENTS = {
  { "none" },
  { "worker killed", function(self) restart_process(self, self.workers, 1, "KILL") end },
  { "intake killed", function(self) restart_process(self, self.intakes, 1, "KILL") end },
  { "Redis killed", function(self) redis_restart(self, true) end },
  { "server killed", function(self)
    if self.servers.server then return server_restart(self, true) end
    node(self, "kill b")
    node(self, "start b")
  end },
  { "rolling restart", function(self)
    for i = 1, #self.workers do restart_process(self, self.workers, i, "TERM") end
    for i = 1, #self.intakes do restart_process(self, self.intakes, i, "TERM") end
    redis_restart(self, false)
    if self.servers.server then return server_restart(self, false) end
    for _, name in ipairs { "a", "b" } do
      node(self, "stop " .. name)
      node(self, "start " .. name)
    end
  end },
}

-- Running

-- Ten at a time.
local function connect_all(self, n)
  local next_one, ends = 0, {}
  for k = 1, 10 do
    ends[k] = xmpp.spawn(function()
      while next_one < n do
        local i = next_one
        next_one = i + 1
        self.users[i + 1] = connect(self, i)
      end
      return true
    end)
  end
  for _, ended in ipairs(ends) do assert(ended:wait()) end
end

local function start(o)
  local self = setmetatable({ users = {}, workers = {}, intakes = {}, sends = false, wrong = {}, told = {}, pause = 0,
    messages = o.messages, last_answer = 0 }, Run)
  self.redis = redis.start(o.redis)
  self.servers = o.kind == "ejabberd" and cluster(o.users) or prosody(o.users)
  self.farm = farm.new(self.redis, NAME, { streams = o.streams or 16 })
  for i = 1, o.workers do self.workers[i] = self.farm:start("worker", { LEASE = o.lease or 5 }, true) end
  for i = 1, 2 do
    self.intakes[i] = self.farm:start("intake", { LEASE = o.lease or 5, DOMAIN = self.servers.component,
      SECRET = self.servers.secret, COMPONENT_PORT = self.servers.component_ports[i] }, true)
  end
  for _, list in ipairs { self.workers, self.intakes } do
    for _, p in ipairs(list) do p:ready() end
  end
  connect_all(self, o.users)
  return self
end

function Run:close()
  for _, u in ipairs(self.users) do u.conn:stop(5) end
  for _, list in ipairs { self.intakes, self.workers } do
    for _, p in ipairs(list) do
      if not p.gone then self.told[#self.told + 1] = p:stop() end
    end
  end
  self.log = self.farm:told()
  self.farm:close()
  self.servers.stop()
  self.redis:stop()
end

-- Of a calm time: is the work spread evenly?
local function spread(f, workers)
  local most = 0
  for _, n in pairs(f.pids) do most = math.max(most, n) end
  return most / (f.handled / workers)
end

local function judge(f, wrong)
  local function fault(text, ...) wrong[#wrong + 1] = ("%s, %s: "):format(f.kind, f.name) .. text:format(...) end
  if f.behind ~= 0 then fault("%d stanzas that Redis had are lost", f.behind) end
  if f.dead ~= 0 then fault("%d are with the dead", f.dead) end
  if f.disorder ~= 0 then fault("%d answers came out of order", f.disorder) end
  if f.acked ~= f.sent then fault("%d of %d were acknowledged", f.acked, f.sent) end
  local spares_link = f.name == "none" or f.name == "worker killed" or f.name == "Redis killed"
  if spares_link and (f.before ~= 0 or f.back ~= 0 or f.bounced ~= 0) then
    fault("%d lost before, %d answers lost, %d refused", f.before, f.back, f.bounced)
  end
end

-- o: kind ("ejabberd", "prosody"), users, messages (of each user in each event), workers; streams, lease, events (a
-- pattern). -> a list of figures, a list of what is wrong
function run.farm(o)
  local self = start(o)
  local list = {}
  local before = self:figures ""
  for _, event in ipairs(run.EVENTS) do
    if event[1]:find(o.events or "") then
      self:load(event[2])
      local now = self:figures(event[1])
      local f = between(before, now)
      f.kind, before = o.kind, now
      if event[1] == "none" then f.spread = spread(now, o.workers) end
      judge(f, self.wrong)
      list[#list + 1] = f
      if o.tell then o.tell(f) end
    end
  end
  for _, u in ipairs(self.users) do
    for _, text in ipairs(u.disorder) do self.wrong[#self.wrong + 1] = text end
  end
  self:close()
  return list, self.wrong, self
end

return run
