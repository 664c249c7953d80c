-- browser: the HTML manual in a browser, where one is installed: on a small screen, in dark mode, and with a search
-- that finds something.
package.path = "doc/make/?.lua;" .. package.path
local html = require "html"
local shell = require "spec.support.shell"

local WORDS = "reconnect set_handler carbon" -- the words that are searched for

describe("the manual in a browser", function()
  local why = shell.run "command -v cmark-gfm" == "" and "there is no cmark-gfm"
    or shell.run "command -v chromium || command -v chromium-browser || command -v google-chrome" == ""
      and "there is no Chromium"
  if why then return pending(("the manual in a browser (%s: make check-doc installs it)"):format(why)) end

  it("looks right, and can be searched", function()
    shell.in_folder(function(folder)
      local _, site = html.build(folder .. "/doc")
      local text, status = shell.run(("LC_ALL=C.UTF-8 timeout -k 5 900 spec/support/browser.py %s/doc %s")
        :format(folder, WORDS))
      assert.matches("^pages: %d+\n$", text)
      assert.is_true(tonumber(text:match "%d+") >= #site.pages)
      assert.equal(0, status)
    end)
  end)
end)
