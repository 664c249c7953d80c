-- Keeps track of the connections that a test has opened, and stops them.
--
--   local conn = opened.keep(assert(xmpp.connect_client(...)))
--   after_each(opened.stop_all)
local xmpp = require "xmpp"

local opened = {}
local open = {}

function opened.keep(conn)
  open[#open + 1] = conn
  return conn
end

-- Stops all at once: ejabberd takes a tenth of a second to end a stream.
function opened.stop_all()
  local stopping = #open
  for _, conn in ipairs(open) do
    xmpp.spawn(function()
      conn:stop()
      stopping = stopping - 1
    end)
  end
  open = {}
  opened.turn_until(function() return stopping == 0 end, "goodbyes")
end

-- Runs the loop until `is_so()` is true; raises if that takes too long even for a busy machine.
function opened.turn_until(is_so, what)
  local deadline = os.time() + 40
  while not is_so() do
    if os.time() > deadline then error("still waiting for " .. (what or "it"), 2) end
    xmpp.step(0.02)
  end
end

return opened
