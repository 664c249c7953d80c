-- What crosses a bound of ours is skipped, since it may be a stranger's, and the stream goes on. And what `send`
-- accepts, a peer with the same bounds accepts, too.
local fed = require "spec.support.fed"
local xmpp = require "xmpp"
local xexpr = xmpp.xexpr

local ME, SM = "alice@xmpp.test/here", "urn:xmpp:sm:3"
local DEEP = ("<a>"):rep(200) .. ("</a>"):rep(200)

local function many(n, text)
  local out = {}
  for i = 1, n do out[i] = text:gsub("#", i) end
  return table.concat(out)
end

local f, stanzas, skipped, errors, off

local function begin(options)
  options = options or {}
  options.jid = options.jid or ME
  f, stanzas, skipped, errors = fed.open(options), {}, {}, {}
  f.conn:set_handler(function(x) stanzas[#stanzas + 1] = x end)
  off = f.conn:on("skipped", function(what, err) skipped[#skipped + 1] = { what, err } end)
  xmpp.on_error(function(text, object) errors[#errors + 1] = { text, object } end)
  f:sent()
end

local function message(inner)
  return "<message from='bob@x.test/y' id='m1' type='chat'>" .. inner .. "</message>"
end

-- The stream goes on normally.
local function goes_on()
  f:feed "<message id='next'><body>Hi</body></message>"
  assert.equal("next", stanzas[#stanzas][2].id)
  assert.equal("ready", f.conn:state())
end

after_each(function() xmpp.on_error(nil) end)

describe("a stanza that exceeds a limit", function()
  local ROWS = {
    ["200 levels"] = { DEEP, 128, "max_depth" },
    ["200,000 levels"] = { ("<a>"):rep(200000) .. ("</a>"):rep(200000), 128, "max_depth" },
    ["257 attributes"] = { "<a" .. many(257, " a#='x'") .. "/>", 256, "max_attributes" },
    ["257 prefixes"] = { "<a" .. many(257, " xmlns:p#='x'") .. "/>", 256, "max_attributes" },
    ["an attribute of 1.1 MB"] = { "<a b='" .. ("x"):rep(1100000) .. "'/>", 1024 * 1024, "max_start_tag" },
    ["a namespace of 60,000 bytes"] = { "<p:b xmlns:p='" .. ("x"):rep(60000) .. "'>" .. ("<p:a/>"):rep(690) .. "</p:b>",
      1024, "max_namespace" },
    ["a megabyte of namespaces in attributes"] = { "<a xmlns:p='" .. ("x"):rep(1000) .. "'>"
      .. many(1100, "<a p:a#=''/>") .. "</a>", 1024 * 1024, "max_namespace" },
    ["500,002 attributes"] = { ("<a b='' c=''/>"):rep(250001), 500000, "max_nodes" },
    ["500,001 elements"] = { ("<a/>"):rep(500001), 500000, "max_nodes" },
    ["11 MB of text"] = { ("x"):rep(11 * 1024 * 1024), 10 * 1024 * 1024, "max_stanza" },
  }
  for name, row in pairs(ROWS) do
    it("is skipped and reported: " .. name, function()
      begin()
      f:feed(message(row[1]))
      assert.equal(1, #skipped)
      assert.same({ name = "message", from = "bob@x.test/y", id = "m1", type = "chat", bound = row[2],
        option = row[3] }, skipped[1][1])
      local err = skipped[1][2]
      assert.same({ "limit", row[3]:gsub("_", "-"), false }, { err.layer, err.condition, err.retry })
      assert.truthy(err.text:find(row[3], 1, true))
      assert.same({ "message", { from = "bob@x.test/y", id = "m1", type = "chat" } }, err.stanza)
      assert.equal("", f:sent())
      assert.same({}, stanzas)
      goes_on()
    end)
  end

  it("is reported to on_error without a listener", function()
    begin()
    off()
    f:feed(message(DEEP))
    assert.equal(1, #errors)
    assert.same({ "limit", "max-depth" }, { errors[1][2].layer, errors[1][2].condition })
    goes_on()
  end)

  it("counts as handled for the server", function()
    begin { sm = true }
    f:feed("<enabled xmlns='" .. SM .. "' id='x'/>" .. message "1" .. message(DEEP) .. message(DEEP) .. "<r xmlns='"
      .. SM .. "'/>")
    assert.equal("<a xmlns='" .. SM .. "' h='3'/>", f:sent())
  end)

  it("is answered if it is an iq get or set", function()
    for _, kind in ipairs { "get", "set" } do
      begin()
      f:feed("<iq type='" .. kind .. "' from='bob@x.test/y' id='q1'>" .. DEEP .. "</iq>")
      local answer = xexpr.from_xml(f:sent())
      assert.same({ "iq", { type = "error", id = "q1", to = "bob@x.test/y" } }, { answer[1], answer[2] })
      assert.same({ "error", { type = "modify" } }, { answer[3][1], answer[3][2] })
      assert.truthy(xexpr.child(answer[3], "policy-violation", "urn:ietf:params:xml:ns:xmpp-stanzas"))
      assert.truthy(xexpr.text(answer[3], "text", "urn:ietf:params:xml:ns:xmpp-stanzas"):find("max_depth", 1, true))
      goes_on()
    end
    for _, start in ipairs { "iq type='result'", "iq type='error'", "iq", "message type='error'", "presence" } do
      begin()
      f:feed("<" .. start .. " from='bob@x.test/y' id='q1'>" .. DEEP .. "</" .. start:match "%a+" .. ">")
      assert.equal("", f:sent())
      assert.equal(1, #skipped)
    end
  end)

  it("is answered even if its own start tag exceeds it", function()
    begin()
    f:feed("<iq" .. many(257, " a#='x'") .. " type='get' from='bob@x.test/y' id='q1'/>")
    assert.equal("q1", xexpr.from_xml(f:sent())[2].id)
    assert.equal("get", skipped[1][1].type)
  end)

  it("isn't answered if its id is too long to be repeated", function()
    begin()
    for _, id in ipairs { ("x"):rep(1025), ("&apos;"):rep(60000) } do
      f:feed("<iq type='get' from='bob@x.test/y' id='" .. id .. "'>" .. DEEP .. "</iq>")
      assert.equal("", f:sent())
    end
    assert.equal(2, #skipped)
    assert.equal(60000, #skipped[2][1].id)
    goes_on()
    f:feed("<iq type='get' from='bob@x.test/y' id='" .. ("x"):rep(1024) .. "'>" .. DEEP .. "</iq>")
    assert.equal(("x"):rep(1024), xexpr.from_xml(f:sent())[2].id)
  end)

  it("is answered by a component from the address that was asked", function()
    begin { jid = "echo.xmpp.test", component = true }
    f:feed("<iq type='get' from='bob@x.test/y' to='a@echo.xmpp.test' id='q1'>" .. DEEP .. "</iq>")
    local answer = xexpr.from_xml(f:sent())
    assert.same({ type = "error", id = "q1", to = "bob@x.test/y", from = "a@echo.xmpp.test" }, answer[2])
  end)

  it("ends the wait for it if it is from the address that was asked", function()
    begin()
    off()
    local done, result, err
    xmpp.spawn(function()
      result, err = f.conn:send_await { "iq", { type = "get", to = "bob@x.test/y", id = "w1" },
        { "q", { xmlns = "urn:q" } } }
      done = true
    end)
    fed.settle()
    f:feed("<iq type='result' from='mallory@x.test/y' id='w1'>" .. DEEP .. "</iq>")
    assert.is_nil(done)
    assert.equal(1, #errors)
    f:feed("<iq type='result' from='bob@x.test/y' id='w1'>" .. DEEP .. "</iq>")
    assert.is_true(done)
    assert.is_nil(result)
    assert.same({ "limit", "max-depth" }, { err.layer, err.condition })
    assert.equal(1, #errors) -- the callback got it, and on_error nothing more
    local told
    f.conn:send_callback({ "iq", { type = "get", id = "w2" }, { "q", { xmlns = "urn:q" } } },
      function(x, _, why) told = { x, why.layer } end)
    f:feed("<iq type='error' id='w2'" .. many(257, " a#='x'") .. "/>")
    assert.same({ nil, "limit" }, told)
  end)

  it("may be reported to a listener that sends, stops or throws", function()
    begin()
    off = f.conn:on("skipped", function() f.conn:send { "presence" }; error "thrown" end)
    f:feed(message(DEEP))
    assert.equal("<presence/>", f:sent())
    assert.truthy(errors[1][1]:find("thrown", 1, true))
    goes_on()
    off()
    f.conn:on("skipped", function() xmpp.spawn(function() f.conn:stop(0) end) end)
    f:feed(message(DEEP))
    assert.equal("closed", f.conn:state())
  end)

  it("is determined by the options", function()
    begin { max_depth = 300, max_attributes = 400, max_nodes = 500, max_start_tag = 3000000, max_namespace = 2000 }
    for _, inner in ipairs { ("<a>"):rep(3) .. ("</a>"):rep(3), "<a" .. many(400, " a#='x'") .. "/>",
      "<a b='" .. ("x"):rep(2900000) .. "'/>", "<a xmlns='" .. ("x"):rep(2000) .. "'/>" } do
      f:feed(message(inner))
    end
    assert.equal(4, #stanzas)
    f:feed(message(("<a/>"):rep(500)))
    assert.same({ 500, "max_nodes" }, { skipped[1][1].bound, skipped[1][1].option })
  end)
end)

describe("a legitimate stanza", function()
  local function taken(inner)
    begin()
    f:feed(inner)
    assert.same({}, skipped)
    assert.equal(1, #stanzas)
    return stanzas[1]
  end

  it("may have a roster of 50,000 contacts in two groups each", function()
    local x = taken("<iq type='result' id='r'><query xmlns='jabber:iq:roster'>" .. many(50000,
      "<item jid='contact#@example.net' name='Contact Number #' subscription='both'><group>Friends</group>"
      .. "<group>Work</group></item>") .. "</query></iq>")
    assert.equal(50002, #x[3])
  end)

  it("may have a list of 55,000 rooms", function()
    local x = taken("<iq type='result' id='r'><query xmlns='http://jabber.org/protocol/disco#items'>" .. many(55000,
      "<item jid='room#@conference.example.net' name='A room with a longer name, number #'/>") .. "</query></iq>")
    assert.equal(55002, #x[3])
  end)

  it("may have a search result of 10,000 people", function()
    local fields = {}
    for _, var in ipairs { "jid", "fn", "first", "last", "nick", "email", "ctry", "locality" } do
      fields[#fields + 1] = "<field var='" .. var .. "'><value>" .. var .. " of #</value></field>"
    end
    local x = taken("<iq type='result' id='r'><query xmlns='jabber:iq:search'><x xmlns='jabber:x:data' type='result'>"
      .. many(10000, "<item>" .. table.concat(fields) .. "</item>") .. "</x></query></iq>")
    assert.equal(10002, #x[3][3])
  end)

  it("may have the streams namespace inside, and an image of 70,000 bytes in an attribute", function()
    local x = taken(message "<x xmlns='http://etherx.jabber.org/streams'><error/></x>")
    assert.same({ "x", { xmlns = "http://etherx.jabber.org/streams" }, { "error", {} } }, x[3])
    x = taken(message("<img src='data:" .. ("x"):rep(70000) .. "'/>"))
    assert.equal(70005, #x[3][2].src)
  end)
end)

describe("a small stanza", function()
  it("costs little memory, however its namespaces are used", function()
    begin()
    f.conn:set_handler(function(x) stanzas[1] = x end)
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    local spaces = many(8, " xmlns:p#='urn:#" .. ("x"):rep(1000) .. "'")
    f:feed(message("<a" .. spaces .. ">"
      .. many(1000, "<p1:a/><p2:a/><p3:a/><p4:a/><p5:a/><p6:a/><p7:a/><p8:a/>") .. "</a>"))
    local kb = collectgarbage "count" - before
    collectgarbage "restart"
    assert.equal(8002, #stanzas[1][3])
    assert.equal("urn:1" .. ("x"):rep(1000), stanzas[1][3][3][2].xmlns)
    assert.truthy(kb < 4000, kb .. " KB") -- it would be 8 MB with a namespace for each
  end)
end)

describe("a stanza that send accepts", function()
  local function nested(n)
    local x = { "a" }
    for _ = 2, n do x = { "a", x } end
    return x
  end
  local function attributes(n, more)
    local out = more or {}
    for i = 1, n do out["a" .. i] = "x" end
    return out
  end

  -- `x` is just within the bound, and comes through unchanged; `more` is refused.
  local function check(x, more, option)
    begin()
    local came
    f.conn:set_handler(function(s) came = s end)
    local stanza = { "message", { to = "bob@x.test" }, x }
    assert.is_true(xmpp.contract.stanza(stanza))
    assert.is_true(f.conn:send(stanza))
    f:feed(f:sent())
    assert.same(xexpr.canonical(stanza), came)
    assert.same({}, skipped)
    local ok, why = pcall(f.conn.send, f.conn, { "message", {}, more })
    assert.is_false(ok)
    assert.truthy(why:find(option, 1, true), why)
    assert.is_false((xmpp.contract.stanza { "message", {}, more }))
    assert.equal("", f:sent())
  end

  it("is accepted when received, for each limit", function()
    check(nested(127), nested(128), "deeper than 128")
    check({ "a", attributes(256) }, { "a", attributes(257) }, "max_attributes")
    check({ "a", { xmlns = ("u"):rep(1024) } }, { "a", { xmlns = ("u"):rep(1025) } }, "max_namespace")
    check({ "a", { ["{" .. ("u"):rep(1024) .. "}b"] = "c" } }, { "a", { ["{" .. ("u"):rep(1025) .. "}b"] = "c" } },
      "max_namespace")
    check({ "a", { b = ("x"):rep(1024 * 1024 - 9) } }, { "a", { b = ("x"):rep(1024 * 1024 - 8) } }, "max_start_tag")
    local wide, wider = { "a" }, { "a" }
    for i = 2, 499999 do wide[i], wider[i] = { "b" }, { "b" } end
    wider[500000] = "c"
    check(wide, wider, "max_nodes")
    local marked, more = { "a" }, { "a" }
    for i = 2, 2001 do marked[i] = { "b", attributes(250) } end
    for i = 2, 2002 do more[i] = { "b", attributes(i < 2002 and 250 or 1) } end
    check(marked, more, "max_nodes")
  end)

  it("may get the three attributes that a server adds", function()
    begin()
    local most = { "message", attributes(256, { to = "bob@x.test" }) }
    assert.is_true(f.conn:send(most))
    f:feed((f:sent():gsub("<message", "<message from='a@x.test/y' xml:lang='en'")))
    assert.same({}, skipped)
    assert.equal("en", stanzas[1][2]["xml:lang"])
    most[2].id = "1"
    assert.is_false((xmpp.contract.stanza(most)))
  end)

  it("may be deeper if the option allows it", function()
    begin { max_depth = 300 }
    assert.is_true(f.conn:send { "message", {}, nested(299) })
    f:feed(f:sent())
    assert.equal(1, #stanzas)
    assert.is_false((pcall(f.conn.send, f.conn, { "message", {}, nested(300) })))
  end)
end)

-- Its answer repeats the id, escaped, and a server ends the stream for a stanza that is too long.
describe("an iq with a long id", function()
  local function ask(id)
    f:feed("<iq type='get' from='bob@x.test/y' id='" .. id .. "'><q xmlns='urn:q'/></iq>")
    return f:sent()
  end

  it("isn't answered by the library", function()
    begin()
    assert.equal(("x"):rep(1024), xexpr.from_xml(ask(("x"):rep(1024)))[2].id)
    assert.equal("", ask(("x"):rep(1025)))
    assert.equal("", ask(("&apos;"):rep(60000)))
    assert.equal(3, #stanzas)
    goes_on()
  end)

  it("can't be answered by the program", function()
    begin()
    local results = {}
    f.conn:set_handler(function(x)
      if x[1] == "iq" then results[#results + 1] = { f.conn:send(xexpr.reply(x)) } end
      stanzas[#stanzas + 1] = x
    end)
    assert.truthy(ask(("x"):rep(1024)):find "type='result'")
    assert.equal("", ask(("x"):rep(1025)))
    assert.same({ true }, results[1])
    local err = results[2][2]
    assert.same({ "stanza", "policy-violation", false }, { err.layer, err.condition, err.retry })
    assert.truthy(err.text:find("1025 bytes", 1, true))
    assert.is_nil((f.conn:send { "message", { type = "error", id = ("x"):rep(1025) } }))
    assert.equal("", f:sent())
    assert.is_true(f.conn:send { "message", { type = "error", id = ("x"):rep(1024) } })
    assert.is_true(f.conn:send { "message", { id = ("x"):rep(1025) } }) -- nobody else chose this one
    f:sent()
    goes_on()
  end)
end)
