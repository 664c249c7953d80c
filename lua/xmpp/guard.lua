-- guard: calls of the program's functions by the modules above the transport. An error in such a function ends only
-- that call: it is passed to xmpp.on_error, with the name of its source.

local core = require "xmpp.load"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore 143
local create, resume, status = coroutine.create, coroutine.resume, coroutine.status
local debug = rawget(_G, "debug") -- a sandbox may not have it
local traceback = type(debug) == "table" and debug.traceback

-- An error object as text, with a traceback.
local function with_trace(object)
  local text = tostring(object)
  return traceback and traceback(text, 2) or text
end

--- Passes an error to xmpp.on_error, in the loop's next turn.
---@param who string the source: "extension 'disco'"
---@param what any what was thrown
function M.report(who, what)
  core.spawn(function() error(("%s: %s"):format(who, tostring(what)), 0) end)
end

-- Can a coroutine yield inside of a pcall? In Lua 5.1 it can't.
local probe = create(function() pcall(coroutine.yield) end)
resume(probe)
local yields_across_pcall = status(probe) == "suspended"

--- Like pcall, but f may wait, if the coroutine may. An error is returned as text, with its traceback.
---@return boolean ok
---@return any ...
function M.call(f, ...)
  if yields_across_pcall then return xpcall(f, with_trace, ...) end
  local n, arguments = select("#", ...), { ... }
  local function checked(ok, ...)
    if not ok then return false, tostring((...)) end
    return true, ...
  end
  local promise = require "xmpp".spawn(function() return true, f(unpack(arguments, 1, n)) end)
  return checked(promise:wait())
end

local function outcome(co, ok, ...)
  if not ok then return false, tostring((...)), co end
  return true, status(co) == "suspended", ...
end

--- Begins f(...) at once, in a coroutine of its own. What it throws after it has waited is passed to xmpp.on_error.
---@return boolean ok false: it threw
---@return boolean|string whether it hasn't returned yet; or what it threw, as text
---@return any what it returned; or its coroutine, for a traceback
function M.begin(f, ...)
  local co = create(f)
  return outcome(co, resume(co, ...))
end

--- The same, without results: what it throws is reported.
---@param who string
function M.go(who, f, ...)
  local ok, why, co = M.begin(f, ...)
  if not ok then M.report(who, traceback and traceback(co, why) or why) end
end

--- A module's table for a connection, which lives as long as the connection.
---@param conn xmpp.Conn
---@param name string the module's name
---@return table
function M.of(conn, name)
  local about = core.conn.about(conn)
  about.kept = about.kept or {}
  about.kept[name] = about.kept[name] or {}
  return about.kept[name]
end

--- Raises an error at `level` unless v is a connection.
function M.check_conn(v, fname, level)
  if core.is_connection(v) then return end
  error(("bad argument #1 to '%s' (connection expected, got %s)"):format(fname, type(v)), level + 1)
end

--- Raises an error at `level` if v is of another type.
function M.check_type(v, kind, position, fname, level)
  if type(v) == kind then return end
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(position, fname, kind, type(v)), level + 1)
end

-- Can XML contain this text? false, and why not.
local function is_text(s)
  local ok, why = core.check_stanza { "message", {}, { "body", {}, s } }
  return ok, not ok and why:gsub("^stanza%[3%]%[3%]", "it") or nil
end

--- The same if v is no text that XML can contain.
function M.check_text(v, position, fname, level)
  M.check_type(v, "string", position, fname, level + 1)
  local ok, why = is_text(v)
  if not ok then error(("bad argument #%d to '%s' (%s)"):format(position, fname, why), level + 1) end
end

--- Raises an error at `level` if `opts`, argument `position`, contains anything but the options in `known`, name ->
--- type ("text": a string that XML can contain).
---@return table opts never nil
function M.check_opts(opts, known, position, fname, level)
  if opts == nil then return {} end
  M.check_type(opts, "table", position, fname, level + 1)
  for option, value in pairs(opts) do
    local kind = known[option]
    if not kind then error(("'%s' has no option '%s'"):format(fname, core.shown(tostring(option))), level + 1) end
    local is_string = type(value) == "string"
    local ok, why = kind == "text" and is_string, nil
    if ok then ok, why = is_text(value) end
    ok = ok or type(value) == kind or kind == "jid" and (is_string or core.is_jid(value))
    if not ok then
      why = why or ("%s expected, got %s"):format(kind == "text" and "string" or kind, type(value))
      error(("bad option '%s' of '%s' (%s)"):format(option, fname, why), level + 1)
    end
  end
  return opts
end

return M
