-- ours: what the library costs, for `make bench`. Prints microseconds of CPU (user and system) for each stanza.
--
--   lua ours.lua parse FILE N         from memory to tables, which a handler counts; FILE has N stanzas
--   lua ours.lua parse-tapped FILE N  like parse, with twelve taps whose filters don't match
--   lua ours.lua unwanted FILE N      the same bytes, with one callback, whose filter doesn't match
--   lua ours.lua to_xml FILE N        tables to text
--   lua ours.lua queue FILE N         tables to a connection's send buffer, by conn:send
--   lua ours.lua flood FILE N         like parse, over TCP from `peer flood`
--   lua ours.lua flood-tapped FILE N  like flood, with twelve taps whose filters don't match
--   lua ours.lua flood-unwanted FILE N
--   lua ours.lua frames FILE N        like flood, by xmpp.step(0, 50), as in a game: prints how long these steps took,
--                                     in milliseconds of CPU: 50, 90, 99 percent of them at most, and the longest
--   lua ours.lua send N BATCH         small messages to `peer sink`, BATCH in a turn
--   lua ours.lua ping N DEPTH WAITING send_await to `peer echo`, DEPTH at a time, with WAITING other pending iqs. Also
--                                     prints by what factor memory has grown when all are answered.
--   lua ours.lua split FILE N         the first stanzas of FILE, each cut in two at every byte: prints the share
--                                     that was given out with the last byte, and not before, and how many cuts
--   lua ours.lua large BYTES N        stanzas of BYTES bytes, from memory, in pieces of 1,400 bytes; the first isn't
--                                     measured, since the kernel gives memory for it one page at a time
--   lua ours.lua roster ITEMS N [RAW] an answer with ITEMS contacts, in pieces of 16 KB, measured like large; RAW
--                                     (spec/bench/raw.c): what that costs for the same bytes
--   lua ours.lua timers N             N timers, set and then all cancelled: prints by what factor resident memory has
--                                     grown after the program has run on for a while, with the collector's cycles

local xmpp = require "xmpp"
local fed = require "spec.support.fed"

local clock = os.clock

local function tell(seconds, pieces, ...)
  print(("%.6f"):format(seconds * 1e6 / pieces), ...)
end

local function read(file)
  local f = assert(io.open(file, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function unwanted(conn)
  conn:set_handler()
  local function never() error "the filter let something through" end
  conn:set_callback(never, { name = "iq", xmlns = "urn:example:none" })
end

-- In memory

local function open_fed()
  return fed.open { jid = "bench.test", component = true }
end

-- Feeds the file to the connection. Its text isn't kept, since that would make the heap larger than a program's, and
-- the garbage less likely to be in a cache. Returns the seconds that the connection took.
local function feed(f, file)
  local spent = 0
  for piece in io.lines(file, 16384) do
    local since = clock()
    f:feed(piece)
    f:sent() -- the library's answers to pings
    spent = spent + clock() - since
  end
  return spent
end

local function tap(conn, taps)
  for i = 1, taps or 0 do
    conn:tap(function() error "the filter let something through" end, { has = "urn:example:none:" .. i })
  end
end

local function parse(file, n, taps)
  local f, seen = open_fed(), 0
  tap(f.conn, taps)
  f.conn:set_handler(function() seen = seen + 1 end)
  tell(feed(f, file), n)
  assert(seen == n)
end

local function parse_tapped(file, n) parse(file, n, 12) end

local function parse_unwanted(file, n)
  local f = open_fed()
  unwanted(f.conn)
  tell(feed(f, file), n)
end

-- Parses the file piece by piece, and gives the tables of each piece to `write`. Returns the seconds that `write` took.
local function write_all(file, n, write)
  local f, list, spent, seen = open_fed(), {}, 0, 0
  f.conn:set_handler(function(stanza) list[#list + 1] = stanza end)
  for piece in io.lines(file, 16384) do
    f:feed(piece)
    f:sent()
    collectgarbage()
    local since = clock()
    write(list)
    spent = spent + clock() - since
    seen, list = seen + #list, {}
  end
  assert(seen == n)
  return spent
end

local function to_xml(file, n)
  local write = xmpp.xexpr.to_xml
  tell(write_all(file, n, function(list)
    for _, stanza in ipairs(list) do write(stanza) end
  end), n)
end

local function queue(file, n)
  local f = open_fed()
  tell(write_all(file, n, function(list)
    for _, stanza in ipairs(list) do f.conn:send(stanza) end
    f:sent()
  end), n)
end

local function large(bytes, n)
  local child = "<body>" .. ("Lorem ipsum dolor sit amet &amp; so on. "):rep(10) .. "</body>"
  local text = "<message from='a@example.net'>" .. child:rep(math.floor(bytes / #child)) .. "</message>"
  local f, seen = open_fed(), 0
  f.conn:set_handler(function() seen = seen + 1 end)
  f:feed(text, 1400)
  local since = clock()
  for _ = 1, n do f:feed(text, 1400) end
  tell(clock() - since, n)
  assert(seen == n + 1)
end

local function roster_of(items)
  local list = {}
  for i = 1, items do
    list[i] = ("<item jid='user%d@example.net' name='User %d' subscription='both'><group>Friends</group></item>")
      :format(i, i)
  end
  return "<iq from='a@example.net' to='bench.test' type='result' id='r'><query xmlns='jabber:iq:roster'>"
    .. table.concat(list) .. "</query></iq>"
end

local function raw_roster(text, n, program)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  os.execute(("%s again %s %d"):format(program, path, n))
  os.remove(path)
end

local function roster(items, n, program)
  local text = roster_of(items)
  if program then return raw_roster(text, n, program) end
  local f = fed.open { jid = "bench.test", component = true, max_stanza = 1e8, max_nodes = 1e7 }
  local seen = 0
  f.conn:set_handler(function(stanza) seen = seen + (#stanza[3] - 2) end)
  f:feed(text, 16384)
  local since = clock()
  for _ = 1, n do f:feed(text, 16384) end
  tell(clock() - since, n)
  assert(seen == (n + 1) * items)
end

-- The first stanzas; each begins where a tag's first attribute is `from`.
local function first_stanzas(file)
  local f, list = assert(io.open(file, "rb")), {}
  for stanza in f:read(16384):gsub("<(%a+ from=)", "\0%1"):gmatch "%z(%Z+)" do list[#list + 1] = "<" .. stanza end
  f:close()
  table.remove(list) -- it may be incomplete
  return list
end

local function split(file)
  local f, seen, splits, good = open_fed(), 0, 0, 0
  f.conn:set_handler(function() seen = seen + 1 end)
  for _, stanza in ipairs(first_stanzas(file)) do
    for at = 1, #stanza - 1 do
      local before = seen
      f:feed(stanza:sub(1, at))
      local early = seen > before
      f:feed(stanza:sub(at + 1))
      f:sent()
      splits, good = splits + 1, good + (not early and seen == before + 1 and 1 or 0)
    end
  end
  print(("%.6f splits %d"):format(good / splits, splits))
end

-- Over TCP

local function connect()
  return assert(xmpp.connect_component("127.0.0.1", tonumber(os.getenv "BENCH_PORT"), "bench.test", "secret"))
end

local function flood(_, n, taps)
  local conn, seen = connect(), 0
  tap(conn, taps)
  conn:set_handler(function() seen = seen + 1 end)
  conn:send { "presence" }
  local since = clock()
  while seen < n do xmpp.step(1) end
  tell(clock() - since, n)
end

local function frames(_, n)
  local conn, seen, spent = connect(), 0, {}
  conn:set_handler(function() end)
  conn:send { "presence" }
  while seen < n do
    local since = clock()
    local dispatched = xmpp.step(0, 50)
    if dispatched > 0 then spent[#spent + 1] = (clock() - since) * 1000 end
    seen = seen + dispatched
  end
  table.sort(spent)
  local function percentile(p) return spent[math.ceil(#spent * p / 100)] end
  print(("%.2f %.2f %.2f %.2f"):format(percentile(50), percentile(90), percentile(99), spent[#spent]))
end

local function flood_tapped(file, n) flood(file, n, 12) end

local function flood_unwanted(_, n)
  local conn, seen = connect(), 0
  unwanted(conn)
  conn:send { "presence" }
  local since = clock()
  while seen < n do seen = seen + xmpp.step(1) end
  tell(clock() - since, n)
end

local function send(n, batch)
  local conn, done = connect(), false
  local since = clock()
  xmpp.spawn(function()
    for _ = 1, n / batch do
      for _ = 1, batch do
        conn:send { "message", { to = "romeo@example.net", type = "chat" }, { "body", "Hi there, how are you?" } }
      end
      conn:flush()
    end
    done = true
  end)
  while not done do xmpp.step(1) end
  tell(clock() - since, n)
end

local function ask(conn, id)
  return conn:send_await { "iq", { type = "get", to = "bench.test", id = id }, { "ping", { xmlns = "urn:xmpp:ping" } } }
end

-- Turns the loop until each of `depth` coroutines has sent its share.
local function ask_all(conn, n, depth)
  local left = depth
  for _ = 1, depth do
    xmpp.spawn(function()
      for _ = 1, n / depth do assert(ask(conn)) end
      left = left - 1
    end)
  end
  while left > 0 do xmpp.step(1) end
end

local function let_wait(conn, n)
  local box = { left = n }
  local function on_answer() box.left = box.left - 1 end
  for i = 1, n do
    conn:send_callback({ "iq", { type = "get", to = "mute.bench.test", id = "m" .. i },
      { "ping", { xmlns = "urn:xmpp:ping" } } }, on_answer, 600)
    if i % 1000 == 0 then conn:flush() end
  end
  return box
end

-- Resident memory, in pages.
local function resident()
  return tonumber(read("/proc/self/statm"):match "^%d+ (%d+)")
end

local function memory()
  collectgarbage()
  collectgarbage()
  return resident()
end

local function ping(n, depth, waiting)
  local conn = connect()
  ask_all(conn, 6400, 64)
  local before = memory()
  local box = let_wait(conn, waiting)
  local since = clock()
  if depth == 1 then
    for _ = 1, n do assert(ask(conn)) end
  else
    ask_all(conn, n, depth)
  end
  local spent = clock() - since
  assert(ask(conn, "release-" .. waiting))
  while box.left > 0 do xmpp.step(1) end
  tell(spent, n, ("%.3f"):format(memory() / before))
end

local function set_and_cancel(n)
  local function never() error "a timer that was cancelled" end
  local list = {}
  for i = 1, n do list[i] = xmpp.after(60, never) end
  for i = 1, n do list[i]:cancel() end
end

-- A program that goes on: turns, a timer now and then, some garbage.
local function go_on(turns)
  for _ = 1, turns do
    set_and_cancel(10)
    for i = 1, 1000 do local _ = { i } end
    xmpp.step(0)
  end
end

local function timers(n)
  go_on(3000)
  local before = resident()
  set_and_cancel(n)
  go_on(3000)
  print(("%.4f"):format(resident() / before))
end

local modes = {
  parse = parse, ["parse-tapped"] = parse_tapped, unwanted = parse_unwanted, to_xml = to_xml, queue = queue,
  large = large, roster = roster, timers = timers, split = split, flood = flood,
  ["flood-tapped"] = flood_tapped, ["flood-unwanted"] = flood_unwanted, frames = frames, send = send, ping = ping,
}

local arguments = {}
for i = 2, #arg do arguments[i - 1] = tonumber(arg[i]) or arg[i] end
modes[arg[1]]((unpack or table.unpack)(arguments)) -- luacheck: ignore 143
os.exit(0)
