-- A scripted server for specs, for behaviour that no real server has. It runs in a process of its own, so that it goes
-- on while this process waits. peer.py lists the steps that a play may have.
--
--   local p = peer.play(peer.starttls .. [[
--     C: <stream:stream ...>
--     S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='2'>
--     S: <stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>
--     close
--   ]])
--   local conn, err = xmpp.connect_client("alice@xmpp.test", "alicepw", p.host, p.port, { ca_file = p.ca })
--   assert.equal("host-unknown", err.condition)
--   p:check()
local child = require "spec.support.child"
local shell = require "spec.support.shell"

local peer = {}
local Peer = {}
Peer.__index = Peer

-- peer.play(text [, opts]) -> p: p.host and p.port to connect to; with a tls step p.ca (and p.certs, their folder).
-- opts, in seconds: timeout (5) for each step, grace (0.3) for what the client had sent when finish was called,
-- limit (60) for the whole; host ("::1" for IPv6); certs, a folder made by spec/support/certs (else one is made).
function peer.play(text, opts)
  local arguments = {}
  for name, value in pairs(opts or {}) do arguments[#arguments + 1] = "--" .. name .. "=" .. tostring(value) end
  arguments[#arguments + 1] = "--"
  arguments[#arguments + 1] = text
  child.is_another()
  local pipe, v = child.serve("peer.py", arguments)
  local p = setmetatable({ pipe = pipe }, Peer)
  if not v then
    p:stop()
    error("the peer did not start; it said why on stderr", 2)
  end
  p.host, p.port, p.pid, p.ca, p.certs = v.HOST, tonumber(v.PORT), v.PID, v.CA, v.CERTS
  return p
end

-- peer.certs() -> a folder of certificates for plays, made once; shell.remove() removes it.
function peer.certs()
  local folder = shell.folder()
  shell.succeed(("'%s/certs' '%s'"):format(child.folder, folder))
  return folder
end

-- Ends the play and the process; to be called when the client has finished. -> transcript (lines that begin with "C: ",
-- "S: ", "# "), ok, reason
function Peer:finish()
  if self.pipe then
    os.execute("kill -USR1 " .. self.pid .. " 2>/dev/null")
    local report = self.pipe:read("*a")
    self:stop()
    local outcome, transcript = report:match("^([^\n]*)\n?(.*)$")
    self.ok, self.transcript = outcome == "ok", transcript
    if not self.ok then self.reason = outcome ~= "" and outcome or "the peer ended without a report" end
  end
  return self.transcript, self.ok, self.reason
end

-- Like finish, but raises if the play was not played to its end. -> transcript
function Peer:check()
  local transcript, ok, reason = self:finish()
  if not ok then error("the play failed: " .. reason .. "\n" .. transcript, 2) end
  return transcript
end

-- Ends the process, whatever the outcome: for teardown. May be called twice, and after finish.
function Peer:stop()
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

-- Parts of plays. peer.stream(features): a stream is opened, and the server sends these features.
function peer.stream(features)
  return [[
    C: <stream:stream ...>
    S: <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='peer' version='1.0'>
    <stream:features>]] .. features .. "</stream:features>\n"
end

peer.starttls = peer.stream("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>") .. [[
  C: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
  S: <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>
  tls
]]

peer.plain = peer.stream([[
  <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>]]) .. [[
  C: <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>...</auth>
  S: <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
]]

-- Binding, which remembers {bind} and {resource}; the address is alice@xmpp.test/{resource}.
peer.bind = peer.stream("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>") .. [[
  C: <iq type='set' id='{bind}' ...><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
    <resource>{resource}</resource></bind></iq>
  S: <iq type='result' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
    <jid>alice@xmpp.test/{resource}</jid></bind></iq>
]]

-- The same over WebSocket: the beginning of a stream with these features; a whole login.
peer.FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"

function peer.web_stream(features)
  return ([[
    C: <open xmlns='%s' .../>
    S: <open xmlns='%s' id='peer' version='1.0'/>
    S: <stream:features xmlns:stream='http://etherx.jabber.org/streams'>%s</stream:features>
]]):format(peer.FRAMING, peer.FRAMING, features)
end

peer.web_login = "tls\nwebsocket\n" .. peer.web_stream [[
  <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>]] .. [[
  C: <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>...</auth>
  S: <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
]]

function peer.web_session(features)
  return peer.web_login .. peer.web_stream("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>" .. (features or "")) .. [[
    C: <iq xmlns='jabber:client' type='set' id='{bind}' ...><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
      <resource>{resource}</resource></bind></iq>
    S: <iq type='result' id='{bind}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>
      <jid>alice@xmpp.test/{resource}</jid></bind></iq>
]]
end

-- A whole login of alice@xmpp.test, up to the bound session.
peer.session = peer.starttls .. peer.plain .. peer.bind

return peer
