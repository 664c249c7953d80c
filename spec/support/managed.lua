-- Parts of plays (peer.lua) with stream management (XEP-0198), and a notebook for what became of what was sent.
local opened = require "spec.support.opened"
local peer = require "spec.support.peer"
local shell = require "spec.support.shell"

local managed = { NS = "urn:xmpp:sm:3" }

local BIND = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"

-- A login of alice@xmpp.test up to the features, of which the session's are `features`.
function managed.login(features)
  return peer.starttls .. peer.plain .. peer.stream(features or BIND .. "<sm xmlns='urn:xmpp:sm:3'/>")
end

managed.binding = [[
  C: <iq type='set' id='{bind}' ...><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
    <resource>{resource}</resource></bind></iq>
  S: <iq type='result' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
    <jid>alice@xmpp.test/{resource}</jid></bind></iq>
]]

-- Up to <enable/>, which the play has to answer.
managed.asked = managed.login() .. managed.binding .. "C: <enable xmlns='urn:xmpp:sm:3' .../>\n"

function managed.enabled(id, more)
  return ("S: <enabled xmlns='urn:xmpp:sm:3' id='%s' resume='true' %s/>\n"):format(id or "one", more or "")
end

-- A whole login, the session is called `id` ("one").
function managed.session(id, more)
  return managed.asked .. managed.enabled(id, more)
end

-- The login of who wants to go on with a session, of which it has handled `h`.
function managed.resume(h, id, features)
  return managed.login(features)
    .. ("C: <resume xmlns='urn:xmpp:sm:3' h='%s' previd='%s'/>\n"):format(h, id or "one")
end

function managed.resumed(h, id)
  return ("S: <resumed xmlns='urn:xmpp:sm:3' h='%s' previd='%s'/>\n"):format(h, id or "one")
end

managed.r = "C: <r xmlns='urn:xmpp:sm:3'/>\n"
managed.asks = "S: <r xmlns='urn:xmpp:sm:3'/>\n"

-- The server says a message, by which the other side knows how far the play is.
function managed.says_message(body) return ("S: <message><body>%s</body></message>\n"):format(body) end

function managed.a(h) return ("S: <a xmlns='urn:xmpp:sm:3' h='%s'/>\n"):format(h) end
function managed.says(h) return ("C: <a xmlns='urn:xmpp:sm:3' h='%s'/>\n"):format(h) end

-- A message with this body is sent, and nothing else in it.
function managed.message(body)
  return ("C: <message id='%s'><body>%s</body></message>\n"):format(body, body)
end

-- The same, and it says how late it is. asked: before it so much time may have passed, on a busy machine, that the
-- server is asked how much it has.
function managed.late(body, asked)
  return ("match \\s*%s<message id='%s'><body>%s</body><delay xmlns='urn:xmpp:delay'"
    .. " stamp='20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d\\d\\dZ'/></message>\n")
    :format(asked and "(?:<r xmlns='urn:xmpp:sm:3'/>\\s*)?" or "", body, body)
end

-- Goodbye, the last thing said before it being how much was handled.
function managed.bye(h)
  return managed.says(h or 0) .. "C: </stream:stream>\nS: </stream:stream>\n"
end

-- A folder of certificates for plays, which are made once; and its end.
managed.certs, managed.remove = peer.certs, shell.remove

managed.turn_until = opened.turn_until

-- A notebook: n.of(name) is what conn:send's `on` wants; n[name] is the states that were told, in a row, n.why[name]
-- the last error.
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

-- What a connection's states are: told[i] their names, why[name] the last error that came with one.
function managed.states(conn)
  local told = { why = {} }
  conn:on("state", function(state, err)
    told[#told + 1] = state
    told.why[state] = err or told.why[state]
  end)
  return told
end

return managed
