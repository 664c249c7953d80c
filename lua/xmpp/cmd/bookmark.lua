-- bookmark: the account's bookmarked rooms (XEP-0402).

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"
local input = require "xmpp.cmd.input"

local M = {}

local words = {}

local function show(ctx, entry)
  local text = ctx:name(entry.jid)
  if entry.autojoin then text = text .. "  *" end
  if entry.name then text = text .. "  " .. escape.line(entry.name) end
  if entry.nick then text = text .. "  as " .. escape.line(entry.nick) end
  if entry.password then text = text .. "  (with a password)" end
  ctx:say(text, { { "type", "bookmark" }, { "room", entry.jid }, { "name", entry.name }, { "nick", entry.nick },
    { "autojoin", entry.autojoin }, { "has_password", entry.password and true or nil } })
end

function words.list(ctx, b)
  local rooms = {}
  for room in pairs(b.list) do rooms[#rooms + 1] = room end
  table.sort(rooms)
  for _, room in ipairs(rooms) do show(ctx, b.list[room]) end
  return true
end

function words.add(ctx, b, room)
  local autojoin
  if ctx.opts.autojoin then autojoin = true elseif ctx.opts["no-autojoin"] then autojoin = false end
  return b:set(room, { name = ctx.opts.name, nick = ctx.opts.nick, autojoin = autojoin })
end

function words.remove(_, b, room) return b:remove(room) end

-- A room's address; raises a usage error for anything else.
local function room_of(ctx)
  local text = input.need(ctx, 2, "ROOM")
  local room = require "xmpp.bookmark.item".room(text)
  if not room then exit.raise("usage", "jid-malformed", ("'%s' is not the address of a room"):format(text)) end
  return room
end

function M.run(ctx)
  local word = ctx.args[1] or "list"
  local room = word ~= "list" and room_of(ctx) or nil
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local b = require "xmpp.bookmark".use(conn, { autojoin = false })
  local ok, why = b:fetched(ctx.timeout)
  if ok then ok, why = words[word](ctx, b, room) end
  if not ok then return nil, why end
  return 0
end

return M
