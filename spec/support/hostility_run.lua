-- Runs the combinations of hostility.lua in one mode, and prints a line for each:
--   lua hostility_run.lua MODE FOLDER      FOLDER has limit.so, built from c/test/shim/limit.c
--   "ok<TAB>ACTION<TAB>KIND<TAB>RUNS", or "not ok<TAB>ACTION<TAB>KIND<TAB>why"
-- Modes: "normal"; "collection": a full collection at every allocation; "limit": memory ends a little above what is in
-- use; "failure": one allocation fails. TORTURE=1: every allocation fails once, and memory ends at every 16 bytes.
local mode, folder = ...
package.cpath = folder .. "/?.so;" .. package.cpath
local limit = require "limit"
local core = require "xmpp.core"
local fed = require "spec.support.fed"
local tables = require "spec.support.hostility"
local xmpp = require "xmpp"

local PEER = "bob@xmpp.test/pc"
local QUESTION = { "iq", { type = "get", id = "q", to = PEER }, { "x", { xmlns = "urn:x" } } }
local ASKED = "<iq from='" .. PEER .. "' id='q' type='get' n='1'><x xmlns='urn:x'/></iq>"
local ANSWERED = "<iq from='" .. PEER .. "' id='q' type='result' n='1'/>"
local SECOND = "<message from='" .. PEER .. "' n='2'/>"
local MEMORY = "not enough memory"
local ALL = os.getenv "TORTURE" == "1"
local SHARE = ALL and 1 or os.getenv "PRELOAD" and 20 or 3 -- one of how many places is tried; a sanitizer is slow

-- Notes go into tables that have room already, since there may be no memory when they are made.
local function slots(n)
  local list = { n = 0 }
  for i = 1, n do list[i] = false end
  return list
end

local function put(list, value)
  list.n = list.n + 1
  list[list.n] = value
end

local function settle()
  for _ = 1, 500 do
    core.step(0)
    if core.timeout() ~= 0 then return end
  end
  error("it does not come to rest", 0)
end

-- The run.

local Run = { PEER = PEER, QUESTION = QUESTION,
  ASK = { "iq", { type = "get", id = "w", to = PEER }, { "x", { xmlns = "urn:x" } } } }
Run.__index = Run

local function noter(r, name)
  return function(stanza) r.note(name, stanza) end
end

local function make_notes(r)
  r.said, r.names, r.numbers, r.errors = slots(16), slots(64), slots(64), slots(64)
  function r.say(text) put(r.said, text) end
  r.layers = {}
  function r.count(layer) -- calls r.say for the last of 40
    r.layers[layer] = (r.layers[layer] or 0) + 1
    if r.layers[layer] == 40 then r.say("40 " .. layer .. "s") end
  end
  function r.note(name, stanza)
    if not stanza[2].n then return end
    put(r.names, name)
    put(r.numbers, stanza[2].n)
  end
  r.hears = { b = noter(r, "b"), c = noter(r, "c"), d = noter(r, "d"), h = noter(r, "h"),
    t = noter(r, "t") }
  r.b = r.hears.b
end

-- The function that is given to the library: it performs the action once.
local function make_own(r, action, kind)
  local name = kind.own
  r.calls = 0
  function r.own(stanza)
    r.calls = r.calls + 1
    if name then r.note(name, stanza) end
    if not r.armed then return end
    r.armed = false
    if type(stanza) == "table" then r.first = stanza end
    action.act(r)
  end
  r.logged = 0
  function r.log(...)
    r.logged = r.logged + 1
    if kind.logs then r.own(...) end
  end
  function r.told(text)
    put(r.errors, text)
    if kind.told == "stderr" then r.own() end
  end
end

-- Two waiters, each of whom must be told exactly once.
local function make_waiters(r)
  r.ends = { 0, 0 }
  local function told(i, err)
    r.ends[i] = r.ends[i] + 1
    r.why = err
  end
  r.conn:send_callback({ "iq", { type = "get", id = "w1" }, { "x", { xmlns = "urn:x" } } }, function(_, _, err)
    told(1, err)
  end)
  xmpp.spawn(function()
    local _, err = r.conn:send_await { "iq", { type = "get", id = "w2" }, { "x", { xmlns = "urn:x" } } }
    told(2, err)
  end)
end

function Run.new(action, kind)
  local r = setmetatable({ action = action, kind = kind }, Run)
  make_notes(r)
  make_own(r, action, kind)
  r.f = fed.open { jid = "me@xmpp.test/here", log = not kind.quiet and r.log or nil }
  r.conn = r.f.conn
  xmpp.on_error(r.told)
  r.conn:set_handler()
  if not kind.late then kind.install(r) end
  r.conn:set_callback(r.hears.b)
  r.conn:set_callback(r.hears.c)
  make_waiters(r)
  settle()
  r.f:sent()
  return r
end

-- Makes the library call the function. Inside `within` memory may be short.
function Run:trigger(within)
  local idle, bytes = self.kind.idle, self.kind.answers and ANSWERED or ASKED
  if self.kind.late then self.kind.install(self) end
  limit.listen()
  self.armed = true
  within(function()
    if not idle then
      core.conn.feed(self.conn, bytes)
      return settle()
    end
    for _ = 1, 100 do
      core.step(0.005)
      if not self.armed or self.errors.n > 0 or limit.noise() then return settle() end
    end
  end)
end

-- What the program and the server do afterwards.
function Run:go_on()
  settle()
  self.armed = false
  if self.timer then self.timer:cancel() end
  if self.resume_me and coroutine.status(self.resume_me) == "suspended" then
    coroutine.resume(self.resume_me, "resumed")
  end
  if self.action.feeds then
    self.f:feed(("<iq type='result' id='%s' from='%s'/>"):format(self.action.feeds, PEER))
  end
  local before = self.logged
  self.f:feed(SECOND)
  self.deaf = not self.kind.quiet and self.logged == before and self.conn:state() == "ready"
  self.bytes = self.f:sent()
  core.conn.feed(self.conn, "") -- as if the kernel had taken what was sent
  settle()
  self.resume_me, self.timer = nil, nil
  collectgarbage()
  collectgarbage()
  settle()
  self.bytes = self.bytes .. self.f:sent()
  self.state = self.conn:state()
end

-- The end.
function Run:finish()
  self.stderr = limit.heard()
  self.found = #self.conn:callbacks()
  for stanza in function() return (self.conn:receive()) end do self.note("queue", stanza) end
  if self.conn:state() ~= "closed" then self.f:feed "</stream:stream>" end
  settle()
  xmpp.on_error(nil)
end

-- The number of references in a table; free slots are a chain of numbers.
local function references(t)
  local n = 0
  for key, value in pairs(t) do
    if type(key) ~= "number" or type(value) ~= "number" then n = n + 1 end
  end
  return n
end

-- Counts what is left in the registry, and in the library's tables there, when all is over.
local function census()
  local n = 0
  collectgarbage()
  collectgarbage()
  for key, value in pairs(debug.getregistry()) do
    if type(key) == "number" and type(value) ~= "number" then n = n + 1 end
    if type(key) == "userdata" and type(value) == "table" then n = n + references(value) end
  end
  return n
end

-- The expected result

local function model_of(kind)
  local own = kind.own == "a" or kind.extra == "a"
  return { handler = kind.own == "own" and "own" or "default", callbacks = own and { "a", "b", "c" } or { "b", "c" },
    taps = kind.own == "tap" and { "tap" } or {} }
end

local function hear(model, n, out)
  for _, name in ipairs(model.taps or {}) do out[#out + 1] = name .. n end
  if model.handler == "queue" and model.taps and model.taps[1] then return end
  if model.handler ~= "default" then
    out[#out + 1] = model.handler .. n
    return
  end
  for _, name in ipairs(model.callbacks) do out[#out + 1] = name .. n end
end

local function has(list, x)
  for _, y in ipairs(list) do
    if x == y then return true end
  end
  return false
end

-- Who else gets the first stanza, which is before or after the action has changed the model.
local function hear_first(model, kind, out)
  local untapped = { handler = model.handler, callbacks = model.callbacks } -- a new tap gets only the next stanza
  if kind.own == "tap" then
    if model.handler ~= "queue" then hear(untapped, "1", out) end
  elseif kind.during then
    for _, name in ipairs { "b", "c" } do
      if has(model.callbacks, name) then out[#out + 1] = name .. "1" end
    end
  elseif not kind.idle and kind.own ~= "own" and not (kind.answers and model.handler == "queue") then
    hear(untapped, "1", out)
  end
end

local function without(list, x)
  local out = {}
  for _, y in ipairs(list) do
    if x ~= y then out[#out + 1] = y end
  end
  return out
end

local function heard_by(action, kind)
  local model, out = model_of(kind), {}
  if kind.during or kind.own then hear({ handler = kind.during and "a" or kind.own }, "1", out) end
  local function drop_a() -- it gets no other stanza
    if kind.once and has(model.callbacks, "a") then table.remove(model.callbacks, 1) end
  end
  if action.third then
    drop_a()
    local callbacks = kind.serial and without(model.callbacks, "a") or model.callbacks
    hear({ handler = "default", callbacks = callbacks }, "3", out)
  end
  if action.effect then action.effect(model, kind) end
  hear_first(model, kind, out)
  drop_a()
  if action.third and kind.serial then out[#out + 1] = "a3" end
  if kind.serial and action.holds and not action.ends then -- it gets the next stanza when that call is over
    hear({ handler = model.handler, callbacks = without(model.callbacks, "a") }, "2", out)
    out[#out + 1] = "a2"
  elseif not action.ends or (kind.still and action.waits) then hear(model, "2", out) end
  return table.concat(out, " ")
end

-- -> the errors that on_error must get, the text that stderr must get
local function errors_of(action, kind)
  local throws = action.throws or (kind.still and action.waits) or nil
  local told = kind.told or "on_error"
  local before = kind.before
  if told == "text" then before = throws and "(error object is a table value)" or "spelled out" end
  if action.untold and told ~= "nobody" then
    return told == "stderr" and before or "", told == "text" and before or throws
  end
  if told == "on_error" then return throws or before or "", "" end
  return before or "", told == "stderr" and (throws == "" and "could not be told ()" or throws) or ""
end

local function is_answered(action, kind, refused)
  if kind.idle or kind.answers then return false end
  if action.open == "answered" and not kind.logs then return false end -- a log function comes earlier
  if action.open == "closed" and not refused then return false end
  if action.open == "held" and kind.asks then return false end
  return not (kind.logs and action.name == "takes the handler away")
end

local function documented(action, kind)
  local refused = kind.still and action.waits ~= nil
  local says = not refused and action.says or ""
  local errors, stderr = errors_of(action, kind)
  return {
    said = type(says) == "function" and says(kind) or says,
    heard = heard_by(action, kind),
    errors = errors,
    stderr = stderr,
    state = refused and "ready" or action.state or "ready",
    answered = is_answered(action, kind, refused) and 1 or 0,
  }
end

-- The actual result

local function plain(text)
  text = tostring(text):match "^[^\n]*"
  return (text:gsub("^[^ ]*%.lua:%d+: ", ""))
end

local function joined(list, f)
  local out = {}
  for i = 1, list.n do out[i] = f(list[i], i) end
  return table.concat(out, " ")
end

local function came(r)
  local _, answered = r.bytes:gsub("<iq type='error' id='q'", "")
  return {
    said = joined(r.said, tostring),
    heard = joined(r.names, function(name, i) return name .. r.numbers[i] end),
    errors = joined(r.errors, plain),
    stderr = r.stderr,
    state = r.state,
    answered = answered,
  }
end

local FIELDS = { "said", "heard", "errors", "stderr", "state", "answered" }
local LOOSE = { errors = true, stderr = true } -- only whether there is any is compared

local function is_like(want, got, field)
  if LOOSE[field] and want ~= "" then return got:find(want, 1, true) ~= nil end
  return want == got
end

local function difference(want, got)
  for _, field in ipairs(FIELDS) do
    if not is_like(want[field], got[field], field) then
      return ("%s: %q expected, got %q"):format(field, tostring(want[field]), tostring(got[field]))
    end
  end
end

-- How a lack of memory is reported: by Lua; by luaL_checkstack; for an error that couldn't be made a string.
local SIGNS = { MEMORY, "error in error handling", "stack overflow (a ", "(error object is a " }

local function is_memory(text)
  for _, sign in ipairs(SIGNS) do
    if text:find(sign, 1, true) then return true end
  end
  return false
end

-- Was it reported to on_error or stderr?
local function was_told(r)
  if is_memory(r.stderr) then return true end
  for i = 1, r.errors.n do
    if is_memory(r.errors[i]) then return true end
  end
  return false
end

-- Was a function called in vain, since there was no memory? If the library itself had none, the step raises.
local function has_failed(r)
  if is_memory(r.stderr) then return true end
  for i = 1, r.errors.n do
    if is_memory(r.errors[i]) and not r.errors[i]:find("xmpp.core.step", 1, true) then return true end
  end
  return false
end

-- Checks what must hold in any case. A function that was called may itself have failed for lack of memory.
local function check_always(r)
  for i = 1, 2 do
    local excused = r.ends[i] == 0 and has_failed(r)
    if r.ends[i] ~= 1 and not excused then return ("waiter %d was told %d times"):format(i, r.ends[i]) end
  end
  if r.kind.waits and r.calls ~= 1 and not (r.calls == 0 and has_failed(r)) then
    return ("the response's callback was called %d times"):format(r.calls)
  end
  if type(r.why) ~= "table" or r.why.layer ~= "closed" then return "a waiter was told " .. tostring(r.why) end
  if r.conn:state() ~= "closed" then return "the connection has not ended" end
  if r.deaf then return "the log function hears no more" end
end

-- One run. -> its result, and what is wrong in any case
local function run(action, kind, within)
  local r = Run.new(action, kind)
  r:trigger(within)
  r:go_on()
  r:finish()
  return came(r), check_always(r), r
end

local other = fed.open { jid = "other@xmpp.test/here" } -- a connection that must not be harmed
local others = { n = 0 }
other.conn:set_handler(function() others.n = others.n + 1 end)
-- Not while memory is short: then it may lose stanzas as well.
local function other_is_well(feed)
  local before = others.n
  feed(other)
  return others.n == before + 1
end

-- Modes.

local function simply(f) f() end

local function check_documented(action, kind)
  local got, wrong = run(action, kind, function(f)
    core.conn.feed(other.conn, SECOND) -- in the same step
    f()
  end)
  return wrong or difference(documented(action, kind), got)
end

local modes = {}

function modes.normal(action, kind)
  return 1, check_documented(action, kind)
end

function modes.collection(action, kind)
  limit.collect()
  local ok, wrong = pcall(check_documented, action, kind)
  local seen = limit.seen()
  limit.off()
  if ok and seen < 50 then return seen, "nothing was allocated" end
  return seen, not ok and wrong or wrong
end

-- When memory is short: the documented result, or an error that says so, or the end of the connection.

-- Errors that are neither raised by the action nor due to a lack of memory.
local function strange(r, action, kind)
  local want = documented(action, kind)
  local own = { want.errors, want.stderr, kind.before, "trigger", "spelled out" }
  local function is_known(text)
    if is_memory(text) or text:find("closed: ENOMEM: ", 1, true) then return true end -- reported for each unsent stanza
    for _, known in pairs(own) do
      if text == known or (known ~= "" and text:find(known, 1, true)) then return true end
    end
  end
  for i = 1, r.errors.n do
    if not is_known(plain(r.errors[i])) then return plain(r.errors[i]) end
  end
  for line in r.stderr:gmatch "xmpp: [^\n]*" do
    if not is_known(line) then return line end
  end
end

local function has_told(r, kind, raised)
  if raised or was_told(r) or kind.told == "nobody" then return true end -- errors in a finalizer are reported to nobody
  for i = 1, r.said.n do
    if is_memory(tostring(r.said[i])) then return true end
  end
  return false
end

local function heard_second(got) return got.heard:find("2", 1, true) ~= nil end

local function check_short(action, kind, got, r, raised)
  local want = documented(action, kind)
  local why = strange(r, action, kind)
  if why then return "a strange error: " .. why end
  if raised and not is_memory(tostring(raised)) then return "it has raised " .. tostring(raised) end
  if got.answered > 1 then return "it was answered twice" end
  if got.state == "ready" and heard_second(want) and not heard_second(got) then
    return "the next stanza was lost: " .. got.heard
  end
  if not difference(want, got) or has_told(r, kind, raised) or (got.state == "closed" and want.state ~= "closed") then
    return nil
  end
  return "nobody was told: " .. difference(want, got)
end

-- A run in which `short` makes memory short. -> the allocations that were counted, the most bytes in use, what is wrong
local function run_short(action, kind, short)
  local raised, seen, most
  local got, wrong, r = run(action, kind, function(f)
    collectgarbage()
    short()
    local ok, why = pcall(f)
    seen, most = limit.seen()
    limit.off()
    raised = not ok and why or nil
  end)
  return seen, most, check_short(action, kind, got, r, raised) or wrong
end

-- Runs it at `runs` of the places 1 .. last, evenly spread.
local function each_place(action, kind, last, runs, short)
  local step = ALL and 1 or math.max(1, last / runs) * SHARE
  local place, n = 1 + (7 * #action.name + #kind.name) % math.floor(step), 0 -- other places for each combination
  while place <= last do
    local at = math.floor(place)
    local _, _, wrong = run_short(action, kind, function() short(at) end)
    if wrong then return n, ("at %d of %d: %s"):format(at, last, wrong) end
    place, n = place + step, n + 1
  end
  return n
end

function modes.failure(action, kind)
  local seen, _, wrong = run_short(action, kind, limit.off)
  if wrong then return 1, wrong end
  return each_place(action, kind, seen, 500, limit.nth)
end

local GRAIN = 16 -- bytes: no allocation is smaller

function modes.limit(action, kind)
  local _, most, wrong = run_short(action, kind, limit.off)
  if wrong then return 1, wrong end
  return each_place(action, kind, math.floor(most / GRAIN), 48, function(at) limit.bytes(at * GRAIN) end)
end

local function one(check, action, kind)
  local before = census()
  local ok, runs, wrong = pcall(check, action, kind)
  limit.off()
  if not ok then return 0, "it raised " .. tostring(runs) end
  if not wrong and not other_is_well(function(f) f:feed(SECOND) end) then wrong = "another connection was harmed" end
  if not wrong and census() ~= before then wrong = ("%d left in the registry"):format(census() - before) end
  return runs, wrong
end

local function report(check, action, kind)
  local runs, wrong = one(check, action, kind)
  print(table.concat({ wrong and "not ok" or "ok", action.name, kind.name, wrong or runs }, "\t"))
end

-- The registry can't grow: a function whose timer failed isn't called, every other one is called once.
local function grow()
  local called, wanted, errors, raised = {}, {}, {}, 0
  xmpp.on_error(function(text) put(errors, plain(text)) end)
  errors.n = 0
  for i = 1, 600 do
    called[i] = 0
    local function f() called[i] = called[i] + 1 end
    limit.nth(i <= 590 and 2 or 0) -- the first allocation is the timer itself
    local ok = pcall(xmpp.after, 0, f)
    limit.off()
    wanted[i] = ok and 1 or 0
    raised = raised + 1 - wanted[i]
  end
  settle()
  xmpp.on_error(nil)
  if raised == 0 then return 0, "the registry never grew" end
  if errors.n > 0 then return raised, errors[1] end
  for i = 1, 600 do
    if called[i] ~= wanted[i] then return raised, ("timer %d was called %d times"):format(i, called[i]) end
  end
  return raised
end

run(tables.actions[1], tables.kinds[1], simply) -- so that what is created only once exists
for _, action in ipairs(tables.actions) do
  for _, kind in ipairs(tables.kinds) do report(modes[mode], action, kind) end
end
if mode == "failure" then report(grow, tables.GROWTH, { name = "timer" }) end
