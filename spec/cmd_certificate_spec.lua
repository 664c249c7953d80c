-- cmd_certificate: `xmpp check` with a server whose certificate expires in ten days, with an account and without.
local server = require "spec.support.server"
local shell = require "spec.support.shell"

local LUA = os.getenv "LUA" or "lua5.4"

server.each(function(s)
  local password
  setup(function() password = shell.file(s.users.alice, "\n") end)
  teardown(function() os.remove(password) end)

  -- `whom`: an account to log in as, or a domain to check.
  local function check(whom, options)
    local env = shell.HERE .. "HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent XMPP_PASSWORD_FILE=" .. password
    return shell.run(("%s timeout 60 %s bin/xmpp check %s --host %s --port %d --ca-file %s %s"):format(env, LUA, whom,
      s.host, s.port, s.ca, options or ""))
  end

  for _, whom in ipairs { "alice@xmpp.test", "xmpp.test" } do
    it("warns of a certificate that ends soon: " .. whom, function()
      local text, status = check(whom)
      assert.equal(1, status, text)
      assert.matches("^XMPP WARNING %- certificate ends in %d+ days | .*cert=%d+d;14;7\n$", text)
    end)

    it("calls it critical after half of that time: " .. whom, function()
      local text, status = check(whom, "--cert-days 30")
      assert.equal(2, status, text)
      assert.matches("^XMPP CRITICAL %- certificate ends in %d+ days | .*cert=%d+d;30;15\n$", text)
    end)

    it("is silent about it if there is enough time: " .. whom, function()
      local text, status = check(whom, "--cert-days 9")
      assert.equal(0, status, text)
      assert.matches("^XMPP OK %- .*certificate %d+d | ", text)
    end)
  end

  it("writes the days as metrics and as JSON", function()
    local text = check("xmpp.test", "--prometheus")
    local days = tonumber(text:match '\nxmpp_certificate_days{target="xmpp.test"} (%d+)\n')
    assert.is_true(days == 9 or days == 10, text)
    assert.truthy(text:find('xmpp_up{target="xmpp.test"} 1\n', 1, true), text)
    text = check("xmpp.test", "--json")
    assert.matches('"certificate_days":%d+,"problems":%["certificate ends in %d+ days"%]}\n$', text)
  end)
end, { cert = "ending" }, { "prosody" })
