-- pubsub/words: what the files of xmpp.pubsub have in common: namespaces, arguments, and requests to a service.

local core = require "xmpp.load"
local data_form = require "xmpp.form"
local disco = require "xmpp.disco"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local xexpr = require "xmpp.xexpr"

local M = {}

M.PUBSUB = "http://jabber.org/protocol/pubsub"
M.OWNER, M.EVENT, M.ERRORS = M.PUBSUB .. "#owner", M.PUBSUB .. "#event", M.PUBSUB .. "#errors"
M.PUBLISH_OPTIONS, M.NODE_CONFIG = M.PUBSUB .. "#publish-options", M.PUBSUB .. "#node_config"
M.SUBSCRIBE_OPTIONS, M.MAX = M.PUBSUB .. "#subscribe_options", M.PUBSUB .. "#config-node-max"

M.LONGEST_ID = 4096 -- largest id of an item, in bytes

local MOST_SERVICES = 100 -- whose features are remembered

-- Arguments

--- Raises an error at `level` (2: at the caller of this function's caller) if the element isn't valid.
function M.sendable(x, what, level)
  local ok, why = core.check_stanza { "iq", { type = "set" }, x }
  if not ok then error(("%s (%s)"):format(what, (why:gsub("^stanza%[3%]", "it"))), level + 1) end
end

--- Checks the arguments that all functions begin with, and raises an error at the caller of this function's caller.
---@param named? boolean a node is required
function M.check(conn, service, node, fname, named)
  guard.check_conn(conn, fname, 3)
  if service ~= nil and not core.is_jid(service) then guard.check_type(service, "string", 2, fname, 3) end
  if node == nil and not named then return end
  guard.check_text(node, 3, fname, 3)
end

--- Form values with the full names of their fields: "access_model" becomes "pubsub#access_model".
---@return table<string, any>
function M.full(values)
  local out = {}
  for var, v in pairs(values) do
    if type(var) == "string" and not var:find("#", 1, true) then var = "pubsub#" .. var end
    out[var] = v
  end
  return out
end

--- The form with these values. Raises an error at `level` (2: at the caller of this function's caller) if they are
--- invalid.
---@return xmpp.Element
function M.form(form_type, values, what, level)
  local ok, x = pcall(data_form.submit, form_type, M.full(values))
  if not ok then error(("%s (%s)"):format(what, (tostring(x):gsub("^[^:]+:%d+: ", ""))), level + 1) end
  M.sendable(x, what, level + 1)
  return x
end

-- Reading

--- The children with that name of an element in the namespace `xmlns`, that are in the same namespace.
---@return fun(): xmpp.Element?
function M.children(x, name, xmlns)
  local following = xexpr.children(x, name)
  return function()
    local child
    repeat child = following() until not child or (xexpr.attr(child, "xmlns") or xmlns) == xmlns
    return child
  end
end

--- The first such child.
---@return xmpp.Element?
function M.child(x, name, xmlns) return M.children(x, name, xmlns)() end

-- Requests

local function payload_of(answer, stanza, xmlns)
  if answer == true then return true, stanza end
  if answer[1] ~= "pubsub" or xexpr.attr(answer, "xmlns") ~= xmlns then
    return iq.bad_format("pubsub: missing", stanza)
  end
  return answer, stanza
end

--- Sends a request to a service, nil: our own account. Returns the answer's pubsub element; true: the answer is empty.
---@param o { timeout: number?, from: string|xmpp.Jid|nil }
---@return xmpp.Element|true|nil
---@return xmpp.Stanza|xmpp.Error
function M.ask(kind, conn, service, xmlns, children, o)
  local payload = { "pubsub", { xmlns = xmlns } }
  for _, child in ipairs(children) do payload[#payload + 1] = child end
  local answer, stanza = iq[kind](conn, service, payload, { timeout = o.timeout, from = o.from })
  if answer == nil then return nil, stanza end
  return payload_of(answer, stanza, xmlns)
end

--- The same for a request with one element, which must be in the answer.
---@return xmpp.Element?
---@return xmpp.Stanza|xmpp.Error
---@return xmpp.Element? pubsub
function M.get(conn, service, xmlns, children, o)
  local name, node = children[1][1], children[1][2].node
  local answer, stanza = M.ask("get", conn, service, xmlns, children, o)
  if answer == nil then return nil, stanza end
  local x = answer ~= true and xexpr.child(answer, name, xmlns)
  if not x then return iq.bad_format(("pubsub.%s: missing"):format(name), stanza) end
  local theirs = xexpr.attr(x, "node")
  if node and theirs and theirs ~= node then
    return iq.bad_format(("pubsub.%s.node: another one was asked for"):format(name), stanza)
  end
  return x, stanza, answer
end

--- Sends a request whose answer has no content.
---@return true?
---@return xmpp.Error?
function M.done(conn, service, xmlns, children, o)
  local answer, err = M.ask("set", conn, service, xmlns, children, o)
  if answer == nil then return nil, err end
  return true
end

--- A prepared address from an answer; nil if it is invalid.
---@return string?
function M.address(text)
  local jid = text and core.jid(text)
  return jid and tostring(jid)
end

--- The features of a service; nil: of our own account. Requested once in a session.
---@return table<string, true>?
---@return xmpp.Error?
function M.features(conn, service, o)
  local jid, err = core.jid(service or conn:jid():bare())
  if not jid then return nil, err end
  local own, key = guard.of(conn, "pubsub"), tostring(jid)
  local had = own.features and own.features[key]
  if had and had.rebound == conn:info().rebound then return had.features end
  local info
  info, err = disco.info(conn, jid, { timeout = o.timeout, from = o.from })
  if not info then return nil, err end
  if not own.features or own.n_features >= MOST_SERVICES then own.features, own.n_features = {}, 0 end
  if not own.features[key] then own.n_features = own.n_features + 1 end
  own.features[key] = { features = info.features, rebound = conn:info().rebound }
  return info.features
end

--- An error detected here.
---@return nil
---@return xmpp.Error
function M.fail(condition, text, app)
  return nil, core.error { layer = "stanza", condition = condition, type = "cancel", retry = false, text = text,
    app = app }
end

return M
