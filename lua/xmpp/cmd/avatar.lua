-- avatar: an account's picture (XEP-0084).

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"
local input = require "xmpp.cmd.input"

local M = {}

local MOST = 1024 * 1024

local words = {}

local function about(meta)
  local text = escape.line(meta.id) .. "  " .. escape.line(meta.type or "?")
  if meta.width and meta.height then text = ("%s  %dx%d"):format(text, meta.width, meta.height) end
  return text
end

function words.get(ctx, avatar, conn)
  local bytes, meta = avatar.get(conn, ctx.args[2], { vcard = true, timeout = ctx.timeout })
  if not bytes then return nil, meta end
  if ctx.json then
    ctx:say("", { { "type", "avatar" }, { "from", ctx.args[2] }, { "id", meta.id }, { "media_type", meta.type },
      { "bytes", #bytes }, { "width", meta.width }, { "height", meta.height },
      { "data", not ctx.opts.output and require "xmpp.load".base64(bytes) or nil } })
  end
  if ctx.opts.output then
    local ok, why = require "xmpp.cmd.file".write(ctx.world, ctx.opts.output, bytes)
    if not ok then
      return nil, exit.error("output", "unwritable", ("%s can't be written: %s"):format(ctx.opts.output, tostring(why)))
    end
    if not ctx.json then ctx:say(about(meta)) end
  elseif not ctx.json then
    ctx.world.out(bytes)
  end
  return 0
end

function words.set(ctx, avatar, conn)
  local id, err = avatar.set(conn, ctx.bytes, { type = ctx.opts.type, access = ctx.opts.access, max = MOST,
    timeout = ctx.timeout })
  if not id then return nil, err end
  ctx:say(id, { { "type", "avatar" }, { "id", id }, { "bytes", #ctx.bytes } })
  return 0
end

function words.clear(ctx, avatar, conn)
  local ok, err = avatar.clear(conn, { timeout = ctx.timeout })
  return ok and 0, err
end

function M.run(ctx)
  local word = ctx.args[1]
  if word == "get" and not ctx.opts.output and not ctx.json and ctx.world.is_tty(1) then
    exit.raise("usage", "binary", "a picture can't be shown on a terminal: use --output FILE, or > FILE")
  end
  if word == "get" and ctx.args[2] then input.address(ctx.args[2]) end
  if word == "set" then ctx.bytes = input.bytes(ctx, ctx.args[2], MOST) end
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local status, why = words[word](ctx, require "xmpp.avatar", conn)
  if not status then return nil, why end
  return status
end

return M
