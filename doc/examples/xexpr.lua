--- xexpr.name, xexpr.attr
local m = { "message", { from = "anna@example.net/pc" }, { "body", {}, "Hi" } }
print(xexpr.name(m), xexpr.attr(m, "from"))            --> message anna@example.net/pc
--- xexpr.text
print(xexpr.text({"a", {}, "b"})) --> b
