-- completion: writes the completion script for bash, zsh or fish, from spec.lua.

local M = {}

function M.run(ctx)
  ctx.world.out(require "xmpp.cmd.complete"[ctx.args[1]](require "xmpp.cmd.spec"))
  return 0
end

return M
