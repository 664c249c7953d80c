-- check: checks a server for monitoring: a line for Nagios and compatible systems, or metrics for Prometheus. A domain
-- is checked without logging in.

local exit = require "xmpp.cmd.exit"

local M = {}

local OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
local WORDS = { [0] = "OK", "WARNING", "CRITICAL", "UNKNOWN" }
local DAY = 86400

-- A run: steps in order, each { name =, seconds =, status =, err = }; days for which the certificate must be valid.
local function new_run(ctx)
  local opts = ctx.opts
  return { steps = {}, only = opts.only, warning = opts.warning or 1, critical = opts.critical or 5,
    cert_days = opts["cert-days"] or 14, status = OK, problems = {} }
end

local function wants(run, name) return not run.only or run.only[name] end

local function worse(run, status, problem)
  run.status = math.max(run.status, status)
  run.problems[#run.problems + 1] = problem
end

-- Adds a step. One that failed counts even if it wasn't asked for, because the others need it.
local function add(run, name, seconds, err)
  if not err and not wants(run, name) then return end
  run.steps[#run.steps + 1] = { name = name, seconds = seconds, ok = err == nil }
  if err then
    local text = err.command and err.text or tostring(err)
    worse(run, CRITICAL, ("%s: %s"):format(name, require "xmpp.cmd.escape".line(text)))
  elseif seconds >= run.critical then
    worse(run, CRITICAL, ("%s took %.2fs"):format(name, seconds))
  elseif seconds >= run.warning then
    worse(run, WARNING, ("%s took %.2fs"):format(name, seconds))
  end
end

local function look_at_certificate(run, info)
  local seconds = info.certificate_seconds
  if not seconds or not wants(run, "tls") then return end
  run.days = math.floor(seconds / DAY)
  local text = ("certificate ends in %d day%s"):format(run.days, run.days == 1 and "" or "s")
  if seconds < run.cert_days / 2 * DAY then worse(run, CRITICAL, text)
  elseif seconds < run.cert_days * DAY then worse(run, WARNING, text) end
end

-- The steps of connecting, and the one that failed, by the layer of the error.
local SETUP = { "dns", "tcp", "proxy", "tls", "login" }
local LOGIN = 5
local FAILED_AT = { dns = 1, tcp = 2, proxy = 3, tls = 4, stream = LOGIN, sasl = LOGIN, bind = LOGIN,
  websocket = LOGIN }

local function failed_at(info, err)
  if FAILED_AT[err.layer] then return FAILED_AT[err.layer] end
  if info.tls_version then return LOGIN end -- the timeout passed
  for i = LOGIN - 1, 2, -1 do
    if (info.took[SETUP[i]] or 0) > 0 then return i end
  end
  return 1
end

local function add_setup(run, info, err)
  local took, at = info.took, err and failed_at(info, err) or LOGIN + 1
  run.proxy = info.proxy
  for i, name in ipairs(SETUP) do
    local is_none = not took[name] or i == LOGIN and run.nobody
    if i <= at and not is_none then add(run, name, took[name], at == i and err or nil) end
  end
  look_at_certificate(run, info)
end

-- Tries a step, see xmpp.health. A server need not have an upload service or a room service: then the step is left
-- out, unless it was asked for.
local function try(run, ctx, conn, name)
  if not wants(run, name) then return end
  local room = name == "muc" and ctx.opts.room or nil
  local seconds, err, missing = require "xmpp.health".steps[name](conn, { timeout = ctx.timeout, room = room,
    join = function() return require "xmpp.cmd.room".join(ctx, conn, room) end })
  if missing and not run.only and not room then return end
  add(run, name, seconds, err)
end

local function check_words(ctx, is_domain)
  if ctx.opts.room then require "xmpp.cmd.room".address(ctx.opts.room) end
  if not is_domain then return end
  for _, step in ipairs { "login", "ping", "echo", "upload", "muc" } do
    if (ctx.opts.only or {})[step] or step == "muc" and ctx.opts.room then
      exit.raise("usage", "no-account", ("the step '%s' needs an account, and '%s' is a domain: give an address, "
        .. "you@%s"):format(step, ctx.args[1], ctx.args[1]))
    end
  end
end

-- Without an account: connects as far as an encrypted stream, on which the server lists its login mechanisms.
local function look(ctx, run, domain)
  local opts = ctx.opts
  local o = { mechanisms = { "ANONYMOUS" }, timeout = ctx.timeout, host = opts.host, port = opts.port, tls = opts.tls,
    proxy = opts.proxy, url = opts.url, ca_file = opts["ca-file"], on_open = function(conn) ctx.conn = conn end }
  run.nobody = true
  local conn, err = require "xmpp".connect_client(domain, nil, o)
  if not ctx.conn then return nil, err end
  local info = ctx.conn:info()
  if err and (err.layer == "sasl" or info.tls_version and FAILED_AT[err.layer] == LOGIN) then err = nil end
  add_setup(run, info, not conn and err or nil)
  return true
end

local function log_in(ctx, run)
  local conn, err = ctx:connect()
  if not ctx.conn then return nil, err end
  add_setup(run, ctx.conn:info(), not conn and err or nil)
  if not conn then return true end
  for _, step in ipairs { "ping", "echo", "upload", "muc" } do try(run, ctx, conn, step) end
  return true
end

-- Output

local function nagios(run)
  local said, measured = {}, {}
  for i, step in ipairs(run.steps) do
    local through = step.name == "proxy" and (" (%s)"):format(run.proxy) or ""
    said[i] = ("%s %.2fs%s"):format(step.name, step.seconds, through)
    measured[i] = ("%s=%.3fs;%g;%g"):format(step.name, step.seconds, run.warning, run.critical)
  end
  if run.days then
    said[#said + 1] = ("certificate %dd"):format(run.days)
    measured[#measured + 1] = ("cert=%dd;%g;%g"):format(run.days, run.cert_days, run.cert_days / 2)
  end
  local text = run.problems[1] and table.concat(run.problems, ", ") or table.concat(said, ", ")
  return (("XMPP %s - %s | %s\n"):format(WORDS[run.status], text:gsub("|", "/"), table.concat(measured, " "))
    :gsub(" | \n", "\n"))
end

local function label(text) return (text:gsub('[\\"\n]', { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" })) end

local function prometheus(run, whom)
  local of = ('{target="%s"'):format(label(whom))
  local out = { "# HELP xmpp_up 0 if the status is CRITICAL, otherwise 1.", "# TYPE xmpp_up gauge",
    ("xmpp_up%s} %d"):format(of, run.status == CRITICAL and 0 or 1),
    "# HELP xmpp_step_seconds Duration of the step.", "# TYPE xmpp_step_seconds gauge" }
  for _, step in ipairs(run.steps) do
    out[#out + 1] = ('xmpp_step_seconds%s,step="%s"} %.6f'):format(of, step.name, step.seconds)
  end
  out[#out + 1] = "# HELP xmpp_step_ok 1 if the step has succeeded, otherwise 0."
  out[#out + 1] = "# TYPE xmpp_step_ok gauge"
  for _, step in ipairs(run.steps) do
    out[#out + 1] = ('xmpp_step_ok%s,step="%s"} %d'):format(of, step.name, step.ok and 1 or 0)
  end
  if run.days then
    out[#out + 1] = "# HELP xmpp_certificate_days Whole days until the first certificate expires."
    out[#out + 1] = "# TYPE xmpp_certificate_days gauge"
    out[#out + 1] = ("xmpp_certificate_days%s} %d"):format(of, run.days)
  end
  return table.concat(out, "\n") .. "\n"
end

local function write(ctx, run, whom)
  if ctx.json then
    ctx:say("", { { "type", "check" }, { "target", whom }, { "status", WORDS[run.status] }, { "steps", run.steps },
      { "proxy", run.proxy }, { "certificate_days", run.days }, { "problems", run.problems } })
  elseif ctx.opts.prometheus then
    ctx.world.out(prometheus(run, whom))
  else
    ctx.world.out(nagios(run))
  end
end

--- Handles an error that isn't the server's: Nagios reads stdout.
function M.failed(ctx, err)
  local _, text = exit.explain(err)
  pcall(ctx.world.out, ("XMPP UNKNOWN - %s\n"):format(require "xmpp.cmd.escape".line(text or ""):gsub("|", "/")))
  return UNKNOWN
end

function M.run(ctx)
  local run, whom = new_run(ctx), ctx.args[1]
  local is_domain = whom ~= nil and not whom:find("@", 1, true)
  local ok, err
  check_words(ctx, is_domain)
  if is_domain then
    ok, err = look(ctx, run, whom)
  else
    ctx.opts.account = whom or ctx.opts.account
    ok, err = log_in(ctx, run)
    whom = ctx.bare
  end
  if not ok then return nil, err end
  write(ctx, run, whom)
  return run.status
end

return M
