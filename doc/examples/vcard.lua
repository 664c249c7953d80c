-- Examples of the reference, page vcard: see spec/support/manual.lua for how they are run.

--- vcard.get
t:on({ "iq", { type = "get" }, { "vCard", { xmlns = "vcard-temp" } } }, function()
  return { "vCard", { xmlns = "vcard-temp" }, { "FN", {}, "Anna" },
    { "EMAIL", {}, { "USERID", {}, "anna@example.net" } } }
end)
-- example
local card = assert(vcard.get(conn, "anna@example.net"))
print(card.fn, card.email and card.email[1].address)             --> Anna anna@example.net

--- vcard.set
t:on({ "iq", { type = "get" }, { "vCard", { xmlns = "vcard-temp" } } }, function()
  return { "vCard", { xmlns = "vcard-temp" }, { "FN", {}, "Bot" }, { "URL", {}, "https://example.net" } }
end)
local sent
t:on({ "iq", { type = "set" }, { "vCard", { xmlns = "vcard-temp" } } }, function(x) sent = x[3] end)
-- example
assert(vcard.set(conn, { nickname = "kettle", url = false }))    -- everything else stays
-- check
assert(xexpr.text(sent, "FN") == "Bot" and xexpr.text(sent, "NICKNAME") == "kettle" and not xexpr.child(sent, "URL"))
