-- caps: entity capabilities (XEP-0115, XEP-0390): what other entities are and offer, found by a hash in their
-- presence, so that it is requested only once for all who have the same; and our own hashes in our presence. An
-- extension: ext.use(conn, caps [, { node =, most = }]).
--
-- Nobody is trusted. What an entity answers is hashed, and kept for other entities only if the hash matches the
-- announced one and if no other answer with other identities or features, that would be kept as well, could have that
-- hash. XEP-0115's string has no escaping, so an answer that contains a '<', is ill-formed by its 5.4, or could be
-- divided differently into identities, features and forms, is used for that one address alone. What matches a SHA-1 is
-- never used for XEP-0390.

local bounded = require "xmpp.chat.bounded"
local core = require "xmpp.load"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local form = require "xmpp.disco.form"
local guard = require "xmpp.guard"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = { name = "caps", needs = { disco } }

local CAPS, CAPS2, HASHES = "http://jabber.org/protocol/caps", "urn:xmpp:caps", "urn:xmpp:hashes:2"
local DATA = "jabber:x:data"
local NODE = "urn:xmpp:lua" -- of our own presence; it is not an address, and is never requested

M.features = { CAPS, CAPS2 }

local MOST, MOST_BYTES = 1000, 65536 -- number of hashes kept, and largest size in bytes of the data of one
local MOST_ALONE = 1000 -- answers that are kept for one address alone
local LONGEST_NODE = 1024 -- bytes of an announced node with its hash, which is stored, and repeated in requests
local MOST_SEEN = 10000 -- addresses whose presence is stored
local LEGACY_HASHES = { ["sha-1"] = true, ["sha-256"] = true, ["sha-512"] = true, ["sha3-256"] = true }
local SOFTWARE_INFO = "urn:xmpp:dataforms:softwareinfo" -- the FORM_TYPE of most forms (XEP-0232)
local PREFERRED = { "sha-256", "sha3-256", "blake2b-256", "sha-512" } -- for XEP-0390; without sha-1 (XEP-0300)

-- The strings to be hashed

local is_before = form.is_before -- by bytes, as both XEPs require

local function sorted(list)
  table.sort(list, is_before)
  return list
end

-- Adds `key` to `seen`; returns whether it was there.
local function twice(seen, key)
  if seen[key] then return true end
  seen[key] = true
  return false
end

local child_texts = form.values

-- FORM_TYPE's value, if it is a hidden field; nil and false: the form is ignored; nil and a reason: it is ill-formed.
local function form_type_of(x)
  local form_type
  for field in xexpr.children(x, "field", DATA) do
    if xexpr.attr(field, "var") == "FORM_TYPE" then
      if form_type then return nil, "a form with two FORM_TYPE fields" end
      if xexpr.attr(field, "type") ~= "hidden" then return nil, false end
      local values = child_texts(field)
      for _, value in ipairs(values) do
        if value ~= values[1] then return nil, "a FORM_TYPE with two values" end
      end
      form_type = values[1]
    end
  end
  return form_type, false
end

local function legacy_fields(x)
  local fields = {}
  for field in xexpr.children(x, "field", DATA) do
    local var = xexpr.attr(field, "var") or ""
    if var ~= "FORM_TYPE" then
      local parts = sorted(child_texts(field))
      table.insert(parts, 1, var)
      fields[#fields + 1] = { var, table.concat(parts, "<") .. "<" }
    end
  end
  table.sort(fields, function(a, b) return is_before(a[1], b[1]) or a[1] == b[1] and is_before(a[2], b[2]) end)
  for i, field in ipairs(fields) do fields[i] = field[2] end
  return table.concat(fields)
end

local function legacy_forms(query)
  local forms, seen = {}, {}
  local ignored
  for x in xexpr.children(query, "x", DATA) do
    local form_type, why = form_type_of(x)
    if why then return nil, why end
    if not form_type then
      ignored = "a form whose FORM_TYPE is missing, or not hidden"
    else
      if twice(seen, form_type) then return nil, "two forms of one FORM_TYPE" end
      forms[#forms + 1] = { form_type, form_type .. "<" .. legacy_fields(x) }
    end
  end
  table.sort(forms, function(a, b) return is_before(a[1], b[1]) end)
  local first = forms[1] and forms[1][1]
  for i, f in ipairs(forms) do forms[i] = f[2] end
  return table.concat(forms), ignored, first
end

-- Could a piece of the string be an identity, "category/type/language/name"?
local function is_like_identity(piece) return piece:find "^[^/]+/[^/]+/[^/]*/" ~= nil end

-- The string shows neither where identities end and features begin, nor where these end and forms begin. No two answers
-- can have the same string, but other identities or features, if this function returns nil for both of them. Identities
-- are told from features by their slashes, as their category and type aren't empty. If the features of one go on where
-- forms begin in the other one, then the other one's first FORM_TYPE is a feature that sorts behind its last one.
local function ambiguity(identities, features, form_type)
  for _, identity in ipairs(identities) do
    if (identity[3] .. identity[4] .. identity[5]):find("/", 1, true) then
      return "an identity that could be a feature"
    end
  end
  for _, var in ipairs(features) do
    if is_like_identity(var) then return "a feature that could be an identity" end
    if var == SOFTWARE_INFO then return "a feature that could be a FORM_TYPE" end
  end
  if form_type == nil or form_type == SOFTWARE_INFO then return nil end
  local last = features[#features]
  if not last or not is_before(form_type, last) then return "a FORM_TYPE that could be a feature" end
end

-- Does anything that is put into the string contain a '<'?
local function has_separator(x)
  for key, value in pairs(x[2]) do
    if key ~= "xmlns" and value:find("<", 1, true) then return true end
  end
  for i = 3, #x do
    local v = x[i]
    if type(v) == "string" and v:find("<", 1, true) or type(v) == "table" and has_separator(v) then return true end
  end
  return false
end

-- Calls f(...), and raises its error anew as one of the argument that `position` says, at the caller of the function
-- that is called `fname`.
local function at_caller(position, fname, f, ...)
  local ok, v = pcall(f, ...)
  if ok then return v end
  error(("bad argument #%d to '%s' %s"):format(position, fname, tostring(v):match "%(.*%)$" or v), 3)
end

--- Returns the string that XEP-0115 5.1 hashes for an answer to disco#info; nil and a reason if the answer is
--- ill-formed (5.4), or if it contains the separator. A reason after a string means that something in the answer is not
--- hashed, or that another answer could have the same string.
---@param query xmpp.Element
---@return string?
---@return string? reason
function M.legacy_string(query)
  query = at_caller(1, "legacy_string", xexpr.canonical, query)
  if has_separator(query) then return nil, "a '<' in a value" end
  local identities, features, seen = {}, {}, {}
  for x in xexpr.children(query, "identity", form.INFO) do
    local a = x[2]
    local key = ("%s/%s/%s"):format(a.category or "", a.type or "", a["xml:lang"] or "")
    local whole = key .. "/" .. (a.name or "")
    if twice(seen, "i" .. whole) then return nil, "an identity twice" end
    identities[#identities + 1] = { key, whole .. "<", a.category or "", a.type or "", a["xml:lang"] or "" }
  end
  table.sort(identities, function(a, b)
    for i = 3, 5 do
      if a[i] ~= b[i] then return is_before(a[i], b[i]) end
    end
    return is_before(a[2], b[2])
  end)
  for x in xexpr.children(query, "feature", form.INFO) do
    local var = x[2].var or ""
    if twice(seen, "f" .. var) then return nil, "a feature twice" end
    features[#features + 1] = var
  end
  local forms, why, form_type = legacy_forms(query)
  if not forms then return nil, why end
  why = why or ambiguity(identities, sorted(features), form_type)
  for i, identity in ipairs(identities) do identities[i] = identity[2] end
  for i, var in ipairs(features) do features[i] = var .. "<" end
  return table.concat(identities) .. table.concat(features) .. forms, why
end

local FIELD, RECORD, GROUP, PART = "\31", "\30", "\29", "\28" -- characters that XML doesn't allow

local function form_string(x)
  local fields, has_type = {}, false
  for child in xexpr.children(x) do
    if child[1] == "reported" or child[1] == "item" then return nil, "a form with '" .. child[1] .. "'" end
  end
  for field in xexpr.children(x, "field", DATA) do
    local var, values = xexpr.attr(field, "var") or "", child_texts(field)
    has_type = has_type or var == "FORM_TYPE" and xexpr.attr(field, "type") == "hidden" and #values == 1
    for i, value in ipairs(values) do values[i] = value .. FIELD end
    fields[#fields + 1] = var .. FIELD .. table.concat(sorted(values)) .. RECORD
  end
  if not has_type then return nil, "a form without FORM_TYPE" end
  return table.concat(sorted(fields)) .. GROUP
end

--- Returns the string that XEP-0390 4.1 hashes for an answer to disco#info; nil and a reason if it must not be hashed.
---@param query xmpp.Element
---@param lang? string the language of the stanza around it
---@return string?
---@return string? reason
function M.hash_string(query, lang)
  query = at_caller(1, "hash_string", xexpr.canonical, query)
  lang = query[2]["xml:lang"] or lang or ""
  local features, identities, forms = {}, {}, {}
  for x in xexpr.children(query) do
    local a, xmlns = x[2], x[2].xmlns or form.INFO
    if x[1] == "feature" and xmlns == form.INFO then
      features[#features + 1] = (a.var or "") .. FIELD
    elseif x[1] == "identity" and xmlns == form.INFO then
      local words = { a.category or "", a.type or "", a["xml:lang"] or lang, a.name or "" }
      identities[#identities + 1] = table.concat(words, FIELD) .. FIELD .. RECORD
    elseif x[1] == "x" and xmlns == DATA then
      local s, why = form_string(x)
      if not s then return nil, why end
      forms[#forms + 1] = s
    else
      return nil, ("an element '%s'"):format(core.shown(x[1]))
    end
  end
  return table.concat(sorted(features)) .. PART .. table.concat(sorted(identities)) .. PART ..
    table.concat(sorted(forms)) .. PART
end

--- Returns the `ver` of XEP-0115: the hash, as Base64. nil and a reason as for `legacy_string`.
---@param query xmpp.Element
---@param hash? string the name of the hash ("sha-1")
---@return string?
---@return string? reason
function M.ver(query, hash)
  query = at_caller(1, "ver", xexpr.canonical, query)
  local s, why = M.legacy_string(query)
  if not s then return nil, why end
  return core.base64(at_caller(2, "ver", core.hash, hash or "sha-1", s))
end

-- The cache. `cache.by`: key -> { query =, info =, used = }; a key says to which XEP, hash and value an entry belongs.

local function legacy_key(hash, ver) return ("%s %s"):format(hash, ver) end
local function hash_node(algo, value) return ("%s#%s.%s"):format(CAPS2, algo, value) end

-- The bytes of all names, values and texts in an element; those beyond `most` aren't counted.
local function size_of(x, most)
  local n = #x[1]
  for key, value in pairs(x[2]) do n = n + #key + #value end
  for i = 3, #x do
    if n > most then return n end
    n = n + (type(x[i]) == "string" and #x[i] or size_of(x[i], most - n))
  end
  return n
end

local function is_small(query) return size_of(xexpr.canonical(query), MOST_BYTES) <= MOST_BYTES end

-- Does the answer have the hash that the key says, and could no other answer have it?
local function fits(key, query, lang)
  local algo, value = key:match "^urn:xmpp:caps#(.*)%.([^.]*)$"
  local s, why
  if algo then
    s, why = M.hash_string(query, lang)
  else
    algo, value = key:match "^(%S+) (.*)$"
    s, why = M.legacy_string(query)
  end
  if not s or why then return false end
  return core.base64(core.hash(algo, s)) == value
end

local function forget_oldest(cache)
  local oldest
  for key, entry in pairs(cache.by) do
    if not oldest or entry.used < cache.by[oldest].used then oldest = key end
  end
  cache.by[oldest], cache.n = nil, cache.n - 1
end

local function look_up(cache, key)
  local entry = key and cache.by[key]
  if not entry then return nil end
  cache.turn = cache.turn + 1
  entry.used = cache.turn
  return entry.info
end

local function keep(cache, key, query, info)
  if cache.by[key] or cache.most < 1 then return end
  if cache.n >= cache.most then forget_oldest(cache) end
  cache.turn, cache.n = cache.turn + 1, cache.n + 1
  cache.by[key] = { query = query, info = info, used = cache.turn }
end

-- Presences

local function strongest(c)
  for _, algo in ipairs(PREFERRED) do
    for x in xexpr.children(c, "hash", HASHES) do
      if xexpr.attr(x, "algo") == algo then return hash_node(algo, xexpr.text(x)) end
    end
  end
end

-- What a presence announces: { node =, key = }, the node to request and the key to store it under; without a key it is
-- never stored. One that is too long is ignored.
local function announced(presence)
  local new = xexpr.child(presence, "c", CAPS2)
  local node = new and strongest(new)
  if node and #node <= LONGEST_NODE then return { node = node, key = node } end
  local c = xexpr.child(presence, "c", CAPS)
  local ver = c and xexpr.attr(c, "ver")
  if not ver then return nil end
  local hash = xexpr.attr(c, "hash")
  node = ("%s#%s"):format(xexpr.attr(c, "node") or "", ver)
  if #node > LONGEST_NODE then return nil end
  return { node = node, key = hash and LEGACY_HASHES[hash] and legacy_key(hash, ver) or nil }
end

-- Known presences: `by` address -> what it announced, with its `turn`; `order` turn -> address, from `first` on, with
-- gaps where one was removed.

local function new_seen() return { by = {}, order = {}, first = 1, last = 0, n = 0 } end

local function forget_presence(seen, from)
  local entry = seen.by[from]
  if entry then seen.by[from], seen.order[entry.turn], seen.n = nil, nil, seen.n - 1 end
end

local function forget_first_heard(seen)
  while not seen.order[seen.first] do seen.first = seen.first + 1 end
  forget_presence(seen, seen.order[seen.first])
end

local function note_presence(seen, from, entry)
  forget_presence(seen, from)
  if seen.n >= MOST_SEEN then forget_first_heard(seen) end
  seen.last, seen.n = seen.last + 1, seen.n + 1
  entry.turn, seen.by[from], seen.order[seen.last] = seen.last, entry, from
end

local function hear(st, presence)
  local jid = presence[2].from and core.jid(presence[2].from)
  local now = jid and announced(presence)
  if not now then return end
  local from = tostring(jid)
  local was = st.seen.by[from]
  if was and was.node == now.node and was.key == now.key then now = was end
  note_presence(st.seen, from, now)
end

local function hear_no_more(st, presence)
  local jid = presence[2].from and core.jid(presence[2].from)
  if jid then forget_presence(st.seen, tostring(jid)) end
end

-- Asking

local function read(query, stanza)
  local info, why = form.read_info(query)
  if info then return info end
  return require "xmpp.iq".bad_format(why, stanza)
end

-- Requests the data from that address itself, and stores them if that is allowed.
local function ask(st, conn, jid, entry, timeout)
  local query, stanza = disco.query(conn, jid, { node = entry.node, timeout = timeout })
  if not query then return nil, stanza end
  local info, err = read(query, stanza)
  if not info then return nil, err end
  local key = entry.key
  if not is_small(query) then return info end -- it isn't kept
  if key and fits(key, query, xexpr.attr(stanza, "xml:lang")) then
    local lang = xexpr.attr(stanza, "xml:lang")
    query = xexpr.canonical(query)
    query[2]["xml:lang"] = query[2]["xml:lang"] or lang
    keep(st.cache, key, query, info)
  else
    bounded.set(st.alone, entry, info) -- for this address, until its presence announces something else
  end
  return info
end

-- What is known without a request.
local function known(st, entry) return look_up(st.cache, entry.key) or bounded.get(st.alone, entry) end

-- Only one request for a hash and server is in progress at a time; other callers wait for it.
local function ask_once(st, conn, jid, entry, timeout)
  local under_way = ("%s %s"):format(entry.key or tostring(jid), jid.domainpart)
  local promise = st.asking[under_way]
  if promise then
    promise:wait(timeout)
    local had = known(st, entry)
    if had then return had end
    if st.asking[under_way] == promise then st.asking[under_way] = nil end
  end
  promise = xmpp.promise()
  st.asking[under_way] = promise
  local info, err = ask(st, conn, jid, entry, timeout)
  if st.asking[under_way] == promise then st.asking[under_way] = nil end
  promise:resolve(true)
  return info, err
end

--- Returns what an entity is and offers, by the hash in its presence. It sends a request if nobody has announced that
--- hash before. The table is shared: do not change it.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid a full address
---@param opts? { timeout: number? }
---@return xmpp.DiscoInfo?
---@return xmpp.Error? err condition "item-not-found" if there is no hash in its presence
function M.of(conn, jid, opts)
  guard.check_conn(conn, "of", 2)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, "of", 2) end
  opts = guard.check_opts(opts, { timeout = "number" }, 3, "of", 2)
  local st = ext.of(conn, M)
  if not st then error("caps isn't used on this connection: ext.use(conn, require \"xmpp.caps\")", 2) end
  local address, err = core.jid(jid)
  if not address then return nil, err end
  local entry = st.seen.by[tostring(address)]
  if not entry then
    return nil, core.error { layer = "stanza", condition = "item-not-found", type = "cancel", retry = false,
      text = ("no presence of %s has announced capabilities"):format(tostring(address)) }
  end
  local had = known(st, entry)
  if had then return had end
  return ask_once(st, conn, address, entry, opts.timeout)
end

-- Our own

local function own_hashes(st, conn)
  if st.own then return st.own end
  local query = form.info_element(disco.own_info(conn))
  local s = M.hash_string(query)
  st.own = { ver = M.ver(query), node = st.node }
  for _, algo in ipairs { "sha-256", "sha3-256" } do st.own[algo] = core.base64(core.hash(algo, s)) end
  return st.own
end

-- Is that a node that stands for our own hash?
local function is_alias(st, conn, node)
  local own = own_hashes(st, conn)
  return own.ver and node == own.node .. "#" .. own.ver or node == hash_node("sha-256", own["sha-256"])
    or node == hash_node("sha3-256", own["sha3-256"])
end

local function legacy_element(st, _, conn)
  local own = own_hashes(st, conn)
  return own.ver and { "c", { xmlns = CAPS, hash = "sha-1", node = own.node, ver = own.ver } } or nil
end

local function element(st, stanza, conn)
  local own = own_hashes(st, conn)
  if not (stanza[2] or {}).to then -- to be sent again in this session when the hashes change
    st.presence, st.presence_of = xexpr.canonical(stanza), conn:info().rebound
  end
  return { "c", { xmlns = CAPS2 }, { "hash", { xmlns = HASHES, algo = "sha-256" }, own["sha-256"] },
    { "hash", { xmlns = HASHES, algo = "sha3-256" }, own["sha3-256"] } }
end

M.adds = { { { name = "presence" }, legacy_element }, { { name = "presence" }, element },
  { { name = "presence", type = "unavailable" }, function(st, stanza)
    if not (stanza[2] or {}).to then st.presence = nil end
  end } }

M.taps = { { { name = "presence", has = CAPS }, function(st, presence)
    if not presence[2].type then hear(st, presence) end
  end },
  { { name = "presence", has = CAPS2 }, function(st, presence)
    if not presence[2].type then hear(st, presence) end
  end },
  { { name = "presence", type = "unavailable" }, hear_no_more } }

-- Our features have changed: sends the presence again a second later, once for all changes until then.
local function announce_later(st, conn)
  st.own = nil
  if st.timer or not st.presence then return end
  st.timer = xmpp.after(1, function()
    st.timer = nil
    if st.presence and conn:state() == "ready" then conn:send(st.presence, { session = true }) end
  end)
end

-- Sends our presence again without hashes, a second later, unless the program sends another one in the meantime.
local function say_without(st, conn)
  local off = core.conn.add(conn, "presence", nil, function(stanza)
    if not (stanza[2] or {}).to then st.presence = nil end
  end)
  xmpp.after(1, function()
    off()
    if st.presence and conn:state() == "ready" then conn:send(st.presence, { session = true }) end
  end)
end

local function check_options(opts)
  for name, value in pairs(opts) do
    if name == "node" then
      if type(value) ~= "string" then error("bad option 'node' (string expected, got " .. type(value) .. ")", 0) end
    elseif name == "most" then
      if type(value) ~= "number" then error("bad option 'most' (number expected, got " .. type(value) .. ")", 0) end
    else
      error(("there is no option '%s'"):format(tostring(name)), 0)
    end
  end
end

function M.start(st, conn, opts)
  check_options(opts)
  st.node, st.seen, st.asking, st.alone = opts.node or NODE, new_seen(), {}, bounded.new(MOST_ALONE)
  st.cache = { by = {}, n = 0, most = opts.most or MOST, turn = 0 }
  st.unwatch = ext.watch(conn, function() announce_later(st, conn) end)
  disco.hook(conn, function(node) return is_alias(st, conn, node) end, function(jid)
    local entry = st.seen.by[tostring(jid)]
    return entry and look_up(st.cache, entry.key)
  end)
end

function M.session(st, conn)
  st.seen, st.alone = new_seen(), bounded.new(MOST_ALONE) -- the server sends all presences again
  if st.presence_of ~= conn:info().rebound then st.presence = nil end
end

function M.stop(st, conn)
  st.unwatch()
  disco.hook(conn, nil, nil)
  if st.timer then st.timer:cancel() end
  if st.presence and conn:state() == "ready" then say_without(st, conn) end
end

--- The hashes with their data, least recently used first.
function M.save(st)
  local keys, out = {}, {}
  for key in pairs(st.cache.by) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return st.cache.by[a].used < st.cache.by[b].used end)
  for i, key in ipairs(keys) do out[i] = { key, st.cache.by[key].query } end
  return out
end

--- Ignores entries that don't match their hash.
function M.load(st, saved)
  for _, pair in ipairs(saved) do
    local key, query = pair[1], pair[2]
    local info = form.read_info(query)
    if info and is_small(query) and fits(key, query) then keep(st.cache, key, query, info) end
  end
end

return M
