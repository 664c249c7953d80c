-- say: sends messages to a room, to everybody or to one occupant.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local outbox = require "xmpp.muc.outbox"
local rooms = require "xmpp.muc.room"
local write = require "xmpp.chat.write"

local M = { methods = {} }

local USER = "http://jabber.org/protocol/muc#user"
local SAY = { on = "function", reflect = "boolean", timeout = "number" }

-- The message that is replied to, by the id that the room has assigned, which is what counts there (XEP-0461 3.1).
local function reply_in_room(reply)
  if type(reply) ~= "table" or not reply.stanza_id then return reply end
  return { id = reply.stanza_id, jid = reply.jid or reply.from, text = reply.text }
end

-- Builds a message, with an id of ours. Errors are raised at the caller of the method.
local function message(what, kind, to, fname, position)
  if type(what) ~= "string" and type(what) ~= "table" then
    error(("bad argument #%d to '%s' (string or table expected, got %s)"):format(position, fname, type(what)), 3)
  end
  local words, children = what, nil
  if type(what) == "table" then
    words, children = {}, what.children
    for key, v in pairs(what) do words[key] = v end
    words.children = nil
    if kind == "groupchat" then words.reply_to = reply_in_room(words.reply_to) end
  end
  local x = write.message(to, kind, core.id(), write.content(words, fname, 3), true)
  for _, child in ipairs(children or {}) do table.insert(x, #x, child) end
  if kind == "chat" then table.insert(x, #x, { "x", { xmlns = USER } }) end
  local ok, why = core.check_stanza(x)
  if not ok then error(("bad argument #%d to '%s' (%s)"):format(position, fname, why), 3) end
  return x
end

--- Sends a message to everybody in the room. Returns at once, with the message's id. While we are out of the room it
--- waits, in order, and is sent when we have rejoined. `on` is called with "sent", and then with "reflected" (it is in
--- the room; with its stanza-id, if the room announces such ids) or "failed" (with the reason). Without `on`, a
--- failure is the event "error".
---@param what string|table a text, or a table as for the `send` of xmpp.chat, which may also have `children`, a list
--- of further elements; `reply_to` is a message as the room has reported it
---@param opts? { on: fun(state: string, what: any)?, reflect: boolean?, timeout: number? } on: called with its fate;
--- reflect: wait until it is in the room; timeout: seconds for that
---@return string? id
---@return string|xmpp.Error? stanza_id with `reflect`; or the error: condition "max_waiting" if too much waits already
function M.methods.say(room, what, opts)
  opts = guard.check_opts(opts, SAY, 2, "say", 2)
  local x = message(what, "groupchat", room.jid, "say", 1)
  return outbox.put(room, x, opts)
end

--- Sets the subject; "" removes it. Works as `say` does.
---@param text string
---@param opts? table those of `say`
---@return string? id
---@return string|xmpp.Error?
function M.methods.set_subject(room, text, opts)
  guard.check_type(text, "string", 1, "set_subject", 2)
  opts = guard.check_opts(opts, SAY, 2, "set_subject", 2)
  local x = { "message", { to = room.jid, type = "groupchat", id = core.id() }, { "subject", {}, text } }
  local ok, why = core.check_stanza(x)
  if not ok then error(("bad argument #1 to 'set_subject' (%s)"):format(why), 2) end
  return outbox.put(room, x, opts)
end

--- Sends a private message to one occupant (XEP-0045 7.5). As anybody may take the nick once its owner has left, the
--- message does not wait until we have rejoined the room, and is not sent in another session.
---@param nick string
---@param what string|table as for `say`
---@param opts? { on: fun(state: "written"|"acked"|"failed", err: xmpp.Error?)? } on: as for conn:send
---@return string? id
---@return xmpp.Error? err condition "item-not-found" if there is no such occupant
function M.methods.whisper(room, nick, what, opts)
  guard.check_type(nick, "string", 1, "whisper", 2)
  opts = guard.check_opts(opts, { on = "function" }, 3, "whisper", 2)
  local own = rooms.own(room)
  local to, bad = rooms.address(room, nick)
  if not to then return nil, bad end
  local x = message(what, "chat", to, "whisper", 2)
  local conn, closed = rooms.conn(room)
  if not conn then return nil, closed end
  if own.state ~= "in" then return rooms.not_in(room) end
  local occupant = rooms.occupant(room, nick)
  if occupant then x[2].to = rooms.address(room, occupant.nick) end -- as the room writes it
  if not occupant and not own.crowd.rest[to.resourcepart] then
    return nil, core.error { layer = "stanza", condition = "item-not-found", type = "cancel", retry = false,
      text = ("there is no %s in the room %s"):format(core.shown(to.resourcepart), core.shown(room.jid)) }
  end
  local ok, err = rooms.send(conn, x, opts.on)
  if not ok then return nil, err end
  return x[2].id
end

return M
