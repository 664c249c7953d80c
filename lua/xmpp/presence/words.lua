-- words: presences (RFC 6121 4.7, XEP-0319) as tables and as stanzas. Stores nothing.
--
--   { show =?, status =?, priority =?, idle_since =? }      to be sent
--   { type =?, show =?, status =?, priority =?, since =, idle_since =?, caps =?, error =? }   received
--
-- Received values come from the peer, and are bounded: a priority from -128 to 127, a status of 4,096 bytes, no time
-- in the future.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = {}

local IDLE, DELAY, CAPS = "urn:xmpp:idle:1", "urn:xmpp:delay", "http://jabber.org/protocol/caps"
local LONGEST_STATUS, LONGEST_CAPS = 4096, 128
local SHOWS = { away = true, chat = true, dnd = true, xa = true }
local TYPES = { subscribe = true, subscribed = true, unavailable = true, unsubscribe = true, unsubscribed = true }

-- Received presences

-- At most so many bytes, cut between characters.
local function cut(text, most)
  if not text or #text <= most then return text end
  while most > 0 and text:byte(most + 1) >= 0x80 and text:byte(most + 1) < 0xC0 do most = most - 1 end
  return text:sub(1, most)
end

-- RFC 6121 4.7.2.3: an invalid priority is ignored; the default is 0.
local function read_priority(text)
  local n = #text < 10 and text:find "^%s*[+-]?%d+%s*$" and tonumber(text) or 0
  return math.max(-128, math.min(127, n))
end

local function stamp_of(text, now)
  local seconds = time.parse(text)
  return seconds and math.min(seconds, now)
end

local function caps_of(c)
  local ver = c[2].ver
  return ver and #ver <= LONGEST_CAPS and ver or nil
end

-- The first child of each relevant name and namespace, found in one pass: rosters are long, and presences have other
-- children than these.
local MEANT = { show = "show", priority = "priority", status = "status", ["idle " .. IDLE] = "idle",
  ["delay " .. DELAY] = "delay", ["c " .. CAPS] = "caps" }

local function children_of(stanza)
  local found = {}
  for i = 3, #stanza do
    local x = stanza[i]
    if type(x) == "table" then
      local xmlns = x[2].xmlns
      local meant = MEANT[xmlns and x[1] .. " " .. xmlns or x[1]]
      if meant and found[meant] then found.again = meant end
      if meant and not found[meant] then found[meant] = x end
    end
  end
  return found
end

-- An element's own text; most elements have nothing else.
local function text_of(x)
  local text = x[3]
  if x[4] == nil and type(text) == "string" then return text end
  return xexpr.text(x)
end

-- Of several the one in the right language (RFC 6121 4.7.2.2).
local function status_of(stanza, x)
  if not x.status then return nil end
  return cut(x.again and xexpr.text(stanza, "status") or text_of(x.status), LONGEST_STATUS)
end

local function show_of(x)
  local show = x.show and text_of(x.show)
  return SHOWS[show] and show or nil
end

--- Parses a presence of type nil, "unavailable" or "error".
---@param stanza xmpp.Stanza as received
---@return xmpp.Presence
function M.read(stanza)
  local kind, now = stanza[2].type, time.now()
  if kind == "error" then return { type = kind, since = now, error = xexpr.error(stanza).condition } end
  local x = children_of(stanza)
  local since, status = x.delay and stamp_of(x.delay[2].stamp, now) or now, status_of(stanza, x)
  if kind then return { type = kind, since = since, status = status } end
  return { since = since, status = status, show = show_of(x),
    priority = x.priority and read_priority(text_of(x.priority)) or 0, caps = x.caps and caps_of(x.caps),
    idle_since = x.idle and stamp_of(x.idle[2].since, now) }
end

-- Presences to be sent

--- The stanza for a presence.
---@param p table as `check` returns it
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

--- Checks a program's presence, and returns a copy; raises an error at `level` if it is invalid. directed: it may have
--- a type.
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
