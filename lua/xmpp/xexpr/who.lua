-- who: who sent it? Functions for questions that an attacker would like to answer. Each function that trusts the
-- contents of a stanza checks its sender first, so that a program can't forget to (CVE-2017-5589 and similar).
--
-- For nil they return nil. `me` is a connection or our own address. Addresses are compared after preparation; one that
-- is invalid only equals itself.

local core = require "xmpp.load"
local form = require "xmpp.xexpr.form"

local M = {}

local CARBONS, FORWARD, DELAY, CLIENT = "urn:xmpp:carbons:2", "urn:xmpp:forward:0", "urn:xmpp:delay", "jabber:client"

local function fail(n, fname, wanted, v)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, fname, wanted, type(v)), 4)
end

-- Is it an element (true) or nil (false)? Raises an error for anything else.
local function is_there(x, fname)
  if x == nil then return false end
  if not form.is_element(x) then fail(1, fname, "element", x) end
  return true
end

local function own_jid(me, fname)
  local jid = core.is_connection(me) and core.conn.jid(me) or me
  jid = (core.is_jid(jid) or type(jid) == "string") and core.jid(jid)
  if not jid then fail(2, fname, "connection or JID", me) end
  return jid
end

local function attribute(x, key)
  local attrs = form.parts(x)
  return attrs and form.text_of(attrs[key])
end

local function is_bare_of(from, jid)
  local j = core.jid(from)
  return j ~= nil and not j.resourcepart and j == jid:bare()
end

-- The first child element of that name and namespace; `inherited` is x's own namespace.
local function child(x, name, xmlns, inherited)
  for i = 2, #x do
    local c = x[i]
    if form.is_element(c) and c[1] == name and (attribute(c, "xmlns") or inherited) == xmlns then return c end
  end
end

--- Was it sent by our own account (RFC 6121 2.1.6: roster pushes; carbons; our PEP events)? Its `from` is absent or
--- our bare JID.
---@param x xmpp.Stanza?
---@param me xmpp.Conn|xmpp.Jid|string
---@return boolean? nil for nil
function M.from_account(x, me)
  local there, jid = is_there(x, "from_account"), own_jid(me, "from_account")
  if not there then return nil end
  local from = attribute(x, "from")
  return from == nil or is_bare_of(from, jid)
end

--- Was it sent by one of our own resources (or our account)? A bot must not answer such a stanza.
---@param x xmpp.Stanza?
---@param me xmpp.Conn|xmpp.Jid|string
---@return boolean? nil for nil
function M.is_own(x, me)
  local there, jid = is_there(x, "is_own"), own_jid(me, "is_own")
  if not there then return nil end
  local from = attribute(x, "from")
  local j = from and core.jid(from)
  return j ~= nil and j:bare() == jid:bare()
end

--- Was it delayed (XEP-0203)? Then returns the stamp as received, "2002-09-10T23:08:25Z"; else nil. Anybody can add a
--- stamp to a stanza: it may be used to leave history unanswered, and for nothing else.
---@param x xmpp.Stanza?
---@return string? stamp
function M.is_delayed(x)
  if not is_there(x, "is_delayed") then return nil end
  local delay = child(x, "delay", DELAY)
  return delay and attribute(delay, "stamp") or nil
end

local function carbon(x, jid)
  local from = attribute(x, "from")
  if x[1] ~= "message" or not from or not is_bare_of(from, jid) then return nil end
  for _, direction in ipairs { "received", "sent" } do
    local wrapper = child(x, direction, CARBONS)
    local forwarded = wrapper and child(wrapper, "forwarded", FORWARD)
    local inner = forwarded and child(forwarded, "message", CLIENT)
    if inner then return inner, direction end
  end
end

--- Is it a carbon copy (XEP-0280) that our own account made? "received" or "sent", else nil: also for a forged one.
---@param x xmpp.Stanza?
---@param me xmpp.Conn|xmpp.Jid|string
---@return "received"|"sent"|nil
function M.is_carbon(x, me)
  local there, jid = is_there(x, "is_carbon"), own_jid(me, "is_carbon")
  if not there then return nil end
  local _, direction = carbon(x, jid)
  return direction
end

--- The message inside a carbon copy that our own account made, and its direction; nil for anything else. The message
--- is as if it had been received itself: a new table without the xmlns that it needed inside.
---@param x xmpp.Stanza?
---@param me xmpp.Conn|xmpp.Jid|string
---@return xmpp.Stanza? message
---@return "received"|"sent"|nil direction
function M.unwrap_carbon(x, me)
  local there, jid = is_there(x, "unwrap_carbon"), own_jid(me, "unwrap_carbon")
  if not there then return nil end
  local inner, direction = carbon(x, jid)
  if not inner then return nil end
  local own, first = form.parts(inner)
  local message, attrs = { inner[1], {} }, own or {}
  for key, value in pairs(attrs) do
    if key ~= "xmlns" then message[2][key] = value end
  end
  for i = first, #inner do message[#message + 1] = inner[i] end
  return message, direction
end

return M
