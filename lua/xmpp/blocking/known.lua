-- known: the block list as it is known here: fetched, and changed by pushes. For blocking.
--
-- st.blocked[jid] = true, st.n of them; st.skipped; st.beyond: number of addresses that aren't kept; st.session: the
-- session (info().rebound) whose list it is; st.asking: the request in progress; st.late: changes that arrived during
-- the request, { is_block, addresses or nil for all }.

local core = require "xmpp.load"
local iq = require "xmpp.iq"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = { BLOCKING = "urn:xmpp:blocking" }

local BLOCKING = M.BLOCKING
local MOST = 10000 -- addresses that are kept
local MOST_LATE = 1000 -- changes that may arrive during the request
local PATIENCE = 20 -- seconds for the server to answer the requests that precede our presence

-- Reading

-- The addresses of items. One that isn't valid by RFC 7622 is left out, and counted: no stanza from it can reach us
-- either.
local function addresses(x)
  local out, skipped, n = {}, 0, 0
  for item in xexpr.children(x, "item", BLOCKING) do
    n = n + 1
    local text = xexpr.attr(item, "jid")
    if not text then return nil, ("item[%d].jid: missing"):format(n) end
    local jid = core.jid(text)
    if jid then out[#out + 1] = tostring(jid) else skipped = skipped + 1 end
  end
  return out, skipped, n
end

local function read_list(answer, stanza)
  if answer == true or answer[1] ~= "blocklist" or xexpr.attr(answer, "xmlns") ~= BLOCKING then
    return iq.bad_format("the answer of our server: blocklist: missing", stanza)
  end
  local list, why = addresses(answer)
  if not list then return iq.bad_format("the answer of our server: blocklist." .. why, stanza) end
  return list, why
end

-- Changing

local function put(st, jid, events)
  if st.blocked[jid] then return end
  if st.n >= MOST then st.beyond = st.beyond + 1 return end
  st.blocked[jid], st.n = true, st.n + 1
  if events then events[#events + 1] = { "blocked", jid } end
end

local function take_away(st, jid, events)
  if not st.blocked[jid] then return end
  st.blocked[jid], st.n = nil, st.n - 1
  if events then events[#events + 1] = { "unblocked", jid } end
end

local function tell(st, events)
  for _, e in ipairs(events) do st:emit(e[1], e[2]) end
end

--- The keys, sorted.
function M.sorted(set)
  local out = {}
  for jid in pairs(set) do out[#out + 1] = jid end
  table.sort(out)
  return out
end

--- Marks these addresses as blocked or unblocked; list nil: all.
function M.apply(st, is_block, list)
  local events = {}
  if st.late and #st.late < MOST_LATE then st.late[#st.late + 1] = { is_block, list } end
  for _, jid in ipairs(list or M.sorted(st.blocked)) do
    if is_block then put(st, jid, events) else take_away(st, jid, events) end
  end
  if not list then st.beyond = 0 end
  tell(st, events)
end

-- Replaces the whole list, and applies the changes that have arrived since it was requested, which may be in it or
-- not.
local function replace(st, list, skipped)
  local now, events = {}, st.known and {} or nil -- the first list causes no events
  for _, jid in ipairs(list) do now[jid] = true end
  for _, change in ipairs(st.late or {}) do
    if not change[2] then now = {} end
    for _, jid in ipairs(change[2] or {}) do now[jid] = change[1] or nil end
  end
  for _, jid in ipairs(M.sorted(st.blocked)) do
    if not now[jid] then take_away(st, jid, events) end
  end
  st.beyond, st.skipped, st.known, st.late = 0, skipped, true, nil
  for _, jid in ipairs(M.sorted(now)) do put(st, jid, events) end
  tell(st, events or {})
end

-- Fetching

local function fetch(st, conn)
  local rebound = conn:info().rebound
  st.late = {}
  local answer, stanza = iq.get(conn, nil, { "blocklist", { xmlns = BLOCKING } }, { timeout = PATIENCE })
  if not answer then return nil, stanza end
  local list, why = read_list(answer, stanza)
  if not list then return nil, why end
  if st.is_over or conn:info().rebound ~= rebound then return true end
  st.session = rebound
  replace(st, list, why)
  st:emit "fetched"
  return true
end

--- Waits until this session's list has arrived; it is requested once, by the first caller.
---@return boolean? true
---@return xmpp.Error?
function M.fetched(st, conn)
  local rebound = conn:info().rebound
  if st.session == rebound then return true end
  local asking = st.asking
  if not asking or asking.rebound ~= rebound then
    asking = { rebound = rebound, promise = xmpp.spawn(fetch, st, conn) }
    st.asking = asking
  end
  local ok, err = asking.promise:wait()
  if not ok and st.asking == asking then st.asking = nil end -- so that it is requested again
  return ok, err
end

-- Pushes

--- Answers a push (XEP-0191 3.3, 3.4), which must come from our own account.
function M.push(st, x, stanza, conn)
  if not xexpr.from_account(stanza, conn) then return nil, "cancel", "service-unavailable" end
  local list, _, n = addresses(x)
  if not list or x[1] ~= "block" and x[1] ~= "unblock" or x[1] == "block" and n == 0 then
    return nil, "modify", "bad-request"
  end
  M.apply(st, x[1] == "block", n > 0 and list or nil) -- an empty unblock means all (XEP-0191 3.5)
  return true
end

--- Begins with an empty list.
function M.start(st) st.blocked, st.n, st.skipped, st.beyond = {}, 0, 0, 0 end

return M
