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
-- A received stanza is in canonical form already, so it is written as it is. What comes out of Redis, and what a
-- handler returns, is checked by the core as everything that is sent, and then made canonical.

local core = require "xmpp.load"
local M = {}


local codec

local function load_json()
  local found, cjson = pcall(require, "cjson")
  if not found then return nil end
  codec = cjson.new()
  codec.decode_invalid_numbers(false)
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

--- A stanza in its canonical form, as a text.
---@return string
function M.write(stanza) return codec.encode(stanza) end

local function text_of(v)
  if type(v) == "string" then return v end
  return type(v) == "number" and core.number_text(v) or tostring(v)
end

local function attributes_of(given, inherited)
  local out = {}
  for name, v in pairs(given) do out[name] = text_of(v) end
  if out.xmlns == inherited then out.xmlns = nil end
  return out
end

-- The next functions are called with elements that the core has found to be well-formed: is this one canonical, as
-- those that we have written are? And its canonical form.

local function are_normal(attributes, inherited)
  if type(attributes) ~= "table" or attributes[1] ~= nil then return false end
  for _, v in pairs(attributes) do
    if type(v) ~= "string" then return false end
  end
  return attributes.xmlns ~= inherited
end

local function is_normal(x, inherited)
  if not are_normal(x[2], inherited) then return false end
  local own, was = x[2].xmlns or inherited, nil
  for i = 3, #x do
    local v = x[i]
    local kind = type(v)
    if kind == "table" then
      if not is_normal(v, own) then return false end
    elseif kind ~= "string" or v == "" or was == "string" then
      return false
    end
    was = kind
  end
  return true
end

local function normal(x, inherited)
  local second = x[2]
  local has_attributes = type(second) == "table" and second[1] == nil
  local out = { x[1], attributes_of(has_attributes and second or {}, inherited) }
  local own = out[2].xmlns or inherited
  for i = has_attributes and 3 or 2, #x do
    local v, n = x[i], #out
    if type(v) == "table" then out[n + 1] = normal(v, own)
    elseif n > 2 and type(out[n]) == "string" then out[n] = out[n] .. text_of(v)
    elseif v ~= "" then out[n + 1] = text_of(v) end
  end
  return out
end

--- The canonical form; nil and why it is no stanza.
---@param x any
---@return xmpp.Element?
---@return string? why
function M.canonical(x)
  local ok, why = core.check_stanza(x)
  if not ok then return nil, why end
  return is_normal(x, "jabber:client") and x or normal(x, "jabber:client")
end

local function read_json(text)
  local ok, value = pcall(codec.decode, text)
  if ok then return M.canonical(value) end
  return nil, "no JSON: " .. tostring(value)
end

local HEX = ("%02x"):rep(16)

--- A name of 32 hexadecimal digits for some text.
---@param text string
---@return string
function M.digest(text) return HEX:format(core.hash("sha-256", text):byte(1, 16)) end

local function fields_of(list)
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

--- Reads an entry as the scripts return it: { id, { field, value, ... }, sent }, or { id, bytes } if it is too large.
---@return { id: string, key: string?, answer: string?, sent: boolean, stanza: xmpp.Element?, why: string? } entry why:
--- the reason if there is no stanza in it
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
  entry.stanza, entry.why = read_json(fields.stanza)
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
