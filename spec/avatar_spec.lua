-- avatar, vcard: pictures and vCards, with xmpp.testing; and pictures that aren't what they claim to be.

local avatar = require "xmpp.avatar"
local core = require "xmpp.core"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local testing = require "xmpp.testing"
local vcard = require "xmpp.vcard"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local ME, DATA, META = "bot@example.net", "urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata"
local CONVERSION = { more = { "urn:xmpp:pep-vcard-conversion:0" } }
local UPDATE, VCARD = "vcard-temp:x:update", "vcard-temp"
local EVENT = "http://jabber.org/protocol/pubsub#event"

local function png(width, height, more)
  return "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\0" .. string.char(width) .. "\0\0\0" .. string.char(height) ..
    "\8\6\0\0\0" .. (more or "")
end

local PNG = png(32, 16)
local ID = core.hash("sha-1", PNG):gsub(".", function(c) return ("%02x"):format(c:byte()) end)

local function task(t, f)
  local results = {}
  xmpp.spawn(function() results[1], results[2] = f() end)
  t:advance(0)
  return results
end

local function metadata(attrs, ...)
  local x = { "metadata", { xmlns = META }, ... }
  if attrs then table.insert(x, 3, { "info", attrs }) end
  return x
end

local function data(bytes) return { "data", { xmlns = DATA }, core.base64(bytes) } end

local function card(...) return { "vCard", { xmlns = VCARD }, ... } end
local function photo(bytes)
  return { "PHOTO", {}, { "TYPE", {}, "image/png" }, { "BINVAL", {}, core.base64(bytes) } }
end

-- An account's vCard on the server, as store.card.
local function store_of(t, first)
  local store = { card = first, asked = 0 }
  t:on({ "iq", { type = "get" }, { "vCard", { xmlns = VCARD } } }, function(stanza)
    if stanza[2].to and stanza[2].to ~= ME then return false end
    store.asked = store.asked + 1
    if not store.card then return nil, "cancel", "item-not-found" end
    return store.card
  end)
  t:on({ "iq", { type = "set" }, { "vCard", { xmlns = VCARD } } }, function(stanza)
    store.card = stanza[3]
    return { "iq", { type = "result" } }
  end)
  return store
end

describe("an avatar", function()
  it("is published: the data before the metadata", testing.around(function(t)
    local account = t:pubsub()
    local order = {}
    t:on({ "iq", { type = "set" }, { "pubsub", {}, { "publish" } } }, function(stanza)
      order[#order + 1] = xexpr.find(stanza, "pubsub", "publish")[2].node
      return false
    end)
    task(t, function() return avatar.set(t.conn, PNG, { timeout = 1 }) end)
    assert.same({ DATA }, order) -- without an answer nothing more is sent
    t:advance(10)
    assert.same({ DATA }, order)
    assert.is_nil(next(account.nodes))
  end))

  it("is announced by its hash, type, size", testing.around(function(t)
    local account = t:pubsub()
    assert.same({ ID }, task(t, function() return avatar.set(t.conn, PNG) end))
    local item = account.nodes[META].items[1]
    assert.equal(ID, item.id)
    assert.same({ bytes = tostring(#PNG), id = ID, type = "image/png", width = "32", height = "16" },
      xexpr.child(item.payload, "info")[2])
    assert.equal(ID, account.nodes[DATA].items[1].id)
    assert.equal(core.base64(PNG), xexpr.text(account.nodes[DATA].items[1].payload))
    assert.same({ ID }, task(t, function() return avatar.set(t.conn, PNG, { access = "open" }) end))
    assert.equal("open", account.nodes[DATA].config["pubsub#access_model"])
    assert.equal("open", account.nodes[META].config["pubsub#access_model"])
    assert.same({ true }, task(t, function() return avatar.clear(t.conn) end))
    local last = account.nodes[META].items[1].payload
    assert.same({ "metadata", { xmlns = META } }, last)
  end))

  it("is refused where it is too large, or no picture", testing.around(function(t)
    t:pubsub()
    local large = png(1, 1, ("x"):rep(65536))
    for _, bad in ipairs { large, "GIF89a", "text", PNG:sub(1, 20), png(0, 1), "" } do
      assert.equal("not-acceptable", task(t, function() return avatar.set(t.conn, bad) end)[2].condition)
    end
    local function refused(bytes, kind)
      local got = task(t, function() return avatar.set(t.conn, bytes, { type = kind }) end)
      assert.equal("not-acceptable", got[2].condition)
    end
    refused("GIF89a", "image/png")
    refused(PNG, "image/gif")
    assert.is_string(task(t, function() return avatar.set(t.conn, large, { max = 100000 }) end)[1])
    assert.is_string(task(t, function() return avatar.set(t.conn, "GIF89a", { type = "image/gif" }) end)[1])
    assert.error(function() avatar.set(t.conn, nil) end)
    assert.error(function() avatar.set(t.conn, PNG, { color = "red" }) end)
  end))

  it("is read, and matches its announcement", testing.around(function(t)
    local anna = t:pubsub "anna@example.net"
    anna:publish(DATA, data(PNG), ID)
    anna:publish(META, metadata { id = ID:upper(), type = "image/png", bytes = "10", width = "32", height = "x" }, ID)
    local got = task(t, function() return avatar.get(t.conn, "anna@example.net") end)
    assert.equal(PNG, got[1])
    assert.same({ id = ID, type = "image/png", bytes = 10, width = 32 }, got[2])

    anna:publish(DATA, { "data", { xmlns = DATA }, (core.base64(PNG):gsub("....", "%0\n  ")) }, ID)
    assert.equal(PNG, task(t, function() return avatar.get(t.conn, "anna@example.net") end)[1])
    local forged = { data(PNG .. "x"), { "data", { xmlns = DATA }, "%%%" }, { "data", { xmlns = "urn:x" },
      core.base64(PNG) }, { "data", { xmlns = DATA } } }
    for _, x in ipairs(forged) do
      anna:publish(DATA, x, ID)
      got = task(t, function() return avatar.get(t.conn, "anna@example.net") end)
      assert.is_nil(got[1])
      assert.equal("bad-format", got[2].condition)
    end
  end))

  it("of more than 256 KiB isn't read", testing.around(function(t)
    local anna, huge = t:pubsub "anna@example.net", PNG .. ("x"):rep(200000)
    local id = core.hash("sha-1", huge):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    anna:publish(DATA, data(huge), id)
    anna:publish(META, metadata { id = id, type = "image/png" }, id)
    local got = task(t, function() return avatar.get(t.conn, "anna@example.net") end)
    assert.equal("bad-format", got[2].condition)
    assert.truthy(got[2].text:find "262144")
  end))

  it("that is only a URL is never fetched; without any there is none", testing.around(function(t)
    local anna = t:pubsub "anna@example.net"
    local function condition()
      return task(t, function() return avatar.get(t.conn, "anna@example.net") end)[2].condition
    end
    assert.equal("item-not-found", condition())
    anna:publish(DATA, data(PNG), ID)
    anna:publish(META, metadata { id = ID, type = "image/png", url = "http://evil.example/x" }, ID)
    assert.equal("item-not-found", condition())
    anna:publish(META, metadata(nil), ID)
    assert.equal("item-not-found", condition())
    for _, id in ipairs { "../../etc/passwd", ("z"):rep(40), "" } do
      anna:publish(DATA, data(PNG), id)
      anna:publish(META, metadata { id = id, type = "image/png" }, ID)
      assert.equal("item-not-found", condition())
    end
    anna:publish(META, metadata({ id = ID, type = "image/gif", url = "http://x" }, { "info", { id = ID } }), ID)
    anna:publish(DATA, data(PNG), ID)
    assert.equal(PNG, task(t, function() return avatar.get(t.conn, "anna@example.net") end)[1])
  end))

  it("may come from a vCard, if that is asked for", testing.around(function(t)
    t:pubsub "anna@example.net"
    t:on({ "iq", { to = "anna@example.net" }, { "vCard", { xmlns = VCARD } } }, function() return card(photo(PNG)) end)
    assert.equal("item-not-found", task(t, function() return avatar.get(t.conn, "anna@example.net") end)[2].condition)
    local got = task(t, function() return avatar.get(t.conn, "anna@example.net", { vcard = true }) end)
    assert.equal(PNG, got[1])
    assert.same({ id = ID, type = "image/png", bytes = #PNG }, got[2])
    local other = { id = ID:reverse(), vcard = true }
    got = task(t, function() return avatar.get(t.conn, "anna@example.net", { meta = other }) end)
    assert.equal("bad-format", got[2].condition)
    got = task(t, function() return avatar.get(t.conn, "anna@example.net", { meta = { id = ID, vcard = true } }) end)
    assert.equal(PNG, got[1])
  end))

  it("is watched", testing.around(function(t)
    t:contact("anna@example.net", { subscription = "both" })
    local anna, heard = t:pubsub "anna@example.net", {}
    local off = avatar.watch(t.conn, function(jid, meta)
      heard[#heard + 1] = jid .. " " .. (meta and meta.id or "none")
    end)
    presence.set(t.conn, {})
    t:expect { "presence" }
    anna:publish(META, metadata { id = ID, type = "image/png" }, ID)
    anna:publish(META, metadata(nil), "current")
    anna:publish(META, metadata { id = ID, type = "image/png" }, ID)
    t:receive { "message", { from = "anna@example.net" }, { "event", { xmlns = EVENT },
      { "items", { node = META }, { "retract", { id = "current" } } } } } -- the earlier one
    anna:retract(META, ID)
    t:receive { "message", { from = "mallory@evil.example" }, { "event", { xmlns = EVENT },
      { "items", { node = META }, { "item", { id = ID },
        metadata { id = ID } } } } }
    assert.same({ "anna@example.net " .. ID, "anna@example.net none", "anna@example.net " .. ID,
      "anna@example.net none" }, heard)
    off()
    anna:publish(META, metadata { id = ID }, ID)
    assert.equal(4, #heard)
    t:advance(5)
    t:expect { "presence" }
  end))
end)

describe("presence", function()
  local function shown(stanza) return xexpr.child(stanza, "x", UPDATE) end

  it("has the hash of our picture where the server lacks XEP-0398", testing.around(function(t)
    t:pubsub()
    local store = store_of(t, card(photo(PNG), { "FN", {}, "Bot" }))
    avatar.use(t.conn)
    task(t, function() return presence.set(t.conn, {}) end)
    local sent = t:expect { "presence" }
    assert.equal(ID, xexpr.text(xexpr.child(shown(sent), "photo")))
    presence.send(t.conn, "room@rooms.example.net/x", {})
    assert.is_nil(shown(t:expect { "presence" }))
    presence.set(t.conn, { show = "away" })
    assert.is_truthy(shown(t:expect { "presence" }))
    assert.equal(1, store.asked)

    local other = png(1, 1)
    local id = task(t, function() return avatar.set(t.conn, other) end)[1]
    sent = t:expect { "presence" }
    assert.equal(id, xexpr.text(xexpr.child(shown(sent), "photo")))
    assert.equal("away", xexpr.text(sent, "show"))
    assert.equal(core.base64(other), xexpr.text(xexpr.find(store.card, "PHOTO", "BINVAL")))
    assert.equal("Bot", xexpr.text(xexpr.child(store.card, "FN")))
    task(t, function() return avatar.clear(t.conn) end)
    assert.same({ "photo", {} }, xexpr.child(shown(t:expect { "presence" }), "photo"))
    assert.is_nil(xexpr.child(store.card, "PHOTO"))
    assert.is_true(ext.drop(t.conn, avatar))
    presence.set(t.conn, {})
    assert.is_nil(shown(t:expect { "presence" }))
  end))

  it("has it even if it was sent before", testing.around(function(t)
    t:pubsub()
    local store = store_of(t, card(photo(PNG)))
    presence.set(t.conn, { show = "dnd" })
    assert.is_nil(shown(t:expect { "presence" }))
    avatar.use(t.conn)
    t:advance(1)
    local sent = t:expect { "presence" }
    assert.same({ ID, "dnd" }, { xexpr.text(xexpr.child(shown(sent), "photo")), xexpr.text(sent, "show") })
    t:ack()
    t:reconnect { new = true }
    t:advance(5)
    assert.equal(ID, xexpr.text(xexpr.child(shown(t:expect { "presence" }), "photo")))
    t:nothing()
    assert.equal(2, store.asked)
  end))

  it("doesn't have it if the server has XEP-0398, and no vCard is asked for", testing.around(function(t)
    t:pubsub(nil, CONVERSION)
    local store = store_of(t, card(photo(PNG)))
    avatar.use(t.conn)
    task(t, function() return presence.set(t.conn, {}) end)
    assert.is_nil(shown(t:expect { "presence" }))
    task(t, function() return avatar.set(t.conn, PNG) end)
    assert.is_nil(shown(t:expect { "presence" })) -- the server will add it
    assert.equal(0, store.asked)
  end))

  it("says that there is no picture, or nothing if that isn't known", testing.around(function(t)
    t:pubsub()
    store_of(t)
    avatar.use(t.conn, { rooms = true })
    task(t, function() return presence.set(t.conn, {}) end)
    assert.same({ "photo", {} }, xexpr.child(shown(t:expect { "presence" }), "photo"))
    presence.send(t.conn, "room@rooms.example.net/x", {})
    assert.is_truthy(shown(t:expect { "presence" }))
    t:ack()
    t:cut(false)
    local off = t:on({ "iq", { type = "get" }, { "vCard", { xmlns = VCARD } } }, function() return nil, "wait",
      "internal-server-error" end)
    t:reconnect { new = true }
    t:advance(1)
    assert.is_nil(xexpr.child(shown(t:expect { "presence" }), "photo"))
    off()
  end))

  it("of contacts announces theirs, and occupants' if that is asked for", testing.around(function(t)
    t:contact("anna@example.net", { subscription = "both" })
    local function run(opts)
      local heard = {}
      opts.presence = true
      local off = avatar.watch(t.conn, function(jid, meta)
        heard[#heard + 1] = jid .. " " .. (meta and meta.id:sub(1, 4) .. tostring(meta.vcard) or "none")
      end, opts)
      t:advance(1)
      for _, p in ipairs { { "anna@example.net/a", { "photo", {}, ID } }, { "anna@example.net/a" },
        { "anna@example.net/b", { "photo", {}, ID } }, { "anna@example.net/a", { "photo" } },
        { "anna@example.net/a", { "photo", {}, "x" } },
        { "mallory@evil.example/x", { "photo", {}, ID } },
        { "room@rooms.example.net/nick", { "photo", {}, ID }, true } } do
        t:receive { "presence", { from = p[1] }, { "x", { xmlns = UPDATE }, p[2] },
          p[3] and { "x", { xmlns = "http://jabber.org/protocol/muc#user" } } or nil }
      end
      off()
      return heard
    end
    local short = ID:sub(1, 4) .. "true"
    assert.same({ "anna@example.net " .. short, "anna@example.net none" }, run {})
    assert.same({ "anna@example.net " .. short, "anna@example.net none", "room@rooms.example.net/nick " .. short },
      run { rooms = true })
    t:nothing()
  end))
end)

describe("a vCard", function()
  it("is read as a table", testing.around(function(t)
    t:on({ "iq", { to = "anna@example.net" }, { "vCard", { xmlns = VCARD } } }, function()
      return card({ "FN", {}, "Anna" }, { "N", {}, { "FAMILY", {}, "A" }, { "GIVEN", {}, "Anna" } },
        { "EMAIL", {}, { "HOME" }, { "PREF" }, { "USERID", {}, "a@example.net" } }, { "EMAIL", {} },
        { "TEL", {}, { "CELL" }, { "NUMBER", {}, "1" } }, { "ADR", {}, { "WORK" }, { "CTRY", {}, "DE" } },
        { "ORG", {}, { "ORGNAME", {}, "X" }, { "ORGUNIT", {}, "Y" } }, { "X-OTHER", {}, "z" },
        { "FN", { xmlns = "urn:x" }, "Eve" }, { "NICKNAME" }, photo(PNG))
    end)
    assert.same({ { fn = "Anna", n = { family = "A", given = "Anna" },
      email = { { address = "a@example.net", types = { "home", "pref" } } },
      tel = { { number = "1", types = { "cell" } } }, adr = { { country = "DE", types = { "work" } } },
      org = { name = "X", units = { "Y" } }, photo = { type = "image/png", data = PNG } } },
      task(t, function() return vcard.get(t.conn, "anna@example.net") end))
  end))

  it("that is missing or malformed is an error; a picture that is a URL isn't fetched", testing.around(function(t)
    local answer
    t:on({ "iq", { to = "anna@example.net" }, { "vCard", { xmlns = VCARD } } }, function()
      if not answer then return nil, "cancel", "item-not-found" end
      return answer
    end)
    local function got() return task(t, function() return vcard.get(t.conn, "anna@example.net") end) end
    assert.equal("item-not-found", got()[2].condition)
    answer = { "iq", { type = "result" } }
    assert.equal("item-not-found", got()[2].condition)
    answer = { "vCard", { xmlns = "urn:x" } }
    assert.equal("bad-format", got()[2].condition)
    answer = card()
    assert.same({ {} }, got())
    answer = card { "PHOTO", {}, { "EXTVAL", {}, "http://evil.example/" } }
    assert.same({ { photo = { url = "http://evil.example/" } } }, got())
    answer = card(photo(("x"):rep(200000)))
    local p = got()[1].photo
    assert.is_nil(p.data)
    assert.truthy(p.error:find "262144")
    answer = card { "PHOTO", {}, { "BINVAL", {}, "???" } }
    assert.same({ error = "invalid Base64" }, got()[1].photo)
  end))

  it("of ours is changed in the given fields only", testing.around(function(t)
    local store = store_of(t, card({ "X-OTHER", { a = "b" }, { "Y", {}, "z" } }, { "FN", {}, "Old" },
      { "URL", {}, "x" },
      { "EMAIL", {}, { "USERID", {}, "1" } }, { "EMAIL", {}, { "USERID", {}, "2" } }))
    local values = { fn = "Bot", url = false, n = { given = "B" }, photo = { data = PNG }, title = "",
      email = { { address = "3", types = { "work" } } }, tel = { { number = "4" } }, adr = { { country = "DE" } },
      org = { name = "O", units = { "U" } } }
    assert.same({ true }, task(t, function() return vcard.set(t.conn, values) end))
    assert.is_true(xexpr.equal(card({ "X-OTHER", { a = "b" }, { "Y", {}, "z" } }, { "FN", {}, "Bot" },
      { "EMAIL", {}, { "WORK" }, { "USERID", {}, "3" } }, { "ADR", {}, { "CTRY", {}, "DE" } }, { "N", {},
        { "GIVEN", {}, "B" } }, { "ORG", {}, { "ORGNAME", {}, "O" }, { "ORGUNIT", {}, "U" } }, photo(PNG),
      { "TEL", {}, { "NUMBER", {}, "4" } }), store.card))
    store.card = nil
    assert.same({ true }, task(t, function() return vcard.set(t.conn, { fn = "New" }) end))
    assert.is_true(xexpr.equal(card { "FN", {}, "New" }, store.card))
  end))

  it("is never written over when it can't be read", testing.around(function(t)
    local store = store_of(t, card { "FN", {}, "Old" })
    local off = t:on({ "iq", { type = "get" }, { "vCard", { xmlns = VCARD } } }, function() return nil, "wait",
      "internal-server-error" end)
    assert.equal("internal-server-error", task(t, function() return vcard.set(t.conn, { fn = "New" }) end)[2].condition)
    off()
    assert.is_true(xexpr.equal(card { "FN", {}, "Old" }, store.card))
    for _, bad in ipairs { { fn = 1 }, { no = "x" }, { n = "x" }, { n = { no = "x" } }, { photo = {} }, { tel = { 1 } },
      { email = { { types = { "home" } } } }, { email = { { address = "x", types = { "moon" } } } },
      { org = { units = {} } }, { fn = "\0" } } do
      local ok, why = pcall(function() vcard.set(t.conn, bad) end)
      assert.is_false(ok)
      assert.truthy(why:find "avatar_spec", why)
    end
  end))
end)
