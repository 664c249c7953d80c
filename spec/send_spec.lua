-- send: what is told of a stanza is true of it: one that was refused, or for which memory ran out, never leaves, and
-- its listener hears of no other; one that can't be delivered never goes unheard; flush waits for what was sent before
-- it. On fed bytes.
local core = require "xmpp.core"
local fed = require "spec.support.fed"
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

-- With stream management, and one stanza after the other acknowledged as the test wants it.
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

-- A listener, and what it has heard: "written acked", "failed:ID" (the id of the stanza that it was told of).
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
  -- How it can be, and what is said then.
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
    it("and " .. way[1] .. " leaves no listener to the next one's fate", function()
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

    it("and " .. way[1] .. " takes nothing from who listens to another", function()
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

    -- An unbalanced count would pin it for ever.
    it("and " .. way[1] .. " doesn't keep the connection alive", function()
      open { max_queue = 1000 }
      local weak = setmetatable({ conn }, { __mode = "v" })
      assert.is_falsy((way[2]((listener()))))
      f, conn = nil, nil
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
    end)
  end

  it("on a closed connection leaves none either", function()
    open()
    f:feed "</stream:stream>"
    local opts, heard = listener()
    local ok, err = conn:send(message "late", opts)
    assert.is_nil(ok)
    assert.equal("closed", err.layer)
    assert.same({}, heard)
  end)

  it("since it is larger than the queue is told so, and not to wait", function()
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

describe("flush", function()
  -- What a flush in a coroutine of its own comes to.
  local function flushes(seconds)
    local result = {}
    xmpp.spawn(function() result[1], result[2] = conn:flush(seconds) end)
    fed.settle()
    return result
  end

  it("waits for what was sent before it, whatever others send meanwhile", function()
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

  it("ends with its time when nothing is acknowledged", function()
    open_managed()
    assert(conn:send(message "a"))
    local result = flushes(0)
    fed.settle()
    assert.is_nil(result[1])
    assert.equal("timeout", result[2].layer)
    ack(1)
  end)

  it("has nothing to wait for where nothing was sent", function()
    open_managed()
    assert.same({ true }, flushes())
  end)

  it("waits for the kernel without stream management, and for no more", function()
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

describe("what can't be delivered", function()
  local CONFLICT = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    .. "</stream:stream>"

  local function ids(list)
    local all = {}
    for i, err in ipairs(list) do all[i] = err.stanza[2].id end
    return all
  end

  it("at an end that nobody asked for is told to on_error, each one, with why", function()
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

  it("is told to who listens, and then not to on_error", function()
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

  it("without stream management is what had not left", function()
    open { jid = "echo.xmpp.test", component = true }
    assert(conn:send { "message", { id = "left", to = "a@b" } })
    f:sent()
    assert(conn:send { "message", { id = "stayed", to = "a@b" } })
    f:feed(CONFLICT)
    assert.same({ "stayed" }, ids(errors))
    errors = {}
  end)

  it("when stop was called is told by its result, and to who listens", function()
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

  it("of the library's own is told to nobody, nor is a request, whose waiter is", function()
    open_managed()
    conn:set_handler()
    f:feed "<iq type='get' id='q' from='bob@xmpp.test/x'><x xmlns='urn:x'/></iq>" -- service-unavailable
    local told
    assert(conn:send_callback({ "iq", { type = "get" }, { "q", { xmlns = "urn:q" } } },
      function(_, _, err) told = err end))
    f:feed(CONFLICT)
    assert.equal("closed", told.layer)
    assert.same({}, errors)
  end)

  it("goes on with a saved session, and is told to nobody here", function()
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

-- Memory that runs out, and finalizers that send, wherever there is an allocation of Lua's.

-- What is on the wire, with each whole question as its id alone: attributes come in any order.
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

-- A name, and how it is given.
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
    if rawget(_G, "jit") then return end -- its allocator is its own
    folder = shell.folder()
    shell.succeed(("cc -std=c11 -D_GNU_SOURCE -O1 -shared -fPIC -Wl,-z,nodelete $(pkg-config --cflags %s)"
      .. " -o %s/limit.so c/test/shim/limit.c"):format(LUA_PC, folder))
    limit = assert(package.loadlib(folder .. "/limit.so", "luaopen_limit"))()
  end)
  teardown(function()
    if folder then shell.remove(folder) end
  end)

  -- The n-th allocation of f(...) fails -> was there one, and what pcall says. (pcall takes memory before it protects.)
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

  -- As often as it takes until nothing fails, with so many who wait already. Its id is n.
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
    it(("never leaves, nor does a part of it, when its caller was told that it failed: %s"):format(deed[1]), function()
      if not limit then return pending "LuaJIT's allocator is its own" end
      local refused = 0
      for _, waiting in ipairs { 0, 1, 3, 7, 15, 31 } do
        refused = refused + check(deed, waiting)
      end
      assert.is_true(refused >= 6, "nothing failed")
      check(deed, 0, true)
    end)
  end

  it("leaves no listener to the next one's fate", function()
    if not limit then return pending "LuaJIT's allocator is its own" end
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
    it("in the middle of " .. deed[1] .. " takes nothing from it, and adds nothing to it", function()
      open()
      local n, wanted, sending, refused = 1000, {}, false, nil
      local function finalizer()
        if sending or not conn or conn:state() == "closed" then return end
        sending = true
        n = n + 1
        local id = tostring(n)
        local function give()
          if n % 2 == 0 then return conn:send(question(id)) end
          return conn:send_callback(question(id), function() end)
        end
        local returned, ok, err = pcall(give)
        if not returned or not ok then refused = err or ok end
        wanted[id] = true
        sending = false
      end
      local pause, mul = collectgarbage("setpause", 0), collectgarbage("setstepmul", 1000)
      local text, deeds = {}, 0
      while deeds < 1500 or (n - 1000 - deeds < 100 and deeds < 50000) do -- the first cycle may be long in coming
        deeds = deeds + 1
        finalized(finalizer)
        n = n + 1
        local id = tostring(n)
        assert(deed[2](id))
        wanted[id] = true
        text[#text + 1] = f:sent()
      end
      sending = true -- no more
      collectgarbage("setpause", pause)
      collectgarbage("setstepmul", mul)
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
end)
