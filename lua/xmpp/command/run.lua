-- run: runs another entity's command, from its first step to its last. For xmpp.command.

local core = require "xmpp.load"
local form = require "xmpp.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local words = require "xmpp.command.words"
local xexpr = require "xmpp.xexpr"

local M = {}

local MOST_STEPS = 100 -- against a service that never stops asking

local function bad(stanza, reason)
  local who = core.shown(xexpr.attr(stanza, "from") or "our server")
  return iq.bad_format(("the answer of %s: %s"):format(who, reason), stanza)
end

-- An error on our side, which ends the command.
local function unfit(app, text)
  return nil, core.error { layer = "stanza", condition = "not-acceptable", type = "modify", retry = false, app = app,
    text = text }
end

local function lost()
  return nil, core.error { layer = "closed", condition = "session-lost", retry = true,
    text = "there is a new session: the command has to be started again" }
end

-- Requests a step. Returns what words.read makes of the answer, with its form.
local function step(run, action, payload)
  if run.session and run.conn:info().rebound ~= run.rebound then
    run.session = nil
    return lost()
  end
  local answer, stanza = iq.set(run.conn, run.to, words.request(run.node, { session = run.session, action = action,
    payload = payload, lang = not run.session and run.lang or nil }), { timeout = run.timeout, from = run.from })
  if not answer then return nil, stanza end
  local said, why = words.read(answer, run.node, run.session)
  if not said then return bad(stanza, why) end
  run.session = said.status == "executing" and said.session or nil
  local x = xexpr.child(answer, "x", form.DATA)
  if x then
    local err
    said.form, err = form.parse(x)
    if err then return bad(stanza, "command." .. err.text) end
  end
  return said
end

-- The session is no longer needed: tells the service to cancel it.
local function abandon(run)
  local session = run.session
  run.session = nil
  if not session or run.conn:state() ~= "ready" or run.conn:info().rebound ~= run.rebound then return end
  run.conn:send_callback({ "iq", { type = "set", to = run.to, from = run.from },
    words.request(run.node, { session = session, action = "cancel" }) }, function() end)
end

local function has_value(field) return field.texts[1] ~= nil and field.texts[1] ~= "" end

--- Selects the answers that the form asks for; a missing required one is an error.
function M.pick(f, answers, used)
  local values = {}
  for _, field in ipairs(f.fields) do
    local var = field.var
    if var and field.kind ~= "fixed" then
      values[var] = answers[var]
      if answers[var] ~= nil then used[var] = true
      elseif field.required and not has_value(field) then
        return unfit("missing", ("'%s' is required, and there is no value"):format(core.shown(var)))
      end
    end
  end
  return values
end

-- Asks the function, or the table of answers, what to do. Returns values, action; nil to cancel; or nil, err.
local function decide(run, said)
  local how = run.how
  if type(how) ~= "function" then
    if not said.form then return {} end
    return M.pick(said.form, how, run.used)
  end
  local ok, values, action = guard.call(how, said.form, said.notes, said.actions)
  if not ok then
    abandon(run)
    error(values, 0)
  end
  if values == nil then return nil end
  if type(values) ~= "table" or action ~= nil and type(action) ~= "string" then
    abandon(run)
    error("what answers a command returns a table of values [, action], or nil", 0)
  end
  return values, action
end

local function offered(actions, action)
  for _, name in ipairs(actions) do
    if name == action then return true end
  end
  return false
end

-- The payload and the action of the next step.
local function compose(said, values, action)
  if action and not offered(said.actions, action) then
    return unfit("bad-action", ("the step does not take '%s'"):format(core.shown(action)))
  end
  if not said.form or said.form.kind ~= "form" then return {}, action or said.actions.default end
  if action == "prev" then return {}, action end
  local ok, x = pcall(form.answer, said.form, values)
  if not ok then return unfit("invalid", x) end
  return { x }, action or said.actions.default
end

local function result_of(run, said)
  local unused = {}
  if type(run.how) == "table" then
    for var in pairs(run.how) do
      if not run.used[var] then unused[#unused + 1] = tostring(var) end
    end
  end
  table.sort(unused)
  return { status = said.status, notes = said.notes, text = words.text(said.notes), form = said.form,
    element = said.element, unused = unused }
end

local function give_up(run)
  abandon(run)
  return { status = "canceled", notes = {}, unused = {} }
end

--- run: { conn, to, node, how = answers or f, timeout, from, lang }.
function M.run(run)
  run.used, run.rebound = {}, run.conn:info().rebound
  local said, err = step(run, "execute")
  for _ = 1, MOST_STEPS do
    if not said then break end
    if said.status ~= "executing" then return result_of(run, said) end
    local values, action, why
    values, action = decide(run, said)
    if not values and not action then return give_up(run) end
    if not values then err = action break end
    values, action = compose(said, values, action)
    if not values then err = action break end
    said, why = step(run, action, values[1])
    err = why
  end
  abandon(run)
  if not err then return iq.bad_format(("the command has more than %d steps"):format(MOST_STEPS)) end
  return nil, err
end

return M
