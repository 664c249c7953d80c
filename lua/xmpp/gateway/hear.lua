-- hear: stanzas to a gateway and its virtual users: messages, presences, subscriptions, probes, and requests to
-- unknown users. For xmpp.gateway alone.

local chat_message = require "xmpp.chat.message"
local core = require "xmpp.load"
local iq = require "xmpp.iq"
local people = require "xmpp.gateway.people"
local users = require "xmpp.gateway.users"
local words = require "xmpp.presence.words"
local xexpr = require "xmpp.xexpr"

local M = {}

-- The sender and the recipient. nil: drop it, since it comes from our own domain, or has no valid sender.
local function addresses(st, stanza)
  local from, to = core.jid(stanza[2].from or ""), core.jid(stanza[2].to or "")
  if not from or not to or from.domainpart == st.domain then return nil end
  return from, to
end

-- Messages

local NOT_OURS = { groupchat = true, headline = true }

local function refuse(conn, stanza, kind, condition, text)
  conn:send(xexpr.error_reply(stanza, kind, condition, text))
  return true
end

-- A message of a virtual user was returned as an error.
local function on_error(st, stanza, from, to)
  local user = st.users[to.localpart or ""]
  if user then st:emit("error", tostring(from:bare()), user, select(2, iq.failure(stanza)), stanza[2].id) end
end

local function on_message(st, stanza, conn)
  local from, to = addresses(st, stanza)
  if not from then return true end
  local kind = stanza[2].type
  if NOT_OURS[kind] or not to.localpart then return nil end
  if kind == "error" then return on_error(st, stanza, from, to) end
  local person = tostring(from:bare())
  local m = chat_message.read(stanza, { me = to })
  if not m or not chat_message.has_content(m) then return nil end -- a chat state, a receipt, an invitation
  if not people.is_registered(st, person) then return refuse(conn, stanza, "auth", "registration-required") end
  local user = users.at(st, to, person)
  if not user then return refuse(conn, stanza, "cancel", "item-not-found") end
  m.text = m.text or ""
  st:emit("message", person, user, m, stanza)
end

-- Presences

local function say(conn, kind, from, to)
  conn:send { "presence", { type = kind, from = from, to = to } }
end

local kinds = {}

-- Sends the presences of all users that this person sees, and the gateway's, to one resource, or to all.
local function tell_all(st, conn, person, to)
  local data = people.data(st, person)
  local list = {}
  for localpart in pairs(data and data.contacts or {}) do
    if st.users[localpart] and st.users[localpart].shown then list[#list + 1] = st.users[localpart] end
  end
  table.sort(list, function(a, b) return a.jid < b.jid end)
  people.send_all(conn, function(i)
    if i == 1 then return people.presence_of(st, nil, to) end
    return list[i - 1] and people.presence_of(st, list[i - 1], to)
  end)
end

-- A person has become available or unavailable (RFC 6121 4.4, 4.5, XEP-0100 4.4, 4.5).
local function on_status(st, conn, stanza, from, to, user)
  local p, person = words.read(stanza), tostring(from:bare())
  if not to.localpart and people.is_registered(st, person) then
    local resource = from.resourcepart or ""
    local was = st.online[person] and st.online[person][resource]
    people.note(st, person, resource, p.type ~= "unavailable")
    if p.type == "unavailable" then
      if was then say(conn, "unavailable", st.domain, tostring(from)) end
    elseif not was then
      tell_all(st, conn, person, tostring(from))
    end
  end
  st:emit("presence", tostring(from), p, user)
end

-- May this person see that user, or (nil) the gateway?
local function is_approved(st, person, user)
  if not people.is_registered(st, person) then return false end
  if not user or not st.opts.approve then return true end
  return st.opts.approve(person, user) == true
end

function kinds.subscribe(st, conn, _, from, to, user)
  local person, bare = tostring(from:bare()), tostring(to:bare())
  local ok = (user or not to.localpart) and is_approved(st, person, user)
  if ok and user then ok = people.subscribe(st, person, user.localpart, true) end
  if not ok then return say(conn, "unsubscribed", bare, person) end
  say(conn, "subscribed", bare, person)
  conn:send(people.presence_of(st, user, person))
  if user then st:emit("subscribe", person, user) end
end

function kinds.unsubscribe(st, conn, _, from, to, user)
  local person, bare = tostring(from:bare()), tostring(to:bare())
  local localpart = to.localpart
  if localpart and people.sees(st, person, localpart) then people.subscribe(st, person, localpart, false) end
  say(conn, "unsubscribed", bare, person)
  if user then st:emit("unsubscribe", person, user) end
end

-- RFC 6121 4.3.2: without a subscription the answer says so.
function kinds.probe(st, conn, _, from, to, user)
  local person, bare = tostring(from:bare()), tostring(to:bare())
  local sees = not to.localpart and people.is_registered(st, person) or
    to.localpart and people.sees(st, person, to.localpart)
  if not sees then return say(conn, "unsubscribed", bare, person) end
  conn:send(people.presence_of(st, user or to.localpart and { jid = bare } or nil, tostring(from)))
  if user then st:emit("probe", person, user) end
end

-- Only a subscription request creates a virtual user; a directed presence doesn't.
local MAKES = { subscribe = true }

local function on_presence(st, stanza, conn)
  local from, to = addresses(st, stanza)
  if not from then return true end
  people.load(st)
  local kind = stanza[2].type
  local person = MAKES[kind] and people.is_registered(st, tostring(from:bare())) and tostring(from:bare()) or nil
  local user = to.localpart and users.at(st, to, person)
  if kinds[kind] then return kinds[kind](st, conn, stanza, from, to, user) end
  if kind == nil or kind == "unavailable" then on_status(st, conn, stanza, from, to, user) end
end

-- Requests

--- Is it for an unknown user, or from our own domain?
function M.is_nobodys(st, question)
  local from, to = core.jid(question[2].from or ""), core.jid(question[2].to or "")
  if from and from.domainpart == st.domain then return true end
  return to ~= nil and to.localpart ~= nil and to.domainpart == st.domain and st.users[to.localpart] == nil
end

local function on_question(st, stanza, conn)
  if not M.is_nobodys(st, stanza) then return nil end
  local from = core.jid(stanza[2].from or "")
  if from and from.domainpart == st.domain then return true end
  if not stanza[2].id then return nil end -- nobody can answer it (RFC 6120 8.1.3)
  return refuse(conn, stanza, "cancel", "item-not-found")
end

M.taps = { { { name = "message", serial = "from" }, on_message },
  { { name = "presence", serial = "from" }, on_presence },
  { { name = "iq", type = "get" }, on_question }, { { name = "iq", type = "set" }, on_question } }

return M
