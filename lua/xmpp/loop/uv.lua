-- Runs the library on a loop of libuv: of luv, or of Neovim.
--
--   require("xmpp.loop.uv").start()    -- and then, with luv, uv.run() instead of xmpp.run()
--
-- In Neovim the steps are made by vim.schedule, so that handlers may call every function of its API; texts that would
-- go to stderr, and spoil the screen, are shown by vim.notify.

local core = require "xmpp.load"
local driver = require "xmpp.loop.driver"

local M = {}

local function at_once(f) f() end

local function notify(vim)
  return function(text)
    vim.schedule(function() vim.notify(text, vim.log.levels.ERROR) end)
  end
end

-- The libuv module, a function that calls what libuv's callbacks must not call themselves, and one that shows texts to
-- the user (nil: stderr).
local function find_host()
  local vim = rawget(_G, "vim")
  if vim then return vim.uv or vim.loop, vim.schedule, notify(vim) end
  return require "luv", at_once, nil
end

-- libuv's loop ends when no handle keeps it alive: ours do while there is something to wait for.
local function keep(uv, handle, is_busy)
  if is_busy then uv.ref(handle) else uv.unref(handle) end
end

local function watch(uv, self)
  local poll, why = uv.new_poll(driver.fd())
  if poll then return poll end
  self:stop()
  error(("libuv can't watch xmpp.fd() (%s): does a handle of the program's watch it already?"):format(why), 3)
end

-- Waits for the descriptor or the time, whichever comes first. Not with a timer of 0 seconds: libuv would call it
-- repeatedly before it does anything else.
local function arm(uv, poll, timer, wake)
  local seconds = driver.timeout()
  poll:start("r", wake)
  if seconds == 0 then
    driver.ask_again()
  elseif seconds then
    timer:start(math.ceil(seconds * 1000), 0, wake)
  end
  keep(uv, poll, driver.is_busy())
  keep(uv, timer, driver.is_busy())
end

--- Begins to drive the library by libuv's loop, until `:stop()`. `uv.run()` returns when nothing of the program and no
--- connection, task or timer of the library is left; stop and start before running it another time.
---@return xmpp.LoopDriver
function M.start()
  local uv, schedule, say = find_host()
  local poll, timer, wake
  local function sleep()
    if poll then poll:stop() end
    timer:stop()
  end
  -- Not closed but left to the garbage collector: if the loop isn't run again, handles that luv has closed crash at
  -- exit.
  local self = driver.begin("libuv", nil, function()
    sleep()
    poll, timer = nil, nil
    core.say_by(nil)
  end)
  core.say_by(say)
  local function turn()
    if self.stopped then return end
    driver.step()
    if not self.stopped then arm(uv, poll, timer, wake) end
  end
  function wake()
    sleep()
    schedule(turn)
  end
  timer = uv.new_timer()
  poll = watch(uv, self)
  arm(uv, poll, timer, wake)
  uv.ref(poll) -- otherwise the loop wouldn't notice what is started before it is run
  return self
end

return M
