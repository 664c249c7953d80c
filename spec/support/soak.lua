-- soak: sends numbered messages over connections that are cut again and again, and then checks what became of each.
-- alice sends them to bob's bare JID, with conn:send's `on`; each of the two connects through a proxy of its own
-- (proxy.py).
--
--   local figures, wrong = soak.run(s, { stanzas = 20000, cuts = 1000, seed = 1 })   -- s: a server of server.lua's
--   soak.CONF[s.name]   what the server's EXTRA_CONF must be
--                       -- websocket = true: over WebSocket, if the server has it (WEBSOCKET=yes); on ejabberd alice
--   local run = soak.start(s, { seed = 1 })   -- by hand: run.alice, .bob, .account; run:send(n), run:turn_until(f)
--
-- These must hold; `wrong` is a list of violations:
--   * every message has exactly one final state, "acked" or "failed", and was "written" before it was acked;
--   * what was acked was delivered, or came back to alice as an error from the server: none is lost;
--   * what failed was not delivered, so that sent = delivered + failed;
--   * none is delivered twice; on Prosody, at most as many as there were failed resumptions without h (it discards the
--     counters together with the session, so that it is unknown whether the last stanzas had arrived);
--   * bob receives the numbers in order. A number may be lower than the one before (a "fall", counted among first
--     deliveries) only after a new session of alice (what she resends then is older than what was delivered) or of bob
--     (messages stored for him come together with new ones). A resumption is no excuse, except bob's on ejabberd, which
--     sometimes sends new messages before the last of those that it resends.
local proxy = require "spec.support.proxy"
local xexpr = require "xmpp.xexpr"
local uptime = require "spec.support.uptime"
local xmpp = require "xmpp"

local soak = {}

local PING = { "ping", { xmlns = "urn:xmpp:ping" } }
local WINDOW = 300 -- messages without a final state; at most 150 of them are in flight
local PATIENCE = 60 -- seconds without any progress, after which a run counts as stuck
local FETCH = 3 -- seconds without progress, after which bob fetches what may be stored for him
-- Seconds without a network after a cut. If a session is resumed before ejabberd has read everything from the old
-- connection, it still delivers what it reads there, but doesn't count it in h, so that it is delivered twice.
local GAP = { prosody = 0.02, ejabberd = 0.2 } -- by the first word of a server's name
local ACK_TIMEOUT = 1 -- seconds, after which many connections to Prosody are given up

-- Without an archive, which would be written and searched at every message. Prosody drops the oldest stanzas that a
-- client hasn't acknowledged when there are more than 500, and on a busy machine bob may be further behind.
local prosody = 'modules_disabled = { "s2s", "s2s_auth_certs", "mam" }; smacks_max_queue_size = 20000'
local ejabberd = [[
host_config:
  xmpp.test:
    modules:
      mod_offline: {}
      mod_ping: {}
      mod_roster: {}
      mod_stream_mgmt: { resend_on_timeout: if_offline, resume_timeout: 60, ack_timeout: 60 }
]]
soak.CONF = { prosody = prosody, prosody13 = prosody, ejabberd = ejabberd, ejabberd24 = ejabberd,
  ["prosody13+sasl2"] = prosody, ["ejabberd24+sasl2"] = ejabberd .. "      mod_auth_fast: {}\n" }

-- Accounting: what became of each message

local Account = {}
Account.__index = Account

function soak.account()
  return setmetatable({ sent = 0, fate = {}, written = {}, deliveries = {}, bounced = {}, odd = {}, settled = 0,
    told = uptime() }, Account)
end

function Account:complain(...)
  self.odd[#self.odd + 1] = string.format(...)
end

-- The function for conn:send's `on`, for message n.
function Account:state(n, state, err)
  self.told = uptime()
  if self.fate[n] then return self:complain("%d: %s after %s", n, state, self.fate[n]) end
  if state == "written" then
    if self.written[n] then self:complain("%d: written twice", n) end
    self.written[n] = true
    return
  end
  if state == "acked" and not self.written[n] then self:complain("%d: acked, and never written", n) end
  if state == "failed" and not err then self:complain("%d: failed, and nobody says why", n) end
  self.fate[n] = state
  self.settled = self.settled + 1
end

function Account:delivered(n)
  self.told = uptime()
  self.deliveries[#self.deliveries + 1] = n
end

-- The totals: acked, failed, delivered (different ones), doubled, falls; and lists: lost, untold (without a final
-- state), failed_and_delivered.
function Account:close()
  local a = { acked = 0, failed = 0, delivered = 0, doubled = 0, bounced = 0, falls = 0, lost = {}, untold = {},
    failed_and_delivered = {} }
  local seen, last = {}, 0
  for _, n in ipairs(self.deliveries) do
    if seen[n] then
      a.doubled = a.doubled + 1
    else
      seen[n] = true
      a.delivered = a.delivered + 1
      if n < last then a.falls = a.falls + 1 end
      last = n
    end
    if n < 1 or n > self.sent then self:complain("%d: delivered, and never sent", n) end
  end
  for n = 1, self.sent do
    local fate = self.fate[n]
    if fate then a[fate] = a[fate] + 1 else a.untold[#a.untold + 1] = n end
    if fate == "acked" and not seen[n] then
      if self.bounced[n] then a.bounced = a.bounced + 1 else a.lost[#a.lost + 1] = n end
    end
    if fate == "failed" and seen[n] then a.failed_and_delivered[#a.failed_and_delivered + 1] = n end
  end
  return a
end

-- The numbers that were delivered more than once.
function Account:doubled()
  local seen, twice = {}, {}
  for _, n in ipairs(self.deliveries) do
    if seen[n] then twice[#twice + 1] = n end
    seen[n] = true
  end
  return twice
end

local function listed(numbers)
  local first = {}
  for i = 1, math.min(#numbers, 10) do first[i] = numbers[i] end
  return #numbers .. " (" .. table.concat(first, " ") .. (#numbers > 10 and " ...)" or ")")
end

-- soak.judge(account, may): a list of texts that say what is wrong. may: { doubled =, falls = }, how many are allowed.
function soak.judge(account, may)
  local a, wrong = account:close(), {}
  local function demand(ok, ...)
    if not ok then wrong[#wrong + 1] = string.format(...) end
  end
  demand(#a.lost == 0, "lost: %s", listed(a.lost))
  demand(#a.untold == 0, "of unknown fate: %s", listed(a.untold))
  demand(#a.failed_and_delivered == 0, "failed, and yet delivered: %s", listed(a.failed_and_delivered))
  demand(a.doubled <= may.doubled, "doubled: %d, where %d are excused", a.doubled, may.doubled)
  demand(a.falls <= may.falls, "out of order: %d times, where %d are excused", a.falls, may.falls)
  demand(#account.odd == 0, "receipts: %s", table.concat(account.odd, "; "))
  return wrong, a
end

-- alice and bob

local Party = {}
Party.__index = Party

-- If a login can be a single exchange it is, and each of them has a token.
local AGENTS = { alice = "5a3f9c52-7d0e-4d0e-9a52-0c8b1c4e7a01", bob = "5a3f9c52-7d0e-4d0e-9a52-0c8b1c4e7a02" }

-- A fault of ejabberd (route_text in ejabberd_http_ws, 23.01 to 26.07): if a client's WebSocket is cut while something
-- is being sent to it, the process of its session waits for ever for another process that has ended, and those that
-- talk to it wait 15 seconds each time. What it has for that client is lost then, and the session can't be resumed. So
-- bob uses TCP there, and alice's messages that were in flight may be delivered twice if it has happened to her.
local IN_FLIGHT = 150

local function over_websocket(s, name, options)
  return options.websocket and (name == "alice" or s.name:find "^prosody" ~= nil)
end

-- Starts a proxy in front of the server's port, and sets the options to connect through it.
local function reach(s, opts, seed, websocket)
  local p = proxy.start(s.host, websocket and s.http_port or s.port, seed)
  if websocket then
    opts.url = s.wss:gsub(":%d+/", (":%d/"):format(p.port))
  else
    opts.host, opts.port = p.host, p.port
  end
  return p
end

local function party(s, name, seed, options)
  local p = setmetatable({ name = name, states = {}, longest = 0, rebound = 0, resumed = 0, token = 0, inline = 0 },
    Party)
  local opts = s.opts { reconnect = options.reconnect or { min = 0.01, max = 0.2 }, ack_timeout = ACK_TIMEOUT }
  if s.name:find("+sasl2", 1, true) then
    opts.bind2, opts.user_agent = "soak", { id = AGENTS[name] }
  else
    opts.resource = "soak"
  end
  p.proxy = reach(s, opts, seed, over_websocket(s, name, options))
  p.conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], opts))
  p.conn:on("state", function(state, err) p:heard(state, err) end)
  return p
end

function Party:heard(state, err)
  self.states[state] = (self.states[state] or 0) + 1
  if state == "closed" then self.ended = err or true end
  if state ~= "ready" then
    self.since = self.since or uptime()
    return
  end
  if self.since then self.longest = math.max(self.longest, uptime() - self.since) end
  self.since = nil
  local info = self.conn:info()
  if info.rebound ~= self.rebound and self.bound_anew then self:bound_anew() end
  if info.fast then self.token = self.token + 1 end
  if info.resumed ~= self.resumed and info.bound_inline then self.inline = self.inline + 1 end
  self.rebound, self.resumed = info.rebound, info.resumed
end

function Party:close()
  if self.conn then self.conn:stop(2) end
  self.proxy:stop()
end

-- Waits until everything received has been handled, and the server has processed the presence.
local function settle(s, p)
  return p.conn:send_await({ "iq", { type = "get", to = s.domain }, PING }, 30)
end

-- bob's handler. Messages from an earlier run are ignored: each run's messages have its tag.
local function receiver(s, account, tag, seed, options)
  local p = party(s, "bob", seed, options)
  function p:bound_anew() self.conn:send { "presence" } end
  p.conn:set_handler(function(stanza)
    local n, whose = (xexpr.text(stanza, "body") or ""):match "^(%d+) (%S+)"
    if whose == tag and not xexpr.is_error(stanza) then account:delivered(tonumber(n)) end
  end)
  p:bound_anew()
  assert(settle(s, p))
  return p
end

local function sender(s, account, tag, seed, options)
  local p = party(s, "alice", seed, options)
  p.conn:set_handler(function(stanza)
    local n, whose = (stanza[2].id or ""):match "^(%d+) (%S+)$"
    if whose == tag and xexpr.is_error(stanza) then account.bounced[tonumber(n)] = true end
  end)
  assert(settle(s, p)) -- now there is a session that can be resumed
  return p
end

-- Every two-hundredth message needs several TLS records, so that a cut may leave the server with half a stanza.
local function padding(n)
  return ("."):rep(n % 200 == 0 and 20000 or n * 37 % 600)
end

-- A run

local Run = {}
Run.__index = Run

-- Sends the next message; false: there is no room for more.
function Run:send_one()
  local account, n = self.account, self.account.sent + 1
  local ok, err = self.alice.conn:send({ "message", { to = "bob@" .. self.server.domain, type = "chat",
    id = n .. " " .. self.tag }, { "body", n .. " " .. self.tag .. " " .. padding(n) } },
    { on = function(state, why) account:state(n, state, why) end })
  if not ok and err.layer == "limit" then return false end
  if not ok then error("message " .. n .. " was not taken: " .. tostring(err), 0) end
  account.sent = n
  return true
end

-- Sends so many more messages at once.
function Run:send(count)
  for _ = 1, count do assert(self:send_one(), "there is no room") end
end

-- A description of the state in which the run is stuck.
function Run:standstill()
  local a = self.account:close()
  return ("no news for %d s; acked and not there: %s; of unknown fate: %s; alice is %s, bob is %s"):format(PATIENCE,
    listed(a.lost), listed(a.untold), self.alice.conn:state(), self.bob.conn:state())
end

-- ejabberd may store a message for bob just after it has delivered what was stored when he came back. He gets it when
-- he comes back again, which this makes him do.
function Run:fetch()
  self.fetched = uptime()
  if self.bob.conn:state() ~= "ready" or #self.account:close().lost == 0 then return end
  self.bob.conn:send { "presence", { type = "unavailable" } }
  self.bob.conn:send { "presence" }
end

-- Raises if there has been no progress for too long.
function Run:check_news(level)
  local since = uptime() - self.account.told
  if since > PATIENCE then error(self:standstill(), level and level + 1 or 0) end
  if since > FETCH and uptime() - self.fetched > FETCH then self:fetch() end
end

-- Runs the loop until `is_so()`; for callers that aren't in a coroutine.
function Run:turn_until(is_so)
  self.account.told = uptime()
  while not is_so() do
    self:check_news(2)
    xmpp.step(0.05)
  end
end

-- Has every message a final state, and are all acked ones delivered?
function Run:is_settled()
  local a = self.account
  return a.settled == a.sent and #a:close().lost == 0
end

-- Waits until everything that the server has for bob has been delivered.
function Run:settle()
  return settle(self.server, self.bob)
end

function Run:cuts()
  return self.alice.proxy:cuts() + self.bob.proxy:cuts()
end

function Run:check_alive()
  for _, p in ipairs { self.alice, self.bob } do
    if p.ended then error(p.name .. "'s connection has ended: " .. tostring(p.ended), 0) end
  end
  self:check_news()
end

-- A cut comes after a number of bytes, and the messages must be spread over all cuts: so none is sent far ahead of the
-- cuts, except that some more are sent if no cut comes for a while.
function Run:may_send(cuts)
  local a, o = self.account, self.options
  if a.sent - a.settled >= WINDOW then return false end
  return a.sent * o.cuts <= o.stanzas * (cuts + 2 + self.slack)
end

function Run:send_all()
  local a, o, cuts, asked = self.account, self.options, 0, uptime()
  while a.sent < o.stanzas or cuts < o.cuts do
    self:check_alive()
    while self:may_send(cuts) and self:send_one() do end
    xmpp.sleep(0.005)
    if uptime() - asked > 0.1 then
      local now = self:cuts()
      self.slack = now == cuts and self.slack + 2 or self.slack
      cuts, asked = now, uptime()
    end
  end
end

function Run:wait_for_all()
  self.alice.proxy:tell "cuts 0"
  self.bob.proxy:tell "cuts 0"
  while not self:is_settled() do
    self:check_alive()
    xmpp.sleep(0.2)
  end
end

function Run:figures(a)
  local alice, bob, f = self.alice.conn:info(), self.bob.conn:info(), {}
  for _, key in ipairs { "resumed", "rebound", "failed_without_h" } do f[key] = alice[key] + bob[key] end
  f.server, f.cuts, f.sent = self.server.name, self:cuts(), self.account.sent
  f.token, f.inline = self.alice.token + self.bob.token, self.alice.inline + self.bob.inline
  f.longest = math.max(self.alice.longest, self.bob.longest)
  f.acked, f.failed, f.lost, f.doubled, f.bounced, f.falls =
    a.acked, a.failed, #a.lost, a.doubled, a.bounced, a.falls
  f.seconds = uptime() - self.began
  return f
end

-- How many messages may be delivered twice, and how often numbers may fall.
function Run:excuses()
  local alice, bob = self.alice.conn:info(), self.bob.conn:info()
  local is_prosody = self.server.name:find "^prosody" ~= nil
  local doubled = is_prosody and alice.failed_without_h + bob.failed_without_h or 0
  if self.options.websocket and not is_prosody then doubled = alice.failed_without_h * IN_FLIGHT end
  return { doubled = doubled,
    falls = alice.rebound + bob.rebound + (is_prosody and 0 or bob.resumed) }
end

-- options: seed; reconnect (the library's option, for both); websocket.
function soak.start(s, options)
  local run = setmetatable({ server = s, options = options, account = soak.account(), tag = xmpp.id(), slack = 0,
    began = uptime(), fetched = 0 }, Run)
  run.bob = receiver(s, run.account, run.tag, options.seed * 2, options)
  run.alice = sender(s, run.account, run.tag, options.seed * 2 + 1, options)
  return run
end

function Run:close()
  for _, p in ipairs { self.alice, self.bob } do p:close() end
end

-- The average number of bytes until a connection is cut that has survived its negotiation. What isn't acknowledged by
-- then is sent again on the next one, so that some 12 messages get through between cuts; more, if more are wanted per
-- cut.
local MEAN = 30000

local function play(run)
  local o = run.options
  local mean = o.mean or MEAN * math.max(1, o.stanzas / o.cuts / 12)
  for _, p in ipairs { run.alice, run.bob } do
    p.proxy:tell("gap " .. GAP[run.server.name:match "^%a+"])
    p.proxy:tell("cuts " .. mean)
    p.proxy:tell "cut rst"
  end
  run:send_all()
  run:wait_for_all()
  local stopped, err = run.alice.conn:stop()
  if not stopped then run.account:complain("alice's stop says: %s", tostring(err)) end
end

-- Doesn't raise: an error that stops the run is the first entry of `wrong`.
function soak.run(s, options)
  local run = soak.start(s, options)
  local ok, why
  local finished = false
  xmpp.spawn(function()
    ok, why = pcall(play, run)
    finished = true
  end)
  while not finished do xmpp.step(0.1) end
  local excuses = run:excuses()
  local wrong, a = soak.judge(run.account, excuses)
  if not ok then table.insert(wrong, 1, why) end
  local figures = run:figures(a)
  run:close()
  return figures, wrong
end

-- The figures as one line under soak.HEAD. token, inline: logins by a token, and sessions that were resumed inside the
-- login.
local COLUMNS = { "server", "cuts", "resumed", "rebound", "sent", "acked", "failed", "lost", "doubled", "longest",
  "failed_without_h", "bounced", "falls", "token", "inline", "seconds" }
soak.HEAD = ("%-17s" .. ("%8s"):rep(9) .. "%18s" .. ("%9s"):rep(5)):format((table.unpack or unpack)(COLUMNS))

function soak.line(f)
  return ("%-17s" .. ("%8d"):rep(8) .. "%7.2fs" .. "%18d%9d%9d%9d%9d%8.0fs"):format(f.server, f.cuts, f.resumed,
    f.rebound, f.sent, f.acked, f.failed, f.lost, f.doubled, f.longest, f.failed_without_h, f.bounced, f.falls, f.token,
    f.inline, f.seconds)
end

return soak
