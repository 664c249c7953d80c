-- A game loop, 60 frames a second, with a chat over its picture: the game is a ball in a box, and never waits for the
-- network, not even while connecting. A line of input is a message to PEER; the end of input (Ctrl-D) ends the game.
-- See account.lua. In a real game the engine provides the time and waits for the display; here LuaSocket does.

local xmpp, account, socket = require "xmpp", require "examples.account", require "socket"
local xexpr = xmpp.xexpr

local FRAME = 1 / 60
local STANZAS = 50 -- dispatched in a frame at most; the rest waits for the next one
local WIDTH, HEIGHT, LINES = 60, 12, 5

local jid, password, opts = account "JID PASSWORD PEER"
local peer = arg[3]

-- The chat

local chat, conn = {}, nil

local function say(who, text)
  chat[#chat + 1] = ("<%s> %s"):format(who, text:gsub("%c", " ")):sub(1, WIDTH)
  if #chat > LINES then table.remove(chat, 1) end
end

xmpp.spawn(function() -- a coroutine: while it waits the game goes on
  local err
  conn, err = xmpp.connect_client(jid, password, opts)
  if not conn then return say("error", tostring(err)) end
  conn:set_callback(function(message)
    local text = xexpr.text(message, "body")
    if text then say(tostring(xmpp.jid(xexpr.attr(message, "from")):bare()), text) end
  end, { name = "message" })
  conn:set_handler()
  conn:send { "presence" }
  say("game", "connected as " .. tostring(conn:jid()))
end)

local function send(line)
  local sent, err = nil, "not connected yet"
  if conn then sent, err = conn:send { "message", { to = peer, type = "chat" }, { "body", line } } end
  say(sent and "you" or "error", sent and line or tostring(err))
end

-- The game

local x, y, dx, dy = 1, 1, 0.5, 0.2

local function move()
  x, y = x + dx, y + dy
  if x < 1 or x > WIDTH then x, dx = x - 2 * dx, -dx end
  if y < 1 or y > HEIGHT then y, dy = y - 2 * dy, -dy end
end

local function draw()
  local picture = { "\27[H" }
  for row = 1, HEIGHT do
    local line = (" "):rep(WIDTH)
    if row == math.floor(y) then line = (" "):rep(math.floor(x) - 1) .. "o" .. (" "):rep(WIDTH - math.floor(x)) end
    local over = chat[row - HEIGHT + #chat]
    picture[#picture + 1] = "|" .. (over and over .. line:sub(#over + 1) or line) .. "|\n"
  end
  io.write(table.concat(picture), "> ")
  io.flush()
end

-- The loop

local INPUT = { getfd = function() return 0 end, dirty = function() return false end }
local playing, frames, dispatched, slowest = true, 0, 0, 0

-- Waits for input for the rest of the frame.
local function rest(till)
  repeat
    local readable = socket.select({ INPUT }, nil, math.max(0, till - socket.gettime()))
    if readable[1] then
      local line = io.read "*l"
      if not line then
        playing = false
      elseif line ~= "" then
        send(line)
      end
    end
  until not playing or socket.gettime() >= till
end

io.stdin:setvbuf "no" -- select doesn't see what Lua has buffered
io.write "\27[2J"
while playing do
  local began = socket.gettime()
  dispatched = dispatched + xmpp.step(0, STANZAS)
  slowest = math.max(slowest, socket.gettime() - began)
  move()
  draw()
  frames = frames + 1
  rest(began + FRAME)
end
if conn then conn:stop() end
print(("\n%d frames, %d stanzas; the longest step took %.1f ms"):format(frames, dispatched, slowest * 1000))
