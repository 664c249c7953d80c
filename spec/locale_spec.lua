-- locale: the program may choose it; numbers, hosts and JIDs are the same as in the "C" locale. (t_cert and t_ascii
-- test certificates in a Turkish one.)
local shell = require "spec.support.shell"

local LUA = os.getenv "LUA" or "lua5.4"
local folder

-- How Lua writes 0.5 if the decimal point is `point`: LuaJIT ignores the locale.
local function half(point) return jit and "0.5" or "0" .. point .. "5" end

-- What `script` prints in this locale, after a line with 0.5 as Lua writes it there.
local function under(name, script)
  local path = shell.file(('assert(os.setlocale "%s.UTF-8")\nprint(1 / 2)\n'):format(name), script)
  local text = shell.succeed(shell.HERE .. ("LOCPATH='%s' '%s' '%s'"):format(folder, LUA, path))
  os.remove(path)
  return text
end

describe("a locale", function()
  setup(function()
    folder = shell.folder()
    for _, name in ipairs { "de_DE", "ps_AF", "tr_TR" } do
      shell.succeed(("localedef -i %s -f UTF-8 '%s/%s.UTF-8'"):format(name, folder, name))
    end
  end)

  teardown(function() shell.remove(folder) end)

  local numbers = [[
    local x = require "xmpp".xexpr
    for _, n in ipairs { 1 / 2, -1 / 4, 1e300, 25e-8, 1 / 10, 1 / 3, 987654321 / 8, 2 ^ 53 } do
      print(x.to_xml { "message", { n = n }, { "body", n } })
    end
  ]]

  for name, point in pairs { de_DE = ",", ps_AF = "\217\171" } do
    it("doesn't affect numbers: " .. name, function()
      local text = under(name, numbers)
      assert.equal(half(point), text:match "^[^\n]+")
      local here = shell.file(numbers)
      assert.equal(shell.succeed(shell.HERE .. ("'%s' '%s'"):format(LUA, here)), (text:gsub("^[^\n]+\n", "")))
      os.remove(here)
      assert.truthy(text:find("<message n='-0.25'><body>-0.25</body></message>", 1, true), text)
    end)
  end

  it("doesn't affect stamps, and numbers in forms and in commands of bots", function()
    local text = under("de_DE", [[
      local args, form, time = require "xmpp.bot.args", require "xmpp.form", require "xmpp.time"
      local xexpr = require "xmpp.xexpr"
      print(time.parse "1970-01-01T00:00:01.25Z" * 4 == 5, time.format(1.25))
      local spec = { fields = { { var = "a", datatype = "xs:decimal" } } }
      local submitted = { "field", { var = "a" }, { "value", {}, "1.5" } }
      print(form.read({ "x", { xmlns = form.DATA, type = "submit" }, submitted }, spec).a * 2 == 3)
      print(xexpr.text(xexpr.find(form.submit(nil, { a = -1.5 }), "field", "value")),
        xexpr.text(xexpr.find(form.submit(nil, { a = 2.5e-20 }), "field", "value")))
      print(args.read(args.parse "<n:number>", "0.75").n * 4 == 3)
    ]])
    assert.equal(half "," .. "\ntrue\t1970-01-01T00:00:01.250Z\ntrue\n-1.5\t2.5e-20\ntrue\n", text)
  end)

  it("doesn't affect the order in which capabilities are hashed, or that of disco's JSON", function()
    local text = under("de_DE", [[
      local caps, form = require "xmpp.caps", require "xmpp.disco.form"
      local function feature(var) return { "feature", { var = var } } end
      local function identity(name) return { "identity", { category = "a", type = "b", name = name } } end
      local function field(var, kind, ...)
        local x = { "field", { var = var, type = kind } }
        for _, value in ipairs { ... } do x[#x + 1] = { "value", {}, value } end
        return x
      end
      local function described(name)
        return { "x", { xmlns = "jabber:x:data" }, field("FORM_TYPE", "hidden", name), field("e", nil, "f", "G"),
          field("H", nil, "i"), field("H", nil, "I") }
      end
      local query = { "query", { xmlns = form.INFO }, identity "c", identity "D", feature "a", feature "B",
        feature "_c", described "k", described "J" }
      print((caps.legacy_string(query)))
      print((assert(caps.hash_string { "query", { xmlns = form.INFO }, feature "a", feature "B" }):gsub("%c", "<")))
      print(form.to_json { jid = "x", identities = {}, features = { a = true, B = true }, forms = {} })
    ]])
    local expected = { half ",", "a/b//D<a/b//c<B<_c<a<J<H<I<H<i<e<G<f<k<H<I<H<i<e<G<f<", "B<a<<<<",
      '{"jid":"x","identities":[],"features":["B","a"],"forms":{}}', "" }
    assert.equal(table.concat(expected, "\n"), text)
  end)

  it("doesn't affect which letters are the same", function()
    local text = under("tr_TR", [[
      local places, slots, vcard = require "xmpp.http.place", require "xmpp.upload.slot", require "xmpp.vcard.form"
      local xexpr = require "xmpp.xexpr"
      print(places.read("https://ISTANBUL.EXAMPLE/I").host)
      local answer = { "slot", { xmlns = slots.NS },
        { "put", { url = "https://x.example/" }, { "header", { name = "AUTHORIZATION" }, "b" } },
        { "get", { url = "https://x.example/" } } }
      print(slots.read(answer, {}, {}).headers.Authorization)
      print(xexpr.text({ "message", { ["xml:lang"] = "en" }, { "body", {}, "in English" },
        { "body", { ["xml:lang"] = "FI-fi" }, "suomeksi" } }, "body", nil, "fi"))
      local changes = assert(vcard.changes { email = { { address = "a@b", types = { "internet" } } } })
      print(xexpr.to_xml(vcard.merge(nil, changes)))
      print(require("xmpp.bot.args").read(require("xmpp.bot.args").parse "<b:bool>", "FALSE").b)
    ]])
    assert.equal(half "," .. "\nistanbul.example\nb\nsuomeksi\n<vCard xmlns='vcard-temp'><EMAIL><INTERNET/>"
      .. "<USERID>a@b</USERID></EMAIL></vCard>\nfalse\n", text)
  end)

  it("doesn't affect hosts and JIDs", function()
    local text = under("tr_TR", [[
      local core = require "xmpp.core"
      print(core.jid "I@ISTANBUL.EXAMPLE/I", core.host "ISTANBUL", core.host "BÜCHER.example")
    ]])
    assert.equal(half "," .. "\ni@istanbul.example/I\tISTANBUL\txn--bcher-kva.example\n", text)
  end)
end)
