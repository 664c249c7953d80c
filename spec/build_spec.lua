-- The build as a newcomer sees it: what is missing is named, what is installed works, and nothing else is exported.
local shell = require "spec.support.shell"

local run = shell.run
local LUA = os.getenv "LUA" or "lua5.4"
local VERSION = _VERSION:match "%d%.%d"

-- Loads the library from the folders `lua` and `so`, in a working directory without the project's files.
local function use(lua, so)
  return run(("cd / && LUA_PATH='%s/?.lua;%s/?/init.lua' LUA_CPATH='%s/?.so' %s -e '%s'"):format(lua, lua, so, LUA,
    [[local xmpp = require "xmpp"; print(xmpp.xexpr.to_xml { "presence" }, xmpp.jid "A@b")]]))
end

describe("the build", function()
  local function complaint(arguments)
    local text, status = run("make -s BUILD=/nonexistent/build SO=/nonexistent/core.so " .. arguments)
    assert.equal(2, status)
    return text
  end

  it("names a compiler that is not there", function()
    assert.matches("no C compiler 'nonesuch': apt%-get install gcc, .*, or set CC", complaint "CC=nonesuch")
  end)

  it("names pkg-config when it is not there", function()
    assert.matches("no 'nonesuch': apt%-get install pkg%-config, .* or set PKG_CONFIG", complaint "PKG_CONFIG=nonesuch")
  end)

  it("names a library that is not there, its packages in Debian, Fedora and Homebrew, and the variable", function()
    local text = run("PKG_CONFIG_LIBDIR=/nonexistent make -s BUILD=/nonexistent/build SO=/nonexistent/core.so")
    assert.matches("no 'openssl' for pkg%-config: apt%-get install libssl%-dev, dnf install openssl%-devel, "
      .. "brew install openssl@3, or set PKG_CONFIG_PATH", text)
    assert.matches("no 'lua9.9' .*liblua9.9%-dev.*LUA_PC", complaint "LUA_PC=lua9.9")
    assert.matches("no lua.h in '%-I/nonexistent': .*lua.*, or set LUA_INCDIR", complaint "LUA_CFLAGS=-I/nonexistent")
    assert.matches("no uninorm.h: apt%-get install libunistring%-dev, dnf install libunistring%-devel, "
      .. "brew install libunistring, or set CFLAGS=%-I...", complaint "CFLAGS=-nostdinc")
  end)

  -- A compiler or a library that is newer than ours may issue other warnings.
  it("is not ended by a warning", function()
    shell.in_folder(function(folder)
      local header = folder .. "/newer.h"
      local file = assert(io.open(header, "w"))
      file:write "__attribute__((deprecated)) static inline int old(void) { return 0; }\n"
      file:write "static inline int use(void) { return old(); }\n"
      file:close()
      local text, status = run(("make -s LUA=%s BUILD=%s/build SO=%s/core.so CFLAGS='-O0 -include %s' all"):format(LUA,
        folder, folder, header))
      assert.matches("warning: 'old' is deprecated", (text:gsub("\226\128[\152\153]", "'")))
      assert.equal(0, status)
    end)
  end)

  for _, module in ipairs { "core", "http", "redis" } do
    it(("exports luaopen_xmpp_%s and nothing else"):format(module), function()
      local text = run(("nm -D --defined-only %s/xmpp/%s.so"):format(os.getenv "SO_DIR" or "lua", module))
      local names = {}
      for name in text:gmatch("%x+ %a ([^\n]+)") do
        if not name:match("^__?[au]s?[bu]?san") and not name:match("^__odr") then names[#names + 1] = name end
      end
      assert.same({ "luaopen_xmpp_" .. module }, names)
    end)
  end

  it("only links libcurl with http.so, and leaves that out if it isn't installed", function()
    local folder = os.getenv "SO_DIR" or "lua"
    assert.is_nil(run(("ldd %s/xmpp/core.so %s/xmpp/sys.so"):format(folder, folder)):find "libcurl")
    assert.is_truthy(run(("ldd %s/xmpp/http.so"):format(folder)):find "libcurl")
    shell.in_folder(function(there)
      for _, without in ipairs { "HTTP_WANTED=", "PKG_CONFIG='false'" } do
        local text = run(("make -n LUA=lua5.4 BUILD=%s/build SO=%s/core.so %s all"):format(there, there, without))
        assert.is_nil(text:find("http.so", 1, true), text)
        assert.matches("built without xmpp.http and xmpp.upload", text)
      end
      local text = run(("make -n LUA=lua5.4 BUILD=%s/build SO=%s/core.so all"):format(there, there))
      assert.is_truthy(text:find("http.so", 1, true))
    end)
  end)

  it("links hiredis with redis.so alone, and does without where it isn't there", function()
    local folder = os.getenv "SO_DIR" or "lua"
    assert.is_nil(run(("ldd %s/xmpp/core.so %s/xmpp/sys.so %s/xmpp/http.so"):format(folder, folder, folder))
      :find "libhiredis")
    assert.is_truthy(run(("ldd %s/xmpp/redis.so"):format(folder)):find "libhiredis")
    shell.in_folder(function(there)
      for _, without in ipairs { "REDIS_WANTED=", "PKG_CONFIG='false'" } do
        local text = run(("make -n LUA=lua5.4 BUILD=%s/build SO=%s/core.so %s all"):format(there, there, without))
        assert.is_nil(text:find("redis.so", 1, true), text)
        assert.matches("built without xmpp.redis and xmpp.stream", text)
      end
      local text = run(("make -n LUA=lua5.4 BUILD=%s/build SO=%s/core.so all"):format(there, there))
      assert.is_truthy(text:find("redis.so", 1, true))
    end)
  end)

  it("has xmpp.redis and xmpp.stream say so where there is no redis.so", function()
    shell.in_folder(function(there)
      local folder = os.getenv "SO_DIR" or "lua"
      shell.succeed(("mkdir %s/xmpp && cp %s/xmpp/core.so %s/xmpp"):format(there, folder, there))
      local text, status = run(("LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='%s/?.so' LD_PRELOAD='%s' %s -e '%s'")
        :format(there, os.getenv "PRELOAD" or "", LUA, [[
          local xmpp, redis = require "xmpp", require "xmpp.redis"
          print(redis.available())
          print(redis.connect { host = "127.0.0.1" })
          local cjson = { decode_invalid_numbers = function() end }
          package.preload.cjson = function() return { new = function() return cjson end } end
          print(xmpp.stream.worker { name = "x", redis = {}, handler = print })]]))
      assert.equal(0, status, text)
      local n = select(2, text:gsub("nil\tredis: no%-redis: no xmpp/redis%.so: [^\n]*libhiredis%-dev", ""))
      assert.equal(3, n, text)
    end)
  end)

  it("links wslay where it is there, and does without where it isn't", function()
    local folder = os.getenv "SO_DIR" or "lua"
    assert.is_truthy(run(("ldd %s/xmpp/core.so"):format(folder)):find "libwslay")
    shell.in_folder(function(there)
      local make = ("make -n LUA=lua5.4 BUILD=%s/build SO=%s/core.so %%s all"):format(there, there)
      local text = run(make:format "WSLAY_WANTED=")
      assert.is_nil(text:find("-lwslay", 1, true), text)
      assert.matches("built without XMPP over WebSocket", text)
      assert.is_truthy(text:find("-DXM_WITHOUT_WSLAY", 1, true))
      text = run(make:format "")
      assert.is_truthy(text:find("-lwslay", 1, true))
      assert.is_nil(text:find("-DXM_WITHOUT_WSLAY", 1, true))
    end)
  end)

  it("uses the newer of two calls where the library has both", function()
    local header = io.open "/usr/include/openssl/ssl.h"
    if not header then return pending "openssl/ssl.h isn't where Debian has it" end
    local has = header:read "a":match "SSL_SESSION_get_time_ex" and 0 or 1
    header:close()
    local core = (os.getenv "SO_DIR" or "lua") .. "/xmpp/core.so"
    local _, status = run("nm -D --undefined-only " .. core .. " | grep -q 'SSL_SESSION_get_time_ex'")
    assert.equal(has, status)
    _, status = run("nm -D --undefined-only " .. core .. " | grep -q 'SSL_SESSION_get_time\\(@.*\\)*$'")
    assert.equal(1 - has, status)
  end)

  it("installs what works in its place, and uninstalls it", function()
    shell.in_folder(function(folder)
      shell.succeed(("make -s install LUA=%s PREFIX=/usr DESTDIR=%s"):format(LUA, folder))
      local usr = folder .. "/usr/%s/lua/" .. VERSION
      assert.equal("<presence/>\ta@b\n", (use(usr:format "share", usr:format "lib")))
      for _, file in ipairs { "bin/xmpp", "share/man/man1/xmpp.1", "share/bash-completion/completions/xmpp",
        "share/zsh/site-functions/_xmpp", "share/fish/vendor_completions.d/xmpp.fish" } do
        assert.truthy(#shell.read(folder .. "/usr/" .. file) > 100, file)
      end
      shell.succeed(("touch %s/xmpp/theirs.lua"):format(usr:format "share"))
      shell.succeed(("make -s uninstall LUA=%s PREFIX=/usr DESTDIR=%s"):format(LUA, folder))
      assert.equal(usr:format "share" .. "/xmpp/theirs.lua\n", shell.succeed(("find %s -type f"):format(folder)))
      assert.equal("", shell.succeed(("find %s -name xmpp"):format(usr:format "lib")))
    end)
  end)
end)

-- One line of lua/xmpp/version.lua; what else has a version in it is made from that, or is compared here and in
-- rock_spec.
describe("the version", function()
  local version = require "xmpp.version"

  it("is semantic, and its day is one", function()
    assert.matches("^%d+%.%d+%.%d+$", (version.number:gsub("%-[%w.]+$", "")))
    assert.matches("^20%d%d%-[01]%d%-[0-3]%d$", version.date)
  end)

  it("is what the Makefile, the library and the command say", function()
    local text = run "make -s -p -n version 2>/dev/null | sed -n 's/^VERSION := //p'"
    assert.equal(version.number .. "\n", text)
    assert.equal("xmpp " .. version.number, require "xmpp"._VERSION)
    assert.same({ version.number, version.date }, { require "xmpp.cmd.spec".version, require "xmpp.cmd.spec".date })
    local year, day = version.date:match "^(%d+)%-%d+%-0?(%d+)$"
    assert.matches(("\n%%.Dd %%u%%l+ %s, %s\n"):format(day, year), require "xmpp.cmd.man".page())
  end)

  it("has its day in the changelog, once that has it", function()
    local number = version.number:gsub("%p", "%%%0")
    local said = shell.read "CHANGELOG.md":match("\n## %[?" .. number .. "%f[^%w.%-][^\n]*")
    if said then assert.truthy(said:find(version.date, 1, true), said) end
  end)

  it("is written nowhere else", function()
    local number = version.number:gsub("%.", "\\.")
    local text = run(("grep -rIlE '(^|[^0-9.])%s($|[^0-9.])' Makefile bin c/bind c/cmd c/core c/embed c/http debian "
      .. "lua rockspec | LC_ALL=C sort"):format(number))
    assert.equal(("lua/xmpp/version.lua\nrockspec/xmpp-%s-1.rockspec\n"):format(version.number), text)
  end)
end)

describe("make dist", function()
  local function dist(folder, environment)
    return shell.succeed(("cd %s && %s make -s dist >/dev/null && sha256sum <build/dist/xmpp-%s.tar.gz"):format(
      folder, environment, require "xmpp.version".number)):match "^%x+"
  end

  it("makes the same archive wherever, whenever and with whatever umask, and of itself", function()
    shell.in_folder(function(folder)
      local there = folder .. "/a/longer/path"
      local cloned = run "git rev-parse --git-dir":find "^%.git\n"
      local copy = cloned and "git clone -q . " or "cp -r c lua bin rockspec debian spec Makefile "
      if not cloned then shell.succeed(("mkdir -p %s/one %s"):format(folder, there)) end
      shell.succeed(("umask 022; %s %s/one; umask 077; %s %s"):format(copy, folder, copy, there))
      shell.succeed(("find %s -name '*.lua' | xargs touch -d '2001-02-03 04:05'"):format(there))
      local fixed = cloned and "" or "SOURCE_DATE_EPOCH=1000000000"
      local sum = dist(folder .. "/one", fixed)
      assert.equal(sum, dist(there, "umask 077; TZ=Asia/Tokyo LC_ALL=C.UTF-8 " .. fixed))
      shell.succeed(("tar -xzf %s/one/build/dist/*.tar.gz -C %s"):format(folder, folder))
      assert.equal(sum, dist(folder .. "/xmpp-" .. require "xmpp.version".number, "umask 027; "))
      local list = shell.succeed(("tar -tvzf %s/one/build/dist/*.tar.gz"):format(folder))
      for mode, owner in list:gmatch "(%S+) (%S+) [^\n]*\n" do
        assert.truthy(mode == "-rw-r--r--" or mode == "-rwxr-xr-x" or mode == "drwxr-xr-x", mode)
        assert.equal("0/0", owner)
      end
    end)
  end)
end)

-- spec/support/install, on a machine that says it has everything, by tools of our own.
describe("the set-up", function()
  local tools = {
    ["dpkg-query"] = [[case "$*" in
      *' libexpat1') printf %s "$EXPAT" ;;
      *) shift 3; for p; do [ "$p" = "$ABSENT" ] || echo "installed $p"; done ;;
    esac]],
    ["apt-get"] = "exit 1", id = "echo 1000", sudo = "exit 1",
  }

  local function install(environment)
    local text, status
    shell.in_folder(function(folder)
      for name, script in pairs(tools) do
        local file = assert(io.open(folder .. "/" .. name, "w"))
        file:write("#!/bin/sh\n", script, "\n")
        file:close()
      end
      shell.succeed("chmod 755 " .. folder .. "/*")
      text, status = run(("PATH=%s:$PATH %s spec/support/install test"):format(folder, environment))
    end)
    return text, status
  end

  it("does nothing if everything is installed", function()
    local text, status = install "EXPAT=2.5.0-1+deb12u5"
    assert.equal("", text)
    assert.equal(0, status)
  end)

  it("asks for the security update of expat, as the tests want it", function()
    local text, status = install "EXPAT=2.5.0-1+deb12u1"
    assert.matches("as root, run:\napt%-get update && .* %-%-no%-install%-recommends libexpat1 libexpat1%-dev\n", text)
    assert.equal(1, status)
  end)

  it("asks for a package that is missing, and for no other", function()
    local text, status = install "EXPAT=2.7.1-2 ABSENT=lua-busted"
    assert.matches("%-%-no%-install%-recommends lua%-busted\n", text)
    assert.equal(1, status)
  end)
end)
