-- newcomer: what README.md and the first guide say, done word for word in the present system, but for what installs or
-- builds; and what does that. (`make newcomer` does all of it, in empty systems.)
local shell = require "spec.support.shell"

local UNAVAILABLE = 75

-- What is told, by lines, and the status; nil and why where it can't be tried.
local function newcomer(pages)
  local text, status = shell.run(("NEWCOMER_PAGES='%s' SO_DIR=%s timeout -k 5 900 spec/support/newcomer here")
    :format(pages, os.getenv "SO_DIR" or "lua"))
  if status == UNAVAILABLE then return nil, text:match "newcomer: ([^\n]*)" end
  return text, status
end

describe("a newcomer", function()
  local why = select(2, newcomer "/dev/null")
  if why ~= 0 then return pending("a newcomer (" .. tostring(why) .. ")") end

  -- A page with that text.
  local function page(text)
    local file = shell.file(text)
    finally(function() os.remove(file) end)
    return newcomer(file)
  end

  it("can do what README.md and doc/first-steps.md say", function()
    local text, status = newcomer "README.md doc/first-steps.md"
    assert.equal(0, status, text)
    local done, over = 0, 0
    for line in text:gmatch "[^\n]+" do
      assert.matches("^ok %- here: ", line)
      if line:find "# SKIP it would install" then over = over + 1 elseif not line:find "# SKIP" then done = done + 1 end
    end
    assert.equal(4, over, text)
    assert.is_true(done >= 8, text)
  end)

  it("is told of by what can't be done", function()
    local text, status = page "# A\n\n```sh\ntrue\n```\n\n```sh\nfalse\n```\n\n```sh\necho not any more\n```\n"
    assert.equal(1, status)
    assert.matches("^ok %- here: %S+:4: true %(%d+ s%)\nnot ok %- here: %S+:8: false\n# status 1\n$", text)
  end)

  it("needs a program that waits to be answered, and Ctrl-C to end it", function()
    local text, status = page '<!-- newcomer: talks -->\n```lua\nprint "Hi"\n```\n'
    assert.equal(1, status)
    assert.matches("# it has ended by itself, with status 0\n# Hi\n", text)
  end)

  it("gives blocks to nobody that are marked in another way than is known", function()
    local text, status = page "<!-- newcomer: sings -->\n```sh\ntrue\n```\n"
    assert.equal(1, status)
    assert.matches("what is 'newcomer: sings'%?", text)
    text, status = page "<!-- newcomer: not run: for a reason -->\n```sh\nfalse\n```\n"
    assert.equal(0, status)
    assert.matches("# SKIP for a reason\n$", text)
  end)
end)
