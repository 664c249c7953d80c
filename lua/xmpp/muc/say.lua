-- say: what is said in a room, to all or to one.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local outbox = require "xmpp.muc.outbox"
local rooms = require "xmpp.muc.room"

local M = { methods = {} }

local USER, ORIGIN = "http://jabber.org/protocol/muc#user", "urn:xmpp:sid:0"
local SAY = { on = "function", reflect = "boolean", timeout = "number" }

--- What a table says: text, subject, lang, url, and `children`, elements of your own.
function M.elements(t)
  local out = {}
  if t.text then out[#out + 1] = { "body", { ["xml:lang"] = t.lang }, t.text } end
  if t.subject then out[#out + 1] = { "subject", { ["xml:lang"] = t.lang }, t.subject } end
  if t.url then out[#out + 1] = { "x", { xmlns = "jabber:x:oob" }, { "url", {}, t.url } } end
  for _, child in ipairs(t.children or {}) do out[#out + 1] = child end
  return out
end

-- A message that says that, with an id of ours. A mistake is whose the caller's method has called.
local function message(what, kind, to, fname, position)
  local id = core.id()
  local x = { "message", { to = to, type = kind, id = id } }
  if type(what) == "table" then
    for _, child in ipairs(M.elements(what)) do x[#x + 1] = child end
  elseif type(what) == "string" then
    x[3] = { "body", {}, what }
  else
    error(("bad argument #%d to '%s' (string or table expected, got %s)"):format(position, fname, type(what)), 3)
  end
  if kind == "chat" then x[#x + 1] = { "x", { xmlns = USER } } end
  x[#x + 1] = { "origin-id", { xmlns = ORIGIN, id = id } }
  local ok, why = core.check_stanza(x)
  if not ok then error(("bad argument #%d to '%s' (%s)"):format(position, fname, why), 3) end
  return x
end

--- Says something to all in the room. Returns at once, with the message's id; while we are out of the room it waits,
--- in order, and is sent when we are in again. `on` hears "sent", and then one of "reflected" (it is in the room; with
--- its stanza-id, if the room has announced that) and "failed" (with why); without it a failure is the event "error".
--- With `reflect` it waits until the message is in the room.
---@param what string|table text, or { text =, subject =?, lang =?, url =?, children =? }
---@param opts? { on: fun(state: string, what: any)?, reflect: boolean?, timeout: number? }
---@return string? id
---@return string|xmpp.Error? stanza_id with `reflect`; or why it isn't said: condition "max_waiting"
function M.methods.say(room, what, opts)
  opts = guard.check_opts(opts, SAY, 2, "say", 2)
  local x = message(what, "groupchat", room.jid, "say", 1)
  return outbox.put(room, x, opts)
end

--- Sets the subject; "" takes it away. As `say`.
---@param text string
---@param opts? table as of `say`
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

--- Says something to one occupant (XEP-0045 7.5), who may be anybody as soon as he has left: it doesn't wait until we
--- are in the room again, and isn't sent in another session.
---@param nick string
---@param what string|table as of `say`
---@param opts? { on: fun(state: "written"|"acked"|"failed", err: xmpp.Error?)? } on: as of conn:send
---@return string? id
---@return xmpp.Error? err condition "item-not-found": there is no such occupant
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
