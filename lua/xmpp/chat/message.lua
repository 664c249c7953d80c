-- message: parses a message into a plain table. Used by chat for one-to-one messages and by muc for rooms; sends
-- nothing.
--
--   local m, says = message.read(stanza, { me = conn:jid(), by = "me@example.net" })
--   print(m.from, m.text)             -- the text for a person, in the preferred language
--   if says.replaces then ... end     -- it claims to correct that message: may its sender do that? See hear.lua
--
-- `m` has the message's own contents. `says` has what it claims about other messages and what it requests: nothing in
-- it counts before its sender has been compared (hear.lua). If a claim is valid it is copied to `m`.

local core = require "xmpp.load"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = {}

M.RECEIPTS, M.STATES, M.MARKERS = "urn:xmpp:receipts", "http://jabber.org/protocol/chatstates",
  "urn:xmpp:chat-markers:0"
M.CORRECT, M.RETRACT, M.REACTIONS, M.REPLY = "urn:xmpp:message-correct:0", "urn:xmpp:message-retract:1",
  "urn:xmpp:reactions:0", "urn:xmpp:reply:0"
M.SID, M.FALLBACK, M.HINTS, M.OOB, M.EME, M.SPOILER = "urn:xmpp:sid:0", "urn:xmpp:fallback:0", "urn:xmpp:hints",
  "jabber:x:oob", "urn:xmpp:eme:0", "urn:xmpp:spoiler:0"
M.CARBONS, M.MUC_USER = "urn:xmpp:carbons:2", "http://jabber.org/protocol/muc#user"

local MOST_RANGES = 32 -- fallback ranges of a text
local MOST_REACTIONS, LONGEST_REACTION = 32, 64
local LONGEST_ID = 256 -- of the id of a message; a longer one is ignored
M.LONGEST_THREAD = 256 -- of a thread that we repeat

local STATES = { active = true, composing = true, paused = true, inactive = true, gone = true }

local TYPES = { chat = true, groupchat = true, headline = true } -- any other is "normal" (RFC 6121 5.2.2)

-- Namespaces of encrypted payloads, and their names (compare XEP-0380).
local ENCRYPTIONS = {
  ["eu.siacs.conversations.axolotl"] = "omemo", ["urn:xmpp:omemo:1"] = "omemo", ["urn:xmpp:omemo:2"] = "omemo",
  ["urn:xmpp:openpgp:0"] = "openpgp", ["jabber:x:encrypted"] = "pgp", ["urn:xmpp:otr:0"] = "otr",
}

-- Texts

-- A position in a text, counted in code points (XEP-0426); nil: absent; false: invalid.
local function place(x, key)
  local text = xexpr.attr(x, key)
  if text == nil then return nil end
  return #text < 10 and text:find "^%d+$" and tonumber(text) or false
end

-- The ranges of <body/> or <subject/> that are fallback for one of the namespaces in `understood`; true: all of it.
local function ranges_of(stanza, name, understood)
  local out = {}
  for fallback in xexpr.children(stanza, "fallback", M.FALLBACK) do
    local its = understood[xexpr.attr(fallback, "for") or ""]
    if its and not xexpr.children(fallback)() then return true end
    for part in xexpr.children(its and fallback or nil, name, M.FALLBACK) do
      local first, last = place(part, "start"), place(part, "end")
      if first == nil and last == nil then return true end
      if first ~= false and last ~= false and #out < MOST_RANGES then out[#out + 1] = { first or 0, last } end
    end
  end
  return out
end

-- The byte positions at which these code points begin, and of the text's end; and the number of code points.
local function positions(text, wanted)
  local n, at = 0, {}
  for position in text:gmatch "()[^\128-\191]" do
    if wanted[n] then at[n] = position end
    n = n + 1
  end
  at[n] = #text + 1
  return at, n
end

-- The text without the ranges. A range outside the text is ignored.
local function cut(text, ranges)
  if ranges[1] == nil then return text end
  local wanted = {}
  for _, range in ipairs(ranges) do
    wanted[range[1]] = true
    if range[2] then wanted[range[2]] = true end
  end
  local at, n = positions(text, wanted)
  table.sort(ranges, function(a, b) return a[1] < b[1] end)
  local out, from = {}, 1
  for _, range in ipairs(ranges) do
    local first, last = range[1], range[2] or n
    if first <= last and last <= n then
      if at[first] > from then out[#out + 1] = text:sub(from, at[first] - 1) end
      from = math.max(from, at[last])
    end
  end
  out[#out + 1] = text:sub(from)
  return table.concat(out)
end

-- The text of that child for a person, and its language; nil: there is none, or all of it was fallback.
local function text_of(stanza, name, lang, understood)
  local x = xexpr.pick(stanza, name, nil, lang)
  if not x then return nil end
  local ranges = ranges_of(stanza, name, understood)
  if ranges == true then return nil end
  return cut(xexpr.text(x), ranges), xexpr.attr(x, "xml:lang") or xexpr.attr(stanza, "xml:lang")
end

-- Claims

-- The attribute of a child that refers to a message.
local function id_in(x, key)
  local id = xexpr.attr(x, key or "id")
  if id and id ~= "" and #id <= LONGEST_ID then return id end
end

local function id_of(stanza, name, xmlns) return id_in(xexpr.child(stanza, name, xmlns)) end

-- A person's reactions, each once.
local function read_reaction(stanza)
  local x = xexpr.child(stanza, "reactions", M.REACTIONS)
  local id = id_in(x)
  if not id then return nil end
  local out, seen = { id = id, list = {} }, {}
  for reaction in xexpr.children(x, "reaction", M.REACTIONS) do
    local text = xexpr.text(reaction)
    local fits = text ~= "" and #text <= LONGEST_REACTION and not seen[text] and #out.list < MOST_REACTIONS
    if fits then out.list[#out.list + 1], seen[text] = text, true end
  end
  return out
end

local function read_state(stanza)
  for x in xexpr.children(stanza) do
    if xexpr.attr(x, "xmlns") == M.STATES and STATES[x[1]] then return x[1] end
  end
end

local function read_says(stanza)
  return { request = xexpr.child(stanza, "request", M.RECEIPTS) ~= nil or nil,
    receipt = id_of(stanza, "received", M.RECEIPTS),
    markable = xexpr.child(stanza, "markable", M.MARKERS) ~= nil or nil,
    displayed = id_of(stanza, "displayed", M.MARKERS),
    state = read_state(stanza),
    replaces = id_of(stanza, "replace", M.CORRECT),
    retracts = id_of(stanza, "retract", M.RETRACT),
    reaction = read_reaction(stanza) }
end

-- The message's own contents

-- The id that `by` assigned (XEP-0359), an entity that removes forged ones; nil unless there is exactly one.
local function read_stanza_id(stanza, by)
  local found
  for x in xexpr.children(by and stanza or nil, "stanza-id", M.SID) do
    local its = xexpr.attr(x, "by")
    its = its and core.jid(its)
    if its and tostring(its) == by then
      if found then return nil end
      found = id_in(x)
    end
  end
  return found
end

local function read_reply(stanza)
  local x = xexpr.child(stanza, "reply", M.REPLY)
  local id = id_in(x)
  if not id then return nil end
  local to = xexpr.attr(x, "to")
  to = to and core.jid(to)
  return { id = id, jid = to and tostring(to) or nil }
end

local function read_encryption(stanza)
  local x = xexpr.child(stanza, "encryption", M.EME)
  if x then
    local its = ENCRYPTIONS[xexpr.attr(x, "namespace") or ""] or xexpr.attr(x, "name") or xexpr.attr(x, "namespace")
    return core.shown(its or "unknown")
  end
  for child in xexpr.children(stanza) do
    local its = ENCRYPTIONS[xexpr.attr(child, "xmlns") or ""]
    if its then return its end
  end
end

local function read_spoiler(stanza, lang)
  local x = xexpr.pick(stanza, "spoiler", M.SPOILER, lang)
  return x and xexpr.text(x)
end

-- The URL that the text consists of (XEP-0066). A URL that differs from the text is ignored, or programs would fetch
-- what no person was shown.
local function read_url(stanza, text)
  for x in xexpr.children(text and text ~= "" and stanza or nil, "x", M.OOB) do
    if xexpr.text(x, "url", M.OOB) == text then return text end
  end
end

-- The extensions that are understood, whose fallback text is not needed (XEP-0428).
local function understood(m, says)
  return { [M.REPLY] = m.reply_to ~= nil, [M.REACTIONS] = says.reaction ~= nil, [M.RETRACT] = says.retracts ~= nil }
end

local function read_texts(m, stanza, lang, known)
  m.text, m.lang = text_of(stanza, "body", lang, known)
  m.action = m.text and m.text:match "^/me (.*)$" -- XEP-0245 3
  m.subject = text_of(stanza, "subject", lang, known)
  m.url = read_url(stanza, m.text)
end

local function prepared(address, absent)
  local jid = core.jid(address or absent)
  return jid and tostring(jid), jid
end

-- The sender and the recipient. An occupant of a room who sends a private message is known only by the full address
-- (XEP-0045 7.5): recognised by ctx.room, or, for a room that another client of ours has joined, by the element that
-- the room has added.
local function read_addresses(m, stanza, ctx)
  local me = core.jid(ctx.me)
  local from, from_jid = prepared(xexpr.attr(stanza, "from"), me:bare())
  local to, to_jid = prepared(xexpr.attr(stanza, "to"), me)
  if not from or not to then return false end
  local other = m.direction == "out" and to_jid or from_jid
  local bare = tostring(other:bare())
  local x = m.type ~= "groupchat" and other.resourcepart and xexpr.child(stanza, "x", M.MUC_USER)
  local of_room = ctx.room == bare and m.type ~= "groupchat" and other.resourcepart or
    x and not xexpr.child(x, "invite", M.MUC_USER) and not xexpr.child(x, "decline", M.MUC_USER)
  m.from, m.to, m.peer, m.private = from, to, of_room and tostring(other) or bare, of_room and bare or nil
  return true
end

-- Was it delayed (XEP-0203, or XEP-0091), and when was it sent, according to whoever added the stamp?
local function read_delay(stanza)
  local x = xexpr.child(stanza, "delay", "urn:xmpp:delay") or xexpr.child(stanza, "x", "jabber:x:delay")
  if not x then return nil end
  return true, time.parse(xexpr.attr(x, "stamp"))
end

--- Parses a message. Messages of type error are not for this function.
---@param stanza xmpp.Stanza a message, as received
---@param ctx xmpp.MessageContext how to read it
---@return xmpp.Message? m nil if one of its addresses is not valid
---@return xmpp.MessageClaims? says what it claims about other messages, and what it requests
function M.read(stanza, ctx)
  local kind = xexpr.attr(stanza, "type")
  local m = { id = id_in(stanza), type = TYPES[kind] and kind or "normal", direction = ctx.direction or "in",
    carbon = ctx.carbon or nil }
  if not read_addresses(m, stanza, ctx) then return nil end
  local says = read_says(stanza)
  m.origin_id = id_of(stanza, "origin-id", M.SID)
  m.stanza_id = read_stanza_id(stanza, ctx.by)
  m.by = m.stanza_id and ctx.by
  m.delayed, m.stamp = read_delay(stanza)
  m.reply_to, m.encrypted = read_reply(stanza), read_encryption(stanza)
  m.thread, m.spoiler = xexpr.text(stanza, "thread"), read_spoiler(stanza, ctx.lang)
  m.markable = says.markable
  read_texts(m, stanza, ctx.lang, understood(m, says))
  return m, says
end

--- Turns a message with an invalid claim into an ordinary one: its text is the full text, as it is shown by clients
--- that do not understand the claim, and m.suspicious names what it claimed to be.
---@param m xmpp.Message is changed
---@param stanza xmpp.Stanza
---@param what "correction"|"retraction"|"reaction"
---@param lang? string
function M.make_plain(m, stanza, what, lang)
  m.suspicious = what
  read_texts(m, stanza, lang, { [M.REPLY] = m.reply_to ~= nil })
end

--- Tells whether there is something in the message for a person to read.
---@param m xmpp.Message
---@return boolean
function M.has_content(m)
  return m.text ~= nil or m.subject ~= nil or m.encrypted ~= nil
end

return M
