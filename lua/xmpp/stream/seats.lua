-- seats: which of the streams are ours. The members divide them evenly. Only the owner of a stream reads it, so its
-- entries are done in order. Ownership is a lease in Redis that is renewed before it ends; a process that was held up
-- for longer has lost it.
--
-- Each stream that is ours has a reader: begin(i) makes it; reader:give_up() asks it to finish what it is doing,
-- reader:lose() tells it that the stream belongs to somebody else. After both the reader calls seats:left(i, reader).

local core = require "xmpp.load"
local xmpp = require "xmpp"

local S = {}
S.__index = S

local M = {}

--- begin: see above. active(): do we take part? told(err): something is wrong.
---@param o { link: table, me: string, members: string, leases: string, streams: string[], group: string,
--- channel: string, seconds: number, begin: function, active: function, told: function }
function M.new(o)
  return setmetatable({ o = o, readers = {}, giving = {}, good_until = 0, members = 0, stopping = false, closed = false,
    ticking = false, again = false, timer = false, empty = false }, S)
end

local function list_of(readers)
  local held = {}
  for i in pairs(readers) do held[#held + 1] = ("%d"):format(i) end
  return table.concat(held, " ")
end

local function set_of(list)
  local set = {}
  for _, i in ipairs(list) do set[i] = true end
  return set
end

-- Gives back n streams, those with the highest numbers; readers that are already giving up count.
local function give_back(self, kept, n)
  for _, i in ipairs(kept) do
    if self.giving[i] then n = n - 1 end
  end
  for at = #kept, 1, -1 do
    local i = kept[at]
    if n <= 0 then return end
    if self.readers[i] and not self.giving[i] then
      self.giving[i], n = true, n - 1
      self.readers[i]:give_up()
    end
  end
end

local function is_left(self, i)
  self.readers[i], self.giving[i] = nil, nil
  if self.empty and not next(self.readers) then self.empty:resolve(true) end
end

local function lose(self, i)
  local reader = self.readers[i]
  if not reader then return end
  is_left(self, i)
  reader:lose()
end

local function take_share(self, kept, got, excess)
  local mine = set_of(kept)
  for i in pairs(self.readers) do
    if not mine[i] then lose(self, i) end
  end
  give_back(self, kept, excess)
  for _, i in ipairs(got) do
    lose(self, i)
    self.readers[i] = self.o.begin(i)
  end
end

local function ask(self)
  local o, asked_at = self.o, core.now()
  local takes_part = not self.stopping and o.active()
  local keys = { o.members, o.leases }
  for _, key in ipairs(o.streams) do keys[#keys + 1] = key end
  local answer, err = o.link:run("share", keys, { o.me, math.floor(o.seconds * 1000), takes_part and "1" or "0",
    o.group, list_of(self.readers), o.channel })
  if not answer then return nil, err end
  self.good_until = asked_at + o.seconds
  self.members = answer[4]
  if not self.closed then take_share(self, answer[1], answer[2], answer[3]) end
  return true
end

-- Without an answer of Redis for the length of a lease, the streams are somebody else's.
local function check_time(self)
  if core.now() < self.good_until then return end
  for i in pairs(self.readers) do lose(self, i) end
end

--- Asks for our share now. A call while another one is under way makes that one ask once more.
function S:tick()
  if self.closed then return end
  self.again = true
  if self.ticking then return end
  self.ticking = true
  while self.again and not self.closed do
    self.again = false
    local ok, err = ask(self)
    if not ok and not err.retry and not self.closed then self.o.told(err) end
    check_time(self)
  end
  self.ticking = false
end

function S:start()
  self.timer = xmpp.every(self.o.seconds / 5, function() self:tick() end)
  core.spawn(function() self:tick() end)
end

--- Does the stream still belong to this reader, as far as can be known here?
function S:holds(i, reader)
  return self.readers[i] == reader and core.now() < self.good_until
end

--- The reader has ended. `done`: it has left nothing unfinished, so the stream is given back at once.
function S:left(i, reader, done)
  if self.readers[i] ~= reader then return end
  if done then self.o.link:run("release", { self.o.members, self.o.leases }, { self.o.me, self.o.channel, "0", i }) end
  if self.readers[i] == reader then is_left(self, i) end
end

--- Gives all streams back, after the readers have finished what they are doing; waits for at most `seconds`.
---@return boolean done
function S:stop(seconds)
  self.stopping, self.empty = true, xmpp.promise()
  for i, reader in pairs(self.readers) do
    self.giving[i] = true
    reader:give_up()
  end
  local done = not next(self.readers) or self.empty:wait(seconds) == true
  self.o.link:run("release", { self.o.members, self.o.leases }, { self.o.me, self.o.channel, "1" })
  self:close()
  return done
end

function S:close()
  self.closed = true
  if self.timer then self.timer:cancel() end
  for i in pairs(self.readers) do lose(self, i) end
end

--- How many streams are ours.
---@return integer
function S:count()
  local n = 0
  for _ in pairs(self.readers) do n = n + 1 end
  return n
end

return M
