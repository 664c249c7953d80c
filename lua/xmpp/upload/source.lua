-- source: what is uploaded: a file by its path, a text, or what a function returns piece by piece; the size is always
-- known in advance. Required by xmpp.upload alone.

local core = require "xmpp.load"
local names = require "xmpp.upload.name"

local io = rawget(_G, "io") -- a sandbox may not have it

local M = {}

local PIECE = 256 * 1024
local LARGEST = 2 ^ 53

local function failure(text)
  return nil, core.error { layer = "http", condition = "bad-file", retry = false, text = core.shown(text) }
end

local function of_path(path)
  if not (io and io.open) then return failure "there is no io library to open files by" end
  local file, why = io.open(path, "rb")
  if not file then return failure(why) end
  local readable, fault = file:read(0), nil
  local size = file:seek "end"
  if not readable and size ~= 0 then fault = "it can't be read (a folder?)" end
  if not size or size > LARGEST or not file:seek("set", 0) then fault = fault or "it has no size" end
  if fault then
    file:close()
    return failure(("%s: %s"):format(path, fault))
  end
  return { name = names.base(path), size = size, read = function(n) return file:read(math.min(n, PIECE)) end,
    close = function() file:close() end }
end

local function of_text(what)
  local given
  return { name = what.name, size = #what.data, type = what.type, read = function()
    local text = not given and what.data or nil
    given = true
    return text
  end, close = function() end }
end

local KNOWN = { name = "string", size = "number", read = "function", data = "string", type = "string" }

local function check(what, level)
  for field, value in pairs(what) do
    local kind = KNOWN[field]
    if not kind then error(("'file' knows no field '%s' of a file"):format(core.shown(tostring(field))), level + 1) end
    if type(value) ~= kind then
      error(("bad field '%s' of a file (%s expected, got %s)"):format(field, kind, type(value)), level + 1)
    end
  end
  if not what.name then error("bad field 'name' of a file (string expected, got nil)", level + 1) end
  if what.data then return end
  if not what.read then error("a file has data, or read and size", level + 1) end
  local n = what.size
  if not n or n < 0 or n % 1 ~= 0 or n > LARGEST then
    error(("bad field 'size' of a file (a whole number expected, got %s)"):format(tostring(n)), level + 1)
  end
end

--- Opens a source. Raises an error at `level` if it isn't a valid one.
---@param what string|table
---@param level integer
---@return { name: string, size: number, read: (fun(n: number): string?), close: function, type: string? }?
---@return xmpp.Error?
function M.open(what, level)
  if type(what) == "string" then return of_path(what) end
  if type(what) ~= "table" then
    error(("bad argument #2 to 'file' (path or table expected, got %s)"):format(type(what)), level + 1)
  end
  check(what, level + 1)
  if what.data then return of_text(what) end
  return { name = what.name, size = what.size, type = what.type, read = what.read, close = function() end }
end

return M
