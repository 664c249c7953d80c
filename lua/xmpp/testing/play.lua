-- play: a conversation, line by line. Required by xmpp.testing alone.

local xexpr = require "xmpp.xexpr"

local HOLE = "%${([%w_]+)}"

-- `text` with its placeholders filled in; those without a value get the one that `got` has in their place.
local function fill(text, names, got)
  local new, last = {}, 1
  local pattern = text:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("%%%${([%w_]+)}", function(name)
    if names[name] then return (names[name]:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")) end
    new[last], last = name, last + 1
    return "(.+)"
  end)
  local found = got and { got:match("^" .. pattern .. "$") } or {}
  for i, name in ipairs(new) do names[name] = names[name] or found[i] end
  return (text:gsub(HOLE, function(name) return names[name] end))
end

local function child_like(x, child)
  for i = 3, x and #x or 2 do
    local fits = type(x[i]) == "table" and x[i][1] == child[1] and child[2].xmlns == x[i][2].xmlns
    if fits then return x[i] end
  end
end

local function fill_element(pattern, names, got)
  local out = { pattern[1], {} }
  for key, value in pairs(pattern[2]) do out[2][key] = fill(value, names, got and got[2][key]) end
  for i = 3, #pattern do
    local part = pattern[i]
    if type(part) == "table" then
      out[i] = fill_element(part, names, child_like(got, part))
    else
      out[i] = fill(part, names, got and type(got[3]) == "string" and got[3] or nil)
    end
  end
  return out
end

local function line_of(line, i, fail)
  local who, xml = line:match "^([CS]): *(.+)$"
  if not who then fail(("line %d of the play begins with neither 'C: ' nor 'S: '"):format(i)) end
  local x, err = xexpr.from_xml(xml)
  if not x then fail(("line %d of the play isn't XML: %s"):format(i, tostring(err))) end
  return who, x
end

return function(t, lines, fail_of)
  local names = {}
  local function fail(text) fail_of(t, "%s", text) end
  for i, line in ipairs(lines) do
    if type(line) == "function" then
      line()
    elseif type(line) == "table" then
      t:advance(line.wait)
    else
      local who, x = line_of(line, i, fail)
      local pattern = fill_element(x, names, who == "C" and t:next() or nil)
      local hole = who == "S" and xexpr.to_xml(pattern):match(HOLE)
      if hole then fail(("line %d of the play: nothing that was sent so far has a value for ${%s}"):format(i, hole)) end
      if who == "S" then t:receive(pattern) else t:expect(pattern, false) end
    end
  end
  return names
end
