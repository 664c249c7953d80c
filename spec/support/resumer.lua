-- For save_spec: resumes a session that another process has saved: lua resumer.lua FILE PASSWORD CA COUNT TO
-- FILE holds the session as JSON. Receives COUNT stanzas, and all that come until the server answers a ping; sends the
-- message "new" to TO; stops. Prints as JSON: jid, info, bodies, responses (id = what), dropped, stopped.
local json = require "cjson"
local xmpp = require "xmpp"

local path, password, ca, count, to = (unpack or table.unpack)(arg) -- luacheck: ignore 143 113

local f = assert(io.open(path))
local saved = json.decode(f:read "*a")
f:close()

local told = { bodies = {}, responses = {}, dropped = {} }
xmpp.on_error(function(text, object)
  table.insert(told.dropped, type(object) == "table" and object.condition or text)
end)

local conn, err = xmpp.resume(saved, password, { ca_file = ca, on_response = function(stanza, _, why, id)
  told.responses[id] = stanza and stanza[2].type or why.condition
end })
if not conn then
  print(json.encode { failed = tostring(err) })
  os.exit(1)
end
told.jid, told.info = tostring(conn:jid()), conn:info()

local function note(stanza)
  told.bodies[#told.bodies + 1] = xmpp.xexpr.text(stanza, "body") or stanza[1]
end

for _ = 1, tonumber(count) do note(assert(conn:receive_blocking(20))) end
assert(conn:ping(20))
for stanza in function() return (conn:receive()) end do note(stanza) end
assert(conn:send { "message", { to = to, type = "chat" }, { "body", "new" } })
local ok, why = conn:stop(20)
told.stopped = ok or tostring(why)
print(json.encode(told))
