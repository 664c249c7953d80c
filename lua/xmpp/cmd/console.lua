-- console: a Lua prompt with a connection. A line that begins with < is sent as XML; received stanzas are shown at
-- once, or, while a line is being typed, after it. See editor.lua for how lines are typed.

local escape = require "xmpp.cmd.escape"
local history = require "xmpp.cmd.history"

local M = { own_loop = true } -- it waits for the terminal and for the connection at the same time

local MOST_HELD = 1000 -- stanzas that may wait until a line has been typed
local TOOLKIT = { "ext", "iq", "disco", "caps", "info", "presence", "roster", "chat", "muc", "form", "time", "color",
  "pubsub", "pep", "archive", "upload", "http", "command", "avatar", "vcard", "bookmark", "blocking", "csi", "register",
  "bot", "gateway", "health" }

-- Output

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

-- Input

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
    if err.text:find "no element found" then return true end -- more lines will follow
    return results(self, false, err)
  end
  x[2].xmlns = nil
  results(self, pcall(function()
    local ok, why = self.conn:send(x)
    if not ok then error(why, 0) end
  end))
end

-- Evaluates a line. true: it isn't complete.
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

-- Handles a line; nil: the end.
local function take(self, line)
  if not line then
    self.over = 0
    return
  end
  if history.add(self.history, line) and self.editor then self.editor.remember(line) end
  local text = self.begun and self.begun .. "\n" .. line or line
  self.begun = evaluate(self, text) and text or nil
end

-- Completions for readline: names of fields, and of the functions of conn.
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

-- Handles all typed lines, one after another; while one waits, received stanzas are shown.
local function take_lines(self)
  while self.lines[1] ~= nil and not self.over do take(self, table.remove(self.lines, 1) or nil) end
  release(self)
end

local function turn(self)
  local xmpp, sys = require "xmpp", self.ctx.world.sys
  self.editor.show()
  local typed = sys.poll(xmpp.timeout(), 0, xmpp.fd())
  xmpp.step(0)
  self.editor.show() -- after Ctrl-C: what is typed from now on belongs to the next line
  if typed then self.editor.read() end
  if self.lines[1] ~= nil then take_lines(self) end
end

function M.run(ctx)
  local conn, err = ctx:connect { reconnect = true }
  if not conn then return nil, err end
  local self = { ctx = ctx, conn = conn, history = history.load(ctx.world), lines = {}, held = {} }
  self.env = environment(self)
  self.complete = completions(self)
  self.editor = require "xmpp.cmd.editor".new(self)
  watch(self)
  if ctx.world.is_tty(0) then ctx:note(("%s; Ctrl-D ends it"):format(tostring(conn:jid()))) end
  local ok, why
  repeat ok, why = pcall(turn, self) until not ok or self.over
  self.editor.stop()
  if ctx.world.is_tty(0) then history.save(ctx.world, self.history) end
  if not ok then error(why, 0) end
  if self.err then return nil, self.err end
  return self.over
end

return M
