-- Entering a room: the occupants' presences, our own, and the subject.

local fed = require "spec.support.fed"
local muc = require "xmpp.muc"
local xmpp = require "xmpp"

local ROOM = "tea@rooms.bench.test"
local PRESENCE = "<presence from='" .. ROOM .. "/%s' to='me@bench.test/x'><show>away</show><priority>5</priority>"
  .. "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example'"
  .. " ver='QgayPKawpkPSDYmwT/WM94uAlu0='/><x xmlns='http://jabber.org/protocol/muc#user'>"
  .. "<item affiliation='member' role='participant' jid='%s@example.net/phone'/>%s</x></presence>"
local FEATURES = "<iq type='result' from='" .. ROOM .. "' to='me@bench.test/x' id='%s'>"
  .. "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='conference' type='text'/>"
  .. "<feature var='http://jabber.org/protocol/muc'/></query></iq>"
local SUBJECT = "<message type='groupchat' from='" .. ROOM .. "' to='me@bench.test/x'><subject/></message>"

local function come(f, n)
  local id, room, err = "raw", nil, nil
  if f then
    xmpp.spawn(function() room, err = muc.join(f.conn, ROOM, "me") end)
    fed.settle()
    id = f:sent():match "<iq[^>]* id='([^']+)'"
  end
  local pieces = { FEATURES:format(id) }
  for i = 1, n - 1 do pieces[i + 1] = PRESENCE:format("nick" .. i, "user" .. i, "") end
  pieces[n + 1] = PRESENCE:format("me", "me", "<status code='110'/>")
  pieces[n + 2] = SUBJECT
  return pieces, n + 2, function()
    assert(room, err)
    for i = 1, n - 1 do
      local o = room.occupants["nick" .. i]
      assert(o and o.jid == ("user%d@example.net/phone"):format(i) and o.show == "away")
    end
    return room
  end
end

return { jid = "me@bench.test/x", come = come }
