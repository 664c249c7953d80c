-- answers: the automatic responses of a server. Required by xmpp.testing alone.

local INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
local CARBONS, PING, ROSTER, SESSION = "urn:xmpp:carbons:2", "urn:xmpp:ping", "jabber:iq:roster",
  "urn:ietf:params:xml:ns:xmpp-session"

local function info(category, type, ...)
  local out = { "query", { xmlns = INFO }, { "identity", { category = category, type = type } } }
  for _, feature in ipairs { INFO, ITEMS, ... } do out[#out + 1] = { "feature", { var = feature } } end
  return out
end

local function nothing() end
local function pong(_, to_server) if not to_server then return false end end

-- "type namespace" -> the content of the result, nil: none, false: answered elsewhere.
local known = {
  ["get " .. ROSTER] = function() return { "query", { xmlns = ROSTER } } end,
  ["set " .. ROSTER] = nothing,
  ["set " .. CARBONS] = nothing,
  ["set " .. SESSION] = nothing,
  ["get " .. PING] = pong,
  ["get " .. ITEMS] = function() return { "query", { xmlns = ITEMS } } end,
  ["get " .. INFO] = function(_, to_server)
    if to_server then return info("server", "im", PING, CARBONS, ROSTER) end
    return info("account", "registered")
  end,
}

--- The answer to a request from `jid`, the connection's address: true and the content; nothing if a server has no
--- answer.
return function(stanza, jid, is_component)
  local payload, to = stanza[3], stanza[2].to
  if type(payload) ~= "table" or payload[2].node then return end
  local server = is_component and jid.domainpart:match "^[^.]+%.(.+)$" or jid.domainpart
  local account = not is_component and tostring(jid:bare())
  if to and to ~= server and to ~= account then return end
  local answer = known[("%s %s"):format(tostring(stanza[2].type), tostring(payload[2].xmlns))]
  if not answer then return end
  local child = answer(stanza, to == server or to == nil)
  if child == false then return end
  return true, child
end
