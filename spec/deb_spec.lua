-- Debian's packages of the library: `make deb` builds them where Debian's tools are; lintian has nothing to say of
-- them, and what they put where works there. (Without optimization, as that takes a third of the time.)
local shell = require "spec.support.shell"
local version = require "xmpp.version".number

local run, succeed = shell.run, shell.succeed
local TOOLS = { "dpkg-buildpackage", "dh", "lintian", "dpkg-deb" }

local function lacking()
  for _, tool in ipairs(TOOLS) do
    if select(2, run("command -v " .. tool)) ~= 0 then return tool end
  end
  local text, status = run "dpkg-checkbuilddeps debian/control"
  if status ~= 0 then return text end
end

describe("make deb", function()
  local why = lacking()
  if why then return pending("not here: " .. why) end
  local folder

  -- The path of a package's file.
  local function package(name)
    return succeed(("ls %s/deb/%s_%s-*.deb"):format(folder, name, version)):match "%S+"
  end

  setup(function()
    folder = shell.folder()
    local text, status = run(("DEB_BUILD_OPTIONS='noopt noautodbgsym parallel=2' make -s deb BUILD=%s"):format(folder))
    if status ~= 0 then error(text:sub(-4000)) end
    for _, name in ipairs { "lua-xmpp", "lua-xmpp-dev", "xmpp-command" } do
      succeed(("for to in root %s; do dpkg-deb -x %s %s/$to; done"):format(name, package(name), folder))
    end
  end)

  teardown(function() shell.remove(folder) end)

  it("makes packages and a source package of which lintian has nothing to say", function()
    local text, status = run(("cd %s/deb && lintian --allow-root --fail-on error,warning *.changes"):format(folder))
    assert.same({ "", 0 }, { text, status })
    local list = succeed(("cd %s/deb && ls lua-xmpp_*"):format(folder))
    for _, suffix in ipairs { "%-0local1%.dsc", "%.orig%.tar%.gz", "%-0local1%.debian%.tar%.xz" } do
      assert.matches("lua%-xmpp_" .. version:gsub("%p", "%%%0") .. suffix .. "\n", list)
    end
  end)

  it("has the library for each Lua in lua-xmpp, and the command's files in xmpp-command", function()
    local files = succeed(("cd %s/lua-xmpp && find . ! -type d"):format(folder))
    for _, v in ipairs { "5.1", "5.3", "5.4" } do
      assert.matches("/lua/" .. v .. "/xmpp/core%.so\n", files)
      assert.matches("/lua/" .. v .. "/xmpp/http%.so\n", files)
    end
    assert.matches("/libxmpp%.so%.%d+\n", files)
    assert.is_nil(files:find("/xmpp/cmd/", 1, true) or files:find("sys.so", 1, true))
    files = succeed(("cd %s/xmpp-command && find . ! -type d"):format(folder))
    for _, name in ipairs { "/usr/bin/xmpp", "/usr/share/man/man1/xmpp.1.gz", "/xmpp/sys.so",
      "/usr/share/lua/5.4/xmpp/cmd/main.lua",
      "/usr/share/bash-completion/completions/xmpp", "/usr/share/zsh/vendor-completions/_xmpp",
      "/usr/share/fish/vendor_completions.d/xmpp.fish" } do
      assert.truthy(files:find(name, 1, true), name)
    end
  end)

  it("works where it is put, and the libraries it needs are named", function()
    local there = folder .. "/root"
    local so = succeed(("ls -d %s/usr/lib/*/lua/5.4"):format(there)):match "%S+"
    local paths = ("LUA_PATH='%s/usr/share/lua/5.4/?.lua;%s/usr/share/lua/5.4/?/init.lua' LUA_CPATH='%s/?.so'")
      :format(there, there, so)
    local text = succeed(("cd / && %s lua5.4 -e 'print(require \"xmpp\"._VERSION)'"):format(paths))
    assert.equal("xmpp " .. version .. "\n", text)
    assert.equal("xmpp " .. version .. "\n", succeed(("cd / && %s %s/usr/bin/xmpp --version"):format(paths, there)))
    local needs = succeed("dpkg-deb -f " .. package "lua-xmpp" .. " Depends")
    for _, library in ipairs { "libssl3", "libexpat1", "libuv1", "libc%-?ares2", "libidn2%-0", "libunistring",
      "libcurl4", "libhiredis", "libwslay1" } do
      assert.matches(library, needs)
    end
    local pc = ("PKG_CONFIG_PATH=$(ls -d %s/usr/lib/*/pkgconfig) pkg-config --modversion xmpp"):format(there)
    assert.equal(version .. "\n", succeed(pc))
  end)
end)
