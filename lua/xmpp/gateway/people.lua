-- people: who of XMPP's people a gateway knows: what they have registered with, whom they have subscribed to, and who
-- of them is there. For xmpp.gateway alone.
--
-- What the store keeps of each, by his bare address: { fields = what he has filled in, nil: he hasn't registered,
-- contacts = { [localpart of a virtual user] = true }, whom he sees }. st.seen_by[localpart][person]: the same the
-- other way round, in memory. st.online[person][resource]. The store may wait; what changes it is done by turns.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local words = require "xmpp.presence.words"
local xmpp = require "xmpp"

local M = {}

local MOST_PEOPLE, MOST_RESOURCES = 10000, 64
local AT_ONCE = 100 -- presences sent in one turn

-- Kept for as long as the process lives.
local function in_memory()
  local by = {}
  return { get = function(person) return by[person] end,
    set = function(person, data) by[person] = data return true end,
    each = function(f)
      local list = {}
      for person in pairs(by) do list[#list + 1] = person end
      table.sort(list)
      for _, person in ipairs(list) do f(person) end
    end }
end

function M.start(st, opts)
  st.store, st.seen_by, st.online, st.n_online, st.n_people = opts.store or in_memory(), {}, {}, 0, 0
  st.most_people = opts.max_people or MOST_PEOPLE
end

--- What is kept of somebody; nil: nothing.
function M.data(st, person)
  local data = st.store.get(person)
  return type(data) == "table" and data or nil
end

--- May he use the gateway?
function M.is_registered(st, person)
  if not st.opts.register then return true end
  local data = M.data(st, person)
  return data ~= nil and data.fields ~= nil
end

local function see(st, localpart, person, sees)
  local set = st.seen_by[localpart] or {}
  set[person] = sees or nil
  st.seen_by[localpart] = next(set) and set or nil
end

-- What f gives, when nobody else is at it.
local function alone(st, f)
  while st.busy do st.busy:wait() end
  local turn = xmpp.promise()
  st.busy = turn
  local ok, a, b = guard.call(f)
  st.busy = nil
  turn:resolve(true)
  if not ok then error(a, 0) end
  return a, b
end

local function load_all(st)
  if st.is_loaded then return end
  st.store.each(function(person)
    st.n_people = st.n_people + 1
    for localpart in pairs((M.data(st, person) or {}).contacts or {}) do see(st, localpart, person, true) end
  end)
  st.is_loaded = true
end

--- From the store; once.
function M.load(st)
  if not st.is_loaded then alone(st, function() load_all(st) end) end
end

local function is_empty(data) return data.fields == nil and next(data.contacts or {}) == nil end

local function change_now(st, person, f)
  load_all(st)
  local old = M.data(st, person)
  if not old and st.n_people >= st.most_people then
    return nil, core.error { layer = "limit", condition = "resource-constraint", retry = true,
      text = ("%d people are known, and no more may be (option max_people)"):format(st.most_people) }
  end
  local data = { fields = old and old.fields, contacts = {} }
  for localpart in pairs(old and old.contacts or {}) do data.contacts[localpart] = true end
  f(data)
  local gone = is_empty(data)
  local ok, err = st.store.set(person, not gone and data or nil)
  if not ok then return nil, err end
  st.n_people = st.n_people + (old and 0 or 1) - (gone and 1 or 0)
  return true
end

-- Changes what is kept of somebody: f(data). nil, err: there are too many, or the store says so.
local function change(st, person, f)
  return alone(st, function() return change_now(st, person, f) end)
end

--- He registers, with these values.
function M.register(st, person, fields)
  return change(st, person, function(data) data.fields = fields end)
end

--- He sees a virtual user's presence from now on, or no longer.
function M.subscribe(st, person, localpart, sees)
  local ok, err = change(st, person, function(data) data.contacts[localpart] = sees or nil end)
  if ok then see(st, localpart, person, sees) end
  return ok, err
end

local function forget(st, person)
  load_all(st)
  local data = M.data(st, person)
  if not data then return nil end
  local ok, err = st.store.set(person, nil)
  if not ok then return nil, err end
  st.n_people = st.n_people - 1
  for localpart in pairs(data.contacts or {}) do see(st, localpart, person, false) end
  if st.online[person] then st.online[person], st.n_online = nil, st.n_online - 1 end
  return data
end

--- Nothing is kept of him any more. What was; nil: nothing; nil, err: the store says so.
function M.forget(st, person)
  return alone(st, function() return forget(st, person) end)
end

--- Nobody is known to be there.
function M.reset(st) st.online, st.n_online = {}, 0 end

--- Who sees that user's presence, as a list.
function M.watchers(st, localpart)
  local out = {}
  for person in pairs(st.seen_by[localpart] or {}) do out[#out + 1] = person end
  table.sort(out)
  return out
end

function M.sees(st, person, localpart)
  local set = st.seen_by[localpart]
  return set ~= nil and set[person] == true
end

--- He is there by that resource, or no longer. false: it isn't kept, there are too many.
function M.note(st, person, resource, there)
  local set = st.online[person]
  if not there then
    if not set then return true end
    set[resource] = nil
    if not next(set) then st.online[person], st.n_online = nil, st.n_online - 1 end
    return true
  end
  if not set then
    if st.n_online >= st.most_people then return false end
    set, st.n_online = {}, st.n_online + 1
    st.online[person] = set
  end
  local n = 0
  for _ in pairs(set) do n = n + 1 end
  if n >= MOST_RESOURCES then return false end
  set[resource] = true
  return true
end

--- Sends presences, a hundred in a turn: make(i) gives the i-th, nil: there are no more.
function M.send_all(conn, make)
  local i = 1
  local stanza = make(i)
  while stanza and conn:state() ~= "closed" do
    conn:send(stanza)
    if i % AT_ONCE == 0 then xmpp.sleep(0) end
    i = i + 1
    stanza = make(i)
  end
end

--- Asks those who have registered whether they are there (RFC 6121 4.3).
function M.probe(st, conn)
  local list = {}
  st.store.each(function(person) list[#list + 1] = person end)
  M.send_all(conn, function(i)
    return list[i] and { "presence", { type = "probe", from = st.domain, to = list[i] } }
  end)
end

--- The presence of a virtual user, or (nil) of the gateway itself, to somebody.
function M.presence_of(st, user, to)
  local stanza = words.stanza(user and (user.shown or { type = "unavailable" }) or {}, to)
  stanza[2].from = user and user.jid or st.domain
  if user and user.avatar_hash and stanza[2].type == nil then
    stanza[#stanza + 1] = { "x", { xmlns = "vcard-temp:x:update" }, { "photo", {}, user.avatar_hash } }
  end
  return stanza
end

return M
