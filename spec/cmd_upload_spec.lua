-- cmd_upload: `xmpp upload` against the service of xmpp.testing. See cmd_spec for the rest.
local cjson = require "cjson"
local cmd = require "spec.support.cmd"
local exit = require "xmpp.cmd.exit"
local testing = require "xmpp.testing"

local function around(f)
  return function()
    local t = testing.new { jid = "bot@example.net", intercept = true, now = 1700000000 }
    local ok, why = pcall(f, t)
    if not ok then pcall(t.finish, t) error(why, 0) end
    t:finish()
  end
end

local function objects(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = cjson.decode(line) end
  return list
end

describe("upload", function()
  local folder

  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    for name, text in pairs { ["a.txt"] = "hello", ["b.png"] = ("x"):rep(100) } do
      local file = assert(io.open(folder .. "/" .. name, "wb"))
      file:write(text)
      file:close()
    end
  end)
  teardown(function() os.execute("rm -r " .. folder) end)

  local function run(t, argv, change)
    local w, u = cmd.world(), t:upload { max = 50 }
    if change then change(u) end
    cmd.start(w, argv)
    t:advance(40)
    return w, u
  end

  it("prints a URL", around(function(t)
    local w, u = run(t, { "upload", folder .. "/a.txt" })
    assert.equal("hello", u.files[1].data)
    assert.equal(u.files[1].url .. "\n", w.stdout)
    assert.is_nil(w.stdout:find("/a.txt", 1, true)) -- a random name may end in a
    assert.same({ 0, "" }, { w.status, w.stderr })
  end))

  it("has the name and the type that are asked for", around(function(t)
    local w, u = run(t, { "upload", "--keep-name", "--type", "text/x-poem", "--json", folder .. "/a.txt" })
    assert.same({ "a.txt", "text/x-poem" }, { u.files[1].name, u.files[1].type })
    assert.same({ type = "upload", file = folder .. "/a.txt", url = u.files[1].url }, objects(w.stdout)[1])
    assert.equal(0, w.status)
  end))

  it("sends it if that is asked for", around(function(t)
    local w, u = run(t, { "upload", "--to", "anna@example.net", folder .. "/a.txt" })
    local url = u.files[1].url
    t:expect { "message", { to = "anna@example.net", type = "chat" }, { "body", {}, url },
      { "x", { xmlns = "jabber:x:oob" }, { "url", {}, url } } }
    assert.same({ 0, url .. "\n" }, { w.status, w.stdout })
  end))

  it("fails if the message comes back", around(function(t)
    t:on({ "message", { to = "anna@example.net" } }, function(stanza)
      return { { "message", { type = "error", id = stanza[2].id, from = stanza[2].to }, { "error", { type = "cancel" },
        { "service-unavailable", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } } }
    end)
    local w, u = run(t, { "upload", "--to", "anna@example.net", folder .. "/a.txt" })
    assert.equal(1, #u.files)
    assert.equal(1, w.status, w.stderr)
    assert.matches("a%.txt: .*service%-unavailable", w.stderr)
  end))

  it("says which of several files don't exist", around(function(t)
    local w, u = run(t, { "upload", folder .. "/a.txt", folder .. "/b.png", folder .. "/none" })
    assert.equal(10, w.status)
    assert.equal(1, #u.files)
    assert.truthy(w.stderr:find(folder .. "/b.png: ", 1, true), w.stderr)
    assert.truthy(w.stderr:find("50 bytes at most", 1, true), w.stderr)
    assert.truthy(w.stderr:find(folder .. "/none: ", 1, true), w.stderr)
  end))

  it("ends with the error's status", around(function(t)
    local w = run(t, { "upload", folder .. "/b.png" })
    assert.equal(1, w.status)
    w = run(t, { "upload", folder .. "/none" })
    assert.equal(9, w.status)
    w = run(t, { "upload", folder .. "/a.txt" }, function(u) u:answer(403) end)
    assert.equal(1, w.status)
  end))

  it("has a status for each way in which HTTP fails", function()
    for condition, status in pairs { ["host-unknown"] = 4, ["no-connection"] = 5, cut = 5, certificate = 6, tls = 6,
      timeout = 8, refused = 1, ["bad-file"] = 9, ["forbidden-address"] = 1, ["no-http"] = 70 } do
      assert.equal(status, (exit.explain { layer = "http", condition = condition, text = "x" }), condition)
    end
  end)

  it("requires a file, and a valid address", function()
    local w = cmd.world()
    assert.equal(2, cmd.run(w, { "upload" }))
    assert.truthy(w.stderr:find("usage: xmpp upload FILE...", 1, true), w.stderr)
    w = cmd.world()
    assert.equal(2, cmd.run(w, { "upload", "--to", "@@", "x" }))
    assert.truthy(w.stderr:find("is not a valid address", 1, true), w.stderr)
  end)
end)
