-- theirs: other ways in Lua, as yardsticks for `make bench`. Prints microseconds of CPU for each stanza.
--
--   lua theirs.lua parse FILE N      Prosody's util.xmppstream, if it is installed; FILE has N stanzas
--   lua theirs.lua lom FILE N        luaexpat's lom, without namespaces, in documents of about 16 KB
--   lua theirs.lua flood FILE N      like parse, with LuaSocket from `peer flood`
--   lua theirs.lua tostring FILE N   Prosody's stanzas to text
--   lua theirs.lua send N BATCH      small messages made by Prosody's util.stanza, to `peer sink`, BATCH in one write
--   lua theirs.lua concat FILE N     our tables to text in plain Lua, with gsub and table.concat, without any checks

local clock = os.clock

local function tell(seconds, pieces)
  print(("%.6f"):format(seconds * 1e6 / pieces))
end

local function from_prosody(module)
  package.path = "/usr/lib/prosody/?.lua;" .. package.path
  package.cpath = "/usr/lib/prosody/?.so;" .. package.cpath
  pcall(require, "loader") -- since Prosody 13 its modules are named prosody.util.x, which this makes possible
  return require(module)
end

local header = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>"

-- Prosody's parser, as a function that is fed with text.
local function prosody(on_stanza)
  local session = { notopen = true }
  local stream = from_prosody "util.xmppstream".new(session, {
    stream_ns = "http://etherx.jabber.org/streams", default_ns = "jabber:component:accept",
    streamopened = function() session.notopen = nil end,
    handlestanza = function(_, stanza) on_stanza(stanza) end,
  })
  assert(stream:feed(header))
  return function(text) assert(stream:feed(text)) end
end

local function parse(file, n)
  local seen, spent = 0, 0
  local feed = prosody(function() seen = seen + 1 end)
  for piece in io.lines(file, 16384) do
    local since = clock()
    feed(piece)
    spent = spent + clock() - since
  end
  tell(spent, n)
  assert(seen == n)
end

-- The file as documents, one after the other; a stanza begins where a tag's first attribute is `from`.
local function documents(file)
  local f, rest = assert(io.open(file, "rb")), ""
  return function()
    local piece = f:read(16384)
    if not piece and rest == "" then return f:close() and nil end
    local text = rest .. (piece or "")
    local cut = piece and text:match ".*()<%a+ from=" or #text + 1
    rest = text:sub(cut)
    return "<x>" .. text:sub(1, cut - 1) .. "</x>"
  end
end

local function lom(file, n)
  local read, seen, spent = require "lxp.lom".parse, 0, 0
  for text in documents(file) do
    local since = clock()
    seen = seen + #read(text)
    spent = spent + clock() - since
  end
  tell(spent, n)
  assert(seen == n)
end

-- Opens a component's stream to `peer`.
local function connect()
  local c = assert(require "socket".connect("127.0.0.1", tonumber(os.getenv "BENCH_PORT")))
  c:setoption("tcp-nodelay", true)
  assert(c:send(header .. "<handshake>0</handshake>"))
  local answer, tail = "", "<handshake/>"
  while answer:sub(-#tail) ~= tail do answer = answer .. assert(c:receive(1)) end
  return c
end

local function flood(_, n)
  local c, seen = connect(), 0
  local select = require "socket".select
  local feed = prosody(function() seen = seen + 1 end)
  assert(c:send "<presence/>")
  c:settimeout(0)
  local since = clock()
  while seen < n do
    select({ c })
    local all, why, some = c:receive(16384)
    if why == "closed" then break end
    feed(all or some)
  end
  tell(clock() - since, n)
  assert(seen >= n)
end

local function send(n, batch)
  local c, st = connect(), from_prosody "util.stanza"
  local since = clock()
  for _ = 1, n / batch do
    local list = {}
    for i = 1, batch do
      local message = st.message { to = "romeo@example.net", type = "chat" }
      list[i] = tostring(message:text_tag("body", "Hi there, how are you?"))
    end
    assert(c:send(table.concat(list)))
  end
  tell(clock() - since, n)
end

-- open(on_stanza) returns a parser; `write` is called with each stanza.
local function write_all(file, n, open, write)
  local list, spent, seen = {}, 0, 0
  local feed = open(function(stanza) list[#list + 1] = stanza end)
  for piece in io.lines(file, 16384) do
    feed(piece)
    collectgarbage()
    local since = clock()
    for _, stanza in ipairs(list) do write(stanza) end
    spent = spent + clock() - since
    seen, list = seen + #list, {}
  end
  assert(seen == n)
  tell(spent, n)
end

local function to_string(file, n)
  write_all(file, n, prosody, tostring)
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&apos;" }

local function append(x, to)
  to[#to + 1] = "<" .. x[1]
  for key, value in pairs(x[2]) do to[#to + 1] = " " .. key .. "='" .. value:gsub("[&<>']", entities) .. "'" end
  if not x[3] then
    to[#to + 1] = "/>"
    return
  end
  to[#to + 1] = ">"
  for i = 3, #x do
    local child = x[i]
    if type(child) == "table" then
      append(child, to)
    else
      to[#to + 1] = child:gsub("[&<>]", entities)
    end
  end
  to[#to + 1] = "</" .. x[1] .. ">"
end

local function ours(on_stanza)
  local f = require "spec.support.fed".open { jid = "bench.test", component = true }
  f.conn:set_handler(on_stanza)
  return function(text) f:feed(text) end
end

local function concat(file, n)
  write_all(file, n, ours, function(stanza)
    local to = {}
    append(stanza, to)
    table.concat(to)
  end)
end

local modes = { parse = parse, lom = lom, flood = flood, tostring = to_string, concat = concat, send = send }
modes[arg[1]](tonumber(arg[2]) or arg[2], tonumber(arg[3]))
os.exit(0)
