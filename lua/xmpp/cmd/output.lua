-- output: what only some runs need: errors as JSON, names in colour (XEP-0392), progress bars.

local escape = require "xmpp.cmd.escape"

local M = {}

--- { "error": { layer, condition, text, retry } } on stderr.
function M.write_error(world, fields)
  local json = require "xmpp.cmd.json"
  local inner = { layer = fields.layer, condition = fields.condition, text = fields.text, retry = fields.retry == true }
  world.err(json.line { { "error", inner }, { "to", fields.to } })
end

local painted = {}

--- A text in the colour that all clients show it in, for a terminal with 256 colours.
---@param text string
---@return string
function M.colored(text)
  local ink = painted[text]
  if not ink then
    ink = require "xmpp.color".terminal(text)
    painted[text] = ink
  end
  return ("\27[38;5;%dm%s\27[0m"):format(ink, escape.line(text))
end

local WIDTH = 20

--- Draws a progress bar, and returns its text.
function M.bar(ctx, done, of, what)
  local text
  if of and of > 0 then
    local part = math.min(1, done / of)
    local filled = math.floor(part * WIDTH)
    text = ("[%s%s] %3d%% %s"):format(("#"):rep(filled), (" "):rep(WIDTH - filled), math.floor(part * 100), what or "")
  else
    text = ("%d %s"):format(done, what or "")
  end
  text = text:sub(1, math.max(10, ctx.world.columns() - 1))
  if text ~= ctx.drawn then ctx.world.err("\r\27[K" .. text) end
  return text
end

return M
