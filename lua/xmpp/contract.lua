-- contract: checks whether the library accepts a value. For programs and tests that want to know before they pass it
-- on. Every function returns true, or false and the reason; none raises an error, none keeps its argument.

local core = require "xmpp.load"

---@class xmpp.contract
local M = {}

-- A table with a __call metamethod is refused: handlers and callbacks are compared and called as functions.
local function is_function(v)
  if type(v) == "function" then return true end
  return false, "function expected, got " .. type(v)
end

--- Would `conn:send` accept `v`? The reason names the path: "stanza[3][2].to: string expected, got nil".
---@type fun(v: any): boolean, string?
M.stanza = core.check_stanza

--- Would `conn:set_handler` accept `v`, to be called as `v(stanza, conn)` with its results ignored?
---@type fun(v: any): boolean, string?
M.handler = is_function

--- Would `conn:set_callback` accept `v`, to be called as `v(stanza, conn)`?
---@type fun(v: any): boolean, string?
M.callback = is_function

--- Would `conn:set_callback_once` accept `v`, to be called as `v(stanza, conn)` until it returns exactly true?
---@type fun(v: any): boolean, string?
M.callback_once = is_function

return M
