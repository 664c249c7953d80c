-- Starts the helper programs of the specs, each a process that ends when its pipe is closed or this process is gone.
local child = {}

child.folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "spec/support"

local function quoted(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

-- child.open(program, arguments) -> a pipe to read what the program in this folder prints.
-- It does not inherit LD_PRELOAD: a sanitizer that was preloaded for the library would judge Python as well.
function child.open(program, arguments)
  local words = { "exec env -u LD_PRELOAD", quoted(child.folder .. "/" .. program) }
  for _, word in ipairs(arguments) do words[#words + 1] = quoted(word) end
  return assert(io.popen(table.concat(words, " "), "r"))
end

local had = {} -- ports of the programs so far

-- Have these been nobody's before? The library remembers a server by its address, so each must have one of its own.
function child.are_new(...)
  local new = true
  for _, port in ipairs { ... } do
    port = tonumber(port)
    new, had[port] = new and not had[port], true
  end
  return new
end

-- A server is begun that has the name of others before it. What the library knows of accounts (that they were bound to
-- the channel) is not of this one. Somebody in the middle (middle.py) is no server: him it has to find out.
function child.is_another()
  local xmpp = package.loaded.xmpp
  if xmpp then xmpp.forget() end
end

-- child.serve(program, arguments) -> a pipe and its variables, of which PORT is new; no variables when it has ended.
function child.serve(program, arguments)
  local pipe = child.open(program, arguments)
  local v = child.variables(pipe)
  if not v or child.are_new(v.PORT) then return pipe, v end
  local other, found = child.serve(program, arguments) -- while this one has its port still
  pipe:close()
  return other, found
end

-- child.variables(pipe) -> a table of the KEY=VALUE lines up to the next empty line, or nil when the program ended.
function child.variables(pipe)
  local found = {}
  for line in pipe:lines() do
    if line == "" then return found end
    local key, value = line:match("^([^=]+)=(.*)$")
    found[key] = value
  end
end

return child
