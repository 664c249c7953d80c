-- ask: functions for rooms that we aren't in: lists, information, registration of a nick; and invitations, received
-- and sent (XEP-0045 6, 7.8, 7.10, XEP-0249). A part of muc, see room.lua.
--
--   for _, item in ipairs(assert(muc.rooms(conn))) do print(item.jid, item.name) end
--   print(assert(muc.info(conn, "tea@rooms.example.net")).description)
--   muc.use(conn):on("invite", function(inv) print(inv.room, inv.from, inv.reason) end)
--
-- Who is trusted: an invitation that a room forwards (mediated) counts only from the room's own bare address; one that
-- a person sends (direct) may come from anybody, and proves only who has sent it. No room is joined because of an
-- invitation unless the option `accept` of muc.use says so.

local chat = require "xmpp.chat"
local core = require "xmpp.load"
local data_form = require "xmpp.form"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local owner = require "xmpp.muc.owner"
local presence = require "xmpp.muc.presence"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = { events = {}, methods = {}, functions = {}, extension_events = { "invite" }, taps = {} }

local USER, DIRECT, REGISTER = "http://jabber.org/protocol/muc#user", "jabber:x:conference", "jabber:iq:register"
local ROOM_INFO, ROOM_NICK = "http://jabber.org/protocol/muc#roominfo", "muc#register_roomnick"

-- Lists and information

local ASK = { timeout = "number", max = "number" }

local function check_address(v, fname)
  if not core.is_jid(v) then guard.check_type(v, "string", 2, fname, 3) end
end

--- Lists the public rooms of a service.
---@param conn xmpp.Conn
---@param service? string|xmpp.Jid nil: the one of our server
---@param opts? { timeout: number?, max: integer? } timeout: seconds; max: at most so many (1,000); if there are more,
--- list.more is true
---@return xmpp.DiscoItem[]? rooms { jid =, name =? }
---@return xmpp.Error? err condition "item-not-found" if our server has no such service
function M.functions.rooms(conn, service, opts)
  guard.check_conn(conn, "rooms", 2)
  if service ~= nil then check_address(service, "rooms") end
  opts = guard.check_opts(opts, ASK, 3, "rooms", 2)
  if service == nil then
    local found, err = disco.find(conn, { category = "conference", type = "text" }, { timeout = opts.timeout })
    if not found then return nil, err end
    service = found.jid
  end
  local items, err = disco.items(conn, service, opts)
  return items, err
end

local function first(fields, var) return fields[var] and fields[var][1] end

local function whole(text) return text and #text < 10 and text:find "^%d+$" and tonumber(text) or nil end

-- What the features and the form say (XEP-0045 6.4, 15.5.3).
local function read_info(jid, info)
  local has, fields = info.features, info.forms[ROOM_INFO] or {}
  local identity = info.identities[1] or {}
  local subject = first(fields, "muc#roominfo_subject")
  return { jid = jid, name = identity.name, features = has, description = first(fields, "muc#roominfo_description"),
    subject = subject ~= "" and subject or nil, lang = first(fields, "muc#roominfo_lang"),
    occupants = whole(first(fields, "muc#roominfo_occupants")),
    password = has.muc_passwordprotected == true, members_only = has.muc_membersonly == true,
    moderated = has.muc_moderated == true, hidden = has.muc_hidden == true, persistent = has.muc_persistent == true,
    anonymous = has.muc_nonanonymous ~= true }
end

--- Asks a room for information about itself. Not cached: it asks each time.
---@param conn xmpp.Conn
---@param room string|xmpp.Jid
---@param opts? { timeout: number? }
---@return xmpp.RoomInfo? info
---@return xmpp.Error? err condition "item-not-found" if there is no such room
function M.functions.info(conn, room, opts)
  guard.check_conn(conn, "info", 2)
  check_address(room, "info")
  opts = guard.check_opts(opts, { timeout = "number" }, 3, "info", 2)
  local jid, err = core.jid(room)
  local info
  if jid then info, err = disco.info(conn, jid:bare(), { timeout = opts.timeout, fresh = true }) end
  if not info then return nil, err end
  return read_info(tostring(jid:bare()), info)
end

-- Registration of a nick (XEP-0045 7.10)

local function registration(conn, jid, opts)
  local query, stanza = iq.get(conn, jid, { "query", { xmlns = REGISTER } }, opts)
  if query == nil then return nil, stanza end
  if query == true then return iq.bad_format("query: missing", stanza) end
  local form, err = data_form.parse(xexpr.child(query, "x", data_form.DATA))
  if not form then return nil, err end
  form.registered = xexpr.child(query, "registered", REGISTER) ~= nil
  return form
end

--- Without answers: returns the room's registration form (see xmpp.form); its field `registered` says whether we are
--- registered. With answers, or just a nick, it registers us: the nick is then reserved for us, and often we become a
--- member.
---@param conn xmpp.Conn
---@param room string|xmpp.Jid
---@param answers? string|table<string, any> values by the names of the form's fields, or a nick
---@param opts? { timeout: number? }
---@return xmpp.Form|true|nil
---@return xmpp.Error? err condition "conflict" if the nick is somebody else's; "bad-format" if a nick was given, and
--- the form has no field for one
function M.functions.register(conn, room, answers, opts)
  guard.check_conn(conn, "register", 2)
  check_address(room, "register")
  local just_nick = type(answers) == "string"
  if just_nick then answers = { [ROOM_NICK] = answers } end
  if answers ~= nil then guard.check_type(answers, "table", 3, "register", 2) end
  opts = guard.check_opts(opts, { timeout = "number" }, 4, "register", 2)
  local jid, err = core.jid(room)
  local form
  if jid then form, err = registration(conn, jid:bare(), opts) end
  if not form then return nil, err end
  if answers == nil then return form end
  if just_nick then -- it isn't the caller's mistake if the form has no such field
    local ok, why = pcall(data_form.answer, form, answers)
    if not ok then return iq.bad_format("query.x: " .. why) end
  end
  local x = data_form.answer(form, answers, 2)
  local answer
  answer, err = iq.set(conn, jid:bare(), { "query", { xmlns = REGISTER }, x }, opts)
  if answer == nil then return nil, err end
  return true
end

-- Sending invitations

--- Invites somebody into a room: through the room if we are in it, otherwise directly (XEP-0249).
---@param conn xmpp.Conn
---@param room string|xmpp.Jid
---@param jid string|xmpp.Jid who is invited
---@param reason? string
---@param opts? { password: string? } password: the room's, for a direct invitation
---@return string? id of the message
---@return xmpp.Error?
function M.functions.invite(conn, room, jid, reason, opts)
  guard.check_conn(conn, "invite", 2)
  check_address(room, "invite")
  if not core.is_jid(jid) then guard.check_type(jid, "string", 3, "invite", 2) end
  if reason ~= nil then guard.check_text(reason, 4, "invite", 2) end
  opts = guard.check_opts(opts, { password = "text" }, 5, "invite", 2)
  local address, err = core.jid(room)
  local to
  if address then to, err = core.jid(jid) end
  if not to then return nil, err end
  local bare, st = tostring(address:bare()), ext.of(conn, require "xmpp.muc")
  local here = st and st.rooms[bare]
  if here and here.joined then
    local id
    id, err = here:invite(to, reason)
    return id, err
  end
  local id = core.id()
  local sent, why = conn:send { "message", { to = to, id = id }, owner.direct(bare, opts.password, reason) }
  if not sent then return nil, why end
  return id
end

-- Receiving invitations

-- When was it sent, if it was delayed (XEP-0203)?
local function stamp_of(stanza)
  local delay = xexpr.child(stanza, "delay", "urn:xmpp:delay")
  return delay and time.parse(xexpr.attr(delay, "stamp"))
end

local function prepared(text)
  local jid = text and core.jid(text)
  return jid and tostring(jid), jid
end

-- An invitation forwarded by a room: only the room itself does that, so its sender is a bare address with a localpart.
local function mediated(stanza, from)
  if from.resourcepart or not from.localpart then return nil end
  local x = xexpr.child(stanza, "x", USER)
  local invite, reason = presence.part(x, "invite", "reason")
  local _, continue = presence.part(x, "invite", "continue")
  if not invite then return nil end
  return { room = tostring(from), from = prepared(xexpr.attr(invite, "from")), direct = false,
    reason = xexpr.text(reason), password = xexpr.text(x, "password", USER), thread = xexpr.attr(continue, "thread") }
end

local function direct(stanza, from)
  local x = xexpr.child(stanza, "x", DIRECT)
  local room, jid = prepared(x and xexpr.attr(x, "jid"))
  if not room or jid.resourcepart or not jid.localpart then return nil end
  return { room = room, from = tostring(from), direct = true, reason = xexpr.attr(x, "reason"),
    password = xexpr.attr(x, "password"), thread = xexpr.attr(x, "thread") }
end

-- Joins the room if `accept` agrees. The password is sent only to the room.
local function follow(st, conn, inv)
  local ok, nick = guard.call(st.accept, inv)
  if not ok then return guard.report("extension 'muc', accept", nick) end
  if not nick or st.rooms[inv.room] then return end
  local jid = conn:jid()
  nick = type(nick) == "string" and nick or jid.localpart or jid.domainpart
  local room, err = require "xmpp.muc".join(conn, inv.room, nick, { password = inv.password })
  inv.joined, inv.err = room ~= nil, err
  if not room then st:emit("refused", inv, err) end
end

local function read_invitation(stanza)
  local from = xexpr.attr(stanza, "from") and core.jid(xexpr.attr(stanza, "from"))
  local kind = xexpr.attr(stanza, "type")
  if not from or kind == "error" or kind == "groupchat" then return nil end
  return mediated(stanza, from) or direct(stanza, from)
end

local function hear(st, stanza, conn)
  local inv = read_invitation(stanza)
  if not inv then return end
  inv.stamp = stamp_of(stanza)
  st:emit("invite", inv)
  if st.accept then follow(st, conn, inv) end
end

--- Excludes invitations from chat.
function M.start(st, conn)
  st.no_invitations = chat.rooms(conn, function(_, stanza) return read_invitation(stanza) ~= nil end)
end

function M.stop(st) st.no_invitations() end

M.extension_events[2] = "refused"
M.taps[1] = { { name = "message", has = USER }, hear }
M.taps[2] = { { name = "message", has = DIRECT }, function(st, stanza, conn)
  if not xexpr.child(stanza, "x", USER) then hear(st, stanza, conn) end
end }

return M
