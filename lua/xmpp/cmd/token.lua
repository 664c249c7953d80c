-- token: the token with which an account with `keep-token = true` logs in instead of its password (XEP-0484), and the
-- id of the user agent that it belongs to, which is made once. Each is in a file next to the configuration that only
-- its owner can read: NAME.token and NAME.agent.

local config = require "xmpp.cmd.config"

local M = {}

local MOST = 4096 -- bytes

local function paths(world, account)
  local folder = config.folder(world, "XDG_CONFIG_HOME", "/.config")
  return folder, ("%s/%s.token"):format(folder, account.name), ("%s/%s.agent"):format(folder, account.name)
end

local function ignore(ctx, path, why)
  ctx:note(("%s is ignored: %s"):format(path, why))
  return nil
end

-- The text of a file that nobody else can have read or written; nil: there is none, or it isn't private, which is
-- noted.
local function read(ctx, path)
  local world = ctx.world
  local ok, text, attributes = pcall(config.read, world, path, MOST)
  if not ok then return ignore(ctx, path, type(text) == "table" and text.text or tostring(text)) end
  if not text then return nil end
  if attributes.uid ~= world.sys.uid() then return ignore(ctx, path, "it belongs to another user") end
  if attributes.mode % 64 ~= 0 then return ignore(ctx, path, "others may read or change it") end
  return text
end

local function write(ctx, path, folder, text)
  local file = require "xmpp.cmd.file"
  local ok, why = file.make_folder(ctx.world, folder)
  if ok then ok, why = file.write(ctx.world, path, text) end
  if not ok then ctx:note(("%s can't be written: %s"):format(path, tostring(why))) end
end

-- The secret is stored as base64, since it may consist of any bytes.
local FIELDS = { "version", "jid", "user_agent", "mechanism", "token", "expiry" }

local function to_text(token)
  local lines = {}
  for i, name in ipairs(FIELDS) do
    local value = token[name]
    if name == "token" then value = require "xmpp".base64(value) end
    if name == "expiry" then value = value and ("%.0f"):format(value) or "" end
    lines[i] = ("%s = %s\n"):format(name, tostring(value))
  end
  return table.concat(lines)
end

local function from_text(text)
  local token = {}
  for name, value in text:gmatch "([%w_]+) = ([^\n]+)\n" do token[name] = value end
  token.version, token.expiry = tonumber(token.version), tonumber(token.expiry)
  token.token = token.token and require "xmpp".unbase64(token.token)
  return token
end

local function agent_of(ctx, account)
  local folder, _, path = paths(ctx.world, account)
  local text = read(ctx, path)
  local id = text and text:match "^(%S+)\n?$"
  if id and require "xmpp.options".is_uuid(id) then return id end
  id = require "xmpp.uuid"()
  write(ctx, path, folder, id .. "\n")
  return id
end

--- What is stored for an account; nil: it doesn't keep a token. Only configured accounts have a name to store it
--- under.
---@param ctx table
---@param account table see config.account
---@param bare string its bare address
---@return { agent: string, token: xmpp.Token? }?
function M.load(ctx, account, bare)
  if not account["keep-token"] or not config.path(ctx.world) then return nil end
  local agent = agent_of(ctx, account)
  return { agent = agent, token = M.find(ctx, account, bare, agent) }
end

--- Is this the only process that acts as the account's user agent? Until it ends no other one can.
function M.lock(ctx, account)
  local _, _, path = paths(ctx.world, account)
  return ctx.world.sys.lock(path) ~= nil
end

--- The stored token, unless it has expired.
---@param agent string? the user agent that it must belong to
---@return xmpp.Token?
function M.find(ctx, account, bare, agent)
  local _, path = paths(ctx.world, account)
  local text = read(ctx, path)
  if not text then return nil end
  local token = from_text(text)
  local ok, why = require "xmpp.options".is_token(token)
  if not ok then return ignore(ctx, path, why) end
  if token.jid ~= bare then return ignore(ctx, path, "it is another account's") end
  if agent and token.user_agent ~= agent then return ignore(ctx, path, "it is another user agent's") end
  if token.expiry and token.expiry <= os.time() then return nil end
  return token
end

--- Stores each token that the server gives from now on, which replaces the one before.
---@param conn xmpp.Conn must have just begun to connect
function M.follow(ctx, account, conn)
  local folder, path = paths(ctx.world, account)
  conn:on("token", function(token) write(ctx, path, folder, to_text(token)) end)
end

--- Removes a token that is no longer valid.
function M.drop(ctx, account)
  local _, path = paths(ctx.world, account)
  os.remove(path)
end

--- Removes everything that was stored for an account.
function M.forget(ctx, account)
  local _, token, agent = paths(ctx.world, account)
  os.remove(token)
  os.remove(agent)
end

return M
