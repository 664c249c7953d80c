-- roster: what a roster takes, for `make bench`: the answer with all contacts, from its bytes to r.items. Prints
-- microseconds of CPU (user and system), and bytes of memory a contact.
--
--   lua roster.lua fetch N            one of N contacts
--   lua roster.lua tables N           the same bytes as tables, by a handler that counts them
--   lua roster.lua expat RAW N        the same bytes, by `raw expat`, see raw.c
--   lua roster.lua growth [MOST]      lines "contacts X FIGURE", a contact
local fed = require "spec.support.fed"
local roster = require "xmpp.roster"

local clock = os.clock
local PIECE = 16384
local ITEM = "<item jid='user%d@example.net' subscription='both' name='User %d'><group>Group %d</group></item>"

-- In a file: the text of it would make the heap larger than any program's.
local function write(path, n, id)
  local f = assert(io.open(path, "w"))
  f:write(("<iq type='result' id='%s' to='bench@bench.test/x'><query xmlns='jabber:iq:roster' ver='1'>"):format(id))
  for i = 1, n do f:write(ITEM:format(i, i, i % 50)) end
  f:write "</query></iq>"
  f:close()
end

local function feed(f, path)
  local spent = 0
  for piece in io.lines(path, PIECE) do
    local since = clock()
    f:feed(piece)
    spent = spent + clock() - since
  end
  return spent
end

local function memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

local function open() return fed.open { jid = "bench@bench.test/x", max_stanza = 1e9, max_nodes = 1e8 } end

local function tables(n)
  local f, path, seen = open(), os.tmpname(), 0
  f.conn:set_handler(function(stanza) seen = #stanza[3] - 2 end)
  write(path, n, "id")
  collectgarbage()
  local spent = feed(f, path)
  os.remove(path)
  assert(seen == n)
  return spent
end

-- Seconds, and bytes that are kept.
local function fetch(n)
  local f, path = open(), os.tmpname()
  local r = roster.use(f.conn)
  fed.settle()
  write(path, n, f:sent():match "id='([^']+)'")
  local before = memory()
  local spent = feed(f, path)
  local kept = memory() - before
  os.remove(path)
  local seen = 0
  for _ in pairs(r.items) do seen = seen + 1 end
  assert(seen == n and r:fetched())
  f:feed "</stream:stream>"
  return spent, kept
end

local function expat(raw, n)
  local path = os.tmpname()
  write(path, n, "id")
  local p = assert(io.popen(("%s expat %s 1"):format(raw, path)))
  io.write(p:read "*a")
  p:close()
  os.remove(path)
end

local what = arg[1]
if what == "fetch" then
  local spent, kept = fetch(tonumber(arg[2]))
  print(("%.6f bytes %.1f"):format(spent * 1e6, kept / tonumber(arg[2])))
elseif what == "tables" then
  print(("%.6f"):format(tables(tonumber(arg[2])) * 1e6))
elseif what == "expat" then
  expat(arg[2], tonumber(arg[3]))
else
  for _, n in ipairs { 1000, 10000, 100000 } do
    if n <= tonumber(arg[2] or n) then print(("contacts %d %.6f"):format(n, (fetch(n)) * 1e6 / n)) end
  end
end
os.exit(0)
