-- node: creates, configures, purges and deletes nodes, and manages affiliations (XEP-0060 5, 8). A part of
-- xmpp.pubsub. Whether we may is decided by the service.

local core = require "xmpp.load"
local data_form = require "xmpp.form"
local disco = require "xmpp.disco"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local words = require "xmpp.pubsub.words"
local xexpr = require "xmpp.xexpr"

local M = { functions = {} }

local F = M.functions
local PUBSUB, OWNER = words.PUBSUB, words.OWNER
local ASK = { timeout = "number", from = "jid" }
local AFFILIATIONS = { none = true, member = true, outcast = true, owner = true, publisher = true,
  ["publish-only"] = true }

-- For the files of pubsub/.

--- The configuration form of a node.
---@return xmpp.Form?
---@return xmpp.Error?
function M.form(conn, service, node, o)
  local x, stanza = words.get(conn, service, OWNER, { { "configure", { node = node } } }, o)
  if not x then return nil, stanza end
  local form, err = data_form.parse(xexpr.child(x, "x", data_form.DATA))
  return form, err
end

--- Configures a node, by the form x.
---@return true?
---@return xmpp.Error?
function M.set(conn, service, node, x, o)
  return words.done(conn, service, OWNER, { { "configure", { node = node }, x } }, o)
end

--- Creates a node, configured by the form x (nil: the service's defaults); node nil: the service chooses its name.
---@return string?
---@return xmpp.Error?
function M.make(conn, service, node, x, o)
  local children = { { "create", { node = node } }, x and { "configure", {}, x } or nil }
  local answer, stanza = words.ask("set", conn, service, PUBSUB, children, o)
  if answer == nil then return nil, stanza end
  local theirs = answer ~= true and xexpr.attr(xexpr.child(answer, "create", PUBSUB), "node")
  if node and theirs and theirs ~= node then return iq.bad_format("pubsub.create.node: it was another one", stanza) end
  if not node and not theirs then return iq.bad_format("pubsub.create.node: missing", stanza) end
  return node or theirs
end

--- Creates a node (XEP-0060 8.1).
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node? string nil: the service chooses a name
---@param values? table<string, any> its configuration: { access_model = "open", max_items = 10 }
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return string? node
---@return xmpp.Error? err condition "conflict" if there is one already
function F.create(conn, service, node, values, opts)
  words.check(conn, service, node, "create")
  if values ~= nil then guard.check_type(values, "table", 4, "create", 2) end
  opts = guard.check_opts(opts, ASK, 5, "create", 2)
  local x = values and words.form(words.NODE_CONFIG, values, "bad argument #4 to 'create'", 2)
  local name, err = M.make(conn, service, node, x, opts)
  return name, err
end

--- Without values: returns a node's configuration as a form (XEP-0060 8.2). With values: changes these, and leaves the
--- others unchanged.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param values? table<string, any> "access_model" stands for "pubsub#access_model"
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return xmpp.Form|true|nil
---@return xmpp.Error?
function F.configure(conn, service, node, values, opts)
  words.check(conn, service, node, "configure", true)
  if values ~= nil then guard.check_type(values, "table", 4, "configure", 2) end
  opts = guard.check_opts(opts, ASK, 5, "configure", 2)
  if not values then return M.form(conn, service, node, opts) end
  local x = words.form(words.NODE_CONFIG, values, "bad argument #4 to 'configure'", 2)
  return M.set(conn, service, node, x, opts)
end

--- Deletes a node (XEP-0060 8.4).
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param opts? { redirect: string?, timeout: number?, from: string|xmpp.Jid|nil } redirect: the URI of its
--- replacement; timeout: seconds; from: the address of a component that asks
---@return true?
---@return xmpp.Error?
function F.delete(conn, service, node, opts)
  words.check(conn, service, node, "delete", true)
  opts = guard.check_opts(opts, { redirect = "string", timeout = "number", from = "jid" }, 4, "delete", 2)
  local redirect = opts.redirect and { "redirect", { uri = opts.redirect } } or nil
  if redirect then words.sendable(redirect, "bad option 'redirect' of 'delete'", 2) end
  return words.done(conn, service, OWNER, { { "delete", { node = node }, redirect } }, opts)
end

--- Removes all items from a node (XEP-0060 8.5).
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return true?
---@return xmpp.Error?
function F.purge(conn, service, node, opts)
  words.check(conn, service, node, "purge", true)
  opts = guard.check_opts(opts, ASK, 4, "purge", 2)
  return words.done(conn, service, OWNER, { { "purge", { node = node } } }, opts)
end

--- Lists the nodes of a service, or of a collection (XEP-0060 5.2): { { node =, name =? } }.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node? string
---@param opts? { max: integer?, timeout: number?, from: string|xmpp.Jid|nil } max: at most so many (1,000); if there
--- are more, nodes.more is true; timeout: seconds; from: the address of a component that asks
---@return xmpp.DiscoItem[]? nodes
---@return xmpp.Error?
function F.nodes(conn, service, node, opts)
  words.check(conn, service, node, "nodes")
  opts = guard.check_opts(opts, { max = "number", timeout = "number", from = "jid" }, 4, "nodes", 2)
  local items, err = disco.items(conn, service or conn:jid():bare(),
    { node = node, max = opts.max, timeout = opts.timeout, from = opts.from })
  if not items then return nil, err end
  local out = { more = items.more }
  for _, item in ipairs(items) do
    if item.node then out[#out + 1] = item end
  end
  return out
end

-- Affiliations

local function read_affiliations(x, stanza, xmlns, key)
  local out = {}
  for a in words.children(x, "affiliation", xmlns) do
    local name, what = xexpr.attr(a, key), xexpr.attr(a, "affiliation")
    if name and key == "jid" then name = words.address(name) end
    if not name or not AFFILIATIONS[what] then
      return iq.bad_format(("pubsub.affiliations.affiliation: %s and affiliation expected"):format(key), stanza)
    end
    out[name] = what
  end
  return out
end

--- Returns our affiliations with a service's nodes (XEP-0060 5.7): { [node] = "owner" }.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node? string only with this one
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return table<string, string>?
---@return xmpp.Error?
function F.affiliations(conn, service, node, opts)
  words.check(conn, service, node, "affiliations")
  opts = guard.check_opts(opts, ASK, 4, "affiliations", 2)
  local x, stanza = words.get(conn, service, PUBSUB, { { "affiliations", { node = node } } }, opts)
  if not x then return nil, stanza end
  return read_affiliations(x, stanza, PUBSUB, "node")
end

--- Returns the affiliations with a node of ours (XEP-0060 8.9): { [address] = "publisher" }.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return table<string, string>?
---@return xmpp.Error?
function F.members(conn, service, node, opts)
  words.check(conn, service, node, "members", true)
  opts = guard.check_opts(opts, ASK, 4, "members", 2)
  local x, stanza = words.get(conn, service, OWNER, { { "affiliations", { node = node } } }, opts)
  if not x then return nil, stanza end
  return read_affiliations(x, stanza, OWNER, "jid")
end

--- Sets somebody's affiliation with a node of ours (XEP-0060 8.9.2).
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param jid string|xmpp.Jid
---@param affiliation "none"|"member"|"outcast"|"owner"|"publisher"|"publish-only"
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return true?
---@return xmpp.Error?
function F.affiliate(conn, service, node, jid, affiliation, opts)
  words.check(conn, service, node, "affiliate", true)
  if not AFFILIATIONS[affiliation] then
    error("bad argument #5 to 'affiliate' (an affiliation of XEP-0060 expected)", 2)
  end
  opts = guard.check_opts(opts, ASK, 6, "affiliate", 2)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 4, "affiliate", 2) end
  local to, bad = core.jid(jid)
  if not to then return nil, bad end
  return words.done(conn, service, OWNER, { { "affiliations", { node = node },
    { "affiliation", { jid = to, affiliation = affiliation } } } }, opts)
end

return M
