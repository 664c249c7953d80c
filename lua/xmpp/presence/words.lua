-- words: what a presence says (RFC 6121 4.7, XEP-0319), as a table and as a stanza. Keeps nothing.
--
--   { show =?, status =?, priority =?, idle_since =? }      to be said
--   { jid =, type =?, show =?, status =?, priority =?, since =, idle_since =?, caps =?, error =? }   heard
--
-- What is heard is the peer's, and bounded: a priority from -128 to 127, a status of 4,096 bytes, no time to come.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = {}

local IDLE, DELAY, CAPS = "urn:xmpp:idle:1", "urn:xmpp:delay", "http://jabber.org/protocol/caps"
local LONGEST_STATUS, LONGEST_CAPS = 4096, 512
local SHOWS = { away = true, chat = true, dnd = true, xa = true }
local TYPES = { subscribe = true, subscribed = true, unavailable = true, unsubscribe = true, unsubscribed = true }

-- Heard

-- No more than so many bytes, and no part of a character.
local function cut(text, most)
  if not text or #text <= most then return text end
  while most > 0 and text:byte(most + 1) >= 0x80 and text:byte(most + 1) < 0xC0 do most = most - 1 end
  return text:sub(1, most)
end

-- RFC 6121 4.7.2.3: what is no such number says nothing; the default is 0.
local function read_priority(text)
  local n = text and #text < 10 and text:find "^%s*[+-]?%d+%s*$" and tonumber(text) or 0
  return math.max(-128, math.min(127, n))
end

local function stamp_of(x, name, xmlns, key, now)
  local child = xexpr.child(x, name, xmlns)
  local seconds = child and time.parse(xexpr.attr(child, key))
  return seconds and math.min(seconds, now)
end

local function caps_of(x)
  local c = xexpr.child(x, "c", CAPS)
  local node, ver = c and xexpr.attr(c, "node"), c and xexpr.attr(c, "ver")
  if not ver or #ver + #(node or "") >= LONGEST_CAPS then return nil end
  return ("%s#%s"):format(node or "", ver)
end

--- What a presence of type nil, "unavailable" or "error" says.
---@param stanza xmpp.Stanza
---@param from string prepared
---@return xmpp.Presence
function M.read(stanza, from)
  local kind, now = stanza[2].type, time.now()
  local p = { jid = from, type = kind, since = stamp_of(stanza, "delay", DELAY, "stamp", now) or now,
    status = cut(xexpr.text(stanza, "status"), LONGEST_STATUS) }
  if kind == "error" then
    p.error, p.status = xexpr.error(stanza).condition, nil
  elseif not kind then
    local show = xexpr.text(stanza, "show")
    p.show, p.priority = SHOWS[show] and show or nil, read_priority(xexpr.text(stanza, "priority"))
    p.idle_since, p.caps = stamp_of(stanza, "idle", IDLE, "since", now), caps_of(stanza)
  end
  return p
end

-- Said

--- The stanza that says it.
---@param p table as `check` gives it
---@param to? string|xmpp.Jid
---@return xmpp.Stanza
function M.stanza(p, to)
  local x = { "presence", { to = to, type = p.type } }
  if p.show then x[#x + 1] = { "show", {}, p.show } end
  if p.status then x[#x + 1] = { "status", {}, p.status } end
  if p.priority and p.priority ~= 0 then x[#x + 1] = { "priority", {}, ("%d"):format(p.priority) } end
  if p.idle_since then x[#x + 1] = { "idle", { xmlns = IDLE, since = time.format(p.idle_since) } } end
  return x
end

local OPTIONS = { show = "string", status = "string", priority = "number", idle_since = "number" }
local DIRECTED = { show = "string", status = "string", priority = "number", idle_since = "number", type = "string" }

local function fail(option, fname, wanted, v, level)
  error(("bad option '%s' of '%s' (%s expected, got %s)"):format(option, fname, wanted, core.shown(tostring(v))),
    level + 1)
end

--- Raises at `level` for what no presence can say; gives a copy. directed: it may have a type.
function M.check(p, position, fname, level, directed)
  p = guard.check_opts(p, directed and DIRECTED or OPTIONS, position, fname, level + 1)
  if p.show and not SHOWS[p.show] then fail("show", fname, "away, chat, dnd or xa", p.show, level + 1) end
  if p.priority and not (p.priority % 1 == 0 and p.priority >= -128 and p.priority <= 127) then
    fail("priority", fname, "whole number from -128 to 127", p.priority, level + 1)
  end
  if p.idle_since and not pcall(time.format, p.idle_since) then
    fail("idle_since", fname, "seconds since 1970", p.idle_since, level + 1)
  end
  if p.type and not TYPES[p.type] then
    fail("type", fname, "subscribe, subscribed, unavailable, unsubscribe or unsubscribed", p.type, level + 1)
  end
  if p.type and (p.show or p.priority or p.idle_since) then
    error(("bad option 'type' of '%s' (such a presence has a status at most)"):format(fname), level + 1)
  end
  local ok, why = core.check_stanza(M.stanza(p))
  if not ok then error(("bad argument #%d to '%s' (%s)"):format(position, fname, why), level + 1) end
  return { show = p.show, status = p.status, priority = p.priority, idle_since = p.idle_since, type = p.type }
end

return M
