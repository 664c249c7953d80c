-- A chat in Neovim: a roster window, and for each contact a buffer whose last line is written and sent.
--
--   vim.g.xmpp = { jid = "me@example.net", password = "..." }    -- further fields are connect_client's options
--   :Xmpp connect
--
-- Put this folder (examples/nvim) into 'runtimepath', and the library where LuaJIT looks (`make install LUA=luajit`).
-- In a clone, after `make LUA=luajit`:
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="build/luajit/?.so;;" nvim --cmd "set rtp+=examples/nvim"
--
-- Without a password it is asked for. The library lives on Neovim's own loop (xmpp.loop.uv), so nothing here waits for
-- the network but coroutines, and a callback may call any function of Neovim's.

local xmpp = require "xmpp"
local xexpr = xmpp.xexpr
local api = vim.api

local M = {}

local ROSTER = "jabber:iq:roster"
local PROMPT = "> "

local conn -- nil: not connected
local contacts = {} -- bare JID -> { name = string?, resources = { [full JID] = show }, unread = count }
local chats = {} -- bare JID -> buffer
local roster_buffer
local has_focus = true

local function notify(text, level)
  vim.notify("Xmpp: " .. text, vim.log.levels[level or "INFO"])
end

local function bare(jid)
  local j = jid and xmpp.jid(jid)
  return j and tostring(j:bare())
end

local function contact(jid)
  contacts[jid] = contacts[jid] or { resources = {}, unread = 0 }
  return contacts[jid]
end

local function name_of(jid)
  return contacts[jid] and contacts[jid].name or jid:match "^[^@]+"
end

-- Buffers

local function is_there(buffer) return buffer ~= nil and api.nvim_buf_is_valid(buffer) end

local function new_buffer(name, kind)
  local buffer = api.nvim_create_buf(false, true)
  api.nvim_buf_set_name(buffer, name)
  vim.bo[buffer].buftype = kind
  vim.bo[buffer].swapfile = false
  return buffer
end

local function show_in(window_command, buffer)
  local window = vim.fn.bufwinid(buffer)
  if window ~= -1 then return api.nvim_set_current_win(window) end
  vim.cmd(window_command)
  api.nvim_win_set_buf(0, buffer)
end

-- The roster window

local SIGN = { available = "●", chat = "●", away = "○", xa = "○", dnd = "⊘" }

local function presence_of(c)
  local _, show = next(c.resources)
  return show and (SIGN[show] or SIGN.available) or " "
end

local function sorted()
  local all = {}
  for jid in pairs(contacts) do all[#all + 1] = jid end
  table.sort(all, function(a, b) return name_of(a) < name_of(b) end)
  return all
end

local function draw_roster()
  if not is_there(roster_buffer) then return end
  local lines = {}
  for i, jid in ipairs(sorted()) do
    local c = contacts[jid]
    lines[i] = presence_of(c) .. " " .. name_of(jid) .. (c.unread > 0 and (" (%d)"):format(c.unread) or "")
  end
  vim.bo[roster_buffer].modifiable = true
  api.nvim_buf_set_lines(roster_buffer, 0, -1, false, lines)
  vim.bo[roster_buffer].modifiable = false
end

function M.roster()
  if not is_there(roster_buffer) then
    roster_buffer = new_buffer("xmpp://roster", "nofile")
    vim.keymap.set("n", "<CR>", function() M.chat(sorted()[vim.fn.line "."]) end, { buffer = roster_buffer })
  end
  show_in("topleft 24vsplit", roster_buffer)
  vim.wo.winfixwidth, vim.wo.number, vim.wo.wrap = true, false, false
  draw_roster()
end

-- The chat buffers

-- Lines above the one that is being written.
local function append(buffer, who, text)
  local lines = vim.split(("%s <%s> %s"):format(os.date "%H:%M", who, text), "\n", { plain = true })
  vim.fn.appendbufline(buffer, api.nvim_buf_line_count(buffer) - 1, lines)
  vim.bo[buffer].modified = false
end

-- The line that was written, which the prompt has left behind, becomes a line of the chat.
local function say(buffer, jid, text)
  local last = api.nvim_buf_line_count(buffer)
  api.nvim_buf_set_lines(buffer, last - 2, last - 1, false, {})
  if text == "" then return end
  if not conn then return notify("not connected", "ERROR") end
  local ok, err = conn:send { "message", { to = jid, type = "chat" }, { "body", text } }
  if not ok then return notify(tostring(err), "ERROR") end
  append(buffer, conn:jid().localpart, text)
end

local function chat_buffer(jid)
  if is_there(chats[jid]) then return chats[jid] end
  local buffer = new_buffer("xmpp://" .. jid, "prompt")
  vim.fn.prompt_setprompt(buffer, PROMPT)
  vim.fn.prompt_setcallback(buffer, function(text) say(buffer, jid, text) end)
  vim.bo[buffer].bufhidden = "hide"
  chats[jid] = buffer
  return buffer
end

local function mark_read(jid)
  contact(jid).unread = 0
  draw_roster()
end

function M.chat(jid)
  jid = bare(jid)
  if not jid then return notify("chat with whom? Give a JID", "ERROR") end
  if api.nvim_get_current_buf() == roster_buffer then vim.cmd "wincmd p" end
  show_in(api.nvim_get_current_buf() == roster_buffer and "vsplit" or "split", chat_buffer(jid))
  mark_read(jid)
end

-- What comes in

local function is_seen(jid) return has_focus and chats[jid] == api.nvim_get_current_buf() end

local function on_message(message)
  local jid, text = bare(message[2].from), xexpr.text(message, "body")
  if not jid or not text or xexpr.is_error(message) then return end
  append(chat_buffer(jid), name_of(jid), text)
  if is_seen(jid) then return end
  local c = contact(jid)
  c.unread = c.unread + 1
  draw_roster()
  notify(("%s: %s"):format(name_of(jid), text))
end

local function on_presence(presence, c)
  local jid, kind = bare(presence[2].from), presence[2].type
  if not jid or (kind and kind ~= "unavailable") or jid == tostring(c:jid():bare()) then return end
  local show = xexpr.text(presence, "show")
  contact(jid).resources[presence[2].from] = not kind and (show or "available") or nil
  draw_roster()
end

local function learn(query)
  for item in xexpr.children(query, "item") do
    local jid = bare(item[2].jid)
    if jid and item[2].subscription == "remove" then
      contacts[jid] = nil
    elseif jid then
      contact(jid).name = item[2].name
    end
  end
  draw_roster()
end

-- RFC 6121 2.1.6: only our own account may change it.
local function on_roster_push(iq, c)
  if not xexpr.from_account(iq, c) then return end
  learn(xexpr.child(iq, "query", ROSTER))
  c:send(xexpr.reply(iq))
end

-- Connecting

local function forget_presence()
  for _, c in pairs(contacts) do c.resources = {} end
  draw_roster()
end

local function listen(c)
  c:on("state", function(state, err)
    if state == "closed" and conn == c then conn = nil end
    if state == "closed" then forget_presence() end
    if err then notify(("%s (%s)"):format(state, tostring(err)), "WARN") end
  end)
  c:on("session", function() c:send { "presence" } end) -- a new one knows nothing of us
  c:set_callback(on_message, { name = "message" })
  c:set_callback(on_presence, { name = "presence" })
  c:set_callback(on_roster_push, { name = "iq", type = "set", xmlns = ROSTER })
  c:set_handler()
end

-- In a coroutine: it waits.
local function log_in(account)
  local opts = vim.deepcopy(account)
  opts.jid, opts.password = nil, nil
  local c, err = xmpp.connect_client(account.jid, account.password, opts)
  if not c then return notify(tostring(err), "ERROR") end
  conn = c
  listen(c)
  local roster
  roster, err = c:send_await { "iq", { type = "get" }, { "query", { xmlns = ROSTER } } }
  if not roster then return notify(tostring(err), "ERROR") end
  if not xexpr.is_error(roster) then learn(xexpr.child(roster, "query", ROSTER)) end
  c:send { "presence" }
  notify("connected as " .. tostring(c:jid()))
end

function M.connect(jid)
  if conn then return notify("connected already, as " .. tostring(conn:jid())) end
  local account = vim.tbl_extend("force", { reconnect = true }, vim.g.xmpp or {}, jid and { jid = jid } or {})
  if not account.jid then return notify("connect as whom? Give a JID, or set g:xmpp", "ERROR") end
  if not account.password then account.password = vim.fn.inputsecret("Password of " .. account.jid .. ": ") end
  xmpp.spawn(log_in, account)
end

-- Ends the stream in order. Outside of a coroutine that turns the library's loop, for `seconds` at most.
local function stop(seconds)
  local c = conn
  conn = nil
  if c then c:stop(seconds) end
end

function M.disconnect() xmpp.spawn(stop, 5) end

function M.complete(lead)
  return vim.tbl_filter(function(jid) return vim.startswith(jid, lead) end, sorted())
end

require("xmpp.loop.uv").start()
xmpp.on_error(function(text) notify(text, "ERROR") end)

local group = api.nvim_create_augroup("Xmpp", {})
local function on(events, callback) api.nvim_create_autocmd(events, { group = group, callback = callback }) end
on("FocusGained", function() has_focus = true end)
on("FocusLost", function() has_focus = false end)
on("VimLeavePre", function() stop(1) end)
on("BufEnter", function(event)
  for jid, buffer in pairs(chats) do
    if buffer == event.buf then mark_read(jid) end
  end
end)

return M
