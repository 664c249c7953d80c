-- saved: checks what conn:save() returned before it is trusted, since it may have been stored in a file.

local core = require "xmpp.load"
local options = require "xmpp.options"

local M = {}

local function is(kind)
  return function(v) return type(v) == kind, kind .. " expected, got " .. type(v) end
end

-- A text that a stanza can contain: it is sent, or passed to C, where it would end at a zero byte.
local function text(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  local ok, why = core.check_stanza { "message", { id = v } }
  return ok, why and why:gsub("^stanza%[2%]%.id: ", "")
end

local function one_of(...)
  local names, list = {}, table.concat({ ... }, ", ")
  for _, name in ipairs { ... } do names[name] = true end
  return function(v) return names[v] == true, ("one of %s expected, got %s"):format(list, core.shown(tostring(v))) end
end

local function count(most)
  return function(v)
    if type(v) ~= "number" then return false, "number expected, got " .. type(v) end
    return v >= 0 and v <= most and v % 1 == 0,
      ("whole number from 0 to %.0f expected, got %s"):format(most, tostring(v))
  end
end

local function maybe(check)
  return function(v)
    if v == nil then return true end
    return check(v)
  end
end

local function is_element(v)
  if type(v) ~= "string" then return false, "string expected, got " .. type(v) end
  return v:find "^<[mpi][erq].*>$" ~= nil, "a stanza's XML expected"
end

local function is_url(v) return options.url().check(v) end

local U32, MS = 4294967295, 2 ^ 53 -- limits of counters, and of milliseconds

local fields = { account = text, jid = text, id = text, location = maybe(text),
  user_agent = maybe(options.is_uuid), host = maybe(text), port = maybe(options.is_port),
  tls = maybe(one_of("starttls", "direct", "none")), url = maybe(is_url), proxy = maybe(options.is_proxy),
  max = count(U32), h = count(U32),
  clock = maybe(count(MS)), saved_at = maybe(count(MS)), boot = maybe(text),
  acked = count(U32), written = count(U32), stanzas = is "table", pending = is "table", queue = is "table" }

-- The fields of list entries. An entry of the queue is a stanza as a program gets it.
local entries = {
  stanzas = { xml = is_element, at = count(MS), age = maybe(count(MS)), number = maybe(count(MS)) },
  pending = { name = one_of("message", "presence", "iq"), id = text, to = maybe(text), from = maybe(text),
    number = maybe(count(MS)) },
  queue = { text, is "table" },
}

-- Flags of a saved stanza: see save.c.
local FLAGS = { "ours", "stamped", "request", "answer", "no_to", "foreign", "session" }
for _, flag in ipairs(FLAGS) do entries.stanzas[flag] = maybe(is "boolean") end

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

-- Two requests can't wait for the same response.
local function waits_twice(pending)
  local seen = {}
  for i, entry in ipairs(pending) do
    local first = seen[entry.id]
    if first then return ("pending[%d].id: the same as that of pending[%d]"):format(i, first) end
    seen[entry.id] = i
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
  return why or waits_twice(saved.pending)
end

-- Milliseconds since it was saved: by the monotonic clock, which processes share until the machine is restarted; after
-- that, and on another machine, by the wall clock.
local function since(saved)
  local ticks, wall, boot = core.clocks()
  if saved.clock and boot ~= "" and boot == saved.boot then return math.max(0, ticks - saved.clock) end
  return math.max(0, wall - (saved.saved_at or wall))
end

-- The stanzas to send, with their present age.
local function stanzas_of(saved)
  local _, wall = core.clocks()
  local elapsed, list = since(saved), {}
  for i, s in ipairs(saved.stanzas) do
    local age = s.age and s.age + elapsed or math.max(0, wall - s.at)
    list[i] = { xml = s.xml, age = math.floor(math.min(age, MS)) }
    for _, flag in ipairs(FLAGS) do list[i][flag] = s[flag] end
  end
  return list
end

-- The pending requests, with the numbers that the stanzas will have: their places in the list.
local function pending_of(saved)
  local places, list = {}, {}
  for i, s in ipairs(saved.stanzas) do places[s.number or false] = i end
  for i, p in ipairs(saved.pending) do
    list[i] = { name = p.name, id = p.id, to = p.to, from = p.from, seq = p.number and places[p.number] }
  end
  return list
end

-- The part that core.connect takes as the session, without the address.
function M.session(saved)
  local session = { stanzas = stanzas_of(saved), pending = pending_of(saved) }
  for _, name in ipairs { "id", "location", "max", "h", "acked", "written", "queue" } do
    session[name] = saved[name]
  end
  return session
end

return M
