-- spelling: the same address in different spellings. live_spec compares what real servers write.
local core = require "xmpp.core"
local spelling = require "xmpp.spelling"
local xmpp = require "xmpp"

-- What a program writes, and what a server by RFC 6122 makes of it (Nodeprep, Resourceprep; Unicode 3.2).
local ROWS = {
  { "anna@example.net", "anna@example.net" },
  { "ANNA@Example.NET./Home", "anna@example.net/Home" },
  { "example.net", "example.net" },
  { "straße@example.net", "strasse@example.net" }, -- B.2 folds the sharp s
  { "Ὀδυσσεύς@example.net", "ὀδυσσεύσ@example.net" }, -- and the final sigma
  { "ǰ@example.net", "ǰ@example.net" }, -- one whose folding is longer, and composes again
  { "anna@example.net/ς", "anna@example.net/ς" }, -- Resourceprep doesn't fold case
  { "anna@example.net/Straße", "anna@example.net/Straße" },
  { "anna@example.net/oﬃce", "anna@example.net/office" }, -- ligatures, by NFKC
  { "anna@example.net/ﬀ", "anna@example.net/ff" },
  { "anna@example.net/ＡＢＣ１", "anna@example.net/ABC1" }, -- full-width
  { "anna@example.net/ｶﾞ", "anna@example.net/ガ" }, -- half-width, and composed
  { "anna@example.net/Ⅳ ①", "anna@example.net/IV 1" },
  { "anna@example.net/☺\239\184\143", "anna@example.net/☺" }, -- a variation selector (table B.1)
  { "anna@example.net/♥\239\184\142!", "anna@example.net/♥!" },
  { "anna@example.net/😀", "anna@example.net/😀" }, -- unassigned in Unicode 3.2, so it doesn't change
  { "anna@example.net/❤\239\184\143\226\128\141🔥", "anna@example.net/❤🔥" }, -- a joiner is removed, too
  { "anna@example.net/a\194\160b", "anna@example.net/a b" }, -- a no-break space
  { "faß.example/x", "faß.example/x" }, -- look-alikes have different owners
  { "xn--fa-hia.example", "faß.example" },
  { "straße@faß.example/ﬁ", "strasse@faß.example/fi" },
}

local function each(f)
  for _, row in ipairs(ROWS) do f(row[1], row[2]) end
end

-- Our own address can't contain a variation selector or a joiner (RFC 8264 9.13); others' addresses may.
local function is_ours(named)
  return not named:find "\239\184[\142\143]"
end

describe("an address's key", function()
  it("is the form that a server by RFC 6122 writes", function()
    each(function(named, written) assert.equal(written, spelling.key(named)) end)
  end)

  it("is the same for every spelling, for a Jid, and for the key itself", function()
    each(function(named, written)
      assert.equal(written, spelling.key(spelling.key(named)))
      assert.equal(is_ours(named), xmpp.jid(named) ~= nil)
      if not is_ours(named) then return end
      assert.equal(written, spelling.key(assert(xmpp.jid(named))))
      assert.equal(written, spelling.key(tostring(xmpp.jid(named))))
    end)
  end)

  it("is the prepared address if such a server would refuse it", function()
    assert.equal("a@x.test/⿰", spelling.key "A@X.test/⿰") -- RFC 3454 C.7
  end)

  it("is unchanged if the address is invalid", function()
    for _, s in ipairs { "", "a@@b", "@x", "x/", "a@b/\255", "a@b/x\1", ("x"):rep(5000) } do
      assert.equal(s, spelling.key(s))
    end
  end)

  it("is different for different addresses", function()
    local keys, n = {}, 0
    for _, s in ipairs { "anna@x.test", "anna@x.test/Home", "anna@x.test/home", "anna@x.test/ a", "anna@x.test/a",
      "x.test", "x.test/anna@x.test", "hanna@x.test", "faß.test", "fass.test", "anna@y.test", "ana@x.test" } do
      n = n + (keys[spelling.key(s)] and 0 or 1)
      keys[spelling.key(s)] = true
    end
    assert.equal(12, n)
  end)
end)

describe("two addresses", function()
  it("are the same in any order", function()
    each(function(named, written)
      assert.is_true(spelling.same(named, written))
      assert.is_true(spelling.same(written, named))
      assert.is_true(spelling.same(xmpp.jid(named) or written, named))
    end)
    assert.is_true(spelling.same("a@x.test/①", "a@x.test/１"))
  end)

  it("are not the same if only one part is", function()
    assert.is_false(spelling.same("anna@x.test", "anna@x.test/home"))
    assert.is_false(spelling.same("straße@x.test", "strasse@y.test"))
    assert.is_false(spelling.same("straße@x.test/a", "strasse@x.test/A"))
    assert.is_false(spelling.same("a@faß.test", "a@fass.test"))
    assert.is_false(spelling.same("a@x.test", "a@x.test\0b"))
  end)
end)

describe("a received address", function()
  it("matches the one that was named, prepared or as the server writes it", function()
    each(function(named, written)
      assert.is_true(spelling.is(named, written))
      assert.is_true(spelling.is(named, named))
      assert.is_true(spelling.is(xmpp.jid(named) or named, written))
    end)
    assert.is_true(spelling.is("anna@x.test", "ANNA@X.TEST."))
  end)

  -- A server may have both, so the second isn't the first.
  it("doesn't match the other way round", function()
    for _, pair in ipairs { { "strasse@x.test", "straße@x.test" }, { "r@x.test/office", "r@x.test/oﬃce" },
      { "r@x.test/☺", "r@x.test/☺\239\184\143" }, { "r@x.test/①", "r@x.test/１" } } do
      assert.is_true(spelling.same(pair[1], pair[2]))
      assert.is_false(spelling.is(pair[1], pair[2]))
    end
  end)

  it("doesn't match other addresses", function()
    assert.is_false(spelling.is("anna@x.test", "anna@x.test/home"))
    assert.is_false(spelling.is("anna@x.test", "anna@x.test\0"))
    assert.is_false(spelling.is("a@@b", "a@b"))
    assert.is_true(spelling.is("a@@b", "a@@b"))
  end)

  it("matches exactly if the core accepts an answer from it", function()
    local fed = require "spec.support.fed"
    local f = fed.open { jid = "me@xmpp.test/x" }
    each(function(named, written)
      for _, from in ipairs { written, named, "strasse@example.net", "anna@example.net/IV 1" } do
        local got
        f.conn:send_callback({ "iq", { type = "get", to = named, id = "q" }, { "q", { xmlns = "urn:q" } } },
          function(response) got = response and response[2].from end)
        f:feed(xmpp.xexpr.to_xml { "iq", { type = "result", from = from, id = "q" } })
        assert.equal(spelling.is(named, from), got == from, named .. " " .. from)
        if not got then f:feed(xmpp.xexpr.to_xml { "iq", { type = "result", from = named, id = "q" } }) end
      end
    end)
    f:feed "</stream:stream>"
  end)
end)

describe("a value that can't be an address", function()
  it("raises at the caller's line, with the function's name", function()
    local function refuses(text, f)
      local ok, message = pcall(f)
      assert.is_false(ok)
      assert.matches("spelling_spec.lua:%d+: ", message)
      assert.truthy(message:find(text, 1, true), message)
    end
    refuses("bad argument #1 to 'key' (string expected, got nil)", function() local k = spelling.key() return k end)
    refuses("bad argument #1 to 'same' (string expected, got number)",
      function() local k = spelling.same(1, "a") return k end)
    refuses("bad argument #2 to 'same' (string expected, got table)",
      function() local k = spelling.same("a", {}) return k end)
    refuses("bad argument #2 to 'is' (string expected, got boolean)",
      function() local k = spelling.is("a", true) return k end)
    for _, f in ipairs { core.folded, core.spelled } do
      assert.has_error(function() f(1, "a") end)
      assert.has_error(function() f() end)
    end
  end)
end)
