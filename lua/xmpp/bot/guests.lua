-- guests: the people who give commands to a bot: their rate, and whether they are bots themselves. For xmpp.bot.

local bounded = require "xmpp.chat.bounded"
local caps = require "xmpp.caps"
local core = require "xmpp.load"

local M = {}

local MOST, WINDOW = 1000, 60 -- number of people that are counted; seconds
local PATIENCE = 5 -- seconds to wait for somebody's capabilities

--- rate: commands a minute.
function M.new(rate) return { rate = rate, counts = bounded.new(MOST) } end

-- Who is counted: an address; in a room that doesn't show it the occupant-id, which the room assigns; else all in the
-- room whose address is unknown together, since a nick is changed quickly.
local function key_of(ctx)
  if ctx.who then return ctx.who end
  local id = ctx.message and ctx.message.occupant_id
  return ctx.room.jid .. "/" .. (id or "")
end

--- Counts a command. true: it is allowed; nil: it is the first one beyond the rate; false: a further one.
function M.count(guests, ctx)
  local key, now = key_of(ctx), core.now()
  local had = bounded.get(guests.counts, key)
  if not had or now - had.since >= WINDOW then had = { n = 0, since = now } end
  had.n = had.n + 1
  bounded.set(guests.counts, key, had)
  if had.n <= guests.rate then return true end
  if had.n == guests.rate + 1 then return nil end
  return false
end

--- Is that a bot, according to the capabilities in its presence (XEP-0115)? Each hash is looked up once.
function M.is_bot(conn, from)
  local info = caps.of(conn, from, { timeout = PATIENCE })
  for _, identity in ipairs(info and info.identities or {}) do
    if identity.category == "client" and identity.type == "bot" then return true end
  end
  return false
end

return M
