-- handle: an object with events: an extension on a connection, a room. A table of plain fields, which are read-only
-- for the program; its methods, `on` and `emit` among them, are in its metatable, so `pairs` lists only the fields.

local require = require -- what is needed only for an error message is loaded then

local core = require "xmpp.load"
local guard = require "xmpp.guard"

local M = {}

-- known: the valid names; nil: any.
local function check_event(who, known, event)
  if type(event) ~= "string" then error("bad event (string expected, got " .. type(event) .. ")", 3) end
  if not known or known[event] then return end
  error(("%s has no event '%s'; did you mean '%s'?"):format(who, core.shown(event),
    require "xmpp.nearest"(event:sub(1, 30), known)), 3)
end

local function without(list, entry)
  local out = {}
  for _, e in ipairs(list) do
    if e ~= entry then out[#out + 1] = e end
  end
  return out
end

local function known_of(events)
  if not events then return nil end
  local known = { closed = true }
  for _, name in ipairs(events) do known[name] = true end
  return known
end

local function copied(methods)
  local out = {}
  for name, f in pairs(methods or {}) do out[name] = f end
  return out
end

--- Creates a handle.
---@param who string the owner's name in errors: "extension 'disco'"
---@param events string[]? the names that `on` takes, besides "closed"; nil: any
---@param more table<string, function>? methods of its own, called with the handle first
---@return table handle
---@return fun() deafen removes all listeners
function M.new(who, events, more)
  local methods, listeners, known = copied(more), {}, known_of(events)
  --- Calls `f` for each event of that name, in a coroutine of its own. The event "closed" occurs when the connection
  --- is closed, with the reason.
  ---@return fun(): boolean off removes the listener; returns true the first time
  function methods.on(_, event, f)
    check_event(who, known, event)
    if type(f) ~= "function" then error("bad listener (function expected, got " .. type(f) .. ")", 2) end
    local entry = { f = f }
    local list = without(listeners[event] or {}) -- a copy: `emit` may be iterating over the old list
    list[#list + 1] = entry
    listeners[event] = list
    return function()
      local was = not entry.off
      entry.off = true
      listeners[event] = without(listeners[event] or {}, entry)
      return was
    end
  end
  --- Calls the listeners of an event, in the order in which they were added.
  function methods.emit(_, event, ...)
    check_event(who, known, event)
    for _, entry in ipairs(listeners[event] or {}) do
      if not entry.off then guard.go(("%s, event '%s'"):format(who, event), entry.f, ...) end
    end
  end
  return setmetatable({}, { __index = methods }), function() listeners = {} end
end

return M
