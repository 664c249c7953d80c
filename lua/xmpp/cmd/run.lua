-- run: runs a bot from a file, with a connection that is made for it. It ends in order by TERM, which first finishes
-- what has been received, and INT, by xmpp.quit([status]), or when the connection is closed for good; with --reload it
-- is restarted in the same session when its file has changed or by HUP. Nothing that the bot does can keep it from
-- ending: remaining timers are ignored, a file that waits forever is abandoned after GRACE seconds, and one that
-- blocks everything else is killed by the system, PATIENCE seconds after the time for all that, or by the second
-- signal.

local exit = require "xmpp.cmd.exit"

local M = { own_loop = true } -- the bot's own waits turn the loop

local STATE = "XMPP_RUN_STATE" -- the descriptor with the session of the previous process
local DRAIN, GRACE, GOODBYE, PATIENCE = 5, 5, 4, 6
local MOST_STATE = 64 * 1024 * 1024

-- Plain data as Lua source, for the next process.
local function literal(v)
  if type(v) == "number" then return ("%.17g"):format(v) end
  if type(v) ~= "table" then return type(v) == "string" and ("%q"):format(v) or tostring(v) end
  local out = {}
  for key, inner in pairs(v) do out[#out + 1] = ("[%s]=%s"):format(literal(key), literal(inner)) end
  return "{" .. table.concat(out, ",") .. "}"
end

local function read_state(world)
  local fd = tonumber(world.env(STATE) or "")
  if not fd then return nil end
  world.sys.unsetenv(STATE)
  local text = world.read(fd, MOST_STATE)
  world.sys.close(fd)
  local f = text and (rawget(_G, "loadstring") or load)("return " .. text, "=state")
  return f and f()
end

local function connect(ctx, state)
  if not state then return ctx:connect { reconnect = true } end
  ctx.state = state
  local conn, err = ctx:connect({ reconnect = true, session = state.saved }, state.password)
  return conn, err
end

-- The bot's file

local function compile(path, env)
  local set = rawget(_G, "setfenv")
  if not set then return loadfile(path, "t", env) end
  local f, why = loadfile(path)
  return f and set(f, env), why
end

local function check_file(path)
  local f, why = loadfile(path)
  if not f then exit.raise("input", "bad-program", why) end
end

local function log_function(ctx)
  return function(...)
    local out = {}
    for i = 1, select("#", ...) do out[i] = tostring((select(i, ...))) end
    ctx.world.err(("%s %s\n"):format(os.date "%Y-%m-%d %H:%M:%S", require "xmpp.cmd.escape".line(table.concat(out,
      " "))))
  end
end

-- The file is still waiting for something while the command should end: ends the process here.
local function give_up(self)
  local ctx, status = self.ctx, self.status
  if self.err then status = require "xmpp.cmd.main".tell(ctx.world, ctx.json, self.err) end
  if self.conn:state() ~= "closed" then self.conn:stop(GOODBYE) end
  ctx.world.exit(status)
end

-- Makes xmpp.quit(status) end the command, as does the return of a loop that the bot runs itself. Returns a function
-- that undoes this.
local function take_charge(self)
  local xmpp = require "xmpp"
  local quit, run = xmpp.quit, xmpp.run
  function xmpp.quit(status)
    self.status = self.status or (type(status) == "number" and status or 0)
    if self.in_file and not self.giving_up then
      self.giving_up = xmpp.after(GRACE, function() if self.in_file then give_up(self) end end)
    end
    quit()
  end
  function xmpp.run()
    if self.status then return true end
    return run()
  end
  return function() xmpp.quit, xmpp.run = quit, run end
end

local function environment(ctx, conn)
  local args = { [0] = ctx.args[1] }
  for i = 2, #ctx.args do args[i - 1] = ctx.args[i] end
  local env = { conn = conn, xmpp = require "xmpp", log = log_function(ctx), arg = args }
  return setmetatable(env, { __index = _G }), args
end

-- Finishes what has been received, and takes nothing more.
local function drain(self, seconds)
  local left, err = self.conn:drain(seconds)
  if err then
    local text = "ended by SIGTERM before everything was done: %d calls of handlers and callbacks were still "
      .. "waiting, %d stanzas waited for them, %d sent stanzas are not known to have arrived, %d received stanzas "
      .. "were not handled (%s)"
    self.err = exit.error(left.late and "timeout" or "lost", "drained",
      text:format(left.unfinished, left.queued, left.unsent, left.unread, err.text))
  end
  require "xmpp".quit(0)
end

-- Handles signals, and the end of the connection.
local function watch(self)
  local xmpp, conn, seconds = require "xmpp", self.conn, self.ctx.opts.drain or DRAIN
  local function on(name, f)
    xmpp.on_signal(name, function()
      if self.signalled then os.exit(exit.INTERRUPTED) end
      self.signalled = name
      f()
    end)
  end
  conn:on("state", function(state, err)
    if state ~= "closed" or self.status or self.signalled == "SIGTERM" then return end
    self.err = err
    xmpp.quit(5)
  end)
  if not self.ctx.world.signals then return end
  on("SIGINT", function() xmpp.quit(exit.INTERRUPTED) end)
  on("SIGTERM", function() drain(self, seconds) end)
  self.ctx.world.sys.insist(math.ceil(math.max(seconds, GOODBYE)) + PATIENCE)
end

local function traced(object)
  if type(object) == "table" then return object end
  return rawget(_G, "debug") and debug.traceback(tostring(object), 2) or object
end

local function run_file(self, args)
  self.in_file = true
  local ok, why = xpcall(function() return compile(self.path, self.env)((table.unpack or unpack)(args)) end, traced)
  self.in_file = false
  if self.giving_up then self.giving_up:cancel() end
  return ok, why
end

-- --reload

local function command_line(world)
  local words, first = {}, 0
  while world.argv[first - 1] do first = first - 1 end
  for i = first, #world.argv do words[#words + 1] = world.argv[i] end
  return words
end

local function replace(self)
  local ctx, world = self.ctx, self.ctx.world
  local ok, why = loadfile(self.path)
  if not ok then return self.env.log("the program was not loaded again: " .. why) end
  local ext = package.loaded["xmpp.ext"]
  local kept = ext and ext.save(self.conn)
  local saved = self.conn:save()
  if not saved then self.conn:stop(5) end
  local fd = world.sys.carrier(literal { saved = saved, ext = kept, password = ctx.password })
  if fd then world.sys.setenv(STATE, tostring(fd)) end
  local _, text = world.sys.exec(command_line(world))
  exit.raise("lost", "exec", "the next process can't be started: " .. tostring(text))
end

local function watch_file(self)
  local xmpp, sys = require "xmpp", self.ctx.world.sys
  local function version()
    local st = sys.stat(self.path)
    return st and st.mtime .. "/" .. st.size
  end
  local now = version()
  local function reload()
    now = version() or now
    replace(self)
  end
  xmpp.on_signal("SIGHUP", reload)
  xmpp.every(1, function()
    local seen = version()
    if seen and seen ~= now then reload() end
  end)
end

function M.run(ctx)
  local state, path = read_state(ctx.world), ctx.args[1]
  check_file(path)
  local conn, err = connect(ctx, state)
  if not conn then return nil, err end
  local self = { ctx = ctx, conn = conn, path = path }
  local args
  self.env, args = environment(ctx, conn)
  if state and state.ext then require "xmpp.ext".load(conn, state.ext) end
  local give_back = take_charge(self)
  watch(self)
  if ctx.opts.reload and ctx.world.signals then watch_file(self) end
  local ok, why = run_file(self, args)
  if ok then require "xmpp".run() end
  give_back()
  if not ok then
    ctx.world.err(("xmpp: %s\n"):format(tostring(why)))
    return exit.INTERNAL
  end
  if not self.status and conn:state() == "closed" then self.err = select(2, conn:receive()) end
  if self.err then return nil, self.err end
  return self.status or 0
end

return M
