-- upload: files to where the account's server lets them be (XEP-0363): a URL a line; with --to they are sent there,
-- too.

local exit = require "xmpp.cmd.exit"

local M = {}

local function progress(ctx, path)
  return function(sent, size) ctx:progress(sent, size, "bytes of " .. path:match "[^/]*$") end
end

local function address(ctx)
  if not ctx.opts.to then return nil end
  local jid, err = require "xmpp".jid(ctx.opts.to)
  if jid then return tostring(jid) end
  exit.raise("usage", "jid-malformed", ("'%s' is no address: %s"):format(ctx.opts.to, err.text))
end

-- As a file (XEP-0066), and waits until the server has it.
local function send(ctx, conn, to, url)
  local xmpp = require "xmpp"
  local done = xmpp.promise()
  local ok, err = conn:send({ "message", { to = to, id = xmpp.id(), type = "chat" }, { "body", {}, url },
    { "x", { xmlns = "jabber:x:oob" }, { "url", {}, url } } }, { on = function(state, why)
    if state == "acked" then done:resolve(true) elseif state == "failed" then done:reject(why) end
  end })
  if not ok then return nil, err end
  ok, err = conn:ping(ctx.timeout) -- what is answered is behind the message
  if ok or err.layer == "stanza" then
    ok, err = conn:flush(ctx.timeout)
    if ok then return true end
  end
  return nil, err
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
  local to = address(ctx)
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
  return nil, exit.error("partly", "partly-done", ("%d of %d files are not there"):format(failed, #ctx.args))
end

return M
