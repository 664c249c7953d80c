-- command: ad-hoc commands (XEP-0050), offered and run, and the names of those for server administrators (XEP-0133).
--
--   command.serve(conn, "restart", { name = "Restart", allow = is_admin }, function(dialog)
--     local v = dialog:ask { fields = { { var = "what", kind = "list-single", options = services } } }
--     if not v then return end
--     restart(v.what)
--     return v.what .. " restarted"
--   end)
--
--   for _, c in ipairs(assert(command.list(conn, "example.net"))) do print(c.node, c.name) end
--   local result = assert(command.run(conn, "example.net", command.admin["add-user"],
--     { accountjid = "anna@example.net", password = secret, ["password-verify"] = secret }))
--   print(result.text)
--
-- Who is trusted. When serving: the requester's address as the server has verified it; `allow` decides at every step;
-- a session belongs to the full address that has begun it, and to the address of ours at which it was begun. Somebody
-- who is not allowed, or who names another user's session, learns nothing: not that the session exists, nor the
-- command, nor (disco.allows) that we are available. When running: the address that was asked, and nobody else, for
-- its own commands.
--
-- Sessions that we serve survive a reconnect; one that we run does not (condition "session-lost").

local core = require "xmpp.load"
local bounded = require "xmpp.chat.bounded"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local form = require "xmpp.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local running = require "xmpp.command.run"
local sessions = require "xmpp.command.session"
local words = require "xmpp.command.words"
local xexpr = require "xmpp.xexpr"

local M = { name = "command", needs = { disco }, events = {}, admin = require "xmpp.command.admin" }

local COMMANDS = words.COMMANDS
local MOST_SESSIONS, OF_ONE, LIFETIME, RATE, BURST = 100, 10, 600, 1, 5
local MOST_ASKERS = 1000 -- number of requesters whose rate is limited

-- Serving. st.served: by key_of(at, node), in the order of st.list; st.at: by address, the disco entries for its
-- commands.

local function key_of(at, node) return (at or "") .. "\0" .. node end

local function is_component(conn) return conn:jid().localpart == nil end

-- The requester's address, prepared; if there is none, it is our own account or our server.
local function asker(conn, from)
  local jid = core.jid(from or conn:jid():bare())
  return jid and tostring(jid)
end

-- The requested address, for a component with many of them.
local function place(conn, to)
  local jid = to and is_component(conn) and core.jid(to)
  return jid and tostring(jid) or nil
end

local function may(command, from) return from ~= nil and command.allow(from) == true end

-- Answers as if the command didn't exist; to somebody who may not know that we are available, as the server would
-- answer if we weren't.
local function refuse(conn, from)
  return nil, "cancel", disco.allows(conn, from) and "item-not-found" or "service-unavailable"
end

local function find(st, conn, to, node)
  local at = place(conn, to)
  return at and st.served[key_of(at, node)] or st.served[key_of(nil, node)]
end

-- Has this account begun more sessions than the rate allows? A short burst is allowed.
local function is_too_fast(st, from)
  local bare, now = tostring(core.jid(from):bare()), core.now()
  local had = bounded.get(st.rates, bare) or { left = BURST, at = now }
  local left = math.min(BURST, had.left + (now - had.at) * st.rate)
  bounded.set(st.rates, bare, { left = left >= 1 and left - 1 or left, at = now })
  return left < 1
end

local function begin(st, conn, command, o, x)
  local action = xexpr.attr(x, "action")
  if action ~= nil and action ~= "execute" then
    return nil, "modify", "bad-request", "there is no session", words.condition "bad-action"
  end
  if is_too_fast(st, o.from) then return nil, "wait", "policy-violation", "too many commands" end
  return sessions.begin(st.book, conn, command, o)
end

local function answer(st, x, stanza, conn)
  local from, node, id = asker(conn, stanza[2].from), xexpr.attr(x, "node"), xexpr.attr(x, "sessionid")
  local command = x[1] == "command" and node and find(st, conn, stanza[2].to, node)
  local o = { from = from, to = place(conn, stanza[2].to), node = node,
    lang = xexpr.attr(x, "xml:lang") or stanza[2]["xml:lang"] }
  local session = id and from and sessions.find(st.book, id, o)
  if not command or not may(command, from) then
    if session then sessions.finish(st.book, session, "cancel") end
    return refuse(conn, from)
  end
  if not id then return begin(st, conn, command, o, x) end
  if not session or session.over or session.command ~= command then return nil, "cancel", "item-not-found" end
  return sessions.step(st.book, session, xexpr.attr(x, "action"), xexpr.child(x, "x", form.DATA))
end

-- Answers to disco requests

-- The commands at an address that somebody may run.
local function commands_for(st, conn, at, from)
  local jid, out = at or tostring(conn:jid()), {}
  from = asker(conn, from)
  for _, command in ipairs(st.list) do
    local here = command.at == at or command.at == nil and not st.served[key_of(at, command.node)]
    if here and may(command, from) then out[#out + 1] = { jid = jid, node = command.node, name = command.name } end
  end
  return out
end

local function announce(st, conn, at)
  local had = st.at[at or ""]
  if had then
    had.n = had.n + 1
    return
  end
  local off = disco.serve(conn, { at = at, node = COMMANDS, features = { COMMANDS },
    identities = { { category = "automation", type = "command-list", name = "Commands" } },
    items = function(from) return commands_for(st, conn, at, from) end,
    allow = function(from) return disco.allows(conn, from) or #commands_for(st, conn, at, from) > 0 end })
  st.at[at or ""] = { n = 1, offs = { off, disco.add(conn, COMMANDS, at) } }
end

local function withdraw(st, at)
  local had = st.at[at or ""]
  had.n = had.n - 1
  if had.n > 0 then return end
  st.at[at or ""] = nil
  for _, off in ipairs(had.offs) do off() end
end

local function put(st, conn, command)
  local off = disco.serve(conn, { at = command.at, node = command.node,
    identities = { { category = "automation", type = "command-node", name = command.name } },
    features = { COMMANDS, form.DATA },
    allow = function(from) return may(command, asker(conn, from)) end })
  command.off = off
  announce(st, conn, command.at)
  st.served[key_of(command.at, command.node)] = command
  st.list[#st.list + 1] = command
end

local function take_away(st, command)
  local key = key_of(command.at, command.node)
  if st.served[key] ~= command then return false end
  st.served[key] = nil
  for i, other in ipairs(st.list) do
    if other == command then table.remove(st.list, i) break end
  end
  command.off()
  withdraw(st, command.at)
  sessions.finish_all(st.book, "closed", function(session) return session.command == command end)
  return true
end

local SERVE = { name = "string", allow = "function", at = "jid", back = "boolean" }

local function own_account(conn)
  local own = tostring(conn:jid():bare())
  return function(from)
    local jid = core.jid(from)
    return jid ~= nil and tostring(jid:bare()) == own
  end
end

local function place_of(conn, at)
  if at == nil then return nil end
  if not is_component(conn) then error("option 'at' of 'serve' is for the addresses of a component", 3) end
  local jid, err = core.jid(at)
  if not jid then error(("bad option 'at' of 'serve' (%s)"):format(err.text), 3) end
  return tostring(jid)
end

--- Offers a command. `f(dialog, conn)` runs in a coroutine of its own for each person who runs it, and asks what it
--- needs to know (see dialog:ask). What it returns ends the command: a text; a form of kind "result", as form.new
--- creates or takes it; true or nothing; or nil, type, condition [, text] for an error. If it throws, the other side
--- gets internal-server-error, and xmpp.on_error is told.
---
--- There are limits: 100 sessions at once, 10 of one account; ten minutes without activity; an account may begin one
--- session a second, and five at once. They are options of ext.use(conn, command, { sessions =, per_account =,
--- lifetime =, rate = }).
---@param conn xmpp.Conn
---@param node string the command's node
---@param opts { name: string?, allow: (fun(from: string): boolean?), at: string|xmpp.Jid|nil, back: boolean? }? name:
--- for people (the node); allow(from): may that full address (prepared) see and run it? Called at every step, may
--- wait. Without it only our own account may; a component must have one; at: the address of a component (all of ours);
--- back: people may go back to an earlier question. Then `f` is run again, and the questions before that one are
--- answered as before, so `f` should ask first and act at its end
---@param f fun(dialog: xmpp.Dialog, conn: xmpp.Conn): any, string?, string?, string?
---@return fun(): boolean off removes the command; its sessions end with "closed"
---@return xmpp.Error? err layer "closed"
function M.serve(conn, node, opts, f)
  guard.check_conn(conn, "serve", 2)
  words.check_node(node, 2, "serve", 2)
  opts = guard.check_opts(opts, SERVE, 3, "serve", 2)
  guard.check_type(f, "function", 4, "serve", 2)
  if not opts.allow and is_component(conn) then error("a component's command needs an option 'allow'", 2) end
  local at = place_of(conn, opts.at)
  local st, err = ext.use(conn, M, nil, 2)
  if not st then return function() return false end, err end
  if st.served[key_of(at, node)] then error(("there is a command '%s' there already"):format(core.shown(node)), 2) end
  local command = { node = node, name = opts.name or node, at = at, f = f, back = opts.back,
    allow = opts.allow or own_account(conn) }
  local ok, why = pcall(put, st, conn, command)
  if not ok then error(why, 2) end
  return function() return take_away(st, command) end
end

-- Running

local LIST = { timeout = "number", from = "jid", max = "number" }

local function check_jid(jid, fname)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, fname, 3) end
  return core.jid(jid)
end

--- Lists the commands that an entity offers us. Those that it lists for other addresses are left out (XEP-0050 5).
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil, max: integer? } timeout: seconds; from: the address of a
--- component that asks; max: at most so many (1,000)
---@return { node: string, name: string? }[]? list
---@return xmpp.Error?
function M.list(conn, jid, opts)
  guard.check_conn(conn, "list", 2)
  local address, bad = check_jid(jid, "list")
  opts = guard.check_opts(opts, LIST, 3, "list", 2)
  if not address then return nil, bad end
  local items, err = disco.items(conn, address, { node = COMMANDS, timeout = opts.timeout, from = opts.from,
    max = opts.max })
  if not items then return nil, err end
  local out = {}
  for _, item in ipairs(items) do
    if item.node and core.jid(item.jid) == address then out[#out + 1] = { node = item.node, name = item.name } end
  end
  return out
end

local RUN = { timeout = "number", from = "jid", lang = "text" }

--- Runs a command to its end, and waits for that.
---
--- `how` answers its forms: a table of values by field name, from which each form takes what it asks for. If a value
--- that a form requires is missing, the command is cancelled with err.app "missing"; if one is not valid, with
--- "invalid"; err.condition is "not-acceptable" for both. Or it is a function of the form (nil if there is none), the
--- notes and the possible actions, which returns the values and, if it is not the default one, the action ("next",
--- "complete", "prev"); or nil, which cancels the command.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param node string
---@param how? table|(fun(f: xmpp.Form?, notes: table[], actions: string[]): table?, string?)
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil, lang: string? } timeout: seconds for each step; from:
--- the address of a component that asks; lang: the preferred language
---@return xmpp.CommandResult? result
---@return xmpp.Error? err a refusal, with the command's own condition in err.app ("bad-payload", "session-expired");
--- layer "closed", condition "session-lost" if the session was replaced by a new one
function M.run(conn, jid, node, how, opts)
  guard.check_conn(conn, "run", 2)
  local address, bad = check_jid(jid, "run")
  words.check_node(node, 3, "run", 2)
  if how ~= nil and type(how) ~= "function" then guard.check_type(how, "table", 4, "run", 2) end
  opts = guard.check_opts(opts, RUN, 5, "run", 2)
  if not address then return nil, bad end
  return running.run { conn = conn, to = address, node = node, how = how or {}, timeout = opts.timeout,
    from = opts.from, lang = opts.lang }
end

-- The extension

local OPTIONS = { sessions = MOST_SESSIONS, per_account = OF_ONE, lifetime = LIFETIME, rate = RATE }

local function check_options(opts)
  for name, v in pairs(opts) do
    if not OPTIONS[name] then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
    if type(v) ~= "number" or v <= 0 or v ~= v then
      error(("bad option '%s' (number above 0 expected, got %s)"):format(name, core.shown(tostring(v))), 0)
    end
  end
end

function M.start(st, conn, opts)
  check_options(opts)
  st.served, st.list, st.at, st.rates, st.rate = {}, {}, {}, bounded.new(MOST_ASKERS), opts.rate or RATE
  st.book = sessions.book(opts.sessions or MOST_SESSIONS, opts.per_account or OF_ONE, opts.lifetime or LIFETIME)
  st.off = iq.serve(conn, "set", COMMANDS, function(x, stanza, c) return answer(st, x, stanza, c) end)
end

function M.stop(st)
  st.off()
  for i = #st.list, 1, -1 do take_away(st, st.list[i]) end
end

return M
