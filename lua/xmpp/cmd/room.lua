-- room: what `send --room`, `listen --room` and `muc` have in common: joining rooms, and showing their messages.

local config = require "xmpp.cmd.config"
local exit = require "xmpp.cmd.exit"

local M = {}

-- The configuration's section for a room; the file is read once.
local function section_of(ctx, room)
  ctx.rooms = ctx.rooms or select(3, config.load(ctx.world))
  return ctx.rooms[room]
end

-- The nick to use: --nick, the key `nick` of the room or of the account, or our localpart.
local function nick_for(ctx, section)
  return ctx.opts.nick or section and section.nick or ctx.account.nick or ctx.bare:match "^[^@]*"
end

--- Parses a room's address; raises an error if it is invalid.
---@param jid string
---@return xmpp.Jid
function M.address(jid)
  local address = require "xmpp.cmd.input".address(jid)
  if address.resourcepart then
    exit.raise("usage", "jid-malformed", ("'%s' contains a nickname: give the room's address alone, and the "
      .. "nickname with --nick"):format(jid))
  end
  return address
end

--- The password for a room: from the configuration, or typed at the terminal; nil: neither.
---@param room string a prepared address
---@return string?
function M.secret(ctx, room)
  local secret = require "xmpp.cmd.secret"
  return secret.of_room(ctx.world, section_of(ctx, room)) or secret.ask_room(ctx.world, room)
end

local function refused(err, text, ...)
  return { layer = err.layer, condition = err.condition, text = text:format(...), retry = false, command = true }
end

-- An error of muc.join in terms of the command, since muc.join names the options of a program.
local function explained(ctx, room, is_given, err)
  local path = config.path(ctx.world) or "the configuration"
  if err.option == "create" then
    return refused(err, "there is no room %s, and none was created: is the address right?", room)
  elseif err.option ~= "password" then
    return err
  elseif is_given then
    return refused(err, "%s has refused the password of section [room %s] in %s", room, room, path)
  end
  return refused(err, "%s requires a password: set password-command or password-file in a section [room %s] of %s",
    room, room, path)
end

-- The room requires a password that isn't configured: asks for it, if there is a terminal.
local function join_asking(ctx, join, room, opts, err)
  opts.password = require "xmpp.cmd.secret".ask_room(ctx.world, room)
  if not opts.password then return nil, err end
  local joined, why = join()
  if not joined and why.option == "password" then why = refused(why, "%s has refused that password", room) end
  return joined, why
end

--- Joins a room, without its history. Its password comes from the configuration, or is asked for at the terminal if
--- the room requires one.
---@param opts? table those of muc.join
---@return xmpp.Room? room
---@return xmpp.Error? err
function M.join(ctx, conn, jid, opts)
  local address = M.address(jid)
  local name = tostring(address)
  local section = section_of(ctx, name)
  local o = { history = 0, timeout = ctx.timeout }
  o.password = require "xmpp.cmd.secret".of_room(ctx.world, section)
  for key, value in pairs(opts or {}) do o[key] = value end
  local function join() return require "xmpp.muc".join(conn, address, nick_for(ctx, section), o) end
  local is_given = o.password ~= nil
  local room, err = join()
  if not room and err.option == "password" and not is_given then room, err = join_asking(ctx, join, name, o, err) end
  if not room then return nil, explained(ctx, name, is_given, err) end
  return room
end

-- Sends a message to one room, and waits until the room has reflected it.
local function say(ctx, conn, jid, what)
  local room, err = M.join(ctx, conn, jid)
  if not room then return nil, err end
  local id, why = room:say(what, { reflect = true, timeout = ctx.timeout })
  room:leave()
  if not id then return nil, why end
  return id
end

--- Sends a text to all the rooms, and leaves each again.
---@param rooms string[]
---@return integer? status
---@return table? err
function M.send(ctx, rooms, text)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local failed, first = 0, nil
  for _, jid in ipairs(rooms) do
    local id, why = say(ctx, conn, jid, { text = text, subject = ctx.opts.subject })
    if not id then
      failed, first = failed + 1, first or why
      ctx:complain(jid, why)
    elseif ctx.json then
      ctx:say("", { { "type", "sent" }, { "to", jid }, { "id", id } })
    end
  end
  if failed == 0 then return 0 end
  if failed == #rooms then return (exit.explain(first)) end
  return nil, exit.error("partly", "partly-done", ("%d of %d rooms have not received the message"):format(failed,
    #rooms))
end

local function stamp(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds)) end

--- Shows a message of a room, see muc's event "message"; returns whether there was something to show.
function M.show(ctx, room, m)
  if not m.text then return false end
  local time = stamp(m.stamp or require "xmpp.cmd.clock"())
  local who = m.nick or m.from:match "/(.*)$" or m.from
  local line = ("%s %s %s"):format(ctx:ink("2", time:match "T(%d%d:%d%d:%d%d)"), ctx:name(room.jid),
    ctx:says(ctx:name(who), m.text))
  ctx:say(line, { { "type", "message" }, { "from", room.jid .. "/" .. who }, { "to", m.to }, { "id", m.id },
    { "kind", "groupchat" }, { "time", time }, { "subject", m.subject }, { "body", m.text },
    { "delayed", m.history == true or m.delayed == true }, { "own", m.own == true } })
  return true
end

return M
