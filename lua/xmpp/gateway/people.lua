-- people: the XMPP users of a gateway: their registrations, their subscriptions, and their presence. For xmpp.gateway
-- alone.
--
-- What the store contains for each, by bare address: { fields = the registration, nil if not registered, contacts = {
-- [localpart of a virtual user] = true }, the users whose presence the person sees }. st.seen_by[localpart][person]:
-- the reverse, in memory. st.online[person][resource]. The store may wait; changes to it are made one after another.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local words = require "xmpp.presence.words"
local xmpp = require "xmpp"

local M = {}

local MOST_PEOPLE, MOST_RESOURCES = 10000, 64
local AT_ONCE = 100 -- presences sent in one turn

-- The default store, which lasts as long as the process.
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

--- The stored data of a person; nil: none.
function M.data(st, person)
  local data = st.store.get(person)
  return type(data) == "table" and data or nil
end

--- May this person use the gateway?
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

-- Calls f exclusively: no two such calls run at the same time. Returns what f returns.
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

--- Loads the subscriptions from the store; once.
function M.load(st)
  if not st.is_loaded then alone(st, function() load_all(st) end) end
end

local function is_empty(data) return data.fields == nil and next(data.contacts or {}) == nil end

local function change_now(st, person, f)
  load_all(st)
  local old = M.data(st, person)
  if not old and st.n_people >= st.most_people then
    return nil, core.error { layer = "limit", condition = "resource-constraint", retry = true,
      text = ("there are %d people already, which is the limit (option max_people)"):format(st.most_people) }
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

-- Changes the stored data of a person by f(data). nil, err: there are too many, or the store failed.
local function change(st, person, f)
  return alone(st, function() return change_now(st, person, f) end)
end

--- Registers a person with these values.
function M.register(st, person, fields)
  return change(st, person, function(data) data.fields = fields end)
end

--- Adds or removes a person's subscription to a virtual user's presence.
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

--- Deletes a person's data. Returns them; nil: there were none; nil, err: the store failed.
function M.forget(st, person)
  return alone(st, function() return forget(st, person) end)
end

--- Forgets who is available.
function M.reset(st) st.online, st.n_online = {}, 0 end

--- The subscribers of that user, as a list.
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

--- Records that this resource is available, or no longer. false: not recorded, since there are too many.
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

--- Sends presences, a hundred in each turn of the loop: make(i) returns the i-th, nil: there are no more.
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

--- Probes the presence of the registered people (RFC 6121 4.3).
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
