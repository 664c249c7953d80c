-- The script that spec/nvim_spec.lua runs in Neovim: `nvim --headless -u NONE -c 'luafile spec/support/nvim_talk.lua'
-- -c 'qa!'`. It prints a line for each thing that it sees, and goes on when the server has sent something.

local api = vim.api
local xmpp

local function say(...) io.stdout:write(table.concat({ ... }, "\t"), "\n") io.stdout:flush() end

local function text_of(buffer) return table.concat(api.nvim_buf_get_lines(buffer, 0, -1, false), "\n") end

-- Types as a person at the keyboard would.
local function type_in(keys) api.nvim_feedkeys(api.nvim_replace_termcodes(keys, true, false, true), "xt", false) end

local function wait_until(what, seen)
  if not vim.wait(60000, seen, 10) then error("nothing came of: " .. what) end
end

local notes = {}
function vim.notify(text) notes[#notes + 1] = text end

local function wait_for_note(text)
  wait_until("a note " .. text, function() return table.concat(notes, "\n"):find(text, 1, true) end)
end

-- Times of day are replaced by TIME.
local function chat_of(buffer) return (text_of(buffer):gsub("%f[%d]%d%d:%d%d%f[ ]", "TIME")) end

local function wait_for_chat(buffer, text)
  wait_until("a chat with " .. text, function() return chat_of(buffer):find(text, 1, true) end)
end

local function talk()
  vim.cmd "set rtp+=examples/nvim"
  vim.cmd "runtime plugin/xmpp.lua"
  local env = os.getenv
  vim.g.xmpp = { jid = "alice@xmpp.test/nvim", password = "alicepw", host = env "TALK_HOST",
    port = tonumber(env "TALK_PORT"), ca_file = env "TALK_CA" }

  vim.cmd "Xmpp connect"
  type_in "iwritten meanwhile<Esc>"
  say("typed", text_of(0), #notes)
  wait_for_note "connected as alice@xmpp.test/nvim"
  say "connected"

  vim.cmd "Xmpp roster"
  local roster = api.nvim_get_current_buf()
  wait_until("Bob in the roster", function() return text_of(roster):find "Bob" end)
  say("roster", text_of(roster))
  vim.cmd "Xmpp chat bob@xmpp.test"
  local chat = api.nvim_get_current_buf()
  type_in "iHello, Bob<CR>"
  wait_for_chat(chat, "Hi")
  say("chat", (chat_of(chat):gsub("\n", "|")))
  say("notes", #notes)

  xmpp = require "xmpp"
  type_in "inot yet sent<Esc>"
  wait_until("the server to be stopped", function() return vim.loop.fs_stat(env "TALK_STOPPED") end)
  type_in "A, but now<CR>"
  type_in "iand on<Esc>"
  say("stopped", chat_of(chat):match "[^\n]*\n[^\n]*$")

  vim.cmd "wincmd w"
  wait_for_note "Bob: Are you there?"
  wait_until("what is unread", function() return text_of(roster):find "%(1%)" end)
  say("unread", text_of(roster), (chat_of(chat):match "[^\n]*\n[^\n]*$"))
  api.nvim_set_current_win(vim.fn.bufwinid(chat))
  vim.cmd "doautocmd BufEnter"
  say("read", text_of(roster))
  vim.cmd "doautocmd FocusLost"
  type_in "A<CR>"
  wait_for_note "Bob: away"
  say("notes", #notes)

  local fast
  xmpp.spawn(function()
    fast = { vim.in_fast_event() }
    xmpp.sleep(0)
    fast[2] = vim.in_fast_event()
  end)
  wait_until("a task", function() return fast and fast[2] ~= nil end)
  say("fast", tostring(fast[1]), tostring(fast[2]))
  local ok, why = pcall(xmpp.run)
  say("run", tostring(ok), (why:gsub("^.-: ", "")))

  wait_until("Bob to be there", function() return text_of(roster):find "● Bob" end)
  say "sees Bob"
  xmpp.on_error(nil) -- where messages go when the program takes none
  xmpp.after(0, function() error("over the screen\27[2J", 0) end)
  wait_for_note "over the screen"
  say("throws", (notes[#notes]:gsub("\n.*", "")))
  vim.cmd "Xmpp disconnect"
  wait_until("nobody to be there", function() return text_of(roster) == "  Bob (1)" end)
  type_in "Ato nobody<CR>"
  wait_for_note "not connected"
  vim.cmd "Xmpp connect"
  wait_until("another connection", function() return notes[#notes]:find "connected as" end)
  say("again", (text_of(chat):match "[^\n]*$"))

  vim.cmd "Xmpp join tea@conference.xmpp.test"
  local room = api.nvim_get_current_buf()
  wait_for_chat(room, "You are in the room")
  say("room", (chat_of(room):gsub("\n", "|")))
  type_in "ibo<Tab>tea?<CR>"
  wait_for_chat(room, "<alice> Bob B.: tea?")
  say("named", (chat_of(room):gsub("^.*\n(.-\n.-)$", "%1"):gsub("\n", "|")))
  type_in "iand you, bO<Tab>too, or Car<Tab><Esc>"
  say("completed", (text_of(room):match "[^\n]*$"))
  type_in "A<C-U>"
  api.nvim_set_current_win(vim.fn.bufwinid(roster))
  local before = #notes
  say "elsewhere"
  wait_until("what is unread in the room", function() return text_of(roster):find "tea %(3%)" end)
  say("counted", (text_of(roster):gsub("\n", "|")), #notes - before, notes[#notes - 1], notes[#notes])
  vim.cmd "Xmpp join tea@conference.xmpp.test"
  local lines = vim.split(chat_of(room), "\n")
  say("looked", (text_of(roster):gsub("\n", "|")), table.concat(lines, "|", #lines - 3))
  wait_for_chat(room, "Bob B. has left")
  vim.cmd "Xmpp leave"
  type_in "A<CR>"
  say("left", (chat_of(room):match "[^\n]*\n[^\n]*$":gsub("\n", "|")))
  vim.cmd "Xmpp leave"
  say("not there", notes[#notes])
  vim.cmd "Xmpp join locked@conference.xmpp.test"
  wait_for_chat(api.nvim_get_current_buf(), "can't come in")
  say "locked"
end

local ok, why = xpcall(talk, debug.traceback)
if not ok then say("failed", why) end
