-- users: the virtual users of a gateway: users of the other network, each with an address of the gateway's domain. For
-- xmpp.gateway alone.
--
-- The public fields of a user: name (in the other network), jid (prepared), localpart, shown (the presence as it was
-- set, nil: unavailable), avatar_hash.

local avatar = require "xmpp.gateway.avatar"
local core = require "xmpp.load"
local disco = require "xmpp.disco"
local escape = require "xmpp.escape"
local guard = require "xmpp.guard"
local handle = require "xmpp.handle"
local people = require "xmpp.gateway.people"
local words = require "xmpp.presence.words"
local write = require "xmpp.chat.write"

local M = {}

local MOST_USERS = 10000

--- The handle of a virtual user.
---@class xmpp.VirtualUser
local H = {}

local inner = setmetatable({}, { __mode = "k" }) -- user -> the gateway's state, and its connection (weak)

local function of(user)
  local own = inner[user]
  local conn = own.link.conn
  if conn and conn:state() ~= "closed" and not own.gone then return own.st, conn end
  return nil, core.error { layer = "closed", condition = "closed", retry = false,
    text = own.gone and "the virtual user is gone" or "the connection is closed" }
end

local function send(user, stanza, to, fname)
  local st, conn = of(user)
  if not st then return nil, conn end
  local jid, bad = core.jid(to)
  if not jid then return nil, bad end
  stanza[2].from, stanza[2].to = user.jid, tostring(jid)
  local fits, why = core.check_stanza(stanza)
  if not fits then error(("bad argument of '%s' (%s)"):format(fname, why), 3) end
  local ok, err = conn:send(stanza)
  if not ok then return nil, err end
  return stanza[2].id or true
end

--- Sends a message in the user's name.
---@param to string|xmpp.Jid
---@param what string|table a text, or a table as for the `send` of xmpp.chat
---@return string? id
---@return xmpp.Error?
function H.message(user, to, what)
  local id, content = core.id(), write.content(what, "message", 2)
  local sent, err = send(user, write.message(tostring(to), "chat", id, content, true), to, "message")
  if not sent then return nil, err end
  return id
end

--- Sends the user's presence to all subscribers; with type = "unavailable" the user goes offline.
---@param p { show: string?, status: string?, priority: integer?, type: "unavailable"|nil }
---@return boolean? ok
---@return xmpp.Error?
function H.presence(user, p)
  p = words.check(p, 1, "presence", 2, true)
  if p.type and p.type ~= "unavailable" then error("bad option 'type' of 'presence' (unavailable expected)", 2) end
  local st, conn = of(user)
  if not st then return nil, conn end
  user.shown = p.type ~= "unavailable" and p or nil
  local last = p.type == "unavailable" and { status = p.status, type = p.type } or nil
  local list = people.watchers(st, user.localpart)
  people.send_all(conn, function(i)
    if not list[i] then return nil end
    local stanza = people.presence_of(st, user, list[i])
    if last and last.status then stanza[#stanza + 1] = { "status", {}, last.status } end
    return stanza
  end)
  return true
end

--- Requests a subscription to somebody's presence, in the user's name (RFC 6121 3.1).
---@param to string|xmpp.Jid
---@param status? string
---@return boolean? sent
---@return xmpp.Error?
function H.subscribe(user, to, status)
  return send(user, { "presence", { type = "subscribe" }, status and { "status", {}, status } or nil }, to, "subscribe")
end

--- Sets the user's picture, in the vCard, the presence and PEP events, as far as a component can. nil removes it.
---@param bytes string?
---@param o? { type: string? } type: the media type ("image/png")
---@return boolean? ok
---@return xmpp.Error?
function H.avatar(user, bytes, o)
  local st, conn = of(user)
  if not st then return nil, conn end
  avatar.set(st, conn, user, bytes, o)
  return true
end

--- Removes the user: the subscribers see it go offline.
function H.remove(user)
  local st, conn = of(user)
  if not st then return nil, conn end
  if user.shown then H.presence(user, { type = "unavailable" }) end
  local own = inner[user]
  own.gone = true
  own.off()
  st.users[user.localpart], st.n_users = nil, st.n_users - 1
  return true
end

function M.start(st, conn)
  st.users, st.n_users, st.link = {}, 0, setmetatable({ conn = conn }, { __mode = "v" })
end

function M.stop(st)
  for _, user in pairs(st.users) do
    inner[user].gone = true
    inner[user].off()
  end
  st.users = {}
end

local function new(st, conn, name, jid)
  local user = handle.new(("virtual user '%s'"):format(core.shown(name)), {}, H)
  user.name, user.jid, user.localpart = name, tostring(jid), jid.localpart
  inner[user] = { st = st, link = st.link }
  inner[user].off = disco.serve(conn, { at = user.jid, features = { "vcard-temp" },
    identities = { { category = "client", type = "pc", name = name } } })
  st.users[user.localpart], st.n_users = user, st.n_users + 1
  return user
end

--- Returns the virtual user of that name, which is created if there is none; the same one each time.
---@param name string as in the other network
---@return xmpp.VirtualUser?
---@return xmpp.Error? err if the name cannot be an address; layer "limit" if there are too many
function M.user(st, name)
  guard.check_type(name, "string", 1, "user", 2)
  local conn = st.link.conn
  if not conn or conn:state() == "closed" then
    return nil, core.error { layer = "closed", condition = "closed", retry = false, text = "the connection is closed" }
  end
  local jid, bad = escape.jid(name, st.domain)
  if not jid then return nil, bad end
  if st.users[jid.localpart] then return st.users[jid.localpart] end
  if st.n_users >= (st.opts.max_users or MOST_USERS) then
    return nil, core.error { layer = "limit", condition = "resource-constraint", retry = false,
      text = "there are too many virtual users (option max_users)" }
  end
  return new(st, conn, name, jid)
end

--- The user at an address of ours, which is created if the option `known` says that there is one; nil: there is none.
---@param to xmpp.Jid
---@param person? string
function M.at(st, to, person)
  local user = st.users[to.localpart]
  if user or not st.opts.known or not person then return user end
  local name = escape.unescape(to.localpart)
  if st.opts.known(name, person) ~= true then return nil end
  return (M.user(st, name))
end

return M
