-- exit: the exit status and the text for an error. Each layer has a status of its own, so that a script can tell what
-- to do; `xmpp help` and the man page list them.

local M = {
  DONE = 0, REFUSED = 1, USAGE = 2, CONFIG = 3, DNS = 4, TCP = 5, TLS = 6, LOGIN = 7, TIMEOUT = 8, INPUT = 9,
    PARTLY = 10,
  OUTPUT = 11, INTERNAL = 70, INTERRUPTED = 130, PIPE = 141,
}

--- Statuses and their meanings, for the man page.
M.LIST = {
  { 0, "Done; the server has acknowledged what was sent." },
  { 1, "The other side has refused it, with a stanza error." },
  { 2, "Wrong usage." },
  { 3, "The configuration is faulty, or a password could not be obtained." },
  { 4, "The server's name could not be resolved." },
  { 5, "The connection could not be made, or was lost." },
  { 6, "TLS failed: the certificate is not valid, or the server has no TLS." },
  { 7, "The login was refused." },
  { 8, "It took too long." },
  { 9, "The input is missing, malformed or too large." },
  { 10, "Partly done; standard error names the recipients that were left out." },
  { 11, "The output could not be written, for example because a disk is full." },
  { 70, "Internal error of the command." },
  { 130, "Interrupted by a signal." },
  { 141, "The reader of the output has closed it." },
}

local LAYERS = { dns = M.DNS, tcp = M.TCP, proxy = M.TCP, websocket = M.TCP, tls = M.TLS, stream = M.LOGIN,
  sasl = M.LOGIN, bind = M.LOGIN, stanza = M.REFUSED, timeout = M.TIMEOUT, closed = M.TCP, limit = M.INPUT,
  usage = M.USAGE, config = M.CONFIG, input = M.INPUT, output = M.OUTPUT, partly = M.PARTLY,
  interrupted = M.INTERRUPTED, lost = M.TCP }

-- For layer "http" the condition decides.
local HTTP = { ["host-unknown"] = M.DNS, certificate = M.TLS, tls = M.TLS, ["ca-file"] = M.CONFIG, timeout = M.TIMEOUT,
  refused = M.REFUSED, ["bad-file"] = M.INPUT, ["short-body"] = M.INPUT, ["bad-body"] = M.INPUT,
  ["no-connection"] = M.TCP, cut = M.TCP, ["forbidden-address"] = M.REFUSED, cancelled = M.INTERRUPTED }

-- Advice where the library's own text has none.
local ADVICE = {
  dns = "check the name, or give a host with --host",
  tcp = "is the server up, and the port open? --host and --port connect to another one",
  proxy = "the proxy is set by --proxy, or by the account's key proxy",
  tls = "`xmpp check` shows more; --ca-file trusts a CA of your own",
  sasl = "`xmpp account password` stores another password",
}

--- An error of the command itself.
---@param layer "usage"|"config"|"input"|"output"|"partly"|"interrupted"|"timeout"|"lost"
---@param condition string
---@param text string
---@return table
function M.error(layer, condition, text)
  return { layer = layer, condition = condition, text = text, retry = layer == "timeout", command = true }
end

--- Raises such an error.
function M.raise(layer, condition, text) error(M.error(layer, condition, text), 0) end

local function describe(err)
  if err.command then return err.text end
  local advice = ADVICE[err.layer]
  return tostring(err) .. (advice and ("; " .. advice) or "")
end

--- Returns the status, a sentence (nil: none is needed), and the fields for --json.
---@return integer status
---@return string? text
---@return table? fields
function M.explain(err)
  if type(err) ~= "table" then
    return M.INTERNAL, tostring(err), { layer = "internal", condition = "internal", text = tostring(err),
      retry = false }
  end
  if err.quiet then return err.status end
  local status = err.layer == "http" and HTTP[err.condition]
    or err.condition == "EPIPE" and err.layer == "output" and M.PIPE or LAYERS[err.layer] or M.INTERNAL
  return status, describe(err), { layer = err.layer, condition = err.condition, text = err.text, retry = err.retry
    or false }
end

return M
