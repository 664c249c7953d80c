-- context: who has given a command to a bot and where, and how to answer it. For xmpp.bot.
--
--   b:command("whoami", {}, function(ctx) ctx:reply(ctx.who or "somebody called " .. ctx.nick) end)

local core = require "xmpp.load"
local guard = require "xmpp.guard"

local M = {}

--- Where a command was given, and by whom. `who` is a prepared bare address: the `from` that the server has verified,
--- or the real address that the room has put into the occupant's presence; nil in a room that doesn't show it. A nick
--- proves nothing.
---@class xmpp.BotContext
---@field kind "room"|"private"|"chat"|"adhoc" private: a private message of an occupant of a room
---@field who string?
---@field nick string? in a room
---@field room xmpp.Room?
---@field message xmpp.Message? nil for an ad-hoc command
---@field command string the command's name
---@field admin boolean is `who` one of the bot's admins?
local C = {}

--- Answers where the command was given: in the room, in private, or in the conversation; as a reply to the message
--- (XEP-0461), if that has an id.
---@param what string|table as for the `send` of xmpp.chat
---@return string|true|nil id of the message
---@return xmpp.Error? err condition "item-not-found" if the person has left the room, as the nick may now be somebody
--- else's
function C.reply(ctx, what)
  if type(what) ~= "string" then guard.check_type(what, "table", 1, "reply", 2) end
  return getmetatable(ctx).answer(what)
end

local function as_reply(what, m)
  local out = type(what) == "string" and { text = what } or {}
  for key, v in pairs(type(what) == "table" and what or {}) do out[key] = v end
  if out.reply_to == nil and (m.id or m.stanza_id or m.origin_id) then out.reply_to = m end
  return out
end

local function new(fields, answer)
  return setmetatable(fields, { __index = C, answer = answer })
end

local function bare(jid)
  local address = jid and core.jid(jid)
  return address and tostring(address:bare())
end

--- The context of a groupchat message. A reply refers to it by the id that the room has assigned (XEP-0461 3.1), or
--- not at all.
function M.in_room(room, m)
  return new({ kind = "room", who = bare(m.occupant and m.occupant.jid), nick = m.nick, room = room, message = m },
    function(what)
      if m.stanza_id then return room:say(as_reply(what, m)) end
      return room:say(what)
    end)
end

-- The occupant's present nick: somebody else may have taken the earlier one.
local function nick_of(room, occupant)
  local o = occupant and room.occupants[occupant.nick]
  if o and o == occupant then return o.nick end
end

--- The context of a private message of an occupant.
function M.private(room, m)
  return new({ kind = "private", who = bare(m.occupant and m.occupant.jid), nick = m.nick, room = room, message = m },
    function(what)
      local nick = nick_of(room, m.occupant)
      if nick then return room:whisper(nick, as_reply(what, m)) end
      return nil, core.error { layer = "stanza", condition = "item-not-found", type = "cancel", retry = false,
        text = ("%s has left the room %s"):format(core.shown(m.nick), core.shown(room.jid)) }
    end)
end

--- The context of a one-to-one message.
function M.chat(c, m)
  return new({ kind = "chat", who = m.peer, message = m }, function(what) return c:send(m.from, as_reply(what, m)) end)
end

--- The context of an ad-hoc command: replies become part of its result.
---@param lines string[]
function M.adhoc(from, lines)
  return new({ kind = "adhoc", who = bare(from) }, function(what)
    lines[#lines + 1] = type(what) == "table" and what.text or type(what) == "string" and what or nil
    return true
  end)
end

return M
