-- rows: what `make bench` measures, and the goals it is held against.

local M = {}

-- In the order of a round: a yardstick stands beside what it is a yardstick for. In a command: $N stanzas in $FILE,
-- $LUA, $RAW and $PEER the C programs beside this file, $COUNT a library that counts calls of send, $BUILD where they
-- are. `also`: the second figure that it tells, divided `by`. `needs`: passed over where this file is not there.
M.measurements = {
  { "expat", "$RAW expat $FILE $N" },
  { "parse", "$LUA spec/bench/ours.lua parse $FILE $N" },
  { "unwanted", "$LUA spec/bench/ours.lua unwanted $FILE $N" },
  { "prosody-parse", "$LUA spec/bench/theirs.lua parse $FILE $N", needs = "/usr/lib/prosody/util/xmppstream.lua" },
  { "flood-raw", "$PEER flood $FILE $RAW flood $FILE $N" },
  { "flood", "$PEER flood $FILE $LUA spec/bench/ours.lua flood $FILE $N" },
  { "flood-unwanted", "$PEER flood $FILE $LUA spec/bench/ours.lua flood-unwanted $FILE $N" },
  { "copy", "$RAW copy $FILE $N" },
  { "to_xml", "$LUA spec/bench/ours.lua to_xml $FILE $N" },
  { "queue", "$LUA spec/bench/ours.lua queue $FILE $N" },
  { "prosody-tostring", "$LUA spec/bench/theirs.lua tostring $FILE $N", needs = "/usr/lib/prosody/util/stanza.lua" },
  { "concat", "$LUA spec/bench/theirs.lua concat $FILE $N" },
  { "write", "$PEER sink $RAW write 64000 64" },
  { "send", "$PEER sink $LUA spec/bench/ours.lua send 64000 64" },
  { "send-counted", "$PEER sink env LD_PRELOAD=$COUNT $LUA spec/bench/ours.lua send 64000 64", also = "sends",
    by = 1000 },
  { "ping-raw", "$PEER echo $RAW ping 5000" },
  { "ping-1", "$PEER echo $LUA spec/bench/ours.lua ping 5000 1 0" },
  { "ping-64", "$PEER echo $LUA spec/bench/ours.lua ping 32000 64 0" },
  { "ping-10k", "$PEER echo $LUA spec/bench/ours.lua ping 32000 64 10000" },
  { "ping-100k", "$PEER echo $LUA spec/bench/ours.lua ping 32000 64 100000", also = "rss-100k" },
  { "idle-raw-rss", "$BUILD/crowd $BUILD/idle 1000" },
  { "idle-rss", "$BUILD/crowd -s $LUA spec/bench/crowd.lua idle 1000" },
  { "small", "$LUA spec/bench/ours.lua large 500000 20" },
  { "large", "$LUA spec/bench/ours.lua large 5000000 2" },
}

-- What, ours, the yardstick (none: the figure itself), most or least that the goal allows, the stretch. `each`: what
-- the yardstick's figure is multiplied by. `faster`: the ratio is how many times faster ours is.
M.rows = {
  { "parse to tables, in memory", "parse", "expat", most = 2.1, stretch = 1.8 },
  { "  times faster than Prosody's xmppstream", "parse", "prosody-parse", faster = true, least = 3.5 },
  { "parse what no filter wants, in memory", "unwanted", "expat" },
  { "flood over loopback, a handler for all", "flood", "flood-raw", most = 1.8, stretch = 1.6 },
  { "flood that no filter wants", "flood-unwanted", "flood-raw", most = 1.2, stretch = 1.1 },
  { "tables to bytes, to_xml", "to_xml", "copy" },
  { "  beside expat on the same bytes", "to_xml", "expat" },
  { "  times faster than Prosody's tostring", "to_xml", "prosody-tostring", faster = true, least = 10 },
  { "  times faster than gsub and table.concat", "to_xml", "concat", faster = true, least = 9 },
  { "tables to bytes, conn:send", "queue", "copy" },
  { "send small messages, 64 a turn", "send", "write" },
  { "  beside expat on a stanza", "send", "expat", most = 0.26 },
  { "  write calls a turn", "sends", most = 1.01 },
  { "ping by send_await, one at a time", "ping-1", "ping-raw", most = 1.6, stretch = 1.3 },
  { "ping by send_await, 64 at a time", "ping-64", "expat", most = 1.6, stretch = 1.1 },
  { "  while 10,000 others wait", "ping-10k", "ping-64", most = 1.4 },
  { "  while 100,000 others wait", "ping-100k", "ping-64", most = 1.8 },
  { "  memory when they have ended, to before", "rss-100k", most = 1.05 },
  { "1,000 idle TLS connections, memory", "idle-rss", "idle-raw-rss", most = 2.4, stretch = 1.8 },
  { "a stanza of 5 MB, to 10 of 500 KB", "large", "small", each = 10, most = 1.1 },
}

-- Of these, bytes and stanzas a second as well.
M.rates = { "parse", "unwanted", "flood", "flood-unwanted", "to_xml", "queue" }

-- Instructions a stanza, to expat's.
M.instructions = {
  { "parse to tables, in memory", "parse", most = 1.75, stretch = 1.6 },
  { "parse what no filter wants, in memory", "unwanted" },
}

return M
