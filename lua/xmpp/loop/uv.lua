-- The library on a loop of libuv: of luv, and of Neovim.
--
--   require("xmpp.loop.uv").start()    -- and then, with luv, uv.run() instead of xmpp.run()
--
-- In Neovim the steps are made by vim.schedule, so that a handler may call every function of its API; and what would go
-- to stderr, over the editor's screen, is shown by vim.notify.

local core = require "xmpp.load"
local driver = require "xmpp.loop.driver"

local M = {}

local function at_once(f) f() end

local function notify(vim)
  return function(text)
    vim.schedule(function() vim.notify(text, vim.log.levels.ERROR) end)
  end
end

-- Whose libuv, how to have something done that libuv's callbacks must not do, and where words for people go (nil:
-- stderr).
local function find_host()
  local vim = rawget(_G, "vim")
  if vim then return vim.uv or vim.loop, vim.schedule, notify(vim) end
  return require "luv", at_once, nil
end

-- libuv ends when no handle keeps it: ours do as long as there is something to wait for.
local function keep(uv, handle, is_busy)
  if is_busy then uv.ref(handle) else uv.unref(handle) end
end

local function watch(uv, self)
  local poll, why = uv.new_poll(driver.fd())
  if poll then return poll end
  self:stop()
  error(("libuv can't watch xmpp.fd() (%s): does a handle of the program's watch it already?"):format(why), 3)
end

-- Waits for the descriptor and the time, whichever is first. Not by a timer of no time: libuv calls those again and
-- again before it looks at anything else.
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

--- Begins to drive the library by libuv's loop, until `:stop()`. `uv.run()` returns when nothing of the program's and
--- no connection, task or timer of the library's is left; before it is run another time, stop and start.
---@return xmpp.LoopDriver
function M.start()
  local uv, schedule, say = find_host()
  local poll, timer, wake
  local function sleep()
    if poll then poll:stop() end
    timer:stop()
  end
  -- Not closed, but collected: of luv's closed handles a loop that isn't run again makes a crash at exit.
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
  uv.ref(poll) -- what is begun before the loop is run is not seen otherwise
  return self
end

return M
