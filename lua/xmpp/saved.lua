-- saved: what conn:save() gave, looked at before it is trusted: it has been on a journey through a file.

local M = {}

local function is(kind)
  return function(v) return type(v) == kind, kind .. " expected, got " .. type(v) end
end

local function maybe(kind)
  return function(v) return v == nil or type(v) == kind, kind .. " expected, got " .. type(v) end
end

local function count(most)
  return function(v)
    if type(v) ~= "number" then return false, "number expected, got " .. type(v) end
    return v >= 0 and v <= most and v % 1 == 0,
      ("whole number from 0 to %.0f expected, got %s"):format(most, tostring(v))
  end
end

local function is_element(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  return v:find "^<[mpi][erq].*>$" ~= nil, "a stanza's XML expected"
end

local U32 = 4294967295

local fields = { account = is "string", jid = is "string", id = is "string", location = maybe "string",
  host = maybe "string", port = maybe "number", tls = maybe "string", max = count(U32), h = count(U32),
  acked = count(U32), written = count(U32), stanzas = is "table", pending = is "table", queue = is "table" }

-- The fields of their entries. One of the queue is a stanza, as a program gets it.
local entries = {
  stanzas = { xml = is_element, at = count(2 ^ 53) },
  pending = { name = is "string", id = is "string", to = maybe "string", from = maybe "string" },
  queue = { is "string", is "table" },
}

local function check_fields(t, checks, path)
  for name, check in pairs(checks) do
    local ok, why = check(t[name])
    if not ok then return ("%s%s: %s"):format(path, type(name) == "number" and "[" .. name .. "]" or name, why) end
  end
end

local function check_entries(list, name)
  for i, entry in ipairs(list) do
    local at = ("%s[%d]"):format(name, i)
    if type(entry) ~= "table" then return at .. ": table expected, got " .. type(entry) end
    local why = check_fields(entry, entries[name], name == "queue" and at or at .. ".")
    if why then return why end
  end
end

-- What is wrong with the table, with the field's name; nil: nothing.
function M.fault(saved)
  if saved.version ~= 1 then
    return "version: saved by another version of this library, as version " .. tostring(saved.version)
  end
  local why = check_fields(saved, fields, "")
  for _, name in ipairs { "stanzas", "pending", "queue" } do
    why = why or check_entries(saved[name], name)
  end
  return why
end

-- What of it is the session's, as core.connect wants it, but for the address.
function M.session(saved)
  local session = {}
  for _, name in ipairs { "id", "location", "max", "h", "acked", "written", "stanzas", "pending", "queue" } do
    session[name] = saved[name]
  end
  return session
end

return M
