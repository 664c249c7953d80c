-- luas: differences between the Luas that the library supports: which module is for which, and where one can't yield.

local core = require "xmpp.core"
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local shell = require "spec.support.shell"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local expect, note = stage.expect, stage.note
local LUA = os.getenv "LUA" or "lua5.4"

describe("a module", function()
  local FOLDERS = { ["lua5.4"] = "lua" }
  for _, name in ipairs { "lua5.3", "lua5.1", "luajit" } do FOLDERS[name] = "build/" .. name end
  local NAMES = { ["lua5.5"] = "Lua 5.5", ["lua5.4"] = "Lua 5.4", ["lua5.3"] = "Lua 5.3",
    ["lua5.1"] = "Lua 5.1 and LuaJIT" }
  NAMES.luajit = NAMES["lua5.1"] -- the same module works for both

  local function load_with(lua, folder)
    return shell.run(("LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='%s/?.so' %s -e '%s'"):format(folder, lua,
      [[print((select(2, pcall(function() return require "xmpp".jid "A@b" end))))]]))
  end

  local here = LUA:match "[^/]*$"
  for name, folder in pairs(FOLDERS) do
    it(("for %s %s"):format(name, NAMES[name] == NAMES[here] and "works" or "is refused, with a sentence"), function()
      local said = shell.run("make -s LUA=" .. name)
      local text = load_with(LUA, folder)
      if NAMES[name] == NAMES[here] then
        assert.equal("a@b\n", text)
      else
        assert.equal(("xmpp.core was built for %s, this is %s: build it with 'make LUA=%s' (found %s/xmpp/core.so)\n")
          :format(NAMES[name], luas.name, here, folder), text, said)
      end
    end)
  end

  it("lets the command start and parse its arguments", function()
    local text, status = shell.run(shell.HERE .. ("%s bin/xmpp --version"):format(LUA))
    assert.same({ xmpp._VERSION .. "\n", 0 }, { text, status })
    text, status = shell.run(shell.HERE
      .. ("env HOME=/nowhere XDG_CONFIG_HOME=/nowhere %s bin/xmpp ping -a a@b.invalid"):format(LUA))
    assert.equal(3, status, text)
    assert.matches("^xmpp: there is no password for a@b%.invalid", text)
  end)

  it("reports which Lua it was built for", function()
    assert.equal("xmpp.core built for " .. NAMES[here], core.built)
  end)

  it("that can't be loaded for another reason raises the linker's message", function()
    local folder = shell.folder()
    finally(function() shell.remove(folder) end)
    shell.succeed(("mkdir %s/xmpp && echo nothing > %s/xmpp/core.so"):format(folder, folder))
    assert.matches("error loading module 'xmpp.core'", (load_with(LUA, folder)), 1, true)
    assert.matches("module 'xmpp.core' not found", (load_with(LUA, "/nonexistent")), 1, true)
  end)
end)

describe("a wait", function()
  local f, conn

  before_each(function()
    stage.begin()
    f = stage.open()
    conn = f.conn
    conn:set_handler()
  end)

  after_each(function()
    f, conn = nil, nil
    stage.finish()
  end)

  local REQUEST = { "iq", { type = "get", id = "a1" }, { "q", { xmlns = "urn:q" } } }
  local across_pcall = coroutine.wrap(function() return pcall(coroutine.yield, true) end)() == true
  local across_iterator = pcall(coroutine.wrap(function()
    for value in coroutine.yield do note(value) end
  end))

  -- Afterwards nothing is broken: the coroutine goes on and may wait, and others get their turn.
  local function goes_on(c)
    local response = c:send_await(REQUEST)
    note("then-" .. response[2].type)
  end

  it("inside pcall in a callback works, or raises a clear error before anything is sent", function()
    conn:set_callback_once(function(_, c)
      local ok, why = pcall(c.send_await, c, { "iq", { type = "get", id = "b1" } })
      note(tostring(ok))
      if not ok then assert(why:find("can't wait here: .*in Lua 5%.1 pcall"), why) end
      goes_on(c)
      return true
    end, { name = "message" })
    stage.come(f, 1)
    if across_pcall then
      expect ""
      f:feed "<iq type='result' id='b1'/>"
      expect "true"
    else
      expect "false"
    end
    local sent = f:sent()
    assert.equal(across_pcall, sent:find("b1", 1, true) ~= nil)
    assert.truthy(sent:find("a1", 1, true))
    f:feed "<iq type='result' id='a1'/>"
    expect "then-result"
    assert.same({}, conn:callbacks())
  end)

  it("in an iterator works, or raises Lua's own error", function()
    local turns = 0
    local function iterator(c)
      turns = turns + 1
      if turns > 1 then return nil end
      return c:send_await { "iq", { type = "get", id = "b1" } }
    end
    conn:set_callback(function(_, c)
      for response in iterator, c do note(response[2].id) end
      note "over"
    end, { name = "message" })
    stage.come(f, 1)
    expect ""
    f:feed "<iq type='result' id='b1'/>"
    if across_iterator then
      expect "b1 over"
    else
      expect ""
      local errors = stage.take_errors()
      assert.equal(1, #errors)
      assert.truthy(errors[1].text:find("attempt to yield across metamethod/C-call boundary", 1, true), errors[1].text)
    end
    conn:unset_callback(conn:callbacks()[1])
    conn:set_callback_once(function(_, c)
      goes_on(c)
      return true
    end, { name = "message" })
    stage.come(f, 2)
    f:feed "<iq type='result' id='a1'/>"
    expect "then-result"
  end)

  it("inside pcall, outside of steps, yields or turns the loop", function()
    local co = coroutine.create(function()
      pcall(function()
        xmpp.sleep(0.01)
        note "slept"
      end)
    end)
    assert(coroutine.resume(co))
    expect(across_pcall and "" or "slept")
    assert.equal(across_pcall and "suspended" or "dead", coroutine.status(co))
    if across_pcall then stage.turn_until(function() return coroutine.status(co) == "dead" end) end
  end)
end)

describe("a callback that waits", function()
  -- In Lua 5.1 a table with weak keys only would keep it alive: from the task to the connection, to the callback, to
  -- the coroutine whose task it is.
  it("is collected with its connection when nothing else refers to them, though they refer to each other", function()
    local alive = setmetatable({}, { __mode = "k" })
    local function begin()
      local f = fed.open { jid = stage.ME }
      alive[f.conn] = true
      f.conn:set_callback_once(function(_, c)
        local co = coroutine.running()
        alive[co] = true
        c:set_callback(function() return co end)
        coroutine.yield()
      end)
      f.conn:set_handler()
      f:feed "<iq type='get' id='q1' from='bob@xmpp.test'><q xmlns='urn:q'/></iq>"
      f.conn:stop_handler()
    end
    begin()
    for _ = 1, 4 do collectgarbage() end
    fed.settle()
    assert.is_nil(next(alive))
    assert.is_false(core.is_busy())
  end)

  it("forever: its iq is answered by the library once it is collected", function()
    local f = fed.open { jid = stage.ME }
    finally(function() f:feed "</stream:stream>" end)
    f.conn:set_callback(function() coroutine.yield() end)
    f.conn:set_handler()
    f:feed "<iq type='get' id='q1' from='bob@xmpp.test'><q xmlns='urn:q'/></iq>"
    assert.equal("", f:sent())
    for _ = 1, 4 do collectgarbage() end
    fed.settle()
    assert.truthy(f:sent():find("<service-unavailable", 1, true))
  end)
end)
