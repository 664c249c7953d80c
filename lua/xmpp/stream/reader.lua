-- reader: has the entries of one stream done, one after the other, for as long as the stream is ours: first those that
-- somebody has fetched and not finished, then new ones. How an entry is done is up to the worker or the intake, which
-- gives these functions:
--
--   do_one(entry, again)   does an entry, { id, stream, key, deliveries, stanza }. `again`: how often it was begun
--                          before, nil: never. What it returns is kept until the entry is finished. nil, why
--                          [, is_final]: it has failed, and will fail each time if is_final. false, err: it can't be
--                          begun now
--   finish(batch)          finishes a list of { entry, result of do_one }. Returns "done"; "full": no room for answers;
--                          "lost": the stream is no longer ours; "left": some must be done again; or nil, err
--   bury(entry, why)       puts an entry that can't be done into the stream of the dead; returns the same
--   told(err)              something holds the reader up

local core = require "xmpp.load"
local entries = require "xmpp.stream.entries"
local guard = require "xmpp.guard"
local xmpp = require "xmpp"

local unpack = table.unpack or unpack -- luacheck: ignore 143

local R = {}
R.__index = R

local M = {}

local BATCH_BYTES = 1024 * 1024 -- no further entry is fetched into a batch of this size
local MOST_BYTES = 32 * 1024 * 1024 -- of one entry; a larger one can't be done
local IDLE = 1 -- seconds after which an empty stream is looked at, although nobody has said that something has come
local MOST_FINISHED = 100 -- entries that are finished by one script
local WAIT_LEAST, WAIT_MOST = 0.05, 1 -- seconds until something that failed is tried again

---@param o { i: integer, seats: table, link: table, me: string, group: string, leases: string, stream: string,
--- sent: string?, batch: integer, most: integer, pause: number, do_one: function, finish: function, bury: function,
--- told: function }
function M.new(o)
  return setmetatable({ o = o, is_lost = false, gives_up = false, rung = false, bell = false, unfinished = {},
    first = 1, last = 0, finishing = false, idle = false, unsure = false }, R)
end

local function goes_on(self)
  return not self.is_lost and not self.gives_up and self.o.seats:holds(self.o.i, self)
end

local function is_mine(self) return not self.is_lost and self.o.seats:holds(self.o.i, self) end

local function wake(self)
  self.rung = true
  if self.bell then self.bell:resolve(true) end
end

--- An entry has been added.
function R:ring() wake(self) end

function R:give_up()
  self.gives_up = true
  wake(self)
end

function R:lose()
  self.is_lost = true
  wake(self)
end

local function listen(self, seconds)
  if not self.rung then
    self.bell = xmpp.promise()
    self.bell:wait(seconds)
    self.bell = false
  end
end

-- After an error of Redis: reports it, and waits until there is a connection. It isn't known whether the last command
-- was done, so unfinished entries are looked for again.
local function recover(self, err)
  self.unsure = true
  if err.condition == "closed" or err.condition == "NOGROUP" then return self:lose() end
  self.o.told(err)
  if not self.o.link:wait() then return self:lose() end
  xmpp.sleep(err.retry and WAIT_LEAST or WAIT_MOST)
end

-- Runs a script about this stream. nil: it wasn't done, or it isn't known whether it was.
local function run(self, name, ...)
  local o = self.o
  local answer, err = o.link:run(name, { o.leases, o.stream }, { o.i, o.me, o.group, ... })
  if not answer then return recover(self, err) end
  if answer[1] == "lost" then return self:lose() end
  return answer
end

-- Finishing entries, while the next ones are done.

local function take_batch(self)
  local batch, last = {}, math.min(self.last, self.first + MOST_FINISHED - 1)
  for at = self.first, last do batch[#batch + 1] = self.unfinished[at] end
  return batch
end

local function forget_batch(self, n)
  for at = self.first, self.first + n - 1 do self.unfinished[at] = nil end
  self.first = self.first + n
end

-- Reports what holds us up, pauses, and returns the next pause.
local function hold(self, pause, err)
  self.o.told(err)
  xmpp.sleep(pause)
  return math.min(pause * 2, WAIT_MOST)
end

-- Calls f until that succeeds, or the stream is no longer ours.
local function insist(self, f, ...)
  local pause = WAIT_LEAST
  while is_mine(self) do
    local state, err = f(...)
    if state == "left" then self.unsure = true end
    if state == "done" or state == "left" then return true end
    if state == "lost" then self:lose()
    elseif state == "full" then pause = hold(self, pause, entries.full(self.o.stream))
    else recover(self, err) end
  end
  return false
end

local function finish_all(self)
  while self.first <= self.last do
    local batch = take_batch(self)
    local n = #batch
    if not insist(self, self.o.finish, batch) then n = self.last - self.first + 1 end
    forget_batch(self, n)
  end
  self.finishing:resolve(true)
  self.finishing = false
end

local function finish_soon(self, entry, result)
  self.last = self.last + 1
  self.unfinished[self.last] = { entry, result }
  if self.finishing then return end
  self.finishing = xmpp.promise()
  core.spawn(function() finish_all(self) end)
end

local function settle(self)
  while self.finishing do self.finishing:wait() end
end

-- Doing

local function bury(self, entry, why)
  settle(self)
  insist(self, self.o.bury, entry, why)
end

local claim

-- The handler has failed: claims the entry again after a pause, which doubles each time.
local function again_later(self, entry)
  if not is_mine(self) then return nil end
  xmpp.sleep(math.min(self.o.pause * 2 ^ (entry.deliveries - 1), 60))
  if not goes_on(self) then return nil end
  return claim(self, entry.id)
end

local function try(self, entry)
  local pause = WAIT_LEAST
  while goes_on(self) do
    local result, why, is_final = self.o.do_one(entry, entry.deliveries > 1 and entry.deliveries - 1 or nil)
    if result ~= false then return result, why, is_final end
    pause = hold(self, pause, why)
  end
  return false
end

-- Does one entry, as often as it takes. false: it wasn't begun.
local function one(self, entry)
  while entry and is_mine(self) do
    if not entry.stanza then return bury(self, entry, entry.why) end
    if entry.deliveries > self.o.most then
      return bury(self, entry, ("it was begun %d times, and never ended"):format(self.o.most))
    end
    local result, why, is_final = try(self, entry)
    if result then return finish_soon(self, entry, result) end
    if result == false then return false end
    if is_final or entry.deliveries >= self.o.most then return bury(self, entry, why) end
    entry = again_later(self, entry)
  end
end

-- Entries that were fetched and not begun are given back: for whoever has them next it is the first time.
local function untake(self, left)
  settle(self)
  if left[1] and is_mine(self) then run(self, "untake", unpack(left)) end
end

-- Fetching

local function read(self, raw, deliveries)
  local entry = entries.read(raw)
  entry.stream, entry.deliveries = self.o.stream, deliveries
  return entry
end

-- Claims the entry with that id, or the first unfinished one. nil: there is none, or Redis failed.
function claim(self, id)
  settle(self)
  local answer = run(self, "claim", MOST_BYTES, id or "", self.o.sent)
  if not answer then return nil end
  for _, gone in ipairs(answer[4]) do self.o.told(entries.gone(self.o.stream, gone)) end
  if answer[1] == "none" then
    if not id then self.unsure = false end
    return nil
  end
  return read(self, answer[2], answer[3])
end

-- Does the entries that a dead worker, or we ourselves, had begun and not finished.
local function do_old(self)
  self.unsure = true
  while self.unsure and goes_on(self) do
    local entry = claim(self)
    if entry and one(self, entry) == false then untake(self, { entry.id, entry.deliveries - 1 }) end
  end
  settle(self)
  if goes_on(self) then run(self, "tidy") end
end

-- Does the entries of a batch. Returns those that weren't begun, each followed by how often it had been delivered: 0.
local function do_batch(self, list)
  local left = {}
  for _, raw in ipairs(list) do
    if not goes_on(self) or one(self, read(self, raw, 1)) == false then
      left[#left + 1], left[#left + 2] = raw[1], 0
    end
  end
  return left
end

local function do_new(self)
  while not self.unsure and goes_on(self) do
    self.rung = false
    local answer = run(self, "fetch", MOST_BYTES, self.o.batch, BATCH_BYTES, self.o.sent)
    if not answer then return end
    untake(self, do_batch(self, answer[2]))
    if not answer[2][1] then listen(self, IDLE) end
  end
end

local function read_on(self)
  while goes_on(self) do
    do_old(self)
    do_new(self)
  end
  settle(self)
end

--- Reads until it is told not to; then the seat is left.
function R:start()
  core.spawn(function()
    local ok, why = guard.call(read_on, self)
    if not ok then guard.report("xmpp.stream", why) end
    self.o.seats:left(self.o.i, self, ok and is_mine(self))
  end)
end

return M
