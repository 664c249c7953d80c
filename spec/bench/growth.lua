-- growth: what one operation costs as something else grows, for `make bench`. Prints lines "CURVE X FIGURE":
-- microseconds of CPU (for size: nanoseconds a byte). In memory, except for connections.
--
--   lua growth.lua pending [MOST]        X pending iqs: one more is answered (ping); a result for none (stranger)
--   lua growth.lua callbacks [MOST]      X callbacks with filters that don't match: a stanza that matches none (its
--                                       address in ASCII, or not), one that matches the last
--   lua growth.lua size [MOST]           a stanza of X bytes: received as elements, as one text, in
--                                       pieces of 16 bytes; sent
--   lua growth.lua queue [MOST]          X unacknowledged stanzas: one is sent, one is acknowledged
--   lua growth.lua connections X FILE N  with `peer many X FILE`: a stanza on one of X connections
local xmpp = require "xmpp"
local fed = require "spec.support.fed"

local clock = os.clock
local steps = { 0, 10, 100, 1000, 10000, 100000 }

local function tell(curve, x, seconds, pieces, unit)
  print(("%s %d %.6f"):format(curve, x, seconds * (unit or 1e6) / pieces))
end

-- How many seconds f takes.
local function timed(f)
  local since = clock()
  f()
  return clock() - since
end

local function up_to(most, f)
  for _, x in ipairs(steps) do
    if x <= most then
      collectgarbage()
      f(x)
    end
  end
end

local function component(options)
  local o = { jid = "bench.test", component = true, max_queue = 1e9, max_stanza = 1e8, max_nodes = 1e7 }
  for name, value in pairs(options or {}) do o[name] = value end
  return fed.open(o)
end

-- Pending iqs

local function ask(conn, id, on_answer, timeout)
  conn:send_callback({ "iq", { type = "get", to = "example.net", id = id }, { "ping", { xmlns = "urn:xmpp:ping" } } },
    on_answer, timeout)
end

local function results(prefix, n)
  local list = {}
  for i = 1, n do list[i] = ("<iq type='result' from='example.net' to='bench.test' id='%s%d'/>"):format(prefix, i) end
  return table.concat(list)
end

local function let_wait(f, n)
  local function never() end
  for i = 1, n do
    ask(f.conn, "waits" .. i, never, 600)
    if i % 1000 == 0 then f:sent() end
  end
  f:sent()
end

local function pending(x)
  local f, batch, rounds, answered, strange = component(), 64, 50, 0, 0
  local function on_answer() answered = answered + 1 end
  f.conn:set_handler(function() strange = strange + 1 end)
  let_wait(f, x)
  local answers, others, spent, passed = results("p", batch), results("q", batch), 0, 0
  for _ = 1, rounds do
    spent = spent + timed(function()
      for i = 1, batch do ask(f.conn, "p" .. i, on_answer, 60) end
      f:sent()
      f:feed(answers)
    end)
    passed = passed + timed(function() f:feed(others) end)
  end
  assert(answered == batch * rounds and strange == 2 * answered) -- the answer goes to the handler as well
  tell("ping", x, spent, batch * rounds)
  tell("stranger", x, passed, batch * rounds)
end

-- Callbacks

local function filter(i)
  local kinds = {
    { name = "message", from = "user" .. i .. "@example.net" }, { name = "iq", xmlns = "urn:example:" .. i },
    { name = "presence", type = "type" .. i }, { id = "id" .. i }, { name = "message", has = "urn:example:" .. i },
  }
  return kinds[i % #kinds + 1]
end

-- tell_it is called with each figure.
local function callbacks(x, tell_it)
  local f, n, seen = component(), 3000, 0
  local function never() error "the filter let something through" end
  f.conn:set_handler()
  for i = 1, x do f.conn:set_callback(never, filter(i)) end
  f.conn:set_callback(function() seen = seen + 1 end, { name = "message", from = "last@example.net" })
  local function run(curve, from)
    local text = ("<message from='%s' type='chat' id='m'><body>Hi</body></message>"):format(from):rep(n)
    tell_it(curve, x, timed(function() f:feed(text) end), n)
  end
  run("no-callback", "nobody@example.net/x")
  run("no-callback-foreign", "nobody@example.net/Z\195\188rich")
  run("last-callback", "last@example.net/x")
  assert(seen == n)
end

-- The size of a stanza, in bytes

local sizes = { 1000, 10000, 100000, 1000000, 10000000 }
local word = "Lorem ipsum dolor sit amet &amp; so on. "

local function message(child, x)
  return ("<message from='a@example.net'>%s</message>"):format(child:rep(math.ceil(x / #child)))
end

-- Feeds the text in pieces of `piece` bytes.
local function received(curve, f, text, x, piece, total)
  local all = text:rep(math.ceil(total / x))
  tell(curve, x, timed(function() f:feed(all, piece) end), #all, 1e9)
end

-- The first one isn't measured, since the kernel gives memory for it one page at a time. (What was received can't be
-- sent unchanged: its `from` isn't ours.)
local function sent(f, stanza, x)
  local bytes = 0
  stanza[2].from = nil
  assert(f.conn:send(stanza))
  f:sent()
  local spent = timed(function()
    for _ = 1, math.ceil(4e7 / x) do
      f.conn:send(stanza)
      bytes = bytes + #f:sent()
    end
  end)
  tell("sent", x, spent, bytes, 1e9)
end

local function size(x)
  local f, last = component(), nil
  local elements, text = message("<body>" .. word:rep(10) .. "</body>", x), message(word, x)
  f.conn:set_handler(function(stanza) last = stanza end)
  received("text", f, text, x, 1400, 1e7)
  received("dripped", f, elements, x, 16, 1e6)
  received("elements", f, elements, x, 1400, 1e7)
  sent(f, assert(last), x)
end

-- Unacknowledged stanzas

local function queue(x)
  local f, n = fed.open { jid = "a@bench.test/x", sm = true, max_queue = 1e9 }, 3000
  local function send()
    f.conn:send { "message", { to = "romeo@example.net", type = "chat" }, { "body", "Hi there, how are you?" } }
  end
  f:feed "<enabled xmlns='urn:xmpp:sm:3' id='q' resume='true'/>"
  for _ = 1, x do send() end
  f:sent()
  tell("queued", x, timed(function() for _ = 1, n do send() end end), n)
  f:sent()
  tell("acknowledged", x, timed(function()
    for h = 1, n do
      f:feed(("<a xmlns='urn:xmpp:sm:3' h='%d'/>"):format(h))
      f:sent() -- what can be sent now
    end
  end), n)
  local _, stanzas = f.conn:pending()
  assert(stanzas == x)
end

-- Connections

local function connections(x, _, n)
  local port, all, seen = tonumber(os.getenv "BENCH_PORT"), {}, 0
  for i = 1, x do
    all[i] = assert(xmpp.connect_component("127.0.0.1", port, "bench.test", "secret"))
    all[i]:set_handler(function() seen = seen + 1 end)
  end
  all[x]:send { "presence" }
  local spent = timed(function() while seen < n do xmpp.step(1) end end)
  tell("connections", x, spent, n)
end

local function sized(most)
  steps = sizes
  up_to(most, size)
end

local modes = {
  pending = function(most) up_to(most or 100000, pending) end,
  callbacks = function(most)
    callbacks(10, function() end) -- the first run is slower for other reasons, and isn't measured
    up_to(most or 10000, function(x) callbacks(x, tell) end)
  end,
  size = function(most) sized(most or 1e7) end,
  queue = function(most) up_to(most or 100000, queue) end,
  connections = connections,
}
modes[arg[1]](tonumber(arg[2]), arg[3], tonumber(arg[4]))
os.exit(0)
