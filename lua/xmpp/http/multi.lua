-- multi: runs libcurl's transfers on the library's loop: watches its descriptors, provides its one timer, and reports
-- on each transfer to its owner. Required by xmpp.http alone.
--
--   local t, why = multi.begin({ url = ..., method = "GET", ... }, {
--     done = function(transfer) end,               -- finished; transfer:result() says how. It is closed after that
--     hungry = function() end,                     -- more of the body is needed: t.transfer:feed, then multi.look()
--     moved = function(sent, received) end,        -- number of bytes so far
--   })
--   multi.cancel(t)                                -- no more functions are called

local core = require "xmpp.load"
local load = require "xmpp.http.load"

local shared = core.shared

local M = {}

-- shared.http: { multi, active = { t = true }, watches = { fd = what core.watch returned }, timer }, while there is
-- one.

local act

local function cancel_all(d)
  for _, watch in pairs(d.watches) do
    if watch then watch:cancel() end
  end
  if d.timer then d.timer:cancel() end
  d.timer = false
end

-- Closes everything. If memory runs out in between, it is called again by whoever notices that it is closed.
local function close(d)
  if shared.http == d then shared.http = nil end
  cancel_all(d)
  d.multi:close()
end

local function watch_for(d, fd, events)
  if d.watches[fd] then d.watches[fd]:cancel() end
  d.watches[fd] = nil
  if events == "" then return end
  d.watches[fd] = false -- reserves the slot, so that the watch can't be lost if memory runs out
  d.watches[fd] = core.watch(fd, events, function(what) act(d, fd, what) end)
  if not d.watches[fd] then error("a descriptor of libcurl's can't be watched", 0) end
end

local function set_timer(d)
  local is_new, seconds = d.multi:timeout()
  if not is_new then return end
  if d.timer then d.timer:cancel() end
  d.timer = false
  if not seconds then return end
  d.timer = core.timer(seconds, function()
    d.timer = false
    act(d)
  end)
end

local function end_one(d, t)
  if not d.active[t] then return end
  d.active[t] = nil
  t.over = true
  t.calls.done(t.transfer)
  t.transfer:close()
end

local function tell(d, t)
  if not d.active[t] then return end
  local sent, received = t.transfer:moved()
  if sent ~= t.sent or received ~= t.received then
    t.sent, t.received = sent, received
    t.calls.moved(sent, received)
  end
  if not d.active[t] then return end
  local state = t.transfer:state()
  if state == "done" then return end_one(d, t) end
  if state ~= "hungry" or t.asked then return end
  t.asked = true
  t.calls.hungry()
end

local function listed(d)
  local list = {}
  for t in pairs(d.active) do list[#list + 1] = t end
  return list
end

local function look(d)
  for fd, events in function() return d.multi:change() end do watch_for(d, fd, events) end
  for _, t in ipairs(listed(d)) do tell(d, t) end
  for fd, events in function() return d.multi:change() end do watch_for(d, fd, events) end
  if next(d.active) then set_timer(d) elseif shared.http == d then close(d) end
end

-- A failure here means that memory or descriptors have run out: all transfers end.
local function give_up(d, why)
  close(d)
  for t in pairs(d.active) do t.fault = why end
  for _, t in ipairs(listed(d)) do pcall(end_one, d, t) end
end

local function checked(d)
  local ok, why = pcall(look, d)
  if not ok then give_up(d, why) end
end

function act(d, fd, what)
  if shared.http ~= d then return close(d) end
  local fine = d.multi:act(fd, what)
  checked(d)
  if not fine and shared.http == d then close(d) end
end

--- Does what libcurl has asked for; called after a feed.
function M.look()
  if shared.http then checked(shared.http) end
end

--- Continues the body of `t`; "": that was all.
function M.feed(t, bytes)
  if t.over then return end
  t.asked = false
  t.transfer:feed(bytes)
  M.look()
end

local function begin(request, calls)
  local http, why = load()
  if not http then return nil, why end
  local d = shared.http
  if not d then
    local m = http.multi()
    if not m then return nil, "not enough memory" end
    d = { multi = m, active = {}, watches = {}, timer = false }
    shared.http = d
  end
  local transfer
  transfer, why = d.multi:begin(request)
  if not transfer then return nil, why or "not enough memory" end
  local t = { transfer = transfer, calls = calls, sent = 0, received = 0, d = d, over = false, asked = false,
    fault = false }
  d.active[t] = true
  return t
end

--- Begins a transfer.
---@param request table see c/http/http.c
---@param calls { done: function, hungry: function, moved: function } which must neither throw nor wait
---@return table? t
---@return string? why
function M.begin(request, calls)
  local ok, t, why = pcall(begin, request, calls)
  M.look()
  if not ok then return nil, tostring(t) end
  return t, why
end

--- Ends a transfer without calling its functions.
function M.cancel(t)
  local d = t.d
  if t.over then return end
  t.over = true
  t.transfer:close()
  d.active[t] = nil
  if shared.http == d then checked(d) else close(d) end
end

return M
