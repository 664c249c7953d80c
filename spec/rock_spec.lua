-- The rocks: LuaRocks makes one of a clean tree and one of the archive of `make dist`, without a server of rocks and,
-- where possible, without any network; each contains every Lua file, and works outside of the project's folder.
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"
local LUA_VERSION = _VERSION:match "%d%.%d"
local VERSION = xmpp._VERSION:match "^xmpp (.+)$"
local run, succeed = shell.run, shell.succeed

-- Without this Debian's luarocks takes LuaJIT for Lua 5.1.
local LUAJIT = jit and succeed [[printf 'LUA=%s LUA_INCDIR=%s' "$(command -v luajit)" \
  "$(pkg-config --variable=includedir luajit)"]] or ""

local OFFLINE = run "unshare -n true 2>/dev/null && echo unshare -n":match "^unshare %-n" or ""

-- The shell command for luarocks in a folder, with a tree of its own below it. (Without optimization, as that takes a
-- third of the time.)
local function luarocks(folder, arguments)
  return ("unset CFLAGS LDFLAGS; cd %s && %s luarocks --lua-version=%s --only-server=/nonexistent %s %s "
    .. "CFLAGS='-O0 -fPIC' --tree=%s/tree"):format(folder, OFFLINE, LUA_VERSION, arguments, LUAJIT, folder)
end

-- Copies the files that git has or would add; outside of a repository, all.
local function copy_to(folder)
  return ("if git rev-parse 2>/dev/null; then git ls-files -z -co --exclude-standard | xargs -0 cp --parents -t %s "
    .. "2>/dev/null; else cp -r c lua rockspec spec Makefile %s; rm -f %s/lua/xmpp/core.so; fi\n")
    :format(folder, folder, folder)
end

local function files_in(folder)
  return succeed(("cd %s && find xmpp -name '*.lua' | LC_ALL=C sort"):format(folder))
end

local function works(folder)
  local lua = ("%s/tree/share/lua/%s"):format(folder, LUA_VERSION)
  local so = ("%s/tree/lib/lua/%s"):format(folder, LUA_VERSION)
  assert.equal(files_in "lua", files_in(lua))
  local text = run(("cd / && LUA_PATH='%s/?.lua;%s/?/init.lua' LUA_CPATH='%s/?.so' %s -e '%s'"):format(lua, lua, so,
    LUA, [[local xmpp = require "xmpp"; print(xmpp.xexpr.to_xml { "presence" }, xmpp.jid "A@b", xmpp._VERSION)]]))
  assert.equal(("<presence/>\ta@b\txmpp %s\n"):format(VERSION), text)
  assert.equal(("xmpp %s\n"):format(VERSION), (run(("cd / && %s/tree/bin/xmpp --version"):format(folder))))
  text = run(("cd / && env -i PATH=/usr/bin:/bin HOME=%s %s/tree/bin/xmpp ping -a a@b.invalid"):format(folder, folder))
  assert.truthy(text:find("^xmpp: there is no password for a@b.invalid"), text)
  assert.truthy(run(("find %s/tree -name xmpp.1"):format(folder)):find "/doc/xmpp%.1\n")
end

-- The values that a rockspec assigns.
local function load_rockspec(path)
  local into = {}
  local chunk
  if setfenv then -- luacheck: ignore 113
    chunk = assert(loadstring(shell.read(path))) -- luacheck: ignore 113
    setfenv(chunk, into) -- luacheck: ignore 113
  else
    chunk = assert(load(shell.read(path), path, "t", into))
  end
  chunk()
  return into
end

describe("the rock", function()
  it("of the source tree is built without a rock server", function()
    shell.in_folder(function(folder)
      succeed(copy_to(folder) .. luarocks(folder, "make rockspec/xmpp-dev-1.rockspec"))
      works(folder)
    end)
  end)

  if jit then return end -- what follows is the same with any Lua

  it("of this version is built from the archive of 'make dist'", function()
    shell.in_folder(function(folder)
      succeed(copy_to(folder) .. ("cd %s && make -s dist BUILD=%s/made"):format(folder, folder))
      local text = succeed(("ls %s/made/dist"):format(folder))
      assert.equal(("xmpp-%s-1.rockspec\nxmpp-%s.tar.gz\n"):format(VERSION, VERSION), text)
      succeed(luarocks(folder .. "/made/dist", ("build xmpp-%s-1.rockspec"):format(VERSION)))
      works(folder .. "/made/dist")
    end)
  end)

  it("uses a library from the place that LuaRocks is given", function()
    shell.in_folder(function(folder)
      local made = copy_to(folder) .. ("mkdir %s/mine && echo '#error mine' >%s/mine/expat.h\n"):format(folder, folder)
      local text, status = run(made .. luarocks(folder, ("make rockspec/xmpp-dev-1.rockspec EXPAT_INCDIR=%s/mine")
        :format(folder)))
      assert.not_equal(0, status)
      assert.truthy(text:find("#error mine", 1, true), text)
      text, status = run(luarocks(folder, "make rockspec/xmpp-dev-1.rockspec EXPAT_DIR=/nonexistent"))
      assert.not_equal(0, status)
      assert.truthy(text:find("Could not find header file for EXPAT", 1, true), text)
    end)
  end)

  it("names the packages of a missing library", function()
    shell.in_folder(function(folder)
      local text, status = run(copy_to(folder) .. "export PKG_CONFIG_LIBDIR=/nonexistent; "
        .. luarocks(folder, "make rockspec/xmpp-dev-1.rockspec"))
      assert.not_equal(0, status)
      assert.truthy(text:find("xmpp: no 'openssl' for pkg-config: apt-get install libssl-dev, "
        .. "dnf install openssl-devel, brew install openssl@3, or set PKG_CONFIG_PATH", 1, true), text)
    end)
  end)
end)

describe("the rockspecs", function()
  it("are right to `luarocks lint`, and what `make version` writes", function()
    for _, version in ipairs { "dev", VERSION } do
      succeed(("%s luarocks lint rockspec/xmpp-%s-1.rockspec"):format(OFFLINE, version))
    end
    shell.in_folder(function(folder)
      succeed(copy_to(folder) .. ("cd %s && touch rockspec/xmpp-0.0.1-1.rockspec && make -s version"):format(folder))
      succeed(("diff -r rockspec %s/rockspec"):format(folder))
    end)
  end)

  it("name this version, and differ in nothing else", function()
    local dev = load_rockspec "rockspec/xmpp-dev-1.rockspec"
    local released = load_rockspec(("rockspec/xmpp-%s-1.rockspec"):format(VERSION))
    assert.equal(VERSION .. "-1", released.version)
    assert.equal(("xmpp-%s.tar.gz"):format(VERSION), released.source.url)
    released.version, released.source = dev.version, dev.source
    assert.same(dev, released)
  end)
end)
