-- server: the other end of a test's connection, as far as the stream is concerned: login, binding, stream management,
-- its end. Stanzas are passed to its owner. Required by xmpp.testing alone.

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local feed, from_xml, to_xml = core.conn.feed, xexpr.from_xml, xexpr.to_xml

local STREAMS, SM, CSI = "http://etherx.jabber.org/streams", "urn:xmpp:sm:3", "urn:xmpp:csi:0"
local SASL, BIND, STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-sasl", "urn:ietf:params:xml:ns:xmpp-bind",
  "urn:ietf:params:xml:ns:xmpp-streams"

local Server = {}
Server.__index = Server

local M = {}

--- o: jid (of the account, or the component's domain), component, sm, acks (see testing.new); hears(stanza): called
--- with each received stanza; gone(): called when a session can't be resumed any more.
function M.new(o)
  return setmetatable({ o = o, up = true, state = "closed", sessions = 0 }, Server)
end

-- Ends the session, if there is one.
local function end_session(self)
  self.sm = nil
  if self.bound then self.o.gone() end
  self.bound = false
end

-- Sending

function Server:say(text) feed(self.conn, text) end

--- Sends a stanza; with stream management it is stored until the other side has acknowledged it.
function Server:say_stanza(x)
  local xml = to_xml(x)
  if self.sm then self.sm.kept[#self.sm.kept + 1] = xml end
  if self.state == "open" then self:say(xml) end
end

local function header(self)
  self:say(("<?xml version='1.0'?><stream:stream xmlns:stream='%s' xmlns='%s' id='test' from='%s' version='1.0'>")
    :format(STREAMS, self.o.component and "jabber:component:accept" or "jabber:client", self.o.jid.domainpart))
end

--- Ends the stream; with a condition by a stream error.
function Server:close(condition)
  if self.state == "closed" then return end
  if condition then
    self:say(("<stream:error><%s xmlns='%s'/></stream:error>"):format(condition, STREAM_ERRORS))
  end
  self:say "</stream:stream>"
  self.state = "closed"
  end_session(self)
end

--- Breaks the connection. `keeps`: the session may be resumed.
function Server:cut(keeps)
  self.state = "closed"
  if not (keeps and self.sm) then end_session(self) end
  core.conn.cut(self.conn)
end

function Server:forget() end_session(self) end

--- Sends an acknowledgement; false: there is no stream management.
function Server:ack(h)
  if not self.sm or self.state ~= "open" then return false end
  self:say(("<a xmlns='%s' h='%.0f'/>"):format(SM, h or self.sm.h))
  return true
end

-- Logging in

local function offer(self)
  if self.state == "proven" then
    local more = {}
    for i, feature in ipairs(self.o.features or {}) do more[i] = to_xml(feature) end
    self:say(("<stream:features><bind xmlns='%s'/>%s%s</stream:features>"):format(BIND,
      self.o.sm and ("<sm xmlns='%s'/>"):format(SM) or "", table.concat(more)))
  else
    self:say(("<stream:features><mechanisms xmlns='%s'><mechanism>%s</mechanism></mechanisms></stream:features>")
      :format(SASL, self.anonymous and "ANONYMOUS" or "PLAIN"))
  end
end

local function on_header(self)
  if not self.up then return core.conn.cut(self.conn) end
  if self.state == "closed" then self.state = "strange" end
  self.active = true
  header(self)
  if not self.o.component then offer(self) end
end

local steps = {}

function steps.auth(self)
  if self.refusal then
    return self:say(("<failure xmlns='%s'><%s/></failure>"):format(SASL, self.refusal))
  end
  self.state = "proven"
  self:say(("<success xmlns='%s'/>"):format(SASL))
end

function steps.handshake(self)
  if self.refusal then return self:close(self.refusal) end
  self.state, self.bound = "open", true
  self.sessions = self.sessions + 1
  self:say "<handshake/>"
end

-- Starts a new session: what was stored for the old one is discarded.
local function bind(self, x)
  local resource = xexpr.text(xexpr.child(x, "bind", BIND), "resource")
  local jid = self.o.jid:with_resource(resource or core.id())
  end_session(self)
  self.state, self.bound = "open", true
  self.sessions = self.sessions + 1
  self:say(to_xml { "iq", { type = "result", id = x[2].id }, { "bind", { xmlns = BIND }, { "jid", {}, jid } } })
end

-- Stream management (XEP-0198)

function steps.enable(self)
  self.sm = { id = "test-" .. self.sessions, h = 0, acked = 0, kept = {} }
  self:say(("<enabled xmlns='%s' id='%s' resume='true'/>"):format(SM, self.sm.id))
end

local function hear_ack(sm, h)
  while sm.acked < h and #sm.kept > 0 do
    table.remove(sm.kept, 1)
    sm.acked = sm.acked + 1
  end
end

function steps.resume(self, x)
  local sm = self.sm
  if not (sm and sm.id == x[2].previd) then
    return self:say(("<failed xmlns='%s'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
      :format(SM))
  end
  self.state = "open"
  hear_ack(sm, tonumber(x[2].h))
  self:say(("<resumed xmlns='%s' previd='%s' h='%.0f'/>"):format(SM, sm.id, sm.h))
  for _, xml in ipairs(sm.kept) do self:say(xml) end
end

function steps.r(self)
  if self.o.acks ~= false then self:ack() end
end

function steps.a(self, x)
  if self.sm then hear_ack(self.sm, tonumber(x[2].h)) end
end

-- Client state indication (XEP-0352). A stream begins as active.

function steps.active(self, x) self.active = self.active or x[2].xmlns == CSI end

function steps.inactive(self, x) self.active = self.active and x[2].xmlns ~= CSI end

-- Receiving

local STANZAS = { message = true, presence = true, iq = true }

local function on_element(self, x)
  if self.state == "closed" then return end -- it was on its way when the connection broke
  local step = x[2].xmlns and steps[x[1]]
  if step then return step(self, x) end
  if x[1] == "handshake" then return steps.handshake(self) end
  if self.state == "proven" and xexpr.child(x, "bind", BIND) then return bind(self, x) end
  if not STANZAS[x[1]] then return end
  if self.sm then self.sm.h = self.sm.h + 1 end
  self.o.hears(x)
end

local function on_elements(self, bytes)
  local all = assert(from_xml(("<all xmlns:stream='%s'>%s</all>"):format(STREAMS, bytes)))
  for i = 3, #all do
    if type(all[i]) == "table" then on_element(self, all[i]) end
  end
end

-- The other side has ended its stream.
local function on_end(self)
  if self.state == "closed" then return end
  self:say "</stream:stream>"
  self.state = "closed"
  end_session(self)
end

--- Handles what the other side has sent: whole elements, and headers and ends of streams.
function Server:read(bytes)
  local from, to, what = bytes:find "<(/?)stream:stream[^>]*>"
  while from do
    on_elements(self, (bytes:sub(1, from - 1):gsub("<%?xml.-%?>", "")))
    if what == "" then on_header(self) else on_end(self) end
    bytes = bytes:sub(to + 1)
    from, to, what = bytes:find "<(/?)stream:stream[^>]*>"
  end
  on_elements(self, bytes)
end

return M
