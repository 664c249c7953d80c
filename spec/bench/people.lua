-- people: what modules above the transport cost for each person, for `make bench`: the contacts of a roster, the
-- occupants of a room. From memory, on a connection without a network.
--
--   lua people.lua NAME N              prints microseconds of CPU for a person, and "memory BYTES", Lua's memory for a
--                                      person when all have come
--   lua people.lua NAME N RAW          what RAW (spec/bench/raw.c) takes for the same bytes, with expat alone
--   lua people.lua growth NAME [MOST]  lines "NAME X MICROSECONDS" and "NAME-memory X BYTES", for 1,000 people and more
--
-- NAME is a file in spec/bench/people, which returns the JID of the connection and a function:
--
--   return { jid = "me@bench.test/x", come = function(f, n) return pieces, stanzas, done end }
--
-- f: the connection (see spec/support/fed.lua), on which `come` starts the modules; nil: only the bytes are wanted.
-- pieces: a list of texts, the bytes by which n people come; stanzas: how many that is; done(): called when all are
-- fed; raises if something is missing, and returns what must be kept until memory is measured.

local fed = require "spec.support.fed"

local clock = os.clock
local PIECE = 16384
local STEPS = { 1000, 3000, 10000, 30000, 100000 }

local function scenario(name) return require("spec.bench.people." .. name) end

local function memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

local function open(s)
  return fed.open { jid = s.jid, max_queue = 1e9, max_stanza = 1e8, max_nodes = 1e7 }
end

-- The texts as one stream, in pieces like raw.c's.
local function stream(pieces)
  local i, rest = 0, ""
  return function()
    local list, size = { rest }, #rest
    while size < PIECE and i < #pieces do
      i = i + 1
      list[#list + 1], size = pieces[i], size + #pieces[i]
      pieces[i] = ""
    end
    local text = table.concat(list)
    rest = text:sub(PIECE + 1)
    return text ~= "" and text:sub(1, PIECE) or nil
  end
end

-- Feeds the texts, which are kept no longer than they are needed. Returns the seconds that the connection took, and the
-- results of `done`.
local function feed(f, pieces, _, done)
  local spent = 0
  for piece in stream(pieces) do
    local since = clock()
    f:feed(piece)
    f:sent()
    spent = spent + clock() - since
  end
  return spent, done()
end

-- Prints microseconds and bytes for a person.
local function measure(name, n)
  local s = scenario(name)
  local f = open(s)
  local before = memory()
  local spent, kept = feed(f, s.come(f, n))
  local after = memory()
  assert(f and kept ~= nil)
  return spent * 1e6 / n, (after - before) / n
end

local function raw(name, n, program)
  local pieces, stanzas = scenario(name).come(nil, n)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  for _, text in ipairs(pieces) do file:write(text) end
  file:close()
  local p = assert(io.popen(("%s expat %s %d"):format(program, path, stanzas)))
  local figure = tonumber(p:read "*a")
  p:close()
  os.remove(path)
  print(("%.6f"):format(assert(figure) * stanzas / n))
end

local function growth(name, most)
  measure(name, STEPS[1]) -- the first run is slower for other reasons, and isn't measured
  for _, n in ipairs(STEPS) do
    if n <= most then
      local repeats, spent, bytes = math.max(1, math.floor(10000 / n)), 0, 0
      for _ = 1, repeats do
        local us, each = measure(name, n)
        spent, bytes = spent + us / repeats, each
      end
      print(("%s %d %.6f\n%s-memory %d %.6f"):format(name, n, spent, name, n, bytes))
    end
  end
end

if arg[1] == "growth" then
  growth(arg[2], tonumber(arg[3] or 10000))
elseif arg[3] then
  raw(arg[1], tonumber(arg[2]), arg[3])
else
  print(("%.6f memory %.1f"):format(measure(arg[1], tonumber(arg[2]))))
end
os.exit(0)
