-- register: in-band registration with servers and services (XEP-0077), over an open stream: a service's registration
-- form, its submission, password changes, and the removal of an account.
--
--   local f = assert(register.form(conn, "irc.example.net"))
--   if not f.registered then
--     for _, field in ipairs(f.fields) do print(field.var, field.label or "", field.required and "needed" or "") end
--     assert(register.submit(conn, "irc.example.net", { username = "kettle", password = secret }))
--   end
--   assert(register.password(conn, new_password))          -- of our own account
--   assert(register.cancel(conn, "irc.example.net"))
--
-- A service is trusted for what its form asks for, and for nothing else; which values it gets is for the program to
-- decide. A password is sent only over an encrypted stream.

local core = require "xmpp.load"
local form = require "xmpp.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local xexpr = require "xmpp.xexpr"

-- elements: the fields used where there is no data form (XEP-0077 14.1)
local M = { elements = {} }

local REGISTER, OOB = "jabber:iq:register", "jabber:x:oob"

for name in ([[username nick password name first last email address city state zip phone url date misc text key]])
  :gmatch "%S+" do M.elements[name] = true end

-- Reading

local function bad(stanza, reason)
  local who = core.shown(xexpr.attr(stanza, "from") or "our server")
  return iq.bad_format(("the answer of %s: %s"):format(who, reason), stanza)
end

-- The elements of a query as if they were a form; elements that XEP-0077 doesn't define are no fields.
local function legacy_form(query)
  local f = { kind = "form", fields = {}, values = {}, legacy = true }
  for x in xexpr.children(query, nil, REGISTER) do
    local var = x[1]
    if M.elements[var] and f.values[var] == nil then
      local text = xexpr.text(x)
      f.values[var] = text
      f.fields[#f.fields + 1] = { var = var, kind = var == "password" and "text-private" or "text-single",
        required = true, value = text, texts = { text } }
    end
  end
  return f
end

local function read(query)
  local x = xexpr.child(query, "x", form.DATA)
  local f, err
  if x then
    f, err = form.parse(x)
    if not f then return nil, err end
  end
  f = f or legacy_form(query)
  f.registered = xexpr.child(query, "registered", REGISTER) ~= nil
  f.instructions = f.instructions or xexpr.text(query, "instructions", REGISTER)
  f.url = xexpr.text(xexpr.child(query, "x", OOB), "url")
  return f
end

-- Asking

local OPTIONS = { timeout = "number", from = "jid" }

-- The address to register with; nil: our own server.
local function host(conn, jid, position, fname)
  if jid == nil then return core.jid(conn:jid().domainpart) end
  if not core.is_jid(jid) then guard.check_type(jid, "string", position, fname, 3) end
  return core.jid(jid)
end

local function ask(conn, to, opts)
  local query, stanza = iq.get(conn, to, { "query", { xmlns = REGISTER } }, opts)
  if not query then return nil, stanza end
  if query == true or query[1] ~= "query" or xexpr.attr(query, "xmlns") ~= REGISTER then
    return bad(stanza, "query: missing")
  end
  local f, err = read(query)
  if not f then return bad(stanza, "query." .. err.text) end
  return f
end

-- An error may contain a form that asks for more (XEP-0077 3.2, 3.3).
local function with_form(err)
  local query = err.stanza and xexpr.child(err.stanza, "query", REGISTER)
  local x = query and xexpr.child(query, "x", form.DATA)
  if x then err.form = form.parse(x) end
  return err
end

local function set(conn, to, opts, ...)
  local ok, err = iq.set(conn, to, { "query", { xmlns = REGISTER }, ... }, opts)
  if not ok then return nil, err.layer == "stanza" and with_form(err) or err end
  return true
end

local function unfit(app, text)
  return nil, core.error { layer = "stanza", condition = "not-acceptable", type = "modify", retry = false, app = app,
    text = text }
end

local function is_secret(f, values)
  for _, field in ipairs(f.fields) do
    if field.kind == "text-private" and values[field.var or ""] ~= nil then return true end
  end
  return values.password ~= nil
end

-- Refuses to send a password over an unencrypted stream, where others could read it.
local function check_secrecy(conn, opts)
  if conn:info().tls_version or opts.plain then return true end
  return nil, core.error { layer = "stanza", condition = "not-allowed", type = "cancel", retry = false,
    text = "a password isn't sent over an unencrypted stream (XEP-0077 3.3); opts.plain = true allows it" }
end

local function has_value(field) return field.texts[1] ~= nil and field.texts[1] ~= "" end

-- The submission of the form: complete, or nil and what is wrong.
local function fill(f, values)
  local known = {}
  for _, field in ipairs(f.fields) do
    if field.var and field.kind ~= "fixed" then
      known[field.var] = true
      if field.required and values[field.var] == nil and not has_value(field) then
        return unfit("missing", ("'%s' is required, and there is no value"):format(core.shown(field.var)))
      end
    end
  end
  for var in pairs(values) do
    if not known[var] then return unfit("unknown", ("the form has no field '%s'"):format(core.shown(tostring(var)))) end
  end
  if not f.legacy then
    local ok, x = pcall(form.answer, f, values)
    if not ok then return unfit("invalid", x) end
    return { x }
  end
  local out = {}
  for i, field in ipairs(f.fields) do
    local v = values[field.var]
    if v ~= nil and type(v) ~= "string" then
      return unfit("invalid", ("bad value of field '%s' (string expected, got %s)"):format(field.var, type(v)))
    end
    out[i] = { field.var, {}, v or field.texts[1] }
  end
  return out
end

--- Returns the registration form of a server or service (see xmpp.form). In addition to the form's fields it has
--- `registered` (are we registered already?), `instructions`, `url` (where else it can be done; it is never fetched),
--- and `legacy` (there is no data form, but the elements of XEP-0077, all of which must be filled in).
---@param conn xmpp.Conn
---@param jid? string|xmpp.Jid nil: our own server
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil }
---@return xmpp.Form? f
---@return xmpp.Error?
function M.form(conn, jid, opts)
  guard.check_conn(conn, "form", 2)
  local to, err = host(conn, jid, 2, "form")
  opts = guard.check_opts(opts, OPTIONS, 3, "form", 2)
  if not to then return nil, err end
  return ask(conn, to, opts)
end

local SUBMIT = { timeout = "number", from = "jid", form = "table", plain = "boolean" }

--- Registers, or changes a registration: fills in the form and sends it. A required value that is missing, a value
--- that the form does not have, and one that is not valid are errors before anything is sent: condition
--- "not-acceptable", err.app "missing", "unknown" or "invalid".
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid|nil nil: our own server
---@param values table<string, any>
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil, form: xmpp.Form?, plain: boolean? } timeout: seconds;
--- from: the address of a component that asks; form: the form, if you have it already; plain: passwords may be sent
--- unencrypted
---@return boolean? true
---@return xmpp.Error? err with err.form, if the service asks for more: answer it with `submit`
function M.submit(conn, jid, values, opts)
  guard.check_conn(conn, "submit", 2)
  local to, err = host(conn, jid, 2, "submit")
  guard.check_type(values, "table", 3, "submit", 2)
  opts = guard.check_opts(opts, SUBMIT, 4, "submit", 2)
  if not to then return nil, err end
  local asking, f, content, ok = { timeout = opts.timeout, from = opts.from }, opts.form
  if not f then f, err = ask(conn, to, asking) end
  if not f then return nil, err end
  content, err = fill(f, values)
  if not content then return nil, err end
  if is_secret(f, values) then
    ok, err = check_secrecy(conn, opts)
    if not ok then return nil, err end
  end
  return set(conn, to, asking, (table.unpack or unpack)(content)) -- luacheck: ignore 143
end

local PASSWORD = { timeout = "number", from = "jid", jid = "jid", username = "string", plain = "boolean" }

--- Changes the password. The connection itself still uses the old one when it reconnects: a program that does so
--- should connect again, or give its password as a function.
---@param conn xmpp.Conn
---@param password string not empty
---@param opts? { jid: string|xmpp.Jid|nil, username: string?, plain: boolean?, timeout: number? } jid: of a service
--- (our own server); username: our name there (our account's localpart); plain: the password may be sent unencrypted;
--- timeout: seconds
---@return boolean? true
---@return xmpp.Error? err with err.form, if the service asks for more: answer it with `submit`
function M.password(conn, password, opts)
  guard.check_conn(conn, "password", 2)
  guard.check_type(password, "string", 2, "password", 2)
  if password == "" then error("bad argument #2 to 'password' (it is empty)", 2) end
  opts = guard.check_opts(opts, PASSWORD, 3, "password", 2)
  local username = opts.username or conn:jid().localpart
  if not username then error("a component needs the option 'username'", 2) end
  local to, err = host(conn, opts.jid, 3, "password")
  if not to then return nil, err end
  local ok
  ok, err = check_secrecy(conn, opts)
  if not ok then return nil, err end
  return set(conn, to, { timeout = opts.timeout, from = opts.from }, { "username", {}, username },
    { "password", {}, password })
end

local CANCEL = { timeout = "number", from = "jid", account = "boolean" }

--- Removes a registration. At our own server that deletes the account itself, with everything in it: then opts.account
--- must be true, and the server ends the connection (XEP-0077 3.2).
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid
---@param opts? { timeout: number?, from: string|xmpp.Jid|nil, account: boolean? } timeout: seconds; from: the address
--- of a component that asks; account: true confirms that the account itself is deleted
---@return boolean? true
---@return xmpp.Error? err with err.form, if the service asks for more: answer it with `submit`
function M.cancel(conn, jid, opts)
  guard.check_conn(conn, "cancel", 2)
  if not core.is_jid(jid) then guard.check_type(jid, "string", 2, "cancel", 2) end
  opts = guard.check_opts(opts, CANCEL, 3, "cancel", 2)
  local to, err = core.jid(jid)
  if not to then return nil, err end
  local own = conn:jid()
  local is_account = own.localpart ~= nil and (to:bare() == own:bare() or tostring(to) == own.domainpart)
  if is_account and not opts.account then
    error("that would delete our own account: opts.account = true deletes it", 2)
  end
  if not is_account then return set(conn, to, { timeout = opts.timeout, from = opts.from }, { "remove" }) end
  return set(conn, nil, { timeout = opts.timeout }, { "remove" })
end

return M
