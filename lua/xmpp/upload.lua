-- upload: HTTP file upload (XEP-0363): a service of our server provides a place to upload a file to, and the URL from
-- which others get it.
--
--   local upload = require "xmpp.upload"
--   local url = assert(upload.file(conn, "photo.jpg", { progress = function(sent, size) draw(sent / size) end }))
--   assert(chat.use(conn):send("bob@example.net", { text = url, url = url }))
--
-- Who is trusted: our server, for which service to use; the service, for where to upload the file, but only over
-- https, at the host that the certificate is for, verified as the connection's is; at no private address (loopback,
-- local network, link-local) except that of the XMPP server; and for three headers (XEP-0363 5). No redirect is
-- followed. Whoever knows the URL can read the file, and so can the service: it is not encrypted (XEP-0363 12).

local core = require "xmpp.load"
local disco = require "xmpp.disco"
local guard = require "xmpp.guard"
local http = require "xmpp.http"
local iq = require "xmpp.iq"
local names = require "xmpp.upload.name"
local places = require "xmpp.http.place"
local slots = require "xmpp.upload.slot"
local sources = require "xmpp.upload.source"
local waiting = require "xmpp.wait"

local M = {}

local NS = slots.NS
local TIMEOUT = 3600 -- seconds for a whole file

-- Finding the service

local function max_of(info)
  local form = info.forms and info.forms[NS]
  local values = form and form["max-file-size"]
  return slots.size(values and values[1])
end

--- Returns the upload service of our server. Looked up once in a session.
---@param conn xmpp.Conn
---@param opts? { timeout: number? } timeout: seconds for each request
---@return { jid: string, max: number? }? service max: the largest size of a file in bytes
---@return xmpp.Error? err condition "item-not-found" if there is none
function M.service(conn, opts)
  guard.check_conn(conn, "service", 2)
  opts = guard.check_opts(opts, { timeout = "number" }, 2, "service", 2)
  local kept, rebound = guard.of(conn, "upload"), conn:info().rebound
  if kept.service and kept.rebound == rebound then return kept.service end
  local found, err = disco.find(conn, NS, { timeout = opts.timeout })
  if not found then return nil, err end
  kept.service, kept.rebound = { jid = found.jid, max = max_of(found.info) }, rebound
  return kept.service
end

-- Slots

-- The trust settings with which the connection itself was opened, and the address of its server.
local function trust_of(conn, opts)
  local trust = core.conn.about(conn).trust or {}
  return { ca_file = trust.ca_file, ca_dir = trust.ca_dir, insecure = opts.insecure or trust.insecure,
    proxy = trust.proxy, private = opts.private, address = conn:info().address }
end

local SLOT_OPTIONS = { timeout = "number", insecure = "boolean", private = "boolean", service = "jid" }

local function whole(n) return n >= 0 and n % 1 == 0 and n < 2 ^ 53 end

local function ask_slot(conn, name, size, kind, opts)
  local service, err = { jid = opts.service }, nil
  if not opts.service then service, err = M.service(conn, { timeout = opts.timeout }) end
  if not service then return nil, err end
  if service.max and size > service.max then return slots.too_large(service.max) end
  local answer, stanza = iq.get(conn, service.jid, { "request", { xmlns = NS, filename = name,
    size = ("%.0f"):format(size), ["content-type"] = kind } }, { timeout = opts.timeout })
  if not answer then return slots.refusal(stanza) end
  return slots.read(answer, stanza, trust_of(conn, opts))
end

--- Requests an upload slot, for programs with an HTTP client of their own. Such a program sends `headers`,
--- Content-Length and Content-Type, follows no redirect, and checks which address it connects to. Others get the file
--- from `get`.
---@param conn xmpp.Conn
---@param name string
---@param size integer bytes
---@param kind? string "image/jpeg"
---@param opts? { timeout: number?, insecure: boolean?, private: boolean?, service: string|xmpp.Jid|nil } those of
--- `file`
---@return { put: string, get: string, headers: table<string, string> }?
---@return xmpp.Error? err as for `file`
function M.slot(conn, name, size, kind, opts)
  guard.check_conn(conn, "slot", 2)
  guard.check_type(name, "string", 2, "slot", 2)
  guard.check_type(size, "number", 3, "slot", 2)
  if kind ~= nil then guard.check_type(kind, "string", 4, "slot", 2) end
  opts = guard.check_opts(opts, SLOT_OPTIONS, 5, "slot", 2)
  if not names.is_fine(name) then error("bad argument #2 to 'slot' (a file's name expected)", 2) end
  if not whole(size) then error("bad argument #3 to 'slot' (a whole number expected)", 2) end
  local slot, err = ask_slot(conn, name, size, kind, opts)
  return slot, err
end

-- Putting

local function closed(conn)
  if conn:state() ~= "closed" then return nil end
  return select(2, conn:receive()) or core.error { layer = "closed", condition = "closed", retry = false,
    text = "the connection is closed" }
end

local FILE_OPTIONS = { progress = "function", random_name = "boolean", timeout = "number", stall = "number",
  type = "string", http = "function", cancel = "table", resolve = "string", pin = "string", insecure = "boolean",
  private = "boolean", service = "jid", wait = "number" }

-- The request body, cut off at the announced size; a shorter one is noticed by the HTTP client.
local function body_of(source)
  local left = source.size
  return function(n)
    if left == 0 then return nil end
    local piece, why = source.read(math.min(n, left))
    if piece == nil and why ~= nil then return nil, why end
    if type(piece) == "string" and #piece > left then piece = piece:sub(1, left) end
    if type(piece) == "string" then left = left - #piece end
    return piece
  end
end

local function request_of(slot, source, kind, trust, opts)
  local place = places.read(slot.put)
  local plain = place.scheme == "http"
  local own = plain or trust.insecure and place.is_loopback -- this machine, where certificates aren't verified
  local headers = { ["Content-Type"] = kind }
  for name, value in pairs(slot.headers) do headers[name] = value end
  return { url = slot.put, method = "PUT", headers = headers, size = source.size, body = body_of(source),
    progress = opts.progress, timeout = opts.timeout or TIMEOUT, stall = opts.stall, resolve = opts.resolve,
    pin = opts.pin, ca_file = trust.ca_file, ca_dir = trust.ca_dir, insecure = trust.insecure or nil, max = 16384,
    proxy = trust.proxy, http = plain or nil, public = not trust.private or plain,
    but = own and "127.0.0.1" or trust.address }
end

-- A promise that is settled when the connection is closed, or when the program's own promise is.
local function link_cancel(conn, own)
  local promise = require "xmpp".promise()
  local off = conn:on("state", function(state, err)
    if state ~= "closed" then return end
    promise.reason = err or core.error { layer = "closed", condition = "closed", retry = false,
      text = "the connection is closed" }
    promise:resolve(true)
  end)
  if own then require "xmpp".spawn(function()
    own:wait()
    promise:resolve(true)
  end) end
  return promise, off
end

local function refused(slot, answer)
  local status = type(answer.status) == "number" and answer.status or 0
  return nil, core.error { layer = "http", condition = "refused", status = status, retry = status >= 500,
    text = ("%s answered %d, not 201"):format(core.shown(places.read(slot.put).host), status) }
end

local function put(conn, slot, source, kind, opts)
  local gone = closed(conn)
  if gone then return nil, gone end
  local send = opts.http or guard.of(conn, "upload").http or http.request
  local request = request_of(slot, source, kind, trust_of(conn, opts), opts)
  local cancel, off = link_cancel(conn, opts.cancel)
  request.cancel = cancel
  local answer, err = send(request)
  off()
  if not answer then return nil, cancel.reason or err end
  if type(answer) ~= "table" then answer = {} end
  if answer.status ~= 201 then return refused(slot, answer) end
  return slot.get
end

local function name_of(source, opts, level)
  if opts.random_name ~= false then return names.random(source.name) end
  if names.is_fine(source.name) then return source.name end
  source.close()
  error(("bad argument #2 to 'file' (no name for a service: '%s')"):format(core.shown(source.name)), level + 1)
end

local function check(conn, opts)
  guard.check_conn(conn, "file", 3)
  opts = guard.check_opts(opts, FILE_OPTIONS, 3, "file", 3)
  if opts.cancel and type(opts.cancel.wait) ~= "function" then
    error("bad option 'cancel' of 'file' (a promise expected)", 3)
  end
  waiting.check(3)
  return opts
end

--- Uploads a file and returns the URL from which others get it. Waits until the service has all of it. The service is
--- told a random name with the file's extension, so that the URL reveals nothing. If the file becomes shorter in the
--- meantime the upload fails.
---@param conn xmpp.Conn
---@param what string|{ name: string, data: string?, size: integer?, read: (fun(n: integer): string?)?, type: string? }
--- a path; or `name` and `data`; or `name`, `size` and `read`, a function that returns the next bytes, about n of them,
--- nil at the end, or nil and an error; it may wait
---@param opts? xmpp.UploadOptions
---@return string? url
---@return xmpp.Error? err layer "stanza" if the service refused: `app` is "file-too-large" with `max`, or "retry" with
--- `after` in seconds since 1970; layer "http": see http.request, and also "refused" with `status`, and "bad-file";
--- layer "closed"
function M.file(conn, what, opts)
  opts = check(conn, opts)
  local source, err = sources.open(what, 2)
  if not source then return nil, err end
  local name = name_of(source, opts, 2)
  local kind = opts.type or source.type or names.type_of(source.name)
  err = closed(conn)
  local slot
  if not err then
    slot, err = ask_slot(conn, name, source.size, kind, { timeout = opts.wait, insecure = opts.insecure,
      private = opts.private, service = opts.service })
  end
  local url
  if slot then url, err = put(conn, slot, source, kind, opts) end
  source.close()
  return url, err
end

return M
