-- doc: the manual as HTML: every link and every anchor leads somewhere, and a browser, where one is installed, shows it
-- well: on a telephone, in the dark, and with a search that finds.
package.path = "doc/make/?.lua;" .. package.path
local html = require "html"
local shell = require "spec.support.shell"

local WORDS = "reconnect set_handler carbon" -- that are looked for

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

  it("has no link that leads nowhere", function() assert.same({}, broken) end)

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

  it("has links within the folder alone, but for those to the web", function()
    local links = shell.succeed(("grep -rhoE '(href|src)=\"[^\"]*\"' --include=*.html %s/doc | sort -u"):format(folder))
    for url in links:gmatch '="([^"]*)"' do
      assert.is_true(url:find "^https://" ~= nil or not url:find "^%a+:" and not url:find "^/", url)
    end
  end)

  it("shows Lua in colours, and nothing of what is for the tests", function()
    local page = shell.read(folder .. "/doc/rooms.html")
    assert.truthy(page:find('<span class="k">local</span>', 1, true))
    assert.is_nil(page:find("t:expect", 1, true))
    assert.is_nil(page:find("<!-- ", 1, true))
  end)

  it("is good to look at in a browser", function()
    local text, status = shell.run(("LC_ALL=C.UTF-8 timeout -k 5 900 spec/support/browser.py %s/doc %s"):format(folder,
      WORDS))
    if status == 77 then return pending "a browser (make check-doc installs Chromium)" end
    assert.matches("^pages: %d+\n$", text)
    assert.is_true(tonumber(text:match "%d+") >= #site.pages)
    assert.equal(0, status)
  end)
end)
