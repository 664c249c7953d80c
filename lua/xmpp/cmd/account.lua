-- account: shows and changes the accounts in the configuration. A password is asked for, tried, and stored where only
-- its owner can read it: in the desktop's keyring (secret-tool), or in a file of mode 0600.

local config = require "xmpp.cmd.config"
local exit = require "xmpp.cmd.exit"
local escape = require "xmpp.cmd.escape"

local M = {}

local function must(ok, why, path)
  if ok then return end
  exit.raise("config", "unwritable", ("%s can't be written: %s"):format(path, tostring(why)))
end

local function write(world, path, text)
  local ok, why = require "xmpp.cmd.file".write(world, path, text)
  must(ok, why, path)
end

local function folder_of(world)
  local folder = config.folder(world, "XDG_CONFIG_HOME", "/.config")
  if not folder then exit.raise("config", "no-home", "HOME is not set, so there is no folder for the configuration") end
  local ok, why = require "xmpp.cmd.file".make_folder(world, folder)
  must(ok, why, folder)
  return folder
end

local function text_of(world)
  local text = config.read(world, config.path(world))
  return text or ""
end

-- Changes the configuration's lines by f(line, in_section) -> line, or nil to remove it.
local function change(world, name, f)
  local out, inside = {}, false
  for line in text_of(world):gmatch "([^\n]*)\n?" do
    local section = config.head(line)
    if section then inside = section == name end
    local keep = line
    if inside then keep = f(line, section ~= nil) end
    out[#out + 1] = keep
  end
  while out[#out] == "" do out[#out] = nil end
  write(world, config.path(world), #out > 0 and table.concat(out, "\n") .. "\n" or "")
end

local function password_path(world, name) return folder_of(world) .. "/" .. name .. ".password" end

local function keyring(world) return world.env "DBUS_SESSION_BUS_ADDRESS"
  and require "xmpp.cmd.secret".is_there "secret-tool" end

-- Stores a password. It goes through standard input, where nobody can see it.
local function store_in_keyring(jid, password)
  local secret = require "xmpp.cmd.secret"
  local words = ("secret-tool store --label=%s service xmpp jid %s"):format(secret.quoted("XMPP " .. jid),
    secret.quoted(jid))
  local pipe = io.popen("{ " .. words .. "\n} >/dev/null 2>&1", "w")
  if not pipe then return false end
  pipe:write(password)
  pipe:close()
  local found, status = secret.run(("secret-tool lookup service xmpp jid %s 2>/dev/null"):format(secret.quoted(jid)))
  return status == 0 and found == password
end

-- Returns the line for the configuration; nil: none is needed.
local function store(ctx, name, jid, password)
  if keyring(ctx.world) and store_in_keyring(jid, password) then
    ctx:note(("the password of %s is in the keyring"):format(jid))
    return nil
  end
  local path = password_path(ctx.world, name)
  write(ctx.world, path, password .. "\n")
  ctx:note(("the password of %s is in %s, which only you can read"):format(jid, path))
  return "password-file = " .. path
end

-- Asks for a new password at the terminal, by --password-fd and the like; ignores the stored one.
local function ask(ctx, account)
  local bare = { jid = account.jid, path = account.path, line = account.line }
  local jid = require "xmpp.cmd.input".address(account.jid)
  if not jid.localpart then
    exit.raise("usage", "jid-malformed", ("'%s' is not an account: an address like you@example.net expected")
      :format(account.jid))
  end
  return (require "xmpp.cmd.secret".find(ctx, bare, tostring(jid:bare()), true)), tostring(jid:bare())
end

-- "SCRAM-SHA-256-PLUS by SASL2"
local function how(info)
  local by = (info.mechanism or "certificate") .. (info.fast and " (a token)" or "")
  return by .. (info.profile == "sasl2" and " by SASL2" or "")
end

local function log_in(ctx, account, password)
  ctx.account = account
  return require "xmpp.cmd.session".connect(ctx, nil, password)
end

local words = {}

function words.list(ctx)
  for _, a in ipairs(config.load(ctx.world)) do
    local from = a["password-command"] and "command" or a["password-file"] and "file" or a.password and "configuration"
      or a.cert and "certificate" or "keyring, credential or terminal"
    ctx:say(("%s  %s  (password: %s)"):format(a.name, ctx:name(a.jid), from), { { "type", "account" },
      { "name", a.name }, { "jid", a.jid }, { "password", from } })
  end
  return 0
end

function words.check(ctx)
  ctx.opts.account = ctx.args[2] or ctx.opts.account
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local info = conn:info()
  ctx:say(("%s: logged in by %s, %s"):format(ctx:name(ctx.bare), how(info), info.tls_version or "no TLS"),
    { { "type", "account" }, { "name", ctx.account.name }, { "jid", ctx.bare }, { "mechanism", info.mechanism },
      { "profile", info.profile }, { "fast", info.fast }, { "bound_inline", info.bound_inline },
      { "tls", info.tls_version } })
  return 0
end

-- A new section of the configuration. Options that say where the server is are stored with the account.
local function section(ctx, name, jid)
  local lines = { ("[%s]"):format(name), "jid = " .. jid }
  for _, option in ipairs { "host", "port", "url", "proxy", "tls", "ca-file" } do
    if ctx.opts[option] then lines[#lines + 1] = ("%s = %s"):format(option, ctx.opts[option]) end
  end
  return lines
end

local function new_name(sections, name, jid)
  local taken = {}
  for _, s in ipairs(sections) do taken[s.name] = true end
  name = name or (not taken.default and "default") or jid:match "^[^@/]*"
  if not name:find "^[%w_.+-]+$" then
    exit.raise("usage", "bad-name", ("'%s' can't be a section's name: letters, digits and _.+- expected")
      :format(escape.line(name)))
  end
  if taken[name] then
    exit.raise("usage", "conflict", ("there is an account '%s' already; choose another name: xmpp account add "
      .. "%s NAME"):format(name, jid))
  end
  return name
end

function words.add(ctx)
  local jid = ctx.args[2]
  if not jid then exit.raise("usage", "no-address", "the address is missing; usage: xmpp account add JID [NAME]") end
  local name = new_name(config.load(ctx.world), ctx.args[3], jid)
  local password, bare = ask(ctx, { jid = jid })
  local conn, err = log_in(ctx, { jid = jid, name = name }, password)
  if not conn then return nil, err end
  folder_of(ctx.world)
  local lines = section(ctx, name, jid)
  lines[#lines + 1] = store(ctx, name, bare, password)
  local text = text_of(ctx.world)
  write(ctx.world, config.path(ctx.world), (text == "" and "" or text:gsub("\n*$", "\n\n")) .. table.concat(lines, "\n")
    .. "\n")
  ctx:note(("%s is account '%s' in %s"):format(bare, name, config.path(ctx.world)))
  return 0
end

function words.password(ctx)
  local account = config.account(ctx.world, ctx.args[2] or ctx.opts.account)
  if not account.name then exit.raise("config", "no-account",
    "there is no such account: `xmpp account add` makes one") end
  if account["password-command"] then
    exit.raise("config", "password-command", ("%s:%d: [%s] has a password-command: change the password there")
      :format(account.path, account.line, account.name))
  end
  local password, bare = ask(ctx, account)
  local conn, err = log_in(ctx, account, password)
  if not conn then return nil, err end
  local line = store(ctx, account.name, bare, password)
  change(ctx.world, account.name, function(text, is_head)
    if is_head then return line and text .. "\n" .. line or text end
    if text:find "^%s*password%s*=" or text:find "^%s*password%-file%s*=" then return nil end
    return text
  end)
  return 0
end

function words.remove(ctx)
  local name = ctx.args[2]
  if not name then exit.raise("usage", "no-name", "the name is missing; usage: xmpp account remove NAME") end
  local account = config.account(ctx.world, name)
  if not account.name then exit.raise("config", "no-account", "there is no such account") end
  change(ctx.world, account.name, function() return nil end)
  local path = password_path(ctx.world, account.name)
  if account["password-file"] == path then os.remove(path) end
  require "xmpp.cmd.token".forget(ctx, account)
  local contacts = require "xmpp.cmd.contacts".path(ctx.world, account)
  if contacts then os.remove(contacts) end
  if keyring(ctx.world) then
    local secret = require "xmpp.cmd.secret"
    secret.run("secret-tool clear service xmpp jid " .. secret.quoted(account.jid:match "^[^/]*") .. " 2>/dev/null")
  end
  ctx:note(("the account '%s' has been removed"):format(account.name))
  return 0
end

function M.run(ctx) return words[ctx.args[1]](ctx) end

return M
