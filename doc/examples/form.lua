-- Examples of the reference, page form: see spec/support/manual.lua for how they are run.

--- form.parse, form.answer
local x = { "x", { xmlns = "jabber:x:data", type = "form" }, { "title", {}, "Tea" },
  { "field", { var = "sugar", type = "boolean" }, { "value", {}, "0" } },
  { "field", { var = "kind", type = "list-single" }, { "option", {}, { "value", {}, "green" } } } }
local f = assert(form.parse(x))
print(f.title, f.values.sugar)                                   --> Tea false
local answer = form.answer(f, { kind = "green" })                -- sugar stays as it is
-- check
assert(form.parse(answer).values.kind == "green")

--- form.submit
local x = form.submit("urn:example:search", { town = "Bern", days = 3 })
-- check
local f = assert(form.parse(x))
assert(f.type == "urn:example:search" and f.values.town == "Bern")

--- form.new, form.read
local spec = { title = "Which one?", fields = { { var = "what", kind = "list-single", options = { "web", "mail" } } } }
local question = form.new(spec)
-- the answer comes back as an element
local answer = form.answer(form.parse(question), { what = "web" })
local values, err = form.read(answer, spec)
print(values and values.what or err)                             --> web
