-- bounded: a map with at most `most` entries, which drops the least recently used ones: limits how much others can
-- make us remember. Used by chat.
--
--   local map = bounded.new(1000)
--   bounded.set(map, "bob@example.net", {})
--   print(bounded.get(map, "bob@example.net"))
--
-- Two generations: what is set or got is in the young one. When that has half of the allowed entries, the old one is
-- dropped and the young one becomes the old one. So each operation takes constant time, and an entry that is among the
-- `most` / 2 most recently used ones is always present.

local M = {}

---@param most integer how many entries (0: none are kept)
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
---@return any value nil: it isn't there, or was dropped
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

--- Calls f(key, value) for each entry, the old ones first, without changing their age.
---@param map table
---@param f fun(key: string, value: any)
function M.each(map, f)
  for key, value in pairs(map.old) do
    if map.young[key] == nil then f(key, value) end
  end
  for key, value in pairs(map.young) do f(key, value) end
end

return M
