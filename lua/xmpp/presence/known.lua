-- known: who of whom is there: the presences of those addresses that somebody wants to have kept, and of nobody else's.
-- Bare addresses and their resources are prepared strings; "" stands for a sender that has no resource, a gateway.

local M = {}

--- most: resources kept of a bare address.
function M.new(most)
  return { by = {}, wanted = {}, wants = {}, directed = {}, directed_n = 0, most = most }
end

--- Is the address one whose presences are kept?
function M.wants(known, bare)
  if bare == known.own or known.wanted[bare] or known.directed[bare] then return true end
  for _, f in ipairs(known.wants) do
    if f(bare) == true then return true end
  end
  return false
end

--- Drops what is known of an address, if nobody wants it kept.
function M.forget(known, bare)
  if not M.wants(known, bare) then known.by[bare] = nil end
end

-- Of all addresses.
local function forget_unwanted(known)
  local gone = {}
  for bare in pairs(known.by) do
    if not M.wants(known, bare) then gone[#gone + 1] = bare end
  end
  for _, bare in ipairs(gone) do known.by[bare] = nil end
end

--- Wants an address kept; several may. Gives what ends that.
function M.want(known, bare)
  known.wanted[bare] = (known.wanted[bare] or 0) + 1
  local ended = false
  return function()
    if ended then return false end
    ended = true
    known.wanted[bare] = known.wanted[bare] > 1 and known.wanted[bare] - 1 or nil
    M.forget(known, bare)
    return true
  end
end

--- Wants those kept for which f(bare) is true.
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

--- Those whom we have told that we are there, for as long as this session lasts; no more than `most` of them.
function M.direct(known, bare, most)
  if known.directed[bare] or known.directed_n >= most then return end
  known.directed[bare], known.directed_n = true, known.directed_n + 1
end

function M.undirect(known, bare)
  if not known.directed[bare] then return end
  known.directed[bare], known.directed_n = nil, known.directed_n - 1
  M.forget(known, bare)
end

--- Forgets everybody who is there, and whom we have told. Was anybody?
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
  local resources = known.by[bare] or {}
  if not resources[resource] and count(resources) >= known.most then return false end
  resources[resource], known.by[bare] = p, resources
  return true
end

-- Of a sender without resource it is about all of them (RFC 6121 4.5.4: the last has gone). Was one there?
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

--- Notes a presence of an address that is wanted. Is it news: of one that is kept, or of one that was? An error always
--- is: something of ours came back.
---@param known table
---@param bare string
---@param resource string
---@param p xmpp.Presence
---@return boolean
function M.note(known, bare, resource, p)
  if p.type == nil then return put(known, bare, resource, p) end
  return take_away(known, bare, resource) or p.type == "error"
end

--- For `save`: plain data.
function M.save(known) return known.by end

local function is_presence(p)
  return type(p) == "table" and type(p.jid) == "string" and type(p.since) == "number" and type(p.priority) == "number"
end

--- What `save` gave; what isn't shaped like it is left out.
function M.load(known, saved)
  for bare, resources in pairs(type(saved) == "table" and saved or {}) do
    for resource, p in pairs(type(resources) == "table" and resources or {}) do
      if type(bare) == "string" and type(resource) == "string" and is_presence(p) then put(known, bare, resource, p) end
    end
  end
end

return M
