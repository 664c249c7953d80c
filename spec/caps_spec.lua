-- caps: hashes of XEP-0115 and XEP-0390, other entities' and our own, and attempts to poison the cache. On fed bytes.

local caps = require "xmpp.caps"
local core = require "xmpp.core"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local fed = require "spec.support.fed"
local stage = require "spec.support.stage"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr

local INFO, DATA = "http://jabber.org/protocol/disco#info", "jabber:x:data"
local CAPS, CAPS2, HASHES = "http://jabber.org/protocol/caps", "urn:xmpp:caps", "urn:xmpp:hashes:2"

local function query(...) return { "query", { xmlns = INFO }, ... } end

local function identity(category, kind, name, lang)
  return { "identity", { category = category, type = kind, name = name, ["xml:lang"] = lang } }
end

local function feature(var) return { "feature", { var = var } } end

local function field(var, kind, ...)
  local x = { "field", { var = var, type = kind } }
  for _, value in ipairs { ... } do x[#x + 1] = { "value", {}, value } end
  return x
end

local function form(...) return { "x", { xmlns = DATA, type = "result" }, ... } end

local function features(words, out)
  for var in words:gmatch "%S+" do out[#out + 1] = feature(var) end
  return out
end

-- XEP-0115 5.2 and 5.3
local SIMPLE = query(identity("client", "pc", "Exodus 0.9.1"), feature "http://jabber.org/protocol/muc", feature(INFO),
  feature "http://jabber.org/protocol/disco#items", feature(CAPS))
local COMPLEX = query(identity("client", "pc", "Psi 0.11", "en"), identity("client", "pc", "\206\168 0.11", "el"),
  feature(CAPS), feature(INFO), feature "http://jabber.org/protocol/disco#items",
  feature "http://jabber.org/protocol/muc",
  form(field("FORM_TYPE", "hidden", "urn:xmpp:dataforms:softwareinfo"),
    field("ip_version", "text-multi", "ipv6", "ipv4"),
    field("os", nil, "Mac"), field("os_version", nil, "10.5.1"), field("software", nil, "Psi"),
    field("software_version", nil, "0.11")))

-- XEP-0390 4.5
local BOMBUS = features([[http://jabber.org/protocol/si http://jabber.org/protocol/bytestreams
  http://jabber.org/protocol/chatstates http://jabber.org/protocol/disco#info http://jabber.org/protocol/disco#items
  urn:xmpp:ping jabber:iq:time jabber:iq:privacy jabber:iq:version http://jabber.org/protocol/rosterx urn:xmpp:time
  jabber:x:oob http://jabber.org/protocol/ibb http://jabber.org/protocol/si/profile/file-transfer urn:xmpp:receipts
  jabber:iq:roster jabber:iq:last]], query(identity("client", "mobile", "BombusMod")))
local TKABBER = features([[games:board http://jabber.org/protocol/activity http://jabber.org/protocol/activity+notify
  http://jabber.org/protocol/bytestreams http://jabber.org/protocol/chatstates http://jabber.org/protocol/commands
  http://jabber.org/protocol/disco#info http://jabber.org/protocol/disco#items http://jabber.org/protocol/evil
  http://jabber.org/protocol/feature-neg http://jabber.org/protocol/geoloc http://jabber.org/protocol/geoloc+notify
  http://jabber.org/protocol/ibb http://jabber.org/protocol/iqibb http://jabber.org/protocol/mood
  http://jabber.org/protocol/mood+notify http://jabber.org/protocol/rosterx http://jabber.org/protocol/si
  http://jabber.org/protocol/si/profile/file-transfer http://jabber.org/protocol/tune
  http://www.facebook.com/xmpp/messages http://www.xmpp.org/extensions/xep-0084.html#ns-metadata+notify
  jabber:iq:avatar jabber:iq:browse jabber:iq:dtcp jabber:iq:filexfer jabber:iq:ibb jabber:iq:inband jabber:iq:jidlink
  jabber:iq:last jabber:iq:oob jabber:iq:privacy jabber:iq:roster jabber:iq:time jabber:iq:version jabber:x:data
  jabber:x:event jabber:x:oob urn:xmpp:avatar:metadata+notify urn:xmpp:ping urn:xmpp:receipts urn:xmpp:time]],
  query(identity("client", "pc", "Tkabber", "en"),
    identity("client", "pc", "\208\162\208\186\208\176\208\177\208\177\208\181\209\128", "ru"),
    form(field("FORM_TYPE", "hidden", "urn:xmpp:dataforms:softwareinfo"), field("software", nil, "Tkabber"),
      field("software_version", nil, "0.11.1-svn-20111216-mod (Tcl/Tk 8.6b2)"), field("os", nil, "Windows"),
      field("os_version", nil, "XP"))))

local function hash2(algo, q, lang) return core.base64(core.hash(algo, assert(caps.hash_string(q, lang)))) end

describe("caps' hashes", function()
  it("are XEP-0115's", function()
    assert.equal("QgayPKawpkPSDYmwT/WM94uAlu0=", caps.ver(SIMPLE))
    assert.equal("q07IKJEyjvHSyhy//CH0CxmKi8w=", caps.ver(COMPLEX))
    assert.equal("client/pc//Exodus 0.9.1<http://jabber.org/protocol/caps<http://jabber.org/protocol/disco#info<"
      .. "http://jabber.org/protocol/disco#items<http://jabber.org/protocol/muc<", caps.legacy_string(SIMPLE))
  end)

  it("are XEP-0390's", function()
    assert.equal("kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=", hash2("sha-256", BOMBUS))
    assert.equal("79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q=", hash2("sha3-256", BOMBUS))
    assert.equal("u79ZroNJbdSWhdSp311mddz44oHHPsEBntQ5b1jqBSY=", hash2("sha-256", TKABBER))
    assert.equal("XpUJzLAc93258sMECZ3FJpebkzuyNXDzRNwQog8eycg=", hash2("sha3-256", TKABBER))
  end)

  it("know an identity's language when it is inherited", function()
    local named = query(identity("client", "pc", "x", "de"))
    local around = query(identity("client", "pc", "x"))
    assert.equal(caps.hash_string(named), caps.hash_string(around, "de"))
    around[2]["xml:lang"] = "de"
    assert.equal(caps.hash_string(named), caps.hash_string(around, "en"))
  end)

  it("are not computed of an ill-formed answer (XEP-0115 5.4)", function()
    local softwareinfo = field("FORM_TYPE", "hidden", "urn:f")
    for why, q in pairs {
      ["an identity twice"] = query(identity("a", "b", "c"), identity("a", "b", "c")),
      ["a feature twice"] = query(feature "x", feature "y", feature "x"),
      ["two forms of one FORM_TYPE"] = query(form(softwareinfo), form(softwareinfo, field("v"))),
      ["a FORM_TYPE with two values"] = query(form(field("FORM_TYPE", "hidden", "urn:f", "urn:g"))),
      ["a form with two FORM_TYPE fields"] = query(form(softwareinfo, softwareinfo)),
      ["a '<' in a value"] = query(feature "a<b"),
    } do
      local ver, reason = caps.ver(q)
      assert.is_nil(ver)
      assert.equal(why, reason)
    end
    assert.equal("a '<' in a value", select(2, caps.ver(query(identity("a", "b", "c<d")))))
    assert.equal("a '<' in a value", select(2, caps.ver(query(form(softwareinfo, field("v", nil, "x<"))))))
    assert.truthy(caps.ver(query(form(field("FORM_TYPE", "hidden", "urn:f", "urn:f")))))
  end)

  it("pass over a form whose FORM_TYPE isn't hidden, and say so", function()
    for _, odd in ipairs { form(field("FORM_TYPE", nil, "urn:f")), form(field("v", nil, "1")) } do
      local s, why = caps.legacy_string(query(feature "x", odd))
      assert.equal("x<", s)
      assert.truthy(why)
    end
  end)

  it("of XEP-0390 are not computed of what it forbids", function()
    local softwareinfo = field("FORM_TYPE", "hidden", "urn:f")
    assert.is_nil((caps.hash_string(query(feature "x", { "more", {} }))))
    assert.is_nil((caps.hash_string(query(form(softwareinfo, { "reported", {} })))))
    assert.is_nil((caps.hash_string(query(form(softwareinfo, { "item", {} })))))
    assert.is_nil((caps.hash_string(query(form(field("FORM_TYPE", nil, "urn:f"))))))
    assert.is_nil((caps.hash_string(query { "feature", { var = "x", xmlns = "urn:else" } })))
  end)
end)

local f, conn

-- A presence with these children comes.
local function come(from, ...)
  f:feed(xexpr.to_xml { "presence", { from = from }, ... })
end

local function legacy(ver, hash, node)
  return { "c", { xmlns = CAPS, node = node or "urn:n", ver = ver, hash = hash } }
end

local function modern(algo, value)
  return { "c", { xmlns = CAPS2 }, { "hash", { xmlns = HASHES, algo = algo }, value } }
end

-- Starts caps.of; the table gets its results when it has returned.
local function of(jid)
  local got = {}
  xmpp.spawn(function()
    got.info, got.err = caps.of(conn, jid)
    got.done = true
  end)
  fed.settle()
  return got
end

-- The one query that was sent: to whom, for which node, and a function that answers it.
local function asked()
  local sent = stage.sent(f)
  assert.equal(1, #sent)
  local x = sent[1]
  return x[2].to, x[3][2].node, function(q)
    q = q and xexpr.canonical(q)
    local reply = { "iq", { type = q and "result" or "error", id = x[2].id, from = x[2].to }, q }
    if not q then
      reply[3] = { "error", { type = "cancel" },
        { "item-not-found", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } }
    end
    f:feed(xexpr.to_xml(reply))
  end
end

local function nothing_asked() assert.same({}, stage.sent(f)) end

-- caps.of knows this one's features without a query.
local function expect_known(jid, var)
  local got = of(jid)
  nothing_asked()
  assert.is_true(got.info.features[var])
end

local function prepare(...)
  f, conn = ...
  if not conn then return end
  ext.use(conn, caps)
  fed.settle()
end

describe("caps.of", function()
  stage.around(prepare)

  it("asks once for all that announce the same hash", function()
    come("bob@xmpp.test/pc", legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1"))
    local got = of "bob@xmpp.test/pc"
    local to, node, answer = asked()
    assert.equal("bob@xmpp.test/pc", to)
    assert.equal("urn:n#QgayPKawpkPSDYmwT/WM94uAlu0=", node)
    answer(SIMPLE)
    assert.is_true(got.info.features[CAPS])
    come("eve@evil.test/x", legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1", "urn:other"))
    expect_known("eve@evil.test/x", CAPS)
    assert.equal(got.info, of("bob@xmpp.test/pc").info)
    local info
    xmpp.spawn(function() info = disco.info(conn, "eve@evil.test/x") end)
    fed.settle()
    nothing_asked() -- disco has it by its hash
    assert.equal(got.info, info)
  end)

  it("asks one at a time for a hash and a server", function()
    for _, jid in ipairs { "a@xmpp.test/x", "b@xmpp.test/x", "c@else.test/x" } do
      come(jid, legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1"))
    end
    local a = of "a@xmpp.test/x"
    local to, _, answer = asked()
    assert.equal("a@xmpp.test/x", to)
    local b = of "b@xmpp.test/x"
    nothing_asked()
    local c = of "c@else.test/x"
    local answer_c
    to, _, answer_c = asked()
    assert.equal("c@else.test/x", to)
    answer(query(feature "forged"))
    assert.is_true(a.info.features.forged)
    local answer_b
    to, _, answer_b = asked() -- a's answer didn't match the hash, so it is only used for a
    assert.equal("b@xmpp.test/x", to)
    answer_b(SIMPLE)
    assert.is_true(b.info.features[CAPS])
    answer_c()
    assert.equal("item-not-found", c.err.condition)
  end)

  it("uses an answer that doesn't match its hash for its sender only", function()
    local softwareinfo = field("FORM_TYPE", "hidden", "urn:f")
    local function ver(s) return core.base64(core.hash("sha-1", s)) end
    for _, case in ipairs {
      { "QgayPKawpkPSDYmwT/WM94uAlu0=", query(feature "forged") }, -- doesn't match the hash
      { ver "forged<x<", query(feature "forged<x") }, -- ambiguous: other features would give the same string
      { ver "forged<forged<", query(feature "forged", feature "forged") },
      { ver "forged<urn:f<urn:f<", query(feature "forged", form(softwareinfo), form(softwareinfo)) },
      { ver "forged<", query(feature "forged", form(field("FORM_TYPE", nil, "urn:f"), field("v", nil, "1"))) },
    } do
      come("eve@evil.test/x", legacy(case[1], "sha-1"))
      local got = of "eve@evil.test/x"
      local _, _, answer = asked()
      answer(case[2])
      assert.truthy(got.info.features.forged or got.info.features["forged<x"])
      of "eve@evil.test/x"
      nothing_asked() -- for eve herself the answer is kept
      come("bob@xmpp.test/pc", legacy(case[1], "sha-1"))
      of "bob@xmpp.test/pc"
      local to
      to, _, answer = asked()
      assert.equal("bob@xmpp.test/pc", to)
      answer()
      come("bob@xmpp.test/pc", legacy("none", "sha-1"))
    end
  end)

  -- The string that XEP-0115 hashes can often be divided into other identities, features and forms than those of which
  -- it was made. What is kept for one division must not be given to those whose hash was made of another one.
  it("keeps no answer for others that could be divided differently", function()
    local function hidden(form_type, ...) return form(field("FORM_TYPE", "hidden", form_type), ...) end
    local function learn(q, jid)
      local s = caps.legacy_string(q)
      come(jid, legacy(core.base64(core.hash("sha-1", s)), "sha-1"))
      of(jid)
      local sent = stage.sent(f)
      if not sent[1] then return false end
      f:feed(xexpr.to_xml { "iq", { type = "result", id = sent[1][2].id, from = sent[1][2].to }, q })
      return true
    end
    local function is_kept(q)
      assert.is_true(learn(q, "eve@evil.test/x"))
      local asks = learn(q, "bob@xmpp.test/pc")
      come("eve@evil.test/x", legacy("none", "sha-1"))
      come("bob@xmpp.test/pc", legacy("none", "sha-1"))
      return not asks
    end
    local name = "urn:xmpp:dataforms:softwareinfo"
    for i, case in ipairs {
      -- a forged division, and an honest answer with the same string
      { query(feature "client/pc//Psi", feature "x"), query(identity("client", "pc", "Psi"), feature "x") },
      { query(identity("a/b", "c", "d"), feature "y"), query(identity("a", "b", "/d", "c"), feature "y") },
      { query(identity("a", "b/c", "d"), feature "z"), query(identity("a", "b", "/d", "c"), feature "z") },
      { query(identity("a", "b", "d", "c/x"), feature "y"), query(identity("a", "b", "x/d", "c"), feature "y") },
      { query(feature "a:b", hidden("c:d", field "e:f")), query(feature "a:b", feature "c:d", feature "e:f") },
      { query(feature "a:b", feature(name), hidden("e", field("f", nil, "g"))),
        query(feature "a:b", hidden(name, field("e", nil, "f", "g"))) },
      { query(hidden "a/b/c/d"), query(identity("a", "b", "d", "c")) },
    } do
      local forged, honest = case[1], case[2]
      assert.equal(caps.legacy_string(honest), (caps.legacy_string(forged)), "case " .. i)
      assert.is_false(is_kept(forged), "case " .. i)
      assert.is_true(is_kept(honest), "case " .. i)
    end
    assert.is_true(is_kept(query(feature "x", hidden("b", field "c"))))
    assert.is_true(is_kept(COMPLEX))
  end)

  it("keeps a limited amount of what strangers say", function()
    local function asks(jid)
      local got = of(jid)
      local sent = stage.sent(f)
      return sent[1], got
    end
    local function answer(sent, q)
      f:feed(xexpr.to_xml { "iq", { type = "result", id = sent[2].id, from = sent[2].to }, q })
    end
    -- a large answer, also if what makes it large isn't hashed
    local large = query(feature "x", feature(("x"):rep(70000)))
    local padded = query(feature "x", { "y", {}, ("y"):rep(70000) })
    for _, q in ipairs { large, padded } do
      for _ = 1, 2 do
        come("eve@evil.test/x", legacy(caps.ver(q), "sha-1"))
        local sent, got = asks "eve@evil.test/x"
        assert.truthy(sent)
        answer(sent, q)
        assert.is_true(got.info.features.x)
      end
    end
    -- a long node or hash
    for _, c in ipairs { legacy("x", "sha-1", ("n"):rep(1100)), legacy(("v"):rep(1100), "sha-1"),
      modern("sha-256", ("v"):rep(1100)) } do
      come("joe@evil.test/x", c)
      assert.equal("item-not-found", of("joe@evil.test/x").err.condition)
    end
    -- answers that don't match their hash
    for i = 1, 1100 do
      local jid = ("eve@evil.test/%d"):format(i)
      come(jid, legacy("forged", "sha-1"))
      answer((asks(jid)), query(feature "x"))
    end
    assert.is_nil((asks "eve@evil.test/1100"))
    assert.truthy((asks "eve@evil.test/1"))
  end)

  it("keeps nothing by an unknown hash function, or without one", function()
    for _, hash in ipairs { "md5", "", false } do
      for _, jid in ipairs { "a@xmpp.test/x", "b@xmpp.test/x" } do
        come(jid, legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", hash or nil))
        local got = of(jid)
        local to, _, answer = asked()
        assert.equal(jid, to)
        answer(SIMPLE)
        assert.is_true(got.info.features[CAPS])
        come(jid, legacy("none", "sha-1"))
      end
    end
  end)

  it("prefers XEP-0390, and keeps the two apart", function()
    local sha256 = hash2("sha-256", SIMPLE)
    come("bob@xmpp.test/pc", legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1"))
    of "bob@xmpp.test/pc"
    local _, _, answer = asked()
    answer(SIMPLE)
    come("ann@xmpp.test/pc", legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1"), modern("sha-256", sha256))
    local got = of "ann@xmpp.test/pc"
    local node
    _, node, answer = asked() -- a SHA-1 that is known isn't enough
    assert.equal("urn:xmpp:caps#sha-256." .. sha256, node)
    answer(SIMPLE)
    assert.is_true(got.info.features[CAPS])
    come("eve@xmpp.test/pc", modern("sha-256", sha256))
    expect_known("eve@xmpp.test/pc", CAPS)
    come("joe@xmpp.test/pc", modern("sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0="))
    assert.equal("item-not-found", of("joe@xmpp.test/pc").err.condition)
  end)

  it("knows nothing of one whose node is too long to be stored and requested", function()
    local ver = "QgayPKawpkPSDYmwT/WM94uAlu0="
    local most = ("n"):rep(1024 - #"#" - #ver)
    come("bob@xmpp.test/pc", legacy(ver, "sha-1", most))
    of "bob@xmpp.test/pc"
    local _, node = asked()
    assert.equal(most .. "#" .. ver, node)
    come("eve@xmpp.test/pc", legacy(ver, "sha-1", most .. "n"))
    come("joe@xmpp.test/pc", legacy(("v"):rep(1024), "md5", ""))
    come("ann@xmpp.test/pc", modern("sha-256", ("h"):rep(1024)))
    for _, name in ipairs { "eve", "joe", "ann" } do
      assert.equal("item-not-found", of(name .. "@xmpp.test/pc").err.condition)
    end
    nothing_asked()
  end)

  it("knows nothing of one that hasn't announced anything, or is gone", function()
    assert.equal("item-not-found", of("bob@xmpp.test/pc").err.condition)
    come("bob@xmpp.test/pc", legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1"))
    come("bob@xmpp.test/pc") -- XEP-0115 8.4: it may be left out of later presences
    of "bob@xmpp.test/pc"
    local _, _, answer = asked()
    answer(SIMPLE)
    f:feed "<presence from='bob@xmpp.test/pc' type='unavailable'/>"
    assert.equal("item-not-found", of("bob@xmpp.test/pc").err.condition)
    come("bob@xmpp.test/pc", { "c", { xmlns = CAPS } })
    assert.equal("item-not-found", of("bob@xmpp.test/pc").err.condition)
    nothing_asked()
    stage.refuses("connection expected, got nil", function() caps.of() end)
    ext.drop(conn, caps)
    stage.refuses("caps isn't used on this connection", function() caps.of(conn, "bob@xmpp.test/pc") end)
  end)

  it("keeps a limited number of hashes, the most recently used", function()
    ext.drop(conn, caps)
    ext.use(conn, caps, { most = 2 })
    fed.settle()
    local function learn(var)
      local q = query(feature(var))
      come(var .. "@xmpp.test/pc", legacy(caps.ver(q), "sha-1"))
      local got = of(var .. "@xmpp.test/pc")
      local sent = stage.sent(f)
      if sent[1] then
        f:feed(xexpr.to_xml { "iq", { type = "result", id = sent[1][2].id, from = sent[1][2].to }, q })
      end
      assert.is_true(got.info.features[var])
      return #sent
    end
    assert.same({ 1, 1, 0, 1, 0, 1 }, { learn "a", learn "b", learn "a", learn "c", learn "a", learn "b" })
  end)

  it("knows a limited number of presences, the most recent", function()
    local bytes = {}
    local function hear(from, to)
      for i = from, to do
        local user = ("u%d@xmpp.test/x"):format(i)
        bytes[#bytes + 1] = xexpr.to_xml { "presence", { from = user }, legacy("v" .. i, "sha-1") }
      end
      f:feed(table.concat(bytes))
      bytes = {}
    end
    local function is_known(i)
      local got = of(("u%d@xmpp.test/x"):format(i))
      f:sent()
      return got.err == nil
    end
    hear(1, 10000)
    hear(1, 1) -- refreshed
    f:feed "<presence from='u7@xmpp.test/x' type='unavailable'/>"
    hear(10001, 10003)
    assert.same({ true, false, false, true, true, false, true, true },
      { is_known(1), is_known(2), is_known(3), is_known(4), is_known(5), is_known(7), is_known(8), is_known(10003) })
    hear(20001, 30000)
    assert.same({ false, false, true, true }, { is_known(1), is_known(10003), is_known(20001), is_known(30000) })
  end)

  it("is saved, and what is loaded must match its hashes", function()
    come("bob@xmpp.test/pc", legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1"))
    of "bob@xmpp.test/pc"
    local _, _, answer = asked()
    answer(SIMPLE)
    local saved = ext.save(conn)
    assert.equal(1, #saved.caps)
    saved.caps[2] = { "sha-1 q07IKJEyjvHSyhy//CH0CxmKi8w=", query(feature "forged") }
    f = stage.open { jid = "me@xmpp.test/there" }
    conn = f.conn
    ext.load(conn, saved)
    ext.use(conn, caps)
    fed.settle()
    come("bob@xmpp.test/pc", legacy("QgayPKawpkPSDYmwT/WM94uAlu0=", "sha-1"))
    expect_known("bob@xmpp.test/pc", CAPS)
    come("bob@xmpp.test/pc", legacy("q07IKJEyjvHSyhy//CH0CxmKi8w=", "sha-1"))
    of "bob@xmpp.test/pc"
    _, _, answer = asked()
    answer()
  end)
end)

describe("caps of our own", function()
  stage.around(prepare)

  local function parts(presence)
    local c, c2 = xexpr.child(presence, "c", CAPS), xexpr.child(presence, "c", CAPS2)
    return c and c[2], c2 and { c2[3][3], c2[4][3] }
  end

  local function ask(node)
    f:feed(xexpr.to_xml { "iq", { type = "get", id = "1", from = "me@xmpp.test/other" },
      { "query", { xmlns = INFO, node = node } } })
    return stage.sent(f)[1][3]
  end

  it("are in the presence that is sent, and match our answers", function()
    conn:send { "presence", {}, { "status", {}, "hi" } }
    conn:send { "presence", { to = "room@xmpp.test/me" } }
    conn:send { "presence", { to = "bob@xmpp.test", type = "subscribe" } }
    local sent = stage.sent(f)
    local c, c2 = parts(sent[1])
    assert.same({ CAPS, "sha-1", "urn:xmpp:lua" }, { c.xmlns, c.hash, c.node })
    local plain = ask()
    assert.equal(c.ver, caps.ver(plain))
    assert.equal(c2[1], hash2("sha-256", plain))
    assert.equal(c2[2], hash2("sha3-256", plain))
    assert.same(c, (parts(sent[2])))
    assert.same({ nil, nil }, { parts(sent[3]) })
    for _, node in ipairs { "urn:xmpp:lua#" .. c.ver, "urn:xmpp:caps#sha-256." .. c2[1],
      "urn:xmpp:caps#sha3-256." .. c2[2] } do
      local q = ask(node)
      assert.equal(node, q[2].node)
      assert.equal(c.ver, caps.ver(q))
    end
    assert.equal("error", ask("urn:xmpp:lua#other")[1])
    assert.is_nil(disco.own_info(conn).features["urn:x"])
  end)

  it("are announced anew, once, a second after our features have changed", function()
    conn:send { "presence", {}, { "status", {}, "hi" } }
    local before = parts(stage.sent(f)[1])
    disco.add(conn, "urn:x")
    disco.add(conn, "urn:y")
    fed.settle()
    nothing_asked()
    local sent = {}
    stage.turn_until(function()
      sent = stage.sent(f)
      return sent[1]
    end)
    assert.equal(1, #sent)
    assert.equal("hi", xexpr.text(sent[1], "status"))
    assert.are_not.equal(before.ver, parts(sent[1]).ver)
    conn:send { "presence", { type = "unavailable" } }
    stage.sent(f)
    disco.add(conn, "urn:z")
    xmpp.sleep(1.1)
    nothing_asked()
  end)

  it("go with the extension: presence is sent again without them, a second later", function()
    conn:send { "presence", {}, { "status", {}, "hi" } }
    stage.sent(f)
    ext.drop(conn, caps)
    conn:send { "presence", { to = "room@xmpp.test/me" } }
    assert.same({ nil, nil }, { parts(stage.sent(f)[1]) })
    local sent = {}
    stage.turn_until(function()
      sent = stage.sent(f)
      return sent[1]
    end)
    assert.equal(1, #sent)
    assert.equal("hi", xexpr.text(sent[1], "status"))
    assert.same({ nil, nil }, { parts(sent[1]) })
    xmpp.sleep(1.1)
    nothing_asked()
    assert.is_nil(disco.own_info(conn).features[CAPS])
  end)

  it("aren't withdrawn if the program has sent other presence since", function()
    conn:send { "presence", {}, { "status", {}, "hi" } }
    ext.drop(conn, caps)
    conn:send { "presence", {}, { "status", {}, "bye" } }
    stage.sent(f)
    xmpp.sleep(1.1)
    nothing_asked()
  end)

  it("aren't withdrawn if no presence was sent, or the connection is closed", function()
    ext.drop(conn, caps)
    xmpp.sleep(1.1)
    nothing_asked()
  end)
end)
