-- talk: shared by the specs of xmpp.chat: a test that uses chat and records its events; messages; receipts. In virtual
-- time (xmpp.testing).
local assert = require "luassert"
local chat = require "xmpp.chat"
local testing = require "xmpp.testing"
local xexpr = require "xmpp.xexpr"

local talk = {
  ME = "bot@example.net/test", BARE = "bot@example.net", ANNA = "anna@example.net/pc", BOB = "bob@example.net/pc",
  EVE = "eve@evil.example/x", RECEIPTS = "urn:xmpp:receipts", MARKERS = "urn:xmpp:chat-markers:0",
  SID = "urn:xmpp:sid:0", CARBONS = "urn:xmpp:carbons:2", STATES = "http://jabber.org/protocol/chatstates",
  EVENTS = { "message", "corrected", "retracted", "reacted", "receipt", "displayed", "state", "error" },
}

-- A message to us.
function talk.message(from, id, text, ...)
  return { "message", { from = from, to = talk.ME, type = "chat", id = id }, text and { "body", {}, text } or nil, ... }
end

function talk.bare_message(from, id, ...)
  return { "message", { from = from, to = talk.ME, type = "chat", id = id }, ... }
end

-- The text that is recorded for each event.
talk.WORDS = {
  message = function(m) return ("%s %s%s"):format(m.peer, m.text, m.suspicious and " ?" .. m.suspicious or "") end,
  corrected = function(m) return ("%s %s -> %s"):format(m.peer, m.replaces, m.text) end,
  retracted = function(m) return ("%s %s"):format(m.peer, m.retracts) end,
  reacted = function(m) return ("%s %s %s"):format(m.peer, m.reaction.id, table.concat(m.reaction.list, ",")) end,
  receipt = function(peer, id) return peer .. " " .. id end,
  displayed = function(peer, id) return peer .. " " .. id end,
  state = function(peer, state) return peer .. " " .. state end,
  error = function(err, peer, id) return ("%s %s %s"):format(err.condition, tostring(peer), tostring(id)) end,
}

-- A test with chat: f(t, c, heard); heard() returns the lines since the last call, heard.last is the last event.
function talk.with(opts, f, of_test)
  return testing.around(function(t)
    local lines, ear = {}, {}
    local c = chat.use(t.conn, opts)
    for _, event in ipairs(talk.EVENTS) do
      c:on(event, function(...)
        lines[#lines + 1] = event .. " " .. talk.WORDS[event](...)
        ear.last = { ... }
      end)
    end
    t:nothing() -- now the listeners to "session" have run
    f(t, c, setmetatable(ear, { __call = function()
      local out = lines
      lines = {}
      return out
    end }))
  end, of_test)
end

-- The account announces that it assigns stanza ids (XEP-0359).
function talk.account_gives_ids(t)
  t:on({ "iq", { type = "get", to = talk.BARE }, { "query", { xmlns = "http://jabber.org/protocol/disco#info" } } },
    function()
      return { "query", { xmlns = "http://jabber.org/protocol/disco#info" },
        { "identity", { category = "account", type = "registered" } }, { "feature", { var = talk.SID } } }
    end)
end

-- Sends the text to Anna; returns the message's id.
function talk.say(t, c, text)
  local id = assert(c:send("anna@example.net", text or "hello"))
  t:expect { "message", { id = id } }
  return id
end

function talk.is_receipt(t, to, id, kind)
  local got = t:expect { "message", { to = to, type = kind or "chat" },
    { "received", { xmlns = talk.RECEIPTS, id = id } }, { "store", { xmlns = "urn:xmpp:hints" } } }
  assert.is_nil(xexpr.child(got, "body"))
  assert.is_nil(xexpr.child(got, "request"))
  t:nothing()
end

return talk
