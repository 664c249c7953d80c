-- demo: `make demo` is run as make runs it: what it shows, and that it leaves nothing behind.

local child = require "spec.support.child"
local shell = require "spec.support.shell"

local ENDING = "Everything worked, and nothing is left running."
-- These lines come in this order, with others in between.
local LINES = {
  "XMPP in Lua, against a real Prosody",
  "1. Alice logs in",
  "   prints   │ alice@xmpp.test/demo",
  "2. Alice greets Bob, an echo bot",
  "      bob   │ logs in (",
  "            │   <body>Grüß dich, Bob! ☕</body>",
  "   prints   │ You said: Grüß dich, Bob! ☕",
  "3. Alice pings the server",
  "            │   <ping xmlns='urn:xmpp:ping'/>",
  "   prints   │ result",
  "4. A component answers a question",
  "component   │ logs in (",
  "            │     <version>" .. _VERSION .. "</version>",
  "   prints   │ " .. _VERSION,
  "5. Alice listens until she has heard enough",
  "   prints   │ Not yet. Now!",
  "6. Two errors",
  "   prints   │ sasl: not-authorized: ",
  "   prints   │ examples/demo.lua:",
  "7. All stop",
  "component → │ </stream:stream>",
  "component ← │ </stream:stream>",
  "8. The same from the shell",
  "   prints   │ status 0",
  "   prints   │ xmpp.test: Prosody ",
  "   prints   │ status 0",
  "   prints   │ XMPP OK - dns ",
  "   prints   │ status 0",
  ENDING,
}

-- Runs the demo without those variables of our environment that it reads, except for `assignments`.
local function demo(assignments, on_terminal)
  local command = child.folder .. "/demo"
  if on_terminal then command = ("script -qec '%s' /dev/null"):format(command) end
  return shell.run(("env -u DEMO_COLOR -u NO_COLOR -u COLUMNS LC_ALL=C.UTF-8 TERM=xterm %s %s </dev/null")
    :format(assignments or "", command))
end

-- The environments and command lines that contain `folder`; the brackets keep the search from finding itself.
local function processes(folder, assignment)
  local pattern = folder:sub(1, -2) .. "[" .. folder:sub(-1) .. "]"
  local search = ("grep -lsz '%s' /proc/[0-9]*/environ /proc/[0-9]*/cmdline"):format(pattern)
  return (shell.run(('%s sh -c "%s"'):format(assignment or "", search)))
end

local function widest(text)
  local most = 0
  for line in text:gmatch "[^\n]+" do most = math.max(most, #line:gsub("[\128-\191]", "")) end
  return most
end

describe("the demo", function()
  local folder, text, status

  -- A folder for the server's own; the server runs as another user, who must have access to it.
  setup(function()
    folder = shell.folder()
    shell.succeed("chmod 755 " .. folder)
    text, status = demo("TMPDIR=" .. folder)
  end)
  teardown(function() shell.remove(folder) end)

  it("succeeds, and ends with a sentence that says so", function()
    assert.equal(0, status, text)
    assert.equal(ENDING, text:match "([^\n]*)\n$")
  end)

  it("tells its story in order", function()
    local at = 1
    for _, line in ipairs(LINES) do
      local _, last = ("\n" .. text):find("\n" .. line, at, true)
      assert.truthy(last, ("no line '%s' where it belongs in:\n%s"):format(line, text))
      at = last
    end
  end)

  it("shows a login, with its secrets masked", function()
    for _, name in ipairs { "auth", "challenge", "response", "success" } do
      local contents = {}
      for content in text:gmatch("<" .. name .. " [^>]*>(.-)</" .. name .. ">") do contents[#contents + 1] = content end
      assert.same({ "[masked]" }, contents, name)
    end
    assert.is_nil(text:find("handshake", 1, true))
  end)

  it("reveals no secret", function()
    for _, secret in ipairs { "alicepw", "bobpw", "carolpw", "componentsecret" } do
      assert.is_nil(text:find(secret, 1, true), secret)
    end
    for word in text:gmatch "[%w+/=]+" do assert.is_true(#word < 32, "is this base64 or a hash? " .. word) end
  end)

  it("leaves no process and no file", function()
    local seen = processes(folder, "TMPDIR=" .. folder)
    assert.truthy(seen:find "/environ\n" and seen:find "/cmdline\n", "the search would have found its own shells")
    assert.equal("", processes(folder))
    assert.equal("", shell.succeed("ls -A " .. folder))
  end)

  it("has no colours where there is no terminal, and lines of 100 characters at most", function()
    assert.is_nil(text:find("\27", 1, true))
    assert.is_true(widest(text) <= 100 and widest(text) > 80)
  end)

  it("has colours on a terminal", function()
    local colored, ended = demo("", true)
    assert.equal(0, ended, colored)
    local ping = "<\27[36mping\27[0m \27[33mxmlns\27[0m='\27[32murn:xmpp:ping\27[0m'/>"
    assert.truthy(colored:find(ping, 1, true), colored)
    assert.truthy(colored:gsub("\27%[[%d;]*m", ""):find("\n" .. ENDING .. "\r\n$"))
  end)

  it("has none on a terminal either when NO_COLOR asks for that", function()
    local plain, ended = demo("NO_COLOR=1", true)
    assert.equal(0, ended, plain)
    assert.is_nil(plain:find("\27", 1, true))
  end)

  it("draws with ASCII where the locale has no more, and fits into 80 columns", function()
    local ascii, ended = demo "LC_ALL=C COLUMNS=80"
    assert.equal(0, ended, ascii)
    assert.truthy(ascii:find("\n    alice > | <?xml version='1.0'?>\n", 1, true))
    assert.truthy(ascii:find("\n    alice < | <proceed ", 1, true))
    assert.is_nil(ascii:find("│", 1, true))
    assert.is_true(widest(ascii) <= 80, ascii)
  end)

  it("fails if its program does", function()
    local _, ended = demo "LUA=false"
    assert.equal(1, ended)
  end)

  it("says how to run it when it has no server", function()
    local advice, ended = shell.run("unset XMPP_SERVER; " .. shell.HERE .. "${LUA:-lua5.4} examples/demo.lua")
    assert.equal(1, ended)
    assert.truthy(advice:find("run `make demo`", 1, true), advice)
  end)
end)
