-- owner: functions for moderators, admins and owners of a room, and requests of occupants (XEP-0045 8 to 10,
-- XEP-0425). A part of a room, see room.lua.
--
--   assert(room:kick("bert", "no more tea for you"))
--   assert(room:ban("bert@people.example", "really"))
--   for _, item in ipairs(assert(room:list "outcast")) do print(item.jid, item.reason) end
--   local form = assert(room:config())
--   assert(room:config { ["muc#roomconfig_persistentroom"] = true })
--
-- The room decides whether we may: its refusal is returned as nil, err (layer "stanza": "forbidden", "not-allowed").
-- Addresses and nicks in its answers are trusted as the room is.

local core = require "xmpp.load"
local data_form = require "xmpp.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local rooms = require "xmpp.muc.room"
local xexpr = require "xmpp.xexpr"

local M = { events = {}, methods = {} }

local Room = M.methods

local USER, ADMIN, OWNER, DIRECT = "http://jabber.org/protocol/muc#user", "http://jabber.org/protocol/muc#admin",
  "http://jabber.org/protocol/muc#owner", "jabber:x:conference"
local MODERATE, OLD_MODERATE = "urn:xmpp:message-moderate:1", "urn:xmpp:message-moderate:0"
local FASTEN, RETRACT, OLD_RETRACT = "urn:xmpp:fasten:0", "urn:xmpp:message-retract:1", "urn:xmpp:message-retract:0"

local ROLES = { none = true, visitor = true, participant = true, moderator = true }
local AFFILIATIONS = { none = true, outcast = true, member = true, admin = true, owner = true }

-- Arguments. A method's first argument is the room, which isn't counted, as in Lua's own methods.

local function check_text(v, position, fname)
  if v ~= nil then guard.check_text(v, position, fname, 3) end
end

local function check_word(v, known, what, position, fname)
  if type(v) == "string" and known[v] then return end
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(position, fname, what,
    type(v) == "string" and "'" .. core.shown(v) .. "'" or type(v)), 3)
end

local function check_address(v, position, fname)
  if not core.is_jid(v) then guard.check_type(v, "string", position, fname, 3) end
end

-- Requests

local function ask(room, kind, payload)
  local conn, err = rooms.conn(room)
  if not conn then return nil, err end
  local answer, stanza = iq[kind](conn, room.jid, payload)
  return answer, stanza
end

local function done(room, payload)
  local answer, err = ask(room, "set", payload)
  if answer == nil then return nil, err end
  return true
end

local function change(room, attrs, reason)
  return done(room, { "query", { xmlns = ADMIN },
    { "item", attrs, reason and { "reason", {}, reason } or nil } })
end

-- A nick as the room writes it.
local function nick_of(room, nick)
  local jid, err = rooms.address(room, nick)
  if not jid then return nil, err end
  return jid.resourcepart
end

-- Affiliations belong to bare addresses (XEP-0045 5.2).
local function account(jid)
  local address, err = core.jid(jid)
  if not address then return nil, err end
  return tostring(address:bare())
end

local function give_role(room, nick, role, reason)
  local known, err = nick_of(room, nick)
  if not known then return nil, err end
  return change(room, { nick = known, role = role }, reason)
end

local function give_affiliation(room, jid, affiliation, reason)
  local bare, err = account(jid)
  if not bare then return nil, err end
  return change(room, { jid = bare, affiliation = affiliation }, reason)
end

--- Kicks an occupant (XEP-0045 8.2), who can rejoin at once.
---@param nick string
---@param reason? string
---@return boolean? ok true
---@return xmpp.Error?
function Room.kick(room, nick, reason)
  guard.check_type(nick, "string", 1, "kick", 2)
  check_text(reason, 2, "kick")
  return give_role(room, nick, "none", reason)
end

--- Bans an account (XEP-0045 9.1): it is removed and cannot rejoin. An occupant whose address we are not shown cannot
--- be banned.
---@param jid string|xmpp.Jid
---@param reason? string
---@return boolean? ok true
---@return xmpp.Error?
function Room.ban(room, jid, reason)
  check_address(jid, 1, "ban")
  check_text(reason, 2, "ban")
  return give_affiliation(room, jid, "outcast", reason)
end

--- Changes an occupant's role for the rest of the visit: "participant" may speak, "visitor" may not, "none" is a kick.
---@param nick string
---@param role "none"|"visitor"|"participant"|"moderator"
---@param reason? string
---@return boolean? ok true
---@return xmpp.Error?
function Room.set_role(room, nick, role, reason)
  guard.check_type(nick, "string", 1, "set_role", 2)
  check_word(role, ROLES, "role", 2, "set_role")
  check_text(reason, 3, "set_role")
  return give_role(room, nick, role, reason)
end

--- Changes an account's affiliation, whether it is in the room or not.
---@param jid string|xmpp.Jid
---@param affiliation "none"|"outcast"|"member"|"admin"|"owner"
---@param reason? string
---@return boolean? ok true
---@return xmpp.Error?
function Room.set_affiliation(room, jid, affiliation, reason)
  check_address(jid, 1, "set_affiliation")
  check_word(affiliation, AFFILIATIONS, "affiliation", 2, "set_affiliation")
  check_text(reason, 3, "set_affiliation")
  return give_affiliation(room, jid, affiliation, reason)
end

-- Lists

-- The reason has no namespace of its own, or that of the item.
local function reason_of(x)
  local reason = xexpr.child(x, "reason")
  local xmlns = reason and xexpr.attr(reason, "xmlns")
  return (xmlns == nil or xmlns == ADMIN) and xexpr.text(reason) or nil
end

local function read_item(x, what)
  local item = { nick = xexpr.attr(x, "nick"), role = xexpr.attr(x, "role"), affiliation = xexpr.attr(x, "affiliation"),
    reason = reason_of(x) }
  local address = xexpr.attr(x, "jid")
  local jid = address and core.jid(address)
  if address and not jid then return nil, "jid: an address expected" end
  item.jid = jid and tostring(jid)
  if ROLES[what] and what ~= "none" then
    if item.role ~= what then return nil, "role: '" .. what .. "' expected" end
    if not item.nick then return nil, "nick: missing" end
  else
    if item.affiliation ~= what then return nil, "affiliation: '" .. what .. "' expected" end
    if not jid then return nil, "jid: missing" end
  end
  return item
end

--- Lists the accounts with an affiliation or the occupants with a role. An entry is { jid =?, nick =?, affiliation =?,
--- role =?, reason =? }: lists of affiliations have addresses, lists of roles have nicks.
---@param what "outcast"|"member"|"admin"|"owner"|"visitor"|"participant"|"moderator"
---@return { jid: string?, nick: string?, affiliation: string?, role: string?, reason: string? }[]? list
---@return xmpp.Error?
function Room.list(room, what)
  local is_affiliation = AFFILIATIONS[what or ""] and what ~= "none"
  if not is_affiliation and not (ROLES[what or ""] and what ~= "none") then
    check_word(what, {}, "affiliation or role", 1, "list")
  end
  local attrs = { affiliation = is_affiliation and what or nil, role = not is_affiliation and what or nil }
  local query, stanza = ask(room, "get", { "query", { xmlns = ADMIN }, { "item", attrs } })
  if query == nil then return nil, stanza end
  local out = {}
  if query == true then return out end
  for x in xexpr.children(query, "item", ADMIN) do
    local item, why = read_item(x, what)
    if not item then return iq.bad_format(("query.item[%d].%s"):format(#out + 1, why), stanza) end
    out[#out + 1] = item
  end
  return out
end

-- Configuration (XEP-0045 10.2)

local function get_form(room)
  local query, stanza = ask(room, "get", { "query", { xmlns = OWNER } })
  if query == nil then return nil, stanza end
  if query == true then return iq.bad_format("query: missing", stanza) end
  local x = xexpr.child(query, "x", data_form.DATA)
  local form, err = data_form.parse(x)
  if not form then return nil, err end
  return form
end

local function put_form(room, x)
  return done(room, { "query", { xmlns = OWNER }, x })
end

--- Without answers: returns the room's configuration as a form (see xmpp.form); form.values has the present values.
--- With answers: configures the room; fields without an answer stay unchanged. Raises an error for a field that the
--- room does not have.
---@param answers? table<string, any>|fun(form: xmpp.Form): table<string, any>? values by the names of the fields, or a
--- function of the form that returns them (nil: nothing is changed)
---@return xmpp.Form|true|nil the form; or true: the room was configured, or not changed
---@return xmpp.Error?
function Room.config(room, answers)
  if answers ~= nil and type(answers) ~= "function" then guard.check_type(answers, "table", 1, "config", 2) end
  local form, err = get_form(room)
  if not form then return nil, err end
  if answers == nil then return form end
  if type(answers) == "function" then answers = answers(form) end
  if answers == nil then
    local ok
    ok, err = put_form(room, { "x", { xmlns = data_form.DATA, type = "cancel" } })
    return ok, err
  end
  local x = data_form.answer(form, answers, 2)
  local ok
  ok, err = put_form(room, x)
  return ok, err
end

--- Destroys the room for everybody (XEP-0045 10.9).
---@param reason? string
---@param alternative? string|xmpp.Jid the address of a room to use instead
---@return boolean? ok true
---@return xmpp.Error?
function Room.destroy(room, reason, alternative)
  check_text(reason, 1, "destroy")
  if alternative ~= nil then check_address(alternative, 2, "destroy") end
  local jid, err
  if alternative ~= nil then
    jid, err = core.jid(alternative)
    if not jid then return nil, err end
  end
  return done(room, { "query", { xmlns = OWNER },
    { "destroy", { jid = jid }, reason and { "reason", {}, reason } or nil } })
end

-- Moderation (XEP-0425)

local function moderation(room, stanza_id, reason)
  local why = reason and { "reason", {}, reason } or nil
  if room.features and room.features[MODERATE] then
    return { "moderate", { xmlns = MODERATE, id = stanza_id }, { "retract", { xmlns = RETRACT } }, why }
  elseif room.features and room.features[OLD_MODERATE] then
    return { "apply-to", { xmlns = FASTEN, id = stanza_id },
      { "moderate", { xmlns = OLD_MODERATE }, { "retract", { xmlns = OLD_RETRACT } }, why } }
  end
end

--- Retracts somebody's message, for everybody.
---@param stanza_id string the id that the room has assigned: m.stanza_id
---@param reason? string
---@return boolean? ok true
---@return xmpp.Error? err condition "feature-not-implemented" if the room does not announce support for it
function Room.moderate(room, stanza_id, reason)
  guard.check_type(stanza_id, "string", 1, "moderate", 2)
  check_text(reason, 2, "moderate")
  local payload = moderation(room, stanza_id, reason)
  if payload then return done(room, payload) end
  return nil, core.error { layer = "stanza", condition = "feature-not-implemented", type = "cancel", retry = false,
    text = ("the room %s doesn't announce support for moderation"):format(core.shown(room.jid)) }
end

-- Invitations

--- Lets the room invite somebody (XEP-0045 7.8.2). In a members-only room that makes them a member. If the room
--- refuses, the event "error" has this id.
---@param jid string|xmpp.Jid
---@param reason? string
---@return string? id of the message
---@return xmpp.Error?
function Room.invite(room, jid, reason)
  check_address(jid, 1, "invite")
  check_text(reason, 2, "invite")
  local address, err = core.jid(jid)
  local conn
  if address then conn, err = rooms.conn(room) end
  if not conn then return nil, err end
  if not room.joined then return rooms.not_in(room) end
  local id = core.id()
  local sent, why = rooms.send(conn, { "message", { to = room.jid, id = id }, { "x", { xmlns = USER },
    { "invite", { to = address }, reason and { "reason", {}, reason } or nil } } })
  if not sent then return nil, why end
  return id
end

--- The element for a direct invitation (XEP-0249).
---@return xmpp.Element
function M.direct(room_jid, password, reason)
  return { "x", { xmlns = DIRECT, jid = room_jid, password = password, reason = reason } }
end

return M
