-- create: what to do with a room that was created by joining it (XEP-0045 10.1). Until it is configured nobody else
-- can join.

local core = require "xmpp.load"
local form = require "xmpp.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local rooms = require "xmpp.muc.room"

local M = {}

local OWNER, DATA = "http://jabber.org/protocol/muc#owner", "jabber:x:data"

local function ask(conn, room, kind, child)
  return iq[kind](conn, room.jid, { "query", { xmlns = OWNER }, child })
end

-- Destroys the room only if we are its owner and nobody else is in it.
local function refuse(room, conn, entry)
  if entry.self.affiliation == "owner" and entry.crowd.n == 1 and entry.crowd.beyond == 0 then
    ask(conn, room, "set", { "destroy" })
  end
  return nil, core.error { layer = "stanza", condition = "room-created", type = "cancel", retry = false,
    option = "create", text = ("there was no room %s, and it would have been created: is the address right? (see the "
      .. "option 'create')"):format(core.shown(room.jid)) }
end

-- An instant room (XEP-0045 10.1.2).
local function take_defaults(room, conn)
  local ok, err = ask(conn, room, "set", { "x", { xmlns = DATA, type = "submit" } })
  if ok then return true end
  return nil, err
end

local function cancel(room, conn, err)
  ask(conn, room, "set", { "x", { xmlns = DATA, type = "cancel" } })
  return nil, err
end

-- A reserved room: a function fills in the form (XEP-0045 10.1.3).
local function fill_in(room, conn, f)
  local query, err = ask(conn, room, "get")
  local x = query and query ~= true and query[3]
  local asked
  if type(x) == "table" then asked, err = form.parse(x) elseif query then err = nil end
  if not asked then return cancel(room, conn, err or select(2, iq.bad_format "query.x: missing")) end
  local ok, answers = guard.call(f, asked)
  local x_ok, answer = false, nil
  if ok and type(answers) == "table" then x_ok, answer = pcall(form.answer, asked, answers) end
  if not x_ok then
    if not ok or answer then guard.report("muc, option 'create'", ok and answer or answers) end
    return cancel(room, conn, core.error { layer = "stanza", condition = "room-created", type = "cancel",
      retry = false, option = "create", text = "the function 'create' returned no answers: no room was created" })
  end
  ok, err = ask(conn, room, "set", answer)
  if ok then return true end
  return cancel(room, conn, err)
end

--- Decides about the room. If we rejoin a room that has been destroyed in the meantime, its address isn't a typing
--- mistake: then "refuse" works like "default".
---@return true?
---@return xmpp.Error?
function M.answer(room, conn, entry)
  local how = rooms.own(room).opts.create
  if type(how) == "function" then return fill_in(room, conn, how) end
  if how == "refuse" and not entry.again then return refuse(room, conn, entry) end
  return take_defaults(room, conn)
end

return M
