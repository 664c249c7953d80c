-- doc: the manual as HTML: every link and every anchor has a target. browser_spec tests how it looks.
package.path = "doc/make/?.lua;" .. package.path
local html = require "html"
local shell = require "spec.support.shell"

describe("the manual as HTML", function()
  if shell.run "command -v cmark-gfm" == "" then
    return pending "the HTML (there is no cmark-gfm: make doc installs it)"
  end
  local folder, broken, site

  setup(function()
    folder = shell.folder()
    broken, site = html.build(folder .. "/doc")
  end)
  teardown(function() shell.remove(folder) end)

  it("has no broken link", function() assert.same({}, broken) end)

  it("has every page in its contents", function()
    local there = {}
    for _, group in ipairs(site.groups) do
      for _, entry in ipairs(group.pages) do there[entry.page.path] = true end
    end
    for _, page in ipairs(site.pages) do
      local is_front = page.path == "doc/README.md" or page.path == "doc/reference/README.md"
      local is_beside = not page.path:find "^doc/"
      assert.is_true(there[page.path] or is_front or is_beside, page.path)
    end
  end)

  it("only links to files in its folder, and to the web", function()
    local links = shell.succeed(("grep -rhoE '(href|src)=\"[^\"]*\"' --include=*.html %s/doc | sort -u"):format(folder))
    for url in links:gmatch '="([^"]*)"' do
      assert.is_true(url:find "^https://" ~= nil or not url:find "^%a+:" and not url:find "^/", url)
    end
  end)

  it("shows Lua in colours, and hides what is for the tests", function()
    local page = shell.read(folder .. "/doc/rooms.html")
    assert.truthy(page:find('<span class="k">local</span>', 1, true))
    assert.is_nil(page:find("t:expect", 1, true))
    assert.is_nil(page:find("<!-- ", 1, true))
  end)

  it("isn't made if a link, an anchor or a picture is broken", function()
    local file = assert(io.open(folder .. "/README.md", "w"))
    file:write "# A\n\n[a](b.md) [c](#d) [e](README.md#f) [g](README.md#h) ![i](j.png)\n\n## H\n"
    file:close()
    local text, status = shell.run(("mkdir -p %s/site/doc && cp %s/README.md %s/site/doc && here=$PWD && cd %s/site && "
      .. "%s $here/doc/make/html.lua out"):format(folder, folder, folder, folder, os.getenv "LUA" or "lua5.4"))
    assert.equal(1, status)
    for _, what in ipairs { "no file doc/b.md", "no anchor #d in doc/README.md", "no anchor #f in doc/README.md",
      "no image doc/j.png" } do
      assert.truthy(text:find("there is " .. what, 1, true), text)
    end
    assert.is_nil(text:find("#h", 1, true), text)
  end)
end)
