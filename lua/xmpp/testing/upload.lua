-- upload: an upload service in a test (XEP-0363), and the web server behind it: what the program uploads is stored,
-- and nothing leaves the process. Required by xmpp.testing alone.
--
--   local u = t:upload { max = 1000 }
--   local url = assert(upload.file(t.conn, { name = "a.txt", data = "hello" }))
--   assert.equal("hello", u.files[1].data)                -- name, type, size, url, headers, data
--   u:refuse("wait", "resource-constraint", { "retry", { xmlns = ..., stamp = ... } })   -- the next slot
--   u:slot(function(slot) slot[3][2].url = "http://..." end)   -- changes the next slot
--   u:answer(403)                                         -- the next upload gets that status; a table: nil, that error
--   u:stop_at(10)                                         -- the next upload's connection breaks after 10 bytes
--
-- The server itself announces the service: call this before the program asks for the server's features; it may be
-- before it has connected.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local xexpr = require "xmpp.xexpr"

local NS, INFO, FORM = "urn:xmpp:http:upload:0", "http://jabber.org/protocol/disco#info", "jabber:x:data"
local ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
local KNOWN = { max = "number", host = "string", headers = "table" }

local tests = setmetatable({}, { __mode = "k" }) -- service -> its test; not in the service's table, which tests print

---@class xmpp.TestUpload
local Upload = {}
Upload.__index = Upload

--- Refuses the next slot.
---@param kind string
---@param condition string
---@param app? xmpp.Element the application-specific condition
function Upload:refuse(kind, condition, app)
  self.refusal = { "iq", { type = "error" }, { "error", { type = kind }, { condition, { xmlns = ERRORS } }, app } }
end

--- f(slot) changes the element of the next slot.
---@param f fun(slot: xmpp.Element)
function Upload:slot(f) self.change = f end

--- The response to the next upload: a status, or an error instead of a response.
---@param what integer|table
function Upload:answer(what) self.next_answer = what end

--- Breaks the next upload's connection after so many bytes.
---@param bytes integer
function Upload:stop_at(bytes) self.cut = bytes end

local function info(self)
  local form = self.max and { "x", { xmlns = FORM, type = "result" },
    { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, NS } },
    { "field", { var = "max-file-size" }, { "value", {}, ("%.0f"):format(self.max) } } } or nil
  return { "query", { xmlns = INFO }, { "identity", { category = "server", type = "im" } },
    { "feature", { var = INFO } }, { "feature", { var = "http://jabber.org/protocol/disco#items" } },
    { "feature", { var = NS } }, form }
end

local function slot_for(self, request)
  local name, size = request[2].filename, tonumber(request[2].size)
  if self.refusal then
    local refusal = self.refusal
    self.refusal = nil
    return refusal
  end
  if self.max and size > self.max then
    return { "iq", { type = "error" }, { "error", { type = "modify" }, { "not-acceptable", { xmlns = ERRORS } },
      { "file-too-large", { xmlns = NS }, { "max-file-size", {}, ("%.0f"):format(self.max) } } } }
  end
  local escaped = name:gsub("[^%w._-]", function(c) return ("%%%02X"):format(c:byte()) end)
  local url = ("https://%s/%s/%s"):format(self.host, core.id(), escaped)
  local put = { "put", { url = url } }
  for header, value in pairs(self.headers) do put[#put + 1] = { "header", { name = header }, value } end
  local slot = { "slot", { xmlns = NS }, put, { "get", { url = url } } }
  local change = self.change
  self.change = nil
  if change then change(slot) end
  self.slots[url] = { name = name, size = size, type = request[2]["content-type"], url = url }
  return slot
end

local function http_error(condition)
  return nil, core.error { layer = "http", condition = condition, retry = condition == "cut",
    text = "said by the test: " .. condition }
end

-- The body, all of it or up to the point where the connection breaks.
local function read_body(self, request)
  local pieces, n, cut = {}, 0, self.cut
  self.cut = nil
  while n < request.size do
    local piece, why = request.body(65536)
    if why then return nil, why end
    if not piece then return http_error "short-body" end
    pieces[#pieces + 1], n = piece, n + #piece
    if request.progress and request.progress(math.min(n, cut or n), request.size) == false then
      return http_error "cancelled"
    end
    if cut and n >= cut then return http_error "cut" end
  end
  return table.concat(pieces)
end

-- In place of http.request.
local function serve(self, request)
  local data, err = read_body(self, request)
  if not data then return nil, err end
  local file, what = self.slots[request.url] or {}, self.next_answer
  self.next_answer = nil
  if type(what) == "table" then return nil, core.error(what) end
  file.data, file.headers = data, request.headers
  if not what then self.files[#self.files + 1] = file end
  return { status = what or 201, headers = {}, body = "" }
end

-- The server's own answer to a request; nil: it isn't for this service.
local function answer_of(self, stanza, server)
  local payload = xexpr.children(stanza)()
  if stanza[2].type ~= "get" or not payload or stanza[2].to ~= server then return nil end
  local ns = xexpr.attr(payload, "xmlns")
  if ns == NS and payload[1] == "request" then
    guard.of(tests[self].conn, "upload").http = function(request) return serve(self, request) end
    return slot_for(self, payload)
  end
  if ns == INFO and not xexpr.attr(payload, "node") then return info(self) end
end

---@param test xmpp.Test
---@param own table the test's functions
---@param o table
---@return xmpp.TestUpload
return function(test, own, o)
  for name, value in pairs(o) do
    if type(value) ~= KNOWN[name] then own.fail(test, "t:upload has no such option: '%s'", tostring(name)) end
  end
  local self = setmetatable({ files = {}, slots = {}, max = o.max, host = o.host or "files.example.net",
    headers = o.headers or {} }, Upload)
  tests[self] = test
  local server = test.jid.localpart and test.jid.domainpart or test.jid.domainpart:match "^[^.]+%.(.+)$"
  test:on({ "iq", { type = "get", to = server }, { "request", { xmlns = NS } } }, function(stanza)
    return answer_of(self, stanza, server)
  end)
  test:on({ "iq", { type = "get", to = server }, { "query", { xmlns = INFO } } }, function(stanza)
    return answer_of(self, stanza, server) or info(self)
  end)
  return self
end
