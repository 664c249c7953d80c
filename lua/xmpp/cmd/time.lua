-- time: the time at an address (XEP-0202), and how far it differs from ours.

local M = {}

local function offset(seconds)
  local minutes = math.floor(math.abs(seconds) / 60)
  return ("%s%02d:%02d"):format(seconds < 0 and "-" or "+", math.floor(minutes / 60), minutes % 60)
end

function M.run(ctx)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local clock, whom = require "xmpp.cmd.clock", ctx.args[1]
  local began = clock()
  local time, why = require "xmpp.info".time(conn, whom)
  if not time then return nil, why end
  local apart = time.utc - (began + clock()) / 2
  local stamp = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(time.utc))
  ctx:say(("%s: %s (%s there), %+.1f s from here"):format(ctx:name(whom), stamp, offset(time.offset), apart),
    { { "type", "time" }, { "from", whom }, { "utc", stamp }, { "offset", time.offset }, { "apart", apart } })
  return 0
end

return M
