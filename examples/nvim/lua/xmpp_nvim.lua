-- A chat in Neovim: a window with contacts and rooms, and a buffer for each, whose last line is written and sent.
--
--   vim.g.xmpp = { jid = "me@example.net", password = "..." }    -- further fields are connect_client's options
--   :Xmpp connect
--   :Xmpp join tea@rooms.example.net
--
-- In a room <Tab> completes nicks, and a message with your nick notifies you. Put this directory (examples/nvim) into
-- 'runtimepath', and the library where LuaJIT looks (`make install LUA=luajit`). In a clone, after `make LUA=luajit`:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" nvim --cmd "set rtp+=examples/nvim"
--
-- If no password is set you are asked for it. The library runs on Neovim's own loop (xmpp.loop.uv): only coroutines
-- wait for the network, never Neovim itself, and a callback may call any function of Neovim's.

local xmpp = require "xmpp"
local caps = require "xmpp.caps"
local chat = require "xmpp.chat"
local ext = require "xmpp.ext"
local info = require "xmpp.info"
local muc = require "xmpp.muc"
local presence = require "xmpp.presence"
local roster = require "xmpp.roster"
local windows = require "xmpp_nvim.windows"

local M = {}

local HISTORY = 20 -- how many old messages of a room are shown on entering it

local conn -- nil: not connected
local chats, contacts -- the connection's extensions chat and roster

local function notify(text, level)
  vim.notify("Xmpp: " .. text, vim.log.levels[level or "INFO"])
end

local function bare(jid)
  local j = jid and xmpp.jid(jid)
  return j and tostring(j:bare())
end

-- People

-- What a contact shows, at the resource with the highest priority.
local function show_of(jid)
  local best
  for _, p in pairs(conn and conn:state() ~= "closed" and presence.of(conn, jid) or {}) do
    if not best or (p.priority or 0) > (best.priority or 0) then best = p end
  end
  return best and (best.show or "available")
end

local function say(talk, text)
  if not conn then return notify("not connected", "ERROR") end
  local id, err = chats:send(talk.jid, text)
  if not id then return notify(tostring(err), "ERROR") end
  windows.append(talk, conn:jid().localpart, text)
end

local function on_message(m)
  local talk, name = windows.talk(m.peer, say), windows.name_of(m.peer)
  if m.direction == "out" then return windows.append(talk, conn:jid().localpart, m.text, m.stamp) end
  windows.append(talk, name, m.text, m.stamp)
  if windows.count(talk) then notify(("%s: %s"):format(name, m.text)) end
end

local function on_error(err, peer)
  if peer then notify(("to %s: %s"):format(windows.name_of(peer), tostring(err)), "ERROR") end
end

local function use_roster(c)
  local r = roster.use(c)
  contacts = r
  local function learn(item)
    windows.contacts[item.jid] = item.name or ""
    windows.draw()
  end
  r:on("added", learn)
  r:on("changed", learn)
  r:on("removed", function(item)
    windows.contacts[item.jid] = nil
    windows.draw()
  end)
  r:on("fetched", function(items)
    windows.contacts = {}
    for jid, item in pairs(items) do windows.contacts[jid] = item.name or "" end
    windows.draw()
  end)
  r:on("presence", windows.draw)
  r:on("request", function(jid) notify(("%s asks to see when you are there: :Xmpp accept %s"):format(jid, jid)) end)
end

function M.chat(jid)
  jid = bare(jid)
  if not jid then return notify("chat with whom? Give a JID", "ERROR") end
  windows.show(windows.talk(jid, say))
end

function M.accept(jid)
  if not conn then return notify("not connected", "ERROR") end
  if not bare(jid) then return notify("accept whom? Give a JID", "ERROR") end
  xmpp.spawn(function()
    local ok, err = contacts:approve(jid)
    if not ok then notify(tostring(err), "ERROR") end
  end)
end

-- Rooms

-- A message to the room is shown when the room sends it back.
local function say_in_room(talk, text)
  if not talk.room then return notify("not in " .. talk.jid, "ERROR") end
  local id, err = talk.room:say(text)
  if not id then notify(tostring(err), "ERROR") end
end

local function nicks_of(talk)
  local nicks = {}
  for nick in pairs(talk.room and talk.room.occupants or {}) do
    if nick ~= talk.room.nick then nicks[#nicks + 1] = nick end
  end
  return nicks
end

local function on_room_message(talk, room, m)
  windows.append(talk, m.nick, m.text, m.stamp)
  if m.own or m.history or not windows.count(talk) then return end
  if m.text:find(room.nick, 1, true) then notify(("%s in %s: %s"):format(m.nick, windows.name_of(talk.jid), m.text)) end
end

local function on_whisper(talk, m)
  windows.append(talk, m.nick .. ", to you alone", m.text, m.stamp)
  if windows.count(talk) then notify(("%s in %s: %s"):format(m.nick, windows.name_of(talk.jid), m.text)) end
end

local function on_removed(talk, why)
  windows.append(talk, nil, ("You are out of the room%s%s"):format(why.reason and ": " .. why.reason or "",
    why.returns and ", and will come back" or ""))
  if not why.returns then talk.room, talk.nick = nil, nil end
end

local function watch(talk, room)
  local function tells(event, text)
    room:on(event, function(o, more)
      windows.append(talk, nil, text:format(o.nick, type(more) == "string" and more or ""))
    end)
  end
  tells("join", "%s has come")
  tells("leave", "%s has left")
  tells("nick", "%s was %s")
  room:on("message", function(m) on_room_message(talk, room, m) end)
  room:on("private", function(m) on_whisper(talk, m) end)
  room:on("subject", function(subject) windows.append(talk, nil, "The subject: " .. (subject or "none")) end)
  room:on("removed", function(why) on_removed(talk, why) end)
  room:on("rejoined", function() windows.append(talk, nil, "You are in the room again") end)
  room:on("error", function(err) notify(("in %s: %s"):format(talk.jid, tostring(err)), "ERROR") end)
end

-- Enters a room. Must run in a coroutine, as it waits.
local function enter(talk)
  local room, err = muc.join(conn, talk.jid, talk.nick, { history = HISTORY, create = "default" })
  if not room then
    talk.nick = nil
    return windows.append(talk, nil, "You can't come in: " .. tostring(err))
  end
  talk.room, talk.nick = room, room.nick
  watch(talk, room)
  local n = #nicks_of(talk)
  windows.append(talk, nil, ("You are in the room as %s, with %d other%s"):format(room.nick, n, n == 1 and "" or "s"))
end

local function room_talk(jid)
  local talk
  talk = windows.talk(jid, say_in_room, function() return nicks_of(talk) end)
  talk.is_room = true
  return talk
end

function M.join(jid, nick)
  jid = bare(jid)
  if not conn then return notify("not connected", "ERROR") end
  if not jid then return notify("join which room? Give its address", "ERROR") end
  local talk = room_talk(jid)
  windows.show(talk)
  if talk.nick then return end -- we are in it already, or about to enter
  talk.nick = nick or conn:jid().localpart
  xmpp.spawn(enter, talk)
end

--- Leaves the room `jid`, or else the one whose buffer is the current one.
function M.leave(jid)
  local here = vim.api.nvim_get_current_buf()
  for _, talk in pairs(windows.talks) do
    if talk.room and (talk.jid == bare(jid) or (not jid and talk.buffer == here)) then
      xmpp.spawn(talk.room.leave, talk.room)
      talk.room, talk.nick = nil, nil
      return windows.append(talk, nil, "You have left the room")
    end
  end
  notify("leave which room? Give its address", "ERROR")
end

-- Connecting

-- An extension that cleans up when the connection has ended.
local Closing = { name = "nvim" }
function Closing.stop(_, c)
  if conn == c then conn = nil end
  for _, talk in pairs(windows.talks) do talk.room = nil end
  windows.draw()
end

local function use_all(c)
  info.use(c, { version = { name = "xmpp_nvim", version = xmpp._VERSION } })
  ext.use(c, caps)
  use_roster(c)
  chats = chat.use(c)
  chats:on("message", on_message)
  chats:on("error", on_error)
  ext.use(c, Closing)
end

-- Connects. Must run in a coroutine, as it waits.
local function log_in(account)
  local opts = vim.deepcopy(account)
  opts.jid, opts.password = nil, nil
  local c, err = xmpp.connect_client(account.jid, account.password, opts)
  if not c then return notify(tostring(err), "ERROR") end
  conn = c
  c:on("state", function(state, why)
    windows.draw()
    if why then notify(("%s (%s)"):format(state, tostring(why)), "WARN") end
  end)
  c:set_handler() -- any request that nobody here answers is refused
  use_all(c)
  if not ext.ready(c) or not presence.set(c, {}) then return end
  notify("connected as " .. tostring(c:jid()))
  for _, talk in pairs(windows.talks) do
    if talk.nick then xmpp.spawn(enter, talk) end -- entered with an earlier connection
  end
end

function M.connect(jid)
  if conn then return notify("connected already, as " .. tostring(conn:jid())) end
  local account = vim.tbl_extend("force", { reconnect = true }, vim.g.xmpp or {}, jid and { jid = jid } or {})
  if not account.jid then return notify("connect as whom? Give a JID, or set g:xmpp", "ERROR") end
  if not account.password then account.password = vim.fn.inputsecret("Password of " .. account.jid .. ": ") end
  xmpp.spawn(log_in, account)
end

-- Ends the stream properly. Outside a coroutine this runs the library's loop meanwhile, for `seconds` at most.
local function stop(seconds)
  local c = conn
  conn = nil
  if c then c:stop(seconds) end
end

function M.disconnect() xmpp.spawn(stop, 5) end

function M.roster()
  windows.show_list(function(jid)
    local talk = windows.talks[jid]
    if talk then return windows.show(windows.talk(jid)) end
    M.chat(jid)
  end)
end

function M.complete(lead)
  return vim.tbl_filter(function(jid) return vim.startswith(jid, lead) end, windows.listed())
end

windows.start(show_of)
require("xmpp.loop.uv").start()
xmpp.on_error(function(text) notify(text, "ERROR") end)
vim.api.nvim_create_autocmd("VimLeavePre", { group = vim.api.nvim_create_augroup("Xmpp", {}),
  callback = function() stop(1) end })

return M
