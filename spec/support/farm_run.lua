-- A farm under load while its parts are killed: users send numbered messages to a bot, which answers each of them. The
-- bot is two intakes and some workers, each in a process of its own, behind two clustered nodes of ejabberd (an intake
-- at each) or behind Prosody (which takes one intake; the other one waits for its place).
--
--   local figures, wrong = run.farm { kind = "ejabberd", users = run.even(3, 8), messages = 5, workers = 4 }
--
-- A user has at most WINDOW messages open, and goes on sending while something happens. What becomes of each message is
-- known: whether its server has it (XEP-0198), whether Redis has it, how often a handler was called for it, how often
-- it was answered. Nothing is decided by time: a phase is over when the newest message of each user has been answered.
-- Since a user's messages stay in order, whatever is unanswered then is lost, and where it was lost is counted.
local child = require "spec.support.child"
local core = require "xmpp.core"
local farm = require "spec.support.farm"
local redis = require "spec.support.redis"
local server = require "spec.support.server"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local run = {}

local NAME = "farm"
local WINDOW = 3
-- Seconds after which a user whose messages are unanswered sends another one, since they may be lost; twice as many
-- each time in a phase, as everything may just be slow.
local NUDGE = 2
local LIMIT = 1800 -- seconds, then a phase has failed

-- Users

-- The stream of a sender, by the rule of lua/xmpp/stream/intake.lua.
local function stream_of(name, streams)
  local a, b, c, d = core.hash("sha-1", name .. "@xmpp.test"):byte(1, 4)
  return (((a * 256 + b) * 256 + c) * 256 + d) % streams
end

--- Numbers of users of whom each stream gets the same number.
function run.even(each, streams)
  local list, left, i = {}, each * streams, 0
  local of = {}
  while left > 0 do
    local stream = stream_of("user" .. i, streams)
    of[stream] = (of[stream] or 0) + 1
    if of[stream] <= each then list[#list + 1], left = i, left - 1 end
    i = i + 1
  end
  return list
end

-- Servers

local function cluster(users)
  local pipe = child.open("cluster.py", { "USERS=" .. users })
  local v = child.variables(pipe)
  if not v then error("the cluster did not start; it said why on stderr", 0) end
  local s = { domain = v.DOMAIN, component = v.COMPONENT, secret = v.SECRET, ca = v.CA, orders = 0,
    ports = { tonumber(v.A_PORT), tonumber(v.B_PORT) },
    component_ports = { tonumber(v.A_COMPONENT_PORT), tonumber(v.B_COMPONENT_PORT) } }
  -- Has the cluster do that ("kill b"), and waits until it is done, while the loop turns.
  function s.order(line)
    local fifo = assert(io.open(v.FIFO, "w"))
    fifo:write(line, "\n")
    fifo:close()
    s.orders = s.orders + 1
    farm.turn_until(function()
      local file = io.open(v.FIFO .. ".done")
      local text = file and file:read "*a" or ""
      if file then file:close() end
      return #text >= s.orders
    end, 600)
  end
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

-- A user

local Run = {}
Run.__index = Run

local function connect(self, i)
  local s = self.servers
  local u = { name = "user" .. i, sent = 0, acked = 0, bounces = 0, answered = 0, again = 0, last = 0, spoke = 0,
    quota = 0, bounced = {}, answers = {}, at = {}, disorder = {} }
  u.conn = assert(xmpp.connect_client(("user%d@%s/bot"):format(i, s.domain), "pw" .. i, "127.0.0.1", s.ports[i % 2 + 1],
    { ca_file = s.ca, reconnect = { min = 0.2, max = 2 }, timeout = 120, max_age = 3600 }))
  u.conn:set_handler(function(stanza) self:hear(u, stanza) end)
  u.conn:on("session", function(conn) conn:send({ "presence" }, { session = true }) end) -- then it gets what was kept
  u.conn:send { "presence" }
  return u
end

function Run:answer(u, n)
  if u.answers[n] then
    u.again = u.again + 1
    return
  end
  u.answers[n], u.answered, self.answered = true, u.answered + 1, self.answered + 1
  self.pause = math.max(self.pause, core.now() - (u.at[n] or core.now()))
  if n < u.last then u.disorder[#u.disorder + 1] = ("%s: %d behind %d"):format(u.name, n, u.last) end
  u.last = math.max(u.last, n)
end

function Run:hear(u, stanza)
  if stanza[1] ~= "message" then return end
  local n = tonumber(stanza[2].id and stanza[2].id:match "(%d+)$")
  if not n then return end
  if not xexpr.is_error(stanza) then return self:answer(u, n) end
  if not u.bounced[n] then u.bounced[n], u.bounces = true, u.bounces + 1 end
end

function Run:say(u)
  local n = u.sent + 1
  u.sent, u.at[n], u.spoke = n, core.now(), core.now()
  u.conn:send({ "message",
    { to = "bot@" .. self.servers.component, type = "chat", id = ("%s-%d"):format(u.name, n) },
    { "body", ("n %d"):format(n) } }, { on = function(state)
      if state == "acked" then u.acked = u.acked + 1 end
    end })
end

-- Messages behind the last that was answered, and that may still be.
local function open_ones(u)
  local n = u.sent - u.last
  for k = u.last + 1, u.sent do
    if u.bounced[k] then n = n - 1 end
  end
  return n
end

function Run:go_on(u)
  local wants = self.sends or u.sent < u.quota
  if wants and open_ones(u) < WINDOW then return self:say(u) end
  if u.last == u.sent or core.now() - u.spoke < u.patience or u.conn:state() ~= "ready" then return end
  u.patience = u.patience * 2
  self:say(u)
end

-- A phase

local function is_done(u) return u.sent >= u.quota and u.last == u.sent and u.acked >= u.sent end

function Run:are_done()
  if self.sends then return false end
  for _, u in ipairs(self.users) do
    if not is_done(u) then return false end
  end
  return true
end

function Run:describe_open()
  local list = {}
  for _, u in ipairs(self.users) do
    if not is_done(u) then
      list[#list + 1] = ("%s sent %d, acked %d, last %d, %s"):format(u.name, u.sent, u.acked, u.last, u.conn:state())
    end
  end
  return table.concat(list, "; ", 1, math.min(#list, 5))
end

-- Until there have been as many answers more as there are users.
local function flow(self)
  local wanted = self.answered + #self.users
  farm.turn_until(function() return self.answered >= wanted end, LIMIT)
end

local function happen(self, event)
  flow(self)
  event(self)
  flow(self)
  self.sends = false
end

-- The users talk while the event happens; without one, each says what it has to.
function Run:phase(event)
  self.sends, self.pause = event ~= nil, 0
  local timers, till = {}, os.time() + LIMIT
  for i, u in ipairs(self.users) do
    u.quota, u.patience = u.sent + self.messages, NUDGE
    timers[i] = xmpp.every(#self.users / self.rate, function() self:go_on(u) end)
  end
  local happened = event and xmpp.spawn(happen, self, event)
  repeat xmpp.sleep(0.02) until self:are_done() or os.time() > till
  for _, timer in ipairs(timers) do timer:cancel() end
  if not self:are_done() then self.wrong[#self.wrong + 1] = "it doesn't come to an end: " .. self:describe_open() end
  if happened and self:are_done() then
    local _, err = happened:wait()
    if err then self.wrong[#self.wrong + 1] = tostring(err) end
  end
end

-- Figures

local function lines_of_log(r, f)
  local seen = {}
  for _, line in ipairs(assert(r:call("LRANGE", NAME .. ":log", 0, -1))) do
    local pid, key = line:match "^(%d+)|([^|]*|[^|]*)|"
    f.calls = f.calls + 1
    if not seen[key] then
      seen[key], f.handled = true, f.handled + 1
      f.pids[pid] = (f.pids[pid] or 0) + 1
    end
  end
end

-- What has become of everything so far.
function Run:figures()
  local f = { sent = 0, acked = 0, bounced = 0, answered = 0, again = 0, disorder = 0, handled = 0, calls = 0,
    pids = {} }
  local r = assert(require "xmpp.redis".connect { port = self.redis.port, timeout = 60 })
  lines_of_log(r, f)
  f.taken = #assert(r:call("KEYS", NAME .. ":had:*"))
  f.dead = assert(r:call("XLEN", NAME .. ":dead"))
  r:close()
  for _, u in ipairs(self.users) do
    f.sent, f.acked, f.bounced = f.sent + u.sent, f.acked + u.acked, f.bounced + u.bounces
    f.answered, f.again, f.disorder = f.answered + u.answered, f.again + u.again, f.disorder + #u.disorder
  end
  return f
end

-- Those of one phase, by what was before and behind it. Lost are: before Redis had them; in Redis; answers on their
-- way back.
local function between(a, b)
  local f = {}
  for name, value in pairs(b) do f[name] = type(value) == "number" and value - a[name] or value end
  f.twice = f.calls - f.handled
  f.lost_before, f.lost_inside = f.acked - f.bounced - f.taken, f.taken - f.handled
  f.lost_back = f.handled - f.answered
  return f
end

local FORM = "%-9s %-16s %6s %8s %6s %12s %8s %6s %12s %12s %6s %10s %8s"

run.HEAD = FORM:format("server", "event", "sent", "refused", "taken", "lost before", "handled", "twice", "lost inside",
  "lost answers", "again", "overtaken", "pause, s")

function run.line(f)
  return FORM:format(f.kind, f.name, f.sent, f.bounced, f.taken, f.lost_before, f.handled, f.twice, f.lost_inside,
    f.lost_back, f.again, f.disorder, ("%.1f"):format(f.pause))
end

-- Events

-- While the loop turns: if it stood still, the users' connections would be lost.
local function in_background(command)
  local done = os.tmpname()
  os.remove(done)
  os.execute(("(%s; touch %s) >/dev/null 2>&1 &"):format(command, done))
  farm.turn_until(function()
    local file = io.open(done)
    if file then file:close() end
    return file ~= nil
  end, 300)
  os.remove(done)
end

-- Tells a supervisor to start its server again, which then listens on the port once more.
local function restart(self, supervised, port, killed)
  in_background(([[kill -%s %s
    while kill -0 %d; do sleep 0.05; done
    bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/%d); do sleep 0.1; done']]):format(killed and "USR2" or "USR1",
    supervised.supervisor, supervised.pid, port))
  local v = child.variables(supervised.pipe)
  if not v then
    self.wrong[#self.wrong + 1] = "a server did not start again"
    return
  end
  supervised.pid = tonumber(v.PID or v.XMPP_SERVER_PID)
end

local function restart_process(self, list, i, how)
  local old = list[i]
  if how == "KILL" then old:kill() else self.told[#self.told + 1] = old:stop() end
  list[i] = self.farm:start(old.role, old.more, true)
  list[i]:ready()
end

local function restart_redis(self, killed) restart(self, self.redis, self.redis.port, killed) end

local function restart_prosody(self, killed)
  restart(self, self.servers.server, self.servers.component_ports[1], killed)
end

run.EVENTS = {
  { "none" },
  { "worker killed", function(self) restart_process(self, self.workers, 1, "KILL") end },
  { "intake killed", function(self) restart_process(self, self.intakes, 1, "KILL") end },
  { "Redis killed", function(self) restart_redis(self, true) end },
  { "server killed", function(self)
    if self.servers.server then return restart_prosody(self, true) end
    self.servers.order "kill b"
    self.servers.order "start b"
  end },
  { "rolling restart", function(self)
    for i = 1, #self.workers do restart_process(self, self.workers, i, "TERM") end
    for i = 1, #self.intakes do restart_process(self, self.intakes, i, "TERM") end
    restart_redis(self, false)
    if self.servers.server then return restart_prosody(self, false) end
    for _, name in ipairs { "a", "b" } do
      self.servers.order("stop " .. name)
      self.servers.order("start " .. name)
    end
  end },
}

-- The whole

local function connect_all(self, numbers)
  local at, ends = 0, {}
  for k = 1, 10 do
    ends[k] = xmpp.spawn(function()
      while at < #numbers do
        at = at + 1
        local place = at
        self.users[place] = connect(self, numbers[place])
      end
      return true
    end)
  end
  for _, ended in ipairs(ends) do assert(ended:wait()) end
end

local function start(o)
  local self = setmetatable({ users = {}, workers = {}, intakes = {}, wrong = {}, told = {}, sends = false, pause = 0,
    answered = 0, messages = o.messages, rate = o.rate or 200 }, Run)
  self.redis = redis.start()
  local accounts = o.users[#o.users] + 1
  self.servers = o.kind == "ejabberd" and cluster(accounts) or prosody(accounts)
  self.farm = farm.new(self.redis, NAME, { streams = o.streams or 16 })
  for i = 1, o.workers do self.workers[i] = self.farm:start("worker", { LEASE = o.lease or 5 }, true) end
  for i = 1, 2 do
    self.intakes[i] = self.farm:start("intake", { LEASE = o.lease or 5, DOMAIN = self.servers.component,
      SECRET = self.servers.secret, COMPONENT_PORT = self.servers.component_ports[i] }, true)
  end
  for _, list in ipairs { self.workers, self.intakes } do
    for _, p in ipairs(list) do p:ready() end
  end
  self.farm:until_shared(o.workers)
  connect_all(self, o.users)
  return self
end

function Run:close()
  local ends = {}
  for i, u in ipairs(self.users) do ends[i] = xmpp.spawn(function() return u.conn:stop(5) or true end) end
  for _, ended in ipairs(ends) do ended:wait() end
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

-- How much more than its share the busiest worker has done.
local function spread(f, workers)
  local most = 0
  for _, n in pairs(f.pids) do most = math.max(most, n) end
  return most / (f.handled / workers)
end

local CALM = { none = true, ["worker killed"] = true, ["Redis killed"] = true } -- the way to the server stays as it is

-- Has a user come to another node of the server, and so to another intake? What had come by the first one may be
-- overtaken then.
local function has_moved(f)
  return f.kind == "ejabberd" and (f.name == "server killed" or f.name == "rolling restart")
end

local function judge(f, wrong)
  local function fault(text, ...) wrong[#wrong + 1] = ("%s, %s: "):format(f.kind, f.name) .. text:format(...) end
  if f.lost_inside ~= 0 then fault("%d stanzas that Redis had were never handled", f.lost_inside) end
  if f.dead ~= 0 then fault("%d are with the dead", f.dead) end
  if f.disorder ~= 0 and not has_moved(f) then fault("%d answers came out of order", f.disorder) end
  if f.acked ~= f.sent then fault("%d of %d were acknowledged", f.acked, f.sent) end
  if CALM[f.name] and (f.lost_before ~= 0 or f.lost_back ~= 0 or f.bounced ~= 0) then
    fault("%d lost before, %d answers lost, %d refused", f.lost_before, f.lost_back, f.bounced)
  end
  if f.name == "none" and (f.twice ~= 0 or f.again ~= 0) then fault("%d handled twice, %d again", f.twice, f.again) end
end

local function one_phase(self, o, event, before)
  self:phase(event[2])
  local now = self:figures()
  local f = between(before, now)
  f.kind, f.name, f.pause = o.kind, event[1], self.pause
  if not event[2] then f.spread = spread(f, o.workers) end
  judge(f, self.wrong)
  if f.disorder ~= 0 and not has_moved(f) then
    for _, u in ipairs(self.users) do
      for _, text in ipairs(u.disorder) do self.wrong[#self.wrong + 1] = text end
    end
  end
  if o.tell then o.tell(f) end
  return f, now
end

--- o: kind ("ejabberd", "prosody"), users (a list of their numbers), messages (of each user in each phase, at least),
--- workers; streams, lease, rate (messages of all users a second, at most), events (a set of names), tell (called with
--- each figures).
---@return table[] figures of each event
---@return string[] wrong
---@return table run with its `log`
function run.farm(o)
  local self = start(o)
  local list, before = {}, self:figures()
  for _, event in ipairs(run.EVENTS) do
    if not o.events or o.events[event[1]] then
      list[#list + 1], before = one_phase(self, o, event, before)
    end
  end
  self:close()
  return list, self.wrong, self
end

return run
