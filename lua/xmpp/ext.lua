-- ext: extensions of a connection; the library's own modules above the transport are extensions, and a program can add
-- its own. An extension is a plain table that says what it needs, announces and handles:
--
--   local Attention = {
--     name = "attention",                              -- in errors, and in ext.list
--     needs = { require "xmpp.disco" },                -- used first
--     features = { "urn:xmpp:attention:0" },           -- announced by disco and caps while it is in use
--     events = { "attention" },                        -- names for st:on, in addition to "closed"; absent: any
--     methods = { ask = function(st, jid) end },       -- of its handle, in addition to on and emit
--     taps = { { { name = "message", has = "urn:xmpp:attention:0" },     -- see conn:tap: filter, function
--       function(st, message, conn) st:emit("attention", message[2].from, message) end } },
--     adds = { { { name = "presence" },                                  -- children added to stanzas that we send
--       function(st, stanza, conn) return { "x", { xmlns = "urn:x" } } end } },
--   }
--   function Attention.start(st, conn, opts) end       -- once, by `use`; must not wait; raises for bad options
--   function Attention.session(st, conn, first) end    -- in each new session (first: the first one); may wait
--   function Attention.resumed(st, conn) end           -- the old session has been resumed, and is ready
--   function Attention.lost(st, conn, err) end         -- the connection is lost; err nil: it was stopped
--   function Attention.stop(st, conn) end              -- dropped, or the connection is closed; must not wait
--   function Attention.save(st) return {} end          -- for ext.save: plain data; must not wait
--   function Attention.load(st, saved) end             -- called after start with what `save` returned; must not wait
--
-- `st` is the extension's state on that connection, a table of its own; it must not refer to the connection if both
-- are to be garbage collected. Every function of an extension runs in a coroutine of its own. An error that it throws
-- is passed to xmpp.on_error under the extension's name, and affects neither other extensions nor the connection.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local handle = require "xmpp.handle"
local xmpp = require "xmpp"

local M = {}

local compile = rawget(_G, "loadstring") or rawget(_G, "load") -- a sandbox may not have it

local HOOKS = { "start", "session", "resumed", "lost", "stop", "save", "load" }

local function who(use) return ("extension '%s'"):format(use.ext.name) end

-- A function that calls f, and appears in tracebacks under the extension's name.
local function named(ext, f)
  local source = "local f = ... local function pass(...) return ... end return function(...) return pass(f(...)) end"
  local wrap = compile and compile(source, ("=extension '%s'"):format(ext.name))
  return wrap and wrap(f) or f
end

-- A connection's state: uses, in order; by: extension -> use; saved: what ext.load was given; up: is it ready;
-- rebound: the session's number; running: use -> true while its hook of the present session hasn't returned; settled:
-- a promise for the callers of `ready`.
local function kept(conn)
  local all = guard.of(conn, "ext")
  if not all.uses then all.uses, all.by, all.starting, all.running, all.watchers = {}, {}, {}, {}, {} end
  return all
end

-- Calls f for those that are in use now. Hooks may add others and drop themselves.
local function each(all, f, backwards)
  local now = {}
  for i, use in ipairs(all.uses) do now[backwards and #all.uses + 1 - i or i] = use end
  for _, use in ipairs(now) do
    if all.by[use.ext] == use then f(use) end
  end
end

local function hook(use, name, ...)
  local f = use.ext[name]
  if f then guard.go(who(use) .. ", " .. name, named(use.ext, f), use.st, ...) end
end

-- Sessions

local function settle(all, conn)
  local promise = all.settled
  if not promise or next(all.running) or conn:state() ~= "ready" then return end
  all.settled = nil
  promise:resolve(true)
end

-- Runs the use's hook for a session that is new to it. Returns a promise for its end.
local function enter(all, use, conn)
  local first, running = use.entered == nil, all.running
  use.entered = all.rebound
  running[use] = true
  local began
  local ended = xmpp.spawn(function() -- started first, so that an error of the hook is reported here
    local ok, why = began:wait()
    if not ok then guard.report(who(use) .. ", session", why) end
    running[use] = nil
    settle(all, conn)
  end)
  began = xmpp.spawn(function()
    if use.ext.session and all.by[use.ext] == use then named(use.ext, use.ext.session)(use.st, conn, first) end
    return true
  end)
  return ended
end

-- Runs the hooks of all that have not been told of this session yet, in order. Waits until they have returned.
local function on_session(all, conn)
  local ends = {}
  all.rebound, all.up, all.running = conn:info().rebound, true, {}
  each(all, function(use)
    if use.entered ~= all.rebound then ends[#ends + 1] = enter(all, use, conn) end
  end)
  for _, promise in ipairs(ends) do promise:wait() end
  settle(all, conn)
end

local function on_ready(all, conn)
  local new = all.rebound ~= conn:info().rebound
  all.up = true
  if new then return end -- on_session is called for that
  each(all, function(use)
    if use.entered then hook(use, "resumed", conn) else enter(all, use, conn) end
  end)
  settle(all, conn)
end

local function on_lost(all, conn, err)
  all.up = false
  each(all, function(use)
    if use.entered then hook(use, "lost", conn, err) end
  end)
end

local function take_away(use)
  for i = #use.offs, 1, -1 do use.offs[i]() end
  use.offs = {}
end

local function without(list, f)
  local out = {}
  for _, g in ipairs(list) do
    if g ~= f then out[#out + 1] = g end
  end
  return out
end

local function changed(all)
  for _, f in ipairs(all.watchers) do f() end
end

local function remove(all, use)
  for i, other in ipairs(all.uses) do
    if other == use then table.remove(all.uses, i) break end
  end
  all.by[use.ext], all.running[use] = nil, nil
  take_away(use)
  if use.ext.features then changed(all) end
end

local function closed_error(err)
  if err then return err end
  return core.error { layer = "closed", condition = "closed", retry = false, text = "the connection is closed" }
end

local function on_closed(all, conn, err)
  local settled = all.settled
  all.settled, all.watchers = nil, {}
  each(all, function(use)
    use.st:emit("closed", err)
    hook(use, "stop", conn)
    use.deafen()
    remove(all, use)
  end, true)
  if settled then settled:reject(closed_error(err)) end
end

local DOWN = { connecting = true, waiting = true, closed = true }

local function listen(all, conn)
  if all.listening then return end
  all.listening, all.up, all.rebound = true, conn:state() == "ready", conn:info().rebound
  conn:on("session", function() on_session(all, conn) end)
  conn:on("state", function(state, err)
    if state == "ready" then on_ready(all, conn) end
    if all.up and DOWN[state] then on_lost(all, conn, err) end
    if state == "closed" then on_closed(all, conn, err) end
  end)
end

-- Using

local function check_list(ext, key, level)
  local list = ext[key]
  if list == nil then return end
  local fault = type(list) ~= "table" and type(list)
  for i, entry in ipairs(not fault and list or {}) do
    local kind = key == "needs" and "table" or (key == "taps" or key == "adds") and "table" or "string"
    if type(entry) ~= kind then fault = ("%s at %d"):format(type(entry), i) end
    if not fault and (key == "taps" or key == "adds") and
      not (type(entry[1]) == "table" and type(entry[2]) == "function") then
      fault = ("no filter and function at %d"):format(i)
    end
  end
  if fault then error(("extension '%s': bad '%s' (%s)"):format(ext.name, key, fault), level + 1) end
end

local function check_extension(ext, fname, level)
  if type(ext) ~= "table" then
    error(("bad argument #2 to '%s' (extension expected, got %s)"):format(fname, type(ext)), level + 1)
  end
  local name = ext.name
  if type(name) ~= "string" or not name:find "^[%w_.:-]+$" or #name > 100 then
    error(("bad argument #2 to '%s' (an extension has a name, of letters, digits and _.:-)"):format(fname), level + 1)
  end
  for _, key in ipairs { "needs", "features", "events", "taps", "adds" } do check_list(ext, key, level + 1) end
  for _, key in ipairs(HOOKS) do
    if ext[key] ~= nil and type(ext[key]) ~= "function" then
      error(("extension '%s': bad '%s' (function expected, got %s)"):format(name, key, type(ext[key])), level + 1)
    end
  end
  if ext.methods ~= nil and type(ext.methods) ~= "table" then
    error(("extension '%s': bad 'methods' (table expected, got %s)"):format(name, type(ext.methods)), level + 1)
  end
end

local function alike(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, v in pairs(a) do
    if not alike(v, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function install(use, conn)
  local ext, st, offs = use.ext, use.st, use.offs
  for _, tap in ipairs(ext.taps or {}) do
    local f = named(ext, tap[2])
    offs[#offs + 1] = conn:tap(function(stanza, c) return f(st, stanza, c) end, tap[1])
  end
  for _, add in ipairs(ext.adds or {}) do
    local f, filter = named(ext, add[2]), add[1]
    local function element(stanza, c) return f(st, stanza, c) end
    offs[#offs + 1] = core.conn.add(conn, filter.name, filter.type or false, element)
  end
end

-- Runs a hook that must not wait; raises the error's text if it throws or waits.
local function at_once(use, name, ...)
  local ok, waits = guard.begin(named(use.ext, use.ext[name]), use.st, ...)
  if not ok then error(("%s, %s: %s"):format(who(use), name, waits), 0) end
  if waits then error(("%s, %s: it must not wait"):format(who(use), name), 0) end
end

local function restore(all, use)
  local saved = all.saved and all.saved[use.ext.name]
  if saved == nil or not use.ext.load then return end
  local ok, why = pcall(at_once, use, "load", saved)
  if not ok then guard.report(who(use), why) end
end

local use_one

local function use_needs(all, conn, ext)
  all.starting[ext] = true
  for _, need in ipairs(ext.needs or {}) do
    if all.starting[need] then
      error(("extension '%s' needs '%s', which needs it"):format(ext.name, tostring(need.name)), 0)
    end
    check_extension(need, "use", 1)
    if not all.by[need] then use_one(all, conn, need, nil, true) end
  end
end

local function begin(conn, use, opts)
  install(use, conn)
  if use.ext.start then at_once(use, "start", conn, opts or {}) end
end

function use_one(all, conn, ext, opts, auto)
  local used, why = pcall(use_needs, all, conn, ext)
  local use = { ext = ext, opts = opts, auto = auto, offs = {} }
  use.st, use.deafen = handle.new(who(use), ext.events, ext.methods)
  if used then used, why = pcall(begin, conn, use, opts) end
  all.starting[ext] = nil
  if not used then
    take_away(use)
    error(why, 0)
  end
  all.by[ext], all.uses[#all.uses + 1] = use, use
  restore(all, use)
  if ext.features then changed(all) end
  if conn:state() == "ready" then
    all.rebound = conn:info().rebound
    enter(all, use, conn)
  end
  return use
end

-- Drops those that the program didn't ask for and that no other extension needs any more.
local function drop_unneeded(all, conn)
  local needed = {}
  for _, use in ipairs(all.uses) do
    for _, need in ipairs(use.ext.needs or {}) do needed[need] = true end
  end
  for i = #all.uses, 1, -1 do
    local use = all.uses[i]
    if use.auto and not needed[use.ext] then
      remove(all, use)
      hook(use, "stop", conn)
      return drop_unneeded(all, conn)
    end
  end
end

local function again(use, opts, level)
  use.auto = nil
  if opts == nil or alike(opts, use.opts) then return use.st end
  error(("extension '%s' is used already, with other options"):format(use.ext.name), level + 1)
end

--- Begins to use an extension on a connection, after those that it needs. A second call, without options or with the
--- same ones, returns the same handle; with other options it raises an error. If the connection is ready, the
--- extension's `session` hook runs in the loop's next turn. An error in `start` is raised under the extension's name,
--- and nothing of the extension remains.
---@param conn xmpp.Conn
---@param ext table
---@param opts? table
---@param level? integer where to report an error, as for error() (1: the caller of this function)
---@return table? st the extension's state and handle
---@return xmpp.Error? err layer "closed"
function M.use(conn, ext, opts, level)
  level = (level or 1) + 1
  guard.check_conn(conn, "use", level)
  check_extension(ext, "use", level)
  if opts ~= nil then guard.check_type(opts, "table", 3, "use", level) end
  if conn:state() == "closed" then return nil, closed_error() end
  local all = kept(conn)
  if all.by[ext] then
    local st = again(all.by[ext], opts, level)
    return st
  end
  if all.starting[ext] then error(("extension '%s' is being started"):format(ext.name), level) end
  listen(all, conn)
  local ok, use = pcall(use_one, all, conn, ext, opts)
  if ok then return use.st end
  drop_unneeded(all, conn)
  error(use, level)
end

--- Returns the extension's handle on this connection, or nil if the extension is not in use.
---@param conn xmpp.Conn
---@param ext table
---@return table? st
function M.of(conn, ext)
  guard.check_conn(conn, "of", 2)
  local use = kept(conn).by[ext]
  return use and use.st
end

--- Ends the use of an extension, and of those that were used only because it needs them. Its taps and features, and
--- what it added to stanzas, are gone; then its `stop` is called. Raises if another extension needs it.
---@param conn xmpp.Conn
---@param ext table
---@return boolean was it in use?
function M.drop(conn, ext)
  guard.check_conn(conn, "drop", 2)
  local all = kept(conn)
  local use = all.by[ext]
  if not use then return false end
  for _, other in ipairs(all.uses) do
    for _, need in ipairs(other.ext.needs or {}) do
      if need == ext then
        error(("extension '%s' can't be dropped: '%s' needs it"):format(ext.name, other.ext.name), 2)
      end
    end
  end
  remove(all, use)
  hook(use, "stop", conn)
  use.deafen()
  drop_unneeded(all, conn)
  settle(all, conn)
  return true
end

--- Lists the names of the extensions in use, each after those that it needs.
---@param conn xmpp.Conn
---@return string[]
function M.list(conn)
  guard.check_conn(conn, "list", 2)
  local names = {}
  for i, use in ipairs(kept(conn).uses) do names[i] = use.ext.name end
  return names
end

--- Returns the features of all extensions in use.
---@param conn xmpp.Conn
---@return table<string, true>
function M.features(conn)
  guard.check_conn(conn, "features", 2)
  local out = {}
  for _, use in ipairs(kept(conn).uses) do
    for _, feature in ipairs(use.ext.features or {}) do out[feature] = true end
  end
  return out
end

--- Calls `f` when the features may have changed.
---@return fun() off
function M.watch(conn, f)
  guard.check_conn(conn, "watch", 2)
  guard.check_type(f, "function", 2, "watch", 2)
  local all = kept(conn)
  all.watchers = without(all.watchers)
  all.watchers[#all.watchers + 1] = f
  return function() all.watchers = without(all.watchers, f) end
end

--- Calls the functions given to `watch`. For extensions whose features depend on something that has changed.
function M.changed(conn)
  guard.check_conn(conn, "changed", 2)
  changed(kept(conn))
end

--- Waits until the connection is ready and the `session` hooks of all extensions have ended in the present session,
--- successfully or not. Must not be called in such a hook.
---@param conn xmpp.Conn
---@param timeout? number seconds (no end)
---@return boolean? ok true
---@return xmpp.Error? err layer "timeout" or "closed"
function M.ready(conn, timeout)
  guard.check_conn(conn, "ready", 2)
  if timeout ~= nil then guard.check_type(timeout, "number", 2, "ready", 2) end
  local all = kept(conn)
  if conn:state() == "closed" then return nil, closed_error() end
  if conn:state() == "ready" and not next(all.running) then return true end
  listen(all, conn)
  all.settled = all.settled or xmpp.promise()
  return all.settled:wait(timeout)
end

--- Collects what the extensions keep (what their `save` hooks return), by name, as plain data for `load`: together with
--- conn:save(), or by itself. An extension whose hook throws is left out, and xmpp.on_error is told.
---@param conn xmpp.Conn
---@return table
function M.save(conn)
  guard.check_conn(conn, "save", 2)
  local all, out = kept(conn), {}
  for name, saved in pairs(all.saved or {}) do out[name] = saved end -- of those that aren't used
  each(all, function(use)
    if not use.ext.save then return end
    local ok, waits, saved = guard.begin(use.ext.save, use.st)
    if not ok or waits == true then
      guard.report(who(use) .. ", save", ok and "it must not wait" or waits)
    else
      out[use.ext.name] = saved
    end
  end)
  return out
end

--- Passes what `save` has collected on another connection to the extensions that will be used on this one. Must be
--- called before the first `use`. Data that an extension cannot read are ignored, and xmpp.on_error is told.
---@param conn xmpp.Conn
---@param saved table
function M.load(conn, saved)
  guard.check_conn(conn, "load", 2)
  guard.check_type(saved, "table", 2, "load", 2)
  local all = kept(conn)
  if all.uses[1] then error("ext.load is to be called before ext.use", 2) end
  all.saved = saved
end

return M
