-- hostmeta: how a domain's web server announces other connection methods (XEP-0156 3), with web servers that are
-- functions, and a real one.
local hostmeta = require "xmpp.hostmeta"
local web = require "spec.support.web"

local XRD = "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>%s</XRD>"
local WEBSOCKET, BOSH = "urn:xmpp:alt-connections:websocket", "urn:xmpp:alt-connections:xbosh"

-- A web server: pages by URL, each a body, or a status and a location.
local function server(pages)
  local asked = {}
  return function(request)
    asked[#asked + 1] = request
    local page = pages[request.url]
    if type(page) == "table" then return { status = page[1], headers = { location = page[2] }, body = "" } end
    return { status = page and 200 or 404, headers = {}, body = page or "" }
  end, asked
end

local function link(rel, href) return ("<Link rel='%s' href='%s'/>"):format(rel, href) end
local function xml_page(text) return { ["https://example.net/.well-known/host-meta"] = text } end

local function fetch(pages, opts)
  local f, asked = server(pages)
  local o = { http = f }
  for name, value in pairs(opts or {}) do o[name] = value end
  local found, err = hostmeta.fetch("example.net", o)
  return found, err, asked
end

describe("hostmeta.fetch", function()
  it("reads XML", function()
    local found, _, asked = fetch(xml_page(XRD:format(link(BOSH, "https://web.example.com:5280/bosh")
      .. link(WEBSOCKET, "wss://web.example.com:443/ws") .. link(WEBSOCKET, "wss://two.example/ws")
      .. link("urn:xmpp:alt-connections:httppoll", "https://web.example.com/poll"))))
    assert.same({ websocket = { "wss://web.example.com:443/ws", "wss://two.example/ws" },
      bosh = { "https://web.example.com:5280/bosh" } }, found)
    assert.equal(1, #asked)
    assert.equal("application/xrd+xml", asked[1].headers.Accept)
    assert.is_nil(asked[1].insecure)
  end)

  it("reads JSON if there is no XML, or if only JSON is asked for", function()
    if not pcall(require, "cjson") then return end
    local pages = { ["https://example.net/.well-known/host-meta.json"] =
      ([[{ "links": [ 7, {}, { "rel": "%s", "href": "wss://example.net/ws" }, { "rel": 7, "href": [] } ] }]])
        :format(WEBSOCKET) }
    local found, _, asked = fetch(pages)
    assert.same({ websocket = { "wss://example.net/ws" }, bosh = {} }, found)
    assert.equal(2, #asked)
    assert.same({ websocket = { "wss://example.net/ws" }, bosh = {} }, (fetch(pages, { format = "json" })))
    local _, err = fetch(pages, { format = "xml" })
    assert.same({ "http", "refused" }, { err.layer, err.condition })
  end)

  for what, text in pairs { ["nothing"] = "", ["a web page"] = "<html><body>404</body></html>", ["half of it"] = "<XRD",
    ["another namespace"] = "<XRD xmlns='urn:x'/>", ["no namespace"] = "<XRD/>",
    ["a DOCTYPE"] = "<!DOCTYPE XRD [<!ENTITY a 'b'>]><XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'/>" } do
    it("refuses " .. what, function()
      local found, err = fetch(xml_page(text), { format = "xml" })
      assert.same({ nil, "bad-response" }, { found, err.condition })
    end)
  end

  for _, text in ipairs { "", "null", "7", "[]", '{"links":7}', '{"links":null}', "{", '"x"' } do
    it(("refuses JSON like %s, or takes it as empty"):format(text), function()
      local found = fetch({ ["https://example.net/.well-known/host-meta.json"] = text }, { format = "json" })
      assert.is_nil(found and (found.websocket[1] or found.bosh[1]))
    end)
  end

  it("leaves out what doesn't use TLS, and what isn't a URL", function()
    local links = link(WEBSOCKET, "ws://example.net/ws") .. link(BOSH, "http://example.net/bosh")
      .. link(WEBSOCKET, "https://example.net/ws") .. link(BOSH, "javascript:alert(1)") .. link(WEBSOCKET, "")
      .. link(WEBSOCKET, "wss://a@evil.example/") .. link(WEBSOCKET, "wss:///x") .. link(WEBSOCKET, "wss://x/a b")
      .. link(WEBSOCKET, "wss://x/" .. ("y"):rep(2048)) .. link(WEBSOCKET, "wss://\195\164.example/")
      .. "<Link rel='" .. WEBSOCKET .. "'/>" .. "<Link xmlns='urn:x' rel='" .. WEBSOCKET .. "' href='wss://x/'/>"
    assert.same({ websocket = {}, bosh = {} }, (fetch(xml_page(XRD:format(links)))))
  end)

  it("keeps at most twenty of each kind", function()
    local found = fetch(xml_page(XRD:format(link(WEBSOCKET, "wss://x/"):rep(30))))
    assert.equal(20, #found.websocket)
  end)

  it("follows three redirections, by https, and not to a private address", function()
    local page = XRD:format(link(WEBSOCKET, "wss://x/"))
    local pages = xml_page { 301, "https://www.example.net/hm" }
    pages["https://www.example.net/hm"] = { 302, "/deeper" }
    pages["https://www.example.net/deeper"] = { 307, "https://www.example.net/there" }
    pages["https://www.example.net/there"] = page
    local found, _, asked = fetch(pages, { resolve = "192.0.2.1" })
    assert.same({ "wss://x/" }, found.websocket)
    assert.equal(4, #asked)
    assert.is_true(asked[4].public) -- http_spec tests what http.request refuses then
    assert.is_nil(asked[4].resolve)
    pages["https://www.example.net/there"] = { 301, "https://www.example.net/fifth" }
    assert.equal("refused", select(2, fetch(pages, { format = "xml" })).condition)
    for _, bad in ipairs { "http://example.net/x", "//evil.example/x", "ftp://x/", "x", "", "https://a@b/",
      "https://x/\n" } do
      local _, err, again = fetch(xml_page { 301, bad }, { format = "xml" })
      assert.same({ "refused", 1 }, { err.condition, #again })
    end
    assert.equal("refused", select(2, fetch(xml_page { 301 }, { format = "xml" })).condition)
  end)

  it("says what went wrong, and doesn't ask again after a network error", function()
    local n = 0
    local function broken()
      n = n + 1
      return nil, { layer = "http", condition = "certificate" }
    end
    local found, err = hostmeta.fetch("example.net", { http = broken })
    assert.same({ nil, "certificate", 1 }, { found, err.condition, n })
    assert.is_true(select(2, hostmeta.fetch("example.net", { format = "xml", http = function()
      return { status = 503, headers = {}, body = "" }
    end })).retry)
  end)

  it("asks the domain of an address, in its A-labels", function()
    local f, asked = server {}
    hostmeta.fetch("user@b\195\188cher.example/x", { http = f, format = "xml" })
    assert.equal("https://xn--bcher-kva.example/.well-known/host-meta", asked[1].url)
    assert.is_table(select(2, hostmeta.fetch("@@", { http = f })))
    assert.has_error(function() hostmeta.fetch(7) end)
    assert.has_error(function() hostmeta.fetch("x.example", { format = "yaml" }) end)
  end)

  it("believes only the certificate of that domain", function()
    local w = web.start()
    finally(function() w:stop() end)
    local function ask(name)
      return select(2, hostmeta.fetch("files.xmpp.test", { resolve = "127.0.0.1", port = w.ports[name], ca_file = w.ca,
        format = "xml" }))
    end
    assert.equal("certificate", ask "wrongname".condition)
    assert.equal("refused", ask "rsa".condition) -- 404
  end)
end)
