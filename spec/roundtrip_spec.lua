-- The round trip: whatever contract.stanza accepts comes back from the wire in its canonical form. Many thousand random
-- stanzas are read back by the library and by lua-expat's parser, sent on a connection, and made invalid in one place.
-- ROUNDTRIP_SEED and ROUNDTRIP_CASES choose others; a failure names both.
local fed = require "spec.support.fed"
local second = require "spec.support.second"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local SEED = tonumber(os.getenv "ROUNDTRIP_SEED" or 20261122)
local CASES = tonumber(os.getenv "ROUNDTRIP_CASES" or 10000)
local CLIENT = "jabber:client"
local by_lua_expat, difference, utf8 = second.by_lua_expat, second.difference, second.utf8

-- Random numbers: a linear congruential generator, the same everywhere.

local seed

local function chance(n)
  seed = (seed * 1664525 + 1013904223) % 4294967296
  return math.floor(seed / 4294967296 * n) + 1
end

local function one_of(list) return list[chance(#list)] end

-- Characters: all that must be escaped, both ends of every range that XML allows, every plane.

local SPECIAL = { "&", "<", ">", "'", '"', "\t", "\n", "\r", "\r\n", "]]>", "&amp;", "&#0;", "<!--", "]]", " ", "  ",
  "\127", utf8(0x80), utf8(0x85), utf8(0xA0), utf8(0x7FF), utf8(0x800), utf8(0x2028), utf8(0xD7FF), utf8(0xE000),
  utf8(0xFEFF), utf8(0xFFFD), utf8(0x10000), utf8(0x1FFFE), utf8(0x1FFFF), utf8(0x10FFFF) }

local function character()
  local kind = chance(6)
  if kind <= 2 then return string.char(31 + chance(95)) end
  if kind == 3 then return one_of(SPECIAL) end
  if kind == 4 then return utf8(0x7F + chance(0xD800 - 0x7F - 1)) end
  if kind == 5 then return utf8(0xDFFF + chance(0xFFFE - 0xE000)) end
  return utf8(0xFFFF + chance(16) * 0x10000 - 0xFFFF + chance(0x10000) - 1)
end

local function text(most)
  local out = {}
  for i = 1, chance(most + 1) - 1 do out[i] = character() end
  return table.concat(out)
end

local function number()
  local kind = chance(5)
  if kind == 1 then return chance(2000) - 1000 end
  if kind == 2 then return (chance(2000) - 1000) / chance(1000) end
  if kind == 3 then return (seed + 0.0) * 2.0 ^ (chance(2000) - 1050) end
  if kind == 4 then
    return one_of { 0, -0.0, 1e15, 1e16, 2 ^ 53, -2 ^ 63, 5e-324, 1.7976931348623157e308, 0.1, 1e100 }
  end
  return seed * 4294967296 + chance(4294967295)
end

local function value() return chance(8) == 1 and number() or text(8) end

-- Elements.

local NAMES = { "a", "body", "x", "_", "a-b.c_9", "query", "A", "xml", "xmlns", utf8(0xE9) .. "t", "d" .. utf8(0x5B57),
  utf8(0x3B1) .. utf8(0xB7), "a" .. utf8(0x300) }
local SPACES = { CLIENT, "urn:a", "urn:b", "", "http://www.w3.org/1999/xhtml", "urn:{b}c", "a&b<'\">", utf8(0x1F600),
  "http://etherx.jabber.org/streams", "urn:" .. ("long"):rep(16), "urn:" .. ("long"):rep(17), ("urn:"):rep(256) }
local KEYS = { "to", "from", "id", "type", "a", "b", "xml:lang", "lang", "n" .. utf8(0xE4), "{urn:a}id", "{urn:b}id",
  "{urn:a}from", "{" .. CLIENT .. "}to", "{http://www.w3.org/XML/1998/namespace}space", "{urn:{b}c}d", "{a&b'<\"}c",
  "{" .. utf8(0x1F600) .. "}e", "{urn:a}xmlns" }

local function attributes(top)
  local out = {}
  for _ = 1, chance(5) - 1 do out[one_of(KEYS)] = value() end
  if not top and chance(3) == 1 then out.xmlns = one_of(SPACES) end
  if top and chance(20) == 1 then out.xmlns = CLIENT end
  return out
end

local element

local function fill(x, room, depth, most)
  local n = depth < 128 and chance(most + 1) - 1 or 0
  for _ = 1, n do
    if room.left > 0 and chance(2) == 1 then
      room.left = room.left - 1
      x[#x + 1] = element(room, depth + 1)
    else
      x[#x + 1] = value()
    end
  end
  return x
end

function element(room, depth)
  local x = { one_of(NAMES) }
  if chance(4) > 1 then x[2] = attributes() end
  return fill(x, room, depth, 5)
end

-- Nested elements, up to the greatest depth that is allowed, with text between.
local function deep(x)
  local cur = x
  for _ = 2, 129 - chance(3) do
    local below = chance(2) == 1 and { one_of(NAMES), attributes() } or { one_of(NAMES) }
    cur[#cur + 1] = below
    if chance(2) == 1 then cur[#cur + 1] = value() end
    cur = below
  end
end

local function stanza()
  local x = { one_of { "message", "presence", "iq" } }
  if chance(5) > 1 then x[2] = attributes(true) end
  if x[1] == "iq" then
    x[2] = x[2] or {}
    x[2].type, x[2].id = one_of { "get", "set", "result", "error" }, x[2].id or value()
  end
  local kind = chance(500)
  if kind == 1 then
    deep(x)
  elseif kind == 2 then
    fill(x, { left = 1000 }, 1, 1000)
  elseif kind == 3 then
    x[#x + 1] = text(10000)
  elseif kind == 4 then
    if type(x[2]) ~= "table" or x[2][1] ~= nil then table.insert(x, 2, {}) end
    for i = 1, 240 do x[2]["k" .. i] = value() end -- the limit is 256, max_attributes
  else
    fill(x, { left = 12 }, 1, 5)
  end
  return x
end

local function each_case(cases, f)
  seed = SEED
  for i = 1, cases do
    local first = seed
    local ok, why = pcall(f, i)
    if not ok then error(("case %d of seed %d (%d): %s"):format(i, SEED, first, tostring(why)), 0) end
  end
end

-- Each of these makes a stanza invalid, wherever in it it is put.
local POISON = { true, print, 0 / 0, 1 / 0, "\0", "\1", "\255", "\192\128", "\237\160\128", "\239\191\191", {}, { 1 },
  { "a b" }, { "" }, { "a:b" }, { "\195" }, { "a", { b = true } }, { "a", { [1.5] = "b" } }, { "a", { ["b c"] = "d" } },
  { "a", { ["{}b"] = "c" } }, { "a", {}, [5] = "b" }, { "a", b = "c" },
  { "a", { xmlns = "http://www.w3.org/2000/xmlns/" } },
  { "a", { xmlns = ("urn:x"):rep(205) } }, { "a", { xmlns = true } }, { utf8(0xD7) } }

-- Puts the value somewhere into x, as a child.
local function spoil(x, poison)
  local at, cur = chance(4), x
  while at > 1 and type(cur[#cur]) == "table" and type(cur[#cur][1]) == "string" do
    at, cur = at - 1, cur[#cur]
  end
  if cur[2] == nil then cur[2] = {} end
  cur[#cur + 1] = poison
end

describe("the round trip", function()
  it("returns the canonical form, by two parsers", function()
    io.stderr:write("# roundtrip: seed ", SEED, ", ", CASES, " cases\n")
    each_case(CASES, function()
      local x = stanza()
      local ok, why = xmpp.contract.stanza(x)
      assert(ok, why)
      local want, xml = xexpr.canonical(x), xexpr.to_xml(x)
      local back = assert(xexpr.from_xml(xml))
      local where = difference(want, back, "from_xml")
      assert(not where, where)
      where = difference(want, by_lua_expat(xml), "lua-expat")
      assert(not where, where)
    end)
  end)

  it("is the same through a connection, both ways", function()
    local f = fed.open { jid = "alice@xmpp.test/here", max_nodes = 100000, max_attributes = 1000, max_queue = 1e8 }
    local came
    f.conn:set_handler(function(x) came = x end)
    each_case(CASES / 5, function()
      local x = stanza()
      assert(f.conn:send(x))
      local sent = f:sent()
      f:feed(sent)
      f:sent() -- drops the answer to an iq get
      local want = xexpr.canonical(x)
      local where = difference(want, came, "received") or difference(want, by_lua_expat(sent), "lua-expat")
      assert(not where, where)
    end)
  end)

  it("knows its own canonical form", function()
    each_case(CASES / 10, function()
      local want = xexpr.canonical(stanza())
      local where = difference(want, xexpr.canonical(want), "canonical") or
        difference(want, xexpr.from_xml(xexpr.to_xml(want)), "written")
      assert(not where, where)
    end)
  end)

  it("is refused by contract.stanza and send for the same reasons, and sends nothing", function()
    local f = fed.open { jid = "alice@xmpp.test/here", max_queue = 1e8 }
    each_case(CASES / 5, function(i)
      local x = stanza()
      spoil(x, POISON[i % #POISON + 1])
      local ok, why = xmpp.contract.stanza(x)
      assert(not ok, "accepted")
      local sent, message = pcall(f.conn.send, f.conn, x)
      assert(not sent, "sent")
      assert(message:find(why, 1, true), message .. " instead of " .. why)
      assert(f:sent() == "", "half a stanza")
    end)
  end)
end)
