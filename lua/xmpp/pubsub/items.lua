-- items: reads the items of a node (XEP-0060 6.5), in pages if the service supports them (XEP-0059). A part of
-- xmpp.pubsub.

local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local rsm = require "xmpp.rsm"
local words = require "xmpp.pubsub.words"
local xexpr = require "xmpp.xexpr"

local M = { functions = {} }

local PUBSUB = words.PUBSUB
local ITEMS = { max = "number", ids = "table", after = "string", timeout = "number", from = "jid" }

--- An item as a table: { id =?, payload =?, publisher =? }.
---@param x xmpp.Element
---@return xmpp.PubsubItem
function M.read(x)
  return { id = xexpr.attr(x, "id"), payload = xexpr.children(x)(),
    publisher = words.address(xexpr.attr(x, "publisher")) }
end

local function read_all(x, stanza, wanted)
  local out = {}
  for child in words.children(x, "item", PUBSUB) do
    local item = M.read(child)
    if not item.id or #item.id > words.LONGEST_ID then
      return iq.bad_format(("pubsub.items.item[%d].id: missing, or too long"):format(#out + 1), stanza)
    end
    if wanted and not wanted[item.id] then
      return iq.bad_format(("pubsub.items.item[%d].id: another one was asked for"):format(#out + 1), stanza)
    end
    out[#out + 1] = item
  end
  return out
end

-- The id after which the next page begins; nil: there is none.
local function next_of(pubsub, n, after)
  local page, why = rsm.read(pubsub)
  if why then return nil, "pubsub." .. why end
  if not page or not page.last or n == 0 then return nil end
  if page.count and page.index and page.index + n >= page.count then return nil end
  if page.count and page.count <= n then return nil end
  if page.last == after then return nil, "pubsub.set.last: does not move" end
  return page.last
end

local function question(node, opts)
  local x, paged = { "items", { node = node } }, opts.after ~= nil
  for _, id in ipairs(opts.ids or {}) do x[#x + 1] = { "item", { id = id } } end
  local max = opts.max and ("%.0f"):format(opts.max)
  if not paged then
    x[2].max_items = max
    return { x }
  end
  return { x, rsm.request { max = max or "100", after = opts.after ~= "" and opts.after or nil } }
end

local function check(opts, level)
  if opts.max and (opts.max < 1 or opts.max % 1 ~= 0) then
    error("bad option 'max' of 'items' (whole number from 1 on expected)", level + 1)
  end
  if opts.ids and (opts.after or opts.max) then
    error("option 'ids' of 'items' excludes 'max' and 'after'", level + 1)
  end
  for i, id in ipairs(opts.ids or {}) do
    if type(id) ~= "string" then
      error(("bad option 'ids' of 'items' (strings expected, at %d is a %s)"):format(i, type(id)), level + 1)
    end
    words.sendable({ "id", {}, id }, "bad option 'ids' of 'items'", level + 1)
  end
  if opts.after then words.sendable({ "id", {}, opts.after }, "bad option 'after' of 'items'", level + 1) end
end

--- Checks the options of `items`, and returns a table. `level` as in guard.
function M.options(opts, level)
  opts = guard.check_opts(opts, ITEMS, 4, "items", level + 1)
  check(opts, level + 1)
  return opts
end

--- Like `items`, with options that have been checked.
---@return xmpp.PubsubItems?
---@return xmpp.Error?
function M.ask(conn, service, node, opts)
  local wanted = opts.ids and {}
  for _, id in ipairs(opts.ids or {}) do wanted[id] = true end
  local x, stanza, pubsub = words.get(conn, service, PUBSUB, question(node, opts), opts)
  if not x then return nil, stanza end
  local items, err = read_all(x, stanza, wanted)
  if not items then return nil, err end
  local next_id, why = next_of(pubsub, #items, opts.after)
  if why then return iq.bad_format(why, stanza) end
  items.next = not opts.ids and next_id or nil
  return items
end

--- Reads the items of a node: { { id =, payload =?, publisher =? }... }, in the service's order. Without options:
--- everything, or as much as the service sends at once. If the service says that there are more, items.next is the
--- value for `after`.
---@param conn xmpp.Conn
---@param service string|xmpp.Jid|nil nil: our own account
---@param node string
---@param opts? { max: integer?, ids: string[]?, after: string?, timeout: number?, from: string|xmpp.Jid|nil } max: the
--- last ones; with `after`: the size of a page (100); ids: these items; after: continue after items.next ("": the
--- first page); timeout: seconds; from: the address of a component that asks
---@return xmpp.PubsubItems? items
---@return xmpp.Error?
function M.functions.items(conn, service, node, opts)
  words.check(conn, service, node, "items", true)
  return M.ask(conn, service, node, (M.options(opts, 2)))
end

return M
