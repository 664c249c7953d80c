-- presence: parses presences from a room (XEP-0045 7). What follows from them is decided in state.lua (who is there),
-- enter.lua (are we in) and alive.lua (are we out).

local core = require "xmpp.load"
local rooms = require "xmpp.muc.room"
local xexpr = require "xmpp.xexpr"

local M = {}

local USER, OCCUPANT_ID, HATS = "http://jabber.org/protocol/muc#user", "urn:xmpp:occupant-id:0", "urn:xmpp:hats:0"
local LONGEST = 1024 -- bytes of a status, a reason, a hat: the rest is cut off
local MOST_HATS = 20

local SHOWS = { away = true, chat = true, dnd = true, xa = true }
local AFFILIATIONS = { owner = true, admin = true, member = true, none = true, outcast = true }
local ROLES = { moderator = true, participant = true, visitor = true, none = true }

--- At most `most` bytes of a text, cut between characters.
---@param text string?
---@param most? integer
---@return string?
function M.cut(text, most)
  most = most or LONGEST
  if not text or #text <= most then return text end
  while text:find("^[\128-\191]", most + 1) do most = most - 1 end
  return text:sub(1, most)
end

--- Parts of a muc#user element: its child of that name, and a child of that. They have no namespace of their own.
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

-- Collects the relevant children in one pass, as there may be ten thousand presences: received elements are canonical,
-- and have an xmlns only where it differs from the parent's.
local function parts_of(stanza)
  local parts = {}
  for i = 3, #stanza do
    local c = stanza[i]
    local xmlns = type(c) == "table" and (c[2].xmlns or "") or nil
    if xmlns == USER and c[1] == "x" then
      parts.twice = parts.x ~= nil
      parts.x = c
    elseif xmlns == "" or xmlns == OCCUPANT_ID or xmlns == HATS then
      parts[c[1]] = parts[c[1]] or c
    end
  end
  return parts
end

local function read_item(room, p, x, item)
  local a = item[2]
  local jid = a.jid and core.jid(a.jid)
  p.affiliation = AFFILIATIONS[a.affiliation] and a.affiliation or "none"
  p.role = ROLES[a.role] and a.role or "none"
  p.jid = jid and tostring(jid)
  p.renamed = nick_of(room, a.nick)
  if not item[3] then return end
  local _, reason = M.part(x, "item", "reason")
  local _, actor = M.part(x, "item", "actor")
  p.reason = M.cut(xexpr.text(reason))
  p.by = actor and M.cut(xexpr.attr(actor, "nick") or xexpr.attr(actor, "jid"))
end

local function read_destroy(p, x, destroy)
  local _, reason = M.part(x, "destroy", "reason")
  local jid = destroy[2].jid and core.jid(destroy[2].jid)
  p.destroyed, p.alternative = true, jid and tostring(jid)
  p.reason = M.cut(xexpr.text(reason)) or p.reason
end

local function read_code(p, status)
  local code = status[2].code
  if code and code:find "^%d%d%d$" then p.codes[tonumber(code)] = true end
end

-- What the service says about the occupant.
local function read_user(room, p, x)
  local item, destroy
  for i = 3, #x do
    local c = x[i]
    if type(c) == "table" and not c[2].xmlns then
      if c[1] == "status" then read_code(p, c) end
      item = item or c[1] == "item" and c
      destroy = destroy or c[1] == "destroy" and c
    end
  end
  if item then read_item(room, p, x, item) end
  if destroy then read_destroy(p, x, destroy) end
end

local function hats_of(x)
  local out = {}
  for hat in xexpr.children(x, "hat", HATS) do
    if #out == MOST_HATS then break end
    out[#out + 1] = { uri = M.cut(hat[2].uri), title = M.cut(hat[2].title) }
  end
  return out[1] and out
end

--- Parses a presence from a room: { nick =? (nil: of the room itself), type =?, codes = { [110] = true }, show =?,
--- status =?, jid =?, role =?, affiliation =?, renamed =? (a new nick), reason =?, by =?, destroyed =?, alternative
--- =?, id =?, hats =? (both are trusted only if the room announces them) }. nil: its sender is invalid.
---@param room xmpp.Room
---@param stanza xmpp.Stanza
---@return table?
function M.read(room, stanza)
  local from = core.jid(stanza[2].from or "")
  if not from then return nil end
  local p = { nick = from.resourcepart, type = stanza[2].type, codes = {} }
  local parts = parts_of(stanza)
  local show, status = parts.show and xexpr.text(parts.show), parts.status and xexpr.text(stanza, "status")
  p.show, p.status = SHOWS[show] and show or nil, status ~= "" and M.cut(status) or nil
  -- If there are two, one may come from the occupant, through a service that passes it on: then neither is trusted.
  if parts.x and not parts.twice and p.type ~= "error" then read_user(room, p, parts.x) end
  local id, hats = parts["occupant-id"], parts.hats
  p.id, p.hats = id and M.cut(id[2].id), hats and hats_of(hats)
  return p
end

return M
