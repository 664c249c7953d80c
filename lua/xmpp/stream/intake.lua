-- intake: holds a component's connection for a farm of workers: puts each stanza that comes into a stream of Redis,
-- chosen by its sender, and sends what the workers (xmpp.stream.worker) have put into the outgoing streams.
--
--   local intake = assert(xmpp.stream.intake { name = "bots", redis = { host = "127.0.0.1" },
--     component = { host = "127.0.0.1", port = 5347, domain = "bots.example.net", secret = "secret" } })
--   xmpp.run()
--
-- A stanza is safe from the moment that Redis has said so. What comes while Redis is slow, full or gone waits here, in
-- order, and when that is enough nothing more is read: then TCP holds the server back. An answer is finished when it
-- has been written to the server, which is all that XEP-0114 lets anybody know.

local core = require "xmpp.load"
local entries = require "xmpp.stream.entries"
local farm = require "xmpp.stream.farm"
local options = require "xmpp.stream.options"
local waiting = require "xmpp.wait"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

---@class xmpp.Intake
local I = {}
local Intake = { __index = I, __metatable = "an intake has a metatable of its own" }

local M = {}

local MOST_APPENDED, BYTES_APPENDED = 100, 1024 * 1024 -- in one go
local BYTES_HELD = 4 * 1024 * 1024 -- that wait for Redis, before the handlers do
local WAIT_LEAST, WAIT_MOST = 0.02, 1 -- seconds
local AGAIN_LEAST, AGAIN_MOST = 0.5, 30 -- seconds between two tries to connect to the server

local inside = setmetatable({}, { __mode = "k" })

local Own = {}
Own.__index = Own

-- Incoming stanzas

local function bare(address) return (address or ""):match "^[^/]*" end

local function key_of(own, stanza)
  local key = own.o.key
  if key == "sender" then return bare(stanza[2].from) end
  if key == "bot" then return bare(stanza[2].to) end
  key = key(stanza)
  if type(key) ~= "string" then error("the function 'key' has returned a " .. type(key) .. ", not a string", 0) end
  return key
end

-- A key's stream, always the same one: by the first four bytes of its SHA-1.
local function place_of(own, key)
  local a, b, c, d = core.hash("sha-1", key):byte(1, 4)
  return (((a * 256 + b) * 256 + c) * 256 + d) % own.o.streams + 1
end

-- The key in Redis by which a message is recognized that comes twice, as it does when its sender had to connect anew.
-- Some clients begin their ids anew with each connection, so the body counts as well. An iq must be answered each time.
local function mark_of(own, stanza)
  local is = stanza[2]
  if own.o.remember == 0 or stanza[1] ~= "message" or not is.id or is.type == "error" then return "" end
  local parts = { bare(is.from), is.to or "", is.type or "", is.id, xexpr.text(stanza, "body") or "" }
  return own.keys.had .. entries.digest(table.concat(parts, "\0"))
end

local function push(own, stanza)
  local key = key_of(own, stanza)
  local item = { stream = own.ins[place_of(own, key)], mark = mark_of(own, stanza), key = key,
    json = entries.write(stanza) }
  own.last = own.last + 1
  own.queue[own.last] = item
  own.bytes = own.bytes + #item.json
end

-- So much waits for Redis that nothing more is to be read. While somebody waits for a response on the connection,
-- reading goes on; if then far too much has come, handlers wait, and the library's own limit (max_queue) applies.
local function is_crowded(own, times)
  return own.last - own.first + 1 > own.o.in_flight * (times or 1) or own.bytes > BYTES_HELD * (times or 1)
end

local function hold(own, conn, yes)
  own.held = yes and conn
  core.conn.hold(conn, yes)
end

-- For how long Redis remembers: whole seconds are all that it takes.
local function seconds_of(own) return ("%.0f"):format(math.ceil(own.o.remember)) end

local function take_batch(own)
  local keys = { own.keys.last }
  local words = { own.first, own.o.max_length, seconds_of(own), own.keys.bell_in }
  local bytes, at = 0, own.first
  while at <= own.last and #keys <= MOST_APPENDED and bytes < BYTES_APPENDED do
    local item = own.queue[at]
    keys[#keys + 1] = item.stream
    words[#words + 1], words[#words + 2], words[#words + 3] = item.mark, item.key, item.json
    bytes, at = bytes + #item.json, at + 1
  end
  return keys, words
end

local function forget(own, n)
  for at = own.first, own.first + n - 1 do
    own.bytes = own.bytes - #own.queue[at].json
    own.queue[at] = nil
  end
  own.first = own.first + n
  if is_crowded(own) then return end
  if own.held then hold(own, own.held, false) end
  own.room:resolve(true)
  own.room = xmpp.promise()
end

-- Redis has taken these. An error if it stopped at a stream that is full.
local function count(own, answer)
  local taken, repeated, full = answer[1], answer[2], answer[3]
  own.counts.taken, own.counts.repeated = own.counts.taken + taken - repeated, own.counts.repeated + repeated
  forget(own, taken)
  if full == 1 then return entries.full(own.queue[own.first].stream) end
end

-- Appends everything, in order, one batch after the other. A batch whose reply didn't come is sent again under the same
-- numbers.
local function append_all(own)
  local pause = WAIT_LEAST
  while own.first <= own.last and not own.closed do
    local answer, err = own.link:run("append", take_batch(own))
    if answer then
      if answer[1] > 0 then pause = WAIT_LEAST end
      err = count(own, answer)
    end
    if err then
      if err.condition ~= "closed" then farm.tell(own, err) end
      own.link:wait()
      xmpp.sleep(pause)
      pause = math.min(pause * 2, WAIT_MOST)
    end
  end
  own.appending = false
  own.emptied:resolve(true)
end

local function append_soon(own)
  if own.appending then return end
  own.appending, own.emptied = true, xmpp.promise()
  core.spawn(function() append_all(own) end)
end

local function hear(own, stanza, conn)
  if own.o.accept and not own.o.accept(stanza) then return end
  push(own, stanza)
  core.conn.claim(conn, stanza)
  append_soon(own)
  if is_crowded(own) and not own.held then hold(own, conn, true) end
  while is_crowded(own, 4) and not own.closed do own.room:wait() end
end

-- Outgoing stanzas

local function no_connection(own)
  return core.error { layer = "closed", condition = "no-connection", retry = true,
    text = own.who .. ": there is no connection to the server now" }
end

function Own:is_connected() return self.conn ~= false and self.conn:state() == "ready" end

function Own:active() return not self.stopping and self:is_connected() end

-- The promise is resolved when the stanza is written, or, with stream management, acknowledged. An account sends
-- without `from`: its server sets that.
local function send(own, conn, stanza, promise)
  if not own.is_component and bare(stanza[2].from) == tostring(conn:jid():bare()) then stanza[2].from = nil end
  return conn:send(stanza, { session = true, on = function(state, err)
    if state == "acked" or state == "written" and own.is_component then promise:resolve(true)
    elseif state == "failed" then promise:reject(err) end
  end })
end

function Own:do_one(entry)
  if entry.sent then return {} end
  local conn, promise = self.conn, xmpp.promise()
  if not self:active() then return false, no_connection(self) end
  local called, ok, err = pcall(send, self, conn, entry.stanza, promise)
  if not called then return nil, tostring(ok), true end
  if ok then return { promise = promise } end
  if err.retry or conn:state() ~= "ready" then return false, err end
  return nil, tostring(err), true
end

-- Has the server objected to the stanza itself? Any other error is about the connection.
local function is_refused(err)
  return err.layer == "stream" and (err.condition == "invalid-from" or err.condition == "improper-addressing"
    or err.condition == "policy-violation" or err.condition == "invalid-xml" or err.condition == "bad-format")
end

-- Waits for the stanzas of a batch. Returns the script's words for those that were sent, and whether others are left.
local function await(own, i, batch)
  local words, left = { own.group, seconds_of(own) }, false
  for _, item in ipairs(batch) do
    local entry, promise = item[1], item[2].promise
    local ok, err = true, nil
    if promise then ok, err = promise:wait() end
    if ok then
      words[#words + 1] = entry.id
      words[#words + 1] = own.o.remember > 0 and entry.answer and own.keys.sent .. entry.answer or ""
    elseif not is_refused(err) or not own:bury(i, entry, tostring(err)) then
      left = true
    end
  end
  return words, left
end

function Own:finish(i, batch)
  if not batch.words then batch.words, batch.left = await(self, i, batch) end
  if #batch.words > 2 then
    local answer, err = self.link:run("sent", { self.outs[i + 1] }, batch.words)
    if not answer then return nil, err end
    self.counts.sent = self.counts.sent + answer[2]
  end
  return batch.left and "left" or "done"
end

function Own:bury(i, entry, why)
  local answer, err = self.link:run("bury", { self.leases, self.outs[i + 1], self.keys.dead, self.outs[i + 1] },
    { i, self.me, self.group, entry.id, core.shown(why), entry.deliveries, self.o.max_dead, self.keys.bell_out })
  if not answer then return nil, err end
  if answer[1] == "done" and answer[2] == 1 then farm.tell_dead(self, entry, why) end
  return answer[1]
end

-- The connection

local come_back

local function attach(own, conn)
  own.conn, own.held = conn, false
  conn:set_handler(function(stanza, c) hear(own, stanza, c) end)
  conn:on("state", function(state, err)
    if own.conn ~= conn or own.stopping then return end
    if state == "closed" then return come_back(own, err) end
    own.seats:tick()
  end)
end

local function connect(own)
  local c, opts = own.o.component, { reconnect = true }
  for name, value in pairs(c.opts or {}) do opts[name] = value end
  local conn, err = xmpp.connect_component(c.host, c.port, c.domain, c.secret, opts)
  if not conn then return nil, err end
  if own.stopping then return conn:stop(0) and nil, no_connection(own) end
  attach(own, conn)
  return true
end

-- After "conflict" another intake has the domain, and the server lets it have one connection: we wait for its place.
local function may_come(err) return err.retry or err.condition == "conflict" end

local function try_again(own, err)
  local pause = AGAIN_LEAST
  while not own.stopping do
    farm.tell(own, err)
    xmpp.sleep(pause * (0.5 + math.random() / 2))
    if own.stopping then return end
    local ok
    ok, err = connect(own)
    if ok then return own.seats:tick() end
    pause = err.condition == "conflict" and AGAIN_LEAST or math.min(pause * 2, AGAIN_MOST)
  end
end

-- The connection has ended. One that the program has made isn't made again.
function come_back(own, err)
  own.conn = false
  own.seats:tick()
  err = err or no_connection(own)
  if own.o.conn then return farm.tell(own, err) end
  core.spawn(function() try_again(own, err) end)
end

-- Connects for the first time. An error that will not pass by itself is returned to the caller.
local function begin(own)
  if own.o.conn then return attach(own, own.o.conn) or true end
  local ok, err = connect(own)
  if ok then return true end
  if not may_come(err) then return nil, err end
  core.spawn(function() try_again(own, err) end)
  return true
end

-- The public face

local function own_of(self, name)
  return inside[self] or error(("calling '%s' on bad self (intake expected, got %s)"):format(name, type(self)), 3)
end

local function close_connection(own, timeout)
  local conn = own.conn
  own.conn = false
  if not conn then return end
  if conn.drain then return conn:drain(timeout) end
  conn:stop(timeout)
end

--- Stops: takes no more answers to send, drains and closes the connection to the server, and waits until Redis has
--- everything that was read.
---@param timeout? number seconds (30)
---@return true?
---@return xmpp.Error? err layer "timeout": Redis hasn't taken all that was read; the text says how many are lost
function I:stop(timeout)
  local own = own_of(self, "stop")
  if timeout ~= nil and (type(timeout) ~= "number" or timeout < 0) then
    error("bad argument #1 to 'stop' (seconds expected, got " .. tostring(timeout) .. ")", 2)
  end
  waiting.check(2)
  if own.stopping then return true end
  local until_ = core.now() + (timeout or 30)
  local function left() return math.max(until_ - core.now(), 0) end
  own.stopping = true
  own.seats:stop(left())
  close_connection(own, left())
  if own.appending then own.emptied:wait(left()) end
  own.closed = true
  own.room:resolve(true)
  farm.close(own)
  local n = own.last - own.first + 1
  if n == 0 then return true end
  return nil, core.error { layer = "timeout", condition = "timeout", retry = false,
    text = ("%s: %d stanzas were read, and Redis hasn't taken them"):format(own.who, n) }
end

--- The connection to the server.
---@return xmpp.Conn? conn nil: there is none just now
function I:conn() return own_of(self, "conn").conn or nil end

--- Tells how many stanzas it has taken (Redis has them), how many were repeated (they had come before, and were
--- dropped), how many are waiting for Redis, how many it has sent, and how many entries it has put with the dead; and
--- how many outgoing streams it has now, and how many intakes there are.
---@return { taken: integer, repeated: integer, waiting: integer, sent: integer, dead: integer, streams: integer,
--- intakes: integer }
function I:info()
  local own = own_of(self, "info")
  local out = { streams = own.seats:count(), intakes = own.seats.members, waiting = own.last - own.first + 1 }
  for name, n in pairs(own.counts) do out[name] = n end
  return out
end

function Intake.__tostring(self) return ("xmpp.Intake (%s)"):format(own_of(self, "tostring").who) end

local function new(o)
  local own = setmetatable({ stopping = false, closed = false, conn = false, queue = {}, first = 1, last = 0, bytes = 0,
    appending = false, held = false, room = xmpp.promise(), emptied = xmpp.promise(),
    counts = { taken = 0, repeated = 0, sent = 0, dead = 0 } }, Own)
  own.is_component = o.component ~= nil or not tostring(o.conn:jid()):find "@"
  farm.set_up(own, o, "intake", "out")
  own.sent_prefix = own.keys.sent
  return own
end

--- Begins to take stanzas in; waits until it is connected to Redis, and to the server, if there is no other intake at
--- which the server wants none besides. Raises for bad options.
---@param o xmpp.IntakeOpts
---@return xmpp.Intake?
---@return xmpp.Error?
function M.new(o)
  o = options.check(o, "intake", 3)
  waiting.check(3)
  local ok, err = entries.available()
  if not ok then return nil, err end
  local own = new(o)
  ok, err = farm.open(own)
  if ok then ok, err = begin(own) end
  if not ok then return farm.close(own), err end
  local self = setmetatable({}, Intake)
  inside[self] = own
  own.seats:start()
  return self
end

return M
