-- response: which stanza is the response to a request, and who gets it; what happens to forged ones. On fed bytes.

local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local expect, hears, note, request, stanza = stage.expect, stage.hears, stage.note, stage.request, stage.stanza

local f, conn

local function notes(name) return stage.notes(conn, name) end
local function set(...) f, conn = ... end

describe("a response", function()
  stage.around(set)

  it("without a handler goes to its waiter, and not to the queue", function()
    conn:stop_handler()
    conn:set_callback(hears "never")
    conn:send_callback(request "a1", notes "a")
    f:feed "<message n='1'/><iq type='result' id='a1'/><message n='2'/>"
    expect "a=a1"
    assert.equal("1", conn:receive()[2].n)
    assert.equal("2", conn:receive()[2].n)
    assert.is_nil(conn:receive())
  end)

  it("with a handler goes to its waiter first, then to the callbacks", function()
    conn:set_callback(hears "cb")
    conn:set_handler()
    conn:send_callback(request "a1", notes "a")
    f:feed "<iq type='result' id='a1' n='1'/>"
    expect "a=1 cb1"
    conn:set_handler(hears "own")
    conn:send_callback(request "a1", notes "a")
    f:feed "<iq type='result' id='a1' n='2'/>"
    expect "a=2 own2"
  end)

  it("is the same table for the waiter and the callbacks", function()
    local got = {}
    local function take(s) got[#got + 1] = s end
    conn:set_callback(take)
    conn:set_handler()
    conn:send_callback(request "a1", take)
    f:feed "<iq type='result' id='a1'/>"
    assert.equal(2, #got)
    assert.equal(got[1], got[2])
  end)

  it("does not overtake what is queued for the handler that its waiter sets", function()
    conn:stop_handler()
    conn:set_callback(hears "cb")
    conn:send_callback(request "a1", function(_, c) c:set_handler() end)
    f:feed "<message n='1'/><message n='2'/><iq type='result' id='a1' n='3'/><message n='4'/>"
    expect "cb1 cb2 cb4"
  end)

  it("isn't dispatched if its waiter removes the handler", function()
    conn:set_callback(hears "cb")
    conn:set_handler()
    conn:send_callback(request "a1", function(_, c) c:stop_handler() end)
    f:feed "<iq type='result' id='a1' n='1'/><message n='2'/>"
    expect ""
    assert.equal("2", conn:receive()[2].n)
    assert.is_nil(conn:receive())
  end)

  it("may close the connection in its waiter", function()
    conn:set_callback(hears "cb")
    conn:set_handler()
    conn:send_callback(request "a1", function(_, c) note(tostring(c:stop())) end)
    f:feed "<iq type='result' id='a1' n='1'/></stream:stream>"
    expect "cb1 true"
  end)
end)

-- From which addresses an answer may come: `to` is the address that was asked, `from` those that may answer.
local B, F, D = "me@xmpp.test", "me@xmpp.test/here", "xmpp.test"
local FROMS = { false, B, F, D, "me@xmpp.test/there", "bob@xmpp.test", "bob@xmpp.test/pc", "bob@xmpp.test/PC",
  "else.test", "else.test/res", "xmpp.test/me", "" }

local RULE = {
  { to = nil, from = { [false] = true, [B] = true, [F] = true, [D] = true } },
  { to = B, from = { [false] = true, [B] = true, [F] = true } },
  { to = F, from = { [false] = true, [F] = true } },
  { to = D, from = { [false] = true, [D] = true } },
  { to = "me@xmpp.test/there", from = { ["me@xmpp.test/there"] = true } },
  { to = "bob@xmpp.test", from = { ["bob@xmpp.test"] = true } },
  { to = "bob@xmpp.test/pc", from = { ["bob@xmpp.test/pc"] = true } },
  { to = "else.test", from = { ["else.test"] = true } },
  { to = "xmpp.test/me", from = { ["xmpp.test/me"] = true } },
}

-- Asks `to`, feeds `bytes`, and returns whether they were the response. If not, they were delivered, and it waits on.
local function is_answered(name, id, to, bytes, from)
  local answered, delivered = 0, 0
  conn:send_callback({ name, { type = name == "iq" and "get" or nil, id = id, to = to, from = from } },
    function(response) answered = answered + (response and 1 or 0) end)
  f:feed(bytes)
  while conn:receive() do delivered = delivered + 1 end
  assert.equal(1, answered + delivered, bytes)
  local waits = not pcall(conn.send_callback, conn,
    { name, { type = name == "iq" and "get" or nil, id = id, from = from } }, function() end)
  assert.equal(delivered == 1, waits, bytes)
  return answered == 1
end

-- A new connection for each case, with which what still waits ends.
local function fresh(options)
  if f then stage.close(f) end
  f = stage.open(options)
  conn = f.conn
end

describe("the sender of a response", function()
  stage.around(set)

  it("must fit the address that was asked", function()
    for _, case in ipairs(RULE) do
      for _, from in ipairs(FROMS) do
        fresh()
        local bytes = stanza("iq", { type = "result", id = "a1", from = from })
        assert.equal(case.from[from] == true, is_answered("iq", "a1", case.to, bytes), tostring(case.to) .. bytes)
      end
    end
  end)

  it("is checked in the same way for messages and presences of any type", function()
    for _, name in ipairs { "message", "presence" } do
      for _, case in ipairs(RULE) do
        for i, from in ipairs(FROMS) do
          fresh()
          local kinds = { false, "result", "error", "get", "unavailable" }
          local bytes = stanza(name, { type = kinds[i % #kinds + 1], id = "a1", from = from })
          assert.equal(case.from[from] == true, is_answered(name, "a1", case.to, bytes), tostring(case.to) .. bytes)
        end
      end
    end
  end)

  it("must use the same name, the same id and a type that answers", function()
    local kinds = { { "result", true }, { "error", true }, { "get", false }, { "set", false }, { false, false },
      { "Result", false }, { "", false } }
    local ids = { { "a1", true }, { "A1", false }, { "a1 ", false }, { "a", false }, { "a11", false }, { "", false },
      { false, false }, { "\195\164", false } }
    local names = { { "iq", true }, { "message", false }, { "presence", false } }
    for _, kind in ipairs(kinds) do
      for _, id in ipairs(ids) do
        for _, name in ipairs(names) do
          for _, peer in ipairs { "bob@xmpp.test/pc", "eve@xmpp.test/pc" } do
            fresh()
            local bytes = stanza(name[1], { type = kind[1], id = id[1], from = peer })
            local expected = kind[2] and id[2] and name[2] and peer == "bob@xmpp.test/pc"
            assert.equal(expected, is_answered("iq", "a1", "bob@xmpp.test/pc", bytes), bytes)
          end
        end
      end
    end
  end)

  it("must use the same id byte for byte, even if it is strange", function()
    for _, id in ipairs { " ", "a'b&c<d>", "\195\164", "a\204\136", "x" .. ("y"):rep(5000) } do
      fresh()
      assert.is_true(is_answered("iq", id, nil, stanza("iq", { type = "result", id = id })))
    end
    fresh()
    assert.is_false(is_answered("iq", "\195\164", nil, stanza("iq", { type = "result", id = "a\204\136" })))
  end)

  it("must use the stream's namespace; another stream namespace ends the stream", function()
    for _, ns in ipairs { "jabber:server", "jabber:component:accept" } do
      fresh()
      conn:send_callback(request "a1", notes "a")
      f:feed("<iq xmlns='" .. ns .. "' type='result' id='a1'/>")
      expect "a!closed"
      assert.matches("<invalid%-namespace ", f:sent())
    end
  end)

  it("must use the stream's namespace for the element itself", function()
    for _, bytes in ipairs {
      "<x:iq xmlns:x='urn:x' type='result' id='a1'/>",
      "<iq xmlns='urn:x' type='result' id='a1'/>",
      "<iq type='result' x:id='a1' xmlns:x='urn:x'/>",
      "<message><iq xmlns='jabber:client' type='result' id='a1'/></message>",
      "<message><iq type='result' id='a1'/></message>",
    } do
      fresh()
      conn:send_callback(request "a1", notes "a")
      f:feed(bytes)
      expect ""
      assert.equal("ready", conn:state(), bytes)
      f:feed "<c:iq xmlns:c='jabber:client' type='result' id='a1' n='1'/>"
      expect "a=1"
    end
  end)

  it("is compared in prepared form", function()
    local asked = { "Bob\195\132@B\195\156CHER.test./Res", "bob\195\164@xn--bcher-kva.test/Res" }
    local answers = { ["bob\195\164@b\195\188cher.test/Res"] = true, ["BOB\195\132@B\195\188cher.TEST/Res"] = true,
      ["boba\204\136@xn--bcher-kva.test/Res"] = true, ["bob\195\164@b\195\188cher.test/res"] = false,
      ["bob\195\164@b\195\188cher.test"] = false, ["boba@b\195\188cher.test/Res"] = false }
    for _, to in ipairs(asked) do
      for from, expected in pairs(answers) do
        fresh()
        local bytes = stanza("iq", { type = "result", id = "a1", from = from })
        assert.equal(expected, is_answered("iq", "a1", to, bytes), bytes)
      end
    end
    for _, case in ipairs {
      { nil, "ME@XMPP.TEST" }, { nil, "Me@xmpp.test/here" }, { nil, "XMPP.TEST" }, { nil, "xmpp.test." },
      { "ME@xmpp.test", false }, { "ME@xmpp.test", F }, { "me@XMPP.TEST/here", false }, { F, "ME@xmpp.test/here" },
      { "XMPP.test.", false }, { "XMPP.test", D },
    } do
      fresh()
      local bytes = stanza("iq", { type = "result", id = "a1", from = case[2] })
      assert.is_true(is_answered("iq", "a1", case[1], bytes), bytes)
    end
    local there = "me@xmpp.test/HERE"
    for _, case in ipairs { { nil, there }, { there, F }, { there, false } } do
      fresh()
      local bytes = stanza("iq", { type = "result", id = "a1", from = case[2] })
      assert.is_false(is_answered("iq", "a1", case[1], bytes), bytes)
    end
  end)

  it("is compared byte for byte if the address is invalid", function()
    for _, to in ipairs { "@", "a@@b", "x/", "" } do
      fresh()
      assert.is_true(is_answered("iq", "a1", to, stanza("iq", { type = "result", id = "a1", from = to })))
      fresh()
      assert.is_false(is_answered("iq", "a1", to, stanza("iq", { type = "result", id = "a1", from = "bob@xmpp.test" })))
      fresh()
      assert.is_false(is_answered("iq", "a1", to, stanza("iq", { type = "result", id = "a1" })))
    end
  end)

  it("that is wrong makes it an ordinary stanza, and the wait continues", function()
    conn:set_callback(hears "cb")
    conn:set_handler()
    conn:send_callback(request("a1", "bob@xmpp.test/pc"), notes "a")
    f:sent()
    f:feed "<iq type='result' id='a1' n='1' from='eve@xmpp.test/pc'/><iq type='result' id='a1' n='2'/>"
    f:feed "<message id='a1' n='3' from='bob@xmpp.test/pc'/>"
    expect "cb1 cb2 cb3"
    assert.equal("", f:sent())
    f:feed "<iq type='get' id='a1' n='4' from='bob@xmpp.test/pc'/>"
    expect "cb4"
    assert.equal("error", stage.sent(f)[1][2].type) -- it was an iq get, which nobody has answered
    f:feed "<iq type='result' id='a1' n='5' from='bob@xmpp.test/pc'/>"
    expect "a=5 cb5"
  end)
end)

describe("the sender of a response to a component", function()
  stage.around(set, { jid = "echo.xmpp.test", component = true })

  local OURS = "echo.xmpp.test"

  it("must be the one asked, and answer to the address that has asked", function()
    local asked = { "bob@xmpp.test", "bob@xmpp.test/pc", "xmpp.test" }
    local senders = { false, OURS, "room@echo.xmpp.test", "room@echo.xmpp.test/x", "Room@ECHO.xmpp.test" }
    local tos = { false, OURS, "room@echo.xmpp.test", "room@echo.xmpp.test/x", "room@echo.xmpp.test/X", "xmpp.test",
      "ROOM@echo.xmpp.test." }
    for _, to in ipairs(asked) do
      for _, sender in ipairs(senders) do
        for _, from in ipairs { false, OURS, "bob@xmpp.test", "bob@xmpp.test/pc", "xmpp.test" } do
          for _, back in ipairs(tos) do
            fresh { jid = OURS, component = true }
            local bytes = stanza("iq", { type = "result", id = "a1", from = from, to = back })
            local ours = tostring(xmpp.jid(sender or OURS))
            local expected = from == to and back and tostring(xmpp.jid(back)) == ours or false
            assert.equal(expected, is_answered("iq", "a1", to, bytes, sender or nil), tostring(sender) .. bytes)
          end
        end
      end
    end
  end)

  it("is the server or the component itself if the request had no address", function()
    for from, expected in pairs { [false] = true, [OURS] = true, ["xmpp.test"] = false, ["bob@xmpp.test"] = false } do
      fresh { jid = OURS, component = true }
      local bytes = stanza("iq", { type = "result", id = "a1", from = from, to = OURS })
      assert.equal(expected, is_answered("iq", "a1", nil, bytes), bytes)
    end
  end)

  it("is asked from the component's own address by default", function()
    conn:send_callback(request("a1", "bob@xmpp.test"), notes "a")
    assert.equal(OURS, stage.sent(f)[1][2].from)
    local mine = request("a2", "bob@xmpp.test")
    mine[2].from = "room@echo.xmpp.test"
    conn:send_callback(mine, notes "b")
    assert.equal("room@echo.xmpp.test", stage.sent(f)[1][2].from)
    f:feed "<iq type='result' id='a2' from='bob@xmpp.test' to='echo.xmpp.test'/>"
    f:feed "<iq type='result' id='a1' from='bob@xmpp.test' to='echo.xmpp.test'/>"
    f:feed "<iq type='result' id='a2' from='bob@xmpp.test' to='room@echo.xmpp.test'/>"
    expect "a=a1 b=a2"
  end)
end)
