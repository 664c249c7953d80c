-- avatar: a virtual user's picture, as far as a component can provide one: in the vCard (XEP-0054), with its hash in
-- the presence (XEP-0153), and announced by PEP events (XEP-0084), with answers to the requests that follow. For
-- xmpp.gateway alone.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local hash = require "xmpp.avatar.hash"
local iq = require "xmpp.iq"
local people = require "xmpp.gateway.people"
local xexpr = require "xmpp.xexpr"

local M = {}

local DATA, METADATA = "urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata"
local PUBSUB, EVENT = "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#event"
local VCARD = "vcard-temp"
local MOST = 65536 -- bytes

local function metadata(user)
  if not user.avatar_bytes then return { "metadata", { xmlns = METADATA } } end
  return { "metadata", { xmlns = METADATA }, { "info", { id = user.avatar_hash, type = user.avatar_type,
    bytes = ("%.0f"):format(#user.avatar_bytes) } } }
end

local function items(user, node)
  local list = { "items", { node = node } }
  if node == METADATA then
    list[3] = { "item", { id = user.avatar_hash or "current" }, metadata(user) }
  elseif node == DATA and user.avatar_bytes then
    list[3] = { "item", { id = user.avatar_hash }, { "data", { xmlns = DATA }, core.base64(user.avatar_bytes) } }
  else
    return nil
  end
  return list
end

local function vcard(user)
  local x = { "vCard", { xmlns = VCARD }, { "FN", {}, user.name }, { "NICKNAME", {}, user.name } }
  if user.avatar_bytes then
    x[5] = { "PHOTO", {}, { "TYPE", {}, user.avatar_type }, { "BINVAL", {}, core.base64(user.avatar_bytes) } }
  end
  return x
end

-- The virtual user that is asked; nobody else has a vCard here.
local function asked(st, stanza)
  local to = core.jid(stanza[2].to or "")
  return to and st.users[to.localpart or ""]
end

local function serve(st, conn)
  if st.serves_avatars then return end
  st.serves_avatars = true
  st.offs[#st.offs + 1] = iq.serve(conn, "get", VCARD, function(_, stanza)
    local user = asked(st, stanza)
    if not user then return nil, "cancel", "service-unavailable" end
    return vcard(user)
  end)
  st.offs[#st.offs + 1] = iq.serve(conn, "get", PUBSUB, function(query, stanza)
    local user, wanted = asked(st, stanza), xexpr.child(query, "items", PUBSUB)
    local found = user and wanted and items(user, xexpr.attr(wanted, "node"))
    if not found then return nil, "cancel", "item-not-found" end
    return { "pubsub", { xmlns = PUBSUB }, found }
  end)
end

--- Sets the picture, and notifies the subscribers.
function M.set(st, conn, user, bytes, o)
  if bytes ~= nil and type(bytes) ~= "string" then
    error(("bad argument #1 to 'avatar' (string expected, got %s)"):format(type(bytes)), 3)
  end
  if bytes and #bytes > MOST then error("bad argument #1 to 'avatar' (64 KiB at most)", 3) end
  o = guard.check_opts(o, { type = "string" }, 2, "avatar", 3)
  serve(st, conn)
  user.avatar_bytes, user.avatar_hash = bytes, bytes and hash.of(bytes) or nil
  user.avatar_type = bytes and (o.type or "image/png") or nil
  local list = people.watchers(st, user.localpart)
  people.send_all(conn, function(i)
    local person = list[math.floor((i + 1) / 2)]
    if not person then return nil end
    if i % 2 == 1 then return people.presence_of(st, user, person) end
    return { "message", { from = user.jid, to = person, type = "headline" }, { "event", { xmlns = EVENT },
      items(user, METADATA) } }
  end)
end

return M
