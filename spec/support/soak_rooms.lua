-- soak_rooms: a bot in chat rooms, whose connections are cut and whose servers are restarted, and a witness, a client
-- made with another library (witness.py), that asks it numbered questions in each of its rooms.
--
--   local figures, wrong = soak_rooms.run(s, { seconds = 60, rooms = 5, seed = 1, pause = 3, restarts = 2 })
--   soak_rooms.CONF[s.name]   what the server's EXTRA_CONF must be
--
-- The bot's connection is cut every `pause` seconds on average. With `resume = false` it has a new session after each
-- cut, otherwise only after the server has been restarted (`restarts` times, every other time by killing it). These
-- must hold; `wrong` is a list of violations:
--   * every answer of the bot has exactly one outcome: it was said in the room, or it failed;
--   * the witness has seen each answer that was said exactly once. Twice only if the server was restarted before it had
--     acknowledged the answer: the new process doesn't know of it, and its rooms have no history;
--   * in each room something was answered after the last cut;
--   * in the end the bot is in every room, and the witness sees it there.
local child = require "spec.support.child"
local muc = require "xmpp.muc"
local proxy = require "spec.support.proxy"
local uptime = require "spec.support.uptime"
local xmpp = require "xmpp"

-- Prosody drops the oldest stanzas that a client hasn't acknowledged when there are more than 500.
local prosody = 'modules_disabled = { "s2s", "s2s_auth_certs", "mam" }; smacks_max_queue_size = 20000'
local soak_rooms = { CONF = { prosody = prosody, prosody13 = prosody } }

local NICK, PATIENCE = "bot", 60

local Run = {}
Run.__index = Run

-- The number of entries in the table, or of those with that value, if one is given.
local function count(t, value)
  local n = 0
  for _, v in pairs(t) do n = n + ((value == nil or v == value) and 1 or 0) end
  return n
end

-- The witness

local Witness = {}
Witness.__index = Witness

local function witness(s, rooms)
  local w = setmetatable({ path = os.tmpname(), read = 0 }, Witness)
  local words = { s.host, s.port, s.ca, "bob@" .. s.domain .. "/witness", s.users.bob, "witness", NICK }
  for _, jid in ipairs(rooms) do words[#words + 1] = jid end
  for i, word in ipairs(words) do words[i] = ("'%s'"):format(word) end
  w.pipe = assert(io.popen(("exec env -u LD_PRELOAD '%s/witness.py' %s >%s"):format(child.folder,
    table.concat(words, " "), w.path), "w"))
  w.pipe:setvbuf "line"
  return w
end

-- What it has printed up to a line that begins with `last`; nil: it hasn't printed that yet.
function Witness:told(last)
  local file, found = assert(io.open(self.path)), nil
  file:seek("set", self.read)
  local v = {}
  for line in file:lines() do
    local key, value = line:match "^([A-Z]+)=(.*)$"
    if key then v[key] = value end
    if line:find("^" .. last) then
      found = v
      break
    end
  end
  if found then self.read = file:seek() end
  file:close()
  return found
end

function Witness:say(word) self.pipe:write(word, "\n") end

function Witness:stop()
  self.pipe:close()
  os.remove(self.path)
end

-- The bot

-- Notes an answer's outcome, of which each has one.
local function note(run, key, state)
  local ends = run.ends
  if state == "sent" then
    run.resent = run.resent + (run.sent[key] and 1 or 0)
    if run.sent[key] and run.restarted then run.excused[key] = true end
    run.sent[key] = true
    return
  end
  if ends[key] then run.odd[#run.odd + 1] = ("%s: %s after %s"):format(key, state, ends[key]) end
  ends[key] = state
end

local function answer(run, room, m)
  local jid, n = (m.text or ""):match "^!echo (%S+) (%d+)$"
  if m.own or m.history or not n then return end
  local key = room.jid:match "^[^@]+" .. ":" .. n
  if run.answered[key] then run.odd[#run.odd + 1] = key .. ": asked twice" end
  run.answered[key] = true
  local id, err = room:say(jid .. " " .. n, { on = function(state) note(run, key, state) end })
  if not id then run.odd[#run.odd + 1] = ("%s: %s"):format(key, tostring(err)) end
end

local function enter(run, jid)
  local room = assert(muc.join(run.conn, jid, NICK, { create = "default", ping = 10 }))
  run.rooms[#run.rooms + 1] = room
  room:on("message", function(m) answer(run, room, m) end)
  room:on("rejoined", function() run.rejoined = run.rejoined + 1 end)
  room:on("removed", function(why)
    if not why.returns then run.odd[#run.odd + 1] = ("%s: out: %s"):format(jid, tostring(why.err or why.code)) end
  end)
end

local function turn_until(run, what, seconds, text)
  local limit = uptime() + seconds
  while not what() do
    if uptime() > limit then error(("%s: not in %d s"):format(text, seconds), 0) end
    if run.conn:state() == "closed" then error("the bot's connection has ended", 0) end
    xmpp.step(0.05)
  end
end

local function all_joined(run)
  for _, room in ipairs(run.rooms) do
    if not room.joined then return false end
  end
  return true
end

-- The run

local function cut(run)
  run.proxy:tell(math.random(2) == 1 and "cut fin" or "cut rst")
  run.cuts = run.cuts + 1
end

local function play(run, o)
  local ends, next_cut = uptime() + o.seconds, uptime() + o.pause
  local next_restart = uptime() + o.seconds / (o.restarts + 1)
  local restarts = 0
  while uptime() < ends do
    local now = uptime()
    xmpp.step(0.02)
    if run.conn:state() == "closed" then error("the bot's connection has ended", 0) end
    if now > next_cut then
      cut(run)
      next_cut = now + o.pause * (0.5 + math.random())
    end
    if now > next_restart and restarts < o.restarts then
      restarts, run.restarted = restarts + 1, true
      run.server:restart(restarts % 2 == 0)
      next_restart = uptime() + o.seconds / (o.restarts + 1)
    end
  end
end

-- Everything that is wrong.
local function judge(run, report, before)
  local wrong = {}
  local function demand(ok, ...)
    if not ok then wrong[#wrong + 1] = string.format(...) end
  end
  for key in pairs(run.answered) do demand(run.ends[key], "%s: what has become of it?", key) end
  for key in report.TWICE:gmatch "%S+" do demand(run.excused[key], "%s: answered twice", key) end
  demand(report.UNASKED == "0", "%s answers to nothing", report.UNASKED)
  demand(tonumber(report.PRESENT) == #run.rooms, "the witness sees the bot in %s rooms", report.PRESENT)
  demand(tonumber(report.ANSWERED) > before, "nothing was answered behind the last cut")
  demand(all_joined(run), "the bot isn't in all rooms")
  for _, text in ipairs(run.odd) do wrong[#wrong + 1] = text end
  for i = 1, #run.rooms do
    local some = false
    for key in pairs(run.answered) do some = some or key:find("^soak" .. i .. ":") end
    demand(some, "room %d: nothing was answered", i)
  end
  return wrong
end

local function report(run)
  run.witness:say "report"
  local v
  turn_until(run, function()
    v = run.witness:told "$"
    return v
  end, PATIENCE, "the witness's report")
  return v
end

-- Ends the cuts, and waits until all have come back and gone on.
local function finish(run)
  run.proxy:tell "gap 0"
  turn_until(run, function() return all_joined(run) end, PATIENCE, "back in all rooms")
  local before
  turn_until(run, function()
    before = report(run)
    return before.IN == tostring(#run.rooms) and before.PRESENT == before.IN
  end, PATIENCE, "the witness and the bot in all rooms")
  local had = tonumber(before.ANSWERED)
  turn_until(run, function() return tonumber(report(run).ANSWERED) > had + 2 * #run.rooms end, PATIENCE, "answers")
  run.witness:say "stop"
  local asked = report(run) -- it asks no more questions
  assert(run.conn:ping(30)) -- and those that it had asked have arrived
  turn_until(run, function()
    for key in pairs(run.answered) do
      if not run.ends[key] then return false end
    end
    return true
  end, 2 * PATIENCE, "an end of all that was said")
  local last
  turn_until(run, function()
    last = report(run)
    return last.ASKED == asked.ASKED and tonumber(last.ANSWERED) >= count(run.ends, "reflected") - run.resent
  end, PATIENCE, "what the bot has said at the witness")
  return last, had
end

local function start(s, o)
  local run = setmetatable({ server = s, rooms = {}, answered = {}, ends = {}, sent = {}, odd = {}, excused = {},
    rejoined = 0, cuts = 0, resent = 0, began = uptime() }, Run)
  run.proxy = proxy.start(s.host, s.port, o.seed)
  run.conn = assert(xmpp.connect_client("alice@" .. s.domain, s.users.alice, run.proxy.host, run.proxy.port,
    s.opts { resource = "bot", reconnect = { min = 0.05, max = 0.5 }, ack_timeout = 2, resume = o.resume }))
  local names = {}
  for i = 1, o.rooms do names[i] = ("soak%d@conference.%s"):format(i, s.domain) end
  for _, jid in ipairs(names) do enter(run, jid) end
  run.witness = witness(s, names)
  turn_until(run, function() return run.witness:told "READY" end, PATIENCE, "the witness in all rooms")
  return run
end

local function figures(run, v)
  local info = run.conn:info()
  return { server = run.server.name, cuts = run.cuts, resumed = info.resumed, rebound = info.rebound,
    rejoined = run.rejoined, asked = tonumber(v and v.ASKED or 0), answered = count(run.answered),
    heard = tonumber(v and v.ANSWERED or 0), failed = count(run.ends, "failed"), resent = run.resent,
    excused = count(run.excused),
    seconds = uptime() - run.began }
end

--- Doesn't raise: an error that stops the run is the first entry of `wrong`.
function soak_rooms.run(s, o)
  math.randomseed(o.seed)
  local run, v, wrong = nil, nil, nil
  local ok, why = pcall(function()
    run = start(s, o)
    play(run, o)
    local before
    v, before = finish(run)
    wrong = judge(run, v, before)
  end)
  if not ok then wrong = { why } end
  if not run then return nil, wrong end
  local f = figures(run, v)
  run.witness:stop()
  run.conn:stop(2)
  run.proxy:stop()
  return f, wrong
end

local COLUMNS = { "server", "cuts", "resumed", "rebound", "rejoined", "asked", "answered", "heard", "failed", "resent",
  "excused", "seconds" }
soak_rooms.HEAD = ("%-11s" .. ("%9s"):rep(11)):format((table.unpack or unpack)(COLUMNS)) -- luacheck: ignore 143

--- The figures as one line under soak_rooms.HEAD.
function soak_rooms.line(f)
  local words = {}
  for i, name in ipairs(COLUMNS) do words[i] = ("%9s"):format(i == 1 and "" or ("%.0f"):format(f[name])) end
  words[1] = ("%-11s"):format(f.server)
  return table.concat(words)
end

return soak_rooms
