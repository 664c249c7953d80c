-- Examples of the reference, page hostmeta: see spec/support/manual.lua for how they are run.

--- hostmeta.fetch
local XRD = [[<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>
<Link rel='urn:xmpp:alt-connections:websocket' href='wss://example.net/ws'/></XRD>]]
local real = hostmeta.fetch
function hostmeta.fetch(domain)
  return real(domain, { http = function() return { status = 200, headers = {}, body = XRD } end })
end
-- example
local found, err = hostmeta.fetch "example.net"
print(found and found.websocket[1] or err)                       --> wss://example.net/ws
-- check
hostmeta.fetch = real
