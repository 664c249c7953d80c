-- What the user sees: the window with contacts and rooms, and a buffer for each conversation, whose last line is
-- written and sent. Required by xmpp_nvim alone, which does the talking to the server.

local api = vim.api

local M = {
  talks = {}, -- bare JID -> { jid, name = f(), sign = f(), say = f(text), nicks = f(), buffer, unread }
  contacts = {}, -- bare JID -> name: the contacts, which are listed even without a conversation
}

local PROMPT = "> "
local SIGN = { available = "●", chat = "●", away = "○", xa = "○", dnd = "⊘" }

local list_buffer
local has_focus = true

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

-- Text that others have chosen, on one line.
local function plain(text) return (text:gsub("%c", " ")) end

-- The list

--- The sign for a contact who shows that; nil: he is offline.
function M.sign(show) return show and (SIGN[show] or SIGN.available) or " " end

function M.name_of(jid)
  local name = M.contacts[jid]
  return plain(name and name ~= "" and name or jid:match "^[^@]+")
end

--- All contacts sorted by name, followed by the rooms.
---@return string[]
function M.listed()
  local all, key = {}, {}
  local function add(jid)
    if key[jid] then return end
    local talk = M.talks[jid]
    key[jid] = (talk and talk.is_room and "2" or "1") .. M.name_of(jid) .. "\0" .. jid
    all[#all + 1] = jid
  end
  for jid in pairs(M.contacts) do add(jid) end
  for jid in pairs(M.talks) do add(jid) end
  table.sort(all, function(a, b) return key[a] < key[b] end)
  return all
end

local show_of = function() end

local function line_of(jid)
  local talk = M.talks[jid]
  local sign = talk and talk.is_room and "#" or M.sign(show_of(jid))
  local unread = talk and talk.unread or 0
  return sign .. " " .. M.name_of(jid) .. (unread > 0 and (" (%d)"):format(unread) or "")
end

function M.draw()
  if not is_there(list_buffer) then return end
  local lines = vim.tbl_map(line_of, M.listed())
  vim.bo[list_buffer].modifiable = true
  api.nvim_buf_set_lines(list_buffer, 0, -1, false, lines)
  vim.bo[list_buffer].modifiable = false
end

--- Shows the list. `open(jid)` is called for the line on which somebody presses Return.
function M.show_list(open)
  if not is_there(list_buffer) then
    list_buffer = new_buffer("xmpp://roster", "nofile")
    vim.keymap.set("n", "<CR>", function() open(M.listed()[vim.fn.line "."]) end, { buffer = list_buffer })
  end
  show_in("topleft 24vsplit", list_buffer)
  vim.wo.winfixwidth, vim.wo.number, vim.wo.wrap = true, false, false
  M.draw()
end

-- Conversations

-- Inserts lines above the one that is being written.
local function put(talk, text, at)
  local lines = vim.split(os.date("%H:%M ", at) .. text, "\n", { plain = true })
  vim.fn.appendbufline(talk.buffer, api.nvim_buf_line_count(talk.buffer) - 1, lines)
  vim.bo[talk.buffer].modified = false
end

-- Removes the line that was entered, which the prompt buffer has kept: what is sent is inserted above by put.
local function on_line(talk, text)
  local last = api.nvim_buf_line_count(talk.buffer)
  api.nvim_buf_set_lines(talk.buffer, last - 2, last - 1, false, {})
  if text ~= "" then talk.say(text) end
end

-- The nicks that complete the text before the cursor, and where that text begins. A nick may contain spaces.
local function candidates(nicks, before)
  for at = #PROMPT + 1, #before do
    local lead = before:sub(at):lower()
    local found = (at == #PROMPT + 1 or before:sub(at - 1, at - 1) == " ") and vim.tbl_filter(function(nick)
      return vim.startswith(nick:lower(), lead)
    end, nicks) or {}
    if #found > 0 then return found, at end
  end
  return {}
end

-- Completes the nick before the cursor, or shows a menu if there are several.
local function complete_nick(talk)
  local row, column = unpack(api.nvim_win_get_cursor(0))
  local before = api.nvim_get_current_line():sub(1, column)
  local nicks, at = candidates(talk.nicks(), before)
  local behind = at == #PROMPT + 1 and ": " or " "
  if #nicks > 1 then
    table.sort(nicks)
    return vim.fn.complete(at, vim.tbl_map(function(nick) return nick .. behind end, nicks))
  end
  if not nicks[1] then return end
  local text = nicks[1] .. behind
  api.nvim_buf_set_text(talk.buffer, row - 1, at - 1, row - 1, column, { text })
  api.nvim_win_set_cursor(0, { row, at - 1 + #text })
end

local function open_buffer(talk)
  if is_there(talk.buffer) then return end
  local buffer = new_buffer("xmpp://" .. talk.jid, "prompt")
  talk.buffer = buffer
  vim.fn.prompt_setprompt(buffer, PROMPT)
  vim.fn.prompt_setcallback(buffer, function(text) on_line(talk, text) end)
  vim.bo[buffer].bufhidden = "hide"
  vim.keymap.set("i", "<Tab>", function() complete_nick(talk) end, { buffer = buffer })
end

--- The conversation with that address; say(talk, text) gets each line entered; nicks() returns what <Tab> completes.
---@return table talk
function M.talk(jid, say, nicks)
  local talk = M.talks[jid]
  if not talk then
    talk = { jid = jid, unread = 0, nicks = nicks or function() return { M.name_of(jid) } end }
    function talk.say(text) say(talk, text) end
    M.talks[jid] = talk
  end
  open_buffer(talk)
  return talk
end

function M.mark_read(talk)
  talk.unread = 0
  M.draw()
end

function M.show(talk)
  if api.nvim_get_current_buf() == list_buffer then vim.cmd "wincmd p" end
  show_in(api.nvim_get_current_buf() == list_buffer and "vsplit" or "split", talk.buffer)
  M.mark_read(talk)
end

--- Appends what somebody has said, or (who nil) what has happened; at: seconds since 1970, nil: now.
function M.append(talk, who, text, at)
  put(talk, who and ("<%s> %s"):format(plain(who), text) or "* " .. plain(text), at)
end

--- Counts a new message as unread and returns true, unless the user is looking at the conversation.
---@return boolean
function M.count(talk)
  if has_focus and talk.buffer == api.nvim_get_current_buf() then return false end
  talk.unread = talk.unread + 1
  M.draw()
  return true
end

--- Sets how contacts are drawn: show(jid) returns what a contact shows, nil: he is offline.
function M.start(show)
  show_of = show
  local group = api.nvim_create_augroup("XmppWindows", {})
  local function on(events, callback) api.nvim_create_autocmd(events, { group = group, callback = callback }) end
  on("FocusGained", function() has_focus = true end)
  on("FocusLost", function() has_focus = false end)
  on("BufEnter", function(event)
    for _, talk in pairs(M.talks) do
      if talk.buffer == event.buf then M.mark_read(talk) end
    end
  end)
end

return M
