-- probe with Prosody and ejabberd: a component's messages to itself, with one connection and with several of the same
-- domain, and connections that can't do it.
local opened = require "spec.support.opened"
local server = require "spec.support.server"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local DOMAIN = "echo.xmpp.test"

server.each(function(s)
  after_each(opened.stop_all)

  local function connect(opts)
    return opened.keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret, opts)))
  end

  describe("probes", function()
    it("come back through the server, in time", function()
      local c, shown = connect(), 0
      c:set_handler(function() shown = shown + 1 end)
      c:tap(function() shown = shown + 1 end)
      for _ = 1, 5 do assert.is_true(assert(c:probe(30)) < 30) end
      assert.equal(0, shown)
      assert(c:stop(30))
      assert.equal("closed", select(2, c:probe()).layer)
    end)

    it("keep an idle connection", function()
      local c = connect { keepalive_probe = true, keepalive = 0.2, ack_timeout = 20 }
      xmpp.sleep(1)
      assert.equal("ready", c:state())
      assert.is_true(assert(c:probe(30)) < 30)
    end)
  end)
end)

-- Several connections of one domain: one that gets another's probe forwards it, and if the server chooses by address,
-- an address that leads to the sender is found.
for _, type in ipairs { "none", "random", "bare_destination" } do
  server.each(function(s)
    after_each(opened.stop_all)

    local function connect(opts)
      return opened.keep(assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret, opts)))
    end

    it("probes of three connections come back, balanced by " .. type, function()
      local conns, shown = {}, 0
      for i = 1, 3 do
        conns[i] = connect()
        conns[i]:set_handler(function() shown = shown + 1 end)
      end
      for _ = 1, 4 do
        for i = 1, 3 do
          local took = conns[i]:probe(5) or conns[i]:probe(5) or assert(conns[i]:probe(5)) -- 32 hops may not be enough
          assert.is_true(took < 5)
        end
      end
      assert.equal(0, shown)
      for i = 1, 3 do assert(conns[i]:stop(30)) end
    end)

    if type == "none" then return end

    it("a spare connection that gets nothing is ended, balanced by " .. type, function()
      for _ = 1, 3 do connect() end
      local spare = connect { keepalive_probe = true, keepalive = 0.5, ack_timeout = 0.5 }
      assert.equal("timeout", select(2, spare:probe(1)).layer)
      stage.turn_until(function() return spare:state() == "closed" end, 60)
      assert.equal("timeout", select(2, spare:receive()).condition)
    end)
  end, type ~= "none" and { extra_conf = ("domain_balancing:\n  %s:\n    type: %s\n    component_number: 3\n")
    :format(DOMAIN, type) } or nil, { "ejabberd" })
end
