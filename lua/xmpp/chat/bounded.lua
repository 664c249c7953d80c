-- bounded: a map that forgets. It has `most` entries at most, and those that were used last stay: what others make us
-- remember has an end. Used by what chat remembers of others.
--
--   local map = bounded.new(1000)
--   bounded.set(map, "bob@example.net", {})
--   print(bounded.get(map, "bob@example.net"))
--
-- Two generations: what is set or got is in the young one; when that is half as large as the whole may be, the old one
-- is forgotten and the young one is old. So each operation costs the same, however many entries there are, and one that
-- is among the last `most` / 2 that were used is always there.

local M = {}

---@param most integer how many (0: none are kept)
---@return table map
function M.new(most)
  return { most = math.floor(most / 2 + 0.5), n = 0, young = {}, old = {} }
end

---@param map table
---@param key string
---@param value any not nil
function M.set(map, key, value)
  if map.most == 0 then return end
  if map.young[key] == nil then
    if map.n >= map.most then map.old, map.young, map.n = map.young, {}, 0 end
    map.n = map.n + 1
  end
  map.young[key] = value
end

---@param map table
---@param key string
---@return any value nil: it isn't there, or not any more
function M.get(map, key)
  local value = map.young[key]
  if value ~= nil then return value end
  value = map.old[key]
  if value ~= nil then
    map.old[key] = nil
    M.set(map, key, value)
  end
  return value
end

--- Without making anything young: f(key, value) for each, the old ones first.
---@param map table
---@param f fun(key: string, value: any)
function M.each(map, f)
  for key, value in pairs(map.old) do
    if map.young[key] == nil then f(key, value) end
  end
  for key, value in pairs(map.young) do f(key, value) end
end

return M
