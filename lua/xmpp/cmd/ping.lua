-- ping: pings an address (XEP-0199), and shows how long that takes.

local M = {}

local function summary(ctx, whom, times, sent)
  if #times == 0 then return ctx:say(("%s: %d sent, 0 answered"):format(ctx:name(whom), sent)) end
  local least, most, sum = math.huge, 0, 0
  for _, t in ipairs(times) do least, most, sum = math.min(least, t), math.max(most, t), sum + t end
  ctx:say(("%s: %d sent, %d answered; least %.1f ms, mean %.1f ms, most %.1f ms"):format(ctx:name(whom), sent, #times,
    least * 1000, sum / #times * 1000, most * 1000))
end

function M.run(ctx)
  local info, xmpp = require "xmpp.info", require "xmpp"
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local whom, n = ctx.args[1] or conn:jid().domainpart, ctx.opts.count or 4
  local times, last, ticks = {}, nil, ctx.world.sys.ticks
  for i = 1, n do
    local began = ticks()
    local seconds, why = info.ping(conn, whom, ctx.timeout)
    seconds = seconds and ticks() - began
    if seconds then
      times[#times + 1] = seconds
      ctx:say(("%s: %.1f ms"):format(ctx:name(whom), seconds * 1000),
        { { "type", "ping" }, { "from", whom }, { "n", i }, { "seconds", seconds } })
    else
      last = why
      if n > 1 then ctx:complain(whom, why) end
    end
    if not seconds and why.layer ~= "timeout" then break end
    if i < n then xmpp.sleep(ctx.opts.interval or 1) end
  end
  if n > 1 and not ctx.json and not last then summary(ctx, whom, times, n) end
  if not last then return 0 end
  if n == 1 then return nil, last end
  return (require "xmpp.cmd.exit".explain(last))
end

return M
