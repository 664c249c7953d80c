-- blocking: the account's block list (XEP-0191), and reports to the server (XEP-0377).

local exit = require "xmpp.cmd.exit"

local M = {}

local words = {}

function words.list(ctx, conn)
  local list, err = require "xmpp.blocking".list(conn)
  if not list then return nil, err end
  for _, jid in ipairs(list) do ctx:say(ctx:name(jid), { { "type", "blocked" }, { "jid", jid } }) end
  return 0
end

-- The exit status: the server has confirmed the change, or returned an error.
local function done(ok, err)
  if not ok then return nil, err end
  return 0
end

function words.add(_, conn, jids) return done(require "xmpp.blocking".block(conn, jids)) end

function words.remove(ctx, conn, jids)
  if ctx.opts.all then return done(require "xmpp.blocking".unblock_all(conn)) end
  return done(require "xmpp.blocking".unblock(conn, jids))
end

function words.report(ctx, conn, jids)
  return done(require "xmpp.blocking".report(conn, jids[1], { text = ctx.args[3],
    reason = ctx.opts.abuse and "abuse" or "spam" }))
end

-- Parses the arguments that are addresses.
local function read(ctx, word)
  local jids = {}
  for i = 2, word == "report" and math.min(2, #ctx.args) or #ctx.args do
    jids[#jids + 1] = require "xmpp.cmd.input".address(ctx.args[i])
  end
  if (word == "list") ~= (#jids == 0) and not (word == "remove" and ctx.opts.all and #jids == 0) then
    exit.raise("usage", "missing", word == "list" and "usage: xmpp blocking list"
      or ("usage: xmpp blocking %s JID"):format(word))
  end
  return jids
end

function M.run(ctx)
  local word = ctx.args[1] or "list"
  local jids = read(ctx, word)
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  return words[word](ctx, conn, jids)
end

return M
