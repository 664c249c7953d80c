-- world: the command's access to everything outside: output and input, environment, files, the terminal. Tests replace
-- it.

local exit = require "xmpp.cmd.exit"
local sys = require "xmpp.sys"

local M = {}

local function failed(text, name)
  if name == "EPIPE" then exit.raise("output", name, "the reader of the output has closed it") end
  exit.raise("output", name ~= "" and name or "failed",
    ("the output can't be written (%s): make room, or send it elsewhere"):format(text))
end

local Reader = {}
Reader.__index = Reader

--- Everything that is left; nil: there are more than `most` bytes.
function Reader:all(most)
  local pieces, n = {}, 0
  repeat
    local piece, why = sys.read(self.fd)
    if not piece then exit.raise("input", "unreadable", "the input can't be read: " .. why) end
    pieces[#pieces + 1], n = piece, n + #piece
    if n > most then return nil end
  until piece == ""
  return table.concat(pieces)
end

--- Fills `buffer` once more; returns false at the end.
function Reader:more()
  local piece, why = sys.read(self.fd)
  if not piece then exit.raise("input", "unreadable", "the input can't be read: " .. why) end
  self.buffer = (self.buffer or "") .. piece
  return piece ~= ""
end

--- Is there a whole line, or the end, as far as can be told without waiting?
function Reader:ready()
  while not self.ended and not (self.buffer or ""):find("\n", 1, true) do
    if not sys.poll(0, self.fd) then return false end
    self.ended = not self:more()
  end
  return true
end

--- The next line, without its line break; nil: there is none; false: it is longer than `most`.
function Reader:line(most)
  while true do
    local buffer = self.buffer or ""
    local line, rest = buffer:match "^([^\n]*)\n(.*)$"
    if line then
      self.buffer = rest
      return line
    end
    if #buffer > most then return false end
    if not self:more() then
      self.buffer = ""
      if buffer == "" then return nil end
      return buffer
    end
  end
end

--- A reader for a descriptor.
function M.reader(fd) return setmetatable({ fd = fd }, Reader) end

--- The world of the process itself.
---@param argv string[]?
---@return table world
function M.real(argv)
  sys.signals()
  local world = { sys = sys, argv = argv or {}, signals = true, input = M.reader(0) }
  function world.out(text)
    local ok, why, name = sys.write(1, text)
    if not ok then failed(why, name) end
  end
  function world.err(text) sys.write(2, text) end
  function world.exit(status) os.exit(status) end
  function world.env(name)
    local value = os.getenv(name)
    return value ~= "" and value or nil
  end
  function world.is_tty(fd) return sys.isatty(fd) end
  function world.columns() return sys.columns(2) or sys.columns(1) or tonumber(world.env "COLUMNS") or 80 end
  function world.secret(prompt) return sys.secret(prompt) end
  function world.open(path) return sys.open(path) end
  function world.read(fd, most)
    local text = M.reader(fd):all(most or 65536)
    return text
  end
  return world
end

return M
