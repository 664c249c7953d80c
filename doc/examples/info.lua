-- Examples of the reference, page info: see spec/support/manual.lua for how they are run.

--- info.ping
local seconds, err = info.ping(conn, "example.net", { timeout = 10 })
print(seconds and "it is there" or err)                          --> it is there

--- info.version, info.time, info.last
local QUERIES = { ["jabber:iq:version"] = { { "name", {}, "Prosody" }, { "version", {}, "13.0" } } }
t:on({ "iq", { to = "example.net" }, { "query", { xmlns = "jabber:iq:version" } } }, function()
  return { "query", { xmlns = "jabber:iq:version" }, { "name", {}, "Prosody" }, { "version", {}, "13.0" } }
end)
t:on({ "iq", { to = "example.net" }, { "time", { xmlns = "urn:xmpp:time" } } }, function()
  return { "time", { xmlns = "urn:xmpp:time" }, { "tzo", {}, "+01:00" }, { "utc", {}, "2026-11-30T12:00:00Z" } }
end)
t:on({ "iq", { to = "example.net" }, { "query", { xmlns = "jabber:iq:last" } } }, function()
  return { "query", { xmlns = "jabber:iq:last", seconds = "3600" } }
end)
assert(QUERIES)
-- example
local v = assert(info.version(conn, "example.net"))
print(v.name, v.version)                                         --> Prosody 13.0
print(assert(info.time(conn, "example.net")).offset)             --> 3600
print(assert(info.last(conn, "example.net")).seconds)            --> 3600

--- info.use
info.use(conn, {
  version = { name = "weather", version = "1.0" },
  time = true,
  last = function() return 0 end,                                -- somebody is active now
})
-- check
local anna = t:contact("anna@example.net", { subscription = "both" })
require "xmpp.roster".use(conn)
t:advance(1)
assert(xexpr.text(anna:asks { "query", { xmlns = "jabber:iq:version" } }, "name") == "weather")
