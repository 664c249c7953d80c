-- theirs: Lua's other ways, as yardsticks for `make bench`. Prints microseconds of CPU a piece.
--
--   lua theirs.lua parse FILE N      Prosody's util.xmppstream, where it is installed; FILE has N stanzas
--   lua theirs.lua tostring FILE N   Prosody's stanzas to text
--   lua theirs.lua concat FILE N     our tables to text in plain Lua, by gsub and table.concat, nothing checked

local clock = os.clock

local function tell(seconds, pieces)
  print(("%.6f"):format(seconds * 1e6 / pieces))
end

-- Prosody's parser, as a function that takes text.
local function prosody(on_stanza)
  package.path = "/usr/lib/prosody/?.lua;" .. package.path
  package.cpath = "/usr/lib/prosody/?.so;" .. package.cpath
  local session = { notopen = true }
  local stream = require "util.xmppstream".new(session, {
    stream_ns = "http://etherx.jabber.org/streams", default_ns = "jabber:component:accept",
    streamopened = function() session.notopen = nil end,
    handlestanza = function(_, stanza) on_stanza(stanza) end,
  })
  assert(stream:feed "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>")
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

-- open(on_stanza) gives a parser; `write` is given each stanza that it makes.
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

local modes = { parse = parse, tostring = to_string, concat = concat }
modes[arg[1]](arg[2], tonumber(arg[3]))
os.exit(0)
