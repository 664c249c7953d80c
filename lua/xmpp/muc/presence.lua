-- presence: what a room's presences say (XEP-0045 7), read. What follows from them is for state.lua (who is there),
-- enter.lua (are we in) and alive.lua (are we out).

local core = require "xmpp.load"
local rooms = require "xmpp.muc.room"
local xexpr = require "xmpp.xexpr"

local M = {}

local USER, OCCUPANT_ID, HATS = "http://jabber.org/protocol/muc#user", "urn:xmpp:occupant-id:0", "urn:xmpp:hats:0"
local LONGEST = 1024 -- bytes of a status, a reason, a hat: more is cut off
local MOST_HATS = 20

local SHOWS = { away = true, chat = true, dnd = true, xa = true }
local AFFILIATIONS = { owner = true, admin = true, member = true, none = true, outcast = true }
local ROLES = { moderator = true, participant = true, visitor = true, none = true }

--- At most `most` bytes of a text, which ends where a character does.
---@param text string?
---@param most? integer
---@return string?
function M.cut(text, most)
  most = most or LONGEST
  if not text or #text <= most then return text end
  while text:find("^[\128-\191]", most + 1) do most = most - 1 end
  return text:sub(1, most)
end

--- The parts of a muc#user element: its child of that name, and that one's, too. They have no namespace of their own.
---@param x xmpp.Element?
---@param name string
---@param inner? string
---@return xmpp.Element? child
---@return xmpp.Element? part
function M.part(x, name, inner)
  return xexpr.find(x, { name, USER }), inner and xexpr.find(x, { name, USER }, { inner, USER }) or nil
end

local function nick_of(room, text)
  local jid = text and rooms.address(room, text)
  return jid and jid.resourcepart
end

-- The element in which the service tells who somebody is. Of two one may be the occupant's own, from a service that
-- passes it on: then neither is believed.
local function user_element(stanza)
  local found
  for x in xexpr.children(stanza, "x", USER) do
    if found then return nil end
    found = x
  end
  return found
end

local function codes_in(x)
  local codes = {}
  for status in xexpr.children(x, "status", USER) do
    local code = xexpr.attr(status, "code")
    if code and code:find "^%d%d%d$" then codes[tonumber(code)] = true end
  end
  return codes
end

local function read_item(room, p, x)
  local item, reason = M.part(x, "item", "reason")
  if not item then return end
  local a = item[2]
  local jid = a.jid and core.jid(a.jid)
  local _, actor = M.part(x, "item", "actor")
  p.affiliation = AFFILIATIONS[a.affiliation] and a.affiliation or "none"
  p.role = ROLES[a.role] and a.role or "none"
  p.jid = jid and tostring(jid)
  p.renamed = nick_of(room, a.nick)
  p.reason = M.cut(xexpr.text(reason))
  p.by = actor and M.cut(xexpr.attr(actor, "nick") or xexpr.attr(actor, "jid"))
end

local function read_destroy(p, x)
  local destroy, reason = M.part(x, "destroy", "reason")
  if not destroy then return end
  local jid = destroy[2].jid and core.jid(destroy[2].jid)
  p.destroyed, p.alternative = true, jid and tostring(jid)
  p.reason = M.cut(xexpr.text(reason)) or p.reason
end

local function hats_of(stanza)
  local x, out = xexpr.child(stanza, "hats", HATS), {}
  for hat in xexpr.children(x, "hat", HATS) do
    if #out == MOST_HATS then break end
    out[#out + 1] = { uri = M.cut(hat[2].uri), title = M.cut(hat[2].title) }
  end
  return out[1] and out
end

--- What a presence of a room's says: { nick =? (nil: of the room itself), type =?, codes = { [110] = true }, show =?,
--- status =?, jid =?, role =?, affiliation =?, renamed =? (a new nick), reason =?, by =?, destroyed =?, alternative =?,
--- id =?, hats =? (both are to be believed only where the room announces them) }. nil: its sender can't be.
---@param room xmpp.Room
---@param stanza xmpp.Stanza
---@return table?
function M.read(room, stanza)
  local from = core.jid(stanza[2].from or "")
  if not from then return nil end
  local p = { nick = from.resourcepart, type = stanza[2].type, codes = {} }
  local show, status = xexpr.text(stanza, "show"), xexpr.text(stanza, "status")
  p.show, p.status = SHOWS[show] and show or nil, status ~= "" and M.cut(status) or nil
  local x = p.type ~= "error" and user_element(stanza)
  if x then
    p.codes = codes_in(x)
    read_item(room, p, x)
    read_destroy(p, x)
  end
  local id = xexpr.child(stanza, "occupant-id", OCCUPANT_ID)
  p.id, p.hats = id and M.cut(id[2].id), hats_of(stanza)
  return p
end

return M
