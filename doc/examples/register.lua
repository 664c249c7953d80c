-- Examples of the reference, page register: see spec/support/manual.lua for how they are run.

--- register.form, register.submit, register.cancel
local REGISTER = "jabber:iq:register"
t:on({ "iq", { type = "get", to = "irc.example.net" }, { "query", { xmlns = REGISTER } } }, function()
  return { "query", { xmlns = REGISTER }, { "instructions", {}, "Choose a nick" }, { "username", {} } }
end)
t:on({ "iq", { type = "set", to = "irc.example.net" }, { "query", { xmlns = REGISTER } } }, function() end)
-- example
local f = assert(register.form(conn, "irc.example.net"))
print(f.instructions, f.fields[1].var, f.registered)             --> Choose a nick username false
assert(register.submit(conn, "irc.example.net", { username = "kettle" }, { form = f }))
assert(register.cancel(conn, "irc.example.net"))

--- register.password
local REGISTER = "jabber:iq:register"
local new
t:on({ "iq", { type = "set", to = "example.net" }, { "query", { xmlns = REGISTER } } }, function(x)
  new = xexpr.text(x[3], "password")
end)
local real = register.password
function register.password(c, password) -- a test's stream isn't encrypted
  return real(c, password, { plain = true })
end
-- example
assert(register.password(conn, "a new password"))
-- check
register.password = real
assert(new == "a new password")
