-- Examples of the reference, page upload: see spec/support/manual.lua for how they are run.

--- upload.file
local u = t:upload()
-- example
local url, err = upload.file(conn, { name = "tea.txt", data = "a cup of tea" }, {
  progress = function(sent, size) return true end,               -- false: cancel
})
if not url and err.app == "file-too-large" then print("at most " .. err.max .. " bytes") end
-- check
assert(u.files[1].url == url and u.files[1].data == "a cup of tea", err)

--- upload.service
t:upload { max = 1000 }
-- example
local service, err = upload.service(conn)
print(service and service.max or err)                            --> 1000

--- upload.slot
t:upload()
-- example
local slot = assert(upload.slot(conn, "tea.txt", 12, "text/plain"))
-- put the file at slot.put with slot.headers; others get it from slot.get
-- check
assert(slot.put:find "^https://" and slot.get:find "^https://")
