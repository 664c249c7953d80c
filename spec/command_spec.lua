-- command: ad-hoc commands, with xmpp.testing: served as plain functions, run with answers or with a function; and
-- attempts to continue somebody else's session, or to see what one may not.

local command = require "xmpp.command"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local form = require "xmpp.form"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME, OWN, ANNA, EVE = "bot@example.net/test", "bot@example.net/phone", "anna@example.net/a", "eve@example.org/e"
local COMMANDS, DATA = "http://jabber.org/protocol/commands", "jabber:x:data"
local INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local function everybody() return true end

local function submit(values)
  local x = { "x", { xmlns = DATA, type = "submit" } }
  for var, v in pairs(values) do x[#x + 1] = { "field", { var = var }, { "value", {}, v } } end
  return x
end

local asked = 0

-- Sends it, without waiting for the answer. Returns its id.
local function say(t, from, attrs, ...)
  asked = asked + 1
  local x = { "command", { xmlns = COMMANDS, node = "go" }, ... }
  for key, v in pairs(attrs or {}) do x[2][key] = v end
  t:receive { "iq", { type = "set", id = "q" .. asked, from = from, to = attrs and attrs.to or ME }, x }
  return "q" .. asked
end

-- The answer: the command element; or nil and the error.
local function answer(t, id, to)
  local got = t:expect({ "iq", { id = id, to = to } }, false)
  if got[2].type == "error" then return nil, xexpr.error(got) end
  return got[3]
end

local function send(t, from, attrs, ...) return answer(t, say(t, from, attrs, ...), from) end

local function vars(x)
  local out = {}
  for field in xexpr.children(xexpr.child(x, "x", DATA), "field", DATA) do out[#out + 1] = field[2].var end
  return table.concat(out, " ")
end

local function shown(x)
  local note = xexpr.child(x, "note", COMMANDS)
  return { x[2].status, note and note[2].type, note and xexpr.text(note) }
end

local function names(x)
  local out = {}
  for child in xexpr.children(xexpr.child(x, "actions", COMMANDS)) do out[#out + 1] = child[1] end
  return table.concat(out, " ")
end

-- Asks for two fields, one after the other, and notes what it got.
local function two_steps(log)
  return function(dialog)
    local one, why = dialog:ask { title = "One", fields = { { var = "a", required = true } } }
    if not one then log[#log + 1] = why return end
    local two
    two, why = dialog:ask({ fields = { { var = "b", kind = "list-single", options = { "x", "y" } } } },
      { note = "you said " .. one.a })
    if not two then log[#log + 1] = why return end
    return one.a .. two.b
  end
end

describe("a command that is served", function()
  it("is a function that asks twice, and returns the result", testing.around(function(t)
    local from
    command.serve(t.conn, "go", { allow = everybody }, function(dialog, conn)
      from = { dialog.from, dialog.node, dialog.lang, conn }
      return two_steps {}(dialog)
    end)
    local first = send(t, ANNA, { ["xml:lang"] = "de" })
    assert.same({ ANNA, "go", "de", t.conn }, from)
    local id = first[2].sessionid
    assert.same({ "executing", "a", "next", "next", "de" }, { first[2].status, vars(first), names(first),
      xexpr.child(first, "actions")[2].execute, first[2]["xml:lang"] })
    assert.is_true(#id >= 16)
    local second = send(t, ANNA, { sessionid = id, action = "next" }, submit { a = "1" })
    assert.same({ "executing", "info", "you said 1" }, shown(second))
    assert.same({ id, "b", "next" }, { second[2].sessionid, vars(second), names(second) })
    local last = send(t, ANNA, { sessionid = id, action = "complete" }, submit { b = "y" })
    assert.same({ "completed", "info", "1y" }, shown(last))
    assert.is_nil(xexpr.child(last, "actions"))
    assert.equal("item-not-found", select(2, send(t, OWN, { sessionid = id })).condition)
  end))

  it("continues by execute, and without an action, as by next", testing.around(function(t)
    command.serve(t.conn, "go", {}, two_steps {})
    local id = send(t, OWN, { action = "execute" })[2].sessionid
    assert.equal("b", vars(send(t, OWN, { sessionid = id }, submit { a = "1" })))
    assert.same({ "completed", "info", "1x" }, shown(send(t, OWN, { sessionid = id, action = "execute" },
      submit { b = "x" })))
  end))

  it("ends with what its function returns", testing.around(function(t)
    local cases = {
      { { "done" }, { "completed", "info", "done" } }, { {}, { "completed" } }, { { true }, { "completed" } },
      { { form.new { kind = "result", fields = { { var = "v", value = "1" } } } }, { "completed" }, "v" },
      { { { title = "T", fields = { { var = "w" } } } }, { "completed" }, "w" },
    }
    for _, case in ipairs(cases) do
      local off = command.serve(t.conn, "go", {}, function() return unpack(case[1]) end)
      local x = send(t, OWN)
      assert.same(case[2], shown(x))
      assert.equal(case[3] or "", vars(x))
      if case[3] then assert.equal("result", xexpr.child(x, "x", DATA)[2].type) end
      assert.is_string(x[2].sessionid)
      off()
      t:advance(2)
    end
    command.serve(t.conn, "go", {}, function(dialog)
      dialog:note("error", "it is broken")
      dialog:note("warn", "and more")
    end)
    local x = send(t, OWN)
    assert.same({ "completed", "error", "it is broken" }, shown(x))
    assert.equal("warn", x[4][2].type)
  end))

  it("ends with an error that it returns, and hides one that it throws", testing.around(function(t)
    local result = { nil, "cancel", "conflict", "there is one" }
    command.serve(t.conn, "go", {}, function()
      if result then return unpack(result, 1, 4) end
      error("the password is 1234")
    end)
    local _, err = send(t, OWN)
    assert.same({ "cancel", "conflict", "there is one" }, { err.type, err.condition, err.text })
    for _, odd in ipairs { { 42 }, { nil, "odd" }, { { fields = { { kind = "odd" } } } }, { nil, "cancel", "odd" } } do
      result = odd
      _, err = send(t, OWN)
      assert.same({ "wait", "internal-server-error" }, { err.type, err.condition })
      t:advance(1)
    end
    result = nil
    _, err = send(t, OWN)
    assert.same({ "wait", "internal-server-error" }, { err.type, err.condition })
    assert.is_nil(err.text)
    local told = t:take_errors()
    assert.equal(5, #told)
    assert.truthy(told[5]:find("1234", 1, true))
    assert.truthy(told[5]:find("command 'go'", 1, true))
  end))

  it("may wait between its questions", testing.around(function(t)
    command.serve(t.conn, "go", {}, function(dialog)
      xmpp.sleep(30)
      dialog:ask { fields = { { var = "a" } } }
      xmpp.sleep(700)
      return "slow"
    end)
    local id = say(t, OWN)
    t:nothing()
    t:advance(30)
    local x = answer(t, id)
    id = say(t, OWN, { sessionid = x[2].sessionid })
    t:advance(699)
    t:nothing()
    local _, err = send(t, OWN, { sessionid = x[2].sessionid }) -- the step before hasn't been answered yet
    assert.same({ "wait", "unexpected-request" }, { err.type, err.condition })
    t:advance(1)
    assert.same({ "completed", "info", "slow" }, shown(answer(t, id)))
  end))

  it("can be cancelled by the other side at any time", testing.around(function(t)
    local log, ended = {}, 0
    command.serve(t.conn, "go", {}, function(dialog)
      two_steps(log)(dialog)
      assert.same({ nil, "cancel" }, { dialog:ask { fields = {} } })
      ended = ended + 1
      return "nobody hears it"
    end)
    local id = send(t, OWN)[2].sessionid
    local x = send(t, OWN, { sessionid = id, action = "cancel" })
    assert.same({ "canceled", id, "go" }, { x[2].status, x[2].sessionid, x[2].node })
    id = send(t, OWN)[2].sessionid
    send(t, OWN, { sessionid = id }, submit { a = "1" })
    assert.equal("canceled", send(t, OWN, { sessionid = id, action = "cancel" })[2].status)
    assert.same({ { "cancel", "cancel" }, 2 }, { log, ended })
    assert.equal("item-not-found", select(2, send(t, OWN, { sessionid = id, action = "cancel" })).condition)
    t:nothing()
  end))

  it("can be cancelled while its function is running", testing.around(function(t)
    command.serve(t.conn, "go", {}, function() xmpp.sleep(5) return "late" end)
    local id = say(t, OWN)
    local session
    for _, s in pairs(ext.of(t.conn, command).book.by) do session = s.id end
    local last = say(t, OWN, { sessionid = session, action = "cancel" })
    assert.equal("canceled", answer(t, last)[2].status)
    assert.equal("canceled", answer(t, id)[2].status)
    t:advance(10)
    t:nothing()
  end))

  it("ends ten minutes after the last request", testing.around(function(t)
    local log = {}
    command.serve(t.conn, "go", {}, two_steps(log))
    local id = send(t, OWN)[2].sessionid
    t:advance(599)
    send(t, OWN, { sessionid = id }, submit { a = "1" })
    t:advance(599)
    assert.same({}, log)
    t:advance(1)
    assert.same({ "timeout" }, log)
    assert.equal("item-not-found", select(2, send(t, OWN, { sessionid = id }, submit { b = "x" })).condition)
    assert.equal(0, ext.of(t.conn, command).book.n)
  end))

  it("refuses what doesn't fit the form, and the step stays the same", testing.around(function(t)
    command.serve(t.conn, "go", {}, two_steps {})
    local id = send(t, OWN)[2].sessionid
    for _, payload in ipairs { submit {}, { "x", { xmlns = DATA, type = "form" }, submit({ a = "1" })[3] },
      submit { c = "1" },
      { "x", { xmlns = "urn:x", type = "submit" }, submit({ a = "1" })[3] } } do -- another type, another namespace
      local _, err = send(t, OWN, { sessionid = id }, payload)
      assert.same({ "modify", "bad-request", "bad-payload" }, { err.type, err.condition, err.app })
    end
    send(t, OWN, { sessionid = id }, submit { a = "1" })
    local _, err = send(t, OWN, { sessionid = id }, submit { b = "z" })
    assert.same({ "bad-payload", "x.field 'b': 'z' is no option" }, { err.app, err.text })
    local canceled = { "x", { xmlns = DATA, type = "cancel" }, submit({ b = "x" })[3] } -- counts as submit (3.5.1)
    assert.same({ "completed", "info", "1x" }, shown(send(t, OWN, { sessionid = id }, canceled)))
  end))

  it("uses its own field's type, whatever the answer says", testing.around(function(t)
    local got
    command.serve(t.conn, "go", {}, function(dialog)
      got = dialog:ask(form.new { fields = { { var = "b", kind = "boolean" }, { var = "t" },
        { var = "l", kind = "list-multi", options = { "1", "2" } } } })
    end)
    local id = send(t, OWN)[2].sessionid
    send(t, OWN, { sessionid = id }, { "x", { xmlns = DATA, type = "submit" },
      { "field", { var = "b", type = "text-single" }, { "value", {}, "1" } },
      { "field", { var = "t", type = "boolean" }, { "value", {}, "1" } },
      { "field", { var = "l" }, { "value", {}, "1" } } })
    assert.same({ b = true, t = "1", l = { "1" } }, got)
  end))

  it("goes back to the question before, if that is allowed, with the earlier answer", testing.around(function(t)
    local runs, log = 0, {}
    command.serve(t.conn, "go", { back = true }, function(dialog)
      runs = runs + 1
      local c = dialog:ask { fields = { { var = "c", kind = "boolean" } } }
      if not c then log[#log + 1] = "0" return end
      return two_steps(log)(dialog)
    end)
    local x = send(t, OWN)
    local id = x[2].sessionid
    assert.equal("next", names(x)) -- there is no earlier step
    assert.equal("bad-action", select(2, send(t, OWN, { sessionid = id, action = "prev" })).app)
    x = send(t, OWN, { sessionid = id }, submit { c = "1" })
    assert.equal("prev next", names(x))
    x = send(t, OWN, { sessionid = id }, submit { a = "old" })
    assert.equal("b", vars(x))
    x = send(t, OWN, { sessionid = id, action = "prev" })
    assert.same({ "a", "old", "prev next" }, { vars(x), xexpr.text(xexpr.find(x, { "x", DATA }, "field", "value")),
      names(x) })
    assert.equal(2, runs)
    x = send(t, OWN, { sessionid = id, action = "prev" })
    assert.same({ "c", "1" }, { vars(x), xexpr.text(xexpr.find(x, { "x", DATA }, "field", "value")) })
    send(t, OWN, { sessionid = id }, submit { c = "0" })
    send(t, OWN, { sessionid = id }, submit { a = "new" })
    assert.same({ "completed", "info", "newx" }, shown(send(t, OWN, { sessionid = id }, submit { b = "x" })))
    assert.same({ "cancel", "cancel" }, log) -- the runs that "prev" has left
    assert.equal(3, runs)
  end))

  it("isn't affected by the earlier run after going back", testing.around(function(t)
    local log = {}
    command.serve(t.conn, "go", { back = true }, function(dialog)
      dialog:ask { fields = { { var = "a" } } }
      local b, why = dialog:ask { fields = { { var = "b" } } }
      if b then return b.b end
      log[1], log[2], log[3] = why, dialog:ask { fields = { { var = "c" } } }
      return "nobody hears it"
    end)
    local id = send(t, OWN)[2].sessionid
    send(t, OWN, { sessionid = id })
    assert.equal("a", vars(send(t, OWN, { sessionid = id, action = "prev" })))
    t:nothing()
    assert.same({ "cancel", nil, "cancel" }, log)
    assert.equal("b", vars(send(t, OWN, { sessionid = id })))
    assert.same({ "completed", "info", "1" }, shown(send(t, OWN, { sessionid = id }, submit { b = "1" })))
  end))

  it("doesn't go back unless that is allowed, nor by unknown actions", testing.around(function(t)
    command.serve(t.conn, "go", {}, two_steps {})
    local id = send(t, OWN)[2].sessionid
    send(t, OWN, { sessionid = id }, submit { a = "1" })
    local _, err = send(t, OWN, { sessionid = id, action = "prev" })
    assert.same({ "modify", "bad-request", "bad-action" }, { err.type, err.condition, err.app })
    _, err = send(t, OWN, { sessionid = id, action = "jump" })
    assert.equal("malformed-action", err.app)
    _, err = send(t, OWN, { action = "next" })
    assert.equal("bad-action", err.app)
    assert.equal("completed", send(t, OWN, { sessionid = id }, submit { b = "x" })[2].status)
  end))
end)

describe("whatever a command's function does", function()
  it("ends nothing but its own session", testing.around(function(t)
    local conn, offs, log = t.conn, {}, {}
    offs[1] = command.serve(conn, "off", {}, function(d)
      offs[1]()
      log[#log + 1] = select(2, d:ask { fields = {} })
      return "late"
    end)
    assert.equal("canceled", send(t, OWN, { node = "off" })[2].status)
    offs[2] = command.serve(conn, "re-enter", {}, function(d)
      command.serve(conn, "inner", {}, function() return "inner" end)
      offs[2]()
      d:note("warn", "x")
    end)
    assert.equal("canceled", send(t, OWN, { node = "re-enter" })[2].status)
    assert.same({ "completed", "info", "inner" }, shown(send(t, OWN, { node = "inner" })))
    command.serve(conn, "twice", {}, function(d)
      xmpp.spawn(function() log[3] = select(2, d:ask { fields = { { var = "a" } } }) end)
      xmpp.sleep(1)
      log[2] = tostring(select(2, pcall(function() d:ask { fields = { { var = "b" } } } end)))
      return "done"
    end)
    local id = say(t, OWN, { node = "twice" })
    assert.equal("a", vars(answer(t, id)))
    t:advance(1)
    assert.same({ "closed", "closed" }, { log[1], log[3] })
    assert.truthy(log[2]:find "spec.lua:%d+: the dialog has a question that isn't answered yet$")
    command.serve(conn, "drop", {}, function(d)
      ext.drop(conn, command)
      log[4] = select(2, d:ask { fields = {} })
    end)
    t:advance(5)
    assert.equal("canceled", send(t, OWN, { node = "drop" })[2].status)
    assert.equal("closed", log[4])
    assert.is_nil(ext.of(conn, command))
  end))

  it("may end the connection, and so may its `allow` function", testing.around(function(t)
    local why
    command.serve(t.conn, "go", { allow = everybody }, function(d)
      t.conn:stop(1)
      why = select(2, d:ask { fields = {} })
    end)
    say(t, ANNA)
    t:advance(5)
    assert.equal("closed", why)
    t:sent()
  end, { opts = { reconnect = false }, strict = false }))
end)

describe("somebody who isn't allowed", function()
  it("can't continue somebody else's session, nor learns that there is one", testing.around(function(t)
    command.serve(t.conn, "go", { allow = everybody }, two_steps {})
    command.serve(t.conn, "other", { allow = everybody }, two_steps {})
    disco.allow(t.conn, everybody)
    local id = send(t, ANNA)[2].sessionid
    local unknown = select(2, send(t, EVE, { sessionid = "no such" }, submit { a = "1" }))
    assert.same({ type = "cancel", condition = "item-not-found" }, unknown)
    for _, from in ipairs { EVE, "anna@example.net/b", "anna@example.net", OWN } do
      assert.same(unknown, select(2, send(t, from, { sessionid = id }, submit { a = "1" })))
      assert.same(unknown, select(2, send(t, from, { sessionid = id, action = "cancel" })))
    end
    assert.same(unknown, select(2, send(t, ANNA, { sessionid = id, node = "other" }, submit { a = "1" })))
    assert.equal("b", vars(send(t, ANNA, { sessionid = id }, submit { a = "1" })))
  end))

  it("may have been allowed a step before", testing.around(function(t)
    local log, allowed, seen = {}, { [ANNA] = true }, {}
    command.serve(t.conn, "go", { allow = function(from)
      seen[#seen + 1] = from
      return allowed[from]
    end }, two_steps(log))
    disco.allow(t.conn, everybody)
    local id = send(t, ANNA)[2].sessionid
    allowed[ANNA] = nil
    assert.same({ type = "cancel", condition = "item-not-found" },
      select(2, send(t, ANNA, { sessionid = id }, submit { a = "1" })))
    assert.same({ { ANNA, ANNA }, { "cancel" } }, { seen, log })
    allowed[ANNA] = true
    assert.equal("item-not-found", select(2, send(t, ANNA, { sessionid = id }, submit { a = "1" })).condition)
  end))

  it("is everybody except our own account, unless the command allows more", testing.around(function(t)
    command.serve(t.conn, "go", {}, function() return "yes" end)
    assert.equal("completed", send(t, OWN)[2].status)
    local _, err = send(t, ANNA)
    assert.same({ type = "cancel", condition = "service-unavailable" }, err) -- as if there were no commands
    assert.same(err, select(2, send(t, ANNA, { node = "no such" })))
    disco.allow(t.conn, everybody)
    _, err = send(t, ANNA)
    assert.same({ type = "cancel", condition = "item-not-found" }, err)
    assert.same(err, select(2, send(t, ANNA, { node = "no such" })))
    assert.same(err, select(2, send(t, "bot@example.net.evil.example/x")))
  end))

  it("is anybody for whom `allow` doesn't return true, or throws", testing.around(function(t)
    local word = "yes"
    command.serve(t.conn, "go", { allow = function() return word end }, function() return "yes" end)
    assert.equal("item-not-found", select(2, send(t, OWN)).condition)
    command.serve(t.conn, "odd", { allow = function() error "no" end }, function() return "yes" end)
    assert.equal("internal-server-error", select(2, send(t, OWN, { node = "odd" })).condition)
    assert.equal(1, #t:take_errors())
  end))

  it("sees nothing of it in disco", testing.around(function(t)
    local function is_own(from) return from:find("^bot@example.net/") ~= nil end
    command.serve(t.conn, "secret", { name = "A secret", allow = is_own }, function() end)
    command.serve(t.conn, "open", { name = "For all", allow = everybody }, function() end)
    local function items(from)
      t:receive { "iq", { type = "get", id = "d", from = from, to = ME },
        { "query", { xmlns = ITEMS, node = COMMANDS } } }
      local out = {}
      for item in xexpr.children(t:expect({ "iq", { id = "d", type = "result" } }, false)[3], "item") do
        out[#out + 1] = ("%s %s %s"):format(item[2].jid, item[2].node, item[2].name)
      end
      return out
    end
    local function info(from, node)
      t:receive { "iq", { type = "get", id = "i", from = from, to = ME }, { "query", { xmlns = INFO, node = node } } }
      return t:expect({ "iq", { id = "i" } }, false)
    end
    assert.same({ ME .. " secret A secret", ME .. " open For all" }, items(OWN))
    assert.same({ ME .. " open For all" }, items(EVE))
    assert.equal("item-not-found", xexpr.error(info(EVE, "secret")).condition)
    local x = info(OWN, "secret")[3]
    assert.same({ "automation", "command-node", "A secret" }, { x[3][2].category, x[3][2].type, x[3][2].name })
    local features = {}
    for feature in xexpr.children(x, "feature") do features[feature[2].var] = true end
    assert.same({ [COMMANDS] = true, [DATA] = true, [INFO] = true }, features)
    x = info(OWN, COMMANDS)[3]
    assert.same({ "automation", "command-list" }, { x[3][2].category, x[3][2].type })
    assert.is_true(disco.tree(t.conn).features[COMMANDS])
    disco.allow(t.conn, everybody) -- to be allowed this doesn't include all commands
    assert.same({ ME .. " open For all" }, items(EVE))
    assert.equal("item-not-found", xexpr.error(info(EVE, "secret")).condition)
  end))

  it("gets no answer by disco if no command is for him", testing.around(function(t)
    local off = command.serve(t.conn, "go", {}, function() end)
    local function items() return select(2, t:contact(EVE):asks { "query", { xmlns = ITEMS, node = COMMANDS } }) end
    assert.equal("item-not-found", items().condition)
    assert.is_true(off())
    assert.is_false(off())
    assert.equal("item-not-found", items().condition)
    assert.is_nil(disco.tree(t.conn).features[COMMANDS])
  end))
end)

describe("the limits of sessions", function()
  it("are a number at once, for each account and in total", testing.around(function(t)
    ext.use(t.conn, command, { sessions = 3, per_account = 2, rate = 100 })
    command.serve(t.conn, "go", { allow = everybody }, two_steps {})
    local first = send(t, ANNA)[2].sessionid
    send(t, "anna@example.net/b")
    local _, err = send(t, "anna@example.net/c")
    assert.same({ "wait", "resource-constraint" }, { err.type, err.condition })
    send(t, EVE)
    assert.equal("resource-constraint", select(2, send(t, OWN)).condition)
    send(t, ANNA, { sessionid = first, action = "cancel" })
    assert.equal("executing", send(t, OWN)[2].status)
    t:advance(600)
    assert.same({ 0, nil }, { ext.of(t.conn, command).book.n, next(ext.of(t.conn, command).book.of) })
  end))

  it("are a number a second", testing.around(function(t)
    command.serve(t.conn, "go", { allow = everybody }, function() return "yes" end)
    local function begin(from)
      local x, err = send(t, from)
      return x and x[2].status or err.type .. " " .. err.condition
    end
    for i = 1, 5 do assert.equal("completed", begin("anna@example.net/" .. i)) end
    assert.equal("wait policy-violation", begin(ANNA))
    assert.equal("completed", begin(EVE))
    t:advance(1)
    assert.equal("completed", begin(ANNA))
    assert.equal("wait policy-violation", begin(ANNA))
  end))

  it("are a number of steps", testing.around(function(t)
    local why
    command.serve(t.conn, "go", {}, function(dialog)
      local v
      repeat v, why = dialog:ask { fields = { { var = "a" } } } until not v
    end)
    local id = send(t, OWN)[2].sessionid
    for _ = 2, 100 do assert.equal("executing", send(t, OWN, { sessionid = id })[2].status) end
    assert.equal("policy-violation", select(2, send(t, OWN, { sessionid = id })).condition)
    assert.equal("cancel", why)
  end))

  it("let sessions continue in a new session of the connection", testing.around(function(t)
    command.serve(t.conn, "go", {}, two_steps {})
    local id = send(t, OWN)[2].sessionid
    t:ack()
    t:reconnect { new = true }
    send(t, OWN, { sessionid = id }, submit { a = "1" })
    assert.equal("completed", send(t, OWN, { sessionid = id }, submit { b = "x" })[2].status)
  end))

  it("end them with the command, and with the connection", testing.around(function(t)
    local log = {}
    local off = command.serve(t.conn, "go", {}, two_steps(log))
    local id = send(t, OWN)[2].sessionid
    off()
    t:nothing()
    assert.same({ "closed" }, log)
    assert.equal("item-not-found", select(2, send(t, OWN, { sessionid = id })).condition)
    command.serve(t.conn, "go", {}, two_steps(log))
    send(t, OWN)
    t:ack()
    t:close()
    assert.same({ "closed", "closed" }, log)
    assert.is_false((command.serve(t.conn, "more", {}, function() end)()))
  end, { opts = { reconnect = false } }))
end)

describe("a component's commands", function()
  local AT = "echo.example.net"

  it("belong to one address, or to all", testing.around(function(t)
    local function serve(at, text)
      return command.serve(t.conn, "go", { at = at, allow = everybody }, function(dialog)
        if not dialog:ask { fields = { { var = "a" } } } then return end
        return text
      end)
    end
    local one = serve("one@" .. AT, "one")
    serve(nil, "all")
    local id = send(t, ANNA, { to = "one@" .. AT })[2].sessionid
    local _, err = send(t, ANNA, { to = "two@" .. AT, sessionid = id })
    assert.equal("item-not-found", err.condition)
    assert.same({ "completed", "info", "one" }, shown(send(t, ANNA, { to = "one@" .. AT, sessionid = id })))
    id = send(t, ANNA, { to = "two@" .. AT })[2].sessionid
    assert.equal("item-not-found", select(2, send(t, ANNA, { to = "three@" .. AT, sessionid = id })).condition)
    assert.same({ "completed", "info", "all" }, shown(send(t, ANNA, { to = "two@" .. AT, sessionid = id })))
    local function items(at)
      t:receive { "iq", { type = "get", id = "d", from = ANNA, to = at },
        { "query", { xmlns = ITEMS, node = COMMANDS } } }
      local x = t:expect({ "iq", { id = "d", type = "result" } }, false)[3]
      assert.equal(3, #x)
      return x[3][2].jid
    end
    assert.equal("one@" .. AT, items("one@" .. AT))
    assert.equal(AT, items(AT))
    one()
    assert.equal(AT, items("one@" .. AT))
  end, { component = AT }))

  it("must say who is allowed to run them", testing.around(function(t)
    local ok, err = pcall(function() command.serve(t.conn, "go", {}, function() end) end)
    assert.is_false(ok)
    assert.equal("a component's command needs an option 'allow'", (err:gsub("^%S+ ", "")))
  end, { component = AT }))
end)

-- Running commands

local SERVICE = "admin.example.net"

-- Runs it in a task; the table gets the results when it has ended.
local function run(t, node, how, opts)
  local out = {}
  coroutine.wrap(function()
    out.result, out.err = command.run(t.conn, SERVICE, node, how, opts)
    out.done = true
  end)()
  return out
end

local function executing(attrs, ...)
  local x = { "command", { xmlns = COMMANDS, node = "go", sessionid = "s1", status = "executing" }, ... }
  for key, v in pairs(attrs) do x[2][key] = v or nil end
  return x
end

local function completed(text, ...)
  if not text then return executing({ status = "completed" }, ...) end
  return executing({ status = "completed" }, { "note", { type = "info" }, text }, ...)
end

local function actions(default, ...)
  local x = { "actions", { xmlns = COMMANDS, execute = default } }
  for _, name in ipairs { ... } do x[#x + 1] = { name } end
  return x
end

local function question(...) return form.new { fields = { ... } } end

local function step(t, attrs, reply)
  local pattern = { "iq", { type = "set", to = SERVICE }, { "command", { xmlns = COMMANDS, node = "go" } } }
  for key, v in pairs(attrs) do pattern[3][2][key] = v end
  return t:expect(pattern, reply)[3]
end

local function submitted(x)
  local out = {}
  for field in xexpr.children(xexpr.child(x, "x", DATA), "field", DATA) do
    out[field[2].var] = xexpr.text(field, "value") or ""
  end
  return out
end

describe("command.run", function()
  it("answers each form with what it asks for", testing.around(function(t)
    local got = run(t, "go", { a = "1", b = true, more = "x" }, { lang = "de" })
    local x = step(t, { action = "execute", ["xml:lang"] = "de" }, executing({}, actions("next", "next"),
      question({ var = "a", required = true }, { var = "preset", value = "p", required = true })))
    assert.is_nil(x[2].sessionid)
    x = step(t, { action = "next", sessionid = "s1" }, executing({}, actions("complete", "prev", "complete"),
      question({ var = "b", kind = "boolean" })))
    assert.same({ a = "1", preset = "p" }, submitted(x))
    x = step(t, { action = "complete", sessionid = "s1" }, completed("one", { "note", {}, "two" },
      form.new { kind = "result", fields = { { var = "r", value = "5" } } }))
    assert.same({ b = "1" }, submitted(x))
    assert.same({ "completed", "one\ntwo", { { kind = "info", text = "one" }, { kind = "info", text = "two" } }, "5",
      { "more" } }, { got.result.status, got.result.text, got.result.notes, got.result.form.values.r,
      got.result.unused })
  end))

  it("takes a form without actions as the last step", testing.around(function(t)
    local got = run(t, "go")
    step(t, {}, executing({}, question({ var = "a" })))
    step(t, { action = "complete" }, completed())
    assert.same({ "completed", {} }, { got.result.status, got.result.unused })
    assert.is_nil(got.result.text)
  end))

  it("asks a function, which may go back and cancel", testing.around(function(t)
    local seen = {}
    local words = { { { a = "1" } }, { {}, "prev" }, { { a = "2" }, "next" }, {} }
    local got = run(t, "go", function(f, notes, offered)
      seen[#seen + 1] = (f and f.fields[1].var or "-") .. #notes .. table.concat(offered, ",")
      return unpack(table.remove(words, 1))
    end)
    local first = executing({}, actions(nil, "next"), question({ var = "a" }))
    step(t, { action = "execute" }, first)
    step(t, { action = "next" }, executing({}, actions("next", "next", "prev"), { "note", { type = "odd" }, "n" }))
    assert.is_nil(step(t, { action = "prev" }, first)[3])
    assert.same({ a = "2" }, submitted(step(t, { action = "next" }, executing({}, actions("complete", "complete")))))
    step(t, { action = "cancel", sessionid = "s1" }, executing { status = "canceled" })
    assert.same({ "a0next", "-1prev,next", "a0next", "-0complete" }, seen)
    assert.equal("canceled", got.result.status)
  end))

  it("fails if an answer is missing or doesn't fit", testing.around(function(t)
    for app, case in pairs {
      missing = { {}, { var = "a", required = true } },
      invalid = { { a = "z" }, { var = "a", kind = "list-single", options = { "x" } } },
      ["bad-action"] = { function() return {}, "prev" end, { var = "a" } },
    } do
      local got = run(t, "go", case[1])
      step(t, {}, executing({}, actions("next", "next"), question(case[2])))
      step(t, { action = "cancel", sessionid = "s1" })
      assert.same({ "stanza", "not-acceptable", app }, { got.err.layer, got.err.condition, got.err.app })
    end
  end))

  it("passes on what its function throws, and cancels the session", testing.around(function(t)
    local ok, err
    coroutine.wrap(function()
      ok, err = require "xmpp.guard".call(command.run, t.conn, SERVICE, "go", function() error "mine" end)
    end)()
    step(t, {}, executing({}, question({ var = "a" })))
    step(t, { action = "cancel" })
    assert.is_false(ok)
    assert.truthy(err:find "mine")
  end))

  it("returns refusals, with the command's own condition", testing.around(function(t)
    local got = run(t, "go", { a = "1" })
    step(t, {}, executing({}, question({ var = "a" })))
    local id = t:next()[2].id
    step(t, { action = "complete" }, false)
    t:receive { "iq", { type = "error", id = id, from = SERVICE }, { "error", { type = "modify" },
      { "bad-request", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } }, { "bad-payload", { xmlns = COMMANDS } } } }
    assert.same({ "bad-request", "bad-payload" }, { got.err.condition, got.err.app })
    step(t, { action = "cancel" })
  end))

  it("refuses malformed answers", testing.around(function(t)
    for why, answer_ in pairs {
      ["command: missing"] = { "command", { xmlns = "urn:x", status = "completed" } },
      ["command.node: another one was asked for"] = executing { status = "completed", node = "other" },
      ["command.status: executing, completed or canceled expected"] = executing { status = "odd" },
      ["command.sessionid: missing"] = executing { sessionid = false },
      ["command.x.field 'a': 'odd' is no boolean"] = completed(nil, { "x", { xmlns = DATA, type = "result" },
        { "field", { var = "a", type = "boolean" }, { "value", {}, "odd" } } }),
    } do
      local got = run(t, "go")
      step(t, {}, answer_)
      assert.same({ "bad-format", "the answer of " .. SERVICE .. ": " .. why }, { got.err.condition, got.err.text })
    end
    local got = run(t, "go")
    step(t, {}, executing({}, question({ var = "a" })))
    step(t, { sessionid = "s1" }, executing { sessionid = "s2", status = "completed" })
    assert.truthy(got.err.text:find("this is another session", 1, true))
    step(t, { action = "cancel", sessionid = "s1" })
  end))

  it("takes answers from the address that was asked and from no other", testing.around(function(t)
    local got = run(t, "go")
    local id = t:next()[2].id
    step(t, {}, false)
    for _, from in ipairs { EVE, SERVICE .. ".evil.example", "eve@" .. SERVICE } do
      t:receive { "iq", { type = "result", id = id, from = from }, completed("yes") }
    end
    assert.is_nil(got.done)
    t:receive { "iq", { type = "result", id = id, from = SERVICE }, completed("yes") }
    assert.equal("yes", got.result.text)
  end))

  it("ends, whatever the service asks", testing.around(function(t)
    local got = run(t, "go")
    for _ = 1, 100 do step(t, {}, executing({}, actions("next", "next"))) end
    step(t, { action = "next" }, executing({}, actions("next", "next")))
    step(t, { action = "cancel" })
    assert.same({ "bad-format", "the command has more than 100 steps" }, { got.err.condition, got.err.text })
  end))

  it("doesn't continue in another session", testing.around(function(t)
    local answered = xmpp.promise()
    local got = run(t, "go", function() return answered:wait() end)
    step(t, {}, executing({}, question({ var = "a" })))
    t:ack()
    t:reconnect { new = true }
    answered:resolve { a = "1" }
    t:nothing()
    assert.same({ "closed", "session-lost", true }, { got.err.layer, got.err.condition, got.err.retry })
  end))

  it("is run as a component's user", testing.around(function(t)
    local got
    coroutine.wrap(function()
      got = command.run(t.conn, SERVICE, "go", {}, { from = "user@echo.example.net" })
    end)()
    local x = t:expect({ "iq", { type = "set", to = SERVICE, from = "user@echo.example.net" } },
      executing({}, question({ var = "a" })))
    assert.equal("execute", x[3][2].action)
    t:expect({ "iq", { type = "set", from = "user@echo.example.net" } }, completed("yes"))
    assert.equal("yes", got.text)
  end, { component = "echo.example.net" }))

  it("fails after its timeout, for each step", testing.around(function(t)
    local got = run(t, "go", {}, { timeout = 5 })
    t:advance(4)
    step(t, {}, executing({}, question({ var = "a" })))
    t:advance(4)
    step(t, { action = "complete" }, false)
    assert.is_nil(got.done)
    t:advance(5)
    assert.equal("timeout", got.err.layer)
    step(t, { action = "cancel" })
  end))
end)

describe("command.list", function()
  it("has the commands of the address that was asked", testing.around(function(t)
    local got
    coroutine.wrap(function() got = command.list(t.conn, SERVICE) end)()
    t:expect({ "iq", { type = "get", to = SERVICE }, { "query", { xmlns = ITEMS, node = COMMANDS } } },
      { "query", { xmlns = ITEMS, node = COMMANDS }, { "item", { jid = SERVICE, node = "a", name = "A" } },
        { "item", { jid = "evil.example.net", node = "b", name = "B" } }, { "item", { jid = SERVICE, name = "C" } },
        { "item", { jid = SERVICE:upper(), node = "d" } } })
    assert.same({ { node = "a", name = "A" }, { node = "d" } }, got)
  end))

  it("knows the administrators' commands by name", function()
    assert.equal("http://jabber.org/protocol/admin#add-user", command.admin["add-user"])
    assert.is_nil(command.admin["add-users"])
  end)
end)

describe("mistakes", function()
  it("raise at the caller's line", testing.around(function(t)
    local conn, f = t.conn, function() end
    command.serve(conn, "there", {}, f)
    for why, mistake in pairs {
      ["bad argument #1 to 'serve' (connection expected, got nil)"] = function() command.serve(nil, "a", {}, f) end,
      ["bad argument #2 to 'serve' (string expected, got nil)"] = function() command.serve(conn, nil, {}, f) end,
      ["bad argument #2 to 'serve' ('' can't be a command's node)"] = function() command.serve(conn, "", {}, f) end,
      ["'serve' has no option 'alow'"] = function() command.serve(conn, "a", { alow = 1 }, f) end,
      ["bad argument #4 to 'serve' (function expected, got nil)"] = function() command.serve(conn, "a", {}) end,
      ["option 'at' of 'serve' is for the addresses of a component"] = function()
        command.serve(conn, "a", { at = "x@example.net" }, f)
      end,
      ["there is a command 'there' there already"] = function() command.serve(conn, "there", {}, f) end,
      ["bad argument #2 to 'run' (string expected, got nil)"] = function() command.run(conn, nil, "a") end,
      ["bad argument #4 to 'run' (table expected, got string)"] = function() command.run(conn, "x", "a", "b") end,
      ["'run' has no option 'odd'"] = function() command.run(conn, "x", "a", {}, { odd = 1 }) end,
      ["bad argument #2 to 'list' (string expected, got nil)"] = function() command.list(conn) end,
      ["extension 'command' is used already, with other options"] = function() ext.use(conn, command, { rate = 2 }) end,
    } do
      local ok, err = pcall(mistake)
      assert.is_false(ok)
      assert.equal(why, (err:gsub("^%S+command_spec.lua:%d+: ", "")))
    end
    assert.equal("jid-malformed", select(2, command.run(conn, "@", "a")).condition)
    assert.equal("jid-malformed", select(2, command.list(conn, "@")).condition)
  end))

  it("in a question raise in the function", testing.around(function(t)
    local err
    command.serve(t.conn, "go", {}, function(dialog)
      local ok
      for _, case in ipairs { { "ask", "x" }, { "ask", { fields = { { kind = "odd" } } } }, { "note", "odd", "x" },
        { "ask", {}, { odd = 1 } } } do
        ok, err = pcall(dialog[case[1]], dialog, case[2], case[3])
        assert.is_false(ok)
        err = tostring(err)
      end
      return "fine"
    end)
    assert.same({ "completed", "info", "fine" }, shown(send(t, OWN)))
    assert.truthy(err:find "'ask' has no option 'odd'")
  end))
end)
