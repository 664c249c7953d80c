-- exit: the exit status and the text for an error. Each layer has a status of its own, so that a script can tell what
-- to do; `xmpp help` and the man page list them.

local M = {
  DONE = 0, REFUSED = 1, USAGE = 2, CONFIG = 3, DNS = 4, TCP = 5, TLS = 6, LOGIN = 7, TIMEOUT = 8, INPUT = 9,
    PARTLY = 10,
  OUTPUT = 11, INTERNAL = 70, INTERRUPTED = 130, PIPE = 141,
}

--- Statuses and their meanings, for the man page.
M.LIST = {
  { 0, "Done; what was sent has been acknowledged by the server." },
  { 1, "Refused by the other side, with a stanza error." },
  { 2, "Wrong usage." },
  { 3, "A fault in the configuration, or in where a secret comes from." },
  { 4, "The server's name could not be resolved." },
  { 5, "No connection, or it was lost." },
  { 6, "TLS: the certificate is not good, or the server has none." },
  { 7, "The login was refused." },
  { 8, "It took too long." },
  { 9, "The input is missing, malformed or too large." },
  { 10, "Partly done: which recipients it was not done for is said on stderr." },
  { 11, "The output can't be written: a full disk." },
  { 70, "A fault in the command itself." },
  { 130, "Interrupted." },
  { 141, "Who read the output has closed it." },
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
  dns = "look at the name, or give --host",
  tcp = "is the server up, and the port open? --host and --port say where else to look",
  proxy = "the account's proxy, or --proxy, says which it is",
  tls = "`xmpp check` shows more; --ca-file names a CA of your own",
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
