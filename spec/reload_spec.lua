-- reload: the library is loaded again in a Lua state where it is already in use, as editors do with a changed plugin,
-- and busted for every file of specs. There is only one core in a state: what was begun goes on, with old functions and
-- with new ones.
local fed = require "spec.support.fed"
local shell = require "spec.support.shell"

local old, old_core = require "xmpp", require "xmpp.core"
local LUA = os.getenv "LUA" or "lua5.4"

-- The methods that connections have after this file has loaded the library.
local methods, close
do
  local f = fed.open { jid = "me@xmpp.test/here" }
  local meta = debug.getmetatable(f.conn)
  methods, close = meta.__index, meta.__close
  f:feed "</stream:stream>"
end

-- Runs f(load) with the modules removed from package.loaded; load() loads them again. Returns xmpp, xmpp.core.
local function with_reload(f)
  local kept = {}
  for name, module in pairs(package.loaded) do
    if name:find "^xmpp" then kept[name] = module end
  end
  local function clear()
    for name in pairs(package.loaded) do
      if name:find "^xmpp" then package.loaded[name] = nil end
    end
  end
  local ok, why = pcall(f, function()
    clear()
    return require "xmpp", require "xmpp.core"
  end)
  clear()
  for name, module in pairs(kept) do package.loaded[name] = module end
  old_core.methods(methods, close)
  if not ok then error(why, 0) end
end

local function reloads(title, f)
  it(title, function() with_reload(f) end)
end

describe("The library, loaded again,", function()
  local f, conn

  before_each(function()
    f = fed.open { jid = "me@xmpp.test/here" }
    conn = f.conn
  end)

  after_each(function()
    if conn:state() ~= "closed" then f:feed "</stream:stream>" end
    f, conn = nil, nil
  end)

  reloads("has the same core, and new Lua functions", function(load)
    local xmpp, core = load()
    assert.equal(old_core, core)
    assert.not_equal(old, xmpp)
    assert.equal(old.fd(), xmpp.fd())
    assert.equal(old.default_handler, xmpp.default_handler)
  end)

  reloads("leaves a connection its handler, callbacks, queue and who waits", function(load)
    local got = {}
    local function note(...) got[#got + 1] = table.concat({ ... }, " ") end
    conn:set_callback(function(s) note("callback", s[2].n) end, { name = "message" })
    conn:set_callback(function()
      old.sleep(0.002)
      note "slept"
    end, { name = "message" })
    conn:set_handler()
    conn:send_callback({ "iq", { type = "get", id = "w", to = "bob@xmpp.test" } }, function(s) note(s[2].id) end)
    old.spawn(function()
      note("awaited", conn:send_await({ "iq", { type = "get", id = "v", to = "bob@xmpp.test" } })[2].id)
    end)
    fed.settle()
    f:feed "<message n='1' from='bob@xmpp.test'/>"
    local xmpp = load()
    collectgarbage()
    collectgarbage()
    f:feed("<message n='2' from='bob@xmpp.test'/><iq type='result' id='w' from='bob@xmpp.test'/>"
      .. "<iq type='result' id='v' from='bob@xmpp.test'/>")
    assert.is_true(conn:send { "presence" })
    assert.is_truthy(f:sent():find("<presence/>", 1, true))
    xmpp.sleep(0.01)
    table.sort(got)
    assert.same({ "awaited v", "callback 1", "callback 2", "slept", "slept", "w" }, got)
    assert.equal(2, #conn:callbacks())
    conn:stop_handler()
    f:feed "<message n='3'/>"
    assert.equal("3", xmpp.receive(conn)[2].n)
  end)

  reloads("leaves on_error, timers and tasks what they were", function(load)
    local errors, ticks = {}, 0
    old.on_error(function(text) errors[#errors + 1] = text:match "^[^\n]*" end)
    local timer = old.every(0.001, function() ticks = ticks + 1 end)
    old.spawn(function() error("old", 0) end)
    local xmpp = load()
    collectgarbage()
    xmpp.spawn(function() error("new", 0) end)
    xmpp.sleep(0.05)
    assert.same({ "old", "new" }, errors)
    assert.is_true(ticks > 2)
    assert.is_true(timer:cancel())
    xmpp.on_error(nil)
  end)

  reloads("is ended by xmpp.quit, whichever load runs the loop", function(load)
    local xmpp = load()
    local timer = old.after(1000, print)
    old.spawn(function() xmpp.quit() end)
    assert.is_true(old.run())
    old.spawn(function() old.quit() end)
    assert.is_true(xmpp.run())
    timer:cancel()
  end)

  reloads("knows of an account that it has logged in without showing its password", function(load)
    old_core.shared.stronger["me@xmpp.test"] = "SCRAM-SHA-256"
    old_core.shared.bound["me@xmpp.test"] = "tls-exporter"
    load()
    assert.equal("SCRAM-SHA-256", old_core.shared.stronger["me@xmpp.test"])
    assert.equal("tls-exporter", old_core.shared.bound["me@xmpp.test"])
    old.forget()
    assert.same({}, old_core.shared.bound)
    assert.same({}, old_core.shared.stronger)
  end)

  reloads("does not collect what the first load has made", function(load)
    local xmpp
    for _ = 1, 3 do xmpp = load() end
    collectgarbage()
    collectgarbage()
    conn:set_handler(function(stanza) f.heard = stanza[2].n end)
    f:feed "<message n='9'/>"
    assert.equal("9", f.heard)
    assert.equal("ready", xmpp.state(conn))
  end)
end)

describe("A host's loop, when the library is loaded again,", function()
  reloads("is driven by the new load, and the old driver is stopped", function(load)
    local first = require("xmpp.loop.driver").begin("a host")
    local xmpp = load()
    local driver = require "xmpp.loop.driver"
    local ok, why = pcall(xmpp.run)
    assert.is_false(ok)
    assert.truthy(why:find("the loop is a host's", 1, true), why)
    local second = driver.begin("another host")
    assert.is_true(first.stopped)
    first:stop() -- a second time it does nothing
    ok, why = pcall(driver.begin, "a third")
    assert.is_false(ok)
    assert.truthy(why:find("another host drives the library already", 1, true), why)
    second:stop()
    assert.is_true(xmpp.run())
  end)

  reloads("waits for waits that were begun before", function(load)
    local paused = 0
    local driver = require("xmpp.loop.driver").begin("a host", function(box, own)
      paused = paused + 1
      own(box)
    end)
    local xmpp, slept = load(), nil
    coroutine.wrap(function() slept = xmpp.sleep(0) or "slept" end)()
    assert.equal(1, paused)
    fed.settle()
    assert.equal("slept", slept)
    driver:stop()
  end)
end)

it("Another copy of the module in one Lua state has the same core", function()
  shell.in_folder(function(folder)
    shell.succeed(("mkdir %s/xmpp && cp %s/xmpp/core.so %s/xmpp"):format(folder, os.getenv "SO_DIR" or "lua", folder))
    local path = shell.file(([[
      local one = require "xmpp.core"
      package.loaded["xmpp.core"] = nil
      package.cpath = "%s/?.so"
      local two = require "xmpp.core"
      print(one == two)]]):format(folder))
    assert.equal("true\n", shell.succeed(shell.HERE .. LUA .. " " .. path))
    os.remove(path)
  end)
end)

-- busted restores package.loaded after each of its files.
it("busted loads it again for each file; connections of earlier files still work", function()
  shell.in_folder(function(folder)
    local function write(name, text)
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    write("a_spec.lua", [[
      local xmpp = require "xmpp"
      local f = require("spec.support.fed").open { jid = "me@xmpp.test/here" }
      it("opens", function()
        f.conn:set_handler(function(stanza) _G.debug.getregistry().heard = stanza[2].n end)
        _G.debug.getregistry().left = f.conn
      end)]])
    write("b_spec.lua", [[
      local xmpp = require "xmpp"
      local fed = require "spec.support.fed"
      it("goes on", function()
        local registry = _G.debug.getregistry()
        collectgarbage()
        collectgarbage()
        require("xmpp.core").conn.feed(registry.left, "<message n='7'/>")
        fed.settle()
        assert.equal("7", registry.heard)
        assert.is_true(registry.left:send { "presence" })
        require("xmpp.core").conn.feed(registry.left, "</stream:stream>")
        fed.settle()
        registry.left = nil
      end)]])
    local paths = shell.HERE:gsub("(?%.lua)'", "%1;;'"):gsub("(?%.so)'", "%1;;'")
    local text = shell.succeed(("%s %s /usr/bin/busted -o TAP %s/a_spec.lua %s/b_spec.lua"):format(paths, LUA, folder,
      folder))
    assert.truthy(text:find("ok 2", 1, true), text)
    assert.is_nil(text:find("not ok", 1, true), text)
  end)
end)
