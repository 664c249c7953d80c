-- Examples of the reference, page command: see spec/support/manual.lua for how they are run.

--- command.serve, dialog:ask, dialog:note
local COMMANDS = "http://jabber.org/protocol/commands"
local anna = t:contact("anna@example.net", { subscription = "both" })
local function restart() return true end
-- example
local function may(from) return from:find "^anna@example.net/" ~= nil end

command.serve(conn, "restart", { name = "Restart", allow = may }, function(dialog)
  local v, why = dialog:ask { title = "Which one?", fields = { { var = "what", required = true } } }
  if not v then return end                                       -- why: "cancel", "timeout" or "closed"
  if not restart(v.what) then
    dialog:note("error", v.what .. " does not start")
    return
  end
  return v.what .. " was restarted"
end)
-- check
local answer = assert(anna:asks({ "command", { xmlns = COMMANDS, node = "restart" } }, { kind = "set" }))
local f = assert(form.parse(xexpr.child(answer, "x", form.DATA)))
local done = assert(anna:asks({ "command", { xmlns = COMMANDS, node = "restart", sessionid = answer[2].sessionid },
  form.answer(f, { what = "web" }) }, { kind = "set" }))
assert(done[2].status == "completed" and xexpr.text(done, "note") == "web was restarted")

--- command.list
local COMMANDS = "http://jabber.org/protocol/commands"
local ITEMS = "http://jabber.org/protocol/disco#items"
t:on({ "iq", { to = "example.net" }, { "query", { xmlns = ITEMS, node = COMMANDS } } }, function()
  return { "query", { xmlns = ITEMS, node = COMMANDS },
    { "item", { jid = "example.net", node = "uptime", name = "Uptime" } } }
end)
-- example
for _, c in ipairs(assert(command.list(conn, "example.net"))) do print(c.node, c.name) end    --> uptime Uptime

--- command.run
local COMMANDS = "http://jabber.org/protocol/commands"
t:on({ "iq", { to = "example.net", type = "set" }, { "command", { xmlns = COMMANDS } } }, function(x)
  local c = x[3]
  if not c[2].sessionid then
    return { "command", { xmlns = COMMANDS, node = c[2].node, sessionid = "1", status = "executing" },
      form.new { fields = { { var = "accountjid", kind = "jid-single", required = true } } } }
  end
  return { "command", { xmlns = COMMANDS, node = c[2].node, sessionid = "1", status = "completed" },
    { "note", { type = "info" }, "done" } }
end)
-- example
local result = assert(command.run(conn, "example.net", command.admin["delete-user"],
  { accountjid = "anna@example.net" }))
print(result.status, result.text)                                --> completed done
