-- ours: what the library takes, for `make bench`. Prints microseconds of CPU (user and system) a piece.
--
--   lua ours.lua parse FILE N         tables out of memory, a handler counts them; FILE has N stanzas
--   lua ours.lua unwanted FILE N      the same bytes, one callback, whose filter wants none of them
--   lua ours.lua to_xml FILE N        tables to text
--   lua ours.lua queue FILE N         tables to the send buffer of a connection, by conn:send
--   lua ours.lua flood FILE N         as parse, over TCP from `peer flood`
--   lua ours.lua flood-unwanted FILE N
--   lua ours.lua send N BATCH         small messages to `peer sink`, BATCH a turn
--   lua ours.lua ping N DEPTH WAITING send_await to `peer echo`, DEPTH at a time, while WAITING others wait for an answer.
--                                     Prints also by what factor memory has grown when all are answered.
--   lua ours.lua large BYTES N        stanzas of so many bytes, out of memory, in pieces of 1,400 bytes

local xmpp = require "xmpp"
local fed = require "spec.support.fed"

local clock = os.clock

local function tell(since, pieces, ...)
  print(("%.6f"):format((clock() - since) * 1e6 / pieces), ...)
end

local function pieces_of(text, size)
  local list = {}
  for at = 1, #text, size do list[#list + 1] = text:sub(at, at + size - 1) end
  return list
end

local function read(file)
  local f = assert(io.open(file, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function unwanted(conn)
  conn:set_handler()
  conn:set_callback(function() error "the filter let something through" end, { name = "iq", xmlns = "urn:example:none" })
end

-- In memory

local function open_fed()
  return fed.open { jid = "bench.test", component = true }
end

local function feed(f, pieces)
  for _, piece in ipairs(pieces) do
    f:feed(piece)
    f:sent() -- the library's answers to pings
  end
end

local function parse(file, n)
  local pieces, f, seen = pieces_of(read(file), 16384), open_fed(), 0
  f.conn:set_handler(function() seen = seen + 1 end)
  local since = clock()
  feed(f, pieces)
  tell(since, n)
  assert(seen == n)
end

local function parse_unwanted(file, n)
  local pieces, f = pieces_of(read(file), 16384), open_fed()
  unwanted(f.conn)
  local since = clock()
  feed(f, pieces)
  tell(since, n)
end

local function tables(file, n)
  local list, f = {}, open_fed()
  f.conn:set_handler(function(stanza) list[#list + 1] = stanza end)
  feed(f, pieces_of(read(file), 16384))
  assert(#list == n)
  collectgarbage()
  return list
end

local function to_xml(file, n)
  local list, write = tables(file, n), xmpp.xexpr.to_xml
  local since = clock()
  for _, stanza in ipairs(list) do write(stanza) end
  tell(since, n)
end

local function queue(file, n)
  local list, f = tables(file, n), open_fed()
  local since = clock()
  for i, stanza in ipairs(list) do
    f.conn:send(stanza)
    if i % 64 == 0 then f:sent() end
  end
  tell(since, n)
end

local function large(bytes, n)
  local child = "<body>" .. ("Lorem ipsum dolor sit amet &amp; so on. "):rep(10) .. "</body>"
  local text = ("<message from='a@example.net'>" .. child:rep(math.floor(bytes / #child)) .. "</message>"):rep(n)
  local f, seen = open_fed(), 0
  f.conn:set_handler(function() seen = seen + 1 end)
  local pieces = pieces_of(text, 1400)
  local since = clock()
  feed(f, pieces)
  tell(since, n)
  assert(seen == n)
end

-- Over TCP

local function connect()
  return assert(xmpp.connect_component("127.0.0.1", tonumber(os.getenv "BENCH_PORT"), "bench.test", "secret"))
end

local function flood(_, n)
  local conn, seen = connect(), 0
  conn:set_handler(function() seen = seen + 1 end)
  conn:send { "presence" }
  local since = clock()
  while seen < n do xmpp.step(1) end
  tell(since, n)
end

local function flood_unwanted(_, n)
  local conn, seen = connect(), 0
  unwanted(conn)
  conn:send { "presence" }
  local since = clock()
  while seen < n do seen = seen + xmpp.step(1) end
  tell(since, n)
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
  tell(since, n)
end

local function ask(conn)
  return conn:send_await { "iq", { type = "get", to = "bench.test" }, { "ping", { xmlns = "urn:xmpp:ping" } } }
end

-- Turns the loop until each of `depth` coroutines has asked its share.
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

local function memory()
  collectgarbage()
  collectgarbage()
  return tonumber(read("/proc/self/statm"):match "^%d+ (%d+)")
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
  conn:send_await { "iq", { type = "get", to = "bench.test", id = "release-" .. waiting } }
  while box.left > 0 do xmpp.step(1) end
  tell(clock() - spent, n, ("%.3f"):format(memory() / before))
end

local modes = {
  parse = parse, unwanted = parse_unwanted, to_xml = to_xml, queue = queue, large = large, flood = flood,
  ["flood-unwanted"] = flood_unwanted, send = send, ping = ping,
}

local arguments = {}
for i = 2, #arg do arguments[i - 1] = tonumber(arg[i]) or arg[i] end
modes[arg[1]]((unpack or table.unpack)(arguments)) -- luacheck: ignore 143
os.exit(0)
