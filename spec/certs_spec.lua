-- certs: which certificates are trusted, and the errors for the others. Each is tried with STARTTLS and with direct
-- TLS, by a client that would send its password to a trusted server.
local child = require "spec.support.child"
local json = require("spec.support.luas").json "certs"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

if not json then return end

local MISMATCH = "certificate-name-mismatch"
local IDN = "bücher.example"
local A_LABEL = "xn--bcher-kva.example"
local ADDR, SRV = "otherName:1.3.6.1.5.5.7.8.5;", "otherName:1.3.6.1.5.5.7.8.7;"

local function hex(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

-- subjectAltNames that can't be written in OpenSSL's notation, as DER: one dNSName, one xmppAddr.
local function der(tag, content) return string.char(tag, #content) .. content end
local function dns_name(name) return hex(der(0x30, der(0x82, name))) end
local function xmpp_addr(name)
  return hex(der(0x30, der(0xA0, "\x06\x08\x2B\x06\x01\x05\x05\x07\x08\x05" .. der(0xA0, der(0x0C, name)))))
end

local function thousand_names()
  local names = {}
  for i = 1, 999 do names[i] = ("DNS:n%d.example"):format(i) end
  names[1000] = "DNS:xmpp.test"
  return table.concat(names, ", ")
end

-- { what, options of the certificate for pki.py; of the client: as (its domain, default xmpp.test), host, opts;
--   wrong (the expected condition; nil: it is trusted), layer (default tls), says (patterns of the text) }
local rows = {
  -- names: dNSName
  { "the domain", san = "DNS:xmpp.test" },
  { "the domain in upper case", san = "DNS:XMPP.TEST" },
  { "the domain with a dot behind it", san = "DNS:xmpp.test." },
  { "the domain, of a JID with a dot behind it", san = "DNS:xmpp.test", as = "xmpp.test." },
  { "the domain, of a JID in upper case", san = "DNS:xmpp.test", as = "XMPP.TEST" },
  { "the domain among others", san = "DNS:a.example, URI:xmpp:b.example, DNS:xmpp.test, DNS:c.example" },
  { "the domain as the last of a thousand names", san = thousand_names() },
  { "the domain, whatever host was dialled", san = "DNS:xmpp.test", host = "localhost" },
  { "only the host that was dialled", san = "DNS:localhost", host = "localhost", wrong = MISMATCH,
    says = { "not for xmpp%.test but for localhost", "tls_name" } },
  { "another domain", san = "DNS:other.example, DNS:*.other.example", wrong = MISMATCH,
    says = { "not for xmpp%.test but for other%.example, %*%.other%.example" } },
  { "a subdomain", san = "DNS:chat.xmpp.test", wrong = MISMATCH },
  { "the parent domain", san = "DNS:xmpp.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "a domain that ends like it", san = "DNS:notxmpp.test", wrong = MISMATCH },
  { "a domain that begins like it", san = "DNS:xmpp.test.evil.example", wrong = MISMATCH },
  { "the domain, then NUL", san_der = dns_name("xmpp.test\0"), wrong = MISMATCH },
  { "the domain, then NUL and another", san_der = dns_name("xmpp.test\0.evil.example"), wrong = MISMATCH,
    says = { "xmpp%.test%?%.evil%.example" } },
  { "the domain with a space before it", san_der = dns_name(" xmpp.test"), wrong = MISMATCH },
  { "an empty name", san_der = dns_name(""), wrong = MISMATCH },
  { "a dot", san_der = dns_name("."), wrong = MISMATCH },
  { "an empty list of names", san_der = "3000", wrong = MISMATCH, says = { "no names at all" } },
  { "an IDN in A-labels", san = "DNS:" .. A_LABEL, as = IDN },
  { "an IDN in A-labels in upper case", san = "DNS:XN--BCHER-KVA.EXAMPLE", as = IDN },
  { "an IDN in A-labels, of a JID that has them, too", san = "DNS:" .. A_LABEL, as = A_LABEL },
  { "an IDN as it is written", san_der = dns_name(IDN), as = IDN, wrong = MISMATCH,
    says = { "xn%-%-bcher%-kva%.example" } },
  { "the domain as common name only", subject = "/CN=xmpp.test", wrong = MISMATCH, says = { "no names at all" } },
  { "the domain as common name beside another dNSName", subject = "/CN=xmpp.test", san = "DNS:other.example",
    wrong = MISMATCH },
  { "the domain as common name beside another xmppAddr", subject = "/CN=xmpp.test", san = ADDR .. "UTF8:other.example",
    wrong = MISMATCH },
  { "the domain as URI and e-mail address only", san = "URI:xmpp:xmpp.test, URI:https://xmpp.test, email:x@xmpp.test",
    wrong = MISMATCH },

  -- names: wildcards
  { "a wildcard for the left-most label", san = "DNS:*.xmpp.test", as = "chat.xmpp.test" },
  { "a wildcard for the left-most label that is an A-label", san = "DNS:*.example.test", as = "bücher.example.test" },
  { "a wildcard before an A-label", san = "DNS:*." .. A_LABEL, as = "chat." .. IDN },
  { "a wildcard for the bare domain itself", san = "DNS:*.xmpp.test", wrong = MISMATCH },
  { "a wildcard for two labels", san = "DNS:*.xmpp.test", as = "a.chat.xmpp.test", wrong = MISMATCH },
  { "a wildcard at a label's end", san = "DNS:c*.xmpp.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "a wildcard at a label's beginning", san = "DNS:*t.xmpp.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "a wildcard within a label", san = "DNS:c*t.xmpp.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "a wildcard within an A-label", san = "DNS:xn--*-kva.example", as = IDN, wrong = MISMATCH },
  { "a wildcard in the second label", san = "DNS:chat.*.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "two wildcards", san = "DNS:*.*.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "a wildcard before a top-level domain", san = "DNS:*.test", wrong = MISMATCH },
  { "a wildcard before a top-level domain with a dot", san = "DNS:*.test.", wrong = MISMATCH },
  { "a wildcard alone", san = "DNS:*", wrong = MISMATCH },
  { "a wildcard alone, of a JID with one label", san = "DNS:*", as = "intranet", wrong = MISMATCH },

  -- names: SRVName, xmppAddr, iPAddress
  { "the domain as SRVName", san = SRV .. "IA5:_xmpp-client.xmpp.test" },
  { "the domain as SRVName in upper case", san = SRV .. "IA5:_XMPP-Client.XMPP.TEST" },
  { "an IDN as SRVName", san = SRV .. "IA5:_xmpp-client." .. A_LABEL, as = IDN },
  { "the domain as SRVName of another service", san = SRV .. "IA5:_xmpp-server.xmpp.test", wrong = MISMATCH,
    says = { "_xmpp%-server%.xmpp%.test" } },
  { "another domain as SRVName", san = SRV .. "IA5:_xmpp-client.other.example", wrong = MISMATCH },
  { "a wildcard as SRVName", san = SRV .. "IA5:_xmpp-client.*.xmpp.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "the domain as SRVName of another type", san = SRV .. "UTF8:_xmpp-client.xmpp.test", wrong = MISMATCH },
  { "the domain as xmppAddr", san = ADDR .. "UTF8:xmpp.test" },
  { "an IDN as xmppAddr", san_der = xmpp_addr(IDN), as = IDN },
  { "another domain as xmppAddr", san = ADDR .. "UTF8:other.example", wrong = MISMATCH },
  { "a user of the domain as xmppAddr", san = ADDR .. "UTF8:alice@xmpp.test", wrong = MISMATCH },
  { "the domain with a resource as xmppAddr", san = ADDR .. "UTF8:xmpp.test/x", wrong = MISMATCH },
  { "the domain, then NUL and another, as xmppAddr", san_der = xmpp_addr("xmpp.test\0.evil.example"),
    wrong = MISMATCH },
  { "the domain as xmppAddr of another type", san = ADDR .. "IA5:xmpp.test", wrong = MISMATCH },
  { "a wildcard as xmppAddr", san = ADDR .. "UTF8:*.xmpp.test", as = "chat.xmpp.test", wrong = MISMATCH },
  { "an IPv4 address", san = "IP:127.0.0.1", as = "127.0.0.1" },
  { "an IPv6 address", san = "IP:::1", as = "[::1]" },
  { "another IPv4 address", san = "IP:127.0.0.2", as = "127.0.0.1", wrong = MISMATCH,
    says = { "not for 127%.0%.0%.1 but for 127%.0%.0%.2" } },
  { "an IPv4 address in IPv6", san = "IP:::ffff:127.0.0.1", as = "127.0.0.1", wrong = MISMATCH },
  { "an IP address as dNSName", san = "DNS:127.0.0.1", as = "127.0.0.1", wrong = MISMATCH },
  { "an IP address as common name", subject = "/CN=127.0.0.1", as = "127.0.0.1", wrong = MISMATCH },
  { "an IP address under a wildcard", san = "DNS:*.0.0.1", as = "127.0.0.1", wrong = MISMATCH },
  { "the address that was dialled, not the domain", san = "IP:127.0.0.1", wrong = MISMATCH },

  -- time
  { "an end that has passed", san = "DNS:xmpp.test", first = "20200101000000Z", last = "20200201000000Z",
    wrong = "certificate-expired", says = { "xmpp%.test", "expired", "until 2020%-02%-01 00:00:00 UTC" } },
  { "a beginning that is to come", san = "DNS:xmpp.test", first = "20990101000000Z", last = "20990201000000Z",
    wrong = "certificate-not-yet-valid", says = { "not yet valid", "valid from 2099%-01%-01 00:00:00 UTC" } },

  -- issuers
  { "itself as issuer", san = "DNS:xmpp.test", issuer = "self", wrong = "certificate-self-signed",
    says = { "self%-signed", "ca_file" } },
  { "itself as issuer, and named in ca_file", san = "DNS:xmpp.test", issuer = "self", trusts = "itself" },
  { "an issuer that nobody trusts", san = "DNS:xmpp.test", issuer = "stranger", wrong = "certificate-unknown-issuer",
    says = { "ca_file" } },
  { "an issuer that nobody trusts, sent along", san = "DNS:xmpp.test", issuer = "stranger", chain = { "stranger" },
    wrong = "certificate-self-signed" },
  { "an intermediate issuer", san = "DNS:xmpp.test", issuer = "middle", chain = { "middle" } },
  { "an intermediate issuer that is missing", san = "DNS:xmpp.test", issuer = "middle",
    wrong = "certificate-unknown-issuer" },
  { "two intermediate issuers in the wrong order", san = "DNS:xmpp.test", issuer = "lower",
    chain = { "middle", "lower" } },
  { "an issuer below one with pathlen 0", san = "DNS:xmpp.test", issuer = "too_low", chain = { "too_low", "last" },
    wrong = "certificate-invalid", says = { "path length" } },
  { "an issuer that is no CA", san = "DNS:xmpp.test", issuer = "server", chain = { "server" },
    wrong = "certificate-invalid", says = { "CA certificate" } },
  { "an issuer that says nothing of being a CA", san = "DNS:xmpp.test", issuer = "may_not_sign",
    chain = { "may_not_sign" }, wrong = "certificate-invalid" },
  { "an issuer that has expired", san = "DNS:xmpp.test", issuer = "old", chain = { "old" },
    wrong = "certificate-expired", says = { "/CN=old" } },
  { "an issuer for names like it", san = "DNS:xmpp.test", issuer = "for_test", chain = { "for_test" } },
  { "an issuer for other names", san = "DNS:xmpp.test", issuer = "for_example", chain = { "for_example" },
    wrong = "certificate-invalid", says = { "permitted subtree" } },
  { "an issuer for all but this name", san = "DNS:xmpp.test", issuer = "not_for_test", chain = { "not_for_test" },
    wrong = "certificate-invalid", says = { "excluded subtree" } },
  { "an issuer for names like it, and an xmppAddr", san = ADDR .. "UTF8:xmpp.test", issuer = "for_test",
    chain = { "for_test" } },
  { "an issuer for other names, and an xmppAddr", san = ADDR .. "UTF8:xmpp.test", issuer = "for_example",
    chain = { "for_example" }, wrong = "certificate-invalid", says = { "name constraints" } },
  { "an issuer for all but this name, and an xmppAddr", san = ADDR .. "UTF8:xmpp.test", issuer = "not_for_test",
    chain = { "not_for_test" }, wrong = "certificate-invalid", says = { "name constraints" } },
  { "an issuer for names like it, and an SRVName", san = SRV .. "IA5:_xmpp-client.xmpp.test", issuer = "for_test",
    chain = { "for_test" } },
  { "an issuer for other names, and an SRVName", san = SRV .. "IA5:_xmpp-client.xmpp.test", issuer = "for_example",
    chain = { "for_example" }, wrong = "certificate-invalid", says = { "name constraints" } },
  { "an issuer for other names, and a good one below it", san = ADDR .. "UTF8:xmpp.test", issuer = "below_example",
    chain = { "below_example", "for_example" }, wrong = "certificate-invalid", says = { "name constraints" } },
  { "an issuer for all but an IDN in A-labels, and an xmppAddr with it", san_der = xmpp_addr(IDN), as = IDN,
    issuer = "not_for_idn", chain = { "not_for_idn" }, wrong = "certificate-invalid", says = { "name constraints" } },
  { "an issuer for all but what its wildcard would stand for", san = "DNS:*.xmpp.test", as = "chat.xmpp.test",
    issuer = "not_for_chat", chain = { "not_for_chat" }, wrong = "certificate-invalid", says = { "name constraints" } },
  { "an issuer for all but something else that its wildcard would stand for", san = "DNS:*.xmpp.test",
    as = "talk.xmpp.test", issuer = "not_for_chat", chain = { "not_for_chat" } },
  { "a CA in a folder", san = "DNS:xmpp.test", trusts = "folder" },
  { "a CA that is not in the folder", san = "DNS:xmpp.test", issuer = "stranger", trusts = "folder",
    wrong = "certificate-unknown-issuer" },
  { "a CA, and a user who trusts another", san = "DNS:xmpp.test", trusts = "stranger",
    wrong = "certificate-unknown-issuer" },

  -- purposes and extensions
  { "clients as its purpose", san = "DNS:xmpp.test", eku = "clientAuth", wrong = "certificate-wrong-purpose",
    says = { "purpose" } },
  { "clients and servers as its purpose", san = "DNS:xmpp.test", eku = "clientAuth,serverAuth" },
  { "no purpose", san = "DNS:xmpp.test", eku = "" },
  { "the use of signing certificates", san = "DNS:xmpp.test", extra = { "keyUsage = critical,keyCertSign" },
    wrong = "certificate-wrong-purpose" },
  { "the use of signing", san = "DNS:xmpp.test", extra = { "keyUsage = critical,digitalSignature" } },
  { "an unknown extension", san = "DNS:xmpp.test", extra = { "1.2.3.4 = ASN1:NULL" } },
  { "an unknown critical extension", san = "DNS:xmpp.test", extra = { "1.2.3.4 = critical,ASN1:NULL" },
    wrong = "certificate-invalid", says = { "unhandled critical extension" } },

  -- keys and signatures
  { "an RSA key", san = "DNS:xmpp.test", key = "rsa" },
  { "an RSA-PSS key", san = "DNS:xmpp.test", key = "rsa-pss" },
  { "a signature of RSA-PSS", san = "DNS:xmpp.test", pss = true },
  { "an Ed25519 key", san = "DNS:xmpp.test", key = "ed25519" },
  { "a signature of Ed25519", san = "DNS:xmpp.test", issuer = "modern", chain = { "modern" } },
  { "an RSA key of 1024 bits", san = "DNS:xmpp.test", key = "rsa1024", wrong = "certificate-invalid",
    says = { "key too weak" } },
  { "an issuer with an RSA key of 1024 bits", san = "DNS:xmpp.test", issuer = "weak", chain = { "weak" },
    wrong = "certificate-invalid", says = { "CA.*key too weak" } },
  { "a signature of SHA-1", san = "DNS:xmpp.test", digest = "sha1", wrong = "certificate-invalid",
    says = { "digest algorithm too weak" } },
  { "a signature of MD5", san = "DNS:xmpp.test", digest = "md5", wrong = "certificate-invalid",
    says = { "digest algorithm too weak" } },

  -- pins and other options
  { "the pinned key", san = "DNS:xmpp.test", pin = "ec" },
  { "another key than the pinned one", san = "DNS:xmpp.test", pin = "rsa", wrong = "certificate-pin-mismatch",
    says = { "xmpp%.test", "pin" } },
  { "the pinned key, but no time left", san = "DNS:xmpp.test", pin = "ec", first = "20200101000000Z",
    last = "20200201000000Z", wrong = "certificate-expired" },
  { "the pinned key, but another name", san = "DNS:other.example", pin = "ec", wrong = MISMATCH },
  { "the pinned key, but an issuer that nobody trusts", san = "DNS:xmpp.test", pin = "ec", issuer = "stranger",
    wrong = "certificate-unknown-issuer" },
  { "the name in tls_name", san = "DNS:other.example", opts = { tls_name = "other.example" } },
  { "another name than in tls_name", san = "DNS:xmpp.test", opts = { tls_name = "other.example" }, wrong = MISMATCH,
    says = { "not for other%.example but for xmpp%.test" } },
  { "anything, and verify=false: no password is told", san = "DNS:other.example", issuer = "self",
    opts = { verify = false }, layer = "sasl", wrong = "invalid-mechanism", says = { "PLAIN", "verified" } },
  { "anything, and verify=false: there is a way in without a password", san = "DNS:other.example", issuer = "self",
    opts = { verify = false, mechanisms = { "ANONYMOUS" } } },
  { "the pinned key, and verify=false", san = "DNS:other.example", issuer = "self", pin = "ec",
    opts = { verify = false } },
  { "the pinned key, no time left, and verify=false", san = "DNS:xmpp.test", first = "20200101000000Z",
    last = "20200201000000Z", pin = "ec", opts = { verify = false } },
  { "another key than the pinned one, and verify=false", san = "DNS:other.example", issuer = "self", pin = "rsa",
    opts = { verify = false }, wrong = "certificate-pin-mismatch" },

  -- versions of TLS
  { "TLS 1.3 only", san = "DNS:xmpp.test", tls = "1.3" },
  { "TLS 1.2 only", san = "DNS:xmpp.test", tls = "1.2" },
  { "TLS 1.1 at most", san = "DNS:xmpp.test", tls = "1.1", wrong = "protocol-version", says = { "TLS 1%.2" } },
}

-- CAs. "stranger" isn't trusted.
local authorities = {
  stranger = {}, middle = { key = "ec" }, lower = { issuer = "middle" },
    last = { basic = "critical,CA:TRUE,pathlen:0" },
  too_low = { issuer = "last" }, server = { basic = "critical,CA:FALSE", extra = {} },
  may_not_sign = { extra = { "keyUsage = critical,digitalSignature" } }, modern = { key = "ed25519" },
  weak = { key = "rsa1024" }, old = { first = "20200101000000Z", last = "20200201000000Z" },
  for_test = { extra = { "nameConstraints = critical,permitted;DNS:test" } },
  for_example = { extra = { "nameConstraints = critical,permitted;DNS:example" } },
  not_for_test = { extra = { "nameConstraints = critical,excluded;DNS:xmpp.test" } },
  not_for_chat = { extra = { "nameConstraints = critical,excluded;DNS:chat.xmpp.test" } },
  not_for_idn = { extra = { "nameConstraints = critical,excluded;DNS:" .. A_LABEL } },
  below_example = { issuer = "for_example" },
}

-- The client offers "xmpp-client" by ALPN, with direct TLS only.
local protocols = {
  { "none" },
  { "xmpp-client", alpn = "xmpp-client" },
  { "xmpp-server", lie = "xmpp-server", wrong = true },
  { "h2", lie = "h2", wrong = true },
  { "one that begins like it", lie = "xmpp-client2", wrong = true },
  { "a refusal", lie = "", wrong = true },
}

local peer

local function described()
  local all = {}
  for name, a in pairs(authorities) do
    a.eku, a.basic = "", a.basic or "critical,CA:TRUE"
    if name == "stranger" then a.issuer = "self" end
    all[name] = a
  end
  for i, row in ipairs(rows) do all["row" .. i] = row end
  for i, row in ipairs(protocols) do all["alpn" .. i] = { san = "DNS:xmpp.test", alpn = row.alpn, lie = row.lie } end
  return json.encode(all)
end

local function trusted(row, name)
  if row.trusts == "folder" then return { ca_dir = peer.CA_DIR } end
  local file = row.trusts == "itself" and name or row.trusts
  return { ca_file = file and ("%s/%s.crt"):format(peer.DIR, file) or peer.CA }
end

-- What the server has seen of the connection to `name`. It reports nothing of one that never reached it.
local function report(name, err)
  local came = not err or (err.layer ~= "dns" and err.layer ~= "timeout" and err.condition ~= "ECONNREFUSED")
  assert(came, tostring(err))
  local seen
  repeat
    seen = json.decode((assert(peer.pipe:read "*l", "the peer ended; it said why on stderr")))
  until seen.name == name
  return seen
end

-- Logs in to the server with this certificate. Returns nil or the error, and what the server has seen.
local function try(name, row, tls)
  local opts = trusted(row, name)
  for option, value in pairs(row.opts or {}) do opts[option] = value end
  opts.tls, opts.pin, opts.timeout = tls, row.pin and peer["PIN_" .. row.pin], 10
  local jid = "alice@" .. (row.as or "xmpp.test")
  if opts.mechanisms then jid = row.as or "xmpp.test" end
  local conn, err = xmpp.connect_client(jid, "alicepw", row.host or peer.HOST, tonumber(peer["PORT_" .. name]), opts)
  if conn then assert(conn:stop()) end
  return err, report(name, err)
end

-- The name that the client sends by SNI: the domain, never the host; none for an address.
local function sni(row)
  local domain = row.opts and row.opts.tls_name or (row.as or "xmpp.test"):lower():gsub("%.$", "")
  if domain:find "^%[" or domain:find "^[%d.]+$" then return nil end
  return (domain:gsub("bücher", "xn--bcher-kva"))
end

local function check_refusal(row, err, seen)
  assert.equal(row.layer or "tls", err.layer, tostring(err))
  assert.equal(row.wrong, err.condition, tostring(err))
  assert.is_false(err.retry)
  for _, pattern in ipairs(row.says or {}) do assert.matches(pattern, err.text) end
  if err.layer == "tls" then assert.equal(0, seen.heard, "the server was told something") end
end

setup(function()
  local pipe = child.open("tlspeer.py", { described() })
  peer = assert(child.variables(pipe), "the peer did not start; it said why on stderr")
  peer.pipe = pipe
end)

teardown(function() if peer then peer.pipe:close() end end)

for tls, said in pairs { starttls = "under STARTTLS", direct = "under TLS from the first byte" } do
  describe(said .. ", a certificate with", function()
    for i, row in ipairs(rows) do
      it(row[1] .. (row.wrong and " is refused" or " is trusted"), function()
        local err, seen = try("row" .. i, row, tls)
        assert.equal(tls, seen.mode)
        if row.tls ~= "1.1" then assert.equal(sni(row) or json.null, seen.sni) end
        if row.wrong then return check_refusal(row, err, seen) end
        assert.is_nil(err, tostring(err))
        assert.is_true(seen.heard > 0)
      end)
    end
  end)
end

-- Runs a line of Lua in a process with `conf` as OpenSSL's configuration, and returns what it prints.
local function with_openssl(conf, program)
  local path = shell.file(conf)
  local said = shell.run(shell.HERE .. ("OPENSSL_CONF='%s' '%s' -e '%s'"):format(path, os.getenv "LUA" or "lua5.4",
    program))
  os.remove(path)
  return said
end

describe("a careless system-wide configuration", function()
  it("does not affect the library", function()
    local weak = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMinProtocol = TLSv1\n"
      .. "CipherString = DEFAULT:@SECLEVEL=0\n"
    local wanted = { ["an RSA key of 1024 bits"] = true, ["a signature of SHA-1"] = true, ["a signature of MD5"] = true,
      ["TLS 1.1 at most"] = true, ["the domain"] = true }
    for i, row in ipairs(rows) do
      if wanted[row[1]] then
        local said = with_openssl(weak, ([[
          local conn, err = require("xmpp").connect_client("alice@xmpp.test", "alicepw", "%s", %s, { ca_file = "%s" })
          io.write(conn and "trusted" or err.condition)
          if conn then conn:stop() end]]):format(peer.HOST, peer["PORT_row" .. i], peer.CA))
        report("row" .. i)
        assert.equal(row.wrong or "trusted", said, row[1])
      end
    end
  end)
end)

describe("ALPN", function()
  for i, row in ipairs(protocols) do
    it(row[1] .. (row.wrong and " is the end" or " is fine"), function()
      local err, seen = try("alpn" .. i, row, "direct")
      if not row.wrong then
        assert.is_nil(err, tostring(err))
        return assert.equal(row.alpn or json.null, seen.alpn)
      end
      assert.equal("tls", err.layer)
      -- newer releases of OpenSSL detect the wrong answer themselves, and only say "bad extension"
      if err.condition ~= "tls-error" then
        assert.equal("no-application-protocol", err.condition, tostring(err))
        assert.is_false(err.retry)
      end
      assert.is_true(seen.heard <= 0, "the server was told something")
    end)
  end

  it("is not offered with STARTTLS", function()
    local err, seen = try("alpn2", {}, "starttls")
    assert.is_nil(err)
    assert.equal(json.null, seen.alpn)
  end)
end)
