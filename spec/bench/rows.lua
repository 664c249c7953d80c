-- rows: what `make bench` measures, and the goals that it compares the results with.

local M = {}

local prosody = "/usr/lib/prosody/util/xmppstream.lua"
local valgrind = "/usr/bin/valgrind"
local luajit = "$BUILD/../luajit/xmpp/core.so"

-- In the order of a round: each measurement is next to its yardstick. In a command: $N stanzas in $FILE ($FEW: a third
-- of them, for slow programs), $LUA, $RAW and $PEER the C programs next to this file, $COUNT a library that counts
-- writes to sockets, $BUILD where they are. `also`: the name of the program's second figure (after the word `named`),
-- which is divided by `by`. `needs`: it is left out if this file doesn't exist. `peer`: somebody else's program, which
-- may fail. `heavy`: in the first round only. `limit`: how many seconds it may take, if more than two minutes.
M.measurements = {
  { "expat", "$RAW expat $FILE $N" },
  { "parse", "$LUA spec/bench/ours.lua parse $FILE $N" },
  { "parse-tapped", "$LUA spec/bench/ours.lua parse-tapped $FILE $N" },
  { "unwanted", "$LUA spec/bench/ours.lua unwanted $FILE $N" },
  { "prosody-parse", "lua5.4 spec/bench/theirs.lua parse $FILE $N", needs = prosody, peer = "Prosody's xmppstream" },
  { "lom-parse", "lua5.4 spec/bench/theirs.lua lom $FILE $N", needs = "/usr/share/lua/5.4/lxp/lom.lua",
    peer = "lom" },
  { "flood-raw", "$PEER flood $FILE $RAW flood $FILE $N", also = "flood-raw-rss", named = "rss" },
  { "flood", "$PEER flood $FILE $LUA spec/bench/ours.lua flood $FILE $N", also = "flood-rss", named = "rss" },
  { "flood-tapped", "$PEER flood $FILE $LUA spec/bench/ours.lua flood-tapped $FILE $N" },
  { "flood-unwanted", "$PEER flood $FILE $LUA spec/bench/ours.lua flood-unwanted $FILE $N",
    also = "flood-unwanted-rss", named = "rss" },
  { "prosody-flood", "$PEER flood $FILE lua5.4 spec/bench/theirs.lua flood $FILE $N",
    also = "prosody-flood-rss", named = "rss", needs = prosody, peer = "Prosody's xmppstream on LuaSocket" },
  { "copy", "$RAW copy $FILE $N" },
  { "to_xml", "$LUA spec/bench/ours.lua to_xml $FILE $N" },
  { "queue", "$LUA spec/bench/ours.lua queue $FILE $N" },
  { "prosody-tostring", "lua5.4 spec/bench/theirs.lua tostring $FILE $N", needs = prosody, peer = "Prosody's stanza" },
  { "concat", "$LUA spec/bench/theirs.lua concat $FILE $N" },
  { "write", "$PEER sink $RAW write 64000 64" },
  { "send", "$PEER sink $LUA spec/bench/ours.lua send 64000 64" },
  { "send-counted", "$PEER sink env LD_PRELOAD=$COUNT $LUA spec/bench/ours.lua send 64000 64", also = "sends",
    named = "writes", by = 1000, heavy = true },
  { "prosody-send", "$PEER sink lua5.4 spec/bench/theirs.lua send 32000 64", needs = prosody,
    peer = "Prosody's stanza on LuaSocket" },
  { "ping-raw", "$PEER echo $RAW ping 5000" },
  { "ping-1", "$PEER echo $LUA spec/bench/ours.lua ping 5000 1 0" },
  { "ping-64", "$PEER echo $LUA spec/bench/ours.lua ping 32000 64 0" },
  { "ping-10k", "$PEER echo $LUA spec/bench/ours.lua ping 32000 64 10000" },
  { "ping-100k", "$PEER echo $LUA spec/bench/ours.lua ping 32000 64 100000", also = "rss-100k" },
  { "idle-raw-rss", "$BUILD/crowd $BUILD/idle 1000", needs = "$BUILD/idle", heavy = true },
  { "idle-rss", "$BUILD/crowd -s $LUA spec/bench/crowd.lua idle 1000", needs = "$BUILD/crowd", heavy = true },
  { "idle-10k-rss", "$BUILD/crowd -s $LUA spec/bench/crowd.lua idle 10000", needs = "$BUILD/crowd", heavy = true,
    limit = 1800 },
  { "tls-handshake", "$BUILD/tlspeer full $BUILD/tls handshake 200", needs = "$BUILD/tls" },
  { "tls-connect", "$BUILD/tlspeer full $LUA spec/bench/logins.lua full 200", also = "scram-cached",
    needs = "$BUILD/tlspeer" },
  { "tls-resumed", "$BUILD/tlspeer resumed $LUA spec/bench/logins.lua resumed 200", needs = "$BUILD/tlspeer" },
  { "tls-read", "$BUILD/tlspeer records 200000 $BUILD/tls read 200000", needs = "$BUILD/tls" },
  { "tls-receive", "$BUILD/tlspeer records 200000 $BUILD/tls receive 200000", needs = "$BUILD/tls" },
  { "start-client", "$BUILD/crowd $BUILD/cost 10 $LUA spec/bench/starts.lua client -- $LUA -e ''",
    needs = "/etc/ssl/certs/ca-certificates.crt" },
  { "start-component", "$PEER sink spec/bench/instructions $LUA spec/bench/starts.lua component", needs = valgrind,
    heavy = true },
  { "trips-starttls", "$LUA spec/bench/trips figures", also = "trips-direct", needs = "$BUILD/capture",
    peer = "the server", heavy = true },
  { "trips-sasl2-starttls", "env XMPP_SERVER=prosody13+sasl2 $LUA spec/bench/trips figures sasl2",
    also = "trips-sasl2-direct", needs = "$BUILD/capture", peer = "the server", heavy = true },
  { "trips-fast-starttls", "env XMPP_SERVER=prosody13+sasl2 $LUA spec/bench/trips figures fast",
    also = "trips-fast-direct", needs = "$BUILD/capture", peer = "the server", heavy = true },
  { "send-xmpp", "$LUA spec/bench/sends xmpp", also = "send-xmpp-wall", named = "wall", peer = "the server",
    heavy = true },
  { "send-go", "$LUA spec/bench/sends go-sendxmpp", also = "send-go-wall", named = "wall",
    needs = "/usr/bin/go-sendxmpp", peer = "go-sendxmpp", heavy = true },
  { "send-perl", "$LUA spec/bench/sends sendxmpp", also = "send-perl-wall", named = "wall", needs = "/usr/bin/sendxmpp",
    peer = "sendxmpp", heavy = true },
  { "small", "$LUA spec/bench/ours.lua large 500000 20" },
  { "large", "$LUA spec/bench/ours.lua large 5000000 2" },
  { "answer-expat", "$LUA spec/bench/ours.lua roster 100000 5 $RAW" },
  { "answer", "$LUA spec/bench/ours.lua roster 100000 5" },
  { "timers", "$LUA spec/bench/ours.lua timers 1000000" },
  { "lua5.4-parse", "env LUA_CPATH='lua/?.so;;' lua5.4 spec/bench/ours.lua parse $FILE $N",
    needs = "lua/xmpp/core.so" },
  { "luajit-parse", "env LUA_CPATH='$BUILD/../luajit/?.so;;' luajit spec/bench/ours.lua parse $FILE $N",
    needs = luajit },
  { "split", "$LUA spec/bench/ours.lua split $FILE $N", heavy = true },
  { "farm-direct", "$PEER flood $FILE $LUA spec/bench/farm.lua direct $FILE $N" },
  { "farm-intake", "$PEER flood $FILE $LUA spec/bench/farm.lua intake $FILE $N", also = "farm-intake-redis",
    named = "redis" },
  { "farm-worker", "$LUA spec/bench/farm.lua worker $FILE $N", also = "farm-worker-redis", named = "redis" },
  { "farm-send", "$PEER sink $LUA spec/bench/farm.lua send $FILE $N", also = "farm-send-redis", named = "redis" },
}

-- Other libraries, by programs of our own (spec/bench/others), which all have the same arguments: `name` is the
-- library's, if it differs; `count`: the stanzas of a flood, the messages that are sent, the pings one at a time and 64
-- at a time. `can`: modes that not all of them have.
local node_modules = "$BUILD/node_modules/@xmpp/component/package.json"
local slixmpp = "/usr/lib/python3/dist-packages/slixmpp/__init__.py"
local libraries = {
  { "iksemel", "$BUILD/iksemel", count = { "$N", 64000, 5000, 32000 }, can = "tostring parse sax" },
  { "strophe", "$BUILD/strophe", name = "libstrophe", count = { "$N", 64000, 5000, 32000 }, can = "tostring" },
  { "gloox", "$BUILD/gloox", count = { "$N", 32000, 5000, 16000 }, can = "" },
  { "loudmouth", "$BUILD/loudmouth", count = { "$N", 32000, 5000, 16000 }, can = "" },
  { "goxmpp", "$BUILD/goxmpp", name = "go-xmpp", count = { "$N", 32000, 5000, 16000 }, can = "" },
  { "qxmpp", "$BUILD/qxmpp", name = "QXmpp", count = { "$N", 32000, 2000, 16000 }, can = "" },
  { "xmppjs", "node spec/bench/others/xmppjs.js $BUILD", needs = node_modules, name = "xmpp.js",
    count = { "$N", 32000, 2000, 16000 }, can = "tostring parse" },
  { "slixmpp", "/usr/bin/python3 spec/bench/others/slix.py", needs = slixmpp,
    count = { "$FEW", 6400, 1000, 3200 }, can = "tostring" },
}

local function position_of(name)
  for i, m in ipairs(M.measurements) do
    if m[1] == name then return i end
  end
end

local function can(library, mode)
  return library.can:find(mode, 1, true) ~= nil
end

-- Adds a measurement after `name` for each library that can do `mode`: `how` is its command, with %s for the program
-- and %s for the i-th of its counts.
local function measure_others(name, suffix, how, i, mode)
  local at = position_of(name)
  for _, l in ipairs(libraries) do
    if not mode or can(l, mode) then
      at = at + 1
      table.insert(M.measurements, at,
        { l[1] .. suffix, how:format(l[2], l.count[i]), needs = l.needs or l[2], peer = l.name or l[1] })
    end
  end
end

measure_others("lom-parse", "-parse", "%s parse $FILE %s", 1, "parse")
measure_others("lom-parse", "-sax", "%s sax $FILE %s", 1, "sax")
measure_others("flood-unwanted", "-flood", "$PEER flood $FILE %s flood %s", 1)
measure_others("concat", "-tostring", "$PEER flood $FILE %s tostring %s", 1, "tostring")
measure_others("send-counted", "-send", "$PEER sink %s send %s", 2)
measure_others("ping-1", "-ping", "$PEER echo %s ping %s 1", 3)
measure_others("ping-64", "-ping-64", "$PEER echo %s ping %s 64", 4)

for _, m in ipairs(M.measurements) do -- their peak memory
  if m[1]:find "%-flood$" then m.also, m.named = m[1] .. "-rss", "rss" end
end

-- For these, instructions are counted, too, if valgrind is installed: "parse#".
M.counted = { "expat", "parse", "parse-tapped", "unwanted", "prosody-parse", "lom-parse" }

-- What it is, our measurement, the yardstick (nil: the figure itself), the most or least that the goal allows, the
-- ambitious goal. `each`: a factor for the yardstick's figure. `faster`: the ratio is how many times faster ours is.
M.rows = {
  { "flood over loopback, a handler for all", "flood", "flood-raw", most = 1, stretch = 0.8 },
  { "  beside iksemel", "flood", "iksemel-flood", most = 1.4, stretch = 1.1 },
  { "  with 12 taps that want nothing of it", "flood-tapped", "flood", most = 1.05 },
  { "flood that no filter wants", "flood-unwanted", "flood-raw", most = 0.45, stretch = 0.3 },
  { "parse to tables, in memory", "parse", "expat", most = 2.1, stretch = 1.8 },
  { "  instructions", "parse#", "expat#", most = 1, stretch = 0.9 },
  { "  with 12 taps that want nothing of it, instructions", "parse-tapped#", "parse#", most = 1.05 },
  { "  times faster than Prosody's xmppstream", "parse", "prosody-parse", faster = true, least = 6 },
  { "parse what no filter wants, in memory", "unwanted", "expat" },
  { "  instructions", "unwanted#", "expat#" },
  { "tables to bytes, to_xml", "to_xml", "expat" },
  { "  times faster than Prosody's tostring", "to_xml", "prosody-tostring", faster = true, least = 10 },
  { "  times faster than gsub and table.concat", "to_xml", "concat", faster = true, least = 9 },
  { "tables to bytes, conn:send", "queue", "copy" },
  { "send small messages, 64 a turn", "send", "write" },
  { "  beside expat on a stanza", "send", "expat", most = 0.26 },
  { "  writes to the socket, a turn", "sends", most = 1.01 },
  { "ping by send_await, one at a time", "ping-1", "ping-raw", most = 1.6, stretch = 1.3 },
  { "ping by send_await, 64 at a time", "ping-64", "expat", most = 1.6, stretch = 1.1 },
  { "  beside iksemel", "ping-64", "iksemel-ping-64", most = 1.2 },
  { "  while 10,000 others wait", "ping-10k", "ping-64", most = 1.4 },
  { "  while 100,000 others wait", "ping-100k", "ping-64", most = 1.8 },
  { "  memory when they have ended, to before", "rss-100k", most = 1.05 },
  { "1,000 idle TLS connections, memory", "idle-rss", "idle-raw-rss", most = 2.4, stretch = 1.8 },
  { "  10,000 of them, one's to that", "idle-10k-rss", "idle-rss", most = 1.05 },
  { "connect and bind over TLS", "tls-connect", "tls-handshake", most = 1.6 },
  { "  milliseconds that cached SCRAM adds", "scram-cached", most = 0.2 },
  { "  by a session that is resumed", "tls-resumed", "tls-handshake" },
  { "a process's first login, ms, to 1,000 stanzas of expat's", "start-client", "flood-raw", most = 5.58 },
  { "a component's start, millions of instructions", "start-component", most = 14 },
  { "round trips until bound, STARTTLS", "trips-starttls", most = 6 },
  { "round trips until bound, direct TLS", "trips-direct", most = 5 },
  { "  by SASL2 and Bind 2, STARTTLS", "trips-sasl2-starttls", most = 5 },
  { "  by SASL2 and Bind 2, direct TLS", "trips-sasl2-direct", most = 4 },
  { "  by a token, STARTTLS", "trips-fast-starttls", most = 4 },
  { "  by a token, direct TLS", "trips-fast-direct", most = 3 },
  { "receive 400 B records over TLS", "tls-receive", "tls-read", most = 0.5 },
  { "a message from the shell, to go-sendxmpp", "send-xmpp", "send-go", most = 1 },
  { "  from start to end, in time", "send-xmpp-wall", "send-go-wall" },
  { "a message from the shell, to sendxmpp", "send-xmpp", "send-perl", most = 1 },
  { "  from start to end, in time", "send-xmpp-wall", "send-perl-wall" },
  { "a stanza of 5 MB, to 10 of 500 KB", "large", "small", each = 10, most = 1.1 },
  { "a roster of 100,000 in one answer, to tables", "answer", "answer-expat", most = 3.5 },
  { "memory after 1,000,000 cancelled timers, to before", "timers", most = 1.3 },
  { "parse to tables: LuaJIT, to Lua 5.4", "luajit-parse", "lua5.4-parse", most = 1 },
  { "an intake takes a stanza, to one process that takes and answers it", "farm-intake", "farm-direct", most = 3 },
  { "  and sends an answer", "farm-send", "farm-direct" },
  { "a worker does it, out of Redis and into it", "farm-worker", "farm-direct", most = 6 },
  { "  Redis itself, for the intake and the worker", "farm-worker-redis", "farm-direct" },
  { "cut anywhere, delivered on its last byte", "split", least = 1 },
}

-- For these, bytes and stanzas a second are shown, too.
M.rates = { "parse", "unwanted", "flood", "flood-unwanted", "to_xml", "queue" }

-- The other libraries, and the names of their figures. `draw`: the name of a bar in the picture.
M.others = {
  { "C on raw expat and sockets", flood = "flood-raw", parse = "expat", send = "write", ping = "ping-raw",
    draw = "C on raw expat and sockets" },
  { "this library", flood = "flood", parse = "parse", text = "to_xml", send = "send", ping = "ping-1",
    ping64 = "ping-64", draw = "this library", ours = true },
  { "  what no filter wants", flood = "flood-unwanted", parse = "unwanted", draw = "this library, no filter wants it",
    ours = true },
}

for _, l in ipairs(libraries) do
  local name = l.name or l[1]
  table.insert(M.others, { name, flood = l[1] .. "-flood", send = l[1] .. "-send", ping = l[1] .. "-ping",
    ping64 = l[1] .. "-ping-64", parse = can(l, "parse") and l[1] .. "-parse",
    text = can(l, "tostring") and l[1] .. "-tostring", draw = name })
  if can(l, "sax") then table.insert(M.others, { "  its parser's hooks, no trees", parse = l[1] .. "-sax" }) end
end
table.insert(M.others, { "Prosody's xmppstream, LuaSocket", flood = "prosody-flood", parse = "prosody-parse",
  text = "prosody-tostring", send = "prosody-send", draw = "Prosody's xmppstream" })
table.insert(M.others, { "luaexpat's lom", parse = "lom-parse" })

-- The programs that draw curves, and each curve's goal: its last point is at most `flat` times its first.
M.growing = {
  { "growth-pending", "$LUA spec/bench/growth.lua pending" },
  { "growth-callbacks", "$LUA spec/bench/growth.lua callbacks" },
  { "growth-size", "$LUA spec/bench/growth.lua size" },
  { "growth-queue", "$LUA spec/bench/growth.lua queue" },
  { "growth-connections-1", "$PEER many 1 $FILE $LUA spec/bench/growth.lua connections 1 $FILE $N" },
  { "growth-connections-10", "$PEER many 10 $FILE $LUA spec/bench/growth.lua connections 10 $FILE $N" },
  { "growth-connections-100", "$PEER many 100 $FILE $LUA spec/bench/growth.lua connections 100 $FILE $N" },
  { "growth-connections-1000", "$PEER many 1000 $FILE $LUA spec/bench/growth.lua connections 1000 $FILE $N" },
}

M.growth = {
  { "iqs that wait", title = "Requests that wait", unit = "us of CPU",
    { "ping", "one more, answered", flat = 1.8 }, { "stranger", "a result for nobody", flat = 1.8 } },
  { "callbacks with filters", title = "Callbacks", unit = "us of CPU",
    { "last-callback", "for the last", flat = 1.5 }, { "no-callback", "none", flat = 1.5 },
    { "no-callback-foreign", "none, from /Z\195\188rich", flat = 1.5 } },
  { "bytes of a stanza", title = "Large stanzas", unit = "ns of CPU a byte",
    { "elements", "received", flat = 1.5 }, { "text", "one text", flat = 1.5 }, { "sent", "sent", flat = 1.5 } },
  { "bytes of a stanza", title = "Large stanzas, dripping in", unit = "ns of CPU a byte",
    { "dripped", "received, 16 bytes at a time", flat = 1.5 } },
  { "stanzas not acknowledged", title = "The queue", unit = "us of CPU",
    { "acknowledged", "one acknowledged", flat = 1.5 }, { "queued", "one sent", flat = 1.5 } },
  { "connections", title = "Connections", unit = "us of CPU",
    { "connections", "a stanza on one of them", flat = 1.5 } },
}

-- People, with the modules above the transport: the name in spec/bench/people, how many, a description, the most CPU as
-- a multiple of raw expat's for the same bytes, the most bytes of memory for each. With many, cache misses and garbage
-- collection add to the cost; what isn't linear would grow tenfold.
M.people = {
  { "presence", 10000, "10,000 contacts come online", most = 15, bytes = 600, needs = "lua/xmpp/presence.lua" },
  { "roster", 100000, "a roster of 100,000 contacts", most = 30, bytes = 600, needs = "lua/xmpp/roster.lua" },
  { "room", 10000, "a room with 10,000 occupants", most = 30, bytes = 600, needs = "lua/xmpp/muc.lua" },
}

for i = #M.people, 1, -1 do -- those whose module isn't there are left out
  local f = io.open(M.people[i].needs)
  if f then f:close() else table.remove(M.people, i) end
end

for _, p in ipairs(M.people) do
  local name, n = p[1], p[2]
  local command = ("$LUA spec/bench/people.lua %s %d"):format(name, n)
  table.insert(M.measurements, { name .. "-expat", command .. " $RAW" })
  table.insert(M.measurements, { name, command, also = name .. "-memory", named = "memory" })
  table.insert(M.rows, { p[3] .. ", one of them", name, name .. "-expat", most = p.most })
  table.insert(M.rows, { "  bytes of memory", name .. "-memory", most = p.bytes })
  table.insert(M.growing, { "growth-" .. name, ("$LUA spec/bench/people.lua growth %s %d"):format(name, n) })
  table.insert(M.growth, { "how many", title = p[3], unit = "us of CPU", { name, "one of them", flat = 2.5 } })
  table.insert(M.growth, { "how many", title = p[3] .. ", memory", unit = "bytes",
    { name .. "-memory", "one of them", flat = 1.8 } })
end

return M
