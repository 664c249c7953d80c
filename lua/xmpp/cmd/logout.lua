-- logout: revokes the token that was stored for an account (XEP-0484), and removes it from this machine.

local config = require "xmpp.cmd.config"

local M = {}

local WORDS = { forgotten = "the server has forgotten the token", none = "there is no token",
  refused = "the server had forgotten the token already" }

function M.run(ctx)
  local account = config.account(ctx.world, ctx.args[1] or ctx.opts.account)
  local session, tokens = require "xmpp.cmd.session", require "xmpp.cmd.token"
  local bare, was = session.bare(account), "none"
  local token = account.name and tokens.find(ctx, account, bare)
  if token then
    if ctx.watch then ctx.watch() end
    local ok, what = require "xmpp".logout(token, session.options(ctx, account))
    if not ok then return nil, what end
    was = what or "forgotten"
  end
  if account.name then tokens.drop(ctx, account) end
  ctx:say(("%s: %s"):format(ctx:name(bare), WORDS[was]), { { "type", "account" }, { "name", account.name },
    { "jid", bare }, { "token", was } })
  return 0
end

return M
