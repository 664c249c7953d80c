-- What isn't a valid stanza is refused before a byte of it is sent, with a reason that names the place; tables are read
-- raw; what is received is plain and canonical.
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local xmpp = require "xmpp"

local STREAMS = "http://etherx.jabber.org/streams"
local FORBIDDEN = "%s, which XML 1.0 forbids"

local f

-- contract.stanza refuses it with exactly this reason; what sends raises it at the caller's line, and sends nothing.
local function refused(x, reason)
  local ok, why = xmpp.contract.stanza(x)
  assert.is_false(ok)
  assert.equal(reason, why)
  for name, send in pairs {
    send = function() f.conn:send(x) end,
    ["xmpp.send"] = function() xmpp.send(f.conn, x) end,
    send_callback = function() f.conn:send_callback(x, function() error "called" end) end,
    send_await = function() f.conn:send_await(x) end,
  } do
    local sent, message = pcall(send)
    assert.is_false(sent, name .. " took it")
    assert.truthy(message:find(type(x) == "table" and reason or "expected, got ", 1, true), message)
    assert.truthy(message:find("refusals_spec.lua", 1, true), "another line is blamed: " .. message)
    assert.equal("", f:sent())
  end
end

local function accepted(x, xml)
  assert.is_true(xmpp.contract.stanza(x))
  assert.is_true(f.conn:send(x))
  assert.equal(xml, f:sent())
end

local function nested(depth)
  local x = { "message", {} }
  local inner = x
  for _ = 2, depth do
    inner[3] = { "a", {} }
    inner = inner[3]
  end
  return x, inner
end

before_each(function() f = fed.open { jid = "alice@xmpp.test/here" } end)

describe("refused", function()
  it("is a stanza that isn't a table", function()
    for _, v in ipairs { 42, "<message/>", true, print, io.stdout, coroutine.create(function() end) } do
      refused(v, "stanza: table expected, got " .. type(v))
    end
    assert.same({ false, "stanza: table expected, got nil" }, { xmpp.contract.stanza(nil) })
    assert.is_false((pcall(f.conn.send, f.conn, nil)))
  end)

  it("is an element without a name", function()
    refused({}, "stanza[1]: string expected, got nil")
    refused({ 42 }, "stanza[1]: string expected, got number")
    refused({ { "message" } }, "stanza[1]: string expected, got table")
    refused({ "message", {}, {} }, "stanza[3][1]: string expected, got nil")
    refused({ "message", { 42 } }, "stanza[2][1]: string expected, got number")
    refused({ "message", {}, "text", { "body", {}, { true } } }, "stanza[4][3][1]: string expected, got boolean")
  end)

  it("is a name that is invalid in XML", function()
    for _, name in ipairs { "a b", "a:b", ":", "1a", "-a", ".a", "a>", "a='1'", "a/", "a\0", "a\n", "\195\151",
      "a\194\160", "{urn:a}b", "!--a", "?a", "a\240\159\152\128" } do
      refused({ "message", {}, { name } }, "stanza[3][1]: not an XML name")
    end
    refused({ "message", {}, { "" } }, "stanza[3][1]: an empty name")
  end)

  it("is an invalid attribute name", function()
    for _, name in ipairs { "a b", "a:b", "xmlns:a", "xml:space", "1a", "a=", "\195\151" } do
      refused({ "iq", {}, { "a", { [name] = "v" } } }, "stanza[3][2]." .. name .. ": not an XML name")
    end
    refused({ "iq", { [""] = "v" } }, "stanza[2].: an empty name")
    refused({ "iq", { ["{urn:a}"] = "v" } }, "stanza[2].{urn:a}: an empty name")
    refused({ "iq", { ["{urn:a}b:c"] = "v" } }, "stanza[2].{urn:a}b:c: not an XML name")
    refused({ "iq", { ["{}a"] = "v" } }, "stanza[2].{}a: a namespace that no attribute can have")
    refused({ "iq", { ["{urn:a"] = "v" } },
      "stanza[2].{urn:a: a '{' without its '}'; a namespaced attribute is \"{uri}local\"")
    for _, key in ipairs { 2, 1.5, true, print } do
      refused({ "iq", { [key] = "v" } }, "stanza[2]: string as an attribute's name expected, got " .. type(key))
    end
  end)

  it("is an attribute that is neither text nor number", function()
    for _, v in ipairs { true, false, print, {}, io.stdout } do
      refused({ "iq", { to = v } }, "stanza[2].to: string expected, got " .. type(v))
      refused({ "iq", {}, "t", { "a", { xmlns = v } } }, "stanza[4][2].xmlns: string expected, got " .. type(v))
    end
  end)

  it("is a child that is neither element, text nor number", function()
    for _, v in ipairs { true, false, print, io.stdout } do
      refused({ "iq", {}, v }, "stanza[3]: element or text expected, got " .. type(v))
      refused({ "iq", {}, { "a", "b", v } }, "stanza[3][3]: element or text expected, got " .. type(v))
      refused({ "iq", v }, "stanza[2]: element or text expected, got " .. type(v))
    end
  end)

  it("is a number without a finite value", function()
    for _, v in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
      refused({ "iq", {}, v }, "stanza[3]: a finite number expected, got number")
      refused({ "iq", { id = v } }, "stanza[2].id: a finite number expected, got number")
    end
  end)

  it("is text that isn't UTF-8", function()
    for _, s in ipairs { "\128", "\255", "a\192\128", "\193\191", "\224\128\175", "\237\160\128", "\237\191\191",
      "\240\128\128\128", "\244\144\128\128", "\245\128\128\128", "\195", "\226\130", "\240\159\152", "\195a" } do
      refused({ "iq", {}, s }, "stanza[3]: bytes that are not UTF-8")
      refused({ "iq", { id = "x" .. s } }, "stanza[2].id: bytes that are not UTF-8")
      refused({ "iq", {}, { "a", { xmlns = s } } }, "stanza[3][2].xmlns: bytes that are not UTF-8")
    end
    assert.is_false((xmpp.contract.stanza { "iq", {}, { "a\255" } }))
    assert.is_false((xmpp.contract.stanza { "iq", { ["a\255"] = "v" } }))
  end)

  it("are the characters that XML forbids, and no others", function()
    for c = 0, 127 do
      local s, fine = string.char(c), c >= 32 or c == 9 or c == 10 or c == 13
      if fine then
        assert.is_true(xmpp.contract.stanza { "message", { id = s }, s })
      else
        refused({ "iq", {}, "a" .. s }, "stanza[3]: " .. FORBIDDEN:format(("U+%04X"):format(c)))
        refused({ "iq", { id = s } }, "stanza[2].id: " .. FORBIDDEN:format(("U+%04X"):format(c)))
      end
    end
    refused({ "iq", {}, "\239\191\190" }, "stanza[3]: " .. FORBIDDEN:format "U+FFFE")
    refused({ "iq", { id = "\239\191\191" } }, "stanza[2].id: " .. FORBIDDEN:format "U+FFFF")
    for _, s in ipairs { "\239\191\189", "\237\159\191", "\238\128\128", "\240\144\128\128", "\244\143\191\191" } do
      accepted({ "message", {}, s }, "<message>" .. s .. "</message>")
    end
  end)

  it("is a top element that isn't a stanza", function()
    for _, name in ipairs { "query", "Message", "IQ", "stream", "stream:error", "message ", "message\0", "r", "a" } do
      refused({ name }, ("stanza: a stanza is a message, a presence or an iq, not '%s'"):format((name:gsub("%z", "?"))))
    end
  end)

  it("is a namespace that the element may not have", function()
    local own = "stanza[2].xmlns: a stanza has the stream's own namespace: leave xmlns out"
    for _, ns in ipairs { "", "jabber:server", "jabber:component:accept", "jabber:client ", "jabber:client\0" } do
      refused({ "message", { xmlns = ns } }, own)
    end
    accepted({ "message", { xmlns = "jabber:client" } }, "<message/>")
    accepted({ "message", {}, { "error", { xmlns = STREAMS } } },
      "<message><error xmlns='http://etherx.jabber.org/streams'/></message>")
    for _, ns in ipairs { "http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/" } do
      refused({ "message", {}, { "a", { xmlns = ns } } }, "stanza[3][2].xmlns: a namespace that no element can have")
    end
    refused({ "message", { ["{http://www.w3.org/2000/xmlns/}a"] = "urn:a" } },
      "stanza[2].{http://www.w3.org/2000/xmlns/}a: a namespace that no attribute can have")
    refused({ "message", { ["{http://www.w3.org/XML/1998/namespace}lang"] = "en" } },
      "stanza[2].{http://www.w3.org/XML/1998/namespace}lang: xml:lang under another name")
  end)

  it("is a hole among the children", function()
    local x = { "iq", {}, nil, "text" } -- its length is 4 or 2, depending on the Lua
    refused(x, #x == 4 and "stanza[3]: element or text expected, got nil"
      or "stanza: a hole in the list of children, before index 4")
    refused({ "iq", {}, "text", [7] = "more" }, "stanza: a hole in the list of children, before index 7")
    refused({ "iq", {}, { "a", [5] = "b" } }, "stanza[3]: a hole in the list of children, before index 5")
  end)

  it("is an unknown key", function()
    refused({ "iq", {}, to = "a@b" }, "stanza: stray key 'to' (attributes go into slot 2)")
    refused({ "iq", {}, { "a", n = 1 } }, "stanza[3]: stray key 'n' (attributes go into slot 2)")
    refused({ "iq", ["2"] = {} }, "stanza: stray key '2' (attributes go into slot 2)") -- a text "2" is no position
    refused({ "iq", {}, ["3"] = { "a" } }, "stanza: stray key '3' (attributes go into slot 2)")
    for _, key in ipairs { 0, -1, 1.5, true } do
      refused({ "iq", {}, [key] = "x" }, "stanza: stray key, a " .. type(key) .. " that is no place in a list")
    end
  end)

  -- A table's hash part has no defined order: the last of the list may come before the key that doesn't belong there.
  it("is each of these, however the table was built", function()
    local seed, strange = 7, 0
    local function chance(n)
      seed = (seed * 1664525 + 1013904223) % 4294967296
      return math.floor(seed / 4294967296 * n) + 1
    end
    for i = 1, 3000 do
      local keys, t, n = { 1, 2, 3, 4, 5, chance(20) + 5, i % 2 == 0 and "k" .. i or nil }, {}, 0
      for j = #keys, 2, -1 do
        local k = chance(j)
        keys[j], keys[k] = keys[k], keys[j]
      end
      for _, k in ipairs(keys) do t[k] = k == 1 and "message" or k == 2 and {} or "text" end
      if chance(2) == 1 then t[chance(4) + 1] = nil end
      for _ in pairs(t) do n = n + 1 end
      local list = true
      for k = 1, n do list = list and rawget(t, k) ~= nil end
      strange = strange + (list and 0 or 1)
      assert.equal(list, (xmpp.contract.stanza(t)))
    end
    assert.is_true(strange > 1000 and strange < 3000)
  end)

  -- RFC 6120 8.2.3. A message's or presence's type is the program's choice, even if no RFC defines it.
  it("is an iq without a type, or with an unknown one", function()
    local none = "stanza[2].type: an iq needs a type: get, set, result or error"
    for _, x in ipairs { { "iq" }, { "iq", {} }, { "iq", { id = "1" } }, { "iq", { "query" } }, { "iq", "text" },
      { "iq", { id = "1" }, { "query", { type = "get" } } }, { "iq", { Type = "get" } } } do
      refused(x, none)
    end
    for _, t in ipairs { "", "GET", "Get", "get ", " set", "chat", "unavailable", "results", "err", 4, 1.5,
      xmpp.jid "set.get" } do
      refused({ "iq", { type = t, id = "1" } },
        ("stanza[2].type: an iq's type is get, set, result or error, not '%s'"):format(tostring(t)))
      for _, name in ipairs { "message", "presence" } do
        accepted({ name, { type = t } }, ("<%s type='%s'/>"):format(name, tostring(t)))
      end
    end
    for _, name in ipairs { "message", "presence" } do accepted({ name }, "<" .. name .. "/>") end
  end)

  it("is an iq response without an id", function()
    for _, t in ipairs { "result", "error" } do
      refused({ "iq", { type = t, to = "bob@xmpp.test/x" }, { "q", { xmlns = "urn:q", id = "1" } } },
        ("stanza[2].id: an iq of type %s needs the id of the iq that it answers"):format(t))
      assert.is_true(xmpp.contract.stanza { "iq", { type = t, id = 7 } })
      assert.is_true(f.conn:send { "iq", { type = t, id = 7 } })
      assert.same({ "iq", { type = t, id = "7" } }, xmpp.xexpr.from_xml(f:sent()))
    end
  end)

  it("is a tree deeper than 128 elements", function()
    local x = nested(128)
    accepted(x, "<message>" .. ("<a>"):rep(126) .. "<a/>" .. ("</a>"):rep(126) .. "</message>")
    refused(nested(129), "stanza" .. ("[3]"):rep(128) .. ": elements deeper than 128 (or a table that contains itself)")
    local _, inner = nested(128)
    inner[3] = "text"
    local y, last = nested(128)
    last[2].to = true
    refused(y, "stanza" .. ("[3]"):rep(127) .. "[2].to: string expected, got boolean")
  end)

  it("is a table that contains itself", function()
    local x = { "message" }
    x[2] = x
    refused(x, "stanza" .. ("[2]"):rep(128) .. ": elements deeper than 128 (or a table that contains itself)")
    local a, b = { "a" }, { "b" }
    a[2], b[2] = b, a
    refused({ "message", {}, a },
      "stanza[3]" .. ("[2]"):rep(127) .. ": elements deeper than 128 (or a table that contains itself)")
  end)

  it("is the whole stanza, for one fault at its end", function()
    f.conn:send { "presence" }
    local x = { "message", { to = "bob@xmpp.test" } }
    for i = 1, 1000 do x[i + 2] = { "item", { n = i }, "text & more" } end
    x[#x + 1] = { "a", { ["xml:lang"] = false } }
    assert.is_false((pcall(f.conn.send, f.conn, x)))
    f.conn:send { "presence" }
    assert.equal("<presence/><presence/>", f:sent())
  end)

  it("is a bad stanza inside a handler, too, and the connection continues", function()
    local told = {}
    xmpp.on_error(function(text) told[#told + 1] = text end)
    f.conn:set_handler(function(x, conn)
      conn:send { "message", { id = x[2].id }, "one" }
      conn:send { "message", {}, "two", print }
    end)
    f:feed "<message id='1'/><message id='2'/>"
    xmpp.on_error(nil)
    assert.equal("<message id='1'>one</message><message id='2'>one</message>", f:sent())
    assert.equal(2, #told)
    assert.truthy(told[1]:find("stanza[4]: element or text expected, got function", 1, true))
  end)
end)

describe("accepted", function()
  it("is a subtree that is shared", function()
    local shared = { "a", { n = 1 }, "t" }
    accepted({ "message", {}, shared, shared, { "b", shared } },
      "<message><a n='1'>t</a><a n='1'>t</a><b><a n='1'>t</a></b></message>")
  end)

  it("is a stanza without attributes, numbers, an attribute table that is empty", function()
    accepted({ "presence" }, "<presence/>")
    accepted({ "message", { "body", "Hi" } }, "<message><body>Hi</body></message>")
    accepted({ "message", "Hi" }, "<message>Hi</message>")
    accepted({ "message", {}, "" }, "<message/>")
    accepted({ "message", { id = 7 }, -1, 1.5, { "a", 0 } }, "<message id='7'>-11.5<a>0</a></message>")
  end)

  it("is an id that is a number, among many other numbers", function()
    for i = 1, 30 do
      local attrs = { id = 1000 + i, to = 1, type = 2, from = 3 }
      for k = 1, i do attrs["n" .. k] = k end
      assert.equal(tostring(1000 + i), f.conn:send_callback({ "message", attrs }, print))
      assert.truthy(f:sent():find(" id='" .. 1000 + i .. "'", 1, true))
    end
  end)

  it("is a million references to one text; too much for the queue is a limit error", function()
    local x = { "message", {} }
    for i = 3, 1000002 do x[i] = "x" end
    assert.is_true(f.conn:send(x))
    assert.equal(#"<message></message>" + 1000000, #f:sent())
    x = { "message", {} }
    local item = { "abcdefghijklmnopqrst" }
    for i = 3, 400002 do x[i] = item end
    assert.is_true(xmpp.contract.stanza(x))
    assert.is_true(f.conn:send(x))
    local ok, err = f.conn:send(x)
    assert.is_nil(ok)
    assert.same({ "limit", "max-queue" }, { err.layer, err.condition })
    assert.equal(#"<message></message>" + 400000 * #"<abcdefghijklmnopqrst/>", #f:sent())
    x[400002] = false
    refused(x, "stanza[400002]: element or text expected, got boolean")
  end)
end)

describe("tables", function()
  local calls

  local function spied(t)
    local function called(name) return function() calls[#calls + 1] = name end end
    local meta = {}
    for _, event in ipairs { "__index", "__newindex", "__len", "__pairs", "__ipairs", "__eq", "__tostring", "__call",
      "__concat", "__lt", "__le", "__unm", "__close", "__name" } do
      meta[event] = called(event)
    end
    return setmetatable(t, meta)
  end

  before_each(function() calls = {} end)

  it("are read raw", function()
    accepted(spied { "message", spied { id = "1" }, spied { "a", "b" }, spied { "c", spied {}, spied { "d" } } },
      "<message id='1'><a>b</a><c><d/></c></message>")
    assert.same({}, calls)
  end)

  it("aren't asked through their metamethods", function()
    refused(setmetatable({}, { __index = { "message" } }), "stanza[1]: string expected, got nil")
    refused(spied {}, "stanza[1]: string expected, got nil")
    refused({ "iq", {}, spied {} }, "stanza[3][1]: string expected, got nil")
    accepted({ "message", setmetatable({}, { __index = { to = "eve" } }) }, "<message/>")
    refused({ "iq", setmetatable({ id = "1" }, { __index = { type = "get" } }) },
      "stanza[2].type: an iq needs a type: get, set, result or error")
    accepted(setmetatable({ "message" }, { __index = function() error "asked" end, __len = function() return 9 end }),
      "<message/>")
    refused({ "iq", {}, setmetatable({}, { __tostring = function() return "text" end }) },
      "stanza[3][1]: string expected, got nil")
    assert.same({}, calls)
  end)

  it("are not changed", function()
    local attrs = { type = "get", to = "xmpp.test" }
    local x = { "iq", attrs, { "ping", { xmlns = "urn:xmpp:ping" } } }
    f.conn:send(x)
    f.conn:send_callback(x, print)
    assert.same({ "iq", { type = "get", to = "xmpp.test" }, { "ping", { xmlns = "urn:xmpp:ping" } } }, x)
    assert.equal(attrs, x[2])
    assert.is_nil(getmetatable(x))
  end)
end)

describe("received", function()
  local function check_plain(x)
    assert.is_nil(getmetatable(x))
    assert.is_string(x[1])
    assert.is_table(x[2])
    assert.is_nil(getmetatable(x[2]))
    for key, v in pairs(x[2]) do assert.same({ "string", "string" }, { type(key), type(v) }) end
    local n = 0
    for _ in pairs(x) do n = n + 1 end
    assert.equal(#x, n)
    for i = 3, #x do
      if type(x[i]) == "table" then check_plain(x[i]) else assert.is_string(x[i]) end
      assert.is_false(type(x[i]) == "string" and (x[i] == "" or type(x[i - 1]) == "string"))
    end
  end

  local rows = {
    { "<message/>", { "message", {} } },
    { "<message></message>", { "message", {} } },
    { "<message xmlns='jabber:client'><body xmlns='jabber:client'/></message>", { "message", {}, { "body", {} } } },
    { "<c:message xmlns:c='jabber:client'><c:body/><body/></c:message>",
      { "message", {}, { "body", {} }, { "body", {} } } },
    { "<iq><x:ping xmlns:x='urn:xmpp:ping'/></iq>", { "iq", {}, { "ping", { xmlns = "urn:xmpp:ping" } } } },
    { "<iq xmlns:a='urn:a' xmlns:b='urn:b'><a:x><a:y/><b:z><a:w/></b:z><v/></a:x></iq>",
      { "iq", {}, { "x", { xmlns = "urn:a" }, { "y", {} }, { "z", { xmlns = "urn:b" }, { "w", { xmlns = "urn:a" } } },
        { "v", { xmlns = "jabber:client" } } } } },
    { "<iq><q xmlns='urn:q'><i/><message xmlns='jabber:client'><body/></message><n xmlns=''><m/></n></q></iq>",
      { "iq", {}, { "q", { xmlns = "urn:q" }, { "i", {} }, { "message", { xmlns = "jabber:client" }, { "body", {} } },
        { "n", { xmlns = "" }, { "m", {} } } } } },
    { "<message from='mallory' z:from='boss' xmlns:z='urn:z'/>",
      { "message", { from = "mallory", ["{urn:z}from"] = "boss" } } },
    { "<message xml:lang='de' lang='en' xml:space='preserve'/>",
      { "message", { ["xml:lang"] = "de", lang = "en",
        ["{http://www.w3.org/XML/1998/namespace}space"] = "preserve" } } },
    { "<message><body>a<![CDATA[<b>]]>&lt;&#99;<![CDATA[]]>d</body></message>",
      { "message", {}, { "body", {}, "a<b><cd" } } },
    { "<message>a<b/><![CDATA[]]>c<![CDATA[d]]>\n</message>", { "message", {}, "a", { "b", {} }, "cd\n" } },
    { "<message> <body> </body>\r\n</message>", { "message", {}, " ", { "body", {}, " " }, "\n" } },
    { "<message id='a\tb\nc&#10;&#13;&#9;&amp;&apos;'/>", { "message", { id = "a b c\n\r\t&'" } } },
    { "<message n='01' b='true'>1</message>", { "message", { n = "01", b = "true" }, "1" } },
  }

  it("is canonical, whatever the pieces", function()
    for _, row in ipairs(rows) do
      for size = 1, 9 do
        local got = {}
        f.conn:set_handler(function(x) got[#got + 1] = x end)
        f:feed(row[1], size)
        assert.same({ row[2] }, got)
        check_plain(got[1])
        assert.same(got[1], xmpp.xexpr.canonical(got[1]))
      end
    end
  end)

  luas.it("lua-cjson", "goes through JSON as it is", function()
    local cjson = require "cjson"
    f:feed "<message to='a'><body>Hi</body></message>"
    local x = f.conn:receive()
    assert.same(x, cjson.decode(cjson.encode(x)))
  end)

  it("is a component's own namespace, too", function()
    local g = fed.open { jid = "echo.xmpp.test", component = true }
    g:feed "<message xmlns:c='jabber:client' from='a@b' to='echo.xmpp.test'><c:body/><body/></message>"
    assert.same({ "message", { from = "a@b", to = "echo.xmpp.test" }, { "body", { xmlns = "jabber:client" } },
      { "body", {} } }, g.conn:receive())
    g.conn:send { "message", { xmlns = "jabber:component:accept", to = "a@b" } }
    assert.equal("<message to='a@b' from='echo.xmpp.test'/>", g:sent())
    assert.is_false((pcall(g.conn.send, g.conn, { "message", { xmlns = "jabber:client" } })))
  end)
end)
