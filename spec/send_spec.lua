-- send: what is reported of a stanza is true: one that was refused, or for which memory ran out, is never sent, and its
-- listener gets nothing of other stanzas; one that can't be delivered is always reported; flush waits for what was sent
-- before it. On fed bytes.
local core = require "xmpp.core"
local fed = require "spec.support.fed"
local pace = require "spec.support.pace"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local LUA_PC = os.getenv "LUA_PC" or (rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "[%d.]+")

local f, conn, errors

local function open(options)
  local o = { jid = "alice@xmpp.test/here" }
  for name, value in pairs(options or {}) do o[name] = value end
  f = fed.open(o)
  conn = f.conn
end

-- With stream management, where the test acknowledges one stanza after the other.
local function open_managed(options)
  local o = { sm = true, resumable = true }
  for name, value in pairs(options or {}) do o[name] = value end
  open(o)
  f:sent()
  f:feed "<enabled xmlns='urn:xmpp:sm:3' id='one' resume='true'/>"
end

local function ack(h)
  f:sent()
  f:feed(("<a xmlns='urn:xmpp:sm:3' h='%d'/>"):format(h))
end

local function message(id) return { "message", { id = id } } end

-- A listener, and its calls: "written acked", "failed:ID" (the id of the stanza that it got).
local function listener()
  local heard = {}
  return { on = function(state, err) heard[#heard + 1] = state .. (err and ":" .. err.stanza[2].id or "") end }, heard
end

before_each(function()
  errors = {}
  xmpp.on_error(function(text, object) errors[#errors + 1] = type(object) == "table" and object or text end)
end)

after_each(function()
  xmpp.on_error(nil)
  if conn and conn:state() ~= "closed" then
    conn:on("failed", function() end)
    f:feed "</stream:stream>"
  end
  f, conn = nil, nil
  assert.same({}, errors)
end)

describe("a stanza that is refused", function()
  -- How sending may fail, and what it returns then.
  local WAYS = {
    { "raises", function(opts) return pcall(conn.send, conn, { "message", { to = true } }, opts) end },
    { "is over the limit", function(opts)
      local ok, err = conn:send({ "message", {}, { "body", ("x"):rep(2000) } }, opts)
      assert.equal("max-queue", err.condition)
      return ok
    end },
    { "is no stanza", function(opts) return pcall(conn.send, conn, { "body" }, opts) end },
  }
  for _, way in ipairs(WAYS) do
    it("because it " .. way[1] .. " leaves no listener for the next one", function()
      open { max_queue = 1000 }
      local opts, heard = listener()
      local failed = {}
      conn:on("failed", function(stanza) failed[#failed + 1] = stanza[2].id end)
      assert.is_falsy((way[2](opts)))
      assert(conn:send(message "second"))
      f:feed "</stream:stream>"
      assert.same({}, heard)
      assert.same({ "second" }, failed)
    end)

    it("because it " .. way[1] .. " doesn't affect other listeners", function()
      open { max_queue = 1000 }
      local first, heard_first = listener()
      local third, heard_third = listener()
      local refused, nothing = listener()
      assert(conn:send(message "first", first))
      assert.is_falsy((way[2](refused)))
      assert(conn:send(message "third", third))
      f:feed "</stream:stream>"
      assert.same({ "failed:first" }, heard_first)
      assert.same({ "failed:third" }, heard_third)
      assert.same({}, nothing)
    end)

    -- If the count of listeners weren't balanced, the connection would never be collected.
    it("because it " .. way[1] .. " doesn't keep the connection alive", function()
      open { max_queue = 1000 }
      local weak = setmetatable({ conn }, { __mode = "v" })
      assert.is_falsy((way[2]((listener()))))
      f, conn = nil, nil
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
    end)
  end

  it("on a closed connection leaves no listener either", function()
    open()
    f:feed "</stream:stream>"
    local opts, heard = listener()
    local ok, err = conn:send(message "late", opts)
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.same({}, heard)
  end)

  it("because it is larger than the queue gets an error that says so, without retry", function()
    open { max_queue = 1000 }
    local big = { "message", {}, { "body", ("x"):rep(1000) } }
    for _, give in ipairs { conn.send, function(c, x) return c:send_callback(x, function() end) end } do
      local ok, err = give(conn, big)
      assert.is_nil(ok)
      assert.equal("limit", err.layer)
      assert.is_false(err.retry)
      assert.matches("over max_queue %(1000%)", err.text)
      assert.matches("larger max_queue", err.text)
      assert.is_nil(err.text:find("slow down", 1, true))
    end
    while conn:send(message "small") do end
    local _, err = conn:send(message "small")
    assert.is_true(err.retry)
    assert.matches("slow down", err.text)
    assert.equal("<message id='small'/>", f:sent():sub(1, 21))
  end)
end)

-- RFC 6120 8.1.3, 8.2.3. refusals_spec has what is refused.
describe("an iq without an id", function()
  local function attributes()
    local x = assert(xmpp.xexpr.from_xml(f:sent()))
    assert.equal("iq", x[1])
    return x[2]
  end

  for _, kind in ipairs { "client", "component" } do
    local options = kind == "component" and { jid = "echo.xmpp.test", component = true } or nil
    local from = options and "echo.xmpp.test" or nil

    it("that is a request gets one on the wire, and only there: a " .. kind .. "'s", function()
      open(options)
      local seen = {}
      for i, type in ipairs { "get", "set", "get", "set" } do
        local x = { "iq", { type = type, to = "bob@xmpp.test" }, i > 2 and { "q", { xmlns = "urn:q" } } or nil }
        assert.is_true(conn:send(x))
        assert.is_nil(x[2].id)
        local sent = attributes()
        assert.matches("^[%w_-]+$", sent.id)
        assert.is_nil(seen[sent.id])
        seen[sent.id] = true
        assert.same({ type = type, to = "bob@xmpp.test", from = from, id = sent.id }, sent)
      end
    end)

    it("that has one keeps it: a " .. kind .. "'s", function()
      open(options)
      for _, id in ipairs { "mine", 7, "" } do
        assert.is_true(conn:send { "iq", { type = "set", to = "b@c", id = id } })
        assert.same({ type = "set", to = "b@c", from = from, id = tostring(id) }, attributes())
      end
    end)

    it("is answered by the id that it was given: a " .. kind .. "'s send_callback", function()
      open(options)
      local got
      local id = assert(conn:send_callback({ "iq", { type = "get", to = "bob@xmpp.test" } },
        function(x) got = x end))
      assert.same({ type = "get", to = "bob@xmpp.test", from = from, id = id }, attributes())
      f:feed(("<iq type='result' id='%s' from='bob@xmpp.test'%s/>"):format(id, from and " to='" .. from .. "'" or ""))
      assert.equal(id, got[2].id)
    end)

    it("gets one, but messages and presences don't: a " .. kind .. "'s", function()
      open(options)
      for _, name in ipairs { "message", "presence" } do
        for _, type in ipairs { "get", "set", "result", "error" } do
          assert.is_true(conn:send { name, { type = type } })
          local sent = assert(xmpp.xexpr.from_xml(f:sent()))
          assert.same({ name, { type = type, from = from } }, sent)
        end
      end
    end)

    it("that is refused doesn't affect the next one: a " .. kind .. "'s", function()
      open(options)
      for _, attributes_of in ipairs { { type = "result" }, { type = "x", id = "1" }, { id = "1" } } do
        local x = { "iq", attributes_of }
        local opts, heard = listener()
        assert.is_false((pcall(conn.send, conn, x, opts)))
        assert.is_false((pcall(conn.send_callback, conn, x, print)))
        assert.equal("", f:sent())
        assert.same({}, heard)
      end
      assert.is_true(conn:send { "iq", { type = "result", id = "1" } })
      assert.same({ type = "result", id = "1", from = from }, attributes())
    end)
  end

  it("is an ordinary element for to_xml", function()
    for _, type in ipairs { "get", "result", "nonsense" } do
      assert.equal(("<iq type='%s'/>"):format(type), xmpp.xexpr.to_xml { "iq", { type = type } })
    end
    assert.equal("<iq/>", xmpp.xexpr.to_xml { "iq" })
    assert.is_true((xmpp.contract.stanza { "iq", { type = "get" } }))
  end)
end)

describe("flush", function()
  -- The results of a flush in a coroutine of its own.
  local function flushes(seconds)
    local result = {}
    xmpp.spawn(function() result[1], result[2] = conn:flush(seconds) end)
    fed.settle()
    return result
  end

  it("waits for stanzas sent before it, whatever is sent meanwhile", function()
    open_managed()
    for i = 1, 3 do assert(conn:send(message("a" .. i))) end
    local early = flushes()
    for i = 1, 3 do assert(conn:send(message("b" .. i))) end
    local late = flushes()
    ack(2)
    assert.same({}, early)
    assert(conn:send(message "c"))
    ack(3)
    assert.same({ true }, early)
    assert.same({}, late)
    for h = 4, 5 do
      assert(conn:send(message("d" .. h)))
      ack(h)
      assert.same({}, late)
    end
    ack(6)
    assert.same({ true }, late)
    assert.same({ true }, flushes(0.01) and late)
    assert.equal(3, select(2, conn:pending()))
  end)

  it("times out when nothing is acknowledged", function()
    open_managed()
    assert(conn:send(message "a"))
    local result = flushes(0)
    fed.settle()
    assert.is_nil(result[1])
    assert.equal("timeout", result[2].layer)
    ack(1)
  end)

  -- The answer to a request that was sent before would say nothing: it would take until the next regular one, 250 ms.
  it("requests one acknowledgement, after what was sent before", function()
    local R = "<r xmlns='urn:xmpp:sm:3'/>"
    open_managed()
    f:sent()
    local done = {}
    for i = 1, 2 do
      xmpp.spawn(function()
        conn:send(message(i))
        done[i] = conn:flush(60)
      end)
    end
    fed.settle()
    assert.equal("<message id='1'/>" .. R .. "<message id='2'/>" .. R, f:sent())
    conn:send(message(3)) -- while that one is on its way
    local third = flushes()
    assert.equal("<message id='3'/>" .. R, f:sent())
    local fourth = flushes()
    assert.equal("", f:sent())
    ack(2)
    assert.same({ true, true }, done)
    assert.same({}, third)
    ack(3)
    assert.same({ true, true }, { third[1], fourth[1] })
    assert.equal("", f:sent())
  end)

  it("that was begun without a link returns at once when there is one", require "xmpp.testing".around(function(t)
    t:cut()
    t.conn:send(message "1")
    local flushed
    xmpp.spawn(function() flushed = t.conn:flush(60) end)
    t:resume()
    t:expect(message "1")
    assert.is_true(flushed)
  end))

  it("returns at once if nothing was sent", function()
    open_managed()
    assert.same({ true }, flushes())
  end)

  it("waits only for the kernel without stream management", function()
    open()
    assert(conn:send(message "a"))
    local result = flushes()
    assert.same({}, result)
    f:sent()
    assert(conn:send(message "b"))
    fed.settle()
    assert.same({ true }, result)
    f:sent()
  end)
end)

describe("a stanza that can't be delivered", function()
  local CONFLICT = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    .. "</stream:stream>"

  local function ids(list)
    local all = {}
    for i, err in ipairs(list) do all[i] = err.stanza[2].id end
    return all
  end

  it("at an unexpected end is reported to on_error, each one, with the reason", function()
    open_managed()
    conn:set_handler(function() end)
    for i = 1, 3 do assert(conn:send(message("m" .. i))) end
    ack(1)
    f:feed(CONFLICT)
    assert.equal("closed", conn:state())
    assert.same({ "m2", "m3" }, ids(errors))
    for _, err in ipairs(errors) do
      assert.equal("closed", err.layer)
      assert.equal("conflict", err.condition)
      assert.matches("not known to have arrived", err.text)
    end
    errors = {}
  end)

  -- Each cycle goes through everything that the program has.
  it("is one of many that are reported in few cycles of the collector", function()
    open_managed { max_queue = 2 ^ 24 }
    conn:set_handler(function() end)
    local n, reported, cycles = 2000, 0, 0
    local waiting = {}
    local function watch()
      local function again() cycles = cycles + 1 watch() end
      local proxy = newproxy and newproxy(true) -- luacheck: ignore 113
      if proxy then getmetatable(proxy).__gc = again else setmetatable({}, { __gc = again }) end
    end
    conn:on("failed", function() reported = reported + 1 end)
    for i = 1, n do
      assert(conn:send(message("m" .. i)))
      waiting[i] = coroutine.create(function() coroutine.yield() end)
      assert(coroutine.resume(waiting[i]))
    end
    watch()
    f:feed(CONFLICT)
    for _ = 1, n do xmpp.step(0) end
    assert.equal(n, reported)
    assert.is_true(cycles < n / 10, cycles)
  end)

  it("is reported to its listener, and then not to on_error", function()
    open_managed()
    local heard = {}
    local opts, own = listener()
    conn:on("failed", function(stanza, err) heard[#heard + 1] = stanza[2].id .. " " .. err.condition end)
    assert(conn:send(message "m1"))
    assert(conn:send(message "m2", opts))
    f:feed(CONFLICT)
    assert.same({ "m1 conflict" }, heard)
    assert.same({ "failed:m2" }, own)
  end)

  it("without stream management is one that had not left", function()
    open { jid = "echo.xmpp.test", component = true }
    assert(conn:send { "message", { id = "left", to = "a@b" } })
    f:sent()
    assert(conn:send { "message", { id = "stayed", to = "a@b" } })
    f:feed(CONFLICT)
    assert.same({ "stayed" }, ids(errors))
    errors = {}
  end)

  it("after stop is reported by its result, and to listeners", function()
    for _, listens in ipairs { false, true } do
      open_managed()
      local heard = {}
      if listens then conn:on("failed", function(stanza) heard[#heard + 1] = stanza[2].id end) end
      assert(conn:send(message "m1"))
      local ok, err
      xmpp.spawn(function() ok, err = conn:stop(0) end)
      repeat xmpp.step(0.01) until err or ok
      assert.is_nil(ok)
      assert.matches("1 stanza is not known to have arrived", err.text)
      assert.same(listens and { "m1" } or {}, heard)
      assert.same({}, errors)
    end
  end)

  it("isn't reported if it is the library's own, or a request, whose waiter gets the error", function()
    open_managed()
    conn:set_handler()
    f:feed "<iq type='get' id='q' from='bob@xmpp.test/x'><x xmlns='urn:x'/></iq>" -- answered with service-unavailable
    local told
    assert(conn:send_callback({ "iq", { type = "get" }, { "q", { xmlns = "urn:q" } } },
      function(_, _, err) told = err end))
    f:feed(CONFLICT)
    assert.equal("closed", told.layer)
    assert.same({}, errors)
  end)

  it("continues with a saved session, and isn't reported here", function()
    open_managed()
    local opts, heard = listener()
    conn:on("failed", function(stanza) heard[#heard + 1] = stanza[2].id end)
    assert(conn:send(message "m1"))
    assert(conn:send(message "m2", opts))
    local saved = assert(core.conn.save(conn))
    fed.settle()
    assert.equal("closed", conn:state())
    assert.same({}, heard)
    assert.equal(2, #saved.stanzas)
  end)
end)

-- Stanzas that are only meant for their session.
describe("a stanza with session = true", function()
  local testing = require "xmpp.testing"
  local function presence(id) return { "presence", { id = id, to = "tea@rooms.test/kettle" } } end

  it("isn't sent in another session, without a report; other stanzas are", testing.around(function(t)
    local failed = {}
    t.conn:on("failed", function(stanza) failed[#failed + 1] = stanza[2].id end)
    t:cut()
    assert.is_true(t.conn:send(presence "before", { session = true }))
    assert.is_true(t.conn:send(message "kept", { session = false }))
    assert.is_true(t.conn:send({ "iq", { id = "5", type = "set", to = "x.test" }, { "q", { xmlns = "urn:q" } } },
      { session = true }))
    assert.equal(3, select(2, t.conn:pending()))
    t:reconnect { new = true }
    assert.equal("kept", t:expect({ "message" })[2].id)
    t:nothing()
    t:advance(1)
    assert.same({}, failed)
    assert.equal(0, select(2, t.conn:pending()))
  end))

  it("is reported to its own listener only", testing.around(function(t)
    local opts, heard = listener()
    local why
    opts.session = true
    local on = opts.on
    function opts.on(state, err) why = err on(state, err) end
    t:cut()
    assert.is_true(t.conn:send(presence "p", opts))
    t:reconnect { new = true }
    assert.same({ "failed:p" }, heard)
    assert.same({ "closed", "session-lost", true }, { why.layer, why.condition, why.retry })
    assert.matches("not sent in another", why.text)
  end))

  it("is sent again if the session is resumed", testing.around(function(t)
    local opts, heard = listener()
    opts.session = true
    t:cut()
    assert.is_true(t.conn:send(presence "p", opts))
    t:reconnect()
    t:expect(presence "p")
    assert.same({ "written", "acked" }, heard)
  end))

  it("may be waited for by flush, which returns when it is dropped", testing.around(function(t)
    t:cut()
    assert.is_true(t.conn:send(presence "p", { session = true }))
    local flushed = xmpp.spawn(function() return t.conn:flush(100) end)
    t:reconnect { new = true }
    assert.is_true(flushed:wait(1))
  end))

  it("that is left at the connection's end is reported to its own listener only", function()
    local heard = {}
    open_managed()
    assert(conn:send(presence "quiet", { session = true }))
    assert(conn:send(presence "p", { session = true, on = function(state, err)
      heard[#heard + 1] = state .. " " .. err.condition
    end }))
    f:feed "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    assert.equal("closed", conn:state())
    assert.same({ "failed conflict" }, heard)
  end)

  -- That is an error of the program's, not a lost session.
  it("for which the server ends the stream is reported as any other", function()
    open_managed()
    assert(conn:send({ "presence", { id = "forged", from = "eve@xmpp.test" } }, { session = true }))
    f:sent()
    f:feed("<stream:error><invalid-from xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
    assert.equal(1, #errors)
    assert.equal("forged", errors[1].stanza[2].id)
    assert.equal("invalid-from", errors[1].condition)
    errors = {}
  end)

  it("keeps that in the next process, too", function()
    local session = require "xmpp.saved".session
    open_managed()
    assert(conn:send(presence "p", { session = true }))
    assert(conn:send(message "m"))
    local saved = assert(core.conn.save(conn))
    fed.settle()
    assert.is_true(saved.stanzas[1].session)
    assert.is_nil(saved.stanzas[2].session)
    local old = session(saved)
    old.jid = core.jid(saved.jid)
    open_managed { jid = old.jid, session = old }
    f:feed "</stream:stream>"
    assert.equal(1, #errors)
    assert.equal("m", errors[1].stanza[2].id)
    errors = {}
  end)
end)

-- Memory that runs out, and finalizers that send, at every allocation of Lua's.

-- What was sent, with each whole iq replaced by its id, since the order of attributes isn't defined.
local function brief(text)
  return (text:gsub("<iq ([^<>]*)><q xmlns='urn:q'/></iq>", function(attributes)
    local id = attributes:match "id='(%w+)'"
    local length = #("type='get' to='xmpp.test' id=''") + #(id or "")
    return id and #attributes == length and attributes:find("type='get'", 1, true)
      and attributes:find("to='xmpp.test'", 1, true) and "?" .. id or nil
  end))
end

local function question(id)
  return { "iq", { type = "get", id = id, to = "xmpp.test" }, { "q", { xmlns = "urn:q" } } }
end

-- A name, and a function that sends.
local DEEDS = {
  { "send", function(id) return conn:send(question(id)) end },
  { "send with a listener", function(id) return conn:send(question(id), (listener())) end },
  { "send_callback", function(id) return conn:send_callback(question(id), function() end) end },
  { "send_callback of a number", function(id) return conn:send_callback(question(tonumber(id)), function() end) end },
  { "send_await", function(id) return core.conn.request(conn, question(id), {}, 60) end },
}

describe("a stanza for which memory runs out", function()
  local limit, folder

  setup(function()
    if _VERSION == "Lua 5.1" then return end -- limit.c needs a newer Lua; LuaJIT has its own allocator
    folder = shell.folder()
    shell.succeed(("cc -std=c11 -D_GNU_SOURCE -O1 -shared -fPIC -Wl,-z,nodelete $(pkg-config --cflags %s)"
      .. " -o %s/limit.so c/test/shim/limit.c"):format(LUA_PC, folder))
    limit = assert(package.loadlib(folder .. "/limit.so", "luaopen_limit"))()
  end)
  teardown(function()
    if folder then shell.remove(folder) end
  end)

  -- The n-th allocation of f(...) fails. Returns whether there was one, and pcall's result. (pcall allocates first.)
  local function arm(n, g, ...)
    limit.nth(n)
    return g(...)
  end
  local function fail_at(n, g, ...)
    local ok, result = pcall(arm, n, g, ...)
    local seen = limit.seen()
    limit.off()
    if not ok then assert.matches("not enough memory", tostring(result)) end
    return seen >= n, ok, result
  end

  -- Repeats it until nothing fails, with `waiting` requests already pending. Its id is n.
  local function check(deed, waiting, logs)
    local lines = {}
    open(logs and { log = function(_, text) lines[#lines + 1] = text end } or nil)
    for i = 1, waiting do assert(conn:send_callback(question("w" .. i), function() end)) end
    f:sent()
    local n, refused = 1000, 0
    repeat
      n = n + 1
      local id, after = tostring(n), message("after" .. n)
      local wanted = ("<message id='after%d'/>"):format(n)
      collectgarbage()
      local failed, ok, result = fail_at(n - 1000, deed[2], id)
      if ok and result then wanted = "?" .. id .. wanted else refused = refused + 1 end
      assert(conn:send(after))
      assert.equal(wanted, brief(f:sent()))
      fed.settle()
    until not failed
    return refused
  end

  for _, deed in ipairs(DEEDS) do
    it(("is never sent, not even in part, if its caller got the error: %s"):format(deed[1]), function()
      if not limit then return pending "limit.c needs Lua 5.3" end
      local refused = 0
      for _, waiting in ipairs { 0, 1, 3, 7, 15, 31 } do
        refused = refused + check(deed, waiting)
      end
      assert.is_true(refused >= 6, "nothing failed")
      check(deed, 0, true)
      for _, text in ipairs(errors) do assert.matches("^not enough memory", text) end -- from the log function's call
      errors = {}
    end)
  end

  -- Until it succeeds, save fails with an error for memory, and the connection doesn't change.
  it("is not lost by a save that fails", function()
    if not limit then return pending "limit.c needs Lua 5.3" end
    open_managed()
    for i = 1, 5 do assert(conn:send(message("m" .. i))) end
    assert(conn:send_callback(question "q", function() end))
    for i = 1, 5 do f:feed(("<message id='in%d'/>"):format(i)) end
    local n, failed, ok, saved = 0
    repeat
      n = n + 1
      collectgarbage()
      failed, ok, saved = fail_at(n, core.conn.save, conn)
      if not ok then
        assert.equal("ready", conn:state())
        assert.equal(6, select(2, conn:pending()))
        assert.equal(5, conn:info().queued)
        assert.is_true(collectgarbage "isrunning")
      end
    until not failed
    assert.is_true(n > 20, "hardly anything failed")
    assert.equal("closed", conn:state())
    for i = 1, 5 do
      assert.equal(("<message id='m%d'/>"):format(i), saved.stanzas[i].xml)
      assert.equal("in" .. i, saved.queue[i][2].id)
    end
    assert.same({ 6, 5, 1, 5 }, { #saved.stanzas, #saved.queue, #saved.pending, saved.h })
  end)

  it("leaves no listener for the next one", function()
    if not limit then return pending "limit.c needs Lua 5.3" end
    open()
    local n, failed = 0, true
    while failed do
      n = n + 1
      local opts, heard = listener()
      local after, heard_after = listener()
      local x = message("x" .. n)
      local ok
      failed, ok = fail_at(n, conn.send, conn, x, opts)
      assert(conn:send(message "after", after))
      f:sent()
      fed.settle()
      assert.same(ok and { "written" } or {}, heard)
      assert.same({ "written" }, heard_after)
    end
    assert.is_true(n > 1, "nothing failed")
  end)
end)

describe("a finalizer that sends", function()
  local function finalized(finalizer)
    local newproxy = rawget(_G, "newproxy")
    if newproxy then getmetatable(newproxy(true)).__gc = finalizer
    else setmetatable({}, { __gc = finalizer }) end
  end

  for _, deed in ipairs(DEEDS) do
    it("in the middle of " .. deed[1] .. " doesn't change its stanza", function()
      open()
      local n, wanted, sending, refused = 1000, {}, false, nil
      local function finalizer()
        if sending or not conn or conn:state() == "closed" then return end
        sending = true
        n = n + 1
        local mine = n -- before anything else can run, even busted's look-up of a global
        local id = tostring(mine)
        local function give()
          if mine % 2 == 0 then return conn:send(question(id)) end
          return conn:send_callback(question(id), function() end)
        end
        local returned, ok, err = pcall(give)
        if not returned or not ok then refused = err or ok end
        wanted[id] = true
        sending = false
      end
      local pause, mul = pace.set(0, 1000)
      local text, deeds = {}, 0
      while deeds < 1500 or (n - 1000 - deeds < 100 and deeds < 50000) do -- the first cycle may take long to come
        deeds = deeds + 1
        finalized(finalizer)
        n = n + 1
        local mine = n
        local id = tostring(mine)
        assert(deed[2](id))
        wanted[id] = true
        text[#text + 1] = f:sent()
      end
      sending = true -- stops the finalizers
      pace.set(pause, mul)
      assert.is_nil(refused)
      text[#text + 1] = f:sent()
      local count, strange = 0, {}
      for _ in pairs(wanted) do count = count + 1 end
      assert.is_true(count >= deeds + 100, "hardly a finalizer has run")
      local rest = brief(table.concat(text)):gsub("%?(%d+)", function(id)
        if not wanted[id] then strange[#strange + 1] = id end
        wanted[id] = nil
        return ""
      end)
      assert.equal("", rest:sub(1, 1000))
      assert.same({}, strange)
      assert.is_nil(next(wanted))
    end)
  end

  -- Runs g() with a full collection at each check of the collector, and `act` as a finalizer in each of them.
  local function collecting(act, g)
    local on = true
    local function finalizer()
      if not on then return end
      finalized(finalizer)
      act()
    end
    finalized(finalizer)
    pace.hurry()
    local ok, result = pcall(g)
    on = false
    pace.calm()
    return assert(ok and { result }, result)[1]
  end

  -- What send returned is true: what was accepted is in the saved session, and what was refused is not.
  it("in the middle of save doesn't spoil what is saved, and loses nothing", function()
    local runs = 0
    for round = 1, 60 do
      open_managed()
      local wanted, n, sending = {}, 0, false -- accepted by send, so they must be saved
      local function give()
        n = n + 1
        local mine = n
        local id = ("%d-%d-%s"):format(round, mine, ("x"):rep(mine * 7 % 300))
        local xml = ("<message id='%s'/>"):format(id)
        local ok, err = conn:send(message(id))
        if ok then wanted[#wanted + 1] = xml elseif err.condition ~= "saved" then error(err) end
      end
      local function finalizer()
        if sending or n > 500 then return end -- or save would never end
        sending, runs = true, runs + 1
        for _ = 1, 10 do give() end
        sending = false
      end
      for _ = 1, 60 do give() end
      for i = 1, 40 do
        assert(conn:send_callback({ "message", { id = "p" .. i, to = ("b"):rep(i) .. "@xmpp.test" } },
          function() end))
      end
      local saved = collecting(finalizer, function()
        give() -- just before it
        return assert(core.conn.save(conn))
      end)
      sending = true
      local got = {}
      for _, s in ipairs(saved.stanzas) do
        if not s.xml:find "id='p%d+'" then got[#got + 1] = s.xml end
      end
      table.sort(wanted)
      table.sort(got)
      assert.same(wanted, got)
      assert.equal(#wanted + 40, #saved.stanzas)
      for i, p in ipairs(saved.pending) do
        assert.same({ name = "message", id = "p" .. i, to = ("b"):rep(i) .. "@xmpp.test" },
          { name = p.name, id = p.id, to = p.to })
      end
      assert.equal(40, #saved.pending)
      assert.equal("closed", conn:state())
    end
    assert.is_true(runs > 60, "hardly a finalizer has run: " .. runs)
  end)

  it("and moves the log doesn't change the stanzas reported as failed", function()
    for round = 1, 20 do
      open_managed()
      local wanted, heard, sending, doomed, runs = {}, {}, false, nil, 0
      conn:on("failed", function(stanza) heard[#heard + 1] = stanza[2].id end)
      for i = 1, 60 do
        wanted[i] = ("%d-%d-%s"):format(round, i, ("y"):rep(i * 7 % 300))
        assert(conn:send(message(wanted[i])))
      end
      doomed = conn
      local function finalizer()
        if sending then return end
        sending, runs = true, runs + 1
        for _ = 1, 20 do
          doomed:send(message(("z"):rep(200)))
          xmpp.xexpr.to_xml(message(("z"):rep(200)))
        end
        sending = false
      end
      collecting(finalizer, function() f:feed "</stream:stream>" end)
      assert.is_true(runs > 60, "hardly a finalizer has run")
      sending = true
      local got = {}
      for _, id in ipairs(heard) do
        if not id:find "^z" then got[#got + 1] = id end
      end
      assert.same(wanted, got)
    end
  end)

  it("doesn't change whether the collector is running", function()
    if not pcall(collectgarbage, "isrunning") then return end -- Lua 5.1 can't tell
    for _, runs in ipairs { true, false } do
      open_managed()
      assert(conn:send(message "a"))
      if not runs then collectgarbage "stop" end
      assert(core.conn.save(conn))
      local after = collectgarbage "isrunning"
      collectgarbage "restart"
      assert.equal(runs, after)
    end
  end)
end)
