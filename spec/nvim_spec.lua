-- nvim: a conversation between Neovim, with the plugin in examples/nvim, and connections of this process.

local disco = require "xmpp.disco"
local info = require "xmpp.info"
local iq = require "xmpp.iq"
local muc = require "xmpp.muc"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local ROSTER = "jabber:iq:roster"

local function start(s, stopped)
  shell.succeed "make -s LUA=luajit"
  return assert(io.popen(([[exec env -u LD_PRELOAD TALK_HOST='%s' TALK_PORT=%d TALK_CA='%s' TALK_STOPPED='%s' \
    LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='build/luajit/?.so' \
    nvim --headless -u NONE -c 'luafile spec/support/nvim_talk.lua' -c 'qa!' </dev/null 2>&1]])
    :format(s.host, s.port, s.ca, stopped)))
end

server.each(function(s)
  describe("Neovim", function()
    local nvim, bob, desk, stopped, tea, named

    local function login(name, resource)
      return assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
        s.opts { resource = resource }))
    end

    local function signal(name) os.execute(("kill -%s %d"):format(name, s.pid)) end

    local function without_prompt(line) return (line:gsub("|> $", "|")) end

    -- Some versions of Neovim write the prompt when its line is entered, others before.
    local function hears(...)
      assert.equal(without_prompt(table.concat({ ... }, "\t")), without_prompt(assert(nvim:read "*l")))
    end

    -- The next message's text.
    local function received(conn)
      while true do
        local stanza = assert(conn:receive_blocking(60))
        if stanza[1] == "message" then return xexpr.text(stanza, "body") end
      end
    end

    setup(function()
      bob, desk = login("bob", "pc"), login("alice", "desk")
      tea = assert(muc.join(bob, "tea@conference." .. s.domain, "Bob B.", { create = "default" }))
      named = xmpp.promise()
      tea:on("message", function(m) if m.nick == "alice" then named:resolve(m.text) end end)
      assert(muc.join(bob, "locked@conference." .. s.domain, "Bob", { create = function()
        return { ["muc#roomconfig_roomsecret"] = "s3cret" }
      end }))
      stopped = os.tmpname()
      os.remove(stopped)
    end)

    teardown(function()
      signal "CONT"
      if nvim then nvim:close() end
      os.remove(stopped)
      bob:stop()
      desk:stop()
    end)

    local function tell(text)
      assert(bob:send { "message", { to = "alice@xmpp.test/nvim", type = "chat" }, { "body", text } })
    end

    -- Bob is already in the room when Alice comes; he is mentioned, and answers while she looks at another buffer.
    local function in_rooms()
      hears("room", "TIME * You are in the room as alice, with 1 other|")
      assert.equal("Bob B.: tea?", assert(named:wait(60)))
      hears("named", "TIME <alice> Bob B.: tea?|> ")
      hears("completed", "> and you, Bob B. too, or Car")
      hears "elsewhere"
      assert(tea:say "I was asleep")
      assert(tea:say "yes, alice")
      assert(tea:whisper("alice", "and cake"))
      assert(bob:flush())
      hears("counted", "  Bob (1)|# tea (3)", 2, "Xmpp: Bob B. in tea: yes, alice", "Xmpp: Bob B. in tea: and cake")
      hears("looked", "  Bob (1)|# tea", "TIME <Bob B.> I was asleep|TIME <Bob B.> yes, alice|"
        .. "TIME <Bob B., to you alone> and cake|> ")
      assert(tea:leave())
      hears("left", "TIME * You have left the room|> ")
      hears("not there", "Xmpp: leave which room? Give its address")
      hears "locked"
    end

    it("chats, notifies, talks in rooms, and never waits for the network", function()
      signal "STOP"
      nvim = start(s, stopped)
      hears("typed", "written meanwhile", 0) -- while it connects to a server that doesn't answer
      signal "CONT"
      hears "connected"
      assert(bob:send { "presence" })
      assert(desk:send_await { "iq", { type = "set" },
        { "query", { xmlns = ROSTER }, { "item", { jid = "bob@xmpp.test", name = "Bob" } } } })
      hears("roster", "  Bob")
      assert.equal("Hello, Bob", received(bob))
      local _, refused = iq.set(bob, "alice@xmpp.test/nvim",
        { "query", { xmlns = ROSTER }, { "item", { jid = "bob@xmpp.test", name = "the boss" } } })
      assert.equal("service-unavailable", refused.condition) -- so below he is still called "Bob"
      assert.equal("xmpp_nvim", assert(info.version(desk, "alice@xmpp.test/nvim")).name)
      assert.is_true(assert(disco.supports(desk, "alice@xmpp.test/nvim", "http://jabber.org/protocol/caps")))
      tell "Hi\n<& you>"
      hears("chat", "TIME <alice> Hello, Bob|TIME <Bob> Hi|<& you>|> ")
      hears("notes", 1)
      assert(bob:flush())
      signal "STOP"
      assert(io.open(stopped, "w")):close()
      hears("stopped", "TIME <alice> not yet sent, but now")
      assert.equal("> and on", nvim:read "*l")
      signal "CONT"
      assert.equal("not yet sent, but now", received(bob))
      tell "Are you there?"
      hears("unread", "  Bob (1)", "TIME <Bob> Are you there?")
      assert.equal("> and on", nvim:read "*l")
      hears("read", "  Bob")
      assert.equal("and on", received(bob))
      tell "away"
      hears("notes", 3)
      hears("fast", "false", "false")
      hears("run", "false", "the loop is libuv's, which is to be run instead of this one (or call :stop() on what its "
        .. "start gave)")
      assert(bob:send { "presence", { to = "alice@xmpp.test/nvim" } })
      hears "sees Bob"
      hears("throws", "xmpp: error in a callback: over the screen?[2J")
      hears("again", "> ")
      in_rooms()
      assert.equal("", nvim:read "*a")
    end)

    it("has closed its stream when it is gone", function()
      local response = assert(desk:send_await { "iq", { type = "get", to = "alice@xmpp.test/nvim" },
        { "ping", { xmlns = "urn:xmpp:ping" } } })
      assert.is_true(xexpr.is_error(response))
    end)
  end)
end, nil, { "prosody" })
