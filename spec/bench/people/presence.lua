-- Presences of contacts, one from each, as they come at the beginning of a session.

local presence = require "xmpp.presence"

local PRESENCE = "<presence from='contact%d@example.net/phone-%x' to='me@bench.test/x'><show>away</show>"
  .. "<status>out for lunch</status><priority>5</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1'"
  .. " node='https://client.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/><x xmlns='vcard-temp:x:update'>"
  .. "<photo>c8a1f2c6b7f7b8f0a4a1f2c6b7f7b8f0a4a1f2c6</photo></x></presence>"

local function come(f, n)
  local pieces = {}
  for i = 1, n do pieces[i] = PRESENCE:format(i, i) end
  if f then
    presence.keep(f.conn, function(bare) return bare:find("^contact") ~= nil end)
  end
  return pieces, n, function()
    for i = 1, n do
      local p = presence.of(f.conn, ("contact%d@example.net"):format(i))[("phone-%x"):format(i)]
      assert(p and p.show == "away" and p.priority == 5)
    end
    return presence.of(f.conn, "contact1@example.net")
  end
end

return { jid = "me@bench.test/x", come = come }
