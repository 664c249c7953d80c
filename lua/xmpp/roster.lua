-- roster: the account's contacts (RFC 6121 2 and 3): fetched by version in each new session, changed, subscribed to,
-- and their presences. An extension:
--
--   local r = roster.use(conn, { approve = function(jid) return jid:match "@example%.net$" ~= nil end })
--   r:on("presence", function(jid, p) print(jid, p.show or p.type or "online") end)
--   presence.set(conn, {})
--   assert(r:fetched(10))
--   for jid, item in pairs(r.items) do print(jid, item.subscription) end
--
-- Who is trusted: our own account for the contents of the roster, and nobody else (see roster/kept.lua). Anybody else
-- can only request a subscription to our presence (see roster/requests.lua).

local core = require "xmpp.load"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local items = require "xmpp.roster.item"
local kept = require "xmpp.roster.kept"
local presence = require "xmpp.presence"
local requests = require "xmpp.roster.requests"
local spelling = require "xmpp.spelling"

local M = {
  name = "roster",
  needs = { disco, presence },
  events = { "added", "changed", "removed", "request", "approved", "denied", "presence", "fetched" },
  taps = {
    { { name = "presence", type = "subscribe" }, requests.ask },
    { { name = "presence", type = "unsubscribe" }, requests.take_back },
    { { name = "presence", type = "unsubscribed" }, requests.denied },
  },
}

local PRE_APPROVAL = "urn:xmpp:features:pre-approval" -- RFC 6121 3.4
local MAX_REQUESTS = 100
local TOLD_WITHIN = 2 -- seconds to wait for the push after the server's answer
local WAITS = 60 -- seconds that a method waits for the roster if it needs it
local PRESENCE_WAITS = 20 -- seconds that our presence waits for the roster in a new session

-- Methods

local r = {}
M.methods = r

local CONTACT = { name = "string", groups = "table" }

local function check_jid(jid, fname, level)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 1, fname, level + 1) end
end

local function check_groups(groups, fname)
  for i, group in ipairs(groups or {}) do
    if type(group) ~= "string" or group == "" then
      error(("bad option 'groups' of '%s' (names expected, at %d is %s)"):format(fname, i,
        group == "" and "an empty one" or type(group)), 4)
    end
  end
end

-- The connection, if it is still open; else nil and the reason.
local function connection(st)
  local p = kept.of(st)
  local conn = p.conn[1]
  if p.gone or not conn then return nil, p.gone or kept.closed() end
  return conn
end

-- The address to send in a request, which is a full one only if the roster contains that, and the matching contact,
-- which the server may write differently. The request always has our spelling: the server knows whether both are the
-- same.
local function address(st, jid)
  local item = kept.find(st, jid)
  if item then return item.jid, item end
  local to = tostring(jid:bare())
  return to, st.items[spelling.key(to)]
end

-- Sends a roster set, and waits until the server has pushed the change as well, in its own spelling.
local function change(st, conn, jid, query)
  local told = kept.expect(st, function(pushed) return spelling.is(jid, pushed) end)
  local answer, err = iq.set(conn, nil, query)
  if answer then told.promise:wait(TOLD_WITHIN) end
  kept.forget(st, told)
  if not answer then return nil, err end
  return true
end

local function put(st, jid, opts, fname, is_new)
  check_jid(jid, fname, 3)
  opts = guard.check_opts(opts, CONTACT, 2, fname, 3)
  check_groups(opts.groups, fname)
  local conn, why = connection(st)
  local parsed, bad = core.jid(jid)
  if not conn or not parsed then return nil, why or bad end
  local ok, err = kept.wait(st, WAITS) -- what isn't given stays unchanged
  if not ok then return nil, err end
  local to, item = address(st, parsed)
  if not item and not is_new then
    return nil, core.error { layer = "stanza", condition = "item-not-found", type = "cancel", retry = false,
      text = to .. " is not in the roster" }
  end
  local name, groups = opts.name or item and item.name, opts.groups or item and item.groups
  return change(st, conn, to, items.query(to, name, groups))
end

--- Adds a contact, or changes the given fields of an existing one. Does not request a subscription; see `subscribe`.
--- Returns when the server has made the change and r.items shows it (it waits two seconds for that at most).
---@param jid string|xmpp.Jid
---@param opts? { name: string?, groups: string[]? } name: the contact's name ("": none); groups: the groups it is in
--- ({}: none)
---@return boolean? true
---@return xmpp.Error?
function r.add(st, jid, opts)
  local ok, err = put(st, jid, opts, "add", true)
  return ok, err
end

--- Changes the name and groups of a contact. What is not given stays unchanged. Waits as `add` does.
---@param jid string|xmpp.Jid
---@param opts { name: string?, groups: string[]? } name: the contact's name ("": none); groups: the groups it is in
--- ({}: none)
---@return boolean? true
---@return xmpp.Error? err condition "item-not-found" if there is no such contact
function r.set(st, jid, opts)
  local ok, err = put(st, jid, opts, "set", false)
  return ok, err
end

--- Removes a contact, and with it both subscriptions (RFC 6121 2.5).
---@param jid string|xmpp.Jid
---@return boolean? true
---@return xmpp.Error?
function r.remove(st, jid)
  check_jid(jid, "remove", 2)
  local conn, why = connection(st)
  local parsed, bad = core.jid(jid)
  if not conn or not parsed then return nil, why or bad end
  local to = address(st, parsed)
  return change(st, conn, to, items.removal(to))
end

-- Subscriptions

local function say(st, kind, jid, fname, status)
  check_jid(jid, fname, 3)
  local conn, why = connection(st)
  local parsed, bad = core.jid(jid)
  if not conn or not parsed then return nil, why or bad end
  local to = parsed:bare() -- RFC 6121 3.1.1
  local sent, err = conn:send { "presence", { to = to, type = kind }, status and { "status", {}, status } or nil }
  if not sent then return nil, err end
  return true, tostring(to)
end

--- Requests a subscription to a contact's presence, and adds it to the roster. The events "approved" and "denied"
--- report the answer, if one ever comes.
---@param jid string|xmpp.Jid
---@param status? string a text for the person who is asked
---@return boolean? true it has been sent
---@return xmpp.Error?
function r.subscribe(st, jid, status)
  if status ~= nil then guard.check_type(status, "string", 2, "subscribe", 2) end
  local ok, err = say(st, "subscribe", jid, "subscribe", status)
  return ok, not ok and err or nil
end

--- Ends our subscription to a contact's presence.
---@param jid string|xmpp.Jid
---@return boolean? true it has been sent
---@return xmpp.Error?
function r.unsubscribe(st, jid)
  local ok, err = say(st, "unsubscribe", jid, "unsubscribe")
  return ok, not ok and err or nil
end

--- Approves a subscription request: its sender will see our presence.
---@param jid string|xmpp.Jid
---@return boolean? true it has been sent
---@return xmpp.Error?
function r.approve(st, jid)
  local ok, to = say(st, "subscribed", jid, "approve")
  if not ok then return nil, to end
  requests.answered(st, to)
  return true
end

--- Denies a subscription request, or cancels a subscription to our presence.
---@param jid string|xmpp.Jid
---@return boolean? true it has been sent
---@return xmpp.Error?
function r.deny(st, jid)
  local ok, to = say(st, "unsubscribed", jid, "deny")
  if not ok then return nil, to end
  requests.answered(st, to)
  return true
end

--- Pre-approves a subscription (RFC 6121 3.4): the server will approve the request when it comes. `deny` cancels that.
---@param jid string|xmpp.Jid
---@return boolean? true it has been sent
---@return xmpp.Error? err condition "feature-not-implemented" if our server cannot do that
function r.preapprove(st, jid)
  check_jid(jid, "preapprove", 2)
  local conn, why = connection(st)
  if not conn then return nil, why end
  if not kept.offers(conn, PRE_APPROVAL) then
    return nil, core.error { layer = "stanza", condition = "feature-not-implemented", type = "cancel", retry = false,
      text = "our server doesn't support pre-approval (RFC 6121 3.4)" }
  end
  local ok, err = say(st, "subscribed", jid, "preapprove")
  return ok, not ok and err or nil
end

--- Waits until the roster of this session is complete; returns at once if it is. If fetching it has failed it is tried
--- again.
---@param timeout? number seconds
---@return boolean? true
---@return xmpp.Error?
function r.fetched(st, timeout)
  if timeout ~= nil then guard.check_type(timeout, "number", 1, "fetched", 2) end
  local ok, err = kept.wait(st, timeout)
  return ok, err
end

-- For other modules

--- Returns the subscription of a contact: "to" if we see its presence, "from" if it sees ours, "both" or "none". nil:
--- it is not in the roster, or no roster is in use, or that of this session has not arrived yet.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid bare, or the full address of one of its clients
---@return "none"|"to"|"from"|"both"|nil
function M.subscription(conn, jid)
  guard.check_conn(conn, "subscription", 2)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, "subscription", 2) end
  local st = ext.of(conn, M)
  local parsed = st and kept.of(st).synced and core.jid(jid)
  local item = parsed and kept.find(st, parsed)
  return item and item.subscription or nil
end

-- May this address know that we are available? Only a contact who is subscribed to our presence.
local function allows(st, from)
  local jid = kept.of(st).synced and core.jid(from)
  local item = jid and kept.find(st, jid)
  return item ~= nil and item ~= false and (item.subscription == "from" or item.subscription == "both")
end

-- The extension

local function check_options(opts)
  for name in pairs(opts) do
    if name ~= "approve" and name ~= "mutual" and name ~= "max_requests" then
      error(("there is no option '%s'"):format(core.shown(tostring(name))), 0)
    end
  end
  local approve, mutual, most = opts.approve, opts.mutual, opts.max_requests
  local is_rule = approve == nil or approve == "ask" or approve == "all" or approve == "none"
  if not is_rule and type(approve) ~= "function" then
    error("bad option 'approve' (\"ask\", \"all\", \"none\" or function expected)", 0)
  end
  if mutual ~= nil and type(mutual) ~= "boolean" then error("bad option 'mutual' (boolean expected)", 0) end
  if most ~= nil and not (type(most) == "number" and most >= 0) then
    error("bad option 'max_requests' (number from 0 on expected)", 0)
  end
end

local function begin(st, conn, p)
  p.offs[#p.offs + 1] = iq.serve(conn, "set", items.ROSTER, function(query, stanza, c)
    return kept.push(st, query, stanza, c)
  end, { session = true })
  p.offs[#p.offs + 1] = disco.allow(conn, function(from) return allows(st, from) end)
  p.offs[#p.offs + 1] = presence.keep(conn, function(bare) return kept.wants(st, bare) end)
  p.offs[#p.offs + 1] = ext.of(conn, presence):on("presence", function(jid, shown, stanza)
    if kept.find(st, core.jid(jid)) then st:emit("presence", jid, shown, stanza) end
  end)
  p.offs[#p.offs + 1] = presence.before(conn, function() kept.wait(st, PRESENCE_WAITS) end)
end

function M.start(st, conn, opts)
  check_options(opts)
  local p = kept.of(st, conn)
  p.approve, p.mutual, p.max_requests = opts.approve or "ask", opts.mutual, opts.max_requests or MAX_REQUESTS
  p.account, p.asked, p.n_asked = tostring(conn:jid():bare()), {}, 0
  st.items, st.requests, st.skipped = {}, {}, 0
  begin(st, conn, p)
end

function M.session(st, conn) kept.fetch(st, conn):wait() end

function M.resumed(st, conn) kept.fetch(st, conn):wait() end

function M.stop(st)
  local p = kept.of(st)
  for _, off in ipairs(p.offs) do off() end
  p.offs = {}
  kept.stop(st)
end

M.save, M.load = kept.save, kept.load

--- Begins to use the account's roster. r.items[jid] = { jid =, name =?, subscription =, ask =?, groups =, approved =?
--- }, by the bare addresses as the server writes them. r.requests[jid] is true for addresses whose subscription
--- requests are not answered yet. r.skipped counts contacts whose address is not valid by RFC 7622.
---
--- In a new session the events "added", "changed" and "removed" also report what has changed since the last one.
---@param conn xmpp.Conn
---@param opts? { approve: "ask"|"all"|"none"|(fun(jid: string, presence: xmpp.Stanza): boolean?), mutual: boolean?,
--- max_requests: integer? } approve: who may subscribe to our presence: "ask" (the event "request" decides; the
--- default), "all", "none", or a function, which may also return nil to leave it to the event; mutual: request a
--- subscription in return from those whom that rule approves; max_requests: number of requests that may wait for an
--- answer (100), further ones are ignored
---@return xmpp.Roster? r
---@return xmpp.Error?
function M.use(conn, opts)
  local st, err = ext.use(conn, M, opts, 2)
  return st, err
end

return M
