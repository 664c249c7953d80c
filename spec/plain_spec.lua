-- The library on a system that has nothing beyond POSIX (c/core/has.h): it is built as if this were one, and must pass
-- the tests of what is done differently there, and log in. So what stands in where something is missing is compiled,
-- and works.
local server = require "spec.support.server"
local shell = require "spec.support.shell"

local run = shell.run
local TESTS = { "t_buf", "t_out", "t_sm", "t_wirelog", "t_bundle", "t_loop", "t_sock",
  "t_watch", "t_dns", "t_conn", "t_sasl" }
local SPECS = { "cmd", "iq" }

describe("without what is beyond POSIX", function()
  local folder, build

  setup(function()
    folder = shell.folder()
    build = ("make -s LUA=lua5.4 BUILD=%s SO=%s/lua/xmpp/core.so CFLAGS='-O0 -g -DXM_PLAIN' WERROR=-Werror ")
      :format(folder, folder)
    shell.succeed(build .. "all")
  end)

  teardown(function() shell.remove(folder) end)

  it("calls nothing that is", function()
    local text = run(("nm -D --undefined-only %s/lua/xmpp/core.so %s/lua/xmpp/sys.so"):format(folder, folder))
    for _, name in ipairs { "timerfd_create", "timerfd_settime", "getentropy", "getrandom", "mlock", "madvise",
      "memrchr", "secure_getenv", "explicit_bzero", "memfd_create", "accept4", "pipe2", "eventfd", "epoll_wait" } do
      assert.is_nil(text:match(" U " .. name .. "[@\n]"), name)
    end
    assert.truthy(text:match " U fcntl[%w]*[@\n]")
  end)

  for _, name in ipairs(TESTS) do
    it("passes " .. name, function()
      shell.succeed(build .. folder .. "/test/" .. name)
      local text, status = run(("spec/support/tap %s/test/%s"):format(folder, name))
      assert.equal(0, status, text)
    end)
  end

  for _, name in ipairs(SPECS) do
    it(("passes %s_spec"):format(name), function()
      local text, status = run(("LUA=lua5.4 SO_DIR=%s/lua spec/support/tap spec/%s_spec.lua"):format(folder, name))
      assert.equal(0, status, text)
    end)
  end

  it("logs in, twice, and hears itself", function()
    local s = server.start "prosody"
    local script = shell.file(([[
      local xmpp = require "xmpp"
      for i = 1, 2 do
        local conn = assert(xmpp.connect_client("alice@%s", %q, %q, %d, { ca_file = %q }))
        assert(conn:send { "message", { to = tostring(conn:jid()), type = "chat" }, { "body", {}, "to myself" } })
        local m = assert(conn:receive_blocking(60))
        print(xmpp.xexpr.text(m, "body"), conn:info().mechanism)
        conn:stop()
      end]]):format(s.domain, s.users.alice, s.host, s.port, s.ca))
    local text = run(("LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='%s/lua/?.so' timeout 300 lua5.4 %s")
      :format(folder, script))
    os.remove(script)
    s:stop()
    assert.matches("^to myself\tSCRAM[^\n]*\nto myself\tSCRAM[^\n]*\n$", text)
  end)

  it("is written so that each feature has its test in one place", function()
    local users = run "grep -l 'XM_HAS_' c/core/*.[ch] c/bind/*.[ch] c/http/*.[ch] c/cmd/*.[ch]"
    for path in users:gmatch "[^\n]+" do
      local header = path:gsub("%.c$", ".h")
      local text = shell.read(path) .. shell.read(header)
      assert.truthy(path == "c/core/has.h" or text:find('#include "has.h"', 1, true), path)
    end
    local named = {}
    for name in shell.read "c/core/has.h":gmatch "#define (XM_HAS_[%u_]+) " do named[name] = true end
    for name in run "grep -oh 'XM_HAS_[A-Z_]*' c/core/*.[ch] c/bind/*.[ch]":gmatch "XM_HAS_[%u_]+" do
      assert.truthy(named[name] or name == "XM_HAS_H", name)
    end
    local elsewhere = run "grep -nE '# *if.*(__linux__|__APPLE__|TCP_QUICKACK|TCP_USER|MADV_)' c/core/*.c c/bind/*.c"
    elsewhere = elsewhere:gsub("c/core/rnd%.c:%d+:#ifdef __APPLE__\n", "")
    elsewhere = elsewhere:gsub("c/core/keyring%.c:%d+:#ifdef MADV_%u+\n", "")
    assert.equal("", elsewhere)
  end)
end)
