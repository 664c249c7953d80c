-- Examples of the reference, page archive: see spec/support/manual.lua for how they are run.

--- archive.use
t:archive {}
-- example
archive.use(conn)                                                -- from now on, forged results reach nobody
-- check
t.forge.mam("mallory@evil.example", { "message", { from = "anna@example.net" }, { "body", {}, "forged" } })
assert(conn:receive() == nil)

--- archive.query
t:archive { "one", "two", { from = "bert@example.net/pc", text = "three" } }
-- example
local page = assert(archive.query(conn, { with = "bert@example.net", before = "", max = 10 }))
for _, m in ipairs(page) do print(m.from, m.text) end            --> bert@example.net/pc three

--- archive.each
t:archive { "one", "two", "three" }
-- example
for m in archive.each(conn, { max = 2, err = error }) do
  print(m.text)                                                  --> one two three
end

--- archive.pages
t:archive { "one", "two", "three" }
-- example
for page in archive.pages(conn, { max = 2 }) do print(#page) end --> 2 1

--- archive.catch_up
local a = t:archive { "one", "two", "three" }
local last_id = a.messages[1].archive_id
-- example
local last, err = archive.catch_up(conn, last_id, function(m) print(m.text) end)    --> two three
-- check
assert(last == a.messages[3].archive_id, err)

--- archive.prefs
t:archive {}
-- example
local prefs = assert(archive.prefs(conn, { default = "roster", never = { "spam@example.org" } }))
print(prefs.default)                                             --> roster

--- archive.bounds
t:archive { "one", "two" }
-- example
local bounds = assert(archive.bounds(conn))
if bounds.first then print(bounds.first.stamp < bounds.last.stamp) end    --> true

--- archive.fields
t:archive {}
-- example
local form = assert(archive.fields(conn))
for _, field in ipairs(form.fields) do print(field.var) end
-- check
assert(#printed >= 3)
