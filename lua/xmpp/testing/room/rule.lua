-- rule: how a test's room answers requests: disco, self-pings (XEP-0410), lists, roles and affiliations (XEP-0045 8 to
-- 10), configuration, moderation (XEP-0425), registration. Required by xmpp.testing.room alone.

local archive = require "xmpp.testing.room.archive"
local core = require "xmpp.load"
local form = require "xmpp.form"
local hall = require "xmpp.testing.room.hall"
local xexpr = require "xmpp.xexpr"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local M = {}

local INFO, ITEMS, PING, REGISTER = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
  "urn:xmpp:ping", "jabber:iq:register"
local CONFIG = "http://jabber.org/protocol/muc#roomconfig"

local function reply(room, stanza, ...)
  hall.say(room, { "iq", { type = "result", id = stanza[2].id }, ... }, stanza[2].to, hall.sender(room, stanza))
end

-- Disco

--- The features that the room announces.
function M.features(room)
  local config = room.config
  local out = { INFO, ITEMS, hall.MUC, REGISTER, "http://jabber.org/protocol/muc#self-ping-optimization",
    config.members_only and "muc_membersonly" or "muc_open", config.moderated and "muc_moderated" or "muc_unmoderated",
    config.password and "muc_passwordprotected" or "muc_unsecured", config.public and "muc_public" or "muc_hidden",
    config.persistent and "muc_persistent" or "muc_temporary",
    config.whois == "anyone" and "muc_nonanonymous" or "muc_semianonymous" }
  if room.stanza_ids then out[#out + 1] = hall.STANZA_ID end
  if room.occupant_ids then out[#out + 1] = hall.OCCUPANT_ID end
  if room.stanza_ids then out[#out + 1] = archive.MAM end
  if room.moderation then out[#out + 1] = hall.MODERATE end
  for _, feature in ipairs(room.more_features) do out[#out + 1] = feature end
  return out
end

local function info(room, stanza)
  local query = { "query", { xmlns = INFO },
    { "identity", { category = "conference", type = "text", name = room.config.name } } }
  for _, feature in ipairs(M.features(room)) do query[#query + 1] = { "feature", { var = feature } } end
  query[#query + 1] = form.new { kind = "result", type = "http://jabber.org/protocol/muc#roominfo", fields = {
    { var = "muc#roominfo_description", value = room.config.description or "" },
    { var = "muc#roominfo_subject", value = room.subject or "" },
    { var = "muc#roominfo_occupants", value = tostring(#hall.all(room)) } } }
  reply(room, stanza, query)
end

local function items(room, stanza)
  local query = { "query", { xmlns = ITEMS } }
  for _, occupant in ipairs(hall.all(room)) do
    query[#query + 1] = { "item", { jid = hall.at(room, occupant.nick) } }
  end
  reply(room, stanza, query)
end

-- Roles and affiliations

local RANK = { outcast = 0, none = 1, member = 2, admin = 3, owner = 4 }

local function with_nick(room, nick) return nick and room.occupants[hall.nick_in(hall.at(room, nick))] end

-- Shows an occupant whose role or affiliation has changed, or who is removed because of that.
local function show_change(room, occupant, o)
  if occupant.role == "none" then
    return hall.remove(room, occupant, { codes = { "307" }, by = o.by, reason = o.reason })
  elseif occupant.affiliation == "outcast" then
    return hall.remove(room, occupant, { codes = { "301" }, by = o.by, reason = o.reason })
  elseif occupant.affiliation == "none" and room.config.members_only then
    return hall.remove(room, occupant, { codes = { "321" }, by = o.by, reason = o.reason })
  end
  hall.show(room, occupant, { by = o.by, reason = o.reason })
end

--- Sets the affiliation of an address; its occupants are shown with it.
function M.affiliate(room, bare, affiliation, o)
  room.affiliations[bare] = affiliation ~= "none" and affiliation or nil
  for _, occupant in ipairs(hall.all(room)) do
    if hall.bare(occupant.jid) == bare and occupant.affiliation ~= affiliation then
      occupant.affiliation = affiliation
      if RANK[affiliation] >= 2 or not room.config.moderated then
        occupant.role = hall.first_role(room, affiliation)
      end
      show_change(room, occupant, o)
    end
  end
end

--- Sets an occupant's role.
function M.give_role(room, occupant, role, o)
  occupant.role = role
  show_change(room, occupant, o)
end

-- May `by` make the change that an item asks for? An error's type and condition; nil: yes.
local function may_not(room, by, attrs)
  local target = with_nick(room, attrs.nick)
  if attrs.nick and not target then return "cancel", "item-not-found" end
  local bare = attrs.jid and hall.bare(attrs.jid) or target and hall.bare(target.jid)
  if not bare then return "modify", "bad-request" end
  local has = RANK[room.affiliations[bare] or "none"]
  if attrs.affiliation then
    local wants = RANK[attrs.affiliation]
    if not wants then return "modify", "bad-request" end
    if RANK[by.affiliation] < 3 then return "auth", "forbidden" end
    if by.affiliation == "admin" and (wants > 2 or has > 2) then return "cancel", "not-allowed" end
  elseif by.role ~= "moderator" then
    return "auth", "forbidden"
  elseif RANK[by.affiliation] < has then
    return "cancel", "not-allowed"
  end
end

local function change(room, by, item)
  local attrs, o = item[2], { by = by.nick, reason = hall.text(item, "reason") }
  local occupant = with_nick(room, attrs.nick)
  if attrs.affiliation then
    M.affiliate(room, attrs.jid and hall.bare(attrs.jid) or hall.bare(occupant.jid), attrs.affiliation, o)
  else
    M.give_role(room, occupant, attrs.role, o)
  end
end

-- Who acts: an occupant, or somebody with an affiliation who isn't in the room.
local function actor(room, stanza)
  local jid = hall.sender(room, stanza)
  return hall.find(room, jid) or { affiliation = hall.affiliation(room, jid), role = "none" }
end

local function set_items(room, stanza)
  local by = actor(room, stanza)
  for item in xexpr.children(stanza[3], "item", hall.ADMIN) do
    local type, condition = may_not(room, by, item[2])
    if type then return hall.refuse(room, stanza, type, condition) end
  end
  for item in xexpr.children(stanza[3], "item", hall.ADMIN) do change(room, by, item) end
  reply(room, stanza)
end

local function get_items(room, stanza)
  local by, item = actor(room, stanza), xexpr.child(stanza[3], "item", hall.ADMIN)
  local attrs = item and item[2] or {}
  if RANK[by.affiliation] < 3 and by.role ~= "moderator" then return hall.refuse(room, stanza, "auth", "forbidden") end
  local query, list = { "query", { xmlns = hall.ADMIN } }, {}
  for bare, affiliation in pairs(attrs.affiliation and room.affiliations or {}) do
    if affiliation == attrs.affiliation then list[#list + 1] = bare end
  end
  table.sort(list)
  for _, bare in ipairs(list) do
    query[#query + 1] = { "item", { jid = bare, affiliation = attrs.affiliation } }
  end
  for _, o in ipairs(attrs.role and hall.all(room) or {}) do
    if o.role == attrs.role then
      query[#query + 1] = { "item", { nick = o.nick, role = o.role, jid = o.jid, affiliation = o.affiliation } }
    end
  end
  reply(room, stanza, query)
end

-- Configuration

-- For each: our own name, its var, its kind.
local FIELDS = {
  { "name", "muc#roomconfig_roomname", "text-single" }, { "description", "muc#roomconfig_roomdesc", "text-single" },
  { "persistent", "muc#roomconfig_persistentroom", "boolean" }, { "public", "muc#roomconfig_publicroom", "boolean" },
  { "members_only", "muc#roomconfig_membersonly", "boolean" },
  { "moderated", "muc#roomconfig_moderatedroom", "boolean" },
  { "change_subject", "muc#roomconfig_changesubject", "boolean" },
  { "password", "muc#roomconfig_roomsecret", "text-private" },
  { "whois", "muc#roomconfig_whois", "list-single", { "moderators", "anyone" } },
}

local function config_spec(room)
  local spec = { type = CONFIG, title = "Configuration of " .. room.jid, fields = {} }
  for i, f in ipairs(FIELDS) do
    local value = room.config[f[1]]
    if f[3] == "boolean" then value = value == true end
    spec.fields[i] = { var = f[2], kind = f[3], options = f[4], value = value }
  end
  return spec
end

local function configure(room, stanza, x)
  local spec = config_spec(room)
  local values, err = form.read(x, spec)
  if not values then return hall.refuse(room, stanza, "modify", "bad-request", err.text) end
  local sent, before, codes = form.parse(x).values, room.config.whois, { "104" }
  for _, f in ipairs(FIELDS) do
    if sent[f[2]] ~= nil then room.config[f[1]] = values[f[2]] end
  end
  if room.config.password == "" then room.config.password = nil end
  if room.config.whois ~= before then codes[2] = room.config.whois == "anyone" and "172" or "173" end
  local was_locked = room.locked
  room.locked = false
  reply(room, stanza)
  if not was_locked then hall.status(room, unpack(codes)) end
end

--- Destroys the room (XEP-0045 10.9).
function M.destroy(room, reason, alternative, password)
  local x = { "destroy", { jid = alternative }, password and { "password", {}, password } or nil }
  if reason then x[#x + 1] = { "reason", {}, reason } end
  for _, occupant in ipairs(hall.all(room)) do
    if occupant.here then
      occupant.affiliation = "none"
      hall.presence(room, occupant, occupant, { type = "unavailable", destroy = x })
    end
  end
  room.occupants, room.exists, room.locked, room.affiliations, room.history = {}, false, false, {}, {}
end

local function own(room, stanza)
  local x = xexpr.child(stanza[3], "x", hall.FORM)
  local destroy = xexpr.child(stanza[3], "destroy", hall.OWNER)
  if actor(room, stanza).affiliation ~= "owner" then return hall.refuse(room, stanza, "auth", "forbidden") end
  if stanza[2].type == "get" then
    return reply(room, stanza, { "query", { xmlns = hall.OWNER }, form.new(config_spec(room)) })
  elseif destroy then
    reply(room, stanza)
    return M.destroy(room, hall.text(destroy, "reason"), destroy[2].jid, hall.text(destroy, "password"))
  elseif x and x[2].type == "cancel" then
    reply(room, stanza)
    return room.locked and M.destroy(room)
  end
  configure(room, stanza, x)
end

-- Moderation

--- The room retracts a message (XEP-0425).
function M.moderate(room, stanza_id, by, reason)
  for i, entry in ipairs(room.history) do
    if entry.stanza_id == stanza_id then table.remove(room.history, i) break end
  end
  local moderated = { "moderated", { xmlns = hall.MODERATE, by = by and hall.at(room, by.nick) or nil } }
  if by and by.id and room.occupant_ids then
    moderated[3] = { "occupant-id", { xmlns = hall.OCCUPANT_ID, id = by.id } }
  end
  hall.broadcast(room, nil, core.id(), { "retract", { xmlns = hall.RETRACT, id = stanza_id }, moderated,
    reason and { "reason", {}, reason } or nil })
end

local function moderate(room, stanza)
  local by = actor(room, stanza)
  if by.role ~= "moderator" then return hall.refuse(room, stanza, "auth", "forbidden") end
  reply(room, stanza)
  M.moderate(room, stanza[3][2].id, by, hall.text(stanza[3], "reason", hall.MODERATE))
end

-- Registration (XEP-0045 7.10)

local REGISTRATION = { type = "http://jabber.org/protocol/muc#register", title = "Registration", fields = {
  { var = "muc#register_roomnick", kind = "text-single", required = true, label = "Nick" } } }

local function register(room, stanza)
  local bare = hall.bare(hall.sender(room, stanza))
  if stanza[2].type == "get" then
    local query = { "query", { xmlns = REGISTER }, form.new(REGISTRATION) }
    if room.registered[bare] then query[4] = { "registered" } end
    return reply(room, stanza, query)
  end
  local values, err = form.read(xexpr.child(stanza[3], "x", hall.FORM), REGISTRATION)
  if not values then return hall.refuse(room, stanza, "modify", "bad-request", err.text) end
  local nick = values["muc#register_roomnick"]
  for other, taken in pairs(room.registered) do
    if other ~= bare and taken == nick then return hall.refuse(room, stanza, "cancel", "conflict") end
  end
  room.registered[bare] = nick
  reply(room, stanza)
  if hall.affiliation(room, bare) == "none" then M.affiliate(room, bare, "member", {}) end
end

-- Requests

local known = { ["set " .. archive.MAM] = function(room, stanza) archive.ask(room, stanza, reply) end,
  ["get " .. INFO] = info, ["get " .. ITEMS] = items, ["get " .. hall.ADMIN] = get_items,
  ["set " .. hall.ADMIN] = set_items, ["get " .. hall.OWNER] = own, ["set " .. hall.OWNER] = own,
  ["get " .. REGISTER] = register, ["set " .. REGISTER] = register, ["set " .. hall.MODERATE] = moderate,
  ["get " .. PING] = function(room, stanza) reply(room, stanza) end }

-- A request to an occupant: refused if the sender isn't in the room; a self-ping is answered by the room (XEP-0410
-- 3.3).
local function ask_occupant(room, stanza, nick)
  local occupant = hall.find(room, hall.sender(room, stanza))
  if not occupant then return hall.refuse(room, stanza, "cancel", "not-acceptable") end
  if not room.occupants[nick] then return hall.refuse(room, stanza, "cancel", "item-not-found") end
  if occupant.nick ~= nick then return false end
  if xexpr.child(stanza, "ping", PING) then return reply(room, stanza) end
  return false
end

--- Handles an iq to the room or to an occupant. false: it is passed to the test.
function M.ask(room, stanza)
  if stanza[2].type ~= "get" and stanza[2].type ~= "set" then return false end
  local nick, payload = hall.nick_in(stanza[2].to), xexpr.children(stanza)()
  if nick then return ask_occupant(room, stanza, nick) end
  local f = payload and known[("%s %s"):format(stanza[2].type, tostring(payload[2].xmlns))]
  if f == nil or f == moderate and not room.moderation then return false end
  f(room, stanza)
end

return M
