-- archive: exports messages of the account's archive or a room's (XEP-0313), page by page.

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"

local M = {}

local PAGE = 100
local MOST_STATE = 4096 -- bytes
local UNITS = { s = 1, m = 60, h = 3600, d = 86400 }

-- Seconds since 1970; raises an error if the option isn't a valid time.
local function time_of(ctx, name)
  local text = ctx.opts[name]
  if not text then return nil end
  local n, unit = text:match "^(%d+)([smhd])$"
  if n and #n < 10 then return require "xmpp.cmd.clock"() - tonumber(n) * UNITS[unit] end
  local at = require "xmpp.time".parse(text:find "^%d%d%d%d%-%d%d%-%d%d$" and text .. "T00:00:00Z" or text)
  if at then return at end
  exit.raise("usage", "bad-time", ("--%s: '%s' is not a time; write 2026-11-28, 2026-11-28T22:00:00Z, or 7d")
    :format(name, text))
end

local function address(ctx, name)
  local text = ctx.opts[name]
  if not text then return nil end
  local jid, why = require "xmpp".jid(text)
  if not jid then exit.raise("usage", "jid-malformed", ("--%s: %s"):format(name, why.text)) end
  return tostring(jid)
end

-- The state file of --resume: the scope of the query, and the id of the last exported message, one line each.

-- The scope of a query: its state is useless for another one.
local function scope_of(ctx, query)
  return ("%s %s"):format(query.of or ctx.bare, query.with or "")
end

local function read_state(ctx, scope)
  local path = ctx.opts.resume
  local text = path and require "xmpp.cmd.config".read(ctx.world, path, MOST_STATE)
  if not text then return nil end
  local its, id = text:match "^(.-)\n(.+)\n$"
  if not its then exit.raise("input", "malformed", ("%s is not a state file of this command"):format(path)) end
  if its ~= scope then
    exit.raise("input", "another", ("%s belongs to another export (%s)"):format(path, escape.line(its)))
  end
  return id
end

local function write_state(ctx, scope, id)
  if not ctx.opts.resume or not id then return end
  local ok, why = require "xmpp.cmd.file".write(ctx.world, ctx.opts.resume, ("%s\n%s\n"):format(scope, id))
  if not ok then exit.raise("output", "failed", ("%s can't be written: %s"):format(ctx.opts.resume, tostring(why))) end
end

-- Output

local write = {}

local function stamp(m) return m.stamp and require "xmpp.time".format(math.floor(m.stamp)) end

function write.text(ctx, m)
  local time = stamp(m) or "-"
  local who = m.nick or m.from
  local to = m.direction == "out" and not m.nick and " to " .. ctx:name(m.peer) or ""
  return ("%s %s%s: %s\n"):format(ctx:ink("2", time), ctx:name(who), to, escape.lines(m.text, (" "):rep(9)))
end

function write.jsonl(_, m)
  return require "xmpp.cmd.json".line { { "type", "archived" }, { "archive", m.by }, { "archive_id", m.archive_id },
    { "time", stamp(m) }, { "from", m.from }, { "to", m.to }, { "nick", m.nick }, { "id", m.id }, { "kind", m.type },
    { "subject", m.subject }, { "body", m.text }, { "own", m.own == true or m.direction == "out" } }
end

function write.xml(_, m)
  local at = m.stamp and require "xmpp.time".format(m.stamp)
  return require "xmpp".xexpr.to_xml { "forwarded", { xmlns = "urn:xmpp:forward:0" },
    { "delay", { xmlns = "urn:xmpp:delay", stamp = at } }, m.stanza } .. "\n"
end

-- The subcommand

local words = {}

-- Explains the error for an id that has expired (XEP-0059 2.2).
local function failed(ctx, err)
  if err.condition ~= "item-not-found" or not ctx.opts.resume then return nil, err end
  return nil, exit.error("partly", "item-not-found", ("the archive no longer has the message that %s names, so what "
    .. "was said since isn't all known; remove the file to begin anew"):format(ctx.opts.resume))
end

function words.export(ctx)
  local format = ctx.opts.format or ctx.json and "jsonl" or "text"
  local query = { of = address(ctx, "room"), with = address(ctx, "with"), from = time_of(ctx, "since"),
    to = time_of(ctx, "until"), max = PAGE, timeout = ctx.timeout, all = format == "xml" or nil }
  local conn, err = ctx:connect { reconnect = true }
  if not conn then return nil, err end
  local scope, n = scope_of(ctx, query), 0
  query.since = read_state(ctx, scope)
  local next_page = require "xmpp.archive".pages(conn, query)
  while true do
    local page, why = next_page()
    if not page then
      if why then return failed(ctx, why) end
      return 0
    end
    for _, m in ipairs(page) do
      if not ctx.quiet then ctx.world.out(write[format](ctx, m)) end
    end
    n = n + #page
    write_state(ctx, scope, page.last)
    ctx:progress(n, page.count, "messages")
  end
end

function M.run(ctx)
  local f = words[ctx.args[1]]
  if not f then exit.raise("usage", "unknown", "usage: xmpp archive export") end
  return f(ctx)
end

return M
