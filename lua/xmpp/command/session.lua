-- session: a command that somebody runs here, from its first step to its last. For xmpp.command.
--
-- In a session the command's function runs once, and again each time that the person goes back to an earlier question.
-- The fields:
--
--   id        unguessable; somebody who names another user's session is told that there is none
--   from, to  the full address that has begun it, and our address; only these two can continue it
--   node, lang, command (the offered command: f, allow, back)
--   run       the present run: notes for the next answer; asked: the open question, n: its number; before: the answers
--             given so far, known: how many of them the run needn't ask for again
--   output    a promise for the answer to the step in progress; nil: waiting for the other side
--   over      "cancel", "timeout", "closed": it has ended
--   timer     ends the session after a time without activity
--
-- Limits: sessions at once, also of one account; seconds without activity; steps.

local core = require "xmpp.load"
local dialogs = require "xmpp.command.dialog"
local form = require "xmpp.form"
local guard = require "xmpp.guard"
local words = require "xmpp.command.words"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = {}

local MOST_STEPS = 100

local unpack = table.unpack or unpack -- luacheck: ignore 143

local function bare_of(from) return tostring(core.jid(from):bare()) end

-- A book: sessions by id, their number, and the number of each account.
function M.book(most, of_one, lifetime)
  return { by = {}, n = 0, of = {}, most = most, of_one = of_one, lifetime = lifetime }
end

local function count(book, session, change)
  local bare = bare_of(session.from)
  book.n = book.n + change
  local n = (book.of[bare] or 0) + change
  book.of[bare] = n > 0 and n or nil
end

local function stop_timer(session)
  if session.timer then session.timer:cancel() end
  session.timer = nil
end

-- Answers the step in progress, if there is one.
local function say(session, ...)
  local output = session.output
  session.output = nil
  if output then output:resolve(...) end
end

-- Removes the session; `why` is what waiting calls get.
local function forget(book, session, why)
  if session.over then return end
  session.over = why
  stop_timer(session)
  book.by[session.id] = nil
  count(book, session, -1)
end

-- Continues the call that waits for the answer to a question.
local function release(run, ...)
  local asked = run.asked
  run.asked = nil
  if asked then asked.promise:resolve(...) end
end

--- Ends a session: its function is told by the return value of its open question.
---@param why "cancel"|"timeout"|"closed"
function M.finish(book, session, why)
  if session.over then return end
  forget(book, session, why)
  say(session, words.answer(session, "canceled"))
  release(session.run, nil, why)
end

-- Answering with what the function returned

-- nil, type, condition [, text, app]: an error, as iq.serve takes it.
local function outcome(session, first, ...)
  local notes = session.run.notes
  if first == nil and ... ~= nil then return nil, ... end
  if type(first) == "string" then
    notes[#notes + 1] = { kind = "info", text = first }
  elseif type(first) == "table" then
    if type(first[1]) ~= "string" then
      local spec = { kind = "result" }
      for key, v in pairs(first) do spec[key] = v end
      first = form.new(spec)
    end
    return words.answer(session, "completed", { payload = first, notes = notes })
  elseif first ~= nil and first ~= true then
    error("a command's function returns a text, a form, true, nothing, or nil, type, condition [, text]", 0)
  end
  return words.answer(session, "completed", { notes = notes })
end

local FAILED = { nil, "wait", "internal-server-error", n = 3 }

local function returned(book, session, run, ok, ...)
  local answer = { ok, ... }
  if ok then answer = { pcall(outcome, session, ...) } end
  if not answer[1] then guard.report(("command '%s'"):format(core.shown(session.node)), answer[2]) end
  if session.over or session.run ~= run then return end -- nothing waits for it any more
  forget(book, session, "closed")
  release(run, nil, "closed") -- a question that another task of the function has asked
  if not answer[1] then return say(session, unpack(FAILED, 1, FAILED.n)) end
  say(session, unpack(answer, 2, 6))
end

-- Running

-- Sends a question to the other side, which has a limited time to answer.
local function put(book, session, run, question)
  stop_timer(session)
  session.timer = xmpp.after(book.lifetime, function() M.finish(book, session, "timeout") end)
  run.asked = question
  local notes = run.notes
  run.notes = {}
  say(session, words.answer(session, "executing", { back = session.command.back and run.n > 1,
    payload = question.make(run.before[run.n]), notes = notes }))
end

local function ask(book, session, run, spec, make)
  if session.over then return nil, session.over end
  if session.run ~= run then return nil, "cancel" end -- the person has gone back to before this question
  run.n = run.n + 1
  if run.n <= run.known then return run.before[run.n] end
  local question = { spec = spec, make = make, promise = xmpp.promise() }
  put(book, session, run, question)
  return question.promise:wait()
end

-- Runs the function, at once, with the answers given so far: the first `known` ones are returned by `ask`, the others
-- are only shown in the forms.
local function play(book, session, known, before)
  local run = { notes = {}, n = 0, known = known, before = before }
  session.run = run
  function run.ask(spec, make) return ask(book, session, run, spec, make) end
  local dialog, f = dialogs.new(run, session), session.command.f
  guard.go("command", function() returned(book, session, run, guard.call(f, dialog, session.conn[1])) end)
end

-- A promise for the result of the step, since the function may take time.
local function wait(session, output)
  session.output = output
  return output
end

--- Begins a session, and waits until its function has asked something or has returned.
---@return xmpp.Element? answer
---@return string? type of the error, and what else iq.serve takes
function M.begin(book, conn, command, o)
  if book.n >= book.most or (book.of[bare_of(o.from)] or 0) >= book.of_one then
    return nil, "wait", "resource-constraint", "too many sessions"
  end
  local session = { id = core.id(), from = o.from, to = o.to, node = command.node, lang = o.lang, command = command,
    conn = setmetatable({ conn }, { __mode = "v" }), steps = 1 }
  book.by[session.id] = session
  count(book, session, 1)
  local output = wait(session, xmpp.promise())
  play(book, session, 0, {})
  return output:wait()
end

--- The session with that id, if it belongs to the sender.
function M.find(book, id, o)
  local session = book.by[id]
  if not session or session.from ~= o.from or session.to ~= o.to then return nil end
  return session
end

-- The submitted values; no form counts as an empty one. A form of type cancel counts as submitted (XEP-0050 3.5.1).
local function values_of(spec, payload)
  local x = { "x", { xmlns = form.DATA, type = "submit" } }
  for i = 3, payload and #payload or 2 do x[i] = payload[i] end
  local kind = payload and xexpr.attr(payload, "type")
  if kind and kind ~= "cancel" then x[2].type = kind end
  return form.read(x, spec)
end

local function bad(name, condition, text) return nil, "modify", condition, text, words.condition(name) end

-- Continues the run, or, to go back, begins a new one that asks the previous question again.
local function go_on(book, session, output, values)
  local run = session.run
  stop_timer(session)
  wait(session, output)
  if values then
    run.before[run.n] = values
    release(run, values)
  else
    play(book, session, run.n - 2, run.before)
    release(run, nil, "cancel")
  end
  return output:wait()
end

local ACTIONS = { execute = "next", next = "next", complete = "next", prev = "prev", cancel = "cancel" }

--- Handles a step of the other side.
---@param action string?
---@param payload xmpp.Element? the form
---@return xmpp.Element? answer
---@return string? type of the error, and what else iq.serve takes
function M.step(book, session, action, payload)
  action = ACTIONS[action or "execute"]
  if action == "cancel" then
    M.finish(book, session, "cancel")
    return words.answer(session, "canceled")
  end
  local run = session.run
  if not run.asked then return nil, "wait", "unexpected-request", "the previous step is still in progress" end
  session.steps = session.steps + 1
  if session.steps > MOST_STEPS then
    M.finish(book, session, "cancel")
    return nil, "cancel", "policy-violation", "too many steps"
  end
  if not action then return bad("malformed-action", "bad-request") end
  if action == "prev" then
    if not (session.command.back and run.n > 1) then return bad("bad-action", "bad-request") end
    return go_on(book, session, xmpp.promise())
  end
  local values, err = values_of(run.asked.spec, payload)
  if not values then return bad("bad-payload", "bad-request", err.text) end
  return go_on(book, session, xmpp.promise(), values)
end

--- Ends all sessions for which f(session) is true.
function M.finish_all(book, why, f)
  local list = {}
  for _, session in pairs(book.by) do list[#list + 1] = session end
  for _, session in ipairs(list) do
    if not f or f(session) then M.finish(book, session, why) end
  end
end

return M
