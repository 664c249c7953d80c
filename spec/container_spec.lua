-- examples/container: the file for an image is the one that the manual shows, what it copies and installs is there, and
-- the bot in it works. (spec/support/containerfile runs its steps in folders with Debian, where there is a network and
-- no container engine.)
local shell = require "spec.support.shell"
local testing = require "xmpp.testing"

local FILE = "examples/container/Containerfile"
local text = shell.read(FILE)

describe("the Containerfile", function()
  it("is what the manual shows", function()
    assert.equal(text:match "(FROM .*)$", (shell.read "doc/deploying.md":match "```dockerfile\n(.-)```\n"))
  end)

  it("copies what is there, and installs what `make deb` makes", function()
    local copied = {}
    for from in text:gmatch "\nCOPY ([^%-%s]%S*) " do
      copied[#copied + 1] = from
      assert.equal(0, select(2, shell.run("test -e " .. from)), from)
    end
    assert.same({ ".", "examples/container/bot.lua" }, copied)
    local packages = {}
    for package in text:gmatch "/packages/([%w%-]+)_%*%.deb" do
      packages[#packages + 1] = package
      assert.truthy(shell.read "debian/control":find("\nPackage: " .. package .. "\n", 1, true), package)
    end
    assert.same({ "lua-xmpp", "xmpp-command" }, packages)
  end)

  it("has a bot that repeats what it is told", testing.around(function(t)
    local bot = assert(loadfile "examples/container/bot.lua")
    local env = setmetatable({ conn = t.conn, xmpp = require "xmpp", log = print }, { __index = _G })
    if rawget(_G, "setfenv") then setfenv(bot, env) else debug.setupvalue(bot, 1, env) end -- luacheck: ignore 113
    bot()
    t:expect { "presence" }
    t:receive "<message from='anna@example.net/pc' type='chat'><body>Hi</body></message>"
    t:expect { "message", { to = "anna@example.net/pc" }, { "body", "You said: Hi" } }
  end))
end)
