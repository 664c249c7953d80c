-- The event "session": its listeners run before what was queued is sent in a new session. With scripted servers.
local managed = require "spec.support.managed"
local peer = require "spec.support.peer"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local turn_until, a, r, message, late, bye = managed.turn_until, managed.a, managed.r, managed.message, managed.late,
  managed.bye
local session, resume, resumed, told = managed.session, managed.resume, managed.resumed, managed.says_message

local AT_ONCE = { min = 0, max = 0 }
local LOST = "S: <failed xmlns='urn:xmpp:sm:3'>"
  .. "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>\n"
local JOIN = "C: <presence to='tea@rooms.test/kettle'/>\n"

-- The server no longer knows the session "one", or `id`; "two", or `new`, follows.
local function new_session(new, id)
  return resume("...", id):gsub("h='...'", "...") .. LOST .. managed.binding
    .. "C: <enable xmlns='urn:xmpp:sm:3' resume='true'/>\n" .. managed.enabled(new or "two")
end

-- Before it: "1" was on its way when the link broke, "2" was sent while there was no link.
local GONE = session() .. message "1" .. told "now" .. "cut\naccept\n"

local certs, p, conn, note, errors

setup(function() certs = managed.certs() end)
teardown(function() managed.remove(certs) end)
before_each(function()
  note, errors = managed.notebook(), {}
  xmpp.on_error(function(_, object, whose) errors[#errors + 1] = { object, whose.what, whose.conn } end)
end)
after_each(function()
  xmpp.on_error(nil)
  if conn then conn:stop(0) end
  if p then p:stop() end
  conn, p = nil, nil
  assert.same({}, errors)
end)

local function send(body)
  assert(conn:send({ "message", { id = body }, { "body", body } }, note.of(body)))
end

local function join()
  assert(conn:send { "presence", { to = "tea@rooms.test/kettle" } })
end

-- Waits until the server sends this text.
local function await(text)
  assert.equal(text, xexpr.text(assert(conn:receive_blocking(30)), "body"))
end

-- Called in a listener.
local function wait_until(what)
  while not what() do xmpp.sleep(0.01) end
end

-- Alice is in the session "one", which is about to end; the other arguments listen to "session".
local function begin(play, opts, ...)
  p = peer.play(play, { certs = certs, grace = 2, timeout = 20 })
  local o = { ca_file = p.ca, resource = "r", reconnect = AT_ONCE }
  for key, value in pairs(opts or {}) do o[key] = value end
  conn = assert(xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, o))
  for _, listener in ipairs { ... } do conn:on("session", listener) end
  local second
  conn:on("state", function(state)
    if state == "waiting" and not second then
      second = true
      send "2"
    end
  end)
  send "1"
  await "now"
end

local function is_told(name, states)
  turn_until(function() return note[name] == states end,
    ("%s: %s, it is: %s"):format(name, states, tostring(note[name])))
end

local function finish()
  for _, name in ipairs { "1", "2" } do assert.equal("written acked", note[name]) end
  assert.is_true(conn:stop(10))
  p:check()
end

describe("a listener to a new session", function()
  it("runs before queued stanzas are sent; what it sends leaves at once", function()
    local heard = {}
    begin(GONE .. new_session() .. JOIN .. told "joined" .. message "meanwhile" .. "wait 0.1\n" .. told "go"
      .. late("1", true) .. late "2" .. message "3" .. r .. a(5) .. bye(2), nil, function(...)
        heard[#heard + 1] = { n = select("#", ...), ... }
        join()
        await "joined"
        local bytes, stanzas = conn:pending()
        heard.pending = { bytes > 100, stanzas }
        send "meanwhile"
        await "go"
        heard.done = true
      end)
    turn_until(function() return heard.done end, "the listener's end")
    send "3"
    is_told("2", "written acked")
    is_told("3", "written acked")
    assert.same({ true, 3 }, heard.pending)
    assert.equal(1, #heard)
    assert.same({ 1, conn }, { heard[1].n, heard[1][1] })
    assert.equal(1, conn:info().rebound)
    assert.equal(0, conn:info().waiting)
    finish()
  end)

  it("is waited for with the others, in whichever order they end", function()
    local ends = {}
    local function waits(text, n)
      return function()
        if n then send(n) end
        xmpp.sleep(tonumber(text))
        ends[#ends + 1] = text
        if text == "0.2" then send "last" end
      end
    end
    begin(GONE .. new_session() .. message "first" .. message "last" .. late "1" .. late "2" .. r .. a(4) .. bye(), nil,
      waits("0.2", "first"), waits "0.01", function() ends[#ends + 1] = "at once" end)
    is_told("2", "written acked")
    assert.same({ "at once", "0.01", "0.2" }, ends)
    finish()
  end)

  it("that throws holds nothing back, and is reported to on_error", function()
    begin(GONE .. new_session() .. JOIN .. late "1" .. late "2" .. r .. a(3) .. bye(), nil, function()
      join()
      error "thrown"
    end)
    is_told("2", "written acked")
    assert.equal(1, #errors)
    assert.matches("thrown", errors[1][1], 1, true)
    assert.same({ "session", conn }, { errors[1][2], errors[1][3] })
    errors = {}
    finish()
  end)

  it("that waits forever holds stanzas back for option timeout at most", function()
    begin(GONE .. new_session() .. JOIN .. r .. a(1) .. "wait 0.5\n" .. late "1" .. late "2" .. r .. a(3) .. bye(),
      { timeout = 1.5 }, function()
        join()
        coroutine.yield()
      end)
    is_told("2", "written acked")
    assert.equal(0, conn:info().waiting)
    finish()
  end)

  it("that stops the connection lets the held stanzas leave first", function()
    local stopped
    begin(GONE .. new_session() .. JOIN .. late "1" .. late "2" .. r .. a(3) .. bye(), nil, function()
      join()
      stopped = { conn:stop(10) }
    end)
    turn_until(function() return stopped end, "the stop")
    assert.same({ true }, stopped)
    finish()
  end)

  it("that was removed holds nothing back", function()
    local function hears() error "it was called" end
    begin(GONE .. new_session() .. late "1" .. late "2" .. r .. a(2) .. bye())
    local offs = { conn:on("session", hears), conn:on("session", hears) }
    for _, off in ipairs(offs) do assert.is_true(off()) end
    is_told("2", "written acked")
    finish()
  end)

  it("may flush, which sends the held stanzas and waits for them", function()
    local flushed
    begin(GONE .. new_session() .. JOIN .. r .. a(1) .. late "1" .. late "2" .. r .. a(3) .. bye(),
      { timeout = 1 }, function()
        join()
        flushed = { conn:flush(30) }
      end)
    turn_until(function() return flushed end, "flush")
    assert.same({ true }, flushed)
    finish()
  end)

  it("isn't called for the first session, nor for a resumed one", function()
    local heard = 0
    begin(session() .. message "1" .. told "now" .. "cut\naccept\n" .. resume(1) .. resumed(1) .. r .. a(1)
      .. message "2" .. r .. a(2) .. bye(1), nil, function() heard = heard + 1 end)
    is_told("2", "written acked")
    assert.equal(0, heard)
    finish()
  end)
end)

describe("a link that breaks while a listener waits", function()
  it("changes nothing if the session is resumed", function()
    local heard = 0
    begin(GONE .. new_session() .. JOIN .. "cut\naccept\n" .. resume(0, "two") .. resumed(1, "two") .. r .. a(1)
      .. message "meanwhile" .. told "go" .. late("1", true) .. late "2" .. r .. a(4) .. bye(1), nil, function()
        heard = heard + 1
        join()
        wait_until(function() return conn:info().resumed == 1 end)
        send "meanwhile"
        await "go"
      end)
    is_told("2", "written acked")
    assert.equal(1, heard)
    finish()
  end)

  it("doesn't lift the timeout: held stanzas leave on the next link", function()
    begin(GONE .. new_session() .. JOIN .. "cut\naccept\n" .. resume(0, "two") .. resumed(1, "two") .. r .. a(1)
      .. late "1" .. late "2" .. r .. a(3) .. bye(), { timeout = 1.5 }, function()
        join()
        coroutine.yield()
      end)
    is_told("2", "written acked")
    finish()
  end)

  it("begins again with the next session; the old call isn't waited for", function()
    local called, first = 0, nil
    begin(GONE .. new_session() .. JOIN .. "cut\naccept\n" .. new_session("three", "two") .. JOIN .. told "one"
      .. message "over" .. "wait 0.2\n" .. told "go" .. late("1", true) .. late "2"
      .. "match \\s*<presence to='tea@rooms.test/kettle'><delay .*?/></presence>\n" .. r .. a(5) .. bye(2), nil,
      function()
        called = called + 1
        local mine = called
        join()
        if mine == 1 then
          wait_until(function() return conn:info().rebound == 2 end)
          await "one"
          first = true
          return
        end
        wait_until(function() return first end)
        send "over"
        await "go"
      end)
    is_told("2", "written acked")
    assert.equal(2, called)
    finish()
  end)
end)

describe("a stanza that is held back", function()
  it("is saved, after those that had left before, and leaves in the next process", function()
    local saved, failed = nil, {}
    begin(GONE .. new_session() .. JOIN .. told "joined" .. "cut\naccept\n" .. resume(1, "two") .. resumed(1, "two")
      .. r .. a(1) .. late "1" .. late "2" .. r .. a(3) .. bye(1), nil, function()
        join()
        await "joined"
        saved = assert(conn:save())
      end)
    turn_until(function() return saved end, "save")
    for i, s in ipairs(saved.stanzas) do failed[i] = s.xml:match "^<(%a+)" .. (s.xml:match " id='(%d)'" or "") end
    assert.same({ "presence", "message1", "message2" }, failed)
    assert.equal(1, saved.written)
    conn = assert(xmpp.resume(saved, "alicepw", { ca_file = p.ca }))
    assert.equal(1, conn:info().resumed)
    assert.is_true(conn:flush(30))
    assert.is_true(conn:stop(10))
    p:check()
  end)

  it("is reported as failed when the connection ends", function()
    local failed = {}
    begin(GONE .. new_session() .. JOIN .. "S: </stream:stream>\nC: </stream:stream>\n", { reconnect = { attempts = 1,
      min = 0, max = 0 } }, function()
        join()
        coroutine.yield()
      end)
    conn:on("failed", function(stanza) failed[#failed + 1] = stanza[1] end)
    turn_until(function() return conn:state() == "closed" end, "the end")
    for _, name in ipairs { "1", "2" } do assert.matches("failed$", note[name]) end
    assert.same({ "presence" }, failed)
  end)
end)
