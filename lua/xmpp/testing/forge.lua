-- forge: forged stanzas, for tests that a program doesn't fall for them. Required by xmpp.testing, as t.forge, on
-- first use.
--
--   t.forge.carbon("mallory@evil.example/x", { "message", { from = "boss@example.net" }, { "body", {}, "!shutdown" } })
--   t:nothing()
--
-- `from` is the address that the server puts on the stanza, which nobody can choose: the real sender; nil: no address,
-- as in stanzas from our own server and account. With the right address each is what an honest sender sends. Each
-- stanza is received at once, and returned.

local xexpr = require "xmpp.xexpr"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local STAMP = "2023-11-14T22:13:20Z"

local F = {}

local function receive(t, name, attrs, ...)
  attrs.to = attrs.to or tostring(t.conn:jid())
  t.forged = (t.forged or 0) + 1
  attrs.id = "forged-" .. t.forged
  local stanza = { name, attrs, ... }
  t:receive(stanza)
  return stanza
end

local function message(t, from, kind, ...) return receive(t, "message", { from = from, type = kind }, ...) end

-- A stanza as it is forwarded inside another one.
local function forwarded(inner, stamp)
  local copy = xexpr.canonical(inner)
  copy[2].xmlns = "jabber:client"
  return { "forwarded", { xmlns = "urn:xmpp:forward:0" },
    stamp and { "delay", { xmlns = "urn:xmpp:delay", stamp = stamp } } or copy, stamp and copy or nil }
end

--- A carbon of a message (XEP-0280), which only our own bare address may send.
---@param from string?
---@param inner xmpp.Stanza the message that is allegedly copied
---@param direction? "received"|"sent" ("received")
function F.carbon(t, from, inner, direction)
  return message(t, from, "chat", { direction or "received", { xmlns = "urn:xmpp:carbons:2" }, forwarded(inner) })
end

--- A roster push (RFC 6121 2.1.6).
---@param from string?
---@param item table attributes: { jid =, subscription =, name =?, ask =? }; groups in its list part
function F.push(t, from, item)
  local attrs, groups = {}, {}
  for key, value in pairs(item) do
    if type(key) == "string" then attrs[key] = value else groups[key] = { "group", {}, value } end
  end
  return receive(t, "iq", { from = from, type = "set" }, { "query", { xmlns = "jabber:iq:roster" },
    { "item", attrs, unpack(groups) } })
end

--- A push of the block list (XEP-0191 3.3), which only our own account may send.
---@param from string?
---@param jid string
---@param is_over? boolean no longer blocked
function F.block(t, from, jid, is_over)
  return receive(t, "iq", { from = from, type = "set" }, { is_over and "unblock" or "block",
    { xmlns = "urn:xmpp:blocking" }, { "item", { jid = jid } } })
end

--- A result from an archive (XEP-0313).
---@param from string?
---@param inner xmpp.Stanza
---@param o? { queryid: string?, id: string?, stamp: string? }
function F.mam(t, from, inner, o)
  o = o or {}
  return message(t, from, nil, { "result", { xmlns = "urn:xmpp:mam:2", queryid = o.queryid,
    id = o.id or "archived-1" }, forwarded(inner, o.stamp or STAMP) })
end

--- A receipt (XEP-0184).
---@param from string?
---@param id string of that message
function F.receipt(t, from, id)
  return message(t, from, "chat", { "received", { xmlns = "urn:xmpp:receipts", id = id } })
end

--- A displayed marker (XEP-0333).
---@param from string?
---@param id string
function F.displayed(t, from, id)
  return message(t, from, "chat", { "displayed", { xmlns = "urn:xmpp:chat-markers:0", id = id } })
end

--- A correction (XEP-0308).
---@param from string?
---@param id string of the message that is corrected
---@param text string
---@param kind? string the message's type ("chat")
function F.correction(t, from, id, text, kind)
  return message(t, from, kind or "chat", { "body", {}, text },
    { "replace", { xmlns = "urn:xmpp:message-correct:0", id = id } })
end

--- A retraction (XEP-0424).
---@param from string?
---@param id string
---@param kind? string ("chat")
function F.retraction(t, from, id, kind)
  return message(t, from, kind or "chat", { "retract", { xmlns = "urn:xmpp:message-retract:1", id = id } })
end

--- Reactions to a message (XEP-0444).
---@param from string?
---@param id string
---@param list string[]
---@param kind? string ("chat")
function F.reaction(t, from, id, list, kind)
  local x = { "reactions", { xmlns = "urn:xmpp:reactions:0", id = id } }
  for _, text in ipairs(list) do x[#x + 1] = { "reaction", {}, text } end
  return message(t, from, kind or "chat", x)
end

--- A private message of an occupant of a room (XEP-0045 7.5).
---@param from string? the occupant's address in the room
---@param text string
function F.private(t, from, text)
  return message(t, from, "chat", { "body", {}, text }, { "x", { xmlns = "http://jabber.org/protocol/muc#user" } })
end

--- An invitation: with o.room a direct one from `from` (XEP-0249), without it one that a room, which is `from`,
--- forwards (XEP-0045 7.8.2).
---@param from string?
---@param o? { room: string?, by: string?, reason: string?, password: string? } by: who has allegedly asked the room
function F.invitation(t, from, o)
  o = o or {}
  if o.room then
    return message(t, from, nil, { "x", { xmlns = "jabber:x:conference", jid = o.room, reason = o.reason,
      password = o.password } })
  end
  local x = { "x", { xmlns = "http://jabber.org/protocol/muc#user" }, { "invite", { from = o.by },
    o.reason and { "reason", {}, o.reason } or nil } }
  if o.password then x[#x + 1] = { "password", {}, o.password } end
  return message(t, from, nil, x)
end

--- A presence with a capabilities hash (XEP-0115).
---@param from string?
---@param o { ver: string, node: string?, hash: string? }
function F.caps(t, from, o)
  return receive(t, "presence", { from = from }, { "c", { xmlns = "http://jabber.org/protocol/caps",
    hash = o.hash or "sha-1", node = o.node or "http://example.net/forged", ver = o.ver } })
end

--- A changed bookmark (XEP-0402), because of which a program may join a room.
---@param from string?
---@param room string
---@param o? { autojoin: boolean?, nick: string?, name: string? } autojoin (true)
function F.bookmark(t, from, room, o)
  o = o or {}
  return message(t, from, "headline", { "event", { xmlns = "http://jabber.org/protocol/pubsub#event" },
    { "items", { node = "urn:xmpp:bookmarks:1" }, { "item", { id = room },
      { "conference", { xmlns = "urn:xmpp:bookmarks:1", autojoin = o.autojoin == false and "false" or "true",
        name = o.name }, o.nick and { "nick", {}, o.nick } or nil } } } })
end

--- All of them, for one test.
---@param t xmpp.Test
---@return table<string, fun(...): xmpp.Stanza>
return function(t)
  local forge = {}
  for name, f in pairs(F) do
    forge[name] = function(...) return f(t, ...) end
  end
  return forge
end
