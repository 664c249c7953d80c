-- bot: commands that people give to a bot in rooms, in private, and as ad-hoc commands, and the functions that answer.
--
--   local b = bot.use(conn, { admins = { "anna@example.net" }, rooms = { ["tea@rooms.example.net"] = "kettle" } })
--   b:command("roll", { args = "<sides:int=6>", help = "throws a die" }, function(ctx, args)
--     return "a " .. math.random(args.sides)
--   end)
--   b:command("stop", { allow = "admin" }, function(ctx) ctx:reply "bye" xmpp.quit() end)
--
-- "!help" is provided automatically. If a function returns a text, that is the reply; see bot/args.lua for the
-- arguments of a command, bot/context.lua for `ctx`.
--
-- Who is trusted: a person is identified by the `from` that the server has verified; in a room by the real address
-- that the room has put into the occupant's presence, and only in rooms that were given to the bot; never by a nick.
-- What is answered: new commands of people. Not messages that are delayed, or from a history, or carbons, or
-- encrypted, or our own, or another bot's (whose presence says client/bot).
--
-- Events: "room" (room): one of opts.rooms was joined; "command" (ctx, args): a command is about to be run; "error"
-- (err, room): one of opts.rooms can't be joined.

local args = require "xmpp.bot.args"
local caps = require "xmpp.caps"
local chat = require "xmpp.chat"
local command = require "xmpp.command"
local contexts = require "xmpp.bot.context"
local core = require "xmpp.load"
local disco = require "xmpp.disco"
local entries = require "xmpp.bot.entry"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local guests = require "xmpp.bot.guests"
local muc = require "xmpp.muc"
local xmpp = require "xmpp"

--- What bot.use returns.
---@class xmpp.Bot
---@field prefix string
---@field adhoc boolean
---@field names string[] of its commands, sorted
---@field commands table<string, { name: string, help: string?, declared: string?, rooms: boolean, private: boolean }>
local B = {}

local M = { name = "bot", needs = { chat, muc, caps }, events = { "room", "command", "error" }, methods = B }

local RATE = 10 -- commands a minute of one person
local LONGEST = 4096 -- bytes of a message with a command

-- The private state: conn (weak), admins, wanted (rooms to be joined), rooms (handle -> functions that end the
-- listeners), guests, off.
local function own_of(st) return getmetatable(st).own end

local function conn_of(st)
  local conn = own_of(st).conn[1]
  return conn and conn:state() ~= "closed" and conn or nil
end

--- Tells whether an address is one of the bot's admins.
---@param jid string|xmpp.Jid|nil
---@return boolean
function B.is_admin(st, jid)
  local address = jid and core.jid(jid)
  return address ~= nil and own_of(st).admins[tostring(address:bare())] == true
end

-- Running

local function report(entry, what) guard.report(("command '%s'"):format(entry.name), what) end

-- Runs a command. What it returns is sent, if it is a text.
local function run(st, entry, ctx, values)
  st:emit("command", ctx, values)
  local ok, said = guard.call(entry.f, ctx, values)
  if not ok then
    report(entry, said)
    said = "Something went wrong."
  end
  if type(said) == "string" and said ~= "" then ctx:reply(said) end
end

local function obey(st, entry, ctx, text)
  ctx.command, ctx.admin = entry.name, st:is_admin(ctx.who)
  if not entries.may(st, entry, ctx) then return ctx:reply "That is not for you." end
  local values, why = args.read(entry.args, text)
  if not values then return ctx:reply(("%s. It is: %s"):format(why, entries.usage(st, entry))) end
  run(st, entry, ctx, values)
end

-- The name of a command, and its arguments.
local function read(st, text)
  if not text or #text > LONGEST or text:sub(1, #st.prefix) ~= st.prefix then return nil end
  return text:sub(#st.prefix + 1):match "^([%w_-]+)%f[%s%z](.*)$"
end

-- An unknown command is ignored in a room: it may be meant for another bot.
local function hear(st, ctx)
  local m = ctx.message
  if m.delayed or m.history or m.carbon or m.own or m.encrypted or m.direction ~= "in" then return end
  local name, rest = read(st, m.text)
  local entry = name and st.commands[name]
  if entry and not entries.is_heard(entry, ctx.kind) then entry = nil end
  if not name or not entry and ctx.kind == "room" then return end
  local counted = guests.count(own_of(st).guests, ctx)
  local conn = conn_of(st)
  if counted == false or not conn or guests.is_bot(conn, m.from) then return end
  if counted == nil then return ctx:reply "That is too much at once. Try again in a minute." end
  if entry then return obey(st, entry, ctx, rest) end
  ctx:reply(("There is no such command; %shelp lists them all."):format(st.prefix))
end

-- Ad-hoc

local function adhoc_context(st, entry, from, lines)
  local ctx = contexts.adhoc(from, lines)
  ctx.command, ctx.admin = entry.name, st:is_admin(ctx.who)
  return ctx
end

-- What the command says at the end of the ad-hoc session.
local function converse(st, entry, dialog)
  local lines, values, why = {}, {}
  local ctx = adhoc_context(st, entry, dialog.from, lines)
  if not guests.count(own_of(st).guests, ctx) then return nil, "wait", "policy-violation", "too many commands" end
  if not entry.args or entry.args[1] then
    values = dialog:ask { title = entry.help or entry.name, fields = args.fields(entry.args) }
    if not values then return end
    values, why = args.from_form(entry.args, values)
    if not values then return nil, "modify", "bad-request", why end
  end
  run(st, entry, ctx, values)
  return lines[1] and table.concat(lines, "\n") or true
end

local function serve(st, conn, entry)
  return command.serve(conn, entry.name, { name = entry.help or entry.name, allow = function(from)
    local here = conn_of(st)
    local ctx = adhoc_context(st, entry, from, {})
    return here ~= nil and (disco.allows(here, from) or ctx.admin) and entries.may(st, entry, ctx)
  end }, function(dialog) return converse(st, entry, dialog) end)
end

-- Defining commands

--- Calls `f(ctx, args)` when somebody gives that command. A text that it returns is the reply.
---@param name string letters, digits, _ and -
---@param opts? table args: the arguments, such as "<sides:int=6> [times:int]" (without it args is the list of words,
--- and args.text all of it); help: a line for people; allow: "all" (the default), "admin", or a function of ctx that
--- returns true for those who may use it; rooms: in rooms (true); private: in private (true); adhoc: as an ad-hoc
--- command as well (as the bot)
---@param f fun(ctx: xmpp.BotContext, args: table<string, any>): string?
---@return fun(): boolean off removes the command; returns true the first time
function B.command(st, name, opts, f)
  local allow, rest = entries.check(st, name, opts, f)
  local entry = entries.put(st, name, allow, rest, f)
  local conn, adhoc = conn_of(st), rest.adhoc
  if adhoc == nil then adhoc = st.adhoc end
  if adhoc and conn then
    local ok, off = pcall(serve, st, conn, entry)
    if not ok then
      entries.take_away(st, entry)
      error(off, 2)
    end
    entry.off = off
  end
  return function() return entries.take_away(st, entry) end
end

-- Rooms

--- Answers commands in a room that the program has joined.
---@param room xmpp.Room
---@return fun(): boolean off ends that; returns true the first time
function B.room(st, room)
  guard.check_type(room, "table", 1, "room", 2)
  local own = own_of(st)
  local function off()
    local was = own.rooms[room]
    own.rooms[room] = nil
    for _, f in ipairs(was or {}) do f() end
    return was ~= nil
  end
  if own.rooms[room] then return off end
  own.rooms[room] = {
    room:on("message", function(m) hear(st, contexts.in_room(room, m)) end),
    room:on("private", function(m) hear(st, contexts.private(room, m)) end),
    room:on("removed", function(why)
      if not why.returns then off() end
    end),
    room:on("closed", off),
  }
  return off
end

local function enter(st, conn, jid, how)
  local opts = type(how) == "table" and how or { nick = how }
  local nick, join = opts.nick, {}
  for key, v in pairs(opts) do
    if key ~= "nick" then join[key] = v end
  end
  local room, err = muc.join(conn, jid, nick or conn:jid().localpart, join)
  if not room then return st:emit("error", err, jid) end
  own_of(st).wanted[jid] = nil -- xmpp.muc rejoins it from now on
  st:room(room)
  st:emit("room", room)
end

-- Joins the rooms that were not joined yet.
function M.session(st, conn)
  local ends = {}
  for jid, how in pairs(own_of(st).wanted) do ends[#ends + 1] = xmpp.spawn(enter, st, conn, jid, how) end
  for _, ended in ipairs(ends) do ended:wait() end
end

-- The extension

local OPTIONS = { prefix = "string", admins = "table", rooms = "table", rate = "number", adhoc = "boolean" }

local function check_options(opts)
  for name, v in pairs(opts) do
    local kind = OPTIONS[name]
    if not kind then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
    if type(v) ~= kind or v == "" or kind == "number" and v < 1 then
      error(("bad option '%s' (%s expected, got %s)"):format(name, kind, core.shown(tostring(v))), 0)
    end
  end
end

-- Copies a table of addresses, with prepared bare addresses as keys.
local function by_address(t, what)
  local out = {}
  for key, v in pairs(t or {}) do
    local jid, err = core.jid(type(key) == "number" and v or key)
    if not jid or jid.resourcepart then
      error(("bad option '%s' (%s)"):format(what, err and err.text or "a bare address expected"), 0)
    end
    if type(key) == "number" then v = true end
    out[tostring(jid)] = v or nil
  end
  return out
end

function M.start(st, conn, opts)
  check_options(opts)
  st.prefix, st.adhoc, st.commands, st.names = opts.prefix or "!", opts.adhoc == true, {}, {}
  local own = { conn = setmetatable({ conn }, { __mode = "v" }), rooms = {}, guests = guests.new(opts.rate or RATE) }
  getmetatable(st).own = own
  own.admins, own.wanted = by_address(opts.admins, "admins"), by_address(opts.rooms, "rooms")
  for jid, how in pairs(own.wanted) do
    if how == true then own.wanted[jid] = {} end
  end
  local c = ext.of(conn, chat)
  own.off = c:on("message", function(m) hear(st, contexts.chat(c, m)) end)
  entries.put(st, "help", "all", { args = "[command]", help = "lists the commands" },
    function(ctx, a) return entries.help(st, ctx, a.command) end).made = true
end

function M.stop(st)
  local own, list = own_of(st), {}
  own.off()
  for room in pairs(own.rooms) do list[#list + 1] = own.rooms[room] end
  own.rooms = {}
  for _, offs in ipairs(list) do
    for _, off in ipairs(offs) do off() end
  end
  for _, entry in pairs(st.commands) do
    if entry.off then entry.off() end
  end
  st.commands, st.names = {}, {}
end

--- Begins to answer commands: in private, in opts.rooms, and in rooms that are given to b:room. The program has to set
--- our presence. A program with other options for xmpp.chat uses that first.
---@param conn xmpp.Conn a client's
---@param opts? table prefix: of commands ("!"); admins: bare addresses, as a list or as keys; rooms: addresses to
--- join, as a list, or each with a nick or with the options of muc.join and `nick` (our account's localpart); rate:
--- commands a minute of one person (10; in a room that shows neither addresses nor occupant-ids: of everybody
--- together); adhoc: all are ad-hoc commands as well (false)
---@return xmpp.Bot? b
---@return xmpp.Error?
function M.use(conn, opts)
  local st, err = ext.use(conn, M, opts, 2)
  return st, err
end

return M
