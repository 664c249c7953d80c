-- finalizers: calls functions of the library (INNER) from a finalizer that runs in the middle of another one (OUTER),
-- at every moment at which the collector can run one. Only finalizer_spec.lua runs it:
--   lua finalizers.lua SHARE          a line for each pair: "ok<TAB>OUTER<TAB>INNER<TAB>RUNS", or "not ok ... why"
-- One of SHARE moments is tried (1: all). The outcome must be that of calling one function after the other, in either
-- order: what they returned, which callbacks were called, what was sent, which errors were reported.
local fed = require "spec.support.fed"
local core = require "xmpp.core"
local pace = require "spec.support.pace"
local xmpp = require "xmpp"

local SHARE = tonumber(arg[1])
local PEER = "bob@xmpp.test/pc"

-- The collector.

local newproxy = rawget(_G, "newproxy")

local function finalized(f)
  if newproxy then getmetatable(newproxy(true)).__gc = f else setmetatable({}, { __gc = f }) end
end

-- Calls f() while act() is called by the k-th finalizer -> how many finalizers there were, what f returned
local function with_finalizer(k, act, f)
  local n, on = 0, true
  local function finalizer()
    if not on then return end
    n = n + 1
    finalized(finalizer)
    if n == k then act() end
  end
  collectgarbage()
  finalized(finalizer)
  pace.hurry()
  local said = f()
  on = false
  pace.calm()
  return n, said
end

-- The situation: a connection with callbacks, a coroutine that waits for a response, one that sleeps, a timer that is
-- due.

local made = 0

local function scene(prepare)
  local r = { heard = {}, errors = {} }
  local function note(what) r.heard[#r.heard + 1] = what end
  r.note = note
  xmpp.on_error(function(text) r.errors[#r.errors + 1] = text:match "^[^\n]*" end)
  r.f = fed.open { jid = "me@xmpp.test/here", log = function() end, sm = true, resumable = true }
  r.f:feed "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>"
  r.conn = r.f.conn
  local function hears(name) return function(s) note(name .. tostring(s[2].n or s[2].id)) end end
  r.a, r.b, r.d = hears "a", hears "b", hears "d"
  r.conn:set_callback(r.a)
  r.conn:set_callback(r.b, { name = "message" })
  r.conn:set_callback_once(function() note "once" return true end, { name = "presence" })
  r.conn:set_handler()
  r.conn:send_callback({ "iq", { type = "get", id = "w", to = PEER } }, function(s, _, e)
    note(s and "w" or e.layer)
  end)
  r.sleeper = coroutine.create(function()
    local s, e = r.conn:send_await { "iq", { type = "get", id = "v", to = PEER } }
    note(s and "v" or e.layer)
  end)
  coroutine.resume(r.sleeper)
  r.timer = xmpp.after(0, function() note "timer" end)
  r.off = r.conn:tap(hears "tap", { name = "presence", serial = "from" })
  r.promise = xmpp.promise()
  coroutine.wrap(function() note(tostring(r.promise:wait())) end)()
  r.message = { "message", { id = "m", to = PEER }, { "body", {}, "hi" } }
  made = made + 1 -- strings that nothing else holds
  r.request = { "iq", { type = "get", id = ("id %06d "):format(made):rep(9):gsub("%d", "0"), to = PEER } }
  r.f:sent()
  if prepare then prepare(r) end
  return r
end

-- There is no handler, and a message is in the queue.
local function queue_one(r)
  r.conn:stop_handler()
  r.f:feed "<message from='bob@xmpp.test/pc' n='0'/>"
end

-- Calls `wait`, a function that waits, in a coroutine, and notes its result.
local function begin(r, name, wait)
  coroutine.wrap(function()
    local ok, err = wait()
    r.note(name .. (ok and "" or " " .. err.layer))
  end)()
end

-- What is in a saved session, as text.
local function in_saved(saved)
  if not saved then return "nothing" end
  local all = { saved.h }
  for _, s in ipairs(saved.stanzas) do all[#all + 1] = s.xml end
  for _, p in ipairs(saved.pending) do all[#all + 1] = p.id end
  for _, s in ipairs(saved.queue) do all[#all + 1] = "queue" .. tostring(s[2].n) end
  return table.concat(all, " ")
end

local function hears_tap(r) return function(s) r.note("tapped" .. s[2].n) end end

-- A serial callback is being called, so that the next stanza of that sender waits in a line.
local function stand_in_line(r)
  r.gate = xmpp.channel()
  r.conn:tap(function(s)
    r.note("line" .. s[2].n)
    r.note(tostring(r.gate:get()))
  end, { name = "message", serial = "from" })
  r.f:feed "<message from='bob@xmpp.test/pc' n='0'/>"
end

local function feed(bytes) return function(r) r.f:feed(bytes) end end

local outers = {
  { "send", function(r) return r.conn:send(r.message) end },
  { "send with a receipt", function(r) return r.conn:send(r.message, { on = function(s) r.note(s) end }) end },
  { "send_callback", function(r)
    return r.conn:send_callback(r.request, function() end)
  end },
  { "a message for callbacks", feed "<message from='bob@xmpp.test/pc' n='1'><body>hi</body></message>" },
  { "a question", feed "<iq type='get' id='q' from='bob@xmpp.test/pc'><x xmlns='urn:x'/></iq>" },
  { "a presence for once", feed "<presence from='bob@xmpp.test/pc' n='1'/>" },
  { "a response for a callback", feed "<iq type='result' id='w' from='bob@xmpp.test/pc'/>" },
  { "a response for who waits", feed "<iq type='result' id='v' from='bob@xmpp.test/pc'/>" },
  { "a timer", function() fed.settle() end },
  { "the end", feed "</stream:stream>" },
  { "set_callback", function(r) r.conn:set_callback(r.d) end },
  { "unset_callback", function(r) return r.conn:unset_callback(r.a) end },
  { "callbacks", function(r) return #r.conn:callbacks() end },
  { "to_xml", function() return xmpp.xexpr.to_xml { "a", { b = "1" }, ("text"):rep(30), { "c" } } end },
  { "from_xml", function() return xmpp.xexpr.to_xml(xmpp.xexpr.from_xml "<a b='1'>text<c/><d/></a>") end },
  { "jid", function() return tostring(xmpp.jid "Bob@XMPP.test/x":bare()) end },
  { "after", function(r) xmpp.after(0, function() r.note "after" end) end },
  { "spawn", function(r) xmpp.spawn(function() r.note "spawned" end) end },
  { "cancel", function(r) return r.timer:cancel() end },
  { "info", function(r) return r.conn:info().stream_management end },
  { "pending", function(r) return (r.conn:pending()) end },
  { "save", function(r) return in_saved((core.conn.save(r.conn))) end, queue_one },
  { "on", function(r) r.conn:on("failed", function(s) r.note("failed" .. tostring(s[2].id)) end) end,
    function(r) r.conn:send(r.message) end },
  { "stop", function(r) begin(r, "stop", function() return r.conn:stop(60) end) end },
  { "drain", function(r)
    begin(r, "drain", function()
      local left, err = r.conn:drain(60)
      r.note(("%d %d %d"):format(left.handled, left.unread, left.unsent))
      return not err, err
    end)
  end },
  { "flush", function(r) begin(r, "flush", function() return r.conn:flush(60) end) end },
  { "receive", function(r)
    local s = r.conn:receive()
    return s and s[2].n
  end, queue_one },
  { "receive_blocking", function(r)
    begin(r, "received", function() return r.conn:receive_blocking(60) end)
  end, function(r) r.conn:stop_handler() end },
  { "set_handler", function(r)
    r.conn:set_handler(function(s) r.note("handler" .. tostring(s[2].n)) end)
    fed.settle()
  end, queue_one },
  { "a message for a handler", feed "<message from='bob@xmpp.test/pc' n='1'><body>hi</body></message>",
    function(r) r.conn:set_handler(function(s) r.note("handler" .. tostring(s[2].n)) end) end },
  { "tap", function(r)
    local off = r.conn:tap(hears_tap(r), { name = "message" })
    r.f:feed "<message from='bob@xmpp.test/pc' n='1'/>"
    return off()
  end },
  { "what a tap takes", feed "<presence from='bob@xmpp.test/pc' n='1'/>", function(r)
    r.conn:tap(function(s)
      r.note("took" .. s[2].n)
      return true
    end, { has = "urn:none", name = "message" })
  end },
  { "what a tap gets without a handler", feed "<presence from='bob@xmpp.test/pc' n='1'/>", function(r)
    r.conn:stop_handler()
  end },
  { "a question for a tap", feed "<iq type='get' id='q' from='bob@xmpp.test/pc'><x xmlns='urn:x'/></iq>", function(r)
    r.conn:stop_handler()
    r.off()
    r.off = r.conn:tap(function(s) r.note("asked" .. s[2].id) end, { name = "iq" })
  end },
  { "what joins a line", feed "<message from='bob@xmpp.test/pc' n='1'/>", stand_in_line },
  { "a line that goes on", function(r)
    r.gate:put(true)
    fed.settle()
  end, function(r)
    stand_in_line(r)
    r.f:feed "<message from='bob@xmpp.test/pc' n='1'/>"
  end },
  { "a message with an addition", function(r) return r.conn:send(r.message) end, function(r)
    core.conn.add(r.conn, "message", nil, function() return { "x", { xmlns = "urn:added" } } end)
  end },
  { "add", function(r)
    local off = core.conn.add(r.conn, "presence", nil, function() return { "x" } end)
    return off()
  end },
  { "resolve", function(r)
    r.promise:resolve "resolved"
    fed.settle()
  end },
  { "a promise and a channel", function(r)
    local c, p = xmpp.channel(), xmpp.promise()
    c:put "value"
    p:resolve(c:get())
    begin(r, "promised", function() return p:wait() end)
  end },
  { "hash", function() return xmpp.base64(xmpp.hash("sha-256", ("x"):rep(300))) end },
  { "connect", function(r)
    local f = fed.open { jid = "other@xmpp.test/here", sm = true }
    local state = f.conn:state()
    f.conn:on("failed", r.note)
    f:feed "</stream:stream>"
    return state
  end },
}

local inners = {
  { "sends", function(r) return r.conn:send { "message", { id = "inner" }, ("long"):rep(300) } end },
  { "asks", function(r)
    return r.conn:send_callback({ "iq", { type = "get", id = "y", to = PEER } }, function() end)
  end },
  { "adds a callback", function(r) r.conn:set_callback(r.d) end },
  { "removes the first callback", function(r) return r.conn:unset_callback(r.a) end },
  { "removes the second callback", function(r) return r.conn:unset_callback(r.b) end },
  { "takes the handler away", function(r) r.conn:stop_handler() end },
  { "cancels the timer", function(r) return r.timer:cancel() end },
  { "writes", function() return xmpp.xexpr.to_xml { "z", {}, ("z"):rep(500) } end },
  { "reads", function() return xmpp.xexpr.from_xml "<z/>"[1] end },
  { "starts timers", function() for _ = 1, 40 do xmpp.after(1000, print):cancel() end end },
  { "spawns", function(r) xmpp.spawn(function() r.note "inner" end) end },
  { "spoils the stanza", function(r)
    for i = #r.message, 1, -1 do r.message[i] = nil end
    r.message[1], r.message[2] = "presence", { id = "spoilt" }
    r.request[2] = { type = "get", id = "spoilt", to = PEER }
  end },
  { "closes who waits", function(r)
    local close = rawget(coroutine, "close")
    return close and coroutine.status(r.sleeper) == "suspended" and close(r.sleeper)
  end },
  { "saves", function(r) return in_saved((core.conn.save(r.conn))) end },
  { "receives", function(r)
    local s = r.conn:receive()
    return s and s[2].n
  end },
  { "taps", function(r) return type(r.conn:tap(function() end, { name = "iq", serial = "from" })) end },
  { "takes the tap away", function(r) return r.off() end },
  { "adds to what is sent", function(r)
    return type(core.conn.add(r.conn, "iq", "result", function() return { "y" } end))
  end },
  { "resolves", function(r) r.promise:resolve "inside" end },
  { "listens", function(r) r.conn:on("failed", function(s) r.note("heard" .. tostring(s[2].id)) end) end },
  { "stops", function(r) coroutine.wrap(function() r.conn:stop(0) end)() end },
  { "drains", function(r) coroutine.wrap(function() r.conn:drain(60) end)() end },
}

local function came(r, said)
  fed.settle()
  if r.conn:state() ~= "closed" then r.f:feed "<message from='bob@xmpp.test/pc' n='2'/>" end
  for s in function() return (r.conn:receive()) end do r.note("queue" .. tostring(s[2].n or s[2].id)) end
  local bytes = {}
  for element in r.f:sent():gmatch "<[mpi][erq][^<]*" do bytes[#bytes + 1] = element end
  local state = r.conn:state()
  if state ~= "closed" then r.f:feed "</stream:stream>" end
  fed.settle()
  table.sort(bytes)
  table.sort(r.heard)
  return table.concat({ tostring(said), "inner " .. tostring(r.inner), table.concat(r.heard, " "),
    table.concat(r.errors, " "), table.concat(bytes, " "), state }, " | ")
end

local function in_order(first, second, outer, prepare)
  local r = scene(prepare)
  local said
  for _, f in ipairs { first, second } do
    if f == outer then said = f(r) else r.inner = f(r) end
  end
  return came(r, said)
end

-- Outcomes that are allowed although they are neither: a request whose connection is stopped or saved while its
-- callbacks run is heard, but not answered; a handler that is removed between being set and its first turn gets
-- nothing; a request whose tap is removed just before the call is answered with an error (which Lua 5.4 never does).
local BETWEEN = { ["a question, stops"] = "aq closed closed timer |  |  | closed",
  ["a question, saves"] = "aq closed closed timer |  |  | closed",
  ["a question for a tap, stops"] = "askedq closed closed timer |  |  | closed",
  ["a question for a tap, saves"] = "askedq closed closed timer |  |  | closed",
  ["a question for a tap, takes the tap away"] = _VERSION ~= "Lua 5.4"
    and "closed closed queue2 timer |  | <iq type='error' id='q' to='bob@xmpp.test/pc'> | ready" or nil,
  ["set_handler, takes the handler away"] = "closed closed queue0 queue2 timer |  |  | ready" }

local function try(outer, inner, prepare, allowed)
  local before, behind = in_order(inner, outer, outer, prepare), in_order(outer, inner, outer, prepare)
  local k, runs, moments = 1, 0, 1
  while k <= moments do
    local r = scene(prepare)
    local acted
    local n, said = with_finalizer(k, function()
      acted = true
      r.inner = inner(r)
    end, function() return outer(r) end)
    local got = came(r, said)
    if acted and got ~= before and got ~= behind and not (allowed and got:find(allowed, 1, true)) then
      return runs, ("at moment %d: %q is neither %q nor %q"):format(k, got, before, behind)
    end
    moments = n
    runs, k = runs + 1, k + SHARE
  end
  return runs
end

for i, outer in ipairs(outers) do
  for j, inner in ipairs(inners) do
    if SHARE == 1 or (i + j) % 2 == 0 then
      local ok, runs, wrong = pcall(try, outer[2], inner[2], outer[3], BETWEEN[outer[1] .. ", " .. inner[1]])
      if not ok then runs, wrong = 0, tostring(runs) end
      print(table.concat({ wrong and "not ok" or "ok", outer[1], inner[1], wrong or runs }, "\t"))
    end
  end
end
