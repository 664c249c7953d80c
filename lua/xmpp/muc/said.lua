-- said: who has written which message in a room, so that nothing is reported twice, and nobody can correct or retract
-- the messages of others. Stored are only keys of a room's last messages, no texts.
--
-- How an author is identified: if the room announces occupant-ids (XEP-0421), by the one that it has added; else by
-- the nick, as long as its owner keeps it, and then only for the last message: anybody can take a nick.
--
-- own.said = { at, ring, by, last }: entries in a ring, by author and id, and each author's last one. An entry: {
-- author, first = the id of the original message, keys }. own.known = { at, ring, by }: reported messages, key ->
-- time. own.archived: the same for messages from the archive: thousands of these don't displace the few that are
-- received live in the meantime.

local core = require "xmpp.load"
local rooms = require "xmpp.muc.room"
local xexpr = require "xmpp.xexpr"

local M = {}

local OCCUPANT_ID = "urn:xmpp:occupant-id:0"
local MOST_SAID = 200 -- messages whose authors are remembered
local MOST_KNOWN = 1000 -- reported messages that are remembered
local LONGEST_ID = 1024
local SAME_ID, SAME_TEXT = 300, 60 -- seconds between our clock and the room's stamp of the same message

M.PRIVATE = "\0p" -- appended to an author: private messages to us

-- Adds an entry to a ring of limited size, in which it replaces the oldest one.
local function put(ring, most, entry, drop)
  ring.at = ring.at % most + 1
  local old = ring.ring[ring.at]
  if old then drop(old) end
  ring.ring[ring.at] = entry
end

local function ring_of(room, name)
  local own = rooms.own(room)
  own[name] = own[name] or { at = 0, ring = {}, by = {}, last = {} }
  return own[name]
end

-- Authors

-- The occupant-id that the room has added. If there are two, one may be forged: then neither is trusted.
local function occupant_id(stanza)
  local found
  for x in xexpr.children(stanza, "occupant-id", OCCUPANT_ID) do
    if found then return nil end
    found = xexpr.attr(x, "id")
  end
  return found and #found <= LONGEST_ID and found or nil
end

--- The author of a message, as a key; nil: unknown. And the occupant-id, if there is one.
---@param history boolean it comes from the history, where a nick may have been somebody else's
---@return string? author
---@return string? occupant_id
function M.author(room, nick, stanza, history)
  local features = room.features
  if features and features[OCCUPANT_ID] then
    local id = occupant_id(stanza)
    return id and "o" .. id, id
  end
  return not history and "n" .. nick or nil
end

local function keys_of(author, m)
  local keys = {}
  if m.id then keys[1] = author .. "\0i" .. m.id end
  if m.stanza_id then keys[#keys + 1] = author .. "\0s" .. m.stanza_id end
  return keys
end

--- Remembers the author of a message. first: the id of the message that it corrects.
function M.remember(room, author, m, first)
  if not author or not m.id and not m.stanza_id then return end
  local said = ring_of(room, "said")
  local entry = { author = author, first = first or m.id or m.stanza_id, keys = keys_of(author, m) }
  put(said, MOST_SAID, entry, function(old)
    for _, key in ipairs(old.keys) do
      if said.by[key] == old then said.by[key] = nil end
    end
    if said.last[old.author] == old then said.last[old.author] = nil end
  end)
  for _, key in ipairs(entry.keys) do said.by[key] = entry end
  said.last[author] = entry
end

--- The first id of a message of this author with that id, or that stanza-id; nil: none is known.
---@return string? first
function M.find(room, author, id)
  local said = author and ring_of(room, "said")
  local entry = said and (said.by[author .. "\0i" .. id] or said.by[author .. "\0s" .. id])
  if not entry then return nil end
  if author:sub(1, 1) == "o" then return entry.first end
  local last = said.last[author]
  return last and last.first == entry.first and entry.first or nil
end

--- Forgets the owner of a nick, which somebody else may take; nil: of all nicks.
function M.forget(room, nick)
  local last = ring_of(room, "said").last
  for author in pairs(nick == nil and last or {}) do
    if author:sub(1, 1) ~= "o" then last[author] = nil end
  end
  if nick then last["n" .. nick], last["n" .. nick .. M.PRIVATE] = nil, nil end
end

-- Reported messages

local function text_key(nick, m) return ("h%s\0%s\0%s"):format(nick, m.id or "", m.text or "") end

local function is_known(known, key, at, most)
  local when = key and known.by[key]
  return when ~= nil and (most == nil or math.abs(when - at) <= most)
end

local function note(known, key, at)
  if not key then return end
  put(known, MOST_KNOWN * 2, key, function(old)
    known.by[old] = nil
  end)
  known.by[key] = at
end

--- Was this message reported before? Remembers it. at: seconds since 1970 when it was sent, as far as known. The id
--- assigned by the room is decisive; an origin-id shows that the author's client has sent it twice (XEP-0359);
--- otherwise, in a history, nick, id and text decide, if the times are close.
---@param is_archived? boolean it comes from the archive
---@return boolean
function M.is_told(room, nick, m, history, at, is_archived)
  local known, archived = ring_of(room, "known"), ring_of(room, "archived")
  local by_room = m.stanza_id and "s" .. m.stanza_id
  local by_origin = m.origin_id and ("o%s\0%s"):format(nick, m.origin_id)
  local by_text = "h" .. core.base64(core.hash("sha-1", text_key(nick, m)))
  for _, ring in ipairs { known, archived } do
    local told = is_known(ring, by_room, at) or is_known(ring, by_origin, at) or
      history and is_known(ring, by_text, at, m.id and SAME_ID or SAME_TEXT)
    if told then return true end
  end
  local ring = is_archived and archived or known
  note(ring, by_room, at)
  note(ring, by_origin, at)
  note(ring, by_text, at)
  return false
end

return M
