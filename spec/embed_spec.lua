-- For programs that embed Lua: `make lib`, an example of such a program, and Lua states that are closed with everything
-- open in them, or at the moment when their allocator fails. Under valgrind, or AddressSanitizer where that is asked
-- for. By default with a sample of a login's allocations; with each of them with TORTURE=1.
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local all = os.getenv "TORTURE" == "1"
local sanitized = os.getenv "PRELOAD" ~= nil
local LUA = (os.getenv "LUA" or "lua5.4"):match "[^/]*$"
local LUA_PC = os.getenv "LUA_PC" or LUA == "lua" and "lua" .. _VERSION:match "[%d.]+" or LUA
local NAME = LUA == "lua5.4" and "xmpp" or "xmpp-" .. LUA
local VERSION = require "xmpp.version".number
local SANITIZE = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
local VALGRIND = "valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=9 "

-- With ten thousand messages in an account's archive, Prosody sometimes stops for seconds to delete a hundred of them.
local ARCHIVE_NOTHING = "default_archive_policy = false"

local run, succeed = shell.run, shell.succeed
local folder, lib

-- A host as small as can be.
local SMALL = [[
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <xmpp.h>

int main(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_pushcfunction(L, luaopen_xmpp);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "_VERSION");
  printf("%s, %s\n", lua_tostring(L, -1), XMPP_VERSION);
  lua_close(L);
  return 0;
}
]]

-- A program of C, with Lua and the library in it.
local function link(source, to)
  local lua = ("$(pkg-config --variable=libdir %s)/lib%s.a"):format(LUA_PC, jit and "luajit-5.1" or LUA_PC)
  local wslay = run(("nm -u %s/libxmpp.a"):format(lib)):find("wslay", 1, true) and "-lwslay" or ""
  succeed(("cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror %s -o %s/%s %s -I%s $(pkg-config --cflags %s) %s/libxmpp.a"
    .. " %s $(pkg-config --libs openssl expat libuv libcares libidn2) -lunistring %s -lm -ldl -lpthread"):format(
    sanitized and SANITIZE or "-g", folder, to, source, lib, LUA_PC, lib, lua, wslay))
end

-- The shell command for a program in the folder, with the server `s` in its environment.
local function command(s, program, arguments)
  return ("env XMPP_HOST=%s XMPP_PORT=%d XMPP_CA=%s %s%s/%s %s"):format(s.host, s.port, s.ca,
    sanitized and "" or VALGRIND, folder, program, arguments)
end

setup(function()
  folder = shell.folder()
  local build = sanitized and "build-san" or "build"
  lib = (LUA == "lua5.4" and build or build .. "/" .. LUA) .. "/lib"
  succeed(("make -s lib LUA=%s BUILD=%s %s"):format(LUA, build, sanitized and "CFLAGS='" .. SANITIZE .. "'" or ""))
end)

teardown(function() shell.remove(folder) end)

describe("make lib", function()
  it("exports the functions of xmpp.h, which needs nothing but Lua's headers", function()
    local names = {}
    for name in run(("nm -D --defined-only %s/libxmpp.so"):format(lib)):gmatch "%x+ T ([^\n]+)" do
      names[#names + 1] = name
      assert.truthy(shell.read(lib .. "/xmpp.h"):find("[ *]" .. name .. "%([^)\n]+%);"), name)
    end
    assert.same({ "luaopen_xmpp", "luaopen_xmpp_core", "xmpp_alloc", "xmpp_allocator_free", "xmpp_allocator_new" },
      names)
    local soname = run(("readelf -d %s/libxmpp.so"):format(lib)):match "SONAME[^\n]*%[([^%]]*)%]"
    assert.equal(("lib%s.so.%s"):format(NAME, VERSION:match "^%d+"), soname)
    assert.equal("libxmpp.so\n", run(("readlink %s/%s"):format(lib, soname)))
    assert.truthy(shell.read(lib .. "/xmpp.h"):find('#define XMPP_VERSION "' .. VERSION .. '"', 1, true))
    succeed(("echo '#include <xmpp.h>' | cc -std=c99 -pedantic-errors -Wall -Werror $(pkg-config --cflags %s) -I%s "
      .. "-fsyntax-only -x c -"):format(LUA_PC, lib))
  end)

  it("installs what pkg-config finds, for two ways of linking, and takes that away again", function()
    shell.in_folder(function(there)
      local make = ("make -s LUA=%s BUILD=%s PREFIX=%s %s "):format(LUA, sanitized and "build-san" or "build", there,
        sanitized and "CFLAGS='" .. SANITIZE .. "'" or "")
      succeed(make .. "install-lib")
      local files = { "include/xmpp.h" }
      for _, suffix in ipairs { "a", "so", "so." .. VERSION:match "^%d+", "so." .. VERSION } do
        files[#files + 1] = ("lib/lib%s.%s"):format(NAME, suffix)
      end
      files[#files + 1] = ("lib/pkgconfig/%s.pc"):format(NAME)
      assert.equal(table.concat(files, "\n") .. "\n",
        succeed(("cd %s && find * ! -type d | LC_ALL=C sort"):format(there)))
      local pc = ("PKG_CONFIG_PATH=%s/lib/pkgconfig pkg-config %%s %s"):format(there, NAME)
      assert.equal(VERSION .. "\n", succeed(pc:format "--modversion"))
      if not sanitized then
        local cc = ("cc -std=c11 -o %s/small %s/small.c $(%s --cflags --libs)"):format(there, there, pc)
        shell.write(there .. "/small.c", SMALL)
        for _, static in ipairs { "", "--static" } do
          if static ~= "" then succeed(("rm %s/lib/lib%s.so*"):format(there, NAME)) end
          succeed(cc:format(static))
          assert.equal(("xmpp %s, %s\n"):format(VERSION, VERSION),
            succeed(("LD_LIBRARY_PATH=%s/lib %s/small"):format(there, there)))
          local needs = succeed(("readelf -d %s/small"):format(there)):find("lib" .. NAME .. ".so.", 1, true) ~= nil
          assert.equal(static == "", needs)
        end
        succeed(("rm %s/small*"):format(there))
      end
      succeed(make .. "uninstall-lib")
      assert.equal("", succeed(("cd %s && find * ! -type d"):format(there)))
    end)
  end)

  it("has every Lua file in it, to be had by require, and finds others by the program's", function()
    if sanitized then return end -- by this Lua itself, which has no sanitizer in it
    local text = succeed(("cd / && LUA_PATH= LUA_CPATH= %s -e '%s'"):format(os.getenv "LUA" or "lua5.4", ([[
      package.path, package.cpath = "", ""
      local xmpp = assert(package.loadlib("%s/libxmpp.so", "luaopen_xmpp"))()
      assert(xmpp.xexpr == require "xmpp.xexpr" and require "xmpp.core".jid == xmpp.jid)
      for name in pairs(package.preload) do io.write(" ", name, " ") end
      package.preload.cjson = function() return { new = function() error("the program has it", 0) end } end
      print("\n", xmpp._VERSION, xmpp.jid "A@b", select(2, pcall(xmpp.xexpr.to_json, { "a" })))]]):format(succeed(
      ("cd %s && pwd"):format(lib)):match "%S+")))
    assert.truthy(text:find("\n\t" .. xmpp._VERSION .. "\ta@b\tthe program has it\n", 1, true), text)
    for name in succeed "find lua/xmpp -name '*.lua'":gmatch "lua/([^\n]+)%.lua" do
      local module = name:gsub("/init$", ""):gsub("/", ".")
      local is_in = module ~= "xmpp.types" and not module:find "^xmpp%.cmd%." -- the command is a program of its own
      assert.equal(is_in, text:find(" " .. module .. " ", 1, true) ~= nil, module)
    end
  end)
end)

server.each(function(s)
  local function login(name)
    return assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port, s.opts()))
  end

  describe("a program", function()
    setup(function()
      link("spec/support/embed.c", "embed")
      if not jit then link("examples/embed/host.c", "host") end
    end)

    -- Returns runs, allocations, and how many runs succeeded, returned an error, raised one; for one of the threads.
    local function embed(arguments)
      local said = folder .. "/stderr"
      local text, status = run(command(s, "embed", arguments .. " 2>" .. said))
      assert.equal(0, status, text .. shell.read(said):sub(-20000))
      local runs, n, fine, told, raised =
        text:match "^(%d+) runs, (%d+) allocations: (%d+) fine, (%d+) told, (%d+) raised"
      assert.truthy(runs, text)
      if all then io.stderr:write("# ", s.name, ", ", arguments, ": ", text) end
      return tonumber(runs), tonumber(n), tonumber(fine), tonumber(told), tonumber(raised)
    end

    it("has a state in each of two threads", function()
      local runs, _, fine = embed "spec/support/embed_login.lua never 1 1 2"
      assert.same({ 1, 1 }, { runs, fine })
    end)

    if not jit then -- LuaJIT has its own allocator
      it("has states with the library's allocator: logged in, with everything open, and short of memory", function()
        for _, script in ipairs { "login", "open" } do
          local runs, _, fine = embed(("spec/support/embed_%s.lua never 1 1 2 xmpp"):format(script))
          assert.same({ 1, 1 }, { runs, fine })
        end
        for _, how in ipairs { "once", "twice", "stays" } do
          local runs = embed(("spec/support/embed_login.lua %s 100 1009 1 xmpp"):format(how))
          assert.is_true(runs > 3, how)
        end
      end)
    end

    it("closes a state with everything open in it, in two threads", function()
      local runs, _, fine = embed "spec/support/embed_open.lua never 1 1 2"
      assert.same({ 1, 1 }, { runs, fine })
    end)

    if not jit then -- LuaJIT's doesn't fail, but exits
      it("closes a state in which an allocation fails: once, twice, from then on", function()
        local step = all and 1 or sanitized and 101 or 1009 -- valgrind is slow
        for _, how in ipairs { "once", "twice", "stays" } do
          local first = all and 1 or 100
          local runs, n, fine, told, raised =
            embed(("spec/support/embed_login.lua %s %d %d 2"):format(how, first, step))
          assert.is_true(runs >= (n - first) / step, how)
          if how == "once" then
            assert.is_true(fine > 0.9 * (runs - 60), how) -- after a full collection there was enough memory
          else
            assert.is_true(told + raised > 0.8 * (runs - 60), how)
          end
        end
      end)

      it("closes a state whose login fails in an allocation", function()
        local nothing = shell.file "return 'fine'"
        local _, first = embed(nothing .. " never 1 1 2") -- so many until the files are loaded
        os.remove(nothing)
        local step = all and 1 or sanitized and 5 or 13
        local runs, n = embed(("spec/support/embed_login.lua twice %d %d 2"):format(first, step))
        assert.is_true(runs > (all and 100 or 10) and n > first, runs .. " runs, " .. n .. " allocations")
      end)

      it("as in examples/embed has two bots, in threads and sandboxes of their own", function()
        local pipe = assert(io.popen("unset LD_PRELOAD; " .. command(s, "host", ("examples/embed/bot.lua alice@%s "
          .. "alicepw bob@%s bobpw 2>&1; echo status $?"):format(s.domain, s.domain))))
        local bots = {}
        for _ = 1, 2 do
          local line = pipe:read "*l"
          bots[#bots + 1] = line:match "^bot: (.+)$"
          assert.equal(bots[#bots], line:sub(6), line)
        end
        local carol = login "carol"
        for _, bot in ipairs(bots) do
          assert(carol:send { "message", { to = bot, type = "chat" }, { "body", "Hi" } })
          local reply = assert(carol:receive_blocking(30))
          assert.equal(bot, reply[2].from)
          assert.equal("Hi", xmpp.xexpr.text(reply, "body"))
        end
        for _, bot in ipairs(bots) do
          assert(carol:send { "message", { to = bot, type = "chat" }, { "body", "quit" } })
          assert.equal("quit", xmpp.xexpr.text(assert(carol:receive_blocking(30)), "body"))
        end
        carol:stop()
        assert.equal("status 0\n", pipe:read "*a")
        pipe:close()
      end)

      it("as in examples/embed ends if a bot exceeds its memory, or isn't a valid program", function()
        local function ends(script, text)
          local path = shell.file(script)
          local said, status = run(command(s, "host", path .. " alice@xmpp.test alicepw"))
          os.remove(path)
          assert.equal(1, status, said)
          assert.truthy(said:find(text, 1, true), said)
        end
        ends("local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end", "alice@xmpp.test: not enough memory")
        ends("local conn = assert(xmpp.connect_client(...)) io.write 'x'", "attempt to index a nil value (global 'io')")
        ends("assert(not load and not require and not os) ; xmpp.connect_client('x@y', nil)", "bad argument #2")
      end)

      it("may exit in a callback, and in xmpp.on_error, and close its state there", function()
        for _, where in ipairs { "os.exit(7, true)", 'xmpp.on_error(function() os.exit(7, true) end) error "x"' } do
          local said, status = run(([[
            %s %s lua5.4 -e '
            local xmpp = require "xmpp"
            local conn = assert(xmpp.connect_client("alice@xmpp.test", "alicepw", "%s", %d, { ca_file = "%s" }))
            conn:set_callback(function() %s end)
            conn:set_handler()
            xmpp.spawn(function() conn:send_await { "iq", { type = "get", id = "a" } } end)
            conn:send { "presence" }
            xmpp.run()']]):format(shell.HERE, sanitized and "" or VALGRIND, s.host, s.port, s.ca, where))
          assert.same({ "", 7 }, { said, status })
        end
      end)
    end
  end)
end, { extra_conf = ARCHIVE_NOTHING }, { "prosody" })
