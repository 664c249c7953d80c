-- later: what few programs need is loaded when it is first used, and the program can't see that it wasn't there before.
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"

-- Does `pairs` call __pairs?
local pairs_asks = not pairs(setmetatable({}, { __pairs = function() return false end }))

-- Runs a program in a process of its own, with the library as `xmpp`. Returns what it prints.
local function program(text)
  local file = shell.file("local xmpp = require 'xmpp'\n", text)
  local output = shell.succeed(shell.HERE .. LUA .. " " .. file)
  os.remove(file)
  return output
end

local LOADED = [[
  local names = {}
  for name in pairs(package.loaded) do
    if name:find "^xmpp" then names[#names + 1] = name end
  end
  table.sort(names)
  print(table.concat(names, " "))]]

describe("require 'xmpp'", function()
  it("loads what each program needs, and no more", function()
    local all = "xmpp xmpp.core xmpp.load xmpp.options xmpp.version xmpp.wait\n"
    if not pairs_asks then
      all = all:gsub("^xmpp ", "xmpp xmpp.ascii xmpp.client xmpp.contract ")
        :gsub(" xmpp.version", " xmpp.stream%0")
        :gsub("\n", " xmpp.xexpr xmpp.xexpr.draw xmpp.xexpr.form xmpp.xexpr.who\n")
    end
    assert.equal(all, program(LOADED))
  end)

  it("has xexpr when it is asked for, the same each time", function()
    assert.equal("true\ttrue\ttrue\n", program [[
      local first = xmpp.xexpr
      print(first == require "xmpp.xexpr", first == xmpp.xexpr, rawget(xmpp, "xexpr") == first)]])
    assert.equal("true\n", program "local first = require 'xmpp.xexpr' print(first == xmpp.xexpr)")
  end)

  it("keeps xexpr when the modules are loaded again", function()
    assert.equal("true\ttrue\n", program [[
      local first = xmpp.xexpr
      for name in pairs(package.loaded) do
        if name:find "^xmpp" then package.loaded[name] = nil end
      end
      print(xmpp.xexpr == first, require "xmpp".xexpr ~= first)]])
  end)

  it("shows xexpr to a loop over the module's fields", function()
    assert.equal("table\n", program [[
      local copy = {}
      for name, value in pairs(xmpp) do copy[name] = value end
      print(type(copy.xexpr))]])
  end)

  it("keeps a value that the program assigns to xmpp.xexpr", function()
    assert.equal("mine\tmine\n", program [[
      xmpp.xexpr = "mine"
      local copy
      for name, value in pairs(xmpp) do
        if name == "xexpr" then copy = value end
      end
      print(xmpp.xexpr, copy)]])
  end)

  it("keeps assigned values when other fields of the same module are loaded", function()
    assert.equal("mine\tfunction\tmine\tmine\n", program [[
      xmpp.connect_client, xmpp.contract = "mine", "mine"
      print(xmpp.connect_client, type(xmpp.resume), xmpp.connect_client, xmpp.contract)]])
  end)

  it("loads the client's functions only when one of them is used", function()
    assert.equal("true\tfunction\ttable\n", program [[
      print(xmpp.connect_client == xmpp.connect_client, type(xmpp.logout), type(xmpp.contract))]])
    if pairs_asks then
      assert.is_nil(program("local _ = xmpp.connect_component" .. LOADED):find("client", 1, true))
    end
  end)

  it("has no unknown fields, and its metatable is protected", function()
    assert.is_nil(xmpp.nonsense)
    assert.equal("the module's metatable is its own", getmetatable(xmpp))
  end)

  it("finds xexpr even if the global require was removed", function()
    assert.equal("table\n", program "require = nil print(type(xmpp.xexpr))")
  end)

  it("checks every option even if the global require was removed", function()
    for option, why in pairs {
      proxy = "a URL expected that begins with socks5://, socks5h:// or http://",
      url = "it begins with neither wss:// nor ws://",
      pin = "a SHA-256 hash in base64 expected",
    } do
      local said = program(([[
        require = nil
        local _, why = pcall(xmpp.connect_client, "a@xmpp.test", "p", { %s = "x" })
        print(why, require)]]):format(option))
      assert.truthy(said:find(why, 1, true), said)
      assert.truthy(said:find "\tnil\n$", said)
    end
  end)
end)
