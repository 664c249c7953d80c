-- Makes examples/nvim/screenshot.svg: a room in Neovim, in a terminal of tmux, drawn as tmux shows it.
--
--   spec/support/server prosody -- lua5.4 examples/nvim/screenshot.lua

local muc = require "xmpp.muc"
local xmpp = require "xmpp"

local COLUMNS, LINES = 107, 18
local TMUX = "tmux -L xmpp-screenshot-" .. xmpp.id():gsub("%W", "") .. " "
local ROSTER = "jabber:iq:roster"

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function env(name) return os.getenv("XMPP_" .. name) end

local function login(user, resource)
  return assert(xmpp.connect_client(user .. "@" .. env "DOMAIN", user .. "pw", env "HOST", tonumber(env "PORT"),
    { ca_file = env "CA", resource = resource }))
end

-- Makes the two contacts of each other.
local function befriend(alice, other, name)
  local jid = tostring(other:jid():bare())
  local item = { "item", { jid = jid, name = name } }
  assert(alice:send_await { "iq", { type = "set" }, { "query", { xmlns = ROSTER }, item } })
  alice:send { "presence", { to = jid, type = "subscribe" } }
  other:send { "presence", { to = tostring(alice:jid():bare()), type = "subscribed" } }
end

local function screen() return output(TMUX .. "capture-pane -e -p -N") end

local function wait_for(text)
  for _ = 1, 600 do
    if screen():gsub("\27%[[%d;]*m", ""):find(text, 1, true) then return end
    xmpp.sleep(0.05)
  end
  error("the screen never showed " .. text)
end

local function keys(...)
  for _, key in ipairs { ... } do os.execute(TMUX .. "send-keys '" .. key .. "'") end
end

local function command(text) keys(":" .. text, "Enter") end

-- The picture.

local BASIC = { [0] = "#2e3440", "#d06c75", "#98c379", "#d7ba7d", "#61afef", "#c678dd", "#56b6c2", "#d8dee9",
  "#6b7489", "#e58b93", "#b5e890", "#f0d8a0", "#8cc8ff", "#dda0f0", "#80d8e0", "#ffffff" }
local INK, PAPER = "#d8dee9", "#1e222a"

local function color_256(n)
  if n < 16 then return BASIC[n] end
  if n >= 232 then return ("#%02x%02x%02x"):format(8 + (n - 232) * 10, 8 + (n - 232) * 10, 8 + (n - 232) * 10) end
  local function level(v) return v == 0 and 0 or 55 + v * 40 end
  n = n - 16
  return ("#%02x%02x%02x"):format(level(math.floor(n / 36)), level(math.floor(n / 6) % 6), level(n % 6))
end

-- Changes `pen` as the escape sequence ESC [ ... m says.
local function apply(pen, codes)
  local n = {}
  for code in (codes .. ";"):gmatch "(%d*);" do n[#n + 1] = tonumber(code) or 0 end
  local i = 1
  while i <= #n do
    local c = n[i]
    if c == 0 then pen.ink, pen.paper, pen.bold, pen.reverse = nil, nil, nil, nil
    elseif c == 1 then pen.bold = true
    elseif c == 7 then pen.reverse = true
    elseif c == 27 then pen.reverse = nil
    elseif (c == 38 or c == 48) and n[i + 1] == 5 then
      pen[c == 38 and "ink" or "paper"] = color_256(n[i + 2])
      i = i + 2
    elseif c == 39 then pen.ink = nil
    elseif c == 49 then pen.paper = nil
    elseif c >= 30 and c <= 37 then pen.ink = BASIC[c - 30]
    elseif c >= 40 and c <= 47 then pen.paper = BASIC[c - 40]
    elseif c >= 90 and c <= 97 then pen.ink = BASIC[c - 82]
    end
    i = i + 1
  end
end

local WIDTH, HEIGHT = 8.4, 18

local function draw_run(out, pen, column, line, text)
  local _, length = text:gsub("[^\128-\191]", "")
  local ink, paper = pen.ink or INK, pen.paper or PAPER
  if pen.reverse then ink, paper = paper, ink end
  local x, y = column * WIDTH + 10, line * HEIGHT + 10
  if paper ~= PAPER then
    out[#out + 1] = ("<rect x='%.1f' y='%d' width='%.1f' height='%d' fill='%s'/>"):format(x, y, length * WIDTH, HEIGHT,
      paper)
  end
  if text:find "%S" then
    out[#out + 1] = ("<text x='%.1f' y='%d' fill='%s' textLength='%.1f'%s xml:space='preserve'>%s</text>"):format(x,
      y + 13, ink, length * WIDTH, pen.bold and " font-weight='bold'" or "",
      (text:gsub("[&<]", { ["&"] = "&amp;", ["<"] = "&lt;" })))
  end
  return column + length
end

local function to_svg(text)
  local width, height = COLUMNS * WIDTH + 20, LINES * HEIGHT + 20
  local out = {
    ("<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' font-family='monospace' font-size='14'>")
      :format(width, height),
    ("<rect width='%.0f' height='%.0f' rx='6' fill='%s'/>"):format(width, height, PAPER),
  }
  local pen, line = {}, 0
  for row in text:gmatch "([^\n]*)\n" do
    local column = 0
    for before, codes in (row .. "\27[-m"):gmatch "(.-)\27%[([-%d;]*)m" do
      if before ~= "" then column = draw_run(out, pen, column, line, before) end
      if codes ~= "-" then apply(pen, codes) end -- that is the row's end
    end
    line = line + 1
  end
  return table.concat(out, "\n") .. "\n</svg>\n"
end

-- The story.

local function join(conn, nick)
  return assert(muc.join(conn, "tea@conference.xmpp.test", nick, { create = "default" }))
end

local function play()
  local alice, bob, carol = login("alice", "desk"), login("bob", "pc"), login("carol", "phone")
  befriend(alice, bob, "Bob")
  befriend(alice, carol, "Carol")
  bob:send { "presence" }
  carol:send { "presence", { "show", "away" } }
  assert(alice:ping())
  alice:stop()
  local kettle, cup = join(bob, "bob"), join(carol, "carol")

  command "Xmpp connect"
  wait_for "connected as"
  command "Xmpp join tea@conference.xmpp.test"
  wait_for "You are in the room"
  command "Xmpp roster"
  wait_for "○ Carol"
  wait_for "# tea"
  keys("C-w", "b", "i")
  keys("bo", "Tab", "have you seen echo.lua? Twelve lines.", "Enter")
  wait_for "bob: have"
  assert(kettle:say("Eleven!\nI am reading it right now :-)", { reflect = true }))
  assert(cup:say("alice: where is the tea?", { reflect = true }))
  keys("car", "Tab", "in Neovim, where typing never wai")
  wait_for "never wai"
  carol:send { "message", { to = "alice@xmpp.test/nvim", type = "chat" }, { "body", "Lunch?" } }
  wait_for "Carol (1)"
  local shot = screen()
  for _, c in ipairs { bob, carol } do c:stop() end
  return shot
end

local VIM = [[env LUA_PATH='lua/?.lua;lua/?/init.lua' LUA_CPATH='build/luajit/?.so' LC_ALL=C.UTF-8 \
  nvim -u NONE -n --cmd 'set rtp+=examples/nvim noruler splitbelow laststatus=2' -c 'runtime plugin/xmpp.lua' \
  -c 'syntax on' -c 'set ft=lua' -c 'lua vim.g.xmpp = { jid = [=[alice@xmpp.test/nvim]=], password = [=[alicepw]=],
  host = [=[%s]=], port = %d, ca_file = [=[%s]=] }' examples/echo.lua]]

local script = os.tmpname()
local file = assert(io.open(script, "w"))
file:write(VIM:format(env "HOST", tonumber(env "PORT"), env "CA"), "\n")
file:close()
os.execute(TMUX .. ("-u -f /dev/null new-session -d -x %d -y %d sh %s"):format(COLUMNS, LINES, script))
os.execute(TMUX .. "set -g status off")
local ok, shot = xpcall(play, debug.traceback)
if not ok then print(screen()) end
os.execute(TMUX .. "kill-server")
os.remove(script)
assert(ok, shot)
file = assert(io.open("examples/nvim/screenshot.svg", "w"))
file:write(to_svg(shot))
file:close()
