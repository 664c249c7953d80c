-- walk: an archive's pages, one behind the other (XEP-0059 2.2, 2.3), by the id of the last message and not by counts,
-- so that none is left out or comes twice while others are added. One page is in memory at a time.
--
--   local pages = walk.new(function(set) return ask(set) end, { max = 50, after = id })
--   local page, err = pages:page()     -- nil: there are no more; nil, err: it goes on from here by the next call
--
-- It ends where the archive says so, at an empty page, and, as a fault of the archive's, where ids come round again.

local core = require "xmpp.load"
local iq = require "xmpp.iq"

local Walk = {}
Walk.__index = Walk

local M = {}

--- ask(set) gives a page and how many results there were, or nil, err. o: max, after or before (backwards).
function M.new(ask, o)
  return setmetatable({ ask = ask, max = o.max, backwards = o.before ~= nil, id = o.before or o.after, steps = 0,
    power = 1 }, Walk)
end

-- Is that id another one than before? One is kept for comparison, and replaced after 1, 2, 4, 8... pages, so that a
-- circle of any length is found and nothing grows (Brent).
local function move(self, id)
  if id == self.id or id == self.mark then return false end
  self.id, self.steps = id, self.steps + 1
  if self.steps == self.power then self.mark, self.steps, self.power = id, 0, self.power * 2 end
  return true
end

--- The next page.
---@return table? page
---@return xmpp.Error?
function Walk:page()
  if self.is_over then return nil end
  local set = { max = self.max, after = not self.backwards and self.id or nil,
    before = self.backwards and self.id or nil }
  local page, n = self.ask(set)
  if not page then return nil, n end
  if page.complete or n == 0 then
    self.is_over = true
    return page
  end
  local key = self.backwards and "first" or "last"
  if page[key] and move(self, page[key]) then return page end
  self.is_over = true
  return iq.bad_format(("fin.set.%s: it doesn't move, the archive's pages turn in a circle"):format(key))
end

local function gone(id)
  return nil, core.error { layer = "stanza", condition = "item-not-found", type = "cancel", retry = false,
    text = ("the archive has no message %s"):format(core.shown(id)) }
end

-- Nothing is behind that message: because it is the last one, or because it isn't there? Archives that don't say so
-- (Prosody 13 has an empty page for any id) would have it that nothing was missed. true: it is; false: there is more
-- now; nil, err: it isn't there.
local function is_last(page, id)
  local tail, err = page { max = 1, before = "" }
  if not tail then return nil, err end
  if tail.last == id then return true end
  local more, why = page { max = 1, after = id } -- somebody may have said something meanwhile
  if not more then return nil, why end
  if more.last then return false end
  return gone(id)
end

--- The pages behind `since`, if it is an id that is there; nil: from the beginning. Not being there is an error, as
--- item-not-found, even if the archive says nothing.
---@return fun(): table?, xmpp.Error?
function M.since(page, since, max)
  local found
  local pages = M.new(page, { max = max, after = since })
  return function()
    local more, err = pages:page()
    if not more or found or more.last or not since then
      found = found or more
      return more, err
    end
    local is, why = is_last(page, since)
    if is then return more end
    pages = M.new(page, { max = max, after = since }) -- from there, now or by the next call
    if is == nil then return nil, why end
    found = true
    return pages:page()
  end
end

return M
