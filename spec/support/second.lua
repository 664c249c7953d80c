-- second: a second opinion on XML: parses it by lua-expat, which shares no code with the library.
local lxp = require "lxp"

local second = {}

local CLIENT = "jabber:client"

-- Any code point, valid or not, encoded as in UTF-8.
function second.utf8(c)
  local char, floor = string.char, math.floor
  local function tail(shift) return 128 + floor(c / 64 ^ shift) % 64 end
  if c < 0x80 then return char(c) end
  if c < 0x800 then return char(192 + floor(c / 64), tail(0)) end
  if c < 0x10000 then return char(224 + floor(c / 4096), tail(1), tail(0)) end
  return char(240 + floor(c / 262144), tail(2), tail(1), tail(0))
end

local SEPARATOR = "\255"

local function split(name)
  local uri, l = name:match("^(.*)" .. SEPARATOR .. "(.*)$")
  return uri or "", l or name
end

local function read_attributes(given)
  local attrs = {}
  for i = 1, #given do
    local uri, l = split(given[i])
    local key = uri == "" and l or "{" .. uri .. "}" .. l
    if key == "{http://www.w3.org/XML/1998/namespace}lang" then key = "xml:lang" end
    attrs[key] = given[given[i]]
  end
  return attrs
end

-- Parses one element in a stream of jabber:client, into the library's form of a table.
function second.by_lua_expat(xml)
  local stack, root, handlers = { { ns = CLIENT } }, nil, {}
  function handlers.StartElement(_, name, given)
    local uri, l = split(name)
    if l == "S" and #stack == 1 then return end
    local attrs, parent = read_attributes(given), stack[#stack]
    if uri ~= parent.ns then attrs.xmlns = uri end
    local x = { l, attrs }
    if parent.x then
      parent.x[#parent.x + 1] = x
    else
      assert(not root, "a second element")
      root = x
    end
    stack[#stack + 1] = { x = x, ns = uri }
  end
  function handlers.EndElement() table.remove(stack) end
  function handlers.CharacterData(_, s)
    local x = assert(stack[#stack].x, "text beside the element")
    if type(x[#x]) == "string" and #x > 2 then x[#x] = x[#x] .. s else x[#x + 1] = s end
  end
  local p = lxp.new(handlers, SEPARATOR)
  assert(p:parse("<S xmlns='" .. CLIENT .. "'>"))
  assert(p:parse(xml))
  assert(p:parse "</S>")
  assert(p:parse())
  p:close()
  return root
end

-- The path to the first difference between two elements; nil: there is none.
function second.difference(a, b, path)
  if type(a) ~= "table" or type(b) ~= "table" then return a ~= b and path or nil end
  if getmetatable(b) then return path .. ": a metatable" end
  for key, v in pairs(a) do
    local where = second.difference(v, b[key], path .. "[" .. tostring(key) .. "]")
    if where then return where end
  end
  for key in pairs(b) do
    if a[key] == nil then return path .. "[" .. tostring(key) .. "] is too much" end
  end
end

return second
