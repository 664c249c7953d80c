-- queue: the receive queue: stanzas go there while there is no handler, and leave it in several ways. On fed bytes.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local expect, hears, note, refuses = stage.expect, stage.hears, stage.note, stage.refuses

local f, conn

local function come(...)
  stage.come(f, ...)
end

-- All that is in the queue, as the values of n.
local function drain()
  local all = {}
  for stanza in function() return (conn:receive()) end do all[#all + 1] = stanza[2].n end
  return table.concat(all, " ")
end

-- A coroutine that receives one stanza, and notes it.
local function takes(name, seconds)
  coroutine.wrap(function()
    local stanza, err = conn:receive_blocking(seconds)
    note(stanza and name .. stanza[2].n or name .. "!" .. err.layer)
  end)()
end

local function set(...) f, conn = ... end

describe("receive", function()
  stage.around(set)

  it("returns stanzas in order, and nil alone when there are none", function()
    assert.equal(1, select("#", conn:receive()))
    assert.is_nil(conn:receive())
    come(1, 2)
    assert.same({ "message", { from = "bob@xmpp.test/pc", n = "1" }, { "body", {}, "hi" } }, conn:receive())
    come(3)
    assert.equal("2 3", drain())
    assert.equal(1, select("#", conn:receive()))
    come(4)
    assert.equal("4", drain())
  end)

  it("returns every kind of stanza, and no other element", function()
    f:feed "<message n='1'/><presence n='2'/><iq n='3' type='result'/>"
    f:feed "<r xmlns='urn:x' n='4'/><iq n='5' type='get' id='q'/>"
    assert.equal("1 2 3 5", drain())
    assert.equal("", f:sent()) -- one that takes an iq from the queue must answer it
  end)

  it("doesn't call callbacks", function()
    conn:stop_handler()
    conn:set_callback(hears "never")
    come(1)
    expect ""
    assert.equal("1", drain())
  end)

  it("returns thousands, in order", function()
    local expected = {}
    for i = 1, 5000 do
      expected[i] = tostring(i)
      core.conn.feed(conn, ("<message n='%d'/>"):format(i))
    end
    fed.settle()
    assert.equal(table.concat(expected, " "), drain())
  end)

  it("returns what had arrived before the end, and then always its reason", function()
    come(1, 2)
    f:feed "<message n='3'/></stream:stream><message n='4'/>"
    assert.equal("closed", conn:state())
    for i = 1, 3 do
      local stanza, err = conn:receive()
      assert.equal(tostring(i), stanza[2].n)
      assert.is_nil(err)
    end
    for _ = 1, 3 do
      local stanza, err = conn:receive()
      assert.is_nil(stanza)
      assert.equal("closed", err.layer)
      assert.equal("closed-by-server", err.condition)
      stanza, err = conn:receive_blocking()
      assert.is_nil(stanza)
      assert.equal("closed", err.layer)
    end
  end)

  it("returns what comes while the connection closes", function()
    coroutine.wrap(function() note(tostring(conn:stop())) end)()
    come(1)
    assert.equal("1", drain())
    assert.equal(1, select("#", conn:receive()))
    f:feed "</stream:stream>"
    expect "true"
    local _, err = conn:receive()
    assert.equal("closed", err.layer)
    assert.equal("stopped", err.condition)
  end)

  it("returns what came before the stream broke", function()
    f:feed "<message n='1'/><message n='2'/><message n='3'></presence>"
    assert.equal("closed", conn:state())
    assert.equal("1 2", drain())
    local _, err = conn:receive()
    assert.equal("closed", err.layer)
    assert.equal("not-well-formed", err.condition)
  end)

  it("requires a connection", function()
    refuses("bad argument #1 to 'receive'", function() xmpp.receive {} end)
    refuses("#1 to 'receive_blocking' (connection expected, got nil)", function() xmpp.receive_blocking() end)
  end)
end)

describe("receive_blocking", function()
  stage.around(set)

  it("returns what is there already", function()
    come(1, 2)
    assert.equal("1", conn:receive_blocking()[2].n)
    assert.equal("2", conn:receive_blocking(0)[2].n)
  end)

  it("waits on the main thread", function()
    xmpp.after(0, function() core.conn.feed(conn, "<message n='1'/><message n='2'/>") end)
    assert.equal("1", conn:receive_blocking(20)[2].n)
    assert.equal("2", drain())
  end)

  it("waits in coroutines, which are served in order", function()
    takes "a"
    takes "b"
    takes "c"
    come(1, 2, 3, 4)
    expect "a1 b2 c3"
    assert.equal("4", drain())
  end)

  it("may be called again and again by one coroutine", function()
    coroutine.wrap(function()
      while true do
        local stanza, err = conn:receive_blocking()
        if not stanza then return note(err.layer) end
        note(stanza[2].n)
      end
    end)()
    come(1, 2)
    come(3)
    f:feed "<message n='4'/></stream:stream>"
    expect "1 2 3 4 closed"
  end)

  it("gives up after its timeout, and leaves the next stanza to others", function()
    takes("a", 0)
    takes "b"
    fed.settle()
    expect "a!timeout"
    come(1, 2)
    expect "b1"
    assert.equal("2", drain())
    local stanza, err = conn:receive_blocking(0)
    assert.is_nil(stanza)
    assert.equal("timeout", err.layer)
    come(3)
    assert.equal("3", drain())
  end)

  it("with a timeout of 0 still makes a turn, so it can poll", function()
    core.conn.feed(conn, "<message n='1'/>")
    local stanza
    for _ = 1, 3 do stanza = stanza or conn:receive_blocking(0) end
    assert.equal("1", stanza[2].n)
  end)

  it("with an infinite timeout waits until the connection ends", function()
    takes("a", math.huge)
    takes("b", math.huge)
    come(1)
    f:feed "</stream:stream>"
    expect "a1 b!closed"
  end)

  it("inside a callback waits for what comes after the handler is removed", function()
    conn:set_handler(hears("own", function(_, c)
      note("took" .. c:receive_blocking()[2].n)
    end))
    come(1)
    conn:stop_handler()
    come(2, 3)
    expect "own1 took2"
    assert.equal("3", drain())
  end)

  it("is served before a callback that began to wait later", function()
    conn:set_handler(hears("own", function(_, c)
      c:stop_handler()
      note("took" .. c:receive_blocking()[2].n)
    end))
    core.conn.feed(conn, "<message n='1'/><message n='2'/><message n='3'/>")
    assert.equal("2", conn:receive_blocking(20)[2].n)
    fed.settle()
    expect "own1 took3"
  end)

  it("on the main thread lets callbacks and tasks go on", function()
    local other = stage.open { jid = "other@xmpp.test/x" }
    other.conn:set_callback(hears("cb", function()
      xmpp.sleep(0)
      core.conn.feed(conn, "<message n='9'/>")
    end))
    other.conn:set_handler()
    xmpp.spawn(function() core.conn.feed(other.conn, "<message n='1'/>") end)
    assert.equal("9", conn:receive_blocking(20)[2].n)
    expect "cb1"
  end)

  it("refuses an invalid timeout", function()
    refuses("seconds expected, got string", function() conn:receive_blocking("1") end)
    refuses("seconds expected, got -0.5", function() conn:receive_blocking(-0.5) end)
    refuses("seconds expected, got ", function() conn:receive_blocking(0 / 0) end)
  end)
end)

describe("a handler that is set later", function()
  stage.around(set)

  it("gets what is queued first, in order, and then what comes", function()
    come(1, 2)
    core.conn.feed(conn, "<message n='3'/><message n='4'/>") -- not read yet
    conn:set_handler(hears "own")
    expect "" -- only when the loop turns
    fed.settle()
    come(5)
    expect "own1 own2 own3 own4 own5"
    assert.is_nil(conn:receive())
  end)

  it("passes it to the callbacks, with their filters, if it is the default one", function()
    conn:set_callback(hears "all")
    conn:set_callback(hears "message", { name = "message" })
    conn:set_callback_once(hears("once", function() return true end))
    come(1)
    f:feed "<presence n='2'/>"
    conn:set_handler()
    come(3)
    expect "all1 message1 once1 all2 all3 message3"
  end)

  it("gets what receive has left, and leaves nothing to it", function()
    come(1, 2, 3)
    assert.equal("1", conn:receive()[2].n)
    conn:set_handler(hears "own")
    assert.equal(1, select("#", conn:receive()))
    fed.settle()
    expect "own2 own3"
  end)

  it("gets an iq from the queue, which is answered if no callback does", function()
    f:feed "<iq type='get' id='q1' from='bob@xmpp.test/pc'/><iq type='set' id='q2' from='bob@xmpp.test/pc'/>"
    assert.equal("", f:sent())
    conn:set_handler(function(stanza, c)
      if stanza[2].id == "q2" then c:send { "iq", { type = "result", id = "q2", to = stanza[2].from } } end
    end)
    fed.settle()
    local all = stage.sent(f)
    assert.equal(2, #all)
    assert.same({ type = "error", id = "q1", to = "bob@xmpp.test/pc" }, all[1][2])
    assert.same({ type = "result", id = "q2", to = "bob@xmpp.test/pc" }, all[2][2])
  end)

  it("may remove itself in the middle: the rest stays queued", function()
    come(1, 2, 3)
    conn:set_handler(hears("own", function(stanza, c)
      if stanza[2].n == "2" then c:stop_handler() end
    end))
    fed.settle()
    come(4)
    expect "own1 own2"
    assert.equal("3 4", drain())
  end)

  it("may wait: the rest is dispatched meanwhile", function()
    come(1, 2)
    conn:set_handler(hears("own", function(stanza)
      stage.wait()
      note("over" .. stanza[2].n)
    end))
    fed.settle()
    expect "own1 own2"
    stage.go(2)
    expect "over1 over2"
  end)

  it("may throw: the rest is dispatched all the same", function()
    come(1, 2)
    conn:set_handler(hears("own", function() error "boom" end))
    fed.settle()
    expect "own1 own2"
    assert.equal(2, #stage.take_errors())
  end)

  it("gets what is queued even if the connection has closed, by xmpp.run", function()
    come(1, 2)
    f:feed "</stream:stream>"
    conn:set_handler(hears "own")
    xmpp.run()
    expect "own1 own2"
    local stanza, err = conn:receive()
    assert.is_nil(stanza)
    assert.equal("closed", err.layer)
  end)

  it("is bounded by the count of xmpp.step", function()
    come(1, 2, 3)
    conn:set_handler(hears "own")
    assert.equal(2, xmpp.step(0, 2))
    expect "own1 own2"
    assert.equal(0, xmpp.timeout())
    assert.equal(1, xmpp.step(0))
    expect "own3"
  end)

  it("does not get what receive_blocking waits for", function()
    takes "a"
    come(1, 2)
    conn:set_handler(hears "own")
    come(3)
    expect "a1 own2 own3"
  end)
end)

describe("a handler that is removed", function()
  stage.around(set)

  it("leaves what comes to the queue, until there is one again", function()
    conn:set_handler(hears "own")
    come(1)
    conn:stop_handler()
    come(2, 3)
    assert.equal("2", conn:receive()[2].n)
    conn:set_handler(hears "new")
    come(4)
    expect "own1 new3 new4"
  end)

  it("leaves callbacks installed", function()
    conn:set_callback(hears "cb")
    conn:set_handler()
    come(1)
    conn:stop_handler()
    come(2)
    conn:set_handler()
    fed.settle()
    expect "cb1 cb2"
  end)
end)

describe("a full receive queue", function()
  stage.around(set, { jid = stage.ME, max_queue = 4096 })

  local N = 200

  -- The stanzas come in separate pieces, as from a network.
  local function flood()
    for i = 1, N do f:feed(("<message n='%d'><body>%s</body></message>"):format(i, ("x"):rep(100))) end
  end

  it("stops reading; nothing is lost, and order is kept", function()
    local expected, got, most = {}, {}, 0
    flood()
    repeat -- turns the loop sometimes
      local n = 0
      for stanza in function() return (conn:receive()) end do
        n = n + 1
        got[#got + 1] = stanza[2].n
      end
      most = math.max(most, n)
      fed.settle()
    until n == 0
    for i = 1, N do expected[i] = tostring(i) end
    assert.equal(table.concat(expected, " "), table.concat(got, " "))
    assert.truthy(most > 1 and most < N / 2, most)
  end)

  it("continues reading for a handler", function()
    flood()
    local n = 0
    conn:set_handler(function() n = n + 1 end)
    fed.settle()
    assert.equal(N, n)
  end)

  it("continues reading for a response that is waited for", function()
    flood()
    f:feed "<iq type='result' id='a1' n='7'/>"
    local response = conn:send_await({ "iq", { type = "get", id = "a1" } }, 20)
    assert.equal("7", response[2].n)
    assert.equal(tostring(N), drain():match "%d+$")
  end)

  it("continues reading for the end of the stream that stop waits for", function()
    flood()
    f:feed "</stream:stream>"
    assert.equal("ready", conn:state()) -- the stream's end hasn't been read yet
    assert.is_true(conn:stop(20))
    assert.equal("closed", conn:state())
    assert.equal(tostring(N), drain():match "%d+$")
  end)
end)

it("Very many that wait for a stanza each get one", function()
  local fresh, got, most = fed.open { jid = "alice@xmpp.test/many" }, 0, 20000
  for _ = 1, most do
    coroutine.wrap(function()
      if fresh.conn:receive_blocking(1000) then got = got + 1 end
    end)()
  end
  fresh:feed(("<message/>"):rep(most))
  assert.equal(most, got)
  fresh:feed "</stream:stream>"
end)
