-- upload: uploads files to the account's server (XEP-0363), and writes one URL a line; with --to they are sent there,
-- too.

local exit = require "xmpp.cmd.exit"

local M = {}

local function progress(ctx, path)
  return function(sent, size) ctx:progress(sent, size, "bytes of " .. path:match "[^/]*$") end
end

-- Sends a URL as a file (XEP-0066).
local function send(ctx, conn, to, url)
  return require "xmpp.cmd.send".deliver(ctx, conn, { "message", { to = to, id = require "xmpp".id(), type = "chat" },
    { "body", {}, url }, { "x", { xmlns = "jabber:x:oob" }, { "url", {}, url } } })
end

local function one(ctx, conn, path, to)
  local url, err = require "xmpp.upload".file(conn, path, { progress = progress(ctx, path), wait = ctx.timeout,
    random_name = not ctx.opts["keep-name"], type = ctx.opts.type, stall = ctx.timeout, resolve = ctx.opts.resolve })
  ctx:clear_progress()
  if not url then return nil, err end
  ctx:say(require "xmpp.cmd.escape".line(url), { { "type", "upload" }, { "file", path }, { "url", url }, { "to", to } })
  if to then return send(ctx, conn, to, url) end
  return true
end

function M.run(ctx)
  local to = ctx.opts.to and tostring(require "xmpp.cmd.input".address(ctx.opts.to))
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local failed, first = 0, nil
  for _, path in ipairs(ctx.args) do
    local ok, why = one(ctx, conn, path, to)
    if not ok then
      failed, first = failed + 1, first or why
      ctx:complain(path, why)
    end
  end
  if failed == 0 then return 0 end
  if failed == #ctx.args then return (exit.explain(first)) end
  return nil, exit.error("partly", "partly-done", ("%d of %d files were not uploaded or not sent"):format(failed,
    #ctx.args))
end

return M
