-- scripts: what Redis does as one step, in its own Lua. A script is done as a whole or not at all: whatever may be
-- refused (memory, a full stream) is refused before anything is written.
--
-- All but `append` also run when Redis's memory is full, since they are what makes room.
--
-- A lease is a field of a hash: the stream's number -> "owner end", with the end in milliseconds of Redis's clock. Only
-- the owner may fetch, finish and bury entries. A process that was held up for longer than its lease finds out so.

local core = require "xmpp.load"

local OWNER = [=[
local function is_owner(leases, stream, me)
  local lease = redis.call("HGET", leases, stream)
  return lease and lease:match("^%S+") == me
end
]=]

-- What is returned of an entry: its id; its fields, or their size if that is too large; and whether it has been sent
-- already (1 or 0), for which there is a key with that prefix.
local LOOK = [=[
local function size_of(entry)
  local n = 0
  for _, field in ipairs(entry[2]) do n = n + #field end
  return n
end
local function is_sent(entry, prefix)
  local fields = entry[2]
  for i = 1, prefix and #fields or 0, 2 do
    if fields[i] == "id" then return redis.call("EXISTS", prefix .. fields[i + 1]) end
  end
  return 0
end
local function look(entry, most, prefix)
  local n = size_of(entry)
  return { entry[1], n > most and n or entry[2], is_sent(entry, prefix) }
end
]=]

local source = {}

-- Appends an intake's stanzas to their streams. They are numbered, so a batch whose reply was lost may be sent again.
-- KEYS: where the number of this intake's last stanza is kept, then the stream of each stanza.
-- ARGV: the number of the first stanza; how many entries a stream may have; for how many seconds a stanza is
-- remembered; the channel; then of each stanza the key by which it is remembered (or ""), its ordering key, and its
-- text.
-- Returns how many are done with; how many of these were dropped because they had come before; 1 if a stream is full.
source.append = [=[
local first, most, long = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local last = tonumber(redis.call("GET", KEYS[1]) or "0")
local taken, repeated, full, rings = 0, 0, 0, {}
for i = 2, #KEYS do
  local number, at = first + i - 2, 5 + 3 * (i - 2)
  if number > last then
    if redis.call("XLEN", KEYS[i]) >= most then full = 1 break end
    local mark = ARGV[at]
    if mark ~= "" and not redis.call("SET", mark, "1", "NX", "EX", long) then
      repeated = repeated + 1
    else
      redis.call("XADD", KEYS[i], "*", "v", "1", "key", ARGV[at + 1], "stanza", ARGV[at + 2])
      rings[KEYS[i]:match "%d+$"] = true
    end
    last = number
  end
  taken = taken + 1
end
redis.call("SET", KEYS[1], last, "EX", 86400)
local list = {}
for ring in pairs(rings) do list[#list + 1] = ring end
if list[1] then redis.call("PUBLISH", ARGV[4], table.concat(list, " ")) end
return { taken, repeated, full }
]=]

-- Divides the streams among the members: none has two more than another.
-- KEYS: the members, the leases, the streams. ARGV: who asks; for how many milliseconds; "1" if it takes part; the
-- group; the streams that it holds; the channel.
-- Returns the streams that it keeps, those that it gets, how many it is to give back, and how many members there are.
source.share = [=[
local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, long, group = ARGV[1], tonumber(ARGV[2]), ARGV[4]
local n, held, changed = #KEYS - 2, {}, 0
for i in ARGV[5]:gmatch "%d+" do held[tonumber(i)] = true end
changed = redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now)
if ARGV[3] == "1" then
  changed = changed + redis.call("ZADD", KEYS[1], now + long, me)
else
  changed = changed + redis.call("ZREM", KEYS[1], me)
end
local members, place, target = redis.call("ZRANGE", KEYS[1], 0, -1), nil, 0
table.sort(members)
for i, name in ipairs(members) do
  if name == me then place = i end
end
if place then target = math.floor(n / #members) + (place <= n % #members and 1 or 0) end
local kept, free, got = {}, {}, {}
for i = 0, n - 1 do
  local owner, ends = (redis.call("HGET", KEYS[2], i) or ""):match "^(%S+) (%d+)$"
  if owner == me and held[i] then kept[#kept + 1] = i
  elseif not owner or owner == me or tonumber(ends) <= now then free[#free + 1] = i end
end
for _, i in ipairs(free) do
  if #kept + #got >= target then break end
  redis.pcall("XGROUP", "CREATE", KEYS[3 + i], group, "0", "MKSTREAM")
  got[#got + 1] = i
end
local lease = ("%s %.0f"):format(me, now + long)
for _, list in ipairs { kept, got } do
  for _, i in ipairs(list) do redis.call("HSET", KEYS[2], i, lease) end
end
if changed > 0 then redis.call("PUBLISH", ARGV[6], "share") end
return { kept, got, math.max(0, #kept - target), #members }
]=]

-- Gives streams back.
-- KEYS: the members, the leases. ARGV: who; the channel; "1" if it takes part no longer; then the streams.
source.release = [=[
for i = 4, #ARGV do
  local lease = redis.call("HGET", KEYS[2], ARGV[i])
  if lease and lease:match "^%S+" == ARGV[1] then redis.call("HDEL", KEYS[2], ARGV[i]) end
end
if ARGV[3] == "1" then redis.call("ZREM", KEYS[1], ARGV[1]) end
redis.call("PUBLISH", ARGV[2], "share")
return 1
]=]

-- Fetches new entries.
-- KEYS: the leases, the stream. ARGV: the stream's number; who asks; the group; how many bytes one entry may have; how
-- many entries; at how many bytes together it stops; the prefix of the keys of what was sent (optional).
source.fetch = OWNER .. LOOK .. [=[
if not is_owner(KEYS[1], ARGV[1], ARGV[2]) then return { "lost" } end
local out, size = {}, 0
while #out < tonumber(ARGV[5]) and size < tonumber(ARGV[6]) do
  local got = redis.call("XREADGROUP", "GROUP", ARGV[3], ARGV[2], "COUNT", 1, "STREAMS", KEYS[2], ">")
  if not got then break end
  local entry = got[1][2][1]
  size = size + size_of(entry)
  out[#out + 1] = look(entry, tonumber(ARGV[4]), ARGV[7])
end
return { "new", out }
]=]

-- Claims an entry that somebody has fetched and not finished: the one that is named, or the first. This counts as
-- another delivery.
-- KEYS: as fetch. ARGV: the stream's number; who asks; the group; how many bytes; the entry's id or ""; the prefix.
-- Returns the entry, how often it has been delivered, and the ids of entries that somebody has deleted meanwhile.
source.claim = OWNER .. LOOK .. [=[
if not is_owner(KEYS[1], ARGV[1], ARGV[2]) then return { "lost" } end
local entry, gone, cursor = nil, {}, "0-0"
if ARGV[5] ~= "" then
  entry = redis.call("XCLAIM", KEYS[2], ARGV[3], ARGV[2], 0, ARGV[5])[1]
else
  repeat
    local got = redis.call("XAUTOCLAIM", KEYS[2], ARGV[3], ARGV[2], 0, cursor, "COUNT", 1)
    cursor, entry = got[1], got[2][1]
    for _, id in ipairs(got[3] or {}) do gone[#gone + 1] = id end
  until entry or cursor == "0-0"
end
if not entry then return { "none", false, 0, gone } end
local count = redis.call("XPENDING", KEYS[2], ARGV[3], entry[1], entry[1], 1)[1][4]
return { "again", look(entry, tonumber(ARGV[4]), ARGV[6]), count, gone }
]=]

-- Entries that were fetched and not begun get the delivery counts that they had before.
-- KEYS: as fetch. ARGV: the stream's number; who asks; the group; then of each entry its id and that count.
source.untake = OWNER .. [=[
if not is_owner(KEYS[1], ARGV[1], ARGV[2]) then return { "lost" } end
for i = 4, #ARGV, 2 do
  redis.call("XCLAIM", KEYS[2], ARGV[3], ARGV[2], 0, ARGV[i], "RETRYCOUNT", ARGV[i + 1], "JUSTID")
end
return { "done" }
]=]

-- Deletes the consumers of processes that have gone and left nothing unfinished.
-- KEYS: as fetch. ARGV: the stream's number; who asks; the group.
source.tidy = OWNER .. [=[
if not is_owner(KEYS[1], ARGV[1], ARGV[2]) then return { "lost" } end
for _, flat in ipairs(redis.call("XINFO", "CONSUMERS", KEYS[2], ARGV[3])) do
  local is = {}
  for i = 1, #flat, 2 do is[flat[i]] = flat[i + 1] end
  if is.pending == 0 and is.name ~= ARGV[2] then redis.call("XGROUP", "DELCONSUMER", KEYS[2], ARGV[3], is.name) end
end
return { "done" }
]=]

-- Finishes entries, and appends their answers to the outgoing stream.
-- KEYS: the leases, the stream, the outgoing stream. ARGV: the stream's number; who; the group; how many entries the
-- outgoing stream may have; the channel; then of each entry its id and its number of answers, and of each answer its id
-- and its stanza.
-- Returns how many of the entries had not been finished before.
source.finish = OWNER .. [=[
if not is_owner(KEYS[1], ARGV[1], ARGV[2]) then return { "lost" } end
local done, said, at = 0, 0, 6
if redis.call("XLEN", KEYS[3]) >= tonumber(ARGV[4]) then
  local i = at
  while i <= #ARGV do
    if ARGV[i + 1] ~= "0" then return { "full" } end
    i = i + 2
  end
end
while at <= #ARGV do
  local id, n = ARGV[at], tonumber(ARGV[at + 1])
  local pending = redis.call("XPENDING", KEYS[2], ARGV[3], id, id, 1)[1]
  at = at + 2
  if pending and pending[2] == ARGV[2] then
    for i = at, at + 2 * n - 2, 2 do
      redis.call("XADD", KEYS[3], "*", "v", "1", "id", ARGV[i], "stanza", ARGV[i + 1])
    end
    redis.call("XACK", KEYS[2], ARGV[3], id)
    redis.call("XDEL", KEYS[2], id)
    done, said = done + 1, said + n
  end
  at = at + 2 * n
end
if said > 0 then redis.call("PUBLISH", ARGV[5], ARGV[1]) end
return { "done", done }
]=]

-- Finishes outgoing entries that were sent, whoever has the stream by now.
-- KEYS: the stream. ARGV: the group; for how many seconds it is remembered what was sent; then of each entry its id and
-- the key by which it is remembered (or "").
source.sent = [=[
local ids = {}
for i = 3, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
  if ARGV[i + 1] ~= "" then redis.call("SET", ARGV[i + 1], "1", "EX", ARGV[2]) end
end
redis.call("XACK", KEYS[1], ARGV[1], unpack(ids))
return { "done", redis.call("XDEL", KEYS[1], unpack(ids)) }
]=]

-- Moves an entry that can't be done to the stream of the dead, with the reason.
-- KEYS: the leases, the stream, the dead, the outgoing stream. ARGV: the stream's number; who; the group; the entry's
-- id; the reason; how often it was delivered; how many dead are kept; the channel; then the id and the stanza of an
-- answer, if there is to be one.
source.bury = OWNER .. [=[
if not is_owner(KEYS[1], ARGV[1], ARGV[2]) then return { "lost" } end
local pending = redis.call("XPENDING", KEYS[2], ARGV[3], ARGV[4], ARGV[4], 1)[1]
if not pending or pending[2] ~= ARGV[2] then return { "done", 0 } end
local entry = redis.call("XRANGE", KEYS[2], ARGV[4], ARGV[4])[1]
local words = { "stream", KEYS[2], "entry", ARGV[4], "why", ARGV[5], "deliveries", ARGV[6] }
if entry and #entry[2] <= 1000 then
  for i = 1, #entry[2] do words[#words + 1] = entry[2][i] end
end
redis.call("XADD", KEYS[3], "MAXLEN", "~", ARGV[7], "*", unpack(words))
redis.call("XACK", KEYS[2], ARGV[3], ARGV[4])
redis.call("XDEL", KEYS[2], ARGV[4])
if ARGV[9] then
  redis.call("XADD", KEYS[4], "*", "v", "1", "id", ARGV[9], "stanza", ARGV[10])
  redis.call("PUBLISH", ARGV[8], ARGV[1])
end
return { "done", 1 }
]=]

local M = {}

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

for name, text in pairs(source) do
  local whole = (name == "append" and "#!lua\n" or "#!lua flags=allow-oom\n") .. text
  M[name] = { text = whole, sha = hex(core.hash("sha-1", whole)) }
end

return M
