-- Examples of the reference, page iq: see spec/support/manual.lua for how they are run.

--- iq.get
t:on({ "iq", { type = "get" }, { "weather", { xmlns = "urn:example:weather" } } }, function()
  return { "weather", { xmlns = "urn:example:weather" }, "sun" }
end)
-- example
local answer, err = iq.get(conn, "weather.example.net", { "weather", { xmlns = "urn:example:weather" } })
print(answer and xmpp.xexpr.text(answer) or err)                 --> sun

--- iq.set
t:on({ "iq", { type = "set" }, { "order", { xmlns = "urn:example:tea" } } }, function()
  return nil, "modify", "not-acceptable", "no coffee here"
end)
-- example
local ok, err = iq.set(conn, "tea.example.net", { "order", { xmlns = "urn:example:tea" }, "coffee" }, { timeout = 10 })
print(ok, err.condition)                                         --> nil not-acceptable

--- iq.serve
local off = iq.serve(conn, "get", "urn:example:weather", function(query, stanza)
  if not query[2].town then return nil, "modify", "bad-request", "which town?" end
  return { "weather", { xmlns = "urn:example:weather" }, "sun" }
end)
-- check
local anna = t:contact("anna@example.net", { subscription = "both" })
local answer = anna:asks { "weather", { xmlns = "urn:example:weather", town = "Bern" } }
assert(xexpr.text(answer) == "sun")
assert(off())

--- iq.gate
t = testing.new { component = "irc.example.net" }
local known = { ["anna@irc.example.net"] = true }
iq.serve(conn, "get", "urn:x", function() return true end)
conn:set_handler()
-- example
local off = iq.gate(conn, function(question) return not known[question[2].to] end)    -- only known users have services
-- check
t:receive { "iq", { type = "get", id = "1", from = "bob@example.net/x", to = "nobody@irc.example.net" },
  { "query", { xmlns = "urn:x" } } }
t:expect { "iq", { type = "error", id = "1" } }
t:receive { "iq", { type = "get", id = "2", from = "bob@example.net/x", to = "anna@irc.example.net" },
  { "query", { xmlns = "urn:x" } } }
t:expect { "iq", { type = "result", id = "2" } }
assert(off())

--- iq.bad_format, iq.failure
local function read_weather(answer, stanza)
  if xmpp.xexpr.is_error(stanza) then return iq.failure(stanza) end
  local text = xmpp.xexpr.text(answer)
  if not text then return iq.bad_format("weather: no text", stanza) end
  return text
end
-- check
local stanza = { "iq", { type = "error", id = "1" }, { "error", { type = "wait" },
  { "resource-constraint", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" } } } }
assert(select(2, read_weather(nil, stanza)).condition == "resource-constraint")
assert(select(2, read_weather(nil, { "iq", { type = "result", id = "1" } })).condition == "bad-format")
