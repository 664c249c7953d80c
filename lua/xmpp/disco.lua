-- disco: asks what other entities are and offer, and answers what we are (XEP-0030, XEP-0128, paged by XEP-0059).
-- Asking needs no extension; answering is one: ext.use(conn, disco [, { identity =, allow = }]).
--
-- An answer is trusted for what it says about the address that was asked, and for nothing else. Who gets answers: see
-- `allows`.

local core = require "xmpp.load"
local ext = require "xmpp.ext"
local form = require "xmpp.disco.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local rsm = require "xmpp.rsm"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = { name = "disco", features = { form.INFO, form.ITEMS } }

local INFO, ITEMS = form.INFO, form.ITEMS
local PAGE, MOST_ITEMS = 100, 1000
local MOST_DEPTH, MOST_ENTITIES = 3, 200
local LONGEST_NODE = 4096 -- bytes of an item's node that a walk repeats
local AT_ONCE = 8 -- requests at a time
local MOST_REMEMBERED = 100 -- answers of services

local function kept(conn)
  local own = guard.of(conn, "disco")
  if not own.entities then own.entities, own.added, own.allowed, own.remembered, own.remembers = {}, {}, {}, {}, 0 end
  return own
end

local function key_of(jid, node) return (jid or "") .. "\0" .. (node or "") end

-- Asking

local ASK = { node = "text", timeout = "number", fresh = "boolean", from = "jid", max = "number", depth = "number" }

local function options(opts, fname) return (guard.check_opts(opts, ASK, 3, fname, 3)) end

local function check_jid(jid, fname)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, fname, 3) end
end

local function path_of(stanza, reason)
  return ("the answer of %s: %s"):format(core.shown(xexpr.attr(stanza, "from") or "our server"), reason)
end

local function bad(reason, stanza) return iq.bad_format(path_of(stanza, reason), stanza) end

-- The answer to a request: its query element, if it has this namespace and node.
local function ask(conn, jid, xmlns, opts, page)
  local query, stanza = iq.get(conn, jid, { "query", { xmlns = xmlns, node = opts.node }, page },
    { timeout = opts.timeout, from = opts.from })
  if not query then return nil, stanza end
  if query == true or query[1] ~= "query" or xexpr.attr(query, "xmlns") ~= xmlns then
    return bad("query: missing", stanza)
  end
  local node = xexpr.attr(query, "node")
  if node and node ~= (opts.node or "") then return bad("query.node: another one was asked for", stanza) end
  return query, stanza
end

--- The query element of an answer to disco#info, for functions that hash it, and its stanza.
function M.query(conn, jid, opts)
  return ask(conn, jid, INFO, opts)
end

-- Services and servers are asked once in a session.
local function is_service(jid) return not jid.localpart and not jid.resourcepart end

local function remember(conn, jid, info)
  local own = kept(conn)
  if own.remembers >= MOST_REMEMBERED then own.remembered, own.remembers = {}, 0 end
  if not own.remembered[tostring(jid)] then own.remembers = own.remembers + 1 end
  own.remembered[tostring(jid)] = { info = info, rebound = conn:info().rebound }
end

local function remembered(conn, jid)
  local own = kept(conn)
  local had = own.remembered[tostring(jid)]
  if had and had.rebound == conn:info().rebound then return had.info end
  return own.known and own.known(jid) -- by the hash in its presence
end

--- Returns what `info` would return without asking anybody; nil if it would have to ask.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@return xmpp.DiscoInfo?
function M.known(conn, jid)
  guard.check_conn(conn, "known", 2)
  check_jid(jid, "known")
  local address = core.jid(jid)
  return address and remembered(conn, address)
end

local function info_of(conn, jid, opts)
  local query, stanza = ask(conn, jid, INFO, opts)
  if not query then return nil, stanza end
  local info, why = form.read_info(query)
  if not info then return bad(why, stanza) end
  return info, stanza
end

--- Asks what an entity is and offers (XEP-0030 3). Servers and services are asked once in a session; others are asked
--- unless `caps` knows the hash in their presence. The table is shared: do not change it.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { node: string?, timeout: number?, fresh: boolean?, from: string|xmpp.Jid|nil } node: a node of it;
--- timeout: seconds; fresh: ask again; from: the address of a component that asks
---@return xmpp.DiscoInfo? info
---@return xmpp.Error? err layer "stanza"; condition "bad-format" if the answer does not hold together
function M.info(conn, jid, opts)
  guard.check_conn(conn, "info", 2)
  check_jid(jid, "info")
  opts = options(opts, "info")
  local address, err = core.jid(jid)
  if not address then return nil, err end
  local had = not opts.node and not opts.fresh and remembered(conn, address)
  if had then return had end
  local info
  info, err = info_of(conn, address, opts)
  if not info then return nil, err end
  if not opts.node and is_service(address) then remember(conn, address, info) end
  return info
end

-- Items

-- Appends the new items of a page, at most `max` in all. Returns how many the page had, and whether some were left
-- out.
local function take_items(query, items, seen, max)
  local n, cut = 0, false
  for x in xexpr.children(query, "item", ITEMS) do
    local item, why = form.read_item(x)
    if not item then return nil, ("query.item[%d].%s"):format(n + 1, why) end
    local key = key_of(item.jid, item.node)
    n = n + 1
    if #items >= max then cut = true break end
    if not seen[key] then items[#items + 1], seen[key] = item, true end
  end
  return n, cut
end

-- Is there another page after this one of n items, before which there were `had`? nil and a reason if the paging
-- doesn't advance.
local function next_page(page, n, items, had, lasts)
  if not page or not page.last or n == 0 then return false end
  if page.count and page.index and page.index + n >= page.count then return false end
  if lasts[page.last] or #items == had then return nil, "set.last: does not move" end
  lasts[page.last] = true
  return not (page.count and #items >= page.count)
end

local function items_of(conn, jid, opts)
  local items, seen, lasts, max = {}, {}, {}, opts.max or MOST_ITEMS
  local after
  repeat
    local query, stanza = ask(conn, jid, ITEMS, opts, rsm.request { max = math.min(PAGE, max + 1), after = after })
    if not query then return nil, stanza end
    local had = #items
    local n, cut = take_items(query, items, seen, max)
    if not n then return bad(cut, stanza) end
    local page, why = rsm.read(query)
    if why then return bad("query." .. why, stanza) end
    local more
    more, why = next_page(page, n, items, had, lasts)
    if why then return bad("query." .. why, stanza) end
    if cut or more and #items >= max then
      items.more = true
      return items
    end
    after = page and page.last
  until not more
  return items
end

--- Lists what belongs to an entity (XEP-0030 4): all pages, each item once, as { jid =, node =?, name =? }. If there
--- are more than `max`, the first ones are returned and items.more is true.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { node: string?, timeout: number?, max: integer?, from: string|xmpp.Jid|nil } node: a node of it;
--- timeout: seconds for each page; max: at most so many (1,000); from: the address of a component that asks
---@return xmpp.DiscoItem[]? items
---@return xmpp.Error?
function M.items(conn, jid, opts)
  guard.check_conn(conn, "items", 2)
  check_jid(jid, "items")
  opts = options(opts, "items")
  return items_of(conn, jid, opts)
end

--- Asks whether an entity has a feature.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param feature string
---@param opts? table those of `info`
---@return boolean?
---@return xmpp.Error?
function M.supports(conn, jid, feature, opts)
  guard.check_conn(conn, "supports", 2)
  check_jid(jid, "supports")
  guard.check_type(feature, "string", 3, "supports", 2)
  local info, err = M.info(conn, jid, opts)
  if not info then return nil, err end
  return info.features[feature] == true
end

-- Calls f(entry) for each entry of the list, several at a time; begins no new call when `done` returns true. Waits for
-- all.
local function for_each(list, f, done)
  local at, workers = 0, {}
  local function work()
    while at < #list and not (done and done()) do
      at = at + 1
      f(list[at], at)
    end
    return true
  end
  for i = 1, math.min(AT_ONCE, #list) do workers[i] = xmpp.spawn(work) end
  for _, worker in ipairs(workers) do
    local ok, err = worker:wait()
    if not ok then guard.report("disco", err) end
  end
end

local function suits(info, want)
  if type(want) == "string" then return info.features[want] == true end
  for _, identity in ipairs(info.identities) do
    if (want.category == nil or identity.category == want.category) and
      (want.type == nil or identity.type == want.type) then
      return true
    end
  end
  return false
end

local function server_of(conn)
  local jid = conn:jid()
  if jid.localpart then return jid.domainpart end
  return jid.domainpart:match "^[^.]+%.(.+)$" or jid.domainpart
end

-- The first of the items, in their order, that suits; all in front of it have been asked.
local function find_in(conn, items, want, opts)
  local found, best = {}, math.huge
  local at = 0
  for_each(items, function(item, i)
    at = i
    local info = not item.node and M.info(conn, item.jid, { timeout = opts.timeout })
    if info and suits(info, want) and i < best then found, best = { jid = item.jid, info = info }, i end
  end, function() return at >= best end)
  return found.jid and found
end

--- Looks for a service: at our server first, then among the items of the server, eight at a time.
---@param conn xmpp.Conn
---@param want string|{ category: string?, type: string? } a feature, or an identity
---@param opts? { timeout: number? } timeout: seconds for each question
---@return { jid: string, info: xmpp.DiscoInfo }? found
---@return xmpp.Error? err condition "item-not-found" if there is none
function M.find(conn, want, opts)
  guard.check_conn(conn, "find", 2)
  if type(want) ~= "table" then guard.check_type(want, "string", 2, "find", 2) end
  opts = options(opts, "find")
  local server = server_of(conn)
  local info, err = M.info(conn, server, { timeout = opts.timeout })
  if not info then return nil, err end
  if suits(info, want) then return { jid = server, info = info } end
  local items
  items, err = items_of(conn, server, { timeout = opts.timeout })
  if not items then return nil, err end
  local found = find_in(conn, items, want, opts)
  if found then return found end
  return nil, core.error { layer = "stanza", condition = "item-not-found", type = "cancel", retry = false,
    text = ("neither %s nor any of its items offers that"):format(server) }
end

-- Recursive discovery

-- Requests an entity's information and, if wanted, its items, and stores them in the tree. An error is stored, and
-- ends only this entity.
local function visit(conn, entity, opts, with_items)
  local info, err = info_of(conn, entity.jid, { node = entity.node, timeout = opts.timeout })
  if not info then
    entity.error = err.condition
    return err
  end
  entity.identities, entity.features, entity.forms = info.identities, info.features, info.forms
  if not with_items then return end
  local items = items_of(conn, entity.jid, { node = entity.node, timeout = opts.timeout, max = opts.max })
  if items then entity.items, entity.more, items.more = items, items.more, nil end
end

-- Of the items of a level those that have not been met yet, up to the bound. A very long node isn't asked for: our
-- server might end the stream for such a request.
local function next_level(level, seen, room)
  local out = {}
  for _, entity in ipairs(level) do
    for _, item in ipairs(entity.items or {}) do
      local key = key_of(item.jid, item.node)
      if #(item.node or "") > LONGEST_NODE then
        item.error = "bad-format"
      elseif not seen[key] then
        if #out >= room then return out, true end
        seen[key], out[#out + 1] = true, item
      end
    end
  end
  return out
end

--- Follows an entity's items, their items, and so on, and returns a tree. Each node is { jid =, node =?, name =?,
--- identities =, features =, forms =, items = }. An item that was met before, that lies too deep or beyond `max`, has
--- only jid, node and name; one that could not be asked also has `error`, the condition ("bad-format": its node has
--- more than 4096 bytes). tree.more is true if something was left out. Items may name any address, and each is asked
--- once, so keep `max` small.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { node: string?, depth: integer?, max: integer?, timeout: number? } node: where to begin; depth: levels
--- of items (3); max: entities (200); timeout: seconds for each question
---@return xmpp.DiscoTree? tree
---@return xmpp.Error?
function M.walk(conn, jid, opts)
  guard.check_conn(conn, "walk", 2)
  check_jid(jid, "walk")
  opts = options(opts, "walk")
  local address, err = core.jid(jid)
  if not address then return nil, err end
  local root = { jid = tostring(address), node = opts.node }
  local depth, max = opts.depth or MOST_DEPTH, opts.max or MOST_ENTITIES
  local limits = { timeout = opts.timeout, max = math.min(MOST_ITEMS, max) }
  err = visit(conn, root, limits, depth > 0)
  if err then return nil, err end
  local seen, level, met = { [key_of(root.jid, root.node)] = true }, { root }, 1
  for at = 1, depth do
    local cut
    level, cut = next_level(level, seen, max - met)
    met = met + #level
    if cut then root.more = true end
    for_each(level, function(entity) visit(conn, entity, limits, at < depth) end)
  end
  return root
end

-- Trees

--- Turns what `walk` or `tree` returns into plain data, with features as sorted lists.
---@param tree xmpp.DiscoTree
---@return table
function M.to_tree(tree)
  guard.check_type(tree, "table", 1, "to_tree", 2)
  return (form.to_tree(tree))
end

--- Reads such data back. If they do not hold together the error has condition "bad-format" and names the path.
---@param data any
---@return xmpp.DiscoTree?
---@return xmpp.Error?
function M.from_tree(data)
  local tree, why = form.from_tree(data)
  if not tree then return iq.bad_format(why) end
  return tree
end

--- Writes the tree as JSON. Equal trees give equal texts.
---@param tree xmpp.DiscoTree
---@return string
function M.to_json(tree)
  guard.check_type(tree, "table", 1, "to_json", 2)
  return (form.to_json(tree))
end

--- Reads a tree from JSON. Needs lua-cjson.
---@param text string
---@return xmpp.DiscoTree?
---@return xmpp.Error? err condition "not-well-formed" or "bad-format"
function M.from_json(text)
  guard.check_type(text, "string", 1, "from_json", 2)
  local found, cjson = pcall(require, "cjson")
  if not found then
    error("xmpp.disco: JSON needs lua-cjson (luarocks install lua-cjson, or apt-get install lua-cjson)", 2)
  end
  local ok, data = pcall(cjson.new().decode, text)
  if not ok then
    return nil, core.error { layer = "stanza", condition = "not-well-formed", retry = false,
      text = "no JSON: " .. tostring(data) }
  end
  return M.from_tree(data)
end

-- Serving

local function is_component(conn) return conn:jid().localpart == nil end

local function our_identity(conn, st)
  if st and st.identity then return st.identity end
  if is_component(conn) then return { category = "component", type = "generic", name = "xmpp" } end
  return { category = "client", type = "bot", name = "xmpp" }
end

local function add_features(to, list)
  for key, value in pairs(list or {}) do to[type(key) == "number" and value or key] = true end
end

-- What `add` has put at an address belongs to the entity there that has no node.
local function with_added(conn, at, entity)
  for _, added in ipairs(kept(conn).added) do
    if added.at == at then
      if added.feature then entity.features[added.feature] = true end
      if added.identity then entity.identities[#entity.identities + 1] = added.identity end
      if added.item then entity.items[#entity.items + 1] = added.item end
    end
  end
  return entity
end

local function items_for(entity, from)
  local items = entity.items
  if type(items) == "function" then items = items(from) end
  local out = {}
  for i, item in ipairs(items or {}) do
    out[i] = { jid = tostring(item.jid), node = item.node, name = item.name }
  end
  return out
end

-- An entity as it is described to `from`, or nil.
local function entity_at(conn, at, node, from)
  local own = kept(conn)
  local served = own.entities[key_of(at, node)]
  if not served and node then return nil end
  local entity = { identities = {}, features = { [INFO] = true }, items = {}, forms = {} }
  if served then
    for i, identity in ipairs(served.identities or {}) do entity.identities[i] = identity end
    add_features(entity.features, served.features)
    entity.forms, entity.items = served.forms or {}, items_for(served, from)
    if node then return entity, served end
  elseif at then
    return nil
  else
    entity.identities[1] = our_identity(conn, ext.of(conn, M))
  end
  if not at then add_features(entity.features, ext.features(conn)) end
  return with_added(conn, at, entity), served
end

--- For caps: alias(node) tells whether we are known by that node as well; known(jid) returns what is known of that
--- address by its hash.
function M.hook(conn, alias, known)
  local own = kept(conn)
  own.alias, own.known = alias, known
end

--- How we describe ourselves, without a node: for caps.
function M.own_info(conn)
  return (entity_at(conn, nil, nil, tostring(conn:jid())))
end

--- Tells whether `from` may know that we are available, and what we are. A client tells its own account and server,
--- those whom the option `allow` of ext.use admits ("all", or a function of the address), and those whom another
--- extension admits (see `allow`). A stranger must not learn from an answer that an address of ours is online (RFC
--- 6121 8.5). A component tells everybody.
---@param conn xmpp.Conn
---@param from string? the address that asks; nil: our server
---@return boolean
function M.allows(conn, from)
  guard.check_conn(conn, "allows", 2)
  if from ~= nil and not core.is_jid(from) then guard.check_type(from, "string", 2, "allows", 2) end
  if from == nil or is_component(conn) then return true end
  local jid, own = core.jid(from), conn:jid()
  if not jid then return false end
  if jid:bare() == own:bare() or tostring(jid) == own.domainpart then return true end
  for _, f in ipairs(kept(conn).allowed) do
    if f(from) == true then return true end
  end
  return false
end

--- Lets those addresses ask for which `f(from)` is true.
---@param conn xmpp.Conn
---@param f fun(from: string): boolean
---@return fun() off
function M.allow(conn, f)
  guard.check_conn(conn, "allow", 2)
  guard.check_type(f, "function", 2, "allow", 2)
  local list = kept(conn).allowed
  list[#list + 1] = f
  return function()
    for i, other in ipairs(list) do
      if other == f then table.remove(list, i) return true end
    end
    return false
  end
end

local function refuse(node)
  return nil, "cancel", node and "item-not-found" or "service-unavailable"
end

-- The entity that a request is about, and the node in the request.
local function asked(conn, query, stanza)
  local own, from, node = kept(conn), stanza[2].from, query[2].node
  if node == "" then node = nil end
  local to = stanza[2].to and core.jid(stanza[2].to)
  local at = to and is_component(conn) and to ~= conn:jid() and tostring(to) or nil
  local alias = node and own.alias and own.alias(node) -- a capabilities hash, which stands for our own description
  local entity, served = entity_at(conn, at, not alias and node or nil, from)
  if not entity and at then
    entity, served = entity_at(conn, nil, not alias and node or nil, from)
  end
  local allow = served and served.allow
  if allow then allow = allow(from) == true else allow = M.allows(conn, from) end
  if not allow or not entity then return nil, query[2].node end
  return entity, query[2].node
end

local function answer_info(conn, query, stanza)
  local entity, node = asked(conn, query, stanza)
  if not entity then return refuse(node) end
  return form.info_element(entity, node)
end

-- A whole number in a child of the request.
local function number_in(set, name)
  local text = xexpr.text(set, name, xexpr.attr(set, "xmlns")) or ""
  return #text < 10 and text:find "^%d+$" and tonumber(text) or nil
end

-- The first and the last of n items that are on the requested page (XEP-0059 2.1 to 2.5); an item's UID is its
-- position.
local function bounds(set, n)
  local max = number_in(set, "max") or PAGE
  if not xexpr.child(set, "before") then
    local first = (number_in(set, "after") or 0) + 1
    return first, math.min(n, first + max - 1)
  end
  local last = math.min(n, (number_in(set, "before") or n + 1) - 1)
  return math.max(1, last - max + 1), last
end

local function paged(x, items, set)
  local first, last = bounds(set, #items)
  for i = first, last do x[#x + 1] = form.item_element(items[i]) end
  local page = { "set", { xmlns = xexpr.attr(set, "xmlns") } }
  if first <= last then page[3], page[4] = { "first", { index = first - 1 }, first }, { "last", {}, last } end
  page[#page + 1] = { "count", {}, #items }
  x[#x + 1] = page
  return x
end

local function answer_items(conn, query, stanza)
  local entity, node = asked(conn, query, stanza)
  if not entity then return refuse(node) end
  local x = { "query", { xmlns = ITEMS, node = node } }
  local set = xexpr.child(query, "set", "http://jabber.org/protocol/rsm")
  if set then return paged(x, entity.items, set) end
  for _, item in ipairs(entity.items) do x[#x + 1] = form.item_element(item) end
  return x
end

-- The address under which an entity is stored; nil for our own.
local function place(conn, at, what, level)
  if at == nil then return nil end
  local jid, err = core.jid(at)
  if not jid then error(("%s: %s"):format(what, err.text), level + 1) end
  return jid ~= conn:jid() and tostring(jid) or nil
end

local function check_entity(entity, level)
  local plain = { jid = "x", identities = entity.identities or {}, features = {}, forms = entity.forms }
  for key, v in pairs(entity.features or {}) do
    plain.features[#plain.features + 1] = type(key) == "number" and v or key
  end
  local _, why = form.from_tree(plain)
  if why then error(("bad entity (%s)"):format((why:gsub("^tree", "entity"))), level + 1) end
  local kind = type(entity.items)
  if kind ~= "nil" and kind ~= "table" and kind ~= "function" then
    error(("bad entity (entity.items: list or function expected, got %s)"):format(kind), level + 1)
  end
end

--- Describes an address or a node to those who ask: { at =?, node =?, identities =, features =?, items =?, forms =?,
--- allow =? }. `at` is an address of a component (nil: all of ours); `items` is a list, or a function of the asking
--- address that returns one and may wait; `allow` is a function of the asking address, and replaces what `allows`
--- says. Those who are refused get item-not-found for a node and service-unavailable for an address. Raises an error
--- if that address and node are described already. Requests are answered once the extension is used: ext.use(conn,
--- disco).
---@param conn xmpp.Conn
---@param entity table
---@return fun(): boolean off removes it; returns true the first time
function M.serve(conn, entity)
  guard.check_conn(conn, "serve", 2)
  guard.check_type(entity, "table", 2, "serve", 2)
  check_entity(entity, 2)
  local own, at = kept(conn), place(conn, entity.at, "entity.at", 2)
  local key = key_of(at, entity.node)
  if own.entities[key] then error("there is an entity at that address and node already", 2) end
  local copy = {}
  for name, v in pairs(entity) do copy[name] = v end
  own.entities[key] = copy
  ext.changed(conn)
  return function()
    if own.entities[key] ~= copy then return false end
    own.entities[key] = nil
    ext.changed(conn)
    return true
  end
end

--- Adds a feature (a string), an identity (a table with `category`) or an item (a table with `jid`) to what we say of
--- ourselves, or of an address of a component.
---@param conn xmpp.Conn
---@param what string|table
---@param at? string|xmpp.Jid
---@return fun(): boolean off removes it; returns true the first time
function M.add(conn, what, at)
  guard.check_conn(conn, "add", 2)
  local own, entry = kept(conn), { at = place(conn, at, "bad argument #3 to 'add'", 2) }
  if type(what) == "string" then entry.feature = what
  elseif type(what) == "table" and what.category and what.type then entry.identity = what
  elseif type(what) == "table" and what.jid then entry.item = what
  else error("bad argument #2 to 'add' (feature, identity or item expected)", 2) end
  own.added[#own.added + 1] = entry
  ext.changed(conn)
  return function()
    for i, other in ipairs(own.added) do
      if other == entry then
        table.remove(own.added, i)
        ext.changed(conn)
        return true
      end
    end
    return false
  end
end

local function expand(conn, item, at, seen, from)
  local out = { jid = item.jid, node = item.node, name = item.name }
  local key = key_of(at, item.node)
  local entity = not seen[key] and entity_at(conn, at, item.node, from)
  if not entity then return out end
  seen[key] = true
  out.identities, out.features, out.forms = form.sort_identities(entity.identities), entity.features, entity.forms
  out.items = {}
  for i, inner in ipairs(entity.items) do
    local jid = core.jid(inner.jid)
    local inner_at = jid and jid ~= conn:jid() and tostring(jid) or nil
    out.items[i] = expand(conn, inner, inner_at, seen, from)
  end
  return out
end

--- Returns what we serve, as `walk` would find it if it asked us as ourselves.
---@param conn xmpp.Conn
---@return xmpp.DiscoTree
function M.tree(conn)
  guard.check_conn(conn, "tree", 2)
  local jid = tostring(conn:jid())
  return expand(conn, { jid = jid }, nil, {}, jid)
end

-- The extension

local function check_options(opts)
  for name in pairs(opts) do
    if name ~= "identity" and name ~= "allow" then error(("there is no option '%s'"):format(tostring(name)), 0) end
  end
  local identity, allow = opts.identity, opts.allow
  if identity ~= nil and not (type(identity) == "table" and identity.category and identity.type) then
    error("bad option 'identity' (table with category and type expected)", 0)
  end
  if allow ~= nil and allow ~= "all" and type(allow) ~= "function" then
    error("bad option 'allow' (\"all\" or function expected)", 0)
  end
end

function M.start(st, conn, opts)
  check_options(opts)
  st.identity = opts.identity
  local allow = opts.allow
  local info = iq.serve(conn, "get", INFO, function(query, stanza, c) return answer_info(c, query, stanza) end)
  local ok, items = pcall(iq.serve, conn, "get", ITEMS, function(query, stanza, c)
    return answer_items(c, query, stanza)
  end)
  if not ok then -- the program has described this node itself
    info()
    error(items, 0)
  end
  st.offs = { info, items }
  if allow then st.offs[3] = M.allow(conn, allow == "all" and function() return true end or allow) end
end

function M.stop(st)
  for _, off in ipairs(st.offs) do off() end
end

return M
