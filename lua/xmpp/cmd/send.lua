-- send: sends messages, with a reliable status: 0 if the server has acknowledged all of them and none was returned.

local exit = require "xmpp.cmd.exit"

local M = {}

local MOST = 65536 -- bytes of a text
local MOST_RAW = 4 * 1024 * 1024
local RATE = 10 -- lines a second
local RECEIPTS, HINTS = "urn:xmpp:receipts", "urn:xmpp:hints"

-- Input

local function too_large()
  exit.raise("input", "too-large", ("the text is larger than %d KiB: put it into a file, and "
    .. "send that with `xmpp upload --to`"):format(MOST / 1024))
end

local function source(ctx)
  local path = ctx.opts.file
  if not path or path == "-" then
    if ctx.world.is_tty(0) then ctx:note "type what is to be sent, and then Ctrl-D" end
    return ctx.world.input
  end
  local fd, why = ctx.world.open(path)
  if not fd then exit.raise("input", "unreadable", ("%s can't be read: %s"):format(path, tostring(why))) end
  return require "xmpp.cmd.world".reader(fd)
end

-- Checks that a text can be sent: UTF-8 without control characters (RFC 6120 11.1).
local function checked(text)
  local ok, why = require "xmpp.load".check_stanza { "message", {}, { "body", {}, text } }
  if not ok then exit.raise("input", "not-text", "XMPP can't carry this text: " .. why) end
  return text
end

local function whole_text(ctx)
  local text = ctx.rest and table.concat(ctx.rest, " ")
  if not text then
    text = source(ctx):all(MOST)
    text = text and text:gsub("\r\n", "\n"):gsub("\n+$", "")
  end
  if not text or #text > MOST then too_large() end
  if text == "" then exit.raise("input", "empty", "there is nothing to send: the input is empty") end
  return checked(text)
end

local STANZAS = { message = true, presence = true, iq = true }

local function raw_stanzas(ctx)
  local text = ctx.rest and table.concat(ctx.rest, " ") or source(ctx):all(MOST_RAW)
  if not text then too_large() end
  local xexpr = require "xmpp.xexpr"
  local all, err = xexpr.from_xml("<all xmlns='jabber:client'>" .. text:gsub("^%s*<%?xml.-%?>", "") .. "</all>")
  if not all then exit.raise("input", "not-well-formed", "the input is not XML: " .. err.text) end
  local list = {}
  for x in xexpr.children(all) do
    if not STANZAS[x[1]] or x[2].xmlns then
      exit.raise("input", "no-stanza", ("message, presence or iq expected, got <%s/>"):format(x[1]))
    end
    list[#list + 1] = x
  end
  if #list == 0 then exit.raise("input", "empty", "there is nothing to send: the input has no stanza") end
  return list
end

-- Sending, and the fate of what was sent

-- A post: { to =, id =, stanza =, state = "sent"|"acked", err =, receipt = }
local function post(to, stanza)
  return { to = to, id = stanza[2].id, stanza = stanza }
end

local function message(ctx, to, text)
  local opts = ctx.opts
  local stanza = { "message", { to = to, id = require "xmpp".id(), type = opts.headline and "headline" or "chat" } }
  if opts.subject then stanza[#stanza + 1] = { "subject", {}, checked(opts.subject) } end
  stanza[#stanza + 1] = { "body", {}, text }
  if opts.wait == "receipt" then stanza[#stanza + 1] = { "request", { xmlns = RECEIPTS } } end
  if opts.headline then stanza[#stanza + 1] = { "no-store", { xmlns = HINTS } } end
  return post(to, stanza)
end

local function bare(jid)
  jid = jid and require "xmpp".jid(jid)
  return jid and tostring(jid:bare())
end

-- Is this address entitled to report the message's fate: its recipient, or a server on the way?
local function is_from(ctx, p, from)
  if from == nil then return true end
  local to, who = bare(p.to or ctx.bare), bare(from)
  if who == nil then return false end
  return who == to or who == (to or ""):match "[^@]*$" or who == ctx.bare:match "[^@]*$" or who == ctx.bare
end

-- Handles answers to posts, which are found by id. Returns a function that ends that.
local function listen(ctx, conn, by_id)
  local off = conn:tap(function(stanza)
    local p = by_id[stanza[2].id]
    if not p or not is_from(ctx, p, stanza[2].from) then return end
    p.err = p.err or select(2, require "xmpp.iq".failure(stanza))
    if ctx.changed then ctx.changed:resolve(true) end
  end, { type = "error" })
  if ctx.opts.wait ~= "receipt" then return off end
  conn:tap(function(stanza)
    local received = require "xmpp.xexpr".child(stanza, "received", RECEIPTS)
    local p = received and by_id[received[2].id]
    if not p or bare(stanza[2].from) ~= bare(p.to) then return end
    p.receipt = true
    if ctx.changed then ctx.changed:resolve(true) end
  end, { name = "message", has = RECEIPTS })
end

local function give(conn, p)
  local ok, err = conn:send(p.stanza, { on = function(state, why)
    if state == "acked" then p.acked = true elseif state == "failed" then p.err = p.err or why end
  end })
  if not ok then p.err = err end
end

-- Waits until the server has everything: it answers a request that was sent afterwards (in order, RFC 6120 10.1), so
-- that errors that it returns at once have arrived, too, and it acknowledges.
local function settle(ctx, conn, posts)
  local ok, err = conn:ping(ctx.timeout)
  local refused = not ok and err.layer == "stanza" -- a server that doesn't support pings has answered as well
  if ok or refused then ok, err = conn:flush(ctx.timeout) end
  if ok then return end
  for _, p in ipairs(posts) do
    if not p.acked then p.err = p.err or err end
  end
end

-- Waits until each of them has a receipt or an error.
local function wait_for_receipts(ctx, posts)
  local xmpp, core = require "xmpp", require "xmpp.load"
  local latest = core.now() + ctx.timeout
  for _, p in ipairs(posts) do
    while not p.receipt and not p.err do
      ctx.changed = xmpp.promise()
      local left = latest - core.now()
      if left <= 0 or not ctx.changed:wait(left) then
        p.err = exit.error("timeout", "no-receipt",
          ("the server has the message, but no client of %s has confirmed it within %g seconds"):format(p.to,
            ctx.timeout))
      end
    end
  end
end

local function report(ctx, posts)
  local failed, first = 0, nil
  for _, p in ipairs(posts) do
    if p.err then
      failed, first = failed + 1, first or p.err
    elseif ctx.json then
      ctx:say("", { { "type", "sent" }, { "to", p.to }, { "id", p.id }, { "receipt", p.receipt } })
    end
  end
  if failed == 0 then return 0 end
  for _, p in ipairs(posts) do
    if p.err then ctx:complain(p.to or ctx.bare, p.err) end
  end
  if failed == #posts then return (exit.explain(first)) end
  return nil, exit.error("partly", "partly-done", ("%d of %d messages have not arrived"):format(failed, #posts))
end

local function send_posts(ctx, posts)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local by_id = {}
  for _, p in ipairs(posts) do by_id[p.id] = p end
  listen(ctx, conn, by_id)
  for _, p in ipairs(posts) do give(conn, p) end
  settle(ctx, conn, posts)
  if ctx.opts.wait == "receipt" then wait_for_receipts(ctx, posts) end
  return report(ctx, posts)
end

--- Sends one stanza on an existing connection, and waits until the server has it; a stanza that is returned at once is
--- an error. For other subcommands.
---@param stanza xmpp.Stanza with an id
---@return true?
---@return xmpp.Error?
function M.deliver(ctx, conn, stanza)
  local p = post(stanza[2].to, stanza)
  local off = listen(ctx, conn, { [p.id] = p })
  give(conn, p)
  settle(ctx, conn, { p })
  off()
  if p.err then return nil, p.err end
  return true
end

-- Lines

local function next_line(input)
  local line = input:line(MOST)
  if line == false then too_large() end
  return line and line:gsub("\r$", "")
end

-- Sends lines as they are read, not faster than the rate.
local function send_lines(ctx)
  local xmpp, input = require "xmpp", source(ctx)
  local pause, posts, n = 1 / (ctx.opts.rate or RATE), {}, 0
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local by_id, line = {}, next_line(input)
  listen(ctx, conn, by_id)
  while line do
    if line ~= "" then
      for _, to in ipairs(ctx.args) do
        local p = message(ctx, to, checked(line))
        posts[#posts + 1], by_id[p.id] = p, p
        give(conn, p)
      end
      n = n + 1
      ctx:progress(n, nil, "lines sent")
      xmpp.sleep(pause)
    end
    while not input:ready() do xmpp.sleep(0.05) end
    line = next_line(input)
  end
  settle(ctx, conn, posts)
  return report(ctx, posts)
end

local function check_recipients(ctx)
  for i, to in ipairs(ctx.args) do ctx.args[i] = tostring(require "xmpp.cmd.input".address(to)) end
end

M.text = whole_text

function M.run(ctx)
  local opts = ctx.opts
  if #ctx.args == 0 and not opts.raw then exit.raise("usage", "no-recipient",
    "the recipient is missing; usage: xmpp send TO... [-- TEXT]") end
  check_recipients(ctx)
  if opts.raw then
    local posts = {}
    for i, stanza in ipairs(raw_stanzas(ctx)) do
      stanza[2].id = stanza[2].id or require "xmpp".id()
      posts[i] = post(stanza[2].to, stanza)
    end
    return send_posts(ctx, posts)
  end
  if opts.room then return require "xmpp.cmd.room".send(ctx, ctx.args, whole_text(ctx)) end
  if opts.lines then return send_lines(ctx) end
  local text, posts = whole_text(ctx), {}
  for i, to in ipairs(ctx.args) do posts[i] = message(ctx, to, text) end
  return send_posts(ctx, posts)
end

return M
