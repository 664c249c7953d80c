-- The tables of hostility_spec.lua: what a program's function may do (actions), from where the library calls it
-- (kinds), and what must come of it. hostility_run.lua runs each combination, and hostility_spec.lua reports the
-- results.
--
-- An action may use these fields of its run `r` (see hostility_run.lua): r.conn, r.say(text), r.first (the stanza, if
-- there is one), r.own (the function that was given to the library), r.b (the callback set after it), r.ASK (an iq with
-- the id w).
local core = require "xmpp.core"
local xmpp = require "xmpp"

local M = {}

-- Actions: each { name, what it does, what must come of it }. The last is a table with these fields:
--   says     what r.say is called with in the end; absent: it isn't called
--   throws   the error that it ends with
--   waits    it yields; where that is impossible it gets an error with this text
--   state    the connection's state after it, if that isn't "ready"
--   effect   f(model, kind): how it changes who gets the next stanza
--   ends     nobody gets the next stanza
--   open     the stanza is a request that is never answered: "held" by a call that goes on, or "closed"
--   feeds    the id of the response that it waits for
--   third    it gives another stanza to the callbacks
--   holds    its call goes on until the next stanza has come
local function action(name, act, result)
  result = result or {}
  result.name, result.act = name, act
  M.actions[#M.actions + 1] = result
end

M.actions = {}

local CANT_WAIT = "can't wait here"
local BAD_TEXT = "(error object is a table value)"

local function spelled(f) return setmetatable({}, { __tostring = f }) end

-- Error objects of every kind, and how each is reported.
for _, row in ipairs {
  { "nil", nil, "nil" }, { "false", false, "false" }, { "a number", 42, "42" }, { "a string", "boom", "boom" },
  { "an empty string", "", "" }, { "a long string", ("long"):rep(500), ("long"):rep(500) },
  { "a table", {}, "table: " },
  { "what spells itself", spelled(function() return "spelled" end), "spelled" },
  { "what can't spell itself", spelled(function() error "no" end), BAD_TEXT },
  { "what spells itself as a table", spelled(function() return {} end), BAD_TEXT },
  { "what has a name", setmetatable({}, { __name = "Named" }), "Named: " },
  { "a function", print, "function: " }, { "a coroutine", coroutine.create(print), "thread: " },
  { "a file", io.stdout, "file (" }, { "the library's own", core.error { layer = "limit" }, "limit: ?: ?" },
} do
  local object = row[2]
  action("throws " .. row[1], function() error(object, 0) end, { throws = row[3] })
end

-- Overflows C's stack: Lua's own, of a million values, would take too long in the mode that collects at every
-- allocation (callback_spec tests that).
action("overflows the stack", function()
  local function deeper() return (("x"):gsub("x", deeper)) end
  return deeper()
end, { throws = "stack overflow" })

-- Coroutines and waiting.

action("yields for ever", function() coroutine.yield() end, { waits = "attempt to yield", holds = true })

action("yields and is resumed by another", function(r)
  r.resume_me = coroutine.running()
  r.say(coroutine.yield())
end, { waits = "attempt to yield", says = "resumed" })

action("sleeps", function(r)
  xmpp.sleep(0)
  r.say "slept"
end, { waits = CANT_WAIT, says = "slept" })

action("resumes itself", function(r)
  local ok, why = coroutine.resume(coroutine.running())
  r.say(ok and "resumed" or why)
end, { says = "cannot resume non-suspended coroutine" })

local close = rawget(coroutine, "close") -- not every Lua has it

action("closes its coroutine", function() close(coroutine.running()) end,
  { throws = "cannot close a running coroutine" })

action("awaits", function(r)
  local response, err = r.conn:send_await(r.ASK)
  r.say(response and response[2].id or err.layer)
end, { waits = CANT_WAIT, says = "w", feeds = "w" })

action("awaits in vain", function(r)
  local _, err = r.conn:send_await(r.ASK, 0)
  r.say(err.layer)
end, { waits = CANT_WAIT, says = "timeout" })

action("receives for ever", function(r)
  local _, err = r.conn:receive_blocking()
  r.say(err.layer)
end, { waits = CANT_WAIT, says = "closed", open = "held", holds = true })

action("receives for no time", function(r)
  local _, err = r.conn:receive_blocking(0)
  r.say(err.layer)
end, { waits = CANT_WAIT, says = "timeout" })

action("flushes", function(r) r.say(tostring(r.conn:flush())) end, { waits = CANT_WAIT, says = "true" })

-- Closing.

action("stops", function(r) r.say(tostring(r.conn:stop())) end,
  { waits = CANT_WAIT, says = "true", state = "closing", open = "closed", holds = true })

action("stops at once", function(r)
  local _, err = r.conn:stop(0)
  r.say(err.layer)
end, { waits = CANT_WAIT, says = "closed", state = "closed", open = "closed", ends = true })

action("drains", function(r)
  local report, err = r.conn:drain()
  r.say(tostring(report and err))
end, { waits = CANT_WAIT, says = "nil", state = "closing", open = "held", ends = true, holds = true })

action("drains without time", function(r)
  local _, err = r.conn:drain(0)
  r.say(err.layer)
end, { waits = CANT_WAIT, says = "closed", state = "closed", open = "held", ends = true })

action("probes", function(r) r.conn:probe() end, { throws = "a component's connection expected" })

action("hears the stream's end", function(r) core.conn.feed(r.conn, "</stream:stream>") end,
  { state = "closed", ends = true })

action("hears what is no XML", function(r) core.conn.feed(r.conn, "<a></b>") end, { state = "closed", ends = true })

-- Stanzas.

action("sends", function(r) r.say(tostring(r.conn:send { "message", { to = r.PEER }, "hi" })) end, { says = "true" })

action("sends what is none", function(r) r.conn:send { "message", {}, print } end,
  { throws = "element or text expected" })

action("sends and calls back", function(r)
  r.conn:send_callback(r.ASK, function(stanza, _, err) r.say(stanza and stanza[2].id or err.layer) end)
end, { says = "w", feeds = "w" })

action("receives", function(r) r.say(tostring(r.conn:receive())) end, { says = "nil" })

action("answers", function(r) r.conn:send { "iq", { type = "result", id = "q", to = r.PEER } } end,
  { open = "answered" })

action("spoils the stanza", function(r)
  if not r.first then return end
  for i = #r.first, 3, -1 do r.first[i] = nil end
  r.first[1], r.first[2] = "spoilt", { n = r.first[2].n }
end)

-- Callbacks and handlers.

local function remove(model, name)
  for i = #model.callbacks, 1, -1 do
    if model.callbacks[i] == name then table.remove(model.callbacks, i) end
  end
end

action("removes itself", function(r) r.say(tostring(r.conn:unset_callback(r.own))) end, {
  says = function(kind) return tostring(kind.own == "a") end,
  effect = function(model, kind) if kind.own == "a" then remove(model, "a") end end,
})

action("removes the next", function(r) r.say(tostring(r.conn:unset_callback(r.b))) end,
  { says = "true", effect = function(model) remove(model, "b") end })

action("removes all", function(r)
  for _, cb in ipairs(r.conn:callbacks()) do r.conn:unset_callback(cb) end
end, { effect = function(model) model.callbacks = {} end })

action("adds one", function(r) r.conn:set_callback(r.hears.d) end,
  { effect = function(model) model.callbacks[#model.callbacks + 1] = "d" end })

action("adds one for once", function(r) r.conn:set_callback_once(r.hears.d) end,
  { effect = function(model) model.callbacks[#model.callbacks + 1] = "d" end })

action("adds a tap", function(r) r.conn:tap(r.hears.t, { name = "message" }) end,
  { effect = function(model) model.taps[#model.taps + 1] = "t" end })

action("adds and removes a serial tap", function(r)
  r.say(tostring(r.conn:tap(r.hears.t, { serial = "from" })()))
end, { says = "true" })

action("takes the tap away", function(r) r.say(tostring(r.off and r.off())) end, {
  says = function(kind) return tostring(kind.own == "tap" or nil) end,
  effect = function(model) model.taps = {} end,
})

action("replaces the handler", function(r) r.conn:set_handler(r.hears.h) end,
  { effect = function(model) model.handler = "h" end })

action("takes the handler away", function(r) r.conn:stop_handler() end,
  { effect = function(model) model.handler = "queue" end })

action("calls the default handler", function(r)
  xmpp.default_handler({ "message", { from = r.PEER, n = "3" } }, r.conn)
end, { third = true })

-- The loop.

action("makes a step", function() xmpp.step() end, { throws = "a step is being made already" })

action("runs the loop", function() xmpp.run() end, { throws = "a step is being made already" })

action("spawns a task", function(r) xmpp.spawn(function() r.say "spawned" end) end, { says = "spawned" })

action("sets a timer", function(r) xmpp.after(0, function() r.say "fired" end) end, { says = "fired" })

action("cancels a timer", function(r) r.say(tostring(xmpp.after(0, print):cancel())) end, { says = "true" })

-- So many timers that tables must grow.
action("sets timers and cancels them", function(r)
  local timers = {}
  for i = 1, 100 do timers[i] = xmpp.after(0, function() r.say "fired" end) end
  for i = 1, 100 do timers[i]:cancel() end
end)

action("sends and calls back often", function(r)
  for i = 1, 40 do
    r.conn:send_callback({ "message", { id = "m" .. i, to = r.PEER } }, function(_, _, err) r.count(err.layer) end, 0)
  end
end, { says = "40 timeouts" })

action("adds and removes many", function(r)
  local function cb() end
  for _ = 1, 40 do r.conn:set_callback(cb, { name = "presence" }) end
  for _ = 1, 40 do r.conn:set_callback_once(cb) end
  r.say(tostring(r.conn:unset_callback(cb)))
end, { says = "true" })

-- Promises and channels.

action("waits for a promise", function(r)
  local p = xmpp.promise()
  xmpp.spawn(function() p:resolve "resolved" end)
  r.say(p:wait())
end, { waits = CANT_WAIT, says = "resolved" })

action("waits for a promise in vain", function(r)
  local _, err = xmpp.promise():wait(0)
  r.say(err.layer)
end, { waits = CANT_WAIT, says = "timeout" })

action("rejects a promise that a task waits for", function(r)
  local p = xmpp.promise()
  xmpp.spawn(function() r.say(select(2, p:wait())) end)
  xmpp.after(0, function() p:reject "rejected" end)
end, { says = "rejected" })

action("puts into a channel that is full", function(r)
  local c = xmpp.channel(1)
  c:put(1)
  xmpp.spawn(function() c:get() end)
  r.say(tostring(c:put(2)))
end, { waits = CANT_WAIT, says = "true" })

-- What is sent.

action("adds to what is sent", function(r)
  local off = core.conn.add(r.conn, "message", nil, function() return { "x", { xmlns = "urn:x" } } end)
  r.say(tostring(r.conn:send { "message", { to = r.PEER }, "hi" }))
  off()
end, { says = "true" })

-- Memory, and on_error.

action("collects", function()
  collectgarbage()
  collectgarbage()
end)

action("leaves garbage that can't be freed quietly", function(r)
  for _ = 1, 3 do setmetatable({}, { __gc = function() error(r.conn) end }) end
  collectgarbage()
end)

action("takes on_error away and throws", function()
  xmpp.on_error(nil)
  error("gone", 0)
end, { throws = "gone", untold = true })

M.GROWTH = { name = "finds no room in the registry" } -- an extra case: see hostility_run.lua

-- Kinds of functions that the library calls:
--   own      what r.own is set as: "a": a callback, "own": the handler, "tap": a tap, nil: something else
--   serial   it gets one stanza at a time
--   during   it is called after the functions that get this stanza have been looked up; otherwise before
--   asks     it gets a request, which stays open until its call is over
--   once     it gets no other stanza
--   answers  it gets a response; otherwise it gets a request
--   quiet    there is no log function, whose calls would leave a coroutine for the next call
--   waits    it is called exactly once, by the response or by the connection's end
--   idle     it is called without a stanza
--   late     it is set at the last moment, and called at once
--   logs     it is set when the connection is made
--   still    it can't yield
--   told     where an error that it raises goes: "on_error", "stderr", "text" (in another error's text), "nobody"
--   before   the error that comes before
--   extra    another callback that is set as well
local function kind(name, install, result)
  result = result or {}
  result.name, result.install = name, install
  M.kinds[#M.kinds + 1] = result
end

M.kinds = {}

kind("handler", function(r) r.conn:set_handler(r.own) end, { own = "own", asks = true })

kind("callback", function(r) r.conn:set_callback(r.own) end, { own = "a", during = true, asks = true })

kind("filtered callback", function(r)
  r.conn:set_callback(r.own, { from = r.PEER, id = "q" })
  r.conn:set_callback(r.own, { type = "no such" })
end, { own = "a", during = true, asks = true, once = true })

kind("once-callback", function(r) r.conn:set_callback_once(r.own) end, { own = "a", during = true, asks = true })

kind("tap", function(r) r.off = r.conn:tap(r.own) end, { own = "tap", asks = true })

kind("serial callback", function(r) r.conn:set_callback(r.own, { serial = "from" }) end,
  { own = "a", during = true, asks = true, serial = true })

kind("response's callback", function(r) r.conn:send_callback(r.QUESTION, r.own) end,
  { answers = true, waits = true, quiet = true })

kind("awaited response's callback", function(r)
  xmpp.spawn(function() r.conn:send_await(r.QUESTION, r.own) end)
end, { answers = true })

kind("timer", function(r) r.timer = xmpp.after(0.001, r.own) end,
  { idle = true, late = true, quiet = true })

kind("repeated timer", function(r) r.timer = xmpp.every(0.001, r.own) end, { idle = true, late = true })

kind("task", function(r) xmpp.spawn(r.own) end, { idle = true, late = true })

kind("log function", function() end, { logs = true })

-- These three are called with a C function below them: they can't yield.

local function throwing(object)
  return function(r)
    r.conn:set_callback(function(stanza)
      r.note("a", stanza)
      if r.armed then error(object(r), 0) end
    end)
  end
end

kind("on_error", throwing(function() return "trigger" end), { during = true, still = true, told = "stderr", extra = "a",
  before = "trigger" })

kind("__tostring of an error", throwing(function(r)
  return spelled(function()
    r.own()
    return "spelled out"
  end)
end), { during = true, still = true, told = "text", extra = "a" })

kind("finalizer", function(r)
  r.conn:set_callback(function(stanza)
    r.note("a", stanza)
    if not r.armed then return end
    setmetatable({}, { __gc = function() r.own() end })
    collectgarbage()
  end)
end, { during = true, still = true, told = "nobody", extra = "a" })

return M
