-- version: the software that an address runs (XEP-0092).

local escape = require "xmpp.cmd.escape"

local M = {}

function M.run(ctx)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local whom = ctx.args[1] or conn:jid().domainpart
  local version, why = require "xmpp.info".version(conn, whom)
  if not version then return nil, why end
  local text = escape.line(version.name) .. " " .. escape.line(version.version)
  if version.os then text = text .. " on " .. escape.line(version.os) end
  ctx:say(("%s: %s"):format(ctx:name(whom), text), { { "type", "version" }, { "from", whom }, { "name", version.name },
    { "version", version.version }, { "os", version.os } })
  return 0
end

return M
