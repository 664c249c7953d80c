-- contract: is this value one that the library takes? Called by programs and tests that want to know before they hand
-- it over. Every function answers true, or false and the reason; none raises, none keeps its argument.

local core = require "xmpp.load"

---@class xmpp.contract
local M = {}

-- A table with a __call metamethod is refused too: handlers and callbacks are compared and run as functions.
local function is_function(v)
  if type(v) == "function" then return true end
  return false, "function expected, got " .. type(v)
end

--- Could `conn:send` take `v`? The reason names the path: "stanza[3][2].to: string expected, got nil".
---@type fun(v: any): boolean, string?
M.stanza = core.check_stanza

--- Could `conn:set_handler` take `v`, to be called as `v(stanza, conn)` with its results ignored?
---@type fun(v: any): boolean, string?
M.handler = is_function

--- Could `conn:set_callback` take `v`, to be called as `v(stanza, conn)`?
---@type fun(v: any): boolean, string?
M.callback = is_function

--- Could `conn:set_callback_once` take `v`, to be called as `v(stanza, conn)` until it returns exactly true?
---@type fun(v: any): boolean, string?
M.callback_once = is_function

return M
