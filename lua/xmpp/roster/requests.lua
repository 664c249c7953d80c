-- roster/requests: subscription requests (RFC 6121 3.1.3), and the answers: those of the program, or of its rule. For
-- xmpp.roster.
--
-- A request comes from a stranger: only the address is stored, at most `max_requests` of them; repeated ones are
-- dropped. A proposed name, or a proposal to add contacts (XEP-0144), is ignored.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local kept = require "xmpp.roster.kept"
local spelling = require "xmpp.spelling"

local M = {}

local WHO = "extension 'roster', approve"

-- Discards requests of earlier sessions that the server has not repeated in this one.
local function forget_old(st, p, session)
  for jid, of in pairs(p.asked) do
    if of ~= session then st.requests[jid], p.asked[jid], p.n_asked = nil, nil, p.n_asked - 1 end
  end
end

local function forget(st, jid)
  local p = kept.of(st)
  if not st.requests[jid] then return end
  st.requests[jid], p.asked[jid], p.n_asked = nil, nil, p.n_asked - 1
end

--- A request has been answered.
---@param st table
---@param jid string bare, as the program writes it
function M.answered(st, jid)
  forget(st, st.requests[jid] and jid or spelling.key(jid)) -- as the server may write it
end

-- Stores a request; returns whether it is new.
local function note(st, p, jid, session)
  local had = st.requests[jid]
  if not had and p.n_asked >= p.max_requests then
    forget_old(st, p, session)
    if p.n_asked >= p.max_requests then return false end
  end
  if not had then p.n_asked = p.n_asked + 1 end
  st.requests[jid], p.asked[jid] = true, session
  return not had
end

-- true, false; nil: the program has to decide.
local function rule(p, jid, stanza)
  local approve = p.approve
  if type(approve) ~= "function" then return ({ all = true, none = false })[approve] end
  local ok, verdict = guard.call(approve, jid, stanza)
  if not ok then
    guard.report(WHO, verdict)
    return nil
  end
  if verdict ~= true and verdict ~= false then return nil end
  return verdict
end

-- The requester, unless that is our own account.
local function sender(p, stanza)
  local jid = stanza[2].from and core.jid(stanza[2].from)
  jid = jid and tostring(jid:bare())
  return jid ~= p.account and jid or nil
end

local SEEN = { to = true, both = true }

--- Handles a subscription request.
function M.ask(st, stanza, conn)
  local p = kept.of(st)
  local jid = sender(p, stanza)
  if not jid or not note(st, p, jid, conn:info().rebound) then return end
  local verdict = rule(p, jid, stanza)
  if p.gone or not st.requests[jid] then return end -- it has been answered in the meantime
  if verdict == nil then return st:emit("request", jid, stanza) end
  local sent = verdict and st:approve(jid) or not verdict and st:deny(jid)
  if not sent then return forget(st, jid) end -- the server will send the request again
  local item = st.items[jid]
  if verdict and p.mutual and not (item and (item.ask or SEEN[item.subscription])) then st:subscribe(jid) end
end

--- Somebody has withdrawn the request, or unsubscribed.
function M.take_back(st, stanza)
  local jid = sender(kept.of(st), stanza)
  if jid then forget(st, jid) end
end

--- A contact has denied our request, or cancelled our subscription.
function M.denied(st, stanza)
  local p = kept.of(st)
  local jid = sender(p, stanza)
  if jid and st.items[jid] then st:emit("denied", jid, st.items[jid]) end
end

return M
