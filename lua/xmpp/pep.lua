-- pep: what an account publishes about itself, and what contacts publish about themselves (XEP-0163; XEP-0222,
-- XEP-0223). Publishing and reading need no extension; `watch` uses it.
--
--   local pep = require "xmpp.pep"
--   assert(pep.publish(conn, "http://jabber.org/protocol/tune", { "tune", { xmlns = TUNE }, { "title", {}, "Yes" } }))
--   pep.watch(conn, "http://jabber.org/protocol/tune", function(jid, tune) print(jid, xexpr.text(tune, "title")) end)
--   assert(pep.publish(conn, "urn:example:secret", note, { access = "whitelist", persist = true }))  -- private storage
--
-- Who is trusted: each account for its own nodes, and nobody for another's. Private data are never published to a node
-- that others can read: see xmpp.pubsub's publish.

local caps = require "xmpp.caps"
local core = require "xmpp.load"
local disco = require "xmpp.disco"
local event = require "xmpp.pubsub.event"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local items = require "xmpp.pubsub.items"
local publish = require "xmpp.pubsub.publish"
local pubsub = require "xmpp.pubsub"
local words = require "xmpp.pubsub.words"

local M = { name = "pep", needs = { disco, caps, pubsub } }

local ROSTER_WAITS = 20 -- seconds to wait for the roster before an event's sender can be checked
local MOST_WAITING = 1000 -- events that wait for that

local ACCESS = { open = true, presence = true, roster = true, whitelist = true, authorize = true }
local PUBLISH = { access = "string", id = "string", persist = "boolean", send_last = "string", fix = "boolean",
  timeout = "number" }

local function check_account(conn, fname, level)
  guard.check_conn(conn, fname, level + 1)
  if conn:jid().localpart then return end
  error(("'%s' is for accounts: a component has none"):format(fname), level + 1)
end

local function check_publish(opts)
  local rest = {}
  for key, v in pairs(opts or {}) do rest[key] = v end
  local max = rest.max
  if max ~= nil and max ~= "max" and not (type(max) == "number" and max >= 1 and max % 1 == 0) then
    error("bad option 'max' of 'publish' (\"max\", or whole number from 1 on expected)", 3)
  end
  rest.max = nil
  guard.check_opts(rest, PUBLISH, 4, "publish", 3)
  if opts.access ~= nil and not ACCESS[opts.access] then
    error(("bad option 'access' of 'publish' (open, presence, roster, whitelist or authorize expected, got '%s')")
      :format(core.shown(opts.access)), 3)
  end
end

--- Publishes an item of our account, for those whom `access` admits, and never for others. If the node already exists
--- and admits others, that is an error (err.app "precondition-not-met"), or with `fix` the node is reconfigured.
---@param conn xmpp.Conn
---@param node string
---@param payload? xmpp.Element
---@param opts? { access: string?, id: string?, persist: boolean?, max: integer|"max"|nil, send_last: string?, fix:
--- boolean?, timeout: number? } access: "presence" (those who see our presence, the default), "open" (everybody),
--- "whitelist" (ourselves: private data, XEP-0223), "roster", "authorize"; id: the item's ("current", which allows
--- only one; with `max` the server chooses it); persist: keep it; max: how many items are kept; send_last: "never",
--- "on_sub", "on_sub_and_presence"; fix: see above; timeout: seconds
---@return string|true|nil id
---@return xmpp.Error?
function M.publish(conn, node, payload, opts)
  check_account(conn, "publish", 2)
  guard.check_text(node, 2, "publish", 2)
  if payload ~= nil then guard.check_type(payload, "table", 3, "publish", 2) end
  if opts ~= nil then guard.check_type(opts, "table", 4, "publish", 2) end
  opts = opts or {}
  check_publish(opts)
  local options = { access_model = opts.access or "presence", persist_items = opts.persist, max_items = opts.max,
    send_last_published_item = opts.send_last }
  local id, err = publish.publish(conn, nil, node, payload, { id = opts.id or not opts.max and "current" or nil,
    options = options, fix = opts.fix, timeout = opts.timeout }, 2)
  return id, err
end

local function check_jid(jid, fname)
  if jid ~= nil and not core.is_jid(jid) then guard.check_type(jid, "string", 2, fname, 3) end
end

-- The address to ask: nodes belong to an account's bare address; ours is asked without a `to`.
local function account(conn, jid)
  if jid == nil then return nil end
  local address, err = core.jid(jid)
  if not address then return nil, err end
  address = address:bare()
  return address ~= conn:jid():bare() and address or nil
end

local GET = { id = "string", timeout = "number" }

--- Reads the last item of an account's node.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid|nil whose; nil: our own
---@param node string
---@param opts? { id: string?, timeout: number? } id: this item instead; timeout: seconds
---@return xmpp.Element|true|nil payload true if the item has none
---@return string|xmpp.Error id or the error: condition "item-not-found" if there is no such node, or nothing in it
function M.get(conn, jid, node, opts)
  guard.check_conn(conn, "get", 2)
  check_jid(jid, "get")
  guard.check_text(node, 3, "get", 2)
  opts = guard.check_opts(opts, GET, 4, "get", 2)
  if opts.id then words.sendable({ "id", {}, opts.id }, "bad option 'id' of 'get'", 2) end
  local whose, bad = account(conn, jid)
  if bad then return nil, bad end
  local list, err = items.ask(conn, whose, node, { ids = opts.id and { opts.id } or nil,
    max = not opts.id and 1 or nil, timeout = opts.timeout })
  if not list then return nil, err end
  local item = list[#list]
  if not item then return words.fail("item-not-found", "there is nothing in the node") end
  return item.payload or true, item.id
end

--- Reads the items of an account's node, like xmpp.pubsub's `items`.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid|nil whose; nil: our own
---@param node string
---@param opts? table those of xmpp.pubsub's `items`
---@return xmpp.PubsubItems?
---@return xmpp.Error?
function M.items(conn, jid, node, opts)
  guard.check_conn(conn, "items", 2)
  check_jid(jid, "items")
  guard.check_text(node, 3, "items", 2)
  opts = items.options(opts, 2)
  local whose, bad = account(conn, jid)
  if bad then return nil, bad end
  return items.ask(conn, whose, node, opts)
end

--- Retracts an item from a node of ours; those who watch it are notified.
---@param conn xmpp.Conn
---@param node string
---@param id? string ("current")
---@param opts? { timeout: number? }
---@return true?
---@return xmpp.Error?
function M.retract(conn, node, id, opts)
  check_account(conn, "retract", 2)
  guard.check_text(node, 2, "retract", 2)
  if id ~= nil then guard.check_text(id, 3, "retract", 2) end
  opts = guard.check_opts(opts, { timeout = "number" }, 4, "retract", 2)
  return pubsub.retract(conn, nil, node, id or "current", opts)
end

--- Deletes a node of ours.
---@param conn xmpp.Conn
---@param node string
---@param opts? { timeout: number? }
---@return true?
---@return xmpp.Error?
function M.delete(conn, node, opts)
  check_account(conn, "delete", 2)
  guard.check_text(node, 2, "delete", 2)
  opts = guard.check_opts(opts, { timeout = "number" }, 3, "delete", 2)
  return pubsub.delete(conn, nil, node, opts)
end

-- Watching

-- Is this a contact? That is unknown before the roster has arrived; until then a limited number of events wait, and
-- further ones are dropped.
local function is_contact(conn, jid)
  local roster = require "xmpp.roster"
  local r, st = ext.of(conn, roster), ext.of(conn, M)
  if not r or not st or st.waiting >= MOST_WAITING then return false end
  st.waiting = st.waiting + 1
  r:fetched(ROSTER_WAITS)
  st.waiting = st.waiting - 1
  return roster.subscription(conn, jid) ~= nil
end

local function nobody() return false end
local function everybody() return true end

local TRUSTS = { contacts = is_contact, self = nobody, all = everybody }

-- Adds the "+notify" feature to disco and caps once for each node, however many watch it.
local function announce(st, conn, node)
  local entry = st.watched[node] or { n = 0, off = disco.add(conn, node .. "+notify") }
  st.watched[node], entry.n = entry, entry.n + 1
  return function()
    entry.n = entry.n - 1
    if entry.n > 0 or st.watched[node] ~= entry then return end
    st.watched[node] = nil
    entry.off()
  end
end

local function rule(opts)
  local from = opts.from
  if from == nil then return is_contact, true end
  if type(from) == "function" then return function(_, jid) return from(tostring(jid)) end end
  if TRUSTS[from] then return TRUSTS[from], from == "contacts" end
  error("bad option 'from' of 'watch' (\"contacts\", \"self\", \"all\" or function expected)", 3)
end

--- Calls `f(jid, payload, id, event)` when an account publishes to that node, and, as soon as our presence reaches it,
--- with what it has published last: our presence announces that we are interested ("node+notify"). For a retracted
--- item or a deleted node the payload is nil; event.kind says which. event.own is true for our own account, whichever
--- client has published.
---
--- An event counts only from a bare address: our own, and those that `from` admits: "contacts" (those in the roster,
--- which this begins to use; a program with options for the roster has to use it first), "self" (nobody else), "all"
--- (everybody, for themselves), or a function of the address.
---@param conn xmpp.Conn
---@param node string
---@param f fun(jid: string, payload: xmpp.Element?, id: string?, event: xmpp.PubsubEvent)
---@param opts? { from: "contacts"|"self"|"all"|(fun(jid: string): boolean)|nil }
---@return fun(): boolean off ends it; returns true the first time
function M.watch(conn, node, f, opts)
  check_account(conn, "watch", 2)
  guard.check_text(node, 2, "watch", 2)
  guard.check_type(f, "function", 3, "watch", 2)
  if opts ~= nil then guard.check_type(opts, "table", 4, "watch", 2) end
  local trusts, with_roster = rule(opts or {})
  local st = ext.use(conn, M, nil, 2)
  if not st then return function() return false end end
  if with_roster then ext.use(conn, (require "xmpp.roster")) end
  local hush = announce(st, conn, node)
  local deafen = event.listen(conn, { node = node, trusts = trusts, f = function(e) f(e.from, e.payload, e.id, e) end })
  local off
  function off()
    if not deafen() then return false end
    st.offs[off] = nil
    hush()
    return true
  end
  st.offs[off] = true
  return off
end

function M.start(st, conn)
  check_account(conn, "use", 0)
  st.watched, st.offs, st.waiting = {}, {}, 0
end

function M.stop(st)
  local offs = st.offs
  st.offs = {}
  for off in pairs(offs) do off() end
end

return M
