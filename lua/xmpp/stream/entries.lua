-- entries: what is in the streams, for this library and for whatever else reads and writes them:
--
--   in:N    v       "1"
--           key     by which the stream was chosen: a bare address
--           stanza  JSON, as xexpr.to_json has it: ["message",{"from":"a@b/c",...},["body",{},"Hi"]]
--   out:N   v       "1"
--           id      of this answer and no other; what has been sent under it within a day isn't sent again
--           stanza  as above
--   dead    stream, entry (its id there), why, deliveries, and then what the entry had
--
-- A received stanza is in its canonical form already, so it is written as it is; what comes out of Redis is looked at.

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local M = {}

local codec

local function load_json()
  local found, cjson = pcall(require, "cjson")
  if not found then return nil end
  codec = cjson.new()
  return codec
end

--- nil and an error: no lua-cjson.
---@return true?
---@return xmpp.Error?
function M.available()
  if codec or load_json() then return true end
  return nil, core.error { layer = "redis", condition = "no-json", retry = false,
    text = "xmpp.stream needs lua-cjson (apt-get install lua-cjson, luarocks install lua-cjson)" }
end

--- A stanza as it was received.
---@return string
function M.write(stanza) return codec.encode(stanza) end

local function fields_of(list)
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

--- An entry as the scripts give it: { id, { field, value, ... }, sent }, or { id, bytes } where there is too much of it.
---@return { id: string, key: string?, answer: string?, sent: boolean, stanza: xmpp.Element?, why: string? } why: no stanza
--- is in it
function M.read(raw)
  local entry = { id = raw[1], sent = raw[3] == 1 }
  if type(raw[2]) ~= "table" then
    entry.why = ("it has %d bytes, which is too much"):format(raw[2])
    return entry
  end
  local fields = fields_of(raw[2])
  entry.key, entry.answer = fields.key, fields.id
  if fields.v ~= "1" or not fields.stanza then
    entry.why = "it is no entry of this kind: the fields v = 1 and stanza are needed"
    return entry
  end
  local stanza, err = xexpr.from_json(fields.stanza)
  if stanza then
    local name = stanza[1]
    if name == "message" or name == "presence" or name == "iq" then entry.stanza = stanza
    else entry.why = "its element is no stanza" end
  else
    entry.why = err.text
  end
  return entry
end

local function failure(condition, text, retry)
  return core.error { layer = "redis", condition = condition, retry = retry, text = text }
end

function M.full(stream)
  return failure("full", ("%s: a stream that it leads to is full"):format(stream), true)
end

function M.gone(stream, id)
  return failure("deleted", ("%s: somebody has deleted the entry %s before it was done"):format(stream, id), false)
end

--- Is it an iq that must be answered?
function M.is_question(stanza)
  return stanza[1] == "iq" and (stanza[2].type == "get" or stanza[2].type == "set")
end

return M
