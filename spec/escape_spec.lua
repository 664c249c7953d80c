-- escape: names of other networks in addresses (XEP-0106).
local escape = require "xmpp.escape"
local xmpp = require "xmpp"

describe("a name of another network", function()
  it("is escaped, and comes back (XEP-0106's own examples)", function()
    for name, localpart in pairs {
      ["space cadet"] = [[space\20cadet]], ['call me "ishmael"'] = [[call\20me\20\22ishmael\22]],
      ["at&t guy"] = [[at\26t\20guy]], ["d'artagnan"] = [[d\27artagnan]], ["/.fanboy"] = [[\2f.fanboy]],
      ["::foo::"] = [[\3a\3afoo\3a\3a]], ["<foo>"] = [[\3cfoo\3e]], ["user@host"] = [[user\40host]],
      [ [[c:\net]] ] = [[c\3a\net]], [ [[c:\\net]] ] = [[c\3a\\net]], [ [[c:\cool stuff]] ] = [[c\3a\cool\20stuff]],
      [ [[c:\5commas]] ] = [[c\3a\5c5commas]], ["#lua"] = "#lua",
    } do
      assert.equal(localpart, escape.escape(name))
      assert.equal(name, escape.unescape(localpart))
      assert.equal(localpart, xmpp.jid(localpart .. "@irc.example.net").localpart)
    end
  end)

  it("comes back whatever characters it has, also from an address", function()
    local parts = { "\\", "5c", "20", " ", "@", "a", "2", "f", "/", "\\5c", "\\20", "\\2", "\\ff", "é" }
    local size = #parts
    for i = 1, size ^ 3 do
      local n = i - 1
      local a, b, c = n % size, math.floor(n / size) % size, math.floor(n / size ^ 2)
      local name = "x" .. parts[a + 1] .. parts[b + 1] .. parts[c + 1] .. "x"
      assert.equal(name, escape.unescape(escape.jid(name, "irc.example.net").localpart))
    end
  end)

  it("isn't taken for an escape when the address is folded to lower case", function()
    assert.equal([[\5c5C]], escape.escape [[\5C]])
    assert.equal([[\5c]], escape.unescape(escape.jid([[\5C]], "irc.example.net").localpart))
    assert.equal([[\2F]], escape.unescape [[\2F]])
  end)

  it("begins and ends with no space", function()
    for _, name in ipairs { " x", "x ", " " } do
      local localpart, err = escape.escape(name)
      assert.same({ nil, "jid-malformed" }, { localpart, err.condition })
      assert.is_nil(escape.jid(name, "irc.example.net"))
    end
    assert.equal([[\20x y\20]], escape.unescape [[\20x\20y\20]])
    assert.is_nil(escape.jid("", "irc.example.net"))
  end)
end)
