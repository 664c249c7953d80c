-- console: a Lua prompt with a connection. A line that begins with < is sent as XML; what comes in is shown as it
-- comes, or, while a line is being written, behind it. On a terminal the line is edited by readline, where there is
-- lua-readline; else by the terminal's own line mode.

local config = require "xmpp.cmd.config"
local escape = require "xmpp.cmd.escape"

local M = { own_loop = true } -- it waits for the terminal and for the connection at once

local MOST_LINE = 1048576
local MOST_HELD = 1000 -- stanzas that wait behind a line
local MOST_HISTORY = 500
local TOOLKIT = { "ext", "iq", "disco", "caps", "info", "presence", "roster", "chat", "muc", "form", "time", "color" }

-- History: a file of its owner's; nothing that begins with a space.

local function history_path(world)
  local folder = config.folder(world, "XDG_STATE_HOME", "/.local/state")
  return folder and folder .. "/history", folder
end

local function load_history(world)
  local path, lines = history_path(world), {}
  local file = path and io.open(path)
  for line in file and file:lines() or function() end do lines[#lines + 1] = line end
  if file then file:close() end
  return lines
end

local function make_folders(sys, folder)
  local at = ""
  for part in folder:gmatch "/[^/]+" do
    at = at .. part
    if not sys.stat(at) then sys.mkdir(at) end
  end
end

local function save_history(world, lines)
  local path, folder = history_path(world)
  if not path then return end
  make_folders(world.sys, folder)
  local text = table.concat(lines, "\n", math.max(1, #lines - MOST_HISTORY + 1))
  os.remove(path .. ".new")
  if world.sys.create(path .. ".new", text ~= "" and text .. "\n" or "") then os.rename(path .. ".new", path) end
end

local function note_history(self, line)
  if line:find "^%s" or line == "" or line == self.history[#self.history] then return false end
  self.history[#self.history + 1] = line
  return true
end

-- What is shown

local function is_element(v)
  return type(v) == "table" and type(v[1]) == "string" and (v[2] == nil or type(v[2]) == "table")
end

local function pretty(self, x)
  local text = require "xmpp.xexpr".pretty(x, { color = self.ctx.color })
  if self.ctx.color then return text end
  return escape.lines(text, "")
end

local function inspect(self, v, depth)
  if type(v) == "string" then return '"' .. escape.line((v:gsub('["\\]', "\\%0"))) .. '"' end
  if type(v) ~= "table" or getmetatable(v) or depth == 0 then return escape.line(tostring(v)) end
  local out, n = {}, 0
  for key, inner in pairs(v) do
    n = n + 1
    if n > 50 then out[#out + 1] = "..." break end
    local name = type(key) == "number" and key == #out + 1 and "" or escape.line(tostring(key)) .. " = "
    out[#out + 1] = name .. inspect(self, inner, depth - 1)
  end
  return "{ " .. table.concat(out, ", ") .. " }"
end

local function show(self, v)
  if is_element(v) and pcall(require "xmpp.xexpr".canonical, v) then return pretty(self, v) end
  if type(v) == "string" then return escape.lines(v, "") end
  return inspect(self, v, 3)
end

local function print_line(self, text) self.ctx.world.out(text .. "\n") end

local function show_stanza(self, x) print_line(self, self.ctx:ink("2", "<-") .. " " .. pretty(self, x)) end

local function release(self)
  local held = self.held
  self.held = {}
  for _, x in ipairs(held) do show_stanza(self, x) end
end

local function came(self, x)
  if self.editor and self.editor.is_busy() then
    if #self.held < MOST_HELD then self.held[#self.held + 1] = x end
    return
  end
  if not self.editor then return show_stanza(self, x) end
  self.editor.aside(function() show_stanza(self, x) end)
end

-- What is typed

local function results(self, ok, ...)
  if not ok then return print_line(self, self.ctx:ink("31", escape.lines(tostring((...)), "  "))) end
  for i = 1, select("#", ...) do print_line(self, show(self, (select(i, ...)))) end
end

local compile
if rawget(_G, "setfenv") then
  function compile(text, env)
    local f, why = rawget(_G, "loadstring")(text, "=console")
    return f and rawget(_G, "setfenv")(f, env), why
  end
else
  function compile(text, env) return load(text, "=console", "t", env) end
end

local function send_xml(self, text)
  local x, err = require "xmpp.xexpr".from_xml(text)
  if not x then
    if err.text:find "no element found" then return true end -- more lines are to come
    return results(self, false, err)
  end
  x[2].xmlns = nil
  results(self, pcall(function()
    local ok, why = self.conn:send(x)
    if not ok then error(why, 0) end
  end))
end

-- true: the line isn't complete
local function evaluate(self, text)
  if text:find "^%s*$" then return end
  if text:find "^%s*<" then return send_xml(self, text) end
  local f, why = compile("return " .. text, self.env)
  local open = not f and why:find "near '?<eof>'?$"
  if not f then f, why = compile(text, self.env) end
  if not f and (open or why:find "near '?<eof>'?$") then return true end
  if not f then return results(self, false, why) end
  results(self, pcall(f))
end

-- A line; nil: the end.
local function take(self, line)
  if not line then
    self.over = 0
    return
  end
  if note_history(self, line) and self.editor then self.editor.remember(line) end
  local text = self.begun and self.begun .. "\n" .. line or line
  self.begun = evaluate(self, text) and text or nil
end

-- Editors: show (a line is asked for), aside (something is written meanwhile), cancel (the line is given up), read
-- (there is input), is_busy (something is typed), remember (a line), stop.

local function completions(self)
  return function(text, from, to)
    local word, found = text:sub(from, to), {}
    local path, last = word:match "^(.-)([%w_]*)$"
    local at = self.env
    for name in path:gmatch "[%w_]+" do at = type(at) == "table" and at[name] or nil end
    if path:find ":$" and at == self.conn then at = require "xmpp" end
    for name in pairs(type(at) == "table" and at or {}) do
      if type(name) == "string" and name:sub(1, #last) == last then found[#found + 1] = path .. name end
    end
    table.sort(found)
    return found
  end
end

-- lua-readline's handler_remove closes the stream that readline then writes to, unless readline is done with the line
-- already: so it is called in the line's handler alone, and what is written in between draws the prompt itself.
local function readline_editor(self, RL)
  local editor, typed, shown, world = {}, 0, false, self.ctx.world
  local before, prompt = world.sys.terminal(0), "> "
  local function begin()
    typed = 0
    RL.handler_install(prompt, function(line)
      RL.handler_remove()
      shown = false
      if not line then world.out "\n" end
      self.lines[#self.lines + 1] = line or false
    end)
  end
  RL.set_options { histfile = "", completion = true }
  for _, line in ipairs(self.history) do RL.add_history(line) end
  RL.set_complete_function(completions(self))
  function editor.show()
    if shown then return end
    shown, prompt = true, self.begun and ">> " or "> "
    begin()
  end
  function editor.aside(write)
    if shown then world.out "\r\27[K" end
    write()
    if shown then world.out(prompt) end
  end
  function editor.cancel()
    world.out "\n"
    prompt = "> "
    begin()
  end
  function editor.stop()
    if not shown then return end
    world.out "\27[?2004l\r\27[K"
    world.sys.terminal(0, before)
  end
  function editor.read()
    typed = typed + 1
    RL.read_char()
  end
  function editor.is_busy() return shown and typed > 0 end
  function editor.remember(line) RL.add_history(line) end
  return editor
end

-- Lines as the terminal, or a file, gives them.
local function plain_editor(self)
  local editor, input = {}, self.ctx.world.input
  local prompts = self.ctx.world.is_tty(0)
  local shown = false
  local function prompt()
    if prompts then self.ctx.world.out(self.begun and ">> " or "> ") end
  end
  function editor.show()
    if not shown then prompt() end
    shown = true
  end
  function editor.aside(write)
    if prompts then self.ctx.world.out "\r\27[K" end
    write()
    prompt()
  end
  function editor.cancel()
    if prompts then self.ctx.world.out "\n" end
    prompt()
  end
  function editor.stop() end
  function editor.read()
    local more = input:more()
    shown = false
    while (input.buffer or ""):find("\n", 1, true) do self.lines[#self.lines + 1] = input:line(MOST_LINE) end
    if more then return end
    if input.buffer ~= "" then self.lines[#self.lines + 1] = input.buffer end
    self.lines[#self.lines + 1] = false
  end
  function editor.is_busy() return false end
  function editor.remember() end
  return editor
end

local function new_editor(self)
  local found, RL = false, nil
  if self.ctx.world.is_tty(0) and self.ctx.world.is_tty(1) then found, RL = pcall(require, "readline") end
  if found then return readline_editor(self, RL) end
  return plain_editor(self)
end

local function environment(self)
  local env = { conn = self.conn, xmpp = require "xmpp", xexpr = require "xmpp.xexpr" }
  function env.print(...)
    local out = {}
    for i = 1, select("#", ...) do out[i] = show(self, (select(i, ...))) end
    print_line(self, table.concat(out, "\t"))
  end
  local known = {}
  for _, name in ipairs(TOOLKIT) do known[name] = true end
  return setmetatable(env, { __index = function(_, name)
    if known[name] then
      local found, module = pcall(require, "xmpp." .. name)
      if found then return module end
    end
    return _G[name]
  end })
end

local function watch(self)
  local xmpp = require "xmpp"
  self.conn:on("state", function(state, err)
    if state == "closed" then self.over, self.err = self.over or 5, err end
    if state ~= "waiting" or not err then return end
    self.editor.aside(function() self.ctx:note("connecting again: " .. escape.line(tostring(err))) end)
  end)
  self.conn:set_handler(function(x)
    came(self, x)
    xmpp.default_handler(x, self.conn)
  end)
  if not self.ctx.world.signals then return end
  xmpp.on_signal("SIGINT", function()
    self.begun = nil
    self.editor.cancel()
  end)
  xmpp.on_signal("SIGTERM", function() self.over = 130 end)
end

-- All that was typed, one line after the other: one that waits has what comes in meanwhile shown.
local function take_lines(self)
  while self.lines[1] ~= nil and not self.over do take(self, table.remove(self.lines, 1) or nil) end
  release(self)
end

local function turn(self)
  local xmpp, sys = require "xmpp", self.ctx.world.sys
  self.editor.show()
  local typed = sys.poll(xmpp.timeout(), 0, xmpp.fd())
  xmpp.step(0)
  if typed then self.editor.read() end
  if self.lines[1] ~= nil then take_lines(self) end
end

function M.run(ctx)
  local conn, err = ctx:connect { reconnect = true }
  if not conn then return nil, err end
  local self = { ctx = ctx, conn = conn, history = load_history(ctx.world), lines = {}, held = {} }
  self.env = environment(self)
  self.editor = new_editor(self)
  watch(self)
  if ctx.world.is_tty(0) then ctx:note(("%s; Ctrl-D ends it"):format(tostring(conn:jid()))) end
  local ok, why
  repeat ok, why = pcall(turn, self) until not ok or self.over
  self.editor.stop()
  if ctx.world.is_tty(0) then save_history(ctx.world, self.history) end
  if not ok then error(why, 0) end
  if self.err then return nil, self.err end
  return self.over
end

return M
