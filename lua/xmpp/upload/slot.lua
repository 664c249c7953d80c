-- slot: parses an upload slot (XEP-0363 5). It comes from somebody else: the addresses in it, and the headers that it
-- tells us to send, are checked first. Required by xmpp.upload alone.

local ascii = require "xmpp.ascii"
local core = require "xmpp.load"
local iq = require "xmpp.iq"
local places = require "xmpp.http.place"
local time = require "xmpp.time"
local xexpr = require "xmpp.xexpr"

local M = { NS = "urn:xmpp:http:upload:0" }

local NS = M.NS
local MOST_HEADERS, MOST_BYTES = 20, 4096
-- The only headers that are sent (XEP-0363 5).
local ALLOWED = { authorization = "Authorization", cookie = "Cookie", expires = "Expires" }

--- The largest size that a service states, in a form or an error; nil: none that is a number.
---@param text string?
---@return number?
function M.size(text)
  if type(text) ~= "string" or not text:find "^%d+$" or #text > 15 then return nil end
  return tonumber(text)
end

-- Newlines are removed from both (XEP-0363 5, 12); after that only text is allowed.
local function stripped(text) return (text:gsub("[\r\n]", "")) end

local function add_header(headers, x)
  local name = ALLOWED[ascii.lower(stripped(xexpr.attr(x, "name") or ""))]
  local value = stripped(xexpr.text(x)):match "^%s*(.-)%s*$"
  if not name then return 0 end
  if value:find "[%z\1-\8\10-\31\127]" then return nil, "header: a line of text expected" end
  if headers[name] and name ~= "Cookie" then return nil, ("header: %s twice"):format(name) end
  headers[name] = headers[name] and headers[name] .. "; " .. value or value
  return #name + #value
end

local function read_headers(put)
  local headers, n, bytes = {}, 0, 0
  for x in xexpr.children(put, "header") do
    local ours = (xexpr.attr(x, "xmlns") or NS) == NS -- put is in that namespace, by its own xmlns or the slot's
    local size, why = 0, nil
    if ours then size, why = add_header(headers, x) end
    if not size then return nil, why end
    n, bytes = n + 1, bytes + size
    if n > MOST_HEADERS or bytes > MOST_BYTES then return nil, "header: more than 20, or than 4 KiB" end
  end
  return headers
end

-- https only; http only on this machine, and only if certificates aren't verified.
local function read_place(url, insecure)
  local place, why = places.read(url)
  if not place then return nil, why end
  if place.scheme == "https" or insecure and place.scheme == "http" and place.is_loopback then return place end
  return nil, "https expected"
end

-- Refuses private addresses except the XMPP server's own.
local function may_go(place, trust)
  if not place.is_private or trust.private then return true end
  return places.is_at(place, trust.address) or trust.insecure and place.is_loopback
end

--- Parses an answer.
---@param answer xmpp.Element|true
---@param stanza xmpp.Stanza
---@param trust { address: string?, insecure: boolean?, private: boolean? } address: of the XMPP server
---@return { put: string, get: string, headers: table<string, string> }?
---@return xmpp.Error?
function M.read(answer, stanza, trust)
  if answer == true or answer[1] ~= "slot" or xexpr.attr(answer, "xmlns") ~= NS then
    return iq.bad_format("slot: missing", stanza)
  end
  local put, get = xexpr.child(answer, "put", NS), xexpr.child(answer, "get", NS)
  local slot = { put = xexpr.attr(put, "url"), get = xexpr.attr(get, "url") }
  local place, why = read_place(slot.put, trust.insecure)
  if not place then return iq.bad_format("slot.put.url: " .. why, stanza) end
  if not may_go(place, trust) then
    return nil, core.error { layer = "http", condition = "forbidden-address", retry = false, stanza = stanza,
      text = ("%s would be uploaded to %s, which isn't public"):format("the file", core.shown(place.host)) }
  end
  local there
  there, why = read_place(slot.get, trust.insecure)
  if not there then return iq.bad_format("slot.get.url: " .. why, stanza) end
  slot.headers, why = read_headers(put)
  if not slot.headers then return iq.bad_format("slot.put." .. why, stanza) end
  return slot
end

--- The error for a file that is too large for the service.
---@param max number
---@return nil
---@return xmpp.Error
function M.too_large(max)
  return nil, core.error { layer = "stanza", condition = "not-acceptable", type = "modify", retry = false,
    app = "file-too-large", max = max, text = ("the service takes %.0f bytes at most"):format(max) }
end

--- Adds the details of a refusal (XEP-0363 6): err.max, or err.after, seconds since 1970.
---@param err xmpp.Error
---@return nil
---@return xmpp.Error
function M.refusal(err)
  local e = err.layer == "stanza" and err.stanza and xexpr.child(err.stanza, "error")
  local large, retry = xexpr.child(e or nil, "file-too-large", NS), xexpr.child(e or nil, "retry", NS)
  if large then
    err.app, err.max = "file-too-large", M.size(xexpr.text(large, "max-file-size", NS))
  elseif retry then
    err.app, err.after, err.retry = "retry", time.parse(xexpr.attr(retry, "stamp")), true
  end
  return nil, err
end

return M
