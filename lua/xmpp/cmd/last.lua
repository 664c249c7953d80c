-- last: since when an address has been idle (a client), offline (an account) or up (a server): XEP-0012 has one
-- request for all three.

local M = {}

local UNITS = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } }

local function span(seconds)
  local out = {}
  for _, unit in ipairs(UNITS) do
    local n = math.floor(seconds / unit[1])
    if n > 0 or unit[1] == 1 and #out == 0 then out[#out + 1] = n .. unit[2] end
    seconds = seconds - n * unit[1]
    if #out == 2 then break end
  end
  return table.concat(out, " ")
end

function M.run(ctx)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local whom = ctx.args[1] or conn:jid().domainpart
  local last, why = require "xmpp.info".last(conn, whom)
  if not last then return nil, why end
  local jid = require "xmpp".jid(whom)
  local what = jid and jid.resourcepart and "idle for" or jid and jid.localpart and "away for" or "up for"
  local text = ("%s: %s %s"):format(ctx:name(whom), what, span(last.seconds))
  if last.text then text = text .. ", " .. require "xmpp.cmd.escape".line(last.text) end
  ctx:say(text, { { "type", "last" }, { "from", whom }, { "seconds", last.seconds }, { "status", last.text } })
  return 0
end

return M
