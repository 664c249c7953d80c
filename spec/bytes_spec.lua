-- bytes: hashes and base64, for programs.
local xmpp = require "xmpp"
local core = require "xmpp.load"

local function hex(s)
  return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

describe("hash", function()
  for name, expected in pairs {
    ["sha-1"] = "a9993e364706816aba3e25717850c26c9cd0d89d",
    ["sha-256"] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ["sha-512"] = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" ..
      "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ["sha3-256"] = "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    ["blake2b-256"] = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319",
  } do
    it("has " .. name, function() assert.equal(expected, hex(core.hash(name, "abc"))) end)
  end

  it("takes any bytes, none included", function()
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", hex(core.hash("sha-256", "")))
    assert.equal("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", hex(core.hash("sha-256", "\0")))
  end)

  it("is xmpp.hash for programs; XEP-0115's own example", function()
    local s = "client/pc//Exodus 0.9.1<http://jabber.org/protocol/caps<http://jabber.org/protocol/disco#info<" ..
      "http://jabber.org/protocol/disco#items<http://jabber.org/protocol/muc<"
    assert.equal("QgayPKawpkPSDYmwT/WM94uAlu0=", xmpp.base64(xmpp.hash("sha-1", s)))
  end)

  it("raises for an unknown name, and lists the known ones", function()
    local ok, why = pcall(core.hash, "md5", "abc")
    assert.is_false(ok)
    assert.matches("there is no hash 'md5'; there are 'sha-1', 'sha-256', 'sha-512', 'sha3-256' and 'blake2b-256'",
      why, 1, true)
    assert.has_error(function() core.hash "sha-1" end)
    assert.has_error(function() core.hash("sha-1", {}) end)
  end)
end)

describe("base64", function()
  it("goes both ways, for every length and byte", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local bytes = table.concat(all)
    for n = 0, #bytes do
      local text = core.base64(bytes:sub(1, n))
      assert.equal(math.floor((n + 2) / 3) * 4, #text)
      assert.equal(bytes:sub(1, n), core.unbase64(text))
    end
    assert.equal("Zm9vYg==", xmpp.base64 "foob")
    assert.equal("foob", xmpp.unbase64 "Zm9vYg==")
  end)

  it("is nil for malformed input", function()
    for _, text in ipairs { "Zg", "Zg=", "Zh==", "Zm9v\n", " Zm9v", "Zm9vZg==Zg==", "Zm-_", "Zm9\0" } do
      assert.is_nil(core.unbase64(text), text)
    end
    assert.has_error(function() core.unbase64() end)
  end)
end)
