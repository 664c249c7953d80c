-- worker: does the work of a farm: takes what the intakes have put into Redis (xmpp.stream.intake), has a function
-- called for each stanza, and puts what that returns where the intakes send it from.
--
--   local worker = assert(xmpp.stream.worker { redis = { host = "127.0.0.1" }, name = "bots",
--     handler = function(stanza, again)
--       return xmpp.xexpr.reply(stanza, { "body", "You said: " .. xmpp.xexpr.text(stanza, "body") })
--     end })
--   xmpp.run()
--
-- Any number of workers share the streams; each stream is one worker's at a time, so what one sender says is done in
-- order. A stanza is finished when the handler has returned, together with its answers: when the worker dies before,
-- another one does it once more, and is told so.

local core = require "xmpp.load"
local entries = require "xmpp.stream.entries"
local farm = require "xmpp.stream.farm"
local guard = require "xmpp.guard"
local options = require "xmpp.stream.options"
local waiting = require "xmpp.wait"
local xexpr = require "xmpp.xexpr"

---@class xmpp.Worker
local W = {}
local Worker = { __index = W, __metatable = "a worker has a metatable of its own" }

local M = {}

-- What belongs to a worker, by the object that the program has.
local inside = setmetatable({}, { __mode = "k" })

-- Answers

local function list_of(answers)
  if answers == nil or answers == false or answers == true then return {} end
  if type(answers) ~= "table" then error("the handler has returned a " .. type(answers) .. ", and no stanza", 0) end
  if type(answers[1]) == "string" then return { answers } end
  return answers
end

-- An answer's id: the same each time that the entry is done.
local function id_of(entry, n) return entries.digest(("%s/%s/%d"):format(entry.stream, entry.id, n)) end

-- Adds `from` (the address that the stanza was for) and an id, if they are missing, in a copy of the handler's table.
local function complete(entry, stanza, id)
  local attributes, out = {}, {}
  for name, value in pairs(stanza[2]) do attributes[name] = value end
  for i, child in ipairs(stanza) do out[i] = child end
  if stanza[1] ~= "presence" then attributes.id = attributes.id or id end
  attributes.from = attributes.from or entry.stanza[2].to
  out[2] = attributes
  return out
end

-- The n-th answer as { id, JSON }; raises if it is no stanza.
local function write(entry, n, answer)
  local stanza, why = entries.canonical(answer)
  if not stanza then error("the handler has returned what can't be sent: " .. why, 0) end
  local id = id_of(entry, n)
  return { id, entries.write(complete(entry, stanza, id)), stanza = stanza }
end

local function write_all(entry, answers)
  local out = {}
  for n, answer in ipairs(list_of(answers)) do out[n] = write(entry, n, answer) end
  return out
end

local function answers_it(question, list)
  for _, answer in ipairs(list) do
    local stanza = answer.stanza
    local kind = stanza[2].type
    local is_answer = stanza[1] == "iq" and (kind == "result" or kind == "error")
    if is_answer and stanza[2].id == question[2].id then return true end
  end
  return false
end

local function refuse(entry, n, condition)
  return write(entry, n, xexpr.error_reply(entry.stanza, "cancel", condition))
end

-- A question (iq) must be answered (RFC 6120 8.2.3).
local function leave_none_open(entry, list)
  if entries.is_question(entry.stanza) and not answers_it(entry.stanza, list) then
    list[#list + 1] = refuse(entry, #list + 1, "service-unavailable")
  end
  return list
end

-- The functions that a reader calls

local Own = {}
Own.__index = Own

function Own:active() return not self.stopping end

function Own.is_connected() return true end

function Own:do_one(entry, again)
  self.counts.begun = self.counts.begun + 1
  local ok, answers = guard.call(function() return write_all(entry, self.o.handler(entry.stanza, again, entry)) end)
  if ok then return leave_none_open(entry, answers) end
  self.counts.failed = self.counts.failed + 1
  guard.report(self.who .. ", handler", answers)
  return nil, tostring(answers):match "^[^\n]*"
end

local function state_of(answer, err)
  if not answer then return nil, err end
  return answer[1], answer
end

function Own:finish(i, batch)
  local words = { i, self.me, self.group, self.o.max_length, self.keys.bell_out }
  for _, item in ipairs(batch) do
    words[#words + 1], words[#words + 2] = item[1].id, #item[2]
    for _, answer in ipairs(item[2]) do words[#words + 1], words[#words + 2] = answer[1], answer[2] end
  end
  local state, answer = state_of(self.link:run("finish", { self.leases, self.ins[i + 1], self.outs[i + 1] }, words))
  if state == "done" then self.counts.done = self.counts.done + answer[2] end
  return state, answer
end

function Own:bury(i, entry, why)
  local words = { i, self.me, self.group, entry.id, core.shown(why), entry.deliveries, self.o.max_dead,
    self.keys.bell_out }
  if entry.stanza and entries.is_question(entry.stanza) then
    local answer = refuse(entry, 1, "internal-server-error")
    words[9], words[10] = answer[1], answer[2]
  end
  local state, answer = state_of(self.link:run("bury",
    { self.leases, self.ins[i + 1], self.keys.dead, self.outs[i + 1] }, words))
  if state == "done" and answer[2] == 1 then farm.tell_dead(self, entry, why) end
  return state, answer
end

-- The public face

local function own_of(self, name)
  return inside[self] or error(("calling '%s' on bad self (worker expected, got %s)"):format(name, type(self)), 3)
end

--- Stops: takes nothing more, waits until the handlers have returned, and gives its streams to the other workers.
---@param timeout? number seconds (30)
---@return true?
---@return xmpp.Error? err layer "timeout": a handler hadn't returned in time; another worker does its stanza again
function W:stop(timeout)
  local own = own_of(self, "stop")
  if timeout ~= nil and (type(timeout) ~= "number" or timeout < 0) then
    error("bad argument #1 to 'stop' (seconds expected, got " .. tostring(timeout) .. ")", 2)
  end
  waiting.check(2)
  if own.stopping then return true end
  own.stopping = true
  local done = own.seats:stop(timeout or 30)
  farm.close(own)
  if done then return true end
  return nil, core.error { layer = "timeout", condition = "timeout", retry = false,
    text = own.who .. ": the handler hadn't returned in time" }
end

--- Tells how often its handler was begun, how many stanzas are done, how often the handler failed, and how many entries
--- it has put with the dead; and how many streams it has now, and how many workers there are.
---@return { begun: integer, done: integer, failed: integer, dead: integer, streams: integer, workers: integer }
function W:info()
  local own = own_of(self, "info")
  local out = { streams = own.seats:count(), workers = own.seats.members }
  for name, n in pairs(own.counts) do out[name] = n end
  return out
end

function Worker.__tostring(self) return ("xmpp.Worker (%s)"):format(own_of(self, "tostring").who) end

--- Begins to work; waits until it is connected to Redis. Raises for bad options.
---@param o xmpp.WorkerOpts
---@return xmpp.Worker?
---@return xmpp.Error?
function M.new(o)
  o = options.check(o, "worker", 3)
  waiting.check(3)
  local ok, err = entries.available()
  if not ok then return nil, err end
  local own = setmetatable({ stopping = false, counts = { begun = 0, done = 0, failed = 0, dead = 0 } }, Own)
  farm.set_up(own, o, "worker", "in")
  ok, err = farm.open(own)
  if not ok then return nil, err end
  local self = setmetatable({}, Worker)
  inside[self] = own
  own.seats:start()
  return self
end

return M
