-- pager: an archive's pages in sequence (XEP-0059 2.2, 2.3), by the id of the last message and not by counts, so that
-- no message is skipped or repeated while others are added. One page is in memory at a time.
--
--   local pages = pager.new(function(set) return ask(set) end, { max = 50, after = id })
--   local page, err = pages:page()     -- nil: no more pages; nil, err: failed, the next call continues from here
--
-- It ends when the archive says so, at an empty page, and, with an error, if the archive's ids repeat.

local core = require "xmpp.load"
local iq = require "xmpp.iq"

local Pager = {}
Pager.__index = Pager

local M = {}

--- ask(set) returns a page and the number of results, or nil, err. o: max, after or before (backwards).
function M.new(ask, o)
  return setmetatable({ ask = ask, max = o.max, backwards = o.before ~= nil, id = o.before or o.after, steps = 0,
    power = 1 }, Pager)
end

-- Is that id a new one? One id is kept for comparison, and replaced after 1, 2, 4, 8... pages, so that a cycle of any
-- length is found in constant memory (Brent).
local function move(self, id)
  if id == self.id or id == self.mark then return false end
  self.id, self.steps = id, self.steps + 1
  if self.steps == self.power then self.mark, self.steps, self.power = id, 0, self.power * 2 end
  return true
end

--- The next page.
---@return table? page
---@return xmpp.Error?
function Pager:page()
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
  return iq.bad_format(("fin.set.%s: the archive's pages repeat"):format(key))
end

local function gone(id)
  return nil, core.error { layer = "stanza", condition = "item-not-found", type = "cancel", retry = false,
    text = ("the archive has no message %s"):format(core.shown(id)) }
end

-- No results after that message: is it the last one, or not in the archive? Archives that don't report the latter
-- (Prosody 13 returns an empty page for any id) would make it look as if nothing was missed. true: it is the last;
-- false: there are more now; nil, err: it isn't there.
local function is_last(page, id)
  local tail, err = page { max = 1, before = "" }
  if not tail then return nil, err end
  if tail.last == id then return true end
  local more, why = page { max = 1, after = id } -- a message may have arrived in the meantime
  if not more then return nil, why end
  if more.last then return false end
  return gone(id)
end

--- The pages after the id `since`; nil: from the beginning. If the archive doesn't have that id, this is an error
--- (item-not-found) even if the archive doesn't report one.
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
    pages = M.new(page, { max = max, after = since }) -- from there, now or in the next call
    if is == nil then return nil, why end
    found = true
    return pages:page()
  end
end

return M
