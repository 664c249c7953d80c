-- Examples of the reference, page http: see spec/support/manual.lua for how they are run.

--- http.available
local ok, err = http.available()
if not ok then print(err) end                                    -- libcurl is missing
-- check
assert(ok, err)

--- http.request
local real = http.request
function http.request(o)
  assert(o.url:find "^https://" and o.max)
  return { status = 200, headers = { ["content-type"] = "text/plain" }, body = "sun" }
end
-- example
local answer, err = http.request { url = "https://api.example.net/weather?town=Bern", max = 65536, timeout = 10 }
if answer and answer.status == 200 then print(answer.body) end   --> sun
-- check
http.request = real -- the real one is in spec/http_spec.lua; here is no web server
local nothing, why = http.request { url = "https://localhost:1/", timeout = 5 }
assert(nothing == nil and why.layer == "http")
