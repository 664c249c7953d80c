-- blocking: the account's block list, which the server applies (XEP-0191), and reports to the server (XEP-0377).
--
--   local b = blocking.use(conn)                            -- the list is fetched before our presence is sent
--   b:on("blocked", function(jid) print(jid) end)           -- by this client or another one of the account
--   blocking.block(conn, "spam@example.org")
--   blocking.report(conn, "spam@example.org", { reason = "spam", text = "the same, every hour" })
--   if blocking.is_blocked(conn, m.from) then ... end
--
-- Who is trusted: our own account, and nobody else. A push from the server's domain, from a full address of ours or
-- from a stranger changes nothing (by XEP-0191 3.3 pushes work as those of the roster do).
--
-- The list belongs to the server, which drops the stanzas: nothing is dropped here. Blocking one's own account, one's
-- server or that of a component in use would cut off the user: `block` refuses the first two unless option `own` is
-- set.

local core = require "xmpp.load"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local known = require "xmpp.blocking.known"
local presence = require "xmpp.presence"
local spelling = require "xmpp.spelling"

local M = { name = "blocking", needs = { presence }, events = { "blocked", "unblocked", "fetched" } }

local BLOCKING, REPORTING, SID = known.BLOCKING, "urn:xmpp:reporting:1", "urn:xmpp:sid:0"

-- Asking

local function use(conn, fname)
  guard.check_conn(conn, fname, 3)
  local st, err = ext.use(conn, M, nil, 3)
  return st, err
end

-- One address or a list of them, as Jids.
local function jids_of(what, fname)
  local list = type(what) == "table" and not core.is_jid(what) and what or { what }
  local out = {}
  for i, one in ipairs(list) do
    if not core.is_jid(one) and type(one) ~= "string" then
      error(("bad argument #2 to '%s' (address expected, got %s)"):format(fname, type(one)), 4)
    end
    local jid, err = core.jid(one)
    if not jid then return nil, err end
    out[i] = jid
  end
  if #out == 0 then
    error(("bad argument #2 to '%s' (an address or a list of them expected)"):format(fname), 4)
  end
  return out
end

-- Would that block ourselves: our account, one of our own resources, our server? A domain blocks all addresses in it
-- and in its subdomains (XEP-0191 2).
local function is_ours(conn, jid)
  local own = conn:jid()
  if jid.localpart then return jid:bare() == own:bare() end
  local domain = own.domainpart
  if jid.resourcepart then return false end
  return domain == jid.domainpart or domain:sub(-#jid.domainpart - 1) == "." .. jid.domainpart
end

local function check_not_ours(conn, jids)
  for _, jid in ipairs(jids) do
    if is_ours(conn, jid) then
      return nil, core.error { layer = "stanza", condition = "not-allowed", type = "cancel", retry = false,
        text = ("blocking %s would block ourselves; opts.own = true allows it"):format(tostring(jid)) }
    end
  end
  return true
end

-- Sends the change and applies it here, whether the push has arrived already or not.
local function change(st, conn, name, jids, items)
  local x, list = { name, { xmlns = BLOCKING } }, jids and {}
  for _, item in ipairs(items) do x[#x + 1] = item end
  for i, jid in ipairs(jids or {}) do list[i] = tostring(jid) end
  local ok, err = iq.set(conn, nil, x)
  if not ok then return nil, err end
  known.apply(st, name == "block", list)
  return true
end

local function plain_items(jids)
  local items = {}
  for i, jid in ipairs(jids) do items[i] = { "item", { jid = jid } } end
  return items
end

--- Begins to use the account's block list, and fetches it in each new session before our presence is sent.
--- b.blocked[jid] is true for each address. b.skipped counts addresses that are not valid by RFC 7622, b.beyond those
--- that exceed the limit of 10,000.
---@param conn xmpp.Conn a client's
---@return xmpp.Blocking? b
---@return xmpp.Error?
function M.use(conn)
  local st, err = use(conn, "use")
  return st, err
end

--- Returns the blocked addresses, sorted. A domain stands for everybody in it and its subdomains. Waits for the list.
---@param conn xmpp.Conn
---@return string[]? list
---@return xmpp.Error? err condition "service-unavailable" or "feature-not-implemented" if our server cannot do that
function M.list(conn)
  local st, err = use(conn, "list")
  if not st then return nil, err end
  local ok
  ok, err = known.fetched(st, conn)
  if not ok then return nil, err end
  return known.sorted(st.blocked)
end

--- Blocks an address, or several at once: a full one, a bare one, or a domain with everybody in it.
---@param conn xmpp.Conn
---@param what string|xmpp.Jid|(string|xmpp.Jid)[]
---@param opts? { own: boolean? } own: block our own account or server, too
---@return boolean? true
---@return xmpp.Error? err condition "not-allowed" if that would be ourselves
function M.block(conn, what, opts)
  local st, err = use(conn, "block")
  opts = guard.check_opts(opts, { own = "boolean" }, 3, "block", 2)
  local jids, bad = jids_of(what, "block")
  if not st or not jids then return nil, err or bad end
  local ok = true
  if not opts.own then ok, err = check_not_ours(conn, jids) end
  if not ok then return nil, err end
  ok, err = change(st, conn, "block", jids, plain_items(jids))
  return ok, err
end

--- Unblocks an address, or several, as they are in the list.
---@param conn xmpp.Conn
---@param what string|xmpp.Jid|(string|xmpp.Jid)[]
---@return boolean? true
---@return xmpp.Error?
function M.unblock(conn, what)
  local st, err = use(conn, "unblock")
  local jids, bad = jids_of(what, "unblock")
  if not st or not jids then return nil, err or bad end
  local ok
  ok, err = change(st, conn, "unblock", jids, plain_items(jids))
  return ok, err
end

--- Unblocks everybody.
---@param conn xmpp.Conn
---@return boolean? true
---@return xmpp.Error?
function M.unblock_all(conn)
  local st, err = use(conn, "unblock_all")
  if not st then return nil, err end
  local ok
  ok, err = change(st, conn, "unblock", nil, {})
  return ok, err
end

local REPORT = { reason = "string", text = "text", lang = "text", ids = "table", own = "boolean" }
local REASONS = { spam = "urn:xmpp:reporting:spam", abuse = "urn:xmpp:reporting:abuse" }

-- A report (XEP-0377 4, 6). The messages that it is about are named by the ids that our server has assigned.
local function report_element(opts)
  local x = { "report", { xmlns = REPORTING, reason = REASONS[opts.reason or "spam"] } }
  for i, m in ipairs(opts.ids or {}) do
    local id, by = m, nil
    if type(m) == "table" then id, by = m.stanza_id or m.id, m.by end
    if type(id) ~= "string" or type(by) ~= "string" then
      error(("bad option 'ids' of 'report' (ids[%d]: { id =, by = } or such a message expected)"):format(i), 3)
    end
    x[#x + 1] = { "stanza-id", { xmlns = SID, id = id, by = by } }
  end
  if opts.text then x[#x + 1] = { "text", { ["xml:lang"] = opts.lang }, opts.text } end
  return x
end

--- Blocks an address and tells the server's operators why (XEP-0377). If the server doesn't support reports it is only
--- blocked.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { reason: string?, text: string?, lang: string?, ids: table[]?, own: boolean? } reason: "spam" (the
--- default) or "abuse"; text: an explanation; lang: its language; ids: the messages it is about, as chat reports them,
--- or { id =, by = }; own: as for `block`
---@return boolean? true
---@return xmpp.Error?
function M.report(conn, jid, opts)
  local st, err = use(conn, "report")
  opts = guard.check_opts(opts, REPORT, 3, "report", 2)
  if not REASONS[opts.reason or "spam"] then error("bad option 'reason' of 'report' (spam or abuse expected)", 2) end
  if type(jid) == "table" and not core.is_jid(jid) then
    error("bad argument #2 to 'report' (one address expected)", 2)
  end
  local jids, bad = jids_of(jid, "report")
  local report = report_element(opts)
  if not st or not jids then return nil, err or bad end
  local ok = true
  if not opts.own then ok, err = check_not_ours(conn, jids) end
  if not ok then return nil, err end
  ok, err = change(st, conn, "block", jids, { { "item", { jid = jids[1] }, report } })
  return ok, err
end

-- Matching

-- The addresses that a server compares with the list (XEP-0191 2), the most specific first.
local function patterns(jid)
  local out, domain = { tostring(jid), tostring(jid:bare()) }, jid.domainpart
  if jid.resourcepart then out[#out + 1] = domain .. "/" .. jid.resourcepart end
  while domain do
    out[#out + 1] = domain
    domain = domain:match "^[^.]+%.(.+)$"
  end
  return out
end

--- Tells whether the server blocks that address, according to the list as it is known here. Sends no request.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@return boolean
function M.is_blocked(conn, jid)
  guard.check_conn(conn, "is_blocked", 2)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, "is_blocked", 2) end
  local st, address = ext.of(conn, M), core.jid(jid)
  if not st or not address then return false end
  for _, pattern in ipairs(patterns(address)) do
    if st.blocked[pattern] or st.blocked[spelling.key(pattern)] then return true end
  end
  return false
end

-- The extension

function M.start(st, conn, opts)
  local name = next(opts)
  if name ~= nil then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
  known.start(st)
  local off = iq.serve(conn, "set", BLOCKING, function(x, stanza, c) return known.push(st, x, stanza, c) end,
    { session = true })
  local weak = setmetatable({ conn }, { __mode = "v" })
  st.offs = { off, presence.before(conn, function()
    if weak[1] and weak[1]:state() == "ready" then known.fetched(st, weak[1]) end
  end) }
end

function M.session(st, conn) known.fetched(st, conn) end

function M.stop(st)
  st.is_over = true
  for _, off in ipairs(st.offs) do off() end
end

return M
