-- presence: our own presence, which is sent again in new sessions, and the presences of others (RFC 6121 4).
--
--   presence.set(conn, { status = "at your service" })
--   presence.send(conn, "anna@example.net", { show = "away" })          -- to somebody who isn't in the roster
--   presence.keep(conn, "anna@example.net")                             -- store presences from there, and emit events
--   ext.use(conn, presence):on("presence", function(jid, p) print(jid, p.type or p.show or "online") end)
--   for resource, p in pairs(presence.of(conn, "anna@example.net")) do print(resource, p.status) end
--
-- Presences are stored for our own account's other resources, for addresses that we have sent a presence to by `send`
-- in this session, and for those for which `keep` has been called, as roster does for contacts; for each bare address
-- at most 64 resources (option max_resources of ext.use). Presences from anybody else are not stored and cause no
-- events: strangers, and the occupants of rooms, would fill the memory. A presence is trusted only for what it says
-- about its own `from`, which the server has verified.
--
-- Events: "presence" (jid, p, stanza): somebody is available, or no longer (p.type "unavailable"), or a presence of
-- ours was returned (p.type "error"); "reset": in a new session all stored presences are discarded, and received
-- again.

local core = require "xmpp.load"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local knowing = require "xmpp.presence.known"
local words = require "xmpp.presence.words"
local xmpp = require "xmpp"

local M = { name = "presence", events = { "presence", "reset" } }

local MOST_RESOURCES, MOST_DIRECTED = 64, 1000
local LONGEST_BEFORE = 60 -- seconds that our presence waits for the functions given to `before`

-- Sending. State: `last`: what was set, nil if nothing was set or it was cleared; version: of `last`; sent: the
-- version that was sent last; said: the session (info().rebound) in which we are available.

-- A presence belongs to its session: in the next one `session` sends it again, and a directed one is not sent again at
-- all. Subscription stanzas stay valid.
local function send(conn, stanza)
  local kind = stanza[2].type
  return conn:send(stanza, { session = kind == nil or kind == "unavailable" })
end

-- Runs all the functions that precede the first presence of a session, concurrently, and waits for them.
local function run_before(st)
  local ends, latest = {}, core.now() + LONGEST_BEFORE
  for i, f in ipairs(st.before) do ends[i] = xmpp.spawn(function() f() return true end) end
  for _, promise in ipairs(ends) do
    local ok, err = promise:wait(math.max(0, latest - core.now()))
    if not ok then guard.report("before the presence", err) end
  end
end

-- Waits until these functions have run in this session, whichever caller started them.
local function go_behind(st, rebound)
  if st.prepared == rebound then return end
  if not st.preparing or st.preparing.rebound ~= rebound then
    local under_way = { rebound = rebound }
    st.preparing = under_way
    under_way.promise = xmpp.spawn(function() -- for all who wait, even if the first caller is cancelled
      run_before(st)
      if st.preparing == under_way then st.preparing, st.prepared = nil, rebound end
      return true
    end)
  end
  st.preparing.promise:wait()
end

-- Makes sure that the server knows what was set last. If there is no session at the moment, the next one does it.
local function say(st, conn)
  if conn:state() ~= "ready" then return true end
  local rebound = conn:info().rebound
  if st.last and st.said ~= rebound then
    if st.before[1] then go_behind(st, rebound) end
    if conn:state() ~= "ready" or conn:info().rebound ~= rebound then return true end
  end
  if st.said == rebound and st.sent == st.version then return true end -- another call has done it in the meantime
  if not st.last and st.said ~= rebound then return true end -- the server doesn't know of us
  local version, last = st.version, st.last
  local ok, err = send(conn, words.stanza(last or { type = "unavailable" }))
  if not ok then return nil, err end
  st.sent, st.said = version, last and rebound or nil
  return true
end

local function forget_all(st)
  if knowing.clear(st.known) then st:emit "reset" end
end

local function use(conn, fname)
  guard.check_conn(conn, fname, 3)
  local st, err = ext.use(conn, M, nil, 3)
  return st, err
end

--- Makes us available with this presence to everybody who may see it. It is sent again in each new session. In each
--- session it is sent after the functions registered by `before` have returned; the first time this function waits for
--- that. While there is no connection it is kept until there is one.
---@param conn xmpp.Conn
---@param p? { show: string?, status: string?, priority: integer?, idle_since: number? } show: "away", "chat", "dnd" or
--- "xa"; status: a text; priority: -128 to 127; idle_since: since when the user has been idle (XEP-0319), in seconds
--- since 1970
---@return boolean? ok true
---@return xmpp.Error?
function M.set(conn, p)
  guard.check_conn(conn, "set", 2)
  p = words.check(p, 2, "set", 2)
  local st, err = use(conn, "set")
  if not st then return nil, err end
  st.last, st.version = p, st.version + 1
  return say(st, conn)
end

--- Makes us unavailable. The connection stays open, and no presence is sent in new sessions. The server also tells
--- those who got a presence by `send`, and stops sending us the presences of others.
---@param conn xmpp.Conn
---@return boolean? ok true
---@return xmpp.Error?
function M.clear(conn)
  local st, err = use(conn, "clear")
  if not st then return nil, err end
  st.last, st.version = nil, st.version + 1
  forget_all(st)
  return say(st, conn)
end

--- Returns what was set last, or nil if nothing was set or it was cleared.
---@param conn xmpp.Conn
---@return { show: string?, status: string?, priority: integer?, idle_since: number? }?
function M.last(conn)
  guard.check_conn(conn, "last", 2)
  local st = ext.of(conn, M)
  local p = st and st.last
  return p and { show = p.show, status = p.status, priority = p.priority, idle_since = p.idle_since } or nil
end

--- Returns the stanza for a presence, for programs that add something to it.
---@param p { show: string?, status: string?, priority: integer?, idle_since: number?, type: string? }?
---@param to? string|xmpp.Jid
---@return xmpp.Stanza
function M.stanza(p, to)
  p = words.check(p, 1, "stanza", 2, true)
  return words.stanza(p, to)
end

--- Sends a directed presence to one address, in this session (RFC 6121 4.6). Until we send it type "unavailable", or
--- the session ends, presences from there are stored, and that address may ask what we are (disco.allows). This holds
--- for 1,000 addresses (option max_directed of ext.use).
---@param conn xmpp.Conn
---@param to string|xmpp.Jid
---@param p? { show: string?, status: string?, priority: integer?, idle_since: number?, type: string? } as for `set`;
--- type: "unavailable", or one for subscriptions, with only a status
---@return boolean? ok true
---@return xmpp.Error?
function M.send(conn, to, p)
  guard.check_conn(conn, "send", 2)
  if not core.is_jid(to) then guard.check_type(to, "string", 2, "send", 2) end
  p = words.check(p, 3, "send", 2, true)
  local jid, bad = core.jid(to)
  if not jid then return nil, bad end
  local st, err = use(conn, "send")
  if not st then return nil, err end
  local bare = tostring(jid:bare())
  if p.type == nil then knowing.direct(st.known, bare, st.max_directed) end
  if p.type == "unavailable" then knowing.undirect(st.known, bare) end
  return send(conn, words.stanza(p, jid))
end

--- Calls `f` in each session before our first presence is sent, in a coroutine of its own. The presence waits for it,
--- for a minute at most. In this way the roster is known before the contacts' presences arrive.
---@param conn xmpp.Conn
---@param f fun()
---@return fun(): boolean off removes it; returns true the first time
function M.before(conn, f)
  guard.check_conn(conn, "before", 2)
  guard.check_type(f, "function", 2, "before", 2)
  local st = use(conn, "before")
  local list = st and st.before or {}
  list[#list + 1] = f
  return function()
    for i, other in ipairs(list) do
      if other == f then table.remove(list, i) return true end
    end
    return false
  end
end

-- Presences of others

--- Stores presences, and emits the event "presence" for them, if they come from a bare address, or from any for which
--- `what(bare)` is true; that function must not wait.
---@param conn xmpp.Conn
---@param what string|xmpp.Jid|fun(bare: string): boolean
---@return fun(): boolean off ends it; presences that nothing else keeps are discarded then
function M.keep(conn, what)
  guard.check_conn(conn, "keep", 2)
  local jid
  if type(what) ~= "function" then
    if not core.is_jid(what) then guard.check_type(what, "string", 2, "keep", 2) end
    local bad
    jid, bad = core.jid(what)
    if not jid then error(("bad argument #2 to 'keep' (%s)"):format(bad.text), 2) end
  end
  local st = use(conn, "keep")
  if not st then return function() return false end end
  if not jid then return knowing.want_by(st.known, what) end
  return knowing.want(st.known, tostring(jid:bare()))
end

--- Discards the presences of a bare address that is no longer wanted. For programs that have given a function to
--- `keep`.
---@param conn xmpp.Conn
---@param bare string a prepared bare address
function M.forget(conn, bare)
  guard.check_conn(conn, "forget", 2)
  guard.check_type(bare, "string", 2, "forget", 2)
  local st = ext.of(conn, M)
  if st then knowing.forget(st.known, bare) end
end

--- Returns who is available. For a bare address: a table of its resources, empty if it is not available or not kept.
--- For a full address: its presence, or nil. The presences are shared: do not change them.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@return table<string, xmpp.Presence>|xmpp.Presence|nil
---@return xmpp.Error? err if that is not a valid address
function M.of(conn, jid)
  guard.check_conn(conn, "of", 2)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, "of", 2) end
  local address, err = core.jid(jid)
  if not address then return nil, err end
  local st, out = ext.of(conn, M), {}
  local resources = st and knowing.of(st.known, tostring(address:bare())) or {}
  if address.resourcepart then return resources[address.resourcepart] end
  for resource, p in pairs(resources) do out[resource] = p end
  return out
end

local HEARD = { unavailable = true, error = true }

-- Our own presence comes back to us (RFC 6121 4.2.2), and is ignored.
local function hear(st, stanza, conn)
  local kind, from = stanza[2].type, stanza[2].from
  local jid = (kind == nil or HEARD[kind]) and from and core.jid(from)
  if not jid then return end
  local bare, known = tostring(jid:bare()), st.known
  if not knowing.wants(known, bare) or bare == known.own and jid == conn:jid() then return end
  local p = words.read(stanza)
  if knowing.note(known, bare, jid.resourcepart or "", p) then st:emit("presence", tostring(jid), p, stanza) end
end

M.taps = { { { name = "presence" }, hear } }

-- The extension

local OPTIONS = { max_resources = MOST_RESOURCES, max_directed = MOST_DIRECTED }

local function check_options(opts)
  for name, v in pairs(opts) do
    if not OPTIONS[name] then error(("there is no option '%s'"):format(tostring(name)), 0) end
    if type(v) ~= "number" or v % 1 ~= 0 or v < 0 then
      error(("bad option '%s' (whole number expected, got %s)"):format(name, core.shown(tostring(v))), 0)
    end
  end
end

function M.start(st, conn, opts)
  check_options(opts)
  local own = conn:jid()
  if not own.localpart then error("a component has no presence of its own: it sends those of its users", 0) end
  st.before, st.version, st.sent = {}, 0, 0
  st.max_directed = opts.max_directed or MOST_DIRECTED
  st.known = knowing.new(opts.max_resources or MOST_RESOURCES)
  st.known.own = tostring(own:bare())
  st.disallow = disco.allow(conn, function(from)
    local jid = core.jid(from)
    return jid ~= nil and st.known.directed[tostring(jid:bare())] ~= nil
  end)
  local is_ready, session = conn:state() == "ready", conn:info()
  st.rebound = is_ready and session.rebound or nil
  st.goes_on = is_ready and session.rebound == 0 and session.resumed > 0 -- perhaps another process's
end

--- In a new session the server knows nothing of us, and sends the presences of others again: event "reset" says so.
function M.session(st, conn)
  local rebound = conn:info().rebound
  if st.rebound ~= rebound then
    st.rebound = rebound
    forget_all(st)
  end
  say(st, conn)
end

function M.resumed(st, conn) say(st, conn) end

function M.stop(st) st.disallow() end

function M.save(st)
  return { last = st.last, by = knowing.save(st.known) }
end

--- If this connection continues another process's session, what was sent in it needn't be sent again.
function M.load(st, saved)
  if type(saved) ~= "table" then error("a table expected", 0) end
  local ok, last = pcall(words.check, saved.last, 1, "load", 1)
  if not ok then error("what was set last: " .. tostring(last), 0) end
  if saved.last then st.last, st.version = last, 1 end
  if not st.goes_on then return end
  st.prepared, st.sent, st.said = st.rebound, st.version, saved.last and st.rebound or nil
  knowing.load(st.known, saved.by)
end

return M
