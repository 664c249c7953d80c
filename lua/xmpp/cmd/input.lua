-- input: the input of a subcommand: a file, or standard input, as bytes or as one element; arguments that are
-- addresses, or VAR=VALUE.

local exit = require "xmpp.cmd.exit"

local M = {}

local MOST_XML = 4 * 1024 * 1024

--- Reads a file; "-" or nil: standard input.
---@param path string?
---@param most integer
---@return string
function M.bytes(ctx, path, most)
  local reader = ctx.world.input
  if path and path ~= "-" then
    local fd, why = ctx.world.open(path)
    if not fd then exit.raise("input", "unreadable", ("%s can't be read: %s"):format(path, tostring(why))) end
    if type(fd) == "table" then return fd.text end -- in a test
    reader = require "xmpp.cmd.world".reader(fd)
  elseif ctx.world.is_tty(0) then
    ctx:note "type what is to be sent, and then Ctrl-D"
  end
  local bytes = reader:all(most)
  if not bytes then exit.raise("input", "too-large", ("the input has more than %d bytes"):format(most)) end
  if bytes == "" then exit.raise("input", "empty", "there is nothing to send: the input is empty") end
  return bytes
end

--- The XML element in a file.
---@param path string?
---@return xmpp.Element
function M.element(ctx, path)
  local text = M.bytes(ctx, path, MOST_XML):gsub("^%s*<%?xml.-%?>", "")
  local x, err = require "xmpp.xexpr".from_xml((text:gsub("^%s+", ""):gsub("%s+$", "")))
  if not x then exit.raise("input", "not-well-formed", "the input isn't an XML element: " .. tostring(err.text)) end
  return x
end

--- Parses an argument that is an address; raises an error if it is invalid.
---@param text string
---@return xmpp.Jid
function M.address(text)
  local jid, why = require "xmpp".jid(text)
  if jid then return jid end
  exit.raise("usage", "jid-malformed", ("'%s' is not a valid address: %s"):format(text, why.text))
end

--- Parses "VAR=VALUE" arguments, from number `first` on: { { var, value }... }.
---@param first integer
---@return { [1]: string, [2]: string }[]
function M.pairs(ctx, first)
  local out = {}
  for i = first, #ctx.args do
    out[#out + 1] = { require "xmpp.cmd.fields".split(ctx.args[i]) }
  end
  return out
end

--- Returns an argument; raises a usage error if it is missing.
function M.need(ctx, at, name)
  if ctx.args[at] then return ctx.args[at] end
  exit.raise("usage", "missing", ("usage: xmpp %s %s %s"):format(ctx.command.name, ctx.args[1], name))
end

return M
