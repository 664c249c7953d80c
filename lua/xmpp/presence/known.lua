-- known: the presences of those addresses that somebody wants to keep, and of no others. Bare addresses and their
-- resources are prepared strings; "" stands for a sender without a resource, such as a gateway.
--
-- A server of RFC 6122 writes the address that we call "straße" as "strasse", and never the reverse (xmpp.spelling):
-- so an address is kept under both spellings.

local spelling = require "xmpp.spelling"

local M = {}

-- Calls f(name) for each spelling under which that address may appear.
local function each_name(bare, f)
  local folded = spelling.key(bare)
  f(bare)
  if folded ~= bare then f(folded) end
end

--- most: resources kept for each bare address.
function M.new(most)
  return { by = {}, wanted = {}, wants = {}, directed = {}, directed_n = 0, most = most }
end

--- Are presences of this address kept?
function M.wants(known, bare)
  if bare == known.own or known.wanted[bare] or known.directed[bare] then return true end
  for _, f in ipairs(known.wants) do
    if f(bare) == true then return true end
  end
  return false
end

--- Discards the presences of an address, unless somebody wants them kept.
function M.forget(known, bare)
  if not M.wants(known, bare) then known.by[bare] = nil end
end

-- The same for all addresses.
local function forget_unwanted(known)
  local gone = {}
  for bare in pairs(known.by) do
    if not M.wants(known, bare) then gone[#gone + 1] = bare end
  end
  for _, bare in ipairs(gone) do known.by[bare] = nil end
end

--- Keeps an address; may be called several times for one. Returns a function that ends that.
function M.want(known, bare)
  local ended, wanted = false, known.wanted
  each_name(bare, function(name) wanted[name] = (wanted[name] or 0) + 1 end)
  return function()
    if ended then return false end
    ended = true
    each_name(bare, function(name)
      wanted[name] = wanted[name] > 1 and wanted[name] - 1 or nil
      M.forget(known, name)
    end)
    return true
  end
end

--- Keeps the addresses for which f(bare) is true.
function M.want_by(known, f)
  local list = known.wants
  list[#list + 1] = f
  return function()
    for i, other in ipairs(list) do
      if other == f then
        table.remove(list, i)
        forget_unwanted(known)
        return true
      end
    end
    return false
  end
end

--- Keeps an address to which we have sent a directed presence, for this session; no more than `most` of them.
function M.direct(known, bare, most)
  local directed = known.directed
  if directed[bare] == bare or known.directed_n >= most then return end
  known.directed_n = known.directed_n + 1
  each_name(bare, function(name) directed[name] = directed[name] or bare end)
  directed[bare] = bare
end

function M.undirect(known, bare)
  local directed = known.directed
  if directed[bare] ~= bare then return end
  known.directed_n = known.directed_n - 1
  each_name(bare, function(name)
    if directed[name] == bare then directed[name] = nil end
    M.forget(known, name)
  end)
end

--- The available resources of an address; nil: none.
function M.of(known, bare)
  return known.by[bare] or known.by[spelling.key(bare)]
end

--- Discards all presences, and to whom we have sent directed ones. Returns whether there were any.
function M.clear(known)
  local some = next(known.by) ~= nil
  known.by, known.directed, known.directed_n = {}, {}, 0
  return some
end

local function count(resources)
  local n = 0
  for _ in pairs(resources) do n = n + 1 end
  return n
end

local function put(known, bare, resource, p)
  local resources = known.by[bare]
  if not resources then
    if known.most > 0 then known.by[bare] = { [resource] = p } end
    return known.most > 0
  end
  if not resources[resource] and count(resources) >= known.most then return false end
  resources[resource] = p
  return true
end

-- A presence without a resource is about all of them (RFC 6121 4.5.4: the last one has gone). Returns whether one was
-- there.
local function take_away(known, bare, resource)
  local resources = known.by[bare]
  if not resources then return false end
  if resource == "" then
    known.by[bare] = nil
    return true
  end
  local was = resources[resource] ~= nil
  resources[resource] = nil
  if not next(resources) then known.by[bare] = nil end
  return was
end

--- Stores a presence of a kept address. Returns whether to report it: if it is kept, or replaces one that was. An
--- error is always reported: a presence of ours was returned.
---@param known table
---@param bare string
---@param resource string
---@param p xmpp.Presence
---@return boolean
function M.note(known, bare, resource, p)
  if p.type == nil then return put(known, bare, resource, p) end
  return take_away(known, bare, resource) or p.type == "error"
end

--- Plain data for `save`.
function M.save(known) return known.by end

local function is_presence(p)
  return type(p) == "table" and type(p.since) == "number" and type(p.priority) == "number"
end

--- Loads what `save` returned; ignores invalid data.
function M.load(known, saved)
  for bare, resources in pairs(type(saved) == "table" and saved or {}) do
    for resource, p in pairs(type(resources) == "table" and resources or {}) do
      if type(bare) == "string" and type(resource) == "string" and is_presence(p) then put(known, bare, resource, p) end
    end
  end
end

return M
