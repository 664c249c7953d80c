-- muc: rooms (XEP-0045): sending, listening, requests.

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"
local forms = require "xmpp.cmd.fields"
local rooms = require "xmpp.cmd.room"

local M = {}

local HISTORY = 20
local MOST_PAGE = 100
local MAM = "urn:xmpp:mam:2"

local function need(ctx, n, usage)
  if #ctx.args >= n then return end
  exit.raise("usage", "missing", ("usage: xmpp muc %s %s"):format(ctx.args[1], usage))
end

local function rest(ctx, first)
  local out = {}
  for i = first, #ctx.args do out[#out + 1] = ctx.args[i] end
  return out
end

local words = {}

function words.send(ctx)
  need(ctx, 2, "ROOM... [-- TEXT]")
  local text = require "xmpp.cmd.send".text(ctx)
  return rooms.send(ctx, rest(ctx, 2), text)
end

function words.join(ctx)
  need(ctx, 2, "ROOM")
  ctx.opts.room = ctx.args[2]
  return require "xmpp.cmd.listen".run(ctx)
end

function words.list(ctx)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local list, why = require "xmpp.muc".rooms(conn, ctx.args[2], { timeout = ctx.timeout })
  if not list then return nil, why end
  for _, room in ipairs(list) do
    ctx:say(ctx:name(room.jid) .. (room.name and "  " .. escape.line(room.name) or ""),
      { { "type", "room" }, { "jid", room.jid }, { "name", room.name } })
  end
  if list.more then ctx:note "there are more rooms than are shown" end
  return 0
end

-- Joins a room, calls f(room), and leaves it.
local function inside(ctx, opts, f)
  need(ctx, 2, "ROOM")
  local conn, err = ctx.conn, nil
  if not conn then conn, err = ctx:connect() end
  if not conn then return nil, err end
  local room, why = rooms.join(ctx, conn, ctx.args[2], opts)
  if not room then return nil, why end
  local status, fault = f(room)
  room:leave()
  return status, fault
end

function words.who(ctx)
  return inside(ctx, nil, function(room)
    local nicks = {}
    for nick in pairs(room.occupants) do
      if nick ~= room.nick then nicks[#nicks + 1] = nick end
    end
    table.sort(nicks)
    for _, nick in ipairs(nicks) do
      local o = room.occupants[nick]
      local text = ("%s  %s, %s"):format(ctx:name(nick), escape.line(o.role or "?"), escape.line(o.affiliation or "?"))
      if o.jid then text = text .. "  " .. escape.line(tostring(o.jid)) end
      if o.show then text = text .. "  " .. escape.line(o.show) end
      if o.status then text = text .. ": " .. escape.line(o.status) end
      ctx:say(text, { { "type", "occupant" }, { "room", room.jid }, { "nick", nick },
        { "jid", o.jid and tostring(o.jid) or nil }, { "role", o.role }, { "affiliation", o.affiliation },
        { "show", o.show }, { "status", o.status } })
    end
    return 0
  end)
end

-- Does the room have an archive (XEP-0313)? Asked before joining: then no history needs to be requested.
local function has_archive(ctx, conn, jid)
  local info = require "xmpp.muc".info(conn, rooms.address(jid), { timeout = ctx.timeout })
  return info ~= nil and info.features[MAM] == true
end

-- The last n messages of the archive, oldest first: read page by page backwards, as a service limits the size of
-- pages.
local function read_archive(ctx, room, n)
  local newest_first, before = {}, nil
  while #newest_first < n do
    local page, err = room:history { max = math.min(n - #newest_first, MOST_PAGE), before = before,
      timeout = ctx.timeout }
    if not page then return nil, err end
    for i = #page, 1, -1 do newest_first[#newest_first + 1] = page[i] end
    if page.complete or not page.first or page.first == before then break end
    before = page.first
  end
  local out = {}
  for i = math.min(n, #newest_first), 1, -1 do out[#out + 1] = newest_first[i] end
  return out
end

function words.history(ctx)
  need(ctx, 2, "ROOM")
  local n = ctx.opts.count or HISTORY
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local is_archived = has_archive(ctx, conn, ctx.args[2])
  return inside(ctx, { history = is_archived and 0 or n }, function(room)
    if is_archived then
      local list, why = read_archive(ctx, room, n)
      for _, m in ipairs(list or {}) do rooms.show(ctx, room, m) end
      return list and 0, why
    end
    room:on("message", function(m)
      if m.history then rooms.show(ctx, room, m) end
    end)
    require "xmpp".sleep(0) -- held back events are emitted in the next turn
    return 0
  end)
end

function words.invite(ctx)
  need(ctx, 3, "ROOM JID [REASON]")
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local id, why = require "xmpp.muc".invite(conn, ctx.args[2], ctx.args[3], ctx.args[4])
  if not id then return nil, why end
  local ok, lost = conn:flush(ctx.timeout)
  if not ok then return nil, lost end
  return 0
end

-- A secret is not taken from the command's arguments, which everybody on the machine can read: VAR= asks for it.
local function read_private(ctx, field, text)
  if text ~= "" then
    exit.raise("usage", "secret", ("%s is a secret, and everybody on this machine can read the arguments of a "
      .. "command: write '%s=' to be asked for it"):format(field.var, field.var))
  end
  local room = tostring(rooms.address(ctx.args[2]))
  local word = rooms.secret(ctx, room)
  if word then return word end
  exit.raise("config", "no-password", ("there is no terminal to ask for %s at: set password-command or password-file "
    .. "in a section [room %s]"):format(field.var, room))
end

local function answers(ctx, form)
  local out, fields, known = {}, {}, {}
  for _, field in ipairs(form.fields) do
    if field.var then fields[field.var], known[field.var] = field, true end
  end
  for i = 3, #ctx.args do
    local var, text = forms.split(ctx.args[i])
    if not fields[var] then
      exit.raise("input", "bad-value", ("the room has no field '%s'; did you mean '%s'?"):format(escape.line(var),
        tostring(require "xmpp.nearest"(var:sub(1, 60), known))))
    end
    local is_secret = fields[var].kind == "text-private"
    if is_secret then out[var] = read_private(ctx, fields[var], text)
    else out[var] = forms.read(fields[var], text) end
  end
  return out
end

function words.config(ctx)
  return inside(ctx, nil, function(room)
    local form, err = room:config()
    if not form then return nil, err end
    if ctx.args[3] then
      local ok, why = room:config(answers(ctx, form))
      return ok and 0, why
    end
    for _, field in ipairs(form.fields) do
      if forms.is_asked(field) then forms.show(ctx, field, form.values[field.var]) end
    end
    return 0
  end)
end

function M.run(ctx) return words[ctx.args[1]](ctx) end

return M
