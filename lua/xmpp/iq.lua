-- iq: requests to others and their answers, and services that answer others' requests (RFC 6120 8.2.3). The core makes
-- sure that an answer comes from the address that was asked.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local xexpr = require "xmpp.xexpr"

local M = {}

local TYPES = { auth = true, cancel = true, continue = true, modify = true, wait = true }
local CONDITIONS = {}
for word in ([[bad-request conflict feature-not-implemented forbidden gone internal-server-error item-not-found
  jid-malformed not-acceptable not-allowed not-authorized policy-violation recipient-unavailable redirect
  registration-required remote-server-not-found remote-server-timeout resource-constraint service-unavailable
  subscription-required undefined-condition unexpected-request]]):gmatch "%S+" do CONDITIONS[word] = true end

-- Errors

--- Makes the error for a malformed answer: layer "stanza", condition "bad-format". For functions that parse answers.
---@param path string the path to what is wrong, and why
---@param stanza xmpp.Stanza?
---@return nil
---@return xmpp.Error
function M.bad_format(path, stanza)
  return nil, core.error { layer = "stanza", condition = "bad-format", type = "cancel", retry = false, text = path,
    stanza = stanza }
end

--- Turns a stanza of type error into what a function returns: nil and the error that the stanza carries.
---@param stanza xmpp.Stanza
---@return nil
---@return xmpp.Error
function M.failure(stanza)
  guard.check_type(stanza, "table", 1, "failure", 2)
  if not xexpr.child(stanza, "error") then return M.bad_format("iq: an error without an error element", stanza) end
  local e = xexpr.error(stanza)
  local condition = CONDITIONS[e.condition] and e.condition or "undefined-condition"
  local text = e.text ~= "" and e.text or "said by " .. (e.by or xexpr.attr(stanza, "from") or "our server")
  return nil, core.error { layer = "stanza", condition = condition, type = e.type, retry = e.type == "wait",
    app = e.app, by = e.by, text = core.shown(text), stanza = stanza }
end

-- Asking

local OPTIONS = { timeout = "number", from = "jid" }

-- The only child of a result, true if it has none, nil if it has several (RFC 6120 8.2.3: "zero or one").
local function payload_of(stanza)
  local next_child = xexpr.children(stanza)
  local first, second = next_child(), nil
  if first then second = next_child() end
  if second then return nil end
  return first or true
end

local function read_answer(response)
  local kind = xexpr.attr(response, "type")
  if kind == "error" then return M.failure(response) end
  if kind ~= "result" then return M.bad_format("iq.type: result or error expected", response) end
  local payload = payload_of(response)
  if payload == nil then return M.bad_format("iq: a result has one child at most", response) end
  return payload, response
end

local function check_address(to, position, fname)
  if to == nil or core.is_jid(to) then return end
  guard.check_type(to, "string", position, fname, 4)
end

local function ask(kind, conn, to, payload, opts)
  guard.check_conn(conn, kind, 3)
  check_address(to, 2, kind)
  guard.check_type(payload, "table", 3, kind, 3)
  opts = guard.check_opts(opts, OPTIONS, 4, kind, 3)
  local jid, bad
  if to ~= nil then jid, bad = core.jid(to) end
  if bad then return nil, bad end
  local stanza = { "iq", { type = kind, to = jid, from = opts.from }, payload }
  local ok, why = core.check_stanza(stanza)
  if not ok then error(("bad argument #3 to '%s' (%s)"):format(kind, why), 3) end
  local response, err = conn:send_await(stanza, opts.timeout)
  if not response then return nil, err end
  return read_answer(response)
end

--- Sends a request of type get, and waits for the answer.
---@param conn xmpp.Conn
---@param to string|xmpp.Jid|nil the recipient; nil: our own account
---@param payload xmpp.Element
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil } timeout: seconds to wait (the connection's
--- await_timeout); from: the address of a component that sends it
---@return xmpp.Element|true|nil answer the child of the result; true if it has none
---@return xmpp.Stanza|xmpp.Error stanza the result; or the error: of layer "stanza", with `condition`, `type`, `text`,
--- `app` (the application's own condition), `by` and `stanza`, if the other side refused
function M.get(conn, to, payload, opts)
  local answer, stanza = ask("get", conn, to, payload, opts)
  return answer, stanza
end

--- Sends a request of type set, and waits for the answer. Parameters and results are those of `get`.
---@param conn xmpp.Conn
---@param to string|xmpp.Jid|nil
---@param payload xmpp.Element
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return xmpp.Element|true|nil answer
---@return xmpp.Stanza|xmpp.Error
function M.set(conn, to, payload, opts)
  local answer, stanza = ask("set", conn, to, payload, opts)
  return answer, stanza
end

-- Serving

-- Makes the answer from what f returned; nil and a reason if that isn't valid.
local function answer_of(question, payload, kind, condition, text, app)
  local answer
  if payload == true then
    answer = xexpr.reply(question)
  elseif type(payload) == "table" and type(payload[1]) == "string" then
    answer = xexpr.reply(question, payload)
  elseif payload == nil and TYPES[kind] and CONDITIONS[condition] and (text == nil or type(text) == "string") then
    answer = xexpr.error_reply(question, kind, condition, text)
    table.insert(answer[3], app)
  else
    return nil, "a service returns an element, true, or nil, type, condition [, text]"
  end
  local ok, why = core.check_stanza(answer)
  if not ok then return nil, "what it returned can't be sent: " .. why end
  return answer
end

local function answer(service, question, conn)
  local who = ("service of iq %s %s"):format(service.kind, service.xmlns)
  local results = { guard.call(service.f, xexpr.children(question)(), question, conn) }
  local reply, why
  if results[1] then
    reply, why = answer_of(question, results[2], results[3], results[4], results[5], results[6])
  else
    why = results[2]
  end
  if not reply then
    guard.report(who, why)
    reply = xexpr.error_reply(question, "wait", "internal-server-error")
  end
  conn:send(reply, { session = service.session })
end

-- The service for a request: of those for its namespace the one at its address, else the one for all addresses. A
-- request without an id can't be answered (RFC 6120 8.1.3), and has none.
local function find(group, question)
  if not xexpr.attr(question, "id") then return nil end
  local to = group.most > 0 and xexpr.attr(question, "to")
  local jid = to and core.jid(to)
  return jid and group.at[tostring(jid)] or group.all
end

-- Is it a request that no service may answer, see gate?
local function is_gated(conn, question)
  for _, f in ipairs(guard.of(conn, "iq.gates")) do
    if f(question) == true then return true end
  end
  return false
end

-- Two taps: the first answers the request, which may wait; the second keeps the request from everybody else at once.
local function open_group(conn, kind, xmlns)
  local group, filter = { at = {}, most = 0, taps = {} }, { name = "iq", type = kind, xmlns = xmlns }
  group.taps[1] = conn:tap(function(question, c)
    local service = find(group, question)
    if service and not is_gated(c, question) then answer(service, question, c) end
  end, filter)
  group.taps[2] = conn:tap(function(question, c)
    return find(group, question) ~= nil and not is_gated(c, question)
  end, filter)
  return group
end

local function put(group, at, service)
  if not at then group.all = service return end
  group.at[at] = service
  group.most = group.most + (service and 1 or -1)
end

local function address(at, level)
  if at == nil then return nil end
  local jid, err = core.jid(at)
  if not jid then error(("bad option 'at' of 'serve' (%s)"):format(err.text), level + 1) end
  return tostring(jid)
end

--- Answers requests of one kind. `f(payload, stanza, conn)` returns an element (which is put into the result), true
--- (an empty result), or nil, type, condition [, text [, app]] (an error, RFC 6120 8.3; `app` is an element with the
--- application-specific condition). It may wait. If it throws, the other side gets internal-server-error, and
--- xmpp.on_error is told. The sender is in `stanza[2].from`; `f` has to decide whether it is allowed to do this.
--- Raises an error if that kind, namespace and address are served already. Requests without a service go to the
--- connection's handler; the default one refuses them.
---@param conn xmpp.Conn
---@param kind "get"|"set"
---@param xmlns string the payload's namespace
---@param f fun(payload: xmpp.Element, stanza: xmpp.Stanza, conn: xmpp.Conn): any, ...
---@param opts? { at: string|xmpp.Jid|nil, session: boolean? } at: the address of a component that is asked (any);
--- session: the answer is of use to our server in this session only, see conn:send
---@return fun(): boolean off ends the service; returns true the first time
function M.serve(conn, kind, xmlns, f, opts)
  guard.check_conn(conn, "serve", 2)
  if kind ~= "get" and kind ~= "set" then error("bad argument #2 to 'serve' (get or set expected)", 2) end
  guard.check_type(xmlns, "string", 3, "serve", 2)
  guard.check_type(f, "function", 4, "serve", 2)
  opts = guard.check_opts(opts, { at = "jid", session = "boolean" }, 5, "serve", 2)
  local groups, key, at = guard.of(conn, "iq"), kind .. " " .. xmlns, address(opts.at, 2)
  local group = groups[key]
  if group and (at and group.at[at] or not at and group.all) then
    error(("iq %s %s is served already%s"):format(kind, core.shown(xmlns), at and " at " .. at or ""), 2)
  end
  group = group or open_group(conn, kind, xmlns)
  groups[key] = group
  local service = { kind = kind, xmlns = xmlns, f = f, session = opts.session }
  put(group, at, service)
  return function()
    if not service then return false end
    service = nil
    put(group, at, nil)
    if not group.all and group.most == 0 then
      groups[key] = nil
      for _, off in ipairs(group.taps) do off() end
    end
    return true
  end
end

--- Keeps requests away from all services: those for which `f(question)` is true go to the connection's handler
--- instead. `f` must not wait. For gateways, whose unknown users have no services.
---@param conn xmpp.Conn
---@param f fun(question: xmpp.Stanza): boolean?
---@return fun(): boolean off removes it
function M.gate(conn, f)
  guard.check_conn(conn, "gate", 2)
  guard.check_type(f, "function", 2, "gate", 2)
  local gates = guard.of(conn, "iq.gates")
  gates[#gates + 1] = f
  return function()
    for i, other in ipairs(gates) do
      if other == f then table.remove(gates, i) return true end
    end
    return false
  end
end

return M
