-- Sweeps: every code point as text and as an attribute's value, every byte in five places, strings that try to break
-- out of their place, and tables that change while they are sent. What is sent is read back unchanged by lua-expat, or
-- it is refused.
local fed = require "spec.support.fed"
local pace = require "spec.support.pace"
local second = require "spec.support.second"
local xmpp = require "xmpp"

local utf8 = second.utf8
local accepts, to_xml, canonical = xmpp.contract.stanza, xmpp.xexpr.to_xml, xmpp.xexpr.canonical

-- XML 1.0's Char.
local function is_char(c)
  if c < 0x20 then return c == 9 or c == 10 or c == 13 end
  return c < 0xD800 or (c > 0xDFFF and c < 0xFFFE) or c > 0xFFFF
end

local function same(want, xml)
  local where = second.difference(want, second.by_lua_expat(xml), "lua-expat")
  if where then error(where, 2) end
end

describe("every code point", function()
  local function in_text(s) return { "message", {}, s } end
  local function in_attribute(s) return { "message", { a = s } } end

  it("is sent in texts and attributes and read back, or refused if XML forbids it", function()
    local swept, refused = 0, 0
    for first = 0, 0x10FFFF, 1024 do
      local taken = {}
      for c = first, math.min(first + 1023, 0x10FFFF) do
        local s = utf8(c)
        local text, value = accepts(in_text(s)), accepts(in_attribute(s))
        assert(text == is_char(c) and value == is_char(c), ("U+%04X"):format(c))
        if text then taken[#taken + 1] = s end
        swept = swept + 1
      end
      refused = refused + 1024 - #taken
      if #taken > 0 then
        local all = table.concat(taken, "x")
        local x = { "message", { a = all }, { "body", {}, all } }
        same(x, to_xml(x))
        assert(second.difference(x, assert(xmpp.xexpr.from_xml(to_xml(x))), "from_xml") == nil)
      end
    end
    assert.equal(1114112, swept)
    assert.equal(2048 + 29 + 2, refused) -- surrogates, controls, U+FFFE and U+FFFF
  end)

  it("is sent by itself, too, up to U+02FF", function()
    for c = 0, 0x2FF do
      for _, make in ipairs { in_text, in_attribute } do
        local x = make(utf8(c))
        if is_char(c) then same(x, to_xml(x)) else assert.is_false((pcall(to_xml, x))) end
      end
    end
  end)
end)

local PLACES = {
  text = function(s) return { "message", {}, { "a", {}, s } } end,
  value = function(s) return { "message", { a = s } } end,
  key = function(s) return { "message", { [s] = "v" } } end,
  name = function(s) return { "message", {}, { s, {} } } end,
  namespace = function(s) return { "message", {}, { "a", { xmlns = s } } } end,
}

-- Sent and read back; or refused, and nothing sent. Returns whether it was sent.
local function sent_or_refused(f, x)
  local fine, reason = accepts(x)
  local ok, why = pcall(f.conn.send, f.conn, x)
  local bytes = f:sent()
  assert(ok == fine, "send and contract don't agree")
  if ok then
    same(canonical(x), bytes)
  else
    assert(why:find(reason, 1, true) and bytes == "", why)
  end
  return ok
end

describe("every byte", function()
  for place, make in pairs(PLACES) do
    it("is sent and read back, or refused: in a " .. place, function()
      local f = fed.open { jid = "alice@xmpp.test/here" }
      local sent = 0
      for b = 0, 255 do
        local byte = string.char(b)
        for _, s in ipairs { byte, "a" .. byte, "a" .. byte .. "z", "\195" .. byte, byte .. "\172\128" } do
          if sent_or_refused(f, make(s)) then sent = sent + 1 end
        end
      end
      assert.is_true(sent > 150 and sent < 800, tostring(sent))
    end)
  end
end)

describe("text that looks like XML", function()
  local WORDS = { "</message><message to='eve'>", "<iq type='set'/>", "'/><message/>", "\"/><x y=\"", "' to='eve",
    "a' b='c", "a='1' b", "a><b", "a/><b", "a/", "/a", "]]>", "<![CDATA[", "<![CDATA[x]]>", "&", "&lt;", "&#60;",
    "&#x3C;", "&amp;lt;", "&#0;", "&nbsp;", "<!--", "-->", "<!DOCTYPE x>", "<!ENTITY x 'y'>", "<?xml?>", "<?x?>",
    "</stream:stream>", "<stream:error/>", "stream:error", "xmlns:stream", "xmlns:a", "a:b", "xml:base", "\r\n\r\n",
    "\n<a/>", "\t'\t", "\0</message>", "\239\187\191<a/>", "\192\188a/>", "\224\128\188a/>", "{urn:a}b' c='d",
    "{urn:a' b='c}d", "{urn:a'/><x xmlns='}d", "{" }

  for place, make in pairs(PLACES) do
    it("is escaped, or refused: in a " .. place, function()
      local f = fed.open { jid = "alice@xmpp.test/here" }
      for _, word in ipairs(WORDS) do
        local sent = sent_or_refused(f, make(word))
        local is_name = place == "key" or place == "name"
        -- as a name, none but an attribute with a namespace is valid
        if is_name then assert.equal(place == "key" and word:find("^{.+}[a-z]$") ~= nil, sent, word) end
      end
    end)
  end
end)

describe("a table that is changed", function()
  local f, conn

  before_each(function()
    f = fed.open { jid = "alice@xmpp.test/here" }
    conn = f.conn
  end)

  local function spoil(x)
    for i = #x, 3, -1 do x[i] = nil end
    x[1], x[2] = "presence", { id = "other", to = "eve@xmpp.test", [{}] = true }
  end

  it("after send is sent as it was then, even if it leaves later", function()
    local x = { "message", { id = "1" }, { "body", {}, "hi" } }
    xmpp.spawn(function()
      conn:send(x)
      xmpp.sleep(0)
      x[3][3] = "changed"
      conn:send(x)
    end)
    xmpp.spawn(function() spoil(x[3]) x[3][1], x[3][2], x[3][3] = "body", {}, "meanwhile" end)
    fed.settle()
    assert.equal("<message id='1'><body>hi</body></message><message id='1'><body>changed</body></message>", f:sent())
  end)

  it("after send_await doesn't affect the pending request", function()
    local x, got = { "iq", { type = "get", id = "1", to = "bob@xmpp.test/x" }, { "q", { xmlns = "urn:q" } } }, nil
    xmpp.spawn(function() got = conn:send_await(x) end)
    xmpp.spawn(function() spoil(x) end)
    fed.settle()
    assert.equal("<iq", f:sent():sub(1, 3))
    f:feed "<presence id='other' from='eve@xmpp.test'/><iq type='result' id='other' from='eve@xmpp.test'/>"
    assert.is_nil(got)
    f:feed "<iq type='result' id='1' from='bob@xmpp.test/x'/>"
    assert.equal("1", got[2].id)
  end)

  -- Garbage with a finalizer; where tables have none (Lua 5.1), a proxy.
  local function finalized(finalizer)
    local newproxy = rawget(_G, "newproxy")
    if newproxy then getmetatable(newproxy(true)).__gc = finalizer
    else setmetatable({}, { __gc = finalizer }) end
  end

  -- No Lua code runs while a table is being read: changes at any other time can't make an inconsistent stanza.
  it("in finalizers and coroutines is never sent half-changed", function()
    local x, n, finalizers, changing = { "message", { n = "0" } }, 0, 0, false
    local function change()
      if changing then return false end -- a finalizer during another's change
      changing = true
      n = (n * 7 + 5) % 41
      for i = #x, n + 3, -1 do x[i] = nil end
      for i = #x + 1, n + 2 do x[i] = { "a", { i = i } } end
      x[2] = { n = tostring(n) }
      changing = false
      return true
    end
    local function finalizer()
      if change() then finalizers = finalizers + 1 end
    end
    local worker = coroutine.wrap(function()
      while true do
        change()
        coroutine.yield()
      end
    end)
    local pause, mul = pace.set(0, 1000)
    for _ = 1, 2000 do
      finalized(finalizer)
      worker()
      assert(conn:send(x))
      local back = second.by_lua_expat(f:sent())
      assert(tonumber(back[2].n) == #back - 2, "half of it")
    end
    pace.set(pause, mul)
    assert.is_true(finalizers > 100, "hardly a finalizer has run")
  end)
end)
