-- contacts: caches the addresses in the roster for the completions of shells, only for accounts that have `cache =
-- true` in the configuration. `xmpp roster list` and `xmpp listen` write the cache, which only its owner can read; the
-- completions read it by `xmpp contacts`, which is in neither help nor manual.

local config = require "xmpp.cmd.config"

local M = {}

local MOST = 1048576 -- bytes

--- The path of an account's cache; nil: there is no home.
---@param account table see config.account
---@return string? path
---@return string? folder
function M.path(world, account)
  local folder = config.folder(world, "XDG_CACHE_HOME", "/.cache")
  return folder and ("%s/%s.contacts"):format(folder, account.name), folder
end

--- Stores the addresses of a roster, if the account wants that. A failure is only noted.
---@param ctx table
---@param roster table see xmpp.roster
function M.keep(ctx, roster)
  local account, world = ctx.account, ctx.world
  local path, folder = M.path(world, account)
  if not account.cache or not path then return end
  local jids = {}
  for jid in pairs(roster.items) do jids[#jids + 1] = jid end
  table.sort(jids)
  local text = table.concat(jids, "\n") .. "\n"
  if #text > MOST then return end
  local file = require "xmpp.cmd.file"
  local ok, why = file.make_folder(world, folder)
  if ok then ok, why = file.write(world, path, text) end
  if not ok then ctx:note(("the contacts can't be kept in %s: %s"):format(path, tostring(why))) end
end

-- Shells evaluate completions, and a contact's address may look like a command: so only addresses without characters
-- that are special to a shell are written.
local function is_plain(jid)
  return jid:find "^[%w_\128-\255][%w._+=@\128-\255-]*$" ~= nil and require "xmpp.cmd.escape".line(jid) == jid
end

function M.run(ctx)
  for _, account in ipairs((config.load(ctx.world))) do
    local path = account.cache and M.path(ctx.world, account)
    local text = path and config.read(ctx.world, path, MOST) or ""
    for jid in text:gmatch "[^\n]+" do
      if is_plain(jid) then ctx.world.out(jid .. "\n") end
    end
  end
  return 0
end

return M
