-- json: writes objects as one line of JSON (RFC 8259), with their keys in the given order. It only writes what the
-- command needs, so it needs no package.

local M = {}

local ESCAPED = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t" }

local function escaped(c) return ESCAPED[c] or ("\\u%04x"):format(c:byte()) end

local encode

local function text(s) return '"' .. s:gsub('[%z\1-\31"\\\127]', escaped) .. '"' end

local function number(n)
  if n % 1 == 0 and n > -2 ^ 53 and n < 2 ^ 53 then return ("%.0f"):format(n) end
  return (("%.6f"):format(n):gsub("0+$", ""):gsub(",", "."))
end

local function list(t)
  local out = {}
  for i, v in ipairs(t) do out[i] = encode(v) end
  return "[" .. table.concat(out, ",") .. "]"
end

local function object(t)
  local out, keys = {}, {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do out[i] = text(key) .. ":" .. encode(t[key]) end
  return "{" .. table.concat(out, ",") .. "}"
end

function encode(v)
  local kind = type(v)
  if kind == "string" then return text(v) end
  if kind == "number" then return (v ~= v or v == math.huge or v == -math.huge) and "null" or number(v) end
  if kind ~= "table" then return kind == "boolean" and tostring(v) or "null" end
  if v[1] ~= nil or next(v) == nil then return list(v) end
  return object(v)
end

M.encode = encode

--- An object from pairs in order: M.line { { "type", "message" }, { "id", nil } }; pairs without a value are left out.
---@param pairs_ { [1]: string, [2]: any }[]
---@return string including its line break
function M.line(pairs_)
  local out = {}
  for _, pair in ipairs(pairs_) do
    if pair[2] ~= nil then out[#out + 1] = text(pair[1]) .. ":" .. encode(pair[2]) end
  end
  return "{" .. table.concat(out, ",") .. "}\n"
end

return M
