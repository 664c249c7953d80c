-- Fetching a whole roster.

local fed = require "spec.support.fed"
local roster = require "xmpp.roster"

local ITEM = "<item jid='contact%d@example.net' name='Contact %d' subscription='both'><group>Friends</group></item>"

local function come(f, n)
  local id, r = "raw", nil
  if f then
    r = roster.use(f.conn)
    fed.settle()
    id = f:sent():match "id='([^']+)'"
  end
  local pieces = { ("<iq type='result' to='me@bench.test/x' id='%s'><query xmlns='jabber:iq:roster'>"):format(id) }
  for i = 1, n do pieces[i + 1] = ITEM:format(i, i) end
  pieces[n + 2] = "</query></iq>"
  return pieces, 1, function()
    for i = 1, n do
      local item = r.items[("contact%d@example.net"):format(i)]
      assert(item and item.name == "Contact " .. i and item.subscription == "both" and item.groups[1] == "Friends")
    end
    return r
  end
end

return { jid = "me@bench.test/x", come = come }
