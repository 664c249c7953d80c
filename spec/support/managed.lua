-- Parts of plays (see peer.lua) with stream management (XEP-0198), and functions that record what became of sent
-- stanzas.
local opened = require "spec.support.opened"
local peer = require "spec.support.peer"
local shell = require "spec.support.shell"

local managed = { NS = "urn:xmpp:sm:3" }

local BIND = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"

-- A login of alice@xmpp.test up to the features behind it, which are `features`.
function managed.login(features)
  return peer.starttls .. peer.plain .. peer.stream(features or BIND .. "<sm xmlns='urn:xmpp:sm:3'/>")
end

managed.binding = [[
  C: <iq type='set' id='{bind}' ...><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
    <resource>{resource}</resource></bind></iq>
  S: <iq type='result' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
    <jid>alice@xmpp.test/{resource}</jid></bind></iq>
]]

-- A login up to <enable/>, which the play must answer.
managed.asked = managed.login() .. managed.binding .. "C: <enable xmlns='urn:xmpp:sm:3' .../>\n"

function managed.enabled(id, more)
  return ("S: <enabled xmlns='urn:xmpp:sm:3' id='%s' resume='true' %s/>\n"):format(id or "one", more or "")
end

-- A whole login; the session has the id `id` ("one").
function managed.session(id, more)
  return managed.asked .. managed.enabled(id, more)
end

-- A login that resumes a session, of which the client has handled `h` stanzas.
function managed.resume(h, id, features)
  return managed.login(features)
    .. ("C: <resume xmlns='urn:xmpp:sm:3' h='%s' previd='%s'/>\n"):format(h, id or "one")
end

function managed.resumed(h, id)
  return ("S: <resumed xmlns='urn:xmpp:sm:3' h='%s' previd='%s'/>\n"):format(h, id or "one")
end

managed.r = "C: <r xmlns='urn:xmpp:sm:3'/>\n"
managed.asks = "S: <r xmlns='urn:xmpp:sm:3'/>\n"

-- The server sends a message, by which the test knows how far the play is.
function managed.says_message(body) return ("S: <message><body>%s</body></message>\n"):format(body) end

function managed.a(h) return ("S: <a xmlns='urn:xmpp:sm:3' h='%s'/>\n"):format(h) end
function managed.says(h) return ("C: <a xmlns='urn:xmpp:sm:3' h='%s'/>\n"):format(h) end

-- The client sends a message with this body, and nothing else in it.
function managed.message(body)
  return ("C: <message id='%s'><body>%s</body></message>\n"):format(body, body)
end

-- The same, with a stamp (XEP-0203), since it is late. asked: on a busy machine so much time may pass that the client
-- asks for an acknowledgement (<r/>) before it.
function managed.late(body, asked)
  return ("match \\s*%s<message id='%s'><body>%s</body><delay xmlns='urn:xmpp:delay'"
    .. " stamp='20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d\\d\\dZ'/></message>\n")
    :format(asked and "(?:<r xmlns='urn:xmpp:sm:3'/>\\s*)?" or "", body, body)
end

-- The end of the stream, preceded by the client's <a/>, which says how much it has handled.
function managed.bye(h)
  return managed.says(h or 0) .. "C: </stream:stream>\nS: </stream:stream>\n"
end

-- A folder of certificates for plays, which are made once; and its removal.
managed.certs, managed.remove = peer.certs, shell.remove

managed.turn_until = opened.turn_until

-- Records what becomes of stanzas: n.of(name) is a function for conn:send's `on`; n[name] is the states that were
-- reported, separated by spaces, n.why[name] the last error.
function managed.notebook()
  local n = { why = {} }
  function n.of(name)
    n[name] = ""
    return { on = function(state, err)
      n[name] = n[name] .. (n[name] == "" and "" or " ") .. state
      n.why[name] = err
    end }
  end
  return n
end

-- Records a connection's states: told[i] are their names, why[name] the last error that came with one.
function managed.states(conn)
  local told = { why = {} }
  conn:on("state", function(state, err)
    told[#told + 1] = state
    told.why[state] = err or told.why[state]
  end)
  return told
end

return managed
