-- room: a room in a test (XEP-0045), a small real service: programs can join it, it sends them the occupants, reflects
-- messages, and answers requests; everything else is up to the test. Required by xmpp.testing alone.
--
--   local room = t:room("tea@rooms.example.net", { occupants = { "anna" }, history = { "hello" }, subject = "Tea" })
--   require "mybot"(t.conn)                             -- joins
--   room:joins "bert"
--   t:expect { "message", { type = "groupchat" }, { "body", {}, "Hello, bert" } }
--   room:says("bert", "!time")
--   room:kicks("kettle", 333)
--
-- Presences and requests to it are handled here; messages have to be expected, like any others, after it has handled
-- them. Wrong behaviour of a room can be tested by t:on, which is tried first.

local core = require "xmpp.load"
local enter = require "xmpp.testing.room.enter"
local hall = require "xmpp.testing.room.hall"
local rule = require "xmpp.testing.room.rule"
local speak = require "xmpp.testing.room.speak"
local xexpr = require "xmpp.xexpr"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local KNOWN = { occupants = true, history = true, subject = true, subject_by = true, affiliations = true,
  config = true, password = true, exists = true, stanza_ids = true, occupant_ids = true, moderation = true,
  features = true, no_subject = true, assigns = true }

---@class xmpp.TestRoom
local Room = {}
Room.__index = Room

-- room -> the test's functions. Not in the room's table, which tests print.
local inner = setmetatable({}, { __mode = "k" })

local function fail(room, text, ...) inner[room].fail(room.test, text, ...) end

local function occupant_of(room, nick)
  inner[room].turn() -- it may be joining at the moment
  local occupant = type(nick) == "string" and room.occupants[hall.nick_in(hall.at(room, nick))]
  if not occupant then fail(room, "there is no '%s' in %s", tostring(nick), room.jid) end
  return occupant
end

-- Calls f for the test, between two turns of the loop.
local function act(room, f, ...)
  inner[room].turn()
  local a, b = f(room, ...)
  inner[room].turn()
  return a, b
end

-- Builds a message as tests write it: a text, or a table with `text`, `id` and children.
local function stanza_of(what)
  local o = type(what) == "table" and what or { text = what }
  local x = { "message", { id = o.id or core.id() }, o.text and { "body", {}, o.text } or nil }
  for _, child in ipairs(o) do x[#x + 1] = child end
  return xexpr.canonical(x)
end

--- An occupant sends a message to all: a text, or { text =, id =, children... }.
---@param nick string
---@param what string|table
---@return string id
---@return string stanza_id
function Room:says(nick, what)
  local x, occupant = stanza_of(what), occupant_of(self, nick)
  return x[2].id, act(self, speak.reflect, occupant, x)
end

--- An occupant sends a private message to one of the program's.
---@param nick string
---@param what string|table
---@param to? string the recipient's nick (the program's, if it has one)
---@return string id
function Room:whispers(nick, what, to)
  local from, x = occupant_of(self, nick), stanza_of(what)
  local other = to and occupant_of(self, to) or hall.here(self)[1]
  if not other then fail(self, "no occupant of %s is the program's", self.jid) end
  act(self, speak.whisper, from, other, x)
  return x[2].id
end

--- Somebody joins.
---@param who string|xmpp.TestOccupant
---@return xmpp.TestOccupant
function Room:joins(who)
  local nick = type(who) == "table" and who.nick or who
  if type(nick) ~= "string" then fail(self, "joins(nick): string or occupant expected, got %s", type(who)) end
  if self.occupants[hall.nick_in(hall.at(self, nick))] then fail(self, "'%s' is in %s already", nick, self.jid) end
  return act(self, function()
    local occupant = hall.put(self, who)
    self.exists = true
    hall.show(self, occupant)
    return occupant
  end)
end

local function remove(room, nick, o) act(room, hall.remove, occupant_of(room, nick), o) end

--- Somebody leaves.
---@param nick string
---@param status? string
function Room:leaves(nick, status) remove(self, nick, { status = status }) end

local function codes_of(code)
  local out = {}
  for i, v in ipairs(type(code) == "table" and code or { code }) do out[i] = tostring(v) end
  return out
end

--- An occupant is kicked.
---@param nick string
---@param code? integer|integer[] (307)
---@param reason? string
---@param by? string nick
function Room:kicks(nick, code, reason, by)
  remove(self, nick, { codes = codes_of(code or 307), reason = reason, by = by })
end

--- An occupant is banned (301), or an address, if there is no such occupant.
---@param who string nick, or bare address
---@param reason? string
---@param by? string nick
function Room:bans(who, reason, by)
  local occupant = self.occupants[who]
  act(self, rule.affiliate, hall.bare(occupant and occupant.jid or who), "outcast", { reason = reason, by = by })
end

--- An occupant changes the nick (303).
---@param nick string
---@param new string
function Room:renames(nick, new) act(self, hall.rename, occupant_of(self, nick), new) end

--- Changes an occupant's role, affiliation, show or status.
---@param nick string
---@param what { role: string?, affiliation: string?, show: string?, status: string? }
---@param reason? string
function Room:changes(nick, what, reason)
  local occupant, o = occupant_of(self, nick), { reason = reason }
  occupant.show, occupant.status = what.show or occupant.show, what.status or occupant.status
  act(self, function()
    if what.affiliation then rule.affiliate(self, hall.bare(occupant.jid), what.affiliation, o) end
    if what.role then return rule.give_role(self, occupant, what.role, o) end
    if not what.affiliation then hall.show(self, occupant) end
  end)
end

--- Sets the subject.
---@param nick? string who sets it (the room itself)
---@param text string "": none
function Room:sets_subject(nick, text) act(self, speak.set_subject, nick and occupant_of(self, nick), text) end

--- The room sends status codes (XEP-0045 10.2.1).
function Room:tells(...)
  local codes = { ... }
  act(self, function() hall.status(self, unpack(codes)) end)
end

--- The room is destroyed.
---@param reason? string
---@param alternative? string a room's address
---@param password? string for that room
function Room:destroys(reason, alternative, password) act(self, rule.destroy, reason, alternative, password) end

--- The room retracts a message (XEP-0425).
---@param stanza_id string
---@param by? string nick of a moderator
---@param reason? string
function Room:moderates(stanza_id, by, reason)
  act(self, rule.moderate, stanza_id, by and occupant_of(self, by), reason)
end

--- An occupant requests voice: the moderators get a form (XEP-0045 8.6).
---@param nick string
function Room:asks_voice(nick)
  local o, FIELD = occupant_of(self, nick), "field"
  local function field(var, kind, text) return { FIELD, { var = var, type = kind }, { "value", {}, text } } end
  act(self, function()
    for _, viewer in ipairs(hall.here(self)) do
      local x = { "x", { xmlns = hall.FORM, type = "form" },
        field("FORM_TYPE", "hidden", "http://jabber.org/protocol/muc#request"),
        field("muc#role", "list-single", "participant"), field("muc#jid", "jid-single", o.jid),
        field("muc#roomnick", "text-single", o.nick), field("muc#request_allow", "boolean", "false") }
      if viewer.role == "moderator" then hall.say(self, { "message", {}, x }, self.jid, viewer.jid) end
    end
  end)
end

--- The room forwards an invitation to the program (XEP-0045 7.8.2).
---@param from? string address of the inviting person
---@param reason? string
function Room:invites(from, reason)
  act(self, function()
    local invite = { "invite", { from = from }, reason and { "reason", {}, reason } or nil }
    local x = { "x", { xmlns = hall.USER }, invite }
    if self.config.password then x[4] = { "password", {}, self.config.password } end
    hall.say(self, { "message", {}, x }, self.jid, tostring(self.test.conn:jid()))
  end)
end

--- The room forgets the program's occupants without telling anybody, as after a broken link between servers.
---@param nick? string only this one
function Room:forgets(nick) enter.forget(self, nick and occupant_of(self, nick).jid) end

-- Receiving

-- Handles a stanza of the program. true: nobody else gets it.
local function hear(room, stanza)
  local to = stanza[2].to and core.jid(stanza[2].to)
  if not to then
    if stanza[1] == "presence" and stanza[2].type == "unavailable" then
      local occupant = hall.find(room, hall.sender(room, stanza))
      if occupant then hall.remove(room, occupant, { status = xexpr.text(stanza, "status") }) end
    end
    return false
  end
  if tostring(to:bare()) ~= room.jid then return false end
  if stanza[1] == "message" then
    if room.exists then speak.hear(room, stanza) else hall.refuse(room, stanza, "cancel", "item-not-found") end
    return false
  end
  if stanza[1] == "presence" then return enter.enter(room, stanza) or true end
  if not room.exists then return hall.refuse(room, stanza, "cancel", "item-not-found") or true end
  return rule.ask(room, stanza) ~= false
end

local function defaults(config)
  local out = { public = true, persistent = true, whois = "moderators" }
  for name, value in pairs(config or {}) do out[name] = value end
  return out
end

local function check(test, functions, jid, o)
  local bare, err = core.jid(jid)
  if not bare then functions.fail(test, "room(jid): %s", tostring(err)) end
  for name in pairs(o) do
    if not KNOWN[name] then functions.fail(test, "room has no option '%s'", tostring(name)) end
  end
  return tostring(bare:bare())
end

local function fill(room, o)
  for jid, affiliation in pairs(o.affiliations or {}) do room.affiliations[hall.bare(jid)] = affiliation end
  for _, who in ipairs(o.occupants or {}) do hall.put(room, who) end
  for i, entry in ipairs(o.history or {}) do speak.old_message(room, entry, 60 * (#o.history + 1 - i)) end
end

--- Creates a room. functions: fail, turn, and those of the test's other parts; see xmpp.testing.
return function(test, functions, jid, o)
  local room = setmetatable({ jid = check(test, functions, jid, o), test = test, exists = o.exists ~= false,
    occupants = {}, affiliations = {}, history = {}, ids = {}, invited = {}, registered = {}, known = 0, strangers = 0,
    subject = o.subject, subject_by = o.subject_by, no_subject = o.no_subject, assigns = o.assigns, locked = false,
    stanza_ids = o.stanza_ids ~= false, occupant_ids = o.occupant_ids ~= false, moderation = o.moderation ~= false,
    config = defaults(o.config), more_features = o.features or {} }, Room)
  inner[room] = functions
  room.config.password = o.password or room.config.password
  fill(room, o)
  functions.hears(function(stanza) return hear(room, stanza) end)
  functions.gone(function() enter.forget(room) end)
  return room
end
